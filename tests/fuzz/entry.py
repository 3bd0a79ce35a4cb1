"""The table of generators: for each primitive a function that adds it to a program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .building import Builder, Value


@dataclass(frozen=True, slots=True)
class Entry:
    """How one primitive, or one function made of several, gets into a program.

    Attributes:
        make: adds it, and returns the values that it gives. Raises: building.Rejected.
        weight: how often it is chosen, compared with the others.
        large: whether it is quick on 70,000 elements, in the interpreters too.
        control: whether it holds programs.
        inner: whether it can be in the body of another one.
        rare: whether it is one of a large family, whose members share a weight.
        wild: whether it is defined on NaN, infinities and huge numbers.
    """

    name: str
    make: Callable[[Builder], list[Value]]
    weight: int = 4
    large: bool = False
    control: bool = False
    inner: bool = True
    rare: bool = False
    wild: bool = True


ENTRIES: dict[str, Entry] = {}
"""Name → entry. Those of primitives have their names."""


def entry(name: str, make: Callable[[Builder], list[Value]] | None = None, **fields: Any) -> Any:
    """Enters a function in the table: an `Entry`, or a decorator that gives the function back."""
    if make is not None:
        return Entry(name, make, **fields)

    def enter(make: Callable[[Builder], list[Value]]) -> Callable[[Builder], list[Value]]:
        ENTRIES[name] = Entry(name, make, **fields)
        return make

    return enter
