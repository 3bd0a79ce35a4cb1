"""The chi-square distribution with `df` degrees of freedom."""

from __future__ import annotations

from typing import Any

from . import gamma
from .shared import operands


def logpdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density at `x`, elementwise."""
    x, df, loc, scale = operands("chi2", x, df, loc, scale)
    return gamma.logpdf(x, 0.5 * df, loc, 2 * scale)


def pdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density at `x`, elementwise."""
    x, df, loc, scale = operands("chi2", x, df, loc, scale)
    return gamma.pdf(x, 0.5 * df, loc, 2 * scale)


def cdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of at most `x`, elementwise."""
    x, df, loc, scale = operands("chi2", x, df, loc, scale)
    return gamma.cdf(x, 0.5 * df, loc, 2 * scale)


def logcdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `cdf`, elementwise."""
    x, df, loc, scale = operands("chi2", x, df, loc, scale)
    return gamma.logcdf(x, 0.5 * df, loc, 2 * scale)


def sf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of more than `x`, elementwise."""
    x, df, loc, scale = operands("chi2", x, df, loc, scale)
    return gamma.sf(x, 0.5 * df, loc, 2 * scale)


def logsf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `sf`, elementwise."""
    x, df, loc, scale = operands("chi2", x, df, loc, scale)
    return gamma.logsf(x, 0.5 * df, loc, 2 * scale)
