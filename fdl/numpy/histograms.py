"""Counting: `bincount`, `histogram` and its kin. With a fixed number of bins nothing depends on the data but the counts."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.errors import DTypeError, IndexOutOfBoundsError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import index as ix
from fdl.tracer.ops import shape as s

from . import reductions as r
from .creation import linspace
from .promote import as_operand, asarray, promote_operands, to_dtype
from .searching import searchsorted
from .static import flat, index_dtype, is_nan, known, need, no_nan, one_axis, pick, scalar
from .ufuncs import add, divide, multiply, subtract


def bincount(x: Any, weights: Any = None, minlength: int = 0, *, length: int | None = None) -> Any:
    """How often each of 0, 1, 2, ... occurs in the 1-D integer array `x` (int32), or the sums of the `weights` of its occurrences.

    Args:
        minlength: the least length of the result, which is otherwise one more than the largest element.
        length: the length of the result, which `x` then need not tell; elements beyond it are not counted.

    Raises: IndexOutOfBoundsError for a known negative element (a traced one is not counted); ConcretizationError for a traced
        `x` without `length`.

    Example:
        >>> bincount(np.array([0, 2, 2])).tolist()
        [1, 0, 2]
    """
    x = one_axis("bincount", "x", x)
    t = type_of(x)
    if not dtypes.is_int(t.dtype) and t.dtype != dtypes.bool_ and t.size:
        raise DTypeError(f"bincount: x has dtype {t.dtype.name}, expected integers.{at(user_source())}")
    value = known(x)
    if value is not None and value.size and value.min() < 0:
        raise IndexOutOfBoundsError(f"bincount: x has a negative element, {int(value.min())}.{at(user_source())}")
    if length is None:
        found = need("bincount", x, "the length of the result", "Give it with length=.")
        length = max(int(found.max()) + 1 if found.size else 0, minlength)
    if weights is None:
        ones: Any = e.splat(np.asarray(1, np.int32), t.shape)
    else:
        ones = one_axis("bincount", "weights", weights)
        if type_of(ones).shape != t.shape:
            raise ShapeError(f"bincount: weights have shape {type_of(ones).shape}, x {t.shape}.{at(user_source())}")
        if type_of(ones).dtype == dtypes.bool_:
            ones = to_dtype(ones, dtypes.DEFAULT_INT)
    if t.size == 0:
        return asarray(np.zeros(length, type_of(ones).dtype))
    place = x if dtypes.bits(t.dtype) >= 32 else to_dtype(x, dtypes.int32)
    if t.dtype == dtypes.bool_:
        place = to_dtype(x, dtypes.int32)
    empty = np.zeros(length, type_of(ones).dtype)
    return ix.scatter(empty, s.reshape(place, (t.size, 1)), ones, axes=(0,), mode="drop", op="add")


def histogram_bin_edges(a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Any:
    """The edges of the bins that `histogram` would use, one more than there are bins.

    Args:
        bins: their number; the edges themselves; or the name of NumPy's estimator ("auto", "fd", "doane", "scott", "stone", "rice",
            "sturges", "sqrt"), whose number of bins depends on the data, which then have to be known.
        range: (lowest, highest) edge; by default the least and the largest element.

    Example:
        >>> histogram_bin_edges(np.array([0.0, 1.0, 4.0]), 2).tolist()
        [0.0, 2.0, 4.0]
    """
    (a,) = promote_operands("histogram_bin_edges", a, inexact=True)
    if isinstance(bins, str):
        data = need("histogram_bin_edges", a, f"the number of bins of {bins!r}", "Give a number of bins.")
        if range is not None:
            range = tuple(float(need("histogram_bin_edges", v, "the range", "Give numbers.")) for v in range)
        try:
            edges = np.histogram_bin_edges(data.astype(np.float64), bins, range)
        except ValueError as error:
            raise ShapeError(f"histogram_bin_edges: {error}.{at(user_source())}") from None
        bins = len(edges) - 1
    if not isinstance(bins, (int, np.integer)) and type_of(as_operand(bins)).ndim == 1:
        given = promote_operands("histogram_bin_edges", a, bins, broadcast=False)[1]
        value = known(given)
        if value is not None and (np.diff(value) < 0).any():
            raise ShapeError(f"histogram: the edges must ascend, got {value}.{at(user_source())}")
        return asarray(given)
    count = int(need("histogram", bins, "the number of edges", "Make it a static argument."))
    if count < 1:
        raise ShapeError(f"histogram: expected at least one bin, got {count}.{at(user_source())}")
    dtype = type_of(a).dtype
    if range is not None:
        low, high = (to_dtype(as_operand(v), dtype) for v in range)
        least, most = known(low), known(high)
        if least is not None and most is not None:
            if not least <= most or not np.isfinite([least, most]).all():
                raise ShapeError(f"histogram: range {tuple(range)!r} must ascend, and be finite.{at(user_source())}")
    elif type_of(a).size == 0:
        low, high = np.asarray(0, dtype), np.asarray(1, dtype)
    else:
        low, high = r.min(a), r.max(a)
    same, half = e.eq(low, high), scalar(a, 0.5)
    low, high = e.select(same, e.sub(low, half), low), e.select(same, e.add(high, half), high)
    return to_dtype(linspace(low, high, count + 1), dtype)


def _in_bins(a: Any, edges: Any) -> Any:
    """The bin of each element of the 1-D `a`: the last includes its upper edge; -1 outside, and for NaN."""
    n = type_of(edges).size - 1
    place = e.sub(*_pair(searchsorted(edges, a, "right"), 1))
    last = s.reshape(s.slice_axis(edges, 0, n, n + 1), ())
    place = e.select(e.eq(a, last), scalar(place, n - 1), place)
    beyond = e.ge(place, scalar(place, n))
    if not no_nan(a):
        beyond = e.logical_or(beyond, is_nan(a))
    return e.select(beyond, scalar(place, -1), place)


def _pair(x: Any, value: int) -> tuple[Any, Any]:
    return x, scalar(x, value)


def _weighted(name: str, weights: Any, size: int) -> Any:
    if weights is None:
        return None
    w = as_operand(weights, f"{name}: weights")
    if type_of(w).size != size:
        raise ShapeError(f"{name}: {type_of(w).size} weights for {size} elements.{at(user_source())}")
    return flat(w)


def histogram(a: Any, bins: Any = 10, range: Any = None, weights: Any = None, density: bool | None = None) -> tuple[Any, Any]:
    """The counts (int32) of the elements of the flattened array in each bin, and the edges of the bins.

    Args:
        bins, range: see `histogram_bin_edges`. Elements outside are not counted; the last bin includes its upper edge.
        weights: what each element counts, of the shape of `a`.
        density: whether to divide by the total and the bins' widths, so that the integral is 1.

    Example:
        >>> histogram(np.array([0.0, 1.0, 1.5, 4.0]), 2)[0].tolist()
        [3, 1]
    """
    (a,) = promote_operands("histogram", a, inexact=True)
    a = flat(a)
    edges = histogram_bin_edges(a, bins, range)
    a, edges = promote_operands("histogram", a, edges, broadcast=False)
    w = _weighted("histogram", weights, type_of(a).size)
    n = type_of(edges).size - 1
    counts = _counted(_in_bins(a, edges), w, n)
    if density:
        widths = e.sub(s.slice_axis(edges, 0, 1, n + 1), s.slice_axis(edges, 0, 0, n))
        counts = divide(divide(counts, widths), r.sum(counts))
    return counts, asarray(edges)


def _counted(place: Any, weights: Any, n: int) -> Any:
    """Counts, or sums of weights, by place in [0, n); others are left out."""
    m = type_of(place).size
    w = e.splat(np.asarray(1, np.int32), (m,)) if weights is None else weights
    if type_of(w).dtype == dtypes.bool_:
        w = to_dtype(w, dtypes.DEFAULT_INT)
    if m == 0:
        return asarray(np.zeros(n, type_of(w).dtype))
    return ix.scatter(np.zeros(n, type_of(w).dtype), s.reshape(place, (m, 1)), w, axes=(0,), mode="drop", op="add")


def histogram2d(
    x: Any, y: Any, bins: Any = 10, range: Any = None, weights: Any = None, density: bool | None = None
) -> tuple[Any, Any, Any]:
    """The counts of points (x, y) in each cell of a grid, and the edges along `x` and along `y`.

    `bins`: a number, edges for both axes, or a pair of either; `range`: a pair of (lowest, highest); the rest as in `histogram`.
    """
    x, y = promote_operands("histogram2d", one_axis("histogram2d", "x", x), one_axis("histogram2d", "y", y), broadcast=False)
    if type_of(x).shape != type_of(y).shape:
        raise ShapeError(f"histogram2d: x has {type_of(x).size} elements, y {type_of(y).size}.{at(user_source())}")
    if not isinstance(bins, (int, np.integer)) and len(bins) not in (1, 2):
        edges = asarray(bins)
        bins = [edges, edges]
    sample = s.concatenate([s.reshape(v, (type_of(v).size, 1)) for v in (x, y)], 1)
    counts, edges = histogramdd(sample, bins, range, weights, density)
    return counts, edges[0], edges[1]


def histogramdd(
    sample: Any, bins: Any = 10, range: Any = None, weights: Any = None, density: bool | None = None
) -> tuple[Any, list[Any]]:
    """The counts of points in each cell of a grid, and the edges along each of its axes.

    Args:
        sample: points (n, d), or a sequence of d arrays of coordinates.
        bins: a number, or for each axis a number or edges; range: for each axis (lowest, highest) or None.
        weights, density: as in `histogram`.
    """
    if isinstance(sample, (list, tuple)) and type_of(as_operand(sample[0])).ndim == 1:
        parts = promote_operands("histogramdd", *sample, broadcast=False, inexact=True)
        sample = s.concatenate([s.reshape(v, (type_of(v).size, 1)) for v in parts], 1)
    (sample,) = promote_operands("histogramdd", sample, inexact=True)
    t = type_of(sample)
    if t.ndim != 2:
        raise ShapeError(f"histogramdd: expected points of shape (n, d), got {t.shape}.{at(user_source())}")
    n, d = t.shape
    per_axis: Sequence[Any] = [bins] * d if isinstance(bins, (int, np.integer)) else list(bins)
    ranges: Sequence[Any] = [None] * d if range is None else list(range)
    if len(per_axis) == 1 and d > 1:
        per_axis = list(per_axis) * d
    if len(per_axis) != d or len(ranges) != d:
        raise ShapeError(f"histogramdd: {len(per_axis)} bins and {len(ranges)} ranges for {d} axes.{at(user_source())}")
    columns = [s.reshape(s.slice_axis(sample, 1, k, k + 1), (n,)) for k in builtins.range(d)]
    edges = [histogram_bin_edges(c, b, g) for c, b, g in zip(columns, per_axis, ranges, strict=True)]
    sizes = [type_of(x).size - 1 for x in edges]
    cells = math.prod(sizes)
    place: Any = np.zeros((n,), index_dtype(cells))
    outside: Any = np.zeros((n,), np.bool_)
    for c, x, size in zip(columns, edges, sizes, strict=True):
        k = to_dtype(_in_bins(*promote_operands("histogramdd", c, x, broadcast=False)), index_dtype(cells))
        outside = e.logical_or(outside, e.lt(k, scalar(k, 0)))
        place = add(multiply(place, scalar(k, size)), k)
    w = _weighted("histogramdd", weights, n)
    counts = s.reshape(_counted(pick(outside, scalar(place, -1), place), w, cells), tuple(sizes))
    if density:
        total = r.sum(counts)
        for axis, x in enumerate(edges):
            width = subtract(s.slice_axis(x, 0, 1, sizes[axis] + 1), s.slice_axis(x, 0, 0, sizes[axis]))
            counts = divide(counts, s.broadcast(width, tuple(sizes), (axis,)))
        counts = divide(counts, total)
    return counts, [asarray(x) for x in edges]


__all__ = ["bincount", "histogram", "histogram2d", "histogram_bin_edges", "histogramdd"]
