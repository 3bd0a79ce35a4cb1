"""The normal distribution cut to [loc + a scale, loc + b scale]."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.scipy import special

from .shared import known, standard


def logpdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density at `x`, elementwise."""
    z, log, _, a, b = standard("truncnorm", x, loc, scale, a, b)
    inside = (z >= a) & (z <= b)
    y = -0.5 * z * z - 0.5 * float(np.log(2 * np.pi)) - log - _log_mass(a, b)
    return known(fnp.where(a < b, fnp.where(inside, y, -np.inf), np.nan), z)


def pdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density at `x`, elementwise."""
    return fnp.exp(logpdf(x, a, b, loc, scale))


def logcdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `cdf`, elementwise."""
    z, _, _, a, b = standard("truncnorm", x, loc, scale, a, b)
    return _log_share(a, z, a, b)


def cdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of at most `x`, elementwise."""
    return fnp.exp(logcdf(x, a, b, loc, scale))


def logsf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `sf`, elementwise."""
    z, _, _, a, b = standard("truncnorm", x, loc, scale, a, b)
    return _log_share(z, b, a, b)


def sf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of more than `x`, elementwise."""
    return fnp.exp(logsf(x, a, b, loc, scale))


def _log_mass(low: Any, high: Any) -> Any:
    """log(ndtr(high) - ndtr(low)) for low < high, in the tail where both are small."""
    flipped = low > 0
    low, high = fnp.where(flipped, -high, low), fnp.where(flipped, -low, high)
    top, bottom = special.log_ndtr(high), special.log_ndtr(low)
    return top + fnp.log1p(-fnp.exp(bottom - top))


def _log_share(low: Any, high: Any, a: Any, b: Any) -> Any:
    """The logarithm of the share of [a, b] that [low, high] holds."""
    low, high = fnp.maximum(low, a), fnp.minimum(high, b)
    part, whole = low < high, (low <= a) & (high >= b)
    inside = part & ~whole
    y = _log_mass(fnp.where(inside, low, 0), fnp.where(inside, high, 1)) - _log_mass(a, b)
    y = fnp.where(whole, 0, fnp.where(part, y, -np.inf))
    return known(fnp.where(a < b, y, np.nan), low, high)
