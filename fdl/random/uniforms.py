"""Random bits, uniform numbers and integers; and what all samplers share: their dtypes, parameters and shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fdl.numpy.creation import as_shape
from fdl.numpy.promote import as_operand, broadcast_shapes, broadcast_to, to_dtype
from fdl.numpy.ufuncs import clip
from fdl.tracer import dtypes
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import random as ops
from fdl.tracer.trace import Tracer

from .keys import check_key, pair

UNSIGNED = {8: dtypes.uint8, 16: dtypes.uint16, 32: dtypes.uint32, 64: dtypes.uint64}
MANTISSA = {dtypes.float16: 10, dtypes.bfloat16: 7, dtypes.float32: 23, dtypes.float64: 52}
TINY = {dtypes.float16: 2.0**-14, dtypes.bfloat16: 2.0**-126, dtypes.float32: 2.0**-126, dtypes.float64: 2.0**-1022}

# --- what samplers share --------------------------------------------------------------------------


def float_dtype(dtype: Any, who: str) -> dtypes.DType:
    """The floating-point dtype that was asked for, float32 for None. Raises: DTypeError for another kind."""
    wanted = dtypes.DEFAULT_FLOAT if dtype is None else dtypes.of(dtype)
    if not dtypes.is_float(wanted):
        raise DTypeError(f"random.{who}: expected a floating-point dtype, got {wanted.name}.{at(user_source())}")
    return wanted


def int_dtype(dtype: Any, who: str) -> dtypes.DType:
    """The integer dtype that was asked for, int32 for None. Raises: DTypeError for another kind."""
    wanted = dtypes.DEFAULT_INT if dtype is None else dtypes.of(dtype)
    if not dtypes.is_int(wanted):
        raise DTypeError(f"random.{who}: expected an integer dtype, got {wanted.name}.{at(user_source())}")
    return wanted


def parameters(who: str, dtype: dtypes.DType, **values: Any) -> list[Any]:
    """Parameters of a distribution in the dtype of its samples. Raises: DTypeError for complex ones."""
    out = []
    for name, value in values.items():
        x = as_operand(value, f"random.{who}: {name}")
        t = type_of(x)
        if dtypes.is_complex(t.dtype):
            raise DTypeError(f"random.{who}: {name} must be real, got {t}.{at(user_source())}")
        out.append(to_dtype(x, dtype))
    return out


def result_shape(who: str, shape: Any, *params: Any, lost: int = 0) -> tuple[int, ...]:
    """The shape of the samples: what was asked for, or that of the parameters (without their last `lost` axes).

    Raises: ShapeError unless the parameters broadcast to it.
    """
    given = [type_of(p).shape for p in params]
    given = [n[: len(n) - lost] if lost else n for n in given]
    common = broadcast_shapes(f"random.{who}", *given)
    if shape is None:
        return common
    wanted = as_shape(f"random.{who}", shape)
    fits = len(common) <= len(wanted) and all(a in (1, b) for a, b in zip(common[::-1], wanted[::-1], strict=False))
    if not fits:
        raise ShapeError(
            f"random.{who}: the parameters have shapes {' and '.join(map(str, given))}, which do not broadcast to shape={wanted}. "
            f"`shape` is that of the whole result, the parameters' axes included.{at(user_source())}"
        )
    return wanted


def spread(x: Any, shape: tuple[int, ...]) -> Any:
    """`x` in the shape of the samples; a 0-d parameter stays 0-d."""
    return x if type_of(x).shape == () else broadcast_to(x, shape)


# --- bits and uniform numbers ---------------------------------------------------------------------


def bits(key: Any, shape: Any = (), dtype: Any = np.uint32) -> Any:
    """Uniform random bits as unsigned integers of 8, 16, 32 or 64 bits."""
    wanted = dtypes.of(dtype)
    if wanted not in dtypes.UNSIGNED:
        raise DTypeError(f"random.bits: expected an unsigned integer dtype, got {wanted.name}.{at(user_source())}")
    return ops.random_bits(check_key(key, "bits"), as_shape("random.bits", shape), dtypes.bits(wanted))


def unit_from_bits(raw: Any, wanted: dtypes.DType) -> Any:
    """Numbers in [0, 1) from unsigned integers: their high bits as the mantissa under the exponent of 1, minus 1."""
    width, mantissa, drawn = dtypes.bits(wanted), MANTISSA[wanted], dtypes.bits(type_of(raw).dtype)
    raw = e.convert(raw, UNSIGNED[width])
    one = np.ones((), wanted).view(UNSIGNED[width])
    shifted = e.shift_right_logical(raw, np.asarray(drawn - mantissa, UNSIGNED[width]))
    return e.sub(e.bitcast(e.logical_or(shifted, one), wanted), np.ones((), wanted))


def uniform(key: Any, shape: Any = (), dtype: Any = np.float32, minval: Any = 0.0, maxval: Any = 1.0) -> Any:
    """Uniform numbers in [minval, maxval): random mantissa bits under the exponent of 1, minus 1, scaled.

    Args:
        shape: the shape of the result, to which the bounds broadcast.

    Example:
        >>> import fdl
        >>> uniform(fdl.random.key(0), (2, 3)).shape
        (2, 3)
    """
    wanted = float_dtype(dtype, "uniform")
    bounds = parameters("uniform", wanted, minval=minval, maxval=maxval)
    shape = result_shape("uniform", shape, *bounds)
    drawn = 8 if MANTISSA[wanted] < 8 else dtypes.bits(wanted)
    unit = unit_from_bits(ops.random_bits(check_key(key, "uniform"), shape, drawn), wanted)
    low, high = (spread(v, shape) for v in bounds)
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
    if wanted == dtypes.float32 and not exact:
        wide = [e.convert(v, dtypes.float64) for v in (unit, span, low)]
        return e.convert(e.add(e.mul(wide[0], wide[1]), wide[2]), wanted)
    twice = e.add(e.mul(unit, span), low)
    if wanted == dtypes.float64 and not exact:
        # The two are neighbours, so that their difference is exact; the derivative is that of the formula.
        once = _rounded_once(*(e.stop_gradient(v) for v in (unit, span, low)))
        off = e.sub(once, e.stop_gradient(twice))
        return e.add(twice, e.select(e.is_finite(off), off, e.splat(np.zeros(()), type_of(off).shape)))
    return twice


def _rounded_once(a: Any, b: Any, c: Any) -> Any:
    """a * b + c in float64 with one rounding: the two errors are added with rounding to odd.

    Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums: proved algorithms using rounding to odd", IEEE Transactions on
    Computers 57 (2008), figure 2.
    """
    product, product_low = _two_product(a, b)
    partial, partial_low = _two_sum(c, product_low)
    total, total_low = _two_sum(product, partial)
    rest, rest_low = _two_sum(partial_low, total_low)
    # Towards the error, to the neighbour whose last bit is 1, where `rest` is not exact and ends with a 0.
    zero, none, one = np.zeros(()), np.zeros((), np.int64), np.ones((), np.int64)
    bits = e.bitcast(rest, dtypes.int64)
    away = e.convert(e.eq(e.gt(rest_low, zero), e.gt(rest, zero)), dtypes.int64)
    moves = e.convert(e.logical_and(e.ne(rest_low, zero), e.eq(e.logical_and(bits, one), none)), dtypes.int64)
    odd = e.add(bits, e.mul(moves, e.sub(e.add(away, away), one)))
    return e.add(total, e.bitcast(odd, dtypes.float64))


def _two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """a + b, and what its rounding left out (Knuth)."""
    total = e.add(a, b)
    other = e.sub(total, a)
    return total, e.add(e.sub(a, e.sub(total, other)), e.sub(b, other))


def _two_product(a: Any, b: Any) -> tuple[Any, Any]:
    """a * b, and what its rounding left out (Dekker)."""
    product = e.mul(a, b)
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    rest = e.sub(e.mul(a_high, b_high), product)
    for x, y in ((a_high, b_low), (a_low, b_high), (a_low, b_low)):
        rest = e.add(rest, e.mul(x, y))
    return product, rest


def _halves(x: Any) -> tuple[Any, Any]:
    """A float64 as the sum of its upper 26 bits and the lower 27."""
    upper = e.logical_and(e.bitcast(x, dtypes.int64), np.asarray(-1 << 27, np.int64))
    high = e.bitcast(upper, dtypes.float64)
    return high, e.sub(x, high)


def positive_uniform(key: Any, shape: Sequence[int], wanted: dtypes.DType, low: float) -> Any:
    """Uniform numbers in [low, 1)."""
    return uniform(key, tuple(shape), wanted, np.asarray(low, wanted), np.ones((), wanted))


# --- integers -------------------------------------------------------------------------------------


def randint(key: Any, shape: Any, minval: Any, maxval: Any, dtype: Any = np.int32) -> Any:
    """Integers in [minval, maxval), uniform up to a bias of at most (maxval - minval) / 2^bits; minval where the range is empty."""
    wanted = int_dtype(dtype, "randint")
    shape = as_shape("random.randint", shape)
    if dtypes.bits(wanted) < 32:  # drawn in 32 bits, where the bias is small
        info = np.iinfo(wanted)
        low, high = (_clamp(v, info.min, info.max + extra) for v, extra in ((minval, 0), (maxval, 1)))
        return e.convert(randint(key, shape, low, high), wanted)
    width = dtypes.bits(wanted)
    unsigned = UNSIGNED[width]
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
    low, high = (spread(v, shape) for v in bounds)
    upper, lower = (ops.random_bits(k, shape, width) for k in pair(check_key(key, "randint")))
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


__all__ = ["bits", "randint", "uniform"]
