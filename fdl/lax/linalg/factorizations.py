"""Factorizations of stacks of matrices, with the arguments and the order of results that JAX's `lax.linalg` has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fdl.control import fori_loop
from fdl.lax.operands import one_dtype, operand
from fdl.numpy.linalg.operands import matrices, symmetrized
from fdl.numpy.promote import asarray
from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import factor, spectral
from fdl.tracer.ops import matrices as m
from fdl.tracer.ops import reduce as r
from fdl.tracer.ops import schur as schur_ops
from fdl.tracer.ops import shape as s
from fdl.tracer.ops.complex import complex as join
from fdl.tracer.ops.triangular import triangular_solve as solve_p
from fdl.transforms import vmap


def matrix(name: str, x: Any, square: bool = False) -> Any:
    """`x` as a stack of matrices of floats or complex numbers."""
    (a,) = matrices(f"lax.linalg.{name}", operand(f"linalg.{name}", x), square=square)
    return a


def over_stack(f: Callable[..., Any], ndim: int) -> Callable[..., Any]:
    """`f` of single matrices and vectors, for arrays with `ndim` leading axes each."""
    for _ in range(ndim):
        f = vmap(f)
    return lambda *xs: f(*map(asarray, xs))


def _subset(name: str, given: tuple[int, int] | None, n: int) -> tuple[int, int]:
    first, last = (0, n) if given is None else given
    if not 0 <= first <= last <= n:
        raise ShapeError(f"lax.linalg.{name}: subset_by_index={given} of {n} values.{at(user_source())}")
    return first, last


def cholesky(x: Any, *, symmetrize_input: bool = True) -> Any:
    """The lower triangular L with L Lᴴ = x, for Hermitian positive definite matrices (..., n, n); NaN for others.

    Args:
        symmetrize_input: factorize (x + xᴴ) / 2. Otherwise only the lower triangle of `x` is read.
    """
    a = matrix("cholesky", x, square=True)
    return factor.cholesky(symmetrized(a) if symmetrize_input else a)


def eigh(
    x: Any,
    *,
    lower: bool = True,
    symmetrize_input: bool = True,
    sort_eigenvalues: bool = True,
    subset_by_index: tuple[int, int] | None = None,
    implementation: Any = None,
) -> tuple[Any, Any]:
    """(eigenvectors (..., n, n) as columns, ascending eigenvalues (..., n)) of Hermitian matrices (..., n, n): in this order.

    Args:
        lower: which triangle of `x` is read, when not `symmetrize_input`.
        symmetrize_input: decompose (x + xᴴ) / 2.
        subset_by_index: the range (first, last) of the eigenvalues to return.
        sort_eigenvalues, implementation: accepted, and of no use here.
    """
    a = matrix("eigh", x, square=True)
    if symmetrize_input:
        a = symmetrized(a)
    elif not lower:
        a = m.adjoint(a)
    w, v = spectral.eigh(a)
    first, last = _subset("eigh", subset_by_index, type_of(w).shape[-1])
    return m.columns(v, first, last), s.slice_axis(w, type_of(w).ndim - 1, first, last)


def eig(
    x: Any,
    *,
    compute_left_eigenvectors: bool = True,
    compute_right_eigenvectors: bool = True,
    enable_eigvec_derivs: bool = False,
    implementation: Any = None,
    use_magma: bool | None = None,
) -> list[Any]:
    """[eigenvalues (..., n), left and right eigenvectors (..., n, n), as far as asked for] of square matrices: all complex.

    Eigenvectors are columns of length 1, the largest element of each real: vᴴ x = λ vᴴ for left ones, x v = λ v for right ones. Left ones
    come from the inverse of the right ones: a matrix that has too few eigenvectors gives NaN or huge values. The other arguments are
    accepted, and of no use here.
    """
    a = matrix("eig", x, square=True)
    if not (compute_left_eigenvectors or compute_right_eigenvectors):
        return [spectral.eig(a, vectors=False)[0]]
    w, v = spectral.eig(a)
    out = [w]
    if compute_left_eigenvectors:
        out.append(_left(v))
    return [*out, v] if compute_right_eigenvectors else out


def _left(v: Any) -> Any:
    """The columns of v⁻ᴴ, of length 1, the largest element of each real."""
    shape = type_of(v).shape
    if 0 in shape:
        return v
    lu, _, permutation = factor.lu(v)
    identity = m.with_diagonal(e.mul(v, e.scalar_like(0, v)), 1)
    u = factor.lu_solve(v, lu, permutation, identity, transpose_a=True, conjugate_a=True)
    size = e.abs(u)
    length = e.sqrt(r.reduce_sum(e.mul(size, size), (len(shape) - 2,)))
    row = r.argmax(size, len(shape) - 2)
    at_largest = e.eq(s.iota(shape, dtypes.int32, len(shape) - 2), m.as_rows(row, shape[-2]))
    largest = r.reduce_sum(e.select(at_largest, u, e.scalar_like(0, u)), (len(shape) - 2,))
    turn = e.mul(e.sign(largest), join(length, e.scalar_like(0, length)))
    return e.div(u, m.as_rows(turn, shape[-2]))


def lu(x: Any) -> tuple[Any, Any, Any]:
    """(lu, pivots, permutation) of matrices (..., m, n), with partial pivoting: x[permutation] = L U.

    L (unit lower triangular) is below the diagonal of `lu`, U on it and above. In step i row i was exchanged with row `pivots[i]`.
    """
    out, pivots, permutation = factor.lu(matrix("lu", x))
    return out, pivots, permutation


def lu_pivots_to_permutation(pivots: Any, permutation_size: int) -> Any:
    """The permutation (..., permutation_size) of rows that exchanging row i with row `pivots[i]`, for one i after another, makes.

    Example:
        >>> import fdl.numpy as fnp
        >>> lu_pivots_to_permutation(fnp.array([2, 2, 2]), 3).tolist()
        [2, 0, 1]
    """
    p = operand("linalg.lu_pivots_to_permutation", pivots)
    t = type_of(p)
    if not dtypes.is_int(t.dtype) or t.ndim < 1 or t.shape[-1] > permutation_size:
        raise ShapeError(
            f"lax.linalg.lu_pivots_to_permutation: pivots {t} for {permutation_size} rows: expected integers (..., k), k of at most "
            f"{permutation_size}.{at(user_source())}"
        )
    place = s.iota((permutation_size,), dtypes.int32, 0)

    def one(pivots: Any) -> Any:
        def step(i: Any, rows: Any) -> Any:
            j = e.convert(pivots[i], dtypes.int32)
            here, there = rows[i], rows[j]
            rows = e.select(e.eq(place, j), here, rows)
            return e.select(e.eq(place, i), there, rows)

        return fori_loop(0, t.shape[-1], step, place)

    return over_stack(one, t.ndim - 1)(p)


def qr(
    x: Any, *, pivoting: bool = False, full_matrices: bool = True, use_magma: bool | None = None
) -> tuple[Any, Any] | tuple[Any, Any, Any]:
    """(Q, R) with x = Q R, QᴴQ = 1 and R upper triangular, for matrices (..., m, n).

    Args:
        full_matrices: Q (..., m, m) and R (..., m, n); otherwise (..., m, k) and (..., k, n) with k = min(m, n).
        pivoting: must be False: there is no factorization that exchanges columns.
        use_magma: accepted, and of no use here.
    """
    if pivoting:
        raise ShapeError(
            f"lax.linalg.qr: pivoting=True is not there. For the rank of a matrix take fdl.numpy.linalg.svd.{at(user_source())}"
        )
    q, upper = factor.qr(matrix("qr", x), full_matrices=full_matrices)
    return q, upper


def schur(x: Any, *, compute_schur_vectors: bool = True, sort_eig_vals: bool = False, select_callable: Any = None) -> list[Any]:
    """[T, Z] (or [T] alone) of square matrices (..., n, n): x = Z T Zᴴ, T upper triangular but for 2 × 2 blocks of real matrices.

    `sort_eig_vals` and `select_callable` must be left out. It has no derivative, and needs SciPy.
    """
    if sort_eig_vals or select_callable is not None:
        raise ShapeError(f"lax.linalg.schur: eigenvalues cannot be sorted.{at(user_source())}")
    t, z = schur_ops.schur(matrix("schur", x, square=True))
    return [t, z] if compute_schur_vectors else [t]


def svd(
    x: Any,
    *,
    full_matrices: bool = True,
    compute_uv: bool = True,
    subset_by_index: tuple[int, int] | None = None,
    algorithm: Any = None,
) -> Any:
    """(U, S, Vᴴ) with x = U diag(S) Vᴴ, for matrices (..., m, n), S descending; S alone without `compute_uv`.

    Args:
        full_matrices: U (..., m, m) and Vᴴ (..., n, n), instead of (..., m, k) and (..., k, n) with k = min(m, n).
        subset_by_index: the range (first, last) of the singular values to return, with their vectors.
        algorithm: accepted, and of no use here.
    """
    a = matrix("svd", x)
    k = min(type_of(a).shape[-2:])
    first, last = _subset("svd", subset_by_index, k)
    if subset_by_index is not None and full_matrices and compute_uv and (first, last) != (0, k):
        raise ShapeError(f"lax.linalg.svd: subset_by_index goes with full_matrices=False.{at(user_source())}")
    found = spectral.svd(a, full_matrices, compute_uv)
    values = found[1] if compute_uv else found[0]
    values = s.slice_axis(values, type_of(values).ndim - 1, first, last)
    if not compute_uv:
        return values
    if (first, last) == (0, k):
        return found[0], values, found[2]
    return m.columns(found[0], first, last), values, m.rows(found[2], first, last)


def symmetric_product(
    a_matrix: Any, c_matrix: Any, *, alpha: float = 1.0, beta: float = 0.0, symmetrize_output: bool = False
) -> Any:
    """alpha · a aᵀ + beta · c, for a (..., n, k) and symmetric c (..., n, n), of which only the lower triangle is read.

    The whole symmetric result is given, whatever `symmetrize_output`.
    """
    a, c = one_dtype(
        "linalg.symmetric_product", matrix("symmetric_product", a_matrix), matrix("symmetric_product", c_matrix, True)
    )
    shape = type_of(a).shape
    if type_of(c).shape != (*shape[:-1], shape[-2]):
        raise ShapeError(
            f"lax.linalg.symmetric_product: a has shape {shape}, c {type_of(c).shape}, expected {(*shape[:-1], shape[-2])}."
            f"{at(user_source())}"
        )
    product = e.mul(m.product(a, m.transposed(a)), e.scalar_like(alpha, a))
    if beta == 0:
        return product
    whole = e.add(m.lower(c), m.transposed(m.lower(c, -1)))
    return e.add(product, e.mul(whole, e.scalar_like(beta, c)))


def triangular_solve(
    a: Any,
    b: Any,
    *,
    left_side: bool = False,
    lower: bool = False,
    transpose_a: bool = False,
    conjugate_a: bool = False,
    unit_diagonal: bool = False,
) -> Any:
    """The solution x of op(a) x = b with `left_side`, else of x op(a) = b, for triangular matrices `a` (..., n, n).

    Args:
        b: (..., n, k), or (..., k, n) on the right side; or (..., n). Its leading axes are those of `a`.
        lower: which triangle of `a` is read.
        transpose_a, conjugate_a: op(a) is `a` transposed, conjugated, or both.
        unit_diagonal: the diagonal is taken to be ones, and not read.

    Example:
        >>> import fdl.numpy as fnp
        >>> triangular_solve(fnp.array([[2.0, 0.0], [1.0, 1.0]]), fnp.array([4.0, 5.0]), left_side=True, lower=True).tolist()
        [2.0, 3.0]
    """
    name = "linalg.triangular_solve"
    left, right = one_dtype(name, matrix("triangular_solve", a, True), operand(name, b, "b"))
    shape, given = type_of(left).shape, type_of(right).shape
    vector = len(given) == len(shape) - 1
    if vector:
        right = s.reshape(right, (*given, 1) if left_side else (*given[:-1], 1, given[-1]))
    fits = type_of(right).shape[:-2] == shape[:-2] and type_of(right).shape[-2 if left_side else -1 :][:1] == shape[-1:]
    if not fits:
        raise ShapeError(
            f"lax.{name}: a has shape {shape}, b {given}: they do not fit, or differ in leading axes.{at(user_source())}"
        )
    x = solve_p(
        left,
        right,
        left_side=left_side,
        lower=lower,
        transpose_a=transpose_a,
        conjugate_a=conjugate_a,
        unit_diagonal=unit_diagonal,
    )
    return s.reshape(x, given) if vector else x
