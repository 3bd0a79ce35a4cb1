"""The regularised incomplete beta function, the distribution function of the beta distribution."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fdl.tracer.ops import elementwise as e
from fdl.tracer.transforms.composed import Composed, composed

from .betas import betaln_above
from .gammas import digamma_of, stirling_correction
from .incomplete import log_excess
from .operands import elementwise_loop, reals, where

_LARGE = 8.0
_STEPS = 20_000.0
"""The most steps of the continued fraction; about 3 sqrt(max(a, b)) are needed near the mean."""


def _log_weight(a: Any, b: Any, x: Any, y: Any) -> Any:
    """log(x**a y**b / B(a, b)) for 0 < x < 1, y = 1 - x; for large operands relative to the largest value, where large terms cancel."""
    large = (a >= _LARGE) & (b >= _LARGE)
    c, d = where(large, a, _LARGE), where(large, b, _LARGE)
    u, v = where(large, x, 0.5), where(large, y, 0.5)
    total = c + d
    off = c * v - d * u
    excess = c * log_excess(e.neg(off / c), u * (total / c)) + d * log_excess(off / d, v * (total / d))
    correction = stirling_correction(c) + stirling_correction(d) - stirling_correction(total)
    far = 0.5 * e.log(c * (d / total) * (0.5 / math.pi)) - correction - excess
    c, d = where(large, 1.0, a), where(large, 1.0, b)
    u, v = where(large, 0.5, x), where(large, 0.5, y)
    log_u = where(u < 0.5, e.log(u), e.log1p(e.neg(where(u < 0.5, 0.5, v))))
    log_v = where(v < 0.5, e.log(v), e.log1p(e.neg(where(v < 0.5, 0.5, u))))
    return where(large, far, c * log_u + d * log_v - betaln_above(c, d))


def _fraction(a: Any, b: Any, x: Any, y: Any) -> Any:
    """The continued fraction of a B(a, b) I_x(a, b) / (x**a y**b) for x below the mean (DLMF 8.17.22), by Lentz's method.

    For whole `b` it ends early, and its derivative in `b` does not: the limit of its coefficients tells the least number of steps.
    """
    root = e.sqrt(y)
    least = e.stop_gradient(5.0 - 20.0 / e.log((1.0 - root) / (1.0 + root)))
    tiny = 1e-300

    def kept(v: Any) -> Any:
        return where(e.abs(v) < tiny, tiny, v)

    def test(a: Any, b: Any, x: Any, least: Any, m: Any, c: Any, d: Any, h: Any, change: Any) -> Any:
        return ((e.abs(change) > 4e-16) | (m < least)) & (m < _STEPS)

    def step(a: Any, b: Any, x: Any, least: Any, m: Any, c: Any, d: Any, h: Any, change: Any) -> list[Any]:
        even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        d = 1.0 / kept(1.0 + even * d)
        c = kept(1.0 + even / c)
        first = c * d
        odd = e.neg((a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0)))
        d = 1.0 / kept(1.0 + odd * d)
        c = kept(1.0 + odd / c)
        both = first * (c * d)
        return [m + 1.0, c, d, h * both, both - 1.0]

    one = e.splat(np.float64(1), a.shape)
    d = 1.0 / kept(1.0 - (a + b) * x / (a + 1.0))
    return elementwise_loop(test, step, [a, b, x, least], [one, one, d, d, one])[3]


def _betainc(a: Any, b: Any, x: Any) -> Any:
    valid = (a > 0.0) & (b > 0.0) & (x > 0.0) & (x < 1.0) & (a < np.inf) & (b < np.inf)
    c, d, u = where(valid, a, 1.0), where(valid, b, 1.0), where(valid, x, 0.5)
    v = 1.0 - u
    swapped = c * v < d * u  # above the mean
    c, d = where(swapped, d, c), where(swapped, c, d)
    u, v = where(swapped, v, u), where(swapped, u, v)
    inner = e.exp(_log_weight(c, d, u, v)) * _fraction(c, d, u, v) / c
    inner = where(swapped, 1.0 - inner, inner)
    operands = (a >= 0.0) & (b >= 0.0) & (x >= 0.0) & (x <= 1.0)
    both = ((a == 0.0) & (b == 0.0)) | ((a == np.inf) & (b == np.inf))
    low = operands & e.logical_not(both) & ((b == 0.0) | (a == np.inf) | ((x == 0.0) & (a > 0.0)))
    high = operands & e.logical_not(both) & ((a == 0.0) | (b == np.inf) | ((x == 1.0) & (b > 0.0)))
    edge = where(low, 0.0, where(high, 1.0, np.nan))
    edge = where((x == 0.0) & operands & e.logical_not(both), 0.0, edge)
    edge = where((x == 1.0) & operands & e.logical_not(both), 1.0, edge)
    return where(valid, inner, edge)


def _density(a: Any, b: Any, x: Any) -> Any:
    """The beta distribution's density x**(a - 1) (1 - x)**(b - 1) / B(a, b)."""
    some = (a >= 0.0) & (b >= 0.0) & (a + b > 0.0) & (e.min(a, b) < np.inf) & (x == x)
    valid = (a > 0.0) & (b > 0.0) & (e.max(a, b) < np.inf) & (x > 0.0) & (x < 1.0)
    c, d, u = where(valid, a, 1.0), where(valid, b, 1.0), where(valid, x, 0.5)
    inner = e.exp(_log_weight(c, d, u, 1.0 - u)) / (u * (1.0 - u))
    shape = where(x == 0.0, a, b)
    edge = where(shape < 1.0, np.inf, where(shape == 1.0, where(x == 0.0, b, a), 0.0))
    edge = where((x == 0.0) | (x == 1.0), edge, 0.0)
    return where(some, where(valid, inner, edge), np.nan)


