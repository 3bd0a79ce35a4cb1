"""A routine as LLVM text: one small driver, and a function for every nest worth one.

The driver `i32 NAME(ptr frame, ptr buffers)` runs the routine's outermost statements in order.  Parallel loops and sizeable
nests are outlined (`outline`); loops that hold them stay in the driver, poll the stop word and report progress.  After a nest
with checks the driver looks at the error record and returns 1, so that a failure ends the call where it happened: of a
serial loop's iterations, the first that failed is the last that ran.

What runs in parallel, and in which pieces, follows from the routine alone (`cost`): results don't depend on the number of
threads.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from fdl.backends.loops import cost, ir
from fdl.backends.loops.build import ranges_in
from fdl.tracer.records import dataclass

from . import flow, inline, nests, outline, steps, vectorise
from .checks import NO_ERROR
from .fences import RED, Fences, Place, aligned, place
from .outline import Kernel, Outliner, load_word, store_word
from .steps import Step
from .target import Target
from .text import ATTRIBUTE, Code, Module, branch, register_type
from .tiles import Shared
from .values import Reg, State, combine, known, uniform, value

CHUNK = 6 * cost.CYCLES_PER_US
"""The least work of one piece of a parallel loop, in cycles; a loop of less than two pieces runs on one thread.

By the estimates of `cost`, which are two to three times what good kernels take: a loop of 5 microseconds is worth two threads, since it
takes a tenth of one to give work to a thread that is awake."""
LONG = 5000 * cost.CYCLES_PER_US
"""The longest loop nest that runs without looking at the stop word."""
PARTIALS = 64
"""The most pieces of a parallel reduction."""
POLL = 100 * cost.CYCLES_PER_US
"""About how often a driver's loop calls `fdl_poll`, which looks at the clock."""
OUTLINE_STATEMENTS = 12
"""Nests of more statements than this get a function of their own."""
INLINE_BUDGET = 200
"""The most statements of nests that stay in the driver."""

_STATUS_FAILED, _STATUS_STOPPED, _STATUS_RAISED = 1, 2, 3
_WORD_KEY, _WORD_STOP, _WORD_PROGRESS, _WORD_CALLBACK = 2, 7, 8, 10


@dataclass(frozen=True, slots=True)
class EmittedRoutine:
    """The text of a routine's module, in parts that are linked with each other.

    `symbol` is the entry point, `externals` the symbols to link it with, `scratch_bytes` the most scratch that a thread needs, and
    `arena_bytes` the size of the arena: what the plan places, and the driver's own large temporaries behind that.
    Where memory is debugged, `arena` and `local` are the buffers in the arena and those in the functions' own memory.
    """

    texts: tuple[str, ...]
    symbol: str
    externals: tuple[str, ...]
    scratch_bytes: int
    arena_bytes: int
    arena: tuple[Place, ...] = ()
    local: tuple[Place, ...] = ()


def emit_routine(
    routine: ir.Routine,
    offsets: Mapping[str, int],
    target: Target,
    *,
    fenced: bool = False,
    need: Callable[[Shared], None] = lambda function: None,
) -> EmittedRoutine:
    """The LLVM text of `routine` for `target`.

    Args:
        offsets: arena buffer → byte offset, a multiple of 64 (from `plan`).
        fenced: put canaries around local buffers, and leave room for them in the arena: `offsets` leaves it too (from `plan.apart`).
        need: is told of each function that is compiled apart (see `llvm.shared`), as soon as it is known.
    """
    return _Driver(routine, dict(offsets), target, fenced, need).emit()


