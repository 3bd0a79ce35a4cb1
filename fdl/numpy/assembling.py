"""Arrays put together and taken apart: `block`, `append`, `insert`, `delete`, `resize`, `trim_zeros`, splits along an axis, packed bits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.errors import DTypeError, IndexOutOfBoundsError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import shape as s
from fdl.tracer.ops.order import sort
from fdl.tracer.ops.reduce import reduce_sum

from .creation import as_shape
from .indexing import getitem
from .joins import concat, split
from .promote import as_operand, asarray, broadcast_to, canonical_axis, check_range, to_dtype
from .searching import truth
from .static import axis_of, flat, known, need, scalar

# --- putting together -----------------------------------------------------------------------------


def append(arr: Any, values: Any, axis: int | None = None) -> Any:
    """`arr` with `values` after it along `axis`; both flattened when it is None."""
    arr = as_operand(arr)
    if type(values) is int:
        check_range("append: values", values, type_of(arr).dtype)
    values = as_operand(values)
    if axis is None:
        return concat([flat(arr), flat(values)])
    return concat([arr, values], axis=axis)


def block(arrays: Any) -> Any:
    """The array of nested lists of blocks: the innermost lists are joined along the last axis, those outside along the one before.

    Example:
        >>> block([[np.ones((1, 1)), np.zeros((1, 2))], [np.zeros((1, 3))]]).tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    depth = _depth(arrays, ())
    leaves = _leaves(arrays)
    rank = max(depth, *(type_of(as_operand(x)).ndim for x in leaves))
    return asarray(_join(arrays, depth, rank, 1))


def _depth(x: Any, path: tuple[int, ...]) -> int:
    if isinstance(x, tuple):
        raise DTypeError(f"block: {_place(path)} is a tuple: nest lists, whose ends are arrays.{at(user_source())}")
    if not isinstance(x, list):
        return 0
    if not x:
        raise ShapeError(f"block: {_place(path)} is empty.{at(user_source())}")
    depths = {_depth(v, (*path, k)) for k, v in enumerate(x)}
    if len(depths) > 1:
        raise ShapeError(
            f"block: lists in {_place(path)} are nested {sorted(depths)} deep: expected one depth.{at(user_source())}"
        )
    return 1 + depths.pop()


def _place(path: tuple[int, ...]) -> str:
    return "arrays" + "".join(f"[{k}]" for k in path)


def _leaves(x: Any) -> list[Any]:
    return [leaf for v in x for leaf in _leaves(v)] if isinstance(x, list) else [x]


def _join(x: Any, depth: int, rank: int, level: int) -> Any:
    if not isinstance(x, list):
        x = as_operand(x, "block: a block")
        return s.reshape(asarray(x), (*(1,) * (rank - type_of(x).ndim), *type_of(x).shape))
    return concat([_join(v, depth, rank, level + 1) for v in x], axis=-(depth - level + 1))


def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Any:
    """`arr` with `values` put in before the positions `obj` (known while tracing) along `axis`; flattened when it is None.

    Args:
        obj: an int, a slice, or a sequence of ints or bools; positions count in `arr` as it is.

    Example:
        >>> insert(np.array([1.0, 2.0, 3.0]), [1, 1, 3], np.array([7.0, 8.0, 9.0])).tolist()
        [1.0, 7.0, 8.0, 2.0, 3.0, 9.0]
    """
    arr, axis = axis_of("insert", arr, axis)
    t = type_of(arr)
    n = t.shape[axis]
    places, scalar_place = _positions("insert", obj, n, last=n)
    check_range("insert: values", values, t.dtype)
    values = to_dtype(as_operand(values, "insert: values"), t.dtype)
    v = type_of(values)
    values = s.reshape(asarray(values), (*(1,) * (t.ndim - v.ndim), *v.shape)) if v.ndim < t.ndim else values
    if scalar_place and axis:  # arr[:, i] = values has the values' first axis first; arr[:, i:i+1] would have it at `axis`
        values = s.transpose(values, _first_to(axis, type_of(values).ndim))
    if len(places) == 1:  # one place takes all of the values
        places = np.repeat(places, type_of(values).shape[axis])
    values = broadcast_to(values, (*t.shape[:axis], len(places), *t.shape[axis + 1 :]))
    order = np.argsort(places, kind="stable")
    target = places[order] + np.arange(len(places))
    m = n + len(places)
    old = np.ones(m, bool)
    old[target] = False
    source = np.empty(m, np.int32)
    source[old] = np.arange(n)
    source[target] = n + order
    return getitem(concat([arr, values], axis=axis), (*(slice(None),) * axis, source))


