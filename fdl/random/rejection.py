"""Loops that draw until a candidate is accepted, for each element of an array by itself.

Each element has a key of its own, and takes its numbers from the counters 0, 1, 2, ... of that key: a sample depends on the key and its
place alone, not on how often another element is rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdl.scipy.special.operands import elementwise_loop
from fdl.tracer import dtypes
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e

from .uniforms import unit_from_bits

MOST = 1000
"""The most candidates that are drawn; each is accepted with a probability of more than 1/3."""


def draw_two(k0: Any, k1: Any, counter: Any, dtype: dtypes.DType) -> tuple[Any, Any]:
    """Two independent uniform numbers in [0, 1), float32 or float64, of the key (k0, k1) and the counter, a uint32."""
    zero, one = np.zeros((), np.uint32), np.ones((), np.uint32)
    if dtype == dtypes.float32:
        both = e.threefry0(k0, k1, zero, counter), e.threefry1(k0, k1, zero, counter)
    else:
        both = _wide(k0, k1, zero, counter), _wide(k0, k1, one, counter)
    return unit_from_bits(both[0], dtype), unit_from_bits(both[1], dtype)


def _wide(k0: Any, k1: Any, high: Any, counter: Any) -> Any:
    words = [e.convert(f(k0, k1, high, counter), dtypes.uint64) for f in (e.threefry0, e.threefry1)]
    return e.logical_or(e.shift_left(words[0], np.asarray(32, np.uint64)), words[1])


def normal_from_unit(u: Any) -> Any:
    """Normal numbers from uniform ones in [0, 1)."""
    dtype = type_of(u).dtype
    two, one = np.asarray(2, dtype), np.ones((), dtype)
    low = np.nextafter(-one, np.zeros((), dtype))
    return e.mul(np.asarray(np.sqrt(2), dtype), e.erf_inv_giles(e.max(low, e.sub(e.mul(two, u), one))))


def until_accepted(
    propose: Callable[..., tuple[Any, Any]], key_words: tuple[Any, Any], params: Sequence[Any], dtype: dtypes.DType
) -> Any:
    """The first accepted candidates.

    Args:
        propose: `(u, v, *params) -> (candidate, accepted)` on scalars, from two uniform numbers.
        key_words: the two words of each element's key.
        params: parameters of `dtype`, in the shape of the words.
    """
    shape = type_of(key_words[0]).shape
    zero = e.splat(np.zeros((), dtype), shape)

    def test(k0: Any, k1: Any, *rest: Any) -> Any:
        done, counter = rest[-1], rest[-2]
        return e.logical_and(e.logical_not(done), e.lt(counter, np.asarray(MOST, np.uint32)))

    def step(k0: Any, k1: Any, *rest: Any) -> list[Any]:
        counter = rest[-2]
        u, v = draw_two(k0, k1, counter, dtype)
        candidate, accepted = propose(u, v, *rest[:-3])
        return [candidate, e.add(counter, np.ones((), np.uint32)), accepted]

    init = [zero, e.splat(np.zeros((), np.uint32), shape), e.splat(np.zeros((), np.bool_), shape)]
    return elementwise_loop(test, step, [*key_words, *params], init)[0]
