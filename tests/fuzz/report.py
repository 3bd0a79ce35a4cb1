"""A failure as text: its program, ready to become a regression test."""

from __future__ import annotations

import numpy as np

from fdl.tracer.ir import Program
from fdl.tracer.show import functions

from .failure import Failure
from .programs import Case
from .values import Array

MOST = 100
"""Elements of an input that is printed."""


def failure_text(seed: int, failure: Failure, case: Case, shrunken: Case | None) -> str:
    """What is printed for a failure."""
    lines = [f"seed {seed}: {failure.kind}: {failure.text}", f"  again: python -m tests.fuzz --only {seed}"]
    small = shrunken or case
    lines.append(f"  {'shrunken' if shrunken else 'as generated'}, under {', '.join(map(str, small.steps)) or 'no transform'}:")
    lines += ["    " + line for line in program_text(small.program, small.inputs)]
    return "\n".join(lines)


def program_text(p: Program, inputs: tuple[Array, ...]) -> list[str]:
    """The lines of a program and its inputs."""
    lines = str(p).split("\n")
    for k, x in enumerate(inputs):
        lines.append(f"input {k}: {array_text(x)}")
    for k, x in enumerate(p.values):
        lines.append(f"constant {k}: {array_text(np.asarray(x))}")
    slots = functions(p)
    if slots:
        lines.append(f"functions: {', '.join(slots)}")
    return lines


def array_text(x: Array) -> str:
    """An array as the expression that makes it, where it is small."""
    if x.size > MOST:
        finite = x[np.isfinite(x.astype(np.complex128))]
        top = np.max(np.abs(finite.astype(np.complex128)), initial=0)
        return f"{x.dtype}{list(x.shape)}, up to {top:.3g}"
    if x.size and (x == x.reshape(-1)[0]).all():
        return f"np.full({x.shape}, {x.reshape(-1)[0].item()!r}, np.dtype({x.dtype.name!r}))"
    return f"np.array({x.tolist()}, np.dtype({x.dtype.name!r})).reshape({x.shape})"
