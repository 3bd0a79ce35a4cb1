"""The transpose of a convolution in many small groups with respect to its filter: the features of all groups are the lanes.

    dF[t, k, o] (+)= Σ_images Σ_p  x[p * stride + t * dilation, channel k of o] * dY[p, o]

Row by row of the output's gradient, with the rows of input that it meets `expand`ed: the sums of all taps along a row are in
registers while the pixels go by, and in a buffer between rows.

May be imported by: `filters`.
"""

from __future__ import annotations

from fdl.backends.llvm.tiles.correlate import Correlate, entry_head
from fdl.backends.llvm.tiles.expand import Expanded
from fdl.backends.llvm.tiles.met import copies, dot, met_rows, nest
from fdl.backends.llvm.tiles.micro import load, mask_below, multiply_add, store
from fdl.backends.llvm.tiles.parts import TileFunction, digest, tile
from fdl.backends.llvm.tiles.text import Code
from fdl.backends.llvm.tiles.windows import Phase, copy_elements, copy_symbol, zero_elements, zero_symbol
from fdl.backends.loops.ir import Call
from fdl.tracer.records import dataclass

CHAINS = 8
"""Sums that are added to in turn, to cover the latency of a multiply-add."""
TAPS = 12
"""The most taps whose sums are in registers together."""
MOST_BYTES = 1 << 20
"""The most bytes of copied rows, and of the sums."""


@dataclass(frozen=True, slots=True)
class Grouped:
    """How a gradient whose groups are the lanes is computed."""

    g: Correlate

    @property
    def rows(self) -> Expanded:
        g = self.g
        return Expanded(g.s, g.inner, g.outputs[-1], g.x_strides[-1], g.channels, g.features, g.groups)

    @property
    def pads_y(self) -> bool:
        """Whether rows of the output's gradient are copied, so that whole vectors can be read."""
        return not self.g.s.masked and self.rows.lanes != self.rows.width

    @property
    def y_pitch(self) -> int:
        return self.rows.width if self.pads_y else self.g.y_strides[-1]

    # Scratch: the sums [tap][channel][lane] | a row of the output's gradient | the rows of input that it meets.

    @property
    def sums(self) -> int:
        return self.g.taps * self.g.channels * self.rows.width

    @property
    def y_elements(self) -> int:
        return self.g.outputs[-1] * self.rows.width if self.pads_y else 0

    @property
    def copied(self) -> int:
        return copies(self.g.axes[:-1]) * self.rows.elements

    @property
    def scratch_bytes(self) -> int:
        return (self.sums + self.y_elements + self.copied) * self.g.s.size


def pays(g: Correlate) -> bool:
    """Whether features of all groups fill vectors better than those of one."""
    better = g.groups > 1 and g.filled(g.wide) > g.filled(g.features)
    return better and Grouped(g).scratch_bytes <= MOST_BYTES


def write_grouped_filters(g: Correlate, call: Call) -> TileFunction:
    """The gradient `g`, of all groups at once."""
    w, s = Grouped(g), g.s
    expand = w.rows.code()
    name, params, images = entry_head("grouped_filters", call, g)
    code = Code(name, params)
    y_copy = code.at(s.element, "%scratch", w.sums)
    place = code.at(s.element, y_copy, w.y_elements)

    def copy(to: str, row: str) -> None:
        code.call(f"@{expand.name}", ("ptr", to), ("ptr", row))

    rows = met_rows(code, s, g.axes[:-1], g.x_strides[1:], (w.rows.elements, place), copy)
    code.call(f"@{zero_symbol(s)}", ("ptr", "%scratch"), ("i64", w.sums + w.y_elements + w.copied))
    kernels = {}
    with code.loop(images) as image:
        rows.forget()
        x = code.at(s.element, "%in0", code.mul(image.index, g.x_strides[0]))
        with nest(code, *g.outputs[:-1]) as at:
            y = code.at(s.element, "%in1", dot(code, [image.index, *at], g.y_strides))
            if w.pads_y:
                with code.loop(g.outputs[-1]) as p:
                    to = code.at(s.element, y_copy, code.mul(p.index, w.rows.width))
                    from_ = code.at(s.element, y, code.mul(p.index, g.y_strides[-1]))
                    code.call(f"@{copy_symbol(s)}", ("ptr", to), ("ptr", from_), ("i64", w.rows.lanes))
                y = y_copy
            met = rows.find(at, x)
            with rows.each(met) as (_, row, across):
                for phase in g.phases:
                    for start in range(0, phase.taps, TAPS):
                        kernel = _sums(w, phase, min(TAPS, phase.taps - start))
                        kernels[kernel.name] = kernel
                        tap = code.add(code.mul(across, g.inner.taps), phase.tap + start * phase.tap_step)
                        _channels(code, w, phase, kernel.name, (row, y, tap), start)
    _write(code, w)
    codes = [*kernels.values(), zero_elements(s)]
    codes += [expand] if w.rows.copied else []
    codes += [copy_elements(s)] if w.pads_y else []
    return tile(code, codes, w.scratch_bytes)


