"""The memory plan: an offset in one arena for every temporary, by lifetime.

A buffer lives from the first statement of its block that touches it to the last one.  Buffers whose lifetimes overlap lie apart;
the others share memory, best fit first, on 64-byte boundaries.  An elementwise nest may write its result over an operand that dies
there, element by element.

    buffer  bytes  from to  offset  made at
    b        4096     0  2       0  model.py:12
    b1       4096     2  5    4096  model.py:13

May be imported by: the pipeline, emitters and reports.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from dataclasses import replace

from fdl.tracer.records import dataclass

from .build import all_values, reads, writes
from .ir import Alloc, Buffer, Call, Callback, For, If, Load, Routine, Stmt, Store, Value, Var, While, blocks, walk
from .values import flatten, linear

ALIGN = 64


@dataclass(frozen=True, slots=True)
class Entry:
    """One buffer of the plan. `first` and `last` number statements in program order; `over` names what it writes over."""

    buffer: Buffer
    offset: int
    first: int
    last: int
    source: str = ""
    over: str = ""

    @property
    def nbytes(self) -> int:
        return self.buffer.nbytes


@dataclass(frozen=True, slots=True)
class Plan:
    """Where every arena buffer of a routine lies. `nbytes` is the arena's size, which is the peak; `notes` tell of donated inputs."""

    offsets: dict[str, int]
    nbytes: int
    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        head = ("buffer", "type", "bytes", "from", "to", "offset", "made at")
        rows = [head]
        for e in self.entries:
            kind = f"{e.buffer.dtype.name}{list(e.buffer.shape)}"
            note = e.source + (f" (over {e.over})" if e.over else "")
            rows.append((e.buffer.name, kind, str(e.nbytes), str(e.first), str(e.last), str(e.offset), note))
        widths = [max(len(r[c]) for r in rows) for c in range(len(head))]
        left = (0, 1, 6)
        lines = ["  ".join(t.ljust(w) if c in left else t.rjust(w) for c, (t, w) in enumerate(zip(r, widths, strict=True))) for r in rows]
        total = sum(e.nbytes for e in self.entries)
        tail = f"arena: {self.nbytes} bytes for {len(self.entries)} buffers of {total} bytes together"
        return "\n".join([*(line.rstrip() for line in lines), tail, *self.notes])


@dataclass(slots=True)
class _Life:
    buffer: Buffer
    first: int
    last: int


def plan(routine: Routine, notes: tuple[str, ...] = ()) -> Plan:
    """Offsets for every buffer that the routine allocates in the arena; `notes` are shown with it."""
    lives, statements = _lifetimes(routine)
    over = _overwritten(lives, statements)
    homes: dict[str, str] = {}
    for name in lives:
        root = name
        while root in over:
            root = over[root]
        homes[name] = root
    merged: dict[str, _Life] = {}
    for name, life in lives.items():
        home = merged.setdefault(homes[name], _Life(lives[homes[name]].buffer, life.first, life.last))
        home.first, home.last = min(home.first, life.first), max(home.last, life.last)
    places, top = _best_fit(merged)
    offsets = {name: places[homes[name]] for name in lives}
    entries = tuple(
        Entry(life.buffer, offsets[name], life.first, life.last, routine.notes.get(name, ""), over.get(name, ""))
        for name, life in lives.items()
    )
    return Plan(offsets, top, entries, notes)


