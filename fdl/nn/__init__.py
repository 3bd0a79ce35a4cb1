"""Neural networks: layers as pure functions of explicit parameters and state, activations, initialisers and losses.

`layer.init(key, x) -> (params, state)` and `layer(params, state, x, *, key=None, train=False) -> (y, state)`: see `Layer`.
"""

from . import initializers as initializers
from . import losses as losses
from .activations import celu as celu
from .activations import elu as elu
from .activations import gelu as gelu
from .activations import hard_sigmoid as hard_sigmoid
from .activations import hard_silu as hard_silu
from .activations import hard_swish as hard_swish
from .activations import hard_tanh as hard_tanh
from .activations import identity as identity
from .activations import leaky_relu as leaky_relu
from .activations import log1mexp as log1mexp
from .activations import log_sigmoid as log_sigmoid
from .activations import mish as mish
from .activations import relu as relu
from .activations import relu6 as relu6
from .activations import selu as selu
from .activations import sigmoid as sigmoid
from .activations import silu as silu
from .activations import soft_sign as soft_sign
from .activations import softplus as softplus
from .activations import sparse_plus as sparse_plus
from .activations import sparse_sigmoid as sparse_sigmoid
from .activations import squareplus as squareplus
from .activations import swish as swish
from .activations import tanh as tanh
from .attention import dot_product_attention as dot_product_attention
from .axiswise import glu as glu
from .axiswise import log_softmax as log_softmax
from .axiswise import logmeanexp as logmeanexp
from .axiswise import logsumexp as logsumexp
from .axiswise import maxout as maxout
from .axiswise import one_hot as one_hot
from .axiswise import softmax as softmax
from .axiswise import standardize as standardize
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
