"""A training step of the variational autoencoder 784-400-20-400-784 (Kingma and Welling, ICLR 2014)."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ..record import Bench, Case, dense_layers, dense_work, everywhere, update_work

BATCH, LATENTS = 128, 20
ENCODER, DECODER = (784, 400, 2 * LATENTS), (LATENTS, 400, 784)
PARAMETERS = sum((a + 1) * b for s in (ENCODER, DECODER) for a, b in itertools.pairwise(s))
SCALE = np.float32(0.3)


def start() -> Any:
    """Its parameters; small, so that no exponential is large."""
    return [(w * SCALE, b) for sizes, seed in ((ENCODER, 41), (DECODER, 43)) for w, b in dense_layers(sizes, seed)]


def pixels() -> Any:
    """Images in [0, 1]."""
    return np.random.default_rng(3).random((BATCH, 784), np.float32)


def vae(kit: Any) -> Bench:
    """For fdl and JAX; latents are their means when the key is None."""

    def loss(params: Any, key: Any, x: Any) -> Any:
        (w1, b1), (w2, b2), (w3, b3), (w4, b4) = params
        both = kit.relu(x @ w1 + b1) @ w2 + b2
        mean, log_variance = both[:, :LATENTS], both[:, LATENTS:]
        z = mean if key is None else mean + kit.np.exp(0.5 * log_variance) * kit.normal(key, mean.shape)
        logits = kit.relu(z @ w3 + b3) @ w4 + b4
        kl = -0.5 * (1 + log_variance - mean**2 - kit.np.exp(log_variance)).sum()
        return (kit.sigmoid_binary_cross_entropy(logits, x).sum() + kl) / BATCH

    return kit.train(loss, start(), kit.adam(), pixels(), noisy=True)


def vae_torch(kit: Any) -> Bench:
    """For PyTorch; latents are their means when the module evaluates."""
    torch, nn, functional = kit.torch, kit.nn, kit.functional

    def loss(model: Any, x: Any) -> Any:
        mean, log_variance = model[0](x).split(LATENTS, 1)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean) if model.training else mean
        kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum()
        return (functional.binary_cross_entropy_with_logits(model[1](z), x, reduction="sum") + kl) / BATCH

    def model(last: bool) -> Any:
        a, b, c, d = start()
        return nn.Sequential(
            nn.Sequential(kit.linear(*a), nn.ReLU(), kit.linear(*b)), nn.Sequential(kit.linear(*c), nn.ReLU(), kit.linear(*d))
        )

    x = kit.tensor(pixels())
    return kit.train(model, loss, kit.adam, lambda last: (x,), noisy=True)


CASES = [
    Case(
        "train step, VAE 784-400-20-400-784, batch 128, Adam",
        0.75,
        everywhere(vae, "fdl", "jax", torch=vae_torch),
        work=dense_work(BATCH, ENCODER) + dense_work(BATCH, DECODER, first_gradient=True) + update_work(PARAMETERS, 2),
        tolerance=1e-3,
    ),
]
