"""Kernels that run one after another: a call for each, or a table of them and one loop over it where they are many.

A program of hundreds of layers is a driver of thousands of calls.  As instructions each costs the code generator a tenth of a millisecond;
as rows of a constant array they cost next to nothing, and a row costs a call as much time as the instructions did.

May be imported by: `emit`.
"""

from __future__ import annotations

from collections.abc import Sequence

from fdl.tracer.records import dataclass

from .outline import store_word
from .text import ATTRIBUTE, Code

ENOUGH = 16
"""So many kernels in a row are a table."""

_ROW = "{ ptr, ptr, i64, i64, i64 }"
_SCRATCH = "declare ptr @fdl_scratch(i64)"
_PARALLEL = "declare void @fdl_parallel(ptr, ptr, ptr, i64, i64, i64)"
_LOOP = f"""
define internal void @fdl_steps(ptr %frame, ptr %ctx, ptr %rows, i64 %count) {ATTRIBUTE} {{
entry:
  %table_cell = getelementptr inbounds i8, ptr %ctx, i64 16
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %done ]
  %row = getelementptr inbounds {_ROW}, ptr %rows, i64 %i
  %body = load ptr, ptr %row, align 8
  %second = getelementptr inbounds i8, ptr %row, i64 8
  %table = load ptr, ptr %second, align 8
  store ptr %table, ptr %table_cell, align 8
  %third = getelementptr inbounds i8, ptr %row, i64 16
  %bytes = load i64, ptr %third, align 8
  %fourth = getelementptr inbounds i8, ptr %row, i64 24
  %extent = load i64, ptr %fourth, align 8
  %threads = icmp ne i64 %extent, 0
  br i1 %threads, label %parallel, label %serial
parallel:
  %fifth = getelementptr inbounds i8, ptr %row, i64 32
  %grain = load i64, ptr %fifth, align 8
  call void @fdl_parallel(ptr %frame, ptr %body, ptr %ctx, i64 %extent, i64 %grain, i64 %bytes)
  br label %done
serial:
  %needs = icmp ne i64 %bytes, 0
  br i1 %needs, label %take, label %run
take:
  %block = call ptr @fdl_scratch(i64 %bytes)
  br label %run
run:
  %scratch = phi ptr [ null, %serial ], [ %block, %take ]
  call void %body(ptr %ctx, i64 0, i64 0, ptr %scratch)
  br label %done
done:
  %next = add nuw nsw i64 %i, 1
  %more = icmp ult i64 %next, %count
  br i1 %more, label %loop, label %exit
exit:
  ret void
}}
"""


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a kernel: its symbol, the table of its buffers (see `outline`), and the bytes of scratch that a thread of it needs.

    With an `extent` it is the body of a parallel loop, of which a piece has at least `grain` iterations.
    """

    kernel: str
    table: str
    scratch_bytes: int
    extent: int = 0
    grain: int = 0


def scratch(code: Code, nbytes: int) -> str:
    """The scratch operand of a kernel that is called directly."""
    if not nbytes:
        return "null"
    code.module.external("fdl_scratch", _SCRATCH)
    return code.emit(f"call ptr @fdl_scratch(i64 {nbytes})")


def parallel(code: Code, kernel: str, context: str, extent: str, grain: str, scratch_bytes: int) -> None:
    """Calls a kernel for all the iterations of a parallel loop."""
    code.module.external("fdl_parallel", _PARALLEL)
    code.do(f"call void @fdl_parallel(ptr %frame, ptr @{kernel}, ptr {context}, i64 {extent}, i64 {grain}, i64 {scratch_bytes})")


def write(code: Code, steps: Sequence[Step], context: str, symbol: str) -> None:
    """Calls kernels one after another; `symbol` is the name that a table of them gets."""
    if len(steps) >= ENOUGH:
        _table(code, steps, context, symbol)
        return
    for step in steps:
        store_word(code, context, 2, "ptr", step.table)
        if step.extent:
            parallel(code, step.kernel, context, str(step.extent), str(step.grain), step.scratch_bytes)
        else:
            code.do(f"call void @{step.kernel}(ptr {context}, i64 0, i64 0, ptr {scratch(code, step.scratch_bytes)})")


def _table(code: Code, steps: Sequence[Step], context: str, symbol: str) -> None:
    module = code.module
    module.external("fdl_scratch", _SCRATCH)
    module.external("fdl_parallel", _PARALLEL)
    module.helpers["fdl_steps"] = _LOOP
    rows = ", ".join(
        f"{_ROW} {{ ptr @{s.kernel}, ptr {s.table}, i64 {s.scratch_bytes}, i64 {s.extent}, i64 {s.grain} }}" for s in steps
    )
    module.globals[symbol] = f"{symbol} = internal constant [{len(steps)} x {_ROW}] [{rows}], align 8"
    code.do(f"call void @fdl_steps(ptr %frame, ptr {context}, ptr {symbol}, i64 {len(steps)})")
