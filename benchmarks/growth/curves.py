"""What is measured: each curve, and the cases that its points are. Imports no library, as the cases of `benchmarks/cases/` do."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..cases.matmul import product
from ..cases.train_mlp import mlp
from ..record import Bench, Case, Make, everywhere, random

LIBRARIES = ("fdl", "jax")
WIDTH, ROWS = 64, 32
"""Of the deep network: features of each layer, and examples."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A computation at many sizes.

    Attributes:
        name: unique.
        axis: what the size is.
        sizes: ascending.
        quick: those of a short run.
        make: size → builder for a library's kit.
        unit: what work is counted in.
        work: size → units; None where `count` tells.
        count: size → builder, fdl's only, whose single sample is the number of units.
        power: the exponent that time may grow with past the last cut.
        cuts: the sizes, among `sizes` and `quick`, that exponents are fitted between: fixed costs and small tiles first, what grows last.
        tolerance: as in `Case`.
    """

    name: str
    axis: str
    sizes: tuple[int, ...]
    quick: tuple[int, ...]
    make: Callable[[int], Make]
    unit: str
    work: Callable[[int], float] | None
    count: Callable[[int], Make] | None = None
    power: float = 1.0
    cuts: tuple[int, ...] = ()
    tolerance: float = 1e-5

    def case(self, n: int) -> Case:
        """The point at a size."""
        return Case(f"{self.name}: {n}", None, everywhere(self.make(n), *LIBRARIES), ("jax",), tolerance=self.tolerance)

    def counting(self, n: int) -> Case:
        """The case whose sample is the units of work at a size."""
        assert self.count is not None
        return Case(f"{self.name}: units at {n}", None, {"fdl": self.count(n)}, ("jax",))


def outputs(kit: Any, f: Callable[..., Any], *args: Any) -> Bench:
    """A compiled function of pytrees that returns one; the results are its leaves in the order of sorted keys."""
    compiled, own = kit.jit(f), [kit.arrays(a) for a in args]
    return Bench(lambda: kit.wait(compiled(*own)), lambda: list(leaves(compiled(*own))))


def leaves(value: Any) -> list[np.ndarray[Any, Any]]:
    """The arrays in dicts, lists and tuples, dicts by sorted key: the order that both libraries flatten in."""
    if isinstance(value, dict):
        return [x for k in sorted(value) for x in leaves(value[k])]
    if isinstance(value, (list, tuple)):
        return [x for v in value for x in leaves(v)]
    return [np.asarray(value)]


# --- depth ----------------------------------------------------------------------------------------


def layers(depth: int) -> list[Any]:
    """Weights whose activations neither fade nor grow, and biases."""
    scale = 1 / np.sqrt(WIDTH)
    return [(random(WIDTH, WIDTH, seed=k, scale=scale), np.zeros(WIDTH, np.float32)) for k in range(depth)]


def step(kit: Any, rate: float = 0.01) -> Callable[..., Any]:
    """A training step of tanh layers by gradient descent, each layer written out: (parameters, x) → (loss, parameters)."""

    def loss(params: Any, x: Any) -> Any:
        for w, b in params:
            x = kit.np.tanh(x @ w + b)
        return (x**2).mean()

    def update(params: Any, x: Any) -> Any:
        value, grads = kit.value_and_grad(loss)(params, x)
        return value, kit.tree_map(lambda p, g: p - rate * g, params, grads)

    return update


def deep(depth: int) -> Make:
    """Calls of the step."""
    return lambda kit: outputs(kit, step(kit), layers(depth), random(ROWS, WIDTH, seed=999))


RATES = (0.01 + 1e-5 * k for k in itertools.count())
"""Learning rates that no program of this process has had."""


def compiling(depth: int) -> Make:
    """Tracing and compiling of the step: each sample is of a program with another learning rate, which no cache has."""

    def build(kit: Any) -> Bench:
        x = kit.arrays(random(ROWS, WIDTH))
        params, one = kit.arrays(layers(depth)), kit.arrays(layers(1))

        def once(params: Any) -> float:
            start = time.perf_counter()
            kit.jit(step(kit, next(RATES))).lower(params, x).compile()
            return time.perf_counter() - start

        once(one)  # what the library does at its first compilation only
        return Bench(lambda: once(params), sampler=lambda seconds: [once(params)])

    return build


def equations(depth: int) -> Make:
    """How many equations the step has in fdl's program."""

    def build(kit: Any) -> Bench:
        found = kit.equations(step(kit), layers(depth), random(ROWS, WIDTH))
        return Bench(lambda: found, sampler=lambda seconds: [float(found)])

    return build


