"""The transpose of a convolution with respect to its filter, for few features: vectors run along (tap along the row, channel).

    dFᵀ[f, (t, c)] += Σ_p  dY[p, f] * X[p + t, c]        (t, c) are neighbours in a row of input

Row by row of the output's gradient: its elements are the ones that are broadcast, and each serves several rows of input at a time,
those that different taps across rows lead to.  Sums are in registers while the pixels go by, in a turned gradient between rows, and
are turned back in the end.

May be imported by: `filters`.
"""

from __future__ import annotations

from math import prod

from fdl.backends.llvm.tiles.correlate import Correlate, entry_head
from fdl.backends.llvm.tiles.met import MetRows, copies, dot, met_rows, nest
from fdl.backends.llvm.tiles.micro import load, mask_below, multiply_add, splat, store
from fdl.backends.llvm.tiles.pack import put_across, put_symbol
from fdl.backends.llvm.tiles.parts import TileFunction, digest, tile
from fdl.backends.llvm.tiles.text import Code
from fdl.backends.llvm.tiles.windows import Phase, Rows, copy_elements, copy_row, rows_of, zero_elements, zero_symbol
from fdl.backends.loops.ir import Call
from fdl.tracer.records import dataclass

TURNING = 1.2
"""How much better filled vectors have to be for the gradient to be turned."""
CHAINS = 8
"""Sums that are added to in turn, to cover the latency of a multiply-add."""
ROWS = 4
"""The most rows of input that a tile multiplies at a time."""
MOST_BYTES = 1 << 20
"""The most bytes of the sums and of copied rows."""


