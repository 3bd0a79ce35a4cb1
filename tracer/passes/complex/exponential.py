"""The exponential and its kin on pairs of reals: exp, expm1, log, log1p, logistic, pow, sin, cos, tan, sinh, cosh, tanh.

Special values are those of C99, annex G.6.  Sources: W. Kahan, "Branch cuts for complex elementary functions" (1987), for tanh;
T. Dekker, "A floating-point technique for extending the available precision" (1971), for the logarithm near the unit circle.

May be imported by: the files of this package.
"""

from __future__ import annotations

import math

from ... import dtypes
from . import arithmetic
from .real import (
    Pair,
    Parts,
    Real,
    atan2,
    constant,
    copysign,
    cos,
    exp,
    expm1,
    is_finite,
    is_infinite,
    is_nan,
    larger,
    log,
    log1p,
    sin,
    smaller,
    tan,
    where,
)

LIMIT = {dtypes.float32: 88.0, dtypes.float64: 709.0}
"""Below it, exp does not overflow."""
STEP = {dtypes.float32: 56.0, dtypes.float64: 400.0}
"""exp(x) = exp(x - 2 STEP) exp(STEP)², where x - 2 STEP is exact for what is above the limit."""


def _turned(x: Real, y: Real, factor: float = 1.0) -> Parts:
    """factor · exp(x) (cos y, sin y), with no overflow unless the product does. `x` is not +inf with a `y` that is not finite."""
    dtype = x.dtype
    far = x > LIMIT[dtype]
    top = math.exp(STEP[dtype])
    size = exp(where(far, x - 2 * STEP[dtype], x))
    first, second = where(far, top, constant(1, x)), where(far, top * factor, constant(factor, x))
    re, im = (trig * first * size * second for trig in (cos(y), sin(y)))
    # inf · 0 where x is huge and y is 0.
    return re, where(y.equals(0), y, im)


def exponential(z: Pair) -> Parts:
    """exp z = exp(x) (cos y + i sin y)."""
    re, im = _turned(z.re, z.im)
    wild = ~is_finite(z.im)
    up, down = wild & z.re.equals(math.inf), wild & z.re.equals(-math.inf)
    return where(up, z.re, where(down, 0.0, re)), where(down, copysign(0, z.im), im)


def exponential_minus_1(z: Pair) -> Parts:
    """exp(z) - 1 = expm1(x) cos y - 2 sin²(y/2) + i exp(x) sin y. The array API standard has 0, not -0, for the real part at -0 + 0i."""
    re, im = exponential(z)
    half = sin(z.im * 0.5)
    near = (expm1(z.re) * cos(z.im) + 0.0) - half * half * 2
    return where(z.re > STEP[z.dtype], re, where(z.re.equals(-math.inf), re - 1, near)), im


def _log_of_modulus(x: Real, y: Real) -> Real:
    """log|x + iy|. Near the unit circle it is log1p(x² + y² - 1) / 2, with the sum in twice the precision."""
    ax, ay = abs(x), abs(y)
    m, n = larger(ax, ay), smaller(ax, ay)
    if x.dtype == dtypes.float32:
        m64, n64 = m.to(dtypes.float64), n.to(dtypes.float64)
        square = m64 * m64 + n64 * n64
        excess = ((m64 * m64 - 1) + n64 * n64).to(dtypes.float32)
    else:
        (high, low), (high_n, low_n) = _square(m), _square(n)
        square = high + high_n
        # 0.25 < high < 2: the difference to 1 is exact from 1/2 on, and does not cancel with anything below.
        first = high - 1
        total = first + high_n
        lost = (first - total) + high_n
        lost = where(abs(first) < high_n, (high_n - total) + first, lost)
        excess = total + (lost + (low + low_n))
    near = (square > 0.5) & (square < 2)
    ratio = where(m.equals(0) | is_infinite(m), 0.0, n / m)
    half = log1p(where(near, excess, ratio * ratio)) * 0.5
    size = where(near, half, half + log(m))
    return where(ax.equals(math.inf) | ay.equals(math.inf), math.inf, size)


def _square(x: Real) -> tuple[Real, Real]:
    """The float64 square of `x` and what its rounding lost (Dekker's product)."""
    split = x * (2.0**27 + 1)
    head = split - (split - x)
    tail = x - head
    square = x * x
    return square, ((head * head - square) + head * tail * 2) + tail * tail


def logarithm(z: Pair) -> Parts:
    """log z = log|z| + i atan2(y, x)."""
    return _log_of_modulus(z.re, z.im), atan2(z.im, z.re)


def logarithm_of_1_plus(z: Pair) -> Parts:
    """log(1 + z): log1p(x (2 + x) + y²) / 2 + i atan2(y, 1 + x) for a small z."""
    x, y = z.re, z.im
    re, im = logarithm(Pair(x + 1, y, z.type))
    small = larger(abs(x), abs(y)) < 0.5
    near = log1p(where(small, x * (x + 2) + y * y, 0.0)) * 0.5
    return where(small, near, re), im


