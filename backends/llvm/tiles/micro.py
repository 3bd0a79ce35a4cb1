"""The register-tiled micro-kernel that matmul and convolution share, and the SIMD facts it needs.

One micro-kernel computes a tile of `mr` rows and `nv` vectors of columns ::

    C[i, j] (+)= Σ_segments Σ_k A_seg[i, k] * B_seg[k, j]

where A is read one element at a time (broadcast, any strides) and B one vector at a time (columns contiguous).  The
accumulators stay in registers over all segments.  A matmul has one segment; a convolution has one for each filter row
that meets the image, which is how it needs no im2col.  K, the strides and the number of segments are run-time values, so
a module holds each (dtype, mr, nv) once.

The last tile of rows or columns overlaps its neighbour instead of being smaller: rows below `skip` are computed and not
stored.  Columns beyond `cols` are masked where the target has masks; elsewhere the driver gives padded operands and
a padded tile.

May be imported by: the tile emitters of this package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fdl.backends.llvm.target import Target
from fdl.backends.llvm.tiles.text import Code, Shared
from fdl.tracer.dtypes import SHORT, DType, float32, float64
from fdl.tracer.records import dataclass

# Words of a job, the part of a micro-kernel's arguments that its driver sets once for many tiles.
LIST, SEGMENTS, DEPTH, A_ROW, A_DEPTH, B_DEPTH, C_ROW, ACCUMULATE, AHEAD, JOB_WORDS = range(10)

MICRO_PARAMS = (("ptr", "job"), ("i64", "a_offset"), ("i64", "b_offset"), ("ptr", "c"), ("i64", "cols"), ("i64", "skip"))


@dataclass(frozen=True, slots=True)
class Simd:
    """What the tile emitters need to know of a target for one element type.

    `rows[nv]` is the largest number of rows for a tile of nv vectors: rows * nv accumulators, nv vectors of B and
    what a product needs fit in the registers.
    """

    key: str
    element: str
    size: int
    lanes: int
    fma: bool
    masked: bool
    rows: dict[int, int]
    pairs: bool = False
    """Whether an element of A and B is a pair of bfloat16, and a product the sum of theirs: sums are float32 all the same."""

    @property
    def vector(self) -> str:
        return f"<{self.lanes} x {self.element}>"

    @property
    def mask(self) -> str:
        return f"<{self.lanes} x i1>"

    @property
    def intrinsic(self) -> str:
        """The suffix of an LLVM intrinsic on this vector type."""
        return f"v{self.lanes}f{self.size * 8}"

    @property
    def widest(self) -> int:
        """Vectors in the widest tile."""
        return max(self.rows)


def simd(dtype: DType, target: Target) -> Simd | None:
    """The register tiling of `dtype` (float32 or float64) on `target`, None for other types."""
    if dtype not in (float32, float64):
        return None
    if target.name == "avx512":
        rows = {1: 28, 2: 14, 3: 9}
    elif target.name == "neon":
        rows = {1: 24, 2: 12, 3: 8}
    elif target.fma:
        rows = {1: 12, 2: 6}
    else:
        rows = {1: 10, 2: 5}
    element = "float" if dtype == float32 else "double"
    lanes = target.vector_bytes // dtype.itemsize
    key = f"{SHORT[dtype]}_{target.name}"
    return Simd(key, element, dtype.itemsize, lanes, target.fma, target.name == "avx512", rows)


def paired(s: Simd) -> Simd:
    """The same tiling for pairs of bfloat16; of targets that have the instruction."""
    return replace(s, key=f"pairs_{s.key}", pairs=True)


# --- vector helpers ---------------------------------------------------------------------------------


def splat(code: Code, s: Simd, value: str) -> str:
    one = code.let(f"insertelement {s.vector} poison, {s.element} {value}, i64 0")
    return code.let(f"shufflevector {s.vector} {one}, {s.vector} poison, <{s.lanes} x i32> zeroinitializer")


def mask_below(code: Code, s: Simd, count: str) -> str:
    """The mask of the lanes below `count` (i64, may be negative or more than the lanes)."""
    width = f"<{s.lanes} x i32>"
    short = code.let(f"trunc i64 {code.max(code.min(count, s.lanes), 0)} to i32")
    one = code.let(f"insertelement {width} poison, i32 {short}, i64 0")
    all_ = code.let(f"shufflevector {width} {one}, {width} poison, {width} zeroinitializer")
    return code.let(f"icmp slt {width} <{', '.join(f'i32 {i}' for i in range(s.lanes))}>, {all_}")


def load(code: Code, s: Simd, address: str, mask: str | None = None, otherwise: str = "zeroinitializer") -> str:
    """A vector, element-aligned; lanes outside `mask` are those of `otherwise`, and are not touched in memory."""
    if mask is None:
        return code.load(s.vector, address, s.size)
    code.declare(f"{s.vector} @llvm.masked.load.{s.intrinsic}.p0(ptr, i32, {s.mask}, {s.vector})")
    return code.let(
        f"call {s.vector} @llvm.masked.load.{s.intrinsic}.p0(ptr {address}, i32 {s.size}, {s.mask} {mask}, "
        f"{s.vector} {otherwise})"
    )


def store(code: Code, s: Simd, value: str, address: str, mask: str | None = None) -> None:
    if mask is None:
        code.store(s.vector, value, address, s.size)
        return
    code.declare(f"void @llvm.masked.store.{s.intrinsic}.p0({s.vector}, ptr, i32, {s.mask})")
    code.emit(
        f"call void @llvm.masked.store.{s.intrinsic}.p0({s.vector} {value}, ptr {address}, i32 {s.size}, {s.mask} {mask})"
    )


def multiply_add(code: Code, s: Simd, a: str, b: str, c: str) -> str:
    """a * b + c, fused where the target has it."""
    if s.pairs:
        halves, name = f"<{2 * s.lanes} x bfloat>", "llvm.x86.avx512bf16.dpbf16ps.512"
        a, b = (code.let(f"bitcast {s.vector} {x} to {halves}") for x in (a, b))
        code.declare(f"{s.vector} @{name}({s.vector}, {halves}, {halves})")
        return code.let(f"call {s.vector} @{name}({s.vector} {c}, {halves} {a}, {halves} {b})")
    if not s.fma:
        return code.let(f"fadd {s.vector} {code.let(f'fmul {s.vector} {a}, {b}')}, {c}")
    code.declare(f"{s.vector} @llvm.fma.{s.intrinsic}({s.vector}, {s.vector}, {s.vector})")
    return code.let(f"call {s.vector} @llvm.fma.{s.intrinsic}({s.vector} {a}, {s.vector} {b}, {s.vector} {c})")


def opaque(code: Code, value: str) -> str:
    """`value`, unknown to the optimiser.

    Without this, loop strength reduction chains the row addresses, each an add after the one before, and a
    tile one vector wide waits for that chain.
    """
    return code.let(f'call i64 asm "", "=r,0"(i64 {value})')


# --- the micro-kernel -------------------------------------------------------------------------------


def unroll(mr: int, nv: int) -> int:
    """How many steps of k have their own accumulators: enough chains to cover the latency of a multiply-add."""
    return 1 if mr * nv >= 7 else 2 if mr * nv >= 4 else 4


def micro_symbol(s: Simd, mr: int, nv: int, ahead: bool = False) -> str:
    return f"fdl_micro_{s.key}_{mr}x{nv}{'_ahead' if ahead else ''}"


def micro_kernel(s: Simd, mr: int, nv: int, ahead: bool = False) -> Shared:
    """The micro-kernel `void (job, a_offset, b_offset, c, cols, skip)`; offsets in elements.

    With `ahead` it fetches C into the cache before the sums, and meanwhile, for each row of B, the line AHEAD
    bytes after it.
    """
    return Shared(micro_symbol(s, mr, nv, ahead), MICRO_PARAMS, lambda code: _write_micro_kernel(code, s, mr, nv, ahead))


def _write_micro_kernel(code: Code, s: Simd, mr: int, nv: int, ahead: bool) -> None:
    def word(number: int) -> str:
        return code.load("i64", code.at("i64", "%job", number))

    segments, depth = word(SEGMENTS), word(DEPTH)
    table = code.load("ptr", "%job")
    a_row, a_depth, b_depth, c_row = word(A_ROW), word(A_DEPTH), word(B_DEPTH), word(C_ROW)
    mask = mask_below(code, s, code.sub("%cols", (nv - 1) * s.lanes)) if s.masked else None
    # Rows are addressed as (group base) + (offset in the group): few registers, no chain of additions.
    group = 5 if mr > 9 else mr
    offsets = ["0", *(opaque(code, code.mul(a_row, i)) for i in range(1, group))]
    starts = [opaque(code, code.mul(a_row, i)) if i else "0" for i in range(0, mr, group)]
    ku = unroll(mr, nv)
    zeros = [(s.vector, "zeroinitializer")] * (mr * nv)

    def step(bases: Sequence[str], b: str, sums: Sequence[str]) -> list[str]:
        columns = [load(code, s, code.at(s.element, b, j * s.lanes), mask if j == nv - 1 else None) for j in range(nv)]
        out = []
        for i in range(mr):
            a = splat(code, s, code.load(s.element, code.at(s.element, bases[i // group], offsets[i % group])))
            out += [multiply_add(code, s, a, columns[j], sums[i * nv + j]) for j in range(nv)]
        return out

    many = code.mul(code.div(depth, ku), ku)
    distance = word(AHEAD) if ahead else ""
    if ahead:
        fetch_tile(code, s, mr, nv, c_row)
    with code.loop(segments, zeros * ku) as outer:
        entry = code.at("ptr", table, code.mul(outer.index, 2))
        a = code.at(s.element, code.load("ptr", entry), "%a_offset")
        b = code.at(s.element, code.load("ptr", code.at("ptr", entry, 1)), "%b_offset")
        pointers = [("ptr", code.at(s.element, a, start)) for start in starts]
        with code.loop(many, [*((s.vector, v) for v in outer.values), *pointers, ("ptr", b)], step=ku) as inner:
            sums, bases, b = inner.values[: mr * nv * ku], inner.values[mr * nv * ku : -1], inner.values[-1]
            if ahead:
                fetch(code, code.at("i8", b, distance), 2)
            new = []
            for u in range(ku):
                new += step(bases, b, sums[u * mr * nv : (u + 1) * mr * nv])
                bases = [code.at(s.element, p, a_depth) for p in bases]
                b = code.at(s.element, b, b_depth)
            inner.next = [*new, *bases, b]
        sums, bases, b = inner.results[: mr * nv * ku], inner.results[mr * nv * ku : -1], inner.results[-1]
        if ku > 1:
            rest = [*((s.vector, v) for v in sums[: mr * nv]), *(("ptr", p) for p in bases), ("ptr", b)]
            with code.loop(depth, rest, start=many) as tail:
                first = tail.values
                tail.next = [
                    *step(first[mr * nv : -1], first[-1], first[: mr * nv]),
                    *(code.at(s.element, p, a_depth) for p in first[mr * nv : -1]),
                    code.at(s.element, first[-1], b_depth),
                ]
            sums = [*tail.results[: mr * nv], *sums[mr * nv :]]
        outer.next = list(sums)
    sums = outer.results
    while len(sums) > mr * nv:
        half = len(sums) // 2
        sums = [code.let(f"fadd {s.vector} {x}, {y}") for x, y in zip(sums[:half], sums[half:], strict=True)]
    write_tile(code, s, mr, nv, sums, c_row, word(ACCUMULATE), mask)


def fetch(code: Code, address: str, level: int, write: bool = False) -> None:
    """Ask for the line at `address`, in the cache of that level (1 or 2)."""
    code.declare("void @llvm.prefetch.p0(ptr, i32, i32, i32)")
    code.emit(f"call void @llvm.prefetch.p0(ptr {address}, i32 {int(write)}, i32 {4 - level}, i32 1)")


def fetch_tile(code: Code, s: Simd, mr: int, nv: int, c_row: str) -> None:
    """Ask for the lines of the tile at %c, which is written when the sums are ready."""
    for i in range(mr):
        row = code.at(s.element, "%c", code.mul(c_row, i))
        for j in range(nv):
            fetch(code, code.at(s.element, row, j * s.lanes), 1, True)


def write_tile(code: Code, s: Simd, mr: int, nv: int, sums: list[str], c_row: str, accumulate: str, mask: str | None) -> None:
    """Store the tile, added to what is there when `accumulate`; rows below %skip are left alone."""
    rows = [code.at(s.element, "%c", code.mul(c_row, i)) for i in range(mr)]
    cells = [(code.at(s.element, rows[i], j * s.lanes), mask if j == nv - 1 else None) for i in range(mr) for j in range(nv)]
    with_c, write, done = code.fresh("with_c"), code.fresh("write"), code.fresh("written")
    before = code.block
    code.emit(f"br i1 {code.compare('ne', accumulate, 0)}, label %{with_c}, label %{write}")
    code.label(with_c)
    added = [
        code.let(f"fadd {s.vector} {value}, {load(code, s, address, m)}")
        for value, (address, m) in zip(sums, cells, strict=True)
    ]
    code.emit(f"br label %{write}")
    code.label(write)
    values = [code.let(f"phi {s.vector} [ {x}, %{before} ], [ {y}, %{with_c} ]") for x, y in zip(sums, added, strict=True)]
    labels = [code.fresh("row") for _ in range(mr)]
    cases = " ".join(f"i64 {i}, label %{labels[i]}" for i in range(mr))
    code.emit(f"switch i64 %skip, label %{done} [ {cases} ]")
    for i in range(mr):
        code.label(labels[i])
        for j in range(nv):
            store(code, s, values[i * nv + j], *cells[i * nv + j])
        code.emit(f"br label %{labels[i + 1] if i + 1 < mr else done}")
    code.label(done)
