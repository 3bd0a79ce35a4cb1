"""`scan`: a loop of known length over the leading axis of its `xs`, which carries values and stacks what each step gives.

`body(*consts, *carry, *x) -> (*carry, *y)`.  Its reverse-mode derivative is a scan in the other direction: the forward scan
stacks the residuals of its steps, the backward one reads them.

The parameter `unroll`, there when it is more than 1, is how many steps compiled code writes out in the loop's body.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import MissingRuleError
from ..ir import Program, Type, type_of
from ..ops.elementwise import add, move_axis, splat
from ..primitive import Named, Primitive, Undefined, Zero, run_program
from ..trace import ProgramTrace, bind, record
from .call import check_operands
from .jvp import instantiate, jvp_program, opened, program_function, recorded, tangent_type
from .linearize import Linearized, linearize_program, zeros_in
from .transpose import known_outputs, reached, transpose_program
from .vmap import batch_program, with_batch_axis

Flags = tuple[bool, ...]


def _abstract(
    *types: Type, body: Program, n_consts: int, n_carry: int, length: int, reverse: bool, unroll: int = 1
) -> tuple[Type, ...]:
    n = n_consts + n_carry
    assert all(t.shape[:1] == (length,) for t in types[n:]), (types[n:], length)
    check_operands("scan", body, [*types[:n], *(t.with_shape(t.shape[1:]) for t in types[n:])])
    carry = types[n_consts:n]
    assert [t.strong() for t in body.out_types[:n_carry]] == [t.strong() for t in carry], (body.out_types, carry)
    return (*carry, *(t.with_shape((length, *t.shape)) for t in body.out_types[n_carry:]))


def _reference(
    *xs: Any, body: Program, n_consts: int, n_carry: int, length: int, reverse: bool, unroll: int = 1
) -> tuple[Any, ...]:
    n = n_consts + n_carry
    consts, carry = xs[:n_consts], list(xs[n_consts:n])
    ys = [np.zeros((length, *t.shape), t.dtype) for t in body.out_types[n_carry:]]
    for i in reversed(range(length)) if reverse else range(length):
        outs = run_program(body, [*consts, *carry, *(x[i] for x in xs[n:])])
        carry = outs[:n_carry]
        for y, value in zip(ys, outs[n_carry:], strict=True):
            y[i] = value
    return (*carry, *ys)


def _moving(tangents: Sequence[Any]) -> Flags:
    return tuple(not isinstance(t, Zero) for t in tangents)


def _given(tangents: Sequence[Any]) -> list[Any]:
    return [t for t in tangents if not isinstance(t, Zero)]


def _types(values: Sequence[Any], drop: bool = False) -> list[Type]:
    types = [type_of(v) for v in values]
    return [t.with_shape(t.shape[1:]) for t in types] if drop else types


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, body: Program, n_consts: int, n_carry: int, **how: Any
) -> tuple[list[Any], list[Any]]:
    n = n_consts + n_carry
    moving_consts, moving, moving_xs = _moving(tangents[:n_consts]), _moving(tangents[n_consts:n]), _moving(tangents[n:])
    none = (False,) * (len(body.outputs) - n_carry)
    while True:  # a carry moves when its initial value or its update does
        forward, out = jvp_program(body, moving_consts + moving + moving_xs, moving + none)
        if out[:n_carry] == moving:
            break
        moving = out[:n_carry]
    const_dots, x_dots = _given(tangents[:n_consts]), _given(tangents[n:])
    init_dots = [instantiate(t) for t, m in zip(tangents[n_consts:n], moving, strict=True) if m]
    a, b, k = len(const_dots), len(init_dots), len(primals) - n
    n_outs = len(body.outputs)

    # Regroups (*consts, *dots, *carry, *dots, *x, *dots) to the jvp program's (*primals, *tangents), and back.
    def step(*args: Any) -> list[Any]:
        c, cd, rest = args[:n_consts], args[n_consts : n_consts + a], args[n_consts + a :]
        s, sd, rest = rest[:n_carry], rest[n_carry : n_carry + b], rest[n_carry + b :]
        x, xd = rest[:k], rest[k:]
        outs = program_function(forward)(*c, *s, *x, *cd, *sd, *xd)
        primal, dots = outs[:n_outs], outs[n_outs:]
        return [*primal[:n_carry], *dots[:b], *primal[n_carry:], *dots[b:]]

    consts, init, xs = [*primals[:n_consts], *const_dots], [*primals[n_consts:n], *init_dots], [*primals[n:], *x_dots]
    program, closed = record(step, [*_types(consts), *_types(init), *_types(xs, drop=True)], name=body.name)
    n_closed = len(closed) + len(consts)
    outs = bind(scan_p, *closed, *consts, *init, *xs, body=program, n_consts=n_closed, n_carry=len(init), **how)
    n_ys = n_outs - n_carry
    values = [*outs[:n_carry], *outs[n_carry + b : n_carry + b + n_ys]]
    dots = iter([*outs[n_carry : n_carry + b], *outs[n_carry + b + n_ys :]])
    return values, [next(dots) if m else Zero(type_of(v)) for m, v in zip(out, values, strict=True)]


def _linearize(
    trace: ProgramTrace,
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    body: Program,
    n_consts: int,
    n_carry: int,
    **how: Any,
) -> tuple[list[Any], list[Any]]:
    n = n_consts + n_carry
    moving_consts, moving, moving_xs = _moving(tangents[:n_consts]), _moving(tangents[n_consts:n]), _moving(tangents[n:])
    none = (False,) * (len(body.outputs) - n_carry)
    while True:
        split = linearize_program(body, moving_consts + moving + moving_xs, moving + none)
        if split.moving[:n_carry] == moving:
            break
        moving = split.moving[:n_carry]
    # The incoming carry of a step is a residual too where the linear part reads it: the primal body gives it out.
    primal, sources = _stack_carries(body, split, n_consts, n_carry)
    assert trace.parent is not None
    primal, closed = opened(primal)
    params = {"n_consts": len(closed) + n_consts, "n_carry": n_carry, **how}
    outs = trace.parent.process(scan_p, [*closed, *primals], {"body": primal, **params})
    n_outs = len(body.outputs)
    stacked = outs[n_outs:]

    fixed = [i for i, s in enumerate(sources) if 0 <= s < n_consts]
    varying = [i for i, s in enumerate(sources) if not 0 <= s < n_consts]
    fixed_values = [primals[sources[i]] for i in fixed]
    varying_values = [primals[sources[i]] if sources[i] >= n else stacked[-1 - sources[i]] for i in varying]
    const_dots, x_dots = _given(tangents[:n_consts]), _given(tangents[n:])
    init_dots = [
        zeros_in(trace, t.type) if isinstance(t, Zero) else t for t, m in zip(tangents[n_consts:n], moving, strict=True) if m
    ]
    a, b = len(const_dots), len(init_dots)

    def step(*args: Any) -> list[Any]:
        f, cd, rest = args[: len(fixed)], args[len(fixed) : len(fixed) + a], args[len(fixed) + a :]
        sd, v, xd = rest[:b], rest[b : b + len(varying)], rest[b + len(varying) :]
        residuals: list[Any] = [None] * len(sources)
        for i, x in (*zip(fixed, f, strict=True), *zip(varying, v, strict=True)):
            residuals[i] = x
        return program_function(split.linear)(*residuals, *cd, *sd, *xd)

    consts, xs = [*fixed_values, *const_dots], [*varying_values, *x_dots]
    program = record(step, [*_types(consts), *_types(init_dots), *_types(xs, drop=True)], name=split.linear.name)[0]
    linear = {"body": program, "n_consts": len(consts), "n_carry": b, **how}
    dots = iter(trace.record(scan_p, [*consts, *init_dots, *xs], linear))
    values = list(outs[:n_outs])
    return values, [next(dots) if m else Zero(tangent_type(type_of(v))) for m, v in zip(split.moving, values, strict=True)]


def _stack_carries(body: Program, split: Linearized, n_consts: int, n_carry: int) -> tuple[Program, tuple[int, ...]]:
    """The primal body with the carries among its residuals as computed residuals, and the residuals' new sources."""

    def make() -> tuple[Program, tuple[int, ...]]:
        carries = [s for s in split.sources if n_consts <= s < n_consts + n_carry]
        where = {s: -1 - (split.n_computed + j) for j, s in enumerate(dict.fromkeys(carries))}

        def f(*args: Any) -> list[Any]:
            return [*program_function(split.primal)(*args), *(args[s] for s in where)]

        return recorded(f, body.in_types, body.name), tuple(where.get(s, s) for s in split.sources)

    return split.primal.cached(("stack_carries", n_consts, n_carry), make)


