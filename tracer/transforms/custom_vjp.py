"""`custom_vjp`: a function with a reverse-mode derivative of its own.

As for `custom_jvp`, the current trace decides what a call does.  Under `linearize` the forward rule runs instead of the
function, and what it leaves behind is kept; its tangent is recorded as an equation that has no value of its own, only a
transpose, which is the backward rule:

    c: f32[] = custom_vjp[bwd=@f_bwd, closed=0, fwd=@f_fwd, program=program f(a: f32[]) {...}] b
    →   linear part:   c_dot: f32[] = custom_tangent[pull=@f_bwd, ...] residual b_dot
    →   transposed:    b_bar = f_bwd(residual, c_bar)

Flat rules: `fwd(*inputs) -> (outputs, residuals, structure)`, `bwd(structure, residuals, cotangents) -> a cotangent or None
for each input`; the structure is a hashable value that `fwd` hands to `bwd`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Sequence
from dataclasses import field
from typing import Any, TypeAlias

from .. import dtypes
from ..errors import MissingRuleError, at, user_source
from ..ir import Program, Type, type_of
from ..ops.elementwise import move_axis
from ..ops.reduce import reduce_sum
from ..primitive import Call, Primitive, Undefined, Zero, run_program
from ..records import dataclass
from ..trace import EvalTrace, ProgramTrace, Trace, Tracer, bind, current, record, using
from .call import check_operands, transpose_call
from .custom_jvp import (
    Flat,
    MappedFunction,
    check_evaluated,
    closed_over,
    explained,
    identifier,
    lanes_of,
    name_of_rule,
    over_lanes,
    over_lanes_or_once,
)
from .jvp import JVPTrace, instantiate, tangent_type
from .linearize import TangentTrace
from .vmap import BatchTrace, batch_flat, batch_program, with_batch_axis

Fwd: TypeAlias = Callable[..., tuple[Sequence[Any], Sequence[Any], Hashable]]
Bwd: TypeAlias = Callable[[Hashable, Sequence[Any], Sequence[Any]], Sequence[Any]]
Pull: TypeAlias = Callable[[Sequence[Any], Sequence[Any]], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class CustomVJP:
    """A call: the flat function and its flat rules. `name` is the function's, for messages and programs."""

    f: Flat
    fwd: Fwd
    bwd: Bwd
    name: str


def call_custom_vjp(call: CustomVJP, inputs: Sequence[Any]) -> list[Any]:
    """The outputs of the function on flat inputs."""
    return _call(current(), call, inputs)


@functools.singledispatch
def _call(trace: Trace, call: CustomVJP, inputs: Sequence[Any]) -> list[Any]:
    program, captured = record(call.f, [type_of(x) for x in inputs], call.name, identifier(call.name))
    params = {"program": program, "fwd": call.fwd, "bwd": call.bwd, "closed": len(captured)}
    return trace.process(custom_vjp_p, [*captured, *inputs], params)


@_call.register
def _(trace: EvalTrace, call: CustomVJP, inputs: Sequence[Any]) -> list[Any]:
    check_evaluated(inputs)
    with explained(call.name):
        return list(call.f(*inputs))


@_call.register
def _(trace: TangentTrace, call: CustomVJP, inputs: Sequence[Any]) -> list[Any]:
    if any(isinstance(x, Tracer) and x.owner is trace for x in inputs):
        return _call.dispatch(Trace)(trace, call, inputs)
    return _above(trace, call, inputs)


@_call.register
def _(trace: JVPTrace, call: CustomVJP, inputs: Sequence[Any]) -> list[Any]:
    primals, tangents = trace.unpack(inputs)
    if all(isinstance(t, Zero) for t in tangents):
        return _above(trace, call, primals)
    if not isinstance(trace.parent, TangentTrace):
        raise forward_mode(call.name)
    return trace.pack(*_linearized(trace.parent, primals, tangents, call.fwd, call.bwd, call.name))


@_call.register
def _(trace: BatchTrace, call: CustomVJP, inputs: Sequence[Any]) -> list[Any]:
    values, mapped = lanes_of(trace, inputs)
    how = trace.size, mapped, trace
    batched = CustomVJP(MappedFunction(call.f, *how), MappedFwd(call.fwd, *how), MappedBwd(call.bwd, *how), call.name)
    return over_lanes_or_once(trace, mapped, lambda: _above(trace, call, values), lambda: _above(trace, batched, values))


def _above(trace: Trace, call: CustomVJP, inputs: Sequence[Any]) -> list[Any]:
    assert trace.parent is not None
    with using(trace.parent):
        return _call(trace.parent, call, inputs)


