"""Loops over several axes as one loop over their product, wherever memory allows it.

    For i in 4: For j in 8: y[i, j] = x[i, j] + 1   →   For t in 32: y[t] = x[t] + 1

It makes nests of one size alike whatever the ranks of their arrays, for fusion, and vector loops long.  A pair of loops collapses when
every position they occur in moves by `n * c` with the outer and by `c` with the inner one, of extent n, and they occur nowhere else.

`split` is the inverse.

May be imported by: fusion and scheduling.
"""

from __future__ import annotations

from collections.abc import Callable

from .access import extent_of, position
from .build import Names, flat, substitute, substitute_in
from .ir import INDEX, Call, Callback, Carry, Const, For, If, Let, Load, Op, Ref, Stmt, Store, Value, Var, While
from .reductions import identity_of
from .values import Linear, add, from_linear, linear, mentions, mul, op, sub


def collapsed(stmt: Stmt, names: Names) -> Stmt:
    """`stmt` with the loops in it collapsed where they can be."""
    match stmt:
        case For():
            body = tuple(collapsed(s, names) for s in stmt.body)
            loop = For(stmt.var, stmt.extent, body, stmt.kind, stmt.carries)
            while (joined := _joined(loop)) is not None:
                loop = joined
            return loop
        case If():
            return If(stmt.condition, tuple(collapsed(s, names) for s in stmt.then), tuple(collapsed(s, names) for s in stmt.orelse))
        case _:
            return stmt


def _joined(outer: For) -> For | None:
    """The two outermost loops of a perfect nest as one; None where they have to stay apart."""
    if len(outer.body) != 1 or not isinstance(outer.body[0], For):
        return None
    inner = outer.body[0]
    n, m = extent_of(outer), extent_of(inner)
    if n is None or m is None or outer.kind != inner.kind or outer.kind not in ("parallel", "serial"):
        return None
    if (outer.kind == "serial" and not outer.carries) or len(outer.carries) != len(inner.carries):
        return None
    for a, b in zip(outer.carries, inner.carries, strict=True):
        if a.combine is None or a.combine != b.combine or a.next != Op(a.combine, (a.var, b.result), a.var.dtype):
            return None
        if not isinstance(b.init, Const):  # the identity, which a reduction inside another starts from
            return None
    pair = {outer.var, inner.var}
    if not all(_fits(s, outer.var, inner.var, m, pair) for s in inner.body):
        return None
    if not all(_value_fits(c.next, outer.var, inner.var, m, pair) for c in inner.carries):
        return None

    def value(v: Value) -> Value:
        return _moved(v, outer.var, pair)

    body = tuple(_mapped(s, value, outer.var, pair) for s in inner.body)
    carries = tuple(
        Carry(b.var, a.init, Op(b.combine or "", tuple(map(value, b.next.args)), b.next.dtype), a.result, b.combine)
        if isinstance(b.next, Op)
        else b
        for a, b in zip(outer.carries, inner.carries, strict=True)
    )
    return For(inner.var, Const(n * m, INDEX), body, inner.kind, carries)


def _form_fits(form: Linear, outer: Var, inner: Var, n: int, pair: set[Var]) -> bool:
    if form.terms.get(outer, 0) != n * form.terms.get(inner, 0):
        return False
    return not any(not isinstance(atom, Var) and mentions(atom, pair) for atom in form.terms)


def _value_fits(v: Value, outer: Var, inner: Var, n: int, pair: set[Var]) -> bool:
    match v:
        case Var():
            return v not in pair
        case Load():
            return _form_fits(position(v.buffer, v.index), outer, inner, n, pair)
        case Op():
            return all(_value_fits(a, outer, inner, n, pair) for a in v.args)
        case _:
            return True


def _fits(stmt: Stmt, outer: Var, inner: Var, n: int, pair: set[Var]) -> bool:
    def fits(v: Value) -> bool:
        return _value_fits(v, outer, inner, n, pair)

    match stmt:
        case Let():
            return fits(stmt.value)
        case Store():
            return fits(stmt.value) and _form_fits(position(stmt.buffer, stmt.index), outer, inner, n, pair)
        case For():
            if not fits(stmt.extent) or not all(fits(c.init) and fits(c.next) for c in stmt.carries):
                return False
            return all(_fits(s, outer, inner, n, pair) for s in stmt.body)
        case If():
            return fits(stmt.condition) and all(_fits(s, outer, inner, n, pair) for s in (*stmt.then, *stmt.orelse))
        case Call():
            refs = (*stmt.outputs, *stmt.inputs)
            if not all(_form_fits(linear(r.offset), outer, inner, n, pair) and all(map(fits, r.shape)) for r in refs):
                return False
            return all(map(fits, stmt.scalars))
        case _:
            return False


