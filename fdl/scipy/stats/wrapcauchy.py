"""The Cauchy distribution wrapped around the circle [0, 2 pi], for 0 < c < 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl import numpy as fnp

from .shared import known, operands


def logpdf(x: Any, c: Any) -> Any:
    """The logarithm of the density at `x`, elementwise."""
    x, c = operands("wrapcauchy", x, c)
    inside = (x >= 0) & (x <= 2 * np.pi)
    y = fnp.log1p(-c * c) - float(np.log(2 * np.pi)) - fnp.log1p(c * c - 2 * c * fnp.cos(fnp.where(inside, x, 0)))
    return known(fnp.where((c > 0) & (c < 1), fnp.where(inside, y, -np.inf), np.nan), x)


def pdf(x: Any, c: Any) -> Any:
    """The density at `x`, elementwise."""
    return fnp.exp(logpdf(x, c))
