"""The transforms: derivatives of every kind, nested in any order; vmap; jit's caches, donation, static arguments; staging."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl.tracer import tree
from fdl.tracer.ir import Type
from fdl.transforms import specialise as compiled

F64 = np.float64


def num(x: Any) -> Any:
    return tree.map(np.asarray, x)


def close(a: Any, b: Any, rtol: float = 1e-6, atol: float = 1e-12) -> None:
    (la, sa), (lb, sb) = tree.flatten(a), tree.flatten(b)
    assert sa == sb, (sa, sb)
    for x, y in zip(la, lb, strict=True):
        assert np.shape(x) == np.shape(y), (np.shape(x), np.shape(y))
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=rtol, atol=atol)


def differences(f: Callable[[Any], Any], x: np.ndarray, h: float = 1e-6) -> np.ndarray:
    """The gradient of a scalar function by central differences."""
    g = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = h
        g[i] = (float(f(x + step)) - float(f(x - step))) / (2 * h)
    return g


def vector(n: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.3, 1.5, n)


# --- reverse mode ---------------------------------------------------------------------------------


def test_grad_against_differences() -> None:
    def f(x: Any) -> Any:
        y = fnp.sin(x) * fnp.exp(-x[::-1]) + fnp.sqrt(x) / (1 + x**3)
        return fnp.sum(y[1:] * fnp.cumsum(x)[:-1]) + fnp.logsumexp(x) * fnp.max(x) + fnp.dot(x, fnp.tanh(x))

    x = vector()
    close(fdl.grad(f)(x), differences(f, x), rtol=1e-7)
    close(fdl.grad(fdl.jit(f))(x), fdl.grad(f)(x), rtol=1e-13)
    close(fdl.jit(fdl.grad(f))(x), fdl.grad(f)(x), rtol=1e-13)


def test_argnums() -> None:
    def f(a: Any, b: Any, c: Any) -> Any:
        return a * b**2 + c * a

    assert float(fdl.grad(f)(2.0, 3.0, 5.0)) == 14.0
    assert float(fdl.grad(f, argnums=1)(2.0, 3.0, 5.0)) == 12.0
    assert float(fdl.grad(f, argnums=-1)(2.0, 3.0, 5.0)) == 2.0
    assert [float(g) for g in fdl.grad(f, argnums=(2, 0))(2.0, 3.0, 5.0)] == [2.0, 14.0]
    assert isinstance(fdl.grad(f, argnums=(0,))(2.0, 3.0, 5.0), tuple)
    assert float(fdl.grad(f, argnums=(0,))(2.0, 3.0, c=5.0)[0]) == 14.0


def test_has_aux() -> None:
    def f(x: Any) -> Any:
        y = x * x
        return y.sum(), {"y": y, "tag": None}

    (value, aux), g = fdl.value_and_grad(f, has_aux=True)(fnp.arange(3.0))
    assert float(value) == 5.0 and g.tolist() == [0.0, 2.0, 4.0]
    assert aux["y"].tolist() == [0.0, 1.0, 4.0] and aux["tag"] is None
    g, aux = fdl.grad(f, has_aux=True)(fnp.arange(3.0))
    assert g.tolist() == [0.0, 2.0, 4.0] and (aux["y"] + 1).tolist() == [1.0, 2.0, 5.0]
    (value, aux), g = fdl.jit(fdl.value_and_grad(f, has_aux=True))(fnp.arange(3.0))
    assert float(value) == 5.0 and aux["y"].tolist() == [0.0, 1.0, 4.0]
    # Auxiliary values of an inner derivative are the outer one's to differentiate.
    assert float(fdl.grad(lambda x: fdl.grad(lambda z: (z * x, z * x * x), has_aux=True)(x)[1])(2.0)) == 12.0


class Layer(NamedTuple):
    w: Any
    b: Any


def test_pytrees() -> None:
    params = {"first": Layer(fnp.ones((2, 3)), fnp.zeros(3)), "rest": [fnp.ones(3), (2.0, None)]}

    def f(p: Any, x: Any) -> Any:
        h = x @ p["first"].w + p["first"].b
        return (h * p["rest"][0]).sum() * p["rest"][1][0]

    value, g = fdl.value_and_grad(f)(params, np.array([1.0, 2.0], np.float32))
    assert float(value) == 18.0
    assert tree.structure(g) == tree.structure(params)
    assert isinstance(g["first"], Layer)
    assert g["first"].w.tolist() == [[2.0] * 3, [4.0] * 3] and float(g["rest"][1][0]) == 9.0
    assert tree.structure(fdl.jit(fdl.grad(f))(params, np.ones(2, np.float32))) == tree.structure(params)


def test_grad_keeps_dtypes() -> None:
    for dtype in ("f16", "bf16", "f32", "f64"):
        x = fnp.asarray([1.0, 2.0], dtype)
        g = fdl.grad(lambda x: (x * x).sum().astype("f32"))(x)
        assert g.dtype == x.dtype and g.tolist() == [2.0, 4.0]
    assert fdl.grad(lambda x: x * x)(3.0).dtype == np.float32


def test_unused_and_integer_inputs() -> None:
    assert fdl.grad(lambda x, y: y * 2.0)(fnp.ones(3), 1.0).tolist() == [0.0, 0.0, 0.0]
    y, pull = fdl.vjp(lambda x, i: x[i] * i, fnp.arange(3.0), 2)
    gx, gi = pull(1.0)
    assert float(y) == 4.0 and gx.tolist() == [0.0, 0.0, 2.0] and float(gi) == 0.0
    assert float(fdl.grad(lambda x, n: x * n)(3.0, 2)) == 2.0
    # A derivative passes integers by, and what depends on them only.
    assert float(fdl.grad(lambda x: x * fnp.argmax(fnp.stack([x, 2 * x])))(3.0)) == 1.0
    assert float(fdl.grad(lambda x: fnp.floor(x) * x)(2.5)) == 2.0


def test_vjp_of_a_pytree() -> None:
    out, pull, aux = fdl.vjp(lambda a, b: ({"s": a + b, "p": a * b}, a.sum()), vector(3), vector(3, 1), has_aux=True)
    a, b = vector(3), vector(3, 1)
    close(out, {"s": a + b, "p": a * b})
    close(aux, a.sum())
    ga, gb = pull({"s": np.ones(3), "p": np.full(3, 2.0)})
    close((ga, gb), (1 + 2 * b, 1 + 2 * a))
    close(pull({"s": np.zeros(3), "p": np.zeros(3)}), (np.zeros(3), np.zeros(3)))  # it may be called again


# --- forward mode ---------------------------------------------------------------------------------


def test_jvp_and_linearize() -> None:
    def f(x: Any, y: Any) -> Any:
        return fnp.sin(x) * y, (x * y).sum()

    x, y, dx, dy = vector(3), vector(3, 1), vector(3, 2), vector(3, 3)
    out, dots = fdl.jvp(f, (x, y), (dx, dy))
    want = (np.cos(x) * dx * y + np.sin(x) * dy, (dx * y + x * dy).sum())
    close(out, (np.sin(x) * y, (x * y).sum()))
    close(dots, want)
    again, push = fdl.linearize(f, x, y)
    close(again, out)
    close(push(dx, dy), want)
    close(push(2 * dx, 2 * dy), tree.map(lambda v: 2 * v, want))
    calls = []
    _, push = fdl.linearize(lambda v: (calls.append(1), v * v)[1], 3.0)
    push(1.0), push(2.0)
    assert len(calls) == 1


def test_jvp_of_constants_and_integers() -> None:
    y, dot = fdl.jvp(lambda x: fnp.ones(2), (1.0,), (1.0,))
    assert y.tolist() == [1.0, 1.0] and dot.tolist() == [0.0, 0.0]
    y, dot = fdl.jvp(lambda x, i: x * i, (2.0, 3), (1.0, 0))
    assert float(y) == 6.0 and float(dot) == 3.0


def test_forward_and_reverse_agree() -> None:
    def f(x: Any) -> Any:
        return fnp.stack([fnp.dot(x, x), x[0] * x[1], fnp.exp(x).sum()])

    x = vector(3)
    rows = fdl.vmap(fdl.vjp(f, x)[1])(np.eye(3))[0]
    columns = fdl.vmap(fdl.linearize(f, x)[1])(np.eye(3)).T
    close(rows, columns)
    close(fdl.vmap(lambda d: fdl.jvp(f, (x,), (d,))[1])(np.eye(3)).T, rows)


# --- nesting --------------------------------------------------------------------------------------


def poly(x: Any) -> Any:
    return x**4 + fnp.sin(x) * 2


DERIVATIVES = [
    lambda x: 4 * x**3 + 2 * np.cos(x),
    lambda x: 12 * x**2 - 2 * np.sin(x),
    lambda x: 24 * x - 2 * np.cos(x),
]


def forward(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: fdl.jvp(f, (x,), (fnp.ones_like(x),))[1]


def linear(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: fdl.linearize(f, x)[1](fnp.ones_like(x))


def pulled(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: fdl.vjp(f, x)[1](fnp.ones_like(x))[0]


MODES: dict[str, Callable[..., Any]] = {"grad": fdl.grad, "jvp": forward, "linearize": linear, "vjp": pulled}


@pytest.mark.parametrize("names", [n for k in (1, 2) for n in itertools.product(MODES, repeat=k)], ids="-".join)
def test_mixed_derivatives(names: tuple[str, ...]) -> None:
    f = poly
    for n in names:
        f = MODES[n](f)
    x = F64(0.7)
    close(f(x), DERIVATIVES[len(names) - 1](x))
    close(fdl.vmap(f)(vector()), DERIVATIVES[len(names) - 1](vector()))


@pytest.mark.parametrize("names", list(itertools.product(("grad", "jvp", "linearize"), repeat=3)), ids="-".join)
def test_third_derivatives(names: tuple[str, ...]) -> None:
    f = poly
    for n in names:
        f = MODES[n](f)
    close(f(F64(0.7)), DERIVATIVES[2](F64(0.7)))


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("names", [("grad", "grad"), ("jvp", "grad"), ("grad", "jvp"), ("grad", "linearize")], ids="-".join)
def test_jit_anywhere(names: tuple[str, ...], place: int) -> None:
    layers: list[Callable[..., Any]] = [*(MODES[n] for n in names), fdl.vmap]
    layers.insert(place, fdl.jit)
    f = poly
    for layer in layers:
        f = layer(f)
    close(f(vector()), DERIVATIVES[1](vector()))


def test_jit_everywhere() -> None:
    f = poly
    for layer in (fdl.jit, fdl.grad, fdl.jit, forward, fdl.jit, fdl.grad, fdl.jit, fdl.vmap, fdl.jit):
        f = layer(f)
    close(f(vector()), DERIVATIVES[2](vector()))


def test_hessians() -> None:
    def f(x: Any) -> Any:
        return fnp.sum(fnp.sin(x) * x[::-1]) + fnp.prod(x)

    x = vector(3)
    gradient = fdl.grad(f)
    want = np.stack([(np.asarray(gradient(x + h)) - np.asarray(gradient(x - h))) / 2e-6 for h in np.eye(3) * 1e-6])
    over = fdl.vmap(lambda d: fdl.jvp(gradient, (x,), (d,))[1])(np.eye(3))
    under = fdl.vmap(lambda i: fdl.grad(lambda v: gradient(v)[i])(x))(np.arange(3))
    close(over, want, rtol=1e-7)
    close(under, over, rtol=1e-12)
    close(fdl.grad(lambda v: fdl.jvp(f, (v,), (x,))[1])(x), np.asarray(over) @ x, rtol=1e-12)
    close(fdl.jit(fdl.vmap(fdl.grad(lambda v: gradient(v)[0])))(np.stack([x, x]))[0], np.asarray(over)[0], rtol=1e-12)


def test_transforms_of_scan() -> None:
    def f(x: Any) -> Any:
        return fdl.scan(lambda c, a: (fnp.sin(c) * a, c * a), x, np.array([1.5, 0.5, 2.0]))[1].sum()

    x = F64(0.8)
    first, second = fdl.grad(f)(x), fdl.grad(fdl.grad(f))(x)
    close(first, differences(f, np.asarray(x)), rtol=1e-7)
    close(second, differences(lambda v: fdl.grad(f)(v), np.asarray(x)), rtol=1e-7)
    for other in (forward(f), linear(f), pulled(f), fdl.jit(fdl.grad(f)), fdl.grad(fdl.jit(f))):
        close(other(x), first, rtol=1e-12)
    for other in (forward(fdl.grad(f)), fdl.grad(forward(f)), linear(fdl.grad(f)), fdl.jit(fdl.grad(forward(f)))):
        close(other(x), second, rtol=1e-12)
    third = fdl.grad(fdl.grad(fdl.grad(f)))(x)
    close(third, differences(lambda v: fdl.grad(fdl.grad(f))(v), np.asarray(x)), rtol=1e-7)
    close(forward(forward(forward(f)))(x), third, rtol=1e-12)
    close(fdl.vmap(fdl.grad(f))(vector()), np.array([float(fdl.grad(f)(v)) for v in vector()]), rtol=1e-12)


# --- perturbation confusion -----------------------------------------------------------------------


def test_inner_derivative_sees_the_outer_variable_as_a_constant() -> None:
    for inner, outer in itertools.product(MODES.values(), repeat=2):
        assert float(outer(lambda x, inner=inner: x * inner(lambda y: x + y)(fnp.ones_like(x)))(3.0)) == 1.0
        assert float(outer(lambda x, inner=inner: inner(lambda y: x * y)(fnp.ones_like(x)) * x)(3.0)) == 6.0


def test_the_same_variable_at_two_levels() -> None:
    for inner, outer in itertools.product(MODES.values(), repeat=2):
        assert float(outer(lambda x, inner=inner: inner(lambda y: x * y * y)(x))(3.0)) == 12.0  # d/dx 2 x²
        assert float(outer(lambda x, inner=inner: inner(lambda y: x * x)(x) + x)(3.0)) == 1.0  # the inner one is 0


def test_confusion_through_jit_and_vmap() -> None:
    d = fdl.grad
    assert float(d(lambda x: x * d(fdl.jit(lambda y: x + y))(1.0))(3.0)) == 1.0
    assert float(d(fdl.jit(lambda x: x * d(lambda y: x * y)(1.0)))(3.0)) == 6.0
    rows = fdl.vmap(d(lambda x: x * d(lambda y: fnp.sin(x) * y)(x)))(vector())
    close(rows, np.sin(vector()) + vector() * np.cos(vector()))
    inner = fdl.vmap(lambda a, x: d(lambda y: a * x * y)(x), in_axes=(0, None))
    assert float(d(lambda x: inner(fnp.arange(3.0), x).sum())(2.0)) == 3.0


def test_three_levels() -> None:
    d = fdl.grad
    f = d(lambda x: d(lambda y: d(lambda z: x * y * z * z)(y) * x)(x))  # d/dx [d/dy (2 x² y²)]_{y=x} = d/dx 4 x³
    assert float(f(2.0)) == 48.0
    saved: list[Any] = []
    assert float(d(lambda x: (saved.append(x), d(lambda y: y * saved[-1])(2.0))[1] * x)(5.0)) == 10.0


# --- Python control flow --------------------------------------------------------------------------


def test_python_control_flow_on_values() -> None:
    def f(x: Any) -> Any:
        while x < 10:
            x = x * x if x > 2 else x * 3
        return x

    def branchy(x: Any) -> Any:
        return x**2 if bool(x > 0) else -x

    assert float(fdl.grad(branchy)(3.0)) == 6.0 and float(fdl.grad(branchy)(-3.0)) == -1.0
    assert float(fdl.grad(f)(1.5)) == 27.0  # (3 x)²: 18 x
    assert float(fdl.grad(fdl.grad(f))(1.5)) == 18.0
    assert float(fdl.jvp(f, (1.5,), (1.0,))[1]) == 27.0
    assert float(fdl.grad(lambda x: x * float(x) * int(x) * x.item())(2.0)) == 8.0
    assert f"{fdl.grad(lambda x: x * len(f'{x:.1f}'))(2.0)}" == "3.0"
    assert float(fdl.grad(lambda x: sum(v for v in x if v > 1))(fnp.arange(4.0))[3]) == 1.0


def test_stop_gradient() -> None:
    assert float(fdl.grad(lambda x: fdl.stop_gradient(x) * x)(3.0)) == 3.0
    assert float(fdl.grad(lambda x: fdl.stop_gradient({"a": x, "b": (x * x,)})["b"][0] + x)(3.0)) == 1.0
    assert float(fdl.jvp(lambda x: fdl.stop_gradient(x) ** 2, (3.0,), (1.0,))[1]) == 0.0
    assert float(fdl.jit(fdl.grad(lambda x: fdl.stop_gradient(x) * x))(3.0)) == 3.0
    assert float(fdl.grad(fdl.grad(lambda x: fdl.stop_gradient(x) * x**2))(3.0)) == 6.0
    assert fdl.vmap(fdl.grad(lambda x: fdl.stop_gradient(x) * x))(fnp.arange(3.0)).tolist() == [0.0, 1.0, 2.0]


# --- staging --------------------------------------------------------------------------------------


def test_eval_shape() -> None:
    calls = []

    def f(x: Any, y: Any) -> Any:
        calls.append(1)
        return {"a": x @ y, "b": [x.sum(), (x > 0)]}

    t = fdl.eval_shape(f, fnp.ones((2, 3)), Type((3, 4), np.dtype("float32")))
    assert t["a"].shape == (2, 4) and t["a"].dtype == np.float32
    assert t["b"][0].shape == () and t["b"][1].dtype == np.bool_
    again = fdl.eval_shape(lambda t: t["a"].T, t)
    assert again.shape == (4, 2)
    assert fdl.eval_shape(fdl.grad(lambda x: (x**2).sum()), Type((10**6, 10**6), np.dtype("float32"))).shape == (10**6, 10**6)
    assert calls == [1]


def test_make_ir() -> None:
    table = fnp.arange(3.0)
    p = fdl.make_ir(lambda x: {"y": x * table, "n": None})(fnp.ones(3))
    assert len(p.constants) == 1 and p.values[0] is table
    assert [e.primitive.name for e in p.equations] == ["mul"]
    assert "test_transforms.py" in p.equations[0].source
    nested = fdl.make_ir(fdl.grad(lambda x: fdl.make_ir(lambda y: x * y)(1.0) and x * x))(2.0)
    assert nested.out_types == (Type((), np.dtype("float32")),)
    assert "jit" in str(fdl.make_ir(fdl.jit(lambda x: x + 1))(1.0))


# --- vmap -----------------------------------------------------------------------------------------


def test_vmap_axes() -> None:
    x, y = np.arange(24.0).reshape(2, 3, 4), np.arange(3.0)
    close(fdl.vmap(lambda a: a.sum(0), in_axes=1)(x), x.sum(0))
    close(fdl.vmap(lambda a: a.sum(0), in_axes=-1, out_axes=-1)(x), x.sum(0))
    close(fdl.vmap(lambda a, b: a * b, in_axes=(1, 0))(x, y), np.moveaxis(x, 1, 0) * y[:, None, None])
    close(fdl.vmap(lambda a, b: a * b, in_axes=(None, 0), out_axes=2)(x[0], y), np.stack([x[0] * v for v in y], 2))
    close(fdl.vmap(lambda a: 1.0 * fnp.ones(2), axis_size=3, in_axes=None)(0.0), np.ones((3, 2)))
    assert fdl.vmap(lambda a: (a, 7.0), out_axes=(0, None))(y)[1].shape == ()
    assert fdl.vmap(lambda a: 7.0)(y).tolist() == [7.0, 7.0, 7.0]


def test_vmap_pytree_axes() -> None:
    tree_in = {"w": np.arange(6.0).reshape(2, 3), "b": np.arange(3.0)}
    f = fdl.vmap(lambda p, x: {"y": p["w"] * x + p["b"]}, in_axes=({"w": 1, "b": 0}, None), out_axes={"y": 1})
    close(f(tree_in, 2.0), {"y": tree_in["w"] * 2 + tree_in["b"]})
    close(fdl.vmap(lambda a, scale: a * scale, in_axes=0)(np.ones(3), scale=np.arange(3.0)), np.arange(3.0))
    nested = fdl.vmap(fdl.vmap(lambda a, b: a - b, in_axes=(None, 0)), in_axes=(0, None))
    close(nested(np.arange(2.0), np.arange(3.0)), np.arange(2.0)[:, None] - np.arange(3.0))


def test_vmap_of_size_zero_and_one() -> None:
    assert fdl.vmap(lambda x: (x * 2).sum())(np.ones((0, 3))).shape == (0,)
    assert fdl.vmap(lambda x: fnp.dot(x, x))(np.ones((1, 3))).tolist() == [3.0]


def test_per_example_gradients() -> None:
    w, xs = vector(3), np.random.default_rng(5).normal(size=(5, 3))
    per = fdl.vmap(fdl.grad(fdl.jit(lambda w, x: fnp.tanh(w @ x))), in_axes=(None, 0))(w, xs)
    close(per, (1 - np.tanh(xs @ w) ** 2)[:, None] * xs)
    close(fdl.jit(fdl.vmap(fdl.grad(lambda w, x: fnp.tanh(w @ x)), in_axes=(None, 0)))(w, xs), per, rtol=1e-12)


# --- closures over tracers ------------------------------------------------------------------------


def test_closures_over_tracers() -> None:
    xs = fnp.arange(1.0, 4.0)
    cases: dict[str, Callable[[Any], Any]] = {
        "jit": lambda x: fdl.jit(lambda y: x * y)(3.0),
        "cond": lambda x: fdl.cond(x > 0, lambda y: x * y, lambda y: y, 3.0),
        "scan": lambda x: fdl.scan(lambda c, a: (c * x, None), fnp.ones_like(x), xs)[0] * 3 / x**2,
        "fori": lambda x: fdl.fori_loop(0, 3, lambda i, c: c + x, 0.0),
        "map": lambda x: fdl.map(lambda a: a * x, fnp.ones(3)).sum(),
        "vmap": lambda x: fdl.vmap(lambda a: a * x)(fnp.ones(3)).sum(),
        "deep": lambda x: fdl.jit(lambda: fdl.scan(lambda c, a: (c + fdl.jit(lambda: x)(), None), 0.0, None, 3)[0])(),
    }
    for name, f in cases.items():
        assert float(f(fnp.asarray(2.0))) == 6.0, name
        for g in (f, fdl.jit(f)):
            assert float(fdl.grad(g)(2.0)) == pytest.approx(3.0), name
            assert float(fdl.jvp(g, (2.0,), (1.0,))[1]) == pytest.approx(3.0), name
            assert fdl.vmap(fdl.grad(g))(fnp.array([2.0, 5.0])).tolist() == pytest.approx([3.0, 3.0]), name
        assert float(fdl.jit(fdl.grad(f))(2.0)) == pytest.approx(3.0), name


def test_a_jitted_function_that_outlives_a_trace() -> None:
    made: list[Any] = []

    def f(x: Any) -> Any:
        if not made:
            made.append(fdl.jit(lambda y: y * 2.0))
        return made[0](x) * x

    assert float(fdl.grad(f)(3.0)) == 12.0
    assert float(made[0](5.0)) == 10.0
    assert float(fdl.jit(f)(3.0)) == 18.0


# --- jit ------------------------------------------------------------------------------------------


def executables() -> int:
    return len(compiled._EXECUTABLES)


def test_recreated_lambdas_trace_but_do_not_compile() -> None:
    before = executables()
    traced = []
    for scale in range(3):
        table = fnp.full(3, scale * 1.0)
        assert fdl.jit(lambda x, table=table: (traced.append(1), x * table + 0.123)[1])(fnp.ones(3)).tolist() == pytest.approx(
            [scale + 0.123] * 3
        )
    assert len(traced) == 3 and executables() == before + 1


def test_weakness_does_not_recompile() -> None:
    f = fdl.jit(lambda x: fnp.exp(x) * 0.777)
    f(1.0)
    before = executables()
    f(2.0), f(3.5)
    assert executables() == before
    assert f(1.0).weak_type and not f(np.float32(1.0)).weak_type


def test_an_eager_loop_over_grad_of_jit_neither_retraces_nor_recompiles() -> None:
    traced = []
    f = fdl.jit(lambda x: (traced.append(1), fnp.sin(x).sum())[1])
    x = fnp.arange(3.0)
    fdl.grad(f)(x)
    before = executables()
    from fdl.backends import executable

    kernels = len(executable._eager)
    for _ in range(3):
        fdl.grad(f)(x)
        fdl.vmap(f)(fnp.ones((2, 3)))
    assert len(traced) == 1 and executables() == before and len(executable._eager) <= kernels + 1


def test_static_arguments() -> None:
    traced = []

    def f(x: Any, n: int, mode: str = "sum") -> Any:
        traced.append((n, mode))
        return (x**n).sum() if mode == "sum" else x**n

    g = fdl.jit(f, static_argnums=1, static_argnames="mode")
    x = fnp.arange(3.0)
    assert float(g(x, 2)) == 5.0 and float(g(x, 3)) == 9.0 and float(g(x, 2)) == 5.0
    assert g(x, 2, mode="all").tolist() == [0.0, 1.0, 4.0] and g(x, n=2, mode="all").tolist() == [0.0, 1.0, 4.0]
    assert g(x, 2, "all").tolist() == [0.0, 1.0, 4.0]
    assert traced.count((2, "sum")) == 1
    h = fdl.jit(lambda n, x: x * (2 if n is True else 3), static_argnums=(0,))
    assert float(h(True, 1.0)) == 2.0 and float(h(1, 1.0)) == 3.0  # equal, but of another type
    assert float(fdl.jit(lambda x, n: x * n, static_argnums=-1)(2.0, 4)) == 8.0
    assert float(fdl.grad(g)(2.0, 3)) == 12.0


def test_donation() -> None:
    step = fdl.jit(lambda s, g: {"w": s["w"] - 0.5 * g}, donate_argnums=0)
    state, g = {"w": fnp.arange(4.0)}, fnp.ones(4)
    for _ in range(3):
        old, state = state, step(state, g)
        assert old["w"].is_deleted() and not g.is_deleted() and not state["w"].is_deleted()
    assert state["w"].tolist() == [-1.5, -0.5, 0.5, 1.5]
    with pytest.raises(RuntimeError, match=r"donated.*jit.*test_transforms\.py") as e:
        old["w"].sum()
    assert "donate_argnums" in str(e.value)
    with pytest.raises(RuntimeError, match="donated"):
        step(old, g)
    assert "donated" in repr(old["w"])
    # A NumPy array is never consumed, and a view of an array that is donated keeps its values.
    w = np.arange(4.0, dtype=np.float32)
    step({"w": w}, g)
    assert w.tolist() == [0.0, 1.0, 2.0, 3.0]
    a = fnp.arange(4.0)
    view = np.asarray(a)
    out = step({"w": a}, g)
    step(step(out, g), g)
    assert view.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_donation_under_transforms_consumes_nothing() -> None:
    f = fdl.jit(lambda x: (x * x).sum(), donate_argnums=0)
    x = fnp.arange(3.0)
    assert fdl.grad(f)(x).tolist() == [0.0, 2.0, 4.0]
    assert x.tolist() == [0.0, 1.0, 2.0]


def test_an_argument_nested_otherwise_retraces() -> None:
    f = fdl.jit(lambda p: sum(tree.leaves(p)))
    assert float(f((1.0, 2.0))) == 3.0 and float(f([1.0, 2.0])) == 3.0 and float(f({"a": 1.0, "b": (2.0, 4.0)})) == 7.0
    assert float(f((1.0, 2.0))) == 3.0
    assert float(fdl.jit(lambda a, b=2.0: a - b)(5.0)) == 3.0 and float(fdl.jit(lambda a, b=2.0: a - b)(b=1.0, a=5.0)) == 4.0


def test_jit_as_a_method_and_decorator() -> None:
    class Model:
        def __init__(self, w: float) -> None:
            self.w = w

        @fdl.jit
        def apply(self: Any, x: Any) -> Any:
            return x * self.w

    Model.apply = fdl.jit(Model.apply.__wrapped__, static_argnums=0)  # type: ignore[method-assign]
    assert float(Model(2.0).apply(3.0)) == 6.0 and float(Model(4.0).apply(3.0)) == 12.0
    decorated = fdl.jit(static_argnames=("n",))(lambda x, n: x * n)
    assert float(decorated(2.0, n=3)) == 6.0
    assert fdl.jit(poly).__name__ == "poly" and fdl.jit(poly).__wrapped__ is poly


OPERANDS: dict[str, Any] = {
    "int": 3, "float": 2.5, "bool": True, "i8": np.int8(3), "u8": np.ones(2, np.uint8), "i32": np.arange(2, dtype=np.int32),
    "i64": np.arange(2), "f16": np.ones(2, np.float16), "f32": np.float32(1.5), "f64": np.array([0.5, 1.5]),
}  # fmt: skip


@pytest.mark.parametrize("a", OPERANDS)
def test_jit_gives_the_types_of_eager(a: str) -> None:
    def f(x: Any, y: Any) -> Any:
        return [
            x + y,
            x * 2,
            y * 0.5,
            x / y,
            x - 1.5,
            fnp.sum(x),
            fnp.maximum(x, y),
            fnp.where(x > 1, x, y),
            x**2,
            -x if a != "bool" else x,
            x > y,
        ]

    with fdl.config.using(backend="reference"):
        for b in OPERANDS:
            eager, traced = f(fnp.asarray(OPERANDS[a]), fnp.asarray(OPERANDS[b])), fdl.jit(f)(OPERANDS[a], OPERANDS[b])
            assert [x.type for x in eager] == [x.type for x in traced], b
            close(eager, traced)


def test_arguments_of_every_kind() -> None:
    f = fdl.jit(lambda x: x + 1)
    big = np.arange(10.0)[::2]
    assert f(big).tolist() == [1.0, 3.0, 5.0, 7.0, 9.0]
    swapped = np.arange(3, dtype=">i4")
    assert f(fnp.asarray(swapped)).tolist() == [1, 2, 3]
    assert f(2**40).tolist() == 2**40 + 1 and f(True).tolist() == 2 and f(np.float64(1)).dtype == np.float64
    assert f(np.ones((2, 0))).shape == (2, 0)
    assert f(np.ones((3, 2)).T).shape == (2, 3)
    assert fdl.jit(lambda: fnp.arange(3))().tolist() == [0, 1, 2]
    assert fdl.jit(lambda x: (x, x, 3))(1.5) == (1.5, 1.5, 3)
    assert fdl.jit(lambda x: None)(1.0) is None


def test_outputs_are_independent_of_inputs() -> None:
    x = np.arange(3.0)
    y = fdl.jit(lambda v: v)(x)
    z = fdl.vjp(lambda v: v * v, x)
    lin = fdl.linearize(lambda v: v * v, x)[1]
    x[:] = 9
    assert y.tolist() == [0.0, 1.0, 2.0] and z[1](np.ones(3))[0].tolist() == [0.0, 2.0, 4.0]
    assert lin(np.ones(3)).tolist() == [0.0, 2.0, 4.0]


@pytest.mark.parametrize("backend", ["reference", "llvm"])
def test_backends(backend: Any) -> None:
    f = fdl.jit(fdl.grad(lambda x: fnp.sum(fnp.sin(x) * x)), backend=backend)
    close(f(vector()), np.cos(vector()) * vector() + np.sin(vector()))
    g = fdl.jit(lambda x: x * 3)
    with fdl.config.using(backend=backend):
        for _ in range(3):
            assert float(g(2.0)) == 6.0
            assert g._traces and next(iter(g._traces.values())).executable.backend == backend


def test_changing_the_backend_between_calls() -> None:
    g = fdl.jit(lambda x: x * 5)
    for backend in ("llvm", "reference", "llvm"):
        with fdl.config.using(backend=backend):  # type: ignore[arg-type]
            assert float(g(2.0)) == 10.0
            assert next(iter(g._traces.values())).executable.backend == backend


def test_lowered_can_be_read() -> None:
    low = fdl.jit(lambda x: fnp.tanh(x).sum()).lower(fnp.ones(8))
    assert "tanh" in str(low.program) and "tanh" in str(low.loops) and str(low.plan)
    assert float(low.compile()(fnp.ones(8))) == pytest.approx(8 * np.tanh(1.0))
