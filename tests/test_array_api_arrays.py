"""Creation, manipulation, statistics, searching, sorting and sets of the array API standard 2024.12; NumPy 2 is the oracle."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from array_api_cases import ALL, COMPLEX, FLOATS, NUMERIC, REAL, SHAPES, TOLERANCE, same, sample

import fdl
import fdl.numpy as fnp
from fdl.tracer import dtypes


@pytest.fixture
def reference() -> Iterator[None]:
    with fdl.config.using(backend="reference"):
        yield


# --- creation -------------------------------------------------------------------------------------


def test_constants(reference: None) -> None:
    for dtype, shape in itertools.product([None, *ALL], [(), (0,), 3, (2, 3), (2, 0, 1)]):
        default = "float32" if dtype is None else dtype
        for name in ("zeros", "ones"):
            same(getattr(fnp, name)(shape, dtype=dtype, device="cpu"), getattr(np, name)(shape, default))
            like = fnp.zeros(2 if isinstance(shape, int) else shape, "i16")
            same(getattr(fnp, name + "_like")(like, dtype=dtype), getattr(np, name)(like.shape, dtype or "i2"))
        assert fnp.empty(shape, dtype=dtype).dtype == np.dtype(default)
        assert fnp.empty_like(fnp.ones((2, 1)), dtype=dtype).shape == (2, 1)
        if dtype is not None:
            same(fnp.full(shape, 1, dtype=dtype), np.full(shape, 1, dtype))
            same(fnp.full_like(fnp.ones((2, 2)), 1, dtype=dtype), np.full((2, 2), 1, dtype))
    same(fnp.full((2,), True), np.full(2, True))
    same(fnp.full(2, 3), np.full(2, 3, "i4"))
    same(fnp.full(2, 2**40), np.full(2, 2**40))
    same(fnp.full(2, 2**64 - 1, dtype="uint64"), np.full(2, 2**64 - 1, "u8"))
    same(fnp.full(2, 1.5), np.full(2, 1.5, "f4"))
    same(fnp.full((), 1j), np.full((), 1j, "c8"))
    same(fnp.full((2, 2), fnp.ones((), "i8")), np.ones((2, 2), "i1"))
    with pytest.raises(ValueError, match="sizes must not be negative"):
        fnp.zeros((2, -1))
    with pytest.raises(ValueError, match="expected a shape of ints"):
        fnp.zeros((2, 1.5))


def test_asarray(reference: None) -> None:
    for dtype, shape in itertools.product(ALL, SHAPES):
        x = sample(shape, dtype, 3)
        for given in (x, x.tolist(), fnp.asarray(x)):
            if shape and 0 in shape and isinstance(given, list) and len(shape) > 1:
                continue
            same(fnp.asarray(given, dtype=np.dtype(dtype)), x)
            same(fnp.asarray(given, dtype=np.dtype(dtype), copy=True), x)
        same(fnp.asarray(x), x)
    defaults: list[tuple[Any, str]] = [
        (1, "int32"), (1.5, "float32"), (1j, "complex64"), (True, "bool"), ([1, 2], "int32"), ([1, 2.5], "float32"), ([1, 2j], "complex64"),
        ([True, False], "bool"), ([], "float32"), ([2**40], "int64"), (2**63, "uint64"), ([np.int8(1), np.int8(2)], "int8"),
        ([np.float64(1)], "float64"), ([fnp.ones((), "i8"), 2], "int8"), ([fnp.ones(2, "f16"), [1.5, 2.0]], "float16"),
        ([fnp.ones((), "i8"), fnp.ones((), "u8")], "int16"), ([np.float32(1), np.float64(1)], "float64"), (bytearray(b"ab"), "uint8"),
        (memoryview(np.arange(3, dtype="i2")), "int16"),
    ]  # fmt: skip
    for value, want in defaults:
        assert fnp.asarray(value).dtype == np.dtype(want), value
    x = np.arange(3.0)
    y = fnp.asarray(x)
    x[:] = 9
    assert y.tolist() == [0, 1, 2]
    z = fnp.asarray(y, copy=True)
    assert (
        fnp.asarray(y) is y is fnp.asarray(y, copy=False) and z is not y and not np.shares_memory(np.asarray(z), np.asarray(y))
    )
    for value, dtype in (([1], None), (x, None), (y, "f32")):
        with pytest.raises(ValueError, match=r"copy=False, but .* needs a copy"):
            fnp.asarray(value, dtype=dtype, copy=False)
    with pytest.raises(ValueError, match="ragged"):
        fnp.asarray([[1], [1, 2]])
    with pytest.raises(TypeError, match="expected an array or a number"):
        fnp.asarray("text")
    assert fnp.array([1, 2], ndmin=3).shape == (1, 1, 2) and fnp.array(y) is not y and fnp.copy(y) is not y


def test_arange(reference: None) -> None:
    for args in [(5,), (0,), (-3,), (2, 9), (2, 9, 3), (9, 2, -3), (2, 9, -1), (-4, 4, 2), (3, 3)]:
        for dtype in (None, *REAL):
            if dtype and dtype.startswith("u") and min(args) < 0:
                continue
            same(fnp.arange(*args, dtype=dtype), np.arange(*args, dtype=dtype or "int32"))
    for args in [(5.5,), (0.0, 1.0, 0.25), (1, 0, -0.3), (0.5, 4)]:
        same(fnp.arange(*args), np.arange(*args).astype("f4"), 1e-6)
        same(fnp.arange(*args, dtype="float64"), np.arange(*args), 1e-15)
    same(fnp.arange(2**63, 2**63 + 3, dtype="uint64"), np.array([2**63, 2**63 + 1, 2**63 + 2], "u8"))
    same(fnp.arange(2**40, 2**40 + 2), np.array([2**40, 2**40 + 1]))
    same(fnp.arange(np.int64(3)), np.arange(3))
    with pytest.raises(ValueError, match="the step is 0"):
        fnp.arange(0, 3, 0)
    with pytest.raises(Exception, match="arange: stop is traced, and the size of the result depends on it"):
        fdl.jit(lambda n: fnp.arange(n))(3)


def test_linspace(reference: None) -> None:
    for start, stop, num, endpoint in itertools.product((0, -1.5, 3), (1, 2.5), (0, 1, 2, 5), (True, False)):
        want = np.linspace(start, stop, num, endpoint=endpoint)
        for dtype in (None, *FLOATS):
            same(fnp.linspace(start, stop, num, dtype=dtype, endpoint=endpoint), want.astype(dtype or "f4"), 1e-6)
        same(fnp.linspace(fnp.asarray(start, "f64"), fnp.asarray(stop, "f64"), num, endpoint=endpoint), want, 1e-14)
    same(fnp.linspace(0, 1 + 2j, 3, dtype="complex128"), np.linspace(0, 1 + 2j, 3), 1e-15)
    same(fnp.linspace(0, 5, 4, dtype="int32"), np.linspace(0, 5, 4, dtype="int32"))
    a, b = np.array([0.0, 1.0]), np.array([2.0, 5.0])
    for axis in (0, 1, -1):
        same(fnp.linspace(a, b, 4, axis=axis), np.linspace(a, b, 4, axis=axis), 1e-14)
    got, step = fnp.linspace(0, 1, 5, retstep=True)
    assert got.tolist() == [0, 0.25, 0.5, 0.75, 1] and step.item() == 0.25
    assert np.allclose(fdl.grad(lambda s: fnp.sum(fnp.linspace(s, 1.0, 3)))(0.0), 1.5)
    same(fnp.logspace(0, 2, 3), np.array([1, 10, 100], "f4"), 1e-6)


def test_eye_triangles_and_grids(reference: None) -> None:
    for n, m, k in itertools.product((0, 1, 3), (None, 0, 2, 4), (-9, -1, 0, 2, 10**12)):
        for dtype in (None, "bool", "i8", "c64"):
            same(fnp.eye(n, m, k=k, dtype=dtype), np.eye(n, m, k=k, dtype=dtypes.of(dtype or "f32")))
    for dtype, shape in itertools.product(ALL, [(3, 3), (2, 4), (0, 2), (2, 0), (2, 3, 2)]):
        x = sample(shape, dtype, 1, 1, 3)
        for k in (-5, -1, 0, 1, 4):
            same(fnp.tril(x, k=k), np.tril(x, k))
            same(fnp.triu(x, k=k), np.triu(x, k))
    same(fnp.tril(np.full((2, 2), np.nan)), np.array([[np.nan, 0], [np.nan, np.nan]]))
    same(fnp.tri(3, 4, 1), np.tri(3, 4, 1, dtype="f4"))
    with pytest.raises(ValueError, match=r"tril: expected matrices, got shape \(3,\)"):
        fnp.tril(fnp.ones(3))
    for arrays in (
        [np.arange(3)],
        [np.arange(3), np.arange(2.0)],
        [np.arange(2), np.arange(0), np.arange(4)],
        [np.asarray(1), np.arange(2)],
    ):
        for indexing, sparse in itertools.product(("xy", "ij"), (False, True)):
            got = fnp.meshgrid(*arrays, indexing=indexing, sparse=sparse)
            want = np.meshgrid(*arrays, indexing=indexing, sparse=sparse)
            assert isinstance(got, list) and len(got) == len(want)
            for a, b in zip(got, want, strict=True):
                same(a, b)
    with pytest.raises(ValueError, match="expected 'xy' or 'ij'"):
        fnp.meshgrid(np.arange(2), indexing="yx")


# --- manipulation ---------------------------------------------------------------------------------


def test_manipulation(reference: None) -> None:
    for dtype in ("bool", "int16", "float32", "complex64"):
        for shape in [*SHAPES, (2, 3, 4)]:
            x = sample(shape, dtype, 1)
            n = len(shape)
            a = fnp.asarray(x)
            for axis in range(-n, n):
                same(fnp.flip(a, axis=axis), np.flip(x, axis))
                same(fnp.roll(a, 2, axis=axis), np.roll(x, 2, axis))
                same(fnp.repeat(a, 3, axis=axis), np.repeat(x, 3, axis))
                same(fnp.moveaxis(a, axis, 0), np.moveaxis(x, axis, 0))
                same(
                    fnp.concat([a, a[:1] if axis in (0, -n) else a], axis=axis),
                    np.concat([x, x[:1] if axis in (0, -n) else x], axis=axis),
                )
                got, want = fnp.unstack(a, axis=axis), np.unstack(x, axis=axis)
                assert isinstance(got, tuple) and len(got) == len(want)
                for g, w in zip(got, want, strict=True):
                    same(g, w)
                if shape[axis] == 1:
                    same(fnp.squeeze(a, axis), np.squeeze(x, axis))
                counts = np.arange(shape[axis]) % 3
                same(fnp.repeat(a, counts, axis=axis), np.repeat(x, counts, axis))
            for axis in range(-n - 1, n + 1):
                same(fnp.expand_dims(a, axis=axis), np.expand_dims(x, axis))
                same(fnp.stack([a, a, a], axis=axis), np.stack([x, x, x], axis=axis))
            for permutation in list(itertools.permutations(range(n)))[:6]:
                same(fnp.permute_dims(a, permutation), np.permute_dims(x, permutation))
            same(fnp.flip(a), np.flip(x))
            same(fnp.flip(a, axis=tuple(range(n))), np.flip(x))
            same(fnp.roll(a, -1), np.roll(x, -1))
            same(fnp.reshape(a, (-1,) if x.size else (0,)), x.reshape(-1))
            same(fnp.reshape(a, (*shape, 1), copy=True), x.reshape(*shape, 1))
            same(fnp.reshape(a, shape[::-1], order="F"), x.reshape(shape[::-1], order="F"))
            for repetitions in ((), (2,), (1, 0), (2, 1, 2), 3):
                same(fnp.tile(a, repetitions), np.tile(x, repetitions))
            for target in (shape, (2, *shape), (0, *shape)):
                same(fnp.broadcast_to(a, target), np.broadcast_to(x, target))
            if n >= 2:
                same(fnp.matrix_transpose(a), np.matrix_transpose(x))
                same(a.mT, np.matrix_transpose(x))
                same(fnp.roll(a, (1, -2), axis=(0, 1)), np.roll(x, (1, -2), (0, 1)))
                same(fnp.flip(a, axis=(0, -1)), np.flip(x, (0, -1)))
                same(fnp.rot90(a, 3), np.rot90(x, 3))
    x, y = fnp.broadcast_arrays(fnp.ones((2, 1), "i8"), fnp.zeros(3))
    assert x.shape == y.shape == (2, 3) and (x.dtype, y.dtype) == (fnp.int8, fnp.float32)
    same(fnp.concat([np.ones((2, 2)), np.zeros(3)], axis=None), np.array([1.0] * 4 + [0.0] * 3))
    with pytest.raises(ValueError, match="0-d arrays have no axis to join along"):
        fnp.concat([fnp.ones(()), fnp.ones(())])
    with pytest.raises(ValueError, match=r"squeeze: axis 0 of shape \(2,\) has size 2"):
        fnp.squeeze(fnp.ones(2), 0)
    with pytest.raises(ValueError, match="broadcast_to: shape"):
        fnp.broadcast_to(fnp.ones(2), (2, 3))
    with pytest.raises(ValueError, match="stack: shapes differ"):
        fnp.stack([fnp.ones(2), fnp.ones(3)])
    with pytest.raises(ValueError, match="matrix_transpose: expected matrices"):
        fnp.ones(2).mT  # noqa: B018


def test_linear_algebra_core(reference: None) -> None:
    for dtype in NUMERIC:
        x, y = sample((2, 3), dtype, 1), sample((3, 4), dtype, 2)
        tolerance = 5 * TOLERANCE.get(dtype, 0)
        same(fnp.matmul(x, y), x @ y, tolerance)
        same(fnp.tensordot(x, y, axes=1), np.tensordot(x, y, 1), tolerance)
        same(fnp.tensordot(x, y, axes=((1,), (0,))), np.tensordot(x, y, 1), tolerance)
        same(fnp.vecdot(x, x), np.vecdot(x, x), tolerance)
        same(fnp.vecdot(x, x[::-1], axis=0), np.vecdot(x, x[::-1], axis=0), tolerance)


# --- statistics -----------------------------------------------------------------------------------


def axes_of(shape: tuple[int, ...]) -> list[Any]:
    n = len(shape)
    return [None, (), *range(-n, n), tuple(range(n)), *([(0, -1)] if n > 1 else [])]


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "mean", "var", "std", "all", "any", "count_nonzero"])
def test_reductions(name: str, reference: None) -> None:
    takes = {"max": REAL, "min": REAL, "all": ALL, "any": ALL, "count_nonzero": ALL, "sum": NUMERIC, "prod": NUMERIC}
    for dtype, shape in itertools.product(takes.get(name, [*FLOATS, *COMPLEX] if name == "mean" else FLOATS), SHAPES):
        x = sample(shape, dtype, 1)
        tolerance = 10 * TOLERANCE.get(dtype, 0)
        for axis, keepdims in itertools.product(axes_of(shape), (False, True)):
            reduced = range(len(shape)) if axis is None else (axis,) if isinstance(axis, int) else axis
            empty = any(shape[a] == 0 for a in reduced)
            if empty and name in ("max", "min"):
                with pytest.raises(ValueError, match="expected at least one element"):
                    getattr(fnp, name)(x, axis=axis, keepdims=keepdims)
                continue
            wanted: Any = None
            if name in ("sum", "prod") and np.dtype(dtype).kind in "iu":
                wanted = (
                    "int32"
                    if dtype in ("int8", "int16", "int32")
                    else "uint32"
                    if dtype in ("uint8", "uint16", "uint32")
                    else dtype
                )
            elif name == "count_nonzero":
                wanted = "int32"
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                want = getattr(np, name)(x, axis=axis, keepdims=keepdims)
            if wanted:
                want = np.asarray(want).astype(wanted)
            same(getattr(fnp, name)(x, axis=axis, keepdims=keepdims), want, tolerance)


def test_more_of_reductions(reference: None) -> None:
    x = sample((3, 4), "float64", 1)
    for name, dtype in itertools.product(
        ("sum", "prod", "cumulative_sum", "cumulative_prod"), ("float32", "float64", "int64", "complex64")
    ):
        kw = {"axis": 0} if "cumul" in name else {}
        want = getattr(np, name)(x, dtype=dtype, **kw) if dtype != "int64" else getattr(np, name)(x.astype(dtype), **kw)
        same(getattr(fnp, name)(x, dtype=dtype, **kw), want, 1e-5)
    for correction in (0, 1, 2.5):
        same(fnp.var(x, axis=0, correction=correction), np.var(x, axis=0, correction=correction), 1e-13)
        same(fnp.std(x, correction=correction, keepdims=True), np.std(x, correction=correction, keepdims=True), 1e-13)
    assert np.isnan(fnp.var([1.0, 2.0], correction=2).item()) and np.isnan(fnp.var([1.0], correction=3).item())
    z = sample((3, 2), "complex128", 4)
    same(fnp.var(z, axis=0), np.var(z, axis=0), 1e-13)
    same(fnp.max(z, axis=0), np.max(z, axis=0))
    same(fnp.min(z), np.min(z))
    mask = np.array([[True], [False], [True]])
    for name in ("sum", "prod", "mean", "var", "std"):
        same(getattr(fnp, name)(x, axis=0, where=mask), getattr(np, name)(x, axis=0, where=mask), 1e-12)
    for name in ("max", "min"):
        same(getattr(fnp, name)(x, axis=0, where=mask, initial=0.5), getattr(np, name)(x, axis=0, where=mask, initial=0.5))
        same(getattr(fnp, name)(x[:0], axis=0, initial=2.0), getattr(np, name)(x[:0], axis=0, initial=2.0))
    same(fnp.all(x > 0, where=mask), np.all(x > 0, where=mask))
    same(fnp.sum(x, initial=3.0), np.sum(x, initial=3.0), 1e-13)
    # Averages of halves neither overflow nor lose small terms: they are computed in float32.
    h = fnp.full(4000, 100.0, "f16")
    assert fnp.mean(h).item() == 100.0 and fnp.mean(h).dtype == fnp.float16 and fnp.var(h).item() == 0.0
    assert fnp.std(fnp.asarray([1, 3], "bf16")).item() == 1.0
    assert fnp.mean(fnp.asarray([1, 2], "i8")).dtype == fnp.float32 and fnp.sum([True, True]).item() == 2
    assert fnp.max([True, False]).item() is True and fnp.ptp([1.0, 4.0]).item() == 3.0


def test_cumulative_and_differences(reference: None) -> None:
    for dtype, shape in itertools.product(
        ("int8", "uint16", "int64", "float32", "complex128"), [(0,), (4,), (2, 3), (2, 0), (2, 1, 3)]
    ):
        x = sample(shape, dtype, 1)
        small = {"int8": "int32", "uint16": "uint32"}.get(dtype, dtype)
        for axis, initial in itertools.product(range(-len(shape), len(shape)), (False, True)):
            for name in ("cumulative_sum", "cumulative_prod"):
                want = getattr(np, name)(x, axis=axis, include_initial=initial, dtype=small)
                same(getattr(fnp, name)(x, axis=axis, include_initial=initial), want, 1e-6 if dtype != "complex128" else 1e-13)
            if np.dtype(dtype).kind in "ifc":
                for n in (0, 1, 2):
                    same(fnp.diff(x, axis=axis, n=n), np.diff(x, axis=axis, n=n), 1e-6 if dtype == "float32" else 1e-13)
                edge = np.ones([1 if i == axis % len(shape) else m for i, m in enumerate(shape)], dtype)
                got = fnp.diff(x, axis=axis, prepend=edge, append=fnp.asarray(edge))
                same(got, np.diff(x, axis=axis, prepend=edge, append=edge), 1e-6)
    same(fnp.cumulative_sum([1, 2]), np.array([1, 3], "i4"))
    same(fnp.diff([True, False, False]), np.array([True, False]))
    with pytest.raises(ValueError, match="and axis= where there are more"):
        fnp.cumulative_sum(fnp.ones((2, 2)))
    with pytest.raises(ValueError, match="expected at least one axis"):
        fnp.cumulative_prod(fnp.ones(()))


# --- searching, sorting, sets ---------------------------------------------------------------------


def test_sorting(reference: None) -> None:
    for dtype, shape in itertools.product(ALL, [(0,), (1,), (7,), (3, 5), (2, 0), (2, 3, 4)]):
        x = sample(shape, dtype, 1, -1, 1)
        if np.dtype(dtype).kind in "fc" and x.size > 2:
            x.flat[1] = np.nan
            x.flat[x.size - 1] = x.flat[0]
        for axis in range(-len(shape), len(shape)):
            want = np.argsort(x, axis=axis, stable=True)
            same(fnp.sort(x, axis=axis), np.sort(x, axis=axis))
            same(fnp.argsort(x, axis=axis), want.astype("i4"))
            down = np.flip(np.argsort(np.flip(x, axis), axis=axis, stable=True), axis)
            places = x.shape[axis] - 1 - down
            same(fnp.argsort(x, axis=axis, descending=True, stable=True), places.astype("i4"))
            same(fnp.sort(x, axis=axis, descending=True, stable=False), np.take_along_axis(x, places, axis))
    same(fnp.sort([3, 1, 2], axis=None), np.array([1, 2, 3], "i4"))
    same(fnp.sort([[3, 1], [0, 2]], axis=None), np.array([0, 1, 2, 3], "i4"))


def test_searching(reference: None) -> None:
    for dtype, shape in itertools.product(["bool", *REAL], [(1,), (6,), (2, 3), (2, 1, 3)]):
        x = sample(shape, dtype, 1, -1, 1)
        for axis, keepdims in itertools.product([None, *range(-len(shape), len(shape))], (False, True)):
            for name in ("argmax", "argmin"):
                want = getattr(np, name)(x, axis=axis, keepdims=keepdims)
                same(getattr(fnp, name)(x, axis=axis, keepdims=keepdims), np.asarray(want).astype("i4"))
    for dtype, shape in itertools.product(ALL, [(0,), (5,), (2, 3), (2, 0)]):
        x = sample(shape, dtype, 1, -1, 1)
        got, want = fnp.nonzero(x), np.nonzero(x)
        assert isinstance(got, tuple) and len(got) == len(want)
        for g, w in zip(got, want, strict=True):
            same(g, w.astype("i4"))
        for y in (x[::-1], np.ones((), dtype)):
            same(fnp.where(x != 0, x, y), np.where(x != 0, x, y))
    same(fnp.where(np.array([True, False]), 1.5, np.zeros((3, 1), "f4")), np.array([[1.5, 0.0]] * 3, "f4"))
    for dtype in REAL:
        a, v = np.sort(sample((9,), dtype, 1)), sample((2, 3), dtype, 2, -4, 4)
        for side in ("left", "right"):
            same(fnp.searchsorted(a, v, side=side), np.searchsorted(a, v, side=side).astype("i4"))
            same(fnp.searchsorted(a[:0], v, side=side), np.zeros((2, 3), "i4"))
            b = sample((9,), dtype, 1)
            order = np.argsort(b)
            same(fnp.searchsorted(b, v, side=side, sorter=order), np.searchsorted(b, v, side=side, sorter=order).astype("i4"))
    nan = np.array([1.0, 2.0, np.nan, np.nan])
    for side in ("left", "right"):
        same(fnp.searchsorted(nan, nan, side=side), np.searchsorted(nan, nan, side=side).astype("i4"))


def test_sets(reference: None) -> None:
    for dtype, shape in itertools.product(ALL, [(), (0,), (7,), (3, 4)]):
        x = sample(shape, dtype, 1, -1, 1)
        want = np.unique_all(x)
        got = fnp.unique_all(x)
        for part in ("values", "indices", "inverse_indices", "counts"):
            same(getattr(got, part), getattr(want, part), dtype=dtype if part == "values" else "int32")
        counts, inverse = fnp.unique_counts(x), fnp.unique_inverse(x)
        same(counts.values, want.values)
        same(counts.counts, want.counts, dtype="int32")
        same(inverse.inverse_indices, want.inverse_indices, dtype="int32")
        same(fnp.unique_values(x), np.sort(np.unique_values(x)))
    values = fnp.unique_values([np.nan, 1.0, np.nan, -0.0, 0.0])
    assert values.shape == (4,) and values.tolist()[:2] == [0.0, 1.0]
    for name in ("unique_all", "unique_counts", "unique_inverse", "unique_values", "nonzero"):
        with pytest.raises(Exception, match=r"(?s)(unique|nonzero).*size=.*test_array_api"):
            fdl.jit(getattr(fnp, name))(np.ones(3))
        fdl.jit(lambda x, name=name: getattr(fnp, name)(x, size=2))(np.ones(3))


def test_indexing_functions(reference: None) -> None:
    for dtype in ("bool", "int64", "float32", "complex64"):
        x = sample((3, 4), dtype, 1)
        i = np.array([2, 0, -1])
        for axis in (0, 1, -1):
            same(fnp.take(x, i, axis=axis), np.take(x, i, axis=axis))
            order = np.argsort(np.abs(x), axis)
            same(fnp.take_along_axis(x, order, axis=axis), np.take_along_axis(x, order, axis))
        same(fnp.take(x[0], i), np.take(x[0], i))
        same(fnp.take(x, np.zeros(0, "i4"), axis=0), x[:0])
