"""The native runtime: the split of parallel loops, scratch, errors, polling, forks, exits, and recycled memory."""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdl.backends.llvm import pool, runtime
from fdl.backends.llvm.engine import Loaded

ROOT = Path(__file__).resolve().parents[1]
LINUX = sys.platform.startswith("linux")
VARIANTS = ("linux", "posix") if LINUX else (runtime.system(),)

BODIES = """
declare void @fdl_parallel(ptr, ptr, ptr, i64, i64, i64)
declare ptr @fdl_scratch(i64)
declare void @fdl_fail(ptr, i64, i64, i64, i64, i64)
declare i32 @fdl_poll(ptr)

; ctx[i] += 1 for each iteration; ctx[1000000 + begin] = end; the scratch block is filled and read back.
define void @count(ptr %ctx, i64 %begin, i64 %end, ptr %scratch) {
entry:
  %spans = getelementptr i64, ptr %ctx, i64 1000000
  %span = getelementptr i64, ptr %spans, i64 %begin
  store i64 %end, ptr %span
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %i1, %loop ]
  store volatile i64 %i, ptr %scratch
  %back = load volatile i64, ptr %scratch
  %p = getelementptr i64, ptr %ctx, i64 %back
  %v = load i64, ptr %p
  %v1 = add i64 %v, 1
  store i64 %v1, ptr %p
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}

; Each chunk notes its scratch block and waits (boundedly) until two chunks are inside at once: two threads.
define void @meet(ptr %ctx, i64 %begin, i64 %end, ptr %scratch) {
entry:
  %noted = getelementptr i64, ptr %ctx, i64 8
  %slot = getelementptr i64, ptr %noted, i64 %begin
  %address = ptrtoint ptr %scratch to i64
  store i64 %address, ptr %slot
  call void @control(ptr %ctx, i64 %begin)
  %mine = atomicrmw add ptr %ctx, i64 1 seq_cst
  br label %spin
spin:
  %i = phi i64 [ 0, %entry ], [ %i1, %spin ]
  %i1 = add i64 %i, 1
  %n = load atomic i64, ptr %ctx seq_cst, align 8
  %both = icmp sge i64 %n, 2
  %late = icmp sgt i64 %i1, 2000000000
  %stop = or i1 %both, %late
  br i1 %stop, label %done, label %spin
done:
  ret void
}

; ctx: 0 frame, 1 counter. Three levels of loops, each with scratch that must survive the inner one.
define void @outer(ptr %ctx, i64 %begin, i64 %end, ptr %scratch) {
  store volatile i64 %begin, ptr %scratch
  %frame = load ptr, ptr %ctx
  %own = call ptr @fdl_scratch(i64 128)
  store volatile i64 %end, ptr %own
  call void @fdl_parallel(ptr %frame, ptr @inner, ptr %ctx, i64 10, i64 3, i64 100000)
  %a = load volatile i64, ptr %scratch
  %b = load volatile i64, ptr %own
  %c1 = icmp eq i64 %a, %begin
  %c2 = icmp eq i64 %b, %end
  %c = and i1 %c1, %c2
  %k = select i1 %c, i64 1000, i64 0
  %counter = getelementptr i64, ptr %ctx, i64 1
  %old = atomicrmw add ptr %counter, i64 %k seq_cst
  ret void
}
define void @inner(ptr %ctx, i64 %begin, i64 %end, ptr %scratch) {
  %own = call ptr @fdl_scratch(i64 200000)
  store volatile i64 7, ptr %own
  store volatile i64 8, ptr %scratch
  %n = sub i64 %end, %begin
  %counter = getelementptr i64, ptr %ctx, i64 1
  %old = atomicrmw add ptr %counter, i64 %n seq_cst
  ret void
}

; ctx: 0 frame. Every third iteration from 50 on fails, at site 2 before 70 and at site 1 from 70 on.
define void @failing(ptr %ctx, i64 %begin, i64 %end, ptr %scratch) {
entry:
  %frame = load ptr, ptr %ctx
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %i1, %next ]
  %m = urem i64 %i, 3
  %third = icmp eq i64 %m, 0
  %late = icmp sge i64 %i, 50
  %bad = and i1 %third, %late
  br i1 %bad, label %fail, label %next
fail:
  %early = icmp slt i64 %i, 70
  %site = select i1 %early, i64 2, i64 1
  %minus = sub i64 0, %i
  call void @fdl_fail(ptr %frame, i64 %site, i64 %i, i64 %i, i64 %minus, i64 5)
  br label %next
next:
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}

; A serial program that ends only when it is told to stop.
define i32 @endless(ptr %frame, ptr %buffers) {
entry:
  %progress = getelementptr i64, ptr %frame, i64 8
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %i1, %loop ]
  %i1 = add i64 %i, 1
  store atomic i64 %i1, ptr %progress monotonic, align 8
  %status = call i32 @fdl_poll(ptr %frame)
  %stop = icmp ne i32 %status, 0
  br i1 %stop, label %done, label %loop
done:
  ret i32 2
}

; buffers: 0 ctx. One parallel loop of very many slow chunks, and no back-edge of its own: it returns 0.
define i32 @wide(ptr %frame, ptr %buffers) {
  %ctx = load ptr, ptr %buffers
  call void @fdl_parallel(ptr %frame, ptr @slow, ptr %ctx, i64 1000000000, i64 1, i64 0)
  ret i32 0
}
define void @slow(ptr %ctx, i64 %begin, i64 %end, ptr %scratch) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %i1, %loop ]
  %i1 = add i64 %i, 1
  store volatile i64 %i1, ptr %scratch
  %more = icmp slt i64 %i1, 300000
  br i1 %more, label %loop, label %done
done:
  ret void
}

; Calls back slot 3 with the buffers; holds scratch meanwhile.
define i32 @calling(ptr %frame, ptr %buffers) {
  %own = call ptr @fdl_scratch(i64 64)
  store volatile i64 77, ptr %own
  %cell = getelementptr i64, ptr %frame, i64 10
  %callback = load ptr, ptr %cell
  %status = call i32 %callback(ptr %frame, i64 3, ptr %buffers)
  %v = load volatile i64, ptr %own
  %kept = icmp eq i64 %v, 77
  %zero = icmp eq i32 %status, 0
  %code = select i1 %zero, i32 0, i32 3
  %result = select i1 %kept, i32 %code, i32 9
  ret i32 %result
}

define i32 @dirty(ptr %frame, ptr %buffers) {
  %own = call ptr @fdl_scratch(i64 64)
  store volatile i64 0, ptr %own
  ret i32 0
}
"""

