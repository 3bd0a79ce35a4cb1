"""Canaries around the buffers of a program, for the mode that debugs memory: what they look like, and the code that guards local ones.

A fence is `RED` bytes of one pattern before and after a buffer.  What has not been written yet has another pattern.  Both are NaN in
every floating-point type, a large number in every integer type and neither true nor false as a bool: what is read there shows.

Arguments, outputs and the arena are fenced by who calls the program (`guards`).  A local buffer lives on the stack or in a thread's
scratch for as long as a function runs; so the function itself writes the canaries when it begins, poisons the buffer whenever it is
allocated, and looks at the canaries before it returns: a damaged one is a failed check, whose site is the buffer's number behind those of
the routine.

May be imported by: the emitter, and `guards`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Final

from fdl.backends.loops import ir
from fdl.tracer.records import dataclass

from .text import ATTRIBUTE_COLD, Code, Module

RED: Final = 128
"""Bytes of a fence, on either side."""
CANARY: Final = 0x7FF57FF57FF57FF5
POISON: Final = 0x7FF47FF47FF47FF4
ALIGN: Final = 64


def aligned(nbytes: int) -> int:
    """The next multiple of a cache line."""
    return -(-nbytes // ALIGN) * ALIGN


@dataclass(frozen=True, slots=True)
class Place:
    """A buffer: its name and type as the plan prints them, the line that made it, and its place in the arena, if it has one there."""

    name: str
    kind: str
    nbytes: int
    source: str = ""
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.name} ({self.kind}{', made at ' + self.source if self.source else ''})"


def place(buffer: ir.Buffer, notes: Mapping[str, str], offset: int = 0) -> Place:
    """The place of a routine's buffer; `notes` tells its line."""
    kind = f"{buffer.dtype.name}{list(buffer.shape)}"
    return Place(buffer.name, kind, buffer.nbytes, notes.get(buffer.name, ""), offset)


@dataclass(slots=True)
class Fences:
    """The fenced local buffers of one module, numbered from `first` on."""

    module: Module
    first: int
    notes: Mapping[str, str]
    places: list[Place] = field(default_factory=list)

    def function(self, code: Code, frame: str) -> Fenced:
        """What fences the buffers of one function."""
        for symbol, text in _HELPERS.items():
            self.module.helpers[symbol] = text
        self.module.external("fdl_fail", "declare void @fdl_fail(ptr, i64, i64, i64, i64, i64)")
        return Fenced(self, code, frame)


@dataclass(slots=True)
class Fenced:
    """The fenced buffers of one function: (address, bytes, number) of each."""

    fences: Fences
    code: Code
    frame: str
    made: list[tuple[str, int, int]] = field(default_factory=list)

    def stack(self, buffer: ir.Buffer) -> str:
        """The address of a local buffer on the stack."""
        size = 2 * RED + aligned(buffer.nbytes)
        return self._fenced(self.code.alloca("i8", size, ALIGN), 0, size, place(buffer, self.fences.notes))

    def scratch(self, block: str, offset: int, what: Place) -> tuple[str, int]:
        """The address of a buffer in a scratch block, from `offset` on, and the bytes that it takes there."""
        size = 2 * RED + aligned(what.nbytes)
        return self._fenced(block, offset, size, what), size

    def poison(self, pointer: str, nbytes: int) -> None:
        """Here the buffer's life begins: nothing of it is written."""
        self.code.do(f"call void @fdl_poison(ptr {pointer}, i64 {nbytes})")

    def check(self) -> None:
        """Here the function ends: looks at every fence."""
        for pointer, nbytes, number in self.made:
            self.code.do(f"call void @fdl_fence_check(ptr {self.frame}, ptr {pointer}, i64 {nbytes}, i64 {number})")

    def _fenced(self, base: str, offset: int, size: int, what: Place) -> str:
        """Fences a buffer in `size` bytes at `base` + `offset`, where the function begins: not every way to its end comes by here."""
        start, pointer = self.code.name("fence"), self.code.name("fenced")
        self.code.allocas += [
            f"  {start} = getelementptr inbounds i8, ptr {base}, i64 {offset}",
            f"  {pointer} = getelementptr inbounds i8, ptr {start}, i64 {RED}",
            f"  call void @fdl_fence(ptr {start}, i64 {size // 8})",
            f"  call void @fdl_poison(ptr {pointer}, i64 {what.nbytes})",
        ]
        self.made.append((pointer, what.nbytes, self.fences.first + len(self.fences.places)))
        self.fences.places.append(what)
        return pointer


