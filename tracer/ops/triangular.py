"""triangular_solve: linear systems whose matrix is triangular, on either side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import ShapeError
from ..ir import Type, type_of
from ..primitive import Named, Primitive, Undefined, Zero
from ..trace import bind
from .complex import conj, conj_of
from .elementwise import add_tangents, neg
from .matrices import check_field, check_square, check_stack, lower, product, transposed, upper
from .rules import Dims, shape_of, to_front
from .shape import reshape, transpose

_BLOCK = 24
"""The size up to which the definition substitutes row by row; above it splits the matrix, and most of the work is a product."""


def _abstract(
    a: Type, b: Type, *, left_side: bool, lower: bool, transpose_a: bool, conjugate_a: bool, unit_diagonal: bool
) -> Type:
    check_field("triangular_solve", a, b)
    n = check_square("triangular_solve", a)
    check_stack("triangular_solve", a, b)
    if b.shape[-2 if left_side else -1] != n:
        where = "rows" if left_side else "columns"
        raise ShapeError(f"triangular_solve: a has shape {a.shape}, b {b.shape}: expected {n} {where} in b.")
    return Type(b.shape, b.dtype, a.weak and b.weak)


def substitute(t: np.ndarray, b: np.ndarray, lower: bool, unit: bool) -> np.ndarray:
    """The solution of t x = b, for triangular ndarrays `t`, by substitution; a zero on the diagonal divides."""
    n = t.shape[-1]
    if n > _BLOCK:
        h = n // 2
        first, last = (slice(0, h), slice(h, n)) if lower else (slice(h, n), slice(0, h))
        x = np.empty_like(b)
        x[..., first, :] = substitute(t[..., first, first], b[..., first, :], lower, unit)
        rest = b[..., last, :] - t[..., last, first] @ x[..., first, :]
        x[..., last, :] = substitute(t[..., last, last], rest, lower, unit)
        return x
    x = b.copy()
    for i in range(n) if lower else reversed(range(n)):
        if not unit:
            x[..., i, :] /= t[..., i, i, None]
        rest_of = slice(i + 1, n) if lower else slice(0, i)
        x[..., rest_of, :] -= t[..., rest_of, i, None] * x[..., i, None, :]
    return x


@np.errstate(all="ignore")
def _reference(
    a: np.ndarray, b: np.ndarray, *, left_side: bool, lower: bool, transpose_a: bool, conjugate_a: bool, unit_diagonal: bool
) -> np.ndarray:
    a = a.conj() if conjugate_a else a
    # x op(a) = b is op(a)ᵀ xᵀ = bᵀ.
    if transpose_a == left_side:
        a, lower = np.swapaxes(a, -1, -2), not lower
    if left_side:
        return substitute(a, b, lower, unit_diagonal)
    return np.ascontiguousarray(np.swapaxes(substitute(a, np.swapaxes(b, -1, -2), lower, unit_diagonal), -1, -2))


def _op(a: Any, transpose_a: bool, conjugate_a: bool) -> Any:
    a = transposed(a) if transpose_a else a
    return conj_of(a) if conjugate_a else a


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], **how: Any) -> tuple[Any, Any]:
    # x = op(a)⁻¹ b: ẋ = op(a)⁻¹ (ḃ - op(ȧ) x), with ȧ cut to the triangle that is read.
    (a, b), (a_dot, b_dot) = primals, tangents
    x = bind(triangular_solve_p, a, b, **how)
    right: Any = b_dot
    if not isinstance(a_dot, Zero):
        strict = int(how["unit_diagonal"])
        read = lower(a_dot, -strict) if how["lower"] else upper(a_dot, strict)
        read = _op(read, how["transpose_a"], how["conjugate_a"])
        right = add_tangents(right, neg(product(read, x) if how["left_side"] else product(x, read)))
    return x, right if isinstance(right, Zero) else bind(triangular_solve_p, a, right, **how)


def _transpose(ct: Any, a: Any, b: Any, **how: Any) -> tuple[None, Any]:
    assert isinstance(b, Undefined) and not isinstance(a, Undefined)
    return None, triangular_solve(a, ct, **(how | {"transpose_a": not how["transpose_a"]}))


def _batch(size: int, xs: Sequence[Any], dims: Dims, **how: Any) -> tuple[Any, int]:
    (a, b), (i, j) = xs, dims
    if i is not None or j is None:
        return bind(triangular_solve_p, to_front(size, a, i), to_front(size, b, j), **how), 0
    # One matrix for all lanes: these are more right-hand sides.
    folded, unfold = fold_lanes(size, to_front(size, b, j), how["left_side"])
    return unfold(bind(triangular_solve_p, a, folded, **how)), 0


def fold_lanes(size: int, b: Any, left_side: bool) -> tuple[Any, Any]:
    """Right-hand sides (lane, ..., n, k) as (..., n, lane * k), or (..., lane * k, n) on the right side, and the way back."""
    *lead, m, n = shape_of(b)[1:]
    axes = range(1, len(lead) + 1)
    last = len(lead) + 1
    if left_side:
        forth, back, shape = (*axes, last, 0, last + 1), (last, *range(len(lead)), last - 1, last + 1), (*lead, m, size * n)
        middle: tuple[int, ...] = (*lead, m, size, n)
    else:
        forth, back, shape = (*axes, 0, last, last + 1), (last - 1, *range(len(lead)), last, last + 1), (*lead, size * m, n)
        middle = (*lead, size, m, n)
    return reshape(transpose(b, forth), shape), lambda x: transpose(reshape(x, middle), back)


triangular_solve_p = Primitive(
    "triangular_solve",
    abstract=_abstract,
    reference=_reference,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    lowering=Named("lapack"),
    eager="compiled",
)


def triangular_solve(
    a: Any,
    b: Any,
    *,
    left_side: bool = True,
    lower: bool = True,
    transpose_a: bool = False,
    conjugate_a: bool = False,
    unit_diagonal: bool = False,
) -> Any:
    """The solution x of op(a) x = b, or of x op(a) = b when not `left_side`, for triangular matrices `a`.

    Args:
        a: (..., n, n); only the triangle that `lower` names is read, and with `unit_diagonal` its diagonal is taken to be ones.
        b: (..., n, k), or (..., k, n) on the right side; its leading axes are those of `a`.
        transpose_a, conjugate_a: op(a) is `a` transposed, conjugated, or both.

    Raises: ShapeError where sizes do not fit, DTypeError for dtypes other than float32, float64, complex64 and complex128.

    A zero on the diagonal gives infinities and NaN.
    """
    conjugate_a = conjugate_a and dtypes.is_complex(type_of(a).dtype)
    if conjugate_a and not transpose_a:  # BLAS has no such mode
        a, conjugate_a = conj(a), False
    return bind(
        triangular_solve_p, a, b, left_side=left_side, lower=lower, transpose_a=transpose_a, conjugate_a=conjugate_a,
        unit_diagonal=unit_diagonal,
    )  # fmt: skip
