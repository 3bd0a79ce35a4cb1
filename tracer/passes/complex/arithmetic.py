"""Complex arithmetic on pairs of reals: products, quotients, moduli and roots.

Results are within a few ulp of the modulus of the exact one, with no overflow or underflow on the way.  Parts of float32 are
combined in float64, which has room for their squares; parts of float64 are scaled by powers of two first, which is exact.

Sources: J. Baudin and R. Smith, "A robust complex division in Scilab" (2012), for what can go wrong in a quotient; W. Kahan, "Branch
cuts for complex elementary functions, or: much ado about nothing's sign bit" (1987), for the square root; C99, annex G, for special values.

May be imported by: the files of this package.
"""

from __future__ import annotations

import numpy as np

from ... import dtypes
from .real import Pair, Parts, Real, constant, copysign, is_finite, is_infinite, is_nan, larger, sqrt, where

UP, DOWN = 2.0**600, 2.0**-600
BIG, SMALL = 2.0**500, 2.0**-400
"""Float64 numbers between `SMALL` and `BIG` have squares with full precision; `UP` and `DOWN` bring the others there."""


def add(a: Pair, b: Pair) -> Parts:
    """a + b."""
    return a.re + b.re, a.im + b.im


def sub(a: Pair, b: Pair) -> Parts:
    """a - b."""
    return a.re - b.re, a.im - b.im


def neg(a: Pair) -> Parts:
    """-a."""
    return -a.re, -a.im


def mul(a: Pair, b: Pair) -> Parts:
    """ab: the four products, each rounded, as the reference has it."""
    return a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re


def scale_of(m: Real) -> tuple[Real, Real]:
    """A power of two that brings the float64 number `m` to where squares are safe, and its inverse."""
    high, low = m > BIG, m < SMALL
    one = constant(1, m)
    return where(high, DOWN, where(low, UP, one)), where(high, UP, where(low, DOWN, one))


def div(a: Pair, b: Pair) -> Parts:
    """a / b: a conj(b) / |b|², both operands scaled apart."""
    if a.dtype == dtypes.float32:
        re, im = _quotient(a.to(dtypes.float64), b.to(dtypes.float64))
    else:
        s, _ = scale_of(larger(abs(b.re), abs(b.im)))
        t, undo = scale_of(larger(abs(a.re), abs(a.im)))
        scaled = Pair(a.re * t, a.im * t, a.type), Pair(b.re * s, b.im * s, b.type)
        re, im = _quotient(*scaled)
        # The quotient is to be multiplied by s / t. Where s = t nothing is left; else the factors are applied one by one.
        alike = s.equals(t)
        first, second = where(alike, 1, s), where(alike, 1, undo)
        re, im = re * first * second, im * first * second
    # Divided by zero, each part is by itself; divided by one infinite part, what is finite is 0.
    c, d = b.re.to(re.dtype), b.im.to(re.dtype)
    x, y = a.re.to(re.dtype), a.im.to(re.dtype)
    if not _ordinary(c, d):
        nothing = c.equals(0) & d.equals(0)
        re, im = where(nothing, x / abs(c), re), where(nothing, y / abs(c), im)
        infinite = (is_infinite(c) & is_finite(d)) | (is_infinite(d) & is_finite(c))
        u, v = (where(is_infinite(p), copysign(0, p), constant(0, p)) for p in (c, d))
        re, im = where(infinite, x * u + y * v, re), where(infinite, y * u - x * v, im)
    return re.to(a.dtype), im.to(a.dtype)


def _ordinary(c: Real, d: Real) -> bool:
    """Whether a divisor is a constant that is finite and not zero."""
    parts = c.value, d.value
    return all(isinstance(p, np.ndarray) and bool(np.isfinite(p)) for p in parts) and any(bool(p != 0) for p in parts)


def _quotient(a: Pair, b: Pair) -> Parts:
    size = b.re * b.re + b.im * b.im
    return (a.re * b.re + a.im * b.im) / size, (a.im * b.re - a.re * b.im) / size


def modulus(z: Pair) -> Real:
    """|z|; infinite where a part is, even beside a NaN."""
    x, y = abs(z.re), abs(z.im)
    if z.dtype == dtypes.float32:
        x64, y64 = x.to(dtypes.float64), y.to(dtypes.float64)
        size = sqrt(x64 * x64 + y64 * y64).to(dtypes.float32)
    else:
        s, undo = scale_of(larger(x, y))
        x64, y64 = x * s, y * s
        size = sqrt(x64 * x64 + y64 * y64) * undo
    return where(x.equals(np.inf) | y.equals(np.inf), np.inf, size)


def sign(z: Pair) -> Parts:
    """z / |z|; z where it is 0, and NaN in both parts where it is in one."""
    x, y = z.re.to(dtypes.float64), z.im.to(dtypes.float64)
    if z.dtype == dtypes.float64:
        s, _ = scale_of(larger(abs(x), abs(y)))
        x, y = x * s, y * s
    size = sqrt(x * x + y * y)
    nothing = x.equals(0) & y.equals(0)
    re, im = (where(nothing, p, p / size) for p in (x, y))
    # One infinite part: the unit number along it. Two: NaN, which inf / inf gives.
    lone = is_infinite(x).differs(is_infinite(y))
    re, im = (where(lone, where(is_infinite(p), copysign(1, p), 0), q) for p, q in ((x, re), (y, im)))
    broken = is_nan(x) | is_nan(y)
    re, im = (where(broken, np.nan, p) for p in (re, im))
    return re.to(z.dtype), im.to(z.dtype)


def root(z: Pair) -> Parts:
    """√z with a real part that is not negative.

    Its parts are t = √((|x| + |z|) / 2) and |y| / 2t, in this order where x is positive, else in the other.
    """
    x, y = z.re, z.im
    ax, ay = abs(x), abs(y)
    if z.dtype == dtypes.float32:
        x64, y64 = ax.to(dtypes.float64), ay.to(dtypes.float64)
        t = sqrt((x64 + sqrt(x64 * x64 + y64 * y64)) * 0.5)
        rest = where(t.equals(0), y64, y64 / (t * 2)).to(dtypes.float32)
        t = t.to(dtypes.float32)
    else:
        m = larger(ax, ay)
        s, _ = scale_of(m)
        x64, y64 = ax * s, ay * s
        one = constant(1, m)
        t = sqrt((x64 + sqrt(x64 * x64 + y64 * y64)) * 0.5) * where(m > BIG, 2.0**300, where(m < SMALL, 2.0**-300, one))
        rest = where(t.equals(0), ay, ay / (t * 2))
    right = x >= 0
    re, im = where(right, t, rest), copysign(where(right, rest, t), y)
    # C99, G.6.4.2: infinite parts. What is left over is NaN in both parts, as it comes.
    endless = ay.equals(np.inf)
    far = ax.equals(np.inf) & ~endless
    zero = constant(0, x)
    inf = constant(np.inf, x)
    flat = where(is_nan(y), y, copysign(zero, y))
    re = where(endless, inf, where(far, where(right, inf, where(is_nan(y), y, zero)), re))
    im = where(endless, y, where(far, where(right, flat, copysign(inf, y)), im))
    return re, where(is_nan(x) & ~endless, x, im)


def inverse_root(z: Pair) -> Parts:
    """1 / √z."""
    re, im = root(z)
    one = Pair(constant(1, re), constant(0, re), z.type)
    return div(one, Pair(re, im, z.type))
