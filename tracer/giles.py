"""The inverse of erf as JAX's random numbers have it: M. Giles's polynomials in w = -log(1 - x²), with x² rounded.

`erf_inv` is accurate; this function is not.  Rounding x² moves its values by up to 91 ulp in float32 and 50,000 in float64 where |x| is
near 1, and a sampler whose numbers are to be those of another library has to lose the same digits.

Source: M. Giles, "Approximating the erfinv function" (GPU Computing Gems, Jade Edition, 2010): the coefficients of its single and its
double precision version.  The logarithm in float64 is that of XLA on CPUs: the rational function of S. Moshier's Cephes library (unity.c)
for x² < sqrt(2) - 1, which leaves the interval that the function was made for, [sqrt(1/2), sqrt(2)], and is off by up to 129 ulp there.

Every backend takes the numbers from here.  May be imported by: `scalars`, the backends' own versions, and `fdl.random.logarithms`.
"""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias

import numpy as np

from .records import dataclass

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"


@dataclass(frozen=True, slots=True)
class Piece:
    """erf_inv(x) / x for w < `end` (from where the piece before it ends): a polynomial, lowest power first, in t.

    t = w - `centre`, or sqrt(w) - `centre` where `root` says so.
    """

    end: float
    root: bool
    centre: float
    coefficients: tuple[float, ...]


SINGLE: Final = (
    Piece(5.0, False, 2.5, (
        1.50140941, 0.246640727, -0.00417768164, -0.00125372503, 0.00021858087, -4.39150654e-06, -3.5233877e-06, 3.43273939e-07,
        2.81022636e-08,
    )),
    Piece(math.inf, True, 3.0, (
        2.83297682, 1.00167406, 0.00943887047, -0.0076224613, 0.00573950773, -0.00367342844, 0.00134934322, 0.000100950558,
        -0.000200214257,
    )),
)  # fmt: skip
"""The pieces in float32."""
DOUBLE: Final = (
    Piece(6.25, False, 3.125, (
        1.6536545626831027356, 0.24015818242558961693, -0.0060336708714301490533, -0.00074070253416626697512,
        0.0001867342080340571352, -1.3882523362786468719e-05, -1.3654692000834678645e-06, 4.2347877827932403518e-07,
        -2.9070369957882005086e-08, -4.1126339803469836976e-09, 1.051212273321532285e-09, -5.4154120542946279317e-11,
        -1.2975133253453532498e-11, 2.6335093153082322977e-12, -8.1519341976054721522e-14, -4.0545662729752068639e-14,
        6.6376381343583238325e-15, 2.0972767875968561637e-17, -1.333171662854620906e-16, 1.115787767802518096e-17,
        1.2858480715256400167e-18, -1.685059138182016589e-19, -3.6444120640178196996e-21,
    )),
    Piece(16.0, True, 3.25, (
        3.0838856104922207635, 1.0052589676941592334, 0.005370914553590063617, -0.0037512085075692412107, 0.0024914420961078508066,
        -0.0016882755560235047313, 0.00095328937973738049703, -0.0003550375203628474796, 2.4031110387097893999e-05,
        6.8284851459573175448e-05, -4.7318229009055733981e-05, 1.2475304481671778723e-05, 2.9234449089955446044e-06,
        -4.013867526981545969e-06, 1.5027403968909827627e-06, 1.8239629214389227755e-08, -2.7517406297064545428e-07,
        9.0756561938885390979e-08, 2.2137376921775787049e-09,
    )),
    Piece(math.inf, True, 5.0, (
        4.8499064014085844221, 1.0103004648645343977, -0.00013871931833623122026, -0.00021503011930044477347, 7.5995277030017761139e-05,
        -1.9681778105531670567e-05, 4.5260625972231537039e-06, -9.9298272942317002539e-07, 2.2900482228026654717e-07,
        -6.7711997758452339498e-08, 2.9147953450901080826e-08, -1.4960026627149240478e-08, 7.6157012080783393804e-09,
        -3.7894654401267369937e-09, 1.5076572693500548083e-09, -2.5556418169965252055e-10, -2.7109920616438573243e-11,
    )),
)  # fmt: skip
"""The pieces in float64."""

RATIONAL_END: Final = math.sqrt(2) - 1
"""In float64, w is the rational function's below this x²."""
NUMERATOR: Final = (
    2.0039553499201281259648e1, 5.7112963590585538103336e1, 6.0949667980987787057556e1, 2.9911919328553073277375e1,
    6.5787325942061044846969, 4.9854102823193375972212e-1, 4.5270000862445199635215e-5,
)  # fmt: skip
DENOMINATOR: Final = (
    6.0118660497603843919306e1, 2.1642788614495947685003e2, 3.0909872225312059774938e2, 2.2176239823732856465394e2,
    8.3047565967967209469434e1, 1.5062909083469192043167e1, 1.0,
)  # fmt: skip
"""log(1 + f) = f - f² / 2 + f³ NUMERATOR(f) / DENOMINATOR(f), each lowest power first."""


def _horner(t: Array, coefficients: tuple[float, ...]) -> Array:
    result = np.full_like(t, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        result = result * t + t.dtype.type(c)
    return result


def _minus_log(square: Array, single: bool) -> Array:
    """w = -log(1 - square)."""
    exact = -np.log1p(-square)
    if single:
        return np.asarray(exact)
    f = -np.where(square < RATIONAL_END, square, 0)
    near = f - f * f / 2 + f * f * f * (_horner(f, NUMERATOR) / _horner(f, DENOMINATOR))
    return np.where(square < RATIONAL_END, -near, exact)


def erf_inv_giles(x: Array, wider: Any) -> Array:
    """The function of a float32 or float64 array, by NumPy, in the dtype `wider`: only x² and the coefficients are rounded to `x`'s.

    ±inf at ±1, NaN outside.

    Example:
        >>> erf_inv_giles(np.float32([0.5]), np.float64).round(5).tolist()
        [0.47694]
    """
    single = x.dtype == np.float32
    square, y = (x * x).astype(wider), x.astype(wider)
    with np.errstate(all="ignore"):
        w = _minus_log(square, single)
        ratio = np.full_like(w, math.nan)
        for piece in reversed(SINGLE if single else DOUBLE):
            t = (np.sqrt(w) if piece.root else w) - piece.centre
            rounded = tuple(float(x.dtype.type(c)) for c in piece.coefficients)
            ratio = np.where(w < piece.end, _horner(t, rounded), ratio)
        return np.where(np.abs(y) == 1, np.copysign(math.inf, y), y * ratio)
