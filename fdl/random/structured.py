"""Vectors and matrices: the multivariate normal distribution, orthogonal matrices."""

from __future__ import annotations

from typing import Any

import fdl.numpy.linalg as linalg
from fdl.numpy import add, diagonal, expand_dims, multiply, sign, sqrt
from fdl.numpy.contractions import einsum
from fdl.numpy.creation import as_shape
from fdl.numpy.promote import broadcast_shapes, promote_operands
from fdl.numpy.shapes import matrix_transpose
from fdl.scipy.special.operands import whole_number
from fdl.tracer import dtypes
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of

from .continuous import normal
from .uniforms import float_dtype


def multivariate_normal(key: Any, mean: Any, cov: Any, shape: Any = None, dtype: Any = None, method: str = "cholesky") -> Any:
    """Vectors of the normal distribution with the given mean and covariance: `(*shape, n)` for `mean` `(..., n)`, `cov` `(..., n, n)`.

    Args:
        shape: the leading axes, to which those of the parameters broadcast; they by default.
        method: the factor of the covariance: "cholesky" (quickest; NaN unless positive definite), "eigh" or "svd" (semidefinite too).

    Raises: ShapeError where the parameters do not fit; ValueError for another method.
    """
    mean, cov = promote_operands("random.multivariate_normal", mean, cov, broadcast=False, inexact=True)
    if dtypes.is_complex(type_of(mean).dtype):
        raise DTypeError(f"random.multivariate_normal: takes real numbers, got {type_of(mean)}.{at(user_source())}")
    if method not in ("cholesky", "eigh", "svd"):
        raise ValueError(
            f"random.multivariate_normal: method={method!r} is not known. Expected 'cholesky', 'eigh' or 'svd'.{at(user_source())}"
        )
    wanted = type_of(mean).dtype if dtype is None else float_dtype(dtype, "multivariate_normal")
    given, matrix = type_of(mean).shape, type_of(cov).shape
    if not given or len(matrix) < 2 or matrix[-2:] != (given[-1],) * 2:
        raise ShapeError(
            f"random.multivariate_normal: mean has shape {given}, cov {matrix}: expected (..., n) and (..., n, n).{at(user_source())}"
        )
    common = broadcast_shapes("random.multivariate_normal", given[:-1], matrix[:-2])
    shape = common if shape is None else as_shape("random.multivariate_normal", shape)
    if broadcast_shapes("random.multivariate_normal", shape, common) != shape:
        raise ShapeError(
            f"random.multivariate_normal: the parameters' leading axes {common} do not broadcast to shape={shape}.{at(user_source())}"
        )
    if method == "cholesky":
        factor = linalg.cholesky(cov)
    elif method == "eigh":
        w, v = linalg.eigh(cov)
        factor = multiply(v, expand_dims(sqrt(w), -2))
    else:
        u, w, _ = linalg.svd(cov)
        factor = multiply(u, expand_dims(sqrt(w), -2))
    z = normal(key, (*shape, given[-1]), wanted)
    return add(mean, einsum("...ij,...j->...i", factor, z))


def orthogonal(key: Any, n: int, shape: Any = (), dtype: Any = None, m: int | None = None) -> Any:
    """Matrices with orthonormal rows or columns, uniform by Haar's measure: `(*shape, n, m)`, with `m` = `n` by default.

    Of a complex dtype, they are unitary.

    Source: F. Mezzadri, "How to generate random matrices from the classical compact groups" (Notices of the AMS 54, 2007): the QR
    factor of a normal matrix, with the signs of R's diagonal.
    """
    unitary = dtype is not None and dtypes.is_complex(dtypes.of(dtype))
    wanted = dtypes.of(dtype) if unitary else float_dtype(dtype, "orthogonal")
    shape = as_shape("random.orthogonal", shape)
    m = whole_number("random.orthogonal: m", n if m is None else m)
    n = whole_number("random.orthogonal: n", n)
    z = normal(key, (*shape, max(n, m), min(n, m)), wanted)
    q, r = linalg.qr(z)
    x = multiply(q, expand_dims(sign(diagonal(r, 0, -2, -1)), -2))
    return matrix_transpose(x) if n < m else x


__all__ = ["multivariate_normal", "orthogonal"]
