"""Forward mode: each value carries a tangent.

A `JVPTracer` is a pair (primal, tangent).  `JVPTrace` applies each primitive's jvp rule, whose own operations go to the parent
trace.  A tangent that is known to vanish is a `Zero` and costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import MissingRuleError, Place, at, user_place, user_source
from ..ir import Literal, Program, Type, Variable, evaluate, type_of
from ..ops.elementwise import splat
from ..primitive import Primitive, Zero
from ..trace import Params, Trace, Tracer, bind, current, living, record, sourced, using


class JVPTracer(Tracer):
    """A primal value with its tangent."""

    __slots__ = ("primal", "tangent")

    def __init__(self, trace: Trace, primal: Any, tangent: Any, source: Place | int = None) -> None:
        self.owner, self.primal, self.tangent, self.source = trace, primal, tangent, source

    @property
    def type(self) -> Type:  # type: ignore[override]
        return type_of(self.primal)

    def concrete(self) -> Any:
        return known_value(self.primal)

    def unknown(self) -> Tracer:
        return self.primal.unknown() if isinstance(self.primal, Tracer) else self


def known_value(x: Any) -> Any:
    """The concrete value behind `x`, or None while it is not known."""
    return x.concrete() if isinstance(x, Tracer) else x


class JVPTrace(Trace):
    """Applies jvp rules. `linearize` gives `parent` a meaning of its own for what depends on tangents."""

    def __init__(self, parent: Trace, label: str = "") -> None:
        self.parent, self.label = parent, label

    def unpack(self, inputs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """The primals and the tangents of `inputs`; what is not this trace's own tracer has a Zero tangent."""
        primals, tangents = [], []
        for x in inputs:
            if isinstance(x, JVPTracer) and x.owner is self:
                primals.append(x.primal)
                tangents.append(x.tangent)
            else:
                primals.append(x)
                tangents.append(None)
        return primals, [Zero(type_of(p)) if t is None else t for p, t in zip(primals, tangents, strict=True)]

    def pack(self, outs: Sequence[Any], dots: Sequence[Any]) -> list[Any]:
        """Outputs with their tangents; one whose tangent is Zero is a constant of this trace."""
        place = user_place()
        return [x if isinstance(t, Zero) else JVPTracer(self, x, t, place) for x, t in zip(outs, dots, strict=True)]

    def process(self, primitive: Primitive, inputs: Sequence[Any], params: Params) -> list[Any]:
        assert self.parent is not None
        if not any(isinstance(x, JVPTracer) and x.owner is self for x in inputs):
            return self.parent.process(primitive, inputs, params)
        primals, tangents = self.unpack(inputs)
        linearize = primitive.linearize
        if all(isinstance(t, Zero) for t in tangents):
            return self.parent.process(primitive, primals, params)
        if linearize is not None and isinstance(self.parent, LinearParent):
            return self.pack(*linearize(self.parent, primals, tangents, **params))
        rule = primitive.jvp
        if rule is None:
            raise MissingRuleError(_missing(primitive))
        with using(self.parent):
            outs, dots = rule(primals, tangents, **params)
        return self.pack(outs, dots) if primitive.multiple else self.pack([outs], [dots])


class LinearParent(Trace):
    """The base of the trace that records tangents only (see `linearize.TangentTrace`)."""


def _missing(primitive: Primitive) -> str:
    try:
        primitive.rule("jvp")
    except MissingRuleError as e:
        return f"{e}{at(user_source())}"
    raise AssertionError(primitive)


def instantiate(t: Any) -> Any:
    """A tangent as a value: zeros for a Zero."""
    if not isinstance(t, Zero):
        return t
    return splat(np.zeros((), t.type.dtype), t.type.shape)


def tangent_type(t: Type) -> Type:
    """The type of tangents of values of type `t`."""
    return t.strong()


