"""Convolutions: conv, conv_input_grad, conv_filter_grad: one trilinear form and its three derivatives.

With x (N, *spatial, C), f (*window, C/g, O) and y (N, *out, O), in `groups` g, the form is

    T(x, f, y) = Σ  x[n, i, c] · f[k, c mod C/g, o] · y[n, p, o],   i·lhs_dilation = p·strides + k·rhs_dilation − low padding

summed over n, p, k, o and the channels c of the group of o.  `conv` = ∂T/∂y, `conv_input_grad` = ∂T/∂x, `conv_filter_grad` =
∂T/∂f.  So each one's transposes are the other two with the same parameters, and the family is closed under differentiation.
As everywhere in machine learning the filter is not flipped.

Batching merges the mapped axis into N, into C or O, or, where both operands have it, into the groups.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..ir import Type, type_of
from ..primitive import Primitive, Tile, Undefined, Zero
from ..trace import bind
from .elementwise import add_tangents, move_axis
from .reduce import working
from .rules import Dims, Shape, no_bool, shape_of, zeros
from .shape import _pad_reference, reshape

Padding = Sequence[tuple[int, int]]
Params = dict[str, Any]


def dilated(n: int, step: int) -> int:
    """The size of an axis of n elements that lie `step` apart."""
    return (n - 1) * step + 1 if n else 0


def conv_out_shape(
    spatial: Shape, window: Shape, strides: Shape, padding: Padding, lhs_dilation: Shape, rhs_dilation: Shape
) -> Shape:
    """The sizes of a convolution's output along the spatial axes."""
    sizes = []
    for n, k, s, (lo, hi), a, b in zip(spatial, window, strides, padding, lhs_dilation, rhs_dilation, strict=True):
        room = dilated(n, a) + lo + hi - dilated(k, b)
        sizes.append(room // s + 1 if room >= 0 else 0)
    return tuple(sizes)


def _check_params(
    name: str, ndim: int, *, strides: Shape, padding: Padding, lhs_dilation: Shape, rhs_dilation: Shape, groups: int
) -> None:
    given = {"strides": strides, "padding": padding, "lhs_dilation": lhs_dilation, "rhs_dilation": rhs_dilation}
    for what, values in given.items():
        if len(values) != ndim:
            raise ShapeError(f"{name}: {what} {values} for {ndim} spatial axes: expected {ndim} entries.")
        if what != "padding" and any(v < 1 for v in values):  # type: ignore[operator]
            raise ShapeError(f"{name}: {what} {values}: expected numbers of at least 1.")
    if groups < 1:
        raise ShapeError(f"{name}: groups = {groups}: expected at least 1.")


def _check(name: str, left: Type, right: Type, ndim: int, params: Params) -> None:
    if left.dtype != right.dtype:
        found = f"{left.dtype.name} and {right.dtype.name}"
        raise DTypeError(f"{name}: operands have dtypes {found}, expected one. Convert with .astype.")
    no_bool(name, left.dtype)
    if left.ndim != right.ndim or ndim < 0:
        raise ShapeError(
            f"{name}: operands of shapes {left.shape} and {right.shape}: expected equally many axes: (N, *spatial, C) for an "
            "input or a cotangent, (*window, C/groups, O) for filters."
        )
    _check_params(name, ndim, **params)


def _check_channels(name: str, x: Shape, f: Shape, groups: int) -> None:
    if x[-1] != f[-2] * groups:
        raise ShapeError(
            f"{name}: the input {x} has {x[-1]} channels, the filter {f} with groups = {groups} takes {f[-2]} × {groups} = "
            f"{f[-2] * groups}. The layout is (N, *spatial, C) and (*window, C/groups, O)."
        )
    if f[-1] % groups:
        raise ShapeError(f"{name}: the filter {f} has {f[-1]} output channels, which groups = {groups} does not divide.")


def _geometry(params: Params) -> Params:
    return {k: v for k, v in params.items() if k not in ("groups", "in_spatial", "window")}


def _check_output(name: str, x: Shape, f: Shape, y: Shape, params: Params) -> None:
    """Raises unless `y` is the shape of a convolution of inputs `x` with filters `f`."""
    _check_channels(name, x, f, params["groups"])
    expected = (x[0], *conv_out_shape(x[1:-1], f[:-2], **_geometry(params)), f[-1])
    if y != expected:
        raise ShapeError(f"{name}: the cotangent has shape {y}, expected {expected}: that of conv of {x} with a filter {f}.")


# --- the three definitions ------------------------------------------------------------------------


def _conv_abstract(x: Type, f: Type, **params: Any) -> Type:
    _check("conv", x, f, x.ndim - 2, params)
    _check_channels("conv", x.shape, f.shape, params["groups"])
    spatial = conv_out_shape(x.shape[1:-1], f.shape[:-2], **_geometry(params))
    return Type((x.shape[0], *spatial, f.shape[-1]), x.dtype, x.weak and f.weak)


def _conv_input_grad_abstract(y: Type, f: Type, *, in_spatial: Shape, **params: Any) -> Type:
    _check("conv_input_grad", y, f, y.ndim - 2, params)
    if len(in_spatial) != y.ndim - 2:
        n = y.ndim - 2
        raise ShapeError(f"conv_input_grad: in_spatial {in_spatial} for {n} spatial axes: expected {n} sizes.")
    shape = (y.shape[0], *in_spatial, f.shape[-2] * params["groups"])
    _check_output("conv_input_grad", shape, f.shape, y.shape, params)
    return Type(shape, y.dtype, y.weak and f.weak)


def _conv_filter_grad_abstract(x: Type, y: Type, *, window: Shape, **params: Any) -> Type:
    _check("conv_filter_grad", x, y, x.ndim - 2, params)
    groups = params["groups"]
    if len(window) != x.ndim - 2 or x.shape[-1] % groups or y.shape[-1] % groups:
        raise ShapeError(
            f"conv_filter_grad: window {window} and groups = {groups} for an input {x.shape} and a cotangent {y.shape}: "
            f"expected {x.ndim - 2} sizes, and groups that divide the channels."
        )
    shape = (*window, x.shape[-1] // groups, y.shape[-1])
    _check_output("conv_filter_grad", x.shape, shape, y.shape, params)
    return Type(shape, x.dtype, x.weak and y.weak)


def _pad_config(padding: Padding, lhs_dilation: Shape) -> list[tuple[int, int, int]]:
    return [(0, 0, 0), *((lo, hi, a - 1) for (lo, hi), a in zip(padding, lhs_dilation, strict=True)), (0, 0, 0)]


def _padded(x: np.ndarray, *, padding: Padding, lhs_dilation: Shape, **_: Any) -> np.ndarray:
    return _pad_reference(x, np.zeros((), x.dtype), config=_pad_config(padding, lhs_dilation))


def _taps(
    window: Shape, out: Shape, *, strides: Shape, rhs_dilation: Shape, **_: Any
) -> Iterator[tuple[Shape, tuple[slice, ...]]]:
    """Each position k of the filter, and the part of the padded input that it meets, one element for each of the output."""
    for k in np.ndindex(*window):
        first = [i * b for i, b in zip(k, rhs_dilation, strict=True)]
        yield k, (slice(None), *(slice(i, i + dilated(n, s), s) for i, n, s in zip(first, out, strides, strict=True)))


def _in_groups(x: np.ndarray, groups: int) -> np.ndarray:
    """(..., C) as (groups, positions, C/groups)."""
    return np.moveaxis(x.reshape(math.prod(x.shape[:-1]), groups, x.shape[-1] // groups), 1, 0)


def _ungrouped(x: np.ndarray, lead: Shape) -> np.ndarray:
    return np.moveaxis(x, 0, 1).reshape(*lead, x.shape[0] * x.shape[2])


@np.errstate(all="ignore")
def _conv_reference(x: np.ndarray, f: np.ndarray, *, groups: int, **params: Any) -> np.ndarray:
    out = (x.shape[0], *conv_out_shape(x.shape[1:-1], f.shape[:-2], **params))
    wide, filters = _padded(working(x), **params), working(f)
    y = np.zeros((*out, f.shape[-1]), wide.dtype)
    for k, part in _taps(f.shape[:-2], out[1:], **params):
        y += _ungrouped(np.matmul(_in_groups(wide[part], groups), _in_groups(filters[k], groups)), out)
    return y.astype(x.dtype)


@np.errstate(all="ignore")
def _conv_input_grad_reference(y: np.ndarray, f: np.ndarray, *, in_spatial: Shape, groups: int, **params: Any) -> np.ndarray:
    shape = (y.shape[0], *in_spatial, f.shape[-2] * groups)
    bars, filters = _in_groups(working(y), groups), working(f)
    padded = np.zeros(_padded(np.zeros(shape, np.int8), **params).shape, bars.dtype)
    for k, part in _taps(f.shape[:-2], y.shape[1:-1], **params):
        padded[part] += _ungrouped(np.matmul(bars, np.swapaxes(_in_groups(filters[k], groups), 1, 2)), y.shape[:-1])
    back = [(-lo, -hi, 0) for lo, hi, _ in _pad_config(params["padding"], params["lhs_dilation"])]
    spread = _pad_reference(padded, np.zeros((), padded.dtype), config=back)
    return spread[(slice(None), *(slice(None, None, a) for a in params["lhs_dilation"]))].astype(y.dtype)


@np.errstate(all="ignore")
def _conv_filter_grad_reference(x: np.ndarray, y: np.ndarray, *, window: Shape, groups: int, **params: Any) -> np.ndarray:
    wide, bars = _padded(working(x), **params), _in_groups(working(y), groups)
    f = np.zeros((*window, x.shape[-1] // groups, y.shape[-1]), wide.dtype)
    for k, part in _taps(window, y.shape[1:-1], **params):
        f[k] = _ungrouped(np.matmul(np.swapaxes(_in_groups(wide[part], groups), 1, 2), bars), f.shape[-2:-1])
    return f.astype(x.dtype)


# --- derivatives ----------------------------------------------------------------------------------


def _bilinear_jvp(prim: Callable[[], Primitive]) -> Callable[..., Any]:
    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        (a, b), (a_dot, b_dot) = primals, tangents
        y = bind(prim(), a, b, **params)
        y_dot: Any = Zero(type_of(y))
        if not isinstance(a_dot, Zero):
            y_dot = bind(prim(), a_dot, b, **params)
        if not isinstance(b_dot, Zero):
            y_dot = add_tangents(y_dot, bind(prim(), a, b_dot, **params))
        return y, y_dot

    return jvp


def _conv_transpose(ct: Any, x: Any, f: Any, **params: Any) -> tuple[Any, Any]:
    if isinstance(x, Undefined):
        return conv_input_grad(ct, f, in_spatial=x.type.shape[1:-1], **params), None
    return None, conv_filter_grad(x, ct, window=f.type.shape[:-2], **params)


def _conv_input_grad_transpose(ct: Any, y: Any, f: Any, *, in_spatial: Shape, **params: Any) -> tuple[Any, Any]:
    if isinstance(y, Undefined):
        return conv(ct, f, **params), None
    return None, conv_filter_grad(ct, y, window=f.type.shape[:-2], **params)


def _conv_filter_grad_transpose(ct: Any, x: Any, y: Any, *, window: Shape, **params: Any) -> tuple[Any, Any]:
    if isinstance(x, Undefined):
        return conv_input_grad(y, ct, in_spatial=x.type.shape[1:-1], **params), None
    return None, conv(x, ct, **params)


# --- batching -------------------------------------------------------------------------------------


def _merge_channels(x: Any, dim: int, groups: int) -> Any:
    """`x` (..., C) with the mapped axis merged into C between the group and the channel in it: (..., g · size · C/g)."""
    x = move_axis(x, dim, len(shape_of(x)) - 2)
    *rest, size, c = shape_of(x)
    if groups > 1:
        x = reshape(x, (*rest, size, groups, c // groups))
        x = move_axis(x, len(rest) + 1, len(rest))
    return reshape(x, (*rest, size * c))


def _split_channels(x: Any, size: int, groups: int) -> tuple[Any, int]:
    """`x` (..., g · size · C/g) as (..., size, C), and the position of the mapped axis: undoes `_merge_channels`."""
    *rest, c = shape_of(x)
    at = len(rest)
    x = reshape(x, (*rest, groups, size, c // (size * groups) if size else 0))
    if groups > 1:
        x = move_axis(x, at + 1, at)
    return reshape(x, (*rest, size, c // size if size else 0)), at


def _merge_front(x: Any, dim: int) -> Any:
    """`x` (N, ...) with the mapped axis merged into N, in front."""
    x = move_axis(x, dim, 0)
    size, n, *rest = shape_of(x)
    return reshape(x, (size * n, *rest))


def _merge_groups(x: Any, dim: int) -> Any:
    """`x` (..., C) with the mapped axis merged into C, in front: each lane becomes groups of its own."""
    return _merge_channels(x, dim, 1)


def _empty(size: int, lane: Type) -> tuple[Any, int]:
    return zeros(Type((size, *lane.shape), lane.dtype)), 0


def _lane(x: Any, dim: int | None) -> Type:
    t = type_of(x)
    return t if dim is None else t.with_shape(t.shape[:dim] + t.shape[dim + 1 :])


def _conv_batch(size: int, xs: Sequence[Any], dims: Dims, *, groups: int, **params: Any) -> tuple[Any, int]:
    (x, f), (i, j) = xs, dims
    if size == 0:
        return _empty(0, _conv_abstract(_lane(x, i), _lane(f, j), groups=groups, **params))
    if i is not None and j is not None:
        y = conv(_merge_groups(x, i), _merge_groups(f, j), groups=size * groups, **params)
        return _split_channels(y, size, 1)
    if i is not None:
        return _split_front(conv(_merge_front(x, i), f, groups=groups, **params), size)
    assert j is not None
    return _split_channels(conv(x, _merge_channels(f, j, groups), groups=groups, **params), size, groups)


def _split_front(y: Any, size: int) -> tuple[Any, int]:
    n, *rest = shape_of(y)
    return reshape(y, (size, n // size, *rest)), 0


def _conv_input_grad_batch(size: int, xs: Sequence[Any], dims: Dims, *, groups: int, **params: Any) -> tuple[Any, int]:
    (y, f), (i, j) = xs, dims
    if size == 0:
        return _empty(0, _conv_input_grad_abstract(_lane(y, i), _lane(f, j), groups=groups, **params))
    if i is not None and j is not None:
        x = conv_input_grad(_merge_groups(y, i), _merge_groups(f, j), groups=size * groups, **params)
        return _split_channels(x, size, 1)
    if i is not None:
        return _split_front(conv_input_grad(_merge_front(y, i), f, groups=groups, **params), size)
    assert j is not None
    # Each group takes `size` times as many input channels: f (*window, C/g, O) → (*window, size · C/g, O).
    f = move_axis(f, j, len(shape_of(f)) - 3)
    *window, _, c, o = shape_of(f)
    return _split_channels(conv_input_grad(y, reshape(f, (*window, size * c, o)), groups=groups, **params), size, groups)


def _conv_filter_grad_batch(size: int, xs: Sequence[Any], dims: Dims, *, groups: int, **params: Any) -> tuple[Any, int]:
    (x, y), (i, j) = xs, dims
    if size == 0:
        return _empty(0, _conv_filter_grad_abstract(_lane(x, i), _lane(y, j), groups=groups, **params))
    if i is not None and j is not None:
        f = conv_filter_grad(_merge_groups(x, i), _merge_groups(y, j), groups=size * groups, **params)
        return _split_channels(f, size, 1)
    if i is not None:
        f = conv_filter_grad(_merge_channels(x, i, groups), y, groups=groups, **params)
        *window, c, o = shape_of(f)
        return reshape(f, (*window, size, c // size, o)), len(window)
    assert j is not None
    return _split_channels(conv_filter_grad(x, _merge_channels(y, j, groups), groups=groups, **params), size, groups)


# --- the primitives -------------------------------------------------------------------------------

conv_p: Primitive = Primitive(
    "conv",
    abstract=_conv_abstract,
    reference=_conv_reference,
    jvp=_bilinear_jvp(lambda: conv_p),
    transpose=_conv_transpose,
    batch=_conv_batch,
    lowering=Tile("conv"),
    eager="compiled",
)

conv_input_grad_p: Primitive = Primitive(
    "conv_input_grad",
    abstract=_conv_input_grad_abstract,
    reference=_conv_input_grad_reference,
    jvp=_bilinear_jvp(lambda: conv_input_grad_p),
    transpose=_conv_input_grad_transpose,
    batch=_conv_input_grad_batch,
    lowering=Tile("conv_input_grad"),
    eager="compiled",
)

conv_filter_grad_p: Primitive = Primitive(
    "conv_filter_grad",
    abstract=_conv_filter_grad_abstract,
    reference=_conv_filter_grad_reference,
    jvp=_bilinear_jvp(lambda: conv_filter_grad_p),
    transpose=_conv_filter_grad_transpose,
    batch=_conv_filter_grad_batch,
    lowering=Tile("conv_filter_grad"),
    eager="compiled",
)


def conv(x: Any, f: Any, *, strides: Shape, padding: Padding, lhs_dilation: Shape, rhs_dilation: Shape, groups: int = 1) -> Any:
    """The convolution of `x` (N, *spatial, C) with filters `f` (*window, C/groups, O): shape (N, *out, O).

    Args:
        strides, lhs_dilation, rhs_dilation: for each spatial axis, the step between windows, and the distances between elements
            of the input and of the filter.
        padding: (low, high) zeros for each spatial axis of the dilated input; negative numbers remove elements.
        groups: the channels fall into so many groups, each with filters of its own.

    Raises: ShapeError, DTypeError.
    """
    how = {"strides": strides, "padding": padding, "lhs_dilation": lhs_dilation, "rhs_dilation": rhs_dilation}
    return bind(conv_p, x, f, groups=groups, **how)


def conv_input_grad(y: Any, f: Any, *, in_spatial: Shape, **params: Any) -> Any:
    """The cotangent (N, *in_spatial, C) of the input of `conv` with the same parameters, given the output's, `y`."""
    return bind(conv_input_grad_p, y, f, in_spatial=in_spatial, **params)


def conv_filter_grad(x: Any, y: Any, *, window: Shape, **params: Any) -> Any:
    """The cotangent (*window, C/groups, O) of the filters of `conv` with the same parameters, given the output's, `y`."""
    return bind(conv_filter_grad_p, x, y, window=window, **params)
