"""Where statements touch memory: flat positions as linear forms of the loop variables, and what follows from them.

Two loops can become one when each iteration of the one touches, of every buffer that either writes, only what the same iteration of
the other touches: a *slab*.  With c the coefficient of the loop's variable v, an iteration's slab is the positions [c·v, c·v + c), or, for
columns, the positions that are in that range modulo a period.

May be imported by: lowering, fusion, scheduling and planning.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import field

from fdl.tracer.records import dataclass

from .build import bound
from .ir import (
    INDEX,
    Alloc,
    Buffer,
    Call,
    Callback,
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
    walk,
)
from .values import Interval, Linear, bounds, flat_form, linear


@dataclass(frozen=True, slots=True)
class Access:
    """One place in the text that touches a buffer, at the flat position `form`."""

    form: Linear
    write: bool
    extra: tuple[tuple[int, int], ...] = ()
    """(stride, size) of the axes of a tile kernel's operand: the access is of all its elements."""
    opaque: bool = False
    """Whether the position is unknown."""


@dataclass(slots=True)
class Summary:
    """What a statement touches, with everything inside it."""

    accesses: dict[str, list[Access]] = field(default_factory=dict)
    uses: set[Var] = field(default_factory=set)
    """Free variables."""
    defines: set[Var] = field(default_factory=set)
    """Variables that statements after it can see."""
    reads: set[str] = field(default_factory=set)
    writes: set[str] = field(default_factory=set)
    calls: bool = False
    loops: bool = False
    observable: bool = False
    """Whether it may fail or calls back."""
    size: int = 0

    def add(self, buffer: Buffer, access: Access) -> None:
        self.accesses.setdefault(buffer.name, []).append(access)
        (self.writes if access.write else self.reads).add(buffer.name)

    def absorb(self, other: Summary) -> None:
        """Adds the memory accesses of a statement inside."""
        for name, found in other.accesses.items():
            self.accesses.setdefault(name, []).extend(found)
        self.reads |= other.reads
        self.writes |= other.writes
        self.calls |= other.calls
        self.observable |= other.observable
        self.size += other.size


def position(buffer: Buffer, index: tuple[Value, ...]) -> Linear:
    """The flat position of an element."""
    return linear(index[0]) if len(index) == 1 else flat_form(index, buffer.shape)


def summarise(stmt: Stmt, known: Mapping[Var, Interval]) -> Summary:
    """What `stmt` touches; `known` are the ranges of variables."""
    s = Summary()
    _visit(stmt, s, known, set())
    s.defines = set(bound(stmt)) - {stmt.var} - {c.var for c in stmt.carries} if isinstance(stmt, For) else set(bound(stmt))
    return s


def _visit(stmt: Stmt, s: Summary, known: Mapping[Var, Interval], bound_here: set[Var]) -> None:
    s.size += 1
    match stmt:
        case Let():
            _value(stmt.value, s, bound_here)
            bound_here.add(stmt.var)
        case Store():
            _value(stmt.value, s, bound_here)
            for i in stmt.index:
                _value(i, s, bound_here)
            s.add(stmt.buffer, Access(position(stmt.buffer, stmt.index), True))
        case For():
            s.loops = True
            _value(stmt.extent, s, bound_here)
            for c in stmt.carries:
                _value(c.init, s, bound_here)
            inner = bound_here | {stmt.var, *(c.var for c in stmt.carries)}
            for x in stmt.body:
                _visit(x, s, known, inner)
            for c in stmt.carries:
                _value(c.next, s, inner)
            bound_here |= {c.result for c in stmt.carries}
        case While():
            inner = set(bound_here)
            for x in stmt.prelude:
                _visit(x, s, known, inner)
            _value(stmt.condition, s, inner)
            for x in stmt.body:
                _visit(x, s, known, inner)
        case If():
            _value(stmt.condition, s, bound_here)
            for block in (stmt.then, stmt.orelse):
                inner = set(bound_here)
                for x in block:
                    _visit(x, s, known, inner)
        case Check():
            s.observable = True
            for v in (stmt.ok, *stmt.values):
                _value(v, s, bound_here)
        case Call():
            s.calls = True
            accumulates = bool(dict(stmt.attrs).get("accumulate"))
            for v in stmt.scalars:
                _value(v, s, bound_here)
            for r in stmt.outputs:
                _ref(r, True, s, known, bound_here)
                if accumulates:
                    _ref(r, False, s, known, bound_here)
            for r in stmt.inputs:
                _ref(r, False, s, known, bound_here)
        case Callback():
            s.calls = s.observable = True
            for r in stmt.outputs:
                _ref(r, True, s, known, bound_here)
            for r in stmt.inputs:
                _ref(r, False, s, known, bound_here)
        case Alloc():
            pass
        case _:
            s.calls = True


