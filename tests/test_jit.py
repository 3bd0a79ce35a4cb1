"""`jit` as users meet it: the object, donation, options, ahead of time, what it announces, forks. Also without the native call path."""

from __future__ import annotations

import copy
import dataclasses
import gc
import logging
import os
import pickle
import re
import subprocess
import sys
import textwrap
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl.backends.llvm import callpath, pool
from fdl.backends.loops import lower
from fdl.backends.loops.build import all_values
from fdl.backends.loops.ir import INDEX, Op
from fdl.tracer import tree
from fdl.tracer.errors import DonatedError, DTypeError
from fdl.tracer.ir import Type
from fdl.tracer.primitive import Named, lookup
from fdl.transforms import announce
from fdl.transforms.compiled import Compiled, Jitted
from tests.listings import loops_of

ROOT = Path(__file__).resolve().parents[1]
HERE = "test_jit.py"


def script(body: str, *options: str, **environment: str) -> None:
    """Runs Python code in a process of its own; it must end by printing "fine"."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n" + textwrap.dedent(body)
    done = subprocess.run(
        [sys.executable, *options, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout.strip(), done.returncode) == ("fine", 0), done.stdout + done.stderr


# --- the object -----------------------------------------------------------------------------------


def double(x: Any) -> Any:
    """Twice x."""
    return x * 2


def test_no_python_stands_in_front() -> None:
    f = fdl.jit(double)
    assert isinstance(f, Jitted) and isinstance(f, callpath.dispatcher_type())
    assert not any("__call__" in vars(c) for c in type(f).__mro__ if c.__module__.startswith("fdl.transforms"))
    if not callpath.why_plain():
        assert type(f).__flags__ & (1 << 11), "no vectorcall"
        assert type(f).__flags__ & (1 << 17), "no method descriptor: a method call would make a bound method first"
    f(1.0)
    hits = f.hits
    f(2.0), f(3.0)
    assert (f.hits, f.trace_count) == (hits + 2, 1)


def test_it_looks_like_the_function() -> None:
    f = fdl.jit(double)
    assert (f.__name__, f.__doc__, f.__wrapped__, f.__module__) == ("double", "Twice x.", double, __name__)
    assert repr(f) == "<jit of double>" and callable(f)
    f.note = 5
    assert fdl.jit(f, static_argnames=(), keep_unused=True).__wrapped__ is f and not hasattr(fdl.jit(f, inline=True), "note")
    with pytest.raises(AttributeError):
        f.trace_count = 3


def test_it_is_freed_with_its_last_reference() -> None:
    big = fnp.ones(1000)
    gc.collect()
    gc.disable()
    try:
        f = fdl.jit(lambda x: (x + big, [x]))
        for x in (1.0, big, {"k": 2.0}["k"]):
            f(x)
        refs = [weakref.ref(f), weakref.ref(f.__wrapped__)]
        compiled = f.lower(1.0).compile()
        compiled(2.0)
        refs.append(weakref.ref(compiled))
        del f, compiled
        assert [r() for r in refs] == [None] * 3
    finally:
        gc.enable()


def test_cycles_through_it_are_collected() -> None:
    class Model:
        def __init__(self) -> None:
            self.step = fdl.jit(self.apply)
            self.step.owner = self

        def apply(self, x: Any) -> Any:
            return x + 1

    m = Model()
    assert float(m.step(1.0)) == 2.0
    ref = weakref.ref(m)
    del m
    gc.collect()
    assert ref() is None


def test_copies_and_pickles() -> None:
    f = fdl.jit(double)
    assert copy.copy(f) is f and copy.deepcopy({"f": [f]})["f"][0] is f
    with pytest.raises(TypeError, match=r"cannot pickle jit\(double\).*Pickle the function itself, and apply fdl\.jit"):
        pickle.dumps(f)
    with pytest.raises(TypeError, match="cannot pickle <jit of double, compiled for x: f32"):
        pickle.dumps(f.lower(fnp.ones(3)).compile())
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(callpath.dispatcher_type()(double, array_type=fdl.Array))


def test_methods() -> None:
    class Model:
        def __init__(self, w: float) -> None:
            self.w = w

        @fdl.jit(static_argnums=0)
        def apply(self, x: Any) -> Any:
            return x * self.w

        @staticmethod
        @fdl.jit
        def loose(x: Any) -> Any:
            return x - 1

        @classmethod
        @fdl.jit(static_argnames="cls")
        def made(cls, x: Any) -> Any:
            return x + len(cls.__name__)

    a, b = Model(2.0), Model(5.0)
    for _ in range(2):
        assert float(a.apply(3.0)) == 6.0 and float(b.apply(3.0)) == 15.0 and float(Model.apply(a, x=1.0)) == 2.0
        assert float(a.loose(1.0)) == 0.0 and float(Model.made(1.0)) == 6.0
    assert a.apply.__self__ is a and a.apply.__func__ is Model.__dict__["apply"]
    assert float(fdl.grad(a.apply)(3.0)) == 2.0

    @tree_class
    class Linear:
        w: Any

        @fdl.jit
        def __call__(self, x: Any) -> Any:
            return self.w * x

    layer = Linear(fnp.arange(3.0))
    for _ in range(3):
        assert layer(fnp.ones(3)).tolist() == [0.0, 1.0, 2.0]


tree_class = dataclasses.dataclass(frozen=True)


def test_a_method_says_what_to_do_with_self() -> None:
    class Model:
        @fdl.jit
        def apply(self, x: Any) -> Any:
            return x

    with pytest.raises(DTypeError, match=r"jit\(apply\): argument self is .*static argument"):
        Model().apply(1.0)


@tree_class
class Pair:
    a: Any
    b: Any


class Point(NamedTuple):
    x: Any
    y: Any


class Odd(dict[str, Any]):
    """A dict that is none to the call path."""


CONTAINERS: list[Callable[[Any, Any], Any]] = [
    lambda a, b: (a, b),
    lambda a, b: [a, {"k": b}],
    lambda a, b: Point(a, b),
    lambda a, b: Pair(a, b),
    lambda a, b: Odd(a=a, b=b),
    lambda a, b: {1: a, 2: b},
    lambda a, b: {"n": None, "p": (Pair(a, None), [b])},
]


@pytest.mark.parametrize("make", CONTAINERS)
def test_containers_in_and_out(make: Callable[[Any, Any], Any]) -> None:
    f = fdl.jit(lambda t, s: (tree.map(lambda x: x * s, t), t))
    arrays = fnp.arange(3.0), np.ones((2, 2), np.float32)[:, ::-1].T
    for _ in range(3):
        out, same = f(make(*arrays), 2.0)
        assert type(out) is type(make(0, 0)) and tree.structure(same) == tree.structure(make(*arrays))
        assert [np.asarray(x).tolist() for x in tree.leaves(out)] == [[0.0, 2.0, 4.0], [[2.0, 2.0], [2.0, 2.0]]]
    assert f.trace_count == 1


# --- donation -------------------------------------------------------------------------------------


def arrays(n: int = 4) -> tuple[Any, Any]:
    return fnp.arange(float(n)), fnp.ones(n)


HOW: list[tuple[dict[str, Any], Callable[..., Any]]] = [
    ({"donate_argnums": 0}, lambda f, w, g: f(w, g)),
    ({"donate_argnums": 0}, lambda f, w, g: f(w=w, g=g)),
    ({"donate_argnums": 0}, lambda f, w, g: f(g=g, w=w)),
    ({"donate_argnums": (-2,)}, lambda f, w, g: f(w, g=g)),
    ({"donate_argnames": "w"}, lambda f, w, g: f(w, g)),
    ({"donate_argnames": ["w"]}, lambda f, w, g: f(w=w, g=g)),
    ({"donate_argnums": 0, "donate_argnames": "w"}, lambda f, w, g: f(w, g)),
]


@pytest.mark.parametrize(("options", "call"), HOW)
@pytest.mark.parametrize("backend", ["llvm", "reference"])
def test_donated_by_number_or_name_however_it_is_passed(options: Any, call: Any, backend: str) -> None:
    f = fdl.jit(lambda w, g: {"w": w - 0.5 * g}, backend=backend, **options)
    for _ in range(3):
        w, g = arrays()
        out = call(f, w, g)["w"]
        assert w.is_deleted() and not g.is_deleted() and out.tolist() == [-0.5, 0.5, 1.5, 2.5]
        with pytest.raises(
            DonatedError, match=r"a call of jit\(<lambda>\) as its argument w, first made at .*test_jit\.py:\d+ .*\. Keep"
        ):
            w + 1


@pytest.mark.parametrize("make", CONTAINERS)
@pytest.mark.parametrize("backend", ["llvm", "reference"])
def test_donated_in_containers(make: Callable[[Any, Any], Any], backend: str) -> None:
    f = fdl.jit(lambda t: tree.map(lambda x: x + 1, t), donate_argnums=0, backend=backend)
    for k in range(3):
        t = make(*arrays())
        addresses = [x.data.ctypes.data for x in tree.leaves(t)]
        old = tree.leaves(t)
        out = f(t)
        assert all(x.is_deleted() for x in old), k
        assert [x.tolist() for x in tree.leaves(out)] == [[1.0, 2.0, 3.0, 4.0], [2.0] * 4]
        if backend == "llvm":
            assert [x.data.ctypes.data for x in tree.leaves(out)] == addresses


def test_a_donated_array_names_its_argument() -> None:
    f = fdl.jit(lambda state, x: (state["opt"][0] * x, state["w"]), donate_argnames="state")
    state = {"w": fnp.ones(2), "opt": (fnp.ones(3),)}
    f(state, 2.0)
    with pytest.raises(DonatedError, match=r"as its argument state\['w'\]"):
        state["w"].sum()
    with pytest.raises(DonatedError, match=r"as its argument state\['opt'\]\[0\]"):
        state["opt"][0].sum()


@pytest.mark.parametrize("backend", ["llvm", "reference"])
def test_what_something_refers_to_is_not_consumed(backend: str) -> None:
    f = fdl.jit(lambda w: w * 2.0, donate_argnums=0, backend=backend)
    for keep in (
        lambda a: np.asarray(a),
        lambda a: np.asarray(a)[1:],
        lambda a: memoryview(np.asarray(a)),
        lambda a: np.from_dlpack(a),
    ):
        for _ in range(2):
            a, _ = arrays()
            kept = keep(a)
            out = f(a)
            assert not a.is_deleted() and a.tolist() == [0.0, 1.0, 2.0, 3.0] and out.tolist() == [0.0, 2.0, 4.0, 6.0]
            del kept
            f(a)
            assert a.is_deleted()
    g = fdl.jit(lambda w, v: w * 2.0 + v, donate_argnums=0, backend=backend)
    for _ in range(2):  # one array given twice
        a, b = arrays()
        assert g(a, a).tolist() == [0.0, 3.0, 6.0, 9.0] and not a.is_deleted()
        assert g(a, b).tolist() == [1.0, 3.0, 5.0, 7.0] and a.is_deleted() and not b.is_deleted()


def test_what_is_closed_over_is_not_consumed() -> None:
    w, _ = arrays()
    f = fdl.jit(lambda x: x + w, donate_argnums=0)
    for _ in range(3):
        assert f(w).tolist() == [0.0, 2.0, 4.0, 6.0] and not w.is_deleted()


def test_numpy_arrays_and_numbers_in_a_donated_position_are_copied() -> None:
    f = fdl.jit(lambda w, c: (w + 1, c + 1), donate_argnums=(0, 1))
    assert str(f.lower(np.ones(3, np.float32), 1).plan).count("takes over the memory of") == 2
    w = np.zeros((2, 3), np.float32)
    w.flags.writeable = False
    for _ in range(3):
        out, n = f(w, 41)
        assert out.tolist() == [[1.0] * 3] * 2 and int(n) == 42 and (w == 0).all() and not np.shares_memory(w, out)
    out, n = f(np.zeros((3, 2), np.float32).T, np.int32(7))
    assert out.shape == (2, 3) and int(n) == 8
    assert [x.tolist() for x in f(*f(fnp.zeros((2, 3)), 1))] == [[[2.0] * 3] * 2, 3]


def test_an_argument_that_is_not_read_is_consumed_too() -> None:
    f = fdl.jit(lambda w, unused: w + 1, donate_argnames=("unused", "w"))
    for wrap in (lambda x: x, lambda x: Odd(k=x)):
        for _ in range(2):
            w, g = arrays()
            f(w, wrap(g))
            assert w.is_deleted() and g.is_deleted()


def test_a_call_that_fails_has_consumed_its_arrays() -> None:
    f = fdl.jit(lambda w, i: w.at[i].add(1.0), donate_argnums=0)
    for wrap in (lambda i: i, lambda i: np.array([0, i])[1]):
        for i in (9, 1, 9):
            w, _ = arrays()
            if i == 9:
                with pytest.raises(IndexError, match="index 9"):
                    f(w, wrap(i))
            else:
                assert f(w, wrap(i)).tolist() == [0.0, 2.0, 2.0, 3.0]
            assert w.is_deleted()
    w, _ = arrays()
    with pytest.raises(ValueError, match="shape"):  # a call that never ran has consumed nothing
        fdl.jit(lambda w: w + fnp.ones(7), donate_argnums=0)(w)
    assert not w.is_deleted()


def test_nothing_is_consumed_while_something_is_traced() -> None:
    step = fdl.jit(lambda w: w * 2, donate_argnums=0)
    w, _ = arrays()
    step(w + 0)  # the call path knows it from here on
    assert fdl.jit(lambda x: step(w) + x)(1.0).tolist() == [1.0, 3.0, 5.0, 7.0] and not w.is_deleted()
    assert fdl.grad(lambda x: step(w * x).sum())(1.0) == 12.0 and not w.is_deleted()
    assert fdl.vmap(lambda x: step(w) + x)(fnp.ones(2)).shape == (2, 4) and not w.is_deleted()
    step(w)
    assert w.is_deleted()


def test_donation_with_callbacks() -> None:
    f = fdl.jit(lambda w: fdl.pure_callback(np.flip, w, w) + w, donate_argnums=0)
    for wrap in (lambda w: f(w), lambda w: fdl.jit(lambda d: f(d["k"]), donate_argnums=0)(Odd(k=w))):
        for _ in range(3):
            w, _ = arrays()
            assert wrap(w).tolist() == [3.0, 3.0, 3.0, 3.0] and w.is_deleted()
    misses = f.misses
    f(fnp.ones(4))
    assert f.misses == misses  # the call path takes programs that call back


def test_an_exception_of_a_callback_comes_out_of_the_call_path() -> None:
    class Mine(Exception):
        pass

    def check(x: Any) -> Any:
        if x[0] > 2:
            raise Mine(f"seen {x[0]}")
        return x

    f = fdl.jit(lambda w, x: fdl.pure_callback(check, x, x) + w, donate_argnums=0)
    for value in (1.0, 3.0, 2.0, 4.0):
        w, x = fnp.ones(2), fnp.full(2, value)
        if value > 2:
            with pytest.raises(Mine, match=f"seen {value}"):
                f(w, x)
        else:
            assert f(w, x).tolist() == [value + 1] * 2
        assert w.is_deleted() and not x.is_deleted()
    assert f.misses == 1


@pytest.mark.parametrize("dtype", ["?", "i1", "u8", "f2", "bfloat16", "f4", "f8", "c8", "c16"])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 0, 2), (65, 130)])
def test_every_dtype_is_taken_over(dtype: str, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(0, 2, shape)

    def f(w: Any, v: Any) -> Any:
        return (w | v, v) if dtype == "?" else (w * v + w, v)

    made = [fnp.asarray(values, dtype), fnp.asarray(1 - values, dtype)]
    expected = [np.asarray(x) for x in fdl.jit(f)(*made)]
    donating = fdl.jit(f, donate_argnums=(0, 1))
    addresses = [x.data.ctypes.data for x in made]
    got = donating(*made)
    assert [x.data.ctypes.data for x in got] == addresses and all(x.is_deleted() for x in made)
    for a, b in zip(expected, got, strict=True):
        assert np.asarray(b).tobytes() == a.tobytes() and b.dtype == a.dtype and b.shape == shape


def test_a_large_donated_update_allocates_nothing() -> None:
    """16 M elements, many times over: no block of the pool, no array of NumPy's, the same address."""
    n = 1 << 24
    step = fdl.jit(lambda w, g: w - 0.5 * g, donate_argnums=0)
    w, g = fnp.zeros(n), fnp.ones(1)
    f = fdl.jit(lambda w, g: w - 0.5 * g, donate_argnums=0)
    w = f(w, g)
    address, made, used = w.data.ctypes.data, pool.stats().made, pool.stats().used
    before = resident()
    for _ in range(5):
        w = step(w, g)
        assert w.data.ctypes.data == address
    assert (pool.stats().made, pool.stats().used) == (made, used)
    assert resident() - before < 4 << 20
    assert float(w[0]) == -3.0 and float(w[-1]) == -3.0


