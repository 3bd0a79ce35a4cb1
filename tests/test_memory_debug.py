"""The mode that debugs memory: what touches memory that is not its own is found and named, and programs give what they always give."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from primitive_cases import reference
from test_backends import CASES, CHUNK, joined

import fdl
import fdl.numpy as fnp
from fdl import random
from fdl.backends import stored
from fdl.backends.executable import NativeExecutable
from fdl.backends.llvm import callpath, codegen, emit, guards, inline, run, runtime, target
from fdl.backends.llvm.callpath_plain import PlainDispatcher
from fdl.backends.llvm.fences import POISON, RED, Place
from fdl.backends.llvm.guards import HAS_PAGES, MemoryFaultError
from fdl.backends.loops import ir
from fdl.backends.loops.ir import INDEX, Alloc, Buffer, Call, Const, For, If, Load, Op, Ref, Routine, Space, Stmt, Store, Var
from fdl.backends.loops.plan import apart, plan
from fdl.tracer import dtypes, tree
from fdl.tracer.errors import IndexOutOfBoundsError

ROOT = Path(__file__).resolve().parents[1]
F32 = dtypes.float32
N = 12
I = Var("i", INDEX)  # noqa: E741


@pytest.fixture
def debugging() -> Iterator[None]:
    with fdl.config.using(debug_memory=True):
        yield


def buffer(name: str, space: Space, n: int = N, dtype: Any = F32) -> Buffer:
    return Buffer(name, np.dtype(dtype), (n,), space)


X, OUT, B, C = buffer("x", "input"), buffer("out", "output"), buffer("b", "arena"), buffer("c", "arena")
LOCAL, SCRATCH = buffer("s", "local"), buffer("t", "local", 2000)


def at(n: int) -> tuple[Const]:
    return (Const(n, INDEX),)


def loop(*body: Stmt, n: int = N, kind: ir.Kind = "serial") -> For:
    return For(I, Const(n, INDEX), body, kind)


def copy(to: Buffer, source: Buffer) -> For:
    return loop(Store(to, (I,), Load(source, (I,))))


def write(b: Buffer, n: int) -> Store:
    return Store(b, at(n), Const(1.0, b.dtype))


def routine(*body: Stmt, x: Buffer = X, out: Buffer = OUT) -> Routine:
    return Routine("broken", (x,), (), (out,), body, notes={"b": "model.py:3", "s": "model.py:5", "out": "model.py:7"})


def called(r: Routine, threads: int = 1) -> np.ndarray[Any, Any]:
    """The output of a routine that is compiled and called in guarded memory, on every target that this machine has."""
    for name in target.runnable():
        native = run.native(r, apart(plan(r), RED).offsets, target.named(name), guarded=True)
        out = np.zeros(r.outputs[0].shape, r.outputs[0].dtype)
        assert native.call([np.arange(r.inputs[0].size, dtype=F32)], [out], max_threads=threads).status == runtime.OK
    return out


# --- what is planted is found ---------------------------------------------------------------------

THROUGH_B = Alloc(B), copy(B, X), copy(OUT, B)
THROUGH_C = Alloc(B), Alloc(C), copy(B, X), copy(C, B), copy(OUT, C)
WRITES = [
    ((*THROUGH_B, write(B, N)), "4 bytes after b (float32[12], made at model.py:3) were written, right after its end"),
    ((*THROUGH_B, write(B, -1)), "4 bytes before b (float32[12], made at model.py:3) were written, right before its beginning"),
    ((*THROUGH_B, write(B, N + 5)), "4 bytes after b (float32[12], made at model.py:3) were written, from 20 bytes after its end"),
    ((*THROUGH_C, write(C, -2)), "4 bytes before c (float32[12]) were written, from 4 bytes before its beginning"),
    ((copy(OUT, X), write(OUT, N)), "4 bytes after out (float32[12], made at model.py:7) were written, right after its end"),
    ((copy(OUT, X), write(OUT, -1)), "4 bytes before out (float32[12], made at model.py:7) were written, right before its beginning"),
    ((write(X, -1), copy(OUT, X)), "4 bytes before x (float32[12]) were written, right before its beginning"),
    ((copy(OUT, X), write(X, 2)), "x (float32[12]) was written, which is an argument"),
    ((loop(write(OUT, 0), n=1), loop(Store(OUT, (Op("add", (I, Const(1, INDEX)), INDEX),), Load(X, (I,))))), "4 bytes after out"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "message"), WRITES, ids=range(len(WRITES)))
def test_a_write_outside_is_named(body: tuple[Stmt, ...], message: str) -> None:
    with pytest.raises(MemoryFaultError, match=r"^the compiled program broken: " + re.escape(message)) as caught:
        called(routine(*body))
    assert "test_memory_debug.py" in str(caught.value).split("\n")[-1] and "please report it" in str(caught.value)


@pytest.mark.parametrize("local", [LOCAL, SCRATCH], ids=["stack", "scratch"])
@pytest.mark.parametrize(("shift", "side"), [(0, ""), (-1, "before"), (1, "after")])
@pytest.mark.parametrize("kind", ["driver", "kernel", "branch", "parallel"])
def test_local_buffers_are_fenced(local: Buffer, shift: int, side: str, kind: str) -> None:
    n = local.size
    body: tuple[Stmt, ...] = (
        Alloc(local), write(local, 0), write(local, n - 1 if shift > 0 else 0), write(local, n if shift > 0 else shift),
        Store(OUT, (I,), Load(local, at(0))),
    )  # fmt: skip
    if kind == "driver":
        whole: tuple[Stmt, ...] = (Alloc(local), copy(local, X), write(local, n if shift > 0 else shift), loop(*body[-1:]))
    elif kind == "branch":
        unlucky = Op("eq", (I, Const(7, INDEX)), dtypes.bool_)
        whole = (copy(OUT, X), loop(If(unlucky, body, ())))
    elif kind == "kernel":
        whole = (loop(*body),)
    else:
        big = buffer("out", "output", 200_000)
        body = (*body[:-1], Store(big, (I,), Load(local, at(0))))
        whole = (loop(*body, n=big.size, kind="parallel"),)
        if side:
            with pytest.raises(MemoryFaultError, match=f"4 bytes {side} {local.name} "):
                called(routine(*whole, out=big), threads=0)
            return
        assert (called(routine(*whole, out=big), threads=0) == 1).all()
        return
    if not side:
        assert called(routine(*whole))[7] == 1.0
        return
    made = r"\(float32\[12\], made at model.py:5\)" if local is LOCAL else r"\(float32\[2000\]\)"
    with pytest.raises(MemoryFaultError, match=f"broken: 4 bytes {side} {local.name} {made} were written"):
        called(routine(*whole))


UNWRITTEN = [
    ((loop(Store(OUT, (I,), Load(X, (I,))), n=N - 1),), F32, "at element 11 and 0 more"),
    ((Alloc(B), loop(Store(OUT, (I,), Op("add", (Load(B, (I,)), Load(X, (I,))), F32)))), F32, "at element 0 and 11 more"),
    ((loop(Alloc(LOCAL), Store(OUT, (I,), Load(LOCAL, (I,)))),), F32, "at element 0 and 11 more"),
    ((loop(Alloc(SCRATCH), Store(OUT, (I,), Load(SCRATCH, (I,)))),), F32, "at element 0 and 11 more"),
    ((write(buffer("out", "output", dtype=np.float64), 0),), np.float64, "at element 1 and 10 more"),
    ((write(buffer("out", "output", dtype=np.float16), 1),), np.float16, "at element 0 and 10 more"),
    ((write(buffer("out", "output", dtype=dtypes.bfloat16), 1),), dtypes.bfloat16, "at element 0 and 10 more"),
    ((Store(buffer("out", "output", dtype=bool), at(3), Const(True, dtypes.bool_)),), bool, "at element 0 and 10 more"),
    ((Store(buffer("out", "output", dtype=np.int32), at(0), Const(1, dtypes.int32)),), np.int32, "at run of eight bytes 1 and 4 more"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "dtype", "where"), UNWRITTEN, ids=range(len(UNWRITTEN)))
def test_what_was_never_written_shows(body: tuple[Stmt, ...], dtype: Any, where: str) -> None:
    with pytest.raises(MemoryFaultError, match=rf"out \(.*\) holds what was never written, or comes of it, {where}"):
        called(routine(*body, out=buffer("out", "output", dtype=dtype)))


def test_poison_that_an_input_holds_is_no_fault() -> None:
    r = routine(copy(OUT, X))
    native = run.native(r, {}, target.host(), guarded=True)
    x, out = np.full(N, POISON & 0xFFFFFFFF, np.uint32).view(F32), np.zeros(N, F32)
    native.call([x], [out])
    assert out.tobytes() == x.tobytes()


def test_a_broken_tile_kernel_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel whose hand-written function writes a line behind its scratch; then one that fills its window and an element more."""
    a, b, y = (Buffer(name, F32, (4, 4), space) for name, space in (("a", "input"), ("b", "input"), ("y", "output")))
    window = [Ref(z, Const(0, INDEX), (Const(4, INDEX), Const(4, INDEX)), (4, 1)) for z in (y, a, b)]
    call = Call("matmul", (window[0],), tuple(window[1:]), (), (("accumulate", False),))
    r = Routine("product", (a, b), (), (y,), (loop(call, n=1),))
    true, host = inline.tile_function, target.host()
    eye, out = np.eye(4, dtype=F32), np.zeros((4, 4), F32)
    run.native(r, {}, host, guarded=True).call([eye, eye], [out])
    assert (out == eye).all()
    sizes = "".join(f", i64 %n{k}" for k in range(6))
    for stray, where, fault in (
        ("getelementptr i8, ptr %scratch, i64 64", "%p", "1 byte after the scratch of matmul (64 bytes) was written"),
        ("getelementptr float, ptr %y, i64 16", "%p", "1 byte after y (float32[4, 4]) was written, right after its end"),
    ):
        text = f"define internal void @wrong(ptr %scratch, ptr %y, ptr %a, ptr %b{sizes}) {{\n  %p = {stray}\n"
        fill = "".join(f"  %y{k} = getelementptr float, ptr %y, i64 {k}\n  store float 1.0, ptr %y{k}\n" for k in range(16))
        text += f"{fill}  store i8 7, ptr {where}\n  ret void\n}}"

        def wrong(stmt: Call, t: target.Target, text: str = text) -> Any:
            found = true(stmt, t)
            assert found is not None
            return replace(found, symbol="wrong", parts={"wrong": text}, declares=(), scratch_bytes=64, shared={})

        monkeypatch.setattr(inline, "tile_function", wrong)
        with pytest.raises(MemoryFaultError, match="product: " + re.escape(fault)):
            run.native(r, {}, host, guarded=True).call([eye, eye], [out])


