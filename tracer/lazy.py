"""Packages whose parts are loaded when they are first asked for (PEP 562).

    if TYPE_CHECKING:
        from . import nn as nn
        from .saving import save as save
    else:
        __getattr__, __dir__ = parts(__name__, {"nn": "fdl.nn", "save": "fdl.saving:save"})

`import fdl` costs a little more than `import numpy` that way: layers, samplers, and above all the compiler come with their first use.
Type checkers and editors read the first branch; a test holds the two to each other.

Invariants: a name is looked up here once, and is a plain attribute of its package from then on, so that later uses cost nothing.  A part is
whole when it can be seen.  A load that was interrupted is begun again by the next use.  A fork waits for a load that is under way in
another thread, or its child could never import that part.  No module of fdl asks for a part while it is being imported itself (so it has
`import fdl.random as random`, where others say `from fdl import random`): a thread that loads waits for the modules that others import, and
those others must not wait for it.

May be imported by: the packages that have such parts.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

_LOADING = threading.RLock()
"""Taken inside the locks of compilation: loading a part compiles nothing, and calls no LLVM."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_LOADING.acquire, after_in_parent=_LOADING.release, after_in_child=_LOADING.release)


def load(module: str) -> ModuleType:
    """The module of that name, imported if it was not."""
    with _LOADING:
        return importlib.import_module(module)


def parts(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The functions `__getattr__` and `__dir__` of a package.

    Args:
        package: its name, `__name__`.
        homes: for each name that is loaded at its first use what it is: "module", or "module:name" for a name in it.

    Example:
        >>> get, names = parts("fdl", {"bfloat16": "fdl.tracer.dtypes:bfloat16"})
        >>> get("bfloat16")
        dtype(bfloat16)
        >>> "bfloat16" in names()
        True
    """

    def get(name: str) -> Any:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, attribute = home.partition(":")
        found = load(module)
        value = getattr(found, attribute) if attribute else found
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return get, names
