"""The product of large matrices: B comes packed, A is packed a block at a time.

B lies in panels of `PANEL` bytes' worth of columns, `packed[p, k, j] = B[k, p * width + j]`: lowering packs it once for all the calls
that share it, by `transpose`, in parallel.  A call packs a block of A, tile by tile, into its thread's scratch, and runs the
micro-kernel for packed operands over the panels.  Both operands are then read in the order in which they lie, one page after
another, whatever the strides of the matrices; while a tile is computed, part of the next panel is fetched into the second-level
cache.

May be imported by: the tile emitters of this package.
"""

from __future__ import annotations

from collections.abc import Sequence

from fdl.backends.llvm.tiles.cut import RowTile, row_choices, row_loop, run_tile, set_job
from fdl.backends.llvm.tiles.micro import (
    A_DEPTH,
    A_ROW,
    ACCUMULATE,
    AHEAD,
    B_DEPTH,
    C_ROW,
    DEPTH,
    JOB_WORDS,
    LIST,
    MICRO_PARAMS,
    SEGMENTS,
    Simd,
    fetch,
    fetch_tile,
    load,
    mask_below,
    micro_kernel,
    micro_symbol,
    multiply_add,
    splat,
    write_tile,
)
from fdl.backends.llvm.tiles.pack import pack_rows, pack_rows_symbol
from fdl.backends.llvm.tiles.parts import TileFunction, digest, tile
from fdl.backends.llvm.tiles.text import Code, Shared
from fdl.tracer.records import dataclass

PANEL = 192
"""Bytes of a row of a packed panel: the widest tile of every target divides it."""
LINE = 64
DEPTH_BLOCK = 512
"""Steps of k between two visits of C: a panel of B this deep stays in the second-level cache."""
BLOCK_BYTES = 1 << 18
"""Bytes of a packed block of A, which stays in the second-level cache, too."""

DIRECT_ROWS = 48
"""So few rows of A are read where they lie, if they are contiguous."""

DRIVER_PARAMS = (
    ("ptr", "tile"), ("ptr", "block"), ("ptr", "kernels"), ("i64", "height"), ("ptr", "c"), ("ptr", "a"), ("ptr", "b"),
    ("i64", "m"), ("i64", "n"), ("i64", "k"), ("i64", "c_row"), ("i64", "a_row"), ("i64", "a_k"), ("i64", "accumulate"),
)  # fmt: skip


def panel_columns(size: int) -> int:
    """Columns of a packed panel of elements of `size` bytes."""
    return PANEL // size


