"""Statements as a function of their own: what they read from outside, what they leave behind, and how both get across.

A kernel is `void @k3(ptr ctx, i64 begin, i64 end, ptr scratch)`.  `ctx` points at 8-byte words: the frame, the array of buffer
pointers, a table, then every outer scalar and every outer temporary's address that the kernel uses, then the scalars that it leaves to
the statements after it.  The table says where the arguments stand in the array, and the other buffers in the arena: a kernel's text does
not, so that equal work on other buffers, such as the next of many equal layers, is the same kernel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import field

from fdl.backends.loops import ir
from fdl.backends.loops.build import Interval
from fdl.tracer.records import dataclass

from . import flow, nests, scalars
from .fences import Fences
from .text import ATTRIBUTE, Code, Module, register_type
from .tiles import TileFunction
from .values import Reg, State, identity, uniform

FIRST_WORD = 3
"""The words before it: the frame, the array of buffer pointers, the table."""


@dataclass(slots=True)
class Names:
    """What some statements mention."""

    uses: Counter[str] = field(default_factory=Counter)
    bound: set[str] = field(default_factory=set)
    dtypes: dict[str, ir.Var] = field(default_factory=dict)
    buffers: dict[str, ir.Buffer] = field(default_factory=dict)
    allocated: dict[str, ir.Buffer] = field(default_factory=dict)
    top: dict[str, ir.Var] = field(default_factory=dict)
    """The variables bound in the statements' own block, which later statements may read."""
    form: list[Hashable] = field(default_factory=list)
    """What the statements are but for their names, which are numbered: equal for statements that do equal work on other operands."""
    numbers: dict[str, int] = field(default_factory=dict)
    """Name of a variable or a buffer → its number, in order of first mention."""

    @property
    def free(self) -> list[ir.Var]:
        """The variables read here and bound outside, in order of first use."""
        return [self.dtypes[name] for name in self.uses if name not in self.bound]

    @property
    def outer_buffers(self) -> list[ir.Buffer]:
        """The buffers used here that are not allocated here, in order of first use."""
        return [b for name, b in self.buffers.items() if name not in self.allocated]

    def add(self, stmt: ir.Stmt) -> None:
        """Counts a statement in."""
        form = self.form
        form.append(type(stmt).__name__)
        match stmt:
            case ir.Let():
                self._bind(stmt.var)
            case ir.Store():
                self._buffer(stmt.buffer)
            case ir.For():
                form += (stmt.kind, ir.is_step(stmt), len(stmt.carries))
                self._bind(stmt.var)
                for c in stmt.carries:
                    form.append(c.combine)
                    self._bind(c.var)
                    self._bind(c.result)
            case ir.Alloc():
                self.allocated[stmt.buffer.name] = stmt.buffer
                form += (self._number(stmt.buffer.name), stmt.buffer.dtype.num, stmt.buffer.shape)
            case ir.Check():
                form += (stmt.site, len(stmt.values))
            case ir.Call() | ir.Callback():
                form += (stmt.kernel, stmt.attrs, len(stmt.scalars)) if isinstance(stmt, ir.Call) else (stmt.slot,)
                form += (len(stmt.outputs), len(stmt.inputs))
                for ref in (*stmt.outputs, *stmt.inputs):
                    form.append(ref.strides)
                    self._buffer(ref.buffer)
            case _:
                pass
        for value in ir.values_of(stmt):
            self.scan(value)
        for block in ir.blocks(stmt):
            form.append(len(block))
            for inner in block:
                self.add(inner)

    def scan(self, value: ir.Value) -> None:
        """Counts a value in."""
        form = self.form
        if type(value) is ir.Const:
            form += (repr(value.value), value.dtype.num)
            return
        if type(value) is ir.Var:
            self._use(value)
            return
        seen: dict[int, int] = {}
        stack = [value]
        while stack:
            node = stack.pop()
            before = seen.get(id(node))
            if before is not None:
                form += ("again", before)
                continue
            seen[id(node)] = len(seen)
            if type(node) is ir.Var:
                self._use(node)
            elif type(node) is ir.Op:
                form += (node.name, node.dtype.num, len(node.args))
                stack += reversed(node.args)
            elif type(node) is ir.Load:
                self._buffer(node.buffer)
                stack += reversed(node.index)
            elif type(node) is ir.Const:
                form += (repr(node.value), node.dtype.num)

    def _use(self, var: ir.Var) -> None:
        self.uses[var.name] += 1
        self.dtypes.setdefault(var.name, var)
        self.form += (self._number(var.name), var.dtype.num)

    def _bind(self, var: ir.Var) -> None:
        self.bound.add(var.name)
        self.form += (self._number(var.name), var.dtype.num)

    def _buffer(self, buffer: ir.Buffer) -> None:
        self.buffers.setdefault(buffer.name, buffer)
        self.form += (self._number(buffer.name), buffer.dtype.num, buffer.shape)

    def _number(self, name: str) -> int:
        return self.numbers.setdefault(name, len(self.numbers))


def names(stmts: Iterable[ir.Stmt]) -> Names:
    """What `stmts` mention."""
    found = Names()
    for stmt in stmts:
        found.add(stmt)
        if isinstance(stmt, ir.Let):
            found.top[stmt.var.name] = stmt.var
        elif isinstance(stmt, ir.For):
            found.top |= {c.result.name: c.result for c in stmt.carries}
    return found


