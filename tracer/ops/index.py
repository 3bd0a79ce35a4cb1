"""Indexing primitives: gather, scatter, dynamic_slice, dynamic_update_slice.

`gather` reads, and `scatter` writes, whole slices at positions along `axes`: `indices` has shape (*batch, k), one number for
each of the k indexed axes, counted from the front (a caller turns -1 into n - 1 first): a negative one is out of bounds.
The parameter `mode` tells what an index out of bounds does: "raise" (an effect, may_fail), "clip" to the nearest element, or
"fill" (gather: gives `fill`) and "drop" (scatter: writes nothing).

Among updates of one element `scatter` with op "set" keeps the last, in row-major order of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import DTypeError, IndexOutOfBoundsError, ShapeError
from ..ir import MAY_FAIL, NO_EFFECTS, Effect, Type, type_of
from ..primitive import Named, Primitive, Undefined, Zero
from ..trace import bind
from .elementwise import add, convert, div, eq, max, min, move_axis, mul, select
from .rules import Dims, Shape, check_axes, insert_axis, inserted, materialised, no_bool, ordered, shape_of, to_front, zeros
from .runs import others, wide_enough
from .shape import broadcast, concatenate, iota, reshape, transpose

# --- what gather and scatter share ----------------------------------------------------------------


BOUNDS = (
    "index {0} is out of bounds for axis {1} of size {2}: expected {3} to {4}. "
    'Correct it, or give x.at[index] a mode: "clip", "wrap", "fill" or "drop".'
)
"""What is said of an index out of bounds, in compiled code too: the index, the axis, its size, and the bounds."""


def out_of_bounds(index: int, axis: int, size: int) -> IndexOutOfBoundsError:
    """The error for `index`, as the user counts, along an axis of that size."""
    return IndexOutOfBoundsError(BOUNDS.format(index, axis, size, -size, size - 1))


def _effects(params: dict[str, Any]) -> frozenset[Effect]:
    return frozenset({MAY_FAIL}) if params["mode"] == "raise" else NO_EFFECTS


def _check_indexing(name: str, x: Type, indices: Type, axes: Shape, mode: str, modes: Sequence[str]) -> None:
    check_axes(name, axes, x.ndim, x.shape)
    if not axes:
        raise ShapeError(f"{name}: no indexed axes: expected at least one.")
    if not dtypes.is_int(indices.dtype):
        raise DTypeError(f"{name}: indices have dtype {indices.dtype.name}, expected integers. Convert with .astype(int).")
    if indices.ndim == 0 or indices.shape[-1] != len(axes):
        raise ShapeError(
            f"{name}: indices have shape {indices.shape} for {len(axes)} indexed axes {axes}: "
            f"expected (*batch, {len(axes)}). Stack one index array per axis along a last axis."
        )
    if mode not in modes:
        raise ShapeError(f"{name}: mode {mode!r}: expected one of {', '.join(map(repr, modes))}.")
    if mode == "clip" and 0 not in indices.shape[:-1] and any(x.shape[a] == 0 for a in axes):
        raise ShapeError(f"{name}: mode 'clip' along axes {axes} of an operand {x.shape}: an axis of size 0 has no element.")


def _rest(shape: Shape, axes: Shape) -> Shape:
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def _positions(shape: Shape, indices: np.ndarray, axes: Shape, mode: str) -> tuple[np.ndarray, np.ndarray]:
    """The indices as (k, *batch) int64, put in bounds, and which of them (*batch) were so; in mode "raise", all must be."""
    if indices.dtype == dtypes.uint64:
        indices = np.minimum(indices, np.uint64(2**63 - 1))
    wide = indices.astype(dtypes.int64)
    sizes = np.array([shape[a] for a in axes], np.int64)
    inside = (wide >= 0) & (wide < sizes)
    ok = np.asarray(inside.all(-1))
    if mode == "raise" and not ok.all():
        where = tuple(np.argwhere(~inside)[0])
        k = where[-1]
        index, size = int(wide[where]), int(sizes[k])
        raise out_of_bounds(index if index >= 0 else index - size, axes[k], size)
    return np.moveaxis(np.clip(wide, 0, np.maximum(sizes - 1, 0)), -1, 0), ok


def _with_lane(indices: Any, size: int) -> Any:
    """Indices (size, *batch, k) with the number of the lane put in front of each: (size, *batch, k + 1)."""
    indices = wide_enough(indices, size - 1)
    t = type_of(indices)
    return concatenate([iota((*t.shape[:-1], 1), t.dtype, 0), indices], t.ndim - 1)


# --- gather ---------------------------------------------------------------------------------------

_TO_SCATTER = {"raise": "raise", "clip": "clip", "fill": "drop"}
_TO_GATHER = {"raise": "raise", "clip": "clip", "drop": "fill"}


def _gather_abstract(x: Type, indices: Type, *, axes: Shape, mode: str, fill: Any) -> Type:
    _check_indexing("gather", x, indices, axes, mode, ("raise", "clip", "fill"))
    return x.with_shape(indices.shape[:-1] + _rest(x.shape, axes))


def _gather_reference(x: np.ndarray, indices: np.ndarray, *, axes: Shape, mode: str, fill: Any) -> np.ndarray:
    at, ok = _positions(x.shape, indices, axes, mode)
    shape = ok.shape + _rest(x.shape, axes)
    if math.prod(shape) == 0 or any(x.shape[a] == 0 for a in axes):
        return np.full(shape, fill, x.dtype)
    out = np.array(np.moveaxis(x, axes, range(len(axes)))[tuple(at)], order="C").reshape(shape)
    if mode == "fill":
        out[~ok] = np.asarray(fill, x.dtype)
    return out


def _gather_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, axes: Shape, mode: str, fill: Any) -> tuple[Any, Any]:
    y = gather(*primals, axes=axes, mode=mode, fill=fill)
    if isinstance(tangents[0], Zero):
        return y, Zero(type_of(y))
    return y, gather(tangents[0], primals[1], axes=axes, mode=mode, fill=0)


def _gather_transpose(ct: Any, x: Undefined, indices: Any, *, axes: Shape, mode: str, fill: Any) -> tuple[Any, None]:
    return scatter(zeros(x.type), indices, ct, axes=axes, mode=_TO_SCATTER[mode], op="add"), None


def _gather_batch(size: int, xs: Sequence[Any], dims: Dims, **params: Any) -> tuple[Any, int]:
    (x, indices), (x_dim, i_dim) = xs, dims
    axes = tuple(a + 1 for a in params.pop("axes"))
    if i_dim is None:
        return gather(move_axis(x, x_dim or 0, 0), indices, axes=axes, **params), len(shape_of(indices)) - 1
    indices = move_axis(indices, i_dim, 0)
    if x_dim is None:
        return gather(x, indices, axes=tuple(a - 1 for a in axes), **params), 0
    return gather(move_axis(x, x_dim, 0), _with_lane(indices, size), axes=(0, *axes), **params), 0


gather_p = Primitive(
    "gather",
    abstract=_gather_abstract,
    reference=_gather_reference,
    jvp=_gather_jvp,
    transpose=_gather_transpose,
    batch=_gather_batch,
    params_effects=_effects,
    lowering=Named("gather"),
)


def gather(x: Any, indices: Any, *, axes: Sequence[int], mode: str = "raise", fill: Any = 0) -> Any:
    """The slices of `x` at `indices` (*batch, k) along its k `axes`: shape batch + the sizes of the other axes of `x`.

    `mode` is "raise", "clip" or "fill" (`fill`, a Python number, stands where an index is out of bounds).

    Raises: IndexOutOfBoundsError in mode "raise".
    """
    return bind(gather_p, x, indices, axes=tuple(axes), mode=mode, fill=fill)


def take_along(x: Any, indices: Any, axis: int) -> Any:
    """Elements of `x` at `indices` along `axis`, position by position along the other axes, whose sizes agree.

    The indices must be in bounds.  One gather from the flattened array: a position is one number, however many axes there are.
    """
    shape, t = shape_of(x), type_of(wide_enough(indices, math.prod(shape_of(x))))
    position: Any = None
    stride = 1
    for i in reversed(range(len(shape))):
        if t.shape[i] != 1 or i == axis:
            step = convert(indices, t.dtype) if i == axis else iota(t.shape, t.dtype, i)
            term = step if stride == 1 else mul(step, np.asarray(stride, t.dtype))
            position = term if position is None else add(position, term)
        stride *= shape[i]
    return gather(reshape(x, (math.prod(shape),)), reshape(position, (*t.shape, 1)), axes=(0,), mode="clip")


# --- scatter --------------------------------------------------------------------------------------

_OPS = ("set", "add", "mul", "min", "max")


def _scatter_abstract(x: Type, indices: Type, updates: Type, *, axes: Shape, mode: str, op: str) -> Type:
    _check_indexing("scatter", x, indices, axes, mode, ("raise", "clip", "drop"))
    if op not in _OPS:
        raise ShapeError(f"scatter: op {op!r}: expected one of {', '.join(map(repr, _OPS))}.")
    if op in ("add", "mul"):
        no_bool(f"scatter with op {op!r}", x.dtype)
    if op in ("min", "max"):
        ordered(f"scatter with op {op!r}", x.dtype)
    if updates.dtype != x.dtype:
        found = f"updates have dtype {updates.dtype.name}, the operand {x.dtype.name}"
        raise DTypeError(f"scatter: {found}. Convert one with .astype.")
    expected = indices.shape[:-1] + _rest(x.shape, axes)
    if updates.shape != expected:
        raise ShapeError(
            f"scatter: updates have shape {updates.shape}, expected {expected}: the batch shape of the indices, then the axes "
            f"of the operand {x.shape} that are not indexed. Broadcast the updates."
        )
    return Type(x.shape, x.dtype, x.weak and updates.weak)


_AT = {"add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}


@np.errstate(all="ignore")
def _scatter_reference(
    x: np.ndarray, indices: np.ndarray, updates: np.ndarray, *, axes: Shape, mode: str, op: str
) -> np.ndarray:
    at, ok = _positions(x.shape, indices, axes, mode)
    half = x.dtype in (dtypes.float16, dtypes.bfloat16)
    out = np.array(x, np.float32 if half and op != "set" else x.dtype, order="C")
    if updates.size == 0 or out.size == 0:
        return out.astype(x.dtype)
    # One row of each for every position of the batch; those out of bounds are left out when they are to be dropped.
    at, values = at.reshape(len(axes), -1), updates.reshape(ok.size, *_rest(x.shape, axes))
    if mode == "drop":
        at, values = at[:, ok.ravel()], values[ok.ravel()]
    target = np.moveaxis(out, axes, range(len(axes)))
    if op == "set":
        target[tuple(at)] = values
    else:
        _AT[op].at(target, tuple(at), values.astype(out.dtype))
    return out.astype(x.dtype)


def _winners(indices: Any, shape: Shape, axes: Shape, mode: str) -> Any:
    """Which updates of a "set" stay (the batch shape): each writes its number, and the one that finds it again is the last."""
    batch = shape_of(indices)[:-1]
    n = math.prod(batch)
    dtype = dtypes.int32 if n < 2**31 else dtypes.int64
    number = reshape(iota((n,), dtype, 0), batch)
    sizes = tuple(shape[a] for a in axes)
    every = tuple(range(len(axes)))
    last = scatter(zeros(Type(sizes, dtype)), indices, number, axes=every, mode=mode, op="set")
    return eq(gather(last, indices, axes=every, mode=_TO_GATHER[mode], fill=-1), number)


def _over_rest(mask: Any, t: Type) -> Any:
    """A mask of the batch shape, repeated over the axes that are not indexed."""
    return broadcast(mask, t.shape, tuple(range(len(shape_of(mask)))))


def _scatter_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, axes: Shape, mode: str, op: str) -> tuple[Any, Any]:
    x, indices, updates = primals
    x_dot, _, u_dot = tangents
    how: dict[str, Any] = {"axes": axes, "mode": mode}
    y = scatter(x, indices, updates, op=op, **how)
    if isinstance(x_dot, Zero) and isinstance(u_dot, Zero):
        return y, Zero(type_of(y))
    if op in ("set", "add"):
        return y, scatter(materialised(x_dot), indices, materialised(u_dot), op=op, **how)
    if op == "mul":
        return y, _scatter_mul_tangent(x, indices, updates, x_dot, u_dot, how)
    # An extremum's tangent is the mean of the tangents of what attains it.
    reads: dict[str, Any] = {"axes": axes, "mode": _TO_GATHER[mode], "fill": 0}
    zero, one = np.zeros((), type_of(y).dtype), np.ones((), type_of(y).dtype)
    kept, taken = eq(x, y), eq(updates, gather(y, indices, **reads))
    count = scatter(select(kept, one, zero), indices, select(taken, one, zero), op="add", **how)
    x_part = select(kept, materialised(x_dot), zero)
    u_part = zeros(type_of(updates)) if isinstance(u_dot, Zero) else select(taken, u_dot, zero)
    return y, div(scatter(x_part, indices, u_part, op="add", **how), select(eq(count, zero), one, count))


def _scatter_mul_tangent(x: Any, indices: Any, updates: Any, x_dot: Any, u_dot: Any, how: dict[str, Any]) -> Any:
    """x_dot · Π u + Σ_k u_dot_k · x · Π_{j≠k} u_j, the products over the updates of one element."""
    by_x = zeros(type_of(x)) if isinstance(x_dot, Zero) else scatter(x_dot, indices, updates, op="mul", **how)
    if isinstance(u_dot, Zero):
        return by_x
    factor = mul(u_dot, gather(x, indices, axes=how["axes"], mode=_TO_GATHER[how["mode"]], fill=0))
    if math.prod(shape_of(indices)[:-1]) > 1:
        factor = mul(factor, others(indices, updates, type_of(x).shape, how["axes"], how["mode"]))
    return scatter(by_x, indices, factor, op="add", **how)


def _scatter_transpose(
    ct: Any, x: Any, indices: Any, updates: Any, *, axes: Shape, mode: str, op: str
) -> tuple[Any, None, Any]:
    how: dict[str, Any] = {"axes": axes, "mode": mode}
    x_bar = u_bar = None
    if isinstance(x, Undefined):
        if op == "add":
            x_bar = ct
        elif op == "mul":
            x_bar = scatter(ct, indices, updates, op="mul", **how)
        else:
            x_bar = scatter(ct, indices, zeros(type_of(updates)), op="set", **how)
    if isinstance(updates, Undefined):
        u_bar = gather(ct, indices, axes=axes, mode=_TO_GATHER[mode], fill=0)
        if op == "set" and math.prod(shape_of(indices)[:-1]) > 1:
            stays = _winners(indices, type_of(x).shape, axes, mode)
            u_bar = select(_over_rest(stays, type_of(u_bar)), u_bar, np.zeros((), type_of(ct).dtype))
    return x_bar, None, u_bar


def _scatter_batch(size: int, xs: Sequence[Any], dims: Dims, **params: Any) -> tuple[Any, int]:
    (x, indices, updates), (x_dim, i_dim, u_dim) = xs, dims
    axes = tuple(a + 1 for a in params.pop("axes"))
    x = to_front(size, x, x_dim)
    if i_dim is None:
        # The lanes are one more axis that is not indexed: the first of the rest.
        n = len(shape_of(indices)) - 1
        updates = insert_axis(updates, n, size) if u_dim is None else move_axis(updates, u_dim, n)
        return scatter(x, indices, updates, axes=axes, **params), 0
    indices = _with_lane(move_axis(indices, i_dim, 0), size)
    return scatter(x, indices, to_front(size, updates, u_dim), axes=(0, *axes), **params), 0


scatter_p = Primitive(
    "scatter",
    abstract=_scatter_abstract,
    reference=_scatter_reference,
    jvp=_scatter_jvp,
    transpose=_scatter_transpose,
    batch=_scatter_batch,
    params_effects=_effects,
    lowering=Named("scatter"),
)


def scatter(x: Any, indices: Any, updates: Any, *, axes: Sequence[int], mode: str = "raise", op: str = "set") -> Any:
    """`x` with the slices at `indices` (*batch, k) along its k `axes` set to `updates`, or combined with them by `op`.

    Args:
        updates: shape batch + the sizes of the other axes of `x`.
        mode: "raise", "clip" or "drop".
        op: "set", "add", "mul", "min" or "max". Of several updates of one element "set" keeps the last; the others take all.

    Raises: IndexOutOfBoundsError in mode "raise".
    """
    return bind(scatter_p, x, indices, updates, axes=tuple(axes), mode=mode, op=op)


# --- dynamic slices -------------------------------------------------------------------------------


def _check_starts(name: str, x: Type, starts: Sequence[Type], sizes: Shape) -> None:
    if len(starts) != x.ndim or len(sizes) != x.ndim:
        raise ShapeError(
            f"{name}: {len(starts)} starts and a slice of {len(sizes)} axes for an operand of shape {x.shape}: "
            f"expected {x.ndim} of each."
        )
    for i, t in enumerate(starts):
        if t.shape != () or not dtypes.is_int(t.dtype):
            raise DTypeError(f"{name}: start {i} is {t}, expected a 0-d integer. Convert it with .astype, or index it.")
    for i, (m, n) in enumerate(zip(sizes, x.shape, strict=True)):
        if not 0 <= m <= n:
            raise ShapeError(f"{name}: a slice of size {m} along axis {i} of an operand of shape {x.shape}: expected 0 to {n}.")


def _window(x: np.ndarray, starts: Sequence[np.ndarray], sizes: Shape) -> tuple[slice, ...]:
    first = [sorted((0, int(s), n - m))[1] for s, n, m in zip(starts, x.shape, sizes, strict=True)]
    return tuple(slice(s, s + m) for s, m in zip(first, sizes, strict=True))


def _dynamic_slice_abstract(x: Type, *starts: Type, sizes: Shape) -> Type:
    _check_starts("dynamic_slice", x, starts, sizes)
    return x.with_shape(tuple(sizes))


def _dynamic_slice_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, sizes: Shape) -> tuple[Any, Any]:
    x, *starts = primals
    y = dynamic_slice(x, starts, sizes)
    return y, Zero(type_of(y)) if isinstance(tangents[0], Zero) else dynamic_slice(tangents[0], starts, sizes)


def _dynamic_slice_transpose(ct: Any, x: Undefined, *starts: Any, sizes: Shape) -> tuple[Any, ...]:
    return dynamic_update_slice(zeros(x.type), ct, starts), *(None for _ in starts)


def _start_zero(starts: Sequence[Any]) -> np.ndarray:
    return np.zeros((), type_of(starts[0]).dtype if starts else dtypes.int32)


def _lane_windows(size: int, starts: Sequence[Any], dims: Dims, shape: Shape, sizes: Shape) -> tuple[Any, Shape]:
    """Where each lane's window lies, as indices (size, *its sizes along `axes`, k), and `axes`: those that it does not fill."""
    axes = tuple(i for i, (n, m) in enumerate(zip(shape, sizes, strict=True)) if m < n)
    grid = (size, *(sizes[a] for a in axes))
    index = dtypes.int32 if math.prod(shape) < 2**31 else dtypes.int64
    columns = []
    for k, a in enumerate(axes):
        last = shape[a] - sizes[a]
        s = wide_enough(starts[a], last)
        dtype = type_of(s).dtype
        s = convert(max(min(s, np.asarray(last, dtype)), np.asarray(0, dtype)), index)
        s = broadcast(s, grid, () if dims[a] is None else (0,))
        columns.append(add(s, iota(grid, index, k + 1)))
    return concatenate([reshape(c, (*shape_of(c), 1)) for c in columns], len(axes) + 1), axes


