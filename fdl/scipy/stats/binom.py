"""The distribution of successes in `n` trials of probability `p`."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.scipy import special

from .shared import counted, known


def logpmf(k: Any, n: Any, p: Any, loc: Any = 0) -> Any:
    """The logarithm of the probability of `k`, elementwise; -inf where `k` is no value of the distribution."""
    k, whole, n, p = counted("binom", k, loc, n, p)
    inside = whole & (k >= 0) & (k <= n)
    valid = (n >= 0) & (p >= 0) & (p <= 1)
    m = fnp.where(inside & valid, k, 0)
    count = fnp.where(valid, n, 1)
    ways = -fnp.log1p(count) - special.betaln(m + 1, count - m + 1)
    y = ways + special.xlogy(m, p) + special.xlog1py(count - m, -p)
    return known(fnp.where(valid, fnp.where(inside, y, -np.inf), np.nan), k)


def pmf(k: Any, n: Any, p: Any, loc: Any = 0) -> Any:
    """The probability of `k`, elementwise; 0 where `k` is no value of the distribution."""
    return fnp.exp(logpmf(k, n, p, loc))
