"""Matrix products whose two operands both have contiguous k: tiles of dot products, vectors running along k.

No packing and no broadcast, at the price of a horizontal sum for each element: the better form of A · Bᵀ when packing B
would serve few rows, and of matrix times vector.

May be imported by: the tile emitters of this package.
"""

from __future__ import annotations

from fdl.backends.llvm.tiles.micro import Simd, load, mask_below, multiply_add
from fdl.backends.llvm.tiles.text import Code, Shared

DOTS_PARAMS = (
    ("ptr", "c"), ("ptr", "a"), ("ptr", "b"), ("i64", "m"), ("i64", "n"), ("i64", "k"),
    ("i64", "c_row"), ("i64", "c_col"), ("i64", "a_row"), ("i64", "b_col"),
)  # fmt: skip


def dots_tiles(s: Simd, m: int | None, n: int | None) -> tuple[tuple[int, int], ...]:
    """The (rows, columns) of the tiles that serve sizes known or not, best first: the last one serves any size.

    A tile's sums and operands fit the registers, and it is never larger than the matrix.
    """
    budget = max(mr * nv for nv, mr in s.rows.items()) - 4
    heights, widths = range(1, min(m or 8, 8) + 1), range(1, min(n or 8, 8) + 1)
    shapes = [(r, c) for r in heights for c in widths if r * c + min(r, c) <= budget]
    best = max(shapes, key=lambda shape: _worth(*shape))
    last = (best[0] if m is not None else 1, best[1] if n is not None else 1)
    return tuple(dict.fromkeys((best, last)))


def _worth(rows: int, cols: int) -> float:
    """Multiply-adds for each load, capped by the two of each that a cycle has; ties go to the larger tile."""
    return min(rows * cols / (rows + cols), 2.0) + rows * cols / 1000


def dots_symbol(s: Simd, tile: tuple[int, int], accumulate: bool) -> str:
    return f"fdl_dots_{s.key}_{tile[0]}x{tile[1]}{'_add' if accumulate else ''}"


def dots(s: Simd, tile: tuple[int, int], accumulate: bool) -> Shared:
    """The function C[M, N] (+)= A · B for any C strides; M and N are at least the tile's."""
    return Shared(dots_symbol(s, tile, accumulate), DOTS_PARAMS, lambda code: _write_dots(code, s, tile, accumulate))


def _write_dots(code: Code, s: Simd, tile: tuple[int, int], accumulate: bool) -> None:
    rows, cols = tile
    bottom, right = code.sub("%m", rows), code.sub("%n", cols)
    whole = code.mul(code.div("%k", s.lanes), s.lanes)
    mask = mask_below(code, s, code.sub("%k", whole)) if s.masked else None
    with code.loop(code.ceil_div("%n", cols)) as jp, code.loop(code.ceil_div("%m", rows)) as ip:
        # The last tile overlaps its neighbours; what they have stored it leaves alone.
        i_want, j_want = code.mul(ip.index, rows), code.mul(jp.index, cols)
        i0, j0 = code.min(i_want, bottom), code.min(j_want, right)
        a_rows = [code.at(s.element, "%a", code.mul(code.add(i0, i), "%a_row")) for i in range(rows)]
        b_cols = [code.at(s.element, "%b", code.mul(code.add(j0, j), "%b_col")) for j in range(cols)]

        def step(sums: list[str], k: str, mask: str | None) -> list[str]:
            left = [load(code, s, code.at(s.element, p, k), mask) for p in a_rows]
            right = [load(code, s, code.at(s.element, p, k), mask) for p in b_cols]
            return [multiply_add(code, s, x, y, sums[i * cols + j]) for i, x in enumerate(left) for j, y in enumerate(right)]

        with code.loop(whole, [(s.vector, "zeroinitializer")] * (rows * cols), step=s.lanes) as inner:
            inner.next = step(inner.values, inner.index, None)
        vectors = step(inner.results, whole, mask) if s.masked else inner.results
        totals = _totals(code, s, vectors)
        if not s.masked:
            totals = _scalar_tail(code, s, totals, a_rows, b_cols, whole)
        for i in range(rows):
            for j in range(cols):
                place = code.add(code.mul(code.add(i0, i), "%c_row"), code.mul(code.add(j0, j), "%c_col"))
                place, total = code.at(s.element, "%c", place), totals[i * cols + j]
                if not accumulate:  # where tiles overlap both store the same bits
                    code.store(s.element, total, place)
                    continue
                own_row, own_col = code.compare("sge", code.add(i0, i), i_want), code.compare("sge", code.add(j0, j), j_want)
                with code.when(code.let(f"and i1 {own_row}, {own_col}")):
                    before = code.load(s.element, place)
                    code.store(s.element, code.let(f"fadd {s.element} {before}, {total}"), place)


def _totals(code: Code, s: Simd, vectors: list[str]) -> list[str]:
    """The sum of the lanes of each vector: pairs of vectors are folded into one, until a lane holds each sum."""
    # Each vector starts with its index; folding two of them interleaves halves, so a lane's owner is known throughout.
    groups = [(v, [i] * s.lanes) for i, v in enumerate(vectors)]
    width = s.lanes  # lanes that still belong to one sum
    while width > 1:
        half = width // 2
        folded = []
        for at in range(0, len(groups), 2):
            x, x_owner = groups[at]
            y, y_owner = groups[at + 1] if at + 1 < len(groups) else groups[at]
            starts = range(0, s.lanes, width)
            low_x = [[start + i for i in range(half)] for start in starts]
            low_y = [[s.lanes + lane for lane in block] for block in low_x]
            own_x, own_y = [[x_owner[i]] * half for i in starts], [[y_owner[i]] * half for i in starts]
            if half * s.size >= 16:  # whole 128-bit lanes: first those of x, then those of y
                blocks, owners = [*low_x, *low_y], [*own_x, *own_y]
            else:  # inside a lane: x and y in turn
                blocks = [block for pair in zip(low_x, low_y, strict=True) for block in pair]
                owners = [block for pair in zip(own_x, own_y, strict=True) for block in pair]
            low = [lane for block in blocks for lane in block]
            high = [lane + half for lane in low]
            owner = [i for block in owners for i in block]
            a, b = (code.let(_shuffled(s, x, y, picks)) for picks in (low, high))
            folded.append((code.let(f"fadd {s.vector} {a}, {b}"), owner))
        groups, width = folded, half
    out = [""] * len(vectors)
    for vector, owner in groups:
        for lane, i in enumerate(owner):
            if not out[i]:
                out[i] = code.let(f"extractelement {s.vector} {vector}, i64 {lane}")
    return out


def _shuffled(s: Simd, x: str, y: str, picks: list[int]) -> str:
    mask = ", ".join(f"i32 {p}" for p in picks)
    return f"shufflevector {s.vector} {x}, {s.vector} {y}, <{s.lanes} x i32> <{mask}>"


def _scalar_tail(code: Code, s: Simd, totals: list[str], a_rows: list[str], b_cols: list[str], start: str) -> list[str]:
    """`totals` plus the products from `start` to K, one k at a time."""
    with code.loop("%k", [(s.element, t) for t in totals], start=start) as k:
        left = [code.load(s.element, code.at(s.element, p, k.index)) for p in a_rows]
        right = [code.load(s.element, code.at(s.element, p, k.index)) for p in b_cols]
        for i, x in enumerate(left):
            for j, y in enumerate(right):
                product = code.let(f"fmul {s.element} {x}, {y}")
                k.next.append(code.let(f"fadd {s.element} {k.values[i * len(right) + j]}, {product}"))
    return k.results
