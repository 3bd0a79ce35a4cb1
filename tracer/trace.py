"""Tracing: the current interpreter decides what an operation does.

`bind(primitive, *inputs, **params)` hands an operation to the current `Trace`.  `EvalTrace` computes at once;
`ProgramTrace` records an equation; the transforms' traces (`transforms.jvp`, `transforms.vmap`) apply a rule and hand
what it does to their parent.  A trace treats every value that is not its own tracer as a constant, which is what
keeps nested derivatives apart: in ``grad(lambda x: x * grad(lambda y: x + y)(1.0))`` the inner trace sees `x` as a constant.

May be imported by: everything after `primitive` and `array`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from . import dtypes, tree
from .array import Array, ArrayBase, as_numpy, is_placed, own, private
from .effects import may_remove
from .errors import (
    ConcretizationError,
    DTypeError,
    IndexOutOfBoundsError,
    LeakedTracerError,
    Place,
    ShapeError,
    at,
    place_text,
    user_source,
)
from .ir import Atom, Equation, Literal, Program, Type, Variable, freeze, type_of
from .primitive import Axis, Primitive, Undefined
from .records import dataclass

Params = dict[str, Any]


class Trace:
    """An interpreter of operations. `parent` is the trace that its own operations go to."""

    parent: Trace | None = None
    axis: Axis | None = None
    """The axis that a `vmap` maps over."""
    alive = True
    label = ""
    describe: Callable[[int], str] | None = None
    """What messages call an input of the traced function: "argument x of path:line (f)"."""

    def process(self, primitive: Primitive, inputs: Sequence[Any], params: Params) -> list[Any]:
        """The outputs of one operation."""
        raise AssertionError(f"{type(self).__name__} is abstract")


class Tracer(ArrayBase):
    """A stand-in for an array while a function is traced.

    `source` is the user's line that made it; for an input of the traced function, its number.
    """

    __slots__ = ("owner", "source")
    owner: Trace
    source: Place | str | int

    @property
    def type(self) -> Type:  # type: ignore[override]
        raise AssertionError("abstract")

    def concrete(self) -> Any:
        """The value behind this tracer where the trace knows it, else None: Python control flow on it works then."""
        return None

    def unknown(self) -> Tracer:
        """The tracer whose trace does not know the value: this one, or one behind it."""
        return self

    def _value(self, what: str) -> Any:
        if not self.owner.alive:
            raise leaked(self)
        value = self.concrete()
        if value is None:
            x, here = self.unknown(), user_source()
            way = _WAY_OUT.get(what, _WAY_OUT[""]).format(_static(x.owner.label))
            raise ConcretizationError(
                f"{what} needs the value of a traced array of type {self.type.strong()}, which is not known while "
                f"{x.owner.label or 'a function'} is traced. {way}{_made(self, here)}{at(here)}"
            )
        return value

    def __bool__(self) -> bool:
        return bool(self._value("bool()"))

    def __int__(self) -> int:
        return int(self._value("int()"))

    def __float__(self) -> float:
        return float(self._value("float()"))

    def __complex__(self) -> complex:
        return complex(self._value("complex()"))

    def __index__(self) -> int:
        return self._value("an index").__index__()

    def item(self, *index: int) -> Any:
        """The element at `index` as a Python scalar, where the trace knows it."""
        return as_numpy(self._value(".item()")).item(*index)

    def tolist(self) -> Any:
        """The elements as nested lists, where the trace knows them."""
        return as_numpy(self._value(".tolist()")).tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        value = as_numpy(self._value("conversion to a NumPy array"))
        return np.array(value, dtype) if copy else np.asarray(value, dtype)

    def __repr__(self) -> str:
        return f"Tracer<{self.type}>"

    def __format__(self, spec: str) -> str:
        value = self.concrete()
        return format(repr(self), "") if value is None else format(value, spec)


_WAY_OUT = {
    "bool()": "For a branch use fdl.cond or fdl.numpy.where, for a loop fdl.while_loop, for `and`, `or`, `not` the operators &, |, ~{}.",
    "an index": "To pick an element use an array, fdl.numpy.asarray(sequence)[i]; for a loop use fdl.fori_loop{}.",
    "conversion to a NumPy array": "Use fdl.numpy instead of numpy, or fdl.pure_callback for what only numpy has. "
    "A NumPy array that a traced index picks from is converted first: fdl.numpy.asarray(x)[i].",
    "": "Keep it an array: x.astype(int) instead of int(x), fdl.numpy.sin instead of math.sin{}.",
}


def _static(label: str) -> str:
    """How a value is made known to what is being traced, where there is a way."""
    return {
        "jit": "; or make the argument static with static_argnums",
        "checkpoint": "; or make the argument static with static_argnums",
        "vmap": "; or let all lanes share the argument with in_axes=None",
    }.get(label.partition("(")[0], "")


def _made(x: Tracer, here: str = "") -> str:
    """The line of a message that says where a tracer comes from, unless it was made `here`."""
    if isinstance(x.source, int):
        found = x.owner.describe(x.source) if x.owner.describe else ""
        return f"\n  it is {found}" if found else ""
    text = place_text(x.source)
    return f"\n  made at {text}" if text and text != here else ""


# --- the current trace ----------------------------------------------------------------------------


class EvalTrace(Trace):
    """Computes at once, on concrete arrays."""

    label = "evaluation"

    def process(self, primitive: Primitive, inputs: Sequence[Any], params: Params) -> list[Any]:
        for x in inputs:
            if isinstance(x, Tracer):
                raise leaked(x)
        return EAGER(primitive, inputs, params)


_EVAL = EvalTrace()


class _State(threading.local):
    trace: Trace = _EVAL
    source: str = ""


_state = _State()


def current() -> Trace:
    """The current trace of this thread."""
    return _state.trace


def is_evaluating() -> bool:
    """Whether operations run at once: no transformation is under way in this thread."""
    return _state.trace is _EVAL


@contextlib.contextmanager
def using(trace: Trace) -> Iterator[None]:
    """Makes `trace` current inside the block."""
    before, _state.trace = _state.trace, trace
    try:
        yield
    finally:
        _state.trace = before


@contextlib.contextmanager
def living(trace: Trace) -> Iterator[None]:
    """Makes `trace` current inside the block, and ends it there: its tracers are leaked if used afterwards."""
    try:
        with using(trace):
            yield
    finally:
        trace.alive = False


@contextlib.contextmanager
def sourced(source: str) -> Iterator[None]:
    """Gives the equations recorded inside the block this source line: a derivative's are those of what it differentiates."""
    before, _state.source = _state.source, source
    try:
        yield
    finally:
        _state.source = before


