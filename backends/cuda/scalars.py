"""Every scalar operation as Python source that Numba compiles for a GPU and that plain Python runs too.

A value of a dtype is held in a register of its *representation*: itself, but float32 for float16 and bfloat16 (a float32 that
is one of their values).  `expression` gives the source of one operation on such values, of exactly the result's representation.
Numba widens int32 + int32 to int64, and an untyped 1 would turn float32 into float64: hence a cast around every narrow integer
operation, and typed constants.

What takes more than an expression is a *helper*, a small function named after its operation and dtype (`div_i32`), whose
source `definition` writes on demand.  The leaves are libdevice's functions, reached as `nv.expf`; `simulated.LIBRARY` has
Python functions of the same names, so that kernels run without a GPU, in Numba's simulator, and on the host.

float32 and float64 products are `fmul_rn` and `dmul_rn`: the compiler may fuse any other product with an addition, and user
arithmetic is never contracted.  `product`, which is no operation of the tracer, is the product in a matrix multiplication, and
may be.  libdevice's functions are within 4 ulp (CUDA C++ Programming Guide, "Mathematical functions"), but for `erfc` and
`erfinv` of float64, which are within 5.

May import: the tracer's dtypes and the coefficients of `giles`; no CUDA package.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from fdl.tracer import dtypes, giles
from fdl.tracer.dtypes import DType, is_float, is_int, is_signed

HALVES = (dtypes.float16, dtypes.bfloat16)


def representation(dtype: DType) -> DType:
    """The dtype of the register that holds a value of `dtype`. Raises TypeError for a complex one."""
    if dtypes.is_complex(dtype):
        raise TypeError(f"the CUDA backend has no {dtype} yet. Use its real and imaginary parts, or another backend.")
    return dtypes.float32 if dtype in HALVES else dtype


def storage(dtype: DType) -> DType:
    """The dtype of the memory that holds a `dtype`: a byte for a bool, the bits of a float16 or bfloat16 as int16."""
    if dtype == dtypes.bool_:
        return dtypes.uint8
    return dtypes.int16 if dtype in HALVES else representation(dtype)


def cast(dtype: DType, text: str) -> str:
    """`text` as a value of the NumPy type `dtype` (a representation or a storage type)."""
    return f"np.{'bool_' if dtype == dtypes.bool_ else dtype.name}({text})"


def constant(value: bool | int | float, dtype: DType) -> str:
    """The source of a literal of `dtype`, in its representation."""
    if dtype == dtypes.bool_:
        return str(bool(value))
    if is_int(dtype):
        return cast(dtype, str(int(value)))
    with np.errstate(all="ignore"):
        rounded = float(np.asarray(value).astype(dtype))
    text = repr(rounded) if math.isfinite(rounded) else {"inf": "math.inf", "-inf": "-math.inf"}.get(str(rounded), "math.nan")
    return cast(representation(dtype), text)


def from_storage(text: str, dtype: DType) -> str:
    """The value whose memory reads as `text`."""
    if dtype == dtypes.bool_:
        return f"({text} != np.uint8(0))"
    return f"unpack_{dtypes.SHORT[dtype]}({text})" if dtype in HALVES else text


def to_storage(text: str, dtype: DType) -> str:
    """What to write to memory for the value `text`."""
    if dtype == dtypes.bool_:
        return cast(dtypes.uint8, text)
    return f"pack_{dtypes.SHORT[dtype]}({text})" if dtype in HALVES else text


# --- expressions ----------------------------------------------------------------------------------

_INFIX = {"add": "+", "sub": "-", "mul": "*", "and": "&", "or": "|", "xor": "^"}
_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_BOOL = {"add": "({} | {})", "mul": "({} & {})", "max": "({} | {})", "min": "({} & {})", "and": "({} & {})", "or": "({} | {})",
         "xor": "({} != {})", "not": "(not {})"}  # fmt: skip
FLOAT_LEAF = {
    "floor": "floor", "ceil": "ceil", "round": "rint", "trunc": "trunc", "rem": "fmod", "abs": "fabs", "rsqrt": "rsqrt",
    "cbrt": "cbrt", "exp": "exp", "exp2": "exp2", "expm1": "expm1", "log": "log", "log1p": "log1p", "sin": "sin", "cos": "cos",
    "tan": "tan", "asin": "asin", "acos": "acos", "atan": "atan", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh",
    "asinh": "asinh", "acosh": "acosh", "atanh": "atanh", "atan2": "atan2", "pow": "pow", "erf": "erf", "erfc": "erfc",
    "erf_inv": "erfinv", "nextafter": "nextafter",
}  # fmt: skip
"""Operation → libdevice's function of float64; that of float32 ends in f."""
_CLOSED = ("neg", "abs", "sign", "max", "min", "select", "nextafter")
"""Operations whose result is one of the dtype's values without rounding."""


