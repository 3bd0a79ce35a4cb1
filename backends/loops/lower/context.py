"""What lowering knows while it writes a block: where each variable is, and the nest that is open.

A variable of the program is one of three things.  *Stored*: it has a `Place`.  *Scalar*: a 0-d value bound at the level of the block.
*Lazy*: an equation, written as an expression wherever an element of it is wanted.  `Nest.element` gives an element in any case.

`Nest` binds every operation by a `Let`, once for each (variable, index), in the outermost loop that has all that it depends on: shared
subexpressions are computed once, and what does not change in a loop stands outside it.

May be imported by: the builders of this package.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import field

from fdl.backends.loops.build import Names, flat
from fdl.backends.loops.ir import (
    BOOL,
    INDEX,
    Alloc,
    Buffer,
    Carry,
    Const,
    For,
    If,
    Kind,
    Let,
    Load,
    Op,
    Site,
    Stmt,
    Store,
    Value,
    Var,
    subvalues,
)
from fdl.backends.loops.reductions import identity_of
from fdl.backends.loops.values import Interval, bounds, conjunction, const, convert, flatten, op
from fdl.backends.loops.values import index as as_index
from fdl.tracer import dtypes
from fdl.tracer import primitive as p
from fdl.tracer.ir import Atom, Equation, Literal, Type, Variable
from fdl.tracer.records import dataclass

from .index import SCALAR, ZERO, At, Expression, Shape, expressions, plain, reshaped, within
from .integers import decided, exact, is_short
from .uses import Uses, is_alias


class LoweringError(TypeError):
    """A program holds what native code does not have (a complex dtype, a primitive without a builder)."""

    argument: int | None = None
    """The number of the program's input that it is about, if it is about one."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value is stored: the part of `buffer` at the leading indices `prefix`."""

    buffer: Buffer
    prefix: tuple[Value, ...] = ()

    @property
    def shape(self) -> Shape:
        return self.buffer.shape[len(self.prefix) :]

    @property
    def base(self) -> Value:
        """The flat position of the first element."""
        rest = math.prod(self.shape)
        return flatten((*self.prefix, 0), (*self.buffer.shape[: len(self.prefix)], rest)) if self.prefix else ZERO

    def locate(self, at: At) -> tuple[Buffer, tuple[Value, ...]]:
        """The buffer and the index of an element: the buffer as a vector where `at` sees the value in another shape."""
        if at.shape == self.shape:
            return self.buffer, (*self.prefix, *at.index)
        outer = self.buffer.shape[: len(self.prefix)]
        return flat(self.buffer), (flatten((*self.prefix, *at.index), (*outer, *at.shape)),)

    def load(self, at: At) -> Load:
        """An element."""
        return Load(*self.locate(at))

    def store(self, at: At, value: Value) -> Store:
        """A store to an element."""
        buffer, index = self.locate(at)
        return Store(buffer, index, value)


@dataclass(slots=True)
class Unit:
    """What all blocks of one routine share."""

    names: Names = field(default_factory=Names)
    sites: list[Site] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    slots: dict[int, int] = field(default_factory=dict)
    """id of a callback's parameters (which inlining keeps) → its slot."""
    ranges: dict[Var, Interval] = field(default_factory=dict)
    forms: dict[Var, Value] = field(default_factory=dict)
    """What narrow integers are as indices; see `integers`."""
    target: str = "cpu"

    def var(self, stem: str, dtype: dtypes.DType = INDEX) -> Var:
        """A new variable."""
        return Var(self.names(stem), dtype)

    def site(self, message: str, e: Equation) -> int:
        """The number of a new site for checks that come from `e`."""
        self.sites.append(Site(message, e.source, e.number))
        return len(self.sites) - 1


def native(t: Type, what: str) -> None:
    """Raises a LoweringError for a type that native code does not have."""
    if dtypes.is_complex(t.dtype):
        raise LoweringError(
            f"{what} has dtype {t.dtype.name}: loops have no complex numbers. Give them the program on their parts, which "
            "passes.complex.real_program makes."
        )


