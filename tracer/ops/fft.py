"""fft: discrete Fourier transforms over the last axes, forward and inverse, of complex and of real signals.

    fft    y_j = Σ_k x_k exp(-2πi jk / n)           ifft    x_k = 1/n Σ_j y_j exp(2πi jk / n)
    rfft   the first n // 2 + 1 terms of fft of a real x          irfft   the real x whose rfft is y

All four are linear.  The first two are their own transposes (the matrix is symmetric); those of the last two are each other, with
weights: all terms of a real signal's transform but the first (and, for even n, the last) stand for two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import DTypeError, ShapeError
from ..ir import Type, type_of
from ..primitive import Named
from ..trace import bind
from .complex import complex as join
from .complex import conj
from .elementwise import gt, logical_and, lt, mul, scalar_like, select, splat
from .rules import Dims, linear, shape_of, to_front
from .shape import iota

KINDS = ("fft", "ifft", "rfft", "irfft")


def _abstract(x: Type, *, kind: str, lengths: tuple[int, ...]) -> Type:
    if kind not in KINDS:
        raise ShapeError(f"fft: kind {kind!r}, expected one of {', '.join(KINDS)}.")
    wanted = dtypes.PARTS if kind == "rfft" else dtypes.COMPLEX
    if x.dtype not in wanted:
        names = " or ".join(d.name for d in wanted)
        raise DTypeError(f"{kind}: the operand has dtype {x.dtype.name}, expected {names}. Convert with .astype.")
    k = len(lengths)
    half = (*lengths[:-1], lengths[-1] // 2 + 1) if lengths else ()
    given = half if kind == "irfft" else lengths
    if not 1 <= k <= x.ndim or x.shape[x.ndim - k :] != given or min(lengths) < 1:
        raise ShapeError(f"{kind}: an operand of shape {x.shape} for lengths {lengths}: expected it to end in {given}.")
    lead = x.shape[: x.ndim - k]
    match kind:
        case "rfft":
            return Type((*lead, *half), dtypes.complex_of(x.dtype), x.weak)
        case "irfft":
            return Type((*lead, *lengths), dtypes.real_of(x.dtype), x.weak)
        case _:
            return x


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "fft": np.fft.fftn, "ifft": np.fft.ifftn, "rfft": np.fft.rfftn, "irfft": np.fft.irfftn,
}  # fmt: skip


@np.errstate(all="ignore")
def _reference(x: np.ndarray, *, kind: str, lengths: tuple[int, ...]) -> np.ndarray:
    t = _abstract(Type(x.shape, x.dtype), kind=kind, lengths=lengths)
    if x.size == 0:
        return np.zeros(t.shape, t.dtype)
    return np.ascontiguousarray(_FUNCTIONS[kind](x, s=lengths, axes=tuple(range(-len(lengths), 0)))).astype(t.dtype, copy=False)


def _scaled(y: Any, n: int, ends: float, inner: float) -> Any:
    """The terms of a real signal's transform times `ends` for those that stand for one, `inner` for those that stand for two."""
    shape = shape_of(y)
    j = iota(shape, dtypes.int64, len(shape) - 1)
    two = logical_and(gt(j, np.int64(0)), lt(j, np.int64(n - n // 2)))  # 0 < j < n / 2
    real = dtypes.real_of(type_of(y).dtype)
    weight = select(two, np.asarray(inner, real), np.asarray(ends, real))
    return mul(y, join(splat(weight, shape), scalar_like(0, weight)))


def _transpose(ct: Any, x: Any, *, kind: str, lengths: tuple[int, ...]) -> tuple[Any]:
    n, total = lengths[-1], math.prod(lengths)
    match kind:
        case "rfft":
            # Re Σ_j ct_j exp(-iθ) = Re Σ_j conj(ct_j) exp(iθ), and irfft takes the inner terms twice, divided by their number.
            return (fft(_scaled(conj(ct), n, total, total / 2), "irfft", lengths),)
        case "irfft":
            return (_scaled(conj(fft(ct, "rfft", lengths)), n, 1 / total, 2 / total),)
        case _:
            return (fft(ct, kind, lengths),)


def _batch(size: int, xs: Sequence[Any], dims: Dims, **params: Any) -> tuple[Any, int]:
    return bind(fft_p, to_front(size, xs[0], dims[0]), **params), 0


fft_p = linear(
    "fft", abstract=_abstract, reference=_reference, transpose=_transpose, batch=_batch, lowering=Named("host")
)  # fmt: skip


def fft(x: Any, kind: str, lengths: Sequence[int]) -> Any:
    """The transform `kind` ("fft", "ifft", "rfft" or "irfft") over the last axes of `x`, one for each of `lengths`.

    Args:
        x: complex, for "rfft" float32 or float64. Its last axes have the sizes `lengths`; for "irfft" the last one `lengths[-1] // 2 + 1`.

    Raises: ShapeError where the sizes differ, DTypeError for other dtypes.
    """
    return bind(fft_p, x, kind=kind, lengths=tuple(lengths))
