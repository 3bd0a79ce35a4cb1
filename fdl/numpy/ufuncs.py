"""Elementwise functions under NumPy's names, with promotion and broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e

from .promote import as_operand, broadcast_operands, promote_operands, to_dtype


def _define(name: str, function: Callable[..., Any], text: str, arity: int, inexact: bool = False) -> Callable[..., Any]:
    def unary(x: Any) -> Any:
        return function(*promote_operands(name, x, inexact=inexact))

    def binary(x: Any, y: Any) -> Any:
        return function(*promote_operands(name, x, y, inexact=inexact))

    f = unary if arity == 1 else binary
    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"{text}, elementwise, with promotion and broadcasting; differentiable where it has a derivative."
    return f


negative = _define("negative", e.neg, "-x", 1)
abs = absolute = _define("abs", e.abs, "The absolute value of x (derivative 0 at 0)", 1)
sign = _define("sign", e.sign, "-1, 0 or 1 by the sign of x", 1)
exp = _define("exp", e.exp, "e to the power x", 1, True)
exp2 = _define("exp2", e.exp2, "2 to the power x", 1, True)
expm1 = _define("expm1", e.expm1, "exp(x) - 1, accurate near 0", 1, True)
log = _define("log", e.log, "The natural logarithm of x", 1, True)
log1p = _define("log1p", e.log1p, "log(1 + x), accurate near 0", 1, True)
sqrt = _define("sqrt", e.sqrt, "The square root of x", 1, True)
cbrt = _define("cbrt", e.cbrt, "The cube root of x", 1, True)
sin = _define("sin", e.sin, "The sine of x in radians", 1, True)
cos = _define("cos", e.cos, "The cosine of x in radians", 1, True)
tan = _define("tan", e.tan, "The tangent of x in radians", 1, True)
arcsin = asin = _define("arcsin", e.asin, "The arc sine of x", 1, True)
arccos = acos = _define("arccos", e.acos, "The arc cosine of x", 1, True)
arctan = atan = _define("arctan", e.atan, "The arc tangent of x", 1, True)
sinh = _define("sinh", e.sinh, "The hyperbolic sine of x", 1, True)
cosh = _define("cosh", e.cosh, "The hyperbolic cosine of x", 1, True)
tanh = _define("tanh", e.tanh, "The hyperbolic tangent of x", 1, True)
arcsinh = asinh = _define("arcsinh", e.asinh, "The inverse hyperbolic sine of x", 1, True)
arccosh = acosh = _define("arccosh", e.acosh, "The inverse hyperbolic cosine of x", 1, True)
arctanh = atanh = _define("arctanh", e.atanh, "The inverse hyperbolic tangent of x", 1, True)
logistic = _define("logistic", e.logistic, "1 / (1 + exp(-x))", 1, True)
erf = _define("erf", e.erf, "The error function of x", 1, True)
erfc = _define("erfc", e.erfc, "1 - erf(x), accurate for large x", 1, True)
erf_inv = _define("erf_inv", e.erf_inv, "The inverse of erf", 1, True)
rsqrt = _define("rsqrt", e.rsqrt, "1 / sqrt(x)", 1, True)

add = _define("add", e.add, "x + y", 2)
subtract = _define("subtract", e.sub, "x - y", 2)
multiply = _define("multiply", e.mul, "x * y", 2)
divide = true_divide = _define("divide", e.div, "x / y", 2, True)
maximum = _define("maximum", e.max, "The larger of x and y; NaN if either is (equal operands share the derivative)", 2)
minimum = _define("minimum", e.min, "The smaller of x and y; NaN if either is (equal operands share the derivative)", 2)
fmod = _define("fmod", e.rem, "The remainder of x / y with the sign of x", 2)
arctan2 = atan2 = _define("arctan2", e.atan2, "The angle of the point (y, x)", 2, True)
nextafter = _define("nextafter", e.nextafter, "The next floating-point number after x towards y", 2, True)
equal = _define("equal", e.eq, "x == y", 2)
not_equal = _define("not_equal", e.ne, "x != y", 2)
less = _define("less", e.lt, "x < y", 2)
less_equal = _define("less_equal", e.le, "x <= y", 2)
greater = _define("greater", e.gt, "x > y", 2)
greater_equal = _define("greater_equal", e.ge, "x >= y", 2)
bitwise_and = _define("bitwise_and", e.logical_and, "x & y", 2)
bitwise_or = _define("bitwise_or", e.logical_or, "x | y", 2)
bitwise_xor = _define("bitwise_xor", e.logical_xor, "x ^ y", 2)
bitwise_not = invert = _define("bitwise_not", e.logical_not, "~x", 1)
left_shift = _define("left_shift", e.shift_left, "x << y", 2)


def _whole(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def f(x: Any) -> Any:
        (x,) = promote_operands(name, x)
        return function(x) if dtypes.is_inexact(type_of(x).dtype) else x

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"`{name}` of x, elementwise; integers are unchanged. Its derivative is 0."
    return f


floor, ceil, trunc, rint = (
    _whole(n, f) for n, f in (("floor", e.floor), ("ceil", e.ceil), ("trunc", e.trunc), ("rint", e.round))
)


def round(x: Any, decimals: int = 0) -> Any:
    """`x` rounded to `decimals` places, halves to even."""
    if decimals == 0:
        return rint(x)
    scale = 10.0**decimals
    return divide(rint(multiply(x, scale)), scale)


def right_shift(x: Any, y: Any) -> Any:
    """x >> y: arithmetic for signed integers, logical for unsigned ones."""
    x, y = promote_operands("right_shift", x, y)
    return (e.shift_right_arithmetic if dtypes.is_signed(type_of(x).dtype) else e.shift_right_logical)(x, y)


def power(x: Any, y: Any) -> Any:
    """x to the power y, elementwise. A small static integer exponent is repeated multiplication, exact for integers."""
    if isinstance(y, int) and not isinstance(y, bool) and -3 <= y <= 8:
        (x,) = promote_operands("power", x)
        if y >= 0 or dtypes.is_inexact(type_of(x).dtype):
            return _integer_power(x, y)
    if isinstance(y, float) and y == 0.5:
        return sqrt(x)
    return e.pow(*promote_operands("power", x, y))


pow = power


def _integer_power(x: Any, n: int) -> Any:
    if n < 0:
        return e.div(e.scalar_like(1, x), _integer_power(x, -n))
    if n == 0:
        return e.splat(e.scalar_like(1, x), type_of(x).shape)
    half = _integer_power(x, n // 2) if n > 1 else None
    if half is None:
        return x
    squared = e.mul(half, half)
    return e.mul(squared, x) if n % 2 else squared


def square(x: Any) -> Any:
    """x * x, elementwise."""
    (x,) = promote_operands("square", x)
    return e.mul(x, x)


def reciprocal(x: Any) -> Any:
    """1 / x, elementwise."""
    return divide(1, x)


def positive(x: Any) -> Any:
    """x itself."""
    return promote_operands("positive", x)[0]


def floor_divide(x: Any, y: Any) -> Any:
    """x // y rounded towards minus infinity, elementwise; 0 where an integer divisor is 0."""
    x, y = promote_operands("floor_divide", x, y)
    if not dtypes.is_int(type_of(x).dtype):
        return e.floor(e.div(x, y))
    q = e.div(x, y)
    if not dtypes.is_signed(type_of(x).dtype):
        return q
    zero = e.scalar_like(0, x)
    inexact = e.ne(e.sub(x, e.mul(q, y)), zero)
    down = e.logical_and(e.logical_and(inexact, e.ne(e.lt(x, zero), e.lt(y, zero))), e.ne(y, zero))
    return e.select(down, e.sub(q, e.scalar_like(1, x)), q)


