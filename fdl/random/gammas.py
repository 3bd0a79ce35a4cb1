"""The gamma distribution and what is made of it: beta, dirichlet, chi-square, F, Student's t, generalised normal.

Samples are differentiated by implicit reparameterisation: at a fixed probability the sample x of the gamma distribution moves with its
shape a as dx/da = -(dP/da) / (dP/dx), where P is the distribution function.

Source: M. Figurnov, S. Mohamed, A. Mnih, "Implicit reparameterization gradients" (NeurIPS 2018).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl.numpy.reductions import max as max_of
from fdl.numpy.reductions import sum as sum_of
from fdl.scipy.special.incomplete import sample_slope_of
from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import shape as s
from fdl.transforms.custom_jvp import custom_jvp

from .continuous import exponential, normal
from .discrete import rademacher
from .keys import check_key, element_words, pair
from .rejection import draw_two, normal_from_unit, until_accepted
from .uniforms import float_dtype, parameters, result_shape, spread


def _propose(u: Any, v: Any, d: Any) -> tuple[Any, Any]:
    """A candidate for log(x / d), where x has the gamma distribution of shape d + 1/3 >= 1.

    Source: G. Marsaglia and W. Tsang, "A simple method for generating gamma variables" (ACM TOMS 26, 2000).
    """
    dtype = type_of(u).dtype
    one, half, three, nine = (np.asarray(c, dtype) for c in (1, 0.5, 3, 9))
    z = normal_from_unit(u)
    t = e.add(one, e.mul(z, e.rsqrt(e.mul(nine, d))))
    positive = e.gt(t, np.zeros((), dtype))
    t = e.select(positive, t, one)
    log = e.mul(three, e.log(t))
    cube = e.mul(e.mul(t, t), t)
    # log v < z² / 2 + d - d t³ + 3 d log t, with 1 - v, which is never 0, for v.
    bound = e.add(e.mul(half, e.mul(z, z)), e.mul(d, e.add(e.sub(one, cube), log)))
    accepted = e.logical_and(positive, e.lt(e.log(e.sub(one, v)), bound))
    return log, accepted


@custom_jvp
def _log_sample(k0: Any, k1: Any, a: Any) -> Any:
    """log of a sample of the gamma distribution for each element's key and shape, float32 or float64."""
    dtype = a.dtype
    one, zero = np.ones((), dtype), np.zeros((), dtype)
    valid = e.logical_and(e.gt(a, zero), e.lt(a, np.asarray(np.inf, dtype)))
    shape = e.select(valid, a, e.splat(one, a.shape))
    # For a < 1, x(a) = x(a + 1) u^(1 / a).
    small = e.lt(shape, one)
    d = e.sub(e.select(small, e.add(shape, one), shape), np.asarray(1 / 3, dtype))
    log = e.add(until_accepted(_propose, (k0, k1), [d], dtype), e.log(d))
    u, _ = draw_two(k0, k1, np.asarray(0xFFFFFFFF, np.uint32), dtype)
    boost = e.div(e.log(e.sub(one, u)), shape)
    log = e.add(log, e.select(small, boost, e.splat(zero, a.shape)))
    edge = e.select(e.gt(a, zero), a, e.splat(np.asarray(np.nan, dtype), a.shape))
    edge = e.select(e.eq(a, zero), e.splat(np.asarray(-np.inf, dtype), a.shape), edge)
    return e.select(valid, log, edge)


@_log_sample.defjvp
def _log_sample_jvp(primals: tuple[Any, Any, Any], tangents: tuple[Any, Any, Any]) -> tuple[Any, Any]:
    k0, k1, a = primals
    log = _log_sample(k0, k1, a)
    return log, e.mul(tangents[2], sample_slope_of(a, log))


def loggamma(key: Any, a: Any, shape: Any = None, dtype: Any = None) -> Any:
    """log x for x of the gamma distribution of shape `a` and scale 1, which does not underflow for small `a`.

    Args:
        a: positive; 0 gives -inf, negative numbers NaN.
        shape: the shape of the result, to which `a` broadcasts; that of `a` by default.

    Its derivative in `a` is implicit: see the module.
    """
    return _log_gamma("loggamma", key, a, shape, dtype)


def _log_gamma(who: str, key: Any, a: Any, shape: Any, dtype: Any) -> Any:
    wanted = float_dtype(dtype, who)
    (a,) = parameters(who, wanted, a=a)
    shape = result_shape(who, shape, a)
    working = dtypes.float64 if wanted == dtypes.float64 else dtypes.float32
    k0, k1 = element_words(check_key(key, who), shape)
    return e.convert(_log_sample(k0, k1, e.splat(e.convert(spread(a, shape), working), shape)), wanted)


