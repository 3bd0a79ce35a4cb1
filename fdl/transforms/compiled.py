"""`jit`: a function traced once for each kind of arguments, and compiled.

Two caches: a trace is keyed by the structure and types of the arguments (weakness included) and the static ones; an executable by the
program that the trace lowered to, so that equal programs never compile twice.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fdl.backends.executable import entry_for
from fdl.backends.llvm.callpath import dispatcher_type
from fdl.backends.loops.show import show
from fdl.config import BACKENDS, config
from fdl.tracer import trace, tree
from fdl.tracer.array import Array
from fdl.tracer.errors import at, user_source
from fdl.tracer.ir import Program, Type
from fdl.tracer.trace import Tracer, bind, check_array, is_evaluating, record
from fdl.tracer.transforms.call import jit_p

from .signature import FlatFunction, argument_name, name_of

_EXECUTABLES: OrderedDict[Any, Any] = OrderedDict()
_MAX_EXECUTABLES = 4096


def executable_for(program: Program, backend: str) -> Any:
    """The executable of a program, compiled if no equal program has been."""
    key = (backend, program)
    found = _EXECUTABLES.get(key)
    if found is None:
        assert trace.COMPILE is not None
        found = _EXECUTABLES[key] = trace.COMPILE(program, backend)
        if len(_EXECUTABLES) > _MAX_EXECUTABLES:
            _EXECUTABLES.popitem(last=False)
    return found


@dataclass(slots=True)
class Traced:
    """One specialisation of a jitted function. What it closes over is the program's first inputs, and hidden constants of `closed`."""

    program: Program
    captured: list[Any]
    out_structure: tree.Structure
    executable: Any = None

    @property
    def closed(self) -> Program:
        """The program with what it closes over as constants."""
        p, n = self.program, len(self.captured)
        return Program(p.inputs[n:], p.equations, p.outputs, p.inputs[:n], name=p.name)

    def is_alive(self) -> bool:
        return all(not isinstance(x, Tracer) or x.trace.alive for x in self.captured)


