"""Reverse mode, second half: a linear program is run backwards.

Each equation's transpose rule takes the cotangents of its outputs to those of its linear inputs; cotangents of a value that is
used several times add up, which is the multivariate chain rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from ..errors import DTypeError, MissingRuleError, at
from ..ir import Equation, Literal, Program, Variable
from ..primitive import Undefined, Zero
from ..trace import bind, sourced
from .jvp import instantiate, recorded, tangent_type
from .pieces import Pieces, is_piece

Rule: TypeAlias = Callable[..., Sequence[Any]]


def backward(program: Program, inputs: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
    """The cotangents of the `Undefined` inputs (Zero where nothing reaches one); `None` for the others.

    Args:
        program: linear in the inputs that are `Undefined`.
        inputs: a value or an `Undefined` for each input.
        cotangents: a value or Zero for each output.
    """
    known, linear = _forward(program, inputs)

    def value(a: Any) -> Any:
        return a.value if isinstance(a, Literal) else known.get(a)

    ct: dict[Variable, Pieces] = {}

    def give(a: Any, x: Any) -> None:
        if isinstance(a, Variable) and a not in known and x is not None and not isinstance(x, Zero):
            ct.setdefault(a, Pieces(a.type)).add(x)

    def settled(v: Variable) -> Any:
        return ct.pop(v).settled() if v in ct else None

    for a, x in zip(program.outputs, cotangents, strict=True):
        give(a, x)
    for e in reversed(linear):
        with sourced(e.source):
            outs = [settled(v) for v in e.outputs]
        if all(x is None for x in outs):
            continue
        if is_piece(e) and isinstance(e.inputs[0], Variable):
            ct.setdefault(e.inputs[0], Pieces(e.inputs[0].type)).add_piece(e.params["start"], outs[0])
            continue
        operands = [Undefined(a.type) if (x := value(a)) is None else x for a in e.inputs]
        rule = e.primitive.transpose
        if rule is None:
            try:
                e.primitive.rule("transpose")
            except MissingRuleError as error:
                raise MissingRuleError(f"{error}\n  at {e.source}") from None
        with sourced(e.source):
            results = _transposed(rule, e, outs, operands)
            for a, x in zip(e.inputs, results, strict=True):
                give(a, x)
    found = [settled(v) if isinstance(x, Undefined) else None for v, x in zip(program.inputs, inputs, strict=True)]
    return [
        Zero(tangent_type(v.type)) if isinstance(x, Undefined) and c is None else c
        for v, x, c in zip(program.inputs, inputs, found, strict=True)
    ]


def _transposed(rule: Rule, e: Equation, outs: list[Any], operands: list[Any]) -> Sequence[Any]:
    """What the equation's transpose rule gives for its operands."""
    try:
        if e.primitive.multiple:
            return rule([Zero(v.type) if x is None else x for v, x in zip(e.outputs, outs, strict=True)], *operands, **e.params)
        return rule(outs[0], *operands, **e.params)
    except DTypeError as error:
        if "Undefined(" not in str(error):  # the rule used an operand as a value: it is linear in one of them alone
            raise
        raise MissingRuleError(
            f"primitive {e.primitive.name!r} is not linear in its operands together.{at(e.source)}"
        ) from None


def transpose_program(
    program: Program, undefined: tuple[bool, ...], given: tuple[bool, ...], force: bool = False
) -> tuple[Program, tuple[bool, ...]]:
    """The program (*known inputs, *given cotangents) → (*cotangents that are not zero), and which of the undefined inputs get
    one.

    `given` marks the outputs that have a cotangent; with `force` every undefined input gets one.
    """

    def make() -> tuple[Program, tuple[bool, ...]]:
        moving: list[bool] = []

        def f(*args: Any) -> list[Any]:
            rest = iter(args)
            inputs = [Undefined(t) if u else next(rest) for t, u in zip(program.in_types, undefined, strict=True)]
            cts = [next(rest) if g else Zero(t) for t, g in zip(program.out_types, given, strict=True)]
            outs = [x for x, u in zip(backward(program, inputs, cts), undefined, strict=True) if u]
            moving[:] = [force or not isinstance(x, Zero) for x in outs]
            return [instantiate(x) for x, m in zip(outs, moving, strict=True) if m]

        known = [t for t, u in zip(program.in_types, undefined, strict=True) if not u]
        cts = [tangent_type(t) for t, g in zip(program.out_types, given, strict=True) if g]
        return recorded(f, [*known, *cts], f"transpose_{program.name}"), tuple(moving)

    return program.cached(("transpose", undefined, given, force), make)


# --- what is not linear in a linear program -------------------------------------------------------
# A linear program computes values on the way that are not linear: the number of a step, the time in an integrator. Run backwards,
# it needs them first.


def reached(program: Program, unknown: tuple[bool, ...]) -> tuple[bool, ...]:
    """Which outputs depend on the inputs that are marked as unknown."""

    def make() -> tuple[bool, ...]:
        found = {v for v, u in zip(program.inputs, unknown, strict=True) if u}
        for e in program.equations:
            flags = tuple(a in found if isinstance(a, Variable) else False for a in e.inputs)
            if any(flags):
                found.update(v for v, r in zip(e.outputs, _reached_by(e, flags), strict=True) if r)
        return tuple(isinstance(a, Variable) and a in found for a in program.outputs)

    flags: tuple[bool, ...] = program.cached(("reached", unknown), make)
    return flags


def known_outputs(program: Program, inputs: Sequence[Any]) -> list[Any]:
    """The outputs that `reached` does not mark, as values, and None in the others' places; nothing else is computed.

    Args:
        inputs: a value or an `Undefined` for each input.
    """
    known, _ = _forward(program, inputs)
    return [a.value if isinstance(a, Literal) else known.get(a) for a in program.outputs]


def _forward(program: Program, inputs: Sequence[Any]) -> tuple[dict[Variable, Any], list[Equation]]:
    """The values that do not depend on an `Undefined` input, and the equations in which others take part."""
    known: dict[Variable, Any] = dict(zip(program.constants, program.values, strict=True))
    known.update((v, x) for v, x in zip(program.inputs, inputs, strict=True) if not isinstance(x, Undefined))
    linear = []
    for e in program.equations:
        values = [a.value if isinstance(a, Literal) else known.get(a) for a in e.inputs]
        unknown = tuple([x is None for x in values])
        if not any(unknown):
            with sourced(e.source):
                out = bind(e.primitive, *values, **e.params)
            known.update(zip(e.outputs, out if e.primitive.multiple else (out,), strict=True))
            continue
        linear.append(e)
        if not all(_reached_by(e, unknown)):
            given = [Undefined(a.type) if x is None else x for a, x in zip(e.inputs, values, strict=True)]
            inner = _called(e)
            with sourced(e.source):
                found = e.primitive.known(given, **e.params) if inner is None else known_outputs(inner, given)
            known.update((v, x) for v, x in zip(e.outputs, found, strict=True) if x is not None)
    return known, linear


def _reached_by(e: Equation, unknown: tuple[bool, ...]) -> tuple[bool, ...]:
    """Which outputs of an equation depend on its unknown inputs, of which there is one."""
    inner = _called(e)
    if inner is not None:
        return reached(inner, unknown)
    flags: tuple[bool, ...] = (True,) * len(e.outputs) if e.primitive.reached is None else e.primitive.reached(unknown, **e.params)
    return flags


def _called(e: Equation) -> Program | None:
    """The program that an equation is a call of: `jit`, `checkpoint`, and functions with custom rules."""
    program = e.params.get("program")
    return program if isinstance(program, Program) else None
