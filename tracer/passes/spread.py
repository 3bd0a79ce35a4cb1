"""Loops over lanes that decide for themselves, as array operations where both branches are cheap and cannot go wrong.

    y = scan[n_carry=0, body=(x. c = gt x 0.0; y = cond[branches=(square, log)] c x)] xs
    →
    a = log xs; b = mul xs xs; c = gt xs 0.0; y = select c a b

A `vmap` of a `cond` is a loop over the lanes (`transforms.lanes`), so that a lane sees nothing of the branch that it did not take, in
derivatives neither.  When a program is compiled its derivatives have been taken: a NaN in what a `select` drops does no harm any
more.  So a loop that carries nothing, of elementwise equations without effects, runs on whole arrays, in SIMD and on several threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..effects import may_speculate
from ..ir import Equation, Literal, Program, evaluate, subprograms
from ..ops.elementwise import eq, ge, le, select
from ..primitive import Elementwise
from ..trace import bind, record, sourced
from ..transforms.call import inline_calls, jit_p
from ..transforms.cond import cond_p
from ..transforms.scan import scan_p
from ..transforms.vmap import batch_program

LARGEST = 64
"""The most equations that a lane may have, those of all its branches together."""
_FREE = frozenset({"broadcast", "reshape", "convert"})


def spread(program: Program) -> Program:
    """`program` with its cheap loops that carry nothing as array operations; those inside sub-programs stay."""

    def make() -> Program:
        if not any(_is_cheap_loop(e) for e in program.equations):
            return program
        equations = tuple(_spread(e) if _is_cheap_loop(e) else e for e in program.equations)
        return Program(program.inputs, equations, program.outputs, program.constants, program.values, program.name)

    result: Program = program.cached("spread", make)
    return result


def _is_cheap_loop(e: Equation) -> bool:
    p = e.params
    return e.primitive is scan_p and p["n_carry"] == 0 and p["length"] > 1 and 0 < _size(p["body"]) <= LARGEST


def _size(program: Program) -> float:
    """How many equations a lane has; infinite where one is not elementwise, or has effects."""

    def count() -> float:
        if not may_speculate(program.effects):
            return float("inf")
        total = 0.0
        for e in program.equations:
            if e.primitive is cond_p or e.primitive is jit_p:
                total += 1 + sum(_size(inner) for inner in subprograms(e.params))
            elif isinstance(e.primitive.lowering, Elementwise) or e.primitive.name in _FREE:
                total += 1
            else:
                return float("inf")
        return total

    result: float = program.cached("size_of_lane", count)
    return result


def _spread(e: Equation) -> Equation:
    p = e.params
    flags = (False,) * p["n_consts"] + (True,) * (len(e.inputs) - p["n_consts"])
    everything = (True,) * len(e.outputs)
    lane = _without_branches(p["body"])
    return e.replace(
        primitive=jit_p, params={"program": batch_program(lane, p["length"], flags, everything)[0], "name": lane.name}
    )


def _without_branches(program: Program) -> Program:
    """`program` with all branches computed, and the chosen one's values selected."""

    def make() -> Program:
        return record(lambda *args: _run(inline_calls(program), args), program.in_types, name=program.name)[0]

    result: Program = program.cached("without_branches", make)
    return result


def _run(program: Program, args: Sequence[Any]) -> list[Any]:
    def step(e: Equation, inputs: list[Any]) -> Sequence[Any]:
        values = [x.value if isinstance(x, Literal) else x for x in inputs]
        if e.primitive is cond_p:
            return _chosen(values[0], [_run(inline_calls(b), values[1:]) for b in e.params["branches"]])
        with sourced(e.source):
            out = bind(e.primitive, *values, **e.params)
        return out if e.primitive.multiple else (out,)

    return [x.value if isinstance(x, Literal) else x for x in evaluate(program, args, step)]


def _chosen(index: Any, cases: Sequence[list[Any]]) -> list[Any]:
    """The outputs of case `index`, which is clamped."""
    if len(cases) == 2:
        first = le(index, np.int32(0))
        return [select(first, x, y) for x, y in zip(*cases, strict=True)]
    outs = list(cases[0])
    for k, values in enumerate(cases[1:], 1):
        mine = (ge if k == len(cases) - 1 else eq)(index, np.int32(k))
        outs = [select(mine, x, y) for x, y in zip(values, outs, strict=True)]
    return outs
