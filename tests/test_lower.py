"""Lowering, fusion and schedules: after every stage the interpreter gives what the reference implementation gives."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdl.backends import collector
from fdl.backends.loops import schedule as schedule_module
from fdl.backends.loops.access import Slab, slab, summarise
from fdl.backends.loops.build import Names, ranges_in
from fdl.backends.loops.check import check
from fdl.backends.loops.collapse import collapsed, split
from fdl.backends.loops.fuse import fuse
from fdl.backends.loops.interpret import run
from fdl.backends.loops.ir import INDEX, Alloc, Buffer, Call, Carry, Const, For, Load, Op, Routine, Stmt, Store, Var, walk
from fdl.backends.loops.lower import LoweringError, callback_equations, lower
from fdl.backends.loops.lower import convolve as convolve_module
from fdl.backends.loops.lower import copies as copies_module
from fdl.backends.loops.lower import packing as packing_module
from fdl.backends.loops.lower import panels as panels_module
from fdl.backends.loops.lower import sums as sums_module
from fdl.backends.loops.lower.index import groups
from fdl.backends.loops.lower.panels import Cut, cut, panels
from fdl.backends.loops.pipeline import pipeline, stages
from fdl.backends.loops.schedule import schedule
from fdl.backends.loops.values import add, mul
from fdl.tracer.ir import Literal, Program, Type, evaluate
from fdl.tracer.ops import contract, elementwise, index, order, reduce, shape, window
from fdl.tracer.ops import convolve as conv_ops
from fdl.tracer.ops import random as random_ops
from fdl.tracer.primitive import Elementwise, lookup
from fdl.tracer.trace import bind, record
from fdl.tracer.transforms import call as _call
from fdl.tracer.transforms import cond as _cond
from fdl.tracer.transforms import scan as _scan
from fdl.tracer.transforms import while_loop as _while_loop

assert _call and _cond and _scan and _while_loop  # what declares the control-flow primitives

F4, I4 = np.dtype(np.float32), np.dtype(np.int32)


def typed(*shape: int, dtype: Any = F4) -> Type:
    return Type(shape, np.dtype(dtype))


def program(f: Callable[..., Sequence[Any]], *types: Type) -> Program:
    found, captured = record(f, types)
    assert not captured
    return found


def reference(p: Program, args: Sequence[Any]) -> list[np.ndarray]:
    def one(e: Any, xs: list[Any]) -> Any:
        out = e.primitive.reference(*[x.value if isinstance(x, Literal) else x for x in xs], **e.params)
        return out if e.primitive.multiple else (out,)

    with np.errstate(all="ignore"):
        return [np.asarray(o.value if isinstance(o, Literal) else o) for o in evaluate(p, args, one)]


def sample(t: Type, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if t.dtype.kind == "b":
        return np.asarray(rng.random(t.shape) < 0.5)
    if t.dtype.kind in "iu":
        return np.asarray(rng.integers(0, 5, t.shape)).astype(t.dtype)
    return np.asarray(rng.normal(size=t.shape)).astype(t.dtype)


def agree(p: Program, seed: int = 0, tolerance: float = 1e-4) -> list[Routine]:
    """Checks and runs the routine of every stage, for both targets; returns the CPU's."""
    args = [sample(t, seed + k) for k, t in enumerate(p.in_types)]
    expected = reference(p, args)
    found = stages(p)
    for name, routine in zip(("lowered", "fused", "scheduled", "cuda"), (*found, stages(p, "cuda")[-1]), strict=True):
        check(routine)
        actual, failure = run(routine, args)
        assert failure is None
        for k, (a, e) in enumerate(zip(actual, expected, strict=True)):
            assert a.dtype == e.dtype and a.shape == e.shape
            if e.dtype.kind in "biu":
                np.testing.assert_array_equal(a, e, err_msg=f"{name}, output {k}")
            else:
                wide = np.float64
                np.testing.assert_allclose(
                    a.astype(wide), e.astype(wide), rtol=tolerance, atol=tolerance, err_msg=f"{name}, output {k}"
                )
    return found


def nests(routine: Routine) -> list[For]:
    return [s for s in routine.body if isinstance(s, For)]


