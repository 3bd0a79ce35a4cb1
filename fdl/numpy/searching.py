"""Where elements are: `nonzero`, `where`, `extract`, `searchsorted` and their kin.

How many elements satisfy a condition is known only where its values are. While tracing, `size=` gives the number of elements of the
result: what is too much is left out, what is missing is `fill_value`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.errors import ConcretizationError, DTypeError, IndexOutOfBoundsError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import index as ix
from fdl.tracer.ops import shape as s
from fdl.tracer.ops.order import sort
from fdl.tracer.ops.reduce import cumsum, reduce_sum

from .indexing import getitem
from .promote import as_operand, asarray, broadcast_operands, broadcast_to, check_range, no_out, promote_operands, to_dtype
from .static import axis_of, flat, index_dtype, is_nan, known, no_nan, one_axis, pick, repeated, scalar


def truth(x: Any) -> Any:
    """Whether each element is not zero, as bool."""
    return to_dtype(as_operand(x), dtypes.bool_)


def sized(name: str, mask: Any, size: int | None) -> int:
    """The number of elements of the result: `size`, or how many elements of `mask` are true, where that is known."""
    if size is not None:
        return int(size)
    value = known(mask)
    if value is None:
        raise ConcretizationError(
            f"{name}: the size of the result depends on the values of the array, which are not known while tracing. Give the number of "
            f"elements of the result with size=.{at(user_source())}"
        )
    return int(np.count_nonzero(value))


def true_places(mask: Any, size: int) -> tuple[Any, Any]:
    """The positions of the first `size` true elements of a 1-D mask (0 where there are no more), and which of them there are."""
    n = type_of(mask).size
    dtype = index_dtype(max(n, size))
    if n == 0 or size == 0:
        return np.zeros(size, dtype), np.zeros(size, np.bool_)
    value = known(mask)
    if value is not None:
        found = np.flatnonzero(value)[:size].astype(dtype)
        return np.pad(found, (0, size - len(found))), np.arange(size) < len(found)
    rank = cumsum(to_dtype(mask, dtype), 0)  # of each true element, from 1
    last = s.reshape(s.slice_axis(rank, 0, n - 1, n), ())
    slot = e.select(mask, e.sub(rank, np.asarray(1, dtype)), np.asarray(size, dtype))
    places = ix.scatter(
        np.zeros(size, dtype), s.reshape(slot, (n, 1)), s.iota((n,), dtype, 0), axes=(0,), mode="drop", op="set"
    )
    return places, e.lt(s.iota((size,), dtype, 0), last)


def nonzero(a: Any, *, size: int | None = None, fill_value: Any = None) -> tuple[Any, ...]:
    """The indices of the elements that are not zero, in row-major order: an int32 array for each axis.

    Args:
        size: the number of indices; by default as many as there are, which has to be known while tracing.
        fill_value: what stands for missing indices: a number, or one for each axis; 0 by default.

    Raises: ShapeError for a 0-d array.

    Example:
        >>> [i.tolist() for i in nonzero(np.array([[0, 3], [5, 0]]))]
        [[0, 1], [1, 0]]
    """
    a = as_operand(a, "nonzero: the argument")
    shape = type_of(a).shape
    if not shape:
        raise ShapeError(f"nonzero: a 0-d array has no indices. Use fdl.numpy.atleast_1d.{at(user_source())}")
    mask = flat(truth(a))
    places, there = true_places(mask, sized("nonzero", mask, size))
    fills = fill_value if isinstance(fill_value, (tuple, list)) else (fill_value,) * len(shape)
    if len(fills) != len(shape):
        raise ShapeError(f"nonzero: {len(fills)} fill values for {len(shape)} axes.{at(user_source())}")
    out = []
    for axis, fill in enumerate(fills):
        inner = math.prod(shape[axis + 1 :])
        i = places if inner == 1 else e.div(places, scalar(places, max(inner, 1)))
        i = i if axis == 0 else e.rem(i, scalar(places, max(shape[axis], 1)))
        fill = scalar(places, 0) if fill is None else to_dtype(as_operand(fill), type_of(places).dtype)
        out.append(asarray(e.select(there, i, fill)))
    return tuple(out)


def flatnonzero(a: Any, *, size: int | None = None, fill_value: Any = None) -> Any:
    """The indices of the elements of the flattened array that are not zero. `size`, `fill_value`: see `nonzero`."""
    return nonzero(flat(as_operand(a, "flatnonzero: the argument")), size=size, fill_value=fill_value)[0]


def argwhere(a: Any, *, size: int | None = None, fill_value: Any = None) -> Any:
    """The indices of the elements that are not zero, one row for each: shape (number, a.ndim). `size`, `fill_value`: see `nonzero`."""
    a = as_operand(a, "argwhere: the argument")
    if type_of(a).ndim == 0:
        mask = flat(truth(a))
        return asarray(np.zeros((sized("argwhere", mask, size), 0), np.int32))
    columns = nonzero(a, size=size, fill_value=fill_value)
    return s.concatenate([s.reshape(c, (type_of(c).size, 1)) for c in columns], 1)


def where(condition: Any, x: Any = None, y: Any = None, /, *, size: int | None = None, fill_value: Any = None) -> Any:
    """`x` where `condition` is true, else `y`, broadcast together; with the condition alone, `nonzero` of it.

    The derivative of the side that is not taken is 0, unless it is NaN or infinite there: then keep it finite with a `where` inside.

    Example:
        >>> where(np.array([True, False]), 1.0, np.array([5.0, 6.0])).tolist()
        [1.0, 6.0]
    """
    if x is None and y is None:
        return nonzero(condition, size=size, fill_value=fill_value)
    if x is None or y is None:
        raise DTypeError(f"where: give both x and y, or neither.{at(user_source())}")
    if size is not None or fill_value is not None:
        raise DTypeError(f"where: size and fill_value belong to the form with the condition alone.{at(user_source())}")
    return asarray(pick(truth(condition), x, y))


def extract(condition: Any, arr: Any, *, size: int | None = None, fill_value: Any = 0) -> Any:
    """The elements of `arr`, flattened, where `condition` is true. `size`: see `compress`."""
    return compress(flat(as_operand(condition)), flat(as_operand(arr)), size=size, fill_value=fill_value)


def compress(
    condition: Any, a: Any, axis: int | None = None, *, size: int | None = None, fill_value: Any = 0, out: None = None
) -> Any:
    """The slices of `a` along `axis` (of the flattened array) where the 1-D `condition`, which may be shorter, is true.

    `size` gives the number of slices while tracing; missing ones are `fill_value`.

    Example:
        >>> compress(np.array([True, False, True]), np.array([5.0, 6.0, 7.0])).tolist()
        [5.0, 7.0]
    """
    no_out("compress", out)
    mask = one_axis("compress", "the condition", truth(condition))
    a, axis = axis_of("compress", a, axis)
    n, m = type_of(mask).size, type_of(a).shape[axis]
    if n > m:
        rest = known(mask)
        if rest is None or rest[m:].any():
            raise IndexOutOfBoundsError(f"compress: {n} conditions for an axis of size {m}.{at(user_source())}")
        mask = rest[:m]
    places, there = true_places(mask, sized("compress", mask, size))
    t = type_of(a)
    if t.shape[axis] == 0:
        return asarray(e.splat(scalar(a, fill_value), (*t.shape[:axis], type_of(places).size, *t.shape[axis + 1 :])))
    y = getitem(a, (*(slice(None),) * axis, places), mode="promise_in_bounds")
    if size is None:
        return y
    kept = s.broadcast(there, type_of(y).shape, (axis,))
    check_range("compress: fill_value", fill_value, t.dtype)
    return e.select(kept, y, to_dtype(as_operand(fill_value), t.dtype))


def choose(a: Any, choices: Any, out: None = None, mode: str = "raise") -> Any:
    """For each element of the integer array `a`, the element at its place of the choice with that number.

    Args:
        choices: a sequence of arrays, which broadcast together and with `a`.
        mode: for a number that is no choice's: "raise", "wrap" or "clip".

    Example:
        >>> choose(np.array([0, 1, 0]), [np.array([1.0, 2.0, 3.0]), 9.0]).tolist()
        [1.0, 9.0, 3.0]
    """
    no_out("choose", out)
    if mode not in ("raise", "wrap", "clip"):
        raise ShapeError(f"choose: mode {mode!r}: expected 'raise', 'wrap' or 'clip'.{at(user_source())}")
    a = as_operand(a, "choose: a")
    if not dtypes.is_int(type_of(a).dtype):
        raise DTypeError(f"choose: a has dtype {type_of(a).dtype.name}, expected integers.{at(user_source())}")
    options = list(choices) if isinstance(choices, (list, tuple)) else [getitem(choices, k) for k in range(len(choices))]
    if not options:
        raise ShapeError(f"choose: there are no choices.{at(user_source())}")
    options = promote_operands("choose", *options, broadcast=False)
    shape = np.broadcast_shapes(type_of(a).shape, *(type_of(c).shape for c in options))
    n = len(options)
    stack = s.concatenate([s.reshape(broadcast_to(c, shape), (1, *shape)) for c in options], 0)
    a = broadcast_to(to_dtype(a, index_dtype(n)), shape)
    if mode == "clip":
        a = e.min(e.max(a, scalar(a, 0)), scalar(a, n - 1))
    elif mode == "raise":  # no counting from the end: -1 is as wrong as n
        a = e.select(e.lt(a, scalar(a, 0)), e.sub(a, scalar(a, n)), a)
    grid = [np.arange(m).reshape(-1, *(1,) * (len(shape) - k - 1)) for k, m in enumerate(shape)]
    return getitem(stack, (a, *grid), "wrap" if mode == "wrap" else "raise")


def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Any:
    """For each element the choice of the first condition that holds, else `default`; all broadcast together.

    Example:
        >>> x = np.arange(4.0)
        >>> select([x < 1, x < 3], [x, 10 * x], -1.0).tolist()
        [0.0, 10.0, 20.0, -1.0]
    """
    if len(condlist) != len(choicelist) or not len(condlist):
        raise ShapeError(
            f"select: {len(condlist)} conditions and {len(choicelist)} choices: expected as many, at least one.{at(user_source())}"
        )
    for k, c in enumerate(condlist):
        if type_of(as_operand(c)).dtype != dtypes.bool_:
            raise DTypeError(
                f"select: condition {k} has dtype {type_of(as_operand(c)).dtype.name}, expected bool.{at(user_source())}"
            )
    *choices, y = promote_operands("select", *choicelist, default, broadcast=False)
    for c, x in zip(reversed(list(condlist)), reversed(choices), strict=True):
        y = pick(as_operand(c), x, y)
    shape = np.broadcast_shapes(type_of(y).shape, *(type_of(as_operand(c)).shape for c in condlist))
    return asarray(broadcast_to(y, shape))


# --- sorted sequences -----------------------------------------------------------------------------


def _less(x: Any, y: Any) -> Any:
    """x < y with NaN as the largest."""
    x, y = broadcast_operands("searchsorted", x, y)
    if no_nan(x):
        return e.lt(x, y)
    return e.logical_or(e.lt(x, y), e.logical_and(is_nan(y), e.logical_not(is_nan(x))))


def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None, *, method: str = "auto") -> Any:
    """The places (int32) in the sorted 1-D array `a` at which the elements of `v` would go, keeping it sorted; NaN comes last.

    Args:
        side: "left": before equal elements, or "right": after them.
        sorter: indices that sort `a`, where it is not sorted itself.
        method: "scan": binary search, one loop of log2(n) steps; "scan_unrolled": its steps written out; "compare_all": every
            element is compared with every other; "sort": both are sorted together; "auto" chooses.

    Example:
        >>> searchsorted(np.array([1.0, 2.0, 2.0, 5.0]), np.array([2.0, 9.0])).tolist()
        [1, 4]
    """
    if side not in ("left", "right"):
        raise ShapeError(f"searchsorted: side {side!r}: expected 'left' or 'right'.{at(user_source())}")
    if method not in ("auto", "scan", "scan_unrolled", "compare_all", "sort"):
        raise ShapeError(
            f"searchsorted: method {method!r}: expected 'scan', 'scan_unrolled', 'compare_all' or 'sort'.{at(user_source())}"
        )
    a, v = promote_operands("searchsorted", a, v, broadcast=False)
    a = one_axis("searchsorted", "a", a)
    if dtypes.is_complex(type_of(a).dtype):
        raise DTypeError(f"searchsorted: complex numbers have no order here. Search by their real parts.{at(user_source())}")
    if sorter is not None:
        a = getitem(a, one_axis("searchsorted", "sorter", sorter))
    n, t = type_of(a).size, type_of(v)
    dtype = index_dtype(n)
    if n == 0 or t.size == 0:
        return asarray(np.zeros(t.shape, dtype))
    if method == "auto":
        method = "compare_all" if n <= 32 else "scan"
    if method == "compare_all":
        shape = (*t.shape, n)
        wide, own = s.broadcast(v, shape, tuple(range(t.ndim))), s.broadcast(a, shape, (t.ndim,))
        before = _less(own, wide) if side == "left" else e.logical_not(_less(wide, own))
        return reduce_sum(to_dtype(before, dtype), (t.ndim,))
    if method == "sort":
        return s.reshape(_by_sorting(a, flat(v), side, dtype), t.shape)
    return _by_halving(a, v, side, dtype, method == "scan_unrolled")


def _by_halving(a: Any, v: Any, side: str, dtype: dtypes.DType, unrolled: bool) -> Any:
    n, t = type_of(a).size, type_of(v)

    def step(low: Any, high: Any, v: Any, a: Any) -> list[Any]:
        # The answer lies in [low, high]; both stay once they meet.
        middle = e.add(low, e.div(e.sub(high, low), scalar(low, 2)))
        at_middle = ix.gather(a, s.reshape(middle, (*t.shape, 1)), axes=(0,), mode="clip")
        right = _less(at_middle, v) if side == "left" else e.logical_not(_less(v, at_middle))
        open_ = e.lt(low, high)
        low_next = e.select(e.logical_and(right, open_), e.add(middle, scalar(low, 1)), low)
        return [low_next, e.select(e.logical_and(e.logical_not(right), open_), middle, high), v, a]

    steps = max(math.ceil(math.log2(n + 1)), 1)
    carry: list[Any] = [e.splat(np.asarray(k, dtype), t.shape) for k in (0, n)] + [asarray(v), asarray(a)]
    if not unrolled:
        return repeated(steps, step, carry)[0]
    for _ in range(steps):
        carry = step(*carry)
    return carry[0]


def _by_sorting(a: Any, v: Any, side: str, dtype: dtypes.DType) -> Any:
    n, m = type_of(a).size, type_of(v).size
    # Among equals the sort is stable: what is asked for goes first on the left side, last on the right.
    parts = [v, a] if side == "left" else [a, v]
    first = 0 if side == "left" else n
    wide = index_dtype(n + m)
    order = sort([s.concatenate(parts, 0), s.iota((n + m,), wide, 0)], 0)[1]
    own = e.logical_and(e.ge(order, np.asarray(first, wide)), e.lt(order, np.asarray(first + m, wide)))
    before = cumsum(to_dtype(e.logical_not(own), dtype), 0)  # elements of a up to each place
    slot = e.select(own, e.sub(order, np.asarray(first, wide)), np.asarray(m, wide))
    return ix.scatter(np.zeros(m, dtype), s.reshape(slot, (n + m, 1)), before, axes=(0,), mode="drop", op="set")


def digitize(x: Any, bins: Any, right: bool = False, *, method: str = "auto") -> Any:
    """The number (int32) of the bin of each element: `i` where `bins[i - 1] <= x < bins[i]`, or with `right`, `bins[i - 1] < x <= bins[i]`.

    `bins` ascend or descend; `method` is that of `searchsorted`.

    Example:
        >>> digitize(np.array([0.5, 2.0, 9.0]), np.array([0.0, 1.0, 2.0])).tolist()
        [1, 3, 3]
    """
    bins = one_axis("digitize", "bins", bins)
    n = type_of(bins).size
    side = "left" if right else "right"
    value = known(bins)
    if value is not None:
        steps = np.diff(value)
        if not ((steps >= 0).all() or (steps <= 0).all()):
            raise ShapeError(f"digitize: bins must ascend or descend.{at(user_source())}")
        if n == 0 or value[-1] >= value[0]:
            return searchsorted(bins, x, side, method=method)
        below = searchsorted(value[::-1], x, side, method=method)
        return e.sub(scalar(below, n), below)
    up = searchsorted(bins, x, side, method=method)
    down = searchsorted(s.flip(bins, (0,)), x, side, method=method)
    ends = [s.reshape(s.slice_axis(bins, 0, k, k + 1), ()) for k in (0, n - 1)]
    return e.select(e.ge(ends[1], ends[0]), up, e.sub(scalar(down, n), down))


def sorted_runs(xs: Sequence[Any], keep: Any = None) -> tuple[list[Any], Any, Any]:
    """1-D arrays of one length sorted as keys together, the permutation, and which elements begin a run of equal ones.

    `keep` sorts what is not kept to the end; such elements begin no run.
    """
    n = type_of(xs[0]).size
    place = s.iota((n,), index_dtype(n), 0)
    if keep is None:
        *ys, order = sort([*xs, place], 0, len(xs))
        kept = None
    else:
        gone, *ys, order = sort([to_dtype(e.logical_not(keep), dtypes.uint8), *xs, place], 0, len(xs) + 1)
        kept = e.eq(gone, np.asarray(0, np.uint8))
    fresh: Any = None
    for y in ys:
        before = s.slice_axis(y, 0, 0, max(n - 1, 0))
        after = s.slice_axis(y, 0, min(1, n), n)
        differs = e.ne(before, after)
        if not no_nan(y):
            differs = e.logical_and(differs, e.logical_not(e.logical_and(is_nan(before), is_nan(after))))
        fresh = differs if fresh is None else e.logical_or(fresh, differs)
    first = s.concatenate([np.ones(min(n, 1), np.bool_), fresh], 0) if n else np.zeros(0, np.bool_)
    return ys, order, first if kept is None else e.logical_and(first, kept)


__all__ = [
    "argwhere", "choose", "compress", "digitize", "extract", "flatnonzero", "nonzero", "searchsorted", "select", "where",
]  # fmt: skip
