"""Products and contractions under the names of JAX's `lax`: `dot_general` and its simpler forms."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

import numpy as np

from fdl.control import scan
from fdl.numpy.promote import asarray, to_dtype
from fdl.tracer import dtypes
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import contract
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import reduce as r
from fdl.tracer.ops import shape as s

from .operands import ints, operand

Pair = tuple[Sequence[int], Sequence[int]]
DotDimensionNumbers = tuple[Pair, Pair]
"""((contracting axes of lhs, of rhs), (batch axes of lhs, of rhs))."""


class Precision(enum.Enum):
    """How precisely products are computed elsewhere.  fdl takes any, and computes in the operands' dtype (float16 in float32)."""

    DEFAULT = 0
    HIGH = 1
    HIGHEST = 2


PrecisionLike = str | Precision | tuple[Any, Any] | None


def check_precision(name: str, precision: Any) -> None:
    """Raises a ShapeError unless `precision` is one that JAX takes: a member, its name, a pair of them, or None."""
    given = precision if isinstance(precision, tuple) and len(precision) == 2 else (precision,)
    known = ("default", "fastest", "float32", "bfloat16", "bfloat16_3x", "tensorfloat32", "high", "highest")
    if any(not (p is None or isinstance(p, Precision) or (isinstance(p, str) and p.lower() in known)) for p in given):
        raise ShapeError(
            f"lax.{name}: precision={precision!r}: expected a lax.Precision, or a name such as 'highest'.{at(user_source())}"
        )


def in_dtype(name: str, preferred: Any, *xs: Any) -> tuple[list[Any], dtypes.DType]:
    """The operands in the dtype in which to compute, and the dtype of the result: `preferred`, or the operands' common one."""
    dtype = dtypes.promote(*[(type_of(x).dtype, type_of(x).weak) for x in xs])[0]
    out = dtype if preferred is None else dtypes.of(preferred)
    if dtypes.is_complex(dtype) and not dtypes.is_complex(out):
        raise DTypeError(
            f"lax.{name}: preferred_element_type={out.name} cannot hold products of {dtype.name}.{at(user_source())}"
        )
    wide = dtypes.promote((dtype, False), (out, False))[0]
    return [to_dtype(x, wide) for x in xs], out


def dot_general(
    lhs: Any,
    rhs: Any,
    dimension_numbers: DotDimensionNumbers,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
) -> Any:
    """The products of `lhs` and `rhs`, summed over contracting axes, matched along batch axes.

    Args:
        dimension_numbers: ((contracting axes of lhs, of rhs), (batch axes of lhs, of rhs)).
        precision: accepted, and of no use here.
        preferred_element_type: the dtype of the sums, if not the operands': int32 for int8 operands, say.

    Returns: axes (batch, remaining of lhs, remaining of rhs).

    Example:
        >>> import fdl.numpy as fnp
        >>> x, w = fnp.ones((8, 2, 3)), fnp.ones((8, 3, 4))
        >>> dot_general(x, w, (((2,), (1,)), ((0,), (0,)))).shape
        (8, 2, 4)
    """
    a, b = operand("dot_general", lhs, "lhs"), operand("dot_general", rhs, "rhs")
    check_precision("dot_general", precision)
    (contract_a, contract_b), (batch_a, batch_b) = dimension_numbers
    (a, b), out = in_dtype("dot_general", preferred_element_type, a, b)
    contracting = ints("dot_general", "contracting axes", contract_a), ints("dot_general", "contracting axes", contract_b)
    batch = ints("dot_general", "batch axes", batch_a), ints("dot_general", "batch axes", batch_b)
    return to_dtype(contract.dot_general(a, b, contracting, batch), out)