def allocated(routine: Routine) -> list[Buffer]:
    return [s.buffer for s in walk(routine.body) if isinstance(s, Alloc)]


EAGER = (
    (schedule_module, "PARALLEL_COST", 50),
    (schedule_module, "CHUNK_COST", 60),
    (convolve_module, "GRAIN", 500),
    (sums_module, "TINY", 8),
    (panels_module, "GRAIN", 500),
    (panels_module, "SLICE", 500),
    (panels_module, "STREAM", 64),
    (panels_module, "ROWS", 4),
    (packing_module, "ROWS", 4),
    (packing_module, "FAR", 64),
    (packing_module, "NARROW", 4),
    (copies_module, "LEAST", 8),
    (copies_module, "PART", 32),
)
"""Thresholds so low that small programs are cut into panels, chunks and partial results."""


@pytest.fixture
def eager_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in EAGER:
        monkeypatch.setattr(module, name, value)


# --- every kind of equation -----------------------------------------------------------------------

POOL = {"window": (1, 2, 2, 1), "strides": (1, 2, 2, 1), "padding": ((0, 0),) * 4, "dilation": (1,) * 4}
OVERLAP = {"window": (1, 3, 3, 1), "strides": (1, 2, 1, 1), "padding": ((0, 0), (1, 1), (1, 0), (0, 0)), "dilation": (1,) * 4}
CONV = {"strides": (2, 1), "padding": ((1, 1), (0, 1)), "lhs_dilation": (1, 1), "rhs_dilation": (1, 1), "groups": 1}
IMAGE = (2, 6, 6, 3)


def softmax(x: Any) -> Any:
    rows = tuple(range(len(x.type.shape) - 1))
    last = (len(rows),)
    shifted = elementwise.sub(x, shape.broadcast(reduce.reduce_max(x, last), x.type.shape, rows))
    e = elementwise.exp(shifted)
    return elementwise.div(e, shape.broadcast(reduce.reduce_sum(e, last), x.type.shape, rows))


def mlp(x: Any, w: Any, b: Any, y: Any) -> list[Any]:
    """A training step of one layer: loss, new weights, new bias."""
    h = contract.dot_general(x, w, ((1,), (0,)), ((), ()))
    h = elementwise.max(elementwise.add(h, shape.broadcast(b, h.type.shape, (1,))), np.float32(0))
    d = elementwise.sub(softmax(h), y)
    gw = contract.dot_general(x, d, ((0,), (0,)), ((), ()))
    gb = reduce.reduce_sum(d, (0,))
    loss = reduce.reduce_sum(elementwise.mul(d, d), (0, 1))
    step = np.float32(0.1)
    return [loss, elementwise.sub(w, elementwise.mul(gw, step)), elementwise.sub(b, elementwise.mul(gb, step))]


def attention(q: Any, k: Any, v: Any) -> list[Any]:
    """(batch, length, heads, size) operands."""
    scores = contract.dot_general(q, k, ((3,), (3,)), ((0, 2), (0, 2)))
    weights = softmax(elementwise.mul(scores, np.float32(0.5)))
    return [contract.dot_general(weights, v, ((3,), (1,)), ((0, 1), (0, 2)))]


def _dropout(key: Any, x: Any) -> list[Any]:
    bits = random_ops.random_bits(key, x.type.shape, 32)
    return [elementwise.select(elementwise.lt(bits, np.uint32(2**31)), x, np.float32(0))]


