"""Integer and bool operations: wrapping arithmetic, defined division, shifts and powers, in scalar and vector form.

LLVM leaves division by zero, INT_MIN / -1 and long shifts undefined (and x86 raises SIGFPE on the first two), so these are
guarded by selects.  No x86 CPU divides vectors of integers: types up to 32 bits are divided in floating point, exactly.
"""

from __future__ import annotations

from fdl.tracer import dtypes
from fdl.tracer.dtypes import DType

from .text import Code, branch, jump, splat_literal, vec


class Ints:
    """`lanes` integers (or bools, as i1) of `dtype` in the function that `code` writes."""

    def __init__(self, code: Code, dtype: DType, lanes: int) -> None:
        self.code = code
        self.dtype = dtype
        self.lanes = lanes
        self.width = 1 if dtype == dtypes.bool_ else dtypes.bits(dtype)
        self.signed = dtypes.is_signed(dtype)
        self.element = f"i{self.width}"
        self.type = vec(self.element, lanes)
        self.bool_type = vec("i1", lanes)

    def const(self, value: int) -> str:
        """`value` modulo 2**width in every lane."""
        value &= (1 << self.width) - 1
        if self.width > 1 and value >> (self.width - 1):
            value -= 1 << self.width
        return splat_literal(self.element, str(value), self.lanes)

    def two(self, op: str, a: str, b: str) -> str:
        return self.code.pure(f"{op} {self.type} {a}, {b}", a, b)

    def cmp(self, predicate: str, a: str, b: str) -> str:
        """A comparison: "eq", "ne", or "lt" and its kin, of the type's own signedness, or with "s" or "u" in front."""
        if predicate in ("lt", "le", "gt", "ge"):
            predicate = ("s" if self.signed else "u") + predicate
        return self.code.pure(f"icmp {predicate} {self.type} {a}, {b}", a, b)

    def select(self, condition: str, a: str, b: str) -> str:
        kind = self.type
        return self.code.pure(f"select {self.bool_type} {condition}, {kind} {a}, {kind} {b}", condition, a, b)

    def either(self, a: str, b: str) -> str:
        return self.code.pure(f"or {self.bool_type} {a}, {b}", a, b)

    def both(self, a: str, b: str) -> str:
        return self.code.pure(f"and {self.bool_type} {a}, {b}", a, b)

    def neg(self, a: str) -> str:
        return self.two("sub", self.const(0), a)

    def invert(self, a: str) -> str:
        return self.two("xor", a, self.const(-1))

    def maximum(self, a: str, b: str) -> str:
        return self.select(self.cmp("gt", a, b), a, b)

    def minimum(self, a: str, b: str) -> str:
        return self.select(self.cmp("lt", a, b), a, b)


def literal_value(operand: str) -> int | None:
    """The integer that a constant operand holds in every lane, or None."""
    text = operand.removeprefix("splat (").removesuffix(")").rpartition(" ")[2]
    return int(text) if text.lstrip("-").isdigit() else None


def absolute(n: Ints, x: str) -> str:
    """|x|; INT_MIN stays itself."""
    return n.select(n.cmp("lt", x, n.const(0)), n.neg(x), x) if n.signed else x


def sign(n: Ints, x: str) -> str:
    """-1, 0 or 1."""
    nonzero = n.select(n.cmp("ne", x, n.const(0)), n.const(1), n.const(0))
    return n.select(n.cmp("lt", x, n.const(0)), n.const(-1), nonzero) if n.signed else nonzero


def divide(n: Ints, x: str, y: str) -> str:
    """The quotient, truncated; 0 for y = 0, and INT_MIN / -1 wraps."""
    op = "sdiv" if n.signed else "udiv"
    known = literal_value(y)
    if known == 0:
        return n.const(0)
    if known is not None and known != -1:
        return n.two(op, x, y)
    zero = n.cmp("eq", y, n.const(0))
    special, instead = zero, n.const(0)
    if n.signed:
        special = n.either(zero, n.cmp("eq", y, n.const(-1)))
        instead = n.select(zero, instead, n.neg(x))
    divisor = n.select(special, n.const(1), y)
    return n.select(special, instead, _quotient(n, x, divisor))


