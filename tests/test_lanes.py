"""vmap of decisions: what each lane of a mapped cond, switch or while_loop gives is what it gives alone, in derivatives too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fdl
import fdl.numpy as fnp
from fdl.tracer.ir import Program, subprograms
from fdl.tracer.passes.simplify import simplify
from fdl.tracer.passes.spread import spread

RNG = np.random.default_rng(0)


def primitives(p: Program) -> set[str]:
    """The names of the primitives of a program and its sub-programs."""
    return {e.primitive.name for e in p.equations}.union(*(primitives(q) for e in p.equations for q in subprograms(e.params)))


def alone(f: Callable[..., Any], *xs: np.ndarray) -> np.ndarray:
    """`f` of each lane by itself, by the reference interpreter."""
    g = fdl.jit(f, backend="reference")
    return np.stack([np.asarray(g(*lane)) for lane in zip(*xs, strict=True)])


def close(a: Any, b: Any, rtol: float = 1e-12) -> None:
    np.testing.assert_allclose(np.asarray(a), b, rtol=rtol, atol=1e-300)


# --- branches -------------------------------------------------------------------------------------

BRANCHES: dict[str, Callable[[Any], Any]] = {
    "log or a number": lambda x: fdl.cond(x > 0, fnp.log, lambda x: 0.0, x),
    "sqrt or nothing": lambda x: fdl.cond(x > 0, lambda: fnp.sqrt(x), lambda: x * 0),
    "quotients": lambda x: fdl.switch((x > 0) + 2 * (x < -1), [lambda v: v, lambda v: 1 / v, lambda v: fnp.log(-v - 1)], x),
    "nested": lambda x: fdl.cond(x > 0, lambda: fdl.cond(x > 1, lambda: fnp.log(x - 1) * x, lambda: x**1.5), lambda: x * x),
    "three, clamped": lambda x: fdl.switch(
        fnp.floor(x).astype("i4") + 1, [lambda: -x, lambda: fnp.exp(x), lambda: fnp.log1p(x)]
    ),
    "in jit": lambda x: fdl.cond(x > 0, fdl.jit(fnp.log), fdl.jit(lambda v: v * v), x),
    "arrays": lambda x: fdl.cond(x > 0, lambda: fnp.log(x * np.arange(1.0, 4.0)), lambda: np.arange(3.0) * x).sum(),
    "in a map": lambda x: fdl.map(lambda v: fdl.cond(v > 0, fnp.log, fnp.exp, v), x * np.array([1.0, -1.0, 2.0])).sum(),
}
X = np.array([1.5, -2.0, 0.0, 3.0, -0.5, 1e-3, 0.9, -1.0])


@pytest.mark.parametrize("name", BRANCHES)
def test_branches(name: str) -> None:
    """No NaN or infinity comes from the branch that a lane did not take: in values, gradients of either nesting, and second ones."""
    f = BRANCHES[name]
    want, slope, second = alone(f, X), alone(fdl.grad(f), X), alone(fdl.grad(fdl.grad(f)), X)
    assert np.isfinite(want).all() and np.isfinite(slope).all() and np.isfinite(second).all()
    for wrap in (lambda g: g, fdl.jit, lambda g: fdl.jit(g, backend="reference")):
        close(wrap(fdl.vmap(f))(X), want)
        close(wrap(fdl.vmap(fdl.grad(f)))(X), slope, 1e-11)
        close(wrap(fdl.grad(lambda x: fdl.vmap(f)(x).sum()))(X), slope, 1e-11)
        close(wrap(fdl.vmap(lambda x: fdl.jvp(f, (x,), (1.0 + 0 * x,))[1]))(X), slope, 1e-11)
    close(fdl.jit(fdl.vmap(fdl.grad(fdl.grad(f))))(X), second, 1e-10)
    close(fdl.jit(fdl.grad(lambda x: fdl.grad(lambda v: fdl.vmap(f)(v).sum())(x).sum()))(X), second, 1e-10)
    grid = np.stack([X, -X, X[::-1]])
    close(fdl.jit(fdl.vmap(fdl.vmap(f), in_axes=1, out_axes=1))(grid), np.stack([alone(f, row) for row in grid]))


@pytest.mark.parametrize("dtype", ["f32", "f16", "i32", "c64"])
def test_kinds_of_numbers(dtype: str) -> None:
    x = fnp.asarray([3, -2, 0, 5], dtype)
    f = fdl.vmap(lambda x, i: fdl.switch(i, [lambda: x * 2, lambda: x - x, lambda: x * x]))
    for g in (f, fdl.jit(f)):
        y = g(x, np.array([0, 1, 2, 9]))
        assert y.dtype == x.dtype and y.tolist() == [6, 0, 0, 25]


def test_cheap_branches_become_array_operations_once_derivatives_are_taken() -> None:
    """In compiled code there is no loop over the lanes then; what may fail, calls back or is large keeps it."""

    def left(f: Callable[[Any], Any]) -> set[str]:
        return primitives(simplify(fdl.make_ir(f)(fnp.ones(8)))) & {"scan", "cond", "select", "callback"}

    f = fdl.vmap(lambda x: fdl.cond(x > 0, fnp.log, lambda v: v * v, x))
    assert "scan" in primitives(fdl.make_ir(f)(X)) and "scan" in primitives(
        fdl.make_ir(fdl.vmap(fdl.grad(BRANCHES["nested"])))(X)
    )
    assert left(f) == {"select"} == left(fdl.vmap(fdl.grad(BRANCHES["nested"]))) == left(fdl.vmap(BRANCHES["quotients"]))
    assert left(fdl.vmap(lambda x: fdl.cond(x > 0, lambda: fnp.arange(8.0)[x.astype("i4")], lambda: x))) >= {"scan", "cond"}
    assert left(fdl.vmap(lambda x: fdl.cond(x > 0, lambda: fdl.pure_callback(np.log, x, x), lambda: x))) >= {
        "scan",
        "cond",
        "callback",
    }
    assert left(lambda x: fdl.scan(lambda c, v: (c * v, fdl.cond(v > 0, fnp.log, fnp.exp, v)), 1.0, x)) >= {"scan", "cond"}
    p = fdl.make_ir(lambda x: fdl.map(lambda v: v * 2 + 1, x))(fnp.ones(8))
    assert primitives(spread(p)) == {"jit", "mul", "add"} and spread(p) is spread(p)


# --- loops ----------------------------------------------------------------------------------------


def collatz(n: Any) -> Any:
    return fdl.while_loop(lambda s: s[0] > 1, lambda s: (fnp.where(s[0] % 2 == 0, s[0] // 2, 3 * s[0] + 1), s[1] + 1), (n, 0))[
        1
    ]


def collatz_in_python(n: int) -> int:
    steps = 0
    while n > 1:
        n, steps = (n // 2 if n % 2 == 0 else 3 * n + 1), steps + 1
    return steps


@settings(max_examples=25)
@given(st.lists(st.one_of(st.integers(-3, 40), st.just(27), st.just(97)), min_size=0, max_size=70))
def test_each_lane_takes_its_own_number_of_steps(starts: list[int]) -> None:
    """Few lanes and many, with stragglers and without, none at all."""
    padded = starts + [1] * (-len(starts) % 10)  # few sizes, few programs
    x = np.array(padded, np.int32)
    want = [collatz_in_python(n) for n in padded]
    assert compiled(x).tolist() == want and interpreted(x).tolist() == want


compiled, interpreted = fdl.jit(fdl.vmap(collatz)), fdl.jit(fdl.vmap(collatz), backend="reference")


def test_one_lane_that_takes_long_delays_no_other() -> None:
    """The others are not computed on and on: this would take hours if they were."""
    n = np.ones(100_000, np.int32)
    n[77] = 3_000_000
    f = fdl.jit(fdl.vmap(lambda n: fdl.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] * 0.5 + 1.0), (0, 0.0))[1]))
    y = np.asarray(f(n))
    assert y[77] == 2.0 and (np.delete(y, 77) == 1.0).all()


LOOPS: dict[str, Callable[[Any, Any], Any]] = {
    "root": lambda x, n: fdl.while_loop(lambda s: abs(s * s - x * x - 1) > 1e-12, lambda s: 0.5 * (s + (x * x + 1) / s), x * x + 1),
    "counted": lambda x, n: fdl.fori_loop(0, n, lambda i, c: c * x + i, x),
    "a NaN once it has ended": lambda x, n: fdl.while_loop(
        lambda s: s[0] < 3, lambda s: (s[0] + 1, fnp.sqrt(3 - s[0]) * s[1]), (0.0 + n % 4, x)
    )[1],
    "a loop in a loop": lambda x, n: fdl.fori_loop(0, n, lambda i, c: fdl.while_loop(lambda s: s < 9, lambda s: s * 2 + 1, c * 0.5), x * x),
    "a branch in a loop": lambda x, n: fdl.fori_loop(0, n, lambda i, c: fdl.cond(c > 1, fnp.log, lambda v: v + x * x, c), 0.5 + x * x),
    "a scan in a loop": lambda x, n: fdl.fori_loop(
        0, n, lambda i, c: fdl.scan(lambda d, v: (d * v + x, None), c, np.arange(1.0, 3.0))[0], x
    ),
    "a lookup in a loop": lambda x, n: fdl.fori_loop(0, n, lambda i, c: c + fnp.asarray(np.arange(7.0))[i] * x, x),
}  # fmt: skip


@pytest.mark.parametrize("lanes", [3, 40])
@pytest.mark.parametrize("name", LOOPS)
def test_loops(name: str, lanes: int) -> None:
    f = LOOPS[name]
    x, n = RNG.normal(size=lanes), np.resize([0, 5, 2, 1, 7, 3, 0, 1], lanes).astype(np.int32)
    want = alone(f, x, n)
    slope = alone(lambda x, n: fdl.jvp(lambda v: f(v, n), (x,), (1.0 + 0 * x,))[1], x, n)
    assert np.isfinite(want).all() and np.isfinite(slope).all()
    close(fdl.jit(fdl.vmap(f))(x, n), want)
    close(fdl.jit(fdl.vmap(f), backend="reference")(x, n), want)
    each = fdl.vmap(lambda x, n: fdl.jvp(lambda v: f(v, n), (x,), (1.0 + 0 * x,))[1])
    whole = lambda x, n: fdl.jvp(lambda v: fdl.vmap(f)(v, n), (x,), (1.0 + 0 * x,))[1]  # noqa: E731
    close(fdl.jit(each)(x, n), slope, 1e-9)
    close(fdl.jit(whole)(x, n), slope, 1e-9)
    if lanes == 3:
        grid, counts = np.stack([x, -x]), np.stack([n, n[::-1]])
        wanted = np.stack([alone(f, *rows) for rows in zip(grid, counts, strict=True)])
        close(fdl.jit(fdl.vmap(fdl.vmap(f)))(grid, counts), wanted)
        close(
            fdl.jit(fdl.vmap(fdl.vmap(f, in_axes=(0, None))))(grid, counts[:, 0]),
            np.stack([alone(f, r, [c] * 3) for r, c in zip(grid, counts[:, 0], strict=True)]),
        )