def current_source() -> str:
    """The user's line that what happens now comes from: that of the equation whose rule runs, else the user's current one."""
    return _state.source or user_source()


def axis_sizes() -> dict[str, int]:
    """The names of the axes that the current trace maps over, with their sizes; the innermost first."""
    found: dict[str, int] = {}
    t: Trace | None = _state.trace
    while t is not None:
        if t.axis is not None and t.axis.name is not None:
            found.setdefault(t.axis.name, int(t.axis))
        t = t.parent
    return found


def evaluating() -> Any:
    """A block in which operations run at once, whatever is being traced outside."""
    return using(_EVAL)


def bind(primitive: Primitive, *inputs: Any, **params: Any) -> Any:
    """Applies a primitive: its output, or the list of its outputs when it has several."""
    outs = _state.trace.process(primitive, inputs, params)
    return outs if primitive.multiple else outs[0]


def leaked(x: Tracer) -> LeakedTracerError:
    """The error for a tracer met where its trace is not at work."""
    error = LeakedTracerError(
        f"a traced array of type {x.type.strong()} escaped from {x.owner.label or 'the function that was traced'}: it was stored "
        "outside and is used after (or outside) the transformation that made it. Return it from the function instead."
        f"{_made(x)}{at(user_source())}"
    )
    error.owner = x.owner
    return error


# --- abstract evaluation --------------------------------------------------------------------------

_inferred: dict[Any, list[Type]] = {}


def infer(primitive: Primitive, types: Sequence[Type], params: Params) -> list[Type]:
    """The output types of an operation; errors name the user's line."""
    try:
        key = (primitive.name, *types, freeze(params))
        found = _inferred.get(key)
    except TypeError:  # an unhashable parameter
        key, found = None, None
    if found is not None:
        return found
    try:
        out = primitive.abstract(*types, **params)
    except (ShapeError, DTypeError) as e:
        raise type(e)(f"{e}{at(user_source())}") from None
    result = list(out) if primitive.multiple else [out]
    if key is not None:
        if len(_inferred) > 20_000:
            _inferred.clear()
        _inferred[key] = result
    return result


# --- recording ------------------------------------------------------------------------------------


class ProgramTracer(Tracer):
    """A variable of a program that is being recorded."""

    __slots__ = ("variable",)

    def __init__(self, trace: Trace, variable: Variable, source: str | int = "") -> None:
        self.owner, self.variable, self.source = trace, variable, source

    @property
    def type(self) -> Type:  # type: ignore[override]
        return self.variable.type


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What becomes of a weak integer input: the operation `name`, on the user's line `source`, takes it as a `dtype`."""

    dtype: dtypes.DType
    low: int
    high: int
    name: str
    source: str


