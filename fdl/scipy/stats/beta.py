"""The beta distribution of shapes `a` and `b` on [loc, loc + scale]."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.scipy import special

from .shared import known, log_probability, standard


def logpdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density at `x`, elementwise.

    Example:
        >>> float(logpdf(0.5, 1.0, 1.0))
        0.0
    """
    z, log, _, a, b = standard("beta", x, loc, scale, a, b)
    inside = (z >= 0) & (z <= 1)
    safe = fnp.where(inside, z, 0.5)
    y = special.xlogy(a - 1, safe) + special.xlog1py(b - 1, -safe) - special.betaln(a, b) - log
    return known(fnp.where((a > 0) & (b > 0), fnp.where(inside, y, -np.inf), np.nan), z)


def pdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density at `x`, elementwise."""
    return fnp.exp(logpdf(x, a, b, loc, scale))


def cdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of at most `x`, elementwise."""
    z, _, _, a, b = standard("beta", x, loc, scale, a, b)
    return known(special.betainc(a, b, fnp.clip(z, 0, 1)), z)


def logcdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `cdf`, elementwise."""
    return log_probability(cdf(x, a, b, loc, scale), sf(x, a, b, loc, scale))


def sf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of more than `x`, elementwise."""
    z, _, _, a, b = standard("beta", x, loc, scale, a, b)
    return known(special.betainc(b, a, fnp.clip(1 - z, 0, 1)), z)


def logsf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `sf`, elementwise."""
    return log_probability(sf(x, a, b, loc, scale), cdf(x, a, b, loc, scale))
