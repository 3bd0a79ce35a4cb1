"""Comparisons, logic, choice, and tests of values, under NumPy's names."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.array import ArrayBase
from fdl.tracer.ir import type_of
from fdl.tracer.ops import complex as c
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import reduce as r

from .promote import as_operand, asarray, broadcast_operands, like, promote_operands, to_dtype
from .ufuncs import define, real_only


def _comparison(name: str, function: Callable[..., Any], exact: Callable[[int, int], bool], text: str) -> Callable[..., Any]:
    """The comparison `name`. A Python integer that the other operand's integer type does not hold is compared exactly; so is a weak
    array, which stands for one in a function that is traced."""
    plain = define(name, function, text, 2)

    def comparison(x1: Any, x2: Any, /) -> Any:
        if type(x2) is int and _beyond(x2, x1):
            return _all(x1, exact(0, x2))  # 0 stands for any element: all lie on the same side
        if type(x1) is int and _beyond(x1, x2):
            return _all(x2, exact(x1, 0))
        if isinstance(x1, ArrayBase) and isinstance(x2, ArrayBase):
            a, b = x1.type, x2.type
            if a.weak != b.weak and a.dtype != b.dtype and a.dtype.kind in "iu" and b.dtype.kind in "iu":
                return _exactly(name, function, exact, x1, x2)
        return plain(x1, x2)

    comparison.__name__ = comparison.__qualname__ = name
    comparison.__doc__ = plain.__doc__
    return comparison


def _exactly(name: str, function: Callable[..., Any], exact: Callable[[int, int], bool], x1: Any, x2: Any) -> Any:
    """The comparison of integers of two types, in one that holds both; there is none for uint64 and a signed one."""
    x1, x2 = broadcast_operands(name, x1, x2)
    a, b = type_of(x1).dtype, type_of(x2).dtype
    both = dtypes.promote((a, False), (b, False))[0]
    if dtypes.is_int(both):
        return function(to_dtype(x1, both), to_dtype(x2, both))
    alike = function(to_dtype(x1, dtypes.uint64), to_dtype(x2, dtypes.uint64))
    signed, sides = (x1, exact(-1, 0)) if dtypes.is_signed(a) else (x2, exact(0, -1))
    below = e.lt(signed, like(0, signed))
    return logical_or(below, alike) if sides else logical_and(logical_not(below), alike)


def _beyond(n: int, x: Any) -> bool:
    if not isinstance(x, (ArrayBase, np.ndarray, np.generic)) or x.dtype.kind not in "iu" or type_of(x).weak:
        return False
    info = np.iinfo(x.dtype)
    return not info.min <= n <= info.max


equal = _comparison("equal", e.eq, operator.eq, "Whether x1 == x2")
not_equal = _comparison("not_equal", e.ne, operator.ne, "Whether x1 != x2")
less = _comparison("less", e.lt, operator.lt, "Whether x1 < x2")
less_equal = _comparison("less_equal", e.le, operator.le, "Whether x1 <= x2")
greater = _comparison("greater", e.gt, operator.gt, "Whether x1 > x2")
greater_equal = _comparison("greater_equal", e.ge, operator.ge, "Whether x1 >= x2")

# --- logic ----------------------------------------------------------------------------------------


def as_bool(x: Any) -> Any:
    """`x` as bools: whether it is not 0."""
    return to_dtype(as_operand(x), dtypes.bool_)


def logical_and(x1: Any, x2: Any) -> Any:
    """Whether `x1` and `x2` are both true, elementwise."""
    return e.logical_and(*broadcast_operands("logical_and", as_bool(x1), as_bool(x2)))


def logical_or(x1: Any, x2: Any) -> Any:
    """Whether `x1` or `x2` is true, elementwise."""
    return e.logical_or(*broadcast_operands("logical_or", as_bool(x1), as_bool(x2)))


def logical_xor(x1: Any, x2: Any) -> Any:
    """Whether exactly one of `x1` and `x2` is true, elementwise."""
    return e.logical_xor(*broadcast_operands("logical_xor", as_bool(x1), as_bool(x2)))


def logical_not(x: Any, /) -> Any:
    """Whether `x` is false, elementwise."""
    return e.logical_not(as_bool(x))


def choose(condition: Any, x1: Any, x2: Any) -> Any:
    """`x1` where `condition` is true, else `x2`, broadcast together in their promoted dtype."""
    a, b = promote_operands("where", x1, x2, broadcast=False)
    return e.select(*broadcast_operands("where", as_bool(condition), a, b))


# --- finite, infinite, NaN ------------------------------------------------------------------------


def _all(x: Any, value: bool) -> Any:
    return asarray(e.splat(np.asarray(value), type_of(x).shape))


def isfinite(x: Any, /) -> Any:
    """Whether `x` is neither infinite nor NaN, elementwise."""
    (x,) = promote_operands("isfinite", x)
    return e.is_finite(x) if dtypes.is_inexact(type_of(x).dtype) else _all(x, True)


def isnan(x: Any, /) -> Any:
    """Whether `x` is NaN, elementwise; for complex `x`, either part."""
    (x,) = promote_operands("isnan", x)
    return e.ne(x, x) if dtypes.is_inexact(type_of(x).dtype) else _all(x, False)


def isinf(x: Any, /) -> Any:
    """Whether `x` is infinite, elementwise; for complex `x`, either part."""
    (x,) = promote_operands("isinf", x)
    dtype = type_of(x).dtype
    if not dtypes.is_inexact(dtype):
        return _all(x, False)
    if dtypes.is_complex(dtype):
        return e.logical_or(*(e.eq(e.abs(part), like(np.inf, part)) for part in (c.real(x), c.imag(x))))
    return e.eq(e.abs(x), like(np.inf, x))


def _infinite(name: str, value: float, x: Any) -> Any:
    (x,) = promote_operands(name, x)
    real_only(name, x)
    return e.eq(x, like(value, x)) if dtypes.is_float(type_of(x).dtype) else _all(x, False)


def isposinf(x: Any, /) -> Any:
    """Whether a real `x` is plus infinity, elementwise."""
    return _infinite("isposinf", np.inf, x)


def isneginf(x: Any, /) -> Any:
    """Whether a real `x` is minus infinity, elementwise."""
    return _infinite("isneginf", -np.inf, x)


# --- equality of arrays ---------------------------------------------------------------------------


def isclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Any:
    """Whether |a - b| <= atol + rtol |b|, elementwise; infinities are close to themselves only, NaNs if `equal_nan`.

    Example:
        >>> isclose([1.0, 2.0], [1.000001, 2.1]).tolist()
        [True, False]
    """
    a, b = promote_operands("isclose", a, b, inexact=True)
    size = e.abs(b)
    low, relative = (to_dtype(as_operand(v), type_of(size).dtype) for v in (atol, rtol))
    bound = e.add(*broadcast_operands("isclose", low, e.mul(*broadcast_operands("isclose", relative, size))))
    near = e.le(*broadcast_operands("isclose", e.abs(e.sub(a, b)), bound))
    finite = e.logical_and(e.is_finite(a), e.is_finite(b))
    out = e.logical_or(*broadcast_operands("isclose", e.eq(a, b), e.logical_and(*broadcast_operands("isclose", finite, near))))
    return e.logical_or(out, e.logical_and(e.ne(a, a), e.ne(b, b))) if equal_nan else out


def _every(x: Any) -> Any:
    return r.reduce_and(x, tuple(range(type_of(x).ndim)))


def allclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Any:
    """Whether all elements of `a` and `b` are close: see `isclose`."""
    return _every(isclose(a, b, rtol, atol, equal_nan))


def _same_elements(name: str, x1: Any, x2: Any, equal_nan: bool) -> Any:
    a, b = promote_operands(name, x1, x2)
    out = e.eq(a, b)
    if equal_nan and dtypes.is_inexact(type_of(a).dtype):
        out = e.logical_or(out, e.logical_and(e.ne(a, a), e.ne(b, b)))
    return _every(out)


def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    """Whether `a1` and `a2` have the same shape and equal elements."""
    if type_of(as_operand(a1)).shape != type_of(as_operand(a2)).shape:
        return asarray(False)
    return _same_elements("array_equal", a1, a2, equal_nan)


def array_equiv(a1: Any, a2: Any) -> Any:
    """Whether `a1` and `a2` broadcast to one shape and have equal elements there."""
    shapes = [type_of(as_operand(x)).shape for x in (a1, a2)]
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        return asarray(False)
    return _same_elements("array_equiv", a1, a2, False)


__all__ = [
    "allclose", "array_equal", "array_equiv", "equal", "greater", "greater_equal", "isclose", "isfinite", "isinf", "isnan", "isneginf",
    "isposinf", "less", "less_equal", "logical_and", "logical_not", "logical_or", "logical_xor", "not_equal",
]  # fmt: skip
