"""Optimizers: pure gradient transformations and their chains, schedules, and `apply_updates`."""

from . import schedules as schedules
from .optimizers import adam as adam
from .optimizers import adamw as adamw
from .optimizers import sgd as sgd
from .transformation import GradientTransformation as GradientTransformation
from .transformation import apply_updates as apply_updates
from .transformation import chain as chain
from .transformation import global_norm as global_norm
from .transforms import add_decayed_weights as add_decayed_weights
from .transforms import clip_by_global_norm as clip_by_global_norm
from .transforms import scale as scale
from .transforms import scale_by_adam as scale_by_adam
from .transforms import scale_by_learning_rate as scale_by_learning_rate
from .transforms import scale_by_schedule as scale_by_schedule
from .transforms import trace as trace
