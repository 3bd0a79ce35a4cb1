"""The beta function, and products and quotients of gamma functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fdl.numpy.promote import promote_operands
from fdl.numpy.ufuncs import real_only
from fdl.tracer.ops import elementwise as e
from fdl.tracer.transforms.composed import composed

from .gammas import LOG_SQRT_2PI, digamma_of, gamma_of, gammaln_above, gammaln_of, is_odd, stirling_correction
from .operands import reals, where, whole_number

_LARGE = 8.0
"""From here on differences of log Gamma are taken by Stirling's series, where large terms cancel before they are rounded."""


def betaln_above(p: Any, q: Any) -> Any:
    """log B(p, q) for p, q > 0.

    Source: A. DiDonato and A. Morris, "Algorithm 708: significant digit computation of the incomplete beta function ratios" (ACM TOMS 18,
    1992), section 3, for the cancelled forms.
    """
    a, b = e.min(p, q), e.max(p, q)
    both, one = a >= _LARGE, b >= _LARGE
    large_a, large_b = where(both, a, _LARGE), where(one, b, _LARGE)
    ratio = large_a / large_b
    high = (
        LOG_SQRT_2PI
        - 0.5 * e.log(large_b)
        + (large_a - 0.5) * e.log(ratio / (1.0 + ratio))
        - large_b * e.log1p(ratio)
        + (stirling_correction(large_a) + stirling_correction(large_b) - stirling_correction(large_a + large_b))
    )
    small_a = where(both, 1.0, a)
    gamma_a = _gammaln_positive(small_a)
    middle = gamma_a - gamma_difference(large_b, small_a)
    small_b = where(one, 1.0, b)
    low = gamma_a + (_gammaln_positive(small_b) - _gammaln_positive(small_a + small_b))
    return where(both, high, where(one, middle, low))


def _gammaln_positive(x: Any) -> Any:
    """log Gamma(x) for x > 0, relative to its size everywhere."""
    tiny = x < 0.5
    return gammaln_above(where(tiny, x + 1.0, x)) - where(tiny, e.log(where(tiny, x, 1.0)), 0.0)


def gamma_difference(x: Any, d: Any) -> Any:
    """log Gamma(x + d) - log Gamma(x) for x >= 8, x + d >= 8."""
    y = x + d
    return (x - 0.5) * e.log1p(d / x) + d * (e.log(y) - 1.0) + (stirling_correction(y) - stirling_correction(x))


def _betaln(a: Any, b: Any) -> Any:
    valid = (a > 0.0) & (b > 0.0)
    finite = valid & (a < np.inf) & (b < np.inf)
    y = betaln_above(where(finite, a, 1.0), where(finite, b, 1.0))
    other = gammaln_of(a) + gammaln_of(b) - gammaln_of(a + b)
    return where(finite, y, where(valid, -np.inf, other))


def _slope_of_ln(x: Any, total: Any) -> Any:
    return e.sub(digamma_of(x), digamma_of(total))


betaln_of = composed(
    "betaln", _betaln, lambda y, a, b: _slope_of_ln(a, e.add(a, b)), lambda y, a, b: _slope_of_ln(b, e.add(a, b))
)


def betaln(a: Any, b: Any) -> Any:
    """log |B(a, b)|, elementwise.

    Within 1e-15 times max(1, |result|) for positive operands, however large. Its derivative in `a` is digamma(a) - digamma(a + b).

    Example:
        >>> round(float(betaln(2.0, 3.0)), 5)  # log(1 / 12)
        -2.48491
    """
    return betaln_of(*reals("betaln", a, b))


def _beta(a: Any, b: Any) -> Any:
    total = a + b
    product = gamma_of(a) * (gamma_of(b) / gamma_of(total))
    positive = (a > 0.0) & (b > 0.0)
    moderate = (e.abs(a) < 80.0) & (e.abs(b) < 80.0)
    logs = e.exp(betaln_of(where(positive, a, 1.0), where(positive, b, 1.0)))
    other = e.exp(gammaln_of(a) + gammaln_of(b) - gammaln_of(total)) * _sign(a) * _sign(b) * _sign(total)
    return where(moderate & e.is_finite(product), product, where(positive, logs, other))


def _sign(x: Any) -> Any:
    """The sign of Gamma(x)."""
    return where((x < 0.0) & is_odd(e.floor(x)), -1.0, 1.0)


beta_of = composed(
    "beta",
    _beta,
    lambda y, a, b: e.mul(y, _slope_of_ln(a, e.add(a, b))),
    lambda y, a, b: e.mul(y, _slope_of_ln(b, e.add(a, b))),
)


def beta(a: Any, b: Any) -> Any:
    """The beta function B(a, b) = Gamma(a) Gamma(b) / Gamma(a + b), elementwise.

    Relative error at most 4e-15 for operands of size up to 80, above that about 1e-16 times its logarithm.

    Example:
        >>> float(beta(1.0, 2.0))
        0.5
    """
    return beta_of(*reals("beta", a, b))


# --- products of consecutive numbers --------------------------------------------------------------


