"""The Poisson distribution of mean `mu`."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.scipy import special

from .shared import counted, known


def logpmf(k: Any, mu: Any, loc: Any = 0) -> Any:
    """The logarithm of the probability of `k`, elementwise; -inf where `k` is no value of the distribution."""
    k, whole, mu = counted("poisson", k, loc, mu)
    inside = whole & (k >= 0)
    m = fnp.where(inside, k, 0)
    y = special.xlogy(m, mu) - special.gammaln(m + 1) - mu
    return known(fnp.where(mu >= 0, fnp.where(inside, y, -np.inf), np.nan), k)


def pmf(k: Any, mu: Any, loc: Any = 0) -> Any:
    """The probability of `k`, elementwise; 0 where `k` is no value of the distribution."""
    return fnp.exp(logpmf(k, mu, loc))


def cdf(k: Any, mu: Any, loc: Any = 0) -> Any:
    """The probability of at most `k`, elementwise."""
    k, _, mu = counted("poisson", k, loc, mu)
    inside = k >= 0
    y = special.gammaincc(fnp.floor(fnp.where(inside, k, 0)) + 1, mu)
    return known(fnp.where(mu >= 0, fnp.where(inside, y, 0), np.nan), k)
