"""random_bits: the counter-based random number generator Threefry-2x32, over a whole array.

Element i (in row-major order) of the result for a key is the generator's output for that key and the 64-bit counter i, so any
part of it can be computed by itself: in any order, on any number of threads.  The bits are those of JAX with
`jax_threefry_partitionable`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import DTypeError, ShapeError
from ..ir import Type
from ..primitive import Named, Primitive
from ..scalars import threefry2x32
from ..trace import bind
from .elementwise import move_axis
from .rules import Dims, Shape

WIDTHS = {8: dtypes.uint8, 16: dtypes.uint16, 32: dtypes.uint32, 64: dtypes.uint64}


def _abstract(key: Type, *, shape: Shape, width: int) -> Type:
    if key.dtype != dtypes.uint32 or key.ndim == 0 or key.shape[-1] != 2:
        raise DTypeError(f"random_bits: the key is {key}, expected u32[..., 2]. Make one with fdl.random.key(seed).")
    if width not in WIDTHS:
        raise DTypeError(f"random_bits: a width of {width} bits: expected 8, 16, 32 or 64.")
    if any(n < 0 for n in shape):
        raise ShapeError(f"random_bits: the shape {tuple(shape)} has a negative size.")
    return Type((*key.shape[:-1], *shape), WIDTHS[width])


def _reference(key: np.ndarray, *, shape: Shape, width: int) -> np.ndarray:
    counter = np.arange(math.prod(shape), dtype=np.uint64).reshape(shape)
    lead = (*key.shape[:-1], *(1,) * len(shape))
    k0, k1 = key[..., 0].reshape(lead), key[..., 1].reshape(lead)
    high, low = (counter >> np.uint64(32)).astype(np.uint32), counter.astype(np.uint32)
    x0, x1 = threefry2x32(k0, k1, high, low)
    if width == 64:
        return np.asarray((x0.astype(np.uint64) << np.uint64(32)) | x1)
    return np.asarray(x0 ^ x1).astype(WIDTHS[width])


def _batch(size: int, xs: Sequence[Any], dims: Dims, *, shape: Shape, width: int) -> tuple[Any, int]:
    return random_bits(move_axis(xs[0], dims[0] or 0, 0), shape, width), 0


random_bits_p = Primitive(
    "random_bits",
    abstract=_abstract,
    reference=_reference,
    batch=_batch,
    lowering=Named("random_bits"),
    eager="compiled",
)


def random_bits(key: Any, shape: Sequence[int], width: int = 32) -> Any:
    """Unsigned integers of `width` random bits (8, 16, 32, 64): shape `key.shape[:-1] + shape`, for keys u32[..., 2].

    Source: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    """
    return bind(random_bits_p, key, shape=tuple(shape), width=width)
