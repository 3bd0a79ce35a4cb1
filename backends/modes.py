"""What the programs compiled from now on are like: set by `fdl.config`, read by what compiles.

May be imported by: `config`, and everything in `backends`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field

from fdl.tracer.records import dataclass


@dataclass(slots=True)
class Modes:
    """`debug_memory`: programs run in guarded memory (see `llvm.guards`). What keeps programs by other keys forgets them by `listeners`."""

    debug_memory: bool = False
    listeners: list[Callable[[], None]] = field(default_factory=list)

    def set_debug_memory(self, on: bool) -> None:
        """Changes the mode, and calls the listeners."""
        self.debug_memory = on
        for listener in self.listeners:
            listener()


MODES = Modes()
GUARDED = "llvm, guarded"
"""The name of the backend "llvm" where memory is debugged: other executables, under other keys."""


def variant(backend: str) -> str:
    """What a backend is called that is asked for now.

    Example:
        >>> variant("reference")
        'reference'
    """
    return GUARDED if backend == "llvm" and MODES.debug_memory else backend
