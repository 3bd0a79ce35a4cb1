"""Results whose elements lie in an object of the native call path's own, until somebody asks for the ndarray."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import threading
from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl import tree
from fdl.backends.llvm import callpath
from fdl.backends.llvm.callpath_ir import small
from fdl.tracer import dtypes
from fdl.tracer.errors import DonatedError

pytestmark = pytest.mark.skipif(callpath.why_plain() is not None, reason="needs the native call path")


@fdl.jit(backend="llvm")
def doubled(x: Any) -> Any:
    return x + x


@fdl.jit(backend="llvm", donate_argnums=0)
def moved(x: Any) -> Any:
    return x + 1


def result(shape: tuple[int, ...] = (3,), dtype: Any = "float32") -> fdl.Array:
    """What a call by the native path returns: twice the numbers 0, 1, 2 and so on."""
    x = fnp.asarray(np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype))
    doubled(x)
    return doubled(x)


def is_small(x: Any) -> bool:
    return type(x._stored).__name__ == "SmallResult"


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
def test_every_dtype_by_shape(dtype: Any) -> None:
    n = small.MAX_BYTES // dtype.itemsize
    for shape in ((), (1,), (0,), (2, 0, 3), (n,), (2, 3), (1, 2, 1)):
        y = result(shape, dtype)
        assert is_small(y)
        assert y.shape == shape and y.dtype == dtype and not is_small(y)
        want = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
        np.testing.assert_array_equal(np.asarray(y), want + want)
        assert not y.data.flags.writeable and y.data.flags.owndata and y.data.flags.aligned and y.data is y.data


@pytest.mark.parametrize("shape", [(small.MAX_BYTES // 4 + 1,), (1, 1, 1, 1), (1,) * 8])
def test_larger_results_and_those_of_more_axes_are_ndarrays(shape: tuple[int, ...]) -> None:
    y = result(shape)
    assert isinstance(y._stored, np.ndarray) and y.shape == shape


def test_a_small_result_is_an_argument() -> None:
    y, hits = result(), doubled.hits
    z = doubled(doubled(y))
    assert doubled.hits == hits + 2 and is_small(y) and is_small(z)
    assert z.tolist() == [0, 8, 16]


def test_other_types_do_not_fit() -> None:
    y = doubled(result((2, 3)))
    assert y.tolist() == [[0, 4, 8], [12, 16, 20]]
    for other in (result((3, 2)), result((6,)), result((2, 3, 1)), result((2, 3), "float16"), result((), "complex64")):
        assert doubled(other).type == other.type


def test_a_donated_small_result_is_updated_in_place() -> None:
    moved(result())
    x, n = moved(result()), 1
    while n < 8:
        assert is_small(x)
        stored, x, n = x, moved(x), n + 1
        assert stored.is_deleted() and "donated" in repr(stored)
    with pytest.raises(DonatedError, match="donated and its memory reused by"):
        _ = stored.data
    assert x.tolist() == [n, n + 2, n + 4]


def test_an_ndarray_that_was_asked_for_keeps_its_elements() -> None:
    x = moved(result())
    kept = x.data
    y = moved(x)
    assert kept.tolist() == [1, 3, 5] and y.tolist() == [2, 4, 6]


def test_a_donated_container() -> None:
    step = fdl.jit(lambda s: tree.map(lambda v: v + 1, s), donate_argnums=0, backend="llvm")
    state = {"a": fnp.zeros(3), "b": [fnp.ones(()), fnp.ones((2, 2, 2))]}
    for _ in range(5):
        old, state = state, step(state)
    assert all(leaf.is_deleted() for leaf in tree.leaves(old))
    assert [np.asarray(leaf).max() for leaf in tree.leaves(state)] == [5, 6, 6]


def test_the_same_result_twice_and_the_argument_itself() -> None:
    f = fdl.jit(lambda x: (x, x + 1, x), backend="llvm")
    x = result()
    f(x)
    a, b, c = f(x)
    assert [v.tolist() for v in (a, b, c)] == [[0, 2, 4], [1, 3, 5], [0, 2, 4]]


def test_python_reads_it_as_any_array() -> None:
    assert float(result(())) == 0 and bool(result(())) is False and result((1,)).item() == 0
    assert repr(result()) == "Array([0., 2., 4.], dtype=float32)" and str(result()) == "[0. 2. 4.]"
    assert len(result()) == 3 and result().nbytes == 12 and result((1, 3)).ndim == 2
    for y in (copy.copy(result()), copy.deepcopy(result()), pickle.loads(pickle.dumps(result())), result().block_until_ready()):
        assert y.tolist() == [0, 2, 4]
    assert np.from_dlpack(result()).tolist() == [0, 2, 4] and (result() + 1).tolist() == [1, 3, 5]


def test_the_type_has_no_constructor() -> None:
    kind = type(result()._stored)
    for make in (kind, lambda: kind.__new__(kind), lambda: object.__new__(kind), lambda: copy.copy(result()._stored)):
        with pytest.raises(TypeError, match="SmallResult"):
            make()


def test_nothing_is_left_behind() -> None:
    f = fdl.jit(lambda t: tree.map(lambda v: v + 1, t), backend="llvm")
    t = {k: result((n,)) for n, k in enumerate("abcdef")}
    kind, dtype = type(t["a"]._stored), np.dtype("float32")
    f(t), f(t)["c"].tolist()

    def counts() -> tuple[int, ...]:
        gc.collect()
        return sys.getallocatedblocks(), sys.getrefcount(kind), sys.getrefcount(dtype)

    before = counts()
    for k in range(1000):
        u = f(t)
        if k % 2:
            u["c"].tolist()
    del u
    after = counts()
    assert after[1:] == before[1:] and abs(after[0] - before[0]) < 100


def test_threads_that_ask_for_one_ndarray() -> None:
    for _ in range(50):
        y, seen = result((5,)), []
        barrier = threading.Barrier(4)

        def read(y: Any = y, seen: list[Any] = seen, barrier: Any = barrier) -> None:
            barrier.wait()
            seen.append((y.tolist(), doubled(y).tolist()))

        threads = [threading.Thread(target=read) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert seen == [([0, 2, 4, 6, 8], [0, 4, 8, 12, 16])] * 4
