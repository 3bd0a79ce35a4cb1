"""Entries of shapes, reductions, windows, indexing, sorting, random bits, contractions and convolutions."""

from __future__ import annotations

import functools
import math
from typing import Any

from fdl.tracer import dtypes
from fdl.tracer.ops import barrier, collectives, contract, convolve, index, order, random, reduce, window
from fdl.tracer.ops import shape as shapes
from fdl.tracer.primitive import lookup
from fdl.tracer.trace import bind
from fdl.transforms import vmap

from .building import Builder, Rejected, Value
from .entry import ENTRIES, entry
from .values import LARGEST, draw_dtype, draw_shape, kind

MOST = 4 * LARGEST
"""Elements of a result."""


def _fits(shape: tuple[int, ...], b: Builder) -> None:
    if math.prod(shape) > (300_000 if b.profile.large else MOST):
        raise Rejected(f"a result of shape {shape}")


# --- shapes ---------------------------------------------------------------------------------------


@entry("broadcast", large=True)
def broadcast(b: Builder) -> list[Value]:
    v = b.any(rank=(0, 4))
    shape: list[int] = []
    axes: list[int] = []
    for n in v.shape:
        while len(shape) < 5 and b.c.chance(25):
            shape.append(b.c.pick((1, 2, 3)))
        axes.append(len(shape))
        shape.append(b.c.pick((2, 3, 5)) if n == 1 and b.c.chance(60) else n)
    if v.ndim < 2 or b.c.chance(20):
        shape.append(b.c.pick((1, 2, 3, *b.profile.sizes)))
    _fits(tuple(shape), b)
    return b.emit(lambda x: shapes.broadcast(x, shape, axes), v)


@entry("reshape", large=True)
def reshape(b: Builder) -> list[Value]:
    v = b.any()
    factors = [n for n in v.shape for n in _primes(n)] if v.size else list(v.shape)
    shape: list[int] = []
    for i in b.c.permutation(len(factors)) if len(factors) < 9 else range(len(factors)):
        if shape and b.c.chance(50):
            shape[-1] *= factors[i]
        else:
            shape.append(factors[i])
    while len(shape) > 4:
        shape[-2:] = [shape[-2] * shape[-1]]
    if len(shape) < 4 and b.c.chance(25):
        shape.insert(b.c.integer(0, len(shape)), 1)
    return b.emit(lambda x: shapes.reshape(x, shape), v)


def _primes(n: int) -> list[int]:
    found, p = [], 2
    while n > 1 and p * p <= n:
        while n % p == 0:
            found.append(p)
            n //= p
        p += 1
    return [*found, n] if n > 1 else found


@entry("transpose", weight=6, large=True)
def transpose(b: Builder) -> list[Value]:
    v = b.any(rank=(1, 5))
    permutation = b.c.permutation(v.ndim)
    return b.emit(lambda x: shapes.transpose(x, permutation), v)


@entry("flip", large=True)
def flip(b: Builder) -> list[Value]:
    v = b.any(rank=(1, 5))
    axes = b.c.subset(v.ndim) or (0,)
    return b.emit(lambda x: shapes.flip(x, axes), v)


@entry("slice", weight=5, large=True)
def slice_(b: Builder) -> list[Value]:
    v = b.any(rank=(1, 5))
    start, limit, stride = [], [], []
    for n in v.shape:
        whole = b.c.chance(50)
        low = 0 if whole else b.c.integer(0, n)
        start.append(low)
        limit.append(n if whole else b.c.integer(low, n) if b.c.chance(20) else n)
        stride.append(b.c.pick((1, 1, 1, 2, 3)))
    return b.emit(lambda x: shapes.slice(x, start, limit, stride), v)


@entry("pad", large=True)
def pad(b: Builder) -> list[Value]:
    v = b.any(rank=(1, 4))
    config = []
    for n in v.shape:
        low, high, interior = (b.c.pick((0, 0, 1, 2, -1)), b.c.pick((0, 0, 1, 3, -1)), b.c.pick((0, 0, 0, 1, 2)))
        if low + high + n + max(n - 1, 0) * interior < 0:
            low = high = 0
        config.append((low, high, interior if v.size < 5000 else 0))
    fill = b.operand((), v.dtype)
    return b.emit(lambda x, f: shapes.pad(x, f, config), v, fill)


@entry("concatenate", large=True)
def concatenate(b: Builder) -> list[Value]:
    v = b.any(rank=(1, 4))
    axis = b.c.integer(0, v.ndim - 1)
    parts = [v]
    for _ in range(b.c.integer(0, 2)):
        n = v.shape[axis] if b.c.chance(50) else b.c.pick((0, 1, 2, 3))
        parts.append(b.operand((*v.shape[:axis], n, *v.shape[axis + 1 :]), v.dtype))
    _fits((sum(p.size for p in parts),), b)
    turned = [parts[i] for i in b.c.permutation(len(parts))]
    return b.emit(lambda *xs: shapes.concatenate(xs, axis), *turned)


