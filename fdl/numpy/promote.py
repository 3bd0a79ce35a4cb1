"""Operands as arrays of one dtype and compatible shapes: promotion and NumPy's broadcasting."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.array import Array, ArrayBase, own, private
from fdl.tracer.errors import AxisError, ConcretizationError, DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import Type, type_of
from fdl.tracer.ops import elementwise
from fdl.tracer.ops import shape as s
from fdl.tracer.scalars import SCALARS
from fdl.tracer.trace import Narrowed, Tracer, check_array, narrow


def as_operand(x: Any, what: str = "") -> Any:
    """`x` as an array, tracer or scalar that primitives take.

    Nested lists and tuples of numbers, and objects with `__array__`, the buffer protocol or `__dlpack__` are converted.
    """
    if isinstance(x, (ArrayBase, bool, int, float, complex, np.generic)):
        return x
    if isinstance(x, np.ndarray):
        return x if x.dtype in dtypes.SHORT else _native(x, what)
    if isinstance(x, (list, tuple)):
        return from_sequence(x, what)
    if hasattr(x, "__array__") or isinstance(x, (memoryview, bytearray)) or type(x).__module__ == "array":
        return _native(np.asarray(x), what)
    if hasattr(x, "__dlpack__") and hasattr(x, "__dlpack_device__"):
        return _native(np.from_dlpack(x), what)
    check_array(x, what)
    return x


def _native(x: np.ndarray, what: str) -> np.ndarray:
    y = x.astype(x.dtype.newbyteorder("="), copy=False)
    check_array(y, what)
    return y


def from_sequence(x: Any, what: str = "", wide: bool = False) -> Any:
    """The array of a nested list or tuple: numbers become one constant, traced elements are stacked.

    `wide` keeps Python numbers in 64 bits, for a conversion that follows.
    """
    leaves = _flat(x)
    if any(isinstance(v, Tracer) for v in leaves):
        parts = [as_operand(v) for v in x]
        parts = promote_operands(what or "array", *parts, broadcast=False)
        return s.concatenate([s.reshape(p, (1, *type_of(p).shape)) for p in parts], 0)
    try:
        y = _unsigned(x, leaves, np.array(_plain(x)))
    except ValueError:
        raise ShapeError(
            f"{what or 'array'} is a ragged nested sequence: {_ragged(x, '')}. Pad what is shorter, or keep a list of arrays."
            f"{at(user_source())}"
        ) from None
    if y.dtype not in dtypes.SHORT:
        _check_elements(x, what or "the sequence")
        check_array(y, what or "the sequence")
    if wide:
        return y
    if any(isinstance(v, (ArrayBase, np.ndarray, np.generic)) for v in leaves):  # Python numbers among arrays adapt to them
        types = (type_of(as_operand(v, what)) for v in leaves)
        wanted = dtypes.promote(*{(t.dtype, t.weak) for t in types})[0]
        check_range(what or "array", [v for v in leaves if type(v) is int], wanted)
        return y if y.dtype == wanted else y.astype(wanted)
    # Python numbers alone take the default dtypes.
    with np.errstate(over="ignore"):  # what is beyond float32 is an infinity
        return y.astype({"f": dtypes.DEFAULT_FLOAT, "i": _int_for(y), "c": dtypes.DEFAULT_COMPLEX}.get(y.dtype.kind, y.dtype))


def _unsigned(x: Any, leaves: list[Any], y: np.ndarray) -> np.ndarray:
    """`y`, NumPy's array of the nested sequence `x`; of integers that fit in uint64 alone, of which NumPy makes floats, that."""
    if y.dtype != np.float64 or not all(isinstance(v, int) or (hasattr(v, "dtype") and v.dtype.kind in "iu") for v in leaves):
        return y
    whole = np.array(_plain(x), object)
    return whole.astype(np.uint64) if y.size and whole.min() >= 0 else y


def _check_elements(x: Any, what: str) -> None:
    """Raises a DTypeError that names the first element of a nested sequence that is no number."""
    if isinstance(x, (list, tuple)):
        for i, v in enumerate(x):
            _check_elements(v, f"{what}[{i}]")
    else:
        check_array(x, what)


