"""Householder's reflections, packed as LAPACK packs them: products of them, and the reductions that are made of them.

H = 1 - τ v vᴴ, where v has zeros, then a 1, and then what is stored below it in a column of a matrix.  Q = H₁ H₂ ... H_k.  Each function
is a loop over the reflections, of a masked step on the whole matrix, so that its program does not grow with the size.

Source: G. Golub and C. Van Loan, "Matrix Computations" (4th edition, 2013), sections 5.1, 7.4 and 8.3; the choice of signs is LAPACK's.
"""

from __future__ import annotations

from typing import Any

from fdl.control import fori_loop
from fdl.lax.operands import one_dtype, operand
from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import matrices as m
from fdl.tracer.ops import reduce as r
from fdl.tracer.ops import shape as s
from fdl.tracer.ops.complex import complex as join
from fdl.tracer.ops.complex import conj_of, real_of

from .factorizations import matrix, over_stack


def _outer(x: Any, y: Any) -> Any:
    return e.mul(
        s.broadcast(x, (type_of(x).size, type_of(y).size), (0,)), s.broadcast(y, (type_of(x).size, type_of(y).size), (1,))
    )


def _times(a: Any, x: Any) -> Any:
    """The product of a matrix and a vector."""
    return s.reshape(m.product(a, s.reshape(x, (type_of(x).size, 1))), (type_of(a).shape[0],))


def _reflected(tau: Any, v: Any, c: Any) -> Any:
    """(1 - τ v vᴴ) c."""
    row = _times(m.transposed(c), conj_of(v))
    return e.sub(c, _outer(e.mul(v, tau), row))


def _column(a: Any, i: Any) -> Any:
    """Column `i`, which is traced, of a matrix."""
    return a[:, i]


def _packed(a: Any, i: Any, pivot: Any) -> Any:
    """The vector of the reflection that column `i` holds: zeros before the place `pivot`, 1 there, and what is stored below."""
    row = s.iota((type_of(a).shape[0],), dtypes.int32, 0)
    v = e.select(e.gt(row, pivot), _column(a, i), e.scalar_like(0, a))
    return e.select(e.eq(row, pivot), e.scalar_like(1, a), v)


def _conjugate(x: Any, really: bool) -> Any:
    return conj_of(x) if really else x


# --- products -------------------------------------------------------------------------------------


def householder_product(a: Any, taus: Any) -> Any:
    """The first n columns of Q = H₁ ... H_k, (..., m, n), from reflections in the columns of `a` (..., m, n) and `taus` (..., k).

    Example:
        >>> import fdl.numpy as fnp
        >>> householder_product(fnp.array([[0.0], [1.0]]), fnp.array([1.0])).tolist()  # H = 1 - v vᵀ with v = (1, 1)
        [[0.0], [-1.0]]
    """
    x, t = _reflections("householder_product", a, taus)
    rows, n = type_of(x).shape[-2:]

    def one(a: Any, taus: Any) -> Any:
        start = m.with_diagonal(s.broadcast(e.scalar_like(0, a), (rows, n), ()), 1)
        return _apply(a, taus, start, adjoint=False)

    return over_stack(one, type_of(x).ndim - 2)(x, t)


def ormqr(a: Any, taus: Any, c: Any, *, left: bool = True, transpose: bool = False) -> Any:
    """Q c, Qᴴ c with `transpose`, or c Q, c Qᴴ when not `left`, for Q = H₁ ... H_k of order m.

    Args:
        a: (..., m, n), whose columns hold the reflections; taus: (..., k), k of at most n.
        c: (..., m, p), or (..., p, m) when not `left`.
    """
    x, t = _reflections("ormqr", a, taus)
    x, t, y = one_dtype("linalg.ormqr", x, t, matrix("ormqr", c))
    rows = type_of(x).shape[-2]
    if type_of(y).shape[-2 if left else -1] != rows or type_of(y).shape[:-2] != type_of(x).shape[:-2]:
        raise ShapeError(
            f"lax.linalg.ormqr: a has shape {type_of(x).shape}, c {type_of(y).shape}: expected {rows} "
            f"{'rows' if left else 'columns'} of c, and equal leading axes.{at(user_source())}"
        )

    def one(a: Any, taus: Any, c: Any) -> Any:
        if left:
            return _apply(a, taus, c, adjoint=transpose)
        return m.adjoint(_apply(a, taus, m.adjoint(c), adjoint=not transpose))

    return over_stack(one, type_of(x).ndim - 2)(x, t, y)


def _reflections(name: str, a: Any, taus: Any) -> tuple[Any, Any]:
    x, t = one_dtype(f"linalg.{name}", matrix(name, a), operand(f"linalg.{name}", taus, "taus"))
    shape, given = type_of(x).shape, type_of(t).shape
    if not given or given[:-1] != shape[:-2] or given[-1] > min(shape[-2:]):
        raise ShapeError(
            f"lax.linalg.{name}: a has shape {shape}, taus {given}: expected {shape[:-2]}, then at most {min(shape[-2:])}."
            f"{at(user_source())}"
        )
    return x, t


def _apply(a: Any, taus: Any, c: Any, adjoint: bool) -> Any:
    """Q c, or Qᴴ c: the last reflection comes first, or the first."""
    k = type_of(taus).size

    def step(i: Any, c: Any) -> Any:
        j = i if adjoint else e.sub(e.scalar_like(k - 1, i), i)
        return _reflected(_conjugate(taus[j], adjoint), _packed(a, j, j), c)

    return fori_loop(0, k, step, c)


