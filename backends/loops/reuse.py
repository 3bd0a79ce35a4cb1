"""Donated inputs whose memory an output takes over.

    step(w, g) = w - 0.1 * g, w donated                      out0 and in0 are the same memory:
    For i: out0[i] = in0[i] - 0.1 * in1[i]            →      For i: in0[i] = in0[i] - 0.1 * in1[i]

An output may take over an input of its dtype and shape if every read of the input precedes the write of the same element, whatever
the number of threads: either the last statement that reads the input comes before the first that writes the output, or both are one
statement, in which they are ordered in the same way.  In a loop, iterations must keep to elements of their own (`access.slab`); a tile
kernel that reads the one and writes the other is no such statement, and neither is a `while`.

Where a reader stands after the first write by chance of fusion, it is moved before it (backpropagation reads the weights of a layer
after it has computed their update).  What only copies the input to its own place is dropped: `x.at[i].set(v)` touches one element.

The result is a relation between arguments, not a change of buffers: the routine still names both, and the call path passes one address
for the two.  May be imported by: the pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace

from fdl.tracer.records import dataclass

from .access import Summary, extent_of, position, slab, summarise
from .build import Block, bound, free, ranges_in, reads, writes
from .ir import Alloc, Buffer, Callback, Check, Const, For, If, Let, Load, Op, Routine, Stmt, Store, Var, subvalues, walk
from .values import Interval, Linear, bounds


@dataclass(frozen=True, slots=True)
class Reuse:
    """What became of the donated inputs of a routine.

    `over` maps outputs to the inputs whose memory they take over, by number; `notes` tells of each donated input what takes it over, or
    why nothing does.
    """

    over: Mapping[int, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


Kinds = Mapping[str, object]
"""The type that the user sees of each argument, by its name: a routine has complex numbers as pairs, in arrays that real ones fit."""


def reused(routine: Routine, donated: Sequence[int], kinds: Kinds) -> tuple[Routine, Reuse]:
    """The routine with readers moved and copies dropped, and which of its outputs take over which of the `donated` inputs."""
    if not donated:
        return routine, Reuse()
    inputs = [routine.inputs[k] for k in donated]
    fitting = {kinds[b.name] for b in inputs}
    outputs = [b for b in routine.outputs if kinds[b.name] in fitting]
    order = _Order(routine)
    _readers_first(order, outputs, inputs, kinds)
    pairs = _matched(outputs, inputs, order, kinds)
    body = order.body
    for out, source in pairs.items():
        body = _without_copy(body, out, source, order)
    number = {b.name: k for k, b in enumerate(routine.inputs)}
    place = {b.name: k for k, b in enumerate(routine.outputs)}
    over = {place[out]: number[source] for out, source in pairs.items()}
    return replace(routine, body=body), Reuse(over, _notes(inputs, outputs, pairs, kinds))


def _notes(inputs: list[Buffer], outputs: list[Buffer], pairs: dict[str, str], kinds: Kinds) -> tuple[str, ...]:
    taken = {source: out for out, source in pairs.items()}
    notes = []
    for b in inputs:
        kind = f"{b.dtype.name}{list(b.shape)}"
        if b.name in taken:
            notes.append(f"{taken[b.name]} takes over the memory of {b.name}, {kind}: {b.nbytes} bytes")
            continue
        alike = [o for o in outputs if kinds[o.name] == kinds[b.name]]
        free_ones = [o.name for o in alike if o.name not in pairs]
        if not alike:
            why = "no output has its type"
        elif not free_ones:
            why = "the outputs of its type take over other inputs"
        else:
            why = f"it is read after {', '.join(free_ones)} is written"
        notes.append(f"{b.name}, {kind}, is not reused: {why}")
    return tuple(notes)


# --- the order of reads and writes ----------------------------------------------------------------


class _Order:
    """Whether reads of one buffer precede writes of another, if the two were one memory."""

    def __init__(self, routine: Routine) -> None:
        self.body = routine.body
        self.known: dict[Var, Interval] = ranges_in(routine.body)
        self.splits = _splits(routine.body)
        self.summaries: dict[int, Summary] = {}
        self.touched: dict[int, tuple[set[str], set[str]]] = {}
        self.ends: dict[int, tuple[Block, dict[str, int], dict[str, int]]] = {}
        """Of blocks, by identity: which statement is the last that reads a buffer, and which the first that writes it."""

    def touches(self, stmt: Stmt) -> tuple[set[str], set[str]]:
        """What a statement reads and writes."""
        found = self.touched.get(id(stmt))
        if found is None:
            written = {stmt.buffer.name} if isinstance(stmt, Alloc) else writes((stmt,))
            found = self.touched[id(stmt)] = reads((stmt,)), written
        return found

    def meeting(self, block: Block, source: str, out: str) -> tuple[int, int]:
        """The last statement of a block that reads `source`, and the first that writes `out`."""
        found = self.ends.get(id(block))
        if found is None:
            lasts: dict[str, int] = {}
            firsts: dict[str, int] = {}
            for k, stmt in enumerate(block):
                read, written = self.touches(stmt)
                lasts.update(dict.fromkeys(read, k))
                for name in written:
                    firsts.setdefault(name, k)
            found = self.ends[id(block)] = block, lasts, firsts
        _, lasts, firsts = found
        return lasts.get(source, -1), firsts.get(out, len(block))

    def precedes(self, block: Block, source: str, out: str, around: tuple[Var, ...] = ()) -> bool:
        """Whether each read of an element of `source` in a block comes before the write of that element of `out`."""
        last, first = self.meeting(block, source, out)
        return last < first or (last == first and self._within(block[first], source, out, around))

    def _within(self, stmt: Stmt, source: str, out: str, around: tuple[Var, ...]) -> bool:
        match stmt:
            case Store():
                return True
            case If():
                return all(self.precedes(block, source, out, around) for block in (stmt.then, stmt.orelse))
            case For():
                if any(isinstance(v, Load) and v.buffer.name == source for c in stmt.carries for v in subvalues(c.next)):
                    return False  # read when the body has ended
                inner = (*around, stmt.var)
                return self._apart(stmt, source, out, around) and self.precedes(stmt.body, source, out, inner)
            case _:
                return False

    def _apart(self, loop: For, source: str, out: str, around: tuple[Var, ...]) -> bool:
        """Whether every iteration keeps to elements of its own, taking the two buffers for one."""
        n = extent_of(loop)
        most = bounds(loop.extent, self.known)[1]  # the last chunk of a loop may be shorter
        if most <= 1:
            return True
        s = self.summaries.get(id(loop))
        if s is None:
            s = self.summaries[id(loop)] = summarise(loop, self.known)
        accesses = [a for name in (source, out) for a in s.accesses[name]]
        forms = [self._whole(a.form) for a in accesses]
        if n is not None and all(f.terms.get(loop.var, 0) < 0 for f in forms):
            forms = [_upwards(f, loop.var, n) for f in forms]
        base = min(f.constant for f in forms)  # where the slabs begin does not matter
        moved = [replace(a, form=Linear(f.terms, f.constant - base)) for a, f in zip(accesses, forms, strict=True)]
        return slab(moved, loop.var, most, around, self.known) is not None

    def _whole(self, form: Linear) -> Linear:
        """`form` in terms of `t` where it holds `t // m` and `t % m` in the proportion of the two."""
        terms = dict(form.terms)
        for high, low, m, whole in self.splits:
            c = terms.get(low, 0)
            if c and terms.get(high) == m * c and whole not in terms:
                del terms[high], terms[low]
                terms[whole] = c
        return Linear(terms, form.constant)


def _upwards(form: Linear, v: Var, n: int) -> Linear:
    """A position that falls with `v`, in terms of `n - 1 - v`: if all of a loop's do, that is as good a variable for it."""
    c = form.terms[v]
    return Linear({**form.terms, v: -c}, form.constant + c * (n - 1))


