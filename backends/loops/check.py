"""Verification of routines: `check` holds a routine to every invariant of the loop IR, and says which statement breaks one.

What it can see without running: bindings, scopes, dtypes, index counts, indices that are out of bounds whatever the loop
variables are, carries, and stores of different iterations of a parallel loop to one element.  `interpret` sees the rest, for
the arrays it is given: every index, and every element that one iteration writes and another touches.

May be imported by: passes, emitters and tests.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import field
from typing import NoReturn

from fdl.tracer.dtypes import DType, is_float, is_int, is_supported
from fdl.tracer.records import dataclass
from fdl.tracer.scalars import SCALARS

from .build import Block, Ranges, all_values, bounds, dependents, flat, mentions, ranges_in
from .ir import (
    BOOL,
    INDEX,
    Alloc,
    Barrier,
    Buffer,
    Call,
    Callback,
    Carry,
    Check,
    Const,
    For,
    If,
    Let,
    Load,
    Op,
    Ref,
    Routine,
    Stmt,
    Store,
    Value,
    Var,
    While,
    walk,
)
from .show import show_stmt, show_value

COMBINE = ("add", "mul", "max", "min", "and", "or", "xor")
"""Operations that a carry may combine with."""


class InvalidRoutine(AssertionError):
    """A routine that breaks an invariant of the loop IR: a fault of the pass that wrote it."""


def check(routine: Routine, tiles: Collection[str] | None = None) -> Routine:
    """`routine` itself, if it is valid; `tiles`, if given, are the tile kernels that it may call.

    Raises: InvalidRoutine, with the routine's name, the statement and what is wrong with it.

    Example: a pass ends with `return check(replace(routine, body=body))`.
    """
    checker = _Checker(routine, ranges_in(routine.body), tiles)
    for role, buffers in (("input", routine.inputs), ("const", routine.consts), ("output", routine.outputs)):
        for buffer in buffers:
            checker.declare(buffer)
            if buffer.space != role:
                checker.fail(f"{buffer.name} is one of the {role}s, and its space is {buffer.space!r}")
    checker.block(routine.body, frozenset())
    return routine


@dataclass
class _Checker:
    routine: Routine
    ranges: Ranges
    tiles: Collection[str] | None
    buffers: dict[str, Buffer] = field(default_factory=dict)
    """Those in scope."""
    variables: dict[str, DType] = field(default_factory=dict)
    """Those in scope."""
    used: set[str] = field(default_factory=set)
    """Names of all variables, and of all buffers, that were ever bound."""
    stmt: Stmt | None = None
    guarded: int = 0
    """How many branches, `While`s and loops that may be empty enclose the statement: what stands in them may never run."""

    def fail(self, problem: str) -> NoReturn:
        where = f", at `{show_stmt(self.stmt)}`" if self.stmt is not None else ""
        raise InvalidRoutine(f"routine {self.routine.name}{where}: {problem}")

    def require(self, ok: bool, problem: str) -> None:
        if not ok:
            self.fail(problem)

    # --- bindings -----------------------------------------------------------------------------

    def declare(self, buffer: Buffer) -> None:
        """Bring a buffer into scope."""
        self.require("buffer " + buffer.name not in self.used, f"two buffers are named {buffer.name}")
        self.require(is_supported(buffer.dtype), f"{buffer.name} has the dtype {buffer.dtype}, which fdl does not have")
        self.require(all(n >= 0 for n in buffer.shape), f"{buffer.name} has the shape {buffer.shape}")
        self.used.add("buffer " + buffer.name)
        self.buffers[buffer.name] = buffer

    def bind(self, variable: Var) -> None:
        """Bring a variable into scope."""
        self.require(variable.name not in self.used, f"the variable {variable.name} is bound twice")
        self.require(is_supported(variable.dtype), f"{variable.name} has the dtype {variable.dtype}, which fdl does not have")
        self.used.add(variable.name)
        self.variables[variable.name] = variable.dtype

    def buffer(self, buffer: Buffer) -> None:
        """A use of a buffer: as it was declared, or as an array of another shape with as many elements."""
        declared = self.buffers.get(buffer.name)
        if declared is None:
            self.fail(f"the buffer {buffer.name} is not an argument, and has no Alloc in an enclosing block before this")
        if flat(buffer) != flat(declared):
            self.fail(f"{buffer.name} is used as {buffer}, and was declared as {declared}")

    # --- values -------------------------------------------------------------------------------

    def value(self, value: Value, dtype: DType | None = None, role: str = "") -> None:
        """A use of a value, which is to have `dtype`."""
        if dtype is not None and value.dtype != dtype:
            self.fail(f"{role} `{show_value(value)}` has dtype {value.dtype}, expected {dtype}")
        match value:
            case Const():
                self.constant(value)
            case Var():
                have = self.variables.get(value.name)
                self.require(have is not None, f"{value.name} is used where it is not bound")
                self.require(have == value.dtype, f"{value.name} is used as {value.dtype}, and was bound as {have}")
            case Load():
                self.element(value.buffer, value.index)
            case Op():
                self.operation(value)

    def constant(self, constant: Const) -> None:
        number, dtype = constant.value, constant.dtype
        self.require(is_supported(dtype), f"the constant {number!r} has the dtype {dtype}, which fdl does not have")
        if dtype == BOOL:
            self.require(isinstance(number, bool | int) and number in (0, 1), f"{number!r} is no bool constant")
        elif is_int(dtype):
            size = 8 * dtype.itemsize
            low = -(2 ** (size - 1)) if dtype.kind == "i" else 0
            fits = isinstance(number, int) and low <= number < low + 2**size
            self.require(fits, f"{number!r} is no {dtype} constant")
        else:
            self.require(is_float(dtype) and isinstance(number, int | float), f"{number!r} is no {dtype} constant")

    def operation(self, value: Op) -> None:
        scalar = SCALARS.get(value.name)
        if scalar is None:
            self.fail(f"`{value.name}` is no scalar operation")
        if len(value.args) != scalar.arity:
            self.fail(f"`{show_value(value)}` has {len(value.args)} operands; `{value.name}` takes {scalar.arity}")
        operands = value.args
        if value.name == "select":
            self.value(operands[0], BOOL, "the predicate")
            operands = operands[1:]
        for operand in operands:
            self.value(operand, operands[0].dtype, f"in `{show_value(value)}` the operand")
        operand_dtype = operands[0].dtype
        if not scalar.accepts(operand_dtype):
            self.fail(f"`{value.name}` does not take {operand_dtype}, only {scalar.domain}")
        result = scalar.result_dtype(operand_dtype)
        if result is not None and result != value.dtype:
            self.fail(f"`{show_value(value)}` has dtype {value.dtype}, and gives {result}")
        if value.name == "bitcast" and operand_dtype.itemsize != value.dtype.itemsize:
            self.fail(f"`{show_value(value)}`: {operand_dtype} and {value.dtype} differ in width")

    def element(self, buffer: Buffer, index: tuple[Value, ...]) -> None:
        """A use of an element of a buffer."""
        self.buffer(buffer)
        if len(index) != len(buffer.shape):
            self.fail(f"{buffer.name} has {len(buffer.shape)} axes, and is indexed by {len(index)}")
        for axis, (i, n) in enumerate(zip(index, buffer.shape, strict=True)):
            self.value(i, INDEX, "the index")
            low, high = bounds(i, self.ranges)
            if (low >= n or high < 0) and not self.guarded:
                self.fail(f"index `{show_value(i)}` of axis {axis} of {buffer.name} is in [{low}, {high}], never in [0, {n})")

    def writable(self, buffer: Buffer) -> None:
        self.require(buffer.space not in ("input", "const"), f"{buffer.name} is written, and is an {buffer.space}")

    # --- statements ---------------------------------------------------------------------------

    def block(self, block: Block, inside: frozenset[str], *more: Value) -> None:
        """A block and values evaluated at its end, in a scope of their own. `inside` are the kinds of the loops around it."""
        buffers, variables = dict(self.buffers), dict(self.variables)
        self.statements(block, inside)
        for value in more:
            self.value(value)
        self.buffers, self.variables = buffers, variables

    def statements(self, block: Block, inside: frozenset[str]) -> None:
        for stmt in block:
            self.stmt = stmt
            if "vector" in inside and not isinstance(stmt, Let | Store | Check | For):
                self.fail(f"a {type(stmt).__name__} is inside a vector loop, which holds only Let, Store, Check and For")
            self.statement(stmt, inside)

    def statement(self, stmt: Stmt, inside: frozenset[str]) -> None:
        match stmt:
            case Let():
                self.value(stmt.value, stmt.var.dtype, f"{stmt.var.name} is {stmt.var.dtype}; the value")
                self.bind(stmt.var)
            case Store():
                self.writable(stmt.buffer)
                self.element(stmt.buffer, stmt.index)
                self.value(stmt.value, stmt.buffer.dtype, "the value stored")
            case For():
                self.loop(stmt, inside)
            case While():
                self.while_loop(stmt, inside)
            case If():
                self.value(stmt.condition, BOOL, "the condition")
                self.guarded += 1
                self.block(stmt.then, inside)
                self.block(stmt.orelse, inside)
                self.guarded -= 1
            case Alloc():
                spaces = ("arena", "local")
                self.require(stmt.buffer.space in spaces, f"an Alloc is of space arena or local, not {stmt.buffer.space!r}")
                self.declare(stmt.buffer)
            case Check():
                self.value(stmt.ok, BOOL, "the condition")
                self.require(0 <= stmt.site < len(self.routine.sites), f"there is no site {stmt.site}")
                self.require(len(stmt.values) <= 3, f"{len(stmt.values)} values; a Check has up to three")
                for value in stmt.values:
                    self.value(value, INDEX, "the value")
            case Call():
                self.call(stmt)
            case Callback():
                self.require(
                    not inside & {"parallel", "vector"}, "a Callback is inside a parallel loop; it needs the caller's thread"
                )
                self.require(stmt.slot >= 0, f"the slot is {stmt.slot}")
                self.refs(stmt.inputs, stmt.outputs)
            case Barrier():
                self.require("parallel" in inside, "a Barrier is outside any parallel loop")

    def loop(self, stmt: For, inside: frozenset[str]) -> None:
        self.value(stmt.extent, INDEX, "the extent")
        self.require(stmt.var.dtype == INDEX, f"the loop variable is {stmt.var.dtype}, expected int64")
        self.require(stmt.kind in ("serial", "parallel", "vector", "unroll"), f"there is no loop of kind {stmt.kind!r}")
        if "vector" in inside:
            self.require(stmt.kind in ("serial", "unroll"), f"a {stmt.kind} loop is inside a vector loop")
        for c in stmt.carries:
            self.value(c.init, c.var.dtype, f"the carry {c.var.name} is {c.var.dtype}; its first value")
        outer = dict(self.variables)
        self.bind(stmt.var)
        for c in stmt.carries:
            self.bind(c.var)
            self.carry(c, stmt)
        if stmt.kind in ("parallel", "vector") and bounds(stmt.extent, self.ranges)[1] > 1:
            self.independent(stmt)
        maybe_empty = bounds(stmt.extent, self.ranges)[0] < 1
        self.guarded += maybe_empty
        self.block(stmt.body, inside | {stmt.kind}, *(c.next for c in stmt.carries))
        self.guarded -= maybe_empty
        self.variables = outer
        self.stmt = stmt
        for c in stmt.carries:
            self.bind(c.result)

    def carry(self, c: Carry, stmt: For) -> None:
        same = c.var.dtype == c.next.dtype == c.result.dtype
        types = f"{c.var.dtype}, {c.next.dtype}, {c.result.dtype}"
        self.require(same, f"the carry {c.var.name}, its next value and its result differ in dtype: {types}")
        if c.combine is None:
            self.require(
                stmt.kind not in ("parallel", "vector"), f"the carry {c.var.name} of a {stmt.kind} loop has no `combine`"
            )
            return
        self.require(c.combine in COMBINE, f"a carry cannot combine with {c.combine!r}, only with one of {', '.join(COMBINE)}")
        form = isinstance(c.next, Op) and c.next.name == c.combine and len(c.next.args) == 2 and c.next.args[0] == c.var
        if not isinstance(c.next, Op) or not form:
            self.fail(f"the next {c.var.name} is `{show_value(c.next)}`, expected {c.combine}({c.var.name}, ...)")
        others = (c.next.args[1], *(d.next for d in stmt.carries if d is not c))
        read = any(mentions(v, c.var) for v in others) or any(v == c.var for v in all_values(stmt.body) if isinstance(v, Var))
        self.require(not read, f"the carry {c.var.name} combines with {c.combine}, and is read elsewhere in the loop")

    def independent(self, stmt: For) -> None:
        """No store of two iterations to one element: to a buffer from outside the loop, the index depends on the iteration."""
        inner = {s.buffer.name for s in walk(stmt.body) if isinstance(s, Alloc)}
        varying = dependents((stmt,), {stmt.var})
        loaded = any(isinstance(v, Load) for v in all_values(stmt.body))

        def visit(block: Block) -> None:
            for s in block:
                match s:
                    case Store() if s.buffer.name not in inner and not any(mentions(i, varying) for i in s.index):
                        # What was stored and loaded again is not followed, and may well vary.
                        if not (loaded and any(not isinstance(i, Const | Var) for i in s.index)):
                            self.fail(f"each iteration of a {stmt.kind} loop stores to one element: `{show_stmt(s)}`")
                    case For():
                        visit(s.body)
                    case If() if not mentions(s.condition, varying):
                        visit(s.then)
                        visit(s.orelse)
                    case _:
                        pass

        visit(stmt.body)

    def while_loop(self, stmt: While, inside: frozenset[str]) -> None:
        buffers, variables = dict(self.buffers), dict(self.variables)
        self.statements(stmt.prelude, inside)
        self.stmt = stmt
        self.value(stmt.condition, BOOL, "the condition")
        self.guarded += 1
        self.block(stmt.body, inside)
        self.guarded -= 1
        self.buffers, self.variables = buffers, variables

    def call(self, stmt: Call) -> None:
        self.require(self.tiles is None or stmt.kernel in self.tiles, f"there is no tile kernel {stmt.kernel!r}")
        self.refs(stmt.inputs, stmt.outputs)
        for scalar in stmt.scalars:
            self.value(scalar, INDEX, "the scalar")
        names = [name for name, _ in stmt.attrs]
        self.require(names == sorted(set(names)), f"the attributes are not sorted by name: {names}")
        try:
            hash(stmt.attrs)
        except TypeError as error:
            self.fail(f"an attribute cannot be hashed: {error}")

    def refs(self, inputs: tuple[Ref, ...], outputs: tuple[Ref, ...]) -> None:
        for ref in outputs:
            self.writable(ref.buffer)
        for ref in (*outputs, *inputs):
            self.buffer(ref.buffer)
            self.value(ref.offset, INDEX, "the offset")
            for n in ref.shape:
                self.value(n, INDEX, "the size")
            if len(ref.shape) != len(ref.strides):
                self.fail(f"the window of {ref.buffer.name} has {len(ref.shape)} sizes and {len(ref.strides)} strides")
            self.window(ref)

    def window(self, ref: Ref) -> None:
        """Whether a window of constant size fits the buffer, wherever the loops around it may put it."""
        sizes = [int(n.value) for n in ref.shape if isinstance(n, Const)]
        if len(sizes) < len(ref.shape) or 0 in sizes or self.guarded:
            return
        self.require(min(sizes, default=0) >= 0, f"the window of {ref.buffer.name} has the sizes {sizes}")
        steps = [(n - 1) * step for n, step in zip(sizes, ref.strides, strict=True)]
        low, high = bounds(ref.offset, self.ranges)
        first, last = high + sum(min(s, 0) for s in steps), low + sum(max(s, 0) for s in steps)
        if first < 0 or last >= ref.buffer.size:
            self.fail(f"the window of {ref.buffer.name}, which has {ref.buffer.size} elements, covers {first} to {last}")
