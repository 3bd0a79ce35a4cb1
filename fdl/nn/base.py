"""The protocol of layers, and `stateless`.

A layer is a frozen dataclass of hyper-parameters.  It holds no arrays: `init` makes its parameters and its state, plain pytrees,
and a call takes them and returns the output and the new state.  So a layer is a constant to every transformation (a pytree
without leaves), and its parameters can be printed, saved and differentiated like any other data.

A layer's last axes are the example's; any axes before them are batch axes.  A layer without state has the state `()`.

May import: numpy, random, transforms.  May be imported by: the layers, optim's users.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

from fdl.numpy.promote import as_operand
from fdl.tracer import dtypes, tree
from fdl.tracer.errors import FdlError, ShapeError, TreeError, at, user_source
from fdl.tracer.ir import Type, type_of

Params = Any
State = Any

STATIC = {"static": True}
"""The metadata of a layer's field: `field(metadata=STATIC)` keeps it out of the pytree's leaves."""


class MissingKeyError(FdlError, ValueError):
    """A layer that draws random numbers was called without a key."""


class Layer(abc.ABC):
    """What a layer has: `init(key, x)`, and a call `layer(params, state, x, *, key=None, train=False)`.

    Subclasses are frozen dataclasses whose fields are hashable and marked `field(metadata=nn.STATIC)`.

    Example:
        >>> from dataclasses import dataclass, field
        >>> import fdl, fdl.numpy as fnp
        >>> from fdl import nn
        >>> @dataclass(frozen=True)
        ... class Scale(nn.Layer):
        ...     start: float = field(default=1.0, metadata=nn.STATIC)
        ...     def init(self, key, x):
        ...         return {"scale": fnp.full(x.shape[-1], self.start)}, ()
        ...     def __call__(self, params, state, x, *, key=None, train=False):
        ...         return x * params["scale"], state
        >>> layer, x = Scale(2.0), fnp.ones((1, 3))
        >>> params, state = layer.init(None, x)
        >>> layer(params, state, x)[0].tolist()
        [[2.0, 2.0, 2.0]]
    """

    __slots__ = ()

    def init(self, key: Any, x: Any) -> tuple[Params, State]:
        """The layer's parameters and state for inputs like `x`; `((), ())` for a layer that has neither.

        Args:
            key: an `fdl.random` key.
            x: an input, or its `Type`: only its shape and dtype count.
        """
        return (), ()

    @abc.abstractmethod
    def __call__(self, params: Params, state: State, x: Any, *, key: Any = None, train: bool = False) -> tuple[Any, State]:
        """The output for `x`, and the new state.

        Args:
            params, state: as `init` made them, or later ones.
            key: an `fdl.random` key, for layers that draw random numbers when they train.
            train: whether to behave as in training. A Python bool: it decides what is compiled.
        """


def stateless(model: Layer) -> Callable[..., Any]:
    """The function `(params, x) -> y` of a model without state; `key` and `train` go through as keywords.

    Raises: what the model's layers raise, when one of them has state.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> from fdl import nn
        >>> model = nn.Linear(2)
        >>> params, _ = model.init(fdl.random.key(0), fnp.ones(3))
        >>> nn.stateless(model)(params, fnp.ones((5, 3))).shape
        (5, 2)
    """

    def apply(params: Params, x: Any, *, key: Any = None, train: bool = False) -> Any:
        return model(params, (), x, key=key, train=train)[0]

    apply.__name__ = type(model).__name__
    return apply


def spec(x: Any, caller: str) -> Type:
    """The shape and dtype of an input given as an array, anything that converts to one, or a `Type`."""
    return x if isinstance(x, Type) else type_of(as_operand(x, f"{caller}: x"))


def parameter_dtype(t: Type, asked: Any) -> dtypes.DType:
    """The dtype of parameters: the one asked for, else the input's when it is floating-point, else float32."""
    if asked is not None:
        return dtypes.of(asked)
    return t.dtype if dtypes.is_float(t.dtype) else dtypes.DEFAULT_FLOAT


def entries(layer: Layer, params: Params, *names: str) -> list[Any]:
    """The named entries of a layer's parameters; raises a TreeError when they are another layer's."""
    if not isinstance(params, dict) or any(name not in params for name in names):
        raise TreeError(
            f"{layer}: the parameters are {tree.described(tree.structure(params))}, expected a dict with keys {sorted(names)!r}. Give "
            f"it what its own init returns.{at(user_source())}"
        )
    return [params[name] for name in names]


def need_axes(layer: Layer, shape: tuple[int, ...], n: int, layout: str) -> None:
    """Raises a ShapeError when an input has fewer than the `n` axes of one example."""
    if len(shape) < n:
        raise ShapeError(f"{layer}: the input has shape {shape}, expected at least {n} axes: {layout}.{at(user_source())}")
