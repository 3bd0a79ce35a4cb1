"""Control flow and memory inside one function: loops with phis, branches, and where temporaries live.

Nothing here knows what a loop's body is; callers pass a function that writes it.  A loop's preheader stays open while its body
is written, which is where `Code` puts what does not change in the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from fdl.backends.loops import ir

from .checks import seal_record
from .fences import Place, place
from .text import branch, jump, memory_type, register_type, vec
from .values import Reg, State, uniform, value, widen

STACK_LIMIT = 4096
"""The largest local buffer, in bytes, that lives on the stack."""

Block: TypeAlias = tuple[ir.Stmt, ...]
Writer: TypeAlias = Callable[[State, Block], None]
"""Writes a block of statements."""
LoopBody: TypeAlias = Callable[[str, list[Reg]], list[Reg]]
"""Writes a loop's body: from the loop variable and the carries to the next carries."""

# --- memory ---------------------------------------------------------------------------------------


def allocate(s: State, buffer: ir.Buffer) -> None:
    """Gives a temporary its address: in the arena, on the stack, or in the thread's scratch."""
    code = s.code
    if buffer.name in s.offsets:
        return
    if buffer.nbytes > STACK_LIMIT:
        s.pointers[buffer.name] = take_scratch(s, place(buffer, {} if s.fenced is None else s.fenced.fences.notes))
    elif buffer.name not in s.pointers:
        fresh = code.alloca(memory_type(buffer.dtype), max(buffer.size, 1), 64) if s.fenced is None else s.fenced.stack(buffer)
        s.pointers[buffer.name] = fresh
    if s.fenced is not None:
        s.fenced.poison(s.pointers[buffer.name], buffer.nbytes)


