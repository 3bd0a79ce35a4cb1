"""`pad`: margins around an array, in each of NumPy's modes.

One axis after another, as NumPy does it: the margins of a later axis continue those of the earlier ones.  Margins that repeat elements
(edge, reflect, symmetric, wrap) are slices of the array, reversed or not, where those are few, else one gather.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import index as ix
from fdl.tracer.ops import shape as s

from . import reductions as r
from .functional import apply_along_axis
from .orderstats import median
from .promote import as_operand, asarray, broadcast_to, canonical_axis, check_range, to_dtype
from .static import need, scalar
from .ufuncs import add, multiply, rint, subtract

MAX_PIECES = 8
"""The most slices of which a margin is put together; beyond, a gather reads it."""

_OPTIONS: dict[str, tuple[str, ...]] = {
    "constant": ("constant_values",), "linear_ramp": ("end_values",), "maximum": ("stat_length",), "mean": ("stat_length",),
    "median": ("stat_length",), "minimum": ("stat_length",), "reflect": ("reflect_type",), "symmetric": ("reflect_type",), "edge": (),
    "wrap": (), "empty": (),
}  # fmt: skip


def pad(array: Any, pad_width: Any, mode: str | Callable[..., Any] = "constant", **options: Any) -> Any:
    """`array` with margins.

    Args:
        pad_width: how wide: an int, (before, after), a pair for each axis, or a dict from axes to either.
        mode: "constant" with `constant_values` (0); "edge"; "linear_ramp" to `end_values` (0); "maximum", "mean", "median" or
            "minimum" of the last `stat_length` elements (all); "reflect" or "symmetric" (with the edge), whose `reflect_type` "odd"
            turns the values about the edge's; "wrap"; "empty" (zeros); or a function of (vector, (before, after), axis, options) that
            returns the vector with its margins filled.

    Raises: ShapeError for negative widths, unknown modes or options, and an empty axis that has nothing to repeat.

    Example:
        >>> pad(np.array([1.0, 2.0, 3.0]), (2, 1), mode="reflect").tolist()
        [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]
    """
    x = as_operand(array, "pad: the array")
    shape = type_of(x).shape
    widths = _widths(pad_width, len(shape))
    if callable(mode):
        return _by_function(x, widths, mode, options)
    if mode not in _OPTIONS:
        raise ShapeError(f"pad: mode {mode!r}: expected a function or one of {', '.join(_OPTIONS)}.{at(user_source())}")
    unknown = sorted(set(options) - set(_OPTIONS[mode]))
    if unknown:
        takes = ", ".join(_OPTIONS[mode]) or "no options"
        raise ShapeError(f"pad: mode {mode!r} takes {takes}, got {', '.join(unknown)}.{at(user_source())}")
    if mode in ("constant", "empty"):
        return asarray(_constant(x, widths, options.get("constant_values", 0)))
    for axis, (low, high) in enumerate(widths):
        if not (low or high):
            continue
        if type_of(x).shape[axis] == 0:
            raise ShapeError(
                f"pad: axis {axis} of shape {shape} is empty, and mode {mode!r} has nothing to repeat. Use 'constant'.{at(user_source())}"
            )
        if mode == "linear_ramp":
            x = _ramp(x, axis, low, high, _pairs("end_values", options.get("end_values", 0), len(shape))[axis])
        elif mode in ("maximum", "mean", "median", "minimum"):
            x = _statistic(x, axis, low, high, mode, options.get("stat_length"), len(shape))
        else:
            x = _repeated(x, axis, low, high, mode, options.get("reflect_type", "even"))
    return asarray(x)


def _widths(pad_width: Any, ndim: int) -> list[tuple[int, int]]:
    if isinstance(pad_width, dict):
        given = {canonical_axis("pad", a, ndim): w for a, w in pad_width.items()}
        pad_width = [_both(given.get(a, 0)) for a in range(ndim)]
    value = need("pad", pad_width, "the shape of the result", "Make pad_width static.")
    if value.size and value.dtype.kind not in "iu":
        raise DTypeError(f"pad: widths must be integers, got {pad_width!r}.{at(user_source())}")
    if ndim == 0 and value.size == 0:
        return []
    try:
        widths = np.broadcast_to(value, (ndim, 2)).tolist()
    except ValueError:
        raise ShapeError(
            f"pad: pad_width {pad_width!r} does not fit {ndim} axes: expected an int, (before, after), or a pair for each."
            f"{at(user_source())}"
        ) from None
    if any(n < 0 for pair in widths for n in pair):
        raise ShapeError(f"pad: widths must not be negative, got {widths}. Slice to crop.{at(user_source())}")
    return [(a, b) for a, b in widths]


def _both(w: Any) -> tuple[Any, Any]:
    return tuple(w) if isinstance(w, (tuple, list)) else (w, w)


def _pairs(what: str, values: Any, ndim: int) -> list[tuple[Any, Any]]:
    """A value for both sides of each axis, from one, a pair, or a pair for each axis; the values may be traced."""
    v = as_operand(values, f"pad: {what}")
    shape = type_of(v).shape
    try:
        np.broadcast_shapes(shape, (ndim, 2))
        v = broadcast_to(v, (ndim, 2))
    except ValueError:
        expected = f"expected (), (2,) or ({ndim}, 2)"
        raise ShapeError(f"pad: {what} of shape {shape} do not fit {ndim} axes: {expected}.{at(user_source())}") from None

    def value(axis: int, side: int) -> Any:
        return s.reshape(s.slice(v, (axis, side), (axis + 1, side + 1)), ())

    return [(value(a, 0), value(a, 1)) for a in range(ndim)]


def _constant(x: Any, widths: list[tuple[int, int]], values: Any) -> Any:
    t = type_of(x)
    for number in values if isinstance(values, (tuple, list)) else (values,):
        check_range("pad: constant_values", number, t.dtype)
    v = as_operand(values, "pad: constant_values")
    if type_of(v).size == 1:
        fill = to_dtype(s.reshape(v, ()) if type_of(v).ndim else v, t.dtype)
        return s.pad(x, fill, tuple((a, b, 0) for a, b in widths))
    for axis, pair in enumerate(_pairs("constant_values", v, t.ndim)):
        for side in (0, 1):
            config = [(0, 0, 0)] * t.ndim
            config[axis] = (widths[axis][0], 0, 0) if side == 0 else (0, widths[axis][1], 0)
            x = s.pad(x, to_dtype(pair[side], t.dtype), tuple(config))
    return x


def _slice(x: Any, axis: int, start: int, limit: int) -> Any:
    return s.slice_axis(x, axis, start, limit)


def _repeat(x: Any, axis: int, n: int) -> Any:
    """`x`, of size 1 along `axis`, n times."""
    shape = type_of(x).shape
    return s.broadcast(x, (*shape[:axis], n, *shape[axis + 1 :]), tuple(range(len(shape))))


# --- margins that repeat elements -----------------------------------------------------------------


def _repeated(x: Any, axis: int, low: int, high: int, mode: str, kind: str) -> Any:
    if kind not in ("even", "odd"):
        raise ShapeError(f"pad: reflect_type {kind!r}: expected 'even' or 'odd'.{at(user_source())}")
    n = type_of(x).shape[axis]
    places = np.pad(np.arange(n), (low, high), mode)  # type: ignore[call-overload]
    y = _at_places(x, axis, places)
    if kind == "even" or mode not in ("reflect", "symmetric"):
        return y
    sign, jumps, twice = _turned(n, low, high, mode)
    ends = [_slice(x, axis, k, k + 1) for k in (0, n - 1)]
    t = type_of(y)

    def along(values: np.ndarray) -> Any:
        return s.broadcast(scalar(x, values), t.shape, (axis,))

    def whole(v: Any) -> Any:
        return _repeat(v, axis, t.shape[axis])

    # f(j) = ± x[place] + 2 x[n - 1] where it is turned + 2 (x[n - 1] - x[0]) for each period.
    rise = e.sub(whole(ends[1]), whole(ends[0]))
    return e.add(e.mul(y, along(sign)), e.add(e.mul(whole(ends[1]), along(twice)), e.mul(rise, along(jumps))))


def _turned(n: int, low: int, high: int, mode: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For an odd reflection: the sign of each element, how often the rise is added, and the last element."""
    j = np.arange(-low, n + high)
    period = 2 * (n - 1) if mode == "reflect" else 2 * n
    if period == 0:
        return np.ones(len(j)), np.zeros(len(j)), np.zeros(len(j))
    turns, rest = j // period, j % period
    back = rest >= n
    return np.where(back, -1, 1), 2 * turns, np.where(back, 2, 0)


