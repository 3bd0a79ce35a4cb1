"""The forms of control flow one by one: arguments, types, unrolling, associative scans; generated programs against plain Python; errors."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fdl
import fdl.numpy as fnp
from fdl.tracer import tree
from tests.listings import loops_of

V = np.array([0.7, -0.4, 1.3, 0.2, -0.9, 0.5, 1.1])


def close(a: Any, b: Any, rtol: float = 1e-12) -> None:
    (la, sa), (lb, sb) = tree.flatten(a), tree.flatten(b)
    assert sa == sb
    for x, y in zip(la, lb, strict=True):
        assert np.shape(x) == np.shape(y)
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=rtol, atol=1e-14)


# --- unrolling ------------------------------------------------------------------------------------


def loops_in(f: Any, *args: Any) -> list[int]:
    """The lengths of the program's loops in compiled code."""
    return [
        int(line.split("<")[1].split()[0])
        for line in loops_of(f, *args).splitlines()
        if line.strip().startswith("serial step")
    ]


@pytest.mark.parametrize("reverse", [False, True])
def test_unrolled_scans_are_the_same(reverse: bool) -> None:
    def f(x: Any, unroll: int | bool) -> Any:
        def step(c: Any, v: Any) -> Any:
            n, y, t = c
            y = fnp.tanh(y * v + n)
            return (n + 1, y, t.at[n].set(y.sum())), (y, n)

        return fdl.scan(step, (0, x, fnp.zeros(7, "f8")), V, reverse=reverse, unroll=unroll)

    x = np.array([0.3, -0.2])

    def loss(x: Any, unroll: Any) -> Any:
        (_, y, t), (ys, _) = f(x, unroll)
        return (y * t.sum() + (ys * ys).sum(0)).sum()

    want = fdl.jit(functools.partial(f, unroll=1), backend="reference")(x)
    slope = fdl.jit(fdl.grad(functools.partial(loss, unroll=1)), backend="reference")(x)
    for unroll, expected in ((1, [7]), (False, [7]), (2, [3]), (3, [2]), (4, [1]), (7, []), (50, []), (True, [])):
        g = fdl.jit(functools.partial(f, unroll=unroll))
        close(g(x), want)
        assert [n for n in loops_in(g, x) if n > 1] == [n for n in expected if n > 1]
    for unroll in (3, True):
        close(fdl.jit(fdl.grad(functools.partial(loss, unroll=unroll)))(x), slope, 1e-11)
        close(
            fdl.jit(fdl.vmap(functools.partial(loss, unroll=unroll)))(np.stack([x, -x])),
            np.array([loss(x, 1), loss(-x, 1)]),
            1e-11,
        )


@pytest.mark.parametrize("unroll", [1, 2, True])
@pytest.mark.parametrize("n", [0, 1])
def test_unrolled_loops_of_no_step_and_one(n: int, unroll: int | bool) -> None:
    c, ys = fdl.jit(lambda x: fdl.scan(lambda c, v: (c * v, c), x, V[:n], unroll=unroll))(2.0)
    assert c.tolist() == pytest.approx(2.0 * V[:n].prod()) and ys.shape == (n,)
    assert float(fdl.jit(lambda x: fdl.fori_loop(0, n, lambda i, c: c + x, x, unroll=unroll))(2.0)) == 2.0 * (n + 1)


# --- bounds and types -----------------------------------------------------------------------------


def test_the_number_of_a_fori_loop() -> None:
    """It has the bounds' dtype; Python's adapt to what they meet."""

    def kinds(low: Any, high: Any) -> Any:
        return fdl.fori_loop(low, high, lambda i, c: (i, c[1] + 1), (np.asarray(0, np.result_type(low, high)), 0))[0].dtype

    assert kinds(np.int8(0), np.int8(3)) == np.int8 and kinds(np.int64(0), 3) == np.int64
    assert fdl.fori_loop(0, 3, lambda i, c: c * i + 1, np.int8(2)).dtype == np.int8
    assert fdl.fori_loop(0, 3, lambda i, c: c + i, 0.5).dtype == np.float32
    big = 2**40
    assert int(fdl.fori_loop(big, big + 3, lambda i, c: c + i, np.int64(0))) == 3 * big + 3
    g = fdl.jit(lambda lo, hi: fdl.fori_loop(lo, hi, lambda i, c: c + i, np.int64(0)))
    assert int(g(np.int64(big), np.int64(big + 3))) == 3 * big + 3
    assert int(fdl.jit(lambda n: fdl.fori_loop(0, n, lambda i, c: c + i, np.uint8(0)))(np.uint8(5))) == 10
    assert int(fdl.fori_loop(5, 2, lambda i, c: c + i, 0)) == 0


