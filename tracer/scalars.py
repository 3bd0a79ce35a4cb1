"""The scalar operations: one table that says what each means, element by element, for every backend.

The elementwise primitives of the program IR and the `Op` nodes of the loop IR share these names, and both take their
definition from here: a slow and obvious NumPy function.  What binds the backends:

* Integers wrap.  `div` truncates; `x div 0` = 0, `x rem 0` = x, INT_MIN div -1 = INT_MIN, INT_MIN rem -1 = 0, `rem` has the
  dividend's sign.  `pow` with a negative exponent is the truncated reciprocal: 0, except for the bases 1 and -1.
* A shift amount is read as unsigned; at or above the width, `shift_left` and `shift_right_logical` give 0 and
  `shift_right_arithmetic` fills with the sign.
* bool: `add` and `max` are or, `mul` and `min` are and.
* float16 and bfloat16 are computed in float32 and rounded after every operation.  Nothing is flushed to zero.
* `add sub mul div rem sqrt` and everything else that is `exact` have the same bits everywhere.  The others are computed
  here one precision up and rounded, so that they are all but correctly rounded (float64 `erf erfc erf_inv`, which Python's
  math library gives, to within 3 ulp): a backend's error is measured against them.
* Complex `add sub mul neg` round each operation on the parts, as written: (a + bi)(c + di) = (ac - bd) + (ad + bc)i, without the
  special cases of C99's annex G.  Division by zero divides each part by it; division by one infinite part gives 0.  `sign` is
  z / |z|; of a number with one infinite part, the unit number along it; of one with a NaN, NaN in both parts.  The inverse functions are
  C99's: on a branch cut the sign of a zero tells the side.  They are held to the reference to within some ulp of the result's
  modulus, not of each part.
* `max` and `min` propagate NaN (of +0 and -0, either).  sign(NaN) = NaN, sign(-0) = -0.  `round` is half to even.
* `convert`: float → int truncates and saturates, NaN → 0; float → bool is `x != 0` (NaN → True); int → int wraps; float →
  narrower float rounds once, to nearest even; int → float16 or bfloat16 goes through float32; complex → real drops the
  imaginary part.

May be imported by: everything above `dtypes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np

from . import dtypes
from .dtypes import DType
from .giles import erf_inv_giles
from .records import dataclass

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
Kind: TypeAlias = Literal["bool", "int", "float", "complex"]
Impl: TypeAlias = Callable[..., Array]


@dataclass(frozen=True, slots=True)
class Scalar:
    """A scalar operation.

    `impl(*operands, dtype=result)` applies it elementwise to arrays or NumPy scalars (broadcasting) and returns an array of
    dtype `result`, silently.  All operands have one dtype, but for `select(pred, on_true, on_false)`, whose `pred` is bool.

    `domain` lists the kinds of operand it takes ("bool int float complex", or the one dtype "u32").
    `result` is the rule for the result's dtype: "same" as the operands' (for `select`, its last two), "real" (the same; of a
    complex operand, the dtype of its parts), "bool", "u64", or "explicit": the `Op` says (`convert`, `bitcast`).
    `exact` says that every backend gives the same bits for floats (NaN payloads aside), as it always does for integers.
    """

    name: str
    arity: int
    impl: Impl
    domain: str
    result: Literal["same", "real", "bool", "u64", "explicit"] = "same"
    exact: bool = True

    def accepts(self, dtype: DType) -> bool:
        """Whether operands (of `select`, the last two) may be of `dtype`."""
        words = self.domain.split()
        return kind_of(dtype) in words or dtypes.SHORT.get(dtype) in words

    @property
    def dtypes(self) -> tuple[DType, ...]:
        """Every dtype that operands may have."""
        return tuple(d for d in dtypes.ALL if self.accepts(d))

    def result_dtype(self, operand: DType) -> DType | None:
        """The result's dtype for operands of dtype `operand`; None where the rule is "explicit"."""
        rules = {"same": operand, "real": dtypes.real_of(operand), "bool": dtypes.bool_, "u64": dtypes.uint64}
        return rules.get(self.result)


SCALARS: dict[str, Scalar] = {}
"""Name → operation."""


