"""What every form of control flow does with the functions that it is given: record them, agree on types, say what does not fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fdl.numpy.promote import as_operand, asarray, check_range, to_dtype
from fdl.tracer import dtypes, tree
from fdl.tracer.array import Array
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import Program, Type, type_of
from fdl.tracer.records import dataclass
from fdl.tracer.trace import check_array, described, record
from fdl.tracer.transforms.jvp import program_function
from fdl.transforms.signature import FlatFunction, check_integers, leaf_names, name_of


@dataclass(frozen=True, slots=True)
class Recorded:
    """A function's program, what it closes over (the program's first inputs), and how its output is nested."""

    program: Program
    captured: list[Any]
    structure: tree.Structure

    @property
    def out_types(self) -> tuple[Type, ...]:
        """The types of the outputs' leaves."""
        return self.program.out_types


def is_type(x: Any) -> bool:
    """Whether `x` is a type that stands for an array."""
    return isinstance(x, Type)


def record_call(f: Callable[..., Any], args: Sequence[Any], label: str, given: Sequence[Any] | None = None) -> Recorded:
    """`f` recorded on pytrees of arrays, or of types in their place.

    Args:
        given: the arguments as the user gave them, Python numbers among them.

    Raises: OverflowError for a Python integer that does not fit where `f` takes it.
    """
    if not callable(f):
        raise TypeError(f"{label}: expected a function, got {described(f)}.{at(user_source())}")
    leaves, structure = tree.flatten((tuple(args), {}), is_type)
    types = [x if isinstance(x, Type) else check_array(x, f"{label}: an argument of {name_of(f)}") for x in leaves]
    function = FlatFunction(f, structure)
    name = name_of(f)
    program, captured = record(function, types, f"{label}({name})", name if name.isidentifier() else "f")
    if function.narrowed:
        ready = tree.leaves(tuple(args) if given is None else tuple(given), is_type)
        check_integers(label, function.narrowed, ready, lambda: leaf_names(f, structure))
    return Recorded(program, captured, function.out_structure)


def hoisted(recorded: Sequence[Recorded]) -> tuple[list[Program], list[Any]]:
    """The programs over one common list of captured values, which come first, and that list."""
    everything: list[Any] = []
    seen: dict[int, int] = {}
    for r in recorded:
        for v in r.captured:
            if id(v) not in seen:
                seen[id(v)] = len(everything)
                everything.append(v)
    n = len(everything)
    out = []
    for r in recorded:
        picks = [seen[id(v)] for v in r.captured]

        def f(*args: Any, p: Program = r.program, picks: list[int] = picks) -> list[Any]:
            return program_function(p)(*(args[i] for i in picks), *args[n:])

        types = [*map(type_of, everything), *r.program.in_types[len(picks) :]]
        out.append(record(f, types, name=r.program.name)[0])
    return out, everything


def arrays(x: Any, what: str) -> Any:
    """A pytree with its leaves as arrays."""
    leaves, structure = tree.flatten(x)
    named = zip(tree.paths(structure), leaves, strict=True)
    return tree.unflatten(structure, [asarray(as_operand(leaf, tree.path_str(path, what))) for path, leaf in named])


# --- carries --------------------------------------------------------------------------------------


def settled(label: str, init: Any, make: Callable[[Any], Recorded]) -> tuple[Any, Recorded]:
    """The initial carry and the recorded body, once both have the types that the loop keeps.

    A weak leaf of `init` (a Python number) takes the type that the body gives it: `0` becomes 0.0 where the body adds 0.5.  That may
    change another leaf's type, so that it is asked again until nothing changes.

    Args:
        make: records the body for an initial carry; its first outputs are the next carry.

    Raises: OverflowError for an integer that the body's integer type does not hold.
    """
    leaves, structure = tree.flatten(init)
    for _ in range(len(leaves) + 1):
        recorded = make(tree.unflatten(structure, leaves))
        changed = [_adapted(label, x, t) for x, t in zip(leaves, recorded.out_types, strict=False)]
        if len(changed) < len(leaves) or all(a is b for a, b in zip(leaves, changed, strict=True)):
            break
        leaves = changed
    return tree.unflatten(structure, leaves), recorded


def _adapted(label: str, x: Any, out: Type) -> Any:
    t = type_of(x)
    if not t.weak or (t.dtype, t.weak) == (out.dtype, out.weak):
        return x
    dtype, weak = dtypes.promote((t.dtype, t.weak), (out.dtype, out.weak))
    if (dtype, weak) == (t.dtype, t.weak):
        return x
    check_range(f"{label}: the initial carry", int(x) if isinstance(x, Array) and dtypes.is_int(t.dtype) else x, dtype)
    return to_dtype(x, dtype, weak)


def check_carry(
    label: str, f: Callable[..., Any], init: Any, structure: tree.Structure, types: Sequence[Type], skip: int = 0
) -> None:
    """Raises a ShapeError that names the key paths at which a body's carry is not of the types of `init`.

    Args:
        skip: how many steps of a path are the loop's own, not the user's: its carry is then a pair, the user's the second of it.
    """
    leaves, expected = tree.flatten(init)
    if structure != expected:
        wanted, given = (s.children[-1] if skip else s for s in (expected, structure))
        raise ShapeError(
            f"{label}: {name_of(f)} must return a carry nested like init: {tree.difference(wanted, given, 'carry')}.{at(user_source())}"
        )
    wrong = []
    for path, x, out in zip(tree.paths(expected), leaves, types, strict=True):
        first = type_of(x)
        if first.strong() != out.strong():
            where = f"the carry{tree.path_str(path[skip:])}"
            wrong.append(f"{where} starts as {first.strong()}, but {name_of(f)} returns {out.strong()}: {_way_out(first, out)}")
    if wrong:
        listed = wrong[0] if len(wrong) == 1 else "".join(f"\n  {w}" for w in wrong)
        raise ShapeError(f"{label}: {listed}{at(user_source())}")


def _way_out(given: Type, out: Type) -> str:
    if given.shape != out.shape:
        return "both must have one shape. Change init, or reshape what is returned."
    if dtypes.promote((given.dtype, False), (out.dtype, False))[0] == out.dtype:
        return f"start with init as {out.dtype.name} (.astype({out.dtype.name!r})), or return it with .astype({given.dtype.name!r})."
    return f"return it with .astype({given.dtype.name!r}), or start with init as {out.dtype.name}."
