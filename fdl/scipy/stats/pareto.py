"""The Pareto distribution of shape `b` from `loc + scale` on."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl import numpy as fnp

from .shared import known, log_probability, operands, standard


def logpdf(x: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density at `x`, elementwise."""
    z, log, _, b = standard("pareto", x, loc, scale, b)
    inside = z >= 1
    y = fnp.log(b) - log - (b + 1) * fnp.log(fnp.where(inside, z, 1))
    return known(fnp.where(b > 0, fnp.where(inside, y, -np.inf), np.nan), z)


def pdf(x: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density at `x`, elementwise."""
    return fnp.exp(logpdf(x, b, loc, scale))


def cdf(x: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of at most `x`, elementwise."""
    return -fnp.expm1(logsf(x, b, loc, scale))


def logcdf(x: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `cdf`, elementwise."""
    return log_probability(cdf(x, b, loc, scale), sf(x, b, loc, scale))


def sf(x: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of more than `x`, elementwise."""
    return fnp.exp(logsf(x, b, loc, scale))


def logsf(x: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `sf`, elementwise."""
    z, _, _, b = standard("pareto", x, loc, scale, b)
    return known(fnp.where(b > 0, -b * fnp.log(fnp.where(z >= 1, z, 1)), np.nan), z)


def ppf(q: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The inverse of `cdf`, elementwise: NaN outside [0, 1]."""
    q, b, loc, scale = operands("pareto", q, b, loc, scale)
    inside = (q >= 0) & (q <= 1) & (b > 0) & (scale > 0)
    return fnp.where(inside, loc + scale * fnp.exp(-fnp.log1p(-fnp.where(inside, q, 0)) / b), np.nan)
