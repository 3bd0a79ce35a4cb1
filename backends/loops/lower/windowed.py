"""Strided windows: operands of tile kernels that are read where they lie.

A transpose, a reshape that only regroups, and a slice of a stored value are windows of its buffer: other strides, no copy.

May be imported by: the builders of this package.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from fdl.backends.loops.ir import Buffer, Ref, Value
from fdl.backends.loops.values import add, mul
from fdl.backends.loops.values import index as as_index
from fdl.tracer.ir import Atom, Equation, Variable
from fdl.tracer.records import dataclass

from .context import Place, Scope
from .index import ZERO, Shape, groups
from .uses import is_alias


@dataclass(frozen=True, slots=True)
class Window:
    """Element (i, j, ...) of a value is `buffer[offset + i * strides[0] + j * strides[1] + ...]`, in elements of the flat buffer."""

    buffer: Buffer
    offset: Value
    shape: Shape
    strides: tuple[int, ...]

    def ref(self, axes: Sequence[int], fixed: dict[int, Value] | None = None, shape: Sequence[int | Value] | None = None) -> Ref:
        """The window over `axes`, at given positions of other axes; `shape` gives other sizes for `axes`."""
        offset = add(self.offset, *(mul(i, self.strides[a]) for a, i in (fixed or {}).items()))
        sizes = shape if shape is not None else [self.shape[a] for a in axes]
        return Ref(self.buffer, offset, tuple(map(as_index, sizes)), tuple(self.strides[a] for a in axes))


def row_major(shape: Shape) -> tuple[int, ...]:
    """The strides of a dense array."""
    return Buffer("", _ANY, shape).strides


_ANY = ZERO.dtype


def window_of(scope: Scope, a: Atom) -> Window:
    """`a` as a window of a buffer; it is written to memory only where it has to be."""
    if isinstance(a, Variable) and a not in scope.places and a in scope.lazy and a.type.ndim:
        found = _through(scope, scope.lazy[a])
        if found is not None:
            return found
    place = scope.stored(a)
    return placed(place, a.type.shape)


def placed(place: Place, shape: Shape) -> Window:
    """The whole of a stored value of that shape."""
    return Window(place.buffer, place.base, shape, row_major(shape))


def _through(scope: Scope, e: Equation) -> Window | None:
    x = e.inputs[0]
    name = e.primitive.name
    if is_alias(e):
        return window_of(scope, x)
    if name == "transpose":
        w = window_of(scope, x)
        order = e.params["permutation"]
        return Window(w.buffer, w.offset, e.outputs[0].type.shape, tuple(w.strides[a] for a in order))
    if name == "reshape" and 0 not in x.type.shape:
        w = window_of(scope, x)
        strides = regrouped(w, e.outputs[0].type.shape)
        return None if strides is None else Window(w.buffer, w.offset, e.outputs[0].type.shape, strides)
    if name == "slice" and (x in scope.places or (x in scope.lazy and scope.lazy[x].primitive.name in ("transpose", "reshape"))):
        w = window_of(scope, x)
        start, stride = e.params["start"], e.params["stride"]
        offset = add(w.offset, sum(s * t for s, t in zip(start, w.strides, strict=True)))
        return Window(w.buffer, offset, e.outputs[0].type.shape, tuple(s * t for s, t in zip(stride, w.strides, strict=True)))
    return None


def regrouped(w: Window, shape: Shape) -> tuple[int, ...] | None:
    """The strides of a window seen in another shape of its size, or None where one stride for an axis will not do."""
    strides: list[int] = []
    for theirs, ours in groups(w.shape, shape):
        step = run_stride([w.shape[k] for k in theirs], [w.strides[k] for k in theirs])
        if step is None:
            return None
        inner = row_major(tuple(shape[k] for k in ours))
        strides.extend(step * s for s in inner)
    return tuple(strides)


def run_stride(sizes: Sequence[int], strides: Sequence[int]) -> int | None:
    """The stride of several axes walked as one, in row-major order; None where they do not follow on each other."""
    real = [(n, s) for n, s in zip(sizes, strides, strict=True) if n != 1]
    for (_, outer), (n, inner) in itertools.pairwise(real):
        if outer != n * inner:
            return None
    return real[-1][1] if real else 1


@dataclass(frozen=True, slots=True)
class Run:
    """Axes walked as one: their common size, and the stride in each of two arrays."""

    size: int
    first: int
    second: int
    count: int
    """The number of axes that it stands for."""


def runs(sizes: Sequence[int], first: Sequence[int], second: Sequence[int]) -> list[Run]:
    """The fewest runs that a list of axes makes in two arrays at once; axes of size 1 vanish."""
    found: list[Run] = []
    for n, s, t in zip(sizes, first, second, strict=True):
        if n == 1:
            continue
        last = found[-1] if found else None
        if last is not None and last.first == n * s and last.second == n * t:
            found[-1] = Run(last.size * n, s, t, last.count + 1)
        else:
            found.append(Run(n, s, t, 1))
    return found
