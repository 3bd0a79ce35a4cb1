"""The error function's family: erf and its inverse, the normal distribution, Dawson's and Owen's functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fdl.tracer.ops import elementwise as e
from fdl.tracer.transforms.composed import composed

from . import coefficients as k
from .operands import chebyshev, moebius, outward, reals, where

SQRT_2 = math.sqrt(2)
_SPLIT = 134217729.0
"""2**27 + 1, which halves a float64 (T. Dekker, "A floating-point technique for extending the available precision", 1971)."""


def square(x: Any) -> tuple[Any, Any]:
    """x**2 as the sum of two float64, for |x| < 1e150."""
    big = _SPLIT * x
    high = big - (big - x)
    low = x - high
    y = x * x
    return y, ((high * high - y) + 2.0 * high * low) + low * low


def exp_square(x: Any, sign: float) -> Any:
    """exp(sign x**2), with the error of the square."""
    high, low = square(e.min(e.abs(x), e.splat(np.float64(40), x.shape)))
    return e.exp(sign * high) * (1.0 + sign * low)


def erf(x: Any) -> Any:
    """The error function, elementwise."""
    return e.erf(*reals("erf", x))


def erfc(x: Any) -> Any:
    """1 - erf(x), elementwise, which loses nothing where erf(x) is near 1."""
    return e.erfc(*reals("erfc", x))


def erfinv(x: Any) -> Any:
    """The inverse of erf, elementwise: infinite at -1 and 1, NaN outside.

    Example:
        >>> round(float(erfinv(0.5)), 6)
        0.476936
    """
    return e.erf_inv(*reals("erfinv", x))


def erfcx_above(x: Any) -> Any:
    """exp(x**2) erfc(x) for x >= 0."""
    return chebyshev(k.ERFCX, outward(x, 0.0, 4.0)) / (1.0 + 2.0 * x)


def _erfcx(x: Any) -> Any:
    above = erfcx_above(e.abs(x))
    below = 2.0 * exp_square(where(x < 0.0, x, 0.0), 1.0) - above
    return where(x < 0.0, where(x < -27.0, np.inf, below), above)


def _erfcx_slope(y: Any, x: Any) -> Any:
    # 2 x y - 2 / sqrt(pi), which cancel far out, where y is near 1 / (sqrt(pi) x).
    return erfcx_slope_of(x)


def _erfcx_derivative(x: Any) -> Any:
    far = x > 50.0
    w = 1.0 / where(far, x, 50.0)
    v = w * w
    tail = v * (1.0 - v * (1.5 - v * (3.75 - v * (13.125 - v * 59.0625)))) / math.sqrt(math.pi)
    near = 2.0 * x * _erfcx(where(far, 1.0, x)) - 2.0 / math.sqrt(math.pi)
    return where(far, e.neg(tail), near)


erfcx_slope_of = composed("erfcx_slope", _erfcx_derivative, None)
erfcx_of = composed("erfcx", _erfcx, _erfcx_slope)


def erfcx(x: Any) -> Any:
    """exp(x**2) erfc(x), elementwise, which does not underflow: it falls off as 1 / (sqrt(pi) x).

    Relative error at most 1e-15.

    Source: M. Shepherd and J. Laframboise, "Chebyshev approximation of (1 + 2x) exp(x**2) erfc x" (Math. Comp. 36, 1981), for the form.
    """
    return erfcx_of(*reals("erfcx", x))


# --- the normal distribution ----------------------------------------------------------------------


def _log_ndtr(x: Any) -> Any:
    low = x < -1.0
    z = where(low, x, -1.0)
    far = e.log(0.5 * erfcx_above(z * (-1.0 / SQRT_2))) - 0.5 * z * z
    y = where(low, 0.0, x)
    above = y > 5.0
    tail = 0.5 * e.erfc(y * (1.0 / SQRT_2))  # of 1 - ndtr
    near = e.log(0.5 * e.erfc(where(above, 0.0, y) * (-1.0 / SQRT_2)))
    near = where(y > 0.0, e.log1p(e.neg(where(y > 0.0, tail, 0.0))), near)
    return where(low, where(x == -np.inf, -np.inf, far), near)


def _mills(x: Any) -> Any:
    """The density over the distribution function: the derivative of log ndtr."""
    low = x < 0.0
    z = where(low, x, 0.0)
    below = math.sqrt(2 / math.pi) / erfcx_above(z * (-1.0 / SQRT_2))
    y = where(low, 0.0, x)
    above = e.exp(-0.5 * y * y) / (math.sqrt(2 * math.pi) * (0.5 * e.erfc(y * (-1.0 / SQRT_2))))
    return where(low, below, above)


def _mills_excess(x: Any) -> Any:
    """mills(x) + x, which goes to 0 as -1 / x far below 0, where the sum would cancel."""
    low = x < 0.0
    u = where(low, x, 0.0) * (-1.0 / SQRT_2)
    below = _erfcx_derivative(u) * (-1.0 / SQRT_2) / erfcx_above(u)
    return where(low, below, x + _mills(where(low, 0.0, x)))


def _mills_slope(y: Any, x: Any) -> Any:
    return e.neg(e.mul(y, mills_excess_of(x)))


def _mills_excess_slope(y: Any, x: Any) -> Any:
    return e.sub(np.asarray(1, x.dtype), e.mul(mills_of(x), y))


mills_of = composed("mills", _mills, _mills_slope)
mills_excess_of = composed("mills_excess", _mills_excess, _mills_excess_slope)
log_ndtr_of = composed("log_ndtr", _log_ndtr, mills_of)


def _ndtr(x: Any) -> Any:
    return 0.5 * e.erfc(x * (-1.0 / SQRT_2))


def _normal_density(x: Any) -> Any:
    return e.exp(-0.5 * x * x) * (1.0 / math.sqrt(2 * math.pi))


normal_density_of = composed("normal_density", _normal_density, lambda y, x: e.neg(e.mul(x, y)))
ndtr_of = composed("ndtr", _ndtr, normal_density_of)


def ndtr(x: Any) -> Any:
    """The distribution function of the standard normal distribution, elementwise: the integral of its density up to `x`.

    Relative error below 1e-15 (1 + x**2) in float64.

    Example:
        >>> float(ndtr(0.0))
        0.5
    """
    return ndtr_of(*reals("ndtr", x))


def log_ndtr(x: Any) -> Any:
    """log ndtr(x), elementwise, which neither underflows far below 0 nor loses what ndtr(x) is short of 1.

    Relative error at most 1e-15. Its derivative, the density over ndtr(x), has no cancellation either.

    Example:
        >>> float(log_ndtr(-40.0)) < -800
        True
    """
    return log_ndtr_of(*reals("log_ndtr", x))


def _ndtri(p: Any) -> Any:
    inside = (p > 0.0) & (p < 1.0)
    q = where(inside, p, 0.5)
    upper = q > 0.5
    tail = where(upper, 1.0 - q, q)
    central = tail >= 0.25
    r = e.sqrt(e.neg(e.log(where(central, 0.25, tail))))
    near = r < 5.0
    ratio = where(
        near,
        chebyshev(k.NDTRI_NEAR, moebius(where(near, r, 2.0), 1.1, 5.0)),
        chebyshev(k.NDTRI_FAR, moebius(where(near, 6.0, r), 5.0, 28.0)),
    )
    far = r * ratio
    y = where(central, SQRT_2 * e.erf_inv(2.0 * q - 1.0), where(upper, far, e.neg(far)))
    edge = where(p == 0.0, -np.inf, where(p == 1.0, np.inf, np.nan))
    return where(inside, y, edge)


def _inverse_density(x: Any) -> Any:
    return e.exp(0.5 * x * x) * math.sqrt(2 * math.pi)


inverse_density_of = composed("inverse_normal_density", _inverse_density, lambda y, x: e.mul(x, y))
ndtri_of = composed("ndtri", _ndtri, lambda y, p: inverse_density_of(y))


def ndtri(p: Any) -> Any:
    """The inverse of ndtr, elementwise: infinite at 0 and 1, as its derivatives are, and NaN outside.

    Relative error at most 2e-15, for the smallest probabilities too.

    Example:
        >>> round(float(ndtri(0.975)), 5)
        1.95996
    """
    return ndtri_of(*reals("ndtri", p))


# --- Dawson's integral and Owen's T ---------------------------------------------------------------


def _dawsn(x: Any) -> Any:
    a = e.abs(x)
    near = a < 3.5
    y = where(near, a, 3.5)
    inner = y * chebyshev(k.DAWSON_NEAR, y * y * (2.0 / 12.25) - 1.0)
    z = where(near, 3.5, a)
    inverse = 1.0 / z
    outer = 0.5 * inverse * chebyshev(k.DAWSON_FAR, 24.5 * inverse * inverse - 1.0)
    out = where(near, inner, outer)
    return where(x < 0.0, e.neg(out), where(x == 0.0, x, out))


def _dawsn_slope(x: Any) -> Any:
    # 1 - 2 x D(x); far out -1 / (2 x^2) - 3 / (4 x^4) - ...
    far = e.abs(x) > 30.0
    v = 1.0 / where(far, x, 30.0)
    v = v * v
    tail = -0.5 * v * (1.0 + v * (1.5 + v * (3.75 + v * (13.125 + v * (59.0625 + v * 324.84375)))))
    return where(far, tail, 1.0 - 2.0 * x * _dawsn(where(far, 1.0, x)))


dawsn_slope_of = composed("dawsn_slope", _dawsn_slope, None)
dawsn_of = composed("dawsn", _dawsn, dawsn_slope_of)


def dawsn(x: Any) -> Any:
    """Dawson's integral exp(-x**2) times the integral of exp(t**2) from 0 to x, elementwise. Relative error at most 3e-15."""
    return dawsn_of(*reals("dawsn", x))


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(40)


