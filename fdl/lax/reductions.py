"""Reductions, extrema's positions and cumulative operations, under the names of JAX's `lax`. Axes are counted from the front."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdl.control import associative_scan, scan
from fdl.numpy.promote import asarray, to_dtype
from fdl.numpy.special import logaddexp
from fdl.tracer import dtypes, tree
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import Type, Variable, type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import reduce as r
from fdl.tracer.ops import shape as s
from fdl.tracer.trace import record
from fdl.transforms import vmap

from .operands import BITS, NUMBERS, ORDERED, Function, check_kind, one_dtype, operand
from .operands import axes as axes_of
from .operands import axis as axis_of

_operand = operand

# --- by one operation -----------------------------------------------------------------------------


def _reducer(name: str, function: Function, kinds: str, text: str) -> Function:
    def f(operand: Any, axes: Sequence[int]) -> Any:
        x = _operand(name, operand)
        check_kind(name, type_of(x), kinds)
        return asarray(function(x, axes_of(name, "axes", axes, type_of(x).ndim)))

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"{text} of the elements of `operand` along `axes`, which go away."
    return f


def _bitwise(op: Function, of_bools: Function, empty: int) -> Function:
    """The reduction by a bitwise operation: of bools by `of_bools`, of integers by halves."""

    def function(x: Any, axes: tuple[int, ...]) -> Any:
        t = type_of(x)
        if t.dtype == dtypes.bool_:
            return of_bools(x, axes)
        return _by_halves(op, x, axes, empty)

    return function


def _by_halves(op: Function, x: Any, axes: tuple[int, ...], empty: int) -> Any:
    """The elements along `axes` combined two by two; `empty` where there are none."""
    shape = type_of(x).shape
    kept = tuple(i for i in range(len(shape)) if i not in axes)
    rest, n = tuple(shape[i] for i in kept), math.prod(shape[i] for i in axes)
    if n == 0:
        return s.broadcast(np.asarray(empty).astype(type_of(x).dtype), rest, ())
    x = s.reshape(s.transpose(x, (*axes, *kept)), (n, *rest))
    while n > 1:
        half = n // 2
        odd = [s.slice_axis(x, 0, 2 * half, n)] if n % 2 else []
        x = s.concatenate([op(s.slice_axis(x, 0, 0, half), s.slice_axis(x, 0, half, 2 * half)), *odd], 0)
        n -= half
    return s.reshape(x, rest)


def _parity(x: Any, axes: tuple[int, ...]) -> Any:
    ones = r.reduce_sum(e.convert(x, dtypes.int32), axes)
    return e.ne(e.logical_and(ones, np.asarray(1, np.int32)), np.asarray(0, np.int32))


reduce_sum = _reducer("reduce_sum", r.reduce_sum, NUMBERS, "The sum")
reduce_prod = _reducer("reduce_prod", r.reduce_prod, NUMBERS, "The product")
reduce_max = _reducer("reduce_max", r.reduce_max, ORDERED, "The maximum (NaN if there is one)")
reduce_min = _reducer("reduce_min", r.reduce_min, ORDERED, "The minimum (NaN if there is one)")
reduce_and = _reducer("reduce_and", _bitwise(e.logical_and, r.reduce_and, -1), BITS, "The bitwise and")
reduce_or = _reducer("reduce_or", _bitwise(e.logical_or, r.reduce_or, 0), BITS, "The bitwise or")
reduce_xor = _reducer("reduce_xor", _bitwise(e.logical_xor, _parity, 0), BITS, "The bitwise exclusive or")


def _position(name: str, function: Function) -> Function:
    def f(operand: Any, axis: int, index_dtype: Any) -> Any:
        x = _operand(name, operand)
        return function(x, axis_of(name, "axis", axis, type_of(x).ndim), dtypes.of(index_dtype))

    f.__name__ = f.__qualname__ = name
    f.__doc__ = (
        f"The index of the {name[3:]}imum of `operand` along `axis`, of dtype `index_dtype`: "
        "the first of several; the first NaN where there is one."
    )
    return f


argmax = _position("argmax", r.argmax)
argmin = _position("argmin", r.argmin)

# --- cumulative -----------------------------------------------------------------------------------


def _cumulative(name: str, function: Function, kinds: str, text: str) -> Function:
    def f(operand: Any, axis: int = 0, reverse: bool = False) -> Any:
        x = _operand(name, operand)
        check_kind(name, type_of(x), kinds)
        return function(x, axis_of(name, "axis", axis, type_of(x).ndim), bool(reverse))

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"{text} of each element of `operand` and those before it along `axis` (after it with `reverse`)."
    return f


def _cumlogsumexp(x: Any, axis: int, reverse: bool) -> Any:
    return associative_scan(logaddexp, x, reverse=reverse, axis=axis)


cumsum = _cumulative("cumsum", r.cumsum, NUMBERS, "The sum")
cumprod = _cumulative("cumprod", r.cumprod, NUMBERS, "The product")
cummax = _cumulative("cummax", r.cummax, "iuf", "The maximum")
cummin = _cumulative("cummin", r.cummin, "iuf", "The minimum")
cumlogsumexp = _cumulative("cumlogsumexp", _cumlogsumexp, "f", "The logarithm of the sum of the exponentials")

# --- by any operation -----------------------------------------------------------------------------

# What one operation on two scalars is as a reduction, by its name.
_MONOIDS: dict[str, Function] = {
    "add": r.reduce_sum, "mul": r.reduce_prod, "max": r.reduce_max, "min": r.reduce_min,
    "and": _bitwise(e.logical_and, r.reduce_and, -1), "or": _bitwise(e.logical_or, r.reduce_or, 0),
    "xor": _bitwise(e.logical_xor, _parity, 0),
}  # fmt: skip
_OPERATIONS: dict[str, Function] = {
    "add": e.add, "mul": e.mul, "max": e.max, "min": e.min, "and": e.logical_and, "or": e.logical_or, "xor": e.logical_xor,
}  # fmt: skip


def monoid(name: str, computation: Callable[[Any, Any], Any], dtype: dtypes.DType) -> str | None:
    """The associative and commutative operation that a function of two scalars of that dtype is, if it is one: "add", "max", ..."""
    try:
        program, captured = record(lambda x, y: [computation(x, y)], [Type((), dtype)] * 2, f"the computation of lax.{name}")
    except TypeError:  # it wants something else than two arrays, and will say so where it is called for its results
        return None
    if captured or len(program.equations) != 1:
        return None
    (equation,) = program.equations
    given = {a for a in equation.inputs if isinstance(a, Variable)}
    found = equation.primitive.name
    if found not in _MONOIDS or given != set(program.inputs) or program.outputs != equation.outputs:
        return None
    if dtype == dtypes.bool_:  # bools are added by "or", and multiplied by "and"
        found = {"add": "or", "mul": "and", "max": "or", "min": "and"}.get(found, found)
    return None if dtypes.is_complex(dtype) and found in ("max", "min") else found


def combined(op: str, x: Any, y: Any) -> Any:
    """`x` and `y` combined by the operation that `monoid` gave."""
    return _OPERATIONS[op](x, y)


def starting_from(name: str, operands: Any, init_values: Any) -> tuple[list[Any], list[Any], tree.Structure]:
    """The leaves of the operands, of one shape, and of the initial values, 0-d of the same dtypes; and how they are nested."""
    leaves, structure = tree.flatten(operands)
    starts, given = tree.flatten(init_values)
    if given != structure:
        raise ShapeError(
            f"lax.{name}: operands and init values must be nested alike: {tree.difference(structure, given, 'init')}.{at(user_source())}"
        )
    if not leaves:
        raise ShapeError(f"lax.{name}: no operands.{at(user_source())}")
    xs, inits = [], []
    for x, init in zip(leaves, starts, strict=True):
        x, init = _operand(name, x), _operand(name, init, "an init value")
        x, init = one_dtype(name, x, init)
        if type_of(init).shape != ():
            raise ShapeError(
                f"lax.{name}: an init value has shape {type_of(init).shape}, expected a scalar.{at(user_source())}"
            )
        xs.append(x)
        inits.append(init)
    if len({type_of(x).shape for x in xs}) > 1:
        raise ShapeError(
            f"lax.{name}: operands have shapes {', '.join(str(type_of(x).shape) for x in xs)}, expected one.{at(user_source())}"
        )
    return xs, inits, structure


def over_scalars(
    name: str, computation: Callable[[Any, Any], Any], structure: tree.Structure, dtypes_of: Sequence[dtypes.DType]
) -> Callable[[list[Any], list[Any]], list[Any]]:
    """`computation`, which takes (pytrees of) scalars, on lists of arrays of one shape, element by element."""

    def on_scalars(a: list[Any], b: list[Any]) -> list[Any]:
        out, given = tree.flatten(computation(tree.unflatten(structure, a), tree.unflatten(structure, b)))
        types = [type_of(v) for v in out]
        if given != structure or any(
            t.shape != () or (t.dtype != d and not t.weak) for t, d in zip(types, dtypes_of, strict=False)
        ):
            raise DTypeError(
                f"lax.{name}: the computation must return what it is given, scalars of dtype {', '.join(d.name for d in dtypes_of)}; it "
                f"returned {', '.join(map(str, types))}.{at(user_source())}"
            )
        return [to_dtype(v, d) for v, d in zip(out, dtypes_of, strict=True)]

    def on_arrays(a: list[Any], b: list[Any]) -> list[Any]:
        shape = type_of(a[0]).shape
        if shape == ():
            return on_scalars(a, b)
        size = math.prod(shape)
        flat = [[s.reshape(v, (size,)) for v in side] for side in (a, b)]
        return [s.reshape(v, shape) for v in vmap(on_scalars)(*flat)]

    return on_arrays


def reduce(operands: Any, init_values: Any, computation: Callable[[Any, Any], Any], dimensions: Sequence[int]) -> Any:
    """The elements of `operands` along `dimensions` combined by `computation`, an associative function of two scalars.

    Args:
        operands: an array, or a pytree of arrays of one shape.
        init_values: scalars nested alike, with which the combination begins.
        computation: (what was combined so far, an element) → the combination; each nested like `operands`.
        dimensions: axes, which go away.

    One arithmetic or logical operation is a reduction of its own; anything else runs as a loop over the elements, in row-major order.

    Example:
        >>> import fdl.numpy as fnp
        >>> reduce(fnp.arange(6).reshape(2, 3), 0, lambda x, y: x + y, (1,)).tolist()
        [3, 12]
        >>> reduce(fnp.array([1.0, 0.5, 0.25]), 0.0, lambda x, y: 2 * x + y, (0,)).tolist()
        5.25
    """
    xs, inits, structure = starting_from("reduce", operands, init_values)
    t = type_of(xs[0])
    axes = axes_of("reduce", "dimensions", dimensions, t.ndim)
    if len(xs) == 1:
        op = monoid("reduce", lambda a, b: only_result(computation, structure, a, b), t.dtype)
        if op is not None:
            return tree.unflatten(structure, [asarray(combined(op, _MONOIDS[op](xs[0], axes), inits[0]))])
    kept = tuple(i for i in range(t.ndim) if i not in axes)
    rest, n = tuple(t.shape[i] for i in kept), math.prod(t.shape[i] for i in axes)
    rows = [s.reshape(s.transpose(x, (*axes, *kept)), (n, *rest)) for x in xs]
    combine = over_scalars("reduce", computation, structure, [type_of(x).dtype for x in xs])
    first = [asarray(s.broadcast(to_dtype(i, type_of(i).dtype), rest, ())) for i in inits]
    total, _ = scan(lambda carry, row: (combine(carry, row), None), first, rows)
    return tree.unflatten(structure, total)


def only_result(computation: Callable[[Any, Any], Any], structure: tree.Structure, a: Any, b: Any) -> Any:
    out = tree.leaves(computation(tree.unflatten(structure, [a]), tree.unflatten(structure, [b])))
    if len(out) != 1:
        raise TypeError("several results")
    return out[0]


__all__ = [
    "argmax", "argmin", "cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum", "reduce", "reduce_and", "reduce_max", "reduce_min",
    "reduce_or", "reduce_prod", "reduce_sum", "reduce_xor",
]  # fmt: skip
