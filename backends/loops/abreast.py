"""Small nests that do not depend on each other, as one parallel loop: horizontal fusion.

    a[i] = …   (one thread)                    parallel t < 1 + 7:
    parallel p < 7: b[p, j] = …         →        if t < 1: a[i] = …
                                                 else: b[t - 1, j] = …

Each nest is a *task*, or as many as its parallel loop has iterations (runs of iterations, where these are many).  Threads that would have
waited for the one that runs a small nest take others meanwhile, and a barrier between two parallel loops goes.  Each task does what its
nest did, so that no bit of a result changes.

A nest joins the last statement before it that it may stand beside, if it depends on nothing from there on.  Nests that take long gain
nothing: they keep their own loop, and the memory of their temporaries free for others.

It runs when outputs have taken over the memory of donated inputs, since it moves statements, and before the plan, since temporaries of
tasks of one loop live at the same time.

May be imported by: the pipeline.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import field, replace

from fdl.tracer.records import dataclass

from . import cost
from .build import Block, Names, bound, free, new_names, reads, substitute_in, writes
from .ir import INDEX, Alloc, Call, Const, For, If, Routine, Stmt, Value, Var, While, is_observable, walk
from .schedule import is_driver
from .values import add, mul, op, sub

LEAST, MOST = 1.0 * cost.CYCLES_PER_US, 200.0 * cost.CYCLES_PER_US
"""The cycles of a nest that is worth a task, and of one that is worth a loop of its own."""
ALONE = 4.0 * cost.CYCLES_PER_US
"""The least cycles of two nests of one task each that are worth a parallel loop."""
TASKS, TASK = 64, 3.0 * cost.CYCLES_PER_US
"""The most tasks of one nest, and the cycles from which on they need not be larger."""
NESTS = 8
"""The most nests in a loop: a task finds its nest by as many comparisons."""
NEAR = 64
"""The most loops that a nest is offered to, so that joining is linear in the length of the program."""


def abreast(routine: Routine, over: Mapping[str, str]) -> Routine:
    """The routine with small independent nests joined; `over` says which outputs stand where inputs do, by name."""
    names = new_names(routine)
    joining = _Joining(names, dict(routine.notes), over)
    body = joining.block(routine.body)
    return replace(routine, body=body, notes=joining.notes)


@dataclass(frozen=True, slots=True)
class _Nest:
    """A nest as tasks; `run` iterations of its parallel loop make one, or it is one task as it stands."""

    stmt: Stmt
    tasks: int
    run: int
    cycles: float

    def task(self, number: Value, names: Names) -> Block:
        """The statements of the task `number`."""
        if self.tasks == 1:
            return (self.stmt,)
        assert isinstance(self.stmt, For)
        if self.run == 1:
            return substitute_in(self.stmt.body, {self.stmt.var: number})
        inner = Var(names(self.stmt.var.name), INDEX)
        body = substitute_in(self.stmt.body, {self.stmt.var: add(mul(number, self.run), inner)})
        return (For(inner, Const(self.run, INDEX), body),)


@dataclass(slots=True)
class _Item:
    """A statement, or nests that will be one loop; what they touch, bind and use."""

    stmt: Stmt
    nests: list[_Nest]
    reads: set[str]
    writes: set[str]
    binds: set[Var]
    uses: set[Var]
    fixed: bool
    """Whether it may fail or calls back: such statements stay in order."""

    def absorb(self, other: _Item) -> None:
        self.nests += other.nests
        self.reads |= other.reads
        self.writes |= other.writes
        self.uses |= other.uses


@dataclass(slots=True)
class _Order:
    """Where in a block each variable is bound, and each buffer was read and written last."""

    bound: dict[Var, int] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    fixed: int = -1

    def add(self, item: _Item, at: int) -> None:
        """Notes that `item` stands at a place; no item is moved later."""
        self.bound.update(dict.fromkeys(item.binds, at))
        for names, last in ((item.reads, self.read), (item.writes, self.written)):
            for name in names:
                last[name] = max(last.get(name, -1), at)
        if item.fixed:
            self.fixed = at

    def after(self, item: _Item) -> int:
        """The first place at which `item` may stand, after all that it has to follow."""
        last = [
            *(self.bound.get(v, -1) for v in item.uses),
            *(self.written.get(name, -1) for name in item.reads),
            *(max(self.written.get(name, -1), self.read.get(name, -1)) for name in item.writes),
            self.fixed if item.fixed else -1,
        ]
        return max(last) + 1


@dataclass(slots=True)
class _Joining:
    names: Names
    notes: dict[str, str]
    over: Mapping[str, str]
    costs: dict[int, float] = field(default_factory=dict)

    def block(self, block: Sequence[Stmt]) -> Block:
        items: list[_Item] = []
        order = _Order()
        places: list[int] = []  # of the items that have nests, and room for more
        for stmt in block:
            item = self.item(self.inside(stmt))
            near = places[bisect_left(places, order.after(item)) :][-NEAR:] if item.nests else []
            at = next((k for k in reversed(near) if self.pays(items[k].nests, item.nests[0])), len(items))
            if at == len(items):
                items.append(item)
                if item.nests:
                    places.append(at)
            else:
                items[at].absorb(item)
                if len(items[at].nests) == NESTS:
                    places.remove(at)
            order.add(item, at)
        return tuple(self.joined(item.nests) if len(item.nests) > 1 else item.stmt for item in items)

    def inside(self, stmt: Stmt) -> Stmt:
        """A statement with the blocks of the program's own loops and branches done."""
        match stmt:
            case For() if is_driver(stmt):
                return For(stmt.var, stmt.extent, self.block(stmt.body), stmt.kind, stmt.carries)
            case While():
                return While(self.block(stmt.prelude), stmt.condition, self.block(stmt.body))
            case If():
                return If(stmt.condition, self.block(stmt.then), self.block(stmt.orelse))
            case _:
                return stmt

    def item(self, stmt: Stmt) -> _Item:
        place = self.over.get
        read, written = ({place(name, name) for name in names((stmt,))} for names in (reads, writes))
        if isinstance(stmt, Alloc):
            written.add(stmt.buffer.name)
        fixed = is_observable(stmt)
        nest = None if fixed else self.nest(stmt)
        return _Item(stmt, [] if nest is None else [nest], read, written, set(bound(stmt)), free((stmt,)), fixed)

    def nest(self, stmt: Stmt) -> _Nest | None:
        """A statement as tasks, if it is a nest of the right size that leaves no variable behind."""
        if not isinstance(stmt, (For, Call)) or is_driver(stmt):
            return None
        if isinstance(stmt, For) and (stmt.carries or not isinstance(stmt.extent, Const)):
            return None
        inner = [s for s in walk((stmt,)) if s is not stmt]
        if any(isinstance(s, While) or (isinstance(s, For) and (s.kind == "parallel" or is_driver(s))) for s in inner):
            return None
        cycles = cost.statement(stmt, memo=self.costs)
        if not LEAST <= cycles <= MOST:
            return None
        if not isinstance(stmt, For) or stmt.kind != "parallel":
            return _Nest(stmt, 1, 1, cycles)
        extent = int(stmt.extent.value) if isinstance(stmt.extent, Const) else 0
        least = max(-(-extent // TASKS), int(TASK * extent / cycles), 1)
        run = next((r for r in range(least, extent) if extent % r == 0), extent)
        return _Nest(stmt, extent // run, run, cycles) if run < extent else None

    @staticmethod
    def pays(nests: list[_Nest], nest: _Nest) -> bool:
        parallel = any(n.tasks > 1 for n in (*nests, nest))
        return parallel or len(nests) > 1 or min(nests[0].cycles, nest.cycles) >= ALONE

    def joined(self, nests: list[_Nest]) -> Stmt:
        """One parallel loop over the tasks of all nests."""
        task = Var(self.names("task"), INDEX)
        body: Block = ()
        first = sum(n.tasks for n in nests)
        self.note(task, nests)
        extent = Const(first, INDEX)
        for n in reversed(nests):
            end, first = first, first - n.tasks
            mine = n.task(sub(task, first), self.names)
            body = (If(op("lt", task, Const(end, INDEX)), mine, body),) if body else mine
        return For(task, extent, body, "parallel")

    def note(self, task: Var, nests: list[_Nest]) -> None:
        """The task loop comes from the lines that its nests come from."""
        lines = (self.notes.get(n.stmt.var.name, "") for n in nests if isinstance(n.stmt, For))
        self.notes[task.name] = ", ".join(dict.fromkeys(line for line in lines if line))
