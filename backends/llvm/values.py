"""Loop IR values to registers: scalar, affine in the vector loop's variable, or one element per lane.

A `Reg` is one of three things.  *Uniform*: one scalar, the same in every lane.  *Affine*: an integer `text + step * lane`;
index arithmetic stays in this form, as scalar code, and says at the end how memory is accessed: step 1 is a contiguous
vector, 0 a broadcast, anything else a gather or scatter.  *Varying*: a vector register.

`State` is what one function's statements share while they are written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import NamedTuple

import numpy as np

from fdl.backends.loops import ir
from fdl.backends.loops.build import Interval, bounds
from fdl.tracer import dtypes
from fdl.tracer.dtypes import DType
from fdl.tracer.records import dataclass

from . import scalars
from .fences import Fenced
from .ints import literal_value
from .pairs import load_alternate, masked_load, masked_store, store_alternate
from .text import Code, iota, mangle, memory_type, register_type, splat_literal, vec
from .tiles import TileFunction

INDEX = ir.INDEX


class Reg(NamedTuple):
    """A value in registers. `step` is non-zero for an affine integer, whose scalar part is `text`.

    `align` divides the scalar part, and `nonnegative` is known of it: what turns `v // 64` into a scalar division.
    """

    text: str
    lanes: int = 1
    step: int = 0
    align: int = 1
    nonnegative: bool = False

    @property
    def uniform(self) -> bool:
        return self.lanes == 1 and self.step == 0


@dataclass(slots=True)
class Vector:
    """The vector loop being written: its width, and the lanes that take part (None: all)."""

    lanes: int
    mask: str | None
    varying: frozenset[str]
    position: int
    """The place of the loop in `State.iteration`."""


@dataclass(slots=True)
class State:
    """What the statements of one function share."""

    code: Code
    frame: str
    scratch: str
    offsets: dict[str, int]
    tiles: dict[int, TileFunction]
    """The functions of the routine's tile calls, by the statement's id."""
    ranges: Callable[[], Mapping[ir.Var, Interval]]
    """What is known of the routine's index variables."""
    env: dict[str, Reg] = field(default_factory=dict)
    slots: Mapping[str, int] = field(default_factory=dict)
    """Argument → its place in the array `%buffers`, in the function that is given the array."""
    pointers: dict[str, str] = field(default_factory=dict)
    """The addresses that are at hand; see `address`."""
    vector: Vector | None = None
    iteration: list[tuple[str, str]] = field(default_factory=list)
    """(variable, extent) of the loops around, outermost first: they number a check's iterations."""
    versions: dict[str, int] = field(default_factory=dict)
    floors: dict[str, int] = field(default_factory=dict)
    """Buffer → depth of the innermost open loop that stores to it: a load goes no further out."""
    scratch_bytes: int = 0
    statements: int = 0
    fenced: Fenced | None = None
    """Puts canaries around local buffers, where memory is debugged."""

    def address(self, buffer: str) -> str:
        """The address of a buffer's first element: where it is an argument's or in the arena, found at its first use."""
        found = self.pointers.get(buffer)
        if found is not None:
            return found
        code, slot = self.code, self.slots.get(buffer)
        if slot is not None:
            where = code.pure(f"getelementptr inbounds ptr, ptr %buffers, i64 {slot}", "%buffers")
            return code.pure(f"load ptr, ptr {where}, align 8", where)
        arena = code.pure(f"load ptr, ptr {self.frame}, align 8", self.frame)
        return code.pure(f"getelementptr inbounds i8, ptr {arena}, i64 {self.offsets[buffer]}", arena)

    def touch(self, buffer: str) -> None:
        """Notes that `buffer` has been written: earlier loads are out of date."""
        self.versions[buffer] = self.versions.get(buffer, 0) + 1


def known(reg: Reg) -> int | None:
    """The integer that a constant uniform register holds, or None."""
    return literal_value(reg.text) if reg.uniform and not reg.text.startswith("%") else None


