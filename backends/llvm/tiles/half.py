"""Matrix multiplication of float16 and bfloat16, accumulated in float32.

Blocks of A's rows and panels of B are brought into scratch, micro-kernels with float32 sums do the work on them, and each tile is
rounded once when it is written (after adding what is there, for an accumulating call).  There are two ways to bring them: elements are
*widened* to float32, or, where the CPU multiplies pairs of bfloat16, two neighbours along k become one element of 32 bits, and the depth
is half as large.  That instruction takes subnormal numbers for zero, and gives zero for them: operands are looked at first, and widened
where a product might come near.

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
    paired,
    simd,
)
from fdl.backends.llvm.tiles.pack import pack_panel, pack_symbol
from fdl.backends.llvm.tiles.parts import TileFunction, digest, tile
from fdl.backends.llvm.tiles.text import Code, Shared
from fdl.tracer.dtypes import SHORT, DType, bfloat16, float16, float32
from fdl.tracer.records import dataclass

ROW_BLOCK = 64
"""Rows of A that are widened at a time; each block packs all of B again."""


@dataclass(frozen=True, slots=True)
class HalfMatmul:
    """The static facts of a call. A is (m, k), B is (k, n), C is (m, n) with contiguous columns; strides in elements."""

    dtype: DType
    m: int | None
    most: int | None
    """The most that M is, and is as a rule."""
    n: int | None
    k: int
    a_strides: tuple[int, int]
    b_strides: tuple[int, int]
    c_row: int
    accumulate: bool

    @property
    def height(self) -> int:
        """Rows of a block of A."""
        return min(self.most or ROW_BLOCK, ROW_BLOCK)

    @property
    def block(self) -> int | None:
        """Rows of every block of A, where they are equal."""
        return self.height if self.m is not None and (self.m <= ROW_BLOCK or self.m % ROW_BLOCK == 0) else None


def write_half(
    g: HalfMatmul, target: Target, names: tuple[str, str, str], sizes: tuple[str, str], params: list[tuple[str, str]]
) -> TileFunction | None:
    """The product, or None where the target cannot convert. `names` and `sizes` are the entry's C, A, B and M, N."""
    s = simd(float32, target)
    if s is None or (g.dtype == float16 and not target.half):
        return None
    widened, helpers, nbytes = _product(s, g, names, sizes, params)
    if g.dtype != bfloat16 or not target.bf16_pairs:
        return tile(widened, helpers, nbytes)
    pairs, more, _ = _product(paired(s), g, names, sizes, params)
    entry = Code(digest("half", s.key, g, names, sizes, "either"), params)
    fits = _fits(entry, g, names, sizes)
    either = entry.select(fits, "ptr", f"@{pairs.name}", f"@{widened.name}")
    entry.call(either, *((kind, f"%{name}") for kind, name in params))
    return tile(entry, [pairs, widened, *helpers, *more, _least(s, g.dtype)], nbytes)


