"""Primitives: one record holds all that fdl knows of an operation.

A primitive is declared once, with its abstract evaluation, its NumPy definition, its derivative, its
transpose, its batching rule, its effects, and what a compiler needs to know of it (`Lowering`), in terms that name no target.

May be imported by: everything after `ir`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from .errors import IndexOutOfBoundsError, MissingRuleError, at
from .ir import NO_EFFECTS, Effect, Equation, Literal, Program, Type, evaluate, subprograms
from .lazy import load
from .records import dataclass

# --- what a compiler needs to know, target-neutral ------------------------------------------------


@dataclass(frozen=True, slots=True)
class Elementwise:
    """Each element of the output is the scalar operation `op` of the same element of the inputs (0-d inputs are splat)."""

    op: str


@dataclass(frozen=True, slots=True)
class View:
    """Each element of the output is one element of input 0, or input 1 (a 0-d fill) where `guard` fails.

    `index(out_index, in_type, out_type, params) -> (in_index, guards)`: `out_index` are index expressions that take
    `+ - * // %` with ints; `guards` is a list of (expression, low, high): the element is in range where low <= expression < high.
    """

    index: Callable[[Sequence[Any], Type, Type, dict[str, Any]], tuple[Sequence[Any], Sequence[tuple[Any, int, int]]]]


@dataclass(frozen=True, slots=True)
class Reduction:
    """Combines input 0 over `params["axes"]` with the scalar operation `op`."""

    op: str


@dataclass(frozen=True, slots=True)
class Tile:
    """A contraction-like operation that the backend lowers around the tile kernel `kernel`."""

    kernel: str


@dataclass(frozen=True, slots=True)
class Named:
    """Lowered by the backend's builder of this name: loops that fit none of the above (gather, scatter, windows, control flow)."""

    builder: str


@dataclass(frozen=True, slots=True)
class Call:
    """Computes what the program `callee(params)` does of `operands(inputs, params)`; the rest of the equation only serves transforms.

    Compiled code knows no such equation: `passes.expand` makes each a plain call. A `typed` callee depends on the inputs' types too:
    `callee(params, types)`.
    """

    callee: Callable[..., Program]
    operands: Callable[[Sequence[Any], dict[str, Any]], Sequence[Any]] = lambda inputs, params: inputs
    typed: bool = False


Lowering: TypeAlias = Elementwise | View | Reduction | Tile | Named | Call


# --- the record -----------------------------------------------------------------------------------


class Axis(int):
    """The size of a mapped axis, which batching rules get, and the name by which collectives know it, if it has one."""

    name: str | None

    def __new__(cls, size: int, name: str | None = None) -> Axis:
        axis = super().__new__(cls, size)
        axis.name = name
        return axis

    def __reduce__(self) -> tuple[Any, ...]:
        return Axis, (int(self), self.name)


PRIMITIVES: dict[str, Primitive] = {}
"""Name → primitive, of all modules that are loaded."""

ELSEWHERE: list[str] = []
"""Modules that declare the others, and are loaded at their first use; a text or a pickle may name any primitive."""