@dataclass(frozen=True, slots=True)
class Operands:
    """The static facts of a call: C's and A's strides in elements, with contiguous rows of C; M and N where they are known.

    `most` is the most that M is, and what it is as a rule.
    """

    c_row: int
    a_strides: tuple[int, int]
    m: int | None
    most: int | None
    n: int | None
    accumulate: bool

    def widths(self, s: Simd) -> list[int]:
        """The widths in vectors of the tiles that are met: the widest, but for the last panel's."""
        if self.n is None:
            return list(s.rows)
        panels, rest = divmod(-(-self.n // s.lanes), s.widest)
        return [nv for nv in s.rows if (nv == s.widest and panels) or nv == rest]


def write_packed(s: Simd, g: Operands, sizes: tuple[str, str, str], params: list[tuple[str, str]]) -> TileFunction:
    """The entry `void (scratch, out0, in0, in1, ...)` for sizes M, N, K."""
    block = min(block_rows(s), g.most or block_rows(s))
    heights = row_choices(g.m and block, s.rows[s.widest], block)
    tile_bytes = 0 if s.masked else -(-max(heights) * s.widest * s.lanes * s.size // 64) * 64
    block_bytes = ((block + max(heights)) * DEPTH_BLOCK + s.lanes * (max(heights) + 1)) * s.size
    way = "turn" if g.a_strides[1] == 1 else "rows" if g.a_strides[0] == 1 and s.masked else "any"
    if g.a_strides[1] == 1 and g.most is not None and g.most <= DIRECT_ROWS:
        way, block_bytes = "direct", 0
    driver = _driver(s, way == "direct")
    entry = Code(digest("packed", driver.name, way, heights, sizes, g), params)
    kernels = entry.let(f"alloca [{s.widest + 1} x ptr], align 16")
    widths = g.widths(s)
    height, functions = str(heights[-1]), _functions(s, way, heights[-1], widths)
    for r in heights[-2::-1]:
        enough = entry.compare("sge", sizes[0], r)
        height = entry.select(enough, "i64", r, height)
        higher = _functions(s, way, r, widths)
        functions = {at: entry.select(enough, "ptr", function, functions[at]) for at, function in higher.items()}
    for at, function in functions.items():
        entry.store("ptr", function, entry.at("ptr", kernels, at))
    entry.call(
        f"@{driver.name}", ("ptr", "%scratch"), ("ptr", entry.at("i8", "%scratch", tile_bytes)), ("ptr", kernels),
        ("i64", height), ("ptr", "%out0"), ("ptr", "%in0"), ("ptr", "%in1"), *(("i64", n) for n in sizes),
        ("i64", g.c_row), ("i64", g.a_strides[0]), ("i64", g.a_strides[1]), ("i64", int(g.accumulate)),
    )  # fmt: skip
    shapes = [(h, nv) for h in heights for nv in widths]
    if way == "direct":
        return tile(entry, [driver, *(micro_kernel(s, h, nv) for h, nv in shapes)], tile_bytes)
    packers = [pack_rows(s, way, h) for h in heights]
    return tile(entry, [driver, *packers, *(packed_kernel(s, h, nv) for h, nv in shapes)], tile_bytes + block_bytes)


def _functions(s: Simd, way: str, height: int, widths: Sequence[int]) -> dict[int, str]:
    """By their places in the table: what packs a tile of A of that height, then the micro-kernels, the widest first."""
    direct = way == "direct"
    micros = {nv: micro_symbol(s, height, nv) if direct else packed_symbol(s, height, nv) for nv in widths}
    packer = "null" if direct else f"@{pack_rows_symbol(s, way, height)}"
    return {0: packer} | {s.widest + 1 - nv: f"@{symbol}" for nv, symbol in micros.items()}


def block_rows(s: Simd) -> int:
    """Rows of a block of A."""
    return BLOCK_BYTES // (DEPTH_BLOCK * s.size)


def _driver(s: Simd, direct: bool) -> Shared:
    """The function that walks blocks of k, blocks of rows, panels and tiles; `direct` reads A where it lies."""
    return Shared(f"fdl_packed_{s.key}{'_direct' * direct}", DRIVER_PARAMS, lambda code: _write_driver(code, s, direct))


def _write_driver(code: Code, s: Simd, direct: bool) -> None:
    pack = code.load("ptr", "%kernels")
    job = code.let(f"alloca [{JOB_WORDS} x i64], align 64")
    table = code.let("alloca [2 x ptr], align 16")
    set_job(
        code, job, {LIST: table, SEGMENTS: 1, A_ROW: "%a_row", A_DEPTH: "%a_k", B_DEPTH: panel_columns(s.size), C_ROW: "%c_row"}
    )
    pitch, width = panel_columns(s.size), s.widest * s.lanes
    depth_of_panel = code.mul("%k", pitch)
    blocks = code.max(code.ceil_div("%k", DEPTH_BLOCK), 1)
    block = code.ceil_div("%k", blocks)
    with code.loop(blocks) as kb:
        first = code.mul(kb.index, block)
        depth = code.min(block, code.sub("%k", first))
        later = code.let(f"zext i1 {code.compare('sgt', kb.index, 0)} to i64")
        set_job(code, job, {DEPTH: depth, ACCUMULATE: code.let(f"or i64 {later}, %accumulate")})
        b = code.at(s.element, "%b", code.mul(first, pitch))
        with code.loop("%m", step=block_rows(s)) as top:
            rows = code.min(block_rows(s), code.sub("%m", top.index))
            # A short last block takes rows of the one before it, which it does not store.
            high = code.min(code.max(rows, "%height"), "%m")
            above = code.sub(high, rows)
            start = code.sub(top.index, above)
            a = code.at(s.element, "%a", code.add(code.mul(start, "%a_row"), code.mul(first, "%a_k")))
            c = code.at(s.element, "%c", code.mul(start, "%c_row"))
            tile_elements = code.mul("%height", depth)
            if not direct:
                with row_loop(code, "null", "%height", high) as row:
                    number = code.div(code.add(row.start, row.skip), "%height")
                    code.call(
                        pack, ("ptr", code.at(s.element, "%block", code.mul(number, tile_elements))),
                        ("ptr", code.at(s.element, a, code.mul(row.start, "%a_row"))), ("i64", depth),
                        ("i64", "%a_row"), ("i64", "%a_k"),
                    )  # fmt: skip
            code.store("ptr", a if direct else "%block", table)
            with code.loop("%n", step=width) as panel:
                j = panel.index
                cols = code.min(code.sub("%n", j), width)
                source = _panel(code, s, b, j, pitch, depth_of_panel)
                code.store("ptr", source, code.at("ptr", table, 1))
                following = code.add(j, width)
                more = code.compare("slt", following, "%n")
                ahead = _panel(code, s, b, code.select(more, "i64", following, "0"), pitch, depth_of_panel)
                distance = code.sub(code.let(f"ptrtoint ptr {ahead} to i64"), code.let(f"ptrtoint ptr {source} to i64"))
                vectors = code.ceil_div(cols, s.lanes)
                function = code.load("ptr", code.at("ptr", "%kernels", code.sub(s.widest + 1, vectors)))
                with row_loop(code, function, "%height", high) as row:
                    number = code.div(code.add(row.start, row.skip), "%height")
                    line = code.mul(code.let(f"urem i64 {number}, {PANEL // LINE}"), LINE)
                    set_job(code, job, {AHEAD: code.add(distance, line)})
                    hidden = code.max(row.skip, code.sub(above, row.start))
                    place = code.at(s.element, c, code.add(code.mul(row.start, "%c_row"), j))
                    part = RowTile(function, "%height", row.start, hidden)
                    tile_of_a = code.mul(row.start, "%a_row") if direct else code.mul(number, tile_elements)
                    where = (tile_of_a, "0", place, cols)
                    run_tile(code, s, code.mul(vectors, s.lanes), job, part, where, "%c_row", None if s.masked else "%tile")


def _panel(code: Code, s: Simd, b: str, j: str, pitch: int, depth_of_panel: str) -> str:
    """The address of column `j` in the panels at `b`."""
    if pitch == s.widest * s.lanes:
        return code.at(s.element, b, code.mul(code.div(j, pitch), depth_of_panel))
    inside = code.let(f"urem i64 {j}, {pitch}")
    return code.at(s.element, b, code.add(code.mul(code.div(j, pitch), depth_of_panel), inside))


# --- the micro-kernel -------------------------------------------------------------------------------


def packed_symbol(s: Simd, mr: int, nv: int) -> str:
    return f"fdl_packed_micro_{s.key}_{mr}x{nv}"


def packed_kernel(s: Simd, mr: int, nv: int) -> Shared:
    """The micro-kernel for a packed tile of A and a packed panel of B: as `micro_kernel`, with all strides known.

    It fetches one line of every row of what is at the job's AHEAD.
    """
    return Shared(packed_symbol(s, mr, nv), MICRO_PARAMS, lambda code: _write_packed_kernel(code, s, mr, nv))


def _write_packed_kernel(code: Code, s: Simd, mr: int, nv: int) -> None:
    def word(number: int) -> str:
        return code.load("i64", code.at("i64", "%job", number))

    depth, c_row = word(DEPTH), word(C_ROW)
    table = code.load("ptr", "%job")
    ahead = word(AHEAD)
    mask = mask_below(code, s, code.sub("%cols", (nv - 1) * s.lanes)) if s.masked else None
    a = code.at(s.element, code.load("ptr", table), "%a_offset")
    b = code.load("ptr", code.at("ptr", table, 1))
    pitch = panel_columns(s.size)
    fetch_tile(code, s, mr, nv, c_row)
    carried = [*([(s.vector, "zeroinitializer")] * (mr * nv)), ("ptr", a), ("ptr", b)]
    with code.loop(depth, carried) as inner:
        sums, (pa, pb) = inner.values[: mr * nv], inner.values[mr * nv :]
        fetch(code, code.at("i8", pb, ahead), 2)
        columns = [load(code, s, code.at(s.element, pb, j * s.lanes)) for j in range(nv)]
        new: list[str] = []
        for i in range(mr):
            x = splat(code, s, code.load(s.element, code.at(s.element, pa, i)))
            new += [multiply_add(code, s, x, columns[j], sums[i * nv + j]) for j in range(nv)]
        inner.next = [*new, code.at(s.element, pa, mr), code.at(s.element, pb, pitch)]
    write_tile(code, s, mr, nv, inner.results[: mr * nv], c_row, word(ACCUMULATE), mask)


__all__ = ["PANEL", "Operands", "panel_columns", "write_packed"]
