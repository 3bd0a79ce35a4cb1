"""Arguments by name: what error messages call them, and the flat form of a call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from fdl.tracer import tree
from fdl.tracer.array import own
from fdl.tracer.trace import Tracer, check_array, current, is_evaluating
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


def check_leaves(f: Callable[..., Any], transform: str, root: str, value: Any) -> None:
    """Raises a DTypeError that names the key path of the first leaf of `value` that is no array."""
    for path, leaf in tree.flatten_with_paths(value)[0]:
        check_array(leaf, f"{transform}({name_of(f)}): argument {tree.path_str(path, root)}")


class FlatFunction:
    """`f` on flat arguments: rebuilds `(args, kwargs)`, and remembers the structure of what `f` returned."""

    def __init__(self, f: Callable[..., Any], structure: tree.Structure, has_aux: bool = False) -> None:
        self.f, self.structure, self.has_aux = f, structure, has_aux
        self.__name__ = name_of(f)
        self.out_structure: tree.Structure = tree.NONE
        self.aux: Any = None

    def __call__(self, *leaves: Any) -> list[Any]:
        args, kwargs = tree.unflatten(self.structure, leaves)
        out = self.f(*args, **kwargs)
        if self.has_aux:
            if not isinstance(out, tuple) or len(out) != 2:
                raise TypeError(f"{self.__name__}: with has_aux=True it must return (output, aux), got {type(out).__name__}")
            out, aux = out
            # What goes along carries no derivative of this level: its tracers would be leaked by the caller.
            level = current()
            self.aux = tree.map(lambda x: x.primal if isinstance(x, JVPTracer) and x.trace is level else x, aux)
        flat, self.out_structure = tree.flatten(out)
        for path, x in zip(tree.paths(self.out_structure), flat, strict=True):
            check_array(x, f"{self.__name__}: its output{tree.path_str(path)}")
        return flat


def as_value(x: Any) -> Any:
    """`x` as users get it: an Array, unless a transformation is under way."""
    return x if isinstance(x, Tracer) or not is_evaluating() else own(x)


def flat_call(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[list[Any], FlatFunction]:
    """The leaves of a call's arguments, and `f` as a function of them."""
    leaves, structure = tree.flatten((tuple(args), kwargs))
    return leaves, FlatFunction(f, structure)
