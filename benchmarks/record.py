"""What a row is: `Case`, the work that it does at least (`Work`), and a computation ready to be timed (`Bench`).

Imports no library, so that the parent and every worker can read the whole table.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import timing

LIBRARIES = ("fdl", "jax", "torch", "numpy")
TITLES = {"fdl": "fdl", "jax": "JAX", "torch": "PyTorch", "numpy": "NumPy", "limit": "limit"}
F32 = 4
"""Bytes of a float32."""


class Absent(Exception):
    """A builder's answer where a library cannot do the case at all; its text is the reason."""


def _nothing() -> None:
    """The reset of a computation without state."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A computation of one library, its arguments in the library's own arrays.

    Attributes:
        call: computes once, and waits for the result.
        results: the values that must agree between libraries; by default what `call` returns. Called once, before any timing.
        reset: called before each round: puts back the state that calls change.
        peak: bytes that a call holds at most beside its arguments and results.
        sampler: takes the place of timing `call`: `sampler(seconds)` returns samples, and nothing is compared.
    """

    call: Callable[[], Any]
    results: Callable[[], Sequence[Any]] | None = None
    reset: Callable[[], None] = _nothing
    peak: Callable[[], float] | None = None
    sampler: Callable[[float], list[float]] | None = None

    def values(self) -> list[np.ndarray[Any, Any]]:
        """What is compared, as ndarrays."""
        found = self.call() if self.results is None else self.results()
        return [np.asarray(v) for v in (found if isinstance(found, (list, tuple)) else [found])]

    def samples(self, seconds: float) -> list[float]:
        """Seconds of a call, again and again for about so many seconds."""
        self.reset()
        return self.sampler(seconds) if self.sampler else timing.samples(self.call, seconds)


Make = Callable[[Any], Bench]
"""A builder: takes a library's kit."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a case cannot do without: floating-point operations of its contractions, and bytes to and from memory.

    The limit is flops / peak + the time to stream so many bytes, both measured in the same run by hand-written kernels.
    """

    flops: float = 0
    read: int = 0
    written: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.flops + other.flops, self.read + other.read, self.written + other.written)

    def __mul__(self, n: int) -> Work:
        return Work(self.flops * n, self.read * n, self.written * n)

    def __bool__(self) -> bool:
        return bool(self.flops or self.read or self.written)

    def rate(self, seconds: float) -> str:
        """GFLOP/s where there are contractions, else GB/s; "" where there is neither."""
        if self.flops:
            return f"{self.flops / seconds / 1e9:,.0f} GFLOP/s"
        total = self.read + self.written
        return f"{total / seconds / 1e9:,.0f} GB/s" if total else ""


@dataclass(frozen=True, slots=True)
class Fresh:
    """A figure of a process of its own, which every sample starts anew.

    Attributes:
        program: "call" times the first call of a case, "import" the import, "memory" what is resident after a first matmul.
        of: the case whose first call it is.
        after: the case that another process has called before, with the same cache on disk; none for an empty cache.
    """

    program: str
    of: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """A row.

    Attributes:
        name: unique.
        ratio: the aim: fdl's time ≤ ratio × the best peer's; None where nothing is aimed at.
        make: library → builder; a library without one does not have the operation.
        peers: whose best counts.
        work: gives the limit, which the aim never goes below (times 1.12), and the rate.
        tolerance: the libraries' results must agree within this × the largest magnitude.
        at_most: the aim, in seconds or megabytes, where it is no ratio.
        fresh: for figures of processes of their own; `make` then only says who has one.
        unit: "µs" (the samples are seconds), or "MB".
    """

    name: str
    ratio: float | None
    make: Mapping[str, Make]
    peers: tuple[str, ...] = ("jax", "torch", "numpy")
    work: Work = field(default_factory=Work)
    tolerance: float = 1e-5
    at_most: float | None = None
    fresh: Fresh | None = None
    unit: str = "µs"


def everywhere(build: Make, *libraries: str, **others: Make) -> dict[str, Make]:
    """The same builder for the named libraries (all, when none is), and another one for each keyword."""
    return dict.fromkeys(libraries or LIBRARIES, build) | others


def random(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray[Any, Any]:
    """Standard normal float32 numbers, the same in every process."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32) * np.float32(scale)


def labels(n: int, classes: int = 10) -> np.ndarray[Any, Any]:
    """`n` integers (int32) below `classes`."""
    return np.random.default_rng(7).integers(0, classes, n).astype(np.int32)


def dense_layers(sizes: Sequence[int], seed: int = 1) -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Weights (in, out) and zero biases of linear layers, He's way."""
    pairs = itertools.pairwise(sizes)
    return [(random(i, o, seed=seed + k, scale=math.sqrt(2 / i)), np.zeros(o, np.float32)) for k, (i, o) in enumerate(pairs)]


def matmul_work(m: int, k: int, n: int) -> Work:
    """Of an (m, k) × (k, n) product."""
    return Work(flops=2 * m * k * n)


def dense_work(batch: int, sizes: Sequence[int], first_gradient: bool = False) -> Work:
    """Of training linear layers: each forward, and its two gradients; the data's own gradient is not needed."""
    total = Work()
    for i, (a, b) in enumerate(itertools.pairwise(sizes)):
        total += matmul_work(batch, a, b) * (3 if i or first_gradient else 2)
    return total


def update_work(parameters: int, moments: int) -> Work:
    """Of an optimizer with so many moments a parameter: parameters and moments are read and written once."""
    n = F32 * parameters * (1 + moments)
    return Work(read=n, written=n)


def difference(found: Iterable[np.ndarray[Any, Any]], expected: Iterable[np.ndarray[Any, Any]]) -> float:
    """The largest |found − expected| over the largest |expected|, the worst of all arrays; ∞ where shapes differ or one has NaN.

    Example:
        >>> difference([np.array([1.0, 4.0])], [np.array([1.0, 5.0])])
        0.2
    """
    worst = 0.0
    for a, b in zip(found, expected, strict=True):
        if a.shape != b.shape:
            return math.inf
        if not b.size:
            continue
        a, b = a.astype(np.float64), b.astype(np.float64)
        distance, size = float(np.abs(a - b).max()), float(np.abs(b).max())
        if not math.isfinite(distance):
            return math.inf
        worst = max(worst, distance / size if size else distance)
    return worst


def find(cases: Sequence[Case], name: str) -> Case:
    """The case of that name. Raises: KeyError."""
    for case in cases:
        if case.name == name:
            return case
    raise KeyError(f"no case is named {name!r}")


def matching(cases: Sequence[Case], pattern: str) -> list[Case]:
    """The cases with the pattern somewhere in their name: text, `*` for anything, and `|` between patterns; all for an empty one.

    Example:
        >>> [c.name for c in matching([Case("matmul 64", 1.0, {}), Case("sort by row", 1.0, {})], "MATMUL|s*row")]
        ['matmul 64', 'sort by row']
    """
    ways = [re.compile(".*".join(map(re.escape, part.split("*"))), re.IGNORECASE) for part in pattern.split("|")]
    return [c for c in cases if any(way.search(c.name) for way in ways)]
