"""Arithmetic on a vector of floats and on its bits: the vocabulary that the mathematical functions are written in.

`Lanes` fixes a floating-point format (float or double) and a number of lanes; its methods write one instruction each
and return the result's operand text.  Integer methods work on integers of the same width, lane by lane.

Contraction: `mad` is a fused multiply-add where the CPU has one.  Only the mathematical functions use it; the user's
own `a * b + c` is two instructions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from fdl.tracer import dtypes
from fdl.tracer.dtypes import DType

from .text import Code, branch, float_literal, splat_literal, vec

Integer: TypeAlias = int
"""Python's int: `Lanes.int` hides the name."""


def coefficients(text: str) -> tuple[float, ...]:
    """The numbers of a polynomial, lowest power first, from hexadecimal literals with spaces between."""
    return tuple(float.fromhex(word) for word in text.split())


class Lanes:
    """`lanes` floats of `dtype` (float32 or float64) in the function that `code` writes."""

    def __init__(self, code: Code, dtype: DType, lanes: int) -> None:
        assert dtype in (dtypes.float32, dtypes.float64), dtype
        self.code = code
        self.dtype = dtype
        self.lanes = lanes
        self.single: Final = dtype == dtypes.float32
        self.width: Final = 32 if self.single else 64
        self.mantissa: Final = 23 if self.single else 52
        self.bias: Final = 127 if self.single else 1023
        self.element: Final = "float" if self.single else "double"
        self.integer: Final = "i32" if self.single else "i64"
        self.type: Final = vec(self.element, lanes)
        self.bits_type: Final = vec(self.integer, lanes)
        self.bool_type: Final = vec("i1", lanes)
        self.sign_bit: Final = 1 << (self.width - 1)

    def as_dtype(self, dtype: DType) -> Lanes:
        """The same number of lanes of another format."""
        return Lanes(self.code, dtype, self.lanes)

    # --- constants --------------------------------------------------------------------------------

    def const(self, value: float) -> str:
        """`value`, rounded to the format, in every lane."""
        return splat_literal(self.element, float_literal(value, self.element), self.lanes)

    def int(self, value: Integer) -> str:
        """An integer (taken modulo 2**width) in every lane."""
        value &= (1 << self.width) - 1
        return splat_literal(self.integer, str(value - ((value & self.sign_bit) << 1)), self.lanes)

    # --- floats -----------------------------------------------------------------------------------

    def _two(self, op: str, a: str, b: str) -> str:
        return self.code.pure(f"{op} {self.type} {a}, {b}", a, b)

    def add(self, a: str, b: str) -> str:
        return self._two("fadd", a, b)

    def sub(self, a: str, b: str) -> str:
        return self._two("fsub", a, b)

    def mul(self, a: str, b: str) -> str:
        return self._two("fmul", a, b)

    def div(self, a: str, b: str) -> str:
        return self._two("fdiv", a, b)

    def neg(self, a: str) -> str:
        return self.code.pure(f"fneg {self.type} {a}", a)

    def abs(self, a: str) -> str:
        return self.code.intrinsic("fabs", self.element, self.lanes, a)

    def sqrt(self, a: str) -> str:
        return self.code.intrinsic("sqrt", self.element, self.lanes, a)

    def copysign(self, magnitude: str, sign: str) -> str:
        return self.code.intrinsic("copysign", self.element, self.lanes, magnitude, sign)

    def mad(self, a: str, b: str, c: str) -> str:
        """a * b + c, with one rounding where the CPU has a fused multiply-add."""
        if self.code.target.fma:
            return self.code.intrinsic("fma", self.element, self.lanes, a, b, c)
        return self.add(self.mul(a, b), c)

    def poly(self, x: str, coefficients: Sequence[float]) -> str:
        """The polynomial c[0] + c[1] x + c[2] x**2 + ... by Horner's rule."""
        result = self.const(coefficients[-1])
        for c in reversed(coefficients[:-1]):
            result = self.mad(result, x, self.const(c))
        return result

    def cmp(self, predicate: str, a: str, b: str) -> str:
        """The comparison ("olt", "oeq", "uno", ...) as i1 lanes."""
        return self.code.pure(f"fcmp {predicate} {self.type} {a}, {b}", a, b)

    def isnan(self, a: str) -> str:
        return self.cmp("uno", a, a)

    def select(self, condition: str, a: str, b: str) -> str:
        return self.code.pure(f"select {self.bool_type} {condition}, {self.type} {a}, {self.type} {b}", condition, a, b)

    def min(self, a: str, b: str) -> str:
        """The smaller; `b` where either is NaN (one instruction on x86)."""
        return self.select(self.cmp("olt", a, b), a, b)

    def max(self, a: str, b: str) -> str:
        """The larger; `b` where either is NaN (one instruction on x86)."""
        return self.select(self.cmp("ogt", a, b), a, b)

    def nearest(self, a: str) -> str:
        """`a` rounded to an integer (ties to even), for |a| < 2**(mantissa - 1): two additions on every CPU."""
        magic = self.const(1.5 * 2.0**self.mantissa)
        return self.sub(self.add(a, magic), magic)

    # --- bits -------------------------------------------------------------------------------------

    def bits(self, a: str) -> str:
        """The float's bits as an integer."""
        return self.code.pure(f"bitcast {self.type} {a} to {self.bits_type}", a)

    def float(self, a: str) -> str:
        """The float with these bits."""
        return self.code.pure(f"bitcast {self.bits_type} {a} to {self.type}", a)

    def to_int(self, a: str) -> str:
        """The integer of a float that is one, and is in range."""
        return self.code.pure(f"fptosi {self.type} {a} to {self.bits_type}", a)

    def from_int(self, a: str) -> str:
        """The signed integer as a float."""
        return self.code.pure(f"sitofp {self.bits_type} {a} to {self.type}", a)

    def _int(self, op: str, a: str, b: str) -> str:
        return self.code.pure(f"{op} {self.bits_type} {a}, {b}", a, b)

    def iadd(self, a: str, b: str) -> str:
        return self._int("add", a, b)

    def isub(self, a: str, b: str) -> str:
        return self._int("sub", a, b)

    def imul(self, a: str, b: str) -> str:
        return self._int("mul", a, b)

    def iand(self, a: str, b: str) -> str:
        return self._int("and", a, b)

    def ior(self, a: str, b: str) -> str:
        return self._int("or", a, b)

    def ixor(self, a: str, b: str) -> str:
        return self._int("xor", a, b)

    def shl(self, a: str, n: Integer) -> str:
        return self._int("shl", a, self.int(n))

    def lshr(self, a: str, n: Integer) -> str:
        return self._int("lshr", a, self.int(n))

    def ashr(self, a: str, n: Integer) -> str:
        return self._int("ashr", a, self.int(n))

    def icmp(self, predicate: str, a: str, b: str) -> str:
        return self.code.pure(f"icmp {predicate} {self.bits_type} {a}, {b}", a, b)

    def iselect(self, condition: str, a: str, b: str) -> str:
        kind = self.bits_type
        return self.code.pure(f"select {self.bool_type} {condition}, {kind} {a}, {kind} {b}", condition, a, b)

    # --- conditions -------------------------------------------------------------------------------

    def both(self, a: str, b: str) -> str:
        return self.code.pure(f"and {self.bool_type} {a}, {b}", a, b)

    def either(self, a: str, b: str) -> str:
        return self.code.pure(f"or {self.bool_type} {a}, {b}", a, b)

    def where_any(self, condition: str, common: str, rare: Callable[[], str]) -> str:
        """`rare()` if the condition holds in some lane, else `common`: a jump over what is seldom needed.

        `rare` gives a float for every lane.
        """
        code = self.code
        some, done = code.label("rare"), code.label("common")
        before = code.block
        with code.scope(branch(code.any_lane(condition, self.lanes), some, done), pinned=True):
            code.start(some)
            value = rare()
            after = code.block
            code.go(done)
        code.start(done)
        return code.emit(f"phi {self.type} [ {common}, %{before} ], [ {value}, %{after} ]")

    def negate(self, a: str) -> str:
        ones = splat_literal("i1", "true", self.lanes)
        return self.code.pure(f"xor {self.bool_type} {a}, {ones}", a)
