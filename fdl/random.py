"""Random numbers from explicit keys: the same key, shape and dtype give the same numbers, on every machine and for any number of threads.

The generator is threefry2x32 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011) with 20 rounds,
in the layout of JAX's default: element i of an array is made from counter i, and the samplers follow JAX's algorithms, so that
all but `normal`, `gumbel` and `categorical` give JAX's bits.  A key is a uint32 array of shape (2,).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fdl.numpy.creation import as_shape
from fdl.numpy.indexing import getitem
from fdl.numpy.promote import as_operand, asarray, broadcast_shapes, broadcast_to, promote_operands, to_dtype
from fdl.numpy.reductions import argmax
from fdl.numpy.ufuncs import clip
from fdl.tracer import dtypes
from fdl.tracer.array import Array
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import order
from fdl.tracer.ops import random as ops
from fdl.tracer.ops import shape as s
from fdl.tracer.trace import Tracer

_UNSIGNED = {8: dtypes.uint8, 16: dtypes.uint16, 32: dtypes.uint32, 64: dtypes.uint64}


def key(seed: int) -> Array:
    """The key of a seed, a Python integer of at most 64 bits.

    Example:
        >>> key(0).tolist()
        [0, 0]
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise DTypeError(f"random.key: the seed must be an integer, got {seed!r}.{at(user_source())}")
    seed = int(seed)
    high = 0 if -(2**31) <= seed < 2**31 else (seed >> 32) & 0xFFFFFFFF
    return Array(np.array([high, seed & 0xFFFFFFFF], np.uint32))


def _key(k: Any, who: str) -> Any:
    k = as_operand(k, f"random.{who}: the key")
    t = type_of(k)
    if t.dtype != dtypes.uint32 or t.shape != (2,):
        raise DTypeError(
            f"random.{who}: expected a key (uint32 of shape (2,), from random.key or random.split), got {t}.{at(user_source())}"
        )
    return k


def _words(k: Any) -> tuple[Any, Any]:
    return s.reshape(s.slice(k, (0,), (1,)), ()), s.reshape(s.slice(k, (1,), (2,)), ())


def split(key: Any, num: int | tuple[int, ...] = 2) -> Any:
    """`num` new keys, an array of shape (num, 2). Use a key once: split it first.

    Example:
        >>> a, b = split(key(0))
    """
    shape = as_shape("random.split", num)
    k0, k1 = _words(_key(key, "split"))
    n = math.prod(shape)
    low = s.reshape(s.iota((n,), dtypes.uint32, 0), shape)
    high = s.broadcast(np.zeros((), np.uint32), shape, ())
    words = e.threefry0(k0, k1, high, low), e.threefry1(k0, k1, high, low)
    return s.concatenate([s.reshape(w, (*shape, 1)) for w in words], len(shape))


def fold_in(key: Any, data: Any) -> Any:
    """A new key made from a key and an integer, such as a step number."""
    k0, k1 = _words(_key(key, "fold_in"))
    low = to_dtype(as_operand(data, "random.fold_in: data"), dtypes.uint32)
    if type_of(low).shape != ():
        raise ShapeError(
            f"random.fold_in: data must be a scalar, got shape {type_of(low).shape}. Map with vmap.{at(user_source())}"
        )
    zero = np.zeros((), np.uint32)
    return s.concatenate([s.reshape(f(k0, k1, zero, low), (1,)) for f in (e.threefry0, e.threefry1)], 0)


def bits(key: Any, shape: Any = (), dtype: Any = np.uint32) -> Any:
    """Uniform random bits as unsigned integers of 8, 16, 32 or 64 bits."""
    wanted = dtypes.of(dtype)
    if wanted not in dtypes.UNSIGNED:
        raise DTypeError(f"random.bits: expected an unsigned integer dtype, got {wanted.name}.{at(user_source())}")
    return ops.random_bits(_key(key, "bits"), as_shape("random.bits", shape), dtypes.bits(wanted))


def _float(dtype: Any, who: str) -> dtypes.DType:
    wanted = dtypes.of(dtype)
    if not dtypes.is_float(wanted):
        raise DTypeError(f"random.{who}: expected a floating-point dtype, got {wanted.name}.{at(user_source())}")
    return wanted


_MANTISSA = {dtypes.float16: 10, dtypes.bfloat16: 7, dtypes.float32: 23, dtypes.float64: 52}


