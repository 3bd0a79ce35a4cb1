"""Training steps of convolutional networks, and the forward pass of one outside `jit`.  Images are NHWC for fdl and JAX."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from ..record import Bench, Case, Make, Work, dense_layers, dense_work, everywhere, labels, matmul_work, random, update_work

RATE = 0.25


def filters(window: int, channels: int, features: int, seed: int) -> tuple[Any, Any]:
    """HWIO filters, and biases."""
    scale = math.sqrt(2 / (window * window * channels))
    return random(window, window, channels, features, seed=seed, scale=scale), np.zeros(features, np.float32)


def conv_work(batch: int, side: int, window: int, channels: int, features: int, gradients: int) -> Work:
    """Of a convolution with `side`² outputs: forward, and so many of its two gradients."""
    return matmul_work(batch * side * side, window * window * channels, features) * (1 + gradients)


# --- conv16-conv32-pool-dropout-128-dropout-10 on 28 × 28 ------------------------------------------


CNN_DENSE = (12 * 12 * 32, 128, 10)
CNN_PARAMETERS = 160 + 4640 + sum((a + 1) * b for a, b in itertools.pairwise(CNN_DENSE))


def cnn_start() -> Any:
    """Its parameters."""
    return [filters(3, 1, 16, 21), filters(3, 16, 32, 22), *dense_layers(CNN_DENSE)]


def cnn_forward(kit: Any, params: Any, key: Any, x: Any) -> Any:
    """Logits; without dropout when the key is None."""
    first, second, hidden, out = params
    keys = (None, None) if key is None else kit.split(key)
    x = kit.relu(kit.conv(x, *first))
    x = kit.max_pool(kit.relu(kit.conv(x, *second)))
    x = kit.dropout(keys[0], x, RATE).reshape(x.shape[0], -1)
    x = kit.dropout(keys[1], kit.relu(x @ hidden[0] + hidden[1]), RATE)
    return x @ out[0] + out[1]


def cnn(batch: int) -> Make:
    """A step."""

    def build(kit: Any) -> Bench:
        def loss(params: Any, key: Any, x: Any, y: Any) -> Any:
            return kit.softmax_cross_entropy(cnn_forward(kit, params, key, x), y).mean()

        return kit.train(loss, cnn_start(), kit.adam(), random(batch, 28, 28, 1), labels(batch), noisy=True)

    return build


def cnn_module(kit: Any) -> Any:
    """The network in PyTorch."""
    nn, (first, second, hidden, out) = kit.nn, cnn_start()
    return nn.Sequential(
        kit.conv(*first), nn.ReLU(), kit.conv(*second), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(RATE), nn.Flatten(),
        kit.linear(kit.after_flattening(hidden[0], 12, 12, 32), hidden[1]), nn.ReLU(), nn.Dropout(RATE), kit.linear(*out),
    )  # fmt: skip


def in_layout(kit: Any, model: Any, channels_last: bool) -> Any:
    """The module with its filters in either memory layout."""
    return model.to(memory_format=kit.torch.channels_last) if channels_last else model


def classify_torch(kit: Any, module: Any, optimizer: Any, images: Any, batch: int, noisy: bool) -> Bench:
    """A step of a classifier of images."""
    y = kit.tensor(labels(batch)).long()
    return kit.train(
        lambda last: in_layout(kit, module(kit), last),
        lambda model, x, y: kit.functional.cross_entropy(model(x), y),
        optimizer,
        lambda last: (kit.images(images, last), y),
        noisy=noisy,
        layouts=True,
    )


def cnn_torch(batch: int) -> Make:
    """A step."""
    return lambda kit: classify_torch(kit, cnn_module, kit.adam, random(batch, 28, 28, 1), batch, True)


def cnn_eager(kit: Any) -> Bench:
    """The forward pass, each operation at once."""
    return kit.eager(lambda params, x: cnn_forward(kit, params, None, x), cnn_start(), random(128, 28, 28, 1))


def cnn_eager_torch(kit: Any) -> Bench:
    """The same."""
    model = cnn_module(kit).eval()
    x = kit.images(random(128, 28, 28, 1), False)

    def call() -> Any:
        with kit.torch.no_grad():
            return model(x)

    return Bench(call)


def cnn_work(batch: int) -> Work:
    """Of a step."""
    convolutions = conv_work(batch, 26, 3, 1, 16, 1) + conv_work(batch, 24, 3, 16, 32, 2)
    return convolutions + dense_work(batch, CNN_DENSE, first_gradient=True) + update_work(CNN_PARAMETERS, 2)


def cnn_forward_work(batch: int) -> Work:
    """Of the forward pass."""
    dense = matmul_work(batch, CNN_DENSE[0], CNN_DENSE[1]) + matmul_work(batch, CNN_DENSE[1], CNN_DENSE[2])
    return conv_work(batch, 26, 3, 1, 16, 0) + conv_work(batch, 24, 3, 16, 32, 0) + dense


# --- LeNet on 32 × 32 × 3 --------------------------------------------------------------------------


LENET_DENSE = (400, 120, 84, 10)
LENET_PARAMETERS = 456 + 2416 + sum((a + 1) * b for a, b in itertools.pairwise(LENET_DENSE))


def lenet_start() -> Any:
    """Its parameters."""
    return [filters(5, 3, 6, 31), filters(5, 6, 16, 32), *dense_layers(LENET_DENSE)]


def lenet(batch: int) -> Make:
    """A step with momentum."""

    def build(kit: Any) -> Bench:
        def loss(params: Any, key: Any, x: Any, y: Any) -> Any:
            for w, b in params[:2]:
                x = kit.max_pool(kit.relu(kit.conv(x, w, b)))
            x = x.reshape(x.shape[0], -1)
            for w, b in params[2:-1]:
                x = kit.relu(x @ w + b)
            return kit.softmax_cross_entropy(x @ params[-1][0] + params[-1][1], y).mean()

        return kit.train(loss, lenet_start(), kit.sgd(0.9), random(batch, 32, 32, 3), labels(batch))

    return build


def lenet_module(kit: Any) -> Any:
    """The network in PyTorch."""
    nn, (first, second, fc1, fc2, fc3) = kit.nn, lenet_start()
    return nn.Sequential(
        kit.conv(*first), nn.ReLU(), nn.MaxPool2d(2), kit.conv(*second), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        kit.linear(kit.after_flattening(fc1[0], 5, 5, 16), fc1[1]), nn.ReLU(), kit.linear(*fc2), nn.ReLU(), kit.linear(*fc3),
    )  # fmt: skip


def lenet_torch(batch: int) -> Make:
    """A step with momentum."""
    return lambda kit: classify_torch(
        kit, lenet_module, lambda p: kit.sgd(p, 0.9), random(batch, 32, 32, 3), batch, False
    )  # fmt: skip


def lenet_work(batch: int) -> Work:
    """Of a step."""
    convolutions = conv_work(batch, 28, 5, 3, 6, 1) + conv_work(batch, 10, 5, 6, 16, 2)
    return convolutions + dense_work(batch, LENET_DENSE, first_gradient=True) + update_work(LENET_PARAMETERS, 1)


CASES = [
    *(
        Case(
            f"train step, CNN conv16-conv32-pool-dropout-128-dropout-10, batch {batch}, Adam",
            0.4,
            everywhere(cnn(batch), "fdl", "jax", torch=cnn_torch(batch)),
            work=cnn_work(batch),
            tolerance=1e-3,
        )
        for batch in (32, 128)
    ),
    *(
        Case(
            f"train step, LeNet on 32×32×3, batch {batch}, momentum",
            0.35,
            everywhere(lenet(batch), "fdl", "jax", torch=lenet_torch(batch)),
            work=lenet_work(batch),
            tolerance=1e-3,
        )
        for batch in (4, 128)
    ),
    Case(
        "eager CNN forward, batch 128",
        1.2,
        everywhere(cnn_eager, "fdl", "jax", torch=cnn_eager_torch),
        peers=("torch",),
        work=cnn_forward_work(128),
    ),
]
