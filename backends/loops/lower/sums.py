"""Contractions that are added to something: the second of two terms is accumulated onto the first, where that may be written over.

    g = dot x a; h = dot y b; i = add g h     →     i = dot x a; i += dot y b
    n = dot dy h; c' = add c n                →     c += dot dy h            c a carry of a loop, or any value that dies here

The product that is added is *deferred*: nothing is written where it stands; the sum writes it.  A contraction adds its terms in an order of
its own, so this changes no bit that the program has fixed.

May be imported by: `uses` and the builders of this package.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import field

from fdl.tracer.dtypes import bool_, float32, float64
from fdl.tracer.ir import Equation, Program, Variable
from fdl.tracer.records import dataclass

TINY = 512
"""Multiply-adds up to which a contraction is written as loops, which fuse."""


@dataclass(frozen=True, slots=True)
class Sum:
    """An addition of a product: the value that is added to, and the contraction."""

    base: Variable
    product: Equation
    number: int
    """Of the addition."""


@dataclass(slots=True)
class Sums:
    """The sums of a program."""

    made: dict[Variable, Sum] = field(default_factory=dict)
    """By the variable that is the sum."""
    deferred: dict[Variable, Sum] = field(default_factory=dict)
    """By the product that is written with it."""
    depth: dict[Variable, int] = field(default_factory=dict)
    """For the products of one sum, the depth of all of them together: they are cut alike, so that their panels may share a loop."""


def dot_sizes(e: Equation) -> tuple[int, int, int]:
    """The rows, columns and depth of a dot_general, for each element of its batch."""
    a, b = e.inputs
    contract, batch = e.params["contract"], e.params["batch"]
    rows, columns = (
        math.prod(n for i, n in enumerate(x.type.shape) if i not in c and i not in d)
        for x, c, d in zip((a, b), contract, batch, strict=True)
    )
    return rows, columns, math.prod(a.type.shape[i] for i in contract[0])


def is_kernel(e: Equation) -> bool:
    """Whether a dot_general is a tile kernel: it is neither empty nor so small that loops are better."""
    out = e.outputs[0].type
    sizes = dot_sizes(e)
    return out.size > 0 and out.ndim > 0 and out.dtype != bool_ and math.prod(sizes) > TINY and sizes[2] > 1


def sums(program: Program, consumers: Mapping[Variable, Sequence[tuple[Equation, int]]], owned: Collection[Variable]) -> Sums:
    """The sums of a program.

    Args:
        consumers: the equations that read each variable.
        owned: the inputs that may be written over when they are dead.
    """
    kept = {a for a in program.outputs if isinstance(a, Variable)}
    products: dict[Variable, Equation] = {}
    bases = {v for v in owned if v not in kept and consumers.get(v)}
    groups: dict[Variable, list[Variable]] = {}
    depths: dict[Variable, int] = {}
    found = Sums()
    for number, e in enumerate(program.equations):
        v = e.outputs[0] if len(e.outputs) == 1 else None
        if v is None or v.type.dtype not in (float32, float64):
            continue
        lone = len(consumers.get(v, ())) == 1 and v not in kept
        if e.primitive.name == "dot_general" and lone and is_kernel(e):
            products[v] = e
            bases.add(v)
            groups[v] = [v]
            depths[v] = dot_sizes(e)[2]
        elif e.primitive.name == "add":
            pair = _terms(e, products, bases, consumers)
            if pair is None:
                continue
            base, term = pair
            found.made[v] = found.deferred[term] = Sum(base, products.pop(term), number)
            products.pop(base, None)
            bases -= {base, term}
            groups[v] = groups.pop(base, []) + groups.pop(term)
            if lone:
                bases.add(v)
    for group in groups.values():
        depth = sum(depths[v] for v in group)
        found.depth |= dict.fromkeys(group, depth)
    return found


def _terms(
    e: Equation, products: Mapping[Variable, Equation], bases: Collection[Variable],
    consumers: Mapping[Variable, Sequence[tuple[Equation, int]]],
) -> tuple[Variable, Variable] | None:  # fmt: skip
    """(what is added to, the product that is added), or None where an addition is no such sum."""
    x, y = e.inputs
    if x is y or not isinstance(x, Variable) or not isinstance(y, Variable) or x.type.shape != y.type.shape:
        return None
    for base, term in ((x, y), (y, x)):
        if term in products and base in bases and base not in products[term].inputs and consumers[base][-1][0] is e:
            return base, term
    return None
