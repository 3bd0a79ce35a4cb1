"""The LLVM emitter against the loop IR's interpreter: random routines, and the constructs that need a case of their own."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdl.backends.llvm import emit, engine, run, runtime, target
from fdl.backends.llvm.target import Target
from fdl.backends.loops import ir
from fdl.backends.loops.interpret import run as interpret
from fdl.backends.loops.ir import Buffer, Carry, Check, Const, For, If, Let, Load, Op, Ref, Routine, Store, Var
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


def agrees(routine: Routine, inputs: Sequence[Array], **tolerance: float) -> None:
    """Every target, with one thread and with several, gives what the interpreter gives, and the same bits for any number of threads."""
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
                if tolerance:
                    np.testing.assert_allclose(got, want, **tolerance)
                else:
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
        self.floats = [buffer(f"x{i}", [r.choice((1, 3, 8, 17, 40)) for _ in range(r.randint(1, 2))], "input") for i in range(2)]
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
        stmts.append(loop(var, n, [Store(local, (var,), self.value([*around, (var, n)], scope, 1))], r.choice(("serial", "vector"))))
        inner = [*around, (again, n)]
        stored = op("add", self.load(local, inner), self.value(inner, scope, 1))
        stmts.append(loop(again, n, [Store(self.output(inner), tuple(v for v, _ in inner), stored)], r.choice(("serial", "vector"))))

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
