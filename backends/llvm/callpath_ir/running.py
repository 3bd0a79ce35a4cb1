"""One call of an entry that fits: `@run`, `@consume`; and reference counts."""

from __future__ import annotations

from ..layout import ARRAY_BASE, ARRAY_FLAGS, OWNDATA, TYPE
from .fields import HOLD, RELEASE, ROW, entry, load, part, self_, store

REFERENCES = f"""
define internal void @hold(ptr %object) {{
  %count = load i32, ptr %object
  %mortal = icmp sge i32 %count, 0
  %step = zext i1 %mortal to i32
  %more = add i32 %count, %step
  store i32 %more, ptr %object
  ret void
}}
define internal void @drop(ptr %object) {{
  %count = load i32, ptr %object
  %shared = icmp sgt i32 %count, 1
  br i1 %shared, label %lower, label %last
lower:
  %less = sub i32 %count, 1
  store i32 %less, ptr %object
  ret void
last:
  call void @Py_DecRef(ptr %object)
  ret void
}}
define internal void @drop_any(ptr %object) {{
  %none = icmp eq ptr %object, null
  br i1 %none, label %done, label %some
some:
  call void @drop(ptr %object)
  br label %done
done:
  ret void
}}
; Whether nothing but its Array and this call's hold refers to the storage, and it owns its memory: its own elements,
; NumPy's own memory, or a recycled block (from here in a capsule, from `pool.empty` in an object).
define internal i1 @exclusive(ptr %array) {{
  %count = load i32, ptr %array
  %two = icmp eq i32 %count, 2
  br i1 %two, label %kind, label %no
kind:
  %small = call i1 @is_small(ptr %array)
  br i1 %small, label %yes, label %owner
owner:
{load("base", "ptr", "%array", ARRAY_BASE)}
  %itself = icmp eq ptr %base, null
  br i1 %itself, label %flag, label %capsule
flag:
{load("flags", "i32", "%array", ARRAY_FLAGS)}
  %own = and i32 %flags, {OWNDATA}
  %owns = icmp ne i32 %own, 0
  ret i1 %owns
capsule:
{load("type", "ptr", "%base", TYPE)}
  %capsule_type = icmp eq ptr %type, @PyCapsule_Type
  %block_type = icmp eq ptr %type, @block_type
  %block = or i1 %capsule_type, %block_type
  %references = load i32, ptr %base
  %once = icmp eq i32 %references, 1
  %both = and i1 %block, %once
  ret i1 %both
yes:
  ret i1 1
no:
  ret i1 0
}}
"""


