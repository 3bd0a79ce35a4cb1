"""The toolbox of the passes over the loop IR: constructors (`values`, re-exported here), analyses and rewriting of blocks.

May be imported by: everything that builds, reads or rewrites routines.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

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
    Kind,
    Let,
    Load,
    Op,
    Ref,
    Routine,
    Stmt,
    Store,
    Value,
    Var,
    While,
    subvalues,
    values_of,
    walk,
)
from .values import Interval as Interval
from .values import Linear as Linear
from .values import Ranges as Ranges
from .values import add as add
from .values import bounds as bounds
from .values import clamp as clamp
from .values import coefficient as coefficient
from .values import conjunction as conjunction
from .values import const as const
from .values import convert as convert
from .values import flatten as flatten
from .values import floordiv as floordiv
from .values import from_linear as from_linear
from .values import index as index
from .values import linear as linear
from .values import load as load
from .values import mentions as mentions
from .values import mod as mod
from .values import mul as mul
from .values import number as number
from .values import op as op
from .values import select as select
from .values import store as store
from .values import sub as sub
from .values import unflatten as unflatten
from .values import var as var

Block: TypeAlias = tuple[Stmt, ...]

# --- analyses -------------------------------------------------------------------------------------


def all_values(block: Block) -> list[Value]:
    """Every value in `block`, those inside other values and inner blocks included, in program order."""
    found: list[Value] = []
    for stmt in walk(block):
        for value in values_of(stmt):
            kind = type(value)
            if kind is Var or kind is Const:
                found.append(value)
            else:
                found += subvalues(value)
    return found


def loads(block: Block) -> list[Load]:
    """Every `Load` in `block`, in program order."""
    return [v for v in all_values(block) if type(v) is Load]


def stores(block: Block) -> Iterator[Store]:
    """Every `Store` in `block`, in program order."""
    return (s for s in walk(block) if isinstance(s, Store))


def reads(block: Block) -> set[str]:
    """The names of the buffers that `block` may read: by loads, tile kernels (those that accumulate read their outputs) and
    callbacks."""
    names = {v.buffer.name for v in loads(block)}
    for stmt in walk(block):
        if isinstance(stmt, Call | Callback):
            names |= {r.buffer.name for r in stmt.inputs}
        if isinstance(stmt, Call) and dict(stmt.attrs).get("accumulate"):
            names |= {r.buffer.name for r in stmt.outputs}
    return names


def writes(block: Block) -> set[str]:
    """The names of the buffers that `block` may write: by stores, tile kernels and callbacks."""
    names: set[str] = set()
    for s in walk(block):
        if isinstance(s, Store):
            names.add(s.buffer.name)
        elif isinstance(s, Call | Callback):
            names.update(r.buffer.name for r in s.outputs)
    return names


def bound(stmt: Stmt) -> tuple[Var, ...]:
    """The variables that `stmt` itself binds (not those of inner blocks): of a loop, its variable and its carries'."""
    match stmt:
        case Let():
            return (stmt.var,)
        case For():
            return (stmt.var, *(c.var for c in stmt.carries), *(c.result for c in stmt.carries))
        case _:
            return ()


def free(block: Block) -> set[Var]:
    """The variables that `block` reads and does not bind."""
    binds = {v for s in walk(block) for v in bound(s)}
    return {v for v in all_values(block) if isinstance(v, Var)} - binds


def dependents(block: Block, roots: set[Var]) -> set[Var]:
    """`roots` and the variables of `block` whose value may depend on them: through values, carries and extents.

    What is stored and loaded again is not followed.
    """
    found = set(roots)
    while True:
        before = len(found)
        for stmt in walk(block):
            match stmt:
                case Let() if mentions(stmt.value, found):
                    found.add(stmt.var)
                case For():
                    if mentions(stmt.extent, found):
                        found.add(stmt.var)
                    for c in stmt.carries:
                        if mentions(c.init, found) or mentions(c.next, found) or mentions(stmt.extent, found):
                            found |= {c.var, c.result}
        if len(found) == before:
            return found


