"""The reference backend: a program run equation by equation on NumPy, by each primitive's own definition. Slow, obvious, and the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fdl.tracer.array import Array, as_numpy
from fdl.tracer.ir import Program
from fdl.tracer.primitive import run_program


class ReferenceExecutable:
    """A program as a callable on arrays."""

    backend = variant = "reference"

    def __init__(self, program: Program) -> None:
        self.program = program
        inputs = (*program.inputs, *program.constants)
        self._open = Program(inputs, program.equations, program.outputs, name=program.name)

    def __call__(self, arrays: Sequence[Any]) -> list[Array]:
        """The outputs of the program for its inputs, then its constants; an Array for each."""
        with np.errstate(all="ignore"):
            outs = run_program(self._open, [as_numpy(x) for x in arrays])
        return [
            Array(np.array(o, t.dtype, order="C", copy=True), t.weak) for o, t in zip(outs, self.program.out_types, strict=True)
        ]

    @property
    def routine(self) -> Any:
        raise TypeError("the reference backend has no loop IR: it runs the program itself. Use backend='llvm'.")

    @property
    def plan(self) -> Any:
        raise TypeError("the reference backend has no memory plan: NumPy allocates. Use backend='llvm'.")
