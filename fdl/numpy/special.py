"""Elementwise functions that are compositions: hypot, logaddexp, sinc, i0, heaviside, nan_to_num, fmax, gcd and their kin.

Each is written so that derivatives of any order are right where the function is smooth, and finite where it is not: see
docs/conventions.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.errors import DTypeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import complex as c
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import reduce as r
from fdl.tracer.trace import bind, record
from fdl.tracer.transforms.while_loop import while_p

from .info import finfo
from .promote import as_operand, asarray, like, promote_operands, to_dtype
from .ufuncs import real_only

# --- lengths and logarithms of sums ---------------------------------------------------------------


def hypot(x1: Any, x2: Any, /) -> Any:
    """sqrt(x1² + x2²), elementwise, without overflow or underflow on the way; inf where either is infinite, even with a NaN.

    Its derivatives are 0 at the origin, and at infinity.

    Example:
        >>> hypot(3e30, 4e30)
        Array(5.e+30, dtype=float32, weak_type=True)
    """
    x, y = promote_operands("hypot", x1, x2, inexact=True)
    real_only("hypot", x)
    zero, infinity = like(0, x), like(np.inf, x)
    larger = e.ge(e.abs(x), e.abs(y))
    infinite = e.logical_or(e.eq(e.abs(x), infinity), e.eq(e.abs(y), infinity))
    high, low = (e.select(infinite, zero, v) for v in (_select(larger, x, y), _select(larger, y, x)))
    ratio = e.div(low, e.select(e.eq(high, zero), like(1, x), high))
    out = e.mul(e.abs(high), e.sqrt(e.add(e.mul(ratio, ratio), like(1, x))))
    return e.select(infinite, infinity, out)


def _select(pred: Any, x: Any, y: Any) -> Any:
    """`select` of operands of which one may be 0-d, in the shape of the predicate."""
    shape = type_of(pred).shape
    return e.select(pred, e.splat(x, shape), e.splat(y, shape))


def _logaddexp(name: str, x1: Any, x2: Any, base: float | None) -> Any:
    x, y = promote_operands(name, x1, x2, inexact=True)
    if dtypes.is_complex(type_of(x).dtype):
        if base is None:
            return _complex_logaddexp(x, y)
        scale = math.log(base)
        return _scaled(_complex_logaddexp(_scaled(x, scale), _scaled(y, scale)), 1 / scale)
    zero = like(0, x)
    # log(e^x + e^y) = high + log1p(e^(low - high)): each of x and y may be called high, also for the derivatives, at a tie.
    larger = e.ge(x, y)
    high, low = _select(larger, x, y), _select(larger, y, x)
    level = e.logical_and(e.eq(high, low), e.logical_not(e.is_finite(high)))  # low - high would be NaN
    high, low = e.select(level, zero, high), e.select(level, zero, low)
    if base is None:
        out = e.add(high, e.log1p(e.exp(e.sub(low, high))))
    else:
        out = e.add(high, e.mul(e.log1p(e.exp2(e.sub(low, high))), like(1 / np.log(base), x)))
    return _select(level, e.mul(e.add(x, y), like(0.5, x)), out)


def _scaled(z: Any, factor: float) -> Any:
    """`z` times a real number, part by part: a complex product would make NaN of an infinite part."""
    return c.complex(*[e.mul(part, like(factor, part)) for part in (c.real(z), c.imag(z))])


def _complex_logaddexp(x: Any, y: Any) -> Any:
    """The principal logarithm of e^x + e^y, whose imaginary part is in [-π, π]."""
    larger = e.ge(c.real(x), c.real(y))
    high, low = _select(larger, x, y), _select(larger, y, x)
    real = c.real(high)
    level = e.logical_and(e.eq(real, c.real(low)), e.logical_not(e.is_finite(real)))  # low - high would be NaN
    out = e.add(high, e.log1p(e.exp(e.sub(_select(level, high, low), _select(level, like(0, x), high)))))
    turns = e.stop_gradient(e.round(e.mul(c.imag(out), like(0.5 / np.pi, real))))
    out = e.sub(out, c.complex(like(0, real), e.mul(turns, like(2 * np.pi, real))))
    return _select(level, high, out)


def logaddexp(x1: Any, x2: Any) -> Any:
    """log(exp(x1) + exp(x2)), elementwise, without overflow. Where both are one infinity they share the derivative.

    Of complex numbers it is the principal logarithm, with an imaginary part in [-π, π].

    Example:
        >>> logaddexp(1000.0, 1000.0).item()
        1000.693...
    """
    return _logaddexp("logaddexp", x1, x2, None)


def logaddexp2(x1: Any, x2: Any) -> Any:
    """log2(2**x1 + 2**x2), elementwise, without overflow. Where both are one infinity they share the derivative."""
    return _logaddexp("logaddexp2", x1, x2, 2.0)


# --- special functions ----------------------------------------------------------------------------


def sinc(x: Any, /) -> Any:
    """sin(πx) / (πx), elementwise; 1 at 0, where all its derivatives are right too."""
    (x,) = promote_operands("sinc", x, inexact=True)
    t = e.mul(x, like(np.pi, x))
    size = e.abs(t)
    near = e.lt(size, like(0.5, size))
    # Near 0 by the Taylor series: the quotient's derivatives would cancel.
    square = e.mul(*[e.select(near, t, like(0, t))] * 2)
    series = like(0, t)
    for n in reversed(range(9)):
        series = e.add(e.mul(series, square), like((-1) ** n / float(math.factorial(2 * n + 1)), t))
    safe = e.select(near, like(1, t), t)
    out = e.div(e.sin(safe), safe)
    if not dtypes.is_complex(type_of(t).dtype):
        # The limit at infinity, where the sine is not known.
        out = e.select(e.eq(size, like(np.inf, size)), like(0, t), out)
    return e.select(near, series, out)


# Chebyshev coefficients of exp(-x) I0(x), in x/4 - 1 on [0, 8], and of sqrt(x) exp(-x) I0(x), in 16/x - 1 on [8, inf): discrete
# cosine transforms of 64 samples, computed with 40 digits.
_I0_NEAR = (
    0.33839763720473803, -0.3046826723431984, 0.17162090152220877, -0.09490109704804764, 0.04930528423967071, -0.02373741480589947,
    0.010546460394594998, -0.004324309995050576, 0.0016394756169413357, -0.0005763755745385824, 0.00018850288509584165,
    -5.754195010082104e-05, 1.6448448070728896e-05, -4.4167383584587505e-06, 1.1173875391201037e-06, -2.670793853940612e-07,
    6.046995022541919e-08, -1.300025009986248e-08, 2.6598237246823866e-09, -5.189795601635263e-10, 9.675809035373237e-11,
    -1.726826291441556e-11, 2.95505266312964e-12, -4.856446783111929e-13, 7.676185498604936e-14, -1.1685332877993451e-14,
    1.715391285555133e-15, -2.431279846547955e-16, 3.3307945188222384e-17,
)  # fmt: skip
_I0_FAR = (
    0.4022452055070544, 0.0033691164782556943, 6.889758346916825e-05, 2.8913705208347567e-06, 2.0489185894690638e-07,
    2.266668990498178e-08, 3.3962320257083865e-09, 4.94060238822497e-10, 1.1889147107846439e-11, -3.1499165279632416e-11,
    -1.3215811840447713e-11, -1.7941785315068062e-12, 7.180124451383666e-13, 3.8527783827421426e-13, 1.54008621752141e-14,
    -4.150569347287222e-14, -9.554846698828307e-15, 3.8116806693526224e-15, 1.7725601330565263e-15, -3.425485619677219e-16,
    -2.8276239805165836e-16, 3.461222867697461e-17, 4.46562142029676e-17,
)  # fmt: skip


def i0(x: Any) -> Any:
    """The modified Bessel function of the first kind and order 0 of a real `x`, elementwise.

    Source: C. Clenshaw, "A note on the summation of Chebyshev series" (1955), for the recurrence.
    """
    (x,) = promote_operands("i0", x, inexact=True)
    own, weak = type_of(real_only("i0", x)).dtype, type_of(x).weak
    wide = e.convert(x, dtypes.float32) if dtypes.bits(own) < 32 else x
    size = e.select(e.lt(wide, like(0, wide)), e.neg(wide), wide)  # not abs: at 0 the series has the derivative
    eight = like(8, size)
    near = e.le(size, eight)
    low = _chebyshev(_I0_NEAR, e.sub(e.mul(e.select(near, size, eight), like(0.25, size)), like(1, size)))
    far = e.select(near, eight, size)
    high = e.div(_chebyshev(_I0_FAR, e.sub(e.div(like(16, far), far), like(1, far))), e.sqrt(far))
    scaled = e.select(near, low, high)
    # exp(x) by halves: it overflows before I0 does.
    half = e.exp(e.mul(size, like(0.5, size)))
    out = e.mul(e.mul(half, scaled), half)
    infinite = e.eq(size, like(np.inf, size))
    return e.convert(e.select(infinite, size, out), own, weak)


def _chebyshev(coefficients: Sequence[float], t: Any) -> Any:
    twice = e.add(t, t)
    before, now = like(0, t), e.splat(like(coefficients[-1], t), type_of(t).shape)
    for a in coefficients[-2:0:-1]:
        before, now = now, e.add(e.sub(e.mul(twice, now), before), like(a, t))
    return e.add(e.sub(e.mul(t, now), before), like(coefficients[0], t))


def heaviside(x1: Any, x2: Any, /) -> Any:
    """0 where x1 < 0, `x2` where x1 = 0, 1 where x1 > 0, NaN where `x1` is, elementwise. Its derivative in `x1` is 0."""
    x, y = promote_operands("heaviside", x1, x2, inexact=True)
    zero = like(0, real_only("heaviside", x))
    x = e.stop_gradient(x)
    step = e.select(e.gt(x, zero), like(1, x), e.select(e.ne(x, x), x, zero))
    return _select(e.splat(e.eq(x, zero), type_of(e.lt(x, y)).shape), y, step)


def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """`x` with `nan` for NaN and `posinf`, `neginf` (the extreme numbers of its dtype) for infinities. Its derivative there is 0.

    Example:
        >>> nan_to_num([np.nan, -np.inf, 1.0], neginf=-9).tolist()
        [0.0, -9.0, 1.0]
    """
    (x,) = promote_operands("nan_to_num", x)
    dtype = type_of(x).dtype
    if dtypes.is_complex(dtype):
        return c.complex(*(nan_to_num(part, copy, nan, posinf, neginf) for part in (c.real(x), c.imag(x))))
    if not dtypes.is_float(dtype):
        return asarray(x)
    high = finfo(dtype).max
    for bad, value in (
        (e.ne(x, x), nan),
        (e.eq(x, like(np.inf, x)), high if posinf is None else posinf),
        (e.eq(x, like(-np.inf, x)), -high if neginf is None else neginf),
    ):
        value = to_dtype(as_operand(value, "nan_to_num: a value"), dtype, type_of(x).weak)
        shape = np.broadcast_shapes(type_of(x).shape, type_of(value).shape)
        x = _select(e.splat(bad, shape), value, x)
    return x


def fmax(x1: Any, x2: Any) -> Any:
    """The larger of `x1` and `x2`, elementwise; the other one where one is NaN."""
    return _ignoring_nan("fmax", e.max, x1, x2)


def fmin(x1: Any, x2: Any) -> Any:
    """The smaller of `x1` and `x2`, elementwise; the other one where one is NaN."""
    return _ignoring_nan("fmin", e.min, x1, x2)


def _ignoring_nan(name: str, function: Any, x1: Any, x2: Any) -> Any:
    x, y = promote_operands(name, x1, x2)
    if not dtypes.is_float(type_of(x).dtype):
        return function(x, y)
    out = function(x, y)
    shape = type_of(out).shape
    out = _select(e.splat(e.ne(y, y), shape), x, out)
    return _select(e.splat(e.ne(x, x), shape), y, out)


# --- divisors -------------------------------------------------------------------------------------


def _integers(name: str, x1: Any, x2: Any) -> list[Any]:
    x, y = promote_operands(name, x1, x2, numeric=True)
    if not dtypes.is_int(type_of(x).dtype):
        raise DTypeError(f"{name}: takes integers, got {type_of(x)} and {type_of(y)}.{at(user_source())}")
    shape = type_of(e.lt(x, y)).shape
    return [e.splat(x, shape), e.splat(y, shape)]


def gcd(x1: Any, x2: Any) -> Any:
    """The greatest common divisor of the integers `x1` and `x2`, elementwise; never negative, 0 of 0 and 0. Euclid's algorithm.

    Example:
        >>> gcd([12, -8, 0], [18, 6, 5]).tolist()
        [6, 2, 5]
    """
    x, y = _integers("gcd", x1, x2)
    t = type_of(x)
    unsigned = np.dtype(f"uint{dtypes.bits(t.dtype)}")
    a, b = (e.bitcast(e.abs(v), unsigned) if dtypes.is_signed(t.dtype) else v for v in (x, y))
    types = [type_of(a).strong()] * 2
    a, b = (e.convert(asarray(v), unsigned) for v in (a, b))
    zero = np.zeros((), unsigned)

    def unfinished(a: Any, b: Any) -> list[Any]:
        return [r.reduce_or(e.ne(b, zero), tuple(range(t.ndim)))]

    def step(a: Any, b: Any) -> list[Any]:
        done = e.eq(b, zero)
        return [e.select(done, a, b), e.select(done, b, e.rem(a, b))]

    cond, body = record(unfinished, types, "gcd")[0], record(step, types, "gcd")[0]
    (found, _) = bind(while_p, a, b, cond=cond, body=body, n_cond=0, n_body=0)
    return e.bitcast(found, t.dtype) if t.dtype != unsigned else found


def lcm(x1: Any, x2: Any) -> Any:
    """The least common multiple of the integers `x1` and `x2`, elementwise; never negative, 0 where either is 0."""
    x, y = _integers("lcm", x1, x2)
    return e.abs(e.mul(e.div(x, gcd(x, y)), y))


__all__ = [
    "fmax", "fmin", "gcd", "heaviside", "hypot", "i0", "lcm", "logaddexp", "logaddexp2", "nan_to_num", "sinc",
]  # fmt: skip
