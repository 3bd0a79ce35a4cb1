"""The binomial distribution whose probability has the beta distribution of shapes `a` and `b`."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.scipy import special

from .shared import counted, known


def logpmf(k: Any, n: Any, a: Any, b: Any, loc: Any = 0) -> Any:
    """The logarithm of the probability of `k`, elementwise; -inf where `k` is no value of the distribution."""
    k, whole, n, a, b = counted("betabinom", k, loc, n, a, b)
    inside = whole & (k >= 0) & (k <= n)
    m = fnp.where(inside, k, 0)
    ways = -fnp.log1p(n) - special.betaln(m + 1, n - m + 1)
    y = ways + special.betaln(m + a, n - m + b) - special.betaln(a, b)
    return known(fnp.where((n >= 0) & (a > 0) & (b > 0), fnp.where(inside, y, -np.inf), np.nan), k)


def pmf(k: Any, n: Any, a: Any, b: Any, loc: Any = 0) -> Any:
    """The probability of `k`, elementwise; 0 where `k` is no value of the distribution."""
    return fnp.exp(logpmf(k, n, a, b, loc))
