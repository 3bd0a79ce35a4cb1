"""What a call costs when there is next to nothing to compute, and operations outside `jit`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..record import Bench, Case, everywhere, random

TREE = {f"k{i}": {f"a{j}": random(3, seed=5 * i + j) for j in range(5)} for i in range(4)}


def over_dict(kit: Any) -> Bench:
    """x + 1 over 20 arrays in a dict of dicts, which comes back."""
    compiled, tree = kit.jit(lambda d: kit.tree_map(lambda x: x + 1, d)), kit.arrays(TREE)
    return Bench(
        lambda: kit.wait(compiled(tree)),
        lambda: [np.asarray(v) for _, part in sorted(compiled(tree).items()) for _, v in sorted(part.items())],
    )


TWENTY = ("sin", "exp", "tanh", "cos", "square") * 4
"""The operations of a scalar chain, which stays small: each result is scaled by what comes next."""


def chain(np_: Any, x: Any) -> Any:
    """20 scalar operations, one after another; exp follows sin, so that nothing overflows."""
    for name in TWENTY:
        x = getattr(np_, name)(x)
    return x


def eager_gradient(kit: Any) -> Bench:
    """The gradient of the chain, outside `jit`, by a transform."""
    return kit.eager(kit.grad(lambda x: chain(kit.np, x)), np.float32(0.7))


def eager_gradient_torch(kit: Any) -> Bench:
    """The same by PyTorch's tape."""
    x = kit.torch.tensor(0.7, requires_grad=True)
    return Bench(lambda: kit.torch.autograd.grad(chain(kit.torch, x), x)[0])


def addition(kit: Any) -> Bench:
    """x + 1."""
    return kit.function(lambda x: x + 1, random(4))


CASES = [
    Case("call of x + 1, 4 floats", 0.1, everywhere(addition), peers=("jax",)),
    Case("call over a 20-leaf dict of dicts", 0.06, everywhere(over_dict, "fdl", "jax"), peers=("jax",)),
    Case(
        "eager grad of 20 scalar operations",
        1.0,
        everywhere(eager_gradient, "fdl", "jax", torch=eager_gradient_torch),
        peers=("jax",),
        tolerance=1e-4,
    ),
]
