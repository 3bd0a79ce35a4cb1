"""The transpose of a convolution with respect to its filter, with features as the lanes of vectors.

For each tap across rows it is a matrix product: the rows are (tap along the row, channel), which neighbour each other in memory, the
columns are features, and the depth runs over the pixels: one segment for each row of output.  The micro-kernel keeps its
tile of the gradient in registers over all of them.  Images, or rows of one, are taken in blocks that
fit the cache, and each block adds to the gradient.

May be imported by: `filters`.
"""

from __future__ import annotations

from math import prod

from fdl.backends.llvm.tiles.correlate import Correlate, entry_head
from fdl.backends.llvm.tiles.cut import best_rows, column_counts, row_tiles, run_tile, set_job
from fdl.backends.llvm.tiles.met import dot, nest
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
    micro_kernel,
)
from fdl.backends.llvm.tiles.pack import pack_panel, pack_symbol
from fdl.backends.llvm.tiles.parts import TileFunction, tile
from fdl.backends.llvm.tiles.text import Code, Shared
from fdl.backends.llvm.tiles.windows import Phase, Rows, copy_elements, copy_row, partner, rows_of, zero_elements, zero_symbol
from fdl.backends.loops.ir import Call
from fdl.tracer.records import dataclass

BLOCK_BYTES = 1 << 18
"""Input and output of a block of rows or images: they are read once for each tap and each tile, so they should stay near."""