def test_a_fori_loop_of_many_steps_keeps_no_list_of_them() -> None:
    f = fdl.jit(lambda x: fdl.fori_loop(0, 10**7, lambda i, c: c ^ i, x))
    assert int(f(0)) == functools.reduce(operator.xor, range(10**7 - 8, 10**7), 0)
    assert f.lower(0).plan.arena_bytes < 4096 if hasattr(f.lower(0).plan, "arena_bytes") else True


def test_weak_carries_settle() -> None:
    """One leaf's type makes another's: `a` becomes a float since `b` is, and `c` since `a` is."""

    def step(s: Any, x: Any) -> Any:
        a, b, _ = s
        return (b, b + x, a), None

    out = fdl.scan(step, (0, 0, 0), np.ones(3))[0]
    assert [v.dtype for v in out] == [np.float64] * 3 and [v.tolist() for v in out] == [2.0, 3.0, 1.0]
    assert fdl.while_loop(lambda s: s < 3, lambda s: s + 0.5, 0).dtype == np.float32
    assert fdl.fori_loop(0, 2, lambda i, c: (c[1], c[0] + np.float16(1)), (0, 0))[0].dtype == np.float16


def test_numbers_in_branches_adapt() -> None:
    x = np.array([1.0, 2.0])
    assert fdl.cond(True, lambda: 1, lambda: x[0]).dtype == np.float64
    assert fdl.cond(False, lambda: (x, 2), lambda: (x * 2, 2.5))[1].dtype == np.float32
    assert fdl.switch(2, [lambda: 1, lambda: np.float16(2), lambda: 2.5]).dtype == np.float16
    with pytest.raises(ValueError, match="float64"):
        fdl.cond(True, lambda: np.float32(1), lambda: np.float64(1))


def test_forms_of_calls() -> None:
    add, sub = (lambda x: x + 1.0), (lambda x: x - 1.0)
    assert float(fdl.cond(True, add, sub, operand=3.0)) == 4.0 and float(fdl.switch(1, [add, sub], operand=3.0)) == 2.0
    assert float(fdl.cond(False, 3.0, add, 5.0, sub)) == 4.0  # the form that JAX had first
    assert fdl.cond(True, lambda x: x, lambda x: None, operand=None) is None
    assert float(fdl.cond(fnp.asarray(0.0), add, sub, 1.0)) == 0.0 and float(fdl.cond(np.int8(7), add, sub, 1.0)) == 2.0
    assert float(fdl.switch(9, [add], 1.0)) == 2.0
    for i, expected in ((2**32, 30.0), (-(2**40), 10.0), (1, 20.0)):
        assert float(fdl.jit(lambda i: fdl.switch(i, [lambda: 10.0, lambda: 20.0, lambda: 30.0]))(np.int64(i))) == expected
    assert float(fdl.switch(np.uint32(2**31 + 5), [lambda: 10.0, lambda: 20.0])) == 20.0
    assert float(fdl.switch(np.int8(-1), [lambda k=k: float(k) for k in range(300)])) == 0.0
    c, y = fdl.scan(lambda c, x: (c, x), None, None, length=3)
    assert c is None and y is None
    assert fdl.scan(lambda c, x: (c + 1, {"a": x}), 0, {"b": V})[1]["a"]["b"].tolist() == V.tolist()


# --- select and map -------------------------------------------------------------------------------


def test_select() -> None:
    p, x, y = np.array([True, False, True]), np.arange(3.0), -np.arange(3.0)
    assert fdl.select(p, x, y).tolist() == [0.0, -1.0, 2.0] and fdl.select(True, x, y).tolist() == x.tolist()
    assert fdl.select(p[0], 1, x[2]).dtype == np.float64
    which = np.array([2, 0, 1])
    assert fdl.select_n(which, x, y, x * 10).tolist() == [0.0, 1.0, -2.0]
    assert fdl.select_n(np.array([-4, 9, 1], np.int8), x, y, x * 10).tolist() == [0.0, 10.0, -2.0]
    assert fdl.select_n(p, x, y).tolist() == [0.0, 1.0, -2.0] and fdl.select_n(1, x, y).tolist() == y.tolist()
    assert fdl.select_n(which, x).tolist() == x.tolist()
    assert fdl.select_n(np.array([200, 0, 1], np.uint8), *[x + k for k in range(300)]).tolist() == [200.0, 1.0, 3.0]
    slope = fdl.grad(lambda x: (fdl.select_n(which, x, 2 * x, 3 * x) * fdl.select(p, x, 5.0 * x)).sum())(x)
    assert slope.tolist() == [0.0, 10.0, 8.0]
    wide = fdl.jit(fdl.vmap(lambda w, a: fdl.select_n(w, a, -a), in_axes=(0, None)))(np.array([1, 0]), x)
    assert wide.tolist() == [(-x).tolist(), x.tolist()]


