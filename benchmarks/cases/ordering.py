"""Random numbers, sorting, running sums, and reads and writes by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..record import F32, Bench, Case, Work, everywhere, random
from .elementwise import SQUARE, N, of_square

ROWS, WIDTH = 8192, 256
PICKED = np.random.default_rng(11).integers(0, ROWS, 4096).astype(np.int32)
HIT = np.random.default_rng(12).integers(0, 1024, 1024).astype(np.int32)
GATHERED = F32 * len(PICKED) * WIDTH
SCATTERED = F32 * 1024 * WIDTH


def moments(draw: Any) -> Bench:
    """Normal numbers, compared by their mean and standard deviation: generators differ."""

    def results() -> Any:
        x = np.asarray(draw()).astype(np.float64)
        return [np.array([1.0, x.mean(), x.std()])]

    return Bench(draw, results)


def normal(kit: Any) -> Bench:
    """From a key."""
    key, draw = kit.key(0), kit.jit(lambda k: kit.normal(k, (N, N)))
    return moments(lambda: kit.wait(draw(key)))


def normal_numpy(kit: Any) -> Bench:
    """From NumPy's default generator."""
    generator = np.random.default_rng(0)
    return moments(lambda: generator.standard_normal((N, N), np.float32))


def gather(kit: Any) -> Bench:
    """4,096 rows of 256 out of 8,192."""
    return kit.function(lambda x, i: kit.np.take(x, i, axis=0), random(ROWS, WIDTH), PICKED)


def scatter(kit: Any) -> Bench:
    """1,024 rows of 256 added to rows of a copy of another such table, some of them twice or more."""
    return kit.function(lambda x, i, v: x.at[i].add(v), random(1024, WIDTH), HIT, random(1024, WIDTH, seed=1))


def scatter_numpy(kit: Any) -> Bench:
    """The same in place in a copy."""

    def added(x: Any, i: Any, v: Any) -> Any:
        x = x.copy()
        np.add.at(x, i, v)
        return x

    return kit.function(added, random(1024, WIDTH), HIT, random(1024, WIDTH, seed=1))


def scatter_torch(kit: Any) -> Bench:
    """`index_add`, which copies too."""
    return kit.function(lambda x, i, v: x.index_add(0, i, v), random(1024, WIDTH), HIT, random(1024, WIDTH, seed=1))


def gather_torch(kit: Any) -> Bench:
    """`index_select`."""
    return kit.function(lambda x, i: x.index_select(0, i), random(ROWS, WIDTH), PICKED)


CASES = [
    Case(
        "normal random numbers 1024²",
        0.4,
        everywhere(
            normal,
            "fdl",
            "jax",
            torch=lambda kit: moments(lambda: kit.torch.randn(N, N)),
            numpy=normal_numpy,
        ),
        tolerance=5e-3,
    ),
    Case(
        "sort 1024² by row",
        0.7,
        everywhere(of_square(lambda kit, x: kit.np.sort(x, -1)), torch=of_square(lambda kit, x: kit.torch.sort(x, -1).values)),
        tolerance=0,
    ),
    Case("cumsum 1024² along rows", 0.7, everywhere(of_square(lambda kit, x: kit.np.cumsum(x, -1))), work=SQUARE),
    Case(
        "gather 4096 rows of 256",
        0.8,
        everywhere(gather, torch=gather_torch),
        work=Work(read=GATHERED, written=GATHERED),
        tolerance=0,
    ),
    Case(
        "scatter-add 1024 rows of 256",
        0.8,
        everywhere(scatter, "fdl", "jax", torch=scatter_torch, numpy=scatter_numpy),
        work=Work(read=2 * SCATTERED, written=SCATTERED),
    ),
]
