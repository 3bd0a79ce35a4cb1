"""`MaxPool` and `AvgPool`: the largest element, or the mean, of each window, channel by channel."""

from __future__ import annotations

from dataclasses import field
from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.numpy.promote import as_operand, promote_operands
from fdl.tracer import dtypes
from fdl.tracer.ops import window as ops
from fdl.tracer.records import dataclass

from .base import STATIC, Layer, Params, State, need_axes, spec
from .windows import Padding, Sizes, merge_batch, pairs, sizes, split_batch, static_padding


@dataclass(frozen=True, slots=True)
class _Pool(Layer):
    """Parameters of pooling: inputs `(..., *spatial, channels)`, outputs `(..., *out, channels)`."""

    window: Sizes = field(default=2, metadata=STATIC)
    strides: Sizes | None = field(default=None, metadata=STATIC)
    padding: Padding = field(default="VALID", metadata=STATIC)

    def __post_init__(self) -> None:
        name = type(self).__name__
        window = sizes(name, "window", self.window)
        object.__setattr__(self, "window", window)
        object.__setattr__(
            self, "strides", window if self.strides is None else sizes(name, "strides", self.strides, len(window))
        )
        object.__setattr__(self, "padding", static_padding(type(self).__name__, self.padding))

    def _arguments(self, x: Any) -> tuple[Any, tuple[int, ...], dict[str, Any]]:
        """The input with one batch axis, its batch axes' sizes, and the primitive's parameters."""
        t = spec(x, str(self))
        name = type(self).__name__
        window = sizes(name, "window", self.window)
        rank = len(window)
        need_axes(self, t.shape, rank + 1, f"(..., {rank} spatial axes, channels)")
        strides = sizes(name, "strides", self.strides or self.window, rank)
        padding = pairs(str(self), self.padding, t.shape[-1 - rank : -1], window, strides, (1,) * rank)
        x, lead = merge_batch(as_operand(x), t.shape, rank + 1)
        how = {
            "window": (1, *window, 1),
            "strides": (1, *strides, 1),
            "padding": ((0, 0), *padding, (0, 0)),
            "dilation": (1,) * (rank + 2),
        }
        return x, lead, how


@dataclass(frozen=True, slots=True)
class MaxPool(_Pool):
    """The largest element of each window, of each channel; padding never wins. The derivative goes to the first of equals.

    Inputs `(..., *spatial, channels)`, outputs `(..., *out, channels)`.

    Args:
        window: its size along each spatial axis, whose number it decides; an int means a square of that side.
        strides: the steps between windows; by default the window's size.
        padding: "VALID" (none), "SAME", an int, or a (low, high) pair for each spatial axis.

    Example:
        >>> import fdl.numpy as fnp
        >>> MaxPool()((), (), fnp.arange(16.0).reshape(4, 4, 1))[0].ravel().tolist()
        [5.0, 7.0, 13.0, 15.0]
    """

    def __call__(self, params: Params, state: State, x: Any, *, key: Any = None, train: bool = False) -> tuple[Any, State]:
        x, lead, how = self._arguments(x)
        return split_batch(ops.window_max(x, **how), lead), state


@dataclass(frozen=True, slots=True)
class AvgPool(_Pool):
    """The mean of each window, of each channel. Integers become float32.

    Inputs, outputs and arguments as for `MaxPool`.

    Args:
        count_padding: whether padded zeros count as elements. By default a window at the border has the mean of what is there.

    Example:
        >>> import fdl.numpy as fnp
        >>> AvgPool()((), (), fnp.arange(16.0).reshape(4, 4, 1))[0].ravel().tolist()
        [2.5, 4.5, 10.5, 12.5]
    """

    count_padding: bool = field(default=False, metadata=STATIC)

    def __call__(self, params: Params, state: State, x: Any, *, key: Any = None, train: bool = False) -> tuple[Any, State]:
        x, lead, how = self._arguments(x)
        (x,) = promote_operands("AvgPool", x, inexact=True)
        total = ops.window_sum(x, **how)
        size = int(np.prod(how["window"]))
        if self.count_padding or not any(n for pair in how["padding"] for n in pair):
            return split_batch(fnp.multiply(total, 1 / size), lead), state
        return split_batch(fnp.divide(total, _counts(x.shape, how).astype(x.dtype)), lead), state


def _counts(shape: tuple[int, ...], how: dict[str, Any]) -> np.ndarray[Any, Any]:
    """How many real elements each window has, `(1, *out, 1)`: a constant, found by pooling ones. 1 for a window of padding."""
    counts = np.ones(1, dtypes.float32)
    axes = zip(shape[1:-1], how["window"][1:-1], how["strides"][1:-1], how["padding"][1:-1], strict=True)
    for n, k, s, (low, high) in axes:
        starts = np.arange(0, n + low + high - k + 1, s) - low
        real = np.minimum(starts + k, n) - np.maximum(starts, 0)
        counts = counts[..., None] * np.maximum(real, 0).astype(dtypes.float32)
    return np.maximum(counts, 1)[..., None]
