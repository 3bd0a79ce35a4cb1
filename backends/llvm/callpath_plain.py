"""The call path in plain Python: the definition of what the native one does, and its stand-in where that cannot run.

It serves other interpreters, builds without an interpreter lock, and layouts that `layout` does not recognise.

Imported by `callpath` and its tests.
"""

from __future__ import annotations

import struct
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Any

import numpy as np

from fdl.tracer.records import dataclass

from . import locks, pool, runtime
from .entries import ArrayArg, Entry, NumpyArg, Out, ScalarArg, Spec, Static, is_namedtuple

_ENTRIES = locks.guarded()
"""Taken to change a list of entries."""


class _Mismatch(Exception):
    """The arguments do not fit the entry."""


@dataclass(slots=True)
class _Binding:
    """The leaves of one call, found by slot, and the arrays to consume."""

    data: dict[int, np.ndarray[Any, Any]] = field(default_factory=dict)
    donated: list[tuple[Any, ArrayArg]] = field(default_factory=list)


def _require(condition: bool) -> None:
    if not condition:
        raise _Mismatch


def _same_dtype(have: np.dtype[Any], want: np.dtype[Any]) -> bool:
    return have is want or (have.num == want.num and have.byteorder == want.byteorder)


def _scalar(spec: ScalarArg, value: Any) -> np.ndarray[Any, Any]:
    _require(type(value) is spec.kind)
    if spec.kind is int:
        narrow, wide = -(2**31) <= value < 2**31, -(2**63) <= value < 2**63
        fits = {4: narrow, 8: wide and not narrow}[spec.dtype.itemsize] if spec.dtype.kind == "i" else 2**63 <= value < 2**64
        _require(fits)
        _require(spec.limits is None or spec.limits[0] <= value <= spec.limits[1])
    with np.errstate(over="ignore"):  # a float beyond float32 is an infinity
        return np.asarray(value, np.float64 if spec.kind is float else None).astype(spec.dtype)


def _equal(value: Any, want: Any, top: bool) -> bool:
    if value is want:
        return True
    if type(value) is not type(want):
        return False
    kind = type(want)
    if kind is float:
        return struct.pack("<d", value) == struct.pack("<d", want)
    if kind is tuple:
        return len(value) == len(want) and all(_equal(v, w, False) for v, w in zip(value, want, strict=True))
    if kind in (str, bytes, int, bool):
        return bool(value == want)
    if not top:
        return False
    try:
        return bool(value == want)
    except Exception:  # values that cannot be compared are not equal
        return False


