"""The zeta function, and what is made of it: polygamma functions, Bernoulli numbers; and the dilogarithm."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from fdl.numpy.promote import asarray
from fdl.tracer import dtypes
from fdl.tracer.ops import elementwise as e
from fdl.tracer.transforms.composed import CONSTANT, composed

from . import coefficients as k
from .gammas import LOG_SQRT_2PI, digamma_of, gamma_of, gammaln_above, is_odd, ones, sinpi, trigamma_of, zeros
from .operands import elementwise_loop, horner, reals, where, whole_number

_SHIFTS = 9
"""Terms that are summed before the tail: the tail's first argument is above this."""
_LARGEST_POWER = 1e4
"""From this exponent on, the tail is 0."""
_LOWEST = 1e5
"""How far below 0 a second argument may lie: its terms are summed one by one."""


def zeta_sum(s: Any, q: Any) -> Any:
    """The sum of (q + i)^-s over i = 0, 1, ... for q > 0, and for whole `s` also for q < 0.

    For s < 1 its analytic continuation. Source: DLMF 25.2.9, the Euler-Maclaurin formula.
    """
    odd = is_odd(s)

    def power(w: Any, s: Any, odd: Any) -> Any:
        size = e.pow(e.abs(w), e.neg(s))
        return where((w < 0.0) & odd, e.neg(size), size)

    def step(s: Any, odd: Any, w: Any, total: Any) -> list[Any]:
        return [w + 1.0, total + power(w, s, odd)]

    w, total = elementwise_loop(lambda s, odd, w, total: w < 0.0, step, [s, odd], [q, zeros(q)])
    for _ in range(_SHIFTS):
        total = total + e.pow(w, e.neg(s))
        w = w + 1.0
    s = e.min(s, _LARGEST_POWER * ones(s))
    scale = e.pow(w, 1.0 - s)
    inverse = 1.0 / w
    square = inverse * inverse
    factor, tail = s * inverse, zeros(s)
    for i, b in enumerate(k.EULER_MACLAURIN):
        tail = tail + b * factor
        factor = factor * (s + (2.0 * i + 1.0)) * (s + (2.0 * i + 2.0)) * square
    return total + scale * (1.0 / (s - 1.0) + inverse * (0.5 + tail))


def _zeta(s: Any, q: Any) -> Any:
    whole_s, whole_q = s == e.floor(s), q == e.floor(q)
    valid = (s > 1.0) & (q < np.inf) & ((q > 0.0) | (whole_s & e.logical_not(whole_q) & (q > -_LOWEST)))
    y = zeta_sum(where(valid, s, 2.0), where(valid, q, 1.0))
    pole = (s == 1.0) | ((q <= 0.0) & whole_q & (s > 1.0))
    y = where(valid, y, where(pole, np.inf, np.nan))
    return where((q == np.inf) & (s > 1.0), 0.0, y)


def _zeta_slope(y: Any, s: Any, q: Any) -> Any:
    return e.neg(s * zeta_of(s + 1, q))


zeta_of = composed("zeta", _zeta, None, _zeta_slope, eager="compiled")


def _riemann(s: Any) -> Any:
    # zeta(s) = 2 (2 pi)^(s - 1) sin(pi s / 2) Gamma(1 - s) zeta(1 - s)
    negative = s < 0.0
    t = where(negative, 1.0 - s, s)
    y = zeta_sum(where(t == 1.0, 2.0, t), ones(s))
    t = where(negative, t, 1.0)
    below = 2.0 * sinpi(0.5 * where(negative, s, 0.0)) * y * e.exp(gammaln_above(t) - 2.0 * LOG_SQRT_2PI * t)
    return where(s == 1.0, np.inf, where(s == -np.inf, np.nan, where(negative, below, y)))


riemann_of = composed("riemann_zeta", _riemann, None, eager="compiled")


def zeta(x: Any, q: Any = None) -> Any:
    """The Hurwitz zeta function, the sum of (q + i)^-x over i = 0, 1, ..., elementwise; the Riemann zeta function where `q` is left out.

    inf for x = 1 and at the poles q = 0, -1, ...; NaN for x < 1 (where `q` is given), and for q < 0 unless `x` is a whole number (and
    q above -1e5: the terms below 0 are summed). Relative error at most 4e-15 for q > 0. Both operands have derivatives.

    Source: DLMF 25.2.9 (Euler and Maclaurin), 25.4.2 (reflection).

    Example:
        >>> zeta(2.0), zeta(3.0, 2.0)
        (Array(1.644934, dtype=float32, weak_type=True), Array(0.2020569, dtype=float32, weak_type=True))
    """
    if q is None:
        return riemann_of(*reals("zeta", x))
    return zeta_of(*reals("zeta", x, q))


def _polygamma(n: Any, x: Any) -> Any:
    valid = (n >= 0.0) & (n == e.floor(n))
    m = where(valid, n, 2.0)
    high = m > 0.0
    # The n-th derivative of digamma: (-1)^(n + 1) n! zeta(n + 1, x).
    size = gamma_of(m + 1.0) * zeta_of(where(high, m + 1.0, 2.0), x)
    y = where(is_odd(m), size, e.neg(size))
    y = where(m == 1.0, trigamma_of(x), where(high, y, digamma_of(x)))
    return where(valid, y, np.nan)


