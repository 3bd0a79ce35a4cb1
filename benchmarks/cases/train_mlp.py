"""Training steps of multilayer perceptrons: a tiny one by gradient descent, MNIST's by Adam, and 100 steps in one call."""

from __future__ import annotations

import itertools
from typing import Any

from ..record import F32, Bench, Case, Make, Work, dense_layers, dense_work, everywhere, labels, random, update_work

SIZES = (784, 512, 256, 10)
PARAMETERS = sum((a + 1) * b for a, b in itertools.pairwise(SIZES))


def tiny(kit: Any) -> Bench:
    """2-16-1 with tanh, batch 32, squared error, gradient descent."""
    x, y = random(32, 2), random(32, 1, seed=1)

    def loss(params: Any, key: Any, x: Any, y: Any) -> Any:
        (w1, b1), (w2, b2) = params
        return ((kit.np.tanh(x @ w1 + b1) @ w2 + b2 - y) ** 2).mean()

    return kit.train(loss, dense_layers((2, 16, 1)), kit.sgd(), x, y)


def tiny_torch(kit: Any) -> Bench:
    """The same."""
    x, y = kit.tensor(random(32, 2)), kit.tensor(random(32, 1, seed=1))
    first, second = dense_layers((2, 16, 1))
    return kit.train(
        lambda last: kit.nn.Sequential(kit.linear(*first), kit.nn.Tanh(), kit.linear(*second)),
        lambda model, x, y: kit.functional.mse_loss(model(x), y),
        kit.sgd,
        lambda last: (x, y),
    )


def _data(batch: int, steps: int) -> tuple[Any, Any]:
    lead = (steps,) if steps else ()
    return random(*lead, batch, 784), labels(batch * max(steps, 1)).reshape(*lead, batch)


def mlp(batch: int, steps: int = 0) -> Make:
    """784-512-256-10 with ReLUs, cross entropy, Adam."""

    def build(kit: Any) -> Bench:
        def loss(params: Any, key: Any, x: Any, y: Any) -> Any:
            for w, b in params[:-1]:
                x = kit.relu(x @ w + b)
            return kit.softmax_cross_entropy(x @ params[-1][0] + params[-1][1], y).mean()

        return kit.train(loss, dense_layers(SIZES), kit.adam(), *_data(batch, steps), steps=steps)

    return build


def mlp_torch(batch: int, steps: int = 0) -> Make:
    """The same."""

    def build(kit: Any) -> Bench:
        x, y = _data(batch, steps)
        xs, ys = kit.tensor(x), kit.tensor(y).long()

        def model(last: bool) -> Any:
            layers = [m for layer in dense_layers(SIZES) for m in (kit.linear(*layer), kit.nn.ReLU())]
            return kit.nn.Sequential(*layers[:-1])

        def loss(model: Any, x: Any, y: Any) -> Any:
            return kit.functional.cross_entropy(model(x), y)

        return kit.train(model, loss, kit.adam, lambda last: (xs, ys), steps=steps)

    return build


def work(batch: int) -> Work:
    """Of one step of the larger network."""
    return dense_work(batch, SIZES) + update_work(PARAMETERS, 2)


CASES = [
    Case("train step, MLP 2-16-1, batch 32, SGD", 0.3, everywhere(tiny, "fdl", "jax", torch=tiny_torch), tolerance=1e-4),
    *(
        Case(
            f"train step, MLP 784-512-256-10, batch {batch}, Adam",
            0.75,
            everywhere(mlp(batch), "fdl", "jax", torch=mlp_torch(batch)),
            work=work(batch),
            tolerance=1e-3,
        )
        for batch in (32, 128, 512)
    ),
    Case(
        "100 steps of the MLP in one call (scan), batch 128",
        0.75,
        everywhere(mlp(128, 100), "fdl", "jax", torch=mlp_torch(128, 100)),
        work=work(128) * 100 + Work(read=F32 * 100 * 128 * 784),
        # Rounding grows from step to step: after 100, JAX is 1e-3 away from fdl and PyTorch.
        tolerance=1e-2,
    ),
]
