"""Programs and types without values: `make_ir` and `eval_shape`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fdl.tracer import tree
from fdl.tracer.errors import at, user_source
from fdl.tracer.ir import Program, Type
from fdl.tracer.trace import check_array, described, record

from .signature import FlatFunction, argument_name, name_of


def make_ir(f: Callable[..., Any]) -> Callable[..., Program]:
    """A function of `f`'s arguments that returns the program that `f` traces to; arrays that `f` closes over are its constants.

    Example:
        >>> import fdl
        >>> print(fdl.make_ir(lambda x: x * 2.0 + 1.0)(3.0))
        program main(a: f32[]*) {
          b: f32[]* = mul a 2.0:f32*
          c: f32[]* = add b 1.0:f32*
          return c
        }
    """

    def trace(*args: Any, **kwargs: Any) -> Program:
        program, captured, _ = stage(f, args, kwargs, "make_ir")
        n = len(captured)
        return Program(program.inputs[n:], program.equations, program.outputs, program.inputs[:n], tuple(captured), "main")

    return trace


def eval_shape(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The types (shape, dtype) that `f` would return, as a pytree, without computing anything. Arguments may be types too.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> print(fdl.eval_shape(fnp.dot, fnp.ones((2, 3)), fnp.ones((3, 4))))
        f32[2,4]
    """
    program, _, structure = stage(f, args, kwargs, "eval_shape")
    return tree.unflatten(structure, program.out_types)


def stage(
    f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], transform: str
) -> tuple[Program, list[Any], tree.Structure]:
    """The program of a call, what it captured (its first inputs), and the structure of its output."""
    if not callable(f):
        raise TypeError(f"{transform} expects a function, got {described(f)}.{at(user_source())}")
    who = f"{transform}({name_of(f)})"
    labelled: list[tuple[str, Any]] = []
    for i, a in enumerate(args):
        labelled += [(tree.path_str(p, argument_name(f, i)), x) for p, x in tree.flatten_with_paths(a, _is_type)[0]]
    for k in sorted(kwargs):
        labelled += [(tree.path_str(p, k), x) for p, x in tree.flatten_with_paths(kwargs[k], _is_type)[0]]
    leaves, structure = tree.flatten((args, kwargs), _is_type)
    types = [
        x if isinstance(x, Type) else check_array(x, f"{who}: argument {label}")
        for (label, _), x in zip(labelled, leaves, strict=True)
    ]
    function = FlatFunction(f, structure)
    program, captured = record(function, types, who, _identifier(name_of(f)))
    return program, captured, function.out_structure


def _is_type(x: Any) -> bool:
    return isinstance(x, Type)


def _identifier(name: str) -> str:
    return name if name.isidentifier() else "f"
