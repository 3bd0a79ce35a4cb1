"""Every scalar operation of `fdl.tracer.scalars` as LLVM instructions on one element or on a vector.

`operation` is the one entry: it takes operands in register form (see `text.register_type`) and returns the result's.
Arithmetic is exact to the bit; the transcendental functions are in `maths` and its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fdl.tracer import dtypes
from fdl.tracer.dtypes import DType
from fdl.tracer.records import dataclass

from . import halves, ints, maths, powers, threefry
from .ints import Ints
from .lanes import Lanes
from .text import Code, float_literal, memory_type, register_type, splat_literal, vec

HALVES = (dtypes.float16, dtypes.bfloat16)


def constant(value: bool | int | float, dtype: DType, lanes: int = 1) -> str:
    """A literal of `dtype` as a register operand, in every lane."""
    if dtype == dtypes.bool_:
        return splat_literal("i1", "true" if value else "false", lanes)
    if dtypes.is_int(dtype):
        bits = dtypes.bits(dtype)
        wrapped = int(value) & ((1 << bits) - 1)
        return splat_literal(f"i{bits}", str(wrapped - ((wrapped >> (bits - 1)) << bits)), lanes)
    with np.errstate(over="ignore"):
        rounded = float(np.asarray(value, dtype=np.float64).astype(dtype).astype(np.float64))
    element = register_type(dtype)
    return splat_literal(element, float_literal(rounded, element), lanes)


def from_memory(code: Code, dtype: DType, lanes: int, stored: str) -> str:
    """The register form of a loaded value (of `text.memory_type` elements)."""
    if dtype == dtypes.bool_:
        zero = splat_literal("i8", "0", lanes)
        return code.pure(f"icmp ne {vec('i8', lanes)} {stored}, {zero}", stored)
    return halves.unpack(code, dtype, lanes, stored) if dtype in HALVES else stored


def to_memory(code: Code, dtype: DType, lanes: int, value: str) -> str:
    """The stored form of a register."""
    if dtype == dtypes.bool_:
        return code.pure(f"zext {vec('i1', lanes)} {value} to {vec('i8', lanes)}", value)
    return halves.pack(code, dtype, lanes, value) if dtype in HALVES else value


def operation(code: Code, name: str, args: Sequence[str], operand: DType, result: DType, lanes: int = 1) -> str:
    """The result of the scalar operation `name` on `args`, which have dtype `operand`.

    `operand` is the dtype of a `select`'s last two operands.  Vectors have `lanes` elements; every argument is one.
    """
    match name:
        case "convert":
            return convert(code, args[0], operand, result, lanes)
        case "bitcast":
            stored = to_memory(code, operand, lanes, args[0])
            source, target = vec(memory_type(operand), lanes), vec(memory_type(result), lanes)
            same = stored if source == target else code.pure(f"bitcast {source} {stored} to {target}", stored)
            return from_memory(code, result, lanes, same)
        case "select":
            kind = vec(register_type(result), lanes)
            condition, a, b = args
            return code.pure(f"select {vec('i1', lanes)} {condition}, {kind} {a}, {kind} {b}", *args)
        case "threefry0" | "threefry1" | "threefry_bits32" | "threefry_bits64":
            return threefry.emit(code, name, lanes, args)
        case _:
            pass
    if not dtypes.is_float(operand):
        return _INTEGER[name](Ints(code, operand, lanes), *args)
    if operand not in HALVES:
        return _float(Lanes(code, operand, lanes), name, args)
    if name == "nextafter":
        return _nextafter_half(code, operand, lanes, *args)
    f = Lanes(code, dtypes.float32, lanes)
    wide = powers.remainder_half(f, *args) if name == "rem" else _float(f, name, args)
    if name in _COMPARISONS or name in _EXACT_IN_HALF:
        return wide
    return halves.round_to(code, operand, lanes, wide)


# --- integers and bools ---------------------------------------------------------------------------

_COMPARISONS = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge", "is_finite": ""}
# Operations whose result on 16-bit floats is one: nothing to round.
_EXACT_IN_HALF = frozenset("neg abs sign max min floor ceil trunc round rem".split())


def _plain(op: str) -> Callable[..., str]:
    def apply(n: Ints, a: str, b: str) -> str:
        logical = {"add": "or", "mul": "and"}.get(op, op) if n.dtype == dtypes.bool_ else op
        return n.two(logical, a, b)

    return apply


def _compare(predicate: str) -> Callable[..., str]:
    return lambda n, a, b: n.cmp(predicate, a, b)


def _named(function: Callable[..., str], name: str) -> Callable[..., str]:
    return lambda n, *args: function(n, name, *args)


_INTEGER: dict[str, Callable[..., str]] = {
    **{op: _plain(op) for op in ("add", "sub", "mul", "and", "or", "xor")},
    **{op: _compare(op) for op in ("eq", "ne", "lt", "le", "gt", "ge")},
    **{op: _named(ints.shift, op) for op in ("shift_left", "shift_right_logical", "shift_right_arithmetic")},
    **{op: _named(ints.count_bits, op) for op in ("population_count", "clz")},
    "div": ints.divide,
    "rem": ints.remainder,
    "neg": Ints.neg,
    "not": Ints.invert,
    "abs": ints.absolute,
    "sign": ints.sign,
    "max": Ints.maximum,
    "min": Ints.minimum,
    "pow": ints.power,
}

# --- floats ---------------------------------------------------------------------------------------


def _float(f: Lanes, name: str, args: Sequence[str]) -> str:
    predicate = _COMPARISONS.get(name)
    if predicate:
        return f.cmp(predicate, *args)
    own = _FLOAT.get(name)
    return own(f, *args) if own is not None else maths.function(f, name, args)


def _is_constant(operand: str) -> bool:
    """Whether the operand is a literal other than NaN."""
    return not operand.startswith("%") and "0x7FF8" not in operand and "0xFFF8" not in operand


def _extremum(pick: Callable[[Lanes, str, str], str]) -> Callable[[Lanes, str, str], str]:
    """max or min from an instruction that gives its second operand where either is NaN."""

    def apply(f: Lanes, a: str, b: str) -> str:
        if _is_constant(a):
            return pick(f, a, b)
        if _is_constant(b):
            return pick(f, b, a)
        return f.select(f.isnan(a), a, pick(f, a, b))

    return apply


def _sign(f: Lanes, x: str) -> str:
    """-1, 1, or `x` itself where it is a zero or NaN."""
    one = f.copysign(f.const(1.0), x)
    return f.select(f.cmp("one", x, f.const(0.0)), one, x)


def _whole(name: str) -> Callable[[Lanes, str], str]:
    """floor, ceil, trunc, or round (half to even)."""
    intrinsic = {"round": "rint"}.get(name, name)

    def apply(f: Lanes, x: str) -> str:
        if f.code.target.rounding:
            return f.code.intrinsic(intrinsic, f.element, f.lanes, x)
        # Below 2**mantissa, adding and subtracting it rounds to an integer; above, everything is one.
        magnitude = f.abs(x)
        limit = f.const(2.0**f.mantissa)
        nearest = f.copysign(f.sub(f.add(magnitude, limit), limit), x)
        one, zero = f.const(1.0), f.const(0.0)
        if name == "floor":
            nearest = f.sub(nearest, f.select(f.cmp("ogt", nearest, x), one, zero))
        elif name == "ceil":
            nearest = f.add(nearest, f.select(f.cmp("olt", nearest, x), one, zero))
        elif name == "trunc":
            whole = f.abs(nearest)
            nearest = f.sub(whole, f.select(f.cmp("ogt", whole, magnitude), one, zero))
        return f.select(f.cmp("olt", magnitude, limit), f.copysign(nearest, x), x)

    return apply


def _is_finite(f: Lanes, x: str) -> str:
    return f.cmp("olt", f.abs(x), f.const(float("inf")))


def _nextafter(f: Lanes, x: str, y: str) -> str:
    """The next value after `x` towards `y`; `y` where they are equal."""
    bits = f.bits(x)
    up = f.cmp("ogt", y, x)
    positive = f.cmp("ogt", x, f.const(0.0))
    differ = f.code.pure(f"xor {f.bool_type} {up}, {positive}", up, positive)
    # Of one sign, floats are ordered as their bits are.
    stepped = f.iadd(bits, f.iselect(differ, f.int(-1), f.int(1)))
    smallest = f.ior(f.iand(f.bits(y), f.int(f.sign_bit)), f.int(1))
    stepped = f.iselect(f.cmp("oeq", x, f.const(0.0)), smallest, stepped)
    result = f.select(f.cmp("oeq", x, y), y, f.float(stepped))
    return f.select(f.cmp("uno", x, y), f.const(float("nan")), result)


def _nextafter_half(code: Code, dtype: DType, lanes: int, x: str, y: str) -> str:
    """As `_nextafter`, on the 16-bit type's own bits."""
    f = Lanes(code, dtypes.float32, lanes)
    n = Ints(code, dtypes.int16, lanes)
    bits, bits_y = halves.pack(code, dtype, lanes, x), halves.pack(code, dtype, lanes, y)
    up, positive = f.cmp("ogt", y, x), f.cmp("ogt", x, f.const(0.0))
    differ = code.pure(f"xor {f.bool_type} {up}, {positive}", up, positive)
    stepped = n.two("add", bits, n.select(differ, n.const(-1), n.const(1)))
    smallest = n.two("or", n.two("and", bits_y, n.const(1 << 15)), n.const(1))
    stepped = n.select(f.cmp("oeq", x, f.const(0.0)), smallest, stepped)
    stepped = n.select(f.cmp("oeq", x, y), bits_y, stepped)
    nan = 0x7E00 if dtype == dtypes.float16 else 0x7FC0
    return halves.unpack(code, dtype, lanes, n.select(f.cmp("uno", x, y), n.const(nan), stepped))


