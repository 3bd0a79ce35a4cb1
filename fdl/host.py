"""Python functions called from compiled code: `pure_callback` for values, `io_callback` for effects.

They are called on the thread that made the call, wherever the program comes to them: in loops and branches of compiled code too.
What they raise ends the program there, and arrives as it is, with its traceback.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdl.numpy.promote import as_operand, asarray
from fdl.tracer import dtypes, tree
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import Effect, Type, type_of
from fdl.tracer.ops.callback import METHODS, callback
from fdl.tracer.records import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class HostFunction:
    """A Python function of pytrees as one of flat ndarrays. Two of the same function and structures are equal, and so their programs.

    `static` are leaves of the arguments that are no arrays, by position.
    """

    function: Callable[..., Any]
    arguments: tree.Structure
    static: tuple[tuple[int, Any], ...]
    result: tree.Structure
    label: str
    """What messages call the call."""

    def __call__(self, *arrays: np.ndarray) -> list[Any]:
        given = iter(arrays)
        static = dict(self.static)
        leaves = [static[i] if i in static else next(given) for i in range(self.arguments.size)]
        args, kwargs = tree.unflatten(self.arguments, leaves)
        out = self.function(*args, **kwargs)
        if self.result.size == 0:
            return []
        flat, structure = tree.flatten(out)
        if structure != self.result:
            difference = tree.difference(self.result, structure, "result")
            raise ShapeError(
                f"{self.label}: the function's {difference}. Correct what it returns, or the result that was declared."
            )
        return flat

    @property
    def paths(self) -> list[str]:
        """What messages call each result."""
        return [tree.path_str(p) for p in tree.paths(self.result)]

    @property
    def __name__(self) -> str:
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    def _key(self) -> tuple[Any, ...]:
        static = tuple((i, type(x), _hashable(x)) for i, x in self.static)
        return _hashable(self.function), self.arguments, static, self.result, self.label

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HostFunction) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())


def _hashable(x: Any) -> Any:
    """`x` where it can be a key, else its identity."""
    try:
        hash(x)
    except TypeError:
        return id(x)
    return x


def call_host(
    function: Callable[..., Any],
    result: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    name: str,
    effect: Effect | None,
    vmap_method: str = "sequential",
    keep_static: bool = False,
) -> Any:
    """What `function(*args, **kwargs)` returns, a pytree of arrays of the types `result`.

    Args:
        name: what messages call it.
        keep_static: whether leaves that are no arrays are handed to the function as they are; otherwise they are errors.
    """
    if not callable(function):
        raise TypeError(f"{name} expects a function, got {function!r} of type {type(function).__name__}.{at(user_source())}")
    leaves, structure = tree.flatten((args, kwargs))
    arrays: list[Any] = []
    static: list[tuple[int, Any]] = []
    for i, (path, x) in enumerate(zip(tree.paths(structure), leaves, strict=True)):
        if keep_static and not _is_array(x):
            static.append((i, x))
        else:
            arrays.append(asarray(as_operand(x, f"{name}: argument {_argument(path)}")))
    wanted, out_structure = tree.flatten(result, is_leaf=lambda x: isinstance(x, Type))
    types = [_declared(name, path, x) for path, x in zip(tree.paths(out_structure), wanted, strict=True)]
    flat = HostFunction(function, structure, tuple(static), out_structure, name)
    outs = callback(flat, types, arrays, effect=effect, name=name, vmap_method=vmap_method)
    return tree.unflatten(out_structure, outs)


def _is_array(x: Any) -> bool:
    try:
        type_of(x)
    except TypeError:
        return False
    return True


def _argument(path: tree.Path) -> str:
    """A leaf of (args, kwargs) as messages call it: `0['w']`, or `scale` for a keyword argument."""
    _, which, *rest = path
    return tree.path_str(tuple(rest), which.strip("[]'"))


def _declared(name: str, path: tree.Path, x: Any) -> Type:
    """The type that a leaf of the declared result stands for: that of an array, or its own `shape` and `dtype`."""
    if isinstance(x, Type):
        return x.strong()
    shape, dtype = getattr(x, "shape", None), getattr(x, "dtype", None)
    if shape is not None and dtype is not None and not isinstance(x, np.generic):
        try:
            return Type(tuple(int(n) for n in shape), dtypes.of(dtype))
        except (TypeError, ValueError, DTypeError):
            pass
    try:
        return type_of(x).strong()
    except TypeError:
        raise DTypeError(
            f"{name}: the declared result{tree.path_str(path)} is {x!r} of type {type(x).__name__}: expected an array, a number, or "
            f"something with a shape and a dtype, such as fdl.ShapeDtypeStruct(shape, dtype).{at(user_source())}"
        ) from None


def name_of(function: Any) -> str:
    """The name of a function, for messages."""
    return str(getattr(function, "__name__", type(function).__name__))


def check_method(name: str, method: str, known: Sequence[str] = METHODS) -> None:
    """Raises ValueError for an unknown `vmap_method`."""
    if method not in known:
        raise ValueError(f"{name}: vmap_method={method!r}: expected one of {', '.join(map(repr, known))}.{at(user_source())}")


def pure_callback(
    callback: Callable[..., Any], result_shape_dtypes: Any, *args: Any, vmap_method: str | None = "sequential", **kwargs: Any
) -> Any:
    """What `callback(*args, **kwargs)` returns: a pure Python function of NumPy arrays, called where the value is needed.

    Args:
        callback: takes pytrees of ndarrays like `args` and `kwargs`; it may be called any number of times, or not at all where
            nothing needs its result.
        result_shape_dtypes: the types of what it returns: a pytree of arrays, of `fdl.ShapeDtypeStruct(shape, dtype)`, or of anything
            that has a `shape` and a `dtype`.
        vmap_method: what `vmap` does. "sequential" (or None) calls it for each lane, in order; the others once, with the lanes along a
            new first axis of operands and results: "expand_dims" gives operands that are not mapped a first axis of size 1,
            "broadcast_all" repeats them, "legacy_vectorized" leaves them as they are.

    Raises: ShapeError when it returns other shapes or dtypes; MissingRuleError when it is differentiated: wrap it in `custom_jvp`.

    Example:
        >>> import fdl, fdl.numpy as fnp, numpy as np
        >>> f = fdl.jit(lambda x: fdl.pure_callback(np.flip, x, x) + 1.0)
        >>> f(fnp.arange(3.0)).tolist()
        [3.0, 2.0, 1.0]
    """
    name = f"pure_callback({name_of(callback)})"
    vmap_method = "sequential" if vmap_method in (None, "sequential_unrolled") else vmap_method
    check_method(name, vmap_method)
    return call_host(callback, result_shape_dtypes, args, kwargs, name=name, effect=None, vmap_method=vmap_method)


def io_callback(
    callback: Callable[..., Any], result_shape_dtypes: Any, *args: Any, ordered: bool = False, **kwargs: Any
) -> Any:
    """What `callback(*args, **kwargs)` returns: a Python function that does something, called exactly once each time the program comes by.

    Args:
        callback: takes pytrees of ndarrays like `args` and `kwargs`.
        result_shape_dtypes: as in `pure_callback`; None for a function without results.
        ordered: whether calls keep their order among all ordered ones. (Compiled programs run them in order in any case.)

    It is called whether or not its result is needed; under `vmap` once for each lane, in order.

    Raises: ShapeError when it returns other shapes or dtypes; MissingRuleError when its results are differentiated.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> log = []
        >>> def step(c, x):
        ...     fdl.io_callback(lambda v: log.append(float(v)), None, c, ordered=True)
        ...     return c + x, None
        >>> float(fdl.jit(lambda xs: fdl.scan(step, 0.0, xs)[0])(fnp.ones(3))), log
        (3.0, [0.0, 1.0, 2.0])
    """
    name = f"io_callback({name_of(callback)})"
    effect = "ordered_io" if ordered else "unordered_io"
    return call_host(callback, result_shape_dtypes, args, kwargs, name=name, effect=effect)
