"""Convolution in many small groups, depthwise among them: the features of all groups are the lanes of vectors.

Rows of input are `expand`ed, so that each lane finds its channel; then every lane is a convolution of its own, and `slide` multiplies
vectors by vectors.

May be imported by: `conv`.
"""

from __future__ import annotations

from fdl.backends.llvm.tiles.cut import best_rows, row_loop, run_tile, set_job
from fdl.backends.llvm.tiles.expand import Expanded
from fdl.backends.llvm.tiles.gather import Gather, entry_head
from fdl.backends.llvm.tiles.met import MetRows, copies, dot, met_rows
from fdl.backends.llvm.tiles.micro import A_DEPTH, A_ROW, ACCUMULATE, B_DEPTH, C_ROW, DEPTH, LIST, SEGMENTS
from fdl.backends.llvm.tiles.parts import TileFunction, tile
from fdl.backends.llvm.tiles.slide import B_TAP, SLIDE_WORDS, Slide, slide_kernel, slide_rows
from fdl.backends.llvm.tiles.text import Code
from fdl.backends.llvm.tiles.windows import Phase, zero_elements, zero_symbol
from fdl.backends.loops.ir import Call
from fdl.tracer.records import dataclass

HIGH = 8
"""The least height of a tile whose taps are taken together."""
MOST_BYTES = 1 << 20
"""The most bytes of copied rows."""


@dataclass(frozen=True, slots=True)
class Grouped:
    """How a convolution whose groups are the lanes is computed."""

    g: Gather

    @property
    def rows(self) -> Expanded:
        g = self.g
        return Expanded(g.s, g.inner, g.outputs, g.x_strides[-1], g.channels, g.features, g.groups)

    @property
    def packs(self) -> bool:
        """Whether the filter is copied, to [tap][channel][lane] in whole vectors."""
        rows = self.rows
        turned = self.g.reverse and not self.g.channels == self.g.features == 1
        return turned or (not self.g.s.masked and rows.lanes != rows.width)

    @property
    def filter_pitch(self) -> int:
        """What lies between channels of the filter."""
        return self.rows.width if self.packs else self.rows.lanes

    @property
    def tap_pitch(self) -> int:
        return self.g.channels * self.filter_pitch

    def tile(self, phase: Phase) -> Slide:
        """The tile of a phase: of all its taps along the row, or of one where they would leave too few registers."""
        g, taps = self.g, phase.taps
        if slide_rows(g.s, taps, phase.stride, phase.dilation) < min(HIGH, phase.count(g.outputs)):
            taps = min(taps, 1)
        rows = slide_rows(g.s, taps, phase.stride, phase.dilation)
        return Slide(g.s, best_rows(phase.count(g.outputs), max(rows, 1)), taps, phase.stride, phase.dilation, True)

    # Scratch: a tile of the output (targets without masks) | the packed filter | the rows of one output row.

    @property
    def edge_elements(self) -> int:
        return 0 if self.g.s.masked else self.g.s.lanes * max(self.tile(p).pixels for p in self.g.phases)

    @property
    def filter_elements(self) -> int:
        return self.g.taps * self.tap_pitch if self.packs else 0

    @property
    def copied(self) -> int:
        return copies(self.g.axes[:-1]) * self.rows.elements

    @property
    def scratch_bytes(self) -> int:
        return (self.edge_elements + self.filter_elements + self.copied) * self.g.s.size


