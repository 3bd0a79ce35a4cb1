"""Memory of a training step beside its arguments and results: gradients, activations, workspace.

fdl's arena by its memory plan, JAX's temporary buffers by XLA's analysis, PyTorch's allocations by its profiler (without what oneDNN
allocates by itself).
"""

from __future__ import annotations

from typing import Any

from ..record import Bench, Case, Make, matching
from . import train_cnn, train_lstm, train_mlp, train_vae


def peak_of(make: Make) -> Make:
    """The builder whose samples are the megabytes of a step."""

    def build(kit: Any) -> Bench:
        step = make(kit)
        assert step.peak is not None
        megabytes = step.peak() / 1e6
        return Bench(step.call, sampler=lambda seconds: [megabytes])

    return build


def row(step: Case) -> Case:
    """The row of a training step's memory: at most PyTorch's."""
    name = f"memory of a {step.name}"
    return Case(name, 1.0, {library: peak_of(make) for library, make in step.make.items()}, ("torch",), unit="MB")


STEPS = (*train_mlp.CASES, *train_cnn.CASES, *train_vae.CASES, *train_lstm.CASES)
CASES = [row(step) for step in matching(STEPS, "train step*batch 128|train step*LSTM")]
