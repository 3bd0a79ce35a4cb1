"""Builders for control flow: scan, while, cond and callbacks become loops and branches around the statements of their programs.

A carry has one buffer for the whole loop.  An iteration computes new values elsewhere and copies them at its end; `fuse` lets most
copies vanish, by joining them to what computes the value, and a scatter or a dynamic update whose operand dies writes in place.
Slices of `xs` are read where they lie, and `ys` are written where they end.

May be imported by: `lower/__init__.py`, which gives it `write_program`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from fdl.backends.loops.access import is_apart
from fdl.backends.loops.build import substitute_in
from fdl.backends.loops.ir import INDEX, Callback, Const, For, If, Stmt, Value, While, is_observable
from fdl.backends.loops.values import add, clamp, convert, mul, op, sub
from fdl.tracer import dtypes
from fdl.tracer.ir import Atom, Equation, Literal, Program, Variable
from fdl.tracer.records import dataclass

from .context import Nest, Place, Scope
from .index import SCALAR
from .inline import inlined
from .uses import analyse, is_numbering
from .windowed import placed

Writer = Callable[[Scope, Program, Sequence[Place]], None]


def shaped(scope: Scope, a: Atom) -> Place:
    """The place of `a` in a buffer whose shape is that of `a` after the place's prefix."""
    place = scope.stored(a)
    if place.shape == a.type.shape:
        return place
    if not place.prefix:
        return Place(dataclasses.replace(place.buffer, shape=a.type.shape))
    copy = Place(scope.temporary(a.type.dtype, a.type.shape))
    scope.fill(copy, a)
    return copy


def give(inner: Scope, v: Variable, outer: Scope, a: Atom) -> None:
    """Makes the outer value `a` known inside as `v`: 0-d values as scalars, others where they are."""
    if v.type.ndim == 0:
        inner.scalars[v] = outer.scalar(a)
    else:
        inner.places[v] = outer.stored(a)


def _inside(scope: Scope, program: Program, carries: Sequence[Variable] = ()) -> Scope:
    """A new scope for the statements of a sub-program, which may write over its `carries` when they are dead."""
    inner = Scope(scope.unit, analyse(program, carries if scope.unit.target == "cpu" else None))
    inner.equation = scope.equation
    return inner


def _carries(scope: Scope, others: Sequence[Atom], init: Sequence[Atom], outputs: Sequence[Variable]) -> list[Place]:
    """The buffers of a loop's carries, which hold the initial values: those of the operands themselves where they die here."""
    places: list[Place] = []
    for k, (a, v) in enumerate(zip(init, outputs, strict=True)):
        if v not in scope.wanted and v.type.ndim and isinstance(a, Variable):
            scope.stored(a)
            own = scope.reusable(a, (*others, *init[:k], *init[k + 1 :]))
            if own is not None and own.shape == a.type.shape:
                scope.places[v] = own
                places.append(own)
                continue
        place = scope.target(v)
        scope.fill(place, a)
        places.append(place)
    return places


def _bind_carries(inner: Scope, variables: Sequence[Variable], places: Sequence[Place]) -> None:
    """Makes the carries known inside; 0-d ones are loaded once."""
    for v, place in zip(variables, places, strict=True):
        if v.type.ndim == 0:
            inner.scalars[v] = Nest(inner).let(place.load(SCALAR), "c")
        else:
            inner.places[v] = place
            inner.owned.add(place.buffer.name)


def _update_carries(inner: Scope, outputs: Sequence[Atom], places: Sequence[Place]) -> None:
    """Puts the new values into the carries' buffers. A value that lies in another carry's buffer is copied out before any is written."""
    taken = {p.buffer.name for p in places}
    moved: list[tuple[Atom, Place]] = []
    for a, place in zip(outputs, places, strict=True):
        if a.type.ndim and isinstance(a, Variable):
            source = inner.stored(a)
            if source == place:
                continue
            if source.buffer.name in taken:
                copy = Place(inner.temporary(a.type.dtype, a.type.shape))
                inner.fill(copy, a)
                inner.places[a] = copy
        moved.append((a, place))
    for a, place in moved:
        inner.fill(place, a)


@dataclass(frozen=True, slots=True)
class Counter:
    """A carry that is `start` in the first step, and `step` more in each one after it."""

    start: int
    step: int
    dtype: dtypes.DType


