"""A routine ready to run: compiled, with its arenas, and safe to call from several threads at once.

`Native.call` is the plain way in, through ctypes; the compiled call path calls `Native.entry` itself.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from fdl.backends.loops import ir
from fdl.tracer.records import dataclass

from . import engine, lapack, runtime, shared
from .emit import emit_routine
from .fences import place
from .guards import Guard, Layout
from .shared import Linked
from .target import Target

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

ALIGNMENT = 64
KEPT_ARENAS = 4
"""Arenas that stay allocated between calls; more are made when more calls overlap."""

_LIBC = ("memcpy", "memmove", "memset")
"""What LLVM may turn a copy or a fill into."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended: a status of `runtime`, and the failed check's site and values where there is one."""

    status: int
    site: int | None = None
    values: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Module:
    """A routine as machine code that is not loaded yet: no address is in it.

    `symbol`, `externals` and `arena_bytes` are those of `emit.EmittedRoutine`; `shared` are the functions that it is linked to, loaded.
    `layout` tells of a module that is to be called in guarded memory where its buffers lie.
    """

    objects: tuple[bytes, ...]
    symbol: str
    externals: tuple[str, ...]
    arena_bytes: int
    shared: tuple[Linked, ...] = ()
    layout: Layout | None = None


def work_for(target: Target) -> shared.Work:
    """What a routine is compiled by for `target`: a block, in which LLVM gets ready while the routine is made."""
    return shared.Work(target, runtime.get_num_threads())


def module_of(routine: ir.Routine, offsets: Mapping[str, int], work: shared.Work, *, guarded: bool = False) -> Module:
    """`routine` compiled by `work`; `offsets` places its arena buffers, apart from each other (`plan.apart`) where it is `guarded`."""
    emitted = emit_routine(routine, offsets, work.target, fenced=guarded, need=work.need)
    layout = None
    if guarded:
        inputs, outputs = (
            [place(b, routine.notes) for b in bs] for bs in ((*routine.inputs, *routine.consts), routine.outputs)
        )
        fixed = tuple(inputs), tuple(outputs), emitted.arena, emitted.arena_bytes, emitted.local
        layout = Layout(routine.name, *fixed, first_site=len(routine.sites))
    objects, linked = work.finish(emitted.texts)
    return Module(objects, emitted.symbol, emitted.externals, emitted.arena_bytes, linked, layout)


class Native:
    """A loaded routine. It owns its code, its constants and its arenas.

    `entry` is the address of `i32 entry(ptr frame, ptr buffers)`, good while this object lives; its frames need an arena of
    `arena_bytes`.  For a module with a layout it is the address of its guard, which brings an arena of its own; `address` is the program's.
    """

    def __init__(self, module: Module, consts: Sequence[Array] = ()) -> None:
        externals = {name: address for name, address in _externals().items() if name in (*module.externals, *_LIBC)}
        externals |= lapack.symbols(module.externals)
        externals |= {f.symbol: shared.address(f) for f in module.shared}
        self.code = engine.Loaded(module.objects, externals, [module.symbol], ())
        self.address = self.entry = self.code.address(module.symbol)
        self._consts = tuple(np.ascontiguousarray(c) for c in consts)
        self.arena_bytes = module.arena_bytes
        self.layout = module.layout
        self.guard = None if module.layout is None else Guard(self.address, module.layout)
        if self.guard is not None:
            self.entry, self.arena_bytes = self.guard.address, 0
        self._arenas: list[Array] = []

    def call(
        self,
        inputs: Sequence[Array],
        outputs: Sequence[Array],
        *,
        callback: Callable[[int, int], None] | None = None,
        max_threads: int = 0,
    ) -> Outcome:
        """Runs the routine on C-contiguous arrays, writing `outputs`. Re-entrant.

        Args:
            callback: see `runtime.Callback`; its exception is raised here.
            max_threads: 0 for the pool's default, 1 for a serial run.
        """
        thunk = None if callback is None else runtime.Callback(callback)
        arena = self._borrow()
        frame = runtime.new_frame(
            arena=0 if arena is None else arena.ctypes.data,
            callback=0 if thunk is None else thunk.address,
            max_threads=max_threads,
        )
        arrays = (*inputs, *self._consts, *outputs)
        assert all(a.flags.c_contiguous for a in arrays)
        try:
            status = runtime.call(self.entry, frame, [a.ctypes.data for a in arrays])
        finally:
            self._give_back(arena)
        for source in (thunk, self.guard) if status == runtime.RAISED else ():
            error = None if source is None else source.take_exception()
            if error is not None:
                raise error
        if status != runtime.FAILED:
            return Outcome(status)
        return Outcome(status, *runtime.error_record(frame))

    def _borrow(self) -> Array | None:
        if not self.arena_bytes:
            return None
        try:
            return self._arenas.pop()  # atomic, as `append` is: no lock that a fork could leave held
        except IndexError:
            return aligned(self.arena_bytes)

    def _give_back(self, arena: Array | None) -> None:
        if arena is not None and len(self._arenas) < KEPT_ARENAS:
            self._arenas.append(arena)


def aligned(nbytes: int) -> Array:
    """Uninitialised bytes, aligned to 64."""
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + nbytes]


def _externals() -> dict[str, int]:
    library = ctypes.CDLL("msvcrt") if sys.platform == "win32" else ctypes.CDLL(None)
    return runtime.symbols() | runtime.addresses(library, _LIBC)


def native(
    routine: ir.Routine, offsets: Mapping[str, int], target: Target, consts: Sequence[Array] = (), *, guarded: bool = False
) -> Native:  # fmt: skip
    """`routine` compiled for `target` and loaded; `offsets` and `guarded` as for `module_of`."""
    with work_for(target) as work:
        return Native(module_of(routine, offsets, work, guarded=guarded), consts)


def run_routine(
    routine: ir.Routine,
    offsets: Mapping[str, int],
    target: Target,
    inputs: Sequence[Array],
    consts: Sequence[Array] = (),
    callback: Callable[[int, int], None] | None = None,
) -> tuple[list[Array], Outcome]:
    """The outputs of one run of `routine`, and how it ended."""
    outputs = [np.zeros(b.shape, b.dtype) for b in routine.outputs]
    outcome = native(routine, offsets, target, consts).call(
        [np.ascontiguousarray(x) for x in inputs], outputs, callback=callback
    )
    return outputs, outcome
