"""Large operands of several shapes outside of `jit`: one kernel, the same bits, and no trace of it under transformations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl import nn, random
from fdl.numpy import together
from fdl.numpy.together import LARGE
from fdl.tracer.errors import ShapeError
from fdl.tracer.ir import type_of

SHAPES = [((40, 64, 64), (64,)), ((64, 1), (64, 3000)), ((2, 1, 70_000), (3, 1)), ((1, LARGE), (3, 1))]
FUNCTIONS = [fnp.add, fnp.subtract, fnp.multiply, fnp.divide, fnp.maximum, fnp.minimum, fnp.fmod]


def bits(x: fdl.Array) -> bytes:
    return np.asarray(x).tobytes()


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the functions that were computed by one kernel."""
    found: list[str] = []
    bind = together.bind

    def counted(primitive: Any, *inputs: Any, **params: Any) -> Any:
        found.append(params["name"])
        return bind(primitive, *inputs, **params)

    monkeypatch.setattr(together, "bind", counted)
    together._known.cache_clear()
    return found


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", ["float32", "int16", "float16"])
def test_the_second_time_it_is_one_kernel_with_the_same_bits(f: Callable[..., Any], dtype: str, kernels: list[str]) -> None:
    rng = np.random.default_rng(0)
    for left, right in SHAPES[:2]:
        x, y = (fnp.asarray(rng.integers(1, 99, s).astype(dtype)) for s in (left, right))
        first = f(x, y)
        count = len(kernels)
        second = f(x, y)
        assert (count, len(kernels)) == (count, count + 1)
        assert second.dtype == first.dtype and second.shape == first.shape and bits(second) == bits(first)
        assert bits(f(y, x)) == bits(f(y, x))


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_shapes_are_numpys(shapes: tuple[tuple[int, ...], tuple[int, ...]], kernels: list[str]) -> None:
    x, y = (np.random.default_rng(1).normal(size=s) for s in shapes)
    a, b = fnp.asarray(x), fnp.asarray(y)
    for _ in range(3):
        np.testing.assert_array_equal(a * b, x * y)
    assert kernels == ["multiply"] * 2


def test_what_is_left_to_others(kernels: list[str]) -> None:
    x, row = fnp.ones((512, 512)), fnp.ones(512)
    for _ in range(3):
        x + x, x + 1.0, x + fnp.ones(()), row + row[:, None], fnp.arctan2(x, row), (x + 1j * x) + row
        fdl.jit(lambda x, row: x + row)(x, row)
        fdl.grad(lambda row: (x * row).sum())(row)
        with fdl.config.using(backend="reference"):
            x - x
    assert kernels == []


def test_weak_types_and_results_are_as_ever(kernels: list[str]) -> None:
    weak = fnp.asarray(2.0) * fnp.ones((512, 512))
    row = fnp.arange(512)
    results = [weak + row for _ in range(3)]
    assert {(r.dtype.name, type_of(r).weak) for r in results} == {("float32", False)}
    assert len(kernels) == 2


def test_wrong_shapes_have_the_functions_name_and_the_users_line() -> None:
    x, y = fnp.ones((512, 512)), fnp.ones(511)
    for _ in range(3):
        with pytest.raises(ValueError, match=r"(?s)add: shapes .*\n  at .*test_together.py"):
            x + y


LAYERS = [nn.Linear(5), nn.Conv(5, 2), nn.Conv(5, 3, strides=2, padding="SAME"), nn.Conv(6, (2,), groups=2)]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_a_product_and_its_bias_are_one_kernel(layer: nn.Layer, kernels: list[str]) -> None:
    x = random.normal(random.key(1), (3, 7, 6, 4))
    params, state = layer.init(random.key(0), x)
    params["b"] = random.normal(random.key(2), params["b"].shape)
    del kernels[:]
    want = fdl.jit(lambda p, x: layer(p, state, x)[0])(params, x)
    slope = fdl.grad(lambda p: layer(p, state, x)[0].sum())(params)
    assert not kernels  # what is transformed is left to the transformation
    for _ in range(2):
        np.testing.assert_array_equal(layer(params, state, x)[0], want)
    assert len(kernels) == 2 and len(set(kernels)) == 1
    np.testing.assert_allclose(slope["b"], np.full(params["b"].shape, want.size / want.shape[-1]), rtol=1e-6)
    with fdl.config.using(backend="reference"):
        np.testing.assert_allclose(layer(params, state, x)[0], want, rtol=1e-5, atol=1e-5)
    # NumPy's arrays, and parameters of other dtypes, are as welcome.
    np.testing.assert_array_equal(layer(params, state, np.asarray(x))[0], want)
    wide = layer(fdl.tree.map(lambda p: p.astype("float64"), params), state, x)[0]
    assert wide.dtype == np.float64


def test_arguments_of_a_kernel_are_told_apart(kernels: list[str]) -> None:
    def power(x: Any, *, n: int) -> Any:
        return x**n

    x = fnp.arange(4.0)
    assert [together.compiled(power, x, n=n).tolist() for n in (2, 3, 2)] == [[0, 1, 4, 9], [0, 1, 8, 27], [0, 1, 4, 9]]


def test_wrong_biases_are_told_at_the_users_line() -> None:
    layer, x = nn.Linear(3), fnp.ones((2, 4))
    with pytest.raises(ShapeError, match=r"do not broadcast(.|\n)*test_together.py:\d+"):
        layer({"w": fnp.ones((4, 3)), "b": fnp.ones(2)}, (), x)
