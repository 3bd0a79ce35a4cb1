"""`jit`: a function traced once for each kind of arguments, compiled, and called without Python.

A `Jitted` is a dispatcher of the compiled call path (`backends.llvm.callpath`): calling it runs native code that looks for a specialisation
that fits, and only when there is none the Python of `specialise`.  No Python `__call__` stands in front.
"""

from __future__ import annotations

import functools
import types
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fdl.backends import compiler
from fdl.config import BACKENDS, config
from fdl.tracer import tree
from fdl.tracer.array import Array
from fdl.tracer.errors import at, user_source
from fdl.tracer.ir import Program, Type
from fdl.tracer.records import dataclass
from fdl.tracer.trace import check_array, described

from .announce import Kind, changes
from .signature import chosen, name_of, stands_for
from .specialise import Options, Specialiser, Traced, is_again, redispatched


class _Native:
    """What `Jitted` and `Compiled` have from the dispatcher of this process, which `compiler.concrete` makes them subclasses of."""

    if TYPE_CHECKING:
        hits: int
        misses: int

        def __init__(self, slow: Callable[..., Any], *, array_type: type) -> None: ...
        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
        def __get__(self, instance: Any, owner: Any = None) -> Any: ...
        def clear(self) -> None: ...


class Jitted(_Native):
    """A compiled function. Call it as the function; `.lower(*args)` shows what it compiles to.

    In a class it is a method, as a function is; `__wrapped__` is the function. A copy is the object itself.
    """

    if TYPE_CHECKING:
        _core: Specialiser
        __wrapped__: Callable[..., Any]
        __name__: str

    def __init__(self, core: Specialiser) -> None:
        # The dispatcher holds the core, which holds the dispatcher weakly: the last reference frees both.
        super().__init__(core.call, array_type=Array)
        self._core = core
        core.dispatcher = weakref.ref(self)
        functools.update_wrapper(self, core.f, updated=("__dict__",) if isinstance(core.f, types.FunctionType) else ())
        _alive.add(self)

    def __repr__(self) -> str:
        return f"<jit of {self._core.name}>"

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(
            f"cannot pickle jit({self._core.name}): it holds machine code of this process. Pickle the function itself, and apply fdl.jit "
            "after loading it."
        )

    @property
    def trace_count(self) -> int:
        """How many times the function has been traced."""
        return self._core.trace_count

    @property
    def _traces(self) -> dict[Any, Traced]:
        return self._core.traces

    def clear_cache(self) -> None:
        """Forgets what was traced. Compiled code is kept for functions that trace to an equal program."""
        self._core.traces.clear()
        self.clear()

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """What a call with these arguments compiles to: its program, loop IR and memory plan. Nothing runs, and nothing is consumed.

        Arguments may be types instead of arrays: what `fdl.ShapeDtypeStruct` or `fdl.eval_shape` returns.

        Example:
            >>> import fdl, fdl.numpy as fnp
            >>> lowered = fdl.jit(lambda x: fnp.exp(x) + x).lower(fnp.ones(3))
            >>> print(lowered.program)
            program f(a: f32[3]) {
              b: f32[3] = exp a
              c: f32[3] = add b a
              return c
            }
            >>> lowered.compile()(fnp.zeros(3)).tolist()
            [1.0, 1.0, 1.0]
        """
        _, traced = self._core.prepare(args, kwargs, lambda x: stands_for(x, ""))
        return Lowered(self._core, traced)


_alive: weakref.WeakSet[Jitted] = weakref.WeakSet()


def _forget() -> None:
    """Empties the compiled call paths: they know only the backend they were made for."""
    for f in _alive:
        f.clear()


config.on_change(_forget)
config.on_change(_forget, "debug_memory")


# --- ahead of time --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lowered:
    """A specialisation before it runs. `str()` of each property prints it."""

    core: Specialiser
    traced: Traced

    @property
    def program(self) -> Program:
        """The traced program; what the function closes over comes first among its inputs."""
        return self.traced.program

    @property
    def out_types(self) -> Any:
        """The types of what a call returns, as a pytree."""
        return tree.unflatten(self.traced.out_structure, self.traced.program.out_types)

    def as_text(self) -> str:
        """The text of the traced program."""
        return str(self.program)

    @property
    def loops(self) -> str:
        """The text of the loop IR after fusion and scheduling."""
        return compiler.show(self.core.executable(self.traced).routine, notes=True)

    @property
    def plan(self) -> Any:
        """The memory plan: each buffer, its lifetime, the line that made it, the peak; and what becomes of donated arguments."""
        return self.core.executable(self.traced).plan

    def compile(self) -> Compiled:
        """A function that runs this specialisation, and no other."""
        made: Compiled = compiler.concrete(Compiled)(self)
        return made


