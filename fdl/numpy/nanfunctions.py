"""Reductions that leave NaN out: `nansum`, `nanmean`, `nanmax` and their kin. Without NaN they are the functions without "nan"."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import shape as s

from . import reductions as r
from .cumulative import cumprod, cumsum
from .promote import as_operand, canonical_axes, canonical_axis, no_out
from .static import is_nan, no_nan, scalar


def _without(x: Any, value: float) -> tuple[Any, Any]:
    """`x` with `value` for NaN, and where it is a number; None for a dtype without NaN."""
    x = as_operand(x)
    if no_nan(x):
        return x, None
    missing = is_nan(x)
    return e.select(missing, scalar(x, value), x), e.logical_not(missing)


def _and(where: Any, given: Any) -> Any:
    return (
        where
        if given is None
        else given
        if where is None
        else e.logical_and(where, r.broadcast_to(given, type_of(where).shape))
    )


def nansum(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Any:
    """The sum of the elements that are not NaN; 0 of none.

    Example:
        >>> nansum(np.array([1.0, np.nan, 2.0])).item()
        3.0
    """
    no_out("nansum", out)
    return r.sum(_without(a, 0.0)[0], axis, dtype, keepdims=keepdims, initial=initial, where=where)


def nanprod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Any:
    """The product of the elements that are not NaN; 1 of none."""
    no_out("nanprod", out)
    return r.prod(_without(a, 1.0)[0], axis, dtype, keepdims=keepdims, initial=initial, where=where)


def nancumsum(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Any:
    """The running sum with NaN counted as 0."""
    no_out("nancumsum", out)
    return cumsum(_without(a, 0.0)[0], axis, dtype)


def nancumprod(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Any:
    """The running product with NaN counted as 1."""
    no_out("nancumprod", out)
    return cumprod(_without(a, 1.0)[0], axis, dtype)


def nanmean(a: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False, where: Any = None) -> Any:
    """The mean of the elements that are not NaN; NaN of none."""
    no_out("nanmean", out)
    x, valid = _without(a, 0.0)
    return r.mean(x, axis, dtype, keepdims=keepdims, where=_and(valid, where))


def nanvar(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    where: Any = None,
    mean: Any = None,
    *,
    correction: float | None = None,
) -> Any:
    """The variance of the elements that are not NaN; NaN where there are not more than the correction."""
    no_out("nanvar", out)
    return _spread("var", a, axis, dtype, keepdims, where, mean, ddof if correction is None else correction)


def nanstd(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    where: Any = None,
    mean: Any = None,
    *,
    correction: float | None = None,
) -> Any:
    """The standard deviation of the elements that are not NaN: the square root of `nanvar`."""
    no_out("nanstd", out)
    return _spread("std", a, axis, dtype, keepdims, where, mean, ddof if correction is None else correction)


def _spread(name: str, a: Any, axis: Any, dtype: Any, keepdims: bool, where: Any, mean: Any, less: float) -> Any:
    function = r.var if name == "var" else r.std
    x, valid = _without(a, 0.0)
    return function(x, axis, dtype, keepdims=keepdims, where=_and(valid, where), mean=mean, correction=less)


def nanmax(a: Any, axis: Any = None, out: None = None, keepdims: bool = False, initial: Any = None, where: Any = None) -> Any:
    """The largest element that is not NaN; NaN where all are."""
    no_out("nanmax", out)
    return _extremum("max", a, axis, keepdims, initial, where)


def nanmin(a: Any, axis: Any = None, out: None = None, keepdims: bool = False, initial: Any = None, where: Any = None) -> Any:
    """The smallest element that is not NaN; NaN where all are."""
    no_out("nanmin", out)
    return _extremum("min", a, axis, keepdims, initial, where)


def _extremum(name: str, a: Any, axis: Any, keepdims: bool, initial: Any, where: Any) -> Any:
    function = r.max if name == "max" else r.min
    x, valid = _without(a, -np.inf if name == "max" else np.inf)
    y = function(x, axis, keepdims=keepdims, initial=initial, where=where)
    if valid is None or initial is not None:
        return y
    return e.select(r.any(valid, axis, keepdims=keepdims, where=where), y, scalar(y, np.nan))


def nanargmax(a: Any, axis: int | None = None, out: None = None, keepdims: bool = False) -> Any:
    """The index (int32) of the largest element that is not NaN; -1 where all are."""
    no_out("nanargmax", out)
    return _argument("max", a, axis, keepdims)


def nanargmin(a: Any, axis: int | None = None, out: None = None, keepdims: bool = False) -> Any:
    """The index (int32) of the smallest element that is not NaN; -1 where all are."""
    no_out("nanargmin", out)
    return _argument("min", a, axis, keepdims)


def _argument(name: str, a: Any, axis: int | None, keepdims: bool) -> Any:
    x, valid = _without(a, -np.inf if name == "max" else np.inf)
    function = r.argmax if name == "max" else r.argmin
    if valid is None:
        return function(x, axis, keepdims=keepdims)
    # An infinity of the wrong sign may stand beside the NaN that it stands for: the first that is no NaN is meant.
    t = type_of(x)
    flat_axis = 0 if axis is None else canonical_axis(f"nanarg{name}", axis, t.ndim)
    if axis is None:
        x, valid = s.reshape(x, (t.size,)), s.reshape(valid, (t.size,))
    extremum = (r.max if name == "max" else r.min)(x, flat_axis, keepdims=True)
    best = e.logical_and(valid, e.eq(x, r.broadcast_to(extremum, type_of(x).shape)))
    y = r.argmax(e.convert(best, dtypes.uint8), flat_axis, keepdims=keepdims)
    y = e.select(r.any(valid, flat_axis, keepdims=keepdims), y, scalar(y, -1))
    if axis is None and keepdims:
        y = s.reshape(y, (1,) * len(canonical_axes(f"nanarg{name}", None, t.ndim)))
    return y


__all__ = [
    "nanargmax", "nanargmin", "nancumprod", "nancumsum", "nanmax", "nanmean", "nanmin", "nanprod", "nanstd", "nansum", "nanvar",
]  # fmt: skip
