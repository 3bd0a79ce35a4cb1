"""Reductions under NumPy's names: `axis` is None (all), an int or a tuple; `keepdims` keeps reduced axes with size 1.

`where` masks elements out, and `initial` takes part as one more element.  float16 and bfloat16 are averaged in float32.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import complex as c
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import reduce as r
from fdl.tracer.ops import shape as s

from . import logic
from . import ufuncs as u
from .promote import (
    as_operand,
    asarray,
    broadcast_shapes,
    broadcast_to,
    canonical_axes,
    canonical_axis,
    check_conversion,
    check_range,
    like,
    no_out,
    promote_operands,
    to_dtype,
)
from .static import index_dtype


def _reduce(function: Callable[..., Any], x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    shape = type_of(x).shape
    y = function(x, axes) if axes else asarray(x)
    return s.reshape(y, tuple(1 if i in axes else n for i, n in enumerate(shape))) if keepdims else y


def _masked(name: str, x: Any, where: Any, fill: Any) -> Any:
    """`x`, broadcast against `where`, with `fill` where that is false."""
    if where is None or where is True:
        return x
    mask = logic.as_bool(where)
    shape = broadcast_shapes(name, type_of(x).shape, type_of(mask).shape)
    return e.select(broadcast_to(mask, shape), broadcast_to(x, shape), fill)


# --- sums and products ----------------------------------------------------------------------------


def summable(x: Any, dtype: Any) -> Any:
    """`x` in the dtype of its sum: `dtype`, or its own, but at least 32 bits for bools and integers."""
    x = as_operand(x)
    t = type_of(x)
    if dtype is not None:
        return to_dtype(x, dtypes.of(dtype))
    if t.dtype == dtypes.bool_:
        return to_dtype(x, dtypes.DEFAULT_INT)
    if dtypes.is_int(t.dtype) and dtypes.bits(t.dtype) < 32:
        return to_dtype(x, dtypes.int32 if dtypes.is_signed(t.dtype) else dtypes.uint32)
    return x


def _total(
    name: str, neutral: int, combine: Any, x: Any, axis: Any, dtype: Any, keepdims: bool, initial: Any, where: Any
) -> Any:
    x = summable(x, dtype)
    t = type_of(x)
    axes = canonical_axes(name, axis, t.ndim)
    if where is not None:
        x = _masked(name, x, where, np.asarray(neutral, t.dtype))
        axes = canonical_axes(name, axis, type_of(x).ndim)
    if t.dtype == dtypes.bool_:  # dtype="bool" was asked for: whether any, or all, are true
        reduced = _reduce(r.reduce_or if neutral == 0 else r.reduce_and, x, axes, keepdims)
    else:
        reduced = _reduce(r.reduce_sum if neutral == 0 else r.reduce_prod, x, axes, keepdims)
    return reduced if initial is None else to_dtype(combine(reduced, initial), t.dtype)


def sum(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
    promote_integers: bool = True,
) -> Any:
    """The sum over the given axes. bool and small integers are summed in 32 bits, or, without `promote_integers`, in their own.

    Example:
        >>> sum([[1, 2], [3, 4]], axis=0).tolist(), sum([1.0, 2.0], initial=10, where=[True, False]).item()
        ([4, 6], 11.0)
    """
    no_out("sum", out)
    dtype = type_of(as_operand(a)).dtype if dtype is None and not promote_integers else dtype
    return _total("sum", 0, u.add, a, axis, dtype, keepdims, initial, where)


def prod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
    promote_integers: bool = True,
) -> Any:
    """The product over the given axes. bool and small integers are multiplied in 32 bits, or in their own: see `sum`."""
    no_out("prod", out)
    dtype = type_of(as_operand(a)).dtype if dtype is None and not promote_integers else dtype
    return _total("prod", 1, u.multiply, a, axis, dtype, keepdims, initial, where)


# --- extrema --------------------------------------------------------------------------------------


def nonempty(name: str, x: Any, axis: Any, way: str = "") -> Any:
    """`x` as an operand; raises a ShapeError where a reduced axis is empty, with the `way` out."""
    x = as_operand(x)
    shape = type_of(x).shape
    if builtins.any(shape[a] == 0 for a in canonical_axes(name, axis, len(shape))):
        raise ShapeError(
            f"{name}: the reduced axes of shape {shape} are empty: expected at least one element{way}.{at(user_source())}"
        )
    return x


def _extremum(name: str, x: Any, axis: Any, keepdims: bool, initial: Any, where: Any) -> Any:
    low = name == "min"
    x = nonempty(name, x, axis, ", or a value to start from, initial=") if initial is None else as_operand(x)
    dtype = type_of(x).dtype
    if where is not None:
        if initial is None:
            raise ShapeError(f"{name}: with where=, all of a row may be left out: give initial= as well.{at(user_source())}")
        x = _masked(name, x, where, r.identity(name, dtype))
    axes = canonical_axes(name, axis, type_of(x).ndim)
    if dtype == dtypes.bool_:
        y = _reduce(r.reduce_and if low else r.reduce_or, x, axes, keepdims)
    elif dtypes.is_complex(dtype):
        y = _reduce(lambda v, over: _lexicographic(v, over, low), x, axes, keepdims)
    else:
        y = _reduce(r.reduce_min if low else r.reduce_max, x, axes, keepdims)
    if initial is None:
        return y
    check_range(f"{name}: initial", initial, dtype)
    start = asarray(initial)
    check_conversion(f"{name}: initial", type_of(start).dtype, dtype)
    return (u.minimum if low else u.maximum)(y, to_dtype(start, dtype))


def _lexicographic(z: Any, axes: tuple[int, ...], low: bool) -> Any:
    """The extreme complex numbers, by their real parts, then their imaginary ones, as NumPy orders them; NaN if there is one."""
    reduce, outside = (r.reduce_min, np.inf) if low else (r.reduce_max, -np.inf)
    re, im = c.real(z), c.imag(z)
    top = reduce(re, axes)
    ties = e.eq(re, r.restore(top, type_of(re).shape, axes))
    side = reduce(e.select(ties, im, like(outside, im)), axes)
    nan = r.reduce_or(e.logical_or(e.ne(re, re), e.ne(im, im)), axes)
    nothing = like(np.nan, top)
    return c.complex(e.select(nan, nothing, top), e.select(nan, nothing, side))


def max(a: Any, axis: Any = None, out: None = None, keepdims: bool = False, initial: Any = None, where: Any = None) -> Any:
    """The largest element over the given axes; NaN if there is one. Equal elements share the derivative.

    Raises: ShapeError over no elements, unless `initial` is given.
    """
    no_out("max", out)
    return _extremum("max", a, axis, keepdims, initial, where)


def min(a: Any, axis: Any = None, out: None = None, keepdims: bool = False, initial: Any = None, where: Any = None) -> Any:
    """The smallest element over the given axes; NaN if there is one. Equal elements share the derivative.

    Raises: ShapeError over no elements, unless `initial` is given.
    """
    no_out("min", out)
    return _extremum("min", a, axis, keepdims, initial, where)


amax, amin = max, min


def ptp(a: Any, axis: Any = None, out: None = None, keepdims: bool = False) -> Any:
    """The largest minus the smallest element over the given axes ("peak to peak")."""
    no_out("ptp", out)
    return u.subtract(max(a, axis, keepdims=keepdims), min(a, axis, keepdims=keepdims))


# --- extreme positions ----------------------------------------------------------------------------


def _arg(name: str, function: Callable[..., Any], x: Any, axis: int | None, keepdims: bool) -> Any:
    x = nonempty(name, x, axis)
    if type_of(x).dtype == dtypes.bool_:
        x = e.convert(asarray(x), dtypes.uint8)
    rank, shape = type_of(x).ndim, type_of(x).shape
    if axis is None:
        y = function(s.reshape(x, (type_of(x).size,)), 0, index_dtype(type_of(x).size))
        return s.reshape(y, (1,) * rank) if keepdims else y
    axis = canonical_axis(name, axis, rank)
    y = function(x, axis, index_dtype(shape[axis]))
    return s.reshape(y, (*shape[:axis], 1, *shape[axis + 1 :])) if keepdims else y


def argmax(a: Any, axis: int | None = None, out: None = None, keepdims: bool = False) -> Any:
    """The index (int32) of the first largest element along `axis`, or of the flattened array; a NaN counts as largest."""
    no_out("argmax", out)
    return _arg("argmax", r.argmax, a, axis, keepdims)


def argmin(a: Any, axis: int | None = None, out: None = None, keepdims: bool = False) -> Any:
    """The index (int32) of the first smallest element along `axis`, or of the flattened array; a NaN counts as smallest."""
    no_out("argmin", out)
    return _arg("argmin", r.argmin, a, axis, keepdims)


# --- truth ----------------------------------------------------------------------------------------


def _truth(name: str, x: Any, axis: Any, keepdims: bool, where: Any) -> Any:
    x = _masked(name, logic.as_bool(x), where, np.asarray(name == "all"))
    axes = canonical_axes(name, axis, type_of(x).ndim)
    return _reduce(r.reduce_and if name == "all" else r.reduce_or, x, axes, keepdims)


def all(a: Any, axis: Any = None, out: None = None, keepdims: bool = False, *, where: Any = None) -> Any:
    """Whether all elements over the given axes are true (not 0); NaN is true."""
    no_out("all", out)
    return _truth("all", a, axis, keepdims, where)


def any(a: Any, axis: Any = None, out: None = None, keepdims: bool = False, *, where: Any = None) -> Any:
    """Whether any element over the given axes is true (not 0); NaN is true."""
    no_out("any", out)
    return _truth("any", a, axis, keepdims, where)


def count_nonzero(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The number (int32) of elements over the given axes that are not zero."""
    return sum(logic.as_bool(a), axis, dtypes.DEFAULT_INT, keepdims=keepdims)


