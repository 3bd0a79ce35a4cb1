"""Order statistics, nan-functions, averages, covariances and histograms against NumPy."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy_rest import agree, check_grads, check_vmap, integers, same, sample, traced

import fdl
import fdl.numpy as fnp
from fdl.numpy.orderstats import METHODS
from fdl.tracer.errors import ConcretizationError, DTypeError, IndexOutOfBoundsError, ShapeError


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with warnings.catch_warnings():  # NumPy warns of empty slices and slices of NaN
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def with_nan(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    x = sample(shape, seed)
    x[np.random.default_rng(seed + 1).random(shape) < 0.3] = np.nan
    return x


Q = np.array([[0.0, 0.1, 0.25], [0.5, 0.75, 1.0]])


@pytest.mark.parametrize("method", METHODS)
def test_quantiles(method: str) -> None:
    for n in (1, 2, 3, 4, 7, 10):
        x = sample((n,), n)
        same(fnp.quantile(x, Q, method=method), np.quantile(x, Q, method=method))
    x = sample((3, 4, 5))
    for axis, keepdims in ((None, False), (1, True), ((0, 2), False), (-1, True)):
        want = np.quantile(x, Q, axis=axis, method=method, keepdims=keepdims)
        same(fnp.quantile(x, Q, axis, method=method, keepdims=keepdims), want)
        same(traced(lambda x, a=axis, k=keepdims: fnp.quantile(x, Q, a, method=method, keepdims=k), x), want)
    # A traced q: its place is computed in the array's dtype, and is exact for these.
    q = np.array([0.0, 0.125, 0.5, 0.75, 1.0])
    y = sample((9, 2))
    same(traced(lambda y, q: fnp.quantile(y, q, 0, method=method), y, q), np.quantile(y, q, 0, method=method))
    z = with_nan((9, 4))
    z[:, 3] = np.nan
    same(fnp.quantile(z, q, 0, method=method), np.quantile(z, q, 0, method=method))
    want = np.nanquantile(z, q, 0, method=method)
    same(fnp.nanquantile(z, q, 0, method=method), want)
    same(traced(lambda z: fnp.nanquantile(z, q, 0, method=method), z), want)
    agree("nanpercentile", z, 100 * q, None, method=method, keepdims=True, trace=False)


def test_percentile_median() -> None:
    x = sample((4, 5))
    agree("percentile", x, 30.0, 0, compiled=True)
    agree("percentile", x, [10, 90])
    for axis in (None, 0, 1, (0, 1)):
        agree("median", x, axis)
        agree("median", integers((4, 5), -9, 9).astype(float), axis, keepdims=True)
        agree("nanmedian", with_nan((4, 5)), axis)
    agree("median", with_nan((4, 5)), 0)
    assert fnp.median(np.array([1, 2])).dtype == np.float32
    assert fnp.quantile(np.ones(3, "f4"), 0.5).dtype == np.float32
    same(fnp.quantile(np.array([-np.inf, 0.0, np.inf]), [0.0, 0.5, 1.0]), np.array([-np.inf, 0.0, np.inf]))
    w = np.abs(sample((5,), 1))
    for q in (0.0, 0.3, 0.8, 1.0):
        same(fnp.quantile(x, q, 1, method="inverted_cdf", weights=w), np.quantile(x, q, 1, method="inverted_cdf", weights=w))
    for f, text in (
        (lambda: fnp.quantile(x, 1.5), "q must lie between 0 and 1"), (lambda: fnp.percentile(x, -1), "between 0 and 100"),
        (lambda: fnp.quantile(x, 0.5, method="best"), "method 'best'"), (lambda: fnp.quantile(np.zeros((0, 2)), 0.5, 0), "are empty"),
        (lambda: fnp.quantile(x, 0.5, weights=w), "weights go with method"),
    ):  # fmt: skip
        with pytest.raises(ShapeError, match=text):
            f()
    with pytest.raises(DTypeError, match="no order"):
        fnp.median(x * 1j)


def test_derivatives_of_order_statistics() -> None:
    x = sample((3, 4))
    for method in ("linear", "midpoint", "nearest", "hazen"):
        check_grads(lambda v, m=method: fnp.quantile(v, np.array([0.2, 0.6]), 1, method=m), x)
    check_grads(lambda v: fnp.median(v, 0), x)
    check_grads(lambda q: fnp.quantile(x, q), np.array([0.21, 0.62]))
    z = with_nan((3, 4))
    assert np.isfinite(
        np.asarray(fdl.grad(lambda v: fnp.nanquantile(v, 0.4) + fnp.nanmedian(v) + fnp.nanmean(v))(np.nan_to_num(z)))
    ).all()
    check_vmap(lambda v: fnp.quantile(v, 0.3, 0), sample((3, 4, 2)))
    check_vmap(lambda v: fnp.nanmedian(v), np.stack([with_nan((4,), k) for k in range(3)]))


def test_partition_sort_complex() -> None:
    x = sample((3, 7))
    for kth in (0, 3, -1):
        y = np.asarray(fnp.partition(x, kth))
        assert (y[:, :kth] <= y[:, kth : kth + 1 or None][:, :1]).all() and (np.sort(y) == np.sort(x)).all()
        i = np.asarray(fnp.argpartition(x.T, kth, 0))
        same(np.take_along_axis(x.T, i, 0), np.sort(x.T, 0))
    z = integers((9,), 0, 3) + 1j * sample((9,))
    for v in (x > 0, z, z[None]):
        same(fnp.partition(v, 2), np.sort(v))
        same(np.take_along_axis(v, np.asarray(fnp.argpartition(v, 2)), -1), np.sort(v))
    agree("sort_complex", z)
    same(fnp.sort_complex(np.array([3.0, 1.0])), np.array([1 + 0j, 3 + 0j]))
    agree("lexsort", (integers((8,), 0, 3), integers((8,), 0, 3, seed=1)))
    with pytest.raises(ShapeError, match="kth = 9 for an axis of size 7"):
        fnp.partition(x, 9)


NAN_REDUCTIONS = ["nansum", "nanprod", "nanmean", "nanvar", "nanstd", "nanmax", "nanmin"]


@pytest.mark.parametrize("name", NAN_REDUCTIONS)
def test_nan_reductions(name: str) -> None:
    for x in (
        with_nan((4, 5)),
        np.full((2, 3), np.nan),
        with_nan((2, 3, 2), 5),
        sample((3,)),
        np.array([np.inf, np.nan, -np.inf]),
    ):
        for axis in (None, 0, -1, tuple(range(x.ndim))):
            for keepdims in (False, True):
                agree(name, x, axis=axis, keepdims=keepdims, trace=keepdims)
    agree(name, integers((3, 4), -3, 3, dtype="i8").astype(float), axis=0)
    assert getattr(fnp, name)(np.array([1, 2])).dtype == getattr(fnp, name[3:])(np.array([1, 2])).dtype
    x = sample((3, 4))
    check_grads(lambda v: getattr(fnp, name)(fnp.where(np.arange(12.0).reshape(3, 4) % 5 == 1, np.nan, v), 1), x)
    if name in ("nanvar", "nanstd"):
        agree(name, with_nan((4, 5)), axis=0, ddof=1)


def test_nan_arguments_and_running() -> None:
    x = with_nan((4, 5))
    x[:, 0] = [np.nan, -np.inf, 1, 2]
    for name in ("nanargmax", "nanargmin"):
        for axis in (None, 0, 1):
            agree(name, x, axis)
        assert getattr(fnp, name)(np.array([np.nan, np.nan])).item() == -1
        assert getattr(fnp, name)(np.array([np.nan, -np.inf if name == "nanargmax" else np.inf])).item() == 1
    for name in ("nancumsum", "nancumprod"):
        for axis in (None, 0, 1):
            agree(name, x[:, 1:], axis)


def test_average_cov_corrcoef() -> None:
    x = sample((3, 8))
    for axis in (None, 0, 1, (0, 1)):
        agree("average", x, axis)
    agree("average", x, 1, np.abs(sample((8,), 1)), compiled=True)
    agree("average", x, None, np.abs(sample((3, 8), 1)), returned=True)
    agree("average", x, 0, np.abs(sample((3,), 1)), True, keepdims=True)
    agree("average", sample((2, 3, 4)), (2, 0), np.abs(sample((4, 2), 1)))
    for kwargs in ({}, {"bias": True}, {"ddof": 2}, {"fweights": integers((8,), 1, 4)}, {"aweights": np.abs(sample((8,), 3))},
                   {"fweights": integers((8,), 1, 4), "aweights": np.abs(sample((8,), 3)), "ddof": 0}):  # fmt: skip
        agree("cov", x, **kwargs)
    agree("cov", x, x[:2] ** 2)
    agree("cov", x[0], x[1])
    agree("cov", x.T, rowvar=False)
    agree("cov", x[0])
    agree("cov", x.T, x[:2].T, rowvar=False)
    agree("cov", x + 1j * sample((3, 8), 4))
    agree("corrcoef", x, compiled=True)
    agree("corrcoef", x[0], x[1])
    agree("corrcoef", x + 1j * sample((3, 8), 4))
    for f in (fnp.cov, fnp.corrcoef, lambda x: fnp.average(x, 1, x[0] ** 2)):
        check_grads(f, sample((2, 4)))
        check_vmap(f, sample((3, 2, 4)))
    for f, text in (
        (lambda: fnp.average(x, weights=np.ones(8)), r"weights have shape \(8,\)"), (lambda: fnp.cov(np.ones((2, 2, 2))), "at most 2 axes"),
        (lambda: fnp.cov(x, fweights=np.ones(8)), "must be integers"), (lambda: fnp.cov(x, aweights=-np.ones(8)), "must not be negative"),
    ):  # fmt: skip
        with pytest.raises(ShapeError, match=text):
            f()


# --- counting -------------------------------------------------------------------------------------


def test_bincount() -> None:
    x = integers((20,), 0, 7)
    agree("bincount", x, trace=False)
    agree("bincount", x, sample((20,)), 9, trace=False)
    agree("bincount", np.array([], "i4"), minlength=3, trace=False)
    for length in (3, 7, 10):
        want = np.pad(np.bincount(x), (0, 10))[:length]
        same(traced(lambda x, n=length: fnp.bincount(x, length=n), x), want)
        same(fnp.bincount(x, length=length), want)
        weighted = traced(lambda x, w, n=length: fnp.bincount(x, w, length=n), x, sample((20,)), backend="llvm")
        same(weighted, np.pad(np.bincount(x, sample((20,))), (0, 10))[:length])
    check_grads(lambda w: fnp.bincount(x[:5], w, length=6), sample((5,)))
    check_vmap(lambda x: fnp.bincount(x, length=6), integers((3, 8), 0, 6))
    with pytest.raises(IndexOutOfBoundsError, match="a negative element, -3"):
        fnp.bincount(np.array([1, -3]))
    with pytest.raises(ConcretizationError, match="length="):
        fdl.jit(fnp.bincount)(x)
    with pytest.raises(DTypeError, match="expected integers"):
        fnp.bincount(np.ones(3))


def test_histograms() -> None:
    x = np.concatenate([sample((50,)), [np.nan, -2.0, 2.0, 9.0]])
    clean = x[np.isfinite(x)]
    for bins, span in (
        (10, (-2, 2)),
        (4, (0.0, 1.0)),
        (np.array([-1.0, 0.0, 0.5, 3.0]), None),
        (1, (-5.0, 5.0)),
        (3, (1.0, 1.0)),
    ):
        want = np.histogram(x, bins, span)
        same(fnp.histogram(x, bins, span), want)
        same(traced(lambda x, b=bins, r=span: fnp.histogram(x, b, r), x), want)
        agree("histogram", clean, bins, span, density=True) if np.histogram(clean, bins, span)[0].sum() else None
        agree("histogram", clean, bins, span, weights=np.abs(sample(clean.shape, 1)))
        agree("histogram_bin_edges", clean, bins, span)
    agree("histogram", clean, 7, compiled=True)
    agree("histogram", np.full(5, 3.0), 4)
    agree("histogram", np.array([]), 4)
    agree("histogram", integers((3, 5), 0, 9).astype(float), 3)
    for bins in ("auto", "fd", "doane", "scott", "stone", "rice", "sturges", "sqrt"):
        agree("histogram_bin_edges", clean, bins, trace=False)
    y = sample(clean.shape, 7)
    span2 = [(-2, 2), (-1, 1)]
    for bins in (4, (3, 5), (np.array([-1.0, 0.0, 1.0]), 4), np.array([-2.0, 0.0, 1.0])):
        for kwargs in ({}, {"density": True}, {"weights": np.abs(y)}):
            span = None if isinstance(bins, np.ndarray) else span2
            got, want = fnp.histogram2d(clean, y, bins, span, **kwargs), np.histogram2d(clean, y, bins, span, **kwargs)
            same(got[0] * 1.0, want[0], 1e-5)  # unweighted counts are integers here
            same(got[1:], want[1:])
    same(traced(lambda x, y: fnp.histogram2d(x, y, 4, span2), clean, y), fnp.histogram2d(clean, y, 4, span2))
    points = sample((40, 3))
    counts, edges = fnp.histogramdd(points, (2, 3, 4), density=True)
    want, want_edges = np.histogramdd(points, (2, 3, 4), density=True)
    same(counts, want)
    same(edges, list(want_edges))
    same(fnp.histogramdd([points[:, 0], points[:, 1]], 3)[0].astype("f8"), np.histogramdd([points[:, 0], points[:, 1]], 3)[0])
    check_grads(lambda w: fnp.histogram(sample((6,)), 3, weights=w, density=True)[0], np.abs(sample((6,), 2)) + 0.5)
    for f, text in (
        (lambda: fnp.histogram(x, 0), "at least one bin"),
        (lambda: fnp.histogram(x, 3, (2, 1)), "must ascend"),
        (lambda: fnp.histogram(x, np.array([1.0, 0.0])), "edges must ascend"),
        (lambda: fnp.histogram(clean, 3, weights=np.ones(2)), "2 weights for"),
        (lambda: fnp.histogramdd(points, (2, 3)), "2 bins and 3 ranges for 3 axes"),
    ):
        with pytest.raises(ShapeError, match=text):
            f()
    with pytest.raises(ConcretizationError, match="number of bins"):
        fdl.jit(lambda x: fnp.histogram(x, "auto"))(clean)


@settings(max_examples=40)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12), st.floats(0, 1), st.sampled_from(sorted(METHODS)))
def test_random_quantiles(values: list[float], q: float, method: str) -> None:
    x = np.array(values)
    same(fnp.quantile(x, q, method=method), np.quantile(x, q, method=method), 1e-9, 1e-9)
