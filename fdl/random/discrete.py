"""Distributions over few values, and choices among elements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fdl.numpy.creation import as_shape
from fdl.numpy.cumulative import cumsum
from fdl.numpy.indexing import getitem, take
from fdl.numpy.promote import as_operand, asarray, broadcast_shapes, broadcast_to, canonical_axis, promote_operands, to_dtype
from fdl.numpy.reductions import argmax
from fdl.numpy.searching import searchsorted
from fdl.tracer import dtypes
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import order
from fdl.tracer.ops import random as ops
from fdl.tracer.ops import shape as s

from .continuous import gumbel
from .keys import check_key, pair
from .uniforms import MANTISSA, int_dtype, randint, result_shape, spread, uniform


def bernoulli(key: Any, p: Any = 0.5, shape: Any = None, mode: str = "low") -> Any:
    """Bools that are True with probability `p` (a number or an array; `shape` defaults to its shape).

    Args:
        mode: "low" compares one uniform number with `p`; "high" draws twice the bits, for probabilities below 1e-7.

    Raises: ValueError for another mode.
    """
    if mode not in ("low", "high"):
        raise ValueError(f"random.bernoulli: mode={mode!r} is not known. Expected 'low' or 'high'.{at(user_source())}")
    p = as_operand(p, "random.bernoulli: p")
    t = type_of(p)
    wanted = t.dtype if dtypes.is_float(t.dtype) else dtypes.DEFAULT_FLOAT
    p = to_dtype(p, wanted)
    shape = result_shape("bernoulli", shape, p)
    p = spread(p, shape)
    if mode == "low":
        return e.lt(uniform(key, shape, wanted), p)
    both = uniform(key, (2, *shape), wanted)
    fine = e.mul(both[1], np.asarray(2.0 ** -MANTISSA[wanted], wanted))
    return e.lt(fine, e.sub(p, both[0]))


def rademacher(key: Any, shape: Any = (), dtype: Any = None) -> Any:
    """-1 or 1, each with probability 1/2, int32 by default.

    Raises: DTypeError for bool, which has no -1. In an unsigned dtype -1 is the largest number.
    """
    wanted = dtypes.DEFAULT_INT if dtype is None else dtypes.of(dtype)
    if wanted == dtypes.bool_:
        raise DTypeError(f"random.rademacher: bool has no -1. Use random.bernoulli, or an integer dtype.{at(user_source())}")
    up = e.lt(uniform(key, shape), np.asarray(0.5, np.float32))
    one = np.ones((), wanted)
    return e.select(up, e.splat(one, up.shape), e.splat(-one, up.shape))


def geometric(key: Any, p: Any, shape: Any = None, dtype: Any = None) -> Any:
    """The number of trials up to the first success, each of probability `p`: integers from 1 on, int32 by default.

    For p = 0 the largest integer. `shape` defaults to that of `p`.
    """
    wanted = int_dtype(dtype, "geometric")
    p = as_operand(p, "random.geometric: p")
    p = to_dtype(p, type_of(p).dtype if dtypes.is_float(type_of(p).dtype) else dtypes.DEFAULT_FLOAT)
    own = type_of(p).dtype
    shape = result_shape("geometric", shape, p)
    one = np.ones((), own)
    u = uniform(key, shape, own)
    u = e.select(e.eq(u, np.zeros((), own)), e.splat(one, shape), u)
    trials = e.floor(e.div(e.log(u), spread(e.log1p(e.neg(p)), shape)))
    return e.convert(e.add(trials, one), wanted)


def categorical(key: Any, logits: Any, axis: int = -1, shape: Any = None, replace: bool = True, mode: str | None = None) -> Any:
    """Indices (int32) drawn with probabilities softmax(logits) along `axis`, by the Gumbel-max trick.

    Args:
        shape: the shape of the result, which must end in the logits' shape without `axis`; that shape by default.
        replace: whether an index may come again along the leading axes that `shape` adds; if not, those with the largest Gumbel numbers are
            taken.
        mode: see `gumbel`.

    Raises: ShapeError for another shape; ValueError where more indices than there are classes are wanted without replacement.
    """
    (x,) = promote_operands("categorical", logits, inexact=True)
    t = type_of(x)
    axis = canonical_axis("random.categorical", axis, t.ndim)
    rest = t.shape[:axis] + t.shape[axis + 1 :]
    shape = rest if shape is None else as_shape("random.categorical", shape)
    if broadcast_shapes("random.categorical", shape, rest) != shape:
        raise ShapeError(
            f"random.categorical: shape {shape} must end in {rest}, the logits' without axis {axis}.{at(user_source())}"
        )
    lead = len(shape) - len(rest)
    if not replace:
        return _distinct(key, x, axis, shape[:lead], mode)
    full = (*shape[: lead + axis], t.shape[axis], *shape[lead + axis :])
    return argmax(e.add(gumbel(key, full, t.dtype, mode), broadcast_to(x, full)), lead + axis)


def _distinct(key: Any, x: Any, axis: int, lead: tuple[int, ...], mode: str | None) -> Any:
    t = type_of(x)
    n, count = t.shape[axis], math.prod(lead)
    if count > n:
        raise ValueError(
            f"random.categorical: {count} indices without replacement were asked for, of {n} classes.{at(user_source())}"
        )
    noisy = e.move_axis(e.add(x, gumbel(key, t.shape, t.dtype, mode)), axis, t.ndim - 1)
    best = _largest(noisy, count)
    best = e.move_axis(best, t.ndim - 1, 0)
    return s.reshape(best, (*lead, *type_of(best).shape[1:]))


def _largest(x: Any, count: int) -> Any:
    """The indices (int32) of the `count` largest elements along the last axis, the largest first."""
    t = type_of(x)
    last = t.ndim - 1
    index = s.iota(t.shape, dtypes.DEFAULT_INT, last)
    ordered = order.sort([e.neg(x), index], last)[1]
    return s.slice(ordered, (0,) * t.ndim, (*t.shape[:-1], count))


# --- order ----------------------------------------------------------------------------------------


def permutation(key: Any, x: Any, axis: int = 0, independent: bool = False) -> Any:
    """`x` shuffled along an axis; for an integer n, a permutation of range(n). By sorting random keys, several times for large n.

    Args:
        independent: whether each row along `axis` is shuffled by itself; otherwise whole slices are moved.

    Example:
        >>> import fdl
        >>> sorted(permutation(fdl.random.key(0), 4).tolist())
        [0, 1, 2, 3]
    """
    key = check_key(key, "permutation")
    if isinstance(x, (int, np.integer)) and not isinstance(x, bool):
        return _shuffled(key, s.iota((max(int(x), 0),), dtypes.DEFAULT_INT, 0), 0)
    x = asarray(x)
    t = type_of(x)
    if t.ndim == 0:
        raise ShapeError(
            f"random.permutation: expected an array with at least one axis, or an int, got {t}.{at(user_source())}"
        )
    axis = canonical_axis("random.permutation", axis, t.ndim)
    if t.ndim == 1 or independent:
        return _shuffled(key, x, axis)
    order_ = _shuffled(key, s.iota((t.shape[axis],), dtypes.DEFAULT_INT, 0), 0)
    return getitem(x, (*(slice(None),) * axis, order_))


def _shuffled(key: Any, x: Any, axis: int) -> Any:
    t = type_of(x)
    rounds = math.ceil(3 * math.log(max(1, t.size)) / math.log(2**32 - 1))
    for _ in range(rounds):
        key, sub = pair(key)
        x = order.sort([ops.random_bits(sub, t.shape, 32), x], axis)[1]
    return x


def choice(
    key: Any, a: Any, shape: Any = (), replace: bool = True, p: Any = None, axis: int = 0, mode: str | None = None
) -> Any:
    """Elements of `a` along `axis`, drawn at random; of range(a) where `a` is an integer.

    Args:
        shape: how many are drawn; it stands in the result where `axis` stood.
        replace: whether an element may come again.
        p: probabilities `(n,)` of the elements; all alike by default.
        mode: see `gumbel`, which draws without replacement by `p`.

    Raises: ValueError where there is nothing to draw from, or not enough without replacement; ShapeError for a `p` of another shape;
    DTypeError for a scalar `a` that is no integer.

    Example:
        >>> import fdl
        >>> choice(fdl.random.key(0), 5, (2, 3)).shape
        (2, 3)
    """
    key = check_key(key, "choice")
    shape = as_shape("random.choice", shape)
    count = math.prod(shape)
    if isinstance(a, (int, np.integer)) and not isinstance(a, bool):
        x, n, dtype = None, int(a), dtypes.DEFAULT_INT
        before: tuple[int, ...] = ()
        after: tuple[int, ...] = ()
    else:
        x = asarray(a)
        t = type_of(x)
        if t.ndim == 0:
            raise DTypeError(f"random.choice: expected an int or an array with axes, got {t}.{at(user_source())}")
        axis = canonical_axis("random.choice", axis, t.ndim)
        n, dtype, before, after = t.shape[axis], t.dtype, t.shape[:axis], t.shape[axis + 1 :]
    if count == 0:
        return e.splat(np.zeros((), dtype), (*before, *shape, *after))
    if n <= 0:
        raise ValueError(f"random.choice: there is nothing to draw {count} elements from.{at(user_source())}")
    if not replace and count > n:
        raise ValueError(
            f"random.choice: {count} elements without replacement were asked for, of {n}. "
            f"Draw fewer, or with replace=True.{at(user_source())}"
        )
    if p is not None:
        index = _weighted(key, p, n, shape, replace, mode)
    elif replace:
        index = randint(key, shape, 0, n)
    elif x is None:
        index = s.slice(permutation(key, n), (0,), (count,))
    else:
        drawn = permutation(key, x, axis)
        picked = getitem(drawn, (*(slice(None),) * axis, slice(0, count)))
        return s.reshape(picked, (*before, *shape, *after))
    index = s.reshape(index, shape)
    return index if x is None else take(x, index, axis)


def _weighted(key: Any, p: Any, n: int, shape: tuple[int, ...], replace: bool, mode: str | None) -> Any:
    (p,) = promote_operands("random.choice: p", p, inexact=True)
    t = type_of(p)
    if t.shape != (n,):
        raise ShapeError(f"random.choice: p has shape {t.shape}, expected ({n},), one for each element.{at(user_source())}")
    if not replace:
        return _largest(e.add(gumbel(key, (n,), t.dtype, mode), e.log(p)), math.prod(shape))
    total = cumsum(p)
    u = e.sub(np.ones((), t.dtype), uniform(key, shape, t.dtype))
    return searchsorted(total, e.mul(getitem(total, -1), u))


__all__ = ["bernoulli", "categorical", "choice", "geometric", "permutation", "rademacher"]
