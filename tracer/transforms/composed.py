"""Elementwise functions that a formula of other primitives computes: the special functions.

`composed(name, formula, *slopes)` declares one primitive with all its rules.  In a program it is one equation; code that is compiled has
the formula in its place, which fuses with what is around it.  The formula is evaluated in float64, whatever the operands' dtype, and
rounded once; one that needs no more than its operands' precision is evaluated in theirs (float16 and bfloat16 in float32).

A derivative is a slope times a tangent.  A slope may be given; where none is, it is the formula itself under forward mode:

    b: f32[3] = gammainc[orders=(0, 0)] a x                       P(a, x)
    c: f32[3] = gammainc[orders=(1, 0)] a x                       its derivative in a

so that any formula has derivatives of any order in both modes, also one with loops, which reverse mode could not go through.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from .. import dtypes
from ..array import own
from ..errors import DTypeError, ShapeError
from ..ir import Program, Type, type_of
from ..ops.elementwise import add_tangents, batch_elementwise, convert, mul, splat
from ..ops.rules import materialised
from ..primitive import Call, Primitive, Zero, run_program
from ..records import dataclass
from ..trace import bind, evaluating, record
from .jvp import jvp_flat

Formula: TypeAlias = Callable[..., Any]


class Constant:
    """In the place of a slope: the function has no derivative in this operand, which counts as a constant."""


CONSTANT = Constant()
Slope: TypeAlias = "Callable[..., Any] | Composed | Constant | None"


@dataclass(frozen=True, slots=True)
class Composed:
    """An elementwise function that binds a primitive; `derivative` binds a derivative of it."""

    primitive: Primitive
    arity: int

    def __call__(self, *xs: Any) -> Any:
        return self.derivative((0,) * self.arity, *xs)

    def derivative(self, orders: tuple[int, ...], *xs: Any) -> Any:
        """The derivative of order `orders[i]` in operand i."""
        return bind(self.primitive, *xs, orders=orders)


def composed(name: str, formula: Formula, *slopes: Slope, eager: str = "numpy", wide: bool = True) -> Composed:
    """The elementwise function `name` of as many floats as there are slopes, computed by `formula`.

    Args:
        formula: takes and returns arrays of one shape, in float64 or, unless `wide`, in float32 or float64.
        slopes: for each operand what its tangent is multiplied by: a function `slope(y, *xs)` of the output and the operands; a `Composed`
            function of the operands; None for the formula's own derivative; CONSTANT where there is none.
        eager: how it runs outside `jit`, as a primitive's `eager`; "compiled" for formulas with loops.
    """
    arity = len(slopes)

    def abstract(*types: Type, orders: tuple[int, ...]) -> Type:
        return _abstract(name, types)

    def reference(*xs: np.ndarray, orders: tuple[int, ...]) -> np.ndarray:
        types = [Type(np.shape(x), x.dtype) for x in xs]
        with np.errstate(all="ignore"):
            return np.asarray(run_program(program({"orders": orders}, types), xs)[0])

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], *, orders: tuple[int, ...]) -> tuple[Any, Any]:
        primals = [own(x) if dtypes.scalar_type(x) is not None else x for x in primals]  # slopes see arrays
        y = bind(primitive, *primals, orders=orders)
        y_dot: Any = Zero(type_of(y))
        for i, (slope, t) in enumerate(zip(slopes, tangents, strict=True)):
            if isinstance(t, Zero) or slope is CONSTANT:
                continue
            if isinstance(slope, Composed):
                s = slope.derivative(orders, *primals)
            elif slope is None or any(orders):
                s = bind(primitive, *primals, orders=tuple(k + (j == i) for j, k in enumerate(orders)))
            else:
                assert callable(slope)
                s = slope(y, *primals)
            y_dot = add_tangents(y_dot, mul(t, s))
        return y, y_dot if isinstance(y_dot, Zero) else splat(y_dot, type_of(y).shape)

    def batch(size: int, xs: Sequence[Any], axes: Sequence[int | None], *, orders: tuple[int, ...]) -> tuple[Any, int]:
        return batch_elementwise(primitive, size, xs, axes, orders=orders)

    @functools.lru_cache(maxsize=256)
    def recorded(orders: tuple[int, ...], types: tuple[Type, ...]) -> Program:
        out = _abstract(name, types)

        working = dtypes.float64 if wide else np.promote_types(dtypes.float32, out.dtype)

        def run(*xs: Any) -> list[Any]:
            operands = [splat(convert(x, working), out.shape) for x in xs]
            return [convert(differentiated(formula, orders)(*operands), out.dtype)]

        with evaluating():
            found, captured = record(run, types, name=name)
        assert not captured, f"{name}: its formula closes over arrays"
        # The lines of the formula are not the user's: each equation has the line of the call.
        return Program(found.inputs, tuple(e.replace(source="") for e in found.equations), found.outputs, name=name)

    def program(params: dict[str, Any], types: Sequence[Type]) -> Program:
        return recorded(params["orders"], tuple(t.strong() for t in types))

    primitive = Primitive(
        name,
        abstract=abstract,
        reference=reference,
        jvp=jvp,
        batch=batch,
        lowering=Call(program, typed=True),
        eager=eager,
    )
    return Composed(primitive, arity)


def _abstract(name: str, types: Sequence[Type]) -> Type:
    first = types[0].dtype
    if any(t.dtype != first for t in types) or not dtypes.is_float(first):
        raise DTypeError(
            f"{name}: operands have dtypes {' and '.join(t.dtype.name for t in types)}, expected one floating-point dtype. "
            "Convert with .astype."
        )
    shapes = {t.shape for t in types if t.shape != ()}
    if len(shapes) > 1:
        raise ShapeError(
            f"{name}: operands have shapes {' and '.join(str(t.shape) for t in types)}, expected one shape, or 0-d."
        )
    return Type(shapes.pop() if shapes else (), first, all(t.weak for t in types))


def differentiated(formula: Formula, orders: Sequence[int]) -> Formula:
    """The formula's derivative of order `orders[i]` in operand i, by forward mode."""
    for i, k in enumerate(orders):
        for _ in range(k):
            formula = _along(formula, i)
    return formula


def _along(formula: Formula, i: int) -> Formula:
    def slope(*xs: Any) -> Any:
        return with_slope(lambda x: formula(*xs[:i], x, *xs[i + 1 :]), xs[i])[1]

    return slope


def with_slope(formula: Formula, x: Any) -> tuple[Any, Any]:
    """The values of an elementwise formula of one operand, and its derivative there."""
    ones = splat(np.ones((), type_of(x).dtype), type_of(x).shape)
    (y,), (dot,) = jvp_flat(lambda x: [formula(x)], [x], [ones])
    return y, materialised(dot)
