"""A training step of an LSTM (Hochreiter and Schmidhuber, 1997) over the 28 rows of an image."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..record import Bench, Case, dense_layers, everywhere, labels, matmul_work, random, update_work

STEPS, INPUTS, HIDDEN, BATCH = 28, 28, 128, 64
SCALE = 1 / np.sqrt(HIDDEN)


def start() -> Any:
    """Weights of the inputs and of the hidden state for the gates i, f, g, o; biases; and the layer that classifies."""
    inputs = random(INPUTS, 4 * HIDDEN, seed=51, scale=SCALE)
    hidden = random(HIDDEN, 4 * HIDDEN, seed=52, scale=SCALE)
    return {"x": inputs, "h": hidden, "b": np.zeros(4 * HIDDEN, np.float32), "out": dense_layers((HIDDEN, 10))[0]}


def rows() -> Any:
    """A batch of sequences, time first."""
    return random(STEPS, BATCH, INPUTS)


def lstm(kit: Any, params: Any, x: Any) -> Any:
    """The last hidden state (batch, hidden), for x (time, batch, inputs). The inputs' share of all gates is one matmul."""

    def step(state: Any, gates: Any) -> Any:
        h, c = state
        gates = gates + h @ params["h"]
        i, f, g, o = (gates[:, k * HIDDEN : (k + 1) * HIDDEN] for k in range(4))
        c = kit.sigmoid(f) * c + kit.sigmoid(i) * kit.np.tanh(g)
        return (kit.sigmoid(o) * kit.np.tanh(c), c), None

    zeros = kit.np.zeros((x.shape[1], HIDDEN), np.float32)
    (h, _), _ = kit.scan(step, (zeros, zeros), x @ params["x"] + params["b"])
    return h


def train(kit: Any) -> Bench:
    """For fdl and JAX."""

    def loss(params: Any, key: Any, x: Any, y: Any) -> Any:
        w, b = params["out"]
        return kit.softmax_cross_entropy(lstm(kit, params, x) @ w + b, y).mean()

    return kit.train(loss, start(), kit.adam(), rows(), labels(BATCH))


def train_torch(kit: Any) -> Bench:
    """For PyTorch, with its own LSTM. Of its two biases, which it only ever adds, one is trained."""

    def model(last: bool) -> Any:
        begin = start()
        cell = kit.nn.LSTM(INPUTS, HIDDEN)
        with kit.torch.no_grad():
            cell.weight_ih_l0.copy_(kit.tensor(begin["x"]).T)
            cell.weight_hh_l0.copy_(kit.tensor(begin["h"]).T)
            cell.bias_ih_l0.zero_()
            cell.bias_hh_l0.zero_()
        cell.bias_hh_l0.requires_grad_(False)
        return kit.nn.ModuleDict({"cell": cell, "out": kit.linear(*begin["out"])})

    def loss(model: Any, x: Any, y: Any) -> Any:
        _, (h, _) = model["cell"](x)
        return kit.functional.cross_entropy(model["out"](h[0]), y)

    x, y = kit.tensor(rows()), kit.tensor(labels(BATCH)).long()
    return kit.train(model, loss, kit.adam, lambda last: (x, y))


PARAMETERS = (INPUTS + HIDDEN + 1) * 4 * HIDDEN + (HIDDEN + 1) * 10
WORK = (
    matmul_work(STEPS * BATCH, INPUTS, 4 * HIDDEN) * 2
    + matmul_work(STEPS * BATCH, HIDDEN, 4 * HIDDEN) * 3
    + matmul_work(BATCH, HIDDEN, 10) * 3
    + update_work(PARAMETERS, 2)
)

CASES = [
    Case(
        "train step, LSTM of 28 steps, hidden 128, batch 64, Adam",
        0.7,
        everywhere(train, "fdl", "jax", torch=train_torch),
        work=WORK,
        tolerance=1e-3,
    ),
]
