"""The parent's side: one process for each library, of which one works at a time, and rounds in turn.

A library's threads may spin for a while after a call, and would take a core from whoever comes next.  So each worker has to be idle
before the next one gets a request, and what the idle ones use all the same is measured and reported.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from . import fresh, machine
from .record import LIBRARIES, TITLES, Absent, Case, difference
from .timing import Timing
from .worker import FailedError

Values = list[np.ndarray[Any, Any]]


class Candidate(Protocol):
    """Who can be timed: a worker, or programs in processes of their own."""

    name: str
    pid: int

    def build(self, case: Case) -> None:
        """Gets ready. Raises: Absent, FailedError."""

    def values(self) -> Values:
        """What libraries must agree on; nothing where there is nothing to compare."""

    def samples(self, seconds: float) -> list[float]:
        """Samples of about so many seconds in all."""


class Worker:
    """A process that has imported one library."""

    def __init__(self, name: str, threads: int, cases: str, torch_compile: bool = False) -> None:
        self.name, self._cases = name, cases
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", name, str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=machine.environment(threads, "try" if torch_compile else "no"),
        )  # fmt: skip
        self.pid = self._process.pid
        try:
            self.versions: dict[str, str] = self._reply()
        except BaseException:
            self.close()
            raise

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def ask(self, *request: Any) -> Any:
        """The reply to a request, once the worker is idle again. Raises: Absent, FailedError."""
        assert self._process.stdin is not None
        try:
            pickle.dump(request, self._process.stdin, protocol=5)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise FailedError(f"{self.name}'s process ended with status {self._process.wait()}") from None
        found = self._reply()
        machine.settle(self.pid)
        return found

    def _reply(self) -> Any:
        assert self._process.stdout is not None
        try:
            kind, value = pickle.load(self._process.stdout)
        except EOFError:
            raise FailedError(f"{self.name}'s process ended with status {self._process.wait()}") from None
        if kind == "absent":
            raise Absent(value)
        if kind == "failed":
            raise FailedError(f"{self.name}: {value}")
        return value

    def build(self, case: Case) -> None:
        self.ask("build", self._cases, case.name)

    def values(self) -> Values:
        found: Values = self.ask("values")
        return found

    def samples(self, seconds: float) -> list[float]:
        found: list[float] = self.ask("samples", seconds)
        return found

    def close(self) -> None:
        """Ends the process: the end of its input is its sign."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class FreshProcesses:
    """Each sample is a process of its own, which runs a program of `fresh.py`."""

    def __init__(self, name: str, threads: int, cases: str, torch_compile: bool = False) -> None:
        self.name, self.pid = name, os.getpid()
        self._how = (name, cases, threads, torch_compile)
        self._run: fresh.Run | None = None

    def build(self, case: Case) -> None:
        self.close()
        assert case.fresh is not None
        if self.name not in case.make:
            raise Absent("not in the library")
        self._run = fresh.Run(case.fresh, *self._how)

    def values(self) -> Values:
        return []

    def samples(self, seconds: float) -> list[float]:
        assert self._run is not None
        return [self._run.sample()]

    def close(self) -> None:
        """Removes what is left on disk."""
        if self._run is not None:
            self._run.close()
            self._run = None


@dataclass(slots=True)
class Row:
    """What a case gave.

    Attributes:
        timings: by library, and "limit".
        notes: why a library has no figure.
        error: the largest difference from fdl's values, over the largest of them; None where nothing was compared.
        disturbed: the CPU time that each worker used while it was not its turn, over the time of the rounds.
    """

    case: Case
    timings: dict[str, Timing] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    error: float | None = None
    disturbed: dict[str, float] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether a library that has the operation gave no figure, or a wrong one."""
        return any(why.startswith("failed") for why in self.notes.values())


def _built(row: Row, candidates: Iterable[Candidate]) -> list[Candidate]:
    """Who is ready, and agrees with fdl; all others get a note. Nobody is, where fdl isn't."""
    ready: list[Candidate] = []
    ours: Values | None = None
    for candidate in sorted(candidates, key=lambda c: c.name != "fdl"):
        try:
            candidate.build(row.case)
            values = candidate.values()
            if candidate.name == "fdl":
                ours = values
            elif values:
                _compare(row, candidate.name, values, ours or [])
            ready.append(candidate)
        except Absent as why:
            row.notes[candidate.name] = str(why)
        except FailedError as error:
            row.notes[candidate.name] = f"failed: {error}"
        if ours is None:
            return []
    return ready


