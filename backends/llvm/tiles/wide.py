"""Convolution with its features as the lanes of vectors: no im2col, no zero insertion.

For one row of output and one phase, the pixels are the rows of a matrix product whose depth is the taps that meet the image,
one segment of (tap along the row, channel) for each tap across rows: neighbouring taps' channels are neighbours in memory.  The
micro-kernel adds up all segments in registers; where it would be one vector wide, `slide` takes its place.  Filters are read in
place; for the transpose they are turned around once per call.  Rows that padding extends are copied, with zeros, just before use.

May be imported by: `conv`.
"""

from __future__ import annotations

from fdl.backends.llvm.tiles.cut import best_rows, column_counts, row_loop, run_tile, set_job
from fdl.backends.llvm.tiles.gather import Gather, entry_head
from fdl.backends.llvm.tiles.met import MetRows, copies, dot, met_rows
from fdl.backends.llvm.tiles.micro import (
    A_DEPTH,
    A_ROW,
    ACCUMULATE,
    B_DEPTH,
    C_ROW,
    DEPTH,
    LIST,
    SEGMENTS,
    micro_kernel,
    micro_symbol,
)
from fdl.backends.llvm.tiles.pack import pack_panel, pack_symbol
from fdl.backends.llvm.tiles.parts import TileFunction, tile
from fdl.backends.llvm.tiles.slide import B_TAP, SLIDE_WORDS, Slide, slide_kernel, slide_rows
from fdl.backends.llvm.tiles.text import Code
from fdl.backends.llvm.tiles.windows import Phase, Rows, copy_elements, copy_row, rows_of, zero_elements, zero_symbol
from fdl.backends.loops.ir import Call
from fdl.tracer.records import dataclass

SLIDING = 8
"""The least height of a tile of `slide`: lower ones would wait for the sums of the step before."""


