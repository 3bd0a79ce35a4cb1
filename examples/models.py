"""The networks of the demo: an MLP, a small CNN and a variational autoencoder for 28 × 28 images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import fdl.numpy as fnp
from fdl import nn, random
from fdl.nn.initializers import he_normal


def mlp() -> nn.Sequential:
    """784-512-256-10 with ReLUs: images (..., 28, 28, 1) to logits (..., 10)."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(512, weight_init=he_normal),
        nn.relu,
        nn.Linear(256, weight_init=he_normal),
        nn.relu,
        nn.Linear(10),
    )


def standardised(x: Any) -> Any:
    """Pixels in [0, 1] with MNIST's mean and standard deviation removed."""
    return (x - 0.1307) * (1 / 0.3081)


def cnn() -> nn.Sequential:
    """Two 3 × 3 convolutions of 16 and 32 channels, pooling, and two linear layers: (..., 28, 28, 1) to logits (..., 10)."""
    return nn.Sequential(
        standardised,
        nn.Conv(16, 3, padding="VALID", weight_init=he_normal),
        nn.relu,
        nn.Conv(32, 3, padding="VALID", weight_init=he_normal),
        nn.relu,
        nn.MaxPool(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(128, weight_init=he_normal),
        nn.relu,
        nn.Dropout(0.25),
        nn.Linear(10),
    )


@dataclass(frozen=True)
class VAE(nn.Layer):
    """A variational autoencoder with Gaussian latents and Bernoulli pixels (Kingma and Welling, ICLR 2014).

    Called with images (..., 28, 28, 1) it returns ((pixel logits, latent means, latent log variances), state); pixel logits
    have shape (..., 784).  It draws its latents by the key that it is given; without a key it takes their means.
    """

    hidden: int = field(default=400, metadata=nn.STATIC)
    latents: int = field(default=20, metadata=nn.STATIC)

    @property
    def encoder(self) -> nn.Sequential:
        """Images to means and log variances, side by side on the last axis."""
        return nn.Sequential(nn.Flatten(), nn.Linear(self.hidden), nn.relu, nn.Linear(2 * self.latents))

    @property
    def decoder(self) -> nn.Sequential:
        """Latents to pixel logits."""
        return nn.Sequential(nn.Linear(self.hidden), nn.relu, nn.Linear(784))

    def init(self, key: Any, x: Any) -> tuple[Any, Any]:
        encoder_key, decoder_key = random.split(key)
        encoder, _ = self.encoder.init(encoder_key, x)
        decoder, _ = self.decoder.init(decoder_key, fnp.zeros(self.latents))
        return {"encoder": encoder, "decoder": decoder}, ()

    def encode(self, params: Any, x: Any) -> tuple[Any, Any]:
        """The means and log variances (..., latents) of the latents of images."""
        both = nn.stateless(self.encoder)(params["encoder"], x)
        return both[..., : self.latents], both[..., self.latents :]

    def decode(self, params: Any, z: Any) -> Any:
        """The pixel logits (..., 784) of latents (..., latents)."""
        return nn.stateless(self.decoder)(params["decoder"], z)

    def __call__(self, params: Any, state: Any, x: Any, *, key: Any = None, train: bool = False) -> tuple[Any, Any]:
        mean, log_variance = self.encode(params, x)
        z = mean
        if key is not None:
            z = mean + fnp.exp(0.5 * log_variance) * random.normal(key, mean.shape)
        return (self.decode(params, z), mean, log_variance), state
