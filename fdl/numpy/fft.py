"""Discrete Fourier transforms under NumPy's names: the array API's extension, and the two-dimensional ones.

float32 and complex64 stay in single precision; integers become float32.  All transforms are linear, and differentiate to any order.
NumPy's pocketfft runs them, called from compiled code too.

`norm` tells which direction divides: "backward" (the inverse, by n; the default), "forward" (the forward one), "ortho" (both, by √n).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.array import Array
from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import shape as s
from fdl.tracer.ops.complex import complex as join
from fdl.tracer.ops.complex import conj
from fdl.tracer.ops.fft import fft as transform

from .joins import roll
from .promote import asarray, canonical_axes, promote_operands

_NORMS = ("backward", "ortho", "forward")


def _operand(name: str, x: Any, real: bool) -> Any:
    y = asarray(promote_operands(name, x, inexact=True)[0])
    dtype = type_of(y).dtype
    if dtype in (dtypes.float16, dtypes.bfloat16):
        raise DTypeError(
            f"{name}: the operand has dtype {dtype.name}, expected 32 bits or more. Convert with .astype.{at(user_source())}"
        )
    if real:
        if dtypes.is_complex(dtype):
            raise DTypeError(
                f"{name}: the operand has dtype {dtype.name}, expected real numbers. Use x.real, or fft.{at(user_source())}"
            )
        return y
    return y if dtypes.is_complex(dtype) else join(y, e.scalar_like(0, y))


def _plan(name: str, shape: Sequence[int], s: Any, axes: Any) -> tuple[tuple[int, ...], tuple[int | None, ...]]:
    """The axes, and the length along each (None: that of the operand)."""
    rank = len(shape)
    if s is not None:
        s = tuple(None if n is None or n == -1 else int(n) for n in s)
    if axes is None:
        axes = tuple(range(rank)) if s is None else tuple(range(rank - len(s), rank))
        if s is not None and len(s) > rank:
            raise ShapeError(f"{name}: {len(s)} lengths for an array of shape {tuple(shape)}.{at(user_source())}")
    else:
        axes = canonical_axes(name, tuple(axes), rank)
    lengths = (None,) * len(axes) if s is None else s
    if len(lengths) != len(axes):
        raise ShapeError(f"{name}: {len(lengths)} lengths for the axes {axes}: expected equally many.{at(user_source())}")
    return axes, lengths


def _fitted(x: Any, axes: Sequence[int], sizes: Sequence[int]) -> Any:
    """`x` cut, or filled up with zeros, to the given sizes along `axes`."""
    shape = list(type_of(x).shape)
    config = [(0, sizes[axes.index(i)] - n if i in axes else 0, 0) for i, n in enumerate(shape)]
    return s.pad(x, e.scalar_like(0, x), tuple(config)) if any(c[1] for c in config) else x


def _scale(norm: str | None, total: int, forward: bool, name: str) -> float:
    """What the transform, which divides by `total` when it is an inverse one, is to be multiplied by."""
    mode = "backward" if norm is None else norm
    if mode not in _NORMS:
        raise ShapeError(f"{name}: norm {norm!r}, expected 'backward', 'ortho' or 'forward'.{at(user_source())}")
    if mode == "ortho":
        return 1 / math.sqrt(total) if forward else math.sqrt(total)
    if mode == "forward":
        return 1 / total if forward else float(total)
    return 1.0


def _run(name: str, kind: str, x: Any, s_: Any, axes: Any, norm: str | None) -> Any:
    y = _operand(name, x, kind == "rfft")
    shape = type_of(y).shape
    if not shape:
        raise ShapeError(f"{name}: a scalar has no axis to transform.{at(user_source())}")
    axes, given = _plan(name, shape, s_, axes)
    if not axes:
        return y
    lengths = [shape[a] if n is None else n for a, n in zip(axes, given, strict=True)]
    if kind == "irfft" and given[-1] is None:
        lengths[-1] = 2 * (shape[axes[-1]] - 1)
    if min(lengths) < 1:
        raise ShapeError(
            f"{name}: lengths {tuple(lengths)} along axes {axes} of shape {shape}: expected at least 1.{at(user_source())}"
        )
    sizes = [*lengths[:-1], lengths[-1] // 2 + 1 if kind == "irfft" else lengths[-1]]
    y = _fitted(y, axes, sizes)
    rest = tuple(i for i in range(len(shape)) if i not in axes)
    order = (*rest, *axes)
    out = transform(s.transpose(y, order), kind, lengths)
    scale = _scale(norm, math.prod(lengths), kind in ("fft", "rfft"), name)
    if scale != 1.0:
        out = e.mul(out, e.scalar_like(scale, out))
    return s.transpose(out, s.inverse(order))


def _one(name: str, kind: str, x: Any, n: int | None, axis: int, norm: str | None) -> Any:
    return _run(name, kind, x, None if n is None else (n,), (axis,), norm)


def fft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The Fourier transform along `axis`: y_j = Σ_k x_k exp(-2πi jk / n). Complex.

    Args:
        n: the length; `a` is cut, or filled up with zeros, to it.
        norm: see the module.

    Raises: ShapeError for a length below 1 and for an unknown norm.

    Example:
        >>> fft([1.0, 0.0, 0.0, 0.0]).real.tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    return _one("fft", "fft", a, n, axis, norm)


def ifft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The inverse of `fft` along `axis`: complex."""
    return _one("ifft", "ifft", a, n, axis, norm)


def rfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The first n // 2 + 1 terms of `fft` of a real signal along `axis`; the others are their conjugates.

    Raises: DTypeError for complex `a`.
    """
    return _one("rfft", "rfft", a, n, axis, norm)


def irfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The inverse of `rfft` along `axis`: the real signal of length `n`, by default 2 · (size - 1)."""
    return _one("irfft", "irfft", a, n, axis, norm)


def fftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None) -> Any:
    """The Fourier transform along several axes (all by default); `s` are their lengths."""
    return _run("fftn", "fft", a, s, axes, norm)


def ifftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None) -> Any:
    """The inverse of `fftn`."""
    return _run("ifftn", "ifft", a, s, axes, norm)


def rfftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None) -> Any:
    """The Fourier transform of a real array along several axes: `rfft` along the last of them, `fft` along the others."""
    return _run("rfftn", "rfft", a, s, axes, norm)


def irfftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None) -> Any:
    """The inverse of `rfftn`: real. `s` has the lengths of the result."""
    return _run("irfftn", "irfft", a, s, axes, norm)


def fft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None) -> Any:
    """The Fourier transform along two axes."""
    return _run("fft2", "fft", a, s, axes, norm)


def ifft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None) -> Any:
    """The inverse of `fft2`."""
    return _run("ifft2", "ifft", a, s, axes, norm)


def rfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None) -> Any:
    """The Fourier transform of a real array along two axes."""
    return _run("rfft2", "rfft", a, s, axes, norm)


def irfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None) -> Any:
    """The inverse of `rfft2`."""
    return _run("irfft2", "irfft", a, s, axes, norm)


_TURNED = {None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"}


def hfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The Fourier transform of a signal with Hermitian symmetry, of which `a` is the first half: real, of length `n`."""
    return irfft(conj(_operand("hfft", a, False)), n=n, axis=axis, norm=_turned("hfft", norm))


def ihfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The inverse of `hfft`: the first half, n // 2 + 1 terms, of the Hermitian signal."""
    return conj(rfft(a, n=n, axis=axis, norm=_turned("ihfft", norm)))


def _turned(name: str, norm: str | None) -> str:
    if norm not in _TURNED:
        raise ShapeError(f"{name}: norm {norm!r}, expected 'backward', 'ortho' or 'forward'.{at(user_source())}")
    return _TURNED[norm]


# --- frequencies and shifts -----------------------------------------------------------------------


def fftfreq(n: int, d: float = 1.0, dtype: Any = None, device: Any = None) -> Any:
    """The frequencies of the terms of `fft`: [0, 1, ..., -2, -1] / (n d), float32 by default."""
    return _frequencies(np.fft.fftfreq, n, d, dtype)


def rfftfreq(n: int, d: float = 1.0, dtype: Any = None, device: Any = None) -> Any:
    """The frequencies of the terms of `rfft`: [0, 1, ..., n // 2] / (n d), float32 by default."""
    return _frequencies(np.fft.rfftfreq, n, d, dtype)


def _frequencies(f: Any, n: int, d: float, dtype: Any) -> Any:
    wanted = dtypes.DEFAULT_FLOAT if dtype is None else dtypes.of(dtype)
    if not dtypes.is_float(wanted):
        raise DTypeError(f"fftfreq: dtype {wanted.name}, expected a real floating-point type.{at(user_source())}")
    if int(n) < 1:
        raise ShapeError(f"fftfreq: n = {n}, expected at least 1.{at(user_source())}")
    return Array(np.asarray(f(int(n), d)).astype(wanted))


def fftshift(x: Any, axes: Any = None) -> Any:
    """`x` rolled along `axes` (all by default) so that the term of frequency 0 is in the middle."""
    return _shifted("fftshift", x, axes, lambda n: n // 2)


def ifftshift(x: Any, axes: Any = None) -> Any:
    """The inverse of `fftshift`."""
    return _shifted("ifftshift", x, axes, lambda n: -(n // 2))


def _shifted(name: str, x: Any, axes: Any, by: Any) -> Any:
    x = asarray(x)
    shape = type_of(x).shape
    chosen = canonical_axes(name, axes if axes is None or isinstance(axes, int) else tuple(axes), len(shape))
    return roll(x, tuple(by(shape[a]) for a in chosen), chosen)


__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "irfft", "irfft2", "irfftn",
    "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip
