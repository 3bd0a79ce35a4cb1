"""Settings of a process: which backend compiles, and what is announced."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, Literal

from fdl.backends.modes import MODES
from fdl.tracer.errors import at, user_source
from fdl.tracer.records import dataclass

Backend = Literal["llvm", "reference"]
BACKENDS = ("llvm", "reference")
LogCompiles = Literal["never", "once", "always"]
LOG_COMPILES = ("never", "once", "always")


@dataclass(slots=True)
class Config:
    """The settings. Change them by assignment, or for a block with `using`.

    Attributes:
        backend: "llvm" compiles to native code; "reference" runs the NumPy definition of each operation. From `FDL_BACKEND`.
        log_compiles: what the logger "fdl.jit" tells of compilations. "once": for each jitted function one line at WARNING, which Python
            prints by itself, when it is compiled again, naming the argument that changed, once for each cause, and one when it has been
            compiled more than eight times; at INFO what was asked for, such as another value of a static flag. "always" (or True): one
            line at WARNING for every compilation, with its time and the reason. "never" (or False): nothing. From `FDL_LOG_COMPILES`.
        debug_memory: whether compiled code runs in guarded memory, many times slower, and a write or read outside of its buffers is an
            error that names the buffer: see docs/reliability.md. What is compiled already by `lower(...).compile()` stays as it is. From
            `FDL_DEBUG_MEMORY`, 1 or 0.
    """

    backend: Backend = "llvm"
    log_compiles: LogCompiles = "once"
    debug_memory: bool = False

    def __setattr__(self, name: str, value: object) -> None:
        if name == "log_compiles" and isinstance(value, bool):
            value = "always" if value else "never"
        if name not in self.__dataclass_fields__:
            known = ", ".join(self.__dataclass_fields__)
            raise AttributeError(f"config has no setting {name!r}: expected one of {known}.{at(user_source())}")
        allowed: tuple[object, ...] = {"backend": BACKENDS, "log_compiles": LOG_COMPILES, "debug_memory": (True, False)}[name]
        if value not in allowed:
            raise ValueError(
                f"config.{name}: expected one of {', '.join(map(str, allowed))}, got {value!r}.{at(user_source())}"
            )
        object.__setattr__(self, name, value)
        if name == "debug_memory":
            MODES.set_debug_memory(bool(value))
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
        before = {name: getattr(self, name) for name in settings if name in self.__dataclass_fields__}
        try:
            for name, value in settings.items():
                setattr(self, name, value)
            yield
        finally:
            for name, value in before.items():
                setattr(self, name, value)


_listeners: list[tuple[str, Callable[[], None]]] = []
config = Config()
for _name, _variable, _allowed in (
    ("backend", "FDL_BACKEND", BACKENDS),
    ("log_compiles", "FDL_LOG_COMPILES", LOG_COMPILES),
    ("debug_memory", "FDL_DEBUG_MEMORY", ("0", "1")),
):
    _given = os.environ.get(_variable)
    if _given and _given not in _allowed:
        raise ValueError(f"{_variable}={_given!r}: expected one of {', '.join(_allowed)}, or unset it")
    if _given:
        setattr(config, _name, _given == "1" if _name == "debug_memory" else _given)
