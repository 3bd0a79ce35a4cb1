"""New arrays: constants, ranges, identity matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.array import Array
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import shape as s

from .promote import as_operand, asarray, broadcast_to, to_dtype
from .ufuncs import add, multiply


def as_shape(name: str, shape: Any) -> tuple[int, ...]:
    """A shape given as an int or a sequence of ints; raises a ShapeError for negative sizes."""
    sizes = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    try:
        out = tuple(n.__index__() for n in sizes)
    except (AttributeError, TypeError):
        raise ShapeError(f"{name}: expected a shape of ints, got {shape!r}.{at(user_source())}") from None
    if any(n < 0 for n in out):
        raise ShapeError(f"{name}: sizes must not be negative, got {out}.{at(user_source())}")
    return out


def array(x: Any, dtype: Any = None) -> Any:
    """A new array with the elements of `x`: see `asarray`."""
    return asarray(x, dtype)


def full(shape: Any, fill_value: Any, dtype: Any = None) -> Any:
    """An array filled with one value; its dtype is the value's (float32 for a Python float) unless given."""
    fill = as_operand(fill_value, "full: fill_value")
    fill = to_dtype(fill, dtypes.of(dtype) if dtype is not None else type_of(fill).dtype)
    return broadcast_to(asarray(fill), as_shape("full", shape))


def zeros(shape: Any, dtype: Any = None) -> Any:
    """An array of zeros, float32 unless `dtype` says otherwise."""
    return full(shape, 0, dtypes.of(dtype or float))


def ones(shape: Any, dtype: Any = None) -> Any:
    """An array of ones, float32 unless `dtype` says otherwise."""
    return full(shape, 1, dtypes.of(dtype or float))


empty = zeros


def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Any:
    """An array of the shape and dtype of `x`, filled with one value."""
    t = type_of(as_operand(x))
    return full(t.shape, fill_value, dtype or t.dtype)


def zeros_like(x: Any, dtype: Any = None) -> Any:
    """Zeros of the shape and dtype of `x`."""
    return full_like(x, 0, dtype)


def ones_like(x: Any, dtype: Any = None) -> Any:
    """Ones of the shape and dtype of `x`."""
    return full_like(x, 1, dtype)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Any:
    """Evenly spaced values in [start, stop), as NumPy's; int32 for Python ints, float32 for floats."""
    if stop is None:
        start, stop = 0, start
    values = np.arange(start, stop, step)
    if dtype is not None:
        wanted = dtypes.of(dtype)
    else:
        wanted = dtypes.DEFAULT_FLOAT if values.dtype.kind == "f" else dtypes.DEFAULT_INT
    if (start, step) == (0, 1) and values.dtype.kind == "i":
        return s.iota((len(values),), wanted, 0)
    return Array(values.astype(wanted))


def linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None) -> Any:
    """`num` evenly spaced values from `start` to `stop` (included unless `endpoint` is False)."""
    wanted = dtypes.of(dtype or float)
    return Array(np.linspace(start, stop, num, endpoint=endpoint).astype(wanted))


def eye(n: int, m: int | None = None, k: int = 0, dtype: Any = None) -> Any:
    """An (n, m) array with ones on the k-th diagonal."""
    sizes = (n, n if m is None else m)
    on = e.eq(add(s.iota(sizes, dtypes.int32, 0), k), s.iota(sizes, dtypes.int32, 1))
    return e.convert(on, dtypes.of(dtype or float))


def identity(n: int, dtype: Any = None) -> Any:
    """The (n, n) identity matrix."""
    return eye(n, dtype=dtype)


def tri_mask(shape: Sequence[int], k: int) -> Any:
    """Whether column <= row + k, over the last two axes of `shape`."""
    rank = len(shape)
    rows, columns = (s.iota(shape, dtypes.int32, a) for a in (rank - 2, rank - 1))
    return e.le(columns, add(rows, k))


def tril(x: Any, k: int = 0) -> Any:
    """`x` with zeros above the k-th diagonal."""
    x = asarray(x)
    return multiply(x, e.convert(tri_mask(type_of(x).shape, k), type_of(x).dtype))


def triu(x: Any, k: int = 0) -> Any:
    """`x` with zeros below the k-th diagonal."""
    x = asarray(x)
    return multiply(x, e.convert(e.logical_not(tri_mask(type_of(x).shape, k - 1)), type_of(x).dtype))


def one_hot(x: Any, n: int, dtype: Any = None) -> Any:
    """One-hot codes: `x` integers of any shape; returns shape (*x.shape, n), all zeros where x is outside [0, n)."""
    x = asarray(x)
    t = type_of(x)
    columns = s.iota((*t.shape, n), t.dtype, t.ndim)
    spread = s.broadcast(x, (*t.shape, n), tuple(range(t.ndim)))
    return e.convert(e.eq(spread, columns), dtypes.of(dtype or float))
