"""The schedule: what each loop is on the machine.

Lowering and fusion say which loops are independent; the schedule says which run on several threads, which is the SIMD loop, and which
are small enough to be written out.  It estimates the cost of a nest from its text alone, so that a program has one schedule on every
machine and for any number of threads; a sum is split by its shape, never by the number of threads.

CPU: of the loops around each statement one becomes `vector`: the one along which memory is contiguous.  The outermost loop of a nest
that is worth it becomes `parallel`; a vector loop that is outermost is first cut into chunks, and a reduction into partial results.
CUDA: loops are only collapsed.  They keep the kinds that say what is independent, which is what the emitter deals out to a grid, the
threads of a block, and trees of partial results.

May be imported by: the pipeline.
"""

from __future__ import annotations

from dataclasses import replace

from fdl.tracer.records import dataclass

from .access import extent_of, is_independent, position
from .build import Names, new_names, ranges_in, reads, substitute_in, writes
from .collapse import collapsed, split
from .columns import by_rows
from .crossing import blocked
from .ir import (
    INDEX,
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
    Routine,
    Stmt,
    Store,
    Value,
    Var,
    While,
    is_step,
    subvalues,
    values_of,
    walk,
)
from .narrow import widened
from .values import Interval, bounds
from .weights import weight

PARALLEL_COST = 25_000
"""Scalar operations from which a nest is run on several threads: about ten times what waking them costs."""
CHUNK_COST = 15_000
"""The cost of a chunk of a vector loop."""
CHUNKS = 64
"""The most chunks."""
PART = 1 << 16
"""The most elements that one partial sum of a full reduction takes."""
LANES = 16
UNROLL = 4
"""The longest loop that is written out."""
UNROLL_STATEMENTS = 40
"""The most statements that writing it out may give."""


def schedule(routine: Routine, target: str = "cpu") -> Routine:
    """The routine with its loops given their kinds for a target, "cpu" or "cuda"."""
    names = new_names(routine)
    s = _Scheduler(names, routine.notes, target)
    return replace(routine, body=s.block(routine.body))


def is_driver(stmt: Stmt) -> bool:
    """Whether a statement's inner blocks hold nests, each scheduled by itself: scans, whiles and conditionals of the program."""
    return isinstance(stmt, (While, If)) or is_step(stmt)


@dataclass(slots=True)
class _Costs:
    """The estimated cost of a loop: with its best inner loops vectors, and with itself as the vector."""

    inner: float
    vector: float | None


