"""`fdl.Array` as an object: methods, copies, formats, buffers, and NumPy's protocols, outside `jit` and inside it."""

from __future__ import annotations

import copy
import inspect
import pickle
import sys
import weakref
from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl.tracer import dtypes

X = np.random.default_rng(0).uniform(-3, 3, (2, 3))

# Method → arguments. Each is the function of its name.
METHODS: dict[str, tuple[Any, ...]] = {
    "all": (), "any": (1,), "argmax": (1,), "argmin": (), "argsort": (0,), "astype": ("float32",), "clip": (-1, 1), "conj": (),
    "conjugate": (), "copy": (), "cumprod": (1,), "cumsum": (), "diagonal": (), "dot": (np.ones((3, 2)),), "flatten": (), "max": (0,),
    "mean": (), "min": (), "prod": (1,), "ravel": (), "repeat": (2, 1), "reshape": (3, 2), "round": (1,), "sort": (1,), "squeeze": (),
    "std": (0,), "sum": (1,), "swapaxes": (0, 1), "take": (np.array([1, 0]), 1), "trace": (), "transpose": (1, 0), "var": (), "nonzero": (),
}  # fmt: skip


def test_methods_are_numpys() -> None:
    x = fnp.asarray(X)
    for name, args in METHODS.items():
        want = np.sort(X, 1) if name == "sort" else getattr(X, name)(*args)
        got = getattr(x, name)(*args)
        for a, b in zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]:
            assert isinstance(a, fdl.Array)
            np.testing.assert_allclose(np.asarray(a), b, rtol=1e-6)
    assert x.ptp(0).tolist() == pytest.approx(np.ptp(X, 0)) and fnp.asarray([1.0, 3.0]).searchsorted(2.0).item() == 1
    assert x.real is not None and x.imag.tolist() == [[0.0] * 3] * 2 and fnp.asarray([1 + 2j]).imag.tolist() == [2.0]
    numbers = np.array([1, 0, 2])
    assert fnp.asarray(numbers).choose([X[0], X[1], 7.0]).tolist() == numbers.choose([X[0], X[1], 7.0]).tolist()
    assert x.compress([False, True], axis=0).tolist() == X.compress([False, True], axis=0).tolist()
    assert x.compress([0, 1, 0, 1]).tolist() == X.compress([0, 1, 0, 1]).tolist()
    assert x.tobytes() == X.tobytes() and x.tobytes("F") == X.tobytes("F")
    assert x.flat[4].item() == X.flat[4] and [float(v) for v in x.flat] == X.ravel().tolist()
    assert (x.reshape(-1).shape, x.reshape((6,)).shape, x.reshape(3, 2, order="F").tolist()) == (
        (6,),
        (6,),
        X.reshape(3, 2, order="F").tolist(),
    )
    assert x.transpose().shape == x.transpose(None).shape == x.transpose((1, 0)).shape == x.T.shape == (3, 2)
    assert x.std(correction=1).item() == pytest.approx(X.std(ddof=1)) and x.var(ddof=1).item() == pytest.approx(X.var(ddof=1))
    assert x.astype(x.dtype) is x and x.astype("f16").dtype == np.float16
    assert 3.0 in fnp.arange(4.0) and 5.0 not in fnp.arange(4.0) and len(x) == 2 and [row.shape for row in x] == [(3,), (3,)]
    with pytest.raises(TypeError, match="0-d"):
        iter(fnp.ones(()))
    with pytest.raises(TypeError, match="0-d"):
        len(fnp.ones(()))


def test_methods_in_a_traced_function() -> None:
    def f(x: Any) -> dict[str, Any]:
        out = {name: getattr(x, name)(*args) for name, args in METHODS.items() if name != "nonzero"}
        out["nonzero"] = x.nonzero(size=6)[0]
        out["rows"] = fnp.stack(list(x))
        out["view"] = x.view("u1")
        out["round"] = round(x, 1)
        return out

    got, want = fdl.jit(f)(X), f(fnp.asarray(X))
    for name, w in want.items():
        np.testing.assert_allclose(np.asarray(got[name]), np.asarray(w), rtol=1e-6, err_msg=name)


def test_every_method_of_jax_arrays_that_makes_sense_here() -> None:
    names = """T all any argmax argmin argpartition argsort astype at choose clip compress conj conjugate copy cumprod
    cumsum device diagonal dot dtype flatten imag item itemsize mT max mean min nbytes ndim nonzero prod ptp ravel real repeat
    reshape round searchsorted shape size sort squeeze std sum swapaxes take to_device tobytes tolist trace transpose var view
    weak_type block_until_ready is_deleted""".split()
    x = fnp.ones((2, 2))
    assert [n for n in names if not hasattr(x, n)] == []
    for name in names:
        if inspect.ismethod(getattr(x, name)):
            assert getattr(x, name).__doc__, name