def _moved(v: Value, outer: Var, pair: set[Var]) -> Value:
    """A value with the loads that depend on the pair made flat, and the outer variable gone."""
    match v:
        case Load():
            if not any(mentions(i, pair) for i in v.index):
                return v
            return Load(flat(v.buffer), (_flat_index(position(v.buffer, v.index), outer),))
        case Op():
            args = tuple(_moved(a, outer, pair) for a in v.args)
            return v if all(a is b for a, b in zip(args, v.args, strict=True)) else Op(v.name, args, v.dtype)
        case _:
            return v


def _flat_index(form: Linear, outer: Var) -> Value:
    return from_linear(Linear({atom: c for atom, c in form.terms.items() if atom != outer}, form.constant))


def _mapped(stmt: Stmt, value: Callable[[Value], Value], outer: Var, pair: set[Var]) -> Stmt:
    match stmt:
        case Let():
            return Let(stmt.var, value(stmt.value))
        case Store():
            if not any(mentions(i, pair) for i in stmt.index):
                return Store(stmt.buffer, stmt.index, value(stmt.value))
            return Store(flat(stmt.buffer), (_flat_index(position(stmt.buffer, stmt.index), outer),), value(stmt.value))
        case For():
            carries = tuple(
                Carry(c.var, value(c.init), value(c.next), c.result, c.combine) for c in stmt.carries
            )
            body = tuple(_mapped(s, value, outer, pair) for s in stmt.body)
            return For(stmt.var, stmt.extent, body, stmt.kind, carries)
        case If():
            then = tuple(_mapped(s, value, outer, pair) for s in stmt.then)
            return If(value(stmt.condition), then, tuple(_mapped(s, value, outer, pair) for s in stmt.orelse))
        case Call():

            def ref(r: Ref) -> Ref:
                return Ref(r.buffer, _flat_index(linear(r.offset), outer), r.shape, r.strides)

            return Call(stmt.kernel, tuple(map(ref, stmt.outputs)), tuple(map(ref, stmt.inputs)), stmt.scalars, stmt.attrs)
        case _:
            assert not isinstance(stmt, (While, Callback)), stmt
            return stmt


# --- splitting ------------------------------------------------------------------------------------


def split(loop: For, step: int, names: Names, inner_kind: str | None = None) -> For:
    """The loop as one over blocks of `step` iterations, around one inside a block; the last block is shorter where `step` does not divide.

    A reduction becomes a reduction of reductions.
    """
    n = extent_of(loop)
    assert n is not None and step >= 1, (loop.var, step)
    count = -(-n // step)
    outer, inner = Var(names(loop.var.name), INDEX), Var(names(loop.var.name), INDEX)
    size: Value = Const(step, INDEX)
    if n % step:
        size = op("min", size, sub(n, mul(outer, step)))
    body = substitute_in(loop.body, {loop.var: add(mul(outer, step), inner)})
    carries, inner_carries = [], []
    for c in loop.carries:
        assert c.combine is not None and isinstance(c.next, Op), c
        new = {loop.var: add(mul(outer, step), inner)}
        part, total = Var(names(c.result.name), c.var.dtype), Var(names(c.var.name), c.var.dtype)
        args = tuple(substitute(a, new) for a in c.next.args)
        inner_carries.append(Carry(c.var, identity_of(c.combine, c.var.dtype), Op(c.combine, args, c.var.dtype), part, c.combine))
        carries.append(Carry(total, c.init, Op(c.combine, (total, part), c.var.dtype), c.result, c.combine))
    kind = inner_kind or loop.kind
    inside = For(inner, size, body, kind, tuple(inner_carries))  # type: ignore[arg-type]
    return For(outer, Const(count, INDEX), (inside,), loop.kind, tuple(carries))