@dataclass(frozen=True, slots=True)
class Wide:
    """How a convolution whose features are the lanes is computed."""

    g: Gather

    @property
    def packs(self) -> bool:
        """Whether filters are copied: to turn them, or to pad them to whole vectors where there are no masks."""
        return self.g.reverse or (not self.g.s.masked and self.g.features % self.g.s.lanes != 0)

    @property
    def rows(self) -> Rows:
        return rows_of(self.g.inner, self.g.outputs, self.g.channels, self.g.x_strides[-1])

    @property
    def tap_order(self) -> tuple[int, ...]:
        """The innermost taps in the order of the packed filter: phase by phase."""
        if not self.g.reverse:
            return tuple(range(self.g.inner.taps))
        ordered = [p.tap + j * p.tap_step for p in self.g.inner.phases for j in range(p.taps)]
        return (*ordered, *(k for k in range(self.g.inner.taps) if k not in ordered))

    def tap_pitch(self, phase: Phase) -> int:
        """What lies between neighbouring taps of a phase, in the order of the filter."""
        order = self.tap_order
        return order.index(phase.tap + phase.tap_step) - order.index(phase.tap)

    def joined(self, phase: Phase) -> bool:
        """Whether the taps of a phase along the row, channels and all, are one contiguous run of x and of the filter."""
        if phase.taps <= 1:
            return True
        in_filter = self.g.reverse or phase.tap_step == 1
        return phase.dilation == 1 and self.rows.pitch == self.g.channels and in_filter

    @property
    def widths(self) -> tuple[int, ...]:
        """The vectors of the panels that features fall into."""
        return tuple(sorted((nv for nv, n in column_counts(self.g.features, self.g.s).items() if n), reverse=True))

    def tile(self, nv: int, phase: Phase) -> Slide | int:
        """The tile that serves a phase where panels are `nv` vectors wide: one of `slide`, or so many rows of `micro`."""
        pixels = phase.count(self.g.outputs)
        rows = slide_rows(self.g.s, phase.taps, phase.stride, phase.dilation)
        if nv == 1 and phase.taps > 1 and min(pixels, rows) >= SLIDING:
            return Slide(self.g.s, best_rows(pixels, rows), phase.taps, phase.stride, phase.dilation, False)
        return best_rows(pixels, self.g.s.rows[nv])

    @property
    def tiles(self) -> list[tuple[int, Slide | int]]:
        """(vectors, tile) of all panels and phases."""
        return [(nv, self.tile(nv, phase)) for nv in self.widths for phase in self.g.phases]

    # Scratch: a tile of C (targets without masks) | the packed filter | the rows of one output row.

    @property
    def edge_elements(self) -> int:
        if self.g.s.masked:
            return 0
        return max((nv * _height(t) * self.g.s.lanes for nv, t in self.tiles), default=0)

    @property
    def filter_elements(self) -> int:
        if not self.packs:
            return 0
        width = self.g.s.lanes * self.g.s.widest
        return self.g.taps * self.g.channels * (self.g.features + width) + (self.g.s.lanes + 1) * width

    @property
    def row_elements(self) -> int:
        """A whole number of vectors, so that copied rows start aligned."""
        return -(-self.rows.elements // self.g.s.lanes) * self.g.s.lanes if self.rows.copied else 0

    @property
    def scratch_bytes(self) -> int:
        return (self.edge_elements + self.filter_elements + copies(self.g.axes[:-1]) * self.row_elements) * self.g.s.size


def write_wide(g: Gather, call: Call) -> TileFunction:
    """The convolution `g`, group by group."""
    w, s = Wide(g), g.s
    entry = _entry(w, call)
    codes = [slide_kernel(t) if isinstance(t, Slide) else micro_kernel(s, t, nv) for nv, t in w.tiles]
    if w.packs:
        codes.append(pack_panel(s, "turn" if g.reverse else "any"))
    if w.rows.copied:
        codes += [copy_elements(s), zero_elements(s)]
    return tile(entry, codes, w.scratch_bytes)


def _height(tile: Slide | int) -> int:
    """The pixels of a tile."""
    return tile.pixels if isinstance(tile, Slide) else tile


# --- the kernel -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Body:
    """What the loops of one kernel share: the names of its job, its table and its packed filters, and the rows that it meets."""

    code: Code
    w: Wide
    job: str
    table: str
    filters: str
    rows: MetRows


def _entry(w: Wide, call: Call) -> Code:
    g, s = w.g, w.g.s
    code = Code(*entry_head("conv", call, g))
    filters = code.at(s.element, "%scratch", w.edge_elements)
    place = code.at(s.element, filters, w.filter_elements)

    def copy(to: str, row: str) -> None:
        copy_row(code, s, w.rows, g.inner, g.x_strides[-1], to, row)

    body = _Body(
        code, w, code.let(f"alloca [{SLIDE_WORDS} x i64], align 64"), code.let(f"alloca [{2 * g.taps} x ptr], align 16"), filters,
        met_rows(code, s, g.axes[:-1], g.x_strides, (w.row_elements, place), copy),
    )  # fmt: skip
    set_job(code, body.job, {LIST: body.table, A_DEPTH: 1, ACCUMULATE: 0})
    if w.rows.copied:
        code.call(f"@{zero_symbol(s)}", ("ptr", place), ("i64", copies(g.axes[:-1]) * w.row_elements))
    with code.loop(g.groups) as group:
        body.rows.forget()
        x = code.at(s.element, "%in0", code.mul(group.index, g.channels))
        y = code.at(s.element, "%out0", code.mul(group.index, g.features))
        f = code.at(s.element, "%in1", code.mul(group.index, g.channels if g.reverse else g.features))
        if w.packs:
            _pack(body, f)
        start = 0
        for nv, count_of in column_counts(g.features, s).items():
            if not count_of:
                continue
            width = nv * s.lanes
            with code.loop(count_of) as panel:
                j = code.add(start, code.mul(panel.index, width))
                cols = code.min(code.sub(g.features, j), width)
                with g.positions(code) as (at, place_of):
                    found = body.rows.find(at, x)
                    out = code.at(s.element, y, code.add(dot(code, place_of, g.y_strides), j))
                    _output_row(body, nv, found, out, f, j, cols)
            start += count_of * width
    return code


def _pack(body: _Body, f: str) -> None:
    """Copy the filter of a group into panels [tap][channel][feature], one panel after another."""
    code, w, g, s = body.code, body.w, body.w.g, body.w.g.s
    way = f"@{pack_symbol(s, 'turn' if g.reverse else 'any')}"
    per_tap = g.features * g.wide if g.reverse else g.channels * g.wide  # elements of the filter between taps
    start = 0
    for nv, count in column_counts(g.features, s).items():
        width = nv * s.lanes
        with code.loop(count) as panel:
            j = code.add(start, code.mul(panel.index, width))
            cols = code.min(code.sub(g.features, j), width)
            to = code.at(s.element, body.filters, code.mul(j, g.taps * g.channels))
            if g.reverse:
                with code.loop(g.outer_taps) as outer:
                    across = code.sub(g.outer_taps - 1, outer.index)
                    for place, along in enumerate(w.tap_order):
                        tap = code.add(code.mul(across, g.inner.taps), g.inner.taps - 1 - along)
                        source = code.at(s.element, f, code.add(code.mul(tap, per_tap), code.mul(j, g.wide)))
                        # In ascending order: each block of the turning copy may run over into the next.
                        at = code.add(code.mul(outer.index, g.inner.taps), place)
                        code.call(
                            way, ("ptr", code.at(s.element, to, code.mul(at, g.channels * width))), ("ptr", source),
                            ("i64", g.channels), ("i64", cols), ("i64", width), ("i64", 1), ("i64", g.wide),
                        )  # fmt: skip
            else:
                code.call(
                    way, ("ptr", to), ("ptr", code.at(s.element, f, j)), ("i64", g.taps * g.channels), ("i64", cols),
                    ("i64", width), ("i64", g.wide), ("i64", 1),
                )  # fmt: skip
        start += count * width


def _output_row(body: _Body, nv: int, met: str, out: str, f: str, j: str, cols: str) -> None:
    """One row of output, one panel of features from the `met` rows found, phase by phase."""
    code, w, g, s = body.code, body.w, body.w.g, body.w.g.s
    width = nv * s.lanes
    if w.packs:
        filters, row_step = code.at(s.element, body.filters, code.mul(j, g.taps * g.channels)), width
    else:
        filters, row_step = code.at(s.element, f, j), g.wide
    for phase in g.phases:
        tile = w.tile(nv, phase)
        whole = isinstance(tile, Slide) or w.joined(phase)
        segments, depth = _segments(body, phase, met, filters, row_step, 1 if whole else phase.taps)
        words: dict[int, str | int] = {SEGMENTS: segments, B_DEPTH: row_step, C_ROW: phase.step * g.y_strides[-1]}
        if isinstance(tile, Slide):
            function = tile.symbol
            words |= {DEPTH: g.channels, A_ROW: w.rows.pitch, B_TAP: w.tap_pitch(phase) * g.channels * row_step}
        else:
            function = micro_symbol(s, tile, nv)
            words |= {DEPTH: depth, A_ROW: phase.stride * w.rows.pitch}
        set_job(code, body.job, words)
        pixels = phase.count(g.outputs)
        first = code.at(s.element, out, phase.first * g.y_strides[-1])
        c_row = phase.step * g.y_strides[-1]
        with row_loop(code, f"@{function}", str(_height(tile)), str(pixels)) as row:
            a = code.mul(row.start, phase.stride * w.rows.pitch)
            c = code.at(s.element, first, code.mul(row.start, c_row))
            run_tile(code, s, nv * s.lanes, body.job, row, (a, "0", c, cols), str(c_row), None if s.masked else "%scratch")


def _segments(body: _Body, phase: Phase, met: str, filters: str, row_step: int, pieces: int) -> tuple[str, int]:
    """Write the table of the phase's segments, `pieces` for each row; returns (their number, the depth of each)."""
    code, w, g, s = body.code, body.w, body.w.g, body.w.g.s
    if not phase.taps:
        return "0", 0
    order = w.tap_order
    with body.rows.each(met) as (i, row, across):
        for piece in range(pieces):
            along = order.index(phase.tap + piece * phase.tap_step)
            a = code.at(s.element, row, (phase.base + piece * phase.dilation - w.rows.start) * w.rows.pitch)
            tap = code.add(code.mul(across, g.inner.taps), along)
            b = code.at(s.element, filters, code.mul(tap, g.channels * row_step))
            place = code.at("ptr", body.table, code.mul(code.add(code.mul(i, pieces), piece), 2))
            code.store("ptr", a, place)
            code.store("ptr", b, code.at("ptr", place, 1))
    return code.mul(met, pieces), g.channels * phase.taps // pieces