def kind_of(dtype: DType) -> Kind:
    """The kind of a dtype that fdl supports: "bool", "int", "float" or "complex"."""
    if dtype == dtypes.bool_:
        return "bool"
    return "int" if dtypes.is_int(dtype) else "complex" if dtypes.is_complex(dtype) else "float"


def _scalar(
    name: str,
    arity: int,
    domain: str,
    result: Literal["same", "real", "bool", "u64", "explicit"] = "same",
    *,
    exact: bool = True,
) -> Callable[[Impl], Impl]:
    """A decorator that enters a function of (*arrays, dtype) in the table, and returns the function unchanged."""

    def enter(body: Impl) -> Impl:
        def impl(*operands: Any, dtype: DType) -> Array:
            # Overflow, division by zero and the like are defined results here, never warnings.
            with np.errstate(all="ignore"):
                return np.asarray(body(*map(np.asarray, operands), dtype=dtype), dtype=dtype)

        impl.__name__ = impl.__qualname__ = name
        impl.__doc__ = body.__doc__
        SCALARS[name] = Scalar(name, arity, impl, domain, result, exact)
        return body

    return enter


# --- the types in which a value is computed -------------------------------------------------------


def _half(dtype: DType) -> bool:
    return dtype in (dtypes.float16, dtypes.bfloat16)


def _working(x: Array) -> Array:
    """`x`, with float16 and bfloat16 widened to float32: the type of exact operations."""
    return x.astype(np.float32) if _half(x.dtype) else x


_UP: dict[DType, DType] = {
    dtypes.float16: dtypes.float64,
    dtypes.bfloat16: dtypes.float64,
    dtypes.float32: dtypes.float64,
    dtypes.float64: np.dtype(np.longdouble),
    dtypes.complex64: dtypes.complex128,
    dtypes.complex128: np.dtype(np.clongdouble),
}


def _precise(x: Array) -> Array:
    """`x` one precision up (float64's is C's long double, which on some platforms is no wider)."""
    return x.astype(_UP[x.dtype])


def _rounded(x: Any, dtype: DType) -> Array:
    """`x` rounded to the float or complex `dtype`; to float16 and bfloat16 through float32."""
    return np.asarray(np.asarray(x, np.float32) if _half(dtype) else x, dtype)


def _unsigned(x: Array) -> Array:
    """The bits of `x` (integer or float) as unsigned integers of its width."""
    return x.view(np.dtype(f"uint{dtypes.bits(x.dtype)}"))


def join_parts(re: Any, im: Any, dtype: DType) -> Array:
    """The complex array of real parts `re` and imaginary parts `im`, broadcast together."""
    out = np.empty(np.broadcast_shapes(np.shape(re), np.shape(im)), dtype)
    out.real, out.imag = re, im
    return out


# --- arithmetic -----------------------------------------------------------------------------------


def _arithmetic(name: str, domain: str, ufunc: np.ufunc) -> None:
    """Enter a ufunc that NumPy computes as we define it: integers wrap, floats round correctly, bool `+ *` are `or and`."""

    @_scalar(name, ufunc.nin, domain)
    def apply(*operands: Array, dtype: DType) -> Array:
        return np.asarray(ufunc(*map(_working, operands)), dtype)


_arithmetic("add", "bool int float complex", np.add)
_arithmetic("sub", "int float complex", np.subtract)
_arithmetic("neg", "int float complex", np.negative)
_arithmetic("max", "bool int float", np.maximum)
_arithmetic("min", "bool int float", np.minimum)
_arithmetic("floor", "float", np.floor)
_arithmetic("ceil", "float", np.ceil)
_arithmetic("round", "float", np.rint)
_arithmetic("trunc", "float", np.trunc)
_arithmetic("not", "bool int", np.invert)
_arithmetic("and", "bool int", np.bitwise_and)
_arithmetic("or", "bool int", np.bitwise_or)
_arithmetic("xor", "bool int", np.bitwise_xor)


@_scalar("mul", 2, "bool int float complex")
def _mul(x: Array, y: Array, *, dtype: DType) -> Array:
    if not dtypes.is_complex(dtype):
        return (_working(x) * _working(y)).astype(dtype)
    # NumPy's own product of complex arrays is contracted on some processors and not on others.
    return join_parts(x.real * y.real - x.imag * y.imag, x.real * y.imag + x.imag * y.real, dtype)


