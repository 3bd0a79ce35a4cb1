"""Continuous distributions whose samples are functions of uniform or normal numbers, without rejection."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl.numpy.creation import as_shape
from fdl.numpy.promote import broadcast_shapes
from fdl.numpy.reductions import sum as sum_of
from fdl.tracer import dtypes
from fdl.tracer.errors import at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import complex as c
from fdl.tracer.ops import elementwise as e

from .keys import pair
from .logarithms import log_rest
from .uniforms import MANTISSA, TINY, float_dtype, parameters, positive_uniform, result_shape, spread, uniform


def _one(dtype: dtypes.DType) -> np.ndarray:
    return np.ones((), dtype)


def normal(key: Any, shape: Any = (), dtype: Any = np.float32) -> Any:
    """Standard normal numbers, by the inverse of the error function: sqrt(2) erf_inv(u) for u uniform in (-1, 1).

    Within 4 units in the last place of JAX's numbers, in every float dtype: erf_inv is computed by the same formulas, in which rounding
    u² costs digits where |u| is near 1 (a factor of 1 + 1e-5 in float32). `scipy.special.erfinv` has no such loss.

    Of a complex dtype, the parts are independent, with variance 1/2 each, so that the mean of |z|² is 1.

    Source: M. Giles, "Approximating the erfinv function" (GPU Computing Gems, Jade Edition, 2010).

    Example:
        >>> import fdl
        >>> normal(fdl.random.key(0), (3,)).dtype
        dtype('float32')
    """
    if dtype is not None and dtypes.is_complex(dtypes.of(dtype)):
        part = dtypes.real_of(dtypes.of(dtype))
        root = np.asarray(np.sqrt(2), part)
        re, im = (e.div(normal(k, shape, part), root) for k in pair(key))
        return c.complex(re, im)
    wanted = float_dtype(dtype, "normal")
    low = np.nextafter(np.asarray(-1, wanted), np.asarray(0, wanted))
    u = uniform(key, shape, wanted, low, _one(wanted))
    return e.mul(np.asarray(np.sqrt(2), wanted), e.erf_inv_giles(u))


def truncated_normal(key: Any, lower: Any, upper: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Normal numbers that lie in (lower, upper), by the inverse of the error function between the bounds' values.

    Args:
        lower, upper: the bounds, broadcast together.
        shape: the shape of the result, to which the bounds broadcast; theirs by default.

    The derivative in the bounds is that of the formula: the sample moves with the bounds at fixed u.
    """
    wanted = float_dtype(dtype, "truncated_normal")
    low, high = parameters("truncated_normal", wanted, lower=lower, upper=upper)
    shape = result_shape("truncated_normal", shape, low, high)
    root = np.asarray(np.sqrt(2), wanted)
    low, high = spread(low, shape), spread(high, shape)
    u = uniform(key, shape, wanted, e.erf(e.div(low, root)), e.erf(e.div(high, root)))
    infinity = np.asarray(np.inf, wanted)
    least, most = (
        e.nextafter(e.stop_gradient(b), e.splat(v, type_of(b).shape)) for b, v in ((low, infinity), (high, -infinity))
    )
    return e.min(e.max(e.mul(root, e.erf_inv_giles(u)), least), most)


def exponential(key: Any, shape: Any = (), dtype: Any = None) -> Any:
    """Exponential numbers of mean 1: -log(1 - u).

    Within a few ulp of JAX's numbers in every float dtype: see `fdl.random.logarithms` for what that costs in float64.
    """
    return e.neg(log_rest(uniform(key, shape, float_dtype(dtype, "exponential"))))


def laplace(key: Any, shape: Any = (), dtype: Any = None) -> Any:
    """Laplace numbers of mean 0 and scale 1: sign(u) log(1 - |u|) for u in (-1, 1)."""
    wanted = float_dtype(dtype, "laplace")
    low = np.asarray(-1 + 2.0 ** -(MANTISSA[wanted] + 1), wanted)
    u = uniform(key, shape, wanted, low, _one(wanted))
    return e.mul(e.sign(u), log_rest(e.abs(u)))


