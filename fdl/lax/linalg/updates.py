"""Updates of factors, and systems with three diagonals: loops over rows."""

from __future__ import annotations

from typing import Any

from fdl.control import fori_loop, scan
from fdl.lax.operands import one_dtype, operand
from fdl.tracer import dtypes
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import shape as s

from .factorizations import matrix, over_stack


def cholesky_update(r_matrix: Any, w_vector: Any) -> Any:
    """The upper triangular R' with R'ᵀR' = RᵀR + w wᵀ, for upper triangular R (n, n) and a vector w (n,), real.

    One rotation for each row (G. Golub and C. Van Loan, "Matrix Computations", 2013, section 6.5.4): n² steps instead of n³.

    Example:
        >>> import fdl.numpy as fnp
        >>> cholesky_update(fnp.array([[3.0]]), fnp.array([4.0])).tolist()
        [[5.0]]
    """
    name = "linalg.cholesky_update"
    upper, w = one_dtype(name, matrix("cholesky_update", r_matrix, True), operand(name, w_vector, "w_vector"))
    shape = type_of(upper).shape
    if type_of(w).shape != shape[:-1]:
        raise ShapeError(f"lax.{name}: R has shape {shape}, w {type_of(w).shape}, expected {shape[:-1]}.{at(user_source())}")
    if dtypes.is_complex(type_of(upper).dtype):
        raise DTypeError(f"lax.{name}: R has dtype {type_of(upper).dtype.name}, expected floats.{at(user_source())}")
    n = shape[-1]

    def one(upper: Any, w: Any) -> Any:
        place = s.iota((n,), dtypes.int32, 0)

        def step(k: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            upper, w = carry
            row, zero = upper[k], e.scalar_like(0, w)
            a, b = row[k], w[k]
            length = e.sqrt(e.add(e.mul(a, a), e.mul(b, b)))
            still = e.eq(length, zero)
            safe = e.select(still, e.scalar_like(1, w), length)
            cos, sin = e.select(still, e.scalar_like(1, w), e.div(a, safe)), e.div(b, safe)
            live = e.ge(place, k)
            turned = e.select(live, e.add(e.mul(row, cos), e.mul(w, sin)), row)
            rest = e.select(live, e.sub(e.mul(w, cos), e.mul(row, sin)), w)
            return upper.at[k].set(turned), rest

        return fori_loop(0, n, step, (upper, w))[0]

    return over_stack(one, len(shape) - 2)(upper, w)


def tridiagonal_solve(dl: Any, d: Any, du: Any, b: Any, *, perturb_singular: bool = False) -> Any:
    """The solution x of t x = b, for t with the diagonal `d`, `dl[1:]` below it and `du[:-1]` above it.

    Args:
        dl, d, du: (..., n); dl[..., 0] and du[..., -1] are not read.
        b: (..., n, k).
        perturb_singular: must be False.

    Elimination without pivoting (L. Thomas's algorithm): exact enough where the diagonal dominates, infinite or NaN where a pivot is 0.

    Example:
        >>> import fdl.numpy as fnp
        >>> two, one = fnp.full(2, 2.0), fnp.ones(2)
        >>> tridiagonal_solve(one, two, one, fnp.array([[4.0], [5.0]])).tolist()  # [[2, 1], [1, 2]]
        [[1.0], [2.0]]
    """
    name = "linalg.tridiagonal_solve"
    if perturb_singular:
        raise ShapeError(f"lax.{name}: perturb_singular is not there.{at(user_source())}")
    low, diagonal, high, right = one_dtype(
        name, *(operand(name, x, what) for x, what in ((dl, "dl"), (d, "d"), (du, "du"), (b, "b")))
    )
    shape = type_of(diagonal).shape
    if not shape or any(type_of(x).shape != shape for x in (low, high)) or type_of(right).shape[:-1] != shape:
        raise ShapeError(
            f"lax.{name}: dl, d and du have shapes {type_of(low).shape}, {shape} and {type_of(high).shape}, b {type_of(right).shape}: "
            f"expected (..., n) three times, and (..., n, k).{at(user_source())}"
        )
    if not dtypes.is_inexact(type_of(diagonal).dtype):
        raise DTypeError(
            f"lax.{name}: dtype {type_of(diagonal).dtype.name}, expected floats or complex numbers.{at(user_source())}"
        )

    def one(low: Any, diagonal: Any, high: Any, right: Any) -> Any:
        def down(carry: tuple[Any, Any], row: tuple[Any, Any, Any, Any]) -> tuple[Any, Any]:
            (c, y), (a, middle, above, rhs) = carry, row
            pivot = e.sub(middle, e.mul(a, c))
            new = e.div(above, pivot), e.div(e.sub(rhs, e.mul(y, a)), pivot)
            return new, new

        def up(x: Any, row: tuple[Any, Any]) -> tuple[Any, Any]:
            c, y = row
            x = e.sub(y, e.mul(x, c))
            return x, x

        k = type_of(right).shape[-1]
        zero, nothing = e.scalar_like(0, right), s.broadcast(e.scalar_like(0, right), (k,), ())
        return scan(up, nothing, scan(down, (zero, nothing), (low, diagonal, high, right))[1], reverse=True)[1]

    return over_stack(one, len(shape) - 1)(low, diagonal, high, right)
