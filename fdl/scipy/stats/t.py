"""Student's t distribution with `df` degrees of freedom."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.scipy import special

from .shared import known, standard


def logpdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density at `x`, elementwise."""
    z, log, _, df = standard("t", x, loc, scale, df)
    half = 0.5 * df
    norm = -special.betaln(half, 0.5) - 0.5 * fnp.log(df)
    return fnp.where(df > 0, norm - log - (half + 0.5) * fnp.log1p(z * z / df), np.nan)


def pdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density at `x`, elementwise."""
    return fnp.exp(logpdf(x, df, loc, scale))


def cdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of at most `x`, elementwise."""
    z, _, _, df = standard("t", x, loc, scale, df)
    return _above(-z, df)


def sf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of more than `x`, elementwise."""
    z, _, _, df = standard("t", x, loc, scale, df)
    return _above(z, df)


def _above(z: Any, df: Any) -> Any:
    """The probability of more than `z` (DLMF 8.17.5 ff.): a tail by the incomplete beta function of df / (df + z**2)."""
    square = fnp.where(z == 0, 0, z * z)
    near = square < df
    share = square / (df + square)
    # I_x(a, b) = 1 - I_{1-x}(b, a): with the smaller of the two arguments nothing is lost.
    middle = 0.5 * (1 - special.betainc(0.5, 0.5 * df, fnp.where(near, share, 0.5)))
    tail = 0.5 * special.betainc(0.5 * df, 0.5, fnp.where(near, 0.5, df / (df + square)))
    y = fnp.where(near, middle, tail)
    return known(fnp.where(z < 0, 1 - y, y), z)
