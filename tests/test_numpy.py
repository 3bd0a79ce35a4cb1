"""fdl.numpy against NumPy: values, promotion, broadcasting, reductions, indexing, updates, products."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdl
import fdl.numpy as fnp
from fdl.tracer import dtypes

SHAPES = [(), (1,), (3,), (0,), (2, 3), (3, 1), (2, 1, 4), (2, 0, 3)]
FLOATS = ["float16", "float32", "float64"]
INTS = ["int8", "uint8", "int32", "int64", "uint32"]


@pytest.fixture(autouse=True, scope="module")
def on_the_reference_backend() -> Any:
    with fdl.config.using(backend="reference"):
        yield


def sample(shape: tuple[int, ...], dtype: Any = "float64", seed: int = 0, low: float = -3, high: float = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    d = np.dtype(dtype)
    if d.kind == "b":
        return rng.integers(0, 2, shape).astype(d)
    if d.kind in "iu":
        return rng.integers(0 if d.kind == "u" else -9, 10, shape).astype(d)
    return rng.uniform(low, high, shape).astype(d)


def same(got: Any, want: Any, rtol: float = 1e-12, dtype: bool = True) -> None:
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, (got.shape, want.shape)
    if dtype:
        assert got.dtype == want.dtype, (got.dtype, want.dtype)
    np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol)


# --- elementwise ----------------------------------------------------------------------------------

UNARY: dict[str, tuple[float, float]] = {
    "negative": (-3, 3), "abs": (-3, 3), "sign": (-3, 3), "exp": (-3, 3), "exp2": (-3, 3), "expm1": (-1, 1), "log": (0.1, 9),
    "log1p": (-0.9, 3),
    "sqrt": (0, 9), "cbrt": (-9, 9), "sin": (-9, 9), "cos": (-9, 9), "tan": (-1, 1), "arcsin": (-1, 1), "arccos": (-1, 1),
    "arctan": (-9, 9),
    "sinh": (-3, 3), "cosh": (-3, 3), "tanh": (-3, 3), "arcsinh": (-9, 9), "arccosh": (1, 9), "arctanh": (-0.9, 0.9), "floor": (-3, 3),
    "ceil": (-3, 3), "trunc": (-3, 3), "rint": (-3, 3), "square": (-3, 3), "reciprocal": (0.5, 3), "isfinite": (-1, 1), "isnan": (-1, 1),
    "isinf": (-1, 1), "logical_not": (-1, 1), "positive": (-1, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str) -> None:
    for dtype, shape in itertools.product(FLOATS, SHAPES):
        x = sample(shape, dtype, 1, *UNARY[name])
        tolerance = {"float16": 2e-3, "float32": 2e-6, "float64": 1e-13}[dtype]
        same(getattr(fnp, name)(x), getattr(np, name)(x), tolerance)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan])
    with np.errstate(all="ignore"):
        same(getattr(fnp, name)(special), getattr(np, name)(special))
    if name in ("exp", "sqrt", "tanh"):
        assert getattr(fnp, name)(np.arange(3)).dtype == np.float32  # the default float


BINARY = [
    "add",
    "subtract",
    "multiply",
    "maximum",
    "minimum",
    "equal",
    "not_equal",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
]


@pytest.mark.parametrize("name", [*BINARY, "divide", "arctan2", "logaddexp", "fmod", "remainder", "floor_divide", "power"])
def test_binary_broadcasts(name: str) -> None:
    for a, b in itertools.product(SHAPES, SHAPES):
        x, y = sample(a, seed=1), sample(b, seed=2)
        if name == "power":
            x = np.abs(x)
        try:
            shape = np.broadcast_shapes(a, b)
        except ValueError:
            with pytest.raises(ValueError, match="do not broadcast"):
                getattr(fnp, name)(x, y)
            continue
        got = getattr(fnp, name)(x, y)
        assert got.shape == shape
        same(got, getattr(np, name)(x, y))


@pytest.mark.parametrize("dtype", INTS)
def test_integers(dtype: str) -> None:
    x, y = sample((40,), dtype, 1), sample((40,), dtype, 2)
    nonzero = np.where(y == 0, 3, y).astype(dtype)
    for name in (*BINARY, "bitwise_and", "bitwise_or", "bitwise_xor"):
        same(getattr(fnp, name)(x, y), getattr(np, name)(x, y))
    for name in ("floor_divide", "remainder", "fmod"):
        same(getattr(fnp, name)(x, nonzero), getattr(np, name)(x, nonzero))
    shifts = np.abs(y.astype(np.int64)).astype(dtype) % np.dtype(dtype).type(7)
    for name in ("left_shift", "right_shift"):
        same(getattr(fnp, name)(x, shifts), getattr(np, name)(x, shifts))
    for name in ("bitwise_not", "sign", "abs", "negative"):
        same(getattr(fnp, name)(x), getattr(np, name)(x))
    same(fnp.asarray(x) ** 3, x**3)
    assert fnp.divide(x, nonzero).dtype == np.float32
    info = np.iinfo(dtype)
    edge = fnp.asarray([info.max, info.min], dtype)
    assert (edge + np.array(1, dtype)).tolist() == [info.min, info.min + 1]
    assert (edge // np.zeros(2, dtype)).tolist() == [0, 0] and (edge % np.zeros(2, dtype)).tolist() == edge.tolist()


def test_booleans() -> None:
    x, y = np.array([True, True, False, False]), np.array([True, False, True, False])
    for name in (
        "logical_and",
        "logical_or",
        "logical_xor",
        "bitwise_and",
        "bitwise_or",
        "bitwise_xor",
        "add",
        "multiply",
        "maximum",
        "equal",
    ):
        same(getattr(fnp, name)(x, y), getattr(np, name)(x, y))
    same(~fnp.asarray(x), ~x)
    same(fnp.logical_and(np.array([0.0, 2.0]), 3), np.array([False, True]))
    same(fnp.where(x, y, ~y), np.where(x, y, ~y))


PROMOTIONS = {
    ("i8", "u8"): "i16", ("i32", "f16"): "f16", ("i64", "f32"): "f32", ("bf16", "f16"): "f32", ("u32", "i32"): "i64", ("bool", "u8"): "u8",
    ("f32", "f64"): "f64", ("u64", "i8"): "f32", ("bool", "bool"): "bool", ("i16", "bf16"): "bf16", ("f16", "f64"): "f64",
}  # fmt: skip


@pytest.mark.parametrize("pair", PROMOTIONS, ids="-".join)
def test_promotion(pair: tuple[str, str]) -> None:
    a, b = (fnp.ones(2, d) for d in pair)
    want = dtypes.of(PROMOTIONS[pair])
    assert (a + b).dtype == (b + a).dtype == want
    assert fnp.where(fnp.asarray([True, False]), a, b).dtype == want and fnp.concatenate([a, b]).dtype == want
    assert fnp.stack([b, a]).dtype == want


def test_weak_scalars() -> None:
    for dtype in dtypes.ALL:
        if dtype == dtypes.bool_ or dtype.kind == "c":
            continue
        x = fnp.ones(2, dtype)
        assert (x * 2).dtype == (2 + x).dtype == dtype
        assert (x * 2.5).dtype == (dtype if dtypes.is_float(dtype) else np.float32)
        assert (x * np.float64(2)).dtype == np.float64
        assert (x > 1).dtype == np.bool_
    assert (fnp.asarray(1) + 2.5).weak_type and fnp.asarray([True]).astype(int).dtype == np.int32
    assert (fnp.ones(2, "u8") & ~3).tolist() == [0, 0] and (fnp.ones(2, "u8") | -1).tolist() == [255, 255]  # bits wrap around
    assert fnp.sum(fnp.ones(3, "u8")).dtype == np.uint32 and fnp.mean(fnp.ones(3, "i8")).dtype == np.float32


OPERATORS = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.floordiv,
    operator.mod,
    operator.pow,
    operator.lt,
    operator.eq,
    operator.ne,
]


@pytest.mark.parametrize("op", OPERATORS, ids=lambda f: f.__name__)
def test_operators_with_numpy_on_either_side(op: Callable[[Any, Any], Any]) -> None:
    x, y = sample((2, 3), seed=1, low=0.5), sample((3,), seed=2, low=0.5)
    for a, b in (
        (x, fnp.asarray(y)),
        (fnp.asarray(x), y),
        (np.float64(1.5), fnp.asarray(y)),
        (fnp.asarray(x), np.float32(2)),
        (2, fnp.asarray(y)),
        (fnp.asarray(x), 1.5),
    ):
        got = op(a, b)
        assert isinstance(got, fdl.Array)
        same(got, op(np.asarray(a), np.asarray(b)))
    traced = fdl.jit(lambda v: (op(x, v), op(v, x)))(y)
    same(traced[0], op(x, y))
    same(traced[1], op(y, x))


def test_more_operators() -> None:
    x, m = fnp.asarray([5, -7]), np.array([[1.0, 2.0], [3.0, 4.0]])
    assert [v.tolist() for v in divmod(x, 3)] == [[1, -3], [2, 2]] and (-x).tolist() == [-5, 7] and abs(x).tolist() == [5, 7]
    assert (
        (x << 1).tolist() == [10, -14]
        and (x >> 1).tolist() == [2, -4]
        and (6 & x).tolist() == [4, 0]
        and (~x).tolist() == [-6, 6]
    )
    assert isinstance(m @ fnp.asarray(m), fdl.Array)
    same(m @ fnp.asarray(m), m @ m)
    same(np.array([1, 2]) @ fnp.asarray(m), np.array([1, 2]) @ m)
    x += 1
    assert x.tolist() == [6, -6]
    assert [float(v) for v in fnp.arange(3.0)] == [0.0, 1.0, 2.0] and len(fnp.ones((4, 2))) == 4
    with pytest.raises(TypeError):
        x + "text"
    assert (fnp.ones(2) == "a") is False
    assert np.add(m, fnp.asarray(m)).tolist() == (m + m).tolist() and isinstance(np.exp(fnp.ones(2)), fdl.Array)
    assert np.sum(fnp.ones((2, 3)), axis=0).tolist() == [2.0, 2.0, 2.0] and np.shape(fnp.ones((2, 3))) == (2, 3)
    assert np.array_equal(fnp.arange(3), [0, 1, 2]) and np.allclose(fnp.ones(2), 1.0)
    assert (fnp.ones(3) + [1, 2, 3]).tolist() == [2.0, 3.0, 4.0]  # noqa: RUF005


# --- reductions -----------------------------------------------------------------------------------

REDUCTIONS = ["sum", "prod", "mean", "var", "std", "max", "min", "all", "any"]


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name: str) -> None:
    for shape in SHAPES:
        x = sample(shape, seed=3)
        axes = [None, *range(-len(shape), len(shape)), tuple(range(len(shape))), ()] + ([(0, -1)] if len(shape) > 1 else [])
        for axis, keepdims in itertools.product(axes, (False, True)):
            reduced = range(len(shape)) if axis is None else (axis,) if isinstance(axis, int) else axis
            if any(shape[a] == 0 for a in reduced) and name in ("max", "min", "mean", "var", "std"):
                continue
            same(getattr(fnp, name)(x, axis=axis, keepdims=keepdims), getattr(np, name)(x, axis=axis, keepdims=keepdims))
    x = fnp.asarray(sample((2, 3)))
    same(getattr(x, name)(axis=1), getattr(np.asarray(x), name)(axis=1))


def test_other_reductions() -> None:
    for shape in [(3,), (2, 3), (2, 1, 4)]:
        x = sample(shape, seed=4)
        for axis in (None, *range(-len(shape), len(shape))):
            same(fnp.argmax(x, axis), np.argmax(x, axis), dtype=False)
            same(fnp.argmin(x, axis), np.argmin(x, axis), dtype=False)
            same(fnp.cumsum(x, axis), np.cumsum(x, axis))
            same(fnp.cumprod(x, axis), np.cumprod(x, axis))
            same(fnp.count_nonzero(x > 0, axis), np.count_nonzero(x > 0, axis), dtype=False)
            same(fnp.logsumexp(x, axis), np.log(np.sum(np.exp(x), axis)))
            same(fnp.sort(x, axis), np.sort(x, axis))
            if axis is not None:
                same(fnp.argsort(x, axis), np.argsort(x, axis, kind="stable"), dtype=False)
    assert fnp.argmax(fnp.asarray([1.0, np.nan, 3.0])) == 1 and np.isnan(fnp.max(fnp.asarray([1.0, np.nan])).item())
    assert float(fnp.var(fnp.asarray([1.0, 3.0]), ddof=1)) == 2.0
    assert float(fnp.logsumexp(fnp.asarray([-np.inf, -np.inf]))) == -np.inf
    assert fnp.sum(fnp.ones(3, "f16"), dtype="f32").dtype == np.float32


# --- shapes and creation --------------------------------------------------------------------------


def test_rearrangements() -> None:
    x = sample((2, 3, 4))
    pairs: list[tuple[Any, Any]] = [
        (fnp.reshape(x, (4, -1)), x.reshape(4, -1)), (fnp.asarray(x).reshape(6, 4), x.reshape(6, 4)), (fnp.ravel(x), x.ravel()),
        (fnp.transpose(x), x.T), (fnp.transpose(x, (1, -1, 0)), x.transpose(1, -1, 0)), (fnp.asarray(x).T, x.T), (fnp.asarray(x).mT, x.mT),
        (fnp.swapaxes(x, 0, -1), x.swapaxes(0, -1)), (fnp.moveaxis(x, 0, -1), np.moveaxis(x, 0, -1)),
        (fnp.expand_dims(x, (0, -1)), x[None, ..., None]),
        (fnp.squeeze(x[:1, :, :1]), x[0, :, 0]), (fnp.squeeze(x[:1], 0), x[0]), (fnp.flip(x, (0, 2)), np.flip(x, (0, 2))),
        (fnp.flip(x), np.flip(x)),
        (fnp.concatenate([x, x], -1), np.concatenate([x, x], -1)), (fnp.concatenate([x, x[0]], None), np.concatenate([x, x[0]], None)),
        (fnp.stack([x, x], 1), np.stack([x, x], 1)),
        (fnp.pad(x, ((1, 0), (0, 2), (1, 1)), constant_values=7), np.pad(x, ((1, 0), (0, 2), (1, 1)), constant_values=7)),
        (fnp.tile(x, (2, 1, 3)), np.tile(x, (2, 1, 3))), (fnp.tile(x[0, 0], (2, 2)), np.tile(x[0, 0], (2, 2))),
        (fnp.repeat(x, 3, 1), np.repeat(x, 3, 1)),
        (fnp.repeat(x, 2), np.repeat(x, 2)), (fnp.roll(x, 2, 1), np.roll(x, 2, 1)), (fnp.roll(x, -5), np.roll(x, -5)),
        (fnp.broadcast_to(x[:, :1], x.shape), np.broadcast_to(x[:, :1], x.shape)), (fnp.clip(x, -1, 1), np.clip(x, -1, 1)),
        (fnp.round(x, 1), np.round(x, 1)),
        (fnp.tril(x), np.tril(x)), (fnp.triu(x, 1), np.triu(x, 1)), (fnp.outer(x[0, 0], x[0, 1]), np.outer(x[0, 0], x[0, 1])),
        (fnp.take(x, np.array([1, 0, -1]), 1), np.take(x, np.array([1, 0, -1]), 1)), (fnp.take(x, 5), np.take(x, 5)),
        (fnp.take_along_axis(x, np.argsort(x, 1), 1), np.take_along_axis(x, np.argsort(x, 1), 1)),
    ]  # fmt: skip
    for got, want in pairs:
        same(got, want)
    for got, want in zip(fnp.split(x, 3, 1), np.split(x, 3, 1), strict=True):
        same(got, want)
    for got, want in zip(fnp.split(x, [1, 3], 2), np.split(x, [1, 3], 2), strict=True):
        same(got, want)


def test_creation() -> None:
    pairs: list[tuple[Any, Any]] = [
        (fnp.zeros((2, 3)), np.zeros((2, 3), "f4")), (fnp.ones(3, "i8"), np.ones(3, "i1")), (fnp.full((2,), 7), np.full(2, 7, "i4")),
        (fnp.arange(5), np.arange(5, dtype="i4")), (fnp.arange(1, 9, 3), np.arange(1, 9, 3, dtype="i4")),
        (fnp.arange(3.0), np.arange(3.0, dtype="f4")),
        (fnp.arange(5, 0, -2, dtype="f64"), np.arange(5, 0, -2, dtype="f8")), (fnp.eye(3, 4, 1), np.eye(3, 4, 1, dtype="f4")),
        (fnp.identity(2), np.eye(2, dtype="f4")),
        (fnp.linspace(0, 1, 5), np.linspace(0, 1, 5, dtype="f4")), (fnp.zeros_like(np.ones(2, "i8")), np.zeros(2, "i8")),
        (fnp.asarray([[1, 2], [3, 4]]), np.array([[1, 2], [3, 4]], "i4")),
        (fnp.asarray([1, 2.5]), np.array([1, 2.5], "f4")), (fnp.asarray([True, False]), np.array([True, False])),
        (fnp.asarray(3), np.array(3, "i4")),
        (fnp.asarray([np.float64(1.0)]), np.array([1.0])), (fnp.asarray(2**40), np.array(2**40)),
        (fnp.asarray([2**40]), np.array([2**40])), (fnp.asarray([]), np.array([], "f4")),
        (fnp.one_hot(np.array([0, 2, 5]), 3), np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0]], "f4")),
        (fnp.asarray(np.arange(3, dtype=">i4")), np.arange(3, dtype="i4")),
        (fnp.asarray([fnp.ones(2), fnp.zeros(2)]), np.array([[1, 1], [0, 0]], "f4")),
    ]  # fmt: skip
    for got, want in pairs:
        same(got, want)
    x = np.arange(3.0)
    y = fnp.asarray(x)
    x[0] = 9
    assert y[0] == 0.0
    with pytest.raises(ValueError):
        np.asarray(y)[0] = 1.0  # read-only
    assert fdl.jit(lambda v: fnp.asarray([v, 2 * v, 3.0]))(1.0).tolist() == [1.0, 2.0, 3.0]


# --- indexing -------------------------------------------------------------------------------------

BASE = sample((4, 3, 5))
INDICES: dict[str, Any] = {
    "int": 2, "negative": -1, "ints": (1, -2, 3), "slice": slice(1, 3), "strided": slice(None, None, 2), "reversed": slice(None, None, -1),
    "negative stride": slice(-1, 0, -2), "past the end": slice(2, 99), "empty": slice(3, 1), "ellipsis": Ellipsis,
    "last": (..., 1), "middle": (0, ..., slice(1, None)),
    "new": None, "new inside": (slice(None), None, 1), "new last": (..., None), "mixed": (slice(None, None, -2), None, 0, slice(4, 1, -1)),
    "array": np.array([0, 2, -1]), "matrix": np.array([[0, 1], [3, -4]]), "list": [1, 1, 0],
    "array second": (slice(None), np.array([0, 2])),
    "two arrays": (np.array([0, 1]), np.array([2, -1])), "two arrays broadcast": (np.array([[0], [3]]), np.array([2, 1])),
    "arrays apart": (np.array([0, 1]), slice(None), np.array([2, -1])), "array and int": (np.array([0, 1]), 1),
    "int and array": (1, slice(None), np.array([0, 4])),
    "array after ellipsis": (..., np.array([0, 4, 4])), "array and new": (np.array([1, 0]), None, slice(1, 3)),
    "strided and array": (slice(None, None, -2), np.array([1, 1])),
    "mask": np.array([True, False, True, True]), "mask of two": BASE[:, :, 0] > 0, "empty array": np.array([], np.int64),
    "0-d array": np.array(2), "numpy int": np.int8(-3),
    "tuple of nothing": (),
}  # fmt: skip


@pytest.mark.parametrize("name", INDICES)
def test_indexing(name: str) -> None:
    index = INDICES[name]
    want = BASE[index]
    same(fnp.asarray(BASE)[index], want)
    same(fdl.jit(lambda x: x[index])(BASE), want)
    same(fnp.asarray(BASE).at[index].get(), want)
    # Updates: with a scalar, and with values.
    for values in (7.0, sample(want.shape, seed=8)):
        changed = BASE.copy()
        changed[index] = values
        same(fnp.asarray(BASE).at[index].set(values), changed)
        for method, ufunc in (
            ("add", np.add),
            ("multiply", np.multiply),
            ("min", np.minimum),
            ("max", np.maximum),
            ("subtract", np.subtract),
        ):
            changed = BASE.copy()
            ufunc.at(changed, index, values)
            same(getattr(fnp.asarray(BASE).at[index], method)(values), changed)


def test_gradient_of_indexing() -> None:
    for name, index in INDICES.items():
        if BASE[index].size == 0:
            continue
        weights = sample(BASE[index].shape, seed=9)
        want = np.zeros_like(BASE)
        np.add.at(want, index, weights)
        assert np.allclose(fdl.grad(lambda x, index=index, weights=weights: (x[index] * weights).sum())(BASE), want), name


def test_traced_indices() -> None:
    x = sample((4, 3))
    pick = fdl.jit(lambda x, i, j: (x[i], x[i, j], x[:, j], x.at[i, j].set(9.0), x[i][None, ::-1]))
    for i, j in ((0, 0), (-1, 2), (3, -3)):
        changed = x.copy()
        changed[i, j] = 9.0
        for got, want in zip(pick(x, i, j), (x[i], x[i, j], x[:, j], changed, x[i][None, ::-1]), strict=True):
            same(got, want)


def test_updates_of_a_whole_array() -> None:
    assert fnp.asarray(2.0).at[()].add(3.0).tolist() == 5.0 and fnp.zeros(3).at[:].set(1).tolist() == [1.0, 1.0, 1.0]
    assert fdl.grad(lambda x: (x.at[...].multiply(3.0) * x).sum())(fnp.ones(2)).tolist() == [6.0, 6.0]
    assert fdl.grad(lambda x: (fnp.zeros(2).at[:].set(x) * x).sum())(fnp.ones(2)).tolist() == [2.0, 2.0]


def test_modes() -> None:
    x = fnp.arange(4.0)
    i = np.array([0, 5, -6, -1])
    assert x.at[i].get(mode="clip").tolist()[:2] == [0.0, 3.0] and x.at[i].get(mode="wrap").tolist() == [0.0, 1.0, 2.0, 3.0]
    assert x.at[i].get(mode="fill", fill_value=-1).tolist() == [0.0, -1.0, -1.0, 3.0] and np.isnan(
        x.at[i].get(mode="fill")[1].item()
    )
    assert x.at[i].set(9.0, mode="drop").tolist() == [9.0, 1.0, 2.0, 9.0]
    assert (
        x.at[np.array([1, 1, 1])].add(1.0).tolist() == [0.0, 4.0, 2.0, 3.0]
        and x.at[np.array([1, 1])].set(np.array([5.0, 6.0])).tolist()[1] == 6.0
    )
    assert (
        x.at[2].divide(4).tolist()[2] == 0.5
        and x.at[3].power(2).tolist()[3] == 9.0
        and x.at[1:3].apply(fnp.negative).tolist() == [0.0, -1.0, -2.0, 3.0]
    )
    assert fnp.zeros(3, "i8").at[1].set(2.7).tolist() == [0, 2, 0]


slices = st.builds(
    slice, *[st.one_of(st.none(), st.integers(-6, 6))] * 2, st.one_of(st.none(), st.sampled_from([-3, -2, -1, 1, 2, 3]))
)


@given(
    st.lists(
        st.one_of(
            slices, st.integers(-3, 2), st.just(None), st.just(Ellipsis), st.lists(st.integers(-3, 2), min_size=2, max_size=2)
        ),
        max_size=4,
    )
)
def test_random_indices(items: list[Any]) -> None:
    index = tuple(np.array(i) if isinstance(i, list) else i for i in items)
    try:
        want = BASE[index]
    except IndexError:
        with pytest.raises(IndexError):
            fnp.asarray(BASE)[index]
        return
    same(fnp.asarray(BASE)[index], want)
    changed = BASE.copy()
    changed[index] = 1.5
    same(fnp.asarray(BASE).at[index].set(1.5), changed)


# --- products -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shapes", [
    ((2, 3), (3, 4)), ((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,)), ((5, 2, 3), (3, 4)), ((5, 2, 3), (5, 3, 4)),
    ((2, 3), (5, 3, 4)), ((3,), (5, 3, 4)),
    ((5, 2, 3), (3,)), ((5, 1, 2, 3), (6, 3, 4)), ((1, 2, 3), (5, 3, 4)), ((0, 3), (3, 4)), ((2, 0), (0, 4)),
], ids=str)  # fmt: skip
def test_matmul(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    x, y = sample(shapes[0], seed=1), sample(shapes[1], seed=2)
    same(fnp.matmul(x, y), x @ y)
    same(fnp.dot(x, y), np.dot(x, y))
    same(fnp.matmul(x.astype("i4"), y.astype("i4")), x.astype("i4") @ y.astype("i4"))
    g = fdl.grad(lambda a, b: fnp.sum(fnp.cos(a @ b)), argnums=(0, 1))(x, y)
    assert g[0].shape == x.shape and g[1].shape == y.shape


EINSUMS = [
    ("ij,jk->ik", (2, 3), (3, 4)), ("ij,jk", (2, 3), (3, 4)), ("bij,bjk->bik", (5, 2, 3), (5, 3, 4)), ("ij->ji", (2, 3)),
    ("ij->", (2, 3)), ("ij->j", (2, 3)),
    ("i,j->ij", (2,), (3,)), ("ij,ij->", (2, 3), (2, 3)), ("ij,kj->ki", (2, 3), (4, 3)),
    ("abc,cd,de->abe", (2, 3, 4), (4, 5), (5, 2)), ("i,i->i", (3,), (3,)),
    ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)), (",i->i", (), (3,)), ("ij,k->ik", (2, 3), (4,)),
    ("bi, ij, bj -> b", (2, 3), (3, 4), (2, 4)),
]  # fmt: skip


@pytest.mark.parametrize("case", EINSUMS, ids=lambda c: c[0])
def test_einsum(case: tuple[Any, ...]) -> None:
    arrays = [sample(s, seed=i) for i, s in enumerate(case[1:])]
    same(fnp.einsum(case[0], *arrays), np.einsum(case[0], *arrays))


def test_other_products() -> None:
    x, y = sample((2, 3, 4), seed=1), sample((4, 3, 2), seed=2)
    same(fnp.tensordot(x, y, ((1, 2), (1, 0))), np.tensordot(x, y, ((1, 2), (1, 0))))
    same(fnp.tensordot(x, y, 1), np.tensordot(x, y, 1))
    same(fnp.tensordot(x, y, 0), np.tensordot(x, y, 0))
    same(fnp.tensordot(x, y, (-1, 0)), np.tensordot(x, y, (-1, 0)))
    same(fnp.inner(x, x), np.inner(x, x))
    same(fnp.vdot(x, x), np.vdot(x, x))
    same(fnp.dot(x, 2.0), np.dot(x, 2.0))
