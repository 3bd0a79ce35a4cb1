"""An index expression taken apart: what each item does to the axes, before any array is touched.

NumPy's rules (its user guide, "Indexing on ndarrays"): integers, slices, `...` and None are basic; integer arrays, boolean
arrays and 0-d booleans are advanced, are broadcast together, and turn the integers beside them into advanced ones for the one
question of where their axes go: to the place of the first where all stand side by side, else to the front.

Integers and slices whose bounds are known become ranges; arrays that are known are put in bounds here, so that a compiled
program checks only what it alone can know.  May be imported by: `indexing`, `updates`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.array import ArrayBase
from fdl.tracer.errors import ConcretizationError, DTypeError, IndexingError, IndexOutOfBoundsError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import shape as s
from fdl.tracer.ops.index import out_of_bounds
from fdl.tracer.records import dataclass
from fdl.tracer.trace import Tracer, described

from .promote import as_operand, broadcast_to, promote_operands, to_dtype
from .static import known

_NEW, _LEAD = -1, -2


@dataclass(frozen=True, slots=True)
class Range:
    """What a slice, or an integer, takes of one axis: `count` elements, `start + step * i`; an integer `drops` the axis."""

    start: int
    step: int
    count: int
    drops: bool = False

    @property
    def low(self) -> int:
        """The least position."""
        return self.start if self.step > 0 else self.start + (self.count - 1) * self.step

    def whole(self, n: int) -> bool:
        """Whether this is an axis of size `n` as it is."""
        return (self.start, self.step, self.count, self.drops) == (0, 1, n, False)

    def positions(self) -> np.ndarray:
        """The positions, in order."""
        return self.start + self.step * np.arange(self.count)


@dataclass(frozen=True, slots=True)
class Plan:
    """An index for an array of a known shape.

    Attributes:
        picks: for each axis its Range, or the integer array (a known ndarray, or a tracer) that indexes it.
        slots: the axes of the result in order: an axis, -1 for a new one, -2 for all those of the broadcast index arrays.
        lead: the shape of the broadcast index arrays; () without any.
    """

    given: tuple[int, ...]
    picks: tuple[Any, ...]
    slots: tuple[int, ...]
    lead: tuple[int, ...]

    @property
    def arrays(self) -> tuple[int, ...]:
        """The axes that arrays index."""
        return tuple(a for a, p in enumerate(self.picks) if not isinstance(p, Range))

    @property
    def kept(self) -> tuple[int, ...]:
        """The axes that ranges keep, in order."""
        return tuple(a for a, p in enumerate(self.picks) if isinstance(p, Range) and not p.drops)

    @property
    def basic(self) -> bool:
        """Whether no array is involved: the result is a rearranged slice."""
        return _LEAD not in self.slots

    @property
    def order(self) -> tuple[int, ...]:
        """`slots` without the new axes."""
        return tuple(a for a in self.slots if a != _NEW)

    def sizes(self, slots: tuple[int, ...]) -> tuple[int, ...]:
        """The sizes of axes given as slots."""
        return tuple(n for a in slots for n in self.size(a))

    def size(self, slot: int) -> tuple[int, ...]:
        """The sizes that a slot stands for."""
        return (1,) if slot == _NEW else self.lead if slot == _LEAD else (self.picks[slot].count,)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the result."""
        return self.sizes(self.slots)


LEAD = _LEAD
"""The slot that stands for the axes of the broadcast index arrays."""


def is_mask(i: Any) -> bool:
    """Whether an item is a boolean index, of any number of axes."""
    if isinstance(i, (bool, np.bool_)):
        return True
    if isinstance(i, (np.ndarray, ArrayBase)):
        return i.dtype == dtypes.bool_
    return False


def is_scalar(i: Any) -> bool:
    """Whether an item is an integer whose value is known."""
    if isinstance(i, (bool, np.bool_)):
        return False
    return isinstance(i, (int, np.integer)) or (isinstance(i, (np.ndarray, ArrayBase)) and i.ndim == 0 and known(i) is not None)


def items_of(index: Any) -> list[Any]:
    """The items of an index: those of a tuple, else itself; nested sequences become arrays, of integers where they are empty."""
    return [_sequence(i) if isinstance(i, (list, tuple)) else i for i in (index if isinstance(index, tuple) else (index,))]


def _sequence(i: Any) -> Any:
    return np.zeros(np.shape(i), np.int32) if _is_empty(i) else as_operand(i, "an index")


