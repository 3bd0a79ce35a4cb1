"""Fewer residuals: what is cheap to make again from other residuals is not kept.

    primal: s = logistic x; d = s * (1 - s); keeps s and d     →     keeps s; the linear part computes d again

A kept value costs a write and a read of memory in every step of a loop; an addition or a product costs next to nothing in the loop
that reads it.  Only what follows from residuals that stay is made again, so that nothing else has to be kept instead.

May be imported by: `linearize`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import Equation, Literal, Program, Variable

CHEAP = frozenset(
    "add sub mul neg abs sign max min select convert not and or xor eq ne lt le gt ge is_finite stop_gradient".split()
)
"""Elementwise primitives that cost less than reading an array."""
MOST = 4
"""The most equations that make one residual."""


def lean(primal: Program, linear: Program, sources: Sequence[int]) -> tuple[Program, Program, tuple[int, ...]]:
    """(primal, linear, sources) of a linearized program with fewer computed residuals; the same where none can be spared.

    Args:
        primal: `(*inputs) -> (*outputs, *computed residuals)`.
        linear: `(*residuals, *tangents) -> tangents`.
        sources: for each residual, the input i that it is (i ≥ 0), or -1 - j for the j-th computed one.
    """
    n_computed = sum(s < 0 for s in sources)
    n_outs = len(primal.outputs) - n_computed
    computed = primal.outputs[n_outs:]
    atoms = [primal.inputs[s] if s >= 0 else computed[-1 - s] for s in sources]
    made = {v: (k, e) for k, e in enumerate(primal.equations) for v in e.outputs}
    kept = {a for a in atoms if isinstance(a, Variable)}
    spared: set[Variable] = set()
    for a in sorted((a for a in kept if a in made), key=lambda a: -made[a][0]):
        if a.type.ndim and _derived(a, kept - {a}, made) is not None and _alone(a, atoms):
            kept.discard(a)
            spared.add(a)
    if not spared:
        return primal, linear, tuple(sources)
    again: dict[Variable, Equation] = {}
    for a in spared:
        again |= {v: e for e in _derived(a, kept | spared - {a}, made) or () for v in e.outputs}
    return (
        Program(
            primal.inputs,
            primal.equations,
            (*primal.outputs[:n_outs], *(a for a in computed if a not in spared)),
            name=primal.name,
        ),
        _recomputing(linear, atoms, again, spared, made),
        _renumbered(sources, computed, spared),
    )


def _alone(a: Variable, atoms: Sequence[object]) -> bool:
    return sum(b is a for b in atoms) == 1


def _derived(a: Variable, known: set[Variable], made: dict[Variable, tuple[int, Equation]]) -> list[Equation] | None:
    """The cheap equations that make `a` from `known`, or None where there are none, or too many."""
    found: dict[int, Equation] = {}
    todo = [a]
    while todo:
        v = todo.pop()
        if v not in made:
            return None
        k, e = made[v]
        if k in found:
            continue
        if e.primitive.name not in CHEAP or len(found) == MOST or e.effects:
            return None
        found[k] = e
        todo += [x for x in e.inputs if isinstance(x, Variable) and x not in known]
    return [found[k] for k in sorted(found)]


def _recomputing(
    linear: Program,
    atoms: Sequence[object],
    again: dict[Variable, Equation],
    spared: set[Variable],
    made: dict[Variable, tuple[int, Equation]],
) -> Program:
    """`linear` without the spared residuals among its inputs: it computes them first."""
    names: dict[object, Variable] = {}
    inputs = []
    for a, v in zip(atoms, linear.inputs, strict=False):
        names[a] = v
        if a not in spared:
            inputs.append(v)
    equations = []
    for e in sorted({id(e): e for e in again.values()}.values(), key=lambda e: made[e.outputs[0]][0]):
        for v in e.outputs:
            names.setdefault(v, Variable(v.type))
        ins = tuple(a if isinstance(a, Literal) else names[a] for a in e.inputs)
        equations.append(e.replace(outputs=tuple(names[v] for v in e.outputs), inputs=ins))
    rest = linear.inputs[len(atoms) :]
    return Program(
        (*inputs, *rest), (*equations, *linear.equations), linear.outputs, linear.constants, linear.values, linear.name
    )


def _renumbered(sources: Sequence[int], computed: Sequence[object], spared: set[Variable]) -> tuple[int, ...]:
    """The sources of the residuals that stay."""
    position: dict[int, int] = {}
    for j, a in enumerate(computed):
        if a not in spared:
            position[j] = len(position)
    return tuple(s if s >= 0 else -1 - position[-1 - s] for s in sources if s >= 0 or (-1 - s) in position)
