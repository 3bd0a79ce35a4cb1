"""The Dirichlet distribution, on the positive vectors that add up to 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.numpy.promote import asarray, promote_operands
from fdl.scipy import special
from fdl.tracer.errors import ShapeError, at, user_source


def logpdf(x: Any, alpha: Any) -> Any:
    """The logarithm of the density at `x`; -inf unless its elements are positive and add up to 1 (within rounding).

    Args:
        x: `(k,)` or `(k, ...)`: vectors stand along the first axis, as in SciPy. With k - 1 elements the last one is 1 less their sum.
        alpha: `(k,)`.

    Raises: ShapeError where the sizes do not fit.
    """
    x, alpha = (asarray(v) for v in promote_operands("stats.dirichlet", x, alpha, broadcast=False, inexact=True))
    if alpha.ndim != 1 or x.ndim == 0 or x.shape[0] not in (alpha.shape[0], alpha.shape[0] - 1):
        raise ShapeError(
            f"stats.dirichlet: x has shape {x.shape}, alpha {alpha.shape}: expected (k, ...) and (k,).{at(user_source())}"
        )
    if x.shape[0] != alpha.shape[0]:
        x = fnp.concatenate([x, 1 - fnp.sum(x, 0, keepdims=True)], 0)
    a = fnp.reshape(alpha, (-1,) + (1,) * (x.ndim - 1))
    close = fnp.abs(fnp.sum(x, 0) - 1) < 8 * float(fnp.finfo(x.dtype).eps) * max(x.shape[0], 1)
    inside = fnp.all(x >= 0, 0) & close
    safe = fnp.where(x >= 0, x, 1)
    norm = special.gammaln(fnp.sum(alpha)) - fnp.sum(special.gammaln(alpha))
    y = norm + fnp.sum(special.xlogy(a - 1, safe), 0)
    return fnp.where(fnp.all(alpha > 0), fnp.where(inside, y, -np.inf), np.nan)


def pdf(x: Any, alpha: Any) -> Any:
    """The density at `x`; see `logpdf`."""
    return fnp.exp(logpdf(x, alpha))
