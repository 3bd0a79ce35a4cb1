"""The compile and eager slots of the tracer: programs → native code, and single operations outside `jit`.

A `NativeExecutable` owns its code and constants; calling it checks nothing that tracing has already checked, converts arguments to dense
aligned arrays, and raises what the code recorded.
"""

from __future__ import annotations

import ctypes
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdl.tracer import trace
from fdl.tracer.array import Array, as_numpy
from fdl.tracer.errors import FdlError, IndexOutOfBoundsError, at
from fdl.tracer.ir import Equation, Program, Type, Variable, freeze, type_of
from fdl.tracer.passes.simplify import simplify
from fdl.tracer.primitive import Primitive

from .llvm import pool, runtime
from .llvm.run import Native, native
from .llvm.target import Target, host
from .loops.ir import Routine
from .loops.lower import callback_equations
from .loops.pipeline import pipeline
from .loops.plan import Plan
from .reference import ReferenceExecutable


class StoppedError(FdlError, RuntimeError):
    """A compiled call was asked to stop before it had ended."""


class NativeExecutable:
    """A program compiled for a CPU."""

    backend = "llvm"

    def __init__(self, program: Program, target: Target | None = None) -> None:
        self.program = program
        self.target = target or host()
        self.routine: Routine
        self.plan: Plan
        simplified = simplify(program)
        self._callbacks = callback_equations(simplified)
        self.routine, self.plan = pipeline(simplified)
        self.native: Native = native(self.routine, self.plan.offsets, self.target)

    def __call__(self, arrays: Sequence[Any], max_threads: int = 0) -> list[Array]:
        """The outputs of the program; an Array for each."""
        inputs = [dense(x, t.dtype) for x, t in zip(arrays, self.program.in_types, strict=True)]
        outputs = [pool.empty(t.shape, t.dtype) for t in self.program.out_types]
        callback = self._call_back if self._callbacks else None
        outcome = self.native.call(inputs, outputs, callback=callback, max_threads=max_threads)
        if outcome.status != runtime.OK:
            raise self.failure(outcome.status, outcome.site, outcome.values)
        return [Array(o, t.weak) for o, t in zip(outputs, self.program.out_types, strict=True)]

    def failure(self, status: int, site: int | None, values: tuple[int, ...]) -> BaseException:
        """The exception for a call that did not end well."""
        if status == runtime.FAILED and site is not None:
            s = self.routine.sites[site]
            return IndexOutOfBoundsError(s.message.format(*values) + at(s.source))
        return StoppedError("the compiled call was stopped before it ended: its results are lost")

    def _call_back(self, slot: int, pointers: int) -> None:
        run_callback(self._callbacks[slot], pointers)


def run_callback(e: Equation, pointers: int) -> None:
    """Calls a program's Python function on the arrays behind `pointers` (inputs, then outputs), and stores what it returns."""
    types: Sequence[Type] = (*(a.type for a in e.inputs), *(v.type for v in e.outputs))
    addresses = (ctypes.c_void_p * len(types)).from_address(pointers)
    views = []
    for address, t in zip(addresses, types, strict=True):
        raw = (ctypes.c_char * max(t.size * t.dtype.itemsize, 1)).from_address(address or 0)
        views.append(np.frombuffer(raw, t.dtype, t.size).reshape(t.shape))
    n = len(e.inputs)
    # The arrays outlive the call, the memory does not: the function gets copies.
    results = e.params["function"](*[v.copy() for v in views[:n]])
    for view, result in zip(views[n:], results, strict=True):
        view[...] = result


def dense(x: Any, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """`x` as a C-contiguous, aligned ndarray in native byte order; itself where it is one already."""
    a = as_numpy(x)
    if a.dtype != dtype:
        a = a.astype(dtype)
    if not a.flags.c_contiguous or not a.flags.aligned or not a.dtype.isnative:
        a = np.array(a, dtype, order="C", copy=True)
    return a


def compile_program(program: Program, backend: str = "llvm") -> Any:
    """The executable of a program on a backend, "llvm" or "reference"."""
    return ReferenceExecutable(program) if backend == "reference" else NativeExecutable(program)


# --- single operations ----------------------------------------------------------------------------

_eager: OrderedDict[Any, Any] = OrderedDict()
_eager_lock = threading.Lock()
_KEPT = 1024


def run_eager(primitive: Primitive, inputs: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    """The outputs of one operation: light ones by NumPy, the others by a cached compiled kernel."""
    if primitive.eager == "numpy" or configured_backend() == "reference":
        return trace.run_reference(primitive, inputs, params)
    types = tuple(type_of(x) for x in inputs)
    try:
        key: Any = (primitive.name, types, freeze(params))
        found = _eager.get(key)
    except TypeError:
        key, found = None, None
    if found is None:
        found = compile_program(single(primitive, types, params))
        if key is not None:
            with _eager_lock:
                _eager[key] = found
                while len(_eager) > _KEPT:
                    _eager.popitem(last=False)
    result: list[Any] = found(inputs)
    return result


def single(primitive: Primitive, types: Sequence[Type], params: dict[str, Any]) -> Program:
    """The program of one equation."""
    inputs = tuple(Variable(t) for t in types)
    outs = tuple(Variable(t) for t in trace.infer(primitive, types, params))
    return Program(inputs, (Equation(outs, primitive, inputs, params),), outs, name=primitive.name)


configured_backend: Callable[[], str] = lambda: "llvm"  # noqa: E731
"""The backend of single operations; `fdl` replaces this by its configuration."""
