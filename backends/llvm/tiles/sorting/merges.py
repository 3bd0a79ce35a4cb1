"""Sorting many lists at once, one in each lane: vectors in memory are merged by comparing and exchanging whole vectors.

Two sorted runs of K vectors are merged by comparing vector i of the first with vector K - 1 - i of the second, counted from its start, and
then halves of what that leaves, quarters, and so on.  Every exchange puts the smaller key at the lower address, so that
a run may be shorter than the others when it is the last one: what would lie behind it is larger than everything, and would stay there.

`block` vectors (2**w of them) are loaded at a time, and go through up to w levels before they are stored; memory, not comparing, is
what this costs otherwise.

May be imported by: the sorting kernels.
"""

from __future__ import annotations

from collections.abc import Sequence

from fdl.backends.llvm.tiles.sorting.keys import Keys, exchange, run
from fdl.backends.llvm.tiles.sorting.networks import NETWORKS, halvings
from fdl.backends.llvm.tiles.text import Code


def log2(n: int) -> int:
    """The exponent of a power of two."""
    return n.bit_length() - 1


def load_all(code: Code, k: Keys, places: Sequence[str]) -> list[str]:
    """The vectors at some addresses."""
    return [code.load(k.vector, p, k.bytes) for p in places]


def store_all(code: Code, k: Keys, vectors: Sequence[str], places: Sequence[str]) -> None:
    """Vectors, stored at those addresses."""
    for v, p in zip(vectors, places, strict=True):
        code.store(k.vector, v, p, k.bytes)


def spaced(code: Code, k: Keys, base: str, step: str | int, count: int) -> list[str]:
    """The addresses base, base + step, ... of vectors, `step` counted in vectors."""
    return [code.at(k.vector, base, code.mul(step, t)) for t in range(count)]


def exchange_at(code: Code, k: Keys, p: str, q: str) -> None:
    """Exchange the vectors at two addresses."""
    store_all(code, k, exchange(code, k, *load_all(code, k, (p, q))), (p, q))


def symbol(k: Keys, name: str) -> str:
    return f"fdl_sort_{name}_{k.key}"


def merging(k: Keys) -> list[Code]:
    """The functions that merge runs of whole blocks; `merge` is the one to call.

    ``merge(ptr v, i64 count, i64 run)``: runs of `run` vectors (`block` * 2**j), of which the last one may be shorter, sorted lane by lane,
    become one run. `count` is a multiple of `block`.
    """
    flips = [flip(k, levels) for levels in range(log2(k.block))]
    return [base(k), *flips, _halve(k), _single(k), _clean(k), _clean_part(k), _merge_runs(k), _merge(k)]


def base(k: Keys) -> Code:
    """``base(ptr v, i64 count)``: sorts each block of vectors, lane by lane."""
    code = Code(symbol(k, "base"), (("ptr", "v"), ("i64", "count")))
    with code.loop("%count", step=k.block) as i:
        places = spaced(code, k, code.at(k.vector, "%v", i.index), 1, k.block)
        vectors = load_all(code, k, places)
        run(code, k, NETWORKS[k.block], vectors)
        store_all(code, k, vectors, places)
    return code


def flip(k: Keys, levels: int, *, one_list: bool = False) -> Code:
    """``flip<levels>(ptr v, i64 total, i64 run)``: the first level of merging pairs of runs, and so many levels of halving after it.

    With `one_list`, ``turn<levels>``: the lanes of a vector follow each other in one list, and so are turned round too.
    """
    code = Code(symbol(k, f"{'turn' if one_list else 'flip'}{levels}"), (("ptr", "v"), ("i64", "total"), ("i64", "run")))
    n = 1 << levels
    step = code.let(f"lshr i64 %run, {levels}")
    pair = code.mul("%run", 2)
    with code.loop("%total", step=pair) as g:
        first = code.at(k.vector, "%v", g.index)
        last = code.at(k.vector, first, code.sub(pair, 1))
        with code.loop(step) as b:
            low = spaced(code, k, code.at(k.vector, first, b.index), step, n)
            down = code.sub(0, step)
            # From the end of the second run down; `high` in the order of addresses.
            high = spaced(code, k, code.at(k.vector, last, code.sub(0, b.index)), down, n)[::-1]
            a, z = load_all(code, k, low), load_all(code, k, high)
            if one_list:
                z = [turned(code, k, x) for x in z]
            for t in range(n):
                a[t], z[n - 1 - t] = exchange(code, k, a[t], z[n - 1 - t])
            for half in (a, z):
                run(code, k, halvings(n), half)
            store_all(code, k, a, low)
            store_all(code, k, [turned(code, k, x) for x in z] if one_list else z, high)
    return code


