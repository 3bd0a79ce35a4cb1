"""What is behind a jitted function: its specialisations, how they are traced, compiled and run.

A specialisation is made for the structure and types of the dynamic arguments (weakness included) and the values of the static ones.  Two
caches: a trace is kept by its function; an executable is keyed by the program that the trace lowered to, so that equal programs never
compile twice.

A `Specialiser` does what the compiled call path cannot: it traces, compiles, stages a call into a program that is being traced, and takes
containers that the call path does not know.  The call path holds it, and it holds the call path weakly, so that a jitted function is freed
with its last reference.

May be imported by: `compiled`.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdl.backends import compiler
from fdl.backends.modes import variant
from fdl.config import config
from fdl.tracer import tree
from fdl.tracer.array import Array, ArrayBase
from fdl.tracer.errors import at, user_source
from fdl.tracer.ir import Equation, Literal, Program, Type, evaluate
from fdl.tracer.passes.expand import expand
from fdl.tracer.records import dataclass
from fdl.tracer.trace import Narrowed, Tracer, axis_sizes, bind, check_array, described, is_evaluating, record, sourced
from fdl.tracer.transforms.call import jit_p

from .announce import History, Kind, traced_first
from .signature import Chosen, FlatFunction, argument_name, check_integers, name_of

_EXECUTABLES: OrderedDict[Any, Any] = OrderedDict()
_MAX_EXECUTABLES = 4096
_MAX_TRACES = 1024


def executable_for(program: Program, backend: str, donated: tuple[int, ...] = ()) -> tuple[Any, bool]:
    """The executable of a program, and whether it had to be compiled because no equal one has been.

    Rules of derivatives and weakness are no part of what is equal: the types of the outputs are the caller's.
    """
    program = expand(program)
    # The lines that errors name are the program's own: equal programs from elsewhere are compiled again where they may fail.
    key = (backend, program.cached("strong", lambda: _strong(program.canonical)), donated, compiler.sources_of(program))
    found = _EXECUTABLES.get(key)
    if found is not None:
        return found, False
    with compiler.COMPILING:
        found = _EXECUTABLES.get(key)  # by another thread meanwhile
        if found is not None:
            return found, False
        found = _EXECUTABLES[key] = compiler.compile_program(program, backend, donated)
        while len(_EXECUTABLES) > _MAX_EXECUTABLES:
            _EXECUTABLES.popitem(last=False)
    return found, True


def _strong(x: Any) -> Any:
    """A part of a program's canonical form without weakness."""
    if isinstance(x, Type):
        return x.strong()
    if isinstance(x, Program):
        return x.cached("strong", lambda: _strong(x.canonical))
    return tuple([_strong(part) for part in x]) if type(x) is tuple else x


@dataclass(frozen=True, slots=True)
class Options:
    """How a function is jitted: see `jit`."""

    static: Chosen
    donated: Chosen
    backend: str | None = None
    inline: bool = False
    keep_unused: bool = False


@dataclass(slots=True)
class Traced:
    """One specialisation. What it closes over is the program's first inputs, and constants of `closed`."""

    kind: Kind
    program: Program
    captured: list[Any]
    out_structure: tree.Structure
    donated: tuple[int, ...]
    """The leaves that a call consumes."""
    slots: list[int | None]
    """Which input of `closed` each leaf is; None for one that it does not take."""
    narrowed: dict[int, list[Narrowed]]
    """What the function takes leaves as that are Python integers, where not every one fits."""
    closed: Program
    """What is compiled: without the inputs that nothing reads, and with what is closed over as constants."""
    executable: Any = None
    flat: Any = None
    """The call path for the leaves of calls whose containers it does not know."""
    marks: dict[int, str] | None = None

    def is_alive(self) -> bool:
        """Whether what it closes over may still be used."""
        return all(not isinstance(x, Tracer) or x.owner.alive for x in self.captured)

    def inputs(self, leaves: Sequence[Any]) -> list[Any]:
        """The inputs of `closed` for the leaves of a call."""
        return [x for x, slot in zip(leaves, self.slots, strict=True) if slot is not None]


