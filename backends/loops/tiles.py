"""Tile kernels: the named loop nests that targets may know better ways to run, each defined here in plain loop IR.

A `Call` names a kernel and gives it windows (`Ref`) of buffers.  `TILES[name].body(call)` is what the call means.  The interpreter
runs it, an emitter without a better form inlines it, and tests hold the better forms to it.

========================= ======================================= ==========================================================
kernel                    outputs ← inputs                        meaning
========================= ======================================= ==========================================================
matmul                    C[M,N] ← A[M,K], B[K,N]                 C (+)= A · B; any strides
conv                      Y[R,Q..,O] ← X[H,W..,C], F[K..,C/g,O]   rows row0.. of the convolution of one image
conv_input_grad           X[R,W..,C] ← Y[P,Q..,O], F[K..,C/g,O]   rows row0.. of its transpose in X
conv_filter_grad          F[K..,C/g,O] ← X[n,H,W..,C], Y[n,P..,O] its transpose in F, (+)= over n images
transpose                 Y[..] ← X[..]                           a copy between windows of one shape
running                   Y[m,n] ← X[m,n], S[m]                   running totals along rows by `op`, that start from S
sort                      k windows ← k windows of one length     stable ascending sort by the first `num_keys` of them
lapack                    windows ← the same windows, and others  the routine of a library, which changes the outputs in place
========================= ======================================= ==========================================================

Attributes: `accumulate` (matmul, conv_filter_grad) adds to the output instead of overwriting it; convolutions have `strides`,
`padding` ((low, high), ..), `lhs_dilation`, `rhs_dilation` (one entry for each spatial axis) and `groups`; the gradients
have those of the convolution that they belong to.  A convolution relates positions along each axis by ::

    output * stride + tap * rhs_dilation - padding_low == input * lhs_dilation

`sort` has windows of one row [n], or of several [m, n], which are sorted each by itself; outputs of fewer elements hold the first ones.
It has `num_keys`, `plain` where no element is NaN or -0, and, where the length of a row is not known, the `most` that it can be
and `about` what it will be.  `running` has `op` (add, mul, max or min) and `reverse`; totals of a row may be regrouped.

`lapack` has `routine`, `arguments` (see `fdl.backends.lapack`) and `flops`, an estimate.  Only CPUs run it, and the interpreter,
which calls the same function.

float16 and bfloat16 products accumulate in float32.  In a sort NaN comes last, and -0 equals +0.

May be imported by: emitters, the interpreter, lowering.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fdl.backends import lapack
from fdl.tracer.dtypes import DType, bfloat16, float16, float32, is_inexact
from fdl.tracer.records import dataclass

from .build import Block, add, conjunction, const, convert, flat, floordiv, index, load, loops, mul, op, select, store, sub, var
from .ir import Alloc, Buffer, Call, Carry, Const, For, Kind, Let, Load, Op, Ref, Stmt, Store, Value, Var


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile kernel: `body(call)` is the call in plain loop IR.

    A library's routine has no body; `foreign(call, arrays)` runs it instead, on arrays for the call's inputs, of which the first
    are its outputs, and changes these.
    """

    name: str
    body: Callable[[Call], tuple[Stmt, ...]]
    foreign: Callable[[Call, list[Any]], None] | None = None


def _place(ref: Ref, position: Sequence[int | Value]) -> Value:
    """The flat index of an element of a window."""
    return add(ref.offset, *(mul(i, stride) for i, stride in zip(position, ref.strides, strict=True)))


def _get(ref: Ref, position: Sequence[int | Value]) -> Load:
    return load(flat(ref.buffer), _place(ref, position))


def _put(ref: Ref, position: Sequence[int | Value], value: Value) -> Store:
    return store(flat(ref.buffer), (_place(ref, position),), value)


def _sum_dtype(dtype: DType) -> DType:
    """What products of `dtype` accumulate in."""
    return float32 if dtype in (float16, bfloat16) else dtype


def _attr(call: Call, name: str, default: object = None) -> object:
    return dict(call.attrs).get(name, default)


# --- matmul -----------------------------------------------------------------------------------------