@_scalar("div", 2, "int float complex")
def _div(x: Array, y: Array, *, dtype: DType) -> Array:
    if dtypes.is_complex(dtype):
        return (_precise(x) / _precise(y)).astype(dtype)
    if not dtypes.is_int(dtype):
        return (_working(x) / _working(y)).astype(dtype)
    special = (y == 0) | (y == -1) if dtypes.is_signed(dtype) else y == 0
    d = np.where(special, np.ones_like(y), y)
    # `//` rounds down: one too low where the division is inexact and the quotient negative.
    quotient = x // d
    quotient = quotient + ((quotient * d != x) & ((x < 0) != (d < 0))).astype(dtype)
    return np.where(special, np.where(y == 0, np.zeros_like(x), np.negative(x)), quotient)


@_scalar("rem", 2, "int float")
def _rem(x: Array, y: Array, *, dtype: DType) -> Array:
    if not dtypes.is_int(dtype):
        return np.fmod(_working(x), _working(y)).astype(dtype)
    special = (y == 0) | (y == -1) if dtypes.is_signed(dtype) else y == 0
    remainder = np.fmod(x, np.where(special, np.ones_like(y), y))
    return np.where(y == 0, x, remainder)


@_scalar("abs", 1, "int float complex", "real")
def _abs(x: Array, *, dtype: DType) -> Array:
    if dtypes.is_complex(x.dtype):
        return np.abs(_precise(x)).astype(dtype)
    return np.abs(_working(x)).astype(dtype)


@_scalar("sign", 1, "int float complex")
def _sign(x: Array, *, dtype: DType) -> Array:
    if dtypes.is_int(dtype):
        return np.sign(x)
    if dtypes.is_complex(dtype):
        wide = _precise(x)
        wide = np.where(np.isnan(wide), complex(np.nan, np.nan), wide)  # a NaN in one part is one of the number
        return np.where(wide == 0, wide, np.sign(wide)).astype(dtype)
    wide = _working(x)
    return np.where((wide == 0) | np.isnan(wide), wide, np.copysign(np.ones_like(wide), wide)).astype(dtype)


@_scalar("sqrt", 1, "float complex")
def _sqrt(x: Array, *, dtype: DType) -> Array:
    return np.sqrt(_precise(x) if dtypes.is_complex(dtype) else _working(x)).astype(dtype)


@_scalar("nextafter", 2, "float")
def _nextafter(x: Array, y: Array, *, dtype: DType) -> Array:
    """The next value of `dtype` after `x` towards `y`; `y` where they are equal."""
    bits = _unsigned(x)
    fx, fy = _working(x), _working(y)
    one = np.ones_like(bits)
    # Of one sign, floats are ordered as their bits are; the smallest subnormal has the bits 1.
    stepped = np.where((fy > fx) == (fx > 0), bits + one, bits - one)
    sign_y = _unsigned(y) & np.asarray(1 << (dtypes.bits(dtype) - 1), bits.dtype)
    stepped = np.where(fx == 0, sign_y | one, stepped).view(dtype)
    result = np.where(fx == fy, y, stepped)
    return np.where(np.isnan(fx) | np.isnan(fy), np.asarray(math.nan, dtype), result)


@_scalar("is_finite", 1, "float complex", "bool")
def _is_finite(x: Array, *, dtype: DType) -> Array:
    return np.isfinite(_working(x))


def _int_pow(x: Array, y: Array) -> Array:
    """`x ** y` by repeated squaring, wrapping; for a negative exponent the truncated reciprocal of `x ** |y|`."""
    x, y = np.broadcast_arrays(x, y)
    base, exponent, result = _unsigned(x.copy()), _unsigned(y.copy()), np.ones(x.shape, _unsigned(x.copy()).dtype)
    one = np.asarray(1, base.dtype)
    for _ in range(dtypes.bits(x.dtype)):
        result = np.where(exponent & one != 0, result * base, result)
        base, exponent = base * base, exponent >> one
    result = np.asarray(result).view(x.dtype)
    if not dtypes.is_signed(x.dtype):
        return result
    # For the bases 1 and -1 the exponent counts by its lowest bit alone, which the loop above got right.
    return np.where((y < 0) & (np.abs(x) != 1), np.zeros_like(x), result)


