"""Counts: Poisson, binomial and multinomial numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl.control import scan
from fdl.numpy.cumulative import cumsum
from fdl.numpy.promote import broadcast_to, promote_operands
from fdl.numpy.shapes import flip, moveaxis
from fdl.scipy.special.gammas import gammaln_of
from fdl.scipy.special.operands import elementwise_loop, where
from fdl.tracer import dtypes
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import shape as s

from .keys import check_key, element_words, split
from .rejection import draw_two, until_accepted
from .uniforms import float_dtype, int_dtype, parameters, result_shape, spread

_FEW = 10.0
"""Below this mean numbers are found by adding up what passes one by one; from it on by rejection."""


def _poisson_few(k0: Any, k1: Any, lam: Any) -> Any:
    """The number of uniform factors whose product stays above exp(-lam) (Knuth, The Art of Computer Programming 2, section 3.4.1)."""

    def test(k0: Any, k1: Any, limit: Any, count: Any, product: Any) -> Any:
        return (product > limit) & (count < 1000.0)

    def step(k0: Any, k1: Any, limit: Any, count: Any, product: Any) -> list[Any]:
        u, _ = draw_two(k0, k1, e.convert(count, dtypes.uint32), dtypes.float64)
        return [count + 1.0, product * (1.0 - u)]

    one = e.splat(np.float64(1), lam.shape)
    count, _ = elementwise_loop(test, step, [k0, k1, e.exp(e.neg(lam))], [0.0 * one, one])
    return e.max(count - 1.0, 0.0 * one)


def _poisson_many(u: Any, v: Any, lam: Any) -> tuple[Any, Any]:
    """A candidate by transformed rejection, for lam >= 10.

    Source: W. Hörmann, "The transformed rejection method for generating Poisson random variables" (Insurance: Mathematics and Economics 12,
    1993), algorithm PTRS.
    """
    b = 0.931 + 2.53 * e.sqrt(lam)
    a = -0.059 + 0.02483 * b
    inverse = 1.1239 + 1.1328 / (b - 3.4)
    bound = 0.9277 - 3.6224 / (b - 2.0)
    w = u - 0.5
    side = 0.5 - e.abs(w)
    k = e.floor((2.0 * a / side + b) * w + lam + 0.43)
    quick = (side >= 0.07) & (v <= bound)
    refused = (k < 0.0) | ((side < 0.013) & (v > side)) | e.logical_not(e.is_finite(k))
    m = where(refused, 0.0, k)
    exact = e.log(v * inverse / (a / (side * side) + b)) <= m * e.log(lam) - lam - gammaln_of(m + 1.0)
    return k, quick | (exact & e.logical_not(refused))


def poisson(key: Any, lam: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Numbers of the Poisson distribution of mean `lam`, int32 by default; -1 where `lam` is negative or NaN.

    Args:
        shape: the shape of the result, to which `lam` broadcasts; that of `lam` by default.

    Numbers that the dtype does not hold are its largest.
    """
    wanted = int_dtype(dtype, "poisson")
    (lam,) = parameters("poisson", dtypes.float64, lam=lam)
    shape = result_shape("poisson", shape, lam)
    lam = e.splat(spread(e.stop_gradient(lam), shape), shape)
    key_words = element_words(check_key(key, "poisson"), shape)
    few, huge = lam < _FEW, lam > 1e18
    valid = lam >= 0.0
    low = _poisson_few(*key_words, where(valid & few, lam, 0.0))
    middle = valid & e.logical_not(few) & e.logical_not(huge)
    high = until_accepted(_poisson_many, key_words, [where(middle, lam, 20.0)], dtypes.float64)
    count = where(few, low, where(huge, lam, high))
    return e.convert(where(valid, count, -1.0), wanted)


def _binomial_few(k0: Any, k1: Any, n: Any, q: Any) -> Any:
    """The number of geometric waiting times within `n` trials.

    Source: L. Devroye, "Non-uniform random variate generation" (1986), section X.4.3.
    """

    def test(k0: Any, k1: Any, n: Any, log: Any, count: Any, trials: Any) -> Any:
        return (trials <= n) & (count < 1000.0)

    def step(k0: Any, k1: Any, n: Any, log: Any, count: Any, trials: Any) -> list[Any]:
        u, _ = draw_two(k0, k1, e.convert(count, dtypes.uint32), dtypes.float64)
        return [count + 1.0, trials + e.floor(e.log(1.0 - u) / log) + 1.0]

    zero = e.splat(np.float64(0), n.shape)
    count, _ = elementwise_loop(test, step, [k0, k1, n, e.log1p(e.neg(q))], [zero, zero])
    return e.max(count - 1.0, zero)


