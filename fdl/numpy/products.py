"""Products of arrays: `matmul`, `dot`, `tensordot` and their kin. `einsum` has a file of its own.

Contractions are `dot_general`; on bool, sums of ands are ors. `vdot`, `vecdot` and `vecmat` conjugate their first operand, as NumPy's do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import contract
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import shape as s
from fdl.tracer.ops.reduce import reduce_sum

from .complexes import conj
from .promote import (
    as_operand,
    broadcast_shapes,
    broadcast_to,
    canonical_axes,
    canonical_axis,
    no_out,
    promote_operands,
    to_dtype,
)
from .shapes import moveaxis
from .ufuncs import multiply

Axes = tuple[Sequence[int], Sequence[int]]


def _operands(name: str, x: Any, y: Any, preferred: Any) -> tuple[list[Any], Callable[[Any], Any]]:
    """The operands in the dtype to multiply them in, and what turns their product back."""
    xs = promote_operands(name, x, y, broadcast=False)
    if preferred is not None:
        xs = [to_dtype(v, dtypes.of(preferred)) for v in xs]
    if type_of(xs[0]).dtype != dtypes.bool_:
        return xs, lambda product: product
    return [to_dtype(v, dtypes.int32) for v in xs], lambda product: e.ne(product, np.zeros((), np.int32))


def matmul(a: Any, b: Any, *, precision: Any = None, preferred_element_type: Any = None) -> Any:
    """The matrix product over the last two axes; leading axes broadcast; a 1-D operand is a row (left) or column (right).

    Args:
        precision: accepted and not needed: products are accumulated in the operands' dtype, at least in float32.
        preferred_element_type: a dtype to which both are converted first.

    Raises: ShapeError when the inner sizes differ, or an operand is 0-d.
    """
    (a, b), restored = _operands("matmul", a, b, preferred_element_type)
    left, right = type_of(a).shape, type_of(b).shape
    if not left or not right:
        raise ShapeError(
            f"matmul: operands of shapes {left} and {right}: a scalar has no matrix product. Use *.{at(user_source())}"
        )
    inner = right[-2] if len(right) > 1 else right[0]
    if left[-1] != inner:
        raise ShapeError(
            f"matmul: inner sizes differ: left {left} has {left[-1]} columns, right {right} has {inner} rows. "
            f"Transpose one operand?{at(user_source())}"
        )
    return restored(_matmul(a, b, left, right))


def _matmul(x: Any, y: Any, a: tuple[int, ...], b: tuple[int, ...]) -> Any:
    if len(b) <= 2:
        return contract.dot_general(x, y, ((len(a) - 1,), (max(len(b) - 2, 0),)))
    if len(a) == 1:
        return contract.dot_general(y, x, ((len(b) - 2,), (0,)))
    lead = broadcast_shapes("matmul", a[:-2], b[:-2])
    x, y = (
        s.broadcast(v, (*lead, *shape[-2:]), tuple(range(len(lead) + 2 - len(shape), len(lead) + 2)))
        if shape[:-2] != lead
        else v
        for v, shape in ((x, a), (y, b))
    )
    n = len(lead)
    return contract.dot_general(x, y, ((n + 1,), (n,)), (tuple(range(n)), tuple(range(n))))


def dot(a: Any, b: Any, *, precision: Any = None, preferred_element_type: Any = None) -> Any:
    """NumPy's dot: the sum over the last axis of `a` and the last but one of `b`; plain product with a scalar."""
    (a, b), restored = _operands("dot", a, b, preferred_element_type)
    left, right = type_of(a).shape, type_of(b).shape
    if not left or not right:
        return restored(multiply(a, b))
    return restored(_tensordot("dot", a, b, ((len(left) - 1,), (max(len(right) - 2, 0),))))


def vdot(a: Any, b: Any, *, precision: Any = None, preferred_element_type: Any = None) -> Any:
    """The sum of products of all elements of two arrays of one size, the first conjugated."""
    a, b = as_operand(a), as_operand(b)
    if type_of(a).size != type_of(b).size:
        raise ShapeError(f"vdot: {type_of(a).shape} and {type_of(b).shape} differ in size.{at(user_source())}")
    a, b = (s.reshape(v, (type_of(v).size,)) for v in (a, b))
    return dot(_conj(a), b, preferred_element_type=preferred_element_type)


def _conj(x: Any) -> Any:
    return conj(x) if dtypes.is_complex(type_of(x).dtype) else x