class Scope:
    """One block of driver-level statements, and the variables of the program that it is written from."""

    def __init__(self, unit: Unit, uses: Uses) -> None:
        self.unit, self.uses = unit, uses
        self.block: list[Stmt] = []
        self.places: dict[Variable, Place] = {}
        self.scalars: dict[Variable, Value] = {}
        self.lazy: dict[Variable, Equation] = {}
        self.wanted: dict[Variable, Place] = {}
        """Where a variable that is still to be computed has to end."""
        self.owned: set[str] = set()
        """The buffers of this scope that may be written over once their value is dead."""
        self.outer: Scope | None = None
        """The scope of the loop that this block is the body of."""
        self.invariant: set[str] = set()
        """Buffers of the outer scope that do not change while the loop runs."""
        self.prepared: dict[Variable, Place] = {}
        """What the elements of a lazy variable need besides its operands."""
        self.packed: dict[Hashable, Buffer] = {}
        """The operands that were packed for loops of this scope."""
        self.equation: Equation | None = None
        self.position = 0

    # --- buffers ---------------------------------------------------------------------------------

    def temporary(self, dtype: dtypes.DType, shape: Shape, stem: str = "t") -> Buffer:
        """A new arena buffer that lives from here to the end of the block."""
        buffer = Buffer(self.unit.names(stem), dtype, shape, "arena")
        self.note(buffer.name)
        self.block.append(Alloc(buffer))
        self.owned.add(buffer.name)
        return buffer

    def note(self, name: str) -> None:
        """Says that `name` comes from the equation being lowered."""
        if self.equation is not None and self.equation.source:
            self.unit.notes[name] = self.equation.source

    def target(self, v: Variable) -> Place:
        """Where to put the value of `v`: where it is wanted, else in a new buffer. `v` is stored from here on."""
        native(v.type, f"a result of {self.equation.primitive.name}" if self.equation else "a value")
        place = self.wanted.get(v) or Place(self.temporary(v.type.dtype, v.type.shape, "b"))
        self.places[v] = place
        return place

    def stored(self, a: Atom) -> Place:
        """The place of an atom; what is not in memory yet is written there."""
        if isinstance(a, Variable):
            found = self.places.get(a)
            if found is not None:
                return found
            source = self.lazy.get(a)
            if source is not None and a not in self.wanted and (is_alias(source) or source.primitive.name == "reshape"):
                self.places[a] = base = self.stored(source.inputs[0])
                return base
            place = self.target(a)
            del self.places[a]  # its element is computed, not loaded
            self.fill(place, a)
            self.places[a] = place
            return place
        place = Place(self.temporary(a.type.dtype, (), "c"))
        self.fill(place, a)
        return place

    def fill(self, place: Place, a: Atom) -> None:
        """Writes a nest that computes all elements of `a` into `place`."""
        if a.type.size == 0:
            return
        nest = Nest(self)
        at = nest.over(a.type.shape)
        nest.store(place, at, nest.element(a, at))
        nest.close()

    def scalar(self, a: Atom) -> Value:
        """The value of a 0-d atom (or of the only element of any), bound at the level of the block."""
        return Nest(self).element(a, At(a.type.shape, (ZERO,) * a.type.ndim))

    def index_scalar(self, a: Atom) -> Value:
        """A 0-d integer atom as an int64."""
        return Nest(self).as_index(self.scalar(a))

    def dies(self, a: Atom) -> bool:
        """Whether nothing after the equation being lowered reads `a`."""
        return isinstance(a, Variable) and self.uses.last.get(a, -1) <= self.position

    def reusable(self, a: Atom, others: Sequence[Atom]) -> Place | None:
        """The place of `a` if the equation being lowered may write over it: it dies here, no other value is in its buffer, and the
        equation's `others` are not computed from it."""
        if not isinstance(a, Variable) or not self.dies(a) or a not in self.places:
            return None
        place = self.places[a]
        name = place.buffer.name
        if name not in self.owned or any(name in self.leaves(b) for b in others):
            return None
        shared = [v for v, other in self.places.items() if v is not a and other.buffer.name == name and not self.dies(v)]
        return None if shared else place

    def leaves(self, a: Atom) -> set[str]:
        """The buffers that computing an element of `a` reads."""
        found: set[str] = set()
        seen: set[Variable] = set()
        pending = [a]
        while pending:
            v = pending.pop()
            if not isinstance(v, Variable) or v in seen or v in self.scalars:
                continue
            seen.add(v)
            if v in self.places:
                found.add(self.places[v].buffer.name)
            else:
                pending.extend(self.lazy[v].inputs)
        return found


