"""Elementwise functions, choices and constants."""

from __future__ import annotations

import numpy as np

from .table import INF, NAN, any_bits, between, bools, case, cplx, distinct, ints, just, normal

# --- elementwise ----------------------------------------------------------------------------------

for _name in ("add", "sub", "mul", "div", "max", "min", "atan2"):
    case(f"{_name}:floats", lambda lax, x, y, n=_name: getattr(lax, n)(x, y), normal(2, 3), normal(2, 3), grad=True)
    case(f"{_name}:ints", lambda lax, x, y, n=_name: getattr(lax, n)(x, y), ints(-9, 9, 8), ints(1, 9, 8), rtol=0) \
        if _name != "atan2" else None  # fmt: skip
    case(f"{_name}:size one", lambda lax, x, y, n=_name: getattr(lax, n)(x, y), normal(2, 3), normal(2, 1))
    case(f"{_name}:scalar", lambda lax, x, y, n=_name: getattr(lax, n)(x, y), normal(2, 3), normal())
for _name in ("add", "sub", "mul", "div", "max", "min"):
    case(f"{_name}:complex", lambda lax, x, y, n=_name: getattr(lax, n)(x, y), cplx(4), cplx(4))
case("add:empty", lambda lax, x, y: lax.add(x, y), normal(0, 3), normal(0, 3))
case("add:number", lambda lax, x: lax.add(x, 2.0), normal(3, dtype="float64"), grad=True)
case(
    "mul:out_dtype",
    lambda lax, x, y: lax.mul(x, y, out_dtype="int32"),
    ints(-99, 99, 5, dtype="int8"),
    ints(-99, 99, 5, dtype="int8"),
)
case("rem:floats", lambda lax, x, y: lax.rem(x, y), normal(5), between(0.5, 2, 5), grad=True)
case("rem:ints", lambda lax, x, y: lax.rem(x, y), ints(-20, 20, 8), ints(1, 9, 8), rtol=0)
case("nextafter:up and down", lambda lax, x, y: lax.nextafter(x, y), normal(5), normal(5), rtol=0)
case("sign:floats", lambda lax, x: lax.sign(x), just(-2, -0.0, 0, 3, NAN, INF), rtol=0)
case("sign:complex", lambda lax, x: lax.sign(x), cplx(4))
case("neg:uint", lambda lax, x: lax.neg(x), ints(0, 9, 4, dtype="uint8"), rtol=0)
case("abs:floats", lambda lax, x: lax.abs(x), normal(5), grad=True)
case("abs:complex", lambda lax, x: lax.abs(x), cplx(5))
case("square:floats", lambda lax, x: lax.square(x), normal(5), grad=True)
case("square:ints", lambda lax, x: lax.square(x), ints(-9, 9, 5), rtol=0)
case("reciprocal:floats", lambda lax, x: lax.reciprocal(x), between(0.5, 2, 5), grad=True)
case("pow:floats", lambda lax, x, y: lax.pow(x, y), between(0.5, 2, 5), normal(5), grad=True)
case("pow:int exponent", lambda lax, x, y: lax.pow(x, y), normal(5), ints(-3, 4, 5))
case("pow:number", lambda lax, x: lax.pow(x, 3), normal(5), grad=True)
case("pow:large number", lambda lax, x: lax.pow(x, 40), between(0.5, 1, 5))
for _n in (-3, -1, 0, 1, 2, 5, 8):
    case(f"integer_pow:{_n}", lambda lax, x, n=_n: lax.integer_pow(x, n), normal(5), grad=_n in (-1, 5))
case("integer_pow:ints", lambda lax, x: lax.integer_pow(x, 5), ints(-4, 5, 6), rtol=0)
for _d in ("int8", "int32", "int64", "uint8", "uint32", "uint64"):
    case(f"mulhi:{_d}", lambda lax, x, y: lax.mulhi(x, y), any_bits(_d, 16), any_bits(_d, 16), rtol=0)
case("clamp:scalars", lambda lax, x: lax.clamp(-0.5, x, 0.5), distinct(7), grad=True)
case("clamp:arrays", lambda lax, a, x, b: lax.clamp(a, x, b), between(-2, 0, 6), normal(6), between(0, 2, 6), grad=True)
case("clamp:crossed", lambda lax, x: lax.clamp(1.0, x, -1.0), normal(4))
case("clamp:ints", lambda lax, x: lax.clamp(np.int32(-3), x, np.int32(3)), ints(-9, 9, 9), rtol=0)

