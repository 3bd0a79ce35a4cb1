"""The loop IR: its analyses, its text, its checker, and the interpreter that defines it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fdl.backends.loops import build
from fdl.backends.loops.build import (
    Names,
    add,
    clamp,
    const,
    convert,
    floordiv,
    index,
    load,
    mod,
    mul,
    op,
    select,
    store,
    var,
)
from fdl.backends.loops.check import InvalidRoutine, check
from fdl.backends.loops.interpret import run
from fdl.backends.loops.ir import (
    BOOL,
    INDEX,
    Alloc,
    Barrier,
    Buffer,
    Call,
    Callback,
    Carry,
    Check,
    Const,
    For,
    If,
    Let,
    Op,
    Ref,
    Routine,
    Site,
    Stmt,
    Store,
    Value,
    Var,
    While,
)
from fdl.backends.loops.show import show, show_stmt, show_value
from fdl.backends.loops.tiles import TILES
from fdl.tracer import dtypes

F32, F64, I32 = dtypes.float32, dtypes.float64, dtypes.int32
I, J, K = var("i"), var("j"), var("k")  # noqa: E741  (the field's name for it)


# --- analyses and rewriting -----------------------------------------------------------------------------

X = Buffer("x", F32, (4, 8), "input")
Y = Buffer("y", F32, (4,), "output")


def row_sums(kind: Any = "parallel", name: str = "rowsum") -> Routine:
    s, t = Var("s", F32), Var("t", F32)
    carry = Carry(s, const(0, F32), Op("add", (s, load(X, I, K)), F32), t, "add")
    body: tuple[Stmt, ...] = (For(K, index(8), (), "serial", (carry,)), store(Y, (I,), t))
    return Routine(name, (X,), (), (Y,), (For(I, index(4), body, kind),), notes={"i": "model.py:3", "y": "model.py:4"})


def test_analyses() -> None:
    body = row_sums().body
    assert build.reads(body) == {"x"} and build.writes(body) == {"y"}
    assert [v.index for v in build.loads(body)] == [(I, K)] and [s.buffer for s in build.stores(body)] == [Y]
    inner = body[0].body  # type: ignore[union-attr]
    assert build.free(inner) == {I} and build.free(body) == set()
    assert build.dependents(inner, {I}) == {I, Var("s", F32), Var("t", F32)}
    assert build.ranges_in(body) == {I: (0, 3), K: (0, 7)}
    window = Ref(Y, index(0), (index(4),), (1,))
    call = (Call("matmul", (window,), (window,), (), (("accumulate", True),)),)
    assert build.reads(call) == build.writes(call) == {"y"}


def test_names() -> None:
    names = Names({"i", "t"})
    assert [names("i"), names("i1"), names("acc"), names("t7"), names("acc")] == ["i1", "i2", "acc", "t1", "acc1"]


def test_renewed_blocks_can_stand_beside_the_original() -> None:
    scratch = Buffer("scratch", F32, (4, 1), "local")
    (loop,) = row_sums().body
    body = (Alloc(scratch), loop, store(build.flat(scratch), (2,), load(Y, 1)), store(Y, (0,), load(scratch, 2, 0)))
    copy = build.renewed(body, Names(build.names_in(body)))
    routine = check(Routine("twice", (X,), (), (Y,), body + copy))
    x = np.arange(32, dtype=np.float32).reshape(4, 8)
    (y,), _ = run(routine, [x])
    assert y.tolist() == [x[1].sum(), *x.sum(1)[1:]]
    assert not build.names_in(copy) & {"i", "k", "s", "t", "scratch"}


def test_expanded_calls_capture_nothing() -> None:
    """A tile kernel whose operands are at variables named like those of its own body."""
    a, b, c = Buffer("a", F32, (3, 4, 4), "input"), Buffer("b", F32, (3, 4, 4), "input"), Buffer("c", F32, (3, 4, 4), "output")
    row = var("row")  # also the name of the kernel's own loop variable

    def window(buffer: Buffer) -> Ref:
        return Ref(buffer, mul(row, 16), (index(4), index(4)), (4, 1))

    call = Call("matmul", (window(c),), (window(a), window(b)), (), (("accumulate", False),))
    loop = For(row, index(3), (call,), "parallel")
    plain = For(row, index(3), build.expanded(call, TILES["matmul"].body, Names(build.names_in((loop,)))), "parallel")
    x, y = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
    for stmt in (loop, plain):
        (z,), _ = run(check(Routine("batched", (a, b), (), (c,), (stmt,)), TILES), [x, y])
        np.testing.assert_allclose(z, x @ y, rtol=1e-5, atol=1e-6)


# --- text -----------------------------------------------------------------------------------------------


def test_text() -> None:
    assert show(row_sums()) == (
        "routine rowsum\n"
        "  input x: f32[4, 8]\n"
        "  output y: f32[4]\n"
        "do\n"
        "  parallel i < 4\n"
        "    serial k < 8 carry s: f32 = 0.0:f32 (add)\n"
        "      next s = s + x[i, k]\n"
        "    end -> t\n"
        "    y[i] = t\n"
        "  end\n"
    )
    assert "output y: f32[4]  # model.py:4\n" in show(row_sums(), notes=True)
    assert "parallel i < 4  # model.py:3\n" in show(row_sums(), notes=True)


def test_text_of_every_statement(golden: Callable[[str, str], None]) -> None:
    golden("loops_statements.txt", show(everything()))


def everything() -> Routine:
    """A routine with every kind of statement and value."""
    w = Buffer("w", F32, (8, 4), "const")
    n = Buffer("n", INDEX, (2,), "input")
    z = Buffer("z", F32, (4, 4), "arena")
    p, q = Var("p", BOOL), var("q")
    at = load(n, 0)
    whole = Ref(z, index(0), (index(4), index(4)), (4, 1))
    count, last = var("count"), var("last")
    body: tuple[Stmt, ...] = (
        Let(q, clamp(at, 0, 3)),
        Check(op("and", op("le", index(0), at), op("lt", at, index(4))), 0, (at, index(4))),
        Alloc(z),
        Call("matmul", (whole,), (_all(X), _all(w)), (), (("accumulate", False),)),
        Callback(0, (_all(Y),), (whole,)),
        For(
            I, index(4),
            (
                Let(p, op("lt", op("mul", load(z, I, q), op("add", load(z, I, 0), const(0.5, F32))), const(-np.inf, F32))),
                If(op("not", p), (store(Y, (I,), op("exp", load(z, I, q))),), (store(Y, (I,), convert(I, F32)),)),
                Barrier(),
            ),
            "parallel",
        ),
        While((Let(J, load(n, 1)),), op("gt", J, index(3)), (store(Y, (3,), const(1, F32)),)),
        For(K, J_OR_THREE, (), "unroll", (Carry(count, index(0), add(count, mul(K, K)), last),)),
    )  # fmt: skip
    return Routine("everything", (X, n), (w,), (Y,), body, (Site("index {0} is out of bounds for an axis of {1}"),))


def _all(buffer: Buffer) -> Ref:
    return Ref(buffer, index(0), tuple(map(index, buffer.shape)), buffer.strides)


J_OR_THREE = op("min", load(Buffer("n", INDEX, (2,), "input"), 0), index(3))


def test_brackets() -> None:
    a, b = Var("a", F32), Var("b", F32)
    assert show_value(op("sub", a, op("sub", b, a))) == "a - (b - a)"
    assert show_value(op("sub", op("sub", a, b), a)) == "a - b - a"
    assert show_value(op("mul", op("add", a, b), op("neg", a))) == "(a + b) * neg(a)"
    assert show_value(op("and", op("lt", a, b), op("ne", a, const(np.nan, F32)))) == "(a < b) & (a != nan:f32)"
    assert show_stmt(row_sums().body[0]) == "parallel i < 4 ..."


# --- the checker ----------------------------------------------------------------------------------------


def test_valid_routines_pass() -> None:
    for routine in (row_sums(), row_sums("vector"), row_sums("serial"), everything()):
        assert check(routine, TILES) is routine


T, B32 = Var("t", F32), Var("b", BOOL)
TEMP = Buffer("temp", F32, (4,), "arena")
FIXED = Buffer("fixed", F32, (4,), "const")
ONE = const(1, F32)


def _reduced(combine: str | None, following: Value, kind: Any = "serial", body: tuple[Stmt, ...] = ()) -> For:
    return For(I, index(4), body, kind, (Carry(T, ONE, following, Var("r", F32), combine),))


WRONG: dict[str, tuple[str, tuple[Stmt, ...]]] = {
    "unbound variable": ("t is used where it is not bound", (store(Y, (0,), T),)),
    "out of scope": ("i is used where", (For(I, index(4), ()), store(Y, (I,), ONE))),
    "bound twice": ("the variable t is bound twice", (Let(T, ONE), Let(T, ONE))),
    "bound twice in loops": ("i is bound twice", (For(I, index(4), ()), For(I, index(4), ()))),
    "another dtype": ("t is used as int64, and was bound as float32", (Let(T, ONE), store(Y, (var("t"),), ONE))),
    "let dtype": ("t is float32; the value", (Let(T, index(1)),)),
    "no buffer": ("temp is not an argument", (store(TEMP, (0,), ONE),)),
    "buffer out of scope": ("temp is not an arg", (If(const(True, BOOL), (Alloc(TEMP),)), store(TEMP, (0,), ONE))),
    "two buffers": ("two buffers are named temp", (Alloc(TEMP), Alloc(TEMP))),
    "another size": ("was declared as", (store(dataclasses.replace(Y, shape=(2, 3)), (0, 0), ONE),)),
    "axes": ("y has 1 axes, and is indexed by 2", (store(Y, (0, 0), ONE),)),
    "index dtype": ("the index `0:i32` has dtype int32", (Store(Y, (const(0, I32),), ONE),)),
    "out of bounds": (r"index `i \+ 4` of axis 0 of y is in \[4, 7\]", (For(I, index(4), (store(Y, (add(I, 4),), ONE),)),)),
    "store dtype": ("the value stored `1` has dtype int64", (store(Y, (0,), index(1)),)),
    "store to input": ("x is written, and is an input", (store(X, (0, 0), ONE),)),
    "store to const": ("fixed is written, and is an const", (store(FIXED, (0,), ONE),)),
    "alloc space": ("arena or local, not 'output'", (Alloc(dataclasses.replace(TEMP, space="output")),)),
    "no such operation": ("`twice` is no scalar operation", (Let(T, Op("twice", (ONE,), F32)),)),
    "arity": ("has 1 operands; `add` takes 2", (Let(T, Op("add", (ONE,), F32)),)),
    "operand dtypes": ("the operand `1` has dtype int64, expected float32", (Let(T, Op("add", (ONE, index(1)), F32)),)),
    "domain": ("`and` does not take float32", (Let(T, Op("and", (ONE, ONE), F32)),)),
    "result dtype": ("has dtype float32, and gives bool", (Let(T, Op("lt", (ONE, ONE), F32)),)),
    "predicate": ("the predicate", (Let(T, Op("select", (ONE, ONE, ONE), F32)),)),
    "bitcast width": ("differ in width", (Let(T, Op("bitcast", (index(1),), F32)),)),
    "constant": ("300 is no int8 constant", (Let(Var("c", dtypes.int8), Const(300, dtypes.int8)),)),
    "extent": ("the extent `1.0:f32` has dtype float32", (For(I, ONE, ()),)),
    "condition": ("the condition `1` has dtype int64", (If(index(1), ()),)),
    "while condition": ("the condition", (While((), index(1), ()),)),
    "carry dtype": ("differ in dtype", (_reduced(None, index(1)),)),
    "carry order": ("carry t of a parallel loop has no `combine`", (_reduced(None, ONE, "parallel"),)),
    "combine": ("cannot combine with 'sub'", (_reduced("sub", Op("sub", (T, ONE), F32)),)),
    "combine form": (r"expected add\(t, ...\)", (_reduced("add", Op("add", (ONE, T), F32)),)),
    "combine reads": ("is read elsewhere", (_reduced("add", Op("add", (T, T), F32)),)),
    "combine reads in body": ("read elsewhere", (_reduced("add", Op("add", (T, ONE), F32), "serial", (store(Y, (I,), T),)),)),
    "result in loop": ("r is used where", (_reduced(None, ONE, "serial", (store(Y, (I,), Var("r", F32)),)),)),
    "site": ("there is no site 7", (Check(const(True, BOOL), 7),)),
    "check values": ("up to three", (Check(const(True, BOOL), 0, (index(1),) * 4),)),
    "tile": ("no tile kernel 'magic'", (Call("magic", (), ()),)),
    "attributes": ("not sorted", (Call("matmul", (), (), (), (("b", 1), ("a", 2))),)),
    "attribute hash": ("cannot be hashed", (Call("matmul", (), (), (), (("a", [1]),)),)),
    "window rank": ("2 sizes and 1 strides", (Call("matmul", (Ref(Y, index(0), (index(1), index(1)), (1,)),), ()),)),
    "window bounds": ("covers 2 to 5", (Call("matmul", (Ref(Y, index(2), (index(4),), (1,)),), ()),)),
    "window written": ("x is written", (Call("matmul", (_all(X),), ()),)),
    "callback in parallel": ("inside a parallel", (For(I, index(4), (Callback(0, (), ()),), "parallel"),)),
    "barrier": ("outside any parallel", (Barrier(),)),
    "vector body": ("a If is inside a vector loop", (For(I, index(4), (If(const(True, BOOL), ()),), "vector"),)),
    "nested vector": ("a vector loop is inside", (For(I, index(4), (For(J, index(4), (), "vector"),), "vector"),)),
    "one element": ("each iteration of a parallel loop stores to one", (For(I, index(4), (store(Y, (0,), ONE),), "parallel"),)),
    "one element through a let": (
        "each iteration",
        (For(I, index(4), (For(J, index(4), (store(Y, (J,), ONE),)),), "parallel"),),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_invalid_routines_are_refused(name: str) -> None:
    message, body = WRONG[name]
    with pytest.raises(InvalidRoutine, match=message):
        check(Routine("wrong", (X,), (FIXED,), (Y,), body, (Site("no"),)), TILES)


def test_errors_name_the_routine_and_the_statement() -> None:
    with pytest.raises(InvalidRoutine, match=r"routine wrong, at `y\[0\] = t`: t is used"):
        check(Routine("wrong", (), (), (Y,), (store(Y, (0,), T),)))
    with pytest.raises(InvalidRoutine, match="is one of the outputs, and its space is 'input'"):
        check(Routine("wrong", (), (), (X,), ()))


def test_what_may_never_run_may_be_out_of_bounds() -> None:
    beyond = store(Y, (9,), ONE)
    for stmt in (If(const(False, BOOL), (beyond,)), For(I, index(0), (beyond,)), While((), const(False, BOOL), (beyond,))):
        check(Routine("guarded", (), (), (Y,), (stmt,)))


def test_independent_stores_pass() -> None:
    one_lane = If(op("eq", I, index(2)), (store(Y, (0,), ONE),))
    through_let = (Let(J, mul(I, 2)), store(Y, (floordiv(J, 2),), ONE))
    scratch = (Alloc(TEMP), store(TEMP, (0,), ONE), store(Y, (I,), load(TEMP, 0)))
    for body in ((one_lane,), through_let, scratch):
        check(Routine("fine", (), (), (Y,), (For(I, index(4), body, "parallel"),)))
    check(Routine("fine", (), (), (Y,), (For(I, index(1), (store(Y, (0,), ONE),), "parallel"),)))


# --- the interpreter ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["serial", "parallel", "vector", "unroll"])
def test_reduction(kind: Any) -> None:
    x = np.arange(32, dtype=np.float32).reshape(4, 8)
    before = x.copy()
    (y,), failure = run(row_sums(kind), [x])
    assert y.tolist() == x.sum(1).tolist() and failure is None and (x == before).all()


def test_every_statement_runs() -> None:
    x, w = np.ones((4, 8), np.float32), np.full((8, 4), 0.25, np.float32)
    seen = []

    def twice(y: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        seen.append(y)
        return [np.full((4, 4), 1.0, np.float32)]

    (y,), failure = run(check(everything()), [x, np.array([2, 3])], [w], [twice])
    assert failure is None and seen[0].shape == (4,)
    np.testing.assert_allclose(y, [np.e] * 4, rtol=1e-6)


def test_carries_advance_together() -> None:
    """Fibonacci: both next values are computed from the previous ones."""
    a, b, out = var("a"), var("b"), Buffer("out", INDEX, (2,), "output")
    ra, rb = var("ra"), var("rb")
    loop = For(I, index(10), (), "serial", (Carry(a, index(0), b, ra), Carry(b, index(1), add(a, b), rb)))
    (result,), _ = run(check(Routine("fib", (), (), (out,), (loop, store(out, (0,), ra), store(out, (1,), rb)))), [])
    assert result.tolist() == [55, 89]
    empty = dataclasses.replace(loop, extent=index(-3))
    (result,), _ = run(Routine("none", (), (), (out,), (empty, store(out, (0,), ra), store(out, (1,), rb))), [])
    assert result.tolist() == [0, 1]


def test_while() -> None:
    """Collatz from 6: the prelude runs once more than the body."""
    state, steps = Buffer("state", INDEX, (), "arena"), Buffer("steps", INDEX, (2,), "output")
    n = var("n")
    half, triple = floordiv(n, 2, {n: (0, 99)}), add(mul(n, 3), 1)
    loop = While(
        (Let(n, load(state)), store(steps, (1,), add(load(steps, 1), 1))),
        op("ne", n, index(1)),
        (
            store(state, (), select(op("eq", mod(n, 2), index(0)), half, triple)),
            store(steps, (0,), add(load(steps, 0), 1)),
        ),
    )
    start = (Alloc(state), store(state, (), index(6)), store(steps, (0,), index(0)), store(steps, (1,), index(0)))
    (result,), _ = run(check(Routine("collatz", (), (), (steps,), (*start, loop))), [])
    assert result.tolist() == [8, 9]


def test_the_recorded_failure_is_the_first_in_program_order() -> None:
    ix, out = Buffer("ix", INDEX, (5,), "input"), Buffer("out", INDEX, (5,), "output")

    def test(site: int, limit: int) -> Stmt:
        return Check(op("lt", load(ix, I), index(limit)), site, (load(ix, I), I))

    body = (For(I, index(5), (test(1, 3), test(0, 5), store(out, (I,), clamp(load(ix, I), 0, 2))), "parallel"),)
    routine = check(Routine("checks", (ix,), (), (out,), body, (Site("a"), Site("b"))))
    for values, expected in [([0, 4, 3, 1, 2], (1, (4, 1))), ([0, 4, 6, 9, 2], (0, (6, 2))), ([0, 0, 0, 0, 0], None)]:
        (result,), failure = run(routine, [np.array(values)])
        assert failure == expected and result.tolist() == [min(v, 2) for v in values]


def test_races_are_found() -> None:
    """Iteration i + 1 reads what iteration i writes: fine one after the other, and no parallel loop."""
    y = Buffer("y", F32, (5,), "output")

    def shift(kind: Any) -> Routine:
        body = (store(y, (add(I, 1),), op("add", load(y, I), ONE)),)
        return check(Routine("shift", (), (), (y,), (store(y, (0,), const(0, F32)), For(I, index(4), body, kind))))

    assert run(shift("serial"), [])[0][0].tolist() == [0, 1, 2, 3, 4]
    for kind in ("parallel", "vector"):
        with pytest.raises(
            InvalidRoutine, match=f"iterations 0 and 1 of `{kind} i < 4 ...` are not independent: .* element 1 of y"
        ):
            run(shift(kind), [])
    assert run(shift("parallel"), [], races=False)[0][0].tolist() == [0, 1, 2, 3, 4]
    # Several readers are no race; a writer of what another iteration has read is.
    late = (If(op("eq", I, index(3)), (store(y, (0,), ONE),)), store(y, (add(I, 1),), load(y, 0)))
    head = store(y, (0,), const(0, F32))
    with pytest.raises(InvalidRoutine, match="are not independent"):
        run(Routine("late", (), (), (y,), (head, For(I, index(4), late, "parallel"))), [])
    assert run(Routine("fine", (), (), (y,), (head, For(I, index(4), late[1:], "parallel"))), [])[0][0].tolist() == [0] * 5


def test_indices_out_of_bounds_are_found() -> None:
    ix = Buffer("ix", INDEX, (), "input")
    routine = check(Routine("gather", (X, ix), (), (Y,), (store(Y, (0,), load(X, load(ix), 0)),)))
    with pytest.raises(InvalidRoutine, match=r"index `ix\[\]` of x, of shape \(4, 8\), is -1"):
        run(routine, [np.zeros((4, 8), np.float32), np.array(-1)])


def test_unwritten_memory_shows() -> None:
    out = Buffer("out", F32, (2,), "output")
    body: tuple[Stmt, ...] = (
        Alloc(TEMP),
        store(TEMP, (0,), ONE),
        store(out, (0,), load(TEMP, 0)),
        store(out, (1,), load(TEMP, 1)),
    )
    (result,), _ = run(check(Routine("undefined", (), (), (out,), body)), [])
    assert result[0] == 1 and np.isnan(result[1])


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="rowsum: 0 inputs given, expected 1"):
        run(row_sums(), [])
    with pytest.raises(ValueError, match=r"x is float64\[4, 8\], expected float32\[4, 8\]"):
        run(row_sums(), [np.zeros((4, 8))])


@pytest.mark.parametrize("dtype", dtypes.FLOATS, ids=lambda d: dtypes.SHORT[d])
def test_arithmetic_in_every_float(dtype: Any) -> None:
    """x * 0.1 + x, rounded after each operation, as NumPy does it."""
    x, y = Buffer("x", dtype, (50,), "input"), Buffer("y", dtype, (50,), "output")
    value = op("add", op("mul", load(x, I), const(0.1, dtype)), load(x, I))
    routine = check(Routine("axpy", (x,), (), (y,), (For(I, index(50), (store(y, (I,), value),), "vector"),)))
    data = np.linspace(-3, 3, 50).astype(dtype)
    (result,), _ = run(routine, [data])
    assert (result == data * np.asarray(0.1, dtype) + data).all() and result.dtype == dtype
