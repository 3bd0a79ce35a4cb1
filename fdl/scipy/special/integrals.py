"""Exponential, sine, cosine and Fresnel integrals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fdl.tracer.ops import elementwise as e
from fdl.tracer.transforms.composed import CONSTANT, composed

from . import coefficients as k
from .errors import square
from .gammas import digamma_of, gammaln_of
from .operands import chebyshev, elementwise_loop, outward, reals, where

EULER = 0.5772156649015329


# --- exponential integrals ------------------------------------------------------------------------


def _e1_above(x: Any) -> Any:
    """E1(x) for x > 0."""
    near = x < 1.5
    y = where(near, x, 1.0)
    inner = y * chebyshev(k.EIN, y * (2.0 / 1.5) - 1.0) - e.log(y) - EULER
    z = where(near, 2.0, x)
    outer = e.exp(e.neg(z)) * (chebyshev(k.E1_FAR, outward(z, 1.5, 4.0)) / z)
    return where(near, inner, outer)


def _ei_above(x: Any) -> Any:
    """Ei(x) for x > 0."""
    near, far = x < 8.0, x >= 24.0
    y = where(near, x, 1.0)
    d = (y - k.EI_ROOT[0]) - k.EI_ROOT[1]
    close = e.abs(d) < 0.1  # where the logarithm would cancel
    log = where(close, e.log1p(where(close, d, 0.0) * (1.0 / k.EI_ROOT[0])), e.log(y * (1.0 / k.EI_ROOT[0])))
    inner = log + d * e.exp(y) * chebyshev(k.EI_NEAR, 0.25 * y - 1.0)
    inverse = 1.0 / where(near, 8.0, x)
    middle = chebyshev(k.EI_MIDDLE, 24.0 * e.max(inverse, e.splat(np.float64(1 / 24), x.shape)) - 2.0)
    outer = chebyshev(k.EI_FAR, 48.0 * e.min(inverse, e.splat(np.float64(1 / 24), x.shape)) - 1.0)
    half = e.exp(0.5 * where(near, 8.0, x))  # by halves, since exp(x) overflows before the quotient
    return where(near, inner, half * inverse * where(far, outer, middle) * half)


def _expi(x: Any) -> Any:
    negative = x < 0.0
    above = _ei_above(where(x > 0.0, x, 1.0))
    below = e.neg(_e1_above(where(negative, e.neg(x), 1.0)))
    y = where(negative, below, where(x == 0.0, -np.inf, above))
    return where(x == np.inf, np.inf, where(x == x, y, np.nan))


def _exp1(x: Any) -> Any:
    y = where(x == 0.0, np.inf, _e1_above(where(x > 0.0, x, 1.0)))
    y = where(x == np.inf, 0.0, y)
    return where(x >= 0.0, y, np.nan)


expi_of = composed("expi", _expi, lambda y, x: e.div(e.exp(x), x))
exp1_of = composed("exp1", _exp1, lambda y, x: e.neg(e.div(e.exp(e.neg(x)), x)))


def expi(x: Any) -> Any:
    """The exponential integral Ei(x), the principal value of the integral of exp(t) / t up to `x`, elementwise: -inf at 0.

    Relative error at most 4e-15, near the zero 0.37 too.

    Source: W. Cody and H. Thacher, "Chebyshev approximations for the exponential integral Ei(x)" (Math. Comp. 23, 1969), for the form.
    """
    return expi_of(*reals("expi", x))


def exp1(x: Any) -> Any:
    """The exponential integral E1(x), the integral of exp(-t) / t from `x` on, elementwise: inf at 0, NaN for x < 0.

    Relative error at most 3e-15.

    Example:
        >>> round(float(exp1(1.0)), 6)
        0.219384
    """
    return exp1_of(*reals("exp1", x))


def _expn(n: Any, x: Any) -> Any:
    valid = (n >= 0.0) & (n == e.floor(n)) & (x >= 0.0) & (x < np.inf)
    low = valid & (x <= 1.0) & (x > 0.0) & (n > 1.0)
    m, y = where(low, n, 2.0), where(low, x, 0.5)
    # DLMF 8.19.8: (-x)^(n - 1) / (n - 1)! (psi(n) - log x) - the sum of (-x)^k / (k! (1 - n + k)) over the other k.
    term, total = e.splat(np.float64(1), x.shape), e.splat(np.float64(0), x.shape)
    for i in range(22):
        skipped = m - 1.0 == float(i)
        total = total - where(skipped, 0.0, term / where(skipped, 1.0, float(i) + 1.0 - m))
        term = term * y * (-1.0 / (i + 1))
    odd = m - 2.0 * e.floor(0.5 * m) == 0.0
    power = e.exp((m - 1.0) * e.log(y) - gammaln_of(m))
    series = total + where(odd, e.neg(power), power) * (digamma_of(m) - e.log(y))
    high = valid & (x > 1.0) & (n > 1.0)
    m, y = where(high, n, 2.0), where(high, x, 100.0)
    one = e.splat(np.float64(1), x.shape)

    def test(m: Any, i: Any, b: Any, c: Any, d: Any, h: Any, change: Any) -> Any:
        return (e.abs(change) > 4e-16) & (i < 1000.0)

    def step(m: Any, i: Any, b: Any, c: Any, d: Any, h: Any, change: Any) -> list[Any]:
        # DLMF 8.19.17, contracted, by Lentz's method.
        top = e.neg(i * (m - 1.0 + i))
        b = b + 2.0
        d = 1.0 / (top * d + b)
        c = b + top / c
        return [i + 1.0, b, c, d, h * (c * d), c * d - 1.0]

    b = y + m
    init = [one, b, 1e300 * one, 1.0 / b, 1.0 / b, one]
    fraction = elementwise_loop(test, step, [m], init)[4] * e.exp(e.neg(y))
    plain = where(n == 0.0, e.exp(e.neg(x)) / where(x == 0.0, 1.0, x), _e1_above(where(x > 0.0, x, 1.0)))
    y = where(n <= 1.0, plain, where(x <= 1.0, series, fraction))
    at_zero = where(n <= 1.0, np.inf, 1.0 / where(n <= 1.0, 1.0, n - 1.0))
    y = where(x == 0.0, at_zero, y)
    return where(valid, y, where((x == np.inf) & (n >= 0.0), 0.0, np.nan))


def _expn_slope(y: Any, n: Any, x: Any) -> Any:
    one, zero = np.asarray(1, n.dtype), np.asarray(0, n.dtype)
    # E_0(x) = exp(-x) / x
    lower = expn_of(e.max(e.sub(n, one), zero), x)
    first = e.neg(e.mul(y, e.add(one, e.div(one, x))))
    pred = e.splat(e.eq(n, zero), y.shape)
    return e.select(pred, e.splat(first, y.shape), e.neg(e.splat(lower, y.shape)))


expn_of = composed("expn", _expn, CONSTANT, _expn_slope, eager="compiled")


def expn(n: Any, x: Any) -> Any:
    """The exponential integral E_n(x), the integral of exp(-x t) / t**n from 1 on, elementwise: NaN for negative operands or a broken `n`.

    Relative error at most 4e-15. The derivative in `x` is -E_{n-1}(x); `n` counts as a constant.
    """
    return expn_of(*reals("expn", n, x))


# --- sine and cosine integrals --------------------------------------------------------------------


def _sici(x: Any, cosine: bool) -> Any:
    a = e.abs(x)
    near = a < 4.0
    y = where(near, a, 1.0)
    t = y * y * 0.125 - 1.0
    z = where(near, 4.0, a)
    c = outward(z, 4.0, 9.0)
    inverse = 1.0 / z
    f, g = inverse * chebyshev(k.SICI_F, c), inverse * inverse * chebyshev(k.SICI_G, c)
    angle = where(z == np.inf, 0.0, z)
    sin, cos = e.sin(angle), e.cos(angle)
    if cosine:
        inner = EULER + e.log(where(y == 0.0, 1.0, y)) - y * y * chebyshev(k.CIN, t)
        out = where(near, where(a == 0.0, -np.inf, inner), f * sin - g * cos)
        return where((x == x) & (x > -np.inf), out, np.nan)
    out = where(near, y * chebyshev(k.SI, t), 0.5 * math.pi - f * cos - g * sin)
    return where(x < 0.0, e.neg(out), where(x == 0.0, x, where(x == x, out, np.nan)))


def _si_slope(y: Any, x: Any) -> Any:
    return sinc_of(x)


si_of = composed("sine_integral", lambda x: _sici(x, False), _si_slope)
ci_of = composed("cosine_integral", lambda x: _sici(x, True), lambda y, x: e.div(e.cos(x), x))


def _sinc(x: Any) -> Any:
    tiny = e.abs(x) < 1e-2
    v = where(tiny, x, 0.0)
    v = v * v
    series = 1.0 - v * (1 / 6) * (1.0 - v * (1 / 20) * (1.0 - v * (1 / 42)))
    y = where(tiny, 1.0, x)
    return where(tiny, series, e.sin(y) / y)


sinc_of = composed("sine_over_x", _sinc, None)


def sici(x: Any) -> tuple[Any, Any]:
    """The sine and the cosine integral of real `x`, elementwise: (Si(x), Ci(x)).

    Si is odd; Ci is -inf at 0, and for x < 0 the real part of its value, Ci(-x). Within 1e-15 times max(1, |result|).

    Source: DLMF 6.2.19 f. for the auxiliary functions beyond 4.

    Example:
        >>> si, ci = sici(1.0)
        >>> round(float(si), 6), round(float(ci), 6)
        (0.946083, 0.337404)
    """
    (x,) = reals("sici", x)
    return si_of(x), ci_of(x)


# --- Fresnel integrals ----------------------------------------------------------------------------


def _half_turns(x: Any) -> tuple[Any, Any]:
    """sin and cos of pi x**2 / 2, with x**2 reduced exactly."""
    limit = e.splat(np.float64(1e100), x.shape)
    high, low = square(e.max(e.min(x, limit), e.neg(limit)))
    turns = high - 4.0 * e.round(high * 0.25)  # exact
    angle = (turns + low) * (0.5 * math.pi)
    return e.sin(angle), e.cos(angle)


def _fresnel(x: Any, cosine: bool) -> Any:
    a = e.abs(x)
    near = a < 2.0
    y = where(near, a, 1.0)
    v = y * y
    t = v * v * 0.125 - 1.0
    z = where(near, 2.0, a)
    c = outward(z, 2.0, 3.0)
    inverse = 1.0 / (math.pi * z)
    f = inverse * chebyshev(k.FRESNEL_F, c)
    g = inverse * inverse * (1.0 / z) * chebyshev(k.FRESNEL_G, c)
    sin, cos = _half_turns(z)
    if cosine:
        out = where(near, y * chebyshev(k.FRESNEL_C, t), 0.5 + (f * sin - g * cos))
    else:
        out = where(near, y * v * chebyshev(k.FRESNEL_S, t), 0.5 - (f * cos + g * sin))
    return where(x < 0.0, e.neg(out), where(x == x, out, np.nan))


fresnel_sin_of = composed("fresnel_sin_slope", lambda x: _half_turns(x)[0], None)
fresnel_cos_of = composed("fresnel_cos_slope", lambda x: _half_turns(x)[1], None)
fresnel_s_of = composed("fresnel_s", lambda x: _fresnel(x, False), fresnel_sin_of)
fresnel_c_of = composed("fresnel_c", lambda x: _fresnel(x, True), fresnel_cos_of)


def fresnel(x: Any) -> tuple[Any, Any]:
    """The Fresnel integrals (S(x), C(x)), of sin(pi t**2 / 2) and cos(pi t**2 / 2) from 0 to real `x`, elementwise.

    Relative error at most 2e-15; the angle is reduced exactly, however large `x` is.

    Source: DLMF 7.5.3 f. for the auxiliary functions beyond 2.
    """
    (x,) = reals("fresnel", x)
    return fresnel_s_of(x), fresnel_c_of(x)


__all__ = ["exp1", "expi", "expn", "fresnel", "sici"]
