"""Sums and products as pairs of floats: the rounded result and what the rounding lost.

Sources: T. J. Dekker, "A floating-point technique for extending the available precision" (1971); D. E. Knuth, "The Art of
Computer Programming", vol. 2, 4.2.2.
"""

from __future__ import annotations

from typing import TypeAlias

from .lanes import Lanes

Pair: TypeAlias = tuple[str, str]


def quick_sum(f: Lanes, a: str, b: str) -> Pair:
    """a + b, for |a| >= |b| or a = 0."""
    total = f.add(a, b)
    return total, f.sub(b, f.sub(total, a))


def product(f: Lanes, a: str, b: str) -> Pair:
    """a * b. Without a fused multiply-add, operands must be below 2**(bias - mantissa)."""
    high = f.mul(a, b)
    if f.code.target.fma:
        return high, f.mad(a, b, f.neg(high))
    (a1, a2), (b1, b2) = _split(f, a), _split(f, b)
    low = f.sub(f.mul(a1, b1), high)
    low = f.add(f.add(low, f.mul(a1, b2)), f.mul(a2, b1))
    return high, f.add(low, f.mul(a2, b2))


def _split(f: Lanes, a: str) -> Pair:
    """`a` as a sum of two numbers of half the mantissa's width."""
    shifted = f.mul(a, f.const(2.0 ** ((f.mantissa + 2) // 2) + 1))
    high = f.sub(shifted, f.sub(shifted, a))
    return high, f.sub(a, high)
