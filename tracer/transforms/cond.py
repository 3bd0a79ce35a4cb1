"""`cond`: one of several programs, chosen by an index. The branches agree in their types; only the chosen one runs.

The parameter `backward`, there when it is True, marks the transpose of a cond whose branches hold collectives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import MissingRuleError, at
from ..ir import Program, Type, type_of
from ..ops.collectives import axis_names
from ..ops.elementwise import move_axis, splat
from ..primitive import Named, Primitive, Undefined, Zero, run_program
from ..trace import ProgramTrace, bind, current_source, record
from .call import check_operands
from .jvp import jvp_program, opened_alike, program_function, recorded, tangent_type
from .lanes import choose, map_lanes, meet_in
from .linearize import linearize_program
from .transpose import transpose_program
from .vmap import batch_program

Branches = tuple[Program, ...]


def _abstract(index: Type, *types: Type, branches: Branches, backward: bool = False) -> tuple[Type, ...]:
    assert index.shape == () and index.dtype == np.int32, index
    for b in branches:
        check_operands("cond", b, types)
        assert [t.strong() for t in b.out_types] == [t.strong() for t in branches[0].out_types], "branches differ in type"
    return tuple(
        Type(ts[0].shape, ts[0].dtype, all(t.weak for t in ts)) for ts in zip(*(b.out_types for b in branches), strict=True)
    )


def _reference(index: np.ndarray, *xs: Any, branches: Branches, backward: bool = False) -> tuple[Any, ...]:
    return tuple(run_program(branches[int(np.clip(index, 0, len(branches) - 1))], xs))


def _any(rows: Sequence[tuple[bool, ...]]) -> tuple[bool, ...]:
    return tuple(any(column) for column in zip(*rows, strict=True))


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, branches: Branches, **how: Any) -> tuple[list[Any], list[Any]]:
    moving = tuple(not isinstance(t, Zero) for t in tangents[1:])
    out_moving = _any([jvp_program(b, moving)[1] for b in branches])
    forward, closed = opened_alike([jvp_program(b, moving, out_moving)[0] for b in branches])
    outs = bind(
        cond_p,
        primals[0],
        *closed,
        *primals[1:],
        *(t for t in tangents[1:] if not isinstance(t, Zero)),
        branches=forward,
        **how,
    )
    n = len(out_moving)
    rest = iter(outs[n:])
    return outs[:n], [next(rest) if m else Zero(type_of(x)) for m, x in zip(out_moving, outs[:n], strict=True)]


def _linearize(
    trace: ProgramTrace, primals: Sequence[Any], tangents: Sequence[Any], *, branches: Branches, **how: Any
) -> tuple[list[Any], list[Any]]:
    moving = tuple(not isinstance(t, Zero) for t in tangents[1:])
    out_moving = _any([linearize_program(b, moving).moving for b in branches])
    splits = [linearize_program(b, moving, out_moving) for b in branches]
    n = len(out_moving)
    types = [s.primal.out_types[n:] for s in splits]
    everything = [t for ts in types for t in ts]
    starts = np.cumsum([0, *map(len, types)]).tolist()

    # Each branch gives its own residuals, and zeros in the place of the others'.
    def primal(i: int) -> Program:
        def f(*args: Any) -> list[Any]:
            outs = program_function(splits[i].primal)(*args)
            residuals = [splat(np.zeros((), t.dtype), t.shape) for t in everything]
            residuals[starts[i] : starts[i + 1]] = outs[n:]
            return [*outs[:n], *residuals]

        return recorded(f, branches[i].in_types, branches[i].name)

    def linear(i: int) -> Program:
        def f(*args: Any) -> list[Any]:
            inputs, computed = args[:n_in], args[n_in : n_in + len(everything)]
            residuals = splits[i].residuals(inputs, computed[starts[i] : starts[i + 1]])
            return program_function(splits[i].linear)(*residuals, *args[n_in + len(everything) :])

        given = [tangent_type(t) for t, m in zip(branches[i].in_types, moving, strict=True) if m]
        return record(f, [*branches[i].in_types, *everything, *given], name=f"linear_{branches[i].name}")[0]

    n_in = len(primals) - 1
    key = ("cond_linearize", moving, tuple(id(b) for b in branches))
    forward, backward = branches[0].cached(
        key, lambda: (tuple(primal(i) for i in range(len(branches))), tuple(linear(i) for i in range(len(branches))))
    )
    branches[0].cached((*key, "alive"), lambda: branches)
    assert trace.parent is not None
    forward, closed = opened_alike(forward)
    outs = trace.parent.process(cond_p, [primals[0], *closed, *primals[1:]], {"branches": forward, **how})
    given = [t for t in tangents[1:] if not isinstance(t, Zero)]
    dots = iter(trace.record(cond_p, [*primals, *outs[n:], *given], {"branches": backward, **how}))
    return outs[:n], [next(dots) if m else Zero(type_of(x)) for m, x in zip(out_moving, outs[:n], strict=True)]


def _transpose(cts: Sequence[Any], index: Any, *inputs: Any, branches: Branches, backward: bool = False) -> list[Any]:
    undefined = tuple(isinstance(x, Undefined) for x in inputs)
    given = tuple(not isinstance(c, Zero) for c in cts)
    programs, closed = opened_alike([transpose_program(b, undefined, given, force=True)[0] for b in branches])
    how = {"backward": True} if backward or any(axis_names(b) for b in branches) else {}
    known = [x for x in inputs if not isinstance(x, Undefined)]
    outs = iter(bind(cond_p, index, *closed, *known, *(c for c in cts if not isinstance(c, Zero)), branches=programs, **how))
    return [None, *(next(outs) if u else None for u in undefined)]


def _batch(
    size: int, inputs: Sequence[Any], axes: Sequence[int | None], *, branches: Branches, **how: Any
) -> tuple[list[Any], list[int | None]]:
    if axes[0] is not None and not meet_in(size, branches):
        return map_lanes(cond_p, size, inputs, axes, {"branches": branches, **how})
    batched = tuple(a is not None for a in axes[1:])
    if axes[0] is not None and how.get("backward"):
        # What a lane that took another branch owes through the collective can't be told from this lane's branch.
        raise MissingRuleError(
            "cond: a branch has a collective, and the predicate differs between the lanes that meet in it: that has no reverse-mode "
            "derivative in a lane. Take the derivative of the whole vmap, or call the collective outside the cond, and choose with "
            f"fdl.numpy.where.{at(current_source())}"
        )
    if axes[0] is not None:  # every lane runs every branch, so that all meet in its collectives
        alike = (True,) * len(branches[0].outputs)
        args = [x if a is None else move_axis(x, a, 0) for x, a in zip(inputs, axes, strict=True)]
        cases = [program_function(batch_program(b, size, batched, alike)[0])(*args[1:]) for b in branches]
        return choose(args[0], cases), [0] * len(alike)
    force = _any([batch_program(b, size, batched)[1] for b in branches])
    programs = tuple(batch_program(b, size, batched, force)[0] for b in branches)
    args = [x if a is None else move_axis(x, a, 0) for x, a in zip(inputs, axes, strict=True)]
    return bind(cond_p, *args, branches=programs, **how), [0 if b else None for b in force]


cond_p = Primitive(
    "cond",
    abstract=_abstract,
    reference=_reference,
    jvp=_jvp,
    linearize=_linearize,
    transpose=_transpose,
    batch=_batch,
    lowering=Named("cond"),
    multiple=True,
    eager="compiled",
)