_HELPERS: Final = {
    "fdl_fence": f"""
define internal void @fdl_fence(ptr %start, i64 %words) {ATTRIBUTE_COLD} {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %at = getelementptr inbounds i64, ptr %start, i64 %i
  store i64 {CANARY}, ptr %at, align 8
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %words
  br i1 %more, label %loop, label %done
done:
  ret void
}}""",
    "fdl_poison": f"""
define internal void @fdl_poison(ptr %start, i64 %bytes) {ATTRIBUTE_COLD} {{
entry:
  %words = lshr i64 %bytes, 3
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %step ]
  %done = icmp eq i64 %i, %words
  br i1 %done, label %rest, label %step
step:
  %at = getelementptr inbounds i64, ptr %start, i64 %i
  store i64 {POISON}, ptr %at, align 8
  %next = add i64 %i, 1
  br label %loop
rest:
  %first = shl i64 %words, 3
  br label %tail
tail:
  %k = phi i64 [ %first, %rest ], [ %k1, %byte ]
  %end = icmp eq i64 %k, %bytes
  br i1 %end, label %out, label %byte
byte:
  %to = getelementptr inbounds i8, ptr %start, i64 %k
  %odd = trunc i64 %k to i1
  %value = select i1 %odd, i8 {POISON >> 8 & 0xFF}, i8 {(POISON & 0xFF) - 256}
  store i8 %value, ptr %to
  %k1 = add i64 %k, 1
  br label %tail
out:
  ret void
}}""",
    "fdl_fence_damage": f"""
; The bytes of `start`[`from`] .. `start`[`to`] that are no canary.
define internal i64 @fdl_fence_damage(ptr %start, i64 %from, i64 %to) {ATTRIBUTE_COLD} {{
entry:
  br label %loop
loop:
  %i = phi i64 [ %from, %entry ], [ %next, %loop ]
  %n = phi i64 [ 0, %entry ], [ %n1, %loop ]
  %at = getelementptr inbounds i8, ptr %start, i64 %i
  %odd = trunc i64 %i to i1
  %want = select i1 %odd, i8 {CANARY >> 8 & 0xFF}, i8 {(CANARY & 0xFF) - 256}
  %have = load i8, ptr %at
  %bad = icmp ne i8 %have, %want
  %one = zext i1 %bad to i64
  %n1 = add i64 %n, %one
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %to
  br i1 %more, label %loop, label %done
done:
  ret i64 %n1
}}""",
    "fdl_fence_check": f"""
define internal void @fdl_fence_check(ptr %frame, ptr %start, i64 %bytes, i64 %site) {ATTRIBUTE_COLD} {{
entry:
  %full = add i64 %bytes, {ALIGN - 1}
  %lines = and i64 %full, -{ALIGN}
  %end = add i64 %lines, {RED}
  %before = call i64 @fdl_fence_damage(ptr %start, i64 -{RED}, i64 0)
  %after = call i64 @fdl_fence_damage(ptr %start, i64 %bytes, i64 %end)
  %any = or i64 %before, %after
  %bad = icmp ne i64 %any, 0
  br i1 %bad, label %fail, label %done
fail:
  call void @fdl_fail(ptr %frame, i64 %site, i64 0, i64 %before, i64 %after, i64 0)
  br label %done
done:
  ret void
}}""",
}
