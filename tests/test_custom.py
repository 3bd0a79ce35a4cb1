"""custom_jvp, custom_vjp and custom_gradient: under every transform and in every kind of body, as text, and the errors of wrong rules."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl.tracer import tree
from fdl.tracer.check import check_program
from fdl.tracer.errors import DTypeError, LeakedTracerError, MissingRuleError, ParseError, ShapeError, TreeError
from fdl.tracer.parse import parse
from fdl.tracer.show import functions
from fdl.transforms import specialise

RNG = np.random.default_rng(3)
X = RNG.uniform(0.2, 1.2, 3)
S = np.float64(0.7)


def close(a: Any, b: Any, rtol: float = 1e-9, atol: float = 1e-12) -> None:
    (la, sa), (lb, sb) = tree.flatten(a), tree.flatten(b)
    assert sa == sb, (sa, sb)
    for x, y in zip(la, lb, strict=True):
        assert np.shape(x) == np.shape(y), (np.shape(x), np.shape(y))
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=rtol, atol=atol)


# Functions whose rules give three times the derivative, so that it shows which one was used.


def tripled_jvp() -> Any:
    @fdl.custom_jvp
    def f(x: Any, y: Any) -> Any:
        return fnp.sin(x) * y

    @f.defjvp
    def f_jvp(primals: Any, tangents: Any) -> Any:
        (x, y), (x_dot, y_dot) = primals, tangents
        return f(x, y), 3.0 * (fnp.cos(x) * y * x_dot + fnp.sin(x) * y_dot)

    return f


def tripled_vjp() -> Any:
    @fdl.custom_vjp
    def f(x: Any, y: Any) -> Any:
        return fnp.sin(x) * y

    def f_fwd(x: Any, y: Any) -> Any:
        return f(x, y), (x, y)

    def f_bwd(residuals: Any, ct: Any) -> Any:
        x, y = residuals
        return 3.0 * ct * fnp.cos(x) * y, 3.0 * ct * fnp.sin(x)

    f.defvjp(f_fwd, f_bwd)
    return f


BOTH = pytest.mark.parametrize("make", [tripled_jvp, tripled_vjp])
PLAIN = (lambda f: f, fdl.jit)


# --- under every transform ------------------------------------------------------------------------


@BOTH
def test_value_and_gradient_wherever_jit_stands(make: Any) -> None:
    f = make()
    close(f(X, X), np.sin(X) * X)
    expected = 3 * (np.cos(X) * X), 3 * np.sin(X)
    for inner in PLAIN:
        for outer in PLAIN:
            g = outer(fdl.grad(inner(lambda x, y: f(x, y).sum()), (0, 1)))
            close(g(X, X), expected)
    close(fdl.jit(f)(X, X), np.sin(X) * X)


@BOTH
def test_vmap_inside_and_outside_of_grad(make: Any) -> None:
    f = make()
    xs, y = RNG.normal(size=(4, 3)), X
    by_x, by_y = 3 * np.cos(xs) * y, 3 * np.sin(xs)
    for inner in PLAIN:
        for outer in PLAIN:
            lanes = fdl.vmap(inner(f), (0, None))
            close(outer(lanes)(xs, y), np.sin(xs) * y)
            close(
                outer(fdl.grad(lambda x, y, lanes=lanes: lanes(x, y).sum(), (0, 1)))(xs, y), (by_x, by_y.sum(0))
            )  # shared: summed
            each = fdl.vmap(inner(fdl.grad(lambda x, y: f(x, y).sum(), (0, 1))), (0, None))
            close(outer(each)(xs, y), (by_x, by_y))
    twice = fdl.vmap(fdl.vmap(f, (0, None)), (None, 0))
    zs = RNG.normal(size=(2,))
    found = fdl.grad(lambda x, z: twice(x, z).sum(), (0, 1))(xs[0], zs)
    close(found, (3 * np.cos(xs[0]) * zs.sum(), np.full(2, 3 * np.sin(xs[0]).sum())))
    moved = fdl.vmap(f, (1, 1), 1)(xs, xs)
    close(moved, np.sin(xs) * xs)


@BOTH
def test_any_order(make: Any) -> None:
    f = make()

    def g(x: Any) -> Any:
        return f(x, 1.0)

    # The rules are made of f and plain functions: each derivative of f triples, those of cos and sin don't.
    first, second = 3 * np.cos(S), -3 * np.sin(S)
    for inner in PLAIN:
        for outer in PLAIN:
            close(outer(fdl.grad(inner(g)))(S), first)
            close(outer(fdl.grad(inner(fdl.grad(g))))(S), second)
            close(fdl.grad(outer(fdl.grad(inner(fdl.grad(g)))))(S), -3 * np.cos(S))
    close(fdl.jacrev(fdl.jit(fdl.grad(g)))(S), second)
    if make is tripled_jvp:
        close(fdl.jvp(fdl.grad(g), (S,), (1.0,))[1], second)


def test_forward_over_reverse_of_custom_vjp() -> None:
    """The rules are differentiated forward; they don't call the function itself, which has no forward mode."""
    f = fdl.custom_vjp(fnp.sin)
    f.defvjp(lambda x: (fnp.sin(x), x), lambda x, ct: (3.0 * ct * fnp.cos(x),))
    for wrap in PLAIN:
        close(fdl.jvp(fdl.grad(wrap(f)), (S,), (1.0,))[1], -3 * np.sin(S))
        close(wrap(fdl.hessian(lambda x: f(x).sum()))(X), np.diag(-3 * np.sin(X)))
        close(fdl.hvp(lambda x, wrap=wrap: wrap(f)(x).sum(), (X,), (X,)), -3 * np.sin(X) * X)