def without_counters(
    body: Program, n_consts: int, n_carry: int, length: int, init: Sequence[Atom]
) -> tuple[Program, dict[int, Counter]]:
    """The body of a scan without the outputs of carries that count, and these carries by their number."""
    made = {e.outputs[0]: e for e in body.equations if e.primitive.name == "add"}
    found: dict[int, Counter] = {}
    for k in range(n_carry):
        v, out, first = body.inputs[n_consts + k], body.outputs[k], init[k]
        e = made.get(out) if isinstance(out, Variable) else None
        if e is None or v not in e.inputs or not isinstance(first, Literal) or not dtypes.is_int(v.type.dtype) or v.type.ndim:
            continue
        others = [a for a in e.inputs if a is not v]
        if len(others) != 1 or not isinstance(others[0], Literal):
            continue
        start, step, limits = int(first.value[()]), int(others[0].value[()]), np.iinfo(v.type.dtype)
        if limits.min <= start + step * length <= limits.max:
            found[k] = Counter(start, step, v.type.dtype)
    outputs = tuple(a for k, a in enumerate(body.outputs) if k not in found)
    return Program(body.inputs, body.equations, outputs, body.constants, body.values, body.name), found


def build_scan(write: Writer, scope: Scope, e: Equation) -> None:
    """scan: a serial loop. `xs[i]` are windows of the stacked inputs, `ys[i]` of the stacked outputs.

    With `unroll` that many steps are written out in the loop's body, and those that are left over after it; all of them where there are
    no more.  A carry that counts (see `without_counters`) and an `xs` that is an iota are not in memory: they are the loop's variable.
    """
    p = e.params
    n_consts, n_carry, length = p["n_consts"], p["n_carry"], p["length"]
    body, counting = without_counters(inlined(p["body"]), n_consts, n_carry, length, e.inputs[n_consts:])
    kept = [k for k in range(n_carry) if k not in counting]
    consts, xs = e.inputs[:n_consts], e.inputs[n_consts + n_carry :]
    numbered = {k: scope.lazy[a] for k, a in enumerate(xs) if isinstance(a, Variable) and a in scope.lazy and is_numbering(scope.lazy[a])}
    stacked = {k: shaped(scope, a) for k, a in enumerate(xs) if k not in numbered}
    for a in consts:
        _ = scope.scalar(a) if a.type.ndim == 0 else scope.stored(a)
    places = _carries(scope, (*consts, *xs), [e.inputs[n_consts + k] for k in kept], [e.outputs[k] for k in kept])
    for k, c in counting.items():
        scope.scalars[e.outputs[k]] = Const(c.start + c.step * length, c.dtype)
    results = [scope.target(v) for v in e.outputs[n_carry:]]
    carried = [body.inputs[n_consts + k] for k in kept]

    def written(number: Value) -> list[Stmt]:
        """The statements of a step."""
        i = sub(length - 1, number) if p["reverse"] else number
        inner = _inside(scope, body, carried)
        for v, a in zip(body.inputs, consts, strict=False):
            give(inner, v, scope, a)
        if length > 1:
            inner.outer, inner.invariant = scope, {place.buffer.name for place in inner.places.values()}
        _bind_carries(inner, carried, places)
        for k, c in counting.items():
            count = add(c.start, mul(number, c.step))
            inner.scalars[body.inputs[n_consts + k]] = Nest(inner).let(convert(count, c.dtype), "c")
        for k, v in enumerate(body.inputs[n_consts + n_carry :]):
            if k in numbered:
                inner.scalars[v] = Nest(inner).let(convert(i, v.type.dtype), "x")
            else:
                inner.places[v] = Place(stacked[k].buffer, (*stacked[k].prefix, i))
        _write_body(write, inner, body, len(kept), places, [Place(r.buffer, (*r.prefix, i)) for r in results])
        return inner.block

    unroll = p.get("unroll", 1)
    trips = length // unroll if length > unroll or unroll == 1 else 0
    if trips:
        step = scope.unit.var("step")
        scope.unit.ranges[step] = (0, trips - 1)
        scope.note(step.name)
        first = mul(step, unroll)
        steps = [s for k in range(unroll) for s in written(add(first, k))]
        scope.block.append(_together(scope, For(step, Const(trips, INDEX), tuple(steps), "serial")))
    for k in range(trips * unroll, length):
        scope.block.extend(written(Const(k, INDEX)))


