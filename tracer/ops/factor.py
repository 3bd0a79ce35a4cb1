"""Direct factorizations: cholesky, lu (and lu_solve, which uses one), qr.

Derivatives: I. Murray, "Differentiation of the Cholesky decomposition" (2016); M. Giles, "An extended collection of matrix derivative
results" (2008); S. Walter and L. Lehmann, "Algorithmic differentiation of linear algebra functions" (2010) for QR, and D. A. O. Roberts
and L. R. Roberts, "QR and LQ decomposition matrix backpropagation algorithms" (2020) for wide matrices.

A matrix that has no factorization (not positive definite) gives NaN; a singular one gives what the division by zero gives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from .. import dtypes
from ..errors import DTypeError, ShapeError
from ..ir import Type, type_of
from ..primitive import Named, Primitive, Undefined, Zero
from ..trace import bind
from .complex import complex as join
from .complex import conj_of, imag
from .elementwise import add, add_tangents, ge, logical_and, mul, neg, scalar_like, select, sub
from .index import take_along
from .matrices import (
    adjoint,
    as_columns,
    attempt,
    batched,
    below,
    beside,
    check_field,
    check_matrix,
    check_square,
    check_stack,
    columns,
    hermitian,
    lower,
    on_diagonal,
    product,
    rows,
    stacked,
    transposed,
    types_of,
    upper,
    where,
    with_diagonal,
)
from .rules import Dims, shape_of, to_front, zeros
from .shape import iota
from .triangular import fold_lanes, substitute, triangular_solve

# --- cholesky -------------------------------------------------------------------------------------


def _cholesky_abstract(a: Type) -> Type:
    check_field("cholesky", a)
    check_square("cholesky", a)
    return a


def _cholesky_reference(a: np.ndarray) -> np.ndarray:
    read = np.tril(a)
    (out,) = attempt(lambda x: (np.linalg.cholesky(x),), types_of(cholesky_p, a), read, finite=True)
    return np.tril(out)


def _half(x: Any) -> Any:
    """Murray's Φ: the lower triangle, with half the diagonal."""
    half = mul(x, scalar_like(0.5, x))
    return where(below(x), select(on_diagonal(x), half, x))


def _cholesky_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    # L̇ = L Φ(L⁻¹ Ȧ L⁻ᴴ), of the Hermitian matrix that the lower triangle of the tangent stands for.
    factor = cholesky(primals[0])
    inner = triangular_solve(factor, hermitian(tangents[0]))
    inner = triangular_solve(factor, inner, left_side=False, transpose_a=True, conjugate_a=True)
    return factor, product(factor, _half(inner))


cholesky_p = Primitive(
    "cholesky",
    abstract=_cholesky_abstract,
    reference=_cholesky_reference,
    jvp=_cholesky_jvp,
    batch=batched("cholesky"),
    lowering=Named("lapack"),
)


def cholesky(a: Any) -> Any:
    """The lower triangular L with L Lᴴ = a and a positive diagonal, for Hermitian positive definite matrices (..., n, n).

    Only the lower triangle of `a` is read. Where `a` is not positive definite, or not finite, the lower triangle of L is NaN.
    """
    return bind(cholesky_p, a)


# --- lu -------------------------------------------------------------------------------------------


def _lu_abstract(a: Type) -> tuple[Type, Type, Type]:
    check_field("lu", a)
    m, n = check_matrix("lu", a)
    lead = a.shape[:-2]
    return a, Type((*lead, min(m, n)), dtypes.int32), Type((*lead, m), dtypes.int32)


_PANEL = 16
"""The width up to which the definition eliminates column by column; above it splits the columns, and most of the work is a product."""


