"""The incomplete gamma functions, and the slope along which samples of the gamma distribution move.

Three formulas share the quarter plane a, x > 0.  Where a is large and x near it: Temme's uniform expansion.  Below the mean: the power
series of P.  Above it: the continued fraction of Q.  Where both are at most 1.1: a series of Q that does not lose small a.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fdl.tracer.ops import elementwise as e
from fdl.tracer.records import dataclass
from fdl.tracer.transforms.composed import Composed, composed, with_slope

from . import coefficients as k
from .gammas import digamma_of, gammaln1p, gammaln_above, stirling_correction
from .operands import elementwise_loop, horner, reals, where

_UNIFORM_FROM = 20.0
_UNIFORM_WIDTH = 0.4
"""Temme's expansion is used from this a on, for |x - a| < width * a."""
_SMALL = 1.1
_STEPS = 1000.0
"""The most steps of a loop; about 100 are needed."""


def log_excess_ratio(u: Any) -> Any:
    """(u - log(1 + u)) / u**2 for |u| <= 1/2, by the series of atanh(u / (2 + u))."""
    s = u / (2.0 + u)
    square = s * s
    cube = 1.0 / ((2.0 + u) * (2.0 + u) * (2.0 + u))
    return 1.0 / (2.0 + u) - 2.0 * u * cube * horner([1.0 / (2 * i + 3) for i in range(17)], square)


def log_excess(u: Any, ratio: Any) -> Any:
    """u - log(1 + u), where `ratio` is 1 + u known by itself (so that u near -1 loses nothing)."""
    near = e.abs(u) <= 0.5
    v = where(near, u, 0.0)
    return where(near, v * v * log_excess_ratio(v), u - e.log(where(near, 1.0, ratio)))


def log_gamma_density(a: Any, x: Any) -> Any:
    """log(x**a exp(-x) / Gamma(a + 1)) for a, x > 0."""
    large = a >= 8.0
    b, y = where(large, a, 8.0), where(large, x, 8.0)
    ratio = y / b
    far = e.neg(b * log_excess((y - b) / b, ratio) + stirling_correction(b) + 0.5 * e.log(2 * math.pi * b))
    c, z = where(large, 1.0, a), where(large, 1.0, x)
    near = c * e.log(z) - z - gammaln_above(c + 1.0)
    return where(large, far, near)


@dataclass(frozen=True, slots=True)
class Regions:
    """Where each formula holds, as bools for each element."""

    uniform: Any
    series: Any
    small: Any
    fraction: Any


def regions(a: Any, x: Any, valid: Any) -> Regions:
    uniform = valid & (a >= _UNIFORM_FROM) & (e.abs(x - a) < _UNIFORM_WIDTH * a)
    rest = valid & e.logical_not(uniform)
    small = rest & (x <= _SMALL) & (a <= _SMALL)
    series = rest & (x <= a) & e.logical_not(small)
    return Regions(uniform, series, small, rest & (x > a) & e.logical_not(small))


def lower_series(a: Any, x: Any, here: Any) -> Any:
    """1 + x / (a + 1) + x**2 / ((a + 1) (a + 2)) + ... (DLMF 8.11.4), where `here`."""
    a, x = where(here, a, 1.0), where(here, x, 0.0)

    def test(a: Any, x: Any, n: Any, term: Any, total: Any) -> Any:
        return (term > total * 1e-17) & (n < _STEPS)

    def step(a: Any, x: Any, n: Any, term: Any, total: Any) -> list[Any]:
        term = term * (x / (a + n))
        return [n + 1.0, term, total + term]

    one = e.splat(np.float64(1), a.shape)
    return elementwise_loop(test, step, [a, x], [one, one, one])[2]


def upper_fraction(a: Any, x: Any, here: Any) -> Any:
    """1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - ...)) (DLMF 8.9.2, contracted), where `here`, by Lentz's method.

    For whole `a` the fraction ends early, and its derivative in `a` does not: the error exp(-4 sqrt(n x)) tells the least number of steps.
    """
    a, x = where(here, a, 1.0), where(here, x, 100.0)
    least = e.stop_gradient(10.0 + 120.0 / x)

    def test(a: Any, least: Any, n: Any, b: Any, c: Any, d: Any, h: Any, change: Any) -> Any:
        return ((e.abs(change) > 4e-16) | (n < least)) & (n < _STEPS)

    def step(a: Any, least: Any, n: Any, b: Any, c: Any, d: Any, h: Any, change: Any) -> list[Any]:
        top = n * (a - n)
        b = b + 2.0
        d = 1.0 / (top * d + b)
        c = b + top / c
        return [n + 1.0, b, c, d, h * (c * d), c * d - 1.0]

    one = e.splat(np.float64(1), a.shape)
    b = x + 1.0 - a
    first = 1.0 / b
    return elementwise_loop(test, step, [a, least], [one, b, e.splat(np.float64(1e300), a.shape), first, first, one])[4]


