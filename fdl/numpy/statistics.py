"""Averages and how arrays vary together: `average`, `cov`, `corrcoef`."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import shape as s

from . import reductions as r
from .complexes import conj, imag, real
from .products import diagonal, matmul
from .promote import as_operand, asarray, broadcast_to, canonical_axes, promote_operands, to_dtype
from .static import known, scalar
from .ufuncs import clip, divide, multiply, sqrt, subtract


def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, keepdims: bool = False) -> Any:
    """The weighted average over the given axes; with `returned`, also the sum of the weights.

    Args:
        weights: of the shape of `a`, or of the sizes of the axes; equal ones by default.

    Raises: ShapeError for weights of another shape.

    Example:
        >>> average(np.array([1.0, 4.0]), weights=np.array([1.0, 2.0])).item()
        3.0
    """
    (a,) = promote_operands("average", a, inexact=True)
    axes = canonical_axes("average", axis, type_of(a).ndim)
    if weights is None:
        y = r.mean(a, axis, keepdims=keepdims)
        if not returned:
            return y
        count = 1
        for i in axes:
            count *= type_of(a).shape[i]
        return y, asarray(e.splat(scalar(y, count), type_of(y).shape))
    a, w = promote_operands("average", a, weights, broadcast=False)
    shape = type_of(a).shape
    if type_of(w).shape != shape:
        if axis is None or type_of(w).shape != tuple(shape[i] for i in axes):
            raise ShapeError(
                f"average: weights have shape {type_of(w).shape}: expected {shape}, or the sizes along the axes, with axis= given."
                f"{at(user_source())}"
            )
        order = sorted(range(len(axes)), key=lambda k: axes[k])
        w = s.broadcast(s.transpose(w, tuple(order)), shape, tuple(sorted(axes)))
    total = r.sum(w, axes, keepdims=keepdims)
    y = divide(r.sum(multiply(a, w), axes, keepdims=keepdims), total)
    return (y, asarray(broadcast_to(total, type_of(y).shape))) if returned else y


def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Any:
    """The covariance matrix of variables given as rows (columns, without `rowvar`) of observations; of one, a 0-d array.

    Args:
        y: further variables.
        bias: whether to divide by n, not n - 1; `ddof`, where given, is what is subtracted from n.
        fweights: how often each observation counts, integers; aweights: its weight.

    Example:
        >>> cov(np.array([[0.0, 2.0], [2.0, 0.0]])).tolist()
        [[2.0, -2.0], [-2.0, 2.0]]
    """
    given = [m] if y is None else [m, y]
    given = promote_operands("cov", *given, broadcast=False, inexact=True)
    if dtype is not None:
        given = [to_dtype(x, dtypes.of(dtype)) for x in given]
    rows = []
    for k, x in enumerate(given):
        t = type_of(x)
        if t.ndim > 2:
            raise ShapeError(f"cov: m and y have at most 2 axes, got shape {t.shape}.{at(user_source())}")
        x = s.reshape(x, (1, *t.shape)) if t.ndim == 1 else s.reshape(x, (1, 1)) if t.ndim == 0 else x
        shape = type_of(x).shape
        rows.append(s.transpose(x, (1, 0)) if not rowvar and (shape[0] != 1 or (t.ndim == 2 and k > 0)) else x)
    x = s.concatenate(rows, 0)
    if ddof is None:
        ddof = 0 if bias else 1
    w = _weights("cov", fweights, aweights, x)
    centre, total = average(x, 1, w, returned=True)
    total = s.reshape(s.slice_axis(total, 0, 0, 1), ()) if type_of(total).size else scalar(x, 0)
    if w is None or aweights is None:
        count = subtract(total, float(ddof))
    elif ddof == 0:
        count = total
    else:
        count = subtract(total, divide(multiply(float(ddof), r.sum(multiply(w, as_operand(aweights)))), total))
    count = e.max(real(count), scalar(real(count), 0))
    x = subtract(x, s.reshape(centre, (type_of(centre).size, 1)))
    scaled = x if w is None else multiply(x, w)
    product = matmul(x, conj(s.transpose(scaled, (1, 0))))
    out = divide(product, to_dtype(count, type_of(product).dtype))
    n = type_of(out).shape[0]
    return s.reshape(out, ()) if n == 1 else out


def _weights(name: str, fweights: Any, aweights: Any, x: Any) -> Any:
    w: Any = None
    n = type_of(x).shape[1]
    for what, given in (("fweights", fweights), ("aweights", aweights)):
        if given is None:
            continue
        g = as_operand(given, f"{name}: {what}")
        if type_of(g).shape != (n,):
            raise ShapeError(f"{name}: {what} have shape {type_of(g).shape}, expected ({n},).{at(user_source())}")
        value = known(g)
        if value is not None and (value < 0).any():
            raise ShapeError(f"{name}: {what} must not be negative.{at(user_source())}")
        if what == "fweights" and not dtypes.is_int(type_of(g).dtype):
            raise ShapeError(f"{name}: fweights must be integers, got {type_of(g).dtype.name}.{at(user_source())}")
        g = to_dtype(g, dtypes.real_of(type_of(x).dtype))
        w = g if w is None else multiply(w, g)
    return w


def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    """The correlation coefficients of variables given as in `cov`: the covariances over the standard deviations, from -1 to 1.

    Example:
        >>> corrcoef(np.array([[0.0, 2.0], [2.0, 0.0]])).round(6).tolist()
        [[1.0, -1.0], [-1.0, 1.0]]
    """
    c = cov(x, y, rowvar, dtype=dtype)
    if type_of(c).ndim == 0:
        return divide(c, c)
    deviation = sqrt(real(diagonal(c)))
    n = type_of(c).shape[0]
    column, row = s.reshape(deviation, (n, 1)), s.reshape(deviation, (1, n))
    c = divide(divide(c, column), row)
    if dtypes.is_complex(type_of(c).dtype):
        return e.add(to_dtype(clip(real(c), -1, 1), type_of(c).dtype), multiply(clip(imag(c), -1, 1), np.complex64(1j)))
    return clip(c, -1, 1)


__all__ = ["average", "corrcoef", "cov"]
