"""Sums of exponentials and what is normalised by them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl.numpy import reductions
from fdl.numpy.promote import asarray, broadcast_shapes, broadcast_to, canonical_axes, promote_operands
from fdl.numpy.ufuncs import real_only
from fdl.tracer import dtypes
from fdl.tracer.errors import DTypeError, at, user_source
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import shape as s


def logsumexp(
    a: Any,
    /,
    axis: Any = None,
    b: Any = None,
    keepdims: bool = False,
    return_sign: bool = False,
    where: Any = None,
) -> Any:
    """log(sum(b exp(a))) over the given axes, without overflow: -inf where all terms are 0, and over none.

    Args:
        a: real numbers.
        axis: an axis, several, or None for all.
        b: factors, broadcast with `a`; 1 by default.
        return_sign: whether to return the pair (log of the sum's size, its sign). Otherwise the log of a negative sum is NaN.
        where: which elements take part; all by default.

    The derivative is the softmax of `a`; elements that are -inf have derivative 0, those that equal an infinite largest one share it.

    Raises: DTypeError for complex numbers.

    Example:
        >>> round(float(logsumexp([1000.0, 1000.0])), 3)
        1000.693
    """
    if dtypes.is_complex(asarray(a).dtype):
        raise DTypeError(f"logsumexp: takes real numbers, got {asarray(a).dtype.name}.{at(user_source())}")
    if b is None and where is None:
        y = reductions.logsumexp(a, axis, keepdims)
        if not return_sign:
            return y
        one, zero = np.asarray(1, y.dtype), np.asarray(0, y.dtype)
        sign = e.select(e.eq(y, np.asarray(-np.inf, y.dtype)), e.splat(zero, y.shape), e.splat(one, y.shape))
        return y, e.select(e.eq(y, y), sign, y)
    x, factor = promote_operands("logsumexp", a, 1.0 if b is None else b, inexact=True)
    real_only("logsumexp", factor)
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


def softmax(x: Any, /, *, axis: Any = None) -> Any:
    """exp(x) over its sum along the given axes (all by default), without overflow.

    Example:
        >>> softmax([1000.0, 1000.0]).tolist()
        [0.5, 0.5]
    """
    return e.exp(log_softmax(x, axis=axis)) if _is_empty(x) else _normalised("softmax", x, axis, False)


def log_softmax(x: Any, /, *, axis: Any = None) -> Any:
    """x minus the logarithm of the sum of exp(x) along the given axes (all by default), without overflow."""
    return asarray(x) if _is_empty(x) else _normalised("log_softmax", x, axis, True)


def _is_empty(x: Any) -> bool:
    return 0 in asarray(x).shape


def _normalised(name: str, x: Any, axis: Any, log: bool) -> Any:
    (x,) = promote_operands(name, x, inexact=True)
    real_only(name, x)
    x = asarray(x)
    axes = canonical_axes(name, axis, x.ndim)
    top = e.stop_gradient(reductions.max(x, axes, keepdims=True))
    top = e.select(e.is_finite(top), top, e.splat(np.asarray(0, x.dtype), top.shape))
    shifted = e.sub(x, broadcast_to(top, x.shape))
    power = e.exp(shifted)
    total = reductions.sum(power, axes, keepdims=True)
    if log:
        return e.sub(shifted, broadcast_to(e.log(total), x.shape))
    return e.div(power, broadcast_to(total, x.shape))


__all__ = ["log_softmax", "logsumexp", "softmax"]
