"""Functional updates: `x.at[index].set(v)` and its kin, `put`, `put_along_axis`, `place`, `fill_diagonal`.

An index of integers and slices takes elements that are all different: they are read, combined and written back. Known index arrays
without repetitions are treated alike, so that derivatives are those of plain arithmetic; only where an element may be
updated several times does a combining scatter do it. A mask with values that do not depend on how many elements it picks is a `where`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.errors import ConcretizationError, DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import index as ix
from fdl.tracer.ops import shape as s
from fdl.tracer.ops.reduce import cumsum
from fdl.tracer.records import dataclass
from fdl.tracer.trace import bind, record
from fdl.tracer.transforms.scan import scan_p

from . import ufuncs as u
from .index_plan import LEAD, Plan, Range, check_mask, columns, is_mask, items_of, make_plan, stacked
from .indexing import along_axis, check_mode, getitem
from .promote import as_operand, asarray, broadcast_to, check_range, to_dtype
from .static import known

_SCATTER = {"raise": "raise", "clip": "clip", "fill": "drop", "drop": "drop", "wrap": "clip", "promise_in_bounds": "clip"}


class At:
    """`x.at`: index it for functional updates."""

    __slots__ = ("_array",)

    def __init__(self, array: Any) -> None:
        self._array = array

    def __getitem__(self, index: Any) -> AtIndex:
        return AtIndex(self._array, index)


@dataclass(frozen=True, slots=True)
class AtIndex:
    """`x.at[index]`: `set`, `add`, `subtract`, `multiply`, `divide`, `power`, `min`, `max`, `apply` return a changed copy, `get` reads.

    Values broadcast to the shape of `x[index]` and take the dtype of `x`; a Python integer that an integer dtype does not hold is an
    OverflowError. Where an index repeats, `set` keeps the last value, and the
    others apply each in turn, as `numpy.ufunc.at`. `mode` is "raise" (the default), "clip", "drop" (or "fill": nothing is written out of
    bounds), "wrap" or "promise_in_bounds". `indices_are_sorted` is a promise that changes nothing; `unique_indices` that no element is
    updated twice: should one be, which of its values stays is not said.

    Example:
        >>> asarray([1.0, 2.0, 3.0]).at[np.array([0, 0])].add(10.0).tolist()
        [21.0, 2.0, 3.0]
    """

    array: Any
    index: Any

    def get(
        self, mode: str | None = None, fill_value: Any = None, *, indices_are_sorted: bool = False, unique_indices: bool = False
    ) -> Any:
        """The elements: see `getitem`."""
        return getitem(self.array, self.index, mode, fill_value)

    def set(
        self, values: Any, mode: str | None = None, *, indices_are_sorted: bool = False, unique_indices: bool = False
    ) -> Any:
        """The array with these elements replaced."""
        return _update(self.array, self.index, values, "set", mode, unique_indices)

    def add(
        self, values: Any, mode: str | None = None, *, indices_are_sorted: bool = False, unique_indices: bool = False
    ) -> Any:
        """The array with `values` added to these elements (on bool: or)."""
        return _update(self.array, self.index, values, "add", mode, unique_indices)

    def subtract(
        self, values: Any, mode: str | None = None, *, indices_are_sorted: bool = False, unique_indices: bool = False
    ) -> Any:
        """The array with `values` subtracted from these elements."""
        check_range(".at[...].subtract: the values", values, type_of(as_operand(self.array)).dtype)
        return _update(self.array, self.index, u.negative(values), "add", mode, unique_indices)

    def multiply(
        self, values: Any, mode: str | None = None, *, indices_are_sorted: bool = False, unique_indices: bool = False
    ) -> Any:
        """The array with these elements multiplied (on bool: and)."""
        return _update(self.array, self.index, values, "mul", mode, unique_indices)

    mul = multiply

    def divide(
        self, values: Any, mode: str | None = None, *, indices_are_sorted: bool = False, unique_indices: bool = False
    ) -> Any:
        """The array with these elements divided; the quotient of integers is rounded towards zero."""
        return self._by_factor("divide", e.div, values, mode, unique_indices)

    def power(
        self, values: Any, mode: str | None = None, *, indices_are_sorted: bool = False, unique_indices: bool = False
    ) -> Any:
        """The array with these elements raised to a power."""
        return self._by_factor("power", e.pow, values, mode, unique_indices)

    def min(
        self, values: Any, mode: str | None = None, *, indices_are_sorted: bool = False, unique_indices: bool = False
    ) -> Any:
        """The array with these elements limited from above: the smaller of each and its value."""
        return _update(self.array, self.index, values, "min", mode, unique_indices)

    def max(
        self, values: Any, mode: str | None = None, *, indices_are_sorted: bool = False, unique_indices: bool = False
    ) -> Any:
        """The array with these elements limited from below: the larger of each and its value."""
        return _update(self.array, self.index, values, "max", mode, unique_indices)

    def apply(
        self,
        f: Callable[[Any], Any],
        mode: str | None = None,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
    ) -> Any:
        """The array with the elementwise function `f` applied to these elements; n times where an index stands n times."""
        mode = check_mode(mode)
        x = as_operand(self.array)
        mask = _mask_alone(self.index, type_of(x).shape)
        if mask is not None:
            return e.select(_spread(mask, type_of(x).shape), _fitting(f(x), x), x)
        plan = make_plan(self.index, type_of(x).shape, mode)
        if unique_indices or _is_unique(plan):
            return _write(x, plan, lambda old: _fitting(f(old), x), mode)
        return _apply_each(x, plan, f, mode)

    def _by_factor(self, name: str, op: Callable[..., Any], values: Any, mode: str | None, unique: bool) -> Any:
        """`op(x, p)` at these elements, with `p` the product of all the values for one: (a / b) / c = a / (b c), (a^b)^c = a^(b c)."""
        mode = check_mode(mode)
        x = as_operand(self.array)
        t = type_of(x)
        check_range(f".at[...].{name}: the values", values, t.dtype)
        if _mask_alone(self.index, t.shape) is None:
            plan = make_plan(self.index, t.shape, mode)
            if unique or _is_unique(plan):
                values = _values(values, x, plan.shape, "the values")
                return _write(x, plan, lambda old: op(old, values), mode)
        ones = e.splat(e.scalar_like(1, x), t.shape)
        return op(x, _update(ones, self.index, values, "mul", mode, unique))


_COMBINE: dict[str, Callable[..., Any]] = {"add": e.add, "mul": e.mul, "min": e.min, "max": e.max}
_ON_BOOL = {"add": "max", "mul": "min"}
_NAMES = {"mul": "multiply"}


def _update(x: Any, index: Any, values: Any, op: str, mode: str | None, unique: bool = False) -> Any:
    """`x` with `values` combined by `op` ("set" or one of `_COMBINE`) into its elements at `index`."""
    mode = check_mode(mode)
    x = as_operand(x)
    t = type_of(x)
    if t.dtype == dtypes.bool_:
        op = _ON_BOOL.get(op, op)
    check_range(f".at[...].{_NAMES.get(op, op)}: the values", values, t.dtype)
    mask = _mask_alone(index, t.shape)
    if mask is not None:
        values = as_operand(values, "the values")
        whole = _if_same_for_all(values, mask, t.shape)
        if whole is not None:
            new = broadcast_to(_converted(whole, x), t.shape)
            return e.select(_spread(mask, t.shape), new if op == "set" else _COMBINE[op](x, new), x)
        if known(mask[0]) is None:
            raise ConcretizationError(
                f".at[mask].{op}: the mask is traced, so that the number of its elements is not known, and values of shape "
                f"{type_of(values).shape} cannot be matched with them. Use fdl.numpy.where(mask, values, x) with values of the shape "
                f"{t.shape}, or indices from fdl.numpy.nonzero(mask, size=n).{at(user_source())}"
            )
    plan = make_plan(index, t.shape, mode)
    values = _values(values, x, plan.shape, f".at[...].{op}: the values")
    if op == "set" or _is_block(plan) or (op == "mul" and (unique or _is_unique(plan))):
        return _write(x, plan, lambda old: values if op == "set" else _COMBINE[op](old, values), mode, reads=op != "set")
    return _scatter(x, plan, values, op, mode)


def _converted(values: Any, x: Any) -> Any:
    """`values` in the dtype of `x`; a weak result only where both are."""
    t, v = type_of(x), type_of(values)
    if dtypes.is_complex(v.dtype) and not dtypes.is_complex(t.dtype):
        raise DTypeError(
            f".at[...]: complex values of dtype {v.dtype.name} do not go into an array of dtype {t.dtype.name}. "
            f"Convert the array with .astype, or take the real part of the values.{at(user_source())}"
        )
    return to_dtype(values, t.dtype, v.weak and t.weak)


def _fitting(values: Any, x: Any) -> Any:
    check_range(".at[...].apply: the result of the function", values, type_of(x).dtype)
    return _converted(as_operand(values, "the result of the function applied"), x)


def _values(values: Any, x: Any, shape: tuple[int, ...], what: str) -> Any:
    """`values` in the dtype of `x`, broadcast to `shape`; as in an assignment, leading axes of size 1 too many are dropped."""
    values = _converted(as_operand(values, what), x)
    given = type_of(values).shape
    extra = max(len(given) - len(shape), 0)
    trimmed = given[extra:]
    if given[:extra] != (1,) * extra or any(m not in (1, n) for m, n in zip(trimmed[::-1], shape[::-1], strict=False)):
        raise ShapeError(f"{what} of shape {given} do not broadcast to the indexed shape {shape}.{at(user_source())}")
    return broadcast_to(s.reshape(values, trimmed) if extra else values, shape)


# --- masks ----------------------------------------------------------------------------------------


def _mask_alone(index: Any, shape: tuple[int, ...]) -> tuple[Any, int] | None:
    """The mask, and its first axis, of an index that is one mask and else only `:` and `...`; None for any other index."""
    items = items_of(index)
    masks = [k for k, i in enumerate(items) if is_mask(i)]
    if len(masks) != 1 or any(_not_whole(i) for i in items):
        return None
    place = masks[0]
    mask = as_operand(items[place])
    rank, used = type_of(mask).ndim, len(items) - 1 - sum(i is Ellipsis for i in items)
    if rank + used > len(shape):
        return None
    axis = place - 1 + len(shape) - rank - used if any(i is Ellipsis for i in items[:place]) else place
    check_mask(type_of(mask).shape, shape, axis)
    return (mask, axis) if type_of(mask).shape == shape[axis : axis + rank] else None  # a mask of size 0 picks nothing


def _spread(mask: tuple[Any, int], shape: tuple[int, ...]) -> Any:
    """A mask, repeated over the axes that it does not have."""
    return s.broadcast(mask[0], shape, tuple(range(mask[1], mask[1] + type_of(mask[0]).ndim)))


def _not_whole(i: Any) -> bool:
    return not (i is Ellipsis or is_mask(i) or (isinstance(i, slice) and (i.start, i.stop, i.step) == (None, None, None)))


def _if_same_for_all(values: Any, mask: tuple[Any, int], shape: tuple[int, ...]) -> Any:
    """`values` shaped to broadcast against the whole array, where they are the same for all elements of the mask; else None."""
    given = type_of(values).shape
    rank, before = type_of(mask[0]).ndim, mask[1]
    target = len(shape) - rank + 1  # the axes of x[index]: those before the mask, its one, those after
    if len(given) > target:
        return values if given == () else None
    full = (*(1,) * (target - len(given)), *given)
    around, sizes = (*full[:before], *full[before + 1 :]), (*shape[:before], *shape[before + rank :])
    if full[before] != 1 or any(m not in (1, n) for m, n in zip(around, sizes, strict=True)):
        return None
    return s.reshape(values, (*full[:before], *(1,) * rank, *full[before + 1 :]))


# --- writing --------------------------------------------------------------------------------------


def _is_unique(plan: Plan) -> bool:
    """Whether an index takes each element at most once, as far as is known."""
    if plan.basic or math.prod(plan.lead) <= 1:
        return True
    arrays = [plan.picks[a] for a in plan.arrays]
    if not arrays:
        return True
    if not all(isinstance(i, np.ndarray) for i in arrays):
        return False
    rows = stacked(arrays, plan.lead).reshape(-1, len(arrays))
    return len(np.unique(rows, axis=0)) == len(rows)


def _is_block(plan: Plan) -> bool:
    """Whether an index takes one solid block."""
    return all(isinstance(p, Range) and abs(p.step) == 1 for p in plan.picks) and plan.lead == ()


def _write(x: Any, plan: Plan, change: Callable[[Any], Any], mode: str, reads: bool = True) -> Any:
    """`x` with `change(x[index])` written at `index`, whose elements are all different."""
    shape = plan.given
    if _is_block(plan):
        # One block: a slice, which is written back where it was.
        old = s.reshape(s.transpose(_block(x, plan), _slot_order(plan)), plan.shape) if reads else None
        new = change(old)
        low = [p.low if p.count else 0 for p in plan.picks]
        size = tuple(p.count for p in plan.picks)
        order = _slot_order(plan)
        new = s.reshape(new, tuple(size[a] for a in order))
        new = s.transpose(new, s.inverse(order))
        flips = tuple(a for a, p in enumerate(plan.picks) if p.step < 0 and p.count > 1)
        new = s.flip(new, flips) if flips else new
        if size == shape:
            return asarray(new)
        return ix.dynamic_update_slice(x, new, [np.asarray(a, np.int32 if a < 2**31 else np.int64) for a in low])
    if not shape:
        return s.reshape(_write(*_with_an_axis(x, plan), change, mode, reads), ())
    where, whole, safe = _scatter_indices(plan, mode)
    indexed = tuple(a for a in range(len(shape)) if a not in whole)
    how = "clip" if safe and 0 not in (shape[a] for a in indexed) else _SCATTER[mode]
    old = None
    if reads:
        read = ix.gather(x, where, axes=indexed, mode={"drop": "fill"}.get(how, how), fill=0)
        old = s.reshape(s.transpose(read, s.inverse(_update_order(plan, whole))), plan.shape)
    updates = _as_updates(plan, change(old), whole)
    return ix.scatter(x, where, updates, axes=indexed, mode=how, op="set")


def _with_an_axis(x: Any, plan: Plan) -> tuple[Any, Plan]:
    """A 0-d array that 0-d masks index, and the plan, with one axis of which the plan takes the one element: what scatters."""
    return s.reshape(x, (1,)), replace(plan, given=(1,), picks=(Range(0, 1, 1, drops=True),))


def _block(x: Any, plan: Plan) -> Any:
    """The block that an index takes, its reversed axes reversed."""
    low = [p.low if p.count else 0 for p in plan.picks]
    x = s.slice(x, low, [a + p.count for a, p in zip(low, plan.picks, strict=True)])
    flips = tuple(a for a, p in enumerate(plan.picks) if p.step < 0 and p.count > 1)
    return s.flip(x, flips) if flips else x


def _slot_order(plan: Plan) -> tuple[int, ...]:
    """All axes, those of the result first, in its order."""
    kept = [a for a in plan.order if a != LEAD]
    return (*kept, *(a for a in range(len(plan.given)) if a not in kept))


def _scatter(x: Any, plan: Plan, values: Any, op: str, mode: str) -> Any:
    if not plan.given:
        return s.reshape(_scatter(*_with_an_axis(x, plan), values, op, mode), ())
    where, whole, safe = _scatter_indices(plan, mode)
    shape = plan.given
    indexed = tuple(a for a in range(len(shape)) if a not in whole)
    how = "clip" if safe and 0 not in (shape[a] for a in indexed) else _SCATTER[mode]
    return ix.scatter(x, where, _as_updates(plan, values, whole), axes=indexed, mode=how, op=op)


def _front(plan: Plan, whole: Sequence[int]) -> list[int]:
    """The slots of the result that are indexed one by one: ranges that are no whole axis, and the arrays' axes."""
    return [a for a in plan.order if a not in whole]


