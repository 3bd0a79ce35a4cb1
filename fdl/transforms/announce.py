"""What a jitted function tells its user: that it is compiled again, and why; that it computes in float64 by accident.

A compilation takes a thousand times as long as the call it is made for, and nothing shows it.  So the logger "fdl.jit" has a line, at
WARNING, which Python prints unless told otherwise, when a function is compiled again, once for each cause, and one when it happens all the
time:

    jit(step) is compiled a second time: x['image'] has shape (16, 784), before (32, 784). At train.py:31 (epoch)
    jit(step) has been compiled 9 times, 8 of them because of the shape of x['image'] (now (9, 784)): pad it ... At train.py:31 (epoch)

The cause is the argument and what of it changed: after the shape of x, a change of its dtype is news, another shape is not.  What
a user asks for is told at INFO only: a static argument that chooses between a few modes (`train=True`, `kind="relu"`) is meant to be
compiled for each.

`fdl.config.log_compiles` silences it, or asks for every compilation; the logger's level silences it too.  May be imported by: `compiled`
and its parts.
"""

from __future__ import annotations

import enum
import types
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

import numpy as np

from fdl.config import config
from fdl.tracer import dtypes, tree
from fdl.tracer.errors import user_source
from fdl.tracer.ir import Program, Type, Variable, subprograms
from fdl.tracer.records import dataclass

from .signature import argument_name, leaf_names, name_of

if TYPE_CHECKING:
    import logging

MANY = 8
"""More compilations than this are a warning."""
_COMPARED = 64
"""The most earlier specialisations that a new one is compared with."""

_ADVICE = {
    "shape": "pad it to a few sizes, or leave a smaller last batch out",
    "dtype": "convert it to one dtype before the call",
    "weak type": "pass an array, or always a Python number",
    "structure": "keep to one structure",
    "mode": "make it dynamic if the function allows it, or keep to few values",
    "static value": "make it dynamic if the function allows it, or keep to few values",
    "function": "define the function once, where it is not repeated",
    "arguments": "keep to one way of passing the arguments",
}
_NAMES = {"mode": "static value"}
"""What messages call a kind of change, where it is not its key."""


def _logger() -> logging.Logger:
    # Imported where there is something to say: a tenth of what importing fdl costs, for lines that few programs cause.
    import logging

    return logging.getLogger("fdl.jit")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a specialisation was made for: the structure and types of its dynamic arguments, and the static ones by position or name."""

    structure: tree.Structure
    types: tuple[Type, ...]
    statics: tuple[tuple[int | str, Any], ...]

    def leaf_names(self, f: Callable[..., Any]) -> list[str]:
        """What messages call the leaves of the dynamic arguments."""
        return leaf_names(f, self.structure, [k for k, _ in self.statics if isinstance(k, int)])


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two specialisations: its kind (a key of `_ADVICE`), the argument, what it is now and what it was."""

    kind: str
    argument: str
    now: str
    before: str

    @property
    def cause(self) -> str:
        """What is said once: the argument, and what of it changed."""
        return f"{self.kind} of {self.argument}"

    def __str__(self) -> str:
        match self.kind:
            case "arguments":
                return f"it is called with {self.now}, before with {self.before}"
            case "weak type":
                return f"{self.argument} is {self.now}, before {self.before}"
            case "structure":
                return f"{self.argument} is nested differently ({self.now})"
            case "function":
                return f"the static argument {self.argument} is a function made anew, {self.now}"
            case "static value" | "mode":
                return f"the static argument {self.argument} is {self.now}, before {self.before}"
            case _:
                return f"{self.argument} has {self.kind} {self.now}, before {self.before}"


def changes(f: Callable[..., Any], new: Kind, old: Kind) -> list[Change]:
    """How `new` differs from `old`, in the order of the arguments."""
    found = _arguments(new, old)
    if found is not None:
        return [found]
    result: list[Change] = []
    for (k, now), (_, before) in zip(new.statics, old.statics, strict=True):
        if now != before:
            result.append(_static(argument_name(f, k), now, before))
    if new.structure != old.structure:
        return result + _nesting(f, new, old)
    for name, a, b in zip(new.leaf_names(f), new.types, old.types, strict=True):
        if a.shape != b.shape:
            result.append(Change("shape", name, str(a.shape), str(b.shape)))
        if a.dtype != b.dtype:
            result.append(Change("dtype", name, a.dtype.name, b.dtype.name))
        elif a.weak != b.weak:
            words = {True: "a Python number (weakly typed)", False: "an array"}
            result.append(Change("weak type", name, words[a.weak], words[b.weak]))
    return result


def _arguments(new: Kind, old: Kind) -> Change | None:
    """The difference in how many arguments there are, and what they are called."""

    def words(kind: Kind) -> str:
        positional, named = kind.structure.children
        n = len(positional.children) + sum(isinstance(k, int) for k, _ in kind.statics)
        assert isinstance(named.data, tuple)
        names = sorted({*map(str, named.data), *(k for k, _ in kind.statics if isinstance(k, str))})
        counted = f"{n} positional argument{'' if n == 1 else 's'}"
        return counted + (f" and {', '.join(names)}" if names else "")

    same = words(new) == words(old) and [k for k, _ in new.statics] == [k for k, _ in old.statics]
    return None if same else Change("arguments", "", words(new), words(old))


def _static(name: str, now: Any, before: Any) -> Change:
    code, former = getattr(now.value, "__code__", None), getattr(before.value, "__code__", None)
    if code is not None and code == former:
        return Change("function", name, f"{name_of(now.value)} of {code.co_filename}:{code.co_firstlineno}", "")
    chooses = all(isinstance(v.value, (bool, str, enum.Enum, type(None))) for v in (now, before))
    return Change("mode" if chooses else "static value", name, _short(now.value), _short(before.value))


def _nesting(f: Callable[..., Any], new: Kind, old: Kind) -> list[Change]:
    fixed = [k for k, _ in new.statics if isinstance(k, int)]
    (positional, named), (former, former_named) = new.structure.children, old.structure.children
    positions = [i for i in range(len(positional.children) + len(fixed)) if i not in fixed]
    assert isinstance(named.data, tuple)
    names = [*(argument_name(f, i) for i in positions), *map(str, named.data)]
    pairs = zip((*positional.children, *named.children), (*former.children, *former_named.children), strict=True)
    return [
        Change("structure", name, tree.difference(b, a, name, ("before", "now")), "")
        for name, (a, b) in zip(names, pairs, strict=True)
        if a != b
    ]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


# --- compilations ---------------------------------------------------------------------------------


@dataclass(slots=True)
class History:
    """What one jitted function has been compiled for, and what was said about it."""

    f: Callable[..., Any]
    compiled: list[Kind] = field(default_factory=list)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    said: set[str] = field(default_factory=set)
    count: int = 0

    def add(self, kind: Kind, seconds: float) -> None:
        """Notes that the function was compiled for `kind`, and says so where it is worth a line."""
        mode = config.log_compiles
        self.count += 1
        found = min((changes(self.f, kind, old) for old in reversed(self.compiled)), key=len, default=[])
        self.compiled = [*self.compiled[1 - _COMPARED :], kind]
        self.reasons.update({(c.kind, c.argument) for c in found})
        name = f"jit({name_of(self.f)})"
        if mode == "always":
            why = f": {_listed(found)}" if found else ""
            _logger().warning("%s is compiled for the %s time, in %.3g s%s.%s", name, _ordinal(self.count), seconds, why, _here())
        elif mode == "once" and 1 < self.count <= MANY:
            new = [first for first in [self._first(c.cause) for c in found] or [self._first("program")] if first]
            if new:
                say = _logger().info if found and all(c.kind == "mode" for c in found) else _logger().warning
                which = "a second time" if self.count == 2 else f"for the {_ordinal(self.count)} time"
                say("%s is compiled %s: %s.%s", name, which, _listed(found), _here())
        elif mode == "once" and self.count > MANY and self.reasons and self._first("often"):
            (reason, argument), times = self.reasons.most_common(1)[0]
            now = next((f" (now {c.now})" for c in found if (c.kind, c.argument) == (reason, argument) and c.now), "")
            what = f"because of the {_NAMES.get(reason, reason)} of {argument}" if argument else f"for other {reason}"
            cause = f"{times} of them {what}{now}"
            _logger().warning("%s has been compiled %d times, %s: %s.%s", name, self.count, cause, _ADVICE[reason], _here())

    def mixed(self, kind: Kind, leaves: Sequence[Any], program: Program) -> None:
        """Says once that NumPy data of float64 drag float32 values into float64."""
        if config.log_compiles == "never" or "mixed" in self.said:
            return
        wide = [
            n
            for n, x in zip(kind.leaf_names(self.f), leaves, strict=True)
            if isinstance(x, np.ndarray) and x.dtype == np.float64
        ]
        source = _widening(program) if wide else None
        if source is not None and self._first("mixed"):
            _logger().warning(
                "jit(%s): %s is a NumPy array of float64, which makes float32 values float64%s: the computation goes on in float64. Pass "
                "%s.astype('float32') to stay in float32.",
                name_of(self.f), wide[0], f" at {source}" if source else "", wide[0],
            )  # fmt: skip

    def _first(self, what: str) -> bool:
        first = what not in self.said
        self.said.add(what)
        return first


def _listed(found: list[Change]) -> str:
    if not found:
        return "the program that it traces to has changed"
    more = f", and {len(found) - 2} more" if len(found) > 2 else ""
    return "; ".join(map(str, found[:2])) + more


def _ordinal(n: int) -> str:
    ending = "th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def _here() -> str:
    source = user_source()
    return f" At {source}" if source else ""


def _widening(program: Program) -> str | None:
    """The source line of the first equation that turns float32 (or narrower) values into float64; None where there is none."""
    for e in program.equations:
        if e.primitive.name == "convert" and isinstance(e.inputs[0], Variable):
            t = e.inputs[0].type
            if dtypes.is_float(t.dtype) and t.dtype.itemsize <= 4 and not t.weak and e.outputs[0].type.dtype == np.float64:
                return str(e.source)
        for inner in subprograms(e.params):
            found = _widening(inner)
            if found is not None:
                return found
    return None


# --- functions made anew --------------------------------------------------------------------------

_copies: weakref.WeakKeyDictionary[types.CodeType, Counter[Any]] = weakref.WeakKeyDictionary()


def traced_first(f: Callable[..., Any], kind: Kind) -> None:
    """Notes the first trace of a jitted function, and says so when copies of one function are jitted over and over.

    `jit(lambda x: ...)` inside a loop makes a new function in each round: it is traced every time, and compiled too when what it closes
    over stands in the program.
    """
    code = getattr(f, "__code__", None)
    if code is None or config.log_compiles == "never":
        return
    key = (kind.structure, kind.types, tuple(k for k, _ in kind.statics))
    counter = _copies.setdefault(code, Counter())
    counter[key] += 1
    count = counter[key]
    where = f"{name_of(f)} of {code.co_filename}:{code.co_firstlineno}"
    if count == MANY + 1:
        _logger().warning(
            "jit has been applied to %d copies of %s, all called with the same types: each is traced again. Apply jit once, where it is "
            "not repeated, and pass what changes as arguments.%s",
            count, where, _here(),
        )  # fmt: skip
    elif count == 2:
        _logger().info("jit is applied to another copy of %s: a function made anew is traced again.%s", where, _here())
