"""Elementwise functions, reductions and transposes: rows that memory bounds, once they are fused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..record import F32, Bench, Case, Make, Work, everywhere, random

N = 1024
SQUARE = Work(read=F32 * N * N, written=F32 * N * N)
MANY = 1 << 24


def of_square(f: Callable[[Any, Any], Any]) -> Make:
    """The builder of `f(kit, x)` for a 1024 × 1024 matrix."""
    return lambda kit: kit.function(lambda x: f(kit, x), random(N, N))


def gelu(kit: Any, x: Any) -> Any:
    """GELU's tanh form, as it is written in NumPy."""
    return 0.5 * x * (1 + kit.np.tanh(0.7978845608 * (x + 0.044715 * x**3)))


def softmax(kit: Any, x: Any) -> Any:
    """Over the last axis."""
    return kit.softmax(x, -1)


def softmax_numpy(kit: Any, x: Any) -> Any:
    """The same, written out."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layernorm(kit: Any, x: Any) -> Any:
    """Over the last axis, without scale and shift."""
    mean = kit.np.mean(x, -1, keepdims=True)
    var = kit.np.mean((x - mean) ** 2, -1, keepdims=True)
    return (x - mean) / kit.np.sqrt(var + 1e-5)


def product_sum(kit: Any, x: Any) -> Any:
    """Σ tanh x · exp x."""
    return (kit.np.tanh(x) * kit.np.exp(x)).sum()


def by_torch(f: Callable[[Any, Any], Any]) -> Make:
    """The builder of `f(functional, x)`."""
    return of_square(lambda kit, x: f(kit.functional, x))


def affine(kit: Any) -> Bench:
    """x · 2 + 1 of 16 M floats."""
    return kit.function(lambda x: x * 2 + 1, random(MANY))


CASES = [
    Case(
        "gelu 1024²",
        0.6,
        everywhere(of_square(gelu), torch=by_torch(lambda f, x: f.gelu(x, approximate="tanh"))),
        work=SQUARE,
    ),
    Case(
        "softmax 1024²",
        0.6,
        everywhere(
            of_square(softmax), "fdl", "jax", torch=by_torch(lambda f, x: f.softmax(x, -1)), numpy=of_square(softmax_numpy)
        ),
        work=SQUARE,
    ),
    Case(
        "layernorm 1024²",
        0.6,
        everywhere(of_square(layernorm), torch=by_torch(lambda f, x: f.layer_norm(x, (N,)))),
        work=SQUARE,
    ),
    # The terms cancel to a hundredth of their sum, and each library adds them in another order.
    Case("sum(tanh · exp) 1024²", 0.6, everywhere(of_square(product_sum)), work=Work(read=F32 * N * N), tolerance=1e-4),
    Case("sum over axis 0, 1024²", 1.0, everywhere(of_square(lambda kit, x: x.sum(0))), work=Work(read=F32 * N * N)),
    Case("x.T + x, 1024²", 0.4, everywhere(of_square(lambda kit, x: x.T + x)), work=SQUARE),
    Case("x * 2 + 1, 16 M floats", 0.9, everywhere(affine), work=Work(read=F32 * MANY, written=F32 * MANY)),
]