def uniform(key: Any, shape: Any = (), dtype: Any = np.float32, minval: Any = 0.0, maxval: Any = 1.0) -> Any:
    """Uniform numbers in [minval, maxval): random mantissa bits under the exponent of 1, minus 1, scaled."""
    wanted = _float(dtype, "uniform")
    shape = as_shape("random.uniform", shape)
    width, mantissa = dtypes.bits(wanted), _MANTISSA[wanted]
    drawn = 8 if mantissa < 8 else width
    raw = e.convert(ops.random_bits(_key(key, "uniform"), shape, drawn), _UNSIGNED[width])
    one = np.ones((), wanted).view(_UNSIGNED[width])
    shifted = e.shift_right_logical(raw, np.asarray(drawn - mantissa, _UNSIGNED[width]))
    unit = e.sub(e.bitcast(e.logical_or(shifted, one), wanted), np.ones((), wanted))
    low, high = (
        broadcast_to(to_dtype(as_operand(v, "random.uniform: a bound"), wanted), _bound_shape(v, shape))
        for v in (minval, maxval)
    )
    if all(isinstance(v, (int, float, np.generic, np.ndarray)) and np.ndim(v) == 0 for v in (minval, maxval)):
        with np.errstate(all="ignore"):  # static bounds: the span is a constant
            span = np.subtract(np.asarray(high), np.asarray(low), dtype=wanted)
        return e.max(low, _scaled(unit, span, low))
    return e.max(low, _scaled(unit, e.sub(high, low), low))


def _scaled(unit: Any, span: Any, low: Any) -> Any:
    """unit * span + low rounded once, as JAX's compiler has it: float32 goes through float64, whose product is exact.

    Where the span is a known power of two the product is exact anyway.
    """
    wanted = type_of(unit).dtype
    exact = not isinstance(span, Tracer) and type_of(span).shape == () and math.frexp(float(np.asarray(span)))[0] == 0.5
    if exact or wanted != dtypes.float32:
        return e.add(e.mul(unit, span), low)
    wide = [e.convert(v, dtypes.float64) for v in (unit, span, low)]
    return e.convert(e.add(e.mul(wide[0], wide[1]), wide[2]), wanted)


