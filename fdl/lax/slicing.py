"""Parts of arrays whose place may be traced and whose size is not, under the names of JAX's `lax`.

A negative start counts from the end (unless `allow_negative_indices` is False), and a slice that would reach beyond an end is moved
until it does not, as in XLA.  Indexing with brackets, `x[i]`, raises instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fdl.numpy import dynamic
from fdl.numpy.promote import asarray, to_dtype
from fdl.numpy.static import known
from fdl.tracer import dtypes
from fdl.tracer.errors import DTypeError, IndexOutOfBoundsError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import shape as s

from .operands import axis as axis_of
from .operands import one_dtype, operand

_operand = operand


def dynamic_slice(
    operand: Any, start_indices: Any, slice_sizes: Sequence[int], *, allow_negative_indices: bool | Sequence[bool] = True
) -> Any:
    """The part of `operand` of the static shape `slice_sizes` that begins at `start_indices`, one 0-d integer for each axis.

    Args:
        allow_negative_indices: whether a negative start counts from the end; one bool, or one for each axis.

    Example:
        >>> import fdl.numpy as fnp
        >>> dynamic_slice(fnp.arange(6), (4,), (3,)).tolist()  # moved: it begins at 3
        [3, 4, 5]
    """
    x = _operand("dynamic_slice", operand)
    starts = _starts("dynamic_slice", type_of(x).shape, start_indices, allow_negative_indices)
    return asarray(dynamic.dynamic_slice(x, starts, slice_sizes))


def _starts(name: str, shape: tuple[int, ...], given: Any, negative: bool | Sequence[bool]) -> list[Any]:
    """The starts, one for each axis; where negative ones do not count from the end, not below 0."""
    if isinstance(given, (tuple, list)):
        starts = list(given)
    else:
        vector = _operand(name, given, "start_indices")
        if type_of(vector).ndim != 1:
            raise ShapeError(
                f"lax.{name}: start_indices have shape {type_of(vector).shape}, expected one axis, or a sequence of scalars."
                f"{at(user_source())}"
            )
        starts = [s.reshape(s.slice_axis(vector, 0, i, i + 1), ()) for i in range(type_of(vector).size)]
    allowed = [negative] * len(starts) if isinstance(negative, bool) else list(negative)
    if len(allowed) != len(starts):
        raise ShapeError(
            f"lax.{name}: {len(allowed)} entries of allow_negative_indices for {len(starts)} starts.{at(user_source())}"
        )
    out = []
    for i, (start, ok) in enumerate(zip(starts, allowed, strict=True)):
        start = _operand(name, start, f"start {i}")
        t = type_of(start)
        if not dtypes.is_int(t.dtype) or t.shape:
            raise DTypeError(f"lax.{name}: start {i} is {t}, expected a 0-d integer.{at(user_source())}")
        value = known(start)
        if not ok and value is not None and int(value) < 0:
            size = shape[i] if i < len(shape) else 0
            raise IndexOutOfBoundsError(
                f"lax.{name}: start {int(value)} is out of bounds for axis {i} of size {size}: with allow_negative_indices=False, "
                f"expected 0 to {size}.{at(user_source())}"
            )
        out.append(start if ok or value is not None else e.max(start, e.scalar_like(0, start)))
    return out


def _one_dtype(name: str, x: Any, update: Any) -> tuple[Any, Any]:
    a, b = one_dtype(name, x, update)
    if type_of(a).dtype != type_of(x).dtype:  # a weak operand would take the update's dtype
        a, b = x, to_dtype(update, type_of(x).dtype)
    return a, b


def dynamic_update_slice(
    operand: Any, update: Any, start_indices: Any, *, allow_negative_indices: bool | Sequence[bool] = True
) -> Any:
    """`operand` with the part of the shape of `update` that begins at `start_indices` replaced by it, which has the same dtype.

    Example:
        >>> import fdl.numpy as fnp
        >>> dynamic_update_slice(fnp.zeros(4), fnp.ones(2), (1,)).tolist()
        [0.0, 1.0, 1.0, 0.0]
    """
    name = "dynamic_update_slice"
    x, new = _one_dtype(name, _operand(name, operand), _operand(name, update, "the update"))
    starts = _starts(name, type_of(x).shape, start_indices, allow_negative_indices)
    return asarray(dynamic.dynamic_update_slice(x, new, starts))


def _along(ndim: int, axis: int, start: Any) -> list[Any]:
    return [start if a == axis else 0 for a in range(ndim)]


def dynamic_slice_in_dim(
    operand: Any, start_index: Any, slice_size: int, axis: int = 0, *, allow_negative_indices: bool = True
) -> Any:
    """`dynamic_slice` along one axis, the others whole."""
    x = _operand("dynamic_slice_in_dim", operand)
    shape = type_of(x).shape
    a = axis_of("dynamic_slice_in_dim", "axis", axis, len(shape), negative=True)
    sizes = (*shape[:a], slice_size, *shape[a + 1 :])
    return dynamic_slice(x, _along(len(shape), a, start_index), sizes, allow_negative_indices=allow_negative_indices)


def dynamic_index_in_dim(
    operand: Any, index: Any, axis: int = 0, keepdims: bool = True, *, allow_negative_indices: bool = True
) -> Any:
    """The one slice of `operand` at `index` along `axis`; without `keepdims`, without that axis."""
    x = _operand("dynamic_index_in_dim", operand)
    shape = type_of(x).shape
    a = axis_of("dynamic_index_in_dim", "axis", axis, len(shape), negative=True)
    y = dynamic_slice_in_dim(x, index, 1, a, allow_negative_indices=allow_negative_indices)
    return y if keepdims else s.reshape(y, (*shape[:a], *shape[a + 1 :]))


def dynamic_update_slice_in_dim(
    operand: Any, update: Any, start_index: Any, axis: int, *, allow_negative_indices: bool = True
) -> Any:
    """`dynamic_update_slice` along one axis; the update is as large as `operand` along the others."""
    x = _operand("dynamic_update_slice_in_dim", operand)
    ndim = type_of(x).ndim
    a = axis_of("dynamic_update_slice_in_dim", "axis", axis, ndim, negative=True)
    return dynamic_update_slice(x, update, _along(ndim, a, start_index), allow_negative_indices=allow_negative_indices)


def dynamic_update_index_in_dim(
    operand: Any, update: Any, index: Any, axis: int, *, allow_negative_indices: bool = True
) -> Any:
    """`operand` with its one slice at `index` along `axis` replaced by `update`, which has that axis with size 1, or has it not."""
    name = "dynamic_update_index_in_dim"
    x, new = _operand(name, operand), _operand(name, update, "the update")
    ndim, shape = type_of(x).ndim, type_of(new).shape
    a = axis_of(name, "axis", axis, ndim, negative=True)
    if len(shape) != ndim:
        if len(shape) != ndim - 1:
            raise ShapeError(
                f"lax.{name}: an update of shape {shape} for an operand of shape {type_of(x).shape}: expected {ndim} axes, or one less."
                f"{at(user_source())}"
            )
        new = s.reshape(new, (*shape[:a], 1, *shape[a:]))
    return dynamic_update_slice_in_dim(x, new, index, a, allow_negative_indices=allow_negative_indices)


def slice_in_dim(operand: Any, start_index: int | None, limit_index: int | None, stride: int = 1, axis: int = 0) -> Any:
    """`operand[start_index:limit_index:stride]` along `axis`; all static, negative ones counting from the end.

    Example:
        >>> import fdl.numpy as fnp
        >>> slice_in_dim(fnp.arange(6), 1, -1, 2).tolist()
        [1, 3]
    """
    return asarray(dynamic.slice_in_dim(_operand("slice_in_dim", operand), start_index, limit_index, stride, axis))


def index_in_dim(operand: Any, index: int, axis: int = 0, keepdims: bool = True) -> Any:
    """The one slice of `operand` at the static `index` along `axis`; without `keepdims`, without that axis.

    Raises: IndexOutOfBoundsError for an index outside the axis.
    """
    x = _operand("index_in_dim", operand)
    shape = type_of(x).shape
    a = axis_of("index_in_dim", "axis", axis, len(shape), negative=True)
    if not -shape[a] <= index < shape[a]:
        raise IndexOutOfBoundsError(
            f"lax.index_in_dim: index {index} is out of bounds for axis {a} of size {shape[a]}.{at(user_source())}"
        )
    return asarray(dynamic.index_in_dim(x, index, a, keepdims))


__all__ = [
    "dynamic_index_in_dim", "dynamic_slice", "dynamic_slice_in_dim", "dynamic_update_index_in_dim", "dynamic_update_slice",
    "dynamic_update_slice_in_dim", "index_in_dim", "slice_in_dim",
]  # fmt: skip
