"""The compiled call path: what fits, what is returned, what is kept alive. Native and plain versions behave alike."""

from __future__ import annotations

import collections
import copy
import ctypes
import functools
import gc
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdl.backends.llvm import callpath, layout, pool, runtime
from fdl.backends.llvm.callpath import ArrayArg, Entry, NumpyArg, Out, Output, ScalarArg, Static
from fdl.backends.llvm.callpath_native import native_type
from fdl.backends.llvm.callpath_plain import PlainDispatcher
from fdl.backends.llvm.entries import spec_leaves

F32, F64, I32, I64, U64, BOOL = (np.dtype(n) for n in ("f4", "f8", "i4", "i8", "u8", "?"))
BF16 = np.dtype(ml_dtypes.bfloat16)


class Array:
    """Has the slots of fdl.Array."""

    __slots__ = ("__weakref__", "_consumed", "_stored", "_weak")

    def __init__(self, data: Any, weak: bool = False) -> None:
        data = np.array(data, order="C")
        data.flags.writeable = False
        self._stored, self._weak, self._consumed = data, weak, None

    @property
    def _data(self) -> Any:
        """The ndarray, None when consumed."""
        if hasattr(self._stored, "array"):
            self._stored = self._stored.array()
        return self._stored


class Sub(Array):
    __slots__ = ()


class Point(NamedTuple):
    x: Any
    y: Any


class Other(NamedTuple):
    x: Any
    y: Any


KINDS = ["plain"] if callpath.why_plain() else ["native", "plain"]


def kind_of(name: str) -> Any:
    return native_type() if name == "native" else PlainDispatcher


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Any:
    return kind_of(request.param)


class Missed(Exception):
    """Raised by the slow path of these tests; holds its arguments."""


def slow(*args: Any, **kwargs: Any) -> Any:
    raise Missed(args, kwargs)


Body = Callable[[Any, list[Any]], "int | None"]


def program(body: Body, count: int) -> Any:
    """A program written in Python: `body(frame, pointers)`; the frame is an array of sixteen words."""

    def run(frame: int, buffers: int) -> int:
        pointers = list((ctypes.c_void_p * count).from_address(buffers)) if count else []
        return body((ctypes.c_int64 * 16).from_address(frame), pointers) or 0

    return ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)(run)


def view(pointer: Any, dtype: Any, shape: Any = ()) -> np.ndarray[Any, Any]:
    """The memory at a pointer as an array."""
    dtype = np.dtype(dtype)
    nbytes = int(np.prod(shape, dtype=int)) * dtype.itemsize
    return np.frombuffer((ctypes.c_char * nbytes).from_address(pointer or 1), dtype).reshape(shape)


def entry(body: Body, args: tuple[Any, ...], outputs: tuple[Output, ...] = (), result: Any = None, **options: Any) -> Entry:
    leaves = [leaf for spec in (*args, *options.get("kwargs", {}).values()) for leaf in spec_leaves(spec)]
    inputs = sum(getattr(leaf, "slot", None) is not None for leaf in leaves)
    thunk = program(body, inputs + len(options.get("consts", ())) + len(outputs))
    address = ctypes.cast(thunk, ctypes.c_void_p).value or 0
    return Entry(args, address, outputs, result, inputs, owner=thunk, **options)


def nothing(frame: Any, pointers: list[Any]) -> None:
    """A program without effect."""


def dispatcher(kind: Any, *entries: Entry, **options: Any) -> Any:
    d = kind(slow, array_type=Array, **options)
    for e in reversed(entries):
        d.add(e)
    return d


# --- matching -----------------------------------------------------------------------------------------

A = functools.partial(ArrayArg, dtype=F32, shape=(2, 3))
x = Array(np.arange(6, dtype=np.float32).reshape(2, 3))


def test_layout_is_known() -> None:
    """CPython with its lock, on Linux, must have the native path: otherwise the tests below prove nothing."""
    if sys.implementation.name == "cpython" and pool.gil_enabled() and sys.platform == "linux":
        assert callpath.why_plain() is None
        assert callpath.Dispatcher is native_type()


def test_a_hit_reads_the_arguments_and_fills_the_outputs(kind: Any) -> None:
    def double(frame: Any, p: list[Any]) -> None:
        view(p[1], F32, (2, 3))[...] = 2 * view(p[0], F32, (2, 3))

    d = dispatcher(kind, entry(double, (A(0),), (Output(F32, (2, 3), weak=True),), Out(0)))
    y = d(x)
    assert type(y) is Array and y._weak is True and y._consumed is None
    assert type(y._data) is np.ndarray and not y._data.flags.writeable and y._data.flags.c_contiguous and y._data.flags.aligned
    np.testing.assert_array_equal(y._data, 2 * x._data)
    assert (d.hits, d.misses) == (1, 0)
    with pytest.raises(Missed) as caught:
        d(x, 1, key=2)
    assert caught.value.args == ((x, 1), {"key": 2})
    assert (d.hits, d.misses) == (1, 1)


def test_without_entries_every_call_is_slow(kind: Any) -> None:
    d = kind(lambda *a, **k: (a, k), array_type=Array)
    assert d() == ((), {})
    assert d(1, x, k=None) == ((1, x), {"k": None})
    assert d.misses == 2 and d.entries == ()


SPEC = {"b": [A(0), None], "a": (A(1), Point(A(2), {"z": A(3)})), "c": ScalarArg(4, float, F32)}


def arrays(n: int) -> list[Array]:
    return [Array(np.full((2, 3), i, np.float32)) for i in range(n)]


def argument(leaves: list[Array]) -> Any:
    a = leaves
    return {"b": [a[0], None], "a": (a[1], Point(a[2], {"z": a[3]})), "c": 4.0}


def firsts(pointers: list[Any], n: int) -> list[float]:
    return [float(view(p, F32)) for p in pointers[:n]]


def test_containers_in_any_key_order(kind: Any) -> None:
    seen: list[list[float]] = []
    d = dispatcher(kind, entry(lambda f, p: seen.append(firsts(p, 5)), (SPEC,)))
    good = argument(arrays(4))
    d(good)
    d(dict(reversed(good.items())))
    d({"".join(k): v for k, v in good.items()} | {"c": 4.0})
    d({bytes([ord(k)]).decode("utf-8"): v for k, v in good.items()})
    assert seen == [[0.0, 1.0, 2.0, 3.0, 4.0]] * 4


def broken() -> list[Any]:
    a = arrays(4)

    def change(**parts: Any) -> Any:
        return argument(a) | parts

    class Keys(dict[Any, Any]):
        pass

    class Name(str):
        __slots__ = ()

    good = argument(a)
    less = {k: v for k, v in good.items() if k != "c"}
    return [
        change(d=1), less, {**less, "C": 4.0}, {**less, 3: 4.0}, {**less, Name("c"): 4.0},
        Keys(good), collections.OrderedDict(good), list(good.values()), None, 5, a[0],
        change(b=(a[0], None)), change(b=[a[0]]), change(b=[a[0], None, None]), change(b=[a[0], 0]), change(b=[None, a[0]]),
        change(a=[a[1], Point(a[2], {"z": a[3]})]), change(a=(a[1], Other(a[2], {"z": a[3]}))),
        change(a=(a[1], (a[2], {"z": a[3]}))),
        change(a=(a[1], Point(a[2], {"z": a[3], "y": 1}))), change(a=(a[1], Point(a[2], {}))), change(a=(a[1],)),
        change(c=4), change(c=True), change(c=np.float64(4)), change(c=np.float32(4)), change(c=a[0]), change(c=None),
    ]  # fmt: skip


