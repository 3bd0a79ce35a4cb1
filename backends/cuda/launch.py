"""Running a routine's kernels: buffers, launches, Numba's CUDA simulator, and PTX without a GPU.

A *machine* is what a module's `drive(h)` needs: `alloc`, `launch`, `read` and `callback`.  `Simulator` is one that runs the
kernels in Python, for tests; it needs Numba alone (with NUMBA_ENABLE_CUDASIM=1 set before Numba is imported) and is slow.

May import: `emit`; Numba only inside functions, since it is optional.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np

from fdl.backends.loops.ir import Alloc, Buffer, Check, Routine, walk

from . import scalars
from .emit import Module, emit
from .parts import Kernel
from .simulated import LIBRARY

Array = np.ndarray[Any, np.dtype[Any]]
Window = tuple[str, int, tuple[int, ...], tuple[int, ...]]
"""Part of a buffer: its name, an offset, a shape and strides, in elements."""

NEVER = np.iinfo(np.int64).max


Failure = tuple[int, tuple[int, ...]]
"""(site, values) of a failed check."""


def run(
    routine: Routine,
    inputs: Sequence[Array],
    consts: Sequence[Array] = (),
    callbacks: Sequence[Callable[..., Any]] = (),
    *,
    block: int = 4,
    host: int = 64,
) -> tuple[list[Array], Failure | None]:
    """The outputs of `routine` and the failure it recorded, if any, from Numba's CUDA simulator.

    Args:
        inputs, consts: an array for each of the routine's.
        callbacks: the functions that the routine calls, by slot: each takes one array for each input of the call, and returns
            one for each output.
        block, host: see `emit`. Small, so that a tiny routine has several blocks, and loops in the driver.

    Raises: RuntimeError where Numba is missing or was imported without its simulator.
    """
    machine = Simulator(routine, emit(routine, block=block, host=host), callbacks)
    for buffer, array in zip((*routine.inputs, *routine.consts), (*inputs, *consts), strict=True):
        machine.write(buffer, array)
    machine.drive()
    return [machine.result(buffer) for buffer in routine.outputs], machine.failure()


def simulator() -> Any:
    """The module `numba.cuda`, simulated. Raises RuntimeError where Numba is missing, or was imported to use a real GPU."""
    if os.environ.get("NUMBA_ENABLE_CUDASIM") != "1":
        raise RuntimeError("Numba's CUDA simulator is off. Set NUMBA_ENABLE_CUDASIM=1 before the program starts.")
    try:
        cuda = import_module("numba.cuda")
    except ModuleNotFoundError:
        raise RuntimeError("Numba's CUDA simulator needs the package numba. Install it: pip install numba") from None
    if not import_module("numba").config.ENABLE_CUDASIM:
        raise RuntimeError("Numba was imported before NUMBA_ENABLE_CUDASIM=1 was set. Set it before the program starts.")
    return cuda


class Simulator:
    """A machine that runs a module's kernels in Python, thread by thread."""

    def __init__(self, routine: Routine, module: Module, callbacks: Sequence[Callable[..., Any]] = ()) -> None:
        self.cuda = simulator()
        self.routine = routine
        self.module = module
        self.callbacks = callbacks
        self.device: dict[str, Any] = {}
        self.epoch = 0
        names = load(module, self.cuda, LIBRARY, lambda function: function)
        self.functions = {name: self.cuda.jit(names[name]) for name in module.kernels}
        self.driver = names["drive"]
        self.record = self._place("error record", np.array([0, NEVER, NEVER, NEVER, 0, 0, 0], np.int64))
        for buffer in routine.outputs:
            self.alloc(buffer.name, scalars.storage(buffer.dtype).type, buffer.size)

    def _place(self, name: str, array: Array) -> Any:
        self.device[name] = self.cuda.to_device(array)
        return self.device[name]

    def write(self, buffer: Buffer, array: Array) -> None:
        """Put `array` into `buffer`. Raises TypeError for a wrong shape or dtype."""
        array = np.asarray(array)
        if array.shape != buffer.shape or array.dtype != buffer.dtype:
            raise TypeError(f"{buffer.name}: given {array.dtype}{array.shape}, expected {buffer.dtype}{buffer.shape}.")
        flat = np.ascontiguousarray(array).reshape(-1)
        flat = flat if flat.size else np.zeros(1, flat.dtype)
        self._place(buffer.name, flat.view(scalars.storage(buffer.dtype)).copy())

    def result(self, buffer: Buffer) -> Array:
        """The contents of `buffer`."""
        stored: Array = self.device[buffer.name].copy_to_host()[: buffer.size]
        return stored.view(buffer.dtype).reshape(buffer.shape)

    def failure(self) -> Failure | None:
        """The failure on record."""
        record = self.record.copy_to_host()
        if record[1] == NEVER:
            return None
        counts = {s.site: len(s.values) for s in walk(self.routine.body) if isinstance(s, Check)}
        return int(record[1]), tuple(int(v) for v in record[4 : 4 + counts[int(record[1])]])

    def drive(self) -> None:
        """Run the routine."""
        # The threads of the simulator do not inherit `np.errstate`; arithmetic that wraps or overflows is meant to.
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)
            self.driver(self)

    # --- what a driver calls ---

    def alloc(self, name: str, dtype: type[np.generic], size: int) -> None:
        """Make room for `size` elements. Its contents are undefined: here, whatever shows best that they were read."""
        if name not in self.device:
            array = np.empty(max(size, 1), dtype)
            array.view(np.uint8)[:] = 0xA5
            self._place(name, array)

    def read(self, name: str, position: int) -> Any:
        """One element of a buffer, as it is stored."""
        return self.device[name].copy_to_host()[position]

    def launch(self, name: str, count: int, *arguments: Any) -> None:
        """Launch the kernel `name` for `count` items or rows."""
        self.epoch += 1
        if count <= 0:
            return
        kernel = self.module.kernels[name]
        grid, block = self.geometry(kernel, count)
        rest = iter(arguments)
        full: list[Any] = [self.record, np.int64(self.epoch)] if kernel.checks else []
        for parameter in kernel.parameters:
            if parameter.kind in ("scratch", "block scratch"):
                copies = grid * block if parameter.kind == "scratch" else grid
                full.append(self.cuda.to_device(np.zeros(max(parameter.size * copies, 1), parameter.dtype)))
            else:
                argument = next(rest)
                full.append(self.device[argument] if parameter.kind == "buffer" else parameter.dtype.type(argument))
        self.functions[name][grid, block](*full)

    def geometry(self, kernel: Kernel, count: int) -> tuple[int, int]:
        """Blocks and threads in each: few, since a simulated thread costs far more to start than to go on."""
        match kernel.shape:
            case "items":
                return 2, 2
            case "rows":
                return min(count, 2), self.module.block
            case "thread":
                return 1, 1
            case "block":
                return 1, self.module.block

    def callback(self, slot: int, inputs: Sequence[Window], outputs: Sequence[Window]) -> None:
        """Call the Python function number `slot`."""
        buffers = {b.name: b for b in all_buffers(self.routine)}

        def view(host: Array, window: Window) -> Array:
            name, offset, shape, strides = window
            typed = host.view(buffers[name].dtype)
            return np.lib.stride_tricks.as_strided(typed[offset:], shape, [s * typed.itemsize for s in strides])

        given = [view(self.device[w[0]].copy_to_host(), w).copy() for w in inputs]
        results = self.callbacks[slot](*given)
        for window, value in zip(outputs, results, strict=True):
            host = self.device[window[0]].copy_to_host()
            view(host, window)[...] = value
            self.device[window[0]].copy_to_device(host)


