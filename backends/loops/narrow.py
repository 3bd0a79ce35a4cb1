"""Loops over few columns, as loops over several rows of them.

    For k in 784: For l in 6: y[k, l] = x[k, l] + b[l]
      →  b8[t] = b[t % 6] for t in 96;  For k in 49: For t in 96: y[96 k + t] = x[96 k + t] + b8[t]

    For l in 6: For r in 6272 carry s (add): x[r, l]
      →  For t in 96: For r in 392 carry s: x[96 r + t] → p[t];  For l in 6: For q in 16 carry s: p[6 q + l]

A vector loop over 6 columns leaves most lanes empty, and a sum down each waits for itself.  What depends on the column alone (a bias, a
mean) is repeated once in a row as long as a block; all else lies in memory as the block goes through it.  Sums are regrouped
in a way that the shape fixes.

May be imported by: the schedule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from math import lcm
from typing import TypeAlias

from fdl.tracer.records import dataclass

from .access import extent_of, position
from .build import Block, Names, bound, flat, free, renewed, substitute, substitute_in, writes
from .ir import (
    INDEX,
    Alloc,
    Buffer,
    Carry,
    Const,
    For,
    Let,
    Load,
    Op,
    Space,
    Stmt,
    Store,
    Value,
    Var,
    subvalues,
    values_of,
    walk,
)
from .reductions import identity_of
from .values import Linear, add, from_linear, mentions, mul

NARROW = 16
"""Extents below this are few columns."""
LONG = 32
"""Elements that the length of a block is a multiple of."""
BLOCKS = 4
"""The least number of blocks."""
FILLED = 16
"""A row that is filled within a nest should serve so many blocks."""

_Key: TypeAlias = tuple[str, frozenset[tuple[Value, int]], int, int, int]
"""What a row repeats: a buffer, the position's terms but that of the column, its coefficient, the constant, the number of columns."""


def widened(loop: For, names: Names, note: Callable[[Var, Var], None]) -> Block:
    """A nest with its loops over few columns widened, after the rows that are filled for it.

    Args:
        note: told of each new loop's variable, and of the one that it comes from.
    """
    nest = _Nest(names, note, writes((loop,)), {v for s in walk((loop,)) for v in bound(s)})
    body = nest.block((loop,), top=True)
    return (*nest.fills, *body)


def _length(n: int) -> int:
    """Elements of a block of rows of n columns."""
    return lcm(n, LONG)


