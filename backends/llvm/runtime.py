"""The native runtime of compiled programs: thread pool, error record, polling, scratch, call frames.

`symbols()` gives the addresses that generated code is linked with; `call` runs a compiled program from Python (the
native call path is `callpath`).  The runtime is LLVM IR text (`runtime_ir`), compiled once per process.

Its engine is never freed: workers, capsule destructors and thread-exit hooks hold raw addresses into it, and they
outlive the interpreter's teardown.  After a fork the child has a fresh pool, whose workers start when first needed.

May be imported by: `pool`, `callpath`, and what loads compiled programs.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform as host_platform
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import numpy as np

from fdl.tracer.errors import at, user_source

from . import engine, runtime_ir
from .engine import Loaded, compile_text
from .locks import MAKING
from .runtime_ir import MAX_THREADS, Architecture, Platform
from .target import host as host_target

FRAME_WORDS: Final = 16
OK, FAILED, STOPPED, RAISED = 0, 1, 2, 3
"""What a compiled program returns: success, a failed check, a stop, an exception in a callback."""

_KEY, _STOP, _PROGRESS, _CALLBACK, _LIMIT = 2, 7, 8, 10, 12
ARENA_WORD, SITE_WORD, VALUE_WORDS, POLL_WORD = 0, 3, slice(4, 7), 9
"""Words of a frame that the call path reads and writes."""
_NO_ERROR = 2**63 - 1

Frame = ctypes.c_int64 * FRAME_WORDS
"""The frame of one call: sixteen 8-byte words (see the loop IR's call contract)."""


Made = TypeVar("Made")


def once(make: Callable[[], Made]) -> Callable[[], Made]:
    """`make` with its first result kept: it runs once, whatever the number of threads, and takes no lock afterwards."""
    made: list[Made] = []

    @functools.wraps(make)
    def get() -> Made:
        if not made:
            with MAKING:
                if not made:
                    made.append(make())
        return made[0]

    return get


def architecture() -> Architecture:
    """The processor family, as the runtime's text names it: "x86_64", "aarch64" or "other"."""
    machine = host_platform.machine().lower()
    known: dict[str, Architecture] = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
    return known.get(machine, "other")


def system() -> Platform:
    """The platform variant of the runtime that this system needs."""
    if sys.platform == "win32":
        return "windows"
    return "linux" if sys.platform.startswith("linux") and architecture() != "other" else "posix"


def load_forever(text: str, externals: Mapping[str, int], level: int = 3) -> Loaded:
    """The loaded code of one module of LLVM IR text, never to be freed: every function that it defines is exported.

    Every function gets unwind tables: a daemon thread that comes back to a dying interpreter is unwound through it.
    """
    text = re.sub(r"^(define [^\n]*\)[^\n]*) \{$", r"\1 nounwind uwtable {", text, flags=re.MULTILINE)
    exports = re.findall(r"^define (?!internal)[^\n@]*@(\w+)\(", text, flags=re.MULTILINE)
    loaded = compile_text([text], host_target(), externals, exports, level=level, stored=True)
    for owner in (loaded, engine._jit()):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(owner))
    return loaded


def addresses(library: ctypes.CDLL, names: Sequence[str]) -> dict[str, int]:
    """The address of each exported symbol of a shared library. Raises: AttributeError for one that it lacks."""
    return {name: ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0 for name in names}


def _system_symbols(variant: Platform) -> dict[str, int]:
    libc_names, python_names = runtime_ir.externals(variant)
    found = addresses(ctypes.pythonapi, python_names)
    if variant != "windows":
        return found | addresses(ctypes.CDLL(None), libc_names)
    dlls = {
        "msvcrt": libc_names,
        "kernel32": ("TlsAlloc", "TlsGetValue", "TlsSetValue", "SwitchToThread", "GetTickCount64"),
        "kernelbase": ("WaitOnAddress", "WakeByAddressAll"),
    }
    for dll, names in dlls.items():
        found |= addresses(ctypes.CDLL(dll), names)
    return found