def ranges_in(block: Block, known: dict[Var, Interval] | None = None) -> dict[Var, Interval]:
    """What is known of the int64 variables that `block` binds by loops and lets; added to `known`, where that is given.

    A variable is bound once, so that one mapping serves the whole routine.
    """
    known = {} if known is None else known
    for stmt in walk(block):
        match stmt:
            case For():
                known[stmt.var] = (0, bounds(stmt.extent, known)[1] - 1)
            case Let() if stmt.var.dtype == INDEX:
                known[stmt.var] = bounds(stmt.value, known)
    return known


# --- rewriting ------------------------------------------------------------------------------------


class Names:
    """A supply of names that are new: `Names(taken)("i")` gives "i", then "i1", "i2", ..."""

    __slots__ = ("_count", "_taken")

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._count: dict[str, int] = {}

    def __call__(self, stem: str) -> str:
        stem = stem.rstrip("0123456789") or stem
        name = stem
        while name in self._taken:
            self._count[stem] = self._count.get(stem, 0) + 1
            name = f"{stem}{self._count[stem]}"
        self._taken.add(name)
        return name


def names_in(block: Block) -> set[str]:
    """The names that `block` gives: those of the variables that it binds and of the buffers that it allocates."""
    names: set[str] = set()
    for s in walk(block):
        if isinstance(s, Alloc):
            names.add(s.buffer.name)
        else:
            names.update(v.name for v in bound(s))
    return names


def new_names(routine: Routine) -> Names:
    """A supply of names that are new in a routine."""
    return Names(names_in(routine.body) | {b.name for b in (*routine.inputs, *routine.consts, *routine.outputs)})


def substitute(value: Value, new: Mapping[Var, Value], buffers: Mapping[str, Buffer] | None = None) -> Value:
    """`value` with variables replaced by `new`, and buffers, by name, by `buffers`; simplified where that changes it."""
    match value:
        case Var():
            return new.get(value, value)
        case Load():
            indices = tuple(substitute(i, new, buffers) for i in value.index)
            buffer = _swapped(value.buffer, buffers or {})
            return value if buffer is value.buffer and _same(indices, value.index) else Load(buffer, indices)
        case Op():
            args = tuple(substitute(a, new, buffers) for a in value.args)
            return value if _same(args, value.args) else op(value.name, *args, dtype=value.dtype)
        case _:
            return value


def _swapped(buffer: Buffer, swap: Mapping[str, Buffer]) -> Buffer:
    """What replaces `buffer`; seen as a vector where `buffer` is such a view (see `flat`)."""
    new = swap.get(buffer.name, buffer)
    return flat(new) if len(buffer.shape) == 1 and len(new.shape) != 1 else new


def _same(x: tuple[Value, ...], y: tuple[Value, ...]) -> bool:
    return all(a is b for a, b in zip(x, y, strict=True))


def substitute_in(block: Block, new: Mapping[Var, Value], buffers: Mapping[str, Buffer] | None = None) -> Block:
    """`block` with free variables replaced by `new`, and buffers, by name, by `buffers`, those of `Alloc` included.

    Where `new` maps a variable that `block` binds to another variable, the binding is renamed too.
    """
    swap = buffers or {}

    def value(v: Value) -> Value:
        return substitute(v, new, swap)

    def name(v: Var) -> Var:
        renamed = new.get(v, v)
        assert isinstance(renamed, Var), f"{v.name} is bound in the block, and cannot become {renamed}"
        return renamed

    def carry(c: Carry) -> Carry:
        following = value(c.next)
        if c.combine is not None and isinstance(c.next, Op):
            # Kept in its form, which simplification could change.
            following = Op(c.combine, tuple(value(a) for a in c.next.args), c.next.dtype)
        return Carry(name(c.var), value(c.init), following, name(c.result), c.combine)

    return tuple(_rebuilt(s, value, name, carry, swap) for s in block)


