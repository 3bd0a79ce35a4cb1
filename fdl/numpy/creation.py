"""New arrays: constants, copies, ranges, grids and triangles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.array import ArrayBase
from fdl.tracer.errors import ConcretizationError, DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import shape as s
from fdl.tracer.trace import Tracer

from .promote import (
    as_operand,
    asarray,
    broadcast_to,
    canonical_axis,
    check_device,
    check_range,
    known_size,
    promote_operands,
    result_dtype,
    to_dtype,
)
from .ufuncs import add, divide, multiply, subtract


def as_shape(name: str, shape: Any) -> tuple[int, ...]:
    """A shape given as an int or a sequence of ints; raises a ShapeError for negative sizes."""
    if isinstance(shape, (int, np.integer)) or (isinstance(shape, ArrayBase) and not shape.shape):
        shape = (shape,)
    try:
        out = tuple(known_size(name, n) for n in shape)
    except ConcretizationError:
        raise
    except TypeError:
        raise ShapeError(f"{name}: expected a shape of ints, got {shape!r}.{at(user_source())}") from None
    if any(n < 0 for n in out):
        raise ShapeError(f"{name}: sizes must not be negative, got {out}.{at(user_source())}")
    return out


# --- copies ---------------------------------------------------------------------------------------


def array(object: Any, dtype: Any = None, copy: bool | None = True, ndmin: int = 0, *, device: Any = None) -> Any:
    """A new array with the elements of `object`: see `asarray`. Axes of size 1 are put in front until there are `ndmin`."""
    out = asarray(object, dtype, device=device, copy=copy or None)
    shape = type_of(out).shape
    return s.reshape(out, (1,) * max(ndmin - len(shape), 0) + shape)


def copy(a: Any) -> Any:
    """A copy of `a`, of its own memory."""
    return asarray(a, copy=True)


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Any:
    """The array of an object with `__dlpack__`. Another library's memory is copied: arrays are immutable.

    Raises: BufferError where `copy` is False and `x` is no fdl array.

    Example:
        >>> from_dlpack(np.arange(3.0)).tolist()
        [0.0, 1.0, 2.0]
    """
    check_device("from_dlpack", device)
    if isinstance(x, ArrayBase):
        return asarray(x, copy=copy)
    if copy is False:
        raise BufferError(
            f"from_dlpack: copy=False, but the memory of a {type(x).__name__} could still change, and fdl's arrays do not. "
            f"Leave copy out.{at(user_source())}"
        )
    return asarray(np.from_dlpack(x))


# --- constants ------------------------------------------------------------------------------------


def full(shape: Any, fill_value: Any, dtype: Any = None, *, device: Any = None) -> Any:
    """An array filled with one value; its dtype is the value's (float32 for a Python float) unless given.

    Example:
        >>> full((2, 2), 7).tolist()
        [[7, 7], [7, 7]]
    """
    return _filled("full", shape, fill_value, dtype, device)


def _filled(name: str, shape: Any, fill_value: Any, dtype: Any, device: Any) -> Any:
    check_device(name, device)
    fill = as_operand(fill_value, f"{name}: fill_value")
    wanted = dtypes.of(dtype) if dtype is not None else type_of(fill).dtype
    check_range(name, fill, wanted)
    return broadcast_to(asarray(to_dtype(fill, wanted)), as_shape(name, shape))


def zeros(shape: Any, dtype: Any = None, *, device: Any = None) -> Any:
    """An array of zeros, float32 unless `dtype` says otherwise."""
    return _filled("zeros", shape, 0, float if dtype is None else dtype, device)


def ones(shape: Any, dtype: Any = None, *, device: Any = None) -> Any:
    """An array of ones, float32 unless `dtype` says otherwise."""
    return _filled("ones", shape, 1, float if dtype is None else dtype, device)


def empty(shape: Any, dtype: Any = None, *, device: Any = None) -> Any:
    """An array of zeros: arrays are immutable, so that one without values would be of no use."""
    return zeros(shape, dtype, device=device)


def full_like(a: Any, fill_value: Any, dtype: Any = None, shape: Any = None, *, device: Any = None) -> Any:
    """An array of the shape and dtype of `a`, unless others are given, filled with one value."""
    t = type_of(as_operand(a))
    return full(t.shape if shape is None else shape, fill_value, t.dtype if dtype is None else dtype, device=device)


def zeros_like(a: Any, dtype: Any = None, shape: Any = None, *, device: Any = None) -> Any:
    """Zeros of the shape and dtype of `a`, unless others are given."""
    return full_like(a, 0, dtype, shape, device=device)


def ones_like(a: Any, dtype: Any = None, shape: Any = None, *, device: Any = None) -> Any:
    """Ones of the shape and dtype of `a`, unless others are given."""
    return full_like(a, 1, dtype, shape, device=device)


def empty_like(prototype: Any, dtype: Any = None, shape: Any = None, *, device: Any = None) -> Any:
    """Zeros of the shape and dtype of `prototype`, unless others are given: see `empty`."""
    return full_like(prototype, 0, dtype, shape, device=device)


# --- ranges ---------------------------------------------------------------------------------------


def _static(name: str, what: str, x: Any) -> Any:
    """A scalar argument that fixes a shape, as a Python or NumPy number."""
    if isinstance(x, Tracer) and x.concrete() is None:
        raise ConcretizationError(
            f"{name}: {what} is traced, and the size of the result depends on it. Make it a static argument, or use "
            f"{name} of a fixed size and add to it.{at(user_source())}"
        )
    if isinstance(x, ArrayBase):
        x = np.asarray(x)[()]
    if isinstance(x, bool) or not isinstance(x, (int, float, complex, np.generic)):
        raise DTypeError(f"{name}: {what} must be a number, got {x!r}.{at(user_source())}")
    return x


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None, *, device: Any = None) -> Any:
    """The values start, start + step, ... before `stop`; `arange(stop)` starts at 0.

    Integers give int32 (int64 where the values need it), floats float32, NumPy scalars their own dtype, unless `dtype` is given.

    Raises: ShapeError for a step of 0; ConcretizationError for traced arguments, on which the size would depend.

    Example:
        >>> arange(1, 8, 3).tolist(), arange(0.5, 2).tolist()
        ([1, 4, 7], [0.5, 1.5])
    """
    check_device("arange", device)
    if stop is None:
        start, stop = 0, start
    step = 1 if step is None else step
    start, stop, step = (_static("arange", w, x) for w, x in (("start", start), ("stop", stop), ("step", step)))
    if step == 0:
        raise ShapeError(f"arange: the step is 0: expected one that leads from {start} to {stop}.{at(user_source())}")
    wanted = dtypes.of(dtype) if dtype is not None else result_dtype(start, stop, step)[0]
    if all(isinstance(v, (int, np.integer)) for v in (start, stop, step)):
        values = range(int(start), int(stop), int(step))
        if dtype is None and all(isinstance(v, int) for v in (start, stop, step)) and len(values):
            wanted = dtypes.promote((type_of(values[0]).dtype, False), (type_of(values[-1]).dtype, False))[0]
        if (values.start, values.step) == (0, 1) and wanted != dtypes.bool_ and not dtypes.is_complex(wanted):
            return s.iota((len(values),), wanted, 0)
        # In 64 bits, which wrap as the result's dtype does.
        steps = np.arange(len(values), dtype=np.uint64)
        whole = steps * np.uint64(values.step % 2**64) + np.uint64(values.start % 2**64)
        signed = min(values, default=0) < 0 if len(values) < 2 else min(values[0], values[-1]) < 0
        return asarray(whole.view(np.int64) if signed else whole, wanted)
    n = max(0, math.ceil((stop - start) / step))
    return asarray(start + step * np.arange(n, dtype=np.float64), wanted)


def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    """`num` evenly spaced values from `start` to `stop` (left out unless `endpoint`); arrays give one such row for each element.

    Args:
        retstep: whether to return the pair (values, step).
        axis: where the new axis goes, when `start` or `stop` is an array.

    Example:
        >>> linspace(0, 1, 5).tolist()
        [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    check_device("linspace", device)
    num = as_shape("linspace", num)[0]
    first, last, wanted = _ends("linspace", start, stop, dtype)
    count = num - 1 if endpoint else num
    if all(isinstance(v, (int, float, complex, np.generic)) for v in (start, stop)):  # in float64, whatever the result's dtype
        with np.errstate(all="ignore"):  # an infinite end
            wide = np.linspace(start, stop, num, endpoint=endpoint)
        if dtypes.is_int(wanted) and wide.dtype.kind == "f":
            wide = np.floor(wide)
        width = (stop - start) / count if count > 0 else float("nan")
        return (asarray(wide, wanted), asarray(width, type_of(first).dtype)) if retstep else asarray(wide, wanted)
    t = type_of(add(first, last))
    step = divide(subtract(last, first), float(count)) if count > 0 else full(t.shape, float("nan"), t.dtype)
    steps = s.broadcast(e.convert(s.iota((num,), dtypes.int32, 0), t.dtype), (num, *t.shape), (0,))
    # By both ends, so that each is met exactly.
    part = divide(steps, float(max(count, 1)))
    out = add(multiply(first, subtract(1, part)), multiply(last, part))
    if dtypes.is_int(wanted):
        out = e.floor(out)
    out = s.transpose(to_dtype(out, wanted), _moved(canonical_axis("linspace", axis, t.ndim + 1), t.ndim + 1))
    return (out, step) if retstep else out


def _ends(name: str, start: Any, stop: Any, dtype: Any) -> tuple[Any, Any, dtypes.DType]:
    """The ends of a range, in an inexact dtype no narrower than a `dtype` of the result that is inexact too, and that of the result."""
    first, last = promote_operands(name, start, stop, inexact=True)
    own = type_of(first)
    if dtype is None:
        return first, last, own.dtype
    wanted = dtypes.of(dtype)
    wide = dtypes.promote((own.dtype, own.weak), (wanted, False))[0] if dtypes.is_inexact(wanted) else own.dtype
    return *(to_dtype(as_operand(x), wide) for x in (start, stop)), wanted


def _moved(axis: int, rank: int) -> tuple[int, ...]:
    """The permutation that takes axis 0 to `axis`."""
    order = list(range(1, rank))
    order.insert(axis, 0)
    return tuple(order)


def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0
) -> Any:
    """`num` values evenly spaced on a logarithmic scale, from base**start to base**stop."""
    first, last, wanted = _ends("logspace", start, stop, dtype)
    if all(isinstance(v, (int, float, complex, np.generic)) for v in (start, stop, base)):  # in float64, as `linspace`
        if dtype is None:
            wanted = type_of(promote_operands("logspace", base, first, inexact=True)[0]).dtype
        with np.errstate(all="ignore"):
            return asarray(np.logspace(start, stop, as_shape("logspace", num)[0], endpoint, base), wanted)
    points = linspace(first, last, num, endpoint, axis=axis)
    out = e.pow(*promote_operands("logspace", base, points, inexact=True))
    return out if dtype is None else to_dtype(out, wanted)


