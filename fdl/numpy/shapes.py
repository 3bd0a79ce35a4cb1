"""Rearrangements under NumPy's names: reshape, transpose, new and dropped axes, flips, broadcasting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fdl.tracer.array import ArrayBase
from fdl.tracer.errors import ConcretizationError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import shape as s

from .promote import as_operand, asarray, broadcast_to, canonical_axes, canonical_axis, known_size
from .promote import broadcast_shapes as common_shape

# --- sizes ----------------------------------------------------------------------------------------


def shape(a: Any) -> tuple[int, ...]:
    """The size of `a` along each axis."""
    return type_of(as_operand(a)).shape


def ndim(a: Any) -> int:
    """The number of axes of `a`."""
    return len(shape(a))


def size(a: Any, axis: int | None = None) -> int:
    """The number of elements of `a`, or its size along one axis."""
    return math.prod(shape(a)) if axis is None else shape(a)[canonical_axis("size", axis, ndim(a))]


# --- reshape --------------------------------------------------------------------------------------


def reshape(a: Any, shape: Any, order: str = "C", *, copy: bool | None = None) -> Any:
    """`a` in another shape, row-major (column-major with order "F"); one size may be -1.

    Example:
        >>> reshape([[1, 2], [3, 4]], (-1,)).tolist()
        [1, 2, 3, 4]
    """
    a = as_operand(a)
    if order not in ("C", "F"):
        raise ShapeError(f"reshape: order {order!r}: expected 'C' or 'F'.{at(user_source())}")
    size = type_of(a).size
    single = isinstance(shape, (int, np.integer)) or (isinstance(shape, ArrayBase) and not shape.shape)
    try:
        wanted = [known_size("reshape", n) for n in ((shape,) if single else shape)]
    except ConcretizationError:
        raise
    except TypeError:
        raise ShapeError(f"reshape: expected a shape of ints, got {shape!r}.{at(user_source())}") from None
    if wanted.count(-1) > 1 or any(n < -1 for n in wanted):
        raise ShapeError(f"reshape: at most one size may be -1, and none less; got {tuple(wanted)}.{at(user_source())}")
    if -1 in wanted:
        known = math.prod(n for n in wanted if n != -1)
        if known == 0 or size % known:
            raise ShapeError(
                f"reshape: an operand of shape {type_of(a).shape} has {size} elements, which do not fill the shape {tuple(wanted)}: "
                f"expected a multiple of {known}.{at(user_source())}"
            )
        wanted[wanted.index(-1)] = size // known
    if order == "F":
        return transpose(s.reshape(transpose(a), tuple(reversed(wanted))))
    return asarray(s.reshape(a, tuple(wanted)), copy=copy or None)


def ravel(a: Any, order: str = "C") -> Any:
    """`a` as one axis, row-major (column-major with order "F")."""
    a = as_operand(a)
    return reshape(a, (type_of(a).size,), order=order)


# --- axes -----------------------------------------------------------------------------------------


def transpose(a: Any, axes: Sequence[int] | None = None) -> Any:
    """`a` with its axes permuted; reversed when `axes` is None."""
    a = as_operand(a)
    rank = type_of(a).ndim
    order = tuple(reversed(range(rank))) if axes is None else canonical_axes("transpose", tuple(axes), rank)
    return asarray(s.transpose(a, order))


def permute_dims(x: Any, /, axes: Sequence[int]) -> Any:
    """`x` with its axes permuted: axis i of the result is axis `axes[i]` of `x`."""
    return transpose(x, axes)


def matrix_transpose(x: Any, /) -> Any:
    """`x` with its last two axes exchanged.

    Raises: ShapeError where `x` has fewer than two.
    """
    x = as_operand(x)
    if type_of(x).ndim < 2:
        raise ShapeError(f"matrix_transpose: expected matrices, got shape {type_of(x).shape}.{at(user_source())}")
    return swapaxes(x, -1, -2)


def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    """`a` with two axes exchanged."""
    a = as_operand(a)
    order = list(range(type_of(a).ndim))
    i, j = (canonical_axis("swapaxes", n, len(order)) for n in (axis1, axis2))
    order[i], order[j] = order[j], order[i]
    return asarray(s.transpose(a, tuple(order)))


def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    """`a` with axes moved to new places."""
    a = as_operand(a)
    rank = type_of(a).ndim
    src, dst = canonical_axes("moveaxis", source, rank), canonical_axes("moveaxis", destination, rank)
    if len(src) != len(dst):
        raise ShapeError(
            f"moveaxis: {len(src)} sources but {len(dst)} destinations: expected as many of each.{at(user_source())}"
        )
    order = [i for i in range(rank) if i not in src]
    for d, i in sorted(zip(dst, src, strict=True)):
        order.insert(d, i)
    return asarray(s.transpose(a, tuple(order)))


def expand_dims(a: Any, axis: Any = 0) -> Any:
    """`a` with new axes of size 1, at the places `axis` (an int or several) of the result.

    Raises: AxisError, which is an IndexError, for a place that the result does not have.
    """
    a = as_operand(a)
    shape = type_of(a).shape
    count = len(axis) if isinstance(axis, (tuple, list)) else 1
    axes = canonical_axes("expand_dims", axis, len(shape) + count)
    sizes = iter(shape)
    return asarray(s.reshape(a, tuple(1 if i in axes else next(sizes) for i in range(len(shape) + count))))


def squeeze(a: Any, axis: Any = None) -> Any:
    """`a` without axes of size 1: all of them, or those given.

    Raises: ShapeError where one that is given has another size.
    """
    a = as_operand(a)
    shape = type_of(a).shape
    axes = tuple(i for i, n in enumerate(shape) if n == 1) if axis is None else canonical_axes("squeeze", axis, len(shape))
    for i in axes:
        if shape[i] != 1:
            raise ShapeError(f"squeeze: axis {i} of shape {shape} has size {shape[i]}, expected 1.{at(user_source())}")
    return asarray(s.reshape(a, tuple(n for i, n in enumerate(shape) if i not in axes)))


def _at_least(rank: int, x: Any) -> Any:
    x = as_operand(x)
    shape = type_of(x).shape
    front = {0: 1, 1: 1, 2: 0}.get(len(shape), 0) if rank == 3 else rank - len(shape)
    wide = (1,) * max(front, 0) + shape
    return asarray(s.reshape(x, wide + (1,) * max(rank - len(wide), 0)))


def atleast_1d(*xs: Any) -> Any:
    """Each operand with at least one axis; a list of them when there are several."""
    out = [_at_least(1, x) for x in xs]
    return out[0] if len(out) == 1 else out


def atleast_2d(*xs: Any) -> Any:
    """Each operand with at least two axes, new ones in front; a list of them when there are several."""
    out = [_at_least(2, x) for x in xs]
    return out[0] if len(out) == 1 else out


def atleast_3d(*xs: Any) -> Any:
    """Each operand with at least three axes, as NumPy places them; a list of them when there are several."""
    out = [_at_least(3, x) for x in xs]
    return out[0] if len(out) == 1 else out


# --- flips and turns ------------------------------------------------------------------------------


def flip(m: Any, axis: Any = None) -> Any:
    """`m` reversed along the given axes, or all."""
    m = as_operand(m)
    return asarray(s.flip(m, canonical_axes("flip", axis, type_of(m).ndim)))


def fliplr(m: Any) -> Any:
    """`m` reversed along axis 1."""
    return flip(m, 1)


def flipud(m: Any) -> Any:
    """`m` reversed along axis 0."""
    return flip(m, 0)


def rot90(m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    """`m` turned by `k` right angles in the plane of two axes, from the first towards the second."""
    m = as_operand(m)
    a, b = canonical_axes("rot90", tuple(axes), type_of(m).ndim)
    match k % 4:
        case 0:
            return asarray(m)
        case 1:
            return swapaxes(flip(m, b), a, b)
        case 2:
            return flip(m, (a, b))
        case _:
            return flip(swapaxes(m, a, b), b)


# --- broadcasting ---------------------------------------------------------------------------------


def broadcast_arrays(*arrays: Any) -> list[Any]:
    """The arrays, each broadcast to their common shape; dtypes stay.

    Raises: ShapeError where they have none.
    """
    operands = [as_operand(x, f"broadcast_arrays: array {i}") for i, x in enumerate(arrays)]
    target = common_shape("broadcast_arrays", *(type_of(x).shape for x in operands))
    return [asarray(broadcast_to(x, target)) for x in operands]


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The common shape of shapes, by NumPy's rule."""
    return common_shape("broadcast_shapes", *((n,) if isinstance(n, int) else tuple(n) for n in shapes))


__all__ = [
    "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_arrays", "broadcast_shapes", "expand_dims", "flip", "fliplr", "flipud",
    "matrix_transpose", "moveaxis", "ndim", "permute_dims", "ravel", "reshape", "rot90", "shape", "size", "squeeze", "swapaxes",
    "transpose",
]  # fmt: skip
