"""fdl.numpy's functions beyond the array API standard against NumPy: values, special values, `jit`, `vmap` and derivatives."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

import fdl
import fdl.numpy as fnp

SHAPES = [(), (0,), (3,), (2, 0), (2, 3), (2, 1, 2)]
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -7.25, 3.0, np.inf, -np.inf, np.nan]


@pytest.fixture
def reference() -> Iterator[None]:
    with fdl.config.using(backend="reference"):
        yield


def sample(shape: tuple[int, ...], dtype: Any = "float64", seed: int = 0, low: float = -3, high: float = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    d = np.dtype(dtype)
    if d.kind in "iu":
        return rng.integers(0 if d.kind == "u" else -9, 10, shape).astype(d)
    return rng.uniform(low, high, shape).astype(d)


def same(got: Any, want: Any, rtol: float = 0.0, dtype: Any = None, signs: bool = False) -> None:
    a, b = np.asarray(got), np.asarray(want)
    assert a.shape == b.shape, (a.shape, b.shape)
    assert a.dtype == (np.dtype(dtype) if dtype else b.dtype), (a.dtype, b.dtype)
    np.testing.assert_allclose(a, b.astype(a.dtype), rtol=rtol, atol=rtol)
    if signs and a.dtype.kind == "f":
        assert (np.signbit(a) == np.signbit(b))[~np.isnan(b)].all(), (a, b)


# --- elementwise ----------------------------------------------------------------------------------

UNARY = "fabs cbrt deg2rad rad2deg degrees radians exp2 sinc spacing isneginf isposinf i0 absolute fix rint nan_to_num positive".split()
BINARY = "fmod float_power fmax fmin logaddexp2 heaviside true_divide arctan2 ldexp power".split()


@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str, reference: None) -> None:
    for dtype, shape in itertools.product(("float32", "float64"), SHAPES):
        x = sample(shape, dtype, 1)
        same(getattr(fnp, name)(x), getattr(np, name)(x), 1e-6 if dtype == "float32" else 1e-14, signs=name != "sinc")
    for dtype in ("float32", "float64"):
        info = np.finfo(dtype)
        x = np.array([*SPECIAL, info.max, info.min, info.tiny, info.smallest_subnormal, 1.5, 2.5], dtype)
        with np.errstate(all="ignore"):
            want = getattr(np, name)(x)
        if name == "sinc":
            with np.errstate(over="ignore"):
                want[np.isinf(x * dtype_scale(np.pi, dtype))] = 0  # NumPy has the NaN of sin(inf) / inf: the limit is 0
        if name == "i0":
            with np.errstate(over="ignore"):
                want = np.where(np.isinf(x), np.inf, scipy.special.i0(x.astype("f8"))).astype(dtype)
        if name == "spacing":  # away from 0, as NumPy has it but for the largest number
            want = np.where(
                np.abs(x) == info.max, np.sign(x) * (info.max - np.nextafter(info.max, x.dtype.type(0))), want
            ).astype(dtype)
        same(getattr(fnp, name)(x), want, 3e-7 if dtype == "float32" else 1e-15, signs=name not in ("sinc", "i0"))
    if name not in ("spacing", "i0", "sinc"):
        assert getattr(fnp, name)(fnp.asarray([1, 2], "i8")).dtype in (np.float32, np.bool_, np.int8)


@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str, reference: None) -> None:
    for dtype in ("float32", "float64"):
        values = np.array(SPECIAL, dtype)
        x, y = (v.ravel() for v in np.meshgrid(values, values))
        if name == "ldexp":
            y = np.resize(np.array([0, 1, -1, 5, 2000, -2000, -140, 127, 300, -1060], "int32"), x.shape)
        if name == "float_power":
            with np.errstate(all="ignore"):
                want = np.power(x, y)
        else:
            with np.errstate(all="ignore"):
                want = getattr(np, name)(x, y)
        same(getattr(fnp, name)(x, y), want, 4e-7 if dtype == "float32" else 1e-15, signs=name not in ("fmax", "fmin"))
        for a, b in itertools.product(SHAPES, SHAPES):
            if name == "ldexp":
                continue
            try:
                shape = np.broadcast_shapes(a, b)
            except ValueError:
                continue
            assert getattr(fnp, name)(sample(a, dtype), sample(b, dtype)).shape == shape


def test_mantissa_and_exponent(reference: None) -> None:
    for dtype in ("float16", "float32", "float64"):
        info = np.finfo(dtype)
        x = np.array(
            [*SPECIAL, info.max, info.tiny, info.smallest_subnormal, 3 * float(info.smallest_subnormal), 1e-3, 7.0], dtype
        )
        m, n = fnp.frexp(x)
        want_m, want_n = np.frexp(x)
        ordinary = np.isfinite(x)
        same(m, want_m, signs=True)
        assert n.dtype == np.int32 and np.asarray(n)[ordinary].tolist() == want_n[ordinary].tolist()
        same(fnp.ldexp(m, n), x, signs=True)
        f, w = fnp.modf(x)
        want_f, want_w = np.modf(x)
        same(f, want_f, signs=True)
        same(w, want_w, signs=True)
    # One rounding: 3 / 2 of the smallest subnormal times 2^k is not rounded twice on the way down.
    x = np.float32(1.0000001) * np.float32(2) ** np.arange(-20, 20, dtype="f4")
    for k in (-130, -140, -149, 100):
        same(fnp.ldexp(x, k), np.ldexp(x, k))
    h = fnp.ldexp(fnp.asarray([1.0, 3.0], "bf16"), [3, -1])
    assert h.dtype == ml_dtypes.bfloat16 and h.tolist() == [8.0, 1.5]
    with pytest.raises(TypeError, match="the exponents must be integers"):
        fnp.ldexp(1.0, 2.0)


def test_divisors() -> None:
    for dtype in ("int8", "int16", "int32", "int64", "uint8", "uint64"):
        info = np.iinfo(dtype)
        values = np.array(
            [0, 1, 2, 6, 12, 35, 90, info.max, info.max - 1, *([-4, -90, info.min] if info.min < 0 else [])], dtype
        )
        x, y = (v.ravel() for v in np.meshgrid(values, values))
        same(fnp.gcd(x, y), np.gcd(x, y))
        small = (np.abs(x.astype(object)) < 100) & (np.abs(y.astype(object)) < 100)
        wide = np.array([math.lcm(int(a), int(b)) for a, b in zip(x[small], y[small], strict=True)])
        fits = wide <= info.max
        same(fnp.lcm(x[small][fits], y[small][fits]), wide[fits].astype(dtype))
    assert (
        fnp.gcd(12, 18).item() == 6
        and fnp.lcm([4, 6], 10).tolist() == [20, 30]
        and fnp.gcd(np.zeros((0, 2), "i4"), 3).shape == (0, 2)
    )
    x, y = np.array([12, 7, 0], "i4"), np.array([18, 21, 5], "i4")
    same(fdl.jit(fnp.gcd)(x, y), np.gcd(x, y))
    same(fdl.vmap(fnp.gcd)(x, y), np.gcd(x, y))
    same(fdl.jit(fdl.vmap(fnp.lcm, in_axes=(0, None)))(x, y[0]), np.lcm(x, y[0]))
    with pytest.raises(TypeError, match="gcd: takes integers"):
        fnp.gcd(1.0, 2)


def test_bits(reference: None) -> None:
    for dtype in ("int8", "int32", "uint16", "int64"):
        x = sample((40,), dtype, 1)
        same(fnp.bitwise_count(x), np.bitwise_count(x))
        for name in ("invert", "bitwise_not", "bitwise_invert"):
            same(getattr(fnp, name)(x), np.invert(x))
        width = np.iinfo(dtype).bits
        for name in ("left_shift", "right_shift"):  # a shift by the width or more is defined
            got = getattr(fnp, name)(x, np.asarray(width, dtype)).tolist()
            assert got == ([0] * 40 if name == "left_shift" or dtype[0] == "u" else [-1 if v < 0 else 0 for v in x.tolist()])


@pytest.mark.parametrize(
    "pair",
    [
        ("f4", "i4"),
        ("f8", "u2"),
        ("u1", "f4"),
        ("i2", "u1"),
        ("c8", "f4"),
        ("f8", "c8"),
        ("c8", "i8"),
        ("?", "u1"),
        ("i8", "i8"),
        ("c16", "c8"),
    ],
)
def test_view(pair: tuple[str, str], reference: None) -> None:
    x = sample((3, 8), "f8", 1)
    x = (
        (x > 0)
        if pair[0] == "?"
        else (x + 1j * x[::-1]).astype(pair[0])
        if pair[0][0] == "c"
        else (x * 9).astype(np.int64).astype(pair[0])
    )
    wanted = np.dtype(pair[1])
    same(fnp.asarray(x).view(wanted), x.view(wanted))
    same(fdl.jit(lambda v: v.view(wanted))(x), x.view(wanted))
    if np.dtype(pair[0]).itemsize == np.dtype(pair[1]).itemsize:
        assert fnp.asarray(x[0, 0]).view(wanted).shape == ()
    with pytest.raises(ValueError, match="does not hold whole elements"):
        fnp.ones((2, 3), "i8").view("i32")


def test_rounding(reference: None) -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, 12.345, -9.995, 1e6 + 0.125])
    for decimals in (0, 1, 2, -1, -3):
        same(fnp.round(x, decimals), np.round(x, decimals), 1e-15)
        same(fnp.round(x + 1j * x[::-1], decimals), np.round(x + 1j * x[::-1], decimals), 1e-15)
    i = np.array([-25, -15, -5, 5, 14, 15, 25, 1250, -1350])
    for decimals in (0, 2, -1, -2, -30):
        same(fnp.round(i, decimals), np.round(i, decimals) if decimals > -20 else i * 0)
    assert round(fnp.asarray(2.5)).item() == 2.0 and fnp.asarray([1.26]).round(1).tolist() == pytest.approx([1.3])
    assert fnp.round(fnp.ones(2), 2).dtype == np.float32


def test_power(reference: None) -> None:
    x = np.array(SPECIAL)
    for n in range(-5, 11):
        with np.errstate(all="ignore"):
            same(fnp.asarray(x) ** n, x ** float(n), 1e-15, signs=True)
            same(fnp.power(x, float(n)), x ** float(n), 1e-15, signs=True)
    with np.errstate(all="ignore"):  # unlike NumPy's, which takes the root: (-0)**0.5 is 0, and (-inf)**0.5 is inf
        same(fnp.asarray(x) ** 0.5, np.where(x == -np.inf, np.inf, np.sqrt(x) + 0.0), 1e-15, signs=True)
    i = np.array([-3, -1, 0, 1, 2, 7])
    for n in range(12):
        same(fnp.asarray(i) ** n, i**n)
    assert (fnp.asarray([2, -1, 1]) ** -1).tolist() == [0, -1, 1] and (fnp.asarray([True, False]) ** 2).tolist() == [1, 0]
    assert (2 ** fnp.asarray([1.0, 2.0])).tolist() == [2.0, 4.0] and fnp.float_power(2, 3).item() == 8.0


def test_logarithms_are_whole_for_powers_of_their_base() -> None:
    for dtype in FLOAT_RANGES:
        low, high, tens = FLOAT_RANGES[dtype]
        twos = 2.0 ** np.arange(low, high)
        for log2, log10 in ((fnp.log2, fnp.log10), (fdl.jit(fnp.log2), fdl.jit(fnp.log10))):
            same(log2(twos.astype(dtype)), np.arange(low, high).astype(dtype))
            same(log10((10.0 ** np.arange(tens)).astype(dtype)), np.arange(tens).astype(dtype))
        x = np.exp(np.random.default_rng(0).uniform(low / 2, high / 2, 2000) * np.log(2)).astype(dtype)
        for name in ("log2", "log10"):
            want = getattr(np, name)(x.astype(np.longdouble))
            ulps = np.abs(np.asarray(getattr(fnp, name)(x)).astype(np.longdouble) - want) / np.spacing(
                np.abs(want).astype(dtype)
            )
            assert ulps.max() < 2.5
    assert fnp.log2(fnp.asarray([8.0, 0.5], "bf16")).tolist() == [3.0, -1.0] and fnp.log10([100, 1]).tolist() == [2.0, 0.0]
    assert float(fdl.grad(fdl.grad(fnp.log2))(np.float64(3.0))) == pytest.approx(-1 / (9 * np.log(2)))


FLOAT_RANGES = {"float32": (-149, 128, 11), "float64": (-1074, 1024, 23)}


def test_keys_and_progressions(reference: None) -> None:
    a, b = np.array([1, 0, 2, 1, 0]), np.array([5.0, 5.0, np.nan, -1.0, 5.0])
    same(fnp.lexsort((a, b)), np.lexsort((a, b)).astype("i4"))
    same(fnp.lexsort(np.stack([a, a[::-1]])), np.lexsort(np.stack([a, a[::-1]])).astype("i4"))
    m = sample((3, 4), "int8", 1)
    same(fnp.lexsort((m, m % 2), axis=0), np.lexsort((m, m % 2), axis=0).astype("i4"))
    same(fnp.lexsort((2.0, 1.0)), np.lexsort((2.0, 1.0)).astype("i4"))
    z = np.array([1 + 2j, 1 + 1j, 0 + 5j])
    same(fnp.lexsort((z,)), np.lexsort((z,)).astype("i4"))
    with pytest.raises(ValueError, match="needs at least one key"):
        fnp.lexsort(())
    same(fnp.geomspace(1, 1000, 4), np.array([1, 10, 100, 1000], "f4"))
    same(fnp.geomspace(-1.0, -8.0, 4, endpoint=False), np.geomspace(-1, -8, 4, endpoint=False).astype("f4"), 1e-6)
    starts, stops = np.array([1.0, -2.0]), np.array([4.0, -32.0])
    for axis in (0, 1, -1):
        same(fnp.geomspace(starts, stops, 3, axis=axis), np.geomspace(starts, stops, 3, axis=axis), 1e-14)
    complexes = np.array([1 + 0j, 2j]), np.array([1j, -16.0])
    same(fnp.geomspace(*complexes, 5), np.geomspace(*complexes, 5), 1e-14)
    with np.errstate(invalid="ignore"):  # between numbers of two signs there is no progression
        same(fnp.geomspace(starts, -stops, 3)[1], np.full(2, np.nan))
    assert [fnp.isscalar(v) for v in (1, 2.5, fnp.ones(()), np.float32(1), fnp.ones(1), [1], "a")] == [True] * 4 + [False] * 3


@pytest.mark.parametrize("name", ["linspace", "logspace", "geomspace"])
def test_ranges_are_computed_in_the_dtype_that_is_asked_for(name: str, reference: None) -> None:
    for ends in ((1, 2), (np.array([1, 3], np.int32), np.array(2.0, np.float32)), (np.float32(1), np.array([2, 4], np.int8))):
        want = getattr(np, name)(*(np.asarray(end, np.float64) for end in ends), 7)
        same(getattr(fnp, name)(*ends, 7, dtype="float64"), want, 1e-14)
    assert fnp.linspace(0, 1, 4, retstep=True, dtype="float64")[1].item() == 1 / 3
    same(fnp.logspace(0, 5, 6, dtype=int), np.array([1, 10, 100, 1000, 10000, 100000], "i4"))
    assert fnp.logspace(0, 1, 2, base=np.float64(3)).dtype == np.float64


def test_nan_to_num(reference: None) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 2.0])
    same(fnp.nan_to_num(x), np.nan_to_num(x))
    same(fnp.nan_to_num(x, nan=1.5, posinf=9, neginf=-9.5), np.nan_to_num(x, nan=1.5, posinf=9, neginf=-9.5))
    z = np.array([complex(np.nan, 1), complex(2, np.inf)])
    same(fnp.nan_to_num(z), np.nan_to_num(z))
    same(fnp.nan_to_num(np.arange(3)), np.arange(3))
    assert fnp.nan_to_num(fnp.asarray([np.inf], "bf16")).item() == float(ml_dtypes.finfo(ml_dtypes.bfloat16).max)


def test_equality_of_arrays(reference: None) -> None:
    x = np.array([1.0, np.nan, np.inf, -np.inf, 100.0, 0.0])
    y = np.array([1.0 + 1e-6, np.nan, np.inf, np.inf, 100.1, 1e-9])
    for equal_nan, rtol in itertools.product((False, True), (1e-5, 1e-2)):
        same(fnp.isclose(x, y, rtol=rtol, equal_nan=equal_nan), np.isclose(x, y, rtol=rtol, equal_nan=equal_nan))
        assert bool(fnp.allclose(x, x, equal_nan=equal_nan)) is equal_nan
        assert bool(fnp.array_equal(x, x, equal_nan=equal_nan)) is equal_nan
    same(fnp.isclose(np.arange(3), np.ones((2, 1), "i8")), np.isclose(np.arange(3), np.ones((2, 1), "i8")))
    same(fnp.isclose(1 + 1j, [1 + 1j, 1 - 1j]), np.array([True, False]))
    same(fnp.isclose(x, y, rtol=np.full(6, 1e-2), atol=0.0), np.isclose(x, y, rtol=1e-2, atol=0.0))
    assert (
        bool(fnp.array_equal([1, 2], [1.0, 2.0]))
        and not bool(fnp.array_equal([1, 2], [1, 2, 3]))
        and bool(fnp.array_equal(1, 1))
    )
    assert bool(fnp.array_equiv([1, 2], [[1, 2], [1, 2]])) and not bool(fnp.array_equiv([1, 2], [1, 2, 3]))
    assert fdl.jit(lambda a: fnp.allclose(a, a))(np.ones(3)).item() is True


@given(st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=9), st.integers(0, 2))
def test_i0_and_sinc_and_hypot_anywhere(values: list[float], which: int) -> None:
    x = np.array(values)
    with fdl.config.using(backend="reference"):
        same(fnp.i0(x), scipy.special.i0(x), 2e-15 * scipy.special.i0(np.abs(x).max()))
        same(fnp.sinc(x), np.sinc(x), 1e-15)
        same(fnp.hypot(x, x[::-1]), np.hypot(x, x[::-1]), 1e-14)
        same(fnp.logaddexp(x, x[::-1]), np.logaddexp(x, x[::-1]), 1e-14)


def test_hypot_neither_overflows_nor_underflows(reference: None) -> None:
    for dtype in ("float32", "float64"):
        info = np.finfo(dtype)
        for scale in (info.max / 5.5, info.tiny * 8, info.smallest_subnormal * 16):
            x, y = (np.array([v], dtype) * dtype_scale(scale, dtype) for v in (3, 4))
            with np.errstate(over="ignore"):
                same(fnp.hypot(x, y), np.array([5], dtype) * dtype_scale(scale, dtype), 1e-6 if scale > 1 else 0)
        assert fnp.logaddexp(np.array(info.max, dtype), np.array(info.max, dtype)).item() == info.max


def dtype_scale(scale: Any, dtype: str) -> Any:
    return np.dtype(dtype).type(scale)


# --- calculus on samples --------------------------------------------------------------------------


def test_differences(reference: None) -> None:
    x = sample((5,), seed=1)
    same(fnp.ediff1d(x), np.ediff1d(x))
    same(fnp.ediff1d(x.reshape(5, 1), to_end=[1.0, 2.0], to_begin=9.0), np.ediff1d(x, to_end=[1.0, 2.0], to_begin=9.0))
    assert fnp.ediff1d([]).shape == (0,) and fnp.diff(fnp.ones((2, 0)), axis=1).shape == (2, 0)
    y = sample((4, 5, 6), seed=2)
    for axis in (0, 1, -1):
        same(fnp.trapezoid(y, axis=axis), np.trapezoid(y, axis=axis), 1e-13)
        points = np.cumsum(np.random.default_rng(1).uniform(0.1, 1, y.shape[axis]))
        same(fnp.trapezoid(y, points, axis=axis), np.trapezoid(y, points, axis=axis), 1e-13)
        same(fnp.trapezoid(y, dx=0.5, axis=axis), np.trapezoid(y, dx=0.5, axis=axis), 1e-13)
    same(fnp.trapezoid(y, y, axis=1), np.trapezoid(y, y, axis=1), 1e-13)
    for edge_order in (1, 2):
        for got, want in zip(fnp.gradient(y, edge_order=edge_order), np.gradient(y, edge_order=edge_order), strict=True):
            same(got, want, 1e-12)
        spacings = (0.5, np.cumsum([1, 0.5, 2, 1, 0.25]), 2.0)
        for got, want in zip(
            fnp.gradient(y, *spacings, edge_order=edge_order), np.gradient(y, *spacings, edge_order=edge_order), strict=True
        ):
            same(got, want, 1e-12)
        same(fnp.gradient(y, 0.5, axis=1, edge_order=edge_order), np.gradient(y, 0.5, axis=1, edge_order=edge_order), 1e-12)
        same(fnp.gradient(x, edge_order=edge_order), np.gradient(x, edge_order=edge_order), 1e-12)
    same(fnp.gradient(x[:2]), np.gradient(x[:2]), 1e-13)
    assert [g.shape for g in fnp.gradient(y, axis=(0, 2))] == [y.shape] * 2
    for call, message in (
        (lambda: fnp.gradient(x[:1]), "axis 0 has 1 samples, expected 2 at least"),
        (lambda: fnp.gradient(y, 1.0, 2.0), "2 spacings for 3 axes"),
        (lambda: fnp.gradient(x, np.ones(3)), r"coordinates of shape \(3,\) for axis 0 of size 5"),
        (lambda: fnp.diff(1.0), "has no neighbours"),
        (lambda: fnp.diff(x, n=-1), "must not be negative"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_unwrap(reference: None) -> None:
    x = np.cumsum(sample((3, 20), seed=1), axis=1)
    for axis in (0, 1):
        same(fnp.unwrap(np.mod(x, 2 * np.pi), axis=axis), np.unwrap(np.mod(x, 2 * np.pi), axis=axis), 1e-12)
    same(fnp.unwrap(np.mod(x, 4), period=4.0, discont=3.0), np.unwrap(np.mod(x, 4), period=4.0, discont=3.0), 1e-12)
    i = np.array([0, 1, 2, -1, 0, 3])
    same(fnp.unwrap(i, period=4), np.unwrap(i, period=4))
    assert fnp.unwrap(fnp.zeros((2, 0))).shape == (2, 0)


# --- joining, cutting, repeating ------------------------------------------------------------------


def test_stacks_and_splits(reference: None) -> None:
    x, m = np.arange(3.0), np.arange(6.0).reshape(2, 3)
    for name in ("hstack", "vstack", "dstack", "column_stack"):
        same(getattr(fnp, name)([x, x]), getattr(np, name)([x, x]))
        same(getattr(fnp, name)([m, m]), getattr(np, name)([m, m]))
    for name in ("atleast_1d", "atleast_2d", "atleast_3d"):
        for v in (np.asarray(1.0), x, m, np.ones((1, 2, 3))):
            same(getattr(fnp, name)(v), getattr(np, name)(v))
        assert len(getattr(fnp, name)(x, m)) == 2
    for sections in (1, 2, 3, 5, [1, 3], [-1], [0, 2, 9], []):
        for got, want in zip(fnp.array_split(x, sections), np.array_split(x, sections), strict=True):
            same(got, want)
    for got, want in zip(fnp.split(m, 3, axis=1), np.split(m, 3, axis=1), strict=True):
        same(got, want)
    with pytest.raises(ValueError, match="does not divide into 2 equal parts"):
        fnp.split(x, 2)
    same(fnp.fliplr(m), np.fliplr(m))
    same(fnp.flipud(m), np.flipud(m))
    for k in range(-1, 5):
        same(fnp.rot90(m, k), np.rot90(m, k))
    same(fnp.ravel(m, order="F"), m.ravel(order="F"))
    assert fnp.broadcast_shapes((2, 1), 3, ()) == (2, 3) and fnp.size(m, 1) == 3 and fnp.ndim(m) == 2 and fnp.shape(m) == (2, 3)
    same(fnp.concat([x, np.ones(1, "i4")], dtype="f4"), np.concatenate([x, [1.0]]).astype("f4"))


def test_repeat_and_roll_traced() -> None:
    x = np.arange(6.0).reshape(2, 3)
    got = fdl.jit(lambda v, c: fnp.repeat(v, c, axis=1, total_repeat_length=5))
    same(got(x, np.array([2, 0, 3])), np.repeat(x, [2, 0, 3], axis=1))
    same(got(x, np.array([1, 1, 1])), x[:, [0, 1, 2, 2, 2]])
    same(got(x, np.array([9, 9, 9])), x[:, [0] * 5])
    with pytest.raises(Exception, match="Give total_repeat_length="):
        fdl.jit(lambda v, c: fnp.repeat(v, c))(x, np.ones(6, "i4"))
    with pytest.raises(ValueError, match="repeats must not be negative"):
        fnp.repeat(x, -1)
    with pytest.raises(ValueError, match=r"repeats of shape \(2,\) for an axis of size 3"):
        fnp.repeat(x, [1, 2], axis=1)
    roll = fdl.jit(lambda v, k: fnp.roll(v, k, axis=1))
    for k in (-4, -1, 0, 1, 3, 7):
        same(roll(x, k), np.roll(x, k, 1))
    same(fdl.vmap(lambda v, k: fnp.roll(v, k))(x, np.array([1, 2])), np.stack([np.roll(x[0], 1), np.roll(x[1], 2)]))
    assert fdl.grad(lambda v: (fnp.repeat(v, [2, 0, 1]) * np.array([1.0, 2.0, 3.0])).sum())(np.ones(3)).tolist() == [
        3.0,
        0.0,
        3.0,
    ]


# --- compiled, mapped, differentiated -------------------------------------------------------------


def test_compiled_as_eager() -> None:
    """All functions in one program, on special values: `jit` gives what eager gives."""
    x, y = (v.ravel() for v in np.meshgrid(np.array(SPECIAL, "f4"), np.array(SPECIAL, "f4")))

    def everything(x: Any, y: Any) -> dict[str, Any]:
        out: dict[str, Any] = {n: getattr(fnp, n)(x) for n in UNARY}
        out |= {n: getattr(fnp, n)(x, y) for n in BINARY if n != "ldexp"}
        out["ldexp"] = fnp.ldexp(x, fnp.astype(fnp.clip(y, -9, 9) * 20, "i4"))
        out["frexp"], out["exponent"] = fnp.frexp(x)
        out["modf"], out["whole"] = fnp.modf(x)
        out["isclose"] = fnp.isclose(x, y, equal_nan=True)
        out["round"] = fnp.round(x, 1)
        finite = fnp.nan_to_num(x, posinf=9, neginf=-9)
        out["unwrap"], out["gradient"], out["trapezoid"] = fnp.unwrap(finite), fnp.gradient(finite), fnp.trapezoid(finite)
        out["view"] = x.view("u1")
        out["std"], out["logsumexp"] = fnp.std(finite), fnp.logsumexp(finite)
        out["linspace"] = fnp.linspace(finite[:3], finite[3:6], 4)
        return out

    with fdl.config.using(backend="reference"):
        want = everything(fnp.asarray(x), fnp.asarray(y))
    got = fdl.jit(everything)(x, y)
    for name, w in want.items():
        same(got[name], w, 2e-6 if w.dtype == np.float32 else 0, signs=name in ("modf", "whole", "frexp", "ldexp", "copysign"))


MAPPED: dict[str, Any] = {
    "diff": lambda x: fnp.diff(x, n=2), "gradient": lambda x: fnp.gradient(x), "trapezoid": lambda x: fnp.trapezoid(x),
    "unwrap": lambda x: fnp.unwrap(4 * x), "sort": lambda x: fnp.sort(x, descending=True), "argsort": lambda x: fnp.argsort(-x),
    "var": lambda x: fnp.var(x, correction=1), "std": lambda x: fnp.std(x), "logsumexp": lambda x: fnp.logsumexp(x),
    "tile": lambda x: fnp.tile(x, 2), "repeat": lambda x: fnp.repeat(x, 2), "cumulative_prod": lambda x: fnp.cumulative_prod(x),
    "searchsorted": lambda x: fnp.searchsorted(fnp.sort(x), x), "hypot": lambda x: fnp.hypot(x, 2.0), "sinc": fnp.sinc, "i0": fnp.i0,
    "frexp": lambda x: fnp.frexp(x)[0], "clip": lambda x: fnp.clip(x, -1, 1), "tril": lambda x: fnp.tril(x[:, None] * x),
    "where": lambda x: fnp.where(x > 0, x, 0.5), "roll": lambda x: fnp.roll(x, 2), "max": lambda x: fnp.max(x, where=x < 1, initial=0.0),
    "mean": lambda x: fnp.mean(x, where=x > 0), "linspace": lambda x: fnp.linspace(x, 1.0, 3, axis=-1), "remainder": lambda x: x % 0.7,
    "nan_to_num": fnp.nan_to_num, "isclose": lambda x: fnp.isclose(x, 0.5, atol=0.3), "unstack": lambda x: fnp.stack(fnp.unstack(x)),
}  # fmt: skip


@pytest.mark.parametrize("name", MAPPED)
def test_vmap_along_every_axis(name: str, reference: None) -> None:
    f = MAPPED[name]
    x = sample((3, 5), seed=4)
    want = np.stack([np.asarray(f(row)) for row in x])
    same(fdl.vmap(f)(x), want, 1e-14)
    same(fdl.vmap(f, in_axes=1)(x.T.copy()), want, 1e-14)
    same(fdl.vmap(f, out_axes=-1)(x), np.moveaxis(want, 0, -1), 1e-14)


SMOOTH = [
    "diff", "gradient", "trapezoid", "var", "std", "logsumexp", "tile", "repeat", "cumulative_prod", "hypot", "sinc", "i0", "frexp", "clip",
    "tril", "roll", "linspace", "remainder", "sort", "unwrap", "mean",
]  # fmt: skip


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_to_order_two(name: str, reference: None) -> None:
    f = MAPPED[name]
    x = sample((5,), seed=4)
    weights = sample(np.shape(f(x)), seed=5)
    direction = sample((5,), seed=6)

    def value(v: Any) -> Any:
        return fnp.sum(fnp.sin(f(v)) * weights)

    def slope(v: Any) -> Any:
        return fnp.sum(fdl.grad(value)(v) * direction)

    for g, h in ((value, 1e-6), (slope, 1e-5)):
        want = float(g(x + h * direction) - g(x - h * direction)) / (2 * h)
        assert float(fnp.sum(fdl.grad(g)(x) * direction)) == pytest.approx(want, rel=2e-5, abs=2e-6)
        assert float(fdl.jvp(g, (x,), (direction,))[1]) == pytest.approx(want, rel=2e-5, abs=2e-6)


def test_whole_numbers_are_rounded_as_numpy_does() -> None:
    assert fnp.rint([1, 2]).dtype == np.float32 and fnp.rint(np.array([True])).tolist() == [1.0]
    assert fnp.round(np.array([1, 2], np.int8)).dtype == np.int8
    assert fnp.trim_zeros(5).dtype == np.int32


def test_rounding_to_decimals_rounds_once(reference: None) -> None:
    # 10 times 2.453125 is no bfloat16, and 1.5e5 no float16.
    assert fnp.round(fnp.asarray(2.453125, "bfloat16"), 1) == fnp.asarray(2.5, "bfloat16")
    same(fnp.round(np.float16([1.5, 2.25]), 5), np.float16([1.5, 2.25]))
    z = np.array([complex(np.inf, 0.127), complex(1.256, -np.inf), complex(-1.555, np.nan)])
    same(fnp.round(z, 2), np.round(z, 2), 1e-15)


def test_exp2_of_infinite_complex_numbers(reference: None) -> None:
    z = np.array([complex(np.inf, 0), complex(-np.inf, 1), complex(3, -2)])
    same(fnp.exp2(z), np.exp2(z), 1e-14)


def test_floats_become_integers_eagerly_as_in_programs() -> None:
    for value in (1e20, -1e20, np.nan, -1.5, np.inf):
        for dtype in ("int8", "uint8", "int32", "int64", "uint64"):
            want = fnp.full(2, fnp.asarray(value, "float64"), dtype).tolist()
            assert fnp.full(2, value, dtype).tolist() == want == fnp.full(2, np.float64(value), dtype).tolist()
            assert fdl.jit(fnp.full, static_argnums=(0, 2))(2, np.float64(value), dtype).tolist() == want
            assert fnp.asarray(value, dtype).item() == want[0] == fnp.zeros(2, dtype).at[0].set(value)[0].item()
    assert fnp.full(1, 1e20, "int32").item() == 2**31 - 1 and fnp.full(1, np.nan, "int32").item() == 0


def test_extrema_from_an_initial_value_keep_their_dtype() -> None:
    same(fnp.max(np.array([True, False]), initial=False), np.array(True))
    same(fnp.max(np.array([3, 1]), initial=-np.inf), np.array(3))
    same(fnp.min(np.zeros((2, 0), np.int32), axis=1, initial=np.inf), np.full(2, 2**31 - 1, np.int32))
    same(fdl.jit(lambda x: fnp.max(x, initial=2.5))(np.float32([1, 2])), np.array(2.5, np.float32))
    with pytest.raises(OverflowError, match="max: initial: the Python integer -1 does not fit in uint8"):
        fnp.max(np.uint8([1]), initial=-1)


def test_running_sums_of_bools(reference: None) -> None:
    x = np.array([[0, 1, 0], [1, 1, 0]], np.int32)
    for name in ("cumsum", "cumprod"):
        for axis in (0, 1, None):
            same(getattr(fnp, name)(x, axis, dtype=bool), getattr(np, name)(x != 0, axis, dtype=bool))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fnp.sum(np.ones(3), axis=1.0), r"sum: expected the axis as an integer, got 1.0."),
        (lambda: fnp.argmax(np.ones((3, 2)), axis=(0, 1)), r"argmax: expected the axis as an integer, got \(0, 1\)."),
        (lambda: fnp.cumsum(np.ones((3, 2)), axis=[0]), r"cumsum: expected the axis as an integer, got \[0\]."),
        (lambda: fnp.round(np.ones(3), 1.5), r"round: decimals must be an int, got 1.5."),
        (lambda: fnp.split(np.ones(4), 2.0), r"array_split: expected a number of sections, or a sequence of indices, got 2.0."),
        (lambda: fnp.array_split(np.ones(4), [0.5]), r"array_split: an index must be an int, got 0.5."),
        (lambda: fnp.geomspace(1, 0, 4), r"geomspace: a geometric progression has no 0: got start 1, stop 0."),
    ],
)
def test_what_is_no_axis_and_no_progression(call: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message + r"\n  at .*test_numpy_functions"):
        call()


def test_multi_indices_in_a_dtype() -> None:
    found = fnp.ravel_multi_index((np.array([1, 0]), np.array([2, 1])), (2, 3), dtype="uint8")
    assert found.dtype == np.uint8 and found.tolist() == [5, 1]


def test_spread_around_a_mean_that_is_known() -> None:
    x = np.array([[1.0, 2.0, np.nan], [4.0, 6.0, 8.0]])
    mean = np.nanmean(x, 1, keepdims=True)
    np.testing.assert_allclose(fnp.nanvar(x, 1, mean=mean), np.nanvar(x, 1))
    np.testing.assert_allclose(fnp.std(x[1], mean=0.0), np.sqrt(np.mean(x[1] ** 2)))
    assert fnp.can_cast("int32", "int8", "unsafe") and not fnp.can_cast("int32", "int8", casting="safe")