@dataclass(frozen=True, slots=True)
class Turned:
    """How a gradient whose features are rows is computed."""

    g: Correlate

    @property
    def read(self) -> Rows:
        """How rows of the input are best read by the element."""
        return rows_of(self.g.inner, self.g.outputs[-1], self.g.channels, self.g.x_strides[-1])

    @property
    def rows(self) -> Rows:
        g = self.g
        if self.read.copied or g.s.masked or all(self.run(p) % g.s.lanes == 0 for p in g.phases):
            return self.read
        # Vectors read beyond the last pixel.
        return Rows(True, 0, g.inner.inputs, g.channels, g.channels)

    def run(self, phase: Phase) -> int:
        """Neighbours in memory among the (tap along the row, channel) of a phase."""
        joined = phase.taps == 1 or (phase.dilation == 1 and phase.tap_step == 1 and self.read.pitch == self.g.channels)
        return (phase.taps if joined else 1) * self.g.channels

    def pieces(self, phase: Phase) -> int:
        """The runs that the taps of a phase make."""
        return phase.taps * self.g.channels // self.run(phase)

    def vectors(self, phase: Phase) -> int:
        """Vectors of a run."""
        return -(-self.run(phase) // self.g.s.lanes)

    def width(self, phase: Phase) -> int:
        """Elements of a run in the turned gradient."""
        return self.vectors(phase) * self.g.s.lanes

    @property
    def outer_taps(self) -> int:
        return prod(a.taps for a in self.g.axes[:-1])

    def tile(self, phase: Phase) -> tuple[int, int]:
        """(rows of input, vectors of each) that a tile multiplies at a time."""
        registers = self.g.s.rows[1] + 2 - self.g.features  # all but those of the gradient, of an input, and of a product
        most = max(1, registers // self.g.features)
        panels = -(-self.vectors(phase) // most)
        vectors = -(-self.vectors(phase) // panels)
        rows = max(1, min(most // vectors, ROWS))
        return -(-self.outer_taps // -(-self.outer_taps // rows)), vectors

    @property
    def places(self) -> list[tuple[Phase, int, int]]:
        """(phase, piece, first element) of the runs of a tap across rows in the turned gradient."""
        found, start = [], 0
        for phase in self.g.phases:
            for piece in range(self.pieces(phase)):
                found.append((phase, piece, start))
                start += self.g.features * self.width(phase)
        return found

    @property
    def each(self) -> int:
        """Elements of the turned gradient for a tap across rows."""
        return sum(self.g.features * self.width(phase) for phase, _, _ in self.places)

    # Scratch: the turned gradient | the rows of input that a row of the output's gradient meets.

    @property
    def sums(self) -> int:
        return self.outer_taps * self.each

    @property
    def row_elements(self) -> int:
        """Whole vectors, and what the last one reads beyond the row."""
        return (-(-self.rows.elements // self.g.s.lanes) + 1) * self.g.s.lanes if self.rows.copied else 0

    @property
    def copied(self) -> int:
        return copies(self.g.axes[:-1]) * self.row_elements

    @property
    def scratch_bytes(self) -> int:
        return (self.sums + self.copied) * self.g.s.size


def pays(g: Correlate) -> bool:
    """Whether taps and channels fill vectors better than features."""
    w = Turned(g)
    if 2 * g.features > g.s.lanes or not g.phases:
        return False
    filled = sum(w.run(p) for p in g.phases) / sum(w.width(p) for p in g.phases)
    return filled > TURNING * g.filled(g.features) and w.scratch_bytes <= MOST_BYTES


def write_turned_filters(g: Correlate, call: Call) -> TileFunction:
    """The gradient `g`, group by group."""
    w, s = Turned(g), g.s
    name, params, images = entry_head("turned_filters", call, g)
    code = Code(name, params)
    copied = code.at(s.element, "%scratch", w.sums)
    table = code.let(f"alloca [{2 * w.outer_taps} x ptr], align 16")

    def copy(to: str, row: str) -> None:
        copy_row(code, s, w.rows, g.inner, g.x_strides[-1], to, row)

    rows = met_rows(code, s, g.axes[:-1], g.x_strides[1:], (w.row_elements, copied), copy)
    if w.rows.copied:
        code.call(f"@{zero_symbol(s)}", ("ptr", copied), ("i64", w.copied))
    kernels: dict[str, Code] = {}
    if not g.accumulate and sum(p.taps for p in g.phases) < g.inner.taps:  # some taps meet no input
        code.call(f"@{zero_symbol(s)}", ("ptr", "%out0"), ("i64", g.taps * g.channels * g.wide))
    with code.loop(g.groups) as group:
        code.call(f"@{zero_symbol(s)}", ("ptr", "%scratch"), ("i64", w.sums))
        with code.loop(images) as image:
            rows.forget()
            x = code.add(code.mul(group.index, g.channels), code.mul(image.index, g.x_strides[0]))
            with nest(code, *g.outputs[:-1]) as at:
                y = code.add(code.mul(group.index, g.features), dot(code, [image.index, *at], g.y_strides))
                _row(code, w, rows, (at, code.at(s.element, "%in0", x), code.at(s.element, "%in1", y), table), kernels)
        _turn_back(code, w, code.at(s.element, "%out0", code.mul(group.index, g.features)))
    copying = [copy_elements(s)] if w.rows.copied else []
    return tile(code, [*kernels.values(), zero_elements(s), put_across(s), *copying], w.scratch_bytes)


def _row(
    code: Code, w: Turned, rows: MetRows, names: tuple[list[str], str, str, str], kernels: dict[str, Code]
) -> None:  # fmt: skip
    """Add what a row of the output's gradient gives."""
    g, s = w.g, w.g.s
    at, x, y, table = names
    met = rows.find(at, x)
    with rows.each(met) as (i, row, across):
        entry = code.at("ptr", table, code.mul(i, 2))
        code.store("ptr", row, entry)
        code.store("ptr", code.at(s.element, "%scratch", code.mul(across, w.each)), code.at("ptr", entry, 1))
    for phase, piece, start in w.places:
        many, vectors = w.tile(phase)
        x_offset = (phase.base + piece * phase.dilation - w.rows.start) * w.rows.pitch
        grad = code.at(s.element, y, phase.first * g.y_strides[-1])
        left = w.vectors(phase) % vectors
        panels = [(0, w.vectors(phase) - left, vectors), (w.vectors(phase) - left, w.vectors(phase), left)]

        def run(first: str, height: int) -> None:
            for begin, end, wide in panels:  # noqa: B023 (called at once)
                if begin == end:
                    continue
                kernel = _sums(w, phase, height, wide)  # noqa: B023
                kernels[kernel.name] = kernel
                with code.loop(end * s.lanes, start=begin * s.lanes, step=wide * s.lanes) as j:
                    code.call(
                        f"@{kernel.name}", ("ptr", code.at("ptr", table, code.mul(first, 2))),
                        ("i64", code.add(j.index, x_offset)), ("ptr", grad), ("i64", code.add(j.index, start)),  # noqa: B023
                        ("i64", code.sub(w.run(phase), j.index)),  # noqa: B023
                    )  # fmt: skip

        whole = code.mul(code.div(met, many), many)
        with code.loop(whole, step=many) as first:
            run(first.index, many)
        for height in range(1, many):
            with code.when(code.compare("eq", code.sub(met, whole), height)):
                run(whole, height)


def _sums(w: Turned, phase: Phase, height: int, vectors: int) -> Code:
    """`void (list, x_offset, y, sum_offset, columns)`: adds the products of a row's pixels to `vectors` of `height` rows of sums.

    The list has (row of input, sums) pairs. Only the last vector may have fewer columns than lanes.
    """
    g, s = w.g, w.g.s
    width, features = w.width(phase), g.features
    x_step, y_step, pixels = phase.stride * w.rows.pitch, phase.step * g.y_strides[-1], phase.count(g.outputs[-1])
    cells = [(r, v, f) for r in range(height) for v in range(vectors) for f in range(features)]
    together = max(1, min(-(-CHAINS // len(cells)), pixels))
    facts = (s.key, height, vectors, features, width, x_step, y_step, pixels)
    params = (("ptr", "list"), ("i64", "x_offset"), ("ptr", "y"), ("i64", "sum_offset"), ("i64", "columns"))
    code = Code(digest("turned_sums", *facts), params)
    masks = [mask_below(code, s, code.sub("%columns", v * s.lanes)) if s.masked else None for v in range(vectors)]
    entries = [[code.load("ptr", code.at("ptr", "%list", 2 * r + side)) for r in range(height)] for side in (0, 1)]
    x = [code.at(s.element, row, "%x_offset") for row in entries[0]]
    sums = [code.at(s.element, row, "%sum_offset") for row in entries[1]]
    places = [code.at(s.element, sums[r], f * width + v * s.lanes) for r, v, f in cells]
    totals = [*(load(code, s, place) for place in places), *["zeroinitializer"] * (len(cells) * (together - 1))]
    whole = pixels // together * together
    for first, stop, many in ((0, whole, together), (whole, pixels, 1)):
        if first == stop:
            continue
        with code.loop(stop, [(s.vector, v) for v in totals], start=first, step=many) as p:
            here = list(p.values)
            x_place, y_place = code.mul(p.index, x_step), code.mul(p.index, y_step)
            for i in range(many):
                grad = code.at(s.element, "%y", code.add(y_place, i * y_step))
                y = [splat(code, s, code.load(s.element, code.at(s.element, grad, f))) for f in range(features)]
                inputs = {
                    (r, v): load(code, s, code.at(s.element, code.at(s.element, x[r], x_place), i * x_step + v * s.lanes), masks[v])
                    for r in range(height) for v in range(vectors)
                }  # fmt: skip
                for n, (r, v, f) in enumerate(cells, i * len(cells)):
                    here[n] = multiply_add(code, s, inputs[r, v], y[f], here[n])
            p.next = here
        totals = p.results
    for n, place in enumerate(places):
        total = totals[n]
        for i in range(1, together):
            total = code.let(f"fadd {s.vector} {total}, {totals[i * len(cells) + n]}")
        store(code, s, total, place)
    return code


def _turn_back(code: Code, w: Turned, f: str) -> None:
    """Write the turned gradient where it belongs."""
    g, s = w.g, w.g.s
    with code.loop(w.outer_taps) as across:
        turned = code.at(s.element, "%scratch", code.mul(across.index, w.each))
        for phase, piece, start in w.places:
            tap = code.add(code.mul(across.index, g.inner.taps), phase.tap + piece * phase.tap_step)
            code.call(
                f"@{put_symbol(s)}", ("ptr", code.at(s.element, f, code.mul(tap, g.channels * g.wide))),
                ("ptr", code.at(s.element, turned, start)), ("i64", g.features), ("i64", w.run(phase)), ("i64", w.width(phase)),
                ("i64", g.wide), ("i64", int(g.accumulate)),
            )  # fmt: skip
