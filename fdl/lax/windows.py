"""`reduce_window`: the elements of each window of an array, combined by any operation, under the name of JAX's `lax`.

Sums and extrema are primitives.  Anything else is a loop over the places in a window: at each, the elements that all windows have there
are combined with what was before.  Padding, and the holes that `base_dilation` makes, count for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdl.control import scan
from fdl.numpy.promote import asarray, to_dtype
from fdl.tracer import dtypes, tree
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import index as ix
from fdl.tracer.ops import reduce as r
from fdl.tracer.ops import shape as s
from fdl.tracer.ops import window as w
from fdl.tracer.ops.convolve import conv_out_shape

from .convolution import Padding, padtype_to_pads
from .operands import ints, pairs, per_axis
from .reductions import combined, monoid, only_result, over_scalars, starting_from

Shape = tuple[int, ...]


def _geometry(
    name: str, shape: Shape, window: Any, strides: Any, padding: Padding, base_dilation: Any, window_dilation: Any
) -> tuple[Shape, Shape, tuple[tuple[int, int], ...], Shape, Shape, Shape]:
    """The window, strides, padding, base and window dilation as tuples of one entry for each axis, and the shape of the result."""
    n = len(shape)
    size = ints(name, "window_dimensions", window)
    if len(size) != n or any(k < 1 for k in size):
        raise ShapeError(f"lax.{name}: window_dimensions={size} for an operand of shape {shape}.{at(user_source())}")
    step = per_axis(name, "window_strides", strides, n)
    base, apart = per_axis(name, "base_dilation", base_dilation, n), per_axis(name, "window_dilation", window_dilation, n)
    if isinstance(padding, str):
        spread = [(m - 1) * d + 1 if m else 0 for m, d in zip(shape, base, strict=True)]
        reach = [(k - 1) * d + 1 for k, d in zip(size, apart, strict=True)]
        pads: Any = tuple(padtype_to_pads(spread, reach, step, padding.upper()))
    else:
        pads = pairs(name, "padding", padding)
    if len(pads) != n:
        raise ShapeError(f"lax.{name}: padding={padding!r} for an operand of shape {shape}.{at(user_source())}")
    return size, step, pads, base, apart, conv_out_shape(shape, size, step, pads, base, apart)


def reduce_window_shape_tuple(
    operand_shape: Sequence[int],
    window_dimensions: Sequence[int],
    window_strides: Sequence[int],
    padding: Padding,
    base_dilation: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> Shape:
    """The shape of `reduce_window` of an operand of that shape.

    Example:
        >>> reduce_window_shape_tuple((6, 6), (2, 2), (2, 2), "VALID")
        (3, 3)
    """
    name = "reduce_window_shape_tuple"
    return _geometry(name, tuple(operand_shape), window_dimensions, window_strides, padding, base_dilation, window_dilation)[-1]


def reduce_window(
    operand: Any,
    init_value: Any,
    computation: Callable[[Any, Any], Any],
    window_dimensions: Sequence[int],
    window_strides: Sequence[int] | None = None,
    padding: Padding = "VALID",
    base_dilation: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> Any:
    """The elements of each window of `operand` combined by `computation`, an associative function of two scalars.

    Args:
        operand: an array, or a pytree of arrays of one shape.
        init_value: scalars nested alike, with which the combination begins in each window.
        computation: (what was combined so far, an element) → the combination.
        window_dimensions: a window's size along each axis.
        window_strides: the step between windows; ones by default.
        padding: "VALID", "SAME", "SAME_LOWER" or a (low, high) pair for each axis. Padding counts for nothing.
        base_dilation, window_dilation: the distance between the elements of `operand`, and between those of a window.

    Example:
        >>> import fdl.numpy as fnp
        >>> reduce_window(fnp.arange(6.0), -fnp.inf, fnp.maximum, (3,), (2,), "SAME").tolist()
        [2.0, 4.0, 5.0]
    """
    name = "reduce_window"
    xs, inits, structure = starting_from(name, operand, init_value)
    t = type_of(xs[0])
    size, step, pads, base, apart, out = _geometry(
        name, t.shape, window_dimensions, window_strides, padding, base_dilation, window_dilation
    )
    if len(xs) == 1 and t.dtype != dtypes.bool_:
        op = monoid(name, lambda a, b: only_result(computation, structure, a, b), t.dtype)
        found = {"add": w.window_sum, "max": w.window_max, "min": w.window_min}.get(op or "")
        if op is not None and found is not None:
            fill = r.identity({"add": "sum"}.get(op, op), t.dtype)
            spread = s.pad(xs[0], fill, [(0, 0, d - 1) for d in base])
            y = found(spread, window=size, strides=step, padding=pads, dilation=apart)
            return tree.unflatten(structure, [asarray(combined(op, y, inits[0]))])
    combine = over_scalars(name, computation, structure, [type_of(x).dtype for x in xs])
    first = [asarray(s.broadcast(to_dtype(i, type_of(i).dtype), out, ())) for i in inits]
    if 0 in t.shape or 0 in out:
        return tree.unflatten(structure, first)
    flat = [s.reshape(x, (t.size,)) for x in xs]

    def place(carry: list[Any], offset: list[Any]) -> tuple[list[Any], None]:
        where, real = _elements(offset, t.shape, out, step, pads, base)
        given = [s.reshape(ix.gather(x, where, axes=(0,), mode="clip"), out) for x in flat]
        new = combine(carry, given)
        return [e.select(real, a, b) for a, b in zip(new, carry, strict=True)], None

    grid = np.stack([k.ravel() for k in np.indices(size)]).astype(np.int32) * np.asarray(apart, np.int32)[:, None]
    total, _ = scan(place, first, [asarray(row) for row in grid] or [asarray(np.zeros(1, np.int32))])
    return tree.unflatten(structure, total)


def _elements(
    offset: Sequence[Any], shape: Shape, out: Shape, step: Shape, pads: Sequence[tuple[int, int]], base: Shape
) -> tuple[Any, Any]:
    """Where the elements at `offset` in each window lie in the flattened array (indices (windows, 1)), and which of them are real."""
    position: Any = s.broadcast(np.asarray(0, np.int32), out, ())
    real: Any = s.broadcast(np.asarray(True), out, ())
    stride = 1
    for a in reversed(range(len(shape))):
        place = e.add(e.mul(s.iota(out, np.dtype(np.int32), a), np.asarray(step[a], np.int32)), offset[a])
        place = e.sub(place, np.asarray(pads[a][0], np.int32))
        inside = e.logical_and(
            e.ge(place, np.asarray(0, np.int32)), e.le(place, np.asarray((shape[a] - 1) * base[a], np.int32))
        )
        if base[a] > 1:
            inside = e.logical_and(inside, e.eq(e.rem(place, np.asarray(base[a], np.int32)), np.asarray(0, np.int32)))
            place = e.div(place, np.asarray(base[a], np.int32))
        real = e.logical_and(real, inside)
        position = e.add(position, e.mul(place, np.asarray(stride, np.int32)))
        stride *= shape[a]
    return s.reshape(position, (math.prod(out), 1)), real


__all__ = ["reduce_window", "reduce_window_shape_tuple"]
