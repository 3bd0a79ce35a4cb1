"""Simplification: a table of local rewrites, common-subexpression and dead-code elimination, in one walk over the equations.

    c: f32[3] = broadcast[axes=(), shape=(3,)] 2.0:f32        d: f32[3] = mul a 2.0:f32
    d: f32[3] = mul a c                                 →     return d
    e: f32[3] = mul a c
    f: f32[3] = stop_gradient e
    return f

Equations with I/O stay, in order.  An equation that may fail may be removed when nothing needs it, never moved.
Every rule keeps the value's bits: `x + 0` is left alone, since -0 + 0 = 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from ..effects import may_merge, may_remove
from ..ir import (
    Atom,
    Equation,
    Literal,
    Program,
    Variable,
    freeze,
    map_subprograms,
    substitute,
)
from ..ops.barrier import barrier_p
from ..primitive import Elementwise
from .expand import expand
from .spread import spread


class Definitions(dict[Variable, Equation]):
    """The equation that makes each variable so far, and in `uses` how often the original program reads each."""

    def __init__(self, uses: Counter[Variable]) -> None:
        super().__init__()
        self.uses = uses


Rule: TypeAlias = Callable[[Equation, Definitions], "Atom | Equation | None"]


def _is(a: Atom, value: float) -> bool:
    """Whether `a` is the real number `value`. Complex numbers have no neutral element: a product by 1 adds 0 to each part."""
    return isinstance(a, Literal) and a.type.dtype.kind != "c" and a.value == value


def _same(a: Atom, e: Equation) -> Atom | None:
    """`a` where it has the very type of the equation's output."""
    return a if a.type == e.outputs[0].type else None


def _mul(e: Equation, _: Definitions) -> Atom | None:
    x, y = e.inputs
    return _same(x, e) if _is(y, 1) else _same(y, e) if _is(x, 1) else None


def _sub_zero(e: Equation, _: Definitions) -> Atom | None:
    x, y = e.inputs
    # -0 - (-0) is 0.
    return _same(x, e) if isinstance(y, Literal) and _is(y, 0) and not np.signbit(y.value.astype(np.float64)) else None


def _div_one(e: Equation, _: Definitions) -> Atom | None:
    return _same(e.inputs[0], e) if _is(e.inputs[1], 1) else None


def _identity(e: Equation, _: Definitions) -> Atom | None:
    return _same(e.inputs[0], e)


def _neg_neg(e: Equation, made: Definitions) -> Atom | None:
    inner = made.get(e.inputs[0]) if isinstance(e.inputs[0], Variable) else None
    return _same(inner.inputs[0], e) if inner is not None and inner.primitive.name == "neg" else None


def _transpose(e: Equation, made: Definitions) -> Atom | Equation | None:
    order = e.params["permutation"]
    if order == tuple(range(len(order))):
        return _same(e.inputs[0], e)
    inner = made.get(e.inputs[0]) if isinstance(e.inputs[0], Variable) else None
    if inner is not None and inner.primitive.name == "dot_general":
        return _swapped_dot(e, inner, made)
    if inner is None or inner.primitive.name != "transpose":
        return None
    joined = tuple(inner.params["permutation"][i] for i in order)
    if joined == tuple(range(len(joined))):
        return _same(inner.inputs[0], e)
    return e.replace(inputs=inner.inputs, params={"permutation": joined})


def _swapped_dot(e: Equation, dot: Equation, made: Definitions) -> Equation | None:
    """A product that is only read transposed, free axes exchanged, is the product of the exchanged operands.

    c: f32[8,3] = dot_general[contract=((0,), (0,))] a b        →     d: f32[3,8] = dot_general[contract=((0,), (0,))] b a
    d: f32[3,8] = transpose[permutation=(1, 0)] c
    """
    (ca, cb), (ba, bb) = dot.params["contract"], dot.params["batch"]
    a, b = dot.inputs
    n, fa = len(ba), a.type.ndim - len(ca) - len(ba)
    rank = dot.outputs[0].type.ndim
    if e.params["permutation"] != (*range(n), *range(n + fa, rank), *range(n, n + fa)) or made.uses[dot.outputs[0]] != 1:
        return None
    return e.replace(primitive=dot.primitive, inputs=(b, a), params={"contract": (cb, ca), "batch": (bb, ba)})


