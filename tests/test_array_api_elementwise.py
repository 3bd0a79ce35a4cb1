"""The elementwise functions of the array API standard 2024.12: values, dtypes, scalars, special values; NumPy 2 is the oracle."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from array_api_cases import (
    BINARY,
    BINARY_TAKES,
    DOMAIN,
    FLOATS,
    INEXACT,
    INTS,
    NUMERIC,
    REAL,
    SHAPES,
    TAKES,
    TOLERANCE,
    UNARY,
    operands,
    same,
    sample,
)

import fdl
import fdl.numpy as fnp


@pytest.fixture
def reference() -> Iterator[None]:
    with fdl.config.using(backend="reference"):
        yield


@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str, reference: None) -> None:
    for dtype, shape in itertools.product(TAKES.get(name, NUMERIC), SHAPES):
        x = sample(shape, dtype, 1, *DOMAIN.get(name, (-3, 3)))
        with np.errstate(all="ignore"):
            want = getattr(np, name)(x)
        same(getattr(fnp, name)(x), want, TOLERANCE.get(dtype, 0))
        same(getattr(fnp, name)(fnp.asarray(x)), want, TOLERANCE.get(dtype, 0))
    if name in INEXACT:  # beyond the standard: integers and bools give the default float
        assert getattr(fnp, name)(fnp.ones(2, "i8")).dtype == getattr(fnp, name)([True]).dtype == fnp.float32
    for half in ("f16", "bf16"):
        if name not in ("bitwise_invert",):
            low, high = DOMAIN.get(name, (-3, 3))
            h = fnp.asarray(sample((9,), "float32", 2, low, high), half)
            same(getattr(fnp, name)(h), fnp.astype(getattr(fnp, name)(h.astype("f32")), getattr(fnp, name)(h).dtype), 1e-2)


@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str, reference: None) -> None:
    for dtype in BINARY_TAKES.get(name, REAL):
        for a, b in itertools.product(SHAPES, SHAPES):
            x, y = operands(name, dtype, a, b)
            try:
                np.broadcast_shapes(a, b)
            except ValueError:
                with pytest.raises(ValueError, match="do not broadcast"):
                    getattr(fnp, name)(x, y)
                continue
            same(getattr(fnp, name)(x, y), getattr(np, name)(x, y), 5 * TOLERANCE.get(dtype, 0))


@pytest.mark.parametrize("name", BINARY)
def test_python_scalars_as_either_operand(name: str, reference: None) -> None:
    for dtype in BINARY_TAKES.get(name, REAL):
        x, _ = operands(name, dtype, (3,), ())
        x = np.abs(x) + np.ones((), dtype) if dtype != "bool" else x
        kind = np.dtype(dtype).kind
        scalars: list[Any] = [True] if kind == "b" else [2] if kind in "iu" else [2, 1.5] if kind == "f" else [2, 1.5, 0.5j + 1]
        for v in scalars:
            for args in ((x, v), (v, x)):
                want = getattr(np, name)(*(np.asarray(p, dtype) for p in args))
                got = getattr(fnp, name)(*(fnp.asarray(p) if p is x else p for p in args))
                same(got, want, 5 * TOLERANCE.get(dtype, 0))


SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, 1e-300, -7.25, np.inf, -np.inf, np.nan]
# NumPy follows Python here. The standard prefers floor(x1 / x2) where an operand is infinite.
BY_FLOOR = {"floor_divide"}


@pytest.mark.parametrize("name", UNARY)
def test_special_values_unary(name: str, reference: None) -> None:
    if name in ("bitwise_invert", "imag"):
        return
    for dtype in FLOATS:
        info = np.finfo(dtype)
        x = np.array([*SPECIAL, info.max, info.min, info.tiny, float(info.smallest_subnormal), 1.5, 2.5, -1.5, -0.25], dtype)
        with np.errstate(all="ignore"):
            want = getattr(np, name)(x)
        same(getattr(fnp, name)(x), want, 4 * TOLERANCE[dtype] if want.dtype.kind == "f" else 0, exact_zero=True)


@pytest.mark.parametrize("name", BINARY)
def test_special_values_binary(name: str, reference: None) -> None:
    if "bitwise" in name:
        return
    for dtype in FLOATS:
        values = np.array([v for v in SPECIAL if dtype == "float64" or abs(v) != 1e-300], dtype)
        x, y = (v.ravel() for v in np.meshgrid(values, values))
        with np.errstate(all="ignore"):
            want = np.floor(x / y) if name in BY_FLOOR else getattr(np, name)(x, y)
            if name in BY_FLOOR:
                finite = np.isfinite(x) & np.isfinite(y) & (y != 0)
                want = np.where(finite, np.floor_divide(x, y), want)
        if name in ("maximum", "minimum"):  # of +0 and -0, either
            same(getattr(fnp, name)(x, y), want)
        else:
            same(getattr(fnp, name)(x, y), want, 4 * TOLERANCE[dtype] if want.dtype.kind == "f" else 0, exact_zero=True)


def test_signs_of_nan(reference: None) -> None:
    for dtype in ("float32", "float64", "float16"):
        nan = np.array([np.nan, -np.nan, 1.0, -1.0], dtype)
        nan = np.copysign(nan, np.array([1, -1, 1, -1], dtype))
        x, y = (v.ravel() for v in np.meshgrid(nan, nan))
        assert np.signbit(np.asarray(fnp.copysign(x, y))).tolist() == np.signbit(np.copysign(x, y)).tolist()
        assert fnp.signbit(nan).tolist() == [False, True, False, True]


def test_floor_divide_and_remainder_go_together(reference: None) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.uniform(-50, 50, 500), np.round(rng.uniform(-5, 5, 500), 1)
    x, y = np.round(x, 1), np.where(y == 0, 0.1, y)
    want = [divmod(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    assert fnp.floor_divide(x, y).tolist() == [q for q, _ in want]
    assert fnp.remainder(x, y).tolist() == [r for _, r in want]
    for dtype in INTS:
        a, b = sample((200,), dtype, 1, -40, 40), sample((200,), dtype, 2)
        b = np.where(b == 0, 3, b).astype(dtype)
        same(fnp.floor_divide(a, b), a // b)
        same(fnp.remainder(a, b), a % b)


def test_clip(reference: None) -> None:
    for dtype in REAL:
        x = sample((2, 3), dtype, 1)
        low, high = np.asarray(1, dtype), np.array([[2], [3]], dtype)
        for args in ((None, None), (low, None), (None, high), (low, high), (1, 2), (1, None)):
            want = x if args[0] is None and args[1] is None else np.clip(x, *args)
            same(fnp.clip(x, *args), want, dtype=dtype)
            same(fnp.clip(x, min=args[0], max=args[1]), want, dtype=dtype)
    x = np.array([np.nan, 1.0, 2.0])
    same(fnp.clip(x, 0.0, 1.5), np.array([np.nan, 1.0, 1.5]))
    same(fnp.clip(np.ones(3), x, 5.0), np.array([np.nan, 1.0, 2.0]))
    same(fnp.clip(np.ones(3), None, x), np.array([np.nan, 1.0, 1.0]))
    assert fnp.clip(fnp.zeros((0, 3)), 0, 1).shape == (0, 3) and fnp.clip(5.0, 0, 1).item() == 1.0


# --- compiled -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_compiled_as_eager(dtype: str) -> None:
    """All functions at once, in one program: the bits of `jit` are within a few ulp of those of eager, also for special values."""
    special = [0.0, -0.0, 1.0, -1.5, 2.5, 7.0, np.inf, -np.inf, np.nan] if dtype == "float32" else [0, 1, -1, 2, 7, -8, 100]
    values = np.array(special, dtype)
    x, y = (v.ravel() for v in np.meshgrid(values, values))
    kind = {"float32": FLOATS, "int32": INTS}[dtype]
    unary = [n for n in UNARY if kind[0] in TAKES.get(n, NUMERIC) and n != "imag"]
    binary = [n for n in BINARY if kind[0] in BINARY_TAKES.get(n, REAL) and not (n == "pow" and dtype == "int32")]

    def everything(x: Any, y: Any) -> dict[str, Any]:
        out = {n: getattr(fnp, n)(x) for n in unary}
        out |= {n: getattr(fnp, n)(x, y) for n in binary if "shift" not in n}
        out |= {n: getattr(fnp, n)(x, abs(y) % 8) for n in binary if "shift" in n}
        out |= {"sort": fnp.sort(x), "argsort": fnp.argsort(x, descending=True), "sum": fnp.sum(x[:9]), "max": fnp.max(y)}
        out |= {
            "diff": fnp.diff(x),
            "cumulative_sum": fnp.cumulative_sum(x[:7], include_initial=True),
            "clip": fnp.clip(x, y, 2),
        }
        out |= {"searchsorted": fnp.searchsorted(fnp.sort(values), x, side="right"), "unique": fnp.unique_counts(x, size=20)}
        return out

    with fdl.config.using(backend="reference"):
        want = everything(fnp.asarray(x), fnp.asarray(y))
    got = fdl.jit(everything)(x, y)
    for name, w in want.items():
        for a, b in zip(got[name], w, strict=True) if name == "unique" else [(got[name], w)]:
            same(a, np.asarray(b), 3e-6 if b.dtype == np.float32 else 0)
