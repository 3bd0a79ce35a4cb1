"""Functions that many programs call: micro-kernels, drivers and the packing of their operands, compiled once.

They are most of a matrix product's code, and do not depend on its shape.  Each is an object of its own, known by a key that its symbol,
the target and fdl's own sources give: kept in memory while the process lives, and on disk beside the programs that were linked to it.  A
program's code names them by symbol, as it names the runtime.  What there is no object of yet is compiled as soon as it is known, beside
the thread that writes the program's own text (`Work`); all that the process does not have yet is loaded at once, since linking costs more
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
from .tiles import Shared


@dataclass(frozen=True, slots=True)
class Linked:
    """A function by its symbol, and the key of its object."""

    symbol: str
    key: str


@dataclass(frozen=True, slots=True)
class _Held:
    """A loaded function: its object, and the library that it is in."""

    code: bytes
    library: engine.Loaded


_HELD: dict[str, _Held] = {}


class Work:
    """The machine code of one program: made on several threads, while the program's text is being written.

        with Work(target, threads) as work:
            work.need(function)     # for each shared function, as soon as it is known
            objects, functions = work.finish(texts)
    """

    def __init__(self, target: Target, threads: int = 1) -> None:
        self.target = target
        self._batch = codegen.Batch(target, threads=threads)
        self._found: dict[str, Linked] = {}
        self._objects: dict[Linked, bytes] = {}
        """Of functions that are on disk, and not loaded yet."""
        self._missing: list[Linked] = []
        """Functions that are being compiled, in the order of their texts."""

    def __enter__(self) -> Work:
        self._batch.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._batch.__exit__(*error)

    def need(self, function: Shared) -> None:
        """A function that the program calls; it is written and compiled where there is no object of it yet."""
        symbol = function.name
        if symbol in self._found:
            return
        key = cache.digest("shared", cache.fingerprint(), repr(self.target), symbol)
        found = self._found[symbol] = Linked(symbol, key)
        if key in _HELD:
            return
        code = _stored(found)
        if code is None:
            self._missing.append(found)
            self._batch.add(function.module())
        else:
            self._objects[found] = code

    def finish(self, texts: Sequence[str]) -> tuple[tuple[bytes, ...], tuple[Linked, ...]]:
        """The object files of the program's own texts, and its shared functions, loaded.

        Raises: RuntimeError when LLVM rejects a text.
        """
        for text in texts:
            self._batch.add(text)
        made = self._batch.finish()
        own = made[len(self._missing) :]
        self._objects |= zip(self._missing, made, strict=False)
        functions = tuple(self._found.values())
        with MAKING:
            _load({f: code for f, code in self._objects.items() if f.key not in _HELD})
            store = cache.store()
            if store is not None:
                for f in functions:
                    if not store.path(f.key).exists():
                        store.put(f.key, cache.Entry({}, _HELD[f.key].code))
        return tuple(own), functions


def are_loaded(functions: Sequence[Linked]) -> bool:
    """Whether all of some functions could be found, in memory or on disk."""
    with MAKING:
        objects = {f: _stored(f) for f in functions if f.key not in _HELD}
        there = {f: code for f, code in objects.items() if code is not None}
        if len(there) < len(objects):
            return False
        _load(there)
        return True


def address(function: Linked) -> int:
    """The address of a loaded function, good while the process lives."""
    return _HELD[function.key].library.address(function.symbol)


def _stored(function: Linked) -> bytes | None:
    store = cache.store()
    entry = None if store is None else store.get(function.key)
    return None if entry is None else entry.code


def _load(objects: Mapping[Linked, bytes]) -> None:
    if objects:
        library = engine.Loaded(list(objects.values()), {}, [f.symbol for f in objects], ())
        for function, code in objects.items():
            _HELD[function.key] = _Held(code, library)
