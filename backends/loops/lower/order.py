"""Builders for operations along one axis in order: cumulative sums and extrema, argmax and argmin, sort.

May be imported by: `lower/__init__.py`.
"""

from __future__ import annotations

from fdl.backends.loops.ir import INDEX, Call, Carry, Const, Value
from fdl.backends.loops.reductions import accumulator, identity_of
from fdl.backends.loops.values import convert, op, select, sub
from fdl.tracer import dtypes
from fdl.tracer.ir import Equation

from .context import Nest, Place, Scope
from .index import ZERO, At
from .windowed import placed

_CUMULATIVE = {"cumsum": "add", "cumprod": "mul", "cummax": "max", "cummin": "min"}


def build_cumulative(scope: Scope, e: Equation) -> None:
    """cumsum and its kin: a serial loop along the axis that stores what it carries; the other axes are independent."""
    x, out = e.inputs[0], e.outputs[0]
    axis, name = e.params["axis"], _CUMULATIVE[e.primitive.name]
    dtype = accumulator(x.type.dtype)
    place = scope.target(out)
    shape = x.type.shape
    if x.type.size == 0:
        return
    nest = Nest(scope)
    others = nest.over((*shape[:axis], *shape[axis + 1 :])).index
    step = nest.loop(shape[axis], "serial", "k")
    if step == ZERO:
        at = At(shape, (*others[:axis], ZERO, *others[axis:]))
        nest.store(place, at, nest.element(x, at))
        nest.close()
        return
    k = sub(shape[axis] - 1, step) if e.params["reverse"] else step
    at = At(shape, (*others[:axis], k, *others[axis:]))
    acc = nest.carry(dtype)
    total = nest.let(op(name, acc, convert(nest.element(x, at), dtype)))
    nest.store(place, at, nest.let(convert(total, out.type.dtype)))
    nest.end([Carry(acc, identity_of(name, dtype), total, scope.unit.var("s", dtype))])
    nest.close()


def build_arg_extremum(scope: Scope, e: Equation) -> None:
    """argmax and argmin: the extremum, then the least index at which it stands (or at which there is a NaN).

    Both are reductions that may be regrouped; one loop that carries the extremum and its index could not be.
    """
    x, out = e.inputs[0], e.outputs[0]
    axis, result = e.params["axis"], e.params["dtype"]
    name = "max" if e.primitive.name == "argmax" else "min"
    shape, dtype = x.type.shape, x.type.dtype
    place = None if out.type.ndim == 0 else scope.target(out)
    number = dtypes.int32 if shape[axis] < 2**31 else INDEX
    nest = Nest(scope)
    others = nest.over(out.type.shape).index

    def element(k: Value) -> Value:
        return nest.element(x, At(shape, (*others[:axis], k, *others[axis:])))

    best = nest.reduce(name, dtype, [shape[axis]], lambda r: element(r[0]))

    def found(r: tuple[Value, ...]) -> Value:
        value = element(r[0])
        here = op("eq", value, best)
        if dtypes.is_float(dtype):
            here = op("or", here, op("ne", value, value))
        return nest.let(select(here, convert(r[0], number), Const(shape[axis], number)))

    first = nest.reduce("min", number, [shape[axis]], found)
    index = nest.let(convert(first, result))
    if place is None:
        scope.scalars[out] = index
        return
    nest.store(place, At(out.type.shape, others), index)
    nest.close()


def build_sort(scope: Scope, e: Equation) -> None:
    """sort: the operands copied so that the axis is the last one, each row sorted in place by the tile kernel, and moved back."""
    axis, num_keys = e.params["axis"], e.params["num_keys"]
    shape = e.inputs[0].type.shape
    last = axis == len(shape) - 1
    order = (*(a for a in range(len(shape)) if a != axis), axis)
    rows = tuple(shape[a] for a in order)
    places = []
    for x, out in zip(e.inputs, e.outputs, strict=True):
        place = scope.target(out) if last else Place(scope.temporary(x.type.dtype, rows, "rows"))
        places.append(place)
        if x.type.size:
            nest = Nest(scope)
            at = nest.over(rows)
            source = tuple(at.index[order.index(a)] for a in range(len(shape)))
            nest.store(place, at, nest.element(x, At(shape, source)))
            nest.close()
    if e.inputs[0].type.size:
        nest = Nest(scope)
        lead = nest.over(rows[:-1]).index
        windows = [placed(place, rows) for place in places]
        fixed = dict(enumerate(lead))
        refs = tuple(w.ref((len(rows) - 1,), fixed) for w in windows)
        nest.do(Call("sort", refs, refs, (), (("num_keys", num_keys),)))
        nest.close()
    if last:
        return
    for place, out in zip(places, e.outputs, strict=True):
        target = scope.target(out)
        if out.type.size:
            nest = Nest(scope)
            at = nest.over(shape)
            nest.store(target, at, nest.let(place.load(At(rows, tuple(at.index[a] for a in order)))))
            nest.close()


