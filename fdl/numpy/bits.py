"""Bits of integers and floats: bitwise logic, shifts, sign bits, neighbours, mantissas and exponents, reinterpretation."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import complex as c
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import shape as s

from .promote import as_operand, asarray, broadcast_operands, like, promote_operands, to_dtype
from .ufuncs import define, real_only

bitwise_and = define("bitwise_and", e.logical_and, "x1 & x2", 2, wraps=True)
bitwise_or = define("bitwise_or", e.logical_or, "x1 | x2", 2, wraps=True)
bitwise_xor = define("bitwise_xor", e.logical_xor, "x1 ^ x2", 2, wraps=True)
bitwise_not = bitwise_invert = invert = define("bitwise_invert", e.logical_not, "~x", 1)
bitwise_left_shift = left_shift = define("bitwise_left_shift", e.shift_left, "x1 << x2; 0 where x2 is the width or more", 2)


def bitwise_right_shift(x1: Any, x2: Any, /) -> Any:
    """x1 >> x2, elementwise: filled with the sign for signed integers, with zeros for unsigned ones."""
    x, y = promote_operands("bitwise_right_shift", x1, x2)
    return (e.shift_right_arithmetic if dtypes.is_signed(type_of(x).dtype) else e.shift_right_logical)(x, y)


right_shift = bitwise_right_shift


def bitwise_count(x: Any, /) -> Any:
    """The number of one bits (uint8) in the absolute value of the integers `x`, elementwise."""
    (x,) = promote_operands("bitwise_count", x, numeric=True)
    return e.convert(e.population_count(e.abs(x)), dtypes.uint8)


# --- signs ----------------------------------------------------------------------------------------


def _signed_bits(x: Any) -> Any:
    """The bits of a float `x` as signed integers of its width."""
    return e.bitcast(x, word_dtype(type_of(x).dtype))


def signbit(x: Any, /) -> Any:
    """Whether the sign bit of a real `x` is set, elementwise: also for -0.0 and for NaNs that have it."""
    (x,) = promote_operands("signbit", x)
    t = type_of(real_only("signbit", x))
    if dtypes.is_float(t.dtype):
        x = _signed_bits(x)
    elif t.dtype == dtypes.bool_:
        return asarray(e.splat(np.asarray(False), t.shape))
    return e.lt(x, like(0, x))


def copysign(x1: Any, x2: Any, /) -> Any:
    """`x1` with the sign bit of `x2`, elementwise. Its derivative in `x2` is 0, and in `x1`, 0 at 0."""
    x, y = promote_operands("copysign", x1, x2, inexact=True)
    size = e.abs(real_only("copysign", x))
    return e.select(*broadcast_operands("copysign", signbit(y), e.neg(size), size))


def modf(x: Any, /) -> tuple[Any, Any]:
    """The fractional and the whole part of a real `x`, elementwise, both with its sign. Their derivatives are 1 and 0."""
    (x,) = promote_operands("modf", x, inexact=True)
    whole, below = e.trunc(real_only("modf", x)), signbit(x)
    # x - whole is +0 for a whole x: its negative, negated, has the sign of a negative x.
    rest = e.select(below, e.neg(e.sub(whole, x)), e.sub(x, whole))
    infinite = e.eq(e.abs(x), like(np.inf, x))
    return e.select(infinite, e.select(below, like(-0.0, x), like(0, x)), rest), whole


# --- neighbours -----------------------------------------------------------------------------------

nextafter = define(
    "nextafter", e.nextafter, "The next floating-point number after x1 towards x2 (it has no derivative)", 2, True
)


def spacing(x: Any, /) -> Any:
    """The distance from a real `x` to the next floating-point number away from 0, elementwise, negative where `x` is."""
    (x,) = promote_operands("spacing", x, inexact=True)
    x = e.stop_gradient(real_only("spacing", x))
    outward = e.select(e.lt(x, like(0, x)), like(-np.inf, x), like(np.inf, x))
    step = e.sub(e.nextafter(*broadcast_operands("spacing", x, outward)), x)
    # Beyond the largest number there is none: the step is the one below it.
    inward = e.sub(x, e.nextafter(x, like(0, x)))
    edge = e.logical_and(e.is_finite(x), e.logical_not(e.is_finite(step)))
    return e.select(edge, inward, step)


# --- mantissa and exponent ------------------------------------------------------------------------

# dtype: (bits of the mantissa, bias of the exponent)
_LAYOUT = {dtypes.float32: (23, 127), dtypes.float64: (52, 1023)}


def _wide(x: Any) -> tuple[Any, dtypes.DType]:
    """A float `x`, float16 and bfloat16 as float32, and its own dtype."""
    own = type_of(x).dtype
    return (x if own in _LAYOUT else e.convert(x, dtypes.float32)), own


def _power_of_two(n: Any, dtype: dtypes.DType) -> Any:
    """2 to the integers `n` (of the width of `dtype`), within the range of normal numbers."""
    mantissa, bias = _LAYOUT[dtype]
    return e.bitcast(e.shift_left(e.add(n, like(bias, n)), like(mantissa, n)), dtype)


def ldexp(x1: Any, x2: Any, /) -> Any:
    """x1 · 2 to the integers `x2`, elementwise, rounded once.

    Example:
        >>> ldexp(3.0, [2, -1]).tolist()
        [12.0, 1.5]
    """
    n = as_operand(x2, "ldexp: x2")
    if not dtypes.is_int(type_of(n).dtype):
        raise DTypeError(f"ldexp: the exponents must be integers, got {type_of(n)}.{at(user_source())}")
    (x,) = promote_operands("ldexp", x1, inexact=True)
    y, own = _wide(real_only("ldexp", x))
    dtype = type_of(y).dtype
    mantissa, bias = _LAYOUT[dtype]
    limit = 4 * bias if type_of(n).dtype.itemsize > 1 else 127
    n = e.max(e.min(n, like(limit, n)), like(-limit if dtypes.is_signed(type_of(n).dtype) else 0, n))
    n = to_dtype(n, np.dtype(f"int{dtypes.bits(dtype)}"))
    y, n = broadcast_operands("ldexp", y, n)
    # Large exponents in steps: only the last product may leave the normal numbers, so that it alone rounds.
    for step, sign in ((bias, 1), (bias, 1), (bias - 1 - mantissa, -1), (bias - 1 - mantissa, -1), (bias - 1 - mantissa, -1)):
        amount = like(sign * step, n)
        beyond = e.gt(n, like(bias, n)) if sign > 0 else e.lt(n, like(1 - bias, n))
        y = e.select(*broadcast_operands("ldexp", beyond, e.mul(y, like(2.0 ** (sign * step), y)), y))
        n = e.select(beyond, e.sub(n, amount), n)
    n = e.max(e.min(n, like(bias, n)), like(1 - bias, n))
    return e.convert(e.mul(*broadcast_operands("ldexp", y, _power_of_two(n, dtype))), own, type_of(x).weak)


def frexp(x: Any, /) -> tuple[Any, Any]:
    """The mantissa m, 0.5 <= |m| < 1, and the exponent n (int32) of a real `x` = m · 2ⁿ, elementwise; 0 and 0 for 0.

    An infinity or NaN is its own mantissa, with exponent 0. The mantissa has the derivative 2⁻ⁿ.
    """
    (x,) = promote_operands("frexp", x, inexact=True)
    y, own = _wide(real_only("frexp", x))
    dtype = type_of(y).dtype
    mantissa, bias = _LAYOUT[dtype]
    still = e.stop_gradient(y)
    small = e.lt(e.abs(still), like(np.finfo(dtype).smallest_normal, y))
    lifted = e.select(small, e.mul(still, like(2.0 ** (mantissa + 1), y)), still)
    field = e.shift_right_logical(_signed_bits(e.abs(lifted)), np.asarray(mantissa, f"int{dtypes.bits(dtype)}"))
    n = e.sub(field, like(bias - 1, field))
    n = e.sub(n, e.select(small, like(mantissa + 1, n), like(0, n)))
    plain = e.logical_and(e.is_finite(still), e.ne(still, like(0, y)))
    n = e.convert(e.select(plain, n, like(0, n)), dtypes.int32)
    return e.convert(ldexp(y, e.neg(n)), own, type_of(x).weak), n


# --- logarithms to the bases 2 and 10 -------------------------------------------------------------


def _normalised(x: Any) -> tuple[Any, Any]:
    """A float32 or float64 `x` as m · 2ⁿ with m from √½ to √2, and n as a float; (x, 0) for 0, infinities and NaN."""
    dtype = type_of(x).dtype
    mantissa, bias = _LAYOUT[dtype]
    zero = like(0, x)
    small = e.lt(e.abs(x), like(float(np.finfo(dtype).smallest_normal), x))
    lifted = e.select(small, e.mul(x, like(2.0 ** (mantissa + 1), x)), x)
    fixed = e.stop_gradient(lifted)
    word = _signed_bits(e.abs(fixed))
    # Adding the distance from √½ to 1 carries into the exponent from √2 on: the exponent is that of the nearest power of two.
    carry = np.asarray((1 << mantissa) - int(np.sqrt(np.asarray(2, dtype)).view(word_dtype(dtype)) & ((1 << mantissa) - 1)))
    field = e.shift_right_logical(e.add(word, e.convert(asarray(carry), type_of(word).dtype)), like(mantissa, word))
    ordinary = e.logical_and(e.is_finite(fixed), e.ne(fixed, zero))
    n = e.select(ordinary, e.sub(field, like(bias, field)), like(0, field))
    half = e.shift_right_arithmetic(n, like(1, n))  # by two factors, each of which is a normal number
    m = e.mul(e.mul(lifted, _power_of_two(e.neg(half), dtype)), _power_of_two(e.sub(half, n), dtype))
    whole = e.convert(n, dtype, type_of(x).weak)
    return m, e.select(small, e.select(ordinary, e.sub(whole, like(mantissa + 1, x)), zero), whole)


def word_dtype(dtype: dtypes.DType) -> dtypes.DType:
    """The signed integer dtype of the width of `dtype`."""
    return np.dtype(f"int{dtypes.bits(dtype)}")


_LOG_TWO = {2.0: (1, 1), 10.0: (301029995663981195213738894724493026768189881462108541310, 10**57)}
"""Base → the logarithm of 2 to it, as a ratio of whole numbers."""


def _logarithm(name: str, base: float, x: Any) -> Any:
    (x,) = promote_operands(name, x, inexact=True)
    scale = np.log(base)
    if dtypes.is_complex(type_of(x).dtype):
        # Each part by itself: a complex division would turn an infinite part into a NaN.
        y = e.log(x)
        return c.complex(*(e.div(part, like(scale, part)) for part in (c.real(y), c.imag(y))))
    wide, own = _wide(x)
    m, n = _normalised(wide)
    # n log 2 in two parts, of which the first is exact: powers of the base give whole numbers.
    cut = 2 ** (16 if type_of(wide).dtype == dtypes.float32 else 42)
    over, under = _LOG_TWO[base]
    whole = (2 * over * cut + under) // (2 * under)
    high, low = whole / cut, (over * cut - whole * under) / (under * cut)
    rest = e.add(e.mul(n, like(low, n)), e.div(e.log(m), like(scale, m)))
    return e.convert(e.add(e.mul(n, like(high, n)), rest), own, type_of(x).weak)


def log2(x: Any, /) -> Any:
    """The logarithm of `x` to the base 2, elementwise: exact for powers of 2. Integers give float32.

    Example:
        >>> log2([8.0, 0.25]).tolist()
        [3.0, -2.0]
    """
    return _logarithm("log2", 2.0, x)


def log10(x: Any, /) -> Any:
    """The logarithm of `x` to the base 10, elementwise: whole for the powers of 10 that are exact. Integers give float32.

    Example:
        >>> log10([1000.0, 1.0]).tolist()
        [3.0, 0.0]
    """
    return _logarithm("log10", 10.0, x)


# --- reinterpretation -----------------------------------------------------------------------------


def view(x: Any, dtype: Any = None) -> Any:
    """The bytes of `x` read as another dtype; where the widths differ, the last axis becomes longer or shorter. No derivative.

    Raises: ShapeError where a wider dtype does not divide the last axis, or `x` is 0-d.

    Example:
        >>> view(np.float32([1.0]), "u32").tolist()
        [1065353216]
    """
    x = as_operand(x)
    given, wanted = type_of(x).dtype, type_of(x).dtype if dtype is None else dtypes.of(dtype)
    if given == wanted:
        return asarray(x)
    shape = type_of(x).shape
    if given.itemsize != wanted.itemsize and (not shape or (shape[-1] * given.itemsize) % wanted.itemsize):
        raise ShapeError(
            f"view: {type_of(x)} cannot be read as {wanted.name}: its last axis does not hold whole elements.{at(user_source())}"
        )
    if not shape:
        return s.reshape(view(s.reshape(x, (1,)), wanted), ())
    return _from_words(_words(x), wanted)


def _words(x: Any) -> Any:
    """The bits of `x` as unsigned integers: of its own width, or of half of it where it is complex."""
    dtype, shape = type_of(x).dtype, type_of(x).shape
    if dtype == dtypes.bool_:
        return e.convert(x, dtypes.uint8)
    if dtypes.is_complex(dtype):
        parts = [s.reshape(p, (*shape, 1)) for p in (c.real(x), c.imag(x))]
        x = s.reshape(s.concatenate(parts, len(shape)), (*shape[:-1], shape[-1] * 2))
        dtype = type_of(x).dtype
    unsigned = np.dtype(f"uint{dtypes.bits(dtype)}")
    return x if dtype == unsigned else e.bitcast(x, unsigned)


def _from_words(x: Any, wanted: dtypes.DType) -> Any:
    """Unsigned integers read as `wanted`."""
    if dtypes.is_complex(wanted):
        parts = _from_words(x, dtypes.real_of(wanted))
        shape = type_of(parts).shape
        half = (*shape[:-1], shape[-1] // 2)
        pair = s.reshape(parts, (*half, 2))
        re, im = (s.reshape(s.slice_axis(pair, len(half), k, k + 1), half) for k in (0, 1))
        return c.complex(re, im)
    width = type_of(x).dtype.itemsize
    target = np.dtype(f"uint{8 * wanted.itemsize}")
    shape = type_of(x).shape
    if width > wanted.itemsize:  # little-endian: the lowest word comes first
        k = width // wanted.itemsize
        words = [e.convert(e.shift_right_logical(x, like(8 * wanted.itemsize * i, x)), target) for i in range(k)]
        x = s.concatenate([s.reshape(w, (*shape, 1)) for w in words], len(shape))
        x = s.reshape(x, (*shape[:-1], shape[-1] * k))
    elif width < wanted.itemsize:
        k = wanted.itemsize // width
        grouped = s.reshape(x, (*shape[:-1], shape[-1] // k, k))
        n = len(shape)
        words = [
            e.convert(s.reshape(s.slice_axis(grouped, n, i, i + 1), (*shape[:-1], shape[-1] // k)), target) for i in range(k)
        ]
        x = words[0]
        for i, w in enumerate(words[1:], 1):
            x = e.logical_or(x, e.shift_left(w, like(8 * width * i, w)))
    if wanted == dtypes.bool_:
        return e.ne(x, like(0, x))
    return x if wanted == target else e.bitcast(x, wanted)


__all__ = [
    "bitwise_and",
    "bitwise_count",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "copysign",
    "frexp",
    "invert",
    "ldexp",
    "left_shift",
    "log2",
    "log10",
    "modf",
    "nextafter",
    "right_shift",
    "signbit",
    "spacing",
]  # fmt: skip
