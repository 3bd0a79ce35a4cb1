"""Packing one panel of B: `panel[k * width + j] = b[k * b_k + j * b_n]`, columns beyond `cols` being anything finite.

Two ways: "turn" for contiguous k (square blocks are transposed in registers; the panel is written up to a whole number of
blocks in k), "any" for any strides (element by element).

May be imported by: the tile emitters of this package.
"""

from __future__ import annotations

from collections.abc import Sequence

from fdl.backends.llvm.tiles.micro import Simd, load, mask_below, store
from fdl.backends.llvm.tiles.text import Code, Shared

PACK_PARAMS = (
    ("ptr", "panel"), ("ptr", "b"), ("i64", "depth"), ("i64", "cols"), ("i64", "width"), ("i64", "b_k"), ("i64", "b_n"),
)  # fmt: skip


def pack_symbol(s: Simd, way: str) -> str:
    return f"fdl_pack_{way}_{s.key}"


def pack_panel(s: Simd, way: str) -> Shared:
    """The packing function of panels `width` columns wide (whole vectors); `way` is "turn" or "any"."""
    return Shared(pack_symbol(s, way), PACK_PARAMS, lambda code: _write_pack_panel(code, s, way))


def _write_pack_panel(code: Code, s: Simd, way: str) -> None:
    if way == "turn":
        _turn(code, s)
    else:
        _any(code, s, "0")


def _any(code: Code, s: Simd, first: str) -> None:
    """Copy k from `first` on, element by element; columns beyond %cols repeat the last one."""
    last = code.sub("%cols", 1)
    with code.loop("%depth", start=first) as k, code.loop("%width") as j:
        source = code.add(code.mul(k.index, "%b_k"), code.mul(code.min(j.index, last), "%b_n"))
        x = code.load(s.element, code.at(s.element, "%b", source))
        code.store(s.element, x, code.at(s.element, "%panel", code.add(code.mul(k.index, "%width"), j.index)))


def _turn(code: Code, s: Simd) -> None:
    """Transpose blocks of lanes x lanes; columns beyond %cols repeat the last one, k beyond %depth are zero."""
    n = s.lanes
    last = code.sub("%cols", 1)
    whole = "%depth" if s.masked else code.mul(code.div("%depth", n), n)
    with code.loop("%width", step=n) as v:
        rows = [code.at(s.element, "%b", code.mul(code.min(code.add(v.index, i), last), "%b_n")) for i in range(n)]
        out = code.at(s.element, "%panel", v.index)
        with code.loop(whole, step=n) as k:
            mask = mask_below(code, s, code.sub("%depth", k.index)) if s.masked else None
            block = [load(code, s, code.at(s.element, row, k.index), mask) for row in rows]
            for i, column in enumerate(transposed(code, s, block)):
                store(code, s, column, code.at(s.element, out, code.mul(code.add(k.index, i), "%width")))
    if not s.masked:
        _any(code, s, whole)


# --- rows of A --------------------------------------------------------------------------------------

ROWS_PARAMS = (("ptr", "out"), ("ptr", "a"), ("i64", "depth"), ("i64", "a_row"), ("i64", "a_k"))


def pack_rows_symbol(s: Simd, way: str, height: int) -> str:
    return f"fdl_pack_rows_{way}_{s.key}_{height}"


def pack_rows(s: Simd, way: str, height: int) -> Shared:
    """`void (out, a, depth, a_row, a_k)`: out[k * height + i] = a[i * a_row + k * a_k] for k < depth, i < height.

    `way` says what is contiguous: "turn" k, "rows" the rows (for targets with masks), "any" nothing.  Whole vectors are stored in the
    order of k: what one writes beyond the tile's height the next one overwrites, and what follows the tile is overwritten by up to
    `lanes` rows.
    """
    return Shared(pack_rows_symbol(s, way, height), ROWS_PARAMS, lambda code: _write_pack_rows(code, s, way, height))


def _write_pack_rows(code: Code, s: Simd, way: str, height: int) -> None:
    n = s.lanes
    groups = range(0, height, n)
    if way == "rows":
        masks = [mask_below(code, s, str(height - group)) for group in groups]
        with code.loop("%depth") as k:
            source = code.at(s.element, "%a", code.mul(k.index, "%a_k"))
            to = code.at(s.element, "%out", code.mul(k.index, height))
            for group, inside in zip(groups, masks, strict=True):
                store(code, s, load(code, s, code.at(s.element, source, group), inside), code.at(s.element, to, group))
        return
    whole = "0"
    if way == "turn":
        whole = "%depth" if s.masked else code.mul(code.div("%depth", n), n)
        rows = [code.at(s.element, "%a", code.mul(min(i, height - 1), "%a_row")) for i in range(len(groups) * n)]
        with code.loop(whole, step=n) as k:
            mask = mask_below(code, s, code.sub("%depth", k.index)) if s.masked else None
            squares = [
                transposed(code, s, [load(code, s, code.at(s.element, row, k.index), mask) for row in rows[g : g + n]])
                for g in groups
            ]
            for i in range(n):
                to = code.at(s.element, "%out", code.mul(code.add(k.index, i), height))
                for group, columns in zip(groups, squares, strict=True):
                    store(code, s, columns[i], code.at(s.element, to, group))
    with code.loop("%depth", start=whole) as k:
        source, to = code.mul(k.index, "%a_k"), code.at(s.element, "%out", code.mul(k.index, height))
        for i in range(height):
            x = code.load(s.element, code.at(s.element, "%a", code.add(source, code.mul(i, "%a_row"))))
            code.store(s.element, x, code.at(s.element, to, i))


