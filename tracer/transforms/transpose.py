"""Reverse mode, second half: a linear program is run backwards.

Each equation's transpose rule takes the cotangents of its outputs to those of its linear inputs; cotangents of a value that is used
several times add up, which is the multivariate chain rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import MissingRuleError
from ..ir import Literal, Program, Variable
from ..ops.elementwise import add_tangents
from ..primitive import Undefined, Zero
from ..trace import bind, record, sourced
from .jvp import instantiate, tangent_type


def backward(program: Program, inputs: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
    """The cotangents of the `Undefined` inputs (Zero where nothing reaches one); `None` for the others.

    Args:
        program: linear in the inputs that are `Undefined`.
        inputs: a value or an `Undefined` for each input.
        cotangents: a value or Zero for each output.
    """
    known: dict[Variable, Any] = {}
    for v, x in (*zip(program.inputs, inputs, strict=True), *zip(program.constants, program.values, strict=True)):
        if not isinstance(x, Undefined):
            known[v] = x

    def value(a: Any) -> Any:
        return a.value if isinstance(a, Literal) else known.get(a)

    linear = []
    for e in program.equations:
        values = [value(a) for a in e.inputs]
        if any(x is None for x in values):
            linear.append(e)
            continue
        out = bind(e.primitive, *values, **e.params)
        known.update(zip(e.outputs, out if e.primitive.multiple else (out,), strict=True))

    ct: dict[Variable, Any] = {}

    def give(a: Any, x: Any) -> None:
        if isinstance(a, Variable) and a not in known and x is not None and not isinstance(x, Zero):
            ct[a] = add_tangents(ct[a], x) if a in ct else x

    for a, x in zip(program.outputs, cotangents, strict=True):
        give(a, x)
    for e in reversed(linear):
        outs = [ct.pop(v, None) for v in e.outputs]
        if all(x is None for x in outs):
            continue
        operands = [Undefined(a.type) if (x := value(a)) is None else x for a in e.inputs]
        rule = e.primitive.transpose
        if rule is None:
            try:
                e.primitive.rule("transpose")
            except MissingRuleError as error:
                raise MissingRuleError(f"{error}\n  at {e.source}") from None
        with sourced(e.source):
            if e.primitive.multiple:
                cts = [Zero(v.type) if x is None else x for v, x in zip(e.outputs, outs, strict=True)]
                results = rule(cts, *operands, **e.params)
            else:
                results = rule(outs[0], *operands, **e.params)
            for a, x in zip(e.inputs, results, strict=True):
                give(a, x)
    return [
        ct.get(v, Zero(tangent_type(v.type))) if isinstance(x, Undefined) else None
        for v, x in zip(program.inputs, inputs, strict=True)
    ]


def transpose_program(
    program: Program, undefined: tuple[bool, ...], given: tuple[bool, ...], force: bool = False
) -> tuple[Program, tuple[bool, ...]]:
    """The program (*known inputs, *given cotangents) → (*cotangents that are not zero), and which of the undefined inputs get one.

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
        result, captured = record(f, [*known, *cts], name=f"transpose_{program.name}")
        assert not captured
        return result, tuple(moving)

    return program.cached(("transpose", undefined, given, force), make)


Rule = Callable[..., Any]
