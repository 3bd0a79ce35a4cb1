"""Interpolation of values that are given on a grid."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.numpy.promote import promote_operands
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of

METHODS = ("linear", "nearest")


class RegularGridInterpolator:
    """A function of points in space that interpolates values given on a grid, whose lines need not lie equally far apart.

    Args:
        points: for each axis of the grid its coordinates, ascending, at least two.
        values: (*sizes of the grid, *trailing axes).
        method: "linear" between the corners of a cell, or the "nearest" corner.
        bounds_error: must be False: a traced point cannot raise.
        fill_value: what points outside the grid give; None extrapolates.

    Raises: ShapeError where the sizes do not fit, ValueError for other methods.

    Example:
        >>> f = RegularGridInterpolator(([0.0, 1.0, 3.0],), [0.0, 10.0, 30.0])
        >>> f([[0.5], [2.0]]).tolist()
        [5.0, 20.0]
    """

    __slots__ = ("fill_value", "grid", "method", "values")

    def __init__(
        self, points: Sequence[Any], values: Any, method: str = "linear", bounds_error: bool = False, fill_value: Any = np.nan
    ) -> None:
        _check_method(method)
        if bounds_error:
            raise ValueError(f"RegularGridInterpolator: bounds_error must be False. Give a fill_value.{at(user_source())}")
        self.method, self.fill_value = method, fill_value
        (self.values,) = (fnp.asarray(v) for v in promote_operands("RegularGridInterpolator", values, inexact=True))
        self.grid = tuple(fnp.asarray(p) for p in points)
        shape = type_of(self.values).shape
        for k, p in enumerate(self.grid):
            t = type_of(p)
            if t.ndim != 1 or len(self.grid) > len(shape) or t.shape[0] != shape[k] or t.shape[0] < 2:
                raise ShapeError(
                    f"RegularGridInterpolator: the points of axis {k} have shape {t.shape}, the values {shape}: expected as many points "
                    f"along one axis as there are values along axis {k}, at least two.{at(user_source())}"
                )

    def __call__(self, xi: Any, method: str | None = None) -> Any:
        """The values at the points `xi` (..., number of axes): shape (..., *trailing axes)."""
        _check_method(how := self.method if method is None else method)
        x = fnp.asarray(xi)
        n, t = len(self.grid), type_of(x)
        if t.ndim == 0 or t.shape[-1] != n:
            raise ShapeError(f"RegularGridInterpolator: points of shape {t.shape}: expected (..., {n}).{at(user_source())}")
        flat = fnp.reshape(x, (-1, n))
        cells = [_cell(p, flat[:, k]) for k, p in enumerate(self.grid)]
        total: Any = 0
        for corner in itertools.product((0, 1), repeat=n):
            weight: Any = 1
            for (_, part), side in zip(cells, corner, strict=True):
                w = fnp.where(fnp.less_equal(part, 0.5), 0, 1) if how == "nearest" else part
                weight = fnp.multiply(weight, w if side else fnp.subtract(1, w))
            value = self.values[tuple(fnp.add(low, side) for (low, _), side in zip(cells, corner, strict=True))]
            weight = fnp.reshape(weight, (-1,) + (1,) * (type_of(value).ndim - 1))
            total = fnp.add(total, fnp.multiply(value, weight))
        if self.fill_value is not None:
            outside: Any = False
            for k, p in enumerate(self.grid):
                beyond = fnp.logical_or(fnp.less(flat[:, k], p[0]), fnp.greater(flat[:, k], p[-1]))
                outside = fnp.logical_or(outside, beyond)
            outside = fnp.reshape(outside, (-1,) + (1,) * (type_of(total).ndim - 1))
            total = fnp.where(outside, self.fill_value, total)
        return fnp.reshape(total, (*t.shape[:-1], *type_of(total).shape[1:]))


def _check_method(method: str) -> None:
    if method not in METHODS:
        raise ValueError(f"RegularGridInterpolator: method={method!r}: expected 'linear' or 'nearest'.{at(user_source())}")


def _cell(points: Any, x: Any) -> tuple[Any, Any]:
    """The cell of the line `points` in which each x lies (the first or last for what is outside), and where in it, from 0 to 1."""
    low = fnp.clip(fnp.subtract(fnp.searchsorted(points, x, side="right"), 1), 0, type_of(points).shape[0] - 2)
    left, right = points[low], points[fnp.add(low, 1)]
    return low, fnp.divide(fnp.subtract(x, left), fnp.subtract(right, left))


__all__ = ["RegularGridInterpolator"]
