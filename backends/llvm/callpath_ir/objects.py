"""The dispatcher type's slots: the call itself, and what Python's object model asks for."""

from __future__ import annotations

from ..layout import TYPE
from .fields import ENTRY, SELF, STACK_WORDS, entry, load, part, self_, store

LOOKUP = f"""
; The result of the first entry that fits; 1 as a pointer when none does.
define internal ptr @lookup(ptr %self, ptr %args, i64 %nargs, ptr %kwnames, ptr %mem, i64 %room) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %i1, %miss ]
  %entries = getelementptr i8, ptr %self, i64 {SELF["entries"]}
{self_("count")}
  %more = icmp ult i64 %i, %count
  br i1 %more, label %try, label %none
try:
  %entry.at = getelementptr ptr, ptr %entries, i64 %i
  %e = load ptr, ptr %entry.at
; Comparing static values may run Python code, which may add an entry that is larger than this call's memory.
{load("need", "i64", "%e", ENTRY["words"])}
  %fits = icmp ule i64 %need, %room
  br i1 %fits, label %attempt, label %none
attempt:
{part("registers", "at_registers")}
  %bound = call i1 @bind(ptr %e, ptr %args, i64 %nargs, ptr %kwnames, ptr %registers)
  br i1 %bound, label %check, label %miss_bind
miss_bind:
  br label %miss
check:
{entry("owner", "guard")}
  call void @hold(ptr %owner)
  %free = icmp eq ptr %guard, null
  br i1 %free, label %fit, label %ask
ask:
; Python code, before any container is opened.
  %word = call ptr @PyObject_CallNoArgs(ptr %guard)
  %raised = icmp eq ptr %word, null
  br i1 %raised, label %unasked, label %asked
unasked:
  call void @PyErr_Clear()
  br label %miss_match
asked:
  %open = icmp eq ptr %word, @_Py_TrueStruct
  call void @Py_DecRef(ptr %word)
  br i1 %open, label %fit, label %miss_match
fit:
  %good = call i1 @match(ptr %self, ptr %e, ptr %mem)
  br i1 %good, label %hit, label %miss_match
miss_match:
  call void @drop(ptr %owner)
  br label %miss
miss:
  %i1 = add i64 %i, 1
  br label %loop
hit:
{self_("hits")}
  %hits1 = add i64 %hits, 1
  store i64 %hits1, ptr %hits.at
  %front = icmp eq i64 %i, 0
  br i1 %front, label %run, label %recheck
recheck:
; The table may have changed meanwhile, for the same reason.
  %now = load ptr, ptr %entry.at
  %still = icmp eq ptr %now, %e
  br i1 %still, label %shift, label %run
shift:
  %s = phi i64 [ %i, %recheck ], [ %s1, %shift ]
  %s1 = sub i64 %s, 1
  %from = getelementptr ptr, ptr %entries, i64 %s1
  %to = getelementptr ptr, ptr %entries, i64 %s
  %moved = load ptr, ptr %from
  store ptr %moved, ptr %to
  %again = icmp ne i64 %s1, 0
  br i1 %again, label %shift, label %head
head:
  store ptr %e, ptr %entries
  br label %run
run:
  %result = call ptr @run(ptr %self, ptr %e, ptr %mem)
  ret ptr %result
none:
  ret ptr inttoptr (i64 1 to ptr)
}}

@not_ready = internal constant [36 x i8] c"the dispatcher was not initialised\\00\\00"

define ptr @fdl_vectorcall(ptr %self, ptr %args, i64 %nargsf, ptr %kwnames) {{
entry:
  %nargs = and i64 %nargsf, {2**63 - 1}
{self_("count", "words")}
  %empty = icmp eq i64 %count, 0
  br i1 %empty, label %miss, label %size
size:
  %huge = icmp ugt i64 %words, {STACK_WORDS}
  br i1 %huge, label %heap, label %stack
stack:
  %local = alloca i64, i64 %words, align 64
  %a = call ptr @lookup(ptr %self, ptr %args, i64 %nargs, ptr %kwnames, ptr %local, i64 %words)
  br label %answer
heap:
  %bytes = shl i64 %words, 3
  %padded = add i64 %bytes, 64
  %raw = call ptr @PyMem_Malloc(i64 %padded)
  %bad = icmp eq ptr %raw, null
  br i1 %bad, label %miss, label %align
align:
  %address = ptrtoint ptr %raw to i64
  %past = add i64 %address, 63
  %aligned = and i64 %past, -64
  %block = inttoptr i64 %aligned to ptr
  %b = call ptr @lookup(ptr %self, ptr %args, i64 %nargs, ptr %kwnames, ptr %block, i64 %words)
  call void @PyMem_Free(ptr %raw)
  br label %answer
answer:
  %result = phi ptr [ %a, %stack ], [ %b, %align ]
  %missed = icmp eq ptr %result, inttoptr (i64 1 to ptr)
  br i1 %missed, label %miss, label %done
done:
  ret ptr %result
miss:
{self_("misses", "slow")}
  %misses1 = add i64 %misses, 1
  store i64 %misses1, ptr %misses.at
  %unset = icmp eq ptr %slow, null
  br i1 %unset, label %unready, label %call
unready:
  %kind = load ptr, ptr @PyExc_RuntimeError
  call void @PyErr_SetString(ptr %kind, ptr @not_ready)
  ret ptr null
call:
  call void @Py_IncRef(ptr %slow)
  %value = call ptr @PyObject_Vectorcall(ptr %slow, ptr %args, i64 %nargsf, ptr %kwnames)
  call void @Py_DecRef(ptr %slow)
  ret ptr %value
}}
"""


