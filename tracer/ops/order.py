"""sort: several arrays reordered together along one axis, by the first few of them.

Ascending and stable.  NaN comes last, and -0 equals +0.  Complex numbers are ordered by their real, then their imaginary parts; those
with a NaN come after all others: first where only the imaginary part is one, then the real part, then both (NumPy's order).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import ShapeError
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
    place = iota(shape, dtypes.int32 if shape[axis] < 2**31 else dtypes.int64, axis)
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
    eager="compiled",
)


def sort(xs: Sequence[Any], axis: int, num_keys: int = 1) -> list[Any]:
    """The operands, reordered along `axis` so that the first `num_keys` ascend lexicographically; equals keep their order.

    Raises: ShapeError where shapes differ.
    """
    outs: list[Any] = bind(sort_p, *xs, axis=axis, num_keys=num_keys)
    return outs
