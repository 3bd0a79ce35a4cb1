"""Windows: window_sum, window_max, window_min (pooling), and what their derivatives need: window_select, window_scatter.

All parameters have one entry for each axis of `x`: 1, 1, (0, 0), 1 for an axis without windows.  Padding never counts: it is 0
in a sum and never an extremum.  `window_select(x, t)` takes from each window of `t` the element at which the window of `x` has
its first extremum (in row-major order; the first NaN where there is one), 0 where a window holds padding only; `window_scatter`
adds there.  Both are linear in their second operand, and each is the other's transpose.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..ir import Type, type_of
from ..primitive import Named, Primitive, Undefined, Zero, lookup
from ..trace import bind
from .convolve import Padding, conv_out_shape, dilated
from .reduce import identity, working
from .rules import Dims, Shape, inserted, linear, no_bool, ordered, shape_of, to_front
from .shape import _pad_reference, broadcast, pad, reshape

Params = dict[str, Any]

# --- what the family shares -----------------------------------------------------------------------


def window_out_shape(shape: Shape, *, window: Shape, strides: Shape, padding: Padding, dilation: Shape) -> Shape:
    """The number of windows along each axis of an array of that shape."""
    return conv_out_shape(shape, window, strides, padding, (1,) * len(shape), dilation)


def _check(name: str, x: Type, *, window: Shape, strides: Shape, padding: Padding, dilation: Shape) -> None:
    for what, values in {"window": window, "strides": strides, "padding": padding, "dilation": dilation}.items():
        if len(values) != x.ndim:
            raise ShapeError(f"{name}: {what} {values} for an operand of shape {x.shape}: expected one entry for each axis.")
        if what != "padding" and any(v < 1 for v in values):  # type: ignore[operator]
            raise ShapeError(f"{name}: {what} {values}: expected numbers of at least 1.")


def _positions(window: Shape, out: Shape, strides: Shape, dilation: Shape) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """The number of each position in a window, and the part of the padded array that it meets, one element for each window."""
    for number, k in enumerate(np.ndindex(*window)):
        first = [i * d for i, d in zip(k, dilation, strict=True)]
        yield number, tuple(slice(i, i + dilated(n, s), s) for i, n, s in zip(first, out, strides, strict=True))


def _padded(x: np.ndarray, fill: Any, padding: Padding) -> np.ndarray:
    return _pad_reference(x, np.asarray(fill, x.dtype), config=[(lo, hi, 0) for lo, hi in padding])


def _widened(params: Params, at: int) -> Params:
    """The parameters for an array that has a mapped axis besides, at `at`."""
    plain = {"window": 1, "strides": 1, "padding": (0, 0), "dilation": 1}
    return {k: inserted(v, at, plain[k]) if k in plain else v for k, v in params.items()}


# --- sums and extrema -----------------------------------------------------------------------------


def _reduce_abstract(name: str, x: Type, **params: Any) -> Type:
    _check(name, x, **params)
    (no_bool if name == "window_sum" else ordered)(name, x.dtype)
    return x.with_shape(window_out_shape(x.shape, **params))


_UFUNC = {"window_sum": np.add, "window_max": np.maximum, "window_min": np.minimum}


@np.errstate(all="ignore")
def _reduce_reference(name: str, x: np.ndarray, **params: Any) -> np.ndarray:
    wide, out = working(x), window_out_shape(x.shape, **params)
    start = identity(name, wide.dtype)
    padded, y = _padded(wide, start, params["padding"]), np.full(out, start, wide.dtype)
    for _, part in _positions(params["window"], out, params["strides"], params["dilation"]):
        y = _UFUNC[name](y, padded[part])
    return y.astype(x.dtype)


def _reduce_batch(prim: Callable[..., Any], size: int, xs: Sequence[Any], dims: Dims, **params: Any) -> tuple[Any, int]:
    d = dims[0] or 0
    return prim(xs[0], **_widened(params, d)), d


def _window_sum_transpose(
    ct: Any, x: Undefined, *, window: Shape, strides: Shape, padding: Padding, dilation: Shape
) -> tuple[Any]:
    if all(w == s and (d == 1 or w == 1) for w, s, d in zip(window, strides, dilation, strict=True)):
        return (_repeated(ct, x.type.shape, window, padding),)
    # x_bar[i] sums ct over the windows that hold i: windows of the same size, over ct with its elements `strides` apart.
    config = []
    for n, m, w, s, (lo, _), d in zip(x.type.shape, shape_of(ct), window, strides, padding, dilation, strict=True):
        reach = (w - 1) * d
        config.append((reach - lo, n + lo - dilated(m, s), s - 1))
    ones = (1,) * len(window)
    spread = pad(ct, np.zeros((), type_of(ct).dtype), config)
    return (window_sum(spread, window=window, strides=ones, padding=((0, 0),) * len(window), dilation=dilation),)


def _repeated(ct: Any, shape: Shape, window: Shape, padding: Padding) -> Any:
    """Each element of `ct` for all elements of its window, where windows lie side by side; 0 for what is in none."""
    windows = shape_of(ct)
    sizes: list[int] = []
    axes: list[int] = []
    for m, w in zip(windows, window, strict=True):
        axes.append(len(sizes))
        sizes += [m, w] if w > 1 else [m]
    whole = tuple(m * w for m, w in zip(windows, window, strict=True))
    y = reshape(broadcast(ct, tuple(sizes), tuple(axes)), whole)
    config = [(-lo, n + lo - m, 0) for n, m, (lo, _) in zip(shape, whole, padding, strict=True)]
    return y if whole == shape and not any(lo for lo, _, _ in config) else pad(y, np.zeros((), type_of(ct).dtype), config)


def _extremum_jvp(op: str, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
    y = (window_max if op == "max" else window_min)(primals[0], **params)
    if isinstance(tangents[0], Zero):
        return y, Zero(type_of(y))
    return y, window_select(primals[0], tangents[0], op=op, **params)


window_sum_p = linear(
    "window_sum",
    abstract=functools.partial(_reduce_abstract, "window_sum"),
    reference=functools.partial(_reduce_reference, "window_sum"),
    transpose=_window_sum_transpose,
    batch=lambda size, xs, dims, **params: _reduce_batch(window_sum, size, xs, dims, **params),
    lowering=Named("window_reduce"),
    eager="compiled",
)
window_sum_p.source = __file__


def _extremum(op: str) -> tuple[Primitive, Callable[..., Any]]:
    name = f"window_{op}"

    def function(x: Any, **params: Any) -> Any:
        return bind(prim, x, **params)

    prim = Primitive(
        name,
        abstract=functools.partial(_reduce_abstract, name),
        reference=functools.partial(_reduce_reference, name),
        jvp=functools.partial(_extremum_jvp, op),
        batch=functools.partial(_reduce_batch, function),
        lowering=Named("window_reduce"),
        eager="compiled",
    )
    prim.source = __file__
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The {op}imum of each window of `x`; parameters as in `window_sum`."
    return prim, function


def window_sum(x: Any, *, window: Shape, strides: Shape, padding: Padding, dilation: Shape) -> Any:
    """The sum of each window of `x`.

    Args:
        window, strides, padding, dilation: for each axis, the size of a window, the step between windows, the (low, high)
            padding, and the distance between the elements of a window.
    """
    return bind(window_sum_p, x, window=window, strides=strides, padding=padding, dilation=dilation)


window_max_p, window_max = _extremum("max")
window_min_p, window_min = _extremum("min")

# --- at the extremum ------------------------------------------------------------------------------


def _check_op(name: str, x: Type, other: Type, op: str) -> None:
    if op not in ("max", "min"):
        raise ShapeError(f"{name}: op {op!r}: expected 'max' or 'min'.")
    if other.dtype != x.dtype:
        found = f"{x.dtype.name} and {other.dtype.name}"
        raise DTypeError(f"{name}: operands have dtypes {found}, expected one. Convert with .astype.")
    ordered(name, x.dtype)
    no_bool(name, x.dtype)


def _select_abstract(x: Type, t: Type, *, op: str, **params: Any) -> Type:
    _check("window_select", x, **params)
    _check_op("window_select", x, t, op)
    if t.shape != x.shape:
        raise ShapeError(f"window_select: operands have shapes {x.shape} and {t.shape}, expected one shape.")
    return t.with_shape(window_out_shape(x.shape, **params)).strong()


def _scatter_abstract(x: Type, ct: Type, *, op: str, **params: Any) -> Type:
    _check("window_scatter", x, **params)
    _check_op("window_scatter", x, ct, op)
    expected = window_out_shape(x.shape, **params)
    if ct.shape != expected:
        raise ShapeError(
            f"window_scatter: the second operand has shape {ct.shape}, expected {expected}: "
            f"one element for each window of {x.shape}."
        )
    return Type(x.shape, x.dtype)


def _first_extrema(x: np.ndarray, op: str, *, window: Shape, strides: Shape, padding: Padding, dilation: Shape) -> np.ndarray:
    """The number of the position in each window at which it has its first extremum; -1 in a window of padding only."""
    out = window_out_shape(x.shape, window=window, strides=strides, padding=padding, dilation=dilation)
    wide = working(x)
    padded, real = _padded(wide, 0, padding), _padded(np.ones(x.shape, np.bool_), False, padding)
    best, at = np.zeros(out, wide.dtype), np.full(out, -1, np.int64)
    for number, part in _positions(window, out, strides, dilation):
        v = padded[part]
        better = v > best if op == "max" else v < best
        if wide.dtype.kind == "f":
            better = (better | np.isnan(v)) & ~np.isnan(best)
        take = real[part] & (better | (at < 0))
        best, at = np.where(take, v, best), np.where(take, number, at)
    return at


def _select_reference(x: np.ndarray, t: np.ndarray, *, op: str, **params: Any) -> np.ndarray:
    at = _first_extrema(x, op, **params)
    padded, y = _padded(t, 0, params["padding"]), np.zeros(at.shape, t.dtype)
    for number, part in _positions(params["window"], at.shape, params["strides"], params["dilation"]):
        y = np.where(at == number, padded[part], y)
    return y


@np.errstate(all="ignore")
def _scatter_reference(x: np.ndarray, ct: np.ndarray, *, op: str, **params: Any) -> np.ndarray:
    at, wide = _first_extrema(x, op, **params), working(ct)
    padded = _padded(np.zeros(x.shape, wide.dtype), 0, params["padding"])
    for number, part in _positions(params["window"], at.shape, params["strides"], params["dilation"]):
        padded[part] += np.where(at == number, wide, np.zeros((), wide.dtype))
    back = _padded(padded, 0, [(-lo, -hi) for lo, hi in params["padding"]])
    return back.astype(x.dtype)


def _at_extremum(
    name: str, abstract: Callable[..., Any], reference: Callable[..., Any], transpose: Callable[..., Any]
) -> tuple[Primitive, Callable[..., Any]]:
    """A primitive of (x, t) that is linear in `t`, and constant in `x` wherever it has a derivative."""

    def function(x: Any, t: Any, **params: Any) -> Any:
        return bind(prim, x, t, **params)

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        y = function(*primals, **params)
        return y, Zero(type_of(y)) if isinstance(tangents[1], Zero) else function(primals[0], tangents[1], **params)

    def batch(size: int, xs: Sequence[Any], dims: Dims, **params: Any) -> tuple[Any, int]:
        x, t = (to_front(size, v, d) for v, d in zip(xs, dims, strict=True))
        return function(x, t, **_widened(params, 0)), 0

    prim = Primitive(
        name,
        abstract=abstract,
        reference=reference,
        jvp=jvp,
        transpose=transpose,
        batch=batch,
        lowering=Named(name),
        eager="compiled",
    )
    function.__name__ = function.__qualname__ = name
    return prim, function


window_select_p, window_select = _at_extremum(
    "window_select",
    _select_abstract,
    _select_reference,
    lambda ct, x, t, **params: (None, bind(lookup("window_scatter"), x, ct, **params)),
)
window_select.__doc__ = """The element of `t` at the first extremum (`op` "max" or "min") of each window of `x`; one shape."""

window_scatter_p, window_scatter = _at_extremum(
    "window_scatter",
    _scatter_abstract,
    _scatter_reference,
    lambda ct, x, t, **params: (None, window_select(x, ct, **params)),
)
window_scatter.__doc__ = (
    """Zeros of the shape of `x`, with each element of the second operand added at the first extremum of its window."""
)