@_scalar("pow", 2, "int float complex", exact=False)
def _pow(x: Array, y: Array, *, dtype: DType) -> Array:
    if dtypes.is_int(dtype):
        return _int_pow(x, y)
    return _rounded(np.power(_precise(x), _precise(y)), dtype)


# --- transcendental functions ---------------------------------------------------------------------


def _transcendental(name: str, domain: str, function: Callable[..., Any], arity: int = 1) -> None:
    """Enter a function that is computed one precision up and rounded."""

    @_scalar(name, arity, domain, exact=False)
    def apply(*operands: Array, dtype: DType) -> Array:
        return _rounded(function(*map(_precise, operands)), dtype)


def _rsqrt(x: Array) -> Array:
    return np.asarray(1 / np.sqrt(x))


def _expm1(x: Array) -> Array:
    """exp(x) - 1; for complex x + iy, (exp(x) - 1) cos y - 2 sin²(y/2) + i exp(x) sin y."""
    if not np.iscomplexobj(x):
        return np.asarray(np.expm1(x))
    power, half = np.exp(x), np.sin(x.imag / 2)
    re = (np.expm1(x.real) * np.cos(x.imag) + 0.0) - 2 * half * half  # the array API standard: 0 at -0 + 0i, not -0
    edge = ~np.isfinite(power.real) | np.isneginf(x.real)
    return join_parts(np.where(edge, power.real - 1, re), power.imag, x.dtype)


def _log1p(x: Array) -> Array:
    """log(1 + x); for complex x + iy, log1p(x (2 + x) + y²) / 2 + i atan2(y, 1 + x) where that is small."""
    if not np.iscomplexobj(x):
        return np.asarray(np.log1p(x))
    full = np.log(join_parts(1 + x.real, x.imag, x.dtype))
    small = np.maximum(np.abs(x.real), np.abs(x.imag)) < 0.5
    near = np.log1p(np.where(small, x.real * (2 + x.real) + x.imag * x.imag, 0)) / 2
    return join_parts(np.where(small, near, full.real), full.imag, x.dtype)


def _tanh(x: Array) -> Array:
    """tanh x. At ±inf + iy the imaginary part is a zero of the sign of y, as the array API standard has it; C99 has that of sin 2y."""
    y = np.asarray(np.tanh(x))
    if not np.iscomplexobj(x):
        return y
    return join_parts(y.real, np.where(np.isinf(x.real), np.copysign(0, x.imag), y.imag), x.dtype)


def _tan(x: Array) -> Array:
    """tan x, which is -i tanh(ix)."""
    if not np.iscomplexobj(x):
        return np.asarray(np.tan(x))
    y = _tanh(join_parts(-x.imag, x.real, x.dtype))
    return join_parts(y.imag, -y.real, x.dtype)


def _logistic(x: Array) -> Array:
    """1 / (1 + exp(-x)), as exp(x) / (1 + exp(x)) where x is negative: without overflow, and accurate in the tail."""
    if np.iscomplexobj(x):
        e = np.exp(np.where(x.real < 0, x, -x))
        return np.asarray(np.where(x.real < 0, e, 1) / (1 + e))
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e / (1 + e), 1 / (1 + e))


def _each(function: Callable[[float], float]) -> Callable[[Array], Array]:
    """A function of Python floats as one of arrays, in float64."""

    def apply(x: Array) -> Array:
        return np.asarray(np.frompyfunc(function, 1, 1)(x.astype(np.float64)), dtype=np.float64)

    return apply


_erf, _erfc = _each(math.erf), _each(math.erfc)


def _erf_inv(x: Array) -> Array:
    """The inverse of erf in float64: ±inf at ±1, NaN outside.

    Source: S. Winitzki, "A handy approximation for the error function and its inverse" (2008), within 0.4 %, then three
    steps of Halley's method on erf, or on erfc above 1/2, where 1 - x is exact and erf would lose the tail.
    """
    a = np.abs(x.astype(np.float64))
    inside = (a < 1) & (a > 1e-8)
    t = np.where(inside, a, 0.5)
    log = np.log1p(-t * t)
    c = 2 / (math.pi * 0.147) + log / 2
    y = np.sqrt((-log / 0.147) / (np.sqrt(c * c - log / 0.147) + c))
    for _ in range(3):
        error = np.where(t > 0.5, (1 - t) - _erfc(y), _erf(y) - t)
        step = error / (2 / math.sqrt(math.pi) * np.exp(-y * y))
        y = y - step / (1 + y * step)
    # erf(y) = 2y/sqrt(pi) to within half an ulp below 1e-8.
    y = np.where(inside, y, np.where(a == 1, math.inf, np.where(a < 1, a * (math.sqrt(math.pi) / 2), math.nan)))
    return np.copysign(y, x.astype(np.float64))


