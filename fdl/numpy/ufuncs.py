"""Elementwise arithmetic, elementary functions and rounding under NumPy's names, with promotion and broadcasting.

Special values (NaN, infinities, signed zeros) are those of the array API standard 2024.12.  Where a derivative does not exist, the
convention is in docs/conventions.md.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.errors import DTypeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import complex as c
from fdl.tracer.ops import elementwise as e

from .promote import as_operand, asarray, like, no_out, promote_operands, to_dtype
from .static import need_int
from .together import applied


def define(
    name: str,
    function: Callable[..., Any],
    text: str,
    arity: int,
    inexact: bool = False,
    numeric: bool = False,
    wraps: bool = False,
) -> Callable[..., Any]:
    """The function `name` that promotes and broadcasts its operands, and gives them to `function`. `wraps`: see `promote_operands`."""

    def unary(x: Any, /) -> Any:
        return function(*promote_operands(name, x, inexact=inexact, numeric=numeric))

    def binary(x1: Any, x2: Any, /) -> Any:
        operands = promote_operands(name, x1, x2, inexact=inexact, numeric=numeric, wraps=wraps, broadcast=False)
        return applied(name, function, operands)

    f = unary if arity == 1 else binary
    f.__name__ = f.__qualname__ = name
    kind = " Integers and bools give float32." if inexact else " Bools count as integers." if numeric else ""
    f.__doc__ = f"{text}, elementwise, with promotion and broadcasting; differentiable where it has a derivative.{kind}"
    return f


# --- arithmetic -----------------------------------------------------------------------------------

add = define("add", e.add, "x1 + x2", 2)
subtract = define("subtract", e.sub, "x1 - x2", 2)
multiply = define("multiply", e.mul, "x1 * x2", 2)
divide = true_divide = define("divide", e.div, "x1 / x2", 2, True)
negative = define("negative", e.neg, "-x", 1)
maximum = define("maximum", e.max, "The larger of x1 and x2; NaN if either is (equal operands share the derivative)", 2)
minimum = define("minimum", e.min, "The smaller of x1 and x2; NaN if either is (equal operands share the derivative)", 2)
fmod = define("fmod", e.rem, "The remainder of x1 / x2 with the sign of x1", 2, numeric=True)


def abs(x: Any, /) -> Any:
    """The absolute value of `x`, elementwise: real for complex `x`. Its derivative at 0 is 0.

    Example:
        >>> abs([-1.5, 2.0]).tolist(), abs([3 + 4j]).tolist()
        ([1.5, 2.0], [5.0])
    """
    (x,) = promote_operands("abs", x)
    return x if type_of(x).dtype == dtypes.bool_ else e.abs(x)


absolute = abs


def sign(x: Any, /) -> Any:
    """-1, 0 or 1 by the sign of `x`, elementwise, NaN for NaN; z / |z| for complex `x`. The derivative of a real sign is 0."""
    (x,) = promote_operands("sign", x, numeric=True)
    y = e.sign(x)
    return e.add(y, like(0, y)) if dtypes.is_inexact(type_of(y).dtype) else y  # -0 has the sign +0


def fabs(x: Any, /) -> Any:
    """The absolute value of a real `x`, elementwise, as a float."""
    (x,) = promote_operands("fabs", x, inexact=True)
    return e.abs(real_only("fabs", x))


def real_only(name: str, x: Any) -> Any:
    """`x`; raises a DTypeError where it is complex."""
    if dtypes.is_complex(type_of(x).dtype):
        raise DTypeError(f"{name}: takes real numbers, got {type_of(x)}. Take .real or .imag first.{at(user_source())}")
    return x


def square(x: Any, /) -> Any:
    """x * x, elementwise."""
    (x,) = promote_operands("square", x, numeric=True)
    return e.mul(x, x)


def reciprocal(x: Any, /) -> Any:
    """1 / x, elementwise. Integers give float32."""
    return divide(1, x)


def positive(x: Any, /) -> Any:
    """`x` itself."""
    return asarray(promote_operands("positive", x)[0])


# --- elementary functions -------------------------------------------------------------------------

exp = define("exp", e.exp, "e to the power x", 1, True)
exp2 = define("exp2", c.exp2, "2 to the power x", 1, True)
expm1 = define("expm1", e.expm1, "exp(x) - 1, accurate near 0", 1, True)
log = define("log", e.log, "The natural logarithm of x", 1, True)
log1p = define("log1p", e.log1p, "log(1 + x), accurate near 0", 1, True)
sqrt = define("sqrt", e.sqrt, "The square root of x (derivative inf at 0)", 1, True)
cbrt = define("cbrt", e.cbrt, "The cube root of x", 1, True)
sin = define("sin", e.sin, "The sine of x in radians", 1, True)
cos = define("cos", e.cos, "The cosine of x in radians", 1, True)
tan = define("tan", e.tan, "The tangent of x in radians", 1, True)
arcsin = asin = define("asin", e.asin, "The arc sine of x", 1, True)
arccos = acos = define("acos", e.acos, "The arc cosine of x", 1, True)
arctan = atan = define("atan", e.atan, "The arc tangent of x", 1, True)
arctan2 = atan2 = define("atan2", e.atan2, "The angle of the point (x2, x1)", 2, True)
sinh = define("sinh", e.sinh, "The hyperbolic sine of x", 1, True)
cosh = define("cosh", e.cosh, "The hyperbolic cosine of x", 1, True)
tanh = define("tanh", e.tanh, "The hyperbolic tangent of x", 1, True)
arcsinh = asinh = define("asinh", e.asinh, "The inverse hyperbolic sine of x", 1, True)
arccosh = acosh = define("acosh", e.acosh, "The inverse hyperbolic cosine of x", 1, True)
arctanh = atanh = define("atanh", e.atanh, "The inverse hyperbolic tangent of x", 1, True)
logistic = define("logistic", e.logistic, "1 / (1 + exp(-x))", 1, True)
erf = define("erf", e.erf, "The error function of x", 1, True)
erfc = define("erfc", e.erfc, "1 - erf(x), accurate for large x", 1, True)
erf_inv = define("erf_inv", e.erf_inv, "The inverse of erf", 1, True)
rsqrt = define("rsqrt", e.rsqrt, "1 / sqrt(x)", 1, True)


def _scaled(name: str, factor: float, text: str) -> Callable[[Any], Any]:
    def f(x: Any, /) -> Any:
        (x,) = promote_operands(name, x, inexact=True)
        return e.mul(x, like(factor, x))

    f.__name__ = f.__qualname__ = name
    f.__doc__ = text
    return f


deg2rad = _scaled("deg2rad", np.pi / 180, "Degrees `x` in radians, elementwise.")
rad2deg = _scaled("rad2deg", 180 / np.pi, "Radians `x` in degrees, elementwise.")
radians, degrees = deg2rad, rad2deg

# --- powers ---------------------------------------------------------------------------------------


def power(x1: Any, x2: Any, /) -> Any:
    """`x1` to the power `x2`, elementwise.

    A small whole Python number as exponent is repeated multiplication: exact for integers, with a derivative everywhere. An integer
    to a negative power is its truncated reciprocal: 0, except for the bases 1 and -1.

    Example:
        >>> power([2, 3], 3).tolist(), power(2.0, [0.5, -1.0]).tolist()
        ([8, 27], [1.4142135381698608, 0.5])
    """
    if isinstance(x2, float) and type(x2) is float:
        (x,) = promote_operands("power", x1, x2, broadcast=False)[:1]
        if x2 == 0.5 and not dtypes.is_complex(type_of(x).dtype):
            # sqrt differs from it in two results, (-0)**0.5 is 0 and (-inf)**0.5 is inf, and in the derivatives there.
            return e.sqrt(e.select(e.eq(x, like(-np.inf, x)), like(np.inf, x), e.add(x, like(0, x))))
        if x2.is_integer() and -3 <= x2 <= 8:
            return _integer_power(x, int(x2))
    elif isinstance(x2, int) and type(x2) is int and -3 <= x2 <= 8:
        (x,) = promote_operands("power", x1, numeric=True)
        if x2 >= 0 or dtypes.is_inexact(type_of(x).dtype):
            return _integer_power(x, x2)
    return e.pow(*promote_operands("power", x1, x2, numeric=True))


pow = power


def float_power(x1: Any, x2: Any, /) -> Any:
    """`x1` to the power `x2`, elementwise, as floats: integers are converted first."""
    return e.pow(*promote_operands("float_power", x1, x2, inexact=True))


def _integer_power(x: Any, n: int) -> Any:
    if n < 0:
        return e.div(like(1, x), _integer_power(x, -n))
    if n == 0:
        return e.splat(like(1, x), type_of(x).shape)
    if n == 1:
        return asarray(x)
    half = _integer_power(x, n // 2)
    squared = e.mul(half, half)
    return e.mul(squared, x) if n % 2 else squared


# --- division with remainder ----------------------------------------------------------------------


def floor_divide(x1: Any, x2: Any, /) -> Any:
    """`x1 / x2` rounded towards minus infinity, elementwise; 0 where an integer divisor is 0. Its derivative is 0.

    For finite floats it is the floor of the exact quotient, which goes with `remainder` as in Python: `1.0 // 0.1` is 9. With
    an infinite operand it is floor(x1 / x2), as the array API standard prefers.
    """
    x, y = promote_operands("floor_divide", x1, x2, numeric=True)
    real_only("floor_divide", x)
    if dtypes.is_int(type_of(x).dtype):
        return _floor_divide_int(x, y)
    x, y = e.stop_gradient(x), e.stop_gradient(y)
    zero, one = like(0, x), like(1, x)
    plain = e.div(x, y)
    r = e.rem(x, y)
    down = e.logical_and(e.ne(r, zero), e.ne(e.lt(r, zero), e.lt(y, zero)))
    exact = e.round(e.sub(e.div(e.sub(x, r), y), e.select(down, one, zero)))
    exact = e.select(e.eq(exact, zero), e.mul(plain, zero), exact)  # a zero has the quotient's sign
    ordinary = e.logical_and(e.is_finite(plain), e.logical_and(e.is_finite(x), e.is_finite(y)))
    return e.select(ordinary, exact, e.floor(plain))


def _floor_divide_int(x: Any, y: Any) -> Any:
    q = e.div(x, y)
    if not dtypes.is_signed(type_of(x).dtype):
        return q
    zero = like(0, x)
    inexact = e.ne(e.sub(x, e.mul(q, y)), zero)
    down = e.logical_and(e.logical_and(inexact, e.ne(e.lt(x, zero), e.lt(y, zero))), e.ne(y, zero))
    return e.select(down, e.sub(q, like(1, x)), q)


def remainder(x1: Any, x2: Any, /) -> Any:
    """The remainder of `x1 // x2`, elementwise, with the sign of `x2`: Python's modulo. `x1` where an integer `x2` is 0."""
    x, y = promote_operands("remainder", x1, x2, numeric=True)
    real_only("remainder", x)
    zero = like(0, x)
    if dtypes.is_int(type_of(x).dtype):
        r = e.rem(x, y)
        wrong = e.logical_and(e.ne(r, zero), e.ne(e.lt(r, zero), e.lt(y, zero)))
        return e.select(wrong, e.add(r, y), r)
    # With a negative divisor both are negated, and the result as well, so that a zero gets the divisor's sign.
    below = e.lt(y, zero)
    x, y = e.select(below, e.neg(x), x), e.select(below, e.neg(y), y)
    r = e.rem(x, y)
    r = e.add(e.select(e.lt(r, zero), e.add(r, y), r), zero)
    return e.select(below, e.neg(r), r)