def dot(
    lhs: Any,
    rhs: Any,
    *,
    dimension_numbers: DotDimensionNumbers | None = None,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
) -> Any:
    """The product of two vectors, a matrix and a vector, or two matrices; with `dimension_numbers`, `dot_general`.

    Example:
        >>> import fdl.numpy as fnp
        >>> dot(fnp.ones((2, 3)), fnp.ones(3)).tolist()
        [3.0, 3.0]
    """
    a, b = operand("dot", lhs, "lhs"), operand("dot", rhs, "rhs")
    if dimension_numbers is None:
        m, n = type_of(a).shape, type_of(b).shape
        if not 1 <= len(m) <= 2 or not 1 <= len(n) <= 2 or m[-1] != n[0]:
            raise ShapeError(
                f"lax.dot: operands of shapes {m} and {n}: expected vectors or matrices, the last size of the one equal to the first of "
                f"the other. Give dimension_numbers for other products.{at(user_source())}"
            )
        dimension_numbers = (((len(m) - 1,), (0,)), ((), ()))
    return dot_general(a, b, dimension_numbers, precision, preferred_element_type)


def batch_matmul(lhs: Any, rhs: Any, precision: PrecisionLike = None) -> Any:
    """The matrix products of two stacks of matrices, of one shape before the last two axes."""
    a, b = operand("batch_matmul", lhs, "lhs"), operand("batch_matmul", rhs, "rhs")
    n, m = type_of(a).ndim, type_of(b).ndim
    if n != m or n < 2:
        raise ShapeError(
            f"lax.batch_matmul: operands of shapes {type_of(a).shape} and {type_of(b).shape}: expected equally many axes, at least two."
            f"{at(user_source())}"
        )
    lead = tuple(range(n - 2))
    return dot_general(a, b, (((n - 1,), (n - 2,)), (lead, lead)), precision)


def ragged_dot(
    lhs: Any,
    rhs: Any,
    group_sizes: Any,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
    group_offset: Any = None,
) -> Any:
    """The rows of `lhs` times a matrix for each group of rows: the first `group_sizes[0]` rows times `rhs[0]`, the next with `rhs[1]`, ...

    Args:
        lhs: (m, k).
        rhs: (g, k, n).
        group_sizes: g integers, with a sum of at most m; the rows behind the last group give zeros.
        group_offset: not supported, must be None.

    Returns: (m, n).

    Example:
        >>> import fdl.numpy as fnp
        >>> ragged_dot(fnp.ones((3, 2)), fnp.stack([fnp.ones((2, 1)), fnp.full((2, 1), 5.0)]), fnp.array([1, 2])).tolist()
        [[2.0], [10.0], [10.0]]
    """
    name = "ragged_dot"
    a, b, sizes = operand(name, lhs, "lhs"), operand(name, rhs, "rhs"), operand(name, group_sizes, "group_sizes")
    check_precision(name, precision)
    shape_a, shape_b, t = type_of(a).shape, type_of(b).shape, type_of(sizes)
    if group_offset is not None:
        raise ShapeError(f"lax.ragged_dot: group_offset is for shards of rhs, which fdl has not.{at(user_source())}")
    if (
        len(shape_a) != 2
        or len(shape_b) != 3
        or shape_a[1] != shape_b[1]
        or t.shape != shape_b[:1]
        or not dtypes.is_int(t.dtype)
    ):
        raise ShapeError(
            f"lax.ragged_dot: lhs {shape_a}, rhs {shape_b} and group_sizes {t}: expected (m, k), (g, k, n) and g integers."
            f"{at(user_source())}"
        )
    (a, b), out = in_dtype(name, preferred_element_type, a, b)
    m, n, dtype = shape_a[0], shape_b[2], type_of(a).dtype
    ends = r.cumsum(to_dtype(sizes, dtypes.int32), 0)
    starts = e.sub(ends, to_dtype(sizes, dtypes.int32))
    row = s.iota((m, 1), dtypes.int32, 0)
    zero = np.zeros((), dtype)

    def group(total: Any, one: tuple[Any, Any, Any]) -> tuple[Any, None]:
        start, end, matrix = one
        mine = e.logical_and(e.ge(row, start), e.lt(row, end))
        rows = e.select(s.broadcast(mine, shape_a, (0, 1)), a, zero)
        return e.add(total, contract.dot_general(rows, matrix, ((1,), (0,)))), None

    total, _ = scan(group, asarray(s.broadcast(zero, (m, n), ())), (starts, ends, b))
    return to_dtype(total, out)


__all__ = ["DotDimensionNumbers", "Precision", "PrecisionLike", "batch_matmul", "dot", "dot_general", "ragged_dot"]
