"""`vmap`: a function mapped over an axis of its arguments."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from fdl.tracer import tree
from fdl.tracer.errors import ShapeError, TreeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops.elementwise import move_axis
from fdl.tracer.primitive import Axis
from fdl.tracer.trace import check_array, described
from fdl.tracer.transforms.vmap import batch_flat, with_batch_axis

from .signature import FlatFunction, argument_name, as_value, name_of


def vmap(
    f: Callable[..., Any],
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_name: str | None = None,
    axis_size: int | None = None,
) -> Callable[..., Any]:
    """`f` mapped over an axis of its arguments, whose results are stacked.

    Args:
        in_axes: for each positional argument the axis to map over (negative ones count from the back), None for an argument that all
            calls share, or a pytree prefix of these; one int for all.  Keyword arguments are mapped over axis 0.
        out_axes: where the mapped axis goes in the outputs: an int, None for an output that is the same in all calls, or a pytree prefix.
        axis_name: the name by which collectives (`psum`, `axis_index`, ...) inside `f` know the axis.
        axis_size: the size of the mapped axis, where no argument tells.

    Raises: ShapeError when the sizes of the mapped axes differ, naming the arguments.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> fdl.vmap(fnp.dot, in_axes=(0, None))(fnp.ones((3, 2)), fnp.ones(2)).shape
        (3,)
    """

    if not callable(f):
        raise TypeError(f"vmap expects a function, got {described(f)}.{at(user_source())}")
    if axis_name is not None and not isinstance(axis_name, str):
        raise TypeError(f"vmap({name_of(f)}): axis_name must be a str, got {described(axis_name)}.{at(user_source())}")
    given_size = None if axis_size is None else _size(f, axis_size)

    @functools.wraps(f)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        name = f"vmap({name_of(f)})"
        if isinstance(in_axes, (tuple, list)) and len(in_axes) != len(args):
            raise TreeError(
                f"{name}: in_axes has {len(in_axes)} entries, but the call has {len(args)} positional arguments: expected one for each."
                f"{at(user_source())}"
            )
        axes_by_arg = tuple(in_axes) if isinstance(in_axes, (tuple, list)) else (in_axes,) * len(args)
        labels: list[str] = []
        flat_axes: list[int | None] = []
        for i, (arg, spec) in enumerate(zip(args, axes_by_arg, strict=True)):
            root = argument_name(f, i)
            flat_axes += _spread(spec, arg, f"{name}: in_axes", root)
            labels += [tree.path_str(p, root) for p in tree.paths(tree.structure(arg))]
        for key in sorted(kwargs):
            paths = tree.paths(tree.structure(kwargs[key]))
            labels += [tree.path_str(p, key) for p in paths]
            flat_axes += [0] * len(paths)
        leaves, structure = tree.flatten((args, kwargs))
        ready: list[int | None] = []
        sizes: dict[str, int] = {}
        for x, axis, label in zip(leaves, flat_axes, labels, strict=True):
            shape = check_array(x, f"{name}: argument {label}").shape
            if axis is not None:
                if not -len(shape) <= axis < len(shape):
                    raise ShapeError(
                        f"{name}: argument {label} of shape {shape} has no axis {axis} to map over. Give another axis, or None for an "
                        f"argument that all lanes share, in in_axes.{at(user_source())}"
                    )
                axis %= len(shape)
                sizes[label] = shape[axis]
            ready.append(axis)
        if len(set(sizes.values())) > 1:
            raise ShapeError(
                f"{name}: the mapped axes differ in size: {_odd_ones(sizes)}. Fix in_axes, or the shapes.{at(user_source())}"
            )
        size = next(iter(sizes.values()), given_size)
        if size is None:
            raise ShapeError(
                f"{name}: nothing is mapped: all in_axes are None. Give axis_size=, or call {name_of(f)} itself.{at(user_source())}"
            )
        if given_size is not None and size != given_size:
            raise ShapeError(f"{name}: axis_size={given_size}, but the mapped axes have size {size}.{at(user_source())}")
        function = FlatFunction(f, structure)
        outs, axes = batch_flat(function, Axis(size, axis_name), leaves, ready, name)
        out = tree.unflatten(function.out_structure, range(len(outs)))
        targets = _spread(out_axes, out, f"{name}: out_axes", "the output")
        placed = [as_value(_place(x, a, t, size, name)) for x, a, t in zip(outs, axes, targets, strict=True)]
        return tree.unflatten(function.out_structure, placed)

    return mapped


def _size(f: Callable[..., Any], size: Any) -> int:
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 0:
        raise TypeError(f"vmap({name_of(f)}): axis_size must be an int that is not negative, got {described(size)}.{at(user_source())}")
    return int(size)


def _odd_ones(sizes: dict[str, int]) -> str:
    """Which argument has which size; of many only those that differ from most."""
    if len(sizes) <= 4:
        return ", ".join(f"{label} has {n}" for label, n in sizes.items())
    common, count = Counter(sizes.values()).most_common(1)[0]
    first = next(label for label, n in sizes.items() if n == common)
    odd = [f"{label} has {n}" for label, n in sizes.items() if n != common]
    more = f" and {len(odd) - 4} more differ" if len(odd) > 4 else ""
    return f"{count} arguments, such as {first}, have {common}, but {', '.join(odd[:4])}{more}"


def _spread(spec: Any, value: Any, what: str, root: str) -> list[int | None]:
    """The axis of each leaf of `value`, which messages call `root`, from a pytree prefix."""
    none_is_leaf = lambda x: x is None  # noqa: E731
    leaves, structure = tree.flatten(spec, is_leaf=none_is_leaf)
    out: list[int | None] = []
    parts = tree.flatten_up_to(structure, value, f"{what} does not fit: {root}", ("in the axes", "in the value"))
    for axis, sub in zip(leaves, parts, strict=True):
        if axis is not None and (isinstance(axis, bool) or not isinstance(axis, int)):
            raise TypeError(f"{what} of {root}: expected ints and None, got {described(axis)}.{at(user_source())}")
        out += [axis] * len(tree.leaves(sub))
    return out


def _place(x: Any, axis: int | None, target: int | None, size: int, name: str) -> Any:
    if target is None:
        if axis is not None:
            raise ShapeError(
                f"{name}: out_axes is None for an output that differs between the lanes. Give it an axis.{at(user_source())}"
            )
        return x
    rank = len(type_of(x).shape) + (axis is None)
    if not -rank <= target < rank:
        raise ShapeError(
            f"{name}: out_axes={target}, but the mapped output has {rank} axes: expected {-rank} to {rank - 1}.{at(user_source())}"
        )
    x = with_batch_axis(x, None, size) if axis is None else x
    return move_axis(x, axis or 0, target % rank)
