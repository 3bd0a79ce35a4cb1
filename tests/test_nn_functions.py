"""The functions of `fdl.nn` against JAX's figures, their derivatives (at their kinks too), and what they refuse."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl import nn
from fdl.testing import check_grads
from fdl.tracer import tree
from fdl.tracer.errors import ShapeError
from tests.nn_cases import CASES, ELEMENTWISE, Case

FIGURES = np.load(Path(__file__).parent / "data" / "jax_nn.npz")
FUNCTIONS = sorted({c.name.split(":")[0] for c in CASES})


def of(function: str) -> list[Case]:
    return [c for c in CASES if c.name.split(":")[0] == function]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_is_what_jax_gives(function: str) -> None:
    for c in of(function):
        leaves = tree.leaves(c.f(nn, *c.arrays()))
        assert f"{c.name}|{len(leaves)}" not in FIGURES, f"{c.name}: too few results"
        for i, leaf in enumerate(leaves):
            assert isinstance(leaf, fdl.Array), c.name
            wanted, given = FIGURES[f"{c.name}|{i}"], np.asarray(leaf)
            assert (given.dtype, given.shape) == (wanted.dtype, wanted.shape), c.name
            np.testing.assert_allclose(given, wanted, rtol=c.rtol, atol=c.rtol, err_msg=c.name)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_derivatives(function: str) -> None:
    for c in of(function):
        if c.grad:

            def f(*xs: Any, c: Case = c) -> Any:
                return c.f(nn, *xs)

            check_grads(f, tuple(c.arrays()), order=1 if function == "dot_product_attention" else 2)


def test_compiled_and_mapped_are_the_same() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4)) * 2
    functions = [getattr(nn, n) for n in (*ELEMENTWISE, "softmax", "log_softmax", "glu", "standardize", "logmeanexp")]

    def f(x: Any) -> list[Any]:
        return [g(x) for g in functions]

    mapped = fdl.jit(fdl.vmap(f, in_axes=1, out_axes=-1))(np.stack([x, -x], 1))
    for g, one, other, two, lanes in zip(functions, f(x), f(-x), fdl.jit(f)(x), mapped, strict=True):
        np.testing.assert_allclose(np.asarray(two), np.asarray(one), rtol=1e-12, err_msg=g.__name__)
        np.testing.assert_allclose(np.asarray(lanes), np.stack([one, other], -1), rtol=1e-12, atol=1e-14, err_msg=g.__name__)


# Point, first and second derivative. All but two are JAX's: its second derivatives of celu and soft_sign at 0, 0.25 and -2, are those of
# the formulas that it has, of which neither side has them.
KINKS: list[tuple[str, float, float, float]] = [
    ("relu", 0, 0, 0), ("relu", -0.0, 0, 0), ("relu6", 0, 0, 0), ("relu6", 6, 0, 0), ("leaky_relu", 0, 1, 0), ("elu", 0, 1, 1),
    ("celu", 0, 1, 1), ("selu", 0, 1.7580993408473766, 1.7580993408473766), ("hard_tanh", -1, 1, 0), ("hard_tanh", 1, 1, 0),
    ("hard_sigmoid", -3, 0, 0), ("hard_sigmoid", 3, 0, 0), ("hard_silu", -3, 0, 0), ("hard_silu", 3, 1, 0), ("hard_silu", 0, 0.5, 1 / 3),
    ("soft_sign", 0, 1, 0), ("sparse_plus", -1, 0, 0), ("sparse_plus", 1, 1, 0), ("sparse_sigmoid", -1, 0.25, 0),
    ("sparse_sigmoid", 1, 0.25, 0), ("squareplus", 0, 0.5, 0.25), ("softplus", 0, 0.5, 0.25), ("mish", 0, 0.6, 0.64), ("silu", 0, 0.5, 0.5),
    ("gelu", 0, 0.5, 0.7978845608028654), ("log_sigmoid", 0, 0.5, -0.25), ("log1mexp", 0, np.inf, -np.inf),
]  # fmt: skip


@pytest.mark.parametrize(("name", "point", "first", "second"), KINKS)
def test_convention(name: str, point: float, first: float, second: float) -> None:
    f = getattr(nn, name)
    x = np.float64(point)
    assert float(fdl.grad(f)(x)) == pytest.approx(first, rel=1e-12)
    assert float(fdl.grad(fdl.grad(f))(x)) == pytest.approx(second, rel=1e-12, abs=1e-15)
    assert float(fdl.jacfwd(fdl.jacfwd(f))(x)) == pytest.approx(second, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_derivatives_far_out_are_finite(name: str) -> None:
    slopes = np.asarray(fdl.vmap(fdl.grad(getattr(nn, name)))(np.array([-1e4, -90.0, 90.0, 1e4], np.float32)))
    assert np.isfinite(slopes).all()


def test_integers_become_floats() -> None:
    for name in ELEMENTWISE:
        kept = name in ("relu", "hard_tanh", "identity")
        assert getattr(nn, name)(fnp.arange(3)).dtype == (fnp.int32 if kept else fnp.float32), name


def test_aliases() -> None:
    assert nn.swish is nn.silu and nn.hard_swish is nn.hard_silu


def test_squareplus_keeps_its_digits_on_the_left() -> None:
    x = np.float64(-1e6)
    assert float(nn.squareplus(x.astype(np.float32))) == pytest.approx(1e-6, rel=1e-5)
    assert float(nn.squareplus(np.float64(0), 0)) == 0
    assert float(fdl.grad(lambda x: nn.squareplus(x, 0))(np.float64(-1))) == 0


def test_maxout() -> None:
    x = np.random.default_rng(0).normal(size=(2, 6, 3))
    np.testing.assert_array_equal(np.asarray(nn.maxout(x, 3, axis=1)), x.reshape(2, 2, 3, 3).max(2))
    check_grads(lambda x: nn.maxout(x, 2, 1), (x,), order=2)


def test_attention_in_double_precision() -> None:
    rng = np.random.default_rng(0)
    q, k, v = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 6, 2, 5)), rng.normal(size=(2, 6, 2, 7))
    scores = np.einsum("bthd,bshd->bhts", q, np.repeat(k, 2, 2)) / np.sqrt(5)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    wanted = np.einsum("bhts,bshd->bthd", weights, np.repeat(v, 2, 2))
    np.testing.assert_allclose(np.asarray(nn.dot_product_attention(q, k, v)), wanted, rtol=1e-12)
    np.testing.assert_allclose(np.asarray(fdl.jit(nn.dot_product_attention)(q, k, v)), wanted, rtol=1e-12)


def test_attention_has_no_nan_where_nothing_is_seen() -> None:
    q = np.ones((1, 2, 1, 3), np.float32)

    def loss(q: Any, k: Any, v: Any) -> Any:
        return fnp.sum(nn.dot_product_attention(q, k, v, mask=np.zeros((1, 1, 2, 2), bool)))

    for g in fdl.grad(loss, argnums=(0, 1, 2))(q, q, q):
        assert np.isfinite(np.asarray(g)).all()


WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: nn.glu(np.ones(3)), ShapeError, "glu: axis 0 of an array of shape (3,) has an odd size; expected two halves."),
    (lambda: nn.maxout(np.ones(3), 2), ShapeError, "maxout: num_pieces=2 does not divide the size 3 of axis 0"),
    (lambda: nn.standardize(np.ones(3), algorithm="quick"), ValueError, "standardize: algorithm='quick': expected 'stable' or 'fast'."),
    (lambda: nn.one_hot(np.ones(3, int), 3, axis=2), ShapeError, "one_hot: axis 2 is out of range for an array with 2 axes"),
    (lambda: nn.dot_product_attention(*[np.ones((2, 3, 4))] * 2, np.ones((2, 3, 3, 4))), ShapeError,
     "dot_product_attention: query (1, 2, 3, 4), key (1, 2, 3, 4), value (2, 3, 3, 4): expected"),
    (lambda: nn.dot_product_attention(*[np.ones((1, 3, 3, 4))] * 3, np.ones((2, 2, 3, 3))), ShapeError,
     "dot_product_attention: bias has shape (2, 2, 3, 3), which does not broadcast to (1, 3, 3, 3)."),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_wrong_call(number: int) -> None:
    call, error, text = WRONG[number]
    with pytest.raises(error, match=re.escape(text)) as caught:
        call()
    assert f"{__file__}:" in str(caught.value)


def test_hard_sigmoid_of_small_integers_does_not_wrap() -> None:
    assert fdl.nn.hard_sigmoid(np.array([127, -128], np.int8)).tolist() == [1.0, 0.0]


def test_unsigned_integers_do_not_wrap() -> None:
    """`hard_tanh` of them raised OverflowError for its bound -1, and `log_sigmoid` negated them: log_sigmoid(1) was -255."""
    for dtype in (np.uint8, np.uint32, np.bool_):
        x = np.array([0, 1, 5]).astype(dtype)
        limited = fdl.nn.hard_tanh(x)
        assert limited.dtype == (dtype if dtype is not np.bool_ else np.int32)
        assert limited.tolist() == [0, 1, 1]
        for name in ELEMENTWISE:
            wanted = getattr(nn, name)(x.astype(np.float32))
            np.testing.assert_array_equal(np.asarray(getattr(nn, name)(x)).astype(np.float32), np.asarray(wanted), err_msg=name)


@pytest.mark.parametrize("name", [n for n in ELEMENTWISE if n != "log1mexp"])
def test_half_precision_far_out(name: str) -> None:
    """Squares overflow in float16 from 256 on: the slope of `gelu` was NaN at 300, and `squareplus` infinite."""
    f = getattr(nn, name)
    x = np.array([-60000, -300, 300, 60000], np.float16)
    for got, wanted in ((f(x), f(x.astype(np.float64))), (fdl.vmap(fdl.grad(f))(x), fdl.vmap(fdl.grad(f))(x.astype(np.float64)))):
        assert got.dtype == np.float16
        np.testing.assert_allclose(np.asarray(got, np.float64), np.asarray(wanted), rtol=2e-3, atol=1e-4, err_msg=name)
