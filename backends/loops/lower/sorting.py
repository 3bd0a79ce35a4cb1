"""Builders for sort and top_k: what the tile kernel `sort` does of them, and what is done in loops around it.

The kernel of a CPU orders numbers of 4 and 8 bytes, alone: without operands that move along, and without a second key.  The
rest is brought to that.
An element's key, mapped to an unsigned integer of the same order, and its position in the row make one *word*, key first: words
are all different, ordering them is stable, and the positions in them say where every operand's elements come from.

    keys  3 1 2 1   →   words  3:0 1:1 2:2 1:3   →   1:1 1:3 2:2 3:0   →   positions  1 3 2 0

A key of 8 bytes is two of 4, and several keys are ordered one after the other, the last one first.

A word is the float64 2**52 + key * 2**20 + position: every CPU takes the smaller of two of these in one instruction, which
cannot be said of 64-bit
integers.  Keys of 1 or 2 bytes in short rows make words of 32 bits; rows of more than 2**20 elements make integers of 64 bits.

May be imported by: `lower/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from fdl.backends.loops.ir import INDEX, Alloc, Buffer, Call, Const, Load, Ref, Store, Value
from fdl.backends.loops.values import add, convert, mul, op
from fdl.tracer import dtypes
from fdl.tracer.dtypes import DType
from fdl.tracer.ir import Atom, Equation, Variable
from fdl.tracer.records import dataclass

from .context import Nest, Place, Scope
from .index import ZERO, At
from .ordering import SELECTED, Rows, ordered_bits, select_rows, sort_call, sort_rows
from .uses import is_alias
from .windowed import placed

_U32, _U64 = dtypes.uint32, dtypes.uint64


def build_sort(scope: Scope, e: Equation) -> None:
    """sort: the operands reordered along an axis by the first `num_keys` of them."""
    if scope.unit.target != "cpu":
        _whole_rows(scope, e)
        return
    x = e.inputs[0]
    rows = Rows(x.type.shape, e.params["axis"])
    if x.type.size == 0 or rows.n == 1:
        for operand, out in zip(e.inputs, e.outputs, strict=True):
            scope.fill(scope.target(out), operand)
    elif len(e.inputs) == 1 and x.type.dtype.itemsize >= 4:
        _sort_values(scope, rows, x, e.outputs[0])
    else:
        _sort_words(scope, rows, e)


# --- values -----------------------------------------------------------------------------------------


def _sort_values(scope: Scope, rows: Rows, x: Atom, out: Variable) -> None:
    """One operand of numbers that the kernel orders as they are."""
    target = scope.target(out)
    if rows.beside or rows.inner == 1:
        source = scope.places.get(x) if isinstance(x, Variable) else None
        if source is None or source.shape != rows.shape:
            # Computed where it is sorted.
            del scope.places[out]
            scope.fill(target, x)
            scope.places[out] = target
            source = target
        sort_rows(scope, rows, source, target)
        return
    along = (rows.outer, rows.inner, rows.n)
    moved = Place(scope.temporary(x.type.dtype, along, "rows"))
    nest = Nest(scope)
    o, i, k = nest.over(along).index
    nest.store(moved, At(along, (o, i, k)), nest.element(x, rows.at(o, k, i)))
    nest.close()
    sort_rows(scope, Rows(along, 2), moved, moved)
    nest = Nest(scope)
    o, k, i = nest.over((rows.outer, rows.n, rows.inner)).index
    nest.store(target, rows.at(o, k, i), nest.let(moved.load(At(along, (o, i, k)))))
    nest.close()


# --- words ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Word:
    """A number of `dtype` that orders by a key, and then by a position of `low` bits."""

    dtype: DType
    low: int

    def made(self, nest: Nest, key: Value, position: Value) -> Value:
        """The word of a key (u32) and a position."""
        if self.dtype == dtypes.int32:
            word = op("or", op("shift_left", key, Const(self.low, _U32)), convert(position, _U32))
            return nest.let(op("bitcast", op("xor", word, Const(1 << 31, _U32)), dtype=self.dtype))
        word = op("or", op("shift_left", convert(key, _U64), Const(self.low, _U64)), convert(position, _U64))
        if self.dtype == _U64:
            return nest.let(word)
        return nest.let(op("bitcast", op("or", word, Const(0x433 << 52, _U64)), dtype=self.dtype))

    def position(self, nest: Nest, word: Value) -> Value:
        """The position in a word."""
        unsigned = _U32 if self.dtype == dtypes.int32 else _U64
        bits = word if word.dtype == unsigned else op("bitcast", word, dtype=unsigned)
        return nest.let(convert(op("and", bits, Const((1 << self.low) - 1, unsigned)), INDEX), "n")


def _word(n: int, bits: int) -> _Word:
    """The word for keys of so many bits in rows of n."""
    low = max(n - 1, 1).bit_length()
    if bits + low <= 32:
        return _Word(dtypes.int32, low)
    return _Word(dtypes.float64, 20) if low <= 20 else _Word(_U64, 32)


Key = Callable[[Nest, Value], Value]
"""The part of an element that orders: an unsigned integer of 32 bits."""


def _parts(dtype: DType) -> list[tuple[Key, int]]:
    """The keys of elements of `dtype` that are ordered one after the other, the last one last, each with the bits it has."""
    if dtype.itemsize < 8:
        return [(lambda nest, x: convert(ordered_bits(nest, x), _U32), 8 * dtype.itemsize)]

    def low(nest: Nest, x: Value) -> Value:
        return convert(ordered_bits(nest, x), _U32)

    def high(nest: Nest, x: Value) -> Value:
        return convert(op("shift_right_logical", ordered_bits(nest, x), Const(32, _U64)), _U32)

    return [(low, 32), (high, 32)]


def _sort_words(scope: Scope, rows: Rows, e: Equation) -> None:
    """Operands by the positions in their sorted words."""
    xs = [_readable(scope, x) for x in e.inputs]
    places = [scope.target(v) if v in scope.uses.last else None for v in e.outputs]
    task = _task(scope, rows)
    order = _ordered_by(task, xs[: e.params["num_keys"]])
    with task.elements() as (nest, r, k):
        here = order(nest, r, k)
        for x, place in zip(xs, places, strict=True):
            if place is not None:
                nest.store(place, task.at(nest, rows, r, k), nest.element(x, task.at(nest, rows, r, here)))
    task.close()


def build_top_k(scope: Scope, e: Equation) -> None:
    """top_k: the elements at the first positions in sorted words, of which no more are ordered."""
    k = e.params["k"]
    values, places = (scope.target(v) if v in scope.uses.last else None for v in e.outputs)
    if e.outputs[0].type.size == 0:
        return
    x = _readable(scope, e.inputs[0])
    rows, kept = Rows(x.type.shape, e.params["axis"]), Rows(e.outputs[0].type.shape, e.params["axis"])
    task = _task(scope, rows)
    order = _ordered_by(task, [x], down=e.params["largest"], kept=k)
    with task.elements(k) as (nest, r, q):
        at, here = task.at(nest, kept, r, q), order(nest, r, q)
        if values is not None:
            nest.store(values, at, nest.element(x, task.at(nest, rows, r, here)))
        if places is not None:
            nest.store(places, at, nest.let(convert(here, e.outputs[1].type.dtype)))
    task.close()


Order = Callable[[Nest, Value, Value], Value]
"""From a row and a place in it to the position of the element that goes there."""


def _ordered_by(task: _Task, keys: Sequence[Atom], down: bool = False, kept: int | None = None) -> Order:
    """The order of the elements by `keys`, the first one before all others; `down` from the largest to the smallest."""
    n = task.rows.n
    order: Order | None = None
    parts = [(x, part, bits) for x in reversed(keys) for part, bits in _parts(x.type.dtype)]
    for number, (x, part, bits) in enumerate(parts):
        word, last = _word(n, bits), number == len(parts) - 1
        words = task.buffer(word.dtype, "words")
        with task.elements() as (nest, r, k):
            here = k if order is None else order(nest, r, k)
            key = part(nest, nest.element(x, task.at(nest, task.rows, r, here)))
            if down:
                key = op("xor", key, Const((1 << bits) - 1, _U32))
            nest.do(Store(words, task.index(r, k), word.made(nest, key, k)))
        task.sort(words, kept if last and kept is not None else n)
        order = _order_in(task, words, word, order, last)
    assert order is not None
    return order


def _order_in(task: _Task, words: Buffer, word: _Word, before: Order | None, last: bool) -> Order:
    """The order that sorted words give: positions in the order `before` them."""

    def position(nest: Nest, r: Value, k: Value) -> Value:
        found = word.position(nest, nest.let(Load(words, task.index(r, k))))
        return found if before is None else before(nest, r, found)

    if last:
        return position
    # What the next words are made from: in a buffer of its own, since it is read in no order.
    positions = task.buffer(dtypes.int32 if task.rows.n < 2**31 else INDEX, "places")
    with task.elements() as (nest, r, k):
        nest.do(Store(positions, task.index(r, k), nest.let(convert(position(nest, r, k), positions.dtype))))

    def order(nest: Nest, r: Value, k: Value) -> Value:
        return nest.let(convert(nest.let(Load(positions, task.index(r, k))), INDEX), "n")

    return order


class _Panel:
    """The rows that one thread sorts side by side, while the loop over panels is open; buffers are the thread's."""

    def __init__(self, scope: Scope, rows: Rows) -> None:
        self.scope, self.rows = scope, rows
        self.nest = Nest(scope)
        self.outer = self.nest.loop(rows.outer) if rows.beside else ZERO
        self.cut = rows.panels()
        p = self.nest.loop(self.cut.count, stem="p")
        self.first = mul(p, self.cut.step)
        self.count = self.cut.extent(p)

    def at(self, nest: Nest, rows: Rows, r: Value, k: Value) -> At:
        """Element k of row r of the panel, in an array of as many `rows`."""
        row = add(self.first, r)
        if self.rows.beside:
            return rows.at(self.outer, k, row)
        return rows.of_row(nest, row, k)

    @contextmanager
    def elements(self, n: int | None = None) -> Iterator[tuple[Nest, Value, Value]]:
        """Loops over the rows of the panel and their (first n) elements, in the order of memory."""
        rows, n = self.rows, self.rows.n if n is None else n
        extents = ((n, "k"), (self.count, "r")) if rows.beside else ((self.count, "r"), (n, "k"))
        before = len(self.nest.open)
        a, b = (self.nest.loop(size, stem=stem) for size, stem in extents)
        yield (self.nest, b, a) if rows.beside else (self.nest, a, b)
        while len(self.nest.open) > before:
            self.nest.end()

    def buffer(self, dtype: DType, stem: str) -> Buffer:
        """A number for each element."""
        n, step = self.rows.n, self.cut.step
        shape = (n, step) if self.rows.beside else (step, n)
        if not self.nest.open:
            return self.scope.temporary(dtype, shape, stem)
        buffer = Buffer(self.scope.unit.names(stem), dtype, shape, "local")
        self.scope.note(buffer.name)
        # Before all loops of the panel: fusion may move these up.
        self.nest.levels[-1].insert(0, Alloc(buffer))
        return buffer

    def index(self, r: Value, k: Value) -> tuple[Value, Value]:
        """Where the number of an element is in a buffer."""
        return (k, r) if self.rows.beside else (r, k)

    def sort(self, words: Buffer, kept: int) -> None:
        """Sort the rows of a buffer; only the first `kept` places need be right."""
        strides = words.strides[::-1] if self.rows.beside else words.strides
        y, x = (Ref(words, ZERO, (self.count, Const(n, INDEX)), strides) for n in (kept, self.rows.n))
        self.nest.do(sort_call(y, x, plain=1))

    def close(self) -> None:
        """Ends the loop over panels."""
        self.nest.close()


