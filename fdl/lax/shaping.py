"""Shapes, under the names of JAX's `lax`: repeating, reshaping, reordering, joining and cutting along axes."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

from fdl.numpy.promote import asarray, to_dtype
from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import shape as s

from .operands import axes as axes_of
from .operands import axis as axis_of
from .operands import ints, one_dtype, operand, pairs, per_axis

_operand = operand

# --- repeating ------------------------------------------------------------------------------------


def broadcast(operand: Any, sizes: Sequence[int]) -> Any:
    """`operand` repeated along new first axes of the given `sizes`.

    Example:
        >>> import fdl.numpy as fnp
        >>> broadcast(fnp.arange(2), (3,)).tolist()
        [[0, 1], [0, 1], [0, 1]]
    """
    x = _operand("broadcast", operand)
    shape = type_of(x).shape
    new = _sizes("broadcast", sizes)
    return asarray(s.broadcast(x, (*new, *shape), tuple(range(len(new), len(new) + len(shape)))))


def broadcast_in_dim(operand: Any, shape: Sequence[int], broadcast_dimensions: Sequence[int]) -> Any:
    """`operand` in `shape`: its axis i becomes axis `broadcast_dimensions[i]`, where a size of 1 is repeated; so are the other axes.

    Example:
        >>> import fdl.numpy as fnp
        >>> broadcast_in_dim(fnp.arange(2), (2, 3), (0,)).tolist()
        [[0, 0, 0], [1, 1, 1]]
    """
    x = _operand("broadcast_in_dim", operand)
    target = _sizes("broadcast_in_dim", shape)
    dims = axes_of("broadcast_in_dim", "broadcast_dimensions", broadcast_dimensions, len(target))
    if list(dims) != sorted(dims):
        raise ShapeError(
            f"lax.broadcast_in_dim: broadcast_dimensions={dims}: expected increasing axes. Transpose the operand first.{at(user_source())}"
        )
    return asarray(s.broadcast(x, target, dims))


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that arrays of these shapes broadcast to by NumPy's rule.

    Raises: ShapeError where there is none.

    Example:
        >>> broadcast_shapes((3, 1), (2,))
        (3, 2)
    """
    rank = max((len(given) for given in shapes), default=0)
    columns = zip(*((1,) * (rank - len(given)) + tuple(given) for given in shapes), strict=True)
    out = []
    for column in columns:
        sizes = set(column) - {1}
        if len(sizes) > 1:
            raise ShapeError(
                f"lax.broadcast_shapes: shapes {' and '.join(str(tuple(given)) for given in shapes)} do not broadcast: from the right, "
                f"sizes must be equal or 1.{at(user_source())}"
            )
        out.append(sizes.pop() if sizes else 1)
    return tuple(out)


def broadcast_to_rank(x: Any, rank: int) -> Any:
    """`x` with axes of size 1 put in front until there are `rank`."""
    x = _operand("broadcast_to_rank", x)
    shape = type_of(x).shape
    if len(shape) > rank:
        raise ShapeError(f"lax.broadcast_to_rank: an operand of shape {shape} for rank {rank}.{at(user_source())}")
    return asarray(s.reshape(x, (1,) * (rank - len(shape)) + shape))


def broadcast_like(arr: Any, like_arr: Any) -> Any:
    """`arr` repeated to the shape of `like_arr`, by NumPy's rule."""
    x, y = _operand("broadcast_like", arr, "arr"), _operand("broadcast_like", like_arr, "like_arr")
    given, target = type_of(x).shape, type_of(y).shape
    if len(given) > len(target) or broadcast_shapes(given, target) != target:
        raise ShapeError(f"lax.broadcast_like: shape {given} does not broadcast to {target}.{at(user_source())}")
    return asarray(s.broadcast(x, target, tuple(range(len(target) - len(given), len(target)))))


def tile(operand: Any, reps: Sequence[int]) -> Any:
    """`operand` repeated `reps[i]` times along each axis i.

    Example:
        >>> import fdl.numpy as fnp
        >>> tile(fnp.arange(2), (2,)).tolist()
        [0, 1, 0, 1]
    """
    x = _operand("tile", operand)
    shape = type_of(x).shape
    times = _sizes("tile", reps)
    if len(times) != len(shape):
        raise ShapeError(
            f"lax.tile: reps={times} for an operand of shape {shape}: expected one for each axis.{at(user_source())}"
        )
    apart = tuple(n for pair in zip(times, shape, strict=True) for n in pair)
    wide = s.broadcast(x, apart, tuple(range(1, 2 * len(shape), 2)))
    return asarray(s.reshape(wide, tuple(k * n for k, n in zip(times, shape, strict=True))))


def iota(dtype: Any, size: int) -> Any:
    """The numbers 0 to `size` - 1 in the given dtype."""
    return broadcasted_iota(dtype, (size,), 0)