def _closed(program: Program, captured: int, keep_unused: bool) -> tuple[Program, list[int | None]]:
    inputs = program.inputs[captured:]
    used = {a for e in program.equations for a in e.inputs} | set(program.outputs)
    kept = [v for v in inputs if keep_unused or v in used]
    place = {v: k for k, v in enumerate(kept)}
    closed = Program(tuple(kept), program.equations, program.outputs, program.inputs[:captured], name=program.name)
    return closed, [place.get(v) for v in inputs]


class _State(threading.local):
    again: bool = False


_state = _State()


def redispatched(dispatcher: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of a call whose entry has just been made: its first run goes the way of all others.

    Should the entry be gone or not fit, the slow side is called again, where `is_again` tells it not to make another.
    """
    _state.again = True
    try:
        return dispatcher(*args, **kwargs)
    finally:
        _state.again = False


def is_again() -> bool:
    """Whether this call of the slow side comes from `redispatched`; asked once."""
    again, _state.again = _state.again, False
    return again


class Specialiser:
    """The slow side of one jitted function."""

    __slots__ = ("__weakref__", "dispatcher", "f", "history", "name", "options", "trace_count", "traces")

    def __init__(self, f: Callable[..., Any], options: Options) -> None:
        self.f, self.options, self.name = f, options, name_of(f)
        self.traces: OrderedDict[Any, Traced] = OrderedDict()
        self.trace_count = 0
        self.history = History(f)
        self.dispatcher: Callable[[], Any] = lambda: None

    def __repr__(self) -> str:
        return f"jit({self.name})"

    # --- calls ------------------------------------------------------------------------------------

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """A call that no entry of the call path fits."""
        again = is_again()
        leaves, traced = self.prepare(args, kwargs)
        self.check_integers(traced, leaves)
        if self.is_staged(leaves, traced):
            outs = self.stage(traced, leaves)
        else:
            executable = self.executable(traced)
            dispatcher, static, n = self.dispatcher(), self.options.static, len(args)
            if not again and self.learn(dispatcher, traced, executable, args, kwargs, lambda k: static.has(k, n)):
                return redispatched(dispatcher, args, kwargs)
            outs = self.run(traced, executable, leaves)
        return tree.unflatten(traced.out_structure, outs)

    @staticmethod
    def is_staged(leaves: Sequence[Any], traced: Traced) -> bool:
        """Whether a call becomes an equation of what is being traced."""
        return not is_evaluating() or any(isinstance(x, Tracer) for x in (*leaves, *traced.captured))

    def stage(self, traced: Traced, leaves: Sequence[Any]) -> list[Any]:
        """The outputs of a call while something is traced: of an equation that holds the program, or of its equations one by one."""
        if self.options.inline:
            return _replayed(traced.program, [*traced.captured, *leaves])
        outs: list[Any] = bind(jit_p, *traced.captured, *leaves, program=traced.program, name=self.name)
        return outs

    def run(self, traced: Traced, executable: Any, leaves: Sequence[Any]) -> list[Any]:
        """The outputs for concrete leaves, without the containers; donated Arrays are consumed."""
        native = executable.backend == "llvm"
        given = list(leaves)
        for k in traced.donated:
            if not native or traced.slots[k] is None:  # else the flat call path does it
                given[k] = _taken(leaves, k, self.marks(traced)[k])
        arrays = [*traced.inputs(given), *traced.captured]
        if not native:
            found = zip(executable(arrays), traced.closed.out_types, strict=True)
            return [x if x._weak == t.weak else Array(x.data, t.weak) for x, t in found]
        if traced.flat is None:
            marks = self.marks(traced)
            consumed = {slot: marks[k] for k in traced.donated if (slot := traced.slots[k]) is not None}
            traced.flat = compiler.flat_caller(executable, traced.closed.out_types, consumed)
        outs: list[Any] = traced.flat(*executable.leaves(arrays))
        return outs

    def learn(
        self,
        dispatcher: Any,
        traced: Traced,
        executable: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        is_static: Callable[[int | str], bool],
    ) -> bool:
        """Lets the call path take calls like this one; False where it does not know their containers."""
        if dispatcher is None or executable.backend != "llvm":
            return False
        try:
            entry = compiler.entry_for(
                executable,
                traced.captured,
                traced.closed.out_types,
                traced.out_structure,
                args,
                kwargs,
                is_static=is_static,
                slots=traced.slots,
                ranges={k: _range(ways) for k, ways in traced.narrowed.items()},
                consumed=self.marks(traced),
                guard=is_evaluating if traced.donated else None,
            )
        except TypeError:
            return False
        dispatcher.add(entry)
        return True

    # --- donation ---------------------------------------------------------------------------------

    def marks(self, traced: Traced) -> dict[int, str]:
        """What a consumed array says about the call that consumed it, for each donated leaf.

        One text serves all calls of a specialisation, so that it can name the line of the first one only.
        """
        if traced.marks is None:
            names = traced.kind.leaf_names(self.f) if traced.donated else []
            where = at(user_source()).replace("\n  at", ", first made at")
            traced.marks = {k: f"a call of {self!r} as its argument {names[k]}{where}" for k in traced.donated}
        return traced.marks

    # --- specialisations --------------------------------------------------------------------------

    def prepare(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], type_of: Callable[[Any], Type] = check_array
    ) -> tuple[list[Any], Traced]:
        """The leaves of the dynamic arguments, and their specialisation; `type_of` tells the type of a leaf."""
        statics, dynamic, dynamic_kw = self.split(args, kwargs)
        leaves, structure = tree.flatten((dynamic, dynamic_kw))
        try:
            types = tuple([type_of(x) for x in leaves])
        except TypeError:
            self._blame(Kind(structure, (), statics), leaves)
            raise
        kind = Kind(structure, types, statics)
        key = (kind, tuple(axis_sizes().items()))  # a collective's result depends on the lanes there are
        found = self.traces.get(key)
        if found is None or not found.is_alive():
            found = self.traces[key] = self._trace(kind, leaves, len(args))
            while len(self.traces) > _MAX_TRACES:
                self.traces.popitem(last=False)
        return leaves, found

    def check_integers(self, traced: Traced, leaves: Sequence[Any]) -> None:
        """Raises an OverflowError for a Python integer among the leaves that does not fit where the function takes it."""
        if traced.narrowed:
            check_integers(repr(self), traced.narrowed, leaves, lambda: traced.kind.leaf_names(self.f))

    def _trace(self, kind: Kind, leaves: Sequence[Any], n_args: int) -> Traced:
        fixed = {k: v.value for k, v in kind.statics}

        def call(*dynamic: Any, **kwargs: Any) -> Any:
            rest = iter(dynamic)
            args = [fixed[i] if i in fixed else next(rest) for i in range(n_args)]
            named = {k: v for k, v in fixed.items() if isinstance(k, str)}
            return self.f(*args, **kwargs, **named)

        call.__name__ = self.name
        function = FlatFunction(call, kind.structure, user=self.f, names=lambda: kind.leaf_names(self.f))
        program, captured = record(function, kind.types, repr(self), self.name if self.name.isidentifier() else "f")
        closed, slots = _closed(program, len(captured), self.options.keep_unused)
        donated = self._donated(kind, n_args)
        traced = Traced(kind, program, captured, function.out_structure, donated, slots, function.narrowed, closed)
        if not self.trace_count:
            traced_first(self.f, kind)
        self.trace_count += 1
        self.history.mixed(kind, leaves, program)
        return traced

    def _donated(self, kind: Kind, n_args: int) -> tuple[int, ...]:
        """The numbers of the leaves of donated arguments."""
        if not self.options.donated:
            return ()
        fixed = {k for k, _ in kind.statics}
        positional, named = kind.structure.children
        assert isinstance(named.data, tuple)
        arguments: list[tuple[int | str, tree.Structure]] = [
            *zip((i for i in range(n_args) if i not in fixed), positional.children, strict=True),
            *zip(map(str, named.data), named.children, strict=True),
        ]
        found: list[int] = []
        start = 0
        for key, structure in arguments:
            if self.options.donated.has(key, n_args):
                found.extend(range(start, start + structure.size))
            start += structure.size
        return tuple(found)

    def executable(self, traced: Traced) -> Any:
        """The compiled code of a specialisation."""
        backend = variant(self.options.backend or config.backend)
        if traced.executable is None or traced.executable.variant != backend:
            donated = tuple(slot for k in traced.donated if (slot := traced.slots[k]) is not None)
            start, setting = time.perf_counter(), traced.executable is not None
            try:
                traced.executable, fresh = executable_for(traced.closed, backend, donated if backend != "reference" else ())
            except compiler.LoweringError as error:
                raise self._named(error, traced) from None
            traced.flat = None
            if fresh and not setting:  # no argument is the cause where a setting changed
                self.history.add(traced.kind, time.perf_counter() - start)
        return traced.executable

    def _named(self, error: compiler.LoweringError, traced: Traced) -> compiler.LoweringError:
        """A LoweringError that names the user's argument, where it is about one."""
        k = error.argument
        if k is None:
            return compiler.LoweringError(f"{self!r}: {error}")
        label = traced.kind.leaf_names(self.f)[traced.slots.index(k)]
        return compiler.LoweringError(f"{self!r}: argument {label}: {error}{at(user_source())}")

    def split(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], tuple[Any, ...], dict[str, Any]]:
        """The static arguments by position or name, the dynamic positional ones, and the dynamic keyword ones."""
        chosen = self.options.static
        if not chosen:
            return (), args, kwargs
        n = len(args)
        static = [i for i in range(n) if chosen.has(i, n)]
        statics: list[tuple[Any, _Static]] = [(i, _Static(args[i], self, i)) for i in static]
        statics += [(k, _Static(kwargs[k], self, k)) for k in sorted(kwargs) if chosen.has(k, n)]
        dynamic = tuple(a for i, a in enumerate(args) if i not in static)
        return tuple(statics), dynamic, {k: v for k, v in kwargs.items() if not chosen.has(k, n)}

    def _blame(self, kind: Kind, leaves: Sequence[Any]) -> None:
        """Raises the error that names the argument which is no array."""
        for name, leaf in zip(kind.leaf_names(self.f), leaves, strict=True):
            check_array(leaf, f"{self!r}: argument {name}")


