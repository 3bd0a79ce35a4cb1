"""`custom_jvp`: a function with a derivative of its own, for forward mode and so for reverse mode too.

The current trace decides what a call does.  Where operations run at once, the function itself runs, so that Python control
flow on values works in it.  Under differentiation the rule runs instead, and the function not at all.  Under `vmap` both are
mapped.  Where a program is recorded the call is one equation, with the function's program and the rule, a Python function that
a text names:

    c: f32[] = custom_jvp[closed=0, program=program f(a: f32[]) {...}, rule=@f_jvp] b

A flat rule is `rule(primals, tangents) -> (outputs, their tangents)`; an entry of the tangents that it returns may be a `Zero`.

Failing without the check of `closed`: in ``grad(lambda w: f(lambda x: w * x))`` with a rule of `f` in `x` alone, the
derivative in `w` would be zero in silence.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from typing import Any, TypeAlias

from ..errors import LeakedTracerError, MissingRuleError, at, user_source
from ..ir import Program, Type, type_of
from ..ops.elementwise import move_axis
from ..primitive import Call, Primitive, Zero, run_program
from ..records import dataclass
from ..trace import EvalTrace, Trace, Tracer, bind, current, leaked, record, using
from .call import check_operands, transpose_call
from .jvp import JVPTrace, instantiate
from .linearize import TangentTrace
from .vmap import BatchTrace, BatchTracer, batch_flat, batch_program, with_batch_axis

Flat: TypeAlias = Callable[..., Sequence[Any]]
Rule: TypeAlias = Callable[[Sequence[Any], Sequence[Any]], tuple[Sequence[Any], Sequence[Any]]]


@dataclass(frozen=True, slots=True)
class CustomJVP:
    """A call: the flat function and its flat rule. `name` is the function's, for messages and programs."""

    f: Flat
    rule: Rule
    name: str


def call_custom_jvp(call: CustomJVP, inputs: Sequence[Any]) -> list[Any]:
    """The outputs of the function on flat inputs."""
    return _call(current(), call, inputs)


@functools.singledispatch
def _call(trace: Trace, call: CustomJVP, inputs: Sequence[Any]) -> list[Any]:
    program, captured = record(call.f, [type_of(x) for x in inputs], call.name, identifier(call.name))
    params = {"program": program, "rule": call.rule, "closed": len(captured)}
    return trace.process(custom_jvp_p, [*captured, *inputs], params)


@_call.register
def _(trace: EvalTrace, call: CustomJVP, inputs: Sequence[Any]) -> list[Any]:
    check_evaluated(inputs)
    with explained(call.name):
        return list(call.f(*inputs))


@_call.register
def _(trace: TangentTrace, call: CustomJVP, inputs: Sequence[Any]) -> list[Any]:
    if any(isinstance(x, Tracer) and x.owner is trace for x in inputs):
        return _call.dispatch(Trace)(trace, call, inputs)
    return _above(trace, call, inputs)


@_call.register
def _(trace: JVPTrace, call: CustomJVP, inputs: Sequence[Any]) -> list[Any]:
    primals, tangents = trace.unpack(inputs)
    if all(isinstance(t, Zero) for t in tangents):
        return _above(trace, call, primals)
    assert trace.parent is not None
    with using(trace.parent), explained(call.name):
        return trace.pack(*call.rule(primals, [instantiate(t) for t in tangents]))


@_call.register
def _(trace: BatchTrace, call: CustomJVP, inputs: Sequence[Any]) -> list[Any]:
    values, mapped = lanes_of(trace, inputs)
    size = trace.size
    batched = CustomJVP(MappedFunction(call.f, size, mapped, trace), MappedJVP(call.rule, size, mapped, trace), call.name)
    return over_lanes_or_once(trace, mapped, lambda: _above(trace, call, values), lambda: _above(trace, batched, values))


def _above(trace: Trace, call: CustomJVP, inputs: Sequence[Any]) -> list[Any]:
    assert trace.parent is not None
    with using(trace.parent):
        return _call(trace.parent, call, inputs)


# --- what custom_vjp shares -----------------------------------------------------------------------


def identifier(name: str) -> str:
    """`name` where it can name a program, else "f"."""
    return name if name.isidentifier() else "f"


def check_evaluated(inputs: Sequence[Any]) -> None:
    """Raises LeakedTracerError for an input that is a tracer where operations run at once."""
    for x in inputs:
        if isinstance(x, Tracer):
            raise leaked(x)


@contextlib.contextmanager
def explained(name: str) -> Iterator[None]:
    """A block that runs a custom rule: what it closes over may be a tracer that means nothing at the level where rules run."""
    try:
        yield
    except LeakedTracerError as e:
        if "custom rule" in str(e):
            raise
        error = LeakedTracerError(
            f"{name}: the function with a custom rule, or its rule, uses a traced array that is not among its arguments: a rule "
            f"only knows the derivative in the arguments. Pass the array as an argument, or use fdl.closure_convert.\n  {e}"
        )
        error.owner = e.owner
        raise error from None


