"""erf, erfc and the inverse of erf on vectors of floats."""

from __future__ import annotations

import math

from fdl.tracer import dtypes

from .exact import product
from .explog import exp_reduced, log, reduce_ln2, scale
from .lanes import Lanes, coefficients
from .powers import double, single

_h = float.fromhex

# erf(x) / x - 1 in x**2, for |x| <= 1: 2**-27.8 of erf(x); 2**-56.3
_ERF = {
    True: coefficients(
        "0x1.06eba8p-3 -0x1.81273ep-2 0x1.ce2cf8p-4 -0x1.b7f90cp-6 0x1.5405b0p-8 -0x1.a3f6f0p-11 0x1.496a02p-14"
    ),
    False: coefficients(
        "0x1.06eba8214db69p-3 -0x1.812746b0379e6p-2 0x1.ce2f21a042b20p-4 -0x1.b82ce3128499cp-6 0x1.565bcd0db02c7p-8 "
        "-0x1.c02db3d8ecdbep-11 0x1.f9a321a116d34p-14 -0x1.f4d1df38db4aep-17 0x1.b9def1995c1e6p-20 -0x1.5f1d36a3432d6p-23 "
        "0x1.f7a4112daf135p-27 -0x1.386abe81bc097p-30 0x1.0579a69d4bb26p-34"
    ),
}
# erfc(2.46 + t), for 1 <= 2.46 + t <= 3.92, from where erf is 1: 2**-25.0 (absolute)
_ERFC_SINGLE_CENTRE, _ERFC_SINGLE_END = 2.46, 3.92
_ERFC_SINGLE = coefficients(
    "0x1.07e35cp-11 -0x1.5c270cp-9 0x1.ac53e4p-8 -0x1.423522p-7 0x1.448fb4p-7 -0x1.bd7db4p-8 0x1.846ee2p-9 -0x1.e49df8p-12 "
    "-0x1.9a2192p-12 0x1.3c5450p-12 -0x1.b1696cp-15 -0x1.aa7bd0p-16 0x1.322d12p-17"
)
# exp(a**2) erfc(a) (1 + 2 a) in t = (a - 4) / (a + 4), for 1/2 <= a <= 28: 2**-54.4
_ERFCX = coefficients(
    "0x1.3ba5916e9fd7fp+0 -0x1.1df1ad154a28ep-3 0x1.f7f5df66fd75ep-7 0x1.16ecefcfa52c4p-4 -0x1.9ddb23c3e8d81p-4 "
    "0x1.7fee004e14a09p-4 -0x1.0fb06dfe4f2c3p-4 0x1.3079edf62354ap-5 -0x1.09623883bfb24p-6 0x1.49c672a88bed8p-8 "
    "-0x1.8d4a9b45cc158p-11 -0x1.a1df43b9446b8p-13 0x1.3be0590df472dp-13 -0x1.9954fbed9c67bp-16 -0x1.788a3c33d7c0dp-17 "
    "0x1.7ef600a7b87d7p-18 0x1.3af7eb1a9706ep-22 -0x1.b805b98de06a6p-21 0x1.42b37aae809c2p-24 0x1.bbd0e7448ac93p-24 "
    "-0x1.38c7471f3ece5p-26 -0x1.4c8dd1d952806p-27 0x1.062729dfe2340p-29"
)
# erf_inv(x) / x, in w = -log(1 - x**2): for w < 6 in w - 3: 2**-23.5; 2**-53.0
_INVERSE_CENTRE = {
    True: coefficients(
        "0x1.9fa074p+0 0x1.eedbe2p-3 -0x1.781568p-8 -0x1.b6579ep-11 0x1.99f18ep-13 -0x1.ac0fcap-17 -0x1.fa1720p-20 "
        "0x1.e92dc0p-22 -0x1.29e48ep-28 -0x1.906a6ap-28"
    ),
    False: coefficients(
        "0x1.9fa072ed72dbbp+0 0x1.eedbebdce73e7p-3 -0x1.780def1d3f2d7p-8 -0x1.b6666b152bb22p-11 0x1.9912c04a4410dp-13 "
        "-0x1.aab13d1bf0450p-17 -0x1.d539ca0b07428p-20 0x1.e32b0d40768dap-22 -0x1.96f821f4bcb3dp-26 -0x1.77b39f88bbfa6p-28 "
        "0x1.31558c11c5eacp-30 -0x1.146c6f98fc6d2p-35 -0x1.30dc0981a443ep-36 0x1.7bda4380aabf6p-39 0x1.cba21830ee93ap-48 "
        "-0x1.dcd57f9dbb754p-45 0x1.c668d75749a25p-48 0x1.3d53e4aefd127p-52 -0x1.6e14be2827007p-53 0x1.d7970abdd698dp-57 "
        "0x1.045212e8739d2p-59 -0x1.c982fadfd8b43p-62 0x1.b76d34fa843f2p-70 0x1.41b01d88be27dp-68 -0x1.03b6958f151dep-72"
    ),
}
# From w = 6 in sqrt(w) - 3.2668 (float): 2**-24.0
_INVERSE_TAIL_SINGLE_CENTRE = 3.26680183411
_INVERSE_TAIL_SINGLE = coefficients(
    "0x1.8ce646p+1 0x1.016436p+0 0x1.53cbaep-8 -0x1.d42796p-9 0x1.3576d8p-9 -0x1.b58ac6p-10 0x1.db5ff6p-11 -0x1.ddf1a2p-13"
)
# For 6 <= w < 18, and from 18: 2**-52.8, 2**-55.1
_INVERSE_TAILS_CENTRES = (_h("0x1.ac47dap+1"), _h("0x1.4a663ap+2"))
_INVERSE_TAILS = (
    coefficients(
        "0x1.9716aaa7c9858p+1 0x1.0195efe7e591bp+0 0x1.215854ff9950cp-8 -0x1.80a739cec2909p-9 0x1.d87da6fddcc8ep-10 "
        "-0x1.3c3a5951ff9a1p-10 0x1.7c45c9e56df43p-11 -0x1.4e17de07b6222p-12 0x1.11df25d9446efp-14 0x1.efc17e6b7ce03p-16 "
        "-0x1.170fe4be574e0p-15 0x1.c32076a96b1f2p-17 -0x1.c37bb04635a6ap-21 -0x1.1c27aa53ce2ebp-19 0x1.4e623035a79f5p-20 "
        "-0x1.193843a7370bbp-22 -0x1.45e6de629479ep-24 0x1.5cc04eb3f96d1p-24 -0x1.efbdcb621697fp-26 0x1.6b0c04a0980dep-33 "
        "0x1.346ce3b12d3a0p-28 -0x1.7a748518b7369p-30"
    ),
    coefficients(
        "0x1.40e670e073fc6p+2 0x1.029f0fd180e9ep+0 -0x1.e72b233d0e294p-13 -0x1.657f0644a8b67p-13 0x1.029d686dc6f85p-14 "
        "-0x1.08935f71d047bp-16 0x1.dbd116cee68eap-19 -0x1.914a9a1cc71b1p-21 0x1.4f69dc5c6432dp-23 -0x1.3a90d99b70abcp-25 "
        "0x1.99dc34d4b8db3p-27 -0x1.7c0d7f247fcc6p-28 0x1.8784dc8dc2fe1p-29 -0x1.7dcc7df62a489p-30 0x1.5d23214a4ba60p-31 "
        "-0x1.059aad5bc3d86p-32 0x1.6ee45d75eea60p-35 0x1.f1d1a1a9c65c3p-39"
    ),
)