def broadcasted_iota(dtype: Any, shape: Sequence[int], dimension: int) -> Any:
    """An array of that dtype and shape, in which each element is its own index along the axis `dimension`.

    Example:
        >>> broadcasted_iota(int, (2, 2), 1).tolist()
        [[0, 1], [0, 1]]
    """
    sizes = _sizes("broadcasted_iota", shape)
    return asarray(s.iota(sizes, dtypes.of(dtype), axis_of("broadcasted_iota", "dimension", dimension, len(sizes))))


# --- reshaping ------------------------------------------------------------------------------------


def reshape(operand: Any, new_sizes: Sequence[int], dimensions: Sequence[int] | None = None) -> Any:
    """The elements of `operand`, in row-major order of its axes (taken in the order `dimensions`), in the shape `new_sizes`.

    Example:
        >>> import fdl.numpy as fnp
        >>> reshape(fnp.arange(6).reshape(2, 3), (6,), dimensions=(1, 0)).tolist()
        [0, 3, 1, 4, 2, 5]
    """
    x = _operand("reshape", operand)
    shape, target = type_of(x).shape, _sizes("reshape", new_sizes)
    if math.prod(shape) != math.prod(target):
        raise ShapeError(f"lax.reshape: an operand of shape {shape} does not have the size of {target}.{at(user_source())}")
    if dimensions is not None:
        x = transpose(x, dimensions)
    return asarray(s.reshape(x, target))


def expand_dims(array: Any, dimensions: Sequence[int]) -> Any:
    """`array` with axes of size 1 put in, which are the axes `dimensions` of the result."""
    x = _operand("expand_dims", array)
    shape = type_of(x).shape
    ndim = len(shape) + len(ints("expand_dims", "dimensions", dimensions))
    new = axes_of("expand_dims", "dimensions", dimensions, ndim, negative=True)
    rest = iter(shape)
    return asarray(s.reshape(x, tuple(1 if a in new else next(rest) for a in range(ndim))))


def squeeze(array: Any, dimensions: Sequence[int]) -> Any:
    """`array` without its axes `dimensions`, whose sizes are 1."""
    x = _operand("squeeze", array)
    shape = type_of(x).shape
    gone = axes_of("squeeze", "dimensions", dimensions, len(shape), negative=True)
    if any(shape[a] != 1 for a in gone):
        raise ShapeError(
            f"lax.squeeze: dimensions={tuple(dimensions)} of an operand of shape {shape}: expected axes of size 1.{at(user_source())}"
        )
    return asarray(s.reshape(x, tuple(n for a, n in enumerate(shape) if a not in gone)))


def collapse(operand: Any, start_dimension: int, stop_dimension: int | None = None) -> Any:
    """`operand` with its axes from `start_dimension` to before `stop_dimension` (None: the end) made one.

    Example:
        >>> import fdl.numpy as fnp
        >>> collapse(fnp.ones((2, 3, 4)), 1).shape
        (2, 12)
    """
    x = _operand("collapse", operand)
    shape = type_of(x).shape
    first, last, _ = builtins.slice(start_dimension, stop_dimension).indices(len(shape))
    if last < first:
        raise ShapeError(
            f"lax.collapse: axes {start_dimension} to {stop_dimension} of an operand of shape {shape}: expected an increasing range."
            f"{at(user_source())}"
        )
    return asarray(s.reshape(x, (*shape[:first], math.prod(shape[first:last]), *shape[last:])))


def transpose(operand: Any, permutation: Sequence[int]) -> Any:
    """`operand` with its axes permuted: axis i of the result is its axis `permutation[i]`."""
    x = _operand("transpose", operand)
    shape = type_of(x).shape
    order = axes_of("transpose", "permutation", permutation, len(shape))
    if len(order) != len(shape):
        raise ShapeError(
            f"lax.transpose: permutation={order} for an operand of shape {shape}: expected each axis once.{at(user_source())}"
        )
    return asarray(s.transpose(x, order))


def rev(operand: Any, dimensions: Sequence[int]) -> Any:
    """`operand` with the order of its elements reversed along the axes `dimensions`."""
    x = _operand("rev", operand)
    return asarray(s.flip(x, axes_of("rev", "dimensions", dimensions, len(type_of(x).shape))))


# --- joining and cutting --------------------------------------------------------------------------


def concatenate(operands: Sequence[Any], dimension: int) -> Any:
    """The operands, of one dtype and equal sizes along the other axes, one after another along the axis `dimension`."""
    xs = _several("concatenate", operands)
    shapes = [type_of(x).shape for x in xs]
    a = axis_of("concatenate", "dimension", dimension, len(shapes[0]))
    if len({(len(given), given[:a], given[a + 1 :]) for given in shapes}) > 1:
        raise ShapeError(
            f"lax.concatenate: operands have shapes {', '.join(map(str, shapes))}, expected equal sizes except along axis {a}."
            f"{at(user_source())}"
        )
    return asarray(s.concatenate(xs, a))