def _poch(z: Any, m: Any) -> Any:
    y = z + m
    large = (z >= _LARGE) & (y >= _LARGE)
    far = e.exp(gamma_difference(where(large, z, _LARGE), where(large, m, 0.0)))
    pole_z, pole_y = (z <= 0.0) & (z == e.floor(z)), (y <= 0.0) & (y == e.floor(y))
    # At poles of both: (z)_m = (-1)^m Gamma(1 - z) / Gamma(1 - z - m).
    both = pole_z & pole_y
    top, bottom = where(both, 1.0 - z, y), where(both, 1.0 - y, z)
    ratio = gamma_of(top) / gamma_of(bottom)
    logs = e.exp(gammaln_of(top) - gammaln_of(bottom)) * _sign(top) * _sign(bottom)
    sign = where(both & is_odd(m), -1.0, 1.0)
    near = sign * where((e.abs(top) < 170.0) & (e.abs(bottom) < 170.0), ratio, logs)
    near = where(pole_z & e.logical_not(pole_y), 0.0, where(pole_y & e.logical_not(pole_z), np.inf, near))
    return where((z == z) & (m == m), where(m == 0.0, 1.0, where(large, far, near)), np.nan)


poch_of = composed(
    "poch",
    _poch,
    lambda y, z, m: e.mul(y, e.sub(digamma_of(e.add(z, m)), digamma_of(z))),
    lambda y, z, m: e.mul(y, digamma_of(e.add(z, m))),
)


def poch(z: Any, m: Any) -> Any:
    """The Pochhammer symbol (z)_m = Gamma(z + m) / Gamma(z), elementwise.

    Example:
        >>> float(poch(3.0, 2.0))  # 3 * 4
        12.0
    """
    return poch_of(*reals("poch", z, m))


def _comb(n: Any, m: Any) -> Any:
    inside = (n >= 0.0) & (m >= 0.0) & (m <= n)
    less = e.min(where(inside, m, 0.0), where(inside, n - m, 0.0))
    y = where(inside, n, 1.0) + 1.0
    # 1 / ((n + 1) B(less + 1, n - less + 1)), from the product of consecutive numbers.
    small = y < 24.0
    exact = gamma_of(where(small, y, 1.0)) / (gamma_of(where(small, less + 1.0, 1.0)) * gamma_of(where(small, y - less, 1.0)))
    large = e.exp(e.neg(betaln_of(less + 1.0, y - less)) - e.log(y))
    return where(inside, where(small, exact, large), where((n == n) & (m == m), 0.0, np.nan))


def _comb_slope_n(y: Any, n: Any, m: Any) -> Any:
    one = np.asarray(1, n.dtype)
    return e.mul(y, e.sub(digamma_of(e.add(n, one)), digamma_of(e.add(e.sub(n, m), one))))


def _comb_slope_k(y: Any, n: Any, m: Any) -> Any:
    one = np.asarray(1, n.dtype)
    return e.mul(y, e.sub(digamma_of(e.add(e.sub(n, m), one)), digamma_of(e.add(m, one))))


comb_of = composed("comb", _comb, _comb_slope_n, _comb_slope_k)


def comb(N: Any, k: Any, *, repetition: bool = False) -> Any:
    """The number of ways to choose `k` of `N`, elementwise, as floats; 0 unless 0 <= k <= N. With `repetition`, of N + k - 1.

    Gamma functions make it of real operands, which are differentiated. Relative error 1e-15 up to N = 22, and below 1e-13 while the result
    is finite in float32.

    Example:
        >>> float(comb(5, 2)), float(comb(5, 2, repetition=True))
        (10.0, 15.0)
    """
    n, m = reals("comb", N, k)
    if repetition:
        one = np.asarray(1, n.dtype)
        empty = e.eq(m, np.asarray(0, n.dtype))
        y = comb_of(e.sub(e.add(n, m), one), m)
        return e.select(empty, e.splat(one, y.shape), y)
    return comb_of(n, m)


def multigammaln(a: Any, d: int) -> Any:
    """The logarithm of the multivariate gamma function of order `d`, elementwise; NaN unless a > (d - 1) / 2.

    Args:
        d: a Python integer from 1 on.

    Raises: DTypeError for another `d`.

    Source: the product of d gamma functions times pi^(d (d - 1) / 4) (DLMF 35.3.4).
    """
    d = whole_number("multigammaln: d", d, 1)
    (a,) = promote_operands("multigammaln", a, inexact=True)
    real_only("multigammaln", a)
    dtype = a.dtype if hasattr(a, "dtype") else np.float32
    total: Any = np.asarray(d * (d - 1) / 4 * math.log(math.pi), dtype)
    for i in range(d):
        total = e.add(total, gammaln_of(e.sub(a, np.asarray(i / 2, dtype))))
    bad = e.le(a, np.asarray((d - 1) / 2, dtype))
    return e.select(bad, e.splat(np.asarray(np.nan, dtype), a.shape), total)


__all__ = ["beta", "betaln", "comb", "multigammaln", "poch"]
