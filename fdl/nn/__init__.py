"""Neural networks: layers as pure functions of explicit parameters and state, activations, initialisers and losses.

`layer.init(key, x) -> (params, state)` and `layer(params, state, x, *, key=None, train=False) -> (y, state)`: see `Layer`.
"""

from . import initializers as initializers
from . import losses as losses
from .activations import elu as elu
from .activations import gelu as gelu
from .activations import leaky_relu as leaky_relu
from .activations import log_softmax as log_softmax
from .activations import relu as relu
from .activations import selu as selu
from .activations import sigmoid as sigmoid
from .activations import silu as silu
from .activations import softmax as softmax
from .activations import softplus as softplus
from .activations import tanh as tanh
from .base import STATIC as STATIC
from .base import Layer as Layer
from .base import MissingKeyError as MissingKeyError
from .base import stateless as stateless
from .containers import Activation as Activation
from .containers import Flatten as Flatten
from .containers import Sequential as Sequential
from .conv import Conv as Conv
from .dropout import Dropout as Dropout
from .linear import Linear as Linear
from .pooling import AvgPool as AvgPool
from .pooling import MaxPool as MaxPool