class _Driver:
    """Writes the driver function."""

    def __init__(self, routine: ir.Routine, offsets: dict[str, int], target: Target, fenced: bool, need: Callable[[Shared], None]) -> None:
        body, tiles = inline.resolve(routine, target, need)
        self.routine = replace(routine, body=body)
        self.module = Module(target)
        self.symbol = re.sub(r"[^A-Za-z0-9_.]", "_", routine.name) or "routine"
        arguments = (*routine.inputs, *routine.consts, *routine.outputs)
        self.fences = Fences(self.module, len(routine.sites), routine.notes) if fenced else None
        ranges = functools.cache(lambda: ranges_in(body))
        self.outliner = Outliner(self.module, arguments, offsets, tiles, ranges, self.symbol, self.fences)
        self.code = Code(self.module)
        self.offsets = offsets
        self.state = State(self.code, "%frame", "null", offsets, tiles, ranges)
        self.state.slots = self.outliner.slots
        self.state.fenced = None if self.fences is None else self.fences.function(self.code, "%frame")
        self.scratch_bytes = 0
        self.context_words = 0
        self.context = self.code.name("ctx")
        self.crowded = sum(1 for _ in ir.walk(body)) > INLINE_BUDGET
        self.inlined = 0
        self.depth = 0
        self.costs: dict[int, float] = {}
        self.tables: dict[str, str] = {}
        """Elements of a table → its symbol."""
        self.runs = 0
        self.steps: list[Step] = []
        """Calls of kernels that are not written yet; see `_settle`."""

    def emit(self) -> EmittedRoutine:
        code = self.code
        arena_bytes = self._place_large()
        store_word(code, self.context, 0, "ptr", "%frame")
        store_word(code, self.context, 1, "ptr", "%buffers")
        self._block(self.routine.body)
        assert not self.state.scratch_bytes, "what needs scratch runs in a kernel: the driver's would be the same memory"
        if self.state.fenced is not None:
            self.state.fenced.check()
            self._test_error()
        code.do("ret i32 0")
        words = max(self.context_words, outline.FIRST_WORD)
        code.allocas.append(f"  {self.context} = alloca i64, i64 {words}, align 64")
        module = self.module
        module.entry = code.finish(f"i32 @{self.symbol}(ptr %frame, ptr %buffers) {ATTRIBUTE}")
        return EmittedRoutine(
            module.parts(),
            self.symbol,
            tuple(module.externals),
            self.scratch_bytes,
            arena_bytes,
            *((), ()) if self.fences is None else (self._arena(), tuple(self.fences.places)),
        )

    @functools.cached_property
    def uses(self) -> Counter[str]:
        """How often the routine mentions each variable."""
        return outline.names(self.routine.body).uses

    def _place_large(self) -> int:
        """The arena's size, after giving the driver's large local buffers a place at its end."""
        red = 0 if self.fences is None else RED
        allocated = [stmt.buffer for stmt in ir.walk(self.routine.body) if isinstance(stmt, ir.Alloc)]
        top = max((self.offsets[b.name] + b.nbytes + red for b in allocated if b.name in self.offsets), default=0)
        for b in self._driver_locals(self.routine.body):
            if b.name not in self.offsets and b.nbytes > flow.STACK_LIMIT:
                self.offsets[b.name] = top = aligned(top + red)
                top += b.nbytes + red
        return top

    def _arena(self) -> tuple[Place, ...]:
        """The buffers in the arena, by offset."""
        found = {stmt.buffer.name: stmt.buffer for stmt in ir.walk(self.routine.body) if isinstance(stmt, ir.Alloc)}
        placed = [place(b, self.routine.notes, self.offsets[name]) for name, b in found.items() if name in self.offsets]
        return tuple(sorted(placed, key=lambda p: p.offset))

    def _driver_locals(self, stmts: tuple[ir.Stmt, ...]) -> Iterator[ir.Buffer]:
        """The buffers allocated where the driver's own statements are."""
        for stmt in stmts:
            if isinstance(stmt, ir.Alloc):
                yield stmt.buffer
            elif self._needs_driver(stmt):
                for block in ir.blocks(stmt):
                    yield from self._driver_locals(block)

    # --- choosing ---------------------------------------------------------------------------------

    def _cost(self, stmt: ir.Stmt) -> float:
        return cost.statement(stmt, memo=self.costs)

    def _needs_driver(self, stmt: ir.Stmt) -> bool:
        """Whether `stmt` is a loop or branch that has to stay in the driver: it holds a callback, threads, or a long loop."""
        match stmt:
            case ir.For(kind="parallel" | "vector"):
                return False
            case ir.For() | ir.While() | ir.If():
                return self._holds_driver_work(stmt) or self._cost(stmt) > LONG
            case _:
                return False

    def _holds_driver_work(self, stmt: ir.Stmt) -> bool:
        """Whether there is a callback in `stmt`, a loop worth several threads, or one that may run for ever."""
        match stmt:
            case ir.While() | ir.Callback():
                return True
            case ir.For(kind="parallel"):
                return self._cost(stmt) >= 2 * CHUNK
            case ir.For(kind="vector"):
                return False
            case ir.For() if not isinstance(stmt.extent, ir.Const):
                return True
            case _:
                return any(self._holds_driver_work(inner) for block in ir.blocks(stmt) for inner in block)

    def _settle(self) -> None:
        """Writes the calls that are due: whatever writes anything else into the driver comes here first."""
        if self.steps:
            self.runs += 1
            steps.write(self.code, self.steps, self.context, f"@{self.symbol}.s{self.runs}")
            self.steps.clear()

    def _block(self, stmts: tuple[ir.Stmt, ...]) -> None:
        """Statements in order; runs of small ones are gathered into one function where they are many."""
        run: list[ir.Stmt] = []
        for stmt in stmts:
            parallel = isinstance(stmt, ir.For) and stmt.kind == "parallel" and self._cost(stmt) >= 2 * CHUNK
            alone = parallel or isinstance(stmt, (ir.Callback, ir.Alloc)) or self._needs_driver(stmt)
            if not alone:
                run.append(stmt)
                if _checks(stmt) and not isinstance(stmt, ir.Check):
                    self._flush(run)
                continue
            self._flush(run)
            if not parallel and not (isinstance(stmt, ir.Alloc) and self.fences is None):
                self._settle()
            match stmt:
                case ir.Alloc():
                    flow.allocate(self.state, stmt.buffer)
                case ir.Callback():
                    self._callback(stmt)
                case ir.For() if parallel:
                    self._parallel(stmt)
                case ir.For():
                    self._loop(stmt)
                case ir.While():
                    self._while(stmt)
                case ir.If():
                    self._if(stmt)
                case _:
                    raise AssertionError(stmt)
        self._flush(run)
        self._settle()

    def _flush(self, run: list[ir.Stmt]) -> None:
        """Writes a run of small statements, in the driver or as kernels, and empties the list."""
        if not run:
            return
        pieces: list[list[ir.Stmt]] = [[]]
        size = 0
        for stmt in run:
            n = sum(1 for _ in ir.walk((stmt,)))
            # In a crowded routine each nest is a kernel: the equal ones among them are one.
            apart = self.crowded and bool(ir.blocks(stmt))
            if size and (apart or size + n > INLINE_BUDGET):
                pieces.append([])
                size = 0
            pieces[-1].append(stmt)
            size += INLINE_BUDGET if apart else n
        run.clear()
        for piece in pieces:
            stmts = tuple(piece)
            n = sum(1 for _ in ir.walk(stmts))
            crowded = self.crowded and bool(ir.blocks(stmts[0]))
            if crowded or (n > OUTLINE_STATEMENTS and self.inlined + n > INLINE_BUDGET) or self._has_big_nest(stmts):
                self._outlined(stmts)
            else:
                self.inlined += n
                self._settle()
                nests.block(self.state, stmts)
            if any(_checks(stmt) for stmt in stmts):
                self._test_error()

    def _has_big_nest(self, stmts: tuple[ir.Stmt, ...]) -> bool:
        """Whether something there is worth a function of its own, or needs scratch."""
        for stmt in stmts:
            inside = list(ir.walk((stmt,)))
            if any(isinstance(s, ir.Call) or (isinstance(s, ir.Alloc) and s.buffer.nbytes > flow.STACK_LIMIT) for s in inside):
                return True
            if ir.blocks(stmt) and (len(inside) > OUTLINE_STATEMENTS or self._cost(stmt) > cost.CYCLES_PER_US):
                return True
        return False

    # --- kernels ----------------------------------------------------------------------------------

    def _enter(self, kernel: Kernel, extra: int = 0) -> None:
        """Fills the context for a call."""
        self._settle()
        code = self.code
        self._need(kernel, extra)
        if kernel.table:
            store_word(code, self.context, 2, "ptr", self._table(kernel.table))
        word = outline.FIRST_WORD
        for var in kernel.reads:
            reg = self.state.env[var.name]
            assert reg.uniform, var
            store_word(code, self.context, word, register_type(var.dtype), reg.text)
            word += 1
        for buffer in kernel.addresses:
            store_word(code, self.context, word, "ptr", self.state.address(buffer.name))
            word += 1

    def _need(self, kernel: Kernel, extra: int = 0) -> None:
        """Makes room for a kernel's context and scratch."""
        self.context_words = max(self.context_words, kernel.words + extra)
        self.scratch_bytes = max(self.scratch_bytes, kernel.scratch_bytes)

    def _step(self, kernel: Kernel, extent: int = 0, grain: int = 0) -> None:
        """Notes a call of a kernel whose context is the table of its buffers alone."""
        self._need(kernel)
        self.steps.append(Step(kernel.symbol, self._table(kernel.table) if kernel.table else "null", kernel.scratch_bytes, extent, grain))

    def _table(self, offsets: tuple[int, ...]) -> str:
        """A constant array."""
        text = ", ".join(f"i64 {n}" for n in offsets)
        symbol = self.tables.setdefault(text, f"@{self.symbol}.t{len(self.tables) + 1}")
        self.module.globals[symbol] = f"{symbol} = internal constant [{len(offsets)} x i64] [{text}], align 8"
        return symbol

    def _touch(self, stmts: tuple[ir.Stmt, ...]) -> None:
        for name in flow.stored_buffers(stmts):
            self.state.touch(name)

    def _outlined(self, stmts: tuple[ir.Stmt, ...]) -> None:
        found = outline.names(stmts)
        leaves = tuple(var for name, var in found.top.items() if self.uses[name] > found.uses[name])
        kernel = self.outliner.kernel(stmts, found, leaves)
        if kernel.is_plain:
            self._step(kernel)
            self._touch(stmts)
            return
        self._enter(kernel)
        scratch = steps.scratch(self.code, kernel.scratch_bytes)
        self.code.do(f"call void @{kernel.symbol}(ptr {self.context}, i64 0, i64 0, ptr {scratch})")
        first = outline.FIRST_WORD + len(kernel.reads) + len(kernel.addresses)
        for i, var in enumerate(leaves):
            self.state.env[var.name] = Reg(load_word(self.code, self.context, first + i, register_type(var.dtype)))
        self._touch(stmts)

    def _parallel(self, loop: ir.For) -> None:
        """A parallel loop, over the thread pool."""
        code, s = self.code, self.state
        carries = loop.carries
        if any(c.combine not in vectorise.COMBINES for c in carries):
            self._outlined((loop,))
            self._after(loop)
            return
        each = max(self._cost(loop) / max(cost.extent(loop), 1), 0.01)
        least = math.ceil(CHUNK / each)
        kernel = self.outliner.kernel((loop,), outline.names((loop,)), (), loop, carries)
        trips = cost.extent(loop) if isinstance(loop.extent, ir.Const) else 0
        if trips and kernel.is_plain and not carries:
            self._step(kernel, trips, least)
            self._touch((loop,))
            self._after(loop)
            return
        self._enter(kernel, 2)
        extent = value(s, loop.extent)
        inits = [uniform(s, c.init) for c in carries]
        n = known(extent)
        if n is not None:
            grain = str(max(least, -(-n // PARTIALS) if carries else 1))
        elif carries:
            share = code.pure(
                f"udiv i64 {code.pure(f'add i64 {extent.text}, {PARTIALS - 1}', extent.text)}, {PARTIALS}", extent.text
            )
            grain = code.intrinsic("umax", "i64", 1, share, str(least))
        else:
            grain = str(least)
        rows = ""
        if carries:
            rows = code.alloca("i64", PARTIALS * len(carries), 64)
            word = outline.FIRST_WORD + len(kernel.reads) + len(kernel.addresses)
            store_word(code, self.context, word, "ptr", rows)
            store_word(code, self.context, word + 1, "i64", grain)
        steps.parallel(code, kernel.symbol, self.context, extent.text, grain, kernel.scratch_bytes)
        self._touch((loop,))
        if carries:
            self._combine(loop, rows, extent.text, grain, inits)
        self._after(loop)

    def _combine(self, loop: ir.For, rows: str, extent: str, grain: str, inits: list[str]) -> None:
        """The pieces' partial results, in their order, after the initial values."""
        code, s = self.code, self.state
        carries = loop.carries
        rounded = code.emit(f"add i64 {extent}, {grain}")
        pieces = code.emit(f"udiv i64 {code.emit(f'sub i64 {rounded}, 1')}, {grain}")

        def body(i: str, regs: list[Reg]) -> list[Reg]:
            row = code.emit(f"getelementptr inbounds i64, ptr {rows}, i64 {code.emit(f'mul i64 {i}, {len(carries)}')}")
            parts = [load_word(code, row, k, register_type(c.var.dtype)) for k, c in enumerate(carries)]
            triples = zip(carries, regs, parts, strict=True)
            return [Reg(combine(code, c.combine or "", c.var.dtype, reg.text, part, 1)) for c, reg, part in triples]

        kinds = [register_type(c.var.dtype) for c in carries]
        if known(Reg(extent)) is not None:
            regs = flow.raw_loop(s, "0", pieces, 1, kinds, [Reg(i) for i in inits], set(), body)
        else:
            regs = flow.when_positive(s, pieces, kinds, [Reg(i) for i in inits], body)
        for c, reg in zip(carries, regs, strict=True):
            s.env[c.result.name] = reg

    def _after(self, stmt: ir.Stmt) -> None:
        if _checks(stmt):
            self._test_error()

    # --- the driver's own control flow ------------------------------------------------------------

    def _leave(self, condition: str, status: int) -> None:
        """Returns `status` where the condition holds."""
        code = self.code
        out, on = code.label("leave"), code.label("on")
        with code.scope(branch(condition, out, on), pinned=True):
            code.start(out)
            code.do(f"ret i32 {status}")
        code.start(on)

    def _word(self, index: int, kind: str = "i64") -> str:
        return load_word(self.code, "%frame", index, kind)

    def _test_error(self) -> None:
        self._settle()
        self._leave(self.code.emit(f"icmp ne i64 {self._word(_WORD_KEY)}, {NO_ERROR}"), _STATUS_FAILED)

    def _latch(self, each: float) -> _Latch:
        return _Latch(self, each, self.depth == 1)

    def _loop(self, loop: ir.For) -> None:
        """A serial loop with something in it that only the driver can run."""
        s = self.state
        extent = value(s, loop.extent)
        inits = [value(s, c.init) for c in loop.carries]
        n = known(extent)
        if n is not None and n <= 0:
            for c, reg in zip(loop.carries, inits, strict=True):
                s.env[c.result.name] = reg
            return
        self.depth += 1
        latch = self._latch(self._cost(loop) / max(cost.extent(loop), 1))

        def body(i: str, regs: list[Reg]) -> list[Reg]:
            s.env[loop.var.name] = Reg(i, nonnegative=True)
            for c, reg in zip(loop.carries, regs, strict=True):
                s.env[c.var.name] = reg
            self._block(loop.body)
            return [Reg(uniform(s, c.next)) for c in loop.carries]

        kinds = [register_type(c.var.dtype) for c in loop.carries]
        stored = flow.stored_buffers(loop.body)
        if n is not None:
            results = flow.raw_loop(s, "0", extent.text, 1, kinds, inits, stored, body, latch)
        else:
            results = flow.when_positive(s, extent.text, kinds, inits, body, stored, latch)
        self.depth -= 1
        for c, reg in zip(loop.carries, results, strict=True):
            s.env[c.result.name] = reg

    def _while(self, stmt: ir.While) -> None:
        self.depth += 1
        flow.while_loop(self.state, stmt, self._block, self._latch(self._cost(stmt) / cost.UNKNOWN_TRIPS))
        self.depth -= 1

    def _if(self, stmt: ir.If) -> None:
        flow.if_uniform(self.state, stmt, uniform(self.state, stmt.condition), self._block)

    def _callback(self, stmt: ir.Callback) -> None:
        code, s = self.code, self.state
        refs = (*stmt.inputs, *stmt.outputs)
        table = code.alloca("ptr", max(len(refs), 1), 64)
        for i, ref in enumerate(refs):
            store_word(code, table, i, "ptr", flow.ref_pointer(s, ref))
        function = self._word(_WORD_CALLBACK, "ptr")
        status = code.emit(f"call i32 {function}(ptr %frame, i64 {stmt.slot}, ptr {table})")
        self._leave(code.emit(f"icmp ne i32 {status}, 0"), _STATUS_RAISED)
        self._touch((stmt,))


class _Latch:
    """The end of an iteration of a driver's loop: progress, the stop word, and now and then the clock."""

    def __init__(self, driver: _Driver, each: float, outermost: bool) -> None:
        self.driver = driver
        self.outermost = outermost
        every = POLL / max(each, 1.0)
        self.every = 1 << min(16, max(0, math.ceil(math.log2(every)))) if every > 1 else 1

    def __call__(self, following: str) -> None:
        driver, code = self.driver, self.driver.code
        if self.outermost:
            store_word(code, "%frame", _WORD_PROGRESS, "i64", following)
        slot = code.emit(f"getelementptr inbounds i8, ptr %frame, i64 {8 * _WORD_STOP}")
        stop = code.emit(f"load atomic i64, ptr {slot} monotonic, align 8")
        driver._leave(code.emit(f"icmp ne i64 {stop}, 0"), _STATUS_STOPPED)
        driver.module.external("fdl_poll", "declare i32 @fdl_poll(ptr)")
        if self.every == 1:
            self._poll()
            return
        due, on = code.label("due"), code.label("on")
        low = code.emit(f"and i64 {following}, {self.every - 1}")
        with code.scope(branch(code.emit(f"icmp eq i64 {low}, 0"), due, on), pinned=True):
            code.start(due)
            self._poll()
            code.go(on)
        code.start(on)

    def _poll(self) -> None:
        code = self.driver.code
        status = code.emit("call i32 @fdl_poll(ptr %frame)")
        self.driver._leave(code.emit(f"icmp ne i32 {status}, 0"), _STATUS_STOPPED)


def _checks(stmt: ir.Stmt) -> bool:
    return any(isinstance(inner, ir.Check) for inner in ir.walk((stmt,)))
