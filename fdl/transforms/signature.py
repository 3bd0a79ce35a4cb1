"""Arguments by name: what error messages call them, and the flat form of a call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from fdl.tracer import dtypes, tree
from fdl.tracer.array import ArrayBase, own
from fdl.tracer.errors import at, is_own, user_source
from fdl.tracer.ir import Type
from fdl.tracer.records import dataclass
from fdl.tracer.trace import Narrowed, Tracer, check_array, current, described, is_evaluating, narrow
from fdl.tracer.transforms.jvp import JVPTracer


def name_of(f: Callable[..., Any]) -> str:
    """The name of a function, for messages and programs."""
    return getattr(f, "__name__", None) or type(f).__name__


def argument_name(f: Callable[..., Any], position: int | str) -> str:
    """The name of an argument of `f`: its parameter's, where the signature tells, else "argument 0"."""
    if isinstance(position, str):
        return position
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        return f"argument {position}"
    for i, p in enumerate(parameters):
        if p.kind is p.VAR_POSITIONAL:
            return f"{p.name}[{position - i}]"
        if i == position:
            return p.name
    return f"argument {position}"


@dataclass(frozen=True, slots=True)
class Chosen:
    """Arguments of a function chosen by number or by name, however a call passes them.

    `numbers` may be negative where the function takes any number of arguments: they then count from the end of a call's.
    """

    numbers: frozenset[int] = frozenset()
    names: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.numbers or self.names)

    def has(self, argument: int | str, n_args: int) -> bool:
        """Whether an argument is chosen: by its position among `n_args` positional ones, or by its keyword."""
        if isinstance(argument, str):
            return argument in self.names
        return argument in self.numbers or argument - n_args in self.numbers


def chosen(
    f: Callable[..., Any],
    what: str,
    numbers: int | Sequence[int] | None,
    names: str | Sequence[str] | None,
    transform: str = "jit",
) -> Chosen:
    """The arguments that `{what}_argnums` and `{what}_argnames` choose: each by its number and by its name, where the signature tells.

    Raises: TypeError for what is no int or no str, ValueError for an argument that `f` does not take.
    """
    where = f"{transform}({name_of(f)}): {what}_arg"
    given = sequence(f"{where}nums", numbers, int)
    named = sequence(f"{where}names", names, str)
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):  # a built-in that does not tell
        return Chosen(frozenset(given), frozenset(named))
    kinds = {p.kind for p in parameters}
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    n = len(positional)
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        for k in given:
            if not -n <= k < n:
                takes = f"{n} positional argument{'' if n == 1 else 's'}" + (f" ({', '.join(positional)})" if n else "")
                raise ValueError(f"{where}nums has {k}, but {name_of(f)} takes {takes}.{at(user_source())}")
        given = [k % n for k in given]
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        known = [p.name for p in parameters if p.kind is not p.VAR_POSITIONAL]
        for name in named:
            if name not in known:
                raise ValueError(
                    f"{where}names has {name!r}, but {name_of(f)} has no such argument; it has {', '.join(known) or 'none'}."
                    f"{at(user_source())}"
                )
    numbered = {*given, *(positional.index(name) for name in named if name in positional)}
    return Chosen(frozenset(numbered), frozenset([*named, *(positional[k] for k in numbered if 0 <= k < n)]))


def sequence(what: str, value: Any, kind: type) -> list[Any]:
    """`value`, one of a kind, several, or None, as a list; raises a TypeError that begins with `what` for anything else."""
    if value is None:
        return []
    items = [value] if isinstance(value, kind) else value
    try:
        found = list(items)
    except TypeError:
        found = [items]
    for x in found:
        if not isinstance(x, kind) or isinstance(x, bool):
            raise TypeError(f"{what}: expected {kind.__name__} or a sequence of them, got {value!r}.{at(user_source())}")
    return found


def leaf_names(f: Callable[..., Any], structure: tree.Structure, left_out: Collection[int] = ()) -> list[str]:
    """What messages call each leaf of a call's `(args, kwargs)`: `params['w']`. `left_out` are positions that the structure lacks."""
    positional, named = structure.children
    positions = [i for i in range(len(positional.children) + len(left_out)) if i not in left_out]
    assert isinstance(named.data, tuple)
    arguments = [
        *((argument_name(f, i), s) for i, s in zip(positions, positional.children, strict=True)),
        *((str(k), s) for k, s in zip(named.data, named.children, strict=True)),
    ]
    return [tree.path_str(path, root) for root, s in arguments for path in tree.paths(s)]


def check_leaves(f: Callable[..., Any], transform: str, root: str, value: Any) -> None:
    """Raises a DTypeError that names the key path of the first leaf of `value` that is no array."""
    for path, leaf in tree.flatten_with_paths(value)[0]:
        check_array(leaf, f"{transform}({name_of(f)}): argument {tree.path_str(path, root)}")