def _erf_near(f: Lanes, x: str) -> str:
    """erf(x) for |x| <= 1."""
    return f.mad(x, f.poly(f.mul(x, x), _ERF[f.single]), x)


def erf(f: Lanes, x: str) -> str:
    a = f.abs(x)
    one = f.const(1.0)
    if f.single:
        t = f.sub(f.min(f.const(_ERFC_SINGLE_END), a), f.const(_ERFC_SINGLE_CENTRE))
        far = f.sub(one, f.poly(t, _ERFC_SINGLE))
    else:
        far = f.sub(one, _erfc_far(f, f.max(one, f.min(f.const(6.0), a))))
    return f.select(f.cmp("olt", a, one), _erf_near(f, x), f.copysign(far, x))


def erfc(f: Lanes, x: str) -> str:
    if f.single:
        return single(f, erfc(f.as_dtype(dtypes.float64), double(f, x)))
    a = f.abs(x)
    half = f.const(0.5)
    far = _erfc_far(f, f.max(half, f.min(f.const(28.0), a)))
    far = f.select(f.cmp("olt", x, f.const(0.0)), f.sub(f.const(2.0), far), far)
    return f.select(f.cmp("olt", a, half), f.sub(f.const(1.0), _erf_near(f, x)), far)


def _erfc_far(f: Lanes, a: str) -> str:
    """erfc(a) for doubles, 1/2 <= a <= 28."""
    square, lost = product(f, a, a)
    n, r = reduce_ln2(f, f.neg(square))
    four = f.const(4.0)
    t = f.div(f.sub(a, four), f.add(a, four))
    fraction = f.div(f.poly(t, _ERFCX), f.add(f.add(a, a), f.const(1.0)))
    return scale(f, f.mul(exp_reduced(f, f.sub(r, lost)), fraction), n)


def erf_inv(f: Lanes, x: str) -> str:
    """The inverse of erf: infinite at -1 and 1, NaN outside.

    The idea of a polynomial in w = -log(1 - x**2) is M. Giles, "Approximating the erfinv function" (GPU Computing Gems, 2010).
    """
    one = f.const(1.0)
    w = f.neg(log(f, f.mul(f.sub(one, x), f.add(one, x))))
    ratio = f.poly(f.sub(w, f.const(3.0)), _INVERSE_CENTRE[f.single])
    tail = f.cmp("oge", w, f.const(6.0))
    ratio = f.where_any(tail, ratio, lambda: f.select(tail, _inverse_tail(f, w), ratio))
    infinite = f.cmp("oeq", f.abs(x), one)
    return f.select(infinite, f.copysign(f.const(math.inf), x), f.mul(x, ratio))


def _inverse_tail(f: Lanes, w: str) -> str:
    root = f.sqrt(w)
    if f.single:
        return f.poly(f.sub(root, f.const(_INVERSE_TAIL_SINGLE_CENTRE)), _INVERSE_TAIL_SINGLE)
    first, second = (
        f.poly(f.sub(root, f.const(c)), poly) for c, poly in zip(_INVERSE_TAILS_CENTRES, _INVERSE_TAILS, strict=True)
    )
    return f.select(f.cmp("olt", w, f.const(18.0)), first, second)