class Compiled(_Native):
    """A function compiled for one kind of arguments. It never traces: arguments of other types are an error that names them.

    Static arguments are left out of a call, or given as they were when it was lowered.
    """

    if TYPE_CHECKING:
        _lowered: Lowered

    def __init__(self, lowered: Lowered) -> None:
        run = _Ahead(lowered.core, lowered.traced, lowered.core.executable(lowered.traced))
        super().__init__(run.call, array_type=Array)
        run.dispatcher = weakref.ref(self)
        self._lowered = lowered
        functools.update_wrapper(self, lowered.core.f, updated=())

    def __repr__(self) -> str:
        types_ = ", ".join(_described(self._lowered.traced.kind, self._lowered.core.f))
        return f"<jit of {self._lowered.core.name}, compiled for {types_ or 'no arguments'}>"

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle {self!r}: it holds machine code of this process.")

    @property
    def program(self) -> Program:
        """The traced program."""
        return self._lowered.program

    @property
    def out_types(self) -> Any:
        """The types of what a call returns, as a pytree."""
        return self._lowered.out_types

    def as_text(self) -> str:
        """The text of the loop IR after fusion and scheduling, as `loops`."""
        return self._lowered.loops

    @property
    def loops(self) -> str:
        """The text of the loop IR after fusion and scheduling."""
        return self._lowered.loops

    @property
    def plan(self) -> Any:
        """The memory plan; `str()` of it is a table."""
        return self._lowered.plan

    @property
    def memory_plan(self) -> str:
        """The memory plan as a table: each buffer, its lifetime, the line that made it, the peak."""
        return str(self._lowered.plan)


def _described(kind: Kind, f: Callable[..., Any]) -> list[str]:
    return [f"{name}: {t}" for name, t in zip(kind.leaf_names(f), kind.types, strict=True)]


class _Ahead:
    """What is behind a `Compiled`: the calls that its call path does not know."""

    __slots__ = ("core", "dispatcher", "executable", "traced")

    def __init__(self, core: Specialiser, traced: Traced, executable: Any) -> None:
        self.core, self.traced, self.executable = core, traced, executable
        self.dispatcher: Callable[[], Any] = lambda: None

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """A call that no entry of the call path fits."""
        core, traced, executable, again = self.core, self.traced, self.executable, is_again()
        leaves, is_static = self.leaves(args, kwargs)
        core.check_integers(traced, leaves)
        if core.is_staged(leaves, traced):
            outs = core.stage(traced, leaves)
        else:
            dispatcher = self.dispatcher()
            if not again and core.learn(dispatcher, traced, executable, args, kwargs, is_static):
                return redispatched(dispatcher, args, kwargs)
            outs = core.run(traced, executable, leaves)
        return tree.unflatten(traced.out_structure, outs)

    def leaves(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], Callable[[int | str], bool]]:
        """The leaves of a call's dynamic arguments, and which of its arguments are static."""
        wanted = self.traced.kind
        positional, by_name = wanted.structure.children
        if len(args) == len(positional.children) and tuple(sorted(kwargs)) == by_name.data:  # static arguments left out
            leaves, structure = tree.flatten((args, kwargs))
            self.check(Kind(structure, tuple(map(self.type_of, leaves)), wanted.statics))
            return leaves, lambda _: False
        statics, dynamic, named = self.core.split(args, kwargs)
        leaves, structure = tree.flatten((dynamic, named))
        self.check(Kind(structure, tuple(map(self.type_of, leaves)), statics))
        n = len(args)
        return leaves, lambda k: self.core.options.static.has(k, n)

    def type_of(self, x: Any) -> Type:
        return check_array(x, f"{self.core!r}: an argument").strong()

    def check(self, given: Kind) -> None:
        """Raises a TypeError that names the first argument which the function was not compiled for."""
        wanted = self.traced.kind
        wanted = Kind(wanted.structure, tuple(t.strong() for t in wanted.types), wanted.statics)
        found = changes(self.core.f, given, wanted)
        if found:
            c = found[0]
            what = str(c).replace(", before with", ", before").replace(", before", ", and was compiled for")
            raise TypeError(
                f"{self.core!r}: {what}. A compiled function runs for the types that it was lowered for: call the jitted function, or "
                f"lower it for these.{at(user_source())}"
            )


