"""Timing one computation, and the arithmetic of ratios and targets.

A *sample* is the mean time of enough calls in a row to last a tenth of a millisecond (one call where that lasts longer).  Samples
are taken in rounds, the libraries in turn, and what is compared is the minimum with the minimum and the median with the median over
all rounds: a minimum of ratios would pick the peer's worst moment.
"""

from __future__ import annotations

import gc
import itertools
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SLICE = 1e-4
WARM = 5e-3
MARGIN = 1.12
"""How far from the limit an aim may lie."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The minimum and the median of samples: seconds, or megabytes."""

    minimum: float
    median: float

    @staticmethod
    def of(samples: Sequence[float]) -> Timing:
        return Timing(min(samples), statistics.median(samples))


def samples(call: Callable[[], Any], seconds: float) -> list[float]:
    """Samples of a call over about so many seconds, after 5 ms of calls that do not count. At least one.

    The cyclic garbage collector is off meanwhile: it would charge one library for what another left behind.
    """
    start = time.perf_counter()
    calls = 0
    while calls == 0 or time.perf_counter() - start < WARM:
        call()
        calls += 1
    once = (time.perf_counter() - start) / calls
    repeats = max(1, math.ceil(SLICE / once))
    count = max(1, min(2000, int(seconds / (repeats * once))))
    found = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(count):
            start = time.perf_counter()
            for _ in itertools.repeat(None, repeats):
                call()
            found.append((time.perf_counter() - start) / repeats)
    finally:
        gc.enable()
    return found


def quickest(candidates: Mapping[str, Any], tries: int = 3) -> str:
    """The name of the candidate (an object with `call`) whose best of a few calls is the shortest."""
    best: dict[str, float] = {}
    for name, candidate in candidates.items():
        candidate.call()
        times = []
        for _ in range(tries):
            start = time.perf_counter()
            candidate.call()
            times.append(time.perf_counter() - start)
        best[name] = min(times)
    return min(best, key=best.__getitem__)


def best(timings: Mapping[str, Timing], peers: Sequence[str]) -> Timing | None:
    """The best of the peers: the least minimum, and the least median; None where none was timed."""
    found = [timings[p] for p in peers if p in timings]
    return Timing(min(t.minimum for t in found), min(t.median for t in found)) if found else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A row's ratio to the best peer, its target, and whether the target is met; None where a part is missing."""

    ratio: Timing | None
    target: Timing | None
    ours: Timing

    @property
    def word(self) -> str:
        """ "met" and "missed" are of both figures, the minimum and the median."""
        if self.target is None:
            return "–"
        minimum, median = self.ours.minimum <= self.target.minimum, self.ours.median <= self.target.median
        if minimum == median:
            return "met" if minimum else "**missed**"
        return "minimum met, median **missed**" if minimum else "median met, minimum **missed**"


def verdict(
    timings: Mapping[str, Timing],
    peers: Sequence[str],
    aim: float | None,
    limit: Timing | None = None,
    at_most: float | None = None,
) -> Verdict:
    """How fdl did: target = max(aim × best peer, 1.12 × limit), for minima and for medians apart.

    Args:
        timings: by library, with "fdl".
        peers: whose best counts.
        aim: the ratio to the best peer that is aimed at.
        limit: the time that the machine needs at least.
        at_most: the target itself, where it is no ratio.

    Example:
        >>> t = {"fdl": Timing(1.0, 2.0), "jax": Timing(4.0, 5.0), "torch": Timing(3.0, 6.0)}
        >>> v = verdict(t, ("jax", "torch"), 0.5, Timing(1.0, 1.0))
        >>> v.target, v.word
        (Timing(minimum=1.5, median=2.5), 'met')
    """
    ours, peer = timings["fdl"], best(timings, peers)
    ratio = None if peer is None else Timing(ours.minimum / peer.minimum, ours.median / peer.median)
    if at_most is not None:
        return Verdict(ratio, Timing(at_most, at_most), ours)
    if peer is None or aim is None:
        return Verdict(ratio, None, ours)
    floor = Timing(0.0, 0.0) if limit is None else limit
    target = Timing(
        max(aim * peer.minimum, MARGIN * floor.minimum), max(aim * peer.median, MARGIN * floor.median)
    )  # fmt: skip
    return Verdict(ratio, target, ours)
