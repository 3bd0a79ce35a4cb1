"""Bessel functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fdl.control import scan
from fdl.numpy.promote import asarray
from fdl.tracer.errors import at, user_source
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import shape as s
from fdl.tracer.transforms.composed import composed

from . import coefficients as k
from .operands import chebyshev, horner, reals, where, whole_number

_GROWN = 1e100
_I1_SERIES = [0.5 / (math.factorial(k) * math.factorial(k + 1)) for k in range(11)]
"""I1(x) / x in powers of x**2 / 4, for |x| < 1."""


def _scaled(x: Any, order: int) -> Any:
    """exp(-|x|) I(x) for order 0 or 1."""
    a = e.abs(x)
    near = a <= 8.0
    y = where(near, a, 8.0)
    inner = chebyshev(k.I1_NEAR if order else k.I0_NEAR, 0.25 * y - 1.0)
    z = where(near, 8.0, a)
    outer = chebyshev(k.I1_FAR if order else k.I0_FAR, 16.0 / z - 1.0) * e.rsqrt(z)
    if not order:
        return where(near, inner, outer)
    return where(near, x * inner, where(x < 0.0, e.neg(outer), outer))


def _grown(x: Any, order: int) -> Any:
    half = e.exp(0.5 * e.abs(x))  # by halves: exp(x) overflows before the result does
    y = half * _scaled(where(e.abs(x) == np.inf, 1.0, x), order) * half
    return where(e.abs(x) == np.inf, where(x > 0.0, np.inf, -np.inf if order else np.inf), y)


def _over_x(x: Any, y: Any, scale: Any) -> Any:
    """`y` / x, which is I1(x) / x times `scale`: near 0 by its series (DLMF 10.25.2), whose derivatives have no division by 0."""
    near = e.abs(x) < 1.0
    z = where(near, x, 0.0)
    series = scale * horner(_I1_SERIES, 0.25 * z * z)
    return where(near, series, where(near, 1.0, y) / where(near, 1.0, x))


def _i1_slope(x: Any) -> Any:
    return i0_of(x) - _over_x(x, i1_of(x), np.float64(1))


def _i1e_slope(x: Any) -> Any:
    y = i1e_of(x)
    return i0e_of(x) - e.sign(x) * y - _over_x(x, y, e.exp(e.neg(e.abs(x))))


i1_slope_of = composed("i1_slope", _i1_slope, None)
i1e_slope_of = composed("i1e_slope", _i1e_slope, None)
i1_of = composed("i1", lambda x: _grown(x, 1), i1_slope_of)
i0_of = composed("i0", lambda x: _grown(x, 0), i1_of)
i1e_of = composed("i1e", lambda x: _scaled(x, 1), i1e_slope_of)
i0e_of = composed("i0e", lambda x: _scaled(x, 0), lambda y, x: e.sub(i1e_of(x), e.mul(e.sign(x), y)))


def i0(x: Any) -> Any:
    """The modified Bessel function of the first kind of order 0, elementwise. Relative error at most 1e-15 (1 + |x| / 8).

    Example:
        >>> round(float(i0(1.0)), 6)
        1.266066
    """
    return i0_of(*reals("i0", x))


def i0e(x: Any) -> Any:
    """exp(-|x|) i0(x), elementwise. Relative error at most 1e-15."""
    return i0e_of(*reals("i0e", x))


def i1(x: Any) -> Any:
    """The modified Bessel function of the first kind of order 1, elementwise. Relative error as `i0`'s."""
    return i1_of(*reals("i1", x))


def i1e(x: Any) -> Any:
    """exp(-|x|) i1(x), elementwise. Relative error at most 1e-15."""
    return i1e_of(*reals("i1e", x))


def bessel_jn(z: Any, *, v: int, n_iter: int = 50) -> Any:
    """The Bessel functions of the first kind J_0(z), ..., J_v(z), shape `(v + 1, *z.shape)`, by Miller's backward recurrence.

    Args:
        v: the highest order, a Python integer from 0 on.
        n_iter: the order that the recurrence starts from; the result is good for |z| and `v` well below it.

    Raises: DTypeError for another `v`; ValueError unless n_iter > v.

    Source: DLMF 3.6(v), 10.6.1, normalised by 10.12.4: J_0 + 2 (J_2 + J_4 + ...) = 1.
    """
    v = whole_number("bessel_jn: v", v)
    if n_iter <= v:
        raise ValueError(f"bessel_jn: n_iter={n_iter} is not above v={v}. Start the recurrence higher.{at(user_source())}")
    (x,) = reals("bessel_jn", z)
    x = asarray(x)
    wide = e.convert(x, np.dtype(np.float64))
    zero = wide == 0.0
    inverse = 2.0 / where(zero, 1.0, wide)
    none, one = e.splat(np.float64(0), x.shape), e.splat(np.float64(1), x.shape)
    # Orders from n_iter down to 0, and whether the normalising sum takes each once, twice or not at all.
    orders = np.arange(int(n_iter), -1, -1, dtype=np.float64)
    shares = np.where(orders == 0, 1.0, np.where(orders % 2 == 0, 2.0, 0.0))

    def step(carry: Any, given: Any) -> Any:
        above, here, total, scaled = carry
        order, share = given
        total = total + share * here
        below = (order * inverse) * here - above
        # Scaled down where it grows; the scalings are counted.
        large = e.abs(below) > _GROWN
        factor = where(large, 1.0 / _GROWN, one)
        return (here * factor, below * factor, total * factor, where(large, scaled + 1.0, scaled)), (here, scaled)

    (_, _, total, scaled), (values, counts) = scan(step, (none, one, none, none), (orders, shares))
    # The last step scaled the sum once more where what lies below order 0 is large.
    kept = s.slice(values, (int(n_iter) - v, *(0 for _ in x.shape)), values.shape)
    behind = s.slice(counts, (int(n_iter) - v, *(0 for _ in x.shape)), counts.shape)
    all_axes = tuple(range(1, x.ndim + 1))
    total, scaled, zero = (s.broadcast(y, kept.shape, all_axes) for y in (total, scaled, zero))
    rows = s.flip(kept * e.pow(e.splat(np.float64(1.0 / _GROWN), kept.shape), scaled - behind) / total, (0,))
    at_zero = s.broadcast(np.array([1.0] + [0.0] * int(v)), kept.shape, (0,))
    return e.convert(e.select(zero, at_zero, rows), x.dtype)


__all__ = ["bessel_jn", "i0", "i0e", "i1", "i1e"]
