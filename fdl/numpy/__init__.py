"""NumPy's functions on fdl arrays: pure, traceable, differentiable. The array API standard 2024.12, and more of NumPy and JAX.

What operands promote to is in `fdl.tracer.dtypes`, derivatives where there is none in docs/conventions.md.
"""

import sys as _sys
from types import ModuleType as _ModuleType

import numpy as _np

from fdl.tracer.array import Array as Array

from . import fft as fft
from . import linalg as linalg
from . import methods as _methods
from .assembling import *  # noqa: F403
from .bits import *  # noqa: F403
from .complexes import *  # noqa: F403
from .construct import *  # noqa: F403
from .creation import *  # noqa: F403
from .cumulative import *  # noqa: F403
from .einsum import *  # noqa: F403
from .functional import *  # noqa: F403
from .histograms import *  # noqa: F403
from .indexing import *  # noqa: F403
from .info import *  # noqa: F403
from .inout import *  # noqa: F403
from .joins import *  # noqa: F403
from .logic import *  # noqa: F403
from .nanfunctions import *  # noqa: F403
from .orderstats import *  # noqa: F403
from .padding import *  # noqa: F403
from .polynomials import *  # noqa: F403
from .products import *  # noqa: F403
from .promote import *  # noqa: F403
from .reductions import *  # noqa: F403
from .scalar_types import *  # noqa: F403
from .searching import *  # noqa: F403
from .sets import *  # noqa: F403
from .shapes import *  # noqa: F403
from .signals import *  # noqa: F403
from .sorting import *  # noqa: F403
from .special import *  # noqa: F403
from .statistics import *  # noqa: F403
from .ufunc_object import *  # noqa: F403
from .ufuncs import *  # noqa: F403
from .updates import *  # noqa: F403

__array_api_version__ = "2024.12"
ndarray = Array
bool = bool_  # noqa: F405
int_, uint, float_, complex_ = int32, uint32, float32, complex64  # noqa: F405
single, double, csingle, cdouble = float32, float64, complex64, complex128  # noqa: F405
# The kinds that `issubdtype` takes, besides dtypes.
generic, number, integer, inexact, floating = _np.generic, _np.number, _np.integer, _np.inexact, _np.floating
signedinteger, unsignedinteger, complexfloating = _np.signedinteger, _np.unsignedinteger, _np.complexfloating
character, flexible, object_, dtype = _np.character, _np.flexible, _np.object_, _np.dtype
pi, inf, nan, newaxis = _np.pi, _np.inf, _np.nan, None
e: float = _np.e
euler_gamma: float = _np.euler_gamma

# What the modules above name in their own `__all__`: their helpers do not get here, and they themselves are left out.
_PACKAGES = ("linalg", "fft")
__all__ = [
    name
    for name, value in list(globals().items())
    if not (name.startswith("_") or isinstance(value, _ModuleType)) or name in _PACKAGES or name.startswith("__array_")
]


def __dir__() -> list[str]:
    return sorted(__all__)


_methods.install(_sys.modules[__name__])
