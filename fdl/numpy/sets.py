"""Sets: `unique`, and operations on the distinct elements of arrays. Results are sorted, NaN last.

How many distinct elements there are is known only where the values are. While tracing, `size=` gives the length of the result: what is
too much is left out, what is missing is `fill_value`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import index as ix
from fdl.tracer.ops import shape as s
from fdl.tracer.ops.reduce import cumsum, reduce_or
from fdl.tracer.ops.rules import zeros

from .indexing import getitem
from .promote import as_operand, asarray, broadcast_to, canonical_axis, check_range, promote_operands, to_dtype
from .searching import searchsorted, sized, sorted_runs, true_places
from .static import flat, index_dtype, is_nan, no_nan, scalar

COMPARE_ALL_LIMIT = 1 << 16
"""The most comparisons for which `isin` compares everything with everything."""


class UniqueAllResult(NamedTuple):
    """What `unique_all` returns."""

    values: Any
    indices: Any
    inverse_indices: Any
    counts: Any


class UniqueCountsResult(NamedTuple):
    """What `unique_counts` returns."""

    values: Any
    counts: Any


class UniqueInverseResult(NamedTuple):
    """What `unique_inverse` returns."""

    values: Any
    inverse_indices: Any


def unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    size: int | None = None,
    fill_value: Any = None,
    sorted: bool = True,
) -> Any:
    """The distinct elements of the flattened array, or its distinct slices along `axis`, in ascending order.

    Args:
        return_index: also the index of the first occurrence of each.
        return_inverse: also the number of the element of the result that each element of `ar` equals.
        return_counts: also how often each occurs.
        equal_nan: whether NaNs count as one element.
        size: the length of the result; by default as many as there are, which has to be known while tracing.
        fill_value: what stands for missing elements: by default the first of the result. Their index is the first's, their count 0.
        sorted: accepted; the result is always sorted.

    Returns: the elements, or a tuple of what was asked for, in this order.

    Example:
        >>> values, counts = unique(np.array([3, 1, 3]), return_counts=True)
        >>> values.tolist(), counts.tolist()
        ([1, 3], [1, 2])
    """
    ar = as_operand(ar, "unique: the argument")
    t = type_of(ar)
    if axis is None:
        rows, columns = flat(ar), [flat(ar)]
    else:
        axis = canonical_axis("unique", axis, t.ndim)
        order = (axis, *(a for a in range(t.ndim) if a != axis))
        rows = s.transpose(ar, order)
        n = t.shape[axis]
        m = math.prod(type_of(rows).shape[1:])
        table = s.reshape(rows, (n, m))
        columns = [s.reshape(s.slice_axis(table, 1, k, k + 1), (n,)) for k in range(m)] or [np.zeros(n, np.int32)]
    n = type_of(rows).shape[0]
    keys, order_by, first = sorted_runs([_sortable(c) for c in columns])
    if not equal_nan and not no_nan(keys[-1]):
        anything = is_nan(keys[0])
        for k in keys[1:]:
            anything = e.logical_or(anything, is_nan(k))
        first = e.logical_or(first, anything)
    count = sized("unique", first, size)
    slots, there = true_places(first, count)  # where each distinct element begins among the sorted ones
    begins = _at(order_by, slots, n)
    values = _at(rows, begins, n)
    check_range("fill_value", fill_value, t.dtype)
    if size is not None and n:
        fill = s.slice_axis(values, 0, 0, min(1, count)) if fill_value is None else as_operand(fill_value)
        if count:
            wide = broadcast_to(to_dtype(fill, t.dtype), type_of(values).shape)
            values = e.select(s.broadcast(there, type_of(values).shape, (0,)), values, wide)
    elif size is not None:
        values = e.splat(scalar(ar, 0 if fill_value is None else fill_value), (count, *type_of(values).shape[1:]))
    if axis is not None:
        values = s.transpose(values, s.inverse(order))
    out: list[Any] = [asarray(values)]
    if return_index:
        out.append(asarray(begins))
    number = cumsum(to_dtype(first, index_dtype(n)), 0) if n else np.zeros(0, np.int32)
    if return_inverse:
        inverse = ix.scatter(
            np.zeros(n, index_dtype(n)), s.reshape(order_by, (n, 1)), e.sub(number, scalar(number, 1)), axes=(0,), mode="clip", op="set"
        ) if n else number  # fmt: skip
        out.append(asarray(s.reshape(inverse, t.shape) if axis is None else inverse))
    if return_counts:
        dtype = index_dtype(n)
        counts = ix.scatter(
            np.zeros(count, dtype), s.reshape(e.sub(number, scalar(number, 1)), (n, 1)), e.splat(np.asarray(1, dtype), (n,)),
            axes=(0,), mode="drop", op="add",
        )  # fmt: skip
        out.append(asarray(counts))
    return out[0] if len(out) == 1 else tuple(out)


def _sortable(x: Any) -> Any:
    return to_dtype(x, dtypes.uint8) if type_of(x).dtype == dtypes.bool_ else x


def _at(x: Any, places: Any, n: int) -> Any:
    """The slices of `x` (n, ...) at places that are in bounds."""
    if n == 0:
        return zeros(type_of(x).with_shape((type_of(places).size, *type_of(x).shape[1:])))
    return getitem(x, places, mode="promise_in_bounds")


def unique_all(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> UniqueAllResult:
    """The distinct elements, their first indices, the inverse indices and the counts; every NaN is an element of its own."""
    return UniqueAllResult(*unique(x, True, True, True, equal_nan=False, size=size, fill_value=fill_value))


def unique_counts(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> UniqueCountsResult:
    """The distinct elements and their counts; every NaN is an element of its own."""
    return UniqueCountsResult(*unique(x, return_counts=True, equal_nan=False, size=size, fill_value=fill_value))


def unique_inverse(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> UniqueInverseResult:
    """The distinct elements and the inverse indices; every NaN is an element of its own."""
    return UniqueInverseResult(*unique(x, return_inverse=True, equal_nan=False, size=size, fill_value=fill_value))


def unique_values(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> Any:
    """The distinct elements, in ascending order; every NaN is an element of its own."""
    return unique(x, equal_nan=False, size=size, fill_value=fill_value)


def isin(element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False, *, method: str = "auto") -> Any:
    """Whether each element of `element` is one of `test_elements` (is not, with `invert`). NaN is in nothing.

    `assume_unique` changes nothing. `method`: "compare_all", or "sort" (also "binary_search"); "auto" chooses.

    Example:
        >>> isin(np.array([1, 2, 3]), np.array([3, 1])).tolist()
        [True, False, True]
    """
    x, test = promote_operands("isin", element, test_elements, broadcast=False)
    test = flat(test)
    t, n = type_of(x), type_of(test).size
    if n == 0 or t.size == 0:
        return asarray(e.splat(np.asarray(invert), t.shape))
    if method == "compare_all" or (method == "auto" and n * t.size <= COMPARE_ALL_LIMIT) or dtypes.is_complex(t.dtype):
        shape = (*t.shape, n)
        found = reduce_or(e.eq(s.broadcast(x, shape, tuple(range(t.ndim))), s.broadcast(test, shape, (t.ndim,))), (t.ndim,))
    else:
        ordered = sorted_runs([_sortable(test)])[0][0]
        place = searchsorted(ordered, _sortable(x), method="sort" if method == "sort" else "scan")
        found = e.eq(ix.gather(ordered, s.reshape(place, (*t.shape, 1)), axes=(0,), mode="clip"), _sortable(x))
    return asarray(e.logical_not(found) if invert else found)


def _distinct(name: str, x: Any, keep: Any, size: int | None, fill_value: Any, indices: bool = False) -> Any:
    """The distinct elements of the 1-D `x` among those to `keep`, sorted; and the indices of their first occurrences."""
    t = type_of(x)
    if t.size == 0:
        values = e.splat(scalar(x, 0 if fill_value is None else fill_value), (size or 0,))
        return (values, np.zeros(size or 0, np.int32)) if indices else asarray(values)
    (ys, order, first) = sorted_runs([_sortable(x)], keep)
    count = sized(name, first, size)
    slots, there = true_places(first, count)
    values = to_dtype(_at(ys[0], slots, t.size), t.dtype)
    check_range("fill_value", fill_value, t.dtype)
    if size is not None and count:
        fill = s.slice_axis(values, 0, 0, 1) if fill_value is None else to_dtype(as_operand(fill_value), t.dtype)
        values = e.select(there, values, broadcast_to(fill, (count,)))
    if not indices:
        return asarray(values)
    return asarray(values), e.select(there, _at(order, slots, t.size), np.asarray(t.size, type_of(order).dtype))


def union1d(ar1: Any, ar2: Any, *, size: int | None = None, fill_value: Any = None) -> Any:
    """The distinct elements of both arrays, sorted. `size`, `fill_value`: see `unique`.

    Example:
        >>> union1d(np.array([3, 1]), np.array([2, 3])).tolist()
        [1, 2, 3]
    """
    a, b = (flat(x) for x in promote_operands("union1d", ar1, ar2, broadcast=False))
    return unique(s.concatenate([a, b], 0), size=size, fill_value=fill_value)


def intersect1d(
    ar1: Any,
    ar2: Any,
    assume_unique: bool = False,
    return_indices: bool = False,
    *,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """The distinct elements that both arrays have, sorted; with `return_indices`, also where each first stands in both.

    `assume_unique` changes nothing. `size`, `fill_value`: see `unique`; a missing element's indices are those past the ends.
    """
    a, b = (flat(x) for x in promote_operands("intersect1d", ar1, ar2, broadcast=False))
    found = _distinct("intersect1d", a, isin(a, b), size, fill_value, return_indices)
    if not return_indices:
        return found
    values, left = found
    count = type_of(values).size
    right = _distinct("intersect1d", b, isin(b, a), count, fill_value, True)[1]
    return values, asarray(left), asarray(right)


def setdiff1d(ar1: Any, ar2: Any, assume_unique: bool = False, *, size: int | None = None, fill_value: Any = None) -> Any:
    """The distinct elements of `ar1` that `ar2` has not, sorted; with `assume_unique`, as they stand in `ar1`.

    `size`, `fill_value`: see `unique`; the fill value is 0 by default.
    """
    a, b = (flat(x) for x in promote_operands("setdiff1d", ar1, ar2, broadcast=False))
    alone = isin(a, b, invert=True)
    fill = 0 if fill_value is None else fill_value
    if not assume_unique:
        return _distinct("setdiff1d", a, alone, size, fill)
    places, there = true_places(alone, sized("setdiff1d", alone, size))
    return asarray(e.select(there, _at(a, places, type_of(a).size), scalar(a, fill)))


def setxor1d(ar1: Any, ar2: Any, assume_unique: bool = False, *, size: int | None = None, fill_value: Any = None) -> Any:
    """The distinct elements that exactly one of the arrays has, sorted. `assume_unique` changes nothing; the rest: see `unique`."""
    a, b = (flat(x) for x in promote_operands("setxor1d", ar1, ar2, broadcast=False))
    keep = s.concatenate([isin(a, b, invert=True), isin(b, a, invert=True)], 0)
    return _distinct("setxor1d", s.concatenate([a, b], 0), keep, size, fill_value)


__all__ = [
    "intersect1d", "isin", "setdiff1d", "setxor1d", "union1d", "unique", "unique_all", "unique_counts", "unique_inverse", "unique_values",
]  # fmt: skip