def small_terms(a: Any, x: Any, here: Any) -> tuple[Any, Any, Any]:
    """For 0 < a, x <= 1.1: log(x**a / Gamma(1 + a)), and T with P = exp of it times 1 + a T; and `a` itself, 1/2 elsewhere.

    T is the sum of (-x)**n / ((a + n) n!) over n = 1, 2, ... (DLMF 8.7.1).
    """
    a, x = where(here, a, 0.5), where(here, x, 1.0)
    power, total = e.splat(np.float64(1), a.shape), e.splat(np.float64(0), a.shape)
    for n in range(1, 21):
        power = power * (x * (-1.0 / n))
        total = total + power / (a + float(n))
    return a * e.log(x) - gammaln1p(a), total, a


def uniform_terms(a: Any, x: Any, here: Any) -> tuple[Any, Any]:
    """eta sqrt(a / 2), and R with Q = erfc(that) / 2 + R, where `here`.

    Source: N. Temme, "The asymptotic expansion of the incomplete gamma functions" (SIAM J. Math. Anal. 10, 1979); the coefficients in
    powers of eta by backward recursion: A. Gil, J. Segura, N. Temme, "Efficient and accurate algorithms for the computation and inversion
    of the incomplete gamma function ratios" (SIAM J. Sci. Comput. 34, 2012).
    """
    a, x = where(here, a, 100.0), where(here, x, 100.0)
    u = (x - a) / a
    half_square = log_excess_ratio(u)  # eta**2 / 2 / u**2
    eta = u * e.sqrt(2.0 * half_square)
    inverse = 1.0 / a
    n = len(k.TEMME) - 1
    b: list[Any] = [0.0] * (n + 2)
    for m in range(n, 0, -1):
        b[m - 1] = k.TEMME[m] + (m + 1) * inverse * b[m + 1] if m + 1 <= n - 1 else np.float64(k.TEMME[m])
    total = b[n - 1]
    for m in range(n - 2, -1, -1):
        total = total * eta + b[m]
    total = total / (1.0 + inverse * b[1])
    return eta * e.sqrt(0.5 * a), total * e.exp(e.neg(a * u * u * half_square)) * e.rsqrt(2 * math.pi * a)


def _incomplete(a: Any, x: Any, upper: bool) -> Any:
    valid = (a > 0.0) & (x > 0.0) & (a < np.inf) & (x < np.inf)
    r = regions(a, x, valid)
    w, rest = uniform_terms(a, x, r.uniform)
    log, t, small_a = small_terms(a, x, r.small)
    away = r.series | r.fraction
    b, y = where(away, a, 1.0), where(away, x, 1.0)
    scale = e.exp(log_gamma_density(b, y))
    p = scale * lower_series(a, x, r.series)
    q = scale * b * upper_fraction(a, x, r.fraction)
    if upper:
        small = e.neg(e.expm1(log)) - e.exp(log) * small_a * t
        y = where(r.uniform, 0.5 * e.erfc(w) + rest, where(r.series, 1.0 - p, where(r.small, small, q)))
    else:
        small = e.exp(log) * (1.0 + small_a * t)
        y = where(r.uniform, 0.5 * e.erfc(e.neg(w)) - rest, where(r.series, p, where(r.small, small, 1.0 - q)))
    low = ((x == 0.0) & (a > 0.0)) | ((a == np.inf) & (x >= 0.0) & (x < np.inf))
    high = ((x == np.inf) & (a >= 0.0) & (a < np.inf)) | ((a == 0.0) & (x > 0.0))
    y = where(low, float(upper), where(high, float(not upper), y))
    return where(valid | low | high, y, np.nan)


def _density(a: Any, x: Any) -> Any:
    """The gamma distribution's density x**(a - 1) exp(-x) / Gamma(a)."""
    valid = (a > 0.0) & (x > 0.0) & (a < np.inf) & (x < np.inf)
    b, y = where(valid, a, 1.0), where(valid, x, 1.0)
    log = log_gamma_density(b, y)
    tiny = y < 1e-100 * b  # where b / y may overflow, and exp(log) underflow
    ratio = b / where(tiny, b, y)
    inner = where(tiny, e.exp(log + (e.log(b) - e.log(y))), e.exp(where(tiny, 0.0, log)) * ratio)
    edge = where(a < 1.0, np.inf, where(a == 1.0, 1.0, 0.0))
    y = where(valid, inner, where(x == 0.0, edge, 0.0))
    return where(((a > 0.0) & (x >= 0.0)) | ((a == 0.0) & (x > 0.0)), y, np.nan)


