"""Derivatives: `grad`, `value_and_grad`, `vjp` (reverse mode), `jvp`, `linearize` (forward mode), `stop_gradient`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdl.tracer import dtypes, tree
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise
from fdl.tracer.primitive import Undefined, Zero
from fdl.tracer.transforms.jvp import instantiate, jvp_flat, program_function, tangent_type
from fdl.tracer.transforms.linearize import Linear, linearize_flat
from fdl.tracer.transforms.transpose import backward

from .signature import FlatFunction, argument_name, as_value, check_leaves, name_of

ArgNums = int | Sequence[int]


def value_and_grad(f: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that returns `f`'s value and its gradient.

    Args:
        f: returns a real scalar (0-d); with `has_aux`, a pair (scalar, anything).
        argnums: the position of the argument to differentiate with respect to, or several.
        has_aux: whether `f` returns auxiliary data besides the value.

    Returns:
        A function of `f`'s arguments that returns `(value, gradient)`, or `((value, aux), gradient)`.  The gradient has
        the structure of the argument; a tuple of them when `argnums` is a sequence.

    Raises: DTypeError when the argument is not floating-point, ShapeError when the value is no scalar.

    Example:
        >>> import fdl
        >>> value, slope = fdl.value_and_grad(lambda x: x * x)(3.0)
        >>> float(value), float(slope)
        (9.0, 6.0)
    """
    several = not isinstance(argnums, int)
    positions: tuple[int, ...] = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    _check_callable(f, "grad")

    @functools.wraps(f)
    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        chosen = [_position(f, p, len(args)) for p in positions]
        for p in chosen:
            _check_inexact(f, "grad", argument_name(f, p), args[p])
        structures = [tree.flatten(args[p]) for p in chosen]
        flat = [x for leaves, _ in structures for x in leaves]

        def inner(*leaves: Any) -> Any:
            rest, new = iter(leaves), list(args)
            for p, (old, s) in zip(chosen, structures, strict=True):
                new[p] = tree.unflatten(s, [next(rest) for _ in old])
            return f(*new, **kwargs)

        inner.__name__ = name_of(f)
        function = FlatFunction(inner, tree.structure((tuple(flat), {})), has_aux)
        outs, linear = linearize_flat(function, flat, [True] * len(flat), f"grad({name_of(f)})")
        _check_scalar(f, function, outs)
        ct = np.ones((), type_of(outs[0]).dtype)
        grads = iter(_pull(linear, [type_of(x) for x in flat], [ct]))
        result = tuple(tree.unflatten(s, [next(grads) for _ in leaves]) for leaves, s in structures)
        value = _arrays(tree.unflatten(function.out_structure, outs))
        gradient = result if several else result[0]
        return ((value, function.aux), gradient) if has_aux else (value, gradient)

    return value_and_gradient


