"""What `vjp` and `linearize` give back: derivatives at a point, as functions that are pytrees too.

    y, pullback = fdl.vjp(f, x)     pullback's leaves are the residuals of the forward pass; its linear program is static

As a pytree it goes wherever arrays go: out of a jitted function and into another, along the steps of a `scan`, through `vmap`, and from
the forward rule of a `custom_vjp` to the backward one.  Two of them are nested alike when their programs are equal, whatever the
functions are called.

May be imported by: `autodiff`, `jacobians`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, replace
from typing import Any

from fdl.tracer import dtypes, tree
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import Literal, Program, Type, Variable
from fdl.tracer.primitive import Undefined, Zero
from fdl.tracer.records import dataclass
from fdl.tracer.trace import check_array, is_evaluating
from fdl.tracer.transforms.jvp import instantiate, program_function, tangent_type
from fdl.tracer.transforms.linearize import Linear
from fdl.tracer.transforms.transpose import backward

from .checks import arrays, cast, like_primals
from .signature import argument_name, as_value, name_of


@dataclass(frozen=True, slots=True)
class Derivative:
    """What is static of a derivative at a point: the linear program, and what goes in and comes out."""

    program: Program
    moving: tuple[bool, ...]
    """Which outputs the program gives; the others' tangents are zero."""
    inputs: tree.Structure
    in_types: tuple[Type, ...]
    outputs: tree.Structure
    out_types: tuple[Type, ...]
    who: str = field(default="", compare=False)
    """How errors begin: "vjp(loss)"."""
    names: tuple[str, ...] = field(default=(), compare=False)
    """What errors call the function's arguments."""
    evaluated: bool = False
    """Whether the forward pass was run on values, so that 0-d residuals stand in the program as literals."""

    def at(self, residuals: Sequence[Any]) -> Linear:
        """The linear function that these residuals make."""
        return Linear(self.program, tuple(residuals), self.moving, self.out_types)


def derivative_of(
    f: Callable[..., Any], transform: str, inputs: tree.Structure, in_types: Sequence[Type], outputs: tree.Structure, linear: Linear
) -> Derivative:
    """What is static of the derivative of `f`, which `linear` is; weakness of types is of no account."""
    strong, out_types = (tuple(t.strong() for t in types) for types in (in_types, linear.out_types))
    who, names = f"{transform}({name_of(f)})", argument_names(f, inputs)
    return Derivative(linear.program, linear.moving, inputs, strong, outputs, out_types, who, names, is_evaluating())


def argument_names(f: Callable[..., Any], inputs: tree.Structure) -> tuple[str, ...]:
    """What errors call the positional arguments of `f`, of which `inputs` is the tuple."""
    return tuple(argument_name(f, i) for i in range(len(inputs.children)))


class _AtAPoint:
    """A derivative's residuals and its static part: a pytree."""

    __slots__ = ("derivative", "residuals")

    def __init__(self, residuals: Sequence[Any], derivative: Derivative) -> None:
        self.residuals, self.derivative = tuple(residuals), derivative

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} of {self.derivative.who}>"


class Pullback(_AtAPoint):
    """The function from a cotangent of the output to cotangents of the arguments that `vjp` returns."""

    __slots__ = ()

    def __call__(self, *cotangent: Any) -> Any:
        """The tuple of the arguments' cotangents. Raises ShapeError or DTypeError for a cotangent unlike the output."""
        d = self.derivative
        ready = cotangents_like(d.who, cotangent, d.outputs, d.out_types)
        moving = [dtypes.is_inexact(t.dtype) for t in d.in_types]
        return tree.unflatten(d.inputs, pull(d.at(self.residuals), d.in_types, moving, ready))


class Push(_AtAPoint):
    """The function from tangents of the arguments to the tangent of the output that `linearize` returns."""

    __slots__ = ()

    def __call__(self, *tangents: Any) -> Any:
        """The output's tangent. Raises ShapeError or DTypeError that names the tangent unlike its argument."""
        d = self.derivative
        dots = [x for x in like_primals(d.who, d.names, d.inputs, d.in_types, tangents) if x is not None]
        moved = iter(program_function(d.program)(*self.residuals, *dots))
        outs = [next(moved) if m else instantiate(Zero(t)) for t, m in zip(d.out_types, d.moving, strict=True)]
        return arrays(tree.unflatten(d.outputs, outs))


def _flatten(x: _AtAPoint) -> tuple[tuple[Any, ...], Derivative]:
    """The residuals, 0-d ones included, and what is static: equal at every point, so that a jitted function compiles once."""
    d = x.derivative
    if not d.evaluated:
        return x.residuals, d
    program, values = _opened(d.program)
    return (*values, *x.residuals), replace(d, program=program, evaluated=False)


def _opened(program: Program) -> tuple[Program, tuple[Any, ...]]:
    """`program` with the literals of its equations as its first inputs, and their values.

    b: f32[3] = mul a 0.84     →     c: f32[3] = mul a b, and 0.84 for b
    """
    opened: list[Variable] = []
    values: list[Any] = []

    def variable(a: Any) -> Any:
        if not isinstance(a, Literal):
            return a
        opened.append(Variable(a.type.strong()))
        values.append(a.value)
        return opened[-1]

    equations = tuple([e.replace(inputs=tuple([variable(a) for a in e.inputs])) for e in program.equations])
    inputs = (*opened, *program.inputs)
    return Program(inputs, equations, program.outputs, program.constants, program.values, program.name), tuple(values)


tree.register(Pullback, _flatten, lambda derivative, residuals: Pullback(residuals, derivative))
tree.register(Push, _flatten, lambda derivative, residuals: Push(residuals, derivative))


def pull(linear: Linear, types: Sequence[Type], moving: Sequence[bool], cts: Sequence[Any]) -> list[Any]:
    """The cotangents of inputs of these types, as values: zeros where an input does not move.

    Args:
        cts: a cotangent for each output; those of outputs that do not move are left out.
    """
    inputs = [*linear.residuals, *(Undefined(tangent_type(t)) for t, m in zip(types, moving, strict=True) if m)]
    given = [c for c, m in zip(cts, linear.moving, strict=True) if m]
    found = iter(backward(linear.program, inputs, given)[len(linear.residuals) :])
    return [as_value(instantiate(next(found) if m else Zero(t.strong()))) for t, m in zip(types, moving, strict=True)]


def cotangents_like(what: str, given: tuple[Any, ...], structure: tree.Structure, types: Sequence[Type]) -> list[Any]:
    """The leaves of the one cotangent that is given, checked against the output it belongs to; errors begin with `what`."""
    if len(given) != 1:
        raise TypeError(
            f"{what}: it takes one cotangent, a pytree like the output, got {len(given)} arguments. For several outputs give one "
            f"tuple, or whatever the function returns.{at(user_source())}"
        )
    (ct,) = given
    for path, x in tree.flatten_with_paths(ct)[0]:
        check_array(x, f"{what}: the cotangent{tree.path_str(path)}")
    cts, nested = tree.flatten(ct)
    if nested != structure:
        difference = tree.difference(structure, nested, "cotangent")
        raise ShapeError(f"{what}: the cotangent is not nested like the output: {difference}.{at(user_source())}")
    paths = tree.paths(structure)
    return [
        cast(c, t.strong(), f"{what}: the cotangent{tree.path_str(path)}") for path, c, t in zip(paths, cts, types, strict=True)
    ]
