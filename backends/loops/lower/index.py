"""Index expressions of lowering: where an element of an array is, and the arithmetic that views do on it.

An `At` names an element of an array by the indices of a loop nest.  Its `shape` may differ from the array's as long as both
hold equally many elements in the same row-major order: a reshape then costs nothing where only the flat position matters (a
load), and a division only where axes are split in a way that the loops do not follow.

May be imported by: the builders of this package.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from fdl.backends.loops.ir import INDEX, Const, Value
from fdl.backends.loops.values import Ranges, add, bounds, flatten, floordiv, mod, mul, sub, unflatten
from fdl.backends.loops.values import index as as_index
from fdl.tracer.records import dataclass

Shape = tuple[int, ...]
ZERO = Const(0, INDEX)


@dataclass(frozen=True, slots=True)
class At:
    """Element `index` of an array seen in `shape`."""

    shape: Shape
    index: tuple[Value, ...]


SCALAR = At((), ())


def reshaped(at: At, shape: Shape, ranges: Ranges) -> tuple[Value, ...]:
    """The indices, in an array of `shape`, of the element that `at` names. Axes whose sizes match stay as they are.

    Example:
        >>> from fdl.backends.loops.values import var
        >>> i, j = var("i"), var("j")
        >>> reshaped(At((6, 5), (i, j)), (6, 5, 1), {}) == (i, j, ZERO)
        True
    """
    if at.shape == shape:
        return at.index
    if 0 in shape:
        return (ZERO,) * len(shape)
    result: list[Value] = []
    for theirs, ours in groups(at.shape, shape):
        position = flatten([at.index[k] for k in theirs], [at.shape[k] for k in theirs])
        result.extend(unflatten(position, [shape[k] for k in ours], ranges))
    return tuple(result)


def groups(a: Shape, b: Shape) -> list[tuple[range, range]]:
    """The smallest runs of axes of `a` and of `b` with equal products, in order; for shapes of one size, without zeros."""
    assert math.prod(a) == math.prod(b), (a, b)
    found: list[tuple[range, range]] = []
    i = j = 0
    while i < len(a) or j < len(b):
        start_i, start_j, p, q = i, j, 1, 1
        if i < len(a):
            p, i = a[i], i + 1
        if j < len(b):
            q, j = b[j], j + 1
        while p != q:
            if p < q:
                p, i = p * a[i], i + 1
            else:
                q, j = q * b[j], j + 1
        found.append((range(start_i, i), range(start_j, j)))
    return found


class Expression:
    """An int64 value with `+ - * // %` by ints (and `+ -` among themselves): what `View.index` computes with."""

    __slots__ = ("ranges", "value")

    def __init__(self, value: Value, ranges: Ranges) -> None:
        self.value, self.ranges = value, ranges

    def _new(self, value: Value) -> Expression:
        return Expression(value, self.ranges)

    def __add__(self, other: Expression | int) -> Expression:
        return self._new(add(self.value, plain(other)))

    __radd__ = __add__

    def __sub__(self, other: Expression | int) -> Expression:
        return self._new(sub(self.value, plain(other)))

    def __rsub__(self, other: Expression | int) -> Expression:
        return self._new(sub(plain(other), self.value))

    def __neg__(self) -> Expression:
        return self._new(sub(0, self.value))

    def __mul__(self, other: int) -> Expression:
        return self._new(mul(self.value, other))

    __rmul__ = __mul__

    def __floordiv__(self, other: int) -> Expression:
        return self._new(floordiv(self.value, other, self.ranges))

    def __mod__(self, other: int) -> Expression:
        return self._new(mod(self.value, other, self.ranges))


def plain(e: Expression | Value | int) -> Value:
    """The value of an expression or an int."""
    return e.value if isinstance(e, Expression) else as_index(e)


def expressions(index: Sequence[Value], ranges: Ranges) -> list[Expression | int]:
    """Indices as what a view's index function takes; constants as ints, which need no arithmetic."""
    return [int(v.value) if isinstance(v, Const) else Expression(v, ranges) for v in index]


def within(e: Expression | int, low: int, high: int) -> tuple[bool, bool]:
    """Whether `low <= e` and `e < high` are known to hold."""
    least, most = bounds(plain(e), e.ranges if isinstance(e, Expression) else {})
    return low <= least, most < high