def _update_order(plan: Plan, whole: Sequence[int]) -> tuple[int, ...]:
    """The permutation from the result (without new axes) to (what is indexed one by one, whole axes)."""
    at_axis: dict[int, range] = {}
    k = 0
    for a in plan.order:
        width = len(plan.size(a))
        at_axis[a] = range(k, k + width)
        k += width
    return tuple(i for a in (*_front(plan, whole), *whole) for i in at_axis[a])


def _as_updates(plan: Plan, values: Any, whole: Sequence[int]) -> Any:
    return s.transpose(s.reshape(values, plan.sizes(plan.order)), _update_order(plan, whole))


def _scatter_indices(plan: Plan, mode: str) -> tuple[Any, tuple[int, ...], bool]:
    """The indices (*batch, k) of all axes but the whole ones, those axes, and whether all is known to be in bounds."""
    shape = plan.given
    whole = tuple(a for a, p in enumerate(plan.picks) if isinstance(p, Range) and p.whole(shape[a]))
    if len(whole) == len(shape) and shape:  # only 0-d masks: one axis has to be indexed
        whole = whole[1:]
    front = _front(plan, whole)
    batch = plan.sizes(tuple(front))
    parts, safe = columns(plan, mode)
    arrays = dict(zip(plan.arrays, parts, strict=True))
    at_axis: dict[int, tuple[int, ...]] = {}
    k = 0
    for a in front:
        width = len(plan.size(a))
        at_axis[a] = tuple(range(k, k + width))
        k += width
    out: list[Any] = []
    for a in range(len(shape)):
        if a in whole:
            continue
        pick = plan.picks[a]
        if isinstance(pick, Range):
            values = pick.positions().astype(np.int32 if shape[a] < 2**31 else np.int64)
            out.append(values.reshape([pick.count if k in at_axis.get(a, ()) else 1 for k in range(len(batch))]))
            continue
        sizes = tuple(n if k in at_axis[LEAD] else 1 for k, n in enumerate(batch))
        given = arrays[a]
        if isinstance(given, np.ndarray):
            out.append(np.broadcast_to(given, plan.lead).reshape(sizes))
        else:
            out.append(s.reshape(broadcast_to(given, plan.lead), sizes))
    return stacked(out, batch), whole, safe


