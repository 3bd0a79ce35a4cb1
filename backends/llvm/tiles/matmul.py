"""Matrix multiplication: C[M, N] (+)= A[M, K] · B[K, N], any static strides, run-time sizes.

The driver walks K in blocks and N in panels as wide as a micro-kernel, and runs the micro-kernel down the rows of each
panel.  A is never packed: its elements are broadcast one by one, so A and Aᵀ cost the same.  B is read in
place where its rows are contiguous (packing it never paid, up to 1536³); otherwise each panel is packed just before
use, Bᵀ by transposing blocks in registers.  A transposed C is computed as Cᵀ = Bᵀ Aᵀ; so is one with few rows
where B is transposed, since it is A that is packed then, and each tile is turned when it is written.  For the very
fewest rows, and for matrix times vector, `dots` runs vectors along K instead.

May be imported by: the tile emitters of this package.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fdl.backends.llvm.target import Target
from fdl.backends.llvm.tiles.cut import (
    RowTile,
    column_counts,
    column_counts_at,
    row_choices,
    row_tiles,
    run_tile,
    run_tile_across,
    set_job,
    static,
)
from fdl.backends.llvm.tiles.dots import dots, dots_tiles
from fdl.backends.llvm.tiles.half import HalfMatmul, write_half
from fdl.backends.llvm.tiles.micro import (
    A_DEPTH,
    A_ROW,
    ACCUMULATE,
    B_DEPTH,
    C_ROW,
    DEPTH,
    JOB_WORDS,
    LIST,
    SEGMENTS,
    Simd,
    micro_kernel,
    simd,
)
from fdl.backends.llvm.tiles.pack import pack_panel, pack_symbol, put_across
from fdl.backends.llvm.tiles.parts import TileFunction, digest, tile
from fdl.backends.llvm.tiles.text import Code
from fdl.backends.loops.ir import Call, Ref
from fdl.tracer.dtypes import bfloat16, float16

DEPTH_BLOCK = 512
"""Steps of k between two visits of C: a panel of B this deep stays in the second-level cache."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a driver is specialised for: the tile widths it meets, the rows of each, how B is read."""

    s: Simd
    tiles: tuple[tuple[int, tuple[int, ...]], ...]
    pack: str | None
    """None (in place), or the way of packing: "turn", "any"."""
    across: bool
    """Whether rows of C are contiguous rather than its columns: tiles are turned when they are written."""

    @property
    def symbol(self) -> str:
        cut = "_".join(f"{nv}x{'o'.join(map(str, rows))}" for nv, rows in self.tiles)
        return f"fdl_matmul_{self.s.key}_{self.pack or 'direct'}{'_across' if self.across else ''}_{cut}"

    @property
    def edge_bytes(self) -> int:
        """A whole tile of C, where tiles are not written straight to C: to be turned, or cut without masks."""
        tile = max(nv * max(rows) for nv, rows in self.tiles) * self.s.lanes * self.s.size
        return tile if self.across or not self.s.masked else 0

    @property
    def scratch_bytes(self) -> int:
        """The tile of C, then the packed panel of B (up to a whole number of blocks in k)."""
        s = self.s
        packs = self.pack is not None or not s.masked
        columns = s.lanes * max(nv for nv, _ in self.tiles) if packs else 0
        return self.edge_bytes + (DEPTH_BLOCK + s.lanes) * columns * s.size


def make_plan(s: Simd, m: int | None, n: int | None, pack: str | None, *, across: bool = False) -> Plan:
    """The plan for sizes of which some are known (the others None)."""
    widths = set(s.rows) if n is None else {nv for nv, count in column_counts(n, s).items() if count}
    tiles = tuple((nv, row_choices(m, s.rows[nv])) for nv in sorted(widths, reverse=True))
    return Plan(s, tiles or ((1, (1,)),), pack, across)


# --- the driver -------------------------------------------------------------------------------------

DRIVER_PARAMS = (
    ("ptr", "scratch"), ("ptr", "c"), ("ptr", "a"), ("ptr", "b"),
    ("i64", "m"), ("i64", "n"), ("i64", "k"),
    ("i64", "c_row"), ("i64", "c_col"), ("i64", "a_row"), ("i64", "a_k"), ("i64", "b_k"), ("i64", "b_n"), ("i64", "accumulate"),
)  # fmt: skip