def _ragged(x: Any, where: str) -> str:
    """Where a nested sequence is ragged: "[0] has shape (1,), [1] has shape (2,)"."""
    first: tuple[str, Any] | None = None
    for i, v in enumerate(x):
        path = f"{where}[{i}]"
        try:
            shape = np.shape(_plain(v))
        except ValueError:
            return _ragged(v, path)
        if first is not None and shape != first[1]:
            return f"{first[0]} has shape {first[1]}, {path} has shape {shape}"
        first = first or (path, shape)
    return "its parts have several shapes"


def _plain(x: Any) -> Any:
    """A nested sequence with its Arrays as ndarrays."""
    if isinstance(x, Array):
        return x.data
    return [_plain(v) for v in x] if isinstance(x, (list, tuple)) else x


def _int_for(y: np.ndarray) -> dtypes.DType:
    info = np.iinfo(np.int32)
    return dtypes.int32 if y.size == 0 or (y.min() >= info.min and y.max() <= info.max) else dtypes.int64


def _flat(x: Any) -> list[Any]:
    return [leaf for v in x for leaf in _flat(v)] if isinstance(x, (list, tuple)) else [x]


def to_dtype(x: Any, dtype: dtypes.DType, weak: bool = False) -> Any:
    """`x` converted to `dtype`; a scalar is converted at once, and stays 0-d."""
    scalar = dtypes.scalar_type(x)
    if scalar is not None:
        if scalar[0].kind == "c" and dtype.kind not in "cb":
            raise DTypeError(f"cannot convert the complex number {x!r} to {dtype.name}.{at(user_source())}")
        if isinstance(x, int) and dtype.kind in "iu" and not isinstance(x, bool):
            whole = np.asarray(x % (1 << dtypes.bits(dtype)), f"u{dtype.itemsize}").view(dtype)  # integers wrap
            return Array(whole, True) if weak else whole
        if dtypes.is_float(scalar[0]) and dtypes.is_int(dtype):
            value = SCALARS["convert"].impl(np.asarray(x), dtype=dtype)  # saturates, as it does in a program
            return Array(value, True) if weak else value
        with np.errstate(all="ignore"):
            value = np.asarray(x).astype(dtype)
        return Array(value, True) if weak else value
    return elementwise.convert(x, dtype, weak)


def like(value: complex, x: Any) -> Any:
    """A 0-d constant of the dtype of `x`, and weak where `x` is: an operation with it leaves the result as weak as `x`."""
    t = type_of(x)
    constant = np.asarray(value, t.dtype)
    return Array(constant, True) if t.weak else constant


def result_dtype(*operands: Any) -> tuple[dtypes.DType, bool]:
    """The promoted (dtype, weak) of operands."""
    types = [type_of(x) for x in operands]
    return dtypes.promote(*[(t.dtype, t.weak) for t in types])


def promote_operands(
    name: str, *operands: Any, broadcast: bool = True, inexact: bool = False, numeric: bool = False, wraps: bool = False
) -> list[Any]:
    """The operands converted to their promoted dtype and broadcast to one shape; 0-d operands stay 0-d.

    Args:
        name: the function's name, for errors.
        inexact: whether integers and bools become floats.
        numeric: whether bools become integers.
        wraps: whether a Python integer of 32 bits wraps around in a narrower type, which `x & ~3` needs.

    Raises: ShapeError when the shapes do not broadcast; DTypeError for what is no array; OverflowError for a Python integer that the
    integer type does not hold.
    """
    ops = [x if type(x) is Array else as_operand(x, f"{name}: operand {i}") for i, x in enumerate(operands)]
    types = [type_of(x) for x in ops]
    dtype, weak = dtypes.promote(*[(t.dtype, t.weak) for t in types])
    if inexact and not dtypes.is_inexact(dtype):
        dtype = dtypes.DEFAULT_FLOAT
    elif numeric and dtype == dtypes.bool_:
        dtype = dtypes.DEFAULT_INT
    if dtype.kind in "iu":
        for x in ops:
            check_range(name, x, dtype, wraps)
    same = [
        t.dtype == dtype and t.weak == (weak and t.weak) and not isinstance(x, _SCALARS)
        for x, t in zip(ops, types, strict=True)
    ]
    out = [x if kept else to_dtype(x, dtype, weak and t.weak) for x, t, kept in zip(ops, types, same, strict=True)]
    return broadcast_operands(name, *out) if broadcast and len({t.shape for t in types}) > 1 else out