_CONTROL_X86 = """
declare void @llvm.x86.sse.stmxcsr(ptr)
define void @control(ptr %ctx, i64 %index) {
  %cells = getelementptr i64, ptr %ctx, i64 16
  %cell = getelementptr i64, ptr %cells, i64 %index
  call void @llvm.x86.sse.stmxcsr(ptr %cell)
  ret void
}
"""
_CONTROL_NONE = "define void @control(ptr %ctx, i64 %index) {\n  ret void\n}\n"


@functools.cache
def loaded(variant: str) -> tuple[runtime.Runtime, Loaded]:
    lib = runtime.host() if variant == runtime.system() else runtime.Runtime(variant)  # type: ignore[arg-type]
    control = _CONTROL_X86 if runtime.architecture() == "x86_64" else _CONTROL_NONE
    return lib, runtime.load_forever(BODIES + control, lib.symbols())


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> Iterator[str]:
    lib, _ = loaded(request.param)
    before = lib.get_num_threads()
    yield request.param
    lib.set_num_threads(before)


def parallel(variant: str, body: str, ctx: int, n: int, grain: int, scratch: int = 0, **options: Any) -> Any:
    lib, module = loaded(variant)
    frame = runtime.new_frame(**options)
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, *[ctypes.c_int64] * 3)(lib.symbols()["fdl_parallel"])
    if body in ("failing", "outer"):
        ctypes.c_int64.from_address(ctx).value = ctypes.addressof(frame)
    function(ctypes.addressof(frame), module.address(body), ctx, n, grain, scratch)
    return frame


