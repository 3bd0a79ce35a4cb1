"""Programs → native code, and single operations outside `jit`.

A `NativeExecutable` owns its code; calling it checks nothing that tracing has already checked, converts arguments to dense aligned
arrays, and raises what the code recorded.  `flat_caller` and `entry_for` give the compiled call path its entries: for flat arrays, and
for a call with its containers.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fdl.tracer import trace, tree
from fdl.tracer.array import Array, as_numpy
from fdl.tracer.errors import FdlError, IndexOutOfBoundsError, at
from fdl.tracer.ir import Equation, Program, Type, Variable, freeze, type_of
from fdl.tracer.ops.callback import call_function
from fdl.tracer.passes.complex import real_program
from fdl.tracer.passes.simplify import simplify
from fdl.tracer.primitive import Primitive

from . import collector
from .llvm import callpath, locks, pool, runtime
from .llvm.fences import RED
from .llvm.guards import Guard
from .llvm.run import Native, module_of, work_for
from .llvm.target import Target, host
from .loops import cost
from .loops.ir import Const, For, Routine, Site, While, walk
from .loops.lower import callback_equations, host_function
from .loops.pipeline import reusing
from .loops.plan import Plan, apart
from .loops.reuse import Reuse
from .modes import GUARDED, MODES, variant
from .reference import ReferenceExecutable
from .stored import Compiled, compiled

LONG_US = 20.0


class StoppedError(FdlError, RuntimeError):
    """A compiled call was asked to stop before it had ended."""


class NativeExecutable:
    """A program compiled for a CPU.

    Args:
        donated: numbers of the inputs whose memory an output may take over; such an input is written to. The call path passes memory that
            nobody else sees: the donated array's own, or a copy.
        guarded: whether its calls run in guarded memory (see `llvm.guards`); None for what `modes` says.
    """

    backend = "llvm"

    def __init__(
        self, program: Program, target: Target | None = None, donated: Sequence[int] = (), *, guarded: bool | None = None
    ) -> None:  # fmt: skip
        self.program = program
        self.target = target or host()
        self.donated = tuple(donated)
        self.guarded = MODES.debug_memory if guarded is None else guarded
        self.variant = GUARDED if self.guarded else "llvm"
        self.compiled: Compiled = compiled(program, self.target, self.donated, self.guarded, self._compile)
        self.native = Native(self.compiled.module)
        self.callbacks: list[Equation] = callback_equations(self._simplified) if self.compiled.callbacks else []
        self.callback: runtime.Callback | None = None
        if self.callbacks:
            self.callback = runtime.Callback(functools.partial(_call_back, self.callbacks))
        self._flat: Any = None

    def _compile(self) -> Compiled:
        with work_for(self.target) as work:
            routine, plan, reuse = self._make()  # and not kept: few programs are ever shown
            placed = apart(plan, RED) if self.guarded else plan
            module = module_of(routine, placed.offsets, work, guarded=self.guarded)
        return Compiled(module, routine.sites, reuse.over, _is_long(routine), len(callback_equations(self._simplified)))

    @functools.cached_property
    def _simplified(self) -> Program:
        return real_program(simplify(self.program))

    def _make(self) -> tuple[Routine, Plan, Reuse]:
        return reusing(self._simplified, self.donated, types=(self.program.in_types, self.program.out_types))

    @functools.cached_property
    def _planned(self) -> tuple[Routine, Plan, Reuse]:
        return self._make()

    @property
    def routine(self) -> Routine:
        """The loop IR that the code was made from."""
        return self._planned[0]

    @property
    def plan(self) -> Plan:
        """The memory plan."""
        return self._planned[1]

    def __call__(self, arrays: Sequence[Any], max_threads: int = 0) -> list[Array]:
        """The outputs of the program for its inputs, then its constants; an Array for each."""
        if max_threads:
            return self._directly(arrays, max_threads)
        if self._flat is None:
            self._flat = flat_caller(self, self.program.out_types)
        result: list[Array] = self._flat(*self.leaves(arrays))
        return result

    def leaves(self, arrays: Sequence[Any]) -> list[Any]:
        """What a `flat_caller` takes: Arrays as they are, everything else as a dense ndarray of its input's dtype."""
        variables = (*self.program.inputs, *self.program.constants)
        return [x if type(x) is Array else dense(x, v.type.dtype) for x, v in zip(arrays, variables, strict=True)]

    def _directly(self, arrays: Sequence[Any], max_threads: int) -> list[Array]:
        """A call through ctypes, which can bound the number of threads."""
        variables = (*self.program.inputs, *self.program.constants)
        inputs = [dense(x, v.type.dtype) for x, v in zip(arrays, variables, strict=True)]
        outputs = [pool.empty(t.shape, t.dtype) for t in self.program.out_types]
        for k, source in self.compiled.over.items():
            np.copyto(outputs[k], inputs[source])
            inputs[source] = outputs[k]
        callback = functools.partial(_call_back, self.callbacks) if self.callbacks else None
        outcome = self.native.call(inputs, outputs, callback=callback, max_threads=max_threads)
        if outcome.status != runtime.OK:
            raise failure(self.compiled.sites, outcome.status, outcome.site, outcome.values)
        return [Array(o, t.weak) for o, t in zip(outputs, self.program.out_types, strict=True)]