def apart(planned: Plan, fence: int) -> Plan:
    """The plan with memory for each buffer alone, `fence` bytes or more before and after it: for the mode that debugs memory."""
    offsets: dict[str, int] = {}
    top = 0
    for e in planned.entries:
        offsets[e.buffer.name] = top = -(-(top + fence) // ALIGN) * ALIGN
        top += e.nbytes + fence
    entries = tuple(replace(e, offset=offsets[e.buffer.name], over="") for e in planned.entries)
    return Plan(offsets, top, entries, planned.notes)


# --- lifetimes ------------------------------------------------------------------------------------


def _lifetimes(routine: Routine) -> tuple[dict[str, _Life], dict[int, Stmt]]:
    """The lifetime of each arena buffer, and the numbered statements.

    A statement's span is its number and those of what is inside it.  A buffer touched inside a loop, but allocated outside,
    lives for the whole loop: the next iteration may read it.
    """
    lives: dict[str, _Life] = {}
    statements: dict[int, Stmt] = {}
    counter = 0

    def block(stmts: tuple[Stmt, ...]) -> dict[str, tuple[int, int]]:
        nonlocal counter
        own: dict[str, Buffer] = {}
        spans: dict[str, tuple[int, int]] = {}
        for stmt in stmts:
            if isinstance(stmt, Alloc):
                if stmt.buffer.space == "arena":
                    own[stmt.buffer.name] = stmt.buffer
                continue
            start = counter
            counter += 1
            statements[start] = stmt
            touched = _touched_here(stmt)
            if _is_driver(stmt):
                for inner in blocks(stmt):
                    touched |= set(block(inner))
            else:
                touched |= reads((stmt,)) | writes((stmt,))
            end = counter - 1
            for name in touched:
                first, _ = spans.get(name, (start, end))
                spans[name] = (first, end)
        for name, buffer in own.items():
            first, last = spans.pop(name, (counter, counter - 1))
            if last >= first:
                lives[name] = _Life(buffer, first, last)
            else:
                lives[name] = _Life(buffer, counter, counter)
        return spans

    block(routine.body)
    return lives, statements


def _is_driver(stmt: Stmt) -> bool:
    """Whether a statement may hold arena buffers of its own."""
    return isinstance(stmt, (For, While, If)) and any(isinstance(s, Alloc) and s.buffer.space == "arena" for s in walk((stmt,)))


def _touched_here(stmt: Stmt) -> set[str]:
    """The buffers that a statement itself touches, without those of the statements inside it."""
    match stmt:
        case For() | While() | If():
            values: tuple[Value, ...] = (stmt.extent,) if isinstance(stmt, For) else (stmt.condition,)
            if isinstance(stmt, For):
                values += tuple(v for c in stmt.carries for v in (c.init, c.next))
            return {v.buffer.name for top in values for v in _loads(top)}
        case _:
            return set()


def _loads(value: Value) -> Iterator[Load]:
    from_here = [value]
    while from_here:
        v = from_here.pop()
        if isinstance(v, Load):
            yield v
            from_here.extend(v.index)
        else:
            from_here.extend(getattr(v, "args", ()))


# --- in place -------------------------------------------------------------------------------------


def _overwritten(lives: dict[str, _Life], statements: dict[int, Stmt]) -> dict[str, str]:
    """Result → the operand whose memory it takes: where one nest reads the operand for the last time and writes the result for
    the first, each element at its own position."""
    dying: dict[int, list[str]] = {}
    for name, life in lives.items():
        dying.setdefault(life.last, []).append(name)
    taken: set[str] = set()
    found: dict[str, str] = {}
    for name, life in lives.items():
        stmt = statements.get(life.first)
        if not isinstance(stmt, For) or _is_driver(stmt):
            continue
        for operand in dying.get(life.first, ()):
            old = lives[operand]
            same = old.buffer.nbytes == life.buffer.nbytes and old.buffer.dtype.itemsize == life.buffer.dtype.itemsize
            if operand not in taken and operand != name and old.first < life.first and same and _elementwise(stmt, operand, name):
                found[name] = operand
                taken.add(operand)
                break
    return found


def _elementwise(nest: For, operand: str, result: str) -> bool:
    """Whether the nest reads `operand` only in the block that stores `result`, at the same position, and before that store.

    Every loop around has to move that position: a loop that comes back to it would read what it has written over.
    """
    homes = [(b, around) for b, around in _all_blocks(nest, ()) if any(isinstance(s, Store) and s.buffer.name == result for s in b)]
    if len(homes) != 1 or any(isinstance(s, (Call, Callback, While, If)) for s in walk((nest,))):
        return False
    home, around = homes[0]
    stores = [(k, s) for k, s in enumerate(home) if isinstance(s, Store) and s.buffer.name == result]
    if len(stores) != 1 or operand in writes((nest,)):
        return False
    where, store = stores[0]
    position = flatten(store.index, store.buffer.shape)
    if not all(linear(position).terms.get(v) for v in around):
        return False
    here = 0
    for k, stmt in enumerate(home):
        if isinstance(stmt, (For, If)):
            if operand in reads((stmt,)):
                return False
            continue
        for v in all_values((stmt,)):
            if isinstance(v, Load) and v.buffer.name == operand:
                if k > where or flatten(v.index, v.buffer.shape) != position:
                    return False
                here += 1
            elif isinstance(v, Load) and v.buffer.name == result:
                return False
    total = sum(isinstance(v, Load) and v.buffer.name in (operand, result) for v in all_values((nest,)))
    return total == here > 0


def _all_blocks(stmt: Stmt, around: tuple[Var, ...]) -> Iterator[tuple[tuple[Stmt, ...], tuple[Var, ...]]]:
    """Every block inside a statement, with the variables of the loops around it."""
    inside = (*around, stmt.var) if isinstance(stmt, For) else around
    for inner in blocks(stmt):
        yield inner, inside
        for s in inner:
            yield from _all_blocks(s, inside)


# --- offsets --------------------------------------------------------------------------------------


def _best_fit(lives: dict[str, _Life]) -> tuple[dict[str, int], int]:
    """An offset for each, larger ones first among those that begin together; the arena's size."""
    offsets: dict[str, int] = {}
    active: list[tuple[int, int, int]] = []  # (offset, end, last), by offset
    top = 0
    order = sorted(lives.items(), key=lambda item: (item[1].first, -item[1].buffer.nbytes))
    for name, life in order:
        active = [a for a in active if a[2] >= life.first]
        size = max(-(-life.buffer.nbytes // ALIGN) * ALIGN, ALIGN)
        offset = _gap(active, size, top)
        offsets[name] = offset
        bisect.insort(active, (offset, offset + size, life.last))
        top = max(top, offset + size)
    return offsets, top


def _gap(active: list[tuple[int, int, int]], size: int, top: int) -> int:
    """The tightest gap of at least `size` bytes between the active ones; else the end of the last."""
    best: tuple[int, int] | None = None
    at = 0
    for offset, end, _ in active:
        room = offset - at
        if room >= size and (best is None or room < best[0]):
            best = (room, at)
        at = max(at, end)
    if best is not None:
        return best[1]
    return at
