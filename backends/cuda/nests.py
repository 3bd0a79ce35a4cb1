"""Rewrites that turn a routine into what a GPU runs well, still in the loop IR.

* `expand`: every tile kernel becomes its definition, with fresh names; `matmul` becomes one loop nest over its elements.
* `promote`: a serial loop whose iterations touch different elements becomes a parallel one::

      for i < n:                              parallel i < n:
        vector j < m: y[i, j] = x[i, j]   →     vector j < m: y[i, j] = x[i, j]

* `split`: a long reduction becomes chunks, one for each block of threads, and a reduction of the chunks' results.
* `flatten`: the loops, each directly inside the other, whose iterations become threads.

May import: the loop IR and its tiles, `scalars`.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from fdl.backends.loops.build import (
    Names,
    Ranges,
    add,
    all_values,
    bound,
    bounds,
    expanded,
    linear,
    loads,
    mul,
    new_names,
    stores,
    sub,
    substitute,
)
from fdl.backends.loops.ir import (
    INDEX,
    Alloc,
    Barrier,
    Buffer,
    Call,
    Callback,
    Carry,
    Check,
    Const,
    For,
    If,
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
    blocks,
    subvalues,
    walk,
)
from fdl.backends.loops.tiles import TILES
from fdl.tracer import dtypes
from fdl.tracer.records import dataclass

from .scalars import HALVES

Block = tuple[Stmt, ...]


def reads(block: Block) -> Counter[Var]:
    """How often `block` reads each variable."""
    return Counter(v for v in all_values(block) if isinstance(v, Var))


def _map_blocks(stmt: Stmt, rewrite: Callable[[Block], Block]) -> Stmt:
    """`stmt` with `rewrite` applied to the blocks directly inside it."""
    match stmt:
        case For():
            return replace(stmt, body=rewrite(stmt.body))
        case While():
            return replace(stmt, prelude=rewrite(stmt.prelude), body=rewrite(stmt.body))
        case If():
            return replace(stmt, then=rewrite(stmt.then), orelse=rewrite(stmt.orelse))
        case _:
            return stmt


# --- tile kernels ---------------------------------------------------------------------------------


def flat(ref: Ref, index: tuple[Value, ...]) -> tuple[Buffer, tuple[Value, ...]]:
    """The flat view of a window's buffer and the position in it of the window's element at `index`."""
    position = add(ref.offset, *(mul(i, stride) for i, stride in zip(index, ref.strides, strict=True)))
    return replace(ref.buffer, shape=(ref.buffer.size,)), (position,)


def matmul(call: Call, names: Names) -> Block:
    """The matrix product as a loop over the elements of the result; float16 and bfloat16 are summed in float32."""
    (c,), (a, b) = call.outputs, call.inputs
    dtype = c.buffer.dtype
    total = dtypes.float32 if dtype in HALVES else dtype
    i, j, k = (Var(names(stem), INDEX) for stem in ("i", "j", "k"))
    terms = []
    for ref, index in ((a, (i, k)), (b, (k, j))):
        loaded = Load(*flat(ref, index))
        terms.append(loaded if loaded.dtype == total else Op("convert", (loaded,), total))
    running, result = Var(names("sum"), total), Var(names("total"), total)
    combine = "or" if total == dtypes.bool_ else "add"
    product = Op("and" if total == dtypes.bool_ else "product", tuple(terms), total)
    carry = Carry(running, Const(0, total), Op(combine, (running, product), total), result, combine)
    value: Value = result if total == dtype else Op("convert", (result,), dtype)
    target, position = flat(c, (i, j))
    if dict(call.attrs).get("accumulate"):
        value = Op("add", (Load(target, position), value), dtype)
    body = (For(k, a.shape[1], (), "serial", (carry,)), Store(target, position, value))
    return (For(i, c.shape[0], (For(j, c.shape[1], body, "vector"),), "parallel"),)


def expand(routine: Routine) -> Routine:
    """`routine` with every tile kernel replaced by its definition."""
    names = new_names(routine)

    def rewrite(block: Block) -> Block:
        result: list[Stmt] = []
        for stmt in block:
            if not isinstance(stmt, Call):
                result.append(_map_blocks(stmt, rewrite))
            elif stmt.kernel == "matmul":
                result.extend(matmul(stmt, names))
            else:
                result.extend(rewrite(expanded(stmt, TILES[stmt.kernel].body, names)))
        return tuple(result)

    return replace(routine, body=rewrite(routine.body))


# --- parallelism ----------------------------------------------------------------------------------


def is_parallel(stmt: Stmt) -> bool:
    """Whether `stmt` is a loop whose iterations are independent, but for reductions."""
    return isinstance(stmt, For) and stmt.kind in ("parallel", "vector")


def promote(block: Block, known: Ranges) -> Block:
    """`block` with serial loops made parallel where their iterations are seen to be independent."""
    result = []
    for stmt in block:
        if isinstance(stmt, For) and not is_parallel(stmt) and independent(stmt, known):
            stmt = replace(stmt, kind="parallel")
        result.append(_map_blocks(stmt, lambda inner: promote(inner, known)))
    return tuple(result)


def independent(loop: For, known: Ranges) -> bool:
    """Whether no iteration of `loop` touches what another writes: on some axis, every access to a stored buffer is at one and
    the same index, which differs between any two iterations."""
    inner = tuple(walk(loop.body))
    if loop.carries or any(isinstance(s, Callback | Barrier | Call) for s in inner):
        return False
    lets: dict[Var, Value] = {}
    for stmt in inner:
        if isinstance(stmt, Let):
            lets[stmt.var] = substitute(stmt.value, lets)
    varying = {v for s in inner for v in bound(s)} - set(lets)
    if any(isinstance(s, Alloc) and s.buffer.space == "arena" for s in inner):
        # Its iterations would need one each, of what may be a large buffer.
        return False
    own = {s.buffer.name for s in inner if isinstance(s, Alloc)}
    stored = {s.buffer.name for s in inner if isinstance(s, Store)} - own
    accesses: dict[str, list[tuple[Value, ...]]] = {}
    touches: list[Load | Store] = [*stores(loop.body), *loads(loop.body)]
    for access in touches:
        accesses.setdefault(access.buffer.name, []).append(tuple(substitute(i, lets) for i in access.index))
    for name in stored:
        if len({len(index) for index in accesses[name]}) != 1:
            return False
        axes = [set(axis) for axis in zip(*accesses[name], strict=True)]
        if not any(len(axis) == 1 and _injective(next(iter(axis)), loop.var, varying | {loop.var}, known) for axis in axes):
            return False
    return bool(stored)


def _injective(value: Value, variable: Var, varying: set[Var], known: Ranges) -> bool:
    """Whether the index `value` differs wherever `variable` does, whatever the other `varying` variables are.

    It does when `value` is like a number written in digits: each varying term's factor exceeds all that the terms of smaller
    factors can add up to, as in 20 * i + 5 * j + k for j < 4 and k < 5.
    """
    terms = linear(value).terms
    digits = [(abs(c), atom) for atom, c in terms.items() if any(v in varying for v in subvalues(atom) if isinstance(v, Var))]
    if variable not in terms or any(isinstance(v, Load) for atom in terms for v in subvalues(atom)):
        return False
    reach = 0
    for factor, atom in sorted(digits, key=lambda digit: digit[0]):
        if factor <= reach:
            return False
        low, high = bounds(atom, known)
        reach += factor * (high - low)
    return True


CHUNK = 1 << 14
"""Iterations of a reduction that one block of threads takes."""


def neutral(combine: str, dtype: np.dtype[Any]) -> Const:
    """The value that `combine` leaves others as they are with."""
    kind = "b" if dtype == dtypes.bool_ else "f" if dtypes.is_float(dtype) else "i"
    info = np.iinfo(dtype) if kind == "i" else None
    match combine:
        case "add":
            # -0 + x is x for every x, and 0 + -0 is not -0.
            return Const(-0.0 if kind == "f" else 0, dtype)
        case "or" | "xor":
            return Const(0, dtype)
        case "mul":
            return Const(1, dtype)
        case "and":
            return Const(True if info is None else -1 if info.min < 0 else info.max, dtype)
        case "max":
            return Const(info.min if info else False if kind == "b" else -np.inf, dtype)
        case "min":
            return Const(info.max if info else True if kind == "b" else np.inf, dtype)
    raise AssertionError(f"no such combination: {combine}")


def split(loop: For) -> Block | None:
    """A long reduction in two stages, or None when it is short, or its extent not a constant::

        parallel i < n carry s = add(s, e)   →   parallel c < n / CHUNK: (parallel j < CHUNK carry ...) ; partial[c] = ...
                                                 parallel c < n / CHUNK carry s = add(s, partial[c])
    """
    if not loop.carries or not isinstance(loop.extent, Const) or int(loop.extent.value) <= 2 * CHUNK:
        return None
    extent = int(loop.extent.value)
    count = -(-extent // CHUNK)
    mark = loop.carries[0].result.name
    chunk, inner, last = (Var(f"{mark}.{word}", INDEX) for word in ("chunk", "inner", "last"))
    start = mul(chunk, CHUNK)
    size = Op("min", (sub(extent, start), Const(CHUNK, INDEX)), INDEX)
    first: list[Carry] = []
    second: list[Carry] = []
    stores: list[Stmt] = []
    partials: list[Stmt] = []
    for carry in loop.carries:
        assert carry.combine, f"{carry.var.name}: a carry of a parallel loop without a combination"
        dtype = carry.var.dtype
        partial = Buffer(f"{carry.result.name}.partial", dtype, (count,))
        result, running = Var(f"{carry.result.name}.part", dtype), Var(f"{carry.var.name}.part", dtype)
        first.append(Carry(carry.var, neutral(carry.combine, dtype), carry.next, result, carry.combine))
        stores.append(Store(partial, (chunk,), result))
        following = Op(carry.combine, (running, Load(partial, (last,))), dtype)
        second.append(Carry(running, carry.init, following, carry.result, carry.combine))
        partials.append(Alloc(partial))
    position = Let(loop.var, add(start, inner))
    reduce = For(inner, size, (position, *loop.body), "vector", tuple(first))
    chunks = For(chunk, Const(count, INDEX), (reduce, *stores), "parallel")
    return (*partials, chunks, For(last, Const(count, INDEX), (), "vector", tuple(second)))


# --- nests ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Nest:
    """Loops directly inside each other, outermost first: before each one the bindings between it and the loop around it."""

    loops: tuple[tuple[tuple[Let, ...], For], ...]
    body: Block
    """The body of the innermost."""


def flatten(loop: For, known: Ranges) -> Nest:
    """The longest nest of parallel loops that starts with `loop`, each of a bounded extent."""
    loops: list[tuple[tuple[Let, ...], For]] = [((), loop)]
    total = bounds(loop.extent, known)[1]
    while True:
        body = loops[-1][1].body
        lets = tuple(s for s in itertools.takewhile(lambda s: isinstance(s, Let), body) if isinstance(s, Let))
        rest = body[len(lets) :]
        if len(rest) != 1 or not isinstance(inner := rest[0], For) or not is_parallel(inner) or inner.carries:
            return Nest(tuple(loops), body)
        high = bounds(inner.extent, known)[1]
        if total * high > 2**60:
            return Nest(tuple(loops), body)
        total *= max(high, 1)
        loops.append((lets, inner))


def iterations(stmt: Stmt, known: Ranges) -> int:
    """An upper bound of the number of iterations of the largest nest of parallel loops in `stmt`; 0 where there is none."""
    if isinstance(stmt, For) and is_parallel(stmt):
        return int(np.prod([bounds(f.extent, known)[1] for _, f in flatten(stmt, known).loops], dtype=object))
    return max((iterations(s, known) for block in blocks(stmt) for s in block), default=0)


def summed(stmt: Stmt, known: Ranges) -> int:
    """The greatest extent of a serial reduction without stores in `stmt`; 0 where there is none."""
    if is_reduction(stmt) and isinstance(stmt, For):
        return bounds(stmt.extent, known)[1]
    return max((summed(s, known) for block in blocks(stmt) for s in block), default=0)


def is_reduction(stmt: Stmt) -> bool:
    """Whether `stmt` is a serial loop whose iterations only combine values."""
    if not isinstance(stmt, For) or not stmt.carries or any(c.combine is None for c in stmt.carries):
        return False
    return not any(isinstance(s, (Store, Callback, Barrier, Check)) for s in walk(stmt.body))
