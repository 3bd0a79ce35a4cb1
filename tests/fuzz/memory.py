"""Native calls in guarded memory (`fdl.backends.llvm.guards`), on some number of threads and with some pattern where nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fdl.backends.llvm import guards, runtime
from fdl.backends.llvm.fences import Place
from fdl.backends.llvm.run import Native, Outcome
from fdl.tracer.ir import Type

from .values import Array


def call_guarded(
    native: Native,
    inputs: Sequence[Array],
    types: Sequence[Type],
    threads: int,
    poison: int,
    callback: Callable[[int, int], None] | None,
) -> tuple[list[Array], Outcome]:
    """The outputs of a call on `threads` threads, and how it ended; what is not written yet holds `poison`.

    A program that was compiled for guarded memory tells where its buffers lie; the arena of another one is guarded as a whole.

    Raises: MemoryFaultError when it wrote to an input, or outside of what it was given. Reading beyond an input ends the process.
    """
    outs = [np.zeros(t.shape, t.dtype) for t in types]
    thunk = None if callback is None else runtime.Callback(callback)
    frame = runtime.new_frame(callback=0 if thunk is None else thunk.address, max_threads=threads)
    layout = native.layout or _layout(native, inputs, outs)
    pointers = [a.ctypes.data for a in (*inputs, *outs)]
    status = guards.call(native.address, frame, pointers, layout, poison)
    if status == runtime.RAISED and thunk is not None:
        error = thunk.take_exception()
        if error is not None:
            raise error
    if status != runtime.FAILED:
        return outs, Outcome(status)
    return outs, Outcome(status, *runtime.error_record(frame))


def _layout(native: Native, inputs: Sequence[Array], outs: Sequence[Array]) -> guards.Layout:
    ins, results = (
        tuple(Place(f"{stem}{k}", f"{a.dtype.name}{list(a.shape)}", a.nbytes) for k, a in enumerate(arrays))
        for stem, arrays in (("in", inputs), ("out", outs))
    )
    whole = Place("the arena", f"{native.arena_bytes} bytes", native.arena_bytes)
    return guards.Layout("main", ins, results, (whole,), native.arena_bytes)
