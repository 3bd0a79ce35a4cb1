"""The checker: whether a program keeps the invariants of the IR."""

from __future__ import annotations

from .errors import InvalidProgramError
from .ir import Literal, Program, Variable, subprograms, type_of
from .trace import infer


def check_program(p: Program) -> None:
    """Raises InvalidProgramError where `p` breaks an invariant: naming, order of use, types, constants of sub-programs."""
    _check(p, top=True)


def _check(p: Program, top: bool) -> None:
    def fail(what: str) -> InvalidProgramError:
        return InvalidProgramError(f"program {p.name}: {what}")

    bound: set[Variable] = set()

    def bind(v: Variable, where: str) -> None:
        if v in bound:
            raise fail(f"{v} is bound twice, again by {where}")
        bound.add(v)

    if p.constants and not top:
        raise fail("a sub-program has constants; closed-over values must be inputs")
    if p.values and len(p.values) != len(p.constants):
        raise fail(f"{len(p.constants)} constants but {len(p.values)} values")
    for v, x in zip(p.constants, p.values, strict=False):
        if type_of(x).strong() != v.type.strong():
            raise fail(f"constant {v} has a value of type {type_of(x)}")
    for v in (*p.inputs, *p.constants):
        bind(v, "the inputs")
    for e in p.equations:
        for a in e.inputs:
            if not isinstance(a, Literal) and a not in bound:
                raise fail(f"{e.primitive.name} reads {a} before it is bound")
        for inner in subprograms(e.params):
            _check(inner, top=False)
        try:
            types = infer(e.primitive, [a.type for a in e.inputs], e.params)
        except Exception as error:  # parameters of a program written by hand may be anything
            raise fail(f"{e.primitive.name}: {error}") from error
        given = [v.type for v in e.outputs]
        if types != given:
            raise fail(
                f"{e.primitive.name} gives {', '.join(map(str, types))}, but its outputs are {', '.join(map(str, given))}"
            )
        for v in e.outputs:
            bind(v, e.primitive.name)
    for a in p.outputs:
        if not isinstance(a, Literal) and a not in bound:
            raise fail(f"returns {a}, which is not bound")
