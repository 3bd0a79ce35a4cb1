"""Right operands of matrix products that are packed first: in and out of loops, cut by rows, by columns and by both."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl.backends.executable import NativeExecutable
from fdl.backends.llvm.target import named, runnable
from fdl.backends.loops.check import check
from fdl.backends.loops.interpret import run as interpret
from fdl.backends.loops.ir import Call, walk
from fdl.backends.loops.lower import packing, panels
from fdl.backends.loops.pipeline import stages
from fdl.tracer.primitive import run_program
from tests.listings import loops_of

SHAPES = [(32, 512, 512), (9, 300, 128), (64, 1000, 64), (16, 4096, 32), (200, 97, 33), (1, 500, 300)]


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small products are cut and packed as large ones are."""
    monkeypatch.setattr(panels, "SLICE", 1000)
    monkeypatch.setattr(panels, "ROWS", 8)
    monkeypatch.setattr(packing, "ROWS", 8)
    monkeypatch.setattr(packing, "FAR", 1 << 12)


def holds(f: Any, *args: Any, stage: bool) -> int:
    """Asserts that native code and the loop IR agree with the reference; the number of matrix products cut by columns."""
    p = fdl.make_ir(f)(*args)
    expected = [np.asarray(x) for x in run_program(p, list(args))]
    most = max(float(np.abs(x).max()) for x in expected)
    for name in runnable():
        for x, y in zip(NativeExecutable(p, named(name))(list(args)), expected, strict=True):
            np.testing.assert_allclose(np.asarray(x), y, rtol=1e-4, atol=2e-5 * most, err_msg=name)
    routine = stages(p)[-1]
    check(routine)
    if stage:
        outs, failure = interpret(routine, list(args))
        assert failure is None
        for x, y in zip(outs, expected, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=2e-5 * most)
    calls = [s for s in walk(routine.body) if isinstance(s, Call) and s.kernel == "matmul"]
    return sum(len(c.inputs[1].shape) == 3 for c in calls)


def operands(m: int, n: int, k: int, steps: int = 3) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(m * n + k)
    return rng.standard_normal((n, k)).astype(np.float32), rng.standard_normal((steps, m, k)).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_weights_that_a_loop_leaves_alone(shape: tuple[int, int, int]) -> None:
    w, xs = operands(*shape)
    packed = holds(lambda w, xs: fdl.scan(lambda c, x: (c, x @ w.T), 0.0, xs)[1], w, xs, stage=False)
    assert packed == (shape[0] > packing.FEW_ROWS)


@pytest.mark.parametrize("shape", [(40, 100, 20), (64, 200, 33), (33, 70, 16), (100, 48, 64), (130, 97, 16)], ids=str)
@pytest.mark.parametrize("turned", [True, False])
@pytest.mark.usefixtures("eager")
def test_blocks_of_rows_and_columns(shape: tuple[int, int, int], turned: bool) -> None:
    w, xs = operands(*shape)
    b = w if turned else np.ascontiguousarray(w.T)
    slowly = shape[0] == 33
    assert holds(lambda b, x: x @ (b.T if turned else b), b, xs[0], stage=slowly) == 1
    lanes = fdl.vmap(lambda b, x: x @ (b.T if turned else b))
    assert holds(lanes, np.stack([b, b + 1, -b]), xs, stage=False) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("shape", [(37, 20, 9), (101, 30, 12), (151, 18, 5), (129, 17, 70)], ids=str)
@pytest.mark.usefixtures("eager")
def test_panels_of_rows_of_which_the_last_is_shorter(shape: tuple[int, int, int], dtype: str) -> None:
    m, n, k = shape
    rng = np.random.default_rng(m)
    a, b = (rng.integers(-3, 4, size).astype(np.float32) for size in ((m, k), (k, n)))
    x, y = fnp.asarray(a, dtype), fnp.asarray(b, dtype)
    assert re.search(r"= matmul in0\[[^;]*; min\(", loops_of(lambda x, y: x @ y, x, y))
    program = fdl.make_ir(lambda x, y: x @ y)(x, y)
    expected = np.asarray(run_program(program, [x, y])[0]).astype(np.float64)
    for name in runnable():
        (out,) = NativeExecutable(program, named(name))([x, y])
        np.testing.assert_array_equal(np.asarray(out).astype(np.float64), expected, err_msg=name)


@pytest.mark.parametrize("m", [512, 700])
def test_large_products_are_cut_in_both_directions(m: int) -> None:
    rng = np.random.default_rng(m)
    a, b = rng.standard_normal((m, 900)).astype(np.float32), rng.standard_normal((900, 1000)).astype(np.float32)
    assert holds(lambda a, b: a @ b, a, b, stage=False) == 1
    rows, columns = panels.blocks(m, 1000, 48)
    assert rows.count > 1 and columns.count > 1 and columns.step % 48 == 0


def test_a_product_of_few_columns_runs_along_the_depth() -> None:
    rng = np.random.default_rng(0)
    cases = [((70, 40), (40, 3), "ij,jk->ik"), ((2, 65, 33), (2, 33, 2), "bij,bjk->bik"), ((64, 4, 9), (4, 9, 6), "ijk,jkl->il")]
    for shape, other, spec in cases:
        a, b = rng.normal(size=shape), rng.normal(size=other)
        f = fdl.jit(lambda a, b, spec=spec: fnp.einsum(spec, a, b))
        assert "packed" in loops_of(f, a, b)
        np.testing.assert_allclose(f(a, b), np.einsum(spec, a, b), rtol=1e-12, atol=1e-12)
    wide = loops_of(lambda a, b: a @ b, fnp.zeros((70, 40)), fnp.zeros((40, 7)))
    assert "packed" not in wide
