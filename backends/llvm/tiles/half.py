"""Matrix multiplication of float16 and bfloat16, accumulated in float32.

Blocks of A's rows and panels of B are widened into scratch, the float32 micro-kernels do the work on them, and each tile is rounded
once when it is written (after adding what is there, for an accumulating call).

May be imported by: the tile emitters of this package.
"""

from __future__ import annotations

from dataclasses import dataclass

from fdl.backends.llvm.target import Target
from fdl.backends.llvm.tiles.micro import (
    A_DEPTH,
    A_ROW,
    ACCUMULATE,
    B_DEPTH,
    C_ROW,
    DEPTH,
    JOB_WORDS,
    LIST,
    SEGMENTS,
    Simd,
    micro_kernel,
    simd,
)
from fdl.backends.llvm.tiles.pack import pack_panel, pack_symbol
from fdl.backends.llvm.tiles.parts import TileFunction, digest, tile
from fdl.backends.llvm.tiles.text import Code
from fdl.backends.llvm.tiles.walk import call_micro, column_counts, row_choices, row_tiles, set_job
from fdl.tracer.dtypes import SHORT, DType, bfloat16, float16, float32

ROW_BLOCK = 64
"""Rows of A that are widened at a time; each block packs all of B again."""


@dataclass(frozen=True, slots=True)
class HalfMatmul:
    """The static facts of a call. A is (m, k), B is (k, n), C is (m, n) with contiguous columns; strides in elements."""

    dtype: DType
    m: int | None
    n: int | None
    k: int
    a_strides: tuple[int, int]
    b_strides: tuple[int, int]
    c_row: int
    accumulate: bool


def write_half(
    g: HalfMatmul, target: Target, names: tuple[str, str, str], sizes: tuple[str, str], params: list[tuple[str, str]]
) -> TileFunction | None:
    """The product, or None where the target cannot convert. `names` and `sizes` are the entry's C, A, B and M, N."""
    s = simd(float32, target)
    if s is None or (g.dtype == float16 and not target.half):
        return None
    widths = {nv for nv, count in column_counts(g.n, s).items() if count} if g.n is not None else set(s.rows)
    rows = {nv: row_choices(g.m if g.m is not None and g.m <= ROW_BLOCK else None, s.rows[nv]) for nv in widths or {1}}
    width = s.lanes * max(rows)
    turns = g.b_strides[1] != 1
    height = min(g.m, ROW_BLOCK) if g.m is not None else ROW_BLOCK
    deep = -(-g.k // s.lanes) * s.lanes
    areas = {
        "tile": max(nv * max(r) for nv, r in rows.items()) * s.lanes,
        "a": -(-height * g.k // s.lanes) * s.lanes,
        "panel": deep * width,
        "turned": deep * width if turns else 0,
    }
    code = Code(digest("half", target.name, g, names), params)
    places, at = {}, 0
    for area, elements in areas.items():
        places[area] = code.at("float", "%scratch", at)
        at += elements
    _driver(code, s, g, rows, places, names, sizes)
    codes = [micro_kernel(s, r, nv) for nv, heights in rows.items() for r in heights]
    codes += [_widen(s, g.dtype), _narrow(s, g.dtype), *([pack_panel(s, "turn")] if turns else [])]
    return tile(code, codes, at * 4)


def _driver(
    code: Code, s: Simd, g: HalfMatmul, rows: dict[int, tuple[int, ...]], places: dict[str, str], names: tuple[str, str, str],
    sizes: tuple[str, str],
) -> None:  # fmt: skip
    c, a, b = names
    all_rows, n = sizes
    widen = f"@{_symbol('widen', s, g.dtype)}"
    job = code.let(f"alloca [{JOB_WORDS} x i64], align 64")
    table = code.let("alloca [2 x ptr], align 16")
    code.store("ptr", places["a"], table)
    code.store("ptr", places["panel"], code.at("ptr", table, 1))
    by_row = g.a_strides[1] == 1 or g.a_strides[0] != 1  # how the widened block of A lies: rows, or as Aᵀ
    strides = {A_ROW: g.k, A_DEPTH: 1} if by_row else {A_ROW: 1, A_DEPTH: ROW_BLOCK}
    set_job(code, job, {LIST: table, SEGMENTS: 1, DEPTH: g.k, ACCUMULATE: 0, **strides})
    with code.loop(all_rows, step=ROW_BLOCK) as top:
        m = code.min(ROW_BLOCK, code.sub(all_rows, top.index))
        source = code.at("i16", a, code.mul(top.index, g.a_strides[0]))
        if by_row and g.a_strides[1] == 1:
            with code.loop(m) as i:
                _call(code, widen, code.at("float", places["a"], code.mul(i.index, g.k)),
                      code.at("i16", source, code.mul(i.index, g.a_strides[0])), g.k)  # fmt: skip
        elif by_row:
            with code.loop(m) as i, code.loop(g.k) as k:
                place = code.add(code.mul(i.index, g.a_strides[0]), code.mul(k.index, g.a_strides[1]))
                to = code.at("float", places["a"], code.add(code.mul(i.index, g.k), k.index))
                _call(code, widen, to, code.at("i16", source, place), 1)
        else:
            with code.loop(g.k) as k:
                _call(code, widen, code.at("float", places["a"], code.mul(k.index, ROW_BLOCK)),
                      code.at("i16", source, code.mul(k.index, g.a_strides[1])), m)  # fmt: skip
        c_top = code.at("i16", c, code.mul(top.index, g.c_row))
        start = "0"
        for nv, count in column_counts_at(code, s, tuple(sorted(rows, reverse=True)), n).items():
            wide = nv * s.lanes
            set_job(code, job, {B_DEPTH: wide, C_ROW: wide})
            with code.loop(count) as panel:
                j = code.add(start, code.mul(panel.index, wide))
                cols = code.min(code.sub(n, j), wide)
                _pack(code, s, g, widen, places, code.at("i16", b, code.mul(j, g.b_strides[1])), cols, wide)
                with row_tiles(code, s, nv, rows[nv], m) as row:
                    call_micro(code, row.function, job, _row_offset(code, row.start, strides[A_ROW]), "0", places["tile"], str(wide), "0")
                    with code.loop(row.height, start=row.skip) as i:
                        out = code.add(code.mul(code.add(row.start, i.index), g.c_row), j)
                        code.call(
                            f"@{_symbol('narrow', s, g.dtype)}", ("ptr", code.at("i16", c_top, out)),
                            ("ptr", code.at("float", places["tile"], code.mul(i.index, wide))), ("i64", cols),
                            ("i64", int(g.accumulate)),
                        )  # fmt: skip
            start = code.add(start, code.mul(count, wide))
