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
from .promote import as_operand, broadcast_shapes, broadcast_to, canonical_axes, canonical_axis, promote_operands, to_dtype
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


def matmul(x: Any, y: Any, *, precision: Any = None, preferred_element_type: Any = None) -> Any:
    """The matrix product over the last two axes; leading axes broadcast; a 1-D operand is a row (left) or column (right).

    Args:
        precision: accepted and not needed: products are accumulated in the operands' dtype, at least in float32.
        preferred_element_type: a dtype to which both are converted first.

    Raises: ShapeError when the inner sizes differ, or an operand is 0-d.
    """
    (x, y), restored = _operands("matmul", x, y, preferred_element_type)
    a, b = type_of(x).shape, type_of(y).shape
    if not a or not b:
        raise ShapeError(f"matmul: operands of shapes {a} and {b}: a scalar has no matrix product. Use *.{at(user_source())}")
    inner = b[-2] if len(b) > 1 else b[0]
    if a[-1] != inner:
        raise ShapeError(
            f"matmul: inner sizes differ: left {a} has {a[-1]} columns, right {b} has {inner} rows. "
            f"Transpose one operand?{at(user_source())}"
        )
    return restored(_matmul(x, y, a, b))


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


def dot(x: Any, y: Any, *, precision: Any = None, preferred_element_type: Any = None) -> Any:
    """NumPy's dot: the sum over the last axis of `x` and the last but one of `y`; plain product with a scalar."""
    (x, y), restored = _operands("dot", x, y, preferred_element_type)
    a, b = type_of(x).shape, type_of(y).shape
    if not a or not b:
        return restored(multiply(x, y))
    return restored(_tensordot("dot", x, y, ((len(a) - 1,), (max(len(b) - 2, 0),))))


def vdot(x: Any, y: Any, *, precision: Any = None, preferred_element_type: Any = None) -> Any:
    """The sum of products of all elements of two arrays of one size, the first conjugated."""
    x, y = as_operand(x), as_operand(y)
    if type_of(x).size != type_of(y).size:
        raise ShapeError(f"vdot: {type_of(x).shape} and {type_of(y).shape} differ in size.{at(user_source())}")
    x, y = (s.reshape(v, (type_of(v).size,)) for v in (x, y))
    return dot(_conj(x), y, preferred_element_type=preferred_element_type)


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


def inner(x: Any, y: Any, *, precision: Any = None, preferred_element_type: Any = None) -> Any:
    """The sum of products over the last axes; plain product with a scalar."""
    (x, y), restored = _operands("inner", x, y, preferred_element_type)
    if not type_of(x).shape or not type_of(y).shape:
        return restored(multiply(x, y))
    return restored(_tensordot("inner", x, y, ((-1,), (-1,))))


def outer(x: Any, y: Any, out: None = None) -> Any:
    """All products of the elements of two flattened arrays: shape (x.size, y.size)."""
    x, y = promote_operands("outer", x, y, broadcast=False)
    n, m = type_of(x).size, type_of(y).size
    column, row = s.reshape(x, (n, 1)), s.reshape(y, (1, m))
    return multiply(broadcast_to(column, (n, m)), broadcast_to(row, (n, m)))


def tensordot(x: Any, y: Any, axes: Any = 2, *, precision: Any = None, preferred_element_type: Any = None) -> Any:
    """The sum of products over pairs of axes: `axes` is a count (last of `x`, first of `y`) or a pair of axes or sequences.

    Raises: ShapeError where the paired sizes differ, or there are not so many axes.
    """
    (x, y), restored = _operands("tensordot", x, y, preferred_element_type)
    ra, rb = type_of(x).ndim, type_of(y).ndim
    if isinstance(axes, (int, np.integer)):
        if not 0 <= axes <= min(ra, rb):
            raise ShapeError(
                f"tensordot: axes={axes} for operands of shapes {type_of(x).shape} and {type_of(y).shape}: "
                f"expected 0 to {min(ra, rb)}.{at(user_source())}"
            )
        return restored(_tensordot("tensordot", x, y, (tuple(range(ra - int(axes), ra)), tuple(range(int(axes))))))
    left, right = ((a,) if isinstance(a, (int, np.integer)) else tuple(a) for a in axes)
    return restored(_tensordot("tensordot", x, y, (left, right)))


def _tensordot(name: str, x: Any, y: Any, axes: Axes) -> Any:
    a, b = type_of(x), type_of(y)
    left, right = canonical_axes(name, tuple(axes[0]), a.ndim), canonical_axes(name, tuple(axes[1]), b.ndim)
    if len(left) != len(right) or any(a.shape[i] != b.shape[j] for i, j in zip(left, right, strict=True)):
        raise ShapeError(
            f"{name}: axes {tuple(axes[0])} of {a.shape} and {tuple(axes[1])} of {b.shape} do not pair: expected as many of each, of equal "
            f"sizes. Transpose one operand?{at(user_source())}"
        )
    return contract.dot_general(x, y, (left, right))


