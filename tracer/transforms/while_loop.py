"""`while`: a loop whose condition is a program of the carried values. It has forward derivatives; in reverse, use `scan`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dtypes import bool_, int32
from ..errors import MissingRuleError, at
from ..ir import Program, Type, type_of
from ..ops.elementwise import convert, ge, gt, lt, move_axis, select, sub
from ..primitive import Named, Primitive, Zero, lookup, run_program
from ..trace import ProgramTrace, bind, current_source, record
from .call import check_operands
from .cond import cond_p
from .jvp import instantiate, jvp_program, program_function, tangent_type
from .lanes import map_lanes, may_run_in_every_lane, meet_in, over
from .replay import replayed
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
    const_types = [*map(type_of, primals[n_cond:n]), *map(type_of, body_const_dots)]
    new_body, closed = record(step, [*const_types, *carry_types], name=body.name)
    new_cond = record(test, [*map(type_of, primals[:n_cond]), *carry_types], name=cond.name)[0]
    params = {"cond": new_cond, "body": new_body, "n_cond": n_cond, "n_body": len(closed) + n_body + m}
    return [*primals[:n_cond], *closed, *primals[n_cond:n], *body_const_dots, *primals[n:], *carry_dots], params, moving


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
    again = {**params, **{k: replayed(params[k], "linearize of a while_loop") for k in ("cond", "body")}}
    operands, new, moving = _forward(primals, tangents, **again)
    _, dots = _join(trace.record(while_p, operands, new), moving)
    return outs, [Zero(tangent_type(t.type)) if isinstance(t, Zero) else t for t in dots]


def _transpose(cts: Sequence[Any], *inputs: Any, **params: Any) -> list[Any]:
    raise MissingRuleError(
        "while_loop has no reverse-mode derivative: the number of its steps, and so the memory for what they leave behind, is not "
        "known when it is traced (a fori_loop with a traced bound is such a loop too). Use fdl.scan, or fdl.fori_loop with "
        "bounds that are Python ints, with a cond inside where it may end early; give the result a derivative of its own with "
        f"fdl.custom_vjp (for a fixed point, the implicit one); or use forward mode: fdl.jvp, fdl.jacfwd.{at(current_source())}"
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
        if meet_in(size, (cond, body)):
            return _together(size, inputs, axes, params, until=1)[0], [0] * len(carry)
        if may_run_in_every_lane((cond, body)):
            return _side_by_side(size, inputs, axes, params)
        return map_lanes(while_p, size, inputs, axes, params)
    fixed = [x if a is None else move_axis(x, a, 0) for x, a in zip(inputs[:n], axes[:n], strict=True)]
    init = [with_batch_axis(x, a, size) if b else x for x, a, b in zip(inputs[n:], axes[n:], carry, strict=True)]
    outs = bind(while_p, *fixed, *init, cond=new_cond, body=new_body, n_cond=n_cond, n_body=n_body)
    return outs, [0 if b else None for b in carry]


PATIENCE = 16
"""How many steps all lanes go together once fewer than one in so many goes on: about what one pass over the lanes, one by one, costs."""


def _together(
    size: int, inputs: Sequence[Any], axes: Sequence[int | None], params: dict[str, Any], until: int
) -> tuple[list[Any], Any]:
    """The carry after one loop for all lanes, and which lanes go on; a lane that has ended keeps its carry.

    The loop goes on while as many as `until` lanes do, and `PATIENCE` steps longer.  It carries (*carry, flags, steps left).
    """
    cond, body, n_cond = params["cond"], params["body"], params["n_cond"]
    n = n_cond + params["n_body"]
    consts = tuple(a is not None for a in axes[:n])
    alike = (True,) * (len(axes) - n)
    each_cond = batch_program(cond, size, consts[:n_cond] + alike, (True,))[0]
    each_body = batch_program(body, size, consts[n_cond:] + alike, alike)[0]
    fixed = [x if a is None else move_axis(x, a, 0) for x, a in zip(inputs[:n], axes[:n], strict=True)]
    init = [with_batch_axis(x, a, size) for x, a in zip(inputs[n:], axes[n:], strict=True)]
    (going,) = program_function(each_cond)(*fixed[:n_cond], *init)
    none, one = np.int32(0), np.int32(1)

    def count(flags: Any) -> Any:
        return bind(lookup("reduce_sum"), convert(flags, int32), axes=(0,))

    def test(*args: Any) -> list[Any]:
        if until == 1:
            return [bind(lookup("reduce_or"), args[-2], axes=(0,))]
        number = count(args[-2])
        enough = bind(lookup("or"), ge(number, np.int32(until)), gt(args[-1], none))
        return [bind(lookup("and"), gt(number, none), enough)]

    def step(*args: Any) -> list[Any]:
        given, carry, flags, left = args[:n], args[n:-2], args[-2], args[-1]
        new = program_function(each_body)(*given[n_cond:], *carry)
        kept = [select(over(flags, x), x, y) for x, y in zip(new, carry, strict=True)]
        (on,) = program_function(each_cond)(*given[:n_cond], *kept)
        if until > 1:
            left = select(lt(count(flags), np.int32(until)), sub(left, one), left)
        return [*kept, bind(lookup("and"), flags, on), left]

    left = np.int32(PATIENCE)
    carry_types = [*(type_of(x).strong() for x in init), type_of(going), type_of(left)]
    new_body = record(step, [*map(type_of, fixed), *carry_types], name=body.name)[0]
    new_cond = record(test, carry_types, name=cond.name)[0]
    outs = bind(while_p, *fixed, *init, going, left, cond=new_cond, body=new_body, n_cond=0, n_body=n)
    return outs[:-2], outs[-2]


def _side_by_side(
    size: int, inputs: Sequence[Any], axes: Sequence[int | None], params: dict[str, Any]
) -> tuple[list[Any], list[int | None]]:
    """All lanes together, which is fast, until few go on; and then those few, each alone, so that one that takes long delays no other.

    For loops that a lane may go through without having asked for it.
    """
    n = params["n_cond"] + params["n_body"]
    carry, flags = _together(size, inputs, axes, params, until=max(1, size // PATIENCE))
    back: list[int | None] = [0] * len(carry)
    if size <= PATIENCE:
        return carry, back
    fixed = [x if a is None else move_axis(x, a, 0) for x, a in zip(inputs[:n], axes[:n], strict=True)]
    mapped = [None if a is None else 0 for a in axes[:n]] + back
    types = [*map(type_of, fixed), *map(type_of, carry)]
    alone = record(lambda *args: map_lanes(while_p, size, args, mapped, params)[0], types, name="stragglers")[0]
    ended = record(lambda *args: args[n:], types, name="ended")[0]
    some = convert(bind(lookup("reduce_or"), flags, axes=(0,)), int32)
    return bind(cond_p, some, *fixed, *carry, branches=(ended, alone)), back


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
