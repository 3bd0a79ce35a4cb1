"""sin, cos, tan and their inverses on vectors of floats.

Argument reduction: x = q pi/2 + r with |r| <= pi/4, in two ways.  Up to a few thousand quarter turns pi/2 is split into parts
whose products with q are exact or fused (Cody and Waite).  Beyond that, lanes go one by one through `_reduce_huge`, a
function that multiplies by as many bits of 2/pi as matter (Payne and Hanek); a branch skips it when no lane needs it.
"""

from __future__ import annotations

import math
from typing import Final

from fdl.tracer import dtypes

from .lanes import Lanes, coefficients
from .text import ATTRIBUTE_COLD, branch, vec

_h = float.fromhex

# (sin(r) - r) / r**3 in r**2, for |r| <= pi/4: 2**-28.0 (single); 2**-57.5
_SIN = {
    True: coefficients("-0x1.555556p-3 0x1.111108p-7 -0x1.a00f6ap-13 0x1.6cccc8p-19"),
    False: coefficients(
        "-0x1.5555555555548p-3 0x1.111111110f74dp-7 -0x1.a01a019becf19p-13 0x1.71de35589649ap-19 -0x1.ae5e4e45271c8p-26 "
        "0x1.5d8c276ca731dp-33"
    ),
}
# (cos(r) - 1 + r**2 / 2) / r**4 in r**2: 2**-32.3; 2**-59.0
_COS = {
    True: coefficients("0x1.55554ap-5 -0x1.6c0c1ep-10 0x1.99e53ap-16"),
    False: coefficients(
        "0x1.555555555554ap-5 -0x1.6c16c16c14efcp-10 0x1.a01a019c7562ap-16 -0x1.27e4f7dfb822ep-22 0x1.1ee9d00587572p-29 "
        "-0x1.8fa08922febf1p-37"
    ),
}
# (tan(r) - r) / r**3 in r**2, for |r| <= pi/4: 2**-27.6; 2**-58.0
_TAN = {
    True: coefficients("0x1.555560p-2 0x1.110d74p-3 0x1.bae0b4p-5 0x1.5c7c62p-6 0x1.6424bcp-7 0x1.885f04p-15 0x1.2038c4p-8"),
    False: coefficients(
        "0x1.555555555555ep-2 0x1.11111111105c4p-3 0x1.ba1ba1babff2cp-5 0x1.664f485cfbe4dp-6 0x1.226e3a86affdfp-7 "
        "0x1.d6d2e6d11ef04p-9 0x1.7db19b471c85fp-10 0x1.34bb9f9015b71p-11 0x1.ff3569398da05p-13 0x1.5e55934cd48f4p-14 "
        "0x1.1a36334361526p-14 -0x1.af756db724b77p-16 0x1.989924063f426p-15 -0x1.97e1b2aba0897p-16 0x1.49186e84bfc5fp-17"
    ),
}
# (atan(t) - t) / t**3 in t**2, for |t| <= sqrt(2) - 1: 2**-28.3; 2**-58.4
_ATAN = {
    True: coefficients("-0x1.55554ap-2 0x1.999188p-3 -0x1.23b3f6p-3 0x1.b1d9dep-4 -0x1.f18c52p-5"),
    False: coefficients(
        "-0x1.555555555553cp-2 0x1.9999999995696p-3 -0x1.24924922a2473p-3 0x1.c71c70e1cb270p-4 -0x1.745cf862633fcp-4 "
        "0x1.3b1110a222687p-4 -0x1.10eb57aadadb3p-4 0x1.df09c74e8fd76p-5 -0x1.9cb9c13c43054p-5 0x1.3795c9922de15p-5 "
        "-0x1.24dd97ff92e5fp-6"
    ),
}
# (asin(t) - t) / t**3 in t**2, for |t| <= 1/2: 2**-30.1; 2**-58.2
_ASIN = {
    True: coefficients("0x1.55554cp-3 0x1.333880p-4 0x1.6cae50p-5 0x1.04962cp-5 0x1.d8d6c4p-7 0x1.3370b2p-5"),
    False: coefficients(
        "0x1.5555555555577p-3 0x1.333333332e08dp-4 0x1.6db6db7219e7dp-5 0x1.f1c71a922242ep-6 0x1.6e8bdf3073e01p-6 "
        "0x1.1c49eaa538976p-6 0x1.ca2019040ec30p-7 0x1.7580fd966f40bp-7 0x1.6156899ea9e30p-7 0x1.e465188d1cd90p-9 "
        "0x1.6418a0f72655fp-6 -0x1.58b0a3afa926ep-6 0x1.0b7fd4f7338ddp-5"
    ),
}
# pi/2 in parts. Single, for fused multiply-adds: 24 bits each. Double: 33 bits, 33 bits, the rest.
_HALF_PI_SINGLE = coefficients("0x1.921fb6p+0 -0x1.777a5cp-25 -0x1.ee59dap-50")
_HALF_PI_DOUBLE = coefficients("0x1.921fb544p+0 0x1.0b4611a6p-34 0x1.3198a2e037073p-69")
# pi/2 as a sum of two numbers of the format.
_HALF_PI = {
    True: (_h("0x1.921fb6p+0"), _h("-0x1.777a5cp-25")),
    False: (_h("0x1.921fb54442d18p+0"), _h("0x1.1a62633145c07p-54")),
}
_NEAR_LIMIT = {True: 32768.0, False: 1e6}
"""Arguments up to here are reduced with the parts above."""

