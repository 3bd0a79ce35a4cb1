"""Primitives that move elements without computing on them: broadcast, reshape, transpose, flip, slice, pad, concatenate, iota.

All but `iota` are linear, and each one's transpose is another of the family (or a sum).  All but `concatenate` and `iota` are
views: an element of the output is one element of the input, at an affine index, so a compiler need not make them.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import DTypeError, ShapeError
from ..ir import Type, type_of
from ..primitive import Named, Primitive, Undefined, View, lookup
from ..scalars import SCALARS
from ..trace import bind
from .elementwise import move_axis, select, splat
from .rules import Dims, Shape, check_axes, inserted, linear, materialised, no_bool, shape_of, shifted, to_front

Viewed = tuple[Sequence[Any], Sequence[tuple[Any, int, int]]]

# --- broadcast ------------------------------------------------------------------------------------


def _broadcast_abstract(x: Type, *, shape: Shape, axes: Shape) -> Type:
    if len(axes) != x.ndim:
        raise ShapeError(f"broadcast: {len(axes)} axes for an operand of shape {x.shape}: expected {x.ndim}, one for each.")
    check_axes("broadcast", axes, len(shape), shape)
    for i, a in enumerate(axes):
        if x.shape[i] not in (1, shape[a]):
            raise ShapeError(
                f"broadcast: axis {i} of an operand of shape {x.shape} has size {x.shape[i]}, axis {a} of the result {shape} "
                f"has size {shape[a]}: expected equal sizes, or 1. Transpose or reshape the operand?"
            )
    return x.with_shape(tuple(shape))


def _broadcast_reference(x: np.ndarray, *, shape: Shape, axes: Shape) -> np.ndarray:
    full = [1] * len(shape)
    for i, a in enumerate(axes):
        full[a] = x.shape[i]
    return np.broadcast_to(x.reshape(full), shape)


def _broadcast_transpose(ct: Any, x: Undefined, *, shape: Shape, axes: Shape) -> tuple[Any]:
    new = tuple(a for a in range(len(shape)) if a not in axes)
    grown = tuple(a for i, a in enumerate(axes) if x.type.shape[i] != shape[a])
    return (reshape(_sum(ct, tuple(sorted(new + grown))), x.type.shape),)


def _sum(x: Any, axes: Shape) -> Any:
    return bind(lookup("reduce_sum"), x, axes=axes) if axes else x


def _broadcast_batch(size: int, xs: Sequence[Any], dims: Dims, *, shape: Shape, axes: Shape) -> tuple[Any, int]:
    x = move_axis(xs[0], dims[0] or 0, 0)
    return broadcast(x, (size, *shape), (0, *(a + 1 for a in axes))), 0


def _broadcast_index(index: Sequence[Any], x: Type, y: Type, params: dict[str, Any]) -> Viewed:
    return [0 if n == 1 else index[a] for n, a in zip(x.shape, params["axes"], strict=True)], []


broadcast_p = linear(
    "broadcast",
    abstract=_broadcast_abstract,
    reference=_broadcast_reference,
    transpose=_broadcast_transpose,
    batch=_broadcast_batch,
    lowering=View(_broadcast_index),
)


def broadcast(x: Any, shape: Sequence[int], axes: Sequence[int]) -> Any:
    """`x` in `shape`: axis i of `x` becomes axis `axes[i]`, where a size of 1 may grow; along the others `x` is repeated."""
    if tuple(shape) == shape_of(x):
        return x
    return bind(broadcast_p, x, shape=tuple(shape), axes=tuple(axes))


# --- reshape --------------------------------------------------------------------------------------


def _reshape_abstract(x: Type, *, shape: Shape) -> Type:
    if any(n < 0 for n in shape) or math.prod(shape) != x.size:
        raise ShapeError(
            f"reshape: an operand of shape {x.shape} has {x.size} elements, the shape {tuple(shape)} has {math.prod(shape)}: "
            "expected equally many."
        )
    return x.with_shape(tuple(shape))


def _reshape_batch(size: int, xs: Sequence[Any], dims: Dims, *, shape: Shape) -> tuple[Any, int]:
    return reshape(move_axis(xs[0], dims[0] or 0, 0), (size, *shape)), 0


def _reshape_index(index: Sequence[Any], x: Type, y: Type, params: dict[str, Any]) -> Viewed:
    """The row-major position, by the smallest groups of axes of equal size: axes that only move stay affine."""
    if x.size == 0:
        return [0] * x.ndim, []
    a, b = x.shape, y.shape
    result: list[Any] = []
    i = j = 0
    while i < len(a):
        first_i, first_j, p, q = i, j, a[i], 1
        i += 1
        while p != q:
            if q < p:
                q, j = q * b[j], j + 1
            else:
                p, i = p * a[i], i + 1
        result.extend(_unravel(_ravel(index[first_j:j], b[first_j:j]), a[first_i:i]))
    return result, []


def _ravel(index: Sequence[Any], sizes: Shape) -> Any:
    position: Any = 0
    stride = 1
    for e, n in zip(reversed(index), reversed(sizes), strict=True):
        if n != 1:
            term = e if stride == 1 else e * stride
            position = term if stride == 1 else position + term
            stride *= n
    return position


def _unravel(position: Any, sizes: Shape) -> list[Any]:
    whole = math.prod(sizes)
    index, stride = [], whole
    for n in sizes:
        if n == 1:
            index.append(0)
            continue
        outermost = stride == whole
        stride //= n
        e = position if stride == 1 else position // stride
        index.append(e if outermost else e % n)
    return index


reshape_p = linear(
    "reshape",
    abstract=_reshape_abstract,
    reference=lambda x, *, shape: np.array(x.reshape(shape)),
    transpose=lambda ct, x, *, shape: (reshape(ct, x.type.shape),),
    batch=_reshape_batch,
    lowering=View(_reshape_index),
)


def reshape(x: Any, shape: Sequence[int]) -> Any:
    """The elements of `x` in row-major order in another shape of equally many elements."""
    return x if tuple(shape) == shape_of(x) else bind(reshape_p, x, shape=tuple(shape))


# --- transpose ------------------------------------------------------------------------------------


def _transpose_abstract(x: Type, *, permutation: Shape) -> Type:
    if sorted(permutation) != list(range(x.ndim)):
        raise ShapeError(
            f"transpose: permutation {tuple(permutation)} for an operand of shape {x.shape}: "
            f"expected each axis from 0 to {x.ndim - 1} once."
        )
    return x.with_shape(tuple(x.shape[p] for p in permutation))


def inverse(permutation: Sequence[int]) -> Shape:
    """The permutation that undoes `permutation`."""
    return tuple(int(i) for i in np.argsort(permutation))


def _transpose_batch(size: int, xs: Sequence[Any], dims: Dims, *, permutation: Shape) -> tuple[Any, int]:
    d = dims[0] or 0
    return transpose(xs[0], (d, *shifted(permutation, d))), 0


def _transpose_index(index: Sequence[Any], x: Type, y: Type, params: dict[str, Any]) -> Viewed:
    return [index[i] for i in inverse(params["permutation"])], []


transpose_p = linear(
    "transpose",
    abstract=_transpose_abstract,
    reference=lambda x, *, permutation: np.array(np.transpose(x, permutation), order="C"),
    transpose=lambda ct, x, *, permutation: (transpose(ct, inverse(permutation)),),
    batch=_transpose_batch,
    lowering=View(_transpose_index),
)


def transpose(x: Any, permutation: Sequence[int]) -> Any:
    """`x` with its axes permuted: axis i of the result is axis `permutation[i]` of `x`."""
    if tuple(permutation) == tuple(range(len(shape_of(x)))):
        return x
    return bind(transpose_p, x, permutation=tuple(permutation))


# --- flip -----------------------------------------------------------------------------------------


def _flip_abstract(x: Type, *, axes: Shape) -> Type:
    check_axes("flip", axes, x.ndim, x.shape)
    return x


def _flip_batch(size: int, xs: Sequence[Any], dims: Dims, *, axes: Shape) -> tuple[Any, int]:
    d = dims[0] or 0
    return flip(xs[0], shifted(axes, d)), d


def _flip_index(index: Sequence[Any], x: Type, y: Type, params: dict[str, Any]) -> Viewed:
    return [e * -1 + (n - 1) if i in params["axes"] else e for i, (e, n) in enumerate(zip(index, x.shape, strict=True))], []


flip_p = linear(
    "flip",
    abstract=_flip_abstract,
    reference=lambda x, *, axes: np.array(np.flip(x, axes)),
    transpose=lambda ct, x, *, axes: (flip(ct, axes),),
    batch=_flip_batch,
    lowering=View(_flip_index),
)


def flip(x: Any, axes: Sequence[int]) -> Any:
    """`x` with the order of its elements reversed along each of `axes`."""
    return bind(flip_p, x, axes=tuple(sorted(axes))) if axes else x


# --- slice ----------------------------------------------------------------------------------------


def _slice_abstract(x: Type, *, start: Shape, limit: Shape, stride: Shape) -> Type:
    if not len(start) == len(limit) == len(stride) == x.ndim:
        raise ShapeError(
            f"slice: {len(start)} starts, {len(limit)} limits and {len(stride)} strides for an operand of shape {x.shape}: "
            f"expected {x.ndim} of each."
        )
    for i, (n, lo, hi, step) in enumerate(zip(x.shape, start, limit, stride, strict=True)):
        if not (0 <= lo <= hi <= n and step >= 1):
            raise ShapeError(
                f"slice: {lo}:{hi}:{step} of axis {i} of an operand of shape {x.shape}: "
                f"expected 0 <= start <= limit <= {n} and a stride of at least 1."
            )
    return x.with_shape(tuple(-(-(hi - lo) // step) for lo, hi, step in zip(start, limit, stride, strict=True)))


def _slice_reference(x: np.ndarray, *, start: Shape, limit: Shape, stride: Shape) -> np.ndarray:
    return np.array(x[tuple(builtins.slice(*s) for s in zip(start, limit, stride, strict=True))], order="C")


def _slice_transpose(ct: Any, x: Undefined, *, start: Shape, limit: Shape, stride: Shape) -> tuple[Any]:
    config = []
    for n, m, lo, step in zip(x.type.shape, shape_of(ct), start, stride, strict=True):
        config.append((lo, n - lo - (m - 1) * step - 1, step - 1) if m else (0, n, 0))
    return (pad(ct, np.zeros((), type_of(ct).dtype), config),)


def _slice_batch(size: int, xs: Sequence[Any], dims: Dims, *, start: Shape, limit: Shape, stride: Shape) -> tuple[Any, int]:
    d = dims[0] or 0
    return slice(xs[0], inserted(start, d, 0), inserted(limit, d, size), inserted(stride, d, 1)), d


def _slice_index(index: Sequence[Any], x: Type, y: Type, params: dict[str, Any]) -> Viewed:
    steps = zip(index, params["start"], params["stride"], strict=True)
    return [_affine(e, step, lo) for e, lo, step in steps], []


def _affine(e: Any, scale: int, offset: int) -> Any:
    e = e if scale == 1 else e * scale
    return e if offset == 0 else e + offset


slice_p = linear(
    "slice",
    abstract=_slice_abstract,
    reference=_slice_reference,
    transpose=_slice_transpose,
    batch=_slice_batch,
    lowering=View(_slice_index),
)


def slice(x: Any, start: Sequence[int], limit: Sequence[int], stride: Sequence[int] | None = None) -> Any:
    """The elements `start[i]:limit[i]:stride[i]` along each axis i of `x`; strides are positive, 1 by default."""
    shape = shape_of(x)
    stride = (1,) * len(shape) if stride is None else tuple(stride)
    if all(s == 0 for s in start) and tuple(limit) == shape and all(s == 1 for s in stride):
        return x
    return bind(slice_p, x, start=tuple(start), limit=tuple(limit), stride=stride)


def slice_axis(x: Any, axis: int, start: int, limit: int, stride: int = 1) -> Any:
    """The elements `start:limit:stride` along one axis of `x`."""
    shape = shape_of(x)
    first, last, steps = [0] * len(shape), list(shape), [1] * len(shape)
    first[axis], last[axis], steps[axis] = start, limit, stride
    return slice(x, first, last, steps)


# --- pad ------------------------------------------------------------------------------------------

Config = Sequence[tuple[int, int, int]]


def _pad_abstract(x: Type, fill: Type, *, config: Config) -> Type:
    if fill.shape != () or fill.dtype != x.dtype:
        raise DTypeError(f"pad: the fill value is {fill}, expected a 0-d {x.dtype.name}. Convert it with .astype.")
    if len(config) != x.ndim:
        raise ShapeError(f"pad: {len(config)} entries (low, high, interior) for an operand {x.shape}: expected {x.ndim}.")
    shape = []
    for i, (n, (lo, hi, interior)) in enumerate(zip(x.shape, config, strict=True)):
        size = lo + n + max(n - 1, 0) * interior + hi
        if interior < 0 or size < 0:
            raise ShapeError(
                f"pad: (low, high, interior) = ({lo}, {hi}, {interior}) for axis {i} of an operand of shape {x.shape}: "
                f"expected interior >= 0 and a resulting size >= 0, not {size}."
            )
        shape.append(size)
    return Type(tuple(shape), x.dtype, x.weak and fill.weak)


def _pad_reference(x: np.ndarray, fill: np.ndarray, *, config: Config) -> np.ndarray:
    spread = [n + max(n - 1, 0) * inner for n, (_, _, inner) in zip(x.shape, config, strict=True)]
    wide = np.full([max(lo, 0) + n + max(hi, 0) for n, (lo, hi, _) in zip(spread, config, strict=True)], fill, x.dtype)
    into = [builtins.slice(max(lo, 0), max(lo, 0) + n, inner + 1) for n, (lo, _, inner) in zip(spread, config, strict=True)]
    wide[tuple(into)] = x
    cut = [builtins.slice(max(-lo, 0), n - max(-hi, 0)) for n, (lo, hi, _) in zip(wide.shape, config, strict=True)]
    return np.array(wide[tuple(cut)], order="C")


def _pad_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, config: Config) -> tuple[Any, Any]:
    x_dot, fill_dot = map(materialised, tangents)
    return pad(primals[0], primals[1], config), pad(x_dot, fill_dot, config)


def _is_padding(shape: Shape, config: Config) -> Any:
    return pad(splat(np.zeros((), np.bool_), shape), np.ones((), np.bool_), config)


def _pad_transpose(ct: Any, x: Any, fill: Any, *, config: Config) -> tuple[Any, Any]:
    x_bar = fill_bar = None
    zero = np.zeros((), type_of(ct).dtype)
    if isinstance(x, Undefined):
        x_bar = pad(ct, zero, [(-lo, -hi, 0) for lo, hi, _ in config])
        x_bar = slice(x_bar, (0,) * x.type.ndim, shape_of(x_bar), [inner + 1 for _, _, inner in config])
    if isinstance(fill, Undefined):
        padding = _is_padding(x.type.shape if isinstance(x, Undefined) else shape_of(x), config)
        fill_bar = _sum(select(padding, ct, zero), tuple(range(len(config))))
    return x_bar, fill_bar


def _pad_batch(size: int, xs: Sequence[Any], dims: Dims, *, config: Config) -> tuple[Any, int]:
    (x, fill), (d, fill_dim) = xs, dims
    if fill_dim is None and d is not None:
        return pad(x, fill, inserted(config, d, (0, 0, 0))), d
    x = to_front(size, x, d)
    wide = ((0, 0, 0), *config)
    if fill_dim is None:
        return pad(x, fill, wide), 0
    padded = pad(x, np.zeros((), type_of(x).dtype), wide)
    fills = broadcast(fill, shape_of(padded), (0,))
    return select(_is_padding(shape_of(x), wide), fills, padded), 0


def _pad_index(index: Sequence[Any], x: Type, y: Type, params: dict[str, Any]) -> Viewed:
    where, guards = [], []
    for e, n, m, (lo, _, inner) in zip(index, x.shape, y.shape, params["config"], strict=True):
        e = _affine(e, 1, -lo)
        last = (n - 1) * (inner + 1) if n else -1
        if lo > 0 or m - 1 - lo > last:
            guards.append((e, 0, last + 1))
        if inner:
            guards.append((e % (inner + 1), 0, 1))
        where.append(e // (inner + 1) if inner else e)
    return where, guards


pad_p = Primitive(
    "pad",
    abstract=_pad_abstract,
    reference=_pad_reference,
    jvp=_pad_jvp,
    transpose=_pad_transpose,
    batch=_pad_batch,
    lowering=View(_pad_index),
)


def pad(x: Any, fill: Any, config: Config) -> Any:
    """`x` with (low, high, interior) elements equal to the 0-d `fill` put before, after and between the elements of each axis.

    Negative low and high remove elements, after the interior ones were put in.
    """
    if all(c == (0, 0, 0) for c in config):
        return x
    return bind(pad_p, x, fill, config=tuple((int(lo), int(hi), int(inner)) for lo, hi, inner in config))


# --- concatenate ----------------------------------------------------------------------------------


def _concatenate_abstract(*xs: Type, axis: int) -> Type:
    if not xs:
        raise ShapeError("concatenate: no operands: expected at least one.")
    first = xs[0]
    check_axes("concatenate", (axis,), first.ndim, first.shape)
    for i, x in enumerate(xs):
        if x.dtype != first.dtype:
            found = f"operand 0 has dtype {first.dtype.name}, operand {i} {x.dtype.name}"
            raise DTypeError(f"concatenate: {found}. Convert one with .astype.")
        if x.ndim != first.ndim or any(m != n for k, (m, n) in enumerate(zip(x.shape, first.shape, strict=True)) if k != axis):
            found = f"operand 0 has shape {first.shape}, operand {i} {x.shape}"
            raise ShapeError(f"concatenate: {found}: expected equal sizes except along axis {axis}.")
    shape = (*first.shape[:axis], sum(x.shape[axis] for x in xs), *first.shape[axis + 1 :])
    return Type(shape, first.dtype, all(x.weak for x in xs))


def _concatenate_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, axis: int) -> tuple[Any, Any]:
    return concatenate(primals, axis), concatenate([materialised(t) for t in tangents], axis)


def _concatenate_transpose(ct: Any, *xs: Any, axis: int) -> tuple[Any, ...]:
    bars, start = [], 0
    for x in xs:
        n = type_of(x).shape[axis]
        bars.append(slice_axis(ct, axis, start, start + n) if isinstance(x, Undefined) else None)
        start += n
    return tuple(bars)


def _concatenate_batch(size: int, xs: Sequence[Any], dims: Dims, *, axis: int) -> tuple[Any, int]:
    return concatenate([to_front(size, x, d) for x, d in zip(xs, dims, strict=True)], axis + 1), 0


concatenate_p = Primitive(
    "concatenate",
    abstract=_concatenate_abstract,
    reference=lambda *xs, axis: np.concatenate(xs, axis),
    jvp=_concatenate_jvp,
    transpose=_concatenate_transpose,
    batch=_concatenate_batch,
    lowering=Named("concatenate"),
)


def concatenate(xs: Sequence[Any], axis: int) -> Any:
    """The operands one after another along `axis`; their other sizes and their dtypes are equal."""
    return xs[0] if len(xs) == 1 else bind(concatenate_p, *xs, axis=axis)


# --- iota -----------------------------------------------------------------------------------------


def _iota_abstract(*, shape: Shape, dtype: dtypes.DType, axis: int) -> Type:
    no_bool("iota", dtype)
    check_axes("iota", (axis,), len(shape), tuple(shape))
    return Type(tuple(shape), dtype)


def _iota_reference(*, shape: Shape, dtype: dtypes.DType, axis: int) -> np.ndarray:
    steps = SCALARS["convert"].impl(np.arange(shape[axis], dtype=np.int64), dtype=dtype)
    return np.broadcast_to(steps.reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape)


iota_p = Primitive("iota", abstract=_iota_abstract, reference=_iota_reference, lowering=Named("iota"))


def iota(shape: Sequence[int], dtype: Any, axis: int) -> Any:
    """An array whose elements are their own index along `axis`."""
    return bind(iota_p, shape=tuple(shape), dtype=dtypes.of(dtype), axis=axis)
