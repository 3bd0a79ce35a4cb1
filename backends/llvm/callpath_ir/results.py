"""Outputs to the result: `@new_storage`, `@wrap` and `@build`."""

from __future__ import annotations

from ..layout import ALIGNED, ARRAY_BASE, C_CONTIGUOUS, LIST_ITEMS, Layout
from .fields import BUILD_CONST, BUILD_DICT, BUILD_LIST, BUILD_NAMED, BUILD_OUT, ROW, entry, load, self_, store
from .small import MAX_BYTES, MAX_RANK


def outputs(large: int) -> str:
    """`@new_storage`: a small result or a read-only ndarray for one row of the outputs; `@wrap`: the fdl.Array around it."""
    return f"""
; Row: rank, dims, dtype, weak, bytes, alias leaf (-1 for none), alias slot, alias donation.
define internal ptr @new_storage(ptr %row) {{
entry:
  %rank = load i64, ptr %row
{load("dims", "ptr", "%row", 8)}
{load("dtype", "ptr", "%row", 16)}
{load("bytes", "i64", "%row", 32)}
  %rank32 = trunc i64 %rank to i32
  %large = icmp sge i64 %bytes, {large}
  br i1 %large, label %recycled, label %own_size
own_size:
  %few = icmp ule i64 %bytes, {MAX_BYTES}
  %flat = icmp ule i64 %rank, {MAX_RANK}
  %inside = and i1 %few, %flat
  br i1 %inside, label %small, label %plain
small:
  %object = call ptr @new_small(ptr %dtype, i64 %rank, ptr %dims, i64 %bytes)
  ret ptr %object
plain:
  %ndarray = call ptr @new_ndarray(ptr %dtype, i32 %rank32, ptr %dims)
  ret ptr %ndarray
recycled:
  %block = call ptr @fdl_take(i64 %bytes)
  %block.bad = icmp eq ptr %block, null
  br i1 %block.bad, label %memory, label %own
memory:
  %e0 = call ptr @PyErr_NoMemory()
  br label %fail
own:
  %name = call ptr @fdl_block_name()
  %capsule = call ptr @PyCapsule_New(ptr %block, ptr %name, ptr @fdl_block_free)
  %capsule.bad = icmp eq ptr %capsule, null
  br i1 %capsule.bad, label %give, label %context
give:
  call void @fdl_give(ptr %block, i64 %bytes)
  br label %fail
context:
  %size = inttoptr i64 %bytes to ptr
  %status = call i32 @PyCapsule_SetContext(ptr %capsule, ptr %size)
  call void @Py_IncRef(ptr %dtype)
  %array = call ptr @numpy_new(ptr @numpy_array_type, ptr %dtype, i32 %rank32, ptr %dims, ptr null, ptr %block,
    i32 {C_CONTIGUOUS | ALIGNED}, ptr null)
  %array.bad = icmp eq ptr %array, null
  br i1 %array.bad, label %release, label %base
release:
  call void @Py_DecRef(ptr %capsule)
  br label %fail
base:
{store("base", "ptr", "%capsule", "%array", ARRAY_BASE)}
  ret ptr %array
fail:
  ret ptr null
}}

; Takes over the reference to the storage, also when it fails.
define internal ptr @wrap(ptr %self, ptr %row, ptr %storage) {{
entry:
{self_("array_type", "data", "weak", "consumed")}
{load("weakness", "ptr", "%row", 24)}
  %object = call ptr @PyType_GenericAlloc(ptr %array_type, i64 0)
  %bad = icmp eq ptr %object, null
  br i1 %bad, label %fail, label %fill
fail:
  call void @drop(ptr %storage)
  ret ptr null
fill:
  call void @Py_IncRef(ptr %weakness)
  call void @Py_IncRef(ptr @_Py_NoneStruct)
  %d = getelementptr i8, ptr %object, i64 %data
  %w = getelementptr i8, ptr %object, i64 %weak
  %c = getelementptr i8, ptr %object, i64 %consumed
  store ptr %storage, ptr %d
  store ptr %weakness, ptr %w
  store ptr @_Py_NoneStruct, ptr %c
  ret ptr %object
}}
"""


