"""The table of scalar operations against independent definitions: Python integers, exact fractions, and the math library."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fdl.backends.llvm import maths
from fdl.backends.loops.weights import WEIGHTS
from fdl.tracer import dtypes
from fdl.tracer.errors import MissingRuleError
from fdl.tracer.scalars import SCALARS, kind_of, threefry2x32

INTS = dtypes.SIGNED + dtypes.UNSIGNED
FLOATS = dtypes.FLOATS
PRECISION = {dtypes.float16: (11, -14), dtypes.bfloat16: (8, -126), dtypes.float32: (24, -126), dtypes.float64: (53, -1022)}
"""Float dtype → (bits of the significand, lowest exponent of a normal number)."""

quick = settings(max_examples=100)


def apply(name: str, *operands: Any, dtype: Any, result: Any = None) -> Any:
    """The Python value of an operation on Python values, which are taken as `dtype`."""
    scalar = SCALARS[name]
    result = result or scalar.result_dtype(dtype)
    value = scalar.impl(*(np.asarray(x).astype(dtype) for x in operands), dtype=result)
    assert value.dtype == result and value.shape == ()
    return float(value) if kind_of(result) == "float" else value.item()


def wrap(n: int, dtype: Any) -> int:
    """n modulo 2**width, in the range of `dtype`."""
    n %= 1 << dtypes.bits(dtype)
    return n - (1 << dtypes.bits(dtype)) if dtypes.is_signed(dtype) and n >> (dtypes.bits(dtype) - 1) else n


def nearest(x: Fraction, dtype: Any) -> float:
    """The number of a float dtype nearest to `x`, ties to even; infinite from half a unit above the largest."""
    precision, lowest = PRECISION[dtype]
    if x == 0:
        return 0.0
    exponent = x.numerator.bit_length() - x.denominator.bit_length() - (1 if x > 0 else 0)
    while abs(x) >= Fraction(2) ** (exponent + 1):
        exponent += 1
    while abs(x) < Fraction(2) ** exponent:
        exponent -= 1
    unit = Fraction(2) ** (max(exponent, lowest) - precision + 1)
    rounded = round(x / unit) * unit  # Fraction's `round` takes ties to even
    if abs(rounded) >= Fraction(2) ** (2 - lowest):  # the highest exponent is 1 - lowest
        return math.inf if x > 0 else -math.inf
    return float(rounded)


def integers(dtype: Any) -> st.SearchStrategy[int]:
    info = np.iinfo(dtype)
    low, high = int(info.min), int(info.max)
    edges = [n for n in (low, low + 1, -2, -1, 0, 1, 2, 3, high - 1, high, dtypes.bits(dtype)) if low <= n <= high]
    return st.one_of(st.sampled_from(edges), st.integers(low, high), st.integers(max(low, -20), 20))


def floats(dtype: Any, *, finite: bool = False) -> st.SearchStrategy[float]:
    """Python floats that are numbers of `dtype`, from its bits: every exponent is as likely as any."""
    width = dtypes.bits(dtype)
    unsigned = np.dtype(f"uint{width}")

    def of_bits(n: int) -> float:
        with np.errstate(all="ignore"):
            return float(np.asarray(n, unsigned).view(dtype)[()])

    near_one = st.floats(-8, 8, width=16).map(lambda x: nearest(Fraction(x), dtype))
    edges = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, math.inf, -math.inf, math.nan])
    any_ = st.one_of(st.integers(0, 2**width - 1).map(of_bits), near_one, edges)
    return any_.filter(math.isfinite) if finite else any_


def same(x: float, y: float) -> bool:
    """Equal bits, NaN's aside."""
    return (math.isnan(x) and math.isnan(y)) or (x == y and math.copysign(1, x) == math.copysign(1, y))


# --- the table as a whole ---------------------------------------------------------------------------


def test_the_table_is_complete() -> None:
    names = """add sub mul div rem neg abs sign max min pow floor ceil round trunc sqrt rsqrt cbrt exp exp2 expm1 log log1p
    sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh atan2 logistic erf erfc erf_inv erf_inv_giles nextafter is_finite not and or
    xor shift_left shift_right_logical shift_right_arithmetic population_count clz eq ne lt le gt ge select convert bitcast
    threefry_bits32 threefry_bits64 threefry0 threefry1"""
    assert sorted(SCALARS) == sorted(names.split())