def _reshape(e: Equation, made: Definitions) -> Atom | Equation | None:
    if e.inputs[0].type == e.outputs[0].type:
        return e.inputs[0]
    inner = made.get(e.inputs[0]) if isinstance(e.inputs[0], Variable) else None
    if inner is not None and inner.primitive.name == "reshape":
        return e.replace(inputs=inner.inputs)
    return None


def _select(e: Equation, _: Definitions) -> Atom | None:
    p, x, y = e.inputs
    if isinstance(p, Literal):
        return _same(x if p.value else y, e)
    return _same(x, e) if x is y else None


RULES: dict[str, Rule] = {
    "mul": _mul,
    "sub": _sub_zero,
    "div": _div_one,
    "neg": _neg_neg,
    "convert": _identity,
    "broadcast": _identity,
    "stop_gradient": _identity,
    "transpose": _transpose,
    "reshape": _reshape,
    "select": _select,
    "reduce_sum": lambda e, _: _same(e.inputs[0], e) if not e.params["axes"] else None,
}
"""Primitive name → rewrite: an atom that has the value, a better equation, or None."""


def simplify(program: Program) -> Program:
    """An equal program with fewer equations. Sub-programs are simplified too."""

    def make() -> Program:
        return _eliminate(_rewrite(spread(expand(program))))

    return program.cached("simplified", make)


def _splat_source(a: Atom, made: Definitions) -> Atom | None:
    """The 0-d atom that `a` repeats, where it is a broadcast of one."""
    inner = made.get(a) if isinstance(a, Variable) else None
    if inner is not None and inner.primitive.name == "broadcast" and inner.inputs[0].type.shape == ():
        return inner.inputs[0]
    return None


def _without_splats(e: Equation, made: Definitions) -> Equation:
    """Elementwise operands that repeat one value become that value, while another operand still has the shape."""
    inputs = list(e.inputs)
    for i, a in enumerate(inputs):
        source = _splat_source(a, made)
        rest = [x for j, x in enumerate(inputs) if j != i]
        if source is not None and any(x.type.shape == e.outputs[0].type.shape for x in rest):
            inputs[i] = source
    return e.replace(inputs=tuple(inputs)) if inputs != list(e.inputs) else e


def _rewrite(p: Program) -> Program:
    env: dict[Variable, Atom] = {}
    read = [a for e in p.equations for a in e.inputs] + list(p.outputs)
    made = Definitions(Counter(a for a in read if isinstance(a, Variable)))
    seen: dict[Any, tuple[Variable, ...]] = {}
    out: list[Equation] = []
    for e in p.equations:
        e = e.replace(inputs=substitute(e.inputs, env))
        if any(isinstance(v, (Program, tuple)) for v in e.params.values()) and e.primitive.name != "callback":
            e = e.replace(params=map_subprograms(e.params, simplify))
        if isinstance(e.primitive.lowering, Elementwise) and len(e.inputs) > 1:
            e = _without_splats(e, made)
        rule = RULES.get(e.primitive.name)
        while rule is not None:
            found = rule(e, made)
            if found is None:
                break
            if isinstance(found, Equation):
                e, rule = found, RULES.get(found.primitive.name)
                continue
            env[e.outputs[0]] = found
            break
        if len(e.outputs) == 1 and e.outputs[0] in env:
            continue
        if may_merge(e.effects) and e.primitive is not barrier_p:
            key = _key(e)
            if key is not None:
                known = seen.get(key)
                if known is not None:
                    env.update(zip(e.outputs, known, strict=True))
                    continue
                seen[key] = e.outputs
        out.append(e)
        made.update((v, e) for v in e.outputs)
    return Program(p.inputs, tuple(out), substitute(p.outputs, env), p.constants, p.values, p.name)


def _key(e: Equation) -> Any:
    atoms = tuple(("lit", a.value.tobytes(), a.type) if isinstance(a, Literal) else a for a in e.inputs)
    try:
        key = (e.primitive.name, atoms, freeze(e.params))
        hash(key)
    except TypeError:
        return None
    return key


def _eliminate(p: Program) -> Program:
    needed = {a for a in p.outputs if isinstance(a, Variable)}
    kept: list[Equation] = []
    for e in reversed(p.equations):
        if any(v in needed for v in e.outputs) or not may_remove(e.effects):
            kept.append(e)
            needed.update(a for a in e.inputs if isinstance(a, Variable))
    return Program(p.inputs, tuple(reversed(kept)), p.outputs, p.constants, p.values, p.name)
