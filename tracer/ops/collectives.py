"""Collectives: operations across the lanes of a `vmap` that has an `axis_name`.

Each has the static parameters `axis`, the name, and `lanes`, how many there are.  A lane sees its own operand; the batching rule for
that very axis replaces the equation by an operation along the mapped axis, so that none is left when a program runs.  Seen from one
lane i, with x_l the operand of lane l:

    psum            Σ_l x_l                                        transpose: psum
    all_gather      (x_0, x_1, ...), along a new first axis        transpose: psum_scatter
    psum_scatter    Σ_l x_l[i]                                     transpose: all_gather
    ppermute        x_l where (l, i) is in `perm`, else zeros      transpose: ppermute by the inverse
    all_to_all      (x_0[i], x_1[i], ...)                          transpose: all_to_all
    axis_index      i

A transpose is that of the sum over all lanes' outputs: `grad` of a `psum` in each lane gives what every lane's output owes to this lane.

May be imported by: everything after `elementwise`, `shape` and `reduce`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import AxisNameError, ShapeError
from ..ir import Program, Type, subprograms, type_of
from ..primitive import Axis, Primitive, Undefined, Zero, lookup
from ..trace import bind
from .elementwise import move_axis, mul
from .rules import Dims, insert_axis, to_front, zeros
from .shape import concatenate, flip, iota, slice_axis

Permutation = tuple[tuple[int, int], ...]


def mentions_axis(primitive: Primitive, params: dict[str, Any], name: str) -> bool:
    """Whether an operation is a collective over the axis `name`, or holds a program with one."""
    if primitive.name in COLLECTIVES:
        return bool(params["axis"] == name)
    return any(name in axis_names(p) for p in subprograms(params))


def axis_names(program: Program) -> frozenset[str]:
    """The names of the axes that a program's collectives go over."""

    def find() -> frozenset[str]:
        found: set[str] = set()
        for e in program.equations:
            if e.primitive.name in COLLECTIVES:
                found.add(e.params["axis"])
            for inner in subprograms(e.params):
                found |= axis_names(inner)
        return frozenset(found)

    result: frozenset[str] = program.cached("axis_names", find)
    return result


# --- the rules that they share --------------------------------------------------------------------


def _collective(
    name: str,
    *,
    abstract: Callable[..., Type],
    own: Callable[..., tuple[Any, int | None]],
    other: Callable[..., tuple[Any, int]],
    transpose: Callable[..., Any],
) -> Primitive:
    """A collective that is linear in its operand.

    Args:
        own: `(size, x, dim, **params) -> (output, dim)`, the batching rule over its own axis; `dim` is None for the same x in each lane.
        other: `(x, dim, **params) -> (output, dim)`, the batching rule over another axis.
        transpose: `(ct, **params) -> ct` of the operand.
    """

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        return bind(prim, *primals, **params), bind(prim, *tangents, **params)

    def batch(size: int, inputs: Sequence[Any], dims: Dims, **params: Any) -> tuple[Any, int | None]:
        (x,), (dim,) = inputs, dims
        if isinstance(size, Axis) and size.name == params["axis"]:
            return own(int(size), x, dim, **params)
        assert dim is not None, "a collective over another axis, of something that is not mapped, is not for this vmap"
        return other(x, dim, **params)

    def backward(ct: Any, x: Undefined, **params: Any) -> tuple[Any]:
        return (transpose(ct, **params),)

    prim = Primitive(name, abstract=abstract, reference=_unbound(name), jvp=jvp, transpose=backward, batch=batch)
    return prim


def _unbound(name: str) -> Callable[..., Any]:
    def reference(*xs: np.ndarray, axis: str, **params: Any) -> Any:
        raise AxisNameError(f"{name}: the axis {axis!r} is not mapped by a vmap around this call, so that there are no lanes.")

    return reference


def _stacked(name: str, x: Type, lanes: int) -> None:
    if x.shape[:1] != (lanes,):
        raise ShapeError(f"{name}: an operand of shape {x.shape}: expected a first axis of size {lanes}, the number of lanes.")


# --- psum -----------------------------------------------------------------------------------------


def _psum_own(size: int, x: Any, dim: int | None, axis: str, **_: Any) -> tuple[Any, None]:
    if dim is not None:
        return bind(lookup("reduce_sum"), x, axes=(dim,)), None
    return times(x, size), None


def times(x: Any, n: int) -> Any:
    """`x` added up n times."""
    return mul(x, np.asarray(n).astype(type_of(x).dtype))


psum_p: Primitive = _collective(
    "psum",
    abstract=lambda x, *, axis, lanes: x.strong(),
    own=_psum_own,
    other=lambda x, dim, **params: (bind(psum_p, x, **params), dim),
    transpose=lambda ct, **params: bind(psum_p, ct, **params),
)


# --- all_gather and psum_scatter ------------------------------------------------------------------


def _gather_own(size: int, x: Any, dim: int | None, **_: Any) -> tuple[Any, None]:
    return to_front(size, x, dim), None


