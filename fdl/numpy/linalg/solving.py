"""Linear systems: solve, inv, pinv, lstsq and their tensor forms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import factor, spectral
from fdl.tracer.ops import matrices as m
from fdl.tracer.ops.complex import complex as join
from fdl.tracer.ops.complex import conj_of, real_of
from fdl.tracer.ops.reduce import reduce_sum
from fdl.tracer.ops.rules import shape_of
from fdl.tracer.ops.shape import broadcast, reshape, slice_axis, transpose
from fdl.tracer.transforms.custom_jvp import CustomJVP, call_custom_jvp

from ..promote import asarray, promote_operands
from .operands import identity_like, matrices, same_stack

# --- square systems -------------------------------------------------------------------------------


def solve_stack(a: Any, b: Any, *, transpose_a: bool = False, conjugate_a: bool = False) -> Any:
    """The solution of op(a) x = b for stacks of one shape, by an LU factorization that derivatives use again."""
    factors, _, permutation = factor.lu(e.stop_gradient(a))
    return factor.lu_solve(a, factors, permutation, b, transpose_a=transpose_a, conjugate_a=conjugate_a)


def solve(a: Any, b: Any) -> Any:
    """The solution x of a x = b, for square matrices `a` (..., n, n).

    Args:
        b: a vector (n,), or matrices (..., n, k); leading axes broadcast.

    A singular matrix gives infinities and NaN. Raises: ShapeError where the sizes do not fit.

    Example:
        >>> solve([[2.0, 0.0], [0.0, 4.0]], [2.0, 2.0]).tolist()
        [1.0, 0.5]
    """
    a, b = (asarray(v) for v in promote_operands("solve", a, b, broadcast=False, inexact=True))
    vector = type_of(b).ndim == 1
    if vector:
        b = reshape(b, (*shape_of(b), 1))
    a, b = matrices("solve", a, b)
    n = shape_of(matrices("solve", a, square=True)[0])[-1]
    if shape_of(b)[-2] != n:
        given = shape_of(b)[:-1] if vector else shape_of(b)
        raise ShapeError(
            f"solve: the matrix has shape {shape_of(a)}, the right-hand side {given}: expected {n} rows. "
            f"A stack of vectors needs a last axis: b[..., None].{at(user_source())}"
        )
    a, b = same_stack("solve", a, b)
    x = solve_stack(a, b)
    return reshape(x, shape_of(x)[:-1]) if vector else x


def inv(a: Any) -> Any:
    """The inverses of square matrices (..., n, n); a singular one gives infinities and NaN."""
    (a,) = matrices("inv", a, square=True)
    return solve_stack(a, identity_like(a))


# --- least squares --------------------------------------------------------------------------------


def _cut(s: Any, rtol: Any) -> Any:
    """Which singular values count: those greater than `rtol` times the largest."""
    axis = len(shape_of(s)) - 1
    largest = broadcast(reshape(slice_axis(s, axis, 0, 1), shape_of(s)[:-1]), shape_of(s), tuple(range(axis)))
    limit = broadcast(rtol, shape_of(s), tuple(range(len(shape_of(rtol)))))
    return e.gt(s, e.mul(largest, limit))


def _pseudo_inverse(a: Any, rtol: Any) -> list[Any]:
    u, s, vh = spectral.svd(a)
    if 0 in shape_of(s):
        return [m.transposed(a), s]
    keep = _cut(s, rtol)
    one, zero = e.scalar_like(1, s), e.scalar_like(0, s)
    inverse = e.select(keep, e.div(one, e.select(keep, s, one)), zero)
    # A matrix that has no decomposition has no inverse: NaN stays.
    inverse = e.select(e.ne(s, s), s, inverse)
    scale = m.as_rows(inverse, shape_of(vh)[-1])
    scale = join(scale, e.scalar_like(0, scale)) if dtypes.is_complex(type_of(a).dtype) else scale
    return [m.product(e.mul(m.adjoint(vh), scale), m.adjoint(u)), s]


def _pseudo_inverse_rule(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    # Golub and Pereyra (1973): Ṗ = -P Ȧ P + P Pᴴ Ȧᴴ (1 - A P) + (1 - P A) Ȧᴴ Pᴴ P; ṡ = diag Uᴴ Ȧ V.
    (a, rtol), (t, _) = primals, tangents
    p, s = pseudo_inverse(a, rtol)
    ph, th = m.adjoint(p), m.adjoint(t)
    moved = e.neg(m.product(p, t, p))
    rows, columns = shape_of(a)[-2:]
    if rows > columns or rows == columns:
        x = m.product(p, ph, th)
        moved = e.add(moved, e.sub(x, m.product(x, a, p)))
    if columns > rows or rows == columns:
        x = m.product(th, ph, p)
        moved = e.add(moved, e.sub(x, m.product(p, a, x)))
    u, _, vh = spectral.svd(a)
    s_dot = real_of(m.diagonal(m.product(m.adjoint(u), t, m.adjoint(vh))))
    return [p, s], [moved, s_dot]


def pseudo_inverse(a: Any, rtol: Any) -> list[Any]:
    """[the pseudo-inverses, the singular values] of stacks of matrices; `rtol` (...) is what counts as zero next to the largest value."""
    return call_custom_jvp(CustomJVP(_pseudo_inverse, _pseudo_inverse_rule, "pinv"), [a, rtol])


def _tolerance(a: Any, rtol: Any) -> Any:
    """`rtol` as an array (...) of the real dtype of `a`; by default the larger size times the spacing of numbers near 1."""
    t = type_of(a)
    real = dtypes.real_of(t.dtype)
    if rtol is None:
        rtol = max(*t.shape[-2:]) * float(np.finfo(real).eps)
    value = e.stop_gradient(e.convert(asarray(rtol), real))
    return value


def pinv(a: Any, rtol: Any = None, hermitian: bool = False, rcond: Any = None) -> Any:
    """The Moore–Penrose pseudo-inverses (..., n, m) of matrices (..., m, n).

    Args:
        rtol: singular values up to `rtol` times the largest count as zero; an array (...) or a number, by default max(m, n) · eps.
            `rcond` is another name for it.
        hermitian: `a` is Hermitian. It is decomposed as any other matrix.

    The derivative (Golub and Pereyra, 1973) holds while the rank does not change.
    """
    (a,) = matrices("pinv", a, square=hermitian)
    return pseudo_inverse(a, _tolerance(a, rcond if rtol is None else rtol))[0]


def lstsq(a: Any, b: Any, rcond: Any = None) -> tuple[Any, Any, Any, Any]:
    """(x, residuals, rank, s): the x of least norm among those that minimise |a x - b|, for one matrix `a` (m, n).

    Args:
        b: a vector (m,), or (m, k).
        rcond: singular values up to `rcond` times the largest count as zero; by default max(m, n) · eps.

    Returns: x (n,) or (n, k); the sums of squares of b - a x, (1,) or (k,), whatever the rank; the rank, a 0-d int32; the singular values.
    """
    left, right = (asarray(v) for v in promote_operands("lstsq", a, b, broadcast=False, inexact=True))
    (left,) = matrices("lstsq", left)
    vector = type_of(right).ndim == 1
    right = reshape(right, (*shape_of(right), 1)) if vector else right
    if len(shape_of(left)) != 2 or len(shape_of(right)) != 2 or shape_of(left)[0] != shape_of(right)[0]:
        raise ShapeError(
            f"lstsq: a has shape {shape_of(left)}, b {shape_of(right)[: 1 if vector else None]}: expected a (m, n), and b (m,) or (m, k). "
            f"Use vmap for stacks.{at(user_source())}"
        )
    rtol = _tolerance(left, rcond)
    p, s = pseudo_inverse(left, rtol)
    x = m.product(p, right)
    rest = e.sub(right, m.product(left, x))
    residuals = reduce_sum(real_of(e.mul(conj_of(rest), rest)), (0,))
    rank = reduce_sum(e.convert(_cut(s, rtol), dtypes.int32), (0,)) if s.shape[0] else e.convert(asarray(0), dtypes.int32)
    return (reshape(x, shape_of(x)[:1]) if vector else x), residuals, rank, s


# --- tensors --------------------------------------------------------------------------------------


def tensorsolve(a: Any, b: Any, axes: Sequence[int] | None = None) -> Any:
    """The tensor x with tensordot(a, x, x.ndim) == b; the product of the last sizes of `a` is that of those of `b`.

    Args:
        axes: axes of `a` that are moved to its end before.
    """
    x, y = (asarray(v) for v in promote_operands("tensorsolve", a, b, broadcast=False, inexact=True))
    rank = type_of(x).ndim
    if axes is not None:
        moved = [i % rank for i in axes]
        x = transpose(x, (*(i for i in range(rank) if i not in moved), *moved))
    shape = shape_of(x)[type_of(y).ndim :]
    n = math.prod(shape)
    if n * type_of(y).size != type_of(x).size or n != type_of(y).size:
        raise ShapeError(
            f"tensorsolve: a has shape {type_of(x).shape}, b {type_of(y).shape}: expected a to be square, "
            f"prod(a.shape[:b.ndim]) == prod(a.shape[b.ndim:]).{at(user_source())}"
        )
    return reshape(solve(reshape(x, (n, n)), reshape(y, (n,))), shape)


def tensorinv(a: Any, ind: int = 2) -> Any:
    """The tensor x with tensordot(x, a, ind) the identity; the product of the first `ind` sizes of `a` is that of the others."""
    x = asarray(a)
    shape = shape_of(x)
    n = math.prod(shape[:ind])
    if ind <= 0 or n * n != type_of(x).size:
        raise ShapeError(
            f"tensorinv: a has shape {shape}, ind = {ind}: expected prod(a.shape[:ind]) == prod(a.shape[ind:]).{at(user_source())}"
        )
    return reshape(inv(reshape(x, (n, n))), (*shape[ind:], *shape[:ind]))
