"""What the special functions share: their operands, choices without promotion, series, and loops for each element by itself.

Formulas compute in float64 (see `fdl.tracer.transforms.composed`); Python floats in them are constants of that dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdl.control import while_loop
from fdl.numpy.promote import promote_operands
from fdl.numpy.ufuncs import real_only
from fdl.tracer.array import ArrayBase
from fdl.tracer.errors import DTypeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import shape as s
from fdl.transforms import vmap


def reals(name: str, *operands: Any) -> list[Any]:
    """The operands as real floats of one dtype and one shape (or 0-d). Raises: DTypeError for complex ones, ShapeError."""
    return [real_only(name, x) for x in promote_operands(name, *operands, inexact=True)]


def whole_number(name: str, n: Any, least: int = 0) -> int:
    """`n` as a Python int. Raises: DTypeError, which begins with `name`, unless it is an integer from `least` on."""
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < least:
        raise DTypeError(f"{name} must be an integer from {least} on, got {n!r}.{at(user_source())}")
    return int(n)


def constant(x: Any) -> Any:
    """`x`, or the float64 constant for a Python number."""
    return x if isinstance(x, ArrayBase) or isinstance(x, np.ndarray) else np.float64(x)


def where(pred: Any, x: Any, y: Any) -> Any:
    """`x` where `pred`, else `y`; each is an array of the predicate's shape or a number."""
    return e.select(pred, constant(x), constant(y))


def horner(coefficients: Sequence[float], x: Any) -> Any:
    """The polynomial with these coefficients, the constant one first."""
    total: Any = np.float64(coefficients[-1])
    for c in coefficients[-2::-1]:
        total = e.add(e.mul(total, x), np.float64(c))
    return total


def chebyshev(coefficients: Sequence[float], t: Any) -> Any:
    """The Chebyshev series with these coefficients at `t` in [-1, 1].

    Source: C. Clenshaw, "A note on the summation of Chebyshev series" (1955).
    """
    twice = e.add(t, t)
    before: Any = np.float64(0)
    now: Any = np.float64(coefficients[-1])
    for c in coefficients[-2:0:-1]:
        before, now = now, e.add(e.sub(e.mul(twice, now), before), np.float64(c))
    return e.add(e.sub(e.mul(t, now), before), np.float64(coefficients[0]))


def outward(x: Any, low: float, centre: float) -> Any:
    """[low, inf] mapped onto [-1, 1]."""
    return 1.0 - (2.0 * centre) / (x - low + centre)


def moebius(x: Any, low: float, high: float) -> Any:
    """[low, high] mapped onto [-1, 1], with their geometric mean at 0."""
    c = float(np.sqrt(low * high))
    return (x - c) / (x + c) * ((high + c) / (high - c))


def elementwise_loop(
    test: Callable[..., Any], step: Callable[..., Sequence[Any]], consts: Sequence[Any], init: Sequence[Any]
) -> list[Any]:
    """The carries after `carry = step(*consts, *carry)` while `test(*consts, *carry)`, for each element by itself.

    All operands have one shape; `test` and `step` see scalars.
    """
    shape, n = type_of(init[0]).shape, len(consts)

    def run(*xs: Any) -> list[Any]:
        given = xs[:n]
        found = while_loop(lambda c: test(*given, *c), lambda c: tuple(step(*given, *c)), tuple(xs[n:]))
        return list(found)

    if 0 in shape:
        return list(init)
    if shape == ():
        return run(*consts, *init)
    size = int(np.prod(shape))
    flat = [s.reshape(e.splat(x, shape), (size,)) for x in (*consts, *init)]
    return [s.reshape(x, shape) for x in vmap(run)(*flat)]
