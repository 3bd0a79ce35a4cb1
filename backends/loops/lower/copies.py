"""Transposed copies by the tile kernel, which moves blocks through registers instead of elements through memory.

May be imported by: `lower/__init__.py`.
"""

from __future__ import annotations

from fdl.backends.loops.ir import INDEX, Call, Const, Ref, Value
from fdl.backends.loops.values import add, mul
from fdl.tracer.ir import Atom, Equation, Variable

from .context import Nest, Scope
from .nests import build_stored
from .panels import cut
from .windowed import Run, Window, placed, runs, window_of

LEAST = 4096
"""Elements from which a copy is worth a kernel."""
PART = 1 << 16
"""Elements that one task copies."""
_VIEWS = frozenset({"transpose", "reshape", "slice"})


def build_transpose(scope: Scope, e: Equation) -> None:
    """A transposed copy of what is in memory: loops around a two-dimensional kernel. Anything else is an ordinary nest."""
    out = e.outputs[0]
    if scope.unit.target != "cpu" or out.type.size < LEAST or not _in_memory(scope, e.inputs[0]):
        build_stored(scope, e)
        return
    source = window_of(scope, e.inputs[0])
    order = e.params["permutation"]
    target = placed(scope.target(out), out.type.shape)
    steps = tuple(source.strides[a] for a in order)
    found = runs(out.type.shape, steps, target.strides)
    across = next((k for k, r in enumerate(found) if r.first == 1), None)
    if across is None or across == len(found) - 1:
        del scope.places[out]
        build_stored(scope, e)
        return
    _blocks(scope, source, target, found, across)


def _in_memory(scope: Scope, a: Atom) -> bool:
    """Whether `a` is stored, or a view of what is."""
    while isinstance(a, Variable) and a not in scope.places and a in scope.lazy and scope.lazy[a].primitive.name in _VIEWS:
        a = scope.lazy[a].inputs[0]
    return isinstance(a, Variable) and a in scope.places


def _blocks(scope: Scope, source: Window, target: Window, found: list[Run], across: int) -> None:
    """The kernel over the run that is contiguous in the source and the one that is in the target; loops over the others."""
    columns, rows = found[across], found[-1]
    nest = Nest(scope)
    offsets: list[Value] = [source.offset, target.offset]

    def step(i: Value, run: Run, size: int = 1) -> None:
        offsets[0] = add(offsets[0], mul(i, run.first * size))
        offsets[1] = add(offsets[1], mul(i, run.second * size))

    for k, run in enumerate(found[:-1]):
        if k != across:
            step(nest.loop(run.size, stem="b"), run)
    panels = cut(columns.size, columns.size * rows.size // PART, 16)
    p = nest.loop(panels.count, stem="p")
    step(p, columns, panels.step)
    shape = (panels.extent(p), Const(rows.size, INDEX))
    into = Ref(target.buffer, offsets[1], shape, (columns.second, rows.second))
    nest.do(Call("transpose", (into,), (Ref(source.buffer, offsets[0], shape, (columns.first, rows.first)),)))
    nest.close()

