"""Settings of a process: which backend compiles, and what is announced."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

Backend = Literal["llvm", "reference"]
BACKENDS = ("llvm", "reference")


@dataclass(slots=True)
class Config:
    """The settings. Change them by assignment, or for a block with `using`.

    Attributes:
        backend: "llvm" compiles to native code; "reference" runs the NumPy definition of each operation. From `FDL_BACKEND`.
    """

    backend: Backend = "llvm"

    def __setattr__(self, name: str, value: object) -> None:
        if name == "backend" and value not in BACKENDS:
            raise ValueError(f"config.backend: expected one of {', '.join(BACKENDS)}, got {value!r}")
        object.__setattr__(self, name, value)
        for forget in _listeners:
            forget()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Calls `listener()` after each change of a setting."""
        _listeners.append(listener)

    @contextlib.contextmanager
    def using(self, *, backend: Backend) -> Iterator[None]:
        """Sets `backend` inside a block.

        Example:
            >>> import fdl
            >>> with fdl.config.using(backend="reference"):
            ...     fdl.config.backend
            'reference'
        """
        before = self.backend
        self.backend = backend
        try:
            yield
        finally:
            self.backend = before


_listeners: list[Callable[[], None]] = []
config = Config()
if os.environ.get("FDL_BACKEND"):
    config.backend = os.environ["FDL_BACKEND"]  # type: ignore[assignment]