def _transpose(
    cts: Sequence[Any], *inputs: Any, body: Program, n_consts: int, n_carry: int, reverse: bool, **how: Any
) -> list[Any]:
    n = n_consts + n_carry
    linear = _linear_carries(tuple(isinstance(x, Undefined) for x in inputs), body, n_consts, n_carry)
    if not all(linear):
        return _transpose_apart(linear, cts, inputs, body, n_consts, {"reverse": reverse, **how})
    # A carry whose tangent starts as zeros is known, but the body is linear in it all the same; its cotangent is not needed.
    wanted = tuple(isinstance(x, Undefined) for x in inputs)
    inputs = (*inputs[:n_consts], *(Undefined(type_of(x)) for x in inputs[n_consts:n]), *inputs[n:])
    if not all(dtypes.is_inexact(x.type.dtype) for x in inputs[n_consts:n]):
        raise MissingRuleError("scan: a carry that is not linear has no transpose. Differentiate the function that calls scan.")
    undefined = tuple(isinstance(x, Undefined) for x in inputs)
    u_consts = [x.type for x in inputs[:n_consts] if isinstance(x, Undefined)]
    known_consts = [x for x in inputs[:n_consts] if not isinstance(x, Undefined)]
    known_xs = [x for x in inputs[n:] if not isinstance(x, Undefined)]
    carry_types = [x.type for x in inputs[n_consts:n]]
    given_ys = tuple(not isinstance(c, Zero) for c in cts[n_carry:])
    y_cts = [c for c in cts[n_carry:] if not isinstance(c, Zero)]
    backward = transpose_program(body, undefined, (True,) * n_carry + given_ys, force=True)[0]
    a, k, kc = len(u_consts), len(known_xs), len(known_consts)

    # Carries: the cotangents of the constants, which add up, then those of the carries.
    def step(*args: Any) -> list[Any]:
        consts, sums, state = args[:kc], args[kc : kc + a], args[kc + a : kc + a + n_carry]
        x, y_bar = args[kc + a + n_carry : kc + a + n_carry + k], args[kc + a + n_carry + k :]
        outs = program_function(backward)(*consts, *x, *state, *y_bar)
        return [*(add(s, c) for s, c in zip(sums, outs[:a], strict=True)), *outs[a:]]

    init = [_zeros(t) for t in u_consts] + [instantiate(c) for c in cts[:n_carry]]
    init_types = [tangent_type(t) for t in (*u_consts, *carry_types)]
    xs = [*known_xs, *y_cts]
    program, closed = record(step, [*_types(known_consts), *init_types, *_types(xs, drop=True)], name=backward.name)
    n_closed = len(closed) + kc
    how |= {"n_consts": n_closed, "n_carry": a + n_carry, "reverse": not reverse}
    outs = bind(scan_p, *closed, *known_consts, *init, *xs, body=program, **how)
    rest = iter(outs)
    by_const = [next(rest) if u else None for u in undefined[:n_consts]]
    by_carry = [x if w else None for x, w in zip([next(rest) for _ in range(n_carry)], wanted[n_consts:n], strict=True)]
    return [*by_const, *by_carry, *(next(rest) if u else None for u in undefined[n:])]


