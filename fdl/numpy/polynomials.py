"""Polynomials as arrays of coefficients, the highest power first: `polyval`, `polyfit`, `roots` and their kin."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import index as ix
from fdl.tracer.ops import shape as s

from . import linalg
from . import reductions as r
from .complexes import conj
from .construct import diag, vander
from .info import finfo
from .joins import concat
from .products import matmul, outer
from .promote import as_operand, asarray, broadcast_to, promote_operands, to_dtype
from .signals import convolve
from .static import need, need_int, one_axis, repeated, scalar
from .ufuncs import add, divide, multiply, sqrt, subtract

UNROLLED_DEGREE = 16
"""The highest degree that `polyval` writes out; beyond, it is a loop."""


def polyval(p: Any, x: Any, *, unroll: int = UNROLLED_DEGREE) -> Any:
    """The value of the polynomial with coefficients `p`, highest power first, at `x`, by Horner's rule.

    `p` may have further axes, which broadcast with `x`. Above degree `unroll` it is a loop.

    Example:
        >>> polyval(np.array([1.0, 0.0, -2.0]), 3.0).item()
        7.0
    """
    p, x = promote_operands("polyval", p, x, broadcast=False)
    t = type_of(p)
    if t.ndim == 0:
        raise ShapeError(f"polyval: p has no axis of coefficients.{at(user_source())}")
    n = t.shape[0]
    shape = np.broadcast_shapes(t.shape[1:], type_of(x).shape)
    y: Any = e.splat(scalar(x, 0), shape)
    if n == 0:
        return asarray(y)
    x = asarray(broadcast_to(x, shape))

    def coefficient(k: int) -> Any:
        return broadcast_to(s.reshape(s.slice_axis(p, 0, k, k + 1), t.shape[1:]), shape)

    if n <= unroll + 1:
        y = coefficient(0)
        for k in range(1, n):
            y = e.add(e.mul(y, x), coefficient(k))
        return asarray(y)
    rest = (0,) * (t.ndim - 1)

    def step(y: Any, k: Any, x: Any, p: Any) -> list[Any]:
        c = ix.dynamic_slice(p, (k, *(np.asarray(i, np.int32) for i in rest)), (1, *t.shape[1:]))
        c = broadcast_to(s.reshape(c, t.shape[1:]), shape)
        return [e.add(e.mul(y, x), c), e.add(k, np.asarray(1, np.int32)), x, p]

    return repeated(n, step, [asarray(y), asarray(np.asarray(0, np.int32)), x, asarray(p)])[0]


def _aligned(name: str, a1: Any, a2: Any) -> tuple[Any, Any]:
    """Two polynomials with as many coefficients."""
    a, b = promote_operands(name, a1, a2, broadcast=False)
    a, b = (s.reshape(asarray(x), (1,)) if type_of(x).ndim == 0 else one_axis(name, "a polynomial", x) for x in (a, b))
    n = max(type_of(a).size, type_of(b).size)
    a, b = (s.pad(x, scalar(x, 0), ((n - type_of(x).size, 0, 0),)) for x in (a, b))
    return a, b


def polyadd(a1: Any, a2: Any) -> Any:
    """The sum of two polynomials."""
    return add(*_aligned("polyadd", a1, a2))


def polysub(a1: Any, a2: Any) -> Any:
    """The difference of two polynomials."""
    return subtract(*_aligned("polysub", a1, a2))


def polymul(a1: Any, a2: Any, *, trim_leading_zeros: bool = False) -> Any:
    """The product of two polynomials. `trim_leading_zeros` drops leading zeros of both first: their values have to be known.

    Example:
        >>> polymul(np.array([1.0, 1.0]), np.array([1.0, -1.0])).tolist()
        [1.0, 0.0, -1.0]
    """
    a, b = (as_operand(x) for x in (a1, a2))
    if trim_leading_zeros:
        a, b = (_trimmed("polymul", x) for x in (a, b))
    a, b = (np.zeros(1, type_of(x).dtype) if type_of(x).size == 0 else x for x in (a, b))
    return convolve(a, b)


def _trimmed(name: str, p: Any) -> Any:
    value = need(name, p, "the number of leading zeros", "Call it without trimming.")
    value = np.atleast_1d(value)
    first = int(np.argmax(value != 0)) if (value != 0).any() else value.size - 1
    return s.slice_axis(s.reshape(p, value.shape), 0, first, value.size)


def polydiv(u: Any, v: Any, *, trim_leading_zeros: bool = False) -> tuple[Any, Any]:
    """The quotient and the remainder of two polynomials; `v` must not begin with 0.

    `trim_leading_zeros` drops leading zeros of the remainder, as NumPy does; its values then have to be known.

    Example:
        >>> [x.tolist() for x in polydiv(np.array([1.0, 0.0, -1.0]), np.array([1.0, -1.0]), trim_leading_zeros=True)]
        [[1.0, 1.0], [0.0]]
    """
    u, v = promote_operands("polydiv", u, v, broadcast=False, inexact=True)
    u, v = (s.reshape(asarray(x), (1,)) if type_of(x).ndim == 0 else one_axis("polydiv", "a polynomial", x) for x in (u, v))
    n, m = type_of(u).size, type_of(v).size
    if m == 0:
        raise ShapeError(f"polydiv: the divisor has no coefficients.{at(user_source())}")
    count = max(n - m + 1, 1)
    lead = s.slice_axis(v, 0, 0, 1)
    terms = []
    rest = u
    for k in range(n - m + 1):
        factor = e.div(s.slice_axis(rest, 0, k, k + 1), lead)
        terms.append(factor)
        taken = e.mul(s.broadcast(factor, (m,), (0,)), v)
        rest = e.sub(rest, s.pad(taken, scalar(u, 0), ((k, n - m - k, 0),)))
    quotient = concat(terms) if terms else asarray(e.splat(scalar(u, 0), (count,)))
    # What has been divided away is zero but for rounding.
    left = s.slice_axis(rest, 0, n - m + 1, n) if n >= m else rest
    zeros = np.zeros(max(n - max(m - 1, 0), 0), type_of(u).dtype) if n >= m else np.zeros(0, type_of(u).dtype)
    remainder = concat([zeros, left])
    if trim_leading_zeros:
        value = need("polydiv", remainder, "the length of the remainder", "Call it without trimming.")
        size = value.size
        first = next((k for k in range(size) if not np.isclose(value[k], 0, rtol=1e-14)), size - 1)
        remainder = s.slice_axis(remainder, 0, first, size)
    return quotient, asarray(remainder)


def polyder(p: Any, m: int = 1) -> Any:
    """The m-th derivative of a polynomial.

    Example:
        >>> polyder(np.array([1.0, 2.0, 3.0])).tolist()
        [2.0, 2.0]
    """
    m = _order("polyder", m)
    (p,) = promote_operands("polyder", one_axis("polyder", "p", p), inexact=True)
    n = type_of(p).size
    if m == 0:
        return asarray(p)
    if n <= m:
        return asarray(np.zeros(0, type_of(p).dtype))
    powers = np.arange(n - 1, m - 1, -1, dtype=np.float64)
    factors = np.prod([powers - k for k in range(m)], axis=0)
    return multiply(s.slice_axis(p, 0, 0, n - m), scalar(p, factors))


def polyint(p: Any, m: int = 1, k: Any = None) -> Any:
    """The m-th integral of a polynomial, with integration constants `k` (0; one for all, or m of them, the first integral's first).

    Example:
        >>> polyint(np.array([2.0, 2.0]), k=3.0).tolist()
        [1.0, 2.0, 3.0]
    """
    m = _order("polyint", m)
    (p,) = promote_operands("polyint", one_axis("polyint", "p", p), inexact=True)
    constants = to_dtype(as_operand(0 if k is None else k), type_of(p).dtype)
    if type_of(constants).ndim == 0 or type_of(constants).shape == (1,):
        constants = broadcast_to(constants, (m,)) if m else constants
    if m and type_of(constants).shape != (m,):
        raise ShapeError(f"polyint: k has shape {type_of(constants).shape}, expected one constant or {m}.{at(user_source())}")
    for step in range(m):
        n = type_of(p).size
        divisors = scalar(p, np.arange(n, 0, -1))
        p = concat([divide(p, divisors), s.slice_axis(constants, 0, step, step + 1)])
    return asarray(p)


def _order(name: str, m: Any) -> int:
    m = need_int(name, "m", m)
    if m < 0:
        raise ShapeError(f"{name}: m must not be negative, got {m}.{at(user_source())}")
    return m


def poly(seq_of_zeros: Any) -> Any:
    """The polynomial with leading coefficient 1 and these zeros; of a square matrix, its characteristic polynomial.

    Example:
        >>> poly(np.array([1.0, -1.0])).tolist()
        [1.0, 0.0, -1.0]
    """
    (z,) = promote_operands("poly", seq_of_zeros, inexact=True)
    shape = type_of(z).shape
    if len(shape) == 2 and shape[0] == shape[1] and shape[0]:
        z = linalg.eigvals(z)
    elif len(shape) != 1:
        raise ShapeError(f"poly: expected a sequence of zeros or a square matrix, got shape {shape}.{at(user_source())}")
    n = type_of(z).size
    one = e.splat(scalar(z, 1), (1,))
    p: Any = one
    for k in range(n):
        factor = concat([one, e.neg(s.slice_axis(z, 0, k, k + 1))])
        p = convolve(p, factor)
    return asarray(p)


def roots(p: Any, *, strip_zeros: bool = True) -> Any:
    """The complex zeros of a polynomial: the eigenvalues of its companion matrix.

    Args:
        strip_zeros: whether leading zeros, which lower the degree, and trailing ones are taken off, for which the values have to be
            known; without it, zeros at the front give NaN.

    Raises: ConcretizationError for traced coefficients with `strip_zeros`.

    Example:
        >>> sorted(roots(np.array([1.0, 0.0, -1.0])).tolist(), key=lambda z: z.real)
        [(-1+0j), (1+0j)]
    """
    p = one_axis("roots", "p", p)
    (p,) = promote_operands("roots", p, inexact=True)
    t = type_of(p)
    wide = t.dtype if dtypes.is_complex(t.dtype) else dtypes.complex128 if t.dtype == dtypes.float64 else dtypes.complex64
    trailing = 0
    if strip_zeros:
        value = need("roots", p, "the number of roots", "Call it with strip_zeros=False.")
        filled = np.flatnonzero(value)
        if not len(filled):
            return asarray(np.zeros(0, wide))
        trailing = t.size - 1 - int(filled[-1])
        p = s.slice_axis(p, 0, int(filled[0]), int(filled[-1]) + 1)
    n = type_of(p).size
    if n < 2:
        return asarray(np.zeros(trailing, wide))
    top = e.neg(e.div(s.slice_axis(p, 0, 1, n), s.broadcast(s.slice_axis(p, 0, 0, 1), (n - 1,), (0,))))
    below = diag(np.ones(n - 2, t.dtype), -1)
    companion = (
        s.concatenate([s.reshape(top, (1, n - 1)), s.slice_axis(below, 0, 1, n - 1)], 0) if n > 2 else s.reshape(top, (1, 1))
    )
    found = to_dtype(linalg.eigvals(companion), wide)
    return concat([found, np.zeros(trailing, wide)]) if trailing else asarray(found)


def polyfit(
    x: Any, y: Any, deg: int, rcond: float | None = None, full: bool = False, w: Any = None, cov: bool | str = False
) -> Any:
    """The polynomial of degree `deg` that fits y(x) best, by least squares.

    Args:
        y: values (n,), or several columns of them (n, k).
        rcond: singular values below it, relative to the largest, count as 0; the machine's precision times n by default.
        full: whether to return (p, residuals, rank, singular values, rcond).
        w: weights of the residuals (not of their squares).
        cov: whether to return (p, covariance matrix), scaled by the residuals unless "unscaled".

    Example:
        >>> polyfit(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 5.0]), 1).round(6).tolist()
        [2.0, 1.0]
    """
    deg = need_int("polyfit", "deg", deg)
    x, y = promote_operands("polyfit", x, y, broadcast=False, inexact=True)
    x = one_axis("polyfit", "x", x)
    n = type_of(x).size
    if deg < 0 or n == 0 or type_of(y).ndim not in (1, 2) or type_of(y).shape[0] != n:
        raise ShapeError(
            f"polyfit: degree {deg}, x of shape {type_of(x).shape} and y of shape {type_of(y).shape}: expected a degree of at least 0, and "
            f"one or more columns of as many values as points.{at(user_source())}"
        )
    if rcond is None:
        rcond = n * float(finfo(type_of(x).dtype).eps)
    left, right = vander(x, deg + 1), y
    if w is not None:
        w = to_dtype(one_axis("polyfit", "w", w), type_of(x).dtype)
        if type_of(w).size != n:
            raise ShapeError(f"polyfit: {type_of(w).size} weights for {n} points.{at(user_source())}")
        left = multiply(left, s.reshape(w, (n, 1)))
        right = multiply(right, w if type_of(right).ndim == 1 else s.reshape(w, (n, 1)))
    # Columns of one length make the problem well conditioned.
    length = sqrt(r.sum(multiply(left, conj(left)) if dtypes.is_complex(type_of(left).dtype) else multiply(left, left), 0))
    scaled = divide(left, length)
    c, residuals, rank, singular = linalg.lstsq(scaled, right, rcond=rcond)
    column = length if type_of(c).ndim == 1 else s.reshape(length, (deg + 1, 1))
    c = divide(c, column)
    if full:
        return c, residuals, rank, singular, rcond
    if not cov:
        return c
    base = divide(linalg.inv(matmul(s.transpose(scaled, (1, 0)), scaled)), outer(length, length))
    if cov == "unscaled":
        return c, base
    if n <= deg + 1:
        raise ShapeError(f"polyfit: {n} points do not tell the covariance of {deg + 1} coefficients.{at(user_source())}")
    left_over = subtract(right, matmul(left, c))
    factor = divide(r.sum(multiply(left_over, left_over), 0), float(n - deg - 1))
    if type_of(factor).ndim == 0:
        return c, multiply(base, factor)
    shape = (deg + 1, deg + 1, type_of(factor).size)
    return c, multiply(s.broadcast(base, shape, (0, 1)), s.broadcast(factor, shape, (2,)))


__all__ = ["poly", "polyadd", "polyder", "polydiv", "polyfit", "polyint", "polymul", "polysub", "polyval", "roots"]
