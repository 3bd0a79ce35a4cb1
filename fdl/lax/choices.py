"""Comparisons, logic, bits, conversions and the parts of complex numbers, under the names of JAX's `lax`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fdl.control import select as select
from fdl.control import select_n as select_n
from fdl.numpy.bits import view
from fdl.numpy.promote import asarray, check_conversion, to_dtype
from fdl.tracer import dtypes
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import complex as c
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import shape as s

from .operands import ANY, BITS, ORDERED, binary, operand, operands, unary

# --- comparisons ----------------------------------------------------------------------------------

eq = binary("eq", e.eq, ANY, "x == y", "equal")
ne = binary("ne", e.ne, ANY, "x != y", "not_equal")
lt = binary("lt", e.lt, ORDERED, "x < y", "less")
le = binary("le", e.le, ORDERED, "x <= y", "less_equal")
gt = binary("gt", e.gt, ORDERED, "x > y", "greater")
ge = binary("ge", e.ge, ORDERED, "x >= y", "greater_equal")

# --- bits -----------------------------------------------------------------------------------------

bitwise_and = binary("bitwise_and", e.logical_and, BITS, "x & y", "bitwise_and")
bitwise_or = binary("bitwise_or", e.logical_or, BITS, "x | y", "bitwise_or")
bitwise_xor = binary("bitwise_xor", e.logical_xor, BITS, "x ^ y", "bitwise_xor")
bitwise_not = unary("bitwise_not", e.logical_not, BITS, "~x")
shift_left = binary("shift_left", e.shift_left, "iu", "x << y; 0 where y is the width or more", "left_shift")
shift_right_logical = binary(
    "shift_right_logical", e.shift_right_logical, "iu", "x >> y, zeros coming in from the left", "right_shift"
)
shift_right_arithmetic = binary(
    "shift_right_arithmetic",
    e.shift_right_arithmetic,
    "iu",
    "x >> y, copies of the highest bit coming in from the left",
    "right_shift",
)
population_count = unary("population_count", e.population_count, "iu", "The number of one bits of x, in its dtype")
clz = unary("clz", e.clz, "iu", "The number of zero bits of x in front of its highest one bit, in its dtype")

# --- conversions ----------------------------------------------------------------------------------


def dtype(x: Any) -> dtypes.DType:
    """The dtype of an array or a number.

    Example:
        >>> dtype(1.5)
        dtype('float32')
    """
    return type_of(operand("dtype", x)).dtype


def convert_element_type(operand: Any, new_dtype: Any) -> Any:
    """`operand` with each element converted to `new_dtype`: float → int truncates, saturates, and makes 0 of NaN; int → int wraps.

    Complex → real is an error, where it would drop the imaginary parts silently: take `real` first.
    """
    x = _operand("convert_element_type", operand)
    wanted = dtypes.of(new_dtype)
    check_conversion("lax.convert_element_type", type_of(x).dtype, wanted)
    return asarray(to_dtype(x, wanted))


_operand = operand


def bitcast_convert_type(operand: Any, new_dtype: Any) -> Any:
    """The bits of `operand` read as `new_dtype`. Its derivative is zero.

    Where the new dtype is k times narrower, a last axis of size k is added; where it is k times wider, a last axis of size k is consumed.

    Example:
        >>> import fdl.numpy as fnp
        >>> bitcast_convert_type(fnp.array([1.0]), fnp.uint8).tolist()  # the lowest byte comes first
        [[0, 0, 128, 63]]
    """
    x = _operand("bitcast_convert_type", operand)
    t, wanted = type_of(x), dtypes.of(new_dtype)
    if t.dtype.itemsize == wanted.itemsize:
        return view(x, wanted)
    if t.dtype.itemsize > wanted.itemsize:
        return view(s.reshape(x, (*t.shape, 1)), wanted)
    k = wanted.itemsize // t.dtype.itemsize
    if t.shape[-1:] != (k,):
        raise ShapeError(
            f"lax.bitcast_convert_type: {t} as {wanted.name}, which is {k} times wider, needs a last axis of size {k}.{at(user_source())}"
        )
    return s.reshape(view(x, wanted), t.shape[:-1])


# --- complex numbers ------------------------------------------------------------------------------


def complex(x: Any, y: Any) -> Any:
    """x + i y, elementwise, for floats of one dtype."""
    re, im = operands("complex", x, y, kinds="f")
    if type_of(re).dtype not in dtypes.PARTS:
        raise DTypeError(
            f"lax.complex: no complex dtype has parts of dtype {type_of(re).dtype.name}, expected float32 or float64.{at(user_source())}"
        )
    shape = type_of(re).shape or type_of(im).shape
    return c.complex(e.splat(re, shape), e.splat(im, shape))


def conj(x: Any) -> Any:
    """The complex conjugate of `x`, elementwise, always complex."""
    (x,) = operands("conj", x, kinds="fc")
    t = type_of(x)
    if t.dtype in (dtypes.float16, dtypes.bfloat16):
        raise DTypeError(f"conj: no complex dtype has parts of {t.dtype.name}: expected float32 or float64.{at(user_source())}")
    return c.conj(x) if dtypes.is_complex(t.dtype) else to_dtype(x, dtypes.complex_of(t.dtype), t.weak)


real = unary("real", c.real, "c", "The real part of complex x")
imag = unary("imag", c.imag, "c", "The imaginary part of complex x")

# --- constants ------------------------------------------------------------------------------------


def full(shape: Sequence[int], fill_value: Any, dtype: Any = None) -> Any:
    """An array of that shape filled with the 0-d `fill_value`, of its dtype unless another is given.

    Example:
        >>> full((2,), 3.0).tolist()
        [3.0, 3.0]
    """
    x = operand("full", fill_value, "fill_value")
    if type_of(x).shape != ():
        raise ShapeError(f"lax.full: fill_value has shape {type_of(x).shape}, expected a scalar.{at(user_source())}")
    sizes = _sizes("full", shape)
    if dtype is None:
        return asarray(s.broadcast(x, sizes, ()))
    return asarray(s.broadcast(convert_element_type(x, dtype), sizes, ()))


def _sizes(name: str, shape: Any) -> tuple[int, ...]:
    sizes = (shape,) if isinstance(shape, int) else tuple(int(n) for n in shape)
    if any(n < 0 for n in sizes):
        raise ShapeError(f"lax.{name}: sizes must not be negative, got {sizes}.{at(user_source())}")
    return sizes


def full_like(x: Any, fill_value: Any, dtype: Any = None, shape: Sequence[int] | None = None) -> Any:
    """`full` of the shape and dtype of `x`, unless others are given."""
    t = type_of(operand("full_like", x, "x"))
    wanted = t.dtype if dtype is None else dtypes.of(dtype)
    out = full(t.shape if shape is None else shape, fill_value, wanted)
    return e.convert(out, wanted, True) if t.weak and dtype is None else out


def empty(shape: Sequence[int], dtype: Any) -> Any:
    """An array of that shape and dtype, filled with zeros: arrays are immutable, so that one without values would be of no use."""
    return full(shape, 0, dtype)


def zeros_like_array(x: Any) -> Any:
    """Zeros of the shape and dtype of `x`."""
    return full_like(x, 0)


__all__ = [
    "bitcast_convert_type", "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "clz", "complex", "conj", "convert_element_type",
    "dtype", "empty", "eq", "full", "full_like", "ge", "gt", "imag", "le", "lt", "ne", "population_count", "real", "select", "select_n",
    "shift_left", "shift_right_arithmetic", "shift_right_logical", "zeros_like_array",
]  # fmt: skip
