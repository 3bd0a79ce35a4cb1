"""fdl.testing.check_grads: what it accepts, what it finds, and how it says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl.testing import GradientError, check_grads

RNG = np.random.default_rng(2)
X = RNG.normal(size=(3, 4))


def wrong(factor: float = 1.01, at: int = 1) -> Any:
    """sin(x) y, whose derivative in argument `at` is off by a factor."""
    f = fdl.custom_jvp(lambda x, y: fnp.sin(x) * y)

    @f.defjvp
    def f_jvp(primals: Any, tangents: Any) -> Any:
        x, y = primals
        x_dot, y_dot = (t * factor if i == at else t for i, t in enumerate(tangents))
        return f(x, y), fnp.cos(x) * y * x_dot + fnp.sin(x) * y_dot

    return f


# --- right derivatives ----------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2, 3])
def test_pytrees(order: int) -> None:
    def f(p: Any, q: Any) -> Any:
        return {"y": fnp.tanh(p["w"] @ p["b"]) * q[0], "n": p["n"] + 1, "z": (fnp.sum(p["w"] ** 3), None)}

    check_grads(f, ({"w": X, "b": X[0], "n": 3}, [np.float64(0.5), None]), order)


@pytest.mark.parametrize("dtype", [np.float16, fnp.bfloat16, np.float32, np.float64])
def test_every_float(dtype: Any) -> None:
    x = np.asarray(fnp.asarray(X).astype(dtype))
    check_grads(lambda x: fnp.sin(x) * fnp.exp(-x), (x,), order=1 if np.dtype(dtype).itemsize == 2 else 2)


def test_a_function_that_computes_in_float32_whatever_it_is_given() -> None:
    check_grads(lambda x: fnp.sin(x.astype(np.float32)) * 2.0, (X.astype(np.float32),), order=2)
    check_grads(lambda x: fnp.sin(x.astype(np.float32)) * 2.0, (X,), order=2)


def test_a_function_that_takes_one_dtype_only() -> None:
    def f(x: Any) -> Any:
        if x.dtype != np.float32:
            raise TypeError("float32, please")
        return fnp.sin(x)

    check_grads(f, (X.astype(np.float32),), order=2)


def test_complex() -> None:
    z = X + 1j * X[::-1]
    check_grads(lambda z: z * z * fnp.exp(z), (z,), order=2)
    check_grads(lambda z: fnp.abs(z) + fnp.real(z) * fnp.imag(z), (z,), order=2)
    check_grads(lambda x: x * (1 + 2j) + fnp.conj(x * x * 1j), (X,), order=2)
    check_grads(lambda z: z * fnp.conj(z), (z.astype(np.complex64),))


def test_sizes_of_every_kind() -> None:
    for x in (X * 1e4, X * 1e-4, X[:0], X[0, 0]):
        check_grads(lambda x: x * x, (x,), order=2)
    check_grads(lambda x: fnp.log(x) * 1e3, (np.array([1e-3, 2e-3]),), order=2)
    check_grads(fdl.jit(lambda x: fnp.sin(x)), (X,), order=2)


def test_modes() -> None:
    f = fdl.custom_vjp(fnp.sin)
    f.defvjp(lambda x: (fnp.sin(x), x), lambda x, ct: (ct * fnp.cos(x),))
    check_grads(f, (X,), order=2, modes="rev")
    with pytest.raises(fdl.tracer.errors.MissingRuleError, match="forward-mode"):
        check_grads(f, (X,), modes=("fwd",))
    check_grads(lambda x: fdl.while_loop(lambda c: c < 9.0, lambda c: c * 2, x), (np.float64(1.2),), modes=["fwd"])


# --- wrong ones -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["fwd", "rev"])
@pytest.mark.parametrize("at", [0, 1])
def test_the_argument_at_fault_is_named(mode: str, at: int) -> None:
    f = wrong(at=at)
    with pytest.raises(GradientError) as caught:
        check_grads(lambda p, q: {"out": f(p["x"], q[0])}, ({"x": X}, [X]), modes=mode)
    text = str(caught.value)
    assert text.startswith(
        f"check_grads(<lambda>): {'jvp' if mode == 'fwd' else 'vjp'} is wrong for argument {('p[' + repr('x') + ']', 'q[0]')[at]}: "
    )
    assert "the derivative along [[" in text and "(seed 0)" in text and "(central difference with step 1e-05)" in text
    assert (
        "the worst element: output['out']["
        if mode == "fwd"
        else f"the worst element is {('p[' + repr('x') + ']', 'q[0]')[at]}["
    ) in text


def test_the_worst_element() -> None:
    @fdl.custom_vjp
    def f(x: Any) -> Any:
        return x * 2.0

    f.defvjp(lambda x: (f(x), None), lambda _, ct: (ct * 2.0 + fnp.zeros((3, 4)).at[1, 2].set(5.0) * 1.0,))
    with pytest.raises(
        GradientError,
        match=r"vjp is wrong for argument x:.*the worst element is x\[1, 2\]: expected (\S+), got (\S+); they differ",
    ):
        check_grads(lambda x: f(x), (X,), modes="rev")

    @fdl.custom_jvp
    def g(x: Any) -> Any:
        return x * 2.0

    g.defjvp(lambda p, t: (g(p[0]), (t[0] * 2.0).at[2, 0].multiply(3.0)))
    with pytest.raises(GradientError, match=r"jvp is wrong for argument x:.*the worst element: output\[2, 0\]\)"):
        check_grads(lambda x: g(x), (X,), modes="fwd")


def test_a_wrong_second_derivative() -> None:
    f = fdl.custom_jvp(fnp.sin)
    f.defjvp(lambda p, t: (f(p[0]), wrong(at=0)(p[0] + np.pi / 2, 1.0) * t[0]))  # cos x as sin(x + π/2), wrongly differentiated
    check_grads(lambda x: f(x), (X,), order=1)
    with pytest.raises(GradientError, match=r"jvp of jvp is wrong for argument x"):
        check_grads(lambda x: f(x), (X,), order=2)
    with pytest.raises(GradientError, match=r"vjp of vjp is wrong for argument x"):
        check_grads(lambda x: f(x), (X,), order=2, modes="rev")


def test_small_and_non_finite_faults() -> None:
    check_grads(wrong(1 + 1e-7), (X, X))
    with pytest.raises(AssertionError):
        check_grads(wrong(1 + 1e-4), (X, X))
    check_grads(wrong(1 + 1e-4), (X, X), rtol=1e-3, atol=1e-3)
    with pytest.raises(AssertionError):
        check_grads(wrong(1.05), (X.astype(np.float32), X.astype(np.float32)))
    with pytest.raises(GradientError, match="got nan"):
        check_grads(wrong(np.nan), (X, X))


def test_complex_conventions_are_held() -> None:
    @fdl.custom_vjp
    def conjugated(z: Any) -> Any:
        return z * z

    conjugated.defvjp(lambda z: (z * z, z), lambda z, ct: (fnp.conj(2 * z * ct),))
    z = X + 1j * X[::-1]
    with pytest.raises(
        GradientError, match=r"vjp is wrong for argument z:.*the worst element is z\[\d, \d\]: expected .*j, got .*j"
    ):
        check_grads(lambda z: conjugated(z), (z,), modes="rev")


def test_directions_come_from_the_seed() -> None:
    def text(seed: int) -> str:
        with pytest.raises(GradientError) as caught:
            check_grads(wrong(), (X, X), seed=seed)
        return str(caught.value)

    assert text(1) == text(1) != text(2)
    assert "(seed 2)" in text(2)


# --- arguments ------------------------------------------------------------------------------------


def test_errors() -> None:
    with pytest.raises(ValueError, match="modes: expected 'fwd', 'rev' or both, got 'both'"):
        check_grads(fnp.sin, (X,), 1, "both")
    with pytest.raises(ValueError, match="order: expected an int from 1, got 0"):
        check_grads(fnp.sin, (X,), 0)
    with pytest.raises(TypeError, match=r"args must be a tuple of arguments, got ndarray. Write \(x,\)"):
        check_grads(fnp.sin, X)
    with pytest.raises(ValueError, match="no argument is floating-point"):
        check_grads(fnp.sin, (3,))
    with pytest.raises(ValueError, match="no output is floating-point"):
        check_grads(fnp.argmax, (X,))
    with pytest.raises(fdl.tracer.errors.DTypeError, match=r"check_grads\(f\): argument p\['s'\]"):

        def f(p: Any) -> Any:
            return p["x"]

        check_grads(f, ({"x": X, "s": "text"},))


def test_a_python_number_adapts_to_the_arrays() -> None:
    """As in a call of the function, where 0.3 takes the dtype of the float64 array that it meets."""
    f = lambda w, xs: fdl.scan(lambda c, v: (fnp.tanh(c * w + v), c), w, xs)  # noqa: E731
    check_grads(f, (0.3, np.array([0.1, -0.4])), order=2)
    check_grads(f, (0.3, np.array([0.1, -0.4], np.float32)), order=1)


def test_what_is_not_finite_says_so() -> None:
    with pytest.raises(GradientError, match=r"jvp is not finite, or the function is not, for argument x: .* Check at a point around which"):
        check_grads(lambda x: fnp.sqrt(x), (np.array([-1.0, 1.0]),))


def test_more_wrong_arguments() -> None:
    x = (np.ones(2),)
    with pytest.raises(TypeError, match="check_grads expects a function, got 3 of type int"):
        check_grads(3, x)  # type: ignore[arg-type]
    for order in (1.5, True, "2"):
        with pytest.raises(ValueError, match="check_grads: order: expected an int from 1, got"):
            check_grads(lambda x: x, x, order=order)  # type: ignore[arg-type]
