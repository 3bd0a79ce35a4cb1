"""Entries that hold programs: control flow, calls, custom rules, transforms inside a program, and callbacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import fdl
from fdl.tracer import dtypes
from fdl.tracer.ir import Program, Type
from fdl.tracer.ops import elementwise as ew
from fdl.tracer.primitive import lookup
from fdl.tracer.trace import bind, record
from fdl.tracer.transforms.jvp import program_function

from .building import Builder, Rejected, Value
from .entry import ENTRIES, entry
from .growing import add, body
from .values import LARGEST, Array, kind

FLAT: dict[str, Any] = {"control": True, "weight": 3}


def _operands(b: Builder, n: int, kinds: str = "bifc", rank: tuple[int, int] = (0, 4)) -> list[Value]:
    found: list[Value] = []
    for _ in range(n):
        found.append(b.any(kinds, rank, size=LARGEST))
    return found


def _size(b: Builder) -> int:
    return b.c.integer(1, 7 if b.depth == 0 else 4)


# --- calls ----------------------------------------------------------------------------------------


def _called(b: Builder, wrap: Callable[[Callable[..., Any]], Callable[..., Any]], kinds: str = "bifc") -> list[Value]:
    """A body called through what `wrap` makes of it."""
    operands = _operands(b, b.c.integer(1, 3), kinds)
    program, _ = body(b, [v.sample for v in operands], _size(b), 2)
    return b.emit(wrap(program_function(program)), *operands)


@entry("jit", **FLAT)
def jit(b: Builder) -> list[Value]:
    return _called(b, fdl.jit)


@entry("checkpoint", **FLAT)
def checkpoint(b: Builder) -> list[Value]:
    policies = fdl.checkpoint_policies
    policy = b.c.pick(
        (None, policies.everything_saveable, policies.dots_saveable, policies.save_only_these_names("kept"))
    )  # fmt: skip
    fence = bool(b.c.integer(0, 1))
    return _called(b, lambda f: fdl.checkpoint(f, policy=policy, prevent_cse=fence))


def _with_jvp(f: Callable[..., Any]) -> Callable[..., Any]:
    def call(*xs: Any) -> list[Any]:
        return list(f(*xs))

    g = fdl.custom_jvp(call)
    g.defjvp(lambda primals, tangents: fdl.jvp(call, primals, tangents))
    return g


def _with_vjp(f: Callable[..., Any]) -> Callable[..., Any]:
    def call(*xs: Any) -> list[Any]:
        return list(f(*xs))

    def forward(*xs: Any) -> Any:
        return call(*xs), xs

    def backward(xs: Any, cts: Any) -> Any:
        return tuple(fdl.vjp(call, *xs)[1](cts))

    g = fdl.custom_vjp(call)
    g.defvjp(forward, backward)
    return g


def _reversible(program: Program) -> bool:
    return not any(e.primitive.name in IRREVERSIBLE for e in everything(program))


IRREVERSIBLE = frozenset({"while", "custom_tangent"})
"""What has no reverse mode whatever it is applied to."""


def everything(program: Program) -> list[Any]:
    """The equations of a program, those of its sub-programs included."""
    found = []
    for e in program.equations:
        found.append(e)
        for v in e.params.values():
            for p in v if isinstance(v, tuple) else (v,):
                if isinstance(p, Program):
                    found += everything(p)
    return found


@entry("custom_jvp", **FLAT)
def custom_jvp(b: Builder) -> list[Value]:
    return _called(b, _with_jvp)


@entry("custom_vjp", **FLAT)
def custom_vjp(b: Builder) -> list[Value]:
    return _called(b, _with_vjp, "f")


@entry("custom_tangent", control=True, weight=1)
def custom_tangent(b: Builder) -> list[Value]:
    """A pullback of a function with a `custom_vjp`: the linear equation is recorded, and transposed at once."""
    operands = _operands(b, b.c.integer(1, 2), "f")
    program, outs = body(b, [v.sample for v in operands], _size(b), 1)
    if not dtypes.is_inexact(outs[0].dtype) or not _reversible(program):
        raise Rejected("nothing to differentiate")
    ct = b.operand(outs[0].shape, outs[0].dtype)
    g = _with_vjp(program_function(program))
    return b.emit(lambda ct, *xs: list(fdl.vjp(lambda *xs: g(*xs)[0], *xs)[1](ct)), ct, *operands)


@entry("custom_linear_solve", control=True, weight=1)
def custom_linear_solve(b: Builder) -> list[Value]:
    v = b.any("f", rank=(0, 3), size=LARGEST)
    d = b.within(b.operand(v.shape, v.dtype), 0.5, 3)

    def run(x: Any, d: Any) -> Any:
        return fdl.custom_linear_solve(lambda y: ew.mul(d, y), x, lambda f, y: ew.div(y, d), symmetric=True)

    return b.emit(run, v, d)


def smooth_callback(x: Array) -> Array:
    """What the callbacks compute, in NumPy."""
    return np.asarray(np.cumsum(x).reshape(x.shape) if x.size else x, x.dtype)


@entry("callback", control=True, weight=2)
def callback(b: Builder) -> list[Value]:
    v = b.any("if", size=200)
    if v.dtype in (dtypes.float16, dtypes.bfloat16):
        raise Rejected("NumPy sums it in another precision")
    method = b.c.pick(("sequential", "sequential", "expand_dims"))
    if method == "expand_dims":
        return b.emit(lambda x: fdl.pure_callback(np.negative, x, x, vmap_method=method), v)
    return b.emit(lambda x: fdl.pure_callback(smooth_callback, x, x, vmap_method=method), v)


# --- branches -------------------------------------------------------------------------------------


@entry("cond", control=True, weight=6)
def cond(b: Builder) -> list[Value]:
    operands = _operands(b, b.c.integer(1, 3))
    samples = [v.sample for v in operands]
    first, outs = body(b, samples, _size(b), 2)
    wanted = [Value(None, x) for x in outs]
    branches = [first, *(body(b, samples, _size(b), wanted)[0] for _ in range(b.c.weighted([(1, 6), (2, 2), (0, 1)])))]
    scalars = [v for v in b.pool if v.dtype == dtypes.int32 and v.shape == ()]
    if scalars and b.c.chance(50):
        choice = b.c.pick(scalars)
    elif b.c.chance(50):
        choice = b.operand((), dtypes.int32)
    else:  # decided by what is computed
        v = b.any("fi", rank=(0, 3))
        compared = b.emit(lambda x: ew.gt(x, np.zeros((), v.dtype)), v, keep=False)[0]
        every = tuple(range(v.ndim))
        decided = b.emit(lambda x: bind(lookup("reduce_or"), x, axes=every), compared, keep=False)[0]
        choice = b.converted(decided, dtypes.int32)
    return b.emit(lambda i, *xs: bind(lookup("cond"), i, *xs, branches=tuple(branches)), choice, *operands)


# --- loops ----------------------------------------------------------------------------------------


def _places(b: Builder, shape: tuple[int, int]) -> Array:
    """Small indices, of which those of the first row are 0 or 1."""
    found = b.c.rng().integers(-1, 40, shape)
    found[0] %= 2
    return np.asarray(found, np.int32)


@entry("scan", control=True, weight=6)
def scan(b: Builder) -> list[Value]:
    length = b.c.weighted([(3, 4), (2, 3), (5, 2), (1, 1), (0, 1)])
    consts, carry = _operands(b, b.c.integer(0, 2)), _operands(b, b.c.integer(0, 2))
    xs = []
    for _ in range(b.c.integer(0 if carry else 1, 2)):
        v = b.any(rank=(0, 3), size=LARGEST // 5)
        xs.append(b.operand((length, *v.shape), v.dtype))
    if b.profile.outside and not b.inner and length:  # for a body to index with: in bounds in the first step
        xs.append(b.new_input(_places(b, (length, 2))))
    samples = [v.sample for v in (*consts, *carry)] + [v.sample[0] if length else np.ones(v.shape[1:], v.dtype) for v in xs]
    inner = [Value(None, v.sample) for v in carry]
    extra = b.c.integer(0, 2)
    program, n_ys = _loop_body(b, samples, inner, extra, damped=len(consts))
    how: dict[str, Any] = {"reverse": bool(b.c.integer(0, 1))}
    if b.c.chance(20) and length > 1:
        how["unroll"] = b.c.integer(2, length)
    if not carry and not n_ys:
        raise Rejected("a loop that gives nothing")
    params = {"body": program, "n_consts": len(consts), "n_carry": len(carry), "length": length, **how}
    return b.emit(lambda *ops: bind(lookup("scan"), *ops, **params), *consts, *carry, *xs)


def _loop_body(b: Builder, samples: Sequence[Array], carry: Sequence[Value], extra: int, damped: int) -> tuple[Program, int]:
    """A body whose first outputs are the next carries, mixed with the present ones so that they don't grow."""
    grown, outs = body(b, samples, _size(b), 2)
    n_ys = min(extra, len(outs))
    if not carry and not n_ys:
        n_ys = 1
    wanted = [*carry, *(Value(None, x) for x in outs[:n_ys])]
    step, _ = body(b, samples, _size(b), wanted) if carry else (grown, outs)
    if not carry:
        n_ys = len(outs)

    def run(*args: Any) -> list[Any]:
        found = program_function(step)(*args)
        mixed = []
        for i, v in enumerate(carry):
            new, old = found[i], args[damped + i]
            if dtypes.is_inexact(v.dtype):
                new = ew.add(ew.mul(new, np.asarray(0.5, v.dtype)), ew.mul(old, np.asarray(0.25, v.dtype)))
            mixed.append(new)
        return [*mixed, *found[len(carry) :]]

    program, captured = record(run, [Type(x.shape, x.dtype) for x in samples], name="body")
    assert not captured
    return program, n_ys