@pytest.mark.parametrize("n", [0, 1, 5, 7, 12])
def test_map_in_batches(n: int) -> None:
    x = np.linspace(-1, 1, n)
    f = lambda d: {"y": fnp.sin(d["x"]) * d["m"].sum(), "i": d["m"]}  # noqa: E731
    xs = {"x": x, "m": np.stack([x, x * x], 1)}
    want = {"y": np.sin(x) * (x + x * x), "i": xs["m"]}
    for size in (None, 1, 3, 5, 100):
        g = functools.partial(fdl.map, f, batch_size=size)
        close(g(xs), want)
        if n == 7 and size != 1:
            close(fdl.jit(g)(xs), want)
            close(fdl.grad(lambda m, g=g: g({"x": x, "m": m})["y"].sum())(xs["m"]), np.stack([np.sin(x)] * 2, 1))


# --- associative scans ----------------------------------------------------------------------------


def partial_results(f: Callable[[Any, Any], Any], xs: list[Any]) -> list[Any]:
    out = xs[:1]
    for x in xs[1:]:
        out.append(f(out[-1], x))
    return out


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 8, 13, 33])
def test_associative_scan(n: int) -> None:
    rng = np.random.default_rng(n)
    m, b = rng.normal(size=(n, 2, 2)), rng.normal(size=(n, 2))

    def affine(f: Any, g: Any) -> Any:
        """First f, then g, of x ↦ m x + b: associative, and not commutative."""
        return {"m": g["m"] @ f["m"], "b": (g["m"] @ f["b"][..., None])[..., 0] + g["b"]}

    one = [{"m": m[k], "b": b[k]} for k in range(n)]
    for reverse in (False, True):
        want = partial_results(affine, one[::-1] if reverse else one)
        want = want[::-1] if reverse else want
        got = fdl.associative_scan(affine, {"m": m, "b": b}, reverse=reverse)
        close(got, {k: np.stack([w[k] for w in want]) if n else np.zeros_like(v) for k, v in (("m", m), ("b", b))}, 1e-9)
    x = rng.normal(size=(3, n, 2))
    for axis in (1, -2):
        close(fdl.associative_scan(fnp.maximum, x, axis=axis), np.maximum.accumulate(x, 1) if n else x)
        close(fdl.associative_scan(fnp.add, x, reverse=True, axis=axis), np.flip(np.cumsum(np.flip(x, 1), 1), 1))


def test_associative_scan_under_transforms() -> None:
    x = np.random.default_rng(0).normal(size=(3, 11))
    f = lambda v: fdl.associative_scan(lambda a, b: a * b, v)  # noqa: E731
    want = np.cumprod(x, 1)
    close(fdl.vmap(f)(x), want, 1e-10)
    close(fdl.jit(fdl.vmap(f, in_axes=1, out_axes=1))(x.T), want.T, 1e-10)
    g = fdl.jit(fdl.grad(lambda v: (f(v) * np.arange(11.0)).sum()))
    close(g(x[0]), fdl.grad(lambda v: (fdl.scan(lambda c, a: (c * a, c * a), 1.0, v)[1] * np.arange(11.0)).sum())(x[0]), 1e-9)
    assert fdl.associative_scan(operator.add, fnp.arange(5, dtype="i8")).dtype == np.int8
    assert fdl.associative_scan(operator.and_, np.array([True, True, False, True])).tolist() == [True, True, False, False]


def test_associative_scan_does_linear_work_in_few_calls() -> None:
    calls: list[int] = []

    def add(a: Any, b: Any) -> Any:
        calls.append(a.shape[0])
        return a + b

    for n in (7, 64, 1000):
        calls.clear()
        fdl.associative_scan(add, np.arange(n))
        assert sum(calls) < 2 * n and len(calls) <= 2 * math.ceil(math.log2(n))


# --- generated programs ---------------------------------------------------------------------------


