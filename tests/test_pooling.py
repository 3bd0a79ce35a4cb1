"""Pooling and its gradient: windows side by side, apart, and overlapping; what an extremum is among equals, infinities and NaN."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest
from test_lower import agree, program, typed

import fdl
from fdl import nn
from fdl.backends.loops.ir import Op, Store, walk
from fdl.backends.loops.pipeline import stages
from fdl.tracer.dtypes import bfloat16, float16
from fdl.tracer.ops import window

Params = dict[str, Any]


def how(size: tuple[int, ...], strides: tuple[int, ...], padding: tuple[tuple[int, int], ...] | None = None) -> Params:
    """The parameters of windows over the middle axes of (N, ..., C)."""
    pairs = padding or ((0, 0),) * len(size)
    return {
        "window": (1, *size, 1), "strides": (1, *strides, 1), "padding": ((0, 0), *pairs, (0, 0)), "dilation": (1,) * (len(size) + 2)
    }  # fmt: skip


SHAPES = {
    "side by side": ((2, 6, 8, 5), how((2, 2), (2, 2))),
    "a rest along both axes": ((2, 7, 11, 3), how((2, 3), (2, 3))),
    "one axis": ((3, 9, 4), how((3,), (3,))),
    "padding": ((2, 5, 6, 3), how((2, 2), (2, 2), ((1, 0), (1, 1)))),
    "elements removed": ((1, 8, 8, 2), how((2, 2), (2, 2), ((-1, 0), (0, -1)))),
    "apart": ((2, 8, 8, 3), how((2, 2), (3, 3))),
    "overlapping": ((2, 7, 7, 3), how((3, 3), (2, 2))),
    "padding alone": ((1, 3, 4, 2), how((2, 2), (2, 2), ((2, 0), (0, 2)))),
}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients_of_pooling(shape: str) -> None:
    """Lowered, fused and scheduled, against NumPy's definitions; the gradient of a sum is the sum's transpose."""
    size, params = SHAPES[shape]

    def f(x: Any, ct: Any) -> list[Any]:
        total = functools.partial(window.window_sum, **params)
        return [window.window_scatter(x, ct, op="max", **params), fdl.vjp(total, x)[1](ct)[0]]

    windows = window.window_out_shape(size, **params)
    agree(program(f, typed(*size), typed(*windows)))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sums_and_their_gradients_are_adjoint(shape: str) -> None:
    size, params = SHAPES[shape]
    rng = np.random.default_rng(0)
    x = rng.standard_normal(size)
    y, pullback = fdl.vjp(functools.partial(window.window_sum, **params), x)
    ct = rng.standard_normal(y.shape)
    assert np.sum(np.asarray(y) * ct) == pytest.approx(np.sum(x * np.asarray(pullback(ct)[0])), rel=1e-12)


@pytest.mark.parametrize("op", ["max", "min"])
@pytest.mark.parametrize("shape", ["side by side", "a rest along both axes", "padding", "overlapping"])
def test_the_first_extremum_counts(op: str, shape: str) -> None:
    """Few different values, so that windows hold equals; infinities; NaN is before all."""
    size, params = SHAPES[shape]
    rng = np.random.default_rng(1)
    x = rng.choice(np.array([-math.inf, -1, 0, 1, math.inf], np.float32), size)
    x[rng.random(size) < 0.05] = np.nan
    t = rng.standard_normal(size).astype(np.float32)
    ct = rng.standard_normal(window.window_out_shape(size, **params)).astype(np.float32)
    for primitive, args in ((window.window_scatter_p, (x, ct)), (window.window_select_p, (x, t))):
        call = window.window_scatter if primitive is window.window_scatter_p else window.window_select
        got = fdl.jit(lambda a, b, call=call: call(a, b, op=op, **params))(*args)
        np.testing.assert_allclose(got, primitive.reference(*args, op=op, **params), rtol=1e-6, err_msg=primitive.name)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.float64, float16, bfloat16], ids=str)
def test_other_dtypes(dtype: Any) -> None:
    size, params = SHAPES["a rest along both axes"]
    rng = np.random.default_rng(2)
    x = rng.integers(0, 5, size).astype(dtype)
    ct = rng.integers(1, 9, window.window_out_shape(size, **params)).astype(dtype)
    got = fdl.jit(lambda x, ct: window.window_scatter(x, ct, op="max", **params))(x, ct)
    want = window.window_scatter_p.reference(x, ct, op="max", **params)
    assert np.asarray(got).tobytes() == np.asarray(want).tobytes()


def test_windows_side_by_side_write_each_element_once() -> None:
    """No zeros first, and nothing is added to what is there."""
    size, params = SHAPES["side by side"]
    windows = window.window_out_shape(size, **params)
    p = program(lambda x, ct: [window.window_scatter(x, ct, op="max", **params)], typed(*size), typed(*windows))
    stores = [s for s in walk(stages(p)[-1].body) if isinstance(s, Store)]
    assert len(stores) == 1
    assert not (isinstance(stores[0].value, Op) and stores[0].value.name == "add")


def test_gradient_of_average_pooling_repeats() -> None:
    """No sums over an array full of zeros."""
    x = np.zeros((2, 6, 6, 4), np.float32)
    pool = nn.AvgPool(2)
    text = str(fdl.make_ir(lambda x: fdl.grad(lambda x: (pool((), (), x)[0] ** 2).sum())(x))(x))
    assert text.count("window_sum") == 1, "that of the forward pass"
    assert " pad[" not in text
