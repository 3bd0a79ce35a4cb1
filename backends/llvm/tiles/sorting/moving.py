"""Elements to keys and back: rows with their marks, and the order of what is equal.

May be imported by: the sorting kernels.
"""

from __future__ import annotations

from collections.abc import Sequence

from fdl.backends.llvm.tiles.sorting.keys import Keys, encoded, encoded_bits
from fdl.backends.llvm.tiles.sorting.merges import symbol
from fdl.backends.llvm.tiles.text import Code


def keyed(code: Code, k: Keys, vectors: Sequence[str]) -> tuple[list[str], str]:
    """The keys of vectors, and an i64 that is not zero where one marks its row."""
    found, marks = [], None
    for x in vectors:
        key, mark = encoded(code, k, x)
        found.append(key)
        if mark is not None:
            marks = mark if marks is None else code.let(f"or {k.mask} {marks}, {mark}")
    return found, "0" if marks is None else flag(code, k, marks)


def flag(code: Code, k: Keys, mask: str) -> str:
    """The lanes of a mask as the bits of an i64."""
    return code.let(f"zext i{k.lanes} {code.let(f'bitcast {k.mask} {mask} to i{k.lanes}')} to i64")


def repair(k: Keys) -> Code:
    """``repair(ptr row, i64 row_step, i64 n, ptr keys, i64 key_step, ptr spare)``: zeros and NaN of a sorted row in the order of the row.

    Both rows have n elements, so many apart; `spare` has room for 2 n.
    """
    params = (("ptr", "row"), ("i64", "row_step"), ("i64", "n"), ("ptr", "keys"), ("i64", "key_step"), ("ptr", "spare"))
    code = Code(symbol(k, "repair"), params)
    width, mantissa = 8 * k.size, {4: 23, 8: 52}[k.size]
    sign = -(1 << (width - 1))
    infinity = (1 << (width - 1)) - (1 << mantissa)
    zeros, nans = "%spare", code.at(k.bits, "%spare", "%n")
    with code.loop("%n", [("i64", "0")] * 3) as i:
        below, z, q = i.values
        bits = code.load(k.bits, code.at(k.bits, "%row", code.mul(i.index, "%row_step")))
        magnitude = code.let(f"and {k.bits} {bits}, {-sign - 1}")
        zero = code.let(f"icmp eq {k.bits} {magnitude}, 0")
        nan = code.let(f"icmp ugt {k.bits} {magnitude}, {infinity}")
        key = encoded_bits(code, k, bits)
        # Written in any case, and kept where it is one.
        code.store(k.bits, key, code.at(k.bits, zeros, z))
        code.store(k.bits, key, code.at(k.bits, nans, q))
        plain = code.let(f"xor i1 {code.let(f'or i1 {zero}, {nan}')}, true")
        negative = code.let(f"and i1 {code.let(f'icmp slt {k.bits} {bits}, 0')}, {plain}")
        i.next = [code.add(n, code.let(f"zext i1 {c} to i64")) for n, c in ((below, negative), (z, zero), (q, nan))]
    below, z, q = i.results
    for source, count, first in ((zeros, z, below), (nans, q, code.sub("%n", q))):
        with code.loop(count) as i:
            place = code.mul(code.add(first, i.index), "%key_step")
            code.store(k.bits, code.load(k.bits, code.at(k.bits, source, i.index)), code.at(k.bits, "%keys", place))
    return code
