"""The page: a summary of all curves, then the table of each."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..record import TITLES
from ..report import line as table_line
from ..report import pair
from .curves import LIBRARIES
from .fits import CLIFF, SLACK, cliffs, is_as_expected, line, rises, segments
from .run import Found

EXPLANATION = f"""\
One computation at many sizes, fdl and JAX each in a process of its own, one working at a time, in alternating rounds; results are
compared before anything is timed. All curves are gone through several times, one after the other, so that a machine that is slow
for a while leaves no mark on the sizes of that while. Figures are minimum / median in µs; exponents, costs and cliffs are of the minima.

The *exponent* of a range of sizes is the slope of log time over log size, by least squares; at the largest sizes it may be the
expected one plus {SLACK}. A *cliff* is a place where a unit of work costs more than {CLIFF} times what it costs at the size before (where
sizes lie further apart, that for each doubling); the factor stands in the column *change*. The straight line is the one with the least
squared relative distances. Nothing comes from a cache on disk, and each compilation is of a program that has not been
compiled before.
"""

SUMMARY = (
    "curve",
    "sizes",
    "grows with",
    *(f"{TITLES[x]}'s exponent" for x in LIBRARIES),
    *(f"{TITLES[x]}'s cliffs" for x in LIBRARIES),
)


def cost(seconds: float) -> str:
    """A cost with a unit that leaves it between 1 and 1,000.

    Example:
        >>> cost(2.5e-9), cost(4e-13), cost(0.12), cost(12.0), cost(0.0)
        ('2.50 ns', '0.400 ps', '120 ms', '12.0 s', '0')
    """
    if not seconds:
        return "0"
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")):
        if seconds >= scale:
            return f"{seconds / scale:#.3g} {unit}".replace(". ", " ")
    return f"{seconds / 1e-12:#.3g} ps".replace(". ", " ")


def power(found: Found) -> str:
    """What the curve should grow with: n, or n^3."""
    p = found.curve.power
    return found.curve.axis if p == 1 else f"{found.curve.axis}^{p:g}"


def last_exponent(found: Found, library: str) -> float:
    """Past the last cut, or of the largest sizes there are; NaN without two sizes."""
    parts = segments(found.points.get(library, ()), found.curve.cuts)
    return parts[-1].exponent if parts else math.nan


def summary_cells(found: Found) -> list[str]:
    """A curve's line in the summary."""
    sizes = found.sizes()
    exponents, drops = [], []
    for library in LIBRARIES:
        slope = last_exponent(found, library)
        good = is_as_expected(slope, found.curve.power)
        exponents.append("–" if math.isnan(slope) else f"{slope:.2f}" if good else f"**{slope:.2f}**")
        points = found.points.get(library, ())
        count = len(cliffs(points))
        drops.append("–" if len(points) < 2 else f"**{count}**" if count else "none")
    return [found.curve.name, f"{sizes[0]:,} to {sizes[-1]:,}" if sizes else "–", power(found), *exponents, *drops]


def summary(found: Sequence[Found]) -> str:
    """How many curves of fdl grow as they should, and how many have no cliff."""
    timed = [f for f in found if len(f.points.get("fdl", ())) > 1]
    grown = sum(is_as_expected(last_exponent(f, "fdl"), f.curve.power) for f in timed)
    smooth = sum(not cliffs(f.points["fdl"]) for f in timed)
    return f"Of {len(timed)} curves of fdl {grown} grow as they should at their largest sizes, and {smooth} have no cliff."


def rows(found: Found) -> list[list[str]]:
    """The table of a curve, its head first."""
    curve, peers = found.curve, [x for x in LIBRARIES if x in found.points]
    head = [curve.axis, *(TITLES[x] for x in peers)]
    if curve.work is None:
        head.append(f"{curve.unit}s")
    if "jax" in peers:
        head.append("fdl / JAX")
    for x in peers:
        head += [f"{TITLES[x]}, a{'n' if curve.unit[0] in 'aeiou' else ''} {curve.unit}", "change"]
    points = {x: {p.n: p for p in found.points[x]} for x in peers}
    changes = {x: dict(zip([p.n for p in found.points[x][1:]], rises(found.points[x]), strict=True)) for x in peers}
    steep = {x: {c.after for c in cliffs(found.points[x])} for x in peers}
    table = [head]
    for n in found.sizes():
        cells = [f"{n:,}", *(pair(found.timings.get((x, n))) for x in peers)]
        if curve.work is None:
            cells.append(next(f"{points[x][n].units:,.0f}" for x in peers if n in points[x]))
        if "jax" in peers:
            ours, other = found.timings.get(("fdl", n)), found.timings.get(("jax", n))
            cells.append(f"{ours.minimum / other.minimum:.2f} / {ours.median / other.median:.2f}" if ours and other else "–")
        for x in peers:
            change = changes[x].get(n)
            text = "–" if change is None else f"**×{change:.2f}**" if n in steep[x] else f"×{change:.2f}"
            cells += [cost(points[x][n].cost) if n in points[x] else "–", text]
        table.append(cells)
    return table


def said(found: Found) -> list[str]:
    """What stands under the table: exponents by range, straight lines, cliffs, notes."""
    lines = []
    for library in LIBRARIES:
        points = found.points.get(library, ())
        if len(points) < 2:
            continue
        title, unit = TITLES[library], found.curve.unit
        parts = ", ".join(f"{s.exponent:.2f} ({s.first:,} to {s.last:,})" for s in segments(points, found.curve.cuts))
        text = f"{title}: exponent {parts}"
        fit = line(points) if found.curve.power == 1 else None
        if fit is not None:
            a = "an" if unit[0] in "aeiou" else "a"
            text += f"; {cost(fit.fixed)} + {cost(fit.each)} {a} {unit}, at most {100 * fit.off:.0f} % off"
        steep = ", ".join(f"{c.before:,} → {c.after:,} (×{c.factor:.2f})" for c in cliffs(points))
        lines.append(f"- {text}; {f'cliffs at {steep}' if steep else 'no cliff'}.")
    return [*lines, *(f"- {note}." for note in found.notes)]


def section(found: Found) -> str:
    """A curve's part of the page."""
    head, *body = rows(found)
    table = "\n".join([table_line(head), table_line(["---"] * len(head)), *map(table_line, body)])
    return "\n\n".join([f"## {found.curve.name}", *([table] if body else []), "\n".join(said(found))]).rstrip()


def page(head: str, found: Sequence[Found], picture: str | None = None) -> str:
    """The whole page."""
    table = [SUMMARY, ["---"] * len(SUMMARY), *map(summary_cells, found)]
    parts = [
        "# Growth",
        EXPLANATION.strip(),
        head,
        f"**{summary(found)}**",
        *([f"![Time over size, on logarithmic axes]({picture})"] if picture else []),
        "\n".join(map(table_line, table)),
        *map(section, found),
    ]
    return "\n\n".join(parts) + "\n"
