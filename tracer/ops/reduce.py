"""Reductions and cumulative operations: reduce_*, argmax, argmin, cumsum, cumprod, cummax, cummin.

float16 and bfloat16 accumulate in float32 and are rounded once.  An empty reduction gives the operation's identity: 0, 1, the
lowest or highest value of the dtype (an infinity for floats).  NaN is propagated.

Derivatives: elements that tie for an extremum share its tangent equally; for `cummax` and `cummin` the last of them has it.
Products are differentiated through pairwise products, never by division, so that zeros are right to every order.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import DTypeError, ShapeError
from ..ir import Type, type_of
from ..primitive import Named, Primitive, Reduction, Zero, lookup
from ..trace import bind
from .elementwise import add, div, eq, gt, logical_not, lt, mul, select
from .index import take_along
from .rules import Dims, Shape, check_axes, linear, no_bool, ordered, shape_of, shifted
from .shape import broadcast, concatenate, flip, iota, pad, reshape, slice_axis, transpose

# --- what reductions share ------------------------------------------------------------------------


def _kept(ndim: int, axes: Shape) -> Shape:
    return tuple(i for i in range(ndim) if i not in axes)


def _check_dtype(name: str, dtype: dtypes.DType) -> None:
    if name in ("reduce_sum", "reduce_prod", "cumsum", "cumprod"):
        no_bool(name, dtype)
    elif name not in ("reduce_and", "reduce_or"):
        ordered(name, dtype)
    elif dtype != dtypes.bool_:
        raise DTypeError(f"{name}: the operand has dtype {dtype.name}, expected bool. Compare it with 0 first.")


def _abstract(name: str, x: Type, *, axes: Shape) -> Type:
    check_axes(name, axes, x.ndim, x.shape)
    _check_dtype(name, x.dtype)
    return x.with_shape(tuple(x.shape[i] for i in _kept(x.ndim, axes)))


def working(x: np.ndarray) -> np.ndarray:
    """`x`, with float16 and bfloat16 widened to float32: the type in which sums are accumulated."""
    return x.astype(np.float32) if x.dtype in (dtypes.float16, dtypes.bfloat16) else x


def identity(name: str, dtype: dtypes.DType) -> Any:
    """What an empty reduction gives: the last part of `name` is "sum", "prod", "max", "min", "and" or "or"."""
    what = name.replace("_", " ").split()[-1].removeprefix("cum").removeprefix("arg")
    if what in ("sum", "prod"):
        return np.asarray(int(what == "prod"), dtype)
    if dtype == dtypes.bool_:
        return np.asarray(what in ("min", "and"))
    if dtypes.is_int(dtype):
        info = np.iinfo(dtype)
        return np.asarray(info.min if what == "max" else info.max, dtype)
    return np.asarray(-np.inf if what == "max" else np.inf, dtype)


_UFUNC = {
    "sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum, "and": np.logical_and, "or": np.logical_or,
}  # fmt: skip


@np.errstate(all="ignore")
def _reference(name: str, x: np.ndarray, *, axes: Shape) -> np.ndarray:
    wide = working(x)
    out = _UFUNC[name.removeprefix("reduce_")].reduce(wide, axis=axes, dtype=wide.dtype, initial=identity(name, wide.dtype))
    return np.asarray(out, x.dtype)


def _batch(prim: Callable[..., Any], size: int, xs: Sequence[Any], dims: Dims, *, axes: Shape) -> tuple[Any, int]:
    d = dims[0] or 0
    moved = shifted(axes, d)
    return prim(xs[0], moved), d - sum(a < d for a in moved)


def restore(y: Any, shape: Shape, axes: Shape) -> Any:
    """A result reduced over `axes`, repeated along them: its shape is `shape` again."""
    return broadcast(y, shape, _kept(len(shape), axes))


def _reduction(name: str, op: str, jvp: Callable[..., Any] | None) -> tuple[Primitive, Callable[..., Any]]:
    """The primitive `name`, which combines elements with the scalar operation `op`, and the function that binds it."""

    def function(x: Any, axes: Sequence[int]) -> Any:
        return bind(prim, x, axes=tuple(sorted(axes))) if axes else x

    prim = Primitive(
        name,
        abstract=functools.partial(_abstract, name),
        reference=functools.partial(_reference, name),
        jvp=jvp,
        batch=functools.partial(_batch, function),
        lowering=Reduction(op),
    )
    prim.source = __file__
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The elements of `x` along `axes` combined by `{op}`; the axes go away."
    return prim, function


# --- reductions -----------------------------------------------------------------------------------

reduce_sum_p = linear(
    "reduce_sum",
    abstract=functools.partial(_abstract, "reduce_sum"),
    reference=functools.partial(_reference, "reduce_sum"),
    transpose=lambda ct, x, *, axes: (restore(ct, x.type.shape, axes),),
    batch=lambda size, xs, dims, *, axes: _batch(reduce_sum, size, xs, dims, axes=axes),
    lowering=Reduction("add"),
)
reduce_sum_p.source = __file__


def reduce_sum(x: Any, axes: Sequence[int]) -> Any:
    """The sums of the elements of `x` along `axes`; the axes go away."""
    return bind(reduce_sum_p, x, axes=tuple(sorted(axes))) if axes else x


def _prod_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, axes: Shape) -> tuple[Any, Any]:
    """Halves are multiplied with each other until one element is left: (a, ȧ), (b, ḃ) → (ab, ȧb + aḃ)."""
    (x,), (t,) = primals, tangents
    y = reduce_prod(x, axes)
    shape, kept = shape_of(x), _kept(len(shape_of(x)), axes)
    n = math.prod(shape[a] for a in axes)
    if isinstance(t, Zero) or n == 0:
        return y, Zero(type_of(y))
    rest = tuple(shape[i] for i in kept)
    x, t = (reshape(transpose(v, (*axes, *kept)), (n, *rest)) for v in (x, t))
    while n > 1:
        half = n // 2
        (a, b, c), (a_dot, b_dot, c_dot) = (_halves(v, half, n) for v in (x, t))
        x = concatenate([mul(a, b), *c], 0)
        t = concatenate([add(mul(a_dot, b), mul(a, b_dot)), *c_dot], 0)
        n -= half
    return y, reshape(t, rest)


def _halves(v: Any, half: int, n: int) -> tuple[Any, Any, list[Any]]:
    odd = [slice_axis(v, 0, 2 * half, n)] if n % 2 else []
    return slice_axis(v, 0, 0, half), slice_axis(v, 0, half, 2 * half), odd


def _extremum_jvp(name: str, primals: Sequence[Any], tangents: Sequence[Any], *, axes: Shape) -> tuple[Any, Any]:
    (x,), (t,) = primals, tangents
    y = bind(lookup(name), x, axes=axes)
    if isinstance(t, Zero) or type_of(x).size == 0:
        return y, Zero(type_of(y))
    dtype = type_of(y).dtype
    zero, one = np.zeros((), dtype), np.ones((), dtype)
    attains = eq(x, restore(y, shape_of(x), axes))
    count = reduce_sum(select(attains, one, zero), axes)
    return y, div(reduce_sum(select(attains, t, zero), axes), count)


reduce_prod_p, reduce_prod = _reduction("reduce_prod", "mul", _prod_jvp)
reduce_max_p, reduce_max = _reduction("reduce_max", "max", functools.partial(_extremum_jvp, "reduce_max"))
reduce_min_p, reduce_min = _reduction("reduce_min", "min", functools.partial(_extremum_jvp, "reduce_min"))
reduce_and_p, reduce_and = _reduction("reduce_and", "and", None)
reduce_or_p, reduce_or = _reduction("reduce_or", "or", None)

# --- positions of extrema -------------------------------------------------------------------------


def _arg_abstract(name: str, x: Type, *, axis: int, dtype: dtypes.DType) -> Type:
    check_axes(name, (axis,), x.ndim, x.shape)
    ordered(name, x.dtype)
    if not dtypes.is_int(dtype):
        raise DTypeError(f"{name}: the result's dtype is {dtype.name}, expected an integer dtype, such as int32.")
    n = x.shape[axis]
    if n == 0:
        raise ShapeError(f"{name}: axis {axis} of an operand of shape {x.shape} is empty: expected at least one element.")
    if n - 1 > np.iinfo(dtype).max:
        raise DTypeError(f"{name}: axis {axis} has {n} elements, too many for an index of dtype {dtype.name}. Choose int64.")
    return Type(tuple(x.shape[i] for i in _kept(x.ndim, (axis,))), dtype)


def _arg_reference(find: Callable[..., Any], x: np.ndarray, *, axis: int, dtype: dtypes.DType) -> np.ndarray:
    return np.asarray(find(working(x), axis), dtype)


def _arg_extremum(name: str, find: Callable[..., Any]) -> tuple[Primitive, Callable[..., Any]]:
    def function(x: Any, axis: int, dtype: Any = dtypes.int32) -> Any:
        return bind(prim, x, axis=axis, dtype=dtypes.of(dtype))

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], *, axis: int, dtype: dtypes.DType) -> tuple[Any, Any]:
        y = function(primals[0], axis, dtype)
        return y, Zero(type_of(y))

    def batch(size: int, xs: Sequence[Any], dims: Dims, *, axis: int, dtype: dtypes.DType) -> tuple[Any, int]:
        d = dims[0] or 0
        (moved,) = shifted((axis,), d)
        return function(xs[0], moved, dtype), d - (moved < d)

    prim = Primitive(
        name,
        abstract=functools.partial(_arg_abstract, name),
        reference=functools.partial(_arg_reference, find),
        jvp=jvp,
        batch=batch,
        lowering=Named("arg_extremum"),
    )
    prim.source = __file__
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The index of the {name[3:]}imum along `axis`: the first of several; the first NaN where there is one."
    return prim, function


argmax_p, argmax = _arg_extremum("argmax", np.argmax)
argmin_p, argmin = _arg_extremum("argmin", np.argmin)

# --- cumulative operations ------------------------------------------------------------------------


def _cumulative_abstract(name: str, x: Type, *, axis: int, reverse: bool) -> Type:
    check_axes(name, (axis,), x.ndim, x.shape)
    _check_dtype(name, x.dtype)
    return x


@np.errstate(all="ignore")
def _cumulative_reference(name: str, x: np.ndarray, *, axis: int, reverse: bool) -> np.ndarray:
    wide = working(x)
    wide = np.flip(wide, axis) if reverse else wide
    out = _UFUNC[name.removeprefix("cum")].accumulate(wide, axis=axis, dtype=wide.dtype)
    return np.array(np.flip(out, axis) if reverse else out, x.dtype, order="C")


def _cumulative_batch(
    prim: Callable[..., Any], size: int, xs: Sequence[Any], dims: Dims, *, axis: int, reverse: bool
) -> tuple[Any, int]:
    d = dims[0] or 0
    return prim(xs[0], axis + (axis >= d), reverse), d


def _cumulative(name: str, op: str, jvp: Callable[..., Any]) -> tuple[Primitive, Callable[..., Any]]:
    def function(x: Any, axis: int, reverse: bool = False) -> Any:
        return bind(prim, x, axis=axis, reverse=reverse)

    prim = Primitive(
        name,
        abstract=functools.partial(_cumulative_abstract, name),
        reference=functools.partial(_cumulative_reference, name),
        jvp=jvp,
        batch=functools.partial(_cumulative_batch, function),
        lowering=Named("cumulative"),
    )
    prim.source = __file__
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Each element of `x` combined by `{op}` with those before it along `axis` (after it with `reverse`)."
    return prim, function


cumsum_p = linear(
    "cumsum",
    abstract=functools.partial(_cumulative_abstract, "cumsum"),
    reference=functools.partial(_cumulative_reference, "cumsum"),
    transpose=lambda ct, x, *, axis, reverse: (cumsum(ct, axis, not reverse),),
    batch=lambda size, xs, dims, **params: _cumulative_batch(cumsum, size, xs, dims, **params),
    lowering=Named("cumulative"),
)
cumsum_p.source = __file__


def cumsum(x: Any, axis: int, reverse: bool = False) -> Any:
    """The sum of each element of `x` and those before it along `axis` (after it with `reverse`)."""
    return bind(cumsum_p, x, axis=axis, reverse=reverse)


def _cumprod_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, axis: int, reverse: bool) -> tuple[Any, Any]:
    """Products of 1, 2, 4, ... neighbours with their tangents (W. Hillis and G. Steele, "Data parallel algorithms", 1986)."""
    (x,), (t,) = primals, tangents
    y = cumprod(x, axis, reverse)
    if isinstance(t, Zero):
        return y, Zero(type_of(y))
    n, step = shape_of(x)[axis], 1
    x, t = (flip(v, (axis,)) if reverse else v for v in (x, t))
    while step < n:
        before, before_dot = _delayed(x, axis, step, 1), _delayed(t, axis, step, 0)
        x, t = mul(x, before), add(mul(t, before), mul(x, before_dot))
        step *= 2
    return y, flip(t, (axis,)) if reverse else t


def _delayed(v: Any, axis: int, steps: int, fill: int) -> Any:
    """`v` moved `steps` places along `axis`, with `fill` coming in."""
    config = [(steps, -steps, 0) if i == axis else (0, 0, 0) for i in range(len(shape_of(v)))]
    return pad(v, np.asarray(fill, type_of(v).dtype), config)


def _record_jvp(
    name: str, worse: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], *, axis: int, reverse: bool
) -> tuple[Any, Any]:
    (x,), (t,) = primals, tangents
    y = bind(lookup(name), x, axis=axis, reverse=reverse)
    shape = shape_of(x)
    if isinstance(t, Zero) or shape[axis] == 0:
        return y, Zero(type_of(y))
    # Where x is the extremum so far, its index is the latest record; "not worse" also takes a NaN.
    index = iota(shape, dtypes.int32, axis)
    index = select(logical_not(worse(x, y)), index, np.asarray(shape[axis] - 1 if reverse else 0, np.int32))
    latest = cummin(index, axis, True) if reverse else cummax(index, axis, False)
    return y, take_along(t, latest, axis)


cumprod_p, cumprod = _cumulative("cumprod", "mul", _cumprod_jvp)
cummax_p, cummax = _cumulative("cummax", "max", functools.partial(_record_jvp, "cummax", lt))
cummin_p, cummin = _cumulative("cummin", "min", functools.partial(_record_jvp, "cummin", gt))