@pytest.mark.parametrize("index", range(len(broken())))
def test_other_containers_are_slow(kind: Any, index: int) -> None:
    d = dispatcher(kind, entry(nothing, (SPEC,)))
    value = broken()[index]
    with pytest.raises(Missed) as caught:
        d(value)
    assert caught.value.args == ((value,), {})


def wrong_arrays() -> list[Any]:
    data = x._data
    gone = Array(data)
    gone._stored, gone._consumed = None, "`f`"
    marked = Array(data)
    marked._consumed = "`f`"
    bare = object.__new__(Array)
    device = Array(data)
    device._stored = object()
    matrix = Array(data)
    matrix._stored = data.view(np.matrix)
    return [
        Sub(data), Array(data, weak=True), gone, marked, device, matrix, bare, data, data.tolist(), 1.0, None,
        Array(data.astype(np.float64)), Array(data.astype(np.int32)), Array(data.astype(">f4")),
        Array(data[0]), Array(data[None]), Array(data.T), Array(data.reshape(6)), Array(np.zeros((2, 4), np.float32)),
        Array(np.zeros((0, 3), np.float32)), "x", Array,
    ]  # fmt: skip


@pytest.mark.parametrize("index", range(len(wrong_arrays())))
def test_other_arrays_are_slow(kind: Any, index: int) -> None:
    d = dispatcher(kind, entry(nothing, (A(0),)))
    value = wrong_arrays()[index]
    if index == 6 and kind is PlainDispatcher:
        return  # an instance that was never initialised: only the native path must survive it
    with pytest.raises(Missed):
        d(value)
    d(x)


def test_weak_arrays_and_other_dtypes(kind: Any) -> None:
    for dtype in (F32, F64, I32, BOOL, BF16, np.dtype("c8")):
        for shape in ((), (0,), (1, 1, 2, 1, 3)):
            data = np.ones(shape, dtype)
            d = dispatcher(kind, entry(nothing, (ArrayArg(0, dtype, shape, weak=True),), (Output(dtype, shape),), Out(0)))
            y = d(Array(data, weak=True))
            assert y._data.dtype == dtype and y._data.shape == shape and y._weak is False


def test_another_descriptor_of_the_same_dtype_fits(kind: Any) -> None:
    other = np.dtype("f4", metadata={"note": 1})
    assert other is not F32
    d = dispatcher(kind, entry(nothing, (A(0),)))
    d(Array(x._data.view(other)))
    assert d.hits == 1


def test_numpy_arrays(kind: Any) -> None:
    seen: list[float] = []
    d = dispatcher(kind, entry(lambda f, p: seen.append(float(view(p[0], F32, (2, 3)).sum())), (NumpyArg(0, F32, (2, 3)),)))
    good = np.arange(6, dtype=np.float32).reshape(2, 3)
    d(good)
    d(x._data)
    assert seen == [15.0, 15.0]
    raw = np.zeros(25, np.uint8)
    misaligned = raw[1:25].view(np.float32).reshape(2, 3)
    wide = np.zeros((2, 6), np.float32)
    for bad in (
        misaligned,
        wide[:, ::2],
        good.T.copy().T,
        good.astype(">f4"),
        good.view(np.matrix),
        good[None],
        x,
        good.astype(F64),
    ):
        with pytest.raises(Missed):
            d(bad)


@pytest.mark.parametrize(
    ("kind_", "dtype", "good", "bad"),
    [
        (float, F32, [0.0, -1.5, 1e30, 1e300, float("inf"), 1e-45], [1, True, np.float64(1), "1", None, 1j]),
        (float, F64, [0.1, 1e300], [1]),
        (int, I32, [0, -1, 2**31 - 1, -(2**31)], [2**31, -(2**31) - 1, 2**63, 2**80, True, 1.0, np.int32(3)]),
        (int, I64, [2**31, -(2**31) - 1, 2**63 - 1, -(2**63)], [0, 5, 2**63, -(2**63) - 1, 2**200]),
        (int, U64, [2**63, 2**64 - 1], [0, 2**63 - 1, 2**64, -(2**63) - 1, -(2**100)]),
        (bool, BOOL, [True, False], [0, 1, np.True_, None]),
        (complex, np.dtype("c8"), [1j, 0.5 - 2j], [1.0, 1]),
        (complex, np.dtype("c16"), [1j, 0.1 - 2j], [1.0]),
    ],
)
def test_scalars(kind: Any, kind_: type, dtype: Any, good: list[Any], bad: list[Any]) -> None:
    seen: list[Any] = []
    spec = ScalarArg(0, kind_, dtype)
    d = dispatcher(kind, entry(lambda f, p: seen.append(view(p[0], dtype).copy()), (spec,)))
    for value in good:
        d(value)
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(seen.pop(), np.asarray(value).astype(dtype))
    for value in bad:
        with pytest.raises(Missed):
            d(value)
    assert sys.exc_info() == (None, None, None)


@pytest.mark.parametrize(
    ("dtype", "limits", "good", "bad"),
    [
        (I32, (-128, 127), [-128, 0, 127], [-129, 128, 2**31, -(2**63), 2**64]),
        (I32, (0, 2**64 - 1), [0, 2**31 - 1], [-1, 2**31]),
        (I64, (0, 2**32 - 1), [2**31, 2**32 - 1], [5, -1, 2**32, 2**63 - 1, 2**63]),
        (I64, (0, 2**64 - 1), [2**31, 2**63 - 1], [-(2**40), 2**63]),
    ],
)
def test_limits_of_scalars(kind: Any, dtype: Any, limits: tuple[int, int], good: list[int], bad: list[int]) -> None:
    seen: list[Any] = []
    d = dispatcher(kind, entry(lambda f, p: seen.append(view(p[0], dtype).item()), (ScalarArg(0, int, dtype, limits),)))
    for value in good:
        d(value)
        assert seen.pop() == value
    for value in bad:
        with pytest.raises(Missed):
            d(value)


def test_scalar_arguments_that_make_no_sense() -> None:
    with pytest.raises(TypeError, match="limits are for an int, got float"):
        ScalarArg(0, float, F32, (0, 1))
    with pytest.raises(TypeError, match="a Python float is passed as float32, float64, not as float16"):
        ScalarArg(0, float, np.dtype("f2"))
    with pytest.raises(TypeError, match="expected bool, int, float or complex"):
        ScalarArg(0, str, F32)


