"""Threefry-2x32 with 20 rounds, on vectors of counters.

Source: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence

from fdl.tracer import dtypes

from .ints import Ints
from .text import Code, vec

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA


def words(code: Code, lanes: int, args: Sequence[str]) -> tuple[str, str]:
    """The two output words for (k0, k1, hi, lo), each of u32 lanes.

    A key that is the same in every lane stays out of the loop: its schedule is computed once.
    """
    n = Ints(code, dtypes.uint32, lanes)
    k0, k1, x0, x1 = args
    keys = (k0, k1, n.two("xor", n.two("xor", k0, k1), n.const(PARITY)))
    x0, x1 = n.two("add", x0, k0), n.two("add", x1, k1)
    for group in range(5):
        for turn in ROTATIONS[group % 2]:
            x0 = n.two("add", x0, x1)
            x1 = n.two("xor", code.intrinsic("fshl", n.element, lanes, x1, x1, n.const(turn)), x0)
        x0 = n.two("add", x0, keys[(group + 1) % 3])
        x1 = n.two("add", x1, n.two("add", keys[(group + 2) % 3], n.const(group + 1)))
    return x0, x1


def emit(code: Code, name: str, lanes: int, args: Sequence[str]) -> str:
    """`threefry0`, `threefry1` (one word), `threefry_bits32` (their exclusive or), `threefry_bits64` (both, the first high)."""
    x0, x1 = words(code, lanes, args)
    if name == "threefry0":
        return x0
    if name == "threefry1":
        return x1
    if name == "threefry_bits32":
        return Ints(code, dtypes.uint32, lanes).two("xor", x0, x1)
    long = Ints(code, dtypes.uint64, lanes)
    narrow = vec("i32", lanes)
    high, low = (code.pure(f"zext {narrow} {x} to {long.type}", x) for x in (x0, x1))
    return long.two("or", long.two("shl", high, long.const(32)), low)
