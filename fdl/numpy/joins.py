"""Arrays joined, cut and repeated under NumPy's names."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.errors import ConcretizationError, DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import index as ix
from fdl.tracer.ops import reduce as r
from fdl.tracer.ops import shape as s

from .creation import as_shape
from .promote import as_operand, asarray, canonical_axes, canonical_axis, promote_operands, to_dtype
from .shapes import atleast_1d, atleast_2d, atleast_3d, expand_dims, ravel
from .static import known, need_int

# --- joining --------------------------------------------------------------------------------------


def _parts(name: str, xs: Any, dtype: Any = None) -> list[Any]:
    parts = list(xs) if isinstance(xs, (list, tuple)) else unstack(xs) if type_of(as_operand(xs)).ndim else []
    if not parts:
        raise ShapeError(f"{name}: needs at least one array.{at(user_source())}")
    out = promote_operands(name, *parts, broadcast=False)
    return out if dtype is None else [to_dtype(x, dtypes.of(dtype)) for x in out]


def concat(arrays: Any, axis: int | None = 0, dtype: Any = None) -> Any:
    """Arrays joined along an axis (flattened first when it is None), in their promoted dtype.

    Raises: ShapeError where the other sizes differ.

    Example:
        >>> concat([[1, 2], [3.5]]).tolist()
        [1.0, 2.0, 3.5]
    """
    parts = _parts("concat", arrays, dtype)
    if axis is None:
        parts, axis = [ravel(x) for x in parts], 0
    first = type_of(parts[0])
    if first.ndim == 0:
        raise ShapeError(f"concat: 0-d arrays have no axis to join along. Use stack.{at(user_source())}")
    axis = canonical_axis("concat", axis, first.ndim)
    return asarray(s.concatenate(parts, axis))


concatenate = concat


def stack(arrays: Any, axis: int = 0, dtype: Any = None) -> Any:
    """Arrays of one shape joined along a new axis, in their promoted dtype."""
    parts = _parts("stack", arrays, dtype)
    shapes = {type_of(x).shape for x in parts}
    if len(shapes) > 1:
        raise ShapeError(
            f"stack: shapes differ: {', '.join(map(str, sorted(shapes)))}, expected one shape. Use concatenate to join along an axis "
            f"that is there.{at(user_source())}"
        )
    axis = canonical_axis("stack", axis, type_of(parts[0]).ndim + 1)
    return s.concatenate([expand_dims(x, axis) for x in parts], axis)


def hstack(tup: Any, dtype: Any = None) -> Any:
    """Arrays joined along axis 1, or axis 0 where they are 1-D."""
    parts = [atleast_1d(x) for x in _parts("hstack", tup, dtype)]
    return concat(parts, 0 if type_of(parts[0]).ndim == 1 else 1)


def vstack(tup: Any, dtype: Any = None) -> Any:
    """Arrays, of at least two axes each (1-D ones are rows), joined along axis 0."""
    return concat([atleast_2d(x) for x in _parts("vstack", tup, dtype)], 0)


def dstack(tup: Any, dtype: Any = None) -> Any:
    """Arrays, of at least three axes each, joined along axis 2."""
    return concat([atleast_3d(x) for x in _parts("dstack", tup, dtype)], 2)


def column_stack(tup: Any) -> Any:
    """1-D arrays as the columns of a matrix; matrices are joined along axis 1."""
    parts = _parts("column_stack", tup)
    return concat([atleast_2d(x) if type_of(x).ndim > 1 else expand_dims(atleast_1d(x), 1) for x in parts], 1)


# --- cutting --------------------------------------------------------------------------------------


def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """`ary` cut along an axis into equal `indices_or_sections`, or at the given indices.

    Raises: ShapeError where the axis does not divide into them: see `array_split`.
    """
    ary = as_operand(ary)
    n = type_of(ary).shape[axis := canonical_axis("split", axis, type_of(ary).ndim)]
    if isinstance(indices_or_sections, (int, np.integer)) and (indices_or_sections <= 0 or n % indices_or_sections):
        raise ShapeError(
            f"split: axis {axis} of size {n} does not divide into {indices_or_sections} equal parts. Use array_split.{at(user_source())}"
        )
    return array_split(ary, indices_or_sections, axis)


def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """`ary` cut along an axis: into a number of sections whose sizes differ by 1 at most, larger ones first, or at indices."""
    ary = as_operand(ary)
    n = type_of(ary).shape[axis := canonical_axis("array_split", axis, type_of(ary).ndim)]
    if isinstance(indices_or_sections, (int, np.integer)):
        if indices_or_sections <= 0:
            raise ShapeError(f"array_split: expected at least one section, got {indices_or_sections}.{at(user_source())}")
        size, larger = divmod(n, int(indices_or_sections))
        cuts = [size * i + min(i, larger) for i in range(1, indices_or_sections)]
    else:
        try:
            given = list(indices_or_sections)
        except TypeError:
            raise ShapeError(
                f"array_split: expected a number of sections, or a sequence of indices, got {indices_or_sections!r}.{at(user_source())}"
            ) from None
        places = [need_int("array_split", "an index", c) for c in given]
        cuts = [min(max(c + n * (c < 0), 0), n) for c in places]
    edges = [0, *cuts, n]
    return [asarray(s.slice_axis(ary, axis, a, max(a, b))) for a, b in itertools.pairwise(edges)]


def unstack(x: Any, /, axis: int = 0) -> tuple[Any, ...]:
    """The slices of `x` along an axis, without it.

    Example:
        >>> [row.tolist() for row in unstack([[1, 2], [3, 4]])]
        [[1, 2], [3, 4]]
    """
    x = as_operand(x)
    shape = type_of(x).shape
    axis = canonical_axis("unstack", axis, len(shape))
    rest = shape[:axis] + shape[axis + 1 :]
    return tuple(asarray(s.reshape(s.slice_axis(x, axis, i, i + 1), rest)) for i in range(shape[axis]))


# --- repeating ------------------------------------------------------------------------------------


def tile(A: Any, reps: Any) -> Any:
    """`A` repeated whole, `reps` times along each axis."""
    A = as_operand(A)
    counts = as_shape("tile", reps)
    shape = type_of(A).shape
    rank = max(len(counts), len(shape))
    counts, shape = (1,) * (rank - len(counts)) + counts, (1,) * (rank - len(shape)) + shape
    wide = tuple(n for pair in zip(counts, shape, strict=True) for n in pair)
    y = s.broadcast(s.reshape(A, shape), wide, tuple(range(1, 2 * rank, 2)))
    return asarray(s.reshape(y, tuple(c * n for c, n in zip(counts, shape, strict=True))))


def repeat(a: Any, repeats: Any, axis: int | None = None, *, total_repeat_length: int | None = None) -> Any:
    """`a` with each element repeated along an axis, or flattened when it is None.

    Args:
        repeats: how often: an integer, or integers for each element, which must be known, unless
        total_repeat_length: the size of the result is given: what is beyond it is dropped, the last element fills up.

    Raises: ConcretizationError for traced `repeats` without `total_repeat_length`.

    Example:
        >>> repeat([1, 2, 3], [2, 0, 1]).tolist()
        [1, 1, 3]
    """
    a = as_operand(a)
    if axis is None:
        a, axis = ravel(a), 0
    shape = type_of(a).shape
    axis = canonical_axis("repeat", axis, len(shape))
    n = shape[axis]
    counts = as_operand(repeats, "repeat: repeats")
    t = type_of(counts)
    if not dtypes.is_int(t.dtype) and t.dtype != dtypes.bool_:
        raise DTypeError(f"repeat: repeats must be integers, got {t}.{at(user_source())}")
    if t.ndim > 1 or (t.ndim == 1 and t.shape[0] not in (1, n)):
        raise ShapeError(
            f"repeat: repeats of shape {t.shape} for an axis of size {n}: expected () or ({n},).{at(user_source())}"
        )
    value = known(counts)
    if value is None and total_repeat_length is None:
        raise ConcretizationError(
            f"repeat: the repeats are traced, and the size of the result depends on them. Give total_repeat_length=.{at(user_source())}"
        )
    if value is not None and (value < 0).any():
        raise ShapeError(f"repeat: repeats must not be negative, got {value.min()}.{at(user_source())}")
    if total_repeat_length is None:
        assert value is not None
        if value.size == 1:
            k = int(value.reshape(()))
            y = s.broadcast(a, (*shape[: axis + 1], k, *shape[axis + 1 :]), tuple(i + (i > axis) for i in range(len(shape))))
            return asarray(s.reshape(y, (*shape[:axis], n * k, *shape[axis + 1 :])))
        source: Any = np.repeat(np.arange(n, dtype=np.int32), value.astype(np.int64))  # uint64 too, which NumPy does not take
    else:
        source = _sources(counts, n, total_repeat_length)
    y = ix.gather(a, s.reshape(source, (type_of(source).size, 1)), axes=(axis,), mode="clip") if type_of(source).size else None
    if y is None:
        return asarray(s.slice_axis(a, axis, 0, 0))
    order = [*range(1, axis + 1), 0, *range(axis + 1, len(shape))]
    return s.transpose(y, tuple(order))


def _sources(counts: Any, n: int, total: int) -> Any:
    """For each of `total` places, the element that is repeated there: how many elements have ended before it."""
    counts = s.broadcast(s.reshape(to_dtype(counts, dtypes.int32), (type_of(counts).size,)), (n,), (0,))
    ends = r.cumsum(asarray(counts), 0)
    marks = ix.scatter(
        np.zeros(total, np.int32), s.reshape(ends, (n, 1)), np.ones(n, np.int32), axes=(0,), mode="drop", op="add"
    )
    return e.min(r.cumsum(marks, 0), np.int32(max(n - 1, 0)))


def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """`a` shifted cyclically along axes, or flattened when `axis` is None; `shift` is an int, or one for each axis.

    Example:
        >>> roll([1, 2, 3, 4], 1).tolist()
        [4, 1, 2, 3]
    """
    a = as_operand(a)
    shape = type_of(a).shape
    if axis is None:
        amount = sum(shift) if isinstance(shift, (tuple, list)) else shift
        return asarray(s.reshape(_rolled(ravel(a), amount, 0), shape))
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = tuple(canonical_axes("roll", i, len(shape))[0] for i in axes)
    shifts = tuple(shift) if isinstance(shift, (tuple, list)) else (shift,) * len(axes)
    if len(axes) == 1 and len(shifts) > 1:
        axes = axes * len(shifts)
    if len(shifts) != len(axes):
        raise ShapeError(f"roll: {len(shifts)} shifts for {len(axes)} axes.{at(user_source())}")
    for i, amount in zip(axes, shifts, strict=True):
        a = _rolled(a, amount, i)
    return asarray(a)


def _rolled(x: Any, shift: Any, axis: int) -> Any:
    n = type_of(x).shape[axis]
    amount = known(as_operand(shift, "roll: shift"))
    if amount is not None:
        k = int(amount) % n if n else 0
        return s.concatenate([s.slice_axis(x, axis, n - k, n), s.slice_axis(x, axis, 0, n - k)], axis) if k else x
    if n == 0:
        return x
    # A traced shift: a window of two copies.
    k = e.rem(e.add(e.rem(to_dtype(shift, dtypes.int32), np.int32(n)), np.int32(n)), np.int32(n))
    starts = [e.sub(np.int32(n), k) if a == axis else np.int32(0) for a in range(type_of(x).ndim)]
    return ix.dynamic_slice(s.concatenate([x, x], axis), starts, type_of(x).shape)


__all__ = [
    "array_split", "column_stack", "concat", "concatenate", "dstack", "hstack", "repeat", "roll", "split", "stack", "tile", "unstack",
    "vstack",
]  # fmt: skip