def integer(value: int) -> Reg:
    """A constant index."""
    return Reg(str(value), align=abs(value) or 1 << 62, nonnegative=value >= 0)


def widen(s: State, reg: Reg, dtype: DType) -> str:
    """`reg` with one element in each lane of the vector loop being written."""
    assert s.vector is not None
    lanes = s.vector.lanes
    if reg.lanes > 1:
        return reg.text
    element = register_type(dtype)
    base = s.code.splat(element, reg.text, lanes)
    if reg.step == 0:
        return base
    kind = vec(element, lanes)
    return s.code.pure(f"add {kind} {base}, {iota(element, lanes, reg.step)}", base)


def value(s: State, root: ir.Value) -> Reg:
    """The register of an expression. Expressions may be deep and share parts: no recursion, each part once."""
    done: dict[int, Reg] = {}
    stack = [root]
    while stack:
        node = stack[-1]
        if id(node) in done:
            stack.pop()
            continue
        if isinstance(node, ir.Op):
            operands: Sequence[ir.Value] = node.args
        elif isinstance(node, ir.Load):
            operands = node.index
        else:
            done[id(node)] = _leaf(s, node)
            stack.pop()
            continue
        missing = [a for a in operands if id(a) not in done]
        if missing:
            stack += reversed(missing)
            continue
        regs = [done[id(a)] for a in operands]
        done[id(node)] = load(s, node.buffer, regs) if isinstance(node, ir.Load) else _operation(s, node, regs)
        stack.pop()
    return done[id(root)]


def _leaf(s: State, node: ir.Value) -> Reg:
    if type(node) is ir.Var:
        return s.env[node.name]
    assert type(node) is ir.Const, node
    if node.dtype == INDEX:
        return integer(int(node.value))
    return Reg(scalars.constant(node.value, node.dtype))


def uniform(s: State, root: ir.Value) -> str:
    """The operand of an expression that is the same in every lane."""
    reg = value(s, root)
    assert reg.uniform, root
    return reg.text


def _operation(s: State, node: ir.Op, args: list[Reg]) -> Reg:
    operand = node.args[-1].dtype
    name = node.name
    if all(a.uniform for a in args):
        if node.dtype == INDEX and operand == INDEX:
            return index_arithmetic(s, name, args) or Reg(
                scalars.operation(s.code, name, [a.text for a in args], operand, INDEX)
            )
        return Reg(scalars.operation(s.code, name, [a.text for a in args], operand, node.dtype))
    if node.dtype == INDEX and operand == INDEX:
        affine = index_arithmetic(s, name, args)
        if affine is not None:
            return affine
    if (
        name == "convert"
        and args[0].lanes == 1
        and dtypes.is_int(node.dtype)
        and dtypes.bits(node.dtype) <= dtypes.bits(operand)
    ):
        # Wrapping commutes with the addition of the lane number.
        return args[0]._replace(text=scalars.convert(s.code, args[0].text, operand, node.dtype, 1), align=1, nonnegative=False)
    assert s.vector is not None
    if operand == INDEX and name in _BOUNDS:
        lanes_mask = _compare_lanes(s, name, args)
        if lanes_mask is not None:
            return Reg(lanes_mask, s.vector.lanes)
    if node.dtype == INDEX and operand == INDEX and name in _NARROW and all(_is_small(s, v) for v in (node, *node.args)):
        return Reg(_narrow(s, name, args), s.vector.lanes)
    wide = [widen(s, a, v.dtype) for a, v in zip(args, node.args, strict=True)]
    return Reg(scalars.operation(s.code, name, wide, operand, node.dtype, s.vector.lanes), s.vector.lanes)


_BOUNDS = {"lt": "slt", "le": "sle", "gt": "sgt", "ge": "sge", "eq": "eq", "ne": "ne"}
_MIRRORED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}