def test_every_function_has_its_weight_and_its_code() -> None:
    """What fuses, splits, polls and vectorises weighs an operation that it does not know as an addition."""
    functions = {name for name, scalar in SCALARS.items() if "float" in scalar.domain and not scalar.exact}
    assert len(functions) > 20
    assert functions <= set(WEIGHTS) <= {*SCALARS, "random_bits"}
    assert functions <= set(maths._TABLE)
    with pytest.raises(MissingRuleError, match=r"operation softsign has no LLVM code for floats. Enter it in _TABLE of .*maths\.py"):
        maths.function(None, "softsign", ["%x"])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(SCALARS))
def test_shapes_and_dtypes(name: str) -> None:
    """On arrays and on scalars, for every dtype of the domain: the stated dtype, and no warning."""
    scalar = SCALARS[name]
    for dtype in scalar.dtypes:
        values = [0, 1, 2, 5, 100] if kind_of(dtype) == "int" else [0, 1, 0.5, 1e4, np.inf]
        operands = [np.array(values, np.complex64 if dtypes.is_complex(dtype) else np.float64).astype(dtype)] * scalar.arity
        if name == "select":
            operands[0] = np.array([True, False, True, False, True])
        expected = scalar.result_dtype(dtype)
        same_width = [d for d in dtypes.ALL if d.itemsize == dtype.itemsize and SCALARS["bitcast"].accepts(d)]
        for result in [expected] if expected is not None else same_width if name == "bitcast" else dtypes.ALL:
            whole = scalar.impl(*operands, dtype=result)
            one = scalar.impl(*(x[2] for x in operands), dtype=result)
            assert (whole.shape, whole.dtype) == ((5,), result) and (one.shape, one.dtype) == ((), result)
            assert whole[2].tobytes() == one.tobytes()


def test_operands_are_not_modified() -> None:
    x, y = np.array([7, -3, 2], np.int32), np.array([2, 0, -1], np.int32)
    for name in ("pow", "div", "rem", "shift_left", "clz"):
        SCALARS[name].impl(*(x, y)[: SCALARS[name].arity], dtype=dtypes.int32)
    assert x.tolist() == [7, -3, 2] and y.tolist() == [2, 0, -1]


# --- integers ---------------------------------------------------------------------------------------


def _div(x: int, y: int) -> int:
    return 0 if y == 0 else abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)


def _pow(x: int, y: int) -> int:
    if y >= 0:
        return pow(x, y, 2**64)
    return (x if y % 2 else 1) if abs(x) == 1 else 0


INTEGER: dict[str, Callable[..., int]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": _div,
    "rem": lambda x, y: x if y == 0 else x - y * _div(x, y),
    "pow": _pow,
    "max": max,
    "min": min,
    "and": lambda x, y: x & y,
    "or": lambda x, y: x | y,
    "xor": lambda x, y: x ^ y,
    "neg": lambda x: -x,
    "abs": abs,
    "sign": lambda x: (x > 0) - (x < 0),
    "not": lambda x: ~x,
}


@pytest.mark.parametrize("dtype", INTS, ids=lambda d: dtypes.SHORT[d])
@given(data=st.data())
@quick
def test_integer_arithmetic(dtype: Any, data: st.DataObject) -> None:
    x, y = data.draw(integers(dtype)), data.draw(integers(dtype))
    for name, definition in INTEGER.items():
        operands = (x, y)[: SCALARS[name].arity]
        assert apply(name, *operands, dtype=dtype) == wrap(definition(*operands), dtype), (name, operands)
    for name, expected in {"eq": x == y, "ne": x != y, "lt": x < y, "le": x <= y, "gt": x > y, "ge": x >= y}.items():
        assert apply(name, x, y, dtype=dtype) is expected, name


@pytest.mark.parametrize("dtype", INTS, ids=lambda d: dtypes.SHORT[d])
@given(data=st.data())
@quick
def test_bits(dtype: Any, data: st.DataObject) -> None:
    x, amount, width = data.draw(integers(dtype)), data.draw(integers(dtype)), dtypes.bits(dtype)
    shift = amount % 2**width
    pattern = x % 2**width
    assert apply("shift_left", x, amount, dtype=dtype) == (wrap(x << shift, dtype) if shift < width else 0)
    assert apply("shift_right_logical", x, amount, dtype=dtype) == (wrap(pattern >> shift, dtype) if shift < width else 0)
    assert apply("shift_right_arithmetic", x, amount, dtype=dtype) == x >> min(shift, width)
    assert apply("population_count", x, dtype=dtype) == bin(pattern).count("1")
    assert apply("clz", x, dtype=dtype) == width - pattern.bit_length()