class Loose:
    """Equal to every Loose of the same number, and counts comparisons."""

    def __init__(self, number: int, effect: Callable[[], Any] = lambda: None) -> None:
        self.number, self.effect = number, effect

    def __eq__(self, other: object) -> bool:
        self.effect()
        return isinstance(other, Loose) and other.number == self.number

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("value", "same", "different"),
    [
        ("relu", ["re" + "lu"[:]], ["tanh", 0, None, b"relu"]),
        (3, [int("3")], [3.0, True, 4, "3"]),
        (1, [1], [True, 1.0]),
        (True, [True], [1, False]),
        (0.0, [float("0")], [-0.0, 0, False]),
        (float("nan"), [float("nan")], [0.0]),
        (None, [None], [0, False, ()]),
        (
            (1, "a", (2.5,)),
            [(int("1"), "a", (float("2.5"),))],
            [(1, "a", [2.5]), (1.0, "a", (2.5,)), (True, "a", (2.5,)), (1, "a"), 1],
        ),
        ((), [()], [[], None]),
        (Loose(1), [Loose(1)], [Loose(2), 1]),
        (frozenset({1, 2}), [frozenset({2, 1})], [frozenset({1})]),
        (np.arange(3), [], [np.arange(3)]),  # the comparison has no truth value
        (len, [len], [max]),
        (10**30, [10**15 * 10**15], [10**30 + 1]),
    ],
)
def test_static_values(kind: Any, value: Any, same: list[Any], different: list[Any]) -> None:
    d = dispatcher(kind, entry(nothing, (A(0), Static(value))))
    for v in (value, *same):
        d(x, v)
    for v in different:
        with pytest.raises(Missed):
            d(x, v)
    assert sys.exc_info() == (None, None, None)


def test_static_values_inside_containers(kind: Any) -> None:
    loose = Loose(1)
    d = dispatcher(kind, entry(nothing, ([A(0), Static("s"), Static(loose)],)))
    d([x, "".join("s"), loose])
    for bad in ([x, "t", loose], [x, "s", Loose(1)]):
        with pytest.raises(Missed):
            d(bad)


def test_keywords_in_any_order(kind: Any) -> None:
    seen: list[list[float]] = []
    body: Body = lambda f, p: seen.append(firsts(p, 4))  # noqa: E731
    d = dispatcher(kind, entry(body, (A(0),), kwargs={"u": A(1), "v": A(2), "w": {"k": A(3)}}))
    a, b, c, e = arrays(4)
    d(a, u=b, v=c, w={"k": e})
    d(a, w={"k": e}, v=c, u=b)
    d(a, **{"".join(["v", ""]): c, "w": {"k": e}, "u": b})

    class Name(str):
        __slots__ = ()

    d(a, **{Name("w"): {"k": e}, Name("v"): c, Name("u"): b})
    assert seen == [[0.0, 1.0, 2.0, 3.0]] * 4
    for args, kwargs in [
        ((a, b), {"v": c, "w": {"k": e}}), ((a,), {"u": b, "v": c}), ((a,), {"u": b, "v": c, "t": {"k": e}}),
        ((), {"u": b, "v": c, "w": e}),
        ((a,), {"u": b, "v": c, "w": {"k": e}, "t": 1}), ((a,), {}),
    ]:  # fmt: skip
        with pytest.raises(Missed) as caught:
            d(*args, **kwargs)
        assert caught.value.args == (args, kwargs)


def test_unused_arguments_are_checked_but_not_passed(kind: Any) -> None:
    seen: list[float] = []
    spec = (A(None), {"k": A(0), "u": A(None)}, ScalarArg(None, int, I32), NumpyArg(None, F64, ()))
    d = dispatcher(kind, entry(lambda f, p: seen.append(float(view(p[0], F32))), spec))
    a, b, c = arrays(3)
    d(a, {"k": b, "u": c}, 5, np.array(1.0))
    assert seen == [1.0]
    for args in [
        (1, {"k": b, "u": c}, 5, np.array(1.0)),
        (a, {"k": b, "u": 0}, 5, np.array(1.0)),
        (a, {"k": b, "u": c}, 5.0, np.array(1.0)),
    ]:
        with pytest.raises(Missed):
            d(*args)


def test_no_arguments(kind: Any) -> None:
    d = dispatcher(kind, entry(nothing, (), (), Static("constant")))
    assert d() == "constant"
    with pytest.raises(Missed):
        d(None)


values = st.deferred(
    lambda: st.one_of(
        st.sampled_from(["f32", "f64", "numpy", "weak"]), st.none(), st.floats(allow_nan=False, width=32),
        st.integers(-5, 5), st.booleans(),
        st.lists(values, max_size=3), st.tuples(values, values), st.tuples(values), st.builds(Point, values, values),
        st.dictionaries(st.sampled_from("abcde"), values, max_size=4),
    )
)  # fmt: skip


def realise(value: Any) -> Any:
    """The argument that a drawn value stands for."""
    makers: dict[str, Callable[[], Any]] = {
        "f32": lambda: Array(np.float32(7)), "f64": lambda: Array(np.ones(3)), "weak": lambda: Array(np.int32(9), True),
        "numpy": lambda: np.arange(4, dtype=np.int32),
    }  # fmt: skip
    if isinstance(value, str):
        return makers[value]()
    if isinstance(value, Point):
        return Point(*map(realise, value))
    if isinstance(value, (list, tuple)):
        return type(value)(map(realise, value))
    return {k: realise(v) for k, v in value.items()} if isinstance(value, dict) else value


def specify(value: Any, slots: list[int]) -> Any:
    """The specification that fits an argument; counts slots in `slots`."""
    if isinstance(value, (Array, np.ndarray, bool, int, float)):
        slots.append(len(slots))
    match value:
        case Array():
            return ArrayArg(slots[-1], value._data.dtype, value._data.shape, value._weak)
        case np.ndarray():
            return NumpyArg(slots[-1], value.dtype, value.shape)
        case bool():
            return ScalarArg(slots[-1], bool, BOOL)
        case int():
            return ScalarArg(slots[-1], int, I32)
        case float():
            return ScalarArg(slots[-1], float, F32)
        case Point():
            return Point(*[specify(v, slots) for v in value])
        case list() | tuple():
            return type(value)(specify(v, slots) for v in value)
        case dict():
            return {k: specify(v, slots) for k, v in value.items()}
    return None


@settings(max_examples=300, deadline=None)
@given(st.lists(values, min_size=1, max_size=3), st.lists(values, min_size=1, max_size=3), st.booleans())
def test_native_and_plain_agree(first: list[Any], second: list[Any], keywords: bool) -> None:
    """An entry made for one call fits it, and fits another call exactly where the plain version says so."""
    args, others = [realise(v) for v in first], [realise(v) for v in second]
    slots: list[int] = []
    specs = tuple(specify(a, slots) for a in args)
    outcomes = []
    for kind in (kind_of(name) for name in KINDS):
        seen: list[Any] = []
        body: Body = lambda f, p, seen=seen: seen.append([view(q, np.uint8).item() for q in p])  # type: ignore[misc] # noqa: E731
        if keywords:
            d = dispatcher(kind, entry(body, (), kwargs={f"k{i}": s for i, s in enumerate(specs)}))
            d(**{f"k{i}": a for i, a in enumerate(args)})
        else:
            d = dispatcher(kind, entry(body, specs))
            d(*args)
        assert len(seen) == 1
        try:
            d(**{f"k{i}": a for i, a in enumerate(others)}) if keywords else d(*others)
        except Missed:
            seen.append("miss")
        outcomes.append(seen)
    assert all(o == outcomes[0] for o in outcomes)