@dataclass(slots=True)
class _Nest:
    """What is known of the nest: the buffers that it writes and the variables that it binds."""

    names: Names
    note: Callable[[Var, Var], None]
    written: set[str]
    inside: set[Var]
    fills: list[Stmt] = field(default_factory=list)
    filled: dict[_Key, Buffer] = field(default_factory=dict)

    def block(self, block: Block, top: bool = False) -> Block:
        """A block with its loops widened."""
        found: list[Stmt] = []
        for stmt in (part for s in block for part in self.apart(s, top)):
            new = (self.pair(stmt) or self.reduction(stmt, top)) if isinstance(stmt, For) else None
            if new is not None:
                found.extend(new)
            elif isinstance(stmt, For):
                found.append(For(stmt.var, stmt.extent, self.block(stmt.body), stmt.kind, stmt.carries))
            else:
                found.append(stmt)
        return tuple(found)

    def new(self, v: Var) -> Var:
        """A loop variable that takes the place of `v`."""
        made = Var(self.names(v.name), INDEX)
        self.inside.add(made)
        self.note(made, v)
        return made

    def apart(self, columns: Stmt, top: bool) -> Block:
        """A loop over few columns with several reductions, as one after the other: each stores what those after it read."""
        if not isinstance(columns, For) or not _is_plain(columns) or not 2 <= (extent_of(columns) or 0) < NARROW:
            return (columns,)
        n = extent_of(columns) or 0
        at = [k for k, s in enumerate(columns.body) if isinstance(s, For)]
        plain = all(_reduces(s, n) if isinstance(s, For) else isinstance(s, (Let, Store)) for s in columns.body)
        if len(at) < 2 or not plain:
            return (columns,)
        first, second = columns.body[: at[1]], columns.body[at[1] :]
        needed = sorted(free(second) & {v for s in first for v in _values_after(s)}, key=lambda v: v.name)
        space: Space = "arena" if top else "local"
        kept = [Buffer(self.names(v.name), v.dtype, (n,), space) for v in needed]
        self.written |= {b.name for b in kept}
        i = self.new(columns.var)
        stores = [Store(b, (columns.var,), v) for b, v in zip(kept, needed, strict=True)]
        lets = [Let(v, Load(b, (i,))) for b, v in zip(kept, needed, strict=True)]
        later = For(i, columns.extent, renewed((*lets, *substitute_in(second, {columns.var: i})), self.names), columns.kind)
        self.inside |= {v for s in walk((later,)) for v in bound(s)}
        head = For(columns.var, columns.extent, (*first, *stores), columns.kind)
        return (*(Alloc(b) for b in kept), head, *self.apart(later, top))

    def pair(self, outer: For) -> Block | None:
        """Independent loops over rows and few columns of them."""
        inner = outer.body[0] if len(outer.body) == 1 else None
        if not isinstance(inner, For) or not _is_plain(outer) or not _is_plain(inner):
            return None
        rows, n = extent_of(outer), extent_of(inner)
        if rows is None or n is None or not all(isinstance(s, (Let, Store)) for s in inner.body):
            return None
        length = _length(n)
        if not 2 <= n < NARROW or rows * n < BLOCKS * length:
            return None
        fit = _Fit(outer.var, inner.var, n)
        values = [v for s in inner.body for v in values_of(s) if not isinstance(s, Store)]
        stores = [s for s in inner.body if isinstance(s, Store)]
        values += [s.value for s in stores]
        if not all(map(fit.fits, values)) or any(fit.place(s.buffer, s.index) != "block" for s in stores):
            return None
        local = self.rows(fit, values, length, writes(inner.body), rows * n // length)
        if local is None or not fit.rows:
            return None
        k, t, per = self.new(outer.var), self.new(inner.var), length // n
        block = For(t, Const(length, INDEX), fit.block(inner.body, k, t), inner.kind)
        found: list[Stmt] = [*local, For(k, Const(rows // per, INDEX), (block,), outer.kind)]
        if rows % per:
            last = self.new(inner.var)
            body = renewed(fit.block(inner.body, Const(rows // per, INDEX), last), self.names)
            found.append(For(last, Const(rows % per * n, INDEX), body, inner.kind))
        return tuple(found)

    def reduction(self, columns: For, top: bool) -> Block | None:
        """A loop over few columns that each reduce many rows."""
        n, loops = extent_of(columns), [s for s in columns.body if isinstance(s, For)]
        if n is None or not 2 <= n < NARROW or not _is_plain(columns) or len(loops) != 1:
            return None
        (rows,), at = loops, columns.body.index(loops[0])
        before, after = columns.body[:at], columns.body[at + 1 :]
        count, length = extent_of(rows) or 0, _length(n)
        if not _reduces(rows, n) or not all(isinstance(s, Let) for s in before):
            return None
        fit = _Fit(rows.var, columns.var, n)
        terms = [c.next.args[1] for c in rows.carries if isinstance(c.next, Op)]
        values = [v for s in (*before, *rows.body) for v in values_of(s)] + terms
        if not all(map(fit.fits, values)):
            return None
        local = self.rows(fit, values, length, writes(columns.body), count * n // length)
        if local is None:
            return None
        space: Space = "arena" if top else "local"
        parts = [Buffer(self.names("part"), c.var.dtype, (length,), space) for c in rows.carries]
        r, t, per = self.new(rows.var), self.new(columns.var), length // n
        carries = tuple(
            _carry(c.var, identity_of(c.combine or "", c.var.dtype), fit.value(x, r, t), c.result, c)
            for c, x in zip(rows.carries, terms, strict=True)
        )  # fmt: skip
        summed = For(r, Const(count // per, INDEX), fit.block(rows.body, r, t), "serial", carries)
        stores = [Store(b, (t,), c.result) for b, c in zip(parts, rows.carries, strict=True)]
        side_by_side = For(t, Const(length, INDEX), (*fit.block(before, r, t), summed, *stores), columns.kind)
        together = For(
            columns.var, columns.extent, (*before, *self.together(columns, rows, parts, per, count), *after), columns.kind
        )
        return (*local, *(Alloc(b) for b in parts), *renewed((side_by_side,), self.names), together)

    def together(self, columns: For, rows: For, parts: list[Buffer], per: int, count: int) -> Block:
        """The parts of a column, and then the rows that are in no block."""
        rest = count % per
        q = self.new(rows.var)
        place = add(mul(q, parts[0].size // per), columns.var)
        carries, middle = [], []
        for c, b in zip(rows.carries, parts, strict=True):
            result = Var(self.names(c.result.name), c.var.dtype) if rest else c.result
            before = Var(self.names(c.var.name), c.var.dtype)
            carries.append(_carry(before, c.init, Load(b, (place,)), result, c))
            middle.append(result)
        found = For(q, Const(per, INDEX), (), "serial", tuple(carries))
        if not rest:
            return (found,)
        moved: dict[Var, Value] = {rows.var: add(rows.var, count - rest)}
        last = tuple(
            Carry(c.var, result, substitute(c.next, moved), c.result, c.combine)
            for c, result in zip(rows.carries, middle, strict=True)
        )  # fmt: skip
        return found, For(rows.var, Const(rest, INDEX), substitute_in(rows.body, moved), "serial", last)

    def rows(self, fit: _Fit, values: list[Value], length: int, written: set[str], serves: int) -> Block | None:
        """Fills a row for each load that depends on the column alone: before the nest, or, by what is returned, here.

        None where one reads what is written meanwhile, or would be filled for too little.
        """
        here: list[Stmt] = []
        for x in (x for v in values for x in subvalues(v) if isinstance(x, Load)):
            if fit.place(x.buffer, x.index) != "row":
                continue
            key = fit.key(x)
            if key in fit.rows:
                continue
            outside = not any(mentions(atom, self.inside) for atom, _ in key[1])
            if x.buffer.name in written or (not outside and serves < FILLED):
                return None
            if outside and x.buffer.name not in self.written:
                if key not in self.filled:
                    self.filled[key] = row = Buffer(self.names("row"), x.buffer.dtype, (length,), "arena")
                    self.fills += self.fill(row, x, fit)
                fit.rows[key] = self.filled[key]
            else:
                fit.rows[key] = row = Buffer(self.names("row"), x.buffer.dtype, (length,), "local")
                here += self.fill(row, x, fit)
        return tuple(here)

    def fill(self, row: Buffer, x: Load, fit: _Fit) -> Block:
        """The statements that repeat what `x` loads in all columns."""
        q, i = self.new(fit.outer), self.new(fit.inner)
        store = Store(row, (add(mul(q, fit.n), i),), substitute(x, {fit.inner: i}))
        inner = For(i, Const(fit.n, INDEX), (store,), "parallel")
        return Alloc(row), For(q, Const(row.size // fit.n, INDEX), (inner,), "parallel")


@dataclass(slots=True)
class _Fit:
    """How values of iteration (outer, inner), the inner one of n, look in position t of block k."""

    outer: Var
    inner: Var
    n: int
    rows: dict[_Key, Buffer] = field(default_factory=dict)

    def place(self, buffer: Buffer, index: tuple[Value, ...]) -> str:
        """Where an access goes: "block" (through memory, as iterations do), "row" (by the column alone), "same"; "" elsewhere."""
        form, pair = position(buffer, index), {self.outer, self.inner}
        if any(not isinstance(atom, Var) and mentions(atom, pair) for atom in form.terms):
            return ""
        k, i = form.terms.get(self.outer, 0), form.terms.get(self.inner, 0)
        if not k:
            return "row" if i else "same"
        return "block" if i == 1 and k == self.n else ""

    def key(self, x: Load) -> _Key:
        """What identifies a row."""
        form = position(x.buffer, x.index)
        others = frozenset((atom, c) for atom, c in form.terms.items() if atom != self.inner)
        return x.buffer.name, others, form.terms.get(self.inner, 0), form.constant, self.n

    def fits(self, v: Value) -> bool:
        match v:
            case Var():
                return v not in (self.outer, self.inner)
            case Load():
                return bool(self.place(v.buffer, v.index))
            case Op():
                return all(map(self.fits, v.args))
            case _:
                return True

    def index(self, buffer: Buffer, index: tuple[Value, ...], k: Value, t: Var) -> Value:
        """The flat position of an access that goes through memory."""
        form = position(buffer, index)
        others = {atom: c for atom, c in form.terms.items() if atom not in (self.outer, self.inner)}
        return add(from_linear(Linear(others, form.constant)), mul(k, _length(self.n)), t)

    def value(self, v: Value, k: Value, t: Var) -> Value:
        match v:
            case Load():
                place = self.place(v.buffer, v.index)
                if place == "block":
                    return Load(flat(v.buffer), (self.index(v.buffer, v.index, k, t),))
                if place == "row":
                    return Load(self.rows[self.key(v)], (t,))
                return v
            case Op():
                return Op(v.name, tuple(self.value(a, k, t) for a in v.args), v.dtype)
            case _:
                return v

    def block(self, block: Block, k: Value, t: Var) -> Block:
        """Lets and stores in position t of block k."""
        found: list[Stmt] = []
        for s in block:
            if isinstance(s, Let):
                found.append(Let(s.var, self.value(s.value, k, t)))
            else:
                assert isinstance(s, Store), s
                found.append(Store(flat(s.buffer), (self.index(s.buffer, s.index, k, t),), self.value(s.value, k, t)))
        return tuple(found)


def _reduces(rows: For, n: int) -> bool:
    """Whether a loop reduces enough rows of n columns, and does nothing else."""
    many = (extent_of(rows) or 0) * n >= BLOCKS * _length(n)
    combines = bool(rows.carries) and all(c.combine is not None for c in rows.carries)
    return many and combines and rows.kind == "serial" and all(isinstance(s, Let) for s in rows.body)


def _values_after(stmt: Stmt) -> tuple[Var, ...]:
    """What statements after `stmt` can read."""
    match stmt:
        case Let():
            return (stmt.var,)
        case For():
            return tuple(c.result for c in stmt.carries)
        case _:
            return ()


def _carry(v: Var, init: Value, term: Value, result: Var, like: Carry) -> Carry:
    """A reduction of other terms by the operation of another."""
    return Carry(v, init, Op(like.combine or "", (v, term), v.dtype), result, like.combine)


def _is_plain(loop: For) -> bool:
    """Whether a loop's iterations are independent and carry nothing."""
    return loop.kind == "parallel" and not loop.carries