def pays(g: Gather) -> bool:
    """Whether features of all groups fill vectors better than those of one."""
    if g.groups == 1:
        return False

    def filled(n: int) -> float:
        return n / (-(-n // g.s.lanes) * g.s.lanes)

    return filled(g.groups * g.features) > filled(g.features) and Grouped(g).copied * g.s.size <= MOST_BYTES


def write_grouped(g: Gather, call: Call) -> TileFunction:
    """The convolution `g`, all groups at once."""
    w, s = Grouped(g), g.s
    expand = w.rows.code()
    code = Code(*entry_head("grouped", call, g))
    filters = code.at(s.element, "%scratch", w.edge_elements)
    place = code.at(s.element, filters, w.filter_elements)
    job = code.let(f"alloca [{SLIDE_WORDS} x i64], align 64")
    table = code.let(f"alloca [{2 * g.taps} x ptr], align 16")
    depth: dict[int, str | int] = {DEPTH: g.channels, A_DEPTH: w.rows.plane, B_DEPTH: w.filter_pitch}
    set_job(code, job, {LIST: table, ACCUMULATE: 0, A_ROW: w.rows.step, **depth})

    def copy(to: str, row: str) -> None:
        code.call(f"@{expand.name}", ("ptr", to), ("ptr", row))

    rows = met_rows(code, s, g.axes[:-1], g.x_strides, (w.rows.elements, place), copy)
    if w.rows.copied:
        code.call(f"@{zero_symbol(s)}", ("ptr", place), ("i64", w.copied))
    rows.forget()
    if w.packs:
        _pack(code, w, filters)
    with g.positions(code) as (at, inside):
        met = rows.find(at, "%in0")
        out = code.at(s.element, "%out0", dot(code, inside, g.y_strides))
        for phase in g.phases:
            _phase(code, w, phase, rows, (met, job, table, filters if w.packs else "%in1"), out)
    codes = [slide_kernel(w.tile(p)) for p in g.phases]
    codes += [expand, zero_elements(s)] if w.rows.copied else []
    return tile(code, codes, w.scratch_bytes)


def _pack(code: Code, w: Grouped, to: str) -> None:
    """Copy the filter to [tap][channel][lane]."""
    g, kind = w.g, w.g.s.element
    lanes = w.rows.lanes
    with code.loop(g.taps) as tap, code.loop(g.channels) as k, code.loop(g.groups) as group, code.loop(g.features) as o:
        lane = code.add(code.mul(group.index, g.features), o.index)
        if g.reverse:  # (.., features, channels of all groups)
            row = code.add(code.mul(tap.index, g.features), o.index)
            source = code.add(code.mul(row, g.wide), code.add(code.mul(group.index, g.channels), k.index))
        else:
            source = code.add(code.mul(code.add(code.mul(tap.index, g.channels), k.index), lanes), lane)
        place = code.add(code.mul(code.add(code.mul(tap.index, g.channels), k.index), w.filter_pitch), lane)
        code.store(kind, code.load(kind, code.at(kind, "%in1", source)), code.at(kind, to, place))


def _phase(code: Code, w: Grouped, phase: Phase, rows: MetRows, names: tuple[str, str, str, str], out: str) -> None:
    """One phase of a row of output."""
    g, s = w.g, w.g.s
    met, job, table, filters = names
    tile, sign = w.tile(phase), -1 if g.reverse else 1
    pieces = phase.taps // tile.taps if tile.taps else 0
    with rows.each(met) as (i, row, across):
        # Taps of the transpose count from the end.
        first = g.taps - 1 - phase.tap if g.reverse else phase.tap
        tap = code.add(code.mul(across, sign * g.inner.taps), first)
        for piece in range(pieces):
            x = code.at(s.element, row, (phase.base + piece * phase.dilation - w.rows.start) * w.rows.step)
            f = code.at(s.element, filters, code.mul(code.add(tap, sign * piece * phase.tap_step), w.tap_pitch))
            entry = code.at("ptr", table, code.mul(code.add(code.mul(i, pieces), piece), 2))
            code.store("ptr", x, entry)
            code.store("ptr", f, code.at("ptr", entry, 1))
    c_row = phase.step * g.y_strides[-1]
    set_job(
        code, job,
        {SEGMENTS: code.mul(met, pieces), C_ROW: c_row, B_TAP: sign * phase.tap_step * w.tap_pitch},
    )  # fmt: skip
    with code.loop(w.rows.lanes, step=s.lanes) as j:
        cols = code.min(code.sub(w.rows.lanes, j.index), s.lanes)
        with row_loop(code, f"@{tile.symbol}", str(tile.pixels), str(phase.count(g.outputs))) as row:
            a = code.add(code.mul(row.start, phase.stride * w.rows.step), j.index)
            c = code.at(s.element, out, code.add(code.mul(row.start, c_row), code.add(j.index, phase.first * g.y_strides[-1])))
            run_tile(code, s, s.lanes, job, row, (a, j.index, c, cols), str(c_row), None if s.masked else "%scratch")
