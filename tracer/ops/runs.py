"""Products over the other updates of an element: what the derivative of a multiplying scatter needs.

May be imported by: `index`.
"""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np

from .. import dtypes
from ..ir import type_of
from ..primitive import lookup
from ..trace import bind
from .elementwise import add, convert, eq, ge, le, logical_and, max, min, mul, select
from .rules import Shape, shape_of
from .shape import broadcast, iota, pad, reshape, slice_axis


def wide_enough(indices: Any, largest: int) -> Any:
    """`indices` in a dtype that also holds `largest`."""
    dtype = type_of(indices).dtype
    if np.iinfo(dtype).max >= largest:
        return indices
    return convert(indices, dtypes.int32 if dtype.itemsize < 4 and largest < 2**31 else dtypes.int64)


def others(indices: Any, updates: Any, shape: Shape, axes: Shape, mode: str) -> Any:
    """For each update, the product of all other updates of its element.

    The updates are sorted by their element, and multiplied up from both ends of each element's run. No division: it is as right
    where updates are zero, to every order of derivative. log2(n) steps (Hillis and Steele, Data Parallel Algorithms, 1986).
    """
    t = type_of(updates)
    batch = shape_of(indices)[:-1]
    n, rest = math.prod(batch), t.shape[len(batch) :]
    element = _element(indices, shape, axes, mode)
    sort = lookup("sort")
    number = iota((n,), dtypes.int32 if n < 2**31 else dtypes.int64, 0)
    runs, order = bind(sort, element, number, axis=0, num_keys=1)
    back = bind(sort, order, number, axis=0, num_keys=1)[1]
    values = _rows(reshape(updates, (n, *rest)), order)
    before, after = _running(values, runs, n, 0), _running(values, runs, n, 1)
    return reshape(_rows(mul(before, after), back), t.shape)


def _element(indices: Any, shape: Shape, axes: Shape, mode: str) -> Any:
    """The number of the element of each update (n,), row-major over the indexed axes; those that are dropped have one beyond all."""
    sizes = [shape[a] for a in axes]
    total = math.prod(sizes)
    dtype = dtypes.int32 if total < 2**31 - 1 else dtypes.int64
    n = math.prod(shape_of(indices)[:-1])
    flat = reshape(indices, (n, len(axes)))
    position: Any = np.zeros((), dtype)
    inside: Any = None
    for k, size in enumerate(sizes):
        i = reshape(slice_axis(flat, 1, k, k + 1), (n,))
        i = wide_enough(i, size)
        one = type_of(i).dtype
        low, high = np.asarray(0, one), np.asarray(builtins.max(size - 1, 0), one)
        fine = logical_and(ge(i, low), le(i, high))
        inside = fine if inside is None else logical_and(inside, fine)
        position = add(mul(position, np.asarray(size, dtype)), convert(max(min(i, high), low), dtype))
    return position if mode == "clip" else select(inside, position, np.asarray(total, dtype))


def _running(values: Any, runs: Any, n: int, end: int) -> Any:
    """For each of n rows the product of those before it (`end` 0) or after it (1) in its run of equal numbers in `runs`."""
    one = np.ones((), type_of(values).dtype)
    rest = shape_of(values)[1:]

    def moved(x: Any, by: int, fill: Any) -> Any:
        config = ((by, -by, 0) if end == 0 else (-by, by, 0), *((0, 0, 0) for _ in shape_of(x)[1:]))
        return pad(x, fill, config)

    def same(by: int) -> Any:
        other = moved(runs, by, np.asarray(-1, type_of(runs).dtype))
        return broadcast(eq(runs, other), (n, *rest), (0,))

    product = select(same(1), moved(values, 1, one), one)
    step = 1
    while step < n:
        product = select(same(step), mul(product, moved(product, step, one)), product)
        step *= 2
    return product


def _rows(x: Any, places: Any) -> Any:
    """The slices of `x` at known-good places along its first axis."""
    return bind(lookup("gather"), x, reshape(places, (type_of(places).size, 1)), axes=(0,), mode="clip", fill=0)