def expression(op: str, args: Sequence[str], operand: DType, result: DType) -> str:
    """The source of `op` applied to the values `args` (of dtype `operand`; for `select`, the last two), of dtype `result`.

    The helpers it calls are those that `helpers` finds in it.

    Example:
        >>> expression("mul", ["a", "b"], dtypes.float32, dtypes.float32)
        'nv.fmul_rn(a, b)'
        >>> expression("add", ["a", "b"], dtypes.bfloat16, dtypes.bfloat16)
        'round_bf16((a + b))'
    """
    representation(operand), representation(result)
    if op == "product" and not is_float(operand):
        op = "mul"
    match op:
        case "select":
            return f"({args[1]} if {args[0]} else {args[2]})"
        case "convert":
            return _convert(args[0], operand, result)
        case "bitcast":
            return _bitcast(args[0], operand, result)
        case "threefry0" | "threefry1":
            return f"threefry({', '.join(args)})[{op[-1]}]"
        case "threefry_bits32" | "threefry_bits64":
            return f"{op}({', '.join(args)})"
        case "eq" | "ne" | "lt" | "le" | "gt" | "ge":
            if operand == dtypes.bool_:
                args = [cast(dtypes.int32, a) for a in args]
            return f"({args[0]} {_COMPARE[op]} {args[1]})"
    if operand == dtypes.bool_:
        return _BOOL[op].format(*args)
    if is_int(operand):
        return _int(op, args, operand)
    return _float(op, args, operand)


def _int(op: str, args: Sequence[str], dtype: DType) -> str:
    if op in _INFIX:
        return _narrow(dtype, f"{args[0]} {_INFIX[op]} {args[1]}")
    if op == "not":
        return cast(dtype, f"~{args[0]}")
    if op == "neg":
        # The unary minus of an unsigned value is a signed one to Numba.
        return cast(dtype, f"-{args[0]}" if is_signed(dtype) else f"{constant(0, dtype)} - {args[0]}")
    if op in ("abs", "sign") and not is_signed(dtype):
        return args[0] if op == "abs" else cast(dtype, f"{args[0]} != {constant(0, dtype)}")
    return f"{op}_{dtypes.SHORT[dtype]}({', '.join(args)})"


def _narrow(dtype: DType, text: str) -> str:
    """`text`, an operation that Numba computes in 64 bits when its operands are narrower."""
    return f"({text})" if dtype.itemsize == 8 else cast(dtype, text)


def _float(op: str, args: Sequence[str], dtype: DType) -> str:
    if dtype in HALVES and op != "nextafter":
        text = _float(op, args, dtypes.float32)
        return text if op in (*_CLOSED, "is_finite") else f"round_{dtypes.SHORT[dtype]}({text})"
    single = dtype == dtypes.float32
    joined = ", ".join(args)
    match op:
        case "add" | "sub" | "div":
            return f"({args[0]} {'/' if op == 'div' else _INFIX[op]} {args[1]})"
        case "product":
            return f"({args[0]} * {args[1]})"
        case "mul":
            return f"nv.{'f' if single else 'd'}mul_rn({joined})"
        case "sqrt":
            return f"nv.{'f' if single else 'd'}sqrt_rn({joined})"
        case "neg":
            return f"(-{args[0]})"
        case "is_finite":
            return f"(nv.fabs{'f' if single else ''}({joined}) < {constant(math.inf, dtype)})"
    if op in FLOAT_LEAF and dtype not in HALVES:
        return f"nv.{FLOAT_LEAF[op]}{'f' if single else ''}({joined})"
    return f"{op}_{dtypes.SHORT[dtype]}({joined})"


def _convert(text: str, source: DType, target: DType) -> str:
    if source == target:
        return text
    if target == dtypes.bool_:
        return f"({text} != {constant(0, source)})"
    if is_float(source) and is_int(target):
        wide = "f64" if source == dtypes.float64 else "f32"
        return f"convert_{wide}_{dtypes.SHORT[target]}({text})"
    if target not in HALVES:
        return text if representation(source) == target else cast(target, text)
    if source == dtypes.float64:
        # Rounding to float32 and again could break a tie that only the first rounding made; rounding to odd first cannot.
        text = f"round_odd({text})"
    elif representation(source) != dtypes.float32:
        text = cast(dtypes.float32, text)
    return f"round_{dtypes.SHORT[target]}({text})"