class Nest:
    """Loops that are being written, from the outermost to the innermost that is open."""

    def __init__(self, scope: Scope) -> None:
        self.scope, self.unit = scope, scope.unit
        self.ranges = scope.unit.ranges
        self.levels: list[list[Stmt]] = [scope.block]
        self.open: list[tuple[str, Var | Value, Value, Kind]] = []
        self.depth: dict[Var, int] = {}
        self.floor = 0
        self._floors: list[int] = []
        self.memo: dict[tuple[Variable, At], Value] = {}
        self._keys: list[list[tuple[Variable, At]]] = [[]]

    # --- loops -----------------------------------------------------------------------------------

    def loop(self, extent: int | Value, kind: Kind = "parallel", stem: str = "i") -> Value:
        """Opens a loop, and returns its variable; for one iteration there is no loop, and the variable is 0."""
        n = as_index(extent)
        if n == Const(1, INDEX):
            return ZERO
        v = self.unit.var(stem)
        self.ranges[v] = (0, max(bounds(n, self.ranges)[1] - 1, 0))
        self._push("for", v, n, kind)
        self.depth[v] = len(self.levels) - 1
        self.floor = max(self.floor, 1)
        return v

    def _push(self, what: str, v: Var | Value, n: Value, kind: Kind) -> None:
        self.open.append((what, v, n, kind))
        self._floors.append(self.floor)
        self.levels.append([])
        self._keys.append([])

    def over(self, shape: Shape, stem: str = "i") -> At:
        """Opens parallel loops over all elements of an array."""
        return At(shape, tuple(self.loop(n, "parallel", s) for n, s in zip(shape, _stems(len(shape), stem), strict=True)))

    def carry(self, dtype: dtypes.DType, stem: str = "a") -> Var:
        """A variable to be carried by the innermost open loop."""
        v = self.unit.var(stem, dtype)
        self.depth[v] = len(self.levels) - 1
        return v

    def branch(self, condition: Value) -> None:
        """Opens an `If`: what is written until `end` happens where the condition holds, and nothing moves out of it."""
        self._push("if", condition, ZERO, "serial")
        self.floor = len(self.levels) - 1

    def end(self, carries: Sequence[Carry] = ()) -> None:
        """Closes the innermost open loop or branch."""
        what, v, n, kind = self.open.pop()
        body = tuple(self.levels.pop())
        for key in self._keys.pop():
            del self.memo[key]
        self.floor = self._floors.pop()
        if what == "if":
            assert not isinstance(v, str)
            self.levels[-1].append(If(v, body))
            return
        assert isinstance(v, Var)
        for c in carries:
            self.depth[c.result] = len(self.levels) - 1
        self.levels[-1].append(For(v, n, body, kind, tuple(carries)))

    def close(self) -> None:
        """Closes everything."""
        outermost = next((v for what, v, _, _ in self.open if what == "for"), None)
        if isinstance(outermost, Var):
            self.scope.note(outermost.name)
        while self.open:
            self.end()

    def reduce(
        self,
        name: str,
        dtype: dtypes.DType,
        extents: Sequence[int | Value],
        term: Callable[[tuple[Value, ...]], Value],
        init: Value | None = None,
        stem: str = "r",
    ) -> Value:
        """The combination by `name` of `term(indices)` over new reduction loops; its value is bound in the loop around them."""
        identity = identity_of(name, dtype)

        def level(k: int, indices: tuple[Value, ...]) -> Value:
            if k == len(extents):
                return term(indices)
            if as_index(extents[k]) == Const(1, INDEX):
                return level(k + 1, (*indices, ZERO))
            i = self.loop(extents[k], "serial", stem)
            acc = self.carry(dtype)
            value = level(k + 1, (*indices, i))
            result = self.unit.var("s", dtype)
            self.end([Carry(acc, identity, Op(name, (acc, value), dtype), result, name)])
            return result

        total = level(0, ())
        return total if init is None else self.let(op(name, init, total))

    # --- statements ------------------------------------------------------------------------------

    def do(self, *stmts: Stmt) -> None:
        """Adds statements to the innermost block."""
        self.levels[-1].extend(stmts)

    def store(self, place: Place, at: At, value: Value) -> None:
        """Stores an element."""
        self.do(place.store(at, value))

    def level_of(self, value: Value) -> int:
        """The innermost of the open loops that `value` depends on."""
        return max((self.depth.get(v, 0) for v in subvalues(value) if isinstance(v, Var)), default=0)

    def let(self, value: Value, stem: str = "x") -> Value:
        """`value`, bound in the outermost block that has what it depends on."""
        if isinstance(value, (Const, Var)):
            return value
        level = max(self.level_of(value), self.floor)
        v = self.unit.var(stem, value.dtype)
        self.depth[v] = level
        if value.dtype == INDEX:
            self.ranges[v] = bounds(value, self.ranges)
        form = exact(value, self.unit.forms, self.ranges)
        if form is not None and form is not value and is_short(form):
            self.unit.forms[v] = form
        self.levels[level].append(Let(v, value))
        return v

    # --- elements --------------------------------------------------------------------------------

    def element(self, a: Atom, at: At) -> Value:
        """The element of `a` at an index, which may be given in another shape of the same size."""
        if isinstance(a, Literal):
            return literal(a)
        if a.type.size == 0:  # never asked for: but a load of it could be bound outside of the loop that has no iteration
            return const(0, a.type.dtype)
        if a.type.ndim == 0:
            at = SCALAR
        known = self.scope.scalars.get(a) or self.memo.get((a, at))
        if known is not None:
            return known
        place = self.scope.places.get(a)
        value = self.let(place.load(at), "x") if place is not None else self._computed(self.scope.lazy[a], at)
        level = max(self.level_of(value), self.floor, max((self.level_of(i) for i in at.index), default=0))
        self.memo[a, at] = value
        self._keys[level].append((a, at))
        return value

    def indices(self, a: Atom, at: At) -> Value:
        """An element of an integer array as an int64."""
        return self.as_index(self.element(a, at))

    def as_index(self, x: Value) -> Value:
        """An integer as an int64; a uint64 beyond its range as the largest one."""
        form = exact(x, self.unit.forms, self.ranges)
        if form is not None:
            return form
        if x.dtype == dtypes.uint64:
            x = self.let(op("min", x, Const(2**63 - 1, dtypes.uint64)))
        return self.let(convert(x, INDEX), "n")

    def operation(self, name: str, args: Sequence[Value], dtype: dtypes.DType) -> Value:
        """An elementwise operation; a comparison whose result ranges tell is a constant."""
        result = decided(name, args[0], args[-1], self.unit.forms, self.ranges)
        return op(name, *args, dtype=dtype) if result is None else Const(result, BOOL)

    def _computed(self, e: Equation, at: At) -> Value:
        low = e.primitive.lowering
        out = e.outputs[0].type
        if is_alias(e):
            return self.element(e.inputs[0], at)
        if isinstance(low, p.Elementwise):
            args = [self.element(x, at) for x in e.inputs]
            return self.let(self.operation(low.op, args, out.dtype))
        if e.primitive.name == "reshape":
            return self.element(e.inputs[0], at)
        index = reshaped(at, out.shape, self.ranges)
        if isinstance(low, p.View):
            return self._viewed(e, low, index)
        return self.let(GENERATORS[e.primitive.name](self, e, index))

    def _viewed(self, e: Equation, view: p.View, index: tuple[Value, ...]) -> Value:
        x, out = e.inputs[0].type, e.outputs[0].type
        found, guards = view.index(expressions(index, self.ranges), x, out, e.params)
        inside: list[Value] = []
        for g, low, high in guards:
            above, below = within(g, low, high)
            if not above:
                inside.append(op("ge", plain(g), Const(low, INDEX)))
            if not below:
                inside.append(op("lt", plain(g), Const(high, INDEX)))
        if not inside:
            return self.element(e.inputs[0], At(x.shape, tuple(map(plain, found))))
        fill = self.element(e.inputs[1], SCALAR)
        if x.size == 0:
            return fill
        ok = self.let(conjunction(*inside), "ok")
        safe = tuple(self._clamped(i, n) for i, n in zip(found, x.shape, strict=True))
        return self.let(op("select", ok, self.element(e.inputs[0], At(x.shape, safe)), fill))

    def _clamped(self, e: Expression | int, size: int) -> Value:
        above, below = within(e, 0, size)
        value = plain(e)
        value = value if above else op("max", value, ZERO)
        return value if below else op("min", value, Const(size - 1, INDEX))


GENERATORS: dict[str, Callable[[Nest, Equation, tuple[Value, ...]], Value]] = {}
"""Primitives that are neither elementwise nor views, and yet expressions of an index: iota, random_bits, concatenated index tuples,
gathers that are read in another order."""

PREPARED: dict[str, Callable[[Scope, Equation], None]] = {}
"""What a lazy equation of such a primitive leaves in `Scope.prepared` for its elements, where it stands."""


def _stems(n: int, stem: str) -> Sequence[str]:
    return ("i", "j", "k", "l", "m", "n")[:n] if stem == "i" and n <= 6 else (stem,) * n


def literal(a: Literal) -> Const:
    """A literal as a constant."""
    native(a.type, "a constant")
    x = a.value[()]
    kind = a.type.dtype.kind
    return const(bool(x) if kind == "b" else int(x) if kind in "iu" else float(x), a.type.dtype)
