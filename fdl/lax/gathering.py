"""`gather` and `scatter` in XLA's general form, under the names of JAX's `lax`: windows of an array, read or written at traced places.

The indices have shape (*batch, k): for each position of the batch, the k coordinates at which a window begins, for the axes that the
dimension numbers name.  Everything is brought to the primitives of `fdl.tracer.ops.index`, which take single elements along the indexed
axes and whole axes otherwise: a window of size w > 1 along an indexed axis becomes w indices.

    gather       window at S[b] of the operand → result[b, offset]           axes of the result: `offset_dims` those of the window
    scatter      updates[b, window] → at S[b] of the operand                 axes of the updates: `update_window_dims` those of the window

An index is never counted from the end.  What a window does that is not wholly inside is told by `mode`: "raise", the default, unlike JAX's
(as everywhere in fdl); "clip" moves it inside (JAX's default for `gather`); "fill" gives `fill_value` in all its places, and "drop" writes
nothing of it (JAX's default for `scatter`).  "promise_in_bounds" clips: it costs no check, and a broken promise does no harm.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fdl.control import fori_loop
from fdl.numpy.promote import asarray, to_dtype
from fdl.numpy.ufuncs import remainder
from fdl.tracer import dtypes
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import index as ix
from fdl.tracer.ops import reduce as r
from fdl.tracer.ops import shape as s
from fdl.tracer.ops.runs import wide_enough

from .operands import ints, one_dtype, operand

_operand = operand
Shape = tuple[int, ...]


class GatherDimensionNumbers(NamedTuple):
    """Which axes of a `gather` are which.

    Attributes:
        offset_dims: the axes of the result that run over a window, in order.
        collapsed_slice_dims: the axes of the operand along which windows have size 1, which the result does not have.
        start_index_map: for each column of the indices, the axis of the operand that it is a coordinate of.
        operand_batching_dims, start_indices_batching_dims: axes of the operand and of the indices that go together, one to one.
    """

    offset_dims: Shape
    collapsed_slice_dims: Shape
    start_index_map: Shape
    operand_batching_dims: Shape = ()
    start_indices_batching_dims: Shape = ()


class ScatterDimensionNumbers(NamedTuple):
    """Which axes of a `scatter` are which.

    Attributes:
        update_window_dims: the axes of the updates that run over a window, in order.
        inserted_window_dims: the axes of the operand along which windows have size 1, which the updates do not have.
        scatter_dims_to_operand_dims: for each column of the indices, the axis of the operand that it is a coordinate of.
        operand_batching_dims, scatter_indices_batching_dims: axes of the operand and of the indices that go together, one to one.
    """

    update_window_dims: Sequence[int]
    inserted_window_dims: Sequence[int]
    scatter_dims_to_operand_dims: Sequence[int]
    operand_batching_dims: Sequence[int] = ()
    scatter_indices_batching_dims: Sequence[int] = ()


class GatherScatterMode(enum.Enum):
    """What happens to a window that is not wholly inside its array."""

    RAISE = 0
    CLIP = 1
    FILL_OR_DROP = 2
    PROMISE_IN_BOUNDS = 3

    @staticmethod
    def from_any(mode: str | GatherScatterMode | None) -> GatherScatterMode:
        """The mode of that name; None is "raise"."""
        if isinstance(mode, GatherScatterMode):
            return mode
        found = _MODES.get(mode)
        if found is None:
            known = ", ".join(repr(name) for name in _MODES if name)
            raise ShapeError(f"lax: unknown mode {mode!r} of gather or scatter: expected one of {known}.{at(user_source())}")
        return found


_MODES: dict[str | None, GatherScatterMode] = {
    None: GatherScatterMode.RAISE,
    "raise": GatherScatterMode.RAISE,
    "clip": GatherScatterMode.CLIP,
    "fill": GatherScatterMode.FILL_OR_DROP,
    "drop": GatherScatterMode.FILL_OR_DROP,
    "promise_in_bounds": GatherScatterMode.PROMISE_IN_BOUNDS,
}


class _Windows(NamedTuple):
    """Windows of one array.

    Attributes:
        shape: the array's shape.
        sizes: a window's size along each axis of the array.
        indexed: the axes to be indexed element by element: those that the indices name, that go with axes of the indices, or that
            windows do not fill.
        spread: those of them along which a window has several elements (or none).
        batch: the shape of the batch.
        columns: the axis of the array for each column of the indices.
        batching: pairs of an axis of the array and the axis of the batch that it goes with.
    """

    shape: Shape
    sizes: Shape
    indexed: Shape
    spread: Shape
    batch: Shape
    columns: Shape
    batching: tuple[tuple[int, int], ...]


def _windows(
    name: str, shape: Shape, indices: Any, sizes: Shape, removed: Shape, columns: Shape, own: Shape, theirs: Shape
) -> _Windows:
    """The windows that dimension numbers describe; raises a ShapeError where they are not consistent."""

    def check(fits: bool, text: str) -> None:
        if not fits:
            raise ShapeError(f"lax.{name}: {text}.{at(user_source())}")

    t, rank = type_of(indices), len(shape)
    if not dtypes.is_int(t.dtype):
        raise DTypeError(f"lax.{name}: indices have dtype {t.dtype.name}, expected integers.{at(user_source())}")
    check(
        t.ndim > 0 and t.shape[-1] == len(columns),
        f"indices of shape {t.shape} for {len(columns)} coordinates, {columns}: they are along the last axis",
    )
    for what, dims in (
        ("collapsed or inserted axes", removed),
        ("the axes of the coordinates", columns),
        ("operand_batching_dims", own),
    ):
        check(
            len(set(dims)) == len(dims) and all(0 <= a < rank for a in dims),
            f"{what} {dims} for an operand of shape {shape}: expected distinct axes of it",
        )
    check(
        not set(own) & (set(removed) | set(columns)),
        f"operand_batching_dims {own} are neither collapsed nor indexed by coordinates",
    )
    batch = t.shape[:-1]
    check(
        len(own) == len(theirs) and len(set(theirs)) == len(theirs) and all(0 <= a < len(batch) for a in theirs),
        f"batching axes {own} of the operand and {theirs} of the indices {t.shape}: expected pairs of axes",
    )
    check(
        all(shape[a] == batch[b] for a, b in zip(own, theirs, strict=True)),
        f"batching axes {own} of an operand {shape} and {theirs} of indices {t.shape} differ in size",
    )
    check(
        len(sizes) == rank and all(0 <= w <= n for w, n in zip(sizes, shape, strict=False)),
        f"windows of shape {sizes} for an operand of shape {shape}: expected a size up to the operand's for each axis",
    )
    check(
        all(sizes[a] <= 1 for a in (*removed, *own)),
        f"windows of shape {sizes}: expected size 1 along the axes {(*removed, *own)}, which go away",
    )
    named = {*columns, *own}
    indexed = tuple(a for a in range(rank) if a in named or sizes[a] != shape[a])
    return _Windows(
        shape, sizes, indexed, tuple(a for a in indexed if sizes[a] != 1), batch, columns, tuple(zip(own, theirs, strict=True))
    )


def _positions(w: _Windows, indices: Any, mode: GatherScatterMode) -> tuple[Any, Any]:
    """The indices (*batch, *spread sizes, k) of single elements along the indexed axes, and which windows (*batch) are wholly inside.

    In mode "clip" windows are moved inside.  The second is None where nobody has to ask: where each window is one element, say.
    """
    n = len(w.batch)
    grid = (*w.batch, *(w.sizes[a] for a in w.spread))
    wide = wide_enough(indices, max((w.shape[a] for a in w.indexed), default=0))
    dtype = type_of(wide).dtype
    wide = to_dtype(wide, dtype)
    ask = mode is GatherScatterMode.FILL_OR_DROP and any(a in w.spread for a in w.columns)
    inside: Any = None
    out: dict[int, Any] = {}
    for k, a in enumerate(w.columns):
        start = s.reshape(s.slice_axis(wide, n, k, k + 1), w.batch)
        last = np.asarray(w.shape[a] - w.sizes[a], dtype)
        if mode in (GatherScatterMode.CLIP, GatherScatterMode.PROMISE_IN_BOUNDS):
            start = e.max(e.min(start, last), np.asarray(0, dtype))
        elif ask:
            ok = e.logical_and(e.ge(start, np.asarray(0, dtype)), e.le(start, last))
            inside = ok if inside is None else e.logical_and(inside, ok)
        out[a] = s.broadcast(start, grid, tuple(range(n)))
    for a, b in w.batching:
        out[a] = s.iota(grid, dtype, b)
    zero = s.broadcast(np.asarray(0, dtype), grid, ())
    columns = []
    for a in w.indexed:
        at_a = out.get(a, zero)
        if a in w.spread:
            at_a = e.add(at_a, s.iota(grid, dtype, n + w.spread.index(a)))
        columns.append(s.reshape(at_a, (*grid, 1)))
    return s.concatenate(columns, len(grid)), inside


def _order(w: _Windows, kept: Shape) -> Shape:
    """Where the axes `kept` of a window lie among (batch, spread, the axes that are not indexed), without those that are left out."""
    rest = [a for a in range(len(w.shape)) if a not in w.indexed]
    place = [*w.spread, *rest]
    return tuple(len(w.batch) + place.index(a) for a in kept if a in place)


# --- gather ---------------------------------------------------------------------------------------


def gather(
    operand: Any,
    start_indices: Any,
    dimension_numbers: GatherDimensionNumbers,
    slice_sizes: Sequence[int],
    *,
    unique_indices: bool = False,
    indices_are_sorted: bool = False,
    mode: str | GatherScatterMode | None = None,
    fill_value: Any = None,
) -> Any:
    """Windows of `operand` of the shape `slice_sizes`, at places given by `start_indices` (*batch, k): see the module.

    Args:
        dimension_numbers: which axes are which.
        unique_indices, indices_are_sorted: accepted, and of no use here.
        mode: "raise" (the default), "clip", "fill" or "promise_in_bounds".
        fill_value: what "fill" gives; NaN by default, the lowest signed and the highest unsigned integer, True.

    Raises: ShapeError for dimension numbers that do not fit; IndexOutOfBoundsError in mode "raise".

    Example:
        >>> import fdl.numpy as fnp
        >>> rows = GatherDimensionNumbers(offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0,))
        >>> gather(fnp.arange(6).reshape(3, 2), fnp.array([[2], [0]]), rows, slice_sizes=(1, 2)).tolist()
        [[4, 5], [0, 1]]
    """
    x, indices = _operand("gather", operand), _operand("gather", start_indices, "start_indices")
    numbers, how = dimension_numbers, GatherScatterMode.from_any(mode)
    sizes = ints("gather", "slice_sizes", slice_sizes)
    removed = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    w = _windows(
        "gather", type_of(x).shape, indices, sizes, tuple(numbers.collapsed_slice_dims), tuple(numbers.start_index_map),
        tuple(numbers.operand_batching_dims), tuple(numbers.start_indices_batching_dims),
    )  # fmt: skip
    kept = tuple(a for a in range(len(sizes)) if a not in removed)
    rank = len(w.batch) + len(kept)
    offsets = _positions_of("gather", "offset_dims", numbers.offset_dims, rank, len(kept))
    y, inside = _read(x, indices, w, how, fill_value)
    # From (batch, spread, not indexed) to (batch, the window's axes in order), those of size 1 put in, to the order that is asked for.
    n = len(w.batch)
    y = s.transpose(y, (*range(n), *_order(w, tuple(range(len(sizes))))))
    y = s.reshape(y, (*w.batch, *(sizes[a] for a in kept)))
    if inside is not None:
        fill = np.asarray(_fill(type_of(x).dtype) if fill_value is None else fill_value).astype(type_of(x).dtype)
        y = e.select(s.broadcast(inside, type_of(y).shape, tuple(range(n))), y, fill)
    rest = iter(range(n))
    window = iter(range(n, rank))
    return asarray(s.transpose(y, tuple(next(window) if a in offsets else next(rest) for a in range(rank))))


def _positions_of(name: str, what: str, dims: Sequence[int], rank: int, count: int) -> Shape:
    out = tuple(dims)
    if len(out) != count or list(out) != sorted(set(out)) or any(not 0 <= a < rank for a in out):
        raise ShapeError(f"lax.{name}: {what} {out}: expected {count} increasing axes from 0 to {rank - 1}.{at(user_source())}")
    return out


def _fill(dtype: dtypes.DType) -> Any:
    """What stands for a window outside, unless the caller says."""
    if dtypes.is_inexact(dtype):
        return np.nan
    if dtype == dtypes.bool_:
        return True
    return np.iinfo(dtype).min if dtypes.is_signed(dtype) else np.iinfo(dtype).max


def _read(x: Any, indices: Any, w: _Windows, mode: GatherScatterMode, fill_value: Any) -> tuple[Any, Any]:
    """The elements (batch, spread, not indexed), and which windows are inside where the caller has to put in the fill."""
    if not w.indexed:
        return s.broadcast(x, (*w.batch, *w.shape), tuple(range(len(w.batch), len(w.batch) + len(w.shape)))), None
    where, inside = _positions(w, indices, mode)
    if mode is GatherScatterMode.RAISE:
        return ix.gather(x, where, axes=w.indexed, mode="raise"), None
    if mode is GatherScatterMode.FILL_OR_DROP:
        fill = _fill(type_of(x).dtype) if fill_value is None else np.asarray(fill_value).item()
        return ix.gather(x, where, axes=w.indexed, mode="fill", fill=fill), inside
    return _clipped(x, where, w)


def _clipped(x: Any, where: Any, w: _Windows) -> tuple[Any, None]:
    if any(w.shape[a] == 0 for a in w.indexed):  # there is no element to move to: the windows are empty
        rest = tuple(n for a, n in enumerate(w.shape) if a not in w.indexed)
        return s.broadcast(np.zeros((), type_of(x).dtype), (*type_of(where).shape[:-1], *rest), ()), None
    return ix.gather(x, where, axes=w.indexed, mode="clip"), None


def index_take(src: Any, idxs: Sequence[Any], axes: Sequence[int]) -> Any:
    """Slices of `src` at the integer vectors `idxs` along `axes`, all of one length n: (n, other axes). Indices are taken modulo the sizes.

    Example:
        >>> import fdl.numpy as fnp
        >>> index_take(fnp.arange(6).reshape(2, 3), (fnp.array([0, 1]), fnp.array([2, -1])), (0, 1)).tolist()
        [2, 5]
    """
    where = [_operand("index_take", i, "an index") for i in idxs]
    x, columns = _operand("index_take", src), ints("index_take", "axes", axes)
    shapes = {type_of(i).shape for i in where}
    if len(shapes) != 1 or len(where) != len(columns) or len(next(iter(shapes))) != 1:
        raise ShapeError(
            f"lax.index_take: {len(where)} index arrays of shapes {sorted(shapes)} for axes {columns}: expected one for each axis, "
            f"all with one axis of one length.{at(user_source())}"
        )
    (n,) = shapes.pop()
    wrapped = [remainder(i, type_of(x).shape[a]) for i, a in zip(one_dtype("index_take", *where), columns, strict=True)]
    return ix.gather(x, s.concatenate([s.reshape(i, (n, 1)) for i in wrapped], 1), axes=columns, mode="clip")


# --- scatter --------------------------------------------------------------------------------------


def _scatter(
    name: str, op: str, operand: Any, scatter_indices: Any, updates: Any, numbers: ScatterDimensionNumbers, mode: Any
) -> Any:
    x, indices = _operand(name, operand), _operand(name, scatter_indices, "scatter_indices")
    x, new = one_dtype(name, x, _operand(name, updates, "updates"))
    how = GatherScatterMode.from_any(mode)
    shape, given = type_of(x).shape, type_of(new).shape
    own = tuple(numbers.operand_batching_dims)
    removed = (*numbers.inserted_window_dims, *own)
    kept = tuple(a for a in range(len(shape)) if a not in removed)
    window = _positions_of(name, "update_window_dims", numbers.update_window_dims, len(given), len(kept))
    sizes = [1] * len(shape)
    for a, at_axis in zip(kept, window, strict=True):
        sizes[a] = given[at_axis]
    w = _windows(
        name, shape, indices, tuple(sizes), tuple(numbers.inserted_window_dims), tuple(numbers.scatter_dims_to_operand_dims),
        own, tuple(numbers.scatter_indices_batching_dims),
    )  # fmt: skip
    rest = tuple(a for a in range(len(given)) if a not in window)
    batch = tuple(given[a] for a in rest)
    if batch != w.batch:
        raise ShapeError(
            f"lax.{name}: updates of shape {given} have the axes {rest} besides update_window_dims {window}, of sizes {batch}: expected "
            f"{w.batch}, those of the indices {type_of(indices).shape}.{at(user_source())}"
        )
    # (batch, the window's axes in order), without those of size 1 that are indexed, as (batch, spread, not indexed).
    new = s.transpose(new, (*rest, *window))
    single = {a for a in kept if a in w.indexed and a not in w.spread}
    new = s.reshape(new, (*batch, *(sizes[a] for a in kept if a not in single)))
    target = [*w.spread, *(a for a in range(len(shape)) if a not in w.indexed)]
    source = [a for a in kept if a not in single]
    new = s.transpose(new, (*range(len(batch)), *(len(batch) + source.index(a) for a in target)))
    return asarray(_write(x, indices, new, w, how, op))


def _write(x: Any, indices: Any, new: Any, w: _Windows, mode: GatherScatterMode, op: str) -> Any:
    if 0 in type_of(new).shape:
        return x
    if not w.indexed:  # each update is of all of it
        flat = s.reshape(x, (1, *w.shape))
        zeros = s.broadcast(np.zeros((), np.int32), (*w.batch, 1), ())
        return s.reshape(ix.scatter(flat, zeros, new, axes=(0,), mode="clip", op=op), w.shape)
    where, inside = _positions(w, indices, mode)
    if inside is not None:  # no index is in bounds of a window that is not
        t = type_of(where)
        keep = s.broadcast(inside, t.shape, tuple(range(len(w.batch))))
        where = e.select(keep, where, np.asarray(-1).astype(t.dtype))
    primitive_mode = {GatherScatterMode.RAISE: "raise", GatherScatterMode.FILL_OR_DROP: "drop"}.get(mode, "clip")
    return ix.scatter(x, where, new, axes=w.indexed, mode=primitive_mode, op=op)


Scatter = Callable[..., Any]


def _scatter_function(name: str, op: str, text: str) -> Scatter:
    def f(
        operand: Any,
        scatter_indices: Any,
        updates: Any,
        dimension_numbers: ScatterDimensionNumbers,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | GatherScatterMode | None = None,
    ) -> Any:
        return _scatter(name, op, operand, scatter_indices, updates, dimension_numbers, mode)

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"""`operand` with windows at places given by `scatter_indices` (*batch, k) {text}: see the module.

    Args:
        updates: the windows, of the dtype of `operand`.
        dimension_numbers: which axes are which.
        unique_indices, indices_are_sorted: accepted, and of no use here.
        mode: "raise" (the default), "clip", "drop" or "promise_in_bounds".

    Raises: ShapeError for dimension numbers that do not fit; IndexOutOfBoundsError in mode "raise".
    """
    return f


scatter = _scatter_function("scatter", "set", "replaced by `updates`; of several updates of one element the last one stays")
scatter_add = _scatter_function("scatter_add", "add", "increased by `updates`; several updates of one element all count")
scatter_mul = _scatter_function("scatter_mul", "mul", "multiplied by `updates`; several updates of one element all count")
scatter_min = _scatter_function("scatter_min", "min", "limited from above by `updates`")
scatter_max = _scatter_function("scatter_max", "max", "limited from below by `updates`")


def scatter_sub(
    operand: Any,
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Any:
    """`scatter_add` of the negative of `updates`."""
    new = e.neg(_operand("scatter_sub", updates, "updates"))
    return _scatter("scatter_sub", "add", operand, scatter_indices, new, dimension_numbers, mode)


def scatter_apply(
    operand: Any,
    scatter_indices: Any,
    func: Callable[[Any], Any],
    dimension_numbers: ScatterDimensionNumbers,
    *,
    update_shape: Sequence[int] = (),
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Any:
    """`operand` with the elementwise `func` applied to its windows at `scatter_indices`: as often as windows hold an element.

    Args:
        update_shape: the shape that updates would have in `scatter`.
        unique_indices: the promise that no two windows overlap; `func` is then applied once, and the result is differentiable in both
            modes. Without it there is a loop up to the largest number of windows at one element, which forward mode differentiates.

    Example:
        >>> import fdl.numpy as fnp
        >>> one = ScatterDimensionNumbers((), (0,), (0,))
        >>> scatter_apply(fnp.arange(4), fnp.array([[1], [3], [3]]), lambda x: x * 10, one, update_shape=(3,)).tolist()
        [0, 10, 2, 300]
    """
    x = _operand("scatter_apply", operand)
    shape = ints("scatter_apply", "update_shape", update_shape)
    zeros = s.broadcast(np.asarray(0, np.int32), type_of(x).shape, ())
    ones = s.broadcast(np.asarray(1, np.int32), shape, ())
    times = _scatter("scatter_apply", "add", zeros, scatter_indices, ones, dimension_numbers, mode)

    def step(k: Any, y: Any) -> Any:
        new = func(y)
        if type_of(new).strong() != type_of(x).strong():
            raise ShapeError(
                f"lax.scatter_apply: func returns {type_of(new).strong()} for {type_of(x).strong()}: it must be elementwise."
                f"{at(user_source())}"
            )
        return e.select(e.gt(times, k), new, y)

    if unique_indices or not shape:
        return step(np.asarray(0, np.int32), x)
    most = r.reduce_max(times, tuple(range(type_of(x).ndim))) if type_of(x).size else np.asarray(0, np.int32)
    return asarray(fori_loop(0, most, step, x))


__all__ = [
    "GatherDimensionNumbers", "GatherScatterMode", "ScatterDimensionNumbers", "gather", "index_take", "scatter", "scatter_add",
    "scatter_apply", "scatter_max", "scatter_min", "scatter_mul", "scatter_sub",
]  # fmt: skip
