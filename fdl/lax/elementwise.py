"""Arithmetic, elementary functions and rounding under the names of JAX's `lax`: on operands of one dtype and one shape.

A 0-d operand goes with any shape, and a Python number takes the arrays' dtype; nothing else is converted.  What an operation does at its
edges is in `fdl.tracer.scalars`: integers wrap, and x / 0 is 0 for them.
"""

from __future__ import annotations

import builtins
import enum
import functools
from typing import Any

import numpy as np

from fdl.numpy.promote import asarray, like, to_dtype
from fdl.tracer import dtypes
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import complex as c
from fdl.tracer.ops import elementwise as e
from fdl.transforms.custom_jvp import custom_jvp

from .operands import (
    INEXACT,
    NUMBERS,
    ORDERED,
    REALS,
    Function,
    binary,
    check_kind,
    one_dtype,
    one_shape,
    operand,
    operands,
    unary,
)

# --- arithmetic -----------------------------------------------------------------------------------

add = binary("add", e.add, NUMBERS, "x + y", "add")
sub = binary("sub", e.sub, NUMBERS, "x - y", "subtract")
div = binary("div", e.div, NUMBERS, "x / y; integers are divided towards 0, with 0 for a divisor of 0", "divide")
rem = binary("rem", e.rem, REALS, "The remainder of x / y, with the sign of x; x where an integer y is 0", "remainder")
atan2 = binary("atan2", e.atan2, "f", "The angle of the point (y, x)", "arctan2")
neg = unary("neg", e.neg, NUMBERS, "-x")
abs = unary("abs", e.abs, "ifc", "The absolute value of x, real for complex x")


def nextafter(x1: Any, x2: Any) -> Any:
    """The neighbour of `x1` in the direction of `x2`, elementwise, for operands of one dtype and one shape (or 0-d)."""
    return e.nextafter(*operands("nextafter", x1, x2, kinds="f", hint="nextafter"))


def mul(x: Any, y: Any, *, out_dtype: Any = None) -> Any:
    """x · y, elementwise, for operands of one dtype and one shape (or 0-d).

    Args:
        out_dtype: a dtype in which the product is formed instead: int32 for int8 operands, say.
    """
    a, b = operands("mul", x, y, kinds=NUMBERS, hint="multiply")
    if out_dtype is not None:
        wide = dtypes.of(out_dtype)
        a, b = to_dtype(a, wide), to_dtype(b, wide)
    return e.mul(a, b)


def _extremum(name: str, function: Function, first: Function, text: str, hint: str) -> Function:
    def f(x: Any, y: Any) -> Any:
        a, b = operands(name, x, y, hint=hint)
        if not dtypes.is_complex(type_of(a).dtype):
            return function(a, b)
        (re_a, im_a), (re_b, im_b) = ((c.real(v), c.imag(v)) for v in (a, b))
        wins = e.logical_or(first(re_a, re_b), e.logical_and(e.eq(re_a, re_b), first(im_a, im_b)))
        nan = e.logical_or(e.ne(re_a, re_a), e.ne(im_a, im_a))
        shape = type_of(wins).shape  # of two complex numbers one is chosen whole
        return e.select(e.logical_or(wins, nan), *(v if type_of(v).shape == shape else e.splat(v, shape) for v in (a, b)))

    f.__name__ = f.__qualname__ = name
    f.__doc__ = (
        f"The {text} of x and y, elementwise, for operands of one dtype and one shape (or 0-d); NaN if either is. "
        "Complex numbers are ordered by their real, then by their imaginary parts."
    )
    return f


max = _extremum("max", e.max, e.gt, "larger", "maximum")
min = _extremum("min", e.min, e.lt, "smaller", "minimum")


def sign(x: Any) -> Any:
    """-1, 0 or 1 by the sign of `x`, elementwise; NaN for NaN, -0.0 for -0.0; z / |z| for complex `x`."""
    return e.sign(*operands("sign", x, kinds=NUMBERS))


def square(x: Any) -> Any:
    """x · x, elementwise."""
    (x,) = operands("square", x, kinds=NUMBERS)
    return e.mul(x, x)


def reciprocal(x: Any) -> Any:
    """1 / x, elementwise, for floats and complex numbers."""
    (x,) = operands("reciprocal", x, kinds=INEXACT)
    return e.div(like(1, x), x)


def pow(x: Any, y: Any) -> Any:
    """x to the power y, elementwise: y has the dtype of x, or an integer dtype.

    Example:
        >>> import fdl.numpy as fnp
        >>> pow(fnp.array([2.0, 3.0]), fnp.array([2, 3])).tolist()
        [4.0, 27.0]
    """
    base, power = operand("pow", x, "operand 0"), operand("pow", y, "operand 1")
    check_kind("pow", type_of(base), INEXACT)
    if type(y) is int and -8 <= y <= 16:
        return integer_pow(base, y)
    if dtypes.is_int(type_of(power).dtype):
        power = to_dtype(power, type_of(base).dtype)
    return e.pow(*one_shape("pow", *one_dtype("pow", base, power, hint="power")))


