"""`python -m benchmarks [--case PATTERN] [--quick] [--threads N] [--out FILE]`: runs the cases and prints a table in Markdown."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from . import machine, picture, report
from .cases import CASES
from .driver import Crew, Row
from .record import matching


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="benchmarks", description="fdl against JAX, PyTorch and NumPy, side by side")
    parser.add_argument(
        "--case", default="", metavar="PATTERN", help="only cases with this in their name; * for anything, | between patterns"
    )
    parser.add_argument("--quick", action="store_true", help="three short rounds, and no torch.compile")
    parser.add_argument(
        "--threads", type=int, default=machine.cores(), metavar="N", help="threads of every library (all cores)"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of a case (11; 3 when quick)")
    parser.add_argument("--seconds", type=float, metavar="S", help="seconds of a library in a round (0.2; 0.05 when quick)")
    parser.add_argument(
        "--torch-compile", action=argparse.BooleanOptionalAction,
        help="time the faster of eager PyTorch and torch.compile (where there is a C++ compiler, and not when quick)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the page here, and its picture beside it")
    parser.add_argument("--list", action="store_true", help="only print the cases' names")
    options = parser.parse_args(arguments)
    if not 1 <= options.threads <= machine.cores():
        parser.error(f"--threads {options.threads}: expected 1 to {machine.cores()}, the cores that this process may run on")
    options.rounds = options.rounds or (3 if options.quick else 11)
    options.seconds = options.seconds or (0.05 if options.quick else 0.2)
    if options.torch_compile is None:
        options.torch_compile = not options.quick and any(map(shutil.which, ("c++", "g++", "clang++")))
    return options


def main() -> int:
    """Runs the benchmarks. Returns: 1 when a library failed at a case, or its results were wrong."""
    options = parse()
    cases = matching(CASES, options.case)
    if not cases:
        print(f"No case is named like {options.case!r}; --list names them.", file=sys.stderr)
        return 2
    if options.list:
        print("\n".join(c.name for c in cases))
        return 0
    rows: list[Row] = []
    with Crew(options.threads, torch_compile=options.torch_compile, report=_say) as crew:
        command = " ".join(["python -m benchmarks", *sys.argv[1:]])
        head = report.heading(machine.describe(options.threads), crew.versions, crew.rates(), command)
        print(f"{head}\n\n" + "\n".join(report.HEAD), flush=True)
        try:
            for case in cases:
                row = crew.measure(case, options.seconds, min(options.rounds, 5) if case.fresh else options.rounds)
                rows.append(row)
                print(report.line(report.cells(row)), flush=True)
                for name, why in row.notes.items():
                    if why.startswith("failed"):
                        _say(f"{case.name}: {name}: {why}")
        except KeyboardInterrupt:
            _say("stopped")
    print(f"\n{report.summary(rows)}", *[f"- {n}" for row in rows for n in report.notes(row)], sep="\n")
    if options.out:
        write(options.out, head, rows)
    return int(any(row.failed for row in rows))


def write(path: Path, head: str, rows: list[Row]) -> None:
    """The page, and its picture where Matplotlib is installed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image: Path | None = path.with_suffix(".svg")
    try:
        picture.draw(rows, path.with_suffix(".svg"))
    except ImportError as error:
        image = None
        _say(f"no picture: {error}")
    path.write_text(report.page(head, rows, image.name if image else None), encoding="utf-8")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
