"""Builders for windows: pooling, and the derivatives of max pooling.

Each output is a small serial loop over its window.  What pads an array is in no window: the identity in a reduction, skipped in a
selection.

May be imported by: `lower/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from fdl.backends.loops.ir import BOOL, INDEX, Carry, Const, Kind, Value, Var
from fdl.backends.loops.reductions import accumulator, identity_of
from fdl.backends.loops.values import add, bounds, conjunction, const, convert, flatten, mul, op, select
from fdl.tracer import dtypes
from fdl.tracer.ir import Atom, Equation
from fdl.tracer.records import dataclass

from .context import Nest, Place, Scope
from .index import ZERO, At, Shape

_REDUCE = {"window_sum": "add", "window_max": "max", "window_min": "min"}


@dataclass(frozen=True, slots=True)
class _Geometry:
    window: Shape
    strides: Shape
    low: Shape
    dilation: Shape
    size: Shape
    """The sizes of the array under the windows."""

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes along which a window has several elements."""
        return tuple(a for a, n in enumerate(self.window) if n > 1)

    def source(self, nest: Nest, out: Sequence[Value], tap: Sequence[Value]) -> tuple[tuple[Value, ...], Value]:
        """The position under element `tap` of window `out`, clamped into the array, and whether it was inside."""
        where, inside = [], []
        for o, k, s, lo, d, n in zip(out, tap, self.strides, self.low, self.dilation, self.size, strict=True):
            i = add(mul(o, s), mul(k, d), -lo)
            least, most = bounds(i, nest.ranges)
            if least < 0:
                inside.append(op("ge", i, ZERO))
            if most >= n:
                inside.append(op("lt", i, Const(n, INDEX)))
            i = op("max", i, ZERO) if least < 0 else i
            where.append(op("min", i, Const(n - 1, INDEX)) if most >= n else i)
        return tuple(where), conjunction(*inside)

    def overlap(self, axis: int, windows: int) -> bool:
        """Whether two of the `windows` along an axis may touch the same element.

        Those next to each other share some, or one lies wholly in the padding: it is clamped to the element at the edge, which is
        another window's. (A window that is partly inside is the only one that reaches its edge.)
        """
        reach = (self.window[axis] - 1) * self.dilation[axis] + 1
        stride, low = self.strides[axis], self.low[axis]
        return reach > stride or low >= reach or (windows - 1) * stride - low >= self.size[axis]

    def inside(self, windows: Shape) -> bool:
        """Whether all `windows` lie in the array whole."""
        numbers = zip(self.window, self.strides, self.low, self.dilation, self.size, windows, strict=True)
        return all(lo <= 0 and (m - 1) * s - lo + (w - 1) * d < n for w, s, lo, d, n, m in numbers)

    def side_by_side(self, windows: Shape) -> bool:
        """Whether the array is windows next to each other, and at most a rest at the end of each axis that is in none."""
        numbers = zip(self.window, self.strides, self.low, self.dilation, self.size, windows, strict=True)
        return all(w == s and lo == 0 and (d == 1 or w == 1) and m * w <= n for w, s, lo, d, n, m in numbers)


def _geometry(e: Equation) -> _Geometry:
    p = e.params
    low = tuple(lo for lo, _ in p["padding"])
    return _Geometry(tuple(p["window"]), tuple(p["strides"]), low, tuple(p["dilation"]), e.inputs[0].type.shape)


def build_window_reduce(scope: Scope, e: Equation) -> None:
    """window_sum, window_max, window_min."""
    x, out = e.inputs[0], e.outputs[0]
    g, name = _geometry(e), _REDUCE[e.primitive.name]
    dtype = accumulator(x.type.dtype) if name == "add" else x.type.dtype
    place = scope.target(out)
    if out.type.size == 0:
        return
    identity = identity_of(name, dtype)
    nest = Nest(scope)
    at = nest.over(out.type.shape)

    def term(taps: tuple[Value, ...]) -> Value:
        if x.type.size == 0:
            return identity
        where, inside = g.source(nest, at.index, _full(g, taps))
        value = convert(nest.element(x, At(g.size, where)), dtype)
        return nest.let(select(nest.let(inside), nest.let(value), identity)) if inside != Const(True, BOOL) else value

    total = nest.reduce(name, dtype, [g.window[a] for a in g.axes], term, stem="w")
    nest.store(place, at, nest.let(convert(total, out.type.dtype)))
    nest.close()


def _full(g: _Geometry, taps: Sequence[Value]) -> tuple[Value, ...]:
    """The place in a window for every axis, from those of the axes that have more than one."""
    chosen = dict(zip(g.axes, taps, strict=True))
    return tuple(chosen.get(a, ZERO) for a in range(len(g.window)))