def _apply_each(x: Any, plan: Plan, f: Callable[[Any], Any], mode: str) -> Any:
    """`f` applied at one position of the index arrays after another: a loop over them, since they may repeat."""
    if not plan.given:
        return s.reshape(_apply_each(*_with_an_axis(x, plan), f, mode), ())
    where, whole, safe = _scatter_indices(plan, mode)
    shape = plan.given
    indexed = tuple(a for a in range(len(shape)) if a not in whole)
    how = "clip" if safe and 0 not in (shape[a] for a in indexed) else _SCATTER[mode]
    rows = s.reshape(where, (math.prod(type_of(where).shape[:-1]), len(indexed)))
    t, row = type_of(x), type_of(rows)

    def step(carry: Any, at_row: Any) -> list[Any]:
        old = ix.gather(carry, at_row, axes=indexed, mode={"drop": "fill"}.get(how, how), fill=0)
        return [ix.scatter(carry, at_row, _fitting(f(old), x), axes=indexed, mode=how, op="set")]

    body, captured = record(step, [t, row.with_shape(row.shape[1:])], "the function of .at[...].apply", "apply")
    n = row.shape[0]
    return bind(scan_p, *captured, x, rows, body=body, n_consts=len(captured), n_carry=1, length=n, reverse=False)[0]