# --- reductions -----------------------------------------------------------------------------------


def _reflection(x: Any, pivot: Any) -> tuple[Any, Any, Any]:
    """(β, τ, v) with Hᴴ x = (what is before `pivot`, β, zeros), H = 1 - τ v vᴴ; β is real."""
    row = s.iota((type_of(x).size,), dtypes.int32, 0)
    zero, one = e.scalar_like(0, x), e.scalar_like(1, x)
    below = e.select(e.gt(row, pivot), x, zero)
    alpha = r.reduce_sum(e.select(e.eq(row, pivot), x, zero), (0,))
    size = e.abs(below)
    tail = r.reduce_sum(e.mul(size, size), (0,))
    real, whole = real_of(alpha), e.abs(alpha)
    # Nothing to do where x has nothing below the pivot, and is real there.
    done = e.logical_and(e.eq(tail, e.scalar_like(0, tail)), e.eq(whole, e.abs(real)))
    length = e.sqrt(e.add(e.mul(whole, whole), e.select(done, e.scalar_like(1, tail), tail)))
    negative = e.select(e.lt(real, e.scalar_like(0, real)), length, e.neg(length))
    beta = _complex_like(e.select(done, real, negative), x)
    safe = e.select(done, one, e.sub(alpha, beta))
    tau = e.select(done, zero, e.div(e.sub(beta, alpha), e.select(done, one, beta)))
    v = e.select(e.eq(row, pivot), one, e.div(below, safe))
    return beta, tau, v


def _complex_like(x: Any, other: Any) -> Any:
    return join(x, e.scalar_like(0, x)) if dtypes.is_complex(type_of(other).dtype) else x


def _reduced(a: Any) -> tuple[Any, Any]:
    """(packed, taus): the Hessenberg matrix Qᴴ a Q, the reflections below its first subdiagonal, and the n - 1 factors τ."""
    n = type_of(a).shape[0]
    row, column = s.iota((n, n), dtypes.int32, 0), s.iota((n, n), dtypes.int32, 1)
    place = s.iota((max(n - 1, 0),), dtypes.int32, 0)

    def step(k: Any, carry: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        h, kept, taus = carry
        pivot = e.add(k, e.scalar_like(1, k))
        _, tau, v = _reflection(_column(h, k), pivot)
        h = _reflected(conj_of(tau), v, h)
        h = m.adjoint(_reflected(conj_of(tau), v, m.adjoint(h)))
        mine = e.logical_and(e.eq(column, k), e.gt(row, pivot))
        kept = e.select(mine, s.broadcast(v, (n, n), (0,)), kept)
        return h, kept, e.select(e.eq(place, k), tau, taus)

    zeros = s.broadcast(e.scalar_like(0, a), (n, n), ()), s.broadcast(e.scalar_like(0, a), (max(n - 1, 0),), ())
    # The last reflection is of one element: it only makes a complex one real.
    steps = n - 1 if dtypes.is_complex(type_of(a).dtype) else n - 2
    h, kept, taus = fori_loop(0, max(steps, 0), step, (a, *zeros))
    return e.select(e.gt(row, e.add(column, e.scalar_like(1, column))), kept, h), taus


def hessenberg(a: Any) -> tuple[Any, Any]:
    """(packed, taus) of square matrices (..., n, n): a = Q h Qᴴ, with h zero below its first subdiagonal.

    h is on and above the first subdiagonal of `packed`; below it are the reflections whose product is Q, each one row further down than
    `householder_product` reads them, and taus (..., n - 1) are their factors.
    """
    x = matrix("hessenberg", a, square=True)
    return over_stack(_reduced, type_of(x).ndim - 2)(x)


def tridiagonal(a: Any, *, lower: bool = True) -> tuple[Any, Any, Any, Any]:
    """(packed, d, e, taus) of Hermitian matrices (..., n, n): a = Q t Qᴴ, t real and tridiagonal, with `d` on and `e` beside its diagonal.

    Args:
        lower: which triangle of `a` is read; the reflections whose product is Q are there in `packed`.
    """
    x = matrix("tridiagonal", a, square=True)

    def one(a: Any) -> tuple[Any, Any, Any, Any]:
        given = (
            a if lower else s.flip(a, (0, 1))
        )  # the upper triangle, read backwards, is the lower one of the matrix read backwards
        whole = e.add(m.lower(given), m.adjoint(m.lower(given, -1)))
        if dtypes.is_complex(type_of(a).dtype):  # what the diagonal has of an imaginary part is not read
            n = type_of(a).shape[0]
            whole = e.select(m.on_diagonal(whole), _complex_like(real_of(whole), whole), whole) if n else whole
        packed, taus = _reduced(whole)
        d, side = real_of(m.diagonal(packed)), real_of(m.diagonal(m.rows(packed, 1, type_of(a).shape[0])))
        packed = e.select(m.below(packed, 0), packed, given) if type_of(a).size else packed
        if not lower:
            packed, d, side, taus = s.flip(packed, (0, 1)), s.flip(d, (0,)), s.flip(side, (0,)), s.flip(taus, (0,))
        return packed, d, side, taus

    return over_stack(one, type_of(x).ndim - 2)(x)