def _matmul(call: Call) -> Block:
    (c,), (a, b) = call.outputs, call.inputs
    dtype = _sum_dtype(c.buffer.dtype)
    i, j, k = var("row"), var("col"), var("depth")
    start = convert(_get(c, (i, j)), dtype) if _attr(call, "accumulate", False) else const(0, dtype)
    if len(b.shape) == 3:  # packed in panels of columns
        width = b.shape[2]
        right = _get(b, (op("div", j, width), k, op("rem", j, width)))
    else:
        right = _get(b, (k, j))
    product = op("mul", convert(_get(a, (i, k)), dtype), convert(right, dtype))
    total, block = _summed([(k, a.shape[1], (), "serial")], product, start)
    block = (*block, _put(c, (i, j), convert(total, c.buffer.dtype)))
    # Vectors run along the axis that is contiguous in C.
    if c.strides[0] == 1 and c.strides[1] != 1:
        return loops((j, i), (c.shape[1], c.shape[0]), block, ("serial", "vector"))
    return loops((i, j), (c.shape[0], c.shape[1]), block, ("serial", "vector"))


def _summed(axes: Sequence[tuple[Var, Value, Block, Kind]], term: Value, start: Value) -> tuple[Value, Block]:
    """(the sum of `term` over nested loops plus `start`, the block that computes it).

    An axis is (variable, extent, what its loop's body begins with, kind).
    """
    dtype = term.dtype
    level = len(axes)
    (variable, extent, prelude, kind), inner = axes[0], axes[1:]
    before, after = var(f"sum{level}", dtype), var(f"total{level}", dtype)
    if inner:
        following, body = _summed(inner, term, before)
        carry = Carry(before, start, following, after)
    else:
        body = ()
        carry = Carry(before, start, Op("add", (before, term), dtype), after, "add")
    return after, (For(variable, extent, (*prelude, *body), kind, (carry,)),)


# --- convolutions -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Window:
    """The geometry of a convolution: one entry of each tuple for a spatial axis."""

    strides: tuple[int, ...]
    low: tuple[int, ...]
    lhs_dilation: tuple[int, ...]
    rhs_dilation: tuple[int, ...]
    groups: int


