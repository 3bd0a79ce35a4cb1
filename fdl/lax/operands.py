"""What the functions of `fdl.lax` take: arrays of one dtype and one rank, and Python numbers, which adapt.

`fdl.numpy` converts and broadcasts for its caller; here the caller does it, so that a program says itself where it changes dtypes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdl.numpy.promote import as_operand, to_dtype
from fdl.tracer import dtypes
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import Type, type_of
from fdl.tracer.ops import shape as s

# The kinds of dtypes that a function may ask for, by their letters.
_WORDS = {"b": "bool", "i": "signed integers", "u": "unsigned integers", "f": "floats", "c": "complex numbers"}
ANY, NUMBERS, REALS, ORDERED, INEXACT, BITS = "biufc", "iufc", "iuf", "biuf", "fc", "biu"


def operand(name: str, x: Any, what: str = "the operand") -> Any:
    """`x` as an array, tracer or scalar; raises a DTypeError for a sequence, which `fdl.numpy.asarray` makes an array."""
    if isinstance(x, (list, tuple)):
        raise DTypeError(
            f"lax.{name}: {what} is a {type(x).__name__}, expected an array or a number. "
            f"Convert it with fdl.numpy.asarray.{at(user_source())}"
        )
    return as_operand(x, f"lax.{name}: {what}")


def kind_of(dtype: dtypes.DType) -> str:
    """The letter of a dtype's kind, one of "biufc"."""
    return "f" if dtypes.is_float(dtype) else dtype.kind


def check_kind(name: str, t: Type, kinds: str) -> None:
    """Raises a DTypeError unless the dtype of `t` is of one of the `kinds`."""
    if kind_of(t.dtype) not in kinds:
        expected = [_WORDS[k] for k in kinds]
        if {"i", "u"} <= set(kinds):
            expected = ["integers" if w == _WORDS["i"] else w for w in expected if w != _WORDS["u"]]
        raise DTypeError(
            f"lax.{name}: got dtype {t.dtype.name}, expected {' or '.join(expected)}. "
            f"Convert with lax.convert_element_type.{at(user_source())}"
        )


def one_dtype(name: str, *xs: Any, hint: str = "") -> list[Any]:
    """The operands in the one dtype that all arrays among them have; Python numbers take it where that loses nothing of their kind.

    Args:
        hint: the function of `fdl.numpy` that promotes, to be named in the message.

    Raises: DTypeError where dtypes differ.
    """
    types = [type_of(x) for x in xs]
    first = types[0]
    if all(t.dtype == first.dtype for t in types):
        return list(xs)
    dtype, weak = dtypes.promote(*[(t.dtype, t.weak) for t in types])
    if any(t.dtype != dtype and not t.weak for t in types):
        tip = f" fdl.numpy.{hint} promotes them." if hint else ""
        raise DTypeError(
            f"lax.{name}: operands have dtypes {' and '.join(t.dtype.name for t in types)}, expected one dtype. "
            f"Convert with lax.convert_element_type.{tip}{at(user_source())}"
        )
    return [x if t.dtype == dtype else to_dtype(x, dtype, weak) for x, t in zip(xs, types, strict=True)]


def one_shape(name: str, *xs: Any) -> list[Any]:
    """The operands in one shape: 0-d ones go with any shape; of the others, which have one rank, axes of size 1 are repeated.

    Raises: ShapeError where ranks or sizes differ.
    """
    shapes = [type_of(x).shape for x in xs]
    full = {given for given in shapes if given}
    if len(full) <= 1:
        return list(xs)
    if len({len(given) for given in full}) > 1:
        raise ShapeError(
            f"lax.{name}: operands have shapes {' and '.join(map(str, shapes))}, expected one number of axes. "
            f"Insert axes with lax.expand_dims or lax.broadcast_in_dim.{at(user_source())}"
        )
    target = tuple(max(column) if 0 not in column else 0 for column in zip(*full, strict=True))
    if any(n not in (1, m) for given in full for n, m in zip(given, target, strict=True)):
        raise ShapeError(
            f"lax.{name}: operands have shapes {' and '.join(map(str, shapes))}, expected equal sizes, or 1.{at(user_source())}"
        )
    axes = tuple(range(len(target)))
    return [x if given in ((), target) else s.broadcast(x, target, axes) for x, given in zip(xs, shapes, strict=True)]