def turned(code: Code, k: Keys, x: str) -> str:
    """A vector with its lanes in the other order."""
    picks = ", ".join(f"i32 {i}" for i in reversed(range(k.lanes)))
    return code.let(f"shufflevector {k.vector} {x}, {k.vector} poison, <{k.lanes} x i32> <{picks}>")


def _halve(k: Keys) -> Code:
    """``halve(ptr v, i64 total, i64 step)``: log2(block) levels of halving, of distances block/2 * step down to step."""
    code = Code(symbol(k, "halve"), (("ptr", "v"), ("i64", "total"), ("i64", "step")))
    with code.loop("%total", step=code.mul("%step", k.block)) as g, code.loop("%step") as b:
        places = spaced(code, k, code.at(k.vector, "%v", code.add(g.index, b.index)), "%step", k.block)
        vectors = load_all(code, k, places)
        run(code, k, halvings(k.block), vectors)
        store_all(code, k, vectors, places)
    return code


def _single(k: Keys) -> Code:
    """``single(ptr v, i64 total, i64 step)``: one level of halving."""
    code = Code(symbol(k, "single"), (("ptr", "v"), ("i64", "total"), ("i64", "step")))
    with code.loop("%total", step=code.mul("%step", 2)) as g, code.loop("%step") as b:
        p = code.at(k.vector, "%v", code.add(g.index, b.index))
        exchange_at(code, k, p, code.at(k.vector, p, "%step"))
    return code


def _clean(k: Keys) -> Code:
    """``clean(ptr v, i64 total, i64 size)``: every level of halving for groups of `size` vectors, a power of two."""
    code = Code(symbol(k, "clean"), (("ptr", "v"), ("i64", "total"), ("i64", "size")))
    w = log2(k.block)
    levels = log2_of(code, "%size")
    alone = code.let(f"urem i64 {levels}, {w}")
    with code.loop(alone, [("i64", "%size")]) as i:
        half = code.let(f"lshr i64 {i.values[0]}, 1")
        code.call(f"@{symbol(k, 'single')}", ("ptr", "%v"), ("i64", "%total"), ("i64", half))
        i.next = [half]
    _halvings_down(code, k, "%v", "%total", i.results[0])
    return code


def _halvings_down(code: Code, k: Keys, v: str, total: str, size: str) -> None:
    """Calls of `halve` for all levels of groups of `size` vectors, a power of `block`."""
    w = log2(k.block)
    times = code.let(f"udiv i64 {log2_of(code, size)}, {w}")
    with code.loop(times, [("i64", size)]) as i:
        step = code.let(f"lshr i64 {i.values[0]}, {w}")
        code.call(f"@{symbol(k, 'halve')}", ("ptr", v), ("i64", total), ("i64", step))
        i.next = [step]


def _clean_part(k: Keys) -> Code:
    """``clean_part(ptr v, i64 size, i64 length)``: every level of halving for one group of which only `length` vectors are there."""
    code = Code(symbol(k, "clean_part"), (("ptr", "v"), ("i64", "size"), ("i64", "length")))
    times = code.add(log2_of(code, "%size"), 1)
    clean = f"@{symbol(k, 'clean')}"
    with code.loop(times, [("ptr", "%v"), ("i64", "%size"), ("i64", "%length")]) as i:
        v, size, length = i.values
        half = code.let(f"lshr i64 {size}, 1")
        whole = code.compare("eq", size, length)
        with code.when(whole):
            code.call(clean, ("ptr", v), ("i64", size), ("i64", size))
        over = code.sub(length, half)
        split = code.let(f"and i1 {code.compare('sgt', over, 0)}, {code.let(f'xor i1 {whole}, true')}")
        middle = code.at(k.vector, v, half)
        with code.when(split):
            with code.loop(over) as b:
                exchange_at(code, k, code.at(k.vector, v, b.index), code.at(k.vector, middle, b.index))
            code.call(clean, ("ptr", v), ("i64", half), ("i64", half))
        left = code.select(whole, "i64", 0, length)
        i.next = [code.select(split, "ptr", middle, v), half, code.select(split, "i64", over, left)]
    return code


