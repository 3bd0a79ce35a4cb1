"""`frompyfunc` against NumPy's, and arrays to and from files."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl.testing import check_grads
from fdl.tracer.errors import DTypeError, ShapeError

F = fnp.frompyfunc(lambda x, y: x * 0.5 + y, 2, 1)
G = np.frompyfunc(lambda x, y: x * 0.5 + y, 2, 1)
X = np.random.default_rng(0).normal(size=(4, 3, 5))


def same(x: Any, wanted: Any) -> None:
    np.testing.assert_allclose(np.asarray(x), np.asarray(wanted, np.float64), rtol=1e-12)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_reductions(axis: int) -> None:
    same(F.reduce(X, axis), G.reduce(X, axis))
    same(F.reduce(X, axis, keepdims=True), G.reduce(X, axis, keepdims=True))
    same(F.reduce(X, axis, initial=2.0), G.reduce(X, axis, initial=2.0))
    same(F.accumulate(X, axis), G.accumulate(X, axis))
    same(F.reduceat(X, np.array([0, 2, 1, 1]), axis), G.reduceat(X, [0, 2, 1, 1], axis))
    same(fdl.jit(lambda x: F.reduce(x, axis))(X), G.reduce(X, axis))
    same(fdl.vmap(lambda x: F.accumulate(x, 0))(X), G.accumulate(X, 1))
    check_grads(lambda x: F.reduce(x, axis), (X,), order=2)


def test_calls_and_outer_products() -> None:
    same(F(X, X[0]), G(X, X[0]))
    same(F.outer(X[0], X[1, 0]), G.outer(X[0], X[1, 0]))
    two = fnp.frompyfunc(lambda x, y: (x + y, x - y), 2, 2)
    for a, b in zip(two(X, 1.0), (X + 1, X - 1), strict=True):
        same(a, b)
    assert (F.nin, F.nout, F.nargs, F.identity, two.nout) == (2, 1, 3, None, 2)


def test_masks_and_identities() -> None:
    mask = X[:, 0, 0] > 0
    wanted = 0.25
    for row, m in zip(X[:, 0], mask, strict=True):
        wanted = np.where(m, wanted * 0.5 + row, wanted)
    same(F.reduce(X[:, 0], where=mask[:, None], initial=0.25), wanted)
    total = fnp.frompyfunc(lambda x, y: x + y, 2, 1, identity=0)
    same(total.reduce(np.zeros((0, 3))), np.zeros(3))
    same(total.reduce(X, None), X.sum())
    assert total.reduce(X, None, keepdims=True).shape == (1, 1, 1)
    with pytest.raises(ShapeError, match="an empty or masked reduction needs `initial`"):
        F.reduce(np.zeros(0))


def test_updates_count_repeated_places() -> None:
    wanted = X[:, 0, 0].astype(object)
    G.at(wanted, [1, 1, 3], [1.0, 2.0, 3.0])
    same(F.at(X[:, 0, 0], np.array([1, 1, 3]), np.array([1.0, 2.0, 3.0])), wanted)
    ten = fnp.frompyfunc(lambda x: x * 10, 1, 1)
    assert ten.at(fnp.arange(3), np.array([2, 2])).tolist() == [0, 1, 200]
    assert F.at(fnp.zeros((2, 2)), (slice(None), 1), fnp.array([1.0, 2.0])).tolist() == [[0, 1], [0, 2]]
    with pytest.raises(DTypeError, match="arrays are immutable"):
        F.at(X, 0, 1.0, inplace=True)


def test_wrong_functions() -> None:
    with pytest.raises(TypeError, match=r"<lambda>: expected 2 arguments, got 1"):
        F(X)
    with pytest.raises(TypeError, match=r"needs a function of two arguments with one result, this one has 1 and 1"):
        fnp.frompyfunc(lambda x: x, 1, 1).reduce(X)
    with pytest.raises(ShapeError, match=r"frompyfunc: nin=0, nout=1"):
        fnp.frompyfunc(lambda: 1, 0, 1)
    with pytest.raises(TypeError, match=r"expected a tuple of 2 results, got Array"):
        fnp.frompyfunc(lambda x: x, 1, 2)(X)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64", "int8", "bool"])
def test_files(dtype: str) -> None:
    x = fnp.asarray(np.arange(6).reshape(2, 3), dtype)
    file = io.BytesIO()
    fnp.save(file, x)
    file.seek(0)
    back = fnp.load(file)
    assert back.dtype == x.dtype and bool((back == x).all())
    file = io.BytesIO()
    fnp.savez(file, x, 2.0, name=x[0])
    file.seek(0)
    found = fnp.load(file)
    assert list(found) == ["name", "arr_0", "arr_1"] and bool((found["name"] == x[0]).all()) and float(found["arr_1"]) == 2


def test_a_file_with_objects_is_refused() -> None:
    file = io.BytesIO()
    np.save(file, np.array([{}], object), allow_pickle=True)
    file.seek(0)
    with pytest.raises(ValueError, match="allow_pickle"):
        fnp.load(file)


def test_raw_numbers(tmp_path: Any) -> None:
    np.arange(5.0).tofile(tmp_path / "x")
    assert fnp.fromfile(tmp_path / "x", offset=8, count=2).tolist() == [1, 2]
    (tmp_path / "t").write_text("1 2 3")
    assert fnp.fromfile(tmp_path / "t", "int32", sep=" ").tolist() == [1, 2, 3]


def test_printing() -> None:
    with fnp.printoptions(precision=2):
        assert str(fnp.array([1.23456])) == "[1.23]"
    assert fnp.iterable([1]) and not fnp.iterable(fnp.array(1.0)) and fnp.iterable(fnp.ones(2))
