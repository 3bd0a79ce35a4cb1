"""The gamma distribution of shape `a` from `loc` on."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.scipy import special

from .shared import known, log_probability, standard


def logpdf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density at `x`, elementwise.

    Example:
        >>> float(logpdf(1.0, 1.0))
        -1.0
    """
    z, log, _, a = standard("gamma", x, loc, scale, a)
    inside = z >= 0
    safe = fnp.where(inside, z, 1)
    y = special.xlogy(a - 1, safe) - safe - special.gammaln(a) - log
    return known(fnp.where(a > 0, fnp.where(inside, y, -np.inf), np.nan), z)


def pdf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density at `x`, elementwise."""
    return fnp.exp(logpdf(x, a, loc, scale))


def cdf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of at most `x`, elementwise."""
    z, _, _, a = standard("gamma", x, loc, scale, a)
    return known(special.gammainc(a, fnp.maximum(z, 0)), z)


def logcdf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `cdf`, elementwise."""
    return log_probability(cdf(x, a, loc, scale), sf(x, a, loc, scale))


def sf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of more than `x`, elementwise."""
    z, _, _, a = standard("gamma", x, loc, scale, a)
    return known(special.gammaincc(a, fnp.maximum(z, 0)), z)


def logsf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `sf`, elementwise."""
    return log_probability(sf(x, a, loc, scale), cdf(x, a, loc, scale))