def driver(plan: Plan) -> Code:
    """The function that cuts a matmul into tiles; strides in elements, C contiguous along rows or columns (see `Plan`)."""
    s = plan.s
    code = Code(plan.symbol, DRIVER_PARAMS)
    job = code.let(f"alloca [{JOB_WORDS} x i64], align 64")
    table = code.let("alloca [2 x ptr], align 16")
    set_job(code, job, {LIST: table, SEGMENTS: 1, A_ROW: "%a_row", A_DEPTH: "%a_k", B_DEPTH: "%b_k", C_ROW: "%c_row"})
    store = code.at("i8", "%scratch", plan.edge_bytes)
    # K = 0 still writes C: at least one block.
    blocks = code.max(code.ceil_div("%k", DEPTH_BLOCK), 1)
    block = code.ceil_div("%k", blocks)
    with code.loop(blocks) as kb:
        first = code.mul(kb.index, block)
        depth = code.min(block, code.sub("%k", first))
        later = code.let(f"zext i1 {code.compare('sgt', kb.index, 0)} to i64")
        set_job(code, job, {DEPTH: depth, ACCUMULATE: code.let(f"or i64 {later}, %accumulate")})
        code.store("ptr", code.at(s.element, "%a", code.mul(first, "%a_k")), table)
        b = code.at(s.element, "%b", code.mul(first, "%b_k"))
        _panels(_Walk(code, plan, job, code.at("ptr", table, 1), store, depth), b)
    return code


@dataclass(frozen=True, slots=True)
class _Walk:
    """What the loops over tiles share: the job, the job's slot for B, where panels are packed, the depth in k."""

    code: Code
    plan: Plan
    job: str
    slot: str
    store: str
    depth: str

    def pack(self, way: str, b: str, cols: str, width: int) -> None:
        self.code.call(
            f"@{pack_symbol(self.plan.s, way)}",
            ("ptr", self.store), ("ptr", b), ("i64", self.depth), ("i64", cols), ("i64", width),
            ("i64", "%b_k"), ("i64", "%b_n"),
        )  # fmt: skip

    def tile(self, nv: int, row: RowTile, c: str, cols: str) -> None:
        """One tile of C; `c` is the address of its column in row 0."""
        code, s = self.code, self.plan.s
        a = code.mul(row.start, "%a_row")
        if self.plan.across:
            run_tile_across(code, s, nv, self.job, row, (a, code.at(s.element, c, row.start), cols), "%c_col", "%scratch")
            return
        c = code.at(s.element, c, code.mul(row.start, "%c_row"))
        edge = None if s.masked else "%scratch"
        run_tile(code, s, nv, self.job, row, (a, "0", c, cols), "%c_row", edge)


def _panels(walk: _Walk, b: str) -> None:
    """Visit C panel by panel of columns, each from top to bottom: B, packed or not, comes from far once."""
    code, plan = walk.code, walk.plan
    s = plan.s
    for nv, rows, start, count in _groups(code, plan, "%n"):
        width = nv * s.lanes
        with code.loop(count) as panel:
            j = code.add(start, code.mul(panel.index, width))
            cols = code.min(code.sub("%n", j), width)
            source, step = code.at(s.element, b, code.mul(j, "%b_n")), "%b_k"
            if plan.pack:
                walk.pack(plan.pack, source, cols, width)
                source, step = walk.store, str(width)
            elif not s.masked:  # the micro-kernel reads whole vectors: give it a padded copy of a ragged panel
                ragged = code.compare("slt", cols, width)
                with code.when(ragged):
                    walk.pack("any", source, cols, width)
                source = code.select(ragged, "ptr", walk.store, source)
                step = code.select(ragged, "i64", width, step)
            code.store("ptr", source, walk.slot)
            set_job(code, walk.job, {B_DEPTH: step})
            with row_tiles(code, s, nv, rows, "%m") as row:
                walk.tile(nv, row, code.at(s.element, "%c", code.mul(j, "%c_col") if plan.across else j), cols)


def _groups(code: Code, plan: Plan, n: str) -> Iterator[tuple[int, Sequence[int], str, str]]:
    """(vectors, row choices, first column, number of panels) of each panel width."""
    counts = column_counts_at(code, plan.s, [nv for nv, _ in plan.tiles], n)
    start = "0"
    for nv, rows in plan.tiles:
        yield nv, rows, start, counts[nv]
        start = code.add(start, code.mul(counts[nv], nv * plan.s.lanes))


# --- the entry point --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Operand:
    """A matrix argument: its parameter name, its two sizes (where known) and strides."""

    name: str
    sizes: tuple[int | None, int | None]
    strides: tuple[int, int]

    @property
    def turned(self) -> Operand:
        return Operand(self.name, self.sizes[::-1], self.strides[::-1])


def _operand(name: str, ref: Ref) -> Operand:
    sizes = tuple(static(n) for n in ref.shape)
    # The stride of an axis of length one, and any stride of an empty matrix, is never used: call it whatever suits.
    free = 0 in sizes
    strides = [1 if n == 1 or free else stride for n, stride in zip(sizes, ref.strides, strict=True)]
    return Operand(name, (sizes[0], sizes[1]), (strides[0], strides[1]))


