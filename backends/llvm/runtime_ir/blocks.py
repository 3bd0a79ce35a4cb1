"""The pool of memory blocks: `@fdl_take`, `@fdl_give`, `@fdl_trim`, `@fdl_block_free`."""

from __future__ import annotations

# Free blocks by size class, four classes for each power of two; a free block's first word links to the next.
# Every function is called with the interpreter lock held (or `pool`'s own lock where there is none).
BLOCKS = """
@classes = internal global [256 x ptr] zeroinitializer
@cached = internal global i64 0
@limit = internal global i64 268435456
@taken = internal global i64 0
@made = internal global i64 0
declare ptr @PyCapsule_GetPointer(ptr, ptr)
declare ptr @PyCapsule_GetContext(ptr)
@block_name = constant [10 x i8] c"fdl.block\\00"

define internal i64 @class_of(i64 %bytes) {
  %least = call i64 @llvm.umax.i64(i64 %bytes, i64 4096)
  %b = sub i64 %least, 1
  %zeros = call i64 @llvm.ctlz.i64(i64 %b, i1 false)
  %e = sub i64 63, %zeros
  %shift = sub i64 %e, 2
  %part = lshr i64 %b, %shift
  %f = and i64 %part, 3
  %four = shl i64 %e, 2
  %index = or i64 %four, %f
  ret i64 %index
}

define internal i64 @class_size(i64 %index) {
  %e = lshr i64 %index, 2
  %f = and i64 %index, 3
  %five = add i64 %f, 5
  %shift = sub i64 %e, 2
  %size = shl i64 %five, %shift
  ret i64 %size
}

define ptr @fdl_take(i64 %bytes) {
entry:
  %negative = icmp slt i64 %bytes, 0
  br i1 %negative, label %refuse, label %find
refuse:
  ret ptr null
find:
  %index = call i64 @class_of(i64 %bytes)
  %size = call i64 @class_size(i64 %index)
  %taken0 = load i64, ptr @taken
  %taken1 = add i64 %taken0, %size
  %cell = getelementptr ptr, ptr @classes, i64 %index
  %first = load ptr, ptr %cell
  %none = icmp eq ptr %first, null
  br i1 %none, label %make, label %pop
pop:
  %next = load ptr, ptr %first
  store ptr %next, ptr %cell
  %c0 = load i64, ptr @cached
  %c1 = sub i64 %c0, %size
  store i64 %c1, ptr @cached
  store i64 %taken1, ptr @taken
  ret ptr %first
make:
  %new = call ptr @os_alloc(i64 %size)
  %failed = icmp eq ptr %new, null
  br i1 %failed, label %squeeze, label %done
squeeze:
  call void @fdl_trim(i64 0)
  %retry = call ptr @os_alloc(i64 %size)
  %hopeless = icmp eq ptr %retry, null
  br i1 %hopeless, label %refuse, label %done
done:
  %p = phi ptr [ %new, %make ], [ %retry, %squeeze ]
  store i64 %taken1, ptr @taken
  %m0 = load i64, ptr @made
  %m1 = add i64 %m0, 1
  store i64 %m1, ptr @made
  ret ptr %p
}

define void @fdl_give(ptr %p, i64 %bytes) {
entry:
  %index = call i64 @class_of(i64 %bytes)
  %size = call i64 @class_size(i64 %index)
  %t0 = load i64, ptr @taken
  %t1 = sub i64 %t0, %size
  store i64 %t1, ptr @taken
  %limit = load i64, ptr @limit
  %large = icmp ugt i64 %size, %limit
  br i1 %large, label %drop, label %room
drop:
  call void @os_free(ptr %p)
  ret void
room:
  %c0 = load i64, ptr @cached
  %c1 = add i64 %c0, %size
  %over = icmp ugt i64 %c1, %limit
  br i1 %over, label %trim, label %push
trim:
  %keep = sub i64 %limit, %size
  call void @fdl_trim(i64 %keep)
  br label %push
push:
  %cell = getelementptr ptr, ptr @classes, i64 %index
  %first = load ptr, ptr %cell
  store ptr %first, ptr %p
  store ptr %p, ptr %cell
  %c2 = load i64, ptr @cached
  %c3 = add i64 %c2, %size
  store i64 %c3, ptr @cached
  ret void
}

; Frees cached blocks, the largest first, until at most `keep` bytes are cached.
define void @fdl_trim(i64 %keep) {
entry:
  br label %loop
loop:
  %index = phi i64 [ 255, %entry ], [ %index, %free ], [ %lower, %empty ]
  %cached = load i64, ptr @cached
  %enough = icmp ule i64 %cached, %keep
  br i1 %enough, label %done, label %look
look:
  %cell = getelementptr ptr, ptr @classes, i64 %index
  %first = load ptr, ptr %cell
  %none = icmp eq ptr %first, null
  br i1 %none, label %empty, label %free
free:
  %next = load ptr, ptr %first
  store ptr %next, ptr %cell
  call void @os_free(ptr %first)
  %size = call i64 @class_size(i64 %index)
  %rest = sub i64 %cached, %size
  store i64 %rest, ptr @cached
  br label %loop
empty:
  %lower = sub i64 %index, 1
  %end = icmp eq i64 %index, 0
  br i1 %end, label %done, label %loop
done:
  ret void
}

define void @fdl_set_limit(i64 %bytes) {
  store i64 %bytes, ptr @limit
  call void @fdl_trim(i64 %bytes)
  ret void
}

define void @fdl_pool_stats(ptr %out) {
  %a = load i64, ptr @cached
  %b = load i64, ptr @taken
  %c = load i64, ptr @made
  %d = load i64, ptr @limit
  %out1 = getelementptr i64, ptr %out, i64 1
  %out2 = getelementptr i64, ptr %out, i64 2
  %out3 = getelementptr i64, ptr %out, i64 3
  store i64 %a, ptr %out
  store i64 %b, ptr %out1
  store i64 %c, ptr %out2
  store i64 %d, ptr %out3
  ret void
}

; Destructor of the capsule that is the base of a recycled array; its context is the number of bytes.
define void @fdl_block_free(ptr %capsule) {
  %p = call ptr @PyCapsule_GetPointer(ptr %capsule, ptr @block_name)
  %context = call ptr @PyCapsule_GetContext(ptr %capsule)
  %bytes = ptrtoint ptr %context to i64
  call void @fdl_give(ptr %p, i64 %bytes)
  ret void
}

define ptr @fdl_block_name() {
  ret ptr @block_name
}
"""
