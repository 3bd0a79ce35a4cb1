"""Timing side by side: the candidates of a case alternate in one run, so that a noisy machine disturbs all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one call: over all rounds, the minimum and the median."""

    minimum: float
    median: float


def alternate(candidates: dict[str, Callable[[], object]], seconds: float = 1.5, rounds: int = 15) -> dict[str, Timing]:
    """The timing of each candidate, called in turn for `rounds` rounds and about `seconds` each in all.

    Each round calls a candidate often enough to last a few milliseconds, and counts the mean of those calls.
    """
    counts: dict[str, int] = {}
    for name, call in candidates.items():
        call()
        start = time.perf_counter()
        call()
        once = max(time.perf_counter() - start, 1e-8)
        counts[name] = max(1, min(20_000, int(seconds / rounds / once)))
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, call in candidates.items():
            n = counts[name]
            start = time.perf_counter()
            for _ in range(n):
                call()
            samples[name].append((time.perf_counter() - start) / n)
    return {name: Timing(min(s), statistics.median(s)) for name, s in samples.items()}