class Primitive:
    """An operation of the IR.

    Args:
        name: its name in the text of a program.
        abstract: `(*types, **params) -> Type` (a tuple of types when `multiple`); raises ShapeError or DTypeError.
        reference: `(*ndarrays, **params) -> ndarray` (a tuple when `multiple`): the definition.
        jvp: `(primals, tangents, **params) -> (output, tangent)`. A tangent is a `Zero` where it is known to vanish; at least one is not.
        transpose: `(ct, *inputs, **params) -> one cotangent or None for each input`; the inputs that the equation is linear in are
            `Undefined(type)`, the others values. `ct` is a list when `multiple`.
        batch: `(size, inputs, axes, **params) -> (output, axis)`; an axis is an int or None, `size` an `Axis`.
        linearize: overrides what is derived from `jvp`; see `transforms.linearize`.
        reached: `(unknown, **params)`: which outputs depend on the inputs that are marked; without it all do when one input is.
        known: `(inputs, **params)`: the outputs that do not depend on an `Undefined` input, None for the others. It comes with `reached`.
        effects: fixed effects, besides those of sub-programs.
        lowering: what a compiler needs to know.
        eager: hint for execution outside `jit`: "numpy" (the reference is as good as anything), "compiled", or "exact": compiled, and
            the reference gives the same bits, so that it may do what is small.
        params_effects: effects that depend on the parameters.
    """

    __slots__ = (
        "_effects", "_namespace", "_params_effects", "abstract", "batch", "eager", "jvp", "known", "linearize", "lowering",
        "multiple", "name", "reached", "reference", "source", "transpose",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        *,
        abstract: Callable[..., Any],
        reference: Callable[..., Any],
        jvp: Callable[..., Any] | None = None,
        transpose: Callable[..., Any] | None = None,
        batch: Callable[..., Any] | None = None,
        linearize: Callable[..., Any] | None = None,
        reached: Callable[..., tuple[bool, ...]] | None = None,
        known: Callable[..., list[Any]] | None = None,
        effects: frozenset[Effect] = NO_EFFECTS,
        params_effects: Callable[[dict[str, Any]], frozenset[Effect]] | None = None,
        lowering: Lowering | None = None,
        multiple: bool = False,
        eager: str = "numpy",
    ) -> None:
        if name in PRIMITIVES and not PRIMITIVES[name]._is_abandoned():
            raise ValueError(f"primitive {name!r} is declared already, in {PRIMITIVES[name].source}")
        self.name, self.abstract, self.reference = name, abstract, reference
        self.jvp, self.transpose, self.batch, self.linearize = jvp, transpose, batch, linearize
        self.reached, self.known = reached, known
        self.lowering, self.multiple, self.eager = lowering, multiple, eager
        self._effects, self._params_effects = effects, params_effects
        self._namespace = _importing()
        self.source: str = getattr(getattr(abstract, "__code__", None), "co_filename", "?")
        PRIMITIVES[name] = self

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return lookup, (self.name,)

    def _is_abandoned(self) -> bool:
        """Whether the import of the module that declared it did not end: it is run again, and declares its primitives again."""
        module = sys.modules.get(self._namespace.get("__name__", ""))
        return module is None or vars(module) is not self._namespace

    def effects_of(self, params: dict[str, Any]) -> frozenset[Effect]:
        """The effects of an equation with these parameters."""
        effects = self._effects if self._params_effects is None else self._effects | self._params_effects(params)
        inner = subprograms(params)
        return effects.union(*(p.effects for p in inner)) if inner else effects

    def rule(self, kind: str) -> Callable[..., Any]:
        """The rule "jvp", "transpose" or "batch"; raises MissingRuleError that says where to add it."""
        found: Callable[..., Any] | None = getattr(self, kind)
        if found is None:
            raise MissingRuleError(
                f"primitive {self.name!r} has no {kind} rule: it is not {_WORDS[kind]}. "
                f"To add one, give `{kind}=` to Primitive({self.name!r}, ...) in {self.source}."
            )
        return found


_WORDS = {"jvp": "differentiable", "transpose": "differentiable in reverse mode here", "batch": "known to vmap"}


def _importing() -> dict[str, Any]:
    """The namespace of the module whose import declares a primitive."""
    frame = sys._getframe(2)
    while frame.f_code.co_name != "<module>" and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_globals


def declare_all() -> None:
    """Loads the modules that declare primitives: `PRIMITIVES` is complete."""
    for module in ELSEWHERE:
        load(module)


def is_declared(name: str) -> bool:
    """Whether there is a primitive of that name."""
    if name not in PRIMITIVES:
        declare_all()
    return name in PRIMITIVES


def lookup(name: str) -> Primitive:
    """The primitive of that name; raises KeyError where there is none."""
    found = PRIMITIVES.get(name)
    if found is not None:
        return found
    if not is_declared(name):
        raise KeyError(f"no primitive is named {name!r}")
    return PRIMITIVES[name]


# --- values that only rules see -------------------------------------------------------------------


class Zero:
    """A tangent or cotangent that is known to be zero, of the given type."""

    __slots__ = ("type",)

    def __init__(self, type: Type) -> None:
        self.type = type

    def __repr__(self) -> str:
        return f"Zero({self.type})"


class Undefined:
    """In a transpose rule: an input that the equation is linear in, whose value is not known."""

    __slots__ = ("type",)

    def __init__(self, type: Type) -> None:
        self.type = type

    def __repr__(self) -> str:
        return f"Undefined({self.type})"


def run_program(program: Program, args: Sequence[Any]) -> list[Any]:
    """The outputs of a program on ndarrays, each equation by its primitive's NumPy definition: what a program means."""

    def bind(e: Equation, inputs: list[Any]) -> Sequence[Any]:
        try:
            out = e.primitive.reference(*[x.value if isinstance(x, Literal) else x for x in inputs], **e.params)
        except IndexOutOfBoundsError as error:  # the innermost equation's line is the user's
            raise error if "\n  at " in str(error) else IndexOutOfBoundsError(f"{error}{at(e.source)}") from None
        return out if e.primitive.multiple else (out,)

    return [x.value if isinstance(x, Literal) else x for x in evaluate(program, args, bind)]
