"""Cotangents of slices, put together.

A value that is read in slices gets a cotangent from each.  The sum of each one padded with zeros writes the whole array as often
as there are slices; where the slices lie side by side along one axis, as the gates of an LSTM do, their concatenation is the same sum.

    ct = pad(a) + pad(b) + pad(c)   →   ct = concatenate(a, b, zeros, c)

May be imported by: `transpose`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any

import numpy as np

from ..ir import Equation, Type, type_of
from ..ops.elementwise import add_tangents, splat
from ..ops.shape import concatenate, pad
from ..records import dataclass


def is_piece(e: Equation) -> bool:
    """Whether an equation takes a slice of neighbouring elements."""
    return (
        e.primitive.name == "slice" and all(s == 1 for s in e.params["stride"]) and all(n > 0 for n in e.outputs[0].type.shape)
    )


@dataclass(slots=True)
class Pieces:
    """The cotangent of one value so far: a sum, and pieces that are still apart."""

    type: Type
    total: Any = None
    pieces: list[tuple[tuple[int, ...], Any]] = field(default_factory=list)
    """(start along each axis, cotangent of the slice)."""

    def add(self, x: Any) -> None:
        """Adds a cotangent of the whole value."""
        self.total = x if self.total is None else add_tangents(self.total, x)

    def add_piece(self, start: Sequence[int], x: Any) -> None:
        """Adds the cotangent of the slice that begins at `start`."""
        self.pieces.append((tuple(start), x))

    def settled(self) -> Any:
        """The cotangent."""
        if self.pieces:
            together = _side_by_side(self.type, self.pieces)
            for x in [self._padded(*p) for p in self.pieces] if together is None else [together]:
                self.add(x)
            self.pieces = []
        return self.total

    def _padded(self, start: tuple[int, ...], x: Any) -> Any:
        config = [(lo, n - lo - m, 0) for lo, n, m in zip(start, self.type.shape, type_of(x).shape, strict=True)]
        return pad(x, np.zeros((), type_of(x).dtype), config)


def _side_by_side(whole: Type, pieces: Sequence[tuple[tuple[int, ...], Any]]) -> Any:
    """The concatenation of pieces that are apart along one axis and whole along the others; None where they are not, or one is alone."""
    shapes = [type_of(x).shape for _, x in pieces]
    axes = [a for a, n in enumerate(whole.shape) if any(s[a] != n for s in shapes)]
    if len(pieces) < 2 or len(axes) != 1:
        return None
    (axis,) = axes
    parts: list[Any] = []
    at = 0
    for start, x in sorted(((s[axis], x) for s, x in pieces), key=lambda p: p[0]):
        if start < at:
            return None
        parts += _gap(whole, axis, start - at, x)
        parts.append(x)
        at = start + type_of(x).shape[axis]
    return concatenate([*parts, *_gap(whole, axis, whole.shape[axis] - at, pieces[0][1])], axis)


def _gap(whole: Type, axis: int, size: int, like: Any) -> list[Any]:
    """Zeros between two pieces, if there is room."""
    if not size:
        return []
    return [splat(np.zeros((), type_of(like).dtype), (*whole.shape[:axis], size, *whole.shape[axis + 1 :]))]