CASES: dict[str, tuple[Callable[..., Sequence[Any]], tuple[Type, ...]]] = {
    "mlp": (mlp, (typed(12, 16), typed(16, 10), typed(10), typed(12, 10))),
    "attention": (attention, (typed(2, 6, 3, 8), typed(2, 6, 3, 8), typed(2, 6, 3, 8))),
    "pad": (lambda x: [shape.pad(x, np.float32(1), ((1, 2, 0), (2, 3, 0)))], (typed(8, 9),)),
    "pad negative": (lambda x: [shape.pad(x, np.float32(1), ((-1, 2, 0), (2, -3, 0)))], (typed(8, 19),)),
    "pad interior": (lambda x: [shape.pad(x, np.float32(1), ((1, 2, 1), (-1, 3, 2)))], (typed(4, 5),)),
    "concatenate": (lambda x, y: [shape.concatenate([x, elementwise.add(y, y)], 1)], (typed(4, 5), typed(4, 3))),
    "reshape": (
        lambda x: [elementwise.neg(shape.reshape(x, (6, 10))), shape.reshape(shape.transpose(x, (1, 0, 2)), (60,))],
        (typed(3, 4, 5),),
    ),
    "transpose": (
        lambda x: [
            shape.transpose(x, (2, 0, 1)),
            shape.transpose(x, (1, 0, 2)),
            shape.transpose(shape.reshape(x, (5, 12)), (1, 0)),
        ],
        (typed(3, 4, 5),),
    ),
    "slice": (lambda x: [shape.slice(shape.flip(x, (1,)), (1, 0), (4, 5), (2, 3))], (typed(4, 5),)),
    "reductions": (
        lambda x: [reduce.reduce_sum(x, (0, 2)), reduce.reduce_max(x, (1,)), reduce.reduce_sum(x, (0, 1, 2))],
        (typed(3, 4, 5),),
    ),
    "arg": (lambda x: [reduce.argmax(x, 1, I4), reduce.argmin(x, 0, np.dtype(np.int64))], (typed(7, 9),)),
    "cumulative": (lambda x: [reduce.cumsum(x, 1), reduce.cumsum(x, 0, True)], (typed(7, 9),)),
    "iota": (lambda x: [elementwise.add(x, elementwise.convert(shape.iota((4, 5), I4, 1), F4))], (typed(4, 5),)),
    "random": (
        lambda k: [random_ops.random_bits(k, s, w) for s, w in (((3, 5), 32), ((7,), 8), ((3,), 64))],
        (typed(2, dtype=np.uint32),),
    ),
    "dropout": (_dropout, (typed(2, dtype=np.uint32), typed(6, 8))),
    "dot batched": (
        lambda a, b: [contract.dot_general(a, b, ((2,), (1,)), ((0,), (0,)))],
        (typed(3, 12, 16), typed(3, 16, 10)),
    ),
    "dot repacked": (
        lambda a, b: [contract.dot_general(a, b, ((0, 2), (2, 0)), ((), ()))],
        (typed(4, 6, 8), typed(8, 6, 4)),
    ),
    "dot of views": (
        lambda a, b: [contract.dot_general(shape.transpose(a, (1, 0)), shape.reshape(b, (12, 20)), ((1,), (0,)), ((), ()))],
        (typed(12, 16), typed(12, 4, 5)),
    ),
    "conv": (
        lambda x, f: [
            conv_ops.conv(x, f, **CONV),
            conv_ops.conv_input_grad(conv_ops.conv(x, f, **CONV), f, in_spatial=(5, 4), **CONV),
            conv_ops.conv_filter_grad(x, conv_ops.conv(x, f, **CONV), window=(3, 3), **CONV),
        ],
        (typed(2, 5, 4, 2), typed(3, 3, 2, 3)),
    ),
    "pooling": (lambda x: [window.window_max(x, **POOL), window.window_sum(x, **OVERLAP)], (typed(*IMAGE),)),
    "window_select": (lambda x, t: [window.window_select(x, t, op="max", **OVERLAP)], (typed(*IMAGE), typed(*IMAGE))),
    "window_scatter": (
        lambda x, t, u: [
            window.window_scatter(x, t, op="max", **OVERLAP),
            window.window_scatter(x, u, op="min", **POOL),
        ],
        (typed(*IMAGE), typed(2, 3, 5, 3), typed(2, 3, 3, 3)),
    ),
    "gather": (
        lambda x, i: [
            index.gather(x, i, axes=(0,)),
            index.gather(x, i, axes=(1,), mode="clip"),
            index.gather(x, i, axes=(0,), mode="fill", fill=7),
        ],
        (typed(6, 7), typed(3, 4, 1, dtype=I4)),
    ),
    "columns": (
        lambda x, i: [
            shape.transpose(index.gather(x, i, axes=(1,), mode="raise"), (1, 0)),
            shape.transpose(index.gather(elementwise.add(x, x), i, axes=(1,), mode="clip"), (1, 0)),
        ],
        (typed(6, 7), typed(9, 1, dtype=I4)),
    ),
    "scatter": (
        lambda x, i, u: [
            index.scatter(x, i, u, axes=(0,), mode="drop", op="add"),
            index.scatter(elementwise.add(x, x), i, u, axes=(0,), mode="clip", op="set"),
        ],
        (typed(3, 7), typed(9, 1, dtype=I4), typed(9, 7)),
    ),
    "dynamic slices": (
        lambda x, u, i: [
            index.dynamic_update_slice(elementwise.mul(x, x), u, [i, i]),
            index.dynamic_slice(x, [i, i], (2, 2)),
        ],
        (typed(6, 4), typed(2, 3), typed(dtype=I4)),
    ),
    "update from itself": (
        lambda x, i: [index.dynamic_update_slice(y := elementwise.mul(x, x), index.dynamic_slice(y, [i], (3,)), [np.int32(1)])],
        (typed(8), typed(dtype=I4)),
    ),
    "sort": (lambda x, y: [*order.sort([x, y], 1, 1), *order.sort([x, y], 0, 2)], (typed(6, 5), typed(6, 5, dtype=I4))),
    "outputs": (
        lambda x, y: [x, x, elementwise.add(x, y), shape.reshape(y, (4,)), np.float32(3)],
        (typed(2, 2), typed(2, 2)),
    ),
    "empty": (
        lambda x, y: [
            reduce.reduce_sum(x, (0,)),
            contract.dot_general(y, x, ((1,), (0,)), ((), ())),
            shape.pad(x, np.float32(1), ((1, 0, 0), (0, 0, 0))),
        ],
        (typed(0, 3), typed(2, 0)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_stage_agrees_with_the_reference(name: str) -> None:
    f, types = CASES[name]
    agree(program(f, *types))


CUT = ("mlp", "attention", "conv", "reductions", "pooling", "scatter", "cumulative", "window_scatter", "transpose")


@pytest.mark.parametrize("name", CUT)
def test_panels_chunks_and_partial_results(name: str, eager_schedule: None) -> None:
    f, types = CASES[name]
    agree(program(f, *types))


def test_half_precision_sums_accumulate_in_float32() -> None:
    types = (typed(30, 4, dtype=np.float16),)
    agree(program(lambda x: [reduce.reduce_sum(elementwise.mul(x, x), (0,)), reduce.cumsum(x, 0)], *types), tolerance=2e-3)


# --- control flow ---------------------------------------------------------------------------------


def _rnn(w: Any, h: Any, x: Any) -> list[Any]:
    new = elementwise.tanh(elementwise.add(contract.dot_general(h, w, ((1,), (0,)), ((), ())), x))
    return [new, elementwise.mul(new, new)]


def _train(w: Any, b: Any, x: Any, y: Any) -> list[Any]:
    loss, new_w, new_b = mlp(w=w, b=b, x=x, y=y)
    return [new_w, new_b, loss]


def scan_of(body: Program, n_consts: int, n_carry: int, length: int, reverse: bool = False) -> Callable[..., Sequence[Any]]:
    params = {"body": body, "n_consts": n_consts, "n_carry": n_carry, "length": length, "reverse": reverse}
    return lambda *args: bind(lookup("scan"), *args, **params)


def test_scan() -> None:
    body = program(_rnn, typed(16, 16), typed(8, 16), typed(8, 16))
    agree(program(scan_of(body, 1, 1, 4), typed(16, 16), typed(8, 16), typed(4, 8, 16)))


def test_carries_that_change_places() -> None:
    body = program(
        lambda a, b, s, x: [b, a, elementwise.add(s, x), elementwise.mul(s, x)], typed(3), typed(3), typed(), typed()
    )
    agree(program(scan_of(body, 0, 3, 5, reverse=True), typed(3), typed(3), typed(), typed(5)))


def test_a_training_loop_updates_its_parameters_in_place() -> None:
    body = program(_train, typed(16, 4), typed(4), typed(12, 16), typed(12, 4))
    p = program(scan_of(body, 0, 2, 3), typed(16, 4), typed(4), typed(3, 12, 16), typed(3, 12, 4))
    routine = agree(p)[-1]
    loop = next(s for s in routine.body if isinstance(s, For) and s.kind == "serial")
    stored = {s.buffer.name for s in walk(loop.body) if isinstance(s, Store)}
    assert {"out0", "out1"} <= stored
    # Nothing of the size of the weights but their gradient: no copy of the carry.
    assert [s.buffer.shape for s in walk(loop.body) if isinstance(s, Alloc)].count((16, 4)) == 1


def test_indexed_update_in_a_loop_is_in_place() -> None:
    def step(c: Any, i: Any, x: Any) -> list[Any]:
        updated = index.scatter(c, shape.reshape(i, (1, 1)), shape.reshape(x, (1,)), axes=(0,), mode="drop", op="set")
        return [updated, elementwise.add(i, np.int32(1))]

    body = program(step, typed(600), typed(dtype=I4), typed())
    routine = agree(program(scan_of(body, 0, 2, 3), typed(600), typed(dtype=I4), typed(3)))[-1]
    loop = next(s for s in routine.body if isinstance(s, For) and s.kind == "serial")
    assert not any(isinstance(s, For) for s in walk(loop.body)), "an iteration copies the carry"


def test_an_operand_that_lives_on_is_copied() -> None:
    def f(x: Any, u: Any) -> list[Any]:
        y = elementwise.mul(x, x)
        z = index.dynamic_update_slice(y, u, [np.int32(1)])
        return [elementwise.add(z, y)]

    agree(program(f, typed(8), typed(3)))


def test_while() -> None:
    cond = program(lambda n, i, x: [elementwise.lt(i, n)], typed(dtype=I4), typed(dtype=I4), typed(4))
    body = program(
        lambda i, x: [elementwise.add(i, np.int32(1)), elementwise.mul(x, np.float32(1.5))], typed(dtype=I4), typed(4)
    )
    params = {"cond": cond, "body": body, "n_cond": 1, "n_body": 0}
    p = program(lambda n, i, x: bind(lookup("while"), n, i, x, **params), typed(dtype=I4), typed(dtype=I4), typed(4))
    agree(p)


@pytest.mark.parametrize("which", [-3, 0, 1, 2, 9])
def test_cond(which: int) -> None:
    types = (typed(4), typed())
    branches = (
        program(lambda x, s: [elementwise.mul(x, x), s], *types),
        program(lambda x, s: [x, elementwise.neg(s)], *types),
        program(lambda x, s: [shape.broadcast(s, (4,), ()), reduce.reduce_sum(x, (0,))], *types),
    )
    agree(program(lambda x, s: bind(lookup("cond"), np.int32(which), x, s, branches=branches), *types))


def test_calls_are_inlined() -> None:
    inner = program(lambda x: [elementwise.sin(x)], typed(4))

    def f(x: Any) -> list[Any]:
        once = bind(lookup("jit"), x, program=inner, name="f")[0]
        return list(bind(lookup("jit"), once, program=inner, name="f"))

    routine = agree(program(f, typed(4)))[-1]
    assert len(nests(routine)) == 1


# --- errors ---------------------------------------------------------------------------------------


def test_an_index_out_of_bounds_is_recorded_with_what_a_user_needs() -> None:
    p = program(lambda x, i: [index.gather(x, i, axes=(1,))], typed(3, 4), typed(2, 1, dtype=I4))
    for routine in stages(p):
        _, failure = run(routine, [np.zeros((3, 4), F4), np.array([[1], [4]], I4)])
        assert failure is not None
        site, values = failure
        message = routine.sites[site].text(values)
        assert message.startswith("index 4 is out of bounds for axis 1 of size 4")


def test_complex_numbers_are_refused() -> None:
    p = program(lambda x: [elementwise.neg(x)], typed(3, dtype=np.complex64))
    with pytest.raises(LoweringError, match="complex64"):
        lower(p)


def test_a_primitive_without_builder_says_so() -> None:
    p = program(lambda x: [elementwise.neg(x)], typed(3))
    strange = type("Strange", (), {"name": "strange", "lowering": None, "source": "here.py", "multiple": False})()
    with pytest.raises(LoweringError, match=r"'strange' has no builder.*here.py"):
        lower(Program(p.inputs, (p.equations[0].replace(primitive=strange),), p.outputs))


# --- shape of the result --------------------------------------------------------------------------


def test_softmax_is_one_nest_without_a_buffer_in_the_arena() -> None:
    routine = agree(program(lambda x: [softmax(x)], typed(8, 16)))[1]
    assert len(nests(routine)) == 1
    assert {b.space for b in allocated(routine)} == {"local"}


def test_attention_is_one_nest() -> None:
    types = (typed(2, 16, 3, 8),) * 3
    routine = stages(program(attention, *types))[1]
    assert len(nests(routine)) == 1
    assert sum(isinstance(s, Call) for s in walk(routine.body)) == 2
    assert {b.space for b in allocated(routine)} == {"local"}


def test_an_epilogue_joins_the_panels_of_its_contraction() -> None:
    def f(x: Any, w: Any, b: Any) -> list[Any]:
        h = contract.dot_general(x, w, ((1,), (0,)), ((), ()))
        return [elementwise.tanh(elementwise.add(h, shape.broadcast(b, h.type.shape, (1,))))]

    routine = stages(program(f, typed(256, 256), typed(256, 256), typed(256)))[-1]
    (nest,) = nests(routine)
    assert nest.kind == "parallel"
    assert any(isinstance(s, Call) for s in nest.body)
    assert {b.space for b in allocated(routine)} == {"local"}


def test_a_column_sum_is_a_vector_over_columns() -> None:
    routine = stages(program(lambda x: [reduce.reduce_sum(x, (0,))], typed(30, 64)))[-1]
    (nest,) = nests(routine)
    assert nest.kind == "vector"
    assert [s.kind for s in nest.body if isinstance(s, For)] == ["serial"]


def test_a_full_sum_is_cut_by_its_shape() -> None:
    routine = stages(program(lambda x: [reduce.reduce_sum(x, (0, 1))], typed(2048, 512)))[-1]
    first = nests(routine)[0]
    assert first.kind == "parallel"
    inner = next(s for s in first.body if isinstance(s, For))
    assert inner.kind == "vector"
    assert [b.dtype for b in allocated(routine)] == [F4]
    assert allocated(routine)[0].shape[0] >= 2048 * 512 >> 16


def test_decisions_are_recorded() -> None:
    routine, decisions = fuse(lower(program(lambda x: [softmax(x)], typed(8, 16))))
    assert any(d.fused for d in decisions)
    assert all(str(d) for d in decisions)
    assert routine.notes


def test_random_bits_never_reach_memory() -> None:
    f, types = CASES["dropout"]
    routine = stages(program(f, *types))[-1]
    assert allocated(routine) == []


def test_compile_time_is_linear() -> None:
    def layers(n: int) -> Program:
        def f(x: Any, w: Any) -> list[Any]:
            for _ in range(n):
                x = softmax(contract.dot_general(x, w, ((1,), (0,)), ((), ())))
            return [x]

        return program(f, typed(32, 32), typed(32, 32))

    def seconds(n: int) -> float:
        p = layers(n)
        with collector.paused():  # as in compilation; another test's garbage is not this one's
            start = time.process_time()
            pipeline(p)
            return time.process_time() - start

    seconds(2)
    assert seconds(40) < 16 * max(seconds(10), 0.01)


# --- random programs ------------------------------------------------------------------------------

UNARY = (
    elementwise.neg,
    elementwise.abs,
    elementwise.tanh,
    lambda v: elementwise.mul(v, v),
    lambda v: elementwise.max(v, np.float32(0)),
)
BINARY = (elementwise.add, elementwise.mul, elementwise.sub, elementwise.max)


def grow(rnd: random.Random, inputs: Sequence[Any]) -> list[Any]:
    """Random equations; the last value and a few others are the outputs."""
    values = list(inputs)
    for _ in range(rnd.randint(4, 18)):
        v = rnd.choice(values[-6:])
        new = _step(rnd, v, values)
        if new.type.size < 1500:
            values.append(new)
    return [values[-1], *rnd.sample(values, min(3, len(values)))]


def _step(rnd: random.Random, v: Any, values: list[Any]) -> Any:
    sizes = v.type.shape
    ndim = len(sizes)
    axis = rnd.randrange(max(ndim, 1))
    match rnd.randrange(12) if ndim else rnd.randrange(2):
        case 0:
            return rnd.choice(UNARY)(elementwise.min(v, np.float32(3)))
        case 1:
            return rnd.choice(BINARY)(v, rnd.choice([w for w in values if w.type.shape in (sizes, ())]))
        case 2 | 3:
            axes = tuple(sorted(rnd.sample(range(ndim), rnd.randint(1, ndim))))
            total = rnd.choice((reduce.reduce_sum, reduce.reduce_max))(v, axes)
            kept = tuple(a for a in range(ndim) if a not in axes)
            return elementwise.sub(v, shape.broadcast(total, sizes, kept)) if rnd.random() < 0.6 else total
        case 4:
            return shape.transpose(v, tuple(rnd.sample(range(ndim), ndim)))
        case 5:
            return shape.reshape(v, (sizes[0] * sizes[1], *sizes[2:])) if ndim > 1 else shape.reshape(v, (1, *sizes))
        case 6 if ndim == 2:
            w = rnd.choice(
                [w for w in values if len(w.type.shape) == 2 and w.type.shape[0] == sizes[1]] or [shape.transpose(v, (1, 0))]
            )
            return elementwise.mul(contract.dot_general(v, w, ((1,), (0,)), ((), ())), np.float32(0.1))
        case 7:
            return shape.slice(v, tuple(rnd.randint(0, n // 2) for n in sizes), sizes, tuple(rnd.randint(1, 2) for _ in sizes))
        case 8:
            return shape.pad(v, np.float32(0.5), [(rnd.randint(0, 2), rnd.randint(0, 2), 0) for _ in sizes])
        case 9:
            return shape.concatenate([v, elementwise.neg(v)], axis)
        case 10:
            return reduce.cumsum(elementwise.min(v, np.float32(1)), axis)
        case 11 if ndim < 3:
            return shape.broadcast(v, (3, *sizes), tuple(range(1, ndim + 1)))
        case _:
            return shape.flip(v, (axis,))


@settings(max_examples=120)
@given(seed=st.integers(0, 2**32), small=st.booleans())
def test_random_programs(seed: int, small: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in EAGER if small else ():
            patch.setattr(module, name, value)
        types = (typed(8, 5), typed(3, 6), typed(2, 3, 4), typed(12), typed())
        agree(program(lambda *xs: grow(random.Random(seed), xs), *types), seed % 1000, tolerance=1e-3)


# --- the parts ------------------------------------------------------------------------------------


@given(st.integers(1, 500), st.integers(1, 40), st.sampled_from([1, 8, 48]))
def test_cut_covers_an_axis(size: int, parts: int, multiple: int) -> None:
    c = cut(size, parts, multiple)
    assert c.step * (c.count - 1) < size <= c.step * c.count
    last = c.extent(Const(c.count - 1, INDEX))
    assert isinstance(last, Const)
    assert last.value == size - c.step * (c.count - 1)


def test_panels_depend_on_the_shape_alone() -> None:
    assert panels(8, 8, 8) == (Cut(8, 8), Cut(8, 8))
    rows, columns = panels(2048, 512, 512)
    assert rows.count == 32 and columns.count == 1
    rows, columns = panels(16, 4096, 4096)
    assert rows.count == 1 and columns.count > 8
    rows, columns = panels(1000, 1, 1000)  # what takes time is reading the matrix
    assert rows.count > 8 and columns.count == 1


def test_two_parts_are_two_also_where_only_one_would_be_even() -> None:
    assert cut(1000, 2, 8).count == 2


@given(st.lists(st.integers(1, 4), max_size=4), st.randoms())
def test_groups_match_products(sizes: list[int], rnd: random.Random) -> None:
    total = int(np.prod(sizes, dtype=int))
    other: list[int] = []
    while total > 1:
        divisor = rnd.choice([d for d in range(2, total + 1) if total % d == 0])
        other.append(divisor)
        total //= divisor
    found = groups(tuple(sizes), tuple(other))
    assert [k for a, _ in found for k in a] == list(range(len(sizes)))
    assert [k for _, b in found for k in b] == list(range(len(other)))
    for a, b in found:
        assert np.prod([sizes[k] for k in a], dtype=int) == np.prod([other[k] for k in b], dtype=int)


X = Buffer("x", F4, (12, 8), "input")
Y = Buffer("y", F4, (12, 8), "output")
ROW, COLUMN = Var("i", INDEX), Var("j", INDEX)


def _copy_nest() -> For:
    inner = For(COLUMN, Const(8, INDEX), (Store(Y, (ROW, COLUMN), Load(X, (ROW, COLUMN))),), "parallel")
    return For(ROW, Const(12, INDEX), (inner,), "parallel")


def _routine(*body: Stmt) -> Routine:
    return Routine("r", (X,), (), (Y,), body)


def test_collapse_and_split_are_inverse() -> None:
    names = Names({"x", "y", "i", "j"})
    nest = _copy_nest()
    one = collapsed(nest, names)
    assert isinstance(one, For) and one.extent == Const(96, INDEX) and not any(isinstance(s, For) for s in one.body)
    data = np.arange(96, dtype=F4).reshape(12, 8)
    for step in (1, 7, 8, 96):
        again = split(one, step, names)
        (out,), _ = run(check(_routine(again)), [data])
        np.testing.assert_array_equal(out, data)


def test_a_split_reduction_is_a_reduction_of_reductions() -> None:
    t, a, r = Var("t", INDEX), Var("a", F4), Var("r", F4)
    flat = Buffer("x", F4, (96,), "input")
    out = Buffer("y", F4, (), "output")
    total = Carry(a, Const(0.0, F4), Op("add", (a, Load(flat, (t,))), F4), r, "add")
    nest = split(For(t, Const(96, INDEX), (), "serial", (total,)), 10, Names({"t", "a", "r", "x", "y"}))
    routine = check(Routine("r", (flat,), (), (out,), (nest, Store(out, (), r))))
    data = np.arange(96, dtype=F4)
    assert run(routine, [data])[0][0] == data.sum()


def test_slabs() -> None:
    def accesses(position: Any, extent: int = 8) -> list[Any]:
        store = Store(Buffer("y", F4, (96,)), (position,), Const(0.0, F4))
        nest = For(ROW, Const(12, INDEX), (For(COLUMN, Const(extent, INDEX), (store,), "parallel"),), "parallel")
        known = ranges_in((nest,))
        return [summarise(nest, known).accesses["y"], known]

    def of(position: Any, extent: int = 8) -> Slab | None:
        found, known = accesses(position, extent)
        return slab(found, ROW, 12, (), known)

    assert of(add(mul(ROW, 8), COLUMN)) == Slab(8)
    assert of(add(mul(COLUMN, 12), ROW)) == Slab(1, 12)
    assert of(add(ROW, COLUMN)) is None
    assert of(COLUMN) is None
    assert of(add(mul(ROW, 8), mul(COLUMN, 2))) is None


def test_elementwise_lowering_is_the_identity_for_copies() -> None:
    assert isinstance(lookup("stop_gradient").lowering, Elementwise)
    routine = agree(program(lambda x: [elementwise.neg(elementwise.stop_gradient(x))], typed(5)))[-1]
    assert len(nests(routine)) == 1


def test_callback_slots_follow_the_program() -> None:
    inner = program(lambda x: [elementwise.sin(x)], typed(4))
    p = program(lambda x: bind(lookup("jit"), x, program=inner, name="f"), typed(4))
    assert callback_equations(p) == []


@pytest.mark.usefixtures("eager_schedule")
def test_rows_written_before_a_column_sum_are_summed() -> None:
    """The loop that writes the last row joins the columns' sums, which in blocks of rows would come before it."""

    def f(x: Any, y: Any) -> list[Any]:
        v = shape.concatenate([x, y], 0)
        return [v, reduce.reduce_sum(v, (0,))]

    agree(program(f, typed(300, 8), typed(1, 8)))
    split_up = agree(program(lambda x: [reduce.reduce_sum(x, (0,))], typed(300, 8)))[-1]
    assert any(b.name.startswith("part") for b in allocated(split_up))


def test_schedule_keeps_the_meaning_of_serial_loops() -> None:
    f, types = CASES["cumulative"]
    fused, _ = fuse(lower(program(f, *types)))
    kinds = {s.kind for s in walk(schedule(fused).body) if isinstance(s, For)}
    assert "serial" in kinds
