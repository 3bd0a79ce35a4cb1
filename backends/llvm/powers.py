"""pow, cbrt, 1 / sqrt and the floating-point remainder on vectors of floats."""

from __future__ import annotations

import math
from typing import Final

from fdl.tracer import dtypes

from .exact import Pair, product, quick_sum
from .explog import clamp, exp_reduced, pow2, scale, split_exponent
from .lanes import Lanes, coefficients
from .text import ATTRIBUTE_COLD, branch, vec

_h = float.fromhex

# cbrt(m) for m in [1, 2]: 2**-16.7
_CBRT = coefficients(
    "0x1.0392cf88cf234p-1 0x1.6fb1d5167f6c8p-1 -0x1.33d3676892c0ep-2 0x1.60a1108d2aa51p-4 -0x1.5b7785bf1c06cp-7"
)
# (log((1 + s) / (1 - s)) - 2 s - 2/3 s**3) / s**5 in s**2, for |s| <= 0.1716: 2**-65.7 of the logarithm
_LOG_TAIL = coefficients(
    "0x1.9999999999b33p-2 0x1.2492492457802p-2 0x1.c71c722de39ebp-3 0x1.745ce9b6b4f82p-3 0x1.3b1ef462e293bp-3 "
    "0x1.0f7f209a37f65p-3 0x1.0e4a305927202p-3"
)
# (log((1 + s) / (1 - s)) - 2 s) / s**3 in s**2: 2**-44.9, for single precision in doubles
_LOG_SHORT = coefficients(
    "0x1.555555561f2fdp-1 0x1.999996a6846bep-2 0x1.24941332b81a5p-2 0x1.c62aa175744f5p-3 0x1.911c851b825aep-3"
)
# 2**t for |t| <= 1/2: 2**-34.5, likewise
_EXP2_SHORT = coefficients(
    "0x1.ffffffffaa5f2p-1 0x1.62e42ff11c1e5p-1 0x1.ebfbe0a6d0b0fp-3 0x1.c6b08aa6b91dep-5 0x1.3b29da81b6903p-7 "
    "0x1.5d8a757f1aab3p-10 0x1.446b8875ef67cp-13 0x1.fe15d8e9b2095p-17"
)
_TWO_THIRDS = (_h("0x1.5555555555555p-1"), _h("0x1.5555555555555p-55"))
_LOG2_E = (_h("0x1.71547652b82fep+0"), _h("0x1.777d0ffda0d24p-56"))


def rsqrt(f: Lanes, x: str) -> str:
    return f.div(f.const(1.0), f.sqrt(x))


def double(f: Lanes, x: str) -> str:
    """The same numbers in double precision."""
    return f.code.pure(f"fpext {f.type} {x} to {vec('double', f.lanes)}", x)


def single(f: Lanes, x: str) -> str:
    """Doubles rounded to the format of `f`, which is float."""
    return f.code.pure(f"fptrunc {vec('double', f.lanes)} {x} to {f.type}", x)


def cbrt(f: Lanes, x: str) -> str:
    """A polynomial's estimate, then Halley's and Newton's steps (for floats one of Newton's, in double precision)."""
    if f.single:
        return single(f, _cbrt(f.as_dtype(dtypes.float64), double(f, x), steps=1))
    return _cbrt(f, x, steps=2)


def _cbrt(f: Lanes, x: str, steps: int) -> str:
    a = f.abs(x)
    small = f.cmp("olt", a, f.const(2.0 ** (1 - f.bias)))
    bits = f.bits(f.select(small, f.mul(a, f.const(2.0**54)), a))
    field = f.lshr(bits, f.mantissa)
    # field / 3: the factor is 2**16 / 3 rounded up, good to 2**14. The bias, 1023, is 3 * 341.
    third = f.lshr(f.imul(field, f.int(21846)), 16)
    rest = f.isub(field, f.imul(third, f.int(3)))
    m = f.float(f.ior(f.iand(bits, f.int((1 << f.mantissa) - 1)), f.int(f.bias << f.mantissa)))
    root = f.select(
        f.icmp("eq", rest, f.int(0)),
        f.const(1.0),
        f.select(f.icmp("eq", rest, f.int(1)), f.const(2 ** (1 / 3)), f.const(2 ** (2 / 3))),
    )
    y = f.mul(f.poly(m, _CBRT), root)
    m = f.float(f.iadd(f.bits(m), f.shl(rest, f.mantissa)))  # now in [1, 8)
    if steps == 2:
        cube = f.mul(f.mul(y, y), y)
        twice_m, twice_cube = f.add(m, m), f.add(cube, cube)
        y = f.mul(y, f.div(f.add(cube, twice_m), f.add(twice_cube, m)))
    square = f.mul(y, y)
    y = f.sub(y, f.div(f.mad(square, y, f.neg(m)), f.mul(square, f.const(3.0))))
    exponent = f.isub(f.isub(third, f.iselect(small, f.int(18), f.int(0))), f.int(341))
    y = f.float(f.iadd(f.bits(y), f.shl(exponent, f.mantissa)))
    plain = f.both(f.cmp("ogt", a, f.const(0.0)), f.cmp("olt", a, f.const(math.inf)))
    return f.select(plain, f.copysign(y, x), x)


