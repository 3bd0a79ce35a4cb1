"""`fft`: discrete Fourier transforms over the last axes, under the names of JAX's `lax`."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

from fdl.numpy.promote import asarray, to_dtype
from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import fft as ops

from .operands import check_kind, ints, operand


class FftType(enum.IntEnum):
    """The kinds of transforms: of complex signals, forward and inverse, and of real ones."""

    FFT = 0
    IFFT = 1
    RFFT = 2
    IRFFT = 3


def fft(x: Any, fft_type: FftType | str, fft_lengths: Sequence[int]) -> Any:
    """The transform of `x` over its last axes, one for each of `fft_lengths`.

    Args:
        fft_type: an `FftType`, or its name. "rfft" keeps n // 2 + 1 terms of the last axis, which "irfft" takes.
        fft_lengths: the sizes of the signal along the axes.

    Example:
        >>> import fdl.numpy as fnp
        >>> fft(fnp.ones(4), "rfft", (4,)).tolist()
        [(4+0j), 0j, 0j]
    """
    if isinstance(fft_type, str) and fft_type.upper() in FftType.__members__:
        kind = fft_type.lower()
    elif isinstance(fft_type, FftType):
        kind = fft_type.name.lower()
    else:
        names = ", ".join(FftType.__members__)
        raise ShapeError(f"lax.fft: fft_type={fft_type!r}: expected one of {names}.{at(user_source())}")
    y = operand("fft", x)
    lengths = ints("fft", "fft_lengths", fft_lengths)
    check_kind("fft", type_of(y), "f" if kind == "rfft" else "fc")
    if not lengths:
        return asarray(y)
    if kind != "rfft" and not dtypes.is_complex(type_of(y).dtype):
        y = to_dtype(y, dtypes.complex_of(type_of(y).dtype))
    return ops.fft(y, kind, lengths)


__all__ = ["FftType", "fft"]
