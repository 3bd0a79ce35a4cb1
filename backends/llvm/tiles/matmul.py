"""Matrix multiplication: C[M, N] (+)= A[M, K] · B[K, N], any static strides, run-time sizes.

The driver walks K in blocks and N in panels as wide as a micro-kernel, and runs the micro-kernel down the rows of each
panel.  A is never packed: its elements are broadcast one by one, so A and Aᵀ cost the same.  B is read in
place where its rows are contiguous (packing it never paid, up to 1536³); otherwise each panel is packed just before
use, Bᵀ by transposing blocks in registers.  A transposed C is computed as Cᵀ = Bᵀ Aᵀ; so is one with few rows
where B is transposed, since it is A that is packed then, and each tile is turned when it is written.  For the very
fewest rows, for the fewest columns, and for matrix times vector, `dots` runs vectors along K instead.

May be imported by: the tile emitters of this package.
"""

from __future__ import annotations

from collections.abc import Sequence

from fdl.backends.llvm.target import Target
from fdl.backends.llvm.tiles.cut import (
    choose_rows,
    column_counts,
    column_counts_at,
    most,
    row_choices,
    row_loop,
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
    AHEAD,
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
from fdl.backends.llvm.tiles.packed import Operands, write_packed
from fdl.backends.llvm.tiles.parts import TileFunction, digest, tile
from fdl.backends.llvm.tiles.text import Code, Shared
from fdl.backends.loops.ir import Call, Ref
from fdl.backends.loops.lower.panels import THIN, THIN_DEPTH
from fdl.tracer.dtypes import bfloat16, float16
from fdl.tracer.records import dataclass

DEPTH_BLOCK = 512
"""Steps of k between two visits of C: a panel of B this deep stays in the second-level cache."""
FAR = 6 << 20
"""Bytes over which B lies from which on it is fetched ahead: before that the hardware does as well, and the kernel is faster without."""


# --- the driver -------------------------------------------------------------------------------------

DRIVER_PARAMS = (
    ("ptr", "tile"), ("ptr", "panel"), ("ptr", "kernels"), ("ptr", "c"), ("ptr", "a"), ("ptr", "b"),
    ("i64", "m"), ("i64", "n"), ("i64", "k"),
    ("i64", "c_row"), ("i64", "c_col"), ("i64", "a_row"), ("i64", "a_k"), ("i64", "b_k"), ("i64", "b_n"), ("i64", "accumulate"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Driver:
    """The function that cuts a matmul into tiles; strides in elements.

    Shapes share it: `kernels` is a table of (micro-kernel, height) for widths from the widest down to one vector.
    `tile` is room for one tile of C (when `needs_tile`), `panel` for a packed panel of B (when `needs_panel`).
    """

    s: Simd
    pack: str | None
    """How B is packed: None (read in place), "turn" or "any"."""
    across: bool = False
    """Whether rows of C are contiguous rather than its columns: tiles are turned when they are written."""
    ahead: bool = False
    """Whether the next panel of B is fetched while one is in use: B, which is not packed, lies far apart."""

    @property
    def symbol(self) -> str:
        return f"fdl_matmul_{self.s.key}_{self.pack or 'direct'}{'_across' * self.across}{'_ahead' * self.ahead}"

    @property
    def needs_tile(self) -> bool:
        return self.across or not self.s.masked

    @property
    def needs_panel(self) -> bool:
        return self.pack is not None or not self.s.masked

    def _helpers(self) -> list[Shared]:
        """The packing functions that the driver calls."""
        ways = [self.pack] if self.pack else [] if self.s.masked else ["any"]
        return [*(pack_panel(self.s, way) for way in ways), *([put_across(self.s)] if self.across else [])]

    def function(self) -> Shared:
        return Shared(self.symbol, DRIVER_PARAMS, self._write, self._helpers())

    def _write(self, code: Code) -> None:
        s = self.s
        job = code.let(f"alloca [{JOB_WORDS} x i64], align 64")
        table = code.let("alloca [2 x ptr], align 16")
        counts = code.let(f"alloca [{s.widest} x i64], align 16")
        for nv, count in column_counts_at(code, s, sorted(s.rows, reverse=True), "%n").items():
            code.store("i64", str(count), code.at("i64", counts, s.widest - nv))
        set_job(code, job, {LIST: table, SEGMENTS: 1, A_ROW: "%a_row", A_DEPTH: "%a_k", C_ROW: "%c_row"})
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
            with code.loop(s.widest, [("i64", "0")]) as group:
                width = code.mul(code.sub(s.widest, group.index), s.lanes)
                kernel = code.at("i64", "%kernels", code.mul(group.index, 2))
                height = code.load("i64", code.at("i64", kernel, 1))
                walk = _Walk(code, self, job, code.at("ptr", table, 1), depth, width, code.load("ptr", kernel), height)
                count = code.load("i64", code.at("i64", counts, group.index))
                with code.loop(count) as panel:
                    _panel(walk, b, code.add(group.values[0], code.mul(panel.index, width)))
                group.next = [code.add(group.values[0], code.mul(count, width))]


@dataclass(frozen=True, slots=True)
class _Walk:
    """What the loops over tiles share: the job, its slot for B, the depth in k; width, micro-kernel and height of the tiles."""

    code: Code
    driver: Driver
    job: str
    slot: str
    depth: str
    width: str
    function: str
    height: str

    def pack(self, way: str, b: str, cols: str) -> None:
        self.code.call(
            f"@{pack_symbol(self.driver.s, way)}",
            ("ptr", "%panel"), ("ptr", b), ("i64", self.depth), ("i64", cols), ("i64", self.width),
            ("i64", "%b_k"), ("i64", "%b_n"),
        )  # fmt: skip


def _panel(walk: _Walk, b: str, j: str) -> None:
    """The panel of C from column j on, from top to bottom: B, packed or not, comes from far once."""
    code, driver, width = walk.code, walk.driver, walk.width
    s = driver.s
    cols = code.min(code.sub("%n", j), width)
    source, step = code.at(s.element, b, code.mul(j, "%b_n")), "%b_k"
    if driver.pack:
        walk.pack(driver.pack, source, cols)
        source, step = "%panel", width
    elif not s.masked:  # the micro-kernel reads whole vectors: give it a padded copy of a ragged panel
        ragged = code.compare("slt", cols, width)
        with code.when(ragged):
            walk.pack("any", source, cols)
        source = code.select(ragged, "ptr", "%panel", source)
        step = code.select(ragged, "i64", width, step)
    code.store("ptr", source, walk.slot)
    set_job(code, walk.job, {B_DEPTH: step})
    with row_loop(code, walk.function, walk.height, "%m") as row:
        if driver.ahead:  # the lines of a row by turns; beyond the last panel it does not matter what they are
            turn = code.let(f"urem i64 {code.div(code.add(row.start, row.skip), walk.height)}, {s.widest}")
            set_job(code, walk.job, {AHEAD: code.add(code.mul(width, s.size), code.mul(turn, s.lanes * s.size))})
        a = code.mul(row.start, "%a_row")
        if driver.across:
            c = code.at(s.element, "%c", code.add(code.mul(j, "%c_col"), row.start))
            run_tile_across(code, s, width, walk.job, row, (a, c, cols), "%c_col", "%tile")
        else:
            c = code.at(s.element, "%c", code.add(code.mul(row.start, "%c_row"), j))
            run_tile(code, s, width, walk.job, row, (a, "0", c, cols), "%c_row", None if s.masked else "%tile")


# --- the entry point --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Operand:
    """A matrix argument: its parameter name, its two sizes (where known) and strides."""

    name: str
    sizes: tuple[int | None, int | None]
    most: tuple[int | None, int | None]
    """The most that they are."""
    strides: tuple[int, int]

    @property
    def turned(self) -> Operand:
        return Operand(self.name, self.sizes[::-1], self.most[::-1], self.strides[::-1])


def _operand(name: str, ref: Ref) -> Operand:
    sizes = tuple(static(n) for n in ref.shape)
    # The stride of an axis of length one, and any stride of an empty matrix, is never used: call it whatever suits.
    free = 0 in sizes
    strides = [1 if n == 1 or free else stride for n, stride in zip(sizes, ref.strides, strict=True)]
    return Operand(name, (sizes[0], sizes[1]), (most(ref.shape[0]), most(ref.shape[1])), (strides[0], strides[1]))


def way_to_pack(b_k: int, b_n: int) -> str | None:
    """How B is packed: None for in place."""
    return None if b_n == 1 else "turn" if b_k == 1 else "any"


def write_matmul(call: Call, target: Target) -> TileFunction | None:
    """The matmul of `call`, or None where its dtypes or strides have no vector form."""
    dtypes = {ref.buffer.dtype for ref in (*call.outputs, *call.inputs)}
    if len(dtypes) != 1:
        return None
    (dtype,) = dtypes
    if len(call.inputs[1].shape) == 3:
        return _packed(call, simd(dtype, target))
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
        facts = HalfMatmul(dtype, m, c.most[0], n, a.sizes[1], a.strides, b.strides, c.strides[0], accumulate)
        return write_half(facts, target, (f"%{c.name}", f"%{a.name}", f"%{b.name}"), (sizes[0], sizes[1]), params)
    s = simd(dtype, target)
    if s is None:
        return None
    pointers = [("ptr", f"%{operand.name}") for operand in (c, a, b)]
    extents = [("i64", size) for size in sizes]
    if prefers_dots((m, n, a.sizes[1]), a.strides[1], b.strides[0]):
        strides = (*c.strides, a.strides[0], b.strides[1])
        arguments: list[tuple[str, str | int]] = [*pointers, *extents, *(("i64", stride) for stride in strides)]
        tiles = dots_tiles(s, m, n)
        codes = [dots(s, shape, accumulate) for shape in tiles]
        entry = Code(digest("dots", s.key, tiles, accumulate, arguments), params)
        _choose(entry, codes, tiles, sizes, arguments)
        return tile(entry, codes, 0)
    if c.strides[1] != 1:
        return None
    driver = Driver(s, way_to_pack(*b.strides), ahead=b.strides[1] == 1 and (b.sizes[0] or 0) * b.strides[0] * s.size >= FAR)
    if driver.pack == "turn" and prefers_across(m, a.sizes[1], a.strides[1]):
        driver = Driver(s, "turn", across=True)
        c, a, b = c.turned, b.turned, a.turned
        m, n = n, m
        extents[:2] = extents[1::-1]
    return _tiled(driver, (c, a, b), (m, n), extents, accumulate, params)


def _packed(call: Call, s: Simd | None) -> TileFunction | None:
    """The matmul of a call whose B is packed."""
    c, a = _operand("out0", call.outputs[0]), _operand("in0", call.inputs[0])
    if s is None or c.strides[1] != 1:
        return None
    params = [("ptr", "scratch"), ("ptr", "out0"), ("ptr", "in0"), ("ptr", "in1"), *(("i64", f"s{i}") for i in range(7))]
    accumulate = bool(dict(call.attrs).get("accumulate", False))
    return write_packed(s, Operands(c.strides[0], a.strides, c.sizes[0], c.most[0], c.sizes[1], accumulate), ("%s0", "%s1", "%s3"), params)


def _tiled(
    driver: Driver, operands: tuple[Operand, Operand, Operand], known: tuple[int | None, int | None],
    extents: list[tuple[str, str]], accumulate: bool, params: list[tuple[str, str]],
) -> TileFunction:  # fmt: skip
    """The entry that picks micro-kernels for M and N, as far as they are `known`, and calls the driver."""
    s, (m, n) = driver.s, known
    widths = set(s.rows) if n is None else {nv for nv, count in column_counts(n, s).items() if count}
    rows = {nv: row_choices(m, s.rows[nv], operands[0].most[0]) for nv in widths}
    elements = max((nv * max(heights) for nv, heights in rows.items()), default=0) * s.lanes
    tile_bytes = elements * s.size if driver.needs_tile else 0
    panel_bytes = (DEPTH_BLOCK + s.lanes) * max(widths, default=0) * s.lanes * s.size if driver.needs_panel else 0
    strides = (*operands[0].strides, *operands[1].strides, *operands[2].strides, int(accumulate))
    names = tuple(f"%{operand.name}" for operand in operands)
    entry = Code(digest("matmul", driver, names, extents, strides, rows), params)
    kernels = entry.let(f"alloca [{2 * s.widest} x i64], align 16")
    for nv in s.rows:
        function, height = choose_rows(entry, s, nv, rows[nv], extents[0][1], driver.ahead) if nv in rows else ("null", "1")
        slot = entry.at("i64", kernels, 2 * (s.widest - nv))
        entry.store("ptr", function, slot)
        entry.store("i64", height, entry.at("i64", slot, 1))
    panel = entry.at("i8", "%scratch", tile_bytes)
    entry.call(
        f"@{driver.symbol}", ("ptr", "%scratch"), ("ptr", panel), ("ptr", kernels), *(("ptr", name) for name in names),
        *extents, *(("i64", stride) for stride in strides),
    )  # fmt: skip
    micros = [micro_kernel(s, height, nv, driver.ahead) for nv, heights in rows.items() for height in heights]
    return tile(entry, [*micros, driver.function()], tile_bytes + panel_bytes)


DOTS_ROWS = 8
"""Up to so many rows, A · Bᵀ runs along k rather than packing B."""

ACROSS_ROWS, ACROSS_DEPTH = range(17, 65), 256
"""With so many rows and at least this depth, A · Bᵀ is computed as (B · Aᵀ)ᵀ: A is packed, and not B."""


def prefers_dots(sizes: tuple[int | None, int | None, int | None], a_k: int, b_k: int) -> bool:
    """Whether the product runs along k: both operands are contiguous there, and a packed B would serve few rows or have few columns."""
    m, n, k = sizes
    if a_k != 1 or b_k != 1:
        return False
    thin = 2 if k is not None and k < THIN_DEPTH else THIN
    return (n is not None and n <= thin) or (m is not None and m <= DOTS_ROWS)


def prefers_across(m: int | None, k: int | None, a_k: int) -> bool:
    """Whether A · Bᵀ is better computed turned: packing B would cost more than turning the tiles."""
    return m in ACROSS_ROWS and k is not None and k >= ACROSS_DEPTH and a_k == 1


def _choose(
    entry: Code, codes: Sequence[Shared], tiles: Sequence[tuple[int, int]], sizes: Sequence[str],
    arguments: Sequence[tuple[str, str | int]],
) -> None:  # fmt: skip
    """Call the first of `codes` whose tile is no larger than the matrix."""
    if len(codes) == 1:
        entry.call(f"@{codes[0].name}", *arguments)
        return
    tall, wide = entry.compare("sge", sizes[0], tiles[0][0]), entry.compare("sge", sizes[1], tiles[0][1])
    fits = entry.let(f"and i1 {tall}, {wide}")
    entry.call(entry.select(fits, "ptr", f"@{codes[0].name}", f"@{codes[1].name}"), *arguments)
