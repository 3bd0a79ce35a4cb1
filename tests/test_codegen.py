"""Object files of several texts at once, and modules in parts."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl.backends import cache
from fdl.backends.executable import NativeExecutable
from fdl.backends.llvm import codegen, emit, shared, target
from fdl.backends.llvm.engine import Loaded
from fdl.backends.llvm.tiles import Shared
from fdl.backends.loops.pipeline import pipeline
from fdl.backends.loops.plan import plan

HOST = target.host()
TEXTS = [
    f"define i32 @f{i}(i32 %x) {{\n  %y = mul i32 %x, {i}\n  %z = add i32 %y, {i % 3}\n  ret i32 %z\n}}\n" for i in range(9)
]


def object_codes(texts: Sequence[str], of: target.Target, *, threads: int = 1) -> list[bytes]:
    """The object file of each text, made by up to so many threads."""
    with codegen.Batch(of, threads=threads) as batch:
        for text in texts:
            batch.add(text)
        return batch.finish()


@pytest.mark.parametrize("threads", [1, 2, 4, 20])
def test_objects_do_not_depend_on_the_threads(threads: int) -> None:
    before = threading.active_count()
    assert object_codes(TEXTS, HOST, threads=threads) == [codegen.object_code(text, HOST) for text in TEXTS]
    assert threading.active_count() == before


def test_without_the_way_around_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = object_codes(TEXTS, HOST, threads=2)
    assert codegen._emit_unlocked is not None, "this llvmlite hides the function: objects are made one after the other"
    monkeypatch.setattr(codegen, "_emit_unlocked", None)
    assert object_codes(TEXTS, HOST, threads=2) == fast


@pytest.mark.parametrize("bad", [0, 4, 8])
def test_a_text_that_is_rejected_is_an_error(bad: int) -> None:
    texts = [*TEXTS[:bad], "define i32 @f(i32 %x) { ret i64 %x }", *TEXTS[bad + 1 :]]
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="LLVM IR parsing error"):
        object_codes(texts, HOST, threads=3)
    assert threading.active_count() == before
    assert object_codes(TEXTS[:2], HOST, threads=2) == [codegen.object_code(text, HOST) for text in TEXTS[:2]]


def test_no_texts() -> None:
    assert object_codes([], HOST, threads=2) == []


def test_threads_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert object_codes(TEXTS, HOST, threads=4) == [codegen.object_code(text, HOST) for text in TEXTS]


def test_interrupts_wait_for_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt while the caller waits is raised when no thread works any more."""
    main, plain = threading.main_thread(), codegen._object
    begun, joined = threading.Event(), []

    def slow(text: str, *args: object) -> bytes:
        if threading.current_thread() is main:
            assert begun.wait(10)
        else:
            begun.set()
        return plain(text, *args)  # type: ignore[arg-type]

    join = threading.Thread.join

    def interrupted(self: threading.Thread, timeout: float | None = None) -> None:
        joined.append(self)
        if len(joined) == 1:
            raise KeyboardInterrupt
        join(self, timeout)

    monkeypatch.setattr(codegen, "_object", slow)
    monkeypatch.setattr(threading.Thread, "join", interrupted)
    monkeypatch.setattr(threading.Thread, "is_alive", lambda self: len(joined) < 2)
    with pytest.raises(KeyboardInterrupt):
        object_codes(TEXTS, HOST, threads=2)
    assert len(joined) == 2


