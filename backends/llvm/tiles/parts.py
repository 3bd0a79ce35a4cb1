"""What a tile emitter hands back: named functions that other tile kernels of the module may share.

May be imported by: the tile emitters of this package and, through it, the LLVM emitter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from fdl.backends.llvm.tiles.text import Code
from fdl.tracer.records import dataclass


@dataclass(frozen=True, slots=True)
class TileFunction:
    """A tile kernel as LLVM text.

    `parts` maps each function's symbol to its definition; two tile functions with a symbol in common mean the
    same function by it, so a module takes the union.  `text` is all of them, for a module with one tile
    kernel.  `shared` has those of the parts that are compiled once for all programs, each as (its declaration, a module of its own);
    `inner` names those that only shared ones call, whose modules hold them.
    `declares` are the declarations they need, one a line.  `scratch_bytes` is what `symbol` needs at its
    first argument, 64-byte aligned.
    """

    symbol: str
    parts: dict[str, str]
    declares: tuple[str, ...]
    scratch_bytes: int
    shared: dict[str, tuple[str, str]]
    inner: frozenset[str]

    @property
    def text(self) -> str:
        return "\n".join(self.parts.values())


def tile(entry: Code, others: Iterable[Code], scratch_bytes: int) -> TileFunction:
    """The tile function whose entry point is `entry` and which uses `others`."""
    outer = {code.name: code for code in (*others, entry)}
    helpers = {helper.name: helper for code in outer.values() for helper in code.helpers}
    codes = helpers | outer
    declares = set().union(*(code.declares for code in codes.values()))
    parts = {name: code.text() for name, code in codes.items()}
    shared = {name: (code.declaration, _alone(code)) for name, code in outer.items() if code.shared}
    return TileFunction(entry.name, parts, tuple(sorted(declares)), scratch_bytes, shared, frozenset(helpers.keys() - outer.keys()))


def _alone(code: Code) -> str:
    """A module of one function and its helpers, which others can be linked to."""
    declares = code.declares.union(*(helper.declares for helper in code.helpers))
    public = code.text().replace("define internal ", "define ", 1)
    return "\n".join((*sorted(declares), *(helper.text() for helper in code.helpers), public))


def digest(kernel: str, *facts: object) -> str:
    """The symbol of an entry point, different for different facts."""
    return f"fdl_tile_{kernel}_{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}"
