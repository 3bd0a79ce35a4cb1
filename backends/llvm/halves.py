"""float16 and bfloat16: between 16 bits in memory and a float in a register, and rounding to them.

A 16-bit float in a register is a float (float32) with exactly a representable value: an operation is computed on floats
and followed by `round_to`.  Widening is exact, and so is narrowing a rounded value.

bfloat16 is always converted in integer arithmetic: x86's instruction flushes subnormals, and elsewhere LLVM would call a
compiler-rt function that is not there.  float16 uses the CPU's instructions where there are some (F16C, NEON).

`Code.packed` remembers the bits that a register came from, so that a copy is a copy, NaN payload included, and a rounded
value is not converted back twice.
"""

from __future__ import annotations

from fdl.tracer import dtypes
from fdl.tracer.dtypes import DType

from .lanes import Lanes
from .text import Code, vec


def unpack(code: Code, dtype: DType, lanes: int, stored: str) -> str:
    """The float value of 16 stored bits (i16 lanes)."""
    f = Lanes(code, dtypes.float32, lanes)
    if dtype == dtypes.bfloat16:
        wide = code.pure(f"zext {vec('i16', lanes)} {stored} to {f.bits_type}", stored)
        value = f.float(f.shl(wide, 16))
    elif code.target.half:
        half = code.pure(f"bitcast {vec('i16', lanes)} {stored} to {vec('half', lanes)}", stored)
        value = code.pure(f"fpext {vec('half', lanes)} {half} to {f.type}", half)
    else:
        value = _widen(f, code.pure(f"zext {vec('i16', lanes)} {stored} to {f.bits_type}", stored))
    code.packed[value] = stored
    return value


def pack(code: Code, dtype: DType, lanes: int, value: str) -> str:
    """The 16 bits of a float that has a representable value."""
    known = code.packed.get(value)
    if known is not None:
        return known
    f = Lanes(code, dtypes.float32, lanes)
    if dtype == dtypes.bfloat16:
        return _low16(f, f.lshr(f.bits(value), 16))
    return _float16_bits(f, value)


def round_to(code: Code, dtype: DType, lanes: int, value: str) -> str:
    """`value` (a float) rounded to the nearest of `dtype`, ties to even; NaN stays NaN."""
    f = Lanes(code, dtypes.float32, lanes)
    if dtype == dtypes.float16:
        return unpack(code, dtype, lanes, _float16_bits(f, value))
    bits = f.bits(value)
    odd = f.iand(f.lshr(bits, 16), f.int(1))
    rounded = f.iadd(bits, f.iadd(odd, f.int(0x7FFF)))
    # The addition would carry a NaN's payload into the sign; every other value is safe (infinity has a zero mantissa).
    kept = f.iselect(f.isnan(value), f.ior(bits, f.int(0x400000)), rounded)
    return f.float(f.iand(kept, f.int(0xFFFF0000)))


def from_double(code: Code, dtype: DType, lanes: int, value: str) -> str:
    """A double rounded once to float16 or bfloat16.

    It goes through float with rounding to odd (towards zero, the last bit set where that was inexact), after which rounding
    to nearest gives what one rounding would have given (Boldo and Melquiond, 2008).
    """
    d, f = Lanes(code, dtypes.float64, lanes), Lanes(code, dtypes.float32, lanes)
    near = code.pure(f"fptrunc {d.type} {value} to {f.type}", value)
    back = code.pure(f"fpext {f.type} {near} to {d.type}", near)
    outside = d.cmp("ogt", d.abs(back), d.abs(value))
    inexact = d.cmp("one", back, value)
    towards_zero = f.iadd(f.bits(near), code.pure(f"sext {f.bool_type} {outside} to {f.bits_type}", outside))
    odd = f.ior(towards_zero, code.pure(f"zext {f.bool_type} {inexact} to {f.bits_type}", inexact))
    return round_to(code, dtype, lanes, f.float(odd))


def _low16(f: Lanes, bits: str) -> str:
    return f.code.pure(f"trunc {f.bits_type} {bits} to {vec('i16', f.lanes)}", bits)


def _float16_bits(f: Lanes, value: str) -> str:
    """The bits of `value` rounded to float16, as i16 lanes."""
    code, lanes = f.code, f.lanes
    if code.target.half:
        half = code.pure(f"fptrunc {f.type} {value} to {vec('half', lanes)}", value)
        return code.pure(f"bitcast {vec('half', lanes)} {half} to {vec('i16', lanes)}", half)
    bits = f.bits(value)
    sign = f.iand(bits, f.int(0x80000000))
    magnitude = f.ixor(bits, sign)
    # Normal results: change the exponent's bias, add just under half a unit, plus one for an odd last bit, and cut.
    odd = f.iand(f.lshr(magnitude, 13), f.int(1))
    normal = f.lshr(f.iadd(f.iadd(magnitude, f.int((15 - 127 << 23) + 0xFFF)), odd), 13)
    # Subnormal results: adding 0.5 leaves the value in units of 2**-24, rounded by the addition itself.
    shifted = f.bits(f.add(f.float(magnitude), f.const(0.5)))
    subnormal = f.isub(shifted, f.int(126 << 23))
    result = f.iselect(f.icmp("ult", magnitude, f.int(113 << 23)), subnormal, normal)
    overflow = f.icmp("uge", magnitude, f.int(0x477FF000))  # 65520, from where the nearest is infinity
    result = f.iselect(overflow, f.int(0x7C00), result)
    result = f.iselect(f.icmp("ugt", magnitude, f.int(0x7F800000)), f.int(0x7E00), result)
    return _low16(f, f.ior(result, f.lshr(sign, 16)))


def _widen(f: Lanes, bits: str) -> str:
    """The float of float16 bits in i32 lanes, without the CPU's help."""
    magnitude = f.shl(f.iand(bits, f.int(0x7FFF)), 13)
    # The bias differs by 112; the multiplication also normalises subnormals.
    finite = f.mul(f.float(magnitude), f.const(2.0**112))
    special = f.icmp("uge", magnitude, f.int(0x7C00 << 13))
    infinite = f.float(f.ior(magnitude, f.int(0x7F800000)))
    sign = f.shl(f.iand(bits, f.int(0x8000)), 16)
    return f.float(f.ior(f.bits(f.select(special, infinite, finite)), sign))