def test_forward_mode_of_custom_jvp() -> None:
    f = tripled_jvp()
    for wrap in PLAIN:
        close(fdl.jvp(wrap(f), (X, X), (np.ones(3), np.zeros(3)))[1], 3 * np.cos(X) * X)
        close(fdl.jacfwd(wrap(lambda x: f(x, 2.0)))(X), np.diag(6 * np.cos(X)))
        close(fdl.hessian(wrap(lambda x: f(x, 1.0).sum()))(X), np.diag(-3 * np.sin(X)))
        y, push = fdl.linearize(wrap(lambda x: f(x, 1.0)), X)
        close((y, push(X)), (np.sin(X), 3 * np.cos(X) * X))


@BOTH
def test_in_bodies_of_control_flow(make: Any) -> None:
    f = make()

    def loop(x: Any) -> Any:
        c, ys = fdl.scan(lambda c, v: (f(c, v), c * v), S, x)
        return c + ys.sum()

    def branch(x: Any) -> Any:
        return fdl.cond(x[0] > 0, lambda v: f(v, fnp.full(3, 2.0, v.dtype)).sum(), lambda v: (v**2).sum(), x)

    def counted(x: Any) -> Any:
        return fdl.fori_loop(0, 3, lambda i, c: f(c, x[i]), S)

    def expected_loop(x: np.ndarray) -> np.ndarray:
        """By hand: each application's derivatives tripled."""
        cs = [S]
        for v in x:
            cs.append(np.sin(cs[-1]) * v)
        c_bar, g = 1.0, np.zeros(3)
        for i in (2, 1, 0):
            g[i] = c_bar * 3 * np.sin(cs[i]) + cs[i]
            c_bar = c_bar * 3 * np.cos(cs[i]) * x[i] + x[i]
        return g

    for inner in PLAIN:
        for outer in PLAIN:
            close(outer(fdl.grad(inner(loop)))(X), expected_loop(X))
            close(outer(fdl.grad(inner(branch)))(X), 6 * np.cos(X))
            close(outer(fdl.grad(inner(branch)))(-X), -2 * X)
    close(fdl.jit(fdl.grad(counted))(X), fdl.grad(counted)(X))
    xs = np.stack([X, -X])
    close(fdl.vmap(fdl.grad(loop))(xs), np.stack([expected_loop(x) for x in xs]))
    close(fdl.vmap(fdl.grad(branch))(xs), np.stack([6 * np.cos(X), 2 * -X]))
    close(fdl.grad(lambda x: fdl.vmap(loop)(x).sum())(xs), np.stack([expected_loop(x) for x in xs]))


def test_custom_jvp_in_a_while_loop() -> None:
    f = tripled_jvp()

    def loop(x: Any) -> Any:
        return fdl.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, f(c[1], 2.0)), (0, x))[1]

    close(fdl.jvp(loop, (S,), (1.0,))[1], 36 * np.cos(2 * np.sin(S)) * np.cos(S))
    close(fdl.jit(fdl.jacfwd(loop))(S), 36 * np.cos(2 * np.sin(S)) * np.cos(S))


@BOTH
def test_in_checkpoint(make: Any) -> None:
    f = make()

    def g(x: Any) -> Any:
        return fdl.checkpoint(lambda x: fnp.tanh(f(x, x)))(x).sum()

    y = np.sin(X) * X
    close(fdl.grad(g)(X), (1 - np.tanh(y) ** 2) * 3 * (np.cos(X) * X + np.sin(X)))
    close(fdl.jit(fdl.grad(g))(X), fdl.grad(g)(X))


def test_python_control_flow_on_values_outside_jit() -> None:
    """As in JAX: where operations run at once, the function and its rules see values."""
    seen = []

    @fdl.custom_jvp
    def f(x: Any) -> Any:
        seen.append(float(x))
        return x * 2 if x > 0 else -x

    @f.defjvp
    def f_jvp(primals: Any, tangents: Any) -> Any:
        return f(*primals), tangents[0] * (10.0 if primals[0] > 0 else 20.0)

    assert (float(f(1.0)), float(f(-1.0)), seen) == (2.0, 1.0, [1.0, -1.0])
    assert (float(fdl.grad(f)(1.0)), float(fdl.grad(f)(-1.0))) == (10.0, 20.0)

    @fdl.custom_vjp
    def g(x: Any, flag: Any) -> Any:
        return x if flag else -x

    g.defvjp(lambda x, flag: (g(x, flag), flag), lambda flag, ct: (ct * 5 if flag else ct * 7, None))
    assert float(fdl.grad(g)(1.0, True)) == 5.0
    # A lane axis on one argument leaves the other a value.
    close(fdl.vmap(fdl.grad(g), (0, None))(X, False), np.full(3, 7.0))
    close(fdl.vmap(g, (0, None))(X, False), -X)


def test_the_function_does_not_run_under_differentiation() -> None:
    ran = []

    @fdl.custom_jvp
    def f(x: Any) -> Any:
        ran.append("f")
        return x

    f.defjvp(lambda primals, tangents: (ran.append("rule"), (primals[0], tangents[0]))[1])
    fdl.grad(f)(1.0)
    assert ran == ["rule"]
    ran.clear()
    fdl.grad(lambda x: x * f(2.0))(1.0)  # f is not applied to what is differentiated
    assert ran == ["f"]