def _splits(body: Block) -> list[tuple[Var, Var, int, Var]]:
    """(i, j, m, t) for every pair of variables i = t // m and j = t % m."""
    halves: dict[tuple[Var, int], dict[str, Var]] = {}
    for stmt in walk(body):
        if isinstance(stmt, Let) and isinstance(stmt.value, Op) and stmt.value.name in ("div", "rem"):
            whole, m = stmt.value.args
            if isinstance(whole, Var) and isinstance(m, Const):
                halves.setdefault((whole, int(m.value)), {})[stmt.value.name] = stmt.var
    return [(h["div"], h["rem"], m, whole) for (whole, m), h in halves.items() if len(h) == 2]


# --- which output takes over which input ----------------------------------------------------------


def _matched(outputs: list[Buffer], inputs: list[Buffer], order: _Order, kinds: Kinds) -> dict[str, str]:
    """As many pairs output → input as there can be, by augmenting paths.

    Preferred are those read and written by one statement, then those that stand at the same place among their like.
    """
    choices: dict[str, list[str]] = {}
    seen_of: dict[object, int] = {}
    for out in outputs:
        kind = kinds[out.name]
        place = seen_of[kind] = seen_of.get(kind, -1) + 1
        ranked = []
        for k, source in enumerate(b for b in inputs if kinds[b.name] == kind):
            if order.precedes(order.body, source.name, out.name):
                last, first = order.meeting(order.body, source.name, out.name)
                ranked.append((first - last, abs(k - place), source.name))
        choices[out.name] = [name for _, _, name in sorted(ranked)]
    taken: dict[str, str] = {}

    def assign(result: str, seen: set[str]) -> bool:
        for name in choices[result]:
            if name not in seen:
                seen.add(name)
                if name not in taken or assign(taken[name], seen):
                    taken[name] = result
                    return True
        return False

    for result in choices:
        assign(result, set())
    return {result: name for name, result in taken.items()}


