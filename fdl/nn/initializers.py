"""Initial values of parameters: functions `(key, shape, dtype) -> array`, and functions that make those.

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

import fdl.random as random
from fdl import numpy as fnp
from fdl.numpy.promote import canonical_axis
from fdl.random.keys import check_key
from fdl.tracer import dtypes
from fdl.tracer.array import ArrayBase
from fdl.tracer.errors import ShapeError, at, user_source

Initializer = Callable[..., Any]

# The standard deviation of a standard normal variable given that it lies in (-2, 2): √(1 − 4 φ(2) / (2 Φ(2) − 1)).
_CUT_STD = 0.87962566103423978


Axes = int | Sequence[int]


def fans(shape: Sequence[int], in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = ()) -> tuple[int, int]:
    """(fan in, fan out) of a weight of shape (*window, in, out), or one whose inputs, outputs and stacked weights are along other axes.

    Raises: ShapeError for fewer than two axes, or an axis that there is not.

    Example:
        >>> fans((3, 3, 16, 32)), fans((32, 16), in_axis=1, out_axis=0)
        ((144, 288), (16, 32))
    """
    if len(shape) < 2:
        raise ShapeError(f"initializers: shape {tuple(shape)} has no fans: expected (*window, in, out).{at(user_source())}")

    def size(axes: Axes) -> int:
        named = (axes,) if isinstance(axes, int) else axes
        return math.prod(shape[canonical_axis("initializers", a, len(shape))] for a in named)

    given, made = size(in_axis), size(out_axis)
    window = math.prod(shape) // max(given * made * size(batch_axis), 1)
    return window * given, window * made


def _drawing(name: str, draw: Callable[..., Any], make: Callable[..., Initializer], text: str) -> Initializer:
    """An initialiser that is also, called without a key, the function that makes it: `f(key, shape)` is `f()(key, shape)`."""

    def initializer(*args: Any, **options: Any) -> Any:
        if len(args) > 1 or "key" in options or "shape" in options or (args and isinstance(args[0], (ArrayBase, np.ndarray))):
            check_key(args[0] if args else options.get("key"), name)
            return draw(*args, **options)
        return make(*args, **options)

    initializer.__name__ = initializer.__qualname__ = name
    initializer.__doc__ = text
    return initializer


def _make_truncated_normal(stddev: Any = 1e-2, *, dtype: Any = np.float32, lower: float = -2.0, upper: float = 2.0) -> Initializer:
    default = dtype

    def initializer(key: Any, shape: Sequence[int], dtype: Any = default) -> Any:
        return fnp.multiply(random.truncated_normal(key, lower, upper, tuple(shape), dtype), stddev)

    return _named(initializer, f"truncated_normal({stddev!r})")


def _draw_truncated_normal(key: Any, shape: Sequence[int], dtype: Any = np.float32) -> Any:
    return random.truncated_normal(key, -2.0, 2.0, tuple(shape), dtype)


truncated_normal = _drawing(
    "truncated_normal", _draw_truncated_normal, _make_truncated_normal,
    """Standard normal numbers given that they lie in (−2, 2): `truncated_normal(key, shape, dtype)`.

    Without a key, `truncated_normal(stddev=0.01, *, dtype=float32, lower=-2.0, upper=2.0)` makes an initialiser of such numbers times
    `stddev`.

    Example:
        >>> from fdl import random
        >>> truncated_normal(random.key(0), (3, 4)).shape, truncated_normal(0.1)(random.key(0), (3, 4)).shape
        ((3, 4), (3, 4))
    """,
)  # fmt: skip


def _scaled(name: str, scale: float, mode: str, distribution: str, text: str) -> Initializer:
    def make(*, in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = np.float32) -> Initializer:
        return _named(variance_scaling(scale, mode, distribution, in_axis, out_axis, batch_axis, dtype), name)

    def draw(key: Any, shape: Sequence[int], dtype: Any = np.float32) -> Any:
        return make()(key, shape, dtype)

    return _drawing(
        name, draw, make,
        f"""{text}

    `{name}(key, shape, dtype)` draws them; without a key, `{name}(*, in_axis=-2, out_axis=-1, batch_axis=(), dtype=float32)` makes an
    initialiser of `(key, shape, dtype)`, as in JAX.
    """,
    )  # fmt: skip


def zeros(key: Any, shape: Sequence[int], dtype: Any = np.float32) -> Any:
    """Zeros; the key may be None."""
    return fnp.zeros(tuple(shape), dtypes.of(dtype))


def ones(key: Any, shape: Sequence[int], dtype: Any = np.float32) -> Any:
    """Ones; the key may be None."""
    return fnp.ones(tuple(shape), dtypes.of(dtype))


def constant(value: float, dtype: Any = np.float32) -> Initializer:
    """An initialiser that fills with `value`.

    Example:
        >>> constant(0.5)(None, (2,)).tolist()
        [0.5, 0.5]
    """

    default = dtype

    def initializer(key: Any, shape: Sequence[int], dtype: Any = default) -> Any:
        return fnp.full(tuple(shape), value, dtypes.of(dtype))

    initializer.__name__ = initializer.__qualname__ = f"constant({value!r})"
    return initializer


def normal(stddev: float = 1e-2, dtype: Any = np.float32) -> Initializer:
    """An initialiser that draws normal numbers of standard deviation `stddev`."""

    default = dtype

    def initializer(key: Any, shape: Sequence[int], dtype: Any = default) -> Any:
        return fnp.multiply(random.normal(key, tuple(shape), dtype), stddev)

    return _named(initializer, f"normal({stddev!r})")


def uniform(scale: float = 1e-2, dtype: Any = np.float32) -> Initializer:
    """An initialiser that draws uniform numbers from [0, scale)."""

    default = dtype

    def initializer(key: Any, shape: Sequence[int], dtype: Any = default) -> Any:
        return random.uniform(key, tuple(shape), dtype, 0.0, scale)

    return _named(initializer, f"uniform({scale!r})")


def _named(initializer: Initializer, name: str) -> Initializer:
    initializer.__name__ = initializer.__qualname__ = name
    return initializer


def variance_scaling(
    scale: float,
    mode: str,
    distribution: str,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: Any = np.float32,
) -> Initializer:
    """An initialiser of variance `scale` / fan.

    Args:
        mode: "fan_in", "fan_out", or their mean "fan_avg" or geometric mean "fan_geo_avg".
        distribution: "truncated_normal", "normal" or "uniform".
        in_axis, out_axis, batch_axis: the axes of inputs, outputs and of weights stacked; see `fans`.
        dtype: the initialiser's own default.

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

    default = dtype

    def initializer(key: Any, shape: Sequence[int], dtype: Any = default) -> Any:
        std = math.sqrt(scale / max(means[mode](*fans(shape, in_axis, out_axis, batch_axis)), 1))
        if distribution == "uniform":
            bound = math.sqrt(3) * std
            return random.uniform(key, tuple(shape), dtype, -bound, bound)
        if distribution == "normal":
            return fnp.multiply(random.normal(key, tuple(shape), dtype), std)
        return fnp.multiply(random.truncated_normal(key, -2.0, 2.0, tuple(shape), dtype), std / _CUT_STD)

    return _named(initializer, f"variance_scaling({scale!r}, {mode!r}, {distribution!r})")