def _polygamma_slope(y: Any, n: Any, x: Any) -> Any:
    return polygamma_of(n + 1, x)


polygamma_of = composed("polygamma", _polygamma, CONSTANT, _polygamma_slope, eager="compiled")


def polygamma(n: Any, x: Any) -> Any:
    """The derivative of order `n` of digamma(x), elementwise; NaN for an `n` that is no whole number, or negative.

    The derivative in `x` is polygamma(n + 1, x); in `n` there is none, and it counts as 0.

    Source: DLMF 5.15.1 ff., through `zeta`.

    Example:
        >>> round(float(polygamma(1, 1.0)), 5)  # pi**2 / 6
        1.64493
    """
    return polygamma_of(*reals("polygamma", n, x))


def bernoulli(n: int) -> Any:
    """The Bernoulli numbers B_0, ..., B_n with B_1 = -1/2, float32 `(n + 1,)`; ±inf where they overflow.

    Raises: DTypeError unless `n` is an integer from 0 on.

    Example:
        >>> bernoulli(4).tolist()
        [1.0, -0.5, 0.1666666716337204, 0.0, -0.03333333507180214]
    """
    n = whole_number("bernoulli: n", n)
    return asarray(np.array([float(b) for b in _bernoulli(min(int(n), 259))] + [0.0] * max(int(n) - 259, 0)), dtypes.float32)


def _bernoulli(n: int) -> list[Fraction]:
    """Source: DLMF 24.5.3, solved for the last number."""
    numbers: list[Fraction] = []
    for m in range(n + 1):
        odd = m > 1 and m % 2 == 1
        total = Fraction(0) if odd else sum((math.comb(m + 1, i) * b for i, b in enumerate(numbers)), Fraction(0))
        numbers.append(Fraction(1) if m == 0 else -total / (m + 1))
    return numbers


# --- the dilogarithm ------------------------------------------------------------------------------


def _spence(x: Any) -> Any:
    high, low = x > 2.0, x < 0.5
    y = where(high, 1.0 / where(high, x, 1.0), where(low, 1.0 - x, x))
    # Li2(1 - y) in w = -log y, by Debye's function; 1/2 <= y <= 2 in all cases.
    w = e.neg(e.log(where(y > 0.5 - 1e-9, y, 1.0)))
    z = where(high, 1.0 - y, y)
    flipped = high & (y < 0.5)
    w = where(flipped, e.neg(e.log(where(flipped, z, 1.0))), w)
    square = w * w
    inner = w - 0.25 * square + w * square * horner(k.DEBYE, square)
    log = e.log(where(x > 0.0, x, 1.0))
    # spence(y) = pi^2 / 6 - log y log(1 - y) - spence(1 - y), for y = 1 / x too.
    reflected = _PI_SQUARED_6 - e.log(where(flipped, y, 0.5)) * e.log(where(flipped, z, 0.5)) - inner
    inner = where(flipped, reflected, inner)
    above = -0.5 * log * log - inner
    below = _PI_SQUARED_6 - log * e.log(where(low & (x > 0.0), 1.0 - x, 1.0)) - inner
    out = where(high, above, where(low, below, inner))
    out = where(x == 0.0, _PI_SQUARED_6, where(x < 0.0, np.nan, out))
    return where(x == np.inf, -np.inf, where(x == x, out + 0.0, np.nan))


_PI_SQUARED_6 = math.pi**2 / 6


def _spence_slope(y: Any, x: Any) -> Any:
    return spence_slope_of(x)


def _spence_derivative(x: Any) -> Any:
    # log x / (1 - x), by its series about 1.
    d = 1.0 - x
    near = e.abs(d) < 0.01
    series = e.neg(horner([1.0 / i for i in range(1, 10)], where(near, d, 0.0)))
    return where(near, series, e.log(where(near, 0.5, x)) / where(near, 0.5, d))


def _spence_curve(x: Any) -> Any:
    """The second derivative, 1 / (x (1 - x)) + log x / (1 - x)**2, as one quotient: at 0 two infinite terms would cancel."""
    d = 1.0 - x
    near, zero = e.abs(d) < 0.01, x == 0.0
    series = horner([(i - 1.0) / i for i in range(2, 11)], where(near, d, 0.0))
    y = where(near | zero, 0.5, x)
    far = (1.0 + y * e.log(y) / (1.0 - y)) / (y * (1.0 - y))
    return where(zero, np.inf, where(near, series, far))


spence_curve_of = composed("spence_curve", _spence_curve, None)
spence_slope_of = composed("spence_slope", _spence_derivative, spence_curve_of)
spence_of = composed("spence", _spence, _spence_slope)


def spence(x: Any) -> Any:
    """The integral of log t / (1 - t) from 1 to `x`, elementwise, which is the dilogarithm of 1 - x: NaN for x < 0.

    Relative error at most 4e-15. Source: DLMF 25.12.3 ff.; the series in log x is P. Debye's, with Bernoulli numbers.

    Example:
        >>> round(float(spence(0.0)), 5), float(spence(1.0))
        (1.64493, 0.0)
    """
    return spence_of(*reals("spence", x))


__all__ = ["bernoulli", "polygamma", "spence", "zeta"]