def gumbel(key: Any, shape: Any = (), dtype: Any = None, mode: str | None = None) -> Any:
    """Standard Gumbel numbers: -log(-log(u)).

    Args:
        mode: "low" (or None) draws u with the bits of one number, so that no sample is above 16 in float32; "high" draws more bits
            where u is below 1/2, for a tail that goes on, at twice the cost.

    Raises: ValueError for another mode.
    """
    wanted = float_dtype(dtype, "gumbel")
    if mode not in (None, "low", "high"):
        raise ValueError(f"random.gumbel: mode={mode!r} is not known. Expected 'low', 'high' or None.{at(user_source())}")
    if mode == "high":
        shape = as_shape("random.gumbel", shape)
        both = uniform(key, (2, *shape), wanted)
        high, low = both[0], both[1]
        fine = e.add(e.mul(np.asarray(2.0 ** -MANTISSA[wanted], wanted), low), np.asarray(TINY[wanted], wanted))
        x = e.select(e.ge(high, np.asarray(0.5, wanted)), high, e.add(high, fine))
        return e.neg(e.log(e.neg(log_rest(x))))
    u = positive_uniform(key, as_shape("random.gumbel", shape), wanted, TINY[wanted])
    return e.neg(e.log(e.neg(e.log(u))))


def cauchy(key: Any, shape: Any = (), dtype: Any = None) -> Any:
    """Standard Cauchy numbers: tan(pi (u - 1/2))."""
    wanted = float_dtype(dtype, "cauchy")
    u = positive_uniform(key, as_shape("random.cauchy", shape), wanted, 2.0 ** -MANTISSA[wanted])
    return e.tan(e.mul(np.asarray(np.pi, wanted), e.sub(u, np.asarray(0.5, wanted))))


def logistic(key: Any, shape: Any = (), dtype: Any = None) -> Any:
    """Standard logistic numbers: log(u / (1 - u))."""
    wanted = float_dtype(dtype, "logistic")
    u = positive_uniform(key, as_shape("random.logistic", shape), wanted, TINY[wanted])
    return e.sub(e.log(u), log_rest(u))


