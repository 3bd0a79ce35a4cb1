"""Adding equations to a program, one entry of the table at a time."""

from __future__ import annotations

from collections.abc import Sequence

from fdl.tracer.ir import Program

from .building import Builder, Rejected, Value
from .entry import ENTRIES, Entry
from .values import Array, kind

DEEPEST = 2
"""How deep programs hold programs."""


def grow(b: Builder, target: int, control: bool) -> None:
    """Adds entries until the program has `target` equations, or none fits any more."""
    refused = 0
    while len(b.trace.equations) < target and refused < 30 and not b.broken:
        e = choose(b, control)
        try:
            add(b, e)
        except Rejected:
            refused += 1


def add(b: Builder, e: Entry) -> list[Value]:
    """Adds one entry, or nothing. Raises: Rejected."""
    start, pool = len(b.trace.equations), len(b.pool)
    try:
        found = e.make(b)
    except Rejected:
        if not b.broken:
            made = {v for q in b.trace.equations[:start] for v in q.outputs} | set(b.trace.inputs)
            made |= {v for v, _ in b.trace.captured.values()}
            del b.trace.equations[start:]
            b.pool[pool:] = [
                v for v in b.pool[pool:] if getattr(v.tracer, "variable", None) in made or not hasattr(v.tracer, "variable")
            ]
        raise
    b.used.append(e.name)
    return found


def choose(b: Builder, control: bool) -> Entry:
    """An entry that fits the program as a whole."""
    often = 12 if b.depth else 60 if b.profile.outside else 22
    if control and b.depth < DEEPEST and b.c.chance(often):
        return b.c.weighted([(e, e.weight) for e in ENTRIES.values() if e.control])
    if b.profile.outside and b.c.chance(60 if b.inner else 20):
        return ENTRIES[b.c.pick(("gather", "scatter"))]
    inner, large, wild = b.inner, bool(b.profile.large), b.profile.wild
    fitting = [
        e for e in ENTRIES.values()
        if not e.control and (e.inner or not inner) and (e.large or not large) and (e.wild or not wild)
    ]  # fmt: skip
    return b.c.weighted([(e, 1 if e.rare else 4 * e.weight) for e in fitting])


def body(b: Builder, samples: Sequence[Array], size: int, wanted: Sequence[Value] | int) -> tuple[Program, list[Array]]:
    """A program on arrays like `samples`, and what it gives for them.

    Args:
        wanted: values whose types its outputs must have, or how many outputs it has at most.
    """
    inner = b.child(samples)
    grow(inner, size, control=True)
    if isinstance(wanted, int):
        candidates = [v for v in inner.pool if not _is_input(inner, v)] or inner.pool
        outs = [inner.c.pick(candidates[-4:]) for _ in range(inner.c.integer(1, wanted))]
    else:
        outs = [last_like(inner, v) for v in wanted]
    program, captured = inner.finish(outs, "body")
    if captured:
        raise Rejected("the body closes over something")
    b.used += inner.used
    return program, [v.sample for v in outs]


def last_like(b: Builder, like: Value) -> Value:
    """A recent value of the type of `like`, made to fit where there is none."""
    exact = [v for v in b.pool if v.shape == like.shape and v.dtype == like.dtype and not _is_input(b, v)]
    if exact:
        return b.c.pick(exact[-3:])
    same = [
        v for v in b.pool if v.shape == like.shape and not _is_input(b, v) and (kind(v.dtype) != "c" or kind(like.dtype) == "c")
    ]
    if same:
        return b.converted(b.c.pick(same[-3:]), like.dtype)
    near = [v for v in b.pool if v.dtype == like.dtype and v.size and not _is_input(b, v)]
    if near:
        return b.reshaped(b.c.pick(near[-3:]), like.shape)
    return b.operand(like.shape, like.dtype)


def _is_input(b: Builder, v: Value) -> bool:
    return getattr(v.tracer, "variable", None) in b.trace.inputs
