"""Every other element of memory as a vector: the parts of complex numbers, and other strides of 2.

A gather costs several cycles for each lane.  Two overlapping vectors and a shuffle give the same elements, and touch no byte outside
of those: for 4 lanes, elements 0-3 and 3-6 hold 0, 2, 4, 6.  A store writes every other lane of two vectors, under a mask.
"""

from __future__ import annotations

from collections.abc import Callable

from .text import Code, iota, mangle, splat_literal, vec

Load = Callable[[str, str], str]
"""(right-hand side, operand) → the register that a load is in."""


def masked_load(code: Code, element: str, lanes: int, pointer: str, mask: str, align: int) -> str:
    """The right-hand side of a masked load; lanes that don't take part are 0."""
    kind = vec(element, lanes)
    symbol = f"@llvm.masked.load.{mangle(element, lanes)}.p0"
    code.module.declare(f"declare {kind} {symbol}(ptr, i32, <{lanes} x i1>, {kind})")
    return f"call {kind} {symbol}(ptr {pointer}, i32 {align}, <{lanes} x i1> {mask}, {kind} zeroinitializer)"


def masked_store(code: Code, element: str, lanes: int, pointer: str, value: str, mask: str, align: int) -> str:
    """A masked store, as an instruction.

    One lane alone is stored as a scalar: of elements below 32 bits, LLVM 22 for AVX-512 joins the conversion to them with such a store
    and writes the whole 32 bits, two or three bytes too many.
    """
    kind = vec(element, lanes)
    if mask.startswith("<i1") and mask.count("true") == 1:
        lane = mask.split(",").index(next(part for part in mask.split(",") if "true" in part))
        one = code.pure(f"extractelement {kind} {value}, i64 {lane}", value)
        p = code.pure(f"getelementptr inbounds {element}, ptr {pointer}, i64 {lane}", pointer) if lane else pointer
        return f"store {element} {one}, ptr {p}, align {align}"
    symbol = f"@llvm.masked.store.{mangle(element, lanes)}.p0"
    code.module.declare(f"declare void {symbol}({kind}, ptr, i32, <{lanes} x i1>)")
    return f"call void {symbol}({kind} {value}, ptr {pointer}, i32 {align}, <{lanes} x i1> {mask})"


def hidden(code: Code, lanes: int, mask: str) -> str:
    """`mask`; one that is a constant, of the first lanes, as a value that LLVM cannot know.

    Where a shuffle drops what a constant mask leaves out, LLVM 22 for AVX2 forgets the mask, and reads beyond the array.
    """
    if not mask.startswith("<i1"):
        return mask
    count = mask.count("true")
    assert "true" not in mask.split("false", 1)[-1] or count == lanes, mask
    slot = code.alloca("i32", 1, 4)
    code.do(f"store volatile i32 {count}, ptr {slot}, align 4")
    known = code.emit(f"load volatile i32, ptr {slot}, align 4")
    return code.emit(f"icmp ult <{lanes} x i32> {iota('i32', lanes)}, {code.splat('i32', known, lanes)}")


def shuffle(code: Code, element: str, lanes: int, a: str, b: str, order: list[int]) -> str:
    """Lanes of `a`, then of `b`, by number; -1 leaves a lane undefined."""
    kind = vec(element, lanes)
    numbers = ", ".join("i32 poison" if i < 0 else f"i32 {i}" for i in order)
    return code.pure(f"shufflevector {kind} {a}, {kind} {b}, <{len(order)} x i32> <{numbers}>", a, b)


def load_alternate(code: Code, element: str, lanes: int, pointer: str, mask: str | None, align: int, load: Load) -> str:
    """The elements 0, 2, 4, ... from `pointer`, those of the lanes that take part."""
    kind = vec(element, lanes)
    half = lanes // 2
    mask = mask and hidden(code, lanes, mask)
    second = code.pure(f"getelementptr inbounds {element}, ptr {pointer}, i64 {lanes - 1}", pointer)
    parts = []
    for p, low in ((pointer, True), (second, False)):
        if mask is None:
            parts.append(load(f"load {kind}, ptr {p}, align {align}", p))
            continue
        none = splat_literal("i1", "false", lanes)
        # Lane l is in place 2l of the first vector, or 2l - (lanes - 1) of the second.
        spread = [
            (i // 2 if i % 2 == 0 else lanes) if low else ((i + lanes - 1) // 2 if i % 2 else lanes) for i in range(lanes)
        ]
        active = shuffle(code, "i1", lanes, mask, none, spread)
        parts.append(load(masked_load(code, element, lanes, p, active, align), active))
    order = [2 * i for i in range(half)] + [lanes + 2 * i - (lanes - 1) for i in range(half, lanes)]
    return shuffle(code, element, lanes, parts[0], parts[1], order)


def store_alternate(code: Code, element: str, lanes: int, pointer: str, value: str, mask: str | None, align: int) -> None:
    """Writes the lanes that take part to the elements 0, 2, 4, ... from `pointer`, and nothing between them."""
    half = lanes // 2
    active = mask or splat_literal("i1", "true", lanes)
    none = splat_literal("i1", "false", lanes)
    for k in range(2):
        p = pointer if k == 0 else code.pure(f"getelementptr inbounds {element}, ptr {pointer}, i64 {lanes}", pointer)
        taken = shuffle(code, "i1", lanes, active, none, [k * half + i // 2 if i % 2 == 0 else lanes for i in range(lanes)])
        spread = shuffle(code, element, lanes, value, value, [k * half + i // 2 if i % 2 == 0 else -1 for i in range(lanes)])
        code.do(masked_store(code, element, lanes, p, spread, taken, align))
