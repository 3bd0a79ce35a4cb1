"""Factorizations, and systems solved with them: cholesky, lu, triangular."""

from __future__ import annotations

from typing import Any

import numpy as np

import fdl.numpy.linalg as linalg
from fdl.control import fori_loop
from fdl.numpy.linalg.operands import in_stack, matrices
from fdl.numpy.promote import asarray, broadcast_shapes, promote_operands
from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import factor
from fdl.tracer.ops import matrices as m
from fdl.tracer.ops.reduce import reduce_sum
from fdl.tracer.ops.rules import shape_of
from fdl.tracer.ops.shape import broadcast, iota, reshape
from fdl.tracer.ops.triangular import triangular_solve
from fdl.transforms import vmap

_TRANS = {0: "N", 1: "T", 2: "C", "N": "N", "T": "T", "C": "C"}


def det(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The determinants of square matrices: `fdl.numpy.linalg.det`."""
    return linalg.det(a)


def inv(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The inverses of square matrices: `fdl.numpy.linalg.inv`."""
    return linalg.inv(a)


# --- right-hand sides -----------------------------------------------------------------------------


def _system(name: str, a: Any, b: Any) -> tuple[Any, Any, bool]:
    """`a` and `b` as stacks of one shape, and whether `b` was a vector."""
    x, y = (asarray(v) for v in promote_operands(name, a, b, broadcast=False, inexact=True))
    vector = type_of(y).ndim == 1
    y = reshape(y, (*shape_of(y), 1)) if vector else y
    matrices(name, x, square=True)
    matrices(name, y)
    n = shape_of(x)[-1]
    if shape_of(y)[-2] != n:
        raise ShapeError(
            f"{name}: the matrix has shape {shape_of(x)}, the right-hand side {shape_of(asarray(b))}: expected {n} rows.{at(user_source())}"
        )
    lead = broadcast_shapes(name, shape_of(x)[:-2], shape_of(y)[:-2])
    return in_stack(x, lead), in_stack(y, lead), vector


def _answer(x: Any, vector: bool) -> Any:
    return reshape(x, shape_of(x)[:-1]) if vector else x


def _mode(name: str, trans: Any) -> dict[str, bool]:
    if trans not in _TRANS:
        raise ShapeError(f"{name}: trans {trans!r}, expected 0 or 'N', 1 or 'T', 2 or 'C'.{at(user_source())}")
    mode = _TRANS[trans]
    return {"transpose_a": mode != "N", "conjugate_a": mode == "C"}


# --- cholesky -------------------------------------------------------------------------------------


def cholesky(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The triangular U with Uᴴ U = a, or L with L Lᴴ = a when `lower`; only that triangle of `a` is read.

    A matrix that is not positive definite gives NaN.
    """
    return linalg.cholesky(a, upper=not lower, symmetrize_input=False)


def cho_factor(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> tuple[Any, bool]:
    """(the triangular factor of `cholesky`, lower), for `cho_solve`."""
    return cholesky(a, lower), lower


def cho_solve(c_and_lower: tuple[Any, bool], b: Any, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """The solution of a x = b, (n,) or (..., n, k), from the factor that `cho_factor` gave."""
    c, lower = c_and_lower
    c, b, vector = _system("cho_solve", c, b)
    y = triangular_solve(c, b, lower=lower, transpose_a=not lower, conjugate_a=not lower)
    return _answer(triangular_solve(c, y, lower=lower, transpose_a=lower, conjugate_a=lower), vector)


# --- lu -------------------------------------------------------------------------------------------


def lu_factor(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> tuple[Any, Any]:
    """(lu, piv) for `lu_solve`: L below the diagonal and U on and above it; row i was exchanged with row piv[i]."""
    (x,) = matrices("lu_factor", a)
    out, pivots, _ = factor.lu(x)
    return out, pivots


def _order_of(pivots: Any, n: int) -> Any:
    """The order of n rows after the exchanges with `pivots` (..., k)."""
    shape = shape_of(pivots)
    start = broadcast(iota((n,), dtypes.int32, 0), (*shape[:-1], n), (len(shape) - 1,))

    def one(pivots: Any, order: Any) -> Any:
        def step(i: Any, order: Any) -> Any:
            j = pivots[i]
            first, second = order[i], order[j]
            return order.at[i].set(second).at[j].set(first)

        return fori_loop(0, shape[-1], step, order)

    f: Any = one
    for _ in shape[:-1]:
        f = vmap(f)
    return f(asarray(pivots), asarray(start))


def lu_solve(lu_and_piv: tuple[Any, Any], b: Any, trans: Any = 0, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """The solution of a x = b (`trans` 0), aᵀ x = b (1) or aᴴ x = b (2), from the factorization that `lu_factor` gave."""
    factors, pivots = lu_and_piv
    turn = _mode("lu_solve", trans)
    factors, b, vector = _system("lu_solve", factors, b)
    order = _order_of(pivots, shape_of(factors)[-1])
    lead = shape_of(factors)[:-2]
    order = broadcast(order, (*lead, shape_of(order)[-1]), tuple(range(len(lead) + 1 - len(shape_of(order)), len(lead) + 1)))
    if not turn["transpose_a"]:
        y = triangular_solve(factors, factor.permuted(b, order), unit_diagonal=True)
        return _answer(triangular_solve(factors, y, lower=False), vector)
    y = triangular_solve(factors, b, lower=False, **turn)
    y = triangular_solve(factors, y, unit_diagonal=True, **turn)
    back = _inverse_order(order)
    return _answer(factor.permuted(y, back), vector)


def _inverse_order(order: Any) -> Any:
    """The permutation that undoes `order` (..., n)."""
    axis = len(shape_of(order)) - 1
    n = shape_of(order)[-1]
    # Row i of the table has its one entry where order == i.
    table = e.eq(m.as_rows(order, n), iota((*shape_of(order), n), dtypes.int32, axis))
    places = m.as_rows(iota(shape_of(order), dtypes.int32, axis), n)
    return reduce_sum(e.select(table, places, np.int32(0)), (axis + 1,))


def lu(
    a: Any, permute_l: bool = False, overwrite_a: bool = False, check_finite: bool = True, p_indices: bool = False
) -> tuple[Any, ...]:
    """(p, l, u) with a = p l u for matrices (..., m, n): a permutation matrix, a unit lower triangular one, an upper triangular one.

    Args:
        permute_l: return (p l, u).
        p_indices: return the permutation as indices: a = l[p] u.
    """
    (x,) = matrices("lu", a)
    packed, _, order = factor.lu(x)
    *lead, rows, columns = shape_of(x)
    k = min(rows, columns)
    left, right = m.with_diagonal(m.lower(m.columns(packed, 0, k), -1), 1), m.upper(m.rows(packed, 0, k))
    back = _inverse_order(order)
    if permute_l:
        return factor.permuted(left, back), right
    if p_indices:
        return back, left, right
    square = iota((*lead, rows, rows), dtypes.int32, len(lead) + 1)
    return e.convert(e.eq(square, m.as_columns(back, rows)), type_of(x).dtype), left, right


# --- systems --------------------------------------------------------------------------------------


def solve(
    a: Any, b: Any, lower: bool = False, overwrite_a: bool = False, overwrite_b: bool = False, check_finite: bool = True,
    assume_a: str = "gen",
) -> Any:  # fmt: skip
    """The solution x of a x = b; `b` is (n,) or (..., n, k).

    Args:
        assume_a: "pos" for a positive definite `a`, which Cholesky factorizes, reading one triangle; "gen", "sym" and "her" use LU.
        lower: which triangle is read.

    Raises: ShapeError for another `assume_a`.
    """
    if assume_a not in ("gen", "sym", "her", "pos"):
        raise ShapeError(f"solve: assume_a {assume_a!r}, expected 'gen', 'sym', 'her' or 'pos'.{at(user_source())}")
    if assume_a == "pos":
        return cho_solve(cho_factor(a, lower), b)
    x, y, vector = _system("solve", a, b)
    if assume_a == "her":
        x = m.hermitian(x if lower else m.adjoint(x))
    elif assume_a == "sym":
        half = m.lower(x) if lower else m.upper(x)
        x = e.add(half, m.transposed(m.lower(x, -1) if lower else m.upper(x, 1)))
    return _answer(linalg.solve(x, y), vector)


def solve_triangular(
    a: Any, b: Any, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False, overwrite_b: bool = False,
    debug: Any = None, check_finite: bool = True,
) -> Any:  # fmt: skip
    """The solution x of a x = b (`trans` 0), aᵀ x = b (1) or aᴴ x = b (2) for triangular matrices; `b` is (n,) or (..., n, k).

    Args:
        lower: whether `a` is lower triangular; the other triangle is not read.
        unit_diagonal: take the diagonal to be ones.
    """
    x, y, vector = _system("solve_triangular", a, b)
    return _answer(triangular_solve(x, y, lower=lower, unit_diagonal=unit_diagonal, **_mode("solve_triangular", trans)), vector)
