"""Calls in guarded memory: for the mode that debugs memory, and for tests.

    [no access] canary in0 [no access] canary in1 [no access] canary out0 canary | canary b canary b1 canary | canary [no access]

A guarded call runs a program on memory of its own, made for this call.  Arguments are copies that end where a page begins that nobody may
touch, so that reading beyond one ends the process, at the fault and not later.  Outputs and the buffers of the arena stand between
canaries, and hold poison to begin with (see `fences`).  Afterwards the canaries are looked at, arguments must be as they were, and outputs
must not hold poison; then outputs are copied to where the caller wants them.  The memory is given back to the system: an address
that is kept beyond the call is one of nothing.

A `Guard` is the address that stands in for a program: whoever calls programs by address calls it, and knows nothing of it.

May be imported by: `run`, and the tests.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import mmap
import struct
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from fdl.tracer.errors import FdlError, at, user_source
from fdl.tracer.records import dataclass

from . import runtime
from .fences import CANARY, POISON, RED, Place, aligned

Bytes: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"

PAGE: Final = mmap.PAGESIZE
_CANARIES: Final = np.frombuffer(struct.pack("<Q", CANARY) * (2 * PAGE // 8), np.uint8)
_PIECE: Final = 1 << 24
"""Bytes that are moved at once."""
_MOST = 5
"""Damaged fences that an error tells of."""


class MemoryFaultError(FdlError, RuntimeError):
    """Compiled code touched memory that is not its own, or returned memory that it had not written."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The buffers of a program.

    `inputs` (constants included) and `outputs` are its arguments; `arena` has the buffers in its arena of `arena_bytes`, by offset; `local`
    those that the code fences itself, whose sites begin at `first_site`.
    """

    program: str
    inputs: tuple[Place, ...]
    outputs: tuple[Place, ...]
    arena: tuple[Place, ...]
    arena_bytes: int
    local: tuple[Place, ...] = ()
    first_site: int = 0


# --- memory ---------------------------------------------------------------------------------------


def _protection() -> Any:
    """`mprotect`, or None on a system that has none."""
    protect = None if not hasattr(mmap, "MAP_ANONYMOUS") else getattr(ctypes.CDLL(None, use_errno=True), "mprotect", None)
    if protect is not None:
        protect.argtypes, protect.restype = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int), ctypes.c_int
    return protect


_mprotect = _protection()
HAS_PAGES: Final = _mprotect is not None
"""Whether pages can be closed here. Where they cannot, they hold canaries like everything else between buffers."""


def _pages(nbytes: int) -> Bytes:
    """Fresh memory of whole pages."""
    if HAS_PAGES:
        block: Any = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        raw = np.frombuffer(block, np.uint8)
    else:
        spare = np.empty(nbytes + PAGE, np.uint8)
        start = -spare.ctypes.data % PAGE
        raw = spare[start : start + nbytes]
    return raw


def _copy(target: Bytes, source: Bytes) -> None:
    """Copies bytes, a piece at a time: Ctrl-C is heard between two pieces."""
    for k in range(0, target.size, _PIECE):
        target[k : k + _PIECE] = source[k : k + _PIECE]


def _fill(target: Bytes, word: int) -> None:
    """Fills memory with a word, likewise."""
    whole = target.size // 8 * 8
    words = target[:whole].view(np.uint64)
    for k in range(0, words.size, _PIECE // 8):
        words[k : k + _PIECE // 8] = word
    target[whole:] = np.frombuffer(struct.pack("<Q", word), np.uint8)[: target.size - whole]


def _close(address: int) -> None:
    if HAS_PAGES and _mprotect(address, PAGE, 0):
        raise OSError(ctypes.get_errno(), "mprotect")


class Memory:
    """The memory of one call. `inputs` and `outputs` are the buffers of the arguments, as bytes; `arena` is an address.

    Args:
        over: output → the input whose memory it takes over. The two are one buffer, which counts as an output.
        poison: the eight bytes that unwritten memory repeats.
    """

    def __init__(self, layout: Layout, over: dict[int, int], poison: int = POISON) -> None:
        starts, closed, top = [], [0], PAGE
        for k, p in enumerate(layout.inputs):
            if k not in over.values():
                top += -(-max(p.nbytes, 1) // PAGE) * PAGE
                closed.append(top)
                starts.append(top - p.nbytes)
                top += PAGE
        places = [p for k, p in enumerate(layout.inputs) if k not in over.values()]
        for p in layout.outputs:
            starts.append(aligned(top + RED))
            places.append(p)
            top = starts[-1] + p.nbytes + RED
        base = aligned(top + RED)
        for p in layout.arena:
            starts.append(base + p.offset)
            places.append(p)
        end = -(-(base + layout.arena_bytes + RED) // PAGE) * PAGE
        closed.append(end)
        self._raw = raw = _pages(end + PAGE)
        self._closed = frozenset(closed)
        self._placed = [*zip(starts, places, strict=True)]
        free = len(layout.inputs) - len(over)
        found = [raw[start : start + p.nbytes] for start, p in self._placed]
        for buffer in found[free:]:
            _fill(buffer, poison)
        for begin, end, _, _ in self._gaps():
            for first, last in self._pieces(begin, end):
                raw[first:last] = _CANARIES[first % 8 : first % 8 + last - first]
        self.outputs: list[Bytes] = found[free : free + len(layout.outputs)]
        own = iter(found[:free])
        shared = {i: self.outputs[k] for k, i in over.items()}
        self.inputs: list[Bytes] = [shared[k] if k in shared else next(own) for k in range(len(layout.inputs))]
        self.arena = _address(raw) + base
        for offset in closed if HAS_PAGES else ():
            _close(_address(raw) + offset)

    def damage(self) -> list[str]:
        """What was written around the buffers, a sentence for each fence."""
        found: list[str] = []
        for end, start, previous, p in self._gaps():
            changed: list[int] = []
            for first, last in self._pieces(end, start):
                wrong = self._raw[first:last] != _CANARIES[first % 8 : first % 8 + last - first]
                changed += (np.flatnonzero(wrong) + first).tolist()
            if changed:
                near = [x for x in changed if previous is not None and (p is None or x - end <= start - x)]
                far = changed[len(near) :]
                if near:
                    found.append(
                        f"{_count(len(near))} after {previous} {_were(near)} written, {_from(near[0] - end)} after its end"
                    )
                if far and p is not None:
                    found.append(
                        f"{_count(len(far))} before {p} {_were(far)} written, {_from(start - 1 - far[-1])} before its beginning"
                    )
        return found

    def _gaps(self) -> Iterator[tuple[int, int, Place | None, Place | None]]:
        """Where the fences are: from, to, and the buffers before and after."""
        end, previous = 0, None
        for start, p in self._placed:
            yield end, start, previous, p
            end, previous = start + p.nbytes, p
        yield end, self._raw.size, previous, None

    def _pieces(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of a gap in one page each, closed pages left out."""
        while begin < end:
            stop = min(end, (begin // PAGE + 1) * PAGE)
            if not HAS_PAGES or begin not in self._closed:
                yield begin, stop
            begin = stop


def _address(raw: Bytes) -> int:
    address: int = raw.__array_interface__["data"][0]
    return address


def _count(n: int) -> str:
    return "1 byte" if n == 1 else f"{n} bytes"


def _were(changed: Sequence[int]) -> str:
    return "was" if len(changed) == 1 else "were"


def _from(distance: int) -> str:
    return "right" if distance == 0 else f"from {_count(distance)}"


# --- calls ----------------------------------------------------------------------------------------


def call(program: int, frame: Any, pointers: Sequence[int], layout: Layout, poison: int = POISON) -> int:
    """The status of a program, run in guarded memory on copies of what is at `pointers` (inputs, constants, outputs).

    Args:
        program: its address.
        frame: as for `runtime.call`. Its arena is not used.
        poison: what unwritten memory holds. With `fences.POISON`, outputs are searched for it.

    Raises: MemoryFaultError; and what `runtime.call` raises.
    """
    n = len(layout.inputs)
    given = [_view(a, p.nbytes) for a, p in zip(pointers[:n], layout.inputs, strict=True)]
    wanted = [_view(a, p.nbytes) for a, p in zip(pointers[n:], layout.outputs, strict=True)]
    by_address = {a: k for k, (a, p) in enumerate(zip(pointers[:n], layout.inputs, strict=True)) if p.nbytes}
    over = {
        k: by_address[a] for k, a in enumerate(pointers[n:]) if a in by_address and wanted[k].size == given[by_address[a]].size
    }
    memory = Memory(layout, over, poison)
    for buffer, x in zip(memory.inputs, given, strict=True):
        _copy(buffer, x)
    arena = frame[runtime.ARENA_WORD]
    frame[runtime.ARENA_WORD] = memory.arena
    try:
        status = runtime.call(program, frame, [_address(b) for b in (*memory.inputs, *memory.outputs)])
    finally:
        frame[runtime.ARENA_WORD] = arena
    told = [*_local_damage(status, frame, layout), *memory.damage()]
    for k, (buffer, x, p) in enumerate(zip(memory.inputs, given, layout.inputs, strict=True)):
        if k not in over.values() and not np.array_equal(buffer, x):
            told.append(f"{p} was written, which is an argument")
    if status == runtime.OK and poison == POISON:
        for k, (buffer, p) in enumerate(zip(memory.outputs, layout.outputs, strict=True)):
            if k not in over and (unwritten := _unwritten(buffer, p, given)):
                told.append(unwritten)
    if told:
        raise _fault(layout, told)
    for target, buffer in zip(wanted, memory.outputs, strict=True):
        _copy(target, buffer)
    return status


def _view(address: int, nbytes: int) -> Bytes:
    if not nbytes:
        return np.empty(0, np.uint8)
    return np.frombuffer(memoryview((ctypes.c_uint8 * nbytes).from_address(address)), np.uint8)


def _fault(layout: Layout, told: list[str]) -> MemoryFaultError:
    rest = [f"and {len(told) - _MOST} more"] if len(told) > _MOST else []
    listed = "; ".join([*told[:_MOST], *rest])
    return MemoryFaultError(
        f"the compiled program {layout.program}: {listed}. The fault is in fdl's code for it, and its results are lost: please report it, "
        f"with the program that print(jit(f).lower(...).program) shows.{at(user_source())}"
    )


def _local_damage(status: int, frame: Any, layout: Layout) -> list[str]:
    """What the code itself found around a local buffer."""
    if status != runtime.FAILED or frame[runtime.SITE_WORD] < layout.first_site or not layout.local:
        return []
    what = layout.local[frame[runtime.SITE_WORD] - layout.first_site]
    before, after = frame[runtime.VALUE_WORDS][:2]
    return [
        f"{_count(n)} {side} {what} {'was' if n == 1 else 'were'} written"
        for n, side in ((before, "before"), (after, "after"))
        if n
    ]


# --- what was never written -----------------------------------------------------------------------

_WORDS: Final = {"float16": np.uint16, "bfloat16": np.uint16, "float32": np.uint32, "float64": np.uint64}


def _unwritten(buffer: Bytes, p: Place, given: Sequence[Bytes]) -> str:
    """A sentence on the elements of an output that hold poison, or were computed from it; "" where there are none, or an input has it."""
    name = p.kind.partition("[")[0]
    if name == "bool":
        found, width, unit = np.isin(buffer, (POISON & 0xFF, POISON >> 8 & 0xFF)), 0, "element"
    elif name in _WORDS:  # a NaN that arithmetic hands on, and never makes
        words = buffer.view(_WORDS[name])
        found, width, unit = words == words.dtype.type(POISON & (1 << 8 * words.itemsize) - 1), words.itemsize, "element"
        if name == "float64":  # a signalling one until something is computed from it
            found |= words == np.uint64(POISON | 1 << 51)
    else:  # one integer may well have this value
        found, width, unit = buffer[: buffer.size // 8 * 8].view(np.uint64) == np.uint64(POISON), 8, "run of eight bytes"
    first = np.flatnonzero(found)
    if not first.size or (width and any(struct.pack("<Q", POISON)[:width] in x.tobytes() for x in given)):
        return ""  # an input may hold these very bytes
    return f"{p} holds what was never written, or comes of it, at {unit} {first[0]} and {first.size - 1} more"


# --- in place of a program ------------------------------------------------------------------------

_ENTRY = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)


class Guard:
    """The address of `i32 entry(ptr frame, ptr buffers)` that calls a program in guarded memory. Keep it alive while it may be called.

    An exception ends the call with `runtime.RAISED`; `take_exception` hands it over once, on the thread that made the call.
    """

    __slots__ = ("_local", "_thunk", "address")

    def __init__(self, program: int, layout: Layout) -> None:
        count = len(layout.inputs) + len(layout.outputs)
        local = threading.local()

        def run(frame: int, buffers: int | None) -> int:
            try:
                table = (ctypes.c_void_p * count).from_address(buffers or 0) if count else ()
                return call(program, runtime.Frame.from_address(frame), [a or 0 for a in table], layout)
            except BaseException as error:  # it goes on at `take_exception`
                local.error = error
                return runtime.RAISED

        self._local = local
        self._thunk = _ENTRY(run)
        self.address: int = ctypes.cast(self._thunk, ctypes.c_void_p).value or 0
        _tell_crashes()

    def take_exception(self) -> BaseException | None:
        """The exception of this thread's last call, or None; forgets it."""
        error: BaseException | None = getattr(self._local, "error", None)
        self._local.error = None
        return error


def _tell_crashes() -> None:
    """Has Python print the stack where a closed page is touched: it ends in the user's call."""
    if not faulthandler.is_enabled():
        with contextlib.suppress(OSError, ValueError, RuntimeError, AttributeError):  # no standard error to write to
            faulthandler.enable()
