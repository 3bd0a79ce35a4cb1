"""Data types under NumPy's names: their limits, kinds and promotion, and what this namespace offers (`__array_namespace_info__`)."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.array import ArrayBase
from fdl.tracer.errors import DTypeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.records import dataclass

from .promote import as_operand, asarray, check_conversion, check_device, to_dtype
from .scalar_types import ScalarType

# --- limits ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FInfo:
    """The limits of a floating-point dtype; all but `dtype` are Python numbers.

    Attributes:
        bits: its width. nmant, nexp: bits of the mantissa and of the exponent.
        eps: from 1 to the next number. epsneg: from 1 to the one before.
        smallest_normal, tiny: the smallest positive number of full precision; smallest_subnormal: of any.
        precision, resolution: decimal digits that are sure, and 10 to their negative.
    """

    dtype: dtypes.DType
    bits: int
    eps: float
    epsneg: float
    max: float
    min: float
    smallest_normal: float
    smallest_subnormal: float
    nmant: int
    nexp: int
    precision: int
    resolution: float

    @property
    def tiny(self) -> float:
        """`smallest_normal`."""
        return self.smallest_normal


@dataclass(frozen=True, slots=True)
class IInfo:
    """The limits of an integer dtype, as Python ints."""

    dtype: dtypes.DType
    bits: int
    max: int
    min: int


def _dtype_of(x: Any) -> dtypes.DType:
    return x.dtype if isinstance(x, (ArrayBase, np.ndarray, np.generic)) else dtypes.of(x)


def finfo(type: Any, /) -> FInfo:
    """The limits of a floating-point dtype, or of that of an array; of a complex one, those of its parts.

    Raises: DTypeError for a dtype that is not floating-point.

    Example:
        >>> finfo("bf16").max, finfo(float).eps
        (3.38953...e+38, 1.19209...e-07)
    """
    dtype = dtypes.real_of(_dtype_of(type))
    if not dtypes.is_float(dtype):
        raise DTypeError(f"finfo: {dtype.name} is not a floating-point dtype. Use iinfo for integers.{at(user_source())}")
    i: Any = ml_dtypes.finfo(dtype)
    return FInfo(
        dtype=dtype,
        bits=dtypes.bits(dtype),
        eps=float(i.eps),
        epsneg=float(i.epsneg),
        max=float(i.max),
        min=float(i.min),
        smallest_normal=float(i.smallest_normal),
        smallest_subnormal=float(i.smallest_subnormal),
        nmant=int(i.nmant),
        nexp=int(i.nexp),
        precision=int(i.precision),
        resolution=float(i.resolution),
    )


def iinfo(type: Any, /) -> IInfo:
    """The limits of an integer dtype, or of that of an array.

    Raises: DTypeError for a dtype that is no integer.

    Example:
        >>> iinfo("u8").max
        255
    """
    dtype = _dtype_of(type)
    if not dtypes.is_int(dtype):
        raise DTypeError(f"iinfo: {dtype.name} is not an integer dtype. Use finfo for floats.{at(user_source())}")
    i = np.iinfo(dtype)
    return IInfo(dtype, dtypes.bits(dtype), int(i.max), int(i.min))


# --- kinds ----------------------------------------------------------------------------------------

_KINDS: dict[str, tuple[dtypes.DType, ...]] = {
    "bool": (dtypes.bool_,), "signed integer": dtypes.SIGNED, "unsigned integer": dtypes.UNSIGNED,
    "integral": dtypes.SIGNED + dtypes.UNSIGNED, "real floating": dtypes.FLOATS, "complex floating": dtypes.COMPLEX,
    "numeric": dtypes.SIGNED + dtypes.UNSIGNED + dtypes.FLOATS + dtypes.COMPLEX,
}  # fmt: skip


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether `dtype` is of a kind: a dtype, one of the names below, or a tuple of them.

    "bool", "signed integer", "unsigned integer", "integral", "real floating" (bfloat16 and float16 included), "complex floating",
    "numeric".

    Example:
        >>> isdtype("f32", "real floating"), isdtype("i8", ("bool", "unsigned integer"))
        (True, False)
    """
    given = dtypes.of(dtype)
    for k in kind if isinstance(kind, tuple) else (kind,):
        if isinstance(k, str) and k in _KINDS:
            if given in _KINDS[k]:
                return True
        elif _one_dtype(k) == given:
            return True
    return False


def _one_dtype(kind: Any) -> dtypes.DType:
    try:
        return dtypes.of(kind)
    except TypeError:
        names = ", ".join(map(repr, _KINDS))
        raise DTypeError(
            f"isdtype: kind {kind!r} is not known. Expected a dtype or one of {names}.{at(user_source())}"
        ) from None


