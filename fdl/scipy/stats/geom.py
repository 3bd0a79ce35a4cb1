"""The distribution of the number of trials up to the first success of probability `p`."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.scipy import special

from .shared import counted, known


def logpmf(k: Any, p: Any, loc: Any = 0) -> Any:
    """The logarithm of the probability of `k`, elementwise; -inf where `k` is no value of the distribution."""
    k, whole, p = counted("geom", k, loc, p)
    inside = whole & (k >= 1)
    y = special.xlog1py(fnp.where(inside, k - 1, 0), -p) + fnp.log(p)
    return known(fnp.where((p > 0) & (p <= 1), fnp.where(inside, y, -np.inf), np.nan), k)


def pmf(k: Any, p: Any, loc: Any = 0) -> Any:
    """The probability of `k`, elementwise; 0 where `k` is no value of the distribution."""
    return fnp.exp(logpmf(k, p, loc))
