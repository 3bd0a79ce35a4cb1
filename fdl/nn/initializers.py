"""Initial values of parameters: functions `(key, shape, dtype) -> array`.

The fans of a weight of shape (*window, in, out) are window · in and window · out, so that they serve matrices and filters.
Variance scaling draws with standard deviation √(gain / fan):

    glorot  √(2 / (fan in + fan out))   Glorot and Bengio, AISTATS 2010
    he      √(2 / fan in)               He et al., ICCV 2015
    lecun   √(1 / fan in)               LeCun et al., "Efficient BackProp", 1998

Normal ones are cut off at two standard deviations, and widened so that what is left has the one wanted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl import random
from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source

Initializer = Callable[..., Any]

# The standard deviation of a standard normal variable given that it lies in (-2, 2): √(1 − 4 φ(2) / (2 Φ(2) − 1)).
_CUT_STD = 0.87962566103423978


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """(fan in, fan out) of a weight of shape (*window, in, out).

    Raises: ShapeError for fewer than two axes.

    Example:
        >>> fans((3, 3, 16, 32))
        (144, 288)
    """
    if len(shape) < 2:
        raise ShapeError(f"initializers: shape {tuple(shape)} has no fans: expected (*window, in, out).{at(user_source())}")
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def truncated_normal(key: Any, shape: Sequence[int], dtype: Any = np.float32) -> Any:
    """Standard normal numbers given that they lie in (−2, 2), by the inverse of the distribution function."""
    bound = math.erf(2 / math.sqrt(2))
    u = random.uniform(key, tuple(shape), dtype, -bound, bound)
    # Rounding may put the extreme u's images a hair outside.
    return fnp.clip(fnp.multiply(fnp.erf_inv(u), math.sqrt(2)), -2.0, 2.0)


def _scaled(name: str, gain: float, mode: str, normal: bool, text: str) -> Initializer:
    def initializer(key: Any, shape: Sequence[int], dtype: Any = np.float32) -> Any:
        fan_in, fan_out = fans(shape)
        fan = max({"in": fan_in, "average": (fan_in + fan_out) / 2}[mode], 1)
        std = math.sqrt(gain / fan)
        if normal:
            return fnp.multiply(truncated_normal(key, shape, dtype), std / _CUT_STD)
        bound = math.sqrt(3) * std
        return random.uniform(key, tuple(shape), dtype, -bound, bound)

    initializer.__name__ = initializer.__qualname__ = name
    initializer.__doc__ = text
    return initializer


glorot_normal = _scaled("glorot_normal", 1.0, "average", True, "Normal numbers of variance 2 / (fan in + fan out).")
glorot_uniform = _scaled("glorot_uniform", 1.0, "average", False, "Uniform numbers of variance 2 / (fan in + fan out).")
he_normal = _scaled("he_normal", 2.0, "in", True, "Normal numbers of variance 2 / fan in: for layers before a ReLU.")
he_uniform = _scaled("he_uniform", 2.0, "in", False, "Uniform numbers of variance 2 / fan in: for layers before a ReLU.")
lecun_normal = _scaled("lecun_normal", 1.0, "in", True, "Normal numbers of variance 1 / fan in.")
lecun_uniform = _scaled("lecun_uniform", 1.0, "in", False, "Uniform numbers of variance 1 / fan in.")


def zeros(key: Any, shape: Sequence[int], dtype: Any = np.float32) -> Any:
    """Zeros; the key may be None."""
    return fnp.zeros(tuple(shape), dtypes.of(dtype))


def constant(value: float) -> Initializer:
    """An initialiser that fills with `value`.

    Example:
        >>> constant(0.5)(None, (2,)).tolist()
        [0.5, 0.5]
    """

    def initializer(key: Any, shape: Sequence[int], dtype: Any = np.float32) -> Any:
        return fnp.full(tuple(shape), value, dtypes.of(dtype))

    initializer.__name__ = initializer.__qualname__ = f"constant({value!r})"
    return initializer