def _owens_t(h: Any, a: Any) -> Any:
    x, b = e.abs(h), e.abs(a)
    large = b > 1.0
    c = where(large, 1.0 / where(large, b, 1.0), b)
    z = where(large, where(x == 0.0, 0.0, x * where(b == np.inf, 1.0, b)), x)
    # T(z, c) for c <= 1: exp(-z^2 (1 + t^2) / 2) / (1 + t^2) from 0 to c, which counts up to t = 9 / z only.
    reach = e.min(c, 9.0 / e.max(z, e.splat(np.float64(1e-9), z.shape)))
    half = -0.5 * z * z
    total: Any = np.float64(0)
    for node, weight in zip(_NODES.tolist(), _WEIGHTS.tolist(), strict=True):
        t = reach * (0.5 + 0.5 * node)
        u = 1.0 + t * t
        total = total + weight * e.exp(half * u) / u
    inner = total * reach * (0.25 / math.pi)
    # T(h, a) + T(a h, 1 / a) = (N(h) + N(a h)) / 2 - N(h) N(a h), in upper tails (D. Owen, 1956).
    p, q = 0.5 * e.erfc(x * (1.0 / SQRT_2)), 0.5 * e.erfc(z * (1.0 / SQRT_2))
    out = where(large, 0.5 * (p + q) - p * q - inner, inner)
    out = where(b == np.inf, 0.5 * p, out)
    out = where(x == np.inf, 0.0, out)
    out = where(a < 0.0, e.neg(out), out)
    return where((h == h) & (a == a), out, np.nan)