def _density_slope(a: Any, b: Any, x: Any) -> Any:
    """The density's derivative in `x`, which has limits at 0 and 1."""
    y = beta_density_of(a, b, x)
    low, high = x == 0.0, x == 1.0
    u = where(low | high, 0.5, x)
    inner = where(y == 0.0, 0.0, y * ((a - 1.0) / u - (b - 1.0) / (1.0 - u)))
    # Upwards from 0 with the powers (a - 1, b - 1), and downwards from 1 with them exchanged.
    c, d = where(high, b, a), where(high, a, b)
    edge = where(c < 1.0, -np.inf, where(c == 1.0, d * (1.0 - d), where(c < 2.0, np.inf, where(c == 2.0, d * (d + 1.0), 0.0))))
    return where(low, edge, where(high, e.neg(edge), inner))


def _density_second_slope(y: Any, a: Any, b: Any, x: Any) -> Any:
    one = np.asarray(1, x.dtype)
    rest = e.sub(one, x)
    left, right = e.div(e.sub(a, one), x), e.div(e.sub(b, one), rest)
    curve = e.add(e.div(left, x), e.div(right, rest))
    return e.sub(e.mul(y, e.sub(left, right)), e.mul(beta_density_of(a, b, x), curve))


def _density_slope_shape(y: Any, log: Any, shape: Any, total: Any) -> Any:
    return e.mul(y, e.sub(log, e.sub(digamma_of(shape), digamma_of(total))))


def _within(y: Any, x: Any) -> Any:
    """`x`, and 1/2 where the density is 0: at 0 and 1 it is 0 times an infinite logarithm."""
    return e.select(e.eq(y, np.asarray(0, y.dtype)), e.splat(np.asarray(0.5, x.dtype), x.shape), x)


def _density_slope_a(y: Any, a: Any, b: Any, x: Any) -> Any:
    return _density_slope_shape(y, e.log(_within(y, x)), a, e.add(a, b))


def _density_slope_b(y: Any, a: Any, b: Any, x: Any) -> Any:
    return _density_slope_shape(y, e.log1p(e.neg(_within(y, x))), b, e.add(a, b))


density_slope_of = composed("beta_density_slope", _density_slope, None, None, _density_second_slope)
beta_density_of: Composed = composed("beta_density", _density, _density_slope_a, _density_slope_b, density_slope_of)
betainc_of = composed("betainc", _betainc, None, None, beta_density_of, eager="compiled")


def betainc(a: Any, b: Any, x: Any) -> Any:
    """The regularised incomplete beta function I_x(a, b), elementwise: NaN for operands outside a, b >= 0 and 0 <= x <= 1.

    Relative error at most 1e-13 where the result is above 1e-200. The derivative in `x` is the beta distribution's density; those in
    `a` and `b` are the formula's own, in forward mode, of any order.

    Source: DLMF 8.17.22; the cancelled form of the weight for large operands is A. DiDonato's and A. Morris's (Algorithm 708, ACM TOMS
    18, 1992).

    Example:
        >>> round(float(betainc(2.0, 3.0, 0.5)), 6)
        0.6875
    """
    return betainc_of(*reals("betainc", a, b, x))


__all__ = ["betainc"]
