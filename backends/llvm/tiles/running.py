"""Running totals along rows: sums, products, maxima and minima of what came before.

As many rows as a vector has lanes go together where there are as many: blocks are transposed in registers, and each lane
adds up a row of its own,
one element after the other.  A row alone is added up inside vectors by shifting, 1, 2, 4, .. lanes at a time (Hillis and
Steele, Data parallel
algorithms, 1986), and what came before a vector is added last: other roundings than one after the other, so that products of
floats, which may overflow on the way, are not done so.

May be imported by: the tile emitters of this package.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from fdl.backends.llvm.target import Target
from fdl.backends.llvm.tiles.elements import Elements, elements_of, loaded, stored, turned
from fdl.backends.llvm.tiles.parts import TileFunction, digest, tile
from fdl.backends.llvm.tiles.text import Code
from fdl.backends.loops.ir import Call
from fdl.backends.loops.reductions import identity_of
from fdl.tracer.dtypes import DType, is_float
from fdl.tracer.records import dataclass

_FLOAT = {"add": "fadd", "mul": "fmul"}
_INTEGER = {"add": "add", "mul": "mul"}

PARAMS = (
    ("ptr", "out"), ("ptr", "in"), ("ptr", "first"), ("i64", "rows"), ("i64", "n"), ("i64", "out_step"), ("i64", "in_step"),
    ("i64", "first_step"),
)  # fmt: skip


_Block: TypeAlias = Callable[[str, str, str | None], str]
"""(totals before it, its first column, how many of its columns there are) → totals after it."""


@dataclass(frozen=True, slots=True)
class _Total:
    """How numbers of `dtype` are combined, as vectors `v`; `reverse` from the end."""

    name: str
    dtype: DType
    reverse: bool
    v: Elements

    @property
    def kind(self) -> str:
        """The vector type that is computed with."""
        return self.v.real if is_float(self.dtype) else self.v.memory

    @property
    def element(self) -> str:
        return self.kind.split()[-1][:-1]

    @property
    def key(self) -> str:
        return f"{self.name}{'_reverse' * self.reverse}_{self.dtype.name}_{self.v.key}"

    def constant(self) -> str:
        """The identity as a vector of type `memory`."""
        value = identity_of(self.name, self.dtype).value
        if not is_float(self.dtype):
            return f"splat ({self.v.bits} {int(value)})"
        bits = {"add": 0, "mul": {4: 0x3F800000, 8: 0x3FF0 << 48}[self.v.size]}
        infinity = {4: 0x7F800000, 8: 0x7FF0 << 48}[self.v.size]
        sign = 1 << (8 * self.v.size - 1)
        # Adding -0 changes nothing; adding 0 does change -0.
        found = {**bits, "add": -sign, "min": infinity, "max": infinity - sign}[self.name]
        return f"splat ({self.v.bits} {found})"

    def combined(self, code: Code, a: str, b: str) -> str:
        """a with b, lane by lane; vectors of type `kind`."""
        if is_float(self.dtype):
            if self.name in _FLOAT:
                return code.let(f"{_FLOAT[self.name]} {self.kind} {a}, {b}")
            # NaN stays: one in b comes through the comparison, one in a through the second selection.
            relation = "ogt" if self.name == "max" else "olt"
            better = code.let(f"fcmp {relation} {self.kind} {a}, {b}")
            found = code.let(f"select {self.v.mask} {better}, {self.kind} {a}, {self.kind} {b}")
            nan = code.let(f"fcmp uno {self.kind} {a}, {a}")
            return code.let(f"select {self.v.mask} {nan}, {self.kind} {a}, {self.kind} {found}")
        if self.name in _INTEGER:
            return code.let(f"{_INTEGER[self.name]} {self.kind} {a}, {b}")
        symbol = f"@llvm.{'u' if self.dtype.kind == 'u' else 's'}{self.name}.v{self.v.lanes}{self.element}"
        code.declare(f"{self.kind} {symbol}({self.kind}, {self.kind})")
        return code.let(f"call {self.kind} {symbol}({self.kind} {a}, {self.kind} {b})")

    def shuffled(self, code: Code, a: str, b: str, picks: list[int]) -> str:
        """Lanes of two vectors of type `kind`."""
        chosen = ", ".join(f"i32 {i}" for i in picks)
        return code.let(f"shufflevector {self.kind} {a}, {self.kind} {b}, <{len(picks)} x i32> <{chosen}>")

    def number(self, code: Code, vector: str) -> str:
        """A vector of type `memory` as one of `kind`."""
        return code.let(f"bitcast {self.v.memory} {vector} to {self.kind}")

    def moved(self, code: Code, vector: str) -> str:
        """And back."""
        return code.let(f"bitcast {self.kind} {vector} to {self.v.memory}")


def write_running(call: Call, target: Target) -> TileFunction | None:
    """The running totals of `call`, or None for other dtypes than numbers of 4 and 8 bytes, and rows that are not contiguous."""
    (y,), (x, first) = call.outputs, call.inputs
    dtype = y.buffer.dtype
    if dtype != x.buffer.dtype or dtype.kind not in "iuf" or dtype.itemsize not in (4, 8):
        return None
    if y.strides[1] != 1 or x.strides[1] != 1:
        return None
    attrs = dict(call.attrs)
    total = _Total(str(attrs["op"]), dtype, bool(attrs["reverse"]), elements_of(dtype.itemsize, target))
    params = [("ptr", "scratch"), ("ptr", "out0"), ("ptr", "in0"), ("ptr", "in1"), *(("i64", f"s{d}") for d in range(5))]
    entry = Code(digest("running", total.key, y.strides, x.strides, first.strides), params)
    windows = (("ptr", "%out0"), ("ptr", "%in0"), ("ptr", "%in1"))
    steps = (("i64", y.strides[0]), ("i64", x.strides[0]), ("i64", first.strides[0]))
    if total.name == "mul" and is_float(dtype):
        codes = [_together(total)]
        entry.call(f"@{codes[0].name}", *windows, ("i64", "%s0"), ("i64", "%s1"), *steps)
        return tile(entry, codes, 0)
    codes = [_together(total), _alone(total)]
    lanes = total.v.lanes
    whole = entry.let(f"and i64 %s0, {-lanes}")
    entry.call(f"@{codes[0].name}", *windows, ("i64", whole), ("i64", "%s1"), *steps)
    with entry.loop("%s0", start=whole) as r:
        at = [
            ("ptr", entry.at(total.v.bits, base, entry.mul(r.index, step)))
            for (_, base), (_, step) in zip(windows, steps, strict=True)
        ]
        entry.call(f"@{codes[1].name}", *at, ("i64", 1), ("i64", "%s1"), *steps)
    return tile(entry, codes, 0)


def _together(t: _Total) -> Code:
    """Rows side by side, one in each lane; the last rows again where lanes are left."""
    code = Code(f"fdl_running_together_{t.key}", PARAMS)
    v = t.v
    with code.loop("%rows", step=v.lanes) as g:
        last = code.sub(code.sub("%rows", g.index), 1)
        numbers = [code.add(g.index, code.min(last, r)) for r in range(v.lanes)]
        sources = [code.at(v.bits, "%in", code.mul(r, "%in_step")) for r in numbers]
        targets = [code.at(v.bits, "%out", code.mul(r, "%out_step")) for r in numbers]
        start = "poison"
        for lane, r in enumerate(numbers):
            element = code.load(v.bits, code.at(v.bits, "%first", code.mul(r, "%first_step")))
            start = code.let(f"insertelement {v.memory} {start}, {v.bits} {element}, i64 {lane}")

        def block(total: str, first: str, count: str | None) -> str:
            """Columns from `first` on: a square block, or `count` of it; the totals after it."""
            columns = turned(code, v, [loaded(code, v, code.at(v.bits, p, first), count) for p in sources])
            found = [""] * v.lanes
            for c in reversed(range(v.lanes)) if t.reverse else range(v.lanes):
                after = t.combined(code, total, t.number(code, columns[c]))
                if count is not None and t.reverse:  # what is not there comes first, and changes nothing
                    there = code.compare("sgt", count, c)
                    after = code.let(f"select i1 {there}, {t.kind} {after}, {t.kind} {total}")
                found[c] = t.moved(code, after)
                total = after
            for x, p in zip(turned(code, v, found), targets, strict=True):
                stored(code, v, x, code.at(v.bits, p, first), count)
            return total

        _blocks(code, t, t.number(code, start), block)
    return code


def _alone(t: _Total) -> Code:
    """A row by itself."""
    code = Code(f"fdl_running_alone_{t.key}", PARAMS)
    v = t.v
    one = code.load(v.bits, "%first")
    start = code.let(f"insertelement {v.memory} poison, {v.bits} {one}, i64 0")
    start = t.shuffled(code, t.number(code, start), "poison", [0] * v.lanes)
    neutral = t.number(code, t.constant())

    def block(total: str, first: str, count: str | None) -> str:
        """As many elements as there are lanes, or `count` of them; the total after them in every lane."""
        bits = loaded(code, v, code.at(v.bits, "%in", first), count)
        if count is not None:
            bits = _only(code, v, bits, count, t.constant())
        x = t.number(code, bits)
        step = 1
        while step < v.lanes:
            lanes = range(v.lanes)
            picks = [min(i + step, v.lanes) for i in lanes] if t.reverse else [i - step if i >= step else v.lanes for i in lanes]
            x = t.combined(code, t.shuffled(code, x, neutral, picks), x)
            step *= 2
        stored(code, v, t.moved(code, t.combined(code, total, x)), code.at(v.bits, "%out", first), count)
        every = t.shuffled(code, x, "poison", [0 if t.reverse else v.lanes - 1] * v.lanes)
        return t.combined(code, total, every)

    _blocks(code, t, start, block)
    return code


def _only(code: Code, v: Elements, vector: str, count: str, other: str) -> str:
    """The first `count` lanes of a vector, and `other` in the rest."""
    numbers = ", ".join(f"i32 {i}" for i in range(v.lanes))
    kind = f"<{v.lanes} x i32>"
    one = code.let(f"insertelement {kind} poison, i32 {code.let(f'trunc i64 {count} to i32')}, i64 0")
    all_ = code.let(f"shufflevector {kind} {one}, {kind} poison, {kind} zeroinitializer")
    there = code.let(f"icmp slt {kind} <{numbers}>, {all_}")
    return code.let(f"select {v.mask} {there}, {v.memory} {vector}, {v.memory} {other}")


def _blocks(code: Code, t: _Total, start: str, block: _Block) -> None:
    """All blocks of a row of %n, in their order: what does not fill one is at the end of the row, or, in reverse, at its beginning."""
    lanes = t.v.lanes
    whole = code.let(f"and i64 %n, {-lanes}")
    rest = code.sub("%n", whole)
    with code.loop(whole, [(t.kind, start)], step=lanes) as c:
        first = code.sub(code.sub("%n", c.index), lanes) if t.reverse else c.index
        c.next = [block(c.values[0], first, None)]
    (total,) = c.results
    with code.when(code.compare("sgt", rest, 0)):
        block(total, "0" if t.reverse else whole, rest)
