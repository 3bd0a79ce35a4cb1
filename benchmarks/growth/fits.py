"""The arithmetic of growth: exponents, straight lines, and cliffs.

A *point* is a size, the work there (in units that the curve names: multiplications, examples, equations), and the seconds that it took.
What grows in step with its work costs the same for each unit; a fixed cost shows as a cost a unit that falls.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

CLIFF = 1.5
"""A cliff: the cost of a unit of work rises by more than this factor while the size doubles, or grows by less."""
SLACK = 0.15
"""How far above its expected exponent a fitted one may lie: caches and noise."""


@dataclass(frozen=True, slots=True)
class Point:
    """A size, its units of work, and seconds."""

    n: int
    units: float
    seconds: float

    @property
    def cost(self) -> float:
        """Seconds a unit of work."""
        return self.seconds / self.units


@dataclass(frozen=True, slots=True)
class Cliff:
    """Two neighbouring sizes, and the factor by which a unit of work costs more at the second."""

    before: int
    after: int
    factor: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A range of sizes, both ends included, and the exponent of the time in the size there."""

    first: int
    last: int
    exponent: float


@dataclass(frozen=True, slots=True)
class Line:
    """seconds ≈ fixed + each × units; `off` is the largest |distance| from it, as a share of the measured time."""

    fixed: float
    each: float
    off: float


def exponent(points: Sequence[Point]) -> float:
    """The slope of log time over log size, by least squares; NaN for less than two sizes.

    Example:
        >>> exponent([Point(n, n, 3e-6 * n**2) for n in (1, 10, 100)])
        2.0
    """
    if len({p.n for p in points}) < 2:
        return math.nan
    xs, ys = [math.log(p.n) for p in points], [math.log(p.seconds) for p in points]
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    above = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True))
    return round(above / sum((x - x_mean) ** 2 for x in xs), 12)


def segments(points: Sequence[Point], cuts: Sequence[int]) -> list[Segment]:
    """The exponents between the cuts; a point on a cut belongs to both sides. What has less than two sizes is left out.

    Example:
        >>> flat_then_linear = [Point(n, n, max(8, n) * 1e-6) for n in (1, 2, 8, 16, 64)]
        >>> segments(flat_then_linear, (8,))
        [Segment(first=1, last=8, exponent=0.0), Segment(first=8, last=64, exponent=1.0)]
    """
    found = []
    for low, high in itertools.pairwise([-math.inf, *cuts, math.inf]):
        inside = [p for p in points if low <= p.n <= high]
        slope = exponent(inside)
        if not math.isnan(slope):
            found.append(Segment(inside[0].n, inside[-1].n, slope))
    return found


def rises(points: Sequence[Point]) -> list[float]:
    """For each point after the first, the cost of a unit of work over that of the point before it."""
    return [b.cost / a.cost for a, b in itertools.pairwise(points)]


def cliffs(points: Sequence[Point], factor: float = CLIFF) -> list[Cliff]:
    """Where the cost of a unit of work rises by more than a factor for each doubling of the size, or from one size to the next.

    Example:
        >>> cliffs([Point(1, 1, 1.0), Point(2, 2, 2.5), Point(4, 4, 10.0), Point(8, 8, 11.0)])
        [Cliff(before=2, after=4, factor=2.0)]
    """
    pairs = zip(itertools.pairwise(points), rises(points), strict=True)
    return [Cliff(a.n, b.n, rise) for (a, b), rise in pairs if rise > allowed(a.n, b.n, factor)]


def allowed(before: int, after: int, factor: float = CLIFF) -> float:
    """By how much the cost of a unit may rise between two sizes.

    Example:
        >>> allowed(10, 15), allowed(10, 20), allowed(10, 40)
        (1.5, 1.5, 2.25)
    """
    return float(factor ** max(1.0, math.log2(after / before)))


def line(points: Sequence[Point]) -> Line | None:
    """The straight line through the points with the least squared *relative* distances; None for less than two sizes.

    Absolute distances would let the largest size alone decide. Neither part is negative: time that falls gives a constant.

    Example:
        >>> found = line([Point(n, n, 5.0 + 2.0 * n) for n in (1, 10, 100, 1000)])
        >>> round(found.fixed, 9), round(found.each, 9), round(found.off, 9)
        (5.0, 2.0, 0.0)
    """
    if len({p.units for p in points}) < 2:
        return None
    # Divided by its time, each point asks for a × (1 / t) + b × (u / t) = 1.
    p, q = [1 / x.seconds for x in points], [x.units / x.seconds for x in points]
    pp, pq, qq = sum(a * a for a in p), sum(a * b for a, b in zip(p, q, strict=True)), sum(b * b for b in q)
    determinant = pp * qq - pq * pq
    fixed, each = (sum(p) * qq - sum(q) * pq) / determinant, (pp * sum(q) - pq * sum(p)) / determinant
    if fixed < 0:
        fixed, each = 0.0, sum(q) / qq
    elif each < 0:
        fixed, each = sum(p) / pp, 0.0
    return Line(fixed, each, max(abs(fixed + each * x.units - x.seconds) / x.seconds for x in points))


def is_as_expected(found: float, expected: float) -> bool:
    """Whether an exponent is at most the expected one, but for `SLACK`. NaN is not.

    Example:
        >>> is_as_expected(1.1, 1.0), is_as_expected(0.2, 1.0), is_as_expected(1.9, 1.0)
        (True, True, False)
    """
    return found <= expected + SLACK
