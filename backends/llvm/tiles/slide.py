"""The micro-kernel of neighbouring outputs of a convolution: what one input gives to several of them is read once.

    C[i, :] (+)= Σ_segments Σ_k Σ_t  x_seg[i * stride + t * dilation, k] * f_seg[t, k, :]

The pixels i are its rows, and its columns one vector.  The tile of `micro` that is one vector wide reads an element of A for every
multiply-add, as much as a core can load; here an element of x serves all taps t that lead to it.  With `lanes`, x too is read a
vector at a time: each lane is a channel by itself, as where groups have one channel each.

It takes the arguments of a tile of `micro`, and a job with one word more; A_ROW is what lies between neighbouring inputs.

May be imported by: the tile emitters of this package.
"""

from __future__ import annotations

from fdl.backends.llvm.tiles.micro import (
    A_DEPTH,
    A_ROW,
    ACCUMULATE,
    B_DEPTH,
    C_ROW,
    DEPTH,
    JOB_WORDS,
    MICRO_PARAMS,
    SEGMENTS,
    Simd,
    load,
    mask_below,
    multiply_add,
    opaque,
    splat,
    write_tile,
)
from fdl.backends.llvm.tiles.text import Code
from fdl.tracer.records import dataclass

B_TAP = JOB_WORDS
"""The word of a job that says what lies between the filters of neighbouring taps."""
SLIDE_WORDS = JOB_WORDS + 1

REACH = 40
"""The most inputs that a tile meets: their addresses are sums of two registers."""
GROUP = 6
"""Addresses that share a pointer."""


@dataclass(frozen=True, slots=True)
class Slide:
    """A tile of `pixels` outputs and `taps` taps, one vector wide."""

    s: Simd
    pixels: int
    taps: int
    stride: int
    dilation: int
    lanes: bool

    @property
    def symbol(self) -> str:
        shape = f"{self.pixels}x{self.taps}_{self.stride}_{self.dilation}"
        return f"fdl_slide_{self.s.key}_{shape}{'_lanes' if self.lanes else ''}"

    @property
    def reach(self) -> int:
        """The inputs from the first that is met to the last."""
        return (self.pixels - 1) * self.stride + (self.taps - 1) * self.dilation + 1

    @property
    def meets(self) -> dict[int, list[tuple[int, int]]]:
        """{input: the (pixel, tap) pairs that meet there}."""
        found: dict[int, list[tuple[int, int]]] = {}
        for i in range(self.pixels):
            for t in range(self.taps):
                found.setdefault(i * self.stride + t * self.dilation, []).append((i, t))
        return dict(sorted(found.items()))


def slide_rows(s: Simd, taps: int, stride: int, dilation: int) -> int:
    """The most pixels of a tile with so many taps, or 0 where a tile makes no sense."""
    registers = s.rows[1] + 4  # accumulators, a vector of B, what a product needs
    rows = registers - taps - 2
    while rows > 0 and (rows - 1) * stride + (taps - 1) * dilation + 1 > REACH:
        rows -= 1
    return max(rows, 0)


def slide_kernel(k: Slide) -> Code:
    """The micro-kernel `void (job, a_offset, b_offset, c, cols, skip)`; offsets in elements."""
    s = k.s
    code = Code(k.symbol, MICRO_PARAMS)

    def word(number: int) -> str:
        return code.load("i64", code.at("i64", "%job", number))

    segments, depth = word(SEGMENTS), word(DEPTH)
    table = code.load("ptr", "%job")
    a_row, a_depth, b_depth, b_tap, c_row = word(A_ROW), word(A_DEPTH), word(B_DEPTH), word(B_TAP), word(C_ROW)
    mask = mask_below(code, s, "%cols") if s.masked else None
    offsets = ["0", *(opaque(code, code.mul(a_row, i)) for i in range(1, min(GROUP, k.reach)))]
    starts = [opaque(code, code.mul(a_row, i)) if i else "0" for i in range(0, k.reach, GROUP)]
    taps = ["0", *(opaque(code, code.mul(b_tap, t)) for t in range(1, k.taps))]
    zeros = [(s.vector, "zeroinitializer")] * k.pixels
    with code.loop(segments, zeros) as outer:
        entry = code.at("ptr", table, code.mul(outer.index, 2))
        a = code.at(s.element, code.load("ptr", entry), "%a_offset")
        b = code.at(s.element, code.load("ptr", code.at("ptr", entry, 1)), "%b_offset")
        pointers = [("ptr", code.at(s.element, a, start)) for start in starts]
        with code.loop(depth, [*((s.vector, v) for v in outer.values), *pointers, ("ptr", b)]) as inner:
            sums, bases, b = list(inner.values[: k.pixels]), inner.values[k.pixels : -1], inner.values[-1]
            filters = [load(code, s, code.at(s.element, b, t), mask) for t in taps]
            for q, pairs in k.meets.items():
                address = code.at(s.element, bases[q // GROUP], offsets[q % GROUP])
                x = load(code, s, address, mask) if k.lanes else splat(code, s, code.load(s.element, address))
                for i, t in pairs:
                    sums[i] = multiply_add(code, s, x, filters[t], sums[i])
            inner.next = [*sums, *(code.at(s.element, p, a_depth) for p in bases), code.at(s.element, b, b_depth)]
        outer.next = list(inner.results[: k.pixels])
    write_tile(code, s, k.pixels, 1, outer.results, c_row, word(ACCUMULATE), mask)
    return code
