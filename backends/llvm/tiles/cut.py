"""How a matrix product is cut into tiles, and the loops that visit them.

Rows are cut into equal panels that overlap at the end, columns into panels of 3, 2 and 1 vectors such that a narrow one is
only met where there are few columns.

May be imported by: the tile emitters of this package.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fdl.backends.llvm.tiles.micro import ACCUMULATE, C_ROW, LIST, MICRO_PARAMS, Simd, micro_symbol
from fdl.backends.llvm.tiles.pack import put_symbol
from fdl.backends.llvm.tiles.text import Code
from fdl.backends.loops.ir import Const, Op, Value
from fdl.tracer.records import dataclass


def static(value: Value) -> int | None:
    """The value of a size known when the kernel is generated."""
    return int(value.value) if isinstance(value, Const) else None


def most(value: Value) -> int | None:
    """The most that a size can be, and is but for the last panel, where its form says so."""
    match value:
        case Op("min", (Const() as limit, _)):
            return int(limit.value)
        case _:
            return static(value)


def column_counts(n: int, s: Simd) -> dict[int, int]:
    """{vectors: number of panels} that cover n columns."""
    vectors = -(-n // s.lanes)
    if s.widest == 2:
        return {2: vectors // 2, 1: vectors % 2}
    threes, rest = divmod(vectors, 3)
    if rest == 1 and threes:
        return {3: threes - 1, 2: 2}
    return {3: threes, 2: int(rest == 2), 1: int(rest == 1)}


def best_rows(m: int, limit: int) -> int:
    """The number of rows of a tile, at most `limit`, that covers m rows with the least work."""
    if m <= limit:
        return max(m, 1)
    return min(range(limit, limit // 2, -1), key=lambda r: (-(-m // r) * (r + 1), -r))


def row_choices(m: int | None, limit: int, usual: int | None = None) -> tuple[int, ...]:
    """The row counts of the tiles that serve m rows; largest first, ending in 1 when m is not known, but `usual` as a rule."""
    if m is not None:
        return (best_rows(m, limit),)
    main = best_rows(usual or 1 << 10, limit)
    return tuple(dict.fromkeys((main, main // 2 or 1, main // 4 or 1, 1)))


def column_counts_at(code: Code, s: Simd, widths: Sequence[int], n: str) -> dict[int, str]:
    """The run-time `column_counts`, where only `widths` can occur."""
    vectors = code.ceil_div(n, s.lanes)
    if len(widths) == 1:
        return {widths[0]: code.ceil_div(vectors, widths[0])}
    rest = code.let(f"srem i64 {vectors}, {s.widest}")
    many = code.div(vectors, s.widest)
    if s.widest == 2:
        return {2: many, 1: rest}
    lone = code.let(f"and i1 {code.compare('eq', rest, 1)}, {code.compare('sgt', many, 0)}")
    two = code.let(f"zext i1 {code.compare('eq', rest, 2)} to i64")
    one = code.let(f"zext i1 {code.compare('eq', rest, 1)} to i64")
    return {
        3: code.select(lone, "i64", code.sub(many, 1), many),
        2: code.select(lone, "i64", 2, two),
        1: code.select(lone, "i64", 0, one),
    }


# --- visiting tiles ---------------------------------------------------------------------------------


def set_job(code: Code, job: str, words: dict[int, str | int]) -> None:
    for word, value in words.items():
        code.store("ptr" if word == LIST else "i64", str(value), code.at("i64", job, word))


@dataclass(frozen=True, slots=True)
class RowTile:
    """A panel of rows at run time: the micro-kernel, its height, the first row, how many rows another panel stores."""

    function: str
    height: str
    start: str
    skip: str


def choose_rows(code: Code, s: Simd, nv: int, rows: Sequence[int], m: str, ahead: bool = False) -> tuple[str, str]:
    """(micro-kernel, height) of the tallest of `rows`, sorted from tall to short, that m rows allow."""
    function, height = f"@{micro_symbol(s, rows[-1], nv, ahead)}", str(rows[-1])
    for r in rows[-2::-1]:
        enough = code.compare("sge", m, r)
        height = code.select(enough, "i64", r, height)
        function = code.select(enough, "ptr", f"@{micro_symbol(s, r, nv, ahead)}", function)
    return function, height


@contextmanager
def row_tiles(code: Code, s: Simd, nv: int, rows: Sequence[int], m: str) -> Iterator[RowTile]:
    """The loop over the panels of m rows, of the tallest of `rows` that m allows."""
    function, height = choose_rows(code, s, nv, rows, m)
    with row_loop(code, function, height, m) as row:
        yield row


@contextmanager
def row_loop(code: Code, function: str, height: str, m: str) -> Iterator[RowTile]:
    """The loop over the panels of m rows, each `height` rows high; the last one overlaps the one before."""
    panels = code.ceil_div(m, height)
    bottom = code.sub(m, height)
    with code.loop(panels) as panel:
        wanted = code.mul(panel.index, height)
        start = code.min(wanted, bottom)
        yield RowTile(function, height, start, code.sub(wanted, start))


def run_tile(
    code: Code,
    s: Simd,
    width: str | int,
    job: str,
    row: RowTile,
    where: tuple[str, str, str, str],
    c_row: str,
    edge: str | None,
) -> None:
    """Run a micro-kernel `width` columns wide at `where` = (A offset, B offset, C, columns).

    `edge` is scratch for a whole tile, for targets without masks: a tile that sticks out of C is computed there.
    """
    a, b, c, cols = where
    if edge is None:
        call_micro(code, row.function, job, a, b, c, cols, row.skip)
        return
    whole = code.compare("eq", cols, width)
    with code.when(whole):
        call_micro(code, row.function, job, a, b, c, cols, row.skip)
    with code.when(code.let(f"xor i1 {whole}, true")):
        accumulate = code.load("i64", code.at("i64", job, ACCUMULATE))
        set_job(code, job, {C_ROW: width, ACCUMULATE: 0})
        call_micro(code, row.function, job, a, b, edge, cols, "0")
        set_job(code, job, {C_ROW: c_row, ACCUMULATE: accumulate})
        adding = code.compare("ne", accumulate, 0)
        _merge(code, s, edge, width, c, c_row, (row.skip, row.height), cols, adding)


def run_tile_across(
    code: Code, s: Simd, width: str, job: str, row: RowTile, where: tuple[str, str, str], c_col: str, edge: str
) -> None:
    """Run a micro-kernel into `edge` and write the tile turned, at `where` = (A offset, C, columns): C's rows are contiguous."""
    a, c, cols = where
    accumulate = code.load("i64", code.at("i64", job, ACCUMULATE))
    set_job(code, job, {C_ROW: width, ACCUMULATE: 0})
    call_micro(code, row.function, job, a, "0", edge, width, "0")
    set_job(code, job, {ACCUMULATE: accumulate})
    code.call(
        f"@{put_symbol(s)}", ("ptr", code.at(s.element, c, row.skip)),
        ("ptr", code.at(s.element, edge, code.mul(row.skip, width))), ("i64", code.sub(row.height, row.skip)),
        ("i64", cols), ("i64", width), ("i64", c_col), ("i64", accumulate),
    )  # fmt: skip


