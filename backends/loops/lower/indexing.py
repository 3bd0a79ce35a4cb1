"""Builders for gather, scatter and dynamic slices.

An index is clamped before it is used, whatever the mode; mode "raise" records a failure besides, with the index, the axis and its
length.  Updates are written in order, each element of the window independently of the others, so that the result is the same on any
number of threads; they are written into the operand's own memory when nothing else reads it any more.

May be imported by: `lower/__init__.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fdl.backends.loops.access import is_apart
from fdl.backends.loops.ir import BOOL, INDEX, Check, Const, For, Value
from fdl.backends.loops.reductions import accumulator
from fdl.backends.loops.values import add, bounds, clamp, conjunction, const, convert, op, select, sub
from fdl.tracer import dtypes
from fdl.tracer.ir import Atom, Equation, Variable
from fdl.tracer.ops.index import BOUNDS

from .context import GENERATORS, PREPARED, Nest, Place, Scope
from .index import ZERO, At, Shape
from .panels import Cut, cut

PARALLEL_UPDATES = 1 << 15
"""Elements from which a scatter's windows are divided among threads."""
WINDOW_BLOCK = 64
"""The least number of window elements that one thread updates."""

FEW_BLOCKS = 4
"""Blocks that may be as small as that; more are four times as large."""

NEAR = 1 << 20
"""Bytes of an operand that a core copies in the blocks that it updates: they stay in its second-level cache. A larger one is copied
fastest from end to end, past the caches, and by blocks at half of that speed."""

# --- positions ------------------------------------------------------------------------------------


def _position(scope: Scope, nest: Nest, e: Equation, shape: Shape, indices: Atom, batch: Sequence[Value]) -> tuple[list[Value], Value]:
    """The clamped index along each indexed axis, and whether all were in range; records a failure in mode "raise"."""
    axes, mode = e.params["axes"], e.params["mode"]
    given = [nest.indices(indices, At(indices.type.shape, (*batch, Const(k, INDEX)))) for k in range(len(axes))]
    inside = [nest.let(_within(nest, i, shape[a]), "ok") for i, a in zip(given, axes, strict=True)]
    ok = nest.let(conjunction(*inside), "ok")
    if mode == "raise" and ok != _ALWAYS:
        _check(scope, nest, e, shape, given, inside, ok)
    return [_clamped(nest, i, 0, max(shape[a] - 1, 0)) for i, a in zip(given, axes, strict=True)], ok


_ALWAYS = Const(True, BOOL)


def _within(nest: Nest, i: Value, size: int) -> Value:
    """Whether 0 <= i < size; a constant where it is known to hold."""
    low, high = bounds(i, nest.ranges)
    if low >= 0 and high < size:
        return _ALWAYS
    return op("and", op("ge", i, ZERO), op("lt", i, Const(size, INDEX)))


def _clamped(nest: Nest, i: Value, low: int, high: int) -> Value:
    """`i` brought into [low, high]; itself where it lies there."""
    found = clamp(i, low, high, nest.ranges)
    return found if found is i else nest.let(found, "n")


def _check(
    scope: Scope, nest: Nest, e: Equation, shape: Shape, given: Sequence[Value], inside: Sequence[Value], ok: Value
) -> None:
    """Records the first index out of range; the values shown are the index as the user counts, the axis and its size."""
    axes = e.params["axes"]
    bad: Value = given[-1]
    axis: Value = Const(axes[-1], INDEX)
    size: Value = Const(shape[axes[-1]], INDEX)
    for i, a, fine in reversed(list(zip(given[:-1], axes[:-1], inside[:-1], strict=True))):
        bad, axis, size = (select(fine, x, y) for x, y in ((bad, i), (axis, Const(a, INDEX)), (size, Const(shape[a], INDEX))))
    shown = select(op("lt", bad, ZERO), sub(bad, size), bad)
    nest.do(Check(ok, scope.unit.site(BOUNDS, e), (shown, axis, size)))


def _joined(axes: Shape, at: Sequence[Value], rest: Sequence[Value], ndim: int) -> tuple[Value, ...]:
    """Indices of an operand from those along the indexed axes and those of the window."""
    chosen, others = dict(zip(axes, at, strict=True)), iter(rest)
    return tuple(chosen[a] if a in chosen else next(others) for a in range(ndim))


def _rest(shape: Shape, axes: Shape) -> Shape:
    return tuple(n for a, n in enumerate(shape) if a not in axes)


# --- gather ---------------------------------------------------------------------------------------


