"""The LLVM emitter against the loop IR's interpreter: random routines, and the constructs that need a case of their own."""

from __future__ import annotations

import ctypes
import random
import re
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdl.backends.llvm import emit, outline, run, runtime, target
from fdl.backends.loops import ir
from fdl.backends.loops.build import Names, names_in, renewed
from fdl.backends.loops.interpret import run as interpret
from fdl.backends.loops.ir import Buffer, Carry, Check, Const, For, If, Let, Load, Op, Routine, Store, Var
from fdl.tracer import dtypes
from fdl.tracer.dtypes import DType

Array = np.ndarray[Any, Any]
F32, I32, I64, BOOL = dtypes.float32, dtypes.int32, dtypes.int64, dtypes.bool_
TARGETS = target.runnable()


def number(n: int) -> Const:
    return Const(n, ir.INDEX)


def real(x: float) -> Const:
    return Const(x, F32)


def index(name: str) -> Var:
    return Var(name, ir.INDEX)


def op(name: str, *args: ir.Value, dtype: DType | None = None) -> Op:
    compares = name in ("eq", "ne", "lt", "le", "gt", "ge")
    return Op(name, args, dtype or (BOOL if compares else args[-1].dtype))


def buffer(name: str, shape: Sequence[int], space: Any, dtype: DType = F32) -> Buffer:
    return Buffer(name, dtype, tuple(shape), space)


def loop(var: Var, extent: int | ir.Value, body: Sequence[ir.Stmt], kind: Any = "serial", carries: Sequence[Carry] = ()) -> For:
    return For(var, number(extent) if isinstance(extent, int) else extent, tuple(body), kind, tuple(carries))


