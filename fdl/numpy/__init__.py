"""NumPy's functions on fdl arrays: pure, traceable, differentiable."""

import numpy as _np

from fdl.tracer.array import Array as Array
from fdl.tracer.dtypes import (  # noqa: F401  # noqa: F401
    bfloat16,
    bool_,
    complex64,
    complex128,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)

from . import methods as _methods
from .creation import *  # noqa: F403
from .indexing import getitem, take, take_along_axis  # noqa: F401
from .products import *  # noqa: F403
from .promote import asarray, broadcast_to  # noqa: F401
from .reductions import *  # noqa: F403
from .shapes import *  # noqa: F403
from .ufuncs import *  # noqa: F403

pi, inf, nan, newaxis = _np.pi, _np.inf, _np.nan, None
e: float = _np.e  # type: ignore[no-redef]

_methods.install()
