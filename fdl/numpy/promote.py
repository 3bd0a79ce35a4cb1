"""Operands as arrays of one dtype and compatible shapes: promotion and NumPy's broadcasting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.array import Array, ArrayBase, own
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import Type, type_of
from fdl.tracer.ops import elementwise, shape
from fdl.tracer.trace import Tracer, check_array


def as_operand(x: Any, what: str = "") -> Any:
    """`x` as an array, tracer or scalar that primitives take; nested lists and tuples of numbers are converted."""
    if isinstance(x, (ArrayBase, bool, int, float, complex, np.generic)):
        return x
    if isinstance(x, np.ndarray):
        return x if x.dtype in dtypes.SHORT else _native(x, what)
    if isinstance(x, (list, tuple)):
        return from_sequence(x, what)
    if hasattr(x, "__array__"):
        return _native(np.asarray(x), what)
    check_array(x, what)
    return x


def _native(x: np.ndarray, what: str) -> np.ndarray:
    y = x.astype(x.dtype.newbyteorder("="), copy=False)
    check_array(y, what)
    return y


def from_sequence(x: Any, what: str = "") -> Any:
    """The array of a nested list or tuple: numbers become one constant, traced elements are stacked."""
    if any(isinstance(v, Tracer) for v in _flat(x)):
        parts = [as_operand(v) for v in x]
        parts = promote_operands(what or "array", *parts, broadcast=False)
        return shape.concatenate([shape.reshape(p, (1, *type_of(p).shape)) for p in parts], 0)
    try:
        y = np.array([np.asarray(v) if isinstance(v, Array) else v for v in x])
    except ValueError as e:
        raise ShapeError(f"{what or 'array'}: the nested sequence is ragged: {e}.{at(user_source())}") from None
    if y.dtype == object or y.dtype.kind in "US":
        check_array(y, what or "the sequence")
    strong = any(isinstance(v, (ArrayBase, np.ndarray, np.generic)) for v in _flat(x))
    if not strong:  # Python numbers take the default dtypes
        y = y.astype({"f": dtypes.DEFAULT_FLOAT, "i": _int_for(y), "c": dtypes.DEFAULT_COMPLEX}.get(y.dtype.kind, y.dtype))
    return y


def _int_for(y: np.ndarray) -> dtypes.DType:
    info = np.iinfo(np.int32)
    return dtypes.int32 if y.size == 0 or (y.min() >= info.min and y.max() <= info.max) else dtypes.int64


def _flat(x: Any) -> list[Any]:
    return [leaf for v in x for leaf in _flat(v)] if isinstance(x, (list, tuple)) else [x]


def to_dtype(x: Any, dtype: dtypes.DType, weak: bool = False) -> Any:
    """`x` converted to `dtype`; a scalar is converted at once, and stays 0-d."""
    scalar = dtypes.scalar_type(x)
    if scalar is not None:
        if scalar[0].kind == "c" and dtype.kind != "c":
            raise DTypeError(f"cannot convert the complex number {x!r} to {dtype.name}.{at(user_source())}")
        if isinstance(x, int) and dtype.kind in "iu" and not isinstance(x, bool):
            return np.asarray(x % (1 << dtypes.bits(dtype)), f"u{dtype.itemsize}").view(dtype)  # integers wrap
        with np.errstate(all="ignore"):
            value = np.asarray(x).astype(dtype)
        return Array(value, True) if weak else value
    return elementwise.convert(x, dtype, weak)


def result_dtype(*operands: Any) -> tuple[dtypes.DType, bool]:
    """The promoted (dtype, weak) of operands."""
    types = [type_of(x) for x in operands]
    return dtypes.promote(*[(t.dtype, t.weak) for t in types])


def promote_operands(name: str, *operands: Any, broadcast: bool = True, inexact: bool = False) -> list[Any]:
    """The operands converted to their promoted dtype and broadcast to one shape; 0-d operands stay 0-d.

    Args:
        name: the function's name, for errors.
        inexact: whether integers and bools become floats.

    Raises: ShapeError when the shapes do not broadcast; DTypeError for what is no array.
    """
    ops = [as_operand(x, f"{name}: operand {i}") for i, x in enumerate(operands)]
    dtype, weak = result_dtype(*ops)
    if inexact and not dtypes.is_inexact(dtype):
        dtype = dtypes.DEFAULT_FLOAT
    out = [to_dtype(x, dtype, weak and type_of(x).weak) for x in ops]
    return broadcast_operands(name, *out) if broadcast else out


def broadcast_operands(name: str, *operands: Any) -> list[Any]:
    """The operands broadcast to one shape by NumPy's rule; 0-d operands stay 0-d."""
    shapes = [type_of(x).shape for x in operands]
    if len({s for s in shapes if s}) <= 1:
        return list(operands)
    target = broadcast_shapes(name, *shapes)
    return [x if s == () else broadcast_to(x, target) for x, s in zip(operands, shapes, strict=True)]


