"""Programs without calls: `jit` equations replaced by the equations of their programs, and the slots of callbacks.

    y = jit[program={ lambda a. b = sin a; out b }] x   →   y' = sin x, and y is y' from there on
    c, d = barrier a b                                  →   c is a, d is b

Barriers go here, where no pass that merges equations follows; loops keep the order of the equations, so that what a barrier holds back
stays back.

May be imported by: `lower/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fdl.backends import fourier, lapack
from fdl.tracer.ir import Atom, Equation, Program, Variable, subprograms, substitute
from fdl.tracer.ops.interleaved import interleaving
from fdl.tracer.primitive import Named

ROUTINES = frozenset({"cholesky", "lu", "triangular_solve", "lu_solve", "qr", "eigh", "svd", "eig"})
"""The primitives that LAPACK computes: see `lapack`."""


def inlined(program: Program) -> Program:
    """`program` without calls and barriers; a program without any is returned as it is. Sub-programs of control flow stay as they are."""
    if not any(e.primitive.name in ("jit", "barrier") for e in program.equations):
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
        if e.primitive.name == "barrier":
            env.update(zip(e.outputs, ins, strict=True))
            continue
        outputs = e.outputs
        if fresh:
            outputs = tuple(Variable(v.type) for v in outputs)
            env.update(zip(e.outputs, outputs, strict=True))
        equations.append(Equation(outputs, e.primitive, ins, e.params, e.source, len(equations)))


def runs_on_host(e: Equation, target: str = "cpu") -> bool:
    """Whether compiled code calls back for an equation: a `callback`, or a primitive that has no code of its own here."""
    low = e.primitive.lowering
    if not isinstance(low, Named):
        return False
    if low.builder == "lapack":
        return target != "cpu" or not has_routine(e)
    return low.builder in ("callback", "host")


def has_routine(e: Equation) -> bool:
    """Whether LAPACK is there, and computes what an equation of the linear-algebra primitives does."""
    return e.params.get("operation", e.primitive.name) in ROUTINES and lapack.available()


def host_function(e: Equation, threads: int = 1) -> Callable[..., Sequence[Any]]:
    """What a callback's equation calls, on arrays: a function that returns a sequence of arrays, and may use so many threads."""
    if e.primitive.name == "callback":
        function: Callable[..., Sequence[Any]] = e.params["function"]
        return function
    primitive, params = e.primitive, e.params
    if params.get("operation") == "fft" and e.outputs[0].type.size:
        return lambda x: interleaving(fourier.transform, x, **params, threads=threads)
    if primitive.multiple:
        return lambda *xs: primitive.reference(*xs, **params)
    return lambda *xs: (primitive.reference(*xs, **params),)


def callback_equations(program: Program, target: str = "cpu") -> list[Equation]:
    """The equations of a program that call back, those of sub-programs included, in program order: their numbers are the slots."""
    found: list[Equation] = []
    seen: set[int] = set()

    def visit(p: Program) -> None:
        for e in p.equations:
            if id(e.params) in seen:
                continue
            seen.add(id(e.params))
            if runs_on_host(e, target):
                found.append(e)
            for inner in subprograms(e.params):
                visit(inner)

    visit(program)
    return found