_TINY = {True: 2.0**-100, False: 2.0**-960}

_TWO_OVER_PI: Final = (
    0, 0xA2F9836E4E441529, 0xFC2757D1F534DDC0, 0xDB6295993C439041, 0xFE5163ABDEBBC561, 0xB7246E3A424DD2E0, 0x06492EEA09D1921C,
    0xFE1DEB1CB129A73E, 0xE88235F52EBB4484, 0xE99C7026B45F7E41, 0x3991D639835339F4, 0x9C845F8BBDF9283B, 0x1FF897FFDE05980F,
    0xEF2F118B5A0A6D1F, 0x6D367ECF27CB09B7, 0x4F463F669E5FEA2D, 0x7527BAC7EBE5F17B, 0x3D0739F78A5292EA, 0x6BFB5FB11F8D5D08,
    0x56033046FC7B6BAB, 0xF0CFBC209AF4361D,
)  # fmt: skip
"""2/pi in words of 64 bits, after 64 zero bits in front of the point."""


def _reduce(f: Lanes, x: str) -> tuple[str, str]:
    """(r, q): the reduced argument and the number of quarter turns, modulo 4, in the low bits of an integer."""
    if f.single and not f.code.target.fma:
        r, q = _reduce_near(f.as_dtype(dtypes.float64), f.code.pure(f"fpext {f.type} {x} to {vec('double', f.lanes)}", x))
        wide = vec("double", f.lanes)
        r = f.code.pure(f"fptrunc {wide} {r} to {f.type}", r)
        q = f.code.pure(f"trunc {vec('i64', f.lanes)} {q} to {f.bits_type}", q)
    else:
        r, q = _reduce_near(f, x)
    magnitude = f.abs(x)
    far = f.cmp("ogt", magnitude, f.const(_NEAR_LIMIT[f.single]))
    huge = f.both(far, f.cmp("olt", magnitude, f.const(math.inf)))
    return _reduce_far(f, x, huge, r, q)


def _reduce_near(f: Lanes, x: str) -> tuple[str, str]:
    magic = f.const(1.5 * 2.0**f.mantissa)
    turned = f.mad(x, f.const(2 / math.pi), magic)
    n = f.sub(turned, magic)
    q = f.bits(turned)
    if f.single:
        for part in _HALF_PI_SINGLE:
            x = f.mad(n, f.const(-part), x)
        return x, q
    # The first two products are exact; what the second subtraction loses goes with the third.
    first, second, third = (f.const(p) for p in _HALF_PI_DOUBLE)
    t = f.sub(x, f.mul(n, first))
    w = f.mul(n, second)
    r = f.sub(t, w)
    lost = f.sub(f.sub(t, r), w)
    return f.add(r, f.sub(lost, f.mul(n, third))), q


