"""The machine: what it is, the environment that gives every library the same threads, and a process's CPU time."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


def cores() -> int:
    """How many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """Its name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def describe(threads: int) -> str:
    """The machine and the threads, in one line."""
    system = f"{platform.system()} {platform.machine()}"
    return f"{processor()}, {cores()} cores, {system}, {threads} thread{'s' if threads > 1 else ''}, Python {platform.python_version()}"


def environment(threads: int, torch_compile: str = "no") -> dict[str, str]:
    """This process's environment with the variables that bound each library's threads, which it reads when it is imported.

    Args:
        torch_compile: "no", "try" (the faster of eager and compiled), or "only".
    """
    env = dict(os.environ)
    for name in (
        "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS",
        "FDL_NUM_THREADS", "NPROC",
    ):  # fmt: skip
        env[name] = str(threads)
    env["XLA_FLAGS"] = f"{env.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}".strip()
    env |= {"JAX_PLATFORMS": "cpu", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    env["BENCHMARKS_TORCH_COMPILE"] = torch_compile
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # installed packages have their bytecode: a checkout has it after one import
    env["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).resolve().parents[1]), *filter(None, [env.get("PYTHONPATH")])])
    return env


def confine(threads: int) -> None:
    """Keeps this process on its first so many cores: a library that ignores its variables still has no more. Linux only.

    All workers get the same cores: only one works at a time.
    """
    if hasattr(os, "sched_setaffinity") and threads < cores():
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def cpu_seconds(pid: int) -> float | None:
    """CPU time of all threads of another process, to the nanosecond; None where the system does not tell.

    Linux makes a process's clock from its id (`clock_getcpuclockid`): the id's complement, shifted, and 2 for "scheduled time".
    """
    if platform.system() != "Linux":
        return None
    try:
        return time.clock_gettime(((~pid) << 3) | 2)
    except OSError:
        return None


def settle(pid: int, longest: float = 0.5) -> None:
    """Waits until a process that has nothing to do is idle: thread pools spin for a while after their last task.

    Idle is less than a twentieth of a core, twice in a row over 2 ms: once may be a thread that waits for its core. Where CPU time
    cannot be read, a tenth of a second has to do.
    """
    before = cpu_seconds(pid)
    if before is None:
        time.sleep(0.1)
        return
    end, quiet = time.perf_counter() + longest, 0
    while quiet < 2 and time.perf_counter() < end:
        start = time.perf_counter()
        time.sleep(2e-3)
        now = cpu_seconds(pid)
        if now is None:
            return
        quiet = quiet + 1 if now - before < 0.05 * (time.perf_counter() - start) else 0
        before = now


def resident_megabytes() -> float:
    """This process's memory that is in RAM, in 10⁶ bytes; the peak where the present figure is not to be had."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1e6
    if resource is None:
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if platform.system() == "Darwin" else peak * 1024 / 1e6