def resident() -> int:
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_a_result_of_an_eager_kernel_is_taken_over() -> None:
    """Its memory is a recycled block that Python made."""
    step = fdl.jit(lambda w: w + 1, donate_argnums=0)
    w = fnp.ones((200, 200)) @ fnp.ones((200, 200))
    for _ in range(3):
        address = w.data.ctypes.data
        w = step(w)
        assert w.data.ctypes.data == address
    assert (np.asarray(w) == 203).all()


def test_one_row_of_a_donated_cache_is_written_in_place() -> None:
    """What does not change is neither copied nor read."""
    n, width = 1 << 15, 256
    write = fdl.jit(lambda cache, i, row: cache.at[i].set(row), donate_argnums=0)
    plan = str(write.lower(fnp.zeros((n, width)), 0, fnp.zeros(width)).plan)
    assert "out0 takes over the memory of in0" in plan
    assert "in0" not in loops_of(write, fnp.zeros((n, width)), 0, fnp.zeros(width)).split("do\n", 1)[1]
    cache = write(fnp.zeros((n, width)), 0, fnp.zeros(width))
    address = cache.data.ctypes.data
    for i in range(50):
        cache = write(cache, i, fnp.full(width, float(i)))
    assert cache.data.ctypes.data == address
    assert np.asarray(cache)[:51, 0].tolist() == [*map(float, range(50)), 0.0]