mod = remainder


def divmod(x1: Any, x2: Any, /) -> tuple[Any, Any]:
    """The pair (x1 // x2, x1 % x2)."""
    return floor_divide(x1, x2), remainder(x1, x2)


# --- rounding -------------------------------------------------------------------------------------


def _whole(name: str, function: Callable[..., Any], text: str) -> Callable[[Any], Any]:
    def f(x: Any) -> Any:
        (x,) = promote_operands(name, x)
        return function(real_only(name, x)) if dtypes.is_inexact(type_of(x).dtype) else asarray(x)

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"{text}, elementwise; integers are unchanged. Its derivative is 0."
    return f


floor = _whole("floor", e.floor, "The largest whole number not above `x`")
ceil = _whole("ceil", e.ceil, "The smallest whole number not below `x`")
trunc = _whole("trunc", e.trunc, "`x` rounded towards 0")
fix = trunc


def rint(x: Any, /) -> Any:
    """The whole number nearest to `x`, elementwise, halves to even; each part by itself where `x` is complex. Integers give float32."""
    (x,) = promote_operands("rint", x, inexact=True)
    if dtypes.is_complex(type_of(x).dtype):
        return c.complex(e.round(c.real(x)), e.round(c.imag(x)))
    return e.round(x)


def round(a: Any, decimals: int = 0, out: None = None) -> Any:
    """`a` rounded to `decimals` places, elementwise, halves to even; negative `decimals` round to tens, hundreds, ...

    Example:
        >>> round([0.5, 1.5, -2.5]).tolist(), round([1234, 1250], -2).tolist()
        ([0.0, 2.0, -2.0], [1200, 1200])
    """
    no_out("round", out)
    decimals = need_int("round", "decimals", decimals)
    (a,) = promote_operands("round", a)
    if not dtypes.is_inexact(type_of(a).dtype):
        return asarray(a) if decimals >= 0 else _round_int(a, 10**-decimals)
    if decimals == 0:
        return rint(a)
    t = type_of(a)
    if dtypes.is_complex(t.dtype):
        return c.complex(round(c.real(a), decimals), round(c.imag(a), decimals))
    if t.dtype.itemsize == 2:  # 100 times a float16 or bfloat16 is rounded itself
        return to_dtype(round(to_dtype(a, dtypes.float32), decimals), t.dtype, t.weak)
    scale = 10.0 ** builtins.abs(decimals)
    if decimals > 0:
        return divide(rint(multiply(a, scale)), scale)
    return multiply(rint(divide(a, scale)), scale)