# --- functions ------------------------------------------------------------------------------------


def _copy_only(name: str, inplace: bool) -> None:
    if inplace:
        raise DTypeError(
            f"{name}: arrays are immutable, so that it cannot work in place. Pass inplace=False and use the result.{at(user_source())}"
        )


def put(a: Any, ind: Any, v: Any, mode: str | None = None, *, inplace: bool = False) -> Any:
    """`a` with `v` (repeated as often as needed) at `ind` of the flattened array. `mode`: as in `a.at[...].set`.

    Example:
        >>> put(np.zeros((2, 2)), np.array([0, 3]), np.array([1.0, 2.0])).tolist()
        [[1.0, 0.0], [0.0, 2.0]]
    """
    _copy_only("put", inplace)
    a, ind = as_operand(a), as_operand(ind)
    check_range("put: the values", v, type_of(a).dtype)
    v = as_operand(v)
    t, n, m = type_of(a), type_of(ind).size, type_of(v).size
    if n == 0:
        return asarray(a)
    if m == 0:
        raise ShapeError(f"put: no values for {n} indices.{at(user_source())}")
    flat = getitem(s.reshape(v, (m,)), np.arange(n, dtype=np.int32) % m)
    ind = s.reshape(ind, (n,))
    if mode == "clip":  # as NumPy's, this mode does not count from the end
        ind = u.maximum(ind, 0)
    return s.reshape(_update(s.reshape(a, (t.size,)), ind, flat, "set", mode), t.shape)