@_scalar("erf_inv_giles", 1, "float", exact=False)
def _erf_inv_giles(x: Array, *, dtype: DType) -> Array:
    """The inverse of erf that random numbers are made by; see `giles`."""
    wide = _working(x)
    return _rounded(erf_inv_giles(wide, _UP[wide.dtype]), dtype)


_LIBRARY: dict[str, Callable[[Array], Array]] = {
    "exp": np.exp, "expm1": _expm1, "log": np.log, "log1p": _log1p, "sin": np.sin, "cos": np.cos, "tan": _tan,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": _tanh,
    "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "rsqrt": _rsqrt, "logistic": _logistic,
    "cbrt": np.cbrt, "exp2": np.exp2, "erf": _erf, "erfc": _erfc, "erf_inv": _erf_inv,
}  # fmt: skip
_REAL_ONLY = {"cbrt", "exp2", "erf", "erfc", "erf_inv"}
for _name, _function in _LIBRARY.items():
    _transcendental(_name, "float" if _name in _REAL_ONLY else "float complex", _function)
_transcendental("atan2", "float", np.arctan2, arity=2)


# --- bits -----------------------------------------------------------------------------------------


def _shift(name: str, ufunc: np.ufunc) -> None:
    @_scalar(name, 2, "int")
    def apply(x: Array, amount: Array, *, dtype: DType) -> Array:
        width = dtypes.bits(dtype)
        arithmetic = name == "shift_right_arithmetic" and dtypes.is_signed(dtype)
        amount = _unsigned(amount)
        capped = np.minimum(amount, np.asarray(width - 1, amount.dtype))
        if arithmetic:
            return np.asarray(ufunc(x, capped.astype(dtype)))
        return np.where(amount < width, ufunc(_unsigned(x), capped), np.asarray(0, amount.dtype)).view(dtype)


_shift("shift_left", np.left_shift)
_shift("shift_right_logical", np.right_shift)
_shift("shift_right_arithmetic", np.right_shift)


@_scalar("population_count", 1, "int")
def _population_count(x: Array, *, dtype: DType) -> Array:
    return np.bitwise_count(_unsigned(x)).astype(dtype)


@_scalar("clz", 1, "int")
def _clz(x: Array, *, dtype: DType) -> Array:
    """The number of zero bits above the highest one; the width where `x` is 0."""
    bits, width, step = _unsigned(x), dtypes.bits(dtype), 1
    while step < width:
        bits = bits | (bits >> np.asarray(step, bits.dtype))
        step *= 2
    return (width - np.bitwise_count(bits).astype(np.int64)).astype(dtype)


@_scalar("bitcast", 1, "int float", "explicit")
def _bitcast(x: Array, *, dtype: DType) -> Array:
    """The bits of `x` read as `dtype`, which has the same width."""
    if x.dtype.itemsize != dtype.itemsize:
        raise TypeError(f"bitcast: {x.dtype} and {dtype} differ in width. Use `convert` to change the value's type.")
    return x.view(dtype)


# --- comparison, selection, conversion ------------------------------------------------------------


def _comparison(name: str, domain: str, ufunc: np.ufunc) -> None:
    @_scalar(name, 2, domain, "bool")
    def apply(x: Array, y: Array, *, dtype: DType) -> Array:
        return np.asarray(ufunc(_working(x), _working(y)))


_comparison("eq", "bool int float complex", np.equal)
_comparison("ne", "bool int float complex", np.not_equal)
_comparison("lt", "bool int float", np.less)
_comparison("le", "bool int float", np.less_equal)
_comparison("gt", "bool int float", np.greater)
_comparison("ge", "bool int float", np.greater_equal)


@_scalar("select", 3, "bool int float complex")
def _select(pred: Array, on_true: Array, on_false: Array, *, dtype: DType) -> Array:
    return np.where(pred, on_true, on_false)


