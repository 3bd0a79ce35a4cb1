# ruff: noqa: E501 (tables)
"""Computes `fdl/scipy/special/coefficients.py`: Chebyshev series of special functions, to 40 digits with mpmath, rounded to float64.

Run `python make_special_coefficients.py coefficients.py`; it takes about a minute, and needs mpmath.
"""

import sys
from collections.abc import Callable

from mpmath import mp, mpf

mp.dps = 40
EPS = mpf(2) ** -55


def chebyshev(f: Callable[[mpf], mpf], n: int = 96) -> list[mpf]:
    """The Chebyshev series of `f` on [-1, 1], by interpolation, without the terms below 2**-55 of the largest."""
    nodes = [mp.cos(mp.pi * (k + mpf(1) / 2) / n) for k in range(n)]
    values = [f(t) for t in nodes]
    c = [2 / mpf(n) * mp.fsum(v * mp.cos(mp.pi * j * (k + mpf(1) / 2) / n) for k, v in enumerate(values)) for j in range(n)]
    c[0] /= 2
    largest = max(map(abs, c))
    while abs(c[-1]) < EPS * largest:
        c.pop()
    assert len(c) < n - 4, (len(c), n)
    return c


def linear(low: float, high: float) -> Callable[[mpf], mpf]:
    """The map of [-1, 1] onto [low, high]."""
    return lambda t: low + (t + 1) * (mpf(high) - mpf(low)) / 2


def outward(low: float, centre: float) -> Callable[[mpf], mpf]:
    """The map of [-1, 1] onto [low, inf] with low + centre at 0: x = low + centre (1 + t) / (1 - t)."""
    return lambda t: mpf(low) + mpf(centre) * (1 + t) / (1 - t)


def moebius(low: float, high: float) -> Callable[[mpf], mpf]:
    """The map of [-1, 1] onto [low, high] with c = sqrt(low high) at 0: t (high - c) / (high + c) = (x - c) / (x + c)."""
    c = mp.sqrt(mpf(low) * mpf(high))
    scale = (high - c) / (high + c)
    return lambda t: c * (1 + scale * t) / (1 - scale * t)


def reciprocal(low: float) -> Callable[[mpf], mpf]:
    """The map of [-1, 1] onto [inf, low] in 1 / x: x = 2 low / (1 + t)."""
    return lambda t: 2 * mpf(low) / (1 + t)


DIGAMMA_ROOT = mp.findroot(mp.digamma, 1.4616)
EI_ROOT = mp.findroot(mp.ei, 0.3725)


def loggamma_quotient(x: mpf) -> mpf:
    if abs(x - 1) < mpf(10) ** -18 or abs(x - 2) < mpf(10) ** -18:
        return mp.euler if x < 1.5 else 1 - mp.euler
    return mp.loggamma(x) / ((x - 1) * (x - 2))


def gamma_quotient(x: mpf) -> mpf:
    return (mp.gamma(x) - 1) / (x - 2) if abs(x - 2) > mpf(10) ** -18 else 1 - mp.euler


def digamma_quotient(x: mpf) -> mpf:
    return mp.digamma(x) / (x - DIGAMMA_ROOT)


def ndtri_tail(r: mpf) -> mpf:
    """-ndtri(exp(-r**2)) / r."""

    def f(x: mpf) -> mpf:
        return mp.log(mp.erfc(x / mp.sqrt(2)) / 2) + r * r

    x = mp.sqrt(2) * r * (1 - mpf(1) / (2 + 4 * r * r) - mp.log(2 * mp.sqrt(mp.pi) * r + 1) / (2 * r * r + 2))
    return mp.findroot(f, (x, x + 0.1)) / r


def ein_sum(x: mpf) -> mpf:
    """(E1(x) + euler + log x) / x, an entire function."""
    total, term, k = mpf(0), mpf(1), 1
    while k < 400:
        total += term / k
        k += 1
        term *= -x / k
        if abs(term) < mpf(10) ** -45:
            break
    return total


def ei_quotient(x: mpf) -> mpf:
    """(Ei(x) - log(x / root)) / (x - root)."""

    def h(y: mpf) -> mpf:
        return y * ein_sum(-y)

    d = x - EI_ROOT
    return (h(x) - h(EI_ROOT)) / d if abs(d) > mpf(10) ** -15 else mp.diff(h, EI_ROOT)


