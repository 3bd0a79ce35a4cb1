"""What a scalar operation costs: one table for all who decide by it.

Most operations are one instruction, and are not in the table.  The functions are polynomials of ten to fifty instructions, which vector
loops speed up like the rest; random words are the rounds of a cipher.

    again      to compute it once more for another consumer, in additions: `lower.uses`
    work       of an element when loops are cut for threads and vectors, in additions: `schedule`
    cycles     of an element outside a vector loop, of one core: `cost`
    is_long    whether it is a chain of dependent instructions, of which a register needs a part of its own: `llvm.vectorise`

How work is cut decides how sums are grouped: a change of `work` or `cycles` may change the last bits of results, once, for everybody.

May be imported by: lowering, scheduling, the backends.
"""

from __future__ import annotations

from typing import Final

from fdl.tracer.records import dataclass


@dataclass(frozen=True, slots=True)
class Weight:
    """The cost of an operation; by default that of an addition."""

    again: int = 1
    work: float = 1.0
    cycles: float = 1.0
    is_long: bool = False


WEIGHTS: Final[dict[str, Weight]] = {
    **dict.fromkeys("div sqrt rsqrt".split(), Weight(6, 5.0, 6.0)),
    "rem": Weight(6, 5.0, 24.0, True),
    "pow": Weight(6, 5.0, 32.0, True),
    "nextafter": Weight(20, 20.0),
    **dict.fromkeys("exp exp2 log logistic".split(), Weight(20, 20.0, 8.0, True)),
    **dict.fromkeys("expm1 log1p tanh sin cos erf sinh cosh".split(), Weight(20, 20.0, 12.0, True)),
    **dict.fromkeys("tan asin acos atan asinh acosh atanh atan2 cbrt erfc".split(), Weight(20, 20.0, 24.0, True)),
    **dict.fromkeys("erf_inv erf_inv_giles".split(), Weight(20, 20.0, 24.0, True)),
    **dict.fromkeys("threefry0 threefry1".split(), Weight(60, 90.0, 12.0, True)),
    **dict.fromkeys("threefry_bits32 threefry_bits64".split(), Weight(60, 90.0, 32.0, True)),
    "random_bits": Weight(60, 90.0, 32.0, True),
}
"""By the name of the operation, or of the primitive that becomes one."""

_PLAIN: Final = Weight()


def weight(name: str) -> Weight:
    """The cost of the operation of that name."""
    return WEIGHTS.get(name, _PLAIN)
