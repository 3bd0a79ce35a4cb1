"""log(1 - u) as JAX's random numbers have it.

`log1p` is accurate; in float64 this function is not.  XLA's logarithm on CPUs is a rational function near 0, used up to sqrt(2) - 1, which
is outside of the interval [sqrt(1/2), sqrt(2)] of 1 - u that it was made for: it is off by up to 129 ulp there (a part in 3e13).  A sampler
whose numbers are to be those of another library has to lose the same digits, as `erf_inv_giles` does, whose constants these are.

Source: S. Moshier's Cephes library (unity.c), as named in `fdl.tracer.giles`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl.scipy.special.operands import horner
from fdl.tracer import dtypes
from fdl.tracer.giles import DENOMINATOR, NUMERATOR, RATIONAL_END
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e


def log_rest(u: Any) -> Any:
    """log(1 - u) for u in [0, 1], elementwise: accurate in float32 and narrower, within 2 ulp of JAX's values in float64.

    Example:
        >>> import numpy as np
        >>> round(float(log_rest(np.float64(0.25))), 6)
        -0.287682
    """
    f = e.neg(u)
    if type_of(u).dtype != dtypes.float64:
        return e.log1p(f)
    near = e.lt(u, np.float64(RATIONAL_END))
    f = e.select(near, f, np.float64(0))
    square = e.mul(f, f)
    tail = e.mul(e.mul(square, f), e.div(horner(NUMERATOR, f), horner(DENOMINATOR, f)))
    series = e.add(e.sub(f, e.mul(square, np.float64(0.5))), tail)
    return e.select(near, series, e.log(e.sub(np.float64(1), e.select(near, np.float64(0), u))))