def _bitcast(text: str, source: DType, target: DType) -> str:
    if source == target:
        return text
    bits = {dtypes.float32: "nv.float_as_int", dtypes.float64: "nv.double_as_longlong",
            dtypes.float16: "pack_f16", dtypes.bfloat16: "pack_bf16"}  # fmt: skip
    values = {dtypes.float32: "nv.int_as_float", dtypes.float64: "nv.longlong_as_double",
              dtypes.float16: "unpack_f16", dtypes.bfloat16: "unpack_bf16"}  # fmt: skip
    signed = np.dtype(f"int{dtypes.bits(source)}")
    text = f"{bits[source]}({text})" if source in bits else text if source == signed else cast(signed, text)
    return f"{values[target]}({text})" if target in values else text if target == signed else cast(target, text)


# --- helpers --------------------------------------------------------------------------------------

_HELPER = re.compile(r"\b(?<!\.)([a-z_0-9]+)\(")


def helpers(sources: Iterable[str]) -> dict[str, str]:
    """The definitions that `sources` need, by name, each after those that it calls."""
    found: dict[str, str] = {}

    def visit(source: str) -> None:
        for name in _HELPER.findall(source):
            if name not in found and (text := definition(name)) is not None:
                visit(text.split(":", 1)[1])
                found[name] = text

    for source in sources:
        visit(source)
    return found


@functools.cache
def definition(name: str) -> str | None:
    """The source of the helper `name`, or None when there is none of that name."""
    if name in _FIXED:
        return _FIXED[name]
    op, _, short = name.rpartition("_")
    if short in dtypes.FROM_SHORT and op in _TEMPLATES:
        return _TEMPLATES[op](dtypes.FROM_SHORT[short])
    if short in dtypes.FROM_SHORT and op in ("convert_f32", "convert_f64"):
        return _float_to_int(dtypes.of(op[-3:]), dtypes.FROM_SHORT[short])
    return None


def _fill(template: str, dtype: DType) -> str:
    """`template` with T for the type's cast, U for the unsigned one's, D for the short name, and ZERO and ONE for constants."""
    names = {
        "T": f"np.{representation(dtype)}",
        "D": dtypes.SHORT[dtype],
        "ZERO": constant(0, dtype),
        "ONE": constant(1, dtype),
    }
    if is_int(dtype):
        names |= {"U": f"np.uint{dtypes.bits(dtype)}", "WIDTH": str(dtypes.bits(dtype))}
    for key, text in names.items():
        template = re.sub(rf"(?<![A-Za-z]){key}(?![A-Za-z])", text, template)
    return template.strip() + "\n"


def _extremum(sign: str) -> Callable[[DType], str]:
    name = "max" if sign == ">" else "min"
    # A NaN in `x` is returned by the second test, one in `y` because every comparison with it is false.
    test = f"x {sign} y"
    return lambda d: _fill(f"def {name}_D(x, y):\n    return x if {f'{test} or x != x' if is_float(d) else test} else y", d)


def _div(dtype: DType) -> str:
    if not is_signed(dtype):
        return _fill("def div_D(x, y):\n    return ZERO if y == ZERO else T(x // y)", dtype)
    return _fill(
        """
def div_D(x, y):
    if y == ZERO:
        return ZERO
    if y == T(-1):
        return T(-x)
    q = T(x // y)
    return T(q + ONE) if T(q * y) != x and (x < ZERO) != (y < ZERO) else q""",
        dtype,
    )


def _rem(dtype: DType) -> str:
    if not is_signed(dtype):
        return _fill("def rem_D(x, y):\n    return x if y == ZERO else T(x % y)", dtype)
    return _fill(
        """
def rem_D(x, y):
    if y == ZERO:
        return x
    if y == T(-1):
        return ZERO
    r = T(x % y)
    return T(r - y) if r != ZERO and (x < ZERO) != (y < ZERO) else r""",
        dtype,
    )


def _pow(dtype: DType) -> str:
    negative = "    if y < ZERO and x != ONE and x != T(-1):\n        return ZERO\n" if is_signed(dtype) else ""
    return _fill(
        f"""
def pow_D(x, y):
{negative}    base = U(x)
    exponent = U(y)
    result = U(1)
    while exponent != U(0):
        if exponent & U(1) != U(0):
            result = U(result * base)
        base = U(base * base)
        exponent = U(exponent >> U(1))
    return T(result)""",
        dtype,
    )


