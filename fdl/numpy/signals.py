"""Sequences: `convolve`, `correlate`, `interp`, and the windows of spectral analysis."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import convolve as conv
from fdl.tracer.ops import elementwise as e
from fdl.tracer.ops import index as ix
from fdl.tracer.ops import shape as s
from fdl.tracer.trace import Tracer

from .complexes import conj
from .promote import as_operand, asarray, broadcast_to, promote_operands, to_dtype
from .searching import searchsorted
from .sorting import argsort
from .special import i0
from .static import is_nan, known, one_axis, pick, scalar
from .ufuncs import add, divide, multiply, remainder, sqrt, subtract


def _sequences(name: str, a: Any, v: Any, mode: str, preferred: Any) -> tuple[Any, Any]:
    if mode not in ("full", "same", "valid"):
        raise ShapeError(f"{name}: mode {mode!r}: expected 'full', 'same' or 'valid'.{at(user_source())}")
    a, v = promote_operands(name, a, v, broadcast=False)
    if preferred is not None:
        a, v = (to_dtype(x, dtypes.of(preferred)) for x in (a, v))
    a, v = (s.reshape(x, (1,)) if type_of(x).ndim == 0 else one_axis(name, "an operand", x) for x in (a, v))
    if type_of(a).size == 0 or type_of(v).size == 0:
        raise ShapeError(
            f"{name}: sequences of {type_of(a).size} and {type_of(v).size} elements: neither may be empty.{at(user_source())}"
        )
    return a, v


def _slide(a: Any, v: Any, low: int, high: int) -> Any:
    """Σ_k a[i + k - low] v[k], with zeros outside `a`."""
    dtype = type_of(a).dtype
    if dtype == dtypes.bool_:
        counts = _slide(to_dtype(a, dtypes.int32), to_dtype(v, dtypes.int32), low, high)
        return e.ne(counts, scalar(counts, 0))
    n, m = type_of(a).size, type_of(v).size
    one = (1,)
    y = conv.conv(
        s.reshape(a, (1, n, 1)),
        s.reshape(v, (m, 1, 1)),
        strides=one,
        padding=((low, high),),
        lhs_dilation=one,
        rhs_dilation=one,
    )
    return s.reshape(y, (type_of(y).size,))


def convolve(a: Any, v: Any, mode: str = "full", *, precision: Any = None, preferred_element_type: Any = None) -> Any:
    """The convolution of two sequences: Σ_k a[k] v[n - k].

    Args:
        mode: "full": all n + m - 1 places where they overlap; "same": the max(n, m) in their middle; "valid": those where one
            lies within the other.

    Example:
        >>> convolve(np.array([1.0, 2.0]), np.array([1.0, 10.0])).tolist()
        [1.0, 12.0, 20.0]
    """
    a, v = _sequences("convolve", a, v, mode, preferred_element_type)
    if type_of(v).size > type_of(a).size:
        a, v = v, a
    m = type_of(v).size
    low, high = {"full": (m - 1, m - 1), "same": (m // 2, m - 1 - m // 2), "valid": (0, 0)}[mode]
    return _slide(a, s.flip(v, (0,)), low, high)


def correlate(a: Any, v: Any, mode: str = "valid", *, precision: Any = None, preferred_element_type: Any = None) -> Any:
    """The cross-correlation of two sequences: Σ_n a[n + k] conj(v[n]). `mode`: as in `convolve`.

    Example:
        >>> correlate(np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0]), "full").tolist()
        [1.0, 2.0, 3.0, 0.0]
    """
    a, v = _sequences("correlate", a, v, mode, preferred_element_type)
    if dtypes.is_complex(type_of(v).dtype):
        v = conj(v)
    swapped = type_of(v).size > type_of(a).size
    if swapped:
        a, v = v, a
    m = type_of(v).size
    low, high = {"full": (m - 1, m - 1), "same": (m // 2, m - 1 - m // 2), "valid": (0, 0)}[mode]
    y = _slide(a, v, low, high)
    return s.flip(y, (0,)) if swapped else y


def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """The piecewise linear function through the points (xp, fp), at `x`.

    Args:
        xp: ascending (in any order, with `period`).
        left, right: the values before the first and after the last point: by default those of the points; "extrapolate" goes on
            along the end's line.
        period: the function repeats after it; `left` and `right` are then not used.

    The derivative at a point is that of the piece to its right.

    Example:
        >>> interp(np.array([0.5, 9.0]), np.array([0.0, 1.0]), np.array([10.0, 20.0])).tolist()
        [15.0, 20.0]
    """
    xp, fp = one_axis("interp", "xp", xp), one_axis("interp", "fp", fp)
    if type_of(xp).shape != type_of(fp).shape or type_of(xp).size == 0:
        raise ShapeError(
            f"interp: xp has {type_of(xp).size} points, fp {type_of(fp).size}: expected as many, at least one.{at(user_source())}"
        )
    x, xp = promote_operands("interp", x, xp, broadcast=False, inexact=True)
    (fp,) = promote_operands("interp", fp, inexact=True)
    if not dtypes.is_complex(type_of(fp).dtype):
        x, xp, fp = promote_operands("interp", x, xp, fp, broadcast=False)
    if period is not None:
        value = known(as_operand(period))
        if value is not None and value == 0:
            raise ShapeError(f"interp: the period must not be 0.{at(user_source())}")
        x, xp, fp = _periodic(x, xp, fp, period)
        left = right = None
    n = type_of(xp).size
    first, last = (s.reshape(s.slice_axis(fp, 0, k, k + 1), ()) for k in (0, n - 1))
    t = type_of(x)
    if n == 1:
        y: Any = e.splat(first, t.shape)
        dy = None
    else:
        above = searchsorted(xp, x, "right")
        above = e.min(e.max(above, scalar(above, 1)), scalar(above, n - 1))
        below = e.sub(above, scalar(above, 1))
        x0, x1, f0, f1 = (_at(p, k) for p, k in ((xp, below), (xp, above), (fp, below), (fp, above)))
        width = e.sub(x1, x0)
        flat = e.eq(width, scalar(width, 0))
        step = divide(e.sub(x, x0), e.select(flat, scalar(width, 1), width))
        y = pick(flat, f1, add(f0, multiply(step, subtract(f1, f0))))
        dy = y
    ends = [s.reshape(s.slice_axis(xp, 0, k, k + 1), ()) for k in (0, n - 1)]
    for side, at_end, value, outside in ((left, ends[0], first, e.lt), (right, ends[1], last, e.gt)):
        if isinstance(side, str):
            if side != "extrapolate":
                raise ShapeError(f"interp: left or right is {side!r}: expected a number or 'extrapolate'.{at(user_source())}")
            if dy is not None:
                continue
        new = value if side is None or isinstance(side, str) else as_operand(side)
        y = pick(outside(x, at_end), to_dtype(new, type_of(y).dtype), y)
    # At the last point the formula may miss by a rounding.
    y = pick(e.eq(x, ends[1]), last, y)
    return asarray(pick(is_nan(x), np.asarray(np.nan, type_of(y).dtype), y))


def _at(points: Any, k: Any) -> Any:
    t = type_of(k)
    return ix.gather(points, s.reshape(k, (*t.shape, 1)), axes=(0,), mode="clip")


def _periodic(x: Any, xp: Any, fp: Any, period: Any) -> tuple[Any, Any, Any]:
    period = e.abs(to_dtype(as_operand(period), type_of(x).dtype))
    x, xp = remainder(x, period), remainder(xp, period)
    order = argsort(xp)
    xp, fp = _at(xp, order), _at(fp, order)
    n = type_of(xp).size
    edge = [s.slice_axis(xp, 0, n - 1, n), s.slice_axis(xp, 0, 0, 1)]
    wide = [e.sub(edge[0], period), xp, e.add(edge[1], period)]
    return x, s.concatenate(wide, 0), s.concatenate([s.slice_axis(fp, 0, n - 1, n), fp, s.slice_axis(fp, 0, 0, 1)], 0)


# --- windows --------------------------------------------------------------------------------------


def _window(values: np.ndarray) -> Any:
    return asarray(values.astype(dtypes.DEFAULT_FLOAT))


def bartlett(M: int) -> Any:
    """The Bartlett window of M points: a triangle that is 0 at both ends."""
    return _window(np.bartlett(M))


def blackman(M: int) -> Any:
    """The Blackman window of M points: 0.42 - 0.5 cos(2πn/(M - 1)) + 0.08 cos(4πn/(M - 1))."""
    return _window(np.blackman(M))


def hamming(M: int) -> Any:
    """The Hamming window of M points: 0.54 - 0.46 cos(2πn/(M - 1))."""
    return _window(np.hamming(M))


def hanning(M: int) -> Any:
    """The Hann window of M points: 0.5 - 0.5 cos(2πn/(M - 1))."""
    return _window(np.hanning(M))


def kaiser(M: int, beta: Any) -> Any:
    """The Kaiser window of M points: I₀(β √(1 - (2n/(M - 1) - 1)²)) / I₀(β)."""
    value = known(as_operand(beta, "kaiser: beta"))
    if value is not None and not isinstance(beta, Tracer):
        return _window(np.kaiser(M, float(value)))
    if M == 1:
        return asarray(np.ones(1, dtypes.DEFAULT_FLOAT))
    (beta,) = promote_operands("kaiser", beta, inexact=True)
    half = (M - 1) / 2.0
    inside = 1.0 - ((np.arange(M) - half) / half) ** 2 if M > 1 else np.zeros(M)
    z = multiply(broadcast_to(beta, (M,)), sqrt(np.maximum(inside, 0.0).astype(type_of(beta).dtype)))
    return divide(i0(z), i0(beta))


__all__ = ["bartlett", "blackman", "convolve", "correlate", "hamming", "hanning", "interp", "kaiser"]