def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    """`num` values in a geometric progression from `start` to `stop`, which are not 0 and have one sign; complex ones, any.

    NaN where real arrays have ends of two signs.

    Example:
        >>> geomspace(1, 8, 4).tolist()
        [1.0, 2.0, 4.0, 8.0]
    """
    first, last, wanted = _ends("geomspace", start, stop, dtype)
    if all(isinstance(v, (int, float, complex, np.generic)) for v in (start, stop)):
        if 0 in (start, stop):
            raise ValueError(
                f"geomspace: a geometric progression has no 0: got start {start!r}, stop {stop!r}.{at(user_source())}"
            )
        return asarray(np.geomspace(start, stop, as_shape("geomspace", num)[0], endpoint), wanted)
    sign = e.sign(first)
    points = linspace(e.log(e.abs(first)), e.log(divide(last, sign)), num, endpoint, axis=axis)
    rank = type_of(points).ndim
    if type_of(sign).ndim:
        sign = s.reshape(sign, tuple(np.insert(type_of(sign).shape, canonical_axis("geomspace", axis, rank), 1).tolist()))
    return to_dtype(multiply(sign, e.exp(points)), wanted)


def meshgrid(*arrays: Any, indexing: str = "xy", sparse: bool = False, copy: bool = True) -> list[Any]:
    """The coordinates of a grid, an array for each of the 1-D `arrays`.

    Args:
        indexing: "ij" for axes in the order of the arrays; "xy" (the default) with the first two exchanged.
        sparse: whether to leave axes along which nothing changes at size 1.

    Example:
        >>> [a.tolist() for a in meshgrid([1, 2, 3], [4, 5])]
        [[[1, 2, 3], [1, 2, 3]], [[4, 4, 4], [5, 5, 5]]]
    """
    if indexing not in ("xy", "ij"):
        raise ShapeError(f"meshgrid: indexing {indexing!r}: expected 'xy' or 'ij'.{at(user_source())}")
    operands = [as_operand(a, f"meshgrid: array {i}") for i, a in enumerate(arrays)]
    if any(type_of(a).ndim > 1 for a in operands):
        shapes = ", ".join(str(type_of(a).shape) for a in operands)
        raise ShapeError(f"meshgrid: expected 1-D arrays, got shapes {shapes}.{at(user_source())}")
    n = len(operands)
    place = list(range(n))
    if indexing == "xy" and n > 1:
        place[:2] = [1, 0]
    sizes = [1] * n
    for i, a in enumerate(operands):
        sizes[place[i]] = type_of(a).size
    out = []
    for i, a in enumerate(operands):
        thin = s.reshape(a, tuple(type_of(a).size if k == place[i] else 1 for k in range(n)))
        out.append(asarray(thin if sparse else broadcast_to(thin, sizes)))
    return out