def logistic(z: Pair) -> Parts:
    """1 / (1 + exp(-z)), as exp(z) / (1 + exp(z)) on the left half of the plane."""
    left = z.re < 0
    u, v = exponential(Pair(where(left, z.re, -z.re), where(left, z.im, -z.im), z.type))
    one = constant(1, u)
    top = Pair(where(left, u, one), where(left, v, 0.0), z.type)
    return arithmetic.div(top, Pair(u + 1, v, z.type))


def power(a: Pair, b: Pair) -> Parts:
    """aᵇ = exp(b log a); 1 for b = 0, and 0 for a = 0 where the real part of b is positive. Float32 is computed in float64.

    The relative error grows with |b log a|: float64 has about as many ulp besides the others.
    """
    dtype = a.dtype
    a, b = a.to(dtypes.float64), b.to(dtypes.float64)
    u, v = exponential(Pair(*arithmetic.mul(b, Pair(*logarithm(a), a.type)), a.type))
    empty, nothing = b.re.equals(0) & b.im.equals(0), a.re.equals(0) & a.im.equals(0)
    at_zero = where(b.re > 0, 0.0, constant(math.nan, b.re))
    re = where(empty, 1.0, where(nothing, at_zero, u))
    im = where(empty, 0.0, where(nothing, at_zero, v))
    return re.to(dtype), im.to(dtype)


# --- trigonometric and hyperbolic functions -------------------------------------------------------


def _hyperbolic(x: Real) -> Parts:
    """sinh and cosh of x from one expm1, for |x| below the limit."""
    size = abs(x)
    m = expm1(size)
    p = m + 1
    return copysign((m + m / p) * 0.5, x), (p + 1 / p) * 0.5


def _sinh_cosh(z: Pair) -> tuple[Parts, Parts]:
    """sinh z = sinh x cos y + i cosh x sin y, and cosh z = cosh x cos y + i sinh x sin y."""
    x, y = z.re, z.im
    size = abs(x)
    far = size > LIMIT[z.dtype] - 1
    s, c = _hyperbolic(where(far, 0.0, x))
    cos_y, sin_y = cos(y), sin(y)
    # Far out both are exp(|x|) / 2, and sinh has the sign of x.
    far_re, far_im = _turned(where(far, size, 0.0), y, 0.5)
    sinh_re, sinh_im = where(far, copysign(1, x) * far_re, s * cos_y), where(far, far_im, c * sin_y)
    cosh_re, cosh_im = where(far, far_re, c * cos_y), where(far, copysign(1, x) * far_im, s * sin_y)
    # Zeros times what is not finite.
    flat, upright = y.equals(0), x.equals(0)
    wild = ~is_finite(y) & is_infinite(x)
    sinh_re = where(upright & is_nan(sinh_re) | wild, x, sinh_re)
    sinh_im = where(flat, y, sinh_im)
    cosh_re = where(wild, size, cosh_re)
    cosh_im = where((flat | upright) & is_nan(cosh_im), 0.0, cosh_im)
    return (sinh_re, sinh_im), (cosh_re, cosh_im)


def _times_i(z: Pair) -> Pair:
    return Pair(-z.im, z.re, z.type)


def hyperbolic_sine(z: Pair) -> Parts:
    """sinh z."""
    return _sinh_cosh(z)[0]


def hyperbolic_cosine(z: Pair) -> Parts:
    """cosh z."""
    return _sinh_cosh(z)[1]


def sine(z: Pair) -> Parts:
    """sin z = -i sinh(iz)."""
    re, im = hyperbolic_sine(_times_i(z))
    return im, -re


def cosine(z: Pair) -> Parts:
    """cos z = cosh(iz)."""
    return hyperbolic_cosine(_times_i(z))


def hyperbolic_tangent(z: Pair) -> Parts:
    """tanh z by Kahan's formula: with t = tan y, s = sinh x, b = 1 + t², r = √(1 + s²), it is (b r s + i t) / (1 + b s²).

    Float32 is computed in float64.
    """
    dtype = z.dtype
    x, y = z.re.to(dtypes.float64), z.im.to(dtypes.float64)
    size = abs(x)
    far = size > 20
    s, r = _hyperbolic(where(far, 0.0, size))
    t = tan(y)
    b = t * t + 1
    below = b * s * s + 1
    # Far out, 1 and 4 sin y cos y exp(-2|x|), below the last digit of the real part.
    tail = sin(y) * cos(y) * 4 * exp(size * -2)
    re = copysign(where(far, 1.0, b * r * s / below), x)
    im = where(far, tail, t / below)
    # tanh(inf + iy) is 1 with a zero: of the sign of y, as the array API standard has it (C99, G.6.2.6: of sin 2y), whatever y is.
    # On the imaginary axis Re is 0.
    endless = size.equals(math.inf)
    re = where(is_nan(x) | (is_nan(t) & ~endless & ~x.equals(0)), math.nan, re)
    re = where(x.equals(0), x, re)
    im = where(endless, copysign(0, y), im)
    im = where(y.equals(0), y, im)
    return re.to(dtype), im.to(dtype)


def tangent(z: Pair) -> Parts:
    """tan z = -i tanh(iz)."""
    re, im = hyperbolic_tangent(_times_i(z))
    return im, -re