def _together(scope: Scope, loop: For) -> For:
    """A loop over steps, as a parallel one where it carries nothing or updates elements one by one. Failures keep the order of steps.

    Its variable is then that of any nest (see `ir.is_step`): others may join it, and one of theirs may fail where no step does.
    """
    trips = scope.unit.ranges[loop.var][1] + 1
    if trips < 2 or is_observable(loop) or not is_apart(loop, scope.unit.ranges):
        return loop
    i = scope.unit.var("i")
    scope.unit.ranges[i] = (0, trips - 1)
    scope.note(i.name)
    return For(i, loop.extent, substitute_in(loop.body, {loop.var: i}), "parallel")


def _write_body(
    write: Writer, inner: Scope, body: Program, n_carry: int, carries: Sequence[Place], ys: Sequence[Place]
) -> None:
    """The body's equations, the `ys` stored where they end, and then the carries updated."""
    stacked = list(zip(body.outputs[n_carry:], ys, strict=True))
    # What an iteration only passes on is stored first: later it would stand between the new value of a carry and what computes it.
    given = set(body.inputs)
    for a, place in stacked:
        if a in given:
            inner.fill(place, a)
    rest = [(a, place) for a, place in stacked if a not in given]
    part = Program(body.inputs, body.equations, tuple(a for a, _ in rest), body.constants, body.values, body.name)
    write(inner, part, [place for _, place in rest])
    _update_carries(inner, body.outputs[:n_carry], carries)


def build_while(write: Writer, scope: Scope, e: Equation) -> None:
    """while: the condition's statements are the loop's prelude."""
    p = e.params
    cond, body = inlined(p["cond"]), inlined(p["body"])
    n_cond, n = p["n_cond"], p["n_cond"] + p["n_body"]
    test, inner = _inside(scope, cond), _inside(scope, body, body.inputs[p["n_body"] :])
    for v, a in zip(cond.inputs, e.inputs[:n_cond], strict=False):
        give(test, v, scope, a)
    for v, a in zip(body.inputs, e.inputs[n_cond:n], strict=False):
        give(inner, v, scope, a)
    places = _carries(scope, e.inputs[:n], e.inputs[n:], e.outputs)
    _bind_carries(test, cond.inputs[n_cond:], places)
    test.owned.clear()
    write(test, Program(cond.inputs, cond.equations, (), name=cond.name), ())
    condition = test.scalar(cond.outputs[0])
    _bind_carries(inner, body.inputs[p["n_body"] :], places)
    _write_body(write, inner, body, len(places), places, ())
    scope.block.append(While(tuple(test.block), condition, tuple(inner.block)))


def build_cond(write: Writer, scope: Scope, e: Equation) -> None:
    """cond: a tree of branches, found by halving, each writing its results where they end."""
    branches = [inlined(b) for b in e.params["branches"]]
    index = Nest(scope).let(clamp(scope.index_scalar(e.inputs[0]), 0, len(branches) - 1), "n")
    for a in e.inputs[1:]:
        _ = scope.scalar(a) if a.type.ndim == 0 else scope.stored(a)
    results = [scope.target(v) for v in e.outputs]
    blocks: list[tuple[Stmt, ...]] = []
    for b in branches:
        inner = _inside(scope, b)
        for v, a in zip(b.inputs, e.inputs[1:], strict=True):
            give(inner, v, scope, a)
        write(inner, b, results)
        blocks.append(tuple(inner.block))

    def among(low: int, high: int) -> tuple[Stmt, ...]:
        """The statements that run branch `index`, which is from `low` to `high`."""
        if low == high:
            return blocks[low]
        if high - low == 1:
            return (If(op("eq", index, Const(low, INDEX)), blocks[low], blocks[high]),)
        middle = (low + high) // 2
        return (If(op("le", index, Const(middle, INDEX)), among(low, middle), among(middle + 1, high)),)

    scope.block.extend(among(0, len(blocks) - 1))


def build_callback(scope: Scope, e: Equation) -> None:
    """callback: a Python function on whole buffers, on the calling thread."""
    windows = [placed(scope.stored(a), a.type.shape) for a in e.inputs]
    inputs = tuple(w.ref(range(len(w.shape))) for w in windows)
    outputs = tuple(placed(scope.target(v), v.type.shape) for v in e.outputs)
    refs = tuple(w.ref(range(len(w.shape))) for w in outputs)
    scope.block.append(Callback(scope.unit.slots[id(e.params)], inputs, refs))
