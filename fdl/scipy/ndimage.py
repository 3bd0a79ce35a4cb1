"""Images of any number of axes, read between their elements."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from fdl import numpy as fnp
from fdl.numpy.promote import broadcast_operands, promote_operands
from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import index as ix
from fdl.tracer.ops import shape as s

MODES = ("constant", "nearest", "wrap", "mirror", "reflect")


def _inside(index: Any, size: int, mode: str) -> Any:
    """Where an index beyond the ends lies, counted within the axis."""
    if mode in ("constant", "nearest"):
        return fnp.clip(index, 0, size - 1)
    if mode == "wrap":
        return fnp.remainder(index, size)
    if mode == "reflect":  # about the outer edges of the end elements
        around = fnp.remainder(index, 2 * size)
        return fnp.minimum(around, fnp.subtract(2 * size - 1, around))
    if size == 1:
        return fnp.zeros_like(index)
    around = fnp.remainder(index, 2 * size - 2)  # about their middles
    return fnp.minimum(around, fnp.subtract(2 * size - 2, around))


def map_coordinates(input: Any, coordinates: Sequence[Any], order: int, mode: str = "constant", cval: Any = 0.0) -> Any:
    """The values of `input` at `coordinates`, which need not be whole: the nearest element's, or interpolated.

    Args:
        coordinates: an array for each axis of `input`; they broadcast together.
        order: 0 for the nearest element, 1 for linear interpolation between neighbours.
        mode: what lies beyond the ends: "constant" (`cval`), "nearest" (the end element), "wrap" (the other end), "mirror" or "reflect"
            (the mirror image, about the middle or the outer edge of the end element).

    Returns: an array of the shape of the coordinates, of the dtype of `input`; integers are rounded. Linear interpolation is differentiable
    in the coordinates.

    Raises: ShapeError for other orders and modes, and where the number of coordinates is not that of axes.

    Example:
        >>> map_coordinates([[0.0, 1.0], [2.0, 3.0]], [[0.5], [0.5]], order=1).tolist()
        [1.5]
    """
    x = fnp.asarray(input)
    t = type_of(x)
    if order not in (0, 1):
        raise ShapeError(f"map_coordinates: order={order}: expected 0 or 1.{at(user_source())}")
    if mode not in MODES:
        raise ShapeError(f"map_coordinates: mode={mode!r}: expected one of {', '.join(MODES)}.{at(user_source())}")
    where = [fnp.asarray(c) for c in coordinates]
    if len(where) != t.ndim or t.ndim == 0:
        raise ShapeError(
            f"map_coordinates: {len(where)} coordinates for an array of shape {t.shape}: expected {t.ndim}.{at(user_source())}"
        )
    if 0 in t.shape:
        raise ShapeError(f"map_coordinates: an array of shape {t.shape} has no elements.{at(user_source())}")
    where = broadcast_operands("map_coordinates", *where)
    wide = x if dtypes.is_inexact(t.dtype) else fnp.astype(x, fnp.float32)
    corners = [_neighbours(c, order) for c in where]
    total: Any = 0
    for corner in itertools.product(*corners):
        weight: Any = 1
        real: Any = True
        for (index, w), n in zip(corner, t.shape, strict=True):
            weight = fnp.multiply(weight, w)
            real = fnp.logical_and(real, fnp.logical_and(fnp.greater_equal(index, 0), fnp.less(index, n)))
        inside = [_inside(index, n, mode) for (index, _), n in zip(corner, t.shape, strict=True)]
        shape = type_of(inside[0]).shape
        columns = [s.reshape(i, (*shape, 1)) for i in inside]
        value = ix.gather(wide, s.concatenate(columns, len(shape)), axes=tuple(range(t.ndim)), mode="clip")
        if mode == "constant":
            value = fnp.where(real, value, cval)
        total = fnp.add(total, fnp.multiply(value, weight))
    if not dtypes.is_inexact(t.dtype):
        total = fnp.astype(fnp.round(total), t.dtype)
    return fnp.astype(total, t.dtype) if type_of(total).dtype != t.dtype else fnp.asarray(total)


def _neighbours(coordinate: Any, order: int) -> list[tuple[Any, Any]]:
    """The indices next to a coordinate, with their weights."""
    (c,) = promote_operands("map_coordinates", coordinate, inexact=True)
    if order == 0:
        return [(fnp.astype(fnp.floor(fnp.add(c, 0.5)), fnp.int32), 1)]
    low = fnp.floor(c)
    upper = fnp.subtract(c, low)
    index = fnp.astype(low, fnp.int32)
    return [(index, fnp.subtract(1, upper)), (fnp.add(index, 1), upper)]


__all__ = ["map_coordinates"]