def test_collectives_inside() -> None:
    """The lanes of a named axis meet in a function, in its rules, and where no argument has the axis."""

    @fdl.custom_jvp
    def f(x: Any) -> Any:
        return x / fdl.psum(x, "i")

    @f.defjvp
    def f_jvp(primals: Any, tangents: Any) -> Any:
        return f(*primals), tangents[0] * fdl.psum(primals[0], "i")

    @fdl.custom_vjp
    def g(x: Any) -> Any:
        return x * fdl.axis_index("i")

    g.defvjp(lambda x: (g(x), None), lambda _, ct: (fdl.pmax(ct, "i") * 10.0,))
    lanes = functools.partial(fdl.vmap, axis_name="i")
    for wrap in PLAIN:
        close(lanes(wrap(f))(X), X / X.sum())
        close(fdl.jvp(lanes(wrap(f)), (X,), (np.ones(3),))[1], np.full(3, X.sum()))
        close(lanes(wrap(fdl.grad(f)))(X), np.full(3, X.sum()))
        close(lanes(wrap(g))(X), X * np.arange(3))
        close(fdl.grad(lambda x, wrap=wrap: fnp.sum(lanes(wrap(g))(x) * np.arange(3.0)))(X), np.full(3, 20.0))
        close(fdl.vmap(wrap(lambda x: g(x)), None, axis_size=3, axis_name="i")(S), S * np.arange(3))
        close(lanes(fdl.grad(fdl.checkpoint(lambda x, wrap=wrap: wrap(f)(x))))(X), np.full(3, X.sum()))


# --- arguments ------------------------------------------------------------------------------------


class Pair(NamedTuple):
    u: Any
    v: Any


def test_pytrees() -> None:
    @fdl.custom_jvp
    def f(p: Any, q: Any) -> Any:
        return {"s": p.u * q[0], "t": [p.v, None]}

    @f.defjvp
    def f_jvp(primals: Any, tangents: Any) -> Any:
        p, q = primals
        p_dot, q_dot = tangents
        assert isinstance(p_dot, Pair) and isinstance(q_dot, list)
        return f(p, q), {"s": 2.0 * p_dot.u * q[0] + p.u * q_dot[0], "t": [5.0 * p_dot.v, None]}

    found = fdl.grad(lambda p, q: sum(x.sum() for x in tree.leaves(f(p, q))), (0, 1))(Pair(X, X), [2.0 * X])
    close(found, (Pair(4 * X, np.full(3, 5.0)), [X]))

    @fdl.custom_vjp
    def g(p: Any, q: Any) -> Any:
        return Pair(p["a"] * q, p["b"])

    def g_bwd(residuals: Any, ct: Any) -> Any:
        assert isinstance(ct, Pair) and set(residuals) == {"p", "none"}
        return {"a": ct.u * 2.0, "b": None}, None

    g.defvjp(lambda p, q: (g(p, q), {"p": p, "none": None}), g_bwd)
    value, pull = fdl.vjp(g, {"a": X, "b": S}, X)
    p_bar, q_bar = pull(Pair(np.ones(3), np.float64(1.0)))
    close((p_bar, q_bar), ({"a": np.full(3, 2.0), "b": np.float64(0.0)}, np.zeros(3)))
    assert isinstance(value, Pair)


def test_nondiff_arguments() -> None:
    @functools.partial(fdl.custom_jvp, nondiff_argnums=(0, 2))
    def apply(function: Any, x: Any, times: int) -> Any:
        for _ in range(times):
            x = function(x)
        return x

    @apply.defjvp
    def apply_jvp(function: Any, times: int, primals: Any, tangents: Any) -> Any:
        return apply(function, primals[0], times), 100.0 * times * tangents[0]

    for wrap in PLAIN:
        close(fdl.grad(wrap(lambda x: apply(fnp.sin, x, 2)))(S), np.float64(200.0))
    close(fdl.grad(lambda x: apply(fnp.sin, x, times=3))(S), np.float64(300.0))
    close(apply(fnp.sin, S, 2), np.sin(np.sin(S)))

    @functools.partial(fdl.custom_vjp, nondiff_argnums=(1,))
    def scaled(x: Any, options: Any, y: Any = 2.0) -> Any:
        return x * options["k"] * y

    def scaled_fwd(x: Any, options: Any, y: Any) -> Any:
        return scaled(x, options, y), (x, y)

    def scaled_bwd(options: Any, residuals: Any, ct: Any) -> Any:
        return ct * options["k"] * 1000.0, None

    scaled.defvjp(scaled_fwd, scaled_bwd)  # unhashable, but no array: a constant of the call
    for wrap in PLAIN:
        close(fdl.grad(wrap(lambda x: scaled(x, {"k": 2.0, "name": "s"})))(S), np.float64(2000.0))
    close(fdl.vmap(fdl.grad(lambda x: scaled(x, {"k": 3.0})))(X), np.full(3, 3000.0))

    @fdl.custom_jvp(nondiff_argnames=["name"])
    def named(x: Any, name: str = "plain") -> Any:
        return x

    named.defjvp(lambda name, primals, tangents: (primals[0], tangents[0] * len(name)))
    close(fdl.grad(named)(S), np.float64(5.0))
    close(fdl.grad(lambda x: named(x, name="ab"))(S), np.float64(2.0))


def test_integers_have_no_derivative() -> None:
    @fdl.custom_jvp
    def pick(x: Any, i: Any) -> Any:
        return x[i], i + 1

    @pick.defjvp
    def pick_jvp(primals: Any, tangents: Any) -> Any:
        (x, i), (x_dot, i_dot) = primals, tangents
        assert i_dot.dtype == np.int32 and int(i_dot) == 0
        return pick(x, i), (7.0 * x_dot[i], None)

    close(fdl.grad(lambda x: pick(x, np.int32(1))[0])(X), np.array([0, 7.0, 0]))
    _, dots = fdl.jvp(pick, (X, np.int32(1)), (X, np.int32(0)))
    close(dots, (7 * X[1], np.int32(0)))

    @fdl.custom_vjp
    def take(x: Any, i: Any) -> Any:
        return x[i] * 1.0, i

    take.defvjp(lambda x, i: (take(x, i), (i, fnp.zeros_like(x))), lambda r, ct: (r[1].at[r[0]].set(9.0 * ct[0]), r[0]))
    for wrap in PLAIN:
        close(fdl.grad(wrap(lambda x: take(x, np.int32(2))[0]))(X), np.array([0, 0, 9.0]))


