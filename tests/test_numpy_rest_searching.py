"""Where elements are, sorted sequences and sets against NumPy: with known sizes eager, with size= traced."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy_rest import agree, check_grads, check_vmap, integers, same, sample, traced

import fdl
import fdl.numpy as fnp
from fdl.tracer.errors import ConcretizationError, DTypeError, IndexOutOfBoundsError, ShapeError

SHAPES = [(7,), (3, 4), (2, 1, 3), (0,), (2, 0)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_nonzero(shape: tuple[int, ...]) -> None:
    x = integers(shape, 0, 2, seed=1)
    agree("nonzero", x, trace=False)
    agree("argwhere", x, trace=False)
    agree("flatnonzero", x, trace=False)
    agree("where", x, trace=False)
    n = np.count_nonzero(x)
    for size in (0, 2, n, n + 3):
        want = [np.pad(i, (0, max(size - n, 0)), constant_values=-1)[:size] for i in np.nonzero(x)]
        for f in (fnp.nonzero, fnp.where):
            same(traced(lambda x, f=f, size=size: f(x, size=size, fill_value=-1), x), want)
            same(f(x, size=size, fill_value=-1), want)
        same(traced(lambda x, size=size: fnp.argwhere(x, size=size, fill_value=-1), x), np.stack(want, 1))
    if len(shape) == 2:
        places = fdl.jit(lambda x: fnp.nonzero(x, size=9, fill_value=(1, 2)))(x)
        assert places[0].tolist()[n:] == [1] * (9 - n) and places[1].tolist()[n:] == [2] * (9 - n)


def test_nonzero_errors() -> None:
    with pytest.raises(ShapeError, match="0-d array has no indices"):
        fnp.nonzero(3.0)
    with pytest.raises(
        ConcretizationError, match=r"nonzero: the size of the result depends on.*size=(?s:.*)test_numpy_rest_searching"
    ):
        fdl.jit(fnp.nonzero)(np.ones(3))
    assert fnp.argwhere(np.array(5)).shape == (1, 0) and fnp.argwhere(np.array(0)).shape == (0, 0)
    same(
        fdl.vmap(lambda x: fnp.nonzero(x, size=3)[0])(np.array([[0, 1, 1, 0], [1, 0, 0, 0]])),
        np.array([[1, 2, 0], [0, 0, 0]], "i4"),
    )


def test_where() -> None:
    x, y = sample((3, 4)), sample((4,), 1)
    agree("where", x > 0, x, y, compiled=True)
    agree("where", x, 1.0, y)
    agree("where", x[:, :1] > 0, x, 0)
    check_grads(lambda v: fnp.where(v > 0, v * v, 3 * v), x)
    with pytest.raises(DTypeError, match="both x and y"):
        fnp.where(x, y)
    with pytest.raises(DTypeError, match="size and fill_value belong"):
        fnp.where(x, x, x, size=3)


def test_select_choose_compress_extract() -> None:
    x = sample((3, 4))
    conditions, choices = [x < -1, x < 0.5, x > 1], [x, x * x, sample((4,), 1)]
    for default in (0, -3.5):
        agree("select", conditions, choices, default)
    check_grads(lambda v: fnp.select([v < -1, v < 0.5], [v, v * v], 1.0), x)
    number = integers((3, 4), 0, 3)
    options = [x, sample((4,), 1), 5.0]
    agree("choose", number, options)
    for mode in ("wrap", "clip"):
        agree("choose", number * 5 - 4, options, mode=mode)
    for bad in (number + 1, number - 1):
        for f in (lambda b: fnp.choose(b, options), lambda b: fdl.jit(lambda i: fnp.choose(i, options))(b)):
            with pytest.raises(IndexOutOfBoundsError, match="out of bounds"):
                f(bad)
    check_grads(lambda v: fnp.choose(number, [v, v * v, 2 * v]), x)
    for axis, mask in ((0, [True, False, True]), (1, [False, True, True]), (None, [True, False, False, True])):
        agree("compress", mask, x, axis, trace=False)
        kept = np.compress(mask, x, axis)
        at = 0 if axis is None else axis
        for extra in (0, 2):
            size = kept.shape[at] + extra
            want = np.concatenate([kept, np.full([extra if a == at else n for a, n in enumerate(kept.shape)], 7.0)], at)
            same(traced(lambda m, x, a=axis, s=size: fnp.compress(m, x, a, size=s, fill_value=7), np.array(mask), x), want)
    agree("extract", x > 0, x, trace=False)
    same(traced(lambda x: fnp.extract(x > 0, x, size=20, fill_value=-1), x)[: np.sum(x > 0)], np.extract(x > 0, x))
    for f, text in (
        (lambda: fnp.select([], []), "0 conditions"),
        (lambda: fnp.choose(number, []), "no choices"),
        (lambda: fnp.compress([True] * 9, x, 0), "9 conditions for an axis of size 3"),
    ):
        with pytest.raises((ShapeError, IndexError), match=text):
            f()


METHODS = ["scan", "scan_unrolled", "compare_all", "sort", "auto"]


@pytest.mark.parametrize("method", METHODS)
def test_searchsorted(method: str) -> None:
    rng = np.random.default_rng(0)
    for n, m in ((0, 3), (1, 5), (2, 5), (7, 4), (64, 50), (5, 0)):
        a = np.sort(rng.integers(0, 9, n)).astype(float)
        v = np.concatenate([rng.integers(-1, 11, max(m - 1, 0)), [np.nan][: min(m, 1)]])
        for side in ("left", "right"):
            want = np.searchsorted(a, v, side)
            same(fnp.searchsorted(a, v, side, method=method), want)
            same(traced(lambda a, v, s=side: fnp.searchsorted(a, v, s, method=method), a, v), want)
    a = np.array([1.0, 2.0, np.nan, np.nan])
    for side in ("left", "right"):
        same(
            fnp.searchsorted(a, np.array([2.0, 3.0, np.nan]), side, method=method), np.searchsorted(a, [2.0, 3.0, np.nan], side)
        )
    v = sample((2, 3), low=0, high=9)
    b = rng.permutation(np.arange(9.0))
    same(fnp.searchsorted(b, v, sorter=np.argsort(b), method=method), np.searchsorted(b, v, sorter=np.argsort(b)))
    big = np.sort(rng.normal(size=1000))
    same(traced(lambda a, v: fnp.searchsorted(a, v, method=method), big, v, backend="llvm"), np.searchsorted(big, v))
    check_vmap(lambda v: fnp.searchsorted(big, v, method=method), sample((3, 5)))


def test_digitize() -> None:
    x = np.array([-1.0, 0.0, 0.5, 1.0, 2.0, 2.5])
    for bins in ([0.0, 1.0, 2.0], [2.0, 1.0, 0.0], [1.0], [0.0, 0.0, 1.0], [2.0, 1.0, 1.0]):
        for right in (False, True):
            agree("digitize", x, np.array(bins), right)
    same(fnp.digitize(0.5, np.array([0.0, 1.0])), np.array(1))
    with pytest.raises(ShapeError, match="ascend or descend"):
        fnp.digitize(x, np.array([0.0, 2.0, 1.0]))


# --- sets -----------------------------------------------------------------------------------------

ARRAYS: list[np.ndarray] = [
    integers((12,), 0, 5),
    integers((3, 4), -2, 2, dtype="i8"),
    np.array([3.0, np.nan, 1.0, np.nan, -0.0, 0.0]),
    np.array([True, False, True]),
    np.array([]),
    np.array([2.5]),
    integers((40,), 0, 40, dtype="u1"),
]


@pytest.mark.parametrize("k", range(len(ARRAYS)))
def test_unique(k: int) -> None:
    x = ARRAYS[k]
    for equal_nan in (True, False):
        want = np.unique(x, True, True, True, equal_nan=equal_nan)
        got = fnp.unique(x, True, True, True, equal_nan=equal_nan)
        if k == 2:  # which of two zeros, or of several NaNs, comes first is not said
            same(got[0], want[0])
            same(got[3], want[3])
        else:
            same(got, want)
        n = len(want[0])
        if x.size == 0:
            continue
        for size in (n, n + 2, max(n - 1, 1)):
            got = traced(lambda x, size=size, e=equal_nan: fnp.unique(x, True, True, True, size=size, equal_nan=e), x)
            fill = [want[0][0], want[1][0], 0]
            for g, w, f in zip((got[0], got[1], got[3]), (want[0], want[1], want[3]), fill, strict=True):
                full = np.concatenate([w, np.full(max(size - n, 0), f, w.dtype)])[:size]
                if k != 2 or g is not got[1]:
                    same(g, full)
            if k != 2:
                same(got[2], want[2])
    same(fnp.unique(x), np.unique(x))
    for name in ("unique_values", "unique_counts", "unique_inverse", "unique_all"):
        got, want = getattr(fnp, name)(x), getattr(np, name)(x)
        same(
            np.sort(np.asarray(got[0] if isinstance(got, tuple) else got)),
            np.sort(want[0] if isinstance(want, tuple) else want),
        )


def test_unique_along_an_axis() -> None:
    for shape in ((5, 2), (4, 3), (2, 3, 2), (3, 0)):
        x = integers(shape, 0, 2, seed=3)
        for axis in range(-1, len(shape)):
            if x.size == 0 and axis in (1, -1):
                continue
            want = np.unique(x, True, True, True, axis=axis)
            got = fnp.unique(x, True, True, True, axis=axis)
            same(got[0], want[0])
            same(got[1], want[1])
            same(np.asarray(got[2]).ravel(), np.asarray(want[2]).ravel())
            same(got[3], want[3])
            if x.size:
                same(traced(lambda x, a=axis, n=want[0].shape[axis]: fnp.unique(x, axis=a, size=n), x), want[0])
    assert fnp.unique(np.array([3, 3, 1]), size=4, fill_value=-1).tolist() == [1, 3, -1, -1]
    check_grads(lambda x: fnp.unique(x, size=5), sample((5,)))
    with pytest.raises(ConcretizationError, match="size="):
        fdl.jit(fnp.unique)(np.ones(3))


PAIRS = [
    (integers((6,), 0, 6), integers((5,), 3, 9, seed=1)),
    (np.array([1.0, 2.0, np.nan]), np.array([2.0, 5.0])),
    (np.array([], "i4"), integers((3,), 0, 3)),
    (integers((4,), 0, 3), np.array([], "i4")),
    (integers((2, 3), 0, 5), integers((3, 2), 2, 6)),
]


@pytest.mark.parametrize("k", range(len(PAIRS)))
def test_set_operations(k: int) -> None:
    a, b = PAIRS[k]
    for name in ("union1d", "intersect1d", "setdiff1d", "setxor1d"):
        agree(name, a, b, trace=False)
        want = getattr(np, name)(a, b)
        f = getattr(fnp, name)
        for extra in (0, 2):
            got = traced(functools.partial(f, size=len(want) + extra, fill_value=9), a, b)
            same(got, np.concatenate([want, np.full(extra, 9, want.dtype)]))
    for method in ("auto", "compare_all", "sort", "binary_search"):
        for invert in (False, True):
            same(fnp.isin(a, b, invert=invert, method=method), np.isin(a, b, invert=invert))
            same(
                traced(lambda a, b, m=method, i=invert: fnp.isin(a, b, invert=i, method=m), a, b), np.isin(a, b, invert=invert)
            )
    want = np.intersect1d(a, b, return_indices=True)
    same(fnp.intersect1d(a, b, return_indices=True), want)
    u, v = np.unique(a), np.unique(b)
    same(fnp.setdiff1d(u[::-1], v, assume_unique=True), np.setdiff1d(u[::-1], v, assume_unique=True))


@settings(max_examples=40)
@given(st.lists(st.integers(-3, 3), max_size=9), st.lists(st.integers(-3, 3), max_size=9))
def test_random_sets(a: list[int], b: list[int]) -> None:
    x, y = np.array(a, "i4"), np.array(b, "i4")
    for name in ("union1d", "intersect1d", "setdiff1d", "setxor1d", "isin"):
        agree(name, x, y, trace=False)
    agree("unique", x, True, True, True, trace=False)


def test_large_isin_compiles() -> None:
    a, b = integers((3000,), 0, 9000), integers((2000,), 0, 9000, seed=1)
    same(traced(fnp.isin, a, b, backend="llvm"), np.isin(a, b))
    n = len(np.unique(a))
    same(traced(lambda a: fnp.unique(a, size=3000)[:n], a, backend="llvm"), np.unique(a))