def _linearized(
    trace: ProgramTrace, primals: Sequence[Any], tangents: Sequence[Any], fwd: Fwd, bwd: Bwd, name: str
) -> tuple[list[Any], list[Any]]:
    """The outputs by the forward rule, and their tangents as an equation of `trace` that the backward rule transposes."""
    assert trace.parent is not None
    with using(trace.parent), explained(name):
        outs, residuals, structure = fwd(*primals)
    types = tuple(tangent_type(type_of(x)) for x in outs)
    params = {
        "pull": Pulled(bwd, structure),
        "residuals": len(residuals),
        "moving": tuple(not isinstance(t, Zero) for t in tangents),
        "out_types": types,
    }
    dots = trace.record(custom_tangent_p, [*residuals, *(t for t in tangents if not isinstance(t, Zero))], params)
    return list(outs), [d if dtypes.is_inexact(t.dtype) else Zero(t) for d, t in zip(dots, types, strict=True)]


def forward_mode(name: str) -> MissingRuleError:
    """The error for forward mode on a function that has a custom_vjp rule."""
    return MissingRuleError(
        f"custom_vjp {name}: forward-mode differentiation (jvp, jacfwd, hessian's outer half) needs a tangent, and its rule only gives "
        f"cotangents. Use reverse mode (grad, vjp, jacrev), or define the rule with fdl.custom_jvp, which serves both.{at(user_source())}"
    )


# --- rules as values ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pulled:
    """A backward rule with what its forward rule handed over."""

    bwd: Bwd
    structure: Hashable

    @property
    def name(self) -> str:
        return name_of_rule(self.bwd)

    def __call__(self, residuals: Sequence[Any], cts: Sequence[Any]) -> Sequence[Any]:
        with explained(self.name):
            return self.bwd(self.structure, residuals, cts)


@dataclass(frozen=True, slots=True)
class MappedFwd:
    """A flat forward rule over the lanes of its marked inputs; every output and residual has a lane axis."""

    fwd: Fwd
    size: int
    mapped: tuple[bool, ...]
    twin: BatchTrace | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return f"{name_of_rule(self.fwd)}_mapped"

    def __call__(self, *inputs: Any) -> tuple[Sequence[Any], Sequence[Any], Hashable]:
        found: list[Any] = []

        def flat(*args: Any) -> list[Any]:
            outs, residuals, structure = self.fwd(*args)
            found[:] = [len(outs), structure]
            return [*outs, *residuals]

        values = over_lanes(flat, self.size, inputs, self.mapped, self.twin)
        n, structure = found
        return values[:n], values[n:], structure


@dataclass(frozen=True, slots=True)
class MappedBwd:
    """A flat backward rule over lanes. An input that all lanes share gets the sum of their cotangents."""

    bwd: Bwd
    size: int
    mapped: tuple[bool, ...]
    twin: BatchTrace | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return f"{name_of_rule(self.bwd)}_mapped"

    def __call__(self, structure: Hashable, residuals: Sequence[Any], cts: Sequence[Any]) -> list[Any]:
        k = len(residuals)
        return _pull_lanes(
            lambda *args: self.bwd(structure, args[:k], args[k:]),
            self.size,
            [*residuals, *cts],
            (True,) * (k + len(cts)),
            self.mapped,
            self.twin,
        )


@dataclass(frozen=True, slots=True)
class MappedPull:
    """What transposes a tangent equation, over lanes."""

    pull: Pull
    size: int
    residuals: tuple[bool, ...]
    mapped: tuple[bool, ...]

    @property
    def name(self) -> str:
        return f"{name_of_rule(self.pull)}_mapped"

    def __call__(self, residuals: Sequence[Any], cts: Sequence[Any]) -> list[Any]:
        k = len(residuals)
        flags = (*self.residuals, *(True,) * len(cts))
        return _pull_lanes(lambda *args: self.pull(args[:k], args[k:]), self.size, [*residuals, *cts], flags, self.mapped)


def _pull_lanes(
    f: Flat, size: int, args: Sequence[Any], flags: Sequence[bool], mapped: Sequence[bool], twin: BatchTrace | None = None
) -> list[Any]:
    """What `f` gives for each input, over lanes; summed where the input is shared, None where `f` gives None."""
    given: list[bool] = []

    def flat(*values: Any) -> list[Any]:
        results = f(*values)
        given[:] = [x is not None for x in results]
        return [x for x in results if x is not None]

    outs, axes = batch_flat(flat, size, args, [0 if m else None for m in flags], twin=twin)
    found = iter(zip(outs, axes, strict=True))
    results: list[Any] = []
    for g, m in zip(given, mapped, strict=True):
        if not g:
            results.append(None)
            continue
        x = with_batch_axis(*next(found), size)
        results.append(x if m else reduce_sum(x, (0,)))
    return results


