"""The cases: the same computation in fdl, NumPy, JAX and PyTorch, each in its own idiom, with arguments in its own arrays.

Each case is a function that returns `{library: call}`; a call computes once and waits for the result.  `checked` values are
compared before anything is timed.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

import fdl
import fdl.numpy as fnp
from fdl import optim

Calls = dict[str, Callable[[], Any]]
RNG = np.random.default_rng(0)


@dataclass(frozen=True, slots=True)
class Case:
    """A row: its name, the ratio to the best peer that is aimed at, and what makes its calls."""

    name: str
    target: float
    make: Callable[[], Calls]
    peers: tuple[str, ...] = ("jax", "torch", "numpy")


def f32(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def _jax(f: Callable[..., Any], *args: np.ndarray) -> Callable[[], Any]:
    g, xs = jax.jit(f), [jnp.asarray(a) for a in args]
    return lambda: jax.block_until_ready(g(*xs))


def _fdl(f: Callable[..., Any], *args: np.ndarray) -> Callable[[], Any]:
    g, xs = fdl.jit(f), [fnp.asarray(a) for a in args]
    return lambda: g(*xs)


def _torch(f: Callable[..., Any], *args: np.ndarray) -> Callable[[], Any]:
    xs = [torch.from_numpy(np.array(a)) for a in args]

    def call() -> Any:
        with torch.no_grad():
            return f(*xs)

    return call


def elementwise(of: Callable[[Any], Any], torch_of: Callable[[Any], Any], jax_of: Callable[[Any], Any], *shape: int) -> Calls:
    x = f32(*shape)
    return {"fdl": _fdl(of, x), "jax": _jax(jax_of, x), "torch": _torch(torch_of, x)}


def affine(n: int) -> Calls:
    x = f32(n)
    f = lambda x: x * 2 + 1  # noqa: E731
    return {"fdl": _fdl(f, x), "jax": _jax(f, x), "torch": _torch(f, x), "numpy": lambda: f(x)}


def matmul(n: int) -> Calls:
    a, b = f32(n, n), f32(n, n)
    return {
        "fdl": _fdl(fnp.matmul, a, b),
        "jax": _jax(jnp.matmul, a, b),
        "torch": _torch(torch.matmul, a, b),
        "numpy": lambda: a @ b,
    }


def leaves() -> Calls:
    tree = {f"k{i}": {f"a{j}": f32(3) for j in range(5)} for i in range(4)}
    ours = {k: {n: fnp.asarray(v) for n, v in d.items()} for k, d in tree.items()}
    theirs = jax.tree.map(jnp.asarray, tree)
    f, g = fdl.jit(lambda d: d["k0"]["a0"] + 1), jax.jit(lambda d: d["k0"]["a0"] + 1)
    return {"fdl": lambda: f(ours), "jax": lambda: jax.block_until_ready(g(theirs))}


def softmax_fdl(x: Any) -> Any:
    e = fnp.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layernorm(np_: Any, x: Any) -> Any:
    mean = np_.mean(x, -1, keepdims=True)
    var = np_.mean((x - mean) ** 2, -1, keepdims=True)
    return (x - mean) / np_.sqrt(var + 1e-5)


def gelu(np_: Any, x: Any) -> Any:
    return 0.5 * x * (1 + np_.tanh(0.7978845608 * (x + 0.044715 * x**3)))


def normal() -> Calls:
    key, jkey = fdl.random.key(0), jax.random.key(0)
    f, g = fdl.jit(lambda k: fdl.random.normal(k, (1024, 1024))), jax.jit(lambda k: jax.random.normal(k, (1024, 1024)))
    return {
        "fdl": lambda: f(key),
        "jax": lambda: jax.block_until_ready(g(jkey)),
        "torch": lambda: torch.randn(1024, 1024),
    }


SIZES = (784, 512, 256, 10)


def mlp_step(batch: int) -> Calls:
    """One training step of the MLP 784-512-256-10 with Adam, from the loss to the new parameters."""
    start = [(f32(i, o) * np.float32(np.sqrt(2 / i)), np.zeros(o, np.float32)) for i, o in itertools.pairwise(SIZES)]
    x, y = f32(batch, 784), RNG.integers(0, 10, batch).astype(np.int32)

    def net(relu: Any, params: Any, h: Any) -> Any:
        for w, b in params[:-1]:
            h = relu(h @ w + b)
        return h @ params[-1][0] + params[-1][1]

    def fdl_loss(params: Any, x: Any, y: Any) -> Any:
        z = net(lambda h: fnp.maximum(h, 0.0), params, x)
        return (fnp.logsumexp(z, -1) - (z * fnp.one_hot(y, 10)).sum(-1)).mean()

    opt = optim.adam(1e-3)

    def fdl_step(params: Any, state: Any, x: Any, y: Any) -> Any:
        loss, grads = fdl.value_and_grad(fdl_loss)(params, x, y)
        updates, state = opt.update(grads, state, params)
        return optim.apply_updates(params, updates), state, loss

    step = fdl.jit(fdl_step, donate_argnums=(0, 1))
    ours = [tuple(fnp.asarray(v) for v in layer) for layer in start]
    held = [(ours, opt.init(ours), None)]
    fx, fy = fnp.asarray(x), fnp.asarray(y)

    def call_fdl() -> Any:
        held[0] = step(held[0][0], held[0][1], fx, fy)
        return held[0][2]

    jopt = optax.adam(1e-3)

    def jax_loss(params: Any, x: Any, y: Any) -> Any:
        z = net(jax.nn.relu, params, x)
        return optax.softmax_cross_entropy_with_integer_labels(z, y).mean()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def jax_step(params: Any, state: Any, x: Any, y: Any) -> Any:
        loss, grads = jax.value_and_grad(jax_loss)(params, x, y)
        updates, state = jopt.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    theirs = jax.tree.map(jnp.asarray, start)
    jheld = [(theirs, jopt.init(theirs), None)]
    jx, jy = jnp.asarray(x), jnp.asarray(y)

    def call_jax() -> Any:
        jheld[0] = jax_step(jheld[0][0], jheld[0][1], jx, jy)
        return jax.block_until_ready(jheld[0][2])

    layers: list[Any] = []
    for i, (w, b) in enumerate(start):
        linear = torch.nn.Linear(*w.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w.T))
            linear.bias.copy_(torch.from_numpy(b))
        layers += [linear, torch.nn.ReLU()] if i < 2 else [linear]
    model = torch.nn.Sequential(*layers)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    tx, ty = torch.from_numpy(x), torch.from_numpy(y).long()

    def call_torch() -> Any:
        adam.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(model(tx), ty)
        loss.backward()
        adam.step()
        return loss.detach()

    return {"fdl": call_fdl, "jax": call_jax, "torch": call_torch}


def square(f: Callable[..., Any], torch_f: Callable[..., Any] | None = None, jax_f: Callable[..., Any] | None = None) -> Any:
    """What makes the calls of a function of one 1024 × 1024 matrix; `f` takes a NumPy-like module where it names no library."""
    return lambda: elementwise(f, torch_f or f, jax_f or f, 1024, 1024)


def both(f: Callable[[Any, Any], Any], torch_f: Callable[..., Any]) -> Any:
    """The same of a function `f(module, x)`."""
    return square(functools.partial(f, fnp), torch_f, functools.partial(f, jnp))


CASES = [
    Case("call of x + 1, 4 floats", 0.1, lambda: elementwise(lambda x: x + 1, lambda x: x + 1, lambda x: x + 1, 4), ("jax",)),
    Case("call over a 20-leaf dict of dicts", 0.06, leaves, ("jax",)),
    *(Case(f"MLP step with Adam, batch {b}", 0.75, functools.partial(mlp_step, b)) for b in (32, 128, 512)),
    Case("gelu 1024²", 0.6, both(gelu, lambda x: torch.nn.functional.gelu(x, approximate="tanh"))),
    Case("softmax 1024²", 0.6, square(softmax_fdl, lambda x: torch.softmax(x, -1), lambda x: jax.nn.softmax(x, -1))),
    Case("layernorm 1024²", 0.6, both(layernorm, lambda x: torch.nn.functional.layer_norm(x, (1024,)))),
    Case("sum over axis 0, 1024²", 1.0, square(lambda x: x.sum(0))),
    Case("x.T + x, 1024²", 0.4, square(lambda x: x.T + x)),
    Case("x * 2 + 1, 16 M floats", 0.9, lambda: affine(1 << 24)),
    *(Case(f"matmul {n}", 0.9 if n <= 256 else 1.0, functools.partial(matmul, n)) for n in (64, 128, 256, 512, 1024, 2048)),
    Case("normal random numbers 1024²", 0.4, normal),
    Case(
        "sort 1024² by row",
        0.7,
        square(lambda x: fnp.sort(x, -1), lambda x: torch.sort(x, -1).values, lambda x: jnp.sort(x, -1)),
    ),
    Case("cumsum 1024²", 0.7, square(lambda x: fnp.cumsum(x, -1), lambda x: torch.cumsum(x, -1), lambda x: jnp.cumsum(x, -1))),
]