# --- moments --------------------------------------------------------------------------------------


def _averaged(name: str, x: Any, dtype: Any) -> tuple[Any, dtypes.DType, bool]:
    """`x` in the dtype to compute its moments in, and the dtype and weakness of the result."""
    (x,) = promote_operands(name, x, inexact=True)
    t = type_of(x)
    wanted = t.dtype if dtype is None else dtypes.of(dtype)
    wide = dtypes.promote((wanted, False), (dtypes.float32, False))[0] if dtypes.is_inexact(wanted) else dtypes.DEFAULT_FLOAT
    return to_dtype(x, wide, t.weak and dtype is None), wanted, t.weak and dtype is None


def _number(x: Any, axes: tuple[int, ...], keepdims: bool, where: Any) -> Any:
    """How many elements are averaged: a float, or an array of them where there is a mask."""
    if where is None:
        return float(math.prod(type_of(x).shape[a] for a in axes))
    mask = broadcast_to(logic.as_bool(where), type_of(x).shape)
    return sum(mask, axes, dtypes.real_of(type_of(x).dtype), keepdims=keepdims)


def _mean(x: Any, axis: Any, keepdims: bool, where: Any) -> tuple[Any, Any, tuple[int, ...]]:
    """`x` in the shape of `where`, its mean, and the axes that are averaged."""
    if where is not None:
        x = broadcast_to(x, broadcast_shapes("mean", type_of(x).shape, type_of(as_operand(where)).shape))
    axes = canonical_axes("mean", axis, type_of(x).ndim)
    return x, u.divide(sum(x, axes, keepdims=keepdims, where=where), _number(x, axes, keepdims, where)), axes


