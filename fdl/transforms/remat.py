"""`checkpoint` (also `remat`): computing intermediate values again in the backward pass, instead of keeping them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from fdl.tracer import tree
from fdl.tracer.errors import at, user_source
from fdl.tracer.ir import Program
from fdl.tracer.ops.barrier import named
from fdl.tracer.trace import Tracer, axis_sizes, bind, check_array, described, record
from fdl.tracer.transforms.checkpoint import Policy, checkpoint_p

from .checks import check_callable
from .signature import FlatFunction, argument_name, as_value, check_integers, check_leaves, chosen, name_of

_KEPT = 64


def checkpoint(
    f: Callable[..., Any] | None = None,
    *,
    prevent_cse: bool = True,
    policy: Policy | None = None,
    static_argnums: int | Sequence[int] | None = None,
    static_argnames: str | Sequence[str] | None = None,
) -> Any:
    """`f`, which keeps only its arguments for the backward pass, and computes the rest again there.

    Memory for time: a chain of n layers under `grad` keeps n activations; with each layer checkpointed, their inputs alone;
    with groups of √n layers, √n inputs and the insides of one group.

    Args:
        f: a function of pytrees of arrays; it is traced, so that Python control flow on their values is an error, as in `jit`.
        prevent_cse: keep the second computation apart from the first; False only saves a fence where nothing would merge them,
            as in the body of a `scan`.
        policy: what to save nevertheless: one of `fdl.checkpoint_policies`, or a function `(primitive, *types, **params) ->
            bool`.
        static_argnums, static_argnames: arguments that are Python values: hashable, and traced anew for each value.

    Returns: a function with the values and derivatives of `f`, in every mode and to any order.

    Raises: DTypeError naming the argument that is no array; TypeError for a static argument that is not hashable.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> layer = fdl.checkpoint(lambda w, x: fnp.tanh(x @ w))
        >>> fdl.grad(lambda w, x: layer(w, layer(w, x)).sum())(fnp.eye(2), fnp.zeros((1, 2))).tolist()
        [[0.0, 0.0], [0.0, 0.0]]
    """
    if f is None:
        return functools.partial(
            checkpoint, prevent_cse=prevent_cse, policy=policy, static_argnums=static_argnums, static_argnames=static_argnames
        )
    check_callable(f, "checkpoint")
    if policy is not None and not callable(policy):
        raise TypeError(
            f"checkpoint({name_of(f)}): policy: expected one of fdl.checkpoint_policies or a function, got {described(policy)}."
            f"{at(user_source())}"
        )
    static = chosen(f, "static", static_argnums, static_argnames, "checkpoint")
    name = name_of(f)
    traces: dict[Any, tuple[Program, list[Any], FlatFunction]] = {}

    @functools.wraps(f)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        fixed: dict[int | str, Any] = {i: a for i, a in enumerate(args) if static.has(i, len(args))}
        fixed |= {k: kwargs[k] for k in sorted(kwargs) if static.has(k, len(args))}
        named: dict[int | str, Any] = {i: a for i, a in enumerate(args) if i not in fixed}
        named |= {k: kwargs[k] for k in sorted(kwargs) if k not in fixed}
        for i, value in named.items():
            check_leaves(f, "checkpoint", argument_name(f, i), value)
        leaves, structure = tree.flatten((tuple(named.values()), {}))
        types = tuple(check_array(x) for x in leaves)
        key: tuple[Any, ...] = (structure, tuple(named), types, tuple(axis_sizes().items()))
        try:
            key += tuple((i, type(v), v) for i, v in fixed.items())
            known = traces.get(key)
        except TypeError:
            where = ", ".join(argument_name(f, i) for i in fixed)
            raise TypeError(
                f"checkpoint({name}): static arguments must be hashable; {where} are {list(fixed.values())}. "
                f"Pass a tuple instead of a list, or make the argument dynamic.{at(user_source())}"
            ) from None
        if known is None or not all(_is_alive(x) for x in known[1]):

            def call(*dynamic: Any) -> Any:
                values = dict(zip(named, dynamic, strict=True)) | fixed
                by_name = {k: v for k, v in values.items() if isinstance(k, str)}
                return f(*(values[i] for i in range(len(args))), **by_name)

            call.__name__ = name
            function = FlatFunction(call, structure)
            program, captured = record(function, types, f"checkpoint({name})", name if name.isidentifier() else "f")
            known = traces[key] = program, captured, function
            while len(traces) > _KEPT:
                traces.pop(next(iter(traces)))
        program, captured, function = known
        if function.narrowed:
            paths = [(argument_name(f, i), tree.paths(tree.structure(v))) for i, v in named.items()]
            names = [tree.path_str(path, root) for root, ways in paths for path in ways]
            check_integers(f"checkpoint({name})", function.narrowed, leaves, lambda: names)
        outs = bind(checkpoint_p, *captured, *leaves, program=program, policy=policy, prevent_cse=prevent_cse)
        return tree.unflatten(function.out_structure, [as_value(x) for x in outs])

    return checkpointed


remat = checkpoint
"""`checkpoint`, under its other name."""


def _is_alive(x: Any) -> bool:
    return not isinstance(x, Tracer) or x.owner.alive


def checkpoint_name(x: Any, name: str) -> Any:
    """`x`, a pytree of arrays, under a name that the policies of `checkpoint` can ask for.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> def f(x):
        ...     return fnp.sin(fdl.checkpoint_name(fnp.exp(x), "power"))
        >>> saving = fdl.checkpoint(f, policy=fdl.checkpoint_policies.save_only_these_names("power"))
        >>> bool(fnp.allclose(fdl.grad(saving)(1.0), fdl.grad(f)(1.0)))
        True
    """
    if not isinstance(name, str):
        raise TypeError(
            f"checkpoint_name: the name: expected a str, got {described(name)}. The value comes first: checkpoint_name(x, 'name')."
            f"{at(user_source())}"
        )
    return tree.map(lambda a: named(as_value(a), name), x)
