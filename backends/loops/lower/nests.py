"""Builders for what moves and combines elements: stores of expressions, reductions, concatenations, pads, iota and random bits.

Every loop over independent elements is `parallel`, every reduction loop `serial` with a combining carry: what is true of the
program.  The schedule decides what becomes of them on a machine.

May be imported by: `lower/__init__.py`.
"""

from __future__ import annotations

import itertools

from fdl.backends.loops.ir import INDEX, Buffer, Const, Op, Value
from fdl.backends.loops.reductions import accumulator
from fdl.backends.loops.values import add, clamp, convert, flatten, mul, op, select, sub
from fdl.tracer import dtypes
from fdl.tracer import primitive as p
from fdl.tracer.ir import Equation, Type

from .context import GENERATORS, LoweringError, Nest, Place, Scope
from .index import SCALAR, At
from .panels import PART_ELEMENTS, parts


def build_stored(scope: Scope, e: Equation) -> None:
    """An elementwise or view equation whose output goes to memory."""
    v = e.outputs[0]
    scope.lazy[v] = e
    scope.stored(v)


def build_reduction(scope: Scope, e: Equation) -> None:
    """`reduce_*`: loops over the axes that stay, around loops over those that go. A 0-d result stays in a register."""
    x, out = e.inputs[0], e.outputs[0]
    low = e.primitive.lowering
    assert isinstance(low, p.Reduction)
    axes = e.params["axes"]
    dtype = accumulator(x.type.dtype) if low.op in ("add", "mul") else x.type.dtype
    if scope.unit.target == "cpu" and _by_parts(x.type, axes) and dtype == out.type.dtype:
        _reduce_parts(scope, e, low.op)
        return
    place = None if out.type.ndim == 0 else scope.target(out)
    nest = Nest(scope)
    kept = nest.over(out.type.shape)

    def term(reduced: tuple[Value, ...]) -> Value:
        inner, outer = iter(reduced), iter(kept.index)
        index = tuple(next(inner) if a in axes else next(outer) for a in range(x.type.ndim))
        return convert(nest.element(x, At(x.type.shape, index)), dtype)

    total = nest.let(convert(nest.reduce(low.op, dtype, [x.type.shape[a] for a in axes], term), out.type.dtype))
    if place is None:
        scope.scalars[out] = total
        return
    nest.store(place, kept, total)
    nest.close()


def _by_parts(t: Type, axes: tuple[int, ...]) -> bool:
    """Whether to reduce blocks of the leading axis first: images whose channels are kept, as a bias' gradient has them."""
    lead = len(axes)
    return 2 <= lead < t.ndim and sorted(axes) == list(range(lead)) and t.shape[0] >= 2 and t.size >= 8 * PART_ELEMENTS


def _reduce_parts(scope: Scope, e: Equation, name: str) -> None:
    """A reduction over leading axes: one row of results for each part of the first axis, which are then combined in order.

    The parts are those of a filter's gradient over the same images, so that fusion makes both in one loop, while what they read
    is in the cache.
    """
    x, out = e.inputs[0], e.outputs[0]
    lead = len(e.params["axes"])
    first, *rest = x.type.shape[:lead]
    chunks = parts(first, x.type.size)
    place = scope.target(out)
    partial = scope.temporary(out.type.dtype, (chunks.count, *out.type.shape), "partial")
    nest = Nest(scope)
    p = nest.loop(chunks.count, stem="p")
    kept = nest.over(out.type.shape)

    def term(reduced: tuple[Value, ...]) -> Value:
        row, *others = reduced
        return nest.element(x, At(x.type.shape, (add(mul(p, chunks.step), row), *others, *kept.index)))

    total = nest.reduce(name, out.type.dtype, (chunks.extent(p), *rest), term)
    nest.store(Place(partial), At(partial.shape, (p, *kept.index)), total)
    nest.close()
    sum_partials(scope, partial, place, name)


def sum_partials(scope: Scope, partial: Buffer, place: Place, name: str = "add") -> None:
    """The combination of `partial` over its first axis, in order, at `place`."""
    nest = Nest(scope)
    at = nest.over(partial.shape[1:])

    def term(part: tuple[Value, ...]) -> Value:
        return nest.let(Place(partial).load(At(partial.shape, (*part, *at.index))))

    nest.store(place, at, nest.reduce(name, partial.dtype, [partial.shape[0]], term))
    nest.close()


