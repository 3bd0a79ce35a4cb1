"""Matrices with a name: of given elements (toeplitz, block_diag, ...), and of a size alone (hilbert, pascal, ...)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fdl.numpy.promote import asarray, promote_operands
from fdl.tracer import dtypes
from fdl.tracer.array import Array
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops.complex import conj_of
from fdl.tracer.ops.index import gather
from fdl.tracer.ops.rules import shape_of
from fdl.tracer.ops.shape import broadcast, concatenate, flip, pad, reshape, slice_axis

# --- of given elements ----------------------------------------------------------------------------


def _vectors(name: str, *xs: Any, inexact: bool = False) -> list[Any]:
    out = [asarray(x) for x in promote_operands(name, *xs, broadcast=False, inexact=inexact)]
    for x in out:
        if type_of(x).ndim != 1:
            raise ShapeError(f"{name}: an operand of shape {type_of(x).shape}, expected a vector.{at(user_source())}")
    return out


def _picked(x: Any, places: np.ndarray) -> Any:
    """The elements of a vector at constant places."""
    return gather(x, places.astype(np.int32)[..., None], axes=(0,), mode="clip")


def block_diag(*arrs: Any) -> Any:
    """The matrix with the given ones along its diagonal, and zeros elsewhere; scalars and vectors count as one row.

    Example:
        >>> block_diag([[1, 2]], [[3]]).tolist()
        [[1, 2, 0], [0, 0, 3]]
    """
    blocks = [asarray(x) for x in promote_operands("block_diag", *(arrs or (np.zeros((1, 0), np.float32),)), broadcast=False)]
    if any(type_of(x).ndim > 2 for x in blocks):
        raise ShapeError(
            f"block_diag: operands of shapes {[type_of(x).shape for x in blocks]}: expected matrices.{at(user_source())}"
        )
    blocks = [reshape(x, ((1, 1), (1, *shape_of(x)))[type_of(x).ndim]) if type_of(x).ndim < 2 else x for x in blocks]
    total = sum(shape_of(x)[1] for x in blocks)
    rows, before = [], 0
    for x in blocks:
        n = shape_of(x)[1]
        rows.append(pad(x, e.scalar_like(0, x), ((0, 0, 0), (before, total - before - n, 0))))
        before += n
    return concatenate(rows, 0)


def toeplitz(c: Any, r: Any = None) -> Any:
    """The matrix (m, n) with first column `c` (m,) and first row `r` (n,), constant along its diagonals; `r` is conj(c) by default.

    r[0] is not read.
    """
    first, row = _vectors("toeplitz", c, c if r is None else r)
    row = conj_of(row) if r is None else row
    m, n = shape_of(first)[0], shape_of(row)[0]
    line = concatenate([flip(first, (0,)), slice_axis(row, 0, min(1, n), n)], 0)
    return _picked(line, m - 1 - np.arange(m)[:, None] + np.arange(n)[None, :])


def hankel(c: Any, r: Any = None) -> Any:
    """The matrix (m, n) with first column `c` (m,) and last row `r` (n,), constant along its antidiagonals; `r` is 0 by default.

    r[0] is not read.
    """
    first, row = _vectors("hankel", c, c if r is None else r)
    row = e.mul(row, e.scalar_like(0, row)) if r is None else row
    m, n = shape_of(first)[0], shape_of(row)[0]
    line = concatenate([first, slice_axis(row, 0, min(1, n), n)], 0)
    return _picked(line, np.arange(m)[:, None] + np.arange(n)[None, :])


def circulant(c: Any) -> Any:
    """The matrix (n, n) with first column `c`, each further column rolled down by one."""
    (x,) = _vectors("circulant", c)
    n = shape_of(x)[0]
    return _picked(x, (np.arange(n)[:, None] - np.arange(n)[None, :]) % max(n, 1))


def convolution_matrix(a: Any, n: int, mode: str = "full") -> Any:
    """The matrix whose product with a vector of length `n` is `convolve(a, vector, mode)`."""
    (x,) = _vectors("convolution_matrix", a)
    m = shape_of(x)[0]
    if n < 1 or m < 1 or mode not in ("full", "valid", "same"):
        raise ShapeError(
            f"convolution_matrix: a vector of {m} elements, n = {n}, mode {mode!r}: expected non-empty vectors, and 'full', 'valid' or "
            f"'same'.{at(user_source())}"
        )
    padded = pad(x, e.scalar_like(0, x), ((n - 1, n - 1, 0),))
    full = _picked(padded, n - 1 + np.arange(m + n - 1)[:, None] - np.arange(n)[None, :])
    if mode == "full":
        return full
    cut, size = (min(m, n) - 1, max(m, n) - min(m, n) + 1) if mode == "valid" else ((min(m, n) - 1) // 2, max(m, n))
    return slice_axis(full, 0, cut, cut + size)


def companion(a: Any) -> Any:
    """The matrix (n - 1, n - 1) whose characteristic polynomial has the coefficients `a` (n,), the highest first; n is at least 2."""
    (x,) = _vectors("companion", a, inexact=True)
    n = shape_of(x)[0]
    if n < 2:
        raise ShapeError(f"companion: {n} coefficients, expected at least 2.{at(user_source())}")
    lead = broadcast(reshape(slice_axis(x, 0, 0, 1), ()), (n - 1,), ())
    first = reshape(e.neg(e.div(slice_axis(x, 0, 1, n), lead)), (1, n - 1))
    below = np.eye(n - 2, n - 1, dtype=type_of(x).dtype)
    return concatenate([first, below], 0)


def leslie(f: Any, s: Any) -> Any:
    """The matrix (n, n) with first row `f` (n,) and subdiagonal `s` (n - 1,)."""
    x, y = _vectors("leslie", f, s)
    n = shape_of(x)[0]
    if shape_of(y)[0] != n - 1 or n < 2:
        raise ShapeError(
            f"leslie: f has {n} elements, s {shape_of(y)[0]}: expected at least 2, and one less.{at(user_source())}"
        )
    rows, columns = np.indices((n - 1, n))
    below = _picked(y, np.minimum(columns, n - 2))
    below = e.select(Array(rows == columns), below, e.scalar_like(0, below))
    return concatenate([reshape(x, (1, n)), below], 0)


def fiedler(a: Any) -> Any:
    """The matrix of absolute differences |a_i - a_j| of a vector's elements."""
    (x,) = _vectors("fiedler", a)
    n = shape_of(x)[0]
    return e.abs(e.sub(broadcast(x, (n, n), (0,)), broadcast(x, (n, n), (1,))))


