"""Batching by a loop over the lanes: each lane runs the unbatched operation alone.

For control flow whose decisions differ between lanes this is the exact meaning of `vmap`: no lane sees an error, a callback or a NaN from
a branch that it did not take, and each ends by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir import type_of
from ..ops.elementwise import move_axis
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
    outs = bind(lookup("scan"), *consts, *xs, body=program, n_consts=len(consts), n_carry=0, length=size, reverse=False)
    return outs, [0] * len(outs)
