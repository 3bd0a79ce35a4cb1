"""`python -m benchmarks.scaling [--case PATTERN] [--quick] [--out FILE]`: fdl on one thread, two, four, .. up to the cores.

A worker process for each number of threads; they take turns.  Beside each row stands what the machine itself gains: the same
multiply-adds and bytes by loops in LLVM IR, on as many threads.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from . import machine, report
from .cases import CASES
from .driver import Crew
from .record import Case, matching
from .timing import Timing

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scaling.md"
EXPLANATION = """\
fdl's rows of [benchmarks.md](benchmarks.md) on more and more threads: a worker process for each number of them, one working at a time, in
rounds that alternate. Figures are minimum / median in µs. *Gain* is the time on one thread over the time on so many, by the minimum and
by the median; *limit's gain* is that of the row's limit: what its multiply-adds at the peak and one pass over its bytes gain on this
machine. Rows of a few microseconds run on one thread, whatever there is.
"""


@dataclass(frozen=True, slots=True)
class Scaled:
    """A case's timings, and those of its limit, by the number of threads."""

    name: str
    ours: Mapping[int, Timing]
    limit: Mapping[int, Timing]


def counts(cores: int) -> list[int]:
    """The numbers of threads: powers of two, and all cores.

    Example:
        >>> counts(1), counts(2), counts(6)
        ([1], [1, 2], [1, 2, 4, 6])
    """
    return sorted({2**k for k in range(cores.bit_length()) if 2**k <= cores} | {cores})


def gain(timings: Mapping[int, Timing], threads: int) -> str:
    """How many times as fast as one thread, by the minimum and by the median.

    Example:
        >>> gain({1: Timing(4.0, 6.0), 2: Timing(2.0, 4.0)}, 2), gain({1: Timing(1.0, 1.0)}, 2)
        ('2.00 / 1.50', '–')
    """
    if 1 not in timings or threads not in timings:
        return "–"
    one, many = timings[1], timings[threads]
    return f"{one.minimum / many.minimum:.2f} / {one.median / many.median:.2f}"


def table(found: Sequence[Scaled], threads: Sequence[int]) -> str:
    """A row for each case."""
    several = [n for n in threads if n > 1]
    head = ["case", *(f"{n} thread{'s' if n > 1 else ''}" for n in threads), *(f"gain on {n}" for n in several)]
    head += [f"limit's gain on {n}" for n in several]
    rows = [
        [s.name, *(report.pair(s.ours.get(n)) for n in threads), *(gain(s.ours, n) for n in several), *(gain(s.limit, n) for n in several)]
        for s in found
    ]
    return "\n".join(report.line(cells) for cells in (head, ["---"] * len(head), *rows))


def page(head: str, found: Sequence[Scaled], threads: Sequence[int]) -> str:
    """The whole page."""
    return "\n\n".join(["# Scaling", EXPLANATION.strip(), head, table(found, threads)]) + "\n"


def measure(case: Case, crews: Mapping[int, Crew], seconds: float, rounds: int) -> Scaled:
    """A case on every crew in turn, round by round."""
    ours: dict[int, list[Timing]] = {n: [] for n in crews}
    limit: dict[int, list[Timing]] = {n: [] for n in crews}
    for _ in range(rounds):
        for n, crew in crews.items():
            row = crew.measure(case, seconds, 1, among=("fdl",))
            for name, timings in (("fdl", ours), ("limit", limit)):
                if name in row.timings:
                    timings[n].append(row.timings[name])
    return Scaled(case.name, _joined(ours), _joined(limit))


def _joined(timings: Mapping[int, Sequence[Timing]]) -> dict[int, Timing]:
    """The least minimum and the median of the medians."""
    return {
        n: Timing(min(t.minimum for t in found), Timing.of([t.median for t in found]).median) for n, found in timings.items() if found
    }


def main(arguments: list[str] | None = None) -> int:
    """Measures. Returns: 1 when a case has no figure; 2 for a pattern that fits nothing."""
    parser = argparse.ArgumentParser(prog="benchmarks.scaling", description="fdl on one thread, two, four, .. up to the cores")
    parser.add_argument("--case", default="", metavar="PATTERN", help="only cases with this in their name; the page is printed")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"the page (docs/{PAGE.name}); - prints it")
    options = parser.parse_args(arguments)
    cases = [c for c in matching(CASES, options.case) if not c.fresh and c.unit != "MB"]
    if not cases:
        print(f"No case that can be timed is named like {options.case!r}.", file=sys.stderr)
        return 2
    out = options.out or (Path("-") if options.case else PAGE)
    seconds, rounds = (0.02, 1) if options.quick else (0.1, 3)
    threads = counts(machine.cores())
    found = []
    with ExitStack() as stack:
        crews = {n: stack.enter_context(Crew(n, libraries=("fdl",), report=_say)) for n in threads}
        last = crews[threads[-1]]
        command = " ".join(["python -m benchmarks.scaling", *(sys.argv[1:] if arguments is None else arguments)])
        head = report.heading(machine.describe(threads[-1]), last.versions, last.rates(), command)
        for case in cases:
            found.append(measure(case, crews, seconds, rounds))
            _say(case.name)
    text = page(head, found, threads)
    if out == Path("-"):
        print(text, end="")
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
        _say(f"written: {out}")
    return int(any(len(s.ours) < len(threads) for s in found))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
