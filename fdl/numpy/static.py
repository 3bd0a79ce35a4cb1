"""Values that a function must know while it is traced, and small tools that the modules of NumPy's rest share.

May be imported by: the modules of `fdl.numpy` above `promote`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.array import Array
from fdl.tracer.errors import ConcretizationError, DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import shape as s
from fdl.tracer.trace import Tracer, bind, record
from fdl.tracer.transforms.scan import scan_p

from .promote import as_operand, broadcast_operands, canonical_axis, check_range, promote_operands


def known(x: Any) -> np.ndarray | None:
    """The value of an array as an ndarray, where it is known while tracing; else None."""
    if isinstance(x, Tracer):
        x = x.concrete()
    return None if x is None or isinstance(x, Tracer) else x.data if isinstance(x, Array) else np.asarray(x)


def need(name: str, x: Any, what: str, way: str) -> np.ndarray:
    """The value of `x`; raises a ConcretizationError that says that `what` depends on it, and the `way` out."""
    x = as_operand(x, f"{name}: the argument")
    value = known(x)
    if value is None:
        raise ConcretizationError(
            f"{name}: {what} depends on the values of an array of type {type_of(x).strong()}, which are not known while tracing. "
            f"{way}{at(user_source())}"
        )
    return value


def need_int(name: str, what: str, x: Any) -> int:
    """`x` as an int that is known while tracing; raises a ConcretizationError or DTypeError."""
    value = need(name, x, what, "Make it a static argument.")
    if value.ndim or value.dtype.kind not in "iu":
        raise DTypeError(f"{name}: {what} must be an int, got {x!r}.{at(user_source())}")
    return int(value)


def flat(x: Any) -> Any:
    """`x` as one axis, row-major."""
    return s.reshape(x, (type_of(x).size,))


def pick(condition: Any, x: Any, y: Any) -> Any:
    """`x` where the boolean array `condition` holds, else `y`: promoted and broadcast together."""
    a, b = promote_operands("where", x, y, broadcast=False)
    return e.select(*broadcast_operands("where", condition, a, b))


def scalar(x: Any, value: Any) -> np.ndarray:
    """`value` as a 0-d array of the dtype of `x`; raises an OverflowError for a Python integer that it does not hold."""
    check_range("fill_value", value, type_of(x).dtype)
    return np.asarray(value).astype(type_of(x).dtype)


def index_dtype(n: int) -> dtypes.DType:
    """The dtype of positions up to `n`: int32, int64 where it takes that."""
    return dtypes.int32 if n < 2**31 else dtypes.int64


def no_nan(x: Any) -> bool:
    """Whether elements of the dtype of `x` are never NaN."""
    return not dtypes.is_inexact(type_of(x).dtype)


def is_nan(x: Any) -> Any:
    """Whether each element is NaN."""
    return e.ne(x, x)


def at_axis(x: Any, axis: int, start: int, limit: int) -> Any:
    """`x[start:limit]` along `axis`."""
    return s.slice_axis(x, axis, start, limit)


def one_axis(name: str, what: str, x: Any) -> Any:
    """`x` as an operand with one axis; raises a ShapeError for another rank."""
    x = as_operand(x, f"{name}: {what}")
    if type_of(x).ndim != 1:
        raise ShapeError(f"{name}: {what} must have one axis, got shape {type_of(x).shape}.{at(user_source())}")
    return x


def axis_of(name: str, x: Any, axis: Any) -> tuple[Any, int]:
    """`x` (flattened for axis None), and its axis counted from the front."""
    x = as_operand(x, f"{name}: the array")
    if axis is None:
        return flat(x), 0
    return x, canonical_axis(name, axis, type_of(x).ndim)


def repeated(n: int, step: Callable[..., Sequence[Any]], carry: Sequence[Any]) -> list[Any]:
    """`carry` after `n` times `carry = step(*carry)`: one loop when compiled."""
    body, captured = record(step, [type_of(c) for c in carry], "a loop", "loop")
    found: list[Any] = bind(
        scan_p, *captured, *carry, body=body, n_consts=len(captured), n_carry=len(carry), length=n, reverse=False
    )
    return found
