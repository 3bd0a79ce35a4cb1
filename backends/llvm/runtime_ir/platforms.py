"""What depends on the operating system: thread-local storage, the clock, waiting and waking, threads, aligned memory.

`@tls_init`, `@tls_get`, `@tls_set`; `@os_now` (ns); `@os_init`, `@os_wait`, `@os_wake`, `@os_yield`; `@os_spawn` (a worker,
0 when made); `@os_alloc`, `@os_free`.  Linux waits on a futex and makes its threads; macOS waits on a condition variable and
Windows on an address, and there `@os_spawn` refuses: Python makes the threads.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from .processor import Architecture

Platform: TypeAlias = Literal["linux", "posix", "windows"]

HUGE_PAGE: Final = 1 << 21


def externals(platform: Platform) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names that the text takes from the operating system's library, and from Python."""
    python: tuple[str, ...] = (
        "PyGILState_Ensure",
        "PyGILState_Release",
        "PyErr_CheckSignals",
        "PyCapsule_GetPointer",
        "PyCapsule_GetContext",
    )
    python += ("PyEval_SaveThread", "PyEval_RestoreThread")
    common = ("malloc", "calloc", "realloc", "free")
    if platform == "windows":
        return (*common, "_aligned_malloc", "_aligned_free"), python
    pthread: tuple[str, ...] = (
        "pthread_key_create",
        "pthread_getspecific",
        "pthread_setspecific",
        "posix_memalign",
        "clock_gettime",
        "sched_yield",
    )
    if platform == "posix":
        wait: tuple[str, ...] = ("pthread_mutex_init", "pthread_mutex_lock", "pthread_mutex_unlock")
        wait += ("pthread_cond_init", "pthread_cond_timedwait", "pthread_cond_broadcast")
        return (*common, *pthread, *wait), python
    threads: tuple[str, ...] = ("pthread_create", "pthread_attr_init", "pthread_attr_destroy", "pthread_attr_setstacksize")
    threads += ("pthread_attr_setdetachstate", "pthread_sigmask", "sigfillset")
    return (*common, *pthread, *threads, "syscall", "madvise"), python


