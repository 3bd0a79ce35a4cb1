"""The Laplace distribution of mean `loc`."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl import numpy as fnp

from .shared import standard


def logpdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density at `x`, elementwise."""
    z, log, _ = standard("laplace", x, loc, scale)
    return -fnp.abs(z) - (float(np.log(2)) + log)


def pdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density at `x`, elementwise."""
    return fnp.exp(logpdf(x, loc, scale))


def cdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of at most `x`, elementwise."""
    z = standard("laplace", x, loc, scale)[0]
    tail = 0.5 * fnp.exp(-fnp.abs(z))
    return fnp.where(z < 0, tail, 1 - tail)
