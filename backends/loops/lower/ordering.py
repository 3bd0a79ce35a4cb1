"""Rows of numbers brought in order by the tile kernel `sort`: many rows side by side, or a long one in parts.

A long row is split by value first.  A sample of it, sorted, gives `BUCKETS` - 1 edges; blocks of the row are counted against
these, each by a
thread, and moved to where their buckets are, in order; then each bucket is sorted by itself.  The parts follow from the shape and
the values alone, so that any number of threads gives the same bits (and a sort has only one result).  A bucket that a bad sample
made too large costs time only.

May be imported by: `sorting`.
"""

from __future__ import annotations

import math

from fdl.backends.loops.ir import BOOL, INDEX, Call, Carry, Const, Op, Ref, Value
from fdl.backends.loops.values import add, convert, floordiv, mod, mul, op, select, sub
from fdl.tracer import dtypes
from fdl.tracer.records import dataclass

from .context import Nest, Place, Scope
from .index import ZERO, At, Shape
from .panels import Cut
from .windowed import placed

PANEL = 16
"""Rows that are sorted side by side: what fills the widest vectors."""
BESIDE = 8
"""Elements beside each other along other axes from which on rows are sorted where they lie, instead of along memory."""
FEW = 10
"""The number of rows below which each is sorted by itself."""
LONG = 1 << 15
"""The longest row that is sorted in one piece."""
SELECTED, SELECTED_FROM = 128, 1 << 13
"""The most elements that are selected from each part of a long row, and the length of a part."""
BUCKETS = 32
"""The parts that a long row is split into."""
SAMPLES = 32
"""Elements of the sample for each bucket."""
BLOCK = 1 << 14
"""Elements of a long row that are counted together."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of an array along `axis`, as (outer, n, inner): so many before and behind the axis."""

    shape: Shape
    axis: int

    @property
    def n(self) -> int:
        return self.shape[self.axis]

    @property
    def outer(self) -> int:
        return math.prod(self.shape[: self.axis])

    @property
    def inner(self) -> int:
        return math.prod(self.shape[self.axis + 1 :])

    @property
    def long(self) -> bool:
        """Whether a row is worth several threads."""
        return self.n > LONG

    @property
    def beside(self) -> bool:
        """Whether rows are taken side by side; else each lies along memory, or is brought there."""
        return self.inner >= BESIDE and not self.long

    def at(self, o: Value, k: Value, i: Value) -> At:
        """Element k of a row."""
        return At((self.outer, self.n, self.inner), (o, k, i))

    def of_row(self, nest: Nest, row: Value, k: Value) -> At:
        """Element k of the row of that number."""
        if self.inner == 1:
            return At((self.outer, self.n), (row, k))
        return self.at(nest.let(floordiv(row, self.inner, nest.ranges)), k, nest.let(mod(row, self.inner, nest.ranges)))

    def panels(self) -> Cut:
        """How rows are cut into what a task sorts; of those beside each other, for each of `outer`."""
        count = self.inner if self.beside else self.outer * self.inner
        return Cut(count, 1 if count < FEW else PANEL)


def ordered_bits(nest: Nest, x: Value) -> Value:
    """The unsigned integer of the width of `x` that stands where `x` stands in the order of a sort: NaN last, zeros equal."""
    if x.dtype == BOOL:
        return convert(x, dtypes.uint8)
    width = 8 * x.dtype.itemsize
    unsigned = {8: dtypes.uint8, 16: dtypes.uint16, 32: dtypes.uint32, 64: dtypes.uint64}[width]
    sign = Const(1 << (width - 1), unsigned)
    bits = x if x.dtype == unsigned else nest.let(op("bitcast", x, dtype=unsigned))
    if not dtypes.is_float(x.dtype):
        return bits if x.dtype == unsigned else op("xor", bits, sign)
    # Negative numbers are flipped, the others lie above them.
    nan, zero = op("ne", x, x), op("eq", x, Const(0.0, x.dtype))
    flipped = select(op("ge", bits, sign), op("not", bits), op("or", bits, sign))
    return nest.let(select(nan, Const((1 << width) - 1, unsigned), select(zero, sign, flipped)))