def test_the_smallest_integer_wraps() -> None:
    for dtype in dtypes.SIGNED:
        low = int(np.iinfo(dtype).min)
        assert apply("div", low, -1, dtype=dtype) == low
        assert apply("rem", low, -1, dtype=dtype) == 0
        assert apply("abs", low, dtype=dtype) == low == apply("neg", low, dtype=dtype)
        assert apply("div", 7, 0, dtype=dtype) == 0 and apply("rem", 7, 0, dtype=dtype) == 7


def test_bool() -> None:
    for x in (False, True):
        for y in (False, True):
            either, both = x or y, x and y
            for name, expected in {
                "add": either, "max": either, "or": either, "mul": both, "min": both, "and": both, "xor": x != y,
                "eq": x == y, "ne": x != y, "lt": y and not x, "le": y or not x, "gt": x and not y, "ge": x or not y,
            }.items():  # fmt: skip
                assert apply(name, x, y, dtype=dtypes.bool_) is expected, name
        assert apply("not", x, dtype=dtypes.bool_) is (not x)


# --- floats: exact operations -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: dtypes.SHORT[d])
@given(data=st.data())
@quick
def test_float_arithmetic_is_correctly_rounded(dtype: Any, data: st.DataObject) -> None:
    x, y = data.draw(floats(dtype, finite=True)), data.draw(floats(dtype, finite=True))
    p, q = Fraction(x), Fraction(y)
    # A zero's sign, which a fraction does not have, is left to `test_zero_signs`.
    assert apply("add", x, y, dtype=dtype) == nearest(p + q, dtype)
    assert apply("sub", x, y, dtype=dtype) == nearest(p - q, dtype)
    assert apply("mul", x, y, dtype=dtype) == nearest(p * q, dtype)
    if y != 0:
        assert apply("div", x, y, dtype=dtype) == nearest(p / q, dtype)
        assert apply("rem", x, y, dtype=dtype) == math.fmod(x, y)
    if x > 0:
        # sqrt lies in the rounding interval of r: compare squares, exactly.
        root = Fraction(apply("sqrt", x, dtype=dtype))
        precision, _ = PRECISION[dtype]
        half = Fraction(2) ** (math.frexp(float(root))[1] - precision - 1)
        assert (root - half) ** 2 <= p <= (root + half) ** 2


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: dtypes.SHORT[d])
@given(data=st.data())
@quick
def test_float_comparison_and_rounding(dtype: Any, data: st.DataObject) -> None:
    x, y = data.draw(floats(dtype)), data.draw(floats(dtype))
    for name, expected in {"eq": x == y, "ne": x != y, "lt": x < y, "le": x <= y, "gt": x > y, "ge": x >= y}.items():
        assert apply(name, x, y, dtype=dtype) is expected, name
    unordered = math.isnan(x) or math.isnan(y)
    assert apply("max", x, y, dtype=dtype) == max(x, y) or unordered
    assert apply("min", x, y, dtype=dtype) == min(x, y) or unordered
    assert math.isnan(apply("max", x, y, dtype=dtype)) is math.isnan(apply("min", x, y, dtype=dtype)) is unordered
    assert apply("is_finite", x, dtype=dtype) is math.isfinite(x)
    assert same(apply("abs", x, dtype=dtype), abs(x)) and same(apply("neg", x, dtype=dtype), -x)
    assert same(apply("sign", x, dtype=dtype), x if x == 0 or math.isnan(x) else math.copysign(1, x))
    assert apply("select", True, x, y, dtype=dtype) == x or math.isnan(x)
    if math.isfinite(x):
        for name, whole in {"floor": math.floor(x), "ceil": math.ceil(x), "round": round(x), "trunc": math.trunc(x)}.items():
            assert same(apply(name, x, dtype=dtype), math.copysign(float(whole), x)), name


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: dtypes.SHORT[d])
def test_zero_signs(dtype: Any) -> None:
    for name, x, y, expected in [
        ("add", -0.0, -0.0, -0.0), ("add", -0.0, 0.0, 0.0), ("sub", 0.0, 0.0, 0.0), ("sub", -0.0, 0.0, -0.0),
        ("mul", -0.0, 3.0, -0.0), ("div", -0.0, 3.0, -0.0), ("div", 1.0, -0.0, -math.inf), ("div", 0.0, 0.0, math.nan),
        ("rem", -4.0, 2.0, -0.0), ("rem", 1.0, 0.0, math.nan), ("rem", math.inf, 2.0, math.nan), ("rem", 2.0, math.inf, 2.0),
        ("div", 1.0, math.inf, 0.0), ("sub", math.inf, math.inf, math.nan), ("mul", math.inf, 0.0, math.nan),
    ]:  # fmt: skip
        assert same(apply(name, x, y, dtype=dtype), expected), (name, x, y)
    assert same(apply("sqrt", -0.0, dtype=dtype), -0.0) and math.isnan(apply("sqrt", -1.0, dtype=dtype))
    assert same(apply("round", -0.4, dtype=dtype), -0.0) and apply("round", 2.5, dtype=dtype) == 2


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: dtypes.SHORT[d])
@given(data=st.data())
@quick
def test_nextafter(dtype: Any, data: st.DataObject) -> None:
    x, y = data.draw(floats(dtype)), data.draw(floats(dtype))
    after = apply("nextafter", x, y, dtype=dtype)
    if math.isnan(x) or math.isnan(y):
        assert math.isnan(after)
    elif x == y:
        assert same(after, y)
    else:
        assert (x < after <= y) or (x > after >= y)
        # Nothing lies between: numbers of one dtype are ordered as their bits are, sign and magnitude.
        assert abs(_rank(after, dtype) - _rank(x, dtype)) == 1
    if dtype == dtypes.float64:
        assert same(after, math.nextafter(x, y))


