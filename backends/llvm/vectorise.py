"""Which vector loops become SIMD code, how wide, and which of their values differ between lanes.

`plan` answers for one `For(kind="vector")`.  A wide register type is how a loop is unrolled: `<64 x float>` on a CPU with
16 lanes is four registers, which the code generator keeps apart, so a reduction has four independent accumulators.
"""

from __future__ import annotations

from collections.abc import Iterator

from fdl.backends.loops import ir
from fdl.backends.loops.weights import weight
from fdl.tracer import dtypes
from fdl.tracer.records import dataclass

from .target import Target

COMBINES = frozenset({"add", "mul", "max", "min", "and", "or", "xor"})

@dataclass(frozen=True, slots=True)
class Plan:
    """How to run a vector loop: `lanes` elements at a time; `varying` names the values that differ between lanes."""

    lanes: int
    smallest: int
    """The narrowest vector worth using for what is left over."""
    masked: bool
    """Whether the remainder is one masked vector; else it is a scalar loop."""
    varying: frozenset[str]


def plan(loop: ir.For, target: Target) -> Plan | None:
    """The plan of a vector loop, or None where it has to run element by element."""
    if any(c.combine not in COMBINES for c in loop.carries):
        return None
    varying = _varying(loop)
    if not _allowed(loop.body, varying):
        return None
    widest, memory = _sizes(loop)
    native = target.vector_bytes // widest
    masked = target.masked and (target.masked_small or memory >= 4)
    lanes = native * _unroll(loop, target, widest)
    return Plan(lanes, max(2, 16 // widest), masked, varying)


def _all_values(block: tuple[ir.Stmt, ...]) -> Iterator[ir.Value]:
    for stmt in ir.walk(block):
        yield from ir.values_of(stmt)


def reads(value: ir.Value, names: frozenset[str] | set[str]) -> bool:
    """Whether `value` mentions one of the variables `names`."""
    return any(type(v) is ir.Var and v.name in names for v in ir.subvalues(value))


def _varying(loop: ir.For) -> frozenset[str]:
    """The variables bound in the loop whose values depend on the loop's own, to a fixed point over inner carries."""
    names = {loop.var.name} | {c.var.name for c in loop.carries}
    size = -1
    while size != len(names):
        size = len(names)
        for stmt in ir.walk(loop.body):
            if isinstance(stmt, ir.Let) and stmt.var.name not in names and reads(stmt.value, names):
                names.add(stmt.var.name)
            elif isinstance(stmt, ir.For):
                for c in stmt.carries:
                    if c.var.name not in names and (reads(c.init, names) or reads(c.next, names)):
                        names |= {c.var.name, c.result.name}
    return frozenset(names)


def _allowed(block: tuple[ir.Stmt, ...], varying: frozenset[str]) -> bool:
    """Whether every statement can run on all lanes at once."""
    for stmt in ir.walk(block):
        match stmt:
            case ir.Let() | ir.Store() | ir.Check() | ir.If():
                pass
            case ir.For() if not reads(stmt.extent, varying):
                pass
            case _:
                return False
    return True


def _sizes(loop: ir.For) -> tuple[int, int]:
    """The widest element computed with (at least 4 bytes), and the narrowest one in memory.

    Index arithmetic is int64 but mostly stays scalar, so an int64 counts only where it is loaded, stored or carried.
    """
    memory: set[int] = set()
    register: set[int] = {4} | {c.var.dtype.itemsize for c in loop.carries}
    for stmt in ir.walk(loop.body):
        if isinstance(stmt, ir.Store):
            memory.add(stmt.buffer.dtype.itemsize)
        if isinstance(stmt, ir.For):
            register |= {c.var.dtype.itemsize for c in stmt.carries if c.var.dtype != ir.INDEX}
    for top in (*_all_values(loop.body), *(c.next for c in loop.carries)):
        for value in ir.subvalues(top):
            if isinstance(value, ir.Load):
                memory.add(value.dtype.itemsize)
            elif isinstance(value, ir.Op) and (dtypes.is_float(value.dtype) or value.dtype == dtypes.uint64):
                register.add(value.dtype.itemsize)
    return max(register | memory), min(memory, default=4)


def _unroll(loop: ir.For, target: Target, widest: int) -> int:
    """How many registers a value takes: more for short bodies, where latency or the loop's own cost would show."""
    live = heavy = operations = 0
    inner = False
    for stmt in ir.walk(loop.body):
        inner = inner or isinstance(stmt, ir.For)
        live += isinstance(stmt, ir.Let) + (len(stmt.carries) if isinstance(stmt, ir.For) else 0)
    for top in (*_all_values(loop.body), *(c.next for c in loop.carries)):
        for value in ir.subvalues(top):
            operations += isinstance(value, ir.Op) and value.dtype != ir.INDEX
            heavy += isinstance(value, ir.Op) and weight(value.name).is_long
    live += len(loop.carries)
    reduction = bool(loop.carries) or inner
    factor = 4 if reduction else 2
    if heavy:  # a long chain of dependent instructions, of which two at a time fill the pipes
        factor = 2 if heavy <= 2 and target.registers > 16 else 1
    while factor > 1 and (live * factor > target.registers // 2 or operations * factor > 64):
        factor //= 2
    return factor
