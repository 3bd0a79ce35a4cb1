"""Data types: the names fdl uses, and one promotion lattice with weak Python scalars.

A dtype is a `numpy.dtype`.  bfloat16 comes from `ml_dtypes`.  A Python scalar is *weak*: it takes part in promotion
by its kind only, so `x * 2.0` keeps the dtype of a float `x`.

The lattice (an edge means "promotes to"; `i*`, `f*`, `c*` are the weak Python int, float, complex)::

    b1 → i* → u1 → u2 → u4 → u8 ──→ f*
          └→ i1 → i2 → i4 → i8 ──→ f*      u1→i2, u2→i4, u4→i8
    f* → bf → f4 → f8,  f* → f2 → f4,  f* → c* → c8 → c16,  f4 → c8, f8 → c16

The result of a promotion is the least upper bound (the same lattice as JAX's, so that its users need no table).

May be imported by: everything.
"""

from __future__ import annotations

import functools
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np

from .errors import at, user_source

DType: TypeAlias = "np.dtype[Any]"

bool_ = np.dtype(np.bool_)
int8, int16, int32, int64 = (np.dtype(f"int{n}") for n in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (np.dtype(f"uint{n}") for n in (8, 16, 32, 64))
float16, float32, float64 = (np.dtype(f"float{n}") for n in (16, 32, 64))
bfloat16: DType = np.dtype(ml_dtypes.bfloat16)
complex64, complex128 = np.dtype(np.complex64), np.dtype(np.complex128)

SHORT: dict[DType, str] = {
    bool_: "bool", int8: "i8", int16: "i16", int32: "i32", int64: "i64",
    uint8: "u8", uint16: "u16", uint32: "u32", uint64: "u64",
    float16: "f16", bfloat16: "bf16", float32: "f32", float64: "f64",
    complex64: "c64", complex128: "c128",
}  # fmt: skip
"""dtype → the short name used in the text of both IRs."""

FROM_SHORT: dict[str, DType] = {short: dtype for dtype, short in SHORT.items()}
ALL = tuple(SHORT)
FLOATS = (float16, bfloat16, float32, float64)
SIGNED = (int8, int16, int32, int64)
UNSIGNED = (uint8, uint16, uint32, uint64)
COMPLEX = (complex64, complex128)
PARTS = (float32, float64)
"""The dtypes of a complex number's parts."""

DEFAULT_INT, DEFAULT_FLOAT, DEFAULT_COMPLEX = int32, float32, complex64


def is_float(dtype: DType) -> bool:
    """Whether `dtype` is a real floating-point type (bfloat16 included)."""
    return dtype in FLOATS


def is_int(dtype: DType) -> bool:
    """Whether `dtype` is a signed or unsigned integer type."""
    return dtype.kind in "iu"


def is_signed(dtype: DType) -> bool:
    """Whether `dtype` is a signed integer type."""
    return dtype.kind == "i"


def is_complex(dtype: DType) -> bool:
    """Whether `dtype` is a complex type."""
    return dtype.kind == "c"


def is_inexact(dtype: DType) -> bool:
    """Whether `dtype` is floating-point or complex: the types that have derivatives."""
    return is_float(dtype) or is_complex(dtype)


def is_supported(dtype: DType) -> bool:
    """Whether fdl has arrays of `dtype`."""
    return dtype in SHORT


def bits(dtype: DType) -> int:
    """Width in bits; 8 for bool, which is stored in a byte."""
    return dtype.itemsize * 8


def of(spec: Any) -> DType:
    """The dtype that `spec` names: a dtype, a scalar type, a Python type, or a name such as "f32" or "bfloat16".

    Python's `bool`, `int`, `float` and `complex` mean bool, int32, float32 and complex64.

    Raises: TypeError for what fdl has no arrays of.

    Example:
        >>> of("bf16"), of(float), of("float64")
        (dtype(bfloat16), dtype('float32'), dtype('float64'))
    """
    if isinstance(spec, type) and spec in _PYTHON:
        return _PYTHON[spec]
    if isinstance(spec, str) and spec in FROM_SHORT:
        return FROM_SHORT[spec]
    if isinstance(spec, str) and spec == "bfloat16":
        return bfloat16
    try:
        dtype: DType = np.dtype(spec).newbyteorder("=")
    except TypeError:
        raise TypeError(f"not a data type: {spec!r}. Expected one of {_names()}.{at(user_source())}") from None
    if dtype not in SHORT:
        raise TypeError(f"fdl has no arrays of dtype {dtype}. Expected one of {_names()}.{at(user_source())}")
    return dtype


def _names() -> str:
    return ", ".join(d.name for d in ALL)


_PYTHON: dict[type, DType] = {bool: bool_, int: DEFAULT_INT, float: DEFAULT_FLOAT, complex: DEFAULT_COMPLEX}

# A node of the lattice is a dtype, or one of these for a weak Python scalar.
_INT, _FLOAT, _COMPLEX = "i*", "f*", "c*"
_EDGES: dict[Any, tuple[Any, ...]] = {
    bool_: (_INT,),
    _INT: (uint8, int8),
    uint8: (int16, uint16), uint16: (int32, uint32), uint32: (int64, uint64), uint64: (_FLOAT,),
    int8: (int16,), int16: (int32,), int32: (int64,), int64: (_FLOAT,),
    _FLOAT: (bfloat16, float16, _COMPLEX),
    bfloat16: (float32,), float16: (float32,), float32: (float64, complex64), float64: (complex128,),
    _COMPLEX: (complex64,), complex64: (complex128,), complex128: (),
}  # fmt: skip


@functools.cache
def _above(node: Any) -> frozenset[Any]:
    """`node` and everything it promotes to."""
    return frozenset({node}).union(*(_above(n) for n in _EDGES[node]))


def _node(dtype: DType, weak: bool) -> Any:
    if not weak or dtype == bool_:
        return dtype
    return _COMPLEX if is_complex(dtype) else _FLOAT if is_float(dtype) else _INT


_WEAK = {_INT: DEFAULT_INT, _FLOAT: DEFAULT_FLOAT, _COMPLEX: DEFAULT_COMPLEX}


@functools.cache
def promote(*operands: tuple[DType, bool]) -> tuple[DType, bool]:
    """The (dtype, weak) of an operation on operands of the given (dtype, weak).

    When every operand is weak, the result is weak, and has the widest of their dtypes within the resulting kind.

    Example:
        >>> promote((int32, False), (float32, True))
        (dtype('float32'), True)
        >>> promote((float16, False), (float32, True))
        (dtype('float16'), False)
    """
    if len({d for d, _ in operands}) == 1:
        return operands[0][0], all(w for _, w in operands)
    nodes = [_node(d, w) for d, w in operands]
    common = frozenset.intersection(*(_above(n) for n in nodes))
    least = [n for n in common if common <= _above(n)]
    if len(least) != 1:
        raise TypeError(f"no common dtype for {', '.join(d.name for d, _ in operands)}")
    node = least[0]
    if isinstance(node, str):
        same = [d for d, w in operands if _node(d, True) == node]
        return (max(same, key=bits) if same else _WEAK[node]), True
    return node, False


def real_of(dtype: DType) -> DType:
    """The dtype of a complex type's parts; `dtype` itself when it is real."""
    return {complex64: float32, complex128: float64}.get(dtype, dtype)


def complex_of(dtype: DType) -> DType:
    """The complex dtype whose parts are of `dtype`, float32 or float64; `dtype` itself when it is complex.

    Raises: TypeError for any other dtype.
    """
    found: dict[DType, DType] = {float32: complex64, float64: complex128, complex64: complex64, complex128: complex128}
    if dtype not in found:
        raise TypeError(f"no complex dtype has parts of dtype {dtype.name}")
    return found[dtype]


def scalar_type(value: object) -> tuple[DType, bool] | None:
    """The (dtype, weak) of a scalar, or None when `value` is none. NumPy scalars are strong, Python ones weak.

    A Python int that needs more than 32 bits is int64 (uint64 above its range), still weak.
    """
    if isinstance(value, np.generic):
        return (value.dtype, False) if value.dtype in SHORT else None
    match value:
        case bool():
            return bool_, False
        case int():
            if -(2**31) <= value < 2**31:
                return int32, True
            if -(2**63) <= value < 2**63:
                return int64, True
            if value < 2**64:
                return uint64, True
            raise OverflowError(
                f"the Python integer {value} does not fit in 64 bits. Make it a float, or keep it out of arrays.{at(user_source())}"
            )
        case float():
            return float32, True
        case complex():
            return complex64, True
        case _:
            return None
