"""The Cauchy distribution of median `loc`."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl import numpy as fnp

from .shared import log_probability, operands, standard


def logpdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density at `x`, elementwise."""
    z, log, _ = standard("cauchy", x, loc, scale)
    return -fnp.log1p(z * z) - (float(np.log(np.pi)) + log)


def pdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density at `x`, elementwise."""
    return fnp.exp(logpdf(x, loc, scale))


def cdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of at most `x`, elementwise."""
    # The angle of (z, 1) keeps the digits of both tails.
    z = standard("cauchy", x, loc, scale)[0]
    return fnp.arctan2(fnp.ones_like(z), -z) / np.pi


def logcdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `cdf`, elementwise."""
    return log_probability(cdf(x, loc, scale), sf(x, loc, scale))


def sf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of more than `x`, elementwise."""
    z = standard("cauchy", x, loc, scale)[0]
    return fnp.arctan2(fnp.ones_like(z), z) / np.pi


def logsf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `sf`, elementwise."""
    return log_probability(sf(x, loc, scale), cdf(x, loc, scale))


def ppf(q: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The inverse of `cdf`, elementwise: NaN outside [0, 1]."""
    q, loc, scale = operands("cauchy", q, loc, scale)
    return loc + fnp.where(scale > 0, scale, np.nan) * _quantile(q)


def isf(q: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The inverse of `sf`, elementwise: NaN outside [0, 1]."""
    q, loc, scale = operands("cauchy", q, loc, scale)
    return loc - fnp.where(scale > 0, scale, np.nan) * _quantile(q)


def _quantile(q: Any) -> Any:
    """tan(pi (q - 1/2)), from the nearest of the points where it is known: the ends and the middle."""
    q = fnp.where((q >= 0) & (q <= 1), q, np.nan)
    low, centre = q < 0.5, fnp.abs(q - 0.5) < 0.25
    middle = fnp.tan(np.pi * (fnp.where(centre, q, 0.5) - 0.5))
    tail = -1 / fnp.tan(np.pi * fnp.where(centre, 0.25, fnp.where(low, q, 1 - q)))
    return fnp.where(centre, middle, fnp.where(low, tail, -tail))