def _eliminate(a: np.ndarray, order: np.ndarray, pivots: np.ndarray) -> None:
    """Turns matrices (lane, m, n), m ≥ n, into L and U in place; `order` (lane, m) and `pivots` (lane, n) record the exchanges."""
    lanes, n = np.arange(len(a)), a.shape[2]
    if n > _PANEL:
        h = n // 2
        _eliminate(a[:, :, :h], order, pivots[:, :h])
        _exchange(a[:, :, h:], pivots[:, :h])
        a[:, :h, h:] = substitute(a[:, :h, :h], a[:, :h, h:], lower=True, unit=True)
        a[:, h:, h:] -= a[:, h:, :h] @ a[:, :h, h:]
        _eliminate(a[:, h:, h:], order[:, h:], pivots[:, h:])
        _exchange(a[:, h:, :h], pivots[:, h:])
        pivots[:, h:] += h
        return
    for j in range(n):
        column = a[:, j:, j]
        # What LAPACK takes for the size of a complex number: |re| + |im|.
        found = j + np.argmax(np.abs(column.real) + np.abs(column.imag), axis=1)
        pivots[:, j] = found
        for x in (a, order):
            x[lanes, found], x[:, j] = x[:, j].copy(), x[lanes, found].copy()
        pivot = a[:, j, j, None]
        a[:, j + 1 :, j] /= np.where(pivot == 0, 1, pivot)
        a[:, j + 1 :, j + 1 :] -= a[:, j + 1 :, j, None] * a[:, j, None, j + 1 :]


def _exchange(a: np.ndarray, pivots: np.ndarray) -> None:
    """Exchanges row j of each matrix with row `pivots[j]`, for one j after the other."""
    lanes = np.arange(len(a))
    for j in range(pivots.shape[1]):
        a[lanes, pivots[:, j]], a[:, j] = a[:, j].copy(), a[lanes, pivots[:, j]].copy()


@np.errstate(all="ignore")
def _lu_reference(a: np.ndarray) -> tuple[np.ndarray, ...]:
    types = types_of(lu_p, a)
    m, n = a.shape[-2:]
    k, count = min(m, n), math.prod(a.shape[:-2])
    out = a.reshape(count, m, n).copy()
    order = np.tile(np.arange(m, dtype=np.int32), (count, 1))
    pivots = np.zeros((count, k), np.int32)
    _eliminate(out[:, :, :k], order, pivots)
    if n > k:
        _exchange(out[:, :, k:], pivots)
        out[:, :, k:] = substitute(out[:, :, :k], out[:, :, k:], lower=True, unit=True)
    return tuple(x.reshape(t.shape) for x, t in zip((out, pivots, order), types, strict=True))


def permuted(x: Any, permutation: Any) -> Any:
    """The rows of each matrix in the order of `permutation` (..., m)."""
    return take_along(x, as_columns(permutation, shape_of(x)[-1]), len(shape_of(x)) - 2)


def _square_parts(lu: Any) -> tuple[Any, Any]:
    """L (m, m) and U (n, n) of a factorization (m, n), filled up with the identity."""
    *lead, m, n = shape_of(lu)
    t = type_of(lu)
    k = min(m, n)
    left, right = lower(columns(lu, 0, k), -1), upper(rows(lu, 0, k))
    if m > k:
        left = beside(left, zeros(t.with_shape((*lead, m, m - k))))
    if n > k:
        right = stacked(right, zeros(t.with_shape((*lead, n - k, n))))
        right = select(_diagonal_from(right, k), scalar_like(1, right), right)
    return with_diagonal(left, 1), right


def _diagonal_from(x: Any, k: int) -> Any:
    """Whether an element is on the main diagonal, from row `k` on."""
    n = len(shape_of(x))
    return logical_and(on_diagonal(x), ge(iota(shape_of(x), dtypes.int32, n - 2), np.int32(k)))


def _lu_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    # With P A = L U: F = L⁻¹ P Ȧ U⁻¹, and L⁻¹ L̇ is its strict lower part, U̇ U⁻¹ its upper part.
    out, pivots, permutation = lu(primals[0])
    left, right = _square_parts(out)
    f = triangular_solve(left, permuted(tangents[0], permutation), unit_diagonal=True)
    f = triangular_solve(right, f, left_side=False, lower=False)
    out_dot = add(product(left, lower(f, -1)), product(upper(f), right))
    return [out, pivots, permutation], [out_dot, Zero(type_of(pivots)), Zero(type_of(permutation))]


lu_p = Primitive(
    "lu",
    abstract=_lu_abstract,
    reference=_lu_reference,
    jvp=_lu_jvp,
    batch=batched("lu"),
    lowering=Named("lapack"),
    multiple=True,
    eager="compiled",
)


