"""Order statistics: `quantile`, `percentile`, `median`, with and without NaN, `partition`.

A quantile of n sorted elements lies at a position between them, which each method has a formula of its own for (Hyndman and Fan, Sample
Quantiles in Statistical Packages, The American Statistician 50, 1996, numbers 1 to 9, and NumPy's own four).
Its derivative is that of the interpolation: the weights of the two neighbours, and, in `q`, their distance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import order
from fdl.tracer.ops import shape as s
from fdl.tracer.ops.reduce import cumsum, reduce_sum
from fdl.tracer.trace import Tracer

from .indexing import getitem
from .promote import as_operand, asarray, broadcast_to, canonical_axes, no_out, promote_operands, to_dtype
from .static import index_dtype, is_nan, known, no_nan, pick, scalar
from .ufuncs import add, floor

Where = Callable[[Any, Any, Any], Any]


def _ceil(v: Any, down: Callable[[Any], Any]) -> Any:
    return -down(-v)


def _hyndman_fan(alpha: float, beta: float) -> Callable[..., tuple[Any, Any]]:
    """The continuous methods: position n q + alpha + q (1 - alpha - beta), counted from 1."""

    def place(n: Any, q: Any, down: Callable[[Any], Any], where: Where) -> tuple[Any, Any]:
        v = n * q + (alpha + q * (1.0 - alpha - beta)) - 1.0
        return down(v), v - down(v)

    return place


def _linear(n: Any, q: Any, down: Callable[[Any], Any], where: Where) -> tuple[Any, Any]:
    v = (n - 1) * q
    return down(v), v - down(v)


def _inverted_cdf(n: Any, q: Any, down: Callable[[Any], Any], where: Where) -> tuple[Any, Any]:
    v = n * q - 1.0
    return _ceil(v, down), 0.0 * v


def _averaged_inverted_cdf(n: Any, q: Any, down: Callable[[Any], Any], where: Where) -> tuple[Any, Any]:
    v = n * q - 1.0
    return down(v), where(v == down(v), 0.5, 1.0)


def _closest_observation(n: Any, q: Any, down: Callable[[Any], Any], where: Where) -> tuple[Any, Any]:
    v = n * q - 1.5
    low = down(v)
    odd = low - 2.0 * down(low / 2.0) == 1.0
    stays = where(v == low, where(odd, 1.0, 0.0), 0.0)
    return low + 1.0 - stays, 0.0 * v


def _lower(n: Any, q: Any, down: Callable[[Any], Any], where: Where) -> tuple[Any, Any]:
    v = (n - 1) * q
    return down(v), 0.0 * v


def _higher(n: Any, q: Any, down: Callable[[Any], Any], where: Where) -> tuple[Any, Any]:
    v = (n - 1) * q
    return _ceil(v, down), 0.0 * v


def _midpoint(n: Any, q: Any, down: Callable[[Any], Any], where: Where) -> tuple[Any, Any]:
    v = (n - 1) * q
    return down(v), where(v == down(v), 0.0, 0.5)


def _nearest(n: Any, q: Any, down: Callable[[Any], Any], where: Where) -> tuple[Any, Any]:
    v = (n - 1) * q
    low = down(v)
    up = low + 1.0
    even = low == 2.0 * down(low / 2.0)
    tie = where(even, low, up)  # halves to even, as rint
    return where(v - low == 0.5, tie, where(v - low < 0.5, low, up)), 0.0 * v


METHODS: dict[str, Callable[..., tuple[Any, Any]]] = {
    "inverted_cdf": _inverted_cdf, "averaged_inverted_cdf": _averaged_inverted_cdf, "closest_observation": _closest_observation,
    "interpolated_inverted_cdf": _hyndman_fan(0.0, 1.0), "hazen": _hyndman_fan(0.5, 0.5), "weibull": _hyndman_fan(0.0, 0.0),
    "linear": _linear, "median_unbiased": _hyndman_fan(1 / 3, 1 / 3), "normal_unbiased": _hyndman_fan(3 / 8, 3 / 8),
    "lower": _lower, "higher": _higher, "midpoint": _midpoint, "nearest": _nearest,
}  # fmt: skip
"""Method → (position of the lower neighbour, weight of the upper one) for n elements, counted from 0."""


def _quantile(
    name: str, a: Any, q: Any, axis: Any, method: str, keepdims: bool, skip_nan: bool, scale: float = 1.0, weights: Any = None
) -> Any:
    if method not in METHODS:
        raise ShapeError(f"{name}: method {method!r}: expected one of {', '.join(METHODS)}.{at(user_source())}")
    if dtypes.is_complex(type_of(as_operand(a)).dtype):
        raise DTypeError(f"{name}: complex numbers have no order. Take the real part or the abs first.{at(user_source())}")
    q = as_operand(q, f"{name}: q")
    static = None if isinstance(q, Tracer) else known(q)  # a tracer's value may be known, but it has a derivative
    if static is not None:
        static = np.asarray(static, np.float64)
        if not ((static >= 0) & (static <= scale)).all():
            raise ShapeError(f"{name}: q must lie between 0 and {scale:g}, got {q!r}.{at(user_source())}")
        static = static / scale
    (a,) = promote_operands(name, a, inexact=True)
    if static is None:
        (q,) = promote_operands(name, q, inexact=True)
        a, q = promote_operands(name, a, q, broadcast=False)
        q = e.div(q, scalar(q, scale)) if scale != 1.0 else q
    elif type_of(as_operand(q)).dtype == dtypes.float64 and not type_of(as_operand(q)).weak:
        a = to_dtype(a, dtypes.float64)
    t = type_of(a)
    axes = canonical_axes(name, axis, t.ndim)
    rest = tuple(i for i in range(t.ndim) if i not in axes)
    n = math.prod(t.shape[i] for i in axes)
    lead = tuple(t.shape[i] for i in rest)
    q_shape = type_of(q).shape
    if n == 0:
        raise ShapeError(f"{name}: the axes {axes} of shape {t.shape} are empty: there is no quantile.{at(user_source())}")
    rows = s.reshape(s.transpose(a, (*rest, *axes)), (*lead, n))
    if weights is not None:
        rows_w = _weights_like(name, weights, a, axes, rest, lead, n)
        y = _weighted(rows, rows_w, q if static is None else static, q_shape, lead, skip_nan)
    else:
        y = _unweighted(order.sort([rows], len(lead))[0], q if static is None else static, q_shape, lead, n, method, skip_nan)
    if keepdims:
        y = s.reshape(y, (*q_shape, *(1 if i in axes else m for i, m in enumerate(t.shape))))
    return asarray(y)


def _unweighted(rows: Any, q: Any, q_shape: tuple[int, ...], lead: tuple[int, ...], n: int, method: str, skip_nan: bool) -> Any:
    """The quantiles of sorted rows (*lead, n), as (*q_shape, *lead)."""
    shape = (*q_shape, *lead)
    nan = scalar(rows, np.nan)
    missing = None if no_nan(rows) else is_nan(rows)
    place = METHODS[method]
    if isinstance(q, np.ndarray) and not skip_nan:
        low, weight = place(float(n), q, np.floor, np.where)
        low = np.asarray(low, np.int64)
        below, above = (_rows_at(rows, np.clip(k, 0, n - 1).astype(index_dtype(n)), q_shape, lead) for k in (low, low + 1))
        weight = s.broadcast(scalar(rows, weight), shape, tuple(range(len(q_shape))))
    else:
        count: Any = float(n)
        q = to_dtype(q, _working(rows)) if not isinstance(q, np.ndarray) else np.asarray(q, _working(rows))
        q = s.broadcast(q, shape, tuple(range(len(q_shape))))
        if skip_nan:
            count = reduce_sum(to_dtype(e.logical_not(missing), index_dtype(n)), (len(lead),))
            count = s.broadcast(to_dtype(count, _working(rows)), shape, tuple(range(len(q_shape), len(shape))))
        low, weight = place(count, asarray(q), floor, pick)
        last = e.sub(count, scalar(count, 1)) if skip_nan else float(n - 1)
        below, above = (_pick_rows(rows, k, last, lead, n) for k in (low, add(low, 1.0)))
        weight = to_dtype(broadcast_to(weight, shape), type_of(rows).dtype)
    y = _between(below, above, weight)
    if missing is None:
        return y
    if skip_nan:
        return e.select(s.broadcast(_all_of(missing, lead, n), shape, tuple(range(len(q_shape), len(shape)))), nan, y)
    any_nan = s.reshape(s.slice_axis(missing, len(lead), n - 1, n), lead)  # NaN is sorted last
    return e.select(s.broadcast(any_nan, shape, tuple(range(len(q_shape), len(shape)))), nan, y)


def _working(rows: Any) -> dtypes.DType:
    """The dtype in which positions are computed: float64 for float64, else float32."""
    return dtypes.float64 if type_of(rows).dtype == dtypes.float64 else dtypes.float32


def _all_of(missing: Any, lead: tuple[int, ...], n: int) -> Any:
    return s.reshape(s.slice_axis(missing, len(lead), 0, 1), lead)  # the first of a sorted row is NaN where all are


def _rows_at(rows: Any, k: np.ndarray, q_shape: tuple[int, ...], lead: tuple[int, ...]) -> Any:
    y = getitem(rows, (..., k))
    return s.transpose(y, (*range(len(lead), len(lead) + len(q_shape)), *range(len(lead))))


def _pick_rows(rows: Any, k: Any, last: Any, lead: tuple[int, ...], n: int) -> Any:
    """Elements of rows (*lead, n) at positions k (*q_shape, *lead), limited to 0 and `last`."""
    k = to_dtype(e.stop_gradient(asarray(k)), index_dtype(n))
    if isinstance(last, float):
        top: Any = np.asarray(n - 1, index_dtype(n))
    else:
        top = e.max(to_dtype(last, index_dtype(n)), np.asarray(0, index_dtype(n)))
    k = e.max(e.min(k, top), np.asarray(0, index_dtype(n)))
    grid = [np.arange(m).reshape(-1, *(1,) * (len(lead) - i - 1)) for i, m in enumerate(lead)]
    return getitem(rows, (*grid, k), mode="promise_in_bounds")


def _between(below: Any, above: Any, weight: Any) -> Any:
    """below + weight (above - below), computed from the nearer end; an end that is hit is given though the other be infinite."""
    zero, one = scalar(below, 0), scalar(below, 1)
    # Between equal infinities there is no difference; between equal numbers it is 0, but has a derivative.
    endless = e.logical_and(e.eq(below, above), e.logical_not(e.is_finite(below)))
    distance = e.select(endless, zero, e.sub(above, below))
    near = e.add(below, e.mul(distance, weight))
    far = e.sub(above, e.mul(distance, e.sub(one, weight)))
    y = e.select(e.ge(weight, scalar(weight, 0.5)), far, near)
    endless = e.logical_not(e.is_finite(distance))
    y = e.select(e.logical_and(endless, e.eq(weight, zero)), below, y)
    return e.select(e.logical_and(endless, e.eq(weight, one)), above, y)


def _weights_like(
    name: str, weights: Any, a: Any, axes: Sequence[int], rest: Sequence[int], lead: tuple[int, ...], n: int
) -> Any:
    w = to_dtype(as_operand(weights, f"{name}: weights"), type_of(a).dtype)
    shape = type_of(a).shape
    if type_of(w).shape != shape:
        if len(axes) != 1 or type_of(w).shape != (shape[axes[0]],):
            raise ShapeError(
                f"{name}: weights have shape {type_of(w).shape}, expected {shape}, or the size along the one axis.{at(user_source())}"
            )
        w = s.broadcast(w, shape, tuple(axes))
    return s.reshape(s.transpose(w, (*rest, *axes)), (*lead, n))


def _weighted(rows: Any, w: Any, q: Any, q_shape: tuple[int, ...], lead: tuple[int, ...], skip_nan: bool) -> Any:
    """The quantiles of the weighted distribution: the least element at which the share of the weights reaches q."""
    n = type_of(rows).shape[-1]
    shape = (*q_shape, *lead)
    missing = is_nan(rows)
    if skip_nan:
        w = e.select(missing, scalar(w, 0), w)
    rows, w = order.sort([rows, w], len(lead))
    total = cumsum(w, len(lead))
    whole = s.slice_axis(total, len(lead), n - 1, n)
    share = s.broadcast(e.div(total, broadcast_to(whole, (*lead, n))), (*shape, n), tuple(range(len(q_shape), len(shape) + 1)))
    level = s.broadcast(to_dtype(asarray(q), type_of(rows).dtype), (*shape, n), tuple(range(len(q_shape))))
    positive = s.broadcast(e.gt(w, scalar(w, 0)), (*shape, n), tuple(range(len(q_shape), len(shape) + 1)))
    before = e.logical_or(e.lt(share, level), e.logical_and(e.eq(level, scalar(level, 0)), e.logical_not(positive)))
    k = reduce_sum(to_dtype(before, index_dtype(n)), (len(shape),))
    y = _pick_rows(rows, k, float(n - 1), lead, n)
    ends = s.reshape(s.slice_axis(is_nan(rows), len(lead), 0 if skip_nan else n - 1, 1 if skip_nan else n), lead)
    return e.select(s.broadcast(ends, shape, tuple(range(len(q_shape), len(shape)))), scalar(rows, np.nan), y)


def quantile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Any:
    """The q-quantiles of `a` over the given axes: shape q.shape + the remaining axes. NaN where there is a NaN among the elements.

    Args:
        q: numbers from 0 to 1.
        method: "inverted_cdf", "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf", "hazen", "weibull",
            "linear", "median_unbiased", "normal_unbiased", "lower", "higher", "midpoint" or "nearest".
        weights: of the elements, of the shape of `a` or of its one axis; only with method "inverted_cdf".

    Example:
        >>> quantile(np.array([1.0, 2.0, 4.0]), np.array([0.25, 0.5])).tolist()
        [1.5, 2.0]
    """
    return _checked("quantile", a, q, axis, out, method, keepdims, weights, False, 1.0)


def percentile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Any:
    """The percentiles of `a`: `quantile` with `q` from 0 to 100."""
    return _checked("percentile", a, q, axis, out, method, keepdims, weights, False, 100.0)


def nanquantile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Any:
    """`quantile` of the elements that are not NaN; NaN where all are."""
    return _checked("nanquantile", a, q, axis, out, method, keepdims, weights, True, 1.0)


def nanpercentile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Any:
    """`percentile` of the elements that are not NaN; NaN where all are."""
    return _checked("nanpercentile", a, q, axis, out, method, keepdims, weights, True, 100.0)


def _checked(
    name: str, a: Any, q: Any, axis: Any, out: Any, method: str, keepdims: bool, weights: Any, skip: bool, scale: float
) -> Any:
    no_out(name, out)
    if weights is not None and method != "inverted_cdf":
        raise ShapeError(f"{name}: weights go with method='inverted_cdf', got {method!r}.{at(user_source())}")
    skip = skip and not no_nan(promote_operands(name, a, inexact=True)[0])
    return _quantile(name, a, q, axis, method, keepdims, skip, scale, weights)


def median(a: Any, axis: Any = None, out: None = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    """The median over the given axes: the middle element, or the mean of the two in the middle; NaN where there is one.

    Example:
        >>> median(np.array([3.0, 1.0, 2.0, 10.0])).item()
        2.5
    """
    no_out("median", out)
    return _quantile("median", a, 0.5, axis, "midpoint", keepdims, False)


def nanmedian(a: Any, axis: Any = None, out: None = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    """`median` of the elements that are not NaN; NaN where all are."""
    no_out("nanmedian", out)
    return _quantile("nanmedian", a, 0.5, axis, "midpoint", keepdims, True)


__all__ = ["median", "nanmedian", "nanpercentile", "nanquantile", "percentile", "quantile"]