# --- the way back -----------------------------------------------------------------------------------

PUT_PARAMS = (
    ("ptr", "c"), ("ptr", "tile"), ("i64", "rows"), ("i64", "cols"), ("i64", "width"), ("i64", "c_col"), ("i64", "add"),
)  # fmt: skip


def put_symbol(s: Simd) -> str:
    return f"fdl_put_{s.key}"


def put_across(s: Simd) -> Shared:
    """`void (c, tile, rows, cols, width, c_col, add)`: c[j * c_col + i] (+)= tile[i * width + j] for i < rows, j < cols."""
    return Shared(put_symbol(s), PUT_PARAMS, lambda code: _write_put_across(code, s))


def _write_put_across(code: Code, s: Simd) -> None:
    n = s.lanes
    adding = code.compare("ne", "%add", 0)
    if not s.masked:
        with code.loop("%cols") as j, code.loop("%rows") as i:
            value = code.load(s.element, code.at(s.element, "%tile", code.add(code.mul(i.index, "%width"), j.index)))
            place = code.at(s.element, "%c", code.add(code.mul(j.index, "%c_col"), i.index))
            # What is there is read even when it is not wanted; -0.0 is what adds nothing.
            before = code.select(adding, s.element, code.load(s.element, place), "-0.0")
            code.store(s.element, code.let(f"fadd {s.element} {value}, {before}"), place)
        return
    with code.loop("%rows", step=n) as i, code.loop("%cols", step=n) as j:
        high, wide = code.sub("%rows", i.index), code.sub("%cols", j.index)
        mask = mask_below(code, s, high)
        wanted = code.let(f"select i1 {adding}, {s.mask} {mask}, {s.mask} zeroinitializer")
        corner = code.at(s.element, "%tile", code.add(code.mul(i.index, "%width"), j.index))
        rows = [code.mul(code.min(r, code.sub(high, 1)), "%width") for r in range(n)]
        columns = transposed(code, s, [load(code, s, code.at(s.element, corner, row)) for row in rows])
        base = code.at(s.element, "%c", code.add(code.mul(j.index, "%c_col"), i.index))
        for r, column in enumerate(columns):
            with code.when(code.compare("sgt", wide, r)):
                place = code.at(s.element, base, code.mul("%c_col", r))
                before = load(code, s, place, wanted, f"splat ({s.element} -0.0)")
                store(code, s, code.let(f"fadd {s.vector} {column}, {before}"), place, mask)


# --- squares ----------------------------------------------------------------------------------------


def transposed(code: Code, s: Simd, rows: Sequence[str]) -> list[str]:
    """The columns of the square block whose rows are the vectors `rows`.

    First inside 128-bit lanes (unpack instructions), then whole lanes: each step is one instruction on x86.
    """
    n, inner = s.lanes, 16 // s.size
    lanes = n // inner
    groups = [_unpacked(code, s, rows[g * inner : (g + 1) * inner]) for g in range(lanes)]
    out = [""] * n
    for i in range(inner):
        for lane, column in enumerate(_lanes_turned(code, s, [group[i] for group in groups])):
            out[lane * inner + i] = column
    return out


def _unpacked(code: Code, s: Simd, rows: Sequence[str]) -> list[str]:
    """Lane by lane, the transposes of the small blocks that `rows` (as many as a lane has elements) hold."""
    inner = len(rows)
    starts = range(0, s.lanes, inner)
    if inner == 2:
        low = [p for x in starts for p in (x, s.lanes + x)]
        a, b = rows
        return [_shuffle(code, s, a, b, low), _shuffle(code, s, a, b, [p + 1 for p in low])]
    low = [p for x in starts for p in (x, s.lanes + x, x + 1, s.lanes + x + 1)]
    high = [p + 2 for p in low]
    pairs = [p for x in starts for p in (x, x + 1, s.lanes + x, s.lanes + x + 1)]
    others = [p + 2 for p in pairs]
    a, b, c, d = rows
    ab, cd = _shuffle(code, s, a, b, low), _shuffle(code, s, c, d, low)
    ab2, cd2 = _shuffle(code, s, a, b, high), _shuffle(code, s, c, d, high)
    return [_shuffle(code, s, x, y, picks) for x, y in ((ab, cd), (ab2, cd2)) for picks in (pairs, others)]


def _lanes_turned(code: Code, s: Simd, vectors: Sequence[str]) -> list[str]:
    """The transpose of the square matrix of 128-bit lanes (1, 2 or 4 of them) whose rows are `vectors`."""
    inner, n = 16 // s.size, s.lanes

    def pick(a: str, b: str, first: tuple[int, ...], second: tuple[int, ...]) -> str:
        lanes = [lane * inner for lane in first] + [n + lane * inner for lane in second]
        return _shuffle(code, s, a, b, [start + i for start in lanes for i in range(inner)])

    if len(vectors) == 1:
        return list(vectors)
    if len(vectors) == 2:
        a, b = vectors
        return [pick(a, b, (0,), (0,)), pick(a, b, (1,), (1,))]
    a, b, c, d = vectors
    out = []
    for half in ((0, 1), (2, 3)):
        ab, cd = pick(a, b, half, half), pick(c, d, half, half)
        out += [pick(ab, cd, (0, 2), (0, 2)), pick(ab, cd, (1, 3), (1, 3))]
    return out


def _shuffle(code: Code, s: Simd, a: str, b: str, picks: Sequence[int]) -> str:
    mask = ", ".join(f"i32 {p}" for p in picks)
    return code.let(f"shufflevector {s.vector} {a}, {s.vector} {b}, <{len(picks)} x i32> <{mask}>")
