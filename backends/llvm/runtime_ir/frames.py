"""What a running program does with its frame: `@fdl_fail`, `@fdl_poll`; and `@fdl_call`, which runs a program."""

from __future__ import annotations

from typing import Final

from .processor import Architecture, poll_cycles

POLL_NS: Final = 20_000_000
"""How often a program looks for signals."""


def frames(arch: Architecture) -> str:
    """The functions above, as text."""
    return _FRAMES.replace("CYCLES", str(poll_cycles(arch)))


_FRAMES = f"""
declare i32 @PyGILState_Ensure()
declare void @PyGILState_Release(i32)
declare i32 @PyErr_CheckSignals()

define void @fdl_fail(ptr %frame, i64 %site, i64 %iteration, i64 %v0, i64 %v1, i64 %v2) {{
entry:
  %lock = getelementptr i64, ptr %frame, i64 1
  %key_cell = getelementptr i64, ptr %frame, i64 2
  %high = shl i64 %site, 40
  %key = or i64 %high, %iteration
  %seen = load atomic i64, ptr %key_cell monotonic, align 8
  %early = icmp slt i64 %key, %seen
  br i1 %early, label %acquire, label %done
acquire:
  %swap = cmpxchg ptr %lock, i64 0, i64 1 acquire monotonic
  %won = extractvalue {{ i64, i1 }} %swap, 1
  br i1 %won, label %compare, label %again
again:
  call void @cpu_pause()
  br label %acquire
compare:
  %current = load atomic i64, ptr %key_cell monotonic, align 8
  %lower = icmp slt i64 %key, %current
  br i1 %lower, label %write, label %release
write:
  %site_cell = getelementptr i64, ptr %frame, i64 3
  %cell0 = getelementptr i64, ptr %frame, i64 4
  %cell1 = getelementptr i64, ptr %frame, i64 5
  %cell2 = getelementptr i64, ptr %frame, i64 6
  store i64 %site, ptr %site_cell
  store i64 %v0, ptr %cell0
  store i64 %v1, ptr %cell1
  store i64 %v2, ptr %cell2
  store atomic i64 %key, ptr %key_cell monotonic, align 8
  br label %release
release:
  store atomic i64 0, ptr %lock release, align 8
  br label %done
done:
  ret void
}}

define i32 @fdl_check_signals(ptr %frame) {{
  %state = call i32 @PyGILState_Ensure()
  %status = call i32 @PyErr_CheckSignals()
  call void @PyGILState_Release(i32 %state)
  ret i32 %status
}}

declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)

; Runs a program from Python: with the fixed floating-point control, the interpreter lock released if asked, and
; status 2 where the stop word is set, because the pool then skipped chunks.
define i32 @fdl_call(ptr %program, ptr %frame, ptr %buffers, i32 %release) {{
entry:
  %control = call i64 @fp_enter()
  %long = icmp ne i32 %release, 0
  br i1 %long, label %save, label %run
save:
  %saved = call ptr @PyEval_SaveThread()
  br label %run
run:
  %state = phi ptr [ null, %entry ], [ %saved, %save ]
  %status = call i32 %program(ptr %frame, ptr %buffers)
  br i1 %long, label %restore, label %back
restore:
  call void @PyEval_RestoreThread(ptr %state)
  br label %back
back:
  call void @fp_leave(i64 %control)
  %stop_cell = getelementptr i64, ptr %frame, i64 7
  %stop = load atomic i64, ptr %stop_cell monotonic, align 8
  %stopped = icmp ne i64 %stop, 0
  %fine = icmp eq i32 %status, 0
  %skipped = and i1 %stopped, %fine
  %result = select i1 %skipped, i32 2, i32 %status
  ret i32 %result
}}

define i32 @fdl_poll(ptr %frame) {{
entry:
  %stop_cell = getelementptr i64, ptr %frame, i64 7
  %stop = load atomic i64, ptr %stop_cell monotonic, align 8
  %stopped = icmp ne i64 %stop, 0
  br i1 %stopped, label %yes, label %ask
ask:
  %poll_cell = getelementptr i64, ptr %frame, i64 9
  %poll = load ptr, ptr %poll_cell
  %nothing = icmp eq ptr %poll, null
  br i1 %nothing, label %no, label %cycles
cycles:
  %t = call i64 @cpu_cycles()
  %t_cell = getelementptr i64, ptr %frame, i64 13
  %t0 = load atomic i64, ptr %t_cell monotonic, align 8
  %passed = sub i64 %t, %t0
  %soon = icmp ult i64 %passed, CYCLES
  br i1 %soon, label %no, label %owner
owner:
  %record = call ptr @thread_record()
  %worker_cell = getelementptr i8, ptr %record, i64 32
  %worker = load i64, ptr %worker_cell
  %helper = icmp ne i64 %worker, 0
  br i1 %helper, label %no, label %clock
clock:
  store atomic i64 %t, ptr %t_cell monotonic, align 8
  %now = call i64 @os_now()
  %last_cell = getelementptr i64, ptr %frame, i64 11
  %last = load i64, ptr %last_cell
  %first = icmp eq i64 %last, 0
  br i1 %first, label %begin, label %due
begin:
  store i64 %now, ptr %last_cell
  br label %no
due:
  %elapsed = sub i64 %now, %last
  %wait = icmp slt i64 %elapsed, {POLL_NS}
  br i1 %wait, label %no, label %run
run:
  store i64 %now, ptr %last_cell
  call void @fdl_level(i64 1)
  %status = call i32 %poll(ptr %frame)
  call void @fdl_level(i64 -1)
  %fine = icmp eq i32 %status, 0
  br i1 %fine, label %no, label %halt
halt:
  store atomic i64 1, ptr %stop_cell monotonic, align 8
  br label %yes
yes:
  ret i32 2
no:
  ret i32 0
}}
"""