def make_plan(index: Any, shape: tuple[int, ...], mode: str) -> Plan:
    """The plan of `index` for an array of `shape`.

    Raises: IndexingError for an expression that does not fit the array; IndexOutOfBoundsError, in mode "raise", for a known index
        outside its axis; DTypeError for an index of another kind; ConcretizationError for a mask that is traced.
    """
    items = _expand(index, shape)
    picks: list[Any] = []
    slots: list[int] = []
    shapes: list[tuple[int, ...]] = []
    advanced: list[int] = []  # the places of integers and arrays
    where = -1  # the slot before which the arrays' axes go
    for place, i in enumerate(items):
        axis = len(picks)
        if i is None:
            slots.append(_NEW)
        elif i is Ellipsis:
            pass  # _expand has written its slices; it still stands between its neighbours
        elif isinstance(i, slice):
            picks.append(_range(i, shape[axis], axis))
            slots.append(axis)
        elif isinstance(i, bool):  # a 0-d mask: an axis of size 1 or 0, among the arrays
            shapes.append((int(i),))
            advanced.append(place)
            where = len(slots) if where < 0 else where
        elif is_scalar(i):
            picks.append(pick := _scalar(i, shape[axis], axis, mode))
            shapes += [] if isinstance(pick, Range) else [()]
            advanced.append(place)
            where = len(slots) if where < 0 else where
        else:
            x = _index_array(i)
            picks.append(x)
            shapes.append(type_of(x).shape)
            advanced.append(place)
            where = len(slots) if where < 0 else where
    if shapes:
        together = advanced == list(range(advanced[0], advanced[-1] + 1))
        slots.insert(where if together else 0, _LEAD)
    lead = _broadcast(shapes)
    checked = mode in ("raise", "promise_in_bounds") and 0 not in lead  # as NumPy: what picks nothing is not looked at
    picks = [_known_array(p, shape[a], a, mode, checked) if isinstance(p, np.ndarray) else p for a, p in enumerate(picks)]
    return Plan(shape, tuple(picks), tuple(slots), lead)


def _expand(index: Any, shape: tuple[int, ...]) -> list[Any]:
    """The items, with masks as integer arrays, and slices for what an ellipsis, or nothing, stands for."""
    items = items_of(index)
    used = sum(_axes_used(i) for i in items)
    if used > len(shape):
        raise IndexOutOfBoundsError(
            f"too many indices: {used} for an array of shape {shape}, which has {len(shape)} axes.{at(user_source())}"
        )
    ellipses = sum(i is Ellipsis for i in items)
    if ellipses > 1:
        raise IndexingError(f"an index can have only one ellipsis, got {ellipses}.{at(user_source())}")
    out: list[Any] = []
    axis = 0
    for i in items if ellipses else [*items, Ellipsis]:
        if i is Ellipsis:
            out += [Ellipsis, *[slice(None)] * (len(shape) - used)]
            axis += len(shape) - used
        elif is_mask(i):
            out += _mask(i, shape, axis)
            axis += _axes_used(i)
        else:
            out.append(i)
            axis += i is not None
    return out


def _axes_used(i: Any) -> int:
    if i is None or i is Ellipsis:
        return 0
    return type_of(as_operand(i)).ndim if is_mask(i) else 1


def _mask(i: Any, shape: tuple[int, ...], axis: int) -> list[Any]:
    t = type_of(as_operand(i))
    mask = np.zeros(t.shape, bool) if 0 in t.shape else known(as_operand(i))
    if mask is None:
        raise ConcretizationError(
            f"a traced boolean mask of type {type_of(i)} picks a number of elements that is not known while tracing. Use "
            "fdl.numpy.where(mask, x, y), or indices of a fixed number: x[fdl.numpy.nonzero(mask, size=n, fill_value=0)]; "
            f"x.at[mask].set(v) works for a `v` that does not depend on the number of elements.{at(user_source())}"
        )
    check_mask(mask.shape, shape, axis)
    return list(np.nonzero(mask)) if mask.ndim else [bool(mask)]


def check_mask(mask: tuple[int, ...], shape: tuple[int, ...], axis: int) -> None:
    """Raises an IndexingError unless a mask of shape `mask` fits the axes of `shape` from `axis` on.

    A size of the mask is that of the axis, or 0: it then picks nothing (array API standard, "Boolean array indexing").
    """
    for k, n in enumerate(mask):
        if n not in (shape[axis + k], 0):
            raise IndexingError(
                f"a boolean index of shape {mask} does not fit an array of shape {shape}: axis {axis + k} has size "
                f"{shape[axis + k]}, the mask {n}.{at(user_source())}"
            )


def _range(i: slice, n: int, axis: int) -> Range:
    bounds: list[int | None] = []
    for name, b in (("start", i.start), ("stop", i.stop), ("step", i.step)):
        if b is None:
            bounds.append(None)
            continue
        value = known(b) if isinstance(b, (int, np.generic, np.ndarray, ArrayBase)) else None
        if value is None and isinstance(b, Tracer):
            raise ConcretizationError(
                f"the slice of axis {axis} has a traced {name}: the size of the result would not be known. Index "
                f"with an array of static size: x[start + fdl.numpy.arange(n)].{at(user_source())}"
            )
        if value is None or value.ndim or value.dtype.kind not in "iub":
            raise DTypeError(f"a slice's {name} must be an integer or None, got {described(b)}.{at(user_source())}")
        bounds.append(int(value))
    if bounds[2] == 0:
        raise IndexingError(
            f"the slice of axis {axis} has step 0: expected another step, 1 or -1 for all elements.{at(user_source())}"
        )
    steps = range(*slice(*bounds).indices(n))
    return Range(steps.start, steps.step, len(steps)) if len(steps) else Range(0, 1, 0)