class ProgramTrace(Trace):
    """Records every operation as an equation."""

    def __init__(self, parent: Trace, label: str = "") -> None:
        self.parent, self.label = parent, label
        self.inputs: list[Variable] = []
        self.equations: list[Equation] = []
        self.captured: dict[int, tuple[Variable, Any]] = {}
        self.narrowed: dict[int, list[Narrowed]] = {}
        """By the number of the input: the ranges that a Python integer given for it has to be in."""

    def new_input(self, type: Type) -> ProgramTracer:
        """A tracer for a new input of the program."""
        v = Variable(type)
        self.inputs.append(v)
        return ProgramTracer(self, v, len(self.inputs) - 1)

    def process(self, primitive: Primitive, inputs: Sequence[Any], params: Params) -> list[Any]:
        return self.record(primitive, inputs, params)

    def record(self, primitive: Primitive, inputs: Sequence[Any], params: Params) -> list[Any]:
        """Appends an equation, and returns tracers of its outputs."""
        atoms = tuple([self.atom(x) for x in inputs])
        types = infer(primitive, [a.type for a in atoms], params)
        source = _state.source or user_source()
        outs = tuple([Variable(t) for t in types])
        self.equations.append(Equation(outs, primitive, atoms, params, source, len(self.equations)))
        return [ProgramTracer(self, v, source) for v in outs]

    def atom(self, x: Any) -> Atom:
        """The atom for a value: a variable of this trace, a literal for a scalar, a captured constant for anything else."""
        if isinstance(x, ProgramTracer) and x.owner is self:
            return x.variable
        if isinstance(x, (Literal, Variable)):
            return x
        if isinstance(x, Tracer):
            if not x.owner.alive:
                raise leaked(x)
        elif isinstance(x, Undefined):
            raise DTypeError(f"not an array: {x!r}")
        else:
            t = check_array(x)
            if t.shape == () and not isinstance(x, Array):
                return Literal(x, t)
            if t.shape == () and isinstance(x, Array):
                return Literal(x.data, t)
        known = self.captured.get(id(x))
        if known is None:
            if isinstance(x, Tracer) and not self.is_inside(x.owner):
                raise leaked(x)
            value = x if isinstance(x, (Tracer, Array)) else own(x)
            known = self.captured[id(x)] = (Variable(type_of(value)), value)
            if value is not x:  # keep `x` alive, or its id could be reused
                self._keep = [*getattr(self, "_keep", ()), x]
        return known[0]

    def is_inside(self, trace: Trace) -> bool:
        """Whether `trace` is around this one: a tracer of it is a constant here, which will mean something where the program is used."""
        t: Trace | None = self.parent
        while t is not None and t is not trace:
            t = t.parent
        return t is not None

    def finish(self, outputs: Sequence[Any], name: str = "main") -> tuple[Program, list[Any]]:
        """The recorded program with what it captured as its first inputs, and the captured values."""
        atoms = tuple(self.atom(x) for x in outputs)
        captured = list(self.captured.values())
        inputs = (*(v for v, _ in captured), *self.inputs)
        return prune(Program(inputs, tuple(self.equations), atoms, name=name), [x for _, x in captured])


def narrow(x: Any, how: Narrowed) -> None:
    """Notes what a weak integer becomes, where it is an input of a program that is being recorded: see `Narrowed`.

    Outside of programs a Python integer that does not fit is an error at once.  Here its value is not known yet: whoever calls the
    program with one looks it up.
    """
    if isinstance(x, ProgramTracer) and isinstance(x.source, int) and x.type.weak and isinstance(x.owner, ProgramTrace):
        x.owner.narrowed.setdefault(x.source, []).append(how)


def prune(p: Program, captured: list[Any]) -> tuple[Program, list[Any]]:
    """`p` without the equations that nothing needs, and without the leading captured inputs that nothing reads."""
    needed = {a for a in p.outputs if isinstance(a, Variable)}
    kept: list[Equation] = []
    for e in reversed(p.equations):
        if any(v in needed for v in e.outputs) or not may_remove(e.effects):
            kept.append(e)
            needed.update(a for a in e.inputs if isinstance(a, Variable))
    n = len(captured)
    keep = [v in needed for v in p.inputs[:n]]
    inputs = (*(v for v, k in zip(p.inputs, keep, strict=False) if k), *p.inputs[n:])
    program = Program(inputs, tuple(reversed(kept)), p.outputs, name=p.name)
    return program, [x for x, k in zip(captured, keep, strict=True) if k]