def _window(call: Call) -> _Window:
    attrs = dict(call.attrs)
    low = tuple(int(lo) for lo, _ in attrs["padding"])  # type: ignore[attr-defined]
    ones = (1,) * len(low)
    return _Window(
        tuple(attrs.get("strides", ones)), low,  # type: ignore[arg-type]
        tuple(attrs.get("lhs_dilation", ones)), tuple(attrs.get("rhs_dilation", ones)),  # type: ignore[arg-type]
        int(attrs.get("groups", 1)),  # type: ignore[call-overload]
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Meeting:
    """The positions p of one axis whose partner `(base + step * p) / divisor` is a whole number in [0, size).

    `lets` come before the loop over `extent` positions; in the loop, `position` and `partner` are the pair, and `valid` says
    whether the division is exact (always in bounds, even where it is not).
    """

    variable: Var
    lets: Block
    extent: Value
    position: Value
    partner: Value
    valid: Value


def _meeting(name: str, count: Value, base: Value, step: int, divisor: int, size: Value) -> _Meeting:
    """The `_Meeting` of an axis with `count` positions; `step` is not 0."""
    last = mul(sub(size, 1), divisor)  # the largest value of base + step * p
    if step > 0:
        first, end = floordiv(add(sub(0, base), step - 1), step), add(floordiv(sub(last, base), step), 1)
    else:
        first, end = floordiv(add(sub(base, last), -step - 1), -step), add(floordiv(base, -step), 1)
    start, extent = var(f"{name}_start"), var(f"{name}_extent")
    variable = var(name)
    position = add(start, variable)
    value = add(base, mul(step, position))
    # The value is not negative here, so truncating division rounds down.
    partner = value if divisor == 1 else Op("div", (value, index(divisor)), value.dtype)
    exact = op("eq", Op("rem", (value, index(divisor)), value.dtype), index(0)) if divisor > 1 else conjunction()
    lets = (
        Let(start, op("max", first, index(0))),
        Let(extent, op("max", sub(op("min", end, count), start), index(0))),
    )
    return _Meeting(variable, lets, extent, position, partner, exact)


def _axes(meetings: Sequence[_Meeting]) -> list[tuple[Var, Value, Block, Kind]]:
    """Axes for `_summed`: the lets of each loop stand in the body of the one around it. The first one's are the caller's."""
    inner_lets = [*(m.lets for m in meetings[1:]), ()]
    return [(m.variable, m.extent, lets, "serial") for m, lets in zip(meetings, inner_lets, strict=True)]


def _term(meetings: Sequence[_Meeting], x: Load, y: Load) -> Value:
    """x * y where all pairs are exact, else 0; in the accumulator's dtype."""
    dtype = _sum_dtype(x.dtype)
    product = op("mul", convert(x, dtype), convert(y, dtype))
    return select(conjunction(*(m.valid for m in meetings)), product, const(0, dtype))


def _lane_loops(groups: int, each: Value, group: Var, member: Var, body: Block) -> Block:
    """`body` for each channel member of each group, vectors along whichever axis is longer."""
    if groups > 1 and isinstance(each, Const) and each.value < 8:
        return loops((member, group), (each, groups), body, ("serial", "vector"))
    return loops((group, member), (groups, each), body, ("serial", "vector"))


def _conv(call: Call) -> Block:
    (y,), (x, f) = call.outputs, call.inputs
    w, spatial = _window(call), len(x.shape) - 1
    out = [var(f"out{d}") for d in range(spatial)]
    rows = [add(out[0], call.scalars[0]), *out[1:]]
    taps = [
        _meeting(
            f"tap{d}", f.shape[d], sub(mul(rows[d], w.strides[d]), w.low[d]), w.rhs_dilation[d], w.lhs_dilation[d], x.shape[d]
        )
        for d in range(spatial)
    ]
    group, feature, channel = var("group"), var("feature"), var("channel")
    per_group, depth = _divided(f.shape[-1], w.groups), f.shape[-2]
    o = add(mul(group, per_group), feature)
    term = _term(
        taps,
        _get(x, [*(t.partner for t in taps), add(mul(group, depth), channel)]),
        _get(f, [*(t.position for t in taps), channel, o]),
    )
    total, block = _summed([*_axes(taps), (channel, depth, (), "serial")], term, const(0, term.dtype))
    body = (*taps[0].lets, *block, _put(y, (*out, o), convert(total, y.buffer.dtype)))
    return loops(out, y.shape[:-1], _lane_loops(w.groups, per_group, group, feature, body))


def _conv_input_grad(call: Call) -> Block:
    (x,), (y, f) = call.outputs, call.inputs
    w, spatial = _window(call), len(x.shape) - 1
    into = [var(f"in{d}") for d in range(spatial)]
    rows = [add(into[0], call.scalars[0]), *into[1:]]
    taps = [
        _meeting(
            f"tap{d}", f.shape[d], add(mul(rows[d], w.lhs_dilation[d]), w.low[d]), -w.rhs_dilation[d], w.strides[d], y.shape[d]
        )
        for d in range(spatial)
    ]
    group, feature, channel = var("group"), var("feature"), var("channel")
    per_group, depth = _divided(f.shape[-1], w.groups), f.shape[-2]
    o = add(mul(group, per_group), feature)
    term = _term(
        taps,
        _get(y, [*(t.partner for t in taps), o]),
        _get(f, [*(t.position for t in taps), channel, o]),
    )
    # With many channels in a group the sum itself is the vector loop: features are what is contiguous in both operands.
    narrow = isinstance(per_group, Const) and per_group.value < 8
    kind: Kind = "serial" if narrow else "vector"
    total, block = _summed([*_axes(taps), (feature, per_group, (), kind)], term, const(0, term.dtype))
    place = add(mul(group, depth), channel)
    body = (*taps[0].lets, *block, _put(x, (*into, place), convert(total, x.buffer.dtype)))
    if narrow:
        return loops(into, x.shape[:-1], _lane_loops(w.groups, depth, group, channel, body))
    return loops((*into, group, channel), (*x.shape[:-1], w.groups, depth), body)


def _conv_filter_grad(call: Call) -> Block:
    (f,), (x, y) = call.outputs, call.inputs
    w, spatial = _window(call), len(x.shape) - 2
    taps = [var(f"tap{d}") for d in range(spatial)]
    pixels = [
        _meeting(
            f"out{d}", y.shape[d + 1], sub(mul(taps[d], w.rhs_dilation[d]), w.low[d]), w.strides[d], w.lhs_dilation[d],
            x.shape[d + 1],
        )
        for d in range(spatial)
    ]  # fmt: skip
    image, group, feature, channel = var("image"), var("group"), var("feature"), var("channel")
    per_group, depth = _divided(f.shape[-1], w.groups), f.shape[-2]
    o = add(mul(group, per_group), feature)
    term = _term(
        pixels,
        _get(x, [image, *(p.partner for p in pixels), add(mul(group, depth), channel)]),
        _get(y, [image, *(p.position for p in pixels), o]),
    )
    place = (*taps, channel, o)
    start = convert(_get(f, place), term.dtype) if _attr(call, "accumulate", False) else const(0, term.dtype)
    total, block = _summed([(image, x.shape[0], pixels[0].lets, "serial"), *_axes(pixels)], term, start)
    body = (*block, _put(f, place, convert(total, f.buffer.dtype)))
    return loops((*taps, channel), f.shape[:-1], _lane_loops(w.groups, per_group, group, feature, body))


def _divided(size: Value, parts: int) -> Value:
    return floordiv(size, parts)


# --- transpose --------------------------------------------------------------------------------------


def _transpose(call: Call) -> Block:
    (y,), (x,) = call.outputs, call.inputs
    position = [var(f"axis{d}") for d in range(len(y.shape))]
    copy = (_put(y, position, _get(x, position)),)
    kinds: list[Kind] = ["serial"] * len(position)
    kinds[-1:] = ["vector"] if position else []
    return loops(position, y.shape, copy, kinds)


# --- sort -------------------------------------------------------------------------------------------


def _precedes(a: Sequence[Value], b: Sequence[Value]) -> Value:
    """Whether the keys `a` come strictly before `b`: lexicographic, NaN last and equal to NaN."""
    result: Value = const(False, op("eq", a[0], b[0]).dtype)
    for x, y in reversed(list(zip(a, b, strict=True))):
        before, after = op("lt", x, y), op("lt", y, x)
        if is_inexact(x.dtype):
            before = op("or", before, op("and", op("eq", x, x), op("ne", y, y)))
            after = op("or", after, op("and", op("eq", y, y), op("ne", x, x)))
        result = op("or", before, op("and", op("not", after), result))
    return result


def _sort(call: Call) -> Block:
    """Bottom-up merging: an element's place is its place in its own run plus how many of the sibling run precede it.

    Each pass goes from one set of windows to the other, so the elements of a pass are independent of each other.
    """
    if len(call.inputs[0].shape) == 1:
        return _sort_row(call.outputs, call.inputs, call)
    row = var("row")

    def one(r: Ref) -> Ref:
        return Ref(r.buffer, add(r.offset, mul(row, r.strides[0])), r.shape[1:], r.strides[1:])

    return loops((row,), call.inputs[0].shape[:1], _sort_row(tuple(map(one, call.outputs)), tuple(map(one, call.inputs)), call))


def _sort_row(outputs: tuple[Ref, ...], inputs: tuple[Ref, ...], call: Call) -> Block:
    (length,), (kept,) = inputs[0].shape, outputs[0].shape
    most = _attr(call, "most", int(length.value) if isinstance(length, Const) else None)
    if not isinstance(most, int):
        raise TypeError("`sort` needs a constant length or the attribute `most`: its scratch is as long as a row")
    num_keys = int(_attr(call, "num_keys", 1))  # type: ignore[call-overload]

    def scratch(stem: str) -> tuple[Ref, ...]:
        shape = (max(most, 1),)
        return tuple(
            Ref(Buffer(f"{stem}{i}", r.buffer.dtype, shape, "local"), index(0), (length,), (1,)) for i, r in enumerate(inputs)
        )

    here, there = scratch("merged"), outputs if kept == length else scratch("other")
    block: Block = tuple(Alloc(r.buffer) for r in (here if there is outputs else (*here, *there)))
    i = var("copied")
    # After an odd number of passes what is sorted is in the other place: end in the outputs, or near them.
    widths = [1 << p for p in range(max(most - 1, 0).bit_length())]
    current, other = (there, here) if len(widths) % 2 == 0 else (here, there)
    copies = tuple(_put(to, (i,), _get(source, (i,))) for to, source in zip(current, inputs, strict=True) if to != source)
    if copies:
        block += loops((i,), (length,), copies, "vector")
    for width in widths:
        block += _merge_pass(current, other, length, width, num_keys)
        current, other = other, current
    if current is outputs:
        return block
    i = var("kept")
    return block + loops(
        (i,), (kept,), tuple(_put(to, (i,), _get(r, (i,))) for to, r in zip(outputs, current, strict=True)), "vector"
    )


def _merge_pass(source: Sequence[Ref], to: Sequence[Ref], n: Value, width: int, num_keys: int) -> Block:
    """Merge each pair of sorted runs of `width` elements of `source` into a run of `to`."""
    i, low, high, step = var(f"element{width}"), var(f"low{width}"), var(f"high{width}"), var(f"step{width}")
    first = mul(floordiv(i, width), width)  # of the element's own run
    on_left = op("eq", op("rem", floordiv(i, width), index(2)), index(0))
    sibling = select(on_left, add(first, width), sub(first, width))
    start, stop = op("min", sibling, n), op("min", add(sibling, width), n)
    keys = [_get(r, (i,)) for r in source[:num_keys]]
    middle = Op("div", (add(low, high), index(2)), low.dtype)
    probe = [_get(r, (op("min", middle, sub(n, 1)),)) for r in source[:num_keys]]
    # Ties go to the left run: an element of the right one has the equal elements of the left one before it.
    goes = select(on_left, _precedes(probe, keys), op("not", _precedes(keys, probe)))
    searching = op("lt", low, high)
    found, ended = var(f"found{width}"), var(f"ended{width}")
    search = For(
        step, index(width.bit_length()), (), "serial",
        (
            Carry(low, start, select(op("and", searching, goes), add(middle, 1), low), found),
            Carry(high, stop, select(op("and", searching, op("not", goes)), middle, high), ended),
        ),
    )  # fmt: skip
    # On the left: first + (i - first) + (found - start of the right run). On the right: the same, from the left run's start.
    place = select(on_left, sub(add(i, found), start), add(sub(i, first), found))
    return (For(i, n, (search, *(_put(t, (place,), _get(s, (i,))) for t, s in zip(to, source, strict=True)))),)


# --- running totals ---------------------------------------------------------------------------------


def _running(call: Call) -> Block:
    """Y[i, k] = op(.., op(op(S[i], X[i, 0]), X[i, 1]) .., X[i, k]); with `reverse` from the end of the row."""
    (y,), (x, first) = call.outputs, call.inputs
    dtype, (rows, n) = y.buffer.dtype, x.shape
    i, step = var("row"), var("step")
    k = sub(sub(n, 1), step) if _attr(call, "reverse") else step
    before, here, after = var("before", dtype), var("here", dtype), var("after", dtype)
    total = op(str(_attr(call, "op")), before, _get(x, (i, k)))
    row = For(step, n, (Let(here, total), _put(y, (i, k), here)), "serial", (Carry(before, _get(first, (i,)), here, after),))
    return loops((i,), (rows,), (row,))


def _lapack_body(call: Call) -> tuple[Stmt, ...]:
    raise AssertionError(f"{dict(call.attrs)['routine']} is a library's routine: it has no definition in loops")


def _lapack(call: Call, arrays: list[Any]) -> None:
    attrs: dict[str, Any] = dict(call.attrs)
    lapack.call(attrs["routine"], attrs["arguments"], arrays)


TILES: dict[str, Tile] = {
    name: Tile(name, body)
    for name, body in {
        "matmul": _matmul,
        "conv": _conv,
        "conv_input_grad": _conv_input_grad,
        "conv_filter_grad": _conv_filter_grad,
        "transpose": _transpose,
        "running": _running,
        "sort": _sort,
    }.items()
} | {"lapack": Tile("lapack", _lapack_body, _lapack)}
"""Every tile kernel by name."""
