"""Values passed on instead of stored and loaded, and what then has no use removed.

    y[i] = t; u = y[i]   →   y[i] = t; u = t            a store that no one reads, a let that no one uses, an empty loop   →   nothing

Within a block and the blocks inside it, a load gives what the last store to the same position put there, as long as nothing in
between may have written elsewhere in that buffer.

May be imported by: fusion.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

from .access import position
from .build import Block, writes
from .ir import (
    Alloc,
    Buffer,
    Call,
    Callback,
    Carry,
    Check,
    Const,
    For,
    If,
    Let,
    Load,
    Op,
    Ref,
    Stmt,
    Store,
    Value,
    Var,
    While,
    values_of,
    walk,
)
from .values import op

Key: TypeAlias = tuple[str, frozenset[tuple[Value, int]], int]
_Known: TypeAlias = dict[str, dict[Key, Value]]
"""Buffer → position → the value that stands there."""


def cleaned(block: Block, kept: set[str]) -> Block:
    """`block` with values passed on, and without what nothing needs; stores to the buffers `kept` stay."""
    return without_dead(_forwarded(block, {}, {}), kept)


def _key(buffer: Buffer, index: tuple[Value, ...]) -> Key:
    form = position(buffer, index)
    return buffer.name, frozenset(form.terms.items()), form.constant


# --- passing values on ----------------------------------------------------------------------------


def _forwarded(block: Block, known: _Known, same: dict[Var, Value]) -> Block:
    """A block whose loads of known values are those values. `same` maps variables to what they are bound to, where that is a
    constant or another variable."""
    result: list[Stmt] = []
    for stmt in block:
        match stmt:
            case Let():
                value = _read(stmt.value, known, same)
                if isinstance(value, (Var, Const)):
                    same[stmt.var] = value
                    continue
                result.append(Let(stmt.var, value))
            case Store():
                index = tuple(_read(i, known, same) for i in stmt.index)
                value = _read(stmt.value, known, same)
                result.append(Store(stmt.buffer, index, value))
                key = _key(stmt.buffer, index)
                # A store elsewhere in the buffer may be to the same element, but for one a constant distance away.
                apart = {k: v for k, v in known.get(stmt.buffer.name, {}).items() if k[1] == key[1] and k[2] != key[2]}
                known[stmt.buffer.name] = apart | ({key: value} if isinstance(value, (Var, Const)) else {})
            case For():
                carries = [(c, _read(c.init, known, same)) for c in stmt.carries]
                changed = writes(stmt.body)
                inner = _without(known, changed)
                body = _forwarded(stmt.body, inner, same)
                nexts = [_next(c, inner, same) for c in stmt.carries]
                extent = _read(stmt.extent, known, same)
                found = tuple(Carry(c.var, init, nx, c.result, c.combine) for (c, init), nx in zip(carries, nexts, strict=True))
                result.append(For(stmt.var, extent, body, stmt.kind, found))
                _forget(known, changed)
            case If():
                condition = _read(stmt.condition, known, same)
                then = _forwarded(stmt.then, _without(known, set()), same)
                orelse = _forwarded(stmt.orelse, _without(known, set()), same)
                result.append(If(condition, then, orelse))
                _forget(known, writes((stmt,)))
            case While():
                changed = writes((*stmt.prelude, *stmt.body))
                inner = _without(known, changed)
                prelude = _forwarded(stmt.prelude, inner, same)
                condition = _read(stmt.condition, inner, same)
                result.append(While(prelude, condition, _forwarded(stmt.body, inner, same)))
                _forget(known, changed)
            case Check():
                result.append(Check(_read(stmt.ok, known, same), stmt.site, tuple(_read(v, known, same) for v in stmt.values)))
            case Call() | Callback():
                refs = [[_ref(r, known, same) for r in side] for side in (stmt.outputs, stmt.inputs)]
                if isinstance(stmt, Call):
                    scalars = tuple(_read(v, known, same) for v in stmt.scalars)
                    result.append(replace(stmt, outputs=tuple(refs[0]), inputs=tuple(refs[1]), scalars=scalars))
                else:
                    result.append(replace(stmt, outputs=tuple(refs[0]), inputs=tuple(refs[1])))
                _forget(known, {r.buffer.name for r in stmt.outputs})
            case _:
                result.append(stmt)
    return tuple(result)


def _without(known: _Known, changed: set[str]) -> _Known:
    return {name: dict(found) for name, found in known.items() if name not in changed}


def _forget(known: _Known, changed: set[str]) -> None:
    for name in changed:
        known.pop(name, None)


def _ref(r: Ref, known: _Known, same: dict[Var, Value]) -> Ref:
    return Ref(r.buffer, _read(r.offset, known, same), tuple(_read(n, known, same) for n in r.shape), r.strides)


def _next(c: Carry, known: _Known, same: dict[Var, Value]) -> Value:
    """What a carry becomes. A combination keeps its form, which folding could change: `a * 0` to `0`."""
    if c.combine is not None and isinstance(c.next, Op):
        return Op(c.next.name, tuple(_read(a, known, same) for a in c.next.args), c.next.dtype)
    return _read(c.next, known, same)


def _read(value: Value, known: _Known, same: dict[Var, Value]) -> Value:
    match value:
        case Var():
            return same.get(value, value)
        case Load():
            index = tuple(_read(i, known, same) for i in value.index)
            found = known.get(value.buffer.name)
            if found:
                there = found.get(_key(value.buffer, index))
                if there is not None:
                    return there
            return value if all(a is b for a, b in zip(index, value.index, strict=True)) else Load(value.buffer, index)
        case Op():
            args = tuple(_read(a, known, same) for a in value.args)
            if all(a is b for a, b in zip(args, value.args, strict=True)):
                return value
            folds = any(isinstance(a, Const) for a in args)
            return op(value.name, *args, dtype=value.dtype) if folds else Op(value.name, args, value.dtype)
        case _:
            return value


# --- removing -------------------------------------------------------------------------------------


def without_dead(block: Block, kept: set[str]) -> Block:
    """`block` without stores to buffers that are never read, and without lets, loops and allocations that nothing needs."""
    local = {s.buffer.name for s in walk(block) if isinstance(s, Alloc)}
    dead: set[str] | None = None
    while True:
        unread = local - _read_buffers(block) - kept
        if unread == dead:
            return block
        dead = unread
        block = _swept(block, dead, set())


def _read_buffers(block: Block) -> set[str]:
    """The buffers that are read, by anything but a call's own accumulation."""
    found: set[str] = set()
    for stmt in walk(block):
        for v in values_of(stmt):
            _collect(v, found)
        if isinstance(stmt, (Call, Callback)):
            found |= {r.buffer.name for r in stmt.inputs}
            if isinstance(stmt, Callback):
                found |= {r.buffer.name for r in stmt.outputs}
    return found