def count(variant: str, n: int, grain: int, **options: Any) -> np.ndarray[Any, Any]:
    """Runs `count`, checks that each iteration ran once, and returns the spans {begin: end} as an array."""
    ctx = np.zeros(1_000_000 + max(n, 1), np.int64)
    parallel(variant, "count", ctx.ctypes.data, n, grain, **options)
    assert (ctx[:n] == 1).all() and (ctx[n:1_000_000] == 0).all()
    return ctx[1_000_000:]


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize(("n", "grain"), [(0, 4), (1, 4), (7, 4), (8, 4), (1000, 1), (1001, 10), (5, 100), (3, 0)])
def test_every_iteration_runs_once_in_the_same_split(variant: str, threads: int, n: int, grain: int) -> None:
    loaded(variant)[0].set_num_threads(threads)
    for _ in range(8):
        spans = count(variant, n, grain, scratch=1000)
        step = max(grain, 1)
        assert {b: int(e) for b, e in enumerate(spans) if e} == {b: min(b + step, n) for b in range(0, n, step)}


@settings(max_examples=30, deadline=None)
@given(n=st.integers(0, 5000), grain=st.integers(1, 700), threads=st.integers(1, 6), limit=st.integers(0, 8))
def test_split_for_any_numbers(n: int, grain: int, threads: int, limit: int) -> None:
    lib = runtime.host()
    before = lib.get_num_threads()
    lib.set_num_threads(threads)
    try:
        spans = count(runtime.system(), n, grain, max_threads=limit)
        assert {b: int(e) for b, e in enumerate(spans) if e} == {b: min(b + grain, n) for b in range(0, n, grain)}
    finally:
        lib.set_num_threads(before)


def test_two_threads_take_part_each_with_its_scratch_and_control_word(variant: str) -> None:
    loaded(variant)[0].set_num_threads(2)
    for _ in range(20):
        ctx = np.zeros(32, np.int64)
        parallel(variant, "meet", ctx.ctypes.data, 2, 1, 5000)
        assert ctx[0] == 2
        assert ctx[8] != ctx[9] and ctx[8] % 64 == 0 and ctx[9] % 64 == 0
        if runtime.architecture() == "x86_64":
            assert ((ctx[16:18] & 0xFFC0) == 0x1F80).all()


def test_a_thread_goes_through_neighbouring_chunks(variant: str) -> None:
    """The caller's chunks are the first ones, and the worker's the last: what a core wrote, it meets again in the next loop."""
    loaded(variant)[0].set_num_threads(2)
    for _ in range(20):
        ctx = np.zeros(32, np.int64)
        parallel(variant, "meet", ctx.ctypes.data, 8, 1, 5000)
        by = ctx[8:16]
        first = int((by == by[0]).sum())
        assert 0 < first < 8 and (by[:first] == by[0]).all() and len(set(by[first:].tolist())) == 1


def test_workers_wake_after_sleeping(variant: str) -> None:
    loaded(variant)[0].set_num_threads(2)
    for _ in range(5):
        time.sleep(0.01)  # far longer than the spin
        ctx = np.zeros(32, np.int64)
        parallel(variant, "meet", ctx.ctypes.data, 2, 1)
        assert ctx[0] == 2


def test_nested_loops_run_serially_and_keep_their_scratch(variant: str) -> None:
    for threads in (1, 3):
        loaded(variant)[0].set_num_threads(threads)
        for _ in range(10):
            ctx = np.zeros(4, np.int64)
            parallel(variant, "outer", ctx.ctypes.data, 6, 1, 64)
            assert ctx[1] == 6 * 10 + 6 * 1000