def cross(x: Any, y: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    """The cross products of vectors of 3 (or 2) elements; of two vectors of 2, the one element across: a scalar.

    Args:
        axisa, axisb, axisc: the axes of the vectors in `x`, in `y`, and in the result; `axis` sets all three.

    Example:
        >>> cross(np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])).tolist()
        [0.0, 0.0, 1.0]
    """
    axisa, axisb, axisc = (axisa, axisb, axisc) if axis is None else (axis, axis, axis)
    x, y = promote_operands("cross", x, y, broadcast=False)
    x, y = moveaxis(x, axisa, -1), moveaxis(y, axisb, -1)
    n, m = type_of(x).shape[-1], type_of(y).shape[-1]
    if n not in (2, 3) or m not in (2, 3):
        raise ShapeError(f"cross: vectors of {n} and {m} elements: expected 2 or 3.{at(user_source())}")
    lead = broadcast_shapes("cross", type_of(x).shape[:-1], type_of(y).shape[:-1])
    a = [s.reshape(s.slice_axis(v, len(lead), i, i + 1), lead) for v in (broadcast_to(x, (*lead, n)),) for i in range(n)]
    b = [s.reshape(s.slice_axis(v, len(lead), i, i + 1), lead) for v in (broadcast_to(y, (*lead, m)),) for i in range(m)]
    last = e.sub(e.mul(a[0], b[1]), e.mul(a[1], b[0]))
    if n == m == 2:
        return last
    if n == 2:
        parts = [e.mul(a[1], b[2]), e.neg(e.mul(a[0], b[2])), last]
    elif m == 2:
        parts = [e.neg(e.mul(a[2], b[1])), e.mul(a[2], b[0]), last]
    else:
        parts = [e.sub(e.mul(a[1], b[2]), e.mul(a[2], b[1])), e.sub(e.mul(a[2], b[0]), e.mul(a[0], b[2])), last]
    return moveaxis(s.concatenate([s.reshape(p, (*lead, 1)) for p in parts], len(lead)), -1, axisc)


def kron(x: Any, y: Any) -> Any:
    """The Kronecker product: `y` times each element of `x`, laid out where the element is.

    Example:
        >>> kron(np.array([1.0, 10.0]), np.array([1.0, 2.0])).tolist()
        [1.0, 2.0, 10.0, 20.0]
    """
    x, y = promote_operands("kron", x, y, broadcast=False)
    a, b = type_of(x).shape, type_of(y).shape
    rank = max(len(a), len(b))
    a, b = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    wide = tuple(n for pair in zip(a, b, strict=True) for n in pair)
    left = s.reshape(x, tuple(n for m in a for n in (m, 1)))
    right = s.reshape(y, tuple(n for m in b for n in (1, m)))
    y = multiply(broadcast_to(left, wide), broadcast_to(right, wide))
    return s.reshape(y, tuple(n * m for n, m in zip(a, b, strict=True)))


def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: None = None) -> Any:
    """The sum of a diagonal: of the elements with equal indices (shifted by `offset`) along two axes. Small integers as in `sum`."""
    x = diagonal(x, offset, axis1, axis2)
    t = type_of(x)
    if dtype is not None:
        x = to_dtype(x, dtypes.of(dtype))
    elif not dtypes.is_inexact(t.dtype) and (t.dtype == dtypes.bool_ or dtypes.bits(t.dtype) < 32):
        x = to_dtype(x, dtypes.int32 if t.dtype == dtypes.bool_ or dtypes.is_signed(t.dtype) else dtypes.uint32)
    return reduce_sum(x, (t.ndim - 1,))


def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The elements of `x` at (i, i + offset) along two axes, as a last axis.

    Example:
        >>> diagonal(np.arange(6.0).reshape(2, 3), 1).tolist()
        [1.0, 5.0]
    """
    x = as_operand(x)
    shape = type_of(x).shape
    if len(shape) < 2:
        raise ShapeError(f"diagonal: expected at least 2 axes, got shape {shape}.{at(user_source())}")
    i, j = canonical_axes("diagonal", (axis1, axis2), len(shape))
    rest = [a for a in range(len(shape)) if a not in (i, j)]
    lead = tuple(shape[a] for a in rest)
    rows, columns = shape[i], shape[j]
    low = max(-offset, 0)  # the first row
    count = max(min(rows - low, columns - max(offset, 0)), 0)
    flat = s.reshape(s.transpose(x, (*rest, i, j)), (*lead, rows * columns))
    start = low * columns + max(offset, 0)
    if count == 0:
        return s.slice_axis(flat, len(rest), 0, 0)
    return s.slice_axis(flat, len(rest), start, start + (count - 1) * (columns + 1) + 1, columns + 1)


__all__ = [
    "cross", "diagonal", "dot", "inner", "kron", "matmul", "matvec", "outer", "tensordot", "trace", "vdot", "vecdot", "vecmat",
]  # fmt: skip
