"""The driver: `python -m tests.fuzz --count 10000 --seed 0 --jobs 2`.

Program k of seed s is the program of seed s · 1,000,000 + k, whatever the number of processes: `--only` runs one alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

import fdl

from .programs import seeded
from .report import program_text
from .shrink import shrunken
from .workers import THREADS, run_many, run_seed, worker

MILLION = 1_000_000


def main() -> int:
    """0 where every program held, else 1."""
    options = parser().parse_args()
    if options.worker:
        worker()
        return 0
    if options.only is not None:
        return only(options)
    started = time.monotonic()
    first = options.seed * MILLION + options.skip

    def seeds() -> Iterator[int]:
        for k in range(options.count):
            if options.seconds and time.monotonic() - started > options.seconds:
                return
            yield first + k

    shown = [started]

    def progress(programs: int, failures: int) -> None:
        now = time.monotonic()
        if now - shown[0] > 10:
            shown[0] = now
            rate = programs / (now - started)
            print(f"{programs} programs, {failures} failures, {rate:.1f} a second", file=sys.stderr, flush=True)

    coverage, failures = run_many(
        seeds(), options.jobs, lambda text: print(text, "\n", flush=True), shrink=not options.no_shrink, progress=progress
    )
    seconds = time.monotonic() - started
    print(coverage.report())
    print(f"time            {seconds:.0f} s with {options.jobs} processes: {coverage.programs / seconds:.1f} programs a second")
    print(f"failures        {len(failures)}" + "".join(f"\n  seed {s}: {kind}" for s, kind in sorted(failures)))
    return 1 if failures else 0


def only(options: argparse.Namespace) -> int:
    """Runs one program in this process."""
    fdl.set_num_threads(THREADS)
    case = seeded(options.only)
    if options.show or options.crash:
        print("\n".join(program_text(case.program, case.inputs)), "\nunder", *(map(str, case.steps)), flush=True)
    if options.crash:
        small = shrunken(case, "crash")
        print("\n".join(program_text(small.program, small.inputs)), "\nunder", *(map(str, small.steps)), flush=True)
        return 1
    coverage, kind, text = run_seed(options.only, not options.no_shrink)
    print(text or coverage.report())
    return 1 if kind else 0


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Runs random programs and checks what must hold of each."
    )
    p.add_argument("--count", type=int, default=1000, help="how many programs (default 1000)")
    p.add_argument("--seed", type=int, default=0, help="which million of programs (default 0)")
    p.add_argument("--skip", type=int, default=0, help="how many of them to leave out at the beginning")
    p.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    p.add_argument("--seconds", type=float, default=0, help="begin no program after this time")
    p.add_argument("--no-shrink", action="store_true", help="print failing programs as they were generated")
    p.add_argument("--only", type=int, help="run the program of this seed, in this process")
    p.add_argument("--show", action="store_true", help="with --only: print the program first")
    p.add_argument("--crash", action="store_true", help="with --only: make a program smaller that ends the process")
    p.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return p


if __name__ == "__main__":
    sys.exit(main())