def _owens_slope_a(y: Any, h: Any, a: Any) -> Any:
    one, half = np.asarray(1, h.dtype), np.asarray(-0.5, h.dtype)
    u, ha = e.add(one, e.mul(a, a)), e.mul(h, a)  # h^2 a^2 may be finite where a^2 is not
    return e.div(e.exp(e.mul(half, e.add(e.mul(h, h), e.mul(ha, ha)))), e.mul(np.asarray(2 * math.pi, h.dtype), u))


def _owens_slope_h(y: Any, h: Any, a: Any) -> Any:
    return e.mul(
        np.asarray(-0.5, h.dtype), e.mul(normal_density_of(h), e.erf(e.mul(e.mul(a, h), np.asarray(1 / SQRT_2, h.dtype))))
    )


owens_t_of = composed("owens_t", _owens_t, _owens_slope_h, _owens_slope_a)


def owens_t(h: Any, a: Any) -> Any:
    """Owen's T function, elementwise: the probability of X > h and 0 < Y < a X, for independent standard normal X and Y.

    Error at most 1e-15 absolutely, by Gauss-Legendre quadrature with 40 nodes.

    Source: D. Owen, "Tables for computing bivariate normal probabilities" (Ann. Math. Stat. 27, 1956).
    """
    return owens_t_of(*reals("owens_t", h, a))


__all__ = ["dawsn", "erf", "erfc", "erfcx", "erfinv", "log_ndtr", "ndtr", "ndtri", "owens_t"]