def _rebuilt(
    stmt: Stmt,
    value: Callable[[Value], Value],
    name: Callable[[Var], Var],
    carry: Callable[[Carry], Carry],
    swap: Mapping[str, Buffer],
) -> Stmt:
    """`stmt` with its values, bindings, carries and buffers mapped, in inner blocks too."""

    def inner(block: Block) -> Block:
        return tuple(_rebuilt(s, value, name, carry, swap) for s in block)

    def each(values: tuple[Value, ...]) -> tuple[Value, ...]:
        return tuple(map(value, values))

    def refs(operands: tuple[Ref, ...]) -> tuple[Ref, ...]:
        return tuple(Ref(_swapped(r.buffer, swap), value(r.offset), each(r.shape), r.strides) for r in operands)

    match stmt:
        case Let():
            return Let(name(stmt.var), value(stmt.value))
        case Store():
            return Store(_swapped(stmt.buffer, swap), each(stmt.index), value(stmt.value))
        case For():
            body = inner(stmt.body)
            return For(name(stmt.var), value(stmt.extent), body, stmt.kind, tuple(map(carry, stmt.carries)))
        case While():
            return While(inner(stmt.prelude), value(stmt.condition), inner(stmt.body))
        case If():
            return If(value(stmt.condition), inner(stmt.then), inner(stmt.orelse))
        case Alloc():
            return Alloc(_swapped(stmt.buffer, swap))
        case Check():
            return Check(value(stmt.ok), stmt.site, each(stmt.values))
        case Call():
            return Call(stmt.kernel, refs(stmt.outputs), refs(stmt.inputs), each(stmt.scalars), stmt.attrs)
        case Callback():
            return Callback(stmt.slot, refs(stmt.inputs), refs(stmt.outputs))
        case _:
            return stmt


def replace_loads(block: Block, new: Callable[[Load], Value]) -> Block:
    """`block` with every `Load` x replaced by `new(x)`; indices are left as they are."""

    def value(v: Value) -> Value:
        match v:
            case Load():
                return new(v)
            case Op():
                args = tuple(map(value, v.args))
                return v if _same(args, v.args) else Op(v.name, args, v.dtype)
            case _:
                return v

    def carry(c: Carry) -> Carry:
        return Carry(c.var, value(c.init), value(c.next), c.result, c.combine)

    return tuple(_rebuilt(s, value, lambda v: v, carry, {}) for s in block)


def renewed(block: Block, names: Names) -> Block:
    """A copy of `block` in which all that it binds, variables and buffers, has new names: to be put beside the original."""
    new: dict[Var, Value] = {v: Var(names(v.name), v.dtype) for s in walk(block) for v in bound(s)}
    made = [s.buffer for s in walk(block) if isinstance(s, Alloc)]
    return substitute_in(block, new, {b.name: dataclasses.replace(b, name=names(b.name)) for b in made})


def expanded(call: Call, body: Callable[[Call], Block], names: Names) -> Block:
    """What a tile kernel's call means in plain loop IR: `body` of the call, in new names.

    Run-time operands are bound first, so that each is evaluated once and no loop variable of the body can capture one.
    """
    lets: list[Stmt] = []

    def once(value: Value) -> Value:
        if isinstance(value, Const):
            return value
        # '%' keeps the name apart from any that the body uses.
        bound_to = Var("%" + names("t"), value.dtype)
        lets.append(Let(bound_to, value))
        return bound_to

    def operand(ref: Ref) -> Ref:
        return Ref(ref.buffer, once(ref.offset), tuple(map(once, ref.shape)), ref.strides)

    outputs, inputs = tuple(map(operand, call.outputs)), tuple(map(operand, call.inputs))
    plain = Call(call.kernel, outputs, inputs, tuple(map(once, call.scalars)), call.attrs)
    block = (*lets, *renewed(body(plain), names))
    return substitute_in(block, {s.var: Var(names("t"), s.var.dtype) for s in lets if isinstance(s, Let)})


def loops(
    variables: Sequence[Var], extents: Sequence[int | Value], body: Block, kinds: Sequence[Kind] | Kind = "serial"
) -> Block:
    """`body` inside a nest of loops, outermost first; `kinds` is one for all, or one for each."""
    each = (kinds,) * len(variables) if isinstance(kinds, str) else tuple(kinds)
    for variable, extent, kind in reversed(list(zip(variables, extents, each, strict=True))):
        body = (For(variable, index(extent), body, kind),)
    return body


def flat(buffer: Buffer) -> Buffer:
    """`buffer` as a vector: the same memory under the same name, indexed by row-major position."""
    return dataclasses.replace(buffer, shape=(buffer.size,))