class _Scheduler:
    def __init__(self, names: Names, notes: dict[str, str], target: str) -> None:
        self.names, self.notes, self.target = names, notes, target
        self.ranges: dict[Var, Interval] = {}
        self.free_loops: set[Var] = set()
        """Loops made serial whose iterations are independent all the same."""

    def block(self, block: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        """A block of driver-level statements."""
        result: list[Stmt] = []
        for stmt in block:
            match stmt:
                case For() if is_driver(stmt):
                    result.append(For(stmt.var, stmt.extent, self.block(stmt.body), "serial", stmt.carries))
                case While():
                    result.append(While(self.block(stmt.prelude), stmt.condition, self.block(stmt.body)))
                case If():
                    result.append(If(stmt.condition, self.block(stmt.then), self.block(stmt.orelse)))
                case For():
                    loop = collapsed(stmt, self.names)
                    assert isinstance(loop, For)
                    wide = (loop,) if self.target == "cuda" else widened(loop, self.names, self.note)
                    ranges_in(wide, self.ranges)
                    for part in wide:
                        result.extend(self.cpu(part) if self.target != "cuda" and isinstance(part, For) else (part,))
                case _:
                    result.append(stmt)
        return tuple(result)

    # --- CPU -------------------------------------------------------------------------------------

    def cpu(self, loop: For) -> tuple[Stmt, ...]:
        """A nest for the CPU, with what it needs around it."""
        loop = self.blocked(loop)
        costs: dict[Var, _Costs] = {}
        total = self.cost(loop, 1.0, costs)
        if total < PARALLEL_COST or not is_independent(loop):
            return (self.kinds(loop, costs),)
        mine = costs[loop.var]
        vector = mine.vector is not None and mine.vector < mine.inner
        n = extent_of(loop)
        if n is None or n < 2:
            return (self.kinds(loop, costs),)
        if loop.carries:
            return self.partial(loop, costs, total, n)
        if vector:
            split_rows = self.column_sums(loop, costs, total, n)
            return split_rows if split_rows is not None else (self.chunked(loop, costs, total, n),)
        done = self.kinds(loop, costs, top="parallel")
        return (self.flattened(done) if n < CHUNKS else done,)

    def blocked(self, loop: For) -> For:
        """The nest in blocks where its loads cross (see `crossing`), with the sources of the loops it comes from."""
        cut = blocked(loop, self.names)
        if cut is not loop:
            self.note(cut.var, loop.var)
            ranges_in((cut,), self.ranges)
        return cut

    def chunked(self, loop: For, costs: dict[Var, _Costs], total: float, n: int) -> For:
        """A vector loop cut into chunks that run in parallel."""
        step = chunk(n, total)
        if step >= n:
            return self.kinds(loop, costs)
        cut = split(loop, step, self.names)
        inner = cut.body[0]
        assert isinstance(inner, For)
        costs[inner.var] = costs[loop.var]
        self.note(cut.var, loop.var)
        columns = self.kinds(inner, costs)
        rows = by_rows(columns, step, self.names) if columns.kind == "vector" else None
        return For(cut.var, cut.extent, rows or (columns,), "parallel")

    def partial(self, loop: For, costs: dict[Var, _Costs], total: float, n: int) -> tuple[Stmt, ...]:
        """A reduction over everything: chunks reduce to partial results in parallel, which are then combined in order."""
        per = max(1, int(elements(loop) // n)) if n else 1
        count = max(2, min(CHUNKS, int(total // CHUNK_COST)), -(-n * per // PART))
        step = -(-n // min(count, n))
        if costs[loop.var].vector is not None:
            step = -(-step // 64) * 64
        if step >= n:
            return (self.kinds(loop, costs),)
        cut = split(loop, step, self.names)
        inner = cut.body[0]
        assert isinstance(inner, For)
        costs[inner.var] = costs[loop.var]
        count = extent_of(cut) or 1
        self.note(cut.var, loop.var)
        before: list[Stmt] = []
        body: list[Stmt] = [self.kinds(inner, costs)]
        p = Var(self.names("p"), INDEX)
        combine: list[Carry] = []
        for outer, part in zip(cut.carries, inner.carries, strict=True):
            buffer = Buffer(self.names("part"), part.var.dtype, (count,), "arena")
            self.note(Var(buffer.name, INDEX), loop.var)
            before.append(Alloc(buffer))
            body.append(Store(buffer, (cut.var,), part.result))
            x = Load(buffer, (p,))
            combine.append(
                Carry(outer.var, outer.init, Op(outer.combine or "", (outer.var, x), x.dtype), outer.result, outer.combine)
            )
        together = For(p, Const(count, INDEX), (), "serial", tuple(combine))
        return (*before, For(cut.var, cut.extent, tuple(body), "parallel"), together)

    def column_sums(self, loop: For, costs: dict[Var, _Costs], total: float, n: int) -> tuple[Stmt, ...] | None:
        """A vector loop over columns that each reduce many rows: blocks of rows give partial rows in parallel, added in order after."""
        inner = [s for s in loop.body if isinstance(s, For)]
        if len(inner) != 1 or n > 4096:
            return None
        rows = inner[0]
        lets = {s.var for s in loop.body if isinstance(s, Let)}
        if any(lets & _variables(v) for s in walk((rows,)) for v in values_of(s)):
            return None
        r = extent_of(rows)
        if r is None or r < 256 or not rows.carries or not is_independent(rows):
            return None
        if any(isinstance(s, (Store, For)) for s in rows.body):
            return None
        # The blocks of rows go before the loop: what is written ahead of the reduction has to be written before them.
        if writes(loop.body[: loop.body.index(rows)]) & reads((rows,)):
            return None
        count = max(2, min(32, r // 128, int(total // PARALLEL_COST)))
        step = -(-r // count)
        cut = split(rows, step, self.names)
        part = cut.body[0]
        assert isinstance(part, For)
        count = extent_of(cut) or 1
        block, column = cut.var, Var(self.names(loop.var.name), INDEX)
        self.note(block, loop.var)
        before: list[Stmt] = []
        stores: list[Stmt] = []
        combine: list[Carry] = []
        q = Var(self.names("p"), INDEX)
        for outer, one in zip(cut.carries, part.carries, strict=True):
            buffer = Buffer(self.names("part"), one.var.dtype, (count, n), "arena")
            self.note(Var(buffer.name, INDEX), loop.var)
            before.append(Alloc(buffer))
            stores.append(Store(buffer, (block, column), one.result))
            x = Load(buffer, (q, loop.var))
            combine.append(
                Carry(outer.var, outer.init, Op(outer.combine or "", (outer.var, x), x.dtype), outer.result, outer.combine)
            )
        from_rows = For(part.var, part.extent, part.body, "serial", part.carries)
        inside = renamed(For(loop.var, loop.extent, (from_rows, *stores), "vector"), loop.var, column)
        together = For(q, Const(count, INDEX), (), "serial", tuple(combine))
        final = For(loop.var, loop.extent, (together, *(s for s in loop.body if s is not rows)), "vector")
        return (*before, For(block, Const(count, INDEX), by_rows(inside, n, self.names) or (inside,), "parallel"), final)

    def flattened(self, loop: For) -> For:
        """A parallel loop of few iterations around another independent loop and nothing else: one parallel loop over both."""
        if len(loop.body) != 1 or not isinstance(loop.body[0], For):
            return loop
        inner = loop.body[0]
        n, m = extent_of(loop), extent_of(inner)
        if n is None or m is None or inner.carries or inner.kind != "serial" or inner.var not in self.free_loops:
            return loop
        t = Var(self.names("t"), INDEX)
        self.note(t, loop.var)
        outer_index = Op("div", (t, Const(m, INDEX)), INDEX)
        inner_index = Op("rem", (t, Const(m, INDEX)), INDEX)
        body = (Let(loop.var, outer_index), Let(inner.var, inner_index), *inner.body)
        return For(t, Const(n * m, INDEX), body, "parallel")

    # --- costs -----------------------------------------------------------------------------------

    def cost(self, loop: For, times: float, costs: dict[Var, _Costs]) -> float:
        """The cost of a loop that runs `times` times, by its best form; notes the costs of every loop in it."""
        n = max(0, min(bounds(loop.extent, self.ranges)[1], 1 << 40))
        runs = times * n
        inner = sum(self.stmt_cost(s, runs, costs) for s in loop.body)
        inner += sum(operations(c.next) for c in loop.carries) * runs
        vector = self.vector_cost(loop, runs, n) if self.may_be_vector(loop) else None
        if vector is not None:
            vector += 12 * len(loop.carries) * times
        costs[loop.var] = _Costs(inner, vector)
        return inner if vector is None else min(inner, vector)

    def stmt_cost(self, stmt: Stmt, times: float, costs: dict[Var, _Costs]) -> float:
        match stmt:
            case For():
                return self.cost(stmt, times, costs)
            case If():
                inner = sum(self.stmt_cost(s, times, costs) for s in (*stmt.then, *stmt.orelse))
                return inner + times * operations(stmt.condition)
            case Call():
                return times * self.call_cost(stmt)
            case While() | Callback():
                return times * 100
            case _:
                return times * sum(operations(v) for v in values_of(stmt)) + times * isinstance(stmt, Store)

    def call_cost(self, call: Call) -> float:
        """Multiply-adds (or elements moved), at the speed of a good kernel."""
        sizes = [[max(bounds(n, self.ranges)[1], 1) for n in r.shape] for r in (*call.outputs, *call.inputs)]

        def product(ns: list[int]) -> float:
            total = 1.0
            for k in ns:
                total *= k
            return total

        match call.kernel:
            case "matmul":
                return product(sizes[0]) * sizes[1][-1] / LANES
            case "conv":
                return product(sizes[0]) * product(sizes[2][:-1]) / LANES
            case "conv_input_grad":
                return product(sizes[1]) * product(sizes[2][:-1]) / LANES
            case "conv_filter_grad":
                return product(sizes[2]) * product(sizes[0][:-1]) / LANES
            case "sort":
                return product(sizes[-1]) * 10
            case "lapack":
                return float(dict(call.attrs)["flops"])  # type: ignore[arg-type]
            case _:
                return product(sizes[0])

    def may_be_vector(self, loop: For) -> bool:
        """Whether all statements inside can run on several iterations at once."""
        if not is_independent(loop) or any(c.combine is None for c in loop.carries):
            return False
        inside = {loop.var}
        for stmt in walk(loop.body):
            match stmt:
                case Let() | Store() | Check():
                    pass
                case For() if not any(v in inside for v in _variables(stmt.extent)):
                    pass
                case _:
                    return False
        return True

    def vector_cost(self, loop: For, runs: float, n: int) -> float:
        """The cost with the loop as the vector one: contiguous memory costs a lane's share, anything else a whole access."""
        share = 1 / max(1, min(LANES, n))
        if n < 3:
            return runs * 1e9
        return (
            self._vector_block(loop.body, loop.var, runs, share) + sum(operations(c.next) for c in loop.carries) * runs * share
        )

    def _vector_block(self, block: tuple[Stmt, ...], v: Var, times: float, share: float) -> float:
        total = 0.0
        for stmt in block:
            if isinstance(stmt, For):
                n = max(0, bounds(stmt.extent, self.ranges)[1])
                total += self._vector_block(stmt.body, v, times * n, share)
                total += sum(operations(c.next) for c in stmt.carries) * times * n * share
            else:
                for value in values_of(stmt):
                    total += times * self._vector_value(value, v, share)
                if isinstance(stmt, Store):
                    total += times * _stride_cost(stmt.buffer, stmt.index, v, share, store=True)
        return total

    def _vector_value(self, value: Value, v: Var, share: float) -> float:
        match value:
            case Load():
                return _stride_cost(value.buffer, value.index, v, share, store=False)
            case Op() if value.dtype != INDEX:
                return weight(value.name).work * share + sum(self._vector_value(a, v, share) for a in value.args)
            case Op():
                return sum(self._vector_value(a, v, share) for a in value.args)
            case _:
                return 0.0

    # --- kinds -----------------------------------------------------------------------------------

    def kinds(self, loop: For, costs: dict[Var, _Costs], top: str = "serial", inside_vector: bool = False) -> For:
        """The loop with kinds for it and everything inside; `top` is its own unless it is the vector loop."""
        c = costs.get(loop.var)
        vector = not inside_vector and c is not None and c.vector is not None and c.vector < c.inner
        body = tuple(self.kinds_in(s, costs, inside_vector or vector) for s in loop.body)
        if vector:
            return For(loop.var, loop.extent, body, "vector", loop.carries)
        if is_independent(loop):
            self.free_loops.add(loop.var)
        kind = top
        n = extent_of(loop)
        if kind == "serial" and n is not None and n <= UNROLL and sum(1 for _ in walk(body)) * n <= UNROLL_STATEMENTS:
            if not any(isinstance(s, (Call, While, Callback)) for s in walk(body)) and inside_vector:
                kind = "unroll"
        return For(loop.var, loop.extent, body, kind, loop.carries)  # type: ignore[arg-type]

    def kinds_in(self, stmt: Stmt, costs: dict[Var, _Costs], inside_vector: bool) -> Stmt:
        match stmt:
            case For():
                return self.kinds(stmt, costs, inside_vector=inside_vector)
            case If():
                then = tuple(self.kinds_in(s, costs, inside_vector) for s in stmt.then)
                return If(stmt.condition, then, tuple(self.kinds_in(s, costs, inside_vector) for s in stmt.orelse))
            case _:
                return stmt

    def note(self, new: Var, old: Var) -> None:
        """Gives a new loop the source of the one it comes from."""
        if old.name in self.notes:
            self.notes[new.name] = self.notes[old.name]


def chunk(n: int, total: float) -> int:
    """The chunk of a vector loop of n iterations and that cost: a multiple of 64, chunks about equal."""
    count = max(1, min(CHUNKS, int(total // CHUNK_COST)))
    return min(n, -(-n // count // 64) * 64) if count > 1 else n


def elements(loop: For) -> int:
    """The number of innermost iterations of a nest whose extents are known."""
    n = extent_of(loop) or 1
    return n * max((elements(s) for s in loop.body if isinstance(s, For)), default=1)


def operations(value: Value) -> float:
    """The cost of evaluating a value once."""
    match value:
        case Load():
            return 1.0
        case Op() if value.dtype != INDEX:
            return weight(value.name).work + sum(map(operations, value.args))
        case Op():
            return 0.2
        case _:
            return 0.0


def _stride_cost(buffer: Buffer, index: tuple[Value, ...], v: Var, share: float, *, store: bool) -> float:
    """The cost of an access for one iteration of the vector loop over `v`."""
    form = position(buffer, index)
    step = form.terms.get(v, 0)
    if any(not isinstance(atom, Var) and v in _variables(atom) for atom in form.terms):
        return 1.5
    if step == 1:
        return share
    if step == 0 and not store:
        return share / 2
    return 1.5


def _variables(value: Value) -> set[Var]:
    return {x for x in subvalues(value) if isinstance(x, Var)}


def renamed(loop: For, old: Var, new: Var) -> For:
    """A loop with its variable renamed."""
    found = substitute_in((loop,), {old: new})[0]
    assert isinstance(found, For)
    return found