def build_gather(scope: Scope, e: Equation) -> None:
    """gather: for each index tuple of the batch, the window of `x` there."""
    x, indices = e.inputs
    out, axes, mode = e.outputs[0], e.params["axes"], e.params["mode"]
    batch = indices.type.shape[:-1]
    place = None if out.type.ndim == 0 else scope.target(out)
    empty = any(x.type.shape[a] == 0 for a in axes)
    if out.type.size == 0 and mode != "raise":
        return
    nest = Nest(scope)
    outer = nest.over(batch)
    at, ok = _position(scope, nest, e, x.type.shape, indices, outer.index)
    if out.type.size == 0:  # of windows without elements the indices still count
        nest.close()
        return
    inner = nest.over(_rest(x.type.shape, axes), "j")
    value: Value = const(_plain(e.params["fill"], out.type.dtype), out.type.dtype)
    if not empty:
        found = nest.element(x, At(x.type.shape, _joined(axes, at, inner.index, x.type.ndim)))
        value = nest.let(select(ok, found, value)) if mode == "fill" and ok != _ALWAYS else found
    if place is None:
        scope.scalars[out] = value
        return
    nest.store(place, At(out.type.shape, (*outer.index, *inner.index)), value)
    nest.close()


def _prepare_gather(scope: Scope, e: Equation) -> None:
    """The clamped index tuples of a gather that is read element by element: each axis by itself, checked once."""
    x, indices = e.inputs
    batch, axes = indices.type.shape[:-1], e.params["axes"]
    place = Place(scope.temporary(dtypes.int32 if max(x.type.shape) < 1 << 31 else INDEX, (len(axes), *batch), "at"))
    nest = Nest(scope)
    outer = nest.over(batch)
    at, _ = _position(scope, nest, e, x.type.shape, indices, outer.index)
    for k, i in enumerate(at):
        nest.store(place, At(place.shape, (Const(k, INDEX), *outer.index)), nest.let(convert(i, place.buffer.dtype)))
    nest.close()
    scope.prepared[e.outputs[0]] = place


def _gather(nest: Nest, e: Equation, index: tuple[Value, ...]) -> Value:
    x, axes, place = e.inputs[0], e.params["axes"], nest.scope.prepared[e.outputs[0]]
    split = e.inputs[1].type.ndim - 1
    at = []
    for k, a in enumerate(axes):
        stored = nest.let(place.load(At(place.shape, (Const(k, INDEX), *index[:split]))))
        at.append(nest.let(clamp(nest.as_index(stored), 0, x.type.shape[a] - 1, nest.ranges), "n"))
    return nest.element(x, At(x.type.shape, _joined(axes, at, index[split:], x.type.ndim)))


GENERATORS["gather"] = _gather
PREPARED["gather"] = _prepare_gather


def _plain(fill: Any, dtype: dtypes.DType) -> bool | int | float:
    """A fill value as a Python number; None is 0."""
    number = 0 if fill is None else fill.item() if hasattr(fill, "item") else fill
    if dtype == BOOL:
        return bool(number)
    return int(number) if dtypes.is_int(dtype) else float(number)


# --- scatter --------------------------------------------------------------------------------------


def updated(scope: Scope, e: Equation, columns: tuple[int, Cut] | None = None) -> Place:
    """Where the first operand's value lies to be written over: its own memory where it dies here, else a copy.

    Args:
        columns: an axis, and how it is cut among the threads that update: each copies what it then updates, so that no core waits
            for lines that another one has written.
    """
    x, out = e.inputs[0], e.outputs[0]
    if out not in scope.wanted:
        name = scope.stored(x).buffer.name
        for other in e.inputs[1:]:
            if isinstance(other, Variable) and name in scope.leaves(other):
                scope.stored(other)
        place = scope.reusable(x, e.inputs[1:])
        if place is not None and place.shape == out.type.shape:
            scope.places[out] = place
            return place
    place = scope.target(out)
    if columns is None or not x.type.size:
        scope.fill(place, x)
    else:
        _fill_blocks(scope, place, x, *columns)
    return place


def _fill_blocks(scope: Scope, place: Place, x: Atom, axis: int, blocks: Cut) -> None:
    """`Scope.fill`, in parallel over blocks of an axis."""
    nest = Nest(scope)
    first = nest.loop(blocks.count, stem="p")
    index: list[Value] = []
    for a, n in enumerate(x.type.shape):
        i = nest.loop(blocks.extent(first) if a == axis else n, stem="i")
        index.append(add(first_of(first, blocks.step), i) if a == axis else i)
    at = At(x.type.shape, tuple(index))
    nest.store(place, at, nest.element(x, at))
    nest.close()


_COMBINE = {"add": "add", "mul": "mul", "min": "min", "max": "max"}


def build_scatter(scope: Scope, e: Equation) -> None:
    """scatter: `x` with windows of updates combined into it, in order."""
    x, indices, updates = e.inputs
    out = e.outputs[0]
    wide = accumulator(out.type.dtype)
    if wide == out.type.dtype or e.params["op"] == "set":
        near = x.type.size * x.type.dtype.itemsize <= NEAR and x.type.size <= 4 * updates.type.size
        _write_updates(scope, e, updated(scope, e, _columns(e) if near else None), indices, updates)
        return
    # The half types are summed in float32, and rounded once.
    copy = Place(scope.temporary(wide, out.type.shape, "wide"))
    _converted(scope, out.type.shape, copy, x)
    _write_updates(scope, e, copy, indices, updates)
    place = scope.target(out)
    nest = Nest(scope)
    at = nest.over(out.type.shape)
    nest.store(place, at, nest.let(convert(nest.let(copy.load(at)), out.type.dtype)))
    nest.close()


