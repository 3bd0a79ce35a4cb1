"""NumPy's functions on fdl arrays: pure, traceable, differentiable. The array API standard 2024.12, and more of NumPy and JAX.

What operands promote to is in `fdl.tracer.dtypes`, derivatives where there is none in docs/conventions.md.
"""

import sys as _sys
from types import ModuleType as _ModuleType
from typing import TYPE_CHECKING as _TYPE_CHECKING

import numpy as _np

from fdl.tracer.array import Array as Array
from fdl.tracer.lazy import parts as _parts

from . import methods as _methods
from .bits import *  # noqa: F403
from .complexes import *  # noqa: F403
from .creation import *  # noqa: F403
from .cumulative import *  # noqa: F403
from .indexing import *  # noqa: F403
from .info import *  # noqa: F403
from .joins import *  # noqa: F403
from .logic import *  # noqa: F403
from .products import *  # noqa: F403
from .promote import *  # noqa: F403
from .reductions import *  # noqa: F403
from .scalar_types import *  # noqa: F403
from .searching import *  # noqa: F403
from .shapes import *  # noqa: F403
from .sorting import *  # noqa: F403
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

# What most programs do without is loaded at its first use (see docs/architecture.md): each module with its own `__all__`.
_LATER = {
    "assembling": (
        "append", "array_repr", "array_str", "block", "delete", "dsplit", "hsplit", "insert", "packbits", "resize",
        "rollaxis", "trim_zeros", "unpackbits", "vsplit",
    ),
    "construct": (
        "c_", "diag", "diag_indices", "diag_indices_from", "diagflat", "frombuffer", "fromiter", "fromstring",
        "indices", "mask_indices", "mgrid", "ogrid", "r_", "ravel_multi_index", "tril_indices", "tril_indices_from",
        "triu_indices", "triu_indices_from", "unravel_index", "vander",
    ),
    "contractions": ("einsum", "einsum_path"),
    "functional": ("apply_along_axis", "apply_over_axes", "fromfunction", "piecewise", "vectorize"),
    "histograms": ("bincount", "histogram", "histogram2d", "histogram_bin_edges", "histogramdd"),
    "inout": ("fromfile", "get_printoptions", "iterable", "load", "printoptions", "save", "savez", "set_printoptions"),
    "nanfunctions": (
        "nanargmax", "nanargmin", "nancumprod", "nancumsum", "nanmax", "nanmean", "nanmin", "nanprod", "nanstd",
        "nansum", "nanvar",
    ),
    "orderstats": ("median", "nanmedian", "nanpercentile", "nanquantile", "percentile", "quantile"),
    "padding": ("pad",),
    "polynomials": ("poly", "polyadd", "polyder", "polydiv", "polyfit", "polyint", "polymul", "polysub", "polyval", "roots"),
    "sets": (
        "intersect1d", "isin", "setdiff1d", "setxor1d", "union1d", "unique", "unique_all", "unique_counts",
        "unique_inverse", "unique_values",
    ),
    "signals": ("bartlett", "blackman", "convolve", "correlate", "hamming", "hanning", "interp", "kaiser"),
    "special": ("fmax", "fmin", "gcd", "heaviside", "hypot", "i0", "lcm", "logaddexp", "logaddexp2", "nan_to_num", "sinc"),
    "statistics": ("average", "corrcoef", "cov"),
    "ufunc_object": ("frompyfunc", "ufunc"),
}  # fmt: skip
_PACKAGES = ("fft", "linalg")
_PARTS = {name: f"{__name__}.{name}" for name in _PACKAGES}
_PARTS |= {name: f"{__name__}.{module}:{name}" for module, names in _LATER.items() for name in names}
if _TYPE_CHECKING:
    from . import fft as fft
    from . import linalg as linalg
    from .assembling import *  # noqa: F403
    from .construct import *  # noqa: F403
    from .contractions import *  # noqa: F403
    from .functional import *  # noqa: F403
    from .histograms import *  # noqa: F403
    from .inout import *  # noqa: F403
    from .nanfunctions import *  # noqa: F403
    from .orderstats import *  # noqa: F403
    from .padding import *  # noqa: F403
    from .polynomials import *  # noqa: F403
    from .sets import *  # noqa: F403
    from .signals import *  # noqa: F403
    from .special import *  # noqa: F403
    from .statistics import *  # noqa: F403
    from .ufunc_object import *  # noqa: F403
else:
    __getattr__, _ = _parts(__name__, _PARTS)

# What the modules name in their own `__all__`: their helpers do not get here, and they themselves are left out.
__all__ = [
    name
    for name, value in list(globals().items())
    if not (name.startswith("_") or isinstance(value, _ModuleType)) or name.startswith("__array_")
]
__all__ += _PARTS


def __dir__() -> list[str]:
    return sorted(__all__)


_methods.install(_sys.modules[__name__])