def _reduce_far(f: Lanes, x: str, huge: str, r: str, q: str) -> tuple[str, str]:
    """(r, q) with the lanes that are `huge` reduced one by one."""
    code, lanes = f.code, f.lanes
    code.module.globals.setdefault("two_over_pi", _TABLE)
    code.module.helpers.setdefault("fdl.reduce", _REDUCE)
    for line in _REDUCE_DECLARES:
        code.module.declare(line)
    arguments, remainders = code.alloca("double", lanes, 64), code.alloca("double", lanes, 64)
    quarters = code.alloca("i64", lanes, 64)
    doubles, longs = vec("double", lanes), vec("i64", lanes)
    slow, done = code.label("huge"), code.label("reduced")
    before = code.block
    with code.scope(branch(code.any_lane(huge, lanes), slow, done), pinned=True):
        code.start(slow)
        x_wide, r_wide, q_wide = x, r, q
        if f.single:
            x_wide = code.emit(f"fpext {f.type} {x} to {doubles}")
            r_wide = code.emit(f"fpext {f.type} {r} to {doubles}")
            q_wide = code.emit(f"zext {f.bits_type} {q} to {longs}")
        for kind, value, where in ((doubles, x_wide, arguments), (doubles, r_wide, remainders), (longs, q_wide, quarters)):
            code.do(f"store {kind} {value}, ptr {where}, align 64")
        limit = f.as_dtype(dtypes.float64)
        bound = Lanes(code, limit.dtype, 1).const(_NEAR_LIMIT[f.single])
        code.do(f"call void @fdl.reduce(ptr {arguments}, ptr {remainders}, ptr {quarters}, i64 {lanes}, double {bound})")
        new_r = code.emit(f"load {doubles}, ptr {remainders}, align 64")
        new_q = code.emit(f"load {longs}, ptr {quarters}, align 64")
        if f.single:
            new_r = code.emit(f"fptrunc {doubles} {new_r} to {f.type}")
            new_q = code.emit(f"trunc {longs} {new_q} to {f.bits_type}")
        after = code.block
        code.go(done)
    code.start(done)
    r = code.emit(f"phi {f.type} [ {r}, %{before} ], [ {new_r}, %{after} ]")
    q = code.emit(f"phi {f.bits_type} [ {q}, %{before} ], [ {new_q}, %{after} ]")
    return r, q


def _sin_cos_reduced(f: Lanes, r: str) -> tuple[str, str]:
    """sin(r) and cos(r) for |r| <= pi/4."""
    z = f.mul(r, r)
    sine = f.mad(f.mul(r, z), f.poly(z, _SIN[f.single]), r)
    cosine = f.mad(f.mul(z, z), f.poly(z, _COS[f.single]), f.mad(z, f.const(-0.5), f.const(1.0)))
    return sine, cosine


def _odd(f: Lanes, q: str) -> str:
    return f.icmp("ne", f.iand(q, f.int(1)), f.int(0))


def _flip(f: Lanes, x: str, q: str) -> str:
    """`x`, negated where q has bit 1."""
    return f.float(f.ixor(f.bits(x), f.shl(f.iand(q, f.int(2)), f.width - 2)))


def sin(f: Lanes, x: str) -> str:
    r, q = _reduce(f, x)
    sine, cosine = _sin_cos_reduced(f, r)
    return f.select(f.cmp("oeq", x, f.const(0.0)), x, _flip(f, f.select(_odd(f, q), cosine, sine), q))


def cos(f: Lanes, x: str) -> str:
    r, q = _reduce(f, x)
    sine, cosine = _sin_cos_reduced(f, r)
    return _flip(f, f.select(_odd(f, q), sine, cosine), f.iadd(q, f.int(1)))


