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
xavier_normal, xavier_uniform, kaiming_normal, kaiming_uniform = glorot_normal, glorot_uniform, he_normal, he_uniform


def zeros(key: Any, shape: Sequence[int], dtype: Any = np.float32) -> Any:
    """Zeros; the key may be None."""
    return fnp.zeros(tuple(shape), dtypes.of(dtype))


def ones(key: Any, shape: Sequence[int], dtype: Any = np.float32) -> Any:
    """Ones; the key may be None."""
    return fnp.ones(tuple(shape), dtypes.of(dtype))


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


def normal(stddev: float = 1e-2) -> Initializer:
    """An initialiser that draws normal numbers of standard deviation `stddev`."""

    def initializer(key: Any, shape: Sequence[int], dtype: Any = np.float32) -> Any:
        return fnp.multiply(random.normal(key, tuple(shape), dtype), stddev)

    return _named(initializer, f"normal({stddev!r})")


def uniform(scale: float = 1e-2) -> Initializer:
    """An initialiser that draws uniform numbers from [0, scale)."""

    def initializer(key: Any, shape: Sequence[int], dtype: Any = np.float32) -> Any:
        return random.uniform(key, tuple(shape), dtype, 0.0, scale)

    return _named(initializer, f"uniform({scale!r})")


def _named(initializer: Initializer, name: str) -> Initializer:
    initializer.__name__ = initializer.__qualname__ = name
    return initializer


def variance_scaling(scale: float, mode: str, distribution: str) -> Initializer:
    """An initialiser of variance `scale` / fan.

    Args:
        mode: "fan_in", "fan_out", or their mean "fan_avg" or geometric mean "fan_geo_avg".
        distribution: "truncated_normal", "normal" or "uniform".

    Raises: ValueError for other words.

    Example:
        >>> from fdl import random
        >>> variance_scaling(2.0, "fan_in", "normal")(random.key(0), (3, 4)).shape
        (3, 4)
    """
    means: dict[str, Callable[[float, float], float]] = {
        "fan_in": lambda a, b: a,
        "fan_out": lambda a, b: b,
        "fan_avg": lambda a, b: (a + b) / 2,
        "fan_geo_avg": lambda a, b: math.sqrt(a * b),
    }
    if mode not in means or distribution not in ("truncated_normal", "normal", "uniform"):
        raise ValueError(
            f"variance_scaling: mode={mode!r}, distribution={distribution!r}: expected one of {', '.join(means)}, and 'truncated_normal', "
            f"'normal' or 'uniform'.{at(user_source())}"
        )

    def initializer(key: Any, shape: Sequence[int], dtype: Any = np.float32) -> Any:
        std = math.sqrt(scale / max(means[mode](*fans(shape)), 1))
        if distribution == "uniform":
            bound = math.sqrt(3) * std
            return random.uniform(key, tuple(shape), dtype, -bound, bound)
        if distribution == "normal":
            return fnp.multiply(random.normal(key, tuple(shape), dtype), std)
        return fnp.multiply(truncated_normal(key, shape, dtype), std / _CUT_STD)

    return _named(initializer, f"variance_scaling({scale!r}, {mode!r}, {distribution!r})")


def orthogonal(scale: float = 1.0, column_axis: int = -1) -> Initializer:
    """An initialiser that draws matrices with orthonormal rows or columns, whichever are fewer, times `scale` (Saxe et al., ICLR 2014).

    Args:
        column_axis: the axis that the columns run over; the others together are the rows.

    Example:
        >>> from fdl import random
        >>> w = orthogonal()(random.key(0), (3, 2))
        >>> bool(fnp.allclose(w.T @ w, fnp.eye(2), atol=1e-6))
        True
    """

    def initializer(key: Any, shape: Sequence[int], dtype: Any = np.float32) -> Any:
        if len(shape) < 2:
            raise ShapeError(f"orthogonal: shape {tuple(shape)}: expected at least two axes.{at(user_source())}")
        columns = shape[column_axis]
        rest = [n for a, n in enumerate(shape) if a != column_axis % len(shape)]
        rows = math.prod(rest)
        q, r = fnp.linalg.qr(random.normal(key, (max(rows, columns), min(rows, columns)), dtype))
        # Without the signs of R's diagonal Q would not be uniformly distributed (Mezzadri, 2007).
        q = fnp.multiply(q, fnp.where(fnp.less(fnp.diagonal(r), 0), -1, 1))
        w = fnp.reshape(q.T if rows < columns else q, (*rest, columns))
        return fnp.multiply(fnp.moveaxis(w, -1, column_axis), scale)

    return _named(initializer, f"orthogonal({scale!r}, {column_axis!r})")


def delta_orthogonal(scale: float = 1.0, column_axis: int = -1) -> Initializer:
    """An initialiser of filters (*window, in, out) that are zero but in the middle, where they are `orthogonal` (Xiao et al., ICML 2018).

    Raises: ShapeError where there are more inputs than outputs, or the window has not one to three axes.
    """

    def initializer(key: Any, shape: Sequence[int], dtype: Any = np.float32) -> Any:
        if len(shape) not in (3, 4, 5) or shape[-1] < shape[-2]:
            raise ShapeError(
                f"delta_orthogonal: shape {tuple(shape)}: expected one to three window axes, and no more inputs than outputs."
                f"{at(user_source())}"
            )
        middle = orthogonal(scale, column_axis)(key, shape[-2:], dtype)
        place = tuple((n - 1) // 2 for n in shape[:-2])
        return fnp.zeros(tuple(shape), dtypes.of(dtype)).at[place].set(middle)

    return _named(initializer, f"delta_orthogonal({scale!r}, {column_axis!r})")
