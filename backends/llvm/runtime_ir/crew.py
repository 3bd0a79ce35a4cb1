"""The thread pool: `@fdl_parallel`, `@fdl_worker`, `@fdl_set_threads`, `@fdl_after_fork`.

The pool keeps a job in a few globals and publishes it through one atomic word::

    63            44 43     32 31             0
    | generation    | seats   | chunks left    |

A thread takes a chunk by a compare-and-swap that lowers "chunks left" (and, at its first chunk of a job, "seats": how
many more threads may join).  The job's fields are read only after a successful swap.  Invariant: a job's fields
change only when every chunk of it is finished, and a chunk that was taken is not finished, so they are stable for
whoever took one.  Counting down rather than up makes a stale word harmless: it fails the swap, or equals the current
one.  `pending` counts unfinished chunks; the caller drains like any worker and then waits for it to reach zero.

Which chunk it is: the caller takes them from the first one on, by its own count, workers from the last one back, by the
count `from_the_end`, which they share.  Swaps that succeed are as many as chunks, so the two never meet.  In one loop after
the other, a core then goes through the same part of the arrays: what it wrote is in its own cache, and not in another's.

Waking: a worker spins for `SPIN_NS`, counts itself in `sleepers`, reads the word again and waits for its upper half
to change; a publisher stores the word and then reads `sleepers`.  Both are sequentially consistent, so one of the two
sees the other.  A lost wake-up could only cost speed: the caller finishes the job without help.

The chunks are the same whether one thread or many run them, so the bits of a result are too.
"""

from __future__ import annotations

from typing import Final

from .frames import POLL_NS

SPIN_NS: Final = 250_000
"""How long a worker without work, or a caller without chunks, spins before it sleeps."""
MAX_THREADS: Final = 4095
"""What the word has room for."""

