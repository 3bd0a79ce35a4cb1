"""Sorting one row of contiguous elements by itself.

The row is read as a matrix, one list in each lane; the lists of a chunk of vectors are sorted side by side, and laid out one
after the other by a
transpose.  From there on they are merged as in `merges`, with the lanes of a vector following each other: a vector is turned
round where its
place is, and the last levels, inside a vector, are between the vectors of a transposed block.

May be imported by: the sorting kernels.
"""

from __future__ import annotations

from fdl.backends.llvm.tiles.elements import loaded, stored, turned
from fdl.backends.llvm.tiles.sorting.keys import Keys, decoded, run, splat
from fdl.backends.llvm.tiles.sorting.merges import (
    flip,
    load_all,
    log2,
    log2_of,
    merge_rest,
    merge_whole,
    merging,
    rounds,
    spaced,
    store_all,
    symbol,
)
from fdl.backends.llvm.tiles.sorting.moving import flag, keyed, repair
from fdl.backends.llvm.tiles.sorting.networks import halvings
from fdl.backends.llvm.tiles.sorting.rows import chosen, merge_near, rows_name, selecting_rows
from fdl.backends.llvm.tiles.text import Code

SPARE = 8
"""A row is padded by at most one in so many vectors, or to a whole block."""


def select_scratch(kept: int, k: Keys) -> int:
    """The scratch bytes of `select_single`: the candidates, and what finding or sorting them needs."""
    vectors = chosen(kept, k)
    return (vectors + 1) * k.bytes + max(2 * vectors * k.bytes, single_scratch((vectors + 1) * k.lanes, k))