def closed_over(kind: str, name: str) -> MissingRuleError:
    """The error for a derivative in a value that the function closes over."""
    return MissingRuleError(
        f"{kind} {name}: the derivative in a value that {name} closes over was asked for, but its rule only knows the derivative in its "
        f"arguments. Pass the value as an argument, or use fdl.closure_convert.{at(user_source())}"
    )


def lanes_of(trace: BatchTrace, inputs: Sequence[Any]) -> tuple[list[Any], tuple[bool, ...]]:
    """The values behind `inputs`, with the mapped axis first, and which of them have one."""
    mapped = tuple(trace.owns(x) for x in inputs)
    assert trace.parent is not None
    with using(trace.parent):
        return [move_axis(x.value, x.axis, 0) if m else x for x, m in zip(inputs, mapped, strict=True)], mapped


def over_lanes_or_once(
    trace: BatchTrace, mapped: Sequence[bool], once: Callable[[], list[Any]], lanes: Callable[[], list[Any]]
) -> list[Any]:
    """The outputs of a call in a trace over lanes: by one call for all lanes where nothing in it differs between them.

    Besides its inputs this may be what the function closes over, and a collective in it.  Whether it closes over lanes shows when it runs
    outside of their trace, where they mean nothing.
    """
    if not any(mapped) and trace.axis.name is None:
        try:
            return once()
        except LeakedTracerError as e:
            if not isinstance(e.owner, BatchTrace) or not trace.is_or_has(e.owner):
                raise
    return [BatchTracer(trace, x, 0) for x in lanes()]


def over_lanes(f: Flat, size: int, args: Sequence[Any], mapped: Sequence[bool], twin: BatchTrace | None = None) -> list[Any]:
    """The outputs of `f` mapped over the first axis of the marked arguments, each with the mapped axis first. `twin`: see `BatchTrace`."""
    outs, axes = batch_flat(f, size, args, [0 if m else None for m in mapped], twin=twin)
    return [with_batch_axis(x, a, size) for x, a in zip(outs, axes, strict=True)]


@dataclass(frozen=True, slots=True)
class MappedFunction:
    """A flat function over the lanes of its marked inputs, and of what it closes over where that is of the trace `twin`."""

    f: Flat
    size: int
    mapped: tuple[bool, ...]
    twin: BatchTrace | None = field(default=None, compare=False)

    def __call__(self, *args: Any) -> list[Any]:
        return over_lanes(self.f, self.size, args, self.mapped, self.twin)


@dataclass(frozen=True, slots=True)
class MappedJVP:
    """A flat jvp rule over the lanes of its marked inputs."""

    rule: Rule
    size: int
    mapped: tuple[bool, ...]
    twin: BatchTrace | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return f"{name_of_rule(self.rule)}_mapped"

    def __call__(self, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        n = len(primals)
        zeros: dict[int, Zero] = {}

        def flat(*args: Any) -> list[Any]:
            outs, dots = self.rule(args[:n], args[n:])
            zeros.update((i, d) for i, d in enumerate(dots) if isinstance(d, Zero))
            return [*outs, *(d for d in dots if not isinstance(d, Zero))]

        found = over_lanes(flat, self.size, [*primals, *tangents], self.mapped * 2, self.twin)
        n_outs = (len(found) + len(zeros)) // 2
        rest = iter(found[n_outs:])
        return found[:n_outs], [Zero(type_of(x)) if i in zeros else next(rest) for i, x in enumerate(found[:n_outs])]


def name_of_rule(f: Any) -> str:
    """The name by which a text knows a rule."""
    return getattr(f, "name", None) or getattr(f, "__name__", None) or type(f).__name__


# --- the primitive --------------------------------------------------------------------------------


def _abstract(*types: Type, program: Program, rule: Rule, closed: int) -> tuple[Type, ...]:
    check_operands("custom_jvp", program, types)
    return program.out_types


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, program: Program, rule: Rule, closed: int
) -> tuple[Sequence[Any], Sequence[Any]]:
    if any(not isinstance(t, Zero) for t in tangents[:closed]):
        raise closed_over("custom_jvp", program.name)
    with explained(program.name):
        return rule(primals[closed:], [instantiate(t) for t in tangents[closed:]])


def _transpose(cts: Sequence[Any], *inputs: Any, program: Program, rule: Rule, closed: int) -> list[Any]:
    return transpose_call(cts, *inputs, program=program, name=program.name)


def _batch(
    size: int, inputs: Sequence[Any], axes: Sequence[int | None], *, program: Program, rule: Rule, closed: int
) -> tuple[list[Any], list[int]]:
    mapped = tuple(a is not None for a in axes)
    batched, _ = batch_program(program, size, mapped, (True,) * len(program.outputs))
    args = [x if a is None else move_axis(x, a, 0) for x, a in zip(inputs, axes, strict=True)]
    outs = bind(custom_jvp_p, *args, program=batched, rule=MappedJVP(rule, size, mapped[closed:]), closed=closed)
    return outs, [0] * len(outs)


custom_jvp_p = Primitive(
    "custom_jvp",
    abstract=_abstract,
    reference=lambda *xs, program, rule, closed: tuple(run_program(program, xs)),
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    lowering=Call(lambda params: params["program"]),
    multiple=True,
    eager="compiled",
)