def take_scratch(s: State, what: Place) -> str:
    """A piece of the function's scratch block, 64-byte aligned."""
    offset = s.scratch_bytes
    if s.fenced is not None:
        pointer, size = s.fenced.scratch(s.scratch, offset, what)
        s.scratch_bytes += size
        return pointer
    s.scratch_bytes += -(-what.nbytes // 64) * 64
    return s.code.pure(f"getelementptr inbounds i8, ptr {s.scratch}, i64 {offset}", s.scratch)


def stored_buffers(stmts: Iterable[ir.Stmt]) -> set[str]:
    """The names of the buffers that statements write."""
    names: set[str] = set()
    for stmt in ir.walk(tuple(stmts)):
        match stmt:
            case ir.Store():
                names.add(stmt.buffer.name)
            case ir.Call() | ir.Callback():
                names |= {r.buffer.name for r in stmt.outputs}
            case _:
                pass
    return names


def ref_pointer(s: State, ref: ir.Ref) -> str:
    """The address of a window's first element."""
    pointer = s.address(ref.buffer.name)
    offset = uniform(s, ref.offset)
    if offset == "0":
        return pointer
    return s.code.pure(f"getelementptr inbounds {memory_type(ref.buffer.dtype)}, ptr {pointer}, i64 {offset}", pointer, offset)


class _Writes:
    """While open, loads of the buffers that a loop stores to stay inside it."""

    def __init__(self, s: State, names: Iterable[str]) -> None:
        self.s = s
        self.names = tuple(names)

    def __enter__(self) -> None:
        self.saved = dict(self.s.floors)
        for name in self.names:
            self.s.floors[name] = self.s.code.level
            self.s.touch(name)

    def __exit__(self, *_: object) -> None:
        self.s.floors = self.saved
        for name in self.names:
            self.s.touch(name)


# --- loops ----------------------------------------------------------------------------------------


def raw_loop(
    s: State,
    first: str,
    end: str,
    step: int,
    kinds: list[str],
    inits: list[Reg],
    stored: Iterable[str],
    body: LoopBody,
    latch: Callable[[str], None] | None = None,
) -> list[Reg]:
    """A loop over first, first + step, ... below `end`, which runs at least once; the carries' last values.

    Args:
        kinds: the LLVM element type of each carry.
        stored: the buffers that the body writes.
        latch: writes more at the end of an iteration, given the number of the next one.
    """
    code = s.code
    head, done = code.label("loop"), code.label("end")
    before = code.block
    with code.scope(jump(head)):
        code.start(head)
        place = code.reserve()
        i = code.name("i")
        code.depth[i] = code.level
        names = [Reg(code.name("c"), r.lanes) for r in inits]
        for reg in names:
            code.depth[reg.text] = code.level
        with _Writes(s, stored):
            nexts = body(i, names)
        following = code.emit(f"add nuw nsw i64 {i}, {step}", "i")
        if latch is not None:
            latch(following)
        phis = [f"{i} = phi i64 [ {first}, %{before} ], [ {following}, %{code.block} ]"]
        for kind, name, init, new in zip(kinds, names, inits, nexts, strict=True):
            typed = vec(kind, init.lanes)
            phis.append(f"{name.text} = phi {typed} [ {init.text}, %{before} ], [ {new.text}, %{code.block} ]")
        code.fill(place, phis)
        code.do(branch(code.emit(f"icmp ult i64 {following}, {end}"), head, done))
        code.start(done)
    for reg in nexts:  # the last block dominates what follows
        if code.depth.get(reg.text, 0) > code.level:
            code.depth[reg.text] = code.level
    return [Reg(r.text, r.lanes) for r in nexts]


def when_positive(
    s: State,
    extent: str,
    kinds: list[str],
    inits: list[Reg],
    body: LoopBody,
    stored: Iterable[str] = (),
    latch: Callable[[str], None] | None = None,
) -> list[Reg]:
    """As `raw_loop` over 0..extent-1, where there may be no iteration."""
    code = s.code
    run, done = code.label("run"), code.label("done")
    before = code.block
    with code.scope(branch(code.pure(f"icmp sgt i64 {extent}, 0", extent), run, done), barrier=True):
        code.start(run)
        results = raw_loop(s, "0", extent, 1, kinds, inits, stored, body, latch)
        after = code.block
        code.go(done)
    code.start(done)
    merged = []
    for kind, init, result in zip(kinds, inits, results, strict=True):
        phi = f"phi {vec(kind, result.lanes)} [ {init.text}, %{before} ], [ {result.text}, %{after} ]"
        merged.append(Reg(code.emit(phi), result.lanes))
    return merged


def in_lanes(s: State, carry: ir.Carry, reg: Reg) -> Reg:
    """The carry's initial value in the form that it has through the loop."""
    if s.vector is not None and carry.var.name in s.vector.varying:
        return Reg(widen(s, reg, carry.var.dtype), s.vector.lanes)
    assert reg.uniform, carry
    return reg


def loop_body(s: State, loop: ir.For, total: str, write: Writer) -> LoopBody:
    """The writer of a loop's body."""

    def body(i: str, regs: list[Reg]) -> list[Reg]:
        s.env[loop.var.name] = Reg(i, nonnegative=True)
        for c, reg in zip(loop.carries, regs, strict=True):
            s.env[c.var.name] = reg
        s.iteration.append((i, total))
        write(s, loop.body)
        s.iteration.pop()
        if ir.is_step(loop) and any(isinstance(stmt, ir.Check) for stmt in ir.walk(loop.body)):
            seal_record(s)
        return [in_lanes(s, c, value(s, c.next)) for c in loop.carries]

    return body


def counted(s: State, loop: ir.For, first: str, end: str, total: str, inits: list[Reg], write: Writer) -> list[Reg]:
    """The carries after iterations first..end-1 (at least one) of `total`."""
    inits = [in_lanes(s, c, r) for c, r in zip(loop.carries, inits, strict=True)]
    kinds = [register_type(c.var.dtype) for c in loop.carries]
    return raw_loop(s, first, end, 1, kinds, inits, stored_buffers(loop.body), loop_body(s, loop, total, write))


def while_loop(s: State, stmt: ir.While, body: Callable[[Block], None], latch: Callable[[str], None]) -> None:
    """A `While`; `body` writes a block, and `latch` the end of an iteration, given the number of the next one."""
    code = s.code
    head, run, done = code.label("while"), code.label("do"), code.label("endwhile")
    before = code.block
    with code.scope(jump(head)):
        code.start(head)
        place = code.reserve()
        i = code.name("i")
        code.depth[i] = code.level
        with _Writes(s, stored_buffers((*stmt.prelude, *stmt.body))):
            s.iteration.append((i, "4294967296"))
            body(stmt.prelude)
            with code.scope(branch(uniform(s, stmt.condition), run, done), barrier=True):
                code.start(run)
                body(stmt.body)
                following = code.emit(f"add i64 {i}, 1", "i")
                latch(following)
                last = code.block
                code.go(head)
            s.iteration.pop()
        code.fill(place, [f"{i} = phi i64 [ 0, %{before} ], [ {following}, %{last} ]"])
        code.start(done)


def if_uniform(s: State, stmt: ir.If, condition: str, body: Callable[[Block], None]) -> None:
    """A branch; `body` writes an arm."""
    code = s.code
    yes, done = code.label("then"), code.label("endif")
    no = code.label("else") if stmt.orelse else done
    code.do(branch(condition, yes, no))
    for label, stmts in ((yes, stmt.then), (no, stmt.orelse)):
        if label != done:
            with code.scope(pinned=True):
                code.start(label)
                body(stmts)
                code.go(done)
    code.start(done)