def _rank(x: float, dtype: Any) -> int:
    width = dtypes.bits(dtype)
    bits: int = np.asarray(x).astype(dtype).view(np.dtype(f"uint{width}")).item()
    magnitude: int = bits & (2 ** (width - 1) - 1)
    return -magnitude if bits >> (width - 1) else magnitude


# --- conversions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", FLOATS, ids=lambda d: dtypes.SHORT[d])
@given(data=st.data())
@quick
def test_convert_from_float(source: Any, data: st.DataObject) -> None:
    x = data.draw(floats(source))
    for target in INTS:
        low, high = int(np.iinfo(target).min), int(np.iinfo(target).max)
        if math.isfinite(x):
            expected = min(max(math.trunc(x), low), high)
        else:
            expected = 0 if math.isnan(x) else high if x > 0 else low
        assert apply("convert", x, dtype=source, result=target) == expected, target
    for target in FLOATS:
        expected_float = nearest(Fraction(x), target) if math.isfinite(x) else x
        got = apply("convert", x, dtype=source, result=target)
        assert got == expected_float or (math.isnan(x) and math.isnan(got)), target
        assert math.isnan(x) or math.copysign(1, got) == math.copysign(1, x)
    assert apply("convert", x, dtype=source, result=dtypes.bool_) is (x != 0)


@given(x=st.floats(allow_nan=False, allow_infinity=False))
@example(1 + 2**-8 + 2**-40)  # float32 rounds this to a tie
@example(1 + 3 * 2**-8 - 2**-40)
@example(3.4e38)
@example(2.0**-134 * (1 + 2**-30))
@settings(max_examples=300)
def test_float64_to_bfloat16_rounds_once(x: float) -> None:
    assert apply("convert", x, dtype=dtypes.float64, result=dtypes.bfloat16) == nearest(Fraction(x), dtypes.bfloat16)


@pytest.mark.parametrize("source", INTS, ids=lambda d: dtypes.SHORT[d])
@given(data=st.data())
@quick
def test_convert_from_int(source: Any, data: st.DataObject) -> None:
    x = data.draw(integers(source))
    for target in INTS:
        assert apply("convert", x, dtype=source, result=target) == wrap(x, target)
    for target in FLOATS:
        exact = Fraction(x) if dtypes.bits(target) > 16 else Fraction(nearest(Fraction(x), dtypes.float32))
        assert apply("convert", x, dtype=source, result=target) == nearest(exact, target)
    assert apply("convert", x, dtype=source, result=dtypes.bool_) is (x != 0)


