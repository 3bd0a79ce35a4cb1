"""`python -m benchmarks.growth [--quick] [--curve PATTERN] [--threads N] [--out FILE]`: measures the curves and writes docs/growth.md."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import machine, report
from ..driver import Crew
from . import page, picture
from .curves import CURVES, LIBRARIES, Curve
from .run import Found, again, measure

PAGE = Path(__file__).resolve().parents[2] / "docs" / "growth.md"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="benchmarks.growth", description="how costs grow with size, fdl beside JAX")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller sizes, two short rounds")
    parser.add_argument(
        "--curve",
        default="",
        metavar="PATTERN",
        help="only curves with this in their name (| between several); the page is printed",
    )
    parser.add_argument(
        "--threads", type=int, default=machine.cores(), metavar="N", help="threads of every library (all cores)"
    )
    parser.add_argument("--largest", type=int, metavar="N", help="leave out larger sizes")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help=f"the page (docs/{PAGE.name}), its picture beside it; - prints it"
    )
    options = parser.parse_args(arguments)
    if not 1 <= options.threads <= machine.cores():
        parser.error(f"--threads {options.threads}: expected 1 to {machine.cores()}, the cores that this process may run on")
    if options.out is None:
        # Part of the curves is no page to keep.
        options.out = Path("-") if options.curve or options.largest else PAGE
    options.seconds, options.rounds, options.sweeps = (0.02, 2, 1) if options.quick else (0.1, 2, 4)
    return options


def chosen(pattern: str) -> list[Curve]:
    """The curves with a part of the pattern in their name."""
    return [c for c in CURVES if any(re.search(re.escape(part), c.name, re.IGNORECASE) for part in pattern.split("|"))]


def sizes(curve: Curve, quick: bool, largest: int | None) -> list[int]:
    """The sizes to measure."""
    return [n for n in (curve.quick if quick else curve.sizes) if largest is None or n <= largest]


def write(path: Path, head: str, found: Sequence[Found]) -> None:
    """The page, and its picture where Matplotlib is installed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image: Path | None = path.with_suffix(".svg")
    try:
        picture.draw(found, path.with_suffix(".svg"))
    except ImportError as error:
        image = None
        _say(f"no picture: {error}")
    path.write_text(page.page(head, found, image.name if image else None), encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Measures. Returns: 1 when a library failed, or its results were wrong; 2 for a pattern that fits nothing."""
    options = parse(arguments)
    curves = chosen(options.curve)
    if not curves:
        print(
            f"No curve is named like {options.curve!r}: expected a part of one of\n" + "\n".join(c.name for c in CURVES),
            file=sys.stderr,
        )
        return 2
    # Compilations are measured, and a cache on disk would answer them. That a function is made anew each time is the point.
    os.environ |= {"FDL_CACHE_DIR": "", "FDL_LOG_COMPILES": "never"}
    found: list[Found] = []
    with Crew(options.threads, "benchmarks.growth.curves", libraries=LIBRARIES, report=_say) as crew:
        command = " ".join(["python -m benchmarks.growth", *(sys.argv[1:] if arguments is None else arguments)])
        head = report.heading(machine.describe(options.threads), crew.versions, crew.rates(), command)
        for curve in curves:
            wanted = sizes(curve, options.quick, options.largest)
            found.append(measure(curve, crew, sizes=wanted, seconds=options.seconds, rounds=options.rounds, say=_say))
        for k in range(1, options.sweeps):
            for one in found:
                again(one, crew, seconds=options.seconds, rounds=options.rounds)
            _say(f"sweep {k + 1} of {options.sweeps}")
    if options.out == Path("-"):
        print(page.page(head, found), end="")
    else:
        write(options.out, head, found)
        _say(f"written: {options.out}")
    for one in found:
        for note in one.notes:
            _say(f"{one.curve.name}: {note}")
    return int(any(one.failed for one in found))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
