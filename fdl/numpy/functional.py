"""Functions of functions: `vectorize`, `apply_along_axis`, `apply_over_axes`, `piecewise`, `fromfunction`.

They map by `vmap`, not by loops.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from fdl.tracer import dtypes, tree
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import shape as s
from fdl.tracer.transforms.vmap import batch_flat, with_batch_axis

from .creation import as_shape
from .promote import as_operand, asarray, broadcast_to, canonical_axis, to_dtype
from .shapes import expand_dims, moveaxis
from .static import pick, scalar


def mapped(f: Callable[..., Any], size: int, args: Sequence[Any], batched: Sequence[bool]) -> Any:
    """`f` over the first axis of the marked arguments; its results, a pytree, have it first."""
    structure: list[Any] = []

    def flat(*values: Any) -> list[Any]:
        leaves, shape = tree.flatten(f(*values))
        structure[:] = [shape]
        return [as_operand(leaf, "the result of a mapped function") for leaf in leaves]

    outs, axes = batch_flat(flat, size, args, [0 if b else None for b in batched], getattr(f, "__name__", "function"))
    return tree.unflatten(structure[0], [with_batch_axis(x, a, size) for x, a in zip(outs, axes, strict=True)])


def apply_along_axis(func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    """`func1d(vector, *args, **kwargs)` of each vector of `arr` along `axis`; the axes of its result take the place of `axis`.

    Example:
        >>> apply_along_axis(lambda v: v[0] + v[-1], 0, np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [4.0, 6.0]
    """
    arr = as_operand(arr, "apply_along_axis: arr")
    t = type_of(arr)
    axis = canonical_axis("apply_along_axis", axis, t.ndim)
    lead = (*t.shape[:axis], *t.shape[axis + 1 :])
    rows = s.reshape(moveaxis(arr, axis, -1), (int(np.prod(lead)), t.shape[axis]))
    y = mapped(lambda v: func1d(v, *args, **kwargs), type_of(rows).shape[0], [asarray(rows)], [True])

    def placed(leaf: Any) -> Any:
        own = type_of(leaf).shape[1:]
        k, n = len(own), len(lead)
        order = (*range(axis), *range(n, n + k), *range(axis, n))
        return s.transpose(s.reshape(leaf, (*lead, *own)), order)

    return tree.map(placed, y)


def apply_over_axes(func: Callable[..., Any], a: Any, axes: Any) -> Any:
    """`func(a, axis)` over one axis after another; a result that loses its axis gets it back with size 1.

    Example:
        >>> apply_over_axes(lambda x, axis: x.sum(axis), asarray(np.ones((2, 3))), [0, 1]).tolist()
        [[6.0]]
    """
    a = asarray(a)
    for axis in axes if isinstance(axes, (list, tuple)) else [axes]:
        axis = canonical_axis("apply_over_axes", axis, type_of(a).ndim)
        y = func(a, axis)
        if type_of(y).ndim == type_of(a).ndim - 1:
            y = expand_dims(y, axis)
        if type_of(y).ndim != type_of(a).ndim:
            raise ShapeError(
                f"apply_over_axes: the function made shape {type_of(y).shape} of {type_of(a).shape}: expected as many axes, or one less."
                f"{at(user_source())}"
            )
        a = y
    return a


def piecewise(x: Any, condlist: Any, funclist: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
    """For each element the function of the last condition that holds, else the one function more than there are conditions, else 0.

    Every function is computed on all of `x` and chosen from: where one is NaN or infinite outside its piece, its derivative there needs a
    `where` inside it.

    Args:
        funclist: functions of (x, *args, **kwargs), or numbers.

    Example:
        >>> x = np.array([-2.0, 3.0])
        >>> piecewise(x, [x < 0], [lambda v: -v, 10.0]).tolist()
        [2.0, 10.0]
    """
    x = asarray(x)
    t = type_of(x)
    if not isinstance(condlist, (list, tuple)) or (condlist and not _is_array(condlist[0])):
        condlist = [condlist] if type_of(as_operand(condlist)).shape == t.shape else list(asarray(condlist))
    n, m = len(condlist), len(funclist)
    if m not in (n, n + 1):
        raise ShapeError(f"piecewise: {n} conditions and {m} functions: expected {n} or {n + 1} functions.{at(user_source())}")

    def value(f: Any) -> Any:
        y = f(x, *args, **kwargs) if callable(f) else f
        return broadcast_to(to_dtype(as_operand(y, "piecewise: a value"), t.dtype), t.shape)

    y = value(funclist[n]) if m > n else e.splat(scalar(x, 0), t.shape)
    for c, f in zip(condlist, funclist, strict=False):
        y = pick(to_dtype(as_operand(c), dtypes.bool_), value(f), y)
    return asarray(y)


def _is_array(x: Any) -> bool:
    return hasattr(x, "shape") or isinstance(x, (list, tuple))


def fromfunction(function: Callable[..., Any], shape: Any, *, dtype: Any = float, **kwargs: Any) -> Any:
    """`function` of the coordinates of a grid: of one array of shape `shape` for each axis.

    Example:
        >>> fromfunction(lambda i, j: 10 * i + j, (2, 2), dtype=int).tolist()
        [[0, 1], [10, 11]]
    """
    sizes = as_shape("fromfunction", shape)
    grid = [asarray(s.iota(sizes, dtypes.of(dtype), a)) for a in range(len(sizes))]
    return function(*grid, **kwargs)


# --- vectorize ------------------------------------------------------------------------------------

_TERM = re.compile(r"\(\s*(\w+\s*(,\s*\w+\s*)*)?\)")


def _parse(signature: str) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    left, arrow, right = signature.replace(" ", "").partition("->")
    sides = []
    for side in (left, right):
        terms = _TERM.findall(side)
        if not arrow or ",".join(m.group(0) for m in _TERM.finditer(side)) != side:
            raise ShapeError(
                f"vectorize: signature {signature!r} is not understood: expected terms like '(m,n),(n)->(m)'.{at(user_source())}"
            )
        sides.append([tuple(t[0].split(",")) if t[0] else () for t in terms])
    return sides[0], sides[1]


def vectorize(
    pyfunc: Callable[..., Any], *, excluded: Collection[int | str] = frozenset(), signature: str | None = None
) -> Callable[..., Any]:
    """A function that maps `pyfunc` over the axes of its arguments that broadcast.

    Args:
        pyfunc: a function of scalars, or of arrays with the axes that `signature` names.
        excluded: positions and names of arguments that are handed on as they are.
        signature: the core axes of arguments and results, as in "(m,n),(n)->(m)"; without, all are scalars.

    Returns: a function; its results have the broadcast leading axes of the arguments, then the core axes.

    Raises: ShapeError where core sizes differ, or the leading axes do not broadcast.

    Example:
        >>> dot = vectorize(lambda a, b: (a * b).sum(), signature="(n),(n)->()")
        >>> dot(np.ones((4, 3)), np.ones(3)).shape
        (4,)
    """
    core = _parse(signature) if signature is not None else None
    if any(isinstance(k, int) and k < 0 for k in excluded):
        raise DTypeError(f"vectorize: excluded has {excluded!r}: expected positions from 0, and names.{at(user_source())}")

    @functools.wraps(pyfunc)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        named = {k: v for k, v in kwargs.items() if k in excluded}
        mapped_names = [k for k in kwargs if k not in excluded]
        places = [k for k in range(len(args)) if k not in excluded]
        if mapped_names and core is not None:
            raise DTypeError(f"vectorize: with a signature, arguments are positional; got {mapped_names}.{at(user_source())}")
        xs = [asarray(args[k]) for k in places] + [asarray(kwargs[k]) for k in mapped_names]
        cores = core[0] if core is not None else [()] * len(xs)
        if len(cores) != len(xs):
            raise ShapeError(f"vectorize: the signature has {len(cores)} arguments, the call {len(xs)}.{at(user_source())}")
        lead, flat = _leading(xs, cores)

        def call(*values: Any) -> Any:
            full = list(args)
            for k, v in zip(places, values, strict=False):
                full[k] = v
            extra = dict(zip(mapped_names, values[len(places) :], strict=True))
            out = pyfunc(*full, **named, **extra)
            _check_result(out, core, xs)
            return out

        if not lead:
            return tree.map(asarray, call(*flat))
        size = int(np.prod(lead))
        wide = [type_of(x).ndim > len(c) for x, c in zip(xs, cores, strict=True)]
        y = mapped(call, size, flat, wide)
        return tree.map(lambda leaf: s.reshape(leaf, (*lead, *type_of(leaf).shape[1:])), y)

    return wrapped


def _leading(xs: Sequence[Any], cores: Sequence[tuple[str, ...]]) -> tuple[tuple[int, ...], list[Any]]:
    """The broadcast leading shape, and the arguments with it as one first axis, where they have leading axes."""
    sizes: dict[str, int] = {}
    leads = []
    for k, (x, c) in enumerate(zip(xs, cores, strict=True)):
        shape = type_of(x).shape
        if len(shape) < len(c):
            raise ShapeError(
                f"vectorize: argument {k} has shape {shape}, expected core axes ({', '.join(c)}).{at(user_source())}"
            )
        own = shape[len(shape) - len(c) :]
        for name, n in zip(c, own, strict=True):
            if (int(name) if name.isdigit() else sizes.setdefault(name, n)) != n:
                raise ShapeError(
                    f"vectorize: core axis {name!r} of argument {k} has size {n}, expected "
                    f"{name if name.isdigit() else sizes[name]}.{at(user_source())}"
                )
        leads.append(shape[: len(shape) - len(c)])
    try:
        lead = np.broadcast_shapes(*leads)
    except ValueError:
        raise ShapeError(
            f"vectorize: leading shapes {', '.join(map(str, leads))} do not broadcast.{at(user_source())}"
        ) from None
    size = int(np.prod(lead))
    flat = []
    for x, own_lead in zip(xs, leads, strict=True):
        core_shape = type_of(x).shape[len(own_lead) :]
        flat.append(s.reshape(broadcast_to(x, (*lead, *core_shape)), (size, *core_shape)) if own_lead else x)
    return lead, flat


def _check_result(out: Any, core: Any, xs: Sequence[Any]) -> None:
    if core is None:
        for leaf in tree.flatten(out)[0]:
            if type_of(as_operand(leaf)).ndim:
                raise ShapeError(
                    f"vectorize: the function returned shape {type_of(as_operand(leaf)).shape}: without a signature it returns scalars."
                    f"{at(user_source())}"
                )
        return
    results = list(out) if isinstance(out, (tuple, list)) else [out]
    if len(results) != len(core[1]):
        raise ShapeError(
            f"vectorize: the signature has {len(core[1])} results, the function {len(results)}.{at(user_source())}"
        )
    sizes: dict[str, int] = {}
    for x, c in zip(xs, core[0], strict=True):
        shape = type_of(x).shape
        sizes.update(zip(c, shape[len(shape) - len(c) :], strict=True))
    for y, c in zip(results, core[1], strict=True):
        shape = type_of(as_operand(y)).shape
        wrong = len(shape) != len(c) or any(
            (int(a) if a.isdigit() else sizes.setdefault(a, n)) != n for a, n in zip(c, shape, strict=True)
        )
        if wrong:
            raise ShapeError(f"vectorize: a result has shape {shape}, the signature says ({', '.join(c)}).{at(user_source())}")


__all__ = ["apply_along_axis", "apply_over_axes", "fromfunction", "piecewise", "vectorize"]
