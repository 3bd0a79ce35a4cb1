"""Complex numbers and their parts: `real`, `imag`, `conj`, and `complex`, which joins two parts.

All four are elementwise and linear over the reals (`conj`, `real` and `imag` are not over the complex numbers).  A cotangent of
a complex value pairs with a tangent by the real part of their product, without a conjugate: ⟨ct, t⟩ = Re(ct · t).  So the transpose
of a multiplication by a complex constant is that multiplication itself, `grad(lambda z: real(z) ** 2)(1 + 2j)` is 2, and the gradient
of a real function f(x + iy) is ∂f/∂x - i ∂f/∂y (the conjugate of the direction of steepest ascent), as it is in JAX.

Compiled code has no complex type: `passes.complex` turns a program on complex numbers into one on their parts.

May be imported by: everything after `ops.elementwise`.
"""

from __future__ import annotations

import builtins
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import DTypeError, ShapeError
from ..ir import Type, type_of
from ..primitive import Elementwise, Primitive, Undefined, Zero, lookup
from ..scalars import join_parts
from ..trace import bind
from . import elementwise as e
from .elementwise import batch_elementwise, neg, splat, sum_to

# --- parts of a complex number --------------------------------------------------------------------


def _complex_only(name: str, x: Type) -> None:
    if not dtypes.is_complex(x.dtype):
        raise DTypeError(
            f"{name}: the operand has dtype {x.dtype.name}, expected complex64 or complex128. Convert with .astype."
        )


def _part_abstract(name: str, x: Type) -> Type:
    _complex_only(name, x)
    return Type(x.shape, dtypes.real_of(x.dtype), x.weak)


def _conj_abstract(x: Type) -> Type:
    _complex_only("conj", x)
    return x


def _unary(
    name: str, abstract: Callable[[Type], Type], reference: Callable[[np.ndarray], Any], transpose: Callable[..., tuple[Any]]
) -> tuple[Primitive, Callable[[Any], Any]]:
    """An elementwise primitive of one operand that is its own derivative, and the function that binds it."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
        y = bind(prim, *primals)
        return y, Zero(type_of(y)) if isinstance(tangents[0], Zero) else bind(prim, *tangents)

    prim = Primitive(
        name,
        abstract=abstract,
        reference=lambda x: np.array(reference(x)),
        jvp=jvp,
        transpose=transpose,
        batch=lambda size, xs, axes: (bind(prim, *xs), axes[0]),
        lowering=Elementwise(name),
    )
    prim.source = __file__

    def function(x: Any) -> Any:
        return bind(prim, x)

    function.__name__ = function.__qualname__ = name
    return prim, function


def _zero(x: Any) -> np.ndarray:
    return np.zeros((), type_of(x).dtype)


# Re(ct · Re z) = Re((ct + 0i) z);  Re(ct · Im z) = Re((-i ct) z);  Re(ct · conj z) = Re(conj(ct) z).
real_p, real = _unary(
    "real", functools.partial(_part_abstract, "real"), lambda x: x.real, lambda ct, x: (complex(ct, _zero(ct)),)
)
imag_p, imag = _unary(
    "imag", functools.partial(_part_abstract, "imag"), lambda x: x.imag, lambda ct, x: (complex(_zero(ct), neg(ct)),)
)
conj_p, conj = _unary("conj", _conj_abstract, np.conj, lambda ct, x: (bind(lookup("conj"), ct),))
real.__doc__ = "The real part of a complex array, elementwise: float32 of complex64, float64 of complex128."
imag.__doc__ = "The imaginary part of a complex array, elementwise: float32 of complex64, float64 of complex128."
conj.__doc__ = "The complex conjugate of a complex array, elementwise."

# --- a complex number of two parts ----------------------------------------------------------------


def _complex_abstract(re: Type, im: Type) -> Type:
    if re.dtype not in dtypes.PARTS or im.dtype != re.dtype:
        raise DTypeError(
            f"complex: the parts have dtypes {re.dtype.name} and {im.dtype.name}, expected float32 or float64, the same for both. "
            "Convert with .astype."
        )
    if re.shape != im.shape and () not in (re.shape, im.shape):
        raise ShapeError(f"complex: the parts have shapes {re.shape} and {im.shape}, expected one shape, or 0-d.")
    return Type(re.shape or im.shape, dtypes.complex_of(re.dtype), re.weak and im.weak)


def _complex_reference(re: np.ndarray, im: np.ndarray) -> np.ndarray:
    # Not re + 1j * im: that turns an infinite part into a NaN, and -0 into 0.
    return join_parts(re, im, dtypes.complex_of(re.dtype))


def _complex_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    z = complex(*primals)
    if builtins.all(isinstance(t, Zero) for t in tangents):
        return z, Zero(type_of(z))
    # A part that does not move is one zero, which goes with every element.
    parts = [np.zeros((), t.type.dtype) if isinstance(t, Zero) else t for t in tangents]
    return z, splat(complex(*parts), type_of(z).shape)


def _complex_transpose(ct: Any, re: Any, im: Any) -> tuple[Any, Any]:
    # Re(ct (re + i im)) = Re(ct) re - Im(ct) im.
    return (
        sum_to(real(ct), re.type) if isinstance(re, Undefined) else None,
        sum_to(neg(imag(ct)), im.type) if isinstance(im, Undefined) else None,
    )


complex_p = Primitive(
    "complex",
    abstract=_complex_abstract,
    reference=_complex_reference,
    jvp=_complex_jvp,
    transpose=_complex_transpose,
    batch=lambda size, xs, axes: batch_elementwise(lookup("complex"), size, xs, axes),
    lowering=Elementwise("complex"),
)


def complex(re: Any, im: Any) -> Any:
    """The complex numbers with real parts `re` and imaginary parts `im`: float arrays of one dtype and one shape (or 0-d)."""
    return bind(complex_p, re, im)


# --- helpers of the rules above this layer --------------------------------------------------------


def real_of(x: Any) -> Any:
    """The real part of `x`, which may be real already."""
    return real(x) if dtypes.is_complex(type_of(x).dtype) else x


def conj_of(x: Any) -> Any:
    """The conjugate of `x`: itself where it is real."""
    return conj(x) if dtypes.is_complex(type_of(x).dtype) else x


def exp2(x: Any) -> Any:
    """2 to the power `x`, elementwise: of a complex `x`, the exponential of x log 2."""
    if not dtypes.is_complex(type_of(x).dtype):
        return e.exp2(x)
    # Part by part: a product of complex numbers would make a NaN of an infinite part times the scale's imaginary 0.
    re, im = real(x), imag(x)
    scale = e.scalar_like(np.log(2.0), re)
    return e.exp(complex(e.mul(re, scale), e.mul(im, scale)))


__all__ = ["complex", "complex_p", "conj", "conj_of", "conj_p", "exp2", "imag", "imag_p", "real", "real_of", "real_p"]
