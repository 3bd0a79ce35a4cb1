"""The distribution of 1 with probability `p`, 0 otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.scipy import special

from .shared import counted, known, operands


def logpmf(k: Any, p: Any, loc: Any = 0) -> Any:
    """The logarithm of the probability of `k`, elementwise; -inf where `k` is no value of the distribution."""
    k, _, p = counted("bernoulli", k, loc, p)
    y = fnp.where(k == 1, special.xlogy(1, p), fnp.where(k == 0, special.xlog1py(1, -p), -np.inf))
    return known(fnp.where((p >= 0) & (p <= 1), y, np.nan), k)


def pmf(k: Any, p: Any, loc: Any = 0) -> Any:
    """The probability of `k`, elementwise; 0 where `k` is no value of the distribution."""
    return fnp.exp(logpmf(k, p, loc))


def cdf(k: Any, p: Any) -> Any:
    """The probability of at most `k`, elementwise."""
    k, p = operands("bernoulli", k, p)
    y = fnp.where(k < 0, 0, fnp.where(k < 1, 1 - p, 1))
    return known(fnp.where((p >= 0) & (p <= 1), y, np.nan), k)


def ppf(q: Any, p: Any) -> Any:
    """The smallest value whose `cdf` is at least `q`, elementwise: NaN outside [0, 1]."""
    q, p = operands("bernoulli", q, p)
    inside = (q >= 0) & (q <= 1) & (p >= 0) & (p <= 1)
    return fnp.where(inside, fnp.where(q <= 1 - p, 0, 1), np.nan)