def functions(platform: Platform, arch: Architecture) -> str:
    """The functions above, as text."""
    if platform == "windows":
        return _WINDOWS
    # pthread_key_t is 32 bits wide on Linux and 64 on macOS; CLOCK_MONOTONIC is 1 and 6.
    key, clock = ("i32", 1) if platform == "linux" else ("i64", 6)
    posix = f"""
@tls_key = internal global {key} 0
declare i32 @pthread_key_create(ptr, ptr)
declare ptr @pthread_getspecific({key})
declare i32 @pthread_setspecific({key}, ptr)
declare i32 @posix_memalign(ptr, i64, i64)
declare i32 @clock_gettime(i32, ptr)
declare i32 @sched_yield()
define internal void @tls_init() {{
  %status = call i32 @pthread_key_create(ptr @tls_key, ptr @thread_record_free)
  ret void
}}
define internal ptr @tls_get() {{
  %key = load {key}, ptr @tls_key
  %p = call ptr @pthread_getspecific({key} %key)
  ret ptr %p
}}
define internal void @tls_set(ptr %p) {{
  %key = load {key}, ptr @tls_key
  %status = call i32 @pthread_setspecific({key} %key, ptr %p)
  ret void
}}
define internal i64 @os_now() {{
  %time = alloca [2 x i64]
  %status = call i32 @clock_gettime(i32 {clock}, ptr %time)
  %seconds = load i64, ptr %time
  %rest = getelementptr i64, ptr %time, i64 1
  %ns = load i64, ptr %rest
  %s = mul i64 %seconds, 1000000000
  %t = add i64 %s, %ns
  ret i64 %t
}}
define internal void @os_yield() {{
  %status = call i32 @sched_yield()
  ret void
}}
define internal void @os_free(ptr %p) {{
  call void @free(ptr %p)
  ret void
}}
define internal ptr @os_alloc(i64 %size) {{
  %cell = alloca ptr
  store ptr null, ptr %cell
  %huge = icmp uge i64 %size, {2 * HUGE_PAGE}
  %align = select i1 %huge, i64 {HUGE_PAGE}, i64 64
  %status = call i32 @posix_memalign(ptr %cell, i64 %align, i64 %size)
  %bad = icmp ne i32 %status, 0
  br i1 %bad, label %fail, label %good
fail:
  ret ptr null
good:
  %p = load ptr, ptr %cell
  br i1 %huge, label %advise, label %done
advise:
  call void @os_huge(ptr %p, i64 %size)
  br label %done
done:
  ret ptr %p
}}
"""
    if platform == "posix":
        return posix + _CONDITION
    futex, madvise_huge = (202, 14) if arch == "x86_64" else (98, 14)
    return (
        posix
        + f"""
declare i64 @syscall(i64, ...)
declare i32 @madvise(ptr, i64, i32)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_attr_init(ptr)
declare i32 @pthread_attr_destroy(ptr)
declare i32 @pthread_attr_setstacksize(ptr, i64)
declare i32 @pthread_attr_setdetachstate(ptr, i32)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @sigfillset(ptr)
define internal void @os_init() {{
  ret void
}}
define internal void @os_huge(ptr %p, i64 %size) {{
  %status = call i32 @madvise(ptr %p, i64 %size, i32 {madvise_huge})
  ret void
}}
; Returns when the word differs from `expected`, at a wake-up, or after `ns` (0: no limit).  128: FUTEX_PRIVATE.
define internal void @os_wait(ptr %word, i32 %expected, i64 %ns) {{
  %time = alloca [2 x i64]
  store i64 0, ptr %time
  %rest = getelementptr i64, ptr %time, i64 1
  store i64 %ns, ptr %rest
  %forever = icmp eq i64 %ns, 0
  %limit = select i1 %forever, ptr null, ptr %time
  %status = call i64 (i64, ...) @syscall(i64 {futex}, ptr %word, i32 128, i32 %expected, ptr %limit, ptr null, i32 0)
  ret void
}}
define internal void @os_wake(ptr %word, i32 %count) {{
  %status = call i64 (i64, ...) @syscall(i64 {futex}, ptr %word, i32 129, i32 %count, ptr null, ptr null, i32 0)
  ret void
}}
; A detached worker that takes no signal: Python's handlers belong to the main thread.  0: made.
define internal i32 @os_spawn(i64 %epoch) {{
  %attr = alloca [16 x i64]
  %all = alloca [16 x i64]
  %old = alloca [16 x i64]
  %thread = alloca i64
  %arg = inttoptr i64 %epoch to ptr
  %s0 = call i32 @pthread_attr_init(ptr %attr)
  %s1 = call i32 @pthread_attr_setstacksize(ptr %attr, i64 8388608)
  %s2 = call i32 @pthread_attr_setdetachstate(ptr %attr, i32 1)
  %s3 = call i32 @sigfillset(ptr %all)
  %s4 = call i32 @pthread_sigmask(i32 2, ptr %all, ptr %old)
  %status = call i32 @pthread_create(ptr %thread, ptr %attr, ptr @fdl_worker, ptr %arg)
  %s5 = call i32 @pthread_sigmask(i32 2, ptr %old, ptr null)
  %s6 = call i32 @pthread_attr_destroy(ptr %attr)
  ret i32 %status
}}
"""
    )


