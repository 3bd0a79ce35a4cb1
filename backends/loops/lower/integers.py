"""Integers that are indices in disguise: what a narrow integer is exactly, as an int64 expression of loop variables.

    c: i32 = convert step;  a = c < 0;  b = c + 10;  n = convert[i64](select(a, b, c))   →   n = step      for step < 10

An index written in the user's program is an int32 that may be negative; in a loop over it nothing of that is left to compute, to clamp or
to check.  A form stands for the value of an operation only where ranges show that its own integers don't wrap.

May be imported by: `context`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from fdl.backends.loops.ir import INDEX, Const, Load, Op, Value, Var, subvalues
from fdl.backends.loops.values import Ranges, add, bounds, floordiv, linear, mod, mul, sub
from fdl.tracer import dtypes
from fdl.tracer.dtypes import DType

Forms = Mapping[Var, Value]
"""Variable → the int64 expression that it is equal to."""

_FORMS: dict[str, Callable[..., Value]] = {
    "add": add,
    "sub": sub,
    "mul": mul,
    "neg": lambda x: sub(0, x),
    "convert": lambda x: x,
    "copy": lambda x: x,
}
_DIVISIONS: dict[str, Callable[[Value, int, Ranges], Value]] = {"div": floordiv, "rem": mod}
SHORT = 24
"""The most values in a form that is remembered."""
_SAFE = 1 << 62
"""Differences of numbers below this don't wrap."""


def exact(value: Value, forms: Forms, ranges: Ranges) -> Value | None:
    """The int64 expression that an integer `value` is equal to; None where it is not known.

    Example:
        >>> from fdl.backends.loops.values import convert, op, var
        >>> i = var("i")
        >>> narrow = convert(i, dtypes.int8)
        >>> exact(op("mul", narrow, Const(2, dtypes.int8)), {}, {i: (0, 50)}) == mul(2, i)
        True
        >>> exact(op("mul", narrow, Const(2, dtypes.int8)), {}, {i: (0, 100)}) is None  # an int8 could wrap
        True
    """
    if not dtypes.is_int(value.dtype) or value.dtype == dtypes.uint64:
        return None
    match value:
        case Const():
            return Const(int(value.value), INDEX)
        case Var():
            return forms.get(value, value if value.dtype == INDEX else None)
        case Op():
            found = _of_operation(value, forms, ranges)
            if found is not None and _fits(found, value.dtype, ranges):
                return found
            return value if value.dtype == INDEX and not _loads(value) else None
        case _:
            return None


def is_short(form: Value) -> bool:
    """Whether a form is worth writing again wherever the variable is read: one in terms of forms could double at every step."""
    return len(subvalues(form)) <= SHORT


def _of_operation(value: Op, forms: Forms, ranges: Ranges) -> Value | None:
    parts = []
    for a in value.args:
        part = exact(a, forms, ranges)
        if part is None:
            return None
        parts.append(part)
    if value.name in ("min", "max"):
        return _extreme(value.name, parts[0], parts[1], ranges)
    make = _FORMS.get(value.name)
    if make is not None:
        return make(*parts)
    divide = _DIVISIONS.get(value.name)
    if divide is None:
        return None
    x, y = parts
    if not isinstance(y, Const) or y.value <= 0 or not _is_small(x, ranges):
        return None
    # Division truncates: only where nothing is negative is it the division of indices.
    return divide(x, int(y.value), ranges) if bounds(x, ranges)[0] >= 0 else None


def _is_small(form: Value, ranges: Ranges) -> bool:
    """Whether no sum of some of the form's terms wraps: the division of an index takes the terms apart."""
    found = linear(form)
    return abs(found.constant) + sum(abs(c) * max(map(abs, bounds(atom, ranges))) for atom, c in found.terms.items()) < _SAFE


def _extreme(name: str, x: Value, y: Value, ranges: Ranges) -> Value:
    """The smaller or the larger of two indices, which may always be the same one."""
    x_first = decided("le" if name == "min" else "ge", x, y, {}, ranges)
    if x_first:
        return x
    return y if decided("ge" if name == "min" else "le", x, y, {}, ranges) else Op(name, (x, y), INDEX)


def _fits(value: Value, dtype: DType, ranges: Ranges) -> bool:
    low, high = bounds(value, ranges)
    if dtype == INDEX:
        return -_SAFE < low and high < _SAFE
    limits = np.iinfo(dtype)
    return int(limits.min) <= low and high <= int(limits.max)


def _loads(value: Value) -> bool:
    return isinstance(value, Load) or (isinstance(value, Op) and any(map(_loads, value.args)))


def decided(name: str, x: Value, y: Value, forms: Forms, ranges: Ranges) -> bool | None:
    """What a comparison of integers always gives; None where it depends, or `name` is no comparison."""
    if name not in _COMPARISONS:
        return None
    a, b = exact(x, forms, ranges), exact(y, forms, ranges)
    if a is None or b is None or not (_fits(a, INDEX, ranges) and _fits(b, INDEX, ranges)):
        return None
    low, high = bounds(sub(a, b), ranges)
    always, never = _COMPARISONS[name]
    return True if always(low, high) else False if never(low, high) else None


_COMPARISONS: dict[str, tuple[Callable[[int, int], bool], Callable[[int, int], bool]]] = {
    "lt": (lambda low, high: high < 0, lambda low, high: low >= 0),
    "le": (lambda low, high: high <= 0, lambda low, high: low > 0),
    "gt": (lambda low, high: low > 0, lambda low, high: high <= 0),
    "ge": (lambda low, high: low >= 0, lambda low, high: high < 0),
    "eq": (lambda low, high: low == high == 0, lambda low, high: low > 0 or high < 0),
    "ne": (lambda low, high: low > 0 or high < 0, lambda low, high: low == high == 0),
}
"""Comparison → whether it always holds, and whether it never does, for a difference from `low` to `high`."""
