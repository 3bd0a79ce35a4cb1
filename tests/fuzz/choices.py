"""Where random decisions come from: a seed, or Hypothesis.

The generators of this package ask a `Choices` for everything, so that one and the same code serves the driver, whose programs are known by
their seeds alone, and a Hypothesis strategy, which shrinks.  Smaller numbers and earlier options should be the simpler ones.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies as st

T = TypeVar("T")


class Choices:
    """A source of decisions."""

    def integer(self, low: int, high: int) -> int:
        """A number from `low` to `high`, both included."""
        raise AssertionError(f"{type(self).__name__} is abstract")

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.integer(0, len(options) - 1)]

    def weighted(self, options: Sequence[tuple[T, int]]) -> T:
        """One of (option, weight) pairs."""
        at = self.integer(0, sum(w for _, w in options) - 1)
        for option, weight in options:
            at -= weight
            if at < 0:
                return option
        raise AssertionError("weights are positive")

    def chance(self, percent: int) -> bool:
        """True in about `percent` of a hundred cases."""
        return self.integer(0, 99) >= 100 - percent

    def permutation(self, n: int) -> tuple[int, ...]:
        """The numbers below `n` in some order."""
        rest, order = list(range(n)), []
        while rest:
            order.append(rest.pop(self.integer(0, len(rest) - 1)))
        return tuple(order)

    def subset(self, n: int) -> tuple[int, ...]:
        """Some of the numbers below `n`, in order."""
        return tuple(i for i in range(n) if self.integer(0, 1))

    def rng(self) -> np.random.Generator:
        """A generator of sample values, which are not worth a decision each."""
        return np.random.default_rng(self.integer(0, 2**31 - 1))


class Seeded(Choices):
    """Decisions that follow from a seed."""

    def __init__(self, seed: int | str) -> None:
        self._random = random.Random(seed)

    def integer(self, low: int, high: int) -> int:
        return self._random.randint(low, high)


class Drawn(Choices):
    """Decisions that Hypothesis makes, through the `draw` of a composite strategy."""

    def __init__(self, draw: Callable[[st.SearchStrategy[int]], Any]) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        return int(self._draw(st.integers(low, high)))
