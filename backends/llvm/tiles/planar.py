"""Convolution with few features: neighbouring pixels are the lanes of a vector, and the features its rows.

    C[f, p] = Σ_taps Σ_c  F[tap, c, f] * X[c, p + tap]

With features as lanes most lanes would be empty.  Each row of input is copied once with its channels apart (planes), where a tap is a
shift by an element; strides make planes of their own.  A tile keeps all features of some vectors of pixels in registers over all
taps, and puts features next to each other again when it is written.

May be imported by: `conv`.
"""

from __future__ import annotations

from fdl.backends.llvm.tiles.gather import Gather, entry_head
from fdl.backends.llvm.tiles.interleave import interleaved, separated
from fdl.backends.llvm.tiles.met import copies, dot, met_rows
from fdl.backends.llvm.tiles.micro import load, mask_below, multiply_add, splat, store
from fdl.backends.llvm.tiles.pack import put_across, put_symbol, transposed
from fdl.backends.llvm.tiles.parts import TileFunction, digest, tile
from fdl.backends.llvm.tiles.text import Code, Shared
from fdl.backends.llvm.tiles.windows import Phase, copy_elements, copy_symbol, zero_elements, zero_symbol
from fdl.backends.loops.ir import Call
from fdl.tracer.records import dataclass

WIDEST = 6
"""The most vectors of pixels in a tile."""
CHAINS = 8
"""Sums that are added to in turn, to cover the latency of a multiply-add."""
WRITTEN = 0.8
"""What is left of a tile's speed by the copies around it."""
LARGEST = 1024
"""The most multiply-adds that are written out, of a tile's taps."""
MOST_BYTES = 1 << 20
"""The most bytes of copied rows."""


