"""Numbers that describe samples: ranks, the most frequent value, the standard error of the mean."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fdl import numpy as fnp
from fdl.numpy.promote import canonical_axis, promote_operands
from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import order
from fdl.tracer.ops import reduce as r
from fdl.tracer.ops import shape as s

_METHODS = ("average", "min", "max", "dense", "ordinal")


class ModeResult(NamedTuple):
    """What `mode` returns: the values and how often they occur."""

    mode: Any
    count: Any


def _operand(name: str, a: Any, axis: int | None, nan_policy: str) -> tuple[Any, int]:
    if nan_policy != "propagate":
        raise ValueError(f"{name}: nan_policy={nan_policy!r}: expected 'propagate'. Mask NaN out before.{at(user_source())}")
    x = fnp.asarray(a)
    if axis is None:
        return s.reshape(x, (type_of(x).size,)), 0
    return x, canonical_axis(name, axis, type_of(x).ndim)


def _runs(x: Any, axis: int) -> tuple[Any, Any, Any, Any, Any]:
    """`x` sorted along `axis`, the places its elements had, and for each the first and last place of its equals, and their number."""
    shape = type_of(x).shape
    n = shape[axis]
    place = s.iota(shape, dtypes.int32, axis)
    ordered, where = order.sort([x, place], axis)
    before = s.pad(ordered, np.zeros((), type_of(x).dtype), [(1, -1, 0) if k == axis else (0, 0, 0) for k in range(len(shape))])
    zero = np.asarray(0, np.int32)
    starts = e.logical_or(e.ne(ordered, before), e.eq(place, zero))
    first = r.cummax(e.select(starts, place, zero), axis)
    # The last of its equals is the one before the next start.
    after = s.pad(starts, np.asarray(True), [(-1, 1, 0) if k == axis else (0, 0, 0) for k in range(len(shape))])
    last = r.cummin(e.select(after, place, np.asarray(max(n - 1, 0), np.int32)), axis, True)
    number = r.cumsum(e.convert(starts, dtypes.int32), axis)
    return ordered, where, first, last, number


def rankdata(a: Any, method: str = "average", *, axis: int | None = None, nan_policy: str = "propagate") -> Any:
    """The ranks of the elements of `a` along `axis` (None: of all), from 1, as floats; NaN everywhere where there is one.

    Args:
        method: what equal elements get: the "average", "min" or "max" of their places, their place among distinct values ("dense"), or each
            its own place, in order ("ordinal").

    Raises: ValueError for another method.

    Example:
        >>> rankdata([3, 1, 3, 2]).tolist()
        [3.5, 1.0, 3.5, 2.0]
    """
    if method not in _METHODS:
        raise ValueError(f"rankdata: method={method!r}: expected one of {', '.join(_METHODS)}.{at(user_source())}")
    x, k = _operand("rankdata", a, axis, nan_policy)
    t = type_of(x)
    dtype = t.dtype if dtypes.is_float(t.dtype) else dtypes.float32
    if t.size == 0:
        return fnp.zeros(t.shape, dtype)
    _, where, first, last, number = _runs(x, k)
    place = s.iota(t.shape, dtypes.int32, k)
    if method == "average":
        rank = fnp.add(fnp.multiply(fnp.astype(fnp.add(first, last), dtype), 0.5), 1)
    else:
        chosen = {"min": first, "max": last, "ordinal": place}.get(method)
        rank = fnp.astype(number if chosen is None else fnp.add(chosen, 1), dtype)
    back = order.sort([where, rank], k)[1]
    if dtypes.is_float(t.dtype):
        back = fnp.where(fnp.any(fnp.isnan(x), k, keepdims=True), np.nan, back)
    return fnp.astype(back, dtype)


def mode(a: Any, axis: int | None = 0, nan_policy: str = "propagate", keepdims: bool = False) -> ModeResult:
    """The most frequent value along `axis` (None: of all), the smallest of several, and how often it occurs; NaN where there is one.

    Raises: ShapeError for an axis without elements.

    Example:
        >>> [x.tolist() for x in mode([3, 1, 3, 2])]
        [3, 2]
    """
    x, k = _operand("mode", a, axis, nan_policy)
    t = type_of(x)
    if t.shape[k] == 0:
        raise ShapeError(f"mode: axis {k} of an array of shape {t.shape} has no elements.{at(user_source())}")
    ordered, _, first, last, _ = _runs(x, k)
    count = e.add(e.sub(last, first), np.asarray(1, np.int32))
    best = fnp.expand_dims(r.argmax(count, k), k)
    value, times = fnp.take_along_axis(ordered, best, k), fnp.take_along_axis(count, best, k)
    if dtypes.is_float(t.dtype):
        missing = fnp.sum(fnp.astype(fnp.isnan(x), fnp.int32), k, keepdims=True)
        some = fnp.greater(missing, 0)
        value, times = fnp.where(some, np.nan, value), fnp.where(some, missing, times)
    ndim = type_of(fnp.asarray(a)).ndim
    if keepdims:
        shape = (1,) * ndim if axis is None else type_of(value).shape
        return ModeResult(s.reshape(value, shape), s.reshape(times, shape))
    return ModeResult(fnp.squeeze(value, k), fnp.squeeze(times, k))


def sem(a: Any, axis: int | None = 0, ddof: int = 1, nan_policy: str = "propagate", *, keepdims: bool = False) -> Any:
    """The standard error of the mean along `axis` (None: of all): the standard deviation (n - ddof degrees of freedom) over √n.

    Example:
        >>> round(float(sem([1.0, 2.0, 4.0])), 4)
        0.8819
    """
    (x,) = promote_operands("sem", a, inexact=True)
    flat, k = _operand("sem", x, axis, nan_policy)
    n = type_of(flat).shape[k]
    y = fnp.divide(fnp.std(flat, k, correction=ddof, keepdims=keepdims), np.sqrt(n).item())
    return s.reshape(y, (1,) * type_of(x).ndim) if keepdims and axis is None else y


__all__ = ["mode", "rankdata", "sem"]
