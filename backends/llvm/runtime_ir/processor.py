"""What depends on the processor: the pause in a spin, the cycle counter, the floating-point control word.

`@cpu_pause`, `@cpu_cycles`; `@fp_enter` sets the fixed control word and returns the old one, `@fp_leave` puts it back.
The control word costs nothing where it is the fixed one already.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

Architecture: TypeAlias = Literal["x86_64", "aarch64", "other"]

FIXED_MXCSR: Final = 0x1F80
"""Round to nearest, no flush-to-zero, no denormals-are-zero, every exception masked."""


def poll_cycles(arch: Architecture) -> int:
    """Counts of `@cpu_cycles` between two looks at the clock, some 3 to 8 ms: of the time-stamp counter, else in ns.

    Other processors have no counter that user code may always read, and the clock is one they read in user space.
    """
    return 1 << (24 if arch == "x86_64" else 22)


def processor(arch: Architecture) -> str:
    """The functions above, as text."""
    if arch == "x86_64":
        return f"""
declare void @llvm.x86.sse2.pause()
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
declare i64 @llvm.readcyclecounter()
define internal void @cpu_pause() alwaysinline {{
  call void @llvm.x86.sse2.pause()
  ret void
}}
define internal i64 @cpu_cycles() alwaysinline {{
  %t = call i64 @llvm.readcyclecounter()
  ret i64 %t
}}
define internal i64 @fp_enter() {{
  %cell = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %cell)
  %old = load i32, ptr %cell
  %control = and i32 %old, 65472
  %fixed = icmp eq i32 %control, {FIXED_MXCSR}
  br i1 %fixed, label %done, label %change
change:
  store i32 {FIXED_MXCSR}, ptr %cell
  call void @llvm.x86.sse.ldmxcsr(ptr %cell)
  br label %done
done:
  %wide = zext i32 %control to i64
  ret i64 %wide
}}
define internal void @fp_leave(i64 %old) {{
  %fixed = icmp eq i64 %old, {FIXED_MXCSR}
  br i1 %fixed, label %done, label %change
change:
  %cell = alloca i32
  %word = trunc i64 %old to i32
  store i32 %word, ptr %cell
  call void @llvm.x86.sse.ldmxcsr(ptr %cell)
  br label %done
done:
  ret void
}}
"""
    if arch == "aarch64":
        return """
declare void @llvm.aarch64.hint(i32)
declare i64 @llvm.aarch64.get.fpcr()
declare void @llvm.aarch64.set.fpcr(i64)
define internal void @cpu_pause() alwaysinline {
  call void @llvm.aarch64.hint(i32 1)
  ret void
}
define internal i64 @cpu_cycles() alwaysinline {
  %t = call i64 @os_now()
  ret i64 %t
}
define internal i64 @fp_enter() {
  %old = call i64 @llvm.aarch64.get.fpcr()
  %fixed = icmp eq i64 %old, 0
  br i1 %fixed, label %done, label %change
change:
  call void @llvm.aarch64.set.fpcr(i64 0)
  br label %done
done:
  ret i64 %old
}
define internal void @fp_leave(i64 %old) {
  %fixed = icmp eq i64 %old, 0
  br i1 %fixed, label %done, label %change
change:
  call void @llvm.aarch64.set.fpcr(i64 %old)
  br label %done
done:
  ret void
}
"""
    return """
define internal void @cpu_pause() alwaysinline {
  ret void
}
define internal i64 @cpu_cycles() alwaysinline {
  %t = call i64 @os_now()
  ret i64 %t
}
define internal i64 @fp_enter() {
  ret i64 0
}
define internal void @fp_leave(i64 %old) {
  ret void
}
"""
