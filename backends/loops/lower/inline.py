"""Programs without calls: `jit` equations replaced by the equations of their programs, and the slots of callbacks.

    y = jit[program={ lambda a. b = sin a; out b }] x   →   y' = sin x, and y is y' from there on

May be imported by: `lower/__init__.py`.
"""

from __future__ import annotations

from fdl.tracer.ir import Atom, Equation, Program, Variable, subprograms, substitute


def inlined(program: Program) -> Program:
    """`program` without `jit` equations; a program without any is returned as it is. Sub-programs of control flow stay as they are."""
    if not any(e.primitive.name == "jit" for e in program.equations):
        return program
    equations: list[Equation] = []
    env: dict[Variable, Atom] = {}
    _expand(program, env, equations, fresh=False)
    return Program(
        program.inputs, tuple(equations), substitute(program.outputs, env), program.constants, program.values, program.name
    )


def _expand(program: Program, env: dict[Variable, Atom], equations: list[Equation], fresh: bool) -> None:
    """Appends the equations of `program`, with variables replaced by `env`, and made anew where the program may come twice."""
    for e in program.equations:
        ins = substitute(e.inputs, env)
        if e.primitive.name == "jit":
            inner: Program = e.params["program"]
            local: dict[Variable, Atom] = dict(zip(inner.inputs, ins, strict=True))
            _expand(inner, local, equations, fresh=True)
            env.update(zip(e.outputs, substitute(inner.outputs, local), strict=True))
            continue
        outputs = e.outputs
        if fresh:
            outputs = tuple(Variable(v.type) for v in outputs)
            env.update(zip(e.outputs, outputs, strict=True))
        equations.append(Equation(outputs, e.primitive, ins, e.params, e.source, len(equations)))


def callback_equations(program: Program) -> list[Equation]:
    """The `callback` equations of a program, those of sub-programs included, in program order: their numbers are the slots."""
    found: list[Equation] = []
    seen: set[int] = set()

    def visit(p: Program) -> None:
        for e in p.equations:
            if id(e.params) in seen:
                continue
            seen.add(id(e.params))
            if e.primitive.name == "callback":
                found.append(e)
            for inner in subprograms(e.params):
                visit(inner)

    visit(program)
    return found
