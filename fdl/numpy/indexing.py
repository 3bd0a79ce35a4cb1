"""Indexing as NumPy has it, and functional updates `x.at[index].set(...)`.

An index is split into a basic part (slices, new axes, static ints), which is slicing, and an advanced part (integer
arrays), which is a gather.  Out-of-bounds indices raise, with the index, the axis length and the user's line, unless `mode` says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.array import Array, ArrayBase
from fdl.tracer.errors import DTypeError, IndexOutOfBoundsError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import index as ix
from fdl.tracer.ops import shape as s

from .promote import as_operand, asarray, broadcast_operands, broadcast_shapes, broadcast_to, promote_operands, to_dtype

GATHER_MODES = {"raise": "raise", "clip": "clip", "fill": "fill", "wrap": "wrap"}
SCATTER_MODES = {"raise": "raise", "clip": "clip", "drop": "drop", "wrap": "wrap"}


@dataclass(frozen=True, slots=True)
class _Plan:
    """An index taken apart: slices for every axis, the axes to drop, the arrays for `axes`, and the final shape."""

    start: tuple[int, ...]
    limit: tuple[int, ...]
    stride: tuple[int, ...]
    flips: tuple[int, ...]
    axes: tuple[int, ...]
    arrays: tuple[Any, ...]
    place: int  # where the advanced axes go among the kept ones
    kept: tuple[int, ...]
    shape: tuple[int, ...]  # of the result, with new axes


def _expand(index: Any, shape: tuple[int, ...]) -> list[Any]:
    """The index with booleans turned to integers and the ellipsis spelt out."""
    items = list(index) if isinstance(index, tuple) else [index]
    out: list[Any] = []
    used = sum(_consumes(i) for i in items)
    if used > len(shape):
        raise IndexOutOfBoundsError(f"too many indices: {used} for an array of shape {shape}.{at(user_source())}")
    if sum(i is Ellipsis for i in items) > 1:
        raise IndexError(f"an index can have only one ellipsis.{at(user_source())}")
    if not any(i is Ellipsis for i in items):
        items.append(Ellipsis)
    for i in items:
        if i is Ellipsis:
            out += [slice(None)] * (len(shape) - used)
        elif _is_mask(i):
            if not isinstance(i, (np.ndarray, Array, list)):
                raise DTypeError(f"a traced boolean mask has no static size. Use where(mask, x, y).{at(user_source())}")
            out += list(np.nonzero(np.asarray(i)))
        else:
            out.append(i)
    return out


def _is_mask(i: Any) -> bool:
    return (isinstance(i, (np.ndarray, ArrayBase)) and i.dtype == dtypes.bool_) or (
        isinstance(i, list) and bool(i) and all(isinstance(v, (bool, np.bool_)) for v in i)
    )


def _consumes(i: Any) -> int:
    if i is None or i is Ellipsis:
        return 0
    return np.ndim(i) if isinstance(i, list) and _is_mask(i) else i.ndim if _is_mask(i) else 1


def _plan(index: Any, shape: tuple[int, ...]) -> _Plan:
    items = _expand(index, shape)
    start, limit, stride, flips = [0] * len(shape), list(shape), [1] * len(shape), []
    axes, arrays, slots = [], [], []  # slots: the order of result axes: ("new",), ("axis", a), ("adv",)
    positions: list[int] = []
    axis = 0
    array_like = [i for i in items if not (i is None or isinstance(i, (slice, int, np.integer)))]
    for place, i in enumerate(items):
        if i is None:
            slots.append(("new", -1))
            continue
        n = shape[axis]
        if isinstance(i, slice):
            a, b, c = i.indices(n)
            count = len(range(a, b, c))
            if c < 0:
                flips.append(axis)
                a, c = a + (count - 1) * c if count else 0, -c
            start[axis], stride[axis] = (a, c) if count else (0, 1)
            limit[axis] = a + (count - 1) * c + 1 if count else 0
            slots.append(("axis", axis))
        elif isinstance(i, (int, np.integer)) and not isinstance(i, bool) and not array_like:
            k = int(i)
            if not -n <= k < n:
                raise IndexOutOfBoundsError(f"index {k} is out of bounds for axis {axis} of size {n}.{at(user_source())}")
            start[axis], limit[axis] = k % n, k % n + 1
            slots.append(("drop", axis))
        else:
            x = as_operand(i, "an index")
            if not dtypes.is_int(type_of(x).dtype):
                raise DTypeError(f"an index must be an integer, slice, None or ..., got {type_of(x)}.{at(user_source())}")
            axes.append(axis)
            arrays.append(x)
            positions.append(place)
            slots.append(("adv", axis))
        axis += 1
    lead = broadcast_shapes("index", *(type_of(x).shape for x in arrays)) if arrays else ()
    together = bool(positions) and all(
        not isinstance(items[p], slice) and items[p] is not None for p in range(positions[0], positions[-1] + 1)
    )
    kept = [a for kind, a in slots if kind == "axis"]
    first = next((k for k, slot in enumerate(slots) if slot[0] == "adv"), 0)
    place = sum(1 for kind, _ in slots[:first] if kind == "axis") if together else 0
    out: list[int] = []
    done = False
    if arrays and not together:
        out += lead
        done = True
    for kind, a in slots:
        if kind == "new":
            out.append(1)
        elif kind == "axis":
            out.append(-(-(limit[a] - start[a]) // stride[a]))
        elif kind == "adv" and not done:
            out += lead
            done = True
    return _Plan(
        tuple(start), tuple(limit), tuple(stride), tuple(flips), tuple(axes), tuple(arrays), place, tuple(kept), tuple(out)
    )


def _indices(plan: _Plan, shape: tuple[int, ...], mode: str) -> Any:
    """The index arrays as one array of shape (*batch, k), negative ones counted from the end."""
    parts = []
    for a, x in zip(plan.axes, plan.arrays, strict=True):
        n = shape[a]
        wide = dtypes.int64 if n > 2**31 - 1 else dtypes.int32
        if not isinstance(x, ArrayBase):
            static = np.asarray(x)
            bad = static[(static < -n) | (static >= n)]
            if mode == "raise" and bad.size:
                raise IndexOutOfBoundsError(
                    f"index {int(bad.flat[0])} is out of bounds for axis {a} of size {n}.{at(user_source())}"
                )
        x = to_dtype(x, wide)
        size = np.asarray(n, wide)
        if mode == "wrap":
            x = e.rem(e.add(e.rem(x, size), size), size)
        else:
            x = e.select(e.lt(x, np.asarray(0, wide)), e.add(x, size), x)
        parts.append(x)
    widest = promote_operands("index", *parts, broadcast=False)
    lead = broadcast_shapes("index", *(type_of(x).shape for x in widest))
    return s.concatenate([s.reshape(broadcast_to(x, lead), (*lead, 1)) for x in widest], len(lead))


def _slice(x: Any, plan: _Plan) -> Any:
    shape = type_of(x).shape
    if plan.start != (0,) * len(shape) or plan.limit != shape or plan.stride != (1,) * len(shape):
        x = s.slice(x, plan.start, plan.limit, plan.stride)
    return s.flip(x, plan.flips) if plan.flips else x


def getitem(x: Any, index: Any, mode: str = "raise", fill_value: Any = None) -> Any:
    """`x[index]` by NumPy's rules.

    Args:
        mode: for an index out of bounds: "raise", "clip" to the axis, "fill" with `fill_value` (NaN for floats, else 0), or "wrap".
    """
    if mode not in GATHER_MODES:
        raise ValueError(f"mode: expected one of {', '.join(GATHER_MODES)}, got {mode!r}")
    x = as_operand(x)
    t = type_of(x)
    plan = _plan(index, t.shape)
    y = _slice(x, plan)
    if not plan.arrays:
        return s.reshape(y, plan.shape)
    fill = fill_value if fill_value is not None else (float("nan") if dtypes.is_inexact(t.dtype) else 0)
    indices = _indices(plan, t.shape, mode)
    lead = type_of(indices).ndim - 1
    y = ix.gather(y, indices, axes=plan.axes, mode="clip" if mode == "wrap" else mode, fill=fill if mode == "fill" else 0)
    rest = [a for a in range(t.ndim) if a not in plan.axes]
    rest_kept = [a for a in rest if a in plan.kept]
    y = s.reshape(y, (*type_of(y).shape[:lead], *(type_of(y).shape[lead + rest.index(a)] for a in rest_kept)))
    order = [*range(lead, lead + plan.place), *range(lead), *range(lead + plan.place, lead + len(rest_kept))]
    return s.reshape(s.transpose(y, tuple(order)), plan.shape)


class At:
    """`x.at`: index it for functional updates."""

    __slots__ = ("_array",)

    def __init__(self, array: Any) -> None:
        self._array = array

    def __getitem__(self, index: Any) -> AtIndex:
        return AtIndex(self._array, index)


@dataclass(frozen=True, slots=True)
class AtIndex:
    """`x.at[index]`: `.set`, `.add`, `.multiply`, `.divide`, `.power`, `.min`, `.max`, `.apply` return a changed copy, `.get` reads.

    Where an index repeats, `.set` keeps the last value, and the others apply each.
    """

    array: Any
    index: Any

    def get(self, mode: str = "raise", fill_value: Any = None) -> Any:
        """The elements: see `getitem`."""
        return getitem(self.array, self.index, mode, fill_value)

    def set(self, values: Any, mode: str = "raise") -> Any:
        """The array with these elements replaced."""
        return _update(self.array, self.index, values, "set", mode)

    def add(self, values: Any, mode: str = "raise") -> Any:
        """The array with `values` added to these elements."""
        return _update(self.array, self.index, values, "add", mode)

    def subtract(self, values: Any, mode: str = "raise") -> Any:
        """The array with `values` subtracted from these elements."""
        return _update(self.array, self.index, e.neg(as_operand(values)), "add", mode)

    def multiply(self, values: Any, mode: str = "raise") -> Any:
        """The array with these elements multiplied."""
        return _update(self.array, self.index, values, "mul", mode)

    mul = multiply

    def divide(self, values: Any, mode: str = "raise") -> Any:
        """The array with these elements divided."""
        return self.apply(lambda v: v / values, mode)

    def power(self, values: Any, mode: str = "raise") -> Any:
        """The array with these elements raised to a power."""
        return self.apply(lambda v: v**values, mode)

    def min(self, values: Any, mode: str = "raise") -> Any:
        """The array with these elements limited from above."""
        return _update(self.array, self.index, values, "min", mode)

    def max(self, values: Any, mode: str = "raise") -> Any:
        """The array with these elements limited from below."""
        return _update(self.array, self.index, values, "max", mode)

    def apply(self, f: Any, mode: str = "raise") -> Any:
        """The array with `f` applied to these elements."""
        return self.set(f(self.get("clip" if mode == "drop" else mode)), mode)


_COMBINE = {"add": e.add, "mul": e.mul, "min": e.min, "max": e.max}


def _update(x: Any, index: Any, values: Any, op: str, mode: str) -> Any:
    if mode not in SCATTER_MODES:
        raise ValueError(f"mode: expected one of {', '.join(SCATTER_MODES)}, got {mode!r}")
    x = as_operand(x)
    t = type_of(x)
    plan = _plan(index, t.shape)
    values = to_dtype(as_operand(values, "the new values"), t.dtype)
    given = type_of(values).shape
    if len(given) > len(plan.shape) and given[: len(given) - len(plan.shape)] != (1,) * (len(given) - len(plan.shape)):
        raise ShapeError(
            f".at[...].{op}: values of shape {given} do not broadcast to the indexed shape {plan.shape}.{at(user_source())}"
        )
    values = broadcast_to(values, plan.shape)
    # Every axis is indexed: advanced ones by their arrays, the others by their ranges.
    ranges: dict[int, Any] = {}
    lead = broadcast_shapes("index", *(type_of(a).shape for a in plan.arrays)) if plan.arrays else ()
    order = [*plan.kept[: plan.place], None, *plan.kept[plan.place :]]
    sizes = {a: -(-(plan.limit[a] - plan.start[a]) // plan.stride[a]) for a in range(t.ndim)}
    full = [lead if a is None else (sizes[a],) for a in order]
    whole = tuple(n for part in full for n in part)
    whole_kept = [
        a
        for a in plan.kept
        if plan.start[a] == 0 and plan.stride[a] == 1 and plan.limit[a] == t.shape[a] and a not in plan.flips
    ]
    indexed = [a for a in range(t.ndim) if a not in whole_kept]
    if not indexed:
        # The whole array is updated: no scatter.
        merged = s.reshape(values, whole)
        return asarray(merged) if op == "set" else _COMBINE[op](x, merged)
    # updates must come as (indexed kept..., lead, whole kept): move the whole axes last.
    starts, offset = {}, 0
    for a, part in zip(order, full, strict=True):
        starts[a] = (offset, len(part))
        offset += len(part)
    front = [a for a in order if a is None or a not in whole_kept]
    permutation = [k for a in [*front, *whole_kept] for k in range(starts[a][0], starts[a][0] + starts[a][1])]
    updates = s.transpose(s.reshape(values, whole), tuple(permutation))
    batch = tuple(n for a in front for n in (lead if a is None else (sizes[a],)))
    dims: dict[Any, tuple[int, ...]] = {}
    k = 0
    for a in front:
        width = len(lead) if a is None else 1
        dims[a] = tuple(range(k, k + width))
        k += width
    arrays = dict(zip(plan.axes, plan.arrays, strict=True))
    prepared = _indices(plan, t.shape, mode) if plan.arrays else None
    columns = []
    for a in indexed:
        if a in arrays:
            column = s.slice_axis(prepared, len(lead), plan.axes.index(a), plan.axes.index(a) + 1)
            column = s.broadcast(s.reshape(column, lead), batch, dims[None])
        elif a in plan.kept:
            r = np.arange(sizes[a], dtype=np.int32) * plan.stride[a] + plan.start[a]
            ranges[a] = r[::-1].copy() if a in plan.flips else r
            column = s.broadcast(ranges[a], batch, dims[a])
        else:
            column = broadcast_to(np.asarray(plan.start[a], np.int32), batch)
        columns.append(s.reshape(column, (*batch, 1)))
    columns = promote_operands("index", *columns, broadcast=False)
    how = "clip" if mode == "wrap" else mode
    if not plan.arrays:
        how = "clip"  # static slices are in bounds
    return ix.scatter(x, s.concatenate(columns, len(batch)), updates, axes=tuple(indexed), mode=how, op=op)


def take(x: Any, indices: Any, axis: int | None = None, mode: str = "raise", fill_value: Any = None) -> Any:
    """The elements of `x` at `indices` along `axis`, or of the flattened array."""
    x = as_operand(x)
    if axis is None:
        return getitem(s.reshape(x, (type_of(x).size,)), as_operand(indices), mode, fill_value)
    axis = axis % type_of(x).ndim
    return getitem(x, (*(slice(None),) * axis, _array_index(indices)), mode, fill_value)


def _array_index(i: Any) -> Any:
    i = as_operand(i)
    return np.asarray(i) if isinstance(i, int) else i


def take_along_axis(x: Any, indices: Any, axis: int) -> Any:
    """The elements of `x` at `indices` along `axis`, the other axes matched one to one."""
    x, indices = as_operand(x), as_operand(indices)
    rank = type_of(x).ndim
    axis = axis % rank
    if type_of(indices).ndim != rank:
        raise ShapeError(f"take_along_axis: indices have {type_of(indices).ndim} axes, expected {rank}.{at(user_source())}")
    shape = type_of(indices).shape
    index: Sequence[Any] = [indices if a == axis else s.iota(shape, dtypes.int32, a) for a in range(rank)]
    x = broadcast_to(
        x, tuple(n if a == axis or n != 1 else m for a, (n, m) in enumerate(zip(type_of(x).shape, shape, strict=True)))
    )
    return getitem(x, tuple(index))


__all__ = ["At", "AtIndex", "broadcast_operands", "getitem", "take", "take_along_axis"]