def _shift(symbol: str, arithmetic: bool = False) -> Callable[[DType], str]:
    name = "shift_left" if symbol == "<<" else "shift_right_arithmetic" if arithmetic else "shift_right_logical"

    def write(dtype: DType) -> str:
        if arithmetic and is_signed(dtype):
            body = f"n = U(s)\n    return T(x >> T(n if n < U({dtypes.bits(dtype)}) else U({dtypes.bits(dtype) - 1})))"
        else:
            body = f"return T(U(U(x) {symbol} U(s))) if U(s) < U(WIDTH) else ZERO"
        return _fill(f"def {name}_D(x, s):\n    {body}", dtype)

    return write


def _count(leaf: str) -> Callable[[DType], str]:
    name = "population_count" if leaf == "popc" else "clz"

    def write(dtype: DType) -> str:
        width = dtypes.bits(dtype)
        call = f"nv.{leaf}ll(np.int64(x))" if width == 64 else f"nv.{leaf}(np.int32(np.uint{width}(x)))"
        # A narrow value is counted in a register of 32 bits.
        less = f" - np.int32({32 - width})" if leaf == "clz" and width < 32 else ""
        return _fill(f"def {name}_D(x):\n    return T({call}{less})", dtype)

    return write


def _float_to_int(source: DType, target: DType) -> str:
    info = np.iinfo(target)
    return _fill(
        f"""
def convert_D_{dtypes.SHORT[target]}(x):
    if x != x:
        return {constant(0, target)}
    if x >= {constant(float(int(info.max) + 1), source)}:
        return {constant(info.max, target)}
    if x <= {constant(float(info.min), source)}:
        return {constant(info.min, target)}
    return {cast(target, "x")}""",
        source,
    )


def _logistic(dtype: DType) -> str:
    f = "f" if dtype == dtypes.float32 else ""
    return _fill(
        f"""
def logistic_D(x):
    e = nv.exp{f}(-nv.fabs{f}(x))
    return e / (ONE + e) if x < ZERO else ONE / (ONE + e)""",
        dtype,
    )


def _horner(dtype: DType, coefficients: Sequence[float]) -> str:
    """The polynomial in `t`, lowest power first, by fused operations."""
    fused, text = "fmaf_rn" if dtype == dtypes.float32 else "fma_rn", constant(coefficients[-1], dtype)
    for c in reversed(coefficients[:-1]):
        text = f"nv.{fused}({text}, t, {constant(c, dtype)})"
    return text


def _erf_inv_giles(dtype: DType) -> str:
    single = dtype == dtypes.float32
    f, letter = ("f", "f") if single else ("", "d")
    lines = [f"s = nv.{letter}mul_rn(x, x)", f"w = -nv.log1p{f}(-s)"]
    if not single:
        quotient = f"({_horner(dtype, giles.NUMERATOR)} / {_horner(dtype, giles.DENOMINATOR)})"
        cube = f"nv.dmul_rn(nv.dmul_rn(t, nv.dmul_rn(s, s)), {quotient})"
        lines += [
            f"if s < {constant(giles.RATIONAL_END, dtype)}:",
            "    t = -s",
            f"    w = -(t + nv.fma_rn({constant(-0.5, dtype)}, nv.dmul_rn(s, s), {cube}))",
        ]
    pieces = giles.SINGLE if single else giles.DOUBLE
    for k, piece in enumerate(pieces):
        test = f"w < {constant(piece.end, dtype)}"
        lines.append(f"if {test}:" if k == 0 else "else:" if k == len(pieces) - 1 else f"elif {test}:")
        root = f"nv.{letter}sqrt_rn(w)" if piece.root else "w"
        lines += [f"    t = {root} - {constant(piece.centre, dtype)}", f"    y = {_horner(dtype, piece.coefficients)}"]
    lines += [
        f"if nv.fabs{f}(x) == ONE:",
        f"    return {constant(math.inf, dtype)} if x > ZERO else {constant(-math.inf, dtype)}",
        f"return nv.{letter}mul_rn(x, y)",
    ]
    return _fill("def erf_inv_giles_D(x):\n" + "\n".join(f"    {line}" for line in lines), dtype)


