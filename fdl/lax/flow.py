"""What has a name in JAX's `lax` and needs little: barriers, a choice by platform, and one more collective."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fdl.collectives import all_to_all
from fdl.numpy.promote import as_operand, asarray
from fdl.tracer import tree
from fdl.tracer.errors import at, user_source
from fdl.tracer.ops.barrier import barrier


def optimization_barrier(operand: Any, /) -> Any:
    """The pytree `operand` itself, as values that no pass of the compiler connects with what they come from.

    An operation after the barrier is never merged with an equal one before it, which is how something is computed twice on purpose.

    Example:
        >>> import fdl.numpy as fnp
        >>> optimization_barrier({"a": fnp.arange(2)})["a"].tolist()
        [0, 1]
    """
    leaves, structure = tree.flatten(operand)
    return tree.unflatten(structure, barrier([asarray(as_operand(x, "lax.optimization_barrier: the operand")) for x in leaves]))


def platform_dependent(*args: Any, default: Callable[..., Any] | None = None, **per_platform: Callable[..., Any]) -> Any:
    """The function given for the platform at hand, "cpu" (else `default`), applied to `args`.

    Raises: ValueError where there is neither.

    Example:
        >>> float(platform_dependent(3.0, cpu=lambda x: x + 1, cuda=lambda x: x - 1))
        4.0
    """
    chosen = per_platform.get("cpu", default)
    if chosen is None:
        raise ValueError(
            f"lax.platform_dependent: functions for {', '.join(per_platform) or 'no platform'} and no default: the platform is 'cpu'."
            f"{at(user_source())}"
        )
    return chosen(*tree.map(asarray, args))


def pswapaxes(x: Any, axis_name: Any, axis: int) -> Any:
    """`x` with its axis `axis`, of the size of the mapped axis, exchanged with the mapped axis `axis_name`.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> fdl.vmap(lambda x: pswapaxes(x, "i", 0), axis_name="i")(fnp.arange(4).reshape(2, 2)).tolist()
        [[0, 2], [1, 3]]
    """
    return all_to_all(x, axis_name, axis, axis)


__all__ = ["optimization_barrier", "platform_dependent", "pswapaxes"]