def _channels(code: Code, w: Grouped, phase: Phase, kernel: str, names: tuple[str, str, str], start: int) -> None:
    """Add what a row of input gives to some taps, for all lanes and channels."""
    g, s, rows = w.g, w.g.s, w.rows
    row, y, tap = names
    x = code.at(s.element, row, (phase.base + start * phase.dilation - rows.start) * rows.step)
    y = code.at(s.element, y, phase.first * w.y_pitch)
    with code.loop(rows.lanes, step=s.lanes) as j, code.loop(g.channels) as k:
        sums = code.mul(code.add(code.mul(tap, g.channels), k.index), rows.width)
        code.call(
            f"@{kernel}", ("ptr", code.at(s.element, x, code.add(code.mul(k.index, rows.plane), j.index))),
            ("ptr", code.at(s.element, y, j.index)), ("ptr", code.at(s.element, "%scratch", code.add(sums, j.index))),
            ("i64", code.sub(rows.lanes, j.index)),
        )  # fmt: skip


def _sums(w: Grouped, phase: Phase, taps: int) -> Code:
    """`void (x, y, sums, lanes)`: adds the products of a row's pixels to the sums of `taps` taps, a vector of lanes."""
    g, s = w.g, w.g.s
    pixels, x_step, y_step = phase.count(g.outputs[-1]), w.rows.step, phase.step * w.y_pitch
    sum_step = phase.tap_step * g.channels * w.rows.width
    facts = (s.key, pixels, taps, phase.stride, phase.dilation, x_step, y_step, sum_step)
    code = Code(digest("sums", *facts), (("ptr", "x"), ("ptr", "y"), ("ptr", "sums"), ("i64", "lanes")))
    mask = mask_below(code, s, "%lanes") if s.masked else None
    places = [code.at(s.element, "%sums", t * sum_step) for t in range(taps)]
    before = [load(code, s, place) for place in places]
    together = min(-(-CHAINS // taps), pixels)
    zeros = ["zeroinitializer"] * (taps * (together - 1))
    sums = [*before, *zeros]
    whole = pixels // together * together
    for first, stop, many in ((0, whole, together), (whole, pixels, 1)):
        if first == stop:
            continue
        with code.loop(stop, [(s.vector, v) for v in sums], start=first, step=many) as p:
            x = code.at(s.element, "%x", code.mul(p.index, phase.stride * x_step))
            y = code.at(s.element, "%y", code.mul(p.index, y_step))
            here = list(p.values)
            read: dict[int, str] = {}
            for i in range(many):
                grad = load(code, s, code.at(s.element, y, i * y_step), mask)
                for t in range(taps):
                    at = i * phase.stride + t * phase.dilation
                    if at not in read:
                        read[at] = load(code, s, code.at(s.element, x, at * x_step), mask)
                    here[i * taps + t] = multiply_add(code, s, read[at], grad, here[i * taps + t])
            p.next = here
        sums = p.results
    for t, place in enumerate(places):
        total = sums[t]
        for i in range(1, together):
            total = code.let(f"fadd {s.vector} {total}, {sums[i * taps + t]}")
        store(code, s, total, place)
    return code


def _write(code: Code, w: Grouped) -> None:
    """Write the sums, or add them, to the gradient."""
    g, s, lanes = w.g, w.g.s, w.rows.lanes

    def put(kind: str, value: str, place: str, mask: str | None) -> None:
        if g.accumulate:
            there = load(code, s, place, mask) if kind == s.vector else code.load(kind, place)
            value = code.let(f"fadd {kind} {value}, {there}")
        if kind == s.vector:
            store(code, s, value, place, mask)
        else:
            code.store(kind, value, place)

    whole = lanes if s.masked else lanes // s.lanes * s.lanes
    with code.loop(g.taps * g.channels) as i:
        sums = code.at(s.element, "%scratch", code.mul(i.index, w.rows.width))
        out = code.at(s.element, "%out0", code.mul(i.index, lanes))
        with code.loop(whole, step=s.lanes) as j:
            mask = mask_below(code, s, code.sub(lanes, j.index)) if s.masked else None
            put(s.vector, load(code, s, code.at(s.element, sums, j.index)), code.at(s.element, out, j.index), mask)
        with code.loop(lanes, start=whole) as j:
            put(s.element, code.load(s.element, code.at(s.element, sums, j.index)), code.at(s.element, out, j.index), None)