def _bound_shape(v: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    return () if type_of(as_operand(v)).shape == () else shape


def normal(key: Any, shape: Any = (), dtype: Any = np.float32) -> Any:
    """Standard normal numbers, by the inverse of the error function: sqrt(2) erf_inv(u) for u uniform in (-1, 1)."""
    wanted = _float(dtype, "normal")
    low = np.nextafter(np.asarray(-1, wanted), np.asarray(0, wanted))
    u = uniform(key, shape, wanted, low, np.ones((), wanted))
    return e.mul(np.asarray(np.sqrt(2), wanted), e.erf_inv(u))


def bernoulli(key: Any, p: Any = 0.5, shape: Any = None) -> Any:
    """Bools that are True with probability `p` (a number or an array; `shape` defaults to its shape)."""
    p = as_operand(p, "random.bernoulli: p")
    t = type_of(p)
    wanted = t.dtype if dtypes.is_float(t.dtype) else dtypes.DEFAULT_FLOAT
    p = to_dtype(p, wanted)
    shape = t.shape if shape is None else as_shape("random.bernoulli", shape)
    return e.lt(uniform(key, shape, wanted), p if t.shape == () else broadcast_to(p, shape))


def randint(key: Any, shape: Any, minval: Any, maxval: Any, dtype: Any = np.int32) -> Any:
    """Integers in [minval, maxval), uniform up to a bias of at most (maxval - minval) / 2^bits; minval where the range is empty."""
    wanted = dtypes.of(dtype)
    if not dtypes.is_int(wanted):
        raise DTypeError(f"random.randint: expected an integer dtype, got {wanted.name}.{at(user_source())}")
    shape = as_shape("random.randint", shape)
    if dtypes.bits(wanted) < 32:  # drawn in 32 bits, where the bias is small
        info = np.iinfo(wanted)
        low, high = (_clamp(v, info.min, info.max + extra) for v, extra in ((minval, 0), (maxval, 1)))
        return e.convert(randint(key, shape, low, high), wanted)
    width = dtypes.bits(wanted)
    unsigned = _UNSIGNED[width]
    info = np.iinfo(wanted)
    beyond: Any = np.asarray(False)
    bounds = []
    for v in (minval, maxval):
        if isinstance(v, (int, np.integer)):
            beyond = np.asarray(int(v) > info.max)
            bounds.append(np.asarray(min(max(int(v), info.min), info.max), wanted))
        else:
            beyond = np.asarray(False)
            bounds.append(to_dtype(as_operand(v, "random.randint: a bound"), wanted))
    low, high = (v if type_of(v).shape == () else broadcast_to(v, shape) for v in bounds)
    k = split(_key(key, "randint"))
    upper, lower = (ops.random_bits(getitem(k, i), shape, width) for i in (0, 1))
    one = np.ones((), unsigned)
    span = e.sub(e.convert(high, unsigned), e.convert(low, unsigned))
    span = e.select(e.le(high, low), one, span)
    span = e.select(e.logical_and(beyond, e.gt(high, low)), e.add(span, one), span)
    half = np.asarray(1 << (width // 2), unsigned)
    factor = e.rem(half, span)
    factor = e.rem(e.mul(factor, factor), span)
    offset = e.rem(e.add(e.mul(e.rem(upper, span), factor), e.rem(lower, span)), span)
    return e.add(low, e.convert(offset, wanted))


def _clamp(v: Any, low: int, high: int) -> Any:
    if isinstance(v, (int, np.integer)):
        return min(max(int(v), low), high)
    return clip(to_dtype(as_operand(v, "random.randint: a bound"), dtypes.int32), low, high)


def permutation(key: Any, x: Any, axis: int = 0) -> Any:
    """`x` shuffled along an axis; for an integer n, a permutation of range(n). By sorting random keys, several times for large n."""
    if isinstance(x, (int, np.integer)):
        return _shuffle(key, s.iota((int(x),), dtypes.DEFAULT_INT, 0))
    x = asarray(x)
    t = type_of(x)
    if t.ndim == 0:
        raise ShapeError(
            f"random.permutation: expected an array with at least one axis, or an int, got {t}.{at(user_source())}"
        )
    if t.ndim == 1:
        return _shuffle(key, x)
    axis %= t.ndim
    order_ = _shuffle(key, s.iota((t.shape[axis],), dtypes.DEFAULT_INT, 0))
    return getitem(x, (*(slice(None),) * axis, order_))


def _shuffle(key: Any, x: Any) -> Any:
    key = _key(key, "permutation")
    n = type_of(x).size
    rounds = math.ceil(3 * math.log(max(1, n)) / math.log(2**32 - 1))
    for _ in range(rounds):
        both = split(key)
        key, sub = getitem(both, 0), getitem(both, 1)
        x = order.sort([ops.random_bits(sub, (n,), 32), x], 0)[1]
    return x


def gumbel(key: Any, shape: Any = (), dtype: Any = np.float32) -> Any:
    """Standard Gumbel numbers: -log(-log(u))."""
    wanted = _float(dtype, "gumbel")
    tiny = np.asarray(_TINY[wanted], wanted)
    u = uniform(key, shape, wanted, tiny, np.ones((), wanted))
    return e.neg(e.log(e.neg(e.log(u))))


_TINY = {dtypes.float16: 2.0**-14, dtypes.bfloat16: 2.0**-126, dtypes.float32: 2.0**-126, dtypes.float64: 2.0**-1022}


def categorical(key: Any, logits: Any, axis: int = -1, shape: Any = None) -> Any:
    """Indices (int32) drawn with probabilities softmax(logits) along `axis`, by the Gumbel-max trick.

    Args:
        shape: the shape of the result, which must end in the logits' shape without `axis`; that shape by default.
    """
    (x,) = promote_operands("categorical", logits, inexact=True)
    t = type_of(x)
    axis %= t.ndim
    rest = t.shape[:axis] + t.shape[axis + 1 :]
    shape = rest if shape is None else as_shape("random.categorical", shape)
    if broadcast_shapes("random.categorical", shape, rest) != shape:
        raise ShapeError(
            f"random.categorical: shape {shape} must end in {rest}, the logits' without axis {axis}.{at(user_source())}"
        )
    lead = len(shape) - len(rest)
    full = (*shape[: lead + axis], t.shape[axis], *shape[lead + axis :])
    return argmax(e.add(gumbel(key, full, t.dtype), broadcast_to(x, full)), lead + axis)