def all_buffers(routine: Routine) -> list[Buffer]:
    """The arguments of `routine` and every buffer that it allocates."""
    return [*routine.inputs, *routine.consts, *routine.outputs, *(s.buffer for s in walk(routine.body) if isinstance(s, Alloc))]


def load(module: Module, cuda: Any, library: Any, device: Callable[[Any], Any]) -> dict[str, Any]:
    """The names that `module` defines, with `library` for libdevice and `device` around the functions that kernels call."""
    names: dict[str, Any] = {"np": np, "math": math, "nv": library, "cuda": cuda, "device": device}
    exec(compile(module.source, f"<{module.source.splitlines()[0]}>", "exec"), names)
    return names


# --- PTX ------------------------------------------------------------------------------------------


def signature(kernel: Kernel, types: Any) -> tuple[Any, ...]:
    """The Numba types of a kernel's parameters: pointers and numbers; the error record is an array, for its atomics."""
    record = (types.Array(types.int64, 1, "C"), types.int64) if kernel.checks else ()
    named = ((p, getattr(types, p.dtype.name)) for p in kernel.parameters)
    return (*record, *(t if p.kind == "scalar" else types.CPointer(t) for p, t in named))


def compile_ptx(routine: Routine, *, architecture: tuple[int, int] = (9, 0), block: int = 128) -> dict[str, str]:
    """The PTX of each kernel of `routine`, by name, for a GPU of the given compute capability. Needs no GPU.

    Raises: ModuleNotFoundError where the packages of `fdl[cuda13]` are missing.
    """
    # numba-cuda 0.30.4 imports a name that NumPy 2.5 no longer has.
    if not hasattr(np, "row_stack"):
        setattr(np, "row_stack", np.vstack)  # noqa: B010
    cuda = import_module("numba.cuda")
    types, compiler = import_module("numba.types"), import_module("numba.cuda.compiler")
    module = emit(routine, block=block)
    names = load(module, cuda, import_module("numba.cuda.libdevice"), cuda.jit(device=True))
    result = {}
    with _capability(architecture):
        for name, kernel in module.kernels.items():
            typed = types.void(*signature(kernel, types))
            result[name], _ = compiler.compile(names[name], typed, device=False, abi="numba", cc=architecture, output="ptx")
    return result


@contextmanager
def _capability(architecture: tuple[int, int]) -> Iterator[None]:
    """Numba asks the current GPU for its capability when it compiles a function that a kernel calls; here there may be none."""
    dispatcher: Any = import_module("numba.cuda.dispatcher")
    asked = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=architecture)
    try:
        yield
    finally:
        dispatcher.get_current_device = asked
