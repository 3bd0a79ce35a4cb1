"""exp, log and their relatives on vectors of floats.

Each function reduces its argument to a small interval, evaluates a polynomial there, and puts the parts together, without a
table or a branch on the common path.  The polynomials are minimax fits of the relative error (Remez's algorithm in 200-bit
arithmetic), rounded to the format; the comment beside each gives the error of the fit.  With the roundings that follow,
results are within 2 ulp, or a little more (sinh, tanh, logistic).  Subnormals are values like any other.

Rounding to an integer is an addition: x + 1.5 * 2**mantissa has the integer nearest to x in its last bits.
"""

from __future__ import annotations

import math
import struct
from typing import Final

from .lanes import Lanes, coefficients

_h = float.fromhex

# (exp(r) - 1 - r) / r**2 for |r| <= ln(2)/2, for exp: 2**-27.6 of exp(r); 2**-56.1
_EXP = {
    True: coefficients("0x1.fffffcp-2 0x1.55548ap-3 0x1.555916p-5 0x1.123fc6p-7 0x1.6a1aacp-10"),
    False: coefficients(
        "0x1.000000000000bp-1 0x1.55555555554f0p-3 0x1.555555555024ap-5 0x1.111111112996dp-7 0x1.6c16c1859c904p-10 "
        "0x1.a01a01233675fp-13 0x1.a01995ed91b29p-16 0x1.71df2ebaa6ac7p-19 0x1.28b1679fcc2d3p-22 0x1.ad7ae068aeff1p-26"
    ),
}
# The same, relative to expm1(r): 2**-28.3; 2**-56.6
_EXPM1 = {
    True: coefficients("0x1.0p-1 0x1.555556p-3 0x1.555498p-5 0x1.111014p-7 0x1.6d8abap-10 0x1.a2b138p-13"),
    False: coefficients(
        "0x1.0000000000001p-1 0x1.5555555555557p-3 0x1.5555555554c93p-5 0x1.111111110ff93p-7 0x1.6c16c16f3809bp-10 "
        "0x1.a01a01ac9aad1p-13 0x1.a019f3070774bp-16 0x1.71ddfffe4e505p-19 0x1.2802b8a2012c2p-22 0x1.af5275c028d03p-26 "
        "0x1.e6357b16a20c5p-30"
    ),
}
# (log(1 + f) - f + f**2 / 2) / f**3 for 1 + f in [sqrt(1/2), sqrt(2)]: 2**-28.2 of log(1 + f)
_LOG_SINGLE = coefficients(
    "0x1.555548p-2 -0x1.000006p-2 0x1.99a4b6p-3 -0x1.555c4ep-3 0x1.23376ap-3 -0x1.fc220ap-4 0x1.e6f052p-4 -0x1.de3bdep-4 "
    "0x1.145780p-4"
)
# (log((1 + s) / (1 - s)) - 2 s) / s**3 in s**2, for |s| <= 0.1716: 2**-59.5 of the logarithm
_LOG_DOUBLE = coefficients(
    "0x1.5555555555593p-1 0x1.999999997f9ffp-2 0x1.2492494229129p-2 0x1.c71c51d96997cp-3 0x1.7466494459c6ap-3 "
    "0x1.39a0a1a3ccb2fp-3 0x1.2f1100d461bb4p-3"
)
# ln(2) in two parts; an exponent times the first is exact.
LN2: Final = {
    True: (_h("0x1.62e0p-1"), _h("0x1.0bfbe8p-15")),
    False: (_h("0x1.62e42feep-1"), _h("0x1.a39ef35793c76p-33")),
}
# exp overflows above the second and vanishes below the first.
_EXP_RANGE = {True: (-104.0, 89.0), False: (-746.0, 710.0)}
_EXP2_RANGE = {True: (-151.0, 129.0), False: (-1076.0, 1025.0)}


def pow2(f: Lanes, n: str) -> str:
    """2**n for a float n that is an integer and an exponent of a normal number."""
    # The sum's last bits are n + bias; the shift moves them into the exponent and everything else out.
    biased = f.add(n, f.const(1.5 * 2.0**f.mantissa + f.bias))
    return f.float(f.shl(f.bits(biased), f.mantissa))


def scale(f: Lanes, x: str, n: str) -> str:
    """x * 2**n for a float n that is an integer, |n| <= 2 * bias; overflow and subnormal results round once."""
    if f.code.target.name == "avx512" and f.lanes * f.width >= 128:
        return _scale_avx512(f, x, n)
    half = f.nearest(f.mul(n, f.const(0.5)))
    return f.mul(f.mul(x, pow2(f, half)), pow2(f, f.sub(n, half)))