def test_convert_edges() -> None:
    assert apply("convert", -(2.0**63), dtype=dtypes.float64, result=dtypes.int64) == -(2**63)
    assert apply("convert", 2.0**63, dtype=dtypes.float32, result=dtypes.int64) == 2**63 - 1
    assert apply("convert", 2.0**63, dtype=dtypes.float32, result=dtypes.uint64) == 2**63
    assert apply("convert", -128.9, dtype=dtypes.float32, result=dtypes.int8) == -128
    assert apply("convert", -0.9, dtype=dtypes.float32, result=dtypes.uint8) == 0
    assert apply("convert", math.nan, dtype=dtypes.float32, result=dtypes.bool_) is True
    assert apply("convert", True, dtype=dtypes.bool_, result=dtypes.bfloat16) == 1.0
    z = np.array([1.5 - 2j, 0j, 3j], np.complex64)
    assert SCALARS["convert"].impl(z, dtype=dtypes.int32).tolist() == [1, 0, 0]
    assert SCALARS["convert"].impl(z, dtype=dtypes.bool_).tolist() == [True, False, True]


def test_bitcast() -> None:
    assert apply("bitcast", 1.0, dtype=dtypes.float32, result=dtypes.uint32) == 0x3F800000
    assert apply("bitcast", -1, dtype=dtypes.int16, result=dtypes.uint16) == 0xFFFF
    assert apply("bitcast", 0x3F80, dtype=dtypes.uint16, result=dtypes.bfloat16) == 1.0
    number = struct.unpack("<q", struct.pack("<d", -2.5))[0]
    assert apply("bitcast", -2.5, dtype=dtypes.float64, result=dtypes.int64) == number
    with pytest.raises(TypeError, match="differ in width"):
        SCALARS["bitcast"].impl(np.float32(1), dtype=dtypes.float64)


# --- transcendental functions -----------------------------------------------------------------------

MATH: dict[str, tuple[Callable[[float], float], float, float]] = {
    "exp": (math.exp, -80, 80), "exp2": (lambda x: 2.0**x, -100, 100), "expm1": (math.expm1, -30, 80),
    "log": (math.log, 1e-30, 1e30), "log1p": (math.log1p, -0.999, 1e3),
    "sin": (math.sin, -50, 50), "cos": (math.cos, -50, 50), "tan": (math.tan, -1.5, 1.5),
    "asin": (math.asin, -1, 1), "acos": (math.acos, -1, 0.99), "atan": (math.atan, -50, 50), "sinh": (math.sinh, -80, 80),
    "cosh": (math.cosh, -80, 80), "tanh": (math.tanh, -20, 20), "asinh": (math.asinh, -1e3, 1e3),
    "acosh": (math.acosh, 1.01, 1e3), "atanh": (math.atanh, -0.99, 0.99), "rsqrt": (lambda x: 1 / math.sqrt(x), 1e-30, 1e30),
    "cbrt": (lambda x: math.copysign(abs(x) ** (1 / 3), x), -1e3, 1e3),
    "logistic": (lambda x: math.exp(x) / (1 + math.exp(x)), -80, 30), "erf": (math.erf, -4, 4), "erfc": (math.erfc, -4, 9),
}  # fmt: skip


@pytest.mark.parametrize("name", MATH)
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: dtypes.SHORT[d])
def test_transcendentals(name: str, dtype: Any) -> None:
    """Within 1 ulp of the math library's float64 value, rounded; in float64, within what that library itself may err."""
    definition, low, high = MATH[name]
    grid = np.geomspace(low, high, 97) if low > 0 and high > 1e4 else np.linspace(low, high, 97)
    with np.errstate(all="ignore"):
        x = grid.astype(dtype)
        x = x[np.isfinite(x.astype(np.float64)) & (x.astype(np.float64) >= low) & (x.astype(np.float64) <= high)]
        got = SCALARS[name].impl(x, dtype=dtype).astype(np.float64)
        expected = np.array([definition(float(v)) for v in x])
        rounded = expected.astype(dtype)
        ulp = abs(SCALARS["nextafter"].impl(rounded, np.full_like(rounded, np.inf), dtype=dtype).astype(np.float64) - rounded)
    fine = np.isfinite(ulp) & np.isfinite(rounded.astype(np.float64))
    error = abs(got - expected)[fine] / ulp[fine]
    assert fine.any() and error.max() <= (6 if dtype == dtypes.float64 else 1)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: dtypes.SHORT[d])