def test_copies_and_pickles() -> None:
    for dtype in dtypes.ALL:
        for shape in ((), (0,), (2, 3)):
            x = fnp.ones(shape, dtype)
            for y in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x), copy.copy(x), fnp.copy(x)):
                assert (y.dtype, y.shape, y.tolist()) == (x.dtype, x.shape, x.tolist())
            assert not np.shares_memory(np.asarray(copy.deepcopy(x)), np.asarray(x)) or x.size == 0
    weak = fnp.asarray(1.0)
    assert weak.weak_type and pickle.loads(pickle.dumps(weak)).weak_type and copy.deepcopy(weak).weak_type
    tree = copy.deepcopy({"w": fnp.ones(2), "b": [fnp.zeros(1)]})
    assert tree["w"].tolist() == [1.0, 1.0]
    x = fnp.ones(3)
    gone = weakref.ref(x)
    del x
    assert gone() is None


def test_large_copies_lie_where_kernels_read_them_best() -> None:
    """64-byte aligned, whatever they are copied from, and their own."""
    raw = np.arange(1_000_001, dtype=np.uint8)
    source = raw[1:].view(">f4")[: 400 * 500].reshape(400, 500)  # misaligned, and of another byte order
    x = fnp.asarray(source)
    made = {
        "asarray": x, "transposed": fnp.asarray(source.T), "copy": x.copy(), "deepcopy": copy.deepcopy(x), "slice": x[1:, 3:],
        "pickle": pickle.loads(pickle.dumps(x)), "zeros": fnp.zeros((400, 500)),
        "device_put": fdl.device_put({"a": source})["a"],
        "computed": fnp.tanh(x + 1) * 2,
    }  # fmt: skip
    for name, array in made.items():
        assert array.data.ctypes.data % 64 == 0, name
        assert array.dtype.isnative and not array.data.flags.writeable, name
    for name in ("asarray", "copy", "deepcopy", "pickle", "device_put"):
        np.testing.assert_array_equal(made[name], source.astype("=f4"))
        assert name == "asarray" or made[name] is not x
    raw[:] = 0
    np.testing.assert_array_equal(made["transposed"], np.asarray(x).T)
    with pytest.raises(TypeError, match="object"):
        fnp.asarray(np.full(100_000, None))


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
def test_large_copies_can_be_donated(dtype: dtypes.DType) -> None:
    f = fdl.jit(lambda x: x + x, donate_argnums=0)
    for x in (fnp.asarray(np.ones(300_000, dtype)), fnp.ones(300_000, dtype), fnp.asarray(np.ones(300_000, dtype.newbyteorder(">")))):
        want = np.asarray(x + x)
        np.testing.assert_array_equal(f(x), want)
        assert x.is_deleted()


def test_text() -> None:
    x = fnp.asarray(1.23456)
    assert f"{x:.2f}" == "1.23" and f"{x}" == str(x) and f"{fnp.asarray(7):03d}" == "007" and f"{fnp.ones(2)}" == "[1. 1.]"
    assert repr(fnp.asarray([1, 2])) == "Array([1, 2], dtype=int32)" and "weak_type=True" in repr(fnp.asarray(1))
    assert (
        fnp.arange(3).tolist() == [0, 1, 2]
        and fnp.ones((), "f16").item() == 1.0
        and fnp.arange(6).reshape(2, 3).item(1, 2) == 5
    )


def test_buffers() -> None:
    x = fnp.arange(3.0)
    view = x.__buffer__(0)
    assert view.readonly and view.tolist() == [0.0, 1.0, 2.0] and view.format == "f"
    if sys.version_info >= (3, 12):
        assert memoryview(x).tolist() == [0.0, 1.0, 2.0]
    plain = np.asarray(x)
    assert not plain.flags.writeable and np.shares_memory(plain, np.asarray(x))
    copied = np.array(x)
    copied[0] = 7
    assert x.tolist() == [0, 1, 2]
    assert np.asarray(x, "f8").dtype == np.float64
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(x, "f8", copy=False)


# --- NumPy's protocols ----------------------------------------------------------------------------