def rayleigh(key: Any, scale: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Rayleigh numbers: scale sqrt(-2 log u). `shape` defaults to that of `scale`."""
    wanted = float_dtype(dtype, "rayleigh")
    (scale,) = parameters("rayleigh", wanted, scale=scale)
    shape = result_shape("rayleigh", shape, scale)
    root = e.sqrt(e.mul(e.log(uniform(key, shape, wanted)), np.asarray(-2, wanted)))
    return e.mul(spread(scale, shape), root)


def weibull_min(key: Any, scale: Any, concentration: Any, shape: Any = (), dtype: Any = None) -> Any:
    """Weibull numbers: scale (-log(1 - u))^(1 / concentration). The parameters broadcast with `shape`."""
    wanted = float_dtype(dtype, "weibull_min")
    scale, concentration = parameters("weibull_min", wanted, scale=scale, concentration=concentration)
    shape = as_shape("random.weibull_min", shape)
    full = broadcast_shapes("random.weibull_min", shape, type_of(scale).shape, type_of(concentration).shape)
    waiting = e.neg(log_rest(uniform(key, shape, wanted)))
    power = e.pow(spread(waiting, full), e.div(_one(wanted), spread(concentration, full)))
    return e.mul(power, spread(scale, full))


def pareto(key: Any, b: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Pareto numbers, from 1 on with density b x^(-b - 1). `shape` defaults to that of `b`."""
    wanted = float_dtype(dtype, "pareto")
    (b,) = parameters("pareto", wanted, b=b)
    shape = result_shape("pareto", shape, b)
    return e.exp(e.div(exponential(key, shape, wanted), spread(b, shape)))


def lognormal(key: Any, sigma: Any = 1.0, shape: Any = None, dtype: Any = None) -> Any:
    """exp(sigma z) for normal z. `shape` defaults to that of `sigma`."""
    wanted = float_dtype(dtype, "lognormal")
    (sigma,) = parameters("lognormal", wanted, sigma=sigma)
    shape = result_shape("lognormal", shape, sigma)
    return e.exp(e.mul(normal(key, shape, wanted), spread(sigma, shape)))


def triangular(key: Any, left: Any, mode: Any, right: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Numbers in [left, right] whose density is a triangle with its top at `mode`. `shape` defaults to that of the parameters."""
    wanted = float_dtype(dtype, "triangular")
    params = parameters("triangular", wanted, left=left, mode=mode, right=right)
    shape = result_shape("triangular", shape, *params)
    left, mode, right = (e.splat(spread(p, shape), shape) for p in params)
    span, rise, fall = e.sub(right, left), e.sub(mode, left), e.sub(right, mode)
    u = uniform(key, shape, wanted)
    below = e.add(left, e.sqrt(e.mul(e.mul(u, span), rise)))
    above = e.sub(right, e.sqrt(e.mul(e.mul(e.sub(_one(wanted), u), span), fall)))
    return e.select(e.lt(u, e.div(rise, span)), below, above)


def wald(key: Any, mean: Any, shape: Any = None, dtype: Any = None) -> Any:
    """Wald numbers (inverse Gaussian of scale 1) of the given mean. `shape` defaults to that of `mean`.

    Source: J. Michael, W. Schucany, R. Haas, "Generating random variates using transformations with multiple roots" (The American
    Statistician 30, 1976); the smaller root is taken as mean² over the larger one, which does not cancel.
    """
    wanted = float_dtype(dtype, "wald")
    (mean,) = parameters("wald", wanted, mean=mean)
    shape = result_shape("wald", shape, mean)
    mean = e.splat(spread(mean, shape), shape)
    k1, k2 = pair(key)
    v, z = normal(k1, shape, wanted), uniform(k2, shape, wanted)
    half, four = np.asarray(0.5, wanted), np.asarray(4, wanted)
    y = e.mul(v, v)
    # The roots are mean t and mean / t, t = 1 + m / 2 ± sqrt(m + m² / 4) with m = mean y.
    m = e.mul(mean, y)
    root = e.sqrt(e.mul(m, e.add(four, m)))
    larger = e.add(_one(wanted), e.mul(half, e.add(m, root)))
    x = e.div(mean, larger)
    return e.select(e.le(z, e.div(mean, e.add(mean, x))), x, e.mul(mean, larger))


def maxwell(key: Any, shape: Any = (), dtype: Any = None) -> Any:
    """Maxwell numbers of scale 1: the length of three normal numbers."""
    wanted = float_dtype(dtype, "maxwell")
    x = normal(key, (*as_shape("random.maxwell", shape), 3), wanted)
    return e.sqrt(sum_of(e.mul(x, x), -1))


def double_sided_maxwell(key: Any, loc: Any, scale: Any, shape: Any = (), dtype: Any = None) -> Any:
    """loc ± scale m for Maxwell numbers m, each sign with probability 1/2.

    The result has the shape `shape` followed by that of the parameters, twice the latter where `shape` is empty, as in JAX.
    """
    wanted = float_dtype(dtype, "double_sided_maxwell")
    loc, scale = parameters("double_sided_maxwell", wanted, loc=loc, scale=scale)
    common = result_shape("double_sided_maxwell", None, loc, scale)
    shape = (*(as_shape("random.double_sided_maxwell", shape) or common), *common)
    k1, k2 = pair(key)
    width = dtypes.float64 if wanted == dtypes.float64 else dtypes.float32
    side = e.lt(uniform(k2, shape, width), np.asarray(0.5, width))
    m = maxwell(k1, shape, wanted)
    return e.add(e.mul(e.select(side, m, e.neg(m)), spread(scale, shape)), spread(loc, shape))


__all__ = [
    "cauchy", "double_sided_maxwell", "exponential", "gumbel", "laplace", "logistic", "lognormal", "maxwell", "normal", "pareto",
    "rayleigh", "triangular", "truncated_normal", "wald", "weibull_min",
]  # fmt: skip
