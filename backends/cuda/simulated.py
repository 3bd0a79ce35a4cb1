"""libdevice's functions in Python, for kernels that run in Numba's simulator, and for what a driver computes on the host.

They are the tracer's definitions: a test of kernels in the simulator tests the kernels, not the GPU's own functions.

May import: the tracer's scalar definitions, `scalars`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from fdl.tracer.scalars import SCALARS

from .scalars import FLOAT_LEAF


def _defined(op: str) -> Callable[..., Any]:
    """The definition of `op` as a function of NumPy scalars of the result's dtype."""
    impl = SCALARS[op].impl
    # Arrays of one element: for a scalar exponent of 1/2, NumPy's power is its square root, which differs at -inf.
    return lambda *args: impl(*([a] for a in args), dtype=args[0].dtype)[0]


def _reading(source: Any, target: Any) -> Callable[[Any], Any]:
    """A function that reads the bits of a `source` as a `target`."""
    return lambda x: source(x).view(target)


def _float2half(x: np.float32) -> np.int16:
    with np.errstate(all="ignore"):
        return np.float16(x).view(np.int16)


def _fused(a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once; in float64, where long double is no wider, twice."""
    wide = np.float64 if isinstance(a, np.float32) else np.longdouble
    with np.errstate(all="ignore"):
        return type(a)(wide(a) * wide(b) + wide(c))


def _library() -> SimpleNamespace:
    functions: dict[str, Callable[..., Any]] = {
        "fmul_rn": operator.mul, "dmul_rn": operator.mul, "fmaf_rn": _fused, "fma_rn": _fused, "fsqrt_rn": np.sqrt, "dsqrt_rn": np.sqrt,
        "float_as_int": _reading(np.float32, np.int32), "int_as_float": _reading(np.int32, np.float32),
        "double_as_longlong": _reading(np.float64, np.int64), "longlong_as_double": _reading(np.int64, np.float64),
        "float2half_rn": _float2half, "half2float": lambda bits: np.float32(np.int16(bits).view(np.float16)),
        "popc": lambda x: np.int32((int(x) & 0xFFFFFFFF).bit_count()),
        "popcll": lambda x: np.int32((int(x) & 2**64 - 1).bit_count()),
        "clz": lambda x: np.int32(32 - (int(x) & 0xFFFFFFFF).bit_length()),
        "clzll": lambda x: np.int32(64 - (int(x) & 2**64 - 1).bit_length()),
    }  # fmt: skip
    for op, leaf in FLOAT_LEAF.items():
        functions[leaf] = functions[f"{leaf}f"] = _defined(op)
    return SimpleNamespace(**functions)


LIBRARY = _library()
"""Stands for `numba.cuda.libdevice` where there is no GPU: the same names, computed by the tracer's definitions."""