# --- results ----------------------------------------------------------------------------------------


def numbers(frame: Any, p: list[Any]) -> None:
    for i, pointer in enumerate(p):
        view(pointer, F32)[...] = i


def plain_value(tree: Any) -> Any:
    """A result with its arrays read."""
    if isinstance(tree, Array):
        return float(tree._data)
    if isinstance(tree, Point):
        return Point(*map(plain_value, tree))
    if isinstance(tree, (list, tuple)):
        return type(tree)(map(plain_value, tree))
    return {k: plain_value(v) for k, v in tree.items()} if isinstance(tree, dict) else tree


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (None, None),
        (Out(2), 2.0),
        ((), ()),
        ([], []),
        ({}, {}),
        ((Out(0), Out(1)), (0.0, 1.0)),
        ([Out(2), Out(0), None], [2.0, 0.0, None]),
        ({"b": Out(0), "a": Out(1)}, {"b": 0.0, "a": 1.0}),
        (Point(Out(1), (Out(0), [Out(2)])), Point(1.0, (0.0, [2.0]))),
        (
            {"p": [(), {"q": Point(None, {})}], "s": Static("text"), "o": (Out(0), Out(0))},
            {"p": [(), {"q": Point(None, {})}], "s": "text", "o": (0.0, 0.0)},
        ),
    ],
)
def test_results(kind: Any, result: Any, expected: Any) -> None:
    d = dispatcher(kind, entry(numbers, (), (Output(F32, ()),) * 3, result))
    for _ in range(3):
        got = d()
        assert plain_value(got) == expected
        assert type(got) is type(expected) or isinstance(got, Array)
        if isinstance(got, dict):
            assert list(got) == list(expected)
        assert gc.is_tracked(got) or not isinstance(got, list)
    if isinstance(got, (list, dict)):
        assert d() is not got
    hash(d()) if isinstance(expected, tuple) and not expected else None


def test_an_output_named_twice_is_one_array(kind: Any) -> None:
    a, b = dispatcher(kind, entry(numbers, (), (Output(F32, ()),), (Out(0), Out(0))))()
    assert a is b


@pytest.mark.parametrize("dtype", [F32, BF16, BOOL])
def test_large_outputs_live_in_recycled_memory(kind: Any, dtype: Any) -> None:
    def fill(frame: Any, p: list[Any]) -> None:
        view(p[0], np.uint8, 300 * 500 * dtype.itemsize)[...] = 1

    d = dispatcher(kind, entry(fill, (), (Output(dtype, (300, 500)),), Out(0)))
    used = pool.stats().used
    y = d()
    assert pool.stats().used > used
    data = y._data
    assert data.shape == (300, 500) and data.dtype == dtype and data.ctypes.data % 64 == 0
    assert not data.flags.writeable and not data.flags.owndata and data.flags.c_contiguous and data.flags.aligned
    assert (data.view(np.uint8) == 1).all()
    if kind is not PlainDispatcher:
        with pytest.raises(ValueError, match="WRITEABLE"):
            data.flags.writeable = True
    part = data[3:]
    del y, data
    assert pool.stats().used > used
    z = d()
    assert not np.shares_memory(z._data, part)
    del part, z
    assert pool.stats().used == used
    made = pool.stats().made
    for _ in range(10):
        d()
    assert pool.stats().made == made


def test_outputs_are_new_each_time(kind: Any) -> None:
    d = dispatcher(kind, entry(numbers, (), (Output(F32, (4,)),), Out(0)))
    a, b = d(), d()
    assert a is not b and not np.shares_memory(a._data, b._data)
    assert a._data.flags.owndata


def test_constants_and_the_frame(kind: Any) -> None:
    consts = (np.array([5.0], np.float32), np.arange(3))

    def body(frame: Any, p: list[Any]) -> None:
        assert float(view(p[1], F32)) == 5.0 and view(p[2], I64, (3,)).tolist() == [0, 1, 2]
        assert frame[0] % 64 == 0 and frame[0] != 0
        assert list(frame)[1:9] == [0, 2**63 - 1, *list(frame)[3:7], 0, 0]
        assert (frame[10], frame[12]) == (123, 3)
        seen.append(frame[9])
        ctypes.memset(frame[0], 7, arena)
        view(p[3], F32)[...] = 1.0

    for arena in (1, 64, 1000, 4096, 5000, 1 << 20):
        for release in (False, True):
            seen: list[int] = []
            options: dict[str, Any] = {
                "consts": consts,
                "callback": 123,
                "max_threads": 3,
                "arena_bytes": arena,
                "release": release,
            }
            d = dispatcher(kind, entry(body, (A(0),), (Output(F32, ()),), Out(0), **options))
            before = pool.stats().used
            y = d(x)
            assert float(y._data) == 1.0 and pool.stats().used == before
            assert seen == ([runtime.host().address("fdl_check_signals")] if release else [0])
    seen = []
    arena = 64
    dispatcher(kind, entry(body, (A(0),), (Output(F32, ()),), Out(0), poll=4567, **options))(x)
    assert seen == [4567]


def test_huge_entries(kind: Any) -> None:
    """More leaves than fit on the stack."""
    n = 6000

    def body(frame: Any, p: list[Any]) -> None:
        assert [float(view(p[i], F32)) for i in (0, 1, n - 1)] == [0.0, 1.0, n - 1]
        view(p[n + 5], F32)[...] = 3.0

    spec = ([ArrayArg(i, F32, ()) for i in range(n)],)
    d = dispatcher(kind, entry(body, spec, (Output(F32, ()),) * 10, [Out(i) for i in range(10)]), entry(nothing, (A(0),)))
    got = d([Array(np.float32(i)) for i in range(n)])
    assert float(got[5]._data) == 3.0
    assert d(x) is None
    with pytest.raises(Missed):
        d([])


# --- failures ---------------------------------------------------------------------------------------


def failing(frame: Any, p: list[Any]) -> int:
    frame[2], frame[3], frame[4], frame[5], frame[6] = 1, 42, 7, -8, 9
    return 1


def test_a_failed_check_goes_to_on_failure(kind: Any) -> None:
    calls: list[Any] = []

    def on_failure(e: Entry, status: int, site: int, values: tuple[int, int, int]) -> Any:
        calls.append((e, status, site, values))
        if raises:
            raise IndexError("index 7 is out of bounds")
        return "instead"

    e = entry(failing, (A(0),), (Output(F32, (300, 300)),), Out(0), on_failure=on_failure, arena_bytes=100_000)
    d = dispatcher(kind, e)
    used = pool.stats().used
    raises = True
    for _ in range(3):
        with pytest.raises(IndexError, match="out of bounds"):
            d(x)
    raises = False
    assert d(x) == "instead"
    assert calls == [(e, 1, 42, (7, -8, 9))] * 4
    assert pool.stats().used == used
    with pytest.raises(RuntimeError, match="status 1 at site 42"):
        dispatcher(kind, entry(failing, ()))()


