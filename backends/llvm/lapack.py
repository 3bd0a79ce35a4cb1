"""Calls of LAPACK from compiled code: the addresses behind its names, and one thread for OpenBLAS while a call is inside it.

May be imported by: `run`, and the tile emitters.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

from fdl.backends import lapack

from . import runtime

ENTER, LEAVE = "fdl_blas_enter", "fdl_blas_leave"

# The number of calls that are inside, and the number of threads there was before the first of them; a spin lock keeps both.
_GATE = """
@lock = internal global i32 0
@inside = internal global i64 0
@before = internal global i32 0
declare i32 @get_threads()
declare void @set_threads(i32)

define internal void @acquire() {
entry:
  br label %try
try:
  %pair = cmpxchg ptr @lock, i32 0, i32 1 acquire monotonic
  %won = extractvalue { i32, i1 } %pair, 1
  br i1 %won, label %done, label %try
done:
  ret void
}

define void @fdl_blas_enter() {
entry:
  call void @acquire()
  %n = load i64, ptr @inside
  %first = icmp eq i64 %n, 0
  br i1 %first, label %limit, label %done
limit:
  %threads = call i32 @get_threads()
  store i32 %threads, ptr @before
  call void @set_threads(i32 1)
  br label %done
done:
  %more = add i64 %n, 1
  store i64 %more, ptr @inside
  store atomic i32 0, ptr @lock release, align 4
  ret void
}

define void @fdl_blas_leave() {
entry:
  call void @acquire()
  %n = load i64, ptr @inside
  %less = sub i64 %n, 1
  store i64 %less, ptr @inside
  %last = icmp eq i64 %less, 0
  br i1 %last, label %restore, label %done
restore:
  %threads = load i32, ptr @before
  call void @set_threads(i32 %threads)
  br label %done
done:
  store atomic i32 0, ptr @lock release, align 4
  ret void
}

; In a forked child no call is inside, whatever the parent's threads were at.
define void @fdl_blas_forked() {
entry:
  %n = load i64, ptr @inside
  %limited = icmp ne i64 %n, 0
  br i1 %limited, label %restore, label %done
restore:
  %threads = load i32, ptr @before
  call void @set_threads(i32 %threads)
  br label %done
done:
  store i64 0, ptr @inside
  store atomic i32 0, ptr @lock release, align 4
  ret void
}
"""

_NO_GATE = """
define void @fdl_blas_enter() {
entry:
  ret void
}

define void @fdl_blas_leave() {
entry:
  ret void
}
"""


@runtime.once
def _gate() -> dict[str, int]:
    """The functions that open and close a call. Never freed: like the runtime, they outlive whoever calls them."""
    controls = lapack.thread_controls()
    if controls is None:
        loaded = runtime.load_forever(_NO_GATE, {})
    else:
        loaded = runtime.load_forever(_GATE, {"set_threads": controls[0], "get_threads": controls[1]})
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=ctypes.CFUNCTYPE(None)(loaded.address("fdl_blas_forked")))
    return {name: loaded.address(name) for name in (ENTER, LEAVE)}


def symbols(names: Iterable[str]) -> dict[str, int]:
    """The addresses of those of `names` that are LAPACK's or belong to its calls."""
    wanted = [n for n in names if n.startswith(lapack.PREFIX)]
    if not wanted:
        return {}
    return {n: lapack.address(n.removeprefix(lapack.PREFIX)) for n in wanted} | _gate()
