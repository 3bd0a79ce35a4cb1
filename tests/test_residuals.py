"""What reverse mode keeps and how it adds up: cheap residuals are made again, slices' cotangents are put side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl import nn
from fdl.tracer.ir import Program, subprograms


def equations(p: Program) -> list[Any]:
    """Every equation of a program, those of its sub-programs included."""
    return [x for e in p.equations for x in (e, *(y for q in subprograms(e.params) for y in equations(q)))]


def test_what_is_cheap_is_not_stacked() -> None:
    def f(w: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            s = nn.sigmoid(h * w + x)  # the derivative needs s (1 - s), which follows from s
            return s, None

        return fnp.sum(fdl.scan(step, fnp.zeros(8), fnp.ones((5, 8)))[0])

    program = fdl.make_ir(fdl.grad(f))(np.ones(8, np.float32))
    forward = next(e for e in program.equations if e.primitive.name == "scan")
    stacked = [v.type.shape for v in forward.outputs if v.type.shape == (5, 8)]
    assert len(stacked) == 2, "the state and s; not s (1 - s), nor h w + x"


def test_derivatives_are_the_same() -> None:
    def f(x: Any) -> Any:
        def step(c: Any, t: Any) -> Any:
            a = fnp.tanh(c * t)
            b = fnp.maximum(a * a - c, 0.1 * a) - a * (1 - a)
            return c + 0.1 * b, b * a

        c, ys = fdl.scan(step, x, fnp.linspace(0.1, 1.0, 6).astype(np.float64))
        return fnp.sum(c * c) + fnp.sum(ys)

    x = np.random.default_rng(0).normal(size=4)
    eps = 1e-6
    steps = [(float(f(x + eps * d)) - float(f(x - eps * d))) / (2 * eps) for d in np.eye(4)]
    np.testing.assert_allclose(fdl.grad(f)(x), steps, rtol=1e-6)
    np.testing.assert_allclose(fdl.jit(fdl.grad(f))(x), steps, rtol=1e-6)


SLICES = {
    "side by side": lambda x: (x[:, :3], x[:, 3:5], x[:, 5:]),
    "in another order, with a gap": lambda x: (x[:, 4:], x[:, :2]),
    "along the first axis": lambda x: (x[:2], x[2:]),
}


@pytest.mark.parametrize("name", SLICES)
def test_slices_are_put_together(name: str) -> None:
    def f(x: Any) -> Any:
        return sum(fnp.sum(fnp.sin(part) * (k + 1)) for k, part in enumerate(SLICES[name](x)))

    x = np.random.default_rng(0).normal(size=(4, 6))
    program = fdl.make_ir(fdl.grad(f))(x)
    names = [e.primitive.name for e in equations(program)]
    assert "pad" not in names and names.count("concatenate") == 1
    expected = np.zeros_like(x)
    places = np.arange(x.size).reshape(x.shape)
    for k, part in enumerate(SLICES[name](places)):
        expected[np.isin(places, part)] = (k + 1) * np.cos(x[np.isin(places, part)])
    np.testing.assert_allclose(fdl.grad(f)(x), expected, rtol=1e-12)


@pytest.mark.parametrize("f", [
    lambda x: fnp.sum(x[:4] * 2.0) + fnp.sum(fnp.square(x[2:])),  # they overlap
    lambda x: fnp.sum(x[:3]) + fnp.sum(fnp.square(x)) + fnp.sum(x[3:] * 3.0),  # and the whole is used
    lambda x: fnp.sum(fnp.square(x[1:3])),  # one alone
    lambda x: fnp.sum(fnp.square(x[::2])) + fnp.sum(x[1::2]),  # strides
    lambda x: fnp.sum(x[:0]) + fnp.sum(x[0:1] * 4.0),  # nothing
])  # fmt: skip
def test_other_slices_add_up(f: Any) -> None:
    x = np.random.default_rng(1).normal(size=6)
    eps = 1e-6
    expected = [(float(f(x + eps * d)) - float(f(x - eps * d))) / (2 * eps) for d in np.eye(6)]
    np.testing.assert_allclose(fdl.grad(f)(x), expected, rtol=1e-7, atol=1e-8)


def test_second_derivatives_through_pieces() -> None:
    def f(x: Any) -> Any:
        a, b = x[:2], x[2:]
        return fnp.sum(a * a * b)

    def hvp(x: Any, v: Any) -> Any:
        return fdl.jvp(fdl.grad(f), (x,), (v,))[1]

    x, v = np.arange(1.0, 5.0), np.array([1.0, 0.0, 0.5, 2.0])
    h = np.zeros((4, 4))
    for i in range(2):
        h[i, i] = 2 * x[i + 2]
        h[i, i + 2] = h[i + 2, i] = 2 * x[i]
    np.testing.assert_allclose(hvp(x, v), h @ v, rtol=1e-12)
