"""Statements as a function of their own: what they read from outside, what they leave behind, and how both get across.

A kernel is `void @k3(ptr ctx, i64 begin, i64 end, ptr scratch)`.  `ctx` points at 8-byte words: the frame, the array of
buffer pointers, then every outer scalar and every outer temporary's address that the kernel uses, then the scalars that it
leaves to the statements after it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from fdl.backends.loops import ir

from . import flow, nests, scalars
from .text import ATTRIBUTE, Code, Module, register_type
from .tiles import TileFunction
from .values import Reg, State, identity, uniform

FIRST_WORD = 2
"""The words before it: the frame and the array of buffer pointers."""


@dataclass(slots=True)
class Names:
    """What some statements mention."""

    uses: Counter[str] = field(default_factory=Counter)
    bound: set[str] = field(default_factory=set)
    dtypes: dict[str, ir.Var] = field(default_factory=dict)
    buffers: dict[str, ir.Buffer] = field(default_factory=dict)
    allocated: set[str] = field(default_factory=set)
    top: dict[str, ir.Var] = field(default_factory=dict)
    """The variables bound in the statements' own block, which later statements may read."""

    @property
    def free(self) -> list[ir.Var]:
        """The variables read here and bound outside, in order of first use."""
        return [self.dtypes[name] for name in self.uses if name not in self.bound]

    @property
    def outer_buffers(self) -> list[ir.Buffer]:
        """The buffers used here that are not allocated here, in order of first use."""
        return [b for name, b in self.buffers.items() if name not in self.allocated]


def names(stmts: Iterable[ir.Stmt], extra: Iterable[ir.Value] = ()) -> Names:
    """What `stmts` and the values `extra` mention."""
    found = Names()
    stmts = tuple(stmts)
    for value in extra:
        _scan(found, value)
    for stmt in ir.walk(stmts):
        for value in ir.values_of(stmt):
            _scan(found, value)
        match stmt:
            case ir.Let():
                found.bound.add(stmt.var.name)
            case ir.Store():
                found.buffers.setdefault(stmt.buffer.name, stmt.buffer)
            case ir.For():
                found.bound |= {stmt.var.name, *(c.var.name for c in stmt.carries), *(c.result.name for c in stmt.carries)}
            case ir.Alloc():
                found.allocated.add(stmt.buffer.name)
            case ir.Call() | ir.Callback():
                for ref in (*stmt.outputs, *stmt.inputs):
                    found.buffers.setdefault(ref.buffer.name, ref.buffer)
            case _:
                pass
    for stmt in stmts:
        if isinstance(stmt, ir.Let):
            found.top[stmt.var.name] = stmt.var
        elif isinstance(stmt, ir.For):
            found.top |= {c.result.name: c.result for c in stmt.carries}
    return found


def _scan(found: Names, value: ir.Value) -> None:
    seen: set[int] = set()
    stack = [value]
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if type(node) is ir.Var:
            found.uses[node.name] += 1
            found.dtypes.setdefault(node.name, node)
        elif type(node) is ir.Op:
            stack += reversed(node.args)
        elif type(node) is ir.Load:
            found.buffers.setdefault(node.buffer.name, node.buffer)
            stack += reversed(node.index)


@dataclass(frozen=True, slots=True)
class Kernel:
    """An outlined function: which scalars and addresses its caller puts into the context, and which it takes out."""

    symbol: str
    reads: tuple[ir.Var, ...]
    addresses: tuple[ir.Buffer, ...]
    leaves: tuple[ir.Var, ...]
    scratch_bytes: int

    @property
    def words(self) -> int:
        """The length of its context."""
        return FIRST_WORD + len(self.reads) + len(self.addresses) + len(self.leaves)


