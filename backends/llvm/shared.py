"""Functions that many programs call: micro-kernels and the packing of their operands, compiled once.

They are most of a matrix product's code, and do not depend on its shape.  Each is an object of its own, known by a key that its text and
the target give: kept in memory while the process lives, and on disk beside the programs that were linked to it.  A program's code names
them by symbol, as it names the runtime.

May be imported by: `run`, and what stores compiled programs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fdl.backends import cache

from . import engine
from .locks import MAKING
from .target import Target

_LOADED: dict[str, engine.Loaded] = {}


@dataclass(frozen=True, slots=True)
class Shared:
    """A function by its symbol, and the key of its object."""

    symbol: str
    key: str


def compiled(texts: Mapping[str, str], target: Target) -> tuple[Shared, ...]:
    """The functions of some modules, symbol → text, loaded."""
    found = []
    for symbol, text in texts.items():
        key = cache.digest("shared", cache.generator(), repr(target), symbol, text)
        with MAKING:
            if key not in _LOADED and not _from_disk(symbol, key):
                _LOADED[key] = engine.Loaded([engine.object_code(text, target)], {}, [symbol], ())
            store = cache.store()
            if store is not None and not store.path(key).exists():
                store.put(key, cache.Entry({}, _LOADED[key].objects[0]))
        found.append(Shared(symbol, key))
    return tuple(found)


def is_loaded(function: Shared) -> bool:
    """Whether a function could be found, in memory or on disk."""
    with MAKING:
        return function.key in _LOADED or _from_disk(function.symbol, function.key)


def address(function: Shared) -> int:
    """The address of a loaded function, good while the process lives."""
    return _LOADED[function.key].address(function.symbol)


def _from_disk(symbol: str, key: str) -> bool:
    store = cache.store()
    entry = None if store is None else store.get(key)
    if entry is None:
        return False
    _LOADED[key] = engine.Loaded([entry.code], {}, [symbol], ())
    return True
