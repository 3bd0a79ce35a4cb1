"""The three loops that hurt users of JAX on the CPU, by the threads on its tracker.

Small operations in a loop (jax#40150, jax#36799), a convolution inside a loop (jax#12868), and a transposed convolution (jax#23783).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..record import Bench, Case, everywhere, matmul_work, random

LEAVES, STEPS = 60, 614
ITERATIONS, IMAGES, SIDE, CHANNELS = 10, 8, 32, 16
LENGTH, STRIDE, WINDOW = 512, 8, 16


def scalar_start() -> Any:
    """60 scalars, and the sequence that they are driven by."""
    return {f"s{i:02d}": np.float32(v) for i, v in enumerate(random(LEAVES, scale=0.5))}, random(STEPS, seed=1, scale=0.1)


def scalar_scan(kit: Any) -> Bench:
    """The gradient, for 60 initial values, of 614 steps in which each scalar is drawn towards its neighbour."""

    def step(state: Any, x: Any) -> Any:
        names = sorted(state)
        new = {a: 0.9 * state[a] + 0.1 * kit.np.tanh(state[b] + x) for a, b in zip(names, names[1:] + names[:1], strict=True)}
        return new, new[names[0]]

    def loss(state: Any, xs: Any) -> Any:
        last, seen = kit.scan(step, state, xs)
        return (seen**2).sum() + sum(last[name] for name in sorted(last))

    begin, xs = (kit.arrays(v) for v in scalar_start())
    compiled = kit.jit(kit.grad(loss))
    return Bench(
        lambda: kit.wait(compiled(begin, xs)),
        lambda: [np.stack([np.asarray(v) for _, v in sorted(compiled(begin, xs).items())])],
    )


def conv_data() -> Any:
    """Images, and filters that keep their size about the same."""
    scale = float(1 / np.sqrt(9 * CHANNELS))
    return random(IMAGES, SIDE, SIDE, CHANNELS), random(3, 3, CHANNELS, CHANNELS, seed=1, scale=scale)


def conv_inside(kit: Any) -> Bench:
    """Ten convolutions by `fori_loop`."""
    return kit.function(
        lambda x, w: kit.fori_loop(0, ITERATIONS, lambda i, x: kit.np.tanh(kit.conv(x, w, padding="SAME")), x), *conv_data()
    )


def conv_outside(kit: Any) -> Bench:
    """Ten convolutions one after another."""

    def apply(x: Any, w: Any) -> Any:
        for _ in range(ITERATIONS):
            x = kit.np.tanh(kit.conv(x, w, padding="SAME"))
        return x

    return kit.function(apply, *conv_data())


def conv_torch(kit: Any) -> Bench:
    """The same in PyTorch, where a loop is Python's."""
    x, w = conv_data()

    def apply(x: Any, w: Any) -> Any:
        for _ in range(ITERATIONS):
            x = kit.torch.tanh(kit.functional.conv2d(x, w, padding=1))
        return x.permute(0, 2, 3, 1)

    return kit.function(apply, np.ascontiguousarray(x.transpose(0, 3, 1, 2)), np.ascontiguousarray(w.transpose(3, 2, 0, 1)))


def transposed_data() -> Any:
    """Sequences (n, length, channels), and filters (window, in, out)."""
    return random(4, LENGTH, 64), random(WINDOW, 64, 64, seed=1, scale=1 / np.sqrt(64 * WINDOW))


def transposed(kit: Any) -> Bench:
    """A 1-D transposed convolution, stride 8."""
    return kit.function(lambda x, w: kit.conv_transpose(x, w, STRIDE), *transposed_data())


def transposed_torch(kit: Any) -> Bench:
    """The same; PyTorch has channels first, and filters (in, out, window)."""
    x, w = transposed_data()
    call = kit.function(
        lambda x, w: kit.functional.conv_transpose1d(x, w, stride=STRIDE),
        np.ascontiguousarray(x.transpose(0, 2, 1)),
        np.ascontiguousarray(w.transpose(1, 2, 0)),
    )
    return Bench(call.call, lambda: [np.asarray(call.call()).transpose(0, 2, 1)])


CONVOLUTIONS = matmul_work(ITERATIONS * IMAGES * SIDE * SIDE, 9 * CHANNELS, CHANNELS)

CASES = [
    Case(
        f"grad of a scan, {LEAVES} scalar leaves × {STEPS} steps",
        1.0,
        everywhere(scalar_scan, "fdl", "jax"),
        tolerance=1e-4,
    ),
    Case(
        "10 convolutions inside fori_loop",
        1.0,
        everywhere(conv_inside, "fdl", "jax", torch=conv_torch),
        work=CONVOLUTIONS,
        tolerance=1e-4,
    ),
    Case(
        "the same 10 convolutions without a loop",
        1.0,
        everywhere(conv_outside, "fdl", "jax", torch=conv_torch),
        work=CONVOLUTIONS,
        tolerance=1e-4,
    ),
    Case(
        f"1-D transposed convolution, 4 × {LENGTH} × 64, window {WINDOW}, stride {STRIDE}",
        1.0,
        everywhere(transposed, "fdl", "jax", torch=transposed_torch),
        work=matmul_work(4 * LENGTH, 64, WINDOW * 64),
        tolerance=1e-4,
    ),
]