# --- pow ------------------------------------------------------------------------------------------


def power(f: Lanes, x: str, y: str) -> str:
    """x ** y with C's special cases."""
    if y == f.const(2.0):
        return f.mul(x, x)
    if y == f.const(1.0):
        return x
    a = f.abs(x)
    magnitude = _power_single(f, a, y) if f.single else _power_double(f, a, y)
    return _power_special(f, x, y, a, magnitude)


def _power_single(f: Lanes, a: str, y: str) -> str:
    """a ** y for positive finite floats, in double precision."""
    d = f.as_dtype(dtypes.float64)
    e, m, _ = split_exponent(d, double(f, a))
    near = d.sub(m, d.const(1.0))
    s = d.div(near, d.add(m, d.const(1.0)))
    z = d.mul(s, s)
    log = d.mad(d.mul(s, z), d.poly(z, _LOG_SHORT), d.add(s, s))
    t = d.mul(double(f, y), d.mad(log, d.const(_LOG2_E[0]), e))
    t = clamp(d, t, -160.0, 160.0)
    n = d.nearest(t)
    return single(f, d.mul(d.poly(d.sub(t, n), _EXP2_SHORT), pow2(d, n)))


def _log2_pair(f: Lanes, a: str) -> Pair:
    """log2(a) for positive finite doubles, to about 2**-66."""
    small = f.cmp("olt", a, f.const(2.0 ** (1 - f.bias)))
    e, m, _ = split_exponent(f, f.select(small, f.mul(a, f.const(2.0**54)), a))
    e = f.sub(e, f.select(small, f.const(54.0), f.const(0.0)))
    one = f.const(1.0)
    # s = (m - 1) / (m + 1) as a pair.
    top, bottom = f.sub(m, one), f.add(m, one)
    bottom_low = f.sub(m, f.sub(bottom, one))
    s = f.div(top, bottom)
    p, p_low = product(f, s, bottom)
    rest = f.sub(f.sub(f.sub(top, p), p_low), f.mul(s, bottom_low))
    s_low = f.div(rest, bottom)
    # log(m) = 2 s + 2/3 s**3 + s**5 R(s**2), the first two terms as pairs.
    z, z_low = product(f, s, s)
    z_low = f.mad(f.add(s, s), s_low, z_low)
    cube, cube_low = product(f, s, z)
    cube_low = f.add(f.mad(s, z_low, cube_low), f.mul(s_low, z))
    third, third_low = _scaled(f, (cube, cube_low), _TWO_THIRDS)
    tail = f.mul(f.mul(cube, z), f.poly(z, _LOG_TAIL))
    log, log_low = quick_sum(f, f.add(s, s), third)
    log_low = f.add(log_low, f.add(f.add(s_low, s_low), f.add(third_low, tail)))
    log, log_low = quick_sum(f, log, log_low)
    scaled, scaled_low = _scaled(f, (log, log_low), _LOG2_E)
    total, total_low = quick_sum(f, e, scaled)
    return quick_sum(f, total, f.add(total_low, scaled_low))


def _scaled(f: Lanes, x: Pair, factor: tuple[float, float]) -> Pair:
    """A pair times a constant one."""
    high, low = product(f, x[0], f.const(factor[0]))
    return high, f.add(low, f.mad(x[0], f.const(factor[1]), f.mul(x[1], f.const(factor[0]))))


def _power_double(f: Lanes, a: str, y: str) -> str:
    """a ** y for positive finite doubles."""
    log, log_low = _log2_pair(f, a)
    # Beyond 2**70 every power but 1's overflows or vanishes.
    y = clamp(f, y, -(2.0**70), 2.0**70)
    t, t_low = product(f, y, log)
    t_low = f.mad(y, log_low, t_low)
    t = clamp(f, t, -1100.0, 1100.0)
    n = f.nearest(t)
    fraction = clamp(f, f.add(f.sub(t, n), t_low), -1.0, 1.0)
    return scale(f, exp_reduced(f, f.mul(fraction, f.const(math.log(2)))), n)


def _whole(f: Lanes, x: str) -> str:
    """Whether x is an integer (infinity counts)."""
    a = f.abs(x)
    limit = f.const(2.0**f.mantissa)
    return f.either(f.cmp("oeq", f.sub(f.add(a, limit), limit), a), f.cmp("oge", a, limit))


