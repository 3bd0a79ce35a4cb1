"""jacfwd, jacrev, hessian, hvp, linear_transpose; grad, vjp, jvp and linearize with their options; and the errors of all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl.tracer import tree
from fdl.tracer.errors import DTypeError, MissingRuleError, ShapeError

RNG = np.random.default_rng(7)
X, A = RNG.normal(size=4), RNG.normal(size=(3, 4))
BOTH = pytest.mark.parametrize("jacobian", [fdl.jacfwd, fdl.jacrev])


def close(a: Any, b: Any, rtol: float = 1e-9, atol: float = 1e-11) -> None:
    (la, sa), (lb, sb) = tree.flatten(a), tree.flatten(b)
    assert sa == sb, (sa, sb)
    for x, y in zip(la, lb, strict=True):
        assert np.shape(x) == np.shape(y), (np.shape(x), np.shape(y))
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=rtol, atol=atol)


def differences(f: Callable[[np.ndarray], Any], x: np.ndarray, h: float = 1e-6) -> np.ndarray:
    """The Jacobian of an array function of an array, by central differences."""
    columns = []
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = h
        columns.append((np.asarray(f(x + step)) - np.asarray(f(x - step))) / (2 * h))
    return np.moveaxis(np.array(columns), 0, -1).reshape(*columns[0].shape, *x.shape)


def curve(x: Any) -> Any:
    return fnp.sin(A @ x) * fnp.exp(-x[:3]) + x[0] * x[3]


# --- Jacobians ------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("wrap", [lambda f: f, fdl.jit])
def test_jacobian_against_differences(jacobian: Any, wrap: Any) -> None:
    expected = differences(curve, X)
    close(wrap(jacobian(curve))(X), expected, rtol=1e-7, atol=1e-8)
    close(jacobian(wrap(curve))(X), expected, rtol=1e-7, atol=1e-8)


@BOTH
def test_shapes_of_every_rank(jacobian: Any) -> None:
    for x in (np.float64(0.5), RNG.normal(size=2), RNG.normal(size=(2, 3)), RNG.normal(size=(2, 1, 2))):

        def f(x: Any) -> Any:
            return fnp.stack([fnp.tanh(x), x * x * fnp.sum(x)])

        found = jacobian(f)(x)
        assert found.shape == (2, *np.shape(x), *np.shape(x))
        close(found, differences(f, np.asarray(x)), rtol=1e-7, atol=1e-8)
    close(jacobian(lambda x: x[:0])(X), np.zeros((0, 4)))
    close(jacobian(lambda x: fnp.sum(x) + fnp.ones(2))(np.zeros((0, 3))), np.zeros((2, 0, 3)))


@BOTH
def test_pytrees_in_and_out(jacobian: Any) -> None:
    def f(p: Any, y: Any) -> Any:
        return {"a": (p["w"] @ p["b"] * y, fnp.sum(p["b"])), "c": fnp.sin(y)}

    p, y = {"w": A, "b": X}, RNG.normal(size=3)
    found = jacobian(f)(p, y)
    assert found["a"][0]["w"].shape == (3, 3, 4) and found["a"][1]["b"].shape == (4,)
    close(found["a"][0]["w"], np.einsum("ij,i,k->ijk", np.eye(3), y, X))
    close(found["a"][1], {"w": np.zeros((3, 4)), "b": np.ones(4)})
    close(found["c"], {"w": np.zeros((3, 3, 4)), "b": np.zeros((3, 4))})
    by_both = jacobian(f, argnums=(1, 0))(p, y)
    assert isinstance(by_both["c"], tuple)
    close(by_both["c"][0], np.diag(np.cos(y)))
    close(by_both["a"][0][1], found["a"][0])
    close(jacobian(f, argnums=-1)(p, y)["c"], np.diag(np.cos(y)))


@BOTH
def test_aux_and_keywords(jacobian: Any) -> None:
    def f(x: Any, *, scale: float) -> Any:
        return x * scale, {"sum": fnp.sum(x), "tag": "kept"}

    found, aux = jacobian(f, has_aux=True)(X, scale=3.0)
    close(found, 3 * np.eye(4))
    assert aux["tag"] == "kept"
    close(aux["sum"], np.float64(X.sum()))


@BOTH
def test_dtypes_of_a_jacobian(jacobian: Any) -> None:
    x = np.ones(2, np.float32)
    assert jacobian(lambda x: x * 2.0)(x).dtype == np.float32
    assert jacobian(lambda x: x * 2.0)(1.0).dtype == np.float32


def test_dtype_where_output_and_argument_differ() -> None:
    """As in JAX: forward mode gives tangents of outputs, reverse mode cotangents of arguments."""
    x = np.ones(2, np.float32)
    assert fdl.jacfwd(lambda x: x.astype(np.float64) * 2.0)(x).dtype == np.float64
    assert fdl.jacrev(lambda x: x.astype(np.float64) * 2.0)(x).dtype == np.float32


@BOTH
def test_holomorphic(jacobian: Any) -> None:
    z = RNG.normal(size=3) + 1j * RNG.normal(size=3)
    close(jacobian(lambda z: z * z * fnp.exp(z), holomorphic=True)(z), np.diag((2 * z + z * z) * np.exp(z)))
    with pytest.raises(DTypeError, match=r"argument x has dtype float64, expected a complex one, since holomorphic=True"):
        jacobian(lambda x: x, holomorphic=True)(X)
    with pytest.raises(DTypeError, match="holomorphic"):
        jacobian(lambda z: z * 2)(z)


def test_a_jacobian_is_vmapped_and_nested() -> None:
    xs = RNG.normal(size=(5, 4))
    close(fdl.vmap(fdl.jacrev(curve))(xs), np.stack([differences(curve, x) for x in xs]), rtol=1e-6, atol=1e-8)
    close(fdl.vmap(fdl.jacfwd(curve), in_axes=1)(xs.T), fdl.vmap(fdl.jacrev(curve))(xs))
    close(fdl.jacfwd(fdl.vmap(fnp.sin))(X), np.diag(np.cos(X)))
    second = [outer(inner(curve))(X) for outer in (fdl.jacfwd, fdl.jacrev) for inner in (fdl.jacfwd, fdl.jacrev)]
    for found in second:
        assert found.shape == (3, 4, 4)
        close(found, second[0])
    close(second[0], differences(lambda x: fdl.jacrev(curve)(x), X), rtol=1e-6, atol=1e-8)


def test_jacobian_is_jacrev() -> None:
    assert fdl.jacobian is fdl.jacrev


def test_the_function_runs_once() -> None:
    runs = []

    def f(x: Any) -> Any:
        runs.append(0)
        return fnp.sin(x)

    for jacobian in (fdl.jacfwd, fdl.jacrev):
        runs.clear()
        jacobian(f)(X)
        assert len(runs) == 1


def test_python_control_flow_on_values() -> None:
    def f(x: Any) -> Any:
        return x * 2 if float(x[0]) > 0 else x * 3

    for sign in (1, -1):
        x = np.array([sign, 2.0])
        for jacobian in (fdl.jacfwd, fdl.jacrev):
            close(jacobian(f)(x), np.eye(2) * (2 if sign > 0 else 3))


# --- Hessians -------------------------------------------------------------------------------------


def energy(x: Any) -> Any:
    return fnp.sum(fnp.sin(x) * x[::-1] ** 2) + fnp.prod(x)


def test_hessian() -> None:
    expected = differences(lambda x: np.asarray(fdl.grad(energy)(x)), X)
    for f in (fdl.hessian(energy), fdl.jit(fdl.hessian(energy)), fdl.hessian(fdl.jit(energy))):
        close(f(X), expected, rtol=1e-6, atol=1e-8)
    found, aux = fdl.hessian(lambda x: (energy(x), x * 2), has_aux=True)(X)
    close(found, fdl.hessian(energy)(X))
    close(aux, X * 2)


def test_hessian_of_pytrees() -> None:
    def f(p: Any, c: Any) -> Any:
        return fnp.sum(p["a"] ** 2) * p["b"] * c

    p = {"a": X, "b": np.float64(3.0)}
    found = fdl.hessian(f)(p, 2.0)
    close(found["a"]["a"], 2 * 3.0 * 2 * np.eye(4))
    close(found["a"]["b"], 2 * 2 * X)
    close(found["b"], {"a": 4 * X, "b": np.float64(0.0)})
    both = fdl.hessian(f, argnums=(0, 1))(p, np.float64(2.0))
    close(both[1][0]["b"], np.float64(np.sum(X**2)))


def test_hvp() -> None:
    v = RNG.normal(size=4)
    close(fdl.hvp(energy, (X,), (v,)), np.asarray(fdl.hessian(energy)(X)) @ v)
    close(fdl.jit(lambda x, v: fdl.hvp(energy, (x,), (v,)))(X, v), fdl.hvp(energy, (X,), (v,)))

    def f(x: Any, y: Any) -> Any:
        return fnp.sum(x**2 * y), "aux"

    y, u = RNG.normal(size=4), RNG.normal(size=4)
    (by_x, by_y), aux = fdl.hvp(f, (X, y), (v, u), argnums=(0, 1), has_aux=True)
    close(by_x, 2 * y * v + 2 * X * u)
    close(by_y, 2 * X * v)
    assert aux == "aux"
    close(fdl.hvp(f, (X, y), (v, u), has_aux=True)[0], by_x)


# --- grad and its options -------------------------------------------------------------------------


def test_argnums_in_every_form() -> None:
    def f(a: Any, b: Any, c: Any) -> Any:
        return a * b**2 * c["x"] ** 3

    args = (2.0, 3.0, {"x": 4.0})
    close(fdl.grad(f, (2, 0))(*args), ({"x": np.float32(2 * 9 * 48)}, np.float32(9 * 64)))
    close(fdl.grad(f, [1])(*args), (np.float32(2 * 6 * 64),))
    close(fdl.grad(f, -2)(*args), np.float32(2 * 6 * 64))
    value, gradient = fdl.value_and_grad(f, (0, 1))(*args)
    close((value, gradient), (np.float32(2 * 9 * 64), (np.float32(9 * 64), np.float32(2 * 6 * 64))))


def test_allow_int() -> None:
    def f(p: Any) -> Any:
        return p["x"] ** 2 * p["n"]

    p = {"x": 3.0, "n": np.int32(2)}
    with pytest.raises(DTypeError, match=r"grad\(f\): argument p\['n'\] has dtype int32, expected a floating-point one"):
        fdl.grad(f)(p)
    found = fdl.grad(f, allow_int=True)(p)
    assert float(found["x"]) == 12.0 and found["n"].dtype == np.int32 and int(found["n"]) == 0
    assert fdl.jacrev(lambda n: n * 2.0, allow_int=True)(np.arange(3)).tolist() == [[0] * 3] * 3


def test_grad_of_complex() -> None:
    z = np.complex128(1.5 - 0.5j)
    close(fdl.grad(lambda z: fnp.real(z) ** 2 + 3 * fnp.imag(z))(z), np.complex128(3.0 - 3j))  # ∂f/∂x − i ∂f/∂y
    close(fdl.grad(lambda z: z**3, holomorphic=True)(z), 3 * z**2)
    value, slope = fdl.value_and_grad(lambda z: fnp.exp(z), holomorphic=True)(z)
    close((value, slope), (np.exp(z), np.exp(z)))
    with pytest.raises(
        DTypeError, match=r"returns dtype complex128, expected a real floating-point scalar\. For a holomorphic"
    ):
        fdl.grad(lambda z: z * z)(z)
    with pytest.raises(DTypeError, match="expected a complex scalar, since holomorphic=True"):
        fdl.grad(fnp.abs, holomorphic=True)(z)


def test_aux_of_vjp_jvp_and_linearize() -> None:
    def f(x: Any) -> Any:
        return fnp.sin(x), {"twice": 2 * x, "note": "n"}

    y, pull, aux = fdl.vjp(f, X, has_aux=True)
    close((y, pull(np.ones(4))[0], aux["twice"]), (np.sin(X), np.cos(X), 2 * X))
    y, y_dot, aux = fdl.jvp(f, (X,), (np.ones(4),), has_aux=True)
    close((y, y_dot, aux["twice"]), (np.sin(X), np.cos(X), 2 * X))
    y, push, aux = fdl.linearize(f, X, has_aux=True)
    close((y, push(np.ones(4)), aux["twice"]), (np.sin(X), np.cos(X), 2 * X))
    assert aux["note"] == "n"
    outer = fdl.grad(lambda x: fdl.vjp(f, x, has_aux=True)[2]["twice"].sum())(X)
    close(outer, np.full(4, 2.0))


# --- linear transposition -------------------------------------------------------------------------


def test_linear_transpose() -> None:
    def f(x: Any, p: Any) -> Any:
        return {"y": A @ x + 2.0 * p["b"][::-1], "s": fnp.sum(p["b"])}

    transposed = fdl.linear_transpose(f, X, {"b": np.zeros(3)})
    ct = {"y": RNG.normal(size=3), "s": np.float64(2.0)}
    x_bar, p_bar = transposed(ct)
    close(x_bar, A.T @ ct["y"])
    close(p_bar, {"b": 2 * ct["y"][::-1] + 2.0})
    types = fdl.eval_shape(lambda x: x, X)
    close(fdl.linear_transpose(lambda x: A @ x, types)(ct["y"])[0], A.T @ ct["y"])
    close(fdl.jit(lambda a, y: fdl.linear_transpose(lambda x: a @ x, X)(y)[0])(A, ct["y"]), A.T @ ct["y"])
    close(fdl.grad(lambda a: fdl.linear_transpose(lambda x: a @ x, X)(ct["y"])[0].sum())(A), np.outer(ct["y"], np.ones(4)))


def test_linear_transpose_of_loops() -> None:
    def f(x: Any) -> Any:
        return fdl.scan(lambda c, v: (2.0 * c + v, c), 0.0 * x[0], x)[0]

    close(fdl.linear_transpose(f, X)(np.float64(1.0))[0], 2.0 ** np.arange(3, -1, -1))


def test_linear_transpose_of_loops_with_known_carries() -> None:
    steps = RNG.normal(size=(6, 4, 4)) * 0.5

    def counted(x: Any) -> Any:
        return fdl.fori_loop(0, 3, lambda i, x: fnp.asarray(steps)[i] @ x + x, x)

    def nested(x: Any) -> Any:
        return fdl.fori_loop(0, 3, lambda i, x: fdl.fori_loop(0, 2, lambda j, x: fnp.asarray(steps)[i + j] @ x, x), x)

    def decaying(x: Any) -> Any:
        @fdl.jit
        def step(c: Any, a: Any) -> Any:
            g, x, n, total = c
            return (0.9 * g + a[0, 0], fnp.cos(g) * (a @ x), n + 1, total + x[n % 4]), (g * x, n)

        (_, x, _, total), (ys, _) = fdl.scan(step, (np.float64(1.0), x, 0, np.float64(0.0)), steps, reverse=True)
        return x, total, ys

    def called(x: Any) -> Any:
        step = fdl.jit(lambda n, x: (n + 1, fnp.asarray(steps)[n] @ x))
        n, y = step(0, x)
        return fnp.cos(n * 1.0) * step(n, y)[1]

    def timed(x: Any) -> Any:  # the known carry is used after the loop, and inside another one
        t, y = fdl.fori_loop(0, 3, lambda i, c: (c[0] + 0.1, c[1] * c[0]), (0.5, x))
        inner = lambda c, a: fdl.fori_loop(0, 2, lambda j, s: (s[0] + 1, a @ s[1]), c)  # noqa: E731
        (n, z), _ = fdl.scan(lambda c, a: (inner((c[0], c[1] * fnp.cos(c[0] * 1.0)), a), None), (0, y), steps)
        return fnp.cos(t) * z + y * n

    for f in (counted, nested, decaying, called, timed):
        jacobian = fdl.jacfwd(f)(X)
        y = f(X)
        ct = tree.map(lambda v: RNG.normal(size=v.shape), y)
        expected = sum(np.tensordot(c, j, c.ndim) for c, j in zip(tree.leaves(ct), tree.leaves(jacobian), strict=True))
        close(fdl.linear_transpose(f, X)(ct)[0], expected)
        close(fdl.jit(fdl.linear_transpose(f, X))(ct)[0], expected)
    rows = RNG.normal(size=(3, 4))
    close(fdl.vmap(fdl.linear_transpose(counted, X))(rows)[0], rows @ fdl.jacfwd(counted)(X))

    def transposed(k: Any) -> Any:
        return fdl.linear_transpose(lambda x: fdl.fori_loop(0, 3, lambda i, c: (c[0] * k, c[1] * c[0]), (k, x))[1], X)(X)[0].sum()

    close(fdl.grad(transposed)(np.float64(1.5)), np.float64(6 * 1.5**5 * X.sum()))


def test_errors_of_linear_transpose() -> None:
    with pytest.raises(
        MissingRuleError, match=r"linear_transpose\(sin\): the function is not linear.*\n.*'sin' has no transpose"
    ):
        fdl.linear_transpose(fnp.sin, X)(X)
    with pytest.raises(MissingRuleError, match=r"'mul' is not linear in its operands together"):
        fdl.linear_transpose(lambda x: x * x, X)(X)
    with pytest.raises(MissingRuleError, match=r"'mul' is not linear in its operands together"):
        fdl.linear_transpose(lambda x: fdl.fori_loop(0, 3, lambda i, c: i * c * c, x), X)(X)
    with pytest.raises(DTypeError, match=r"argument p\['n'\] has dtype int32, expected a floating-point one"):
        fdl.linear_transpose(lambda p: p["n"], {"n": np.int32(1)})
    with pytest.raises(ShapeError, match=r"linear_transpose\(f\): the cotangent\['y'\] has shape \(2,\), expected \(4,\)"):

        def f(x: Any) -> Any:
            return {"y": x}

        fdl.linear_transpose(f, X)({"y": np.ones(2)})


# --- errors ---------------------------------------------------------------------------------------

BAD: list[tuple[str, Callable[[], Any], type, str]] = [
    ("not callable", lambda: fdl.grad(3), TypeError, "grad expects a function, got 3 of type int"),
    ("jacfwd not callable", lambda: fdl.jacfwd(None), TypeError, "jacfwd expects a function, got None"),
    ("argnums", lambda: fdl.grad(fnp.sum, "x"), TypeError, r"grad: argnums: expected an int or a sequence of ints, got 'x'"),
    ("bool argnums", lambda: fdl.jacrev(fnp.sin, True), TypeError, "jacrev: argnums: expected an int"),
    ("too large", lambda: fdl.grad(lambda x: x, 2)(1.0), ValueError, r"argnums=2, but the call has 1 positional arguments"),
    (
        "by keyword",
        lambda: fdl.grad(lambda x, y: x * y, 1)(1.0, y=2.0),
        ValueError,
        r"argnums=1, but 'y' was passed by keyword",
    ),
    (
        "twice",
        lambda: fdl.grad(lambda x, y: x * y, (0, -2))(1.0, 2.0),
        ValueError,
        r"argnums=\(0, -2\) names an argument twice",
    ),
    (
        "integer",
        lambda: fdl.jacfwd(lambda p: p["n"] * 1.0)({"n": [np.int32(2)]}),
        DTypeError,
        r"jacfwd.*argument p\['n'\]\[0\] has dtype int32",
    ),
    ("no array", lambda: fdl.value_and_grad(lambda p: p)({"s": "text"}), DTypeError, r"value_and_grad.*argument p\['s'\]"),
    (
        "integer output",
        lambda: fdl.jacrev(lambda x: {"k": fnp.argmax(x)})(X),
        DTypeError,
        r"jacrev.*the output\['k'\] has dtype int32",
    ),
    ("jacfwd output", lambda: fdl.jacfwd(lambda x: fnp.argmax(x))(X), DTypeError, r"jacfwd.*the output has dtype int32"),
    (
        "not a scalar",
        lambda: fdl.grad(fnp.sin)(X),
        ShapeError,
        r"grad\(sin\): the function must return one scalar, got an array of shape \(4,\)",
    ),
    ("transform's name", lambda: fdl.value_and_grad(fnp.sin)(X), ShapeError, r"^value_and_grad\(sin\)"),
    (
        "tangents",
        lambda: fdl.jvp(fnp.sin, (X,), (X, X)),
        ShapeError,
        r"jvp\(sin\): the tangents are not nested like the primals: tangents: expected a tuple of 1, got a tuple of 2",
    ),
    ("a bare tangent", lambda: fdl.jvp(fnp.sin, X, X), TypeError, "primals and tangents must be tuples"),
    (
        "tangent's shape",
        lambda: fdl.jvp(fnp.sin, (X,), (X[:2],)),
        ShapeError,
        r"the tangent of x has shape \(2,\), expected \(4,\)",
    ),
    (
        "tangent's dtype",
        lambda: fdl.jvp(fnp.sin, (X,), (X.astype(np.float32),)),
        DTypeError,
        r"the tangent of x has dtype float32, expected float64",
    ),
    (
        "cotangent",
        lambda: fdl.vjp(lambda x: {"y": x}, X)[1]({"z": X}),
        ShapeError,
        r"cotangent: expected a dict with keys \['y'\], got a dict with keys \['z'\]",
    ),
    (
        "cotangent's shape",
        lambda: fdl.vjp(fnp.sin, X)[1](X[:1]),
        ShapeError,
        r"vjp\(sin\): the cotangent has shape \(1,\), expected \(4,\)",
    ),
    ("no pair", lambda: fdl.jacfwd(fnp.sin, has_aux=True)(X), TypeError, r"with has_aux=True it must return a pair \(output, aux\)"),
]


@pytest.mark.parametrize(("act", "error", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_errors(act: Callable[[], Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        act()
    if "has_aux" not in message:
        assert __file__ in str(caught.value), "the user's line is named"


# --- derivatives at a point are pytrees -----------------------------------------------------------

ROWS = RNG.normal(size=(5, 4))


def curved(x: Any, n: Any = 2) -> Any:
    return {"y": fnp.sin(x) * x[0], "n": n * 3}


def test_pullbacks_leave_jit_and_enter_it() -> None:
    expected = fdl.jacfwd(lambda x: curved(x)["y"])(X)
    ct = {"y": ROWS[0], "n": np.int32(0)}
    for wrap in (lambda f: f, fdl.jit):
        y, pullback = wrap(lambda x: fdl.vjp(curved, x, 2))(X)
        close(y, curved(X))
        for call in (pullback, lambda c, p=pullback: fdl.jit(lambda p, c: p(c))(p, c)):
            x_bar, n_bar = call(ct)
            close(x_bar, ROWS[0] @ expected)
            assert n_bar.dtype == np.int32 and n_bar == 0
        y, push = wrap(lambda x: fdl.linearize(curved, x))(X)
        for call in (push, lambda t, p=push: fdl.jit(lambda p, t: p(t))(p, t)):
            close(call(ROWS[0]), {"y": expected @ ROWS[0], "n": np.int32(0)})
    one, other = (fdl.vjp(curved, x, 2)[1] for x in (X, 2 * X))
    assert tree.structure(one) == tree.structure(other) and repr(one) == "<pullback of vjp(curved)>"
    traced: list[int] = []

    @fdl.jit
    def call(p: Any, c: Any) -> Any:
        traced.append(1)
        return p(c)[0]

    for x in ROWS:  # x[0], which is a residual without a dimension, is no part of the structure
        pullback = fdl.vjp(lambda x: fnp.sin(x) * x[0], x)[1]
        close(call(pullback, X), pullback(X)[0])
    assert len(traced) == 1
    with pytest.raises(ShapeError, match=r"vjp\(<lambda>\): the cotangent is not nested like the output"):
        pullback([X])
    with pytest.raises(ShapeError, match=r"linearize\(curved\): the tangent of x has shape \(3,\), expected \(4,\)"):
        push(X[:3])


def test_pullbacks_are_mapped_and_stacked() -> None:
    f = lambda x: fnp.sin(x) * x[0]  # noqa: E731
    pullbacks = fdl.vmap(lambda x: fdl.vjp(f, x)[1])(ROWS)
    expected = np.stack([r @ fdl.jacfwd(f)(x) for x, r in zip(ROWS, ROWS[::-1], strict=True)])
    close(fdl.vmap(lambda p, c: p(c)[0])(pullbacks, ROWS[::-1]), expected)

    # Reverse mode through a loop by hand: a scan stacks the pullbacks of its steps, another one goes back over them.
    def step(c: Any, x: Any) -> Any:
        return fdl.vjp(lambda c: fnp.sin(c) * x + c[0], c)

    def by_hand(x: Any) -> Any:
        y, pullbacks = fdl.scan(step, x, ROWS)
        return fdl.scan(lambda ct, p: (p(ct)[0], None), fnp.ones_like(y), pullbacks, reverse=True)[0]

    found = fdl.grad(lambda x: fdl.scan(lambda c, r: (fnp.sin(c) * r + c[0], None), x, ROWS)[0].sum())
    for wrap in (lambda f: f, fdl.jit):
        close(wrap(by_hand)(X), found(X))
        close(fdl.jacrev(wrap(by_hand))(X), fdl.hessian(lambda x: fdl.scan(step, x, ROWS)[0].sum())(X))
    close(fdl.vmap(by_hand)(ROWS), np.stack([found(r) for r in ROWS]))
    double, triple = (fdl.vjp(lambda x, k=k: k * fnp.sin(x), X)[1] for k in (2.0, 3.0))
    for taken, k in ((True, 2.0), (False, 3.0)):
        close(fdl.cond(taken, lambda: double, lambda: triple)(ROWS[0])[0], k * np.cos(X) * ROWS[0])


def test_argnums_are_ints_of_any_kind() -> None:
    f = lambda a, b: (a * b).sum()  # noqa: E731
    for argnums in (range(2), (np.int64(0), 1), np.arange(2)):
        ga, gb = fdl.grad(f, argnums=argnums)(X, 2 * X)
        close((ga, gb), (2 * X, X))
    close(fdl.grad(f, argnums=np.int32(1))(X, 2 * X), X)
    for argnums in (True, "a", (0, 1.0), None):
        with pytest.raises(TypeError, match="grad: argnums: expected an int or a sequence of ints, got"):
            fdl.grad(f, argnums=argnums)


def test_forward_mode_has_complex_outputs_of_real_arguments() -> None:
    """The derivative along a real direction is a complex number; reverse mode has two, and says so."""
    f = lambda x: {"z": fnp.exp(1j * x), "x": x * x}  # noqa: E731
    for g in (fdl.jacfwd(f), fdl.jit(fdl.jacfwd(f))):
        close(g(X), {"z": np.diag(1j * np.exp(1j * X)), "x": np.diag(2 * X)})
    close(fdl.jacfwd(fdl.jacfwd(lambda x: fnp.exp(1j * x)))(0.5), -np.exp(0.5j).astype("complex64"), rtol=1e-5)
    with pytest.raises(DTypeError, match=r"jacrev\(<lambda>\): the output\['z'\] has dtype complex128"):
        fdl.jacrev(f)(X)