def _product(
    s: Simd, g: HalfMatmul, names: tuple[str, str, str], sizes: tuple[str, str], params: list[tuple[str, str]]
) -> tuple[Code, list[Code | Shared], int]:
    """The product in the way that `s` says, the functions that it calls, and the bytes of its scratch: most where elements are widened."""
    widths = {nv for nv, count in column_counts(g.n, s).items() if count} if g.n is not None else set(s.rows)
    rows = {nv: row_choices(g.block, s.rows[nv], g.height) for nv in widths or {1}}
    width = s.lanes * max(rows)
    turns = g.b_strides[1] != 1
    depth = -(-g.k // 2) if s.pairs else g.k
    deep = -(-depth // s.lanes) * s.lanes
    areas = {
        "tile": max(nv * max(r) for nv, r in rows.items()) * s.lanes,
        "a": -(-g.height * depth // s.lanes) * s.lanes,
        "panel": deep * width,
        "turned": deep * width if turns else 0,
    }
    code = Code(digest("half", s.key, g, names, sizes), params)
    places, at = {}, 0
    for area, elements in areas.items():
        places[area] = code.at("float", "%scratch", at)
        at += elements
    _driver(code, s, g, depth, rows, places, names, sizes)
    codes: list[Code | Shared] = [micro_kernel(s, r, nv) for nv, heights in rows.items() for r in heights]
    codes += [*_movers(s, g), _narrow(s, g.dtype), *([pack_panel(s, "turn")] if turns else [])]
    return code, codes, at * 4


def _driver(
    code: Code, s: Simd, g: HalfMatmul, depth: int, rows: dict[int, tuple[int, ...]], places: dict[str, str],
    names: tuple[str, str, str], sizes: tuple[str, str],
) -> None:  # fmt: skip
    c, a, b = names
    all_rows, n = sizes
    job = code.let(f"alloca [{JOB_WORDS} x i64], align 64")
    table = code.let("alloca [2 x ptr], align 16")
    code.store("ptr", places["a"], table)
    code.store("ptr", places["panel"], code.at("ptr", table, 1))
    by_row = _by_row(g)  # how the block of A lies: rows, or as Aᵀ
    strides = {A_ROW: depth, A_DEPTH: 1} if by_row else {A_ROW: 1, A_DEPTH: g.height}
    set_job(code, job, {LIST: table, SEGMENTS: 1, DEPTH: depth, ACCUMULATE: 0, **strides})
    with code.loop(all_rows, step=ROW_BLOCK) as top:
        m = code.min(ROW_BLOCK, code.sub(all_rows, top.index))
        source = code.at("i16", a, code.mul(top.index, g.a_strides[0]))
        if by_row:
            _move(code, s, g.dtype, "along", (places["a"], depth), (source, *g.a_strides), (m, g.k))
        else:
            _move(code, s, g.dtype, "across", (places["a"], g.height), (source, g.a_strides[1], 1), (g.k, m))
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
                _pack(code, s, g, depth, places, code.at("i16", b, code.mul(j, g.b_strides[1])), cols, wide)
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


def _by_row(g: HalfMatmul) -> bool:
    return g.a_strides[1] == 1 or g.a_strides[0] != 1


def _pack(code: Code, s: Simd, g: HalfMatmul, depth: int, places: dict[str, str], b: str, cols: str, width: int) -> None:
    """Bring a panel of B into `places["panel"]`, by way of its transpose where its columns are not contiguous."""
    b_k, b_n = g.b_strides
    if b_n == 1:
        _move(code, s, g.dtype, "across", (places["panel"], width), (b, b_k, 1), (g.k, cols))
        return
    _move(code, s, g.dtype, "along", (places["turned"], depth), (b, b_n, b_k), (cols, g.k))
    code.call(
        f"@{pack_symbol(s, 'turn')}", ("ptr", places["panel"]), ("ptr", places["turned"]), ("i64", depth), ("i64", cols),
        ("i64", width), ("i64", 1), ("i64", depth),
    )  # fmt: skip


# --- bringing operands ------------------------------------------------------------------------------

MOVE_PARAMS = (
    ("ptr", "to"), ("ptr", "from"), ("i64", "rows"), ("i64", "n"), ("i64", "to_row"), ("i64", "row"), ("i64", "step"),
)  # fmt: skip
"""Rows of `n` elements, `row` apart and their elements `step`, become rows that are `to_row` floats apart."""


def _move(
    code: Code, s: Simd, dtype: DType, way: str, to: tuple[str, str | int], source: tuple[str, str | int, str | int],
    sizes: tuple[str | int, str | int],
) -> None:  # fmt: skip
    """Call a mover. k runs "along" the rows, or "across" them, from row to row."""
    (place, to_row), (start, row, step) = to, source
    way = f"{way}{'' if step == 1 else '_any'}"
    code.call(
        f"@{_symbol(way, s, dtype)}", ("ptr", place), ("ptr", start), *(("i64", n) for n in (*sizes, to_row, row, step))
    )


def _movers(s: Simd, g: HalfMatmul) -> list[Shared]:
    """The functions that the driver calls for this product's operands."""
    a_way = ("along", g.a_strides[1]) if _by_row(g) else ("across", 1)
    b_way = ("across", 1) if g.b_strides[1] == 1 else ("along", g.b_strides[0])
    return [_mover(s, g.dtype, way, step == 1) for way, step in dict.fromkeys((way, step == 1) for way, step in (a_way, b_way))]


def _mover(s: Simd, dtype: DType, way: str, dense: bool) -> Shared:
    return Shared(_symbol(f"{way}{'' if dense else '_any'}", s, dtype), MOVE_PARAMS, lambda code: _write_mover(code, s, dtype, way, dense))


def _write_mover(code: Code, s: Simd, dtype: DType, way: str, dense: bool) -> None:
    if not s.pairs:
        _widen(code, s, dtype, dense)
    elif way == "along":
        _join_along(code, s, dense)
    else:
        _join_across(code, s)


def _widen(code: Code, s: Simd, dtype: DType, dense: bool) -> None:
    """Each element as float32."""
    whole = code.mul(code.div("%n", s.lanes), s.lanes) if dense else "0"
    with code.loop("%rows") as row:
        to, start = code.at("float", "%to", code.mul(row.index, "%to_row")), code.at("i16", "%from", code.mul(row.index, "%row"))
        for lanes, first, stop in ((s.lanes, "0", whole), (1, whole, "%n")):
            with code.loop(stop, start=first, step=lanes) as i:
                bits = code.load(_vector("i16", lanes), code.at("i16", start, i.index if dense else code.mul(i.index, "%step")), 2)
                code.store(_vector("float", lanes), _to_float(code, dtype, bits, lanes), code.at("float", to, i.index), 4)


def _join_along(code: Code, s: Simd, dense: bool) -> None:
    """Neighbours in a row as one element; the last of an odd number has a zero beside it."""
    pairs = code.div("%n", 2)
    whole = code.mul(code.div(pairs, s.lanes), s.lanes) if dense else "0"
    odd = code.sub("%n", code.mul(pairs, 2))
    with code.loop("%rows") as row:
        to, start = code.at("i32", "%to", code.mul(row.index, "%to_row")), code.at("i16", "%from", code.mul(row.index, "%row"))
        with code.loop(whole, step=s.lanes) as i:
            words = _vector("i32", s.lanes)
            code.store(words, code.load(words, code.at("i16", start, code.mul(i.index, 2)), 2), code.at("i32", to, i.index), 4)
        with code.loop(pairs, start=whole) as i:
            low, high = (
                code.let(f"zext i16 {code.load('i16', code.at('i16', start, code.mul(k, '%step')), 2)} to i32")
                for k in (code.mul(i.index, 2), code.add(code.mul(i.index, 2), 1))
            )
            code.store("i32", _joined(code, low, high, 1), code.at("i32", to, i.index), 4)
        with code.loop(odd) as i:
            last = code.load("i16", code.at("i16", start, code.mul(code.sub("%n", 1), "%step")), 2)
            code.store("i32", code.let(f"zext i16 {last} to i32"), code.at("i32", to, pairs), 4)


def _join_across(code: Code, s: Simd) -> None:
    """Neighbours in a column as one element; the last of an odd number of rows has zeros beside it."""
    whole = code.mul(code.div("%n", s.lanes), s.lanes)
    with code.loop(code.ceil_div("%rows", 2)) as pair:
        first = code.mul(pair.index, 2)
        second = code.min(code.add(first, 1), code.sub("%rows", 1))
        there = code.let(f"sext i1 {code.compare('slt', code.add(first, 1), '%rows')} to i32")
        to = code.at("i32", "%to", code.mul(pair.index, "%to_row"))
        upper, lower = (code.at("i16", "%from", code.mul(k, "%row")) for k in (first, second))
        for lanes, start, stop in ((s.lanes, "0", whole), (1, whole, "%n")):
            short, word = _vector("i16", lanes), _vector("i32", lanes)
            keep = there if lanes == 1 else _filled(code, there, lanes)
            with code.loop(stop, start=start, step=lanes) as i:
                low, high = (
                    code.let(f"zext {short} {code.load(short, code.at('i16', row, i.index), 2)} to {word}") for row in (upper, lower)
                )
                high = code.let(f"and {word} {high}, {keep}")
                code.store(word, _joined(code, low, high, lanes), code.at("i32", to, i.index), 4)


def _joined(code: Code, low: str, high: str, lanes: int) -> str:
    word, sixteen = _vector("i32", lanes), _splat(16, "i32", lanes)
    return code.let(f"or {word} {low}, {code.let(f'shl {word} {high}, {sixteen}')}")


def _filled(code: Code, value: str, lanes: int) -> str:
    word = _vector("i32", lanes)
    one = code.let(f"insertelement {word} poison, i32 {value}, i64 0")
    return code.let(f"shufflevector {word} {one}, {word} poison, {word} zeroinitializer")


# --- what the instruction can take --------------------------------------------------------------------

LEAST_PARAMS = (("ptr", "to"), ("ptr", "from"), ("i64", "rows"), ("i64", "n"), ("i64", "row"), ("i64", "step"))
NORMAL = 2 * 127 - 126 + 14
"""Of the exponent fields of two numbers, the least sum with which their product, of 16 bits, is a multiple of the least normal float32:
so are all sums of such products then, and none of them is subnormal."""


def _fits(code: Code, g: HalfMatmul, names: tuple[str, str, str], sizes: tuple[str, str]) -> str:
    """i1: whether no element, product or sum can be subnormal."""
    exponents = []
    for name, strides, shape in ((names[1], g.a_strides, (sizes[0], g.k)), (names[2], g.b_strides, (g.k, sizes[1]))):
        (row, step), (rows, n) = strides, shape
        if step != 1 and row == 1:
            (row, step), (rows, n) = (step, row), (n, rows)
        least = code.let("alloca i64, align 8")
        code.call(
            "@" + _symbol("least", None, g.dtype), ("ptr", least), ("ptr", name), *(("i64", x) for x in (rows, n, row, step))
        )
        exponents.append(code.div(code.load("i64", least), 128))
    a, b = exponents
    both = code.let(f"and i1 {code.compare('sgt', a, 0)}, {code.compare('sgt', b, 0)}")
    return code.let(f"and i1 {both}, {code.compare('sge', code.add(a, b), NORMAL)}")


def _least(s: Simd, dtype: DType) -> Shared:
    """`void (to, from, rows, n, row, step)`: the least magnitude that is not zero, as its bits; 65535 where all are."""
    return Shared(_symbol("least", None, dtype), LEAST_PARAMS, lambda code: _write_least(code, s, dtype))


def _write_least(code: Code, s: Simd, dtype: DType) -> None:
    lanes = 2 * s.lanes
    dense = code.let(f"zext i1 {code.compare('eq', '%step', 1)} to i64")
    whole = code.mul(dense, code.mul(code.div("%n", lanes), lanes))
    carry = [(_vector("i16", lanes), "splat (i16 -1)"), ("i16", "-1")]
    with code.loop("%rows", carry) as row:
        start, found = code.at("i16", "%from", code.mul(row.index, "%row")), []
        for width, first, stop, before in ((lanes, "0", whole, row.values[0]), (1, whole, "%n", row.values[1])):
            kind = _vector("i16", width)
            with code.loop(stop, [(kind, before)], start=first, step=width) as i:
                offset = i.index if width > 1 else code.mul(i.index, "%step")
                bits = code.load(kind, code.at("i16", start, offset), 2)
                magnitude = code.let(f"and {kind} {bits}, {_splat(0x7FFF, 'i16', width)}")
                # Zero wraps to the largest number.
                less = code.let(f"add {kind} {magnitude}, {_splat(-1, 'i16', width)}")
                name = f"llvm.umin.{'' if width == 1 else f'v{width}'}i16"
                code.declare(f"{kind} @{name}({kind}, {kind})")
                i.next = [code.let(f"call {kind} @{name}({kind} {i.values[0]}, {kind} {less})")]
            found += i.results
        row.next = found
    wide, narrow = row.results
    code.declare(f"i16 @llvm.vector.reduce.umin.v{lanes}i16({_vector('i16', lanes)})")
    folded = code.let(f"call i16 @llvm.vector.reduce.umin.v{lanes}i16({_vector('i16', lanes)} {wide})")
    code.declare("i16 @llvm.umin.i16(i16, i16)")
    least = code.let(f"call i16 @llvm.umin.i16(i16 {folded}, i16 {narrow})")
    code.store("i64", code.add(code.let(f"zext i16 {least} to i64"), 1), "%to")


# --- conversions ------------------------------------------------------------------------------------


def _symbol(what: str, s: Simd | None, dtype: DType) -> str:
    return f"fdl_{what}_{SHORT[dtype]}{'' if s is None else f'_{s.key}'}"


def _narrow(s: Simd, dtype: DType) -> Shared:
    """`void (to, from, n, adding)`: n float32 as `dtype`, rounded; added to what is there when `adding` is not 0."""
    params = (("ptr", "to"), ("ptr", "from"), ("i64", "n"), ("i64", "adding"))
    return Shared(_symbol("narrow", s, dtype), params, lambda code: _write_narrow(code, s, dtype))


def _write_narrow(code: Code, s: Simd, dtype: DType) -> None:
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
