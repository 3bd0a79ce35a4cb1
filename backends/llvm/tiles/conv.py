"""Convolution, and its transpose with respect to the input, of one image: no im2col, no zero insertion.

For one row of output and one phase, the pixels are the rows of a matrix product whose depth is the taps that meet the image,
one segment of (tap along the row, channel) for each tap across rows: neighbouring taps' channels are neighbours in memory.  The
micro-kernel adds up all segments in registers.  Filters are read in place; for the transpose they are turned
around once per call.  Rows that padding extends are copied, with zeros, just before use.

May be imported by: the tile emitters of this package.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod

from fdl.backends.llvm.target import Target
from fdl.backends.llvm.tiles.cut import best_rows, column_counts, row_tiles, run_tile, set_job, static
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

NARROW = 4
"""Groups with fewer channels on either side are left to the loop IR's definition, which runs vectors across groups."""


@dataclass(frozen=True, slots=True)
class Gather:
    """A convolution as its kernel sees it: `outputs` gather from `inputs`, `features` from `channels`, for each group.

    `x_strides` and `y_strides` are those of the spatial axes; channels are contiguous. `reverse`: the filter is
    (.., features, channels of the whole) and taps count from the end (the transpose); else (.., channels, features of the whole).
    """

    s: Simd
    axes: tuple[Axis, ...]
    x_strides: tuple[int, ...]
    y_strides: tuple[int, ...]
    channels: int
    features: int
    groups: int
    reverse: bool
    one_row: bool
    """Whether the outermost axis is made up: the call is one row of pixels."""

    @property
    def inner(self) -> Axis:
        return self.axes[-1]

    @property
    def outputs(self) -> int:
        """Outputs along the innermost axis."""
        assert self.inner.outputs is not None
        return self.inner.outputs

    @property
    def phases(self) -> tuple[Phase, ...]:
        return tuple(p for p in self.inner.phases if p.count(self.outputs))

    @property
    def outer_taps(self) -> int:
        return prod(a.taps for a in self.axes[:-1])

    @property
    def taps(self) -> int:
        return self.outer_taps * self.inner.taps

    @property
    def wide(self) -> int:
        """The contiguous channels of a filter row, those of all groups."""
        return self.groups * (self.channels if self.reverse else self.features)

    @property
    def packs(self) -> bool:
        """Whether filters are copied: to turn them, or to pad them to whole vectors where there are no masks."""
        return self.reverse or (not self.s.masked and self.features % self.s.lanes != 0)

    @property
    def rows(self) -> Rows:
        return rows_of(self.inner, self.outputs, self.channels, self.x_strides[-1])

    @property
    def tap_order(self) -> tuple[int, ...]:
        """The innermost taps in the order of the packed filter: phase by phase."""
        if not self.reverse:
            return tuple(range(self.inner.taps))
        ordered = [p.tap + j * p.tap_step for p in self.inner.phases for j in range(p.taps)]
        return (*ordered, *(k for k in range(self.inner.taps) if k not in ordered))

    def joined(self, phase: Phase) -> bool:
        """Whether the taps of a phase along the row, channels and all, are one contiguous run of x and of the filter."""
        if phase.taps <= 1:
            return True
        in_filter = self.reverse or phase.tap_step == 1
        return phase.dilation == 1 and self.rows.pitch == self.channels and in_filter

    @property
    def tiles(self) -> dict[int, dict[int, int]]:
        """{vectors: {pixels of a phase: rows of the tile}}."""
        counts = {phase.count(self.outputs) for phase in self.phases}
        widths = sorted((nv for nv, n in column_counts(self.features, self.s).items() if n), reverse=True)
        return {nv: {count: best_rows(count, self.s.rows[nv]) for count in counts} for nv in widths}

    # Scratch: a tile of C (targets without masks) | the packed filter | the rows of one output row.

    @property
    def rings(self) -> tuple[int, ...]:
        """For each outer axis, how many neighbouring positions the taps of one output span: that many copied rows are kept.

        Outputs next to each other meet most rows together.  () where taps are so far apart that nothing would be gained.
        """
        rings = tuple((a.taps - 1) * a.dilation // a.spread + 1 for a in self.axes[:-1])
        return rings if prod(rings) <= 2 * self.outer_taps else ()

    @property
    def copies(self) -> int:
        """Copied rows at a time."""
        return prod(self.rings) if self.rings else self.outer_taps

    @property
    def edge_elements(self) -> int:
        if self.s.masked:
            return 0
        return max((nv * max(rows.values()) * self.s.lanes for nv, rows in self.tiles.items() if rows), default=0)

    @property
    def filter_elements(self) -> int:
        if not self.packs:
            return 0
        width = self.s.lanes * self.s.widest
        return self.taps * self.channels * (self.features + width) + (self.s.lanes + 1) * width

    @property
    def row_elements(self) -> int:
        """A whole number of vectors, so that copied rows start aligned."""
        return -(-self.rows.elements // self.s.lanes) * self.s.lanes if self.rows.copied else 0

    @property
    def scratch_bytes(self) -> int:
        return (self.edge_elements + self.filter_elements + self.copies * self.row_elements) * self.s.size


def write_conv(call: Call, target: Target) -> TileFunction | None:
    """The convolution of one image (rows of its output), or None where it has no vector form."""
    return _write(call, target, reverse=False)


def write_conv_input_grad(call: Call, target: Target) -> TileFunction | None:
    """The transpose of a convolution with respect to its input (rows of it), or None where it has no vector form."""
    return _write(call, target, reverse=True)


def _write(call: Call, target: Target, *, reverse: bool) -> TileFunction | None:
    gather = _gather(call, target, reverse)
    if gather is None:
        return None
    s = gather.s
    entry = _entry(gather, call)
    micros = {(rows, nv) for nv, by_count in gather.tiles.items() for rows in by_count.values()}
    codes = [micro_kernel(s, rows, nv) for rows, nv in sorted(micros)]
    if gather.packs:
        codes.append(pack_panel(s, "turn" if reverse else "any"))
    if gather.rows.copied:
        codes += [copy_elements(s), zero_elements(s)]
    return tile(entry, codes, gather.scratch_bytes)


def _gather(call: Call, target: Target, reverse: bool) -> Gather | None:
    """The static description of the call; None where something is not static, not dense, or too narrow to be worth it."""
    refs = (*call.outputs, *call.inputs)
    dtypes = {ref.buffer.dtype for ref in refs}
    s = simd(refs[0].buffer.dtype, target) if len(dtypes) == 1 else None
    y, x, f = refs
    if s is None or not is_dense(f) or y.strides[-1] != 1 or x.strides[-1] != 1:
        return None
    spatial = len(x.shape) - 1
    attrs = attributes(call, spatial)
    y_size, x_size, f_size = sizes(y), sizes(x), sizes(f)
    if None in y_size[1:] or None in x_size or 0 in (*y_size, *x_size, *f_size):
        return None
    per_group, whole = int(f_size[-2] or 0), int(f_size[-1] or 0) // attrs.groups
    channels, features = (whole, per_group) if reverse else (per_group, whole)
    if attrs.groups > 1 and min(channels, features) < NARROW:
        return None
    axes = []
    one_row = spatial == 1 and y_size[0] is not None and static(call.scalars[0]) == 0
    for d in range(spatial):
        own, met, taps = y_size[d] if d or one_row else None, int(x_size[d] or 0), int(f_size[d] or 0)
        numbers = (taps, attrs.strides[d], attrs.dilation[d], attrs.low[d], attrs.spread[d])
        axes.append(Axis(None, 0, *numbers).reversed(own, met) if reverse else Axis(own, met, *numbers))
    x_strides, y_strides = x.strides[:-1], y.strides[:-1]
    if spatial == 1:
        # The kernel wants rows of pixels. All pixels of a call are one row; some of them are rows of one pixel each.
        axes.insert(0 if one_row else 1, Axis(1, 1, 1, 1, 1, 0, 1))
        x_strides = (0, *x_strides) if one_row else (*x_strides, channels)
        y_strides = (0, *y_strides) if one_row else (*y_strides, features)
    return Gather(s, tuple(axes), x_strides, y_strides, channels, features, attrs.groups, reverse, one_row)


# --- the kernel -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Body:
    """What the loops of one kernel share: the names of its job, its tables and its parts of the scratch."""

    code: Code
    g: Gather
    job: str
    table: str
    met: str
    """The rows that the current output row meets: (address, filter row) pairs."""
    count: str
    filters: str
    copies: str
    held: str
    """The number of the input row that each copy is of, or -1."""


def _entry(g: Gather, call: Call) -> Code:
    s = g.s
    count = sum(len(ref.shape) for ref in (*call.outputs, *call.inputs))
    params = [("ptr", "scratch"), ("ptr", "out0"), ("ptr", "in0"), ("ptr", "in1")]
    params += [("i64", f"s{i}") for i in range(count)] + [("i64", "row0")]
    code = Code(digest("conv", g, count), params)
    segments = g.outer_taps * g.inner.taps
    filters = code.at(s.element, "%scratch", g.edge_elements)
    body = _Body(
        code, g,
        code.let(f"alloca [{JOB_WORDS} x i64], align 64"),
        code.let(f"alloca [{2 * segments} x ptr], align 16"),
        code.let(f"alloca [{2 * g.outer_taps} x i64], align 16"),
        code.let("alloca i64"),
        filters,
        code.at(s.element, filters, g.filter_elements),
        code.let(f"alloca [{g.copies} x i64], align 16"),
    )  # fmt: skip
    set_job(code, body.job, {LIST: body.table, A_DEPTH: 1, ACCUMULATE: 0})
    if g.rows.copied:
        code.call(f"@{zero_symbol(s)}", ("ptr", body.copies), ("i64", g.copies * g.row_elements))
    rows, row0 = ("1", "0") if g.one_row else ("%s0", "%row0")
    with code.loop(g.groups) as group:
        if g.rows.copied and g.rings:
            with code.loop(g.copies) as slot:
                code.store("i64", "-1", code.at("i64", body.held, slot.index))
        x = code.at(s.element, "%in0", code.mul(group.index, g.channels))
        y = code.at(s.element, "%out0", code.mul(group.index, g.features))
        f = code.at(s.element, "%in1", code.mul(group.index, g.channels if g.reverse else g.features))
        if g.packs:
            _pack(body, f)
        start = 0
        for nv, count_of in column_counts(g.features, s).items():
            if not count_of:
                continue
            width = nv * s.lanes
            with code.loop(count_of) as panel:
                j = code.add(start, code.mul(panel.index, width))
                cols = code.min(code.sub(g.features, j), width)
                with _outer_positions(body, rows) as position:
                    _output_row(body, nv, position, (x, y, f), row0, j, cols)
            start += count_of * width
    return code


@contextmanager
def _outer_positions(body: _Body, rows: str) -> Iterator[tuple[str, ...]]:
    """The loops over the output's rows: positions along all axes but the innermost."""
    extents = [rows, *(str(a.outputs) for a in body.g.axes[1:-1])]
    with ExitStack() as stack:
        yield tuple(stack.enter_context(body.code.loop(extent)).index for extent in extents)


def _pack(body: _Body, f: str) -> None:
    """Copy the filter of a group into panels [tap][channel][feature], one panel after another."""
    code, g, s = body.code, body.g, body.g.s
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
                    for place, along in enumerate(g.tap_order):
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


def _output_row(
    body: _Body, nv: int, position: tuple[str, ...], arrays: tuple[str, str, str], row0: str, j: str, cols: str
) -> None:
    """One row of output, one panel of features: find the rows it meets, then multiply phase by phase."""
    code, g, s = body.code, body.g, body.g.s
    x, y, f = arrays
    at = [code.add(position[0], row0), *position[1:]]
    _meet(body, at, x)
    met = code.load("i64", body.count)
    out = code.at(s.element, y, code.add(dot(code, position, g.y_strides), j))
    width = nv * s.lanes
    if g.packs:
        filters, row_step = code.at(s.element, body.filters, code.mul(j, g.taps * g.channels)), width
    else:
        filters, row_step = code.at(s.element, f, j), g.wide
    for phase in g.phases:
        segments, depth = _segments(body, phase, met, filters, row_step)
        set_job(
            code, body.job,
            {
                SEGMENTS: segments, DEPTH: depth, A_ROW: phase.stride * g.rows.pitch, B_DEPTH: row_step,
                C_ROW: phase.step * g.y_strides[-1],
            },
        )  # fmt: skip
        pixels = phase.count(g.outputs)
        first = code.at(s.element, out, phase.first * g.y_strides[-1])
        c_row = phase.step * g.y_strides[-1]
        with row_tiles(code, s, nv, (g.tiles[nv][pixels],), str(pixels)) as row:
            a = code.mul(row.start, phase.stride * g.rows.pitch)
            c = code.at(s.element, first, code.mul(row.start, c_row))
            run_tile(code, s, nv * s.lanes, body.job, row, (a, "0", c, cols), str(c_row), None if s.masked else "%scratch")


def _meet(body: _Body, at: list[str], x: str) -> None:
    """List the input rows that taps across rows lead to from the outputs `at`, copying them where they are padded."""
    code, g, s = body.code, body.g, body.g.s
    code.store("i64", "0", body.count)
    with ExitStack() as stack:
        taps = [stack.enter_context(code.loop(axis.taps)).index for axis in g.axes[:-1]]
        found = [partner(code, axis, o, k) for axis, o, k in zip(g.axes[:-1], at, taps, strict=True)]
        meets = found[0][1]
        for _, also in found[1:]:
            meets = code.let(f"and i1 {meets}, {also}")
        with code.when(meets):
            n = code.load("i64", body.count)
            row = code.at(s.element, x, dot(code, [i for i, _ in found], g.x_strides))
            if g.rows.copied:
                row = _copied(body, [i for i, _ in found], n, row)
            across = taps[0]
            for axis, k in zip(g.axes[1:-1], taps[1:], strict=True):
                across = code.add(code.mul(across, axis.taps), k)
            entry = code.at("i64", body.met, code.mul(n, 2))
            code.store("ptr", row, entry)
            code.store("i64", across, code.at("i64", entry, 1))
            code.store("i64", code.add(n, 1), body.count)


def _copied(body: _Body, position: list[str], n: str, row: str) -> str:
    """The address of a copy with zeros around it of the input row at `position`, the n-th one that the output row meets."""
    code, g, s = body.code, body.g, body.g.s
    if not g.rings:
        copy = code.at(s.element, body.copies, code.mul(n, g.row_elements))
        copy_row(code, s, g.rows, g.inner, g.x_strides[-1], copy, row)
        return copy
    slot, number = "0", "0"
    for i, ring, axis in zip(position, g.rings, g.axes[:-1], strict=True):
        slot = code.add(code.mul(slot, ring), code.let(f"urem i64 {i}, {ring}"))
        number = code.add(code.mul(number, axis.inputs), i)
    copy = code.at(s.element, body.copies, code.mul(slot, g.row_elements))
    held = code.at("i64", body.held, slot)
    with code.when(code.compare("ne", code.load("i64", held), number)):
        code.store("i64", number, held)
        copy_row(code, s, g.rows, g.inner, g.x_strides[-1], copy, row)
    return copy


def _segments(body: _Body, phase: Phase, met: str, filters: str, row_step: int) -> tuple[str, int]:
    """Write the table of the phase's segments; returns (their number, the depth of each)."""
    code, g, s = body.code, body.g, body.g.s
    if not phase.taps:
        return "0", 0
    joined = g.joined(phase)
    pieces = 1 if joined else phase.taps
    order = g.tap_order
    with code.loop(met) as i:
        entry = code.at("i64", body.met, code.mul(i.index, 2))
        row, across = code.load("ptr", entry), code.load("i64", code.at("i64", entry, 1))
        for piece in range(pieces):
            along = order.index(phase.tap + piece * phase.tap_step)
            a = code.at(s.element, row, (phase.base + piece * phase.dilation - g.rows.start) * g.rows.pitch)
            tap = code.add(code.mul(across, g.inner.taps), along)
            b = code.at(s.element, filters, code.mul(tap, g.channels * row_step))
            place = code.at("ptr", body.table, code.mul(code.add(code.mul(i.index, pieces), piece), 2))
            code.store("ptr", a, place)
            code.store("ptr", b, code.at("ptr", place, 1))
    return code.mul(met, pieces), g.channels * (phase.taps if joined else 1)


def dot(code: Code, position: list[str] | tuple[str, ...], strides: tuple[int, ...]) -> str:
    """The offset of a position along the outer axes."""
    total = "0"
    for i, stride in zip(position, strides[: len(position)], strict=True):
        total = code.add(total, code.mul(i, stride))
    return total
