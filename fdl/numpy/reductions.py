"""Reductions under NumPy's names: `axis` is None (all), an int or a tuple; `keepdims` keeps reduced axes with size 1."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import order
from fdl.tracer.ops import reduce as r
from fdl.tracer.ops import shape as s

from . import ufuncs as u
from .promote import as_operand, canonical_axes, canonical_axis, promote_operands, to_dtype


def _reduce(name: str, function: Callable[..., Any], x: Any, axis: Any, keepdims: bool) -> Any:
    t = type_of(x)
    axes = canonical_axes(name, axis, t.ndim)
    y = function(x, axes) if axes else x
    return s.reshape(y, tuple(1 if i in axes else n for i, n in enumerate(t.shape))) if keepdims else y


def _summable(x: Any, dtype: Any) -> Any:
    x = as_operand(x)
    t = type_of(x)
    if dtype is not None:
        return to_dtype(x, dtypes.of(dtype))
    if t.dtype == dtypes.bool_:
        return to_dtype(x, dtypes.DEFAULT_INT)
    if dtypes.is_int(t.dtype) and dtypes.bits(t.dtype) < 32:
        return to_dtype(x, dtypes.int32 if dtypes.is_signed(t.dtype) else dtypes.uint32)
    return x


def sum(x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    """The sum over the given axes. bool and small integers are summed in 32 bits."""
    return _reduce("sum", r.reduce_sum, _summable(x, dtype), axis, keepdims)


def prod(x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    """The product over the given axes."""
    return _reduce("prod", r.reduce_prod, _summable(x, dtype), axis, keepdims)


def _nonempty(name: str, x: Any, axis: Any) -> Any:
    x = as_operand(x)
    shape = type_of(x).shape
    if builtins.any(shape[a] == 0 for a in canonical_axes(name, axis, len(shape))):
        raise ShapeError(f"{name}: the reduced axes of shape {shape} are empty, and {name} has no identity.{at(user_source())}")
    return x


def max(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The largest element over the given axes; NaN if there is one. Equal elements share the derivative."""
    x = _nonempty("max", x, axis)
    return _reduce("max", r.reduce_or if type_of(x).dtype == dtypes.bool_ else r.reduce_max, x, axis, keepdims)


def min(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The smallest element over the given axes; NaN if there is one. Equal elements share the derivative."""
    x = _nonempty("min", x, axis)
    return _reduce("min", r.reduce_and if type_of(x).dtype == dtypes.bool_ else r.reduce_min, x, axis, keepdims)


amax, amin = max, min


def all(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether all elements over the given axes are true."""
    return _reduce("all", r.reduce_and, to_dtype(as_operand(x), dtypes.bool_), axis, keepdims)


def any(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether any element over the given axes is true."""
    return _reduce("any", r.reduce_or, to_dtype(as_operand(x), dtypes.bool_), axis, keepdims)


def _count(x: Any, axis: Any) -> int:
    shape = type_of(x).shape
    return math.prod(shape[a] for a in canonical_axes("mean", axis, len(shape)))


def mean(x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    """The arithmetic mean over the given axes; integers give float32. NaN over no elements."""
    (x,) = promote_operands("mean", x, inexact=True)
    x = x if dtype is None else to_dtype(x, dtypes.of(dtype))
    return u.divide(sum(x, axis, keepdims=keepdims), float(_count(x, axis)))


def var(x: Any, axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Any:
    """The variance over the given axes, dividing by n - ddof; computed around the mean."""
    (x,) = promote_operands("var", x, inexact=True)
    centred = u.subtract(x, mean(x, axis, keepdims=True))
    return u.divide(sum(u.square(centred), axis, keepdims=keepdims), float(_count(x, axis) - ddof))


def std(x: Any, axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Any:
    """The standard deviation over the given axes: the square root of `var`."""
    return u.sqrt(var(x, axis, ddof, keepdims))


def _arg(name: str, function: Callable[..., Any], x: Any, axis: int | None, keepdims: bool) -> Any:
    x = _nonempty(name, x, axis)
    rank = type_of(x).ndim
    if axis is None:
        y = function(s.reshape(x, (type_of(x).size,)), 0)
        return s.reshape(y, (1,) * rank) if keepdims else y
    axis = canonical_axis(name, axis, rank)
    y = function(x, axis)
    shape = type_of(x).shape
    return s.reshape(y, (*shape[:axis], 1, *shape[axis + 1 :])) if keepdims else y


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The index (int32) of the first largest element along `axis`, or of the flattened array; a NaN counts as largest."""
    return _arg("argmax", r.argmax, x, axis, keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The index (int32) of the first smallest element along `axis`, or of the flattened array; a NaN counts as smallest."""
    return _arg("argmin", r.argmin, x, axis, keepdims)


def _cumulative(name: str, function: Callable[..., Any], x: Any, axis: int | None) -> Any:
    x = _summable(x, None)
    if axis is None:
        x, axis = s.reshape(x, (type_of(x).size,)), 0
    return function(x, canonical_axis(name, axis, type_of(x).ndim))


def cumsum(x: Any, axis: int | None = None) -> Any:
    """The running sum along `axis`, or of the flattened array."""
    return _cumulative("cumsum", r.cumsum, x, axis)


def cumprod(x: Any, axis: int | None = None) -> Any:
    """The running product along `axis`, or of the flattened array."""
    return _cumulative("cumprod", r.cumprod, x, axis)


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x))) over the given axes without overflow; -inf where all elements are -inf."""
    (x,) = promote_operands("logsumexp", x, inexact=True)
    top = e.stop_gradient(max(x, axis, keepdims=True))
    top = u.where(u.isfinite(top), top, 0)
    total = sum(u.exp(u.subtract(x, top)), axis, keepdims=True)
    y = u.add(u.log(total), top)
    if keepdims:
        return y
    axes = canonical_axes("logsumexp", axis, type_of(x).ndim)
    return s.reshape(y, tuple(n for i, n in enumerate(type_of(x).shape) if i not in axes))


def sort(x: Any, axis: int | None = -1) -> Any:
    """`x` sorted in ascending order along `axis` (flattened when None); NaN last."""
    x = as_operand(x)
    if axis is None:
        x, axis = s.reshape(x, (type_of(x).size,)), 0
    return order.sort([x], canonical_axis("sort", axis, type_of(x).ndim))[0]


def argsort(x: Any, axis: int = -1) -> Any:
    """The indices (int32) that sort `x` along `axis`, stable."""
    x = as_operand(x)
    axis = canonical_axis("argsort", axis, type_of(x).ndim)
    return order.sort([x, s.iota(type_of(x).shape, dtypes.int32, axis)], axis)[1]


def count_nonzero(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The number (int32) of elements that are not zero."""
    x = as_operand(x)
    return sum(e.ne(x, np.zeros((), type_of(x).dtype)), axis, keepdims=keepdims)
