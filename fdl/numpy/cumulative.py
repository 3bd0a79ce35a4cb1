"""Running sums and products, differences, and calculus on samples, under NumPy's names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import reduce as r
from fdl.tracer.ops import shape as s

from . import logic
from . import ufuncs as u
from .joins import concat
from .promote import as_operand, asarray, broadcast_to, canonical_axes, canonical_axis, check_range, no_out, promote_operands
from .reductions import summable

# --- running sums ---------------------------------------------------------------------------------


def _cumulative(name: str, function: Callable[..., Any], x: Any, axis: int | None, dtype: Any) -> Any:
    x = summable(as_operand(x), dtype)
    if axis is None:
        x, axis = s.reshape(x, (type_of(x).size,)), 0
    axis = canonical_axis(name, axis, type_of(x).ndim)
    if type_of(x).dtype == dtypes.bool_:  # dtype="bool" was asked for: whether any so far, or all, are true
        running = r.cummax if function is r.cumsum else r.cummin
        return e.convert(running(e.convert(x, dtypes.uint8), axis), dtypes.bool_)
    return function(x, axis)


def cumsum(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Any:
    """The running sum along `axis`, or of the flattened array. bool and small integers are summed in 32 bits."""
    no_out("cumsum", out)
    return _cumulative("cumsum", r.cumsum, a, axis, dtype)


def cumprod(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Any:
    """The running product along `axis`, or of the flattened array. bool and small integers are multiplied in 32 bits."""
    no_out("cumprod", out)
    return _cumulative("cumprod", r.cumprod, a, axis, dtype)


def _standard(name: str, function: Callable[..., Any], x: Any, axis: int | None, dtype: Any, start: int | None) -> Any:
    x = as_operand(x, f"{name}: x")
    t = type_of(x)
    if t.ndim == 0 or (axis is None and t.ndim != 1):
        raise ShapeError(
            f"{name}: x has shape {t.shape}: expected at least one axis, and axis= where there are more.{at(user_source())}"
        )
    axis = canonical_axis(name, 0 if axis is None else axis, t.ndim)
    y = _cumulative(name, function, x, axis, dtype)
    if start is None:
        return y
    first = e.splat(e.scalar_like(start, y), tuple(1 if i == axis else n for i, n in enumerate(t.shape)))
    return s.concatenate([first, y], axis)


def cumulative_sum(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Any:
    """The running sum along `axis`, which may be left out for 1-D arrays only; with a 0 in front if `include_initial`.

    Example:
        >>> cumulative_sum([1, 2, 3], include_initial=True).tolist()
        [0, 1, 3, 6]
    """
    return _standard("cumulative_sum", r.cumsum, x, axis, dtype, 0 if include_initial else None)


def cumulative_prod(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Any:
    """The running product along `axis`, which may be left out for 1-D arrays only; with a 1 in front if `include_initial`."""
    return _standard("cumulative_prod", r.cumprod, x, axis, dtype, 1 if include_initial else None)


# --- differences ----------------------------------------------------------------------------------


def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """The `n`-th differences of neighbours along `axis`; for bools, whether they differ.

    Args:
        prepend, append: values put before and after first: arrays, or scalars.

    Example:
        >>> diff([1, 4, 9], n=2).tolist(), diff([1, 4], prepend=0).tolist()
        ([2], [1, 3])
    """
    a = as_operand(a, "diff: a")
    t = type_of(a)
    if n < 0:
        raise ShapeError(f"diff: the order must not be negative, got {n}.{at(user_source())}")
    if t.ndim == 0:
        raise ShapeError(f"diff: a 0-d array has no neighbours.{at(user_source())}")
    if n == 0:
        return asarray(a)
    axis = canonical_axis("diff", axis, t.ndim)
    thin = tuple(1 if i == axis else m for i, m in enumerate(t.shape))
    parts = [a]
    for what, place in ((prepend, 0), (append, 2)):
        if what is not None:
            if type(what) is int:
                check_range("diff: prepend or append", what, type_of(a).dtype)
            edge = as_operand(what, "diff: prepend or append")
            parts.insert(place, broadcast_to(edge, thin) if type_of(edge).ndim == 0 else edge)
    a = concat(parts, axis) if len(parts) > 1 else a
    for _ in range(n):
        size = type_of(a).shape[axis]
        after, before = (s.slice_axis(a, axis, min(start, size), stop) for start, stop in ((1, size), (0, max(size - 1, 0))))
        a = e.ne(after, before) if type_of(a).dtype == dtypes.bool_ else e.sub(after, before)
    return asarray(a)


def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """The differences of neighbours of the flattened array, between `to_begin` and `to_end`."""
    ary = as_operand(ary, "ediff1d: ary")
    parts = [diff(s.reshape(ary, (type_of(ary).size,)))]
    dtype = type_of(parts[0]).dtype
    for edge, place in ((to_begin, 0), (to_end, 2)):
        if edge is not None:
            v = asarray(edge, dtype)
            parts.insert(place, s.reshape(v, (type_of(v).size,)))
    return concat(parts)


def _cut(x: Any, axis: int, start: int, stop: int) -> Any:
    """`x[..., start:stop, ...]` along an axis; bounds from the end are negative, and 0 as a stop is the end."""
    n = type_of(x).shape[axis]
    return s.slice_axis(x, axis, start + n * (start < 0), stop + n * (stop <= 0))


def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """The derivative of samples `f` by central differences, of second order inside: one array, or a list with one for each axis.

    Args:
        varargs: the spacing: one scalar for all axes, or for each axis a scalar or the 1-D coordinates; 1 by default.
        axis: the axis or axes, all by default.
        edge_order: the order of the one-sided differences at the edges, 1 or 2.

    Raises: ShapeError where an axis has not edge_order + 1 samples, or the spacings do not fit.

    Example:
        >>> gradient([1.0, 4.0, 9.0, 16.0]).tolist()
        [3.0, 4.0, 6.0, 7.0]
    """
    (f,) = promote_operands("gradient", f, inexact=True)
    t = type_of(f)
    axes = canonical_axes("gradient", axis, t.ndim)
    if edge_order not in (1, 2):
        raise ShapeError(f"gradient: edge_order {edge_order}: expected 1 or 2.{at(user_source())}")
    if len(varargs) not in (0, 1, len(axes)):
        raise ShapeError(f"gradient: {len(varargs)} spacings for {len(axes)} axes.{at(user_source())}")
    steps: Sequence[Any] = [1.0] * len(axes) if not varargs else varargs * len(axes) if len(varargs) == 1 else varargs
    out = []
    for a, step in zip(axes, steps, strict=True):
        n = t.shape[a]
        if n <= edge_order:
            raise ShapeError(f"gradient: axis {a} has {n} samples, expected {edge_order + 1} at least.{at(user_source())}")
        h = as_operand(step, "gradient: a spacing")
        if type_of(h).ndim > 1 or (type_of(h).ndim == 1 and type_of(h).shape[0] != n):
            raise ShapeError(f"gradient: coordinates of shape {type_of(h).shape} for axis {a} of size {n}.{at(user_source())}")
        out.append(_along(f, h, a, edge_order))
    alone = t.ndim == 1 or (axis is not None and not isinstance(axis, (tuple, list)))
    return out[0] if alone else out


def _along(f: Any, h: Any, axis: int, edge_order: int) -> Any:
    rank, n = type_of(f).ndim, type_of(f).shape[axis]
    (h,) = promote_operands("gradient", h, inexact=True)
    gaps = broadcast_to(h, (n - 1,)) if type_of(h).ndim == 0 else diff(h)
    widths = _on_axis(gaps, axis, rank)
    slopes = u.divide(_difference(f, axis), widths)
    first, last = _cut(slopes, axis, 0, 1), _cut(slopes, axis, -1, 0)
    if n == 2:
        return concat([first, last], axis)
    left, right = _cut(slopes, axis, 0, -1), _cut(slopes, axis, 1, 0)
    h0, h1 = _cut(widths, axis, 0, -1), _cut(widths, axis, 1, 0)
    # The parabola through three points: its slope in the middle weighs each side by the other's width.
    middle = u.divide(u.add(u.multiply(left, h1), u.multiply(right, h0)), u.add(h0, h1))
    if edge_order == 2:
        first = _edge(left, right, h0, h1, axis, True)
        last = _edge(left, right, h0, h1, axis, False)
    return concat([first, middle, last], axis)


def _difference(x: Any, axis: int) -> Any:
    return e.sub(_cut(x, axis, 1, 0), _cut(x, axis, 0, -1))


def _edge(left: Any, right: Any, h0: Any, h1: Any, axis: int, first: bool) -> Any:
    """The slope at an outer point of the parabola through the three points next to an edge."""
    bounds = (0, 1) if first else (-1, 0)
    left, right, h0, h1 = (_cut(v, axis, *bounds) for v in (left, right, h0, h1))
    bend = u.divide(u.subtract(right, left), u.add(h0, h1))
    return u.subtract(left, u.multiply(bend, h0)) if first else u.add(right, u.multiply(bend, h1))


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """The integral of samples `y` along `axis` by the trapezoidal rule, at coordinates `x`, or `dx` apart.

    Example:
        >>> trapezoid([1.0, 2.0, 3.0]).item(), trapezoid([1.0, 2.0], x=[0.0, 4.0]).item()
        (4.0, 6.0)
    """
    (y,) = promote_operands("trapezoid", y, inexact=True)
    rank = type_of(y).ndim
    axis = canonical_axis("trapezoid", axis, rank)
    widths: Any = dx
    if x is not None:
        points = as_operand(x, "trapezoid: x")
        widths = diff(points, axis=axis if type_of(points).ndim > 1 else -1)
        if type_of(widths).ndim == 1:
            widths = _on_axis(widths, axis, rank)
    n = type_of(y).shape[axis]
    pairs = e.add(s.slice_axis(y, axis, min(1, n), n), s.slice_axis(y, axis, 0, max(n - 1, 0)))
    terms = u.multiply(u.multiply(pairs, widths), 0.5)
    return r.reduce_sum(terms, (axis,))


def _on_axis(x: Any, axis: int, rank: int) -> Any:
    """A 1-D array along one axis of an array of that rank."""
    return s.reshape(x, tuple(type_of(x).size if i == axis else 1 for i in range(rank)))


def unwrap(p: Any, discont: Any = None, axis: int = -1, period: Any = 2 * np.pi) -> Any:
    """`p` with multiples of `period` added, so that neighbours along `axis` differ by half a period, or `discont`, at most."""
    (p,) = promote_operands("unwrap", p, inexact=not isinstance(period, int))
    rank = type_of(p).ndim
    axis = canonical_axis("unwrap", axis, rank)
    steps = diff(p, axis=axis)
    half = u.floor_divide(period, 2) if not dtypes.is_inexact(type_of(p).dtype) else u.divide(period, 2)
    low = u.negative(half)
    wrapped = u.add(u.remainder(u.subtract(steps, low), period), low)
    # A jump of exactly half a period keeps its sign.
    wrapped = logic.choose(logic.logical_and(logic.equal(wrapped, low), logic.greater(steps, 0)), half, wrapped)
    change = u.subtract(wrapped, steps)
    change = logic.choose(logic.less(u.abs(steps), half if discont is None else u.maximum(half, discont)), 0, change)
    n = type_of(p).shape[axis]
    rest = u.add(s.slice_axis(p, axis, min(1, n), n), r.cumsum(change, axis))
    return concat([s.slice_axis(p, axis, 0, min(1, n)), rest], axis)


__all__ = [
    "cumprod", "cumsum", "cumulative_prod", "cumulative_sum", "diff", "ediff1d", "gradient", "trapezoid", "unwrap",
]  # fmt: skip
