"""Vectors of elements that are moved as bits: loads and stores of whole vectors and of the ends of rows, and square blocks turned.

May be imported by: the tile emitters of this package.
"""

from __future__ import annotations

from collections.abc import Sequence

from fdl.backends.llvm.target import Target
from fdl.backends.llvm.tiles.micro import Simd, load, mask_below, store
from fdl.backends.llvm.tiles.pack import transposed
from fdl.backends.llvm.tiles.text import Code
from fdl.tracer.records import dataclass


@dataclass(frozen=True, slots=True)
class Elements:
    """Vectors of `lanes` elements of `size` (4 or 8) bytes, of the integer type `bits` each. `key` distinguishes helper functions."""

    key: str
    bits: str
    size: int
    lanes: int
    masked: bool

    @property
    def memory(self) -> str:
        """The vector type of what lies in memory."""
        return f"<{self.lanes} x {self.bits}>"

    @property
    def real(self) -> str:
        """The vector type of floats of the size."""
        return f"<{self.lanes} x {'float' if self.size == 4 else 'double'}>"

    @property
    def mask(self) -> str:
        return f"<{self.lanes} x i1>"

    @property
    def bytes(self) -> int:
        """The size of a vector."""
        return self.lanes * self.size

    @property
    def moves(self) -> Simd:
        """The same vectors as what loads, stores and transposes move."""
        element = {4: "float", 8: "double"}[self.size]
        return Simd(f"b{self.size}_{self.key}", element, self.size, self.lanes, False, self.masked, {})


def elements_of(size: int, target: Target) -> Elements:
    """The vectors of `target` for elements of so many bytes."""
    return Elements(f"b{size}_{target.name}", f"i{8 * size}", size, target.vector_bytes // size, target.masked)


def loaded(code: Code, v: Elements, address: str, count: str | None = None) -> str:
    """The vector at `address`, of type `memory`; with `count`, of the first so many elements (at least one), the others being anything."""
    if count is None:
        return code.load(v.memory, address, v.size)
    if v.masked:
        s = v.moves
        return code.let(f"bitcast {s.vector} {load(code, s, address, mask_below(code, s, count))} to {v.memory}")
    last = code.sub(count, 1)
    vector = "poison"
    for lane in range(v.lanes):
        element = code.load(v.bits, code.at(v.bits, address, code.max(code.min(last, lane), 0)))
        vector = code.let(f"insertelement {v.memory} {vector}, {v.bits} {element}, i64 {lane}")
    return vector


def stored(code: Code, v: Elements, vector: str, address: str, count: str | None = None) -> None:
    """Store a vector of type `memory`, or its first `count` elements."""
    if count is None:
        code.store(v.memory, vector, address, v.size)
    elif v.masked:
        s = v.moves
        store(code, s, code.let(f"bitcast {v.memory} {vector} to {s.vector}"), address, mask_below(code, s, count))
    else:
        for lane in range(v.lanes):
            with code.when(code.compare("sgt", count, lane)):
                code.store(v.bits, code.let(f"extractelement {v.memory} {vector}, i64 {lane}"), code.at(v.bits, address, lane))


def turned(code: Code, v: Elements, rows: Sequence[str]) -> list[str]:
    """The transpose of a square block of vectors of type `memory`."""
    s = v.moves
    moved = transposed(code, s, [code.let(f"bitcast {v.memory} {x} to {s.vector}") for x in rows])
    return [code.let(f"bitcast {s.vector} {x} to {v.memory}") for x in moved]