_FLOAT: dict[str, Callable[..., str]] = {
    "add": Lanes.add,
    "sub": Lanes.sub,
    "mul": Lanes.mul,
    "div": Lanes.div,
    "neg": Lanes.neg,
    "abs": Lanes.abs,
    "sqrt": Lanes.sqrt,
    "max": _extremum(Lanes.max),
    "min": _extremum(Lanes.min),
    "sign": _sign,
    "is_finite": _is_finite,
    "nextafter": _nextafter,
    **{name: _whole(name) for name in ("floor", "ceil", "trunc", "round")},
}

# --- conversions ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Kind:
    """What `convert` asks about a dtype."""

    dtype: DType

    @property
    def float(self) -> bool:
        return dtypes.is_float(self.dtype)

    @property
    def sign(self) -> str:
        return "s" if dtypes.is_signed(self.dtype) else "u"


def convert(code: Code, x: str, source: DType, target: DType, lanes: int) -> str:
    """`x` as a value of `target`: float → int truncates and saturates, NaN → 0; anything → bool is `x != 0`."""
    if source == target:
        return x
    a, b = _Kind(source), _Kind(target)
    source_type, target_type = vec(register_type(source), lanes), vec(register_type(target), lanes)
    if target == dtypes.bool_:
        zero = constant(0, source, lanes)
        return code.pure(f"{'fcmp une' if a.float else 'icmp ne'} {source_type} {x}, {zero}", x)
    if a.float and b.float:
        return _float_to_float(code, x, source, target, lanes)
    if a.float:
        symbol = f"@llvm.fpto{b.sign}i.sat.{_mangled(target, lanes)}.{_mangled(source, lanes)}"
        code.module.declare(f"declare {target_type} {symbol}({source_type})")
        return code.pure(f"call {target_type} {symbol}({source_type} {x})", x)
    if b.float:
        result = code.pure(f"{a.sign}itofp {source_type} {x} to {target_type}", x)
        return halves.round_to(code, target, lanes, result) if target in HALVES else result
    width_a = 1 if source == dtypes.bool_ else dtypes.bits(source)
    if width_a == dtypes.bits(target):
        return x
    op = "trunc" if width_a > dtypes.bits(target) else {"s": "sext", "u": "zext"}[a.sign]
    return code.pure(f"{op} {source_type} {x} to {target_type}", x)


def _float_to_float(code: Code, x: str, source: DType, target: DType, lanes: int) -> str:
    if source == dtypes.float64:
        if target in HALVES:
            return halves.from_double(code, target, lanes, x)
        return code.pure(f"fptrunc {vec('double', lanes)} {x} to {vec('float', lanes)}", x)
    if target == dtypes.float64:
        return code.pure(f"fpext {vec('float', lanes)} {x} to {vec('double', lanes)}", x)
    return halves.round_to(code, target, lanes, x) if target in HALVES else x


def _mangled(dtype: DType, lanes: int) -> str:
    short = {"float": "f32", "double": "f64"}.get(register_type(dtype), register_type(dtype))
    return short if lanes == 1 else f"v{lanes}{short}"
