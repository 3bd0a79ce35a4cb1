"""Fusion: adjacent nests become one where each iteration of the later one needs only the same iteration of the earlier.

    For i: s[i] = Σ_j x[i, j]                     For i:
    For i: For j: y[i, j] = x[i, j] / s[i]   →      s = Σ_j x[i, j]
                                                    For j: y[i, j] = x[i, j] / s

Every block is rebuilt statement by statement.  A nest goes into the earliest loop that it may join: one of equal extent (or of an extent
that divides its own: the longer loop is split), after everything that it depends on, such that for every buffer that one of the
two writes an iteration touches a slab of its own (`access.slab`).  What is inside joins in the same way, so that the inner loops of a
softmax over rows become few.  Afterwards values are passed on instead of stored and loaded, stores that no one reads vanish, and a buffer
that is used within one iteration only becomes `local` scratch.

The work is linear in the number of statements: dependences are looked up by buffer and variable, and at most `CANDIDATES` loops are tried.

May be imported by: the pipeline.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import field, replace

from fdl.tracer.records import dataclass

from .access import Access, Summary, extent_of, is_independent, slab, summarise
from .build import Names, flat, loads, new_names, ranges_in, stores, substitute_in
from .collapse import collapsed, split
from .forward import cleaned
from .ir import Alloc, Buffer, For, If, Let, Routine, Stmt, Var, While
from .localise import localised
from .schedule import elements, is_driver
from .values import Interval

CANDIDATES = 6
"""How many loops a nest is tried with."""
THREAD_SCRATCH = 1 << 20
"""The most bytes of a buffer that becomes scratch of a CPU thread."""
BLOCK_SCRATCH = 1 << 14
"""The most bytes of one that becomes scratch of a block of GPU threads."""
TASKS = 16
"""Enough iterations for a nest to run in parallel: joining is not to leave fewer, unless it saves much."""
SHARE = 4
"""A nest is worth fewer tasks if it shares at least one byte in so many."""
LARGEST = 400
"""The most statements in a fused nest."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the nest of `loop` was joined to that of `into`, and why not."""

    loop: str
    into: str
    fused: bool
    reason: str

    def __str__(self) -> str:
        return f"{self.loop} {'joined' if self.fused else 'not joined'} to {self.into}: {self.reason}"


def fuse(routine: Routine, target: str = "cpu") -> tuple[Routine, list[Decision]]:
    """The routine with nests joined, and what was decided about each pair that was considered."""
    names = new_names(routine)
    f = _Fusion(names, dict(routine.notes), target)
    body = f.driver(routine.body)
    kept = {b.name for b in routine.outputs}
    body = cleaned(body, kept)
    body = localised(body, BLOCK_SCRATCH if target == "cuda" else THREAD_SCRATCH)
    return replace(routine, body=body, notes=f.notes), f.decisions


@dataclass(slots=True)
class _Loop:
    """A loop being added to."""

    head: For
    """Variable, extent and kind; its body is stale."""
    block: _Block
    summary: Summary
    carries: list[object] = field(default_factory=list)

    def frozen(self) -> For:
        return For(self.head.var, self.head.extent, self.block.frozen(), self.head.kind, self.head.carries)


@dataclass(slots=True)
class _Slot:
    """A loop that may be joined, or a plain statement, and lets that were put right after it."""

    main: _Loop | Stmt | None
    after: list[Stmt] = field(default_factory=list)


class _Block:
    """A block being rebuilt. Slot k's statements come before those of slot k + 1; keys 2k and 2k + 1 are its loop and what follows it."""

    def __init__(self, ordered: bool = False) -> None:
        self.ordered = ordered
        """Whether what may fail or calls back keeps its order here, so that the first failure is the program's first."""
        self.observed = 0
        """The key of the last such statement."""
        self.slots: list[_Slot] = [_Slot(None)]
        self.loops: list[int] = []
        """The numbers of the slots with a loop that others can join, ascending."""
        self.wrote: dict[str, int] = {}
        self.read: dict[str, int] = {}
        self.defined: dict[Var, int] = {}

    def earliest(self, s: Summary) -> int:
        """The least key at which a statement may stand, by what it depends on."""
        key = max((self.defined.get(v, 0) for v in s.uses), default=0)
        if self.ordered and s.observable:
            key = max(key, self.observed)
        for name in s.reads:
            key = max(key, self.wrote.get(name, 0))
        for name in s.writes:
            key = max(key, self.wrote.get(name, 0), self.read.get(name, 0))
        return key

    def record(self, s: Summary, key: int) -> None:
        """Notes what a statement at `key` touches."""
        if s.observable:
            self.observed = max(self.observed, key)
        for name in s.reads:
            self.read[name] = max(self.read.get(name, 0), key)
        for name in s.writes:
            self.wrote[name] = max(self.wrote.get(name, 0), key)
        for v in s.defines:
            self.defined[v] = max(self.defined.get(v, 0), key | 1)

    def frozen(self) -> tuple[Stmt, ...]:
        found: list[Stmt] = []
        for slot in self.slots:
            if isinstance(slot.main, _Loop):
                found.append(slot.main.frozen())
            elif slot.main is not None:
                found.append(slot.main)
            found.extend(slot.after)
        return tuple(found)


