"""`checkpoint`: a call whose derivative computes its intermediate values again instead of keeping them.

    y: f32[8] = checkpoint[policy=None, prevent_cse=true, program=program f(a: f32[8]) {...}] x

Its linear part keeps the inputs, and what the policy lets it save; it is one equation whose program first computes the missing
residuals again, and then the tangents.  Its transpose is that program run backwards, which reads everything, cotangents
included, through a `barrier`: no pass merges the second computation with the first, and it comes after what the cotangents
need.

A policy is `policy(primitive, *types, **params) -> bool`: whether to save the outputs of such an equation (None: of no
equation).  It sees the equations of inner calls and of the bodies of `scan`, whose values are saved step by step; `cond` and
`while` are saved or computed again as a whole.  Equations with input or output are always saved: they happen once.

The idea is that of A. Griewank, "Achieving logarithmic growth of temporal and spatial complexity in reverse automatic
differentiation", 1992; policies are T. Chen et al., "Training deep nets with sublinear memory cost", 2016, put into the hands
of the user.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeAlias

from ..effects import may_remove, may_repeat
from ..ir import Atom, Equation, Program, Type, Variable, substitute
from ..ops.barrier import barrier, name_p
from ..ops.elementwise import move_axis
from ..primitive import Call, Primitive, Undefined, Zero, run_program
from ..records import dataclass
from ..trace import ProgramTrace, bind, infer
from .call import check_operands, inline_calls
from .jvp import jvp_program, opened, program_function, recorded, tangent_type
from .linearize import linearize_program
from .transpose import transpose_program
from .vmap import batch_program

Policy: TypeAlias = Callable[..., bool]


def _abstract(*types: Type, program: Program, policy: Policy | None, prevent_cse: bool) -> tuple[Type, ...]:
    check_operands("checkpoint", program, types)
    return program.out_types


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, program: Program, **params: Any
) -> tuple[Sequence[Any], Sequence[Any]]:
    moving = tuple(not isinstance(t, Zero) for t in tangents)
    forward, out_moving = jvp_program(program, moving)
    forward, consts = opened(forward)
    outs = bind(checkpoint_p, *consts, *primals, *(t for t in tangents if not isinstance(t, Zero)), program=forward, **params)
    n = len(program.outputs)
    rest = iter(outs[n:])
    return outs[:n], [next(rest) if m else Zero(t) for m, t in zip(out_moving, program.out_types, strict=True)]


def _linearize(
    trace: ProgramTrace,
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    program: Program,
    policy: Policy | None,
    prevent_cse: bool,
) -> tuple[list[Any], list[Any]]:
    params = {"policy": policy, "prevent_cse": prevent_cse}
    split = _split(program, tuple(not isinstance(t, Zero) for t in tangents), policy)
    assert trace.parent is not None
    forward, consts = opened(split.forward)
    outs = trace.parent.process(checkpoint_p, [*consts, *primals], {"program": forward, **params})
    n = len(program.outputs)
    kept = [*outs[n:], *(primals[i] for i in split.inputs)]
    given = [t for t in tangents if not isinstance(t, Zero)]
    linear, consts = opened(split.linear)
    dots = iter(trace.record(checkpoint_p, [*consts, *kept, *given], {"program": linear, **params}))
    return outs[:n], [next(dots) if m else Zero(tangent_type(t)) for m, t in zip(split.moving, program.out_types, strict=True)]


def _transpose(cts: Sequence[Any], *inputs: Any, program: Program, policy: Policy | None, prevent_cse: bool) -> list[Any]:
    undefined = tuple(isinstance(x, Undefined) for x in inputs)
    given = tuple(not isinstance(c, Zero) for c in cts)
    backward, moving = _fenced_transpose(program, undefined, given, prevent_cse)
    known = [x for x in inputs if not isinstance(x, Undefined)]
    there = [c for c in cts if not isinstance(c, Zero)]
    backward, consts = opened(backward)
    outs = iter(bind(checkpoint_p, *consts, *known, *there, program=backward, policy=policy, prevent_cse=prevent_cse))
    flags = iter(moving)
    return [next(outs) if u and next(flags) else None for u in undefined]


def _fenced_transpose(
    program: Program, undefined: tuple[bool, ...], given: tuple[bool, ...], prevent_cse: bool
) -> tuple[Program, tuple[bool, ...]]:
    """`transpose_program`, with a barrier in front of what it computes again."""
    backward, moving = transpose_program(program, undefined, given)
    if not prevent_cse:
        return backward, moving

    def make() -> Program:
        return recorded(lambda *args: program_function(backward)(*barrier(args)), backward.in_types, backward.name)

    return backward.cached("fenced", make), moving


def _batch(
    size: int, inputs: Sequence[Any], axes: Sequence[int | None], *, program: Program, **params: Any
) -> tuple[list[Any], list[int | None]]:
    batched, out_batched = batch_program(program, size, tuple(a is not None for a in axes))
    args = [x if a is None else move_axis(x, a, 0) for x, a in zip(inputs, axes, strict=True)]
    return bind(checkpoint_p, *args, program=batched, **params), [0 if b else None for b in out_batched]


checkpoint_p = Primitive(
    "checkpoint",
    abstract=_abstract,
    reference=lambda *xs, program, policy, prevent_cse: tuple(run_program(program, xs)),
    jvp=_jvp,
    linearize=_linearize,
    transpose=_transpose,
    batch=_batch,
    lowering=Call(lambda params: params["program"]),
    multiple=True,
    eager="compiled",
)


# --- what is saved --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Split:
    """`forward(*inputs)` gives the outputs, then what is saved; `linear(*saved, *inputs that it reads, *tangents)` the tangents."""

    forward: Program
    linear: Program
    inputs: tuple[int, ...]
    moving: tuple[bool, ...]


def _split(program: Program, moving: tuple[bool, ...], policy: Policy | None) -> _Split:
    def make() -> _Split:
        parts = linearize_program(program, moving)
        primal, consts = opened(inline_calls(parts.primal))
        c = len(consts)
        separated = _separate(primal, policy)
        n_saved, n, n_outs = len(separated.saved), len(program.inputs), len(program.outputs)

        def linear(*args: Any) -> list[Any]:
            inputs = args[n_saved : n_saved + n]
            computed = program_function(again)(*args[:n_saved], *consts, *inputs)
            return program_function(parts.linear)(*parts.residuals(inputs, computed), *args[n_saved + n :])

        again = _pruned(
            Program(
                (*separated.places, *primal.inputs),
                separated.again,
                substitute(primal.outputs[n_outs:], separated.env),
                name=primal.name,
            )
        )
        dots = [tangent_type(t) for t, m in zip(program.in_types, moving, strict=True) if m]
        types = [*(v.type for v in separated.places), *program.in_types, *dots]
        whole = recorded(linear, types, f"linear_{program.name}")
        read = {a for e in whole.equations for a in e.inputs} | set(whole.outputs)
        kept = [v in read for v in whole.inputs[: n_saved + n]]
        inputs = (*(v for v, k in zip(whole.inputs, kept, strict=False) if k), *whole.inputs[n_saved + n :])
        saved = [a for a, k in zip(separated.saved, kept, strict=False) if k]
        outputs = (*primal.outputs[:n_outs], *saved)
        forward = _pruned(Program(primal.inputs[c:], separated.forward, outputs, primal.inputs[:c], consts, program.name))
        return _Split(
            forward,
            Program(inputs, whole.equations, whole.outputs, whole.constants, whole.values, whole.name),
            tuple(i for i in range(n) if kept[n_saved + i]),
            parts.moving,
        )

    result: _Split = program.cached(("checkpoint", moving, _key(policy)), make)
    return result


def _key(policy: Policy | None) -> Hashable:
    try:
        hash(policy)
    except TypeError:
        return id(policy), policy.__class__
    return policy


@dataclass(frozen=True, slots=True)
class _Separated:
    """The equations of a program twice over: `forward` computes `saved`, which `again` finds in `places` instead of computing
    it.

    `env` tells what stands in for a variable in `again`.
    """

    forward: tuple[Equation, ...]
    again: tuple[Equation, ...]
    saved: tuple[Atom, ...]
    places: tuple[Variable, ...]
    env: dict[Variable, Atom]


def _separate(program: Program, policy: Policy | None) -> _Separated:
    forward: list[Equation] = []
    again: list[Equation] = []
    saved: list[Atom] = []
    places: list[Variable] = []
    env: dict[Variable, Atom] = {}
    named = {e.inputs[0] for e in program.equations if e.primitive is name_p and _saves(e, policy)}
    named -= set(program.inputs)
    for e in program.equations:
        operand = e.inputs[0] if e.primitive is name_p else None
        if operand in named:  # saved already, under the name's operand
            forward.append(e)
            env[e.outputs[0]] = env[operand]  # type: ignore[index]
            continue
        # What computes a named value is saved with it: it would be computed again for its own derivative.
        if _saves(e, policy) or not named.isdisjoint(e.outputs):
            forward.append(e)
            for v in e.outputs:
                place = Variable(v.type)
                saved.append(v)
                places.append(place)
                env[v] = place
            continue
        inner = _separate_scan(e, policy) if e.primitive.name == "scan" else None
        first, second = (e, e) if inner is None else inner
        if inner is not None:
            stacked = first.outputs[len(e.outputs) :]
            saved += stacked
            places += second.inputs[len(e.inputs) :]  # type: ignore[arg-type]
        forward.append(first)
        again.append(second.replace(inputs=substitute(second.inputs, env)))
    return _Separated(tuple(forward), tuple(again), tuple(saved), tuple(places), env)


def _saves(e: Equation, policy: Policy | None) -> bool:
    if not may_repeat(e.effects):
        return e.primitive.name != "scan"  # the body's are saved one by one
    return policy is not None and bool(policy(e.primitive, *(a.type for a in e.inputs), **e.params))


def _separate_scan(e: Equation, policy: Policy | None) -> tuple[Equation, Equation] | None:
    """A scan that also stacks what its body saves, and one that reads those stacks; None where the body saves nothing.

    The body that reads takes what was saved as its last `xs`.
    """
    body: Program = inline_calls(e.params["body"])
    inner = _separate(body, policy)
    if not inner.saved:
        return None
    first = Program(body.inputs, inner.forward, (*body.outputs, *inner.saved), name=body.name)
    second = _pruned(Program((*body.inputs, *inner.places), inner.again, substitute(body.outputs, inner.env), name=body.name))
    params = {**e.params, "body": first}
    stacked = tuple(Variable(t) for t in infer(e.primitive, [a.type for a in e.inputs], params)[len(e.outputs) :])
    places = tuple(Variable(v.type) for v in stacked)
    return (
        e.replace(outputs=(*e.outputs, *stacked), params=params),
        e.replace(inputs=(*e.inputs, *places), params={**e.params, "body": second}),
    )


def _pruned(program: Program) -> Program:
    """`program` without the equations that nothing needs."""
    needed = {a for a in program.outputs if isinstance(a, Variable)}
    kept: list[Equation] = []
    for e in reversed(program.equations):
        if not may_remove(e.effects) or any(v in needed for v in e.outputs):
            kept.append(e)
            needed.update(a for a in e.inputs if isinstance(a, Variable))
    return Program(program.inputs, tuple(reversed(kept)), program.outputs, program.constants, program.values, program.name)
