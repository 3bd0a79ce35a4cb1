"""The compile and eager slots of the tracer: programs → native code, and single operations outside `jit`.

A `NativeExecutable` owns its code and constants; calling it checks nothing that tracing has already checked, converts arguments to dense
aligned arrays, and raises what the code recorded.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdl.tracer import trace, tree
from fdl.tracer.array import Array, as_numpy
from fdl.tracer.errors import FdlError, IndexOutOfBoundsError, at
from fdl.tracer.ir import Equation, Program, Type, Variable, freeze, type_of
from fdl.tracer.passes.simplify import simplify
from fdl.tracer.primitive import Primitive

from .llvm import callpath, cost, pool, runtime
from .llvm.run import Native, native
from .llvm.target import Target, host
from .loops.ir import Routine
from .loops.lower import callback_equations
from .loops.pipeline import pipeline
from .loops.plan import Plan
from .reference import ReferenceExecutable

LONG_US = 20.0


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
        self.callbacks = callback_equations(simplified)
        self.routine, self.plan = pipeline(simplified)
        self.native: Native = native(self.routine, self.plan.offsets, self.target)

    def __call__(self, arrays: Sequence[Any], max_threads: int = 0) -> list[Array]:
        """The outputs of the program for its inputs, then its constants; an Array for each."""
        variables = (*self.program.inputs, *self.program.constants)
        inputs = [dense(x, v.type.dtype) for x, v in zip(arrays, variables, strict=True)]
        outputs = [pool.empty(t.shape, t.dtype) for t in self.program.out_types]
        callback = self._call_back if self.callbacks else None
        outcome = self.native.call(inputs, outputs, callback=callback, max_threads=max_threads)
        if outcome.status != runtime.OK:
            raise self.failure(outcome.status, outcome.site, outcome.values)
        return [Array(o, t.weak) for o, t in zip(outputs, self.program.out_types, strict=True)]

    @functools.cached_property
    def is_long(self) -> bool:
        """Whether a call takes more than a few microseconds, by the static estimate: it then runs without the interpreter lock."""
        return sum(cost.statement(s) for s in self.routine.body) > LONG_US * cost.CYCLES_PER_US

    def failure(self, status: int, site: int | None, values: tuple[int, ...]) -> BaseException:
        """The exception for a call that did not end well."""
        if status == runtime.FAILED and site is not None:
            s = self.routine.sites[site]
            return IndexOutOfBoundsError(s.message.format(*values) + at(s.source))
        return StoppedError("the compiled call was stopped before it ended: its results are lost")

    def _call_back(self, slot: int, pointers: int) -> None:
        run_callback(self.callbacks[slot], pointers)


def run_callback(e: Equation, pointers: int) -> None:
    """Calls a program's Python function on the arrays behind `pointers` (inputs, then outputs), and stores what it returns."""
    types: Sequence[Type] = (*(a.type for a in e.inputs), *(v.type for v in e.outputs))
    addresses = (ctypes.c_void_p * len(types)).from_address(pointers)
    views = []
    for address, t in zip(addresses, types, strict=True):
        raw = (ctypes.c_char * max(t.size * t.dtype.itemsize, 1)).from_address(address or 0)
        views.append(np.frombuffer(memoryview(raw), t.dtype, t.size).reshape(t.shape))
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


# --- the compiled call path -----------------------------------------------------------------------


def entry_for(
    executable: NativeExecutable,
    captured: Sequence[Any],
    structure: tree.Structure,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    is_static: Callable[[int | str, int], bool],
    donate: Sequence[int],
    where: str,
) -> callpath.Entry:
    """The call path's entry for calls like this one.

    Args:
        captured: the arrays for the program's constants.
        structure: of what the call returns.
        is_static: tells of an argument, by position or name, whether it is static, given the number of positional ones.
        donate: positions of the arguments that the call consumes.
        where: what a consumed array says consumed it.

    Raises: TypeError for a container that the call path does not know, or a program with input and output of its own.
    """
    program = executable.program
    if executable.callbacks:
        raise TypeError("a program that calls back goes the slow way")
    slots = itertools.count()

    def leaf(x: Any, consumed: str | None) -> Any:
        if type(x) is Array:
            return callpath.ArrayArg(next(slots), x.dtype, x.shape, x._weak, consumed)
        if type(x) is np.ndarray and x.dtype.isnative:
            return callpath.NumpyArg(next(slots), x.dtype, x.shape)
        if type(x) in (bool, int, float, complex):
            return callpath.ScalarArg(next(slots), type(x), type_of(x).dtype)
        raise TypeError(f"the call path takes no {type(x).__name__}")

    def spec(x: Any, consumed: str | None = None) -> Any:
        flat, s = tree.flatten(x)
        return tree.unflatten(s, [leaf(v, consumed) for v in flat])

    n = len(args)
    arg_specs = tuple(
        callpath.Static(a) if is_static(i, n) else spec(a, where if i in donate else None) for i, a in enumerate(args)
    )
    # Leaves are numbered in the order of flattening: keyword arguments by name.
    kwarg_specs = {k: callpath.Static(kwargs[k]) if is_static(k, n) else spec(kwargs[k]) for k in sorted(kwargs)}
    outputs = tuple(callpath.Output(t.dtype, t.shape, t.weak) for t in program.out_types)
    return callpath.Entry(
        args=arg_specs,
        kwargs=kwarg_specs,
        address=executable.native.entry,
        outputs=outputs,
        result=tree.unflatten(structure, [callpath.Out(i) for i in range(len(outputs))]),
        inputs=len(program.inputs),
        consts=tuple(dense(x, v.type.dtype) for x, v in zip(captured, program.constants, strict=True)),
        arena_bytes=executable.native.arena_bytes,
        release=executable.is_long,
        on_failure=_raise_failure,
        owner=(executable, captured),
    )


def _raise_failure(entry: callpath.Entry, status: int, site: int, values: tuple[int, int, int]) -> Any:
    raise entry.owner[0].failure(status, site, values)


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
