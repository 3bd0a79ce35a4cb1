"""Minimization of a smooth function of a few variables: the method of Broyden, Fletcher, Goldfarb and Shanno.

Sources: J. Nocedal and S. Wright, "Numerical optimization" (2nd edition, 2006), algorithm 6.1; the line search is the bisection of
A. Lewis and M. Overton, "Nonsmooth optimization via quasi-Newton methods" (2013), algorithm 2.6, which ends at a point of weak Wolfe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from fdl import numpy as fnp
from fdl.control import while_loop
from fdl.tracer import dtypes
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.transforms import value_and_grad

_ARMIJO, _CURVATURE, _STEPS = 1e-4, 0.9, 50


class OptimizeResults(NamedTuple):
    """What `minimize` found.

    Attributes:
        x: the point.
        success: whether the gradient there is small enough.
        status: 0 for success, 1 where the iterations ran out, 2 where no step went further down, 3 where values are not finite.
        fun, jac: the value and the gradient at x.
        hess_inv: the estimate of the inverse Hessian.
        nfev, njev: how many values and gradients were computed.
        nit: how many iterations there were.
    """

    x: Any
    success: Any
    status: Any
    fun: Any
    jac: Any
    hess_inv: Any
    nfev: Any
    njev: Any
    nit: Any


def minimize(
    fun: Callable[..., Any],
    x0: Any,
    args: tuple[Any, ...] = (),
    *,
    method: str,
    tol: float | None = None,
    options: Mapping[str, Any] | None = None,
) -> OptimizeResults:
    """A local minimum of `fun(x, *args)` near `x0`; it runs inside `jit` and `vmap`.

    Args:
        fun: a differentiable function of a vector that returns a scalar.
        x0: the vector to start from, (n,).
        method: "BFGS".
        tol: how small the gradient has to become; the same as options["gtol"], 1e-5 by default.
        options: gtol, maxiter (200 n by default), and norm (of the gradient, inf by default).

    Raises: ValueError for other methods and options; ShapeError where `x0` is no vector.

    Example:
        >>> found = minimize(lambda x: ((x - np.array([1.0, 2.0])) ** 2).sum(), np.zeros(2), method="BFGS")
        >>> bool(found.success), found.x.round(3).tolist()
        (True, [1.0, 2.0])
    """
    given = dict(options or {})
    if method.lower() != "bfgs":
        raise ValueError(f"minimize: method={method!r}: expected 'BFGS'.{at(user_source())}")
    gtol = given.pop("gtol", 1e-5 if tol is None else tol)
    most, order = given.pop("maxiter", None), given.pop("norm", np.inf)
    if given:
        raise ValueError(f"minimize: unknown options {', '.join(given)}: expected gtol, maxiter, norm.{at(user_source())}")
    x = fnp.asarray(x0)
    t = type_of(x)
    if t.ndim != 1:
        raise ShapeError(f"minimize: x0 has shape {t.shape}, expected a vector.{at(user_source())}")
    if not dtypes.is_float(t.dtype):
        x = fnp.astype(x, fnp.float32)
    both = value_and_grad(lambda x: fun(x, *args))
    f, g = both(x)
    if type_of(f).shape != () or not dtypes.is_float(type_of(f).dtype):
        raise DTypeError(f"minimize: fun returns {type_of(f)}, expected a floating-point scalar.{at(user_source())}")
    return _bfgs(both, x, f, g, gtol, t.shape[0] * 200 if most is None else most, order)


def _bfgs(
    both: Callable[[Any], tuple[Any, Any]], x: Any, f: Any, g: Any, gtol: float, most: int, order: Any
) -> OptimizeResults:
    n = type_of(x).shape[0]
    identity = fnp.eye(n, dtype=type_of(x).dtype)

    def size(g: Any) -> Any:
        return fnp.linalg.vector_norm(g, ord=order)

    def unfinished(state: tuple[Any, ...]) -> Any:
        _, _, g, _, k, _, failed = state
        return fnp.logical_and(fnp.logical_and(fnp.greater(size(g), gtol), fnp.less(k, most)), fnp.logical_not(failed))

    def step(state: tuple[Any, ...]) -> tuple[Any, ...]:
        x, f, g, h, k, evaluations, _ = state
        p = -fnp.matmul(h, g)
        # Rounding may leave h without a descent: then it begins anew.
        downhill = fnp.less(fnp.vdot(p, g), 0)
        p, h = fnp.where(downhill, p, -g), fnp.where(downhill, h, identity)
        length, new_f, new_g, count, ok = _search(both, x, f, g, p)
        s, y = length * p, new_g - g
        curvature = fnp.vdot(s, y)
        usable = fnp.greater(curvature, 0)
        rho = fnp.where(usable, 1 / fnp.where(usable, curvature, 1), 0)
        # The first estimate has the size of what was met (Nocedal and Wright, equation 6.20).
        h = fnp.where(fnp.logical_and(k == 0, usable), curvature / fnp.where(usable, fnp.vdot(y, y), 1) * identity, h)
        left = identity - rho * fnp.outer(s, y)
        updated = fnp.matmul(fnp.matmul(left, h), left.T) + rho * fnp.outer(s, s)
        h = fnp.where(usable, updated, h)
        return x + s, new_f, new_g, h, k + 1, evaluations + count, fnp.logical_not(ok)

    x, f, g, h, k, evaluations, failed = while_loop(unfinished, step, (x, f, g, identity, 0, 1, False))
    small = fnp.less_equal(size(g), gtol)
    finite = fnp.logical_and(fnp.isfinite(f), fnp.all(fnp.isfinite(g)))
    status = fnp.where(small, 0, fnp.where(fnp.logical_not(finite), 3, fnp.where(failed, 2, 1)))
    return OptimizeResults(x, small, status, f, g, h, evaluations, evaluations, k)


def _search(both: Callable[[Any], tuple[Any, Any]], x: Any, f: Any, g: Any, p: Any) -> tuple[Any, Any, Any, Any, Any]:
    """(length, value, gradient, evaluations, whether it goes down) of a step along `p`: a bisection of [low, high)."""
    slope = fnp.vdot(p, g)

    def unfinished(state: tuple[Any, ...]) -> Any:
        found, k = state[-1], state[-2]
        return fnp.logical_and(fnp.logical_not(found), fnp.less(k, _STEPS))

    def step(state: tuple[Any, ...]) -> tuple[Any, ...]:
        low, high, length, _, _, k, _ = state
        value, gradient = both(x + length * p)
        # Not "value > ...": NaN is too high as well.
        high_up = fnp.logical_not(fnp.less_equal(value, f + _ARMIJO * length * slope))
        steep = fnp.less(fnp.vdot(p, gradient), _CURVATURE * slope)
        found = fnp.logical_not(fnp.logical_or(high_up, steep))
        new_high = fnp.where(high_up, length, high)
        new_low = fnp.where(fnp.logical_and(steep, fnp.logical_not(high_up)), length, low)
        further = fnp.where(fnp.isfinite(new_high), (new_low + new_high) / 2, 2 * new_low)
        return new_low, new_high, fnp.where(found, length, further), value, gradient, k + 1, found

    zero = fnp.zeros_like(f)
    start = (zero, zero + np.inf, zero + 1, f, g, 0, False)
    _, _, length, value, gradient, k, found = while_loop(unfinished, step, start)
    # A search that gave up leaves everything where it was.
    length, value = fnp.where(found, length, 0), fnp.where(found, value, f)
    return length, value, fnp.where(found, gradient, g), k, found


__all__ = ["OptimizeResults", "minimize"]