def call_micro(code: Code, function: str, job: str, a: str, b: str, c: str, cols: str, skip: str) -> None:
    values = (job, a, b, c, cols, skip)
    code.call(function, *((kind, value) for (kind, _), value in zip(MICRO_PARAMS, values, strict=True)))


def _merge(
    code: Code, s: Simd, edge: str, width: str | int, c: str, c_row: str, rows: tuple[str, str], cols: str, adding: str
) -> None:
    """Copy, or add where `adding`, rows [rows[0], rows[1]) of the tile at `edge` to C."""
    with code.loop(rows[1], start=rows[0]) as i, code.loop(cols) as j:
        value = code.load(s.element, code.at(s.element, edge, code.add(code.mul(i.index, width), j.index)))
        target = code.at(s.element, c, code.add(code.mul(i.index, c_row), j.index))
        add_to, done = code.fresh("add"), code.fresh("put")
        before = code.block
        code.emit(f"br i1 {adding}, label %{add_to}, label %{done}")
        code.label(add_to)
        total = code.let(f"fadd {s.element} {value}, {code.load(s.element, target)}")
        code.emit(f"br label %{done}")
        code.label(done)
        code.store(s.element, code.let(f"phi {s.element} [ {value}, %{before} ], [ {total}, %{add_to} ]"), target)
