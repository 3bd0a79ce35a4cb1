"""What the distributions share: operands of one dtype, the standard variable, and values outside a support.

Each distribution is a module of functions, as in `jax.scipy.stats`.  All are elementwise, promote and broadcast, and have derivatives in
every operand; outside the support, where a density is 0, these are 0.  A scale that is not positive gives NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.numpy.promote import asarray
from fdl.scipy.special.operands import reals


def operands(name: str, *xs: Any) -> list[Any]:
    """The operands as real float arrays of one dtype."""
    return [asarray(x) for x in reals(f"stats.{name}", *xs)]


def standard(name: str, x: Any, loc: Any, scale: Any, *params: Any) -> tuple[Any, ...]:
    """((x - loc) / scale, log scale, scale, *params): the standard variable, in which a distribution is written down."""
    x, loc, scale, *rest = operands(name, x, loc, scale, *params)
    scale = fnp.where(scale > 0, scale, np.nan)
    return (x - loc) / scale, fnp.log(scale), scale, *rest


def counted(name: str, k: Any, loc: Any, *params: Any) -> tuple[Any, ...]:
    """(k - loc, whether it is a whole number, *params)."""
    k, loc, *rest = operands(name, k, loc, *params)
    k = k - loc
    return k, fnp.floor(k) == k, *rest


def known(y: Any, *xs: Any) -> Any:
    """`y`, NaN where one of the other operands is NaN."""
    for x in xs:
        y = fnp.where(x == x, y, np.nan)
    return y


def log_probability(p: Any, q: Any) -> Any:
    """log p for a probability `p` and its complement `q` = 1 - p, from the smaller of the two; its derivative where p is 0 is 0."""
    small, none = p < 0.5, p == 0
    low = fnp.log(fnp.where(small & ~none, p, 1))
    high = fnp.log1p(-fnp.where(small, 0, q))
    return known(fnp.where(none, -np.inf, fnp.where(small, low, high)), p)