def vecdot(x: Any, y: Any, /, *, axis: int = -1, precision: Any = None, preferred_element_type: Any = None) -> Any:
    """The sums of products along `axis` of two arrays that broadcast, the first conjugated.

    Example:
        >>> vecdot(np.ones((2, 3)), np.array([1.0, 2.0, 3.0])).tolist()
        [6.0, 6.0]
    """
    (x, y), restored = _operands("vecdot", x, y, preferred_element_type)
    x, y = (moveaxis(v, canonical_axis("vecdot", axis, type_of(v).ndim), -1) for v in (x, y))
    a, b = type_of(x).shape, type_of(y).shape
    if a[-1] != b[-1]:
        raise ShapeError(f"vecdot: sizes along axis {axis} differ: {a[-1]} and {b[-1]}.{at(user_source())}")
    lead = broadcast_shapes("vecdot", a[:-1], b[:-1])
    x, y = (broadcast_to(v, (*lead, a[-1])) for v in (_conj(x), y))
    n = tuple(range(len(lead)))
    return restored(contract.dot_general(x, y, ((len(lead),), (len(lead),)), (n, n)))


def matvec(x: Any, y: Any, /) -> Any:
    """The products of matrices (..., m, n) and vectors (..., n), whose leading axes broadcast: (..., m)."""
    return _with_vector("matvec", x, y, 1)


def vecmat(x: Any, y: Any, /) -> Any:
    """The products of vectors (..., n), conjugated, and matrices (..., n, m), whose leading axes broadcast: (..., m)."""
    return _with_vector("vecmat", y, _conj(as_operand(x)), 2)


def _with_vector(name: str, matrix: Any, vector: Any, axis: int) -> Any:
    """Matrices times vectors, summed over the matrices' last axis (`axis` 1) or the one before it (2)."""
    (matrix, vector), restored = _operands(name, matrix, vector, None)
    a, b = type_of(matrix).shape, type_of(vector).shape
    if len(a) < 2 or len(b) < 1 or a[-axis] != b[-1]:
        raise ShapeError(
            f"{name}: a matrix of shape {a} and a vector of shape {b}: expected sizes {'n' if axis == 1 else 'm'} of (..., m, n) and "
            f"(..., {'n' if axis == 1 else 'm'}) to be equal.{at(user_source())}"
        )
    lead = broadcast_shapes(name, a[:-2], b[:-1])
    matrix, vector = broadcast_to(matrix, (*lead, *a[-2:])), broadcast_to(vector, (*lead, b[-1]))
    n = len(lead)
    return restored(contract.dot_general(matrix, vector, ((n + 2 - axis,), (n,)), (tuple(range(n)), tuple(range(n)))))


def inner(a: Any, b: Any, *, precision: Any = None, preferred_element_type: Any = None) -> Any:
    """The sum of products over the last axes; plain product with a scalar."""
    (a, b), restored = _operands("inner", a, b, preferred_element_type)
    if not type_of(a).shape or not type_of(b).shape:
        return restored(multiply(a, b))
    return restored(_tensordot("inner", a, b, ((-1,), (-1,))))


def outer(a: Any, b: Any, out: None = None) -> Any:
    """All products of the elements of two flattened arrays: shape (x.size, y.size)."""
    no_out("outer", out)
    a, b = promote_operands("outer", a, b, broadcast=False)
    n, m = type_of(a).size, type_of(b).size
    column, row = s.reshape(a, (n, 1)), s.reshape(b, (1, m))
    return multiply(broadcast_to(column, (n, m)), broadcast_to(row, (n, m)))


def tensordot(a: Any, b: Any, axes: Any = 2, *, precision: Any = None, preferred_element_type: Any = None) -> Any:
    """The sum of products over pairs of axes: `axes` is a count (last of `a`, first of `b`) or a pair of axes or sequences.

    Raises: ShapeError where the paired sizes differ, or there are not so many axes.
    """
    (a, b), restored = _operands("tensordot", a, b, preferred_element_type)
    ra, rb = type_of(a).ndim, type_of(b).ndim
    if isinstance(axes, (int, np.integer)):
        if not 0 <= axes <= min(ra, rb):
            raise ShapeError(
                f"tensordot: axes={axes} for operands of shapes {type_of(a).shape} and {type_of(b).shape}: "
                f"expected 0 to {min(ra, rb)}.{at(user_source())}"
            )
        return restored(_tensordot("tensordot", a, b, (tuple(range(ra - int(axes), ra)), tuple(range(int(axes))))))
    left, right = ((part,) if isinstance(part, (int, np.integer)) else tuple(part) for part in axes)
    return restored(_tensordot("tensordot", a, b, (left, right)))


def _tensordot(name: str, x: Any, y: Any, axes: Axes) -> Any:
    a, b = type_of(x), type_of(y)
    left, right = canonical_axes(name, tuple(axes[0]), a.ndim), canonical_axes(name, tuple(axes[1]), b.ndim)
    if len(left) != len(right) or any(a.shape[i] != b.shape[j] for i, j in zip(left, right, strict=True)):
        raise ShapeError(
            f"{name}: axes {tuple(axes[0])} of {a.shape} and {tuple(axes[1])} of {b.shape} do not pair: expected as many of each, of equal "
            f"sizes. Transpose one operand?{at(user_source())}"
        )
    return contract.dot_general(x, y, (left, right))


