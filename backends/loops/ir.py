"""The loop IR: a routine is buffers plus structured statements over scalar expressions.

One small language stands between the array program and every target.  Lowering writes it, `fuse`,
`schedule` and `plan` rewrite it, `interpret` defines it, and the LLVM and CUDA emitters translate it.

Grammar
-------
::

    routine   ::= Routine(name, inputs, consts, outputs, body)
    statement ::= Let(var, value)                                bind a scalar
                | Store(buffer, index, value)                    write one element
                | For(var, extent, kind, body, carries)          counted loop
                | While(prelude, condition, body)                prelude; stop unless condition; body
                | If(condition, then, orelse)
                | Alloc(buffer)                                  a temporary begins its life
                | Check(ok, site, values)                        record an error where `ok` is false
                | Call(kernel, outputs, inputs, scalars, attrs)  a tile kernel (see `tiles`)
                | Callback(slot, inputs, outputs)                back into Python, on the calling thread
                | Barrier()                                      threads of one block meet (CUDA only)
    value     ::= Const(value, dtype) | Var(name, dtype) | Load(buffer, index) | Op(name, args, dtype)

Invariants (held by `check`)
----------------------------
* Every `Var` is bound once, before use, by a `Let`, a `For` or a carry; every buffer is an argument or has one `Alloc` in
  an enclosing block, before use.
* Buffers are dense and row-major; an index has one i64 expression for each axis.  Indices are in bounds: a routine
  clamps what it cannot prove, and says so with a `Check`.
* Iterations of a `parallel` or `vector` loop are independent: none reads what another writes.  A carry in such
  a loop has a `combine` operation, and its order of combination is the schedule's.
* Values are of the dtypes of `fdl.tracer.dtypes`; index arithmetic is int64.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import field
from typing import Literal, TypeAlias

import numpy as np

from fdl.tracer.records import dataclass

INDEX = np.dtype(np.int64)
BOOL = np.dtype(np.bool_)

Space: TypeAlias = Literal["input", "const", "output", "arena", "local"]
"""Where a buffer lives: arguments, invariant constants, results, the call's arena, one thread's scratch."""

Kind: TypeAlias = Literal["serial", "parallel", "vector", "unroll"]


@dataclass(frozen=True, slots=True)
class Buffer:
    """A dense row-major array. Two buffers of one routine differ in name."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    space: Space = "arena"

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.size * self.dtype.itemsize

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides in elements, row-major."""
        strides, step = [], 1
        for n in reversed(self.shape):
            strides.append(step)
            step *= max(n, 1)
        return tuple(reversed(strides))


# --- values ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Const:
    """A literal. `value` is a Python bool, int or float (NaN and infinities allowed)."""

    value: bool | int | float
    dtype: np.dtype


@dataclass(frozen=True, slots=True)
class Var:
    """A scalar bound by `Let`, `For` or `Carry`."""

    name: str
    dtype: np.dtype

    def __hash__(self) -> int:
        return hash(self.name)  # no two variables of a routine have one name


@dataclass(frozen=True, slots=True)
class Load:
    """One element of a buffer."""

    buffer: Buffer
    index: tuple[Value, ...]

    @property
    def dtype(self) -> np.dtype:
        return self.buffer.dtype


@dataclass(frozen=True, slots=True)
class Op:
    """A scalar operation of `fdl.tracer.scalars`; `dtype` is the result's."""

    name: str
    args: tuple[Value, ...]
    dtype: np.dtype


Value: TypeAlias = Const | Var | Load | Op

# --- statements -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Let:
    var: Var
    value: Value


@dataclass(frozen=True, slots=True)
class Store:
    buffer: Buffer
    index: tuple[Value, ...]
    value: Value


@dataclass(frozen=True, slots=True)
class Carry:
    """A value carried through a loop.

    `var` holds `init` in the first iteration and the previous iteration's `next` after that; `result` is bound after
    the loop to the last `next` (to `init` when the loop runs no iteration).  With `combine`, `next` must be
    `Op(combine, (var, e), dtype)` where `e` does not read `var`: a reduction, whose iterations may be regrouped.
    """

    var: Var
    init: Value
    next: Value
    result: Var
    combine: str | None = None


@dataclass(frozen=True, slots=True)
class For:
    """`for var in range(extent)`. The carries' `next` are evaluated at the end of the body, inside its scope."""

    var: Var
    extent: Value
    body: tuple[Stmt, ...]
    kind: Kind = "serial"
    carries: tuple[Carry, ...] = ()


@dataclass(frozen=True, slots=True)
class While:
    """`while True: prelude; if not condition: break; body`. `condition` sees the prelude's bindings."""

    prelude: tuple[Stmt, ...]
    condition: Value
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class If:
    condition: Value
    then: tuple[Stmt, ...]
    orelse: tuple[Stmt, ...] = ()


@dataclass(frozen=True, slots=True)
class Alloc:
    """`buffer` (space arena or local) lives from here to the end of the enclosing block. Its contents are undefined."""

    buffer: Buffer