def test_a_training_loop_keeps_its_memory() -> None:
    opt = fdl.optim.adam(0.01)
    rng = np.random.default_rng(0)
    params = [fnp.asarray(rng.normal(size=s).astype(np.float32) * 0.3) for s in ((8, 16), (16,), (16, 4))]
    x, y = rng.normal(size=(32, 8)).astype(np.float32), rng.normal(size=(32, 4)).astype(np.float32)

    def loss(p: Any) -> Any:
        return ((fnp.tanh(x @ p[0] + p[1]) @ p[2] - y) ** 2).mean()

    def step(state: Any) -> Any:
        p, s = state
        value, g = fdl.value_and_grad(loss)(p)
        u, s = opt.update(g, s, p)
        return (fdl.optim.apply_updates(p, u), s), value

    state = params, opt.init(params)
    plain, donating = fdl.jit(step), fdl.jit(step, donate_argnums=0)
    assert str(donating.lower(state).plan).count("takes over") == len(tree.leaves(state))
    expected, losses = state, []
    state = tree.map(lambda a: a + 0, state)
    addresses: set[int] = set()
    for k in range(4):
        expected, _ = plain(expected)
        state, value = donating(state)
        losses.append(float(value))
        here = {leaf.data.ctypes.data for leaf in tree.leaves(state)}
        assert k == 0 or here == addresses
        addresses = here
    assert losses == sorted(losses, reverse=True)
    for a, b in zip(tree.leaves(expected), tree.leaves(state), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"static_argnums": 5}, ValueError, r"static_argnums has 5, but step takes 2 positional arguments \(w, g\)"),
        ({"donate_argnums": (0, -3)}, ValueError, "donate_argnums has -3, but step takes 2"),
        ({"static_argnames": "n"}, ValueError, "static_argnames has 'n', but step has no such argument; it has w, g"),
        ({"donate_argnames": ["w", "x"]}, ValueError, "donate_argnames has 'x'"),
        ({"static_argnums": 0, "donate_argnames": "w"}, ValueError, "w is static and donated"),
        ({"static_argnums": "w"}, TypeError, "static_argnums: expected int or a sequence of them, got 'w'"),
        ({"donate_argnums": True}, TypeError, "donate_argnums: expected int"),
        ({"static_argnames": [0]}, TypeError, "static_argnames: expected str"),
        ({"backend": "gpu"}, ValueError, "backend: expected one of llvm, reference, got 'gpu'"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense(options: dict[str, Any], error: type[Exception], text: str) -> None:
    def step(w: Any, g: Any) -> Any:
        return w - g

    with pytest.raises(error, match=r"jit\(step\)") as caught:
        fdl.jit(step, **options)
    assert HERE in str(caught.value)
    assert caught.match(text)


# --- options --------------------------------------------------------------------------------------


def test_static_arguments_in_any_way_passed() -> None:
    traced: list[Any] = []

    def f(x: Any, n: int = 2, *rest: Any, mode: str = "add", **more: Any) -> Any:
        traced.append((n, mode))
        return x * n + len(rest) + sum(more.values()) if mode == "add" else x**n

    g = fdl.jit(f, static_argnames=("n", "mode"))
    for _ in range(2):
        assert [float(g(3.0, 4)), float(g(3.0, n=4)), float(g(n=4, x=3.0)), float(g(3.0)), float(g(3.0, 2, mode="pow"))] == [
            12,
            12,
            12,
            6,
            9,
        ]
        assert float(g(3.0, 2, 5.0, 6.0, k=1.0)) == 9.0
    assert traced == [(4, "add")] * 3 + [(2, "add"), (2, "pow"), (2, "add")]
    last = fdl.jit(lambda *xs: xs[0] * xs[-1], static_argnums=-1)
    assert float(last(2.0, 3)) == 6.0 and float(last(2.0, 1.0, 5)) == 10.0
    with pytest.raises(TypeError, match=r"static argument n is \[2\] of type list, which is not hashable"):
        g(3.0, n=[2])


def test_inline_writes_the_equations_into_the_caller() -> None:
    inner = lambda x, y: fnp.sin(x) * 2.0 + y  # noqa: E731
    call, inlined = fdl.jit(inner), fdl.jit(inner, inline=True)
    with_call, without = (str(fdl.make_ir(lambda x, f=f: f(x, 1.0) + 1)(fnp.ones(3))) for f in (call, inlined))
    assert "jit[" in with_call and "jit[" not in without
    x = fnp.arange(3.0)
    transforms: list[Callable[[Any], Any]] = [
        lambda f: f(x, 2.0),
        lambda f: fdl.jit(f)(x, 2.0),
        lambda f: fdl.grad(lambda x: f(x, 2.0).sum())(x),
        lambda f: fdl.vmap(f, in_axes=(0, None))(x, 2.0),
        lambda f: fdl.jit(fdl.vmap(fdl.grad(lambda x: f(x, x))))(x),
    ]
    for transform in transforms:
        np.testing.assert_allclose(np.asarray(transform(inlined)), np.asarray(transform(inner)), rtol=1e-6)
        assert transform(inlined).type == transform(inner).type
    lines = [e.source for e in fdl.make_ir(lambda x: inlined(x, 1.0))(x).equations]
    assert all(HERE in s for s in lines)


def test_unused_arguments_are_left_out() -> None:
    f = lambda x, unused: x + 1  # noqa: E731
    x, u = fnp.ones(3), {"a": fnp.ones((2, 2)), "b": 5}
    for keep, count in ((False, 1), (True, 3)):
        g = fdl.jit(f, keep_unused=keep)
        lowered = g.lower(x, u)
        assert len(g._core.executable(lowered.traced).routine.inputs) == count
        for _ in range(2):
            assert g(x, u).tolist() == [2.0, 2.0, 2.0]
        assert len(lowered.program.inputs) == 3
    g = fdl.jit(f)
    g(x, u), g(x, {"a": fnp.ones((3, 3)), "b": 5})
    executables = {id(t.executable) for t in g._traces.values()}
    assert g.trace_count == 2 and len(executables) == 1  # what is not read makes no difference to the code
    with pytest.raises(DTypeError, match="argument unused"):
        g(x, "text")


def test_jit_of_jit_costs_nothing() -> None:
    f = fdl.jit(double)
    assert fdl.jit(f) is f and fdl.jit(fdl.jit(f)) is f
    assert fdl.jit(f, backend="reference") is not f and fdl.jit(f, inline=True) is not f
    g = fdl.jit(lambda x: f(f(x)))
    g(1.0)
    (traced,) = g._traces.values()
    assert g.trace_count == f.trace_count == 1
    assert set(show_ops(traced.executable.routine)) == {"mul"}  # one routine without calls
    donating = fdl.jit(double, donate_argnums=0)
    assert fdl.jit(donating) is not donating  # a call of the outer one donates nothing
    x = fnp.ones(3)
    fdl.jit(donating)(x)
    assert not x.is_deleted()


def show_ops(routine: Any) -> list[str]:
    return [v.name for v in all_values(routine.body) if isinstance(v, Op) and v.dtype != INDEX]


def test_clear_cache() -> None:
    f = fdl.jit(double)
    f(1.0), f(fnp.ones(3))
    assert f.trace_count == 2
    f.clear_cache()
    f(1.0)
    assert f.trace_count == 3 and len(f._traces) == 1


# --- ahead of time --------------------------------------------------------------------------------


def test_lower_and_compile() -> None:
    def f(x: Any, n: int, scale: Any = 1.0) -> Any:
        return {"y": (x**n).sum() * scale}

    g = fdl.jit(f, static_argnames="n", donate_argnames="x")
    x = fnp.arange(4.0)
    lowered = g.lower(x, 2, scale=2.0)
    assert not x.is_deleted() and g.hits == 0
    compiled = lowered.compile()
    assert isinstance(compiled, Compiled) and repr(compiled) == "<jit of f, compiled for x: f32[4], scale: f32[]*>"
    assert str(compiled.out_types["y"]) == "f32[]" == str(lowered.out_types["y"])
    for text in (
        compiled.loops,
        lowered.loops,
        compiled.memory_plan,
        str(compiled.plan),
        str(compiled.program),
        str(lowered.program),
    ):
        assert isinstance(text, str) and len(text) > 20
    assert "routine f" in compiled.loops and "arena:" in compiled.memory_plan
    traced = g.trace_count
    for call in (
        lambda x: compiled(x, scale=2.0),  # static arguments left out
        lambda x: compiled(x, 2, scale=2.0),  # or as they were
        lambda x: compiled(x, scale=np.float32(2)),  # weakness does not matter
    ):
        for _ in range(2):
            assert float(call(fnp.arange(4.0))["y"]) == 28.0
    assert g.trace_count == traced and compiled.hits >= 4
    y = fnp.arange(4.0)
    compiled(y, scale=2.0)
    assert y.is_deleted()
    for call, text in (
        (lambda: compiled(fnp.ones(5), scale=2.0), r"x has shape \(5,\), and was compiled for \(4,\)"),
        (lambda: compiled(np.ones(4), scale=2.0), "x has dtype float64, and was compiled for float32"),
        (lambda: compiled(fnp.ones(4), 3, scale=2.0), "static argument n is 3, and was compiled for 2"),
        (
            lambda: compiled(fnp.ones(4)),
            "it is called with 1 positional argument, and was compiled for 2 positional arguments and scale",
        ),
        (lambda: compiled([fnp.ones(4)], scale=2.0), "x is nested differently"),
    ):
        with pytest.raises(TypeError, match=text) as caught:
            call()
        assert HERE in str(caught.value) and "jit(f)" in str(caught.value)
    assert g.trace_count == traced


def test_a_compiled_function_under_transforms() -> None:
    compiled = fdl.jit(lambda x: fnp.sin(x)).lower(1.0).compile()
    assert float(fdl.grad(lambda x: compiled(x) * 2)(0.5)) == pytest.approx(2 * np.cos(0.5), rel=1e-6)
    assert float(fdl.jit(lambda x: compiled(x))(0.5)) == pytest.approx(np.sin(0.5), rel=1e-6)


# --- what is announced ----------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_copies() -> None:
    """Functions of this file are made anew by other tests."""
    announce._copies.clear()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[tuple[str, str]]]]:
    """The lines that fdl.jit has logged since the last time this was asked: (level, text)."""
    caplog.set_level(logging.INFO, logger="fdl.jit")

    def take() -> list[tuple[str, str]]:
        found = [(r.levelname, r.getMessage()) for r in caplog.records if r.name == "fdl.jit"]
        caplog.clear()
        return found

    yield take


