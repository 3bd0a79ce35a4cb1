"""`Dropout`: random zeros while training."""

from __future__ import annotations

from dataclasses import field
from typing import Any

import fdl.random as random
from fdl import numpy as fnp
from fdl.numpy.promote import promote_operands
from fdl.tracer.errors import at, user_source
from fdl.tracer.records import dataclass

from .base import STATIC, Layer, MissingKeyError, Params, State


@dataclass(frozen=True, slots=True)
class Dropout(Layer):
    """Each element set to 0 with probability `rate`, the others divided by 1 − rate, when `train`; else `x` itself.

    Inverted dropout (Srivastava et al., JMLR 2014, section 10): the expected output is the input, so evaluation changes nothing.
    Inputs of any shape.

    Raises: MissingKeyError when it trains without a key; ValueError for a rate outside [0, 1].

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> y, _ = Dropout(0.5)((), (), fnp.ones(8), key=fdl.random.key(0), train=True)
        >>> sorted(set(y.tolist()))
        [0.0, 2.0]
    """

    rate: float = field(default=0.5, metadata=STATIC)

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ValueError(f"Dropout: rate={self.rate!r}: expected a probability between 0 and 1.{at(user_source())}")

    def __call__(self, params: Params, state: State, x: Any, *, key: Any = None, train: bool = False) -> tuple[Any, State]:
        if not train or self.rate == 0:
            return x, state
        if key is None:
            raise MissingKeyError(
                f"{self} was called with train=True and without a key, and it needs one to draw its mask. "
                f"Pass key=fdl.random.key(seed), another one for each step.{at(user_source())}"
            )
        (x,) = promote_operands("Dropout", x, inexact=True)
        if self.rate == 1:
            return fnp.zeros_like(x), state
        keep = random.bernoulli(key, 1 - self.rate, x.shape)
        return fnp.where(keep, fnp.multiply(x, 1 / (1 - self.rate)), 0), state
