"""Norms, condition numbers and ranks.

The derivative of a Euclidean norm at 0 is 0 (and that of other p-norms), not NaN: see docs/conventions.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import spectral
from fdl.tracer.ops.complex import imag, real
from fdl.tracer.ops.reduce import reduce_max, reduce_min, reduce_sum
from fdl.tracer.ops.rules import shape_of
from fdl.tracer.ops.shape import broadcast, reshape, transpose

from ..promote import asarray, canonical_axes, promote_operands
from .operands import matrices
from .solving import inv


def _inexact(name: str, x: Any) -> Any:
    return asarray(promote_operands(name, x, inexact=True)[0])


def _kept(y: Any, shape: Sequence[int], axes: Sequence[int], keepdims: bool) -> Any:
    return reshape(y, tuple(1 if i in axes else n for i, n in enumerate(shape))) if keepdims else y


def _squares(x: Any) -> Any:
    """|x|²."""
    if dtypes.is_complex(type_of(x).dtype):
        re, im = real(x), imag(x)
        return e.add(e.mul(re, re), e.mul(im, im))
    return e.mul(x, x)


def _root(total: Any, f: Any = e.sqrt) -> Any:
    """`f` of a sum that is not negative, f(0) = 0, with derivative 0 where the sum is 0."""
    zero, one = e.scalar_like(0, total), e.scalar_like(1, total)
    nothing = e.eq(total, zero)
    return e.select(nothing, zero, f(e.select(nothing, one, total)))


def _extremum(function: Any, name: str, x: Any, axes: tuple[int, ...]) -> Any:
    if any(shape_of(x)[i] == 0 for i in axes):
        raise ShapeError(f"{name}: the axes {axes} of shape {shape_of(x)} are empty: there is no extremum.{at(user_source())}")
    return function(x, axes)


def _exponent(value: float, x: Any) -> Any:
    """A scalar of the dtype of `x`: an infinity where that has no number so large, as for 1 / ord with a tiny `ord`."""
    with np.errstate(over="ignore"):
        return e.scalar_like(value, x)


def _over(x: Any, axes: tuple[int, ...], ord: Any) -> Any:
    """The vector norm over `axes`, which go away."""
    if ord == 2:
        return _root(reduce_sum(_squares(x), axes))
    size = e.abs(x)
    if ord == math.inf:
        empty = any(shape_of(x)[i] == 0 for i in axes)
        return reduce_sum(size, axes) if empty else reduce_max(size, axes)
    if ord == -math.inf:
        return _extremum(reduce_min, "vector_norm", size, axes)
    if ord == 0:
        return reduce_sum(e.convert(e.ne(size, e.scalar_like(0, size)), type_of(size).dtype), axes)
    if ord == 1:
        return reduce_sum(size, axes)
    power, inverse = _exponent(float(ord), size), _exponent(1 / float(ord), size)
    if ord < 0:
        return e.pow(reduce_sum(e.pow(size, power), axes), inverse)
    total = reduce_sum(_root(size, lambda v: e.pow(v, power)), axes)
    return _root(total, lambda v: e.pow(v, inverse))


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Any:
    """The norm (Σ |x|^ord)^(1 / ord) over `axis` (an int, several, or None: all elements as one vector).

    Args:
        ord: any number; inf and -inf give the largest and the smallest absolute value, 0 the number of elements that are not 0.

    Raises: ShapeError for an empty vector when `ord` is -inf.

    Example:
        >>> float(vector_norm([3.0, 4.0]))
        5.0
    """
    x = _inexact("vector_norm", x)
    axes = canonical_axes("vector_norm", axis, type_of(x).ndim)
    if isinstance(ord, str):
        raise ShapeError(f"vector_norm: ord {ord!r}, expected a number.{at(user_source())}")
    return _kept(_over(x, axes, ord), type_of(x).shape, axes, keepdims)


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """The norms of matrices (..., m, n): "fro" (of all elements), "nuc" (sum of singular values), 2 and -2 (largest and smallest singular
    value), 1 and -1 (largest and smallest sum of a column's absolute values), inf and -inf (of a row's).

    Raises: ShapeError for another `ord`.
    """
    x = _inexact("matrix_norm", x)
    rank = type_of(x).ndim
    if rank < 2:
        raise ShapeError(f"matrix_norm: the operand has shape {type_of(x).shape}, expected (..., m, n).{at(user_source())}")
    axes = (rank - 2, rank - 1)
    return _kept(_matrix_norm(x, ord), type_of(x).shape, axes, keepdims)


def _matrix_norm(x: Any, ord: Any) -> Any:
    rank = type_of(x).ndim
    axes = (rank - 2, rank - 1)
    if ord == "fro":
        return _over(x, axes, 2)
    if ord in ("nuc", 2, -2):
        (a,) = matrices("matrix_norm", x)
        (s,) = spectral.svd(a, compute_uv=False)
        if ord == "nuc" or 0 in shape_of(s)[-1:]:
            return reduce_sum(s, (rank - 2,))
        return (reduce_max if ord == 2 else reduce_min)(s, (rank - 2,))
    if ord in (1, -1, math.inf, -math.inf):
        inner, outer = (axes[1], axes[0]) if abs(ord) == math.inf else axes
        sums = reduce_sum(e.abs(x), (inner,))
        if shape_of(x)[outer] == 0 and ord > 0:
            return reduce_sum(sums, (rank - 2,))
        return _extremum(reduce_max if ord > 0 else reduce_min, "matrix_norm", sums, (rank - 2,))
    raise ShapeError(
        f"matrix_norm: ord {ord!r}, expected 'fro', 'nuc', 1, -1, 2, -2, inf or -inf.{at(user_source())}"
    )  # fmt: skip


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """NumPy's norm: of a vector along one axis, of a matrix along two, or of all elements.

    Args:
        ord: None is the Euclidean norm of the elements. Others as for `vector_norm` (one axis) or `matrix_norm` (two axes).
        axis: by default all axes, as one vector when `ord` is None, else as they are: one or two.

    Raises: ShapeError for an `ord` or a number of axes that do not fit.

    The derivative at 0 is 0.
    """
    x = _inexact("norm", x)
    t = type_of(x)
    if axis is None and ord is None:
        return _kept(_over(x, tuple(range(t.ndim)), 2), t.shape, tuple(range(t.ndim)), keepdims)
    given = tuple(range(t.ndim)) if axis is None else (axis,) if isinstance(axis, (int, np.integer)) else tuple(axis)
    axes = canonical_axes("norm", given, t.ndim)
    if len(axes) == 1:
        return vector_norm(x, axis=axes, keepdims=keepdims, ord=2 if ord is None else ord)
    if len(axes) != 2:
        raise ShapeError(f"norm: {len(axes)} axes of an array of shape {t.shape}: expected one or two.{at(user_source())}")
    rest = tuple(i for i in range(t.ndim) if i not in axes)
    y = _matrix_norm(transpose(x, (*rest, *axes)), "fro" if ord is None else ord)
    return _kept(y, t.shape, axes, keepdims)


def cond(x: Any, p: Any = None) -> Any:
    """The condition numbers of matrices (..., m, n): norm(x) · norm(inverse) in the norm `p` (as in `matrix_norm`).

    By default, and for 2 and -2, the ratio of the extreme singular values, for any matrix; else `x` is square.
    """
    (a,) = matrices("cond", x, square=p not in (None, 2, -2))
    rank = type_of(a).ndim
    if p in (None, 2, -2):
        (s,) = spectral.svd(a, compute_uv=False)
        if 0 in shape_of(s)[-1:]:
            raise ShapeError(f"cond: the operand has shape {type_of(a).shape}: an empty matrix has none.{at(user_source())}")
        high, low = reduce_max(s, (rank - 2,)), reduce_min(s, (rank - 2,))
        found = e.div(low, high) if p == -2 else e.div(high, low)
    else:
        found = e.mul(_matrix_norm(a, p), _matrix_norm(inv(a), p))
    # 0 / 0 and inf · 0 of a finite matrix: it is singular.
    entire = reduce_min(e.convert(e.is_finite(e.abs(a)), dtypes.int32), (rank - 2, rank - 1))
    singular = e.logical_and(e.ne(found, found), e.eq(entire, np.int32(1)))
    return e.select(singular, e.scalar_like(math.inf, found), found)


def matrix_rank(M: Any, rtol: Any = None, tol: Any = None, hermitian: bool = False) -> Any:
    """The number of singular values of matrices (..., m, n) that are greater than `rtol` times the largest: int32 (...).

    Args:
        rtol: an array (...) or a number; by default max(m, n) · eps.
        tol: an absolute limit instead.
    """
    (a,) = matrices("matrix_rank", M, square=hermitian)
    t = type_of(a)
    (s,) = spectral.svd(e.stop_gradient(a), compute_uv=False)
    if 0 in shape_of(s)[-1:]:
        return e.convert(reduce_sum(s, (t.ndim - 2,)), dtypes.int32)
    real_dtype = dtypes.real_of(t.dtype)
    if tol is not None:
        limit = e.convert(asarray(tol), real_dtype)
    else:
        given = max(*t.shape[-2:]) * float(np.finfo(real_dtype).eps) if rtol is None else rtol
        scale = e.convert(asarray(given), real_dtype)
        largest = reduce_max(s, (t.ndim - 2,))
        limit = e.mul(largest, broadcast(scale, shape_of(largest), tuple(range(len(shape_of(scale))))))
    full = broadcast(limit, shape_of(s), tuple(range(len(shape_of(limit)))))
    return reduce_sum(e.convert(e.gt(s, full), dtypes.int32), (t.ndim - 2,))
