"""Figures of fresh processes: `python -m benchmarks.fresh CASES NAME LIBRARY THREADS` prints the seconds of a case's first call.

Imports and memory are measured by programs of a few lines that import nothing else.  Each process gets a cache folder on disk of its
own, empty or a copy of what an earlier process left.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import machine, worker
from .record import Absent, Fresh

IMPORT = {
    "fdl": "import fdl, fdl.numpy",
    "jax": "import jax, jax.numpy",
    "torch": "import torch",
    "numpy": "import numpy",
}
MATMUL = {
    "fdl": "a = fdl.numpy.ones((256, 256)); fdl.jit(fdl.numpy.matmul)(a, a)",
    "jax": "a = jax.numpy.ones((256, 256)); jax.jit(jax.numpy.matmul)(a, a).block_until_ready()",
    "torch": "a = torch.ones((256, 256)); a @ a",
    "numpy": "a = numpy.ones((256, 256), numpy.float32); a @ a",
}


def caches(folder: Path, filled: bool) -> dict[str, str]:
    """Environment variables that put each library's cache on disk into a folder.

    JAX has none by default: it gets one where a filled cache is the point.
    """
    found = {"FDL_CACHE_DIR": str(folder / "fdl"), "TORCHINDUCTOR_CACHE_DIR": str(folder / "torch")}
    if filled:
        found |= {
            "JAX_COMPILATION_CACHE_DIR": str(folder / "jax"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
    return found


def source(program: str, library: str) -> str:
    """The program that prints the import's seconds, or the megabytes after a matmul."""
    if program == "import":
        return f"import time; t = time.perf_counter(); {IMPORT[library]}; print(time.perf_counter() - t)"
    return (
        f"{IMPORT[library]}; {MATMUL[library]}; from benchmarks.machine import resident_megabytes; print(resident_megabytes())"
    )


class Run:
    """Processes of one figure of one library, after one that fills the cache on disk where a filled one is the point."""

    def __init__(self, what: Fresh, library: str, cases: str, threads: int, torch_compile: bool) -> None:
        self._what, self._library, self._cases, self._threads = what, library, cases, threads
        self._environment = machine.environment(threads, "only" if torch_compile else "no")
        if what.program == "call" and library == "torch" and not torch_compile:
            raise Absent("eager: nothing is compiled")
        self._folder = tempfile.TemporaryDirectory(prefix="benchmarks-")
        self._filled = Path(self._folder.name) / "filled"
        self._filled.mkdir()
        try:
            if what.after:
                self._process(what.after, self._filled)
        except BaseException:
            self.close()
            raise

    def _process(self, case: str, folder: Path) -> float:
        if self._what.program == "call":
            command = [sys.executable, "-m", "benchmarks.fresh", self._cases, case, self._library, str(self._threads)]
        else:
            command = [sys.executable, "-c", source(self._what.program, self._library)]
        env = self._environment | caches(folder, bool(self._what.after))
        found = subprocess.run(command, env=env, capture_output=True, text=True)
        if found.returncode:
            raise worker.FailedError(f"{self._library}: status {found.returncode}\n{found.stderr}")
        return float(found.stdout.split()[-1])

    def sample(self) -> float:
        """The figure of one more process."""
        folder = Path(self._folder.name) / "present"
        if self._what.after:
            shutil.copytree(self._filled, folder)
        else:
            folder.mkdir()
        try:
            return self._process(self._what.of, folder)
        finally:
            shutil.rmtree(folder)

    def close(self) -> None:
        """Removes the folder."""
        self._folder.cleanup()


def main() -> None:
    """Builds a case, and times its first call. What a library does at its import, and its arrays' making, does not count."""
    cases, name, library, threads = sys.argv[1:]
    machine.confine(int(threads))
    bench = worker.build(worker.load(library, int(threads)), library, cases, name)
    start = time.perf_counter()
    bench.call()
    print(time.perf_counter() - start)


if __name__ == "__main__":
    main()
