"""Entries of the call path: what a specialisation expects of its arguments, what it runs, what it returns.

A *specification* has the shape of an argument with its leaves replaced: `{"w": ArrayArg(...), "b": ArrayArg(...)}`
fits a dict with exactly those keys, in any order.  Containers are tuple, list, dict with str keys, None and
namedtuple.  A *result* is likewise a container with `Out` and `Static` leaves.

Every leaf that the program reads has a slot: its place in the program's table of buffers, which has the inputs, then
the constants, then the outputs.  An entry owns all that its addresses point into: the constants, and the engine
through `owner`.

Imported by `callpath`, and by what makes entries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, Final, TypeAlias

import numpy as np

from fdl.tracer.records import dataclass

DType: TypeAlias = "np.dtype[Any]"
Spec: TypeAlias = Any
"""A leaf, or a tuple, list, dict, None or namedtuple of specifications."""

OnFailure: TypeAlias = Callable[["Entry", int, int, tuple[int, int, int]], Any]

SCALARS: Final[dict[type, tuple[DType, ...]]] = {
    bool: (np.dtype(np.bool_),),
    int: (np.dtype(np.int32), np.dtype(np.int64), np.dtype(np.uint64)),
    float: (np.dtype(np.float32), np.dtype(np.float64)),
    complex: (np.dtype(np.complex64), np.dtype(np.complex128)),
}
"""The dtypes that a Python scalar of each type may be passed as."""


@dataclass(frozen=True, slots=True)
class ArrayArg:
    """An `fdl.Array` of exactly this class, dtype, shape and weakness, not consumed.

    Args:
        slot: its place among the inputs; None when the program does not read it.
        donate: None, or what the array's `_consumed` is set to. It is consumed only when nothing else refers to its memory.
    """

    slot: int | None
    dtype: DType
    shape: tuple[int, ...]
    weak: bool = False
    donate: str | None = None


@dataclass(frozen=True, slots=True)
class NumpyArg:
    """A C-contiguous, aligned `numpy.ndarray` (no subclass) of this dtype and shape. It is read in place."""

    slot: int | None
    dtype: DType
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ScalarArg:
    """A Python bool, int, float or complex of exactly this type, passed as a 0-d `dtype`.

    An int is int32 where it fits, else int64, else uint64, so that one value has one specialisation.

    Args:
        limits: of an int, the least and the greatest that fits; None for all of the dtype.
    """

    slot: int | None
    kind: type
    dtype: DType
    limits: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.kind not in SCALARS:
            raise TypeError(f"ScalarArg: expected bool, int, float or complex, got {self.kind!r}")
        if self.dtype not in SCALARS[self.kind]:
            names = ", ".join(d.name for d in SCALARS[self.kind])
            raise TypeError(f"ScalarArg: a Python {self.kind.__name__} is passed as {names}, not as {self.dtype.name}")
        if self.limits is not None and self.kind is not int:
            raise TypeError(f"ScalarArg: limits are for an int, got {self.kind.__name__}")


@dataclass(frozen=True, slots=True)
class Static:
    """A value that the program is specialised on: the same object, or an equal one of the same type.

    Floats are equal when their bits are.  Inside a container only str, bytes, int, float, bool and None are compared by
    value.  In a result: the value that is returned there.
    """

    value: Any


@dataclass(frozen=True, slots=True)
class Out:
    """In a result: the program's output number `index`."""

    index: int


