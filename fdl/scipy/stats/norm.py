"""The normal distribution, of mean `loc` and standard deviation `scale`."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.scipy import special

from .shared import operands, standard

_LOG_ROOT = 0.5 * float(np.log(2 * np.pi))


def logpdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density at `x`, elementwise.

    Example:
        >>> round(float(logpdf(0.0)), 5)
        -0.91894
    """
    z, log, _ = standard("norm", x, loc, scale)
    return -0.5 * z * z - (_LOG_ROOT + log)


def pdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density at `x`, elementwise."""
    return fnp.exp(logpdf(x, loc, scale))


def cdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of at most `x`, elementwise."""
    return special.ndtr(standard("norm", x, loc, scale)[0])


def logcdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `cdf`, elementwise."""
    return special.log_ndtr(standard("norm", x, loc, scale)[0])


def sf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of more than `x`, elementwise."""
    return special.ndtr(-standard("norm", x, loc, scale)[0])


def logsf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `sf`, elementwise."""
    return special.log_ndtr(-standard("norm", x, loc, scale)[0])


def ppf(q: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The inverse of `cdf`, elementwise: NaN outside [0, 1]."""
    q, loc, scale = operands("norm", q, loc, scale)
    return special.ndtri(q) * fnp.where(scale > 0, scale, np.nan) + loc


def isf(q: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The inverse of `sf`, elementwise: NaN outside [0, 1]."""
    q, loc, scale = operands("norm", q, loc, scale)
    return loc - special.ndtri(q) * fnp.where(scale > 0, scale, np.nan)
