"""`callback`: a Python function on concrete arrays, called where the operation runs, inside compiled code too.

The parameter `effect` says what may be done with the call (`tracer.effects`): None for a pure function, "unordered_io" or "ordered_io" for
one that does something.  What gives no results (a print) has no derivative to give: it sees the primals.  Anything else that depends on
what is differentiated is an error, since nothing is known of a Python function's derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import MissingRuleError, ShapeError, at
from ..ir import Effect, Type, type_of
from ..primitive import Named, Primitive, Zero, lookup
from ..trace import bind, current_source, record
from .elementwise import move_axis
from .rules import insert_axis

METHODS = ("sequential", "expand_dims", "broadcast_all", "legacy_vectorized")
"""How `vmap` calls a function. "sequential": once for each lane, in order.  The others call it once, with the lanes along a new first
axis of its operands and results; an operand that all lanes share gets a first axis of size 1, is repeated, or stays as it is."""


def _effects(params: dict[str, Any]) -> frozenset[Effect]:
    effect = params["effect"]
    return frozenset({effect}) if effect else frozenset()


def call_function(params: dict[str, Any], arrays: Sequence[np.ndarray], source: str = "") -> list[np.ndarray]:
    """What a callback's function returns for `arrays`, as arrays of the types that it has promised; it may keep and change `arrays`.

    Raises: ShapeError when it returns something else, at the line `source`; what the function raises.
    """
    function, name, types = params["function"], params["name"], params["out_types"]
    try:
        results = list(function(*arrays))
    except ShapeError as error:  # of its result's structure; the user's own errors have their line
        raise error if "\n  at " in str(error) else ShapeError(f"{error}{at(source)}") from None
    if len(results) != len(types):
        raise ShapeError(f"{name}: the function returned {len(results)} arrays, expected {len(types)}.{at(source)}")
    paths = getattr(function, "paths", None) or [f"[{i}]" for i in range(len(types))]
    found = []
    for path, x, t in zip(paths, results, types, strict=True):
        is_number = isinstance(x, (bool, int, float, complex)) and not isinstance(x, np.generic)
        a = np.asarray(x, t.dtype) if is_number else np.asarray(x)
        if a.shape != t.shape or a.dtype != t.dtype:
            raise ShapeError(
                f"{name}: result{path} has shape {a.shape} and dtype {a.dtype.name}, expected {t}. Correct what the function returns "
                f"(a.astype(np.{t.dtype.name})), or the result that was declared.{at(source)}"
            )
        found.append(a)
    return found


def _reference(*xs: np.ndarray, **params: Any) -> tuple[Any, ...]:
    return tuple(call_function(params, [np.array(x) for x in xs], current_source()))


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[list[Any], list[Any]]:
    if any(dtypes.is_inexact(t.dtype) for t in params["out_types"]):
        raise MissingRuleError(
            f"{params['name']} has no derivative: fdl cannot see into a Python function. Give it one with fdl.custom_jvp or "
            f"fdl.custom_vjp around the call, or make its operands constant with fdl.stop_gradient.{at(current_source())}"
        )
    outs = bind(callback_p, *primals, **params)
    return outs, [Zero(type_of(x)) for x in outs]


def _batch(
    size: int, inputs: Sequence[Any], axes: Sequence[int | None], **params: Any
) -> tuple[list[Any], Sequence[int | None]]:
    method = params["vmap_method"]
    if method == "sequential":
        return _one_by_one(size, inputs, axes, params)

    def operand(x: Any, a: int | None) -> Any:
        if a is not None:
            return move_axis(x, a, 0)
        return x if method == "legacy_vectorized" else insert_axis(x, 0, 1 if method == "expand_dims" else int(size))

    types = tuple(Type((int(size), *t.shape), t.dtype) for t in params["out_types"])
    outs = bind(callback_p, *map(operand, inputs, axes), **{**params, "out_types": types})
    return outs, [0] * len(outs)


def _one_by_one(
    size: int, inputs: Sequence[Any], axes: Sequence[int | None], params: dict[str, Any]
) -> tuple[list[Any], list[int | None]]:
    """One call for each lane, in order: the function sees what it would without vmap."""
    consts = [x for x, a in zip(inputs, axes, strict=True) if a is None]
    xs = [move_axis(x, a, 0) for x, a in zip(inputs, axes, strict=True) if a is not None]

    def lane(*args: Any) -> list[Any]:
        fixed, moving = iter(args[: len(consts)]), iter(args[len(consts) :])
        outs: list[Any] = bind(callback_p, *(next(fixed) if a is None else next(moving) for a in axes), **params)
        return outs

    types = [*map(type_of, consts), *(t.with_shape(t.shape[1:]) for t in map(type_of, xs))]
    body = record(lane, types, name="lane_callback")[0]
    outs = bind(lookup("scan"), *consts, *xs, body=body, n_consts=len(consts), n_carry=0, length=int(size), reverse=False)
    return outs, [0] * len(outs)


callback_p = Primitive(
    "callback",
    abstract=lambda *types, function, out_types, effect, name, vmap_method: out_types,
    reference=_reference,
    jvp=_jvp,
    batch=_batch,
    params_effects=_effects,
    lowering=Named("callback"),
    multiple=True,
)


def callback(
    function: Callable[..., Any],
    out_types: Sequence[Type],
    args: Sequence[Any],
    *,
    effect: Effect | None,
    name: str,
    vmap_method: str = "sequential",
) -> list[Any]:
    """What `function(*ndarrays)` returns, a sequence of arrays of `out_types`.

    Args:
        function: may have an attribute `paths`, what messages call its results. Equal functions make equal programs.
        effect: "ordered_io" (exactly once, in order), "unordered_io" (exactly once), or None (pure: any number of times).
        name: what messages call it.
        vmap_method: one of `METHODS`.
    """
    outs: list[Any] = bind(
        callback_p, *args, function=function, out_types=tuple(out_types), effect=effect, name=name, vmap_method=vmap_method
    )
    return outs