def operands(name: str, *xs: Any, kinds: str = ANY, hint: str = "") -> list[Any]:
    """The operands of an elementwise function: of one dtype, whose kind is one of `kinds`, and of one shape, or 0-d."""
    given = [operand(name, x, f"operand {i}") for i, x in enumerate(xs)] if len(xs) > 1 else [operand(name, xs[0])]
    out = one_dtype(name, *given, hint=hint)
    check_kind(name, type_of(out[0]), kinds)
    return one_shape(name, *out)


# --- elementwise functions ------------------------------------------------------------------------

Function = Callable[..., Any]


def unary(name: str, function: Function, kinds: str, text: str, accuracy: bool = False) -> Function:
    """The lax function `name` of one operand; with `accuracy` it takes that keyword, and does not need it."""

    def plain(x: Any) -> Any:
        return function(*operands(name, x, kinds=kinds))

    def accurate(x: Any, *, accuracy: Any = None) -> Any:
        return function(*operands(name, x, kinds=kinds))

    f = accurate if accuracy else plain
    more = " `accuracy` is accepted and ignored: there is one implementation, accurate to a few ulp." if accuracy else ""
    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"{text}, elementwise.{more}"
    return f


def binary(name: str, function: Function, kinds: str, text: str, hint: str = "") -> Function:
    """The lax function `name` of two operands of one dtype."""

    def f(x: Any, y: Any) -> Any:
        return function(*operands(name, x, y, kinds=kinds, hint=hint))

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"{text}, elementwise, for operands of one dtype and one shape (or 0-d)."
    return f


# --- static parameters ----------------------------------------------------------------------------


def ints(name: str, what: str, values: Any) -> tuple[int, ...]:
    """`values` as a tuple of ints; raises a ShapeError for anything else."""
    try:
        return tuple(n.__index__() for n in values)
    except (TypeError, AttributeError):
        raise ShapeError(f"lax.{name}: {what}={values!r}: expected a sequence of ints.{at(user_source())}") from None


def axes(name: str, what: str, values: Any, ndim: int, negative: bool = False) -> tuple[int, ...]:
    """`values` as distinct axes of an array with `ndim` axes, counted from the front (with `negative`, from the end too)."""
    given = ints(name, what, values)
    low = -ndim if negative else 0
    out = tuple(a + ndim if a < 0 and negative else a for a in given)
    if any(not low <= a < ndim for a in given) or len(set(out)) != len(out):
        raise ShapeError(
            f"lax.{name}: {what}={given} for {ndim} axes: expected distinct axes from {low} to {ndim - 1}.{at(user_source())}"
        )
    return out


def axis(name: str, what: str, value: Any, ndim: int, negative: bool = False) -> int:
    """`value` as an axis of an array with `ndim` axes."""
    return axes(name, what, (value,), ndim, negative)[0]


def pairs(name: str, what: str, values: Any, width: int = 2) -> tuple[tuple[int, ...], ...]:
    """`values` as a tuple of tuples of `width` ints."""
    if isinstance(values, str):
        raise ShapeError(
            f"lax.{name}: {what}={values!r}: expected a sequence of {width} ints for each axis.{at(user_source())}"
        )
    out = tuple(ints(name, what, pair) for pair in values)
    if any(len(pair) != width for pair in out):
        raise ShapeError(f"lax.{name}: {what}={values!r}: expected {width} ints for each axis.{at(user_source())}")
    return out


def scalar(value: complex, dtype: dtypes.DType) -> np.ndarray:
    """`value` as a 0-d array of that dtype."""
    return np.asarray(value).astype(dtype)


def per_axis(name: str, what: str, values: Sequence[int] | None, count: int) -> tuple[int, ...]:
    """A parameter of one positive int for each of `count` axes; None stands for ones."""
    out = (1,) * count if values is None else ints(name, what, values)
    if len(out) != count or any(n < 1 for n in out):
        raise ShapeError(f"lax.{name}: {what}={values!r}: expected {count} ints of at least 1.{at(user_source())}")
    return out