def step(x: Any, params: Any, n: Any = 1, f: Any = None) -> Any:
    value = sum(leaf.sum() for leaf in tree.leaves(params)) + x * 0.321
    return value * n if f is None else f(value)


BASE: tuple[Any, ...] = (fnp.ones((4, 3)), {"w": fnp.ones(3), "b": [fnp.ones(2)]})

CHANGED: dict[str, tuple[Callable[[], Any], str]] = {
    "shape": (lambda: ((fnp.ones((2, 3)), BASE[1]), {}), r"x has shape \(2, 3\), before \(4, 3\)"),
    "leaf": (lambda: ((BASE[0], {"w": fnp.ones(1), "b": [fnp.ones(2)]}), {}), r"params\['w'\] has shape \(1,\), before \(3,\)"),
    "dtype": (
        lambda: ((BASE[0], {"w": fnp.ones(3, "f8"), "b": [fnp.ones(2)]}), {}),
        r"params\['w'\] has dtype float64, before float32",
    ),
    "structure": (
        lambda: ((BASE[0], {"w": fnp.ones(3), "b": [fnp.ones(2)] * 2}), {}),
        r"params is nested differently \(params\['b'\]: before a list of 1, now a list of 2\)",
    ),
    "keys": (
        lambda: ((BASE[0], {"v": fnp.ones(3)}), {}),
        r"params is nested differently \(params: before a dict with keys \['b', 'w'\]",
    ),
    "static": (lambda: (BASE, {"n": 7}), "the static argument n is 7, before 5"),
    "arguments": (
        lambda: ((*BASE, 6), {}),
        "it is called with 3 positional arguments, before with 2 positional arguments and n",
    ),
}


