"""Operators and methods of arrays and tracers, installed on their common base: an expression means the same for both.

They are functions of this package.  So are NumPy's own functions when they are called with an array: `np.sin(x)` and
`np.concatenate([x, y])` give arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

from fdl.tracer.array import Array, ArrayBase
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.trace import Tracer

from . import (
    bits,
    complexes,
    creation,
    cumulative,
    indexing,
    info,
    joins,
    logic,
    products,
    reductions,
    searching,
    shapes,
    sorting,
    ufuncs,
)
from .indexing import getitem
from .promote import asarray, check_device
from .updates import At

_OPERANDS = (ArrayBase, np.ndarray, bool, int, float, complex, np.generic, list, tuple)


def _binary(f: Callable[..., Any], reflected: bool = False) -> Callable[..., Any]:
    def operator(self: Any, other: Any) -> Any:
        if not isinstance(other, _OPERANDS) and not hasattr(other, "__array__"):
            return NotImplemented
        return f(other, self) if reflected else f(self, other)

    return operator


# --- methods that are no function's ---------------------------------------------------------------


def _astype(self: Any, dtype: Any, copy: bool = False, device: Any = None) -> Any:
    """This array converted to `dtype`: see `fdl.numpy.astype`."""
    return info.astype(self, dtype, copy=copy, device=device)


def _reshape(self: Any, *shape: Any, order: str = "C", copy: bool | None = None) -> Any:
    """This array in another shape, given as a tuple or as ints."""
    return shapes.reshape(self, shape[0] if len(shape) == 1 else shape, order, copy=copy)


def _transpose(self: Any, *axes: Any) -> Any:
    """This array with its axes permuted (reversed without arguments)."""
    if len(axes) == 1 and not isinstance(axes[0], int):
        axes = tuple(axes[0]) if axes[0] is not None else ()
    return shapes.transpose(self, axes or None)


def _compress(self: Any, condition: Any, axis: int | None = None, out: None = None, **options: Any) -> Any:
    """The slices of this array along `axis` where `condition` is true: see `fdl.numpy.compress`."""
    return searching.compress(condition, self, axis, out=out, **options)


def _tobytes(self: Any, order: Any = "C") -> bytes:
    """The bytes of the elements, row-major; column-major for order "F"."""
    return np.asarray(self).tobytes(order)


def _iter(self: Any) -> Iterator[Any]:
    if not self.shape:
        raise TypeError(f"iteration over a 0-d array of type {self.type.strong()}: it has no axes.{at(user_source())}")
    return iter(joins.unstack(self)) if isinstance(self, Tracer) else (getitem(self, i) for i in range(self.shape[0]))


def _contains(self: Any, value: Any) -> bool:
    return bool(reductions.any(logic.equal(self, value)))


def _setitem(self: Any, index: Any, value: Any) -> None:
    raise TypeError(f"arrays are immutable. Write x = x.at[index].set(value) instead of x[index] = value.{at(user_source())}")


def _to_device(self: Any, device: Any, /, *, stream: Any = None) -> Any:
    """This array on `device`: "cpu" is the one there is."""
    check_device("to_device", device)
    return self


def _namespace(self: Any, /, *, api_version: str | None = None) -> Any:
    """The namespace of functions of the array API standard for this array: `fdl.numpy`."""
    if api_version not in (None, *_VERSIONS):
        expected = ", ".join(_VERSIONS)
        raise ShapeError(
            f"__array_namespace__: version {api_version!r} is not known. Expected one of {expected}.{at(user_source())}"
        )
    return _home[0]


_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")
_home: list[ModuleType] = []

# --- NumPy's protocols ----------------------------------------------------------------------------


def _array_ufunc(self: Any, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """NumPy's ufuncs on arrays and tracers are fdl's functions of the same name; without one, NumPy's own on the arrays' values."""
    name = ufunc.__name__
    f = getattr(_home[0], name, None)
    if method in ("reduce", "accumulate"):
        f = getattr(_home[0], _REDUCTIONS.get((name, method), ""), None)
        kwargs = {"axis": 0, **kwargs}
        if len(inputs) > 1:
            f = None
    elif method == "outer" and f is not None and not kwargs:
        x, y = (asarray(v) for v in inputs)
        return f(x.reshape(*x.shape, *(1,) * y.ndim), y)
    kwargs = {k: v for k, v in kwargs.items() if v is not None}
    if f is not None and not (kwargs if method == "__call__" else "out" in kwargs):
        return f(*inputs, **kwargs)
    if any(isinstance(x, Tracer) for x in inputs):
        raise DTypeError(
            f"fdl.numpy has no counterpart of numpy.{name} with {method} {kwargs or ''}, which cannot be traced. "
            f"Write it with the functions of fdl.numpy, or call it with fdl.pure_callback.{at(user_source())}"
        )
    out = getattr(ufunc, method)(*_plain(inputs), **_plain(kwargs))
    return out if "out" in kwargs or out is None else _wrapped(out)


_REDUCTIONS = {
    ("add", "reduce"): "sum", ("multiply", "reduce"): "prod", ("maximum", "reduce"): "max", ("minimum", "reduce"): "min",
    ("logical_and", "reduce"): "all", ("logical_or", "reduce"): "any", ("add", "accumulate"): "cumsum",
    ("multiply", "accumulate"): "cumprod",
}  # fmt: skip


def _array_function(self: Any, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """NumPy's functions on arrays and tracers are fdl's functions of the same name; without one, NumPy's own on the arrays' values."""
    package, _, inner = str(function.__module__).partition(".")
    home: Any = getattr(_home[0], inner, None) if inner else _home[0]
    if package == "numpy" and function.__name__ in getattr(home, "__all__", ()):
        return getattr(home, function.__name__)(*args, **kwargs)
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


def _wrapped(x: Any) -> Any:
    return tuple(asarray(v) for v in x) if isinstance(x, tuple) else asarray(x)


# --- what is installed ----------------------------------------------------------------------------

_OPERATORS = {
    "add": ufuncs.add, "sub": ufuncs.subtract, "mul": ufuncs.multiply, "truediv": ufuncs.divide, "floordiv": ufuncs.floor_divide,
    "mod": ufuncs.remainder, "divmod": ufuncs.divmod, "pow": ufuncs.power, "matmul": products.matmul, "and": bits.bitwise_and,
    "or": bits.bitwise_or, "xor": bits.bitwise_xor, "lshift": bits.left_shift, "rshift": bits.right_shift,
}  # fmt: skip
_COMPARISONS = {
    "eq": logic.equal, "ne": logic.not_equal, "lt": logic.less, "le": logic.less_equal, "gt": logic.greater, "ge": logic.greater_equal,
}  # fmt: skip
_MEMBERS: dict[str, Any] = {
    "__neg__": ufuncs.negative, "__pos__": ufuncs.positive, "__abs__": ufuncs.abs, "__invert__": bits.bitwise_invert,
    "__round__": ufuncs.round, "__getitem__": getitem, "__setitem__": _setitem, "__iter__": _iter, "__contains__": _contains,
    "__array_ufunc__": _array_ufunc, "__array_function__": _array_function, "__array_namespace__": _namespace,
    "T": property(shapes.transpose), "mT": property(shapes.matrix_transpose), "at": property(At), "flat": property(shapes.ravel),
    "real": property(complexes.real), "imag": property(complexes.imag), "to_device": _to_device,
    "all": reductions.all, "any": reductions.any, "argmax": reductions.argmax, "argmin": reductions.argmin, "argsort": sorting.argsort,
    "argpartition": sorting.argpartition, "partition": sorting.partition,
    "astype": _astype, "choose": searching.choose, "clip": ufuncs.clip, "compress": _compress,
    "conj": complexes.conj, "conjugate": complexes.conj, "copy": creation.copy,
    "cumprod": cumulative.cumprod, "cumsum": cumulative.cumsum, "diagonal": products.diagonal, "dot": products.dot,
    "flatten": shapes.ravel, "max": reductions.max, "mean": reductions.mean, "min": reductions.min, "nonzero": searching.nonzero,
    "prod": reductions.prod, "ptp": reductions.ptp, "ravel": shapes.ravel, "repeat": joins.repeat, "reshape": _reshape,
    "round": ufuncs.round, "searchsorted": searching.searchsorted, "sort": sorting.sort, "squeeze": shapes.squeeze,
    "std": reductions.std, "sum": reductions.sum, "swapaxes": shapes.swapaxes, "take": indexing.take, "tobytes": _tobytes,
    "trace": products.trace, "transpose": _transpose, "var": reductions.var, "view": bits.view,
}  # fmt: skip


def install(home: ModuleType) -> None:
    """Adds the operators and methods to `ArrayBase`; `home` is the package that has the functions."""
    _home[:] = [home]
    for name, f in _OPERATORS.items():
        setattr(ArrayBase, f"__{name}__", _binary(f))
        setattr(ArrayBase, f"__r{name}__", _binary(f, reflected=True))
    for name, f in _COMPARISONS.items():
        setattr(ArrayBase, f"__{name}__", _binary(f))
    for name, member in _MEMBERS.items():
        setattr(ArrayBase, name, member)


__all__: list[str] = []