def _swap_out(field: str) -> str:
    """Takes a reference out of a field of the dispatcher, then drops it."""
    return f"""{load(field, "ptr", "%self", SELF[field])}
  store ptr null, ptr %{field}.at
  call void @drop_any(ptr %{field})"""


def _visit(field: str) -> str:
    return f"""{load(field, "ptr", "%self", SELF[field])}
  %{field}.none = icmp eq ptr %{field}, null
  br i1 %{field}.none, label %{field}.done, label %{field}.visit
{field}.visit:
  %{field}.status = call i32 %visit(ptr %{field}, ptr %arg)
  %{field}.stop = icmp ne i32 %{field}.status, 0
  br i1 %{field}.stop, label %stop.{field}, label %{field}.done
stop.{field}:
  ret i32 %{field}.status
{field}.done:"""


_OBJECTS = ("type", "dict", "slow", "array_type", "fail")
_NL = "\n"

TYPE_SLOTS = f"""
define ptr @fdl_new(ptr %type, ptr %args, ptr %kwargs) {{
entry:
  %self = call ptr @PyType_GenericAlloc(ptr %type, i64 0)
  %bad = icmp eq ptr %self, null
  br i1 %bad, label %done, label %fill
fill:
{store("v", "ptr", "@fdl_vectorcall", "%self", SELF["vectorcall"])}
  br label %done
done:
  ret ptr %self
}}

define i32 @fdl_traverse(ptr %self, ptr %visit, ptr %arg) {{
entry:
{_NL.join(_visit(f) for f in _OBJECTS)}
{self_("count")}
  %entries = getelementptr i8, ptr %self, i64 {SELF["entries"]}
  br label %loop
loop:
  %i = phi i64 [ 0, %fail.done ], [ %i1, %next ]
  %end = icmp eq i64 %i, %count
  br i1 %end, label %done, label %one
one:
  %at = getelementptr ptr, ptr %entries, i64 %i
  %e = load ptr, ptr %at
{entry("owner")}
  %status = call i32 %visit(ptr %owner, ptr %arg)
  %stop = icmp ne i32 %status, 0
  br i1 %stop, label %stopped, label %next
next:
  %i1 = add i64 %i, 1
  br label %loop
stopped:
  ret i32 %status
done:
  ret i32 0
}}

; Takes one entry at a time out of the table: dropping it may run Python code.
define void @fdl_forget(ptr %self) {{
entry:
  br label %loop
loop:
{self_("count")}
  %empty = icmp eq i64 %count, 0
  br i1 %empty, label %done, label %one
one:
  %less = sub i64 %count, 1
  store i64 %less, ptr %count.at
  %entries = getelementptr i8, ptr %self, i64 {SELF["entries"]}
  %at = getelementptr ptr, ptr %entries, i64 %less
  %e = load ptr, ptr %at
{entry("owner")}
  call void @drop(ptr %owner)
  br label %loop
done:
  ret void
}}

define i32 @fdl_clear(ptr %self) {{
  call void @fdl_forget(ptr %self)
{_NL.join(_swap_out(f) for f in _OBJECTS if f != "type")}
  ret i32 0
}}

define void @fdl_dealloc(ptr %self) {{
entry:
  call void @PyObject_GC_UnTrack(ptr %self)
{load("type", "ptr", "%self", TYPE)}
{self_("weakrefs")}
  %none = icmp eq ptr %weakrefs, null
  br i1 %none, label %clear, label %weak
weak:
  call void @PyObject_ClearWeakRefs(ptr %self)
  br label %clear
clear:
  %status = call i32 @fdl_clear(ptr %self)
  call void @PyObject_GC_Del(ptr %self)
  call void @Py_DecRef(ptr %type)
  ret void
}}

; A dispatcher in a class is a method, as a function is.
define ptr @fdl_descr_get(ptr %self, ptr %instance, ptr %type) {{
entry:
  %missing = icmp eq ptr %instance, null
  %none = icmp eq ptr %instance, @_Py_NoneStruct
  %unbound = or i1 %missing, %none
  br i1 %unbound, label %itself, label %bound
itself:
  call void @Py_IncRef(ptr %self)
  ret ptr %self
bound:
  %method = call ptr @PyMethod_New(ptr %self, ptr %instance)
  ret ptr %method
}}

define void @fdl_setup(ptr %self, ptr %slow, ptr %array_type, ptr %fail, i64 %data, i64 %weak, i64 %consumed, i64 %capacity) {{
  %status = call i32 @fdl_clear(ptr %self)
  call void @Py_IncRef(ptr %slow)
  call void @Py_IncRef(ptr %array_type)
  call void @Py_IncRef(ptr %fail)
{store("s0", "ptr", "%slow", "%self", SELF["slow"])}
{store("s1", "ptr", "%array_type", "%self", SELF["array_type"])}
{store("s2", "ptr", "%fail", "%self", SELF["fail"])}
{store("s3", "i64", "%data", "%self", SELF["data"])}
{store("s4", "i64", "%weak", "%self", SELF["weak"])}
{store("s5", "i64", "%consumed", "%self", SELF["consumed"])}
{store("s6", "i64", "%capacity", "%self", SELF["capacity"])}
{store("s7", "i64", "0", "%self", SELF["words"])}
  ret void
}}

; Puts an entry first; the one that falls off the end is dropped last, when the table is whole again.
define void @fdl_add(ptr %self, ptr %e) {{
entry:
{self_("count", "capacity", "words")}
{load("need", "i64", "%e", ENTRY["words"])}
{entry("owner")}
  call void @Py_IncRef(ptr %owner)
  %more = icmp ugt i64 %need, %words
  %most = select i1 %more, i64 %need, i64 %words
  store i64 %most, ptr %words.at
  %entries = getelementptr i8, ptr %self, i64 {SELF["entries"]}
  %full = icmp uge i64 %count, %capacity
  br i1 %full, label %evict, label %grow
evict:
  %last = sub i64 %capacity, 1
  %old.at = getelementptr ptr, ptr %entries, i64 %last
  %old = load ptr, ptr %old.at
{load("victim", "ptr", "%old", ENTRY["owner"])}
  br label %shift
grow:
  %count1 = add i64 %count, 1
  store i64 %count1, ptr %count.at
  br label %shift
shift:
  %dropped = phi ptr [ %victim, %evict ], [ null, %grow ]
  %top = phi i64 [ %last, %evict ], [ %count, %grow ]
  br label %loop
loop:
  %i = phi i64 [ %top, %shift ], [ %i1, %move ]
  %end = icmp eq i64 %i, 0
  br i1 %end, label %put, label %move
move:
  %i1 = sub i64 %i, 1
  %from = getelementptr ptr, ptr %entries, i64 %i1
  %to = getelementptr ptr, ptr %entries, i64 %i
  %moved = load ptr, ptr %from
  store ptr %moved, ptr %to
  br label %loop
put:
  store ptr %e, ptr %entries
  call void @drop_any(ptr %dropped)
  ret void
}}

; A new reference to the owner of entry number `i`.
define ptr @fdl_entry(ptr %self, i64 %i) {{
  %entries = getelementptr i8, ptr %self, i64 {SELF["entries"]}
  %at = getelementptr ptr, ptr %entries, i64 %i
  %e = load ptr, ptr %at
{entry("owner")}
  call void @Py_IncRef(ptr %owner)
  ret ptr %owner
}}

define i64 @fdl_field(ptr %self, i64 %offset) {{
  %at = getelementptr i8, ptr %self, i64 %offset
  %value = load i64, ptr %at
  ret i64 %value
}}
"""
