"""`jit`: a primitive that holds a program, which is compiled when it runs and stays a call under every transform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir import Equation, Literal, Program, Type, evaluate
from ..ops.elementwise import move_axis
from ..primitive import Named, Primitive, Undefined, Zero, run_program
from ..trace import ProgramTrace, bind, sourced
from .jvp import jvp_program, opened, recorded, tangent_type
from .linearize import linearize_program
from .transpose import transpose_program
from .vmap import batch_program


def check_operands(what: str, program: Program, types: Sequence[Type]) -> None:
    """Asserts that a program is applied to inputs of its own types (weakness aside)."""
    given, expected = [t.strong() for t in types], [t.strong() for t in program.in_types]
    assert given == expected, f"{what}: {program.name} takes {expected}, got {given}"


def _abstract(*types: Type, program: Program, name: str) -> tuple[Type, ...]:
    check_operands("jit", program, types)
    return program.out_types


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, program: Program, name: str) -> tuple[list[Any], list[Any]]:
    moving = tuple(not isinstance(t, Zero) for t in tangents)
    forward, out_moving = jvp_program(program, moving)
    forward, consts = opened(forward)
    outs = bind(jit_p, *consts, *primals, *(t for t in tangents if not isinstance(t, Zero)), program=forward, name=name)
    n = len(program.outputs)
    rest = iter(outs[n:])
    return outs[:n], [next(rest) if m else Zero(t) for m, t in zip(out_moving, program.out_types, strict=True)]


def _linearize(
    trace: ProgramTrace, primals: Sequence[Any], tangents: Sequence[Any], *, program: Program, name: str
) -> tuple[list[Any], list[Any]]:
    moving = tuple(not isinstance(t, Zero) for t in tangents)
    split = linearize_program(program, moving)
    assert trace.parent is not None
    primal, consts = opened(split.primal)
    outs = trace.parent.process(jit_p, [*consts, *primals], {"program": primal, "name": name})
    n = len(program.outputs)
    residuals = split.residuals(primals, outs[n:])
    given = [t for t in tangents if not isinstance(t, Zero)]
    dots = iter(trace.record(jit_p, [*residuals, *given], {"program": split.linear, "name": name}))
    return outs[:n], [next(dots) if m else Zero(tangent_type(t)) for m, t in zip(split.moving, program.out_types, strict=True)]


def transpose_call(cts: Sequence[Any], *inputs: Any, program: Program, name: str) -> list[Any]:
    """The transpose rule of a call of `program`, which is linear in the inputs that are `Undefined`."""
    undefined = tuple(isinstance(x, Undefined) for x in inputs)
    given = tuple(not isinstance(c, Zero) for c in cts)
    backward, moving = transpose_program(program, undefined, given)
    known = [x for x in inputs if not isinstance(x, Undefined)]
    backward, consts = opened(backward)
    outs = iter(bind(jit_p, *consts, *known, *(c for c in cts if not isinstance(c, Zero)), program=backward, name=name))
    flags = iter(moving)
    return [next(outs) if u and next(flags) else None for u in undefined]


def _batch(
    size: int, inputs: Sequence[Any], axes: Sequence[int | None], *, program: Program, name: str
) -> tuple[list[Any], list[int | None]]:
    batched, out_batched = batch_program(program, size, tuple(a is not None for a in axes))
    args = [x if a is None else move_axis(x, a, 0) for x, a in zip(inputs, axes, strict=True)]
    return bind(jit_p, *args, program=batched, name=name), [0 if b else None for b in out_batched]


jit_p = Primitive(
    "jit",
    abstract=_abstract,
    reference=lambda *xs, program, name: tuple(run_program(program, xs)),
    jvp=_jvp,
    linearize=_linearize,
    transpose=transpose_call,
    batch=_batch,
    lowering=Named("jit"),
    multiple=True,
    eager="compiled",
)


def inline_calls(program: Program) -> Program:
    """`program` with the equations of its `jit` calls in place of the calls, those of sub-programs excepted.

    b: f32[] = jit[name="f", program=program f(a: f32[]) { b: f32[] = sin a  return b }] a     →     b: f32[] = sin a
    """
    if not any(e.primitive is jit_p for e in program.equations):
        return program

    def run(inner: Program, args: Sequence[Any]) -> list[Any]:
        def step(e: Equation, inputs: list[Any]) -> Sequence[Any]:
            values = [x.value if isinstance(x, Literal) else x for x in inputs]
            if e.primitive is jit_p:
                return run(e.params["program"], values)
            with sourced(e.source):
                out = bind(e.primitive, *values, **e.params)
            return out if e.primitive.multiple else (out,)

        return [x.value if isinstance(x, Literal) else x for x in evaluate(inner, args, step)]

    def make() -> Program:
        return recorded(lambda *args: run(program, args), program.in_types, program.name)

    result: Program = program.cached("inline_calls", make)
    return result
