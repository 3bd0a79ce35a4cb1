"""LLVM as a code generator: IR texts to object files, several at a time.

Objects are position-independent and contain no address of this process, so that their bytes are good for a disk cache.  Code is
generated at level 3 unless the caller knows better, and no IR pass runs: the text is vectorised already.

Each text has an LLVM context of its own, and each thread a code generator, so that LLVM itself needs no lock.  Llvmlite takes one around
every function of LLVM's, though, and code generation is where the time goes: that function alone is called without it.  The bytes of an
object do not depend on how many threads there were.

Lifetimes: threads end before the call that began them.  May be imported by: whatever compiles in this package.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import llvmlite.binding as llvm
from llvmlite.binding import ffi

from .locks import LLVM
from .target import Target

_emit_unlocked: Final[Callable[..., Any] | None] = getattr(ffi.lib.LLVMPY_TargetMachineEmitToMemory, "_cfn", None)
"""The function behind llvmlite's lock. None for an llvmlite that hides it: texts are compiled one after the other then."""

_idle: dict[tuple[Target, int], list[llvm.TargetMachine]] = {}
"""Code generators that no thread uses at the moment."""


def object_code(text: str, target: Target, level: int = 3) -> bytes:
    """The object file of one LLVM IR text."""
    with LLVM:
        return _object(text, target, level)


def object_codes(texts: Sequence[str], target: Target, level: int = 3, *, threads: int = 1) -> list[bytes]:
    """The object file of each text, made by up to so many threads.

    Raises: RuntimeError when LLVM rejects a text.
    """
    found: list[bytes | None] = [None] * len(texts)
    errors: list[BaseException] = []
    todo = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # the longest are begun first

    def work() -> None:
        try:
            while todo and not errors:
                i = todo.pop()
                found[i] = _object(texts[i], target, level)
        except IndexError:  # another thread took the last one
            pass
        except BaseException as error:  # Ctrl-C among them: raised when all threads have ended
            errors.append(error)

    with LLVM:  # for all of them: a fork waits until they are done
        helpers = [threading.Thread(target=work, daemon=True) for _ in range(min(threads, len(texts)) - 1)]
        started = []
        try:
            for thread in helpers:
                thread.start()
                started.append(thread)
        except RuntimeError:  # there can be no more threads, at exit for one: those that run do it all
            pass
        work()
        for thread in started:
            while thread.is_alive():
                try:
                    thread.join()
                except KeyboardInterrupt as interrupt:
                    errors.append(interrupt)
    if errors:
        raise errors[0]
    return [code for code in found if code is not None]


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
