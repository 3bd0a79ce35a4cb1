"""Cosine transforms of the types 2 and 3, which are each other's inverses but for a factor, through Fourier transforms.

    type 2    y_k = 2 Σ_n x_n cos(π k (2n + 1) / (2N))
    type 3    y_k = x_0 + 2 Σ_{n > 0} x_n cos(π n (2k + 1) / (2N))

With norm="ortho" the terms are scaled so that the transform's matrix is orthogonal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.numpy.promote import canonical_axes, canonical_axis, promote_operands
from fdl.tracer import dtypes
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of

_NORMS = (None, "backward", "ortho", "forward")


def _resized(x: Any, axis: int, n: int | None) -> Any:
    """`x` cut, or filled up with zeros, to size n along `axis`."""
    size = type_of(x).shape[axis]
    if n is None or n == size:
        return x
    if n < 1:
        raise ShapeError(f"dct: n={n}: expected at least 1.{at(user_source())}")
    if n < size:
        return fnp.take(x, fnp.arange(n), axis)
    return fnp.pad(x, [(0, n - size if a == axis else 0) for a in range(type_of(x).ndim)])


def _forward(x: Any) -> Any:
    """The transform of type 2 along the last axis: that of the signal and its mirror image has nothing but cosines."""
    n = type_of(x).shape[-1]
    doubled = fnp.concat([x, fnp.flip(x, -1)], -1)
    turn = np.exp(-0.5j * math.pi * np.arange(n) / n).astype(dtypes.complex_of(type_of(x).dtype))
    return fnp.real(fnp.multiply(fnp.fft.rfft(doubled)[..., :n], turn))


def _backward(y: Any) -> Any:
    """The inverse of `_forward`."""
    n = type_of(y).shape[-1]
    turn = np.exp(0.5j * math.pi * np.arange(n) / n).astype(dtypes.complex_of(type_of(y).dtype))
    terms = fnp.multiply(y, turn)
    widths = [(0, 0)] * (type_of(y).ndim - 1)
    return fnp.fft.irfft(fnp.pad(terms, [*widths, (0, 1)]), 2 * n)[..., :n]


def _weights(n: int, dtype: Any) -> np.ndarray:
    """What makes the type 2 orthogonal."""
    w = np.full(n, math.sqrt(1 / (2 * n)))
    w[0] = math.sqrt(1 / (4 * n))
    return w.astype(dtype)


def _one(name: str, x: Any, inverse: bool, n: int | None, axis: int, norm: str | None) -> Any:
    x = fnp.moveaxis(_resized(x, axis, n), axis, -1)
    size = type_of(x).shape[-1]
    if size == 0:
        raise ShapeError(f"{name}: axis {axis} has no elements.{at(user_source())}")
    weights = _weights(size, type_of(x).dtype)
    if not inverse:
        y = _forward(x)
        y = fnp.multiply(y, weights) if norm == "ortho" else fnp.multiply(y, 1 / (2 * size) if norm == "forward" else 1)
    elif norm == "ortho":
        y = _backward(fnp.divide(x, weights))
    else:
        y = fnp.multiply(_backward(x), 2 * size if norm == "forward" else 1)
    return fnp.moveaxis(y, -1, axis)


def _transform(name: str, x: Any, type: int, inverse: bool, sizes: Sequence[int | None], axes: Sequence[int], norm: Any) -> Any:
    if type not in (2, 3):
        raise ShapeError(f"{name}: type={type}: expected 2 or 3.{at(user_source())}")
    if norm not in _NORMS:
        raise ShapeError(f"{name}: norm={norm!r}: expected 'backward', 'ortho' or 'forward'.{at(user_source())}")
    if type == 3:  # the inverse of type 2, with the factor on the other side
        inverse, norm = not inverse, {"forward": "backward", "ortho": "ortho"}.get(norm, "forward")
    (x,) = promote_operands(name, x, inexact=True)
    if dtypes.is_complex(type_of(x).dtype):
        raise DTypeError(f"{name}: takes real numbers, got {type_of(x)}. Transform the parts.{at(user_source())}")
    if type_of(x).dtype not in dtypes.PARTS:
        x = fnp.astype(x, fnp.float32)
    for axis, n in zip(axes, sizes, strict=True):
        x = _one(name, x, inverse, n, axis, norm)
    return x


def dct(x: Any, type: int = 2, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The cosine transform of a real `x` along `axis`.

    Args:
        type: 2 or 3.
        n: `x` is cut, or filled up with zeros, to this size.
        norm: "backward" (the default) scales the inverse, "forward" the transform, "ortho" both.

    Raises: ShapeError for other types, norms and sizes; DTypeError for complex numbers.

    Example:
        >>> dct([1.0, 1.0, 1.0]).round(4).tolist()
        [6.0, 0.0, 0.0]
    """
    x = fnp.asarray(x)
    return _transform("dct", x, type, False, [n], [canonical_axis("dct", axis, type_of(x).ndim)], norm)


def idct(x: Any, type: int = 2, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The inverse of `dct` with the same arguments."""
    x = fnp.asarray(x)
    return _transform("idct", x, type, True, [n], [canonical_axis("idct", axis, type_of(x).ndim)], norm)


def _plan(name: str, x: Any, s: Sequence[int] | None, axes: Sequence[int] | None) -> tuple[list[int | None], list[int]]:
    ndim = type_of(x).ndim
    if axes is None and s is not None:
        axes = range(ndim - len(s), ndim)
    where = list(canonical_axes(name, None if axes is None else tuple(axes), ndim))
    sizes: list[int | None] = [None] * len(where) if s is None else list(s)
    if len(sizes) != len(where):
        raise ShapeError(f"{name}: {len(sizes)} sizes for {len(where)} axes.{at(user_source())}")
    return sizes, where


def dctn(
    x: Any, type: int = 2, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str | None = None
) -> Any:
    """The cosine transform along several `axes` (all by default), cut or filled up to the sizes `s`; otherwise as `dct`."""
    x = fnp.asarray(x)
    return _transform("dctn", x, type, False, *_plan("dctn", x, s, axes), norm)


def idctn(
    x: Any, type: int = 2, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str | None = None
) -> Any:
    """The inverse of `dctn` with the same arguments."""
    x = fnp.asarray(x)
    return _transform("idctn", x, type, True, *_plan("idctn", x, s, axes), norm)


__all__ = ["dct", "dctn", "idct", "idctn"]
