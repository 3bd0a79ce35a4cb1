"""The source of one kernel.

A kernel is written in one of two scopes.  In *thread* scope each statement is one thread's own, and every loop is a loop.  In
*block* scope the threads of a block run the same statements together: scalars are computed by all, a store is one thread's,
parallel loops are dealt out to the threads, and reductions end in a tree over shared memory.  Every store and every dealt-out
loop in block scope stands between two barriers, so that all threads see the same memory, and with it take the same branches.

May import: the loop IR, `values`, `nests`, `parts`, `scalars`.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from fdl.backends.loops.build import Ranges, bounds
from fdl.backends.loops.ir import (
    INDEX,
    Alloc,
    Barrier,
    Buffer,
    Carry,
    Check,
    Const,
    For,
    If,
    Let,
    Store,
    Value,
    Var,
    While,
    walk,
)
from fdl.tracer import dtypes

from . import scalars
from .nests import Block, Nest, flatten, is_parallel, is_reduction, neutral
from .parts import Kernel, Outer, Parameter, Place, reduction, shared_type, width_of
from .values import Values

LOCAL_BYTES = 1 << 14
"""The most that one thread keeps of a local buffer in its own memory; a larger one is in the launch's scratch."""
SHARED_BYTES = 1 << 15
"""The most shared memory that a block takes for local buffers."""

RESERVED = {"np", "math", "nv", "cuda", "err", "epoch", "lane", "fail", "BLOCK", "drive"}


