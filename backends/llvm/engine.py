"""LLVM as a linker: object files to addresses.

Objects (see `codegen`) contain no address of this process: what they need from outside is named, and given an address when they are
loaded.

Lifetimes: a `Loaded` owns its code.  Whoever holds an address out of it must hold the `Loaded`; it holds, in turn, the
owners of the externals that it was linked to.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Final

import llvmlite.binding as llvm

from fdl.backends import cache

from . import codegen
from .locks import LLVM
from .target import Target

_LIBRARY_NAMES = itertools.count()


class Loaded:
    """Machine code in memory.

    `objects` has the object files' bytes, one for each text that was compiled.
    """

    def __init__(
        self, objects: Sequence[bytes], externals: Mapping[str, int], exports: Sequence[str], owners: tuple[object, ...]
    ) -> None:
        self.objects: Final = tuple(objects)
        self._owners = owners
        with LLVM:
            builder = llvm.JITLibraryBuilder()
            for image in self.objects:
                builder.add_object_img(image)
            for symbol, address in externals.items():
                builder.import_symbol(symbol, address)
            for symbol in exports:
                builder.export_symbol(symbol)
            self._jit = _jit()
            self._library = builder.link(self._jit, f"fdl{next(_LIBRARY_NAMES)}")

    def address(self, symbol: str) -> int:
        """The address of an exported symbol, good while this object lives."""
        return int(self._library[symbol])


def compile_text(
    texts: Sequence[str],
    target: Target,
    externals: Mapping[str, int],
    exports: Sequence[str],
    owners: tuple[object, ...] = (),
    level: int = 3,
    stored: bool = False,
) -> Loaded:
    """The machine code of LLVM IR texts, linked with each other and with `externals` (symbol → address).

    Args:
        texts: modules without a target triple; `target` gives it.
        exports: the symbols whose addresses will be asked for.
        owners: what must stay alive as long as the code does.
        level: of code generation, 0 to 3. Level 0 takes an eighth of the time, and is as good for code that waits more than it computes.
        stored: whether the object files are kept on disk, by their texts: for what every process needs.

    Raises: RuntimeError when LLVM rejects a text or a symbol is missing.
    """
    make = _stored_code if stored else codegen.object_code
    return Loaded([make(text, target, level) for text in texts], externals, exports, owners)


def _stored_code(text: str, target: Target, level: int) -> bytes:
    """The object file of a text, from the disk where it is there."""
    store = cache.store()
    if store is None:
        return codegen.object_code(text, target, level)
    key = cache.digest("text", cache.generator(), repr(target), str(level), text)
    entry = store.get(key)
    if entry is None:
        entry = cache.Entry({}, codegen.object_code(text, target, level))
        store.put(key, entry)
    return entry.code


@functools.cache
def _jit() -> llvm.LLJIT:
    """The process's one JIT: a linker for object files in memory."""
    codegen.initialise()
    return llvm.create_lljit_compiler(use_jit_link=True)
