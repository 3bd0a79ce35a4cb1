"""The table of a run in Markdown, and the page around it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

from .driver import Row
from .record import LIBRARIES, TITLES, Case, Work
from .timing import MARGIN, Timing, Verdict, verdict

COLUMNS = ("case", *(TITLES[name] for name in LIBRARIES), "ratio", "aim", "limit", "target", "", "rate", "difference")

EXPLANATION = f"""\
Each library runs in a process of its own, on the same number of threads. One works at a time, in rounds that alternate; the others
sleep. Arguments lie in the library's own arrays, training steps consume their state (donation) where the library has that, and results
are compared before anything is timed: *difference* is the largest one between a library's results and fdl's over the largest result,
and stands before the tolerance.

Figures are minimum / median over all rounds, in µs where no unit is given. *Ratio* is fdl's minimum over the best peer's minimum, and
fdl's median over the best peer's median; below 1 fdl is faster. *Aim* is the ratio aimed at, to the best of the peers that count for the
row. *Limit* is what the machine needs for the row's contractions at its FMA peak plus one pass over the row's bytes, both measured
by loops in LLVM IR in the same rounds. The *target* is max(aim × best peer, {MARGIN} × limit). *Rate* is fdl's, by the median, with
its share of the limit.
"""


def pair(t: Timing | None, unit: str = "µs") -> str:
    """Minimum / median in a unit that is shown when it is not µs.

    Example:
        >>> pair(Timing(1.5e-6, 2e-3)), pair(None), pair(Timing(100.0, 120.0), "MB")
        ('1.50 / 2,000', '–', '100 / 120 MB')
    """
    if t is None:
        return "–"
    scale = 1.0 if unit == "MB" else 1e6
    return f"{digits(t.minimum * scale)} / {digits(t.median * scale)}{' MB' if unit == 'MB' else ''}"


def digits(x: float) -> str:
    """Three digits at least.

    Example:
        >>> digits(0.1234), digits(12.34), digits(12345.6)
        ('0.123', '12.3', '12,346')
    """
    return f"{x:,.3f}" if x < 1 else f"{x:,.2f}" if x < 10 else f"{x:,.1f}" if x < 100 else f"{x:,.0f}"


def judged(row: Row) -> Verdict | None:
    """The row's verdict; None where fdl has no figure."""
    case = row.case
    if "fdl" not in row.timings:
        return None
    return verdict(row.timings, case.peers, case.ratio, row.timings.get("limit"), case.at_most)


def aim(case: Case) -> str:
    """The aim: a ratio, with the peers that count where not all do."""
    if case.ratio is None:
        return "–"
    some = "" if len(case.peers) > 1 else f" of {TITLES[case.peers[0]]}"
    return f"{case.ratio:g}{some}"


def rate(work: Work, ours: Timing, limit: Timing | None) -> str:
    """fdl's rate, with its share of the limit."""
    found = work.rate(ours.median)
    return f"{found} ({100 * limit.median / ours.median:.0f} %)" if found and limit else found or "–"


def cells(row: Row) -> list[str]:
    """The row's cells."""
    case, unit = row.case, row.case.unit
    times = [pair(row.timings.get(name), unit) for name in LIBRARIES]
    v = judged(row)
    if v is None:
        return [case.name, *times, *["–"] * (len(COLUMNS) - 1 - len(times))]
    ratio = "–" if v.ratio is None else f"{v.ratio.minimum:.2f} / {v.ratio.median:.2f}"
    limit = row.timings.get("limit")
    error = "–" if row.error is None else f"{row.error:.0e} ≤ {case.tolerance:.0e}" if row.error else "0"
    target = digits(v.target.median * (1 if unit == "MB" else 1e6)) if case.at_most and v.target else pair(v.target, unit)
    return [case.name, *times, ratio, aim(case), pair(limit, unit), target, v.word, rate(case.work, v.ours, limit), error]


def line(parts: Sequence[str]) -> str:
    """A table's line."""
    return f"| {' | '.join(parts)} |"


HEAD = (line(COLUMNS), line(["---"] * len(COLUMNS)))


def notes(row: Row) -> list[str]:
    """What is to be said under the table: failures, and disturbance."""
    said = [
        f"{row.case.name}: {TITLES[name]} {why.strip().splitlines()[0]}"
        for name, why in row.notes.items()
        if why.startswith("failed")
    ]
    for name, share in row.disturbed.items():
        if share > 0.02:
            said.append(f"{row.case.name}: {TITLES[name]} used {100 * share:.0f} % of a core while it was not its turn")
    return said


def summary(rows: Sequence[Row]) -> str:
    """How many rows met their targets, and in how many a peer is ahead."""
    verdicts = [v for v in map(judged, rows) if v is not None]
    aimed = [v for v in verdicts if v.target is not None]
    met = sum(v.word == "met" for v in aimed)
    slower = sum(v.ratio is not None and v.ratio.median > 1 for v in verdicts)
    return f"{met} of {len(aimed)} rows meet their targets; in {slower} fdl's median is above the best peer's."


def heading(
    machine: str, versions: Mapping[str, str], rates: Mapping[str, float], command: str, day: datetime.date | None = None
) -> str:
    """What was measured where, and how."""
    found = ", ".join(f"{name} {version}" for name, version in versions.items())
    limits = ", ".join(f"{value:,.0f} {unit}" for unit, value in rates.items())
    return (
        f"{day or datetime.date.today()}, {machine}.\n{found}.\n"
        f"Peak of fused multiply-adds, and copying between buffers larger than the caches: {limits}.\nBy `{command}`."
    )  # fmt: skip


def page(head: str, rows: Sequence[Row], picture: str | None = None) -> str:
    """The whole page."""
    said = [f"- {n}" for row in rows for n in notes(row)]
    parts = [
        "# Benchmarks",
        EXPLANATION.strip(),
        head,
        f"**{summary(rows)}**",
        *([f"![Ratio of fdl's median to the best peer's]({picture})"] if picture else []),
        "\n".join([*HEAD, *(line(cells(row)) for row in rows)]),
        *(["\n".join(said)] if said else []),
    ]
    return "\n\n".join(parts) + "\n"