def test_defjvps() -> None:
    @fdl.custom_jvp
    def f(x: Any, y: Any, z: Any) -> Any:
        return x * y + z

    f.defjvps(lambda t, out, x, y, z: t * out, None, lambda t, out, x, y, z: 5.0 * t)
    close(fdl.grad(f, (0, 1, 2))(2.0, 3.0, 1.0), tuple(np.float32(v) for v in (7.0, 0.0, 5.0)))
    f.defjvps(None, None, None)
    close(fdl.grad(f, (0, 1, 2))(2.0, 3.0, 1.0), tuple(np.float32(0.0) for _ in range(3)))


def test_methods_and_wrapping() -> None:
    class Model:
        k = 3.0

        @functools.partial(fdl.custom_jvp, nondiff_argnums=(0,))
        def f(self, x: Any) -> Any:
            """Doc."""
            return x * self.k

        @f.defjvp
        def f_jvp(self, primals: Any, tangents: Any) -> Any:
            return self.f(*primals), tangents[0] * self.k * 2

    assert (float(Model().f(2.0)), float(fdl.grad(Model().f)(2.0))) == (6.0, 6.0)
    assert Model.f.__doc__ == "Doc." and repr(Model.f) == "<custom_jvp of f>"


def test_a_pullback_is_a_residual() -> None:
    def f(w: Any, x: Any) -> Any:
        return fnp.sin(w @ x) * x[0]

    @fdl.custom_vjp
    def doubled(w: Any, x: Any) -> Any:
        return f(w, x)

    doubled.defvjp(lambda w, x: fdl.vjp(f, w, x), lambda pullback, ct: pullback(2.0 * ct))
    w, rows = RNG.normal(size=(3, 3)), RNG.normal(size=(4, 3))
    plain = fdl.grad(lambda w, x: f(w, x).sum(), (0, 1))
    found = fdl.grad(lambda w, x: doubled(w, x).sum(), (0, 1))
    twice = lambda w, x: tree.map(lambda g: 2 * g, plain(w, x))  # noqa: E731
    for wrap in (lambda f: f, fdl.jit):
        close(wrap(found)(w, X), twice(w, X))
        close(wrap(fdl.vmap(found, (None, 0)))(w, rows), fdl.vmap(twice, (None, 0))(w, rows))
        close(wrap(fdl.jacrev(found, 1))(w, X), fdl.jacrev(twice, 1)(w, X))

    def looped(step: Any) -> Any:
        return fdl.grad(lambda w: fdl.scan(lambda c, r: (step(w, c) + r, None), X, rows)[0].sum())(w)

    assert np.abs(np.asarray(looped(doubled)) - np.asarray(looped(f))).max() > 1e-3
    close(looped(doubled), looped(fdl.checkpoint(doubled)))
    close(looped(doubled), looped(doubled_by_jvp(f)))


def doubled_by_jvp(f: Any) -> Any:
    """`f` with twice its derivative, by `custom_jvp`."""
    g = fdl.custom_jvp(lambda w, x: f(w, x))
    g.defjvp(lambda primals, tangents: fdl.jvp(f, primals, tree.map(lambda t: 2.0 * t, tangents)))
    return g


def test_nested_custom_functions() -> None:
    inner = tripled_vjp()

    @fdl.custom_vjp
    def outer(x: Any) -> Any:
        return inner(x, 2.0) ** 2

    def outer_fwd(x: Any) -> Any:
        y, pull = fdl.vjp(lambda x: inner(x, 2.0), x)
        return y**2, (y, pull(np.ones(()))[0])

    outer.defvjp(outer_fwd, lambda residuals, ct: (10.0 * ct * residuals[0] * residuals[1],))
    for wrap in PLAIN:
        close(fdl.grad(wrap(outer))(S), 10 * 2 * np.sin(S) * 6 * np.cos(S))
        close(fdl.vmap(fdl.grad(wrap(outer)))(X), 10 * 2 * np.sin(X) * 6 * np.cos(X))


# --- closures -------------------------------------------------------------------------------------


@BOTH
def test_closures_over_constants_and_outer_lanes(make: Any) -> None:
    def build(w: Any) -> Any:
        f = (fdl.custom_jvp if make is tripled_jvp else fdl.custom_vjp)(lambda x: x * w)
        if make is tripled_jvp:
            f.defjvp(lambda p, t: (p[0] * w, t[0] * w * 2.0))
        else:
            f.defvjp(lambda x: (x * w, None), lambda _, ct: (ct * w * 2.0,))
        return f

    for wrap in PLAIN:
        close(fdl.grad(lambda x, wrap=wrap: wrap(build(X))(x).sum())(X), 2 * X)
        close(fdl.vmap(lambda w, wrap=wrap: fdl.grad(wrap(build(w)))(S))(X), 2 * X)
        close(fdl.jit(lambda w: fdl.grad(build(w))(S))(S), 2 * S)


