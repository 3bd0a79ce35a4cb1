"""Kummer's confluent hypergeometric function."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl.tracer.ops import elementwise as e
from fdl.tracer.transforms.composed import composed

from .gammas import gammaln_of, is_odd
from .operands import elementwise_loop, reals, where

_FAR = 50.0
_STEPS = 2000.0


def _sign_of_gamma(x: Any) -> Any:
    return where((x < 0.0) & is_odd(e.floor(x)), -1.0, 1.0)


def _power_series(a: Any, b: Any, x: Any) -> Any:
    def test(a: Any, b: Any, x: Any, n: Any, term: Any, total: Any) -> Any:
        # Terms may grow again after a small one, while a + n or b + n is below 0 or x is above them.
        going = (e.abs(term) > e.abs(total) * 1e-17) | (a + n < 0.0) | (b + n < 0.0)
        return going & (term != 0.0) & (n < _STEPS)

    def step(a: Any, b: Any, x: Any, n: Any, term: Any, total: Any) -> list[Any]:
        term = term * ((a + n) * x / ((b + n) * (n + 1.0)))
        return [n + 1.0, term, total + term]

    one = e.splat(np.float64(1), a.shape)
    return elementwise_loop(test, step, [a, b, x], [e.splat(np.float64(0), a.shape), one, one])[2]


def _hyp1f1(a: Any, b: Any, x: Any) -> Any:
    pole = (b <= 0.0) & (b == e.floor(b))
    ends = (a <= 0.0) & (a == e.floor(a))
    allowed = e.logical_not(pole) | (ends & (a >= b))
    # exp(x) 1F1(b - a, b, -x) (DLMF 13.2.39) has terms of one sign for x < 0.
    turned = (x < 0.0) & e.logical_not(ends)
    c, y = where(turned, b - a, a), e.abs(x)
    y = where(turned, y, x)
    d = where(pole, 1.0, b)
    finite = (e.abs(y) < np.inf) & (y == y)
    ends = (c <= 0.0) & (c == e.floor(c))
    far = (y > _FAR + 2.0 * e.abs(c) + 2.0 * e.abs(d)) & e.logical_not(ends) & finite
    near = _power_series(where(far, 1.0, c), where(far, 1.0, where(pole, b, d)), where(far | e.logical_not(finite), 0.0, y))
    # DLMF 13.7.1
    z = where(far, y, 100.0)
    p, q = where(far, c, 1.0), where(far, d, 1.0)
    term, total = e.splat(np.float64(1), x.shape), e.splat(np.float64(1), x.shape)
    live = e.splat(np.True_, x.shape)
    for n in range(30):
        following = term * ((n + 1.0 - p) * (q - p + n) / ((n + 1.0) * z))
        live = live & (e.abs(following) <= e.abs(term))
        term = where(live, following, 0.0)
        total = total + term
    growth = where(turned, 0.0, z) + (p - q) * e.log(z) + gammaln_of(q) - gammaln_of(p)
    outer = e.exp(growth) * total * _sign_of_gamma(q) * _sign_of_gamma(p)
    inner = near * where(turned, e.exp(e.neg(where(far, 0.0, y))), 1.0)
    out = where(far, outer, inner)
    known = (a == a) & (b == b) & finite
    return where(known, where(allowed, out, np.inf), np.nan)


def _slope(y: Any, a: Any, b: Any, x: Any) -> Any:
    one = np.asarray(1, a.dtype)
    return e.mul(e.div(a, b), hyp1f1_of(e.add(a, one), e.add(b, one), x))


hyp1f1_of = composed("hyp1f1", _hyp1f1, None, None, _slope, eager="compiled")


def hyp1f1(a: Any, b: Any, x: Any) -> Any:
    """Kummer's confluent hypergeometric function 1F1(a; b; x) of real operands, elementwise: inf at its poles b = 0, -1, ...

    Relative error about 1e-13 for moderate operands (|a|, |b| up to 20); where terms of both signs cancel (a < 0 < x, or b < a < 0)
    the error is absolute, of 1e-15 times the largest term. All operands have derivatives.

    Source: DLMF 13.2.2 (series), 13.2.39 (Kummer's transformation), 13.7.1 (for large |x|).

    Example:
        >>> round(float(hyp1f1(1.0, 2.0, 1.0)), 6)  # e - 1
        1.718282
    """
    return hyp1f1_of(*reals("hyp1f1", a, b, x))


__all__ = ["hyp1f1"]