def test_a_stop_is_no_success(kind: Any) -> None:
    """The stop word turns success into status 2: the pool skipped chunks."""

    def stopped(frame: Any, p: list[Any]) -> int:
        frame[7] = 1
        return 0

    seen: list[int] = []
    d = dispatcher(kind, entry(stopped, (), on_failure=lambda e, status, site, values: seen.append(status)))
    d()
    assert seen == [2]


def test_a_pending_exception_wins(kind: Any) -> None:
    """What a signal handler or a callback raised is not replaced by `on_failure`."""
    api = ctypes.PyDLL(None)
    if runtime.architecture() == "other":
        return
    text = """
    declare void @PyErr_SetString(ptr, ptr)
    @kind = external global ptr
    @message = constant [5 x i8] c"stop\\00"
    define i32 @raising(ptr %frame, ptr %buffers) {
      %k = load ptr, ptr @kind
      call void @PyErr_SetString(ptr %k, ptr @message)
      ret i32 3
    }
    """.replace("\n    ", "\n")
    loaded = runtime.load_forever(
        text,
        runtime.addresses(api, ["PyErr_SetString"])
        | {"kind": runtime.addresses(api, ["PyExc_KeyboardInterrupt"])["PyExc_KeyboardInterrupt"]},
    )
    e = Entry((), loaded.address("raising"), (Output(F32, ()),), Out(0), 0, on_failure=lambda *a: pytest.fail("called"))
    with pytest.raises(KeyboardInterrupt, match="stop"):
        dispatcher(kind, e)()


def test_too_large_outputs_are_a_memory_error(kind: Any) -> None:
    d = dispatcher(kind, entry(nothing, (A(0),), (Output(F32, ()), Output(F32, (1 << 58,))), (Out(0), Out(1))))
    used, count = pool.stats().used, sys.getrefcount(x._data)
    for _ in range(3):
        with pytest.raises(MemoryError):
            d(x)
    d = dispatcher(kind, entry(nothing, (A(0),), arena_bytes=1 << 60))
    with pytest.raises(MemoryError):
        d(x)
    after = sys.getrefcount(x._data)
    assert pool.stats().used == used and after == count


# --- donation ---------------------------------------------------------------------------------------


def increment(frame: Any, p: list[Any]) -> None:
    a = view(p[0], F32, (2, 3))
    view(p[1], F32, (2, 3))[...] = a + 1


@pytest.mark.parametrize("alias", [None, 0])
def test_a_donated_array_is_consumed(kind: Any, alias: int | None) -> None:
    same: list[bool] = []

    def body(frame: Any, p: list[Any]) -> None:
        same.append(p[0] == p[1])
        increment(frame, p)

    e = entry(body, (ArrayArg(0, F32, (2, 3), donate="`step`, argument 0"),), (Output(F32, (2, 3), alias=alias),), Out(0))
    d = dispatcher(kind, e)
    a = Array(x._data)
    address = a._data.ctypes.data
    b = d(a)
    assert a._data is None and a._consumed == "`step`, argument 0"
    np.testing.assert_array_equal(b._data, x._data + 1)
    assert same == [alias == 0]
    assert alias is None or b._data.ctypes.data == address
    with pytest.raises(Missed):
        d(a)
    for _ in range(5):
        b = d(b)
    np.testing.assert_array_equal(b._data, x._data + 6)
    assert not b._data.flags.writeable


@pytest.mark.parametrize(
    "keep", [lambda a: a._data, lambda a: a._data[1:], lambda a: memoryview(a._data), lambda a: np.from_dlpack(a._data.view())]
)
@pytest.mark.parametrize("alias", [None, 0])
def test_a_donated_array_that_something_refers_to_is_copied(kind: Any, keep: Any, alias: int | None) -> None:
    e = entry(increment, (ArrayArg(0, F32, (2, 3), donate="`f`"),), (Output(F32, (2, 3), alias=alias),), Out(0))
    d = dispatcher(kind, e)
    a = Array(x._data)
    kept = keep(a)
    b = d(a)
    assert a._consumed is None
    np.testing.assert_array_equal(a._data, x._data)
    np.testing.assert_array_equal(b._data, x._data + 1)
    assert not np.shares_memory(a._data, b._data)
    del kept
    d(a)
    assert a._data is None


def test_a_view_of_foreign_memory_is_not_consumed(kind: Any) -> None:
    e = entry(increment, (ArrayArg(0, F32, (2, 3), donate="`f`"),), (Output(F32, (2, 3), alias=0),), Out(0))
    owner = np.zeros((4, 3), np.float32)
    a = Array(x._data)
    a._stored = owner[1:3]
    b = dispatcher(kind, e)(a)
    assert a._data is not None and (owner == 0).all() and (b._data == 1).all()


def test_a_large_donated_array_is_updated_in_place(kind: Any) -> None:
    shape = (200, 300)

    def body(frame: Any, p: list[Any]) -> None:
        view(p[1], F32, shape)[...] = view(p[0], F32, shape) + 1

    step = dispatcher(kind, entry(body, (ArrayArg(0, F32, shape, donate="`f`"),), (Output(F32, shape, alias=0),), Out(0)))
    make = dispatcher(kind, entry(lambda f, p: view(p[0], F32, shape).fill(0), (), (Output(F32, shape),), Out(0)))
    a = make()
    used, address = pool.stats().used, a._data.ctypes.data
    for _ in range(10):
        a = step(a)
    assert a._data.ctypes.data == address and pool.stats().used == used
    assert (a._data == 10).all()
    del a
    assert pool.stats().used < used


def test_one_array_given_twice_is_not_consumed(kind: Any) -> None:
    def body(frame: Any, p: list[Any]) -> None:
        view(p[2], F32, (2, 3))[...] = 0
        view(p[2], F32, (2, 3))[...] = view(p[1], F32, (2, 3)) + 1

    spec = (ArrayArg(0, F32, (2, 3), donate="`f`"), A(1))
    d = dispatcher(kind, entry(body, spec, (Output(F32, (2, 3), alias=0),), Out(0)))
    a = Array(x._data)
    b = d(a, a)
    np.testing.assert_array_equal(b._data, x._data + 1)
    np.testing.assert_array_equal(a._data, x._data)
    c = d(a, b)
    assert a._data is None and b._data is not None
    np.testing.assert_array_equal(c._data, x._data + 2)