def sort_call(y: Ref, x: Ref, **attrs: int) -> Call:
    """The kernel on a window."""
    return Call("sort", (y,), (x,), (), tuple(sorted({"num_keys": 1, **attrs}.items())))


def sort_rows(scope: Scope, rows: Rows, source: Place, target: Place, **attrs: int) -> None:
    """The rows of one dense array, sorted into another or in place; long rows and those not `beside` each other are along memory."""
    if rows.long:
        _sort_long(scope, rows, source, target, **attrs)
        return
    nest = Nest(scope)
    outer = nest.loop(rows.outer) if rows.beside else ZERO
    panels = rows.panels()
    p = nest.loop(panels.count, stem="p")
    windows = [placed(place, rows.shape) for place in (target, source)]
    step = panels.step if rows.beside else panels.step * rows.n
    strides = (1, rows.inner) if rows.beside else (rows.n, 1)
    start = add(mul(outer, rows.n * rows.inner), mul(p, step))
    shape = (panels.extent(p), Const(rows.n, INDEX))
    y, x = (Ref(w.buffer, add(w.offset, start), shape, strides) for w in windows)
    nest.do(sort_call(y, x, **attrs))
    nest.close()


def select_rows(scope: Scope, rows: Rows, place: Place, kept: int) -> None:
    """The first `kept` places of long rows of words, sorted in place: those of each part, and then those of all parts."""
    count, n = rows.outer, rows.n
    step = -(-n // (n // SELECTED_FROM))
    while 0 < n % step < kept:
        step += 1
    parts = Cut(n, step)
    found = Place(scope.temporary(place.buffer.dtype, (count, parts.count * kept), "found"))
    nest = Nest(scope)
    r, p = nest.loop(count, stem="r"), nest.loop(parts.count, stem="p")
    x, y = (placed(w, w.shape) for w in (place, found))
    into = Ref(y.buffer, add(y.offset, mul(r, parts.count * kept), mul(p, kept)), (Const(kept, INDEX),), (1,))
    part = Ref(x.buffer, add(x.offset, mul(r, n), mul(p, step)), (parts.extent(p),), (1,))
    nest.do(sort_call(into, part, about=step, most=step, plain=1))
    nest.close()
    nest = Nest(scope)
    r = nest.loop(count, stem="r")
    part = Ref(y.buffer, add(y.offset, mul(r, parts.count * kept)), (Const(parts.count * kept, INDEX),), (1,))
    into = Ref(x.buffer, add(x.offset, mul(r, n)), (Const(kept, INDEX),), (1,))
    nest.do(sort_call(into, part, plain=1))
    nest.close()


# --- long rows --------------------------------------------------------------------------------------


def _sort_long(scope: Scope, rows: Rows, source: Place, target: Place, **attrs: int) -> None:
    count, n = rows.outer * rows.inner, rows.n
    edges = _edges(scope, count, n, source)
    blocks = Cut(n, -(-n // (n // BLOCK)))
    assert blocks.count > 1, n
    ids, starts = _counted(scope, (count, n), blocks, source, edges)
    firsts = _starts(scope, (count, n), blocks, starts)
    moved = Place(scope.temporary(source.buffer.dtype, (count, n), "split"))
    nest = Nest(scope)
    r, p = nest.loop(count, stem="r"), nest.loop(blocks.count, stem="p")
    i = nest.loop(blocks.extent(p), "serial", "u")
    k = add(mul(p, blocks.step), i)
    bucket = nest.let(convert(nest.let(ids.load(At((count, n), (r, k)))), INDEX), "n")
    counter = At(starts.shape, (r, p, bucket))
    to = nest.let(starts.load(counter), "n")
    nest.store(moved, At((count, n), (r, to)), nest.let(source.load(At((count, n), (r, k)))))
    nest.store(starts, counter, nest.let(add(to, 1)))
    nest.close()
    nest = Nest(scope)
    r, b = nest.loop(count, stem="r"), nest.loop(BUCKETS, stem="b")
    begin, end = (nest.let(firsts.load(At(firsts.shape, (r, add(b, d)))), "n") for d in (0, 1))
    windows = [placed(place, (count, n)) for place in (target, moved)]
    offset, size = add(mul(r, n), begin), nest.let(sub(end, begin), "n")
    y, x = (Ref(w.buffer, add(w.offset, offset), (size,), (1,)) for w in windows)
    nest.do(sort_call(y, x, about=n // BUCKETS, most=n, **attrs))
    nest.close()


def _edges(scope: Scope, count: int, n: int, source: Place) -> Place:
    """The keys that divide the buckets of each row."""
    size = BUCKETS * SAMPLES
    sample = Place(scope.temporary(source.buffer.dtype, (count, size), "sample"))
    nest = Nest(scope)
    at = nest.over((count, size))
    r, j = at.index
    # Not evenly, or else a periodic row might be sampled at one phase.
    step = n // size
    shift = Op("rem", (mul(j, 0x9E3779B1), Const(step, INDEX)), INDEX)
    nest.store(sample, at, nest.let(source.load(At((count, n), (r, nest.let(add(mul(j, step), shift), "n"))))))
    nest.close()
    sort_rows(scope, Rows((count, size), 1), sample, sample)
    nest = Nest(scope)
    r, j = nest.loop(count, stem="r"), nest.loop(BUCKETS - 1, stem="j")
    key = ordered_bits(nest, nest.let(sample.load(At((count, size), (r, add(mul(j, SAMPLES), SAMPLES))))))
    edges = Place(scope.temporary(key.dtype, (count, BUCKETS - 1), "edges"))
    nest.store(edges, At(edges.shape, (r, j)), key)
    nest.close()
    return edges


def _counted(scope: Scope, shape: Shape, blocks: Cut, source: Place, edges: Place) -> tuple[Place, Place]:
    """(the bucket of each element; how many each block has in each bucket)."""
    count, _ = shape
    ids = Place(scope.temporary(dtypes.uint8, shape, "bucket"))
    counts = Place(scope.temporary(INDEX, (count, blocks.count, BUCKETS), "counts"))
    nest = Nest(scope)
    r, p = nest.loop(count, stem="r"), nest.loop(blocks.count, stem="p")
    first, extent = mul(p, blocks.step), blocks.extent(p)
    i = nest.loop(extent, stem="k")
    at = At(shape, (r, add(first, i)))
    key = ordered_bits(nest, nest.let(source.load(at)))
    number = dtypes.int32 if key.dtype.itemsize == 4 else INDEX

    def above(j: tuple[Value, ...]) -> Value:
        return convert(op("ge", key, nest.let(edges.load(At(edges.shape, (r, j[0]))))), number)

    bucket = nest.reduce("add", number, [BUCKETS - 1], above)
    nest.store(ids, at, nest.let(convert(bucket, dtypes.uint8)))
    nest.end()
    b = nest.loop(BUCKETS, stem="b")
    nest.store(counts, At(counts.shape, (r, p, b)), ZERO)
    nest.end()
    u = nest.loop(extent, "serial", "u")
    b = nest.let(convert(nest.let(ids.load(At(shape, (r, add(first, u))))), INDEX), "n")
    counter = At(counts.shape, (r, p, b))
    nest.store(counts, counter, nest.let(add(nest.let(counts.load(counter), "n"), 1)))
    nest.close()
    return ids, counts


def _starts(scope: Scope, shape: Shape, blocks: Cut, counts: Place) -> Place:
    """Where each bucket starts, with the end of the last one; `counts` become where each block's part of it does."""
    count, n = shape
    firsts = Place(scope.temporary(INDEX, (count, BUCKETS + 1), "firsts"))
    nest = Nest(scope)
    r = nest.loop(count, stem="r")
    nest.store(firsts, At(firsts.shape, (r, Const(BUCKETS, INDEX))), Const(n, INDEX))
    b = nest.loop(BUCKETS, "serial", "b")
    before = nest.carry(INDEX)
    nest.store(firsts, At(firsts.shape, (r, b)), before)
    p = nest.loop(blocks.count, "serial", "p")
    total = nest.carry(INDEX)
    at = At(counts.shape, (r, p, b))
    here = nest.let(counts.load(at), "n")
    nest.store(counts, at, total)
    result = scope.unit.var("s", INDEX)
    nest.end([Carry(total, before, add(total, here), result)])
    after = scope.unit.var("s", INDEX)
    nest.end([Carry(before, ZERO, result, after)])
    nest.close()
    return firsts
