"""What a reduction starts from, and what it accumulates in.

May be imported by: lowering and the passes.
"""

from __future__ import annotations

import math

import numpy as np

from fdl.tracer import dtypes

from .ir import BOOL, Const
from .values import const


def identity_of(name: str, dtype: dtypes.DType) -> Const:
    """The operand that changes nothing under the combination `name`."""
    if dtype == BOOL:
        return Const(name in ("mul", "and", "min"), dtype)
    if name in ("max", "min"):
        low = name == "max"
        if dtypes.is_int(dtype):
            info = np.iinfo(dtype)
            return Const(int(info.min if low else info.max), dtype)
        return Const(-math.inf if low else math.inf, dtype)
    if name == "and":
        return Const(-1 if dtypes.is_signed(dtype) else int(np.iinfo(dtype).max), dtype)
    return const(1 if name == "mul" else 0, dtype)


def accumulator(dtype: dtypes.DType) -> dtypes.DType:
    """The dtype in which sums and products of `dtype` accumulate: float32 for the half types."""
    return dtypes.float32 if dtype in (dtypes.float16, dtypes.bfloat16) else dtype