def gamma(key: Any, a: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Numbers of the gamma distribution of shape `a` and scale 1: see `loggamma`.

    Example:
        >>> import fdl
        >>> x = fdl.random.gamma(fdl.random.key(0), 3.0, (1000,))
        >>> 2.8 < float(x.mean()) < 3.2
        True
    """
    return e.exp(_log_gamma("gamma", key, a, shape, dtype))


def beta(key: Any, a: Any, b: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Numbers of the beta distribution, x / (x + y) for gamma numbers of shapes `a` and `b`. `shape` defaults to that of the parameters."""
    wanted = float_dtype(dtype, "beta")
    a, b = parameters("beta", wanted, a=a, b=b)
    shape = result_shape("beta", shape, a, b)
    k1, k2 = pair(check_key(key, "beta"))
    x, y = _log_gamma("beta", k1, a, shape, wanted), _log_gamma("beta", k2, b, shape, wanted)
    return e.logistic(e.sub(x, y))


def dirichlet(key: Any, alpha: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Vectors of the Dirichlet distribution, which are positive and add up to 1: `(*shape, n)` for `alpha` `(..., n)`.

    Args:
        shape: the leading axes, to which those of `alpha` broadcast; they by default.

    Raises: ShapeError for a scalar `alpha`.
    """
    wanted = float_dtype(dtype, "dirichlet")
    (alpha,) = parameters("dirichlet", wanted, alpha=alpha)
    if type_of(alpha).ndim == 0:
        raise ShapeError(f"random.dirichlet: alpha is a scalar, expected (..., n).{at(user_source())}")
    shape = (*result_shape("dirichlet", shape, alpha, lost=1), type_of(alpha).shape[-1])
    log = _log_gamma("dirichlet", key, alpha, shape, wanted)
    top = e.stop_gradient(max_of(log, -1, keepdims=True, initial=-np.inf))
    last = len(shape) - 1
    full = tuple(range(last))

    def row(x: Any) -> Any:
        return s.broadcast(s.reshape(x, shape[:-1]), shape, full)

    x = e.exp(e.sub(log, row(e.select(e.is_finite(top), top, e.splat(np.zeros((), wanted), top.shape)))))
    return e.div(x, row(sum_of(x, -1)))


def chisquare(key: Any, df: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Numbers of the chi-square distribution with `df` degrees of freedom: twice gamma numbers of shape df / 2."""
    wanted = float_dtype(dtype, "chisquare")
    (df,) = parameters("chisquare", wanted, df=df)
    half = e.mul(np.asarray(0.5, wanted), df)
    return e.mul(np.asarray(2, wanted), e.exp(_log_gamma("chisquare", key, half, shape, wanted)))


def f(key: Any, dfnum: Any, dfden: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Numbers of the F distribution: the quotient of two chi-square numbers, each over its degrees of freedom."""
    wanted = float_dtype(dtype, "f")
    num, den = parameters("f", wanted, dfnum=dfnum, dfden=dfden)
    shape = result_shape("f", shape, num, den)
    k1, k2 = pair(check_key(key, "f"))
    top, bottom = chisquare(k2, num, shape, wanted), chisquare(k1, den, shape, wanted)
    return e.div(e.div(top, spread(num, shape)), e.div(bottom, spread(den, shape)))


def t(key: Any, df: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Numbers of Student's t distribution with `df` degrees of freedom: a normal number over the root of a chi-square one over `df`."""
    wanted = float_dtype(dtype, "t")
    (df,) = parameters("t", wanted, df=df)
    shape = result_shape("t", shape, df)
    k1, k2 = pair(check_key(key, "t"))
    half = spread(e.mul(np.asarray(0.5, wanted), df), shape)
    return e.mul(normal(k1, shape, wanted), e.sqrt(e.div(half, gamma(k2, half, shape, wanted))))


def generalized_normal(key: Any, p: float, shape: Any = (), dtype: Any = None) -> Any:
    """Numbers whose density is proportional to exp(-|x|^p), for a scalar p > 0."""
    wanted = float_dtype(dtype, "generalized_normal")
    (p,) = parameters("generalized_normal", wanted, p=p)
    power = e.div(np.ones((), wanted), p)
    k1, k2 = pair(check_key(key, "generalized_normal"))
    log = _log_gamma("generalized_normal", k1, power, shape, wanted)
    size = e.exp(e.mul(log, power))
    return e.mul(rademacher(k2, shape, wanted), size)


def ball(key: Any, d: int, p: float = 2, shape: Any = (), dtype: Any = None) -> Any:
    """Points of the unit ball of the Lp norm in `d` dimensions, uniform by volume: `(*shape, d)`.

    Source: F. Barthe, O. Guédon, S. Mendelson, A. Naor, "A probabilistic approach to the geometry of the Lp-ball" (Ann. Probab. 33, 2005).
    """
    wanted = float_dtype(dtype, "ball")
    (power,) = parameters("ball", wanted, p=p)
    k1, k2 = pair(check_key(key, "ball"))
    shape = result_shape("ball", shape)
    g = generalized_normal(k1, p, (*shape, int(d)), wanted)
    total = e.add(sum_of(e.pow(e.abs(g), power), -1), exponential(k2, shape, wanted))
    length = e.pow(total, e.div(np.ones((), wanted), power))
    return e.div(g, s.broadcast(length, (*shape, int(d)), tuple(range(len(shape)))))


__all__ = ["ball", "beta", "chisquare", "dirichlet", "f", "gamma", "generalized_normal", "loggamma", "t"]
