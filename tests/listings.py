"""The loops of a program as text in which a test may look for a word.

Loops name the source lines that they come from, and with them the folder of the checkout, in which any word may stand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fdl


def loops_of(f: Callable[..., Any], *args: Any) -> str:
    """The loops of `f`, a function or one that is jitted, for `args`: without the source lines."""
    lowered = (f if hasattr(f, "lower") else fdl.jit(f)).lower(*args)
    return "\n".join(line.partition("  # ")[0] for line in lowered.loops.splitlines())