def test_several_donations_in_a_tree(kind: Any) -> None:
    def body(frame: Any, p: list[Any]) -> None:
        for i in range(3):
            view(p[3 + i], F32)[...] = view(p[i], F32) + 10

    spec = {k: ArrayArg(i, F32, (), donate=f"argument {k}") for i, k in enumerate("abc")}
    outputs = (Output(F32, (), alias=0), Output(F32, ()), Output(F32, (), alias=2))
    d = dispatcher(kind, entry(body, (spec,), outputs, {"a": Out(0), "b": Out(1), "c": Out(2)}))
    state = {k: Array(np.float32(i)) for i, k in enumerate("abc")}
    old = dict(state)
    for _ in range(4):
        state = d(state)
    assert {k: float(v._data) for k, v in state.items()} == {"a": 40.0, "b": 41.0, "c": 42.0}
    assert [v._consumed for v in old.values()] == ["argument a", "argument b", "argument c"]


def test_donated_arrays_are_gone_after_a_failure(kind: Any) -> None:
    spec = (ArrayArg(0, F32, (2, 3), donate="`f`"), ArrayArg(1, F32, (2, 3), donate="`f` too"))
    d = dispatcher(kind, entry(failing, spec, (Output(F32, (2, 3), alias=0),), Out(0)))
    a, b = Array(x._data), Array(x._data)
    ref = weakref.ref(a._data)
    with pytest.raises(RuntimeError, match="status 1"):
        d(a, b)
    assert a._data is None and b._data is None and b._consumed == "`f` too"
    assert ref() is None


@pytest.mark.parametrize("spec", [A(0), NumpyArg(0, F32, (2, 3)), ScalarArg(0, float, F32)])
def test_an_input_that_is_updated_in_place_but_not_donated_is_copied(kind: Any, spec: Any) -> None:
    shape = getattr(spec, "shape", ())

    def body(frame: Any, p: list[Any]) -> None:
        assert p[0] == p[1]
        view(p[1], F32, shape)[...] += 1

    argument = {ArrayArg: x, NumpyArg: x._data, ScalarArg: 0.5}[type(spec)]
    before = np.array(x._data)
    d = dispatcher(kind, entry(body, (spec,), (Output(F32, shape, alias=0),), Out(0)))
    for _ in range(3):
        y = d(argument)
        np.testing.assert_array_equal(y._data, (before if shape else np.float32(0.5)) + 1)
        np.testing.assert_array_equal(x._data, before)
        assert not np.shares_memory(y._data, x._data) and not y._data.flags.writeable and x._consumed is None


def test_memory_of_python_s_own_blocks_is_taken_over(kind: Any) -> None:
    shape = (200, 300)

    def body(frame: Any, p: list[Any]) -> None:
        view(p[1], F32, shape)[...] = view(p[0], F32, shape) + 1

    d = dispatcher(kind, entry(body, (ArrayArg(0, F32, shape, donate="`f`"),), (Output(F32, shape, alias=0),), Out(0)))
    a = Array(np.zeros(1))
    a._stored = pool.empty(shape, F32)
    a._data[...] = 0
    address = a._data.ctypes.data
    used = pool.stats().used
    b = d(a)
    assert a._data is None and b._data.ctypes.data == address and (b._data == 1).all() and pool.stats().used == used


def test_a_guard_decides_before_anything_is_matched(kind: Any) -> None:
    asked: list[str] = []

    def guard() -> Any:
        asked.append("?")
        if answer is KeyError:
            raise KeyError("guard")
        return answer

    d = dispatcher(kind, entry(increment, (ArrayArg(0, F32, (2, 3), donate="`f`"),), (Output(F32, (2, 3), alias=0),), Out(0), guard=guard))
    answer: Any = True
    a = Array(x._data)
    a = d(a)
    for other in (False, 1, None, KeyError):
        answer = other
        with pytest.raises(Missed):
            d(a)
        assert a._consumed is None and sys.exc_info() == (None, None, None)
    answer = True
    np.testing.assert_array_equal(d(a)._data, x._data + 2)
    assert len(asked) == 6
    with pytest.raises(Missed):
        d(a, a)  # another number of arguments: it is not asked
    assert len(asked) == 6


def test_a_guard_may_change_the_dispatcher(kind: Any) -> None:
    def guard() -> bool:
        d.clear()
        d.add(sized(9, "other"))
        gc.collect()
        return True

    d = dispatcher(kind)
    for _ in range(3):
        d.clear()
        d.add(entry(increment, (A(0),), (Output(F32, (2, 3)),), Out(0), guard=guard))
        np.testing.assert_array_equal(d(x)._data, x._data + 1)


def test_entries_that_make_no_sense() -> None:
    out = Output(F32, (2, 3), alias=0)
    for args, outputs, match in [
        ((ArrayArg(0, I32, (2, 3)),), (out,), "one input of its dtype and shape"),
        ((ArrayArg(0, F32, (3, 2), donate="f"),), (out,), "dtype and shape"),
        ((ArrayArg(0, F32, (2, 3), donate="f"),), (out, out), "one input"),
        ((A(0), A(0)), (), "used twice"),
        ((A(5),), (), "used twice or is not below"),
    ]:
        with pytest.raises(ValueError, match=match):
            Entry(args, 1, outputs, None, 1)
    with pytest.raises(ValueError, match=r"no argument for the slots \[1\]"):
        Entry((A(0),), 1, (), None, 2)
    with pytest.raises(ValueError, match="the result has output 1"):
        Entry((), 1, (Output(F32, ()),), Out(1), 0)
    with pytest.raises(TypeError, match="str keys"):
        Entry(({1: A(0)},), 1, (), None, 1)
    with pytest.raises(TypeError, match="expected a leaf, tuple, list"):
        Entry(({A(0)},), 1, (), None, 1)
    with pytest.raises(ValueError, match="C-contiguous"):
        Entry((), 1, (), None, 0, consts=(np.zeros((3, 3)).T[1:],))


# --- the list of entries ---------------------------------------------------------------------------


def sized(n: int, result: str) -> Entry:
    return entry(nothing, (ArrayArg(0, F32, (n,)),), (), Static(result))


def vector(n: int) -> Array:
    return Array(np.zeros(n, np.float32))


def test_recently_used_entries_stay(kind: Any) -> None:
    d = dispatcher(kind, capacity=3)
    entries = [sized(n, f"e{n}") for n in range(5)]
    for e in entries[:3]:
        d.add(e)
    assert d.entries == (entries[2], entries[1], entries[0])
    assert d(vector(0)) == "e0"
    assert d.entries == (entries[0], entries[2], entries[1])
    d.add(entries[3])
    assert d.entries == (entries[3], entries[0], entries[2])
    with pytest.raises(Missed):
        d(vector(1))
    assert [d(vector(n)) for n in (2, 0, 3, 3, 0)] == ["e2", "e0", "e3", "e3", "e0"]
    assert d.entries == (entries[0], entries[3], entries[2])
    d.clear()
    assert d.entries == ()
    with pytest.raises(Missed):
        d(vector(0))


def test_the_slow_path_may_add(kind: Any) -> None:
    calls = []

    def learn(a: Array) -> str:
        calls.append(a._data.shape)
        d.add(sized(a._data.shape[0], "fast"))
        return "slow"

    d = kind(learn, array_type=Array)
    assert [d(vector(3)), d(vector(3)), d(vector(4)), d(vector(3))] == ["slow", "fast", "slow", "fast"]
    assert calls == [(3,), (4,)]


