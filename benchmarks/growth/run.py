"""One curve, measured from its smallest size on.

What a point will take is foretold by the points before it. A library's curve ends where a call would take too long, and long calls get
fewer rounds: a quadratic loop costs seconds, never hours.

All curves are gone through several times, in *sweeps*: a machine that is slower for a while would otherwise leave a cliff at the sizes
that were measured then.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..driver import Crew, Row
from ..record import TITLES
from ..timing import Timing
from .curves import LIBRARIES, Curve
from .fits import Point, exponent

LONGEST = 10.0
"""A call that would take more seconds is not made."""


@dataclass(slots=True)
class Found:
    """What a curve gave.

    Attributes:
        points: by library; their seconds are the minima.
        timings: by (library, size): the least minimum of the sweeps, and the median of their medians.
        notes: what has no figure, and why.
        failed: whether a library failed, or its results were wrong.
    """

    curve: Curve
    points: dict[str, list[Point]] = field(default_factory=dict)
    timings: dict[tuple[str, int], Timing] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failed: bool = False
    swept: dict[tuple[str, int], list[Timing]] = field(default_factory=dict)

    def sizes(self) -> list[int]:
        """Where there is a figure."""
        return sorted({n for _, n in self.timings})

    def add(self, n: int, units: float, row: Row) -> None:
        """Takes over a row."""
        for name in LIBRARIES:
            if name in row.timings:
                every = self.swept.setdefault((name, n), [])
                every.append(row.timings[name])
                least = min(t.minimum for t in every)
                self.timings[name, n] = Timing(least, statistics.median(t.median for t in every))
                points = [p for p in self.points.get(name, ()) if p.n != n]
                self.points[name] = sorted([*points, Point(n, units, least)], key=lambda p: p.n)
            elif row.notes.get(name, "").startswith("failed"):
                self.failed = True
                text = row.notes[name].strip().splitlines()
                self.notes.append(f"{TITLES[name]} at {n}: {text[0]} {text[-1] if len(text) > 1 else ''}".rstrip())


def foretold(points: Sequence[Point], n: int) -> float:
    """The seconds to expect at a size: on with the growth of the last two points, and at least in proportion; 0 without points.

    Example:
        >>> foretold([Point(10, 10, 1.0), Point(20, 20, 4.0)], 40)
        16.0
        >>> foretold([Point(10, 10, 1.0), Point(20, 20, 1.0)], 40)
        2.0
    """
    if not points:
        return 0.0
    slope = exponent(points[-2:])
    return points[-1].seconds * (n / points[-1].n) ** max(1.0, 0.0 if math.isnan(slope) else slope)


def rounds_for(seconds: float, rounds: int) -> int:
    """How many rounds a call of so many seconds gets: about one second a library in all, and at least one round."""
    return max(1, min(rounds, int(1.0 / seconds))) if seconds else rounds


def measure(
    curve: Curve,
    crew: Crew,
    *,
    sizes: Sequence[int],
    seconds: float,
    rounds: int,
    say: Callable[[str], None] = lambda _: None,
    longest: float = LONGEST,
) -> Found:
    """The curve at those sizes."""
    found, going = Found(curve), list(LIBRARIES)
    for n in sizes:
        expected = {name: foretold(found.points.get(name, ()), n) for name in going}
        for name, s in expected.items():
            if s > longest:
                found.notes.append(f"{TITLES[name]} ends before {n}: a call would take about {s:.0f} s")
                going.remove(name)
        if "fdl" not in going:
            break
        row = crew.measure(
            curve.case(n), seconds, rounds_for(max(expected[name] for name in going), rounds), among=tuple(going)
        )
        units = _units(curve, crew, n)
        if units is None:
            found.failed = True
            found.notes.append(f"fdl at {n}: the work could not be counted")
            continue
        found.add(n, units, row)
        say(f"{curve.name}: {n}")
    return found


def again(found: Found, crew: Crew, *, seconds: float, rounds: int) -> None:
    """Measures each point that there is once more, and adds to what is known of it."""
    known = {(name, p.n): p for name, points in found.points.items() for p in points}
    for n in found.sizes():
        mine = {name: known[name, n] for name in LIBRARIES if (name, n) in known}
        slowest = max(p.seconds for p in mine.values())
        row = crew.measure(found.curve.case(n), seconds, rounds_for(slowest, rounds), among=tuple(mine))
        found.add(n, next(iter(mine.values())).units, row)


def _units(curve: Curve, crew: Crew, n: int) -> float | None:
    if curve.work is not None:
        return curve.work(n)
    counted = crew.measure(curve.counting(n), 0.0, 1, among=("fdl",))
    return counted.timings["fdl"].minimum if "fdl" in counted.timings else None
