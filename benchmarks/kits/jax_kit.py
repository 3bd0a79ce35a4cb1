"""JAX's kit, with Optax."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as np
import numpy
import optax
from jax import lax

from benchmarks.record import Bench

jit, grad, value_and_grad, scan, fori_loop = jax.jit, jax.grad, jax.value_and_grad, lax.scan, lax.fori_loop
array, tree_map, wait = np.asarray, jax.tree.map, jax.block_until_ready
key, split, fold_in, normal = jax.random.key, jax.random.split, jax.random.fold_in, jax.random.normal
relu, sigmoid, softmax = jax.nn.relu, jax.nn.sigmoid, jax.nn.softmax
softmax_cross_entropy = optax.softmax_cross_entropy_with_integer_labels
sigmoid_binary_cross_entropy = optax.sigmoid_binary_cross_entropy


def versions() -> dict[str, str]:
    """Of what runs."""
    return {"JAX": jax.__version__, "Optax": optax.__version__}


def set_threads(n: int) -> None:
    """Nothing: XLA reads its environment, and the cores that it may run on, at the first computation."""


def arrays(values: Any) -> Any:
    """A pytree of ndarrays on JAX's device."""
    return jax.tree.map(np.asarray, values)


def function(f: Callable[..., Any], *args: Any) -> Bench:
    """A compiled function of pytrees of arrays that returns one array."""
    compiled, own = jax.jit(f), [arrays(a) for a in args]
    return Bench(lambda: compiled(*own).block_until_ready())


def eager(f: Callable[..., Any], *args: Any) -> Bench:
    """A function that is not compiled, and returns one array."""
    own = [arrays(a) for a in args]
    return Bench(lambda: f(*own).block_until_ready())


def conv(x: Any, w: Any, b: Any = None, padding: str = "VALID") -> Any:
    """A convolution of NHWC images with HWIO filters, and a bias."""
    y = lax.conv_general_dilated(x, w, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return y if b is None else y + b


def conv_transpose(x: Any, w: Any, stride: int) -> Any:
    """PyTorch's 1-D transposed convolution without padding: x (n, length, in), w (window, in, out)."""
    return lax.conv_transpose(np.asarray(x), np.flip(w, 0), (stride,), "VALID", dimension_numbers=("NWC", "WIO", "NWC"))


def max_pool(x: Any) -> Any:
    """The maxima of 2 × 2 windows of NHWC images."""
    return lax.reduce_window(x, -np.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def dropout(k: Any, x: Any, rate: float) -> Any:
    """Inverted dropout; `x` without a key."""
    return x if k is None else np.where(jax.random.bernoulli(k, 1 - rate, x.shape), x / (1 - rate), 0)


def one_of(table: Any, index: Any) -> Any:
    """Rows of a table."""
    return np.take(table, index, axis=0)


def adam() -> Any:
    """Adam at 1e-3."""
    return optax.adam(1e-3)


def sgd(momentum: float = 0.0) -> Any:
    """Gradient descent at 0.01."""
    return optax.sgd(0.01, momentum or None)


def _step(loss: Callable[..., Any], optimizer: Any, noisy: bool) -> Callable[..., Any]:
    """`(state, *batch) -> (state, loss)`, where the state is parameters, optimizer state and, with noise, the step's number."""

    def step(state: Any, *batch: Any) -> Any:
        params, opt_state, *count = state
        k = jax.random.fold_in(jax.random.key(0), count[0]) if noisy else None
        value, grads = jax.value_and_grad(loss)(params, k, *batch)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state, *(c + 1 for c in count)), value

    return step


def train(
    loss: Callable[..., Any], params: Any, optimizer: Any, *batch: Any, noisy: bool = False, steps: int = 0
) -> Bench:  # fmt: skip
    """Training steps of `loss(params, key, *batch)`, each one compiled call that consumes the state; see fdl's kit."""
    own = [arrays(b) for b in batch]

    def begin(with_noise: bool) -> Any:
        fresh = jax.tree.map(lambda p: np.array(p), params)
        return (fresh, optimizer.init(fresh), *([np.zeros((), numpy.int32)] if with_noise else []))

    def compiled(with_noise: bool) -> Any:
        step = _step(loss, optimizer, with_noise)
        if not steps:
            return jax.jit(step, donate_argnums=0)
        return jax.jit(lambda state, *xs: lax.scan(lambda s, x: step(s, *x), state, xs), donate_argnums=0)

    run, held = compiled(noisy), [begin(noisy)]

    def call() -> Any:
        # All outputs of one computation become ready together.
        held[0], value = run(held[0], *own)
        return value.block_until_ready()

    def reset() -> None:
        held[0] = jax.block_until_ready(begin(noisy))

    def results() -> Sequence[Any]:
        plain, state, losses = run if not noisy else compiled(False), begin(False), []
        for _ in range(1 if steps else 3):
            state, value = plain(state, *own)
            losses.append(numpy.array(value))
        return losses

    def peak() -> float:
        return float(run.lower(held[0], *own).compile().memory_analysis().temp_size_in_bytes)

    return Bench(call, results, reset, peak)