@dataclass(frozen=True, slots=True)
class Output:
    """One output of the program.

    Args:
        alias: slot of an input that the program updates in place: both get the same address.  The input's memory is taken
            over when the input is consumed; it is copied when something else refers to it, or it is not donated.
    """

    dtype: DType
    shape: tuple[int, ...]
    weak: bool = False
    alias: int | None = None

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def _raise_failure(entry: Entry, status: int, site: int, values: tuple[int, int, int]) -> Any:
    raise RuntimeError(f"a compiled program failed with status {status} at site {site}, values {values}")


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One specialisation: arguments → program → result.

    Args:
        args: specifications of the positional arguments.
        kwargs: specifications of the keyword arguments, in any order.
        address: the program, `i32 program(ptr frame, ptr buffers)`.
        outputs: the program's outputs, in the order of its table.
        result: what the call returns.
        consts: read-only arrays between the inputs and the outputs of the table.
        inputs: number of input slots.
        arena_bytes: size of the arena.
        release: run without the interpreter lock, and poll signals; for programs of more than a few microseconds.
        poll, callback: addresses for the frame, or 0.  A `release` program without `poll` polls Python's signals.
        max_threads: 0 for the pool's default.
        on_failure: called as `on_failure(entry, status, site, values)` for a status other than 0, unless an exception is
            pending; it raises, or its result is the call's.
        guard: called without arguments before anything is matched; the entry fits only where it returns True.
        owner: kept alive with the entry: the engine, the callback.
        tag: anything; for the maker of the entry.
    """

    args: tuple[Spec, ...]
    address: int
    outputs: tuple[Output, ...]
    result: Any
    inputs: int
    kwargs: Mapping[str, Spec] = field(default_factory=dict)
    consts: tuple[np.ndarray[Any, Any], ...] = ()
    arena_bytes: int = 0
    release: bool = False
    poll: int = 0
    callback: int = 0
    max_threads: int = 0
    on_failure: OnFailure = _raise_failure
    guard: Callable[[], bool] | None = None
    owner: Any = None
    tag: Any = None

    def __post_init__(self) -> None:
        slots: dict[int, Any] = {}
        for spec in (*self.args, *self.kwargs.values()):
            for leaf in spec_leaves(spec):
                slot = getattr(leaf, "slot", None)
                if slot is None:
                    continue
                if slot in slots or not 0 <= slot < self.inputs:
                    raise ValueError(f"slot {slot} is used twice or is not below {self.inputs}, the number of inputs")
                slots[slot] = leaf
        if len(slots) != self.inputs:
            raise ValueError(f"no argument for the slots {sorted(set(range(self.inputs)) - set(slots))}")
        for const in self.consts:
            if not const.flags.c_contiguous or not const.flags.aligned:
                raise ValueError("constants must be C-contiguous and aligned")
        taken: set[int] = set()
        for output in self.outputs:
            if output.alias is not None:
                self._check_alias(output, slots.get(output.alias), output.alias in taken)
                taken.add(output.alias)
        for leaf in result_leaves(self.result):
            if isinstance(leaf, Out) and not 0 <= leaf.index < len(self.outputs):
                raise ValueError(f"the result has output {leaf.index}, but there are {len(self.outputs)} outputs")

    def _check_alias(self, output: Output, leaf: Any, again: bool) -> None:
        shape = () if isinstance(leaf, ScalarArg) else getattr(leaf, "shape", None)
        if leaf is None or again or (leaf.dtype, shape) != (output.dtype, output.shape):
            raise ValueError(f"{output} is updated in place, so slot {output.alias} must be one input of its dtype and shape")


LEAVES: Final = (ArrayArg, NumpyArg, ScalarArg, Static)


def is_namedtuple(value: Any) -> bool:
    """Whether `value` is an instance of a namedtuple class."""
    return isinstance(value, tuple) and type(value) is not tuple and hasattr(type(value), "_fields")


def _children(value: Any, what: str) -> tuple[Any, ...]:
    if value is None:
        return ()
    if type(value) in (tuple, list) or is_namedtuple(value):
        return tuple(value)
    if type(value) is dict:
        if not all(type(key) is str for key in value):
            raise TypeError(f"{what}: expected str keys, got {list(value)}")
        return tuple(value.values())
    raise TypeError(f"{what}: expected a leaf, tuple, list, dict, None or namedtuple, got {value!r}")


def spec_leaves(spec: Spec) -> list[Any]:
    """The leaves of a specification. Raises: TypeError for a container that the call path does not know."""
    if isinstance(spec, LEAVES):
        return [spec]
    return [leaf for child in _children(spec, "specification") for leaf in spec_leaves(child)]


def result_leaves(result: Any) -> list[Out | Static]:
    """The leaves of a result. Raises: TypeError for a container that the call path does not know."""
    if isinstance(result, (Out, Static)):
        return [result]
    return [leaf for child in _children(result, "result") for leaf in result_leaves(child)]
