"""The dtypes under their names, which are callable too: `float32` names a dtype, and `float32(3)` is an array of it.

A `ScalarType` stands wherever a dtype does: it equals the `numpy.dtype` that it names, has its hash, and NumPy and fdl take it as a
`dtype=`.  What arrays have as `x.dtype` are plain `numpy.dtype`s.
"""

from __future__ import annotations

from typing import Any

from fdl.tracer import dtypes

from .promote import asarray, check_range


class ScalarType:
    """A dtype's name: `t.dtype` is the dtype, `t(x)` the array of the numbers `x` in it, 0-d for a number.

    Raises: from a call, OverflowError for a Python integer that the dtype does not hold; DTypeError for what holds no numbers, and from
    complex to real.

    Example:
        >>> import fdl.numpy as fnp
        >>> fnp.float32(3), fnp.zeros(2, fnp.int8).dtype, fnp.zeros(2, fnp.int8).dtype == fnp.int8
        (Array(3., dtype=float32), dtype('int8'), True)
    """

    __slots__ = ("dtype",)
    dtype: dtypes.DType

    def __init__(self, dtype: dtypes.DType) -> None:
        object.__setattr__(self, "dtype", dtype)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{self!r} is immutable: cannot set {name}")

    def __call__(self, x: Any, /) -> Any:
        check_range(self.name, x, self.dtype)
        return asarray(x, dtype=self.dtype)

    @property
    def __numpy_dtype__(self) -> dtypes.DType:
        """What NumPy, from 2.4, takes this for; before that it asks for `dtype`."""
        return self.dtype

    @property
    def name(self) -> str:
        """The dtype's name, such as "float32"."""
        return self.dtype.name

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self.dtype.itemsize

    @property
    def kind(self) -> str:
        """NumPy's letter of the dtype's kind."""
        return self.dtype.kind

    @property
    def type(self) -> Any:
        """NumPy's scalar type of the dtype."""
        return self.dtype.type

    def __eq__(self, other: object) -> bool:
        if other is None:  # which NumPy's dtypes take for float64
            return False
        return bool(self.dtype == (other.dtype if isinstance(other, ScalarType) else other))

    def __hash__(self) -> int:
        return hash(self.dtype)

    def __repr__(self) -> str:
        return f"fdl.numpy.{self.name}"

    __str__ = __repr__

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return _named, (self.name,)


bool_ = ScalarType(dtypes.bool_)
int8, int16, int32, int64 = (ScalarType(d) for d in dtypes.SIGNED)
uint8, uint16, uint32, uint64 = (ScalarType(d) for d in dtypes.UNSIGNED)
float16, bfloat16, float32, float64 = (ScalarType(d) for d in dtypes.FLOATS)
complex64, complex128 = (ScalarType(d) for d in dtypes.COMPLEX)

_ALL = {
    t.name: t
    for t in (
        bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float16, bfloat16, float32, float64, complex64, complex128,
    )
}  # fmt: skip


def _named(name: str) -> ScalarType:
    return _ALL[name]


__all__ = [
    "bfloat16", "bool_", "complex64", "complex128", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16",
    "uint32", "uint64",
]  # fmt: skip