def _dynamic_slice_batch(size: int, xs: Sequence[Any], dims: Dims, *, sizes: Shape) -> tuple[Any, int]:
    (x, *starts), (x_dim, *start_dims) = xs, dims
    if all(d is None for d in start_dims):
        return dynamic_slice(move_axis(x, x_dim or 0, 0), (_start_zero(starts), *starts), (size, *sizes)), 0
    shape = shape_of(x) if x_dim is None else _rest(shape_of(x), (x_dim,))
    if shape == tuple(sizes):
        return to_front(size, x, x_dim), 0
    indices, axes = _lane_windows(size, starts, start_dims, shape, sizes)
    y, _ = _gather_batch(size, (x, indices), (x_dim, 0), axes=axes, mode="clip", fill=0)
    return transpose(y, _interleave(axes, len(shape))), 0


def _interleave(axes: Shape, ndim: int) -> Shape:
    """The permutation from (lane, indexed axes, other axes) to (lane, axes in order)."""
    order = [*axes, *(i for i in range(ndim) if i not in axes)]
    return (0, *(1 + order.index(i) for i in range(ndim)))


dynamic_slice_p = Primitive(
    "dynamic_slice",
    abstract=_dynamic_slice_abstract,
    reference=lambda x, *starts, sizes: np.array(x[_window(x, starts, sizes)], order="C"),
    jvp=_dynamic_slice_jvp,
    transpose=_dynamic_slice_transpose,
    batch=_dynamic_slice_batch,
    lowering=Named("dynamic_slice"),
)