class PlainDispatcher:
    """A callable that runs compiled specialisations, and `slow` when none fits. The interface of the native type."""

    __slots__ = ("__dict__", "__weakref__", "_array_type", "_capacity", "_entries", "_hits", "_misses", "_slow")

    def __init__(self, slow: Callable[..., Any], *, array_type: type, capacity: int = 8) -> None:
        if not callable(slow):
            raise TypeError(f"Dispatcher: expected a callable, got {slow!r}")
        if not 1 <= capacity <= 32:
            raise ValueError(f"Dispatcher: expected a capacity from 1 to 32, got {capacity}")
        self._slow, self._array_type, self._capacity = slow, array_type, capacity
        self._entries: tuple[Entry, ...] = ()
        self._hits = self._misses = 0

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle {self!r}: it holds machine code of this process")

    def __copy__(self) -> PlainDispatcher:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> PlainDispatcher:
        return self

    def add(self, entry: Entry) -> None:
        """Put an entry first in the list; the least recently used one goes when the list is full."""
        with _ENTRIES:
            self._entries = (entry, *self._entries)[: self._capacity]

    def clear(self) -> None:
        """Forget all entries."""
        with _ENTRIES:
            self._entries = ()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The entries, most recently used first."""
        return self._entries

    @property
    def hits(self) -> int:
        """The number of calls that found an entry."""
        return self._hits

    @property
    def misses(self) -> int:
        """The number of calls that went to `slow`."""
        return self._misses

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        for index, entry in enumerate(self._entries):
            if len(args) != len(entry.args) or kwargs.keys() != entry.kwargs.keys() or not _open(entry):
                continue
            try:
                binding = self._bind(entry, args, kwargs)
            except _Mismatch:
                continue
            self._hits += 1
            if index:
                self._move_to_front(entry)
            return self._run(entry, binding)
        self._misses += 1
        return self._slow(*args, **kwargs)

    def _move_to_front(self, entry: Entry) -> None:
        with _ENTRIES:
            if entry in self._entries:
                self._entries = (entry, *[e for e in self._entries if e is not entry])

    def _bind(self, entry: Entry, args: Sequence[Any], kwargs: dict[str, Any]) -> _Binding:
        binding = _Binding()
        pairs = [*zip(entry.args, args, strict=True), *[(spec, kwargs[k]) for k, spec in entry.kwargs.items()]]
        for spec, value in pairs:
            self._match(binding, spec, value, True)
        return binding

    def _match(self, binding: _Binding, spec: Spec, value: Any, top: bool = False) -> None:
        if isinstance(spec, ArrayArg):
            _require(type(value) is self._array_type)
            _require(value._consumed is None and value._weak is spec.weak)
            self._match_array(binding, spec, _ndarray(value))
            if spec.donate is not None:
                binding.donated.append((value, spec))
        elif isinstance(spec, NumpyArg):
            _require(type(value) is np.ndarray and value.flags.c_contiguous and value.flags.aligned)
            self._match_array(binding, spec, value)
        elif isinstance(spec, ScalarArg):
            scalar = _scalar(spec, value)
            if spec.slot is not None:
                binding.data[spec.slot] = scalar
        elif isinstance(spec, Static):
            _require(_equal(value, spec.value, top))
        elif spec is None:
            _require(value is None)
        elif type(spec) is dict:
            _require(type(value) is dict and len(value) == len(spec))
            _require(all(type(key) is str and key in spec for key in value))
            for key, inner in spec.items():
                self._match(binding, inner, value[key])
        else:
            _require(type(value) is type(spec) and len(value) == len(spec))
            for inner, item in zip(spec, value, strict=True):
                self._match(binding, inner, item)

    def _match_array(self, binding: _Binding, spec: ArrayArg | NumpyArg, data: Any) -> None:
        _require(type(data) is np.ndarray and _same_dtype(data.dtype, spec.dtype) and data.shape == spec.shape)
        if spec.slot is not None:
            binding.data[spec.slot] = data

    def _run(self, entry: Entry, binding: _Binding) -> Any:
        outputs: list[Any] = [None if o.alias is not None else pool.empty(o.shape, o.dtype) for o in entry.outputs]
        updated = {o.alias: k for k, o in enumerate(entry.outputs) if o.alias is not None}
        with pool.arena(entry.arena_bytes) as arena:
            released = []
            for array, spec in binding.donated:
                k = None if spec.slot is None else updated.get(spec.slot)
                data = self._consume(array, spec, binding)
                if k is None:
                    released.append(data)  # lives until the program has returned
                else:
                    outputs[k] = data
            for slot, k in updated.items():
                if outputs[k] is None:  # not donated, or something else refers to the memory
                    outputs[k] = pool.empty(entry.outputs[k].shape, entry.outputs[k].dtype)
                    np.copyto(outputs[k], binding.data[slot])
                    binding.data[slot] = outputs[k]
            frame = runtime.new_frame(
                arena=arena, interruptible=entry.release, callback=entry.callback, max_threads=entry.max_threads
            )
            if entry.poll:
                frame[runtime.POLL_WORD] = entry.poll
            tables = [binding.data[slot] for slot in range(entry.inputs)] + [*entry.consts, *outputs]
            pointers = [a.__array_interface__["data"][0] for a in tables]
            status = runtime.call(entry.address, frame, pointers, release=entry.release)
        if status != runtime.OK:
            values: Any = tuple(frame[runtime.VALUE_WORDS])
            return entry.on_failure(entry, status, frame[runtime.SITE_WORD], values)
        arrays = [self._wrap(data, o.weak) for data, o in zip(outputs, entry.outputs, strict=True)]
        return _build(entry.result, arrays)

    def _consume(self, array: Any, spec: ArrayArg, binding: _Binding) -> Any:
        """The array's ndarray, taken out of it; None when something else refers to the memory."""
        if spec.slot is None or not _exclusive(array):
            return None
        data = binding.data[spec.slot]
        array._stored, array._consumed = None, spec.donate
        return data

    def _wrap(self, data: Any, weak: bool) -> Any:
        data.flags.writeable = False
        array: Any = object.__new__(self._array_type)
        array._stored, array._weak, array._consumed = data, weak, None
        return array


def _open(entry: Entry) -> bool:
    """Whether the entry's guard lets the call through; an exception is a no."""
    try:
        return entry.guard is None or entry.guard() is True
    except Exception:
        return False


def _ndarray(array: Any) -> Any:
    """What the array holds: its ndarray, which is made here where it is a small result of the native path."""
    make = getattr(array._stored, "array", None)
    if make is not None:
        array._stored = make()
    return array._stored


class _Probe:
    __slots__ = ("_stored",)
    _stored: Any


def _references(array: Any) -> int:
    return sys.getrefcount(array._stored)


def _baseline() -> int:
    """What `_references` says of an ndarray that its Array and one binding hold."""
    probe = _Probe()
    probe._stored = np.empty(1)
    binding = _Binding(data={0: probe._stored})
    count = _references(probe)
    del binding
    return count


def _exclusive(array: Any) -> bool:
    """Whether nothing but its Array and this call refers to the ndarray, and the ndarray owns its memory.

    Reference counts mean nothing without an interpreter lock: there an input is never consumed.
    """
    if not pool.gil_enabled() or sys.implementation.name != "cpython":
        return False
    base = array._stored.base
    owns = array._stored.flags.owndata if base is None else pool.is_block(base)
    del base
    return bool(owns and _references(array) == _baseline())


def is_sole(array: Any) -> bool:
    """Whether nothing but its Array refers to the ndarray, and the ndarray owns its memory; outside of any call."""
    if not pool.gil_enabled() or sys.implementation.name != "cpython":
        return False
    probe = _Probe()
    probe._stored = np.empty(1)
    base = _ndarray(array).base
    owns = array._stored.flags.owndata if base is None else pool.is_block(base)
    del base
    return bool(owns and _references(array) == _references(probe))


def _build(result: Any, arrays: list[Any]) -> Any:
    if isinstance(result, Out):
        return arrays[result.index]
    if isinstance(result, Static):
        return result.value
    if result is None:
        return None
    if type(result) is dict:
        return {key: _build(value, arrays) for key, value in result.items()}
    items = [_build(value, arrays) for value in result]
    if type(result) is list:
        return items
    return tuple.__new__(type(result), items) if is_namedtuple(result) else tuple(items)
