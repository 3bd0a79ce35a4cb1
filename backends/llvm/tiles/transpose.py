"""Copying between windows of one shape whose strides are permuted: blocks transposed in registers.

One axis is contiguous in the output, one in the input.  Where they are the same, runs are copied; otherwise the plane of the two
axes is cut into square blocks as wide as a vector, each loaded by rows and stored by columns.  Elements are moved as bits, so
any dtype of 1, 2, 4 or 8 bytes will do.

May be imported by: the tile emitters of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from fdl.backends.llvm.target import Target
from fdl.backends.llvm.tiles.cut import static
from fdl.backends.llvm.tiles.micro import Simd, load, mask_below, store
from fdl.backends.llvm.tiles.pack import transposed
from fdl.backends.llvm.tiles.parts import TileFunction, digest, tile
from fdl.backends.llvm.tiles.text import Code, Shared
from fdl.backends.loops.ir import Call

PLANE_PARAMS = (("ptr", "y"), ("ptr", "x"), ("i64", "p"), ("i64", "q"), ("i64", "y_q"), ("i64", "x_p"))


def _moves(size: int, target: Target) -> Simd:
    """Vectors for moving elements of `size` bytes. Small ones go in 128-bit vectors, for which all shuffles exist."""
    element = {1: "i8", 2: "i16", 4: "float", 8: "double"}[size]
    small = size < 4
    lanes = (16 if small else target.vector_bytes) // size
    return Simd(f"b{size}_{target.name}", element, size, lanes, False, target.name == "avx512" and not small, {})


def write_transpose(call: Call, target: Target) -> TileFunction | None:
    """The copy of `call`, or None where neither window has a contiguous axis."""
    (y,), (x,) = call.outputs, call.inputs
    if x.buffer.dtype != y.buffer.dtype or x.buffer.dtype.itemsize not in (1, 2, 4, 8):
        return None
    s = _moves(x.buffer.dtype.itemsize, target)
    sizes = [static(n) for n in y.shape]
    axes = [d for d in range(len(sizes)) if sizes[d] != 1]
    out_axis = next((d for d in axes if y.strides[d] == 1), None)
    in_axis = next((d for d in axes if x.strides[d] == 1), None)
    if out_axis is None or in_axis is None:
        return None
    facts = (y.strides, x.strides, tuple(axes))
    params = [("ptr", "scratch"), ("ptr", "out0"), ("ptr", "in0"), *(("i64", f"s{d}") for d in range(2 * len(sizes)))]
    entry = Code(digest("transpose", s.key, facts), params)
    inner = {out_axis, in_axis}
    with ExitStack() as stack:
        at_y, at_x = "0", "0"
        for d in axes:
            if d not in inner:
                i = stack.enter_context(entry.loop(f"%s{d}")).index
                at_y, at_x = entry.add(at_y, entry.mul(i, y.strides[d])), entry.add(at_x, entry.mul(i, x.strides[d]))
        to, source = entry.at(s.element, "%out0", at_y), entry.at(s.element, "%in0", at_x)
        if out_axis == in_axis:
            helper = _run(s)
            entry.call(f"@{helper.name}", ("ptr", to), ("ptr", source), ("i64", f"%s{out_axis}"))
        else:
            helper = _plane(s)
            entry.call(
                f"@{helper.name}", ("ptr", to), ("ptr", source), ("i64", f"%s{out_axis}"), ("i64", f"%s{in_axis}"),
                ("i64", y.strides[in_axis]), ("i64", x.strides[out_axis]),
            )  # fmt: skip
    return tile(entry, [helper], 0)


def _run(s: Simd) -> Shared:
    """The function `void (y, x, n)` that copies n elements."""
    return Shared(f"fdl_run_{s.key}", (("ptr", "y"), ("ptr", "x"), ("i64", "n")), lambda code: _write_run(code, s))


def _write_run(code: Code, s: Simd) -> None:
    whole = code.mul(code.div("%n", s.lanes), s.lanes)
    with code.loop(whole, step=s.lanes) as i:
        store(code, s, load(code, s, code.at(s.element, "%x", i.index)), code.at(s.element, "%y", i.index))
    with code.loop("%n", start=whole) as i:
        code.store(s.element, code.load(s.element, code.at(s.element, "%x", i.index)), code.at(s.element, "%y", i.index))


def _plane(s: Simd) -> Shared:
    """The function that sets y[q * y_q + p] = x[p * x_p + q] for all p and q."""
    return Shared(f"fdl_plane_{s.key}", PLANE_PARAMS, lambda code: _write_plane(code, s))


def _write_plane(code: Code, s: Simd) -> None:
    n = s.lanes
    turn: Callable[[Code, Simd, Sequence[str]], list[str]] = transposed if s.size >= 4 else _zipped
    if s.masked:
        with code.loop("%p", step=n) as p, code.loop("%q", step=n) as q:
            wide, high = code.sub("%q", q.index), code.sub("%p", p.index)
            in_mask, out_mask = mask_below(code, s, wide), mask_below(code, s, high)
            # Rows beyond the edge repeat the last one, and are masked away when they are stored as columns.
            rows = [code.add(p.index, code.min(i, code.sub(high, 1))) for i in range(n)]
            block = [load(code, s, _element(code, s, "%x", "%x_p", row, q.index), in_mask) for row in rows]
            for j, column in enumerate(turn(code, s, block)):
                there = code.let(f"select i1 {code.compare('sgt', wide, j)}, {s.mask} {out_mask}, {s.mask} zeroinitializer")
                store(code, s, column, _element(code, s, "%y", "%y_q", code.add(q.index, j), p.index), there)
        return
    whole_p, whole_q = (code.mul(code.div(size, n), n) for size in ("%p", "%q"))
    with code.loop(whole_p, step=n) as p, code.loop(whole_q, step=n) as q:
        block = [load(code, s, _element(code, s, "%x", "%x_p", code.add(p.index, i), q.index)) for i in range(n)]
        for j, column in enumerate(turn(code, s, block)):
            store(code, s, column, _element(code, s, "%y", "%y_q", code.add(q.index, j), p.index))
    for q_from, q_to, p_from in (("0", whole_q, whole_p), (whole_q, "%q", "0")):
        with code.loop(q_to, start=q_from) as q, code.loop("%p", start=p_from) as p:
            value = code.load(s.element, _element(code, s, "%x", "%x_p", p.index, q.index))
            code.store(s.element, value, _element(code, s, "%y", "%y_q", q.index, p.index))


def _element(code: Code, s: Simd, base: str, stride: str, row: str, column: str) -> str:
    return code.at(s.element, base, code.add(code.mul(row, stride), column))


def _zipped(code: Code, s: Simd, rows: Sequence[str]) -> list[str]:
    """The transpose of a square block by interleaving rows half a block apart, log2(n) times."""
    n, out = s.lanes, list(rows)
    low = ", ".join(f"i32 {p}" for i in range(n // 2) for p in (i, n + i))
    high = ", ".join(f"i32 {p}" for i in range(n // 2, n) for p in (i, n + i))
    for _ in range(n.bit_length() - 1):
        pairs = [(out[i], out[i + n // 2]) for i in range(n // 2)]
        out = [
            code.let(f"shufflevector {s.vector} {a}, {s.vector} {b}, <{n} x i32> <{picks}>")
            for a, b in pairs
            for picks in (low, high)
        ]
    return out