# --- readers that are late by chance --------------------------------------------------------------


def _readers_first(order: _Order, outputs: list[Buffer], inputs: list[Buffer], kinds: Kinds) -> None:
    """Moves statements that read a donated input before its update, where nothing forbids it.

    The update is the statement that first writes an output and computes it from the input, element by element.
    """
    partners: dict[str, list[str]] = {}
    for out in outputs:
        update = next((s for s in order.body if out.name in order.touches(s)[1]), None)
        if update is not None:
            alike = [b.name for b in inputs if kinds[b.name] == kinds[out.name]]
            read = order.touches(update)[0]
            partners[out.name] = [name for name in alike if name in read and order.precedes((update,), name, out.name)]
    updated = {out for out, found in partners.items() if found}
    for written in sorted(updated):
        first = next(k for k, s in enumerate(order.body) if written in order.touches(s)[1])
        rest = range(first + 1, len(order.body))
        late = [[k for k in rest if name in order.touches(order.body[k])[0]] for name in partners[written]]
        if not all(late):
            continue  # one of them is read no more
        order.body = next((b for readers in late if (b := _moved(order, first, readers, updated)) is not None), order.body)


def _moved(order: _Order, first: int, readers: Sequence[int], updated: set[str]) -> Block | None:
    """The body with statements `readers`, and those that they depend on, before statement `first`; None where one has to stay."""
    body = order.body
    writers: dict[str, list[int]] = {}
    users: dict[str, list[int]] = {}
    binders: dict[Var, int] = {}
    for k in range(first, max(readers) + 1):
        read, written = order.touches(body[k])
        for name in read:
            users.setdefault(name, []).append(k)
        for name in written:
            writers.setdefault(name, []).append(k)
        for s in walk((body[k],)):
            binders.update(dict.fromkeys(bound(s), k))
    moving: set[int] = set()
    pending = list(readers)
    while pending:
        k = pending.pop()
        if k in moving:
            continue
        stmt = body[k]
        read, written = order.touches(stmt)
        if k == first or written & updated or any(isinstance(s, (Check, Callback)) for s in walk((stmt,))):
            return None
        moving.add(k)
        before = [j for name in read | written for j in writers.get(name, ())] + [
            j for name in written for j in users.get(name, ())
        ]
        pending += [j for j in before if j < k]
        pending += [binders[v] for v in free((stmt,)) if v in binders]
    front = [body[k] for k in sorted(moving)]
    return (*body[:first], *front, *(s for k, s in enumerate(body) if k >= first and k not in moving))


# --- copies to their own place --------------------------------------------------------------------


def _without_copy(body: Block, out: str, source: str, order: _Order) -> Block:
    """The body without the statement's part that stores elements of `source` to the same elements of `out`.

    Only where it is the first and only write of its statement: what is stored is still what lies there.
    """
    last, first = order.meeting(order.body, source, out)
    if last != first:
        return body
    stmt = order.body[first]
    stores = [s for s in walk((stmt,)) if isinstance(s, Store) and s.buffer.name == out]
    others = [s for s in walk((stmt,)) if not isinstance(s, (Store, For, If)) and out in order.touches(s)[1]]
    if len(stores) != 1 or others or not isinstance(stmt, For):
        return body
    store = stores[0]
    value = store.value
    if isinstance(value, Var):
        value = next((s.value for s in walk((stmt,)) if isinstance(s, Let) and s.var == value), value)
    if not isinstance(value, Load) or value.buffer.name != source:
        return body
    if position(value.buffer, value.index) != position(store.buffer, store.index):
        return body
    result: list[Stmt] = []
    for s in body:
        result.extend(_pruned(s, store) if any(x is store for x in walk((s,))) else (s,))
    return tuple(result)


def _pruned(stmt: Stmt, dropped: Store) -> Block:
    """`stmt` without a store, and without the lets and loops that have no use any more."""
    if stmt is dropped:
        return ()
    if isinstance(stmt, For):
        body = tuple(x for s in stmt.body for x in _pruned(s, dropped))
        used: set[Var] = {v for c in stmt.carries for v in subvalues(c.next) if isinstance(v, Var)}
        kept: list[Stmt] = []
        for s in reversed(body):
            if isinstance(s, Let) and s.var not in used:
                continue
            kept.append(s)
            used |= free((s,))
        if all(isinstance(s, Alloc) for s in kept) and not stmt.carries:
            return ()
        return (For(stmt.var, stmt.extent, tuple(reversed(kept)), stmt.kind, stmt.carries),)
    if isinstance(stmt, If):
        then, orelse = (tuple(x for s in block for x in _pruned(s, dropped)) for block in (stmt.then, stmt.orelse))
        return (If(stmt.condition, then, orelse),) if then or orelse else ()
    return (stmt,)


__all__ = ["Reuse", "reused"]
