"""custom_linear_solve, custom_root and closure_convert: values, derivatives in both modes to order 2, vmap, jit, and errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl.testing import check_grads
from fdl.tracer import tree
from fdl.tracer.check import check_program
from fdl.tracer.errors import DTypeError, MissingRuleError, ShapeError, TreeError
from fdl.tracer.parse import parse
from fdl.tracer.show import functions

RNG = np.random.default_rng(11)
A = RNG.normal(size=(3, 3)) * 0.3 + 2 * np.eye(3)
B = RNG.normal(size=3)
PLAIN = (lambda f: f, fdl.jit)


def close(a: Any, b: Any, rtol: float = 1e-8, atol: float = 1e-10) -> None:
    (la, sa), (lb, sb) = tree.flatten(a), tree.flatten(b)
    assert sa == sb, (sa, sb)
    for x, y in zip(la, lb, strict=True):
        assert np.shape(x) == np.shape(y), (np.shape(x), np.shape(y))
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=rtol, atol=atol)


def richardson(matvec: Callable[[Any], Any], b: Any) -> Any:
    """Fixed-point iteration with a number of steps that depends on the values: it has no reverse mode of its own."""

    def wrong(state: Any) -> Any:
        return fnp.max(fnp.abs(state[1])) > 1e-13

    def step(state: Any) -> Any:
        x = state[0] + 0.3 * state[1]
        return x, b - matvec(x)

    return fdl.while_loop(wrong, step, (fnp.zeros_like(b), b))[0]


def solve(a: Any, b: Any) -> Any:
    return fdl.custom_linear_solve(lambda x: a @ x, b, richardson, richardson)


# --- linear solves --------------------------------------------------------------------------------


def test_value_and_jacobians() -> None:
    inverse, x = np.linalg.inv(A), np.linalg.solve(A, B)
    expected = -np.einsum("ij,k->ijk", inverse, x), inverse
    for wrap in PLAIN:
        close(wrap(solve)(A, B), x)
        for jacobian in (fdl.jacfwd, fdl.jacrev):
            close(jacobian(wrap(solve), (0, 1))(A, B), expected)
        close(wrap(fdl.jacrev(solve, (0, 1)))(A, B), expected)


def test_derivatives_to_order_two() -> None:
    check_grads(solve, (A, B), order=2)
    check_grads(fdl.jit(solve), (A, B), order=2)
    inverse, x = np.linalg.inv(A), np.linalg.solve(A, B)
    u = inverse.T @ np.ones(3)
    expected = np.einsum("i,jk,l->ijkl", u, inverse, x) + np.einsum("k,li,j->ijkl", u, inverse, x)
    close(fdl.hessian(lambda a: solve(a, B).sum())(A), expected)


def test_lanes() -> None:
    stack = np.stack([A, A.T, A + 0.1 * np.eye(3)])
    bs = RNG.normal(size=(3, 3))
    for wrap in PLAIN:
        close(wrap(fdl.vmap(solve))(stack, bs), np.linalg.solve(stack, bs[..., None])[..., 0])
        close(fdl.vmap(wrap(solve), (None, 0))(A, bs), np.linalg.solve(A, bs.T).T)
        close(fdl.vmap(solve, (0, None))(stack, B), np.stack([np.linalg.solve(a, B) for a in stack]))
        each = np.stack(
            [-np.outer(np.linalg.solve(a.T, np.ones(3)), np.linalg.solve(a, b)) for a, b in zip(stack, bs, strict=True)]
        )
        close(fdl.vmap(wrap(fdl.grad(lambda a, b: solve(a, b).sum())))(stack, bs), each)
        close(fdl.grad(lambda a, wrap=wrap: fdl.vmap(wrap(solve))(a, bs).sum())(stack), each)
    shared = sum(-np.outer(np.linalg.solve(A.T, np.ones(3)), np.linalg.solve(A, b)) for b in bs)
    close(fdl.grad(lambda a: fdl.vmap(solve, (None, 0))(a, bs).sum())(A), shared)


def test_pytrees_and_auxiliary_outputs() -> None:
    """Two coupled unknowns of different shapes; the number of steps goes along."""

    def system(k: Any, b: Any) -> Any:
        def matvec(v: Any) -> Any:
            return {"x": 2.0 * v["x"] + k * v["y"], "y": 3.0 * v["y"]}

        def solver(matvec: Any, b: Any) -> Any:
            y = b["y"] / 3.0
            return {"x": (b["x"] - k * y) / 2.0, "y": y}, {"steps": 1}

        def transposed(vecmat: Any, b: Any) -> Any:
            x = b["x"] / 2.0
            return {"x": x, "y": (b["y"] - fnp.sum(k * x)) / 3.0}, {"steps": 2}

        return fdl.custom_linear_solve(matvec, b, solver, transposed, has_aux=True)

    k, b = np.float64(0.5), {"x": B, "y": np.float64(2.0)}
    found, aux = system(k, b)
    close(found, {"x": (B - 0.5 * 2 / 3) / 2, "y": np.float64(2 / 3)})
    assert int(aux["steps"]) == 1
    check_grads(lambda k, b: system(k, b)[0], (k, b), order=2)
    close(fdl.jit(fdl.grad(lambda k: system(k, b)[0]["x"].sum()))(k), np.float64(-1.0))


def test_symmetric() -> None:
    spd = A @ A.T + np.eye(3)

    def cg(matvec: Any, b: Any) -> Any:
        def step(_: Any, s: Any) -> Any:
            x, r, p, rr = s
            ap = matvec(p)
            alpha = rr / fnp.sum(p * ap)
            r = r - alpha * ap
            new = fnp.sum(r * r)
            return x + alpha * p, r, r + new / rr * p, new

        return fdl.fori_loop(0, 3, step, (fnp.zeros_like(b), b, b, fnp.sum(b * b)))[0]

    def f(a: Any, b: Any) -> Any:
        return fdl.custom_linear_solve(lambda x: a @ x, b, cg, symmetric=True)

    close(f(spd, B), np.linalg.solve(spd, B))
    close(fdl.grad(lambda b: f(spd, b)[0])(B), np.linalg.inv(spd)[0])
    close(fdl.jit(fdl.grad(lambda a: f(a, B).sum()))(spd), -np.outer(np.linalg.solve(spd, np.ones(3)), np.linalg.solve(spd, B)))


def test_dtypes() -> None:
    z = B + 1j * B[::-1]

    def f(d: Any, b: Any) -> Any:
        return fdl.custom_linear_solve(lambda x: d * x, b, lambda _, b: b / d, lambda _, b: b / d)

    close(f(z, z * 2), np.full(3, 2.0 + 0j))
    close(fdl.jacrev(lambda b: f(z, b), holomorphic=True)(z), np.diag(1 / z))
    x = fdl.grad(lambda d: f(d, np.float32(6.0)))(np.float32(2.0))
    assert x.dtype == np.float32 and float(x) == -1.5


def test_in_loops() -> None:
    def f(a: Any, b: Any) -> Any:
        return fdl.scan(lambda c, _: (solve(a, c), None), b, None, length=2)[0].sum()

    for wrap in PLAIN:
        close(wrap(fdl.grad(f, 1))(A, B), np.linalg.inv(A @ A).T @ np.ones(3))
    check_grads(f, (A, B))


def test_errors_of_linear_solves() -> None:
    def f(**changes: Any) -> Any:
        given = {"matvec": lambda x: A @ x, "b": B, "solve": lambda _, b: b, "transpose_solve": lambda _, b: b}
        return fdl.custom_linear_solve(**(given | changes))

    with pytest.raises(DTypeError, match=r"custom_linear_solve: b\['n'\] has dtype int32, expected a floating-point one"):
        f(b={"n": np.int32(1)})
    with pytest.raises(
        ShapeError,
        match=r"custom_linear_solve: matvec must return a pytree like b: result has type f64\[2\], expected f64\[3\]",
    ):
        f(matvec=lambda x: x[:2])
    with pytest.raises(TreeError, match=r"custom_linear_solve: solve must return a pytree like b: result: expected an array"):
        f(solve=lambda _, b: (b, 1))
    with pytest.raises(ShapeError, match=r"transpose_solve must return a pytree like b"):
        f(transpose_solve=lambda _, b: b[:1])
    with pytest.raises(TypeError, match=r"solve must return a pair \(solution, aux\), since has_aux=True"):
        f(has_aux=True)
    with pytest.raises(ShapeError, match=r"the argument of vecmat: x has shape \(2,\), expected \(3,\)"):
        f(transpose_solve=lambda vecmat, b: vecmat(b[:2]))
    with pytest.raises(MissingRuleError, match=r"reverse mode needs a solve with the transposed matrix: pass transpose_solve="):
        fdl.grad(lambda b: f(b=b, transpose_solve=None).sum())(B)
    close(fdl.jvp(lambda b: f(b=b, transpose_solve=None), (B,), (B,))[1], B)  # forward mode does without


# --- roots ----------------------------------------------------------------------------------------


def newton(f: Callable[[Any], Any], x: Any) -> Any:
    return fdl.while_loop(lambda x: fnp.abs(f(x)) > 1e-13, lambda x: x - f(x) / fdl.grad(f)(x), x)


def square_root(a: Any) -> Any:
    return fdl.custom_root(lambda x: x * x - a, np.float64(1.0), newton, lambda g, y: y / g(1.0))


def test_scalar_root() -> None:
    a = np.float64(4.0)
    for wrap in PLAIN:
        close(wrap(square_root)(a), np.float64(2.0))
        close(wrap(fdl.grad(square_root))(a), np.float64(0.25))
        close(fdl.grad(wrap(square_root))(a), np.float64(0.25))
        close(fdl.jvp(wrap(square_root), (a,), (np.float64(2.0),))[1], np.float64(0.5))
        close(fdl.grad(fdl.grad(wrap(square_root)))(a), np.float64(-0.25 * 4**-1.5))
        close(fdl.hessian(wrap(square_root))(a), np.float64(-0.25 * 4**-1.5))
        close(fdl.vmap(wrap(fdl.grad(square_root)))(np.array([1.0, 4.0])), np.array([0.5, 0.25]))
        close(fdl.grad(lambda a, wrap=wrap: fdl.vmap(wrap(square_root))(a).sum())(np.array([1.0, 4.0])), np.array([0.5, 0.25]))
    check_grads(square_root, (a,), order=3)


def fixed_point(w: Any, x: Any) -> Any:
    """The state z = tanh(W z + x) of an equilibrium model, as a root of a vector function of a pytree."""

    def f(state: Any) -> Any:
        return {"z": fnp.tanh(w @ state["z"] + x) - state["z"]}

    def solver(f: Any, state: Any) -> Any:
        def step(_: Any, s: Any) -> Any:
            return {"z": s["z"] + f(s)["z"]}

        return fdl.fori_loop(0, 100, step, state), {"steps": 100}

    def tangent_solve(g: Any, y: Any) -> Any:
        return {"z": fnp.linalg.solve(fdl.jacobian(lambda z: g({"z": z})["z"])(y["z"]), y["z"])}

    root, aux = fdl.custom_root(f, {"z": fnp.zeros_like(x)}, solver, tangent_solve, has_aux=True)
    assert set(aux) == {"steps"}
    return root["z"]


def test_root_of_a_system() -> None:
    w = RNG.normal(size=(3, 3)) * 0.2
    z = np.asarray(fixed_point(w, B))
    close(z, np.tanh(w @ z + B))
    d = 1 - z**2
    dz = np.linalg.solve(np.eye(3) - d[:, None] * w, np.diag(d))
    close(fdl.jacfwd(fixed_point, 1)(w, B), dz)
    close(fdl.jacrev(fixed_point, 1)(w, B), dz)
    close(fdl.jit(fdl.jacrev(fixed_point, 1))(w, B), dz)
    check_grads(fixed_point, (w, B), order=2)
    xs = RNG.normal(size=(2, 3))
    close(
        fdl.vmap(fdl.grad(lambda x: fixed_point(w, x).sum()))(xs),
        np.stack([fdl.grad(lambda x: fixed_point(w, x).sum())(x) for x in xs]),
    )


def test_the_guess_has_no_derivative() -> None:
    def root(a: Any, guess: Any) -> Any:
        return fdl.custom_root(lambda x: x * x - a, guess, newton, lambda g, y: y / g(1.0))

    close(fdl.grad(root, (0, 1))(np.float64(9.0), np.float64(2.0)), (np.float64(1 / 6), np.float64(0.0)))


def test_a_guess_that_is_a_number_adapts() -> None:
    def root(a: Any, guess: Any) -> Any:
        solved = fdl.custom_root(
            lambda x: {"r": x["r"] * x["r"] - a}, {"r": guess}, search, lambda g, y: {"r": y["r"] / g({"r": 1.0})["r"]}
        )
        return solved["r"]

    def search(f: Any, x: Any) -> Any:
        return {"r": newton(lambda r: f({"r": r})["r"], x["r"])}

    for guess in (2, 2.0):
        for wrap in PLAIN:
            value = wrap(lambda a, guess=guess: root(a, guess))(np.float64(9.0))
            assert value.dtype == np.float64
            close(value, np.float64(3.0))
            close(fdl.grad(wrap(lambda a, guess=guess: root(a, guess)))(np.float64(9.0)), np.float64(1 / 6))
    with pytest.raises(ShapeError, match=r"result\['r'\] has type f64\[\], expected f32\[\]"):
        root(np.float64(9.0), np.float32(2.0))


def test_errors_of_roots() -> None:
    x = np.float64(1.0)

    def f(**changes: Any) -> Any:
        given = {"f": lambda x: x - 1, "initial_guess": x, "solve": lambda f, x: x, "tangent_solve": lambda g, y: y}
        return fdl.custom_root(**(given | changes))

    with pytest.raises(
        TreeError,
        match=r"custom_root: f must return a pytree like initial_guess: result: expected an array or a scalar, got a tuple of 2",
    ):
        f(f=lambda x: (x, x))
    with pytest.raises(
        ShapeError,
        match=r"custom_root: solve must return a pytree like initial_guess: result has type f64\[2\], expected f64\[\]",
    ):
        f(solve=lambda f, x: fnp.stack([x, x]))
    with pytest.raises(ShapeError, match=r"custom_root: tangent_solve must return a pytree like initial_guess"):
        f(tangent_solve=lambda g, y: fnp.stack([y, y]))
    with pytest.raises(TypeError, match=r"custom_root: solve must return a pair \(solution, aux\)"):
        f(has_aux=True)
    with pytest.raises(ShapeError, match=r"custom_root: the argument of f: x has shape \(3,\), expected \(\)"):
        f(solve=lambda f, x: f(B)[0])


# --- as a program ---------------------------------------------------------------------------------


def test_text_round_trip() -> None:
    p = fdl.make_ir(lambda a, b: (solve(a, b), square_root(b[0] ** 2)))(A, B)
    q = parse(str(p), p.values, functions(p))
    assert q == p and list(functions(p)) == ["custom_root_jvp"]
    check_program(q)
    assert "custom_linear_solve[counts=(1, 1, 1, 1), matvec=program" in str(p)


# --- closures -------------------------------------------------------------------------------------


def test_closure_convert() -> None:
    @fdl.custom_vjp
    def quadrature(f: Any, *consts: Any) -> Any:
        return fnp.sum(fnp.stack([f(t, *consts) for t in (0.0, 0.5, 1.0)])) / 3

    quadrature = fdl.custom_vjp(quadrature._f, nondiff_argnums=(0,))

    def bwd(f: Any, consts: Any, ct: Any) -> Any:
        total = [fnp.zeros_like(c) for c in consts]
        for t in (0.0, 0.5, 1.0):
            total = [a + b for a, b in zip(total, fdl.vjp(lambda *c, t=t: f(t, *c), *consts)[1](ct / 3), strict=True)]
        return tuple(total)

    quadrature.defvjp(lambda f, *consts: (quadrature(f, *consts), consts), bwd)

    def integral(w: Any, scale: Any) -> Any:
        f, consts = fdl.closure_convert(lambda t: scale * fnp.sin(w * t), 0.0)
        return quadrature(f, *consts)

    w, s = np.float64(0.8), np.float64(2.0)
    ts = np.array([0.0, 0.5, 1.0])
    expected = np.mean(s * ts * np.cos(w * ts)), np.mean(np.sin(w * ts))
    for wrap in PLAIN:
        close(wrap(fdl.grad(integral, (0, 1)))(w, s), expected)
        close(fdl.grad(wrap(integral), (0, 1))(w, s), expected)
    close(fdl.grad(integral)(w, 2.0), expected[0])


def test_what_closure_convert_hoists() -> None:
    table = fnp.arange(3.0)

    def f(w: Any, n: Any) -> Any:
        g, consts = fdl.closure_convert(lambda x: {"y": x * w * table[n] + fdl.stop_gradient(w)}, 1.0)
        assert len(consts) == 1  # not the table, a constant, nor the integer
        assert g.__name__ == "<lambda>"
        with pytest.raises(
            TreeError, match=r"the arguments are not nested like the examples: arguments: expected a tuple of 1"
        ):
            g(1.0, 2.0, *consts)
        return g(2.0, *consts)["y"]

    assert float(fdl.grad(f)(3.0, 2)) == 4.0
    g, consts = fdl.closure_convert(lambda x: x * table, 1.0)
    assert consts == []
    close(g(2.0), np.float32([0, 2, 4]))
    with pytest.raises(TypeError, match="closure_convert expects a function"):
        fdl.closure_convert(3)
