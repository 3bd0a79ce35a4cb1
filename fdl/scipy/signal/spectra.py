"""Spectra of segments of a signal: power (Welch's method), cross power, and the short-time Fourier transform with its inverse.

P. Welch, "The use of fast Fourier transform for the estimation of power spectra" (1967). The conventions are SciPy's: windows are
periodic, and a one-sided spectrum counts the frequencies between the first and the last twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.numpy.complexes import conj
from fdl.numpy.promote import canonical_axis, promote_operands
from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of

from .filtering import detrend as without_trend

# Of cosines, by their weights: Σ_j (-1)^j a_j cos(2π j n / N).
_COSINES = {
    "boxcar": (1.0,), "hann": (0.5, 0.5), "hamming": (0.54, 0.46), "blackman": (0.42, 0.5, 0.08),
    "nuttall": (0.3635819, 0.4891775, 0.1365995, 0.0106411), "blackmanharris": (0.35875, 0.48829, 0.14128, 0.01168),
}  # fmt: skip


def _window(name: str, window: Any, nperseg: int | None, n: int) -> tuple[Any, int]:
    """The window as an array or ndarray, and its size: `nperseg`, at most n, or the size of a window that is given as an array."""
    if not isinstance(window, str):
        w = fnp.asarray(window)
        given = type_of(w).shape
        if len(given) != 1 or given[0] > n or nperseg not in (None, given[0]):
            raise ShapeError(
                f"{name}: a window of shape {given} for nperseg={nperseg} and a signal of {n}: expected a vector of nperseg elements."
                f"{at(user_source())}"
            )
        return w, given[0]
    if window not in _COSINES:
        raise ShapeError(f"{name}: window={window!r}: expected an array, or one of {', '.join(_COSINES)}.{at(user_source())}")
    size = min(256 if nperseg is None else nperseg, n)
    if size < 1:
        raise ShapeError(f"{name}: nperseg={nperseg}, and a signal of {n}: expected at least 1.{at(user_source())}")
    angle = 2 * np.pi * np.arange(size) / size
    return sum((-1) ** j * a * np.cos(j * angle) for j, a in enumerate(_COSINES[window])), size


def _sizes(name: str, nperseg: int, noverlap: int | None, nfft: int | None) -> tuple[int, int]:
    overlap, points = nperseg // 2 if noverlap is None else noverlap, nperseg if nfft is None else nfft
    if not 0 <= overlap < nperseg or points < nperseg:
        raise ShapeError(
            f"{name}: noverlap={overlap}, nfft={points} for segments of {nperseg}: expected less than that, and at least that."
            f"{at(user_source())}"
        )
    return overlap, points


def _segments(x: Any, nperseg: int, step: int, trend: Any) -> Any:
    """(..., segments, nperseg), each without its trend."""
    count = (type_of(x).shape[-1] - nperseg) // step + 1
    places = np.arange(count, dtype=np.int32)[:, None] * step + np.arange(nperseg, dtype=np.int32)
    parts = fnp.take(x, places, axis=-1)
    if trend is False or trend is None:
        return parts
    return trend(parts) if callable(trend) else without_trend(parts, -1, trend)


def _transformed(segments: Any, window: Any, nfft: int, onesided: bool) -> Any:
    dtype = dtypes.real_of(type_of(segments).dtype)
    return (fnp.fft.rfft if onesided else fnp.fft.fft)(fnp.multiply(segments, fnp.astype(fnp.asarray(window), dtype)), nfft)


def _frequencies(nfft: int, fs: Any, onesided: bool) -> Any:
    k = np.arange(nfft // 2 + 1) if onesided else np.fft.fftfreq(nfft, 1 / nfft)
    return fnp.multiply(fnp.asarray(k.astype(np.float32) / nfft), fs)


def _complex_inputs(*xs: Any) -> bool:
    return any(dtypes.is_complex(type_of(x).dtype) for x in xs)


# --- power ----------------------------------------------------------------------------------------


def csd(
    x: Any,
    y: Any,
    fs: Any = 1.0,
    window: Any = "hann",
    nperseg: int | None = None,
    noverlap: int | None = None,
    nfft: int | None = None,
    detrend: Any = "constant",
    return_onesided: bool = True,
    scaling: str = "density",
    axis: int = -1,
    average: str = "mean",
) -> tuple[Any, Any]:
    """(frequencies, cross power spectrum) of two signals along `axis`, averaged over segments that overlap. None for `y` means `x`.

    Args:
        fs: the sampling frequency.
        window: "hann", "hamming", "blackman", "nuttall", "blackmanharris", "boxcar", or an array.
        nperseg: the size of a segment, 256 by default, and at most that of the signal.
        noverlap: how far segments overlap, half by default.
        nfft: the size of the transforms, nperseg by default.
        detrend: "constant", "linear", False, or a function of (..., nperseg): what each segment is freed from.
        return_onesided: whether to leave out the negative frequencies of real signals.
        scaling: "density" (power per frequency) or "spectrum" (power).
        average: "mean", or the unbiased "median".

    Raises: ShapeError where parameters do not fit.
    """
    name = "csd"
    if scaling not in ("density", "spectrum") or average not in ("mean", "median"):
        raise ShapeError(
            f"{name}: scaling={scaling!r}, average={average!r}: expected 'density' or 'spectrum', and 'mean' or 'median'."
            f"{at(user_source())}"
        )
    same = y is None or y is x
    a, b = promote_operands(name, x, x if same else y, broadcast=False, inexact=True)
    a, b = (fnp.moveaxis(v, canonical_axis(name, axis, type_of(v).ndim), -1) for v in (a, b))
    size = max(type_of(a).shape[-1], type_of(b).shape[-1])
    a, b = (_filled(v, size) for v in (a, b))
    w, nperseg = _window(name, window, nperseg, size)
    overlap, points = _sizes(name, nperseg, noverlap, nfft)
    onesided = return_onesided and not _complex_inputs(a, b)
    step = nperseg - overlap
    first = _transformed(_segments(a, nperseg, step, detrend), w, points, onesided)
    second = first if same else _transformed(_segments(b, nperseg, step, detrend), w, points, onesided)
    power = fnp.multiply(conj(first), second)
    total = fnp.sum(fnp.square(w)) if scaling == "density" else fnp.square(fnp.sum(w))
    scale = fnp.divide(1, fnp.multiply(total, fs) if scaling == "density" else total)
    power = fnp.multiply(power, fnp.astype(scale, dtypes.real_of(type_of(power).dtype)))
    if onesided:
        twice = np.full(points // 2 + 1, 2.0)
        twice[0] = 1
        if points % 2 == 0:
            twice[-1] = 1
        power = fnp.multiply(power, twice.astype(dtypes.real_of(type_of(power).dtype)))
    power = fnp.real(power) if same else power
    power = _averaged(power, average)  # over the segments: (..., frequencies)
    return _frequencies(points, fs, onesided), fnp.moveaxis(power, -1, axis)


def _filled(x: Any, size: int) -> Any:
    n = type_of(x).shape[-1]
    return x if n == size else fnp.pad(x, [(0, 0)] * (type_of(x).ndim - 1) + [(0, size - n)])


def _averaged(power: Any, average: str) -> Any:
    if average == "mean":
        return fnp.mean(power, -2)
    # The median of exponentially distributed power is lower than the mean by this factor (B. Allen et al., 2012, appendix B).
    n = type_of(power).shape[-2]
    bias = 1 + sum(1 / (k + 1) - 1 / k for k in range(2, n, 2))
    if dtypes.is_complex(type_of(power).dtype):
        middle = fnp.add(fnp.median(fnp.real(power), -2), fnp.multiply(fnp.median(fnp.imag(power), -2), 1j))
    else:
        middle = fnp.median(power, -2)
    return fnp.divide(middle, bias)


def welch(
    x: Any,
    fs: Any = 1.0,
    window: Any = "hann",
    nperseg: int | None = None,
    noverlap: int | None = None,
    nfft: int | None = None,
    detrend: Any = "constant",
    return_onesided: bool = True,
    scaling: str = "density",
    axis: int = -1,
    average: str = "mean",
) -> tuple[Any, Any]:
    """(frequencies, power spectrum) of a signal along `axis`, averaged over segments that overlap. The arguments are those of `csd`.

    Example:
        >>> f, power = welch(np.sin(np.arange(64) * np.pi / 4), nperseg=16)
        >>> float(f[power.argmax()])  # one turn in eight samples
        0.125
    """
    return csd(x, None, fs, window, nperseg, noverlap, nfft, detrend, return_onesided, scaling, axis, average)


# --- the short-time Fourier transform -------------------------------------------------------------

_MARGINS = {"zeros": "constant", "constant": "edge", "even": "reflect", "odd": "reflect"}


def stft(
    x: Any,
    fs: Any = 1.0,
    window: Any = "hann",
    nperseg: int | None = 256,
    noverlap: int | None = None,
    nfft: int | None = None,
    detrend: Any = False,
    return_onesided: bool = True,
    boundary: str | None = "zeros",
    padded: bool = True,
    axis: int = -1,
) -> tuple[Any, Any, Any]:
    """(frequencies, times, transforms (..., frequencies, times)) of segments of a signal along `axis`.

    Args:
        boundary: what half a segment at either end is filled with: "zeros", "constant" (the end), "even" or "odd" (the mirror
            image), or None.
        padded: whether to add zeros, so that whole segments reach the end.

    The other arguments are those of `csd`. `istft` inverts it.
    """
    name = "stft"
    if boundary is not None and boundary not in _MARGINS:
        raise ShapeError(f"{name}: boundary={boundary!r}: expected one of {', '.join(_MARGINS)} or None.{at(user_source())}")
    (x,) = promote_operands(name, x, inexact=True)
    k = canonical_axis(name, axis, type_of(x).ndim)
    x = fnp.moveaxis(x, k, -1)
    w, size = _window(name, window, nperseg, type_of(x).shape[-1])
    overlap, points = _sizes(name, size, noverlap, nfft)
    step, lead = size - overlap, [(0, 0)] * (type_of(x).ndim - 1)
    if boundary is not None:
        options = {"reflect_type": "odd"} if boundary == "odd" else {}
        x = fnp.pad(x, [*lead, (size // 2, size // 2)], _MARGINS[boundary], **options)
    if padded:
        x = fnp.pad(x, [*lead, (0, -(type_of(x).shape[-1] - size) % step)])
    onesided = return_onesided and not _complex_inputs(x)
    y = _transformed(_segments(x, size, step, detrend), w, points, onesided)
    y = fnp.divide(y, fnp.astype(fnp.abs(fnp.sum(w)), dtypes.real_of(type_of(y).dtype)))
    times = np.arange(type_of(y).shape[-2]) * step + (0 if boundary is not None else size / 2)
    y = fnp.moveaxis(fnp.swapaxes(y, -1, -2), -2, k)
    return _frequencies(points, fs, onesided), fnp.divide(fnp.asarray(times.astype(np.float32)), fs), y


def istft(
    Zxx: Any,
    fs: Any = 1.0,
    window: Any = "hann",
    nperseg: int | None = None,
    noverlap: int | None = None,
    nfft: int | None = None,
    input_onesided: bool = True,
    boundary: bool = True,
    time_axis: int = -1,
    freq_axis: int = -2,
) -> tuple[Any, Any]:
    """(times, signal) of which `stft` with the same arguments gives `Zxx`: overlapping segments are added, and the windows divided out.

    Args:
        input_onesided: whether `Zxx` has no negative frequencies: the signal is real.
        boundary: whether half a segment at either end is left out again.
        time_axis, freq_axis: which axes of `Zxx` are those of time and frequency.

    Source: D. Griffin and J. Lim, "Signal estimation from modified short-time Fourier transform" (1984).

    Example:
        >>> x = np.arange(32.0)
        >>> _, _, z = stft(x, nperseg=8)
        >>> np.allclose(np.asarray(istft(z, nperseg=8)[1]), x)
        True
    """
    name = "istft"
    z = fnp.asarray(Zxx)
    ndim = type_of(z).ndim
    t, f = canonical_axis(name, time_axis, ndim), canonical_axis(name, freq_axis, ndim)
    if t == f or ndim < 2:
        raise ShapeError(
            f"{name}: time_axis={time_axis} and freq_axis={freq_axis} of {type_of(z)}: expected two axes.{at(user_source())}"
        )
    z = fnp.moveaxis(z, (t, f), (-2, -1))  # (..., segments, frequencies)
    count, frequencies = type_of(z).shape[-2:]
    implied = 2 * (frequencies - 1) if input_onesided else frequencies
    points = implied if nfft is None else nfft
    w, size = _window(name, window, points if nperseg is None and isinstance(window, str) else nperseg, points)
    overlap, points = _sizes(name, size, noverlap, points)
    step = size - overlap
    parts = (fnp.fft.irfft if input_onesided else fnp.fft.ifft)(z, points)[..., :size]
    real = dtypes.real_of(type_of(parts).dtype)
    w = fnp.astype(fnp.asarray(w), real)
    total = (count - 1) * step + size
    places = (np.arange(count)[:, None] * step + np.arange(size)).astype(np.int32)
    lead = type_of(parts).shape[:-2]
    scaled = fnp.multiply(parts, fnp.multiply(w, fnp.sum(w)))
    x = fnp.zeros((*lead, total), type_of(parts).dtype).at[..., places].add(scaled)
    weight = fnp.zeros(total, real).at[places].add(fnp.broadcast_to(fnp.square(w), (count, size)))
    x = fnp.divide(x, fnp.where(fnp.greater(weight, 1e-10), weight, 1))
    if boundary:
        x = x[..., size // 2 : total - size // 2]
    times = np.arange(type_of(x).shape[-1], dtype=np.float32)
    return fnp.divide(fnp.asarray(times), fs), fnp.moveaxis(x, -1, min(t, f))
