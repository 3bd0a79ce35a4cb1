"""Functions along an axis: softmax and its kin, standardization, gated and maxout units, one-hot coding.

Floating-point arrays keep their dtype; integers become float32.  `where`, a mask that broadcasts with `x`, tells which elements take part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.numpy.promote import as_operand, broadcast_operands, canonical_axes, canonical_axis, promote_operands
from fdl.scipy.special import logsumexp as logsumexp
from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.transforms import stop_gradient

from .activations import sigmoid

Axis = int | Sequence[int] | None


def softmax(x: Any, axis: Axis = -1, where: Any = None) -> Any:
    """eˣ / Σ eˣ along `axis`, without overflow; 0 where not `where`.

    Example:
        >>> softmax([1000.0, 1000.0]).tolist()
        [0.5, 0.5]
    """
    x, mask = _masked("softmax", x, where)
    if 0 in type_of(x).shape:
        return fnp.asarray(x)
    e = fnp.exp(_shifted(x, axis, mask))
    total = fnp.sum(e, axis, keepdims=True)
    return fnp.divide(e, total if mask is None else fnp.where(fnp.equal(total, 0), 1, total))


def log_softmax(x: Any, axis: Axis = -1, where: Any = None) -> Any:
    """log softmax(x) = x − log Σ eˣ along `axis`, without overflow or cancellation; −inf where not `where`."""
    x, mask = _masked("log_softmax", x, where)
    if 0 in type_of(x).shape:
        return fnp.asarray(x)
    shifted = _shifted(x, axis, mask)
    total = fnp.sum(fnp.exp(shifted), axis, keepdims=True)
    return fnp.subtract(shifted, fnp.log(total if mask is None else fnp.where(fnp.equal(total, 0), 1, total)))


def _masked(name: str, x: Any, where: Any) -> tuple[Any, Any]:
    """`x` as floats, with −inf where not `where`; and the mask, of its shape."""
    (x,) = promote_operands(name, x, inexact=True)
    if where is None:
        return x, None
    x, mask = broadcast_operands(name, x, fnp.asarray(where, bool))
    return fnp.where(mask, x, -np.inf), mask


def _shifted(x: Any, axis: Axis, mask: Any) -> Any:
    """`x` with its maximum along `axis` taken away, so that the exponential does not overflow."""
    top = stop_gradient(fnp.max(x, axis, keepdims=True))
    if mask is not None:  # none may be left
        top = fnp.where(fnp.equal(top, -np.inf), 0, top)
    return fnp.subtract(x, top)


def logmeanexp(x: Any, axis: Axis = None, where: Any = None, keepdims: bool = False) -> Any:
    """The logarithm of the mean of eˣ along `axis` (None: all), without overflow.

    Example:
        >>> round(float(logmeanexp([1000.0, 1000.0])), 3)
        1000.0
    """
    total = logsumexp(x, axis, where=where, keepdims=keepdims)
    shape = type_of(as_operand(x)).shape
    if where is None:
        size = math.prod(shape[a] for a in canonical_axes("logmeanexp", axis, len(shape)))
        return fnp.subtract(total, math.log(size) if size else -np.inf)
    mask = fnp.asarray(where, bool)
    whole = fnp.broadcast_to(mask, fnp.broadcast_shapes(shape, type_of(mask).shape))
    count = fnp.sum(whole, axis, dtype=type_of(total).dtype, keepdims=keepdims)
    return fnp.subtract(total, fnp.log(count))


def standardize(
    x: Any,
    axis: Axis = -1,
    mean: Any = None,
    variance: Any = None,
    epsilon: Any = 1e-5,
    where: Any = None,
    *,
    algorithm: str = "stable",
) -> Any:
    """(x − mean) / √(variance + epsilon), with the mean and variance along `axis` unless they are given.

    Args:
        where: which elements the mean and the variance are of.
        algorithm: "stable", the mean of squared differences from the mean, or "fast", the mean of squares less the squared mean, which
            cancels where the mean is large.

    Raises: ValueError for another algorithm.

    Example:
        >>> standardize([1.0, 3.0], epsilon=0.0).tolist()
        [-1.0, 1.0]
    """
    if algorithm not in ("stable", "fast"):
        raise ValueError(f"standardize: algorithm={algorithm!r}: expected 'stable' or 'fast'.{at(user_source())}")
    (x,) = promote_operands("standardize", x, inexact=True)
    if mean is None:
        mean = fnp.mean(x, axis, keepdims=True, where=where)
    if variance is None and algorithm == "stable":
        variance = fnp.mean(fnp.square(fnp.subtract(x, mean)), axis, keepdims=True, where=where)
    elif variance is None:
        squares = fnp.mean(fnp.square(x), axis, keepdims=True, where=where)
        variance = fnp.maximum(fnp.subtract(squares, fnp.square(mean)), 0)
    return fnp.multiply(fnp.subtract(x, mean), fnp.rsqrt(fnp.add(variance, epsilon)))


def glu(x: Any, axis: int = -1) -> Any:
    """The first half of `x` along `axis` times the sigmoid of the second half (Dauphin et al., ICML 2017).

    Raises: ShapeError for an axis of odd size.

    Example:
        >>> glu([4.0, 0.0]).tolist()
        [2.0]
    """
    (x,) = promote_operands("glu", x, inexact=True)
    shape = type_of(x).shape
    a = canonical_axis("glu", axis, len(shape))
    if shape[a] % 2:
        raise ShapeError(f"glu: axis {a} of an array of shape {shape} has an odd size; expected two halves.{at(user_source())}")
    value, gate = fnp.split(x, 2, a)
    return fnp.multiply(value, sigmoid(gate))


def maxout(x: Any, num_pieces: int, axis: int = -1) -> Any:
    """The maximum of each `num_pieces` neighbours along `axis`, which becomes so many times shorter (Goodfellow et al., ICML 2013).

    Raises: ShapeError where `num_pieces` does not divide the axis.

    Example:
        >>> maxout([1.0, 5.0, 3.0, 2.0], 2).tolist()
        [5.0, 3.0]
    """
    x = fnp.asarray(x)
    shape = type_of(x).shape
    a = canonical_axis("maxout", axis, len(shape))
    if num_pieces < 1 or shape[a] % num_pieces:
        raise ShapeError(
            f"maxout: num_pieces={num_pieces} does not divide the size {shape[a]} of axis {a} of an array of shape {shape}."
            f"{at(user_source())}"
        )
    apart = (*shape[:a], shape[a] // num_pieces, num_pieces, *shape[a + 1 :])
    return fnp.max(fnp.reshape(x, apart), a + 1)


def one_hot(x: Any, num_classes: int, *, dtype: Any = None, axis: int = -1) -> Any:
    """For each index, `num_classes` numbers along a new axis `axis`: 1 at the index, else 0; zeros for an index out of range.

    Args:
        dtype: of the result, float32 by default.

    Example:
        >>> one_hot([0, 2], 3).tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    x = fnp.asarray(x)
    ndim = type_of(x).ndim
    a = canonical_axis("one_hot", axis, ndim + 1)
    classes = fnp.reshape(fnp.arange(num_classes), tuple(num_classes if k == a else 1 for k in range(ndim + 1)))
    return fnp.astype(fnp.equal(fnp.expand_dims(x, a), classes), dtypes.float32 if dtype is None else dtypes.of(dtype))
