"""Nests that read one array along its rows and another along its columns, in blocks.

    parallel i: vector j: y[i, j] = x[i, j] + x[j, i]   →   parallel p: for q: t = transpose of a block of x; i: vector j: y = x + t

Along the vector loop `x[j, i]` takes one element of a cache line, and by the next row the line is gone.  The tile kernel
`transpose` moves a block through registers, and uses each line whole.

May be imported by: scheduling.
"""

from __future__ import annotations

from fdl.tracer.records import dataclass

from .access import extent_of, position
from .build import Names, loads, replace_loads, substitute_in
from .ir import INDEX, Alloc, Buffer, Call, Check, Const, For, Let, Load, Ref, Store, Value, Var
from .values import Linear, add, from_linear, mul, op, sub

BLOCK = (64, 128)
"""Rows and columns of a block: what it reads is a few whole lines of each row of the source, and what it writes are long runs."""
PAGE = 4096
"""A stride in bytes whose multiples lead to one set of a first-level cache, which has 4 KiB a way: lines so far apart evict each
other.  Longer runs of stores then pay, until a block is as large as the cache."""
PAGE_BLOCK = (64, 256)
PAD = 64
"""Bytes between the rows of a block, so that those do not collide either."""
LEAST = 8
"""The least extent of either loop, and the least stride along the vector loop."""
LEAST_ELEMENTS = 4096
"""Elements of the nest from which blocks are worth their calls."""


@dataclass(frozen=True, slots=True)
class _Crossing:
    """Loads of one place that are contiguous along an outer loop, and stride along the inner one."""

    buffer: Buffer
    form: Linear
    stride: int


def blocked(loop: For, names: Names) -> For:
    """The nest in blocks, where loads cross its vector loop; else the nest itself."""
    chain = _chain(loop)
    if len(chain) < 2 or any(s.kind != "parallel" or s.carries or extent_of(s) is None for s in chain):
        return loop
    *outer, columns = chain
    if not _is_plain(columns) or _elements(chain) < LEAST_ELEMENTS or (extent_of(columns) or 0) < LEAST:
        return loop
    by_row = {
        rows.var: _crossings(columns, rows.var, {s.var for s in chain}) for rows in outer if (extent_of(rows) or 0) >= LEAST
    }
    rows = max((s for s in outer if by_row.get(s.var)), key=lambda s: len(by_row[s.var]), default=None)
    return loop if rows is None else _cut(chain, rows, by_row[rows.var], names)


def _chain(loop: For) -> list[For]:
    """The loops of a perfect nest, outermost first."""
    chain = [loop]
    while len(loop.body) == 1 and isinstance(loop.body[0], For):
        loop = loop.body[0]
        chain.append(loop)
    return chain


def _elements(chain: list[For]) -> int:
    total = 1
    for s in chain:
        total *= extent_of(s) or 0
    return total


def _is_plain(columns: For) -> bool:
    """Whether the innermost loop only computes, and writes along itself."""
    if not all(isinstance(s, (Let, Store, Check)) for s in columns.body):
        return False
    forms = [position(s.buffer, s.index) for s in columns.body if isinstance(s, Store)]
    return bool(forms) and all(f.terms.get(columns.var) == 1 for f in forms)


def _crossings(columns: For, row: Var, loops: set[Var]) -> list[_Crossing]:
    """The distinct places that are read contiguously along `row` and with a stride along the innermost loop."""
    written = {s.buffer.name for s in columns.body if isinstance(s, Store)}
    found: dict[tuple[str, tuple[tuple[object, int], ...], int], _Crossing] = {}
    for x in loads(columns.body):
        form = position(x.buffer, x.index)
        stride = form.terms.get(columns.var, 0)
        if stride < LEAST or form.terms.get(row) != 1 or x.buffer.name in written or not form.terms.keys() <= loops:
            continue
        found[_key(x)] = _Crossing(x.buffer, form, stride)
    return list(found.values())


def _key(x: Load) -> tuple[str, tuple[tuple[object, int], ...], int]:
    form = position(x.buffer, x.index)
    return x.buffer.name, tuple(sorted(form.terms.items(), key=str)), form.constant


def _cut(chain: list[For], rows: For, crossings: list[_Crossing], names: Names) -> For:
    """The nest with the loop over `rows` and the innermost one cut into blocks, which hold copies of what crosses."""
    columns = chain[-1]
    p, q, i, j = (Var(names(v.name), INDEX) for v in (rows.var, columns.var, rows.var, columns.var))
    h, w = PAGE_BLOCK if any(c.stride * c.buffer.dtype.itemsize % PAGE == 0 for c in crossings) else BLOCK
    height, width = _part(rows, p, h), _part(columns, q, w)
    start: dict[Var, Value] = {rows.var: mul(p, h), columns.var: mul(q, w)}
    fill: list[Alloc | Call] = []
    copies: dict[tuple[str, tuple[tuple[object, int], ...], int], Buffer] = {}
    for c in crossings:
        apart = w + PAD // c.buffer.dtype.itemsize
        local = Buffer(names("t"), c.buffer.dtype, (h, apart), "local")
        origin = from_linear(Linear({v: n for v, n in c.form.terms.items() if v not in start}, c.form.constant))
        origin = add(origin, start[rows.var], mul(start[columns.var], c.stride))
        shape = (height, width)
        block, source = Ref(local, Const(0, INDEX), shape, (apart, 1)), Ref(c.buffer, origin, shape, (1, c.stride))
        fill += [Alloc(local), Call("transpose", (block,), (source,))]
        copies[c.buffer.name, tuple(sorted(c.form.terms.items(), key=str)), c.form.constant] = local

    def load(x: Load) -> Value:
        local = copies.get(_key(x))
        return x if local is None else Load(local, (i, j))

    body = replace_loads(columns.body, load)
    body = substitute_in(body, {rows.var: add(start[rows.var], i), columns.var: add(start[columns.var], j)})
    inner = For(i, height, (For(j, width, body, "parallel"),), "parallel")
    result = For(q, Const(-(-(extent_of(columns) or 0) // w), INDEX), (*fill, inner), "parallel")
    result = For(p, Const(-(-(extent_of(rows) or 0) // h), INDEX), (result,), "parallel")
    for s in reversed(chain[:-1]):
        if s is not rows:
            result = For(s.var, s.extent, (result,), s.kind)
    return result


def _part(loop: For, block: Var, size: int) -> Value:
    """The extent of a block: the last one is shorter where `size` does not divide the loop's extent."""
    n = extent_of(loop) or 0
    whole = Const(min(size, n), INDEX)
    return whole if n <= size or n % size == 0 else op("min", whole, sub(n, mul(block, size)))
