"""The inverse trigonometric and hyperbolic functions on pairs of reals: asin, acos, atan, asinh, acosh, atanh.

Each is computed in the first quadrant, where nothing cancels, and reflected by the signs of the parts, those of zeros included:
on a branch cut they tell the side.  Parts of float32 are computed in float64.

Source: W. Kahan, "Branch cuts for complex elementary functions, or: much ado about nothing's sign bit" (1987), with asymptotic forms for
large arguments; special values are those of C99, annex G.6.

May be imported by: the files of this package.
"""

from __future__ import annotations

import math

from ... import dtypes
from . import arithmetic
from .real import Pair, Parts, Real, asinh, atan2, constant, copysign, is_infinite, is_nan, larger, log, log1p, smaller, where

FAR = 2.0**60
"""From here on 1 + z² is z²."""


def _quadrant(z: Pair) -> tuple[Real, Real]:
    return abs(z.re).to(dtypes.float64), abs(z.im).to(dtypes.float64)


def _arcs(z: Pair) -> tuple[Real, Real, Real]:
    """(Re asin, Re acos, Im asin) of |x| + i|y|: two angles from 0 to π/2 with the sum π/2, and a size.

    With √(1 - z) = p - iq and √(1 + z) = r + is they are atan(x / (pr + qs)), 2 atan(p / r) and asinh(ps + qr).
    """
    x, y = _quadrant(z)
    m, n = larger(x, y), smaller(x, y)
    far = m > FAR
    near_x, near_y = where(far, 0.0, x), where(far, 0.0, y)
    wide = z.to(dtypes.float64).type
    p, q = arithmetic.root(Pair(1 - near_x, near_y, wide))
    r, s = arithmetic.root(Pair(near_x + 1, near_y, wide))
    ratio = where(far & ~is_infinite(m), n / m, 0.0)
    size = where(far, log(m) + log1p(ratio * ratio) * 0.5 + math.log(2), asinh(p * s + q * r))
    asin = atan2(x, where(far, y, p * r + q * s))
    acos = where(far, atan2(y, x), atan2(p, r) * 2)
    endless = x.equals(math.inf) | y.equals(math.inf)
    size = where(endless, math.inf, size)
    # On the imaginary axis the angles are known even where y is NaN.
    upright = x.equals(0)
    return where(upright, x, asin), where(upright, math.pi / 2, where(is_nan(x), x, acos)), size


def arc_sine(z: Pair) -> Parts:
    """asin z."""
    angle, _, size = _arcs(z)
    return copysign(angle.to(z.dtype), z.re), copysign(size.to(z.dtype), z.im)


def arc_cosine(z: Pair) -> Parts:
    """acos z."""
    _, angle, size = _arcs(z)
    left = z.re < 0
    angle = where(left, math.pi - angle, angle)
    return angle.to(z.dtype), copysign(size.to(z.dtype), -z.im)


def arc_hyperbolic_sine(z: Pair) -> Parts:
    """asinh z: the parts of asin, exchanged."""
    angle, _, size = _arcs(Pair(z.im, z.re, z.type))
    return copysign(size.to(z.dtype), z.re), copysign(angle.to(z.dtype), z.im)


def arc_hyperbolic_cosine(z: Pair) -> Parts:
    """acosh z: the parts of acos, exchanged, with a real part that is not negative."""
    angle, size = arc_cosine(z)
    return abs(size), copysign(angle, z.im)


def arc_hyperbolic_tangent(z: Pair) -> Parts:
    """atanh z = log1p(4x / ((1 - x)² + y²)) / 4 + i atan2(2y, (1 - x)(1 + x) - y²) / 2."""
    x, y = _quadrant(z)
    m, n = larger(x, y), smaller(x, y)
    far = m > FAR
    near_x, near_y = where(far, 0.0, x), where(far, 0.0, y)
    rest = 1 - near_x
    # Beside the pole the square of y may vanish: there it is log(2 / y) / 2, computed for 2⁵² y, whose inverse is finite.
    pole = rest.equals(0) & (near_y < 2.0**-110)
    inside = where(pole, 2.0 / (near_y * 2.0**52), near_x * 4 / (rest * rest + near_y * near_y))
    inside = log1p(where(far, 0.0, inside))
    re = where(pole, inside * 0.5 + 26 * math.log(2), inside * 0.25)
    # Far out, Re 1/z, and π/2.
    ratio = where(far & ~is_infinite(m), n / m, 0.0)
    re = where(far, (x / m) / m / (ratio * ratio + 1), re)
    endless = x.equals(math.inf) | y.equals(math.inf)
    im = where(far | endless, math.pi / 2, atan2(near_y * 2, rest * (near_x + 1) - near_y * near_y) * 0.5)
    nan = constant(math.nan, x)
    re = where(endless, 0.0, where(x.equals(0), x, where(is_nan(y), nan, re)))
    im = where(is_nan(y) | (is_nan(x) & ~endless), nan, im)
    return copysign(re.to(z.dtype), z.re), copysign(im.to(z.dtype), z.im)


def arc_tangent(z: Pair) -> Parts:
    """atan z: the parts of atanh, exchanged."""
    re, im = arc_hyperbolic_tangent(Pair(z.im, z.re, z.type))
    return im, re
