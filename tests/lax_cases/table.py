"""What the tests of `fdl.lax` try: functions of a `lax` module and arrays, of which JAX's figures are in data/jax_lax.npz.

`f(lax, *arrays)` runs with `jax.lax` where the figures are made (data/make_jax_functions.py), and with `fdl.lax` in the tests: nothing
here imports either.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Draw = Callable[[np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Case:
    """One call.

    Attributes:
        name: unique; what stands before a colon is the function's name.
        f: of the module and the arrays.
        draws: of the arrays.
        grad: whether derivatives are checked, to order 2, in the floating-point arrays.
        rtol: how far the result may be from JAX's, relatively; 0 for equal.
    """

    name: str
    f: Callable[..., Any]
    draws: tuple[Draw, ...]
    grad: bool = False
    rtol: float = 1e-12

    def arrays(self) -> list[np.ndarray]:
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        return [draw(rng) for draw in self.draws]


CASES: list[Case] = []


def case(name: str, f: Callable[..., Any], *draws: Draw, grad: bool = False, rtol: float = 1e-12) -> None:
    assert all(c.name != name for c in CASES), name
    CASES.append(Case(name, f, draws, grad, rtol))


# --- arrays ---------------------------------------------------------------------------------------


def normal(*shape: int, dtype: str = "float64") -> Draw:
    return lambda rng: np.asarray(rng.normal(size=shape), dtype)


def between(low: float, high: float, *shape: int, dtype: str = "float64") -> Draw:
    return lambda rng: np.asarray(rng.uniform(low, high, shape), dtype)


def cplx(*shape: int) -> Draw:
    return lambda rng: np.asarray(rng.normal(size=shape) + 1j * rng.normal(size=shape))


def ints(low: int, high: int, *shape: int, dtype: str = "int32") -> Draw:
    return lambda rng: np.asarray(rng.integers(low, high, shape), dtype)


def bools(*shape: int) -> Draw:
    return lambda rng: np.asarray(rng.integers(0, 2, shape), bool)


def distinct(*shape: int) -> Draw:
    n = int(np.prod(shape))
    return lambda rng: ((rng.permutation(n) - n // 2) * 0.25 + 0.1).reshape(shape)


def any_bits(dtype: str, n: int) -> Draw:
    """Integers of which every bit is as likely as not."""
    return lambda rng: np.frombuffer(rng.bytes(8 * n), dtype)[:n].copy()


def just(*values: Any, dtype: str = "float64") -> Draw:
    return lambda rng: np.asarray(values, dtype)


NAN, INF = float("nan"), float("inf")
