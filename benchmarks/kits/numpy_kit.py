"""NumPy's kit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.record import Bench


def versions() -> dict[str, str]:
    """Of what runs."""
    return {"NumPy": np.__version__}


def set_threads(n: int) -> None:
    """Nothing: its BLAS reads environment variables."""


def function(f: Callable[..., Any], *args: Any) -> Bench:
    """A function of arrays, each in memory of its own."""
    own = [np.array(a) for a in args]
    return Bench(lambda: f(*own))


eager = function