def put_along_axis(
    arr: Any, indices: Any, values: Any, axis: int | None, mode: str | None = None, *, inplace: bool = False
) -> Any:
    """`arr` with `values` at `indices` along `axis`, matched one to one along the other axes: the counterpart of `take_along_axis`.

    Example:
        >>> put_along_axis(np.zeros((2, 2)), np.array([[1], [0]]), 7.0, 1).tolist()
        [[0.0, 7.0], [7.0, 0.0]]
    """
    _copy_only("put_along_axis", inplace)
    shape = type_of(as_operand(arr)).shape
    arr, index = along_axis("put_along_axis", arr, indices, axis)
    if axis is not None and type_of(arr).shape != shape:
        raise ShapeError(f"put_along_axis: indices broadcast x from {shape} to {type_of(arr).shape}.{at(user_source())}")
    return s.reshape(_update(arr, index, values, "set", mode), shape)


def place(arr: Any, mask: Any, vals: Any, *, inplace: bool = False) -> Any:
    """`arr` with the elements where `mask` is true replaced, in order, by the first of `vals`, repeated as often as needed.

    Example:
        >>> place(np.arange(4.0), np.array([True, False, True, True]), np.array([8.0, 9.0])).tolist()
        [8.0, 1.0, 9.0, 8.0]
    """
    _copy_only("place", inplace)
    arr, mask = as_operand(arr), to_dtype(as_operand(mask), dtypes.bool_)
    check_range("place: the values", vals, type_of(arr).dtype)
    vals = as_operand(vals)
    t, m = type_of(arr), type_of(vals).size
    if type_of(mask).size != t.size:
        raise ShapeError(f"place: x has {t.size} elements, the mask {type_of(mask).size}.{at(user_source())}")
    if t.size == 0:
        return asarray(arr)
    if m == 0:
        raise ShapeError(f"place: there are no values.{at(user_source())}")
    flat = s.reshape(mask, (t.size,))
    rank = e.sub(cumsum(to_dtype(flat, dtypes.int32), 0), np.asarray(1, np.int32))
    rank = e.rem(e.max(rank, np.asarray(0, np.int32)), np.asarray(m, np.int32))
    new = ix.gather(_converted(s.reshape(vals, (m,)), arr), s.reshape(rank, (t.size, 1)), axes=(0,), mode="clip")
    return s.reshape(e.select(flat, new, s.reshape(arr, (t.size,))), t.shape)


def fill_diagonal(a: Any, val: Any, wrap: bool = False, *, inplace: bool = False) -> Any:
    """`a` with `val` (repeated as often as needed) on the diagonal of its axes, which all have one size if there are more than two.

    `wrap` goes on below the square part of a tall matrix, after one empty row.

    Example:
        >>> fill_diagonal(np.zeros((2, 2)), 5.0).tolist()
        [[5.0, 0.0], [0.0, 5.0]]
    """
    _copy_only("fill_diagonal", inplace)
    a = as_operand(a)
    shape = type_of(a).shape
    if len(shape) < 2 or (len(shape) > 2 and len(set(shape)) > 1):
        raise ShapeError(f"fill_diagonal: expected a matrix, or axes of one size, got shape {shape}.{at(user_source())}")
    if len(shape) == 2:
        end = shape[0] * shape[1] if wrap else min(shape) * shape[1]
        places = np.arange(0, end, shape[1] + 1)
    else:
        places = np.arange(shape[0]) * sum(shape[0] ** k for k in range(len(shape)))
    return put(a, places, val)


__all__ = ["fill_diagonal", "place", "put", "put_along_axis"]