def broadcast_shapes(name: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape; raises a ShapeError that lists the shapes."""
    rank = max((len(s) for s in shapes), default=0)
    out = []
    for column in zip(*((1,) * (rank - len(s)) + s for s in shapes), strict=True):
        sizes = {n for n in column if n != 1}
        if len(sizes) > 1:
            raise ShapeError(
                f"{name}: shapes {' and '.join(map(str, shapes))} do not broadcast: from the right, sizes must be equal or 1. "
                f"Reshape one operand, or insert an axis with x[:, None].{at(user_source())}"
            )
        out.append(sizes.pop() if sizes else 1)
    return tuple(out)


def broadcast_to(x: Any, target: Sequence[int]) -> Any:
    """`x` repeated to the shape `target`."""
    target = tuple(int(n) for n in target)
    x = as_operand(x, "broadcast_to")
    given = type_of(x).shape
    if given == target:
        return x
    if len(given) > len(target) or any(a not in (1, b) for a, b in zip(given[::-1], target[::-1], strict=False)):
        raise ShapeError(f"broadcast_to: shape {given} does not broadcast to {target}.{at(user_source())}")
    return shape.broadcast(x, target, tuple(range(len(target) - len(given), len(target))))


def asarray(x: Any, dtype: Any = None) -> Any:
    """`x` as an array: an Array, or a tracer while tracing. NumPy arrays are copied, so that later writes do not show.

    Args:
        x: an array, a scalar, or a nested sequence of numbers.
        dtype: the dtype of the result; by default the array's own, float32 for Python floats, int32 for ints.

    Example:
        >>> asarray([1.0, 2.0]).dtype
        dtype('float32')
    """
    y = as_operand(x, "asarray: the argument")
    if dtype is not None:
        wanted = dtypes.of(dtype)
        y = to_dtype(y, wanted) if type_of(y).dtype != wanted or type_of(y).weak else y
    return y if isinstance(y, Tracer) else own(y)


def canonical_axis(name: str, axis: int, ndim: int) -> int:
    """`axis` counted from the front; raises a ShapeError when the array has no such axis."""
    axis = int(axis)
    if not -ndim <= axis < ndim:
        raise ShapeError(f"{name}: axis {axis} is out of range for an array with {ndim} axes.{at(user_source())}")
    return axis % ndim


def canonical_axes(name: str, axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes that `axis` (None: all; an int; several) names, counted from the front."""
    if axis is None:
        return tuple(range(ndim))
    axes = tuple(canonical_axis(name, a, ndim) for a in (axis if isinstance(axis, (tuple, list)) else (axis,)))
    if len(set(axes)) != len(axes):
        raise ShapeError(f"{name}: axes {axis} repeat.{at(user_source())}")
    return axes


def zeros_of(t: Type) -> Any:
    """Zeros of a type."""
    return elementwise.splat(np.zeros((), t.dtype), t.shape)
