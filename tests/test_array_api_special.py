"""The special cases of the array API standard 2024.12, elementwise functions, from its text: the definition and compiled code.

A case reads `condition>result`, or `real,imaginary>real,imaginary`, or `first,second>result`. Conditions::

    nan  -nan  +0  -0  1  -1  +inf  -inf     that value               ±0  ±inf  ±1     either
    finite  nonzero  positive  negative      finite numbers           any  !x          all values, all but x
    >0  <0  >1  <1  >-1  <-1                 with infinities          integer  half  fraction   of finite numbers
    odd+  odd-  other+  other-               odd integers and what is none, by sign
    sign=  sign!  -x1                        of a second operand: the sign of the first or the other one, its negative

Results: values as above with the sign of a zero; `~v` near v; `?v` either sign; `x1`, `x2`, `|x1|`, `|x2|` an operand; `positive` and
`negative` a sign bit (of what is not NaN); `even` the even neighbour of a half; 0 and 1 are also False and True.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp

INF, NAN, PI = math.inf, math.nan, math.pi
NAMED = {"nan": NAN, "-nan": -NAN, "+0": 0.0, "-0": -0.0, "0": 0.0, "1": 1.0, "-1": -1.0, "+inf": INF, "-inf": -INF}
ANGLES = {"pi": PI, "-pi": -PI, "pi/2": PI / 2, "-pi/2": -PI / 2, "pi/4": PI / 4, "-pi/4": -PI / 4}
ANGLES |= {"3pi/4": 3 * PI / 4, "-3pi/4": -3 * PI / 4}
ROUNDING = "integer>x1 +inf>+inf -inf>-inf +0>+0 -0>-0 nan>nan"
LOGARITHM = "nan>nan <0>nan ±0>-inf 1>+0 +inf>+inf"
ODD = "nan>nan +0>+0 -0>-0"

REAL = {
    "abs": "nan>nan -0>+0 -inf>+inf", "acos": "nan>nan >1>nan <-1>nan 1>+0", "acosh": "nan>nan <1>nan 1>+0 +inf>+inf",
    "asin": f"{ODD} >1>nan <-1>nan", "asinh": f"{ODD} +inf>+inf -inf>-inf", "atan": f"{ODD} +inf>~pi/2 -inf>~-pi/2",
    "atanh": f"{ODD} <-1>nan >1>nan -1>-inf 1>+inf", "ceil": ROUNDING, "floor": ROUNDING, "trunc": ROUNDING,
    "round": f"{ROUNDING} half>even", "cos": "nan>nan ±0>1 ±inf>nan", "cosh": "nan>nan ±0>1 ±inf>+inf",
    "exp": "nan>nan ±0>1 +inf>+inf -inf>+0", "expm1": f"{ODD} +inf>+inf -inf>-1", "isfinite": "±inf>0 nan>0 finite>1",
    "isinf": "±inf>1 nan>0 finite>0", "isnan": "nan>1 -nan>1 ±inf>0 finite>0", "log": LOGARITHM, "log2": LOGARITHM, "log10": LOGARITHM,
    "log1p": f"{ODD} <-1>nan -1>-inf +inf>+inf", "sign": "<0>-1 ±0>+0 >0>1 nan>nan",
    "signbit": "+0>0 -0>1 +inf>0 -inf>1 positive>0 negative>1 nan>0 -nan>1", "sin": f"{ODD} ±inf>nan",
    "sinh": f"{ODD} +inf>+inf -inf>-inf", "sqrt": f"{ODD} <0>nan +inf>+inf", "tan": f"{ODD} ±inf>nan", "tanh": f"{ODD} +inf>1 -inf>-1",
    "reciprocal": "nan>nan +0>+inf -0>-inf +inf>+0 -inf>-0", "square": "nan>nan ±0>+0 ±inf>+inf",
}  # fmt: skip

ACOSH = "-inf,positive>+inf,~pi +inf,positive>+inf,+0 -inf,+inf>+inf,~3pi/4 +inf,+inf>+inf,~pi/4 ±inf,nan>+inf,nan nan,+inf>+inf,nan"
UNKNOWN = "nan,finite>nan,nan nan,nan>nan,nan"
EXP = "finite,+inf>nan,nan finite,nan>nan,nan +inf,+0>+inf,+0 +inf,+inf>+inf,nan +inf,nan>+inf,nan nan,+0>nan,+0 nan,!0>nan,nan"
COMPLEX = {
    "acos": "±0,+0>~pi/2,-0 ±0,nan>~pi/2,nan finite,+inf>~pi/2,-inf nonzero,nan>nan,nan -inf,positive>~pi,-inf +inf,positive>+0,-inf "
    f"-inf,+inf>~3pi/4,-inf +inf,+inf>~pi/4,-inf ±inf,nan>nan,?inf nan,+inf>nan,-inf {UNKNOWN}",
    "acosh": f"±0,+0>+0,~pi/2 finite,+inf>+inf,~pi/2 nonzero,nan>nan,nan +0,nan>nan,?~pi/2 {ACOSH} {UNKNOWN}",
    "asinh": "+0,+0>+0,+0 positive,+inf>+inf,~pi/2 finite,nan>nan,nan +inf,positive>+inf,+0 +inf,+inf>+inf,~pi/4 nan,+0>nan,+0 "
    "nan,nonzero>nan,nan nan,+inf>?inf,nan nan,nan>nan,nan",
    "atanh": "+0,+0>+0,+0 +0,nan>+0,nan 1,+0>+inf,+0 positive,+inf>+0,~pi/2 nonzero,nan>nan,nan +inf,positive>+0,~pi/2 "
    f"+inf,+inf>+0,~pi/2 +inf,nan>+0,nan nan,+inf>?0,~pi/2 {UNKNOWN}",
    "cosh": "+0,+0>1,+0 +0,+inf>nan,?0 +0,nan>nan,?0 nonzero,+inf>nan,nan nonzero,nan>nan,nan +inf,+0>+inf,+0 +inf,+inf>?inf,nan "
    "+inf,nan>+inf,nan nan,±0>nan,?0 nan,nonzero>nan,nan nan,nan>nan,nan",
    "exp": f"±0,+0>1,+0 -inf,+inf>+0,+0 -inf,nan>+0,+0 {EXP}",
    "expm1": f"±0,+0>+0,+0 -inf,+inf>-1,+0 -inf,nan>-1,+0 {EXP}",
    "log": f"-0,+0>-inf,~pi +0,+0>-inf,+0 finite,+inf>+inf,~pi/2 finite,nan>nan,nan {ACOSH} {UNKNOWN}",
    "log1p": f"-1,+0>-inf,+0 finite,+inf>+inf,~pi/2 finite,nan>nan,nan {ACOSH} {UNKNOWN}",
    "log2": "+0,+0>-inf,+0 +inf,positive>+inf,+0 nan,+inf>+inf,nan " + UNKNOWN,
    "log10": "+0,+0>-inf,+0 +inf,positive>+inf,+0 nan,+inf>+inf,nan " + UNKNOWN,
    "sign": "±0,±0>+0,+0 nan,any>nan,nan any,nan>nan,nan",
    "sinh": "+0,+0>+0,+0 +0,+inf>?0,nan +0,nan>?0,nan positive,+inf>nan,nan positive,nan>nan,nan +inf,+0>+inf,+0 +inf,+inf>?inf,nan "
    "+inf,nan>?inf,nan nan,+0>nan,+0 nan,nonzero>nan,nan nan,nan>nan,nan",
    # At inf + iy the text has 0 + i inf, the value at -inf + iy, and NaN there: a slip, since both are C99's but for it.
    "sqrt": "±0,+0>+0,+0 any,+inf>+inf,+inf finite,nan>nan,nan -inf,positive>+0,+inf +inf,positive>+inf,+0 -inf,nan>nan,?inf "
    f"+inf,nan>+inf,nan {UNKNOWN}",
    "tanh": "+0,+0>+0,+0 nonzero,+inf>nan,nan +0,+inf>+0,nan nonzero,nan>nan,nan +0,nan>+0,nan +inf,positive>1,+0 +inf,+inf>1,?0 "
    "+inf,nan>1,?0 nan,+0>nan,+0 nan,nonzero>nan,nan nan,nan>nan,nan",
}  # fmt: skip

UNDEFINED = "nan,any>nan any,nan>nan"
QUOTIENT = (
    f"{UNDEFINED} ±inf,±inf>nan ±0,±0>nan +0,>0>+0 -0,>0>-0 +0,<0>-0 -0,<0>+0 >0,+0>+inf >0,-0>-inf <0,+0>-inf <0,-0>+inf "
    "+inf,positive>+inf +inf,negative>-inf -inf,positive>-inf -inf,negative>+inf positive,+inf>+0 positive,-inf>-0 negative,+inf>-0 "
    "negative,-inf>+0 nonzero,sign=>positive nonzero,sign!>negative"
)
BINARY = {
    "add": f"{UNDEFINED} +inf,-inf>nan -inf,+inf>nan +inf,+inf>+inf -inf,-inf>-inf +inf,finite>+inf -inf,finite>-inf finite,+inf>+inf "
    "finite,-inf>-inf -0,-0>-0 -0,+0>+0 +0,-0>+0 +0,+0>+0 ±0,nonzero>x2 nonzero,±0>x1 nonzero,-x1>+0",
    "atan2": f"{UNDEFINED} >0,±0>~pi/2 +0,>0>+0 +0,+0>+0 +0,-0>~pi +0,<0>~pi -0,>0>-0 -0,+0>-0 -0,-0>~-pi -0,<0>~-pi <0,±0>~-pi/2 "
    "positive,+inf>+0 positive,-inf>~pi negative,+inf>-0 negative,-inf>~-pi +inf,finite>~pi/2 -inf,finite>~-pi/2 +inf,+inf>~pi/4 "
    "+inf,-inf>~3pi/4 -inf,+inf>~-pi/4 -inf,-inf>~-3pi/4",
    "copysign": "nan,any>nan any,-0>negative any,+0>positive any,<0>negative any,>0>positive any,-nan>negative any,nan>positive",
    "divide": QUOTIENT, "floor_divide": QUOTIENT,
    "hypot": "±inf,any>+inf any,±inf>+inf ±0,any>|x2| any,±0>|x1| finite,nan>nan nan,finite>nan nan,nan>nan",
    "logaddexp": f"{UNDEFINED} +inf,!nan>+inf !nan,+inf>+inf", "maximum": UNDEFINED, "minimum": UNDEFINED,
    "multiply": f"{UNDEFINED} ±inf,±0>nan ±0,±inf>nan any,sign=>positive any,sign!>negative",
    "nextafter": f"{UNDEFINED} -0,+0>+0 +0,-0>-0",
    "pow": "!1,nan>nan any,±0>1 nan,!0>nan >1,+inf>+inf <-1,+inf>+inf >1,-inf>+0 <-1,-inf>+0 ±1,±inf>1 1,!nan>1 fraction,+inf>+0 "
    "fraction,-inf>+inf +inf,>0>+inf +inf,<0>+0 -inf,odd+>-inf -inf,other+>+inf -inf,odd->-0 -inf,other->+0 +0,>0>+0 +0,<0>+inf "
    "-0,odd+>-0 -0,other+>+0 -0,odd->-inf -0,other->+inf negative,half>nan",
    "remainder": f"{UNDEFINED} ±inf,±inf>nan ±0,±0>nan ±0,>0>+0 ±0,<0>-0 nonzero,±0>nan ±inf,nonzero>nan positive,+inf>x1 "
    "positive,-inf>x2 negative,+inf>x2 negative,-inf>x1",
    "equal": "nan,any>0 any,nan>0 +inf,+inf>1 -inf,-inf>1 ±0,±0>1", "not_equal": "nan,any>1 any,nan>1 +inf,-inf>1 -inf,+inf>1 ±0,±0>0",
}  # fmt: skip
OPERATORS = {
    "add": operator.add, "divide": operator.truediv, "floor_divide": operator.floordiv, "multiply": operator.mul, "pow": operator.pow,
    "remainder": operator.mod, "equal": operator.eq, "not_equal": operator.ne,
}  # fmt: skip


def matching(condition: str, dtype: Any) -> list[float]:
    """The values of a sample that meet a condition."""
    info = np.finfo(dtype)
    sizes = [float(x) for x in (info.tiny, info.smallest_subnormal, info.max, 1 + info.eps, 1 - info.eps)]
    sizes += [1.0, 2.0, 3.0, 0.5, 2.5, 1.75, 1000.0, 3e-5, 7e9]
    numbers = [s * x for x in sizes for s in (1, -1)]
    zeros, ends = [0.0, -0.0], [INF, -INF]
    if condition in NAMED:
        return [NAMED[condition]]
    if condition[0] in "±":
        return [NAMED[condition[1:]] * s for s in (1, -1)] if condition != "±inf" else ends
    if condition[0] in "<>":
        bound = float(condition[1:])
        return [x for x in numbers + zeros + ends if (x > bound if condition[0] == ">" else x < bound)]
    sign = -1 if condition[-1] == "-" else 1
    table: dict[str, Callable[[], list[float]]] = {
        "finite": lambda: numbers + zeros, "nonzero": lambda: numbers, "positive": lambda: [x for x in numbers if x > 0],
        "negative": lambda: [x for x in numbers if x < 0], "any": lambda: [*numbers, *zeros, *ends, NAN],
        "integer": lambda: [x for x in numbers if x.is_integer()], "half": lambda: [0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 1001.5],
        "fraction": lambda: [x for x in numbers + zeros if abs(x) < 1], "!nan": lambda: numbers + zeros + ends,
        "!0": lambda: [*numbers, *ends, NAN], "!1": lambda: [x for x in [*numbers, *zeros, *ends] if x != 1],
    }  # fmt: skip
    odd = {"odd": [1.0, 3.0, 7.0, 4095.0], "other": [2.0, 0.5, 2.5, 1000.0, float(info.max), INF]}
    return [sign * x for x in odd[condition[:-1]]] if condition[:-1] in odd else table[condition]()


def pairs(first: str, second: str, dtype: Any) -> Iterator[tuple[float, float]]:
    for x in matching(first, dtype):
        if second == "-x1":
            yield x, -x
        elif second in ("sign=", "sign!"):
            every = matching("nonzero" if first == "nonzero" else "any", dtype)
            yield from ((x, y) for y in every if (math.copysign(1, x) == math.copysign(1, y)) == (second == "sign="))
        else:
            yield from ((x, y) for y in matching(second, dtype))


def meets(result: str, value: float, *operands: float) -> bool:
    """Whether `value` is what a case asks for."""
    if result in ("positive", "negative"):
        return math.isnan(value) or (math.copysign(1, value) < 0) == (result == "negative")
    if result == "even":
        return value == round(operands[0])
    either = result[0] == "?"
    result = result.lstrip("?")
    if result[0] == "~":
        want = ANGLES[result[1:]]
        return math.isclose(abs(value) if either else value, want, rel_tol=1e-6)
    if "x" in result:
        want = operands[int(result.strip("|")[1]) - 1]
        want = abs(want) if result[0] == "|" else want
    else:
        want = INF if result == "inf" else NAMED[result]
    if math.isnan(want):
        return math.isnan(value)
    return abs(value) == abs(want) if either else value == want and math.copysign(1, value) == math.copysign(1, want)


def same_bits(a: float, b: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))


def computed(inputs: dict[str, tuple[Any, ...]], functions: dict[str, Callable[..., Any]]) -> Iterator[dict[str, np.ndarray]]:
    """The results of functions by the reference, one at a time, and compiled, all in one program."""

    def everything(inputs: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
        return {n: functions[n](*x) for n, x in inputs.items()}

    with fdl.config.using(backend="reference"):
        defined = everything({n: tuple(map(fnp.asarray, x)) for n, x in inputs.items()})
    yield {n: np.asarray(y) for n, y in defined.items()}
    yield {n: np.asarray(y) for n, y in fdl.jit(everything)(inputs).items()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_real_functions(dtype: str) -> None:
    cases = {n: [(x, case.rsplit(">", 1)[1]) for case in text.split() for x in matching(case.rsplit(">", 1)[0], dtype)]
             for n, text in REAL.items()}  # fmt: skip
    inputs = {n: (np.array([x for x, _ in c], dtype),) for n, c in cases.items()}
    for values in computed(inputs, {n: getattr(fnp, n) for n in REAL}):
        wrong = [
            (n, float(x), result, float(y))
            for n, c in cases.items()
            for (_, result), x, y in zip(c, inputs[n][0], values[n], strict=True)
            if not meets(result, float(y), float(x))
        ]
        assert not wrong


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_functions(dtype: str) -> None:
    part = {"complex64": "float32", "complex128": "float64"}[dtype]
    cases: dict[str, list[tuple[tuple[float, float], str]]] = {}
    for name, text in COMPLEX.items():
        for condition, result in (case.split(">") for case in text.split()):
            cases.setdefault(name, []).extend((xy, result) for xy in pairs(*condition.split(","), part))
    inputs = {n: (np.array([xy for xy, _ in c], part).view(dtype)[:, 0],) for n, c in cases.items()}
    below = {n: (x.conj(),) for n, (x,) in inputs.items()}
    left = {n: (-x,) for n, (x,) in inputs.items() if n in ("asinh", "atanh", "sinh", "tanh", "cosh")}
    functions = {n: getattr(fnp, n) for n in COMPLEX}
    for values, mirrored, turned in zip(*(computed(i, functions) for i in (inputs, below, left)), strict=True):
        wrong: list[Any] = []
        for name, c in cases.items():
            for k, ((x, y), result) in enumerate(c):
                value = complex(values[name][k])
                re, im = result.split(",")
                if not (meets(re, value.real) and meets(im, value.imag)):
                    wrong.append((name, x, y, result, value))
                # Conjugates of conjugates and, for odd and even functions, what lies opposite.
                for other, sr, si in ((mirrored, 1, -1), (turned, *((1, 1) if name == "cosh" else (-1, -1)))):
                    if name in other and name != "sign" and "?" not in result:
                        z = complex(other[name][k])
                        if not (same_bits(sr * z.real, value.real) and same_bits(si * z.imag, value.imag)):
                            wrong.append((name, x, y, "symmetry", value, z))
        assert not wrong


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_binary_functions(dtype: str) -> None:
    cases: dict[str, list[tuple[tuple[float, float], str]]] = {}
    for name, text in BINARY.items():
        for condition, result in (case.rsplit(">", 1) for case in text.split()):
            cases.setdefault(name, []).extend((xy, result) for xy in pairs(*condition.split(","), dtype))
    inputs = {n: tuple(np.array([xy for xy, _ in c], dtype).T.copy()) for n, c in cases.items()}
    functions = {n: getattr(fnp, n) for n in BINARY}
    for table in (functions, OPERATORS):
        for values in computed({n: inputs[n] for n in table}, table):
            wrong = [
                (n, float(x), float(y), result, float(z))
                for n in table
                for (_, result), x, y, z in zip(cases[n], *inputs[n], values[n], strict=True)
                if not meets(result, float(z), float(x), float(y))
            ]
            assert not wrong


def test_infinite_arguments_of_complex_tangents() -> None:
    """tanh(inf + iy) = 1 with a zero of the sign of y; C99, and NumPy with it, have the sign of sin 2y."""
    z = np.array([complex(INF, 2), complex(-INF, 2), complex(INF, -2), complex(INF, 1)])
    for f in (fnp.tanh, fdl.jit(fnp.tanh)):
        assert repr(np.asarray(f(z)).tolist()) == "[(1+0j), (-1+0j), (1-0j), (1+0j)]"
    for f in (fnp.tan, fdl.jit(fnp.tan)):
        assert repr(np.asarray(f(np.array([complex(x.imag, x.real) for x in z]))).tolist()) == "[1j, -1j, (-0+1j), 1j]"
    assert repr(fnp.expm1(fnp.asarray(complex(-0.0, 0.0))).item()) == "0j"


def test_nothing_warns_where_numbers_overflow() -> None:
    """Outside `jit`, too: warnings are errors here."""
    for huge in (fnp.asarray([1e300, 1.0]), fnp.asarray(1e300), fnp.asarray([1e300 + 1j]), fnp.full((2,), 1e300)):
        assert huge.dtype in (fnp.float32, fnp.complex64) and fnp.isinf(huge.reshape(-1)[0])
    assert fnp.linspace(0.0, INF, 3).tolist()[1:] == [INF, INF]
    # ord in float32: the exponent 1 / ord is not.
    assert float(fnp.linalg.vector_norm(fnp.asarray([2.0, 3.0]), ord=7e-138)) == INF
    assert float(fnp.linalg.vector_norm(fnp.asarray([2.0, 3.0]), ord=-7e-138)) == 0.0


def test_spread_of_no_more_numbers_than_the_correction() -> None:
    """n - correction <= 0 gives NaN, whatever the numbers; NumPy gives infinities."""
    x = np.array([[1.0, 2.0, 4.0], [3.0, 3.0, 3.0]])
    few = np.array([[True, False, False], [True, True, False]])
    for f in (fnp.var, fnp.std):
        for correction in (3, 3.0, 4.5):
            spread = fdl.jit(lambda x, f=f, c=correction: f(x, axis=1, correction=c))
            assert np.isnan(spread(x)).all() and np.isnan(f(x, axis=1, correction=correction)).all()
        assert np.isnan(f(x, axis=1, where=few, correction=1)).tolist() == [True, False]
        assert np.isnan(f(fnp.zeros((2, 0)), axis=1)).all() and not np.isnan(f(x, axis=1, correction=2)).any()
    for g in (fnp.nanvar, fnp.nanstd):
        assert np.isnan(g(np.where(few, x, np.nan), axis=1, ddof=1)).tolist() == [True, False]
