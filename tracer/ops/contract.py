"""dot_general: sums of products over any axes of two operands, for any axes held in common.

Matrix products, inner and outer products, batched products and einsum are all this primitive.  It is bilinear, and closed under
transposition and batching: its derivatives are products again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..ir import Type, type_of
from ..primitive import Primitive, Tile, Undefined, Zero
from ..trace import bind
from .elementwise import add_tangents
from .reduce import working
from .rules import Dims, Shape, no_bool, shape_of, shifted
from .shape import inverse, transpose

Pair = tuple[Shape, Shape]
_SIDES = ("lhs", "rhs")


def free_axes(ndim: int, contract: Shape, batch: Shape) -> Shape:
    """The axes of an operand that are neither contracted nor batch axes, in order."""
    return tuple(i for i in range(ndim) if i not in contract and i not in batch)


def _check_pairs(a: Type, b: Type, contract: Pair, batch: Pair) -> None:
    for what, pair in (("contracting", contract), ("batch", batch)):
        if len(pair[0]) != len(pair[1]):
            raise ShapeError(f"dot_general: {what} axes {pair[0]} of lhs and {pair[1]} of rhs: expected equally many.")
    for side, t, axes in zip(_SIDES, (a, b), zip(contract, batch, strict=True), strict=True):
        named = (*axes[0], *axes[1])
        if any(not 0 <= i < t.ndim for i in named) or len(set(named)) != len(named):
            raise ShapeError(
                f"dot_general: contracting axes {axes[0]} and batch axes {axes[1]} of {side} {t.shape}: "
                f"expected axes from 0 to {t.ndim - 1}, each once."
            )
    for what, pair in (("contracting", contract), ("batch", batch)):
        for i, j in zip(*pair, strict=True):
            if a.shape[i] != b.shape[j]:
                raise ShapeError(
                    f"dot_general: {what} sizes differ: lhs {a.shape} axis {i} is {a.shape[i]}, "
                    f"rhs {b.shape} axis {j} is {b.shape[j]}. Transpose one operand?"
                )


def _abstract(a: Type, b: Type, *, contract: Pair, batch: Pair) -> Type:
    if a.dtype != b.dtype:
        raise DTypeError(f"dot_general: lhs has dtype {a.dtype.name}, rhs {b.dtype.name}. Convert one with .astype.")
    no_bool("dot_general", a.dtype)
    _check_pairs(a, b, contract, batch)
    shape = [a.shape[i] for i in batch[0]]
    for t, c, d in zip((a, b), contract, batch, strict=True):
        shape += [t.shape[i] for i in free_axes(t.ndim, c, d)]
    return Type(tuple(shape), a.dtype, a.weak and b.weak)


@np.errstate(all="ignore")
def _reference(a: np.ndarray, b: np.ndarray, *, contract: Pair, batch: Pair) -> np.ndarray:
    a_free, b_free = (free_axes(x.ndim, c, d) for x, c, d in zip((a, b), contract, batch, strict=True))
    shared, m, n = (tuple(x.shape[i] for i in axes) for x, axes in ((a, batch[0]), (a, a_free), (b, b_free)))
    k = math.prod(a.shape[i] for i in contract[0])
    left = working(a).transpose(*batch[0], *a_free, *contract[0]).reshape(*shared, math.prod(m), k)
    right = working(b).transpose(*batch[1], *contract[1], *b_free).reshape(*shared, k, math.prod(n))
    return np.asarray(np.matmul(left, right)).reshape((*shared, *m, *n)).astype(a.dtype)


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, contract: Pair, batch: Pair) -> tuple[Any, Any]:
    (a, b), (a_dot, b_dot) = primals, tangents
    y = dot_general(a, b, contract, batch)
    y_dot: Any = Zero(type_of(y))
    if not isinstance(a_dot, Zero):
        y_dot = dot_general(a_dot, b, contract, batch)
    if not isinstance(b_dot, Zero):
        y_dot = add_tangents(y_dot, dot_general(a, b_dot, contract, batch))
    return y, y_dot


def _transpose_one(ct: Any, ct_free: Shape, t: Type, own: Pair, known: Any, other: Pair) -> Any:
    """The cotangent of the operand of type `t`; `own` and `other` are the (contracting, batch) axes of it and of `known`."""
    shared = tuple(range(len(own[1])))
    k_free = free_axes(len(shape_of(known)), *other)
    bar = dot_general(ct, known, (ct_free, k_free), (shared, other[1]))
    # Its axes: batch, this operand's free axes, and the contracting ones in the order in which the other operand has them.
    order = [own[0][i] for i in np.argsort(other[0])]
    return transpose(bar, inverse((*own[1], *free_axes(t.ndim, *own), *order)))


def _transpose(ct: Any, a: Any, b: Any, *, contract: Pair, batch: Pair) -> tuple[Any, Any]:
    n_batch = len(batch[0])
    left, right = zip(contract, batch, strict=True)
    n_left = len(free_axes(len(type_of(a).shape), *left))
    split = n_batch + n_left
    if isinstance(a, Undefined):
        return _transpose_one(ct, tuple(range(split, len(shape_of(ct)))), a.type, left, b, right), None
    return None, _transpose_one(ct, tuple(range(n_batch, split)), b.type, right, a, left)


def _batch(size: int, xs: Sequence[Any], dims: Dims, *, contract: Pair, batch: Pair) -> tuple[Any, int]:
    (a, b), (i, j) = xs, dims
    moved_c: Pair = tuple(c if d is None else shifted(c, d) for c, d in zip(contract, dims, strict=True))  # type: ignore[assignment]
    moved_b: Pair = tuple(c if d is None else shifted(c, d) for c, d in zip(batch, dims, strict=True))  # type: ignore[assignment]
    if i is not None and j is not None:
        return dot_general(a, b, moved_c, ((i, *moved_b[0]), (j, *moved_b[1]))), 0
    # The lanes of one operand are one more free axis of it.
    y = dot_general(a, b, moved_c, moved_b)
    a_free = free_axes(len(shape_of(a)), moved_c[0], moved_b[0])
    if i is not None:
        return y, len(batch[0]) + a_free.index(i)
    assert j is not None
    return y, len(batch[0]) + len(a_free) + free_axes(len(shape_of(b)), moved_c[1], moved_b[1]).index(j)


dot_general_p = Primitive(
    "dot_general",
    abstract=_abstract,
    reference=_reference,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    lowering=Tile("matmul"),
    eager="compiled",
)


def dot_general(
    a: Any,
    b: Any,
    contract: tuple[Sequence[int], Sequence[int]],
    batch: tuple[Sequence[int], Sequence[int]] = ((), ()),
) -> Any:
    """The products of `a` and `b`, summed over the axes in `contract` = (axes of a, axes of b), matched along those in `batch`.

    Returns: an array of axes (batch, remaining axes of a, remaining axes of b), of the operands' dtype. float16 and bfloat16
    accumulate in float32.

    Raises: ShapeError where paired sizes differ; DTypeError where dtypes differ, or are bool.

    Example:
        >>> import numpy as np
        >>> x, w = np.ones((2, 3), np.float32), np.ones((3, 4), np.float32)
        >>> dot_general(x, w, ((1,), (0,))).shape  # the matrix product x @ w
        (2, 4)
    """
    pairs = [(tuple(left), tuple(right)) for left, right in (contract, batch)]
    return bind(dot_general_p, a, b, contract=pairs[0], batch=pairs[1])
