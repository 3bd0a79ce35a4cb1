"""The uniform distribution on [loc, loc + scale]."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl import numpy as fnp

from .shared import known, operands, standard


def logpdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density at `x`, elementwise."""
    z, log, _ = standard("uniform", x, loc, scale)
    return known(fnp.where((z >= 0) & (z <= 1), -log, -np.inf), z)


def pdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density at `x`, elementwise."""
    return fnp.exp(logpdf(x, loc, scale))


def cdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of at most `x`, elementwise."""
    z = standard("uniform", x, loc, scale)[0]
    return known(fnp.clip(z, 0, 1), z)


def ppf(q: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The inverse of `cdf`, elementwise: NaN outside [0, 1]."""
    q, loc, scale = operands("uniform", q, loc, scale)
    inside = (q >= 0) & (q <= 1) & (scale > 0)
    return fnp.where(inside, loc + q * scale, np.nan)