@entry("iota", weight=2, large=True)
def iota(b: Builder) -> list[Value]:
    shape = draw_shape(b.c, b.profile, b.c.integer(1, 3))
    axis, dtype = b.c.integer(0, len(shape) - 1), draw_dtype(b.c, b.profile, "ifc")
    return [b.tamed(v) for v in b.emit(lambda: shapes.iota(shape, dtype, axis))]


@entry("barrier", weight=1)
def fence(b: Builder) -> list[Value]:
    values = [b.any() for _ in range(b.c.integer(1, 3))]
    return b.emit(lambda *xs: barrier.barrier(xs), *values)


@entry("name", weight=1)
def name(b: Builder) -> list[Value]:
    return b.emit(lambda x: barrier.named(x, b.c.pick(("kept", "hidden"))), b.any())


# --- reductions -----------------------------------------------------------------------------------


def _reduction(b: Builder, what: str) -> list[Value]:
    v = b.any("b" if what.endswith(("and", "or")) else "bif" if what.endswith(("max", "min")) else "ifc")
    if what == "reduce_prod":
        v = b.within(v, 0.4, 1.3) if b.c.chance(80) else v
    axes = b.c.subset(v.ndim)
    return [b.tamed(x) for x in b.emit(lambda x: getattr(reduce, what)(x, axes), v)]