around = round


def _round_int(x: Any, step: int) -> Any:
    """Integers rounded to a multiple of `step`, halves to the even multiple."""
    t = type_of(x)
    if step > np.iinfo(t.dtype).max:
        return multiply(x, 0)
    size = like(step, x)
    q, r = _floor_divide_int(x, size), remainder(x, size)
    rest = e.sub(size, r)
    odd = e.ne(e.logical_and(q, like(1, x)), like(0, x))
    up = e.logical_or(e.gt(r, rest), e.logical_and(e.eq(r, rest), odd))
    return e.mul(e.select(up, e.add(q, like(1, x)), q), size)


def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    """`x` limited to the interval [min, max], elementwise; None leaves a side open. NaN where any of the three is.

    At a bound, `x` and the bound share the derivative. Where min > max, the result is max.

    Example:
        >>> clip([-1.0, 0.5, 2.0], 0, 1).tolist()
        [0.0, 0.5, 1.0]
    """
    y = as_operand(x, "clip: x")
    y = y if min is None else maximum(y, min)
    return asarray(y if max is None else minimum(y, max))


__all__ = [
    "abs", "absolute", "acos", "acosh", "add", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh",
    "around", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "ceil", "clip", "cos", "cosh", "deg2rad", "degrees", "divide",
    "divmod", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "fabs", "fix", "float_power", "floor", "floor_divide", "fmod",
    "log", "log1p", "logistic", "maximum", "minimum", "mod", "multiply", "negative", "positive", "pow", "power", "rad2deg",
    "radians", "reciprocal", "remainder", "rint", "round", "rsqrt", "sign", "sin", "sinh", "sqrt", "square", "subtract", "tan",
    "tanh", "true_divide", "trunc",
]  # fmt: skip