all_gather_p: Primitive = _collective(
    "all_gather",
    abstract=lambda x, *, axis, lanes: Type((lanes, *x.shape), x.dtype),
    own=_gather_own,
    other=lambda x, dim, **params: (bind(all_gather_p, x, **params), dim + 1),
    transpose=lambda ct, **params: bind(psum_scatter_p, ct, **params),
)


def _scatter_abstract(x: Type, *, axis: str, lanes: int) -> Type:
    _stacked("psum_scatter", x, lanes)
    return Type(x.shape[1:], x.dtype)


def _scatter_own(size: int, x: Any, dim: int | None, **_: Any) -> tuple[Any, int]:
    if dim is None:  # each lane has the same rows, and gets its own, as often as there are lanes
        return times(x, size), 0
    return bind(lookup("reduce_sum"), x, axes=(dim,)), 0


def _scatter_other(x: Any, dim: int, **params: Any) -> tuple[Any, int]:
    return bind(psum_scatter_p, move_axis(x, dim, 1), **params), 0


psum_scatter_p: Primitive = _collective(
    "psum_scatter",
    abstract=_scatter_abstract,
    own=_scatter_own,
    other=_scatter_other,
    transpose=lambda ct, **params: bind(all_gather_p, ct, **params),
)


# --- ppermute -------------------------------------------------------------------------------------


def _permute_own(size: int, x: Any, dim: int | None, axis: str, perm: Permutation, **_: Any) -> tuple[Any, int | None]:
    if dim is None and len(perm) == size:
        return x, None
    x = to_front(size, x, dim)
    source = {t: s for s, t in perm}
    parts: list[Any] = []
    start = 0
    while start < size:
        first = source.get(start)
        stop, step = start + 1, 0
        if first is None:
            while stop < size and stop not in source:
                stop += 1
            t = type_of(x)
            parts.append(zeros(Type((stop - start, *t.shape[1:]), t.dtype)))
        else:
            if source.get(stop, -2) - first in (1, -1):
                step = source[stop] - first
            while step and stop < size and source.get(stop, -2) == first + (stop - start) * step:
                stop += 1
            low = first if step >= 0 else first - (stop - start - 1)
            rows = slice_axis(x, 0, low, low + stop - start)
            parts.append(flip(rows, (0,)) if step < 0 else rows)
        start = stop
    return parts[0] if len(parts) == 1 else concatenate(parts, 0), 0


def _inverse(ct: Any, perm: Permutation, **params: Any) -> Any:
    return bind(ppermute_p, ct, perm=tuple((t, s) for s, t in perm), **params)


ppermute_p: Primitive = _collective(
    "ppermute",
    abstract=lambda x, *, axis, lanes, perm: x.strong(),
    own=_permute_own,
    other=lambda x, dim, **params: (bind(ppermute_p, x, **params), dim),
    transpose=_inverse,
)


# --- all_to_all -----------------------------------------------------------------------------------


def _all_to_all_abstract(x: Type, *, axis: str, lanes: int) -> Type:
    _stacked("all_to_all", x, lanes)
    return x.strong()


def _all_to_all_own(size: int, x: Any, dim: int | None, **_: Any) -> tuple[Any, int]:
    # Lane l's row j becomes lane j's row l: the mapped axis and the first change places.
    return (insert_axis(x, 1, size) if dim is None else move_axis(x, dim, 1)), 0


def _all_to_all_other(x: Any, dim: int, **params: Any) -> tuple[Any, int]:
    return bind(all_to_all_p, move_axis(x, dim, 1), **params), 1


all_to_all_p: Primitive = _collective(
    "all_to_all",
    abstract=_all_to_all_abstract,
    own=_all_to_all_own,
    other=_all_to_all_other,
    transpose=lambda ct, **params: bind(all_to_all_p, ct, **params),
)


# --- axis_index -----------------------------------------------------------------------------------


def _index_batch(size: int, inputs: Sequence[Any], dims: Dims, *, axis: str, **_: Any) -> tuple[Any, int]:
    assert isinstance(size, Axis) and size.name == axis, (size, axis)
    return iota((int(size),), dtypes.int32, 0), 0


axis_index_p: Primitive = Primitive(
    "axis_index",
    abstract=lambda *, axis, lanes: Type((), dtypes.int32),
    reference=_unbound("axis_index"),
    jvp=lambda primals, tangents, **params: (bind(axis_index_p, **params), Zero(Type((), dtypes.int32))),
    batch=_index_batch,
)

COLLECTIVES = frozenset({"psum", "all_gather", "psum_scatter", "ppermute", "all_to_all", "axis_index"})
"""The names of the primitives of this file."""

__all__ = [
    "COLLECTIVES", "all_gather_p", "all_to_all_p", "axis_index_p", "axis_names", "mentions_axis", "ppermute_p", "psum_p",
    "psum_scatter_p",
]  # fmt: skip