def _linear_carries(unknown: Flags, body: Program, n_consts: int, n_carry: int) -> Flags:
    """Which carries depend on an unknown input of the scan, in one step or another."""
    linear = unknown[n_consts : n_consts + n_carry]
    while not all(linear):
        out = reached(body, (*unknown[:n_consts], *linear, *unknown[n_consts + n_carry :]))[:n_carry]
        if all(was or not now for was, now in zip(linear, out, strict=True)):
            break
        linear = tuple(a or b for a, b in zip(linear, out, strict=True))
    return linear


def _reached(unknown: Flags, *, body: Program, n_consts: int, n_carry: int, **_: Any) -> Flags:
    linear = _linear_carries(unknown, body, n_consts, n_carry)
    return linear + reached(body, (*unknown[:n_consts], *linear, *unknown[n_consts + n_carry :]))[n_carry:]


def _known(inputs: Sequence[Any], *, body: Program, n_consts: int, n_carry: int, **how: Any) -> list[Any]:
    return _known_part(inputs, body, n_consts, n_carry, how)[0]


def _known_part(
    inputs: Sequence[Any], body: Program, n_consts: int, n_carry: int, how: dict[str, Any]
) -> tuple[list[Any], list[Any]]:
    """The outputs of the scan that depend on no `Undefined` input, None for the others; and what the carries that don't are when each
    step begins, stacked."""
    n = n_consts + n_carry
    unknown = tuple(isinstance(x, Undefined) for x in inputs)
    linear = _linear_carries(unknown, body, n_consts, n_carry)
    unknown = (*unknown[:n_consts], *linear, *unknown[n:])
    out = [i for i, r in enumerate(reached(body, unknown)) if not r and (i >= n_carry or not linear[i])]
    carries = [i for i in out if i < n_carry]

    def step(*args: Any) -> list[Any]:
        rest = iter(args)
        values = [Undefined(t) if u else next(rest) for u, t in zip(unknown, body.in_types, strict=True)]
        outs = known_outputs(body, values)
        return [*(outs[i] for i in out), *(values[n_consts + i] for i in carries)]

    given = [None if u else x for u, x in zip(unknown, inputs, strict=True)]
    consts, init, xs = ([x for x in part if x is not None] for part in (given[:n_consts], given[n_consts:n], given[n:]))
    program, closed = record(step, [*_types(consts), *_types(init), *_types(xs, drop=True)], name=f"known_{body.name}")
    params = {"n_consts": len(closed) + len(consts), "n_carry": len(init), **how}
    found = bind(scan_p, *closed, *consts, *init, *xs, body=program, **params)
    outs: list[Any] = [None] * len(body.outputs)
    for i, x in zip(out, found, strict=False):
        outs[i] = x
    return outs, list(found[len(out) :])


