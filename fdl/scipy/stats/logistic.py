"""The logistic distribution of mean `loc`."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.scipy import special

from .shared import operands, standard


def logpdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density at `x`, elementwise."""
    z, log, _ = standard("logistic", x, loc, scale)
    size = fnp.abs(z)
    return -size - 2 * fnp.log1p(fnp.exp(-size)) - log


def pdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density at `x`, elementwise."""
    return fnp.exp(logpdf(x, loc, scale))


def cdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of at most `x`, elementwise."""
    return special.expit(standard("logistic", x, loc, scale)[0])


def sf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of more than `x`, elementwise."""
    return special.expit(-standard("logistic", x, loc, scale)[0])


def ppf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The inverse of `cdf`, elementwise: NaN outside [0, 1]."""
    x, loc, scale = operands("logistic", x, loc, scale)
    return special.logit(x) * fnp.where(scale > 0, scale, np.nan) + loc


def isf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The inverse of `sf`, elementwise: NaN outside [0, 1]."""
    x, loc, scale = operands("logistic", x, loc, scale)
    return loc - special.logit(x) * fnp.where(scale > 0, scale, np.nan)