def stands_for(x: Any, what: str) -> Type:
    """The type of an argument whose value does not matter: that of an array or a number, a type itself, or that of anything else with a
    shape and a dtype. Raises a DTypeError that begins with `what` for what has none."""
    if isinstance(x, Type):
        return x
    if not isinstance(x, (ArrayBase, np.ndarray, np.generic)) and hasattr(x, "shape") and hasattr(x, "dtype"):
        return Type(tuple(int(n) for n in x.shape), dtypes.of(x.dtype))
    return check_array(x, what)


class FlatFunction:
    """`f` on flat arguments: rebuilds `(args, kwargs)`, and remembers the structure of what `f` returned.

    Args:
        user: the user's own function, where `f` wraps it.
        names: gives what messages call the leaves, where that is not what the signature of `f` says.
    """

    def __init__(
        self, f: Callable[..., Any], structure: tree.Structure, has_aux: bool = False, user: Callable[..., Any] | None = None,
        names: Callable[[], Sequence[str]] | None = None,
    ) -> None:  # fmt: skip
        self.f, self.structure, self.has_aux, self.user, self.names = f, structure, has_aux, user or f, names
        self.__name__ = name_of(f)
        self.out_structure: tree.Structure = tree.NONE
        self.aux: Any = None
        self.narrowed: dict[int, list[Narrowed]] = {}
        """What becomes of leaves that are weak integers; filled by `record`."""

    def describe(self, k: int) -> str:
        """What messages call leaf `k`: "argument x['w'] of path:line (f)"; "" where the function has no line."""
        code = getattr(inspect.unwrap(self.user), "__code__", None)
        if code is None:
            return ""
        names = self.names() if self.names else leaf_names(self.user, self.structure)
        return f"argument {names[k]} of {code.co_filename}:{code.co_firstlineno} ({code.co_name})"

    def __call__(self, *leaves: Any) -> list[Any]:
        args, kwargs = tree.unflatten(self.structure, leaves)
        try:
            out = self.f(*args, **kwargs)
        except TypeError as e:
            if type(e) is TypeError and _raised_by_a_call(e):  # of a function that takes other arguments
                e.args = (f"{e}{at(user_source())}",)
            raise
        if self.has_aux:
            if not isinstance(out, tuple) or len(out) != 2:
                raise TypeError(
                    f"{self.__name__}: with has_aux=True it must return a pair (output, aux), got {described(out)}.{at(user_source())}"
                )
            out, aux = out
            # What goes along carries no derivative of this level: its tracers would be leaked by the caller.
            level = current()
            self.aux = tree.map(lambda x: x.primal if isinstance(x, JVPTracer) and x.owner is level else x, aux)
        flat, self.out_structure = tree.flatten(out)
        for path, x in zip(tree.paths(self.out_structure), flat, strict=True):
            check_array(x, f"{self.__name__}: its output{tree.path_str(path)}")
        return flat


def check_integers(
    who: str, narrowed: Mapping[int, Sequence[Narrowed]], leaves: Sequence[Any], names: Callable[[], Sequence[str]]
) -> None:
    """Raises an OverflowError that names the argument which is a Python integer, and does not fit in the integer type that the traced
    function takes it as. A leaf that is traced itself is noted where it comes from.

    Args:
        who: what messages begin with.
        narrowed: of the leaves by number: what the function takes them as.
        names: gives what messages call the leaves.
    """
    for k, ways in narrowed.items():
        x = leaves[k]
        for way in ways:
            if isinstance(x, Tracer):
                narrow(x, way)
            elif type(x) is int and not way.low <= x <= way.high:
                raise OverflowError(
                    f"{who}: argument {names()[k]} is the Python integer {x}, which does not fit in {way.dtype.name} ({way.name}): "
                    f"expected {way.low} to {way.high}. Convert what has that dtype to a wider one, such as int64, or pass the number as "
                    f"an array of its own dtype.{at(way.source)}"
                )


def _raised_by_a_call(error: TypeError) -> bool:
    """Whether Python raised an error where fdl called the user's function, before any line of it ran."""
    t = error.__traceback__
    while t is not None:
        if not is_own(t.tb_frame):
            return False
        t = t.tb_next
    return "\n  at " not in str(error)


def as_value(x: Any) -> Any:
    """`x` as users get it: an Array, unless a transformation is under way."""
    return x if isinstance(x, Tracer) or not is_evaluating() else own(x)


def flat_call(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[list[Any], FlatFunction]:
    """The leaves of a call's arguments, and `f` as a function of them."""
    leaves, structure = tree.flatten((tuple(args), kwargs))
    return leaves, FlatFunction(f, structure)
