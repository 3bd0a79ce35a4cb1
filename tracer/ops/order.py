"""sort: several arrays reordered together along one axis, by the first few of them; top_k: the first few elements of that order.

Ascending and stable.  NaN comes last, and -0 equals +0.  Complex numbers are ordered by their real, then their imaginary parts; those
with a NaN come after all others: first where only the imaginary part is one, then the real part, then both (NumPy's order).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import DTypeError, ShapeError
from ..ir import Type, type_of
from ..primitive import Primitive, Tile, Zero
from ..trace import bind
from .index import take_along
from .reduce import working
from .rules import Dims, check_axes, shape_of, to_front
from .shape import iota


def _abstract(*xs: Type, axis: int, num_keys: int) -> tuple[Type, ...]:
    if not 1 <= num_keys <= len(xs):
        raise ShapeError(f"sort: num_keys = {num_keys} for {len(xs)} operands: expected 1 to {len(xs)}.")
    check_axes("sort", (axis,), xs[0].ndim, xs[0].shape)
    for i, x in enumerate(xs):
        if x.shape != xs[0].shape:
            raise ShapeError(f"sort: operand 0 has shape {xs[0].shape}, operand {i} {x.shape}: expected one shape.")
    return xs


def _reference(*xs: np.ndarray, axis: int, num_keys: int) -> tuple[np.ndarray, ...]:
    # lexsort's last key is its first; it is stable, and puts NaN last.
    order = np.lexsort([k for x in xs[num_keys - 1 :: -1] for k in _keys(x)], axis=axis)
    return tuple(np.take_along_axis(x, order, axis) for x in xs)


def _keys(x: np.ndarray) -> list[np.ndarray]:
    """The real keys of an operand, the last one first."""
    if not dtypes.is_complex(x.dtype):
        return [working(x)]
    return [x.imag, x.real, 2 * np.isnan(x.real) + np.isnan(x.imag)]


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, axis: int, num_keys: int) -> tuple[list[Any], list[Any]]:
    if all(isinstance(t, Zero) for t in tangents):
        ys = sort(primals, axis, num_keys)
        return ys, [Zero(type_of(y)) for y in ys]
    shape = shape_of(primals[0])
    place = iota(shape, index_dtype(shape[axis]), axis)
    *ys, order = sort([*primals, place], axis, num_keys)
    dots = [Zero(type_of(y)) if isinstance(t, Zero) else take_along(t, order, axis) for t, y in zip(tangents, ys, strict=True)]
    return ys, dots


def _batch(size: int, xs: Sequence[Any], dims: Dims, *, axis: int, num_keys: int) -> tuple[list[Any], list[int]]:
    moved = [to_front(size, x, d) for x, d in zip(xs, dims, strict=True)]
    return sort(moved, axis + 1, num_keys), [0] * len(xs)


sort_p = Primitive(
    "sort",
    abstract=_abstract,
    reference=_reference,
    jvp=_jvp,
    batch=_batch,
    lowering=Tile("sort"),
    multiple=True,
    eager="exact",
)


def sort(xs: Sequence[Any], axis: int, num_keys: int = 1) -> list[Any]:
    """The operands, reordered along `axis` so that the first `num_keys` ascend lexicographically; equals keep their order.

    Raises: ShapeError where shapes differ.
    """
    outs: list[Any] = bind(sort_p, *xs, axis=axis, num_keys=num_keys)
    return outs


# --- the extreme elements -------------------------------------------------------------------------


def index_dtype(n: int) -> dtypes.DType:
    """The dtype of positions in an axis of n elements."""
    return dtypes.int32 if n < 2**31 else dtypes.int64


def _top_abstract(x: Type, *, axis: int, k: int, largest: bool) -> tuple[Type, Type]:
    check_axes("top_k", (axis,), x.ndim, x.shape)
    if dtypes.is_complex(x.dtype):
        raise DTypeError(f"top_k: {dtypes.SHORT[x.dtype]} has no order. Take the k largest of real numbers, such as abs(x).")
    n = x.shape[axis]
    if not 0 <= k <= n:
        raise ShapeError(f"top_k: k = {k} for axis {axis} of size {n} of an operand of shape {x.shape}: expected 0 to {n}.")
    shape = (*x.shape[:axis], k, *x.shape[axis + 1 :])
    return Type(shape, x.dtype, x.weak), Type(shape, index_dtype(n))


def _top_reference(x: np.ndarray, *, axis: int, k: int, largest: bool) -> tuple[np.ndarray, np.ndarray]:
    n = x.shape[axis]
    if largest:  # sorted from the end and read backwards, equal elements keep their order
        backwards = np.lexsort(_keys(np.flip(x, axis)), axis=axis)
        order = n - 1 - np.flip(backwards, axis)
    else:
        order = np.lexsort(_keys(x), axis=axis)
    order = np.take(order, range(k), axis)
    return np.take_along_axis(x, order, axis), order.astype(index_dtype(n))


def _top_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, axis: int, k: int, largest: bool
) -> tuple[list[Any], list[Any]]:
    (x,), (x_dot,) = primals, tangents
    y, places = top_k(x, k, axis, largest)
    return [y, places], [take_along(x_dot, places, axis), Zero(type_of(places))]


def _top_batch(
    size: int, xs: Sequence[Any], dims: Dims, *, axis: int, k: int, largest: bool
) -> tuple[list[Any], list[int]]:
    return list(top_k(to_front(size, xs[0], dims[0]), k, axis + 1, largest)), [0, 0]


top_k_p = Primitive(
    "top_k",
    abstract=_top_abstract,
    reference=_top_reference,
    jvp=_top_jvp,
    batch=_top_batch,
    lowering=Tile("sort"),
    multiple=True,
    eager="exact",
)


def top_k(x: Any, k: int, axis: int, largest: bool = True) -> tuple[Any, Any]:
    """The k largest elements along `axis` in descending order (the k smallest, ascending), and their indices (int32).

    Of equal elements the first one comes first. NaN counts as larger than every number.

    Raises: ShapeError for a k that the axis does not have; DTypeError for complex numbers.
    """
    y, places = bind(top_k_p, x, axis=axis, k=k, largest=largest)
    return y, places
