"""The multivariate normal distribution."""

from __future__ import annotations

from typing import Any

import numpy as np

import fdl.numpy.linalg as linalg
from fdl import numpy as fnp
from fdl.numpy.promote import asarray, promote_operands
from fdl.scipy.linalg import solve_triangular
from fdl.tracer.errors import ShapeError, at, user_source


def logpdf(x: Any, mean: Any, cov: Any) -> Any:
    """The logarithm of the density at `x` `(..., n)`, shape `(...)`; NaN unless the covariance is positive definite.

    Args:
        mean: `(..., n)`, or a scalar.
        cov: `(..., n, n)`; or a scalar, the variance of independent elements.

    Raises: ShapeError where the sizes do not fit.

    Example:
        >>> round(float(logpdf([0.0, 0.0], [0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]])), 5)
        -1.83788
    """
    x, mean, cov = (
        asarray(v) for v in promote_operands("stats.multivariate_normal", x, mean, cov, broadcast=False, inexact=True)
    )
    constant = float(np.log(2 * np.pi))
    if cov.ndim == 0:
        d = x - mean
        if d.ndim == 0:
            return -0.5 * (d * d / cov + constant + fnp.log(cov))
        return -0.5 * (fnp.sum(d * d, -1) / cov + d.shape[-1] * (constant + fnp.log(cov)))
    n = cov.shape[-1]
    if cov.ndim < 2 or cov.shape[-2] != n or (x.ndim and x.shape[-1] != n) or (mean.ndim and mean.shape[-1] != n):
        raise ShapeError(
            f"stats.multivariate_normal: x has shape {x.shape}, mean {mean.shape}, cov {cov.shape}: expected (..., n), (..., n) and "
            f"(..., n, n).{at(user_source())}"
        )
    factor = linalg.cholesky(cov)
    d = fnp.broadcast_to(x - mean, fnp.broadcast_shapes(x.shape, mean.shape, (n,)))
    lead = fnp.broadcast_shapes(d.shape[:-1], cov.shape[:-2])
    d = fnp.broadcast_to(d, (*lead, n))
    whitened = solve_triangular(fnp.broadcast_to(factor, (*lead, n, n)), d[..., None], lower=True)[..., 0]
    log_det = 2 * fnp.sum(fnp.log(fnp.diagonal(factor, 0, -2, -1)), -1)
    return -0.5 * (fnp.sum(whitened * whitened, -1) + n * constant + log_det)


def pdf(x: Any, mean: Any, cov: Any) -> Any:
    """The density at `x`; see `logpdf`."""
    return fnp.exp(logpdf(x, mean, cov))
