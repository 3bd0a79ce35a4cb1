"""The distribution of failures before the `n`-th success of probability `p`."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.scipy import special

from .shared import counted, known


def logpmf(k: Any, n: Any, p: Any, loc: Any = 0) -> Any:
    """The logarithm of the probability of `k`, elementwise; -inf where `k` is no value of the distribution."""
    k, whole, n, p = counted("nbinom", k, loc, n, p)
    inside = whole & (k >= 0)
    m = fnp.where(inside, k, 0)
    ways = -fnp.log(n + m) - special.betaln(n, m + 1)
    y = ways + special.xlogy(n, p) + special.xlog1py(m, -p)
    return known(fnp.where((n > 0) & (p > 0) & (p <= 1), fnp.where(inside, y, -np.inf), np.nan), k)


def pmf(k: Any, n: Any, p: Any, loc: Any = 0) -> Any:
    """The probability of `k`, elementwise; 0 where `k` is no value of the distribution."""
    return fnp.exp(logpmf(k, n, p, loc))
