"""`Sequential`, and the layers that only rearrange: `Flatten`, `Activation`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any

import fdl.random as random
from fdl import numpy as fnp
from fdl.tracer import tree
from fdl.tracer.errors import DTypeError, TreeError, at, user_source
from fdl.tracer.records import dataclass
from fdl.tracer.trace import described
from fdl.transforms import eval_shape

from .base import STATIC, Layer, MissingKeyError, Params, State, need_axes, spec


@dataclass(frozen=True, slots=True)
class Activation(Layer):
    """A function of the input alone, as a layer.

    Example:
        >>> import fdl.numpy as fnp
        >>> Activation(fnp.tanh)((), (), fnp.zeros(2))[0].tolist()
        [0.0, 0.0]
    """

    function: Callable[[Any], Any] = field(metadata=STATIC)

    def __call__(self, params: Params, state: State, x: Any, *, key: Any = None, train: bool = False) -> tuple[Any, State]:
        return self.function(x), state

    def __repr__(self) -> str:
        return f"Activation({getattr(self.function, '__name__', self.function)})"


@dataclass(frozen=True, slots=True)
class Flatten(Layer):
    """The last `axes` axes merged into one, row-major: by default the three of an image.

    Example:
        >>> import fdl.numpy as fnp
        >>> Flatten()((), (), fnp.ones((5, 28, 28, 1)))[0].shape
        (5, 784)
    """

    axes: int = field(default=3, metadata=STATIC)

    def __call__(self, params: Params, state: State, x: Any, *, key: Any = None, train: bool = False) -> tuple[Any, State]:
        shape = spec(x, str(self)).shape
        need_axes(self, shape, self.axes, f"(..., {self.axes} axes to merge)")
        size = 1
        for n in shape[len(shape) - self.axes :]:
            size *= n
        return fnp.reshape(x, (*shape[: len(shape) - self.axes], size)), state


@dataclass(frozen=True, slots=True, init=False)
class Sequential(Layer):
    """Layers one after another; functions among them, such as `nn.relu`, become `Activation` layers.

    Parameters: a tuple with those of each layer; the state likewise, or `()` when no layer has any.  Each layer gets a key of
    its own, split from the call's.

    Example:
        >>> import fdl, fdl.numpy as fnp
        >>> from fdl import nn
        >>> model = nn.Sequential(nn.Linear(16), nn.relu, nn.Linear(2))
        >>> params, state = model.init(fdl.random.key(0), fnp.ones(4))
        >>> y, state = model(params, state, fnp.ones((8, 4)))
        >>> y.shape, params[2]["w"].shape
        ((8, 2), (16, 2))
    """

    layers: tuple[Layer, ...] = field(metadata=STATIC)

    def __init__(self, *layers: Layer | Callable[[Any], Any]) -> None:
        for i, layer in enumerate(layers):
            if isinstance(layer, Layer):
                continue
            advice = ""
            if isinstance(layer, type):
                advice = f" Make a layer of it: {layer.__name__}(...)."
            elif hasattr(layer, "init"):
                advice = f" It has an init of its own: derive {type(layer).__name__} from nn.Layer."
            if advice or not callable(layer):
                raise DTypeError(
                    f"Sequential: layer {i} is {described(layer)}, expected a layer or a function of one array.{advice}{at(user_source())}"
                )
        object.__setattr__(self, "layers", tuple(x if isinstance(x, Layer) else Activation(x) for x in layers))

    def init(self, key: Any, x: Any) -> tuple[Params, State]:
        if not self.layers:
            return (), ()
        t: Any = spec(x, "Sequential.init")
        made = []
        for layer, k in zip(self.layers, random.split(key, len(self.layers)), strict=True):
            made.append(layer.init(k, t))
            t = eval_shape(lambda p, s, v, layer=layer: layer(p, s, v)[0], *made[-1], t)
        params, states = zip(*made, strict=True)
        return params, _joined(states)

    def __call__(self, params: Params, state: State, x: Any, *, key: Any = None, train: bool = False) -> tuple[Any, State]:
        n = len(self.layers)
        for what, value in (("parameters", params), ("state", state)):
            if not (what == "state" and _is_empty(value)) and not (isinstance(value, (tuple, list)) and len(value) == n):
                raise TreeError(
                    f"Sequential of {n} layers: the {what} are {tree.described(tree.structure(value))}, expected one entry for each layer. "
                    f"Give it what its own init returns.{at(user_source())}"
                )
        keys = [None] * n if key is None or not train else list(random.split(key, n))
        states = ((),) * n if _is_empty(state) else state
        new = []
        for i, (layer, p, s, k) in enumerate(zip(self.layers, params, states, keys, strict=True)):
            try:
                x, s = layer(p, s, x, key=k, train=train)
            except MissingKeyError as error:
                error.add_note(f"in layer {i} of a Sequential of {n}")
                raise
            new.append(s)
        return x, _joined(tuple(new))


def _is_empty(state: State) -> bool:
    return isinstance(state, tuple) and not state


def _joined(states: tuple[State, ...]) -> State:
    return () if all(_is_empty(s) for s in states) else states