@entry("while", control=True, weight=6)
def while_(b: Builder) -> list[Value]:
    carry = _operands(b, b.c.integer(1, 2))
    consts = _operands(b, b.c.integer(0, 1))
    count = b.c.weighted([(3, 4), (2, 3), (5, 2), (1, 1), (0, 1)])
    counter = b.literal(0, dtypes.int32)
    limit = b.literal(count, dtypes.int32)
    samples = [v.sample for v in (*consts, counter, *carry)]
    step, _ = _loop_body(
        b, samples, [Value(None, counter.sample), *(Value(None, v.sample) for v in carry)], 0, damped=len(consts)
    )
    by_value = next((i for i, v in enumerate(carry) if kind(v.dtype) == "f" and v.size), None) if b.c.chance(40) else None

    def advance(*args: Any) -> list[Any]:
        found = program_function(step)(*args)
        return [ew.add(args[len(consts)], np.int32(1)), *found[1 : 1 + len(carry)]]

    def going(limit: Any, i: Any, *rest: Any) -> list[Any]:
        on = ew.lt(i, limit)
        if by_value is None:
            return [on]
        x = rest[by_value]
        big = bind(lookup("reduce_max"), ew.abs(x), axes=tuple(range(carry[by_value].ndim)))
        return [ew.logical_and(on, ew.gt(big, np.asarray(0.1, carry[by_value].dtype)))]

    types = [Type(x.shape, x.dtype) for x in samples]
    body_program, _ = record(advance, types, name="body")
    cond_program, _ = record(going, [Type((), dtypes.int32), *types[len(consts) :]], name="cond")
    params = {"cond": cond_program, "body": body_program, "n_cond": 1, "n_body": len(consts)}
    return b.emit(lambda *ops: bind(lookup("while"), *ops, **params), limit, *consts, counter, *carry)


