"""Each thread's record and its scratch blocks: `@fdl_scratch`, `@fdl_level`."""

from __future__ import annotations

# A thread's record: 0 depth | 8 length of the table | 16 table of {block, size} | 24 chain of every block ever made
# | 32 whether it is a worker.  Level d of nesting owns table entries 2d (fdl_scratch) and 2d + 1 (the chunks of a
# parallel loop started there), so a nested call never moves a block that an outer one holds.  A block that grows
# stays in the chain until its thread ends: sizes at least double, so the waste is at most the final size.
THREADS = """
declare ptr @malloc(i64)
declare ptr @calloc(i64, i64)
declare ptr @realloc(ptr, i64)
declare void @free(ptr)
declare void @llvm.trap()
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare i64 @llvm.umax.i64(i64, i64)
declare i64 @llvm.umin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.ctlz.i64(i64, i1)

define internal ptr @thread_record() {
entry:
  %have = call ptr @tls_get()
  %none = icmp eq ptr %have, null
  br i1 %none, label %create, label %done
create:
  %new = call ptr @calloc(i64 1, i64 40)
  %bad = icmp eq ptr %new, null
  br i1 %bad, label %trap, label %keep
trap:
  call void @llvm.trap()
  unreachable
keep:
  call void @tls_set(ptr %new)
  br label %done
done:
  %record = phi ptr [ %have, %entry ], [ %new, %keep ]
  ret ptr %record
}

define internal void @thread_record_free(ptr %record) {
entry:
  %chain = getelementptr i8, ptr %record, i64 24
  %first = load ptr, ptr %chain
  br label %loop
loop:
  %block = phi ptr [ %first, %entry ], [ %next, %release ]
  %end = icmp eq ptr %block, null
  br i1 %end, label %done, label %release
release:
  %next = load ptr, ptr %block
  call void @free(ptr %block)
  br label %loop
done:
  %table_cell = getelementptr i8, ptr %record, i64 16
  %table = load ptr, ptr %table_cell
  call void @free(ptr %table)
  call void @free(ptr %record)
  ret void
}

define internal ptr @thread_block(ptr %record, i64 %index, i64 %bytes) {
entry:
  %length_cell = getelementptr i8, ptr %record, i64 8
  %table_cell = getelementptr i8, ptr %record, i64 16
  %length = load i64, ptr %length_cell
  %table = load ptr, ptr %table_cell
  %inside = icmp ult i64 %index, %length
  br i1 %inside, label %look, label %widen
widen:
  %double = shl i64 %index, 1
  %count = call i64 @llvm.umax.i64(i64 %double, i64 8)
  %size = shl i64 %count, 4
  %wider = call ptr @realloc(ptr %table, i64 %size)
  %none = icmp eq ptr %wider, null
  br i1 %none, label %trap, label %clear
clear:
  %old_size = shl i64 %length, 4
  %tail = getelementptr i8, ptr %wider, i64 %old_size
  %fresh = sub i64 %size, %old_size
  call void @llvm.memset.p0.i64(ptr %tail, i8 0, i64 %fresh, i1 false)
  store ptr %wider, ptr %table_cell
  store i64 %count, ptr %length_cell
  br label %look
look:
  %slots = phi ptr [ %table, %entry ], [ %wider, %clear ]
  %offset = shl i64 %index, 4
  %slot = getelementptr i8, ptr %slots, i64 %offset
  %have_cell = getelementptr i8, ptr %slot, i64 8
  %have = load i64, ptr %have_cell
  %block = load ptr, ptr %slot
  %enough = icmp uge i64 %have, %bytes
  br i1 %enough, label %done, label %grow
grow:
  %twice = shl i64 %have, 1
  %a = call i64 @llvm.umax.i64(i64 %twice, i64 %bytes)
  %b = call i64 @llvm.umax.i64(i64 %a, i64 4096)
  %raw_size = add i64 %b, 128
  %raw = call ptr @malloc(i64 %raw_size)
  %failed = icmp eq ptr %raw, null
  br i1 %failed, label %trap, label %link
trap:
  call void @llvm.trap()
  unreachable
link:
  %chain = getelementptr i8, ptr %record, i64 24
  %before = load ptr, ptr %chain
  store ptr %before, ptr %raw
  store ptr %raw, ptr %chain
  %address = ptrtoint ptr %raw to i64
  %past = add i64 %address, 127
  %aligned = and i64 %past, -64
  %made = inttoptr i64 %aligned to ptr
  store ptr %made, ptr %slot
  store i64 %b, ptr %have_cell
  br label %done
done:
  %result = phi ptr [ %block, %look ], [ %made, %link ]
  ret ptr %result
}

define ptr @fdl_scratch(i64 %bytes) {
  %record = call ptr @thread_record()
  %depth = load i64, ptr %record
  %index = shl i64 %depth, 1
  %size = call i64 @llvm.umax.i64(i64 %bytes, i64 64)
  %block = call ptr @thread_block(ptr %record, i64 %index, i64 %size)
  ret ptr %block
}

; A callback into Python runs one level deeper: what it calls may use scratch while the outer call holds some.
define void @fdl_level(i64 %change) {
  %record = call ptr @thread_record()
  %depth = load i64, ptr %record
  %next = add i64 %depth, %change
  store i64 %next, ptr %record
  ret void
}
"""