def _call_back(callbacks: Sequence[Equation], slot: int, pointers: int) -> None:
    run_callback(callbacks[slot], pointers)


def _is_long(routine: Routine) -> bool:
    """Whether a call may take more than a few microseconds: it then runs without the interpreter lock, and Ctrl-C stops it."""
    if any(isinstance(s, While) or (isinstance(s, For) and not isinstance(s.extent, Const)) for s in walk(routine.body)):
        return True
    return sum(cost.statement(s) for s in routine.body) > LONG_US * cost.CYCLES_PER_US


def failure(sites: Sequence[Site], status: int, site: int | None, values: tuple[int, ...]) -> BaseException:
    """The exception for a call that did not end well."""
    if status == runtime.FAILED and site is not None:
        s = sites[site]
        return IndexOutOfBoundsError(s.text(values) + at(s.source))
    return StoppedError("the compiled call was stopped before it ended: its results are lost")


def run_callback(e: Equation, pointers: int) -> None:
    """Runs an equation on the host, on the arrays behind `pointers` (inputs, then outputs), and stores what that returns."""
    types: Sequence[Type] = (*(a.type for a in e.inputs), *(v.type for v in e.outputs))
    addresses = (ctypes.c_void_p * len(types)).from_address(pointers)
    views = []
    for address, t in zip(addresses, types, strict=True):
        raw = (ctypes.c_char * max(t.size * t.dtype.itemsize, 1)).from_address(address or 0)
        views.append(np.frombuffer(memoryview(raw), t.dtype, t.size).reshape(t.shape))
    n = len(e.inputs)
    if e.primitive.name == "callback":
        # The arrays outlive the call, the memory does not: the function gets copies.
        results: Sequence[Any] = call_function(e.params, [v.copy() for v in views[:n]], e.source)
    else:
        results = host_function(e, runtime.get_num_threads())(*views[:n])
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


def compile_program(program: Program, backend: str = "llvm", donated: Sequence[int] = ()) -> Any:
    """The executable of a program on a backend, "llvm", "reference" or what `modes.variant` names; `donated` inputs may be overwritten."""
    if backend == "reference":
        return ReferenceExecutable(program)
    with locks.COMPILING, collector.paused():
        return NativeExecutable(program, donated=donated, guarded=backend == GUARDED)


# --- the compiled call path -----------------------------------------------------------------------


def _entry(executable: NativeExecutable, types: Sequence[Type], **fields: Any) -> callpath.Entry:
    """An entry that runs an executable for outputs of the given types; `fields` are what depends on how it is called."""
    over = executable.compiled.over
    outputs = tuple(callpath.Output(t.dtype, t.shape, t.weak, over.get(k)) for k, t in enumerate(types))
    return callpath.Entry(
        address=executable.native.entry,
        outputs=outputs,
        arena_bytes=executable.native.arena_bytes,
        release=executable.compiled.is_long or executable.guarded,  # a guard runs Python, and other threads with it
        callback=0 if executable.callback is None else executable.callback.address,
        # The executable itself may own the caller: not it, but what the entry's addresses point into is kept alive.
        on_failure=functools.partial(_raise_failure, executable.compiled.sites, (executable.callback, executable.native.guard)),
        owner=(executable.native, executable.callback),
        **fields,
    )


def _raise_failure(
    sites: Sequence[Site],
    raisers: Sequence[runtime.Callback | Guard | None],
    entry: callpath.Entry,
    status: int,
    site: int,
    values: tuple[int, int, int],
) -> Any:
    for source in raisers if status == runtime.RAISED else ():
        error = None if source is None else source.take_exception()
        if error is not None:
            raise error
    raise failure(sites, status, site, values)


