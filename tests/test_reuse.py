"""Outputs that take over donated inputs: the order of reads and writes, copies that vanish, and the same bits as without."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fdl
import fdl.numpy as fnp
from fdl.backends.loops.build import substitute_in
from fdl.backends.loops.interpret import run
from fdl.backends.loops.ir import INDEX, Buffer, Const, For, Load, Routine, Store, Var, walk
from fdl.backends.loops.pipeline import reusing
from fdl.backends.loops.reuse import Reuse
from fdl.tracer.passes.simplify import simplify


def lowered(f: Callable[..., Any], *args: Any, donated: Sequence[int] = ()) -> tuple[Routine, Any, Reuse]:
    program = simplify(fdl.make_ir(f)(*args))
    return reusing(program, donated, checked=True)


def in_place(routine: Routine, over: dict[int, int]) -> Routine:
    """The routine as it runs: outputs that take over an input are that input's buffer; what they hold is copied out at the end."""
    swap = {routine.outputs[k].name: routine.inputs[source] for k, source in over.items()}
    body = list(substitute_in(routine.body, {}, swap))
    results = list(routine.outputs)
    for k, source in over.items():
        out = Buffer(f"result{k}", routine.outputs[k].dtype, (routine.outputs[k].size,), "output")
        i = Var(f"copy{k}", INDEX)
        flat = replace(routine.inputs[source], shape=(routine.inputs[source].size,))
        body.append(For(i, Const(out.size, INDEX), (Store(out, (i,), Load(flat, (i,))),)))
        results[k] = out
    return replace(routine, outputs=tuple(results), body=tuple(body))


X = fnp.asarray(np.random.default_rng(0).normal(size=(6, 6)).astype(np.float32))
ROW = fnp.arange(6.0)


def stores(routine: Routine, name: str) -> int:
    return sum(isinstance(s, Store) and s.buffer.name == name for s in walk(routine.body))


@pytest.mark.parametrize(
    ("f", "args", "donated", "expected"),
    [
        (lambda w, g: w - 0.1 * g, (X, X), [0], {0: 0}),
        (lambda w, g: w - 0.1 * g, (X, X), [1], {0: 1}),
        (lambda w, g: w - 0.1 * g, (X, X), [], {}),
        (lambda w, b: w * b, (X, ROW), [0], {0: 0}),
        (lambda w, b: w * b[:, None], (X, ROW), [0], {0: 0}),
        (lambda w: w - w.mean(), (X,), [0], {0: 0}),
        (lambda w: w - w.mean(1, keepdims=True), (X,), [0], {0: 0}),  # each row is read before it is written
        (lambda w: w - w.mean(0), (X,), [0], {0: 0}),
        (lambda w: w[::-1], (X,), [0], {}),
        (lambda w: w.T, (X,), [0], {}),
        (lambda w: w + w.T, (X,), [0], {}),
        (lambda w: fnp.concatenate([w[1:], w[:1]]), (X,), [0], {}),
        (lambda w, v: w @ v, (X, X), [0], {}),
        (lambda w, v: (w @ v) + w, (X, X), [0], {}),  # a row is read to its end while it would be written
        (lambda w: w.astype("f8"), (X,), [0], {}),
        (lambda w: w[:3], (X,), [0], {}),
        (lambda w: w, (X,), [0], {0: 0}),
        (lambda w, v: (v, w), (X, X), [0, 1], {0: 1, 1: 0}),  # a swap of two arguments moves nothing
        (lambda w, v: (w + v, w - v), (X, X), [0, 1], {0: 0, 1: 1}),
        (lambda w, v: (w + 1, w.sum()), (X, X), [0, 1], {0: 0}),
        (lambda w: (w * 2, w * 3), (X,), [0], {0: 0}),
        (lambda w, b: fdl.scan(lambda c, x: (c + x, c * x), b, w)[1], (X, ROW), [0], {0: 0}),  # a row is read where one is written
        (lambda w, b: fdl.scan(lambda c, x: (c + x, c), b, w, reverse=True)[1], (X, ROW), [0], {0: 0}),
        (lambda w: fdl.fori_loop(0, 3, lambda i, c: c * 2 + 1, w), (X,), [0], {0: 0}),
        (lambda w: fdl.fori_loop(0, 3, lambda i, c: c + w, w), (X,), [0], {}),
        (lambda w, i: w.at[i].add(1.0), (X, np.int32(2)), [0], {0: 0}),
    ],
)  # fmt: skip
def test_what_is_reused(f: Callable[..., Any], args: tuple[Any, ...], donated: list[int], expected: dict[int, int]) -> None:
    routine, planned, reuse = lowered(f, *args, donated=donated)
    assert dict(reuse.over) == expected
    assert len(reuse.notes) == len(donated) and str(planned).endswith("\n".join(reuse.notes))
    arrays = [np.asarray(x) for x in args]
    plain, _ = run(lowered(f, *args)[0], arrays)
    shared, _ = run(in_place(routine, dict(reuse.over)), arrays)
    for a, b in zip(plain, shared, strict=True):
        np.testing.assert_array_equal(a.ravel(), b.ravel())


