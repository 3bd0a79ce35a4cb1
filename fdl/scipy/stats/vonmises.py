"""The von Mises distribution on the circle, of concentration `kappa`."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.scipy import special

from .shared import operands


def logpdf(x: Any, kappa: Any) -> Any:
    """The logarithm of the density at `x`, elementwise."""
    x, kappa = operands("vonmises", x, kappa)
    y = kappa * (fnp.cos(x) - 1) - float(np.log(2 * np.pi)) - fnp.log(special.i0e(kappa))
    return fnp.where(kappa >= 0, y, np.nan)


def pdf(x: Any, kappa: Any) -> Any:
    """The density at `x`, elementwise."""
    return fnp.exp(logpdf(x, kappa))