READ_BEYOND = """
    import numpy as np
    from test_memory_debug import *
    r = routine(copy(OUT, X), Store(OUT, at(0), Load(X, at(N))))
    native = run.native(r, {}, target.host(), guarded=GUARDED)
    out = np.zeros(N, np.float32)
    native.call([np.zeros(N + 1, np.float32)[:N]], [out])
    print("survived")
"""


@pytest.mark.skipif(not HAS_PAGES, reason="this system has no mprotect")
def test_a_read_beyond_an_input_ends_the_process_where_it_happens() -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]), "FDL_CACHE_DIR": ""}
    for guarded in (False, True):
        code = textwrap.dedent(READ_BEYOND).replace("GUARDED", str(guarded))
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
        if not guarded:
            assert done.returncode == 0 and "survived" in done.stdout, done.stderr
            continue
        assert done.returncode in (-signal.SIGSEGV, -signal.SIGBUS) and "survived" not in done.stdout
        # The stack that Python prints ends in the caller's line.
        assert "Segmentation fault" in done.stderr or "Bus error" in done.stderr
        assert 'File "<string>", line 7 in <module>' in done.stderr


# --- memory ---------------------------------------------------------------------------------------


def test_inputs_end_where_a_closed_page_begins() -> None:
    places = [Place(f"in{k}", "uint8[]", n) for k, n in enumerate((0, 1, 4096, 4097, 12))]
    layout = guards.Layout("p", tuple(places), (Place("out0", "uint8[]", 100),), (Place("b", "uint8[]", 65, "", 0),), 65)
    memory = guards.Memory(layout, {})
    for p, x in zip(places, memory.inputs, strict=True):
        assert x.size == p.nbytes and (x.ctypes.data + x.size) % guards.PAGE == 0
    assert memory.outputs[0].ctypes.data % 64 == 0 and memory.arena % 64 == 0
    assert memory.outputs[0].tobytes() == (POISON.to_bytes(8, "little") * 13)[:100]
    assert memory.damage() == []
    memory.outputs[0][...] = 0
    assert memory.damage() == []
    shared = guards.Memory(replace(layout, outputs=(Place("out0", "uint8[]", 4096),)), {0: 2})
    assert shared.inputs[2].ctypes.data == shared.outputs[0].ctypes.data