# One mutex and condition for every wait: wake-ups are rare.  Waits are timed (at most 100 ms) so that no platform
# difference in the clock of pthread_cond_timedwait can hang a worker; a spurious return is always allowed.
_CONDITION = """
@mutex = internal global [32 x i64] zeroinitializer
@condition = internal global [32 x i64] zeroinitializer
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_timedwait(ptr, ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)
define internal void @os_init() {
  %s0 = call i32 @pthread_mutex_init(ptr @mutex, ptr null)
  %s1 = call i32 @pthread_cond_init(ptr @condition, ptr null)
  ret void
}
define internal void @os_huge(ptr %p, i64 %size) {
  ret void
}
define internal void @os_wait(ptr %word, i32 %expected, i64 %ns) {
  %time = alloca [2 x i64]
  %s0 = call i32 @pthread_mutex_lock(ptr @mutex)
  %now = load atomic i32, ptr %word seq_cst, align 4
  %same = icmp eq i32 %now, %expected
  br i1 %same, label %wait, label %done
wait:
  %s1 = call i32 @clock_gettime(i32 0, ptr %time)
  %s = load i64, ptr %time
  %rest = getelementptr i64, ptr %time, i64 1
  %n = load i64, ptr %rest
  %forever = icmp eq i64 %ns, 0
  %limit = select i1 %forever, i64 100000000, i64 %ns
  %sum = add i64 %n, %limit
  %over = udiv i64 %sum, 1000000000
  %under = urem i64 %sum, 1000000000
  %later = add i64 %s, %over
  store i64 %later, ptr %time
  store i64 %under, ptr %rest
  %s2 = call i32 @pthread_cond_timedwait(ptr @condition, ptr @mutex, ptr %time)
  br label %done
done:
  %s3 = call i32 @pthread_mutex_unlock(ptr @mutex)
  ret void
}
define internal void @os_wake(ptr %word, i32 %count) {
  %s0 = call i32 @pthread_mutex_lock(ptr @mutex)
  %s1 = call i32 @pthread_cond_broadcast(ptr @condition)
  %s2 = call i32 @pthread_mutex_unlock(ptr @mutex)
  ret void
}
define internal i32 @os_spawn(i64 %epoch) {
  ret i32 1
}
"""

_WINDOWS = """
@tls_key = internal global i32 0
declare i32 @TlsAlloc()
declare ptr @TlsGetValue(i32)
declare i32 @TlsSetValue(i32, ptr)
declare i32 @WaitOnAddress(ptr, ptr, i64, i32)
declare void @WakeByAddressAll(ptr)
declare i32 @SwitchToThread()
declare i64 @GetTickCount64()
declare ptr @_aligned_malloc(i64, i64)
declare void @_aligned_free(ptr)
define internal void @tls_init() {
  %key = call i32 @TlsAlloc()
  store i32 %key, ptr @tls_key
  ret void
}
define internal ptr @tls_get() {
  %key = load i32, ptr @tls_key
  %p = call ptr @TlsGetValue(i32 %key)
  ret ptr %p
}
define internal void @tls_set(ptr %p) {
  %key = load i32, ptr @tls_key
  %status = call i32 @TlsSetValue(i32 %key, ptr %p)
  ret void
}
define internal i64 @os_now() {
  %ms = call i64 @GetTickCount64()
  %t = mul i64 %ms, 1000000
  ret i64 %t
}
define internal void @os_yield() {
  %status = call i32 @SwitchToThread()
  ret void
}
define internal void @os_free(ptr %p) {
  call void @_aligned_free(ptr %p)
  ret void
}
define internal ptr @os_alloc(i64 %size) {
  %p = call ptr @_aligned_malloc(i64 %size, i64 64)
  ret ptr %p
}
define internal void @os_init() {
  ret void
}
define internal void @os_wait(ptr %word, i32 %expected, i64 %ns) {
  %cell = alloca i32
  store i32 %expected, ptr %cell
  %ms = udiv i64 %ns, 1000000
  %forever = icmp eq i64 %ms, 0
  %limit = select i1 %forever, i64 100, i64 %ms
  %short = trunc i64 %limit to i32
  %status = call i32 @WaitOnAddress(ptr %word, ptr %cell, i64 4, i32 %short)
  ret void
}
define internal void @os_wake(ptr %word, i32 %count) {
  call void @WakeByAddressAll(ptr %word)
  ret void
}
define internal i32 @os_spawn(i64 %epoch) {
  ret i32 1
}
"""