def way_to_pack(b_k: int, b_n: int) -> str | None:
    """How B is packed: None for in place."""
    return None if b_n == 1 else "turn" if b_k == 1 else "any"


def write_matmul(call: Call, target: Target) -> TileFunction | None:
    """The matmul of `call`, or None where its dtypes or strides have no vector form."""
    dtypes = {ref.buffer.dtype for ref in (*call.outputs, *call.inputs)}
    if len(dtypes) != 1:
        return None
    (dtype,) = dtypes
    c, a, b = _operand("out0", call.outputs[0]), _operand("in0", call.inputs[0]), _operand("in1", call.inputs[1])
    sizes = ("%s0", "%s1", "%s3")
    if c.strides[1] != 1:
        c, a, b = c.turned, b.turned, a.turned
        sizes = ("%s1", "%s0", "%s3")
    accumulate = bool(dict(call.attrs).get("accumulate", False))
    params = [("ptr", "scratch"), ("ptr", "out0"), ("ptr", "in0"), ("ptr", "in1"), *(("i64", f"s{i}") for i in range(6))]
    m, n = c.sizes
    if dtype in (float16, bfloat16):
        if c.strides[1] != 1 or a.sizes[1] is None:
            return None
        facts = HalfMatmul(dtype, m, n, a.sizes[1], a.strides, b.strides, c.strides[0], accumulate)
        return write_half(facts, target, (f"%{c.name}", f"%{a.name}", f"%{b.name}"), (sizes[0], sizes[1]), params)
    s = simd(dtype, target)
    if s is None:
        return None
    pointers = [("ptr", f"%{operand.name}") for operand in (c, a, b)]
    extents = [("i64", size) for size in sizes]
    if prefers_dots(m, n, a.strides[1], b.strides[0]):
        strides = (*c.strides, a.strides[0], b.strides[1])
        arguments = [*pointers, *extents, *(("i64", stride) for stride in strides)]
        tiles = dots_tiles(s, m, n)
        codes = [dots(s, shape, accumulate) for shape in tiles]
        entry = Code(digest("dots", s.key, tiles, accumulate, arguments), params)
        _choose(entry, codes, tiles, sizes, arguments)
        return tile(entry, codes, 0)
    if c.strides[1] != 1:
        return None
    if b.strides[1] != 1 and b.strides[0] == 1 and a.strides[1] == 1 and m is not None and m <= ACROSS_ROWS:
        plan = make_plan(s, n, m, "turn", across=True)
        c, a, b = c.turned, b.turned, a.turned
        extents[:2] = extents[1::-1]
    else:
        plan = make_plan(s, m, n, way_to_pack(*b.strides))
    pointers = [("ptr", f"%{operand.name}") for operand in (c, a, b)]
    strides = (*c.strides, *a.strides, *b.strides, int(accumulate))
    arguments = [("ptr", "%scratch"), *pointers, *extents, *(("i64", stride) for stride in strides)]
    entry = Code(digest("matmul", plan.symbol, arguments), params)
    entry.call(f"@{plan.symbol}", *arguments)
    return tile(entry, [*kernels(plan), driver(plan)], plan.scratch_bytes)


DOTS_ROWS, ACROSS_ROWS = 8, 48
"""Up to so many rows, A · Bᵀ runs along k; up to so many, it is computed as (B · Aᵀ)ᵀ: A is packed, and not B."""


def prefers_dots(m: int | None, n: int | None, a_k: int, b_k: int) -> bool:
    """Whether the product runs along k: both operands are contiguous there, and a packed B would serve few rows."""
    if a_k != 1 or b_k != 1:
        return False
    return (n is not None and n <= 2) or (m is not None and m <= DOTS_ROWS)


def _choose(
    entry: Code, codes: Sequence[Code], tiles: Sequence[tuple[int, int]], sizes: Sequence[str],
    arguments: Sequence[tuple[str, str | int]],
) -> None:  # fmt: skip
    """Call the first of `codes` whose tile is no larger than the matrix."""
    if len(codes) == 1:
        entry.call(f"@{codes[0].name}", *arguments)
        return
    tall, wide = entry.compare("sge", sizes[0], tiles[0][0]), entry.compare("sge", sizes[1], tiles[0][1])
    fits = entry.let(f"and i1 {tall}, {wide}")
    entry.call(entry.select(fits, "ptr", f"@{codes[0].name}", f"@{codes[1].name}"), *arguments)


def kernels(plan: Plan) -> list[Code]:
    """The micro-kernels and packing functions that a driver calls."""
    s = plan.s
    codes = [micro_kernel(s, r, nv) for nv, rows in plan.tiles for r in rows]
    ways = [plan.pack] if plan.pack else [] if s.masked else ["any"]
    return codes + [pack_panel(s, way) for way in ways] + ([put_across(s)] if plan.across else [])