def test_texts_are_compiled_while_others_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, begun = codegen._object, threading.Event()

    def noted(text: str, *args: object) -> bytes:
        if text == TEXTS[0]:
            begun.set()
        return plain(text, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(codegen, "_object", noted)
    before = threading.active_count(), sys.getswitchinterval()
    with codegen.Batch(HOST, threads=2) as batch:
        batch.add(TEXTS[0])
        assert begun.wait(10) and threading.active_count() == before[0] + 1
        for text in TEXTS[1:]:
            batch.add(text)
        assert batch.finish() == [plain(text, HOST, 3) for text in TEXTS]
    assert (threading.active_count(), sys.getswitchinterval()) == before


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_an_error_while_texts_are_written_leaves_nothing_behind(threads: int) -> None:
    before = threading.active_count(), sys.getswitchinterval()
    with pytest.raises(KeyError), codegen.Batch(HOST, threads=threads) as batch:
        for text in TEXTS:
            batch.add(text)
        raise KeyError
    assert (threading.active_count(), sys.getswitchinterval()) == before
    assert object_codes(TEXTS[:2], HOST) == [codegen.object_code(text, HOST) for text in TEXTS[:2]]


def test_memory_goes_back_to_the_system_once_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr(codegen, "_trim", lambda pad: left.append(threading.active_count()))
    before = threading.active_count()
    for texts in (TEXTS, []):  # nothing is free where nothing was compiled
        object_codes(texts, HOST, threads=2)
    assert left == [before]


def test_an_interval_that_is_set_meanwhile_stays() -> None:
    before = sys.getswitchinterval()
    try:
        with codegen.Batch(HOST, threads=2):
            sys.setswitchinterval(0.02)
        assert sys.getswitchinterval() == pytest.approx(0.02)
    finally:
        sys.setswitchinterval(before)


def test_a_shared_function_is_written_where_there_is_no_object_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the same micro-kernels for other shapes: the second program's are not even written."""
    written: list[str] = []
    module = Shared.module
    monkeypatch.setattr(Shared, "module", lambda self: written.append(self.name) or module(self))
    monkeypatch.setattr(shared, "_HELD", {})
    monkeypatch.setattr(cache, "store", lambda: None)
    for k in (70, 50, 30):
        x, y = np.ones((26, k), np.float32), np.ones((k, 16), np.float32)
        (z,) = NativeExecutable(fdl.make_ir(fnp.matmul)(x, y))([x, y])
        np.testing.assert_array_equal(z, x @ y)
        assert bool(written) == (k == 70), written
        assert all(name.startswith("fdl_") for name in written)
        written.clear()


def _long(x: fdl.Array) -> tuple[fdl.Array, ...]:
    """Nests of different kinds, more text than one part of a module has."""
    found = []
    for i in range(12):
        y = fnp.tanh(x * (i + 0.5)) @ fnp.cos(x.T) / 70
        x = x + fnp.sin(y)[:, : x.shape[1]] * fnp.linspace(0, 1, x.shape[1])
        found.append(x.sum(axis=i % 2))
    return tuple(found)


def test_a_long_program_is_in_parts_that_are_linked() -> None:
    x = np.linspace(-1, 1, 90 * 70, dtype=np.float32).reshape(90, 70)
    program = fdl.make_ir(_long)(x)
    routine, _ = pipeline(program)
    emitted = emit.emit_routine(routine, plan(routine).offsets, HOST)
    assert len(emitted.texts) > 2
    sizes = [len(text) for text in emitted.texts]
    assert max(sizes) < 4 * min(sizes), sizes
    assert sum(text.count(f"define i32 @{emitted.symbol}(") for text in emitted.texts) == 1
    whole = "".join(emitted.texts)
    for symbol in {line.split("(")[0] for line in whole.splitlines() if line.startswith("define hidden void @")}:
        assert whole.count(symbol + "(") == 1, symbol
    with fdl.config.using(debug_memory=False):  # fences make the text longer
        assert len(NativeExecutable(program).compiled.module.objects) == len(emitted.texts)
    with fdl.config.using(backend="reference"):
        expected = fdl.jit(lambda x: _long(x))(x)
    for y, z in zip(fdl.jit(_long)(x), expected, strict=True):
        np.testing.assert_allclose(y, z, rtol=1e-4, atol=1e-4)


def test_a_short_program_is_one_text() -> None:
    routine, _ = pipeline(fdl.make_ir(lambda x: x * 2)(np.ones(3)))
    (text,) = emit.emit_routine(routine, {}, HOST).texts
    assert "hidden" not in text


def test_parts_are_loaded_together() -> None:
    first = "declare hidden i32 @g(i32)\ndefine i32 @f(i32 %x) {\n  %y = call i32 @g(i32 %x)\n  ret i32 %y\n}\n"
    second = "define hidden i32 @g(i32 %x) {\n  %y = add i32 %x, 1\n  ret i32 %y\n}\n"
    assert Loaded(object_codes([first, second], HOST, threads=2), {}, ["f"], ()).address("f")