def tan(f: Lanes, x: str) -> str:
    r, q = _reduce(f, x)
    z = f.mul(r, r)
    tangent = f.mad(f.mul(r, z), f.poly(z, _TAN[f.single]), r)
    result = f.select(_odd(f, q), f.div(f.const(-1.0), tangent), tangent)
    return f.select(f.cmp("oeq", x, f.const(0.0)), x, result)


# --- inverse functions ----------------------------------------------------------------------------


def _atan_ratio(f: Lanes, y: str, x: str) -> str:
    """atan(y / x) for y, x >= 0, not both zero or infinite.

    Around the diagonal, atan(y / x) = pi/4 + atan((y - x) / (y + x)); above it, pi/2 - atan(x / y).
    """
    slope = f.const(math.sqrt(2) - 1)
    low = f.cmp("ole", y, f.mul(x, slope))
    high = f.cmp("olt", x, f.mul(y, slope))
    top = f.select(low, y, f.select(high, f.neg(x), f.sub(y, x)))
    bottom = f.select(low, x, f.select(high, y, f.add(y, x)))
    t = f.div(top, bottom)
    z = f.mul(t, t)
    tail = f.mul(f.mul(t, z), f.poly(z, _ATAN[f.single]))
    pi_high, pi_low = _HALF_PI[f.single]
    zero = f.const(0.0)
    base = f.select(low, zero, f.select(high, f.const(pi_high), f.const(pi_high / 2)))
    rest = f.select(low, zero, f.select(high, f.const(pi_low), f.const(pi_low / 2)))
    return f.add(base, f.add(t, f.add(tail, rest)))