def flat_caller(executable: NativeExecutable, types: Sequence[Type], consumed: Mapping[int, str] | None = None) -> Any:
    """A function of an executable's inputs and constants, as `NativeExecutable.leaves` gives them, to the list of its outputs.

    Args:
        types: those of the outputs: the executable's own, or as weak as the caller wants them.
        consumed: the inputs that a call consumes, with what says so in the arrays.
    """
    n = len(executable.program.inputs) + len(executable.program.constants)
    marks = consumed or {}

    def leaf(k: int, x: Any) -> Any:
        if type(x) is Array:
            return callpath.ArrayArg(k, x.dtype, x.shape, x._weak, marks.get(k))
        return callpath.NumpyArg(k, x.dtype, x.shape)

    def learn(*leaves: Any) -> Any:
        found = caller()
        assert found is not None
        result = [callpath.Out(i) for i in range(len(types))]
        found.add(_entry(executable, types, args=tuple(leaf(k, x) for k, x in enumerate(leaves)), result=result, inputs=n))
        return found(*leaves)

    made = callpath.dispatcher_type()(learn, array_type=Array)
    caller = weakref.ref(made)
    return made


def entry_for(
    executable: NativeExecutable,
    captured: Sequence[Any],
    types: Sequence[Type],
    result: tree.Structure,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    is_static: Callable[[int | str], bool],
    slots: Sequence[int | None],
    ranges: Mapping[int, tuple[int, int]],
    consumed: Mapping[int, str],
    guard: Callable[[], bool] | None = None,
) -> callpath.Entry:
    """The call path's entry for calls like this one.

    Args:
        captured: the arrays for the program's constants.
        types: those of the outputs.
        result: the structure of what the call returns.
        is_static: tells of an argument, by position or name, whether it is static.
        slots: which input of the program each leaf is; None for one that it does not read. Leaves are numbered in the order of flattening
            the dynamic positional arguments, then the keyword arguments by name.
        ranges: of leaves that are Python integers: the least and the greatest that the entry takes.
        consumed: the leaves that the call consumes, with what says so in the arrays.
        guard: see `callpath.Entry`.

    Raises: TypeError for a container or an array that the call path does not know.
    """
    program = executable.program
    number = itertools.count()

    def leaf(x: Any) -> Any:
        k = next(number)
        if type(x) is Array:
            return callpath.ArrayArg(slots[k], x.dtype, x.shape, x._weak, consumed.get(k))
        if type(x) is np.ndarray and x.dtype.isnative and x.flags.c_contiguous and x.flags.aligned:
            return callpath.NumpyArg(slots[k], x.dtype, x.shape)
        if type(x) in (bool, int, float, complex):
            return callpath.ScalarArg(slots[k], type(x), type_of(x).dtype, ranges.get(k) if type(x) is int else None)
        raise TypeError(f"the call path takes no {type(x).__name__}")

    def spec(x: Any) -> Any:
        flat, structure = tree.flatten(x)
        return _nested(structure, map(leaf, flat))

    arg_specs = tuple(callpath.Static(a) if is_static(i) else spec(a) for i, a in enumerate(args))
    kwarg_specs = {k: callpath.Static(kwargs[k]) if is_static(k) else spec(kwargs[k]) for k in sorted(kwargs)}
    return _entry(
        executable,
        types,
        args=arg_specs,
        kwargs=kwarg_specs,
        result=_nested(result, map(callpath.Out, itertools.count())),
        inputs=len(program.inputs),
        consts=tuple(dense(x, v.type.dtype) for x, v in zip(captured, program.constants, strict=True)),
        guard=guard,
    )


def _nested(structure: tree.Structure, leaves: Any) -> Any:
    """`leaves` in the containers of a structure. Raises: TypeError for one that the call path does not know."""
    kind = structure.type
    if structure == tree.LEAF:
        return next(leaves)
    if kind is type(None):
        return None
    items = [_nested(s, leaves) for s in structure.children]
    if kind is dict and isinstance(structure.data, tuple) and all(type(k) is str for k in structure.data):
        return dict(zip(structure.data, items, strict=True))
    if kind is list or kind is tuple:
        return kind(items)
    if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return tuple.__new__(kind, items)
    raise TypeError(f"the call path takes no {getattr(kind, '__name__', kind)}")


# --- single operations ----------------------------------------------------------------------------

_eager: OrderedDict[Any, Any] = OrderedDict()
_eager_lock = locks.guarded()
_KEPT = 1024


def _forget() -> None:
    with _eager_lock:
        _eager.clear()


MODES.listeners.append(_forget)


def run_single(primitive: Primitive, inputs: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    """The outputs of one operation, by a compiled kernel; the last thousand kernels are kept."""
    types = tuple(type_of(x) for x in inputs)
    try:
        key: Any = (primitive.name, types, freeze(params))
        found = _eager.get(key)
    except TypeError:
        key, found = None, None
    if found is None:
        found = compile_program(single(primitive, types, params), variant("llvm"))
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
