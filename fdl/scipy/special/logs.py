"""Products with logarithms that are 0 where a factor is, entropies, the logit, and Box and Cox's transformation."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl.numpy.promote import promote_operands
from fdl.tracer import dtypes
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.transforms.composed import Composed, composed

from .operands import reals, where

# The formulas down to `kl_div` are in the operands' own precision.


def _number(value: float, x: Any) -> np.ndarray:
    return np.asarray(value, x.dtype)


def _choose(pred: Any, x: Any, y: Any) -> Any:
    """`x` where `pred`, else `y`, of which one is a number."""
    array = y if isinstance(x, float) else x
    x, y = (e.splat(_number(v, array), array.shape) if isinstance(v, float) else v for v in (x, y))
    return e.select(pred, x, y)


def _is_zero(x: Any) -> Any:
    return e.eq(x, _number(0, x))


def _vanishes(x: Any, y: Any) -> Any:
    return e.logical_and(_is_zero(x), e.eq(y, y))


def _xlogy(x: Any, y: Any) -> Any:
    none = _vanishes(x, y)
    return _choose(none, 0.0, e.mul(x, e.log(_choose(none, 1.0, y))))


def _xlog1py(x: Any, y: Any) -> Any:
    none = _vanishes(x, y)
    return _choose(none, 0.0, e.mul(x, e.log1p(_choose(none, 0.0, y))))


def _ratio(x: Any, y: Any) -> Any:
    """x / y, 0 for x = 0."""
    none = _vanishes(x, y)
    return _choose(none, 0.0, e.div(x, _choose(none, 1.0, y)))


def _over(x: Any, y: Any) -> Any:
    return ratio_of(x, y)


ratio_of: Composed = composed(
    "vanishing_ratio",
    _ratio,
    lambda y, a, b: e.div(_number(1, b), b),
    lambda y, a, b: e.neg(_over(y, b)),
    wide=False,
)  # fmt: skip
xlogy_of = composed("xlogy", _xlogy, lambda y, a, b: e.log(b), lambda y, a, b: ratio_of(a, b), wide=False)
xlog1py_of = composed(
    "xlog1py", _xlog1py, lambda y, a, b: e.log1p(b), lambda y, a, b: ratio_of(a, e.add(b, _number(1, b))), wide=False
)


def xlogy(x: Any, y: Any) -> Any:
    """x log y, elementwise, and 0 for x = 0 whatever `y` is (unless it is NaN).

    Its derivatives are log y and x / y; the latter is 0 for x = 0, for y = 0 too. Complex numbers are taken as well.

    Example:
        >>> xlogy([0.0, 2.0], [0.0, 1.0]).tolist()
        [0.0, 0.0]
    """
    x, y = promote_operands("xlogy", x, y, inexact=True)
    if dtypes.is_complex(type_of(x).dtype):
        return _complex_product(x, e.log(y))
    return xlogy_of(x, y)


def _complex_product(x: Any, log: Any) -> Any:
    """x times a logarithm, and 0 for x = 0 where that is infinite."""
    size = e.abs(log)
    none = e.logical_and(_is_zero(x), e.eq(size, _number(np.inf, size)))
    x, log = (e.splat(v, none.shape) for v in (x, log))
    return _choose(none, 0.0, e.mul(x, _choose(none, 1.0, log)))


def xlog1py(x: Any, y: Any) -> Any:
    """x log(1 + y), elementwise, and 0 for x = 0 whatever `y` is (unless it is NaN). Derivatives as those of `xlogy`."""
    x, y = promote_operands("xlog1py", x, y, inexact=True)
    if dtypes.is_complex(type_of(x).dtype):
        return _complex_product(x, e.log1p(y))
    return xlog1py_of(x, y)


def _entr(x: Any) -> Any:
    positive = e.gt(x, _number(0, x))
    y = e.sub(_number(0, x), _xlogy(x, _choose(positive, x, 1.0)))
    return _choose(e.lt(x, _number(0, x)), -np.inf, y)


entr_of = composed("entr", _entr, lambda y, x: e.sub(e.neg(e.log(x)), _number(1, x)), wide=False)


def entr(x: Any) -> Any:
    """-x log x, elementwise: 0 at 0, where its derivative is infinite; -inf for x < 0.

    Example:
        >>> entr([0.0, 1.0]).tolist()
        [0.0, 0.0]
    """
    return entr_of(*reals("entr", x))


def _both(x: Any, y: Any) -> Any:
    zero = _number(0, x)
    return e.logical_and(e.gt(x, zero), e.gt(y, zero))


def _log_ratio(x: Any, y: Any) -> Any:
    """log(x / y) for x, y > 0; 0 elsewhere."""
    both = _both(x, y)
    p, q = _choose(both, x, 1.0), _choose(both, y, 1.0)
    # One quotient keeps what x / y is away from 1; the difference of logarithms serves where it leaves the range.
    quotient = e.div(p, q)
    fits = e.logical_and(e.gt(quotient, _number(np.finfo(x.dtype).tiny, x)), e.is_finite(quotient))
    return e.select(fits, e.log(_choose(fits, quotient, 1.0)), e.sub(e.log(p), e.log(q)))


def _inverse_within(x: Any, both: Any) -> Any:
    """1 / x where `both`, else 0."""
    return _choose(both, e.div(_number(1, x), _choose(both, x, 1.0)), 0.0)


def _rel_entr(x: Any, y: Any) -> Any:
    both = _both(x, y)
    empty = e.logical_and(_is_zero(x), e.ge(y, _number(0, x)))
    y_out = _choose(both, e.mul(_choose(both, x, 1.0), _log_ratio(x, y)), np.inf)
    y_out = _choose(empty, 0.0, y_out)
    known = e.logical_and(e.eq(x, x), e.eq(y, y))
    return _choose(known, y_out, np.nan)


def _rel_entr_slope(y: Any, a: Any, b: Any) -> Any:
    return e.add(log_ratio_of(a, b), e.convert(_both(a, b), a.dtype))


def _rel_entr_slope_q(y: Any, a: Any, b: Any) -> Any:
    both = _both(a, b)
    return e.neg(e.div(_choose(both, a, 0.0), _choose(both, b, 1.0)))


def _kl_div(x: Any, y: Any) -> Any:
    entropy = _rel_entr(x, y)
    out = e.add(e.sub(entropy, x), y)
    return _choose(e.eq(entropy, _number(np.inf, x)), np.inf, out)


def _kl_div_slope(y: Any, a: Any, b: Any) -> Any:
    return e.sub(log_ratio_of(a, b), e.convert(e.logical_not(_both(a, b)), a.dtype))


def _kl_div_slope_q(y: Any, a: Any, b: Any) -> Any:
    return e.add(_rel_entr_slope_q(y, a, b), _number(1, b))


log_ratio_of = composed(
    "log_ratio",
    _log_ratio,
    lambda y, a, b: _inverse_within(a, _both(a, b)),
    lambda y, a, b: e.neg(_inverse_within(b, _both(a, b))),
    wide=False,
)
rel_entr_of = composed("rel_entr", _rel_entr, _rel_entr_slope, _rel_entr_slope_q, wide=False)
kl_div_of = composed("kl_div", _kl_div, _kl_div_slope, _kl_div_slope_q, wide=False)


def rel_entr(p: Any, q: Any) -> Any:
    """p log(p / q), elementwise, for p, q > 0; 0 for p = 0, q >= 0; inf elsewhere. Its sum is the divergence of Kullback and Leibler.

    Where p or q is not positive its derivatives are 0, as JAX has them: there the term is a constant, and a sum stays differentiable.

    Example:
        >>> rel_entr([0.0, 1.0, 1.0], [0.5, 1.0, 0.0]).tolist()
        [0.0, 0.0, inf]
    """
    return rel_entr_of(*reals("rel_entr", p, q))


def kl_div(p: Any, q: Any) -> Any:
    """p log(p / q) - p + q, elementwise, for p, q > 0; q for p = 0, q >= 0; inf elsewhere. It is convex in both, and never negative.

    Where p or q is not positive its derivatives are -1 and 1, as JAX has them (see `rel_entr`).
    """
    return kl_div_of(*reals("kl_div", p, q))


# --- in float64 -----------------------------------------------------------------------------------


def _logit(p: Any) -> Any:
    middle = (p > 0.3) & (p < 0.65)
    q = where(middle, p, 0.5)
    near = e.log1p((2.0 * q - 1.0) / (1.0 - q))
    far = e.log(p) - e.log1p(e.neg(p))
    return where(middle, near, far)


def _logit_slope(y: Any, p: Any) -> Any:
    one = _number(1, p)
    return e.div(one, e.mul(p, e.sub(one, p)))


logit_of = composed("logit", _logit, _logit_slope)


def logit(x: Any) -> Any:
    """log(p / (1 - p)), elementwise, the inverse of `expit`: infinite at 0 and 1, NaN outside. Relative error at most 5e-16 in float64."""
    (x,) = promote_operands("logit", x, inexact=True)
    if dtypes.is_complex(type_of(x).dtype):
        return e.sub(e.log(x), e.log1p(e.neg(x)))
    return logit_of(x)


def expit(x: Any) -> Any:
    """1 / (1 + exp(-x)), elementwise: the logistic function."""
    return e.logistic(*promote_operands("expit", x, inexact=True))


def _growth(log: Any, power: Any) -> Any:
    """(exp(power log) - 1) / power, which is `log` for power 0."""
    z = power * log
    tiny = e.abs(z) < 1e-3
    v = where(tiny, z, 0.0)
    near = log * (1.0 + v * (1 / 2 + v * (1 / 6 + v * (1 / 24 + v * (1 / 120 + v * (1 / 720))))))
    return where(tiny, near, e.expm1(where(tiny, 1.0, z)) / where(tiny, 1.0, power))


def _boxcox(x: Any, power: Any) -> Any:
    zero = x == 0.0
    y = _growth(e.log(where(zero, 1.0, x)), power)
    return where(zero, where(power > 0.0, -1.0 / where(power > 0.0, power, 1.0), -np.inf), y)


def _boxcox_slope(y: Any, x: Any, power: Any) -> Any:
    return e.pow(x, e.sub(power, _number(1, power)))


boxcox_of = composed("boxcox", _boxcox, _boxcox_slope, None)


def boxcox(x: Any, lmbda: Any) -> Any:
    """(x**lmbda - 1) / lmbda, and log x for lmbda = 0, elementwise: the transformation of Box and Cox; NaN for x < 0."""
    return boxcox_of(*reals("boxcox", x, lmbda))


def _boxcox1p(x: Any, power: Any) -> Any:
    zero = x == -1.0
    y = _growth(e.log1p(where(zero, 0.0, x)), power)
    return where(zero, where(power > 0.0, -1.0 / where(power > 0.0, power, 1.0), -np.inf), y)


def _boxcox1p_slope(y: Any, x: Any, power: Any) -> Any:
    one = _number(1, x)
    return e.pow(e.add(x, one), e.sub(power, one))


boxcox1p_of = composed("boxcox1p", _boxcox1p, _boxcox1p_slope, None)


def boxcox1p(x: Any, lmbda: Any) -> Any:
    """boxcox(1 + x, lmbda), elementwise, which loses nothing of a small `x`."""
    return boxcox1p_of(*reals("boxcox1p", x, lmbda))


__all__ = ["boxcox", "boxcox1p", "entr", "expit", "kl_div", "logit", "rel_entr", "xlog1py", "xlogy"]