@BOTH
def test_a_derivative_in_a_closed_over_value_is_an_error(make: Any) -> None:
    """Failing without the check: the derivative would be zero."""

    def value(w: Any, wrap: Any = lambda f: f) -> Any:
        f = (fdl.custom_jvp if make is tripled_jvp else fdl.custom_vjp)(lambda x: x * w)
        if make is tripled_jvp:
            f.defjvp(lambda p, t: (p[0] * w, t[0] * w))
        else:
            f.defvjp(lambda x: (x * w, None), lambda _, ct: (ct * w,))
        return wrap(f)(w * 2.0)

    with pytest.raises(
        LeakedTracerError, match=r"a rule only knows the derivative in the arguments. Pass the array as an argument"
    ):
        fdl.grad(value)(S)
    with pytest.raises((MissingRuleError, LeakedTracerError), match=r"only knows the derivative in.*arguments\. Pass the"):
        fdl.grad(lambda w: value(w, fdl.jit))(S)
    with pytest.raises((MissingRuleError, LeakedTracerError), match=r"only knows the derivative in.*arguments\. Pass the"):
        fdl.grad(fdl.jit(value))(S)


# --- as a program ---------------------------------------------------------------------------------


def test_text(golden: Callable[[str, str], None]) -> None:
    f, g = tripled_jvp(), tripled_vjp()
    p = fdl.make_ir(lambda x: f(x, 2.0) + g(x, 3.0))(np.float32(1.0))
    golden("custom.fdl", str(p))
    assert list(functions(p)) == ["f_jvp", "f_bwd", "f_fwd"]
    with pytest.raises(ParseError, match="the text names the function @f_jvp, which was not given"):
        parse(str(p))
    q = parse(str(p), functions=functions(p))
    assert q == p and str(q) == str(p)
    check_program(q)


def test_functions_of_one_name_have_slots_of_their_own() -> None:
    f, g = tripled_jvp(), tripled_jvp()
    p = fdl.make_ir(lambda x: f(x, x) + g(x, x) + f(x, 1.0))(1.0)
    assert list(functions(p)) == ["f_jvp", "f_jvp_1"]
    assert parse(str(p), functions=functions(p)) == p
    swapped = dict(zip(["f_jvp", "f_jvp_1"], reversed(functions(p).values()), strict=True))
    assert parse(str(p), functions=swapped) != p


def test_a_parsed_program_differentiates() -> None:
    p = fdl.make_ir(tripled_jvp())(S, S)
    q = parse(str(p), functions=functions(p))
    from_text = fdl.jacfwd(lambda x: fdl.tracer.transforms.jvp.program_function(q)(x, S)[0])(S)
    close(from_text, 3 * np.cos(S) * S)


def test_rules_made_anew_compile_nothing() -> None:
    def step(x: Any) -> Any:
        return tripled_jvp()(x, x).sum() + tripled_vjp()(x, x).sum()

    fdl.jit(lambda x: step(x))(X)
    before = len(specialise._EXECUTABLES)
    for _ in range(3):
        fdl.jit(lambda x: step(x))(X)
    assert len(specialise._EXECUTABLES) == before


def test_an_eager_loop_over_grad_of_jit_neither_retraces_nor_recompiles() -> None:
    f, g = tripled_jvp(), tripled_vjp()
    traces = []

    @fdl.jit
    def step(x: Any) -> Any:
        traces.append(0)
        return (f(x, x) + g(x, x)).sum()

    fdl.grad(step)(X)
    compiled_before = len(specialise._EXECUTABLES)
    for _ in range(3):
        fdl.grad(step)(X)
    assert len(traces) == 1 and len(specialise._EXECUTABLES) == compiled_before


# --- custom_gradient ------------------------------------------------------------------------------


def test_custom_gradient() -> None:
    @fdl.custom_gradient
    def f(x: Any, y: Any) -> Any:
        s = fnp.sin(x)
        return {"v": s * y}, lambda ct: (2.0 * ct["v"] * fnp.cos(x) * y, 4.0 * ct["v"] * s)

    def total(x: Any, y: Any) -> Any:
        return f(x, y)["v"].sum()

    for wrap in PLAIN:
        close(fdl.grad(wrap(total), (0, 1))(X, X), (2 * np.cos(X) * X, 4 * np.sin(X)))
        close(wrap(fdl.vmap(fdl.grad(total)))(X, X), 2 * np.cos(X) * X)
        close(fdl.grad(lambda x: fdl.vmap(lambda v: f(v, 1.0)["v"])(x).sum())(X), 2 * np.cos(X))
        close(fdl.grad(fdl.grad(wrap(lambda x: f(x, 1.0)["v"])))(S), -2 * np.sin(S))
    g = fdl.custom_gradient(lambda x: (x**2, lambda ct: ct * 5.0))  # one argument: no tuple needed
    close(fdl.grad(g)(S), np.float64(5.0))
    with pytest.raises(TypeError, match=r"custom_gradient h: it must return \(value, pullback\), got an array"):

        def h(x: Any) -> Any:
            return fnp.sin(x)

        fdl.custom_gradient(h)(S)


# --- errors ---------------------------------------------------------------------------------------


def with_jvp(rule: Callable[..., Any]) -> Callable[[], Any]:
    @fdl.custom_jvp
    def f(p: Any) -> Any:
        return {"y": p["x"] * 2.0, "n": fnp.sum(p["x"])}

    f.defjvp(rule)
    return lambda: fdl.jvp(f, ({"x": X},), ({"x": X},))


def with_vjp(fwd: Callable[..., Any], bwd: Callable[..., Any]) -> Callable[[], Any]:
    @fdl.custom_vjp
    def f(p: Any, s: Any) -> Any:
        return p["x"] * s

    f.defvjp(fwd, bwd)
    return lambda: fdl.grad(lambda p, s: f(p, s).sum(), (0, 1))({"x": X}, S)


def good_fwd(p: Any, s: Any) -> Any:
    return p["x"] * s, (p, s)


def rule_out(primals: Any) -> Any:
    return {"y": primals[0]["x"] * 2.0, "n": fnp.sum(primals[0]["x"])}


def named(name: str, f: Callable[..., Any]) -> Callable[..., Any]:
    f.__name__ = name
    return f