def fresnel_f(x: mpf) -> mpf:
    angle, s, c = mp.pi * x * x / 2, mpf(1) / 2 - mp.fresnels(x), mpf(1) / 2 - mp.fresnelc(x)
    return mp.pi * x * (s * mp.cos(angle) - c * mp.sin(angle))


def fresnel_g(x: mpf) -> mpf:
    angle, s, c = mp.pi * x * x / 2, mpf(1) / 2 - mp.fresnels(x), mpf(1) / 2 - mp.fresnelc(x)
    return mp.pi**2 * x**3 * (c * mp.cos(angle) + s * mp.sin(angle))


def integral_f(x: mpf) -> mpf:
    return x * (mp.ci(x) * mp.sin(x) + (mp.pi / 2 - mp.si(x)) * mp.cos(x))


def integral_g(x: mpf) -> mpf:
    return x * x * ((mp.pi / 2 - mp.si(x)) * mp.sin(x) - mp.ci(x) * mp.cos(x))


def wide(f: Callable[[mpf], mpf], x: mpf) -> mpf:
    """`f(x)` with digits to spare for the cancellation of auxiliary functions far out; their limit 1 beyond."""
    if x > mpf(10) ** 7:
        return mpf(1)
    with mp.workdps(110):
        return f(mpf(x))


def dawson(x: mpf) -> mpf:
    with mp.workdps(80):
        return mp.sqrt(mp.pi) / 2 * mp.exp(-x * x) * mp.erfi(x)


def dawson_far(x: mpf) -> mpf:
    """2 x dawsn(x)."""
    if x > 60:  # its asymptotic series
        term, total, k = mpf(1), mpf(0), 0
        while abs(term) > mpf(10) ** -40 and k < 200:
            total += term
            k += 1
            term *= (2 * k - 1) / (2 * x * x)
        return total
    return 2 * x * dawson(x)


def erfcx(x: mpf) -> mpf:
    if x > 60:
        term, total, k = mpf(1), mpf(0), 0
        while abs(term) > mpf(10) ** -40 and k < 200:
            total += term
            k += 1
            term *= -(2 * k - 1) / (2 * x * x)
        return total / (x * mp.sqrt(mp.pi))
    with mp.workdps(60):
        return mp.exp(x * x) * mp.erfc(x)


def e1_far(x: mpf) -> mpf:
    return x * mp.exp(x) * mp.e1(x) if x < 2000 else asymptotic(x, -1)


def ei_far(x: mpf) -> mpf:
    return x * mp.exp(-x) * mp.ei(x) if x < 2000 else asymptotic(x, 1)


def asymptotic(x: mpf, sign: int) -> mpf:
    term, total, k = mpf(1), mpf(0), 0
    while abs(term) > mpf(10) ** -40:
        total += term
        k += 1
        term *= sign * k / x
    return total


def bessel_far(order: int) -> Callable[[mpf], mpf]:
    def f(x: mpf) -> mpf:
        if x < 600:
            with mp.workdps(60):
                return mp.sqrt(x) * mp.exp(-x) * mp.besseli(order, x)
        mu, term, total, k = 4 * order**2, mpf(1), mpf(0), 0
        while abs(term) > mpf(10) ** -40:
            total += term
            k += 1
            term *= -(mu - (2 * k - 1) ** 2) / (8 * x * k)
        return total / mp.sqrt(2 * mp.pi)

    return f


def temme(n: int) -> list[mpf]:
    """The first coefficients of eta / mu in powers of eta, where eta**2 / 2 = mu - log(1 + mu).

    From mu = sum a_k eta^k: eta = mu mu' / (1 + mu) gives, for the coefficients, a_1 = 1 and a recurrence.
    """
    # (1 + mu) eta = mu mu', coefficient of eta^m.
    a = [mpf(0), mpf(1)]
    for m in range(2, n + 2):
        # sum_{i=1..m} a_i (m + 1 - i) a_{m+1-i} = a_{m-1}, for the coefficient of eta^m; the unknown a_m stands at i = 1 and i = m.
        known = mp.fsum(a[i] * (m + 1 - i) * a[m + 1 - i] for i in range(2, m))
        a.append((a[m - 1] - known) / (m + 1))
    # f = eta / mu: f (a_1 + a_2 eta + ...) = 1.
    f = [mpf(1)]
    for m in range(1, n):
        f.append(-mp.fsum(f[j] * a[m - j + 1] for j in range(m)))
    return f