def stack(operands: Sequence[Any], axis: int = 0) -> Any:
    """The operands, of one dtype and shape, along a new axis `axis`."""
    xs = _several("stack", operands)
    shapes = [type_of(x).shape for x in xs]
    if len(set(shapes)) > 1:
        raise ShapeError(
            f"lax.stack: operands have shapes {', '.join(map(str, shapes))}, expected one shape.{at(user_source())}"
        )
    a = axis_of("stack", "axis", axis, len(shapes[0]) + 1, negative=True)
    return asarray(s.concatenate([expand_dims(x, (a,)) for x in xs], a))


def _several(name: str, operands: Any) -> list[Any]:
    xs = [_operand(name, x, f"operand {i}") for i, x in enumerate(operands)]
    if not xs:
        raise ShapeError(f"lax.{name}: no operands: expected at least one.{at(user_source())}")
    return one_dtype(name, *xs, hint=name)


def unstack(x: Any, axis: int = 0) -> tuple[Any, ...]:
    """The slices of `x` along `axis`, without that axis."""
    x = _operand("unstack", x)
    a = axis_of("unstack", "axis", axis, len(type_of(x).shape), negative=True)
    return tuple(squeeze(s.slice_axis(x, a, i, i + 1), (a,)) for i in range(type_of(x).shape[a]))


def split(operand: Any, sizes: Sequence[int], axis: int = 0) -> list[Any]:
    """The parts of `operand` that have the given `sizes` along `axis`, one after another; together they are all of it.

    Example:
        >>> import fdl.numpy as fnp
        >>> [part.tolist() for part in split(fnp.arange(5), (2, 3))]
        [[0, 1], [2, 3, 4]]
    """
    x = _operand("split", operand)
    shape, parts = type_of(x).shape, _sizes("split", sizes)
    a = axis_of("split", "axis", axis, len(shape))
    if sum(parts) != shape[a]:
        raise ShapeError(
            f"lax.split: sizes={parts} have the sum {sum(parts)}, but axis {a} of an operand of shape {shape} has size {shape[a]}."
            f"{at(user_source())}"
        )
    ends = [sum(parts[: i + 1]) for i in range(len(parts))]
    return [asarray(s.slice_axis(x, a, end - n, end)) for n, end in zip(parts, ends, strict=True)]


def slice(
    operand: Any, start_indices: Sequence[int], limit_indices: Sequence[int], strides: Sequence[int] | None = None
) -> Any:
    """The elements `start_indices[i]:limit_indices[i]:strides[i]` of `operand` along each axis i; all static, within bounds.

    Example:
        >>> import fdl.numpy as fnp
        >>> slice(fnp.arange(6), (1,), (5,), (2,)).tolist()
        [1, 3]
    """
    x = _operand("slice", operand)
    shape = type_of(x).shape
    first, last = ints("slice", "start_indices", start_indices), ints("slice", "limit_indices", limit_indices)
    return asarray(s.slice(x, first, last, per_axis("slice", "strides", strides, len(shape))))


def pad(operand: Any, padding_value: Any, padding_config: Sequence[tuple[int, int, int]]) -> Any:
    """`operand` with (low, high, interior) elements equal to `padding_value` before, after and between its elements, for each axis.

    Negative low and high remove elements, after the interior ones were put in.

    Example:
        >>> import fdl.numpy as fnp
        >>> pad(fnp.array([1.0, 2.0]), 0.0, [(1, -1, 1)]).tolist()
        [0.0, 1.0, 0.0]
    """
    x, fill = _operand("pad", operand), _operand("pad", padding_value, "padding_value")
    config = pairs("pad", "padding_config", padding_config, 3)
    x, fill = one_dtype("pad", x, fill, hint="pad")
    return asarray(s.pad(x, fill, config))  # type: ignore[arg-type]


def shape_as_value(shape: Sequence[int]) -> Any:
    """The sizes of a shape as an int32 array."""
    parts = [s.reshape(to_dtype(n, dtypes.int32), (1,)) for n in _sizes("shape_as_value", shape)]
    return asarray(s.concatenate(parts, 0) if parts else s.iota((0,), dtypes.int32, 0))


def _sizes(name: str, shape: Any) -> tuple[int, ...]:
    out = ints(name, "the sizes", (shape,) if isinstance(shape, int) else shape)
    if any(n < 0 for n in out):
        raise ShapeError(f"lax.{name}: sizes must not be negative, got {out}.{at(user_source())}")
    return out


__all__ = [
    "broadcast", "broadcast_in_dim", "broadcast_like", "broadcast_shapes", "broadcast_to_rank", "broadcasted_iota", "collapse",
    "concatenate", "expand_dims", "iota", "pad", "reshape", "rev", "shape_as_value", "slice", "split", "squeeze", "stack", "tile",
    "transpose", "unstack",
]  # fmt: skip