_NARROW = frozenset({"add", "sub", "mul", "div", "rem", "min", "max"})


def _is_small(s: State, v: ir.Value) -> bool:
    low, high = bounds(v, s.ranges())
    return low >= 0 and high < 1 << 31


def _narrow(s: State, name: str, args: list[Reg]) -> str:
    """Arithmetic of indices that differ from lane to lane, in 32 bits: 64-bit lanes are divided one by one, and multiplied slowly."""
    assert s.vector is not None
    code, lanes = s.code, s.vector.lanes
    small, wide = vec("i32", lanes), vec("i64", lanes)

    def narrowed(a: Reg) -> str:
        if a.lanes > 1:
            return code.pure(f"trunc {wide} {a.text} to {small}", a.text)
        constant = literal_value(a.text)
        start = str(constant) if constant is not None else code.pure(f"trunc i64 {a.text} to i32", a.text)
        base = code.splat("i32", start, lanes)
        return code.pure(f"add {small} {base}, {iota('i32', lanes, a.step)}", base) if a.step else base

    result = scalars.operation(code, name, [narrowed(a) for a in args], dtypes.int32, dtypes.int32, lanes)
    return code.pure(f"zext {small} {result} to {wide}", result)


def _compare_lanes(s: State, name: str, args: list[Reg]) -> str | None:
    """An index that counts up with the lanes against a uniform one: the lane's number against their difference, in 32 bits."""
    assert s.vector is not None
    code, lanes = s.code, s.vector.lanes
    a, b = args
    if a.uniform and b.step == 1:
        a, b, name = b, a, _MIRRORED[name]
    if a.lanes > 1 or a.step != 1 or not b.uniform:
        return None
    distance = code.intrinsic("ssub.sat", "i64", 1, b.text, a.text)
    # Beyond both ends, every lane compares alike.
    distance = code.intrinsic("smax", "i64", 1, distance, "-1")
    distance = code.intrinsic("smin", "i64", 1, distance, str(lanes))
    bound = code.splat("i32", code.pure(f"trunc i64 {distance} to i32", distance), lanes)
    return code.pure(f"icmp {_BOUNDS[name]} {vec('i32', lanes)} {iota('i32', lanes)}, {bound}", bound)


def index_arithmetic(s: State, name: str, args: list[Reg]) -> Reg | None:
    """int64 arithmetic that stays scalar (uniform or affine), with constants folded; None where it cannot."""
    if any(a.lanes > 1 for a in args):
        return None
    pure = s.code.pure
    if len(args) != 2:
        return None
    a, b = args
    ka, kb = known(a), known(b)
    nonnegative = a.nonnegative and b.nonnegative
    if name in ("add", "sub"):
        step = a.step + b.step if name == "add" else a.step - b.step
        align = math.gcd(a.align, b.align)
        la, lb = literal_value(a.text), literal_value(b.text)
        if la is not None and lb is not None:
            return integer(_wrap(la + lb if name == "add" else la - lb))._replace(step=step)
        if lb == 0:
            return a._replace(step=step)
        if la == 0 and name == "add":
            return b._replace(step=step)
        return Reg(pure(f"{name} i64 {a.text}, {b.text}", a.text, b.text), 1, step, align, nonnegative and name == "add")
    if name == "mul":
        if ka is not None and kb is not None:
            return integer(_wrap(ka * kb))
        if ka is not None:
            a, b, kb = b, a, ka
        if kb is None and (a.step or b.step):
            return None
        if kb == 1:
            return a
        if kb == 0:
            return integer(0)
        step = a.step * (kb or 0)
        base = literal_value(a.text)
        if base is not None and kb is not None:
            return integer(_wrap(base * kb))._replace(step=step)
        return Reg(pure(f"mul i64 {a.text}, {b.text}", a.text, b.text), 1, step, min(a.align * b.align, 1 << 62), nonnegative)
    if name in ("div", "rem") and kb is not None and kb > 0 and a.nonnegative:
        return _divide(s, name, a, kb)
    return None