def jvp_flat(
    f: Callable[..., Sequence[Any]], primals: Sequence[Any], tangents: Sequence[Any], label: str = ""
) -> tuple[list[Any], list[Any]]:
    """The outputs of a flat function and their tangents (some of them Zero)."""
    trace = JVPTrace(current(), label or getattr(f, "__name__", ""))
    trace.describe = getattr(f, "describe", None)
    with living(trace):
        pairs = enumerate(zip(primals, tangents, strict=True))
        outs = f(*[x if isinstance(t, Zero) else JVPTracer(trace, x, t, k) for k, (x, t) in pairs])
        return split(trace, outs)


def split(trace: Trace, outs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """The primals and tangents of the outputs of a function traced by `trace`."""
    own = [isinstance(x, JVPTracer) and x.owner is trace for x in outs]
    primals = [x.primal if mine else x for x, mine in zip(outs, own, strict=True)]
    return primals, [x.tangent if mine else Zero(type_of(x)) for x, mine in zip(outs, own, strict=True)]


def program_function(program: Program) -> Callable[..., list[Any]]:
    """A flat function that runs `program` by binding its equations."""

    def run(*args: Any) -> list[Any]:
        def step(e: Any, inputs: list[Any]) -> Sequence[Any]:
            with sourced(e.source):
                out = bind(e.primitive, *[x.value if isinstance(x, Literal) else x for x in inputs], **e.params)
            return out if e.primitive.multiple else (out,)

        return [x.value if isinstance(x, Literal) else x for x in evaluate(program, args, step)]

    run.__name__ = program.name
    return run


def recorded(f: Callable[..., Sequence[Any]], types: Sequence[Type], name: str) -> Program:
    """The program of `f` on inputs of the given types; the arrays it closes over are its constants.

    A transformed program has constants where a custom rule closes over arrays. Before it is a sub-program, `opened` makes them
    inputs.
    """
    program, captured = record(f, types, name=name)
    n = len(captured)
    return Program(program.inputs[n:], program.equations, program.outputs, program.inputs[:n], tuple(captured), program.name)


def opened(program: Program) -> tuple[Program, tuple[Any, ...]]:
    """`program` with its constants as its first inputs, and their values."""
    programs, values = opened_alike((program,))
    return programs[0], values


def opened_alike(programs: Sequence[Program]) -> tuple[tuple[Program, ...], tuple[Any, ...]]:
    """Programs of one type with the constants of all of them as their first inputs, and the values."""
    if not any(p.constants for p in programs):
        return tuple(programs), ()
    found = []
    for i, p in enumerate(programs):
        first = [v if i == j else Variable(v.type) for j, q in enumerate(programs) for v in q.constants]
        found.append(Program((*first, *p.inputs), p.equations, p.outputs, name=p.name))
    return tuple(found), tuple(x for p in programs for x in p.values)


def jvp_program(
    program: Program, moving: tuple[bool, ...], force: tuple[bool, ...] | None = None
) -> tuple[Program, tuple[bool, ...]]:
    """The program (*primals, *tangents of the moving inputs) → (*outputs, *tangents of the moving outputs), and which outputs
    move.

    `force` marks outputs whose tangent is given even where it is zero.
    """

    def make() -> tuple[Program, tuple[bool, ...]]:
        n = len(program.inputs)
        out_moving: list[bool] = []

        def f(*args: Any) -> list[Any]:
            rest = iter(args[n:])
            tangents = [next(rest) if m else Zero(t) for m, t in zip(moving, program.in_types, strict=True)]
            outs, dots = jvp_flat(program_function(program), args[:n], tangents)
            must = force or (False,) * len(outs)
            out_moving[:] = [m or not isinstance(d, Zero) for m, d in zip(must, dots, strict=True)]
            return [*outs, *(instantiate(d) for d, m in zip(dots, out_moving, strict=True) if m)]

        types = [*program.in_types, *(tangent_type(t) for t, m in zip(program.in_types, moving, strict=True) if m)]
        return recorded(f, types, f"jvp_{program.name}"), tuple(out_moving)

    return program.cached(("jvp", moving, force), make)


def zero_tangent(x: Any) -> Zero:
    """The Zero tangent of a value."""
    return Zero(type_of(x))


def is_differentiable(x: Any) -> bool:
    """Whether values like `x` have tangents other than zero."""
    return dtypes.is_inexact(type_of(x).dtype)
