"""The multinomial distribution: how `n` trials fall on the outcomes of the last axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.numpy.promote import asarray, promote_operands
from fdl.scipy import special


def logpmf(x: Any, n: Any, p: Any) -> Any:
    """The logarithm of the probability of the counts `x` `(..., k)`, shape `(...)`; -inf unless they are whole and add up to `n`.

    Args:
        n: the number of trials, `(...)`.
        p: the outcomes' probabilities, `(..., k)`.
    """
    x, p, n = (asarray(v) for v in promote_operands("stats.multinomial", x, p, n, broadcast=False, inexact=True))
    fits = (fnp.sum(x, -1) == n) & fnp.all((x >= 0) & (fnp.floor(x) == x), -1)
    safe = fnp.where((x >= 0) & (fnp.floor(x) == x), x, 0)
    y = special.gammaln(n + 1) + fnp.sum(special.xlogy(safe, p) - special.gammaln(safe + 1), -1)
    return fnp.where(fits, y, -np.inf)


def pmf(x: Any, n: Any, p: Any) -> Any:
    """The probability of the counts `x`; see `logpmf`."""
    return fnp.exp(logpmf(x, n, p))