RUN = f"""
@failure_format = internal constant [11 x i8] c"OiL(LLL)\\00\\00\\00"

; Runs a matched entry, whose reference it takes over.
define internal ptr @run(ptr %self, ptr %e, ptr %mem) {{
entry:
{entry("owner", "program", "donations", "donation_rows", "outputs", "output_rows", "consts", "const_table", "inputs")}
{entry("leaves", "arena_bytes", "flags", "poll", "callback", "max_threads", "at_arena")}
{part("buffers", "at_buffers")}
{part("held", "at_leaves")}
{part("outs", "at_outputs")}
{part("stack", "at_stack")}
{part("registers", "at_registers")}
  %out_count = udiv i64 %outputs, {ROW}
  %out_bytes = shl i64 %out_count, 3
  call void @llvm.memset.p0.i64(ptr %outs, i8 0, i64 %out_bytes, i1 false)
  %holding = and i64 %flags, {HOLD}
  %holds = icmp ne i64 %holding, 0
  %held_count = select i1 %holds, i64 %leaves, i64 0
  br label %hold_loop
hold_loop:
  %h = phi i64 [ 0, %entry ], [ %h1, %hold_one ]
  %h.end = icmp eq i64 %h, %held_count
  br i1 %h.end, label %constants, label %hold_one
hold_one:
  %h.at = getelementptr ptr, ptr %held, i64 %h
  %h.array = load ptr, ptr %h.at
  %h.old = load i32, ptr %h.array
  %h.mortal = icmp sge i32 %h.old, 0
  %h.step = zext i1 %h.mortal to i32
  %h.new = add i32 %h.old, %h.step
  store i32 %h.new, ptr %h.array
  %h1 = add i64 %h, 1
  br label %hold_loop

constants:
  %k = phi i64 [ 0, %hold_loop ], [ %k1, %constant ]
  %k.end = icmp eq i64 %k, %consts
  br i1 %k.end, label %allocate, label %constant
constant:
  %k.from = getelementptr ptr, ptr %const_table, i64 %k
  %k.pointer = load ptr, ptr %k.from
  %k.slot = add i64 %inputs, %k
  %k.to = getelementptr ptr, ptr %buffers, i64 %k.slot
  store ptr %k.pointer, ptr %k.to
  %k1 = add i64 %k, 1
  br label %constants

allocate:
  %out_slot = add i64 %inputs, %consts
  %out_buffers = getelementptr ptr, ptr %buffers, i64 %out_slot
  br label %allocate_loop
allocate_loop:
  %o = phi i64 [ 0, %allocate ], [ %o1, %allocate_next ]
  %o.end = icmp eq i64 %o, %out_count
  br i1 %o.end, label %arena, label %allocate_one
allocate_one:
  %o.offset = mul i64 %o, {ROW}
  %o.row = getelementptr i8, ptr %output_rows, i64 %o.offset
{load("o.alias", "i64", "%o.row", 40)}
  %o.fresh = icmp slt i64 %o.alias, 0
  br i1 %o.fresh, label %allocate_new, label %allocate_next
allocate_new:
  %o.array = call ptr @new_storage(ptr %o.row)
  %o.bad = icmp eq ptr %o.array, null
  br i1 %o.bad, label %fail_early, label %allocate_set
allocate_set:
  %o.at = getelementptr ptr, ptr %outs, i64 %o
  store ptr %o.array, ptr %o.at
  %o.pointer = call ptr @elements(ptr %o.array)
  %o.to = getelementptr ptr, ptr %out_buffers, i64 %o
  store ptr %o.pointer, ptr %o.to
  br label %allocate_next
allocate_next:
  %o1 = add i64 %o, 1
  br label %allocate_loop

arena:
  %no_arena = icmp eq i64 %arena_bytes, 0
  br i1 %no_arena, label %donate, label %arena_where
arena_where:
  %pooled = icmp slt i64 %at_arena, 0
  br i1 %pooled, label %arena_take, label %arena_stack
arena_stack:
  %arena.inline = getelementptr i8, ptr %mem, i64 %at_arena
  br label %donate
arena_take:
  %arena.block = call ptr @fdl_take(i64 %arena_bytes)
  %arena.bad = icmp eq ptr %arena.block, null
  br i1 %arena.bad, label %fail_arena, label %donate
fail_arena:
  %e1 = call ptr @PyErr_NoMemory()
  br label %fail_early

donate:
  %arena.pointer = phi ptr [ null, %arena ], [ %arena.inline, %arena_stack ], [ %arena.block, %arena_take ]
  %borrowed = phi i1 [ 0, %arena ], [ 0, %arena_stack ], [ 1, %arena_take ]
  %has_donations = icmp ne i64 %donations, 0
  br i1 %has_donations, label %consume, label %frame
consume:
  %d.ok = call i1 @consume(ptr %self, ptr %e, ptr %mem)
  br i1 %d.ok, label %frame, label %fail_late

frame:
  store ptr %arena.pointer, ptr %mem
{store("f1", "i64", "0", "%mem", 8)}
{store("f2", "i64", str(2**63 - 1), "%mem", 16)}
{store("f7", "i64", "0", "%mem", 56)}
{store("f8", "i64", "0", "%mem", 64)}
{store("f9", "i64", "%poll", "%mem", 72)}
{store("f10", "i64", "%callback", "%mem", 80)}
{store("f11", "i64", "0", "%mem", 88)}
{store("f12", "i64", "%max_threads", "%mem", 96)}
{store("f13", "i64", "0", "%mem", 104)}
{store("f14", "i64", "0", "%mem", 112)}
{store("f15", "i64", "0", "%mem", 120)}
  %flags32 = trunc i64 %flags to i32
  %release = and i32 %flags32, {RELEASE}
  %status = call i32 @fdl_call(ptr %program, ptr %mem, ptr %buffers, i32 %release)
  br i1 %borrowed, label %arena_give, label %after
arena_give:
  call void @fdl_give(ptr %arena.pointer, i64 %arena_bytes)
  br label %after
after:
  call void @let_go(ptr %held, i64 %held_count)
  %fine = icmp eq i32 %status, 0
  br i1 %fine, label %wrap_all, label %failure

wrap_all:
  %w = phi i64 [ 0, %after ], [ %w1, %wrap_set ]
  %w.end = icmp eq i64 %w, %out_count
  br i1 %w.end, label %make, label %wrap_one
wrap_one:
  %w.offset = mul i64 %w, {ROW}
  %w.row = getelementptr i8, ptr %output_rows, i64 %w.offset
  %w.at = getelementptr ptr, ptr %outs, i64 %w
  %w.array = load ptr, ptr %w.at
  %w.object = call ptr @wrap(ptr %self, ptr %w.row, ptr %w.array)
  store ptr %w.object, ptr %w.at
  %w.bad = icmp eq ptr %w.object, null
  br i1 %w.bad, label %finish, label %wrap_set
wrap_set:
  %w1 = add i64 %w, 1
  br label %wrap_all
make:
  %result = call ptr @build(ptr %e, ptr %outs, ptr %stack)
  br label %finish

failure:
  %pending = call ptr @PyErr_Occurred()
  %raised = icmp ne ptr %pending, null
  br i1 %raised, label %finish, label %report
report:
{self_("fail")}
{load("site", "i64", "%mem", 24)}
{load("v0", "i64", "%mem", 32)}
{load("v1", "i64", "%mem", 40)}
{load("v2", "i64", "%mem", 48)}
  %verdict = call ptr (ptr, ptr, ...) @PyObject_CallFunction(ptr %fail, ptr @failure_format, ptr %owner,
    i32 %status, i64 %site, i64 %v0, i64 %v1, i64 %v2)
  br label %finish

fail_late:
  br i1 %borrowed, label %fail_give, label %fail_early
fail_give:
  call void @fdl_give(ptr %arena.pointer, i64 %arena_bytes)
  br label %fail_early
fail_early:
  call void @let_go(ptr %held, i64 %held_count)
  br label %finish

finish:
  %answer = phi ptr [ %result, %make ], [ null, %failure ], [ %verdict, %report ], [ null, %fail_early ], [ null, %wrap_one ]
  br label %drop_loop
drop_loop:
  %x = phi i64 [ 0, %finish ], [ %x1, %drop_one ]
  %x.end = icmp eq i64 %x, %out_count
  br i1 %x.end, label %leave, label %drop_one
drop_one:
  %x.at = getelementptr ptr, ptr %outs, i64 %x
  %x.object = load ptr, ptr %x.at
  call void @drop_any(ptr %x.object)
  %x1 = add i64 %x, 1
  br label %drop_loop
leave:
  call void @drop(ptr %owner)
  ret ptr %answer
}}

define internal void @let_go(ptr %held, i64 %count) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %i1, %next ]
  %end = icmp eq i64 %i, %count
  br i1 %end, label %done, label %one
one:
  %at = getelementptr ptr, ptr %held, i64 %i
  %array = load ptr, ptr %at
  %old = load i32, ptr %array
  %shared = icmp sgt i32 %old, 1
  br i1 %shared, label %lower, label %last
lower:
  %new = sub i32 %old, 1
  store i32 %new, ptr %array
  br label %next
last:
  call void @Py_DecRef(ptr %array)
  br label %next
next:
  %i1 = add i64 %i, 1
  br label %loop
done:
  ret void
}}

; Donations, then in-place outputs.  An exclusive input loses its storage here, before anything can run that would see
; it half-updated; the reference goes to its output, or is dropped with the holds.  What is not exclusive or not donated
; is copied.  Row: leaf, register, message, output (-1 for none), whether it is donated.
define internal i1 @consume(ptr %self, ptr %e, ptr %mem) {{
entry:
{entry("donations", "donation_rows", "output_rows", "inputs", "consts")}
{part("buffers", "at_buffers")}
{part("held", "at_leaves")}
{part("outs", "at_outputs")}
{part("registers", "at_registers")}
{self_("data", "consumed")}
  %out_slot = add i64 %inputs, %consts
  %out_buffers = getelementptr ptr, ptr %buffers, i64 %out_slot
  %last = getelementptr i8, ptr %donation_rows, i64 %donations
  br label %loop
loop:
  %row = phi ptr [ %donation_rows, %entry ], [ %row1, %next ]
  %end = icmp eq ptr %row, %last
  br i1 %end, label %yes, label %step
step:
  %leaf = load i64, ptr %row
{load("register", "i64", "%row", 8)}
{load("message", "ptr", "%row", 16)}
{load("output", "i64", "%row", 24)}
{load("donated", "i64", "%row", 32)}
  %out.at = getelementptr ptr, ptr %outs, i64 %output
  %plain = icmp slt i64 %output, 0
  %given = icmp ne i64 %donated, 0
  br i1 %given, label %offered, label %shared
offered:
  %array.at = getelementptr ptr, ptr %held, i64 %leaf
  %array = load ptr, ptr %array.at
  %object.at = getelementptr ptr, ptr %registers, i64 %register
  %object = load ptr, ptr %object.at
  %sole = call i1 @exclusive(ptr %array)
  br i1 %sole, label %take, label %shared
take:
  %data.slot = getelementptr i8, ptr %object, i64 %data
  %consumed.slot = getelementptr i8, ptr %object, i64 %consumed
  call void @Py_IncRef(ptr @_Py_NoneStruct)
  call void @Py_IncRef(ptr %message)
  store ptr @_Py_NoneStruct, ptr %data.slot
  store ptr %message, ptr %consumed.slot
  call void @Py_DecRef(ptr @_Py_NoneStruct)
  br i1 %plain, label %release, label %reuse
release:
; The hold remains, so the memory lives until the program has returned.
  call void @drop(ptr %array)
  br label %next
reuse:
  store ptr %array, ptr %out.at
  %pointer = call ptr @elements(ptr %array)
  %reuse.at = getelementptr ptr, ptr %out_buffers, i64 %output
  store ptr %pointer, ptr %reuse.at
  br label %next
shared:
  br i1 %plain, label %next, label %copy
copy:
  %offset = mul i64 %output, {ROW}
  %out.row = getelementptr i8, ptr %output_rows, i64 %offset
  %fresh = call ptr @new_storage(ptr %out.row)
  %bad = icmp eq ptr %fresh, null
  br i1 %bad, label %no, label %fill
fill:
  store ptr %fresh, ptr %out.at
{load("bytes", "i64", "%out.row", 32)}
{load("slot", "i64", "%out.row", 48)}
  %to = call ptr @elements(ptr %fresh)
  %in.at = getelementptr ptr, ptr %buffers, i64 %slot
  %from = load ptr, ptr %in.at
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %bytes, i1 false)
  store ptr %to, ptr %in.at
  %share.at = getelementptr ptr, ptr %out_buffers, i64 %output
  store ptr %to, ptr %share.at
  br label %next
next:
  %row1 = getelementptr i8, ptr %row, i64 {ROW}
  br label %loop
yes:
  ret i1 1
no:
  ret i1 0
}}
"""
