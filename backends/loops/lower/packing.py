"""The right operand of a matrix product in panels of columns, made once for all that read it.

    packed[copy, p, k, j] = B[copy, k, p * width + j]

What does not change in a loop of the program is packed before it.  Elsewhere the copy is made just before the left operand is, so that the
product can still share a loop with what computes that.

May be imported by: `contract`.
"""

from __future__ import annotations

import math

from fdl.backends.loops.build import writes
from fdl.backends.loops.ir import INDEX, Buffer, Call, Const, Ref, Stmt, Value
from fdl.backends.loops.values import add, mul
from fdl.tracer.records import dataclass

from .context import Nest, Scope
from .panels import FAR, NARROW, PACKED_MEMORY, PART_ELEMENTS, ROWS, TASKS, Cut, cut
from .windowed import Run, Window

PANEL_BYTES = 192
"""A row of a packed panel; whole tiles of every CPU fit in."""
FEW_ROWS = 8
"""So many rows of the left operand are better multiplied with columns where they lie."""


@dataclass(frozen=True, slots=True)
class Around:
    """A loop around the calls of a contraction: its size, and how far an iteration moves in A, B and C."""

    size: int
    stem: str
    steps: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Operand:
    """B[k, n]: a window, its columns and its depth, and the loops that move it, as (size, step)."""

    window: Window
    n: Run
    k: Run
    loops: tuple[tuple[int, int], ...]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the packed operand."""
        width = panel_width(self.window.buffer)
        return math.prod(size for size, _ in self.loops), -(-self.n.size // width), self.k.size, width


def panel_width(b: Buffer) -> int:
    """Columns of a packed panel."""
    return PANEL_BYTES // b.dtype.itemsize


def packed_operand(scope: Scope, b: Operand, rows: Cut, left: Buffer) -> Buffer | None:
    """The packed right operand of a product whose left one is cut into `rows`; None where it is better read in place."""
    home = _home(scope, b)
    if not packs(b, rows, invariant=home is not scope):
        return None
    found = home.packed.get(b)
    if found is not None:
        return found
    if home is not scope:
        home.packed[b] = packed = _written(home, b)
        return packed
    # Before what computes the left operand, if the right one is there by then.
    block = scope.block
    made = [k for k, s in enumerate(block) if left.name in writes((s,))]
    at = len(block)
    if made and isinstance(b.window.offset, Const) and not any(b.window.buffer.name in writes((s,)) for s in block[made[-1] :]):
        at = made[-1]
    later: list[Stmt] = block[at:]
    del block[at:]
    packed = _written(scope, b)
    block.extend(later)
    return packed


def packs(b: Operand, rows: Cut, *, invariant: bool) -> bool:
    """Whether packing pays.

    It does where the kernel would have to do it for every panel of rows, columns not being contiguous, or again and again in a loop; and
    where B is large, for rows enough.
    """
    by_n, dtype = b.n.first, b.window.buffer.dtype
    if (
        dtype.kind != "f"
        or dtype.itemsize < 4
        or min(b.k.size, b.n.size) < NARROW
        or math.prod(b.shape) * dtype.itemsize > PACKED_MEMORY
    ):
        return False
    if by_n != 1 and invariant:
        return rows.size > FEW_ROWS
    if is_far(b):
        return rows.size >= 3 * ROWS
    return by_n != 1 and rows.count > 1 and rows.size >= 2 * ROWS


def is_far(b: Operand) -> bool:
    """Whether the operand lies out of reach of the second-level cache."""
    return b.k.size * (b.k.second if b.n.first == 1 else b.n.size) * b.window.buffer.dtype.itemsize >= FAR


def _home(scope: Scope, b: Operand) -> Scope:
    """The outermost scope in which the operand is what it is in `scope`."""
    if isinstance(b.window.offset, Const):
        while scope.outer is not None and b.window.buffer.name in scope.invariant:
            scope = scope.outer
    return scope


def _written(scope: Scope, b: Operand) -> Buffer:
    """The packed operand; what is contiguous in B is read in its order: rows, of all panels at once, or columns."""
    n, k, source = b.n, b.k, b.window.offset
    packed = scope.temporary(b.window.buffer.dtype, b.shape, "packed")
    width = b.shape[-1]
    whole, rest = divmod(n.size, width)
    nest = Nest(scope)
    copy: Value = Const(0, INDEX)
    for size, step in b.loops:
        i = nest.loop(size, stem="b")
        source, copy = add(source, mul(i, step)), add(mul(copy, size), i)
    to = mul(copy, packed.strides[0])

    def move(to: Value, source: Value, shape: tuple[Value, ...], steps: tuple[int, ...], strides: tuple[int, ...]) -> None:
        nest.do(Call("transpose", (Ref(packed, to, shape, steps),), (Ref(b.window.buffer, source, shape, strides),)))

    if n.first == 1:
        rows = cut(k.size, min(TASKS, k.size * n.size // PART_ELEMENTS), 8)
        p = nest.loop(rows.count, stem="p")
        to, source = add(to, mul(p, rows.step * width)), add(source, mul(p, rows.step * k.second))
        if whole:
            steps = (width, packed.strides[1], 1)
            move(to, source, (rows.extent(p), Const(whole, INDEX), Const(width, INDEX)), steps, (k.second, width, 1))
        if rest:
            to, source = add(to, whole * packed.strides[1]), add(source, whole * width)
            move(to, source, (rows.extent(p), Const(rest, INDEX)), (width, 1), (k.second, 1))
    else:
        columns = Cut(n.size, width)
        p = nest.loop(columns.count, stem="p")
        to, source = add(to, mul(p, packed.strides[1])), add(source, mul(p, width * n.first))
        move(to, source, (columns.extent(p), Const(k.size, INDEX)), (1, width), (n.first, k.second))
    nest.close()
    return packed
