"""What a kernel is made of besides its statements: its description, and the functions that kernels share.

May import: the loop IR, `scalars`.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from fdl.backends.loops.ir import Value
from fdl.tracer import dtypes
from fdl.tracer.records import dataclass

from . import scalars


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a kernel: a pointer to a buffer's memory or to scratch of the launch, or a number.

    `source` is what the driver passes; scratch is the machine's to pass.
    """

    name: str
    kind: Literal["buffer", "scalar", "scratch", "block scratch"]
    dtype: np.dtype[Any]
    """Of the memory, or of the number."""
    source: str
    size: int = 0
    """Of scratch: elements for each thread, or for each block."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel's source and how it is launched.

    shape: "items" (any number of threads), "rows" (any number of blocks), "thread" or "block" (exactly one).
    count: how many items or rows there are at most, as source for the driver.
    checks: whether it takes the error record and the launch's number first.
    """

    name: str
    source: str
    parameters: tuple[Parameter, ...]
    shape: Literal["items", "rows", "thread", "block"]
    count: str
    checks: bool


@dataclass(frozen=True, slots=True)
class Outer:
    """A variable bound outside of a kernel: a number that the driver passes, a device variable, or a cheap expression."""

    kind: Literal["host", "slot", "value"]
    source: str = ""
    value: Value | None = None


FAIL = """
def fail(err, epoch, site, order, v0, v1, v2):
    if site > err[1]:
        return
    waiting = True
    while waiting:
        if cuda.atomic.cas(err, 0, np.int64(0), np.int64(1)) == np.int64(0):
            cuda.threadfence()
            old_site = cuda.atomic.max(err, 1, np.int64(-1))
            old_epoch = cuda.atomic.max(err, 2, np.int64(-1))
            old_order = cuda.atomic.max(err, 3, np.int64(-1))
            if site < old_site or (site == old_site and (epoch < old_epoch or (epoch == old_epoch and order < old_order))):
                cuda.atomic.exch(err, 1, site)
                cuda.atomic.exch(err, 2, epoch)
                cuda.atomic.exch(err, 3, order)
                cuda.atomic.exch(err, 4, v0)
                cuda.atomic.exch(err, 5, v1)
                cuda.atomic.exch(err, 6, v2)
            cuda.threadfence()
            cuda.atomic.exch(err, 0, np.int64(0))
            waiting = False
""".lstrip()
"""Keeps the record of the lowest site, then of the earliest launch, then of the lowest iteration.

It takes the record's lock, reads and writes it past the caches, and gives the lock back.  The first test may read a stale
site, which can only be higher than the true one.  Threads of one warp wait for each other here, which they may since compute
capability 7.0 (independent thread scheduling).
"""


def reduction(combine: str, dtype: np.dtype[Any]) -> tuple[str, str]:
    """The name and source of the function that combines one value of each thread of a block, in a fixed order."""
    name = f"reduce_{combine}_{dtypes.SHORT[dtype]}"
    held = shared_type(dtype)
    read = "shared[{}] != np.uint8(0)" if dtype == dtypes.bool_ else "shared[{}]"
    both = scalars.expression(combine, [read.format("lane").join("()"), read.format("lane + half").join("()")], dtype, dtype)
    source = f"""
def {name}(shared, lane, x):
    shared[lane] = {scalars.cast(held, "x")}
    cuda.syncthreads()
    half = np.int32(BLOCK // 2)
    while half > np.int32(0):
        if lane < half:
            shared[lane] = {scalars.cast(held, both)}
        cuda.syncthreads()
        half = np.int32(half // np.int32(2))
    x = {read.format("np.int32(0)")}
    cuda.syncthreads()
    return x
"""
    return name, source.lstrip()


def shared_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type of a `dtype` in shared or local memory: its representation, and a byte for a bool."""
    return dtypes.uint8 if dtype == dtypes.bool_ else scalars.representation(dtype)


def width_of(high: int) -> str:
    """The type of a loop's counter: with room for a stride past the end, so that it does not wrap."""
    return "int32" if high < 2**30 else "int64"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a buffer is: the array's name, what to add to a position, and whether it holds storage or representations."""

    name: str
    base: str = ""
    packed: bool = True
