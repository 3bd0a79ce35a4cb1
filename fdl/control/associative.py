"""`associative_scan`: all partial combinations of a sequence, in logarithmic depth and linear work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fdl.tracer import tree
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops.shape import concatenate, flip, reshape, slice_axis
from fdl.tracer.trace import described
from fdl.transforms.signature import name_of

from .recording import arrays

Leaves = list[Any]


def associative_scan(fn: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """The partial combinations e0, fn(e0, e1), fn(fn(e0, e1), e2), ... of the slices of `elems` along an axis.

    Args:
        fn: an associative function of two pytrees like `elems`, elementwise along `axis`: it is given many slices at once.
        elems: a pytree of arrays of one size along `axis`.
        reverse: whether to combine from the last slice to the first.
        axis: the axis of the sequence; negative ones count from the back.

    About 2 n applications of `fn`, in 2 log2 n calls, by combining neighbours first (Blelloch, "Prefix sums and their
    applications", 1990): unlike `scan`'s, the calls are on whole arrays.

    Raises: ShapeError for sizes that differ, and for results that are nested or shaped unlike `elems`.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> fdl.associative_scan(fnp.add, fnp.arange(5)).tolist()
        [0, 1, 3, 6, 10]
    """
    if not callable(fn):
        raise TypeError(f"associative_scan expects a function, got {fn!r} of type {type(fn).__name__}.{at(user_source())}")
    if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
        raise TypeError(f"associative_scan: axis: expected an int, got {described(axis)}.{at(user_source())}")
    axis = int(axis)
    elems = arrays(elems, "associative_scan: elems")
    leaves, structure = tree.flatten(elems)
    if not leaves:
        return elems
    sizes: dict[str, int] = {}
    places: list[int] = []
    for path, x in zip(tree.paths(structure), leaves, strict=True):
        shape, where = type_of(x).shape, tree.path_str(path, "elems")
        if not -len(shape) <= axis < len(shape):
            raise ShapeError(f"associative_scan: {where} of shape {shape} has no axis {axis}.{at(user_source())}")
        places.append(axis % len(shape))
        sizes[where] = shape[axis]
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{k}: {v}" for k, v in sizes.items())
        raise ShapeError(f"associative_scan: sizes along axis {axis} must agree: {listed}.{at(user_source())}")

    def combine(a: Leaves, b: Leaves) -> Leaves:
        out, given = tree.flatten(fn(tree.unflatten(structure, a), tree.unflatten(structure, b)))
        if given != structure:
            raise ShapeError(
                f"associative_scan: {name_of(fn)} must return what elems are: {tree.difference(structure, given, 'result')}."
                f"{at(user_source())}"
            )
        for path, x, y in zip(tree.paths(structure), a, out, strict=True):
            if type_of(x).strong() != type_of(y).strong():
                raise ShapeError(
                    f"associative_scan: {name_of(fn)} returns {type_of(y).strong()} for {tree.path_str(path, 'elems')}, of which it was "
                    f"given {type_of(x).strong()}: it must keep shapes and dtypes, and work on many slices at once.{at(user_source())}"
                )
        return out

    def part(xs: Leaves, start: int, stop: int, step: int = 1) -> Leaves:
        return [slice_axis(x, k, start, stop, step) for x, k in zip(xs, places, strict=True)]

    def joined(*parts: Leaves) -> Leaves:
        return [concatenate(list(column), k) for column, k in zip(zip(*parts, strict=True), places, strict=True)]

    def interleaved(even: Leaves, odd: Leaves, n: int) -> Leaves:
        """e0 o0 e1 o1 ...; there may be one more even one."""
        m = n // 2
        paired = [_zipped(a, b, k, m) for a, b, k in zip(part(even, 0, m), odd, places, strict=True)]
        return paired if n % 2 == 0 else joined(paired, part(even, m, m + 1))

    def partial(xs: Leaves, n: int) -> Leaves:
        if n < 2:
            return xs
        m = n // 2
        odd = partial(combine(part(xs, 0, 2 * m, 2), part(xs, 1, 2 * m, 2)), m)
        if n == 2:
            return joined(part(xs, 0, 1), odd)
        rest = combine(part(odd, 0, (n - 1) // 2), part(xs, 2, n, 2))
        return interleaved(joined(part(xs, 0, 1), rest), odd, n)

    def turned(xs: Leaves) -> Leaves:
        return [flip(x, (k,)) for x, k in zip(xs, places, strict=True)] if reverse else xs

    return tree.unflatten(structure, turned(partial(turned(leaves), next(iter(sizes.values())))))


def _zipped(a: Any, b: Any, axis: int, m: int) -> Any:
    """a0 b0 a1 b1 ... along an axis of size m each."""
    shape = type_of(a).shape
    apart = (*shape[: axis + 1], 1, *shape[axis + 1 :])
    pairs = concatenate([reshape(a, apart), reshape(b, apart)], axis + 1)
    return reshape(pairs, (*shape[:axis], 2 * m, *shape[axis + 1 :]))
