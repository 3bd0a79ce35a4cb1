"""Determinants, by LU factorization.

The derivative of `det` is the product with the adjugate matrix, which exists where the inverse does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import factor
from fdl.tracer.ops import matrices as m
from fdl.tracer.ops.complex import complex as join
from fdl.tracer.ops.complex import imag, real_of
from fdl.tracer.ops.reduce import cumprod, reduce_prod, reduce_sum
from fdl.tracer.ops.rules import shape_of
from fdl.tracer.ops.shape import broadcast, iota, reshape, slice_axis
from fdl.tracer.ops.triangular import triangular_solve
from fdl.tracer.transforms.custom_jvp import CustomJVP, call_custom_jvp

from .operands import matrices


class SlogdetResult(NamedTuple):
    """What `slogdet` returns."""

    sign: Any
    logabsdet: Any


def _parity(pivots: Any, like: Any) -> Any:
    """The sign of the row exchanges of a factorization, in the dtype of `like`."""
    axis = len(shape_of(pivots)) - 1
    moved = e.ne(pivots, iota(shape_of(pivots), dtypes.int32, axis))
    minus = e.select(moved, e.scalar_like(-1, like), e.scalar_like(1, like))
    return reduce_prod(minus, (axis,))


def _last(x: Any) -> int:
    return len(shape_of(x)) - 1


# --- det ------------------------------------------------------------------------------------------


def _explicit(a: Any) -> Any:
    """The determinant of matrices up to 3 × 3, as a polynomial of the elements: it has derivatives of every order."""
    *lead, n, _ = shape_of(a)
    axis = len(lead)

    def at(i: int, j: int) -> Any:
        return reshape(slice_axis(slice_axis(a, axis, i, i + 1), axis + 1, j, j + 1), lead)

    def minor(i: int, j: int, p: int, q: int) -> Any:
        return e.sub(e.mul(at(i, p), at(j, q)), e.mul(at(i, q), at(j, p)))

    if n == 0:
        return broadcast(e.scalar_like(1, a), lead, ())
    if n == 1:
        return at(0, 0)
    if n == 2:
        return minor(0, 1, 0, 1)
    first, second, third = (e.mul(at(0, k), minor(1, 2, *(j for j in range(3) if j != k))) for k in range(3))
    return e.add(e.sub(first, second), third)


def _det(a: Any) -> list[Any]:
    lu, pivots, _ = factor.lu(a)
    d = m.diagonal(lu)
    return [e.mul(_parity(pivots, d), reduce_prod(d, (_last(d),)))]


def _det_rule(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    # ḋ = tr(adj(A) Ȧ)
    (a,), (a_dot,) = primals, tangents
    adjugate_product = _adjugate_product(a, a_dot)
    return det_flat(a), [reduce_sum(m.diagonal(adjugate_product), (len(shape_of(a)) - 2,))]


def _adjugate_product(a: Any, b: Any) -> Any:
    """adj(a) b = det(a) a⁻¹ b, without a division by pivots that are zero: for matrices of any rank.

    Where elimination meets a zero pivot before the last, the columns are mixed first, so that only the last one is zero where the rank is
    n - 1: adj(a) = det(q) q adj(a q) for a reflection q. A zero that is left has a rank below that, where the adjugate is 0: its pivot
    counts as 1, which the products of pivots, 0 then, make good.

    With y = L⁻¹ P b, and p the product of all pivots but the last, U⁻¹ y det(a) solves U' x = (det(a) y, but p y in the last row),
    where U' is U with its last pivot 1.
    """
    *lead, n, _ = shape_of(a)
    axis = len(lead)
    q, sign = _mixing(a)
    lu, pivots, permutation = factor.lu(m.product(a, q))
    d = m.diagonal(lu)
    products = e.mul(cumprod(d, axis), broadcast(_parity(pivots, d), (*lead, n), tuple(range(axis))))
    whole = reshape(slice_axis(products, axis, n - 1, n), lead)
    but_last = reshape(slice_axis(products, axis, n - 2, n - 1), lead)
    y = triangular_solve(lu, factor.permuted(b, permutation), unit_diagonal=True)
    last_row = e.eq(iota(shape_of(y), dtypes.int32, axis), np.int32(n - 1))

    def spread(x: Any) -> Any:
        return broadcast(x, shape_of(y), tuple(range(axis)))

    y = e.mul(y, e.select(last_row, spread(but_last), spread(whole)))
    last = e.eq(iota(shape_of(lu), dtypes.int32, axis), np.int32(n - 1))
    replaced = e.logical_and(m.on_diagonal(lu), e.logical_or(last, e.eq(lu, e.scalar_like(0, lu))))
    x = triangular_solve(e.select(replaced, e.scalar_like(1, lu), lu), y, lower=False)
    return e.mul(m.product(q, x), broadcast(sign, shape_of(y), tuple(range(axis))))


def _mixing(a: Any) -> tuple[Any, Any]:
    """Matrices q and their determinants: the identity, but a reflection of all axes where `a` has a zero pivot before the last.

    A reflection I - 2 v vᵀ / vᵀv mixes all columns. Its v has no simple ratios, so that no null vector of a matrix that people write
    is one for which the first n - 1 columns stay dependent.
    """
    *lead, n, _ = shape_of(a)
    axis = len(lead)
    d = m.diagonal(factor.lu(e.stop_gradient(a))[0])
    rest = slice_axis(d, axis, 0, n - 1)
    zeros = e.select(e.eq(rest, e.scalar_like(0, rest)), e.scalar_like(1, real_of(rest)), e.scalar_like(0, real_of(rest)))
    mixed = e.gt(reduce_sum(zeros, (axis,)), e.scalar_like(0, zeros))
    v = 1.0 + np.arange(1, n + 1) * ((np.sqrt(5.0) - 1) / 2) % 1.0
    dtype = type_of(a).dtype
    reflection = (np.eye(n) - 2 * np.outer(v, v) / (v @ v)).astype(dtype)
    square = (*lead, n, n)
    q = e.select(
        broadcast(mixed, square, tuple(range(axis))),
        broadcast(reflection, square, (axis, axis + 1)),
        broadcast(np.eye(n, dtype=dtype), square, (axis, axis + 1)),
    )
    return q, e.select(mixed, e.scalar_like(-1, d), e.scalar_like(1, d))


def det_flat(a: Any) -> list[Any]:
    """[the determinants] of stacks of square matrices that are larger than 3 × 3."""
    return call_custom_jvp(CustomJVP(_det, _det_rule, "det"), [a])


def det(a: Any) -> Any:
    """The determinants of square matrices: (..., n, n) → (...).

    The derivative, by the adjugate matrix, is right for singular matrices too: of rank n - 1 it is not zero, of a lower rank it is zero.
    Second derivatives of singular matrices with n > 3 divide by the last pivot, and are NaN where it is exactly zero.

    Example:
        >>> float(det([[1.0, 2.0], [3.0, 4.0]]))
        -2.0
    """
    (a,) = matrices("det", a, square=True)
    return _explicit(a) if shape_of(a)[-1] <= 3 else det_flat(a)[0]


# --- slogdet --------------------------------------------------------------------------------------


def _slogdet(a: Any) -> list[Any]:
    lu, pivots, _ = factor.lu(a)
    d = m.diagonal(lu)
    axis = (_last(d),)
    sign = e.mul(_parity(pivots, d), reduce_prod(e.sign(d), axis))
    return [sign, reduce_sum(e.log(e.abs(d)), axis)]


def _slogdet_rule(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    # log det moves by t = tr(A⁻¹ Ȧ): its real part is that of log |det|, its imaginary part turns the sign.
    (a,), (a_dot,) = primals, tangents
    factors, _, permutation = factor.lu(e.stop_gradient(a))
    t = reduce_sum(m.diagonal(factor.lu_solve(a, factors, permutation, a_dot)), (len(shape_of(a)) - 2,))
    sign, size = slogdet_flat(a)
    if not dtypes.is_complex(type_of(a).dtype):
        return [sign, size], [e.mul(sign, e.scalar_like(0, sign)), t]
    turn = imag(t)
    return [sign, size], [e.mul(sign, join(e.scalar_like(0, turn), turn)), real_of(t)]


def slogdet_flat(a: Any) -> list[Any]:
    """[signs, logarithms of absolute values] of the determinants of stacks of square matrices."""
    return call_custom_jvp(CustomJVP(_slogdet, _slogdet_rule, "slogdet"), [a])


def slogdet(a: Any) -> SlogdetResult:
    """(sign, log |det|) of square matrices (..., n, n): det = sign · exp(logabsdet), which does not overflow.

    The sign is -1, 0 or 1, for complex matrices a number of absolute value 1 (or 0). A singular matrix has (0, -inf), and no derivative.
    """
    (a,) = matrices("slogdet", a, square=True)
    return SlogdetResult(*slogdet_flat(a))