def _at_places(x: Any, axis: int, places: np.ndarray) -> Any:
    """The slices of `x` at known places along `axis`."""
    pieces = _pieces(places)
    if len(pieces) > MAX_PIECES:
        y = ix.gather(x, places.astype(np.int32).reshape(-1, 1), axes=(axis,), mode="clip")
        return s.transpose(y, (*range(1, axis + 1), 0, *range(axis + 1, type_of(y).ndim)))
    parts = []
    for start, step, count in pieces:
        if step == 0:
            parts.append(_repeat(_slice(x, axis, start, start + 1), axis, count))
        else:
            low = start if step > 0 else start - count + 1
            part = _slice(x, axis, low, low + count)
            parts.append(part if step > 0 else s.flip(part, (axis,)))
    return s.concatenate(parts, axis)


def _pieces(places: np.ndarray) -> list[tuple[int, int, int]]:
    """The places as runs (start, step, count) of step 1, -1 or 0."""
    out: list[tuple[int, int, int]] = []
    for p in places.tolist():
        if out:
            start, step, count = out[-1]
            last = start + step * (count - 1)
            if count == 1 and p - last in (-1, 0, 1):
                out[-1] = (start, p - last, 2)
                continue
            if count > 1 and p - last == step:
                out[-1] = (start, step, count + 1)
                continue
        out.append((p, 1, 1))
    return out


