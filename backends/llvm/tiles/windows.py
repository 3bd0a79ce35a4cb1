"""The geometry of a convolution along its axes, and what its kernels share: static shapes, phases, padded rows.

A convolution relates positions by `output * stride + tap * dilation - low == input * spread` (spread is the left-hand
dilation).  Where spread > 1 only some taps meet the input; outputs a fixed distance apart meet the same taps, and such a *phase*
is a convolution without spread.  The gradient with respect to the input is the same relation read from the other side,
with taps reversed: stride and spread change places.

May be imported by: `conv`.
"""

from __future__ import annotations

from math import gcd, prod

from fdl.backends.llvm.tiles.cut import static
from fdl.backends.llvm.tiles.micro import Simd, load, mask_below, store
from fdl.backends.llvm.tiles.text import Code
from fdl.backends.loops.ir import Call, Ref
from fdl.tracer.records import dataclass


@dataclass(frozen=True, slots=True)
class Phase:
    """Outputs `first + step * t` along an axis: tap `tap + tap_step * j` (j < taps) meets input `base + j * dilation +
    t * stride`."""

    first: int
    step: int
    tap: int
    tap_step: int
    taps: int
    base: int
    stride: int
    dilation: int

    def count(self, outputs: int) -> int:
        """How many of the axis's outputs are in this phase."""
        return max(-(-(outputs - self.first) // self.step), 0)

    def last(self, outputs: int) -> int:
        """The largest input position that the phase meets (or would, if the input were that long)."""
        return self.base + (self.taps - 1) * self.dilation + (self.count(outputs) - 1) * self.stride


@dataclass(frozen=True, slots=True)
class Axis:
    """One spatial axis: sizes (`outputs` may be unknown), and the numbers of its relation."""

    outputs: int | None
    inputs: int
    taps: int
    stride: int
    dilation: int
    low: int
    spread: int

    @property
    def phases(self) -> tuple[Phase, ...]:
        step = self.spread // gcd(self.spread, self.stride)
        tap_step = self.spread // gcd(self.spread, self.dilation)
        out = []
        for first in range(step):
            at = [k for k in range(self.taps) if (first * self.stride + k * self.dilation - self.low) % self.spread == 0]
            tap = at[0] if at else 0
            base = (first * self.stride + tap * self.dilation - self.low) // self.spread if at else 0
            stride, dilation = step * self.stride // self.spread, self.dilation * tap_step // self.spread
            out.append(Phase(first, step, tap, tap_step, len(at), base, stride, dilation))
        return tuple(out)

    def reversed(self, outputs: int | None, inputs: int) -> Axis:
        """The relation seen from the input, with taps counted from the end: `inputs` positions that outputs meet."""
        low = (self.taps - 1) * self.dilation - self.low
        return Axis(outputs, inputs, self.taps, self.spread, self.dilation, low, self.stride)


@dataclass(frozen=True, slots=True)
class Attributes:
    """The attributes of a convolution's `Call`."""

    strides: tuple[int, ...]
    low: tuple[int, ...]
    spread: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    accumulate: bool


def attributes(call: Call, spatial: int) -> Attributes:
    attrs = dict(call.attrs)
    ones = (1,) * spatial

    def numbers(name: str) -> tuple[int, ...]:
        return tuple(int(n) for n in attrs.get(name, ones))  # type: ignore[attr-defined]

    low = tuple(int(lo) for lo, _ in attrs["padding"])  # type: ignore[attr-defined]
    return Attributes(
        numbers("strides"), low, numbers("lhs_dilation"), numbers("rhs_dilation"),
        int(attrs.get("groups", 1)), bool(attrs.get("accumulate", False)),  # type: ignore[call-overload]
    )  # fmt: skip


def sizes(ref: Ref) -> tuple[int | None, ...]:
    return tuple(static(n) for n in ref.shape)


def is_dense(ref: Ref) -> bool:
    """Whether a window of known shape is row-major without gaps."""
    shape = sizes(ref)
    if any(n is None for n in shape):
        return False
    return all(
        n == 1 or stride == prod(int(m or 0) for m in shape[d + 1 :])
        for d, (n, stride) in enumerate(zip(shape, ref.strides, strict=True))
    )


# --- rows, copied with zeros around them ------------------------------------------------------------


def copy_symbol(s: Simd) -> str:
    return f"fdl_copy_{s.key}"


def copy_elements(s: Simd) -> Code:
    """The function `void (to, from, n)` that copies n elements."""
    code = Code(copy_symbol(s), (("ptr", "to"), ("ptr", "from"), ("i64", "n")))
    whole = code.mul(code.div("%n", s.lanes), s.lanes)
    with code.loop(whole, step=s.lanes) as i:
        store(code, s, load(code, s, code.at(s.element, "%from", i.index)), code.at(s.element, "%to", i.index))
    if s.masked:
        mask = mask_below(code, s, code.sub("%n", whole))
        store(code, s, load(code, s, code.at(s.element, "%from", whole), mask), code.at(s.element, "%to", whole), mask)
        return code
    with code.loop("%n", start=whole) as i:
        code.store(s.element, code.load(s.element, code.at(s.element, "%from", i.index)), code.at(s.element, "%to", i.index))
    return code


def zero_symbol(s: Simd) -> str:
    return f"fdl_zero_{s.key}"


def zero_elements(s: Simd) -> Code:
    """The function `void (to, n)` that zeroes n elements."""
    code = Code(zero_symbol(s), (("ptr", "to"), ("i64", "n")))
    whole = code.mul(code.div("%n", s.lanes), s.lanes)
    with code.loop(whole, step=s.lanes) as i:
        store(code, s, "zeroinitializer", code.at(s.element, "%to", i.index))
    with code.loop("%n", start=whole) as i:
        code.store(s.element, "0.0", code.at(s.element, "%to", i.index))
    return code


@dataclass(frozen=True, slots=True)
class Rows:
    """How the innermost spatial axis of the input is read: in place, or from copies with zeros where it is padded.

    A row holds the positions from `start` on, `length` of them, `pitch` elements apart, `depth` channels each.
    """

    copied: bool
    start: int
    length: int
    pitch: int
    depth: int

    @property
    def elements(self) -> int:
        """Elements of a copied row."""
        return self.length * self.pitch


def rows_of(axis: Axis, outputs: int, depth: int, pitch: int) -> Rows:
    """How rows of `axis` with `depth` channels every `pitch` elements are best read."""
    used = [p for p in axis.phases if p.taps and p.count(outputs)]
    start = min((p.base for p in used), default=0)
    stop = max((p.last(outputs) for p in used), default=-1) + 1
    if start >= 0 and stop <= axis.inputs:
        return Rows(False, 0, axis.inputs, pitch, depth)
    return Rows(True, start, stop - start, depth, depth)


def copy_row(code: Code, s: Simd, rows: Rows, axis: Axis, pitch: int, to: str, source: str) -> None:
    """Copy one input row into its padded place (whose zeros are there already)."""
    first, stop = max(rows.start, 0), min(rows.start + rows.length, axis.inputs)
    if stop <= first:
        return
    to = code.at(s.element, to, (first - rows.start) * rows.pitch)
    source = code.at(s.element, source, first * pitch)
    if pitch == rows.depth:
        code.call(f"@{copy_symbol(s)}", ("ptr", to), ("ptr", source), ("i64", (stop - first) * pitch))
        return
    with code.loop(stop - first) as i:
        code.call(
            f"@{copy_symbol(s)}", ("ptr", code.at(s.element, to, code.mul(i.index, rows.pitch))),
            ("ptr", code.at(s.element, source, code.mul(i.index, pitch))), ("i64", rows.depth),
        )  # fmt: skip


def partner(code: Code, axis: Axis, output: str, tap: str) -> tuple[str, str]:
    """(input position, i1: there is one) that `output` meets through `tap`, at run time."""
    value = code.sub(code.add(code.mul(output, axis.stride), code.mul(tap, axis.dilation)), axis.low)
    meets = code.compare("sge", value, 0)
    position = value
    if axis.spread > 1:
        position = code.div(value, axis.spread)
        exact = code.compare("eq", code.mul(position, axis.spread), value)
        meets = code.let(f"and i1 {meets}, {exact}")
    return position, code.let(f"and i1 {meets}, {code.compare('slt', position, axis.inputs)}")