def _scale_avx512(f: Lanes, x: str, n: str) -> str:
    """`scale` as one instruction for each register."""
    code = f.code
    native = min(f.lanes, 512 // f.width)
    letter, bits = ("s", 32) if f.single else ("d", 64)
    width = native * bits
    mask, rounding = ("i8" if native <= 8 else "i16"), (", i32" if width == 512 else "")
    kind = f"<{native} x {f.element}>"
    symbol = f"@llvm.x86.avx512.mask.scalef.p{letter}.{width}"
    code.module.declare(f"declare {kind} {symbol}({kind}, {kind}, {kind}, {mask}{rounding})")
    current = rounding and ", i32 4"
    parts = []
    for start in range(0, f.lanes, native):
        a, b = x, n
        if native < f.lanes:
            picks = ", ".join(f"i32 {i}" for i in range(start, start + native))
            a, b = (code.pure(f"shufflevector {f.type} {v}, {f.type} poison, <{native} x i32> <{picks}>", v) for v in (x, n))
        call = f"call {kind} {symbol}({kind} {a}, {kind} {b}, {kind} zeroinitializer, {mask} -1{current})"
        parts.append(code.pure(call, a, b))
    return join(f, parts, native)


def join(f: Lanes, parts: list[str], width: int) -> str:
    """Vectors of `width` lanes end to end; their number is a power of two."""
    while len(parts) > 1:
        kind = f"<{width} x {f.element}>"
        picks = ", ".join(f"i32 {i}" for i in range(2 * width))
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [f.code.pure(f"shufflevector {kind} {a}, {kind} {b}, <{2 * width} x i32> <{picks}>", a, b) for a, b in pairs]
        width *= 2
    return parts[0]


# --- exponentials ---------------------------------------------------------------------------------


def clamp(f: Lanes, x: str, low: float, high: float) -> str:
    """`x` within bounds; NaN stays."""
    return f.max(f.const(low), f.min(f.const(high), x))


def reduce_ln2(f: Lanes, x: str) -> tuple[str, str]:
    """(n, r) with x = n ln(2) + r, n an integer and |r| <= ln(2)/2."""
    _, n, r = _reduced(f, x, 1)
    return n, r


def _reduced(f: Lanes, x: str, times: int) -> tuple[str, str, str]:
    """(1.5 * 2**mantissa + n, n, r) with times * x = n ln(2) + times * r; `times` is a power of two."""
    magic = f.const(1.5 * 2.0**f.mantissa)
    shifted = f.mad(x, f.const(times / math.log(2)), magic)
    n = f.sub(shifted, magic)
    high, low = LN2[f.single]
    r = f.mad(n, f.const(-high / times), x)
    return shifted, n, f.mad(n, f.const(-low / times), r)


def exp_reduced(f: Lanes, r: str) -> str:
    """exp(r) for |r| <= ln(2)/2."""
    return f.mad(f.mad(f.poly(r, _EXP[f.single]), r, f.const(1.0)), r, f.const(1.0))


def exp(f: Lanes, x: str) -> str:
    n, r = reduce_ln2(f, clamp(f, x, *_EXP_RANGE[f.single]))
    return scale(f, exp_reduced(f, r), n)


def exp2(f: Lanes, x: str) -> str:
    x = clamp(f, x, *_EXP2_RANGE[f.single])
    n = f.nearest(x)
    return scale(f, exp_reduced(f, f.mul(f.sub(x, n), f.const(math.log(2)))), n)


def _expm1_reduced(f: Lanes, r: str) -> str:
    """expm1(r) for |r| <= ln(2)/2."""
    return f.mad(f.mul(r, r), f.poly(r, _EXPM1[f.single]), r)


def expm1(f: Lanes, x: str) -> str:
    low = -20.0 if f.single else -40.0  # the result is -1 from there down
    n, r = reduce_ln2(f, clamp(f, x, low, _EXP_RANGE[f.single][1]))
    # 2**n expm1(r) + (2**n - 1), in halves, since 2**n overflows before the result does.
    half = pow2(f, f.sub(n, f.const(1.0)))
    result = f.mad(_expm1_reduced(f, r), half, f.sub(half, f.const(0.5)))
    # The smallest subnormals keep their bits, and -0.0 its sign.
    result = f.select(f.cmp("oeq", n, f.const(0.0)), _expm1_reduced(f, r), f.add(result, result))
    return f.copysign(result, x)


def tanh(f: Lanes, x: str) -> str:
    """h / (h + 1) with h = expm1(2a) / 2, a = |x|."""
    a = f.min(f.const(10.0 if f.single else 20.0), f.abs(x))
    shifted, _, r = _reduced(f, a, 2)
    # n stands in the last bits of the sum; the shift moves it into the exponent and everything else out.
    power = f.float(f.iadd(f.shl(f.bits(shifted), f.mantissa), f.int(f.bias << f.mantissa)))
    # expm1(2r) / 2 = r + r**2 (c0 2 + c1 4 r + ..): scaled by powers of two, the coefficients are exact.
    tail = f.poly(r, [c * 2.0 ** (k + 1) for k, c in enumerate(_EXPM1[f.single])])
    small = f.mad(f.mul(r, r), tail, r)
    h = f.mad(small, power, f.mad(power, f.const(0.5), f.const(-0.5)))
    return f.copysign(f.div(h, f.add(h, f.const(1.0))), x)


def logistic(f: Lanes, x: str) -> str:
    """1 / (1 + exp(-x)), as exp(x) / (1 + exp(x)) where x is negative: without overflow."""
    e = exp(f, f.neg(f.abs(x)))
    one = f.const(1.0)
    return f.div(f.select(f.cmp("olt", x, f.const(0.0)), e, one), f.add(one, e))


def _half_expm1(f: Lanes, a: str) -> str:
    """expm1(a) / 2 for a >= 0, up to where cosh(a) overflows."""
    n, r = reduce_ln2(f, clamp(f, a, 0.0, 89.5 if f.single else 710.5))
    quarter = pow2(f, f.sub(n, f.const(2.0)))
    result = f.mad(_expm1_reduced(f, r), quarter, f.sub(quarter, f.const(0.25)))
    small = f.mul(_expm1_reduced(f, r), f.const(0.5))
    return f.select(f.cmp("oeq", n, f.const(0.0)), small, f.add(result, result))


def sinh(f: Lanes, x: str) -> str:
    """h + h / (2h + 1) with h = expm1(|x|) / 2."""
    a = f.abs(x)
    h = _half_expm1(f, a)
    rest = f.div(h, f.add(f.add(h, h), f.const(1.0)))
    large = f.cmp("ogt", h, f.const(2.0 ** (f.mantissa + 2)))
    result = f.add(h, f.select(large, f.const(0.5), rest))
    tiny = f.cmp("olt", a, f.const(2.0 ** -(f.mantissa // 2 + 2)))
    return f.select(tiny, x, f.copysign(result, x))


def cosh(f: Lanes, x: str) -> str:
    """e + 1 / (4e) with e = exp(|x|) / 2."""
    e = f.add(_half_expm1(f, f.abs(x)), f.const(0.5))
    return f.add(e, f.div(f.const(0.25), e))


# --- logarithms -----------------------------------------------------------------------------------


def split_exponent(f: Lanes, x: str) -> tuple[str, str, str]:
    """(e, m, b) for a positive normal x = 2**e m with m in [sqrt(1/2), sqrt(2)): floats, and e's bits in the exponent field."""
    low = f.int(_bits_of_sqrt_half(f))
    # With the mantissa counted from sqrt(1/2), the exponent field is e + bias.
    shifted = f.iadd(f.isub(f.bits(x), low), f.int(f.bias << f.mantissa))
    field = f.iand(shifted, f.int(-1 << f.mantissa))
    mantissa = f.float(f.iadd(f.iand(shifted, f.int((1 << f.mantissa) - 1)), low))
    exponent = f.isub(f.lshr(shifted, f.mantissa), f.int(f.bias))
    return small_float(f, exponent), mantissa, field


def small_float(f: Lanes, n: str) -> str:
    """The float of a small integer; no CPU before AVX-512 converts vectors of 64-bit integers."""
    if f.single:
        return f.from_int(n)
    magic = 1.5 * 2.0**f.mantissa
    return f.sub(f.float(f.iadd(n, f.int(_bits_of(magic)))), f.const(magic))


def _bits_of(x: float) -> int:
    return int(struct.unpack("<q", struct.pack("<d", x))[0])


def _bits_of_sqrt_half(f: Lanes) -> int:
    return 0x3F3504F3 if f.single else 0x3FE6A09E667F3BCD


def log_near_one(f: Lanes, u: str, e: str) -> str:
    """log(1 + u) + e ln(2), for 1 + u in [sqrt(1/2), sqrt(2)]."""
    high, low = (f.const(c) for c in LN2[f.single])
    square = f.mul(u, u)
    if f.single:
        tail = f.mad(e, low, f.mul(f.mul(u, square), f.poly(u, _LOG_SINGLE)))
        tail = f.mad(square, f.const(-0.5), tail)
        return f.mad(e, high, f.add(u, tail))
    # With s = u / (2 + u): log(1 + u) = u - h + s (h + R(s**2)), h = u**2 / 2.
    half = f.mul(square, f.const(0.5))
    s = f.div(u, f.add(u, f.const(2.0)))
    z = f.mul(s, s)
    tail = f.mad(s, f.add(half, f.mul(z, f.poly(z, _LOG_DOUBLE))), f.mul(e, low))
    return f.mad(e, high, f.sub(u, f.sub(half, tail)))


def _log_special(f: Lanes, x: str, result: str) -> str:
    """`result`, with what a logarithm is where `x` (which is 0 at the pole) is not positive and finite."""
    infinity, zero = f.const(math.inf), f.const(0.0)
    result = f.select(f.cmp("oeq", x, infinity), infinity, result)
    result = f.select(f.cmp("oeq", x, zero), f.const(-math.inf), result)
    return f.select(f.cmp("ult", x, zero), f.const(math.nan), result)


def log(f: Lanes, x: str) -> str:
    e, m, _ = split_exponent(f, x)
    result = log_near_one(f, f.sub(m, f.const(1.0)), e)
    # One comparison finds zero, subnormals, negative numbers, infinities and NaN.
    smallest = 1 << f.mantissa
    above = f.isub(f.bits(x), f.int(smallest))
    strange = f.icmp("uge", above, f.int((2 * f.bias + 1 << f.mantissa) - smallest))
    return f.where_any(strange, result, lambda: _log_any(f, x))


def _log_any(f: Lanes, x: str) -> str:
    """As `log`, of any number."""
    lift = f.mantissa + 2
    small = f.cmp("olt", x, f.const(2.0 ** (1 - f.bias)))
    normal = f.select(small, f.mul(x, f.const(2.0**lift)), x)
    e, m, _ = split_exponent(f, normal)
    e = f.sub(e, f.select(small, f.const(float(lift)), f.const(0.0)))
    return _log_special(f, x, log_near_one(f, f.sub(m, f.const(1.0)), e))


def log1p(f: Lanes, x: str) -> str:
    """log(u) with u = 1 + x, and what the sum lost added to the reduced argument."""
    one = f.const(1.0)
    u = f.add(x, one)
    lost = f.select(f.cmp("ogt", x, one), f.sub(one, f.sub(u, x)), f.sub(x, f.sub(u, one)))
    e, m, field = split_exponent(f, u)
    inverse = f.float(f.isub(f.int(2 * f.bias << f.mantissa), field))  # 2**-e
    near = f.sub(m, one)
    # The loss does not count for large u, whose inverse is not a number.
    corrected = f.select(f.cmp("olt", x, f.const(2.0 ** (f.mantissa + 2))), f.mad(lost, inverse, near), near)
    result = log_near_one(f, corrected, e)
    outside = f.negate(f.both(f.cmp("ogt", x, f.const(-1.0)), f.cmp("olt", x, f.const(math.inf))))
    result = f.where_any(outside, result, lambda: _log_special(f, u, result))
    # Keeps -0.0, and subnormals exact.
    return f.select(f.cmp("olt", f.abs(x), f.const(2.0 ** -(f.mantissa + 2))), x, result)


def asinh(f: Lanes, x: str) -> str:
    """log1p(a + a**2 / (1 + sqrt(a**2 + 1))) for a = |x|; log(2a) where a is large."""
    a = f.abs(x)
    one = f.const(1.0)
    square = f.mul(a, a)
    inner = f.add(a, f.div(square, f.add(one, f.sqrt(f.add(square, one)))))
    large = f.cmp("ogt", a, f.const(2.0 ** (f.mantissa + 3)))
    result = log1p(f, f.select(large, a, inner))
    result = f.add(result, f.select(large, f.const(math.log(2)), f.const(0.0)))
    return f.copysign(result, x)


def acosh(f: Lanes, x: str) -> str:
    """log1p(t + sqrt(2t + t**2)) for t = x - 1; log(2x) where x is large."""
    one = f.const(1.0)
    t = f.sub(x, one)
    inner = f.add(t, f.sqrt(f.mad(t, t, f.add(t, t))))
    large = f.cmp("ogt", x, f.const(2.0 ** (f.mantissa + 3)))
    result = log1p(f, f.select(large, x, inner))
    result = f.add(result, f.select(large, f.const(math.log(2)), f.const(0.0)))
    return f.select(f.cmp("ult", x, one), f.const(math.nan), result)


def atanh(f: Lanes, x: str) -> str:
    """log1p(2a / (1 - a)) / 2 for a = |x|."""
    a = f.abs(x)
    inner = f.div(f.add(a, a), f.sub(f.const(1.0), a))
    return f.copysign(f.mul(log1p(f, inner), f.const(0.5)), x)
