"""Sorting under NumPy's names. NaN is larger than every number; complex numbers are ordered by their parts."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import complex as c
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import order
from fdl.tracer.ops import shape as s

from .promote import as_operand, asarray, broadcast_operands, canonical_axis, promote_operands, to_dtype


def _on_axis(name: str, x: Any, axis: int | None) -> tuple[Any, int]:
    x = as_operand(x, f"{name}: x")
    if axis is None:
        return s.reshape(x, (type_of(x).size,)), 0
    return x, canonical_axis(name, axis, type_of(x).ndim)


def _keys(x: Any) -> list[Any]:
    """What orders the elements of `x`, as operands that sort as they are: booleans as bytes, complex numbers by their parts."""
    dtype = type_of(x).dtype
    if dtype == dtypes.bool_:
        return [e.convert(x, dtypes.uint8)]
    if not dtypes.is_complex(dtype):
        return [x]
    re, im = c.real(x), c.imag(x)
    # A number with a NaN in either part comes last, those with a NaN imaginary part before those with a NaN real one.
    nan = e.logical_or(e.ne(re, re), e.ne(im, im))
    return [e.convert(nan, dtypes.uint8), re, im]


def sort(a: Any, axis: int | None = -1, *, descending: bool = False, stable: bool = True) -> Any:
    """`a` sorted along `axis` (flattened when None), always stable. NaN comes last; with `descending`, first.

    Example:
        >>> sort([3, 1, 2]).tolist(), sort([3, 1, 2], descending=True).tolist()
        ([1, 2, 3], [3, 2, 1])
    """
    a, axis = _on_axis("sort", a, axis)
    keys = _keys(a)
    ordered = order.sort(keys, axis, num_keys=len(keys))
    y = ordered[0]
    if dtypes.is_complex(type_of(a).dtype):
        y = c.complex(*ordered[1:])
    elif type_of(a).dtype == dtypes.bool_:
        y = e.convert(y, dtypes.bool_)
    return s.flip(y, (axis,)) if descending else y


def argsort(a: Any, axis: int | None = -1, *, descending: bool = False, stable: bool = True) -> Any:
    """The indices (int32) that sort `a` along `axis` (flattened when None), always stable: equal elements keep their order.

    Example:
        >>> argsort([3, 1, 2, 1]).tolist(), argsort([3, 1, 2, 1], descending=True).tolist()
        ([1, 3, 2, 0], [0, 2, 1, 3])
    """
    a, axis = _on_axis("argsort", a, axis)
    shape = type_of(a).shape
    dtype = dtypes.int64 if shape[axis] > 2**31 - 1 else dtypes.int32
    keys, places = _keys(a), s.iota(shape, dtype, axis)
    if descending:  # equal elements, reversed twice, keep their order
        keys, places = [s.flip(k, (axis,)) for k in keys], s.flip(places, (axis,))
    y = order.sort([*keys, places], axis, num_keys=len(keys))[-1]
    return s.flip(y, (axis,)) if descending else y


def lexsort(keys: Any, axis: int = -1) -> Any:
    """The indices (int32) that sort by several keys along `axis`: the last key first, ties by the one before, and so on.

    Example:
        >>> lexsort(([1, 0, 2], [5, 5, 4])).tolist()
        [2, 1, 0]
    """
    operands = list(keys) if isinstance(keys, (list, tuple)) else list(asarray(keys))
    if not operands:
        raise ShapeError(f"lexsort: needs at least one key.{at(user_source())}")
    operands = broadcast_operands("lexsort", *(as_operand(k, "lexsort: a key") for k in operands))
    if not type_of(operands[0]).shape:
        return asarray(np.zeros((), np.int32))  # as NumPy's: the index of the only one there is
    axis = canonical_axis("lexsort", axis, type_of(operands[0]).ndim)
    flat = [part for key in reversed(operands) for part in _keys(key)]
    places = s.iota(type_of(operands[0]).shape, dtypes.int32, axis)
    return order.sort([*flat, places], axis, num_keys=len(flat))[-1]


def partition(a: Any, kth: int, axis: int | None = -1) -> Any:
    """`a` along `axis` with what is smaller than the kth element before it and what is larger after it: all of it sorted."""
    a, axis = _on_axis("partition", a, axis)
    _kth("partition", kth, type_of(a).shape[axis])
    return sort(a, axis)


def argpartition(a: Any, kth: int, axis: int | None = -1) -> Any:
    """The indices (int32) that `partition` takes."""
    a, axis = _on_axis("argpartition", a, axis)
    _kth("argpartition", kth, type_of(a).shape[axis])
    return argsort(a, axis)


def _kth(name: str, kth: Any, n: int) -> None:
    for k in np.atleast_1d(np.asarray(kth)).tolist():
        if not isinstance(k, int) or not -n <= k < n:
            raise ShapeError(f"{name}: kth = {k} for an axis of size {n}: expected {-n} to {n - 1}.{at(user_source())}")


def sort_complex(a: Any) -> Any:
    """`a` along its last axis sorted by real parts, then imaginary ones, as complex numbers."""
    (a,) = promote_operands("sort_complex", a, inexact=True)
    t = type_of(a)
    wide = t.dtype if dtypes.is_complex(t.dtype) else dtypes.complex128 if t.dtype == dtypes.float64 else dtypes.complex64
    return to_dtype(sort(a), wide)


__all__ = ["argpartition", "argsort", "lexsort", "partition", "sort", "sort_complex"]
