"""The program IR: typed, in SSA form; control flow holds sub-programs.

    program ::= Program(inputs, constants, equations, outputs)
    equation ::= Equation(outputs, primitive name, inputs, params, source, number)
    atom ::= Variable(type) | Literal(value, type)

Invariants (held by `check.check_program`): each variable is bound once and used after it; every equation's output types are
what its primitive's abstract evaluation gives.  Equality is structural, up to the names of variables: source lines, numbers
and the values of constants are outside it.

May be imported by: everything after `errors`, `dtypes`, `tree`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import field
from typing import Any, TypeAlias

import numpy as np

from . import dtypes, tree
from .records import dataclass

Effect: TypeAlias = str
MAY_FAIL: Effect = "may_fail"
ORDERED_IO: Effect = "ordered_io"
UNORDERED_IO: Effect = "unordered_io"
NO_EFFECTS: frozenset[Effect] = frozenset()


@tree.as_leaf
@dataclass(frozen=True, slots=True)
class Type:
    """The type of an array: shape, dtype, and whether it came from Python scalars only (weak). A leaf of pytrees."""

    shape: tuple[int, ...]
    dtype: dtypes.DType
    weak: bool = False

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def strong(self) -> Type:
        """The same type, not weak."""
        return Type(self.shape, self.dtype) if self.weak else self

    def with_shape(self, shape: tuple[int, ...]) -> Type:
        """The same dtype and weakness in another shape."""
        return Type(shape, self.dtype, self.weak)

    def __str__(self) -> str:
        return f"{dtypes.SHORT[self.dtype]}[{','.join(map(str, self.shape))}]{'*' if self.weak else ''}"


_serial = itertools.count()


class Variable:
    """A value of a program, known by its identity. `count` orders variables by creation, for stable printing."""

    __slots__ = ("count", "type")

    def __init__(self, type: Type) -> None:
        self.type = type
        self.count = next(_serial)

    def __repr__(self) -> str:
        return f"v{self.count}:{self.type}"


class Literal:
    """A scalar constant that stands in the equation itself. `value` is a 0-d array of the type's dtype."""

    __slots__ = ("type", "value")

    def __init__(self, value: Any, type: Type) -> None:
        self.value = np.asarray(value, type.dtype)
        assert self.value.shape == () == type.shape, (value, type)
        self.type = type

    def __repr__(self) -> str:
        return f"{self.value}:{self.type}"


Atom: TypeAlias = Variable | Literal


@dataclass(frozen=True, slots=True, eq=False)
class Equation:
    """`outputs = primitive[params] inputs`, from the user's line `source`."""

    outputs: tuple[Variable, ...]
    primitive: Any  # a Primitive; `primitive.py` stands above this file
    inputs: tuple[Atom, ...]
    params: dict[str, Any]
    source: str = ""
    number: int = 0

    def replace(self, **changes: Any) -> Equation:
        """This equation with some fields changed."""
        fields = {n: changes.get(n, getattr(self, n)) for n in ("outputs", "primitive", "inputs", "params", "source", "number")}
        return Equation(**fields)

    @property
    def effects(self) -> frozenset[Effect]:
        """The effects of this equation, its sub-programs' included."""
        effects: frozenset[Effect] = self.primitive.effects_of(self.params)
        return effects