def _extremum(nest: Nest, g: _Geometry, name: str, x: Atom, out: At, also: Atom | None) -> tuple[Value, Value]:
    """The number of the place of the first extremum in a window (-1 where all is padding), and the element of `also` there."""
    dtype, number = x.type.dtype, dtypes.int32
    extents = [g.window[a] for a in g.axes]
    whole = g.inside(out.shape)
    # What no element is better than has the first one's number; an element of padding may have to be the first.
    start: list[Value] = [identity_of(name, dtype) if whole else const(0, dtype), Const(0 if whole else -1, number)]
    if also is not None:
        first, _ = g.source(nest, out.index, _full(g, (ZERO,) * len(extents)))
        start.append(nest.element(also, At(g.size, first)) if whole else const(0, also.type.dtype))

    def step(taps: tuple[Value, ...], state: list[Value]) -> list[Value]:
        where, inside = g.source(nest, out.index, _full(g, taps))
        value, best, at = nest.element(x, At(g.size, where)), state[0], state[1]
        take = op("gt" if name == "max" else "lt", value, best)
        if dtypes.is_float(dtype):  # or NaN, the first of them
            take = op("and", op("not", op("le" if name == "max" else "ge", value, best)), op("eq", best, best))
        if not whole:
            take = op("and", op("or", take, op("lt", at, Const(0, number))), nest.let(inside))
        take = nest.let(take, "take")
        new = [value, convert(flatten(taps, extents), number)]
        if also is not None:
            new.append(nest.element(also, At(g.size, where)))
        return [nest.let(select(take, n, s)) for n, s in zip(new, state, strict=True)]

    def level(k: int, taps: tuple[Value, ...], state: list[Value]) -> list[Value]:
        if k == len(extents):
            return step(taps, state)
        i = nest.loop(extents[k], "serial", "w")
        variables = [nest.carry(s.dtype) for s in state]
        new = level(k + 1, (*taps, i), list(variables))
        results = [_result(nest, s.dtype) for s in state]
        nest.end([Carry(v, s, n, r) for v, s, n, r in zip(variables, state, new, results, strict=True)])
        return list(results)

    state = level(0, (), start)
    return state[1], state[2] if also is not None else ZERO


def _result(nest: Nest, dtype: dtypes.DType) -> Var:
    """A new variable for a loop's result."""
    return nest.unit.var("s", dtype)


def build_window_select(scope: Scope, e: Equation) -> None:
    """window_select: the element of `t` at the first extremum of each window of `x`."""
    x, t = e.inputs
    out, g = e.outputs[0], _geometry(e)
    place = scope.target(out)
    if out.type.size == 0:
        return
    nest = Nest(scope)
    at = nest.over(out.type.shape)
    value: Value = const(0, out.type.dtype)
    if x.type.size:
        value = _extremum(nest, g, e.params["op"], x, at, t)[1]
    nest.store(place, at, value)
    nest.close()


def build_window_scatter(scope: Scope, e: Equation) -> None:
    """window_scatter: zeros, with each `ct` added where its window of `x` has its first extremum.

    Windows side by side write all that is theirs. Others add to zeros: those that overlap are walked in order; axes without windows,
    and windows that do not overlap, are independent.
    """
    ct = e.inputs[1]
    out, g = e.outputs[0], _geometry(e)
    if out.type.size and ct.type.size and g.side_by_side(ct.type.shape):
        _put_at_extrema(scope, e, scope.target(out), g)
        return
    wide = accumulator(out.type.dtype)
    place = scope.target(out) if wide == out.type.dtype else Place(scope.temporary(wide, out.type.shape, "wide"))
    if out.type.size == 0:
        return
    zero = Nest(scope)
    everywhere = zero.over(out.type.shape)
    zero.store(place, everywhere, const(0, wide))
    zero.close()
    if ct.type.size:
        _add_at_extrema(scope, e, place, g)
    if wide != out.type.dtype:
        nest = Nest(scope)
        at = nest.over(out.type.shape)
        nest.store(scope.target(out), at, nest.let(convert(nest.let(place.load(at)), out.type.dtype)))
        nest.close()


def _put_at_extrema(scope: Scope, e: Equation, place: Place, g: _Geometry) -> None:
    """Every element of the array once: in a window the cotangent or 0, in the rest 0."""
    x, ct = e.inputs
    dtype = e.outputs[0].type.dtype
    nest = Nest(scope)
    at = nest.over(ct.type.shape)
    found, _ = _extremum(nest, g, e.params["op"], x, at, None)
    value = nest.element(ct, at)
    taps = tuple(nest.loop(g.window[a], "serial", "w") for a in g.axes)
    number = convert(flatten(taps, [g.window[a] for a in g.axes]), dtypes.int32)
    where, _ = g.source(nest, at.index, _full(g, taps))
    nest.store(place, At(g.size, where), nest.let(select(nest.let(op("eq", found, number)), value, const(0, dtype))))
    nest.close()
    covered = [m * w for m, w in zip(ct.type.shape, g.window, strict=True)]
    for axis, (m, n) in enumerate(zip(covered, g.size, strict=True)):
        sizes = (*covered[:axis], n - m, *g.size[axis + 1 :])
        if 0 in sizes:
            continue
        nest = Nest(scope)
        at = nest.over(sizes)
        moved = tuple(add(i, m) if a == axis else i for a, i in enumerate(at.index))
        nest.store(place, At(g.size, moved), const(0, dtype))
        nest.close()


def _add_at_extrema(scope: Scope, e: Equation, place: Place, g: _Geometry) -> None:
    x, ct = e.inputs
    nest = Nest(scope)
    kinds: list[Kind] = ["serial" if g.overlap(a, ct.type.shape[a]) else "parallel" for a in range(x.type.ndim)]
    at = At(ct.type.shape, tuple(nest.loop(n, kind) for n, kind in zip(ct.type.shape, kinds, strict=True)))
    found, _ = _extremum(nest, g, e.params["op"], x, at, None)
    value = nest.let(convert(nest.element(ct, at), place.buffer.dtype))
    taps = tuple(nest.loop(g.window[a], "serial", "w") for a in g.axes)
    extents = [g.window[a] for a in g.axes]
    where, inside = g.source(nest, at.index, _full(g, taps))
    # No branch, which a vector loop could not hold: outside the array, 0 is added to the element at its edge.
    here = nest.let(op("and", op("eq", found, convert(flatten(taps, extents), dtypes.int32)), nest.let(inside)))
    target = At(g.size, where)
    nest.store(place, target, op("add", place.load(target), select(here, value, const(0, place.buffer.dtype))))
    nest.close()