@fdl.custom_jvp
def bare_jvp(x: Any) -> Any:
    return x


@fdl.custom_vjp
def bare_vjp(x: Any, k: Any = 1.0) -> Any:
    return x


WRONG: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    (
        "jvp: no pair",
        with_jvp(named("r", lambda p, t: rule_out(p))),
        TypeError,
        r"custom_jvp f: the rule r must return a pair \(output, tangent of the output\), got a dict with keys",
    ),
    ("jvp: three", with_jvp(named("r", lambda p, t: (1.0, 2.0, 3.0))), TypeError, "got a tuple of 3"),
    (
        "jvp: tree",
        with_jvp(named("r", lambda p, t: (rule_out(p), {"y": t[0]["x"]}))),
        TreeError,
        r"rule r: the tangent is not nested like the output: tangent: expected a dict with keys \['n', 'y'\], got a dict with keys \['y'\]",
    ),
    (
        "jvp: shape",
        with_jvp(named("r", lambda p, t: (rule_out(p), {"y": t[0]["x"][:2], "n": t[0]["x"].sum()}))),
        ShapeError,
        r"rule r: tangent\['y'\] has type f64\[2\], expected f64\[3\], like the output",
    ),
    (
        "jvp: dtype",
        with_jvp(named("r", lambda p, t: (rule_out(p), {"y": t[0]["x"], "n": t[0]["x"].sum().astype(np.float32)}))),
        DTypeError,
        r"tangent\['n'\] has type f32\[\], expected f64\[\], like the output. Convert it with .astype",
    ),
    (
        "jvp: no array",
        with_jvp(named("r", lambda p, t: (rule_out(p), {"y": t[0]["x"], "n": "text"}))),
        DTypeError,
        r"rule r: tangent\['n'\]",
    ),
    (
        "vjp: no pair",
        with_vjp(named("fw", lambda p, s: p["x"] * s), named("bw", lambda r, ct: None)),
        TypeError,
        r"custom_vjp f: the rule fw must return a pair \(output, residuals\), got an array of type f64\[3\]",
    ),
    (
        "vjp: residual",
        with_vjp(named("fw", lambda p, s: (p["x"] * s, {"r": "text"})), named("bw", lambda r, ct: None)),
        DTypeError,
        r"the rule fw: the residual\['r'\]",
    ),
    (
        "vjp: count",
        with_vjp(good_fwd, named("bw", lambda r, ct: (r[0],))),
        TypeError,
        r"custom_vjp f: the rule bw must return a tuple with a cotangent for each of the 2 arguments \(p, s\), got a tuple of 1",
    ),
    (
        "vjp: no tuple",
        with_vjp(good_fwd, named("bw", lambda r, ct: ct)),
        TypeError,
        r"for each of the 2 arguments \(p, s\), got an array of type f64\[3\]",
    ),
    (
        "vjp: tree",
        with_vjp(good_fwd, named("bw", lambda r, ct: ({"z": ct}, None))),
        TreeError,
        r"rule bw: a cotangent is not nested like the argument: p: expected a dict with keys \['x'\], got a dict with keys \['z'\]",
    ),
    (
        "vjp: shape",
        with_vjp(good_fwd, named("bw", lambda r, ct: ({"x": ct}, ct))),
        ShapeError,
        r"rule bw: the cotangent of s has type f64\[3\], expected f64\[\], like the argument",
    ),
    (
        "vjp: dtype",
        with_vjp(good_fwd, named("bw", lambda r, ct: ({"x": ct.astype(np.float32)}, None))),
        DTypeError,
        r"the cotangent of p\['x'\] has type f32\[3\], expected f64\[3\]",
    ),
    (
        "no jvp rule",
        lambda: bare_jvp(1.0),
        MissingRuleError,
        r"custom_jvp bare_jvp: no rule is defined. Decorate one with @bare_jvp.defjvp",
    ),
    (
        "no vjp rule",
        lambda: bare_vjp(1.0),
        MissingRuleError,
        r"custom_vjp bare_vjp: no rules are defined. Call bare_vjp.defvjp\(fwd, bwd\)",
    ),
    (
        "argument",
        lambda: tripled_jvp()({"k": "text"}, 1.0),
        DTypeError,
        r"custom_jvp f: argument x\['k'\].*a Python value goes into nondiff_argnums",
    ),
    ("keyword only", lambda: _keyword_only()(1.0, k=2.0), TypeError, r"the keyword-only arguments \['k'\] have no position"),
    (
        "nondiff name",
        lambda: fdl.custom_vjp(lambda x: x, nondiff_argnames=["q"]),
        ValueError,
        r"nondiff_argnames: 'q' is no parameter; it has \['x'\]",
    ),
    ("nondiff number", lambda: _number_two()(1.0), ValueError, r"nondiff_argnums=\(2,\), but the call has 1 arguments"),
    (
        "nondiff tracer",
        lambda: fdl.grad(lambda k: _number_one()(1.0, k))(2.0),
        TypeError,
        r"argument y is a traced array of type f32\[\]\*?, in a position of nondiff_argnums",
    ),
    (
        "forward mode",
        lambda: fdl.jvp(tripled_vjp(), (X, X), (X, X)),
        MissingRuleError,
        "custom_vjp f: forward-mode differentiation.*or define the rule with fdl.custom_jvp",
    ),
    (
        "forward mode under jit",
        lambda: fdl.jit(fdl.jacfwd(fdl.jit(tripled_vjp())))(X, X),
        MissingRuleError,
        "custom_vjp f: forward-mode",
    ),
    ("pushing", lambda: fdl.linearize(tripled_vjp(), X, X)[1](X, X), MissingRuleError, "custom_vjp f_bwd: forward-mode"),
    ("rules per argument", lambda: _too_few(), TypeError, "defjvps got 1 rules, but the call has 2 arguments"),
    ("defjvps", lambda: _number_one(fdl.custom_jvp).defjvps(None), TypeError, "defjvps does not go with nondiff_argnums"),
]


