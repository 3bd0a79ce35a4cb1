"""Whole derivatives: `jacfwd`, `jacrev`, `hessian`, and products with a Hessian: `hvp`.

A Jacobian is a linear map applied to every vector of a basis at once, by `vmap`: forward mode pushes the basis of the inputs,
reverse mode pulls that of the outputs.  The function itself runs once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdl.tracer import dtypes, tree
from fdl.tracer.ir import Type, type_of
from fdl.tracer.ops import shape as views
from fdl.tracer.ops.elementwise import move_axis
from fdl.tracer.trace import is_evaluating
from fdl.tracer.transforms.jvp import instantiate, jvp_flat
from fdl.tracer.transforms.linearize import linearize_flat
from fdl.tracer.transforms.vmap import batch_flat, with_batch_axis

from .autodiff import grad, push_along
from .checks import ArgNums, Differentiated, arrays, check_callable, check_inputs, check_outputs, positions_of
from .linear_maps import pull
from .signature import as_value, name_of


def jacfwd(f: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False, holomorphic: bool = False) -> Callable[..., Any]:
    """A function that returns the Jacobian of `f`, computed column by column in forward mode: for more outputs than inputs.

    Args:
        f: returns a pytree of floating-point arrays, complex ones too; with `has_aux`, a pair (pytree, anything).
        argnums: the position of the argument to differentiate with respect to, or several.
        has_aux: whether `f` returns auxiliary data besides; the result is then `(jacobian, aux)`.
        holomorphic: whether `f` is a holomorphic function of complex arguments.

    Returns:
        A function of `f`'s arguments: a pytree like the output, whose leaves are pytrees like the argument (a tuple of them
        when `argnums` is a sequence), with leaves of shape `(*output shape, *argument shape)` and the output's dtype.

    Raises: DTypeError naming the argument or output that has no derivative.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> fdl.jacfwd(lambda x: x * x[0])(fnp.array([1.0, 2.0])).tolist()
        [[2.0, 0.0], [2.0, 1.0]]
    """
    return _forward(f, "jacfwd", argnums, has_aux, holomorphic)


def jacrev(
    f: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False, holomorphic: bool = False, allow_int: bool = False
) -> Callable[..., Any]:
    """A function that returns the Jacobian of `f`, computed row by row in reverse mode: for more inputs than outputs. See
    `jacfwd`.

    Args:
        allow_int: whether arguments may hold integers, whose derivative is zeros.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> fdl.jacrev(lambda x: {"sum": x.sum(), "x": x})(fnp.ones(2))["sum"].tolist()
        [1.0, 1.0]
    """
    return _reverse(f, "jacrev", argnums, has_aux, holomorphic, allow_int)


jacobian = jacrev
"""`jacrev`, under the name by which most people look for it."""


def hessian(
    f: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False, holomorphic: bool = False
) -> Callable[..., Any]:
    """A function that returns the Hessian of `f` as a dense array: `jacfwd(jacrev(f))`.

    Returns:
        A function of `f`'s arguments: for a scalar function of one array an array of shape `(*shape, *shape)`; for pytrees, a
        pytree like the output of pytrees like the argument of pytrees like the argument. For a function that is no scalar, the Hessian of
        each element of its output: an array of shape `(*output shape, *shape, *shape)`. With `has_aux`, `(hessian, aux)`.

    Raises: DTypeError naming the argument or the output that is no floating-point array.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> fdl.hessian(lambda x: x[0] ** 2 * x[1])(fnp.array([1.0, 2.0])).tolist()
        [[4.0, 2.0], [2.0, 0.0]]
    """
    first = _reverse(f, "hessian", argnums, has_aux, holomorphic)
    return _forward(first, "hessian", argnums, has_aux, holomorphic)


def hvp(
    f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], argnums: ArgNums = 0, has_aux: bool = False
) -> Any:
    """The Hessian of a scalar function times a vector, at the cost of a few gradients: the derivative of `grad(f)` along
    `tangents`.

    Args:
        f: as for `grad`.
        primals, tangents: tuples of pytrees, as for `jvp`: where, and along what.
        argnums: the arguments with respect to which the gradient is taken, as for `grad`; all of `primals` move along
            `tangents`.

    Returns: a pytree like the gradient; with `has_aux`, `(product, aux)`.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> fdl.hvp(lambda x: fnp.sum(x**3), (fnp.array([1.0, 2.0]),), (fnp.array([1.0, 1.0]),)).tolist()
        [6.0, 12.0]
    """
    check_callable(f, "hvp")
    found = push_along("hvp", f, grad(f, argnums, has_aux=has_aux), primals, tangents, has_aux)
    return found[1:] if has_aux else found[1]


# --- one direction --------------------------------------------------------------------------------


def _forward(f: Callable[..., Any], transform: str, argnums: ArgNums, has_aux: bool, holomorphic: bool) -> Callable[..., Any]:
    """`jacfwd` under the name that errors give it."""
    check_callable(f, transform)
    positions_of(transform, argnums)

    @functools.wraps(f)
    def jacobian_of(*args: Any, **kwargs: Any) -> Any:
        chosen = Differentiated(f, transform, argnums, args, kwargs, has_aux)
        check_inputs(f, transform, chosen, holomorphic=holomorphic, allow_complex=False)
        types, function = chosen.types, chosen.function
        n = sum(t.size for t in types)
        out_types: list[Type] = []

        def push(*dots: Any) -> list[Any]:
            outs, moved = jvp_flat(function, chosen.leaves, dots, f"{transform}({name_of(f)})")
            check_outputs(f, transform, outs, function.out_structure, holomorphic=holomorphic, allow_complex=True)
            out_types[:] = [type_of(x) for x in outs]
            return [instantiate(d) for d in moved]

        moved, axes = batch_flat(push, n, _basis(types), [0] * len(types), f"{transform}({name_of(f)})")
        columns = [with_batch_axis(d, a, n) for d, a in zip(moved, axes, strict=True)]
        rows = [chosen.tree_of([_last(part, t.shape) for part, t in zip(_cut(d, types), types, strict=True)]) for d in columns]
        jacobian = arrays(tree.unflatten(function.out_structure, rows))
        return (jacobian, function.aux) if has_aux else jacobian

    return jacobian_of


def _reverse(
    f: Callable[..., Any], transform: str, argnums: ArgNums, has_aux: bool, holomorphic: bool, allow_int: bool = False
) -> Callable[..., Any]:
    """`jacrev` under the name that errors give it."""
    check_callable(f, transform)
    positions_of(transform, argnums)

    @functools.wraps(f)
    def jacobian_of(*args: Any, **kwargs: Any) -> Any:
        chosen = Differentiated(f, transform, argnums, args, kwargs, has_aux)
        check_inputs(f, transform, chosen, holomorphic=holomorphic, allow_int=allow_int)
        types, function = chosen.types, chosen.function
        moving = [dtypes.is_inexact(t.dtype) for t in types]
        outs, linear = linearize_flat(function, chosen.leaves, moving, f"{transform}({name_of(f)})")
        check_outputs(f, transform, outs, function.out_structure, holomorphic=holomorphic)
        out_types = [type_of(x) for x in outs]
        n = sum(t.size for t in out_types)
        label = f"{transform}({name_of(f)})"
        pulled, axes = batch_flat(
            lambda *cts: pull(linear, types, moving, cts), n, _basis(out_types), [0] * len(out_types), label
        )
        stacked = [with_batch_axis(x, a, n) for x, a in zip(pulled, axes, strict=True)]
        parts = [_cut(x, out_types) for x in stacked]
        rows = [
            chosen.tree_of([views.reshape(p[i], (*o.shape, *t.shape)) for p, t in zip(parts, types, strict=True)])
            for i, o in enumerate(out_types)
        ]
        jacobian = arrays(tree.unflatten(function.out_structure, rows))
        return (jacobian, function.aux) if has_aux else jacobian

    return jacobian_of


# --- bases ----------------------------------------------------------------------------------------


def _basis(types: Sequence[Type]) -> list[Any]:
    """The standard basis of the space of such leaves: for each an array whose first axis numbers the vectors."""
    n = sum(t.size for t in types)
    basis, start = [], 0
    for t in types:
        part = np.zeros((n, t.size), t.dtype)
        part[np.arange(start, start + t.size), np.arange(t.size)] = 1
        start += t.size
        basis.append(part.reshape(n, *t.shape))
    return [as_value(b) if is_evaluating() else b for b in basis]


def _cut(x: Any, types: Sequence[Type]) -> list[Any]:
    """The pieces of the first axis of `x` that belong to each leaf."""
    ends = np.cumsum([t.size for t in types]).tolist()
    return [views.slice_axis(x, 0, end - t.size, end) for end, t in zip(ends, types, strict=True)]


def _last(x: Any, shape: tuple[int, ...]) -> Any:
    """`x` with its first axis last, and unfolded to `shape`."""
    rest = type_of(x).shape[1:]
    return views.reshape(move_axis(x, 0, len(rest)), (*rest, *shape))
