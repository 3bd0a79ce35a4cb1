"""The gamma function of complex numbers and its logarithm, on the logarithm's principal branch.

They are formulas of elementary functions, which are holomorphic; so their derivatives come by differentiating the formulas.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fdl import numpy as fnp

from . import coefficients as k

_STIRLING_FROM = 8.0


def _right(z: Any) -> Any:
    """log Gamma(z) for Re z >= 1/2: by log Gamma(z) = log Gamma(z + 1) - log z up to Re z >= 8, there by Stirling's series."""
    logs: Any = fnp.zeros_like(z)
    for _ in range(8):
        small = fnp.real(z) < _STIRLING_FROM
        logs = logs + fnp.where(small, fnp.log(fnp.where(small, z, 1.0)), 0.0)
        z = fnp.where(small, z + 1.0, z)
    inverse = 1.0 / z
    square = inverse * inverse
    series: Any = fnp.full_like(z, k.STIRLING[-1])
    for c in k.STIRLING[-2::-1]:
        series = series * square + c
    return (z - 0.5) * fnp.log(z) - z + 0.5 * math.log(2 * math.pi) + inverse * series - logs


def complex_loggamma(z: Any) -> Any:
    """log Gamma(z) of a complex128 array, continuous off the negative real axis; NaN at the poles 0, -1, ...

    Left of Re z = 1/2 by reflection: log pi - log sin(pi z) - log Gamma(1 - z), in which the logarithm of the sine in the upper half plane,
    and so reversed in the lower one, is -i pi (z - 1/2) + log(1 - exp(2 i pi z)) - log 2: continuous, without overflow.

    Source: DLMF 5.5.1, 5.5.3, 5.11.1; D. Hare, "Computing the principal branch of log-gamma" (J. Algorithms 25, 1997).
    """
    left = fnp.real(z) < 0.5
    right = _right(fnp.where(left, 1.0 - z, z))
    half_turn = np.complex128(1j * math.pi)
    turn = fnp.where(fnp.signbit(fnp.imag(z)), -half_turn, half_turn)  # on the axis itself the sign of the zero tells the side
    inside = fnp.where(left, z, 0.25)
    rest = inside - fnp.round(fnp.real(inside))  # exact: the exponential has the period 1
    sine = fnp.log(-fnp.expm1(2.0 * turn * rest)) - turn * (inside - 0.5)
    pole = left & (rest == 0.0)
    return fnp.where(left, fnp.where(pole, complex(math.nan, math.nan), math.log(2 * math.pi) - sine - right), right)
