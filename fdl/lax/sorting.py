"""Sorting and the largest elements, under the names of JAX's `lax`. NaN counts as larger than every number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import order

from .operands import axis as axis_of
from .operands import check_kind, operand

_operand = operand


def sort(operand: Any, dimension: int = -1, is_stable: bool = True, num_keys: int = 1) -> Any:
    """`operand`, an array or a sequence of arrays of one shape, ordered along `dimension` by its first `num_keys` arrays.

    Args:
        is_stable: accepted; equal elements always keep their order.
        num_keys: how many of the arrays are compared, one after another; the others move along.

    Returns: an array, or a tuple of arrays.

    Example:
        >>> import fdl.numpy as fnp
        >>> [x.tolist() for x in sort((fnp.array([2, 1, 2]), fnp.array([5, 7, 4])), num_keys=2)]
        [[1, 2, 2], [7, 4, 5]]
    """
    several = isinstance(operand, Sequence)
    xs = [_operand("sort", x, f"operand {i}") for i, x in enumerate(operand if several else (operand,))]
    if not xs:
        raise ShapeError(f"lax.sort: no operands.{at(user_source())}")
    a = axis_of("sort", "dimension", dimension, type_of(xs[0]).ndim, negative=True)
    ys = tuple(order.sort(xs, a, num_keys))
    return ys if several else ys[0]


def sort_key_val(keys: Any, values: Any, dimension: int = -1, is_stable: bool = True) -> tuple[Any, Any]:
    """`keys` in ascending order along `dimension`, and `values` moved along with them.

    Example:
        >>> import fdl.numpy as fnp
        >>> [x.tolist() for x in sort_key_val(fnp.array([3, 1, 2]), fnp.array([0.0, 1.0, 2.0]))]
        [[1, 2, 3], [1.0, 2.0, 0.0]]
    """
    ordered, moved = sort((keys, values), dimension, is_stable)
    return ordered, moved


def top_k(operand: Any, k: int, *, axis: int = -1) -> tuple[Any, Any]:
    """The `k` largest elements of `operand` along `axis`, in descending order, and their indices (int32).

    Of equal elements the one with the lower index comes first.

    Example:
        >>> import fdl.numpy as fnp
        >>> [x.tolist() for x in top_k(fnp.array([3, 1, 4, 3]), 2)]
        [[4, 3], [2, 0]]
    """
    return _extreme("top_k", operand, k, axis, True)


def _extreme(name: str, operand: Any, k: int, axis: int, largest: bool) -> tuple[Any, Any]:
    x = _operand(name, operand)
    t = type_of(x)
    check_kind(name, t, "biuf")
    a = axis_of(name, "axis", axis, t.ndim, negative=True)
    n = t.shape[a]
    if not 0 <= k <= n:
        raise ShapeError(f"lax.{name}: k={k} for an axis of size {n} of an operand of shape {t.shape}.{at(user_source())}")
    return order.top_k(x, k, a, largest)


def _approximate(name: str, largest: bool) -> Any:
    def f(
        operand: Any,
        k: int,
        reduction_dimension: int = -1,
        recall_target: float = 0.95,
        reduction_input_size_override: int = -1,
        aggregate_to_topk: bool = True,
    ) -> tuple[Any, Any]:
        x = _operand(name, operand)
        check_kind(name, type_of(x), "f")
        return _extreme(name, x, k, reduction_dimension, largest)

    which, down = ("largest", "descending") if largest else ("smallest", "ascending")
    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"""The `k` {which} elements of floats `operand` along `reduction_dimension`, in {down} order, and their indices.

    Exact here, so that `recall_target` and the other parameters, which trade accuracy for speed elsewhere, are of no use.
    """
    return f


approx_max_k = _approximate("approx_max_k", True)
approx_min_k = _approximate("approx_min_k", False)

__all__ = ["approx_max_k", "approx_min_k", "sort", "sort_key_val", "top_k"]