CREW = f"""
@word = internal global i64 0, align 128
@pending = internal global i32 0, align 128
@waiting = internal global i32 0
@busy = internal global i32 0, align 128
@sleepers = internal global i32 0, align 128
@epoch = internal global i64 1
@threads = internal global i64 1
@started = internal global i64 0
@spawn_failed = internal global i64 0
@job_frame = internal global ptr null, align 128
@job_body = internal global ptr null
@job_ctx = internal global ptr null
@job_n = internal global i64 0
@job_grain = internal global i64 0
@job_chunks = internal global i64 0
@job_bytes = internal global i64 0
@from_the_end = internal global i64 0, align 128

; After a stop no chunk runs, and the caller takes what is left at once: whoever called the program sees the
; stop word and drops the outputs.
define internal void @run_chunk(ptr %frame, ptr %body, ptr %ctx, i64 %n, i64 %grain, i64 %index, ptr %scratch) {{
  %stop_cell = getelementptr i64, ptr %frame, i64 7
  %stop = load atomic i64, ptr %stop_cell monotonic, align 8
  %stopped = icmp ne i64 %stop, 0
  br i1 %stopped, label %done, label %run
run:
  %begin = mul i64 %index, %grain
  %rest = sub i64 %n, %begin
  %size = call i64 @llvm.umin.i64(i64 %rest, i64 %grain)
  %end = add i64 %begin, %size
  call void %body(ptr %ctx, i64 %begin, i64 %end, ptr %scratch)
  br label %done
done:
  ret void
}}

define internal void @run_serial(ptr %frame, ptr %body, ptr %ctx, i64 %n, i64 %grain, i64 %chunks, ptr %scratch) {{
entry:
  br label %loop
loop:
  %index = phi i64 [ 0, %entry ], [ %next, %loop ]
  call void @run_chunk(ptr %frame, ptr %body, ptr %ctx, i64 %n, i64 %grain, i64 %index, ptr %scratch)
  %polled = call i32 @fdl_poll(ptr %frame)
  %going = icmp eq i32 %polled, 0
  %next = add i64 %index, 1
  %rest = icmp ult i64 %next, %chunks
  %more = and i1 %going, %rest
  br i1 %more, label %loop, label %done
done:
  ret void
}}

define void @fdl_parallel(ptr %frame, ptr %body, ptr %ctx, i64 %n, i64 %grain0, i64 %bytes0) {{
entry:
  %empty = icmp sle i64 %n, 0
  br i1 %empty, label %exit, label %split
split:
  %grain = call i64 @llvm.smax.i64(i64 %grain0, i64 1)
  %n1 = sub i64 %n, 1
  %last = udiv i64 %n1, %grain
  %chunks = add i64 %last, 1
  %bytes = call i64 @llvm.smax.i64(i64 %bytes0, i64 64)
  %record = call ptr @thread_record()
  %depth = load i64, ptr %record
  %twice = shl i64 %depth, 1
  %index = or i64 %twice, 1
  %scratch = call ptr @thread_block(ptr %record, i64 %index, i64 %bytes)
  %deeper = add i64 %depth, 1
  store i64 %deeper, ptr %record
  %stop_cell = getelementptr i64, ptr %frame, i64 7
  %limit_cell = getelementptr i64, ptr %frame, i64 12
  %limit = load i64, ptr %limit_cell
  %all = load atomic i64, ptr @threads monotonic, align 8
  %default = icmp eq i64 %limit, 0
  %wanted = select i1 %default, i64 %all, i64 %limit
  %allowed = call i64 @llvm.smin.i64(i64 %wanted, i64 %all)
  %most = call i64 @llvm.smin.i64(i64 %allowed, i64 %chunks)
  %one = icmp sle i64 %most, 1
  %vast = icmp ugt i64 %chunks, 2147483647
  %alone = or i1 %one, %vast
  br i1 %alone, label %serial, label %claim
claim:
  %swap = cmpxchg ptr @busy, i32 0, i32 1 acquire monotonic
  %won = extractvalue {{ i32, i1 }} %swap, 1
  br i1 %won, label %crew, label %serial
serial:
  call void @run_serial(ptr %frame, ptr %body, ptr %ctx, i64 %n, i64 %grain, i64 %chunks, ptr %scratch)
  br label %leave
crew:
  %seats = sub i64 %most, 1
  call void @hire(i64 %seats)
  store ptr %frame, ptr @job_frame
  store ptr %body, ptr @job_body
  store ptr %ctx, ptr @job_ctx
  store i64 %n, ptr @job_n
  store i64 %grain, ptr @job_grain
  store i64 %chunks, ptr @job_chunks
  store i64 %bytes, ptr @job_bytes
  store atomic i64 0, ptr @from_the_end monotonic, align 8
  %chunks32 = trunc i64 %chunks to i32
  store atomic i32 %chunks32, ptr @pending monotonic, align 4
  %before = load atomic i64, ptr @word monotonic, align 8
  %generation = lshr i64 %before, 44
  %next = add i64 %generation, 1
  %g = shl i64 %next, 44
  %s = shl i64 %seats, 32
  %gs = or i64 %g, %s
  %published = or i64 %gs, %chunks
  store atomic i64 %published, ptr @word seq_cst, align 8
  %asleep = load atomic i32, ptr @sleepers seq_cst, align 4
  %quiet = icmp eq i32 %asleep, 0
  br i1 %quiet, label %drain, label %rouse
rouse:
  %few = trunc i64 %seats to i32
  %half = getelementptr i8, ptr @word, i64 4
  call void @os_wake(ptr %half, i32 %few)
  br label %drain
drain:
  %done = phi i32 [ 0, %crew ], [ 0, %rouse ], [ %done, %retry ], [ %done1, %ran ]
  %w = load atomic i64, ptr @word acquire, align 8
  %left = and i64 %w, 4294967295
  %dry = icmp eq i64 %left, 0
  br i1 %dry, label %finish, label %take
take:
  %stop = load atomic i64, ptr %stop_cell monotonic, align 8
  %going = icmp eq i64 %stop, 0
  %share = select i1 %going, i64 1, i64 %left
  %w1 = sub i64 %w, %share
  %took = cmpxchg ptr @word, i64 %w, i64 %w1 acq_rel monotonic
  %mine = extractvalue {{ i64, i1 }} %took, 1
  br i1 %mine, label %run, label %retry
retry:
  br label %drain
run:
  %chunk = zext i32 %done to i64
  call void @run_chunk(ptr %frame, ptr %body, ptr %ctx, i64 %n, i64 %grain, i64 %chunk, ptr %scratch)
  %polled = call i32 @fdl_poll(ptr %frame)
  br label %ran
ran:
  %part = trunc i64 %share to i32
  %done1 = add i32 %done, %part
  br label %drain
finish:
  %had = atomicrmw sub ptr @pending, i32 %done acq_rel
  %last_one = icmp eq i32 %had, %done
  br i1 %last_one, label %release, label %await
await:
  call void @await_workers(ptr %frame)
  br label %release
release:
  store atomic i32 0, ptr @busy release, align 4
  br label %leave
leave:
  store i64 %depth, ptr %record
  br label %exit
exit:
  ret void
}}

; Spins, then sleeps in slices of the polling interval, until every chunk is finished.
define internal void @await_workers(ptr %frame) {{
entry:
  %start = call i64 @os_now()
  %deadline = add i64 %start, {SPIN_NS}
  br label %spin
spin:
  %i = phi i64 [ 0, %entry ], [ %i1, %pause ], [ %i1, %look ]
  %p = load atomic i32, ptr @pending acquire, align 4
  %zero = icmp eq i32 %p, 0
  br i1 %zero, label %done, label %turn
turn:
  %i1 = add i64 %i, 1
  %low = and i64 %i1, 31
  %check = icmp eq i64 %low, 0
  br i1 %check, label %look, label %pause
pause:
  call void @cpu_pause()
  br label %spin
look:
  %now = call i64 @os_now()
  %late = icmp sgt i64 %now, %deadline
  br i1 %late, label %sleep, label %spin
sleep:
  store atomic i32 1, ptr @waiting seq_cst, align 4
  %q = load atomic i32, ptr @pending seq_cst, align 4
  %over = icmp eq i32 %q, 0
  br i1 %over, label %woken, label %wait
wait:
  call void @os_wait(ptr @pending, i32 %q, i64 {POLL_NS})
  %polled = call i32 @fdl_poll(ptr %frame)
  br label %sleep
woken:
  store atomic i32 0, ptr @waiting seq_cst, align 4
  br label %done
done:
  fence acquire
  ret void
}}

; Starts workers up to `count`. Called by the thread that holds `busy`.
define internal void @hire(i64 %count) {{
entry:
  br label %loop
loop:
  %have = load i64, ptr @started
  %failed = load i64, ptr @spawn_failed
  %few = icmp slt i64 %have, %count
  %willing = icmp eq i64 %failed, 0
  %go = and i1 %few, %willing
  br i1 %go, label %spawn, label %done
spawn:
  %epoch = load atomic i64, ptr @epoch monotonic, align 8
  %status = call i32 @os_spawn(i64 %epoch)
  %bad = icmp ne i32 %status, 0
  br i1 %bad, label %refuse, label %count_it
refuse:
  store i64 1, ptr @spawn_failed
  br label %done
count_it:
  %more = add i64 %have, 1
  store i64 %more, ptr @started
  br label %loop
done:
  ret void
}}

define ptr @fdl_worker(ptr %arg) {{
entry:
  %me = ptrtoint ptr %arg to i64
  %old = call i64 @fp_enter()
  %record = call ptr @thread_record()
  store i64 1, ptr %record
  %worker_cell = getelementptr i8, ptr %record, i64 32
  store i64 1, ptr %worker_cell
  br label %fresh
fresh:
  br label %loop
loop:
  %joined = phi i64 [ -1, %fresh ], [ %joined, %retry ], [ %g, %run ], [ %joined, %rested ]
  %done = phi i32 [ 0, %fresh ], [ %done, %retry ], [ %done1, %run ], [ 0, %rested ]
  %w = load atomic i64, ptr @word acquire, align 8
  %left = and i64 %w, 4294967295
  %g = lshr i64 %w, 44
  %dry = icmp eq i64 %left, 0
  br i1 %dry, label %idle, label %seat
seat:
  %in = icmp eq i64 %joined, %g
  %s0 = lshr i64 %w, 32
  %s = and i64 %s0, 4095
  %room = icmp ne i64 %s, 0
  %may = or i1 %in, %room
  br i1 %may, label %take, label %idle
take:
  %cost = select i1 %in, i64 1, i64 4294967297
  %w1 = sub i64 %w, %cost
  %swap = cmpxchg ptr @word, i64 %w, i64 %w1 acq_rel monotonic
  %mine = extractvalue {{ i64, i1 }} %swap, 1
  br i1 %mine, label %run, label %retry
retry:
  call void @cpu_pause()
  br label %loop
run:
  %frame = load ptr, ptr @job_frame
  %body = load ptr, ptr @job_body
  %ctx = load ptr, ptr @job_ctx
  %n = load i64, ptr @job_n
  %grain = load i64, ptr @job_grain
  %chunks = load i64, ptr @job_chunks
  %bytes = load i64, ptr @job_bytes
  %scratch = call ptr @thread_block(ptr %record, i64 1, i64 %bytes)
  %before = atomicrmw add ptr @from_the_end, i64 1 monotonic
  %after = sub i64 %chunks, %before
  %chunk = sub i64 %after, 1
  call void @run_chunk(ptr %frame, ptr %body, ptr %ctx, i64 %n, i64 %grain, i64 %chunk, ptr %scratch)
  %done1 = add i32 %done, 1
  br label %loop
idle:
  %some = icmp ne i32 %done, 0
  br i1 %some, label %report, label %check
report:
  %had = atomicrmw sub ptr @pending, i32 %done seq_cst
  %final = icmp eq i32 %had, %done
  br i1 %final, label %tell, label %check
tell:
  %caller = load atomic i32, ptr @waiting seq_cst, align 4
  %sleeps = icmp ne i32 %caller, 0
  br i1 %sleeps, label %wake, label %check
wake:
  call void @os_wake(ptr @pending, i32 1)
  br label %check
check:
  %now_epoch = load atomic i64, ptr @epoch acquire, align 8
  %same = icmp eq i64 %now_epoch, %me
  br i1 %same, label %rest, label %quit
rest:
  call void @rest(i64 %g, i64 %me)
  br label %rested
rested:
  br label %loop
quit:
  ret ptr null
}}

; Returns when the generation is no longer `g` or the epoch no longer `me`.
define internal void @rest(i64 %g, i64 %me) {{
entry:
  %start = call i64 @os_now()
  %deadline = add i64 %start, {SPIN_NS}
  br label %spin
spin:
  %i = phi i64 [ 0, %entry ], [ %i1, %pause ], [ %i1, %look ]
  %w = load atomic i64, ptr @word monotonic, align 8
  %wg = lshr i64 %w, 44
  %new = icmp ne i64 %wg, %g
  br i1 %new, label %done, label %turn
turn:
  %i1 = add i64 %i, 1
  %low = and i64 %i1, 31
  %check = icmp eq i64 %low, 0
  br i1 %check, label %look, label %pause
pause:
  call void @cpu_pause()
  br label %spin
look:
  %now = call i64 @os_now()
  %late = icmp sgt i64 %now, %deadline
  br i1 %late, label %sleep, label %spin
sleep:
  %c0 = atomicrmw add ptr @sleepers, i32 1 seq_cst
  br label %recheck
recheck:
  %v = load atomic i64, ptr @word seq_cst, align 8
  %vg = lshr i64 %v, 44
  %same = icmp eq i64 %vg, %g
  %e = load atomic i64, ptr @epoch seq_cst, align 8
  %mine = icmp eq i64 %e, %me
  %still = and i1 %same, %mine
  br i1 %still, label %wait, label %awake
wait:
  %high = lshr i64 %v, 32
  %expected = trunc i64 %high to i32
  %half = getelementptr i8, ptr @word, i64 4
  call void @os_wait(ptr %half, i32 %expected, i64 0)
  br label %recheck
awake:
  %c1 = atomicrmw sub ptr @sleepers, i32 1 seq_cst
  br label %done
done:
  ret void
}}

; Ends every worker and sets the number of threads; workers of the new crew start when they are needed.
define i64 @fdl_set_threads(i64 %count) {{
entry:
  br label %claim
claim:
  %swap = cmpxchg ptr @busy, i32 0, i32 1 acquire monotonic
  %won = extractvalue {{ i32, i1 }} %swap, 1
  br i1 %won, label %change, label %again
again:
  call void @os_yield()
  br label %claim
change:
  store atomic i64 %count, ptr @threads monotonic, align 8
  store i64 0, ptr @started
  store i64 0, ptr @spawn_failed
  %e0 = load atomic i64, ptr @epoch monotonic, align 8
  %e1 = add i64 %e0, 1
  store atomic i64 %e1, ptr @epoch seq_cst, align 8
  %w = load atomic i64, ptr @word monotonic, align 8
  %g = lshr i64 %w, 44
  %next = add i64 %g, 1
  %w1 = shl i64 %next, 44
  store atomic i64 %w1, ptr @word seq_cst, align 8
  %half = getelementptr i8, ptr @word, i64 4
  call void @os_wake(ptr %half, i32 2147483647)
  store atomic i32 0, ptr @busy release, align 4
  ret i64 %e1
}}

; For platforms where Python makes the threads.
define void @fdl_set_started(i64 %count) {{
  store i64 %count, ptr @started
  ret void
}}

define void @fdl_init() {{
  call void @os_init()
  call void @tls_init()
  ret void
}}

; The child of a fork has one thread: whatever the others held is free again, and the crew is gone.
define void @fdl_after_fork() {{
  call void @os_init()
  store i32 0, ptr @busy
  store i32 0, ptr @pending
  store i32 0, ptr @sleepers
  store i32 0, ptr @waiting
  store i64 0, ptr @started
  store i64 0, ptr @spawn_failed
  %w = load i64, ptr @word
  %g = lshr i64 %w, 44
  %next = add i64 %g, 1
  %w1 = shl i64 %next, 44
  store i64 %w1, ptr @word
  %e0 = load i64, ptr @epoch
  %e1 = add i64 %e0, 1
  store i64 %e1, ptr @epoch
  ret void
}}
"""
