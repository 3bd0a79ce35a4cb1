"""Builders for operations along one axis in order: cumulative sums and extrema, argmax and argmin.

May be imported by: `lower/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fdl.backends.loops.ir import INDEX, Call, Carry, Const, Ref, Value
from fdl.backends.loops.reductions import accumulator, identity_of
from fdl.backends.loops.values import add, convert, mul, op, select, sub
from fdl.tracer import dtypes
from fdl.tracer.ir import Equation, Variable
from fdl.tracer.records import dataclass

from .context import Nest, Place, Scope
from .index import ZERO, At
from .panels import Cut, cut
from .windowed import placed

_CUMULATIVE = {"cumsum": "add", "cumprod": "mul", "cummax": "max", "cummin": "min"}
PANEL = 16
"""Rows that are added up side by side: what fills the widest vectors."""
LONG = 1 << 15
"""The length from which on a row among few is added up in parts."""
PART = 1 << 13
"""The least elements of a part."""
SHORT = 8
"""The longest row that is left to a loop."""
SEARCHED = 256
"""Elements of a block whose extremum is kept."""


def build_cumulative(scope: Scope, e: Equation) -> None:
    """cumsum and its kin: a serial loop along the axis that stores what it carries; the other axes are independent.

    Along the last axis of numbers of 4 or 8 bytes a tile kernel does it.
    """
    x, out = e.inputs[0], e.outputs[0]
    axis, name = e.params["axis"], _CUMULATIVE[e.primitive.name]
    dtype = accumulator(x.type.dtype)
    place = scope.target(out)
    shape = x.type.shape
    if x.type.size == 0:
        return
    plain = dtype == x.type.dtype == out.type.dtype and dtype.kind in "iuf" and dtype.itemsize >= 4
    if scope.unit.target == "cpu" and plain and axis == len(shape) - 1 and shape[axis] > SHORT:
        _running(scope, e, place, name)
        return
    nest = Nest(scope)
    others = nest.over((*shape[:axis], *shape[axis + 1 :])).index
    step = nest.loop(shape[axis], "serial", "k")
    if step == ZERO:
        at = At(shape, (*others[:axis], ZERO, *others[axis:]))
        nest.store(place, at, nest.element(x, at))
        nest.close()
        return
    k = sub(shape[axis] - 1, step) if e.params["reverse"] else step
    at = At(shape, (*others[:axis], k, *others[axis:]))
    acc = nest.carry(dtype)
    total = nest.let(op(name, acc, convert(nest.element(x, at), dtype)))
    nest.store(place, at, nest.let(convert(total, out.type.dtype)))
    nest.end([Carry(acc, identity_of(name, dtype), total, scope.unit.var("s", dtype))])
    nest.close()


def _running(scope: Scope, e: Equation, place: Place, name: str) -> None:
    """The kernel on panels of rows, or on parts of a long row, each of which starts from the total of those before it."""
    x, out = e.inputs[0], e.outputs[0]
    dtype, n, reverse = x.type.dtype, x.type.shape[-1], e.params["reverse"]
    rows = x.type.size // n
    source = scope.places.get(x) if isinstance(x, Variable) else None
    if source is None or source.shape != x.type.shape:
        del scope.places[out]
        scope.fill(place, x)
        scope.places[out] = source = place
    parts = cut(n, n // PART)
    # Products of floats are left in their order: some in between may overflow.
    if rows < PANEL and n >= LONG and not (name == "mul" and dtypes.is_float(dtype)):
        starts = _starts(scope, source, (rows, n), parts, name, reverse)
        panels = Cut(rows, 1)
    else:
        parts, panels = Cut(n, n), Cut(rows, min(PANEL, rows))
        starts = Place(scope.temporary(dtype, (), "start"))
        nest = Nest(scope)
        nest.store(starts, At((), ()), identity_of(name, dtype))
        nest.close()
    nest = Nest(scope)
    p, q = nest.loop(panels.count, stem="p"), nest.loop(parts.count, stem="q")
    count, length = panels.extent(p), parts.extent(q)
    offset = add(mul(p, panels.step * n), mul(q, parts.step))
    y, z = (placed(w, (rows, n)) for w in (place, source))
    into, given = (Ref(w.buffer, add(w.offset, offset), (count, length), (n, 1)) for w in (y, z))
    first = placed(starts, starts.shape)
    at = add(mul(p, parts.count), q) if starts.shape else ZERO
    nest.do(Call("running", (into,), (given, Ref(first.buffer, add(first.offset, at), (count,), (0,))), (), (("op", name), ("reverse", reverse))))  # noqa: E501
    nest.close()


def _starts(scope: Scope, source: Place, shape: tuple[int, int], parts: Cut, name: str, reverse: bool) -> Place:
    """For each part of each row, the total of the parts before it (behind it in reverse)."""
    rows, _ = shape
    dtype = source.buffer.dtype
    totals = Place(scope.temporary(dtype, (rows, parts.count), "totals"))
    starts = Place(scope.temporary(dtype, (rows, parts.count), "starts"))
    nest = Nest(scope)
    r, q = nest.loop(rows, stem="r"), nest.loop(parts.count, stem="q")

    def term(k: tuple[Value, ...]) -> Value:
        return nest.let(source.load(At(shape, (r, add(mul(q, parts.step), k[0])))))

    nest.store(totals, At(totals.shape, (r, q)), nest.reduce(name, dtype, [parts.extent(q)], term))
    nest.close()
    nest = Nest(scope)
    r = nest.loop(rows, stem="r")
    step = nest.loop(parts.count, "serial", "q")
    at = At(totals.shape, (r, sub(parts.count - 1, step) if reverse else step))
    before = nest.carry(dtype)
    nest.store(starts, at, before)
    after = nest.let(op(name, before, nest.let(totals.load(at))))
    nest.end([Carry(before, identity_of(name, dtype), after, scope.unit.var("s", dtype))])
    nest.close()
    return starts


def build_arg_extremum(scope: Scope, e: Equation) -> None:
    """argmax and argmin: the extremum, then the least index at which it stands (or at which there is a NaN).

    Both are reductions that may be regrouped; one loop that carries the extremum and its index could not be.  Along memory the extremum
    of each block is kept, so that only the first block that has it is searched.
    """
    x, out = e.inputs[0], e.outputs[0]
    axis = e.params["axis"]
    shape, dtype = x.type.shape, x.type.dtype
    name = "max" if e.primitive.name == "argmax" else "min"
    n = shape[axis]
    place = None if out.type.ndim == 0 else scope.target(out)
    search = _Search(name, dtype, dtypes.int32 if n < 2**31 else INDEX)
    blocks = Cut(n, SEARCHED)
    if axis < len(shape) - 1 or blocks.count < 2 or scope.unit.target != "cpu":
        nest = Nest(scope)
        others = nest.over(out.type.shape).index

        def element(k: Value) -> Value:
            return nest.element(x, At(shape, (*others[:axis], k, *others[axis:])))

        first = search.first(nest, search.best(nest, n, element), n, element)
    else:
        lead = shape[:-1]
        extrema = Place(scope.temporary(dtype, (*lead, blocks.count), "extrema"))
        nest = Nest(scope)
        others = nest.over(lead).index
        b = nest.loop(blocks.count, stem="b")
        within = search.best(nest, blocks.extent(b), lambda k: nest.element(x, At(shape, (*others, add(mul(b, blocks.step), k)))))
        nest.store(extrema, At(extrema.shape, (*others, b)), within)
        nest.close()
        nest = Nest(scope)
        others = nest.over(lead).index

        def of_block(b: Value) -> Value:
            return nest.let(extrema.load(At(extrema.shape, (*others, b))))

        best = search.best(nest, blocks.count, of_block)
        block = nest.let(convert(search.first(nest, best, blocks.count, of_block), INDEX), "n")
        start = nest.let(mul(block, blocks.step), "n")
        inside = search.first(nest, best, blocks.extent(block), lambda k: nest.element(x, At(shape, (*others, add(start, k)))))
        first = nest.let(add(start, convert(inside, INDEX)), "n")
    index = nest.let(convert(first, e.params["dtype"]))
    if place is None:
        scope.scalars[out] = index
        return
    nest.store(place, At(out.type.shape, others), index)
    nest.close()


@dataclass(frozen=True, slots=True)
class _Search:
    """The extremum of numbers of `dtype` and its first index, of type `number`."""

    name: str
    dtype: dtypes.DType
    number: dtypes.DType

    def best(self, nest: Nest, count: int | Value, element: Callable[[Value], Value]) -> Value:
        """The extremum of the first `count` elements, a NaN if there is one."""
        return nest.reduce(self.name, self.dtype, [count], lambda r: element(r[0]))

    def first(self, nest: Nest, best: Value, count: int | Value, element: Callable[[Value], Value]) -> Value:
        """The least index of `best`, or of a NaN, among them."""

        def found(r: tuple[Value, ...]) -> Value:
            value = element(r[0])
            here = op("eq", value, best)
            if dtypes.is_float(self.dtype):
                here = op("or", here, op("ne", value, value))
            return nest.let(select(here, convert(r[0], self.number), Const(np.iinfo(self.number).max, self.number)))

        return nest.reduce("min", self.number, [count], found)