def test_a_plan_apart_leaves_room_around_every_buffer() -> None:
    small = Buffer("small", np.dtype(np.int8), (3,), "arena")
    r = routine(Alloc(B), Alloc(small), Alloc(C), copy(B, X), write(small, 0), copy(C, B), copy(OUT, C))
    planned = plan(r)
    assert planned.offsets["c"] == planned.offsets["b"]
    found = apart(planned, RED)
    spans = sorted((e.offset, e.offset + e.nbytes) for e in found.entries)
    assert all(begin % 64 == 0 for begin, _ in spans) and spans[0][0] >= RED and found.nbytes >= spans[-1][1] + RED
    assert all(b - a >= 2 * RED for (_, a), (b, _) in itertools.pairwise(spans))


# --- programs -------------------------------------------------------------------------------------


def step(w: Any, batch: Any) -> Any:
    x, y = batch

    def loss(w: Any) -> Any:
        return fnp.mean((fnp.tanh(x @ w["a"] + w["b"]) @ w["c"] - y) ** 2)

    value, grads = fdl.value_and_grad(loss)(w)
    return {k: w[k] - 0.1 * grads[k] for k in w}, value


def test_a_training_loop_gives_the_same_bits() -> None:
    keys = random.split(random.key(0), 5)
    w = {
        "a": random.normal(keys[0], (30, 40)),
        "b": fnp.zeros(40),
        "c": random.normal(keys[1], (40, 7)),
    }
    data = random.normal(keys[2], (6, 50, 30)), random.normal(keys[3], (6, 50, 7))
    epoch = fdl.jit(lambda w, data: fdl.scan(step, w, data))
    plain = epoch(w, data)
    with fdl.config.using(debug_memory=True):
        for _ in range(2):
            guarded = epoch(w, data)
    again = epoch(w, data)
    for a, b, c in zip(*(tree.leaves(x) for x in (plain, guarded, again)), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes() == np.asarray(c).tobytes()


def test_calls_of_every_kind(debugging: None) -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    f = fdl.jit(lambda x, i: x[i].sum())
    assert [float(f(x, i)) for i in (0, 2, -1)] == [6.0, 38.0, 38.0]
    with pytest.raises(IndexOutOfBoundsError, match="index 3 is out of bounds for axis 0 of size 3"):
        f(x, 3)
    update = fdl.jit(lambda x: x.at[1].set(0.0), donate_argnums=0)
    a = fnp.asarray(x)
    b = update(a)
    assert a.is_deleted() and float(b.sum()) == 66 - 22
    inner = fdl.jit(lambda v: v * 2)
    back = fdl.jit(lambda v: fdl.pure_callback(lambda u: np.asarray(inner(u)), v, v) + 1.0)
    np.testing.assert_array_equal(back(x), 2 * x + 1)
    bad = fdl.jit(lambda v: fdl.pure_callback(lambda u: 1 / 0, v, v) + 1.0)
    with pytest.raises(ZeroDivisionError):
        bad(x)
    np.testing.assert_array_equal(np.sort(x[::-1], axis=0), fnp.sort(fnp.asarray(x[::-1]), axis=0))  # outside of jit
    assert fdl.jit(lambda v: ())(x) == () and fdl.jit(lambda v: v[:, :0])(x).shape == (3, 0)


def test_several_threads_call_at_once(debugging: None) -> None:
    f = fdl.jit(lambda x: fnp.sort(x @ x.T, axis=1).sum(axis=0))
    x = np.random.default_rng(0).normal(size=(60, 40)).astype(np.float32)
    expected, wrong = np.asarray(f(x)).tobytes(), []

    def work() -> None:
        for _ in range(20):
            if np.asarray(f(x)).tobytes() != expected:
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_a_call_can_be_interrupted(debugging: None) -> None:
    forever = fdl.jit(lambda x: fdl.while_loop(lambda c: c[0] >= 0, lambda c: (c[0] + 1 - c[0], fnp.cos(c[1])), (0, x)))
    before = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    try:
        with pytest.raises(KeyboardInterrupt):
            forever(1.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_the_call_path_without_native_code(debugging: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callpath, "dispatcher_type", lambda: PlainDispatcher)
    x = np.arange(20, dtype=np.float32).reshape(4, 5)
    program = fdl.make_ir(lambda x: (x.at[0].set(x[1]), fnp.sort(x @ x.T, axis=0)))(x)
    executable = NativeExecutable(program, donated=(0,))
    for _ in range(2):
        first, second = executable([x])
        assert np.array_equal(first[0], x[1]) and np.array_equal(first[1:], x[1:])
        assert np.array_equal(second, np.sort(x @ x.T, axis=0)) and type(executable._flat) is PlainDispatcher


def test_a_fault_reaches_the_caller_of_a_jitted_function(debugging: None, monkeypatch: pytest.MonkeyPatch) -> None:
    true = emit.emit_routine

    def stray(r: Routine, *args: Any, **options: Any) -> Any:
        out = r.outputs[0]
        return true(replace(r, body=(*r.body, Store(out, at(out.size), Const(0.0, out.dtype)))), *args, **options)

    monkeypatch.setattr(run, "emit_routine", stray)
    f = fdl.jit(lambda x: {"a": fnp.tanh(x) * 3.25})
    for _ in range(2):  # the second one by an entry of the call path
        with pytest.raises(MemoryFaultError, match=r"4 bytes after out0 \(float32\[5\]"):
            f(np.ones(5, np.float32))


# --- the mode -------------------------------------------------------------------------------------


def test_the_mode_is_off_and_costs_nothing_then() -> None:
    with fdl.config.using(debug_memory=False):
        plain = NativeExecutable(fdl.make_ir(lambda x: fnp.sort(x, axis=0) @ x)(np.ones((70, 70))))
        assert plain.variant == plain.backend == "llvm"
        assert plain.native.guard is None and plain.native.entry == plain.native.address
        assert plain.compiled.module.layout is None
    r = plain.routine
    offsets = plan(r).offsets
    assert "fence" not in "".join(emit.emit_routine(r, offsets, plain.target).texts)
    assert "fdl_fence_check" in "".join(emit.emit_routine(r, apart(plan(r), RED).offsets, plain.target, fenced=True).texts)


def test_settings() -> None:
    code = (
        "import fdl, fdl.numpy as n; from fdl.backends.modes import MODES; print(fdl.config.debug_memory, MODES.debug_memory)"
    )
    for value, printed in (("1", "True True"), ("0", "False False"), ("", "False False")):
        env = {**os.environ, "FDL_DEBUG_MEMORY": value}
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
        assert done.stdout.strip() == printed, done.stderr
    with pytest.raises(ValueError, match=r"config\.debug_memory: expected one of True, False, got 'yes'"):
        fdl.config.debug_memory = "yes"  # type: ignore[assignment]


def test_a_function_follows_the_mode() -> None:
    f = fdl.jit(lambda x: fnp.sqrt(x) + 17.5)
    x = np.ones(9, np.float32)

    def backend() -> str:
        f(x)
        (traced,) = f._core.traces.values()
        return str(traced.executable.variant)

    with fdl.config.using(debug_memory=False):
        assert backend() == "llvm"
        with fdl.config.using(debug_memory=True):
            assert backend() == "llvm, guarded" and f.trace_count == 1
            with fdl.config.using(backend="reference"):
                assert backend() == "reference"
        assert backend() == "llvm"


def test_guarded_objects_are_stored_under_keys_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = fdl.make_ir(lambda x: fnp.cumsum(fnp.exp(x) * 4.5)[3:])(np.ones(40, np.float32))
    host = target.host()
    assert stored.key_of(program, host, ()) != stored.key_of(program, host, (), True)
    monkeypatch.setenv("FDL_CACHE_DIR", str(tmp_path / "objects"))
    made: list[int] = []
    true = codegen._object
    monkeypatch.setattr(codegen, "_object", lambda *args: made.append(1) or true(*args))
    first = NativeExecutable(program, guarded=True)
    count = len(made)
    second = NativeExecutable(program, guarded=True)
    assert count and len(made) == count and second.compiled.module.layout == first.compiled.module.layout
    plain = NativeExecutable(program, guarded=False)
    assert len(made) > count and plain.native.guard is None
    x = np.linspace(0, 1, 40, dtype=np.float32)
    assert len({np.asarray(e([x])[0]).tobytes() for e in (first, second, plain)}) == 1


# --- every primitive ------------------------------------------------------------------------------


# The whole table runs in this mode with `make test-matrix`.
FIRST = list({c.row.primitive.name: c for c in reversed(CASES)}.values())[::-1]


@pytest.mark.parametrize("first", range(0, len(FIRST), CHUNK))
def test_every_primitive_keeps_to_its_memory(first: int) -> None:
    chosen = FIRST[first : first + CHUNK]
    program, values, counts = joined(chosen)
    results = iter(NativeExecutable(program, guarded=True)(values))
    for case, count in zip(chosen, counts, strict=True):
        actual = [np.asarray(next(results)) for _ in range(count)]
        expected = reference(case, case.inputs())
        case.check(*((actual, expected) if case.row.primitive.multiple else (actual[0], expected[0])))