# --- pytrees --------------------------------------------------------------------------------------


def tree(n: int) -> dict[str, tuple[np.ndarray[Any, Any], ...]]:
    """`n` arrays of 4 floats: a dict of pairs, the last one alone where `n` is odd."""
    every = [random(4, seed=k) for k in range(n)]
    return {f"layer{k:04d}": tuple(every[k : k + 2]) for k in range(0, n, 2)}


def over_tree(n: int) -> Make:
    """x + 1 for each leaf."""
    return lambda kit: outputs(kit, lambda t: kit.tree_map(lambda x: x + 1, t), tree(n))


# --- loops ----------------------------------------------------------------------------------------


def running(kit: Any, xs: Any) -> Any:
    """A scan whose step reads a number, moves its carry towards it, and writes it: (last carry, all of them)."""

    def towards(c: Any, x: Any) -> Any:
        c = 0.5 * (c + x)
        return c, c

    return kit.scan(towards, kit.np.zeros((), np.float32), xs)


def scanning(n: int) -> Make:
    """The scan."""
    return lambda kit: outputs(kit, lambda xs: running(kit, xs), random(n))


def scan_gradient(n: int) -> Make:
    """The gradient, for what it reads, of the sum of squares of what it writes."""
    return lambda kit: outputs(kit, kit.grad(lambda xs: (running(kit, xs)[1] ** 2).sum()), random(n))


def setting(n: int) -> Make:
    """`x.at[i].set` for each element in turn, of an array that the loop carries."""
    return lambda kit: outputs(
        kit, lambda x: kit.fori_loop(0, n, lambda i, x: x.at[i].set(0.5 * x[i] + 1.0), x), random(n)
    )  # fmt: skip


LENGTHS = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
SHORT = (1, 10, 100, 1_000, 10_000, 100_000)
DEPTHS = (1, 2, 5, 10, 20, 50, 100, 150, 200)

CURVES = (
    Curve(
        "matmul n × n",
        "n",
        (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096),
        (16, 32, 64, 100, 128, 256, 512, 1024, 2048),
        product,
        "multiply-add",
        lambda n: float(n) ** 3,
        power=3.0,
        cuts=(64, 512),
    ),
    Curve(
        "training step of the MLP 784-512-256-10",
        "batch",
        (1, 2, 4, 7, 8, 16, 31, 32, 64, 100, 128, 256, 512, 1000, 1024, 2048, 4096),
        (1, 2, 8, 32, 100, 256, 512, 2048),
        mlp,
        "example",
        float,
        cuts=(32, 256),
        tolerance=1e-3,
    ),
    Curve(
        f"call of a step through layers {WIDTH} → {WIDTH}, batch {ROWS}",
        "layers",
        DEPTHS,
        (1, 5, 10, 50),
        deep,
        "layer",
        float,
        cuts=(10,),
        tolerance=1e-4,
    ),
    Curve(
        "trace and compile that step",
        "layers",
        DEPTHS,
        (1, 5, 10, 50),
        compiling,
        "equation",
        None,
        count=equations,
        cuts=(10,),
    ),
    Curve(
        "call over a dict of pairs",
        "leaves",
        (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000),
        (1, 10, 20, 50, 200),
        over_tree,
        "leaf",
        float,
        cuts=(20,),
    ),
    Curve("scan of a scalar step", "steps", LENGTHS, SHORT, scanning, "step", float, cuts=(1_000,)),
    Curve("gradient of that scan", "steps", LENGTHS, SHORT, scan_gradient, "step", float, cuts=(1_000,)),
    Curve("x.at[i].set for each i in a loop", "n", LENGTHS, SHORT, setting, "step", float, cuts=(1_000,)),
)

CASES: tuple[Case, ...] = tuple(
    case
    for curve in CURVES
    for n in sorted({*curve.sizes, *curve.quick})
    for case in ([curve.case(n)] if curve.count is None else [curve.counting(n), curve.case(n)])
)
