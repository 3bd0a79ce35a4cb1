"""Collectives: sums, maxima and exchanges across the lanes of a `vmap` that has an `axis_name`.

    fdl.vmap(lambda x: x / fdl.psum(x, "batch"), axis_name="batch")(xs)

`axis_name` is a name or a tuple of names of nested vmaps, of which the first is the slowest in any numbering.  Operands may be pytrees.
All but `axis_index` and `axis_size` are differentiable: a cotangent goes back to every lane that a value came from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdl.numpy.promote import as_operand, to_dtype
from fdl.tracer import dtypes, tree
from fdl.tracer.errors import AxisNameError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import collectives as c
from fdl.tracer.ops import elementwise as ew
from fdl.tracer.ops import index, reduce
from fdl.tracer.ops.elementwise import move_axis
from fdl.tracer.ops.shape import reshape
from fdl.tracer.trace import axis_sizes, bind, check_array

Name = str | tuple[str, ...] | list[str]


def _axes(name: str, axis_name: Name) -> list[tuple[str, int]]:
    """The (name, size) of each axis that a collective goes over, the slowest first."""
    known = axis_sizes()
    names = list(axis_name) if isinstance(axis_name, (tuple, list)) else [axis_name]
    for n in names:
        if not isinstance(n, str):
            raise TypeError(f"{name}: axis_name must be a str or a tuple of strs, got {axis_name!r}.{at(user_source())}")
        if n not in known:
            there = f"known here: {', '.join(map(repr, known))}" if known else "no vmap with an axis_name is around this call"
            raise AxisNameError(
                f"{name}: unbound axis name {n!r}: {there}. Give the name to the vmap: fdl.vmap(f, axis_name={n!r}).{at(user_source())}"
            )
    if len(set(names)) != len(names):
        raise ShapeError(f"{name}: an axis name occurs twice in {axis_name!r}.{at(user_source())}")
    return [(n, known[n]) for n in names]


def _size(axes: Sequence[tuple[str, int]]) -> int:
    total = 1
    for _, n in axes:
        total *= n
    return total


def _each(name: str, f: Callable[[Any], Any], x: Any) -> Any:
    """`f` of each leaf of a pytree."""

    def leaf(v: Any) -> Any:
        v = as_operand(v, f"{name}: an operand")
        check_array(v, f"{name}: an operand")
        return f(v)

    return tree.map(leaf, x)


def _place(name: str, x: Any, axis: Any, rank: int) -> int:
    if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)) or not -rank <= axis < rank:
        raise ShapeError(
            f"{name}: axis {axis!r} of an operand of shape {type_of(x).shape}: expected an int from {-rank} to {rank - 1}."
            f"{at(user_source())}"
        )
    return int(axis) % rank


def axis_size(axis_name: Name) -> int:
    """The number of lanes of an axis, a Python int; of several axes the product.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> fdl.vmap(lambda x: x * fdl.axis_size("i"), axis_name="i")(fnp.ones(3)).tolist()
        [3.0, 3.0, 3.0]
    """
    return _size(_axes("axis_size", axis_name))


def axis_index(axis_name: Name) -> Any:
    """The number of this lane along an axis, an int32; along several axes the row-major number.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> fdl.vmap(lambda x: fdl.axis_index("i"), axis_name="i")(fnp.ones(3)).tolist()
        [0, 1, 2]
    """
    axes = _axes("axis_index", axis_name)
    total: Any = None
    for name, n in axes:
        i = bind(c.axis_index_p, axis=name, lanes=n)
        total = i if total is None else ew.add(ew.mul(total, np.int32(n)), i)
    return np.int32(0) if total is None else total


def psum(x: Any, axis_name: Name) -> Any:
    """The sum of `x` over the lanes. A Python number, which all lanes share, gives a Python number: `psum(1, name)` counts them.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> fdl.vmap(lambda x: x / fdl.psum(x, "i"), axis_name="i")(fnp.array([1.0, 3.0])).tolist()
        [0.25, 0.75]
    """
    axes = _axes("psum", axis_name)

    def one(v: Any) -> Any:
        if isinstance(v, (bool, int, float, complex)) and not isinstance(v, np.generic):
            return v * _size(axes)
        if type_of(v).dtype == dtypes.bool_:
            v = to_dtype(v, dtypes.DEFAULT_INT)
        for name, n in reversed(axes):
            v = bind(c.psum_p, v, axis=name, lanes=n)
        return v

    return _each("psum", one, x)


def pmean(x: Any, axis_name: Name) -> Any:
    """The mean of `x` over the lanes; of integers a float.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> fdl.vmap(lambda x: x - fdl.pmean(x, "i"), axis_name="i")(fnp.array([1.0, 3.0])).tolist()
        [-1.0, 1.0]
    """
    n = axis_size(axis_name)

    def one(v: Any) -> Any:
        t = type_of(v)
        if not dtypes.is_inexact(t.dtype):
            v = to_dtype(v, dtypes.DEFAULT_FLOAT)
        total = psum(v, axis_name)
        is_number = isinstance(total, (int, float, complex))
        return total / n if is_number else ew.div(total, np.asarray(n).astype(type_of(total).dtype))

    return _each("pmean", one, x)


def pmax(x: Any, axis_name: Name) -> Any:
    """The largest `x` of the lanes, element by element. Its derivative is shared by the lanes that have it.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> fdl.vmap(lambda x: fdl.pmax(x, "i"), axis_name="i")(fnp.array([1.0, 3.0])).tolist()
        [3.0, 3.0]
    """
    axes = _axes("pmax", axis_name)
    return _each("pmax", lambda v: reduce.reduce_max(_gathered(v, axes), (0,)), x)


def pmin(x: Any, axis_name: Name) -> Any:
    """The smallest `x` of the lanes, element by element. Its derivative is shared by the lanes that have it.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> fdl.vmap(lambda x: fdl.pmin(x, "i"), axis_name="i")(fnp.array([1.0, 3.0])).tolist()
        [1.0, 1.0]
    """
    axes = _axes("pmin", axis_name)
    return _each("pmin", lambda v: reduce.reduce_min(_gathered(v, axes), (0,)), x)


def _gathered(x: Any, axes: Sequence[tuple[str, int]]) -> Any:
    """The operands of all lanes along a new first axis."""
    shape = type_of(x).shape
    for name, n in reversed(axes):
        x = bind(c.all_gather_p, x, axis=name, lanes=n)
    return x if len(axes) == 1 else reshape(x, (_size(axes), *shape))


def all_gather(x: Any, axis_name: Name, *, axis: int = 0, tiled: bool = False) -> Any:
    """The operands of all lanes, along a new axis `axis`; with `tiled` one after another along the axis `axis` that is there.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> fdl.vmap(lambda x: fdl.all_gather(x, "i"), axis_name="i", out_axes=None)(fnp.array([1.0, 3.0])).tolist()
        [1.0, 3.0]
    """
    axes = _axes("all_gather", axis_name)

    def one(v: Any) -> Any:
        shape = type_of(v).shape
        if tiled and not shape:
            raise ShapeError(f"all_gather: tiled=True needs an axis to go along, got a 0-d operand.{at(user_source())}")
        k = _place("all_gather", v, axis, len(shape) + (not tiled))
        y = move_axis(_gathered(v, axes), 0, k)
        return reshape(y, (*shape[:k], _size(axes) * shape[k], *shape[k + 1 :])) if tiled else y

    return _each("all_gather", one, x)


def psum_scatter(x: Any, axis_name: Name, *, scatter_dimension: int = 0, tiled: bool = False) -> Any:
    """Of the sum of `x` over the lanes, this lane's part along `scatter_dimension`: the slice of its number, or with `tiled` its block.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> fdl.vmap(lambda x: fdl.psum_scatter(x, "i"), axis_name="i")(fnp.array([[1.0, 3.0], [10.0, 20.0]])).tolist()
        [11.0, 23.0]
    """
    axes = _axes("psum_scatter", axis_name)

    def one(v: Any) -> Any:
        k, y = _split("psum_scatter", v, axes, scatter_dimension, tiled)
        for name, n in axes:
            y = bind(c.psum_scatter_p, y, axis=name, lanes=n)
        return move_axis(y, 0, k) if tiled else y

    return _each("psum_scatter", one, x)


def _split(name: str, x: Any, axes: Sequence[tuple[str, int]], axis: int, tiled: bool) -> tuple[int, Any]:
    """The axis `axis` counted from the front, and `x` with that axis in front, cut into the lanes' parts: (*sizes, [block,] *rest)."""
    shape, total = type_of(x).shape, _size(axes)
    k = _place(name, x, axis, len(shape))
    if (shape[k] % total if tiled else shape[k] != total) and total:
        wanted = f"a multiple of {total}" if tiled else f"{total}"
        raise ShapeError(
            f"{name}: axis {k} of an operand of shape {shape} has size {shape[k]}: expected {wanted}, the number of lanes of "
            f"{', '.join(n for n, _ in axes)}.{at(user_source())}"
        )
    y = move_axis(x, k, 0)
    rest = type_of(y).shape[1:]
    block = (shape[k] // max(total, 1),) if tiled else ()
    return k, reshape(y, (*(n for _, n in axes), *block, *rest))


def all_to_all(x: Any, axis_name: Name, split_axis: int, concat_axis: int, *, tiled: bool = False) -> Any:
    """The parts of all lanes' `x` that have this lane's number along `split_axis`, along a new axis `concat_axis`.

    With `tiled` the parts are blocks of `split_axis`, which stays, and are put one after another along `concat_axis`.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> fdl.vmap(lambda x: fdl.all_to_all(x, "i", 0, 0), axis_name="i")(fnp.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [[1.0, 3.0], [2.0, 4.0]]
    """
    axes = _axes("all_to_all", axis_name)
    total = _size(axes)

    def one(v: Any) -> Any:
        k, y = _split("all_to_all", v, axes, split_axis, tiled)
        for position, (name, n) in enumerate(axes):
            y = move_axis(bind(c.all_to_all_p, move_axis(y, position, 0), axis=name, lanes=n), 0, position)
        y = reshape(y, (total, *type_of(y).shape[len(axes) :]))
        if not tiled:
            return move_axis(y, 0, _place("all_to_all", y, concat_axis, len(type_of(y).shape)))
        j = _place("all_to_all", v, concat_axis, len(type_of(v).shape))
        y = move_axis(move_axis(y, 1, k + 1), 0, j)
        shape = type_of(y).shape
        return reshape(y, (*shape[:j], shape[j] * shape[j + 1], *shape[j + 2 :]))

    return _each("all_to_all", one, x)


def ppermute(x: Any, axis_name: Name, perm: Sequence[tuple[int, int]]) -> Any:
    """What lane s has, in lane t, for each pair (s, t) of `perm`; zeros in a lane that is no destination.

    Raises: ShapeError where a lane is twice a source or a destination, or there is none of that number.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> fdl.vmap(lambda x: fdl.ppermute(x, "i", [(0, 1), (1, 2)]), axis_name="i")(fnp.array([1.0, 2.0, 3.0])).tolist()
        [0.0, 1.0, 2.0]
    """
    axes = _axes("ppermute", axis_name)
    pairs, total = tuple((int(s), int(t)) for s, t in perm), _size(axes)
    sources, targets = {s for s, _ in pairs}, {t for _, t in pairs}
    if not len(sources) == len(targets) == len(pairs) or not all(0 <= i < total for i in sources | targets):
        raise ShapeError(
            f"ppermute: perm={list(pairs)} over the {total} lanes of {axis_name!r}: expected pairs (source, destination) of lanes from "
            f"0 to {total - 1}, each lane at most once a source and at most once a destination.{at(user_source())}"
        )

    def one(v: Any) -> Any:
        if len(axes) == 1:
            return bind(c.ppermute_p, v, axis=axes[0][0], lanes=axes[0][1], perm=pairs)
        return _permuted(v, axes, pairs, axis_index(axis_name))

    return _each("ppermute", one, x)


def _permuted(x: Any, axes: Sequence[tuple[str, int]], pairs: tuple[tuple[int, int], ...], lane: Any) -> Any:
    """`ppermute` over several axes: each lane takes its row of all lanes' operands."""
    total, source = _size(axes), {t: s for s, t in pairs}
    table = np.array([source.get(i, total) for i in range(total)], np.int32)
    row = index.gather(table, reshape(lane, (1,)), axes=(0,), mode="clip", fill=0)
    return index.gather(_gathered(x, axes), reshape(row, (1,)), axes=(0,), mode="fill", fill=0)


def pshuffle(x: Any, axis_name: Name, perm: Sequence[int]) -> Any:
    """In lane i what lane `perm[i]` has; `perm` is a permutation of the lanes.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> fdl.vmap(lambda x: fdl.pshuffle(x, "i", [2, 0, 1]), axis_name="i")(fnp.array([1.0, 2.0, 3.0])).tolist()
        [3.0, 1.0, 2.0]
    """
    n = axis_size(axis_name)
    order = [int(i) for i in perm]
    if sorted(order) != list(range(n)):
        raise ShapeError(f"pshuffle: perm={order} is no permutation of the {n} lanes of {axis_name!r}.{at(user_source())}")
    return ppermute(x, axis_name, [(s, t) for t, s in enumerate(order)])


__all__ = [
    "all_gather", "all_to_all", "axis_index", "axis_size", "pmax", "pmean", "pmin", "ppermute", "pshuffle", "psum", "psum_scatter",
]  # fmt: skip
