"""Loops over few columns: widened, they give what they gave before, and leave no narrow vector loop behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_lower import agree, program, typed

import fdl
import fdl.numpy as fnp
from fdl.backends.loops.access import extent_of
from fdl.backends.loops.build import Block, Names, load, loops, op, store, var
from fdl.backends.loops.check import check
from fdl.backends.loops.interpret import run
from fdl.backends.loops.ir import INDEX, Alloc, Buffer, Const, For, Routine, Var, walk
from fdl.backends.loops.narrow import NARROW, widened
from fdl.backends.loops.pipeline import stages
from fdl.tracer.ops import elementwise, reduce, shape

F4, F8, I4 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int32)
LEAST = 32
"""Iterations from which a loop counts as one that runs again and again."""


def biased(x: Any, b: Any) -> list[Any]:
    rows = (len(x.type.shape) - 1,)
    return [elementwise.max(elementwise.add(x, shape.broadcast(b, x.type.shape, rows)), np.zeros((), x.type.dtype))]


def sums(x: Any) -> list[Any]:
    axes = tuple(range(len(x.type.shape) - 1))
    return [reduce.reduce_sum(x, axes), reduce.reduce_max(x, axes)]


def statistics(x: Any) -> list[Any]:
    """The mean of each column, and its variance around it."""
    axes = tuple(range(len(x.type.shape) - 1))
    count = np.asarray(x.type.size / x.type.shape[-1], x.type.dtype)
    mean = elementwise.div(reduce.reduce_sum(x, axes), count)
    centred = elementwise.sub(x, shape.broadcast(mean, x.type.shape, (len(axes),)))
    return [mean, elementwise.div(reduce.reduce_sum(elementwise.mul(centred, centred), axes), count)]


def scaled(x: Any, s: Any) -> list[Any]:
    """(n, p, c) · (n, c): a row for each n."""
    return [elementwise.mul(x, shape.broadcast(s, x.type.shape, (0, 2)))]


def each_summed(x: Any) -> list[Any]:
    """(n, p, c) → (n, c)."""
    return [reduce.reduce_sum(x, (1,))]


CASES: dict[str, tuple[Callable[..., list[Any]], tuple[Any, ...]]] = {
    "bias": (biased, (typed(70, 6), typed(6))),
    "bias, whole blocks": (biased, (typed(4, 32, 3), typed(3))),
    "bias of doubles": (biased, (typed(5, 30, 5, dtype=F8), typed(5, dtype=F8))),
    "bias of integers": (biased, (typed(100, 12, dtype=I4), typed(12, dtype=I4))),
    "sums": (sums, (typed(7, 51, 3),)),
    "sums, whole blocks": (sums, (typed(128, 8),)),
    "statistics": (statistics, (typed(3, 67, 6),)),
    "statistics of doubles": (statistics, (typed(300, 2, dtype=F8),)),
    "scales": (scaled, (typed(2, 600, 3), typed(2, 3))),
    "sums of parts": (each_summed, (typed(3, 300, 5),)),
}


def vector_extents(routine: Routine) -> list[int]:
    """The extents of the vector loops that run again and again, or that hold loops."""
    found = []
    for s in walk(routine.body):
        if not isinstance(s, For):
            continue
        again = [x for x in s.body if isinstance(x, For) and x.kind == "vector"] if (extent_of(s) or 0) > LEAST else []
        holds = s.kind == "vector" and any(isinstance(x, For) and (extent_of(x) or 0) > LEAST for x in s.body)
        found += [extent_of(x) or 0 for x in (*again, *([s] if holds else []))]
    return found


@pytest.mark.parametrize("case", CASES, ids=str)
def test_widened_loops(case: str) -> None:
    f, types = CASES[case]
    extents = vector_extents(agree(program(f, *types), tolerance=1e-5)[-1])
    assert all(n >= NARROW for n in extents)


@pytest.mark.parametrize("case", ["bias", "sums", "statistics", "scales"])
def test_few_rows_are_left_alone(case: str) -> None:
    f, types = CASES[case]
    few = tuple(typed(*(min(n, 5) for n in t.shape[:-1]), t.shape[-1]) for t in types)
    p = program(f, *few)
    agree(p, tolerance=1e-5)
    assert not any(isinstance(s, Alloc) and s.buffer.name.startswith("row") for s in walk(stages(p)[-1].body))


def test_what_is_written_meanwhile_fills_no_row() -> None:
    """The bias is computed in the same nest that would read its row: it is read where it is."""

    def f(a: Any) -> list[Any]:
        total = reduce.reduce_sum(a, (0,))
        return [elementwise.add(a, shape.broadcast(total, a.type.shape, (1,))), total]

    agree(program(f, typed(400, 4)), tolerance=1e-5)


@settings(max_examples=25)
@given(st.integers(1, 17), st.integers(1, 200), st.integers(1, 3))
def test_any_number_of_columns(n: int, rows: int, images: int) -> None:
    def f(x: Any, b: Any) -> list[Any]:
        return [*biased(x, b), *statistics(x)]

    agree(program(f, typed(images, rows, n), typed(n)), seed=n, tolerance=1e-4)


def test_compiled_statistics_and_gradients() -> None:
    """A layer over three channels, forward and backward, as compiled code."""
    rng = np.random.default_rng(0)
    x, b = rng.standard_normal((4, 33, 3)).astype(np.float32), rng.standard_normal(3).astype(np.float32)

    def loss(x: Any, b: Any) -> Any:
        mean, var = x.mean((0, 1)), x.var((0, 1))
        return (fnp.maximum((x - mean) / fnp.sqrt(var + 1e-5) + b, 0) ** 2).sum()

    value, grads = fdl.jit(fdl.value_and_grad(loss, argnums=(0, 1)))(x, b)
    assert value == pytest.approx(float(loss(x.astype(np.float64), b.astype(np.float64))), rel=1e-5)
    eager = fdl.grad(loss, argnums=(0, 1))(x.astype(np.float64), b.astype(np.float64))
    for got, want in zip(grads, eager, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_loops_that_share_a_row_fill_it_once() -> None:
    """Two nests in one, as fusion leaves them when a tile kernel stands between them."""
    x, y, b = (Buffer(name, F4, shape, "input") for name, shape in (("x", (500, 6)), ("y", (700, 6)), ("b", (6,))))
    out = [Buffer(f"out{k}", F4, v.shape, "output") for k, v in enumerate((x, y))]
    n, i, j, k, m = (var(name) for name in "nijkm")

    def biased_rows(rows: Var, column: Var, to: Buffer, source: Buffer) -> Block:
        body = (store(to, (rows, column), op("add", load(source, rows, column), load(b, column))),)
        return loops((rows, column), source.shape, body, "parallel")

    nest = For(n, Const(1, INDEX), (*biased_rows(i, j, out[0], x), *biased_rows(k, m, out[1], y)), "parallel")
    names = Names({"x", "y", "b", "out0", "out1", *"nijkm"})
    wide = widened(nest, names, lambda new, old: None)
    assert sum(isinstance(s, Alloc) for s in walk(wide)) == 1
    arrays = [np.random.default_rng(0).standard_normal(v.shape).astype(F4) for v in (x, y, b)]
    routine = Routine("r", (x, y, b), (), tuple(out), wide)
    check(routine)
    results, _ = run(routine, arrays)
    np.testing.assert_array_equal(results[0], arrays[0] + arrays[2])
    np.testing.assert_array_equal(results[1], arrays[1] + arrays[2])