def atan(f: Lanes, x: str) -> str:
    a = f.abs(x)
    # Infinity becomes a number that gives pi/2 as well, and does not divide by itself.
    a = f.min(f.const(2.0 ** (f.bias // 2)), a)
    return f.copysign(_atan_ratio(f, a, f.const(1.0)), x)


def atan2(f: Lanes, y: str, x: str) -> str:
    """The angle of (x, y), for zeros and infinities as C defines it."""
    a, b = f.abs(y), f.abs(x)
    infinite = f.const(math.inf)
    both = f.both(f.cmp("oeq", a, infinite), f.cmp("oeq", b, infinite))
    neither = f.both(f.cmp("oeq", a, f.const(0.0)), f.cmp("oeq", b, f.const(0.0)))
    one, zero = f.const(1.0), f.const(0.0)
    # Scaled down where their sum may overflow, and up where the slope's rounding would count.
    large = f.cmp("ogt", f.select(f.cmp("ogt", a, b), a, b), f.const(2.0 ** (f.bias - 2)))
    small = f.both(f.cmp("olt", a, f.const(_TINY[f.single])), f.cmp("olt", b, f.const(_TINY[f.single])))
    factor = f.select(large, f.const(0.25), f.select(small, f.const(2.0 ** (2 * f.mantissa)), one))
    side_a = f.select(both, one, f.mul(a, factor))
    side_b = f.select(both, one, f.select(neither, one, f.mul(b, factor)))
    # One infinite side: any finite pair with the same answer.
    a_infinite, b_infinite = f.cmp("oeq", side_a, infinite), f.cmp("oeq", side_b, infinite)
    side_b = f.select(b_infinite, one, f.select(a_infinite, zero, side_b))
    side_a = f.select(a_infinite, one, f.select(b_infinite, zero, side_a))
    angle = _atan_ratio(f, side_a, side_b)
    pi_high, pi_low = (2 * part for part in _HALF_PI[f.single])
    negative = f.icmp("slt", f.bits(x), f.int(0))
    turned = f.sub(f.const(pi_high), f.sub(angle, f.const(pi_low)))
    angle = f.select(negative, turned, angle)
    return f.select(f.cmp("uno", x, y), f.const(math.nan), f.copysign(angle, y))


def _asin_core(f: Lanes, x: str) -> tuple[str, str, str, str]:
    """(large, t, tail, a): asin(t) = t + tail, where t = |x|, or sqrt((1 - |x|) / 2) where |x| > 1/2 is `large`."""
    a = f.abs(x)
    large = f.cmp("ogt", a, f.const(0.5))
    halved = f.mul(f.sub(f.const(1.0), a), f.const(0.5))
    z = f.select(large, halved, f.mul(a, a))
    t = f.select(large, f.sqrt(halved), a)
    return large, t, f.mul(f.mul(t, z), f.poly(z, _ASIN[f.single])), a


def asin(f: Lanes, x: str) -> str:
    """For |x| > 1/2, pi/2 - 2 asin(sqrt((1 - |x|) / 2))."""
    large, t, tail, _ = _asin_core(f, x)
    pi_high, pi_low = _HALF_PI[f.single]
    twice = f.add(t, t)
    folded = f.sub(f.const(pi_high), f.sub(twice, f.sub(f.const(pi_low), f.add(tail, tail))))
    return f.copysign(f.select(large, folded, f.add(t, tail)), x)


def acos(f: Lanes, x: str) -> str:
    """pi/2 - asin(x); for |x| > 1/2, 2 asin(sqrt((1 - |x|) / 2)), or pi less that."""
    large, t, tail, _ = _asin_core(f, x)
    pi_high, pi_low = _HALF_PI[f.single]
    negative = f.cmp("olt", x, f.const(0.0))
    near = f.sub(f.const(pi_high), f.sub(f.copysign(t, x), f.sub(f.const(pi_low), f.copysign(tail, x))))
    twice, twice_tail = f.add(t, t), f.add(tail, tail)
    positive_end = f.add(twice, twice_tail)
    negative_end = f.sub(f.const(2 * pi_high), f.sub(twice, f.sub(f.const(2 * pi_low), twice_tail)))
    return f.select(large, f.select(negative, negative_end, positive_end), near)


# --- huge arguments -------------------------------------------------------------------------------


_TABLE: Final = (
    f"@fdl.two_over_pi = private unnamed_addr constant [{len(_TWO_OVER_PI) + 1} x i64] ["
    + ", ".join(f"i64 {w - (w >> 63 << 64)}" for w in (*_TWO_OVER_PI, 0))
    + "], align 64"
)
_REDUCE_DECLARES: Final = (
    "declare i64 @llvm.fshl.i64(i64, i64, i64)",
    "declare i64 @llvm.ctlz.i64(i64, i1)",
    "declare double @llvm.fabs.f64(double)",
    "declare double @llvm.copysign.f64(double, double)",
)

# For lanes with bound < |x| < infinity. x = m 2**(e - 52) with m of 53 bits.  Bits of 2/pi above e - 54 make whole turns, so
# the 192 bits from there on, times m, modulo 2**192, are 2 bits of quarter turns and 190 of a fraction.  The
# fraction loses at most 61 leading bits to cancellation (the worst double).
_REDUCE: Final = f"""\
define internal void @fdl.reduce(ptr %x, ptr %r, ptr %q, i64 %n, double %bound) {ATTRIBUTE_COLD} {{
entry:
  br label %lane
lane:
  %i = phi i64 [ 0, %entry ], [ %i.next, %next ]
  %x.slot = getelementptr inbounds double, ptr %x, i64 %i
  %value = load double, ptr %x.slot, align 8
  %size = call double @llvm.fabs.f64(double %value)
  %beyond = fcmp ogt double %size, %bound
  %finite = fcmp olt double %size, 0x7FF0000000000000
  %needed = and i1 %beyond, %finite
  br i1 %needed, label %work, label %next
work:
  %bits = bitcast double %size to i64
  %field = lshr i64 %bits, 52
  %position = sub i64 %field, 1013
  %fraction.bits = and i64 %bits, 4503599627370495
  %m64 = or i64 %fraction.bits, 4503599627370496
  %word = lshr i64 %position, 6
  %turn = and i64 %position, 63
  %p0 = getelementptr inbounds i64, ptr @fdl.two_over_pi, i64 %word
  %p1 = getelementptr inbounds i64, ptr %p0, i64 1
  %p2 = getelementptr inbounds i64, ptr %p0, i64 2
  %p3 = getelementptr inbounds i64, ptr %p0, i64 3
  %w0 = load i64, ptr %p0, align 8
  %w1 = load i64, ptr %p1, align 8
  %w2 = load i64, ptr %p2, align 8
  %w3 = load i64, ptr %p3, align 8
  %a64 = call i64 @llvm.fshl.i64(i64 %w0, i64 %w1, i64 %turn)
  %b64 = call i64 @llvm.fshl.i64(i64 %w1, i64 %w2, i64 %turn)
  %c64 = call i64 @llvm.fshl.i64(i64 %w2, i64 %w3, i64 %turn)
  %m = zext i64 %m64 to i128
  %a = zext i64 %a64 to i128
  %b = zext i64 %b64 to i128
  %c = zext i64 %c64 to i128
  %mc = mul i128 %m, %c
  %low = trunc i128 %mc to i64
  %carry0 = lshr i128 %mc, 64
  %mb = mul i128 %m, %b
  %sum1 = add i128 %mb, %carry0
  %middle = trunc i128 %sum1 to i64
  %carry1 = lshr i128 %sum1, 64
  %ma = mul i128 %m, %a
  %sum2 = add i128 %ma, %carry1
  %high = trunc i128 %sum2 to i64
  %quarter = lshr i64 %high, 62
  %f1 = call i64 @llvm.fshl.i64(i64 %high, i64 %middle, i64 2)
  %f0 = call i64 @llvm.fshl.i64(i64 %middle, i64 %low, i64 2)
  %over = icmp slt i64 %f1, 0
  %over64 = zext i1 %over to i64
  %quarters = add i64 %quarter, %over64
  %f1.wide = zext i64 %f1 to i128
  %f0.wide = zext i64 %f0 to i128
  %f1.up = shl i128 %f1.wide, 64
  %f = or i128 %f1.up, %f0.wide
  %f.neg = sub i128 0, %f
  %g = select i1 %over, i128 %f.neg, i128 %f
  %g.shift = lshr i128 %g, 64
  %g.high = trunc i128 %g.shift to i64
  %zeros = call i64 @llvm.ctlz.i64(i64 %g.high, i1 false)
  %zeros.wide = zext i64 %zeros to i128
  %normal = shl i128 %g, %zeros.wide
  %top.shift = lshr i128 %normal, 64
  %top = trunc i128 %top.shift to i64
  %top.wide = zext i64 %top to i128
  %product = mul i128 %top.wide, 14488038916154245685
  %product.shift = lshr i128 %product, 65
  %product.top = trunc i128 %product.shift to i64
  %sticky = or i64 %product.top, 1
  %float = sitofp i64 %sticky to double
  %scale.field = sub i64 961, %zeros
  %scale.bits = shl i64 %scale.field, 52
  %scale = bitcast i64 %scale.bits to double
  %angle = fmul double %float, %scale
  %minus.over = fneg double %angle
  %signed = select i1 %over, double %minus.over, double %angle
  %negative = fcmp olt double %value, 0.0
  %minus.signed = fneg double %signed
  %result = select i1 %negative, double %minus.signed, double %signed
  %minus.quarters = sub i64 0, %quarters
  %count = select i1 %negative, i64 %minus.quarters, i64 %quarters
  %r.slot = getelementptr inbounds double, ptr %r, i64 %i
  store double %result, ptr %r.slot, align 8
  %q.slot = getelementptr inbounds i64, ptr %q, i64 %i
  store i64 %count, ptr %q.slot, align 8
  br label %next
next:
  %i.next = add i64 %i, 1
  %more = icmp ult i64 %i.next, %n
  br i1 %more, label %lane, label %done
done:
  ret void
}}
"""