@pytest.mark.parametrize("what", CHANGED)
def test_the_second_compilation_names_what_changed(what: str, lines: Any) -> None:
    make, text = CHANGED[what]
    f = fdl.jit(by_name(step, f"step_{what}"), static_argnames=("n", "f"))
    f(*BASE, n=5)
    assert lines() == []
    args, kwargs = make()
    kwargs = kwargs or ({"n": 5} if len(args) == 2 else {})
    f(*args, **kwargs)
    ((level, line),) = lines()
    assert level == "WARNING" and line.startswith(f"jit(step_{what}) is compiled a second time: ")
    assert "\n" not in line and HERE in line
    assert re.search(text, line), line
    f(*BASE, n=5)
    f(*args, **kwargs)
    assert lines() == []  # once


def by_name(f: Any, name: str) -> Any:
    def g(x: Any, params: Any, n: Any = 1, f: Any = None, _inner: Any = f) -> Any:
        return _inner(x, params, n, f)

    g.__name__ = name
    return g


def test_a_function_made_anew_as_a_static_argument(lines: Any) -> None:
    g = fdl.jit(by_name(step, "anew"), static_argnames=("n", "f"))
    for k in range(3):
        g(*BASE, f=lambda v, k=k: v * (k + 0.5))
    ((level, line),) = lines()
    assert level == "WARNING" and "the static argument f is a function made anew, <lambda> of" in line and HERE in line