class Jitted:
    """A compiled function. Call it as the function; `.lower(*args)` shows what it compiles to."""

    def __init__(
        self, f: Callable[..., Any], static: tuple[int, ...], static_names: tuple[str, ...], donate: tuple[int, ...],
        backend: str | None,
    ) -> None:  # fmt: skip
        functools.update_wrapper(self, f)
        self._f, self._static, self._static_names, self._donate, self._backend = f, static, static_names, donate, backend
        self._traces: dict[Any, Traced] = {}
        self._name = name_of(f)
        self._fast = dispatcher_type()(self._call, array_type=Array)
        _alive.add(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._fast(*args, **kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __repr__(self) -> str:
        return f"<jit of {self._name}>"

    def clear_cache(self) -> None:
        """Forgets what was traced."""
        self._traces.clear()
        self._fast.clear()

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        leaves, traced = self.prepare(args, kwargs)
        if not is_evaluating() or any(isinstance(x, Tracer) for x in (*leaves, *traced.captured)):
            outs = bind(jit_p, *traced.captured, *leaves, program=traced.program, name=self._name)
        else:
            executable = self.executable(traced)
            try:
                outs = executable([*leaves, *traced.captured])
                if executable.backend == "llvm":
                    self._remember(args, kwargs, traced)
            finally:  # a call that fails has consumed its donated arguments too
                self._consume(args)
        return tree.unflatten(traced.out_structure, outs)

    def _remember(self, args: tuple[Any, ...], kwargs: dict[str, Any], traced: Traced) -> None:
        """Lets the compiled call path take the next call with arguments of these types, where it knows their containers."""
        where = f"{self!r}{at(user_source()).replace(chr(10), '')}"
        try:
            entry = entry_for(
                traced.executable, traced.captured, traced.out_structure, args, kwargs, self._static_at, self._donate, where
            )
        except TypeError:
            return
        self._fast.add(entry)

    def _static_at(self, position: int | str, n_args: int) -> bool:
        return position in self._static_names or (
            isinstance(position, int) and any(i % n_args == position for i in self._static if -n_args <= i < n_args)
        )

    def executable(self, traced: Traced) -> Any:
        """The compiled code of a specialisation."""
        backend = self._backend or config.backend
        if traced.executable is None or traced.executable.backend != backend:
            traced.executable = executable_for(traced.closed, backend)
        return traced.executable

    def prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], Traced]:
        """The leaves of the dynamic arguments, and their specialisation."""
        statics, dynamic, dynamic_kw = self._split(args, kwargs)
        leaves, structure = tree.flatten((dynamic, dynamic_kw))
        try:
            types = tuple([check_array(x) for x in leaves])
        except TypeError:
            self._blame(dynamic, dynamic_kw, statics)
            raise
        key = (structure, types, statics)
        found = self._traces.get(key)
        if found is None or not found.is_alive():
            found = self._traces[key] = self._trace(structure, types, statics, len(args))
        return leaves, found

    def _trace(self, structure: tree.Structure, types: tuple[Type, ...], statics: tuple[Any, ...], n_args: int) -> Traced:
        fixed = {k: v.value for k, v in statics}

        def call(*dynamic: Any, **kwargs: Any) -> Any:
            rest = iter(dynamic)
            args = [fixed[i] if i in fixed else next(rest) for i in range(n_args)]
            named = {k: v for k, v in fixed.items() if isinstance(k, str)}
            return self._f(*args, **kwargs, **named)

        call.__name__ = self._name
        function = FlatFunction(call, structure)
        program, captured = record(function, types, f"jit({self._name})", self._name if self._name.isidentifier() else "f")
        return Traced(program, captured, function.out_structure)

    def _split(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], tuple[Any, ...], dict[str, Any]]:
        if not self._static and not self._static_names:
            return (), args, kwargs
        static = {i % len(args) if i < 0 else i for i in self._static}
        statics: list[tuple[Any, _Static]] = [(i, _Static(args[i], self, i)) for i in sorted(static) if i < len(args)]
        statics += [(k, _Static(kwargs[k], self, k)) for k in self._static_names if k in kwargs]
        dynamic = tuple(a for i, a in enumerate(args) if i not in static)
        return tuple(statics), dynamic, {k: v for k, v in kwargs.items() if k not in self._static_names}

    def _blame(self, dynamic: tuple[Any, ...], kwargs: dict[str, Any], statics: tuple[Any, ...]) -> None:
        """Raises the error that names the argument which is no array."""
        fixed = {k for k, _ in statics}
        positions = [i for i in range(len(dynamic) + len(fixed)) if i not in fixed]
        named: list[tuple[int | str, Any]] = [*zip(positions, dynamic, strict=False), *kwargs.items()]
        for i, value in named:
            root = argument_name(self._f, i)
            for path, leaf in tree.flatten_with_paths(value)[0]:
                check_array(leaf, f"jit({self._name}): argument {tree.path_str(path, root)}")

    def _consume(self, args: tuple[Any, ...]) -> None:
        if not self._donate:
            return
        where = f"jit({self._name}){at(user_source()).replace(chr(10) + ' ', '')}"
        for i in self._donate:
            if i < len(args):
                for x in tree.leaves(args[i]):
                    if isinstance(x, Array):
                        x._data, x._consumed = None, where

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """What a call with these arguments compiles to: its program, loop IR and memory plan."""
        _, traced = self.prepare(args, kwargs)
        return Lowered(self, traced)


