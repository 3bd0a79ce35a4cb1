"""Rearrangements under NumPy's names."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import shape as s

from .creation import as_shape
from .promote import as_operand, asarray, canonical_axes, canonical_axis, promote_operands, to_dtype


def shape(x: Any) -> tuple[int, ...]:
    """The size of `x` along each axis."""
    return type_of(as_operand(x)).shape


def ndim(x: Any) -> int:
    """The number of axes of `x`."""
    return len(shape(x))


def size(x: Any, axis: int | None = None) -> int:
    """The number of elements of `x`, or its size along one axis."""
    return math.prod(shape(x)) if axis is None else shape(x)[canonical_axis("size", axis, ndim(x))]


def reshape(x: Any, shape: Any, *rest: int) -> Any:
    """`x` in another shape, row-major; one size may be -1."""
    x = as_operand(x)
    size = type_of(x).size
    wanted = [int(n) for n in ((shape, *rest) if isinstance(shape, (int, np.integer)) else shape)]
    if wanted.count(-1) > 1 or any(n < -1 for n in wanted):
        raise ShapeError(f"reshape: at most one size may be -1, and none less; got {tuple(wanted)}.{at(user_source())}")
    if -1 in wanted:
        known = math.prod(n for n in wanted if n != -1)
        if known == 0 or size % known:
            raise ShapeError(
                f"reshape: cannot shape {type_of(x).shape} ({size} elements) as {tuple(wanted)}.{at(user_source())}"
            )
        wanted[wanted.index(-1)] = size // known
    return s.reshape(x, tuple(wanted))


def ravel(x: Any) -> Any:
    """`x` as one axis, row-major."""
    return reshape(x, (-1,)) if type_of(as_operand(x)).size else s.reshape(x, (0,))


def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """`x` with its axes permuted; reversed when `axes` is None."""
    x = as_operand(x)
    rank = type_of(x).ndim
    order = tuple(reversed(range(rank))) if axes is None else canonical_axes("transpose", tuple(axes), rank)
    return s.transpose(x, order)


permute_dims = transpose


def matrix_transpose(x: Any) -> Any:
    """`x` with its last two axes exchanged."""
    return swapaxes(x, -1, -2)


def swapaxes(x: Any, a: int, b: int) -> Any:
    """`x` with two axes exchanged."""
    x = as_operand(x)
    order = list(range(type_of(x).ndim))
    a, b = (canonical_axis("swapaxes", i, len(order)) for i in (a, b))
    order[a], order[b] = order[b], order[a]
    return s.transpose(x, tuple(order))


def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """`x` with axes moved to new places."""
    x = as_operand(x)
    rank = type_of(x).ndim
    src, dst = canonical_axes("moveaxis", source, rank), canonical_axes("moveaxis", destination, rank)
    if len(src) != len(dst):
        raise ShapeError(f"moveaxis: {len(src)} sources but {len(dst)} destinations.{at(user_source())}")
    order = [i for i in range(rank) if i not in src]
    for d, a in sorted(zip(dst, src, strict=True)):
        order.insert(d, a)
    return s.transpose(x, tuple(order))


def expand_dims(x: Any, axis: Any) -> Any:
    """`x` with new axes of size 1."""
    x = as_operand(x)
    shape = type_of(x).shape
    count = len(axis) if isinstance(axis, (tuple, list)) else 1
    axes = canonical_axes("expand_dims", axis, len(shape) + count)
    sizes = iter(shape)
    return s.reshape(x, tuple(1 if i in axes else next(sizes) for i in range(len(shape) + count)))


def squeeze(x: Any, axis: Any = None) -> Any:
    """`x` without axes of size 1: all of them, or those given."""
    x = as_operand(x)
    shape = type_of(x).shape
    axes = tuple(i for i, n in enumerate(shape) if n == 1) if axis is None else canonical_axes("squeeze", axis, len(shape))
    for a in axes:
        if shape[a] != 1:
            raise ShapeError(f"squeeze: axis {a} of shape {shape} has size {shape[a]}, not 1.{at(user_source())}")
    return s.reshape(x, tuple(n for i, n in enumerate(shape) if i not in axes))


def flip(x: Any, axis: Any = None) -> Any:
    """`x` reversed along the given axes, or all."""
    x = as_operand(x)
    return s.flip(x, canonical_axes("flip", axis, type_of(x).ndim))


def _parts(name: str, xs: Any) -> list[Any]:
    parts = list(xs) if isinstance(xs, (list, tuple)) else list(asarray(xs))
    if not parts:
        raise ShapeError(f"{name}: needs at least one array.{at(user_source())}")
    return promote_operands(name, *parts, broadcast=False)


def concatenate(xs: Any, axis: int | None = 0) -> Any:
    """Arrays joined along an axis (flattened first when it is None), in their promoted dtype."""
    parts = _parts("concatenate", xs)
    if axis is None:
        parts, axis = [ravel(x) for x in parts], 0
    if type_of(parts[0]).ndim == 0:
        raise ShapeError(f"concatenate: 0-d arrays have no axis to join along. Use stack.{at(user_source())}")
    return s.concatenate(parts, canonical_axis("concatenate", axis, type_of(parts[0]).ndim))


concat = concatenate


def stack(xs: Any, axis: int = 0) -> Any:
    """Arrays of one shape joined along a new axis."""
    parts = _parts("stack", xs)
    shapes = {type_of(x).shape for x in parts}
    if len(shapes) > 1:
        raise ShapeError(f"stack: shapes differ: {', '.join(map(str, sorted(shapes)))}.{at(user_source())}")
    axis = canonical_axis("stack", axis, type_of(parts[0]).ndim + 1)
    return s.concatenate([expand_dims(x, axis) for x in parts], axis)


def split(x: Any, sections: Any, axis: int = 0) -> list[Any]:
    """`x` cut along an axis into equal `sections`, or at the given indices."""
    x = as_operand(x)
    n = type_of(x).shape[axis := canonical_axis("split", axis, type_of(x).ndim)]
    if isinstance(sections, int):
        if sections <= 0 or n % sections:
            raise ShapeError(f"split: axis {axis} of size {n} does not divide into {sections} equal parts.{at(user_source())}")
        cuts = [n // sections * i for i in range(1, sections)]
    else:
        cuts = [min(int(c) % (n + 1) if c < 0 else int(c), n) for c in sections]
    edges = [0, *cuts, n]
    return [s.slice_axis(x, axis, a, max(a, b)) for a, b in itertools.pairwise(edges)]


def pad(x: Any, pad_width: Any, constant_values: Any = 0) -> Any:
    """`x` with constant margins: an int, (before, after), or a pair for each axis."""
    x = as_operand(x)
    t = type_of(x)
    widths = np.broadcast_to(np.asarray(pad_width, int), (t.ndim, 2)).tolist()
    if any(n < 0 for pair in widths for n in pair):
        raise ShapeError(f"pad: widths must not be negative, got {widths}. Slice to crop.{at(user_source())}")
    return s.pad(x, to_dtype(as_operand(constant_values), t.dtype), tuple((a, b, 0) for a, b in widths))


def tile(x: Any, reps: Any) -> Any:
    """`x` repeated whole, `reps` times along each axis."""
    x = as_operand(x)
    counts = as_shape("tile", reps)
    shape = type_of(x).shape
    rank = max(len(counts), len(shape))
    counts, shape = (1,) * (rank - len(counts)) + counts, (1,) * (rank - len(shape)) + shape
    wide = tuple(n for pair in zip(counts, shape, strict=True) for n in pair)
    y = s.broadcast(s.reshape(x, shape), wide, tuple(range(1, 2 * rank, 2)))
    return s.reshape(y, tuple(c * n for c, n in zip(counts, shape, strict=True)))


def repeat(x: Any, repeats: int, axis: int | None = None) -> Any:
    """`x` with each element repeated along an axis."""
    x = as_operand(x)
    if axis is None:
        x, axis = ravel(x), 0
    shape = type_of(x).shape
    axis = canonical_axis("repeat", axis, len(shape))
    y = s.broadcast(x, (*shape[: axis + 1], repeats, *shape[axis + 1 :]), tuple(i + (i > axis) for i in range(len(shape))))
    return s.reshape(y, (*shape[:axis], shape[axis] * repeats, *shape[axis + 1 :]))


def roll(x: Any, shift: int, axis: int | None = None) -> Any:
    """`x` shifted cyclically along an axis, or flattened when it is None."""
    x = as_operand(x)
    shape = type_of(x).shape
    if axis is None:
        return s.reshape(roll(ravel(x), shift, 0), shape)
    axis = canonical_axis("roll", axis, len(shape))
    n = shape[axis]
    k = shift % n if n else 0
    return s.concatenate([s.slice_axis(x, axis, n - k, n), s.slice_axis(x, axis, 0, n - k)], axis) if k else x
