"""The gamma function, its logarithm, and the logarithm's derivatives.

The formulas `..._above`, `stirling_correction` and `sinpi` are for float64 arrays; other modules of the package use them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fdl.numpy.promote import asarray, promote_operands
from fdl.tracer.dtypes import complex128, is_complex
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.transforms.composed import composed

from . import coefficients as k
from .complex_gammas import complex_loggamma
from .operands import chebyshev, horner, reals, where

PI = math.pi
LOG_PI = math.log(math.pi)
LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


def ones(x: Any) -> Any:
    """Ones like `x`."""
    return e.splat(np.float64(1), x.shape)


def zeros(x: Any) -> Any:
    """Zeros like `x`."""
    return e.splat(np.float64(0), x.shape)


def is_odd(x: Any) -> Any:
    """Whether the whole number `x` is odd."""
    return x - 2.0 * e.floor(0.5 * x) == 1.0


def sinpi(x: Any) -> Any:
    """sin(pi x), which is 0 at integers."""
    n = e.round(x)
    y = e.sin(PI * (x - n))
    return where(is_odd(n), -y, y)


# --- the logarithm --------------------------------------------------------------------------------


def stirling_correction(x: Any) -> Any:
    """log Gamma(x) - ((x - 1/2) log x - x + log(2 pi) / 2) for x >= 8 (DLMF 5.11.1)."""
    inverse = 1.0 / x
    return inverse * horner(k.STIRLING, inverse * inverse)


def gammaln_above(x: Any) -> Any:
    """log Gamma(x) for x >= 1/2, relative to its size also near the zeros 1 and 2.

    On [1, 3] it is (x - 1) (x - 2) times a series; below and up to 8 it comes by recurrence, from 8 on by Stirling's series.
    """
    low, near = x < 1.0, x < 3.0
    t = where(near, where(low, x - 1.0, x - 2.0), 0.0)  # exact, and so are products near the zeros
    inner = (t + 1.0) * t * chebyshev(k.LOGGAMMA, t)
    inner = where(low, inner - e.log(where(low, x, 1.0)), inner)
    z, product = where(near, 8.0, x), ones(x)
    for _ in range(5):
        small = z < 8.0
        product = where(small, product * z, product)
        z = where(small, z + 1.0, z)
    outer = (z - 0.5) * (e.log(z) - 1.0) + ((LOG_SQRT_2PI - 0.5) + stirling_correction(z)) - e.log(product)
    return where(near, inner, outer)


def gammaln1p(a: Any) -> Any:
    """log Gamma(1 + a) for 0 <= a <= 2, relative to its size also near 0."""
    return a * (a - 1.0) * chebyshev(k.LOGGAMMA, a - 1.0)


def _gammaln(x: Any) -> Any:
    # Gamma(x) Gamma(1 - x) = pi / sin(pi x)
    reflected = x < 0.5
    above = gammaln_above(where(reflected, 1.0 - x, x))
    below = LOG_PI - e.log(e.abs(sinpi(where(reflected, x, 0.25)))) - above
    return where(e.abs(x) == np.inf, np.inf, where(reflected, below, above) + 0.0)  # no negative zero


def _digamma(x: Any) -> Any:
    negative = x <= 0.0
    y = where(negative, 1.0 - x, x)
    low, near = y < 1.0, y < 2.0
    z = where(near, where(low, y + 1.0, y), 1.5)
    inner = ((z - k.DIGAMMA_ROOT[0]) - k.DIGAMMA_ROOT[1]) * chebyshev(k.DIGAMMA, 2.0 * z - 3.0)
    inner = where(low, inner - 1.0 / where(low, y, 1.0), inner)
    # psi(y) = psi(y + n) - (1 / y + ... + 1 / (y + n - 1)), the sum kept as a fraction.
    w, top, bottom = where(near, 10.0, y), zeros(x), ones(x)
    for _ in range(8):
        small = w < 10.0
        top, bottom = where(small, top * w + bottom, top), where(small, bottom * w, bottom)
        w = where(small, w + 1.0, w)
    inverse = 1.0 / w
    square = inverse * inverse
    outer = e.log(w) - 0.5 * inverse - square * horner(k.DIGAMMA_TAIL, square) - top / bottom
    above = where(near, inner, outer)
    r = x - e.round(x)
    angle = PI * where(negative & (r != 0.0), r, 0.25)
    below = where(r == 0.0, np.nan, above - PI * e.cos(angle) / e.sin(angle))
    # At 0 the sign of infinity is that of the side.
    return where(x == 0.0, e.neg(1.0 / x), where(negative, below, above))


def _trigamma(x: Any) -> Any:
    negative = x <= 0.0
    w, total = where(negative, 1.0 - x, x), zeros(x)
    for _ in range(10):
        small = w < 10.0
        total = where(small, total + 1.0 / (w * w), total)
        w = where(small, w + 1.0, w)
    inverse = 1.0 / w
    square = inverse * inverse
    tail = inverse * square * horner([2 * i * b for i, b in enumerate(k.DIGAMMA_TAIL, 1)], square)
    above = total + inverse + 0.5 * square + tail
    cosecant = PI / e.sin(PI * where(negative, x - e.round(x), 0.25))
    return where(negative, cosecant * cosecant - above, above)


trigamma_of = composed("trigamma", _trigamma, None)
digamma_of = composed("digamma", _digamma, trigamma_of)
gammaln_of = composed("gammaln", _gammaln, digamma_of)


def gammaln(x: Any) -> Any:
    """log |Gamma(x)|, elementwise: inf at 0, -1, -2, ... and at infinity.

    Within 4e-15 of a value of size 1 or more, and relatively so near the zeros 1 and 2; float32 and narrower are rounded from float64. The
    derivative is `digamma`.

    Source: DLMF 5.5.3 (reflection), 5.11.1 (Stirling's series).

    Example:
        >>> gammaln([1.0, 0.5, 10.0]).tolist()
        [0.0, 0.5723649263381958, 12.801827430725098]
    """
    return gammaln_of(*reals("gammaln", x))


def loggamma(x: Any) -> Any:
    """log Gamma(x), elementwise: as `gammaln`, but NaN where Gamma is negative, whose logarithm is complex.

    Complex `x` gives the principal branch, continuous off the negative real axis, within 1e-14 times max(1, |result|).

    Example:
        >>> f"{complex(loggamma(2.0 + 1.0j)):.4f}"
        '-0.3043+0.4838j'
    """
    (x,) = promote_operands("loggamma", x, inexact=True)
    if is_complex(type_of(x).dtype):
        return _in_complex128(complex_loggamma, x)
    y = gammaln_of(x)
    nan = e.splat(np.asarray(np.nan, y.dtype), y.shape)
    return e.select(e.lt(x, np.asarray(0, y.dtype)), nan, y)


def _in_complex128(f: Callable[[Any], Any], z: Any) -> Any:
    """`f` of `z` in complex128, rounded to the dtype of `z`."""
    return e.convert(f(e.convert(asarray(z), complex128)), type_of(z).dtype)


def digamma(x: Any) -> Any:
    """The derivative of log Gamma(x), elementwise: NaN at -1, -2, ..., an infinity of the other sign at 0.0 and -0.0.

    Relative error at most 1e-15 for x > 0, near the zero 1.46 too; the zeros below 0 are exact to 1e-15 absolutely.

    Source: DLMF 5.5.4 (reflection), 5.11.2.

    Example:
        >>> digamma([1.0, 10.0]).tolist()
        [-0.5772156715393066, 2.2517526149749756]
    """
    return digamma_of(*reals("digamma", x))


# --- the function itself --------------------------------------------------------------------------

_EXACT = 24
"""Up to here Gamma comes by recurrence from [2, 3): whole numbers give exact factorials."""


def gamma_above(x: Any) -> Any:
    """Gamma(x) for x > 0."""
    far = x >= float(_EXACT)
    r, product, divisor = where(far, 2.0, x), ones(x), ones(x)
    for _ in range(_EXACT - 3):
        large = r >= 3.0
        r = where(large, r - 1.0, r)
        product = where(large, product * r, product)
    for _ in range(2):
        small = r < 2.0
        divisor = where(small, divisor * r, divisor)
        r = where(small, r + 1.0, r)
    inner = (1.0 + (r - 2.0) * chebyshev(k.GAMMA, 2.0 * r - 5.0)) * product / divisor
    z = where(far, e.min(x, e.splat(np.float64(400), x.shape)), 24.0)
    root = e.pow(z, 0.5 * z - 0.25)  # by halves, since the power overflows before Gamma does
    outer = math.sqrt(2 * PI) * horner(k.STIRLING_GAMMA, 1.0 / z) * (root * e.exp(-z)) * root
    return where(far, outer, inner)


def _gamma(x: Any) -> Any:
    negative = x < 0.0
    above = gamma_above(where(negative, 1.0 - x, x))
    sine = sinpi(where(negative, x, 0.5))
    below = where(sine == 0.0, np.nan, PI / (sine * above))
    below = where(x == -np.inf, np.nan, below)
    return where(x == 0.0, 1.0 / x, where(negative, below, above))


def _rgamma(x: Any) -> Any:
    negative = x < 0.0
    above = gamma_above(where(negative, 1.0 - x, x))
    below = sinpi(where(negative, x, 0.5)) * above / PI
    return where(e.abs(x) < 1e-17, x, where(negative, below, 1.0 / above))  # where Gamma overflows, too


gamma_of = composed("gamma", _gamma, lambda y, x: y * digamma_of(x))
rgamma_of = composed("rgamma", _rgamma, None)


def gamma(x: Any) -> Any:
    """Gamma(x), elementwise: exact factorials up to 23!, NaN at -1, -2, ... and at -inf, an infinity of its sign at 0.

    Relative error at most 2e-15 (away from the poles below 0). The derivative is Gamma(x) digamma(x).

    Complex `x` gives the exponential of `loggamma`, whose error counts times its size.

    Source: DLMF 5.5.1 (recurrence), 5.5.3 (reflection), 5.11.3.

    Example:
        >>> gamma([5.0, 0.5, -1.5]).tolist()
        [24.0, 1.7724539041519165, 2.363271713256836]
    """
    (x,) = promote_operands("gamma", x, inexact=True)
    if is_complex(type_of(x).dtype):
        return _in_complex128(lambda z: e.exp(complex_loggamma(z)), x)
    return gamma_of(x)


def rgamma(x: Any, /) -> Any:
    """1 / Gamma(x), elementwise, which has no poles: 0 at 0, -1, -2, ..."""
    return rgamma_of(*reals("rgamma", x))


def gammasgn(x: Any) -> Any:
    """The sign of Gamma(x), elementwise: NaN at -1, -2, ... and -inf, and the sign of a zero. Its derivative is 0."""
    (x,) = reals("gammasgn", x)
    x = e.stop_gradient(x)
    one, zero = np.asarray(1, x.dtype), np.asarray(0, x.dtype)
    low = e.floor(x)
    odd = e.ne(e.sub(low, e.mul(np.asarray(2, x.dtype), e.floor(e.mul(np.asarray(0.5, x.dtype), low)))), zero)
    shape = x.shape
    sign = e.select(odd, e.splat(-one, shape), e.splat(one, shape))
    sign = e.select(e.eq(low, x), e.splat(np.asarray(np.nan, x.dtype), shape), sign)
    positive = e.gt(e.select(e.eq(x, zero), e.div(one, x), x), zero)
    sign = e.select(e.eq(x, zero), e.splat(-one, shape), sign)
    return e.select(e.ne(x, x), x, e.select(positive, e.splat(one, shape), sign))


def factorial(n: Any, exact: bool = False) -> Any:
    """n! = Gamma(n + 1), elementwise, as floats; 0 for n < 0, with derivative 0.

    Raises: ValueError with `exact`, for which there are no arrays: use math.factorial.

    Example:
        >>> factorial([0, 1, 5]).tolist()
        [1.0, 1.0, 120.0]
    """
    if exact:
        raise ValueError("factorial: exact=True needs integers without bound, which arrays do not have. Use math.factorial.")
    (n,) = reals("factorial", n)
    zero, one = np.asarray(0, n.dtype), np.asarray(1, n.dtype)
    none = e.lt(n, zero)  # where gamma sees no pole, whose derivative is NaN
    y = gamma_of(e.add(e.select(none, e.splat(zero, n.shape), n), one))
    return e.select(none, e.splat(zero, n.shape), y)


__all__ = ["digamma", "factorial", "gamma", "gammaln", "gammasgn", "loggamma", "rgamma"]
