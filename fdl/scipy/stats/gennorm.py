"""The generalised normal distribution, of density proportional to exp(-|x|**beta)."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.scipy import special

from .shared import standard


def logpdf(x: Any, beta: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density at `x`, elementwise."""
    z, log, _, beta = standard("gennorm", x, loc, scale, beta)
    norm = fnp.log(0.5 * beta) - special.gammaln(1 / beta)
    return fnp.where(beta > 0, norm - log - fnp.abs(z) ** beta, np.nan)


def pdf(x: Any, beta: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density at `x`, elementwise."""
    return fnp.exp(logpdf(x, beta, loc, scale))


def cdf(x: Any, beta: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of at most `x`, elementwise."""
    z, _, _, beta = standard("gennorm", x, loc, scale, beta)
    tail = 0.5 * special.gammaincc(1 / beta, fnp.abs(z) ** beta)
    return fnp.where(z < 0, tail, 1 - tail)