# --- diagonals and triangles ----------------------------------------------------------------------


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None, *, device: Any = None) -> Any:
    """An (n_rows, n_cols) array with ones on the k-th diagonal; square unless `M` is given.

    Example:
        >>> eye(2, 3, k=1).tolist()
        [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    check_device("eye", device)
    rows, columns = as_shape("eye", (N, N if M is None else M))
    k = min(max(k, -rows), columns)
    on = e.eq(e.add(s.iota((rows, columns), dtypes.int32, 0), np.int32(k)), s.iota((rows, columns), dtypes.int32, 1))
    return e.convert(on, dtypes.of(float if dtype is None else dtype))


def identity(n: int, dtype: Any = None) -> Any:
    """The (n, n) identity matrix."""
    return eye(n, dtype=dtype)


def tri_mask(shape: Sequence[int], k: int) -> Any:
    """Whether column <= row + k, over the last two axes of `shape`."""
    rank = len(shape)
    k = min(max(k, -shape[-2]), shape[-1])
    rows, columns = (s.iota(shape, dtypes.int32, a) for a in (rank - 2, rank - 1))
    return e.le(columns, e.add(rows, np.int32(k)))


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Any:
    """An (n, m) array with ones at and below the k-th diagonal, zeros elsewhere."""
    return e.convert(tri_mask(as_shape("tri", (N, N if M is None else M)), k), dtypes.of(float if dtype is None else dtype))


def _triangle(name: str, x: Any, k: int, lower: bool) -> Any:
    x = as_operand(x, f"{name}: x")
    t = type_of(x)
    if t.ndim < 2:
        raise ShapeError(f"{name}: expected matrices, got shape {t.shape}.{at(user_source())}")
    mask = tri_mask(t.shape, k if lower else k - 1)
    zero = np.zeros((), t.dtype)
    return e.select(mask, x, zero) if lower else e.select(mask, zero, x)


def tril(m: Any, k: int = 0) -> Any:
    """`m` with zeros above the k-th diagonal of its last two axes."""
    return _triangle("tril", m, k, True)


def triu(m: Any, k: int = 0) -> Any:
    """`m` with zeros below the k-th diagonal of its last two axes."""
    return _triangle("triu", m, k, False)


def one_hot(x: Any, n: int, dtype: Any = None) -> Any:
    """One-hot codes: `x` integers of any shape; returns shape (*x.shape, n), all zeros where x is outside [0, n)."""
    x = asarray(x)
    t = type_of(x)
    columns = s.iota((*t.shape, n), t.dtype, t.ndim)
    spread = s.broadcast(x, (*t.shape, n), tuple(range(t.ndim)))
    return e.convert(e.eq(spread, columns), dtypes.of(float if dtype is None else dtype))


__all__ = [
    "arange", "array", "copy", "empty", "empty_like", "eye", "from_dlpack", "full", "full_like", "geomspace", "identity", "linspace",
    "logspace", "meshgrid", "one_hot", "ones", "ones_like", "tri", "tril", "triu", "zeros", "zeros_like",
]  # fmt: skip
