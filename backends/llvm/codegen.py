"""LLVM as a code generator: IR texts to object files, several at a time.

Objects are position-independent and contain no address of this process, so that their bytes are good for a disk cache.  Code is
generated at level 3 unless the caller knows better, and no IR pass runs: the text is vectorised already.

Each text has an LLVM context of its own, and each thread a code generator, so that LLVM itself needs no lock.  Llvmlite takes one around
every function of LLVM's, though, and code generation is where the time goes: that function alone is called without it.  The bytes of an
object do not depend on how many threads there were.

Lifetimes: threads end with the batch that began them, which holds COMPILING, so that a fork waits for them.  May be imported by: whatever
compiles in this package.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

import llvmlite.binding as llvm
from llvmlite.binding import ffi

from .locks import COMPILING, LLVM
from .target import Target

_emit_unlocked: Final[Callable[..., Any] | None] = getattr(ffi.lib.LLVMPY_TargetMachineEmitToMemory, "_cfn", None)
"""The function behind llvmlite's lock. None for an llvmlite that hides it: texts are compiled one after the other then."""

_SWITCH: Final = 1e-4
"""Seconds after which a thread that computes in Python lets another go on: one that compiles asks for it a dozen times a text."""
_NOTHING: Final = "define void @nothing() {\n  ret void\n}\n"

_trim: Final[Callable[[int], int] | None] = getattr(ctypes.CDLL(None) if sys.platform == "linux" else None, "malloc_trim", None)
"""Gives free memory back to the system, in glibc: what LLVM freed stays with the process otherwise, an area for each thread."""

_idle: dict[tuple[Target, int], list[llvm.TargetMachine]] = {}
"""Code generators that no thread uses at the moment."""


def object_code(text: str, target: Target, level: int = 3) -> bytes:
    """The object file of one LLVM IR text."""
    with LLVM:
        return _object(text, target, level)


class Batch:
    """Texts that are compiled while the next ones are written.

        with Batch(target, threads=2) as batch:
            batch.add(text)         # a thread beside this one begins with it
            batch.add(another)
            objects = batch.finish()

    No thread is left when the block ends, however it ends, and a fork waits until then.
    """

    def __init__(self, target: Target, level: int = 3, *, threads: int = 1) -> None:
        self._target, self._level = target, level
        self._room = threads - 1
        self._texts: list[str] = []
        self._todo: list[int] = []
        """Numbers of the texts that no thread has begun."""
        self._found: dict[int, bytes] = {}
        self._errors: list[BaseException] = []
        self._changed = threading.Condition()
        self._waiting = 0
        self._complete = False
        self._threads: list[threading.Thread] = []
        self._interval = self._set = 0.0

    def __enter__(self) -> Batch:
        COMPILING.acquire()
        self._interval = self._set = sys.getswitchinterval()
        if self._room > 0:
            sys.setswitchinterval(_SWITCH)
            self._set = sys.getswitchinterval()
            if not _idle:
                self._hire()  # LLVM takes its time to get ready
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._join(drop=True)
            if self._found and _trim is not None:
                _trim(0)
        finally:
            if sys.getswitchinterval() == self._set:  # and nobody else has set it meanwhile
                sys.setswitchinterval(self._interval)
            COMPILING.release()

    def add(self, text: str) -> None:
        """One more text."""
        with self._changed:
            self._todo.append(len(self._texts))
            self._texts.append(text)
            self._changed.notify()
            idle = self._waiting >= len(self._todo)
        if not idle and len(self._threads) < self._room:
            self._hire()

    def finish(self) -> list[bytes]:
        """The object file of each text, in the order in which they came; this thread makes its share.

        Raises: RuntimeError when LLVM rejects a text.
        """
        self._close()
        self._work()
        self._join()
        if self._errors:
            raise self._errors[0]
        return [self._found[i] for i in range(len(self._texts))]

    def _hire(self) -> None:
        thread = threading.Thread(target=self._help, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # there can be no more threads, at exit for one: those that run do it all
            self._room = 0
            return
        self._threads.append(thread)

    def _help(self) -> None:
        try:
            if not _idle:
                _object(_NOTHING, self._target, self._level)
        except BaseException as error:
            self._errors.append(error)
        self._work()

    def _work(self) -> None:
        """Compiles texts until there are no more, the longest first."""
        try:
            while not self._errors:
                with self._changed:
                    while not self._todo and not self._complete:
                        self._waiting += 1
                        self._changed.wait()
                        self._waiting -= 1
                    if not self._todo:
                        return
                    i = max(self._todo, key=lambda i: len(self._texts[i]))
                    self._todo.remove(i)
                self._found[i] = _object(self._texts[i], self._target, self._level)
        except BaseException as error:  # Ctrl-C among them: raised when all threads have ended
            self._errors.append(error)

    def _close(self, drop: bool = False) -> None:
        with self._changed:
            self._complete = True
            if drop:
                self._todo.clear()
            self._changed.notify_all()

    def _join(self, drop: bool = False) -> None:
        self._close(drop)
        for thread in self._threads:
            while thread.is_alive():
                try:
                    thread.join()
                except KeyboardInterrupt as interrupt:
                    self._errors.append(interrupt)
        self._threads.clear()


def assembly(text: str, target: Target) -> str:
    """The assembly text of one LLVM IR text, for reading."""
    with LLVM:
        machine = _machine(target, 3)
        return str(machine.emit_assembly(_parse(text, target, machine)))


def _object(text: str, target: Target, level: int) -> bytes:
    idle = _idle.setdefault((target, level), [])
    try:
        machine = idle.pop()
    except IndexError:
        machine = _machine(target, level)
    code = _emit(machine, _parse(text, target, machine))
    idle.append(machine)
    return code


def _emit(machine: llvm.TargetMachine, module: llvm.ModuleRef) -> bytes:
    if _emit_unlocked is None:
        return bytes(machine.emit_object(module))
    with ffi.OutputString() as message:
        buffer = _emit_unlocked(machine, module, 1, message)
        if not buffer:
            raise RuntimeError(str(message))
    try:
        return ctypes.string_at(ffi.lib.LLVMPY_GetBufferStart(buffer), ffi.lib.LLVMPY_GetBufferSize(buffer))
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)


def _parse(text: str, target: Target, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    module = llvm.parse_assembly(text, llvm.create_context())
    module.triple = target.triple
    module.data_layout = str(machine.target_data)
    module.verify()  # a hundredth of the time, and an error instead of a crash
    return module


def _machine(target: Target, level: int) -> llvm.TargetMachine:
    initialise()
    if target.triple != llvm.get_process_triple():  # code to look at, not to run
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
    kind = llvm.Target.from_triple(target.triple)
    return kind.create_target_machine(cpu=target.cpu, features=target.features, opt=level, reloc="pic", codemodel="small")


@functools.cache
def initialise() -> None:
    """Makes LLVM ready for the code of this machine."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