class Outliner:
    """Writes kernels into a module."""

    def __init__(
        self,
        module: Module,
        arguments: tuple[ir.Buffer, ...],
        offsets: dict[str, int],
        tiles: dict[int, TileFunction],
        prefix: str,
    ) -> None:
        self.module = module
        self.tiles = tiles
        self.slots = {b.name: i for i, b in enumerate(arguments)}
        self.offsets = offsets
        self.prefix = prefix
        self._count = 0

    def bind_buffers(self, s: State, buffers: str, used: Iterable[ir.Buffer]) -> None:
        """Loads the addresses of arguments and arena buffers at the function's entry."""
        for b in used:
            if b.name in self.slots:
                slot = s.code.pure(f"getelementptr inbounds ptr, ptr {buffers}, i64 {self.slots[b.name]}", buffers)
                s.pointers[b.name] = s.code.pure(f"load ptr, ptr {slot}, align 8", slot)
            elif b.name in self.offsets:
                flow.allocate(s, b)

    def kernel(
        self,
        stmts: tuple[ir.Stmt, ...],
        leaves: tuple[ir.Var, ...] = (),
        loop: ir.For | None = None,
        partials: tuple[ir.Carry, ...] = (),
    ) -> Kernel:
        """A kernel that runs `stmts`; with `loop`, it runs that loop's body for begin <= loop.var < end instead.

        With `partials` (carries of `loop`), the range's partial results go into a row of words of its own: two further words
        of the context hold the address of the first row, and the number of iterations that each row stands for.
        """
        found = names((loop,) if loop is not None else stmts)
        reads = tuple(v for v in found.free)
        local = tuple(b for b in found.outer_buffers if b.name not in self.slots and b.name not in self.offsets)
        code = Code(self.module)
        s = State(code, "%frame", "%scratch", self.offsets, self.tiles)
        code.do("%frame = load ptr, ptr %ctx, align 8")
        code.do("%buffers.slot = getelementptr inbounds i8, ptr %ctx, i64 8")
        code.do("%buffers = load ptr, ptr %buffers.slot, align 8")
        self.bind_buffers(s, "%buffers", found.outer_buffers)
        for i, var in enumerate(reads):
            s.env[var.name] = Reg(load_word(code, "%ctx", FIRST_WORD + i, register_type(var.dtype)))
        for i, b in enumerate(local):
            s.pointers[b.name] = load_word(code, "%ctx", FIRST_WORD + len(reads) + i, "ptr")
        first_left = FIRST_WORD + len(reads) + len(local)
        if loop is None:
            nests.block(s, stmts)
            for i, var in enumerate(leaves):
                store_word(code, "%ctx", first_left + i, register_type(var.dtype), s.env[var.name].text)
        else:
            self._range(s, loop, partials, first_left)
        code.do("ret void")
        self._count += 1
        symbol = f"{self.prefix}.k{self._count}"
        header = f"define internal void @{symbol}(ptr noalias %ctx, i64 %begin, i64 %end, ptr noalias %scratch) {ATTRIBUTE}"
        self.module.functions.append(code.finish(header))
        return Kernel(symbol, reads, local, leaves, s.scratch_bytes)

    def _range(self, s: State, loop: ir.For, partials: tuple[ir.Carry, ...], word: int) -> None:
        """The body for begin <= variable < end, which is never empty."""
        code = s.code
        total = uniform(s, loop.extent)
        inits = [Reg(scalars.constant(identity(c.combine or "", c.var.dtype), c.var.dtype)) for c in partials]
        results = flow.counted(s, loop, "%begin", "%end", total, inits, nests.block)
        if not partials:
            return
        rows = load_word(code, "%ctx", word, "ptr")
        grain = load_word(code, "%ctx", word + 1, "i64")
        chunk = code.emit(f"udiv i64 %begin, {grain}")
        row = code.emit(f"mul i64 {chunk}, {8 * len(partials)}")
        pointer = code.emit(f"getelementptr inbounds i8, ptr {rows}, i64 {row}")
        for i, (c, reg) in enumerate(zip(partials, results, strict=True)):
            store_word(code, pointer, i, register_type(c.var.dtype), reg.text)


def load_word(code: Code, base: str, index: int, kind: str) -> str:
    """The value of LLVM type `kind` in word `index` at `base`."""
    slot = code.pure(f"getelementptr inbounds i8, ptr {base}, i64 {8 * index}", base)
    return code.emit(f"load {kind}, ptr {slot}, align 8")


def store_word(code: Code, base: str, index: int, kind: str, value: str) -> None:
    """Writes a value of LLVM type `kind` into word `index` at `base`."""
    slot = code.pure(f"getelementptr inbounds i8, ptr {base}, i64 {8 * index}", base)
    code.do(f"store {kind} {value}, ptr {slot}, align 8")