for _name in ("reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "reduce_and", "reduce_or"):
    _weight = {"reduce_sum": 7, "reduce_max": 4}.get(_name, 3)
    ENTRIES[_name] = entry(_name, functools.partial(_reduction, what=_name), weight=_weight, large=True)


def _cumulative(b: Builder, what: str) -> list[Value]:
    v = b.any("if" if what in ("cummax", "cummin") else "ifc", rank=(1, 4))
    if what == "cumprod":
        v = b.within(v, 0.5, 1.2)
    axis, reverse = b.c.integer(0, v.ndim - 1), bool(b.c.integer(0, 1))
    return [b.tamed(x) for x in b.emit(lambda x: getattr(reduce, what)(x, axis, reverse), v)]


for _name in ("cumsum", "cumprod", "cummax", "cummin"):
    ENTRIES[_name] = entry(_name, functools.partial(_cumulative, what=_name), weight=3, large=True)


def _extremum(b: Builder, what: str) -> list[Value]:
    v = b.any("bif", rank=(1, 4))
    axis, dtype = b.c.integer(0, v.ndim - 1), b.c.pick((dtypes.int32, dtypes.int32, dtypes.int64))
    return b.emit(lambda x: getattr(reduce, what)(x, axis, dtype), v)


for _name in ("argmax", "argmin"):
    ENTRIES[_name] = entry(_name, functools.partial(_extremum, what=_name), weight=3, large=True)


def _window(b: Builder, what: str) -> list[Value]:
    v = b.any("ifc" if what == "window_sum" else "if", rank=(1, 4), size=LARGEST)
    params: dict[str, Any] = {
        "window": tuple(b.c.pick((1, 2, 3)) for _ in v.shape),
        "strides": tuple(b.c.pick((1, 1, 2)) for _ in v.shape),
        "padding": tuple(b.c.pick(((0, 0), (0, 0), (1, 1), (0, 1), (2, -1))) for _ in v.shape),
        "dilation": tuple(b.c.pick((1, 1, 1, 2)) for _ in v.shape),
    }
    out = window.window_out_shape(v.shape, **params)
    _fits(out, b)
    if what in ("window_select", "window_scatter"):
        t = b.operand(v.shape if what == "window_select" else out, v.dtype)
        op = b.c.pick(("max", "min"))
        return b.emit(lambda x, t: getattr(window, what)(x, t, op=op, **params), v, t)
    # A window of padding only has the largest float of all: fine, but not tame.
    return [b.tamed(x) for x in b.emit(lambda x: getattr(window, what)(x, **params), v)]


for _name in ("window_sum", "window_max", "window_min", "window_select", "window_scatter"):
    ENTRIES[_name] = entry(_name, functools.partial(_window, what=_name), weight=2)


# --- indexing and order ---------------------------------------------------------------------------


def _axes(b: Builder, v: Value) -> tuple[int, ...]:
    return b.c.subset(v.ndim) or (b.c.integer(0, v.ndim - 1),)


@entry("gather", weight=5)
def gather(b: Builder) -> list[Value]:
    v = b.any(rank=(1, 4), size=LARGEST)
    axes, mode = _axes(b, v), b.c.pick(("raise", "raise", "clip", "fill"))
    if mode == "clip" and 0 in v.shape:
        mode = "fill"
    i = b.indices(draw_shape(b.c, b.profile, b.c.integer(0, 2)), [v.shape[a] for a in axes], mode)
    _fits((*i.shape, *(n for k, n in enumerate(v.shape) if k not in axes)), b)
    fill = b.c.pick((0, 1, 3))
    return b.emit(lambda x, i: index.gather(x, i, axes=axes, mode=mode, fill=fill), v, i)


@entry("scatter", weight=5)
def scatter(b: Builder) -> list[Value]:
    v = b.any(rank=(1, 4), size=LARGEST)
    axes, mode = _axes(b, v), b.c.pick(("raise", "clip", "drop"))
    if mode == "clip" and 0 in v.shape:
        mode = "drop"
    ops = {"b": ("set",), "c": ("set", "add", "mul")}.get(kind(v.dtype), ("set", "add", "add", "mul", "min", "max"))
    op = b.c.pick(ops)
    i = b.indices(draw_shape(b.c, b.profile, b.c.integer(0, 2)), [v.shape[a] for a in axes], mode)
    updates = (*i.shape[:-1], *(n for k, n in enumerate(v.shape) if k not in axes))
    _fits(updates, b)
    u = b.operand(updates, v.dtype)
    if op == "mul":
        u = b.within(u, 0.5, 1.2)
    return [b.tamed(x) for x in b.emit(lambda x, i, u: index.scatter(x, i, u, axes=axes, mode=mode, op=op), v, i, u)]


def _starts(b: Builder, n: int) -> list[Value]:
    found = []
    for _ in range(n):
        scalars = [v for v in b.pool if v.shape == () and kind(v.dtype) == "i"]
        if scalars and b.c.chance(40):
            found.append(b.c.pick(scalars))
        else:
            found.append(b.literal(b.c.integer(-2, 6), b.c.pick((dtypes.int32, dtypes.int64))))
    return found


@entry("dynamic_slice", weight=3, large=True)
def dynamic_slice(b: Builder) -> list[Value]:
    v = b.any(rank=(1, 4))
    sizes = tuple(n if b.c.chance(30) else b.c.integer(0 if b.c.chance(10) else min(n, 1), n) for n in v.shape)
    return b.emit(lambda x, *at: index.dynamic_slice(x, at, sizes), v, *_starts(b, v.ndim))


@entry("dynamic_update_slice", weight=3, large=True)
def dynamic_update_slice(b: Builder) -> list[Value]:
    v = b.any(rank=(1, 4))
    sizes = tuple(n if b.c.chance(30) else b.c.integer(min(n, 1), n) for n in v.shape)
    return b.emit(lambda x, u, *at: index.dynamic_update_slice(x, u, at), v, b.operand(sizes, v.dtype), *_starts(b, v.ndim))


@entry("sort", weight=3)
def sort(b: Builder) -> list[Value]:
    v = b.any("c" if b.c.chance(10) and not b.profile.wild else "bif", rank=(1, 4), size=LARGEST)
    operands = [v]
    for _ in range(b.c.weighted([(0, 5), (1, 3), (2, 1)])):
        operands.append(b.operand(v.shape, draw_dtype(b.c, b.profile)))
    keys = b.c.integer(1, min(2, len(operands))) if all(kind(o.dtype) != "c" for o in operands[:2]) else 1
    axis = b.c.integer(0, v.ndim - 1)
    return b.emit(lambda *xs: order.sort(xs, axis, keys), *operands)


@entry("random_bits", weight=2)
def random_bits(b: Builder) -> list[Value]:
    lead = () if b.c.chance(80) else (b.c.pick((1, 2, 3)),)
    key = b.operand((*lead, 2), dtypes.uint32)
    shape, width = draw_shape(b.c, b.profile, b.c.integer(0, 2)), b.c.pick((32, 8, 16, 64))
    return b.emit(lambda k: random.random_bits(k, shape, width), key)


# --- contractions ---------------------------------------------------------------------------------


@entry("dot_general", weight=6)
def dot_general(b: Builder) -> list[Value]:
    v = b.any("ifc", rank=(0, 4), size=20_000)
    free = list(range(v.ndim))
    contracted = [a for a in free if b.c.chance(45)]
    batch = [a for a in free if a not in contracted and b.c.chance(20)]
    other = [(n, "k") for n in contracted] + [(n, "b") for n in batch]
    axes: list[tuple[int, str, int]] = [(a, w, v.shape[a]) for a, w in other]
    axes += [(-1, "f", b.c.pick((1, 2, 3, *b.profile.sizes))) for _ in range(b.c.integer(0, 2))]
    axes = [axes[i] for i in b.c.permutation(len(axes))]
    shape = tuple(n for _, _, n in axes)
    _fits(shape, b)
    _fits((*(v.shape[a] for a in free if a not in contracted), *(n for _, w, n in axes if w == "f")), b)
    w = b.operand(shape, v.dtype)

    def places(which: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        found = [(a, k) for k, (a, what, _) in enumerate(axes) if what == which]
        return tuple(a for a, _ in found), tuple(k for _, k in found)

    how = places("k"), places("b")
    if b.c.chance(50):
        how = tuple((second, first) for first, second in how)  # type: ignore[assignment]
        return [b.tamed(x) for x in b.emit(lambda x, y: contract.dot_general(y, x, *how), v, w)]
    return [b.tamed(x) for x in b.emit(lambda x, y: contract.dot_general(x, y, *how), v, w)]


def _conv_params(b: Builder, spatial: tuple[int, ...]) -> dict[str, Any]:
    c = b.c
    return {
        "strides": tuple(c.pick((1, 1, 2, 3)) for _ in spatial),
        "padding": tuple(c.pick(((0, 0), (1, 1), (0, 2), (2, -1))) for _ in spatial),
        "lhs_dilation": tuple(c.pick((1, 1, 1, 2)) for _ in spatial),
        "rhs_dilation": tuple(c.pick((1, 1, 1, 2)) for _ in spatial),
        "groups": c.pick((1, 1, 1, 2)),
    }


def _conv(b: Builder, what: str) -> list[Value]:
    c = b.c
    v = b.ranked(b.any("ifc", rank=(1, 4), size=LARGEST), c.pick((3, 4, 4)))
    if what == "conv_input_grad":
        shape = (*v.shape[:-1], c.pick((2, 4)))
    else:
        shape = v.shape
    spatial = shape[1:-1]
    params = _conv_params(b, spatial)
    if shape[-1] % params["groups"]:
        params["groups"] = 1
    groups = params["groups"]
    taps = tuple(c.pick((1, 2, 3)) for _ in spatial)
    outs = groups * c.pick((1, 2, 3, 5))
    filters = (*taps, shape[-1] // groups, outs)
    rest = {k: params[k] for k in ("strides", "padding", "lhs_dilation", "rhs_dilation")}
    out = (shape[0], *convolve.conv_out_shape(spatial, taps, *rest.values()), outs)
    _fits(out, b)
    _fits(filters, b)
    if what == "conv":
        return [b.tamed(x) for x in b.emit(lambda x, f: convolve.conv(x, f, **params), v, b.operand(filters, v.dtype))]
    if what == "conv_filter_grad":
        y = b.operand(out, v.dtype)
        return [b.tamed(x) for x in b.emit(lambda x, y: convolve.conv_filter_grad(x, y, window=taps, **params), v, y)]
    y, f = b.operand(out, v.dtype), b.operand(filters, v.dtype)
    return [b.tamed(x) for x in b.emit(lambda y, f: convolve.conv_input_grad(y, f, in_spatial=spatial, **params), y, f)]


for _name in ("conv", "conv_input_grad", "conv_filter_grad"):
    # Padding times NaN is NaN in the reference; compiled code leaves padding out.
    ENTRIES[_name] = entry(_name, functools.partial(_conv, what=_name), weight=2, wild=False)


# --- across the lanes of a vmap -------------------------------------------------------------------


def _collective(b: Builder, what: str) -> list[Value]:
    """A collective in a vmap of its own: the vmap replaces it, so that it is reached by its rules alone."""
    lanes = b.c.pick((1, 2, 3))
    v = b.any("ifc", rank=(0, 2), size=LARGEST // 4)
    v = b.operand((lanes, lanes, *v.shape), v.dtype)
    perm = tuple((i, k) for i, k in enumerate(b.c.permutation(lanes)) if b.c.chance(80))

    def lane(x: Any) -> Any:
        match what:
            case "axis_index":
                return bind(lookup(what), axis="i", lanes=lanes)
            case "ppermute":
                return bind(lookup(what), x, axis="i", lanes=lanes, perm=perm)
        return bind(lookup(what), x, axis="i", lanes=lanes)

    return [b.tamed(x) for x in b.emit(lambda x: vmap(lane, axis_name="i")(x), v)]


for _name in sorted(collectives.COLLECTIVES):
    ENTRIES[_name] = entry(_name, functools.partial(_collective, what=_name), weight=1)