def _first_to(axis: int, rank: int) -> tuple[int, ...]:
    order = list(range(1, rank))
    order.insert(axis, 0)
    return tuple(order)


def _positions(name: str, obj: Any, n: int, last: int) -> tuple[np.ndarray, bool]:
    """Positions from 0 to `last`, and whether it is one that was given as a number."""
    if isinstance(obj, slice):
        return np.arange(*obj.indices(n)), False
    value = need(
        name, [] if isinstance(obj, (list, tuple)) and not len(obj) else obj, "the shape of the result", "Make obj static."
    )
    if value.size == 0:
        return np.zeros(0, int), False
    if value.dtype == bool:
        if value.shape != (n,):
            raise ShapeError(f"{name}: a mask of shape {value.shape} for an axis of size {n}.{at(user_source())}")
        return np.flatnonzero(value), False
    if value.dtype.kind not in "iu":
        raise DTypeError(f"{name}: positions must be integers, got dtype {value.dtype.name}.{at(user_source())}")
    if value.size and (value.min() < -n or value.max() > last):
        bad = int(value[(value < -n) | (value > last)].flat[0])
        raise IndexOutOfBoundsError(f"{name}: index {bad} is out of bounds for an axis of size {n}.{at(user_source())}")
    wide = value.astype(np.int64).ravel()
    return np.where(wide < 0, wide + n, wide), value.ndim == 0


def delete(arr: Any, obj: Any, axis: int | None = None, *, assume_unique_indices: bool = False) -> Any:
    """`arr` without its slices at the positions `obj` along `axis`; flattened when it is None.

    Args:
        obj: an int, a slice, or a sequence of ints or bools; known while tracing, or else ints of which
        assume_unique_indices: promises that they differ, so that the size of the result is known.

    Example:
        >>> delete(np.array([1.0, 2.0, 3.0]), [0, -1]).tolist()
        [2.0]
    """
    arr, axis = axis_of("delete", arr, axis)
    n = type_of(arr).shape[axis]
    if not isinstance(obj, slice) and not (isinstance(obj, (list, tuple)) and not len(obj)):
        x = as_operand(obj, "delete: obj")
        if known(x) is None and (assume_unique_indices or type_of(x).size == 1) and dtypes.is_int(type_of(x).dtype):
            return _delete_traced(arr, flat(x), axis, n)
    places, _ = _positions("delete", obj, n, last=n - 1)
    kept = np.setdiff1d(np.arange(n), places)
    return getitem(arr, (*(slice(None),) * axis, kept.astype(np.int32)))


def _delete_traced(arr: Any, places: Any, axis: int, n: int) -> Any:
    """Without `places`, which differ: element i of what is left is i plus the number of sorted places that lie before it."""
    k = type_of(places).size
    from_front = e.select(e.lt(places, scalar(places, 0)), e.add(places, scalar(places, n)), places)
    ordered = e.sub(_sorted(to_dtype(from_front, dtypes.int32)), np.arange(k, dtype=np.int32))
    i = np.arange(n - k, dtype=np.int32)
    before = e.le(s.broadcast(ordered, (n - k, k), (1,)), s.broadcast(i, (n - k, k), (0,)))
    source = e.add(asarray(i), reduce_sum(to_dtype(before, dtypes.int32), (1,)))
    return getitem(arr, (*(slice(None),) * axis, source))