class Python:
    """Control flow as Python has it, on floats."""

    sin, where = staticmethod(np.sin), staticmethod(lambda p, a, b: a if p else b)
    cond = staticmethod(lambda p, f, g, *xs: f(*xs) if p else g(*xs))
    switch = staticmethod(lambda i, fs, *xs: fs[max(0, min(int(i), len(fs) - 1))](*xs))

    @staticmethod
    def fori_loop(a: int, b: int, f: Any, c: Any, unroll: Any = None) -> Any:
        for i in range(a, b):
            c = f(i, c)
        return c

    @staticmethod
    def while_loop(p: Any, f: Any, c: Any) -> Any:
        while p(c):
            c = f(c)
        return c

    @staticmethod
    def scan(f: Any, c: Any, xs: Any, reverse: bool = False, unroll: Any = 1) -> Any:
        ys: list[Any] = [None] * len(xs)
        for k in reversed(range(len(xs))) if reverse else range(len(xs)):
            c, ys[k] = f(c, xs[k])
        return c, np.array(ys)


class Fdl:
    """The same of fdl."""

    sin, where = staticmethod(fnp.sin), staticmethod(fnp.where)
    cond, switch, fori_loop = staticmethod(fdl.cond), staticmethod(fdl.switch), staticmethod(fdl.fori_loop)
    while_loop, scan = staticmethod(fdl.while_loop), staticmethod(fdl.scan)


Body = Callable[[Any, Any, Any], Any]
"""(library, x, y) → a number."""


def bodies(depth: int) -> st.SearchStrategy[Body]:
    """Programs of nested control flow on two numbers, which stay small."""
    leaf: st.SearchStrategy[Body] = st.sampled_from([
        lambda L, x, y: L.sin(x + y), lambda L, x, y: x * 0.5 - y,
        lambda L, x, y: L.where(x > y, x * y, y - 0.25), lambda L, x, y: y * y * 0.3,
    ])  # fmt: skip
    if depth == 0:
        return leaf
    inner = bodies(depth - 1)
    small = st.integers(0, 3)

    def cond(f: Body, g: Body) -> Body:
        return lambda L, x, y: L.cond(x * 2 > y, lambda a: f(L, a, y), lambda a: g(L, y, a), L.sin(x))

    def switch(f: Body, g: Body, k: int) -> Body:
        return lambda L, x, y: L.switch(np.int32(k - 1), [lambda: f(L, x, y), lambda: g(L, y, x), lambda: f(L, y, y)])

    def fori(f: Body, n: int, unroll: int) -> Body:
        return lambda L, x, y: L.fori_loop(0, n, lambda i, c: L.sin(f(L, c, y) + i), x, unroll=unroll + 1)

    def loop(f: Body, n: int) -> Body:
        return lambda L, x, y: L.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, L.sin(f(L, s[1], y))), (np.int32(0), x))[1]

    def scan(f: Body, g: Body, reverse: bool, unroll: int) -> Body:
        def run(L: Any, x: Any, y: Any) -> Any:
            c, ys = L.scan(
                lambda c, v: (L.sin(f(L, c, v)), g(L, v, c)), x, np.array([0.3, -0.8, 0.1]), reverse=reverse, unroll=unroll + 1
            )
            return c + ys.sum() * y

        return run

    return st.one_of(
        leaf, st.builds(cond, inner, inner), st.builds(switch, inner, inner, small), st.builds(fori, inner, small, small),
        st.builds(loop, inner, small), st.builds(scan, inner, inner, st.booleans(), small),
    )  # fmt: skip


@settings(max_examples=25)
@given(bodies(3), st.integers(-9, 9), st.integers(-9, 9))
def test_generated_programs(body: Body, x: int, y: int) -> None:
    """Plain Python, the reference, compiled code, vmap and forward derivatives agree."""
    a, b = x / 7 + 0.01, y / 5 - 0.02
    want = float(body(Python, a, b))

    def f(u: Any, v: Any) -> Any:
        return body(Fdl, u, v) + 0.0 * u

    A, B = np.float64(a), np.float64(b)
    assert float(fdl.jit(f, backend="reference")(A, B)) == pytest.approx(want, rel=1e-12, abs=1e-13)
    assert float(fdl.jit(f)(A, B)) == pytest.approx(want, rel=1e-11, abs=1e-12)
    lanes = fdl.vmap(f, in_axes=(0, None))
    wanted = [float(body(Python, v, b)) for v in (a, -a, a + 0.5)]
    close(fdl.jit(lanes)(np.array([a, -a, a + 0.5]), B), np.array(wanted), 1e-10)
    # The derivative along a direction, by both modes of either backend, against that of the same program unrolled in Python.
    (dot,) = fdl.jvp(lambda u: f(u, B), (A,), (np.float64(1),))[1:]
    (expected,) = fdl.jvp(lambda u: body(_Eager, u, B) + 0.0 * u, (A,), (np.float64(1),))[1:]
    assert float(dot) == pytest.approx(float(expected), rel=1e-9, abs=1e-11)