def stirling(n: int) -> list[mpf]:
    """B_2k / (2k (2k - 1))."""
    return [mp.bernoulli(2 * k) / (2 * k * (2 * k - 1)) for k in range(1, n + 1)]


def digamma_tail(n: int) -> list[mpf]:
    return [mp.bernoulli(2 * k) / (2 * k) for k in range(1, n + 1)]


def euler_maclaurin(n: int) -> list[mpf]:
    return [mp.bernoulli(2 * k) / mp.factorial(2 * k) for k in range(1, n + 1)]


def stirling_gamma(n: int) -> list[mpf]:
    """The coefficients of the series of Gamma(x) sqrt(x / (2 pi)) (e / x)^x in 1 / x."""
    # exp of the Stirling series.
    s = [mpf(0)] * (n + 1)
    for k in range(1, n // 2 + 2):
        if 2 * k - 1 <= n:
            s[2 * k - 1] = mp.bernoulli(2 * k) / (2 * k * (2 * k - 1))
    out = [mpf(1)]
    for m in range(1, n + 1):
        out.append(mp.fsum(k * s[k] * out[m - k] for k in range(1, m + 1)) / m)
    return out


def debye(n: int) -> list[mpf]:
    """B_2k / (2k + 1)!."""
    return [mp.bernoulli(2 * k) / mp.factorial(2 * k + 1) for k in range(1, n + 1)]


SERIES = [
    ("LOGGAMMA", "log Gamma(x) / ((x - 1) (x - 2)) for 1 <= x <= 3, in t = x - 2", loggamma_quotient, linear(1, 3)),
    ("GAMMA", "(Gamma(x) - 1) / (x - 2) for 2 <= x <= 3, in t = 2 x - 5", gamma_quotient, linear(2, 3)),
    ("DIGAMMA", "digamma(x) / (x - root) for 1 <= x <= 2, in t = 2 x - 3", digamma_quotient, linear(1, 2)),
    ("ERFCX", "(1 + 2 x) erfcx(x) for x >= 0, mapped by `outward` with centre 4", lambda x: (1 + 2 * x) * erfcx(x) if x < mpf(10) ** 30 else 2 / mp.sqrt(mp.pi), outward(0, 4)),
    ("NDTRI_NEAR", "-ndtri(exp(-r**2)) / r for 1.1 <= r <= 5, mapped by `moebius`", ndtri_tail, moebius(1.1, 5)),
    ("NDTRI_FAR", "the same for 5 <= r <= 28", ndtri_tail, moebius(5, 28)),
    ("I0_NEAR", "exp(-x) I0(x) for 0 <= x <= 8", lambda x: mp.exp(-x) * mp.besseli(0, x), linear(0, 8)),
    ("I0_FAR", "sqrt(x) exp(-x) I0(x) for x >= 8, in t = 16 / x - 1", lambda x: bessel_far(0)(x), reciprocal(8)),
    ("I1_NEAR", "exp(-x) I1(x) / x for 0 <= x <= 8", lambda x: mp.exp(-x) * mp.besseli(1, x) / x, linear(0, 8)),
    ("I1_FAR", "sqrt(x) exp(-x) I1(x) for x >= 8, in t = 16 / x - 1", lambda x: bessel_far(1)(x), reciprocal(8)),
    ("EIN", "(E1(x) + euler + log x) / x for 0 <= x <= 1.5", ein_sum, linear(0, 1.5)),
    ("E1_FAR", "x exp(x) E1(x) for x >= 1.5, mapped by `outward` with centre 4", e1_far, outward(1.5, 4)),
    ("EI_NEAR", "(Ei(x) - log(x / root)) exp(-x) / (x - root) for 0 < x <= 8", lambda x: ei_quotient(x) * mp.exp(-x), linear(0, 8)),
    ("EI_MIDDLE", "x exp(-x) Ei(x) for 8 <= x <= 24, in 1 / x", ei_far, lambda t: 1 / (mpf(1) / 24 + (1 + t) / 2 * (mpf(1) / 8 - mpf(1) / 24))),
    ("EI_FAR", "x exp(-x) Ei(x) for x >= 24, in t = 48 / x - 1", ei_far, reciprocal(24)),
    ("FRESNEL_S", "S(x) / x**3 for 0 <= x**4 <= 16, in x**4", lambda q: mp.fresnels(mp.root(q, 4)) / mp.root(q, 4) ** 3 if q else mp.pi / 6, linear(0, 16)),
    ("FRESNEL_C", "C(x) / x for 0 <= x**4 <= 16, in x**4", lambda q: mp.fresnelc(mp.root(q, 4)) / mp.root(q, 4) if q else mpf(1), linear(0, 16)),
    ("FRESNEL_F", "pi x f(x) for x >= 2, mapped by `outward` with centre 3", lambda x: wide(fresnel_f, x), outward(2, 3)),
    ("FRESNEL_G", "pi**2 x**3 g(x) for x >= 2, mapped by `outward` with centre 3", lambda x: wide(fresnel_g, x), outward(2, 3)),
    ("SI", "Si(x) / x for 0 <= x**2 <= 16, in x**2", lambda q: mp.si(mp.sqrt(q)) / mp.sqrt(q) if q else mpf(1), linear(0, 16)),
    ("CIN", "(euler + log x - Ci(x)) / x**2 for 0 <= x**2 <= 16, in x**2", lambda q: (mp.euler + mp.log(q) / 2 - mp.ci(mp.sqrt(q))) / q, linear(0, 16)),
    ("SICI_F", "x f(x) for x >= 4, mapped by `outward` with centre 9", lambda x: wide(integral_f, x), outward(4, 9)),
    ("SICI_G", "x**2 g(x) for x >= 4, mapped by `outward` with centre 9", lambda x: wide(integral_g, x), outward(4, 9)),
    ("DAWSON_NEAR", "dawsn(x) / x for 0 <= x**2 <= 12.25, in x**2", lambda q: dawson(mp.sqrt(q)) / mp.sqrt(q) if q else mpf(1), linear(0, 12.25)),
    ("DAWSON_FAR", "2 x dawsn(x) for x >= 3.5, in t = 24.5 / x**2 - 1", lambda q: dawson_far(mp.sqrt(q)), reciprocal(12.25)),
]  # fmt: skip
POWERS = [
    ("STIRLING", "B_2k / (2k (2k - 1)): log Gamma's asymptotic series", lambda: stirling(10)),
    ("STIRLING_GAMMA", "The series of Gamma(x) sqrt(x / (2 pi)) (e / x)**x in 1 / x", lambda: stirling_gamma(20)),
    ("DIGAMMA_TAIL", "B_2k / (2k): digamma's asymptotic series", lambda: digamma_tail(9)),
    ("EULER_MACLAURIN", "B_2k / (2k)!", lambda: euler_maclaurin(12)),
    ("TEMME", "The powers of eta of eta / mu, where eta**2 / 2 = mu - log(1 + mu)", lambda: temme(32)),
    ("DEBYE", "B_2k / (2k + 1)!: the dilogarithm's series", lambda: debye(11)),
]


def text(name: str, comment: str, values: list[mpf]) -> str:
    lines, line = [], "   "
    for v in values:
        word = f" {float(v)!r},"
        if len(line) + len(word) > 126:
            lines.append(line)
            line = "   "
        line += word
    lines.append(line)
    return f"# {comment}.\n{name} = (\n" + "\n".join(lines) + "\n)\n"


def main() -> None:
    parts = []
    for name, comment, f, to_x in SERIES:
        c = chebyshev(lambda t, f=f, to_x=to_x: f(to_x(t)))
        print(name, len(c), file=sys.stderr)
        parts.append(text(name, comment, c))
    for name, comment, make in POWERS:
        parts.append(text(name, comment, make()))
    head = (
        '"""Coefficients of the special functions, float64.\n\n'
        "Chebyshev series (from T_0 on, of the variable t of [-1, 1] that the comment gives, or of the interval mapped linearly) and, where the\n"
        "comment says so, power series.  Written by `tests/data/make_special_coefficients.py`, which computes the functions to 40 digits with\n"
        'mpmath.\n"""\n\n# fmt: off\n\n'
    )
    roots = ""
    for name, x in (("DIGAMMA_ROOT", DIGAMMA_ROOT), ("EI_ROOT", EI_ROOT)):
        high = float(x)
        roots += f"# A number as the sum of two.\n{name} = ({high!r}, {float(x - mpf(high))!r})\n"
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        out.write(head + "\n".join(parts) + "\n" + roots)


if __name__ == "__main__":
    main()