def record(
    f: Callable[..., Sequence[Any]], types: Sequence[Type], label: str = "", name: str = "main"
) -> tuple[Program, list[Any]]:
    """The program of `f` on inputs of the given types, and the values it closes over, which are its first inputs.

    `f` takes and returns flat sequences of arrays.
    """
    trace = ProgramTrace(current(), label or getattr(f, "__name__", ""))
    trace.describe = getattr(f, "describe", None)
    with living(trace):
        outs = f(*[trace.new_input(t) for t in types])
        if trace.narrowed and hasattr(f, "narrowed"):
            f.narrowed = trace.narrowed
        return trace.finish(outs, name)


def check_array(x: Any, what: str = "") -> Type:
    """The type of `x`; raises a DTypeError naming `what` when it is no array or scalar."""
    try:
        return type_of(x)
    except TypeError:
        what = what or "an operand"
        raise DTypeError(
            f"{what} is {described(x)}: expected an array or a number. {_way_to_an_array(x, what)}{at(user_source())}"
        ) from None


def described(x: Any) -> str:
    """What messages call a value that a user gave: an array by its type, what has a name by that, anything else as it is written."""
    if isinstance(x, ArrayBase):
        return f"an array of type {x.type.strong()}"
    if isinstance(x, np.ndarray):
        return f"a NumPy array of dtype {x.dtype}"
    if isinstance(x, Type):
        return f"{x}, a type without a value"
    if x is None:
        return "None"
    if isinstance(x, (FunctionType, ModuleType, type(len), np.ufunc)):
        return f"the {'module' if isinstance(x, ModuleType) else 'function'} {x.__name__}"
    if isinstance(x, type):
        return f"the class {x.__name__}"
    if isinstance(x, (list, tuple, dict)) and any(isinstance(v, (ArrayBase, np.ndarray)) for v in tree.leaves(x)):
        return tree.described(tree.structure(x))
    text = " ".join(repr(x).split())
    return f"{text if len(text) <= 60 else text[:57] + '...'} of type {type(x).__name__}"


def _way_to_an_array(x: Any, what: str) -> str:
    if isinstance(x, np.ndarray):
        if x.dtype == object:
            return "Its elements are Python objects: make numbers of them with .astype('float32'), and pad rows of different lengths."
        return f"Convert it with .astype to one of {', '.join(d.name for d in dtypes.ALL)}."
    if hasattr(x, "__array__") or isinstance(x, (list, tuple, memoryview)):
        return "Convert it with fdl.numpy.asarray."
    if "output" in what:
        return "Return arrays, numbers, None, and containers of them."
    transform = what.partition("(")[0]
    if transform in ("jit", "checkpoint"):
        return "What is no array goes into a static argument of its own (static_argnums), or is closed over."
    if ": argument" in what:
        return "What is no array is closed over (functools.partial), or left out."
    return "A function that forgets to return gives None." if x is None else "Convert it to numbers first."


# --- slots that `fdl/__init__.py` fills -----------------------------------------------------------


def run_reference(primitive: Primitive, inputs: Sequence[Any], params: Params) -> list[Any]:
    """The outputs of an operation by its NumPy definition, as Arrays."""
    types = infer(primitive, [type_of(x) for x in inputs], params)
    with np.errstate(all="ignore"):
        try:
            out = primitive.reference(*[as_numpy(x) for x in inputs], **params)
        except IndexOutOfBoundsError as e:
            raise e if "\n  at " in str(e) else IndexOutOfBoundsError(f"{e}{at(user_source())}") from None
    outs = out if primitive.multiple else (out,)
    return [_result(o, t) for o, t in zip(outs, types, strict=True)]


def _result(data: Any, t: Type) -> Array:
    data = np.asarray(data)
    assert data.shape == t.shape and data.dtype == t.dtype, f"reference gave {data.dtype}{data.shape}, abstract evaluation {t}"
    return Array(data if is_placed(data) else private(data), t.weak)


EAGER: Callable[[Primitive, Sequence[Any], Params], list[Any]] = run_reference
"""Runs one operation outside `jit`."""


def install(eager: Callable[[Primitive, Sequence[Any], Params], list[Any]]) -> None:
    """Fills the slot: how single operations run."""
    global EAGER
    EAGER = eager


__all__ = [
    "EAGER", "EvalTrace", "Narrowed", "ProgramTrace", "ProgramTracer", "Trace", "Tracer", "axis_sizes", "bind", "check_array",
    "current", "current_source", "dtypes", "evaluating", "infer", "install", "is_evaluating", "leaked", "living", "narrow", "prune",
    "record", "run_reference", "sourced", "using",
]  # fmt: skip
