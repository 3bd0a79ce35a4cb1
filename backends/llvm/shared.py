"""Functions that many programs call: micro-kernels, drivers and the packing of their operands, compiled once.

They are most of a matrix product's code, and do not depend on its shape.  Each is an object of its own, known by a key that its text and
the target give: kept in memory while the process lives, and on disk beside the programs that were linked to it.  A program's code names
them by symbol, as it names the runtime.  What one program needs and the process does not have yet is loaded at once: linking costs more
by the call than by the object.

May be imported by: `run`, and what stores compiled programs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fdl.backends import cache
from fdl.tracer.records import dataclass

from . import codegen, engine
from .locks import MAKING
from .target import Target


@dataclass(frozen=True, slots=True)
class Shared:
    """A function by its symbol, and the key of its object."""

    symbol: str
    key: str


@dataclass(frozen=True, slots=True)
class _Held:
    """A loaded function: its object, and the library that it is in."""

    code: bytes
    library: engine.Loaded


_HELD: dict[str, _Held] = {}


def compiled(
    texts: Sequence[str], functions: Mapping[str, str], target: Target, threads: int = 1
) -> tuple[tuple[bytes, ...], tuple[Shared, ...]]:
    """The object files of a program's texts, and the functions that it calls (symbol → text), loaded.

    What there is no object of yet is compiled at once, by up to so many threads.
    """
    found = {Shared(s, cache.digest("shared", cache.generator(), repr(target), s, text)): text for s, text in functions.items()}
    with MAKING:
        objects = {f: _stored(f) for f in found if f.key not in _HELD}
        missing = [f for f, code in objects.items() if code is None]
        made = codegen.object_codes((*texts, *(found[f] for f in missing)), target, threads=threads)
        new = dict(zip(missing, made[len(texts) :], strict=True))
        _load({f: new[f] if code is None else code for f, code in objects.items()})
        store = cache.store()
        if store is not None:
            for f in found:
                if not store.path(f.key).exists():
                    store.put(f.key, cache.Entry({}, _HELD[f.key].code))
    return tuple(made[: len(texts)]), tuple(found)


def are_loaded(functions: Sequence[Shared]) -> bool:
    """Whether all of some functions could be found, in memory or on disk."""
    with MAKING:
        objects = {f: _stored(f) for f in functions if f.key not in _HELD}
        there = {f: code for f, code in objects.items() if code is not None}
        if len(there) < len(objects):
            return False
        _load(there)
        return True


def address(function: Shared) -> int:
    """The address of a loaded function, good while the process lives."""
    return _HELD[function.key].library.address(function.symbol)


def _stored(function: Shared) -> bytes | None:
    store = cache.store()
    entry = None if store is None else store.get(function.key)
    return None if entry is None else entry.code


def _load(objects: Mapping[Shared, bytes]) -> None:
    if objects:
        library = engine.Loaded(list(objects.values()), {}, [f.symbol for f in objects], ())
        for function, code in objects.items():
            _HELD[function.key] = _Held(code, library)
