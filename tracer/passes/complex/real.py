"""Real values with operators, so that the formulas of this package read as they are printed in their sources.

`Real` wraps a value of a program that is being recorded (or a 0-d constant).  A Python number beside it takes its dtype.  What is
computed from constants alone by exact operations is a constant: a division by a complex literal costs no division.

May be imported by: the files of this package.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import dtypes
from ...ir import Type, type_of
from ...ops import elementwise as e
from ...primitive import lookup
from ...records import dataclass
from ...scalars import SCALARS
from ...trace import bind


class Real:
    """A real array with Python's operators; comparisons give a bool one, which has `&`, `|` and `~`."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    @property
    def dtype(self) -> dtypes.DType:
        return type_of(self.value).dtype

    def __add__(self, other: Any) -> Real:
        return _apply("add", self, other)

    def __sub__(self, other: Any) -> Real:
        return _apply("sub", self, other)

    def __rsub__(self, other: Any) -> Real:
        return _apply("sub", constant(other, self), self)

    def __mul__(self, other: Any) -> Real:
        return _apply("mul", self, other)

    def __truediv__(self, other: Any) -> Real:
        return _apply("div", self, other)

    def __rtruediv__(self, other: Any) -> Real:
        return _apply("div", constant(other, self), self)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Real:
        return _apply("neg", self)

    def __abs__(self) -> Real:
        return _apply("abs", self)

    def __lt__(self, other: Any) -> Real:
        return _apply("lt", self, other)

    def __gt__(self, other: Any) -> Real:
        return _apply("gt", self, other)

    def __le__(self, other: Any) -> Real:
        return _apply("le", self, other)

    def __ge__(self, other: Any) -> Real:
        return _apply("ge", self, other)

    def equals(self, other: Any) -> Real:
        """Whether the elements are equal."""
        return _apply("eq", self, other)

    def differs(self, other: Any) -> Real:
        """Whether the elements differ."""
        return _apply("ne", self, other)

    def __and__(self, other: Any) -> Real:
        return _apply("and", self, other)

    def __or__(self, other: Any) -> Real:
        return _apply("or", self, other)

    def __invert__(self) -> Real:
        return _apply("not", self)

    def to(self, dtype: dtypes.DType) -> Real:
        """The value converted to `dtype`."""
        if self.dtype == dtype:
            return self
        if isinstance(self.value, np.ndarray):
            return Real(SCALARS["convert"].impl(self.value, dtype=dtype))
        return Real(e.convert(self.value, dtype))

    def bits(self, dtype: dtypes.DType) -> Real:
        """The bits read as `dtype`, of the same width."""
        if isinstance(self.value, np.ndarray):
            return Real(self.value.view(dtype))
        return Real(e.bitcast(self.value, dtype))


def constant(x: Any, like: Real) -> Real:
    """`x` itself, or a Python number as a 0-d constant of the dtype of `like`."""
    return x if isinstance(x, Real) else Real(np.asarray(x, like.dtype))


def _apply(name: str, *operands: Any) -> Real:
    values = [constant(x, operands[0]).value for x in operands]
    scalar = SCALARS[name]
    if scalar.exact and all(isinstance(x, np.ndarray) for x in values):
        dtype = scalar.result_dtype(values[-1].dtype)
        assert dtype is not None, name
        return Real(scalar.impl(*values, dtype=dtype))
    return Real(bind(lookup(name), *values))


def where(condition: Real, on_true: Any, on_false: Any) -> Real:
    """`on_true` where the condition holds, else `on_false`; one of them is a `Real`."""
    like = on_true if isinstance(on_true, Real) else on_false
    return _apply("select", condition, constant(on_true, like), constant(on_false, like))


def larger(x: Real, y: Real) -> Real:
    """The larger of two; NaN where one is."""
    return _apply("max", x, y)


def smaller(x: Real, y: Real) -> Real:
    """The smaller of two; NaN where one is."""
    return _apply("min", x, y)


def _function(name: str) -> Callable[..., Real]:
    def function(*xs: Real) -> Real:
        return _apply(name, *xs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{name}` of each element."
    return function


sqrt, exp, expm1, log, log1p, sin, cos, tan, atan, asinh, atan2, sinh, is_finite = (
    _function(n)
    for n in ("sqrt", "exp", "expm1", "log", "log1p", "sin", "cos", "tan", "atan", "asinh", "atan2", "sinh", "is_finite")
)


def is_infinite(x: Real) -> Real:
    """Whether the elements are +inf or -inf."""
    return abs(x).equals(np.inf)


def is_nan(x: Real) -> Real:
    """Whether the elements are NaN."""
    return x.differs(x)


_BITS: dict[dtypes.DType, tuple[dtypes.DType, int]] = {
    dtypes.float32: (dtypes.uint32, 1 << 31),
    dtypes.float64: (dtypes.uint64, 1 << 63),
}


def copysign(x: Any, sign: Real) -> Real:
    """|x| with the sign of `sign`, which may be a zero or a NaN."""
    word, top = _BITS[sign.dtype]
    size = constant(x, sign).bits(word) & Real(np.asarray(top - 1, word))
    return (size | (sign.bits(word) & Real(np.asarray(top, word)))).bits(sign.dtype)


@dataclass(frozen=True, slots=True)
class Pair:
    """A complex value by its parts.  A part may be 0-d where the value is not: it is the same for every element."""

    re: Real
    im: Real
    type: Type

    @property
    def dtype(self) -> dtypes.DType:
        """The dtype of the parts."""
        return dtypes.real_of(self.type.dtype)

    def to(self, dtype: dtypes.DType) -> Pair:
        """The pair with parts of `dtype`."""
        return Pair(self.re.to(dtype), self.im.to(dtype), Type(self.type.shape, dtypes.complex_of(dtype), self.type.weak))

    def full(self) -> tuple[Any, Any]:
        """The values of the parts, both in the shape of the pair."""
        return e.splat(self.re.value, self.type.shape), e.splat(self.im.value, self.type.shape)


Parts = tuple[Real, Real]
"""A formula's result: the real and the imaginary part."""