def orthogonal(scale: float = 1.0, column_axis: int = -1, dtype: Any = np.float32) -> Initializer:
    """An initialiser that draws matrices with orthonormal rows or columns, whichever are fewer, times `scale` (Saxe et al., ICLR 2014).

    Args:
        column_axis: the axis that the columns run over; the others together are the rows.

    Example:
        >>> from fdl import random
        >>> w = orthogonal()(random.key(0), (3, 2))
        >>> bool(fnp.allclose(w.T @ w, fnp.eye(2), atol=1e-6))
        True
    """

    default = dtype

    def initializer(key: Any, shape: Sequence[int], dtype: Any = default) -> Any:
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


def delta_orthogonal(scale: float = 1.0, column_axis: int = -1, dtype: Any = np.float32) -> Initializer:
    """An initialiser of filters (*window, in, out) that are zero but in the middle, where they are `orthogonal` (Xiao et al., ICML 2018).

    Raises: ShapeError where there are more inputs than outputs, or the window has not one to three axes.
    """

    default = dtype

    def initializer(key: Any, shape: Sequence[int], dtype: Any = default) -> Any:
        if len(shape) not in (3, 4, 5) or shape[-1] < shape[-2]:
            raise ShapeError(
                f"delta_orthogonal: shape {tuple(shape)}: expected one to three window axes, and no more inputs than outputs."
                f"{at(user_source())}"
            )
        middle = orthogonal(scale, column_axis)(key, shape[-2:], dtype)
        place = tuple((n - 1) // 2 for n in shape[:-2])
        return fnp.zeros(tuple(shape), dtypes.of(dtype)).at[place].set(middle)

    return _named(initializer, f"delta_orthogonal({scale!r}, {column_axis!r})")


glorot_normal = _scaled("glorot_normal", 1.0, "fan_avg", "truncated_normal", "Normal numbers of variance 2 / (fan in + fan out).")
glorot_uniform = _scaled("glorot_uniform", 1.0, "fan_avg", "uniform", "Uniform numbers of variance 2 / (fan in + fan out).")
he_normal = _scaled("he_normal", 2.0, "fan_in", "truncated_normal", "Normal numbers of variance 2 / fan in: for layers before a ReLU.")
he_uniform = _scaled("he_uniform", 2.0, "fan_in", "uniform", "Uniform numbers of variance 2 / fan in: for layers before a ReLU.")
lecun_normal = _scaled("lecun_normal", 1.0, "fan_in", "truncated_normal", "Normal numbers of variance 1 / fan in.")
lecun_uniform = _scaled("lecun_uniform", 1.0, "fan_in", "uniform", "Uniform numbers of variance 1 / fan in.")
xavier_normal, xavier_uniform, kaiming_normal, kaiming_uniform = glorot_normal, glorot_uniform, he_normal, he_uniform