def _sorted(x: Any) -> Any:
    return sort([x], 0)[0]


def resize(a: Any, new_shape: Any) -> Any:
    """The elements of `a`, row-major and repeated as often as needed, in another shape; zeros of an empty array."""
    a = as_operand(a, "resize: a")
    shape = as_shape("resize", new_shape)
    t, size = type_of(a), math.prod(shape)
    if t.size == 0 or size == 0:
        return asarray(e.splat(scalar(a, 0), shape))
    row = flat(a)
    if size > t.size:
        row = concat([row] * -(-size // t.size))
    return s.reshape(s.slice_axis(row, 0, 0, size), shape)


def trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Any:
    """`filt` without the zeros at its front ("f") and back ("b"), along the given axes or all; its values have to be known."""
    x = asarray(as_operand(filt, "trim_zeros: filt"))
    if set(trim.lower()) - set("fb"):
        raise ShapeError(f"trim_zeros: trim {trim!r}: expected 'f', 'b' or 'fb'.{at(user_source())}")
    t = type_of(x)
    axes = range(t.ndim) if axis is None else [canonical_axis("trim_zeros", a, t.ndim) for a in np.atleast_1d(axis)]
    value = need("trim_zeros", truth(x), "the shape of the result", "Call it outside.")
    found = np.argwhere(value)
    index: list[Any] = [slice(None)] * t.ndim
    for a in axes:
        if not len(found):
            index[a] = slice(0, 0)
            continue
        low, high = int(found[:, a].min()), int(found[:, a].max()) + 1
        index[a] = slice(low if "f" in trim.lower() else 0, high if "b" in trim.lower() else t.shape[a])
    return getitem(x, tuple(index))


# --- splitting ------------------------------------------------------------------------------------


def hsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """`split` along the second axis, or the only one."""
    rank = type_of(as_operand(ary)).ndim
    _at_least("hsplit", rank, 1)
    return split(ary, indices_or_sections, axis=1 if rank > 1 else 0)


def vsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """`split` along the first axis of at least two."""
    _at_least("vsplit", type_of(as_operand(ary)).ndim, 2)
    return split(ary, indices_or_sections, axis=0)


def dsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """`split` along the third axis."""
    _at_least("dsplit", type_of(as_operand(ary)).ndim, 3)
    return split(ary, indices_or_sections, axis=2)


def _at_least(name: str, rank: int, least: int) -> None:
    if rank < least:
        raise ShapeError(f"{name}: expected at least {least} axes, got {rank}.{at(user_source())}")


def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    """`a` with `axis` moved to lie before axis `start`."""
    a = as_operand(a, "rollaxis: a")
    n = type_of(a).ndim
    axis = canonical_axis("rollaxis", axis, n)
    if not -n <= start <= n:
        raise ShapeError(f"rollaxis: start {start} is out of range for {n} axes: expected {-n} to {n}.{at(user_source())}")
    start = start + n if start < 0 else start
    order = [i for i in range(n) if i != axis]
    order.insert(start - (axis < start), axis)
    return asarray(s.transpose(a, tuple(order)))


# --- bits -----------------------------------------------------------------------------------------


def packbits(a: Any, axis: int | None = None, bitorder: str = "big") -> Any:
    """Eight elements along `axis` (of the flattened array) as the bits of one uint8: what is not zero is a 1; zeros fill the last.

    Example:
        >>> packbits(np.array([1, 0, 0, 0, 0, 0, 1, 1, 1])).tolist()
        [131, 128]
    """
    a, axis = axis_of("packbits", a, axis)
    _bitorder("packbits", bitorder)
    if dtypes.is_inexact(type_of(a).dtype):
        raise DTypeError(f"packbits: expected bools or integers, got {type_of(a).dtype.name}.{at(user_source())}")
    bits = s.transpose(truth(a), _to_last(axis, type_of(a).ndim))
    *lead, n = type_of(bits).shape
    m = -(-n // 8)
    full = s.pad(bits, np.asarray(False), (*((0, 0, 0) for _ in lead), (0, 8 * m - n, 0)))
    bytes_ = to_dtype(s.reshape(full, (*lead, m, 8)), dtypes.uint8)
    weights = np.asarray(1 << np.arange(8), np.uint8)
    weights = weights[::-1] if bitorder == "big" else weights
    out = reduce_sum(e.mul(bytes_, s.broadcast(weights, (*lead, m, 8), (len(lead) + 1,))), (len(lead) + 1,))
    return asarray(s.transpose(out, s.inverse(_to_last(axis, len(lead) + 1))))


def unpackbits(a: Any, axis: int | None = None, count: int | None = None, bitorder: str = "big") -> Any:
    """The bits of the uint8 array `a`, as uint8, along `axis` (of the flattened array).

    Args:
        count: how many bits there are to be: zeros are added, or bits dropped; a negative number drops so many from the end.

    Example:
        >>> unpackbits(np.array([131], np.uint8)).tolist()
        [1, 0, 0, 0, 0, 0, 1, 1]
    """
    a, axis = axis_of("unpackbits", a, axis)
    _bitorder("unpackbits", bitorder)
    if type_of(a).dtype != dtypes.uint8:
        raise DTypeError(
            f"unpackbits: expected dtype uint8, got {type_of(a).dtype.name}. Convert it with .astype.{at(user_source())}"
        )
    rows = s.transpose(a, _to_last(axis, type_of(a).ndim))
    *lead, n = type_of(rows).shape
    shifts = np.arange(8, dtype=np.uint8)
    shifts = shifts[::-1] if bitorder == "big" else shifts
    wide = (*lead, n, 8)
    shifted = e.shift_right_logical(
        s.broadcast(rows, wide, tuple(range(len(lead) + 1))), s.broadcast(shifts, wide, (len(lead) + 1,))
    )
    bits = s.reshape(e.logical_and(shifted, np.asarray(1, np.uint8)), (*lead, 8 * n))
    total = 8 * n if count is None else count if count >= 0 else max(8 * n + count, 0)
    if total < 8 * n:
        bits = s.slice_axis(bits, len(lead), 0, total)
    elif total > 8 * n:
        bits = s.pad(bits, np.asarray(0, np.uint8), (*((0, 0, 0) for _ in lead), (0, total - 8 * n, 0)))
    return asarray(s.transpose(bits, s.inverse(_to_last(axis, len(lead) + 1))))


def _bitorder(name: str, bitorder: str) -> None:
    if bitorder not in ("big", "little"):
        raise ShapeError(f"{name}: bitorder {bitorder!r}: expected 'big' or 'little'.{at(user_source())}")


def _to_last(axis: int, rank: int) -> tuple[int, ...]:
    return (*range(axis), *range(axis + 1, rank), axis)


# --- text -----------------------------------------------------------------------------------------


def array_repr(
    arr: Any, max_line_width: int | None = None, precision: int | None = None, suppress_small: bool | None = None
) -> str:
    """The text of an array as an expression: see `numpy.array_repr`. A traced array shows its type."""
    value = known(arr)
    if value is None:
        return repr(arr)
    text = np.array2string(
        value,
        max_line_width=max_line_width,
        precision=precision,
        suppress_small=suppress_small,
        separator=", ",
        prefix="Array(",
    )
    return f"Array({text}, dtype={value.dtype.name})"


def array_str(
    a: Any, max_line_width: int | None = None, precision: int | None = None, suppress_small: bool | None = None
) -> str:
    """The text of the elements of an array: see `numpy.array_str`. A traced array shows its type."""
    value = known(a)
    return repr(a) if value is None else np.array_str(value, max_line_width, precision, suppress_small)


__all__ = [
    "append", "array_repr", "array_str", "block", "delete", "dsplit", "hsplit", "insert", "packbits", "resize", "rollaxis", "trim_zeros",
    "unpackbits", "vsplit",
]  # fmt: skip
