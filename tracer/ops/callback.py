"""`callback`: a Python function on concrete arrays, called where the operation runs, inside compiled code too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ir import Effect, Type, type_of
from ..primitive import Named, Primitive, Zero, lookup
from ..trace import bind, record
from .elementwise import move_axis


def _effects(params: dict[str, Any]) -> frozenset[Effect]:
    effect = params["effect"]
    return frozenset({effect}) if effect else frozenset()


def _reference(
    *xs: np.ndarray, function: Callable[..., Any], out_types: tuple[Type, ...], effect: Effect | None, name: str
) -> tuple[Any, ...]:
    return tuple(function(*[np.array(x) for x in xs]))


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[list[Any], list[Any]]:
    outs = bind(callback_p, *primals, **params)
    return outs, [Zero(type_of(x)) for x in outs]


def _batch(size: int, inputs: Sequence[Any], axes: Sequence[int | None], **params: Any) -> tuple[list[Any], list[int]]:
    # One call for each lane, in order: the function sees what it would without vmap.
    consts = [x for x, a in zip(inputs, axes, strict=True) if a is None]
    xs = [move_axis(x, a, 0) for x, a in zip(inputs, axes, strict=True) if a is not None]

    def lane(*args: Any) -> list[Any]:
        fixed, moving = iter(args[: len(consts)]), iter(args[len(consts) :])
        return bind(callback_p, *(next(fixed) if a is None else next(moving) for a in axes), **params)

    types = [*map(type_of, consts), *(t.with_shape(t.shape[1:]) for t in map(type_of, xs))]
    body = record(lane, types, name="lane_callback")[0]
    outs = bind(lookup("scan"), *consts, *xs, body=body, n_consts=len(consts), n_carry=0, length=size, reverse=False)
    return outs, [0] * len(outs)


callback_p = Primitive(
    "callback",
    abstract=lambda *types, function, out_types, effect, name: out_types,
    reference=_reference,
    jvp=_jvp,
    batch=_batch,
    params_effects=_effects,
    lowering=Named("callback"),
    multiple=True,
)


def callback(
    function: Callable[..., Any], out_types: Sequence[Type], args: Sequence[Any], *, effect: Effect | None, name: str
) -> list[Any]:
    """What `function(*ndarrays)` returns, a sequence of arrays of `out_types`; its derivative is zero.

    Args:
        effect: "ordered_io" (exactly once, in order), "unordered_io" (exactly once), or None (pure: any number of times).
    """
    return bind(callback_p, *args, function=function, out_types=tuple(out_types), effect=effect, name=name)
