"""The locks of compilation, which survive a fork.

A thread that forks while another one compiles would give its child locks that nobody there will ever release: fdl's own, and the
one that llvmlite takes around LLVM.  So a fork first waits for all of them, in the order in which they nest, and both processes
release them afterwards: the child starts between two compilations.

    COMPILING   one program at a time, from loop IR to machine code, the threads that compile its texts included
    MAKING      what a process has once: the runtime, the call path
    LLVM        one use of llvmlite; held around all of fdl's others, so that llvmlite's own lock is never held without one of these

Invariants: a thread takes them downwards only, and runs no code of the user's while it holds one.  May be imported by:
everything in `backends`.
"""

from __future__ import annotations

import os
import threading
from typing import Any, Final

from llvmlite.binding import ffi

_ALL: list[Any] = []
"""Outermost first."""


def guarded() -> Any:
    """A new re-entrant lock that forks wait for, inside all those made before it."""
    lock = threading.RLock()
    _ALL.append(lock)
    return lock


COMPILING: Final = guarded()
MAKING: Final = guarded()
LLVM: Final = guarded()


# llvmlite's own lock where it can be reached: other packages use LLVM too, and finalizers do behind fdl's back.
_foreign: Any = getattr(getattr(ffi.lib, "_lock", None), "_lock", None)
if hasattr(_foreign, "acquire") and hasattr(_foreign, "release"):
    _ALL.append(_foreign)


_held: list[Any] = []


def _acquire() -> None:
    for lock in tuple(_ALL):
        lock.acquire()
        _held.append(lock)


def _release() -> None:
    while _held:
        _held.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_acquire, after_in_parent=_release, after_in_child=_release)