def remainder(n: Ints, x: str, y: str) -> str:
    """The remainder, with the sign of `x`; `x` for y = 0, and 0 for y = -1."""
    op = "srem" if n.signed else "urem"
    known = literal_value(y)
    if known == 0:
        return x
    if known is not None and known != -1:
        return n.two(op, x, y)
    zero = n.cmp("eq", y, n.const(0))
    special = n.either(zero, n.cmp("eq", y, n.const(-1))) if n.signed else zero
    divisor = n.select(special, n.const(1), y)
    rest = n.two("sub", x, n.two("mul", _quotient(n, x, divisor), divisor))
    return n.select(zero, x, rest)


def _quotient(n: Ints, x: str, y: str) -> str:
    """x / y truncated, where that is defined."""
    op = "sdiv" if n.signed else "udiv"
    if n.lanes == 1 or n.width == 64:
        return n.two(op, x, y)
    # A quotient of w-bit integers that is not an integer is at least 2**-w from the next one, relatively 2**-2w: never
    # rounded up to it where the mantissa has w + 1 bits and the quotient's own rounding is below 1/y.
    element = "double" if n.width == 32 else "float"
    kind, to, back = vec(element, n.lanes), *(("sitofp", "fptosi") if n.signed else ("uitofp", "fptoui"))
    code = n.code
    fx = code.pure(f"{to} {n.type} {x} to {kind}", x)
    fy = code.pure(f"{to} {n.type} {y} to {kind}", y)
    quotient = code.pure(f"fdiv {kind} {fx}, {fy}", fx, fy)
    return code.pure(f"{back} {kind} {quotient} to {n.type}", quotient)


def shift(n: Ints, name: str, x: str, amount: str) -> str:
    """`shift_left`, `shift_right_logical`, `shift_right_arithmetic`; `amount` is unsigned and may be any."""
    op = {"shift_left": "shl", "shift_right_logical": "lshr", "shift_right_arithmetic": "ashr"}[name]
    if not n.signed and op == "ashr":
        op = "lshr"
    last = n.const(n.width - 1)
    small = n.cmp("ult", amount, n.const(n.width))
    capped = n.select(small, amount, last)
    shifted = n.two(op, x, capped)
    return shifted if op == "ashr" else n.select(small, shifted, n.const(0))


def power(n: Ints, x: str, y: str) -> str:
    """x ** y, wrapping; for a negative exponent the truncated reciprocal (0 but for the bases 1 and -1)."""
    known = literal_value(y)
    if known is not None and 0 <= known <= 16:
        result, base = n.const(1), x
        while known:
            if known & 1:
                result = base if result == n.const(1) else n.two("mul", result, base)
            known >>= 1
            base = n.two("mul", base, base) if known else base
        return result
    code = n.code
    loop, done = code.label("pow"), code.label("powend")
    before = code.block
    with code.scope(jump(loop), pinned=True):
        code.start(loop)
        place = code.reserve()
        base, exponent, result = code.name("base"), code.name("exp"), code.name("pow")
        for name in (base, exponent, result):
            code.depth[name] = code.level
        odd = n.cmp("ne", n.two("and", exponent, n.const(1)), n.const(0))
        new_result = n.select(odd, n.two("mul", result, base), result)
        new_base, new_exponent = n.two("mul", base, base), n.two("lshr", exponent, n.const(1))
        more = code.any_lane(n.cmp("ne", new_exponent, n.const(0)), n.lanes)
        phis = ((base, x, new_base), (exponent, y, new_exponent), (result, n.const(1), new_result))
        code.fill(place, [f"{p} = phi {n.type} [ {a}, %{before} ], [ {b}, %{code.block} ]" for p, a, b in phis])
        code.do(branch(more, loop, done))
        code.start(done)
    # The registers of a loop that runs at least once are good after it.
    code.depth[new_result] = code.level
    if not n.signed:
        return new_result
    unit = n.either(n.cmp("eq", x, n.const(1)), n.cmp("eq", x, n.const(-1)))
    vanishes = n.both(
        n.cmp("lt", y, n.const(0)), code.pure(f"xor {n.bool_type} {unit}, {splat_literal('i1', 'true', n.lanes)}", unit)
    )
    return n.select(vanishes, n.const(0), new_result)


def count_bits(n: Ints, name: str, x: str) -> str:
    """`population_count`, or `clz`: the zero bits above the highest one (the width, of 0)."""
    code = n.code
    if name == "population_count":
        return code.intrinsic("ctpop", n.element, n.lanes, x)
    symbol = f"@llvm.ctlz.{'' if n.lanes == 1 else f'v{n.lanes}'}{n.element}"
    code.module.declare(f"declare {n.type} {symbol}({n.type}, i1)")
    return code.pure(f"call {n.type} {symbol}({n.type} {x}, i1 false)", x)