for _name in (
    "exp", "exp2", "expm1", "sin", "cos", "tan", "tanh", "atan", "sinh", "cosh", "asinh", "logistic", "erf", "erfc",
):  # fmt: skip
    case(f"{_name}:floats", lambda lax, x, n=_name: getattr(lax, n)(x), normal(2, 4), grad=True)
for _name in ("log", "sqrt", "rsqrt", "log1p", "cbrt"):
    case(f"{_name}:floats", lambda lax, x, n=_name: getattr(lax, n)(x), between(0.2, 4, 6), grad=True)
for _name in ("asin", "acos", "atanh", "erf_inv"):
    case(f"{_name}:floats", lambda lax, x, n=_name: getattr(lax, n)(x), between(-0.8, 0.8, 6), grad=True)
case("acosh:floats", lambda lax, x: lax.acosh(x), between(1.2, 4, 6), grad=True)
for _name in ("exp", "log", "sqrt", "sin", "cos", "tanh", "asin", "acos", "atan", "sinh", "cosh", "expm1", "log1p", "rsqrt"):
    case(f"{_name}:complex", lambda lax, x, n=_name: getattr(lax, n)(x), cplx(5), rtol=1e-11)
case("exp:accuracy", lambda lax, x: lax.exp(x, accuracy=None), normal(3))
for _name in ("floor", "ceil", "is_finite"):
    case(f"{_name}:floats", lambda lax, x, n=_name: getattr(lax, n)(x), just(-1.5, -0.0, 0.5, 2, NAN, INF, -INF), rtol=0)
_HALVES = just(-2.5, -1.5, -0.5, -0.3, 0.0, 0.49999999999999994, 0.5, 1.5, 2.5, 4503599627370497.5, NAN, INF, -INF)
case("round:away", lambda lax, x: lax.round(x), _HALVES, rtol=0)
case("round:even", lambda lax, x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN), _HALVES, rtol=0)
_PRECISE = just(
    1 / 3,
    1e30,
    65519,
    65520,
    -65520,
    6.2e-5,
    3e-5,
    0,
    -0.0,
    NAN,
    INF,
    -INF,
    2**-14,
    1 + 2**-11,
    1 + 3 * 2**-11,
    dtype="float32",
)
for _bits in ((5, 10), (8, 7), (8, 23), (4, 3), (5, 2), (2, 0), (11, 3)):
    case(f"reduce_precision:{_bits}", lambda lax, x, b=_bits: lax.reduce_precision(x, *b), _PRECISE, rtol=0)
case("reduce_precision:half", lambda lax, x: lax.reduce_precision(x, 4, 3), normal(20, dtype="float16"), rtol=0)

# --- choices --------------------------------------------------------------------------------------

for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    case(f"{_name}:floats", lambda lax, x, y, n=_name: getattr(lax, n)(x, y), just(1, 2, 3, NAN), just(2, 2, 2, NAN), rtol=0)
    case(f"{_name}:bools", lambda lax, x, y, n=_name: getattr(lax, n)(x, y), bools(8), bools(8), rtol=0)
case("eq:complex", lambda lax, x: lax.eq(x, x), cplx(3), rtol=0)
for _name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
    case(f"{_name}:ints", lambda lax, x, y, n=_name: getattr(lax, n)(x, y), ints(-99, 99, 8), ints(-99, 99, 8), rtol=0)
    case(f"{_name}:bools", lambda lax, x, y, n=_name: getattr(lax, n)(x, y), bools(8), bools(8), rtol=0)
case("bitwise_not:ints", lambda lax, x: lax.bitwise_not(x), ints(-99, 99, 8), rtol=0)
case("bitwise_not:bools", lambda lax, x: lax.bitwise_not(x), bools(8), rtol=0)
for _name in ("shift_left", "shift_right_logical", "shift_right_arithmetic"):
    for _d in ("int8", "uint32"):
        case(
            f"{_name}:{_d}",
            lambda lax, x, y, n=_name: getattr(lax, n)(x, y),
            ints(0, 99, 8, dtype=_d),
            ints(0, 8, 8, dtype=_d),
            rtol=0,
        )