def _range(ways: Sequence[Narrowed]) -> tuple[int, int]:
    """The integers that fit everywhere."""
    return max(w.low for w in ways), min(w.high for w in ways)


class _Static:
    """A static argument as part of a key: compared by value; its hash must exist."""

    __slots__ = ("_hash", "value")

    def __init__(self, value: Any, owner: Specialiser, position: int | str) -> None:
        self.value = value
        try:
            self._hash = hash((type(value), value))
        except TypeError:
            raise TypeError(
                f"{owner!r}: static argument {argument_name(owner.f, position)} is {described(value)}, which is not hashable. "
                f"{_way_to_hashable(value)}{at(user_source())}"
            ) from None

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and type(self.value) is type(other.value) and bool(self.value == other.value)


def _way_to_hashable(value: Any) -> str:
    if isinstance(value, (ArrayBase, np.ndarray)):
        return "Arrays are dynamic arguments: leave it out of static_argnums; or make a tuple of numbers of it."
    if isinstance(value, (list, dict, set)):
        other = "tuple" if isinstance(value, list) else "frozenset" if isinstance(value, set) else "tuple of its items"
        return f"Pass a {other} instead, or make the argument dynamic."
    return "Give its class a __hash__ and an __eq__, or make the argument dynamic."


def _taken(leaves: Sequence[Any], k: int, mark: str) -> Any:
    """Leaf `k`, consumed: its ndarray where it is an Array whose memory nothing else refers to, else the leaf as it is."""
    x = leaves[k]
    if type(x) is not Array or sum(other is x for other in leaves) > 1 or not compiler.is_sole(x):
        return x
    data, x._stored, x._consumed = x.data, None, mark
    return data


def _replayed(program: Program, args: Sequence[Any]) -> list[Any]:
    """The outputs of a program whose equations are applied one by one, by whatever is being traced."""

    def value(x: Any) -> Any:
        return Array(x.value, x.type.weak) if isinstance(x, Literal) else x

    def step(e: Equation, inputs: list[Any]) -> Sequence[Any]:
        with sourced(e.source):
            out = bind(e.primitive, *map(value, inputs), **e.params)
        return out if e.primitive.multiple else (out,)

    return [value(x) for x in evaluate(program, args, step)]
