"""What the tests of the array API standard share: shapes, dtypes, samples, the elementwise functions and what they take."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import fdl

SHAPES = [(), (0,), (1,), (3,), (2, 0), (2, 3), (2, 1, 2)]
INTS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float32", "float64"]
COMPLEX = ["complex64", "complex128"]
ALL = ["bool", *INTS, *FLOATS, *COMPLEX]
REAL = [*INTS, *FLOATS]
NUMERIC = [*REAL, *COMPLEX]
TOLERANCE = {"float16": 2e-3, "float32": 1e-6, "float64": 1e-13, "complex64": 3e-6, "complex128": 1e-12}


def sample(shape: tuple[int, ...], dtype: Any, seed: int = 0, low: float = -3, high: float = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    d = np.dtype(dtype)
    if d.kind == "b":
        return rng.integers(0, 2, shape).astype(d)
    if d.kind in "iu":
        return rng.integers(
            max(math.ceil(low * 3), 0) if d.kind == "u" else math.ceil(low * 3), int(high * 3) + 1, shape
        ).astype(d)
    if d.kind == "c":
        return (rng.uniform(low, high, shape) + 1j * rng.uniform(low, high, shape)).astype(d)
    return rng.uniform(low, high, shape).astype(d)


def same(got: Any, want: Any, rtol: float = 0.0, dtype: Any = None, exact_zero: bool = False) -> None:
    """Equal shapes, dtypes and values; with `exact_zero`, equal signs of zeros as well."""
    assert isinstance(got, fdl.Array), type(got)
    a, b = np.asarray(got), np.asarray(want)
    assert a.shape == b.shape, (a.shape, b.shape)
    wanted = np.dtype(dtype) if dtype is not None else b.dtype
    assert a.dtype == wanted, (a.dtype, wanted)
    np.testing.assert_allclose(a, b.astype(wanted), rtol=rtol, atol=rtol)
    if exact_zero and wanted.kind == "f":
        zeros = (b == 0) & (a == 0)
        assert (np.signbit(a)[zeros] == np.signbit(b)[zeros]).all(), (a, b)


# --- the elementwise functions --------------------------------------------------------------------

UNARY = """
abs acos acosh asin asinh atan atanh bitwise_invert ceil conj cos cosh exp expm1 floor imag isfinite isinf isnan log log1p log2 log10
logical_not negative positive real reciprocal round sign signbit sin sinh square sqrt tan tanh trunc
""".split()
BINARY = """
add atan2 bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor copysign divide equal floor_divide greater
greater_equal hypot less less_equal logaddexp logical_and logical_or logical_xor maximum minimum multiply nextafter not_equal pow
remainder subtract
""".split()
DOMAIN = {
    "acos": (-1, 1), "asin": (-1, 1), "acosh": (1, 4), "atanh": (-0.9, 0.9), "log": (0.1, 4), "log1p": (-0.9, 4), "log2": (0.1, 4),
    "log10": (0.1, 4), "sqrt": (0, 4), "reciprocal": (0.3, 3),
}  # fmt: skip
INEXACT = {
    "acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "exp", "expm1", "log", "log1p", "log2", "log10", "reciprocal", "sin",
    "sinh", "sqrt", "tan", "tanh",
}  # fmt: skip
TAKES: dict[str, list[str]] = {
    **{name: [*FLOATS, *COMPLEX] for name in INEXACT}, "bitwise_invert": ["bool", *INTS], "logical_not": ALL, "conj": NUMERIC,
    "real": NUMERIC,
    "imag": COMPLEX, "ceil": REAL, "floor": REAL, "trunc": REAL, "signbit": FLOATS,
}  # fmt: skip
BINARY_TAKES: dict[str, list[str]] = {
    **dict.fromkeys("add subtract multiply pow".split(), NUMERIC), "divide": [*FLOATS, *COMPLEX],
    **dict.fromkeys("atan2 copysign hypot logaddexp nextafter".split(), FLOATS),
    **{name: ["bool", *INTS] for name in ("bitwise_and", "bitwise_or", "bitwise_xor")},
    **dict.fromkeys("equal not_equal logical_and logical_or logical_xor".split(), ALL),
    **dict.fromkeys("bitwise_left_shift bitwise_right_shift".split(), INTS),
}  # fmt: skip


def operands(name: str, dtype: str, a: tuple[int, ...], b: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    x, y = sample(a, dtype, 1), sample(b, dtype, 2)
    if name.endswith("shift"):
        y = (np.abs(y.astype("int64")) % 7).astype(dtype)
    elif name == "pow":
        x, y = (np.abs(x), y) if np.dtype(dtype).kind == "f" else (x, (np.abs(y.astype("int64")) % 4).astype(dtype)) \
            if np.dtype(dtype).kind != "c" else (x, y)  # fmt: skip
    elif name in ("floor_divide", "remainder", "divide"):
        y = np.where(y == 0, 3, y).astype(dtype)
    return x, y
