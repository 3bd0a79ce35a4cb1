"""Convolutions and correlations of arrays with any number of axes, and trends taken away.

A convolution is computed whole ("full") in principle, and cut to the middle; what is cut off is not computed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.numpy.complexes import conj
from fdl.numpy.promote import canonical_axes, canonical_axis, promote_operands
from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import convolve as c
from fdl.tracer.ops import shape as s

Shape = tuple[int, ...]


def _pair(name: str, in1: Any, in2: Any, ndim: int | None = None) -> tuple[Any, Any]:
    a, b = promote_operands(name, in1, in2, broadcast=False, numeric=True)
    m, n = type_of(a).shape, type_of(b).shape
    if len(m) != len(n) or (ndim is not None and len(m) != ndim) or 0 in (*m, *n):
        wanted = "equally many axes" if ndim is None else f"{ndim} axes each"
        raise ShapeError(
            f"{name}: arrays of shapes {m} and {n}: expected {wanted}, and elements along each.{at(user_source())}"
        )
    return a, b


def _window(name: str, mode: str, m: Shape, n: Shape) -> tuple[Shape, Shape]:
    """Where the result begins in the full convolution of arrays of shapes m and n, and its shape."""
    full = tuple(p + q - 1 for p, q in zip(m, n, strict=True))
    if mode == "full":
        shape = full
    elif mode == "same":
        shape = m
    elif mode == "valid":
        if not (all(p >= q for p, q in zip(m, n, strict=True)) or all(p <= q for p, q in zip(m, n, strict=True))):
            raise ShapeError(
                f"{name}: arrays of shapes {m} and {n} in mode 'valid': one must be at least as large as the other along every axis."
                f"{at(user_source())}"
            )
        shape = tuple(abs(p - q) + 1 for p, q in zip(m, n, strict=True))
    else:
        raise ShapeError(f"{name}: mode={mode!r}: expected 'full', 'same' or 'valid'.{at(user_source())}")
    return tuple((f - k) // 2 for f, k in zip(full, shape, strict=True)), shape


def _direct(a: Any, b: Any, start: Shape, shape: Shape) -> Any:
    """The part of the full convolution that begins at `start` and has that shape, with the smaller array as the filter."""
    if math.prod(type_of(b).shape) > math.prod(type_of(a).shape):
        a, b = b, a
    m, n = type_of(a).shape, type_of(b).shape
    ones = (1,) * len(m)
    padding = tuple((k - 1 - i, i + size - p) for p, k, i, size in zip(m, n, start, shape, strict=True))
    image, filters = s.reshape(a, (1, *m, 1)), s.reshape(s.flip(b, tuple(range(len(n)))), (*n, 1, 1))
    y = c.conv(image, filters, strides=ones, padding=padding, lhs_dilation=ones, rhs_dilation=ones)
    return s.reshape(y, shape)


def convolve(in1: Any, in2: Any, mode: str = "full", method: str = "auto", precision: Any = None) -> Any:
    """The convolution of two arrays with equally many axes.

    Args:
        mode: "full", "same" (the size of `in1`, from the middle), or "valid" (where they overlap wholly).
        method: "fft" goes through Fourier transforms; "direct" and "auto" do not.
        precision: accepted, and of no use here.

    Raises: ShapeError where shapes, mode or method do not fit.

    Example:
        >>> convolve([1.0, 2.0, 3.0], [1.0, 1.0], mode="same").tolist()
        [1.0, 3.0, 5.0]
    """
    return _convolve("convolve", in1, in2, mode, method)


def _convolve(name: str, in1: Any, in2: Any, mode: str, method: str) -> Any:
    if method not in ("auto", "direct", "fft"):
        raise ShapeError(f"{name}: method={method!r}: expected 'auto', 'direct' or 'fft'.{at(user_source())}")
    if method == "fft":
        return fftconvolve(in1, in2, mode)
    a, b = _pair(name, in1, in2)
    start, shape = _window(name, mode, type_of(a).shape, type_of(b).shape)
    return fnp.multiply(a, b) if not shape else _direct(a, b, start, shape)


def _turned(x: Any) -> Any:
    """`x` read backwards along every axis, conjugated."""
    x = fnp.asarray(x)
    return conj(fnp.flip(x)) if type_of(x).ndim else conj(x)


def correlate(in1: Any, in2: Any, mode: str = "full", method: str = "auto", precision: Any = None) -> Any:
    """The correlation of two arrays: the convolution of `in1` with the conjugate of `in2` read backwards. Arguments as in `convolve`."""
    return _convolve("correlate", in1, _turned(in2), mode, method)


def fftconvolve(in1: Any, in2: Any, mode: str = "full", axes: int | Sequence[int] | None = None) -> Any:
    """The convolution of two arrays through Fourier transforms, along `axes` (all by default); along the others they broadcast.

    Example:
        >>> fftconvolve([1.0, 2.0, 3.0], [1.0, 1.0]).round(4).tolist()
        [1.0, 3.0, 5.0, 3.0]
    """
    name = "fftconvolve"
    a, b = promote_operands(name, in1, in2, broadcast=False, inexact=True)
    m, n = type_of(a).shape, type_of(b).shape
    if len(m) != len(n) or 0 in (*m, *n):
        raise ShapeError(
            f"{name}: arrays of shapes {m} and {n}: expected equally many axes, and elements along each.{at(user_source())}"
        )
    where = canonical_axes(name, axes, len(m))
    if not where:
        return fnp.multiply(a, b)
    if any(p != q and 1 not in (p, q) for k, (p, q) in enumerate(zip(m, n, strict=True)) if k not in where):
        raise ShapeError(
            f"{name}: arrays of shapes {m} and {n} do not broadcast along the axes besides {where}.{at(user_source())}"
        )
    start, shape = _window(name, mode, tuple(m[k] for k in where), tuple(n[k] for k in where))
    full = [m[k] + n[k] - 1 for k in where]
    if dtypes.is_complex(type_of(a).dtype):
        y = fnp.fft.ifftn(fnp.multiply(fnp.fft.fftn(a, full, where), fnp.fft.fftn(b, full, where)), full, where)
    else:
        y = fnp.fft.irfftn(fnp.multiply(fnp.fft.rfftn(a, full, where), fnp.fft.rfftn(b, full, where)), full, where)
    for k, i, size in zip(where, start, shape, strict=True):
        y = s.slice_axis(y, k, i, i + size)
    return fnp.astype(y, type_of(a).dtype)


_BOUNDARIES = {"fill": "constant", "wrap": "wrap", "symm": "symmetric"}


def _two(name: str, in1: Any, in2: Any, mode: str, boundary: str, fillvalue: Any, late: bool = False) -> Any:
    a, b = _pair(name, in1, in2, 2)
    if boundary not in _BOUNDARIES:
        raise ShapeError(f"{name}: boundary={boundary!r}: expected 'fill', 'wrap' or 'symm'.{at(user_source())}")
    start, shape = _window(name, mode, type_of(a).shape, type_of(b).shape)
    if late and mode == "same":
        start = tuple(k // 2 for k in type_of(b).shape)
    if mode == "valid" or (boundary == "fill" and isinstance(fillvalue, (int, float)) and fillvalue == 0):
        return _direct(a, b, start, shape)
    margins = [(k - 1, k - 1) for k in type_of(b).shape]
    options = {"constant_values": fillvalue} if boundary == "fill" else {}
    wide = fnp.pad(a, margins, _BOUNDARIES[boundary], **options)
    # In the full convolution of the wider array everything lies one margin further.
    return _direct(wide, b, tuple(i + k for i, (k, _) in zip(start, margins, strict=True)), shape)


def convolve2d(
    in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0, precision: Any = None
) -> Any:
    """The convolution of two matrices.

    Args:
        boundary: what lies around `in1`: "fill" (`fillvalue`), "wrap" (it repeats) or "symm" (its mirror image).

    The other arguments are those of `convolve`.
    """
    return _two("convolve2d", in1, in2, mode, boundary, fillvalue)


def correlate2d(
    in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0, precision: Any = None
) -> Any:
    """The correlation of two matrices; the arguments are those of `convolve2d`.

    In mode "same" the middle of a filter with an even number of rows or columns is the one after its half, as in SciPy.
    """
    return _two("correlate2d", in1, _turned(in2), mode, boundary, fillvalue, late=True)


# --- trends ---------------------------------------------------------------------------------------


def detrend(data: Any, axis: int = -1, type: str = "linear", bp: int | Sequence[int] = 0, overwrite_data: None = None) -> Any:
    """`data` without its mean ("constant") or the straight line of least squares ("linear") along `axis`.

    Args:
        bp: where pieces begin that have lines of their own.

    Raises: ShapeError for other types, and for pieces beyond the axis.

    Example:
        >>> detrend([1.0, 4.0, 1.0]).tolist()
        [-1.0, 2.0, -1.0]
    """
    if type not in ("linear", "l", "constant", "c"):
        raise ShapeError(f"detrend: type={type!r}: expected 'linear' or 'constant'.{at(user_source())}")
    (x,) = promote_operands("detrend", data, inexact=True)
    k = canonical_axis("detrend", axis, type_of(x).ndim)
    if type in ("constant", "c"):
        return fnp.subtract(x, fnp.mean(x, k, keepdims=True))
    n = type_of(x).shape[k]
    ends = sorted({0, n, *((bp,) if isinstance(bp, int) else (int(v) for v in bp))})
    if ends[-1] > n or ends[0] < 0:
        raise ShapeError(f"detrend: bp={bp!r} for an axis of size {n}.{at(user_source())}")
    x = fnp.moveaxis(x, k, -1)
    parts = [_straightened(s.slice_axis(x, type_of(x).ndim - 1, i, j)) for i, j in itertools.pairwise(ends)]
    return fnp.moveaxis(fnp.concat(parts, -1) if parts else x, -1, k)


def _straightened(x: Any) -> Any:
    n = type_of(x).shape[-1]
    rest = fnp.subtract(x, fnp.mean(x, -1, keepdims=True))
    if n < 2:
        return rest
    place = np.arange(n) - (n - 1) / 2
    line = (place / np.sqrt((place**2).sum())).astype(dtypes.real_of(type_of(x).dtype))
    return fnp.subtract(rest, fnp.multiply(fnp.sum(fnp.multiply(rest, line), -1, keepdims=True), line))
