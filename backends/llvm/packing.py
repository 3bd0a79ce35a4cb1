"""The native form of an entry: the tables that `callpath_ir` walks.

Imported by `callpath` alone.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from typing import Any, Final, NamedTuple

import numpy as np

from .callpath_ir import fields as t
from .entries import ArrayArg, Entry, NumpyArg, Out, ScalarArg, Spec, Static, is_namedtuple

SMALL_ARENA: Final = 4096
"""Arenas up to this many bytes are on the C stack."""

_FRAME_BYTES: Final = 128
_KINDS: Final[dict[type, int]] = {bool: t.BOOL, int: t.INT, float: t.FLOAT_, complex: t.COMPLEX}


class Packed(NamedTuple):
    """An entry and its native form. The dispatcher's table holds this object, and it holds all that the tables point to.

    A tuple of things that the garbage collector cannot clear, for when it finds the dispatcher in a cycle: it clears
    the members of a cycle in any order, and the native form must outlive the dispatcher's table.  So no instance with
    a `__dict__` or slots, no list and no ctypes object stands between the table and the memory; `bytearray`s have it.
    """

    entry: Entry
    address: int
    keep: tuple[Any, ...]


def pack(entry: Entry, poll: int) -> Packed:
    """The native form of an entry.

    `poll` is the address that a program which releases the interpreter lock polls, unless the entry has its own.
    """
    builder = _Builder(entry)
    fields = builder.fields(poll)
    address = builder.table(fields)
    packed = Packed(entry, address, (entry.consts, entry.owner, entry.on_failure, *builder.keep))
    ctypes.c_uint64.from_address(address + t.ENTRY["owner"]).value = id(packed)
    return packed


class _Builder:
    """Collects the rows of one entry's tables, and what they point to."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.keep: list[Any] = []
        self.statics: list[tuple[int, ...]] = []
        self.steps: list[tuple[int, ...]] = []
        self.registers = len(entry.args) + len(entry.kwargs)
        self.scalars = 0
        self.buffers = entry.inputs + len(entry.consts) + len(entry.outputs)
        self.leaf_of: dict[int, int] = {}
        self.donated: list[tuple[int, int, str, int]] = []  # leaf, register, message, slot
        pending = [(i, spec, True) for i, spec in enumerate((*entry.args, *entry.kwargs.values()))]
        unread = []
        while pending:
            register, spec, top = pending.pop(0)
            if isinstance(spec, (ArrayArg, NumpyArg)) and spec.slot is None and not getattr(spec, "donate", None):
                unread.append((register, spec))
            else:
                pending += self._step(register, spec, top)
        self.leaves = len(self.leaf_of) + sum(1 for d in self.donated if d[3] < 0)
        for register, spec in unread:
            self._array(register, spec, self.leaves)

    # What each address points to is kept by the entry, or by `keep`.

    def table(self, words: list[int]) -> int:
        if not words:
            return 0
        memory = bytearray(struct.pack(f"<{len(words)}q", *words))
        self.keep.append(memory)
        return ctypes.addressof(ctypes.c_char.from_buffer(memory))

    def _rows(self, rows: list[tuple[int, ...]]) -> int:
        return self.table([word for row in rows for word in (*row, *[0] * (t.ROW // 8 - len(row)))])

    def _object(self, value: Any) -> int:
        self.keep.append(value)
        return id(value)

    def _keys(self, keys: Any) -> int:
        # The very key objects of the first call: those of later calls are usually the same ones.
        return self.table([self._object(key) for key in keys])

    # --- arguments --------------------------------------------------------------------------------

    def _step(self, register: int, spec: Spec, top: bool) -> list[tuple[int, Spec, bool]]:
        """Adds the steps of one specification; returns its children with their registers."""
        if isinstance(spec, (ArrayArg, NumpyArg)):
            self._array(register, spec, len(self.leaf_of) + sum(1 for d in self.donated if d[3] < 0))
            return []
        if isinstance(spec, ScalarArg):
            slot = self.buffers if spec.slot is None else spec.slot
            limits = () if spec.kind is not int else self._limits(spec)
            self.steps.append((_KINDS[spec.kind], register, slot, self._scalar_size(spec), *limits))
            self.scalars += 1
            return []
        if isinstance(spec, Static):
            return self._static(register, spec.value, top)
        if spec is None:
            self.steps.append((t.NONE, register))
            return []
        first, n = self.registers, len(spec)
        self.registers += n
        if type(spec) is dict:
            self.steps.append((t.DICT, register, first, n, 0, self._keys(spec)))
            children = list(spec.values())
        else:
            kind = t.LIST if type(spec) is list else t.TUPLE
            self.steps.append((kind, register, first, n, self._object(type(spec))))
            children = list(spec)
        return [(first + i, child, False) for i, child in enumerate(children)]

    @staticmethod
    def _scalar_size(spec: ScalarArg) -> int:
        return 0 if spec.dtype == np.uint64 else spec.dtype.itemsize  # 0: the ints that need all 64 bits unsigned

    @staticmethod
    def _limits(spec: ScalarArg) -> tuple[int, int]:
        """The least and the greatest int that fits, as 64 bits tell them; of those beyond there is no choice."""
        low, high = spec.limits or (-(2**63), 2**63 - 1)
        return max(low, -(2**63)), min(high, 2**63 - 1)

    def _array(self, register: int, spec: ArrayArg | NumpyArg, leaf: int) -> None:
        slot = self.buffers if spec.slot is None else spec.slot
        dims = self.table(list(spec.shape))
        kind, weak = t.NUMPY, 0
        if isinstance(spec, ArrayArg):
            kind, weak = t.ARRAY, self._object(spec.weak)
            if spec.donate is not None:
                self.donated.append((leaf, register, spec.donate, -1 if spec.slot is None else spec.slot))
        self.steps.append((kind, register, slot, len(spec.shape), self._object(spec.dtype), dims, weak, leaf))
        if spec.slot is not None:
            self.leaf_of[spec.slot] = leaf

    def _static(self, register: int, value: Any, top: bool) -> list[tuple[int, Spec, bool]]:
        kind = type(value)
        if kind is tuple:  # item by item, so that (1,) is not taken for (1.0,)
            first = self.registers
            self.registers += len(value)
            self.steps.append((t.TUPLE, register, first, len(value), self._object(tuple)))
            return [(first + i, Static(item), False) for i, item in enumerate(value)]
        if kind is float:
            self.steps.append((t.BITS, register, 0, struct.unpack("<q", struct.pack("<d", value))[0]))
        elif kind in (str, bytes, int, bool, type(None)):
            self.steps.append((t.EQUAL, register, 0, 0, self._object(value)))
        elif top:  # may run Python code: before any container is opened
            self.statics.append((t.EQUAL, register, 0, 0, self._object(value)))
        else:
            self.steps.append((t.SAME, register, 0, 0, self._object(value)))
        return []

    # --- outputs ----------------------------------------------------------------------------------

    def _output_rows(self) -> list[tuple[int, ...]]:
        rows: list[tuple[int, ...]] = []
        for output in self.entry.outputs:
            alias = -1 if output.alias is None else 0
            dims = self.table(list(output.shape))
            dtype, weak = self._object(output.dtype), self._object(output.weak)
            rows.append((len(output.shape), dims, dtype, weak, output.nbytes, alias, output.alias or 0))
        return rows

    def _donation_rows(self) -> list[tuple[int, ...]]:
        """A row for each donated array, and for each input that is updated in place without being donated: that is copied."""
        updated = {output.alias: k for k, output in enumerate(self.entry.outputs) if output.alias is not None}
        rows: list[tuple[int, ...]] = [
            (leaf, register, self._object(message), updated.pop(slot, -1), 1) for leaf, register, message, slot in self.donated
        ]
        return rows + [(0, 0, 0, output, 0) for output in updated.values()]

    def _build_rows(self, result: Any) -> list[tuple[int, ...]]:
        """Rows in postfix order: a container's children, then the container."""
        if isinstance(result, Out):
            return [(t.BUILD_OUT, result.index)]
        if isinstance(result, Static) or result is None:
            value = result.value if isinstance(result, Static) else None
            return [(t.BUILD_CONST, 0, self._object(value))]
        children = result.values() if type(result) is dict else result
        rows = [row for child in children for row in self._build_rows(child)]
        if type(result) is dict:
            return [*rows, (t.BUILD_DICT, len(result), 0, self._keys(result))]
        if type(result) is list:
            return [*rows, (t.BUILD_LIST, len(result))]
        kind = t.BUILD_NAMED if is_namedtuple(result) else t.BUILD_TUPLE
        return [*rows, (kind, len(result), self._object(type(result)))]

    @staticmethod
    def _height(result: Any) -> int:
        """An upper bound of the result stack's height."""
        if isinstance(result, (Out, Static)) or result is None:
            return 1
        children = result.values() if type(result) is dict else result
        return 1 + sum(_Builder._height(child) for child in children)

    # --- the whole --------------------------------------------------------------------------------

    def fields(self, poll: int) -> list[int]:
        """The words of the entry's native struct; the owner is yet to be filled in."""
        entry = self.entry
        steps, donations = [*self.statics, *self.steps], self._donation_rows()
        outputs, builds = self._output_rows(), self._build_rows(entry.result)
        # Before 3.12 an allocation may run the garbage collector, and with it any Python code.
        hold = entry.release or entry.callback or entry.poll or donations or sys.version_info < (3, 12)
        offset, at = _FRAME_BYTES, {}
        at["at_arena"] = -1
        if 0 < entry.arena_bytes <= SMALL_ARENA:
            at["at_arena"] = offset
            offset += -(-entry.arena_bytes // 64) * 64
        sizes = {
            "at_registers": self.registers, "at_buffers": self.buffers + 1, "at_leaves": self.leaves + 1,
            "at_scalars": 2 * self.scalars, "at_outputs": len(outputs), "at_stack": self._height(entry.result),
        }  # fmt: skip
        for name, words in sizes.items():
            at[name] = offset
            offset += 8 * words
        fields = {
            "owner": 0, "program": entry.address, "guard": 0 if entry.guard is None else self._object(entry.guard),
            "positional": len(entry.args), "keywords": len(entry.kwargs), "names": self._keys(entry.kwargs),
            "steps": len(steps) * t.ROW, "step_rows": self._rows(steps),
            "donations": len(donations) * t.ROW, "donation_rows": self._rows(donations),
            "outputs": len(outputs) * t.ROW, "output_rows": self._rows(outputs),
            "builds": len(builds) * t.ROW, "build_rows": self._rows(builds),
            "consts": len(entry.consts), "const_table": self.table([c.ctypes.data for c in entry.consts]),
            "inputs": entry.inputs, "leaves": self.leaves, "arena_bytes": entry.arena_bytes,
            "flags": (t.RELEASE if entry.release else 0) | (t.HOLD if hold else 0),
            "poll": entry.poll or (poll if entry.release else 0), "callback": entry.callback,
            "max_threads": entry.max_threads, "words": -(-offset // 8), **at,
        }  # fmt: skip
        assert fields.keys() == t.ENTRY.keys(), fields.keys() ^ t.ENTRY.keys()
        return [fields[name] for name in t.ENTRY]
