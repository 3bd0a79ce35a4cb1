"""Programs and types without values: `make_ir`, `eval_shape`, `ShapeDtypeStruct`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from fdl.tracer import dtypes, tree
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import Program, Type
from fdl.tracer.trace import described, record

from .signature import FlatFunction, argument_name, name_of, stands_for


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
    """The types (shape, dtype) that `f` would return, as a pytree, without computing anything.

    Arguments may be types too: what `eval_shape` or `ShapeDtypeStruct` returns, or anything that has a `shape` and a `dtype`.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> print(fdl.eval_shape(fnp.dot, fnp.ones((2, 3)), fnp.ones((3, 4))))
        f32[2,4]
    """
    program, _, structure = stage(f, args, kwargs, "eval_shape")
    return tree.unflatten(structure, program.out_types)


def ShapeDtypeStruct(shape: Sequence[int], dtype: Any) -> Type:
    """The type of an array, for where no value is needed: `eval_shape`, `jit(f).lower`, `linear_transpose`, the result of a callback.

    Raises: TypeError for what is no shape or no dtype.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> image = fdl.ShapeDtypeStruct((28, 28), "float32")
        >>> print(fdl.eval_shape(fnp.sum, image), fdl.jit(fnp.sum).lower(image).compile()(fnp.ones((28, 28))))
        f32[] 784.0
    """
    try:
        sizes = tuple(operator.index(n) for n in shape)
    except TypeError:
        raise TypeError(f"ShapeDtypeStruct: shape: expected a tuple of ints, got {described(shape)}.{at(user_source())}") from None
    if any(n < 0 for n in sizes):
        raise ShapeError(f"ShapeDtypeStruct: shape: expected sizes that are not negative, got {sizes}.{at(user_source())}")
    return Type(sizes, dtypes.of(dtype))


def stage(
    f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], transform: str
) -> tuple[Program, list[Any], tree.Structure]:
    """The program of a call, what it captured (its first inputs), and the structure of its output."""
    if not callable(f):
        raise TypeError(f"{transform} expects a function, got {described(f)}.{at(user_source())}")
    who = f"{transform}({name_of(f)})"
    labelled: list[tuple[str, Any]] = []
    for i, a in enumerate(args):
        labelled += [(tree.path_str(p, argument_name(f, i)), x) for p, x in tree.flatten_with_paths(a)[0]]
    for k in sorted(kwargs):
        labelled += [(tree.path_str(p, k), x) for p, x in tree.flatten_with_paths(kwargs[k])[0]]
    leaves, structure = tree.flatten((args, kwargs))
    types = [stands_for(x, f"{who}: argument {label}") for (label, _), x in zip(labelled, leaves, strict=True)]
    function = FlatFunction(f, structure)
    program, captured = record(function, types, who, _identifier(name_of(f)))
    return program, captured, function.out_structure


def _identifier(name: str) -> str:
    return name if name.isidentifier() else "f"