def remainder(x: Any, y: Any) -> Any:
    """x % y with the sign of y, elementwise: Python's modulo."""
    x, y = promote_operands("remainder", x, y)
    r = e.rem(x, y)
    zero = e.scalar_like(0, x)
    wrong = e.logical_and(e.ne(r, zero), e.ne(e.lt(r, zero), e.lt(y, zero)))
    return e.select(wrong, e.add(r, y), r)


mod = remainder


def divmod(x: Any, y: Any) -> tuple[Any, Any]:
    """The pair (x // y, x % y)."""
    return floor_divide(x, y), remainder(x, y)


def _as_bool(x: Any) -> Any:
    x = as_operand(x)
    return to_dtype(x, dtypes.bool_)


def logical_and(x: Any, y: Any) -> Any:
    """Whether x and y are both true, elementwise."""
    return e.logical_and(*broadcast_operands("logical_and", _as_bool(x), _as_bool(y)))


def logical_or(x: Any, y: Any) -> Any:
    """Whether x or y is true, elementwise."""
    return e.logical_or(*broadcast_operands("logical_or", _as_bool(x), _as_bool(y)))


def logical_xor(x: Any, y: Any) -> Any:
    """Whether exactly one of x and y is true, elementwise."""
    return e.logical_xor(*broadcast_operands("logical_xor", _as_bool(x), _as_bool(y)))


def logical_not(x: Any) -> Any:
    """Whether x is false, elementwise."""
    return e.logical_not(_as_bool(x))


def isfinite(x: Any) -> Any:
    """Whether x is neither infinite nor NaN, elementwise."""
    (x,) = promote_operands("isfinite", x)
    t = type_of(x)
    return e.is_finite(x) if dtypes.is_inexact(t.dtype) else e.splat(np.asarray(True), t.shape)


def isnan(x: Any) -> Any:
    """Whether x is NaN, elementwise."""
    (x,) = promote_operands("isnan", x)
    return e.ne(x, x)


def isinf(x: Any) -> Any:
    """Whether x is infinite, elementwise."""
    (x,) = promote_operands("isinf", x)
    if not dtypes.is_inexact(type_of(x).dtype):
        return e.splat(np.asarray(False), type_of(x).shape)
    return e.eq(e.abs(x), e.scalar_like(np.inf, x))


def where(condition: Any, x: Any, y: Any) -> Any:
    """`x` where `condition` is true, else `y`, broadcast together. The derivative of the side not taken is 0."""
    a, b = promote_operands("where", x, y, broadcast=False)
    return e.select(*broadcast_operands("where", _as_bool(condition), a, b))


def clip(x: Any, min: Any = None, max: Any = None) -> Any:
    """`x` limited to the interval [min, max]; None leaves a side open."""
    x = x if min is None else maximum(x, min)
    return x if max is None else minimum(x, max)


def logaddexp(x: Any, y: Any) -> Any:
    """log(exp(x) + exp(y)) without overflow, elementwise."""
    x, y = promote_operands("logaddexp", x, y, inexact=True)
    top = e.stop_gradient(e.max(x, y))
    safe = where(isfinite(top), top, 0)
    return add(log(add(exp(subtract(x, safe)), exp(subtract(y, safe)))), safe)
