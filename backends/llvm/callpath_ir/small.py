"""Small results: an object with its elements inside, which an Array holds until somebody asks for the ndarray.

An ndarray costs more to make and to free than a small result takes to compute, and many results are only passed to the
next call.  The object is of a native type without a Python constructor; its one method, `array()`, makes the ndarray,
a copy.  So nobody outside of the call path ever refers to the memory.

    refcount | type | dtype (a reference) | rank | dims (3) | bytes | elements

Imported by the other parts of the call path's text, and `callpath_native`.
"""

from __future__ import annotations

from typing import Final

from ..layout import ARRAY_DATA, ARRAY_FLAGS, TYPE, WRITEABLE
from .fields import load, store

DTYPE, RANK, DIMS, BYTES, ELEMENTS = 16, 24, 32, 56, 64
MAX_RANK: Final = 3
MAX_BYTES: Final = 512 - ELEMENTS
"""CPython's allocator of small objects serves up to 512 bytes."""

SMALL: Final = f"""
@small_type = internal global ptr null

define void @fdl_set_small_type(ptr %type) {{
  store ptr %type, ptr @small_type
  ret void
}}

define internal i1 @is_small(ptr %storage) alwaysinline {{
{load("type", "ptr", "%storage", TYPE)}
  %small = load ptr, ptr @small_type
  %is = icmp eq ptr %type, %small
  ret i1 %is
}}

; Where the elements of an ndarray or a small result are.
define internal ptr @elements(ptr %storage) alwaysinline {{
entry:
  %small = call i1 @is_small(ptr %storage)
  br i1 %small, label %inside, label %outside
inside:
  %here = getelementptr i8, ptr %storage, i64 {ELEMENTS}
  ret ptr %here
outside:
{load("there", "ptr", "%storage", ARRAY_DATA)}
  ret ptr %there
}}

define internal ptr @new_small(ptr %dtype, i64 %rank, ptr %dims, i64 %bytes) {{
entry:
  %size = add i64 %bytes, {ELEMENTS}
  %self = call ptr @PyObject_Malloc(i64 %size)
  %bad = icmp eq ptr %self, null
  br i1 %bad, label %memory, label %fill
memory:
  %e = call ptr @PyErr_NoMemory()
  ret ptr null
fill:
  %type = load ptr, ptr @small_type
  %same = call ptr @PyObject_Init(ptr %self, ptr %type)
  call void @hold(ptr %dtype)
{store("dtype", "ptr", "%dtype", "%self", DTYPE)}
{store("rank", "i64", "%rank", "%self", RANK)}
{store("bytes", "i64", "%bytes", "%self", BYTES)}
  %to = getelementptr i8, ptr %self, i64 {DIMS}
  br label %loop
loop:
  %i = phi i64 [ 0, %fill ], [ %i1, %axis ]
  %end = icmp eq i64 %i, %rank
  br i1 %end, label %done, label %axis
axis:
  %from.at = getelementptr i64, ptr %dims, i64 %i
  %to.at = getelementptr i64, ptr %to, i64 %i
  %n = load i64, ptr %from.at
  store i64 %n, ptr %to.at
  %i1 = add i64 %i, 1
  br label %loop
done:
  ret ptr %self
}}

define void @fdl_small_dealloc(ptr %self) {{
{load("type", "ptr", "%self", TYPE)}
{load("dtype", "ptr", "%self", DTYPE)}
  call void @drop(ptr %dtype)
  call void @PyObject_Free(ptr %self)
  call void @drop(ptr %type)
  ret void
}}

; The method: a read-only ndarray with a copy of the elements.
define ptr @fdl_small_array(ptr %self, ptr %nothing) {{
entry:
{load("dtype", "ptr", "%self", DTYPE)}
{load("rank", "i32", "%self", RANK)}
{load("bytes", "i64", "%self", BYTES)}
  %dims = getelementptr i8, ptr %self, i64 {DIMS}
  %from = getelementptr i8, ptr %self, i64 {ELEMENTS}
  %array = call ptr @new_ndarray(ptr %dtype, i32 %rank, ptr %dims)
  %bad = icmp eq ptr %array, null
  br i1 %bad, label %fail, label %copy
copy:
{load("to", "ptr", "%array", ARRAY_DATA)}
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %bytes, i1 false)
  ret ptr %array
fail:
  ret ptr null
}}

; A read-only ndarray in memory of NumPy's own, with undefined elements.
define internal ptr @new_ndarray(ptr %dtype, i32 %rank, ptr %dims) {{
entry:
  call void @Py_IncRef(ptr %dtype)
  %array = call ptr @numpy_new(ptr @numpy_array_type, ptr %dtype, i32 %rank, ptr %dims, ptr null, ptr null, i32 0, ptr null)
  %bad = icmp eq ptr %array, null
  br i1 %bad, label %fail, label %seal
seal:
{load("flags", "i32", "%array", ARRAY_FLAGS)}
  %sealed = and i32 %flags, {~WRITEABLE}
  store i32 %sealed, ptr %flags.at
  ret ptr %array
fail:
  ret ptr null
}}
"""