def arena(routine: Routine) -> dict[str, int]:
    """A place for every arena buffer, none shared."""
    offsets, top = {}, 0
    for stmt in ir.walk(routine.body):
        if isinstance(stmt, ir.Alloc) and stmt.buffer.space == "arena":
            offsets[stmt.buffer.name] = top
            top += -(-max(stmt.buffer.nbytes, 1) // 64) * 64
    return offsets


def native(routine: Routine, name: str) -> run.Native:
    return run.native(routine, arena(routine), target.named(name))


def outputs_of(routine: Routine) -> list[Array]:
    """Arrays as the interpreter finds them: NaN where nothing is written."""
    return [np.full(b.shape, np.nan if b.dtype.kind in "fV" else 0, b.dtype) for b in routine.outputs]


def agrees(routine: Routine, inputs: Sequence[Array]) -> None:
    """Every target gives what the interpreter gives, and the same bits with one thread and with several."""
    expected, failure = interpret(routine, inputs)
    for name in TARGETS:
        code = native(routine, name)
        bits = None
        for threads in (1, 0):
            outputs = outputs_of(routine)
            outcome = code.call(inputs, outputs, max_threads=threads)
            if failure is not None:
                assert (outcome.status, outcome.site) == (runtime.FAILED, failure[0])
                assert outcome.values[: len(failure[1])] == failure[1]
                continue
            assert outcome.status == runtime.OK
            for got, want in zip(outputs, expected, strict=True):
                np.testing.assert_array_equal(got, want, err_msg=name)
            now = [o.tobytes() for o in outputs]
            assert bits is None or bits == now
            bits = now


# --- random routines ------------------------------------------------------------------------------


class Maker:
    """Random routines over a few inputs. Floats are small integers, so that sums are exact in any order."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.count = 0
        r = self.random
        self.floats = [
            buffer(f"x{i}", [r.choice((1, 3, 8, 17, 40)) for _ in range(r.randint(1, 2))], "input") for i in range(2)
        ]
        self.ints = [buffer("n0", (r.choice((5, 33)),), "input", I32)]
        self.other = [buffer("h0", (r.choice((4, 21)),), "input", r.choice((dtypes.float16, dtypes.bfloat16, dtypes.float64)))]
        self.extents = buffer("e0", (4,), "input", I64)
        self.outputs: list[Buffer] = []
        self.sites = 0

    def fresh(self, stem: str, dtype: DType = ir.INDEX) -> Var:
        self.count += 1
        return Var(f"{stem}{self.count}", dtype)

    def axis(self, n: int, around: list[tuple[Var, int]]) -> ir.Value:
        """An index in [0, n) from the loops around."""
        r = self.random
        if not around or r.random() < 0.1:
            return number(r.randrange(n))
        var, extent = r.choice(around)
        choice = r.random()
        if choice < 0.45 and extent <= n:
            return var
        if choice < 0.55 and extent <= n:
            return op("sub", number(extent - 1), var)
        if choice < 0.65:
            return op("div", op("mul", var, number(n)), number(max(extent, 1)))
        if choice < 0.75:
            position = op("convert", Load(self.ints[0], (op("rem", var, number(self.ints[0].size)),)), dtype=I64)
            return op("rem", op("and", position, number(1023)), number(n))
        if choice < 0.85:
            shifted = op("add", var, number(r.randint(-3, 3)))
            return op("min", op("max", shifted, number(0)), number(n - 1))
        return op("rem", op("add", op("mul", var, number(r.randint(1, 3))), number(r.randint(0, 9))), number(n))

    def load(self, b: Buffer, around: list[tuple[Var, int]]) -> Load:
        return Load(b, tuple(self.axis(n, around) for n in b.shape))

    def value(self, around: list[tuple[Var, int]], scope: list[Var], depth: int) -> ir.Value:
        """A float32 expression."""
        r = self.random
        if depth == 0 or r.random() < 0.2:
            choice = r.random()
            if choice < 0.2:
                return real(float(r.randint(-3, 3)))
            if choice < 0.4 and scope:
                return r.choice(scope)
            if choice < 0.5:
                return op("convert", op("rem", self.load(self.ints[0], around), Const(7, I32)), dtype=F32)
            if choice < 0.6:
                return op("convert", self.load(self.other[0], around), dtype=F32)
            if choice < 0.65 and around:
                return op("convert", r.choice(around)[0], dtype=F32)
            return self.load(r.choice(self.floats), around)
        name = r.choice(("add", "sub", "mul", "max", "min", "neg", "abs", "select", "floor"))
        args = [self.value(around, scope, depth - 1) for _ in range(2)]
        if name in ("neg", "abs", "floor"):
            return op(name, args[0])
        if name == "select":
            return op("select", op(r.choice(("lt", "ge", "eq")), *args), *args)
        if name == "mul":
            args[1] = real(float(r.randint(-2, 2)))
        return op(name, *args)

    def block(self, around: list[tuple[Var, int]], scope: list[Var], depth: int, kinds: tuple[str, ...]) -> list[ir.Stmt]:
        """A few statements inside the loops `around`."""
        r = self.random
        stmts: list[ir.Stmt] = []
        scope = list(scope)
        for _ in range(r.randint(1, 3)):
            choice = r.random()
            if choice < 0.3:
                var = self.fresh("t", F32)
                stmts.append(Let(var, self.value(around, scope, 2)))
                scope.append(var)
            elif choice < 0.45 and depth:
                stmts.append(self.reduction(around, scope, depth, scope))
            elif choice < 0.65 and depth:
                var, extent = self.fresh("i"), r.choice((0, 1, 2, 7, 16, 37))
                kind = r.choice(kinds)
                inner = ("serial", "unroll") if kind == "vector" else ("serial", "vector", "unroll")
                if kind == "unroll":
                    extent = min(extent, 7)
                count: int | ir.Value = extent
                if r.random() < 0.3:  # known at run time only
                    count, extent = Load(self.extents, (number(r.randrange(4)),)), 40
                stmts.append(loop(var, count, self.block([*around, (var, extent)], scope, depth - 1, inner), kind))
            elif choice < 0.7 and "vector" in kinds:
                self.temporary(stmts, around, scope)
            elif choice < 0.74:
                self.sites += 1
                lucky = op("ne", self.value(around, scope, 1), real(float(r.randint(-40, 40))))
                shown = tuple(v for v, _ in around[:3])
                stmts.append(Check(lucky if r.random() < 0.5 else Const(True, BOOL), self.sites, shown))
            elif choice < 0.8:
                out = self.output(around)
                condition = op("lt", self.value(around, scope, 1), self.value(around, scope, 1))
                arms = [(Store(out, tuple(v for v, _ in around), self.value(around, scope, 1)),) for _ in range(2)]
                stmts.append(If(condition, arms[0], arms[1]))
            else:
                stmts.append(Store(self.output(around), tuple(v for v, _ in around), self.value(around, scope, 3)))
        stmts.append(Store(self.output(around), tuple(v for v, _ in around), self.value(around, scope, 2)))
        return stmts

    def reduction(self, around: list[tuple[Var, int]], scope: list[Var], depth: int, bound: list[Var]) -> ir.Stmt:
        r = self.random
        var, extent = self.fresh("k"), r.choice((0, 1, 5, 16, 33, 70))
        carries = []
        for _ in range(r.randint(1, 2)):
            combine = r.choice(("add", "max", "min"))
            acc, result = self.fresh("a", F32), self.fresh("r", F32)
            term = self.value([*around, (var, extent)], scope, 1)
            carries.append(Carry(acc, real(float(r.randint(-2, 2))), op(combine, acc, term), result, combine))
        bound += [c.result for c in carries]
        kind = r.choice(("serial", "vector", "vector", "parallel"))
        return loop(var, extent, (), kind, carries)

    def temporary(self, stmts: list[ir.Stmt], around: list[tuple[Var, int]], scope: list[Var]) -> None:
        """A local buffer: filled, then read."""
        r = self.random
        n = r.choice((1, 9, 35, 1100 if not around else 20))
        self.count += 1
        local = buffer(f"l{self.count}", (n,), r.choice(("local", "arena")) if not around else "local")
        var, again = self.fresh("i"), self.fresh("i")
        stmts.append(ir.Alloc(local))
        stmts.append(
            loop(var, n, [Store(local, (var,), self.value([*around, (var, n)], scope, 1))], r.choice(("serial", "vector")))
        )
        inner = [*around, (again, n)]
        stored = op("add", self.load(local, inner), self.value(inner, scope, 1))
        stmts.append(
            loop(again, n, [Store(self.output(inner), tuple(v for v, _ in inner), stored)], r.choice(("serial", "vector")))
        )

    def output(self, around: list[tuple[Var, int]]) -> Buffer:
        self.outputs.append(buffer(f"y{len(self.outputs)}", [n for _, n in around], "output"))
        return self.outputs[-1]

    def routine(self) -> Routine:
        body = self.block([], [], 3, ("serial", "vector", "parallel"))
        inputs = (*self.floats, *self.ints, *self.other, self.extents)
        return Routine("random", inputs, (), tuple(self.outputs), tuple(body))

    def arrays(self) -> list[Array]:
        generator = np.random.default_rng(self.random.randrange(1 << 30))
        draw = [generator.integers(-9, 10, b.shape).astype(b.dtype) for b in self.floats]
        draw += [generator.integers(-99, 100, b.shape).astype(b.dtype) for b in self.ints]
        draw += [generator.integers(-9, 10, b.shape).astype(b.dtype) for b in self.other]
        return [*draw, np.array(self.random.sample((0, 1, 3, 16, 25, 40), 4))]


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_random_routines(seed: int) -> None:
    maker = Maker(seed)
    agrees(maker.routine(), maker.arrays())


# --- loops ----------------------------------------------------------------------------------------

U, V, W = index("u"), index("v"), index("w")
A, R = Var("a", F32), Var("r", F32)


def integers(*shape: int, seed: int = 0) -> Array:
    """Small integers as floats: their sums are exact."""
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(np.float32)


def summed(var: Var, extent: int | ir.Value, term: ir.Value, kind: Any, start: ir.Value | None = None) -> For:
    """`r`: the sum of a term."""
    return loop(var, extent, (), kind, [Carry(A, start or real(0.0), op("add", A, term), R, "add")])


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 16, 17, 63, 64, 65, 130, 1003])
@pytest.mark.parametrize("dtype", [F32, dtypes.float64, dtypes.float16, dtypes.bfloat16, I32, dtypes.int8, BOOL], ids=str)
def test_sizes(n: int, dtype: DType) -> None:
    """Elementwise code and reductions of every remainder, for elements of every width."""
    x, y = buffer("x", (n,), "input", dtype), buffer("y", (n,), "output", dtype)
    carried, total = Var("c", dtype), Var("t", dtype)
    carry = Carry(carried, Const(0, dtype), op("max", carried, Load(x, (U,))), total, "max")
    s = buffer("s", (), "output", dtype)
    body = [loop(V, n, [Store(y, (V,), op("add", Load(x, (V,)), Load(x, (V,))))], "vector"), loop(U, n, (), "vector", [carry])]
    data = np.random.default_rng(n).integers(0, 2, n) if dtype == BOOL else integers(n)
    agrees(Routine("sizes", (x,), (), (y, s), (*body, Store(s, (), total))), [data.astype(dtype)])


@pytest.mark.parametrize(("m", "n"), [(0, 4), (1, 1), (7, 5), (33, 100), (3, 131)])
def test_columns(m: int, n: int) -> None:
    """A serial loop with a carry inside a vector loop: one accumulator a lane, in the loop's order."""
    x, y = buffer("x", (m, n), "input"), buffer("y", (n,), "output")
    body = loop(V, n, [summed(U, m, Load(x, (U, V)), "serial"), Store(y, (V,), R)], "vector")
    data = np.random.default_rng(0).standard_normal((m, n)).astype(np.float32)
    agrees(Routine("columns", (x,), (), (y,), (body,)), [data])


@pytest.mark.parametrize("n", [1, 5, 16, 37])
def test_strides(n: int) -> None:
    """Gathers, scatters, backwards runs, and indices that come from memory."""
    x, at = buffer("x", (n, n), "input"), buffer("at", (n,), "input", I32)
    outs = [buffer(f"y{k}", (n, n), "output") for k in range(4)]
    back = op("sub", number(n - 1), V)
    there = op("convert", Load(at, (V,)), dtype=I64)
    stores = [
        Store(outs[0], (U, V), Load(x, (V, U))),
        Store(outs[1], (V, U), Load(x, (U, back))),
        Store(outs[2], (U, back), Load(x, (U, there))),
        Store(outs[3], (U, there), Load(x, (back, V))),
    ]
    routine = Routine("strides", (x, at), (), tuple(outs), (loop(U, n, [loop(V, n, stores, "vector")], "parallel"),))
    agrees(routine, [integers(n, n), np.random.default_rng(1).permutation(n).astype(np.int32)])


def test_division_of_indices() -> None:
    """`v // c` and `v % c` stay contiguous where all lanes fall into one row, and are right where they do not."""
    for rows, columns in ((6, 64), (5, 48), (4, 7), (3, 128)):
        x, y = buffer("x", (columns, rows), "input"), buffer("y", (rows * columns,), "output")
        source = (op("rem", V, number(columns)), op("div", V, number(columns)))
        body = loop(V, rows * columns, [Store(y, (V,), Load(x, source))], "vector")
        agrees(Routine("reshape", (x,), (), (y,), (body,)), [integers(columns, rows)])


def test_rows_stay_contiguous() -> None:
    """The flat loop over rows of 64 reads whole vectors: no gather in the text."""
    x, y = buffer("x", (6, 64), "input"), buffer("y", (384,), "output")
    source = (op("div", V, number(64)), op("rem", V, number(64)))
    routine = Routine("rows", (x,), (), (y,), (loop(V, 384, [Store(y, (V,), Load(x, source))], "vector"),))
    made = target.make("avx512", "x86_64-unknown-linux-gnu")
    assert "gather" not in "".join(emit.emit_routine(routine, {}, made).texts)


def test_parallel_reduction() -> None:
    """Pieces that depend on the extent alone: the same bits for any number of threads, and for a run-time extent."""
    n = 200_003
    x, length, y = buffer("x", (n,), "input"), buffer("n", (), "input", I64), buffer("y", (2,), "output")
    high, top = Var("h", F32), Var("top", F32)
    term = Let(Var("t", F32), op("tanh", Load(x, (U,))))
    carries = [
        Carry(A, real(1.0), op("add", A, Var("t", F32)), R, "add"),
        Carry(high, real(-1.0), op("max", high, Load(x, (U,))), top, "max"),
    ]
    data = np.random.default_rng(0).standard_normal(n).astype(np.float32)
    for extent in (number(n), Load(length, ())):
        body = (loop(U, extent, [term], "parallel", carries), Store(y, (number(0),), R), Store(y, (number(1),), top))
        routine = Routine("pieces", (x, length), (), (y,), body)
        for name in TARGETS:
            code = native(routine, name)
            for count in (0, 1, 1000, n) if isinstance(extent, Load) else (n,):
                results = []
                for threads in (1, 0, 0):
                    (out,) = outputs_of(routine)
                    assert code.call([data, np.array(count)], [out], max_threads=threads).status == runtime.OK
                    results.append(out)
                assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()
                used = data[:count].astype(np.float64)
                np.testing.assert_allclose(results[0], [1 + np.tanh(used).sum(), max(-1.0, used.max(initial=-1.0))], rtol=1e-3)


def test_scratch_of_each_thread() -> None:
    """A large local buffer in a parallel loop: no two iterations see one another's."""
    n, m = 300, 5000
    local, y = buffer("local", (m,), "local"), buffer("y", (n,), "output")
    fill = loop(V, m, [Store(local, (V,), op("convert", op("mul", U, V), dtype=F32))], "vector")
    last = Store(y, (U,), op("add", Load(local, (number(m - 1),)), Load(local, (number(1),))))
    routine = Routine("scratch", (), (), (y,), (loop(U, n, [ir.Alloc(local), fill, last], "parallel"),))
    for name in TARGETS:
        (out,) = outputs_of(routine)
        assert native(routine, name).call([], [out]).status == runtime.OK
        np.testing.assert_array_equal(out, (np.arange(n) * m).astype(np.float32))


# --- the driver -----------------------------------------------------------------------------------


def long_loop(iterations: int) -> Routine:
    """A serial loop over a reduction, which has to stay in the driver, with a counter in memory."""
    x, y = buffer("x", (1000,), "input"), buffer("y", (2,), "output")
    step = Store(y, (number(0),), op("add", Load(y, (number(0),)), real(1.0)))
    body = loop(W, iterations, [summed(V, 1000, Load(x, (V,)), "vector"), step, Store(y, (number(1),), R)])
    return Routine("long", (x,), (), (y,), (Store(y, (number(0),), real(0.0)), body))


def test_driver_loop() -> None:
    agrees(long_loop(40), [integers(1000)])


def test_carried_through_the_driver() -> None:
    """Carries of a driver's loop, in and out of kernels; branches and a `While` around them."""
    n = 900
    x, y = buffer("x", (n,), "input"), buffer("y", (4,), "output")
    state, work = buffer("state", (), "arena", I64), buffer("work", (n,), "arena")
    carried, last = Var("c", F32), Var("last", F32)
    seen = Var("seen", I64)
    double = loop(index("d"), n, [Store(work, (index("d"),), op("mul", Load(x, (index("d"),)), real(2.0)))], "vector")
    inner: list[ir.Stmt] = [
        summed(V, n, Load(work, (V,)), "vector"),
        If(op("gt", carried, real(5.0)), (Store(y, (number(0),), carried),), (Store(y, (number(1),), R),)),
    ]
    scan = loop(W, 300, inner, "serial", [Carry(carried, real(0.0), op("max", R, op("add", carried, real(1.0))), last)])
    counting = ir.While(
        (Let(seen, Load(state, ())),), op("lt", seen, number(5000)), (Store(state, (), op("add", seen, number(7))),)
    )
    tail = [Store(y, (number(2),), last), Store(y, (number(3),), op("convert", Load(state, ()), dtype=F32))]
    start: list[ir.Stmt] = [ir.Alloc(state), ir.Alloc(work), Store(state, (), number(0))]
    first = [Store(y, (number(k),), real(0.0)) for k in range(4)]
    routine = Routine("driver", (x,), (), (y,), (*first, *start, double, counting, scan, *tail))
    agrees(routine, [integers(n, seed=4)])


def test_stop_and_progress() -> None:
    """A loop of the driver sees the stop word at its next iteration, and says how far it has come."""
    routine = long_loop(2**40)
    code = native(routine, TARGETS[0])
    frame = runtime.new_frame()
    x, (y,) = integers(1000), outputs_of(routine)
    status: list[int] = []
    pointers = [x.ctypes.data, y.ctypes.data]
    thread = threading.Thread(target=lambda: status.append(runtime.call(code.entry, frame, pointers)))
    thread.start()
    time.sleep(0.05)
    runtime.stop(frame)
    thread.join(10)
    assert status == [runtime.STOPPED]
    assert runtime.progress(frame) > 0


def test_calls_at_once() -> None:
    """Two threads in one routine have an arena each."""
    n = 20_000
    x, t, y = buffer("x", (n,), "input"), buffer("t", (n,), "arena"), buffer("y", (n,), "output")
    body: list[ir.Stmt] = [
        ir.Alloc(t),
        loop(U, n, [Store(t, (U,), op("mul", Load(x, (U,)), real(2.0)))], "parallel"),
        loop(V, n, [Store(y, (V,), op("add", Load(t, (V,)), real(1.0)))], "parallel"),
    ]
    routine = Routine("twice", (x,), (), (y,), tuple(body))
    code = native(routine, TARGETS[0])
    wrong: list[int] = []

    def work(seed: int) -> None:
        data = integers(n, seed=seed)
        for _ in range(20):
            (out,) = outputs_of(routine)
            code.call([data], [out])
            if not np.array_equal(out, data * 2 + 1):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# --- checks and callbacks -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["vector", "serial", "parallel"])
@pytest.mark.parametrize("bad", [(), (5, 900), (1002,), (999, 1000), (0,)])
def test_first_failure(kind: str, bad: tuple[int, ...]) -> None:
    """The first iteration's failure, with its values, whatever the order; nothing after the nest runs."""
    n = 1003
    at, x, y = buffer("at", (n,), "input", I32), buffer("x", (50,), "input"), buffer("y", (n,), "output")
    v, ok = Var("v", I64), Var("ok", BOOL)
    body: list[ir.Stmt] = [
        Let(v, op("convert", Load(at, (U,)), dtype=I64)),
        Let(ok, op("and", op("ge", v, number(0)), op("lt", v, number(50)))),
        Check(ok, 3, (v, number(50), U)),
        Store(y, (U,), Load(x, (op("min", op("max", v, number(0)), number(49)),))),
    ]
    routine = Routine("take", (at, x), (), (y,), (loop(U, n, body, kind), Store(y, (number(0),), real(77.0))))
    indices = np.random.default_rng(0).integers(0, 50, n).astype(np.int32)
    for position in bad:
        indices[position] = -5 - position
    values = integers(50)
    agrees(routine, [indices, values])
    if bad:
        for name in TARGETS:
            (out,) = outputs_of(routine)
            outcome = native(routine, name).call([indices, values], [out])
            assert outcome.values == (-5 - bad[0], 50, bad[0])
            assert out[0] != 77.0


def test_failure_in_a_driver_loop() -> None:
    """The call ends in the iteration that failed."""
    x, y = buffer("x", (1000,), "input"), buffer("y", (2,), "output")
    fits = op("lt", W, number(7))
    body = loop(W, 1000, [Check(fits, 1, (W,)), summed(V, 1000, Load(x, (V,)), "vector"), Store(y, (number(1),), R)])
    routine = Routine("ends", (x,), (), (y,), (body,))
    for name in TARGETS:
        outcome = native(routine, name).call([integers(1000)], outputs_of(routine))
        assert (outcome.status, outcome.site, outcome.values[0]) == (runtime.FAILED, 1, 7)


def whole(b: Buffer) -> ir.Ref:
    return ir.Ref(b, number(0), tuple(map(number, b.shape)), b.strides)


def callback_routine() -> Routine:
    x, t, y = buffer("x", (8,), "input"), buffer("t", (8,), "arena"), buffer("y", (8,), "output")
    return Routine(
        "back", (x,), (), (y,),
        (
            ir.Alloc(t),
            loop(U, 8, [Store(t, (U,), op("add", Load(x, (U,)), real(1.0)))], "vector"),
            ir.Callback(5, (whole(t),), (whole(y),)),
            loop(V, 8, [Store(y, (V,), op("add", Load(y, (V,)), real(1.0)))], "vector"),
        ),
    )  # fmt: skip


def test_callback() -> None:
    """The function finds its buffers; its exception comes out of the call."""
    routine = callback_routine()

    def times_ten(slot: int, pointers: int) -> None:
        assert slot == 5
        t, y = (ctypes.c_void_p * 2).from_address(pointers)
        source, result = ((ctypes.c_float * 8).from_address(p or 0) for p in (t, y))
        result[:] = [10 * v for v in source]

    def fails(slot: int, pointers: int) -> None:
        raise ValueError("the callback's own")

    data = np.arange(8, dtype=np.float32)
    for name in TARGETS:
        code = native(routine, name)
        (out,) = outputs_of(routine)
        code.call([data], [out], callback=times_ten)
        np.testing.assert_array_equal(out, (data + 1) * 10 + 1)
        with pytest.raises(ValueError, match="the callback's own"):
            code.call([data], [out], callback=fails)


# --- tile kernels ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["matmul", "transpose", "sort"])
def test_tile_calls(kernel: str) -> None:
    """A tile kernel means what its definition in loop IR means, whether it has a function or not."""
    attrs: tuple[tuple[str, object], ...] = ()
    shapes: list[tuple[int, ...]]
    if kernel == "matmul":
        shapes, attrs = [(5, 7), (5, 9), (9, 7)], (("accumulate", False),)
    elif kernel == "transpose":
        shapes = [(6, 11), (6, 11)]
    else:
        shapes, attrs = [(13,), (13,)], (("num_keys", 1),)
    y, *xs = [buffer(f"b{k}", s, "input" if k else "output") for k, s in enumerate(shapes)]
    call = ir.Call(kernel, (whole(y),), tuple(map(whole, xs)), (), attrs)
    routine = Routine("tile", tuple(xs), (), (y,), (loop(U, 2, [call], "serial"),))
    agrees(routine, [integers(*s, seed=k) for k, s in enumerate(shapes[1:])])


# --- size -----------------------------------------------------------------------------------------


def test_long_code_is_linear() -> None:
    """Four times as many statements make about four times as much text, in functions of bounded size."""

    def straight(n: int) -> str:
        x, y = buffer("x", (64,), "input"), buffer("y", (64,), "output")
        body: list[ir.Stmt] = [Let(Var("t0", F32), Load(x, (number(0),)))]
        for k in range(1, n):
            value = op("add", op("mul", Var(f"t{k - 1}", F32), Load(x, (number(k % 64),))), Var(f"t{max(0, k - 37)}", F32))
            body.append(Let(Var(f"t{k}", F32), value))
        body.append(Store(y, (number(0),), Var(f"t{n - 1}", F32)))
        routine = Routine("straight", (x,), (), (y,), tuple(body))
        return "".join(emit.emit_routine(routine, {}, target.named(TARGETS[0])).texts)

    small, large = straight(1000), straight(4000)
    assert len(large) < 5 * len(small)
    assert max(len(f) for f in large.split("\ndefine ")) < len(large) / 3


@pytest.mark.parametrize("last", [0, 3])
def test_a_loop_over_parts_is_parallel_also_where_the_last_part_is_smaller(last: int) -> None:
    n, part = 20 * 61_696 - last, 61_696
    x, y, i, j = buffer("x", (n,), "input"), buffer("y", (n,), "output"), Var("i", ir.INDEX), Var("j", ir.INDEX)
    whole, at = Const(part, ir.INDEX), op("add", op("mul", i, Const(part, ir.INDEX)), j)
    rest = op("sub", Const(n, ir.INDEX), op("mul", i, Const(part, ir.INDEX)))
    inner = For(j, op("min", whole, rest) if last else whole, (Store(y, (at,), Load(x, (at,))),), "vector")
    routine = Routine("parts", (x,), (), (y,), (For(i, Const(20, ir.INDEX), (inner,), "parallel"),))
    assert "call void @fdl_parallel" in "".join(emit.emit_routine(routine, {}, target.named(TARGETS[0])).texts)


def test_indices_of_lanes_are_divided_in_32_bits() -> None:
    x, y, i, j = buffer("x", (250, 250), "input"), buffer("y", (30, 1000), "output"), index("i"), index("j")
    turn = Store(y, (i, j), Load(x, (op("rem", i, number(250)), op("div", op("rem", j, number(750)), number(3)))))
    routine = Routine("tile", (x,), (), (y,), (For(i, number(30), (For(j, number(1000), (turn,), "vector"),), "parallel"),))
    text = "".join(emit.emit_routine(routine, {}, target.named(TARGETS[0])).texts)
    wide = [line for line in text.splitlines() if re.search(r"[su](div|rem) <\d+ x i64>", line)]
    assert not wide
    agrees(routine, [np.arange(250 * 250, dtype=np.float32).reshape(250, 250)])


# --- many kernels ---------------------------------------------------------------------------------


def stages(count: int, body: Any) -> Routine:
    """`count` nests in a row, each from the buffer before to the next one: `body(k, from, to)` gives their statements."""
    x, y = buffer("x", (40,), "input"), buffer("y", (40,), "output")
    between = [buffer(f"b{k}", (40,), "arena") for k in range(count - 1)]
    chain = [x, *between, y]
    nests = [s for k in range(count) for s in body(k, chain[k], chain[k + 1])]
    return Routine("stages", (x,), (), (y,), (*(ir.Alloc(b) for b in between), *nests))


def stepwise(k: int, source: Buffer, into: Buffer) -> list[ir.Stmt]:
    """One of six kinds of nests."""
    match k % 6:
        case 0:
            value = op("mul", Load(source, (U,)), real(0.5))
        case 1:
            value = op("mul", Load(source, (U,)), real(-0.5))
        case 2:
            value = op("add", Load(source, (U,)), Load(source, (op("sub", number(39), U),)))
        case 3:
            value = op("add", Load(source, (U,)), Load(source, (op("sub", number(39), op("rem", U, number(40))),)))
        case 4:  # with a buffer too large for the stack
            large = buffer(f"large{k}", (2000,), "local")
            fill = loop(V, 2000, [Store(large, (V,), op("add", Load(source, (op("rem", V, number(40)),)), real(1.0)))], "vector")
            take = loop(U, 40, [Store(into, (U,), Load(large, (op("mul", U, number(49)),)))])
            return [If(op("lt", number(4), number(5)), (ir.Alloc(large), fill, take))]
        case _:  # with threads
            total, result = Var("s", F32), Var("r", F32)
            turn = op("rem", op("add", U, op("rem", V, number(7))), number(40))
            carry = Carry(total, real(0.0), op("add", total, op("floor", Load(source, (turn,)))), result)
            mean = op("floor", op("div", result, real(256.0)))
            return [loop(U, 40, [loop(V, 250, [], "serial", [carry]), Store(into, (U,), mean)], "parallel")]
    return [loop(U, 40, [Store(into, (U,), value)], "vector")]


def kernels_in(routine: Routine) -> int:
    text = "".join(emit.emit_routine(routine, arena(routine), target.named(TARGETS[0])).texts)
    return len(re.findall(r"^define .*\.k\d+\(", text, re.MULTILINE))


def renamed_stepwise(k: int, source: Buffer, into: Buffer) -> list[ir.Stmt]:
    """As `stepwise`, where each nest has variables of its own."""
    block = tuple(stepwise(k, source, into))
    return list(renewed(block, Names(names_in(block) | {f"v{k}"})))


def test_many_kernels_are_rows_of_a_table() -> None:
    routine = stages(60, stepwise)
    text = "".join(emit.emit_routine(routine, arena(routine), target.named(TARGETS[0])).texts)
    assert "call void @fdl_steps(" in text
    assert re.search(r"@stages\.k\d+, ptr @stages\.t\d+, i64 [1-9]\d*, i64 0", text)  # with scratch
    assert re.search(r"@stages\.k\d+, ptr @stages\.t\d+, i64 \d+, i64 40", text)  # with threads
    assert text.count("call void @stages.k") == 0
    agrees(routine, [integers(40)])


def test_equal_nests_are_one_kernel() -> None:
    """However many, and whatever their buffers and variables are called; the first reads an input, and the last writes an output."""
    assert kernels_in(stages(60, stepwise)) == kernels_in(stages(120, stepwise)) == 6 + 2
    assert kernels_in(stages(60, renamed_stepwise)) == 6 + 2
    agrees(stages(60, renamed_stepwise), [integers(40)])


def test_the_form_of_statements() -> None:
    """Names don't count, anything else does: constants that are equal as numbers are not equal as values."""
    x, y, z = buffer("x", (8,), "input"), buffer("y", (8,), "output"), buffer("z", (8,), "input")

    def form(*value: ir.Value, into: Buffer = y, var: Var = U) -> list[Any]:
        return outline.names([loop(var, 8, [Store(into, (var,), v) for v in value])]).form

    assert form(Load(x, (U,))) == form(Load(z, (V,)), var=V)
    assert form(Load(x, (U,)), Load(x, (U,))) != form(Load(x, (U,)), Load(z, (U,)))
    assert form(Load(x, (U,))) != form(Load(x, (U,)), into=x)
    constants = [real(0.0), real(-0.0), Const(0, dtypes.float32), Const(False, BOOL), Const(0, I32), real(1.0), Const(True, BOOL)]
    forms = [form(c) for c in constants]
    assert all(a != b for i, a in enumerate(forms) for b in forms[:i])
    assert form(real(float("nan"))) == form(real(float("nan")))


@pytest.mark.parametrize("bad", [3, 41, 57])
def test_a_failure_among_many_kernels(bad: int) -> None:
    """What stands before the failed check has run, and nothing after it does."""
    seen: list[int] = []

    def body(k: int, source: Buffer, into: Buffer) -> list[ir.Stmt]:
        if k % 19 == 2:
            call = ir.Callback(k, (), (ir.Ref(into, number(0), (number(40),), (1,)),))
            return [call]
        fits = op("lt", U, number(7 if k == bad else 1000))
        return [loop(U, 40, [Check(fits, k, (U,)), Store(into, (U,), op("add", Load(source, (U,)), real(1.0)))])]

    routine = stages(60, body)
    for name in TARGETS:
        seen.clear()

        def note(slot: int, pointers: int) -> None:
            seen.append(slot)

        (out,) = outputs_of(routine)
        outcome = native(routine, name).call([integers(40)], [out], callback=note)
        assert (outcome.status, outcome.site, outcome.values[0]) == (runtime.FAILED, bad, 7)
        assert seen == [k for k in range(bad) if k % 19 == 2]


def test_the_text_of_a_deep_program_grows_with_its_equations() -> None:
    """The driver of many equal layers is a table: a layer adds a few rows to it, and no function."""
    few, many = (emit.emit_routine(r := stages(n, stepwise), arena(r), target.named(TARGETS[0])).texts for n in (120, 480))
    assert sum(map(len, many)) - sum(map(len, few)) < 360 * 250