def _binomial_many(u: Any, v: Any, n: Any, q: Any) -> tuple[Any, Any]:
    """A candidate by transformed rejection, for n q >= 10 and q <= 1/2.

    Source: W. Hörmann, "The generation of binomial random variates" (J. Stat. Comput. Simul. 46, 1993), algorithm BTRS.
    """
    spread_ = e.sqrt(n * q * (1.0 - q))
    b = 1.15 + 2.53 * spread_
    a = -0.0873 + 0.0248 * b + 0.01 * q
    centre = n * q + 0.5
    bound = 0.92 - 4.2 / b
    alpha = (2.83 + 5.1 / b) * spread_
    mode = e.floor((n + 1.0) * q)
    w = u - 0.5
    side = 0.5 - e.abs(w)
    k = e.floor((2.0 * a / side + b) * w + centre)
    quick = (side >= 0.07) & (v <= bound)
    refused = (k < 0.0) | (k > n) | e.logical_not(e.is_finite(k))
    m = where(refused, 0.0, k)
    odds = e.log(q) - e.log1p(e.neg(q))
    peak = gammaln_of(mode + 1.0) + gammaln_of(n - mode + 1.0)
    exact = peak - gammaln_of(m + 1.0) - gammaln_of(n - m + 1.0) + (m - mode) * odds
    accepted = e.log(v * alpha / (a / (side * side) + b)) <= exact
    return k, (quick & e.logical_not(refused)) | (accepted & e.logical_not(refused))


def _binomial(key_words: tuple[Any, Any], n: Any, p: Any) -> Any:
    """Binomial numbers, float64, for parameters in the shape of the words."""
    mirrored = p > 0.5
    q = where(mirrored, 1.0 - p, p)
    count = e.floor(n)
    valid = (count >= 0.0) & (count < np.inf) & (q >= 0.0)
    few = valid & (count * q < _FEW)
    many = valid & e.logical_not(few)
    low = _binomial_few(*key_words, where(few, count, 0.0), where(few & (q > 0.0), q, 1e-300))
    high = until_accepted(_binomial_many, key_words, [where(many, count, 100.0), where(many, q, 0.5)], dtypes.float64)
    found = where(few, where(q > 0.0, low, 0.0), high)
    found = where(mirrored, count - found, found)
    unbounded = (count == np.inf) & (q >= 0.0)
    return where(valid, found, where(unbounded, np.inf, np.nan))


def binomial(key: Any, n: Any, p: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Numbers of successes in `n` trials of probability `p`, as floats; NaN for n < 0 or p outside [0, 1].

    Args:
        n: its whole part counts.
        shape: the shape of the result, to which the parameters broadcast; theirs by default.
    """
    wanted = float_dtype(dtype, "binomial")
    n, p = parameters("binomial", dtypes.float64, n=n, p=p)
    shape = result_shape("binomial", shape, n, p)
    n, p = (e.splat(spread(e.stop_gradient(x), shape), shape) for x in (n, p))
    return e.convert(_binomial(element_words(check_key(key, "binomial"), shape), n, p), wanted)


def multinomial(key: Any, n: Any, p: Any, *, shape: Any = None, dtype: Any = None) -> Any:
    """How `n` trials fall on the outcomes of the last axis of `p`: floats `(..., k)` that add up to `n`.

    Args:
        n: the numbers of trials, which broadcast with the leading axes of the result.
        p: probabilities `(..., k)`; each row counts relative to its sum.
        shape: the shape of the result, the outcomes included; that of `p` by default.

    Raises: ShapeError where the parameters do not fit.
    """
    n, p = promote_operands("random.multinomial", n, p, broadcast=False, inexact=True)
    given = type_of(p)
    if dtypes.is_complex(given.dtype):
        raise DTypeError(f"random.multinomial: n and p must be real, got {given}.{at(user_source())}")
    wanted = given.dtype if dtype is None else float_dtype(dtype, "multinomial")
    if given.ndim == 0:
        raise ShapeError(f"random.multinomial: p is a scalar, expected (..., k).{at(user_source())}")
    shape = result_shape("multinomial", shape, p)
    k = shape[-1]
    lead = result_shape("multinomial", shape[:-1], n)
    p = e.convert(broadcast_to(p, shape), dtypes.float64)
    n = e.convert(broadcast_to(n, lead), dtypes.float64)
    first = moveaxis(e.stop_gradient(p), -1, 0)
    rest = flip(cumsum(flip(first, 0), 0), 0)
    ratios = first / where(rest == 0.0, 1.0, rest)
    keys = split(check_key(key, "multinomial"), k)

    def draw(left: Any, x: tuple[Any, Any]) -> tuple[Any, Any]:
        ratio, one_key = x
        count = _binomial(element_words(one_key, lead), left, e.min(ratio, e.splat(np.float64(1), lead)))
        return left - count, count

    _, counts = scan(draw, e.stop_gradient(n), (ratios, keys))
    return e.convert(moveaxis(s.reshape(counts, (k, *lead)), 0, -1), wanted)


__all__ = ["binomial", "multinomial", "poisson"]