def test_the_plan_says_what_became_of_each_donated_input() -> None:
    def f(w: Any, v: Any, b: Any) -> Any:
        return w + 1, v[::-1]

    _, planned, _ = lowered(f, X, X, ROW, donated=[0, 1, 2])
    text = str(planned)
    assert "out0 takes over the memory of in0, float32[6, 6]: 144 bytes" in text
    assert "in1, float32[6, 6], is not reused: it is read after out1 is written" in text
    assert "in2, float32[6], is not reused: no output has its type" in text
    assert "is not reused: the outputs of its type take over other inputs" in str(
        lowered(lambda w, v: w + v, X, X, donated=[0, 1])[1]
    )


def test_a_copy_to_its_own_place_is_dropped() -> None:
    routine, _, reuse = lowered(lambda w, i: w.at[i].set(0.0), X, 2, donated=[0])
    assert dict(reuse.over) == {0: 0} and stores(routine, "out0") == 1
    assert all(
        "in0" not in (v.buffer.name for v in [s.value] if isinstance(v, Load))
        for s in walk(routine.body)
        if isinstance(s, Store)
    )
    undonated, _, _ = lowered(lambda w, i: w.at[i].set(0.0), X, 2)
    assert stores(undonated, "out0") == 2
    routine, _, _ = lowered(lambda w, v: (w, v + 1), X, X, donated=[0, 1])
    assert stores(routine, "out0") == 0 and stores(routine, "out1") == 1


def test_readers_of_the_weights_come_before_their_update() -> None:
    """Backpropagation reads a layer's weights after the gradient that their update is fused with."""
    rng = np.random.default_rng(1)
    sizes = (12, 9, 7, 5)
    weights = [fnp.asarray(rng.normal(size=s).astype(np.float32)) for s in itertools.pairwise(sizes)]
    x = fnp.asarray(rng.normal(size=(4, 12)).astype(np.float32))

    def step(*args: Any) -> Any:
        *w, x = args

        def loss(w: list[Any]) -> Any:
            h = x
            for v in w:
                h = fnp.tanh(h @ v)
            return (h * h).sum()

        return [v - 0.1 * g for v, g in zip(w, fdl.grad(loss)(w), strict=True)]

    routine, _, reuse = lowered(step, *weights, x, donated=[0, 1, 2])
    assert dict(reuse.over) == {0: 0, 1: 1, 2: 2}
    arrays = [np.asarray(v) for v in (*weights, x)]
    plain, _ = run(lowered(step, *weights, x)[0], arrays)
    shared, _ = run(in_place(routine, dict(reuse.over)), arrays)
    for a, b in zip(plain, shared, strict=True):
        np.testing.assert_array_equal(a.ravel(), b.ravel())


