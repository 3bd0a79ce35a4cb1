"""Arrays made from rules: diagonals, indices of triangles, grids, Vandermonde matrices, buffers.

And from the number of an element to its indices, and back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.errors import DTypeError, IndexOutOfBoundsError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import shape as s

from .creation import arange, as_shape, linspace
from .joins import concat, stack
from .products import diagonal
from .promote import as_operand, asarray, promote_operands, to_dtype
from .static import flat, index_dtype, known, need, need_int, one_axis, scalar
from .ufuncs import add, multiply, power

# --- diagonals ------------------------------------------------------------------------------------


def diag(v: Any, k: int = 0) -> Any:
    """The square matrix with the 1-D `v` on its k-th diagonal; of a matrix, its k-th diagonal.

    Example:
        >>> diag(np.array([1.0, 2.0]), 1).tolist()
        [[0.0, 1.0, 0.0], [0.0, 0.0, 2.0], [0.0, 0.0, 0.0]]
    """
    v = as_operand(v, "diag: v")
    t = type_of(v)
    if t.ndim == 2:
        return asarray(diagonal(v, k))
    if t.ndim != 1:
        raise ShapeError(f"diag: expected one or two axes, got shape {t.shape}.{at(user_source())}")
    n, m = t.shape[0], t.shape[0] + abs(k)
    if n == 0:
        return asarray(e.splat(scalar(v, 0), (m, m)))
    # The elements, m + 1 apart, in a row that is cut into the rows of the matrix.
    first = k if k >= 0 else -k * m
    spread = s.pad(v, scalar(v, 0), ((first, m * m - first - n - (n - 1) * m, m),))
    return s.reshape(spread, (m, m))


def diagflat(v: Any, k: int = 0) -> Any:
    """The square matrix with the elements of `v`, flattened, on its k-th diagonal."""
    return diag(flat(as_operand(v, "diagflat: v")), k)


def diag_indices(n: int, ndim: int = 2) -> tuple[Any, ...]:
    """The indices of the main diagonal of an array of `ndim` axes of size n: one int32 array, `ndim` times."""
    return (arange(need_int("diag_indices", "n", n)),) * ndim


def diag_indices_from(arr: Any) -> tuple[Any, ...]:
    """`diag_indices` for an array of at least two axes, all of one size."""
    shape = type_of(as_operand(arr)).shape
    if len(shape) < 2 or len(set(shape)) > 1:
        raise ShapeError(f"diag_indices_from: expected at least two axes of one size, got shape {shape}.{at(user_source())}")
    return diag_indices(shape[0], len(shape))


# --- triangles ------------------------------------------------------------------------------------


def _indices(found: tuple[np.ndarray, ...]) -> tuple[Any, ...]:
    return tuple(asarray(i.astype(np.int32)) for i in found)


def tril_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Any, Any]:
    """The indices (int32) of the elements of an (n, m) matrix on and below its k-th diagonal, row by row."""
    rows, columns = _indices(np.tril_indices(need_int("tril_indices", "n", n), k, m))
    return rows, columns


def triu_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Any, Any]:
    """The indices (int32) of the elements of an (n, m) matrix on and above its k-th diagonal, row by row."""
    rows, columns = _indices(np.triu_indices(need_int("triu_indices", "n", n), k, m))
    return rows, columns


def tril_indices_from(arr: Any, k: int = 0) -> tuple[Any, Any]:
    """`tril_indices` for a matrix."""
    return tril_indices(*_matrix("tril_indices_from", arr, k))


def triu_indices_from(arr: Any, k: int = 0) -> tuple[Any, Any]:
    """`triu_indices` for a matrix."""
    return triu_indices(*_matrix("triu_indices_from", arr, k))


def _matrix(name: str, arr: Any, k: int) -> tuple[int, int, int]:
    shape = type_of(as_operand(arr)).shape
    if len(shape) != 2:
        raise ShapeError(f"{name}: expected a matrix, got shape {shape}.{at(user_source())}")
    return shape[0], k, shape[1]


def mask_indices(n: int, mask_func: Callable[..., Any], k: Any = 0, *, size: int | None = None) -> tuple[Any, Any]:
    """The indices (int32) of the elements of an (n, n) matrix that `mask_func(ones, k)`, such as `tril`, leaves; at most `size`."""
    kept = need("mask_indices", mask_func(asarray(np.ones((n, n), np.int32)), k), "the number of indices", "Call it outside.")
    rows, columns = _indices(tuple(i[:size] for i in np.nonzero(kept)))
    return rows, columns


# --- grids ----------------------------------------------------------------------------------------


def indices(dimensions: Any, dtype: Any = None, sparse: bool = False) -> Any:
    """The indices of a grid: an array (ndim, *dimensions), or with `sparse` a tuple of arrays that broadcast to it.

    Example:
        >>> indices((2, 2)).tolist()
        [[[0, 0], [1, 1]], [[0, 1], [0, 1]]]
    """
    sizes = as_shape("indices", dimensions)
    own = dtypes.of(dtype) if dtype is not None else dtypes.DEFAULT_INT
    if sparse:
        ranks = range(len(sizes))
        return tuple(asarray(s.iota(tuple(n if b == a else 1 for b, n in enumerate(sizes)), own, a)) for a in ranks)
    if not sizes:
        return asarray(np.zeros((0,), own))
    return s.concatenate([s.reshape(s.iota(sizes, own, a), (1, *sizes)) for a in range(len(sizes))], 0)


class _Grid:
    """`mgrid` and `ogrid`: index them with slices; an imaginary step is a number of points, the last included."""

    def __init__(self, dense: bool) -> None:
        self._dense = dense

    def __getitem__(self, key: Any) -> Any:
        single = not isinstance(key, tuple)
        axes = [_steps(k) for k in ((key,) if single else key)]
        if single:
            return axes[0]
        axes = promote_operands("mgrid", *axes, broadcast=False)
        n = len(axes)
        shape = tuple(type_of(x).size for x in axes)
        if not self._dense:
            return tuple(
                asarray(s.reshape(x, tuple(m if b == a else 1 for b, m in enumerate(shape)))) for a, x in enumerate(axes)
            )
        return stack([s.broadcast(x, shape, (a,)) for a, x in zip(range(n), axes, strict=True)])


def _steps(key: Any) -> Any:
    if not isinstance(key, slice):
        raise DTypeError(f"mgrid: expected slices, got {key!r}.{at(user_source())}")
    start, stop, step = 0 if key.start is None else key.start, key.stop, 1 if key.step is None else key.step
    if isinstance(step, complex):
        return linspace(start, stop, int(abs(step)))
    return arange(start, stop, step)


mgrid, ogrid = _Grid(True), _Grid(False)


class _Join:
    """`r_` and `c_`: index them with arrays, numbers and slices, which are joined along an axis."""

    def __init__(self, axis: int, ndmin: int, trailing: int) -> None:
        self._axis, self._ndmin, self._trailing = axis, ndmin, trailing

    def __getitem__(self, key: Any) -> Any:
        parts = list(key) if isinstance(key, tuple) else [key]
        axis, ndmin, trailing = self._axis, self._ndmin, self._trailing
        if parts and isinstance(parts[0], str):
            numbers = parts.pop(0).split(",")
            if not all(p.strip().lstrip("-").isdigit() for p in numbers) or len(numbers) > 3:
                raise DTypeError(
                    f"r_: directive {','.join(numbers)!r}: expected integers 'axis,ndim,first'.{at(user_source())}"
                )
            given = [int(p) for p in numbers]
            axis, ndmin, trailing = (*given, *(axis, ndmin, trailing)[len(given) :])
        return concat([_raised(p, ndmin, trailing) for p in parts], axis=axis)


def _raised(part: Any, ndmin: int, trailing: int) -> Any:
    """A part with at least `ndmin` axes: its own begin at the `trailing`-th of them (-1: they come last)."""
    x = _steps(part) if isinstance(part, slice) else as_operand(part)
    n = type_of(x).ndim
    if n == 0 and ndmin <= 1:
        return s.reshape(asarray(x), (1,))
    if n >= ndmin:
        return x
    x = s.reshape(asarray(x), (*(1,) * (ndmin - n), *type_of(x).shape))
    if trailing == -1 or n == 0:
        return x
    first = trailing if trailing >= 0 else ndmin - n + trailing + 1
    order = [*range(ndmin - n, ndmin)]
    ones = [*range(ndmin - n)]
    return s.transpose(x, (*ones[:first], *order, *ones[first:]))


r_, c_ = _Join(0, 1, -1), _Join(-1, 2, 0)


# --- rules ----------------------------------------------------------------------------------------


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """The Vandermonde matrix: column j has the powers N - 1 - j (or j, `increasing`) of the 1-D `x`.

    Example:
        >>> vander(np.array([2.0, 3.0]), 3).tolist()
        [[4.0, 2.0, 1.0], [9.0, 3.0, 1.0]]
    """
    x = one_axis("vander", "x", x)
    if type_of(x).dtype == dtypes.bool_:
        x = to_dtype(x, dtypes.DEFAULT_INT)
    n = type_of(x).size
    count = n if N is None else need_int("vander", "N", N)
    if count < 0:
        raise ShapeError(f"vander: N must not be negative, got {count}.{at(user_source())}")
    columns = [power(x, k) for k in range(count)]
    if not columns:
        return asarray(np.zeros((n, 0), type_of(x).dtype))
    return stack(columns if increasing else columns[::-1], axis=1)


def frombuffer(buffer: Any, dtype: Any = float, count: int = -1, offset: int = 0) -> Any:
    """The 1-D array of the numbers in a buffer of bytes, from byte `offset` on; `count` of them, -1 for all."""
    return asarray(np.frombuffer(buffer, dtypes.of(dtype), count, offset))


def fromiter(iterable: Iterable[Any], dtype: Any, count: int = -1) -> Any:
    """The 1-D array of the numbers of an iterable; the first `count`, -1 for all."""
    return asarray(np.fromiter(iterable, dtypes.of(dtype), count))


def fromstring(string: str, dtype: Any = float, count: int = -1, *, sep: str) -> Any:
    """The 1-D array of the numbers in a text, separated by `sep`."""
    return asarray(np.fromstring(string, dtypes.of(dtype), count, sep=sep))


# --- numbers of elements --------------------------------------------------------------------------


def unravel_index(indices: Any, shape: Any) -> tuple[Any, ...]:
    """The indices, for each axis of `shape`, of the elements with these numbers in row-major order; negative ones count from the end.

    Numbers out of bounds are those of the nearest element, as in JAX, where they are traced; known ones raise.

    Example:
        >>> [i.tolist() for i in unravel_index(np.array([4, 1]), (2, 3))]
        [[1, 0], [1, 1]]
    """
    sizes = as_shape("unravel_index", shape)
    x = as_operand(indices, "unravel_index: indices")
    if not dtypes.is_int(type_of(x).dtype):
        raise DTypeError(f"unravel_index: indices have dtype {type_of(x).dtype.name}, expected integers.{at(user_source())}")
    total = math.prod(sizes)
    value = known(x)
    if value is not None and value.size and not -total <= value.min() <= value.max() < total:
        bad = int(value[(value < -total) | (value >= total)].flat[0])
        raise IndexOutOfBoundsError(
            f"unravel_index: {bad} is out of bounds for shape {sizes} of {total} elements.{at(user_source())}"
        )
    x = to_dtype(x, index_dtype(max(total, 2**31 if dtypes.bits(type_of(x).dtype) > 32 else 0)))
    x = e.select(e.lt(x, scalar(x, 0)), e.add(x, scalar(x, total)), x)
    x = e.min(e.max(x, scalar(x, 0)), scalar(x, max(total - 1, 0)))
    out = []
    for n in reversed(sizes):
        out.append(asarray(to_dtype(e.rem(x, scalar(x, max(n, 1))), index_dtype(total))))
        x = e.div(x, scalar(x, max(n, 1)))
    return tuple(reversed(out))


def ravel_multi_index(
    multi_index: Sequence[Any], dims: Any, mode: Any = "raise", order: str = "C", *, dtype: Any = None
) -> Any:
    """The numbers, in row-major order ("F": column-major), of the elements of an array of shape `dims` with these indices.

    Args:
        mode: for an index out of bounds, for all axes or for each: "raise" (it then has to be known while tracing), "wrap" or "clip".
        dtype: of the result; by default int32, or int64 where a size or an index needs it.

    Example:
        >>> ravel_multi_index((np.array([1, 0]), np.array([2, 1])), (2, 3)).tolist()
        [5, 1]
    """
    sizes = as_shape("ravel_multi_index", dims)
    parts = [as_operand(i, "ravel_multi_index: an index") for i in multi_index]
    if len(parts) != len(sizes):
        raise ShapeError(f"ravel_multi_index: {len(parts)} indices for {len(sizes)} axes.{at(user_source())}")
    modes = [mode] * len(sizes) if isinstance(mode, str) else list(mode)
    if len(modes) != len(sizes) or any(m not in ("raise", "wrap", "clip") for m in modes) or order not in ("C", "F"):
        raise ShapeError(
            f"ravel_multi_index: mode {mode!r}, order {order!r}: expected 'raise', 'wrap' or 'clip', and 'C' or 'F'.{at(user_source())}"
        )
    total: Any = None
    stride = 1
    wide = index_dtype(math.prod(sizes))
    axes = range(len(sizes) - 1, -1, -1) if order == "C" else range(len(sizes))
    for a in axes:
        x, n = parts[a], sizes[a]
        if not dtypes.is_int(type_of(x).dtype):
            raise DTypeError(
                f"ravel_multi_index: indices have dtype {type_of(x).dtype.name}, expected integers.{at(user_source())}"
            )
        if modes[a] == "raise":
            value = need("ravel_multi_index", x, "whether it is in bounds", "Choose mode='wrap' or 'clip'.")
            if value.size and not 0 <= value.min() <= value.max() < n:
                raise IndexOutOfBoundsError(
                    f"ravel_multi_index: an index of axis {a} is out of bounds: expected 0 to {n - 1}.{at(user_source())}"
                )
        x = to_dtype(x, wide if dtypes.bits(type_of(x).dtype) <= 32 else dtypes.int64)
        size = scalar(x, n)
        if modes[a] == "wrap":
            x = e.rem(e.add(e.rem(x, size), size), size)
        elif modes[a] == "clip":
            x = e.min(e.max(x, scalar(x, 0)), scalar(x, n - 1))
        term = multiply(to_dtype(x, wide), np.asarray(stride, wide))
        total = term if total is None else add(total, term)
        stride *= n
    total = asarray(np.zeros((), np.int32) if total is None else total)
    return total if dtype is None else to_dtype(total, dtypes.of(dtype))


__all__ = [
    "c_", "diag", "diag_indices", "diag_indices_from", "diagflat", "frombuffer", "fromiter", "fromstring", "indices", "mask_indices",
    "mgrid", "ogrid", "r_", "ravel_multi_index", "tril_indices", "tril_indices_from", "triu_indices", "triu_indices_from",
    "unravel_index", "vander",
]  # fmt: skip
