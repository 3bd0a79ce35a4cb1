"""Sorting rows of numbers, without a branch that depends on them: networks of minima and maxima on whole vectors.

`keys` says how elements compare, `networks` and `merges` what is compared, `rows` and `single` bring many rows or one into
vectors and back.

May be imported by: the tile emitters of this package.
"""

from __future__ import annotations

from fdl.backends.llvm.target import Target
from fdl.backends.llvm.tiles.cut import static
from fdl.backends.llvm.tiles.parts import TileFunction, digest, tile
from fdl.backends.llvm.tiles.sorting.keys import Keys, keys_of
from fdl.backends.llvm.tiles.sorting.merges import symbol
from fdl.backends.llvm.tiles.sorting.rows import chosen, padded, rows_name, selecting_rows, sorting_rows
from fdl.backends.llvm.tiles.sorting.single import select_scratch, select_single, single, single_scratch
from fdl.backends.llvm.tiles.text import Code
from fdl.backends.loops.ir import Call

FEW = 10
"""The number of rows below which each is sorted by itself, if it is long."""
LONG = 256
"""The length from which on that is worth it."""
SELECTED, SHARE = 128, 4
"""The most elements that are selected, and how many more a row must have, instead of being sorted."""


def write_sort(call: Call, target: Target) -> TileFunction | None:
    """The sort of `call`, or None where there are several operands, the dtype is not one of numbers of 4 and 8 bytes, or rows are
    contiguous neither along nor across."""
    if len(call.outputs) != 1:
        return None
    (y,), (x,) = call.outputs, call.inputs
    attrs = dict(call.attrs)
    k = keys_of(y.buffer.dtype, target, plain=bool(attrs.get("plain")))
    ranks, n, kept = len(x.shape), static(x.shape[-1]), static(y.shape[-1])
    most = attrs.get("most", n)
    lying = y.strides[-1] == 1 == x.strides[-1]
    if k is None or not isinstance(most, int) or (not lying and (ranks == 1 or y.strides[0] != 1 or x.strides[0] != 1)):
        return None
    rows = static(x.shape[0]) if ranks == 2 else 1
    params = [("ptr", "scratch"), ("ptr", "out0"), ("ptr", "in0"), *(("i64", f"s{d}") for d in range(2 * ranks))]
    facts = (k.key, ranks, n, kept, most, rows, y.strides, x.strides)
    entry = Code(digest("sort", *facts), params)
    if most == 0 or kept == 0:
        return tile(entry, [], 0)
    sizes = (str(n or f"%s{2 * ranks - 1}"), str(kept or f"%s{ranks - 1}"))
    select = kept if kept is not None and not k.marked and kept <= SELECTED and SHARE * kept <= most else None
    if lying and rows is not None and rows < FEW and most >= LONG:
        return _singly(entry, k, call, sizes, most, select)
    return _together(entry, k, call, sizes, most, select)


def _singly(entry: Code, k: Keys, call: Call, sizes: tuple[str, str], most: int, select: int | None) -> TileFunction:
    """Rows along memory, one after the other."""
    (y,), (x,) = call.outputs, call.inputs
    steps = (y.strides[0], x.strides[0]) if len(x.shape) == 2 else (0, 0)
    with entry.loop("%s0" if len(x.shape) == 2 else 1) as r:
        to, source = (entry.at(k.bits, base, entry.mul(r.index, step)) for base, step in zip(("%out0", "%in0"), steps, strict=True))
        arguments = [("ptr", "%scratch"), ("ptr", to), ("ptr", source), ("i64", sizes[0]), ("i64", sizes[1])]
        with entry.when(entry.compare("sgt", sizes[0], 0)):
            if select is None:
                entry.call(f"@{symbol(k, 'single_row')}", *arguments)
            else:
                entry.call(f"@{symbol(k, 'select_single')}", *arguments, ("i64", chosen(select, k)))
    if select is None:
        return tile(entry, single(k), single_scratch(most, k))
    return tile(entry, select_single(k), select_scratch(select, k))


def _together(entry: Code, k: Keys, call: Call, sizes: tuple[str, str], most: int, select: int | None) -> TileFunction:
    """Rows side by side."""
    (y,), (x,) = call.outputs, call.inputs
    lying = y.strides[-1] == 1 == x.strides[-1]
    if len(x.shape) == 1:
        rows, steps = "1", ("0", "0")
    else:
        axis = 0 if lying else 1
        rows, steps = "%s0", (str(y.strides[axis]), str(x.strides[axis]))
    vectors = padded(most, k) if select is None else chosen(select, k)
    entry.call(
        f"@{rows_name(k, lying=lying, select=select is not None)}", ("ptr", "%scratch"), ("ptr", "%out0"), ("ptr", "%in0"),
        ("i64", rows), ("i64", sizes[0]), ("i64", steps[0]), ("i64", steps[1]), ("i64", vectors), ("i64", sizes[1]),
    )  # fmt: skip
    if select is None:
        # Behind the keys there is room for a row's zeros and NaN.
        return tile(entry, sorting_rows(k, lying=lying), vectors * k.bytes + 2 * most * k.size)
    return tile(entry, selecting_rows(k, lying=lying), 2 * vectors * k.bytes)