def _merge_runs(k: Keys) -> Code:
    """``merge_runs(ptr v, i64 count, i64 run)``: one round of merging, of pairs of runs."""
    code = Code(symbol(k, "merge_runs"), (("ptr", "v"), ("i64", "count"), ("i64", "run")))
    whole = code.let(f"and i64 %count, {code.mul('%run', -2)}")
    merge_whole(code, k, whole, one_list=False)
    merge_rest(code, k, whole, one_list=False)
    return code


def merge_whole(code: Code, k: Keys, whole: str, *, one_list: bool) -> None:
    """Merge pairs of whole runs, of %run vectors (`block` * 2**j); `whole` vectors from %v on."""
    w = log2(k.block)
    first = code.let(f"urem i64 {code.sub(log2_of(code, '%run'), w)}, {w}")
    for levels in range(w):
        with code.when(code.compare("eq", first, levels)):
            name = f"{'turn' if one_list else 'flip'}{levels}"
            code.call(f"@{symbol(k, name)}", ("ptr", "%v"), ("i64", whole), ("i64", "%run"))
    _halvings_down(code, k, "%v", whole, code.let(f"lshr i64 %run, {first}"))


def merge_rest(code: Code, k: Keys, whole: str, *, one_list: bool) -> None:
    """Merge the last pair of runs, from vector `whole` on, if the second one is there and shorter."""
    rest = code.sub("%count", whole)
    with code.when(code.compare("sgt", rest, "%run")):
        v = code.at(k.vector, "%v", whole)
        pair = code.mul("%run", 2)
        end = code.at(k.vector, v, code.sub(pair, 1))
        with code.loop("%run", start=code.sub(pair, rest)) as i:
            low, high = code.at(k.vector, v, i.index), code.at(k.vector, end, code.sub(0, i.index))
            a, z = load_all(code, k, (low, high))
            a, z = exchange(code, k, a, turned(code, k, z) if one_list else z)
            store_all(code, k, (a, turned(code, k, z) if one_list else z), (low, high))
        code.call(f"@{symbol(k, 'clean')}", ("ptr", v), ("i64", "%run"), ("i64", "%run"))
        second = ("ptr", code.at(k.vector, v, "%run"))
        code.call(f"@{symbol(k, 'clean_part')}", second, ("i64", "%run"), ("i64", code.sub(rest, "%run")))


def _merge(k: Keys) -> Code:
    code = Code(symbol(k, "merge"), (("ptr", "v"), ("i64", "count"), ("i64", "run")))
    with code.loop(rounds(code, "%count", "%run"), [("i64", "%run")]) as i:
        code.call(f"@{symbol(k, 'merge_runs')}", ("ptr", "%v"), ("i64", "%count"), ("i64", i.values[0]))
        i.next = [code.mul(i.values[0], 2)]
    return code


# --- numbers ----------------------------------------------------------------------------------------


def log2_of(code: Code, n: str) -> str:
    """The exponent of a power of two, at run time."""
    code.declare("i64 @llvm.cttz.i64(i64, i1)")
    return code.let(f"call i64 @llvm.cttz.i64(i64 {n}, i1 true)")


def rounds(code: Code, count: str, run_: str) -> str:
    """How often `run_` (a power of two) must double to be `count` (positive) or more."""
    code.declare("i64 @llvm.ctlz.i64(i64, i1)")
    runs = code.let(f"lshr i64 {code.sub(count, 1)}, {log2_of(code, run_)}")
    return code.sub(64, code.let(f"call i64 @llvm.ctlz.i64(i64 {runs}, i1 false)"))