def _density_slope(a: Any, x: Any) -> Any:
    """The density's derivative in `x`, which has a limit at 0."""
    y = density_of(a, x)
    edge = where(a < 1.0, -np.inf, where(a == 1.0, -1.0, where(a < 2.0, np.inf, where(a == 2.0, 1.0, 0.0))))
    none = x == 0.0
    return where(none, edge, where(y == 0.0, 0.0, y * ((a - 1.0) / where(none, 1.0, x) - 1.0)))


def _density_second_slope(y: Any, a: Any, x: Any) -> Any:
    one = np.asarray(1, a.dtype)
    ratio = e.div(e.sub(a, one), x)
    return e.sub(e.mul(y, e.sub(ratio, one)), e.mul(density_of(a, x), e.div(ratio, x)))


def _density_slope_a(y: Any, a: Any, x: Any) -> Any:
    none = e.eq(y, np.asarray(0, y.dtype))  # at 0 it is 0 times an infinite logarithm
    return e.mul(y, e.sub(e.log(e.select(none, e.splat(np.asarray(1, x.dtype), x.shape), x)), digamma_of(a)))


density_slope_of = composed("gamma_density_slope", _density_slope, None, _density_second_slope)
density_of: Composed = composed("gamma_density", _density, _density_slope_a, density_slope_of)
minus_density_of = composed("minus_gamma_density", lambda a, x: e.neg(density_of(a, x)), None, None)
gammainc_of = composed("gammainc", lambda a, x: _incomplete(a, x, False), None, density_of, eager="compiled")
gammaincc_of = composed("gammaincc", lambda a, x: _incomplete(a, x, True), None, minus_density_of, eager="compiled")


def gammainc(a: Any, x: Any) -> Any:
    """The regularised lower incomplete gamma function P(a, x), elementwise: NaN for negative operands.

    Relative error at most 2e-13 where the result is above 1e-200, and 1e-14 where it is above 1e-10. The derivative in `x` is the gamma
    distribution's density; in `a` it is that of the formulas themselves, in forward mode, of any order.

    Source: DLMF 8.7, 8.9, 8.11; the uniform expansion by Temme (1979).

    Example:
        >>> round(float(gammainc(1.0, 2.0)), 6)  # 1 - exp(-2)
        0.864665
    """
    return gammainc_of(*reals("gammainc", a, x))


def gammaincc(a: Any, x: Any) -> Any:
    """The regularised upper incomplete gamma function Q(a, x) = 1 - P(a, x), elementwise; see `gammainc`, whose accuracy it has."""
    return gammaincc_of(*reals("gammaincc", a, x))


# --- samples --------------------------------------------------------------------------------------


def _sample_slope(a: Any, log_x: Any) -> Any:
    """d log x / d a for the x with P(a, x) constant: -(dP / da) / (x times the density), in which what could underflow cancels."""
    x = e.exp(log_x)
    valid = (a > 0.0) & (a < np.inf) & (x < np.inf) & (log_x > -np.inf)
    r = regions(a, x, valid & (x > 0.0))
    series = r.series | (valid & (x == 0.0))
    _, t, small_a = small_terms(a, x, r.small)
    # P = D S with D = x**a exp(-x) / Gamma(a + 1).
    b = where(valid, a, 1.0)
    psi = log_x - digamma_of(b)
    total, total_a = with_slope(lambda a: lower_series(a, x, series), a)
    below = e.neg((psi - 1.0 / b) * total + total_a) / b
    # Q = D a C
    fraction, fraction_a = with_slope(lambda a: upper_fraction(a, x, r.fraction), a)
    above = psi * fraction + fraction_a
    # P = exp(-x) x**a / Gamma(1 + a) exp(x) (1 + a T)
    t_a = with_slope(lambda a: small_terms(a, x, r.small)[1], a)[1]
    inner = (psi - 1.0 / b) * (1.0 + small_a * t) + t + small_a * t_a
    low = e.neg(inner) * e.exp(where(r.small, x, 0.0)) / small_a
    _, q_a = with_slope(lambda a: _uniform_q(a, x, r.uniform), a)
    c, y = where(r.uniform, a, 100.0), where(r.uniform, x, 100.0)
    near = q_a * e.exp(e.neg(log_gamma_density(c, y))) / c
    y = where(r.uniform, near, where(series, below, where(r.small, low, above)))
    return where(valid, y, np.nan)


def _uniform_q(a: Any, x: Any, here: Any) -> Any:
    w, rest = uniform_terms(a, x, here)
    return 0.5 * e.erfc(w) + rest


sample_slope_of = composed("gamma_sample_slope", _sample_slope, None, None, eager="compiled")
"""(a, log x) → d log x / d a of a sample x of the gamma distribution, at fixed probability.

Source: M. Figurnov, S. Mohamed, A. Mnih, "Implicit reparameterization gradients" (NeurIPS 2018).
"""

__all__ = ["gammainc", "gammaincc"]