# --- the primitives -------------------------------------------------------------------------------


def _abstract(*types: Type, program: Program, fwd: Fwd, bwd: Bwd, closed: int) -> tuple[Type, ...]:
    check_operands("custom_vjp", program, types)
    return program.out_types


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, program: Program, **params: Any) -> Any:
    raise forward_mode(program.name)


def _linearize(
    trace: ProgramTrace, primals: Sequence[Any], tangents: Sequence[Any], *, program: Program, fwd: Fwd, bwd: Bwd, closed: int
) -> tuple[list[Any], list[Any]]:
    if any(not isinstance(t, Zero) for t in tangents[:closed]):
        raise closed_over("custom_vjp", program.name)
    return _linearized(trace, primals[closed:], tangents[closed:], fwd, bwd, program.name)


def _transpose(cts: Sequence[Any], *inputs: Any, program: Program, **params: Any) -> list[Any]:
    return transpose_call(cts, *inputs, program=program, name=program.name)


def _batch(
    size: int, inputs: Sequence[Any], axes: Sequence[int | None], *, program: Program, fwd: Fwd, bwd: Bwd, closed: int
) -> tuple[list[Any], list[int]]:
    mapped = tuple(a is not None for a in axes)
    batched, _ = batch_program(program, size, mapped, (True,) * len(program.outputs))
    args = [x if a is None else move_axis(x, a, 0) for x, a in zip(inputs, axes, strict=True)]
    rules = {"fwd": MappedFwd(fwd, size, mapped[closed:]), "bwd": MappedBwd(bwd, size, mapped[closed:])}
    outs = bind(custom_vjp_p, *args, program=batched, closed=closed, **rules)
    return outs, [0] * len(outs)


custom_vjp_p = Primitive(
    "custom_vjp",
    abstract=_abstract,
    reference=lambda *xs, program, **params: tuple(run_program(program, xs)),
    jvp=_jvp,
    linearize=_linearize,
    transpose=_transpose,
    batch=_batch,
    lowering=Call(lambda params: params["program"]),
    multiple=True,
    eager="compiled",
)


def _no_tangent(pull: Pull) -> MissingRuleError:
    return forward_mode(name_of_rule(pull))


def _tangent_reference(*xs: Any, pull: Pull, **params: Any) -> Any:
    raise _no_tangent(pull)


def _tangent_callee(params: dict[str, Any]) -> Program:
    raise _no_tangent(params["pull"])


def _tangent_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, pull: Pull, **params: Any) -> Any:
    raise _no_tangent(pull)


def _tangent_transpose(
    cts: Sequence[Any], *inputs: Any, pull: Pull, residuals: int, moving: tuple[bool, ...], out_types: tuple[Type, ...]
) -> list[Any]:
    assert not any(isinstance(x, Undefined) for x in inputs[:residuals])
    found = pull(inputs[:residuals], [instantiate(c) for c in cts])
    return [*[None] * residuals, *(x for x, m in zip(found, moving, strict=True) if m)]


def _tangent_batch(
    size: int, inputs: Sequence[Any], axes: Sequence[int | None], *, pull: Pull, residuals: int, moving: tuple[bool, ...],
    out_types: tuple[Type, ...],
) -> tuple[list[Any], list[int]]:  # fmt: skip
    flags = tuple(a is not None for a in axes)
    rest = iter(flags[residuals:])
    mapped = tuple(m and next(rest) for m in moving)
    types = tuple(t.with_shape((size, *t.shape)) for t in out_types)
    args = [x if a is None else move_axis(x, a, 0) for x, a in zip(inputs, axes, strict=True)]
    new = MappedPull(pull, size, flags[:residuals], mapped)
    outs = bind(custom_tangent_p, *args, pull=new, residuals=residuals, moving=moving, out_types=types)
    return outs, [0] * len(outs)


custom_tangent_p = Primitive(
    "custom_tangent",
    abstract=lambda *types, pull, residuals, moving, out_types: out_types,
    reference=_tangent_reference,
    jvp=_tangent_jvp,
    transpose=_tangent_transpose,
    batch=_tangent_batch,
    lowering=Call(_tangent_callee),
    multiple=True,
    eager="compiled",
)
