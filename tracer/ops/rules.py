"""What the rules of several families share: linear primitives, zeros, mapped axes, checks of axes and dtypes.

A batching rule is `batch(size, inputs, dims, **params) -> (output, dim)`: `dims` tells the mapped axis of each input, or None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import DTypeError, ShapeError
from ..ir import Type, type_of
from ..primitive import Lowering, Primitive, Zero, lookup
from ..trace import bind
from .elementwise import move_axis, splat

Shape = tuple[int, ...]
Dims = Sequence[int | None]


def linear(
    name: str,
    *,
    abstract: Callable[..., Any],
    reference: Callable[..., Any],
    transpose: Callable[..., Any],
    batch: Callable[..., Any],
    lowering: Lowering,
    eager: str = "numpy",
) -> Primitive:
    """A primitive that is linear in its first operand and constant in the others: its derivative is itself."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        y = bind(prim, *primals, **params)
        if isinstance(tangents[0], Zero):
            return y, Zero(type_of(y))
        return y, bind(prim, tangents[0], *primals[1:], **params)

    prim = Primitive(
        name, abstract=abstract, reference=reference, jvp=jvp, transpose=transpose, batch=batch, lowering=lowering, eager=eager
    )
    return prim


def zeros(t: Type) -> Any:
    """Zeros of the shape and dtype of `t`."""
    return splat(np.zeros((), t.dtype), t.shape)


def materialised(t: Any) -> Any:
    """A tangent as a value: zeros for a Zero."""
    return zeros(t.type) if isinstance(t, Zero) else t


def shape_of(x: Any) -> Shape:
    """The shape of a value."""
    return type_of(x).shape


def insert_axis(x: Any, axis: int, size: int) -> Any:
    """`x` repeated `size` times along a new axis `axis`."""
    shape = shape_of(x)
    kept = tuple(i + (i >= axis) for i in range(len(shape)))
    return bind(lookup("broadcast"), x, shape=(*shape[:axis], size, *shape[axis:]), axes=kept)


def to_front(size: int, x: Any, dim: int | None) -> Any:
    """`x` with the mapped axis `dim` first; repeated along a new first axis where it is not mapped."""
    return insert_axis(x, 0, size) if dim is None else move_axis(x, dim, 0)


def shifted(axes: Sequence[int], dim: int) -> Shape:
    """Axes of one example as axes of an array that has the mapped axis `dim` besides."""
    return tuple(a + (a >= dim) for a in axes)


def inserted(values: Sequence[Any], at: int, value: Any) -> tuple[Any, ...]:
    """`values` with `value` put in at position `at`."""
    return (*values[:at], value, *values[at:])


def check_axes(name: str, axes: Sequence[int], ndim: int, shape: Shape) -> None:
    """Raises a ShapeError unless `axes` are increasing axes of an array of that shape."""
    for a in axes:
        if not 0 <= a < ndim:
            raise ShapeError(f"{name}: axis {a} of an operand of shape {shape}: expected an axis from 0 to {ndim - 1}.")
    if list(axes) != sorted(set(axes)):
        raise ShapeError(f"{name}: axes {tuple(axes)} of an operand of shape {shape}: expected each once, in increasing order.")


def no_bool(name: str, dtype: dtypes.DType) -> None:
    """Raises a DTypeError for bool, on which `name` has no arithmetic."""
    if dtype == dtypes.bool_:
        raise DTypeError(f"{name}: operands have dtype bool, expected numbers. Convert with .astype, for example to int32.")


def ordered(name: str, dtype: dtypes.DType) -> None:
    """Raises a DTypeError for complex numbers, which have no order."""
    if dtypes.is_complex(dtype):
        raise DTypeError(f"{name}: operands have dtype {dtype.name}, which has no order. Take the real part or the abs first.")