def _ref(r: Ref, write: bool, s: Summary, known: Mapping[Var, Interval], bound_here: set[Var]) -> None:
    _value(r.offset, s, bound_here)
    extra = []
    for n, stride in zip(r.shape, r.strides, strict=True):
        _value(n, s, bound_here)
        extra.append((stride, bounds(n, known)[1]))
    s.add(r.buffer, Access(linear(r.offset), write, tuple(extra)))


def _value(value: Value, s: Summary, bound_here: set[Var]) -> None:
    match value:
        case Var():
            if value not in bound_here:
                s.uses.add(value)
        case Load():
            for i in value.index:
                _value(i, s, bound_here)
            s.add(value.buffer, Access(position(value.buffer, value.index), False))
        case Op():
            for a in value.args:
                _value(a, s, bound_here)
        case _:
            pass


# --- slabs ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Slab:
    """An iteration touches positions p with `width * v <= p % period < width * v + width` (no period: p itself)."""

    width: int
    period: int = 0


def slab(
    accesses: Iterable[Access], variable: Var, extent: int, around: tuple[Var, ...], known: Mapping[Var, Interval]
) -> Slab | None:
    """The slab of a buffer that an iteration of `variable` touches by `accesses`; None where iterations may meet.

    Args:
        around: the loops around, whose variables are the same for all accesses.
    """
    found = list(accesses)
    width = 0
    outer: dict[Var, int] | None = None
    for a in found:
        c = a.form.terms.get(variable, 0)
        if c <= 0 or a.opaque or (width and c != width):
            return None
        width = c
        fixed = {v: a.form.terms.get(v, 0) for v in around}
        if outer is None:
            outer = fixed
        elif fixed != outer:
            return None
    if not width:
        return None
    skip = {variable, *around}
    rests = [_terms(a, skip, known) for a in found]
    if all(_inside(terms, a.form.constant, width) for terms, a in zip(rests, found, strict=True)):
        return Slab(width)
    span = width * extent
    period = math.gcd(0, *(c for terms in rests for c, _ in terms if abs(c) >= span))
    if period < span:
        return None
    for terms, a in zip(rests, found, strict=True):
        low = [(c, r) for c, r in terms if c % period]
        if not _inside(low, a.form.constant % period, width):
            return None
    return Slab(width, period)


def _terms(a: Access, skip: set[Var], known: Mapping[Var, Interval]) -> list[tuple[int, Interval]]:
    """The terms of a position besides those of `skip`, as (coefficient, range)."""
    terms = [(c, bounds(atom, known)) for atom, c in a.form.terms.items() if atom not in skip]
    return terms + [(stride, (0, max(n - 1, 0))) for stride, n in a.extra if stride]


def _inside(terms: list[tuple[int, Interval]], constant: int, width: int) -> bool:
    low = constant + sum(min(c * a, c * b) for c, (a, b) in terms)
    high = constant + sum(max(c * a, c * b) for c, (a, b) in terms)
    return low >= 0 and high < width


def is_apart(loop: For, known: Mapping[Var, Interval]) -> bool:
    """Whether the iterations of a loop without carries touch nothing that another one writes, which makes it a parallel one."""
    n = extent_of(loop)
    if n is None or loop.carries or any(isinstance(s, (Alloc, Call, Callback, While)) for s in walk(loop.body)):
        return False
    s = summarise(loop, known)
    return bool(s.writes) and all(slab(s.accesses[name], loop.var, n, (), known) is not None for name in s.writes)


def extent_of(loop: For) -> int | None:
    """A loop's extent, if it is known."""
    return int(loop.extent.value) if isinstance(loop.extent, Const) else None


def is_independent(loop: For) -> bool:
    """Whether a loop's iterations may be run in any order: it is parallel, or a reduction by operations that may be regrouped."""
    if loop.kind in ("parallel", "vector"):
        return True
    return loop.kind == "serial" and bool(loop.carries) and all(c.combine for c in loop.carries)


__all__ = ["INDEX", "Access", "Slab", "Summary", "extent_of", "is_apart", "is_independent", "position", "slab", "summarise"]
