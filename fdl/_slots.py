"""Fills the tracer's slots: which code runs single operations, where the memory of arrays comes from, and where the primitives are that no
loaded module declares."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from fdl.backends import compiler
from fdl.config import config
from fdl.tracer import array, trace
from fdl.tracer.array import ArrayBase
from fdl.tracer.ir import freeze, type_of
from fdl.tracer.primitive import ELSEWHERE, Elementwise, Primitive, View
from fdl.tracer.scalars import SCALARS

LARGE = 1 << 17
"""Elements from which on NumPy, on one thread and in fresh memory, loses to a kernel by more than its compilation is noticed."""
SMALL = 1 << 12
"""Elements up to which NumPy sorts in much less time, within a thousand calls, than it takes to compile a kernel for one more shape."""
BLOCK = 1 << 17
"""Bytes from which on an array that is copied in lies in a recycled block: 64-byte aligned, the largest with huge pages."""
_MOST = 4096

_seen: OrderedDict[Any, None] = OrderedDict()


def run(primitive: Primitive, inputs: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    """The outputs of one operation: light ones by NumPy, the others by a cached compiled kernel.

    A light operation on a large array is compiled when it comes for the second time, and so is an "exact" one that is not small. Only
    where that changes no bit: what a program computes does not depend on what ran before it.
    """
    if config.backend == "reference" or _is_light(primitive, inputs, params):
        return trace.run_reference(primitive, inputs, params)
    return compiler.run_single(primitive, inputs, params)


def _is_light(primitive: Primitive, inputs: Sequence[Any], params: dict[str, Any]) -> bool:
    """Whether NumPy is as good as a kernel that would have to be compiled."""
    match primitive.eager:
        case "numpy":
            return not _repeats(primitive, inputs, params)
        case "exact":
            size = _size(inputs)
            return size <= SMALL or (size < LARGE and not _again(primitive, inputs, params))
        case _:
            return False


def _size(inputs: Sequence[Any]) -> int:
    """The number of elements of the largest operand."""
    return max([x.size if isinstance(x, (ArrayBase, np.ndarray)) else 1 for x in inputs], default=0)


def _repeats(primitive: Primitive, inputs: Sequence[Any], params: dict[str, Any]) -> bool:
    """Whether a light operation gives the same bits compiled, is large, and has come before."""
    match primitive.lowering:
        case Elementwise():
            shape = None
        case View():
            shape = params.get("shape")
        case _:
            return False
    size = _size(inputs) if shape is None else math.prod(shape)
    if size < LARGE:
        return False
    if shape is None and isinstance(primitive.lowering, Elementwise):
        scalar = SCALARS.get(primitive.name)
        if scalar is None or not scalar.exact or any(type_of(x).dtype.kind == "c" for x in inputs):
            return False
    return _again(primitive, inputs, params)


def _again(primitive: Primitive, inputs: Sequence[Any], params: dict[str, Any]) -> bool:
    """Whether an operation has come before, as far as the last thousands are remembered."""
    key = (primitive.name, tuple(type_of(x) for x in inputs), freeze(params))
    try:
        if key in _seen:
            return True
    except TypeError:  # a parameter that has no hash
        return False
    _seen[key] = None
    if len(_seen) > _MOST:
        _seen.popitem(last=False)
    return False


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Memory for an array that is copied in, where kernels read and write it best.

    Blocks have no name for dtypes that are not NumPy's: such an array would be a view of one, which a call that it is donated to cannot
    take over.
    """
    is_large = math.prod(shape) * dtype.itemsize >= BLOCK and dtype.isbuiltin == 1 and config.backend != "reference"
    return compiler.empty(shape, dtype) if is_large else np.empty(shape, dtype)


trace.install(run)
array.install(empty)
ELSEWHERE.extend(
    [
        *(f"fdl.transforms.{name}" for name in ("remat", "custom_jvp", "custom_vjp", "implicit")),
        *(f"fdl.{name}" for name in ("control", "debug", "collectives", "random", "scipy", "lax")),
        *(f"fdl.tracer.ops.{name}" for name in ("convolve", "fft", "factor", "interleaved", "spectral", "triangular")),
    ]
)
