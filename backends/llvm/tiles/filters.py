"""The transpose of a convolution with respect to its filter, for a chunk of images.

For each tap across rows it is a matrix product: the rows are (tap along the row, channel), which neighbour each other in memory, the
columns are features, and the depth runs over the pixels: one segment for each row of output.  The micro-kernel keeps its
tile of the gradient in registers over all of them.  Images, or rows of one, are taken in blocks that
fit the cache, and each block adds to the gradient.

May be imported by: the tile emitters of this package.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod

from fdl.backends.llvm.target import Target
from fdl.backends.llvm.tiles.conv import NARROW, dot
from fdl.backends.llvm.tiles.cut import best_rows, column_counts, row_tiles, run_tile, set_job
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
from fdl.backends.llvm.tiles.windows import (
    Axis,
    Phase,
    Rows,
    attributes,
    copy_elements,
    copy_row,
    is_dense,
    partner,
    rows_of,
    sizes,
    zero_elements,
    zero_symbol,
)
from fdl.backends.loops.ir import Call

BLOCK_BYTES = 1 << 18
"""Input and output of a block of rows or images: they are read once for each tap and each tile, so they should stay near."""


@dataclass(frozen=True, slots=True)
class Correlate:
    """The static description of a call. Strides in elements: those of the image axis, then of the spatial axes."""

    s: Simd
    axes: tuple[Axis, ...]
    x_strides: tuple[int, ...]
    y_strides: tuple[int, ...]
    channels: int
    features: int
    groups: int
    accumulate: bool

    @property
    def inner(self) -> Axis:
        return self.axes[-1]

    @property
    def outputs(self) -> tuple[int, ...]:
        return tuple(int(a.outputs or 0) for a in self.axes)

    @property
    def phases(self) -> tuple[Phase, ...]:
        return tuple(p for p in self.inner.phases if p.taps and p.count(self.outputs[-1]))

    @property
    def rows(self) -> Rows:
        return rows_of(self.inner, self.outputs[-1], self.channels, self.x_strides[-1])

    @property
    def wide(self) -> int:
        return self.groups * self.features

    @property
    def pads_y(self) -> bool:
        """Whether the output's gradient is copied, to pad its features to whole vectors."""
        return not self.s.masked and self.features % self.s.lanes != 0

    @property
    def y_pitch(self) -> int:
        """Elements between pixels of the output's gradient, as the micro-kernel sees them."""
        return self.padded if self.pads_y else self.y_strides[-1]

    @property
    def padded(self) -> int:
        """Features covered by panels."""
        return sum(nv * self.s.lanes * n for nv, n in column_counts(self.features, self.s).items())

    def heights(self, phase: Phase) -> tuple[int, int]:
        """(number of products, rows of each) that the taps of a phase along the row make."""
        joined = phase.taps == 1 or (phase.dilation == 1 and phase.tap_step == 1 and self.rows.pitch == self.channels)
        return (1, phase.taps * self.channels) if joined else (phase.taps, self.channels)

    @property
    def tiles(self) -> dict[int, dict[int, int]]:
        """{vectors: {rows of a product: rows of the tile}}."""
        heights = {self.heights(phase)[1] for phase in self.phases}
        widths = [nv for nv, n in column_counts(self.features, self.s).items() if n]
        return {nv: {m: best_rows(m, self.s.rows[nv]) for m in heights} for nv in widths}

    @property
    def block(self) -> tuple[int, int]:
        """(images, rows along the first axis) of a block."""
        x = prod(a.inputs for a in self.axes) * self.channels
        y = prod(self.outputs) * self.features
        each = (x + y) * self.s.size
        if 2 * each <= BLOCK_BYTES:
            return BLOCK_BYTES // each, self.outputs[0]
        return 1, min(max(self.outputs[0] * BLOCK_BYTES // each, 1), self.outputs[0])

    @property
    def met_rows(self) -> int:
        """Positions of the input's first axis that a block's rows meet at most."""
        first = self.axes[0]
        reach = (self.block[1] - 1) * first.stride + (first.taps - 1) * first.dilation
        return min(reach // first.spread + 2, first.inputs)

    @property
    def between(self) -> int:
        """Rows of the input for each position of its first axis."""
        return prod(a.inputs for a in self.axes[1:-1])

    @property
    def segments(self) -> int:
        return self.block[0] * self.block[1] * prod(self.outputs[1:-1])

    # Scratch: a tile of C (targets without masks) | the table | padded rows of the input | padded gradient of the output.

    @property
    def edge_bytes(self) -> int:
        tile = max((nv * max(rows.values()) for nv, rows in self.tiles.items() if rows), default=0)
        return 0 if self.s.masked else tile * self.s.lanes * self.s.size

    @property
    def table_bytes(self) -> int:
        return -(-16 * self.segments // 64) * 64

    @property
    def row_elements(self) -> int:
        return -(-self.rows.elements // self.s.lanes) * self.s.lanes if self.rows.copied else 0

    @property
    def x_bytes(self) -> int:
        return self.block[0] * self.met_rows * self.between * self.row_elements * self.s.size

    @property
    def y_bytes(self) -> int:
        return self.segments * self.outputs[-1] * self.padded * self.s.size if self.pads_y else 0

    @property
    def scratch_bytes(self) -> int:
        return self.edge_bytes + self.table_bytes + self.x_bytes + self.y_bytes


def write_conv_filter_grad(call: Call, target: Target) -> TileFunction | None:
    """The transpose of a convolution with respect to its filter, or None where it has no vector form."""
    g = _correlate(call, target)
    if g is None:
        return None
    s = g.s
    micros = {(rows, nv) for nv, by_height in g.tiles.items() for rows in by_height.values()}
    codes = [micro_kernel(s, rows, nv) for rows, nv in sorted(micros)]
    codes += [zero_elements(s)]
    if g.rows.copied:
        codes.append(copy_elements(s))
    if g.pads_y:
        codes.append(pack_panel(s, "any"))
    return tile(_entry(g, call), codes, g.scratch_bytes)


def _correlate(call: Call, target: Target) -> Correlate | None:
    """The static description of the call; None where something is not static, not dense, or too narrow to be worth it."""
    f, x, y = (*call.outputs, *call.inputs)
    dtypes = {ref.buffer.dtype for ref in (f, x, y)}
    s = simd(f.buffer.dtype, target) if len(dtypes) == 1 else None
    if s is None or not is_dense(f) or x.strides[-1] != 1 or y.strides[-1] != 1:
        return None
    spatial = len(x.shape) - 2
    attrs = attributes(call, spatial)
    f_size, x_size, y_size = sizes(f), sizes(x), sizes(y)
    if None in (*f_size, *x_size[1:], *y_size[1:]) or 0 in (*f_size, *x_size[1:], *y_size[1:]):
        return None
    channels, features = int(f_size[-2] or 0), int(f_size[-1] or 0) // attrs.groups
    if attrs.groups > 1 and min(channels, features) < NARROW:
        return None
    axes = [
        Axis(
            y_size[d + 1], int(x_size[d + 1] or 0), int(f_size[d] or 0), attrs.strides[d], attrs.dilation[d], attrs.low[d],
            attrs.spread[d],
        )
        for d in range(spatial)
    ]  # fmt: skip
    x_strides, y_strides = x.strides[:-1], y.strides[:-1]
    if spatial == 1:  # the kernel wants rows around its pixels: one of them
        axes.insert(0, Axis(1, 1, 1, 1, 1, 0, 1))
        x_strides, y_strides = (x_strides[0], 0, x_strides[1]), (y_strides[0], 0, y_strides[1])
    return Correlate(s, tuple(axes), x_strides, y_strides, channels, features, attrs.groups, attrs.accumulate)


# --- the kernel -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Block:
    """What the loops over one block share: names of the job, the parts of the scratch, and the block's place."""

    code: Code
    g: Correlate
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


def _entry(g: Correlate, call: Call) -> Code:
    s = g.s
    number = sum(len(ref.shape) for ref in (*call.outputs, *call.inputs))
    params = [("ptr", "scratch"), ("ptr", "out0"), ("ptr", "in0"), ("ptr", "in1"), *(("i64", f"s{i}") for i in range(number))]
    images = f"%s{len(call.outputs[0].shape)}"
    code = Code(digest("conv_filter_grad", g, images, number), params)
    job = code.let(f"alloca [{JOB_WORDS} x i64], align 64")
    count = code.let("alloca i64")
    table = code.at("i8", "%scratch", g.edge_bytes)
    x_copy = code.at("i8", table, g.table_bytes)
    y_copy = code.at("i8", x_copy, g.x_bytes)
    set_job(code, job, {LIST: table, A_ROW: 1, C_ROW: g.wide, ACCUMULATE: 1})
    taps = prod(a.taps for a in g.axes)
    if not g.accumulate:
        code.call(f"@{zero_symbol(s)}", ("ptr", "%out0"), ("i64", taps * g.channels * g.wide))
    if g.rows.copied:
        code.call(f"@{zero_symbol(s)}", ("ptr", x_copy), ("i64", g.x_bytes // s.size))
    many, tall = g.block
    with code.loop(g.groups) as group, code.loop(images, step=many) as n, code.loop(g.outputs[0], step=tall) as o:
        x = code.add(code.mul(group.index, g.channels), code.mul(n.index, g.x_strides[0]))
        y = code.add(code.mul(group.index, g.features), code.mul(n.index, g.y_strides[0]))
        first = g.axes[0]
        met = code.sub(code.mul(o.index, first.stride), first.low)
        # Rounded up, and never below 0: `partner` gives what the first tap of the first row meets, or more.
        met = code.div(code.add(code.max(met, 0), first.spread - 1), first.spread)
        block = _Block(
            code, g, job, count, table, x_copy, y_copy,
            code.at(s.element, "%in0", x), code.at(s.element, "%in1", y),
            code.min(many, code.sub(images, n.index)), o.index, code.min(tall, code.sub(g.outputs[0], o.index)), met,
        )  # fmt: skip
        if g.rows.copied:
            _copy_x(block)
        if g.pads_y:
            _copy_y(block)
        _products(block, code.at(s.element, "%out0", code.mul(group.index, g.features)))
    return code


@contextmanager
def _nest(code: Code, *extents: str | int) -> Iterator[list[str]]:
    with ExitStack() as stack:
        yield [stack.enter_context(code.loop(extent)).index for extent in extents]


def _copy_x(b: _Block) -> None:
    """Copy the rows of the input that the block meets, with zeros around them."""
    code, g = b.code, b.g
    stop = code.min(code.sub(g.axes[0].inputs, b.met), g.met_rows)
    with _nest(code, b.images, stop, *(a.inputs for a in g.axes[1:-1])) as (image, i, *rest):
        source = code.at(g.s.element, b.x, dot(code, [image, code.add(b.met, i), *rest], g.x_strides))
        copy_row(code, g.s, g.rows, g.inner, g.x_strides[-1], _x_row(b, image, i, rest), source)


def _x_row(b: _Block, image: str, i: str, rest: list[str]) -> str:
    """The copy of the row at position `i` after the block's first, and `rest` along the axes between."""
    code, g = b.code, b.g
    place = code.add(code.mul(image, g.met_rows), i)
    for position, axis in zip(rest, g.axes[1:-1], strict=True):
        place = code.add(code.mul(place, axis.inputs), position)
    return code.at(g.s.element, b.x_copy, code.mul(place, g.row_elements))


def _copy_y(b: _Block) -> None:
    """Copy the block's gradient with its features padded to whole vectors."""
    code, g = b.code, b.g
    with _nest(code, b.images, b.rows, *g.outputs[1:-1]) as (image, o, *rest):
        source = code.at(g.s.element, b.y, dot(code, [image, code.add(b.row, o), *rest], g.y_strides))
        code.call(
            f"@{pack_symbol(g.s, 'any')}", ("ptr", _y_row(b, image, o, rest)), ("ptr", source), ("i64", g.outputs[-1]),
            ("i64", g.features), ("i64", g.padded), ("i64", g.y_strides[-1]), ("i64", 1),
        )  # fmt: skip


def _y_row(b: _Block, image: str, o: str, rest: list[str]) -> str:
    """The padded copy of a row of the output's gradient."""
    code, g = b.code, b.g
    place = code.add(code.mul(image, g.block[1]), o)
    for position, count in zip(rest, g.outputs[1:-1], strict=True):
        place = code.add(code.mul(place, count), position)
    return code.at(g.s.element, b.y_copy, code.mul(place, g.outputs[-1] * g.padded))


def _products(b: _Block, f: str) -> None:
    """Add the block's part of the gradient, tap by tap across rows."""
    code, g, s = b.code, b.g, b.g.s
    with _nest(code, *(a.taps for a in g.axes[:-1])) as taps:
        across = taps[0]
        for axis, k in zip(g.axes[1:-1], taps[1:], strict=True):
            across = code.add(code.mul(across, axis.taps), k)
        for phase in g.phases:
            _table(b, taps, phase)
            segments = code.load("i64", b.count)
            set_job(
                code, b.job,
                {
                    SEGMENTS: segments, DEPTH: phase.count(g.outputs[-1]), A_DEPTH: phase.stride * g.rows.pitch,
                    B_DEPTH: phase.step * g.y_pitch,
                },
            )  # fmt: skip
            pieces, height = g.heights(phase)
            for piece in range(pieces):
                tap = code.add(code.mul(across, g.inner.taps), phase.tap + piece * phase.tap_step)
                out = code.at(s.element, f, code.mul(tap, g.channels * g.wide))
                _tiles(b, height, piece * phase.dilation * g.rows.pitch, out)


def _tiles(b: _Block, height: int, a_offset: int, out: str) -> None:
    """The tiles of one product with `height` rows; `out` is its place in the gradient."""
    code, g, s = b.code, b.g, b.g.s
    start = 0
    for nv, panels in column_counts(g.features, s).items():
        width = nv * s.lanes
        if panels:
            with code.loop(panels) as panel, row_tiles(code, s, nv, (g.tiles[nv][height],), str(height)) as row:
                j = code.add(start, code.mul(panel.index, width))
                cols = code.min(code.sub(g.features, j), width)
                c = code.at(s.element, out, code.add(code.mul(row.start, g.wide), j))
                a = code.add(row.start, a_offset)
                run_tile(code, s, nv * s.lanes, b.job, row, (a, j, c, cols), str(g.wide), None if s.masked else "%scratch")
        start += panels * width


def _table(b: _Block, taps: list[str], phase: Phase) -> None:
    """List the segments of the block: (row of the input, row of the gradient) pairs that meet through `taps`."""
    code, g, s = b.code, b.g, b.g.s
    code.store("i64", "0", b.count)
    with _nest(code, b.images, b.rows, *g.outputs[1:-1]) as (image, o, *rest):
        at = [code.add(b.row, o), *rest]
        found = [partner(code, axis, i, k) for axis, i, k in zip(g.axes[:-1], at, taps, strict=True)]
        meets = found[0][1]
        for _, also in found[1:]:
            meets = code.let(f"and i1 {meets}, {also}")
        with code.when(meets):
            n = code.load("i64", b.count)
            positions = [i for i, _ in found]
            if g.rows.copied:
                row = _x_row(b, image, code.sub(positions[0], b.met), positions[1:])
            else:
                row = code.at(s.element, b.x, dot(code, [image, *positions], g.x_strides))
            if g.pads_y:
                grad = _y_row(b, image, o, rest)
            else:
                grad = code.at(s.element, b.y, dot(code, [image, *at], g.y_strides))
            entry = code.at("ptr", b.table, code.mul(n, 2))
            code.store("ptr", code.at(s.element, row, (phase.base - g.rows.start) * g.rows.pitch), entry)
            code.store("ptr", code.at(s.element, grad, phase.first * g.y_pitch), code.at("ptr", entry, 1))
            code.store("i64", code.add(n, 1), b.count)