class Writer:
    """Writes one kernel.

    `outer` says what a variable bound outside of it is; `exports` maps the variables to keep to device variables; `functions`
    collects the functions it calls that are no helpers of `scalars`.
    """

    def __init__(
        self,
        name: str,
        known: Ranges,
        outer: Callable[[Var], Outer],
        exports: Mapping[Var, str],
        functions: dict[str, str],
    ) -> None:
        self.name = name
        self.known = known
        self.outer = outer
        self.exports = exports
        self.values = Values(self.known, self._variable, self._load, self._hold)
        self.parameters: dict[str, Parameter] = {}
        self.functions = functions
        self.head: list[str] = []
        self.lines: list[str] = []
        self.depth = 1
        self.names: dict[Var, str] = {}
        self.places: dict[str, Place] = {}
        self.taken: set[str] = set()
        self.order: list[tuple[str, int]] = []
        self.held: set[str] = set()
        self.shared_bytes = 0
        self.checks = False
        self.cooperative = False

    # --- names and text ---

    def fresh(self, base: str) -> str:
        """A Python name like `base` that the kernel does not use yet."""
        base = re.sub(r"\W", "_", base) or "v"
        if not base[0].isalpha():
            base = f"v{base}"
        if base in RESERVED or keyword.iskeyword(base) or hasattr(builtins, base) or scalars.definition(base):
            base += "_"
        name, number = base, 1
        while name in self.taken:
            name, number = f"{base}_{number}", number + 1
        self.taken.add(name)
        return name

    def line(self, text: str) -> None:
        """Append one line at the current depth."""
        self.lines.append("    " * self.depth + text)

    def sync(self) -> None:
        """A barrier, unless the last line is one."""
        text = "    " * self.depth + "cuda.syncthreads()"
        if not self.lines or self.lines[-1] != text:
            self.lines.append(text)

    def _hold(self, text: str) -> str:
        name = self.fresh("held")
        self.line(f"{name} = {text}")
        return name

    def bind(self, var: Var, text: str) -> None:
        """Assign `text`, the source of an expression, to a new name for `var`."""
        name = self.names[var] = self.fresh(var.name)
        self.line(f"{name} = {text}")

    def bound(self, value: Value) -> str:
        """The source of `value` as a variable of its dtype holds it: an index in 32 bits where its bounds allow."""
        if value.dtype == INDEX and self.values.fits(value):
            return self.values.index(value).narrow
        return self.values.value(value)

    def _variable(self, var: Var) -> str:
        if var in self.names:
            return self.names[var]
        outer = self.outer(var)
        name = self.names[var] = self.fresh(var.name)
        small = var.dtype == INDEX and self.values.fits(var)
        if outer.kind == "value":
            assert outer.value is not None
            self.head.append(f"{name} = {self.bound(outer.value)}")
        elif outer.kind == "host":
            dtype = dtypes.int32 if small else scalars.representation(var.dtype)
            self.taken.discard(name)
            self.names[var] = self._parameter(outer.source, "scalar", dtype, outer.source)
        else:
            pointer = self.pointer(outer.source, var.dtype)
            text = scalars.from_storage(f"{pointer}[np.int32(0)]", var.dtype)
            self.head.append(f"{name} = {scalars.cast(dtypes.int32, text) if small else text}")
        return self.names[var]

    def _parameter(self, key: str, kind: Any, dtype: np.dtype[Any], source: str, size: int = 0) -> str:
        if key not in self.parameters:
            self.parameters[key] = Parameter(self.fresh(key), kind, dtype, source, size)
        return self.parameters[key].name

    def pointer(self, name: str, dtype: np.dtype[Any]) -> str:
        """The parameter that points to a buffer or a device variable."""
        return self._parameter(name, "buffer", scalars.storage(dtype), repr(name))

    def export(self, var: Var) -> None:
        """Keep `var` for other kernels, if one reads it."""
        if var not in self.exports:
            return
        pointer = self.pointer(self.exports[var], var.dtype)
        text = self.names[var]
        if var.dtype == INDEX:
            text = f"np.int64({text})"
        alone = "if lane == np.int32(0): " if self.cooperative else ""
        self.line(f"{alone}{pointer}[np.int32(0)] = {scalars.to_storage(text, var.dtype)}")

    # --- memory ---

    def place(self, buffer: Buffer) -> Place:
        """Where `buffer` is; one that nothing allocated here is a parameter."""
        if buffer.name not in self.places:
            self.places[buffer.name] = Place(self.pointer(buffer.name, buffer.dtype))
        return self.places[buffer.name]

    def _load(self, buffer: Buffer, position: str) -> str:
        place = self.place(buffer)
        text = f"{place.name}[{place.base}{position}]"
        return scalars.from_storage(text, buffer.dtype) if place.packed else text

    def store(self, stmt: Store) -> None:
        """Write one element."""
        place = self.place(stmt.buffer)
        value = self.values.value(stmt.value)
        if place.packed:
            value = scalars.to_storage(value, stmt.buffer.dtype)
        self.line(f"{place.name}[{place.base}{self.values.element(stmt.buffer, stmt.index)}] = {value}")

    def alloc(self, buffer: Buffer, shared: bool) -> None:
        """Make room for a local buffer: shared memory or a thread's own, or scratch where it is large."""
        dtype = shared_type(buffer.dtype)
        nbytes = max(buffer.size, 1) * dtype.itemsize
        name = self.fresh(buffer.name)
        room = SHARED_BYTES - self.shared_bytes if shared else LOCAL_BYTES
        if nbytes > room:
            dtype = scalars.storage(buffer.dtype)
            pointer = self._parameter(f"scratch {name}", "block scratch" if shared else "scratch", dtype, "", buffer.size)
            index = "cuda.blockIdx.x" if shared else "cuda.grid(1)"
            base = self.fresh(f"{name}_base")
            self.head.append(f"{base} = np.int64({index}) * np.int64({buffer.size})")
            self.places[buffer.name] = Place(pointer, f"{base} + ")
            return
        self.shared_bytes += nbytes if shared else 0
        self.head.append(f"{name} = cuda.{'shared' if shared else 'local'}.array({max(buffer.size, 1)}, np.{dtype.name})")
        self.places[buffer.name] = Place(name, packed=buffer.dtype not in scalars.HALVES)

    # --- statements of either scope ---

    def body(self, write: Callable[[Block], None], block: Block) -> None:
        """`block`, one level deeper."""
        self.depth += 1
        start = len(self.lines)
        write(block)
        if len(self.lines) == start:
            self.line("pass")
        self.depth -= 1

    def branch(self, stmt: If, write: Callable[[Block], None]) -> None:
        """An `If`."""
        self.line(f"if {self.values.value(stmt.condition)}:")
        self.body(write, stmt.then)
        if stmt.orelse:
            self.line("else:")
            self.body(write, stmt.orelse)

    def repeat(self, stmt: While, write: Callable[[Block], None]) -> None:
        """A `While`."""
        self.line("while True:")
        self.depth += 1
        write(stmt.prelude)
        self.line(f"if not {self.values.value(stmt.condition)}:")
        self.line("    break")
        write(stmt.body)
        self.depth -= 1

    def loop(self, stmt: For, write: Callable[[Block], None], counted: bool) -> None:
        """A `For` as a Python loop; `counted` says that its variable counts in the order of failures."""
        for carry in stmt.carries:
            self.bind(carry.var, self.values.value(carry.init))
        high = bounds(stmt.extent, self.known)[1]
        width = width_of(high)
        self._head(stmt.var, f"np.{width}(0)", self._extent(stmt.extent), f"np.{width}(1)")
        self.depth += 1
        if counted:
            self.order.append((self.names[stmt.var], high))
        write(stmt.body)
        self._advance(stmt.carries)
        if counted:
            self.order.pop()
        self.depth -= 1
        for carry in stmt.carries:
            self.bind(carry.result, self.names[carry.var])
            self.export(carry.result)

    def _advance(self, carries: tuple[Carry, ...]) -> None:
        """Assign the next values of `carries`, all at once."""
        nexts = [self.values.value(c.next) for c in carries]
        names = [self.names[c.var] for c in carries]
        if len(carries) == 1:
            self.line(f"{names[0]} = {nexts[0]}")
            return
        waiting = [self.fresh(f"{name}_next") for name in names]
        for target, text in (*zip(waiting, nexts, strict=True), *zip(names, waiting, strict=True)):
            self.line(f"{target} = {text}")

    def _extent(self, value: Value) -> str:
        """An extent as a number of the loop counter's width."""
        code, high = self.values.index(value), bounds(value, self.known)[1]
        return code.narrow if width_of(high) == "int32" else code.wide

    def _head(self, var: Var, first: str, limit: str, step: str) -> None:
        """The head of a loop over `range(first, limit, step)`, and the binding of its variable inside."""
        name = self.names[var] = self.fresh(var.name)
        counter = self.fresh(f"{name}_at")
        self.line(f"for {counter} in range({first}, {limit}, {step}):")
        # In the simulator, `range` yields Python ints.
        self.lines.append("    " * (self.depth + 1) + f"{name} = np.{'int32' if self.values.fits(var) else 'int64'}({counter})")

    def check(self, stmt: Check, condition: str = "") -> None:
        """A `Check`."""
        self.checks = True
        values = [self.values.value(v) for v in stmt.values] + ["np.int64(0)"] * (3 - len(stmt.values))
        order = "np.int64(0)"
        for name, extent in self.order:
            # An unbounded loop has 2**20 iterations as far as the order of failures is concerned.
            place = f"np.int64({name})"
            order = place if order == "np.int64(0)" else f"({order} * np.int64({min(extent, 1 << 20)}) + {place})"
        self.line(f"if {condition}not {self.values.value(stmt.ok)}:")
        self.line(f"    fail(err, epoch, np.int64({stmt.site}), {order}, {', '.join(values)})")

    # --- thread scope ---

    def thread(self, block: Block) -> None:
        """The statements of one thread."""
        for stmt in block:
            match stmt:
                case Let():
                    self.bind(stmt.var, self.bound(stmt.value))
                    self.export(stmt.var)
                case Store():
                    self.store(stmt)
                case For():
                    # A thread meets its own failures in order: only the loops outside of it count.
                    self.loop(stmt, self.thread, counted=False)
                case While():
                    self.repeat(stmt, self.thread)
                case If():
                    self.branch(stmt, self.thread)
                case Alloc():
                    if stmt.buffer.name not in self.held:
                        self.alloc(stmt.buffer, shared=False)
                case Check():
                    self.check(stmt)
                case Barrier():
                    continue
                case _:
                    raise AssertionError(f"a {type(stmt).__name__} inside a kernel")

    # --- block scope ---

    def block(self, block: Block) -> None:
        """The statements of a block of threads."""
        for stmt in block:
            match stmt:
                case Let():
                    self.bind(stmt.var, self.bound(stmt.value))
                    self.export(stmt.var)
                case For() if is_parallel(stmt) or is_reduction(stmt):
                    self.deal(stmt)
                case For() if stmt.carries or any(is_parallel(s) or is_reduction(s) for s in walk(stmt.body)):
                    self.loop(stmt, self.block, counted=True)
                case Store() | For():
                    self.sync()
                    self.line("if lane == np.int32(0):")
                    self.body(self.thread, (stmt,))
                    self.sync()
                case While():
                    self.repeat(stmt, self.block)
                case If():
                    self.branch(stmt, self.block)
                case Alloc():
                    if stmt.buffer.name not in self.held:
                        self.alloc(stmt.buffer, shared=True)
                case Check():
                    self.check(stmt, "lane == np.int32(0) and ")
                case Barrier():
                    self.sync()
                case _:
                    raise AssertionError(f"a {type(stmt).__name__} inside a kernel")

    def deal(self, loop: For) -> None:
        """A loop whose iterations are dealt out to the threads of the block; its carries are combined in a tree."""
        inits = [self.fresh(f"{c.var.name}_init") for c in loop.carries]
        for carry, init in zip(loop.carries, inits, strict=True):
            assert carry.combine, f"{carry.var.name}: a carry of a parallel loop without a combination"
            self.line(f"{init} = {self.values.value(carry.init)}")
            self.bind(carry.var, self.values.value(neutral(carry.combine, carry.var.dtype)))
        nest = Nest((((), loop),), loop.body) if loop.carries else flatten(loop, self.known)
        stores = any(isinstance(s, Store) for s in walk(loop.body))
        if stores:
            self.sync()
        self.spread(nest, "lane", "BLOCK", "item", self.thread, loop.carries)
        if stores:
            self.sync()
        for carry, init in zip(loop.carries, inits, strict=True):
            assert carry.combine
            dtype = carry.var.dtype
            name, source = reduction(carry.combine, dtype)
            self.functions[name] = source
            whole = f"{name}({self._exchange(dtype)}, lane, {self.names[carry.var]})"
            self.bind(carry.result, scalars.expression(carry.combine, [init, whole], dtype, dtype))
            self.export(carry.result)

    def _exchange(self, dtype: np.dtype[Any]) -> str:
        """The shared array through which a block's threads combine values of `dtype`."""
        held = shared_type(dtype)
        key = f"exchange {held.name}"
        if key not in self.places:
            name = self.fresh(f"shared_{dtypes.SHORT[held]}")
            self.places[key] = Place(name)
            self.head.append(f"{name} = cuda.shared.array(BLOCK, np.{held.name})")
        return self.places[key].name

    # --- nests ---

    def spread(
        self, nest: Nest, first: str, step: str, counter: str, write: Callable[[Block], None], carries: tuple[Carry, ...] = ()
    ) -> None:
        """The flattened loops of `nest`, whose iterations `first`, `first + step`, ... are this thread's or this block's."""
        outer = nest.loops[0][1]
        extents = [bounds(f.extent, self.known)[1] for _, f in nest.loops]
        highs = [max(n, 1) for n in extents]
        inner = int(np.prod(highs[1:], dtype=object))
        width = width_of(highs[0] * inner)
        limit = self._extent(outer.extent) if width == "int32" else self.values.index(outer.extent).wide
        if min(extents) <= 0:
            limit = f"np.{width}(0)"
        elif isinstance(outer.extent, Const):
            limit = f"np.{width}({int(outer.extent.value) * inner})"
        elif inner > 1:
            limit = f"np.{width}({limit} * {inner})"
        number = self.fresh(counter)
        first, step = (f"np.{width}({t})" if t != "lane" or width != "int32" else t for t in (first, step))
        self.line(f"for {number} in range({first}, {limit}, {step}):")
        self.depth += 1
        depth = self.depth
        # In the simulator, `range` yields Python ints.
        self.line(f"{number} = np.{width}({number})")
        self.order.append((number, highs[0] * inner))
        for axis, (lets, loop) in enumerate(nest.loops):
            self.thread(lets)
            after = int(np.prod(highs[axis + 1 :], dtype=object))
            text = f"np.u{width}({number})"
            if after > 1:
                text = f"{text} // np.u{width}({after})"
            if axis:
                text = f"np.u{width}({text})" if after > 1 else text
                text = f"{text} % np.u{width}({highs[axis]})"
            small = self.values.fits(loop.var)
            whole = axis == 0 and after == 1 and small == (width == "int32")
            self.bind(loop.var, number if whole else f"np.{'int32' if small else 'int64'}({text})")
            if axis and not isinstance(loop.extent, Const):
                # The nest has room for the largest extent.
                self.line(f"if {self.names[loop.var]} < {self.values.index(loop.extent).text}:")
                self.depth += 1
        start = len(self.lines)
        write(nest.body)
        self._advance(carries)
        if len(self.lines) == start:
            self.line("pass")
        self.order.pop()
        self.depth = depth - 1

    def finish(self, shape: Literal["items", "rows", "thread", "block"], count: str) -> Kernel:
        """The kernel, of the statements written so far."""
        names = ["err", "epoch"] if self.checks else []
        names += [p.name for p in self.parameters.values()]
        head = (["lane = np.int32(cuda.threadIdx.x)"] if self.cooperative else []) + self.head
        source = "\n".join([f"def {self.name}({', '.join(names)}):", *(f"    {line}" for line in head), *self.lines]) + "\n"
        if not head and not self.lines:
            source += "    pass\n"
        return Kernel(self.name, source, tuple(self.parameters.values()), shape, count, self.checks)