_EXPORTS: Final = ("fdl_parallel", "fdl_scratch", "fdl_fail", "fdl_poll")
_PRIVATE: Final = (
    "fdl_call", "fdl_check_signals", "fdl_level", "fdl_take", "fdl_give", "fdl_trim", "fdl_set_limit", "fdl_pool_stats",
    "fdl_block_free", "fdl_block_name",
)  # fmt: skip


class Runtime:
    """A loaded runtime. A process uses one (`host()`); tests also load the variants of other platforms."""

    __slots__ = ("_address", "_lock", "_set_started", "_set_threads", "_threads", "_variant", "_worker")

    def __init__(self, variant: Platform) -> None:
        text = runtime_ir.text(variant, architecture())
        # Level 0 costs 2 ns a chunk, and saves 40 ms of the first call of a process.
        module = load_forever(text, _system_symbols(variant), level=0)
        self._variant = variant
        self._lock = threading.Lock()
        self._address = {name: module.address(name) for name in (*_EXPORTS, *_PRIVATE)}
        self._set_threads = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(module.address("fdl_set_threads"))
        self._set_started = ctypes.CFUNCTYPE(None, ctypes.c_int64)(module.address("fdl_set_started"))
        self._worker = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(module.address("fdl_worker"))
        ctypes.CFUNCTYPE(None)(module.address("fdl_init"))()
        if hasattr(os, "register_at_fork"):
            after_fork = ctypes.PYFUNCTYPE(None)(module.address("fdl_after_fork"))
            os.register_at_fork(after_in_child=functools.partial(self._after_fork, after_fork))
        self.set_num_threads(default_num_threads())

    def symbols(self) -> dict[str, int]:
        """The addresses of the functions that generated code may call, by name."""
        return {name: self._address[name] for name in _EXPORTS}

    def address(self, name: str) -> int:
        """The address of one function of the runtime, internal ones included."""
        return self._address[name]

    def get_num_threads(self) -> int:
        """The number of threads that a parallel loop may use, the calling one included."""
        return self._threads

    def set_num_threads(self, count: int) -> None:
        """Set the number of threads. Waits for a parallel loop that is running. Raises: TypeError, ValueError."""
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)):
            raise TypeError(f"set_num_threads: expected an int, got {count!r}.{at(user_source())}")
        if not 1 <= count <= MAX_THREADS:
            raise ValueError(f"set_num_threads: expected 1 to {MAX_THREADS} threads, got {count}.{at(user_source())}")
        with self._lock:
            self._threads = int(count)
            epoch = self._set_threads(self._threads)
            if self._variant != "linux":
                self._start_python_threads(epoch)

    def _start_python_threads(self, epoch: int) -> None:
        for index in range(1, self._threads):
            threading.Thread(target=self._worker, args=(epoch,), name=f"fdl-{index}", daemon=True).start()
        self._set_started(self._threads - 1)

    def _after_fork(self, reset: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        reset()
        if self._variant != "linux":
            with self._lock:
                self._start_python_threads(self._set_threads(self._threads))


def default_num_threads() -> int:
    """`FDL_NUM_THREADS`, or the number of cores that this process may run on. Raises: ValueError for a bad variable."""
    given = os.environ.get("FDL_NUM_THREADS", "").strip()
    if given:
        if not given.isdecimal() or not 1 <= int(given) <= MAX_THREADS:
            raise ValueError(f"FDL_NUM_THREADS={given!r}: expected a whole number from 1 to {MAX_THREADS}, or unset it")
        return int(given)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MAX_THREADS)


@once
def host() -> Runtime:
    """The process's runtime, compiled at the first call."""
    return Runtime(system())


def symbols() -> dict[str, int]:
    """Addresses of `fdl_parallel`, `fdl_scratch`, `fdl_fail` and `fdl_poll`, to link generated code with."""
    return host().symbols()


def get_num_threads() -> int:
    """The number of threads that compiled programs use, the calling one included.

    Example:
        >>> get_num_threads() >= 1
        True
    """
    return host().get_num_threads()