def _converted(scope: Scope, shape: Shape, place: Place, x: Atom) -> None:
    nest = Nest(scope)
    at = nest.over(shape)
    nest.store(place, at, nest.let(convert(nest.element(x, at), place.buffer.dtype)))
    nest.close()


def _write_updates(scope: Scope, e: Equation, place: Place, indices: Atom, updates: Atom) -> None:
    axes, mode, shape = e.params["axes"], e.params["mode"], e.outputs[0].type.shape
    batch, rest = indices.type.shape[:-1], _rest(shape, axes)
    count = math.prod(batch)
    if updates.type.size == 0:
        if mode == "raise" and count:  # of windows without elements the indices still count
            nest = Nest(scope)
            _position(scope, nest, e, shape, indices, nest.over(batch).index)
            nest.close()
        return
    nest = Nest(scope)
    columns = _columns(e)
    blocks = columns and columns[1]
    first = nest.loop(blocks.count, stem="p") if blocks else ZERO
    outer = tuple(nest.loop(n, "serial" if count > 1 else "parallel", "u") for n in batch)
    at, ok = _position(scope, nest, e, shape, indices, outer)
    if mode != "clip" and ok != _ALWAYS:
        nest.branch(ok)
    if blocks:
        from_block = nest.loop(blocks.extent(first), stem="j")
        lead = tuple(nest.loop(n, stem="j") for n in rest[:-1])
        inner = (*lead, add(first_of(first, blocks.step), from_block))
    else:
        inner = tuple(nest.loop(n, stem="j") for n in rest)
    if mode == "clip" or 0 not in shape:
        target = At(shape, _joined(axes, at, inner, len(shape)))
        value = convert(nest.element(updates, At(updates.type.shape, (*outer, *inner))), place.buffer.dtype)
        if e.params["op"] != "set":
            value = op(_COMBINE[e.params["op"]], place.load(target), value)
        nest.store(place, target, value)
    nest.close()
    updates_loop = scope.block[-1]
    # Along with an index that counts the updates, such as x.at[arange(n), labels], each has its own part of the operand.
    if isinstance(updates_loop, For) and updates_loop.kind == "serial" and is_apart(updates_loop, nest.ranges):
        scope.block[-1] = replace(updates_loop, kind="parallel")


def _columns(e: Equation) -> tuple[int, Cut] | None:
    """The last axis of a scatter's windows, and how it is cut into blocks that are updated in parallel, if it is."""
    x, _, updates = e.inputs
    whole = [a for a in range(x.type.ndim) if a not in e.params["axes"]]
    if not whole or updates.type.size < PARALLEL_UPDATES:
        return None
    n = x.type.shape[whole[-1]]
    blocks = cut(n, _blocks(n))
    return (whole[-1], blocks) if blocks.count > 1 else None


def _blocks(n: int) -> int:
    """Into how many blocks windows of rows of n elements are cut: each goes through all the memory once, and wide ones do that best."""
    return max(min(n // WINDOW_BLOCK, FEW_BLOCKS), n // (4 * WINDOW_BLOCK))


def first_of(block: Value, step: int) -> Value:
    """The first position of a block."""
    return op("mul", block, Const(step, INDEX))


# --- dynamic slices -------------------------------------------------------------------------------


def starts(nest: Nest, shape: Shape, sizes: Sequence[int], given: Sequence[Atom]) -> tuple[Value, ...]:
    """The starts of a slice of `sizes`, clamped so that it lies inside `shape`."""
    found: list[Value] = []
    for n, size, a in zip(shape, sizes, given, strict=True):
        if n == size:
            found.append(ZERO)
            continue
        found.append(_clamped(nest, nest.indices(a, At((), ())), 0, n - size))
    return tuple(found)


def _dynamic_slice(nest: Nest, e: Equation, index: tuple[Value, ...]) -> Value:
    x, *given = e.inputs
    offset = starts(nest, x.type.shape, e.params["sizes"], given)
    return nest.element(x, At(x.type.shape, tuple(add(s, i) for s, i in zip(offset, index, strict=True))))


GENERATORS["dynamic_slice"] = _dynamic_slice


def build_dynamic_update_slice(scope: Scope, e: Equation) -> None:
    """dynamic_update_slice: `x` with a block written over, its start clamped so that it fits."""
    x, update, *given = e.inputs
    place = updated(scope, e)
    if update.type.size == 0:
        return
    nest = Nest(scope)
    offset = starts(nest, x.type.shape, update.type.shape, given)
    at = nest.over(update.type.shape)
    target = tuple(add(s, i) for s, i in zip(offset, at.index, strict=True))
    nest.store(place, At(x.type.shape, target), nest.element(update, at))
    nest.close()
