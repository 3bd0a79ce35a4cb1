"""Sums of exponentials and what is normalised by them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl.numpy import reductions
from fdl.numpy.promote import asarray, broadcast_shapes, broadcast_to, canonical_axes, promote_operands
from fdl.tracer import dtypes
from fdl.tracer.ops import complex as c
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import shape as s


def logsumexp(
    a: Any,
    axis: Any = None,
    b: Any = None,
    keepdims: bool = False,
    return_sign: bool = False,
    where: Any = None,
) -> Any:
    """log(sum(b exp(a))) over the given axes, without overflow: -inf where all terms are 0, and over none.

    Args:
        a: real or complex numbers; the logarithm of a complex sum is the principal one, and that of a sum of 0 has real part -inf.
        axis: an axis, several, or None for all.
        b: factors, broadcast with `a`; 1 by default.
        return_sign: whether to return the pair (log of the sum's size, its sign: the sum over its size). Otherwise the log of a
            negative real sum is NaN.
        where: which elements take part; all by default.

    The derivative is the softmax of `a`; elements that are -inf have derivative 0, those that equal an infinite largest one share it.

    Example:
        >>> round(float(logsumexp([1000.0, 1000.0])), 3)
        1000.693
    """
    if any(v is not None and dtypes.is_complex(asarray(v).dtype) for v in (a, b)):
        return _complex_logsumexp(a, axis, b, keepdims, return_sign, where)
    if b is None and where is None:
        y = reductions.logsumexp(a, axis, keepdims)
        if not return_sign:
            return y
        one, zero = np.asarray(1, y.dtype), np.asarray(0, y.dtype)
        sign = e.select(e.eq(y, np.asarray(-np.inf, y.dtype)), e.splat(zero, y.shape), e.splat(one, y.shape))
        return y, e.select(e.eq(y, y), sign, y)
    x, factor = promote_operands("logsumexp", a, 1.0 if b is None else b, inexact=True)
    mask = np.asarray(True) if where is None else asarray(where, dtypes.bool_)
    shape = broadcast_shapes("logsumexp", x.shape, np.shape(factor), mask.shape)
    x, factor, mask = (broadcast_to(v, shape) for v in (x, factor, mask))
    zero = np.asarray(0, x.dtype)
    # Elements without weight take no part, whatever they are.
    taken = e.logical_and(mask, e.ne(factor, zero))
    x = e.select(taken, x, e.splat(np.asarray(-np.inf, x.dtype), shape))
    factor = e.select(mask, factor, e.splat(zero, shape))
    axes = canonical_axes("logsumexp", axis, len(shape))
    top = reductions.max(x, axes, keepdims=True, initial=-np.inf)
    finite = e.is_finite(top)
    shift = e.stop_gradient(e.select(finite, top, e.splat(zero, top.shape)))
    inside = e.select(taken, x, e.splat(zero, shape))
    term = e.exp(e.sub(inside, broadcast_to(shift, shape)))
    total = reductions.sum(e.mul(factor, e.select(taken, term, e.splat(zero, shape))), axes, keepdims=True)
    sign = e.sign(total)
    empty = e.eq(total, zero)
    size = e.abs(e.select(empty, e.splat(np.asarray(1, x.dtype), total.shape), total))
    y = e.select(empty, e.splat(np.asarray(-np.inf, x.dtype), total.shape), e.add(e.log(size), shift))
    if not return_sign:
        y = e.select(e.lt(total, zero), e.splat(np.asarray(np.nan, x.dtype), y.shape), y)
    kept = y.shape if keepdims else tuple(n for i, n in enumerate(y.shape) if i not in axes)
    y, sign = s.reshape(y, kept), s.reshape(sign, kept)
    return (y, sign) if return_sign else y


def _complex_logsumexp(a: Any, axis: Any, b: Any, keepdims: bool, return_sign: bool, where: Any) -> Any:
    """`logsumexp` of complex terms, whose sizes are those of their real parts: these are shifted, and the logarithm is complex."""
    x, factor = (asarray(v) for v in promote_operands("logsumexp", a, 1.0 if b is None else b, inexact=True))
    mask = np.asarray(True) if where is None else asarray(where, dtypes.bool_)
    shape = broadcast_shapes("logsumexp", x.shape, factor.shape, mask.shape)
    x, factor, mask = (broadcast_to(v, shape) for v in (x, factor, mask))
    zero = np.asarray(0, x.dtype)
    taken = e.logical_and(mask, e.ne(factor, zero))
    x, factor = (e.select(taken, v, e.splat(zero, shape)) for v in (x, factor))
    axes = canonical_axes("logsumexp", axis, len(shape))
    top = reductions.max(c.real(x), axes, keepdims=True, initial=-np.inf, where=taken)
    shift = e.stop_gradient(e.select(e.is_finite(top), top, e.splat(np.asarray(0, top.dtype), top.shape)))
    part = e.exp(e.sub(x, broadcast_to(e.convert(shift, x.dtype), shape)))
    total = reductions.sum(e.mul(factor, e.select(taken, part, e.splat(zero, shape))), axes, keepdims=keepdims)
    shift = s.reshape(shift, total.shape)
    if not return_sign:
        return e.add(e.log(total), e.convert(shift, x.dtype))
    return e.add(e.log(e.abs(total)), shift), e.sign(total)


def softmax(x: Any, /, *, axis: Any = None) -> Any:
    """exp(x) over its sum along the given axes (all by default), without overflow.

    Example:
        >>> softmax([1000.0, 1000.0]).tolist()
        [0.5, 0.5]
    """
    return _normalised("softmax", x, axis, False)


def log_softmax(x: Any, /, *, axis: Any = None) -> Any:
    """x minus the logarithm of the sum of exp(x) along the given axes (all by default), without overflow."""
    return _normalised("log_softmax", x, axis, True)


def _normalised(name: str, x: Any, axis: Any, log: bool) -> Any:
    (x,) = promote_operands(name, x, inexact=True)
    x = asarray(x)
    axes = canonical_axes(name, axis, x.ndim)
    if 0 in x.shape:
        return x
    top = e.stop_gradient(reductions.max(c.real_of(x), axes, keepdims=True))
    top = e.select(e.is_finite(top), top, e.splat(np.asarray(0, top.dtype), top.shape))
    if dtypes.is_complex(x.dtype):
        top = e.convert(top, x.dtype)
    shifted = e.sub(x, broadcast_to(top, x.shape))
    power = e.exp(shifted)
    total = reductions.sum(power, axes, keepdims=True)
    if log:
        return e.sub(shifted, broadcast_to(e.log(total), x.shape))
    return e.div(power, broadcast_to(total, x.shape))


__all__ = ["log_softmax", "logsumexp", "softmax"]