def lu(a: Any) -> list[Any]:
    """[lu, pivots, permutation] of matrices (..., m, n), with partial pivoting: `a[permutation]` = L U.

    L (unit lower triangular) is below the diagonal of `lu`, U on it and above. In step i row i was exchanged with row `pivots[i]`.
    Pivots and permutation are int32. A column without a pivot is left as it is.
    """
    outs: list[Any] = bind(lu_p, a)
    return outs


# --- lu_solve -------------------------------------------------------------------------------------


def _lu_solve_abstract(a: Type, factors: Type, permutation: Type, b: Type, *, transpose_a: bool, conjugate_a: bool) -> Type:
    check_field("lu_solve", a, factors, b)
    n = check_square("lu_solve", a)
    check_stack("lu_solve", a, b)
    if factors.shape != a.shape or permutation.shape != a.shape[:-1]:
        raise ShapeError(
            f"lu_solve: a has shape {a.shape}, the factors {factors.shape} and the permutation {permutation.shape}: "
            f"expected {a.shape} and {a.shape[:-1]}."
        )
    if permutation.dtype != dtypes.int32:
        raise DTypeError(f"lu_solve: the permutation has dtype {permutation.dtype.name}, expected int32.")
    if b.shape[-2] != n:
        raise ShapeError(f"lu_solve: a has shape {a.shape}, b {b.shape}: expected {n} rows in b.")
    return Type(b.shape, b.dtype, a.weak and b.weak)


@np.errstate(all="ignore")
def _lu_solve_reference(
    a: np.ndarray, factors: np.ndarray, permutation: np.ndarray, b: np.ndarray, *, transpose_a: bool, conjugate_a: bool
) -> np.ndarray:
    order = permutation[..., None].astype(np.int64)
    if not transpose_a:
        y = substitute(factors, np.take_along_axis(b, order, -2), lower=True, unit=True)
        return substitute(factors, y, lower=False, unit=False)
    turned = np.swapaxes(factors.conj() if conjugate_a else factors, -1, -2)
    y = substitute(turned, b, lower=True, unit=False)
    y = substitute(turned, y, lower=False, unit=True)
    return np.take_along_axis(y, np.argsort(order, -2), -2)


def _lu_solve_jvp(primals: Sequence[Any], tangents: Sequence[Any], **how: Any) -> tuple[Any, Any]:
    # The factors are functions of `a`, whose tangent says all.
    a, *factors, b = primals
    x = bind(lu_solve_p, a, *factors, b, **how)
    right: Any = tangents[3]
    a_dot = tangents[0]
    if not isinstance(a_dot, Zero):
        a_dot = transposed(a_dot) if how["transpose_a"] else a_dot
        a_dot = conj_of(a_dot) if how["conjugate_a"] else a_dot
        right = add_tangents(right, neg(product(a_dot, x)))
    return x, right if isinstance(right, Zero) else bind(lu_solve_p, a, *factors, right, **how)


def _lu_solve_transpose(ct: Any, a: Any, factors: Any, permutation: Any, b: Any, **how: Any) -> tuple[None, None, None, Any]:
    assert isinstance(b, Undefined)
    return None, None, None, lu_solve(a, factors, permutation, ct, **(how | {"transpose_a": not how["transpose_a"]}))


def _lu_solve_batch(size: int, xs: Sequence[Any], dims: Dims, **how: Any) -> tuple[Any, int]:
    if any(d is not None for d in dims[:3]) or dims[3] is None:
        return bind(lu_solve_p, *(to_front(size, x, d) for x, d in zip(xs, dims, strict=True)), **how), 0
    folded, unfold = fold_lanes(size, to_front(size, xs[3], dims[3]), True)
    return unfold(bind(lu_solve_p, *xs[:3], folded, **how)), 0


lu_solve_p = Primitive(
    "lu_solve",
    abstract=_lu_solve_abstract,
    reference=_lu_solve_reference,
    jvp=_lu_solve_jvp,
    transpose=_lu_solve_transpose,
    batch=_lu_solve_batch,
    lowering=Named("lapack"),
    eager="compiled",
)


