"""Fourier transforms on the host: SciPy's for large arrays where it is installed, NumPy's else.

Both are pocketfft.  SciPy's transforms several lines in one vector, and on several threads, which is five times as fast; but loading it
takes a quarter of a second.  Which one it is follows from the shape alone, so that the same call always gives the same bits; how many
threads SciPy has does not show in them.

May be imported by: the loop IR's lowering.
"""

from __future__ import annotations

import functools
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

LARGE = 1 << 15
"""Elements from which SciPy is loaded for a transform."""


@functools.cache
def _scipy() -> Any:
    """SciPy's module of transforms; None where it is not installed."""
    try:
        import scipy.fft
    except ImportError:
        return None
    return scipy.fft


@np.errstate(all="ignore")
def transform(x: Array, kind: str, lengths: tuple[int, ...], threads: int) -> Array:
    """What the primitive `fft` gives for `x`, which is not empty, in its precision."""
    axes = tuple(range(-len(lengths), 0))
    module = _scipy() if x.size >= LARGE else None
    if module is None:
        return np.asarray(getattr(np.fft, f"{kind}n")(x, s=lengths, axes=axes))
    return np.asarray(getattr(module, f"{kind}n")(x, s=lengths, axes=axes, workers=threads))