def _scalar(i: Any, n: int, axis: int, mode: str) -> Range | np.ndarray:
    value = known(i)
    assert value is not None
    _check_integer(i, value.dtype)
    k = int(value)
    if not -n <= k < n:
        if mode in ("raise", "promise_in_bounds"):
            raise _outside(k, axis, n)
        if mode in ("fill", "drop") or n == 0:  # the gather or scatter decides
            return np.asarray(value)
    k = k % n if mode == "wrap" else min(max(k + n if k < 0 else k, 0), n - 1)
    return Range(k, 1, 1, drops=True)


def _outside(k: int, axis: int, n: int) -> IndexOutOfBoundsError:
    if n == 0:
        return IndexOutOfBoundsError(
            f"index {k} is out of bounds for axis {axis} of size 0: no index is in bounds.{at(user_source())}"
        )
    return IndexOutOfBoundsError(f"{out_of_bounds(k, axis, n)}{at(user_source())}")


def _check_integer(i: Any, dtype: dtypes.DType) -> None:
    if not dtypes.is_int(dtype):
        raise DTypeError(
            "an index must be an integer, a slice, None, ... or an array of integers or bools, got "
            f"{described(i)}. Convert it with .astype(int).{at(user_source())}"
        )


def _index_array(i: Any) -> Any:
    """An index array: an ndarray where its value is known."""
    if isinstance(i, (str, bytes, dict, set)):
        raise DTypeError(
            f"an index must be an integer, a slice, None, ... or an array, got {described(i)}. Only a dict has keys.{at(user_source())}"
        )
    x = as_operand(i, "an index")
    _check_integer(x, type_of(x).dtype)
    value = known(x)
    return x if value is None else value


def _known_array(value: np.ndarray, n: int, axis: int, mode: str, checked: bool) -> np.ndarray:
    """A known index array in a signed dtype, counted from the front; in bounds, unless `mode` leaves that to a gather or scatter."""
    if checked:
        bad = (value < -n) | (value >= n)
        if bad.any():
            raise _outside(int(value[bad].flat[0]), axis, n)
    if value.dtype == np.uint64:
        value = np.minimum(value, np.uint64(2**63 - 1))
    wide = value.astype(np.int64)
    wide = wide % n if mode == "wrap" and n else np.where(wide < 0, wide + n, wide)
    wide = np.clip(wide, 0, max(n - 1, 0)) if mode == "clip" else np.clip(wide, -1, n)
    return np.asarray(wide, np.int32 if n < 2**31 - 1 else np.int64)


def _is_empty(i: Any) -> bool:
    return isinstance(i, (list, tuple)) and all(_is_empty(v) for v in i)


def _broadcast(shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        listed = ", ".join(map(str, shapes))
        raise IndexingError(
            f"index arrays of shapes {listed} do not broadcast together. Reshape them, or build an open mesh with ix_.{at(user_source())}"
        ) from None


def columns(plan: Plan, mode: str) -> tuple[list[Any], bool]:
    """For each axis that an array indexes, the array counted from the front; and whether all are known to be in bounds."""
    out = []
    safe = True
    for axis in plan.arrays:
        x, n = plan.picks[axis], plan.given[axis]
        if isinstance(x, np.ndarray):
            safe = safe and (mode in ("raise", "clip", "wrap", "promise_in_bounds") or bool(((x >= 0) & (x < n)).all()))
            out.append(x)
            continue
        safe = False
        t = type_of(x)
        if t.dtype == dtypes.uint64:
            x = e.min(x, np.asarray(2**63 - 1, np.uint64))
        small = n < 2**31 and (t.dtype.itemsize < 4 or t.dtype == dtypes.int32)
        x = to_dtype(x, dtypes.int32 if small else dtypes.int64)
        size = np.asarray(n, type_of(x).dtype)
        if mode == "wrap":
            x = e.rem(e.add(e.rem(x, size), size), size)
        elif dtypes.is_signed(t.dtype):
            x = e.select(e.lt(x, np.asarray(0, size.dtype)), e.add(x, size), x)
        out.append(x)
    return out, safe


def stacked(parts: list[Any], lead: tuple[int, ...]) -> Any:
    """Index arrays, broadcast to `lead`, as one of shape (*lead, k)."""
    if all(isinstance(x, np.ndarray) for x in parts):
        return np.stack([np.broadcast_to(x, lead) for x in np.broadcast_arrays(*parts)] if len(parts) > 1 else
                        [np.broadcast_to(parts[0], lead)], -1)  # fmt: skip
    widest = promote_operands("index", *parts, broadcast=False)
    return s.concatenate([s.reshape(broadcast_to(x, lead), (*lead, 1)) for x in widest], len(lead))
