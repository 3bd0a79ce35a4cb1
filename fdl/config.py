"""Settings of a process: which backend compiles, and what is announced."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

Backend = Literal["llvm", "reference"]
BACKENDS = ("llvm", "reference")
LogCompiles = Literal["never", "once", "always"]
LOG_COMPILES = ("never", "once", "always")


@dataclass(slots=True)
class Config:
    """The settings. Change them by assignment, or for a block with `using`.

    Attributes:
        backend: "llvm" compiles to native code; "reference" runs the NumPy definition of each operation. From `FDL_BACKEND`.
        log_compiles: what the logger "fdl.jit" tells of compilations. "once": for each jitted function one line at INFO when it is
            compiled a second time, naming the argument that changed, and one at WARNING when it has been compiled more than eight times.
            "always" (or True): one line at WARNING for every compilation, with its time and the reason. "never" (or False): nothing. From
            `FDL_LOG_COMPILES`.
    """

    backend: Backend = "llvm"
    log_compiles: LogCompiles = "once"

    def __setattr__(self, name: str, value: object) -> None:
        if name == "log_compiles" and isinstance(value, bool):
            value = "always" if value else "never"
        allowed = {"backend": BACKENDS, "log_compiles": LOG_COMPILES}.get(name)
        if allowed is not None and value not in allowed:
            raise ValueError(f"config.{name}: expected one of {', '.join(allowed)}, got {value!r}")
        object.__setattr__(self, name, value)
        for watched, listener in _listeners:
            if watched == name:
                listener()

    def on_change(self, listener: Callable[[], None], name: str = "backend") -> None:
        """Calls `listener()` after each change of the setting `name`."""
        _listeners.append((name, listener))

    @contextlib.contextmanager
    def using(self, **settings: Any) -> Iterator[None]:
        """Changes settings inside a block.

        Example:
            >>> import fdl
            >>> with fdl.config.using(backend="reference"):
            ...     fdl.config.backend
            'reference'
        """
        before = {name: getattr(self, name) for name in settings}
        try:
            for name, value in settings.items():
                setattr(self, name, value)
            yield
        finally:
            for name, value in before.items():
                setattr(self, name, value)


_listeners: list[tuple[str, Callable[[], None]]] = []
config = Config()
if os.environ.get("FDL_BACKEND"):
    config.backend = os.environ["FDL_BACKEND"]  # type: ignore[assignment]
if os.environ.get("FDL_LOG_COMPILES"):
    config.log_compiles = os.environ["FDL_LOG_COMPILES"]  # type: ignore[assignment]
