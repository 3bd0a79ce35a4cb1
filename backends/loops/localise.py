"""Buffers that live within one iteration, as scratch of the thread that runs it.

    alloc arena t: f32[64, 512]; parallel i < 64: … t[i, j] …   →   parallel i < 64: alloc local t: f32[512]; … t[j] …

A buffer is contracted to the innermost loop that holds all its accesses and whose iterations touch slabs of it: it then stays in the
cache, and out of the arena.

May be imported by: fusion.
"""

from __future__ import annotations

from collections.abc import Callable

from .access import extent_of, is_independent, position, slab, summarise
from .build import Block, ranges_in, reads, writes
from .ir import Alloc, Buffer, Call, Callback, Carry, Check, For, If, Let, Load, Op, Ref, Stmt, Store, Value, Var, While
from .schedule import is_driver
from .values import Interval, Linear, from_linear, linear


def localised(block: Block, largest: int) -> Block:
    """A driver-level block with its buffers contracted where they can be; none to more than `largest` bytes."""
    inner = tuple(_inside(s, largest) for s in block)
    touching: dict[str, list[int]] = {}
    for k, stmt in enumerate(inner):
        for name in reads((stmt,)) | writes((stmt,)):
            touching.setdefault(name, []).append(k)
    own = {s.buffer.name: s.buffer for s in inner if isinstance(s, Alloc) and s.buffer.space == "arena"}
    chosen: dict[int, list[Buffer]] = {}
    for name, buffer in own.items():
        homes = touching.get(name, [])
        if len(homes) == 1:
            chosen.setdefault(homes[0], []).append(buffer)
    result: list[Stmt] = []
    gone: set[str] = set()
    contracted: dict[int, Stmt] = {}
    for k, buffers in chosen.items():
        stmt = inner[k]
        if isinstance(stmt, For) and not is_driver(stmt):
            contracted[k], done = _contracted(stmt, buffers, largest)
            gone |= done
    for k, stmt in enumerate(inner):
        if not (isinstance(stmt, Alloc) and stmt.buffer.name in gone):
            result.append(contracted.get(k, stmt))
    return tuple(result)


def _inside(stmt: Stmt, largest: int) -> Stmt:
    match stmt:
        case For() if is_driver(stmt):
            return For(stmt.var, stmt.extent, localised(stmt.body, largest), stmt.kind, stmt.carries)
        case While():
            return While(localised(stmt.prelude, largest), stmt.condition, localised(stmt.body, largest))
        case If():
            return If(stmt.condition, localised(stmt.then, largest), localised(stmt.orelse, largest))
        case _:
            return stmt


def _contracted(nest: For, buffers: list[Buffer], largest: int) -> tuple[For, set[str]]:
    """The nest with those of `buffers` local that can be, and their names."""
    known = ranges_in((nest,))
    done: set[str] = set()
    for buffer in buffers:
        home = _home(nest, buffer, known, largest)
        if home is None:
            continue
        path, width = home
        local = Buffer(buffer.name, buffer.dtype, (width,), "local")
        nest = _rewritten(nest, local, frozenset(path), path[-1])
        done.add(buffer.name)
    return nest, done


def _home(nest: For, buffer: Buffer, known: dict[Var, Interval], largest: int) -> tuple[tuple[Var, ...], int] | None:
    """The variables of the loops down to the one that may hold `buffer`, and how many elements an iteration of it needs."""
    path: tuple[Var, ...] = ()
    best: tuple[tuple[Var, ...], int] | None = None
    loop: For | None = nest
    while loop is not None and is_independent(loop):
        n = extent_of(loop)
        accesses = summarise(For(loop.var, loop.extent, loop.body), known).accesses.get(buffer.name, [])
        found = slab(accesses, loop.var, n, path, known) if n is not None and accesses else None
        if found is None or found.period:
            break
        path = (*path, loop.var)
        # A loop without loops inside is a vector, in which there is no scratch.
        if found.width * buffer.dtype.itemsize <= largest and any(isinstance(s, (For, Call)) for s in loop.body):
            best = path, found.width
        holders = [s for s in loop.body if buffer.name in reads((s,)) | writes((s,))]
        loop = holders[0] if len(holders) == 1 and isinstance(holders[0], For) else None
    return best


def _rewritten(stmt: For, local: Buffer, path: frozenset[Var], home: Var) -> For:
    """The loop with every access to the buffer relative to the iterations of `path`, and its allocation in the loop of `home`."""

    def index(form: Linear) -> Value:
        return from_linear(Linear({a: c for a, c in form.terms.items() if a not in path}, form.constant))

    def value(v: Value) -> Value:
        match v:
            case Load():
                if v.buffer.name == local.name:
                    return Load(local, (index(position(v.buffer, v.index)),))
                found = tuple(map(value, v.index))
                return v if all(a is b for a, b in zip(found, v.index, strict=True)) else Load(v.buffer, found)
            case Op():
                args = tuple(map(value, v.args))
                return v if all(a is b for a, b in zip(args, v.args, strict=True)) else Op(v.name, args, v.dtype)
            case _:
                return v

    def ref(r: Ref) -> Ref:
        if r.buffer.name != local.name:
            return Ref(r.buffer, value(r.offset), r.shape, r.strides)
        return Ref(local, index(linear(r.offset)), r.shape, r.strides)

    def statement(s: Stmt) -> Stmt:
        return _mapped(s, local, value, ref, index, statement)

    def loop(f: For) -> For:
        body = tuple(loop(s) if isinstance(s, For) else statement(s) for s in f.body)
        if f.var == home:
            body = (Alloc(local), *body)
        carries = tuple(Carry(c.var, value(c.init), value(c.next), c.result, c.combine) for c in f.carries)
        return For(f.var, f.extent, body, f.kind, carries)

    return loop(stmt)


def _mapped(
    s: Stmt,
    local: Buffer,
    value: Callable[[Value], Value],
    ref: Callable[[Ref], Ref],
    index: Callable[[Linear], Value],
    statement: Callable[[Stmt], Stmt],
) -> Stmt:
    match s:
        case Let():
            return Let(s.var, value(s.value))
        case Store():
            if s.buffer.name == local.name:
                return Store(local, (index(position(s.buffer, s.index)),), value(s.value))
            return Store(s.buffer, tuple(map(value, s.index)), value(s.value))
        case For():
            carries = tuple(Carry(c.var, value(c.init), value(c.next), c.result, c.combine) for c in s.carries)
            return For(s.var, value(s.extent), tuple(map(statement, s.body)), s.kind, carries)
        case If():
            return If(value(s.condition), tuple(map(statement, s.then)), tuple(map(statement, s.orelse)))
        case Check():
            return Check(value(s.ok), s.site, tuple(map(value, s.values)))
        case Call():
            return Call(s.kernel, tuple(map(ref, s.outputs)), tuple(map(ref, s.inputs)), tuple(map(value, s.scalars)), s.attrs)
        case _:
            assert not isinstance(s, (While, Callback)), s
            return s


