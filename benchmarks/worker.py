"""A library's process: `python -m benchmarks.worker LIBRARY THREADS`.

Reads pickled requests from standard input, and writes a pickled reply `(kind, value)` to each; while it has none it sleeps in a read.
Requests:

    ("build", cases, name)   makes the bench of that case: ("done", None), or ("absent", why)
    ("values",)              ("done", the list of ndarrays that libraries must agree on)
    ("samples", seconds)     ("done", seconds a call, a list)
    ("rates",)               ("done", the machine's rates), of the worker of limits
    ("quit",)                no reply

`cases` is the name of a module with `CASES`.  What goes wrong is replied as ("failed", traceback).  The first reply comes without a
request: ("done", versions), or ("absent", why) where the library is not installed.
"""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import sys
import traceback
from typing import Any, BinaryIO

from . import machine
from .record import Absent, Bench, find


class FailedError(RuntimeError):
    """A worker failed at a request, or its process ended."""


def load(library: str, threads: int) -> Any:
    """The kit of a library."""
    kit = importlib.import_module(f"benchmarks.kits.{library}_kit")
    kit.set_threads(threads)
    return kit


def build(kit: Any, library: str, cases: str, name: str) -> Bench:
    """The bench of a case. Raises: Absent where the library has none."""
    case = find(importlib.import_module(cases).CASES, name)
    if library == "limit":
        found: Bench = kit.limit(case.work)
        return found
    if library not in case.make:
        raise Absent("not in the library")
    return case.make[library](kit)


def serve(library: str, threads: int, requests: BinaryIO, replies: BinaryIO) -> None:
    """Answers requests until "quit", or the end of the stream."""

    def reply(kind: str, value: Any = None) -> None:
        pickle.dump((kind, value), replies, protocol=5)
        replies.flush()

    try:
        kit = load(library, threads)
        reply("done", kit.versions())
    except ImportError as error:
        reply("absent", f"{type(error).__name__}: {error}")
        return
    bench: Bench | None = None
    while True:
        try:
            request = pickle.load(requests)
        except EOFError:
            return
        try:
            if request[0] == "quit":
                return
            if request[0] == "build":
                bench = None
                gc.collect()
                bench = build(kit, library, *request[1:])
                reply("done")
                continue
            if request[0] == "rates":
                reply("done", kit.rates())
                continue
            assert bench is not None, "nothing is built"
            if request[0] == "values":
                reply("done", [] if bench.sampler else bench.values())
            elif request[0] == "samples":
                reply("done", bench.samples(request[1]))
            else:
                raise ValueError(f"unknown request {request!r}")
        except Absent as error:
            reply("absent", str(error))
        except Exception:
            reply("failed", traceback.format_exc())


def main() -> None:
    """Serves the parent. What libraries print goes to standard error: the replies have standard output to themselves."""
    library, threads = sys.argv[1], int(sys.argv[2])
    machine.confine(threads)
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(library, threads, sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()
