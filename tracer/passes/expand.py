"""Expansion: a program that computes the same, in which what only transforms ask for is gone.

    b: f32[] = custom_jvp[closed=0, program=program f(a: f32[]) {...}, rule=@f_jvp] a
    c: f32[3] = name[name="hidden"] x
    →
    b: f32[] = jit[name="f", program=program f(a: f32[]) {...}] a
    (c is x)

Code that is compiled, and the key under which it is kept, come from the expanded program: two functions that differ in their
derivatives alone are one executable, and a rule that is made anew at each call compiles nothing.
"""

from __future__ import annotations

from ..ir import Atom, Equation, Program, Variable, map_subprograms, subprograms, substitute
from ..ops.barrier import name_p
from ..primitive import Call
from ..transforms.call import jit_p


def expand(program: Program) -> Program:
    """`program` with plain calls in place of custom rules, checkpoints and implicit solves, and without names, sub-programs included."""

    def make() -> Program:
        return _expanded(program) if _concerned(program) else program

    return program.cached("expanded", make)


def _concerned(program: Program) -> bool:
    return any(
        isinstance(e.primitive.lowering, Call)
        or e.primitive is name_p
        or any(expand(p) is not p for p in subprograms(e.params))
        for e in program.equations
    )


def _expanded(program: Program) -> Program:
    env: dict[Variable, Atom] = {}
    equations: list[Equation] = []
    for e in program.equations:
        inputs = substitute(e.inputs, env)
        if e.primitive is name_p:
            env[e.outputs[0]] = inputs[0]
            continue
        params, primitive = e.params, e.primitive
        lowering = primitive.lowering
        if isinstance(lowering, Call):
            callee = lowering.callee(params, [a.type for a in inputs]) if lowering.typed else lowering.callee(params)
            inputs, params, primitive = (
                tuple(lowering.operands(inputs, params)),
                {"program": callee, "name": callee.name},
                jit_p,
            )
        if subprograms(params):
            params = map_subprograms(params, expand)
        equations.append(e.replace(primitive=primitive, inputs=inputs, params=params))
    outputs = substitute(program.outputs, env)
    return Program(program.inputs, tuple(equations), outputs, program.constants, program.values, program.name)
