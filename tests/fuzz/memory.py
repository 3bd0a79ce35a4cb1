"""Native calls in guarded memory: what lies around the inputs, the outputs and the arena must stay as it was.

`fenced` calls put bytes that are checked around every array.  `walled` calls end every input where a page begins that nobody may touch,
so that a read beyond it ends the process: the driver sees a crash, and tells the seed.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fdl.backends.llvm import runtime
from fdl.backends.llvm.run import Native, Outcome
from fdl.tracer.ir import Type

from .values import Array

RED = 192
"""Bytes of a fence."""


class MemoryFault(AssertionError):
    """A native call wrote where it must not."""


@dataclass(frozen=True, slots=True)
class Fenced:
    """An array with bytes of one value before and after it."""

    raw: Array
    array: Array
    start: int
    fill: int

    def check(self, what: str) -> None:
        end = self.start + self.array.nbytes
        for name, part in (("before", self.raw[: self.start]), ("after", self.raw[end:])):
            if (part != self.fill).any():
                at = int(np.argwhere(part != self.fill)[0][0])
                offset = at - self.start if name == "before" else at
                raise MemoryFault(f"a byte {name} {what} was written, at offset {offset}")


def fenced(shape: tuple[int, ...], dtype: Any, fill: int, skew: int = 0) -> Fenced:
    """An uninitialised array, aligned to 64 bytes (`skew` more), with a fence on both sides."""
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.full(nbytes + 2 * RED + 128, fill, np.uint8)
    start = RED + (-(raw.ctypes.data + RED)) % 64 + skew
    return Fenced(raw, raw[start : start + nbytes].view(dtype).reshape(shape), start, fill)


def call_fenced(
    native: Native,
    inputs: Sequence[Array],
    types: Sequence[Type],
    threads: int,
    fill: int,
    callback: Callable[[int, int], None] | None,
) -> tuple[list[Array], Outcome]:
    """The outputs of a call on `threads` threads, and how it ended.

    Raises: MemoryFault when it wrote to an input, or outside of what it was given.
    """
    ins = []
    for x in inputs:
        f = fenced(x.shape, x.dtype, fill, skew=x.dtype.itemsize if fill % 2 else 0)
        f.array[...] = x
        ins.append(f)
    outs = [fenced(t.shape, t.dtype, fill) for t in types]
    arena = fenced((native.arena_bytes,), np.uint8, fill)
    outcome = _call(native, [f.array for f in ins], [f.array for f in outs], arena.array, threads, callback)
    for i, (f, x) in enumerate(zip(ins, inputs, strict=True)):
        f.check(f"input {i}")
        if f.array.tobytes() != x.tobytes():
            raise MemoryFault(f"input {i} was written")
    for i, f in enumerate(outs):
        f.check(f"output {i}")
    arena.check("the arena")
    return [f.array for f in outs], outcome


def _call(
    native: Native, ins: Sequence[Array], outs: Sequence[Array], arena: Array, threads: int, callback: Any
) -> Outcome:  # fmt: skip
    thunk = None if callback is None else runtime.Callback(callback)
    frame = runtime.new_frame(
        arena=arena.ctypes.data if arena.size else 0, callback=0 if thunk is None else thunk.address, max_threads=threads
    )
    status = runtime.call(native.entry, frame, [a.ctypes.data for a in (*ins, *outs)])
    if status == runtime.RAISED and thunk is not None:
        error = thunk.take_exception()
        if error is not None:
            raise error
    if status != runtime.FAILED:
        return Outcome(status)
    return Outcome(status, *runtime.error_record(frame))


# --- pages ----------------------------------------------------------------------------------------

PAGE = mmap.PAGESIZE
has_pages = sys.platform.startswith("linux")


class Wall:
    """An array that ends where a page begins that may not be read or written."""

    def __init__(self, value: Array) -> None:
        pages = -(-max(value.nbytes, 1) // PAGE)
        self._map = mmap.mmap(-1, (pages + 1) * PAGE)
        raw = np.frombuffer(self._map, np.uint8)
        self._last = raw.ctypes.data + pages * PAGE
        _protect(self._last, 0)
        start = pages * PAGE - value.nbytes
        self.array = raw[start : start + value.nbytes].view(value.dtype).reshape(value.shape)
        self.array[...] = value

    def close(self) -> None:
        _protect(self._last, mmap.PROT_READ | mmap.PROT_WRITE)


def _protect(address: int, flags: int) -> None:
    if ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(address), ctypes.c_size_t(PAGE), ctypes.c_int(flags)):
        raise OSError(ctypes.get_errno(), "mprotect")


def call_walled(native: Native, inputs: Sequence[Array], types: Sequence[Type], callback: Any) -> tuple[list[Array], Outcome]:
    """The outputs of a call whose inputs end at pages that may not be read. A read beyond an input ends the process."""
    walls = [Wall(x) for x in inputs]
    outs = [fenced(t.shape, t.dtype, 0) for t in types]
    arena = fenced((native.arena_bytes,), np.uint8, 0)
    try:
        outcome = _call(native, [w.array for w in walls], [f.array for f in outs], arena.array, 1, callback)
    finally:
        for w in walls:
            w.close()
    return [f.array for f in outs], outcome
