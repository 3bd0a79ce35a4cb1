"""The memory plan: lifetimes, reuse, writing in place, and the table."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdl.backends.loops.interpret import run
from fdl.backends.loops.ir import INDEX, Alloc, Buffer, Const, For, Load, Op, Routine, Stmt, Store, Var
from fdl.backends.loops.plan import ALIGN, Plan, plan
from fdl.backends.loops.values import add

F4 = np.dtype(np.float32)
N = 48


def buffer(name: str, space: str = "arena", n: int = N) -> Buffer:
    return Buffer(name, F4, (n,), space)  # type: ignore[arg-type]


X, OUT = buffer("x", "input"), buffer("out", "output")


def apply(target: Buffer, *sources: Buffer, shift: int = 0) -> For:
    """target[i] = Σ sources[(i + shift) % n] + 1"""
    i = Var(f"i_{target.name}", INDEX)
    at = Op("rem", (add(i, shift), Const(N, INDEX)), INDEX) if shift else i
    value: Load | Op = Load(sources[0], (at,))
    for s in sources[1:]:
        value = Op("add", (value, Load(s, (at,))), F4)
    store = Store(target, (i,), Op("add", (value, Const(1.0, F4)), F4))
    return For(i, Const(N, INDEX), (store,), "vector")


def routine(*body: Stmt) -> Routine:
    return Routine("r", (X,), (), (OUT,), body, notes={"a": "model.py:3"})


def chain(length: int, shift: int = 0) -> Routine:
    """x → t0 → t1 → ... → out"""
    buffers = [buffer(f"t{k}") for k in range(length)]
    body: list[Stmt] = [Alloc(b) for b in buffers]
    for source, target in zip([X, *buffers], [*buffers, OUT], strict=True):
        body.append(apply(target, source, shift=shift))
    return routine(*body)


def span(p: Plan, name: str) -> tuple[int, int]:
    entry = next(e for e in p.entries if e.buffer.name == name)
    return entry.offset, entry.offset + entry.nbytes


def test_an_elementwise_chain_is_one_buffer_written_over() -> None:
    p = plan(chain(6))
    assert p.nbytes == -(-N * 4 // ALIGN) * ALIGN
    assert [e.over for e in p.entries] == ["", "t0", "t1", "t2", "t3", "t4"]


def test_a_chain_that_moves_elements_needs_two() -> None:
    p = plan(chain(6, shift=1))
    assert p.nbytes == 2 * -(-N * 4 // ALIGN) * ALIGN
    assert {e.over for e in p.entries} == {""}


def test_what_lives_on_is_not_written_over() -> None:
    a, b, c = buffer("a"), buffer("b"), buffer("c")
    p = plan(routine(Alloc(a), Alloc(b), Alloc(c), apply(a, X), apply(b, a), apply(c, b), apply(OUT, a, c)))
    assert span(p, "a")[1] <= span(p, "b")[0] or span(p, "b")[1] <= span(p, "a")[0]
    assert p.offsets["b"] == p.offsets["c"]


def test_a_buffer_made_outside_a_loop_lives_through_it() -> None:
    a, b, step = buffer("a"), buffer("b"), Var("step", INDEX)
    loop = For(step, Const(3, INDEX), (Alloc(b), apply(b, a, shift=1), apply(OUT, b)), "serial")
    p = plan(routine(Alloc(a), apply(a, X), loop))
    assert span(p, "a")[1] <= span(p, "b")[0] or span(p, "b")[1] <= span(p, "a")[0]


def test_local_buffers_are_not_in_the_arena() -> None:
    local = buffer("s", "local", 8)
    i = Var("i", INDEX)
    body = (Alloc(local), Store(local, (Const(0, INDEX),), Load(X, (i,))), Store(OUT, (i,), Load(local, (Const(0, INDEX),))))
    p = plan(routine(For(i, Const(N, INDEX), body, "parallel")))
    assert p.offsets == {} and p.nbytes == 0


def test_the_table_names_lines_and_the_total() -> None:
    a = buffer("a")
    text = str(plan(routine(Alloc(a), apply(a, X), apply(OUT, a))))
    assert "model.py:3" in text
    assert text.splitlines()[0].split() == ["buffer", "type", "bytes", "from", "to", "offset", "made", "at"]
    assert text.splitlines()[-1] == "arena: 192 bytes for 1 buffers of 192 bytes together"


@pytest.mark.parametrize("nbytes", [0, 1, 63, 64, 65])
def test_offsets_are_aligned(nbytes: int) -> None:
    odd, a = Buffer("odd", np.dtype(np.int8), (nbytes,), "arena"), buffer("a")
    i = Var("i", INDEX)
    first = For(i, Const(nbytes, INDEX), (Store(odd, (i,), Const(1, odd.dtype)),), "vector")
    p = plan(routine(Alloc(odd), Alloc(a), first, apply(a, X), apply(OUT, a)))
    assert all(offset % ALIGN == 0 for offset in p.offsets.values())


def in_one_arena(r: Routine, p: Plan) -> Routine:
    """The routine with every arena buffer at its planned place inside one buffer: what the emitters make of the plan."""
    arena = Buffer("arena", F4, (max(p.nbytes, 4) // 4,), "arena")

    def value(v: object) -> object:
        match v:
            case Load() if v.buffer.name in p.offsets:
                return Load(arena, (add(p.offsets[v.buffer.name] // 4, v.index[0]),))
            case Op():
                return Op(v.name, tuple(map(value, v.args)), v.dtype)  # type: ignore[arg-type]
            case _:
                return v

    def statement(s: Stmt) -> Stmt:
        match s:
            case Store():
                new = value(s.value)
                if s.buffer.name in p.offsets:
                    return Store(arena, (add(p.offsets[s.buffer.name] // 4, s.index[0]),), new)  # type: ignore[arg-type]
                return Store(s.buffer, s.index, new)  # type: ignore[arg-type]
            case For():
                return For(s.var, s.extent, tuple(map(statement, s.body)), s.kind)
            case _:
                return s

    kept = tuple(statement(s) for s in r.body if not isinstance(s, Alloc))
    return replace(r, body=(Alloc(arena), *kept))


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_random_graphs_run_the_same_inside_the_arena(seed: int) -> None:
    rnd = random.Random(seed)
    made = [X]
    body: list[Stmt] = []
    for k in range(rnd.randint(2, 10)):
        target = buffer(f"t{k}")
        body += [Alloc(target), apply(target, *rnd.sample(made[-4:], min(len(made), rnd.randint(1, 2))), shift=rnd.choice((0, 0, 1)))]
        made.append(target)
    r = routine(*body, apply(OUT, *made[-2:]))
    data = np.arange(N, dtype=F4)
    (expected,), _ = run(r, [data])
    (actual,), _ = run(in_one_arena(r, plan(r)), [data], races=False)
    np.testing.assert_array_equal(actual, expected)


def test_a_loop_that_comes_back_does_not_write_over_what_it_reads() -> None:
    a, b, step = buffer("a"), buffer("b"), Var("step", INDEX)
    again = For(step, Const(3, INDEX), (apply(b, a),), "serial")
    p = plan(routine(Alloc(a), Alloc(b), apply(a, X), again, apply(OUT, b)))
    assert p.offsets["a"] != p.offsets["b"]