def test_concurrent_callers(variant: str) -> None:
    loaded(variant)[0].set_num_threads(2)
    errors: list[BaseException] = []

    def work(grain: int) -> None:
        try:
            for _ in range(150):
                spans = count(variant, 2000, grain, scratch=grain * 8)
                assert np.count_nonzero(spans) == -(-2000 // grain)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(grain,)) for grain in (1, 7, 64, 500)]
    for t in threads:
        t.start()
    for k in range(30):  # while they run
        loaded(variant)[0].set_num_threads(1 + k % 4)
    for t in threads:
        t.join(60)
    assert not errors and not any(t.is_alive() for t in threads)


def test_the_lowest_site_then_iteration_is_recorded(variant: str) -> None:
    loaded(variant)[0].set_num_threads(4)
    for grain in (1, 7, 100):
        for _ in range(20):
            ctx = np.zeros(1, np.int64)
            frame = parallel(variant, "failing", ctx.ctypes.data, 1000, grain)
            assert runtime.error_record(frame) == (1, (72, -72, 5))
            frame = parallel(variant, "failing", ctx.ctypes.data, 70, grain)
            assert runtime.error_record(frame) == (2, (51, -51, 5))
    with pytest.raises(ValueError, match="no failed check"):
        runtime.error_record(runtime.new_frame())


def entry(name: str) -> int:
    return loaded(runtime.system())[1].address(name)


def test_stop_from_another_thread_and_progress() -> None:
    frame = runtime.new_frame()
    timer = threading.Timer(0.1, runtime.stop, [frame])
    timer.start()
    begin = time.perf_counter()
    assert runtime.call(entry("endless"), frame, []) == runtime.STOPPED
    assert time.perf_counter() - begin < 5
    assert runtime.progress(frame) > 1000
    timer.join()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timer")
@pytest.mark.parametrize("name", ["endless", "wide"])
@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_stops_a_running_program(name: str, threads: int) -> None:
    """Also one that is a single parallel loop: its chunks are skipped and the status says so."""
    lib = runtime.host()
    before = lib.get_num_threads()
    lib.set_num_threads(threads)
    frame = runtime.new_frame()
    ctx = np.zeros(1, np.int64)
    old = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    begin = time.perf_counter()
    try:
        with pytest.raises(KeyboardInterrupt):
            runtime.call(entry(name), frame, [ctx.ctypes.data])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        lib.set_num_threads(before)
    assert time.perf_counter() - begin < 3
    assert frame[7] != 0


def test_callbacks_may_run_programs_and_their_exceptions_are_kept() -> None:
    seen = []

    def function(slot: int, pointers: int) -> None:
        seen.append((slot, ctypes.c_int64.from_address(pointers).value))
        for release in (True, False):
            assert runtime.call(entry("dirty"), runtime.new_frame(), [], release=release) == runtime.OK
        if len(seen) > 1:
            raise ValueError("from the callback")

    callback = runtime.Callback(function)
    assert runtime.call(entry("calling"), runtime.new_frame(callback=callback.address), [1234]) == runtime.OK
    assert callback.take_exception() is None
    assert runtime.call(entry("calling"), runtime.new_frame(callback=callback.address), [1235]) == runtime.RAISED
    assert seen == [(3, 1234), (3, 1235)]
    assert str(callback.take_exception()) == "from the callback"
    assert callback.take_exception() is None


def test_number_of_threads() -> None:
    before = runtime.get_num_threads()
    try:
        runtime.set_num_threads(3)
        assert runtime.get_num_threads() == 3
        for bad in (0, -1, 5000):
            with pytest.raises(ValueError, match="expected 1 to 4095 threads"):
                runtime.set_num_threads(bad)
        for wrong in (2.0, "2", True, None):
            with pytest.raises(TypeError, match="expected an int"):
                runtime.set_num_threads(wrong)  # type: ignore[arg-type]
        assert runtime.get_num_threads() == 3
    finally:
        runtime.set_num_threads(before)


def test_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FDL_NUM_THREADS", "7")
    assert runtime.default_num_threads() == 7
    monkeypatch.setenv("FDL_NUM_THREADS", "many")
    with pytest.raises(ValueError, match="FDL_NUM_THREADS='many': expected a whole number"):
        runtime.default_num_threads()
    monkeypatch.delenv("FDL_NUM_THREADS")
    assert runtime.default_num_threads() >= 1


def script(body: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs Python code in a process of its own, with this module imported as `t`."""
    code = "import sys; sys.path[:0] = [{!r}, {!r}]\nimport test_runtime as t\nfrom fdl.backends.llvm import runtime, pool\n"
    code = code.format(str(ROOT), str(ROOT / "tests")) + textwrap.dedent(body)
    options = ["-W", "ignore::DeprecationWarning"]  # fork with threads, from 3.12 on
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("variant", VARIANTS)
def test_fork_gives_the_child_a_fresh_pool(variant: str) -> None:
    """Also while another thread of the parent is inside a parallel loop, and twice removed."""
    done = script(f"""
        import os, threading, numpy as np
        lib, _ = t.loaded({variant!r})
        lib.set_num_threads(3)
        t.count({variant!r}, 1000, 10)
        going = True
        def busy():
            while going:
                t.count({variant!r}, 1000, 1)
        thread = threading.Thread(target=busy)
        thread.start()
        for k in range(10):
            pid = os.fork()
            if pid == 0:
                for _ in range(20):
                    t.count({variant!r}, 1000, 7, scratch=100)
                lib.set_num_threads(2)
                ctx = np.zeros(32, np.int64)
                t.parallel({variant!r}, "meet", ctx.ctypes.data, 2, 1)
                grandchild = os.fork()
                if grandchild == 0:
                    t.count({variant!r}, 1000, 7)
                    os._exit(0)
                _, status = os.waitpid(grandchild, 0)
                os._exit(0 if status == 0 and ctx[0] == 2 else 3)
            _, status = os.waitpid(pid, 0)
            assert status == 0, status
        going = False
        thread.join()
        t.count({variant!r}, 1000, 7)
        print("fine")
    """)
    assert done.stdout.strip() == "fine", done.stderr
    assert done.returncode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_fork_while_another_thread_holds_the_lock_of_first_use() -> None:
    done = script("""
        import os, threading, time
        started = threading.Event()
        @runtime.once
        def slow():
            started.set()
            time.sleep(0.5)
            return 1
        thread = threading.Thread(target=slow)
        thread.start()
        started.wait()
        pid = os.fork()
        if pid == 0:
            threading.Timer(20, os._exit, [2]).start()
            assert slow() == 1 and runtime.get_num_threads() > 0
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        thread.join()
        print("fine")
    """)
    assert done.stdout.strip() == "fine", done.stderr


@pytest.mark.parametrize("variant", VARIANTS)
def test_exit_with_busy_workers_and_callers(variant: str) -> None:
    """The interpreter ends while workers spin, and while a daemon thread is inside a program."""
    done = script(f"""
        import threading, numpy as np, time
        lib, _ = t.loaded({variant!r})
        lib.set_num_threads(4)
        a = pool.empty((1000, 1000), np.dtype(np.float32))
        def busy():
            while True:
                t.count({variant!r}, 100000, 1)
        def endless():
            runtime.call(t.entry("endless"), runtime.new_frame(), [])
        for f in (busy, endless):
            threading.Thread(target=f, daemon=True).start()
        time.sleep(0.1)
        t.count({variant!r}, 1000, 1)
        print("fine")
    """)
    assert done.stdout.strip() == "fine" and done.returncode == 0, done.stderr


def test_threads_end_without_leaving_their_scratch() -> None:
    def work() -> None:
        parallel(runtime.system(), "outer", np.zeros(4, np.int64).ctypes.data, 1, 1, 1 << 20)

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def run(n: int) -> None:
        for _ in range(n):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()

    run(20)
    if not LINUX:
        return
    before = resident()
    run(200)
    assert resident() - before < 8 << 20


def test_the_text_compiles_for_other_platforms() -> None:
    done = script("""
        import llvmlite.binding as llvm
        from fdl.backends.llvm import callpath_ir, layout, runtime_ir
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        for platform, arch, triple in [
            ("linux", "aarch64", "aarch64-unknown-linux-gnu"), ("posix", "aarch64", "arm64-apple-darwin23"),
            ("posix", "x86_64", "x86_64-apple-darwin23"), ("windows", "x86_64", "x86_64-pc-windows-msvc"),
            ("posix", "other", "x86_64-unknown-linux-gnu"), ("linux", "x86_64", "x86_64-unknown-linux-gnu"),
        ]:
            for text in (runtime_ir.text(platform, arch), callpath_ir.text(layout.Layout(24, 0), pool.LARGE)):
                module = llvm.parse_assembly(text)
                module.triple = triple
                module.verify()
                assert llvm.Target.from_triple(triple).create_target_machine(reloc="pic").emit_object(module)
        print("fine")
    """)
    assert done.stdout.strip() == "fine", done.stderr


# --- recycled memory ---------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3 << 20), min_size=1, max_size=12))
def test_blocks_are_aligned_and_disjoint(sizes: list[int]) -> None:
    used = pool.stats().used
    blocks = [(pool.take(n), n) for n in sizes]
    for pointer, n in blocks:
        assert pointer % 64 == 0
        ctypes.memset(pointer, 1, n)
    ordered = sorted(blocks)
    for (p, n), (q, _) in itertools.pairwise(ordered):
        assert p + n <= q
    for pointer, n in blocks:
        pool.give(pointer, n)
    assert pool.stats().used == used


def test_a_returned_block_is_taken_again() -> None:
    pointer = pool.take(100_000)
    pool.give(pointer, 100_000)
    made = pool.stats().made
    again = pool.take(99_000)
    assert again == pointer and pool.stats().made == made
    pool.give(again, 99_000)


def test_the_pool_is_bounded() -> None:
    limit = pool.stats().limit
    pool.trim()
    try:
        pool.set_limit(1 << 20)
        blocks = [pool.take(300_000) for _ in range(8)]
        for pointer in blocks:
            pool.give(pointer, 300_000)
        assert 600_000 <= pool.stats().cached <= 1 << 20
        big = pool.take(2 << 20)
        pool.give(big, 2 << 20)
        assert pool.stats().cached <= 1 << 20
        small = [pool.take(5000) for _ in range(10)]  # new sizes push out the larger old ones
        for pointer in small:
            pool.give(pointer, 5000)
        assert pool.stats().cached <= 1 << 20
        pool.trim()
        assert pool.stats().cached == 0
        with pytest.raises(ValueError, match="0 or more"):
            pool.set_limit(-1)
    finally:
        pool.set_limit(limit)


def test_too_much_memory_is_an_error() -> None:
    for nbytes in (1 << 60, -1):
        with pytest.raises(MemoryError, match="cannot allocate"):
            pool.take(nbytes)


def test_an_arena_is_borrowed_once_at_a_time() -> None:
    with pool.arena(0) as nothing, pool.arena(70_000) as a, pool.arena(70_000) as b:
        assert nothing == 0 and a != b
        assert a % 64 == 0
    with pytest.raises(RuntimeError, match="inside"), pool.arena(70_000) as c:
        assert c in (a, b)
        raise RuntimeError("inside")
    with pool.arena(70_000) as d:
        assert d == c


@pytest.mark.parametrize("release", [lambda a: a, lambda a: a[3:], lambda a: memoryview(a), lambda a: a.T.reshape(-1)[:0]])
def test_an_array_keeps_its_block_until_the_last_view_is_gone(release: Callable[[Any], Any]) -> None:
    used = pool.stats().used
    array = pool.empty((300, 301), np.dtype(np.float32))
    assert array.flags.c_contiguous and array.flags.writeable and array.ctypes.data % 64 == 0
    array[...] = 1
    address = array.ctypes.data
    view = release(array)
    shares = isinstance(view, memoryview) or view.base is not None
    del array
    if shares and (isinstance(view, memoryview) or np.asarray(view).size):
        assert pool.stats().used > used
        other = pool.empty((300, 301), np.dtype(np.float32))
        assert other.ctypes.data != address
        del other
    del view
    assert pool.stats().used == used
    assert pool.empty((300, 301), np.dtype(np.float32)).ctypes.data


def test_small_and_empty_arrays() -> None:
    assert pool.empty((), np.dtype(np.float32)).shape == ()
    assert pool.empty((0, 10_000_000), np.dtype(np.float64)).size == 0
    assert pool.empty((10,), np.dtype(np.int8)).flags.owndata