def _transpose_apart(
    linear: Flags, cts: Sequence[Any], inputs: Sequence[Any], body: Program, n_consts: int, how: dict[str, Any]
) -> list[Any]:
    """The transpose of a scan in which some carries are known: a counter, a time, a factor that decays.

    A scan of these alone stacks what they are when each step begins; the other one reads them among its xs.
    """
    n_carry = len(linear)
    consts, init, xs = inputs[:n_consts], inputs[n_consts : n_consts + n_carry], inputs[n_consts + n_carry :]
    ours = [i for i, m in enumerate(linear) if not m]
    theirs = [i for i, m in enumerate(linear) if m]
    stacked = _known_part(inputs, body, n_consts, n_carry, how)[1]

    def rest_of_body() -> Program:
        own = body.inputs[n_consts : n_consts + n_carry]
        inputs = [*body.inputs[:n_consts], *(own[i] for i in theirs), *(own[i] for i in ours), *body.inputs[n_consts + n_carry :]]
        outputs = (*(body.outputs[i] for i in theirs), *body.outputs[n_carry:])
        return Program(tuple(inputs), body.equations, outputs, body.constants, body.values, body.name)

    reordered = body.cached(("known_carries_as_xs", n_consts, linear), rest_of_body)
    found = _transpose(
        [*(cts[i] for i in theirs), *cts[n_carry:]], *consts, *(init[i] for i in theirs), *stacked, *xs,
        body=reordered, n_consts=n_consts, n_carry=len(theirs), **how,
    )  # fmt: skip
    by_carry = dict(zip(theirs, found[n_consts:], strict=False))
    return [*found[:n_consts], *(by_carry.get(i) for i in range(n_carry)), *found[n_consts + n_carry :]]


def _zeros(t: Type) -> Any:
    return splat(np.zeros((), t.dtype), t.shape)


def _batch(
    size: int, inputs: Sequence[Any], axes: Sequence[int | None], *, body: Program, n_consts: int, n_carry: int, **how: Any
) -> tuple[list[Any], list[int | None]]:
    n = n_consts + n_carry
    batched = tuple(a is not None for a in axes)
    consts, carry, xs = batched[:n_consts], batched[n_consts:n], batched[n:]
    none = (False,) * (len(body.outputs) - n_carry)
    while True:  # a carry is batched when its initial value or its update is
        program, out = batch_program(body, size, consts + carry + xs, carry + none)
        if out[:n_carry] == carry:
            break
        carry = out[:n_carry]
    args = [x if a is None else move_axis(x, a, 0) for x, a in zip(inputs[:n_consts], axes[:n_consts], strict=True)]
    args += [
        with_batch_axis(x, a, size) if b else x for x, a, b in zip(inputs[n_consts:n], axes[n_consts:n], carry, strict=True)
    ]
    args += [x if a is None else move_axis(x, a, 1) for x, a in zip(inputs[n:], axes[n:], strict=True)]
    outs = bind(scan_p, *args, body=program, n_consts=n_consts, n_carry=n_carry, **how)
    return outs, [(0 if i < n_carry else 1) if b else None for i, b in enumerate(out)]


scan_p = Primitive(
    "scan",
    abstract=_abstract,
    reference=_reference,
    jvp=_jvp,
    linearize=_linearize,
    transpose=_transpose,
    batch=_batch,
    reached=_reached,
    known=_known,
    lowering=Named("scan"),
    multiple=True,
    eager="compiled",
)
