"""Vectors whose lanes come from several others: channels next to each other, and each by itself.

    interleaved([r, g, b])   r0 g0 b0 r1 | g1 b1 r2 g2 | b2 r3 g3 b3        `separated` goes back

May be imported by: the tile emitters of convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence

from fdl.backends.llvm.tiles.micro import Simd
from fdl.backends.llvm.tiles.text import Code


def picked(code: Code, s: Simd, picks: Sequence[tuple[str, int]]) -> str:
    """The vector whose lanes are those (vector, lane)."""
    sources = list(dict.fromkeys(v for v, _ in picks))
    first, second = sources[0], sources[1] if len(sources) > 1 else "poison"
    lanes = {first: 0, second: s.lanes}
    mask = ", ".join(f"i32 {lanes[v] + i}" if v in lanes else "i32 poison" for v, i in picks)
    kind = f"<{s.lanes} x i32>"
    out = code.let(f"shufflevector {s.vector} {first}, {s.vector} {second}, {kind} <{mask}>")
    for source in sources[2:]:
        mask = ", ".join(f"i32 {s.lanes + i}" if v == source else f"i32 {lane}" for lane, (v, i) in enumerate(picks))
        out = code.let(f"shufflevector {s.vector} {out}, {s.vector} {source}, {kind} <{mask}>")
    return out


def interleaved(code: Code, s: Simd, vectors: Sequence[str]) -> list[str]:
    """As many vectors, whose elements are lane 0 of all, then lane 1 of all, and so on. Pairs first: it takes fewer shuffles."""
    n, half = s.lanes, s.lanes // 2
    where: dict[tuple[int, int], tuple[str, int]] = {}
    for k in range(0, len(vectors) - 1, 2):
        pair = (vectors[k], vectors[k + 1])
        for start in (0, half):
            lanes = range(start, start + half)
            mixed = picked(code, s, [(v, i) for i in lanes for v in pair])
            where |= {(i, k + j): (mixed, 2 * (i - start) + j) for i in lanes for j in (0, 1)}
    if len(vectors) % 2:
        where |= {(i, len(vectors) - 1): (vectors[-1], i) for i in range(n)}
    order = [where[i, k] for i in range(n) for k in range(len(vectors))]
    return [picked(code, s, order[v * n : (v + 1) * n]) for v in range(len(vectors))]


def separated(code: Code, s: Simd, vectors: Sequence[str]) -> list[str]:
    """The vectors that `interleaved` makes these of."""
    n, many = s.lanes, len(vectors)
    return [picked(code, s, [(vectors[(i * many + k) // n], (i * many + k) % n) for i in range(n)]) for k in range(many)]