@dataclass(frozen=True, slots=True)
class Kernel:
    """An outlined function: which scalars and addresses its caller puts into the context, and which it takes out.

    `table` has the bytes before an argument's place in the array of buffer pointers, or before a buffer's in the arena.
    """

    symbol: str
    table: tuple[int, ...]
    reads: tuple[ir.Var, ...]
    addresses: tuple[ir.Buffer, ...]
    leaves: tuple[ir.Var, ...]
    scratch_bytes: int

    @property
    def words(self) -> int:
        """The length of its context."""
        return FIRST_WORD + len(self.reads) + len(self.addresses) + len(self.leaves)

    @property
    def is_plain(self) -> bool:
        """Whether its table alone tells its calls apart."""
        return self.words == FIRST_WORD


class Outliner:
    """Writes kernels into a module."""

    def __init__(
        self,
        module: Module,
        arguments: tuple[ir.Buffer, ...],
        offsets: dict[str, int],
        tiles: dict[int, TileFunction],
        ranges: Callable[[], Mapping[ir.Var, Interval]],
        prefix: str,
        fences: Fences | None,
    ) -> None:
        self.module = module
        self.ranges = ranges
        self.fences = fences
        self.tiles = tiles
        self.slots = {b.name: i for i, b in enumerate(arguments)}
        self.offsets = offsets
        self.prefix = prefix
        self._written: dict[str, str] = {}
        """Text of a kernel → its symbol."""
        self._known: dict[Hashable, tuple[str, int]] = {}
        """What a kernel's text follows from → its symbol, and the bytes of its scratch."""

    def kernel(
        self,
        stmts: tuple[ir.Stmt, ...],
        found: Names,
        leaves: tuple[ir.Var, ...] = (),
        loop: ir.For | None = None,
        partials: tuple[ir.Carry, ...] = (),
    ) -> Kernel:
        """A kernel that runs `stmts`, whose names are `found`; with `loop`, which they are then, it runs that loop's body for
        begin <= loop.var < end instead.

        With `partials` (carries of `loop`), the range's partial results go into a row of words of its own: two further words
        of the context hold the address of the first row, and the number of iterations that each row stands for.
        """
        reads = tuple(found.free)
        outer = found.outer_buffers
        bound = [b for b in outer if b.name in self.slots or b.name in self.offsets]
        local = tuple(b for b in outer if b.name not in self.slots and b.name not in self.offsets)
        table = tuple(8 * self.slots[b.name] if b.name in self.slots else self.offsets[b.name] for b in bound)
        key = None if self.fences is not None else self._key(found, leaves, loop is not None, len(partials))
        written = None if key is None else self._known.get(key)
        if written is None:
            written = self._write(stmts, bound, reads, local, leaves, loop, partials)
            if key is not None:
                self._known[key] = written
        symbol, scratch_bytes = written
        return Kernel(symbol, table, reads, local, leaves, scratch_bytes)

    def _key(self, found: Names, leaves: tuple[ir.Var, ...], ranged: bool, partials: int) -> Hashable:
        """What a kernel's text follows from."""
        homes = tuple(0 if b.name in self.slots else 1 if b.name in self.offsets else 2 for b in found.outer_buffers)
        inner = tuple(self.offsets.get(name) for name in found.allocated)
        known = tuple(self.ranges().get(var) for var in found.free)
        left = tuple(found.numbers[var.name] for var in leaves)
        return tuple(found.form), homes, inner, known, left, ranged, partials

    def _write(
        self,
        stmts: tuple[ir.Stmt, ...],
        bound: list[ir.Buffer],
        reads: tuple[ir.Var, ...],
        local: tuple[ir.Buffer, ...],
        leaves: tuple[ir.Var, ...],
        loop: ir.For | None,
        partials: tuple[ir.Carry, ...],
    ) -> tuple[str, int]:
        """The symbol of a kernel and the bytes of its scratch; its text is added to the module where it is new."""
        code = Code(self.module)
        s = State(code, "%frame", "%scratch", self.offsets, self.tiles, self.ranges)
        s.fenced = None if self.fences is None else self.fences.function(code, s.frame)
        code.do("%frame = load ptr, ptr %ctx, align 8")
        self._bind(s, bound)
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
        if s.fenced is not None:
            s.fenced.check()
        code.do("ret void")
        text = code.finish(f"(ptr noalias %ctx, i64 %begin, i64 %end, ptr noalias %scratch) {ATTRIBUTE}")
        symbol = self._written.get(text)
        if symbol is None:
            symbol = self._written[text] = f"{self.prefix}.k{len(self._written) + 1}"
            self.module.functions[f"void @{symbol}(ptr, i64, i64, ptr)"] = f"void @{symbol}{text}"
        return symbol, s.scratch_bytes

    def _bind(self, s: State, buffers: list[ir.Buffer]) -> None:
        """Finds the addresses of arguments and arena buffers at the kernel's entry, by its table."""
        if not buffers:
            return
        code = s.code
        table = load_word(code, "%ctx", 2, "ptr")
        for i, b in enumerate(buffers):
            offset = load_word(code, table, i, "i64")
            if b.name in self.slots:
                array = code.pure("getelementptr inbounds i8, ptr %ctx, i64 8", "%ctx")
                array = code.pure(f"load ptr, ptr {array}, align 8", array)
                slot = code.emit(f"getelementptr inbounds i8, ptr {array}, i64 {offset}")
                s.pointers[b.name] = code.emit(f"load ptr, ptr {slot}, align 8")
            else:
                arena = code.pure(f"load ptr, ptr {s.frame}, align 8", s.frame)
                s.pointers[b.name] = code.emit(f"getelementptr inbounds i8, ptr {arena}, i64 {offset}")

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