# --- the transform --------------------------------------------------------------------------------


def jit(
    f: Callable[..., Any] | None = None,
    *,
    static_argnums: int | Sequence[int] | None = None,
    static_argnames: str | Sequence[str] | None = None,
    donate_argnums: int | Sequence[int] | None = None,
    donate_argnames: str | Sequence[str] | None = None,
    keep_unused: bool = False,
    inline: bool = False,
    backend: str | None = None,
) -> Any:
    """`f`, compiled: traced at the first call with each kind of arguments, and run as native code from then on.

    A call whose arguments differ in structure, shape, dtype or a static value from all before is traced again, and compiled unless an equal
    program has been.  The logger "fdl.jit" tells of it: one line at WARNING, which Python prints by itself, when a function is compiled
    again, naming the argument that changed and how, once for each cause (at INFO where it is a static flag or name), and one when it has
    been compiled more than eight times, or when jit is applied to copy after copy of one function.  A line, once a function, also tells of
    NumPy arrays of float64 that drag float32 arguments into float64.  `fdl.config.log_compiles` ("never", "once", "always", or a bool)
    silences this, or asks for every compilation.

    Args:
        f: a pure function of pytrees of arrays. Without it, the result is a decorator.
        static_argnums, static_argnames: arguments that are Python values, hashable, and traced anew for each value; by position, by name,
            or both, however a call passes them.
        donate_argnums, donate_argnames: arguments whose arrays a call may consume: outputs of the same shape and dtype take over their
            memory where the order of reads and writes allows it (`.lower(...).plan` tells). An Array to whose memory something else refers
            (a view, an export, another argument) is copied instead, and stays. Reading a consumed array is an error that names the call.
            A call that fails has consumed its donated arrays too.
        keep_unused: pass arguments that the function does not read to the compiled code all the same; they are left out by default.
        inline: while another function is traced, write the equations of this one into its program instead of a call.
        backend: "llvm" or "reference"; `fdl.config.backend` when None.

    Returns: a function with `.lower(*args)`, `.clear_cache()`, `.trace_count` and `__wrapped__`.

    Raises: ValueError for an argument that `f` does not take; DTypeError naming the argument of a call that is no array; TypeError for a
        static argument that is not hashable; OverflowError for a Python integer that does not fit in the integer type that `f` takes it as.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> float(fdl.jit(lambda x: x * 2.0 + 1.0)(3.0))
        7.0
        >>> @fdl.jit(donate_argnames="w")
        ... def step(w, g):
        ...     return w - 0.5 * g
        >>> w = fnp.ones(3)
        >>> step(w, fnp.ones(3)).tolist(), w.is_deleted()
        ([0.5, 0.5, 0.5], True)
    """
    if f is None:
        return functools.partial(
            jit, static_argnums=static_argnums, static_argnames=static_argnames, donate_argnums=donate_argnums,
            donate_argnames=donate_argnames, keep_unused=keep_unused, inline=inline, backend=backend,
        )  # fmt: skip
    if not callable(f):
        raise TypeError(f"jit expects a function, got {described(f)}.{at(user_source())}")
    if backend is not None and backend not in BACKENDS:
        raise ValueError(
            f"jit({name_of(f)}): backend: expected one of {', '.join(BACKENDS)}, got {backend!r}.{at(user_source())}"
        )
    static = chosen(f, "static", static_argnums, static_argnames)
    donated = chosen(f, "donate", donate_argnums, donate_argnames)
    both = sorted(map(str, (static.names & donated.names) or (static.numbers & donated.numbers)))
    if both:
        raise ValueError(
            f"jit({name_of(f)}): {', '.join(both)} is static and donated: only an array can be donated.{at(user_source())}"
        )
    options = Options(static, donated, backend, bool(inline), bool(keep_unused))
    if isinstance(f, Jitted) and not static and not donated and f._core.options == options:
        return f
    return compiler.concrete(Jitted)(Specialiser(f, options))