def dynamic_slice(x: Any, starts: Sequence[Any], sizes: Sequence[int]) -> Any:
    """The part of `x` of shape `sizes` that begins at `starts`, 0-d integers, moved so far that the part lies inside `x`."""
    return bind(dynamic_slice_p, x, *starts, sizes=tuple(sizes))


def _dynamic_update_slice_abstract(x: Type, update: Type, *starts: Type) -> Type:
    if update.dtype != x.dtype:
        raise DTypeError(
            f"dynamic_update_slice: the update has dtype {update.dtype.name}, the operand {x.dtype.name}. "
            "Convert one with .astype."
        )
    _check_starts("dynamic_update_slice", x, starts, update.shape)
    return Type(x.shape, x.dtype, x.weak and update.weak)


def _dynamic_update_slice_reference(x: np.ndarray, update: np.ndarray, *starts: np.ndarray) -> np.ndarray:
    out = np.array(x, order="C")
    out[_window(x, starts, update.shape)] = update
    return out


def _dynamic_update_slice_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    x, update, *starts = primals
    y = dynamic_update_slice(x, update, starts)
    if isinstance(tangents[0], Zero) and isinstance(tangents[1], Zero):
        return y, Zero(type_of(y))
    return y, dynamic_update_slice(materialised(tangents[0]), materialised(tangents[1]), starts)