def _power_special(f: Lanes, x: str, y: str, a: str, magnitude: str) -> str:
    zero, one, infinity, nan = (f.const(c) for c in (0.0, 1.0, math.inf, math.nan))
    above, positive = f.cmp("ogt", a, one), f.cmp("ogt", y, zero)
    differ = f.code.pure(f"xor {f.bool_type} {above}, {positive}", above, positive)
    y_infinite = f.cmp("oeq", f.abs(y), infinity)
    special = f.either(f.either(f.cmp("oeq", a, zero), f.cmp("oeq", a, infinity)), y_infinite)
    limit = f.select(f.both(f.cmp("oeq", a, one), y_infinite), one, f.select(differ, zero, infinity))
    result = f.select(special, limit, magnitude)
    y_whole = _whole(f, y)
    odd = f.both(y_whole, f.negate(_whole(f, f.mul(y, f.const(0.5)))))
    result = f.select(odd, f.copysign(result, x), result)
    undefined = f.both(f.both(f.cmp("olt", x, zero), f.cmp("olt", a, infinity)), f.negate(y_whole))
    result = f.select(f.either(undefined, f.cmp("uno", x, y)), nan, result)
    return f.select(f.either(f.cmp("oeq", y, zero), f.cmp("oeq", x, one)), one, result)


# --- remainder ------------------------------------------------------------------------------------


def remainder(f: Lanes, x: str, y: str) -> str:
    """C's fmod: x - n y exactly, n = x / y truncated.

    Up to a limit, the nearest quotient leaves a remainder that is exact in one step; others go through `_FMOD`, bit by bit.
    """
    if f.single:  # of 24 and 29 bits, n y is exact in double precision
        return single(f, _remainder(f.as_dtype(dtypes.float64), double(f, x), double(f, y), 2.0**29, exact=True))
    return _remainder(f, x, y, 2.0**29, exact=False)


def remainder_half(f: Lanes, x: str, y: str) -> str:
    """As `remainder`, of float16 or bfloat16 values: n y has at most 11 and 12 bits."""
    return _remainder(f, x, y, 2.0**12, exact=True)


def _remainder(f: Lanes, x: str, y: str, limit: float, *, exact: bool) -> str:
    a, b = f.abs(x), f.abs(y)
    quotient = f.div(a, b)
    n = f.nearest(f.min(quotient, f.const(limit)))
    outside = f.cmp("oge", quotient, f.const(limit))
    if exact:
        rest = f.sub(a, f.mul(n, b))
    else:
        high, low = product(f, n, b)
        rest = f.sub(f.sub(a, high), low)
        # `product` needs room at both ends.
        for beyond in (
            f.cmp("ogt", a, f.const(2.0**960)),
            f.cmp("ogt", b, f.const(2.0**960)),
            f.cmp("olt", a, f.const(2.0**-900)),
        ):
            outside = f.either(outside, beyond)
    rest = f.select(f.cmp("olt", rest, f.const(0.0)), f.add(rest, b), rest)
    infinity = f.const(math.inf)
    defined = f.both(f.cmp("olt", a, infinity), f.both(f.cmp("olt", b, infinity), f.cmp("ogt", b, f.const(0.0))))
    rest = _remainder_far(f, a, b, f.both(outside, defined), rest)
    # An infinite divisor leaves x; no remainder of infinity, or by zero, exists.
    keep = f.both(f.cmp("olt", a, infinity), f.cmp("oeq", b, infinity))
    rest = f.select(keep, a, f.select(defined, rest, f.const(math.nan)))
    return f.copysign(rest, x)


def _remainder_far(f: Lanes, a: str, b: str, far: str, rest: str) -> str:
    code, lanes = f.code, f.lanes
    code.module.helpers.setdefault("fdl.fmod", _FMOD)
    code.module.declare("declare i64 @llvm.ctlz.i64(i64, i1)")
    stack_a, stack_b, stack_r = (code.alloca("double", lanes, 64) for _ in range(3))
    stack_far = code.alloca("i8", lanes, 64)
    slow, done = code.label("far"), code.label("near")
    doubles = vec("double", lanes)
    before = code.block
    with code.scope(branch(code.any_lane(far, lanes), slow, done), pinned=True):
        code.start(slow)
        flags = code.emit(f"zext {f.bool_type} {far} to {vec('i8', lanes)}")
        code.do(f"store {vec('i8', lanes)} {flags}, ptr {stack_far}, align 64")
        for value, where in ((a, stack_a), (b, stack_b), (rest, stack_r)):
            wide = double(f, value) if f.single else value
            code.do(f"store {doubles} {wide}, ptr {where}, align 64")
        code.do(f"call void @fdl.fmod(ptr {stack_a}, ptr {stack_b}, ptr {stack_r}, ptr {stack_far}, i64 {lanes})")
        new = code.emit(f"load {doubles}, ptr {stack_r}, align 64")
        new = single(f, new) if f.single else new
        after = code.block
        code.go(done)
    code.start(done)
    return code.emit(f"phi {f.type} [ {rest}, %{before} ], [ {new}, %{after} ]")


