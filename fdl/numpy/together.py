"""One kernel for an operation and the broadcasting of its operands, outside of transformations.

    h + b, with h of shape (128, 24, 24, 32) and b of shape (32,)

Each by itself, broadcasting would write `b` as often as `h` has pixels, for the sum to read it again.  In one program the copies are index
maps.  As with all light operations, only what comes for the second time is worth a kernel, and only what has the same bits either way:
results do not depend on what ran before.

May be imported by: functions that take operands of several shapes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from fdl._slots import LARGE
from fdl.tracer import dtypes
from fdl.tracer.array import Array
from fdl.tracer.ir import Program, Type, type_of
from fdl.tracer.scalars import SCALARS
from fdl.tracer.trace import bind, is_evaluating, record
from fdl.tracer.transforms.call import jit_p

from .promote import broadcast_operands, broadcast_shapes


def applied(name: str, function: Callable[..., Any], operands: list[Any]) -> Any:
    """`function`, an elementwise operation, of two operands broadcast to one shape.

    Args:
        name: of the function that the user called, for errors.
        operands: of one dtype; 0-d ones stay 0-d.

    Raises: ShapeError when the shapes do not broadcast.
    """
    x1, x2 = operands
    if type(x1) is Array and type(x2) is Array and x1.shape == x2.shape:
        return function(x1, x2)
    if is_evaluating() and any(type(x) is Array and x.size >= LARGE for x in operands) and _differ(operands):
        types = tuple(type_of(x) for x in operands)
        if _is_exact(function, types[0]):
            broadcast_shapes(name, *(t.shape for t in types))
            known = _known(function, types)
            if known.again():
                return bind(jit_p, *operands, program=known.program, name=name)[0]
    return function(*broadcast_operands(name, *operands))


def _differ(operands: list[Any]) -> bool:
    """Whether they are arrays of several shapes, of which 0-d ones do not count."""
    return all(type(x) is Array for x in operands) and len({x.shape for x in operands if x.ndim}) > 1


def _is_exact(function: Callable[..., Any], t: Type) -> bool:
    scalar = SCALARS.get(function.__name__)
    return scalar is not None and scalar.exact and not dtypes.is_complex(t.dtype)


class _Known:
    """An operation on certain types: whether it was asked for before, and its program."""

    def __init__(self, function: Callable[..., Any], types: tuple[Type, ...]) -> None:
        self.function, self.types = function, types
        self.asked = False

    def again(self) -> bool:
        """Whether this is not the first time that it is asked."""
        before, self.asked = self.asked, True
        return before

    @functools.cached_property
    def program(self) -> Program:
        """Broadcasting and the operation."""
        name = self.function.__name__
        return record(lambda *xs: [self.function(*broadcast_operands(name, *xs))], self.types, name=name)[0]


@functools.lru_cache(maxsize=1024)
def _known(function: Callable[..., Any], types: tuple[Type, ...]) -> _Known:
    return _Known(function, types)
