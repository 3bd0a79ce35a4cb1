"""Batching of decisions that differ from lane to lane.

`map_lanes` is the exact meaning of `vmap`: a loop over the lanes, in which each runs the unbatched operation alone.  No lane sees an
error, a callback or a NaN from a branch that it did not take, and each ends by itself; derivatives taken before or after are those of
the lane's own branch.  It is one native loop, however many lanes there are.

`choose` keeps, of values that were computed for all lanes, each lane's own.  That is the same only where nothing can go wrong in a lane
that did not ask for the computation, which `may_run_in_every_lane` tells; and it is what a collective needs, which all lanes take part in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..effects import may_speculate
from ..ir import Program, subprograms, type_of
from ..ops.collectives import axis_names
from ..ops.elementwise import eq, ge, move_axis, select
from ..primitive import Primitive, lookup
from ..trace import bind, record


def map_lanes(
    primitive: Primitive, size: int, inputs: Sequence[Any], axes: Sequence[int | None], params: dict[str, Any]
) -> tuple[list[Any], list[int | None]]:
    """The stacked outputs of `primitive` on each lane of its batched inputs, by a scan over the lanes."""
    consts = [x for x, a in zip(inputs, axes, strict=True) if a is None]
    xs = [move_axis(x, a, 0) for x, a in zip(inputs, axes, strict=True) if a is not None]

    def body(*args: Any) -> list[Any]:
        fixed, lane = iter(args[: len(consts)]), iter(args[len(consts) :])
        outs = bind(primitive, *(next(fixed) if a is None else next(lane) for a in axes), **params)
        return outs if primitive.multiple else [outs]

    lane_types = [t.with_shape(t.shape[1:]) for t in map(type_of, xs)]
    program, captured = record(body, [*map(type_of, consts), *lane_types], name=f"lane_{primitive.name}")
    assert not captured
    outs = bind(lookup("scan"), *consts, *xs, body=program, n_consts=len(consts), n_carry=0, length=int(size), reverse=False)
    return outs, [0] * len(outs)


def meet_in(size: int, programs: Sequence[Program]) -> bool:
    """Whether the lanes of this axis meet in a collective of one of the programs: then all of them have to run it."""
    name = getattr(size, "name", None)
    return name is not None and any(name in axis_names(p) for p in programs)


def may_run_in_every_lane(programs: Sequence[Program]) -> bool:
    """Whether a lane that did not ask for it may run the programs: they have no effects, and they end whatever they are given."""
    return all(may_speculate(p.effects) and _ends(p) for p in programs)


def _ends(program: Program) -> bool:
    def find() -> bool:
        return all(
            e.primitive.name not in ("while", "callback") and all(map(_ends, subprograms(e.params))) for e in program.equations
        )

    result: bool = program.cached("ends", find)
    return result


def choose(index: Any, cases: Sequence[Sequence[Any]]) -> list[Any]:
    """For each output the value of case `index[lane]` in each lane; the cases' outputs have the lanes in front, and an index is clamped."""
    outs = list(cases[0])
    for k, values in enumerate(cases[1:], 1):
        mine = (ge if k == len(cases) - 1 else eq)(index, np.int32(k))
        outs = [select(over(mine, x), x, y) for x, y in zip(values, outs, strict=True)]
    return outs


def over(flags: Any, x: Any) -> Any:
    """One flag a lane, repeated over the elements of `x` of that lane."""
    assert type_of(flags).dtype == dtypes.bool_
    shape = type_of(x).shape
    return flags if shape == type_of(flags).shape else bind(lookup("broadcast"), flags, shape=shape, axes=(0,))
