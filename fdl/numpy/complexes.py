"""Complex numbers under NumPy's names: their parts, conjugates and angles, and tests of what is complex."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.ir import type_of
from fdl.tracer.ops import complex as c
from fdl.tracer.ops import elementwise as e

from .promote import asarray, promote_operands


def _is_complex(x: Any) -> bool:
    return dtypes.is_complex(type_of(x).dtype)


def real(x: Any) -> Any:
    """The real part of `x`, elementwise; `x` itself where it is real.

    Example:
        >>> import fdl.numpy as fnp
        >>> fnp.real([1 + 2j, 3j]).tolist()
        [1.0, 0.0]
    """
    (x,) = promote_operands("real", x)
    return asarray(c.real_of(x))


def imag(x: Any) -> Any:
    """The imaginary part of `x`, elementwise; zeros where `x` is real.

    Example:
        >>> import fdl.numpy as fnp
        >>> fnp.imag([1 + 2j, 3j]).tolist()
        [2.0, 3.0]
    """
    (x,) = promote_operands("imag", x)
    return c.imag(x) if _is_complex(x) else asarray(e.splat(e.scalar_like(0, x), type_of(x).shape))


def conj(x: Any) -> Any:
    """The complex conjugate of `x`, elementwise; `x` itself where it is real.

    Example:
        >>> import fdl.numpy as fnp
        >>> fnp.conj([1 + 2j]).tolist()
        [(1-2j)]
    """
    (x,) = promote_operands("conj", x)
    return asarray(c.conj_of(x))


conjugate = conj


def angle(z: Any, deg: bool = False) -> Any:
    """The angle of `z` in the complex plane, elementwise, in (-π, π]; with `deg`, in degrees. π where a real `z` is negative.

    Example:
        >>> import fdl.numpy as fnp
        >>> fnp.angle([1j, -2.0 + 0j], deg=True).tolist()
        [90.0, 180.0]
    """
    (z,) = promote_operands("angle", z, inexact=True)
    re = c.real_of(z)
    im = c.imag(z) if _is_complex(z) else e.scalar_like(0, z)
    a = e.atan2(im, re)
    return e.mul(a, e.scalar_like(180 / np.pi, a)) if deg else a


def iscomplex(x: Any) -> Any:
    """Whether the imaginary part is not zero, elementwise."""
    im = imag(x)
    return e.ne(im, e.scalar_like(0, im))


def isreal(x: Any) -> Any:
    """Whether the imaginary part is zero, elementwise."""
    im = imag(x)
    return e.eq(im, e.scalar_like(0, im))


def iscomplexobj(x: Any) -> bool:
    """Whether `x` has a complex dtype, whatever its values; what is no array and no number has none."""
    if isinstance(x, (list, tuple)):
        return any(iscomplexobj(v) for v in x)
    return isinstance(x, complex) or getattr(getattr(x, "dtype", None), "kind", "") == "c"


def isrealobj(x: Any) -> bool:
    """Whether `x` has a dtype that is not complex, whatever its values."""
    return not iscomplexobj(x)


def real_if_close(x: Any, tol: float = 100) -> Any:
    """The real part of `x` when every imaginary part is close to zero, else `x`: the dtype depends on the values.

    Args:
        x: an array whose values are known: not one that is being traced.
        tol: how close, in machine epsilons of the dtype; at most 1, an absolute bound.

    Raises: ConcretizationError for a traced complex array.

    Example:
        >>> import fdl.numpy as fnp
        >>> fnp.real_if_close([2 + 1e-9j]).tolist()
        [2.0]
    """
    (x,) = promote_operands("real_if_close", x)
    if not _is_complex(x):
        return x
    parts = c.imag(x)
    bound = tol * float(np.finfo(type_of(parts).dtype).eps) if tol > 1 else tol
    return c.real(x) if bool((np.abs(np.asarray(parts)) < bound).all()) else x


__all__ = ["angle", "conj", "conjugate", "imag", "iscomplex", "iscomplexobj", "isreal", "isrealobj", "real", "real_if_close"]