def build_concatenate(scope: Scope, e: Equation) -> None:
    """A nest for each operand, that stores it where it ends."""
    out, axis = e.outputs[0], e.params["axis"]
    place = scope.target(out)
    start = 0
    for x in e.inputs:
        if x.type.size:
            nest = Nest(scope)
            at = nest.over(x.type.shape)
            moved = tuple(add(i, start) if a == axis else i for a, i in enumerate(at.index))
            nest.store(place, At(out.type.shape, moved), nest.element(x, at))
            nest.close()
        start += x.type.shape[axis]


def build_pad(scope: Scope, e: Equation) -> None:
    """A pad without interior elements: a nest for what is kept of the operand, and one for each border slab."""
    (x, fill), out = e.inputs, e.outputs[0]
    place = scope.target(out)
    shape = out.type.shape
    lows = [max(lo, 0) for lo, _, _ in e.params["config"]]
    highs = [max(hi, 0) for _, hi, _ in e.params["config"]]
    middles = [n - lo - hi for n, lo, hi in zip(shape, lows, highs, strict=True)]
    if min(middles) > 0:
        nest = Nest(scope)
        at = nest.over(tuple(middles))
        source = tuple(add(i, max(-lo, 0)) for i, (lo, _, _) in zip(at.index, e.params["config"], strict=True))
        moved = tuple(add(i, lo) for i, lo in zip(at.index, lows, strict=True))
        nest.store(place, At(shape, moved), nest.element(x, At(x.type.shape, source)))
        nest.close()
    # Slab `axis`: the border along that axis, inside the middle of the axes before it and all of those after it.
    for axis, (low, high) in enumerate(zip(lows, highs, strict=True)):
        middle = max(middles[axis], 0)
        for start, size in ((0, low), (low + middle, shape[axis] - low - middle)):
            sizes = (*(max(m, 0) for m in middles[:axis]), size, *shape[axis + 1 :])
            if 0 in sizes or (start and not high):
                continue
            nest = Nest(scope)
            at = nest.over(sizes)
            offsets = (*lows[:axis], start, *itertools.repeat(0, len(shape) - axis - 1))
            moved = tuple(add(i, o) for i, o in zip(at.index, offsets, strict=True))
            nest.store(place, At(shape, moved), nest.element(fill, SCALAR))
            nest.close()


def _iota(nest: Nest, e: Equation, index: tuple[Value, ...]) -> Value:
    return convert(index[e.params["axis"]], e.params["dtype"])


def _concatenate(nest: Nest, e: Equation, index: tuple[Value, ...]) -> Value:
    """The element of the operand that holds it: of index tuples (see `uses.is_index_tuple`) mostly a known one."""
    axis, at = e.params["axis"], index[e.params["axis"]]
    value: Value | None = None
    end = e.outputs[0].type.shape[axis]
    for x in reversed([x for x in e.inputs if x.type.size]):
        start = end - x.type.shape[axis]
        if isinstance(at, Const) and not start <= at.value < end:
            end = start
            continue
        moved = clamp(sub(at, start), 0, x.type.shape[axis] - 1, nest.ranges)
        mine = nest.element(x, At(x.type.shape, (*index[:axis], moved, *index[axis + 1 :])))
        value = mine if value is None else nest.let(select(op("lt", at, Const(end, INDEX)), mine, value))
        end = start
    assert value is not None, e
    return value


def _random_bits(nest: Nest, e: Equation, index: tuple[Value, ...]) -> Value:
    """Threefry of the row-major position of the element: the counter comes from the loop variables, the bits never from memory."""
    key, shape, width = e.inputs[0], e.params["shape"], e.params["width"]
    batch = key.type.ndim - 1
    words = [nest.element(key, At(key.type.shape, (*index[:batch], Const(k, INDEX)))) for k in (0, 1)]
    position = flatten(index[batch:], shape)
    u32 = dtypes.uint32
    low = convert(position, u32)
    many = e.outputs[0].type.size > 2**32
    high: Value = convert(Op("shift_right_logical", (position, Const(32, INDEX)), INDEX), u32) if many else Const(0, u32)
    if width == 64:
        return Op("threefry_bits64", (*words, high, low), dtypes.uint64)
    bits = Op("threefry_bits32", (*words, high, low), u32)
    return op("convert", bits, dtype=e.outputs[0].type.dtype)


GENERATORS["concatenate"] = _concatenate
GENERATORS["iota"] = _iota
GENERATORS["random_bits"] = _random_bits


def unknown(scope: Scope, e: Equation) -> None:
    """Raises for a primitive that has no lowering."""
    raise LoweringError(
        f"the primitive {e.primitive.name!r} has no builder: it cannot be compiled. Declare its `lowering` in {e.primitive.source}, or "
        "add a builder to BUILDERS in fdl/backends/loops/lower/__init__.py."
    )