class _Whole:
    """All rows at once, in a nest for each step, for rows of which each is the work of several threads; buffers are in the arena."""

    def __init__(self, scope: Scope, rows: Rows) -> None:
        self.scope, self.rows = scope, rows
        self.count = rows.outer * rows.inner

    def at(self, nest: Nest, rows: Rows, r: Value, k: Value) -> At:
        """Element k of row r of an array of as many `rows`."""
        return rows.of_row(nest, r, k)

    @contextmanager
    def elements(self, n: int | None = None) -> Iterator[tuple[Nest, Value, Value]]:
        """Loops over the rows and their (first n) elements."""
        nest = Nest(self.scope)
        r, k = nest.loop(self.count, stem="r"), nest.loop(self.rows.n if n is None else n, stem="k")
        yield nest, r, k
        nest.close()

    def buffer(self, dtype: DType, stem: str) -> Buffer:
        """A number for each element."""
        return self.scope.temporary(dtype, (self.count, self.rows.n), stem)

    def index(self, r: Value, k: Value) -> tuple[Value, Value]:
        """Where the number of an element is in a buffer."""
        return r, k

    def sort(self, words: Buffer, kept: int) -> None:
        """Sort the rows of a buffer; only the first `kept` places need be right."""
        place = Place(words)
        if kept <= SELECTED:
            select_rows(self.scope, Rows(words.shape, 1), place, kept)
        else:
            sort_rows(self.scope, Rows(words.shape, 1), place, place, plain=1)

    def close(self) -> None:
        """Nothing is open."""


