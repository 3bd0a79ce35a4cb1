"""Nests in which loads cross: they run in blocks, with the same results."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fdl
import fdl.numpy as fnp
from fdl.backends.loops.interpret import run
from fdl.backends.loops.pipeline import pipeline
from tests.listings import loops_of

SHAPES = [(65, 130), (200, 23), (8, 600), (150, 256), (33, 1024)]
"""Rows of the last two are so far apart that their lines share sets of a cache."""


def _both(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(x).T * 2 + y


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "float16"])
def test_rows_and_columns_together(shape: tuple[int, int], dtype: str) -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.integers(-9, 9, s).astype(dtype) for s in (shape, shape[::-1]))
    f = fdl.jit(lambda a, b: a.T * 2 + b)
    np.testing.assert_array_equal(f(x, y), _both(x, y))


def test_the_schedule_copies_blocks() -> None:
    x = fnp.zeros((128, 128))
    text = loops_of(lambda a: a.T + a, x)
    assert "transpose in0" in text and "alloc local" in text
    small = fnp.zeros((16, 16))
    assert "transpose" not in loops_of(lambda a: a.T + a, small)


def test_rows_on_pages_apart_are_turned_in_wider_blocks() -> None:
    loops = [loops_of(lambda a: a.T + 1, fnp.zeros((512, n))) for n in (1024, 1025)]
    assert "t: f32[64, 272]" in loops[0] and "t: f32[64, 144]" in loops[1]


def test_two_crossing_loads_have_a_copy_each() -> None:
    x, y = np.random.default_rng(1).normal(size=(2, 100, 100))
    f = fdl.jit(lambda a, b: a.T * b.T - a)
    assert loops_of(f, x, y).count("= transpose") == 2
    np.testing.assert_array_equal(f(x, y), x.T * y.T - x)


@settings(max_examples=8)
@given(st.permutations([0, 1, 2]), st.tuples(st.integers(7, 40), st.integers(7, 40), st.integers(7, 40)))
def test_three_axes_in_any_order(order: list[int], shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=shape)
    y = rng.normal(size=tuple(shape[a] for a in order))
    f = fdl.jit(lambda a, b: fnp.transpose(a, order) + b)
    routine, _ = pipeline(f.lower(x, y).program, checked=True)
    expected = np.transpose(x, order) + y
    np.testing.assert_array_equal(f(x, y), expected)
    if x.size < 9_000:
        np.testing.assert_array_equal(run(routine, [x, y])[0][0], expected)