def test_a_weak_type_retraces_and_says_nothing(lines: Any) -> None:
    f = fdl.jit(lambda x: x * 0.654321)
    assert [f(1.0).type, f(np.float32(1)).type] == [Type((), np.dtype("f4"), True), Type((), np.dtype("f4"))]
    assert [f(Odd(k=x)["k"]).type.weak for x in (1.0, np.float32(1), fnp.asarray(2.0, "f4"))] == [True, False, False]
    assert f.trace_count == 2 and len({id(t.executable) for t in f._traces.values()}) == 1
    g = fdl.jit(lambda d: d["k"] * 0.8642)  # containers that the call path does not know
    assert [g(Odd(k=x)).type.weak for x in (1.0, np.float32(1), 1.0)] == [True, False, True]
    assert lines() == []


def test_many_compilations_are_a_warning(lines: Any) -> None:
    f = fdl.jit(lambda batch: batch["x"] * 0.9753, backend="reference")
    for n in range(1, 14):
        f({"x": fnp.ones(n)})
    (_, (level, line)) = lines()
    assert level == "WARNING" and HERE in line
    assert line.startswith(
        "jit(<lambda>) has been compiled 9 times, 8 of them because of the shape of batch['x'] (now (9,)): pad it"
    )


@pytest.mark.parametrize("mode", ["never", False, "always", True])
def test_announcements_can_be_silenced_or_asked_for(mode: Any, lines: Any) -> None:
    with fdl.config.using(log_compiles=mode):
        assert fdl.config.log_compiles == {False: "never", True: "always"}.get(mode, mode)
        f = fdl.jit(lambda x: x * 0.11223 + len(str(mode)), backend="reference")
        for n in range(1, 12):
            f(np.ones(n, np.float32))
    found = lines()
    if mode in (False, "never"):
        assert found == []
    else:
        assert [level for level, _ in found] == ["WARNING"] * 11
        assert "is compiled for the 1st time, in " in found[0][1] and "for the 11th time" in found[-1][1]
        assert "x has shape (2,), before (1,)" in found[1][1]
    assert fdl.config.log_compiles == "once"