# --- random programs ------------------------------------------------------------------------------

OPS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b * 0.5,
    "relu": lambda a, b: fnp.maximum(a, 0.0),
    "flip": lambda a, b: a[::-1],
    "transpose": lambda a, b: a.T,
    "roll": lambda a, b: fnp.concatenate([a[1:], a[:1]]),
    "columns": lambda a, b: fnp.concatenate([b[:, :1], a[:, 1:]], axis=1),
    "centre": lambda a, b: a - b.mean(1, keepdims=True),
    "columnwise": lambda a, b: a - b.sum(0),
    "matmul": lambda a, b: (a @ b) * 0.1,
    "set": lambda a, b: a.at[0].set(1.5),
    "from": lambda a, b: a.at[0].add(b[-1]),
    "cumsum": lambda a, b: fnp.cumsum(a, axis=0) * 0.25,
    "branch": lambda a, b: fdl.cond(a[0, 0] > 0, lambda a, b: a, lambda a, b: b * 2, a, b),
    "loop": lambda a, b: fdl.fori_loop(0, 2, lambda i, c: c * 0.5 + b, a),
    "scan": lambda a, b: fdl.scan(lambda c, x: (c * 0.5 + x, c), a[0], b)[1],
}

steps = st.lists(st.tuples(st.sampled_from(sorted(OPS)), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=5)


def built(program: list[tuple[str, int, int]], outputs: list[int]) -> Callable[..., Any]:
    """The function that a drawn program stands for: operands and outputs count from the last value backwards."""

    def f(*args: Any) -> Any:
        values = list(args)
        for name, i, j in program:
            values.append(OPS[name](values[-1 - i % len(values)], values[-1 - j % len(values)]))
        return [values[-1 - k % len(values)] for k in outputs]

    return f


def operands(n_args: int, n: int) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(n)
    return [rng.normal(size=(n, n)).astype(np.float32) for _ in range(n_args)]


@settings(max_examples=120, deadline=None)
@given(st.integers(1, 3), steps, st.lists(st.integers(0, 9), min_size=1, max_size=4))
def test_random_programs_in_place(n_args: int, program: list[tuple[str, int, int]], outputs: list[int]) -> None:
    """By the loop IR's definition, which also holds parallel iterations to elements of their own, the shared memory included."""
    f, arrays = built(program, outputs), operands(n_args, 3)
    routine, _, reuse = lowered(f, *arrays, donated=range(n_args))
    plain, _ = run(lowered(f, *arrays)[0], arrays)
    shared, _ = run(in_place(routine, dict(reuse.over)), arrays)
    for a, b in zip(plain, shared, strict=True):
        np.testing.assert_array_equal(a.ravel(), b.ravel())


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), steps, st.lists(st.integers(0, 9), min_size=1, max_size=3), st.sampled_from([1, 7, 33, 190]))
def test_random_programs_donated_and_not(n_args: int, program: list[tuple[str, int, int]], outputs: list[int], n: int) -> None:
    """The same bits from compiled code; twice, so that results of the first call are donated to the second."""
    f, arrays = built(program, outputs), operands(n_args, n)
    plain, donating = fdl.jit(f), fdl.jit(f, donate_argnums=range(n_args))
    for give in (fnp.asarray, lambda a: a):  # an Array, and a NumPy array, which is never consumed
        given_: list[Any] = [give(a) for a in arrays]
        expected, got = plain(*arrays), donating(*given_)
        for a, b in zip(expected, got, strict=True):
            np.testing.assert_array_equal(np.asarray(a).view(np.uint32), np.asarray(b).view(np.uint32))
        assert all(isinstance(x, np.ndarray) or x.is_deleted() for x in given_)
        for a, b in zip(arrays, operands(n_args, n), strict=True):
            np.testing.assert_array_equal(a, b)