@dataclass(frozen=True, slots=True)
class Lowered:
    """A specialisation before it runs. `str()` of each property prints it."""

    jitted: Jitted
    traced: Traced

    @property
    def program(self) -> Program:
        """The traced program."""
        return self.traced.program

    @property
    def loops(self) -> str:
        """The text of the loop IR after fusion and scheduling."""
        return show(self.jitted.executable(self.traced).routine, notes=True)

    @property
    def plan(self) -> Any:
        """The memory plan: each buffer, its lifetime, the line that made it, the peak."""
        return self.jitted.executable(self.traced).plan

    def compile(self) -> Any:
        """A function of the arguments' arrays that runs this specialisation."""
        executable, structure = self.jitted.executable(self.traced), self.traced.out_structure
        captured = self.traced.captured

        def run(*args: Any, **kwargs: Any) -> Any:
            leaves, traced = self.jitted.prepare(args, kwargs)
            if traced is not self.traced:
                raise TypeError(
                    f"{self.jitted!r} was compiled for {self.program.in_types}, and called with other types.{at(user_source())}"
                )
            return tree.unflatten(structure, executable([*leaves, *captured]))

        return run


class _Static:
    """A static argument as part of a key: compared by value; its hash must exist."""

    __slots__ = ("_hash", "value")

    def __init__(self, value: Any, jitted: Jitted, position: int | str) -> None:
        self.value = value
        try:
            self._hash = hash((type(value), value))
        except TypeError:
            raise TypeError(
                f"jit({jitted._name}): static argument {argument_name(jitted._f, position)} is {value!r} of type {type(value).__name__}, "
                f"which is not hashable. Pass a tuple instead of a list, or make the argument dynamic.{at(user_source())}"
            ) from None

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and type(self.value) is type(other.value) and bool(self.value == other.value)


_alive: weakref.WeakSet[Jitted] = weakref.WeakSet()


def _forget() -> None:
    """Empties the compiled call paths: they know only the backend they were made for."""
    for f in _alive:
        f._fast.clear()


config.on_change(_forget)


def _ints(value: int | Sequence[int] | None) -> tuple[int, ...]:
    return () if value is None else (value,) if isinstance(value, int) else tuple(value)


def jit(
    f: Callable[..., Any] | None = None,
    *,
    static_argnums: int | Sequence[int] | None = None,
    static_argnames: str | Sequence[str] | None = None,
    donate_argnums: int | Sequence[int] | None = None,
    backend: str | None = None,
) -> Any:
    """`f`, compiled: traced at the first call with each kind of arguments, and run as native code from then on.

    Args:
        f: a pure function of pytrees of arrays.
        static_argnums, static_argnames: arguments that are Python values: hashable, and traced anew for each value.
        donate_argnums: arguments whose arrays the call may consume; reading one afterwards is an error that names the call.
        backend: "llvm" or "reference"; `fdl.config.backend` when None.

    Raises: DTypeError naming the argument that is no array; TypeError for a static argument that is not hashable.

    Example:
        >>> import fdl
        >>> float(fdl.jit(lambda x: x * 2.0 + 1.0)(3.0))
        7.0
    """
    if f is None:
        return functools.partial(
            jit, static_argnums=static_argnums, static_argnames=static_argnames, donate_argnums=donate_argnums, backend=backend
        )
    if not callable(f):
        raise TypeError(f"jit expects a function, got {f!r} of type {type(f).__name__}.{at(user_source())}")
    if backend is not None and backend not in BACKENDS:
        raise ValueError(f"jit({name_of(f)}): backend: expected one of {', '.join(BACKENDS)}, got {backend!r}.{at(user_source())}")
    names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames or ())
    numbers = set(_ints(static_argnums))
    try:
        parameters = list(inspect.signature(f).parameters)
    except (TypeError, ValueError):
        parameters = []
    # A static argument is static however it is passed.
    numbers |= {parameters.index(n) for n in names if n in parameters}
    names = tuple(dict.fromkeys([*names, *(parameters[i] for i in sorted(numbers) if 0 <= i < len(parameters))]))
    return Jitted(f, tuple(sorted(numbers)), names, _ints(donate_argnums), backend)