_Task = _Panel | _Whole


def _task(scope: Scope, rows: Rows) -> _Task:
    return _Whole(scope, rows) if rows.long else _Panel(scope, rows)


def _readable(scope: Scope, x: Atom) -> Atom:
    """`x`, stored where it costs something to compute an element of it: it is read twice, and in no order."""
    a = x
    while isinstance(a, Variable) and a not in scope.places and a in scope.lazy:
        made = scope.lazy[a]
        if made.primitive.name == "iota":
            return x
        if not (is_alias(made) or made.primitive.name in ("reshape", "transpose", "flip", "slice")):
            scope.stored(x)
            return x
        a = made.inputs[0]
    return x


# --- for targets without the kernel -----------------------------------------------------------------


def _whole_rows(scope: Scope, e: Equation) -> None:
    """The operands copied so that the axis is the last one, each row sorted in place by the tile kernel's definition, and moved back."""
    axis, num_keys = e.params["axis"], e.params["num_keys"]
    shape = e.inputs[0].type.shape
    last = axis == len(shape) - 1
    order = (*(a for a in range(len(shape)) if a != axis), axis)
    rows = tuple(shape[a] for a in order)
    places = []
    for x, out in zip(e.inputs, e.outputs, strict=True):
        place = scope.target(out) if last else Place(scope.temporary(x.type.dtype, rows, "rows"))
        places.append(place)
        if x.type.size:
            nest = Nest(scope)
            at = nest.over(rows)
            source = tuple(at.index[order.index(a)] for a in range(len(shape)))
            nest.store(place, at, nest.element(x, At(shape, source)))
            nest.close()
    if e.inputs[0].type.size:
        nest = Nest(scope)
        fixed = dict(enumerate(nest.over(rows[:-1]).index))
        refs = tuple(placed(place, rows).ref((len(rows) - 1,), fixed) for place in places)
        nest.do(Call("sort", refs, refs, (), (("num_keys", num_keys),)))
        nest.close()
    if last:
        return
    for place, out in zip(places, e.outputs, strict=True):
        target = scope.target(out)
        if out.type.size:
            nest = Nest(scope)
            at = nest.over(shape)
            nest.store(target, at, nest.let(place.load(At(rows, tuple(at.index[a] for a in order)))))
            nest.close()