def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    """The cross products of vectors of 3 (or 2) elements; of two vectors of 2, the one element across: a scalar.

    Args:
        axisa, axisb, axisc: the axes of the vectors in `a`, in `b`, and in the result; `axis` sets all three.

    Example:
        >>> cross(np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])).tolist()
        [0.0, 0.0, 1.0]
    """
    axisa, axisb, axisc = (axisa, axisb, axisc) if axis is None else (axis, axis, axis)
    a, b = promote_operands("cross", a, b, broadcast=False)
    a, b = moveaxis(a, axisa, -1), moveaxis(b, axisb, -1)
    n, m = type_of(a).shape[-1], type_of(b).shape[-1]
    if n not in (2, 3) or m not in (2, 3):
        raise ShapeError(f"cross: vectors of {n} and {m} elements: expected 2 or 3.{at(user_source())}")
    lead = broadcast_shapes("cross", type_of(a).shape[:-1], type_of(b).shape[:-1])
    u = [s.reshape(s.slice_axis(v, len(lead), i, i + 1), lead) for v in (broadcast_to(a, (*lead, n)),) for i in range(n)]
    w = [s.reshape(s.slice_axis(v, len(lead), i, i + 1), lead) for v in (broadcast_to(b, (*lead, m)),) for i in range(m)]
    last = e.sub(e.mul(u[0], w[1]), e.mul(u[1], w[0]))
    if n == m == 2:
        return last
    if n == 2:
        parts = [e.mul(u[1], w[2]), e.neg(e.mul(u[0], w[2])), last]
    elif m == 2:
        parts = [e.neg(e.mul(u[2], w[1])), e.mul(u[2], w[0]), last]
    else:
        parts = [e.sub(e.mul(u[1], w[2]), e.mul(u[2], w[1])), e.sub(e.mul(u[2], w[0]), e.mul(u[0], w[2])), last]
    return moveaxis(s.concatenate([s.reshape(p, (*lead, 1)) for p in parts], len(lead)), -1, axisc)


def kron(a: Any, b: Any) -> Any:
    """The Kronecker product: `b` times each element of `a`, laid out where the element is.

    Example:
        >>> kron(np.array([1.0, 10.0]), np.array([1.0, 2.0])).tolist()
        [1.0, 2.0, 10.0, 20.0]
    """
    a, b = promote_operands("kron", a, b, broadcast=False)
    left, right = type_of(a).shape, type_of(b).shape
    rank = max(len(left), len(right))
    left, right = (1,) * (rank - len(left)) + left, (1,) * (rank - len(right)) + right
    wide = tuple(n for pair in zip(left, right, strict=True) for n in pair)
    each = s.reshape(a, tuple(n for m in left for n in (m, 1)))
    whole = s.reshape(b, tuple(n for m in right for n in (1, m)))
    product = multiply(broadcast_to(each, wide), broadcast_to(whole, wide))
    return s.reshape(product, tuple(n * m for n, m in zip(left, right, strict=True)))


def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: None = None) -> Any:
    """The sum of a diagonal: of the elements with equal indices (shifted by `offset`) along two axes. Small integers as in `sum`."""
    no_out("trace", out)
    a = diagonal(a, offset, axis1, axis2)
    t = type_of(a)
    if dtype is not None:
        a = to_dtype(a, dtypes.of(dtype))
    elif not dtypes.is_inexact(t.dtype) and (t.dtype == dtypes.bool_ or dtypes.bits(t.dtype) < 32):
        a = to_dtype(a, dtypes.int32 if t.dtype == dtypes.bool_ or dtypes.is_signed(t.dtype) else dtypes.uint32)
    return reduce_sum(a, (t.ndim - 1,))


def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The elements of `a` at (i, i + offset) along two axes, as a last axis.

    Example:
        >>> diagonal(np.arange(6.0).reshape(2, 3), 1).tolist()
        [1.0, 5.0]
    """
    a = as_operand(a)
    shape = type_of(a).shape
    if len(shape) < 2:
        raise ShapeError(f"diagonal: expected at least 2 axes, got shape {shape}.{at(user_source())}")
    i, j = canonical_axes("diagonal", (axis1, axis2), len(shape))
    rest = [k for k in range(len(shape)) if k not in (i, j)]
    lead = tuple(shape[k] for k in rest)
    rows, columns = shape[i], shape[j]
    low = max(-offset, 0)  # the first row
    count = max(min(rows - low, columns - max(offset, 0)), 0)
    flat = s.reshape(s.transpose(a, (*rest, i, j)), (*lead, rows * columns))
    start = low * columns + max(offset, 0)
    if count == 0:
        return s.slice_axis(flat, len(rest), 0, 0)
    return s.slice_axis(flat, len(rest), start, start + (count - 1) * (columns + 1) + 1, columns + 1)


__all__ = [
    "cross", "diagonal", "dot", "inner", "kron", "matmul", "matvec", "outer", "tensordot", "trace", "vdot", "vecdot", "vecmat",
]  # fmt: skip
