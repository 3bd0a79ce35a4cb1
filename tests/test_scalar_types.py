"""The dtypes' names of `fdl.numpy`: called they make arrays, and everywhere else they stand for the dtype."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl.tracer import dtypes

TYPES = [getattr(fnp, d.name if d != dtypes.bool_ else "bool_") for d in dtypes.ALL]
REAL = [t for t in TYPES if t.kind != "c"]


@pytest.mark.parametrize("t", TYPES, ids=repr)
def test_a_call_makes_an_array(t: Any) -> None:
    for x in (1, 1.0, True, np.int64(1), np.ones(()), fnp.ones(())):
        y = t(x)
        assert isinstance(y, fdl.Array) and y.shape == () and y.dtype == t and not y.weak_type and y.tolist() == 1
    assert t([[0, 1], [1, 0]]).tolist() == [[0, 1], [1, 0]] and t(np.ones((2, 0))).shape == (2, 0)
    compiled = fdl.jit(t)(np.ones(3, np.float32))
    assert compiled.dtype == t and compiled.tolist() == [1, 1, 1]
    assert fdl.vmap(t)(np.ones(3, np.float32)).dtype == t


def test_calls_convert_as_asarray_does() -> None:
    assert fnp.int8(3.7).tolist() == 3 and fnp.bool(2).tolist() is True and fnp.float16(2**0.5).tolist() == float(np.float16(2**0.5))
    assert float(fdl.grad(lambda x: fnp.float64(x) ** 2)(3.0)) == 6.0
    with pytest.raises(OverflowError, match=r"^int8: the Python integer 300 does not fit in int8: expected -128 to 127"):
        fnp.int8(300)
    with pytest.raises(TypeError, match="complex64 cannot become float32"):
        fnp.float32(1j)
    with pytest.raises(TypeError, match="expected an array or a number"):
        fnp.float32(object())


@pytest.mark.parametrize("t", TYPES, ids=repr)
def test_it_is_the_dtype(t: Any) -> None:
    d = np.dtype(t)
    assert type(d) is type(dtypes.of(t)) and t.dtype is d and d == t and t == d and t == t.type and t == d.name
    assert hash(t) == hash(d) and {t: 1}[d] == {d: 1}[t] == 1
    assert all((t == other) == (t is other) and (t != other) == (t is not other) for other in TYPES)
    assert not (t == 3 or t == "nonsense" or t is None)
    assert (t.name, t.itemsize, t.kind, t.type) == (d.name, d.itemsize, d.kind, d.type)
    assert pickle.loads(pickle.dumps(t)) is t and copy.deepcopy(t) is t and repr(t) == f"fdl.numpy.{d.name}"
    with pytest.raises(AttributeError):
        t.dtype = d


@pytest.mark.parametrize("t", TYPES, ids=repr)
def test_functions_take_it_as_a_dtype(t: Any) -> None:
    d, x = np.dtype(t), fnp.ones(2)
    results = [
        x.astype(t), fnp.astype(x, t), fnp.asarray([1], t), fnp.zeros(2, t), fnp.full(2, 1, dtype=t), fnp.sum(fnp.ones(2), dtype=t),
        fnp.ones_like(x, t), fnp.array([1], dtype=t),
    ]  # fmt: skip
    assert {r.dtype for r in results} == {d}
    assert np.zeros(2, t).dtype == np.ones(2).astype(t).dtype == d
    assert fnp.result_type(t) == fnp.promote_types(t, t) == fnp.result_type(t, x.astype(t)) == d
    assert fnp.isdtype(t, t) and fnp.isdtype(d, t) and fnp.can_cast(t, t) and fnp.issubdtype(t, t)
    assert fdl.jit(lambda x: x.astype(t))(x).dtype == d
    assert fdl.jit(lambda x, dtype: x.astype(dtype), static_argnames="dtype")(x, dtype=t).dtype == d
    if dtypes.is_float(d):
        assert fnp.finfo(t) == fnp.finfo(d)
    elif dtypes.is_int(d):
        assert fnp.iinfo(t) == fnp.iinfo(d)


def test_promotion_is_that_of_dtypes() -> None:
    for a in TYPES:
        for b in TYPES:
            assert fnp.result_type(a, b) == fnp.result_type(a.dtype, b.dtype) == fnp.promote_types(a, b)
    assert fnp.result_type(fnp.float16, 2.5) == fnp.float16 and fnp.result_type(fnp.int32, 2.5) == fnp.float32


def test_the_namespace_names_the_same_dtypes() -> None:
    for name, d in fnp.__array_namespace_info__().dtypes().items():
        assert getattr(fnp, name) == d
    assert fnp.__array_namespace_info__().dtypes(kind=fnp.int8) == {"int8": np.dtype("int8")}
    assert (fnp.single, fnp.double, fnp.bool, fnp.int_, fnp.csingle) == (fnp.float32, fnp.float64, fnp.bool_, fnp.int32, fnp.complex64)


def test_keys_and_random_numbers_take_it() -> None:
    k = fdl.random.key(0)
    assert fdl.random.normal(k, (2,), fnp.float64).dtype == fnp.float64 and fdl.random.bits(k, (2,), fnp.uint8).dtype == fnp.uint8


@pytest.mark.parametrize("wrong", [lambda t: t + 1, lambda t: fnp.add(t, 1), lambda t: fdl.jit(lambda x: x)(t)])
def test_it_is_no_array(wrong: Any) -> None:
    with pytest.raises(TypeError):
        wrong(fnp.float32)