def lu_solve(a: Any, factors: Any, permutation: Any, b: Any, *, transpose_a: bool = False, conjugate_a: bool = False) -> Any:
    """The solution x of op(a) x = b, (..., n, k), from the factorization of `a` that `lu` gave.

    The derivative follows from the tangents of `a` and `b`, with the same factorization; those of the factors are not read. So give
    the factors of `stop_gradient(a)`: neither the derivative nor its transpose factorizes again.
    """
    conjugate_a = conjugate_a and dtypes.is_complex(type_of(a).dtype)
    if conjugate_a and not transpose_a:
        x = bind(lu_solve_p, a, factors, permutation, conj_of(b), transpose_a=False, conjugate_a=False)
        return conj_of(x)
    return bind(lu_solve_p, a, factors, permutation, b, transpose_a=transpose_a, conjugate_a=conjugate_a)


# --- qr -------------------------------------------------------------------------------------------


def _qr_abstract(a: Type, *, full_matrices: bool) -> tuple[Type, Type]:
    check_field("qr", a)
    m, n = check_matrix("qr", a)
    k = m if full_matrices else min(m, n)
    return a.with_shape((*a.shape[:-2], m, k)), a.with_shape((*a.shape[:-2], k, n))


def _qr_reference(a: np.ndarray, *, full_matrices: bool) -> tuple[np.ndarray, ...]:
    mode: Literal["complete", "reduced"] = "complete" if full_matrices else "reduced"
    return attempt(lambda x: tuple(np.linalg.qr(x, mode)), types_of(qr_p, a, full_matrices=full_matrices), a)


def _turn(y: Any) -> Any:
    """The skew-Hermitian Ω for which y - Ω is upper triangular with a real diagonal."""
    strict = lower(y, -1)
    turn = sub(strict, adjoint(strict))
    if dtypes.is_complex(type_of(y).dtype):
        part = imag(y)
        turn = add(turn, where(on_diagonal(y), join(scalar_like(0, part), part)))
    return turn


def _qr_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, full_matrices: bool) -> tuple[list[Any], list[Any]]:
    # The square part first: A₁ = Q₁ R₁, X = Ȧ₁ R₁⁻¹, Q₁ᴴX = Ω + (upper triangular); then Q̇₁ = Q₁Ω + (1 - Q₁Q₁ᴴ)X.
    (a,), (a_dot,) = primals, tangents
    q, r = qr(a, full_matrices)
    m, n = shape_of(a)[-2:]
    k = min(m, n)
    q1, r1 = columns(q, 0, k), columns(rows(r, 0, k), 0, k)
    x = triangular_solve(r1, columns(a_dot, 0, k), left_side=False, lower=False)
    y = product(adjoint(q1), x)
    turn = _turn(y)
    if m <= n:
        q_dot = product(q1, turn)
        r_dot = upper(sub(product(adjoint(q1), a_dot), product(turn, r)))
        return [q, r], [q_dot, r_dot]
    upper_part = sub(y, turn)
    q_dot, r_dot = sub(x, product(q1, upper_part)), upper(product(upper_part, r1))
    if full_matrices:  # the complement turns as little as it can: Q₂ᴴQ̇₂ = 0
        q2 = columns(q, k, m)
        q_dot = beside(q_dot, neg(product(q1, adjoint(product(adjoint(q2), x)))))
        r_dot = stacked(r_dot, zeros(type_of(r_dot).with_shape((*shape_of(a)[:-2], m - k, n))))
    return [q, r], [q_dot, r_dot]


qr_p = Primitive(
    "qr",
    abstract=_qr_abstract,
    reference=_qr_reference,
    jvp=_qr_jvp,
    batch=batched("qr"),
    lowering=Named("lapack"),
    multiple=True,
)


def qr(a: Any, full_matrices: bool = False) -> list[Any]:
    """[q, r] of matrices (..., m, n): a = q r, qᴴq = 1, and r upper triangular with a real diagonal, by Householder reflections.

    With k = min(m, n): q is (..., m, k) and r (..., k, n), or (..., m, m) and (..., m, n) when `full_matrices`. The derivative needs
    the first k columns of `a` to be independent; that of the further columns of a full q is given in the gauge in which they turn least.
    """
    outs: list[Any] = bind(qr_p, a, full_matrices=full_matrices)
    return outs
