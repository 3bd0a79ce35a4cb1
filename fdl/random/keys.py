"""Keys: uint32 arrays of shape (2,), which are split and folded, never reused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fdl.numpy.creation import as_shape
from fdl.numpy.promote import as_operand, asarray, to_dtype
from fdl.tracer import dtypes
from fdl.tracer.array import Array, ArrayBase
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import shape as s
from fdl.tracer.trace import described

IMPLEMENTATION = "threefry2x32"


def key(seed: Any, *, impl: str | None = None) -> Any:
    """The key of a seed: a Python integer of at most 64 bits, or a 0-d integer array, which may be traced.

    A seed within int32 has the high word 0, in any dtype; the key of a traced seed is that of its value.

    Raises: DTypeError for what is no integer, ShapeError for an array that is not 0-d, OverflowError for more than 64 bits,
        ValueError for an `impl` other than "threefry2x32", which is the only generator.

    Example:
        >>> import fdl
        >>> key(0).tolist(), fdl.jit(key)(7).tolist()
        ([0, 0], [0, 7])
    """
    _check_impl(impl, "key")
    if isinstance(seed, (ArrayBase, np.ndarray)):
        return _key_of_array(seed)
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise DTypeError(f"random.key: the seed must be an integer, got {described(seed)}.{at(user_source())}")
    seed = int(seed)
    if not -(2**63) <= seed < 2**64:
        raise OverflowError(f"random.key: the seed {seed} does not fit in 64 bits.{at(user_source())}")
    high = 0 if -(2**31) <= seed < 2**31 else (seed >> 32) & 0xFFFFFFFF
    return Array(np.array([high, seed & 0xFFFFFFFF], np.uint32))


def _key_of_array(seed: Any) -> Any:
    t = type_of(seed)
    if not dtypes.is_int(t.dtype):
        raise DTypeError(
            f"random.key: the seed must be an integer, got {described(seed)}. Convert it with .astype(int).{at(user_source())}"
        )
    if t.shape != ():
        raise ShapeError(
            f"random.key: the seed must be 0-d, got shape {t.shape}. Map over seeds with fdl.vmap(random.key).{at(user_source())}"
        )
    low = to_dtype(seed, dtypes.uint32)
    high: Any = np.zeros((), np.uint32)
    if t.dtype.itemsize == 8:
        upper = to_dtype(e.shift_right_logical(seed, np.asarray(32, t.dtype)), dtypes.uint32)
        near = e.eq(to_dtype(to_dtype(seed, dtypes.int32), t.dtype), seed)
        high = e.select(near, high, upper)
    return s.concatenate([s.reshape(word, (1,)) for word in (high, low)], 0)


PRNGKey = key
"""JAX's older name of `key`."""


def check_key(k: Any, who: str) -> Any:
    """`k`; raises a DTypeError unless it is a key."""
    k = as_operand(k, f"random.{who}: the key")
    t = type_of(k)
    if t.dtype != dtypes.uint32 or t.shape != (2,):
        way = ""
        if dtypes.is_int(t.dtype) and t.shape == ():
            way = " Make one of a seed: random.key(seed)."
        elif t.dtype == dtypes.uint32 and t.shape[-1:] == (2,):
            way = " Of several keys pick one, keys[i], or map over them with fdl.vmap."
        raise DTypeError(
            f"random.{who}: expected a key (uint32 of shape (2,), from random.key or random.split), got {t.strong()}.{way}"
            f"{at(user_source())}"
        )
    return k


def words(k: Any) -> tuple[Any, Any]:
    """The two words of a key, 0-d uint32."""
    return s.reshape(s.slice(k, (0,), (1,)), ()), s.reshape(s.slice(k, (1,), (2,)), ())


def element_words(k: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """The two words of a key for each element of an array: those of `split(k, shape)`."""
    k0, k1 = words(k)
    low = s.reshape(s.iota((math.prod(shape),), dtypes.uint32, 0), shape)
    high = s.broadcast(np.zeros((), np.uint32), shape, ())
    return e.threefry0(k0, k1, high, low), e.threefry1(k0, k1, high, low)


def split(key: Any, num: int | tuple[int, ...] = 2) -> Any:
    """`num` new keys, an array of shape (num, 2). Use a key once: split it first.

    Example:
        >>> import fdl
        >>> a, b = split(fdl.random.key(0))
    """
    shape = as_shape("random.split", num)
    both = element_words(check_key(key, "split"), shape)
    return s.concatenate([s.reshape(w, (*shape, 1)) for w in both], len(shape))


def pair(key: Any) -> tuple[Any, Any]:
    """Two new keys."""
    both = split(key)
    first, second = s.slice(both, (0, 0), (1, 2)), s.slice(both, (1, 0), (2, 2))
    return s.reshape(first, (2,)), s.reshape(second, (2,))


def fold_in(key: Any, data: Any) -> Any:
    """A new key made from a key and an integer, such as a step number."""
    k0, k1 = words(check_key(key, "fold_in"))
    low = to_dtype(as_operand(data, "random.fold_in: data"), dtypes.uint32)
    if type_of(low).shape != ():
        raise ShapeError(
            f"random.fold_in: data must be a scalar, got shape {type_of(low).shape}. Map with vmap.{at(user_source())}"
        )
    zero = np.zeros((), np.uint32)
    return s.concatenate([s.reshape(f(k0, k1, zero, low), (1,)) for f in (e.threefry0, e.threefry1)], 0)


def clone(key: Any) -> Any:
    """The same key, for the rare use of equal numbers in two places, which it makes plain to a reader."""
    return asarray(check_key(key, "clone"))


def key_data(keys: Any) -> Any:
    """The words of keys, uint32 `(..., 2)`: the keys themselves, which are plain arrays here."""
    return asarray(_check_words(keys, "key_data"))


def wrap_key_data(key_bits_array: Any, *, impl: str | None = None) -> Any:
    """Keys from their words, uint32 `(..., 2)`: the array itself.

    Raises: DTypeError for another dtype or shape; ValueError for an `impl` other than "threefry2x32", which is the only one.
    """
    _check_impl(impl, "wrap_key_data")
    return asarray(_check_words(key_bits_array, "wrap_key_data"))


def _check_impl(impl: Any, who: str) -> None:
    if impl not in (None, IMPLEMENTATION):
        raise ValueError(
            f"random.{who}: impl={impl!r} is not known. Expected {IMPLEMENTATION!r}, the one generator.{at(user_source())}"
        )


def key_impl(keys: Any) -> str:
    """The name of the keys' generator: "threefry2x32"."""
    _check_words(keys, "key_impl")
    return IMPLEMENTATION


def _check_words(keys: Any, who: str) -> Any:
    keys = as_operand(keys, f"random.{who}: the keys")
    t = type_of(keys)
    if t.dtype != dtypes.uint32 or t.ndim == 0 or t.shape[-1] != 2:
        raise DTypeError(f"random.{who}: expected keys, uint32 of shape (..., 2), got {t}.{at(user_source())}")
    return keys


__all__ = ["PRNGKey", "clone", "fold_in", "key", "key_data", "key_impl", "split", "wrap_key_data"]