def issubdtype(arg1: Any, arg2: Any) -> bool:
    """Whether `arg1` lies under `arg2` in NumPy's hierarchy of scalar types, in which bfloat16 counts as floating."""
    given, wanted = (d if isinstance(d, type) and issubclass(d, np.generic) else dtypes.of(d) for d in (arg1, arg2))
    if given == dtypes.bfloat16:
        return wanted == dtypes.bfloat16 or (isinstance(wanted, type) and issubclass(np.floating, wanted))
    return bool(np.issubdtype(given, wanted))


def isscalar(element: Any) -> bool:
    """Whether `element` is a number, or a 0-d array."""
    return isinstance(element, (bool, int, float, complex, np.generic)) or (
        isinstance(element, (ArrayBase, np.ndarray)) and element.ndim == 0
    )


# --- promotion ------------------------------------------------------------------------------------


def result_type(*arrays_and_dtypes: Any) -> dtypes.DType:
    """The dtype that operands promote to: arrays, dtypes, and Python scalars, which adapt to the others.

    Example:
        >>> result_type("i8", "u8"), result_type("f16", 2.5), result_type("i32", 2.5)
        (dtype('int16'), dtype('float16'), dtype('float32'))
    """
    if not arrays_and_dtypes:
        raise DTypeError(f"result_type: needs at least one array or dtype.{at(user_source())}")
    return dtypes.promote(*[_node(x) for x in arrays_and_dtypes])[0]


def _node(x: Any) -> tuple[dtypes.DType, bool]:
    if isinstance(x, (str, np.dtype, ScalarType, type)):
        return dtypes.of(x), isinstance(x, type) and x in (int, float, complex)  # dtype("int64") == int
    t = type_of(as_operand(x, "result_type: an operand"))
    return t.dtype, t.weak


def promote_types(a: Any, b: Any) -> dtypes.DType:
    """The dtype that two dtypes promote to."""
    return dtypes.promote((dtypes.of(a), False), (dtypes.of(b), False))[0]


def can_cast(from_: Any, to: Any, casting: Any = "safe") -> bool:
    """Whether every value of the dtype `from_` (or of an array of it) can be converted to `to` with its kind and range kept.

    `casting` is NumPy's: "no", "equiv", "safe", "same_kind" or "unsafe".
    """
    return bool(np.can_cast(_dtype_of(from_), dtypes.of(to), casting))


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """`x` converted to `dtype`: float to integer truncates and saturates (NaN to 0), integers wrap, what is not 0 is true.

    Raises: DTypeError from complex to real numbers.

    Example:
        >>> astype([1.7, -300.0, float("nan")], "i8").tolist()
        [1, -128, 0]
    """
    check_device("astype", device)
    x = as_operand(x, "astype: x")
    check_conversion("astype", type_of(x).dtype, dtypes.of(dtype))
    y = asarray(to_dtype(x, dtypes.of(dtype)))
    return asarray(y, copy=True) if copy and y is x else y


# --- the namespace --------------------------------------------------------------------------------

# What the array API standard names: bfloat16 and float16 are beyond it.
_STANDARD = {
    "bool": dtypes.bool_, "int8": dtypes.int8, "int16": dtypes.int16, "int32": dtypes.int32, "int64": dtypes.int64,
    "uint8": dtypes.uint8, "uint16": dtypes.uint16, "uint32": dtypes.uint32, "uint64": dtypes.uint64,
    "float32": dtypes.float32, "float64": dtypes.float64, "complex64": dtypes.complex64, "complex128": dtypes.complex128,
}  # fmt: skip


class NamespaceInfo:
    """What `fdl.numpy` offers, as the array API standard asks for it."""

    __module__ = "fdl.numpy"

    def capabilities(self) -> dict[str, Any]:
        """Boolean indexing and data-dependent shapes (outside `jit`), and the largest number of axes."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        """The device of new arrays."""
        return "cpu"

    def devices(self) -> list[str]:
        """The devices there are."""
        return ["cpu"]

    def default_dtypes(self, *, device: Any = None) -> dict[str, dtypes.DType]:
        """The dtypes of Python's numbers, and of indices."""
        check_device("default_dtypes", device)
        return {
            "real floating": dtypes.DEFAULT_FLOAT,
            "complex floating": dtypes.DEFAULT_COMPLEX,
            "integral": dtypes.DEFAULT_INT,
            "indexing": dtypes.DEFAULT_INT,
        }

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, dtypes.DType]:
        """The standard's dtypes by name: all, or those of a kind, as `isdtype` takes it."""
        check_device("dtypes", device)
        return {name: d for name, d in _STANDARD.items() if kind is None or isdtype(d, kind)}


def __array_namespace_info__() -> NamespaceInfo:
    """What this namespace offers: capabilities, devices and dtypes."""
    return NamespaceInfo()


__all__ = [
    "__array_namespace_info__", "astype", "can_cast", "finfo", "iinfo", "isdtype", "isscalar", "issubdtype", "promote_types", "result_type",
]  # fmt: skip