def test_ufuncs() -> None:
    x = fnp.asarray(X)
    for ufunc in (
        np.sin,
        np.exp,
        np.fabs,
        np.rint,
        np.signbit,
        np.isfinite,
        np.conjugate,
        np.deg2rad,
        np.cbrt,
        np.spacing,
        np.positive,
    ):
        got = ufunc(x)
        assert isinstance(got, fdl.Array)
        np.testing.assert_allclose(np.asarray(got), ufunc(X), rtol=1e-12)
    for ufunc in (
        np.add,
        np.hypot,
        np.fmax,
        np.logaddexp,
        np.copysign,
        np.arctan2,
        np.float_power,
        np.heaviside,
        np.nextafter,
        np.less,
    ):
        for args in ((x, X), (X, x), (x, 2.0), (np.float64(2), x)):
            got = ufunc(*args)
            assert isinstance(got, fdl.Array)
            with np.errstate(invalid="ignore"):
                np.testing.assert_allclose(np.asarray(got), ufunc(*(np.asarray(a) for a in args)), rtol=1e-12)
    assert [v.tolist() for v in np.divmod(fnp.asarray([7, -7]), 2)] == [[3, -4], [1, 1]]
    assert isinstance(np.matmul(X, x.T), fdl.Array) and np.vecdot(x, x).shape == (2,)
    for ufunc, axis in ((np.add, 0), (np.multiply, 1), (np.maximum, None), (np.minimum, -1)):
        got = ufunc.reduce(x, axis=axis)
        assert isinstance(got, fdl.Array)
        np.testing.assert_allclose(np.asarray(got), ufunc.reduce(X, axis=axis), rtol=1e-12)
    np.testing.assert_allclose(np.asarray(np.add.accumulate(x, axis=1)), np.cumsum(X, 1), rtol=1e-12)
    assert isinstance(np.subtract.outer(x, X), fdl.Array) and np.subtract.outer(x, X).shape == (2, 3, 2, 3)
    # Without a counterpart, NumPy's own, on the values.
    got = np.add(x, 1.0, where=np.array([True, False, True]), out=np.zeros((2, 3)))
    assert isinstance(got, np.ndarray) and got[0, 1] == 0
    assert isinstance(np.subtract.reduce(x), fdl.Array) and np.subtract.reduce(x).tolist() == np.subtract.reduce(X).tolist()
    plain = np.zeros((2, 3))
    plain += x
    assert isinstance(plain, np.ndarray) and np.array_equal(plain, X)


def test_array_functions() -> None:
    x = fnp.asarray(X)
    cases: list[tuple[Any, tuple[Any, ...]]] = [
        (np.concatenate, ([x, X],)), (np.stack, ([x, x],)), (np.where, (x > 0, x, X)), (np.clip, (x, -1, 1)), (np.sum, (x, 0)),
        (np.mean, (x,)), (np.sort, (x,)), (np.tril, (x,)), (np.take, (x, np.array([0]))), (np.transpose, (x,)), (np.zeros_like, (x,)),
        (np.searchsorted, (fnp.arange(3.0), np.array([1.5]))), (np.diff, (x,)), (np.unwrap, (x,)), (np.isclose, (x, X)), (np.outer, (x, x)),
        (np.nan_to_num, (x,)), (np.trapezoid, (x,)), (np.roll, (x, 1)), (np.moveaxis, (x, 0, 1)), (np.tensordot, (x, x, 2)),
        (np.broadcast_to, (x, (2, 2, 3))), (np.var, (x,)), (np.ptp, (x,)), (np.argsort, (x,)), (np.round, (x, 1)), (np.tile, (x, 2)),
        (np.unique_values, (x,)), (np.linalg.norm, (x,)),
    ]  # fmt: skip
    for f, args in cases:
        got = f(*args)
        want = f(
            *(
                np.asarray(a) if isinstance(a, fdl.Array) else [np.asarray(v) for v in a] if isinstance(a, list) else a
                for a in args
            )
        )
        assert np.shape(got) == np.shape(want), f.__name__
        np.testing.assert_allclose(
            np.asarray(got), np.sort(want) if f is np.unique_values else want, rtol=1e-12, err_msg=f.__name__
        )
    assert isinstance(np.concatenate([X, x]), fdl.Array) and np.shape(x) == (2, 3) and np.ndim(x) == 2 and np.size(x) == 6
    assert np.result_type(np.asarray(x)) == np.float64 and np.iscomplexobj(x) is False


def test_protocols_on_tracers() -> None:
    y = fdl.jit(lambda v: np.concatenate([np.sin(v), X]) + np.add.reduce(v, axis=0) + np.mean(v))(X)
    np.testing.assert_allclose(np.asarray(y), np.concatenate([np.sin(X), X]) + X.sum(0) + X.mean(), rtol=1e-12)
    np.testing.assert_allclose(np.asarray(fdl.grad(lambda v: np.sum(np.exp(v) * X))(X)), np.exp(X) * X, rtol=1e-12)
    for call in (lambda v: np.subtract.reduce(v), lambda v: np.add(v, 1.0, where=X > 0), lambda v: np.may_share_memory(v, v)):
        with pytest.raises(
            (TypeError, ValueError, RuntimeError), match=r"(?s)(cannot be traced|while tracing|static|known|traced)"
        ):
            fdl.jit(call)(X)


def test_in_place_operators_bind_a_new_array() -> None:
    x = y = fnp.arange(3)
    x += 1
    x *= 2
    x -= 1
    x //= 2
    x **= 2
    x %= 3
    x |= 4
    assert x.dtype == y.dtype == fnp.int32 and y.tolist() == [0, 1, 2] and x.tolist() == [4, 5, 5]
    with pytest.raises(TypeError):
        x += "a"