def items_kernel(writer: Writer, nest: Nest, count: str) -> Kernel:
    """One thread for each iteration of `nest`."""
    writer.spread(nest, "cuda.grid(1)", "cuda.gridsize(1)", "item", writer.thread)
    return writer.finish("items", count)


def rows_kernel(writer: Writer, nest: Nest, count: str) -> Kernel:
    """One block of threads for each iteration of `nest`."""
    writer.cooperative = True
    writer.spread(nest, "cuda.blockIdx.x", "cuda.gridDim.x", "row", writer.block)
    # The next row's shared buffers are this one's.
    writer.depth = 2
    writer.sync()
    return writer.finish("rows", count)


def group_kernel(writer: Writer, block: Block) -> Kernel:
    """One thread for all of `block`, or one block of threads where it has loops to share."""
    writer.cooperative = any(is_parallel(s) or is_reduction(s) for s in walk(block))
    (writer.block if writer.cooperative else writer.thread)(block)
    return writer.finish("block" if writer.cooperative else "thread", "1")


def assignment_kernel(writer: Writer, pairs: Sequence[tuple[str, Value]]) -> Kernel:
    """One thread that evaluates all the values and then writes them to device variables (name, value)."""
    held = []
    for slot, value in pairs:
        held.append((writer.fresh(f"{slot}_next"), slot, value))
        writer.line(f"{held[-1][0]} = {writer.values.value(value)}")
    for name, slot, value in held:
        pointer = writer.pointer(slot, value.dtype)
        writer.line(f"{pointer}[np.int32(0)] = {scalars.to_storage(name, value.dtype)}")
    return writer.finish("thread", "1")