@dataclass(frozen=True, slots=True)
class Check:
    """Record a failure at `site` when `ok` is false; execution goes on with values that are safe to use.

    `site` indexes the routine's `sites`; sites are numbered in program order.  `values` (up to three int64) are what
    the message shows: the index, the axis length.  The failure that counts is the one that the program, run one equation
    after another, meets first.  Within an iteration of the program's innermost loop around it that is the lowest site, and
    then the first in iteration order; a loop of the program (`is_step`, `While`) keeps the failure of the first iteration
    that has one, and may end there.
    """

    ok: Value
    site: int
    values: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Ref:
    """A strided window of a buffer, the operand of a tile kernel: element (i, j, ...) is
    `buffer[offset + i * strides[0] + j * strides[1] + ...]`, offset and strides in elements of the flat buffer."""

    buffer: Buffer
    offset: Value
    shape: tuple[Value, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A tile kernel by name. `scalars` are run-time int64 values, `attrs` sorted (name, hashable value) pairs."""

    kernel: str
    outputs: tuple[Ref, ...]
    inputs: tuple[Ref, ...]
    scalars: tuple[Value, ...] = ()
    attrs: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class Callback:
    """Call the routine's Python function number `slot` with whole buffers."""

    slot: int
    inputs: tuple[Ref, ...]
    outputs: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class Barrier:
    pass


Stmt: TypeAlias = Let | Store | For | While | If | Alloc | Check | Call | Callback | Barrier


@dataclass(frozen=True, slots=True)
class Site:
    """Where a `Check` comes from.

    `message` is a format string over the check's values "{0}", "{1}", "{2}", and over the least and the largest index of an axis
    of size {2}: "{3}" and "{4}".
    """

    message: str
    source: str = ""
    number: int = 0

    def text(self, values: Sequence[int]) -> str:
        """The message for the values of a failed check."""
        shown = (*values, 0, 0, 0)[:3]
        return self.message.format(*shown, -shown[2], shown[2] - 1)


@dataclass(frozen=True)
class Routine:
    """A compiled unit. Calling it binds arrays to `inputs`, `consts` and `outputs` in order and runs `body`."""

    name: str
    inputs: tuple[Buffer, ...]
    consts: tuple[Buffer, ...]
    outputs: tuple[Buffer, ...]
    body: tuple[Stmt, ...]
    sites: tuple[Site, ...] = ()
    notes: dict[str, str] = field(default_factory=dict, compare=False)
    """Buffer or loop-variable name → the user's source line that made it; outside equality."""


# --- traversal ------------------------------------------------------------------------------------


def is_step(stmt: Stmt) -> bool:
    """Whether a loop is one of the program, a scan: its iterations happen one after another. Lowering names its variable so."""
    return isinstance(stmt, For) and stmt.kind == "serial" and stmt.var.name.startswith("step")


def is_observable(stmt: Stmt) -> bool:
    """Whether a statement may fail or call back: such statements stay in the order of the program."""
    return any(isinstance(s, (Check, Callback)) for s in walk((stmt,)))


def blocks(stmt: Stmt) -> tuple[tuple[Stmt, ...], ...]:
    """The statement blocks directly inside `stmt`."""
    match stmt:
        case For():
            return (stmt.body,)
        case While():
            return (stmt.prelude, stmt.body)
        case If():
            return (stmt.then, stmt.orelse)
        case _:
            return ()


_NESTING = frozenset({For, While, If})


def walk(block: tuple[Stmt, ...]) -> Iterator[Stmt]:
    """Every statement of `block` and of the blocks inside it, in program order."""
    todo = list(reversed(block))
    while todo:
        stmt = todo.pop()
        yield stmt
        if type(stmt) in _NESTING:
            for inner in reversed(blocks(stmt)):
                todo.extend(reversed(inner))


def values_of(stmt: Stmt) -> tuple[Value, ...]:
    """The top-level value expressions that `stmt` itself evaluates (not those of inner blocks)."""
    match stmt:
        case Let():
            return (stmt.value,)
        case Store():
            return (*stmt.index, stmt.value)
        case For():
            if not stmt.carries:
                return (stmt.extent,)
            return (stmt.extent, *(v for c in stmt.carries for v in (c.init, c.next)))
        case While() | If():
            return (stmt.condition,)
        case Check():
            return (stmt.ok, *stmt.values)
        case Call() | Callback():
            refs = tuple(v for r in (*stmt.outputs, *stmt.inputs) for v in (r.offset, *r.shape))
            return refs + (stmt.scalars if isinstance(stmt, Call) else ())
        case _:
            return ()


def subvalues(value: Value) -> list[Value]:
    """`value` and every value inside it, outermost first."""
    found, todo = [], [value]
    while todo:
        v = todo.pop()
        found.append(v)
        if type(v) is Op:
            todo += v.args[::-1]
        elif type(v) is Load:
            todo += v.index[::-1]
    return found