def test_bad_dispatchers(kind: Any) -> None:
    with pytest.raises(TypeError, match="expected a callable, got 3"):
        kind(3, array_type=Array)
    for capacity in (0, 33):
        with pytest.raises(ValueError, match="expected a capacity from 1 to 32"):
            kind(slow, array_type=Array, capacity=capacity)


def test_an_array_class_without_the_slots() -> None:
    class Wrong:
        def __init__(self) -> None:
            self._stored = self._weak = self._consumed = None

    if not callpath.why_plain():
        with pytest.raises(callpath.LayoutError, match="not a plain field"):
            native_type()(slow, array_type=Wrong)
    assert layout.array_layout(Array) == layout.array_layout(Array)


@pytest.mark.skipif("native" not in KINDS, reason="needs the native call path")
def test_a_dispatcher_that_was_not_initialised_raises() -> None:
    d = native_type().__new__(native_type())
    with pytest.raises(RuntimeError, match="not initialised"):
        d(1)
    assert d.entries == ()
    d.clear()


def test_static_comparisons_may_change_the_dispatcher(kind: Any) -> None:
    """`__eq__` runs in the middle of a look-up."""
    d = dispatcher(kind)
    big = [Array(np.float32(i)) for i in range(3000)]

    def effect() -> None:
        d.clear()
        d.add(entry(nothing, (A(0), Static(Loose(3))), (), Static("small")))
        d.add(entry(nothing, (A(0), Static(Loose(3)), [ArrayArg(i + 1, F32, ()) for i in range(3000)]), (), Static("big")))
        gc.collect()

    for number in (1, 2, 5):
        d.clear()
        for n in (3, 2, 1):
            d.add(entry(nothing, (A(0), Static(Loose(n))), (), Static(n)))
        try:
            got = d(x, Loose(number, effect))
        except Missed:
            got = None
        assert got == 1 if number == 1 else got in (number, None)
        assert d(x, Loose(3), big) == "big"


# --- the object ------------------------------------------------------------------------------------


def test_it_binds_as_a_method(kind: Any) -> None:
    class Model:
        step = kind(lambda self, *args: (self, args), array_type=Array)

    m = Model()
    assert m.step(1, 2) == (m, (1, 2))
    assert Model.step is Model.__dict__["step"]
    bound = m.step
    assert bound.__self__ is m and bound(3) == (m, (3,))


def test_attributes_subclasses_and_weak_references(kind: Any) -> None:
    class Jitted(kind):  # type: ignore[misc]
        """A subclass, as `jit` would make it."""

        def __init__(self, function: Any) -> None:
            super().__init__(slow, array_type=Array)
            functools.update_wrapper(self, function)

        def lower(self) -> str:
            return f"lowered {self.__name__}"

    class More(Jitted):
        extra = 5

    def f(a: Any) -> Any:
        """The function."""

    for cls in (Jitted, More):
        d = cls(f)
        assert d.__wrapped__ is f and d.__doc__ == "The function." and d.lower() == "lowered f"
        d.add(entry(nothing, (A(0),), (), Static("hit")))
        assert d(x) == "hit"
        with pytest.raises(Missed):
            d(a=x)
        if kind is not PlainDispatcher:
            assert cls.__flags__ & (1 << 11), "no vectorcall"
            assert cls.__flags__ & (1 << 17), "no method descriptor"
        ref = weakref.ref(d)
        del d
        gc.collect()
        assert ref() is None

    class Loud(kind):  # type: ignore[misc]
        def __call__(self, *args: Any) -> Any:
            return "loud"

    assert Loud(slow, array_type=Array)(x) == "loud"

    class Bound(kind):  # type: ignore[misc]
        def __get__(self, instance: Any, owner: Any = None) -> Any:
            return "bound"

    class Model:
        step = Bound(slow, array_type=Array)

    assert Model().step == "bound"
    if kind is not PlainDispatcher:
        assert not Bound.__flags__ & (1 << 17)


def test_it_cannot_be_pickled(kind: Any) -> None:
    with pytest.raises(TypeError, match=r"cannot pickle .* it holds machine code of this process"):
        pickle.dumps(dispatcher(kind))


def test_cycles_are_collected(kind: Any) -> None:
    class Owner:
        pass

    owner = Owner()
    d = kind(slow, array_type=Array)
    d.self = d
    thunk = program(nothing, 0)
    address = ctypes.cast(thunk, ctypes.c_void_p).value or 0
    d.add(Entry((), address, (), Static(d), 0, owner=(thunk, owner, d)))
    assert d() is d
    refs = [weakref.ref(d), weakref.ref(owner)]
    del d, owner
    gc.collect()
    assert [r() for r in refs] == [None, None]


def test_evicted_entries_are_freed(kind: Any) -> None:
    class Owner:
        pass

    d = dispatcher(kind, capacity=2)
    refs = []
    for n in range(5):
        owner = Owner()
        refs.append(weakref.ref(owner))
        thunk = program(nothing, 1)
        d.add(
            Entry((ArrayArg(0, F32, (n,)),), ctypes.cast(thunk, ctypes.c_void_p).value or 0, (), None, 1, owner=(thunk, owner))
        )
    del owner
    gc.collect()
    assert [r() is None for r in refs] == [True, True, True, False, False]
    d(vector(3))
    del d
    gc.collect()
    assert all(r() is None for r in refs)


@pytest.mark.parametrize("release", [False, True])
def test_an_entry_may_go_while_it_runs(kind: Any, release: bool) -> None:
    """Its program calls the dispatcher again, adds entries and clears the list, and drops the arguments."""

    def body(frame: Any, p: list[Any]) -> None:
        view(p[1], F32, (2, 3))[...] = 5
        box.clear()
        d.clear()
        gc.collect()
        assert d(vector(3)) == "inner"
        d.clear()
        np.testing.assert_array_equal(view(p[0], F32, (2, 3)), 3)

    def learn(*args: Any) -> str:
        d.add(sized(9, "other"))
        return "inner"

    d = kind(learn, array_type=Array)
    d.add(entry(body, ([A(0)],), (Output(F32, (2, 3)),), [Out(0)], release=release, callback=1))
    box = [Array(np.full((2, 3), 3, np.float32))]
    (y,) = d(box)
    np.testing.assert_array_equal(y._data, 5)


def test_threads_call_at_once(kind: Any) -> None:
    """Calls without the interpreter lock, while other threads add and clear."""

    def body(frame: Any, p: list[Any]) -> None:
        view(p[1], F32, (2, 3))[...] = view(p[0], F32, (2, 3)) * 2

    def learn(a: Any) -> Any:
        d.add(entry(body, (A(0),), (Output(F32, (2, 3)),), Out(0), release=True, arena_bytes=10_000))
        return Array(a._data * 2)

    d = kind(learn, array_type=Array)
    errors: list[BaseException] = []
    deadline = time.perf_counter() + 1.0

    def work(value: int) -> None:
        try:
            a = Array(np.full((2, 3), value, np.float32))
            while time.perf_counter() < deadline:
                assert (d(a)._data == 2 * value).all()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    while time.perf_counter() < deadline:
        d.clear()
        time.sleep(0.001)
    for t in threads:
        t.join(30)
    assert not errors and not any(t.is_alive() for t in threads)


