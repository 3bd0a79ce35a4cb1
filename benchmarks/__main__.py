"""`python -m benchmarks [--case TEXT] [--quick] [--threads N] [--out FILE]`: runs the cases and prints a table in Markdown."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path


def main() -> None:
    """Runs the benchmarks."""
    parser = argparse.ArgumentParser(prog="benchmarks", description="fdl against NumPy, JAX and PyTorch, side by side")
    parser.add_argument("--case", default="", help="only cases whose name contains this text")
    parser.add_argument("--quick", action="store_true", help="a fifth of the time for each case")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads for every library")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    # Thread pools read these when the libraries are imported.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "FDL_NUM_THREADS"):
        os.environ[name] = str(options.threads)
    flags = f"--xla_cpu_multi_thread_eigen={'true' if options.threads > 1 else 'false'} intra_op_parallelism_threads={options.threads}"
    os.environ.setdefault("XLA_FLAGS", flags)

    import jax
    import llvmlite
    import numpy as np
    import torch

    import fdl

    from .cases import CASES
    from .timing import alternate

    torch.set_num_threads(options.threads)
    fdl.set_num_threads(options.threads)
    lines = [
        f"{datetime.date.today()}, {platform.machine()}, {options.threads} threads, Python {platform.python_version()}, "
        f"NumPy {np.__version__}, "
        f"llvmlite {llvmlite.__version__}, JAX {jax.__version__}, PyTorch {torch.__version__}",
        "",
        "Microseconds a call, minimum / median over alternating rounds; the ratio is fdl to the best of the peers named, "
        "of minima / of medians.",
        "",
        "| case | fdl | JAX | PyTorch | NumPy | ratio | target |",
        "|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for case in CASES:
        if options.case not in case.name:
            continue
        calls = case.make()
        check(case.name, calls)
        timings = alternate(calls, 0.3 if options.quick else 1.5)
        cells = [
            f"{t.minimum * 1e6:,.1f} / {t.median * 1e6:,.1f}" if (t := timings.get(name)) else "–"
            for name in ("fdl", "jax", "torch", "numpy")
        ]
        peers = [timings[p] for p in case.peers if p in timings]
        ours = timings["fdl"]
        minimum, median = ours.minimum / min(p.minimum for p in peers), ours.median / min(p.median for p in peers)
        row = f"| {case.name} | {' | '.join(cells)} | {minimum:.2f} / {median:.2f} | {case.target} |"
        lines.append(row)
        print(row, flush=True)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def check(name: str, calls: Mapping[str, Callable[[], object]]) -> None:
    """Asserts that all libraries compute the same, where the result is deterministic."""
    import numpy as np

    if "random" in name:
        return
    results = {library: np.asarray(call()) for library, call in calls.items()}
    for library, value in results.items():
        np.testing.assert_allclose(value, results["fdl"], rtol=2e-3, atol=2e-3, err_msg=f"{name}: {library}")


if __name__ == "__main__":
    main()