def _wrap(n: int) -> int:
    return (n + (1 << 63)) % (1 << 64) - (1 << 63)


def _divide(s: State, name: str, a: Reg, divisor: int) -> Reg | None:
    """a // divisor or a % divisor, where all lanes fall between two multiples of the divisor."""
    if divisor == 1:
        return a if name == "div" else integer(0)
    base = a._replace(step=0)
    if a.step:
        lanes = s.vector.lanes if s.vector else 1
        # The scalar part and the divisor are multiples of `align`; the lanes stay below the next multiple.
        align = math.gcd(a.align, divisor)
        if a.step < 0 or a.step * (lanes - 1) >= align:
            return None
    k = known(base)
    if k is not None:
        quotient, rest = divmod(k, divisor)
        return integer(quotient) if name == "div" else integer(rest)._replace(step=a.step)
    op = "udiv" if name == "div" else "urem"
    text = s.code.pure(f"{op} i64 {base.text}, {divisor}", base.text)
    if name == "div":
        return Reg(text, 1, 0, a.align // divisor if a.align % divisor == 0 else 1, True)
    return Reg(text, 1, a.step, math.gcd(a.align, divisor), True)


# --- memory ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Where an access goes: the address of a scalar, or of the first of lanes `step` apart; else a vector of addresses."""

    pointer: str
    step: int
    scattered: bool


def place(s: State, buffer: ir.Buffer, index: Sequence[Reg]) -> Place:
    """The address of an element, for every lane.

    Terms are added from the outermost loop's inwards, so that each partial sum is computed where its loop is.
    """
    code = s.code
    element = memory_type(buffer.dtype)
    pointer = s.address(buffer.name)
    step = constant = 0
    terms: list[str] = []
    vectors: list[tuple[str, int]] = []
    for reg, stride in zip(index, buffer.strides, strict=True):
        step += reg.step * stride
        if reg.lanes > 1:
            vectors.append((reg.text, stride))
        elif reg.text.startswith("%"):
            terms.append(reg.text if stride == 1 else code.pure(f"mul i64 {reg.text}, {stride}", reg.text))
        else:
            constant += int(reg.text) * stride
    terms.sort(key=lambda text: code.depth.get(text, 0))
    if vectors:
        return Place(_scattered(s, buffer, terms, constant, step, vectors), 0, True)
    for text in terms:
        pointer = code.pure(f"getelementptr inbounds {element}, ptr {pointer}, i64 {text}", pointer, text)
    if constant:
        pointer = code.pure(f"getelementptr inbounds {element}, ptr {pointer}, i64 {constant}", pointer)
    return Place(pointer, step, False)


def _scattered(s: State, buffer: ir.Buffer, terms: list[str], constant: int, step: int, vectors: list[tuple[str, int]]) -> str:
    """One address for each lane: uniform terms, a constant, `step` times the lane number, and vectors times their strides.

    Offsets into a buffer of fewer than 2**31 elements are computed in 32 bits, in half the registers: that they are in bounds
    makes arithmetic modulo 2**32 exact.
    """
    assert s.vector is not None
    code, lanes = s.code, s.vector.lanes
    narrow = buffer.size < 1 << 31
    integer_type = "i32" if narrow else "i64"
    kind = vec(integer_type, lanes)

    def plus(a: str, b: str) -> str:
        return code.pure(f"add {kind} {a}, {b}", a, b)

    base = ""
    for text in terms:
        base = text if not base else code.pure(f"add i64 {base}, {text}", base, text)
    if base and constant:
        base = code.pure(f"add i64 {base}, {constant}", base)
    if base and narrow:
        base = code.pure(f"trunc i64 {base} to i32", base)
    total = iota(integer_type, lanes, step) if step else ""
    for reg, stride in vectors:
        part = code.pure(f"trunc {vec('i64', lanes)} {reg} to {kind}", reg) if narrow else reg
        if stride != 1:
            part = code.pure(f"mul {kind} {part}, {splat_literal(integer_type, str(stride), lanes)}", part)
        total = plus(part, total) if total else part
    start = base or (str(constant) if constant else "")
    if start:
        total = plus(total, code.splat(integer_type, start, lanes))
    pointer = s.address(buffer.name)
    return code.pure(f"getelementptr {memory_type(buffer.dtype)}, ptr {pointer}, {kind} {total}", pointer, total)


def load(s: State, buffer: ir.Buffer, index: Sequence[Reg]) -> Reg:
    """The element of a buffer, in every lane."""
    code = s.code
    where = place(s, buffer, index)
    element = memory_type(buffer.dtype)
    align = buffer.dtype.itemsize
    # Two buffers may share an address, one after the other: a load is known by its buffer's name too.
    version, floor = f"{buffer.name} {s.versions.get(buffer.name, 0)}", s.floors.get(buffer.name, 0)
    p = where.pointer
    if not where.scattered and where.step == 0:
        # Uniform. Under a mask it is still safe: some lane reads it, or the masked loop does not run.
        stored = code.load(f"load {element}, ptr {p}, align {align}", version, floor, p)
        return Reg(scalars.from_memory(code, buffer.dtype, 1, stored))
    assert s.vector is not None
    lanes, mask = s.vector.lanes, s.vector.mask
    kind = vec(element, lanes)
    if not where.scattered and where.step in (1, -1):
        if where.step < 0:
            p = code.pure(f"getelementptr inbounds {element}, ptr {p}, i64 {1 - lanes}", p)
        if mask is None:
            stored = code.load(f"load {kind}, ptr {p}, align {align}", version, floor, p)
        else:
            active = mask if where.step > 0 else reverse(code, "i1", lanes, mask)
            stored = code.load(masked_load(code, element, lanes, p, active, align), version, floor, p, active)
        if where.step < 0:
            stored = reverse(code, element, lanes, stored)
    elif _alternate(where, buffer.dtype, lanes):
        stored = load_alternate(code, element, lanes, p, mask, align, lambda rhs, by: code.load(rhs, version, floor, p, by))
    else:
        p = _pointers(s, where, element)
        active = mask or splat_literal("i1", "true", lanes)
        symbol = f"@llvm.masked.gather.{mangle(element, lanes)}.v{lanes}p0"
        code.module.declare(f"declare {kind} {symbol}(<{lanes} x ptr>, i32, <{lanes} x i1>, {kind})")
        call = f"call {kind} {symbol}(<{lanes} x ptr> {p}, i32 {align}, <{lanes} x i1> {active}, {kind} zeroinitializer)"
        stored = code.load(call, version, floor, p, active)
    return Reg(scalars.from_memory(code, buffer.dtype, lanes, stored), lanes)


def reverse(code: Code, element: str, lanes: int, reg: str) -> str:
    """The lanes in the opposite order."""
    kind = vec(element, lanes)
    order = ", ".join(f"i32 {i}" for i in reversed(range(lanes)))
    return code.pure(f"shufflevector {kind} {reg}, {kind} poison, <{lanes} x i32> <{order}>", reg)


def _alternate(where: Place, dtype: DType, lanes: int) -> bool:
    """Whether an access is to every other element, of a size that has masked vectors."""
    return not where.scattered and where.step == 2 and lanes > 1 and dtype.itemsize in (4, 8)


def _pointers(s: State, where: Place, element: str) -> str:
    """One pointer for each lane."""
    if where.scattered:
        return where.pointer
    assert s.vector is not None
    lanes = s.vector.lanes
    lane_offsets = iota("i64", lanes, where.step)
    return s.code.pure(f"getelementptr {element}, ptr {where.pointer}, <{lanes} x i64> {lane_offsets}", where.pointer)


def store(s: State, buffer: ir.Buffer, index: Sequence[Reg], reg: Reg) -> None:
    """Writes an element, from every lane that takes part."""
    code = s.code
    where = place(s, buffer, index)
    element = memory_type(buffer.dtype)
    align = buffer.dtype.itemsize
    s.touch(buffer.name)
    p = where.pointer
    if s.vector is None or (reg.uniform and where.step == 0 and not where.scattered and s.vector.mask is None):
        stored = scalars.to_memory(code, buffer.dtype, 1, reg.text)
        code.do(f"store {element} {stored}, ptr {p}, align {align}")
        return
    lanes, mask = s.vector.lanes, s.vector.mask
    stored = scalars.to_memory(code, buffer.dtype, lanes, widen(s, reg, buffer.dtype))
    kind = vec(element, lanes)
    if not where.scattered and where.step in (1, -1):
        if where.step < 0:
            p = code.pure(f"getelementptr inbounds {element}, ptr {p}, i64 {1 - lanes}", p)
            stored = reverse(code, element, lanes, stored)
            mask = mask and reverse(code, "i1", lanes, mask)
        if mask is None:
            code.do(f"store {kind} {stored}, ptr {p}, align {align}")
            return
        code.do(masked_store(code, element, lanes, p, stored, mask, align))
        return
    if _alternate(where, buffer.dtype, lanes) and code.target.masked:
        store_alternate(code, element, lanes, p, stored, mask, align)
        return
    # Lanes are stored in order, so the last one wins where two share an address.
    p = _pointers(s, where, element)
    active = mask or splat_literal("i1", "true", lanes)
    symbol = f"@llvm.masked.scatter.{mangle(element, lanes)}.v{lanes}p0"
    code.module.declare(f"declare void {symbol}({kind}, <{lanes} x ptr>, i32, <{lanes} x i1>)")
    code.do(f"call void {symbol}({kind} {stored}, <{lanes} x ptr> {p}, i32 {align}, <{lanes} x i1> {active})")


def combine(code: Code, op: str, dtype: DType, a: str, b: str, lanes: int) -> str:
    """One step of a reduction."""
    return scalars.operation(code, op, [a, b], dtype, dtype, lanes)


def identity(op: str, dtype: DType) -> bool | int | float:
    """The value that changes nothing under `op`."""
    if op in ("add", "or", "xor"):
        # -0.0 + x is x for every x, +0.0 + -0.0 is not.
        return -0.0 if dtypes.is_float(dtype) else 0
    if op == "mul":
        return 1
    if op == "and":
        return -1 if dtypes.is_int(dtype) else True
    if dtype == dtypes.bool_:
        return op == "min"
    if dtypes.is_float(dtype):
        return -math.inf if op == "max" else math.inf
    info = np.iinfo(dtype)
    return int(info.min if op == "max" else info.max)


def fold(code: Code, op: str, dtype: DType, reg: str, lanes: int, to: int) -> str:
    """`lanes` partial results combined to `to`: the upper half onto the lower, until that many are left."""
    element = register_type(dtype)
    while lanes > to:
        half = lanes // 2
        low, high = (_part(code, element, reg, lanes, start, half) for start in (0, half))
        reg = combine(code, op, dtype, low, high, half)
        lanes = half
    return reg


def _part(code: Code, element: str, reg: str, lanes: int, start: int, count: int) -> str:
    """`count` lanes of a vector; a scalar for one."""
    kind = vec(element, lanes)
    if count == 1:
        return code.pure(f"extractelement {kind} {reg}, i64 {start}", reg)
    picks = ", ".join(f"i32 {i}" for i in range(start, start + count))
    return code.pure(f"shufflevector {kind} {reg}, {kind} poison, <{count} x i32> <{picks}>", reg)