def set_num_threads(count: int) -> None:
    """Set the number of threads that compiled programs use. Results don't depend on it, bit for bit.

    The default is `FDL_NUM_THREADS`, or the cores that the process may run on.  Waits for a running parallel loop.

    Raises: TypeError, ValueError when `count` is no int from 1 to 4095.

    Example:
        >>> set_num_threads(get_num_threads())
    """
    host().set_num_threads(count)


# --- frames -------------------------------------------------------------------------------------------


def new_frame(*, arena: int = 0, interruptible: bool = True, callback: int = 0, max_threads: int = 0) -> ctypes.Array[Any]:
    """The frame of one call, to be passed by reference and kept alive until the call returns.

    Args:
        arena: address of the arena, 64-byte aligned.
        interruptible: poll Python's signal handlers (Ctrl-C) every 20 ms.
        callback: address of `i32 callback(ptr frame, i64 slot, ptr pointers)`, or 0.
        max_threads: 0 for the pool's default, 1 for a serial call.
    """
    frame = Frame()
    frame[ARENA_WORD] = arena
    frame[_KEY] = _NO_ERROR
    frame[POLL_WORD] = host().address("fdl_check_signals") if interruptible else 0
    frame[_CALLBACK] = callback
    frame[_LIMIT] = max_threads
    return frame


def error_record(frame: ctypes.Array[Any]) -> tuple[int, tuple[int, int, int]]:
    """The site and the three values of the first failed check, in program order.

    Raises: ValueError when the frame holds no failure.
    """
    if frame[_KEY] == _NO_ERROR:
        raise ValueError("the frame holds no failed check")
    return frame[SITE_WORD], tuple(frame[VALUE_WORDS])


def stop(frame: ctypes.Array[Any]) -> None:
    """Ask the call that runs with this frame to stop; from any thread."""
    frame[_STOP] = 1


def progress(frame: ctypes.Array[Any]) -> int:
    """The iterations that the outermost serial loop of the call has finished; from any thread."""
    value: int = frame[_PROGRESS]
    return value


@once
def _call() -> Callable[..., int]:
    return ctypes.PYFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 3, ctypes.c_int32)(host().address("fdl_call"))


def call(address: int, frame: ctypes.Array[Any], pointers: Sequence[int], *, release: bool = True) -> int:
    """The status of a compiled program run on buffers at `pointers` (inputs, constants, outputs).

    The interpreter lock is released meanwhile, unless `release` is false.  The caller keeps the program, the frame and
    the buffers alive.  After a stop the pool skips the chunks that are left: the status is `STOPPED` even where
    the program itself saw nothing of it, and the outputs are no result.

    Raises: what a signal handler raised (KeyboardInterrupt), when an interruptible call was stopped by it.
    """
    table = (ctypes.c_void_p * len(pointers))(*pointers)
    return _call()(address, ctypes.addressof(frame), ctypes.addressof(table), release)


# --- callbacks ----------------------------------------------------------------------------------------

_CALLBACK_TYPE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)


class Callback:
    """A Python function that compiled programs call through the frame. Keep it alive while they may.

    `function(slot, pointers)` gets the slot number and the address of an array of data pointers.  Its exception
    ends the program with `RAISED`; `take_exception` hands it over once, on the thread that made the call.
    """

    __slots__ = ("_local", "_thunk", "address")

    def __init__(self, function: Callable[[int, int], None]) -> None:
        level = ctypes.PYFUNCTYPE(None, ctypes.c_int64)(host().address("fdl_level"))
        local = threading.local()

        def run(frame: int, slot: int, pointers: int) -> int:
            level(1)  # what the function calls may use this thread's scratch, while the program holds some
            try:
                function(slot, pointers)
            except BaseException as error:  # it goes on at `take_exception`
                local.error = error
                return 1
            finally:
                level(-1)
            return 0

        self._local = local
        self._thunk = _CALLBACK_TYPE(run)
        self.address: int = ctypes.cast(self._thunk, ctypes.c_void_p).value or 0

    def take_exception(self) -> BaseException | None:
        """The exception of this thread's last callback, or None; forgets it."""
        error: BaseException | None = getattr(self._local, "error", None)
        self._local.error = None
        return error