def _half_nextafter(dtype: DType) -> str:
    return _fill(
        """
def nextafter_D(x, y):
    if x != x or y != y:
        return T(math.nan)
    if x == y:
        return y
    if x == ZERO:
        return unpack_D(np.int16(1) if y > ZERO else np.int16(-32767))
    bits = pack_D(x)
    return unpack_D(np.int16(bits + np.int16(1)) if (y > x) == (x > ZERO) else np.int16(bits - np.int16(1)))""",
        dtype,
    )


_TEMPLATES: dict[str, Callable[[DType], str]] = {
    "max": _extremum(">"),
    "min": _extremum("<"),
    "div": _div,
    "rem": _rem,
    "pow": _pow,
    "abs": lambda d: _fill("def abs_D(x):\n    return T(-x) if x < ZERO else x", d),
    "sign": lambda d: _fill("def sign_D(x):\n    return ONE if x > ZERO else T(-1) if x < ZERO else x", d),
    "shift_left": _shift("<<"),
    "shift_right_logical": _shift(">>"),
    "shift_right_arithmetic": _shift(">>", arithmetic=True),
    "population_count": _count("popc"),
    "clz": _count("clz"),
    "logistic": _logistic,
    "erf_inv_giles": _erf_inv_giles,
    "nextafter": _half_nextafter,
}


def _threefry() -> str:
    """Threefry-2x32, 20 rounds (J. Salmon and others, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 4.2)."""
    lines = [
        "def threefry(k0, k1, x0, x1):",
        "    k2 = np.uint32(k0 ^ k1 ^ np.uint32(0x1BD11BDA))",
        "    x0 = np.uint32(x0 + k0)",
        "    x1 = np.uint32(x1 + k1)",
    ]
    for group in range(5):
        for turn in ((13, 15, 26, 6), (17, 29, 16, 24))[group % 2]:
            lines += ["    x0 = np.uint32(x0 + x1)", f"    x1 = np.uint32(rotate(x1, np.uint32({turn})) ^ x0)"]
        lines.append(f"    x0 = np.uint32(x0 + k{(group + 1) % 3})")
        lines.append(f"    x1 = np.uint32(x1 + k{(group + 2) % 3} + np.uint32({group + 1}))")
    return "\n".join([*lines, "    return x0, x1"]) + "\n"


_FIXED = {
    "rotate": """
def rotate(x, n):
    return np.uint32(np.uint32(x << n) | np.uint32(x >> np.uint32(np.uint32(32) - n)))
""",
    "threefry": _threefry(),
    "threefry_bits32": """
def threefry_bits32(k0, k1, hi, lo):
    x0, x1 = threefry(k0, k1, hi, lo)
    return np.uint32(x0 ^ x1)
""",
    "threefry_bits64": """
def threefry_bits64(k0, k1, hi, lo):
    x0, x1 = threefry(k0, k1, hi, lo)
    return np.uint64(x0) << np.uint64(32) | np.uint64(x1)
""",
    "pack_f16": """
def pack_f16(x):
    return nv.float2half_rn(x)
""",
    "unpack_f16": """
def unpack_f16(bits):
    return nv.half2float(bits)
""",
    "round_f16": """
def round_f16(x):
    return nv.half2float(nv.float2half_rn(x))
""",
    "bits_bf16": """
def bits_bf16(x):
    if x != x:
        return np.uint32(0x7FC0)
    bits = np.uint32(nv.float_as_int(x))
    odd = np.uint32(bits >> np.uint32(16)) & np.uint32(1)
    return np.uint32(np.uint32(bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))
""",
    "pack_bf16": """
def pack_bf16(x):
    return np.int16(bits_bf16(x))
""",
    "unpack_bf16": """
def unpack_bf16(bits):
    return nv.int_as_float(np.int32(np.uint32(np.uint32(np.uint16(bits)) << np.uint32(16))))
""",
    "round_bf16": """
def round_bf16(x):
    return nv.int_as_float(np.int32(np.uint32(bits_bf16(x) << np.uint32(16))))
""",
    # Towards zero, and with the last bit set where that is inexact (S. Boldo and G. Melquiond, "Emulation of FMA and correctly
    # rounded sums", 2008): a later rounding to a narrower type is then that of `x` itself.
    "round_odd": """
def round_odd(x):
    near = np.float32(x)
    if np.float64(near) == x or x != x:
        return near
    bits = nv.float_as_int(near)
    if nv.fabs(np.float64(near)) > nv.fabs(x):
        bits = np.int32(bits - np.int32(1))
    return nv.int_as_float(np.int32(bits | np.int32(1)))
""",
}
_FIXED = {name: text.lstrip() for name, text in _FIXED.items()}