# --- transforms inside a program ------------------------------------------------------------------


@entry("vmap", control=True, weight=5)
def vmap(b: Builder) -> list[Value]:
    """A body mapped over random axes of its operands: of control flow inside, lanes decide for themselves."""
    size = b.c.pick((2, 3, 1, 5))
    operands: list[Value] = []
    axes: list[int | None] = []
    lanes: list[Array] = []
    for i in range(b.c.integer(1, 3)):
        v = b.any(rank=(0, 2), size=LARGEST // 5)
        if i and b.c.chance(30):
            operands.append(v)
            axes.append(None)
            lanes.append(v.sample)
            continue
        axis = b.c.integer(0, v.ndim)
        v = b.operand((*v.shape[:axis], size, *v.shape[axis:]), v.dtype)
        operands.append(v)
        axes.append(axis)
        lanes.append(np.take(v.sample, 0, axis))
    if b.profile.outside and not b.inner:
        operands.append(b.new_input(_places(b, (size, 2))))
        axes.append(0)
        lanes.append(operands[-1].sample[0])
    program, outs = body(b, lanes, _size(b), 2)
    out_axes = [b.c.integer(0, x.ndim) for x in outs]
    return b.emit(fdl.vmap(program_function(program), in_axes=tuple(axes), out_axes=out_axes), *operands)


@entry("jvp", control=True, weight=2)
def jvp(b: Builder) -> list[Value]:
    operands = _operands(b, b.c.integer(1, 2), "fc")
    program, _ = body(b, [v.sample for v in operands], _size(b), 1)
    tangents = [b.operand(v.shape, v.dtype) for v in operands]
    n = len(operands)

    def run(*xs: Any) -> list[Any]:
        outs, dots = fdl.jvp(program_function(program), xs[:n], xs[n:])
        return [*outs, *dots]

    return b.emit(run, *operands, *tangents)


@entry("vjp", control=True, weight=3)
def vjp(b: Builder) -> list[Value]:
    operands = _operands(b, b.c.integer(1, 2), "fc")
    program, outs = body(b, [v.sample for v in operands], _size(b), 1)
    if not dtypes.is_inexact(outs[0].dtype) or not _reversible(program):
        raise Rejected("nothing to differentiate")
    ct = b.operand(outs[0].shape, outs[0].dtype)
    f = program_function(program)
    return b.emit(lambda ct, *xs: list(fdl.vjp(lambda *xs: f(*xs)[0], *xs)[1](ct)), ct, *operands)


# --- functions made of these ----------------------------------------------------------------------


@entry("map", control=True, weight=1)
def mapped(b: Builder) -> list[Value]:
    v = b.any(rank=(1, 3), size=LARGEST // 2)
    if v.shape[0] == 0:
        raise Rejected("nothing to map over")
    program, _ = body(b, [v.sample[0]], _size(b), 1)
    return b.emit(lambda x: fdl.map(program_function(program), x), v)


@entry("associative_scan", control=True, weight=1)
def associative_scan(b: Builder) -> list[Value]:
    v = b.any("fic", rank=(1, 3), size=LARGEST // 2)
    op: Any = b.c.pick((ew.add, ew.max, ew.mul)) if kind(v.dtype) != "c" else ew.add
    if op is ew.mul:
        v = b.within(v, 0.5, 1.2)
    axis, reverse = b.c.integer(0, v.ndim - 1), bool(b.c.integer(0, 1))
    return [b.tamed(x) for x in b.emit(lambda x: fdl.associative_scan(op, x, reverse, axis), v)]


COMPOSITE = frozenset({"vmap", "jvp", "vjp", "map", "associative_scan"})
"""Entries that are no primitive's."""

__all__ = ["COMPOSITE", "ENTRIES", "add", "everything"]