def mean(a: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False, *, where: Any = None) -> Any:
    """The arithmetic mean over the given axes; integers give float32. NaN over no elements."""
    no_out("mean", out)
    a, own, weak = _averaged("mean", a, dtype)
    return to_dtype(_mean(a, axis, keepdims, where)[1], own, weak)


def var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = None,
    mean: Any = None,
    correction: float | None = None,
) -> Any:
    """The variance over the given axes, around their mean: the sum of |x - mean|² over n - `correction` (or `ddof`).

    `mean`, if it is known, is taken instead of the mean; it has the shape that `keepdims` gives.

    Integers give float32, complex numbers a real variance. NaN where n is not larger than the correction.

    Example:
        >>> var([1.0, 3.0]).item(), var([1.0, 3.0], correction=1).item()
        (1.0, 2.0)
    """
    no_out("var", out)
    a, own, weak = _averaged("var", a, dtype)
    a, centre, axes = _mean(a, axis, True, where)
    centred = u.subtract(a, centre if mean is None else mean)
    if dtypes.is_complex(type_of(a).dtype):
        squares = e.add(*(e.mul(part, part) for part in (c.real(centred), c.imag(centred))))
    else:
        squares = e.mul(centred, centred)
    less, count = ddof if correction is None else correction, _number(a, axes, keepdims, where)
    if isinstance(count, float):
        count = count - less if count > less else math.nan
    else:
        count = u.subtract(count, less)
        count = e.select(e.gt(count, like(0, count)), count, like(math.nan, count))
    y = u.divide(sum(squares, axes, keepdims=keepdims, where=where), count)
    return to_dtype(y, dtypes.real_of(own), weak)


def std(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = None,
    mean: Any = None,
    correction: float | None = None,
) -> Any:
    """The standard deviation over the given axes: the square root of `var`. Its derivative where it is 0 is 0."""
    no_out("std", out)
    v = var(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction)
    zero = e.eq(v, like(0, v))
    return e.select(zero, like(0, v), e.sqrt(e.select(zero, like(1, v), v)))


def logsumexp(x: Any, /, axis: Any = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x))) over the given axes without overflow; -inf where all elements are -inf, or over none.

    Its derivative is the softmax of `x`; where the largest element is infinite, those that equal it share the derivative.
    """
    (x,) = promote_operands("logsumexp", x, inexact=True)
    axes = canonical_axes("logsumexp", axis, type_of(x).ndim)
    empty = builtins.any(type_of(x).shape[a] == 0 for a in axes)
    top = max(x, axes, keepdims=True, initial=-np.inf if empty else None)
    finite = e.is_finite(top)
    shift = e.stop_gradient(e.select(finite, top, like(0, top)))
    rows = type_of(x).shape
    inside = e.select(broadcast_to(finite, rows), e.sub(x, broadcast_to(shift, rows)), like(0, x))
    total = _reduce(r.reduce_sum, e.exp(inside), axes, True)
    y = e.select(finite, e.add(e.log(total), shift), top)
    return y if keepdims else s.reshape(y, tuple(n for i, n in enumerate(type_of(y).shape) if i not in axes))


__all__ = [
    "all", "amax", "amin", "any", "argmax", "argmin", "count_nonzero", "logsumexp", "max", "mean", "min", "prod", "ptp", "std", "sum",
    "var",
]  # fmt: skip