def test_bad_settings() -> None:
    with pytest.raises(ValueError, match="log_compiles: expected one of never, once, always, got 'sometimes'"):
        fdl.config.log_compiles = "sometimes"  # type: ignore[assignment]
    with pytest.raises(AttributeError), fdl.config.using(unknown=1):
        pass
    script('import fdl; assert fdl.config.log_compiles == "never"; print("fine")', FDL_LOG_COMPILES="never")


def test_a_setting_that_is_no_backend_keeps_the_call_path() -> None:
    f = fdl.jit(lambda x: x + 3)
    f(1.0)
    misses = f.misses
    with fdl.config.using(log_compiles="never"):
        f(1.0)
    assert f.misses == misses
    with fdl.config.using(backend="reference"):
        f(1.0)
    assert f.misses == misses + 1


def test_jit_of_copy_after_copy_is_a_warning(lines: Any) -> None:
    def once() -> Any:
        return fdl.jit(lambda x: x * 0.5, backend="reference")(1.0)

    for _ in range(12):
        once()
    (first, second) = lines()
    assert first[0] == "INFO" and "jit is applied to another copy of <lambda> of" in first[1]
    assert second[0] == "WARNING" and second[1].startswith("jit has been applied to 9 copies of <lambda> of")
    assert "Apply jit once" in second[1] and HERE in second[1]
    for n in range(12):  # copies for arguments of other types are another matter
        fdl.jit(lambda x: x + 1, backend="reference")(np.ones(n, np.float32))
    assert lines() == []


def test_float64_data_that_meet_float32_parameters(lines: Any) -> None:
    f = fdl.jit(lambda params, batch: (batch["x"] @ params["w"]).sum(), backend="reference")
    params = {"w": fnp.ones(3)}
    batch = {"x": np.ones((2, 3)), "y": np.ones(2, np.float32)}
    assert f(params, batch).dtype == np.float64
    f(params, {"x": np.ones((5, 3)), "y": np.ones(2, np.float32)})
    found = [line for line in lines() if "is compiled" not in line[1]]
    assert len(found) == 1
    assert found[0][1].startswith(
        "jit(<lambda>): batch['x'] is a NumPy array of float64, which makes float32 values float64 at "
    )
    assert HERE in found[0][1] and "batch['x'].astype('float32')" in found[0][1]
    for args in (
        (params, {"x": np.ones((2, 3), np.float32)}),  # nothing is float64
        ({"w": fnp.ones(3, "f8")}, {"x": np.ones((2, 3))}),  # everything is
        (params, {"x": fnp.ones((2, 3), "f8")}),  # asked for
    ):
        fdl.jit(lambda params, batch: (batch["x"] @ params["w"]).sum(), backend="reference")(*args)
    g = fdl.jit(lambda x, w: (x.astype("f4") * w).sum(), backend="reference")
    g(np.ones(3), fnp.ones(3))
    assert [line for line in lines() if line[0] == "WARNING"] == []


def test_the_difference_between_two_calls() -> None:
    """Every difference is listed, in the order of the arguments."""
    f = fdl.jit(lambda a, b, c: a)
    f._core.prepare((fnp.ones(2), 1.0, np.ones(3)), {})
    f._core.prepare((fnp.ones(3, "i4"), np.float32(1), np.ones(3)), {})
    old, new = (t.kind for t in f._traces.values())
    assert [str(c) for c in announce.changes(f.__wrapped__, new, old)] == [
        "a has shape (3,), before (2,)",
        "a has dtype int32, before float32",
        "b is an array, before a Python number (weakly typed)",
    ]
    assert announce.changes(f.__wrapped__, new, new) == []


# --- errors ---------------------------------------------------------------------------------------


