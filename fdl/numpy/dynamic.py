"""Slices whose place is traced and whose size is not: `dynamic_slice`, `dynamic_update_slice` and their forms for one axis.

As JAX's `lax` has them: a negative start counts from the end, and a slice that would reach beyond an end is moved until it does not.
For `fdl.lax` to export.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import index as ix
from fdl.tracer.ops import shape as s

from .promote import as_operand, canonical_axis, to_dtype
from .static import known, need_int


def _starts(name: str, shape: tuple[int, ...], starts: Any) -> list[Any]:
    """A start for each axis, counted from the front."""
    given = list(starts) if isinstance(starts, (tuple, list)) else as_operand(starts)
    if not isinstance(given, list):
        k = type_of(given).size
        given = [s.reshape(s.slice_axis(s.reshape(given, (k,)), 0, i, i + 1), ()) for i in range(k)]
    if len(given) != len(shape):
        raise ShapeError(
            f"{name}: {len(given)} starts for an array of shape {shape}: expected {len(shape)}.{at(user_source())}"
        )
    out = []
    for i, n in zip(given, shape, strict=True):
        i = as_operand(i, f"{name}: a start")
        t = type_of(i)
        if t.ndim or not dtypes.is_int(t.dtype):
            raise DTypeError(
                f"{name}: a start is {t}, expected a 0-d integer. Convert it with .astype(int).{at(user_source())}"
            )
        value = known(i)
        if value is not None:
            k = int(value)
            out.append(np.asarray(k + n if k < 0 else k, np.int32 if -(2**31) <= k < 2**31 and n < 2**31 else np.int64))
            continue
        if t.dtype.itemsize < 4:
            i = to_dtype(i, dtypes.int32 if n < 2**31 else dtypes.int64)
        if dtypes.is_signed(type_of(i).dtype):
            i = e.select(e.lt(i, e.scalar_like(0, i)), e.add(i, e.scalar_like(n, i)), i)
        out.append(i)
    return out


def dynamic_slice(operand: Any, start_indices: Any, slice_sizes: Sequence[int]) -> Any:
    """The part of `operand` of the static shape `slice_sizes` that begins at `start_indices`, one 0-d integer for each axis.

    Example:
        >>> dynamic_slice(np.arange(5.0), (3,), (3,)).tolist()
        [2.0, 3.0, 4.0]
    """
    x = as_operand(operand, "dynamic_slice: the operand")
    shape = type_of(x).shape
    sizes = tuple(need_int("dynamic_slice", "a size", n) for n in slice_sizes)
    if len(sizes) != len(shape) or any(not 0 <= m <= n for m, n in zip(sizes, shape, strict=True)):
        raise ShapeError(
            f"dynamic_slice: a slice of shape {sizes} does not fit into an array of shape {shape}.{at(user_source())}"
        )
    return ix.dynamic_slice(x, _starts("dynamic_slice", shape, start_indices), sizes)


def dynamic_update_slice(operand: Any, update: Any, start_indices: Any) -> Any:
    """`operand` with the part of the shape of `update` that begins at `start_indices` replaced by it.

    Example:
        >>> dynamic_update_slice(np.zeros(4), np.ones(2), (1,)).tolist()
        [0.0, 1.0, 1.0, 0.0]
    """
    x, update = as_operand(operand), as_operand(update)
    shape, sizes = type_of(x).shape, type_of(update).shape
    if len(sizes) != len(shape) or any(m > n for m, n in zip(sizes, shape, strict=True)):
        raise ShapeError(
            f"dynamic_update_slice: an update of shape {sizes} does not fit into an array of shape {shape}.{at(user_source())}"
        )
    update = to_dtype(update, type_of(x).dtype, type_of(update).weak and type_of(x).weak)
    return ix.dynamic_update_slice(x, update, _starts("dynamic_update_slice", shape, start_indices))


def _along(x: Any, axis: int, start: Any) -> list[Any]:
    return [start if a == axis else 0 for a in range(type_of(x).ndim)]


def dynamic_slice_in_dim(operand: Any, start_index: Any, slice_size: int, axis: int = 0) -> Any:
    """`dynamic_slice` along one axis."""
    x = as_operand(operand)
    shape = type_of(x).shape
    axis = canonical_axis("dynamic_slice_in_dim", axis, len(shape))
    return dynamic_slice(x, _along(x, axis, start_index), (*shape[:axis], slice_size, *shape[axis + 1 :]))


def dynamic_index_in_dim(operand: Any, index: Any, axis: int = 0, keepdims: bool = True) -> Any:
    """The one slice of `operand` at `index` along `axis`; without `keepdims`, without that axis."""
    x = as_operand(operand)
    axis = canonical_axis("dynamic_index_in_dim", axis, type_of(x).ndim)
    y = dynamic_slice_in_dim(x, index, 1, axis)
    shape = type_of(y).shape
    return y if keepdims else s.reshape(y, (*shape[:axis], *shape[axis + 1 :]))


def dynamic_update_slice_in_dim(operand: Any, update: Any, start_index: Any, axis: int) -> Any:
    """`dynamic_update_slice` along one axis."""
    x = as_operand(operand)
    axis = canonical_axis("dynamic_update_slice_in_dim", axis, type_of(x).ndim)
    return dynamic_update_slice(x, update, _along(x, axis, start_index))


def dynamic_update_index_in_dim(operand: Any, update: Any, index: Any, axis: int) -> Any:
    """`operand` with its one slice at `index` along `axis` replaced by `update`, which has that axis, with size 1, or has it not."""
    x, update = as_operand(operand), as_operand(update)
    rank = type_of(x).ndim
    axis = canonical_axis("dynamic_update_index_in_dim", axis, rank)
    shape = type_of(update).shape
    if len(shape) == rank - 1:
        update = s.reshape(update, (*shape[:axis], 1, *shape[axis:]))
    return dynamic_update_slice_in_dim(x, update, index, axis)


def slice_in_dim(operand: Any, start_index: int | None, limit_index: int | None, stride: int = 1, axis: int = 0) -> Any:
    """`operand[start_index:limit_index:stride]` along `axis`; all static."""
    x = as_operand(operand)
    axis = canonical_axis("slice_in_dim", axis, type_of(x).ndim)
    if stride < 1:
        raise ShapeError(f"slice_in_dim: the stride must be at least 1, got {stride}. Use flip.{at(user_source())}")
    steps = range(*slice(start_index, limit_index, stride).indices(type_of(x).shape[axis]))
    return s.slice_axis(x, axis, steps.start if steps else 0, steps[-1] + 1 if steps else 0, stride)


def index_in_dim(operand: Any, index: int, axis: int = 0, keepdims: bool = True) -> Any:
    """The one slice of `operand` at the static `index` along `axis`; without `keepdims`, without that axis."""
    x = as_operand(operand)
    shape = type_of(x).shape
    axis = canonical_axis("index_in_dim", axis, len(shape))
    if not -shape[axis] <= index < shape[axis]:
        raise ShapeError(f"index_in_dim: {index} is out of bounds for axis {axis} of size {shape[axis]}.{at(user_source())}")
    index %= shape[axis]
    y = s.slice_axis(x, axis, index, index + 1)
    return y if keepdims else s.reshape(y, (*shape[:axis], *shape[axis + 1 :]))


__all__ = [
    "dynamic_index_in_dim", "dynamic_slice", "dynamic_slice_in_dim", "dynamic_update_index_in_dim", "dynamic_update_slice",
    "dynamic_update_slice_in_dim", "index_in_dim", "slice_in_dim",
]  # fmt: skip
