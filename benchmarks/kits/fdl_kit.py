"""fdl's kit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite
import numpy

import fdl
import fdl.numpy as np
from benchmarks.record import Bench
from fdl import nn, optim, random
from fdl.nn.losses import sigmoid_binary_cross_entropy as sigmoid_binary_cross_entropy
from fdl.nn.losses import softmax_cross_entropy as softmax_cross_entropy
from fdl.tracer import tree
from fdl.tracer.ir import Program, subprograms
from fdl.tracer.ops.convolve import conv as raw_conv

jit, grad, value_and_grad, scan, fori_loop = fdl.jit, fdl.grad, fdl.value_and_grad, fdl.scan, fdl.fori_loop
array, tree_map = np.asarray, tree.map
key, split, fold_in, normal = random.key, random.split, random.fold_in, random.normal
relu, sigmoid, softmax = nn.relu, nn.sigmoid, nn.softmax
set_threads = fdl.set_num_threads


def versions() -> dict[str, str]:
    """Of what runs."""
    return {"llvmlite": llvmlite.__version__, "NumPy": numpy.__version__}


def wait(value: Any) -> Any:
    """`value`: a call returns when the result is there."""
    return value


def arrays(values: Any) -> Any:
    """A pytree of ndarrays as fdl arrays."""
    return tree.map(np.asarray, values)


def function(f: Callable[..., Any], *args: Any) -> Bench:
    """A compiled function of pytrees of arrays."""
    compiled, own = fdl.jit(f), [arrays(a) for a in args]
    return Bench(lambda: compiled(*own))


def eager(f: Callable[..., Any], *args: Any) -> Bench:
    """A function that is not compiled."""
    own = [arrays(a) for a in args]
    return Bench(lambda: f(*own))


def equations(f: Callable[..., Any], *args: Any) -> int:
    """How many equations a function traces to, those of inner programs too."""

    def count(program: Program) -> int:
        return sum(1 + sum(map(count, subprograms(e.params))) for e in program.equations)

    return count(fdl.jit(f).lower(*(arrays(a) for a in args)).program)


def conv(x: Any, w: Any, b: Any = None, padding: str = "VALID") -> Any:
    """A convolution of NHWC images with HWIO filters, and a bias."""
    layer = nn.Conv(w.shape[-1], w.shape[:-2], padding=padding, bias=b is not None)
    return layer({"w": w} if b is None else {"w": w, "b": b}, (), x)[0]


def conv_transpose(x: Any, w: Any, stride: int) -> Any:
    """PyTorch's 1-D transposed convolution without padding: x (n, length, in), w (window, in, out)."""
    edge = w.shape[0] - 1
    return raw_conv(
        x, np.flip(w, 0), strides=(1,), padding=((edge, edge),), lhs_dilation=(stride,), rhs_dilation=(1,), groups=1
    )  # fmt: skip


def max_pool(x: Any) -> Any:
    """The maxima of 2 × 2 windows of NHWC images."""
    return nn.MaxPool(2)((), (), x)[0]


def dropout(k: Any, x: Any, rate: float) -> Any:
    """Inverted dropout; `x` without a key."""
    return x if k is None else nn.Dropout(rate)((), (), x, key=k, train=True)[0]


def one_of(table: Any, index: Any) -> Any:
    """Rows of a table."""
    return np.take(table, index, axis=0)


def adam() -> Any:
    """Adam at 1e-3."""
    return optim.adam(1e-3)


def sgd(momentum: float = 0.0) -> Any:
    """Gradient descent at 0.01."""
    return optim.sgd(0.01, momentum)


def _step(loss: Callable[..., Any], optimizer: Any, noisy: bool) -> Callable[..., Any]:
    """`(state, *batch) -> (state, loss)`, where the state is parameters, optimizer state and, with noise, the step's number."""

    def step(state: Any, *batch: Any) -> Any:
        params, opt_state, *count = state
        k = random.fold_in(random.key(0), count[0]) if noisy else None
        value, grads = fdl.value_and_grad(loss)(params, k, *batch)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optim.apply_updates(params, updates), opt_state, *(c + 1 for c in count)), value

    return step


def train(
    loss: Callable[..., Any], params: Any, optimizer: Any, *batch: Any, noisy: bool = False, steps: int = 0
) -> Bench:  # fmt: skip
    """Training steps of `loss(params, key, *batch)`, each one compiled call that consumes the state.

    Args:
        noisy: whether the loss gets a key (else None). What is compared comes from steps without one.
        steps: 0 for single steps; else the steps of one call, a scan over the batches' leading axis.
    """
    own = [arrays(b) for b in batch]

    def begin(with_noise: bool) -> Any:
        fresh = tree.map(lambda p: np.array(p), params)
        return (fresh, optimizer.init(fresh), *([np.zeros((), numpy.int32)] if with_noise else []))

    def compiled(with_noise: bool) -> Any:
        step = _step(loss, optimizer, with_noise)
        if not steps:
            return fdl.jit(step, donate_argnums=0)
        return fdl.jit(lambda state, *xs: fdl.scan(lambda s, x: step(s, *x), state, xs), donate_argnums=0)

    run, held = compiled(noisy), [begin(noisy)]

    def call() -> Any:
        held[0], value = run(held[0], *own)
        return value

    def reset() -> None:
        held[0] = begin(noisy)

    def results() -> Sequence[Any]:
        plain, state, losses = run if not noisy else compiled(False), begin(False), []
        for _ in range(1 if steps else 3):
            state, value = plain(state, *own)
            losses.append(numpy.array(value))
        return losses

    def peak() -> float:
        return float(run.lower(held[0], *own).plan.nbytes)

    return Bench(call, results, reset, peak)
