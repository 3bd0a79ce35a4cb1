"""Rows of input for groups side by side: each lane of a vector is one feature, and finds there the channel that it needs.

With `channels` and `features` in each group, feature o takes channel `o // features * channels + k` in step k.  A copied row holds
for each step the positions along the row, and for each position a lane for every feature:

    2 groups of 2 channels and 3 features      x0 x1 x2 x3   →   step 0: x0 x0 x0 x2 x2 x2     step 1: x1 x1 x1 x3 x3 x3

Where each group has one channel and one feature that is the row itself, which is read in place if nothing pads it.

May be imported by: the tile emitters of convolutions.
"""

from __future__ import annotations

from math import lcm

from fdl.backends.llvm.tiles.interleave import picked
from fdl.backends.llvm.tiles.micro import Simd, load, mask_below, store
from fdl.backends.llvm.tiles.parts import digest
from fdl.backends.llvm.tiles.text import Code
from fdl.backends.llvm.tiles.windows import Axis, Rows, rows_of
from fdl.tracer.records import dataclass

TOGETHER = 4
"""Vectors copied at a time, where rows are copied as they are."""


@dataclass(frozen=True, slots=True)
class Expanded:
    """The rows of input along the axis `inner`, which has `outputs` outputs and whose positions are `pitch` apart."""

    s: Simd
    inner: Axis
    outputs: int
    pitch: int
    channels: int
    features: int
    groups: int

    @property
    def lanes(self) -> int:
        """Features of all groups."""
        return self.groups * self.features

    @property
    def width(self) -> int:
        """Lanes in whole vectors."""
        return -(-self.lanes // self.s.lanes) * self.s.lanes

    @property
    def needed(self) -> Rows:
        return rows_of(self.inner, self.outputs, self.lanes, self.pitch)

    @property
    def copied(self) -> bool:
        plain = self.channels == self.features == 1 and (self.s.masked or self.lanes == self.width)
        return self.needed.copied or not plain

    @property
    def start(self) -> int:
        """The first position of a row."""
        return self.needed.start

    @property
    def step(self) -> int:
        """What lies between positions."""
        return self.width if self.copied else self.pitch

    @property
    def plane(self) -> int:
        """What lies between steps."""
        return self.needed.length * self.width

    @property
    def elements(self) -> int:
        """Elements of a copied row."""
        return self.channels * self.plane if self.copied else 0

    def code(self) -> Code:
        """The function `void (to, from)` that copies a row; what pads it is left alone."""
        s, rows, depth = self.s, self.needed, self.groups * self.channels
        facts = (s.key, rows, self.inner.inputs, self.pitch, self.channels, self.features, self.groups)
        code = Code(digest("expand", *facts), (("ptr", "to"), ("ptr", "from")))
        first, stop = max(rows.start, 0), min(rows.start + rows.length, self.inner.inputs)
        if stop <= first:
            return code
        if self.channels == self.features == 1 and self.pitch == self.width:
            self._whole(code, first, stop)
            return code
        with code.loop(stop - first) as i:
            from_ = code.at(s.element, "%from", code.mul(code.add(i.index, first), self.pitch))
            to = code.at(s.element, "%to", code.mul(code.add(i.index, first - rows.start), self.width))
            if depth < s.lanes and not s.masked:
                self._one_by_one(code, to, from_)
            else:
                self._by_vectors(code, to, from_, depth)
        return code

    def _whole(self, code: Code, first: int, stop: int) -> None:
        """The positions from `first` to `stop` as they are."""
        s, n = self.s, (stop - first) * self.width
        from_ = code.at(s.element, "%from", first * self.width)
        to = code.at(s.element, "%to", (first - self.start) * self.width)
        many = TOGETHER * s.lanes
        for start, end, step in ((0, n // many * many, many), (n // many * many, n, s.lanes)):
            with code.loop(end, start=start, step=step) as i:
                at = [code.add(i.index, k) for k in range(0, step, s.lanes)]
                vectors = [load(code, s, code.at(s.element, from_, k)) for k in at]
                for k, value in zip(at, vectors, strict=True):
                    store(code, s, value, code.at(s.element, to, k))

    def _one_by_one(self, code: Code, to: str, from_: str) -> None:
        """Fewer channels than lanes, on a target without masks."""
        kind = self.s.element
        for k in range(self.channels):
            for o in range(self.lanes):
                value = code.load(kind, code.at(kind, from_, o // self.features * self.channels + k))
                code.store(kind, value, code.at(kind, to, k * self.plane + o))

    def _by_vectors(self, code: Code, to: str, from_: str, depth: int) -> None:
        """Vectors repeat their pattern after a period; the last periods are by themselves, since vectors may not read beyond the end."""
        s = self.s
        period = lcm(self.features, s.lanes)
        read = period // self.features * self.channels
        repeats = max((depth - s.lanes) // read, 0)
        with code.loop(repeats) as i:
            for at in range(0, period, s.lanes):
                source = code.at(s.element, from_, code.mul(i.index, read))
                self._vector(code, code.at(s.element, to, code.add(code.mul(i.index, period), at)), source, at, s.lanes, None)
        for at in range(repeats * period, self.lanes, s.lanes):
            self._vector(code, code.at(s.element, to, at), from_, at, min(s.lanes, self.lanes - at), depth)

    def _vector(self, code: Code, to: str, from_: str, first: int, count: int, end: int | None) -> None:
        """The lanes from `first` on, `count` of them, of all steps; nothing from `end` on is read."""
        s = self.s
        for k in range(self.channels):
            wanted = [(first + min(i, count - 1)) // self.features * self.channels + k for i in range(s.lanes)]
            starts = list(range(wanted[0], wanted[-1] + 1, s.lanes))
            if end is not None:
                starts = [max(min(at, end - s.lanes), 0) for at in starts]
            vectors = []
            for at in starts:
                mask = mask_below(code, s, str(end)) if end is not None and end < s.lanes else None
                vectors.append(load(code, s, code.at(s.element, from_, at), mask))
            picks = []
            for at in wanted:
                which = next(n for n, start in enumerate(starts) if start <= at < start + s.lanes)
                picks.append((vectors[which], at - starts[which]))
            store(code, s, picked(code, s, picks), code.at(s.element, to, k * self.plane))