@dataclass(frozen=True, slots=True)
class Wide:
    """How a gradient whose features are the lanes is computed."""

    g: Correlate

    @property
    def rows(self) -> Rows:
        return rows_of(self.g.inner, self.g.outputs[-1], self.g.channels, self.g.x_strides[-1])

    @property
    def pads_y(self) -> bool:
        """Whether the output's gradient is copied, to pad its features to whole vectors."""
        return not self.g.s.masked and self.g.features % self.g.s.lanes != 0

    @property
    def y_pitch(self) -> int:
        """Elements between pixels of the output's gradient, as the micro-kernel sees them."""
        return self.padded if self.pads_y else self.g.y_strides[-1]

    @property
    def padded(self) -> int:
        """Features covered by panels."""
        return sum(nv * self.g.s.lanes * n for nv, n in column_counts(self.g.features, self.g.s).items())

    def heights(self, phase: Phase) -> tuple[int, int]:
        """(number of products, rows of each) that the taps of a phase along the row make."""
        joined = phase.taps == 1 or (phase.dilation == 1 and phase.tap_step == 1 and self.rows.pitch == self.g.channels)
        return (1, phase.taps * self.g.channels) if joined else (phase.taps, self.g.channels)

    @property
    def tiles(self) -> dict[int, dict[int, int]]:
        """{vectors: {rows of a product: rows of the tile}}."""
        heights = {self.heights(phase)[1] for phase in self.g.phases}
        widths = [nv for nv, n in column_counts(self.g.features, self.g.s).items() if n]
        return {nv: {m: best_rows(m, self.g.s.rows[nv]) for m in heights} for nv in widths}

    @property
    def block(self) -> tuple[int, int]:
        """(images, rows along the first axis) of a block."""
        x = prod(a.inputs for a in self.g.axes) * self.g.channels
        y = prod(self.g.outputs) * self.g.features
        each = (x + y) * self.g.s.size
        if 2 * each <= BLOCK_BYTES:
            return BLOCK_BYTES // each, self.g.outputs[0]
        return 1, min(max(self.g.outputs[0] * BLOCK_BYTES // each, 1), self.g.outputs[0])

    @property
    def met_rows(self) -> int:
        """Positions of the input's first axis that a block's rows meet at most."""
        first = self.g.axes[0]
        reach = (self.block[1] - 1) * first.stride + (first.taps - 1) * first.dilation
        return min(reach // first.spread + 2, first.inputs)

    @property
    def between(self) -> int:
        """Rows of the input for each position of its first axis."""
        return prod(a.inputs for a in self.g.axes[1:-1])

    @property
    def segments(self) -> int:
        return self.block[0] * self.block[1] * prod(self.g.outputs[1:-1])

    # Scratch: a tile of C (targets without masks) | the table | padded rows of the input | padded gradient of the output.

    @property
    def edge_bytes(self) -> int:
        tile = max((nv * max(rows.values()) for nv, rows in self.tiles.items() if rows), default=0)
        return 0 if self.g.s.masked else tile * self.g.s.lanes * self.g.s.size

    @property
    def table_bytes(self) -> int:
        return -(-16 * self.segments // 64) * 64

    @property
    def row_elements(self) -> int:
        return -(-self.rows.elements // self.g.s.lanes) * self.g.s.lanes if self.rows.copied else 0

    @property
    def x_bytes(self) -> int:
        return self.block[0] * self.met_rows * self.between * self.row_elements * self.g.s.size

    @property
    def y_bytes(self) -> int:
        return self.segments * self.g.outputs[-1] * self.padded * self.g.s.size if self.pads_y else 0

    @property
    def scratch_bytes(self) -> int:
        return self.edge_bytes + self.table_bytes + self.x_bytes + self.y_bytes


def write_wide_filters(g: Correlate, call: Call) -> TileFunction:
    """The gradient `g`, group by group."""
    w, s = Wide(g), g.s
    micros = {(rows, nv) for nv, by_height in w.tiles.items() for rows in by_height.values()}
    codes: list[Code | Shared] = [*(micro_kernel(s, rows, nv) for rows, nv in sorted(micros)), zero_elements(s)]
    if w.rows.copied:
        codes.append(copy_elements(s))
    if w.pads_y:
        codes.append(pack_panel(s, "any"))
    return tile(_entry(w, call), codes, w.scratch_bytes)


# --- the kernel -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Block:
    """What the loops over one block share: names of the job, the parts of the scratch, and the block's place."""

    code: Code
    w: Wide
    job: str
    count: str
    table: str
    x_copy: str
    y_copy: str
    x: str
    y: str
    images: str
    row: str
    rows: str
    met: str
    """The first position of the input's first axis that the block meets (where rows are copied)."""


def _entry(w: Wide, call: Call) -> Code:
    g, s = w.g, w.g.s
    name, params, images = entry_head("conv_filter_grad", call, g)
    code = Code(name, params)
    job = code.let(f"alloca [{JOB_WORDS} x i64], align 64")
    count = code.let("alloca i64")
    table = code.at("i8", "%scratch", w.edge_bytes)
    x_copy = code.at("i8", table, w.table_bytes)
    y_copy = code.at("i8", x_copy, w.x_bytes)
    set_job(code, job, {LIST: table, A_ROW: 1, C_ROW: g.wide, ACCUMULATE: 1})
    if not g.accumulate:
        code.call(f"@{zero_symbol(s)}", ("ptr", "%out0"), ("i64", g.taps * g.channels * g.wide))
    if w.rows.copied:
        code.call(f"@{zero_symbol(s)}", ("ptr", x_copy), ("i64", w.x_bytes // s.size))
    many, tall = w.block
    with code.loop(g.groups) as group, code.loop(images, step=many) as n, code.loop(g.outputs[0], step=tall) as o:
        x = code.add(code.mul(group.index, g.channels), code.mul(n.index, g.x_strides[0]))
        y = code.add(code.mul(group.index, g.features), code.mul(n.index, g.y_strides[0]))
        first = g.axes[0]
        met = code.sub(code.mul(o.index, first.stride), first.low)
        # Rounded up, and never below 0: `partner` gives what the first tap of the first row meets, or more.
        met = code.div(code.add(code.max(met, 0), first.spread - 1), first.spread)
        block = _Block(
            code, w, job, count, table, x_copy, y_copy,
            code.at(s.element, "%in0", x), code.at(s.element, "%in1", y),
            code.min(many, code.sub(images, n.index)), o.index, code.min(tall, code.sub(g.outputs[0], o.index)), met,
        )  # fmt: skip
        if w.rows.copied:
            _copy_x(block)
        if w.pads_y:
            _copy_y(block)
        _products(block, code.at(s.element, "%out0", code.mul(group.index, g.features)))
    return code


def _copy_x(b: _Block) -> None:
    """Copy the rows of the input that the block meets, with zeros around them."""
    code, w, g = b.code, b.w, b.w.g
    stop = code.min(code.sub(g.axes[0].inputs, b.met), w.met_rows)
    with nest(code, b.images, stop, *(a.inputs for a in g.axes[1:-1])) as (image, i, *rest):
        source = code.at(g.s.element, b.x, dot(code, [image, code.add(b.met, i), *rest], g.x_strides))
        copy_row(code, g.s, w.rows, g.inner, g.x_strides[-1], _x_row(b, image, i, rest), source)


def _x_row(b: _Block, image: str, i: str, rest: list[str]) -> str:
    """The copy of the row at position `i` after the block's first, and `rest` along the axes between."""
    code, w, g = b.code, b.w, b.w.g
    place = code.add(code.mul(image, w.met_rows), i)
    for position, axis in zip(rest, g.axes[1:-1], strict=True):
        place = code.add(code.mul(place, axis.inputs), position)
    return code.at(g.s.element, b.x_copy, code.mul(place, w.row_elements))


def _copy_y(b: _Block) -> None:
    """Copy the block's gradient with its features padded to whole vectors."""
    code, w, g = b.code, b.w, b.w.g
    with nest(code, b.images, b.rows, *g.outputs[1:-1]) as (image, o, *rest):
        source = code.at(g.s.element, b.y, dot(code, [image, code.add(b.row, o), *rest], g.y_strides))
        code.call(
            f"@{pack_symbol(g.s, 'any')}", ("ptr", _y_row(b, image, o, rest)), ("ptr", source), ("i64", g.outputs[-1]),
            ("i64", g.features), ("i64", w.padded), ("i64", g.y_strides[-1]), ("i64", 1),
        )  # fmt: skip


def _y_row(b: _Block, image: str, o: str, rest: list[str]) -> str:
    """The padded copy of a row of the output's gradient."""
    code, w, g = b.code, b.w, b.w.g
    place = code.add(code.mul(image, w.block[1]), o)
    for position, count in zip(rest, g.outputs[1:-1], strict=True):
        place = code.add(code.mul(place, count), position)
    return code.at(g.s.element, b.y_copy, code.mul(place, g.outputs[-1] * w.padded))


def _products(b: _Block, f: str) -> None:
    """Add the block's part of the gradient, tap by tap across rows."""
    code, w, g, s = b.code, b.w, b.w.g, b.w.g.s
    with nest(code, *(a.taps for a in g.axes[:-1])) as taps:
        across = taps[0]
        for axis, k in zip(g.axes[1:-1], taps[1:], strict=True):
            across = code.add(code.mul(across, axis.taps), k)
        for phase in g.phases:
            _table(b, taps, phase)
            segments = code.load("i64", b.count)
            set_job(
                code, b.job,
                {
                    SEGMENTS: segments, DEPTH: phase.count(g.outputs[-1]), A_DEPTH: phase.stride * w.rows.pitch,
                    B_DEPTH: phase.step * w.y_pitch,
                },
            )  # fmt: skip
            pieces, height = w.heights(phase)
            for piece in range(pieces):
                tap = code.add(code.mul(across, g.inner.taps), phase.tap + piece * phase.tap_step)
                out = code.at(s.element, f, code.mul(tap, g.channels * g.wide))
                _tiles(b, height, piece * phase.dilation * w.rows.pitch, out)


def _tiles(b: _Block, height: int, a_offset: int, out: str) -> None:
    """The tiles of one product with `height` rows; `out` is its place in the gradient."""
    code, w, g, s = b.code, b.w, b.w.g, b.w.g.s
    start = 0
    for nv, panels in column_counts(g.features, s).items():
        width = nv * s.lanes
        if panels:
            with code.loop(panels) as panel, row_tiles(code, s, nv, (w.tiles[nv][height],), str(height)) as row:
                j = code.add(start, code.mul(panel.index, width))
                cols = code.min(code.sub(g.features, j), width)
                c = code.at(s.element, out, code.add(code.mul(row.start, g.wide), j))
                a = code.add(row.start, a_offset)
                run_tile(code, s, nv * s.lanes, b.job, row, (a, j, c, cols), str(g.wide), None if s.masked else "%scratch")
        start += panels * width


def _table(b: _Block, taps: list[str], phase: Phase) -> None:
    """List the segments of the block: (row of the input, row of the gradient) pairs that meet through `taps`."""
    code, w, g, s = b.code, b.w, b.w.g, b.w.g.s
    code.store("i64", "0", b.count)
    with nest(code, b.images, b.rows, *g.outputs[1:-1]) as (image, o, *rest):
        at = [code.add(b.row, o), *rest]
        found = [partner(code, axis, i, k) for axis, i, k in zip(g.axes[:-1], at, taps, strict=True)]
        meets = found[0][1]
        for _, also in found[1:]:
            meets = code.let(f"and i1 {meets}, {also}")
        with code.when(meets):
            n = code.load("i64", b.count)
            positions = [i for i, _ in found]
            if w.rows.copied:
                row = _x_row(b, image, code.sub(positions[0], b.met), positions[1:])
            else:
                row = code.at(s.element, b.x, dot(code, [image, *positions], g.x_strides))
            if w.pads_y:
                grad = _y_row(b, image, o, rest)
            else:
                grad = code.at(s.element, b.y, dot(code, [image, *at], g.y_strides))
            entry = code.at("ptr", b.table, code.mul(n, 2))
            code.store("ptr", code.at(s.element, row, (phase.base - w.rows.start) * w.rows.pitch), entry)
            code.store("ptr", code.at(s.element, grad, phase.first * w.y_pitch), code.at("ptr", entry, 1))
            code.store("i64", code.add(n, 1), b.count)