@dataclass(frozen=True, slots=True)
class Planar:
    """How a convolution whose pixels are the lanes is computed."""

    g: Gather

    @property
    def stride(self) -> int:
        """What lies between the inputs that neighbouring outputs of a phase meet: as many pixels of input make one of the planes."""
        return self.g.phases[0].stride

    @property
    def planes(self) -> int:
        return self.stride * self.g.channels

    @property
    def lead(self) -> int:
        """Elements of a plane before the first pixel of the row."""
        return -min(0, min(phase.base for phase in self.g.phases) // self.stride)

    def vectors(self, phase: Phase) -> tuple[int, int]:
        """(tiles along a row, vectors of each)."""
        s = self.g.s
        needed = -(-phase.count(self.g.outputs) // s.lanes)
        registers = s.rows[1] + 4 - 2  # all but those of an element of the filter, and of a product
        tiles = -(-needed // max(1, min(registers // (self.g.features + 1), WIDEST)))
        return tiles, -(-needed // tiles)

    def tap(self, phase: Phase, j: int) -> int:
        """The place in a row's planes of what tap `j` of a phase meets first."""
        at = phase.base + j * phase.dilation + self.lead * self.stride
        return at % self.stride * self.g.channels * self.pitch + at // self.stride

    @property
    def pitch(self) -> int:
        """Elements of a plane: room for a whole number of vectors, and for what the last tile of each phase reads."""
        lanes = self.g.s.lanes
        ends = [self.lead + -(-self.g.inner.inputs // (self.stride * lanes)) * lanes]
        for phase in self.g.phases:
            tiles, nv = self.vectors(phase)
            last = (phase.base + (phase.taps - 1) * phase.dilation) // self.stride + self.lead
            ends.append(last + tiles * nv * lanes)
        return -(-max(ends) // lanes) * lanes

    @property
    def dense(self) -> bool:
        """Whether pixels of a row of output follow each other in memory."""
        return self.g.y_strides[-1] == self.g.features and all(phase.step == 1 for phase in self.g.phases)

    # Scratch: a tile of the output | a row of input (targets without masks) | the planes of the rows that are met.

    @property
    def edge_elements(self) -> int:
        if self.dense and self.g.s.masked:
            return 0
        return max(nv for _, nv in map(self.vectors, self.g.phases)) * self.g.s.lanes * self.g.features

    @property
    def line_elements(self) -> int:
        """Elements of a row of input, and as many more as the last vectors read."""
        s = self.g.s
        if s.masked:
            return 0
        block = s.lanes * self.planes
        return (self.g.inner.inputs * self.g.channels // block + 2) * block

    @property
    def row_elements(self) -> int:
        return self.planes * self.pitch

    @property
    def copied(self) -> int:
        return copies(self.g.axes[:-1]) * self.row_elements

    @property
    def scratch_bytes(self) -> int:
        return (self.edge_elements + self.line_elements + self.copied) * self.g.s.size


def pays(g: Gather) -> bool:
    """Whether the pixels fill vectors better than the features."""
    s = g.s
    if g.groups > 1 or 2 * g.features > s.lanes or g.x_strides[-1] != g.channels or any(not p.taps for p in g.phases):
        return False
    pixels = [p.count(g.outputs) for p in g.phases]
    filled = sum(pixels) / sum(-(-n // s.lanes) * s.lanes for n in pixels)
    if WRITTEN * filled <= g.features / s.lanes:
        return False
    p = Planar(g)
    largest = max(phase.taps * g.features * p.vectors(phase)[1] for phase in g.phases)
    return largest <= LARGEST and p.scratch_bytes <= MOST_BYTES


def write_planar(g: Gather, call: Call) -> TileFunction:
    """The convolution `g`."""
    p, s = Planar(g), g.s
    separate = _separate(p)
    tiles = [_tile(p, phase) for phase in g.phases]
    code = Code(*entry_head("planar", call, g))
    edge = "%scratch"
    line = code.at(s.element, edge, p.edge_elements)
    planes = code.at(s.element, line, p.line_elements)

    def copy(to: str, row: str) -> None:
        if not s.masked:
            code.call(f"@{copy_symbol(s)}", ("ptr", line), ("ptr", row), ("i64", g.inner.inputs * g.channels))
        code.call(f"@{separate.name}", ("ptr", to), ("ptr", row if s.masked else line))

    table = code.let(f"alloca [{2 * g.outer_taps} x ptr], align 16")
    rows = met_rows(code, s, g.axes[:-1], g.x_strides, (p.row_elements, planes), copy)
    code.call(f"@{zero_symbol(s)}", ("ptr", line), ("i64", p.line_elements + p.copied))
    rows.forget()
    with g.positions(code) as (at, place):
        met = rows.find(at, "%in0")
        out = code.at(s.element, "%out0", dot(code, place, g.y_strides))
        for phase, function in zip(g.phases, tiles, strict=True):
            first, a_across, _ = _filter(g, phase)
            with rows.each(met) as (i, row, across):
                entry = code.at("ptr", table, code.mul(i, 2))
                code.store("ptr", row, entry)
                a = code.at(s.element, "%in1", code.add(code.mul(across, a_across), first))
                code.store("ptr", a, code.at("ptr", entry, 1))
            _row(code, p, phase, function.name, (table, met, edge), out)
    codes: list[Code | Shared] = [separate, *tiles, zero_elements(s)]
    codes += [] if s.masked else [copy_elements(s)]
    codes += [] if p.dense else [put_across(s)]
    return tile(code, codes, p.scratch_bytes)


def _filter(g: Gather, phase: Phase) -> tuple[int, int, int]:
    """(place of a phase's first tap in the filter, what lies between taps across rows, between taps along the row)."""
    each = g.channels * g.features
    if not g.reverse:
        return phase.tap * each, g.inner.taps * each, phase.tap_step * each
    return (g.taps - 1 - phase.tap) * each, -g.inner.taps * each, -phase.tap_step * each


def _row(code: Code, p: Planar, phase: Phase, function: str, arrays: tuple[str, str, str], out: str) -> None:
    """One phase of a row of output."""
    g, s = p.g, p.g.s
    table, met, edge = arrays
    pixels, (tiles, nv) = phase.count(g.outputs), p.vectors(phase)
    wide, pitch = nv * s.lanes, phase.step * g.y_strides[-1]
    with code.loop(tiles) as panel:
        start = code.mul(panel.index, wide)
        left = code.min(code.sub(pixels, start), wide)
        to = code.at(s.element, out, code.add(code.mul(start, pitch), phase.first * g.y_strides[-1]))

        def run(place: str) -> None:
            code.call(f"@{function}", ("ptr", table), ("i64", met), ("i64", start), ("ptr", place), ("i64", left))

        if not p.dense:
            run(edge)
            code.call(
                f"@{put_symbol(s)}", ("ptr", to), ("ptr", edge), ("i64", g.features), ("i64", left), ("i64", wide), ("i64", pitch),
                ("i64", 0),
            )  # fmt: skip
        elif s.masked or pixels % wide == 0:
            run(to)
        else:
            whole = code.compare("eq", left, wide)
            run(code.select(whole, "ptr", to, edge))
            with code.when(code.let(f"xor i1 {whole}, true")):
                code.call(f"@{copy_symbol(s)}", ("ptr", to), ("ptr", edge), ("i64", code.mul(left, g.features)))


# --- the tile ---------------------------------------------------------------------------------------


def _tile(p: Planar, phase: Phase) -> Code:
    """`void (list, segments, start, out, pixels)`: all features of some vectors of pixels from `start` on.

    The list has a row's planes and its filters for each segment. Where rows are dense, pixels beyond `pixels` are not written where
    there are masks; elsewhere all are. Otherwise features are written apart.
    """
    g, s = p.g, p.g.s
    (_, nv), (_, _, a_tap) = p.vectors(phase), _filter(g, phase)
    a_row, a_depth = (g.channels, 1) if g.reverse else (1, g.features)
    taps = [p.tap(phase, j) for j in range(phase.taps)]
    facts = (s.key, g.features, nv, taps, a_row, a_depth, a_tap, g.channels, p.pitch, p.dense)
    params = (("ptr", "list"), ("i64", "segments"), ("i64", "start"), ("ptr", "out"), ("i64", "pixels"))
    code = Code(digest("planes", *facts), params)
    cells = g.features * nv
    chains = min(phase.taps, -(-CHAINS // cells))
    zeros = [(s.vector, "zeroinitializer")] * (cells * chains)
    with code.loop("%segments", zeros) as outer:
        entry = code.at("ptr", "%list", code.mul(outer.index, 2))
        b = code.at(s.element, code.load("ptr", entry), "%start")
        a = code.load("ptr", code.at("ptr", entry, 1))
        with code.loop(g.channels, [*((s.vector, v) for v in outer.values), ("ptr", a), ("ptr", b)]) as inner:
            *sums, a, b = inner.values
            for j, at in enumerate(taps):
                x = [load(code, s, code.at(s.element, b, at + v * s.lanes)) for v in range(nv)]
                chain = j % chains * cells
                for f in range(g.features):
                    w = splat(code, s, code.load(s.element, code.at(s.element, a, j * a_tap + f * a_row)))
                    for v in range(nv):
                        cell = chain + f * nv + v
                        sums[cell] = multiply_add(code, s, w, x[v], sums[cell])
            inner.next = [*sums, code.at(s.element, a, a_depth), code.at(s.element, b, p.pitch)]
        outer.next = list(inner.results[:-2])
    sums = outer.results
    while len(sums) > cells:
        head, last = sums[:-cells], sums[-cells:]
        sums = [*head[:-cells], *(code.let(f"fadd {s.vector} {x}, {y}") for x, y in zip(head[-cells:], last, strict=True))]
    for v in range(nv):
        features = [sums[f * nv + v] for f in range(g.features)]
        if not p.dense:
            for f, value in enumerate(features):
                store(code, s, value, code.at(s.element, "%out", (f * nv + v) * s.lanes))
            continue
        for i, value in enumerate(interleaved(code, s, features)):
            at = (v * g.features + i) * s.lanes
            mask = mask_below(code, s, code.sub(code.mul("%pixels", g.features), at)) if s.masked else None
            store(code, s, value, code.at(s.element, "%out", at), mask)
    return code


# --- the planes -------------------------------------------------------------------------------------


def _separate(p: Planar) -> Code:
    """`void (to, from)`: the planes of a row of input. Beyond the row's end there are zeros; targets without masks read them."""
    g, s = p.g, p.g.s
    elements, block = g.inner.inputs * g.channels, s.lanes * p.planes
    facts = (s.key, p.planes, elements, p.pitch, p.lead)
    code = Code(digest("separate", *facts), (("ptr", "to"), ("ptr", "from")))
    to = code.at(s.element, "%to", p.lead)
    with code.loop(elements // block) as b:
        _block(
            code,
            p,
            code.at(s.element, to, code.mul(b.index, s.lanes)),
            code.at(s.element, "%from", code.mul(b.index, block)),
            block,
        )
    done = elements // block
    if elements % block:
        from_ = code.at(s.element, "%from", done * block)
        _block(code, p, code.at(s.element, to, done * s.lanes), from_, elements % block)
    return code


def _block(code: Code, p: Planar, to: str, from_: str, elements: int) -> None:
    """One vector of each plane, from so many elements that are left."""
    s, planes = p.g.s, p.planes

    def vector(at: int, most: int) -> str:
        """Those of the next `most` elements that there are."""
        here = max(0, min(most, elements - at))
        if here == 0:
            return "zeroinitializer"
        mask = None if here >= s.lanes or not s.masked else mask_below(code, s, str(here))
        return load(code, s, code.at(s.element, from_, at), mask)

    if 2 * planes <= s.lanes:
        for k, value in enumerate(separated(code, s, [vector(i * s.lanes, s.lanes) for i in range(planes)])):
            store(code, s, value, code.at(s.element, to, k * p.pitch))
        return
    for start in range(0, planes, s.lanes):
        wide = min(planes - start, s.lanes)
        columns = transposed(code, s, [vector(i * planes + start, wide) for i in range(s.lanes)])
        for k in range(wide):
            store(code, s, columns[k], code.at(s.element, to, (start + k) * p.pitch))