class _Eager(Python):
    """Python's control flow on traced values, as it works under derivatives outside `jit`."""

    sin, where = staticmethod(fnp.sin), staticmethod(fnp.where)

    @staticmethod
    def scan(f: Any, c: Any, xs: Any, reverse: bool = False, unroll: Any = 1) -> Any:
        ys: list[Any] = [None] * len(xs)
        for k in reversed(range(len(xs))) if reverse else range(len(xs)):
            c, ys[k] = f(c, xs[k])
        return c, fnp.stack(ys)


# --- errors ---------------------------------------------------------------------------------------


def named(f: Callable[..., Any]) -> Callable[..., Any]:
    f.__name__ = "f"
    return f


x32, x64 = np.ones(2, np.float32), np.ones(2)
ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "carry dtype": (
        lambda: fdl.scan(named(lambda c, x: ({"a": c["a"] + x}, x)), {"a": np.float32(0)}, x64), ValueError,
        r"scan: the carry\['a'\] starts as f32\[\], but f returns f64\[\]: start with init as float64 "
        r"\(\.astype\('float64'\)\), or return it with \.astype\('float32'\)\.",
    ),
    "carry dtype down": (
        lambda: fdl.while_loop(lambda c: c.sum() < 3, named(lambda c: c.astype("f2")), x32), ValueError,
        r"while_loop: the carry starts as f32\[2\], but f returns f16\[2\]: return it with \.astype\('float32'\), or start with "
        r"init as float16\.",
    ),
    "carry shapes": (
        lambda: fdl.fori_loop(0, 3, named(lambda i, c: (c[0][:1], c[1], c[0])), (x32, 1.0, x64)), ValueError,
        r"fori_loop: \n  the carry\[0\] starts as f32\[2\], but f returns f32\[1\]: both must have one shape.*\n"
        r"  the carry\[2\] starts as f64",
    ),
    "carry structure": (
        lambda: fdl.fori_loop(0, 3, named(lambda i, c: {"b": c["a"]}), {"a": 1.0}), ValueError,
        r"fori_loop: f must return a carry nested like init: carry: expected a dict with keys \['a'\]",
    ),
    "traced fori carry": (
        lambda: fdl.jit(lambda n: fdl.fori_loop(0, n, named(lambda i, c: (c[0], c[1].astype("i4"))), (1.0, x32)))(3), ValueError,
        r"fori_loop: the carry\[1\] starts as f32\[2\], but f returns i32\[2\]",
    ),
    "cond types": (
        lambda: fdl.cond(True, named(lambda: {"p": x32, "q": x64}), lambda: {"p": x64, "q": x64[:1]}), ValueError,
        r"branches return different types: \n  f\['p'\] is f32\[2\], <lambda>\['p'\] is f64\[2\]: convert one with \.astype\('float64'\)\n"
        r"  f\['q'\] is f64\[2\], <lambda>\['q'\] is f64\[1\]: reshape or broadcast one",
    ),
    "cond structures": (
        lambda: fdl.cond(True, named(lambda: {"a": (1.0, 2.0)}), lambda: {"a": [1.0]}), ValueError,
        r"return different structures: the output\['a'\]: f returns a tuple of 2, <lambda> a list of 1",
    ),
    "cond function": (lambda: fdl.cond(True, 1.0, 2.0), TypeError, "cond: expected a function, got"),
    "cond operands": (lambda: fdl.cond(True, lambda x: x, lambda x: x, 1.0, operand=2.0), TypeError, "both operand= and positional"),
    "cond none": (lambda: fdl.cond(None, lambda: 1, lambda: 2), TypeError, "pred is None"),
    "unroll": (lambda: fdl.scan(lambda c, x: (c, x), 0.0, x32, unroll=-1), ValueError, "unroll=-1"),
    "unroll kind": (lambda: fdl.scan(lambda c, x: (c, x), 0.0, x32, unroll=1.5), ValueError, "unroll=1.5"),
    "unroll traced": (
        lambda: fdl.jit(lambda n: fdl.fori_loop(0, n, lambda i, c: c, 0, unroll=2))(3), ValueError, "unroll=2 needs bounds",
    ),
    "length": (lambda: fdl.scan(lambda c, x: (c, x), 0.0, None, length=-1), ValueError, "length=-1"),
    "length differs": (lambda: fdl.scan(lambda c, x: (c, x), 0.0, x32, length=3), ValueError, "xs: 2, length: 3"),
    "bounds differ": (lambda: fdl.fori_loop(np.int8(0), np.int16(3), lambda i, c: c, 0), TypeError, "int8 and int16.*astype"),
    "batch size": (lambda: fdl.map(lambda x: x, x32, batch_size=0), ValueError, "batch_size=0"),
    "select dtype": (lambda: fdl.select(True, x32, x64), TypeError, "select: cases have dtypes float64 and float32"),
    "select shapes": (lambda: fdl.select(True, x32, x32[:1]), ValueError, r"\(1,\) and \(2,\).*where"),
    "select pred": (lambda: fdl.select(x32, x32, x32), TypeError, "float32, expected bool"),
    "select pred shape": (lambda: fdl.select(np.array([True]), x32, x32), ValueError, r"shape \(1,\), expected \(\)"),
    "select_n which": (lambda: fdl.select_n(x32, x32, x32), TypeError, "float32, expected bool or an integer"),
    "select_n bool": (lambda: fdl.select_n(True, x32, x32, x32), ValueError, "between two cases, got 3"),
    "select_n none": (lambda: fdl.select_n(1), ValueError, "at least one"),
    "associative sizes": (
        lambda: fdl.associative_scan(operator.add, {"a": x32, "b": x32[:1]}), ValueError, r"elems\['a'\]: 2, elems\['b'\]: 1",
    ),
    "associative axis": (
        lambda: fdl.associative_scan(operator.add, x32, axis=1), ValueError, r"elems of shape \(2,\) has no axis 1",
    ),
    "associative result": (
        lambda: fdl.associative_scan(named(lambda a, b: a > b), x32), ValueError, r"f returns bool\[1\] for elems.*f32\[1\]",
    ),
    "associative nesting": (
        lambda: fdl.associative_scan(named(lambda a, b: (a, b)), x32), ValueError, "f must return what elems are",
    ),
    "reverse of a while": (
        lambda: fdl.jit(fdl.grad(lambda n: fdl.fori_loop(0, n.astype("i4"), lambda i, c: c * n, 1.0)))(3.0), RuntimeError,
        r"(?s)no reverse-mode derivative.*fdl\.scan.*fori_loop with bounds that are Python ints.*custom_vjp.*fdl\.jvp.*"
        r"test_control_forms\.py",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_messages(name: str) -> None:
    call, kind, pattern = ERRORS[name]
    with pytest.raises(kind, match=pattern) as caught:
        call()
    assert "test_control_forms.py" in str(caught.value)


# --- forms and messages ----------------------------------------------------------------------------


def test_a_scan_body_may_return_a_list() -> None:
    total, ys = fdl.scan(lambda c, x: [c + x, 2 * x], 0.0, V)
    close((total, ys), (V.sum(), 2 * V))


def test_branches_of_one_name_are_told_apart() -> None:
    with pytest.raises(ValueError, match=r"cond: .* types: true_fun is i32\[\], false_fun is f32\[\]: convert one with .astype"):
        fdl.cond(True, lambda: fnp.int32(1), lambda: fnp.float32(2))
    with pytest.raises(ValueError, match=r"switch: .* structures: the output: branches\[0\] returns a tuple of 1, branches\[2\] an array"):
        fdl.switch(0, [lambda: (1,), lambda: (2,), lambda: 3])


def test_a_test_that_is_nested_says_so() -> None:
    with pytest.raises(TypeError, match=r"while_loop: <lambda> must return one bool, got a tuple of 1\. Return the test alone"):
        fdl.while_loop(lambda c: (c > 1,), lambda c: c + 1, 3.0)


def test_a_traced_length_names_the_way_out() -> None:
    f = fdl.jit(lambda n: fdl.scan(lambda c, _: (c + 1, None), 0, None, length=n)[0])
    with pytest.raises(TypeError, match=r"scan: length is a traced array of type i32\[\], .* Make it a static argument \(static_argnums\)"):
        f(3)
    assert int(fdl.jit(lambda n: fdl.scan(lambda c, _: (c + 1, None), 0, None, length=n)[0], static_argnums=0)(3)) == 3
