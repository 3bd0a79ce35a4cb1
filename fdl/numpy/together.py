"""One kernel for several operations, outside of transformations: `applied` and `compiled`.

`applied` joins an operation and the broadcasting of its operands:

    h + b, with h of shape (128, 24, 24, 32) and b of shape (32,)

Each by itself, broadcasting would write `b` as often as `h` has pixels, for the sum to read it again.  In one program the copies are index
maps.  As with all light operations, only what comes for the second time is worth a kernel, and only what has the same bits either way:
results do not depend on what ran before.

`compiled` joins what is compiled anyway, such as a product, and what is done to its result.

May be imported by: functions that take operands of several shapes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Any

from fdl._slots import LARGE
from fdl.tracer import dtypes
from fdl.tracer.array import Array
from fdl.tracer.ir import Program, Type, freeze, type_of
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


def compiled(function: Callable[..., Any], *operands: Any, **static: Any) -> Any:
    """`function(*operands, **static)`, an array; where all operands are arrays, and nothing is being transformed, by one kernel.

    Args:
        function: what a module or a class holds, and keeps.
        static: what the program depends on, but for the operands.
    """
    if not (is_evaluating() and all(type(x) is Array for x in operands)):
        return function(*operands, **static)
    program = _whole(function, tuple(type_of(x) for x in operands), _Static(freeze(static), static))
    return bind(jit_p, *operands, program=program, name=program.name)[0]


class _Static:
    """Arguments as the key of a cache."""

    def __init__(self, key: Hashable, arguments: dict[str, Any]) -> None:
        self.key, self.arguments = key, arguments

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and self.key == other.key


@functools.lru_cache(maxsize=1024)
def _whole(function: Callable[..., Any], types: tuple[Type, ...], static: _Static) -> Program:
    name = function.__name__
    return record(lambda *xs: [function(*xs, **static.arguments)], types, name=name)[0]


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
