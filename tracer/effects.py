"""The table of effects: what passes and transforms may do with an equation, by what it does besides giving its outputs.

An equation has a set of effects (`Equation.effects`, those of its sub-programs included); an action is allowed when every one of
them allows it.  An equation without effects is a pure function of its inputs, a `pure_callback` too: all is allowed.

    effect          remove   merge   repeat   speculate   reorder
    (none)          yes      yes     yes      yes         yes
    may_fail        yes      yes     yes      no          no
    unordered_io    no       no      no       no          yes
    ordered_io      no       no      no       no          no

Who asks: `trace.prune` and `simplify` before they remove what nothing reads; `simplify` before two equal equations become one;
`transforms.replay` before an equation is computed again (the tangent loop of a `while`); `transforms.lanes` before a lane runs
what it did not choose; loops keep all that may fail or calls back in the program's order (`backends.loops.fuse`).

May be imported by: everything after `ir`.
"""

from __future__ import annotations

from collections.abc import Iterable

from .ir import MAY_FAIL, ORDERED_IO, UNORDERED_IO, Effect
from .records import dataclass


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may be done with an equation that has an effect."""

    remove: bool
    """It may go when nothing reads its outputs."""
    merge: bool
    """Of two equal ones the later may go, and take the outputs of the earlier."""
    repeat: bool
    """It may run again where a value is needed again."""
    speculate: bool
    """It may run where the program would not have run it: outside its branch or loop, for a lane that did not choose it."""
    reorder: bool
    """It may change places with another one that has the effect."""


PURE = Allowed(remove=True, merge=True, repeat=True, speculate=True, reorder=True)
"""What an equation without effects allows."""

EFFECTS: dict[Effect, Allowed] = {
    MAY_FAIL: Allowed(remove=True, merge=True, repeat=True, speculate=False, reorder=False),
    UNORDERED_IO: Allowed(remove=False, merge=False, repeat=False, speculate=False, reorder=True),
    ORDERED_IO: Allowed(remove=False, merge=False, repeat=False, speculate=False, reorder=False),
}
"""Effect → what it allows."""


def may_remove(effects: Iterable[Effect]) -> bool:
    """Whether an equation with these effects may go when nothing reads its outputs.

    Example:
        >>> may_remove({"may_fail"}), may_remove({"may_fail", "unordered_io"})
        (True, False)
    """
    return all(EFFECTS[e].remove for e in effects)


def may_merge(effects: Iterable[Effect]) -> bool:
    """Whether of two equal equations with these effects the later one may take the outputs of the earlier."""
    return all(EFFECTS[e].merge for e in effects)


def may_repeat(effects: Iterable[Effect]) -> bool:
    """Whether an equation with these effects may run again."""
    return all(EFFECTS[e].repeat for e in effects)


def may_speculate(effects: Iterable[Effect]) -> bool:
    """Whether an equation with these effects may run where the program would not have run it."""
    return all(EFFECTS[e].speculate for e in effects)
