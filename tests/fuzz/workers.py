"""Many programs on several processes: what a worker does, and who looks after the workers.

A worker reads seeds, one a line, and answers each with a line of JSON.  One that dies has met a crash, which is told with its seed; one
that does not answer in time is stopped.  Both are replaced, and the run goes on.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fdl

from .checks import check
from .coverage import Coverage, record
from .entries import ENTRIES
from .failure import Failure
from .programs import Case, seeded
from .report import failure_text
from .shrink import SECONDS, shrunken

ROOT = Path(__file__).resolve().parents[2]
LIFE = 400
"""Programs that a worker runs before another takes its place: compiled code is kept as long as the process lives."""
PATIENCE = 60.0 + 2 * SECONDS
THREADS = 4
COMMAND = [sys.executable, "-m", "tests.fuzz", "--worker"]
CONTROL = frozenset(name for name, e in ENTRIES.items() if e.control)


def run_seed(seed: int, shrink: bool = True) -> tuple[Coverage, str, str]:
    """The coverage of a seed's program, the kind of its failure and a text that shows it; "" where everything holds."""
    try:
        case = seeded(seed)
    except Exception as error:  # the generator evaluates what it records: a rule of a primitive may be what broke
        return Coverage(programs=1), "generate", f"seed {seed}: generate: {type(error).__name__}: {error}"
    return run_case(case, seed, shrink)


def run_case(case: Case, seed: int, shrink: bool = True) -> tuple[Coverage, str, str]:
    """As `run_seed`, of a case."""
    try:
        found = check(case)
    except Failure as failure:
        small = shrunken(case, failure.kind) if shrink else None
        return record(case, None, CONTROL), failure.kind, failure_text(seed, failure, case, small)
    return record(case, found, CONTROL), "", ""


def worker() -> None:
    """Answers seeds until the input ends."""
    fdl.set_num_threads(THREADS)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a program prints is no answer
    for line in sys.stdin:
        word, seed = line.split()
        coverage, kind, text = run_seed(int(seed), word == "shrink")
        answers.write(json.dumps({"coverage": coverage.as_json(), "kind": kind, "text": text}) + "\n")
        answers.flush()


class _Worker:
    """A worker process."""

    def __init__(self) -> None:
        environment = os.environ | {"FDL_CACHE_DIR": "", "FDL_LOG_COMPILES": "never"}
        self.process = subprocess.Popen(
            COMMAND, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, bufsize=0,
        )  # fmt: skip
        self.served = 0
        self._rest = b""

    def ask(self, seed: int, shrink: bool) -> dict[str, Any]:
        """The answer for a seed. Raises: EOFError where the worker died, TimeoutError where it does not answer."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.served += 1
        try:
            self.process.stdin.write(f"{'shrink' if shrink else 'run'} {seed}\n".encode())
        except BrokenPipeError:
            raise EOFError from None
        end = time.monotonic() + PATIENCE
        while b"\n" not in self._rest:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise TimeoutError
            got = os.read(self.process.stdout.fileno(), 1 << 16)
            if not got:
                raise EOFError
            self._rest += got
        line, _, self._rest = self._rest.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> int:
        """Ends the process; its exit status."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        try:
            status = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process.stdout.close()
        return status


def run_many(
    seeds: Iterator[int], jobs: int, told: Callable[[str], None], *, shrink: bool = True, progress: Callable[[int, int], None]
) -> tuple[Coverage, list[tuple[int, str]]]:
    """The coverage of many programs, and the seeds that failed with the kind of each failure.

    Args:
        told: is given the text of each failure.
        progress: is given the numbers of programs and failures so far.
    """
    total, failures, lock = Coverage(), [], threading.Lock()
    stopping = threading.Event()
    source = iter(seeds)

    def take() -> int | None:
        with lock:
            return None if stopping.is_set() else next(source, None)

    def finish(seed: int, coverage: Coverage | None, kind: str, text: str) -> None:
        with lock:
            total.add(coverage or Coverage(programs=1))
            if kind:
                failures.append((seed, kind))
                told(text)
            progress(total.programs, len(failures))

    def serve() -> None:
        w = _Worker()
        while (seed := take()) is not None:
            if w.served >= LIFE:
                w.end()
                w = _Worker()
            try:
                answer = w.ask(seed, shrink)
                finish(seed, Coverage.of_json(answer["coverage"]), answer["kind"], answer["text"])
            except TimeoutError:
                w.process.kill()
                w.end()
                w = _Worker()
                finish(
                    seed,
                    None,
                    "hang",
                    f"seed {seed}: hang: no answer in {PATIENCE:.0f} s\n  again: python -m tests.fuzz --only {seed}",
                )
            except EOFError:
                status = w.end()
                w = _Worker()
                name = signal.Signals(-status).name if status < 0 else f"exit status {status}"
                finish(seed, None, "crash", f"seed {seed}: crash: {name}\n  again: python -m tests.fuzz --only {seed} --crash")
        w.end()

    threads = [threading.Thread(target=serve) for _ in range(jobs)]
    for t in threads:
        t.start()
    try:
        for t in threads:
            t.join()
    except KeyboardInterrupt:
        stopping.set()
        for t in threads:
            t.join()
    return total, failures
