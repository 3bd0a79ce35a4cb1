"""Sorting as many rows at once as a vector has lanes: each lane is a row, and no key ever changes its lane.

Rows that lie along memory are transposed on the way in and out, in blocks that are sorted by a network while they are in registers;
rows that lie across memory need not even that.

Where only the first few elements are wanted, the row is read in chunks of about as many: each is sorted, and merged with the best so far.

May be imported by: the sorting kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from fdl.backends.llvm.tiles.elements import loaded, stored, turned
from fdl.backends.llvm.tiles.sorting.keys import Keys, decoded, exchange, run, splat
from fdl.backends.llvm.tiles.sorting.merges import load_all, merging, spaced, store_all, symbol
from fdl.backends.llvm.tiles.sorting.moving import keyed, repair
from fdl.backends.llvm.tiles.sorting.networks import NETWORKS
from fdl.backends.llvm.tiles.text import Code
from fdl.tracer.records import dataclass

NEAR = 1 << 15
"""Bytes that are sorted before more is looked at: what the first cache holds."""

ROWS_PARAMS = (
    ("ptr", "scratch"), ("ptr", "out"), ("ptr", "in"), ("i64", "rows"), ("i64", "n"), ("i64", "out_step"), ("i64", "in_step"),
    ("i64", "vectors"), ("i64", "kept"),
)  # fmt: skip


def padded(n: int, k: Keys) -> int:
    """The number of vectors that n keys a lane are sorted as: whole blocks, and powers of two of them where that costs little."""
    size = k.block
    total = -(-n // size) * size
    while size * 2 <= total and -(-n // (size * 2)) * size * 2 <= n + n // 16:
        size *= 2
        total = -(-n // size) * size
    return total


def chosen(kept: int, k: Keys) -> int:
    """The number of vectors that hold the best `kept` keys of each lane."""
    size = k.block
    while size < kept:
        size *= 2
    return size


def rows_name(k: Keys, *, lying: bool, select: bool) -> str:
    return symbol(k, f"{'select' if select else 'rows'}_{'along' if lying else 'across'}")


def sorting_rows(k: Keys, *, lying: bool) -> list[Code]:
    """``rows_along(scratch, out, in, rows, n, out_step, in_step, vectors, kept)``: rows of n elements, sorted each by itself.

    Rows `lying` along memory are `in_step` and `out_step` apart; else the elements of a row are, and rows are beside each other.  The
    first `kept` elements of a sorted row are stored. `vectors` is `padded(n)`.
    """
    code = Code(rows_name(k, lying=lying, select=False), ROWS_PARAMS)
    for group in _groups(code, k, lying):
        with group as g:
            marks = g.read("0", "%n", "%scratch")
            _fill(code, k, "%scratch", "%n", "%vectors")
            merge_near(code, k, "%scratch", "%vectors", str(k.block))
            g.repair(marks)
            g.write()
    return [code, repair(k), *merging(k)]


def selecting_rows(k: Keys, *, lying: bool) -> list[Code]:
    """``select_along(..)`` as `rows_along`, for few `kept` elements and keys without marks. `vectors` is `chosen(kept)`."""
    assert not k.marked
    code = Code(rows_name(k, lying=lying, select=True), ROWS_PARAMS)
    best, chunk = "%scratch", code.at(k.vector, "%scratch", "%vectors")
    last = code.sub("%vectors", 1)
    for group in _groups(code, k, lying):
        with group as g:
            _fill(code, k, best, "0", "%vectors")
            with code.loop("%n", step="%vectors") as c:
                count = code.min("%vectors", code.sub("%n", c.index))
                g.read(c.index, count, chunk)
                _fill(code, k, chunk, count, "%vectors")
                merge_near(code, k, chunk, "%vectors", str(k.block))
                # The smaller ones of the best, from the first on, and of the chunk, from the last: they rise and then fall.
                with code.loop("%vectors") as i:
                    place = code.at(k.vector, best, i.index)
                    other = code.at(k.vector, chunk, code.sub(last, i.index))
                    low, _ = exchange(code, k, *load_all(code, k, (place, other)))
                    store_all(code, k, (low,), (place,))
                code.call(f"@{symbol(k, 'clean')}", ("ptr", best), ("i64", "%vectors"), ("i64", "%vectors"))
            g.write()
    return [code, *merging(k)]


def _fill(code: Code, k: Keys, v: str, start: str, stop: str) -> None:
    """The largest key in vectors at `v`."""
    with code.loop(stop, start=start) as i:
        code.store(k.vector, splat(k, k.last), code.at(k.vector, v, i.index), k.bytes)


def merge_near(code: Code, k: Keys, v: str, total: str, run_: str) -> None:
    """Call `merge`, first for what the first cache holds, then for all."""
    near = NEAR // k.bytes
    merge = f"@{symbol(k, 'merge')}"
    with code.loop(total, step=near) as c:
        count = code.min(near, code.sub(total, c.index))
        code.call(merge, ("ptr", code.at(k.vector, v, c.index)), ("i64", count), ("i64", run_))
    with code.when(code.compare("sgt", total, near)):
        code.call(merge, ("ptr", v), ("i64", total), ("i64", near))


# --- groups of rows ---------------------------------------------------------------------------------


def _groups(code: Code, k: Keys, lying: bool) -> Iterator[AbstractContextManager[_Along | _Across]]:
    """The loops over groups of as many rows as there are lanes, and what is left of them: what is to be written into each."""
    if lying:
        yield _along(code, k)
        return
    whole = code.let(f"and i64 %rows, {-k.lanes}")
    yield _across(code, k, whole)
    yield _across_rest(code, k, whole)


@contextmanager
def _along(code: Code, k: Keys) -> Iterator[_Along]:
    with code.loop("%rows", step=k.lanes) as g:
        # Lanes without a row of their own do the last one again.
        last = code.sub(code.sub("%rows", g.index), 1)
        numbers = [code.add(g.index, code.min(last, r)) for r in range(k.lanes)]
        sources, targets = (
            [code.at(k.bits, base, code.mul(r, step)) for r in numbers] for base, step in (("%in", "%in_step"), ("%out", "%out_step"))
        )
        yield _Along(code, k, sources, targets)


@contextmanager
def _across(code: Code, k: Keys, whole: str) -> Iterator[_Across]:
    with code.loop(whole, step=k.lanes) as g:
        yield _Across(code, k, code.at(k.bits, "%in", g.index), code.at(k.bits, "%out", g.index), None)


@contextmanager
def _across_rest(code: Code, k: Keys, whole: str) -> Iterator[_Across]:
    with code.when(code.compare("slt", whole, "%rows")):
        yield _Across(code, k, code.at(k.bits, "%in", whole), code.at(k.bits, "%out", whole), code.sub("%rows", whole))


def _sort_rest(code: Code, k: Keys, v: str, done: str, count: str) -> None:
    """Fill up the last block of `count` vectors at `v`, and sort the blocks from vector `done` on."""
    filled = code.let(f"and i64 {code.add(count, k.block - 1)}, {-k.block}")
    _fill(code, k, v, count, filled)
    code.call(f"@{symbol(k, 'base')}", ("ptr", code.at(k.vector, v, done)), ("i64", code.sub(filled, done)))


@dataclass(frozen=True, slots=True)
class _Along:
    """Rows that lie along memory: where each of them starts."""

    code: Code
    k: Keys
    sources: list[str]
    targets: list[str]

    def read(self, first: str, count: str, to: str) -> str:
        """The keys of `count` columns from `first` on as sorted blocks at `to`; an i64 that is not 0 where one marks its row."""
        code, k = self.code, self.k
        whole = code.let(f"and i64 {count}, {-k.block}")
        with code.loop(whole, [("i64", "0")], step=k.block) as c:
            vectors: list[str] = []
            for start in range(0, k.block, k.lanes):
                at = code.add(code.add(first, c.index), start)
                vectors += turned(code, k, [loaded(code, k, code.at(k.bits, source, at)) for source in self.sources])
            keys, marks = keyed(code, k, vectors)
            run(code, k, NETWORKS[k.block], keys)
            store_all(code, k, keys, spaced(code, k, code.at(k.vector, to, c.index), 1, k.block))
            c.next = [code.let(f"or i64 {c.values[0]}, {marks}")]
        with code.loop(count, [("i64", c.results[0])], start=whole) as c:
            vector = "poison"
            for lane, source in enumerate(self.sources):
                element = code.load(k.bits, code.at(k.bits, source, code.add(first, c.index)))
                vector = code.let(f"insertelement {k.memory} {vector}, {k.bits} {element}, i64 {lane}")
            keys, marks = keyed(code, k, [vector])
            store_all(code, k, keys, [code.at(k.vector, to, c.index)])
            c.next = [code.let(f"or i64 {c.values[0]}, {marks}")]
        _sort_rest(code, k, to, whole, count)
        return c.results[0]

    def write(self) -> None:
        """The first %kept columns."""
        code, k = self.code, self.k
        whole = code.let(f"and i64 %kept, {-k.lanes}")
        with code.loop(whole, step=k.lanes) as c:
            keys = load_all(code, k, spaced(code, k, code.at(k.vector, "%scratch", c.index), 1, k.lanes))
            for x, to in zip(turned(code, k, [decoded(code, k, key) for key in keys]), self.targets, strict=True):
                stored(code, k, x, code.at(k.bits, to, c.index))
        with code.loop("%kept", start=whole) as c:
            x = decoded(code, k, code.load(k.vector, code.at(k.vector, "%scratch", c.index), k.bytes))
            for lane, to in enumerate(self.targets):
                element = code.let(f"extractelement {k.memory} {x}, i64 {lane}")
                code.store(k.bits, element, code.at(k.bits, to, c.index))

    def repair(self, marks: str) -> None:
        """Repair the rows where there are marks."""
        _repair(self.code, self.k, marks, self.sources, "1")


@dataclass(frozen=True, slots=True)
class _Across:
    """Rows beside each other, `count` of them where that is fewer than there are lanes."""

    code: Code
    k: Keys
    source: str
    target: str
    count: str | None

    def read(self, first: str, count: str, to: str) -> str:
        """As `_Along.read`."""
        code, k = self.code, self.k
        with code.loop(count, [("i64", "0")]) as i:
            at = code.mul(code.add(first, i.index), "%in_step")
            keys, marks = keyed(code, k, [loaded(code, k, code.at(k.bits, self.source, at), self.count)])
            store_all(code, k, keys, [code.at(k.vector, to, i.index)])
            i.next = [code.let(f"or i64 {i.values[0]}, {marks}")]
        _sort_rest(code, k, to, "0", count)
        return i.results[0]

    def write(self) -> None:
        """As `_Along.write`."""
        code, k = self.code, self.k
        with code.loop("%kept") as i:
            key = code.load(k.vector, code.at(k.vector, "%scratch", i.index), k.bytes)
            stored(code, k, decoded(code, k, key), code.at(k.bits, self.target, code.mul(i.index, "%out_step")), self.count)

    def repair(self, marks: str) -> None:
        """As `_Along.repair`."""
        last = str(self.k.lanes - 1) if self.count is None else self.code.sub(self.count, 1)
        places = [self.code.at(self.k.bits, self.source, self.code.min(last, r)) for r in range(self.k.lanes)]
        _repair(self.code, self.k, marks, places, "%in_step")


def _repair(code: Code, k: Keys, marks: str, sources: list[str], step: str) -> None:
    """Repair the row in each lane where there is a mark. Behind the vectors in scratch there is room."""
    if not k.marked:
        return
    spare = code.at(k.vector, "%scratch", "%vectors")
    with code.when(code.compare("ne", marks, 0)):
        for lane, source in enumerate(sources):
            code.call(
                f"@{symbol(k, 'repair')}", ("ptr", source), ("i64", step), ("i64", "%n"),
                ("ptr", code.at(k.element, "%scratch", lane)), ("i64", k.lanes), ("ptr", spare),
            )  # fmt: skip