# --- margins that are computed --------------------------------------------------------------------


def _ramp(x: Any, axis: int, low: int, high: int, ends: tuple[Any, Any]) -> Any:
    t = type_of(x)
    work = dtypes.float64 if dtypes.is_int(t.dtype) or t.dtype == dtypes.bool_ else t.dtype
    n = t.shape[axis]
    parts = [x]
    for side, width in ((0, low), (1, high)):
        if not width:
            continue
        edge = _repeat(to_dtype(_slice(x, axis, 0, 1) if side == 0 else _slice(x, axis, n - 1, n), work), axis, width)
        share = np.arange(width) / width  # from the end value towards the edge, which it does not reach
        share = share if side == 0 else share[::-1]
        shape = type_of(edge).shape
        end = broadcast_to(to_dtype(ends[side], work), shape)
        ramp = add(end, multiply(s.broadcast(np.asarray(share, work), shape, (axis,)), subtract(edge, end)))
        ramp = e.floor(ramp) if dtypes.is_int(t.dtype) else ramp  # a bool is whether the value is not 0, as in a conversion
        ramp = to_dtype(ramp, t.dtype)
        parts = [ramp, *parts] if side == 0 else [*parts, ramp]
    return s.concatenate(parts, axis)


_STATISTICS: dict[str, Callable[..., Any]] = {"maximum": r.max, "minimum": r.min, "mean": r.mean, "median": median}


def _statistic(x: Any, axis: int, low: int, high: int, mode: str, length: Any, ndim: int) -> Any:
    t = type_of(x)
    n = t.shape[axis]
    lengths = [n, n]
    if length is not None:
        given = need("pad", length, "stat_length", "Make it static.")
        lengths = [min(int(k), n) for k in np.broadcast_to(given, (ndim, 2))[axis]]
        if any(k < 1 for k in lengths):
            raise ShapeError(f"pad: stat_length must be at least 1, got {length!r}.{at(user_source())}")

    def margin(part: Any, width: int) -> Any:
        value = _STATISTICS[mode](part, axis=axis, keepdims=True)
        if mode in ("mean", "median") and dtypes.is_int(t.dtype):
            value = rint(value)
        return _repeat(to_dtype(value, t.dtype), axis, width)

    parts = [x]
    if low:
        parts.insert(0, margin(_slice(x, axis, 0, lengths[0]), low))
    if high:
        parts.append(margin(_slice(x, axis, n - lengths[1], n), high))
    return s.concatenate(parts, axis)


def _by_function(x: Any, widths: list[tuple[int, int]], f: Callable[..., Any], options: dict[str, Any]) -> Any:
    y = _constant(x, widths, 0)
    for axis, pair in enumerate(widths):
        y = apply_along_axis(f, axis, y, pair, axis, options)
    return asarray(y)


__all__ = ["pad"]