def integer_pow(x: Any, y: int) -> Any:
    """x to the power of the Python int `y`, elementwise, by repeated multiplication: with a derivative everywhere.

    Raises: DTypeError for an integer `x` and a negative `y`.
    """
    (x,) = operands("integer_pow", x, kinds=NUMBERS)
    if isinstance(y, bool) or not isinstance(y, (int, np.integer)):
        raise DTypeError(f"lax.integer_pow: the exponent is {y!r}, expected an int. Use lax.pow.{at(user_source())}")
    n = int(y)
    if n < 0:
        check_kind("integer_pow with a negative exponent", type_of(x), INEXACT)
        return e.div(like(1, x), _power(x, -n))
    return asarray(_power(x, n))


def _power(x: Any, n: int) -> Any:
    if n == 0:
        return e.splat(like(1, x), type_of(x).shape)
    half = x if n == 1 else _power(x, n // 2)
    if n == 1:
        return half
    squared = e.mul(half, half)
    return e.mul(squared, x) if n % 2 else squared


def mulhi(x: Any, y: Any, /) -> Any:
    """The upper half of the bits of the product of integers: ⌊x y / 2ʷ⌋ for their width w, elementwise."""
    a, b = operands("mulhi", x, y, kinds="iu")
    dtype = type_of(a).dtype
    width = dtypes.bits(dtype)
    if width < 64:
        wide = dtypes.of(f"{'int' if dtypes.is_signed(dtype) else 'uint'}{2 * width}")
        product = e.mul(e.convert(a, wide), e.convert(b, wide))
        return e.convert(_shift_right(product, width), dtype)
    # Halves of 32 bits: a = a1 2³² + a0, where a1 has the sign.  No partial sum leaves 64 bits.
    (a0, a1), (b0, b1) = _halves(a), _halves(b)
    middle = e.add(e.mul(a1, b0), _shift_right_logical(e.mul(a0, b0)))
    low = e.add(e.mul(a0, b1), e.logical_and(middle, like(0xFFFFFFFF, middle)))
    return e.add(e.mul(a1, b1), e.add(_shift_right(middle, 32), _shift_right(low, 32)))


def _halves(x: Any) -> tuple[Any, Any]:
    return e.logical_and(x, like(0xFFFFFFFF, x)), _shift_right(x, 32)


def _shift_right(x: Any, n: int) -> Any:
    return (e.shift_right_arithmetic if dtypes.is_signed(type_of(x).dtype) else e.shift_right_logical)(x, like(n, x))


def _shift_right_logical(x: Any) -> Any:
    return e.shift_right_logical(x, like(32, x))


def clamp(min: Any, x: Any, max: Any) -> Any:
    """`x` limited to the interval [min, max], elementwise; `min` and `max` are 0-d or of the shape of `x`. Where min > max, it is max."""
    low, y, high = (operand("clamp", v, what) for v, what in ((min, "min"), (x, "x"), (max, "max")))
    low, y, high = one_dtype("clamp", low, y, high, hint="clip")
    check_kind("clamp", type_of(y), ORDERED)
    shape = type_of(y).shape
    for what, bound in (("min", low), ("max", high)):
        if type_of(bound).shape not in ((), shape):
            raise ShapeError(
                f"lax.clamp: {what} has shape {type_of(bound).shape}, x {shape}: expected a scalar or the shape of x.{at(user_source())}"
            )
    return e.min(e.max(y, low), high)


# --- elementary functions -------------------------------------------------------------------------

exp = unary("exp", e.exp, INEXACT, "e to the power x", True)
exp2 = unary("exp2", c.exp2, INEXACT, "2 to the power x", True)
expm1 = unary("expm1", e.expm1, INEXACT, "exp(x) - 1, accurate near 0", True)
log = unary("log", e.log, INEXACT, "The natural logarithm of x", True)
log1p = unary("log1p", e.log1p, INEXACT, "log(1 + x), accurate near 0", True)
sqrt = unary("sqrt", e.sqrt, INEXACT, "The square root of x", True)
rsqrt = unary("rsqrt", e.rsqrt, INEXACT, "1 / sqrt(x)", True)
cbrt = unary("cbrt", e.cbrt, "f", "The cube root of x", True)
logistic = unary("logistic", e.logistic, INEXACT, "1 / (1 + exp(-x))", True)
sin = unary("sin", e.sin, INEXACT, "The sine of x in radians", True)
cos = unary("cos", e.cos, INEXACT, "The cosine of x in radians", True)
tan = unary("tan", e.tan, INEXACT, "The tangent of x in radians", True)
tanh = unary("tanh", e.tanh, INEXACT, "The hyperbolic tangent of x", True)
asin = unary("asin", e.asin, INEXACT, "The arc sine of x")
acos = unary("acos", e.acos, INEXACT, "The arc cosine of x")
atan = unary("atan", e.atan, INEXACT, "The arc tangent of x")
sinh = unary("sinh", e.sinh, INEXACT, "The hyperbolic sine of x")
cosh = unary("cosh", e.cosh, INEXACT, "The hyperbolic cosine of x")
asinh = unary("asinh", e.asinh, INEXACT, "The inverse hyperbolic sine of x")
acosh = unary("acosh", e.acosh, INEXACT, "The inverse hyperbolic cosine of x")
atanh = unary("atanh", e.atanh, INEXACT, "The inverse hyperbolic tangent of x")

# --- rounding -------------------------------------------------------------------------------------

floor = unary("floor", e.floor, "f", "The largest whole number not above x")
ceil = unary("ceil", e.ceil, "f", "The smallest whole number not below x")
is_finite = unary("is_finite", e.is_finite, "f", "Whether x is neither infinite nor NaN")


class RoundingMethod(enum.IntEnum):
    """Where `round` takes halves."""

    AWAY_FROM_ZERO = 0
    TO_NEAREST_EVEN = 1


def round(x: Any, rounding_method: RoundingMethod = RoundingMethod.AWAY_FROM_ZERO) -> Any:
    """`x` rounded to whole numbers, elementwise; halves go away from 0, unless `rounding_method` takes them to the even neighbour.

    Example:
        >>> import fdl.numpy as fnp
        >>> round(fnp.array([0.5, 1.5, -2.5])).tolist()
        [1.0, 2.0, -3.0]
    """
    (x,) = operands("round", x, kinds="f")
    if RoundingMethod(rounding_method) is RoundingMethod.TO_NEAREST_EVEN:
        return e.round(x)
    whole = e.trunc(x)
    # |x - whole| is exact; from 1/2 on, one step further in the direction of x.
    further = e.ge(e.abs(e.sub(x, whole)), like(0.5, x))
    stepped = e.select(further, e.add(whole, e.sign(x)), whole)
    return e.select(e.is_finite(x), stepped, x)


def reduce_precision(operand: Any, exponent_bits: int, mantissa_bits: int) -> Any:
    """A float `operand` rounded to what a format of so many bits holds, elementwise, in its own dtype.

    Halves go to the even neighbour, what is too large becomes infinite, and what is too small for a normal number of the format, 0.
    Its derivative is 1.

    Example:
        >>> import fdl.numpy as fnp
        >>> reduce_precision(fnp.array([1.2345678, 1e30]), 5, 10).tolist()  # float16's range and precision
        [1.234375, inf]
    """
    (x,) = operands("reduce_precision", operand, kinds="f")
    if exponent_bits < 1 or mantissa_bits < 0:
        raise DTypeError(
            f"lax.reduce_precision: exponent_bits={exponent_bits}, mantissa_bits={mantissa_bits}: expected at least 1 and 0."
            f"{at(user_source())}"
        )
    return _reduced(x, exponent_bits, mantissa_bits)


@functools.partial(custom_jvp, nondiff_argnums=(1, 2))
def _reduced(x: Any, exponent_bits: int, mantissa_bits: int) -> Any:
    dtype = type_of(x).dtype
    word = dtypes.of(f"uint{dtypes.bits(dtype)}")
    own = {dtypes.float16: 10, dtypes.bfloat16: 7, dtypes.float32: 23, dtypes.float64: 52}[dtype]
    bits = e.bitcast(x, word)
    drop = own - mantissa_bits
    if drop > 0:
        # Half of what is dropped, less one, plus the last kept bit: a carry into the exponent is the rounding up that it should be.
        odd = e.logical_and(e.shift_right_logical(bits, like(drop, bits)), like(1, bits))
        bits = e.add(e.add(bits, odd), like((1 << (drop - 1)) - 1, bits))
        bits = e.logical_and(bits, like(((1 << dtypes.bits(dtype)) - 1) & ~((1 << drop) - 1), bits))
    bias = (1 << (exponent_bits - 1)) - 1
    own_bias = (1 << (dtypes.bits(dtype) - own - 2)) - 1
    y = e.bitcast(bits, dtype)
    if bias < own_bias:
        largest = np.ldexp(2.0 - 0.5 ** builtins.min(mantissa_bits, own), bias)
        y = e.select(e.gt(e.abs(y), like(largest, y)), e.mul(e.sign(y), like(np.inf, y)), y)
        y = e.select(e.lt(e.abs(y), like(np.ldexp(1.0, 1 - bias), y)), e.mul(y, like(0, y)), y)
    return e.select(e.eq(x, x), y, x)


@_reduced.defjvp
def _reduced_jvp(exponent_bits: int, mantissa_bits: int, primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    return _reduced(primals[0], exponent_bits, mantissa_bits), tangents[0]


__all__ = [
    "RoundingMethod", "abs", "acos", "acosh", "add", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "ceil", "clamp", "cos", "cosh",
    "div", "exp", "exp2", "expm1", "floor", "integer_pow", "is_finite", "log", "log1p", "logistic", "max", "min", "mul", "mulhi", "neg",
    "nextafter", "pow", "reciprocal", "reduce_precision", "rem", "round", "rsqrt", "sign", "sin", "sinh", "sqrt", "square", "sub", "tan",
    "tanh",
]  # fmt: skip