_SCALARS = (bool, int, float, complex, np.generic)


def broadcast_operands(name: str, *operands: Any) -> list[Any]:
    """The operands broadcast to one shape by NumPy's rule; 0-d operands stay 0-d."""
    shapes = [type_of(x).shape for x in operands]
    if len({n for n in shapes if n}) <= 1:
        return list(operands)
    target = broadcast_shapes(name, *shapes)
    return [x if given == () else broadcast_to(x, target) for x, given in zip(operands, shapes, strict=True)]


def broadcast_shapes(name: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape; raises a ShapeError that lists the shapes."""
    rank = max((len(given) for given in shapes), default=0)
    out = []
    for column in zip(*((1,) * (rank - len(given)) + given for given in shapes), strict=True):
        sizes = {n for n in column if n != 1}
        if len(sizes) > 1:
            raise ShapeError(
                f"{name}: shapes {' and '.join(map(str, shapes))} do not broadcast: from the right, sizes must be equal or 1. "
                f"Reshape one operand, or insert an axis with x[:, None].{at(user_source())}"
            )
        out.append(sizes.pop() if sizes else 1)
    return tuple(out)


def broadcast_to(array: Any, shape: Any) -> Any:
    """`array` repeated to `shape`, by NumPy's rule.

    Raises: ShapeError where `array` does not broadcast to it.

    Example:
        >>> broadcast_to([1, 2], (2, 2)).tolist()
        [[1, 2], [1, 2]]
    """
    target = (int(shape),) if isinstance(shape, (int, np.integer)) else tuple(int(n) for n in shape)
    array = as_operand(array, "broadcast_to")
    given = type_of(array).shape
    if given == target:
        return array
    if len(given) > len(target) or any(a not in (1, b) for a, b in zip(given[::-1], target[::-1], strict=False)):
        raise ShapeError(f"broadcast_to: shape {given} does not broadcast to {target}.{at(user_source())}")
    return s.broadcast(array, target, tuple(range(len(target) - len(given), len(target))))


def check_device(name: str, device: Any) -> None:
    """Raises a ShapeError unless `device` is None or "cpu", the device there is."""
    if device is not None and device != "cpu":
        raise ShapeError(f"{name}: device {device!r} is not known. Expected 'cpu', or None for the default.{at(user_source())}")


def check_conversion(name: str, given: dtypes.DType, wanted: dtypes.DType) -> None:
    """Raises a DTypeError where a conversion would drop imaginary parts."""
    if dtypes.is_complex(given) and wanted.kind not in "cb":
        raise DTypeError(
            f"{name}: {given.name} cannot become {wanted.name}, which would drop the imaginary parts. Take .real, .imag or abs first."
            f"{at(user_source())}"
        )


def asarray(a: Any, dtype: Any = None, *, device: Any = None, copy: bool | None = None) -> Any:
    """`a` as an array: an Array, or a tracer while tracing. NumPy arrays are copied, so that later writes do not show.

    Args:
        a: an array, a scalar, a nested sequence of numbers, or an object with the buffer protocol, `__array__` or `__dlpack__`.
        dtype: the dtype of the result; by default the array's own, float32 for Python floats, int32 for ints.
        device: "cpu" or None.
        copy: True gives an array of its own memory; False raises where `a` is no fdl array of that dtype already.

    Raises: ShapeError for a ragged sequence; DTypeError for what holds no numbers; ValueError where `copy` is False and one is needed.

    Example:
        >>> asarray([1.0, 2.0]).dtype
        dtype('float32')
    """
    check_device("asarray", device)
    if isinstance(a, (list, tuple)):
        y = from_sequence(a, "asarray: the argument", dtype is not None)
    else:
        y = as_operand(a, "asarray: the argument")
    if dtype is not None:
        wanted = dtypes.of(dtype)
        check_conversion("asarray", type_of(y).dtype, wanted)
        check_range("asarray", a, wanted)
        y = to_dtype(y, wanted) if type_of(y).dtype != wanted or type_of(y).weak else y
    if (copy is False and y is not a) or (copy is False and not isinstance(a, ArrayBase)):
        raise ValueError(
            f"asarray: copy=False, but {type(a).__name__} needs a copy to become an array of dtype {type_of(y).dtype.name}: arrays are "
            f"immutable, and own their memory. Leave copy out.{at(user_source())}"
        )
    if isinstance(y, Tracer):
        return y
    out = own(y)
    return Array(private(out.data), out.weak_type) if copy and out is a else out


def no_out(name: str, out: Any) -> None:
    """Raises a DTypeError where a result array is given: arrays are immutable."""
    if out is not None:
        raise DTypeError(f"{name}: out= is not taken, since arrays are immutable. Use the result.{at(user_source())}")


def canonical_axis(name: str, axis: int, ndim: int) -> int:
    """`axis` counted from the front; raises an AxisError when the array has no such axis."""
    if isinstance(axis, Tracer):
        axis = known_size(name, axis, "the axis")
    try:
        axis = operator.index(axis)
    except TypeError:
        raise TypeError(f"{name}: expected the axis as an integer, got {axis!r}.{at(user_source())}") from None
    if not -ndim <= axis < ndim:
        expected = f"expected {-ndim} to {ndim - 1}" if ndim else "a 0-d array has none"
        axes = f"{ndim} {'axis' if ndim == 1 else 'axes'}"
        raise AxisError(f"{name}: axis {axis} is out of range for an array with {axes}: {expected}.{at(user_source())}")
    return axis % ndim


def canonical_axes(name: str, axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes that `axis` (None: all; an int; several) names, counted from the front."""
    if axis is None:
        return tuple(range(ndim))
    axes = tuple(canonical_axis(name, a, ndim) for a in (axis if isinstance(axis, (tuple, list)) else (axis,)))
    if len(set(axes)) != len(axes):
        twice = next(a for a in axes if axes.count(a) > 1)
        raise ShapeError(f"{name}: axes {axis} repeat: axis {twice} of {ndim} is named twice.{at(user_source())}")
    return axes


def known_size(name: str, n: Any, what: str = "a size") -> int:
    """A number that a shape depends on, as an int; raises a ConcretizationError for a traced one, a TypeError for no integer."""
    if isinstance(n, Tracer) and n.concrete() is None:
        raise ConcretizationError(
            f"{name}: {what} is a traced array of type {n.type.strong()}, and the shape of the result depends on it: shapes are known "
            f"while tracing. Make it a static argument (static_argnums), or take it from the shape of an array.{at(user_source())}"
        )
    return operator.index(n)


def check_range(name: str, x: Any, dtype: dtypes.DType, wraps: bool = False) -> None:
    """Raises an OverflowError where `x` is a Python integer, or a sequence of such, that the integer type `dtype` does not hold.

    What is a Python integer only in the call of a function that is being traced is noted, for that call to be checked.

    Args:
        wraps: whether numbers of 32 bits wrap around in a narrower type, as the operands of bitwise logic do: `x & ~3`.
    """
    if not dtypes.is_int(dtype) or not (type(x) in (int, list, tuple) or isinstance(x, Tracer)):
        return
    low, high = (int(n) for n in (np.iinfo(dtype).min, np.iinfo(dtype).max))
    least, most = (min(low, -(2**31)), max(high, 2**31 - 1)) if wraps else (low, high)
    for n in _flat(x) if isinstance(x, (list, tuple)) else (x,):
        if type(n) is int and not least <= n <= most:
            raise OverflowError(
                f"{name}: the Python integer {n} does not fit in {dtype.name}: expected {low} to {high}. Convert what has that dtype to "
                f"a wider one, such as int64.{at(user_source())}"
            )
        if isinstance(n, Tracer) and n.type.weak and n.type.dtype.kind in "iu" and _may_exceed(n.type.dtype, least, most):
            narrow(n, Narrowed(dtype, least, most, name, user_source()))


def _may_exceed(dtype: dtypes.DType, low: int, high: int) -> bool:
    info = np.iinfo(dtype)
    return int(info.min) < low or int(info.max) > high


def zeros_of(t: Type) -> Any:
    """Zeros of a type."""
    return elementwise.splat(np.zeros((), t.dtype), t.shape)


__all__ = ["asarray", "broadcast_to"]
