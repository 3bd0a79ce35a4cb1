"""Reverse mode, first half: linearize.

A function is run forward under `JVPTrace` whose parent is a `TangentTrace`: what depends on tangents is recorded as a linear
program; everything else runs in the surrounding trace, at once where that is evaluation.  The values that the linear program
needs from the forward pass are its residuals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ir import Program, Type, Variable, type_of
from ..primitive import Primitive, Zero, lookup
from ..records import dataclass
from ..trace import Params, ProgramTrace, ProgramTracer, current, living
from .jvp import JVPTrace, JVPTracer, LinearParent, instantiate, program_function, split, tangent_type
from .residuals import lean


class TangentTrace(ProgramTrace, LinearParent):
    """Records what depends on its own tracers, and hands everything else to its parent.

    An operation that holds programs may have outputs of both kinds: a rule by `custom_jvp` may put a loop over primals and tangents into
    one `scan`, or be jitted.  What is recorded is linear in this trace's tracers t, f(p, t) = f'(p, 0)(0, t) in outputs that depend on
    them, so that the operation's own `linearize` rule, at t = 0, takes the two kinds apart.
    """

    def process(self, primitive: Primitive, inputs: Sequence[Any], params: Params) -> list[Any]:
        own = [isinstance(x, ProgramTracer) and x.owner is self for x in inputs]
        if not any(own):
            assert self.parent is not None
            return self.parent.process(primitive, inputs, params)
        if primitive.linearize is None:
            return self.record(primitive, inputs, params)
        types = [type_of(x) for x in inputs]
        primals = [instantiate(Zero(t)) if mine else x for x, t, mine in zip(inputs, types, own, strict=True)]
        tangents = [x if mine else Zero(t) for x, t, mine in zip(inputs, types, own, strict=True)]
        outs, dots = primitive.linearize(self, primals, tangents, **params)
        return [x if isinstance(d, Zero) else d for x, d in zip(outs, dots, strict=True)]


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear function: `program(*residuals, *tangents)`; `moving` tells which outputs it gives, the others are zero."""

    program: Program
    residuals: tuple[Any, ...]
    moving: tuple[bool, ...]
    out_types: tuple[Type, ...]


def linearize_flat(
    f: Callable[..., Sequence[Any]], primals: Sequence[Any], moving: Sequence[bool], label: str = "",
    force: Sequence[bool] | None = None,
) -> tuple[list[Any], Linear]:  # fmt: skip
    """The outputs of a flat function, and its derivative there as a linear function of the moving inputs' tangents."""
    tangents = TangentTrace(current(), label or getattr(f, "__name__", ""))
    trace = JVPTrace(tangents, tangents.label)
    trace.describe = getattr(f, "describe", None)
    with living(tangents):
        with living(trace):
            inputs = [
                JVPTracer(trace, x, tangents.new_input(tangent_type(type_of(x))), k) if m else x
                for k, (x, m) in enumerate(zip(primals, moving, strict=True))
            ]
            outs, dots = split(trace, f(*inputs))
        must = force or (False,) * len(outs)
        out_moving = tuple(m or not isinstance(d, Zero) for m, d in zip(must, dots, strict=True))
        given = [zeros_in(tangents, d.type) if isinstance(d, Zero) else d for d, m in zip(dots, out_moving, strict=True) if m]
        program, residuals = tangents.finish(given, name=f"linear_{tangents.label or 'f'}")
    return outs, Linear(program, tuple(residuals), out_moving, tuple(type_of(x) for x in outs))


def zeros_in(trace: ProgramTrace, t: Type) -> Any:
    """Zeros inside the linear program, where they are no residual."""
    zero = np.zeros((), t.dtype)
    return trace.record(lookup("broadcast"), [zero], {"shape": t.shape, "axes": ()})[0] if t.shape else zero


@dataclass(frozen=True, slots=True)
class Linearized:
    """A program split for reverse mode.

    `primal(*inputs)`, which may have constants, gives the outputs, then the residuals that are computed; `linear(*residuals,
    *tangents)` the moving outputs' tangents.  `sources` tells each residual: an int i ≥ 0 is input i of the program, -1 - j is
    the j-th computed one.
    """

    primal: Program
    linear: Program
    sources: tuple[int, ...]
    moving: tuple[bool, ...]

    @property
    def n_computed(self) -> int:
        return sum(s < 0 for s in self.sources)

    def residuals(self, inputs: Sequence[Any], computed: Sequence[Any]) -> list[Any]:
        """The residuals in order, from the inputs and the computed ones."""
        return [inputs[s] if s >= 0 else computed[-1 - s] for s in self.sources]


def linearize_program(program: Program, moving: tuple[bool, ...], force: tuple[bool, ...] | None = None) -> Linearized:
    """`program` split into its primal and its linear part, for the given moving inputs. `force` as in `jvp_program`."""

    def make() -> Linearized:
        trace = ProgramTrace(current(), program.name)
        with living(trace):
            inputs = [trace.new_input(t) for t in program.in_types]
            outs, linear = linearize_flat(program_function(program), inputs, moving, program.name, force)
            position: dict[Variable, int] = {v: i for i, v in enumerate(trace.inputs)}
            sources: list[int] = []
            computed: list[Any] = []
            for r in linear.residuals:
                at = position.get(r.variable) if isinstance(r, ProgramTracer) else None
                if at is None:
                    computed.append(r)
                    at = -len(computed)
                sources.append(at)
            whole, captured = trace.finish([*outs, *computed], name=program.name)
            n = len(captured)
            primal = Program(whole.inputs[n:], whole.equations, whole.outputs, whole.inputs[:n], tuple(captured), whole.name)
        return Linearized(*lean(primal, linear.program, sources), linear.moving)

    return program.cached(("linearize", moving, force), make)
