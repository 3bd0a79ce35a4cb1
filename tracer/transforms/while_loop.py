"""`while`: a loop whose condition is a program of the carried values. It has forward derivatives; in reverse, use `scan`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..dtypes import bool_
from ..errors import MissingRuleError
from ..ir import Program, Type, type_of
from ..ops.elementwise import move_axis
from ..primitive import Named, Primitive, Zero, run_program
from ..trace import ProgramTrace, bind, record
from .call import check_operands
from .jvp import instantiate, jvp_program, program_function, tangent_type
from .lanes import map_lanes
from .vmap import batch_program, with_batch_axis


def _abstract(*types: Type, cond: Program, body: Program, n_cond: int, n_body: int) -> tuple[Type, ...]:
    carry = types[n_cond + n_body :]
    check_operands("while (condition)", cond, [*types[:n_cond], *carry])
    check_operands("while (body)", body, [*types[n_cond : n_cond + n_body], *carry])
    assert [t.strong() for t in cond.out_types] == [Type((), bool_)], cond.out_types
    assert [t.strong() for t in body.out_types] == [t.strong() for t in carry], (body.out_types, carry)
    return tuple(carry)


def _reference(*xs: Any, cond: Program, body: Program, n_cond: int, n_body: int) -> tuple[Any, ...]:
    consts, carry = xs[:n_cond], list(xs[n_cond + n_body :])
    body_consts = xs[n_cond : n_cond + n_body]
    while bool(run_program(cond, [*consts, *carry])[0]):
        carry = run_program(body, [*body_consts, *carry])
    return tuple(carry)


def _forward(
    primals: Sequence[Any], tangents: Sequence[Any], cond: Program, body: Program, n_cond: int, n_body: int
) -> tuple[list[Any], dict[str, Any], tuple[bool, ...]]:
    """The operands and parameters of the loop that carries tangents too, and which carries move."""
    n = n_cond + n_body
    consts_moving = tuple(not isinstance(t, Zero) for t in tangents[n_cond:n])
    moving = tuple(not isinstance(t, Zero) for t in tangents[n:])
    while True:  # a carry moves when its initial value or its update does
        forward, out = jvp_program(body, consts_moving + moving, moving)
        if out == moving:
            break
        moving = out
    body_const_dots = [t for t in tangents[n_cond:n] if not isinstance(t, Zero)]
    carry_dots = [instantiate(t) for t, m in zip(tangents[n:], moving, strict=True) if m]
    m, k = len(body_const_dots), len(primals) - n

    # jvp programs take (*primals, *tangents); the loop takes (*consts, *const tangents, *carry, *carry tangents).
    def step(*args: Any) -> list[Any]:
        consts, dots, rest = args[:n_body], args[n_body : n_body + m], args[n_body + m :]
        return program_function(forward)(*consts, *rest[:k], *dots, *rest[k:])

    def test(*args: Any) -> list[Any]:
        return program_function(cond)(*args[: n_cond + k])

    carry_types = [*map(type_of, primals[n:]), *map(type_of, carry_dots)]
    new_body = record(step, [*map(type_of, primals[n_cond:n]), *map(type_of, body_const_dots), *carry_types], name=body.name)[0]
    new_cond = record(test, [*map(type_of, primals[:n_cond]), *carry_types], name=cond.name)[0]
    params = {"cond": new_cond, "body": new_body, "n_cond": n_cond, "n_body": n_body + m}
    return [*primals[:n], *body_const_dots, *primals[n:], *carry_dots], params, moving


def _join(outs: Sequence[Any], moving: tuple[bool, ...]) -> tuple[list[Any], list[Any]]:
    k = len(moving)
    dots = iter(outs[k:])
    return list(outs[:k]), [next(dots) if m else Zero(type_of(x)) for m, x in zip(moving, outs[:k], strict=True)]


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[list[Any], list[Any]]:
    operands, new, moving = _forward(primals, tangents, **params)
    return _join(bind(while_p, *operands, **new), moving)


def _linearize(
    trace: ProgramTrace, primals: Sequence[Any], tangents: Sequence[Any], **params: Any
) -> tuple[list[Any], list[Any]]:
    # The number of steps is not known, so that residuals can't be kept: the tangent loop runs the primal one again.
    assert trace.parent is not None
    outs = trace.parent.process(while_p, primals, params)
    operands, new, moving = _forward(primals, tangents, **params)
    _, dots = _join(trace.record(while_p, operands, new), moving)
    return outs, [Zero(tangent_type(t.type)) if isinstance(t, Zero) else t for t in dots]


def _transpose(cts: Sequence[Any], *inputs: Any, **params: Any) -> list[Any]:
    raise MissingRuleError(
        "while_loop has no reverse-mode derivative: the number of its steps, and so the memory for what they leave "
        "behind, is not known. Use fdl.scan (or fori_loop with bounds known when traced), or forward mode (fdl.jvp)."
    )


def _batch(
    size: int, inputs: Sequence[Any], axes: Sequence[int | None], *, cond: Program, body: Program, n_cond: int, n_body: int
) -> tuple[list[Any], list[int | None]]:
    params = {"cond": cond, "body": body, "n_cond": n_cond, "n_body": n_body}
    n = n_cond + n_body
    consts = tuple(a is not None for a in axes[n_cond:n])
    carry = tuple(a is not None for a in axes[n:])
    while True:  # a carry is batched when its initial value or its update is
        new_body, out = batch_program(body, size, consts + carry, carry)
        if out == carry:
            break
        carry = out
    new_cond, (decides,) = batch_program(cond, size, tuple(a is not None for a in axes[:n_cond]) + carry)
    if decides:  # each lane ends by itself
        return map_lanes(while_p, size, inputs, axes, params)
    fixed = [x if a is None else move_axis(x, a, 0) for x, a in zip(inputs[:n], axes[:n], strict=True)]
    init = [with_batch_axis(x, a, size) if b else x for x, a, b in zip(inputs[n:], axes[n:], carry, strict=True)]
    outs = bind(while_p, *fixed, *init, cond=new_cond, body=new_body, n_cond=n_cond, n_body=n_body)
    return outs, [0 if b else None for b in carry]


while_p = Primitive(
    "while",
    abstract=_abstract,
    reference=_reference,
    jvp=_jvp,
    linearize=_linearize,
    transpose=_transpose,
    batch=_batch,
    lowering=Named("while"),
    multiple=True,
    eager="compiled",
)