def single_scratch(n: int, k: Keys) -> int:
    """The scratch bytes of `single`."""
    vectors = -(-n // k.lanes)
    return 3 * k.bytes * (vectors + vectors // SPARE + k.block)


def single(k: Keys) -> list[Code]:
    """``single_row(scratch, out, in, n, kept)``: a row of n > 0 elements; the windows may be the same."""
    code = Code(symbol(k, "single_row"), (("ptr", "scratch"), ("ptr", "out"), ("ptr", "in"), ("i64", "n"), ("i64", "kept")))
    v = "%scratch"
    chunk, total = _cut(code, k)
    marks, falls = _read(code, k, v, total)
    merged = code.at(k.vector, v, code.mul(total, 2))
    with code.when(falls):
        code.call(f"@{symbol(k, 'base')}", ("ptr", v), ("i64", total))
        with code.loop(total, step=chunk) as c:
            merge_near(code, k, code.at(k.vector, v, c.index), chunk, str(k.block))
        _lay_out(code, k, v, merged, chunk, total)
        first = code.let(f"lshr i64 {chunk}, {log2(k.lanes)}")
        with code.loop(rounds(code, total, first), [("i64", first)]) as i:
            (length,) = i.values
            code.call(f"@{symbol(k, 'merge_lists')}", ("ptr", merged), ("i64", total), ("i64", length))
            i.next = [code.mul(length, 2)]
    found = code.select(falls, "ptr", merged, v)
    if k.marked:
        with code.when(code.compare("ne", marks, 0)):
            # The two parts of scratch, of three, where the sorted keys are not.
            spare = code.select(falls, "ptr", v, code.at(k.vector, v, total))
            arguments = (("ptr", "%in"), ("i64", 1), ("i64", "%n"), ("ptr", found), ("i64", 1), ("ptr", spare))
            code.call(f"@{symbol(k, 'repair')}", *arguments)
    _write(code, k, found)
    turns = [flip(k, levels, one_list=True) for levels in range(log2(k.block))]
    return [code, repair(k), *merging(k), *turns, _merge_lists(k), _within(k)]


def select_single(k: Keys) -> list[Code]:
    """``select_single(scratch, out, in, n, kept, vectors)``: the first `kept` elements of the sorted row, few, of keys without marks.

    The row is read as a matrix, one list in each lane; the best `vectors` (`chosen(kept)`) of each are sorted as a row.
    """
    params = (("ptr", "scratch"), ("ptr", "out"), ("ptr", "in"), ("i64", "n"), ("i64", "kept"), ("i64", "vectors"))
    code = Code(symbol(k, "select_single"), params)
    best = "%scratch"
    whole = code.let(f"lshr i64 %n, {log2(k.lanes)}")
    rows = f"@{rows_name(k, lying=False, select=True)}"
    found = code.mul("%vectors", k.lanes)
    code.call(
        rows, ("ptr", code.at(k.element, best, found)), ("ptr", best), ("ptr", "%in"), ("i64", k.lanes), ("i64", whole),
        ("i64", k.lanes), ("i64", k.lanes), ("i64", "%vectors"), ("i64", code.min("%vectors", whole)),
    )  # fmt: skip
    # Behind them, what does not fill a vector.
    start = code.mul(whole, k.lanes)
    count = code.mul(code.min("%vectors", whole), k.lanes)
    with code.loop("%n", start=start) as i:
        element = code.load(k.bits, code.at(k.bits, "%in", i.index))
        code.store(k.bits, element, code.at(k.bits, best, code.add(count, code.sub(i.index, start))))
    total = code.add(count, code.sub("%n", start))
    rest = code.at(k.vector, best, code.add("%vectors", 1))
    code.call(f"@{symbol(k, 'single_row')}", ("ptr", rest), ("ptr", "%out"), ("ptr", best), ("i64", total), ("i64", "%kept"))
    return [code, *selecting_rows(k, lying=False), *single(k)]


def _cut(code: Code, k: Keys) -> tuple[str, str]:
    """(the vectors of a chunk, a power of two; all vectors, a multiple of that)."""
    vectors = code.ceil_div("%n", k.lanes)
    most = code.add(vectors, code.div(vectors, SPARE))

    def rounded(size: str | int) -> str:
        return code.mul(code.let(f"udiv i64 {code.sub(code.add(vectors, size), 1)}, {size}"), size)

    tries = code.max(code.sub(log2_of(code, power_above(code, vectors)), log2(k.block)), 0)
    with code.loop(tries, [("i64", str(k.block))]) as i:
        # The largest that fits is taken.
        size = code.let(f"shl i64 {k.block}, {code.add(i.index, 1)}")
        fits = code.compare("sle", rounded(size), most)
        i.next = [code.select(fits, "i64", size, i.values[0])]
    (chunk,) = i.results
    return chunk, rounded(chunk)


def power_above(code: Code, n: str) -> str:
    """The least power of two that is n (positive) or more."""
    code.declare("i64 @llvm.ctlz.i64(i64, i1)")
    bits = code.sub(64, code.let(f"call i64 @llvm.ctlz.i64(i64 {code.sub(n, 1)}, i1 false)"))
    return code.let(f"shl i64 1, {bits}")


def _read(code: Code, k: Keys, v: str, total: str) -> tuple[str, str]:
    """The row's keys at `v`, up to `total` vectors; returns an i64 that is not 0 where one marks the row, and whether they
    fall anywhere (i1)."""
    whole = code.let(f"lshr i64 %n, {log2(k.lanes)}")
    with code.loop(whole, [("i64", "0")]) as i:
        x = loaded(code, k, code.at(k.memory, "%in", i.index))
        (key,), mark = keyed(code, k, [x])
        code.store(k.vector, key, code.at(k.vector, v, i.index), k.bytes)
        i.next = [code.let(f"or i64 {i.values[0]}, {mark}")]
    (marks,) = i.results
    with code.loop(total, start=whole) as i:
        code.store(k.vector, splat(k, k.last), code.at(k.vector, v, i.index), k.bytes)
    # What is left of the row, one by one: all others are the largest keys.
    with code.loop("%n", [("i64", marks)], start=code.mul(whole, k.lanes)) as i:
        bits = code.load(k.bits, code.at(k.bits, "%in", i.index))
        vector = code.let(f"insertelement {k.memory} zeroinitializer, {k.bits} {bits}, i64 0")
        (key,), mark = keyed(code, k, [vector])
        code.store(k.element, code.let(f"extractelement {k.vector} {key}, i64 0"), code.at(k.element, v, i.index))
        i.next = [code.let(f"or i64 {i.values[0]}, {mark}")]
    (marks,) = i.results
    return marks, _falls(code, k, v, total)


def _falls(code: Code, k: Keys, v: str, total: str) -> str:
    """i1: whether a key of the `total` vectors at `v` is below the one before it: soon found, but in sorted rows. The next
    vector is used up."""
    pairs = code.mul(total, k.lanes)
    code.store(k.vector, splat(k, k.last), code.at(k.vector, v, total), k.bytes)
    before, head, body, done = code.block, *(code.fresh(stem) for stem in ("rise", "pair", "fall"))
    i, following = f"%{code.fresh('i')}", f"%{code.fresh('n')}"
    code.emit(f"br label %{head}")
    code.label(head)
    code.emit(f"{i} = phi i64 [ 0, %{before} ], [ {following}, %{body} ]")
    code.emit(f"br i1 {code.compare('slt', i, pairs)}, label %{body}, label %{done}")
    code.label(body)
    here = code.load(k.vector, code.at(k.element, v, i), k.size)
    after = code.load(k.vector, code.at(k.element, v, code.add(i, 1)), k.size)
    relation = {"float": "fcmp olt", "double": "fcmp olt"}.get(k.element, "icmp slt" if k.signed else "icmp ult")
    found = code.compare("ne", flag(code, k, code.let(f"{relation} {k.vector} {after}, {here}")), 0)
    code.emit(f"{following} = add i64 {i}, {k.lanes}")
    code.emit(f"br i1 {found}, label %{done}, label %{head}")
    code.label(done)
    return code.let(f"phi i1 [ false, %{head} ], [ true, %{body} ]")


def _lay_out(code: Code, k: Keys, v: str, to: str, chunk: str, total: str) -> None:
    """Every chunk transposed: the list of lane l becomes the l-th part of the chunk at `to`."""
    length = code.let(f"lshr i64 {chunk}, {log2(k.lanes)}")
    with code.loop(total, step=chunk) as c:
        source, target = code.at(k.vector, v, c.index), code.at(k.vector, to, c.index)
        with code.loop(length) as b:
            block = spaced(code, k, code.at(k.vector, source, code.mul(b.index, k.lanes)), 1, k.lanes)
            lists = _turned_keys(code, k, load_all(code, k, block))
            store_all(code, k, lists, spaced(code, k, code.at(k.vector, target, b.index), length, k.lanes))


def _merge_lists(k: Keys) -> Code:
    """``merge_lists(ptr v, i64 count, i64 run)``: one round of merging pairs of lists, of `run` vectors (a power of two) each."""
    code = Code(symbol(k, "merge_lists"), (("ptr", "v"), ("i64", "count"), ("i64", "run")))
    whole = code.let(f"and i64 %count, {code.mul('%run', -2)}")
    few = code.compare("slt", "%run", k.block)
    with code.when(few):
        code.call(f"@{symbol(k, 'turn0')}", ("ptr", "%v"), ("i64", whole), ("i64", "%run"))
        code.call(f"@{symbol(k, 'clean')}", ("ptr", "%v"), ("i64", whole), ("i64", "%run"))
    with code.when(code.let(f"xor i1 {few}, true")):
        merge_whole(code, k, whole, one_list=True)
    merge_rest(code, k, whole, one_list=True)
    code.call(f"@{symbol(k, 'within')}", ("ptr", "%v"), ("i64", "%count"))
    return code


def _within(k: Keys) -> Code:
    """``within(ptr v, i64 count)``: every level of halving inside each vector."""
    code = Code(symbol(k, "within"), (("ptr", "v"), ("i64", "count")))
    with code.loop("%count", step=k.lanes) as i:
        places = spaced(code, k, code.at(k.vector, "%v", i.index), 1, k.lanes)
        columns = _turned_keys(code, k, load_all(code, k, places))
        run(code, k, halvings(k.lanes), columns)
        store_all(code, k, _turned_keys(code, k, columns), places)
    return code


def _write(code: Code, k: Keys, v: str) -> None:
    """The sorted row."""
    whole = code.let(f"lshr i64 %kept, {log2(k.lanes)}")
    with code.loop(whole) as i:
        key = code.load(k.vector, code.at(k.vector, v, i.index), k.bytes)
        stored(code, k, decoded(code, k, key), code.at(k.memory, "%out", i.index))
    rest = code.sub("%kept", code.mul(whole, k.lanes))
    with code.when(code.compare("sgt", rest, 0)):
        key = code.load(k.vector, code.at(k.vector, v, whole), k.bytes)
        stored(code, k, decoded(code, k, key), code.at(k.memory, "%out", whole), rest)


def _turned_keys(code: Code, k: Keys, keys: list[str]) -> list[str]:
    """The transpose of a square block of vectors of keys."""
    moved = turned(code, k, [code.let(f"bitcast {k.vector} {x} to {k.memory}") for x in keys])
    return [code.let(f"bitcast {k.memory} {x} to {k.vector}") for x in moved]