@dataclass(frozen=True, eq=False)
class Program:
    """A function from `inputs` to `outputs`. `constants` are variables bound to the arrays in `values`, which may be large."""

    inputs: tuple[Variable, ...]
    equations: tuple[Equation, ...]
    outputs: tuple[Atom, ...]
    constants: tuple[Variable, ...] = ()
    values: tuple[Any, ...] = ()
    name: str = "main"
    _cache: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def in_types(self) -> tuple[Type, ...]:
        return tuple(v.type for v in self.inputs)

    @property
    def out_types(self) -> tuple[Type, ...]:
        return tuple(a.type for a in self.outputs)

    @property
    def effects(self) -> frozenset[Effect]:
        """The union of the equations' effects."""
        found: frozenset[Effect] = self.cached("effects", lambda: frozenset().union(*(e.effects for e in self.equations)))
        return found

    def cached(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` gives, remembered for the life of this program: transformed programs are keyed so."""
        try:
            return self._cache[key]
        except KeyError:
            value = self._cache[key] = make()
            return value

    @property
    def canonical(self) -> tuple[Any, ...]:
        """A hashable form, equal for programs that differ only in variable identity, sources and constants' values."""
        found: tuple[Any, ...] = self.cached("canonical", lambda: _canonical(self))
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Program) and (self is other or self.canonical == other.canonical)

    def __hash__(self) -> int:
        found: int = self.cached("hash", lambda: hash(self.canonical))
        return found

    def __str__(self) -> str:
        from .show import show_program

        return show_program(self)

    __repr__ = __str__


def _canonical(p: Program) -> tuple[Any, ...]:
    index: dict[Variable, int] = {}
    for v in (*p.constants, *p.inputs):
        index[v] = len(index)

    def atom(a: Atom) -> tuple[Any, ...]:
        if isinstance(a, Literal):
            return ("lit", a.value.tobytes(), a.type)
        return ("var", index[a])

    equations = []
    for e in p.equations:
        ins = tuple(atom(a) for a in e.inputs)
        for v in e.outputs:
            index[v] = len(index)
        equations.append((e.primitive.name, ins, freeze(e.params), tuple(v.type for v in e.outputs)))
    types = tuple(v.type for v in p.constants), tuple(v.type for v in p.inputs)
    return (p.name, types, tuple(equations), tuple(atom(a) for a in p.outputs))


def freeze(value: Any) -> Any:
    """A hashable, comparable form of a parameter."""
    if isinstance(value, dict):
        return tuple((k, freeze(v)) for k, v in sorted(value.items()))
    if isinstance(value, (list, tuple)):
        return tuple(freeze(v) for v in value)
    if isinstance(value, np.ndarray):
        return (value.shape, value.dtype.str, value.tobytes())
    if isinstance(value, float):
        return (value.hex(),)
    return value


def subprograms(params: dict[str, Any]) -> list[Program]:
    """The programs among an equation's parameters."""
    found: list[Program] = []
    for v in params.values():
        if isinstance(v, Program):
            found.append(v)
        elif isinstance(v, (tuple, list)):
            found.extend(x for x in v if isinstance(x, Program))
    return found


def map_subprograms(params: dict[str, Any], f: Callable[[Program], Program]) -> dict[str, Any]:
    """`params` with `f` applied to each program among them."""

    def one(v: Any) -> Any:
        if isinstance(v, Program):
            return f(v)
        if isinstance(v, tuple) and any(isinstance(x, Program) for x in v):
            return tuple(one(x) for x in v)
        return v

    return {k: one(v) for k, v in params.items()}


def type_of(value: Any) -> Type:
    """The type of an atom, a tracer, an array, or a scalar.

    Raises: TypeError for anything that is no array.
    """
    t = getattr(value, "type", None)
    if isinstance(t, Type):
        return t
    scalar = dtypes.scalar_type(value)
    if scalar is not None:
        return Type((), *scalar)
    if isinstance(value, np.ndarray):
        native = value.dtype if value.dtype.isnative else value.dtype.newbyteorder("=")
        if native in dtypes.SHORT:
            return Type(value.shape, native)
    raise TypeError(f"not an array: {value!r} of type {type(value).__name__}")


def substitute(atoms: Iterable[Atom], env: dict[Variable, Atom]) -> tuple[Atom, ...]:
    """`atoms` with the variables of `env` replaced."""
    return tuple(env.get(a, a) if isinstance(a, Variable) else a for a in atoms)


def evaluate(
    program: Program, args: Sequence[Any], bind: Callable[..., Sequence[Any]], values: Sequence[Any] | None = None
) -> list[Any]:
    """The outputs of `program` on `args`, each equation run by `bind(equation, inputs)`: the one loop that all interpreters share."""
    env: dict[Variable, Any] = dict(zip(program.inputs, args, strict=True))
    env.update(zip(program.constants, program.values if values is None else values, strict=True))
    last = last_uses(program)

    def read(a: Atom) -> Any:
        return a if isinstance(a, Literal) else env[a]

    for e in program.equations:
        outs = bind(e, [read(a) for a in e.inputs])
        env.update(zip(e.outputs, outs, strict=True))
        for v in last.get(e, ()):
            env.pop(v, None)
    return [read(a) for a in program.outputs]


def last_uses(program: Program) -> dict[Equation, tuple[Variable, ...]]:
    """For each equation, the variables that nothing after it reads."""

    def compute() -> dict[Equation, tuple[Variable, ...]]:
        seen = {a for a in program.outputs if isinstance(a, Variable)}
        out: dict[Equation, tuple[Variable, ...]] = {}
        for e in reversed(program.equations):
            dying = {a for a in (*e.inputs, *e.outputs) if isinstance(a, Variable) and a not in seen}
            seen |= dying
            out[e] = tuple(dying)
        return out

    result: dict[Equation, tuple[Variable, ...]] = program.cached("last_uses", compute)
    return result
