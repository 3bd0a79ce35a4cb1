"""`Conv`: convolution over any number of spatial axes, channels last."""

from __future__ import annotations

from dataclasses import field
from typing import Any

import fdl.random as random
from fdl import numpy as fnp
from fdl.numpy.promote import promote_operands
from fdl.numpy.together import compiled
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ops import convolve
from fdl.tracer.records import dataclass

from .base import STATIC, Layer, Params, State, entries, need_axes, parameter_dtype, spec
from .initializers import Initializer, lecun_normal, zeros
from .windows import Padding, Sizes, merge_batch, pairs, sizes, split_batch, static_padding


@dataclass(frozen=True, slots=True)
class Conv(Layer):
    """Filters slid over an image: y[i, o] = Σ x[i · stride + k · dilation − low, c] w[k, c, o] + b[o] (no flip, as in the field).

    Inputs `(..., *spatial, in)`, outputs `(..., *out, features)`: NHWC for images.  Parameters: `{"w": (*window, in / groups,
    features), "b": (features,)}`: HWIO for images.

    Args:
        features: the number of output channels.
        window: the filter's size along each spatial axis, whose number it decides; an int means a square of that side.
        strides, dilation: the steps between windows, and between the elements of one.
        padding: "SAME" (⌈n / stride⌉ outputs), "VALID" (none), an int, or a (low, high) pair for each spatial axis.
        groups: the channels fall into so many groups, each with filters of its own.
        bias, weight_init, bias_init, dtype: as for `Linear`.

    Raises: ShapeError for parameters or inputs that do not fit.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> layer = Conv(16, 3, strides=2)
        >>> params, state = layer.init(fdl.random.key(0), fnp.ones((28, 28, 1)))
        >>> params["w"].shape, layer(params, state, fnp.ones((8, 28, 28, 1)))[0].shape
        ((3, 3, 1, 16), (8, 14, 14, 16))
    """

    features: int = field(metadata=STATIC)
    window: Sizes = field(metadata=STATIC)
    strides: Sizes = field(default=1, metadata=STATIC)
    padding: Padding = field(default="SAME", metadata=STATIC)
    dilation: Sizes = field(default=1, metadata=STATIC)
    groups: int = field(default=1, metadata=STATIC)
    bias: bool = field(default=True, metadata=STATIC)
    weight_init: Initializer = field(default=lecun_normal, metadata=STATIC, repr=False)
    bias_init: Initializer = field(default=zeros, metadata=STATIC, repr=False)
    dtype: Any = field(default=None, metadata=STATIC, repr=False)

    def __post_init__(self) -> None:
        window = sizes("Conv", "window", self.window)
        object.__setattr__(self, "window", window)
        object.__setattr__(self, "strides", sizes("Conv", "strides", self.strides, len(window)))
        object.__setattr__(self, "dilation", sizes("Conv", "dilation", self.dilation, len(window)))
        object.__setattr__(self, "padding", static_padding("Conv", self.padding))
        if self.groups < 1 or self.features % self.groups:
            raise ShapeError(f"Conv: groups={self.groups} must divide features={self.features}.{at(user_source())}")

    def init(self, key: Any, x: Any) -> tuple[Params, State]:
        t = spec(x, "Conv.init")
        self._check(t.shape)
        if t.shape[-1] % self.groups:
            raise ShapeError(
                f"{self}: groups={self.groups} does not divide the {t.shape[-1]} input channels.{at(user_source())}"
            )
        dtype = parameter_dtype(t, self.dtype)
        weight_key, bias_key = random.split(key)
        shape = (*sizes("Conv", "window", self.window), t.shape[-1] // self.groups, self.features)
        params = {"w": self.weight_init(weight_key, shape, dtype)}
        if self.bias:
            params["b"] = self.bias_init(bias_key, (self.features,), dtype)
        return params, ()

    def __call__(self, params: Params, state: State, x: Any, *, key: Any = None, train: bool = False) -> tuple[Any, State]:
        t = spec(x, str(self))
        self._check(t.shape)
        w, *bias = entries(self, params, *(("w", "b") if self.bias else ("w",)))
        channels = w.shape[-2] * self.groups
        if t.shape[-1] != channels:
            expected = "1 channel" if channels == 1 else f"{channels} channels"
            raise ShapeError(f"{self}: the input has shape {t.shape}, expected {expected} on its last axis.{at(user_source())}")
        window = sizes("Conv", "window", self.window)
        strides, dilation = (sizes("Conv", "", v, len(window)) for v in (self.strides, self.dilation))
        spatial = t.shape[-1 - len(window) : -1]
        padding = pairs(str(self), self.padding, spatial, window, strides, dilation)
        x, w = promote_operands("Conv", x, w, broadcast=False)
        x, lead = merge_batch(x, t.shape, len(window) + 1)
        how: dict[str, Any] = {"strides": strides, "padding": padding, "lhs_dilation": (1,) * len(window), "rhs_dilation": dilation}
        how["groups"] = self.groups
        y = compiled(biased, x, w, *bias, **how) if bias else convolve.conv(x, w, **how)
        return split_batch(y, lead), state

    def _check(self, shape: tuple[int, ...]) -> None:
        rank = len(sizes("Conv", "window", self.window))
        need_axes(self, shape, rank + 1, f"(..., {rank} spatial axes, channels)")


def biased(x: Any, w: Any, b: Any, **how: Any) -> Any:
    """A convolution, plus b."""
    return fnp.add(convolve.conv(x, w, **how), b)
