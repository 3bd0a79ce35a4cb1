"""Reading elements: `x[index]` as NumPy has it, `take`, `take_along_axis`, and NumPy's index makers `ix_`, `r_`, `c_`, `s_`.

An index is taken apart by `index_plan`; what its ranges take is a slice, what its arrays take is a gather. An index out of bounds
raises, with the index, the axis, its length and the user's line, inside compiled code as outside, unless `mode` says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.array import Array, private
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import Type, type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import index as ix
from fdl.tracer.ops import shape as s
from fdl.tracer.trace import is_evaluating

from .index_plan import LEAD, Plan, Range, columns, make_plan, stacked
from .promote import as_operand, broadcast_to, canonical_axis, check_range, no_out, to_dtype

MODES = {
    "raise": "raise", "clip": "clip", "fill": "fill", "drop": "fill", "wrap": "clip", "promise_in_bounds": "clip", None: "raise",
}  # fmt: skip
"""What the user calls a mode → what a gather calls it, once the indices are counted from the front."""


def check_mode(mode: str | None) -> str:
    """`mode`, "raise" for None; raises a ValueError for one that is not known."""
    if mode not in MODES:
        raise ShapeError(f"mode {mode!r}: expected one of {', '.join(m for m in MODES if m)}.{at(user_source())}")
    return mode or "raise"


def default_fill(t: Type) -> Any:
    """What stands for an element out of bounds: NaN, the least signed or the largest unsigned integer, True."""
    if dtypes.is_inexact(t.dtype):
        return float("nan")
    if t.dtype == dtypes.bool_:
        return True
    info = np.iinfo(t.dtype)
    return int(info.min if dtypes.is_signed(t.dtype) else info.max)


def getitem(
    x: Any,
    index: Any,
    mode: str | None = None,
    fill_value: Any = None,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
) -> Any:
    """`x[index]` by NumPy's rules: integers, slices, `...`, None, integer arrays, boolean masks, and tuples of them.

    Args:
        mode: for an index out of bounds: "raise" (the default), "clip" to the nearest element, "fill" (or "drop") with `fill_value`,
            "wrap" around, or "promise_in_bounds", which does not look: the element is then any one of the array's.
        fill_value: a number; by default NaN, the least signed, or the largest unsigned integer.
        indices_are_sorted, unique_indices: promises that change nothing of the result.

    Raises: IndexOutOfBoundsError, IndexingError, DTypeError, and ConcretizationError for a traced mask.
    """
    mode = check_mode(mode)
    x = as_operand(x)
    t = type_of(x)
    if type(x) is Array and mode == "raise" and is_evaluating():
        found = _numpy_item(x, index)
        if found is not None:
            return found
    plan = make_plan(index, t.shape, mode)
    y = taken(x, plan)
    if plan.basic:
        return s.reshape(y, plan.shape)
    parts, safe = columns(plan, mode)
    if parts:
        fill = default_fill(t) if fill_value is None else fill_value
        how = "clip" if safe and 0 not in (t.shape[a] for a in plan.arrays) else MODES[mode]
        fill = as_number(fill, t.dtype) if how == "fill" else 0
        y = ix.gather(y, stacked(parts, plan.lead), axes=plan.arrays, mode=how, fill=fill)
    elif plan.lead != ():  # 0-d masks alone
        y = broadcast_to(y, (*plan.lead, *type_of(y).shape))
    # Now lead, then what the ranges left of the other axes, dropped ones included.
    y = s.reshape(y, (*plan.lead, *plan.sizes(plan.kept)))
    return s.reshape(s.transpose(y, _to_slots(plan)), plan.shape)


def _numpy_item(x: Array, index: Any) -> Array | None:
    """`x[index]` by NumPy itself for ints, 0-d arrays of them, slices, None and `...`; None for the rest, and for what is wrong there."""
    items = []
    for i in index if type(index) is tuple else (index,):
        if type(i) is Array and i.ndim == 0 and i.dtype.kind in "iu":
            i = i.data.item()
        elif not (type(i) is int or i is None or i is Ellipsis or type(i) is slice):
            return None
        items.append(i)
    try:
        return Array(private(np.asarray(x.data[tuple(items)])), x.weak_type)
    except (IndexError, ValueError, TypeError):
        return None


def as_number(fill: Any, dtype: dtypes.DType) -> Any:
    """A fill value as a Python number, as the primitives take it."""
    check_range("fill_value", fill, dtype)
    try:
        return np.asarray(fill).astype(dtype).item()
    except (TypeError, ValueError):
        raise DTypeError(
            f"fill_value: expected a number that is known while tracing, got {fill!r}.{at(user_source())}"
        ) from None


def taken(x: Any, plan: Plan) -> Any:
    """What the ranges of a plan take of `x`; axes that integers drop stay, with size 1."""
    shape = plan.given
    ranges = [p if isinstance(p, Range) else Range(0, 1, n) for p, n in zip(plan.picks, shape, strict=True)]
    if not all(r.whole(n) or (r.start, r.count, n) == (0, 1, 1) for r, n in zip(ranges, shape, strict=True)):
        low = [r.low if r.count else 0 for r in ranges]
        limit = [a + (r.count - 1) * abs(r.step) + 1 if r.count else 0 for a, r in zip(low, ranges, strict=True)]
        x = s.slice(x, low, limit, [abs(r.step) for r in ranges])
    flips = tuple(a for a, r in enumerate(ranges) if r.step < 0 and r.count > 1)
    return s.flip(x, flips) if flips else x


def _to_slots(plan: Plan) -> tuple[int, ...]:
    """The permutation from (lead, kept axes) to the order of the result."""
    n = len(plan.lead)
    first = {a: n + k for k, a in enumerate(plan.kept)}
    return tuple(i for a in plan.order for i in (range(n) if a == LEAD else (first[a],)))


def take(
    a: Any,
    indices: Any,
    axis: int | None = None,
    out: None = None,
    mode: str | None = None,
    unique_indices: bool = False,
    indices_are_sorted: bool = False,
    fill_value: Any = None,
) -> Any:
    """The elements of `a` at `indices` (of any shape) along `axis`, or of the flattened array: `a[:, indices]` for axis 1.

    `mode` and `fill_value` are those of `a.at[...].get`, except that "clip", as NumPy's, takes a negative index to the first element.

    Example:
        >>> take(np.array([10.0, 20.0, 30.0]), np.array([2, 0])).tolist()
        [30.0, 10.0]
    """
    no_out("take", out)
    a, indices = as_operand(a, "take: x"), as_operand(indices, "take: indices")
    if not dtypes.is_int(type_of(indices).dtype) and type_of(indices).size:
        raise DTypeError(f"take: indices have dtype {type_of(indices).dtype.name}, expected integers.{at(user_source())}")
    if type_of(indices).size == 0:
        indices = np.zeros(type_of(indices).shape, np.int32)
    if axis is None:
        a, axis = s.reshape(a, (type_of(a).size,)), 0
    if mode == "clip":
        indices = e.max(indices, e.scalar_like(0, indices)) if dtypes.is_signed(type_of(indices).dtype) else indices
    axis = canonical_axis("take", axis, type_of(a).ndim)
    return getitem(a, (*(slice(None),) * axis, indices), mode, fill_value)


def take_along_axis(arr: Any, indices: Any, axis: int | None = -1, mode: str | None = None, fill_value: Any = None) -> Any:
    """The elements of `arr` at `indices` along `axis`, matched one to one along the other axes, which broadcast.

    Example:
        >>> x = np.array([[3.0, 1.0], [2.0, 5.0]])
        >>> take_along_axis(x, np.array([[1], [0]]), 1).tolist()
        [[1.0], [2.0]]
    """
    arr, index = along_axis("take_along_axis", arr, indices, axis)
    return getitem(arr, index, mode, fill_value)


def along_axis(name: str, x: Any, indices: Any, axis: int | None) -> tuple[Any, tuple[Any, ...]]:
    """`x` (flattened for axis None), and the index that matches `indices` one to one along the other axes."""
    x, indices = as_operand(x, f"{name}: x"), as_operand(indices, f"{name}: indices")
    if not dtypes.is_int(type_of(indices).dtype):
        raise DTypeError(f"{name}: indices have dtype {type_of(indices).dtype.name}, expected integers.{at(user_source())}")
    if axis is None:
        if type_of(indices).ndim != 1:
            raise ShapeError(f"{name}: without an axis, indices have 1 axis, got {type_of(indices).shape}.{at(user_source())}")
        x, axis = s.reshape(x, (type_of(x).size,)), 0
    shape, given = type_of(x).shape, type_of(indices).shape
    axis = canonical_axis(name, axis, len(shape))
    if len(given) != len(shape):
        raise ShapeError(f"{name}: indices have {len(given)} axes, expected {len(shape)}, as x has.{at(user_source())}")
    for a, (n, m) in enumerate(zip(shape, given, strict=True)):
        if a != axis and n != m and 1 not in (n, m):
            raise ShapeError(
                f"{name}: x {shape} and indices {given} differ along axis {a}: sizes must be equal or 1.{at(user_source())}"
            )
    wide = tuple(m if a == axis else max(n, m) if n and m else 0 for a, (n, m) in enumerate(zip(shape, given, strict=True)))
    x = broadcast_to(x, tuple(shape[a] if a == axis else n for a, n in enumerate(wide)))
    ranges = [np.arange(n, dtype=np.int32).reshape(-1, *(1,) * (len(wide) - a - 1)) for a, n in enumerate(wide)]
    return x, tuple(indices if a == axis else r for a, r in enumerate(ranges))


# --- index makers ---------------------------------------------------------------------------------


def ix_(*sequences: Any) -> tuple[Any, ...]:
    """An open mesh of 1-D index sequences: `x[ix_(i, j)]` has element (m, n) equal to `x[i[m], j[n]]`. Known masks count as indices."""
    out = []
    for k, given in enumerate(sequences):
        i = as_operand(given, f"ix_: sequence {k}")
        t = type_of(i)
        if t.ndim != 1:
            raise ShapeError(f"ix_: sequence {k} has shape {t.shape}, expected one axis.{at(user_source())}")
        if t.dtype == dtypes.bool_:
            i = make_plan(i, t.shape, "raise").picks[0]
        elif t.size == 0:
            i = np.zeros(0, np.int32)
        i = to_dtype(i, dtypes.DEFAULT_INT) if not dtypes.is_int(type_of(i).dtype) else i
        out.append(s.reshape(i, (*(1,) * k, type_of(i).shape[0], *(1,) * (len(sequences) - k - 1))))
    return tuple(out)


class IndexExpression:
    """`s_[...]` and `index_exp[...]`: an index, written as one, as a value."""

    def __init__(self, as_tuple: bool) -> None:
        self._as_tuple = as_tuple

    def __getitem__(self, index: Any) -> Any:
        return index if isinstance(index, tuple) or not self._as_tuple else (index,)


s_, index_exp = IndexExpression(False), IndexExpression(True)


def broadcast_index(index: Sequence[Any]) -> Any:
    """Index arrays, one for each axis, as one array (*batch, k)."""
    return stacked(list(index), np.broadcast_shapes(*(type_of(i).shape for i in index)))


__all__ = ["getitem", "index_exp", "ix_", "s_", "take", "take_along_axis"]