def test_errors_name_the_argument_and_the_line() -> None:
    f = fdl.jit(lambda p, *rest, **more: p)
    for args, kwargs, label in (
        (({"w": ["a"]},), {}, r"argument p\['w'\]\[0\] is 'a' of type str"),
        ((1.0, 2.0, {"k": {1, 2}}), {}, r"argument rest\[1\]\['k'\] is"),
        ((1.0,), {"z": object()}, "argument z is <object object"),
        ((np.array(["x"]),), {}, "argument p is a NumPy array of dtype <U1"),
        ((np.datetime64("2024-01-01"),), {}, "argument p is"),
    ):
        with pytest.raises(DTypeError, match=r"jit\(<lambda>\): " + label) as caught:
            f(*args, **kwargs)
        assert HERE in str(caught.value)
    assert not f._traces


def test_what_cannot_be_compiled_names_the_argument_or_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """No primitive and no dtype is left out today: two are taken away here."""
    monkeypatch.setattr(lookup("cosh"), "lowering", Named("nothing"))
    f = fdl.jit(lambda x: fnp.cosh(x) + 1)
    with pytest.raises(TypeError, match=r"jit\(<lambda>\): the primitive 'cosh' has no builder(.|\n)*at .*test_jit\.py:\d+"):
        f(fnp.ones(3))

    def native(t: Type, what: str) -> None:
        if t.dtype == np.float16:
            raise lower.LoweringError(f"{what} has dtype float16")

    monkeypatch.setattr(lower, "native", native)
    g = fdl.jit(lambda unused, p: p["w"] + p["v"][1])
    with pytest.raises(
        TypeError, match=r"jit\(<lambda>\): argument p\['v'\]\[1\]: input 0 has dtype float16(.|\n)*at .*test_jit\.py:\d+"
    ):
        g(1.0, {"w": fnp.ones(3), "v": (1, fnp.ones(3, "f2"))})


def test_an_argument_nested_otherwise_or_of_another_kind_retraces() -> None:
    f = fdl.jit(lambda p: sum(x.sum() for x in tree.leaves(p)))
    a = fnp.ones(2)
    for value in (a, [a], (a, a), {"a": a}, {"b": a}, Pair(a, None), Odd(a=a), 2.0, True, 3 + 0j, np.ones(2), a.astype("i8")):
        for _ in range(2):
            assert f(value) == sum(np.asarray(x).sum() for x in tree.leaves(value))
    assert f.trace_count == 12


# --- forks and the plain path ---------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_while_another_thread_compiles() -> None:
    """The child compiles, runs and forks again; LLVM, the runtime and the lists of entries are all in use at the time."""
    script(
        """
        import os, signal, threading, time
        import fdl, fdl.numpy as fnp
        import numpy as np

        stop = []
        def compile_all_the_time(seed):
            k = 0
            while not stop:
                k += 1
                fdl.jit(lambda x: fnp.tanh(x * float(seed + k)).sum())(fnp.ones(64))
        threads = [threading.Thread(target=compile_all_the_time, args=(10_000 * (i + 1),), daemon=True) for i in range(2)]
        for t in threads:
            t.start()
        f = fdl.jit(lambda x: x + 1)
        f(1.0)
        for i in range(12):
            time.sleep(0.013)
            pid = os.fork()
            if pid == 0:
                signal.alarm(20)
                g = fdl.jit(lambda x: x * float(i) - 0.125)
                good = float(g(2.0)) == 2.0 * i - 0.125 and float(f(2.0)) == 3.0
                h = fdl.jit(lambda x: x @ x)(fnp.ones((64, 64)))
                os._exit(0 if good and float(h[0, 0]) == 64 else 1)
            assert os.waitpid(pid, 0)[1] == 0, i
        stop.append(1)
        for t in threads:
            t.join(30)
        assert not any(t.is_alive() for t in threads)
        print("fine")
        """,
        "-W", "ignore::DeprecationWarning",
    )  # fmt: skip


def test_without_the_native_call_path() -> None:
    script(
        """
        from fdl.backends.llvm import layout
        layout.verified = lambda: "for this test"
        import numpy as np
        import fdl, fdl.numpy as fnp
        from fdl.backends.llvm import callpath
        assert callpath.why_plain() == "for this test"
        f = fdl.jit(lambda p, x, n: {"w": p["w"] * x + n}, donate_argnames="p", static_argnums=2)
        for _ in range(3):
            p = {"w": fnp.ones(3)}
            address = p["w"].data.ctypes.data
            out = f(p, 2.0, 1)
            assert p["w"].is_deleted() and out["w"].tolist() == [3.0] * 3 and out["w"].data.ctypes.data == address
            assert f({"w": np.ones(3, np.float32)}, 2.0, n=1)["w"].tolist() == [3.0] * 3
        class Model:
            @fdl.jit(static_argnums=0)
            def apply(self, x):
                return x + 1
        assert float(Model().apply(1.0)) == 2.0 and f.trace_count == 2 and f.hits > 0
        w = fnp.ones(4)
        assert fdl.jit(lambda x: f({"w": w}, x, 1)["w"].sum())(2.0) == 12.0 and not w.is_deleted()
        c = fdl.jit(lambda x: x * 3).lower(1.0).compile()
        assert [float(c(k)) for k in (1.0, 2.0)] == [3.0, 6.0]
        print("fine")
        """
    )


def test_types_of_the_public_names() -> None:
    assert isinstance(fdl.jit(lambda x: x).lower(1.0).out_types, Type)
