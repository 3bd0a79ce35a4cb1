"""Recycled memory: arenas for the intermediates of a call, and storage for large output arrays.

Fresh pages cost as much as the work that fills them, so blocks of 4 KiB and more are kept, by size class (four to
each power of two), and handed out again, last in first out.  What is kept is bounded (`set_limit`; a quarter of the
machine's memory by default); the largest blocks go first.  Blocks are 64-byte aligned, 2 MiB aligned with huge pages
from 4 MiB on.

Invariant: a block belongs to one borrower at a time.  An array's block comes back when the last reference to the
array, its views and its exports has gone, because all of them hold the block's owner.

The blocks live in the native runtime; the native call path uses them directly.  The interpreter lock guards them, or
`_guard` where Python runs without one.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from fdl.tracer.records import dataclass

from . import runtime

LARGE: Final = 16 * 1024
"""Arrays of at least this many bytes get a recycled block; NumPy's own allocator serves smaller ones better."""


def gil_enabled() -> bool:
    """Whether this interpreter runs with its lock, which the native call path and the pool rely on."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


class _Guard:
    """A re-entrant lock on builds without an interpreter lock, nothing on the others. Fresh after a fork."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock: Any
        self.reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        self._lock = contextlib.nullcontext() if gil_enabled() else threading.RLock()

    def __enter__(self) -> None:
        self._lock.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._lock.__exit__(*error)


_guard = _Guard()


@dataclass(frozen=True, slots=True)
class _Native:
    """The runtime's functions, called with the interpreter lock held."""

    take: Any
    give: Any
    trim: Any
    set_limit: Any
    stats: Any


@runtime.once
def _native() -> _Native:
    def function(name: str, result: Any, *arguments: Any) -> Any:
        return ctypes.PYFUNCTYPE(result, *arguments)(runtime.host().address(name))

    native = _Native(
        take=function("fdl_take", ctypes.c_void_p, ctypes.c_int64),
        give=function("fdl_give", None, ctypes.c_void_p, ctypes.c_int64),
        trim=function("fdl_trim", None, ctypes.c_int64),
        set_limit=function("fdl_set_limit", None, ctypes.c_int64),
        stats=function("fdl_pool_stats", None, ctypes.c_void_p),
    )
    native.set_limit(default_limit())
    return native


def default_limit() -> int:
    """A quarter of the machine's memory in bytes, at least 256 MiB."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        memory = 4 << 30
    return int(max(memory // 4, 256 << 20))


def prepare() -> None:
    """Compile the runtime and set the pool's limit, if that was not done yet."""
    _native()


def take(nbytes: int) -> int:
    """The address of a block of at least `nbytes` bytes, 64-byte aligned, contents undefined. Raises: MemoryError."""
    native = _native()
    with _guard:
        pointer: int | None = native.take(nbytes)
    if pointer is None:
        raise MemoryError(f"cannot allocate a block of {nbytes} bytes")
    return pointer


def give(pointer: int, nbytes: int) -> None:
    """Return a block to the pool; `nbytes` is what `take` was asked for."""
    native = _native()
    with _guard:
        native.give(pointer, nbytes)


@contextlib.contextmanager
def arena(nbytes: int) -> Iterator[int]:
    """The address of an arena of `nbytes` bytes (0: none needed), for the duration of a `with` statement.

    Example:
        >>> with arena(100) as address:
        ...     address % 64
        0
    """
    if nbytes == 0:
        yield 0
        return
    pointer = take(nbytes)
    try:
        yield pointer
    finally:
        give(pointer, nbytes)


class Block:
    """The owner of one block: the base of an array, and of all its views."""

    __slots__ = ("__array_interface__", "_give", "_nbytes", "_pointer")

    def __init__(self, nbytes: int, shape: tuple[int, ...], typestr: str) -> None:
        self._give = give  # outlives the module's globals at interpreter exit
        self._nbytes = nbytes
        self._pointer = 0
        self._pointer = take(nbytes)
        self.__array_interface__ = {"version": 3, "typestr": typestr, "shape": shape, "data": (self._pointer, False)}

    def __del__(self) -> None:
        if self._pointer:
            self._give(self._pointer, self._nbytes)
            self._pointer = 0


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """A new C-contiguous array with undefined contents; from `LARGE` bytes on, in recycled memory.

    Example:
        >>> empty((128, 128), np.dtype(np.float32)).ctypes.data % 64
        0
    """
    nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if nbytes < LARGE:
        return np.empty(shape, dtype)
    # Types that are not NumPy's own, such as bfloat16, have no name in the array interface: a view gives them theirs.
    typestr = dtype.str if dtype.isbuiltin == 1 else f"|V{dtype.itemsize}"
    array: np.ndarray[Any, Any] = np.asarray(Block(nbytes, shape, typestr))
    return array if array.dtype == dtype else array.view(dtype)


def is_block(base: object) -> bool:
    """Whether the base of an array is a recycled block of its own."""
    return type(base) is Block or (type(base).__name__ == "PyCapsule" and sys.getrefcount(base) <= 3)


@dataclass(frozen=True, slots=True)
class Stats:
    """Bytes kept for reuse, bytes in use, blocks ever made by the system, and the limit on what is kept."""

    cached: int
    used: int
    made: int
    limit: int


def stats() -> Stats:
    """What the pool holds now."""
    native, out = _native(), (ctypes.c_int64 * 4)()
    with _guard:
        native.stats(out)
    return Stats(*out)


def trim(keep: int = 0) -> None:
    """Give cached blocks back to the system until at most `keep` bytes are cached."""
    native = _native()
    with _guard:
        native.trim(keep)


def set_limit(nbytes: int) -> None:
    """Set how many bytes may be kept for reuse. Raises: ValueError when negative."""
    if nbytes < 0:
        raise ValueError(f"set_limit: expected a number of bytes, 0 or more, got {nbytes}")
    native = _native()
    with _guard:
        native.set_limit(nbytes)