class _Fusion:
    def __init__(self, names: Names, notes: dict[str, str], target: str) -> None:
        self.names, self.notes, self.target = names, notes, target
        self.decisions: list[Decision] = []
        self.ranges: dict[Var, Interval] = {}

    # --- driver blocks ---------------------------------------------------------------------------

    def driver(self, block: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        """A driver-level block with its nests joined; those of loops and branches of the program are joined inside them."""
        allocs: list[Stmt] = []
        into = _Block(ordered=True)
        for stmt in block:
            match stmt:
                case Alloc():
                    allocs.append(stmt)
                    continue
                case For() if is_driver(stmt):
                    ranges_in((For(stmt.var, stmt.extent, ()),), self.ranges)
                    stmt = For(stmt.var, stmt.extent, self.driver(stmt.body), stmt.kind, stmt.carries)
                case While():
                    stmt = While(self.driver(stmt.prelude), stmt.condition, self.driver(stmt.body))
                case If():
                    stmt = If(stmt.condition, self.driver(stmt.then), self.driver(stmt.orelse))
                case For():
                    stmt = collapsed(stmt, self.names)
                    ranges_in((stmt,), self.ranges)
                    self.insert(into, stmt, ())
                    continue
            self.place(into, stmt)
        return (*allocs, *into.frozen())

    def place(self, block: _Block, stmt: Stmt) -> None:
        """Adds a statement that is not joined: a let as early as it may stand, anything else at the end.

        A buffer comes first of all, since loops that use it may move before where it was made.
        """
        if isinstance(stmt, Alloc):
            block.slots[0].after.insert(0, stmt)
            return
        if isinstance(stmt, Let):
            ranges_in((stmt,), self.ranges)
        s = summarise(stmt, self.ranges)
        if isinstance(stmt, Let):
            key = block.earliest(s)
            block.slots[key // 2].after.append(stmt)
            block.record(s, key | 1)
            return
        block.slots.append(_Slot(stmt))
        block.record(s, 2 * (len(block.slots) - 1) + 1)

    # --- joining ---------------------------------------------------------------------------------

    def insert(self, block: _Block, stmt: Stmt, around: tuple[Var, ...]) -> None:
        """Adds a statement to a block inside the loops `around`, joined to an earlier loop if it may be."""
        if not isinstance(stmt, For):
            self.place(block, stmt)
            return
        s = summarise(stmt, self.ranges)
        if is_independent(stmt) and extent_of(stmt) is not None:
            # The nearest dependence first: what is read there is still at hand.
            found = block.loops[bisect_left(block.loops, (block.earliest(s) + 1) // 2) :]
            for k in found if len(found) <= CANDIDATES else (found[0], *found[: -CANDIDATES:-1]):
                if self.try_join(block, k, stmt, s, around):
                    return
        self.append(block, stmt, s, around)

    def append(self, block: _Block, stmt: For, s: Summary, around: tuple[Var, ...]) -> None:
        """Adds a loop as a new one."""
        k = len(block.slots)
        if is_independent(stmt) and extent_of(stmt) is not None:
            block.slots.append(_Slot(self.thawed(stmt, s, around)))
            block.loops.append(k)
        else:
            block.slots.append(_Slot(stmt))
        block.record(s, 2 * k)
        if not isinstance(block.slots[k].main, _Loop):
            block.record(s, 2 * k + 1)

    def thawed(self, stmt: For, s: Summary, around: tuple[Var, ...]) -> _Loop:
        """A loop that others can join."""
        inner = _Block()
        loop = _Loop(stmt, inner, Summary())
        loop.summary.absorb(s)
        loop.summary.loops = any(isinstance(x, For) for x in stmt.body)
        for x in stmt.body:
            self.insert(inner, x, (*around, stmt.var))
        return loop

    def try_join(self, block: _Block, k: int, stmt: For, s: Summary, around: tuple[Var, ...]) -> bool:
        loop = block.slots[k].main
        assert isinstance(loop, _Loop)
        reason = self.obstacle(loop, s, around)
        if reason:
            return self.decided(stmt, loop, False, reason)
        n, m = extent_of(loop.head), extent_of(stmt)
        assert n is not None and m is not None
        shared = [name for name in s.accesses if name in loop.summary.accesses]
        dependent = [b for b in shared if b in loop.summary.writes or b in s.writes]
        if n != m:
            if not around and self.target == "cpu" and min(n, m) < TASKS and self.loses(loop, stmt, s, dependent):
                return self.decided(stmt, loop, False, f"{max(n, m)} tasks would have to run as {min(n, m)}")
            step = self.ratio(loop.head, loop.summary, stmt, s, dependent)
            if not dependent or step is None:
                return self.decided(stmt, loop, False, f"extents {m} and {n} differ")
            if m > n:
                stmt = split(stmt, step, self.names)
                ranges_in((stmt,), self.ranges)
                s = summarise(stmt, self.ranges)
            else:
                if loop.head.carries:
                    return self.decided(stmt, loop, False, "a reduction would have to be split")
                again = split(loop.frozen(), step, self.names)
                ranges_in((again,), self.ranges)
                self.inherit(again.var, loop.head.var)
                loop = self.thawed(again, summarise(again, self.ranges), around)
        for name in dependent:
            mine = [self.renamed(a, stmt.var, loop.head.var) for a in s.accesses[name]]
            both = [*loop.summary.accesses[name], *mine]
            if slab(both, loop.head.var, extent_of(loop.head) or 0, around, self.ranges) is None:
                return self.decided(stmt, loop, False, f"iterations meet in {name}")
        block.slots[k].main = loop
        self.join(block, k, loop, stmt, s, around)
        return self.decided(stmt, loop, True, ", ".join(dependent or shared))

    def obstacle(self, loop: _Loop, s: Summary, around: tuple[Var, ...]) -> str:
        """Why joining would not pay, or "" if it may."""
        shared = [name for name in s.accesses if name in loop.summary.accesses]
        if not shared:
            return "nothing in common"
        through = any(b in loop.summary.writes and b in s.accesses for b in shared)
        calls = loop.summary.calls or s.calls
        if calls and self.target == "cuda":
            return "a contraction is a kernel of its own on a GPU"
        if calls and not through:
            return "a tile kernel gains nothing from shared operands"
        if loop.summary.size + s.size > LARGEST:
            return "the nest would be too large"
        return ""

    def ratio(self, a: For, sa: Summary, b: For, sb: Summary, dependent: list[str]) -> int | None:
        """How many iterations of the longer loop make one of the shorter, by the slabs of a buffer that depends on both."""
        n, m = extent_of(a) or 0, extent_of(b) or 0
        for name in dependent:
            wide, narrow = _width(sa.accesses[name], a.var), _width(sb.accesses[name], b.var)
            if not wide or not narrow:
                return None
            big, small, longer, shorter = (wide, narrow, m, n) if m > n else (narrow, wide, n, m)
            if big % small or -(-longer // (big // small)) != shorter:
                return None
            return big // small
        return None

    @staticmethod
    def loses(loop: _Loop, stmt: For, s: Summary, dependent: list[str]) -> bool:
        """Whether what a nest shares with a loop of few iterations is not worth running as few tasks as that.

        Contractions are worth their own tasks. So is a nest that mostly moves other memory, such as the derivative of pooling, which
        writes more than it reads: the nest that reads that has a better use for it.
        """
        if not loop.summary.calls:
            return False
        trips = elements(stmt)  # of a stack of arrays, a step of a loop touches one
        sizes = {b.name: min(b.size, trips) * b.dtype.itemsize for b in _buffers(stmt)}
        return s.calls or SHARE * sum(sizes.get(name, 0) for name in dependent) < sum(sizes.values())

    @staticmethod
    def renamed(a: Access, old: Var, new: Var) -> Access:
        """An access with the loop variable `old` called `new`."""
        if old not in a.form.terms:
            return a
        terms = {new if v == old else v: c for v, c in a.form.terms.items()}
        return replace(a, form=replace(a.form, terms=terms))

    def join(self, block: _Block, k: int, loop: _Loop, stmt: For, s: Summary, around: tuple[Var, ...]) -> None:
        """Puts the body of `stmt` into `loop`."""
        moved = substitute_in((For(stmt.var, stmt.extent, stmt.body, stmt.kind, stmt.carries),), {stmt.var: loop.head.var})[0]
        assert isinstance(moved, For)
        for name, found in s.accesses.items():
            loop.summary.accesses.setdefault(name, []).extend(self.renamed(a, stmt.var, loop.head.var) for a in found)
        loop.summary.reads |= s.reads
        loop.summary.writes |= s.writes
        loop.summary.calls |= s.calls
        loop.summary.size += s.size
        for x in moved.body:
            self.insert(loop.block, x, (*around, loop.head.var))
        kind = "parallel" if "parallel" in (loop.head.kind, stmt.kind) else loop.head.kind
        loop.head = For(loop.head.var, loop.head.extent, (), kind, (*loop.head.carries, *moved.carries))
        self.inherit(loop.head.var, stmt.var)
        block.record(s, 2 * k)

    def inherit(self, new: Var, old: Var) -> None:
        """Notes that the loop `new` does the work of `old`, too."""
        source = self.notes.get(old.name)
        if source and source not in self.notes.get(new.name, ""):
            self.notes[new.name] = f"{self.notes[new.name]}, {source}" if new.name in self.notes else source

    def decided(self, stmt: For, loop: _Loop, fused: bool, reason: str) -> bool:
        self.decisions.append(Decision(stmt.var.name, loop.head.var.name, fused, reason))
        return fused


def _buffers(stmt: For) -> set[Buffer]:
    """What a nest loads and stores, each as a vector."""
    return {flat(x.buffer) for x in loads((stmt,))} | {flat(x.buffer) for x in stores((stmt,))}


def _width(accesses: list[Access], v: Var) -> int:
    """The coefficient of `v` in all the accesses, or 0 where they differ."""
    found = {a.form.terms.get(v, 0) for a in accesses}
    return found.pop() if len(found) == 1 else 0