# Long division of the normalised mantissas, as integers: one bit of the quotient for each step of the exponent.
_FMOD: Final = f"""\
define internal void @fdl.fmod(ptr %a, ptr %b, ptr %r, ptr %far, i64 %n) {ATTRIBUTE_COLD} {{
entry:
  br label %lane
lane:
  %i = phi i64 [ 0, %entry ], [ %i.next, %next ]
  %far.slot = getelementptr inbounds i8, ptr %far, i64 %i
  %flag = load i8, ptr %far.slot, align 1
  %needed = icmp ne i8 %flag, 0
  br i1 %needed, label %work, label %next
work:
  %a.slot = getelementptr inbounds i64, ptr %a, i64 %i
  %b.slot = getelementptr inbounds i64, ptr %b, i64 %i
  %a.bits = load i64, ptr %a.slot, align 8
  %b.bits = load i64, ptr %b.slot, align 8
  %a.field = lshr i64 %a.bits, 52
  %a.low = and i64 %a.bits, 4503599627370495
  %a.normal = icmp ne i64 %a.field, 0
  %a.one = select i1 %a.normal, i64 4503599627370496, i64 0
  %a.raw = or i64 %a.low, %a.one
  %a.zeros = call i64 @llvm.ctlz.i64(i64 %a.raw, i1 false)
  %a.up = sub i64 %a.zeros, 11
  %a.up.safe = and i64 %a.up, 63
  %a.m = shl i64 %a.raw, %a.up.safe
  %a.base = select i1 %a.normal, i64 %a.field, i64 1
  %a.e = sub i64 %a.base, %a.up.safe
  %b.field = lshr i64 %b.bits, 52
  %b.low = and i64 %b.bits, 4503599627370495
  %b.normal = icmp ne i64 %b.field, 0
  %b.one = select i1 %b.normal, i64 4503599627370496, i64 0
  %b.raw = or i64 %b.low, %b.one
  %b.zeros = call i64 @llvm.ctlz.i64(i64 %b.raw, i1 false)
  %b.up = sub i64 %b.zeros, 11
  %b.up.safe = and i64 %b.up, 63
  %b.m = shl i64 %b.raw, %b.up.safe
  %b.base = select i1 %b.normal, i64 %b.field, i64 1
  %b.e = sub i64 %b.base, %b.up.safe
  br label %step
step:
  %m = phi i64 [ %a.m, %work ], [ %m.next, %shift ]
  %e = phi i64 [ %a.e, %work ], [ %e.next, %shift ]
  %fits = icmp uge i64 %m, %b.m
  %less = sub i64 %m, %b.m
  %kept = select i1 %fits, i64 %less, i64 %m
  %above = icmp sgt i64 %e, %b.e
  br i1 %above, label %shift, label %finish
shift:
  %m.next = shl i64 %kept, 1
  %e.next = sub i64 %e, 1
  br label %step
finish:
  %smaller = icmp slt i64 %e, %b.e
  %m.end = select i1 %smaller, i64 %m, i64 %kept
  %below = sub i64 1, %e
  %subnormal = icmp sgt i64 %below, 0
  %right = select i1 %subnormal, i64 %below, i64 0
  %m.right = lshr i64 %m.end, %right
  %e.right = add i64 %e, %right
  %zeros = call i64 @llvm.ctlz.i64(i64 %m.right, i1 false)
  %wanted = sub i64 %zeros, 11
  %room = sub i64 %e.right, 1
  %short = icmp ult i64 %wanted, %room
  %left = select i1 %short, i64 %wanted, i64 %room
  %zero = icmp eq i64 %m.right, 0
  %left.safe = select i1 %zero, i64 0, i64 %left
  %m.normal = shl i64 %m.right, %left.safe
  %e.normal = sub i64 %e.right, %left.safe
  %hidden = lshr i64 %m.normal, 52
  %field = mul i64 %e.normal, %hidden
  %field.up = shl i64 %field, 52
  %low = and i64 %m.normal, 4503599627370495
  %bits = or i64 %field.up, %low
  %r.slot = getelementptr inbounds i64, ptr %r, i64 %i
  store i64 %bits, ptr %r.slot, align 8
  br label %next
next:
  %i.next = add i64 %i, 1
  %more = icmp ult i64 %i.next, %n
  br i1 %more, label %lane, label %done
done:
  ret void
}}
"""