def grad(f: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that returns the gradient of `f`: see `value_and_grad`. With `has_aux` it returns `(gradient, aux)`.

    Example:
        >>> import fdl
        >>> float(fdl.grad(fdl.grad(lambda x: x**3))(2.0))
        12.0
    """
    both = value_and_grad(f, argnums, has_aux)

    @functools.wraps(f)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, g = both(*args, **kwargs)
        return (g, value[1]) if has_aux else g

    return gradient


def vjp(f: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """`f`'s output, and the function that pulls a cotangent of the output back to cotangents of the arguments.

    Returns: `(output, pullback)`, or `(output, pullback, aux)`.  `pullback(ct)` takes a pytree like the output and returns a tuple of
    pytrees like the primals; integer arguments get zeros.

    Example:
        >>> import fdl
        >>> y, pull = fdl.vjp(lambda a, b: a * b, 2.0, 3.0)
        >>> [float(x) for x in pull(1.0)]
        [3.0, 2.0]
    """
    _check_callable(f, "vjp")
    for i, p in enumerate(primals):
        check_leaves(f, "vjp", argument_name(f, i), p)
    flat, structure = tree.flatten(primals)
    function = FlatFunction(
        lambda *args: f(*args), tree.Structure(tuple, None, (structure, tree.structure({})), len(flat)), has_aux
    )
    function.__name__ = name_of(f)
    moving = [dtypes.is_inexact(type_of(x).dtype) for x in flat]
    outs, linear = linearize_flat(function, flat, moving, f"vjp({name_of(f)})")
    types, out_types = [type_of(x) for x in flat], [type_of(x) for x in outs]
    out_structure = function.out_structure

    def pullback(ct: Any) -> Any:
        cts, given = tree.flatten(ct)
        if given != out_structure:
            raise ShapeError(f"vjp({name_of(f)}): {tree.difference(out_structure, given, 'cotangent')}{at(user_source())}")
        ready = [_cast(c, t, f"vjp({name_of(f)}): the cotangent") for c, t in zip(cts, out_types, strict=True)]
        moved = iter(
            _pull(
                linear,
                [t for t, m in zip(types, moving, strict=True) if m],
                [c for c, m in zip(ready, linear.moving, strict=True) if m],
            )
        )
        grads = [next(moved) if m else instantiate(Zero(t)) for t, m in zip(types, moving, strict=True)]
        return tree.unflatten(structure, [as_value(g) for g in grads])

    output = _arrays(tree.unflatten(out_structure, outs))
    return (output, pullback, function.aux) if has_aux else (output, pullback)


def jvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False) -> Any:
    """`f`'s output at `primals` and its derivative along `tangents`, a pytree like `primals`.

    Example:
        >>> import fdl
        >>> y, y_dot = fdl.jvp(lambda x: x * x, (3.0,), (1.0,))
        >>> float(y), float(y_dot)
        (9.0, 6.0)
    """
    flat, dots, function = _forward_arguments(f, primals, tangents, "jvp", has_aux)
    outs, out_dots = jvp_flat(function, flat, dots, f"jvp({name_of(f)})")
    s = function.out_structure
    output = _arrays(tree.unflatten(s, outs))
    moved = _arrays(tree.unflatten(s, [instantiate(d) for d in out_dots]))
    return (output, moved, function.aux) if has_aux else (output, moved)


def linearize(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """`f`'s output at `primals`, and its derivative there as a linear function of tangents, which does not run `f` again.

    Example:
        >>> import fdl
        >>> y, push = fdl.linearize(lambda x: x * x, 3.0)
        >>> float(push(2.0))
        12.0
    """
    _check_callable(f, "linearize")
    flat, structure = tree.flatten(primals)
    zeros = tree.unflatten(structure, [np.zeros(type_of(x).shape, type_of(x).dtype) for x in flat])
    flat, _, function = _forward_arguments(f, primals, zeros, "linearize", False)
    moving = [dtypes.is_inexact(type_of(x).dtype) for x in flat]
    outs, linear = linearize_flat(function, flat, moving, f"linearize({name_of(f)})")
    s = function.out_structure

    def push(*tangents: Any) -> Any:
        _, dots, _ = _forward_arguments(f, primals, tangents, "linearize", False)
        return _arrays(tree.unflatten(s, _push(linear, [d for d, m in zip(dots, moving, strict=True) if m])))

    return _arrays(tree.unflatten(s, outs)), push


def stop_gradient(x: Any) -> Any:
    """`x`, a pytree of arrays, treated as a constant by every derivative.

    Example:
        >>> import fdl
        >>> float(fdl.grad(lambda x: x * fdl.stop_gradient(x))(3.0))
        3.0
    """
    return tree.map(lambda a: elementwise.stop_gradient(as_value(a)), x)


# --- checks and conversions -----------------------------------------------------------------------


def _pull(linear: Linear, types: Sequence[Any], cts: Sequence[Any]) -> list[Any]:
    """The cotangents of the moving inputs, as values."""
    inputs = [*linear.residuals, *(Undefined(tangent_type(t)) for t in types)]
    given = cts if len(cts) == sum(linear.moving) else []
    found = backward(linear.program, inputs, given)[len(linear.residuals) :]
    return [as_value(instantiate(x)) for x in found]


def _push(linear: Linear, dots: Sequence[Any]) -> list[Any]:
    moved = iter(program_function(linear.program)(*linear.residuals, *(instantiate(d) for d in dots)))
    return [next(moved) if m else instantiate(Zero(t)) for t, m in zip(linear.out_types, linear.moving, strict=True)]


def _arrays(x: Any) -> Any:
    return tree.map(as_value, x)


def _check_callable(f: Any, transform: str) -> None:
    if not callable(f):
        raise TypeError(f"{transform} expects a function, got {f!r} of type {type(f).__name__}.{at(user_source())}")


def _position(f: Callable[..., Any], p: int, n: int) -> int:
    if not -n <= p < n:
        raise ValueError(
            f"grad({name_of(f)}): argnums={p}, but the call has {n} positional arguments. "
            f"Pass that argument by position.{at(user_source())}"
        )
    return p % n


def _check_inexact(f: Callable[..., Any], transform: str, root: str, value: Any) -> None:
    check_leaves(f, transform, root, value)
    for path, leaf in tree.flatten_with_paths(value)[0]:
        t = type_of(leaf)
        if not dtypes.is_inexact(t.dtype):
            raise DTypeError(
                f"{transform}({name_of(f)}): argument {tree.path_str(path, root)} has dtype {t.dtype.name}, expected "
                f"a floating-point one. Convert it with .astype(float), or choose other argnums.{at(user_source())}"
            )


def _check_scalar(f: Callable[..., Any], function: FlatFunction, outs: Sequence[Any]) -> None:
    if function.out_structure != tree.LEAF or type_of(outs[0]).shape != ():
        got = (
            f"an array of shape {type_of(outs[0]).shape}"
            if function.out_structure == tree.LEAF
            else str(function.out_structure)
        )
        raise ShapeError(
            f"grad({name_of(f)}): the function must return one scalar, got {got}. "
            f"Sum or average it, use has_aux=True for what goes along, or use vjp.{at(user_source())}"
        )
    t = type_of(outs[0])
    if not dtypes.is_float(t.dtype):
        raise DTypeError(
            f"grad({name_of(f)}): the function returns dtype {t.dtype.name}, expected a real floating-point scalar.{at(user_source())}"
        )


def _cast(x: Any, t: Any, what: str) -> Any:
    given = type_of(x)
    if given.shape != t.shape:
        raise ShapeError(f"{what} has shape {given.shape}, expected {t.shape}.{at(user_source())}")
    if given.dtype != t.dtype:
        if not given.weak:
            raise DTypeError(
                f"{what} has dtype {given.dtype.name}, expected {t.dtype.name}. Convert it with .astype.{at(user_source())}"
            )
        return elementwise.convert(x, t.dtype)
    return x


def _forward_arguments(
    f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], transform: str, has_aux: bool
) -> tuple[list[Any], list[Any], FlatFunction]:
    _check_callable(f, transform)
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise TypeError(
            f"{transform}: primals and tangents must be tuples of arguments, got {type(primals).__name__} and {type(tangents).__name__}."
        )
    for i, p in enumerate(primals):
        check_leaves(f, transform, argument_name(f, i), p)
    flat, structure = tree.flatten(tuple(primals))
    dots, given = tree.flatten(tuple(tangents))
    if structure != given:
        raise ShapeError(f"{transform}({name_of(f)}): {tree.difference(structure, given, 'tangents')}{at(user_source())}")
    ready: list[Any] = []
    for path, x, d in zip(tree.paths(structure), flat, dots, strict=True):
        t = type_of(x)
        if not dtypes.is_inexact(t.dtype):
            ready.append(Zero(t))
            continue
        ready.append(_cast(d, t.strong(), f"{transform}({name_of(f)}): tangent{tree.path_str(path)}"))
    function = FlatFunction(f, tree.Structure(tuple, None, (structure, tree.structure({})), len(flat)), has_aux)
    return flat, ready, function
