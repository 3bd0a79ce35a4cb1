"""Schedules: learning rates as functions of the number of updates so far, which may be traced."""

from __future__ import annotations

import math
from typing import Any

from fdl import numpy as fnp
from fdl.tracer.errors import at, user_source

from .transformation import Schedule


def constant(value: float) -> Schedule:
    """`value` at every step."""
    return lambda count: value


def cosine_decay(start: float, steps: int, end: float = 0.0) -> Schedule:
    """From `start` to `end` along half a cosine in `steps` updates, then `end` (Loshchilov and Hutter, ICLR 2017, equation 5).

    Example:
        >>> f = cosine_decay(1.0, 10)
        >>> [round(float(f(i)), 3) for i in (0, 5, 10, 20)]
        [1.0, 0.5, 0.0, 0.0]
    """
    if steps < 1:
        raise ValueError(f"cosine_decay: steps={steps!r}: expected at least 1.{at(user_source())}")

    def rate(count: Any) -> Any:
        done = fnp.minimum(fnp.divide(count, float(steps)), 1.0)
        return fnp.add(fnp.multiply(fnp.add(fnp.cos(fnp.multiply(done, math.pi)), 1.0), (start - end) / 2), end)

    return rate


def exponential_decay(start: float, steps: int, factor: float) -> Schedule:
    """start · factor^(count / steps).

    Example:
        >>> round(float(exponential_decay(1.0, 10, 0.5)(20)), 3)
        0.25
    """
    if steps < 1 or factor <= 0:
        raise ValueError(
            f"exponential_decay: steps={steps!r}, factor={factor!r}: expected steps of at least 1 and a positive factor."
            f"{at(user_source())}"
        )
    rate = math.log(factor) / steps
    return lambda count: fnp.multiply(fnp.exp(fnp.multiply(count, rate)), start)
