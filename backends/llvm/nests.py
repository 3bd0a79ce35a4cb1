"""Loop IR statements to instructions, inside one function: loops, vector loops, branches, checks.

Every function here writes into `State.code` and leaves it at the block where execution goes on.
"""

from __future__ import annotations

from dataclasses import replace

from fdl.backends.loops import ir

from . import flow, vectorise
from .checks import check_statement
from .fences import Place
from .flow import Block
from .text import branch, register_type, vec
from .values import Reg, State, integer, known, store, uniform, value
from .vectors import vector_for

SPLIT = 400
"""Statements in a row after which a new basic block starts."""
UNROLL_LIMIT = 16
"""The most iterations that are written out."""


def block(s: State, stmts: Block) -> None:
    """Writes statements in order."""
    for stmt in stmts:
        statement(s, stmt)


def statement(s: State, stmt: ir.Stmt) -> None:
    """Writes one statement."""
    s.statements += 1
    if s.statements % SPLIT == 0:
        s.code.split()
    match stmt:
        case ir.Let():
            s.env[stmt.var.name] = value(s, stmt.value)
        case ir.Store():
            index = [value(s, i) for i in stmt.index]
            store(s, stmt.buffer, index, value(s, stmt.value))
        case ir.For():
            _for(s, stmt)
        case ir.While():
            flow.while_loop(s, stmt, lambda stmts: block(s, stmts), lambda _: None)
        case ir.If():
            _if(s, stmt)
        case ir.Alloc():
            flow.allocate(s, stmt.buffer)
        case ir.Check():
            check_statement(s, stmt)
        case ir.Call():
            _call(s, stmt)
        case ir.Barrier():
            pass  # one thread runs the whole block here
        case _:
            raise AssertionError(f"{type(stmt).__name__} cannot stand inside a kernel: the schedule keeps it in the driver")


def _for(s: State, loop: ir.For) -> None:
    if loop.kind == "vector" and s.vector is None:
        plan = vectorise.plan(loop, s.code.target)
        if plan is not None:
            _bind_results(s, loop, vector_for(s, loop, plan, block))
            return
    extent = value(s, loop.extent)
    n = known(extent)
    inits = [value(s, c.init) for c in loop.carries]
    if n is not None and n <= 0:
        _bind_results(s, loop, inits)
    elif n is not None and loop.kind == "unroll" and n <= UNROLL_LIMIT:
        _unrolled(s, loop, n, inits)
    elif n is not None:
        _bind_results(s, loop, flow.counted(s, loop, "0", extent.text, extent.text, inits, block))
    else:
        _bind_results(s, loop, _guarded(s, loop, extent.text, inits))


def _bind_results(s: State, loop: ir.For, regs: list[Reg]) -> None:
    for c, reg in zip(loop.carries, regs, strict=True):
        s.env[c.result.name] = reg


def _unrolled(s: State, loop: ir.For, n: int, regs: list[Reg]) -> None:
    for i in range(n):
        s.env[loop.var.name] = integer(i)
        for c, reg in zip(loop.carries, regs, strict=True):
            s.env[c.var.name] = reg
        s.iteration.append((str(i), str(n)))
        block(s, loop.body)
        regs = [value(s, c.next) for c in loop.carries]
        s.iteration.pop()
    _bind_results(s, loop, regs)


def _guarded(s: State, loop: ir.For, extent: str, inits: list[Reg]) -> list[Reg]:
    """A loop whose extent is known at run time only, and may be zero."""
    inits = [flow.in_lanes(s, c, r) for c, r in zip(loop.carries, inits, strict=True)]
    kinds = [register_type(c.var.dtype) for c in loop.carries]
    return flow.when_positive(s, extent, kinds, inits, flow.loop_body(s, loop, extent, block), flow.stored_buffers(loop.body))


def _if(s: State, stmt: ir.If) -> None:
    code = s.code
    condition = value(s, stmt.condition)
    if s.vector is not None and condition.lanes > 1:
        _predicated(s, stmt.then, condition.text)
        if stmt.orelse:
            kind = vec("i1", condition.lanes)
            _predicated(s, stmt.orelse, code.pure(f"xor {kind} {condition.text}, splat (i1 true)", condition.text))
        return
    flow.if_uniform(s, stmt, condition.text, lambda stmts: block(s, stmts))


def _predicated(s: State, stmts: Block, condition: str) -> None:
    """Statements for the lanes where the condition holds; jumped over when there is none."""
    code = s.code
    assert s.vector is not None
    outer = s.vector
    lanes = outer.lanes
    kind = vec("i1", lanes)
    mask = condition if outer.mask is None else code.pure(f"and {kind} {outer.mask}, {condition}", outer.mask, condition)
    yes, done = code.label("some"), code.label("endsome")
    with code.scope(branch(code.any_lane(mask, lanes), yes, done), pinned=True):
        code.start(yes)
        s.vector = replace(outer, mask=mask)
        block(s, stmts)
        code.go(done)
    s.vector = outer
    code.start(done)


def _call(s: State, call: ir.Call) -> None:
    """A tile kernel that has a hand-written function; the others are loops by now."""
    code = s.code
    tile = s.tiles[id(call)]
    for line in tile.declares:
        symbol = line.partition("@")[2].partition("(")[0]
        if symbol.startswith("llvm."):
            code.module.declare(line)
        else:
            code.module.external(symbol, line)
    for function in tile.shared.values():
        code.module.declare(function.declaration)
    code.module.helpers |= tile.parts
    refs = (*call.outputs, *call.inputs)
    scratch = "null"
    if tile.scratch_bytes:
        scratch = flow.take_scratch(s, Place(f"the scratch of {call.kernel}", f"{tile.scratch_bytes} bytes", tile.scratch_bytes))
    pointers = [flow.ref_pointer(s, r) for r in refs]
    sizes = [uniform(s, n) for r in refs for n in r.shape]
    others = [uniform(s, v) for v in call.scalars]
    arguments = [f"ptr {p}" for p in (scratch, *pointers)] + [f"i64 {n}" for n in (*sizes, *others)]
    code.do(f"call void @{tile.symbol}({', '.join(arguments)})")
    for r in call.outputs:
        s.touch(r.buffer.name)
