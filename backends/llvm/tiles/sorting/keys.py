"""How the elements of a dtype are compared in vector registers: what they become, and how they come back.

A sort by comparing and exchanging needs two instructions for each pair of vectors, a minimum and a maximum.  Integers have them on
every wide target.  float32 goes as integers too, by a one-to-one map of its bits that keeps the order: x86 takes the minima of twice as
many integers at once as of floats.  float64 stays what it is, since 64-bit integers have no minimum before AVX-512.

A NaN becomes the largest key, and zeros of either sign count as they fall: a row that has a NaN or a -0 is *marked*, and put right after it
is sorted (`rows.repair`).

May be imported by: the sorting kernels.
"""

from __future__ import annotations

from collections.abc import Sequence

from fdl.backends.llvm.target import Target
from fdl.backends.llvm.tiles.elements import Elements
from fdl.backends.llvm.tiles.text import Code
from fdl.tracer.dtypes import SHORT, DType, is_float
from fdl.tracer.records import dataclass

BLOCK = {"avx512": 16, "neon": 16, "avx2": 8, "sse2": 8}
"""Vectors that are sorted in registers at a time: half of the registers that there are."""


@dataclass(frozen=True, slots=True)
class Keys(Elements):
    """Vectors of keys: `element` is their LLVM type, `bits` that of the same size in memory.

    `block` vectors are held in registers at a time; `marked` is whether a row may be marked.
    """

    element: str
    block: int
    signed: bool
    floating: bool
    marked: bool

    @property
    def vector(self) -> str:
        return f"<{self.lanes} x {self.element}>"

    @property
    def last(self) -> str:
        """The largest key: nothing sorts after it."""
        if self.element != self.bits:
            return "0x7FF0000000000000"
        width = 8 * self.size
        return str((1 << (width - 1)) - 1 if self.signed else -1)


def keys_of(dtype: DType, target: Target, *, plain: bool = False) -> Keys | None:
    """The keys of `dtype` (4- and 8-byte numbers), None for other types; `plain` floats are never NaN or -0."""
    if dtype.kind not in "iuf" or dtype.itemsize not in (4, 8):
        return None
    floating = is_float(dtype)
    size = dtype.itemsize
    as_floats = floating and (size == 8 or target.name == "sse2")
    bits = f"i{8 * size}"
    element = ({4: "float", 8: "double"}[size]) if as_floats else bits
    lanes, block = target.vector_bytes // size, BLOCK[target.name]
    key = f"{SHORT[dtype]}{'_plain' * (floating and plain)}_{target.name}"
    return Keys(key, bits, size, lanes, target.masked, element, block, dtype.kind != "u", floating, floating and not plain)


# --- vectors of keys --------------------------------------------------------------------------------


def exchange(code: Code, k: Keys, a: str, b: str) -> tuple[str, str]:
    """(the smaller, the larger), lane by lane."""
    if k.element == k.bits:
        sign, suffix = ("s" if k.signed else "u"), f"v{k.lanes}{k.element}"
        found = []
        for which in ("min", "max"):
            symbol = f"@llvm.{sign}{which}.{suffix}"
            code.declare(f"{k.vector} {symbol}({k.vector}, {k.vector})")
            found.append(code.let(f"call {k.vector} {symbol}({k.vector} {a}, {k.vector} {b})"))
        return found[0], found[1]
    # As `min` and `max` of x86 do it; of two zeros both stay.
    below = code.let(f"fcmp olt {k.vector} {a}, {b}")
    low = code.let(f"select {k.mask} {below}, {k.vector} {a}, {k.vector} {b}")
    high = code.let(f"select {k.mask} {below}, {k.vector} {b}, {k.vector} {a}")
    return low, high


def run(code: Code, k: Keys, pairs: Sequence[tuple[int, int]], vectors: list[str]) -> None:
    """Exchange pairs of `vectors`, in order: the smaller one goes to the first place."""
    for i, j in pairs:
        vectors[i], vectors[j] = exchange(code, k, vectors[i], vectors[j])


def splat(k: Keys, literal: str) -> str:
    """A constant in every lane."""
    return f"splat ({k.element} {literal})"


def encoded(code: Code, k: Keys, x: str) -> tuple[str, str | None]:
    """The keys of a vector of elements (of type `memory`), and which lanes mark their row; None where none can."""
    if not k.floating:
        return x, None
    real, width = code.let(f"bitcast {k.memory} {x} to {k.real}"), 8 * k.size
    value = real if k.element != k.bits else _flipped(code, k.memory, k.bits, width, x)
    if not k.marked:
        return value, None
    nan = code.let(f"fcmp uno {k.real} {real}, {real}")
    negative_zero = code.let(f"icmp eq {k.memory} {x}, splat ({k.bits} {-(1 << (width - 1))})")
    key = code.let(f"select {k.mask} {nan}, {k.vector} {splat(k, k.last)}, {k.vector} {value}")
    return key, code.let(f"or {k.mask} {nan}, {negative_zero}")


def decoded(code: Code, k: Keys, key: str) -> str:
    """The elements (of type `memory`) of a vector of keys."""
    if k.element != k.bits:
        return code.let(f"bitcast {k.vector} {key} to {k.memory}")
    return _flipped(code, k.memory, k.bits, 8 * k.size, key) if k.floating else key


def encoded_bits(code: Code, k: Keys, bits: str) -> str:
    """The bits of the key of one element, given its bits; those of any element, NaN and zeros too, come back by `decoded`."""
    if k.floating and k.element == k.bits:
        return _flipped(code, k.bits, k.bits, 8 * k.size, bits)
    return bits


def _flipped(code: Code, kind: str, bits: str, width: int, x: str) -> str:
    """The integers in the order of the floats with bits `x`: all bits but the sign of negative ones flipped. Its own inverse."""
    def all_(n: int) -> str:
        return f"splat ({bits} {n})" if kind != bits else str(n)

    sign = code.let(f"ashr {kind} {x}, {all_(width - 1)}")
    return code.let(f"xor {kind} {x}, {code.let(f'lshr {kind} {sign}, {all_(1)}')}")
