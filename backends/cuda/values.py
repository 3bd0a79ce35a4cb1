"""Values of the loop IR as Python source.

`Values.value` writes an expression of exactly the representation of its dtype (see `scalars`).  `Values.index` writes an int64
expression in 32 bits where its bounds allow, and `Values.element` the position of an element in a flat buffer.

May import: the loop IR, `scalars`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Literal

from fdl.backends.loops.build import Interval, bounds
from fdl.backends.loops.ir import INDEX, Buffer, Const, Load, Op, Value, Var
from fdl.tracer import dtypes
from fdl.tracer.records import dataclass

from . import scalars

LIMIT = 2**31
"""int32 holds what is below."""

DEEP = 400
"""The length of an expression from which on the nesting of its parentheses matters."""

_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


@dataclass(frozen=True, slots=True)
class Code:
    """An index expression. `raw`: an expression of int32 values, none of whose parts leaves int32; else it is an np.int64.

    Numba computes a raw expression in 64 bits and LLVM, seeing the cast of `narrow` around it, in 32.
    `form`: "sum" has no parentheses around it, "int32" is of that type as it stands.
    """

    text: str
    raw: bool
    form: Literal["", "sum", "int32"] = ""

    @property
    def narrow(self) -> str:
        """The expression as an np.int32; the caller knows that it fits."""
        return self.text if self.form == "int32" else f"np.int32({self.text})"

    @property
    def factor(self) -> str:
        """The source as an operand of any operator."""
        return f"({self.text})" if self.form == "sum" else self.text

    @property
    def wide(self) -> str:
        """The expression as an np.int64."""
        return f"np.int64({self.text})" if self.raw else self.text


@dataclass(slots=True)
class Values:
    """Writes values.

    `variable(var)` gives the source of a variable, `load(buffer, position)` that of an element's value, and `hold(text)` the
    name of a new variable for a long expression: Python's parser takes no more than 200 parentheses inside each other.
    """

    known: Mapping[Var, Interval]
    variable: Callable[[Var], str]
    load: Callable[[Buffer, str], str]
    hold: Callable[[str], str]

    def fits(self, value: Value) -> bool:
        """Whether an index expression fits in int32."""
        low, high = bounds(value, self.known)
        return -LIMIT <= low and high < LIMIT

    def value(self, value: Value) -> str:
        """The source of `value`, in the representation of its dtype."""
        match value:
            case Const():
                return scalars.constant(value.value, value.dtype)
            case Load():
                return self.load(value.buffer, self.element(value.buffer, value.index))
            case Var() | Op() if value.dtype == INDEX:
                return self.index(value).wide
            case Var():
                return self.variable(value)
            case Op():
                text = self._operation(value)
                return self.hold(text) if len(text) > DEEP and nesting(text) > DEEP // 8 else text

    def _operation(self, op: Op) -> str:
        operand = op.args[-1].dtype
        if operand == INDEX and all(self.fits(a) for a in op.args):
            if op.name in _COMPARE:
                return f"({self._small(op.args[0])} {_COMPARE[op.name]} {self._small(op.args[1])})"
            if op.name == "convert":
                return scalars.expression("convert", [self.index(op.args[0]).narrow], dtypes.int32, op.dtype)
        return scalars.expression(op.name, [self.value(a) for a in op.args], operand, op.dtype)

    def _small(self, value: Value) -> str:
        code = self.index(value)
        return code.factor if code.raw else code.narrow

    def index(self, value: Value) -> Code:
        """The source of an int64 expression."""
        small = self.fits(value)
        match value:
            case Const():
                return Code(str(value.value), True) if small else Code(scalars.constant(value.value, INDEX), False)
            case Var():
                return Code(self.variable(value), small, "int32" if small else "")
            case Load():
                return Code(self.value(value), False)
        if small and value.name in ("add", "sub", "mul", "max", "min", "div", "rem", "neg") and all(map(self.fits, value.args)):
            code = self._arithmetic(value)
            if code is not None:
                return code
        if value.name == "convert" and value.args[0].dtype != INDEX:
            inner = value.args[0]
            if inner.dtype.kind in "bi" or (inner.dtype.kind == "u" and inner.dtype.itemsize < 4):
                return Code(scalars.cast(dtypes.int32, self.value(inner)), True, "int32")
        if value.name == "select" and all(map(self.fits, value.args[1:])):
            yes, no = (self.index(a).narrow for a in value.args[1:])
            return Code(f"({yes} if {self.value(value.args[0])} else {no})", True, "int32")
        operand = value.args[-1].dtype
        return Code(scalars.expression(value.name, [self.value(a) for a in value.args], operand, INDEX), False)

    def _arithmetic(self, op: Op) -> Code | None:
        """An operation on values that fit in int32, as its result does; None for a division of what may be negative."""
        codes = [self.index(a) for a in op.args]
        factors = [c.factor if c.raw else c.narrow for c in codes]
        match op.name:
            case "add" | "sub":
                first, second = (c.text if c.raw else c.narrow for c in codes)
                return Code(f"{first} + {second}" if op.name == "add" else f"{first} - {factors[1]}", True, "sum")
            case "mul":
                return Code(f"{factors[0]} * {factors[1]}", True)
            case "neg":
                return Code(f"(-{factors[0]})", True)
            case "max" | "min":
                return Code(f"{op.name}_i32({codes[0].narrow}, {codes[1].narrow})", True, "int32")
        # Unsigned: Python's signed division rounds down, which costs a correction.
        low, divisor = bounds(op.args[0], self.known)[0], bounds(op.args[1], self.known)[0]
        if low < 0 or divisor <= 0:
            return None
        sign = "//" if op.name == "div" else "%"
        return Code(f"np.int32(np.uint32({codes[0].text}) {sign} np.uint32({codes[1].text}))", True, "int32")

    def element(self, buffer: Buffer, index: tuple[Value, ...]) -> str:
        """The position in the flat `buffer` of the element at `index`, an np.int32 where the buffer's size permits."""
        assert len(index) == len(buffer.shape), f"{buffer.name}: {len(index)} indices for shape {buffer.shape}"
        small = buffer.size < LIMIT
        terms: list[str] = []
        constant = 0
        for value, stride in zip(index, buffer.strides, strict=True):
            if isinstance(value, Const):
                constant += int(value.value) * stride
                continue
            code = self.index(value)
            # An index is in bounds, so it fits where the buffer does, whatever its own bounds are.
            text = (code.factor if stride > 1 else code.text) if small and code.raw else code.narrow if small else code.wide
            terms.append(text if stride == 1 else f"{text} * {stride}" if small else f"{text} * np.int64({stride})")
        if constant or not terms:
            terms.append(str(constant) if small else f"np.int64({constant})")
        text = " + ".join(terms)
        if not small:
            return text
        return text if text.isidentifier() else f"np.int32({text})"


def nesting(text: str) -> int:
    """How many parentheses are inside each other in `text`, at most."""
    return max(itertools.accumulate((c == "(") - (c == ")") for c in text), default=0)