def _collect(value: Value, found: set[str]) -> None:
    match value:
        case Load():
            found.add(value.buffer.name)
            for i in value.index:
                _collect(i, found)
        case Op():
            for a in value.args:
                _collect(a, found)
        case _:
            pass


def _swept(block: Block, dead: set[str], needed: set[Var]) -> Block:
    """The statements of a block that matter, found backwards: `needed` are the variables that what comes later reads.

    A variable is bound once, so that what a loop inside needs can be told by the same set.
    """
    result: list[Stmt] = []
    for stmt in reversed(block):
        match stmt:
            case Let():
                if stmt.var not in needed:
                    continue
                _variables(stmt.value, needed)
            case Alloc():
                if stmt.buffer.name in dead:
                    continue
            case Store():
                if stmt.buffer.name in dead:
                    continue
                for v in (*stmt.index, stmt.value):
                    _variables(v, needed)
            case For():
                carries = _live_carries(stmt, needed)
                for c in carries:
                    _variables(c.next, needed)
                body = _swept(stmt.body, dead, needed)
                if not body and not carries:
                    continue
                for c in carries:
                    _variables(c.init, needed)
                _variables(stmt.extent, needed)
                stmt = For(stmt.var, stmt.extent, body, stmt.kind, carries)
            case If():
                then, orelse = _swept(stmt.then, dead, needed), _swept(stmt.orelse, dead, needed)
                if not then and not orelse:
                    continue
                _variables(stmt.condition, needed)
                stmt = If(stmt.condition, then, orelse)
            case While():
                body = _swept(stmt.body, dead, needed)
                _variables(stmt.condition, needed)
                prelude = _swept(stmt.prelude, dead, needed)
                stmt = While(prelude, stmt.condition, body)
            case _:
                if isinstance(stmt, Call) and all(r.buffer.name in dead for r in stmt.outputs):
                    continue
                for v in values_of(stmt):
                    _variables(v, needed)
        result.append(stmt)
    return tuple(reversed(result))


def _live_carries(loop: For, needed: set[Var]) -> tuple[Carry, ...]:
    """The carries whose result is read, or that another such carry or the body reads."""
    if not loop.carries:
        return ()
    read: set[Var] = set()
    for s in walk(loop.body):
        for v in values_of(s):
            _variables(v, read)
    for c in loop.carries:
        if c.combine is None:  # what it becomes may come from the other carries
            _variables(c.next, read)
    return tuple(c for c in loop.carries if c.result in needed or c.var in read)


def _variables(value: Value, found: set[Var]) -> None:
    match value:
        case Var():
            found.add(value)
        case Load():
            for i in value.index:
                _variables(i, found)
        case Op():
            for a in value.args:
                _variables(a, found)
        case _:
            pass
