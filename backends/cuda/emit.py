"""A routine as Python source: kernels for a GPU, and the driver that launches them.

`emit(routine)` writes a module.  Each outermost parallel nest is a kernel: one thread for each of its iterations, or one block
of threads where an iteration has parallel loops of its own.  What lies between the nests is gathered into kernels of one thread
or one block.  A serial loop, `While` or `If` around large nests runs in the driver, which reads back the conditions it needs::

    def k0(x, y, out):                                       def drive(h):
        for item_ in range(np.int32(cuda.grid(1)), ...):         h.alloc('t', np.float32, 4096)
            item = np.int32(item_)                               h.launch('k0', 4096, 'x', 'y', 't')
            out[item] = (x[item] + y[item])                      h.launch('k1', 1, 't', 'out')

A variable that one kernel binds and another reads is in device memory (`$name`); a cheap one is computed again.

May import: the loop IR, `nests`, `kernels`, `values`, `scalars`; no CUDA package.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from fdl.backends.loops.build import bounds, ranges_in, writes
from fdl.backends.loops.ir import (
    INDEX,
    Alloc,
    Buffer,
    Callback,
    For,
    If,
    Let,
    Load,
    Op,
    Ref,
    Routine,
    Stmt,
    Value,
    Var,
    While,
    blocks,
    subvalues,
    walk,
)
from fdl.tracer.records import dataclass

from . import scalars
from .kernels import Writer, assignment_kernel, group_kernel, items_kernel, rows_kernel
from .nests import Block, expand, flatten, is_parallel, iterations, promote, reads, split, summed
from .parts import FAIL, Kernel, Outer
from .values import Values

CHEAP = {"add", "sub", "mul", "min", "max", "neg", "convert", "select", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not"}
"""Operations that a kernel would rather compute again than load the result of."""


@dataclass(frozen=True, slots=True)
class Module:
    """The Python source of a routine.

    `source` needs the names np, math, nv (libdevice), cuda and `device`, a decorator for the functions that kernels call; it
    defines the kernels and `drive(h)`, where `h` is a machine (see `launch`).
    """

    source: str
    kernels: dict[str, Kernel]
    block: int


def emit(routine: Routine, *, block: int = 128, host: int = 4096) -> Module:
    """The module of `routine`.

    Args:
        block: threads in a block, a power of two.
        host: a serial loop runs in the driver when a parallel nest inside it has at least this many iterations; else one block
            of threads runs all of it.

    Raises: TypeError for a dtype that the backend has not.
    """
    assert block & (block - 1) == 0, f"{block} threads in a block: not a power of two"
    routine = expand(routine)
    routine = replace(routine, body=promote(routine.body, ranges_in(routine.body)))
    driver = _Driver(routine, block, host)
    driver.walk(routine.body)
    driver.flush()
    return driver.module()


class _Driver:
    """Writes the driver, and collects the kernels."""

    def __init__(self, routine: Routine, block: int, host: int) -> None:
        self.routine = routine
        self.block = block
        self.host = host
        self.known = dict(ranges_in(routine.body))
        self.uses = reads(routine.body)
        self.written = writes(routine.body)
        self.outer: dict[Var, Outer] = {}
        self.values = Values(self.known, self._host_variable, self._host_load, self._hold)
        self.kernels: dict[str, Kernel] = {}
        self.functions: dict[str, str] = {}
        self.slots: dict[str, str] = {}
        self.group: list[Stmt] = []
        self.lines: list[str] = []
        self.depth = 1

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def alloc(self, buffer: Buffer) -> None:
        """Make room for `buffer` in device memory."""
        self.line(f"h.alloc({buffer.name!r}, np.{scalars.storage(buffer.dtype).name}, {buffer.size})")

    # --- values on the host ---

    def _host_variable(self, var: Var) -> str:
        outer = self.outer[var]
        if outer.kind == "host":
            return outer.source
        small = var.dtype == INDEX and self.values.fits(var)
        if outer.kind == "value":
            assert outer.value is not None
            return self.values.index(outer.value).narrow if small else self.values.value(outer.value)
        text = scalars.from_storage(f"h.read({outer.source!r}, 0)", var.dtype)
        return f"np.int32({text})" if small else text

    def _host_load(self, buffer: Buffer, position: str) -> str:
        return scalars.from_storage(f"h.read({buffer.name!r}, {position})", buffer.dtype)

    def _hold(self, text: str) -> str:
        name = f"held_{len(self.lines)}"
        self.line(f"{name} = {text}")
        return name

    def slot(self, var: Var) -> str:
        """The device variable that holds `var`."""
        name = f"${var.name}"
        if name not in self.slots:
            self.slots[name] = f"h.alloc({name!r}, np.{scalars.storage(var.dtype).name}, 1)"
        self.outer[var] = Outer("slot", name)
        return name

    # --- blocks ---

    def walk(self, block: Block) -> None:
        """The statements of one block of the driver. `group` is flushed before anything that may depend on it."""
        for stmt in block:
            match stmt:
                case Let() if self._cheap(stmt.value):
                    self.outer[stmt.var] = Outer("value", value=stmt.value)
                case Alloc():
                    self.alloc(stmt.buffer)
                case For() if is_parallel(stmt) and not stmt.carries:
                    self.flush()
                    self.nest(stmt)
                case For() if is_parallel(stmt) and (stages := split(stmt)):
                    self.flush()
                    self.known.update(ranges_in(stages, self.known))
                    self.walk(stages)
                case _ if self._hosted(stmt):
                    self.flush()
                    self.control(stmt)
                case _:
                    self.group.append(stmt)

    def _cheap(self, value: Value) -> bool:
        """Whether each kernel that reads a variable computes it itself, from what does not change."""
        parts = list(subvalues(value))
        operations = [v.name for v in parts if isinstance(v, Op)]
        if any(isinstance(v, Var) and v not in self.outer for v in parts):
            return False
        if any(isinstance(v, Load) and v.buffer.name in self.written for v in parts):
            return False
        return len(operations) <= 8 and CHEAP.issuperset(operations)

    def _hosted(self, stmt: Stmt) -> bool:
        """Whether the driver runs `stmt`, a control statement, itself."""
        if isinstance(stmt, For) and is_parallel(stmt):
            return False
        if any(isinstance(s, Callback) for s in walk((stmt,))):
            return True
        return isinstance(stmt, For | While | If) and iterations(stmt, self.known) >= self.host

    def flush(self) -> None:
        """Launch what waits in `group`."""
        if not self.group:
            return
        block, self.group = tuple(self.group), []
        inside = reads(block)
        made = [v for s in block for v in _binds(s)]
        exports = {v: self.slot(v) for v in made if self.uses[v] > inside[v]}
        writer = self.writer(exports)
        for buffer in _arena(block):
            self.alloc(buffer)
            writer.held.add(buffer.name)
        self.launch(group_kernel(writer, block))

    def writer(self, exports: dict[Var, str] | None = None) -> Writer:
        """A writer of the next kernel."""
        return Writer(f"k{len(self.kernels)}", self.known, self.outer.__getitem__, exports or {}, self.functions)

    def launch(self, kernel: Kernel) -> None:
        """Launch `kernel` here."""
        self.kernels[kernel.name] = kernel
        arguments = [p.source for p in kernel.parameters if p.kind in ("buffer", "scalar")]
        self.line(f"h.launch({', '.join([repr(kernel.name), kernel.count, *arguments])})")

    def nest(self, loop: For) -> None:
        """A parallel loop: a thread for each iteration of the nest, or a block where iterations have long parallel loops."""
        nest = flatten(loop, self.known)
        total = iterations(loop, self.known)
        count = str(total)
        if total >= 2**31:
            inner = total // max(bounds(loop.extent, self.known)[1], 1)
            count = f"int({self.values.value(loop.extent)}) * {inner}"
        wide = max((iterations(s, self.known) for s in nest.body), default=0)
        deep = max((summed(s, self.known) for s in nest.body), default=0)
        rows = wide >= 32 or (deep >= 64 and total <= 4096)
        self.launch((rows_kernel if rows else items_kernel)(self.writer(), nest, count))

    # --- control in the driver ---

    def control(self, stmt: Stmt) -> None:
        """A statement that the driver runs itself."""
        match stmt:
            case For():
                self._loop(stmt)
            case While():
                self.line("while True:")
                self.depth += 1
                self.walk(stmt.prelude)
                self.flush()
                self.line(f"if not {self.values.value(stmt.condition)}:")
                self.line("    break")
                self.walk(stmt.body)
                self.flush()
                self.depth -= 1
            case If():
                self.line(f"if {self.values.value(stmt.condition)}:")
                self._inner(stmt.then)
                if stmt.orelse:
                    self.line("else:")
                    self._inner(stmt.orelse)
            case Callback():
                operands = [", ".join(map(self._window, refs)) for refs in (stmt.inputs, stmt.outputs)]
                self.line(f"h.callback({stmt.slot}, [{operands[0]}], [{operands[1]}])")
            case _:
                raise AssertionError(f"a {type(stmt).__name__} in the driver")

    def _inner(self, block: Block) -> None:
        self.depth += 1
        start = len(self.lines)
        self.walk(block)
        self.flush()
        if len(self.lines) == start:
            self.line("pass")
        self.depth -= 1

    def _loop(self, loop: For) -> None:
        name = "i_" + re.sub(r"\W", "_", loop.var.name)
        self.assign(tuple((c.var, c.init) for c in loop.carries))
        self.line(f"for {name} in range({self.values.value(loop.extent)}):")
        self.depth += 1
        small = self.values.fits(loop.var)
        self.line(f"{name} = np.int{32 if small else 64}({name})")
        self.outer[loop.var] = Outer("host", name)
        self.walk(loop.body)
        self.flush()
        self.assign(tuple((c.var, c.next) for c in loop.carries))
        self.depth -= 1
        for carry in loop.carries:
            self.outer[carry.result] = self.outer[carry.var]

    def assign(self, pairs: tuple[tuple[Var, Value], ...]) -> None:
        """Give device variables new values, all at once."""
        if pairs:
            kernel = assignment_kernel(self.writer(), [(f"${var.name}", value) for var, value in pairs])
            for var, _ in pairs:
                self.slot(var)
            self.launch(kernel)

    def _window(self, ref: Ref) -> str:
        shape = ", ".join(f"int({self.values.value(n)})" for n in ref.shape)
        strides = ", ".join(map(str, ref.strides))
        comma = "," if len(ref.shape) == 1 else ""
        return f"({ref.buffer.name!r}, int({self.values.value(ref.offset)}), ({shape}{comma}), ({strides}{comma}))"

    # --- the module ---

    def module(self) -> Module:
        """The module, of all that was written."""
        if any(k.checks for k in self.kernels.values()):
            self.functions["fail"] = FAIL
        kernels = [k.source for k in self.kernels.values()]
        driver = "\n".join(["def drive(h):", *(f"    {line}" for line in self.slots.values()), *self.lines])
        driver += "\n" if self.lines or self.slots else "\n    pass\n"
        used = scalars.helpers([*self.functions.values(), *kernels, driver])
        functions = [f"@device\n{text}" for text in (*used.values(), *self.functions.values())]
        parts = [f"# {self.routine.name}\nBLOCK = {self.block}\n", *functions, *kernels, driver]
        return Module("\n\n".join(parts), dict(self.kernels), self.block)


def _arena(block: Block) -> Iterator[Buffer]:
    """The buffers of the arena that `block` allocates outside of its parallel loops, whose iterations have their own."""
    for stmt in block:
        if isinstance(stmt, Alloc) and stmt.buffer.space == "arena":
            yield stmt.buffer
        elif not is_parallel(stmt):
            for inner in blocks(stmt):
                yield from _arena(inner)


def _binds(stmt: Stmt) -> tuple[Var, ...]:
    """The variables of `stmt` that statements after it can read."""
    match stmt:
        case Let():
            return (stmt.var,)
        case For():
            return tuple(c.result for c in stmt.carries)
        case _:
            return ()
