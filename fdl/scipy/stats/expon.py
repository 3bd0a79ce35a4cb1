"""The exponential distribution from `loc` on, of mean `loc + scale`."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl import numpy as fnp

from .shared import known, operands, standard


def logpdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density at `x`, elementwise."""
    z, log, _ = standard("expon", x, loc, scale)
    return known(fnp.where(z >= 0, -z - log, -np.inf), z)


def pdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density at `x`, elementwise."""
    return fnp.exp(logpdf(x, loc, scale))


def cdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of at most `x`, elementwise."""
    return -fnp.expm1(logsf(x, loc, scale))


def logcdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `cdf`, elementwise."""
    z = standard("expon", x, loc, scale)[0]
    inside = z > 0
    safe = fnp.where(inside, z, 1)
    small = safe < 0.5
    # log(1 - exp(-z)), by whichever of the two keeps its digits.
    near = fnp.log(-fnp.expm1(-safe))
    far = fnp.log1p(-fnp.exp(-fnp.where(small, 1, safe)))
    return known(fnp.where(inside, fnp.where(small, near, far), -np.inf), z)


def sf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of more than `x`, elementwise."""
    return fnp.exp(logsf(x, loc, scale))


def logsf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `sf`, elementwise."""
    z = standard("expon", x, loc, scale)[0]
    return known(fnp.where(z > 0, -z, 0), z)


def ppf(q: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The inverse of `cdf`, elementwise: NaN outside [0, 1]."""
    q, loc, scale = operands("expon", q, loc, scale)
    inside = (q >= 0) & (q <= 1) & (scale > 0)
    return fnp.where(inside, loc - scale * fnp.log1p(-fnp.where(inside, q, 0)), np.nan)