# --- of a size alone ------------------------------------------------------------------------------


def _constant(x: np.ndarray) -> Any:
    wanted = {"f": dtypes.DEFAULT_FLOAT, "c": dtypes.DEFAULT_COMPLEX, "i": dtypes.DEFAULT_INT}[x.dtype.kind]
    return Array(np.ascontiguousarray(x.astype(wanted)))


def _binomials(n: int, element: Callable[[int, int], float]) -> Any:
    return _constant(np.array([[float(element(i, j)) for j in range(n)] for i in range(n)]).reshape(n, n))


def hilbert(n: int) -> Any:
    """The Hilbert matrix 1 / (i + j + 1), float32."""
    i = np.arange(n)
    return _constant(1.0 / (i[:, None] + i[None, :] + 1.0))


def invhilbert(n: int) -> Any:
    """The inverse of the Hilbert matrix, float32: its elements are whole numbers."""
    c = math.comb
    return _binomials(
        n, lambda i, j: (-1) ** (i + j) * (i + j + 1) * c(n + i, n - j - 1) * c(n + j, n - i - 1) * c(i + j, i) ** 2
    )


_PASCAL = {
    "symmetric": lambda i, j: math.comb(i + j, i),
    "lower": math.comb,
    "upper": lambda i, j: math.comb(j, i),
}


def pascal(n: int, kind: str | None = None) -> Any:
    """Pascal's matrix of binomial coefficients, float32: `kind` "symmetric" (the default), "lower" or "upper"."""
    kind = "symmetric" if kind is None else kind
    if kind not in _PASCAL:
        raise ShapeError(f"pascal: kind {kind!r}, expected 'symmetric', 'lower' or 'upper'.{at(user_source())}")
    return _binomials(n, _PASCAL[kind])


def invpascal(n: int, kind: str | None = None) -> Any:
    """The inverse of `pascal(n, kind)`, float32: its elements are whole numbers."""
    kind = "symmetric" if kind is None else kind
    if kind not in _PASCAL:
        raise ShapeError(f"invpascal: kind {kind!r}, expected 'symmetric', 'lower' or 'upper'.{at(user_source())}")
    if kind == "symmetric":
        return _binomials(n, lambda i, j: (-1) ** (i + j) * sum(math.comb(k, i) * math.comb(k, j) for k in range(n)))
    return _binomials(n, lambda i, j: (-1) ** (i + j) * _PASCAL[kind](i, j))


def dft(n: int, scale: str | None = None, dtype: Any = None) -> Any:
    """The matrix of the Fourier transform, by default complex64; `scale` None, "sqrtn" (divided by √n) or "n" (divided by n)."""
    if scale not in (None, "sqrtn", "n"):
        raise ShapeError(f"dft: scale {scale!r}, expected None, 'sqrtn' or 'n'.{at(user_source())}")
    k = np.arange(n)
    # The exponent is reduced as a whole number: large ones would lose digits.
    x = np.exp(-2j * np.pi * ((k[:, None] * k[None, :]) % max(n, 1)) / max(n, 1))
    x = x / {None: 1.0, "sqrtn": math.sqrt(max(n, 1)), "n": max(n, 1)}[scale]
    return _constant(x) if dtype is None else Array(np.ascontiguousarray(x.astype(dtypes.of(dtype))))


def hadamard(n: int, dtype: Any = None) -> Any:
    """Sylvester's Hadamard matrix of ±1, int32 by default; `n` is a power of two."""
    if n < 1 or n & (n - 1):
        raise ShapeError(f"hadamard: n = {n}, expected a power of two.{at(user_source())}")
    x = np.ones((1, 1), np.int64)
    while len(x) < n:
        x = np.block([[x, x], [x, -x]])
    return Array(x.astype(dtypes.DEFAULT_INT if dtype is None else dtypes.of(dtype)))


def helmert(n: int, full: bool = False) -> Any:
    """Helmert's matrix (n - 1, n) of orthonormal contrasts, float32; with a first row of 1 / √n when `full`."""
    x = np.tril(np.ones((n, n)), -1) - np.diag(np.arange(n))
    x[0] = 1.0
    scale = np.arange(n) * np.arange(1, n + 1)
    scale[0] = n
    x = x / np.sqrt(scale)[:, None]
    return _constant(x if full else x[1:])
