"""Reductions over images by parts: the results, and that they share a loop with the filter's gradient."""

from __future__ import annotations

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl import nn, random
from tests.listings import loops_of

REDUCTIONS = [fnp.sum, fnp.max, fnp.min, fnp.prod]


@pytest.mark.parametrize("reduce", REDUCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("shape", [(37, 83, 91), (2, 600, 257), (300, 31, 29, 1)], ids=str)
def test_leading_axes(reduce: object, shape: tuple[int, ...]) -> None:
    assert callable(reduce)
    x = np.random.default_rng(0).uniform(0.99, 1.01, shape)
    axes = tuple(range(len(shape) - 1))
    f = fdl.jit(lambda a: reduce(a, axis=axes))
    expected = {fnp.sum: np.sum, fnp.max: np.max, fnp.min: np.min, fnp.prod: np.prod}[reduce](x, axis=axes)
    np.testing.assert_allclose(f(x), expected, rtol=1e-11)


@pytest.mark.parametrize("dtype", ["int32", "float16", "bfloat16"])
def test_other_dtypes(dtype: str) -> None:
    x = fnp.asarray(np.random.default_rng(0).integers(-3, 4, (40, 90, 80))).astype(dtype)
    f = fdl.jit(lambda a: fnp.sum(a, axis=(0, 1)))
    exact = np.asarray(x.astype("float64")).sum((0, 1))
    np.testing.assert_allclose(np.asarray(f(x).astype("float64")), exact, rtol=4e-3)


def test_the_same_for_any_number_of_threads() -> None:
    x = random.normal(random.key(0), (64, 60, 70))
    f = fdl.jit(lambda a: fnp.sum(a, axis=(0, 1)))
    before = fdl.get_num_threads()
    try:
        fdl.set_num_threads(1)
        one = np.asarray(f(x))
        fdl.set_num_threads(2)
        np.testing.assert_array_equal(one, f(x))
    finally:
        fdl.set_num_threads(before)


def test_a_bias_gradient_is_summed_where_the_filter_gradient_is() -> None:
    model = nn.Conv(16, 3)
    x = random.normal(random.key(1), (32, 32, 32, 8))
    params, state = model.init(random.key(0), x)

    def loss(p: object) -> object:
        return fnp.sum(fnp.tanh(model(p, state, x)[0]))

    text = loops_of(fdl.grad(loss), params)
    nests = text.split("\n  parallel ")
    assert any("conv_filter_grad" in nest and "(add)" in nest for nest in nests)
