"""What a tile emitter hands back: named functions that other tile kernels of the module may share.

May be imported by: the tile emitters of this package and, through it, the LLVM emitter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from fdl.backends.llvm.tiles.text import Code, Shared
from fdl.tracer.records import dataclass


@dataclass(frozen=True, slots=True)
class TileFunction:
    """A tile kernel as LLVM text.

    `parts` maps each function's symbol to its definition; two tile functions with a symbol in common mean the
    same function by it, so a module takes the union.  `shared` has the functions that are compiled once for all programs,
    by symbol.  `declares` are the declarations that the parts need, one a line, but for those of shared functions.
    `scratch_bytes` is what `symbol` needs at its first argument, 64-byte aligned.
    """

    symbol: str
    parts: dict[str, str]
    declares: tuple[str, ...]
    scratch_bytes: int
    shared: dict[str, Shared]

    def whole(self) -> tuple[dict[str, str], set[str]]:
        """Definitions by symbol, and declarations, of all that the kernel calls: for a module that is linked to nothing."""
        met = list(self.shared.values())
        codes = {f.name: f.code() for shared in met for f in (*shared.helpers, shared)}
        declares = set(self.declares).union(*(code.declares for code in codes.values()))
        return {name: code.text() for name, code in codes.items()} | self.parts, declares


def tile(entry: Code, others: Iterable[Code | Shared], scratch_bytes: int) -> TileFunction:
    """The tile function whose entry point is `entry` and which uses `others`."""
    used = (*others, entry)
    own = {code.name: code for code in used if isinstance(code, Code)}
    declares = set().union(*(code.declares for code in own.values()))
    parts = {name: code.text() for name, code in own.items()}
    shared = {function.name: function for function in used if isinstance(function, Shared)}
    return TileFunction(entry.name, parts, tuple(sorted(declares)), scratch_bytes, shared)


def digest(kernel: str, *facts: object) -> str:
    """The symbol of an entry point, different for different facts."""
    return f"fdl_tile_{kernel}_{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}"