def test_the_lock_is_released_when_asked(kind: Any) -> None:
    """Another thread runs while a program waits for it."""
    text = """
define i32 @waiting(ptr %frame, ptr %buffers) {
entry:
  %p = load ptr, ptr %buffers
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %i1, %loop ]
  %i1 = add i64 %i, 1
  %v = load atomic i32, ptr %p seq_cst, align 4
  %set = icmp ne i32 %v, 0
  %late = icmp sgt i64 %i1, 20000000000
  %end = or i1 %set, %late
  br i1 %end, label %done, label %loop
done:
  %status = select i1 %set, i32 0, i32 1
  ret i32 %status
}
"""
    loaded = runtime.load_forever(text, {})
    flag = np.zeros((), np.int32)
    e = Entry((NumpyArg(0, I32, ()),), loaded.address("waiting"), (), Static("done"), 1, release=True)

    def set_flag() -> None:
        time.sleep(0.05)
        flag[...] = 1

    thread = threading.Thread(target=set_flag)
    thread.start()
    assert dispatcher(kind, e)(flag) == "done"
    thread.join()


# --- leaks -----------------------------------------------------------------------------------------

IDLE = """
define i32 @idle(ptr %frame, ptr %buffers) {
  ret i32 0
}
define i32 @failed(ptr %frame, ptr %buffers) {
  ret i32 1
}
"""


@functools.cache
def idle() -> Any:
    return runtime.load_forever(IDLE, {})


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("case", ["tree", "donate", "fail", "miss", "large"])
def test_no_leaks(kind: Any, case: str, n: int = 0) -> None:
    """Reference counts, allocated blocks and memory stay put over many calls."""
    n = n or (100_000 if kind is not PlainDispatcher else 1000)
    result = {"a": [Out(0), None, Out(1)], "b": (Out(0), Point(Out(1), Static("s")))}
    outputs = (Output(F32, (2, 3)), Output(F32, (100, 100) if case == "large" else ()))
    spec = ({"k": [A(0), None], "j": ScalarArg(1, float, F32)}, ArrayArg(2, F32, (2, 3), donate="`f`"), Static("mode"))
    kept: list[Any] = []
    failures: Any = {"on_failure": lambda *a: None}
    name = "failed" if case == "fail" else "idle"
    if case != "donate":
        kept.append(x._data)
        outputs_ = outputs
    else:
        outputs_ = (Output(F32, (2, 3), alias=2), outputs[1])
    e = Entry(
        spec, idle().address(name), outputs_, result, 3, consts=(np.zeros(3),), owner=idle(), arena_bytes=9000, **failures
    )
    d = dispatcher(kind, e)
    state = Array(x._data)
    held = state._data if case != "donate" else None
    tree = {"k": [x, None], "j": 0.5}
    mode = "mode" if case != "miss" else "other"

    def run(count: int) -> None:
        nonlocal state
        if case == "miss":
            for _ in range(count):
                try:
                    d(tree, state, mode)
                except Missed:
                    pass
        elif case == "donate":
            for _ in range(count):
                state = d(tree, state, mode)["a"][0]
        else:
            for _ in range(count):
                d(tree, state, mode)

    watched = [x, x._data, F32, None, True, False, "mode", Point, np.ndarray, Array, e, d, tree, state._data.dtype]
    run(100)
    gc.collect()
    used = pool.stats().used
    counts, blocks = [sys.getrefcount(w) for w in watched], sys.getallocatedblocks()
    before = resident() if sys.platform == "linux" else 0
    run(n)
    gc.collect()
    assert pool.stats().used == used
    for w, old in zip(watched, counts, strict=True):
        assert abs(sys.getrefcount(w) - old) < 20, w
    assert abs(sys.getallocatedblocks() - blocks) < 200
    if sys.platform == "linux":
        assert resident() - before < 4 << 20
    del held, kept


def script(body: str, **environment: str) -> None:
    """Runs Python code in a process of its own, with this module imported as `t`; it must end by printing "fine"."""
    here = Path(__file__).resolve()
    code = f"import sys; sys.path[:0] = [{str(here.parents[1])!r}, {str(here.parent)!r}]\nimport test_callpath as t\n"
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code + textwrap.dedent(body)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout.strip(), done.returncode) == ("fine", 0), done.stderr


def test_fork_and_exit() -> None:
    """A forked child calls; the parent ends with arrays in recycled memory and live dispatchers."""
    script("""
        import os, threading
        d = t.dispatcher(t.kind_of(t.KINDS[0]))
        d.add(t.Entry((t.A(0),), t.idle().address("idle"), (t.Output(t.F32, (300, 300)),), t.Out(0), 1, release=True))
        y = d(t.x)
        if hasattr(os, "fork"):
            pid = os.fork()
            if pid == 0:
                y = d(t.x)
                os._exit(0 if y._data.shape == (300, 300) else 1)
            assert os.waitpid(pid, 0)[1] == 0
        def work():
            while True:
                d(t.x)
        threading.Thread(target=work, daemon=True).start()
        keep = [d(t.x) for _ in range(100)]
        sys.keep = keep, d
        print("fine")
    """)


def test_nothing_is_used_after_it_was_freed() -> None:
    """Cycles, evictions and leaks again, with an allocator that overwrites what is freed.

    The collector clears the members of a cycle in any order: here an entry's tables once went before the dispatcher's
    table that pointed to them.
    """
    body = """
        import gc
        kind = t.kind_of(t.KINDS[0])
        for _ in range(5):
            t.test_cycles_are_collected(kind)
            t.test_evicted_entries_are_freed(kind)
            t.test_recently_used_entries_stay(kind)
            t.test_a_guard_may_change_the_dispatcher(kind)
            t.test_static_comparisons_may_change_the_dispatcher(kind)
            for release in (False, True):
                t.test_an_entry_may_go_while_it_runs(kind, release)
        for case in ("tree", "donate", "fail", "large"):
            t.test_no_leaks(kind, case, 500)
        t.test_several_donations_in_a_tree(kind)
        t.test_donated_arrays_are_gone_after_a_failure(kind)
        for _ in range(200):
            class Model:
                step = kind(t.slow, array_type=t.Array)
            for n in range(3):
                Model.step.add(t.Entry((t.A(0),), 1, (), t.Static(Model), 1, owner=Model))
        gc.collect()
        print("fine")
    """
    script(body, PYTHONMALLOC="debug")


def test_a_copy_is_the_dispatcher_itself(kind: Any) -> None:
    """As for functions: copying a model that holds a compiled function does not compile it again."""
    d = dispatcher(kind)
    assert copy.copy(d) is d and copy.deepcopy([d])[0] is d
