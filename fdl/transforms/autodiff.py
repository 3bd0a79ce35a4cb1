"""Derivatives: `grad`, `value_and_grad`, `vjp` (reverse mode), `jvp`, `linearize` (forward mode), `linear_transpose`, `stop_gradient`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdl.tracer import dtypes, tree
from fdl.tracer.errors import DTypeError, MissingRuleError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise
from fdl.tracer.primitive import Zero
from fdl.tracer.trace import check_array, described, record
from fdl.tracer.transforms.jvp import instantiate, jvp_flat
from fdl.tracer.transforms.linearize import Linear, linearize_flat

from .checks import (
    ArgNums,
    Differentiated,
    arrays,
    check_callable,
    check_inputs,
    check_scalar,
    flat_function,
    flat_primals,
    like_primals,
    positions_of,
)
from .linear_maps import Pullback, Push, argument_names, cotangents_like, derivative_of, pull
from .signature import argument_name, as_value, name_of, stands_for


def value_and_grad(
    f: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False, holomorphic: bool = False, allow_int: bool = False
) -> Callable[..., Any]:
    """A function that returns `f`'s value and its gradient.

    Args:
        f: returns a real scalar (0-d); with `has_aux`, a pair (scalar, anything).
        argnums: the position of the argument to differentiate with respect to, or several.
        has_aux: whether `f` returns auxiliary data besides the value.
        holomorphic: whether `f` is a holomorphic function of complex arguments; its value is then complex.
        allow_int: whether arguments may hold integers and booleans, whose gradient is zeros of their own dtype.

    Returns:
        A function of `f`'s arguments that returns `(value, gradient)`, or `((value, aux), gradient)`.  The gradient has
        the structure of the argument; a tuple of them when `argnums` is a sequence.  For a complex argument z = x + iy of a
        real function it is ∂f/∂x − i ∂f/∂y, as in JAX: descend along its conjugate.

    Raises: DTypeError naming the argument that is not floating-point, ShapeError when the value is no scalar.

    Example:
        >>> import fdl
        >>> value, slope = fdl.value_and_grad(lambda x: x * x)(3.0)
        >>> float(value), float(slope)
        (9.0, 6.0)
    """
    return _value_and_grad("value_and_grad", f, argnums, has_aux, holomorphic, allow_int)


def _value_and_grad(
    transform: str, f: Callable[..., Any], argnums: ArgNums, has_aux: bool, holomorphic: bool, allow_int: bool
) -> Callable[..., Any]:
    check_callable(f, transform)
    positions_of(transform, argnums)

    @functools.wraps(f)
    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        chosen = Differentiated(f, transform, argnums, args, kwargs, has_aux)
        check_inputs(f, transform, chosen, holomorphic=holomorphic, allow_int=allow_int)
        moving = [dtypes.is_inexact(t.dtype) for t in chosen.types]
        function = chosen.function
        outs, linear = linearize_flat(function, chosen.leaves, moving, f"grad({name_of(f)})")
        check_scalar(f, transform, function, outs, holomorphic)
        ct = np.ones((), type_of(outs[0]).dtype)
        gradient = chosen.tree_of(pull(linear, chosen.types, moving, [ct]))
        value = arrays(tree.unflatten(function.out_structure, outs))
        return ((value, function.aux), gradient) if has_aux else (value, gradient)

    return value_and_gradient


def grad(
    f: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False, holomorphic: bool = False, allow_int: bool = False
) -> Callable[..., Any]:
    """A function that returns the gradient of `f`: see `value_and_grad`. With `has_aux` it returns `(gradient, aux)`.

    Example:
        >>> import fdl
        >>> float(fdl.grad(fdl.grad(lambda x: x**3))(2.0))
        12.0
    """
    both = _value_and_grad("grad", f, argnums, has_aux, holomorphic, allow_int)

    @functools.wraps(f)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, g = both(*args, **kwargs)
        return (g, value[1]) if has_aux else g

    return gradient


def vjp(f: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """`f`'s output, and the function that pulls a cotangent of the output back to cotangents of the arguments.

    Returns: `(output, pullback)`, or `(output, pullback, aux)`.  `pullback(ct)` takes a pytree like the output and returns a tuple of
        pytrees like the primals; integer arguments get zeros.  It is a pytree itself, of what the forward pass left behind: a
        jitted function may return it, a `scan` stack it, and a `custom_vjp` rule keep it as its residual.

    Raises: DTypeError naming the argument that is no array; the pullback, ShapeError or DTypeError for a cotangent unlike the
        output.

    Example:
        >>> import fdl
        >>> y, pull = fdl.vjp(lambda a, b: a * b, 2.0, 3.0)
        >>> [float(x) for x in pull(1.0)]
        [3.0, 2.0]
    """
    flat, structure, function = flat_primals(f, "vjp", primals, has_aux)
    types = [type_of(x) for x in flat]
    outs, linear = linearize_flat(function, flat, [dtypes.is_inexact(t.dtype) for t in types], f"vjp({name_of(f)})")
    output = arrays(tree.unflatten(function.out_structure, outs))
    pullback = Pullback(linear.residuals, derivative_of(f, "vjp", structure, types, function.out_structure, linear))
    return (output, pullback, function.aux) if has_aux else (output, pullback)


def jvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False) -> Any:
    """`f`'s output at `primals` and its derivative along `tangents`, a tuple of pytrees like `primals`.

    Returns: `(output, tangent)`, or `(output, tangent, aux)` when `f` returns a pair and `has_aux` is given.

    Raises: DTypeError and ShapeError that name the argument, or the tangent unlike it.

    Example:
        >>> import fdl
        >>> y, y_dot = fdl.jvp(lambda x: x * x, (3.0,), (1.0,))
        >>> float(y), float(y_dot)
        (9.0, 6.0)
    """
    return push_along("jvp", f, f, primals, tangents, has_aux)


def push_along(
    transform: str, f: Callable[..., Any], g: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool
) -> Any:
    """`jvp` of `g` under the name that errors give it; they call the function `f`, which has the same arguments."""
    check_callable(f, transform)
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise TypeError(
            f"{transform}: primals and tangents must be tuples of arguments, got {described(primals)} and {described(tangents)}. "
            f"For one argument: {transform}(f, (x,), (x_dot,)).{at(user_source())}"
        )
    flat, structure, function = flat_primals(g, transform, primals, has_aux)
    types = [type_of(x) for x in flat]
    dots = like_primals(f"{transform}({name_of(f)})", argument_names(f, structure), structure, types, tangents)
    given = [Zero(t) if d is None else d for d, t in zip(dots, types, strict=True)]
    outs, out_dots = jvp_flat(function, flat, given, f"{transform}({name_of(f)})")
    s = function.out_structure
    output = arrays(tree.unflatten(s, outs))
    moved = arrays(tree.unflatten(s, [instantiate(d) for d in out_dots]))
    return (output, moved, function.aux) if has_aux else (output, moved)


def linearize(f: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """`f`'s output at `primals`, and its derivative there as a linear function of tangents, which does not run `f` again.

    Returns: `(output, push)`, or `(output, push, aux)`. `push(*tangents)` takes pytrees like the primals and returns one like
        the output. It is a pytree itself, as `vjp`'s pullback is.

    Example:
        >>> import fdl
        >>> y, push = fdl.linearize(lambda x: x * x, 3.0)
        >>> float(push(2.0))
        12.0
    """
    flat, structure, function = flat_primals(f, "linearize", primals, has_aux)
    types = [type_of(x) for x in flat]
    outs, linear = linearize_flat(function, flat, [dtypes.is_inexact(t.dtype) for t in types], f"linearize({name_of(f)})")
    output = arrays(tree.unflatten(function.out_structure, outs))
    push = Push(linear.residuals, derivative_of(f, "linearize", structure, types, function.out_structure, linear))
    return (output, push, function.aux) if has_aux else (output, push)


def linear_transpose(f: Callable[..., Any], *types: Any) -> Callable[..., Any]:
    """The transpose of a linear function: from a cotangent of its output to cotangents of its arguments, without running it
    forward.

    Args:
        f: linear in all its positional arguments together, which are pytrees of real or complex arrays.
        types: what it is applied to: arrays, whose values don't matter, or types such as `fdl.eval_shape` returns.

    Returns: a function of a pytree like the output, which returns a tuple of pytrees like the arguments.

    Raises: DTypeError for an integer argument; MissingRuleError, with the operation at fault, where `f` is not linear.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> (x_bar,) = fdl.linear_transpose(lambda x: 2.0 * x[::-1], fnp.ones(3))(fnp.arange(3.0))
        >>> x_bar.tolist()
        [4.0, 2.0, 0.0]
    """
    check_callable(f, "linear_transpose")
    name = name_of(f)
    flat, structure = tree.flatten(types)
    labels = [
        tree.path_str(path, argument_name(f, i))
        for i, arg in enumerate(types)
        for path, _ in tree.flatten_with_paths(arg)[0]
    ]
    in_types = [stands_for(x, f"linear_transpose({name}): argument {label}") for x, label in zip(flat, labels, strict=True)]
    for t, label in zip(in_types, labels, strict=True):
        if not dtypes.is_inexact(t.dtype):
            raise DTypeError(
                f"linear_transpose({name}): argument {label} has dtype {t.dtype.name}, expected a floating-point one: what is linear "
                f"has real or complex arguments. Close over it instead.{at(user_source())}"
            )
    function = flat_function(f, structure)
    program, captured = record(function, in_types, f"linear_transpose({name})")
    out_structure, moving = function.out_structure, [True] * len(in_types)
    linear = Linear(program, tuple(captured), (True,) * len(program.outputs), program.out_types)

    def transposed(*cotangent: Any) -> Any:
        ready = cotangents_like(f"linear_transpose({name})", cotangent, out_structure, program.out_types)
        try:
            return tree.unflatten(structure, pull(linear, in_types, moving, ready))
        except MissingRuleError as e:
            raise MissingRuleError(
                f"linear_transpose({name}): the function is not linear in its arguments, or an operation of it has no transpose.\n  {e}"
            ) from None

    return transposed


def stop_gradient(x: Any) -> Any:
    """`x`, a pytree of arrays, treated as a constant by every derivative.

    Example:
        >>> import fdl
        >>> float(fdl.grad(lambda x: x * fdl.stop_gradient(x))(3.0))
        3.0
    """
    for path, leaf in tree.flatten_with_paths(x)[0]:
        check_array(leaf, f"stop_gradient: {tree.path_str(path, 'x')}")
    return tree.map(lambda a: elementwise.stop_gradient(as_value(a)), x)