def build(layout: Layout) -> str:
    """`@build`: the result from the wrapped outputs, by a stack machine. Null with an exception set when it fails."""
    return f"""
define internal ptr @build(ptr %e, ptr %outputs, ptr %stack) {{
entry:
{entry("builds", "build_rows")}
  %last = getelementptr i8, ptr %build_rows, i64 %builds
  br label %loop
loop:
  %row = phi ptr [ %build_rows, %entry ], [ %row1, %next ]
  %top = phi i64 [ 0, %entry ], [ %top.next, %next ]
  %end = icmp eq ptr %row, %last
  br i1 %end, label %done, label %step
step:
  %kind = load i64, ptr %row
{load("n", "i64", "%row", 8)}
{load("what", "ptr", "%row", 16)}
{load("keys", "ptr", "%row", 24)}
  %push.at = getelementptr ptr, ptr %stack, i64 %top
  %top.push = add i64 %top, 1
  %top.pop = sub i64 %top, %n
  %first = getelementptr ptr, ptr %stack, i64 %top.pop
  %top.made = add i64 %top.pop, 1
  switch i64 %kind, label %tuple [ i64 {BUILD_OUT}, label %out i64 {BUILD_CONST}, label %const
    i64 {BUILD_LIST}, label %list i64 {BUILD_DICT}, label %dict ]
out:
  %out.at = getelementptr ptr, ptr %outputs, i64 %n
  %o = load ptr, ptr %out.at
  call void @hold(ptr %o)
  store ptr %o, ptr %push.at
  br label %pushed
const:
  call void @Py_IncRef(ptr %what)
  store ptr %what, ptr %push.at
  br label %pushed
tuple:
  %tu = call ptr @PyTuple_New(i64 %n)
  %tu.bad = icmp eq ptr %tu, null
  br i1 %tu.bad, label %fail, label %tuple_items
tuple_items:
  %ti = getelementptr i8, ptr %tu, i64 {layout.tuple_items}
  br label %move
list:
  %li = call ptr @PyList_New(i64 %n)
  %li.bad = icmp eq ptr %li, null
  br i1 %li.bad, label %fail, label %list_items
list_items:
{load("ll", "ptr", "%li", LIST_ITEMS)}
  br label %move
move:
  %made = phi ptr [ %tu, %tuple_items ], [ %li, %list_items ], [ %made, %move_one ]
  %items = phi ptr [ %ti, %tuple_items ], [ %ll, %list_items ], [ %items, %move_one ]
  %i = phi i64 [ 0, %tuple_items ], [ 0, %list_items ], [ %i1, %move_one ]
  %i.end = icmp eq i64 %i, %n
  br i1 %i.end, label %moved, label %move_one
move_one:
  %from = getelementptr ptr, ptr %first, i64 %i
  %to = getelementptr ptr, ptr %items, i64 %i
  %item = load ptr, ptr %from
  store ptr %item, ptr %to
  %i1 = add i64 %i, 1
  br label %move
moved:
  store ptr %made, ptr %first
  %named = icmp eq i64 %kind, {BUILD_NAMED}
  br i1 %named, label %subclass, label %next
subclass:
  %nt = call ptr (ptr, ...) @PyObject_CallFunctionObjArgs(ptr @tuple_new, ptr %what, ptr %made, ptr null)
  %nt.bad = icmp eq ptr %nt, null
  br i1 %nt.bad, label %fail_made, label %named_done
named_done:
  call void @Py_DecRef(ptr %made)
  store ptr %nt, ptr %first
  br label %next
dict:
  %di = call ptr @PyDict_New()
  %di.bad = icmp eq ptr %di, null
  br i1 %di.bad, label %fail, label %set
set:
  %s = phi i64 [ 0, %dict ], [ %s1, %set_next ]
  %s.end = icmp eq i64 %s, %n
  br i1 %s.end, label %release, label %set_one
set_one:
  %key.at = getelementptr ptr, ptr %keys, i64 %s
  %key = load ptr, ptr %key.at
  %value.at = getelementptr ptr, ptr %first, i64 %s
  %value = load ptr, ptr %value.at
  %status = call i32 @PyDict_SetItem(ptr %di, ptr %key, ptr %value)
  %set.bad = icmp ne i32 %status, 0
  br i1 %set.bad, label %fail_dict, label %set_next
set_next:
  %s1 = add i64 %s, 1
  br label %set
release:
  %r = phi i64 [ 0, %set ], [ %r1, %release_one ]
  %r.end = icmp eq i64 %r, %n
  br i1 %r.end, label %dict_done, label %release_one
release_one:
  %old.at = getelementptr ptr, ptr %first, i64 %r
  %old = load ptr, ptr %old.at
  call void @drop(ptr %old)
  %r1 = add i64 %r, 1
  br label %release
dict_done:
  store ptr %di, ptr %first
  br label %next
pushed:
  br label %next
next:
  %top.next = phi i64 [ %top.push, %pushed ], [ %top.made, %moved ], [ %top.made, %named_done ], [ %top.made, %dict_done ]
  %row1 = getelementptr i8, ptr %row, i64 {ROW}
  br label %loop
done:
  %result = load ptr, ptr %stack
  ret ptr %result
fail_dict:
  call void @Py_DecRef(ptr %di)
  br label %fail
fail_made:
  br label %fail
fail:
  %height = phi i64 [ %top, %tuple ], [ %top, %list ], [ %top, %dict ], [ %top, %fail_dict ], [ %top.made, %fail_made ]
  br label %unwind
unwind:
  %u = phi i64 [ 0, %fail ], [ %u1, %unwind_one ]
  %u.end = icmp eq i64 %u, %height
  br i1 %u.end, label %failed, label %unwind_one
unwind_one:
  %left.at = getelementptr ptr, ptr %stack, i64 %u
  %left = load ptr, ptr %left.at
  call void @drop(ptr %left)
  %u1 = add i64 %u, 1
  br label %unwind
failed:
  ret ptr null
}}
"""
