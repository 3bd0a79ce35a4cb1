"""Control flow: cond, switch, while_loop, fori_loop, scan, map: eager, on the reference backend and compiled; derivatives; vmap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl.tracer import tree

V = np.array([0.7, -0.4, 1.3])
M = np.array([[0.2, 0.5, -0.3], [0.1, -0.6, 0.4], [0.3, 0.2, 0.7]])


def close(a: Any, b: Any, rtol: float = 1e-9, atol: float = 1e-12) -> None:
    b = np.array(b) if isinstance(b, list) else b
    (la, sa), (lb, sb) = tree.flatten(a), tree.flatten(b)
    assert sa == sb, (sa, sb)
    for x, y in zip(la, lb, strict=True):
        x, y = np.asarray(x), np.asarray(y)
        assert x.shape == y.shape
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)


def newton(x: Any) -> Any:
    """√(1 + x²) by Newton's iteration."""
    a = 1 + x * x
    return fdl.while_loop(lambda s: abs(s * s - a) > 1e-14 * a, lambda s: 0.5 * (s + a / s), a)


def rnn(h: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        h = fnp.tanh(M @ h + x)
        return h, (h.sum(), x[0] * h[1])

    return fdl.scan(step, h, np.stack([V, 2 * V, V - 1, V * 0]))


def counted(x: Any) -> Any:
    """An integer and a boolean carried alongside floats."""

    def step(carry: Any, _: Any) -> Any:
        n, flip, y = carry
        return (n + 2, ~flip, fnp.where(flip, y * 2, y + n)), n

    return fdl.scan(step, (0, True, x), None, 5)


def nested(x: Any) -> Any:
    def outer(c: Any, row: Any) -> Any:
        def inner(d: Any, a: Any) -> Any:
            d = fdl.cond(d.sum() > 1.0, lambda: d * a, lambda: d + fnp.sin(a) * c)
            return d, d[0] * a

        d, ys = fdl.scan(inner, c, row)
        return fnp.tanh(d), ys.sum()

    c, sums = fdl.scan(outer, x, M)
    return c.sum() * sums.prod()


def loops(x: Any) -> Any:
    y = fdl.fori_loop(2, 6, lambda i, c: c * x + i, fnp.ones_like(x))
    return fdl.map(lambda a: fnp.exp(-a * a) * y, V).sum(0)


def branches(x: Any) -> Any:
    parts = [fdl.switch(i, [fnp.sin, lambda v: v * v, lambda v: v.sum() * v], x) for i in (-3, 0, 1, 2, 9)]
    return sum(parts) + fdl.cond(x[0] > 0, lambda a, b: a * b["v"], lambda a, b: a - b["v"], x, {"v": x + 1})


CASES: dict[str, tuple[Callable[[Any], Any], Any, bool]] = {
    "newton": (newton, np.float64(0.7), False),
    "rnn": (rnn, V, True),
    "rnn backwards": (lambda h: fdl.scan(lambda h, x: (fnp.sin(h * x), h + x), h, M, reverse=True), V, True),
    "counted": (counted, np.float64(0.3), True),
    "nested": (nested, V, True),
    "loops": (loops, V, True),
    "branches": (branches, V, True),
    "branches negative": (branches, -V, True),
    "cumulative": (lambda x: fdl.scan(lambda c, a: (c * a, c * a), 1.0, x)[1], V, True),
    "closure": (lambda x: fdl.scan(lambda c, a: (c * x[1] + a * x, fnp.dot(c, x)), fnp.zeros_like(x), x)[1], V, True),
    "length 0": (lambda x: fdl.scan(lambda c, a: (c * a, c), x[0], fnp.zeros(0, np.float64)), V, True),
    "length 1": (lambda x: fdl.scan(lambda c, a: (c * a, c), x[0], x[1:2]), V, True),
    "no trip": (lambda x: fdl.fori_loop(3, 3, lambda i, c: c * 2, x) + fdl.while_loop(lambda c: c > 1e9,
        lambda c: c * 2, 1.0) * x, V, True),
    "cond in while": (
        lambda x: fdl.while_loop(
            lambda s: s[0] < 5, lambda s: (s[0] + 1, fdl.cond(s[0] % 2 == 0, fnp.sin, lambda v: v * 1.5, s[1])), (0, x)
        )[1], V, False,
    ),
    "scan in cond": (
        lambda x: fdl.cond(x.sum() > 0, lambda: fdl.scan(lambda c, a: (c * a, c), 2.0 * x[0], x)[1], lambda: x), V, True,
    ),
    "carry unchanged": (lambda x: fdl.scan(lambda c, a: ((c[0], c[1] + c[0] * a), None), (x[0], x[1]), x)[0], V, True),
    "powers": (lambda x: fdl.cond(x > 0.5, lambda: x**2, lambda: x**3), np.float64(0.7), True),
    "swap": (lambda x: fdl.scan(lambda c, a: ((c[1], c[0] * a), c[0]), (x[0], x[1]), x), V, True),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_three_ways_agree(name: str) -> None:
    f, x, _ = CASES[name]
    with fdl.config.using(backend="reference"):
        eager = f(x)
        reference = fdl.jit(f, backend="reference")(x)
    close(reference, eager, 1e-14)
    compiled = fdl.jit(f, backend="llvm")(x)
    close(compiled, eager, 1e-13)
    assert [a.dtype for a in tree.leaves(compiled)] == [a.dtype for a in tree.leaves(eager)]
    close(f(x), eager, 1e-13)


def scalar(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The sum of the floats that `f` returns, each weighted alike wherever it runs."""

    def g(x: Any) -> Any:
        leaves = [a for a in tree.leaves(f(x)) if a.dtype == np.float64]
        return sum((fnp.sum(a * fnp.cos(1.0 + np.arange(a.size, dtype=np.float64).reshape(a.shape))) for a in leaves), 0.0)

    return g


def numeric(g: Callable[[Any], Any], x: Any, h: float = 1e-6) -> np.ndarray:
    x = np.asarray(x)
    out = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        d = np.zeros(x.shape)
        d[i] = h
        out[i] = (float(g(x + d)) - float(g(x - d))) / (2 * h)
    return out


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name: str) -> None:
    f, x, reverse = CASES[name]
    g = scalar(f)
    with fdl.config.using(backend="reference"):
        want = numeric(g, x)
        direction = np.cos(np.arange(want.size)).reshape(want.shape)
        close(fdl.jvp(g, (x,), (direction,))[1], (want * direction).sum(), 1e-6, 1e-7)
        close(fdl.linearize(g, x)[1](direction), (want * direction).sum(), 1e-6, 1e-7)
        if reverse:
            exact = fdl.grad(g)(x)
            close(exact, want, 1e-6, 1e-7)
            second = fdl.jvp(fdl.grad(g), (x,), (direction,))[1]
            close(fdl.grad(lambda v: (fdl.grad(g)(v) * direction).sum())(x), second, 1e-9, 1e-11)
    if reverse:
        close(fdl.jit(fdl.grad(g))(x), exact, 1e-11)
        close(fdl.grad(fdl.jit(g))(x), exact, 1e-11)
        close(fdl.jit(lambda v: fdl.jvp(fdl.grad(g), (v,), (direction,))[1])(x), second, 1e-10)


@pytest.mark.parametrize("name", CASES)
def test_vmap_is_each_lane_alone(name: str) -> None:
    f, x, reverse = CASES[name]
    xs = np.stack([x, -x, 0.5 * x, x + 0.1])
    with fdl.config.using(backend="reference"):
        alone = [f(v) for v in xs]
        want = tree.map(lambda *a: np.stack([np.asarray(v) for v in a]), *alone)
        close(fdl.vmap(f)(xs), want, 1e-12)
        close(fdl.vmap(f, in_axes=-1, out_axes=0)(np.moveaxis(xs, 0, -1)), want, 1e-12)
        if reverse:
            gradients = np.stack([np.asarray(fdl.grad(scalar(f))(v)) for v in xs])
            close(fdl.vmap(fdl.grad(scalar(f)))(xs), gradients, 1e-11)
    close(fdl.jit(fdl.vmap(f))(xs), want, 1e-12)
    if reverse:
        close(fdl.jit(fdl.vmap(fdl.grad(scalar(f))))(xs), gradients, 1e-10)


# --- what a lane does not take, it does not see ---------------------------------------------------


def test_no_nan_from_the_branch_not_taken() -> None:
    def f(x: Any) -> Any:
        return fdl.cond(x > 0, fnp.log, lambda v: v * v, x)

    xs = np.array([1.0, 0.0, -2.0, np.e])
    for g in (fdl.vmap(f), fdl.jit(fdl.vmap(f))):
        close(g(xs), [0.0, 0.0, 4.0, 1.0])
    for g in (fdl.vmap(fdl.grad(f)), fdl.jit(fdl.vmap(fdl.grad(f))), fdl.grad(lambda v: fdl.vmap(f)(v).sum())):
        close(g(xs), [1.0, 0.0, -4.0, 1 / np.e])
    root = fdl.vmap(fdl.grad(lambda x: fdl.cond(x == 0, lambda v: v * 0, fnp.sqrt, x)))
    close(root(np.array([0.0, 4.0])), [0.0, 0.25])


def test_no_error_and_no_callback_from_the_branch_not_taken() -> None:
    seen = []

    def note(v: Any) -> Any:
        seen.append(float(v))
        return v

    x = fnp.arange(3.0)
    f = fdl.vmap(lambda i: fdl.cond(i < 3, lambda: x[i], lambda: 0.0 * x[0]))
    for g in (f, fdl.jit(f)):
        assert g(np.array([0, 2, 7, -1, 3], np.int32)).tolist() == [0.0, 2.0, 0.0, 2.0, 0.0]
    h = fdl.vmap(lambda v: fdl.cond(v > 1, lambda: fdl.pure_callback(note, v, v), lambda: v))
    assert h(fnp.array([0.0, 2.0, 1.0, 3.0])).tolist() == [0.0, 2.0, 1.0, 3.0]
    assert sorted(seen) == [2.0, 3.0]


def test_each_lane_of_a_while_ends_by_itself() -> None:
    def steps(n: Any) -> Any:
        """The length of the Collatz sequence."""
        return fdl.while_loop(
            lambda s: s[0] > 1, lambda s: (fnp.where(s[0] % 2 == 0, s[0] // 2, 3 * s[0] + 1), s[1] + 1), (n, 0)
        )[1]

    starts = np.array([1, 2, 7, 27, 3], np.int32)
    for f in (fdl.vmap(steps), fdl.jit(fdl.vmap(steps))):
        assert f(starts).tolist() == [0, 1, 16, 111, 7]
    grow = fdl.vmap(lambda x, y: fdl.while_loop(lambda s: s < y, lambda s: s * 2, x), in_axes=(None, 0))
    assert grow(1.0, fnp.array([3.0, 100.0, 0.5])).tolist() == [4.0, 128.0, 1.0]
    dots = fdl.vmap(lambda x: fdl.jvp(lambda v: fdl.while_loop(lambda s: s < 10.0, lambda s: s * v, v), (x,), (1.0,))[1])
    close(dots(np.array([2.0, 4.0, 20.0])), [32.0, 8.0, 1.0])


# --- kinds of carries and operands ----------------------------------------------------------------


def test_weak_carries_take_the_body_s_types() -> None:
    assert fdl.scan(lambda c, x: (c + x, None), 0, np.ones(3, np.float64))[0].dtype == np.float64
    assert fdl.scan(lambda c, x: (c + x, None), 0.0, np.ones(3, np.float16))[0].dtype == np.float16
    assert fdl.while_loop(lambda s: s < 5, lambda s: s + np.int64(2), 0).dtype == np.int64
    assert fdl.fori_loop(0, 3, lambda i, c: c + 0.5, 1).tolist() == 2.5


def test_bounds_of_fori_loop() -> None:
    add = lambda i, c: c + i  # noqa: E731
    assert int(fdl.fori_loop(3, 6, add, 0)) == 12 and int(fdl.fori_loop(6, 3, add, 7)) == 7
    assert int(fdl.jit(lambda n: fdl.fori_loop(0, n, add, 0))(5)) == 10
    assert int(fdl.jit(lambda n: fdl.fori_loop(-2, n, add, 0))(np.int32(2))) == -2
    assert int(fdl.fori_loop(np.int32(0), fnp.asarray(4), add, 0)) == 6
    assert fdl.vmap(lambda n: fdl.fori_loop(0, n, add, 0))(np.arange(4, dtype=np.int32)).tolist() == [0, 0, 1, 3]


def test_pytrees_are_carried() -> None:
    init = {"n": None, "a": [np.float32(1.0), (2.0, True)]}

    def step(c: Any, x: Any) -> Any:
        return {"n": None, "a": [c["a"][0] * x["u"], (c["a"][1][0] + x["v"][0], ~c["a"][1][1])]}, {
            "out": x["v"][0],
            "none": None,
        }

    xs = {"u": np.arange(1, 4, dtype=np.float32), "v": (np.arange(3, dtype=np.float32),)}
    for f in (fdl.scan, fdl.jit(fdl.scan, static_argnums=0)):
        c, ys = f(step, init, xs)
        assert float(c["a"][0]) == 6.0 and float(c["a"][1][0]) == 5.0 and not bool(c["a"][1][1]) and c["n"] is None
        assert ys["out"].tolist() == [0.0, 1.0, 2.0] and ys["none"] is None


def test_scan_of_arrays_of_many_dtypes() -> None:
    for dtype in ("bool", "i8", "u8", "i64", "f16", "bf16", "f64"):
        x = fnp.asarray([1, 0, 1, 1], dtype)
        for f in (fdl.scan, fdl.jit(fdl.scan, static_argnums=0)):
            c, ys = f(lambda c, v: (fnp.maximum(c, v), v), x[1], x)
            assert c.dtype == ys.dtype == x.dtype and ys.tolist() == x.tolist() and c.tolist() == 1


def test_map_and_switch() -> None:
    assert fdl.map(lambda x: (x, x.sum()), fnp.ones((2, 3)))[1].tolist() == [3.0, 3.0]
    pick = fdl.jit(lambda i, x: fdl.switch(i, [lambda v: v, lambda v: -v, lambda v: v * 10], x))
    assert [float(pick(i, 2.0)) for i in (-5, 0, 1, 2, 7)] == [2.0, 2.0, -2.0, 20.0, 20.0]
    assert fdl.vmap(lambda i: fdl.switch(i, [lambda: 1.0, lambda: 2.0]))(np.array([0, 1, 5, -1])).tolist() == [
        1.0,
        2.0,
        2.0,
        1.0,
    ]
    assert float(fdl.cond(3, lambda: 1.0, lambda: 2.0)) == 1.0 and float(fdl.cond(0.0, lambda: 1.0, lambda: 2.0)) == 2.0


def test_updates_in_a_loop() -> None:
    def f(x: Any) -> Any:
        x = fnp.asarray(x)
        return fdl.fori_loop(0, 5, lambda i, t: t.at[i].set(t[i - 1] * 2 + x[i]), fnp.zeros(5, x.dtype).at[-1].set(1.0))

    x = np.arange(5.0)
    want = np.zeros(5)
    want[-1] = 1.0
    for i in range(5):
        want[i] = want[i - 1] * 2 + x[i]
    close(f(x), want)
    close(fdl.jit(f)(x), want)
    with fdl.config.using(backend="reference"):
        exact = fdl.grad(lambda v: (f(v) ** 2).sum())(x)
    close(exact, numeric(lambda v: (f(v) ** 2).sum(), x), 1e-5, 1e-5)
    close(fdl.jit(fdl.grad(lambda v: (f(v) ** 2).sum()))(x), exact)


def test_python_control_flow_inside_traced_control_flow() -> None:
    f = lambda flag: lambda x: fdl.scan(lambda c, a: (c + a if flag else c * a, None), x, V)[0]  # noqa: E731
    assert float(f(True)(1.0)) == pytest.approx(1 + V.sum()) and float(fdl.jit(f(False))(1.0)) == pytest.approx(V.prod())


def test_a_long_scan_is_one_loop() -> None:
    f = fdl.jit(lambda x: fdl.scan(lambda c, a: (c * 0.5 + a, None), 0.0, x)[0])
    x = fnp.ones(100_000)
    assert float(f(x)) == pytest.approx(2.0)
    assert [e.primitive.name for e in f.lower(x).program.equations] == ["convert", "scan"]


def test_buffers_that_share_an_address_keep_their_own_values() -> None:
    """The smallest program in which a load of one loop's carry was taken for a load of the next one's, at the same place."""

    def f(x: Any) -> Any:
        return fdl.scan(lambda c, a: (c * x, None), fnp.ones_like(x), fnp.arange(1.0, 4.0))[0] * 3 / x**2

    assert float(fdl.jit(fdl.grad(f))(2.0)) == pytest.approx(3.0)
