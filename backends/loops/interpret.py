"""The definition of the loop IR: `run` executes a routine on NumPy arrays, one scalar at a time.

Slow and obvious.  Loops of every kind run in order; tile kernels run as their definition in `tiles`.  On the way it
holds the routine to what `check` cannot prove: indices are in bounds, and no iteration of a parallel or vector loop touches an
element that another one writes.  Memory that was not written holds NaN (an integer type's lowest value), so that reading it
shows.

May be imported by: tests, and backends that need the definition.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any, TypeAlias

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.records import dataclass
from fdl.tracer.scalars import SCALARS

from .build import Block, Names, expanded, new_names
from .check import InvalidRoutine
from .ir import (
    Alloc,
    Barrier,
    Buffer,
    Call,
    Callback,
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
    is_step,
)
from .show import show_stmt, show_value
from .tiles import TILES, Tile
from .values import number

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
Failure: TypeAlias = tuple[int, tuple[int, ...]]
"""(site, values) of a failed `Check`."""
Element: TypeAlias = tuple[int, int]
"""(number of the memory, flat position)."""

# NumPy's own scalar operators, where they are what SCALARS defines: the same value, sooner.
_DIRECT: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul,
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
}  # fmt: skip
_DIRECT_TYPES = {dtypes.int32, dtypes.int64, dtypes.float32, dtypes.float64}


def run(
    routine: Routine,
    inputs: Sequence[Array],
    consts: Sequence[Array] = (),
    callbacks: Sequence[Callable[..., Sequence[Array]]] = (),
    *,
    tiles: Mapping[str, Tile] = TILES,
    races: bool = True,
) -> tuple[list[Array], Failure | None]:
    """The outputs of `routine` for `inputs` and `consts`, and the failure that its checks record, if any.

    Args:
        inputs, consts: arrays of the shapes and dtypes of the routine's buffers. They are not modified.
        callbacks: Python functions by slot; called with one array for each input, and returning one for each output.
        tiles: the definitions of the tile kernels.
        races: whether to hold parallel and vector loops to the independence of their iterations.

    Returns: (outputs, failure). The failure (site, values) is the one that counts: see `ir.Check`. A loop of the program ends with the
        iteration that fails.

    Raises: InvalidRoutine where an index is out of bounds, or iterations that should be independent are not.
    """
    machine = _Machine(callbacks, tiles, races, new_names(routine))
    for role, buffers, arrays in (("inputs", routine.inputs, inputs), ("consts", routine.consts, consts)):
        if len(buffers) != len(arrays):
            raise ValueError(f"{routine.name}: {len(arrays)} {role} given, expected {len(buffers)}")
        for buffer, array in zip(buffers, arrays, strict=True):
            array = np.asarray(array)
            if array.dtype != buffer.dtype or array.shape != buffer.shape:
                given, expected = f"{array.dtype}{list(array.shape)}", f"{buffer.dtype}{list(buffer.shape)}"
                raise ValueError(f"{routine.name}: {buffer.name} is {given}, expected {expected}")
            machine.add(buffer, array.flatten())
    for buffer in routine.outputs:
        machine.add(buffer, _undefined(buffer))
    with np.errstate(all="ignore"):
        machine.block(routine.body, {})
    outputs = [machine.memory[b.name].data.reshape(b.shape) for b in routine.outputs]
    return outputs, machine.failure


def _undefined(buffer: Buffer) -> Array:
    """Memory that was not written."""
    if dtypes.is_int(buffer.dtype):
        return np.full(buffer.size, np.iinfo(buffer.dtype).min, buffer.dtype)
    return np.full(buffer.size, True if buffer.dtype == dtypes.bool_ else np.nan, buffer.dtype)


@dataclass(slots=True)
class _Memory:
    """The elements of a buffer, row-major. `serial` tells one life of a buffer from the next."""

    serial: int
    data: Array


@dataclass(slots=True)
class _Loop:
    """The elements that the iterations of a running parallel or vector loop have touched, each with who did so."""

    stmt: For
    first: int
    """Memory with this serial number or a higher one was allocated inside an iteration: its own."""
    iteration: int = 0
    writer: dict[Element, int] = field(default_factory=dict)
    readers: dict[Element, set[int]] = field(default_factory=dict)

    def touch(self, element: Element, name: str, write: bool) -> None:
        if element[0] >= self.first:
            return
        others = {self.writer.get(element, self.iteration)}
        if write:
            others |= self.readers.get(element, set())
            self.writer[element] = self.iteration
        else:
            self.readers.setdefault(element, set()).add(self.iteration)
        others.discard(self.iteration)
        if others:
            raise InvalidRoutine(
                f"iterations {min(others)} and {self.iteration} of `{show_stmt(self.stmt)}` are not independent: "
                f"both touch element {element[1]} of {name}, and one of them writes it"
            )


@dataclass(slots=True)
class _Machine:
    callbacks: Sequence[Callable[..., Sequence[Array]]]
    tiles: Mapping[str, Tile]
    races: bool
    names: Names
    memory: dict[str, _Memory] = field(default_factory=dict)
    loops: list[_Loop] = field(default_factory=list)
    """The parallel and vector loops that are running, outermost first."""
    bodies: dict[int, Block] = field(default_factory=dict)
    """What the tile kernel calls met so far mean, by the identity of the statement, which the routine keeps alive."""
    failure: Failure | None = None
    made: int = 0

    def add(self, buffer: Buffer, data: Array) -> None:
        """Give `buffer` the memory `data`."""
        self.memory[buffer.name] = _Memory(self.made, data)
        self.made += 1

    # --- values -------------------------------------------------------------------------------

    def value(self, value: Value, env: dict[str, Any]) -> Any:
        """The NumPy scalar that `value` is, given the variables of `env`."""
        match value:
            case Const():
                return number(value)
            case Var():
                return env[value.name]
            case Load():
                return self.load(value.buffer, self.position(value.buffer, value.index, env))
            case Op():
                args = [self.value(a, env) for a in value.args]
                if value.name in _DIRECT and value.args[0].dtype in _DIRECT_TYPES:
                    return _DIRECT[value.name](*args)
                return SCALARS[value.name].impl(*args, dtype=value.dtype)[()]

    def position(self, buffer: Buffer, index: tuple[Value, ...], env: dict[str, Any]) -> int:
        """The flat position of an element, which must be in bounds."""
        position = 0
        for i, n in zip(index, buffer.shape, strict=True):
            at = int(self.value(i, env))
            if not 0 <= at < n:
                raise InvalidRoutine(f"index `{show_value(i)}` of {buffer.name}, of shape {buffer.shape}, is {at}")
            position = position * n + at
        return position

    def load(self, buffer: Buffer, position: int) -> Any:
        """Read an element."""
        memory = self.memory[buffer.name]
        for loop in self.loops:
            loop.touch((memory.serial, position), buffer.name, write=False)
        return memory.data[position]

    def store(self, buffer: Buffer, position: int, value: Any) -> None:
        """Write an element."""
        memory = self.memory[buffer.name]
        for loop in self.loops:
            loop.touch((memory.serial, position), buffer.name, write=True)
        memory.data[position] = value

    # --- statements ---------------------------------------------------------------------------

    def block(self, block: Block, env: dict[str, Any]) -> None:
        """Run the statements of a block; their bindings are added to `env`, where names are unique."""
        for stmt in block:
            self.statement(stmt, env)

    def statement(self, stmt: Stmt, env: dict[str, Any]) -> None:
        match stmt:
            case Let():
                env[stmt.var.name] = self.value(stmt.value, env)
            case Store():
                position = self.position(stmt.buffer, stmt.index, env)
                self.store(stmt.buffer, position, self.value(stmt.value, env))
            case For():
                self.loop(stmt, env)
            case While():
                self.block(stmt.prelude, env)
                while self.failure is None and self.value(stmt.condition, env):
                    self.block(stmt.body, env)
                    if self.failure is None:
                        self.block(stmt.prelude, env)
            case If():
                self.block(stmt.then if self.value(stmt.condition, env) else stmt.orelse, env)
            case Alloc():
                self.add(stmt.buffer, _undefined(stmt.buffer))
            case Check():
                earlier = self.failure is None or stmt.site < self.failure[0]
                if not self.value(stmt.ok, env) and earlier:
                    self.failure = stmt.site, tuple(int(self.value(v, env)) for v in stmt.values)
            case Call() if self.tiles[stmt.kernel].foreign is not None:
                self.foreign(stmt, env)
            case Call():
                if id(stmt) not in self.bodies:
                    self.bodies[id(stmt)] = expanded(stmt, self.tiles[stmt.kernel].body, self.names)
                self.block(self.bodies[id(stmt)], env)
            case Callback():
                self.callback(stmt, env)
            case Barrier():
                pass

    def loop(self, stmt: For, env: dict[str, Any]) -> None:
        carried = [self.value(c.init, env) for c in stmt.carries]
        watch = self.races and stmt.kind in ("parallel", "vector")
        if watch:
            self.loops.append(_Loop(stmt, self.made))
        for i in range(int(self.value(stmt.extent, env))):
            if watch:
                self.loops[-1].iteration = i
            env[stmt.var.name] = np.int64(i)
            env.update(zip((c.var.name for c in stmt.carries), carried, strict=True))
            self.block(stmt.body, env)
            carried = [self.value(c.next, env) for c in stmt.carries]
            if self.failure is not None and is_step(stmt):
                break
        if watch:
            self.loops.pop()
        env.update(zip((c.result.name for c in stmt.carries), carried, strict=True))

    def foreign(self, stmt: Call, env: dict[str, Any]) -> None:
        run = self.tiles[stmt.kernel].foreign
        assert run is not None
        positions = [self.positions(ref, env) for ref in stmt.inputs]
        arrays = []
        for ref, places in zip(stmt.inputs, positions, strict=True):
            values = [self.load(ref.buffer, int(p)) for p in places.ravel()]
            arrays.append(np.array(values, ref.buffer.dtype).reshape(places.shape))
        run(stmt, arrays)
        for ref, places, array in zip(stmt.outputs, positions, arrays, strict=False):
            for p, value in zip(places.ravel(), array.ravel(), strict=True):
                self.store(ref.buffer, int(p), value)

    def callback(self, stmt: Callback, env: dict[str, Any]) -> None:
        arrays = []
        for ref in stmt.inputs:
            positions = self.positions(ref, env)
            values = [self.load(ref.buffer, int(p)) for p in positions.ravel()]
            arrays.append(np.array(values, ref.buffer.dtype).reshape(positions.shape))
        results = self.callbacks[stmt.slot](*arrays)
        for ref, result in zip(stmt.outputs, results, strict=True):
            positions = self.positions(ref, env)
            for p, value in zip(positions.ravel(), np.asarray(result).ravel(), strict=True):
                self.store(ref.buffer, int(p), value)

    def positions(self, ref: Ref, env: dict[str, Any]) -> Array:
        """The flat positions of the elements of a window, in the window's shape."""
        shape = tuple(int(self.value(n, env)) for n in ref.shape)
        positions = np.full(shape, int(self.value(ref.offset, env)))
        for axis, (n, stride) in enumerate(zip(shape, ref.strides, strict=True)):
            positions += (np.arange(n) * stride).reshape(-1, *[1] * (len(shape) - axis - 1))
        if positions.size and not (positions.min() >= 0 and positions.max() < ref.buffer.size):
            raise InvalidRoutine(f"a window of {ref.buffer.name}, which has {ref.buffer.size} elements, covers {positions}")
        return positions
