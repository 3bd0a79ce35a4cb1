"""Reductions over rows, row after row: memory is read as it lies, and the results of all columns grow side by side.

    vector i < n:                              vector i < n: a[i] = 0
      serial r < m carry s (add): x[r, i]  →   serial q < m / 8:
      y[i] = s                                   vector i < n: a[i] = a[i] + x[8q, i] + .. + x[8q + 7, i]
                                               vector i < n: y[i] = a[i]

Down one column after the other, each access is a page away from the one before.  Every element is added in the same order as before.

May be imported by: the schedule.
"""

from __future__ import annotations

from .access import position
from .build import Block, Names, free, renewed, substitute_in
from .ir import INDEX, Alloc, Buffer, Carry, Const, For, Kind, Let, Load, Op, Stmt, Store, Value, Var, subvalues, values_of
from .values import add, floordiv, mul, sub

ROWS = 8
"""Rows that are added at a time: as many streams are read side by side."""
STRIDE = 512
"""Elements between rows from which on columns are too far apart."""


def by_rows(loop: For, size: int, names: Names) -> Block | None:
    """A vector loop over columns as loops over rows around vector loops; None where it is no reduction over distant rows.

    Args:
        size: the most iterations of `loop`. Buffers of that size are allocated where the block is put.
    """
    if not _reduces_rows(loop):
        return None
    work = _Columns(loop, size, names)
    pending: list[Stmt] = []
    for k, stmt in enumerate(loop.body):
        if not isinstance(stmt, For):
            pending.append(stmt)
            continue
        work.reduction(tuple(pending), stmt, free(loop.body[k:]))
        pending = []
    if pending:
        work.block.append(work.over(tuple(pending)))
    return (*work.allocs, *work.block)


def _reduces_rows(loop: For) -> bool:
    """Whether the loop holds reductions, nothing else that loops, and what these read is contiguous across columns and far
    apart down them."""
    rows = [s for s in loop.body if isinstance(s, For)]
    if not rows or loop.carries or not all(isinstance(s, (Let, Store, For)) for s in loop.body):
        return False
    far = False
    for r in rows:
        if not r.carries or any(c.combine is None for c in r.carries) or not all(isinstance(s, Let) for s in r.body):
            return False
        values = [v for s in (r, *r.body) for v in values_of(s)]
        for load in (x for v in values for x in subvalues(v) if isinstance(x, Load)):
            form = position(load.buffer, load.index)
            if any(not isinstance(atom, Var) for atom in form.terms) or form.terms.get(loop.var, 0) not in (0, 1):
                return False
            far = far or (form.terms.get(loop.var, 0) == 1 and form.terms.get(r.var, 0) >= STRIDE)
    return far


class _Columns:
    """The loops that are written for `loop`; `kept` says where the value of a variable is, for each column."""

    def __init__(self, loop: For, size: int, names: Names) -> None:
        self.loop, self.size, self.names = loop, size, names
        self.kept: dict[Var, Buffer] = {}
        self.allocs: list[Stmt] = []
        self.block: list[Stmt] = []

    def buffer(self, v: Var) -> Buffer:
        buffer = Buffer(self.names("column"), v.dtype, (self.size,), "local")
        self.allocs.append(Alloc(buffer))
        return buffer

    def over(self, block: Block) -> For:
        """A vector loop over the columns, with what `block` needs of those before it."""
        i = self.loop.var
        needed = sorted(free(block) & self.kept.keys(), key=lambda v: v.name)
        lets = tuple(Let(v, Load(self.kept[v], (i,))) for v in needed)
        new = Var(self.names(i.name), INDEX)
        return For(new, self.loop.extent, substitute_in(renewed((*lets, *block), self.names), {i: new}), "vector")

    def reduction(self, before: Block, rows: For, later: set[Var]) -> None:
        """The statements before a reduction and the reduction; `later` is what is read from there on."""
        i = self.loop.var
        totals = [self.buffer(c.var) for c in rows.carries]
        start: list[Stmt] = [Store(b, (i,), c.init) for b, c in zip(totals, rows.carries, strict=True)]
        made = {s.var: self.buffer(s.var) for s in before if isinstance(s, Let) and s.var in later}
        start += [Store(b, (i,), v) for v, b in made.items()]
        self.block.append(self.over((*before, *start)))
        self.kept |= made
        many = floordiv(rows.extent, ROWS)
        q = Var(self.names(rows.var.name), INDEX)
        self.block.append(For(q, many, (self._step(rows, totals, mul(q, ROWS), Const(ROWS, INDEX)),)))
        rest = sub(rows.extent, mul(many, ROWS))
        if rest != Const(0, INDEX):
            self.block.append(self._step(rows, totals, mul(many, ROWS), rest))
        self.kept |= {c.result: b for c, b in zip(rows.carries, totals, strict=True)}

    def _step(self, rows: For, totals: list[Buffer], first: Value, count: Value) -> For:
        """`count` rows from `first` on, added to the totals of all columns."""
        i, u = self.loop.var, Var(self.names(rows.var.name), INDEX)
        at: dict[Var, Value] = {rows.var: add(first, u)}
        carries = []
        for c, b in zip(rows.carries, totals, strict=True):
            assert isinstance(c.next, Op) and c.combine is not None
            following = substitute_in((Let(c.result, c.next.args[1]),), at)[0]
            assert isinstance(following, Let)
            carries.append(Carry(c.var, Load(b, (i,)), Op(c.combine, (c.var, following.value), c.var.dtype), c.result, c.combine))
        kind: Kind = "unroll" if isinstance(count, Const) else "serial"
        inner = For(u, count, substitute_in(rows.body, at), kind, tuple(carries))
        stores = tuple(Store(b, (i,), c.result) for c, b in zip(carries, totals, strict=True))
        return self.over((inner, *stores))

