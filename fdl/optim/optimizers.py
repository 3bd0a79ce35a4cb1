"""Optimizers: chains of gradient transformations that end in a step of −learning rate."""

from __future__ import annotations

from .transformation import GradientTransformation, Schedule, chain
from .transforms import add_decayed_weights, scale_by_adam, scale_by_learning_rate, trace


def sgd(learning_rate: float | Schedule, momentum: float = 0.0, nesterov: bool = False) -> GradientTransformation:
    """Gradient descent: −lr · g; with momentum, v ← momentum · v + g and −lr · v (Polyak 1964; Nesterov's as in `trace`).

    Args:
        learning_rate: a number, or a schedule: a function of the number of updates so far, an int32 scalar.
        momentum: 0 for none.
    """
    step = scale_by_learning_rate(learning_rate)
    return chain(trace(momentum, nesterov), step) if momentum else chain(step)


def adam(learning_rate: float | Schedule, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> GradientTransformation:
    """Adam (Kingma and Ba, ICLR 2015, algorithm 1): −lr · m̂ / (√v̂ + ε), see `scale_by_adam`.

    Example:
        >>> import fdl.numpy as fnp
        >>> opt = adam(0.1)
        >>> state = opt.init(fnp.zeros(2))
        >>> updates, state = opt.update(fnp.array([5.0, -0.01]), state)
        >>> [round(u, 4) for u in updates.tolist()]
        [-0.1, 0.1]
    """
    return chain(scale_by_adam(b1, b2, eps), scale_by_learning_rate(learning_rate))


def adamw(
    learning_rate: float | Schedule, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, weight_decay: float = 1e-2
) -> GradientTransformation:
    """Adam with decoupled weight decay: −lr · (m̂ / (√v̂ + ε) + decay · params) (Loshchilov and Hutter, ICLR 2019, algorithm 2)."""
    return chain(scale_by_adam(b1, b2, eps), add_decayed_weights(weight_decay), scale_by_learning_rate(learning_rate))
