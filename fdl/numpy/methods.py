"""Operators and methods of arrays and tracers, installed on their common base: an expression means the same for both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.array import Array, ArrayBase
from fdl.tracer.errors import DTypeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.trace import Tracer

from . import creation, indexing, products, reductions, shapes, ufuncs
from .indexing import At, getitem
from .promote import to_dtype

_SCALARS = (ArrayBase, np.ndarray, bool, int, float, complex, np.generic, list, tuple)


def _binary(f: Callable[..., Any], reflected: bool = False) -> Callable[..., Any]:
    def operator(self: Any, other: Any) -> Any:
        if not isinstance(other, _SCALARS) and not hasattr(other, "__array__"):
            return NotImplemented
        return f(other, self) if reflected else f(self, other)

    return operator


def _astype(self: Any, dtype: Any) -> Any:
    """This array converted to `dtype`."""
    y = to_dtype(self, dtypes.of(dtype))
    return y


def _iter(self: Any) -> Iterator[Any]:
    if not self.shape:
        raise TypeError("iteration over a 0-d array")
    return (getitem(self, i) for i in range(self.shape[0]))


def _setitem(self: Any, index: Any, value: Any) -> None:
    raise TypeError(f"arrays are immutable. Write x = x.at[index].set(value) instead of x[index] = value.{at(user_source())}")


def _array_ufunc(self: Any, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """NumPy's ufuncs on arrays and tracers are fdl's functions of the same name."""
    f = getattr(ufuncs, _UFUNCS.get(ufunc.__name__, ufunc.__name__), None) or getattr(products, ufunc.__name__, None)
    if f is None or method != "__call__" or kwargs:
        raise DTypeError(
            f"fdl.numpy has no counterpart of numpy.{ufunc.__name__} with {method} {kwargs or ''}.{at(user_source())}"
        )
    return f(*inputs)


_UFUNCS = {"fabs": "abs", "conjugate": "positive"}


def _array_function(self: Any, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """NumPy's functions on arrays and tracers are fdl's functions of the same name; without one, NumPy's own on the arrays' values."""
    if function.__module__ == "numpy":
        for module in (reductions, shapes, products, ufuncs, indexing, creation):
            f = getattr(module, function.__name__, None)
            if f is not None:
                return f(*args, **kwargs)
    if any(issubclass(t, Tracer) for t in types):
        raise DTypeError(
            f"fdl.numpy has no counterpart of {function.__module__}.{function.__name__}, which cannot be traced. "
            f"Write it with the functions of fdl.numpy, or call it with fdl.pure_callback.{at(user_source())}"
        )
    return function(*_plain(args), **_plain(kwargs))


def _plain(x: Any) -> Any:
    """`x`, or a list, tuple or dict of such, with Arrays as ndarrays."""
    if isinstance(x, Array):
        return x.data
    if type(x) in (list, tuple):
        return type(x)(_plain(v) for v in x)
    return {k: _plain(v) for k, v in x.items()} if type(x) is dict else x


_OPERATORS = {
    "add": ufuncs.add, "sub": ufuncs.subtract, "mul": ufuncs.multiply, "truediv": ufuncs.divide, "floordiv": ufuncs.floor_divide,
    "mod": ufuncs.remainder, "divmod": ufuncs.divmod, "pow": ufuncs.power, "matmul": products.matmul, "and": ufuncs.bitwise_and,
    "or": ufuncs.bitwise_or, "xor": ufuncs.bitwise_xor, "lshift": ufuncs.left_shift, "rshift": ufuncs.right_shift,
}  # fmt: skip
_COMPARISONS = {
    "eq": ufuncs.equal, "ne": ufuncs.not_equal, "lt": ufuncs.less, "le": ufuncs.less_equal, "gt": ufuncs.greater,
    "ge": ufuncs.greater_equal,
}  # fmt: skip
_METHODS: dict[str, Callable[..., Any]] = {
    "sum": reductions.sum, "prod": reductions.prod, "mean": reductions.mean, "var": reductions.var, "std": reductions.std,
    "max": reductions.max, "min": reductions.min, "all": reductions.all, "any": reductions.any, "argmax": reductions.argmax,
    "argmin": reductions.argmin, "cumsum": reductions.cumsum, "cumprod": reductions.cumprod, "argsort": reductions.argsort,
    "ravel": shapes.ravel, "flatten": shapes.ravel, "squeeze": shapes.squeeze, "swapaxes": shapes.swapaxes, "repeat": shapes.repeat,
    "dot": products.dot, "clip": ufuncs.clip, "round": ufuncs.round,
}  # fmt: skip


def _reshape(self: Any, *shape: Any) -> Any:
    """This array in another shape, given as a tuple or as ints."""
    return shapes.reshape(self, *shape)


def _transpose(self: Any, *axes: Any) -> Any:
    """This array with its axes permuted (reversed without arguments)."""
    if len(axes) == 1 and not isinstance(axes[0], int):
        axes = tuple(axes[0]) if axes[0] is not None else ()
    return shapes.transpose(self, axes or None)


def install() -> None:
    """Adds the operators and methods to `ArrayBase`."""
    for name, f in _OPERATORS.items():
        setattr(ArrayBase, f"__{name}__", _binary(f))
        setattr(ArrayBase, f"__r{name}__", _binary(f, reflected=True))
    for name, f in _COMPARISONS.items():
        setattr(ArrayBase, f"__{name}__", _binary(f))
    ArrayBase.__hash__ = None  # type: ignore[assignment]
    for name, f in _METHODS.items():
        setattr(ArrayBase, name, f)
    members: dict[str, Any] = {
        "__neg__": ufuncs.negative, "__pos__": ufuncs.positive, "__abs__": ufuncs.abs, "__invert__": ufuncs.bitwise_not,
        "__getitem__": getitem, "__setitem__": _setitem, "__iter__": _iter, "__array_ufunc__": _array_ufunc,
        "__array_function__": _array_function, "astype": _astype, "reshape": _reshape, "transpose": _transpose,
        "T": property(shapes.transpose), "mT": property(shapes.matrix_transpose), "at": property(At),
    }  # fmt: skip
    for name, member in members.items():
        setattr(ArrayBase, name, member)


__all__ = ["Array", "install", "type_of"]
