"""`Linear`: a matrix product with the last axis, plus a bias."""

from __future__ import annotations

from dataclasses import field
from typing import Any

import fdl.random as random
from fdl import numpy as fnp
from fdl.numpy.together import compiled
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.records import dataclass

from .base import STATIC, Layer, Params, State, entries, need_axes, parameter_dtype, spec
from .initializers import Initializer, lecun_normal, zeros


@dataclass(frozen=True, slots=True)
class Linear(Layer):
    """x w + b: maps the last axis, of any number of features, to `features`.

    Parameters: `{"w": (in, features), "b": (features,)}`, without "b" when `bias` is False.  Inputs `(..., in)`, outputs
    `(..., features)`.

    Args:
        features: the number of outputs.
        bias: whether to add b.
        weight_init, bias_init: initialisers `(key, shape, dtype) -> array`.
        dtype: of the parameters; by default the input's when it is floating-point, else float32.

    Raises: ShapeError when an input's last axis is not the one that the parameters were made for.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> layer = Linear(2)
        >>> params, state = layer.init(fdl.random.key(0), fnp.ones(3))
        >>> y, state = layer(params, state, fnp.ones((5, 3)))
        >>> y.shape
        (5, 2)
    """

    features: int = field(metadata=STATIC)
    bias: bool = field(default=True, metadata=STATIC)
    weight_init: Initializer = field(default=lecun_normal, metadata=STATIC, repr=False)
    bias_init: Initializer = field(default=zeros, metadata=STATIC, repr=False)
    dtype: Any = field(default=None, metadata=STATIC, repr=False)

    def init(self, key: Any, x: Any) -> tuple[Params, State]:
        t = spec(x, "Linear.init")
        need_axes(self, t.shape, 1, "(..., features)")
        dtype = parameter_dtype(t, self.dtype)
        weight_key, bias_key = random.split(key)
        params = {"w": self.weight_init(weight_key, (t.shape[-1], self.features), dtype)}
        if self.bias:
            params["b"] = self.bias_init(bias_key, (self.features,), dtype)
        return params, ()

    def __call__(self, params: Params, state: State, x: Any, *, key: Any = None, train: bool = False) -> tuple[Any, State]:
        w, *bias = entries(self, params, *(("w", "b") if self.bias else ("w",)))
        shape, n = spec(x, str(self)).shape, w.shape[0]
        if not shape or shape[-1] != n:
            raise ShapeError(
                f"{self}: the input has shape {shape}, expected (..., {n}): the weights are ({n}, {self.features}).{at(user_source())}"
            )
        return (compiled(affine, x, w, *bias) if bias else fnp.matmul(x, w)), state


def affine(x: Any, w: Any, b: Any) -> Any:
    """x w + b."""
    return fnp.add(fnp.matmul(x, w), b)
