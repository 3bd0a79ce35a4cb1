"""Matrix multiplication of float16 and bfloat16, accumulated in float32.

Blocks of A's rows and panels of B are widened into scratch, the float32 micro-kernels do the work on them, and each tile is rounded
once when it is written (after adding what is there, for an accumulating call).

May be imported by: the tile emitters of this package.
"""

from __future__ import annotations

from fdl.backends.llvm.target import Target
from fdl.backends.llvm.tiles.cut import call_micro, column_counts, column_counts_at, row_choices, row_tiles, set_job
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
from fdl.tracer.dtypes import SHORT, DType, float16, float32
from fdl.tracer.records import dataclass

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

    @property
    def height(self) -> int:
        """Rows of a block of A."""
        return ROW_BLOCK if self.m is None else min(self.m, ROW_BLOCK)


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
    deep = -(-g.k // s.lanes) * s.lanes
    areas = {
        "tile": max(nv * max(r) for nv, r in rows.items()) * s.lanes,
        "a": -(-g.height * g.k // s.lanes) * s.lanes,
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
    strides = {A_ROW: g.k, A_DEPTH: 1} if by_row else {A_ROW: 1, A_DEPTH: g.height}
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
                _call(code, widen, code.at("float", places["a"], code.mul(k.index, g.height)),
                      code.at("i16", source, code.mul(k.index, g.a_strides[1])), m)  # fmt: skip
        c_top = code.at("i16", c, code.mul(top.index, g.c_row))
        start = "0"
        order = sorted(rows, reverse=True)
        counts = column_counts_at(code, s, order, n)
        for nv in order:
            wide, count = nv * s.lanes, counts[nv]
            set_job(code, job, {B_DEPTH: wide, C_ROW: wide})
            with code.loop(count) as panel:
                j = code.add(start, code.mul(panel.index, wide))
                cols = code.min(code.sub(n, j), wide)
                _pack(code, s, g, widen, places, code.at("i16", b, code.mul(j, g.b_strides[1])), cols, wide)
                with row_tiles(code, s, nv, rows[nv], m) as row:
                    a_offset = code.mul(row.start, strides[A_ROW])
                    call_micro(code, row.function, job, a_offset, "0", places["tile"], str(wide), "0")
                    with code.loop(row.height, start=row.skip) as i:
                        out = code.add(code.mul(code.add(row.start, i.index), g.c_row), j)
                        code.call(
                            f"@{_symbol('narrow', s, g.dtype)}", ("ptr", code.at("i16", c_top, out)),
                            ("ptr", code.at("float", places["tile"], code.mul(i.index, wide))), ("i64", cols),
                            ("i64", int(g.accumulate)),
                        )  # fmt: skip
            start = code.add(start, code.mul(count, wide))


def _call(code: Code, function: str, to: str, source: str, n: str | int) -> None:
    code.call(function, ("ptr", to), ("ptr", source), ("i64", n))


def _pack(code: Code, s: Simd, g: HalfMatmul, widen: str, places: dict[str, str], b: str, cols: str, width: int) -> None:
    """Widen a panel of B into `places["panel"]`, by way of its transpose where its columns are not contiguous."""
    b_k, b_n = g.b_strides
    if b_n == 1:
        with code.loop(g.k) as k:
            _call(code, widen, code.at("float", places["panel"], code.mul(k.index, width)),
                  code.at("i16", b, code.mul(k.index, b_k)), cols)  # fmt: skip
        return
    with code.loop(cols) as j:
        column, to = code.at("i16", b, code.mul(j.index, b_n)), code.at("float", places["turned"], code.mul(j.index, g.k))
        if b_k == 1:
            _call(code, widen, to, column, g.k)
        else:
            with code.loop(g.k) as k:
                _call(code, widen, code.at("float", to, k.index), code.at("i16", column, code.mul(k.index, b_k)), 1)
    code.call(
        f"@{pack_symbol(s, 'turn')}", ("ptr", places["panel"]), ("ptr", places["turned"]), ("i64", g.k), ("i64", cols),
        ("i64", width), ("i64", 1), ("i64", g.k),
    )  # fmt: skip


# --- conversions ------------------------------------------------------------------------------------


def _symbol(what: str, s: Simd, dtype: DType) -> str:
    return f"fdl_{what}_{SHORT[dtype]}_{s.key}"


def _widen(s: Simd, dtype: DType) -> Code:
    """`void (to, from, n)`: n elements of `dtype` as float32."""
    code = Code(_symbol("widen", s, dtype), (("ptr", "to"), ("ptr", "from"), ("i64", "n")), shared=True)
    whole = code.mul(code.div("%n", s.lanes), s.lanes)
    for lanes, start, stop in ((s.lanes, "0", whole), (1, whole, "%n")):
        with code.loop(stop, start=start, step=lanes) as i:
            bits = code.load(_vector("i16", lanes), code.at("i16", "%from", i.index), 2)
            code.store(_vector("float", lanes), _to_float(code, dtype, bits, lanes), code.at("float", "%to", i.index), 4)
    return code


def _narrow(s: Simd, dtype: DType) -> Code:
    """`void (to, from, n, adding)`: n float32 as `dtype`, rounded; added to what is there when `adding` is not 0."""
    code = Code(_symbol("narrow", s, dtype), (("ptr", "to"), ("ptr", "from"), ("i64", "n"), ("i64", "adding")), shared=True)
    whole = code.mul(code.div("%n", s.lanes), s.lanes)
    adding = code.compare("ne", "%adding", 0)
    for lanes, start, stop in ((s.lanes, "0", whole), (1, whole, "%n")):
        wide, narrow = _vector("float", lanes), _vector("i16", lanes)
        with code.loop(stop, start=start, step=lanes) as i:
            value = code.load(wide, code.at("float", "%from", i.index), 4)
            place = code.at("i16", "%to", i.index)
            # Read even when it is not wanted: it is there, and -0.0 is what adds nothing.
            before = _to_float(code, dtype, code.load(narrow, place, 2), lanes)
            nothing = "-0.0" if lanes == 1 else "splat (float -0.0)"
            value = code.let(f"fadd {wide} {value}, {code.select(adding, wide, before, nothing)}")
            code.store(narrow, _from_float(code, dtype, value, lanes), place, 2)
    return code


def _vector(element: str, lanes: int) -> str:
    return element if lanes == 1 else f"<{lanes} x {element}>"


def _splat(number: int, kind: str, lanes: int) -> str:
    return str(number) if lanes == 1 else f"splat ({kind} {number})"


def _to_float(code: Code, dtype: DType, bits: str, lanes: int) -> str:
    short, word, wide = (_vector(kind, lanes) for kind in ("i16", "i32", "float"))
    if dtype == float16:
        half = code.let(f"bitcast {short} {bits} to {_vector('half', lanes)}")
        return code.let(f"fpext {_vector('half', lanes)} {half} to {wide}")
    high = code.let(f"shl {word} {code.let(f'zext {short} {bits} to {word}')}, {_splat(16, 'i32', lanes)}")
    return code.let(f"bitcast {word} {high} to {wide}")


def _from_float(code: Code, dtype: DType, value: str, lanes: int) -> str:
    short, word, wide = (_vector(kind, lanes) for kind in ("i16", "i32", "float"))
    if dtype == float16:
        half = code.let(f"fptrunc {wide} {value} to {_vector('half', lanes)}")
        return code.let(f"bitcast {_vector('half', lanes)} {half} to {short}")
    # Round to nearest even by adding half a unit, less one where the last bit kept is 0; NaN stays NaN.
    bits = code.let(f"bitcast {wide} {value} to {word}")
    sixteen = _splat(16, "i32", lanes)
    odd = code.let(f"and {word} {code.let(f'lshr {word} {bits}, {sixteen}')}, {_splat(1, 'i32', lanes)}")
    half_unit = code.let(f"add {word} {odd}, {_splat(0x7FFF, 'i32', lanes)}")
    rounded = code.let(f"lshr {word} {code.let(f'add {word} {bits}, {half_unit}')}, {sixteen}")
    quiet = code.let(f"or {word} {code.let(f'lshr {word} {bits}, {sixteen}')}, {_splat(0x40, 'i32', lanes)}")
    nan = code.let(f"fcmp uno {wide} {value}, {value}")
    kept = code.let(f"select {_vector('i1', lanes)} {nan}, {word} {quiet}, {word} {rounded}")
    return code.let(f"trunc {word} {kept} to {short}")