def _to_int(x: Array, dtype: DType) -> Array:
    """The float64 array `x` truncated and saturated to the integer `dtype`, NaN to 0."""
    info = np.iinfo(dtype)
    whole, low, high = np.trunc(x), float(info.min), float(int(info.max) + 1)
    result = np.where((whole >= low) & (whole < high), whole, 0.0).astype(dtype)
    result = np.where(whole >= high, np.asarray(info.max, dtype), result)
    return np.where(whole < low, np.asarray(info.min, dtype), result)


def _to_bfloat16(x: Array) -> Array:
    """The float64 array `x` rounded once to bfloat16.

    Rounding to float32 and then again could break a tie that only the first rounding made.  Rounding to odd first cannot:
    towards zero, with the last bit set where that was inexact (Boldo and Melquiond, 2008).
    """
    near = x.astype(np.float32)
    near = np.where(np.abs(near.astype(np.float64)) > np.abs(x), np.nextafter(near, np.float32(0)), near)
    inexact = (near.astype(np.float64) != x) & ~np.isnan(x)
    odd = np.asarray(near.view(np.uint32) | inexact.astype(np.uint32))
    return odd.view(np.float32).astype(dtypes.bfloat16)


@_scalar("convert", 1, "bool int float complex", "explicit")
def _convert(x: Array, *, dtype: DType) -> Array:
    source, target = kind_of(x.dtype), kind_of(dtype)
    if target == "bool":
        return np.asarray(_working(x) != 0)
    if source == "complex" and target != "complex":
        return _convert(np.ascontiguousarray(x.real).reshape(x.shape), dtype=dtype)
    if source == "float" and target == "int":
        return _to_int(x.astype(np.float64), dtype)
    if x.dtype == dtypes.float64 and dtype == dtypes.bfloat16:
        return _to_bfloat16(x)
    if source in ("bool", "int") and _half(dtype):
        return x.astype(np.float32).astype(dtype)
    return x.astype(dtype)


# --- random bits ----------------------------------------------------------------------------------


def threefry2x32(k0: Array, k1: Array, c0: Array, c1: Array) -> tuple[Array, Array]:
    """The two output words of Threefry-2x32 with 20 rounds, for key (k0, k1) and counter (c0, c1), all uint32 arrays.

    Source: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 4.2.
    """
    k0, k1, x0, x1 = (np.asarray(x, np.uint32) for x in (k0, k1, c0, c1))
    keys = (k0, k1, k0 ^ k1 ^ np.uint32(0x1BD11BDA))
    with np.errstate(over="ignore"):
        x0, x1 = x0 + keys[0], x1 + keys[1]
        for group in range(5):
            for turn in ((13, 15, 26, 6), (17, 29, 16, 24))[group % 2]:
                x0 = x0 + x1
                x1 = (x1 << np.uint32(turn)) | (x1 >> np.uint32(32 - turn))
                x1 = x1 ^ x0
            x0 = x0 + keys[(group + 1) % 3]
            x1 = x1 + keys[(group + 2) % 3] + np.uint32(group + 1)
    return np.asarray(x0), np.asarray(x1)


@_scalar("threefry0", 4, "u32")
def _threefry0(k0: Array, k1: Array, c0: Array, c1: Array, *, dtype: DType) -> Array:
    return threefry2x32(k0, k1, c0, c1)[0]


@_scalar("threefry1", 4, "u32")
def _threefry1(k0: Array, k1: Array, c0: Array, c1: Array, *, dtype: DType) -> Array:
    return threefry2x32(k0, k1, c0, c1)[1]


@_scalar("threefry_bits32", 4, "u32")
def _threefry_bits32(k0: Array, k1: Array, c0: Array, c1: Array, *, dtype: DType) -> Array:
    """The exclusive or of the two words."""
    x0, x1 = threefry2x32(k0, k1, c0, c1)
    return x0 ^ x1


@_scalar("threefry_bits64", 4, "u32", "u64")
def _threefry_bits64(k0: Array, k1: Array, c0: Array, c1: Array, *, dtype: DType) -> Array:
    """The two words side by side, the first one high."""
    x0, x1 = threefry2x32(k0, k1, c0, c1)
    return (x0.astype(np.uint64) << np.uint64(32)) | x1.astype(np.uint64)