def _keyword_only() -> Any:
    f = fdl.custom_jvp(lambda x, *, k: x)
    f.defjvp(lambda p, t: (p, t))
    return f


def _number_two() -> Any:
    f = fdl.custom_vjp(lambda x, *rest: x, nondiff_argnums=(2,))
    f.defvjp(lambda *a: (a[0], None), lambda *a: (None,))
    return f


def _number_one(kind: Any = fdl.custom_vjp) -> Any:
    f = kind(lambda x, y: x, nondiff_argnums=(1,))
    if kind is fdl.custom_vjp:
        f.defvjp(lambda x, y: (x, None), lambda y, r, ct: (ct,))
    return f


def _too_few() -> Any:
    f = tripled_jvp()
    f.defjvps(None)
    return fdl.grad(f)(1.0, 2.0)


@pytest.mark.parametrize(("act", "error", "message"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_errors(act: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"(?s){message}"):
        act()


def test_a_primal_output_unlike_the_functions() -> None:
    """Where the function was traced, the rule's output is held to what it returned."""

    def make(rule: Callable[..., Any]) -> Any:
        f = fdl.custom_jvp(named("f", lambda x: {"y": x * 2.0}))
        f.defjvp(named("r", rule))
        return lambda: fdl.grad(fdl.jit(lambda x: f(x)["y"].sum()))(X)

    with pytest.raises(
        ShapeError, match=r"the primal output of the rule r\['y'\] has type f64\[2\], expected f64\[3\], as f returns"
    ):
        make(lambda p, t: ({"y": p[0][:2]}, {"y": t[0][:2]}))()
    with pytest.raises(TreeError, match=r"the primal output of the rule r is not nested like what f returns: output"):
        make(lambda p, t: ([p[0]], [t[0]]))()


# --- closing over lanes ---------------------------------------------------------------------------


def scaling_vjp(w: Any) -> Any:
    """A product with a value that is closed over, whose rules give ten times the derivative."""
    f = fdl.custom_vjp(lambda x: x * w)
    f.defvjp(lambda x: (x * w, w), lambda r, g: (g * r * 10,))
    return f


def scaling_jvp(w: Any) -> Any:
    f = fdl.custom_jvp(lambda x: x * w)
    f.defjvp(lambda primals, tangents: (f(*primals), tangents[0] * w * 10))
    return f


@pytest.mark.parametrize("scaling", [scaling_vjp, scaling_jvp])
def test_functions_and_rules_close_over_lanes(scaling: Callable[[Any], Any]) -> None:
    """A rule knows no derivative in what it closes over, but lanes of a vmap around the call are values like others."""
    w, inner = np.array([1.0, 2.0, 3.0]), lambda w: scaling(w)(2.0)
    for f in (fdl.vmap(inner), fdl.jit(fdl.vmap(inner)), fdl.vmap(fdl.jit(inner))):
        assert f(w).tolist() == [2.0, 4.0, 6.0]
    assert fdl.vmap(lambda w, x: scaling(w)(x))(w, w).tolist() == [1.0, 4.0, 9.0]
    assert fdl.vmap(lambda w: fdl.grad(scaling(w))(2.0))(w).tolist() == [10.0, 20.0, 30.0]
    total = lambda x: fdl.vmap(lambda w: scaling(w)(x))(w).sum()  # noqa: E731
    assert float(fdl.grad(total)(2.0)) == float(fdl.jit(fdl.grad(total))(2.0)) == 60.0
    both = fdl.vmap(lambda a: fdl.vmap(lambda b: scaling(a * b)(3.0))(w))(w)
    assert both.tolist() == (3 * np.outer(w, w)).tolist()
    carried = fdl.vmap(lambda w: fdl.scan(lambda c, x: (scaling(w)(c) + x, None), w, np.ones(2))[0])
    assert carried(w).tolist() == (w * (w * w + 1) + 1).tolist() == fdl.jit(carried)(w).tolist()
    summed = fdl.vmap(lambda w: scaling(fdl.psum(w, "i"))(2.0), axis_name="i")
    assert summed(w).tolist() == [12.0, 12.0, 12.0]


@pytest.mark.parametrize("scaling", [scaling_vjp, scaling_jvp])
def test_what_closes_over_no_lane_runs_once(scaling: Callable[[Any], Any]) -> None:
    """out_axes=None asks for a value that is the same in all lanes."""
    w = np.array([1.0, 2.0, 3.0])
    assert float(fdl.vmap(lambda w: (w, scaling(4.0)(2.0)), out_axes=(0, None))(w)[1]) == 8.0
    with pytest.raises(ShapeError, match="out_axes is None for an output that differs between the lanes"):
        fdl.vmap(lambda w: (w, scaling(w)(2.0)), out_axes=(0, None))(w)


@pytest.mark.parametrize("scaling", [scaling_vjp, scaling_jvp])
def test_derivatives_in_what_is_closed_over_are_still_refused(scaling: Callable[[Any], Any]) -> None:
    w = np.array([1.0, 2.0, 3.0])
    for f in (fdl.vmap(fdl.grad(lambda w: scaling(w)(2.0))), fdl.grad(lambda w: fdl.vmap(lambda w: scaling(w)(2.0))(w).sum())):
        with pytest.raises((LeakedTracerError, MissingRuleError), match=r"closes over|not among its arguments"):
            f(w)


# --- derivatives inside rules that are mapped -----------------------------------------------------


BODIES: dict[str, Callable[[Any], Any]] = {
    "scan": lambda x: fdl.scan(lambda c, row: (fnp.sin(c) * row, c + row), x[0], x)[1],
    "map": lambda x: fdl.map(fnp.sin, x),
    "cond": lambda x: fdl.cond(x[0, 0] > 0.5, lambda x: fnp.sin(x), lambda x: x * x[0], x),
    "jit": lambda x: fdl.jit(lambda x: fnp.sin(x) * x)(x),
    "checkpoint": lambda x: fdl.checkpoint(lambda x: fnp.sin(fnp.sin(x)))(x),
    "fori_loop": lambda x: fdl.fori_loop(0, 3, lambda i, x: fnp.sin(x) + i, x),
    "lanes": lambda x: fdl.vmap(lambda row: fdl.scan(lambda c, y: (c * y, c), 1.0, row)[1])(x),
    "nested": lambda x: _through_a_rule(lambda x: fdl.map(fnp.cos, x))(x),
}


def _through_a_rule(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`f` with its own derivative as its custom rule."""
    g = fdl.custom_jvp(f)
    g.defjvp(lambda primals, tangents: fdl.jvp(f, primals, tangents))
    return g


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("lanes", [1, 3])
def test_a_rule_that_differentiates_is_mapped_and_reversed(name: str, lanes: int) -> None:
    """Found by a program at random: outputs were recorded among what depends on tangents, and escaped."""
    f, x = BODIES[name], fnp.asarray(np.random.default_rng(0).uniform(0.1, 0.9, (lanes, 4, 3)))
    expected, back = fdl.vjp(fdl.vmap(f), x)
    mapped = fdl.vmap(_through_a_rule(f))
    twice = lambda x: fdl.vmap(fdl.vmap(_through_a_rule(f)))(x[None])[0]  # noqa: E731
    for g in (mapped, fdl.jit(mapped), twice):
        y, again = fdl.vjp(g, x)
        np.testing.assert_allclose(y, expected, rtol=1e-12)
        np.testing.assert_allclose(again(fnp.cos(y))[0], back(fnp.cos(expected))[0], rtol=1e-10)
        _, recorded = fdl.jit(lambda x: (lambda y, b: (y, b(fnp.cos(y))[0]))(*fdl.vjp(g, x)))(x)  # noqa: B023
        np.testing.assert_allclose(recorded, back(fnp.cos(expected))[0], rtol=1e-10)


def _joint_scan(x: Any, d: Any) -> Any:
    (y, dy), _ = fdl.scan(lambda c, _: ((fnp.sin(c[0]), fnp.cos(c[0]) * c[1]), None), (x, d), None, length=3)
    return y, dy


def _joint_ys(x: Any, d: Any) -> Any:
    step = lambda c, s: ((c[0] * s[0], c[1] * s[0] + c[0] * s[1]), (c[0], c[1]))  # noqa: E731
    _, (y, dy) = fdl.scan(step, (fnp.ones_like(x), fnp.zeros_like(x)), (fnp.stack([x, x]), fnp.stack([d, d])))
    return y.sum(), dy.sum()


JOINT: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    "jit": (fnp.sin, lambda x, d: fdl.jit(lambda x, d: (fnp.sin(x), fnp.cos(x) * d))(x, d)),
    "nested jit": (fnp.sin, lambda x, d: fdl.jit(lambda x, d: fdl.jit(lambda x, d: (fnp.sin(x), fnp.cos(x) * d))(x, d))(x, d)),
    "cond": (fnp.abs, lambda x, d: fdl.cond(x > 0, lambda x, d: (x, d), lambda x, d: (-x, -d), x, d)),
    "checkpoint": (fnp.exp, lambda x, d: fdl.checkpoint(lambda x, d: (fnp.exp(x), fnp.exp(x) * d))(x, d)),
    "scan": (lambda x: fnp.sin(fnp.sin(fnp.sin(x))), _joint_scan),
    "scan over both": (lambda x: 1 + x, _joint_ys),
    "a constant": (lambda x: 0 * x + 3, lambda x, d: fdl.jit(lambda x, d: (3.0 + 0 * x, d * 0))(x, d)),
}


@pytest.mark.parametrize("name", JOINT)
def test_rules_may_compute_outputs_and_tangents_in_one_program(name: str) -> None:
    """`value_and_grad` returned a tracer, and `scan` had no transpose: outputs were recorded among what depends on tangents."""
    plain, joint = JOINT[name]
    f = fdl.custom_jvp(lambda x: plain(x))
    f.defjvp(lambda primals, tangents: joint(*primals, *tangents))
    x, xs = fnp.asarray(0.7, np.float64), fnp.asarray([0.3, 0.7, 1.1], np.float64)
    checks: list[tuple[Callable[[Any], Any], Any]] = [
        (fdl.value_and_grad, x),
        (lambda g: fdl.jit(fdl.value_and_grad(g)), x),
        (lambda g: fdl.grad(fdl.grad(g)), x),
        (lambda g: lambda x: fdl.jvp(fdl.grad(g), (x,), (x,)), x),
        (lambda g: fdl.vmap(fdl.value_and_grad(g)), xs),
        (lambda g: fdl.value_and_grad(lambda xs: fdl.vmap(g)(xs).sum()), xs),
        (lambda g: fdl.jit(fdl.value_and_grad(lambda xs: fdl.vmap(g)(xs).sum())), xs),
        (lambda g: lambda x: fdl.linearize(g, x)[1](x), x),
    ]
    for transform, at in checks:
        found, expected = (fdl.tree.leaves(transform(g)(at)) for g in (f, plain))
        for y, z in zip(found, expected, strict=True):
            np.testing.assert_allclose(np.asarray(y), np.asarray(z), rtol=1e-6, atol=1e-6)