def _compare(row: Row, name: str, values: Values, ours: Values) -> None:
    """Notes the difference between a library's values and fdl's. Raises: FailedError past the case's tolerance."""
    error = difference(values, ours) if len(values) == len(ours) else float("inf")
    if not error <= row.case.tolerance:
        raise FailedError(
            f"{TITLES[name]}'s values and fdl's differ by {error:.1e} of the largest; at most {row.case.tolerance:.0e} is tolerated"
        )
    row.error = max(row.error or 0.0, error)


def measure(case: Case, candidates: Sequence[Candidate], seconds: float, rounds: int) -> Row:
    """The row of a case: everyone builds, results are compared, and then come rounds, each begun by the next in line."""
    row = Row(case)
    ready = _built(row, candidates)
    found: dict[str, list[float]] = {c.name: [] for c in ready}
    idle, busy = dict.fromkeys(found, 0.0), 0.0
    for k in range(rounds if ready else 0):
        first = k % len(ready)
        for candidate in ready[first:] + ready[:first]:
            if candidate.name not in found:
                continue
            others = {c.name: c.pid for c in ready if c.pid != candidate.pid}
            before, start = {name: machine.cpu_seconds(pid) for name, pid in others.items()}, time.perf_counter()
            try:
                found[candidate.name] += candidate.samples(seconds)
            except FailedError as error:
                row.notes[candidate.name] = f"failed: {error}"
                del found[candidate.name]
            busy += time.perf_counter() - start
            for name, pid in others.items():
                idle[name] += (machine.cpu_seconds(pid) or 0.0) - (before[name] or 0.0)
    row.disturbed = {name: used / busy for name, used in idle.items() if used}
    row.timings = {name: Timing.of(samples) for name, samples in found.items()}
    return row


class Crew:
    """The workers of a run. One that died is started again at the next case."""

    def __init__(
        self, threads: int, cases: str = "benchmarks.cases", torch_compile: bool = False,
        libraries: Sequence[str] = LIBRARIES, report: Callable[[str], None] = print,
    ) -> None:  # fmt: skip
        self._how = (threads, cases, torch_compile)
        self._workers: dict[str, Worker] = {}
        self._programs: dict[str, FreshProcesses] = {}
        self.versions: dict[str, str] = {}
        try:
            for name in (*libraries, "limit"):
                try:
                    self._workers[name] = worker = Worker(name, *self._how)
                except Absent as why:
                    report(f"{TITLES[name]} is skipped: {why}")
                    continue
                self.versions |= worker.versions
                if name != "limit":
                    self._programs[name] = FreshProcesses(name, *self._how)
        except BaseException:
            self.close()
            raise

    def rates(self) -> dict[str, float]:
        """The FMA peak and the bandwidth of a copy, in GFLOP/s and GB/s."""
        found: dict[str, float] = self._workers["limit"].ask("rates")
        return found

    def measure(self, case: Case, seconds: float, rounds: int, among: Sequence[str] | None = None) -> Row:
        """A case's row; where `among` is given, of these libraries only."""
        if case.fresh:
            return measure(case, [p for name, p in self._programs.items() if among is None or name in among], seconds, rounds)
        for name, worker in self._workers.items():
            if not worker.is_alive:
                worker.close()
                self._workers[name] = Worker(name, *self._how)
        wanted = self._workers if among is None else {*among, "limit"}
        chosen = [w for name, w in self._workers.items() if name in wanted and (name != "limit" or case.work)]
        return measure(case, chosen, seconds, rounds)

    def close(self) -> None:
        """Ends every process."""
        for worker in self._workers.values():
            worker.close()
        for programs in self._programs.values():
            programs.close()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