def _dynamic_update_slice_transpose(ct: Any, x: Any, update: Any, *starts: Any) -> tuple[Any, ...]:
    t = type_of(update)
    return (
        dynamic_update_slice(ct, zeros(t), starts) if isinstance(x, Undefined) else None,
        dynamic_slice(ct, starts, t.shape) if isinstance(update, Undefined) else None,
        *(None for _ in starts),
    )


def _dynamic_update_slice_batch(size: int, xs: Sequence[Any], dims: Dims) -> tuple[Any, int]:
    (x, update, *starts), (x_dim, u_dim, *start_dims) = xs, dims
    x, update = to_front(size, x, x_dim), to_front(size, update, u_dim)
    if all(d is None for d in start_dims):
        return dynamic_update_slice(x, update, (_start_zero(starts), *starts)), 0
    shape, sizes = shape_of(x)[1:], shape_of(update)[1:]
    if shape == sizes:
        return update, 0
    indices, axes = _lane_windows(size, starts, start_dims, shape, sizes)
    update = transpose(update, inserted([1 + i for i in (*axes, *(i for i in range(len(shape)) if i not in axes))], 0, 0))
    return _scatter_batch(size, (x, indices, update), (0, 0, 0), axes=axes, mode="clip", op="set")


dynamic_update_slice_p = Primitive(
    "dynamic_update_slice",
    abstract=_dynamic_update_slice_abstract,
    reference=_dynamic_update_slice_reference,
    jvp=_dynamic_update_slice_jvp,
    transpose=_dynamic_update_slice_transpose,
    batch=_dynamic_update_slice_batch,
    lowering=Named("dynamic_update_slice"),
)


def dynamic_update_slice(x: Any, update: Any, starts: Sequence[Any]) -> Any:
    """`x` with the part of the shape of `update` that begins at `starts` replaced; starts are moved as in `dynamic_slice`."""
    return bind(dynamic_update_slice_p, x, update, *starts)