for _name in ("population_count", "clz"):
    case(f"{_name}:int8", lambda lax, x, n=_name: getattr(lax, n)(x), ints(-99, 99, 12, dtype="int8"), rtol=0)
    case(f"{_name}:uint64", lambda lax, x, n=_name: getattr(lax, n)(x), ints(0, 2**60, 12, dtype="uint64"), rtol=0)
case("select:array", lambda lax, p, x, y: lax.select(p, x, y), bools(6), normal(6), normal(6), grad=True)
case("select:scalar", lambda lax, p, x, y: lax.select(p, x, y), bools(), normal(6), normal(6))
case("select_n:ints", lambda lax, w, *xs: lax.select_n(w, *xs), ints(0, 3, 6), normal(6), normal(6), normal(6), grad=True)
for _from, _to in (
    ("float64", "int32"),
    ("float64", "float16"),
    ("int32", "uint8"),
    ("int32", "float32"),
    ("bool", "float32"),
    ("float32", "bool"),
):
    case(
        f"convert_element_type:{_from} {_to}",
        lambda lax, x, t=_to: lax.convert_element_type(x, t),
        lambda rng, d=_from: np.asarray(rng.integers(-3, 300, 9), d),
        rtol=0,
    )
for _from, _to, _shape in (
    ("float32", "uint32", (3,)),
    ("float32", "uint8", (3,)),
    ("uint8", "uint32", (3, 4)),
    ("float64", "int32", ()),
    ("int16", "float64", (2, 4)),
    ("int8", "uint8", ()),
):
    case(
        f"bitcast_convert_type:{_from} {_to}", lambda lax, x, t=_to: lax.bitcast_convert_type(x, t),
        lambda rng, d=_from, s=_shape: np.asarray(rng.normal(size=s) * 50).astype(d), rtol=0,
    )  # fmt: skip
case("complex:parts", lambda lax, x, y: lax.complex(x, y), normal(4), normal(4))
case("conj:complex", lambda lax, x: lax.conj(x), cplx(4))
case("conj:real", lambda lax, x: lax.conj(x), normal(4))
case("real:complex", lambda lax, x: lax.real(x), cplx(4))
case("imag:complex", lambda lax, x: lax.imag(x), cplx(4))
case("full:float", lambda lax: lax.full((2, 3), 1.5, "float64"), rtol=0)
case("full:from array", lambda lax, x: lax.full((2,), x), normal(), rtol=0)
case("full_like:int", lambda lax, x: lax.full_like(x, 3), normal(2, 2), rtol=0)
case("full_like:shape", lambda lax, x: lax.full_like(x, 3, "int8", (4,)), normal(2, 2), rtol=0)
case("lgamma:floats", lambda lax, x: lax.lgamma(x), between(0.3, 5, 6), grad=True, rtol=1e-11)
case("digamma:floats", lambda lax, x: lax.digamma(x), between(0.3, 5, 6), grad=True, rtol=1e-11)
case("bessel_i0e:floats", lambda lax, x: lax.bessel_i0e(x), normal(6), grad=True, rtol=1e-11)
case("bessel_i1e:floats", lambda lax, x: lax.bessel_i1e(x), normal(6), grad=True, rtol=1e-11)
case(
    "betainc:floats",
    lambda lax, a, b, x: lax.betainc(a, b, x),
    between(0.5, 4, 5),
    between(0.5, 4, 5),
    between(0.1, 0.9, 5),
    rtol=1e-10,
)
case("igamma:floats", lambda lax, a, x: lax.igamma(a, x), between(0.5, 4, 5), between(0.1, 4, 5), rtol=1e-10)
case("igammac:floats", lambda lax, a, x: lax.igammac(a, x), between(0.5, 4, 5), between(0.1, 4, 5), rtol=1e-10)
case("igamma_grad_a:floats", lambda lax, a, x: lax.igamma_grad_a(a, x), between(0.5, 4, 5), between(0.1, 4, 5), rtol=1e-9)
case(
    "random_gamma_grad:floats", lambda lax, a, x: lax.random_gamma_grad(a, x), between(0.5, 4, 5), between(0.1, 4, 5), rtol=1e-9
)
case("zeta:floats", lambda lax, s, q: lax.zeta(s, q), between(1.5, 4, 5), between(0.5, 4, 5), rtol=1e-11)
case("polygamma:floats", lambda lax, n, x: lax.polygamma(n, x), just(0, 1, 2, 3, 1), between(0.5, 4, 5), rtol=1e-11)
