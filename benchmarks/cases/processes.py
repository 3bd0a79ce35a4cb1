"""What a fresh process pays: the first call, the import, and memory."""

from __future__ import annotations

from typing import Any

from ..record import LIBRARIES, Bench, Case, Fresh


def in_its_own_process(kit: Any) -> Bench:
    """Stands for a builder: these programs are in `fresh.py`."""
    raise AssertionError("a figure of a process of its own has no builder")


COMPILERS = dict.fromkeys(("fdl", "jax", "torch"), in_its_own_process)
ALL = dict.fromkeys(LIBRARIES, in_its_own_process)
STEP, OTHER = (f"train step, MLP 784-512-256-10, batch {batch}, Adam" for batch in (128, 32))

CASES = [
    Case("first call of the MLP step (trace and compile), empty cache", 0.8, COMPILERS, ("jax",), fresh=Fresh("call", STEP)),
    Case("first call of the MLP step, another batch size cached", 0.3, COMPILERS, ("jax",), fresh=Fresh("call", STEP, OTHER)),
    Case("first call of the MLP step, cached", None, COMPILERS, ("jax",), fresh=Fresh("call", STEP, STEP), at_most=0.06),
    Case("import", 0.2, ALL, ("jax",), fresh=Fresh("import")),
    Case("resident memory after import and a first matmul", 0.6, ALL, ("jax",), fresh=Fresh("memory"), unit="MB"),
]