def test_transcendental_limits(dtype: Any) -> None:
    inf, nan = math.inf, math.nan
    for name, x, expected in [
        ("exp", -inf, 0.0), ("exp", inf, inf), ("exp", 1e4, inf), ("log", 0.0, -inf), ("log", -1.0, nan), ("log1p", -1.0, -inf),
        ("tanh", inf, 1.0), ("tanh", -0.0, -0.0), ("logistic", -inf, 0.0), ("logistic", inf, 1.0), ("logistic", 0.0, 0.5),
        ("rsqrt", 0.0, inf), ("rsqrt", inf, 0.0), ("cbrt", -8.0, -2.0), ("erf", inf, 1.0), ("erfc", -inf, 2.0),
        ("erfc", inf, 0.0),
        ("erf_inv", 1.0, inf), ("erf_inv", -1.0, -inf), ("erf_inv", 1.5, nan), ("erf_inv", -0.0, -0.0), ("atanh", 1.0, inf),
        ("acosh", 0.5, nan), ("sin", inf, nan), ("exp2", 10.0, 1024.0), ("expm1", -inf, -1.0), ("exp", nan, nan),
        ("erf", nan, nan), ("erf_inv", nan, nan), ("logistic", nan, nan),
        ("erf_inv_giles", 1.0, inf), ("erf_inv_giles", -1.0, -inf), ("erf_inv_giles", 1.5, nan), ("erf_inv_giles", -inf, nan),
        ("erf_inv_giles", -0.0, -0.0), ("erf_inv_giles", nan, nan),
    ]:  # fmt: skip
        assert same(apply(name, x, dtype=dtype), expected), (name, x)
    assert same(apply("atan2", -0.0, -1.0, dtype=dtype), apply("neg", apply("atan2", 0.0, -1.0, dtype=dtype), dtype=dtype))
    for base, exponent, expected in [(0.0, 0.0, 1.0), (-2.0, 3.0, -8.0), (-8.0, 0.5, nan), (2.0, -inf, 0.0), (nan, 0.0, 1.0)]:
        assert same(apply("pow", base, exponent, dtype=dtype), expected)


@given(x=st.floats(-5.5, 5.5))
@settings(max_examples=300)
def test_erf_inv_inverts_erf(x: float) -> None:
    y = math.erf(x)
    if abs(y) == 1 or y == 0:
        return
    back = apply("erf_inv", y, dtype=dtypes.float64)
    # erf's own rounding moves the answer by an ulp of y over erf'(x).
    slope = 2 / math.sqrt(math.pi) * math.exp(-x * x)
    assert abs(back - x) <= 2 * math.ulp(y) / slope + 4 * math.ulp(x)


def test_complex() -> None:
    z, w = 1.5 - 2j, 0.25 + 1j
    for dtype, tolerance in ((dtypes.complex64, 1e-6), (dtypes.complex128, 1e-15)):
        for name, expected in {"mul": z * w, "div": z / w, "pow": z**w}.items():
            assert abs(apply(name, z, w, dtype=dtype) - expected) <= 4 * tolerance * abs(expected)
        assert apply("abs", 3 + 4j, dtype=dtype) == 5.0
        assert abs(apply("sign", z, dtype=dtype) - z / abs(z)) <= tolerance and apply("sign", 0j, dtype=dtype) == 0


# --- random bits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key, counter, expected",
    [
        # The known answers of Random123's test vectors for threefry2x32, 20 rounds.
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
        # Made with JAX's threefry_2x32.
        ((3653403231, 2735729615), (2195314465, 1158725112), (3527530237, 2415291020)),
    ],
)
def test_threefry(key: tuple[int, int], counter: tuple[int, int], expected: tuple[int, int]) -> None:
    words = [np.uint32(n) for n in (*key, *counter)]
    x0, x1 = expected
    assert tuple(map(int, threefry2x32(*map(np.asarray, words)))) == expected
    assert apply("threefry0", *words, dtype=dtypes.uint32) == x0
    assert apply("threefry1", *words, dtype=dtypes.uint32) == x1
    assert apply("threefry_bits32", *words, dtype=dtypes.uint32) == x0 ^ x1
    assert apply("threefry_bits64", *words, dtype=dtypes.uint32) == x0 << 32 | x1


def test_bfloat16_is_that_of_ml_dtypes() -> None:
    assert dtypes.bfloat16 == np.dtype(ml_dtypes.bfloat16) and kind_of(dtypes.bfloat16) == "float"
