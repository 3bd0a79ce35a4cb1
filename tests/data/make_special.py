"""Computes `special.npz` with mpmath, to 40 digits: `python make_special.py special.npz`.

Points where SciPy itself is not accurate enough to compare with: near zeros, far out, and where large terms cancel.
"""

import sys

import numpy as np
from mpmath import mp, mpf

mp.dps = 60


def lower(a, x):
    return mp.gammainc(a, 0, x, regularized=True)


def upper(a, x):
    return mp.gammainc(a, x, mp.inf, regularized=True)


def normal(x):
    return mp.erfc(-x / mp.sqrt(2)) / 2


def log_normal(x):
    return mp.log(normal(x)) if x < 3 else mp.log1p(-mp.erfc(x / mp.sqrt(2)) / 2)


def owen(h, a):
    return mp.quad(lambda t: mp.exp(-h * h * (1 + t * t) / 2) / (1 + t * t), mp.linspace(0, a, 5)) / (2 * mp.pi)


def main():
    rng = np.random.default_rng(20)
    u, log = rng.uniform, lambda low, high, n: 10.0 ** rng.uniform(low, high, n)
    a = log(-3, 3, 60)
    near = a * np.exp(rng.normal(size=60) * np.minimum(1, 3 / np.sqrt(a)))
    shape = log(-2, 4, 40), log(-2, 4, 40)
    cases = {
        "gammaln": (mp.loggamma, np.r_[u(0, 5, 40), 1 + u(-1e-3, 1e-3, 10), 2 + u(-1e-6, 1e-6, 10), log(-20, 20, 20)]),
        "gamma": (mp.gamma, np.r_[u(-20, 30, 40), u(30, 171, 20)]),
        "digamma": (mp.digamma, np.r_[u(0, 20, 30), 1.4616321449683622 + u(-1e-6, 1e-6, 5), log(-10, 10, 10)]),
        "betaln": (lambda a, b: mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b), log(-5, 5, 60), log(-5, 5, 60)),
        "gammainc": (lower, a, near),
        "gammaincc": (upper, a, near),
        "betainc": (lambda a, b, x: mp.betainc(a, b, 0, x, regularized=True), *shape, rng.beta(*shape)),
        "erfcx": (lambda x: mp.exp(x * x) * mp.erfc(x), np.r_[u(-26, 5, 40), u(5, 100, 20)]),
        "log_ndtr": (log_normal, u(-60, 20, 50)),
        "ndtri": (None, np.r_[u(0, 1, 30), log(-300, 0, 30)]),
        "dawsn": (lambda x: mp.sqrt(mp.pi) / 2 * mp.exp(-x * x) * mp.erfi(x), u(0, 12, 50)),
        "owens_t": (owen, u(0, 4, 30), u(0, 4, 30)),
        "expi": (mp.ei, np.r_[u(-20, 30, 40), 0.3725074107813666 + u(-1e-6, 1e-6, 5)]),
        "exp1": (mp.e1, np.r_[u(0, 30, 40)]),
        "expn": (mp.expint, rng.integers(0, 12, 40).astype(float), log(-3, 1.5, 40)),
        "zeta": (mp.zeta, u(1.01, 6, 40), log(-2, 2, 40)),
        "riemann": (mp.zeta, np.r_[u(-10, 0.9, 30), u(1.01, 10, 10)]),
        "spence": (lambda x: mp.polylog(2, 1 - x).real if x <= 2 else -mp.log(x) ** 2 / 2 - mp.polylog(2, 1 - 1 / x).real, u(0, 10, 50)),
        "i1": (lambda x: mp.besseli(1, x), u(0, 20, 40)),
        "i0e": (lambda x: mp.exp(-x) * mp.besseli(0, x), u(0, 20, 40)),
        "hyp1f1": (mp.hyp1f1, u(0, 10, 40), u(0.1, 10, 40), u(-60, 60, 40)),
        "fresnel_s": (mp.fresnels, u(0, 30, 40)),
        "fresnel_c": (mp.fresnelc, u(0, 30, 40)),
        "si": (mp.si, u(0, 50, 40)),
        "poch": (lambda z, m: mp.gamma(z + m) / mp.gamma(z), u(0, 30, 40), u(0, 10, 40)),
        # The derivative of P in its first operand.
        "gammainc_slope": (lambda a, x: mp.diff(lambda a: lower(a, x), a, h=mpf(10) ** -15), a[:40], near[:40]),
        "gammainc_slope_whole": (
            lambda a, x: mp.diff(lambda a: lower(a, x), a, h=mpf(10) ** -15), np.r_[1.0, 2, 3, 5, 1, 2], np.r_[1.2, 3, 3.5, 9, 4, 30],
        ),
    }  # fmt: skip
    out = {}
    for name, (f, *xs) in cases.items():
        points = list(zip(*[[mpf(float(v)) for v in x] for x in xs], strict=True))
        if name == "ndtri":  # one Newton step from SciPy's value, whose square is beyond float64
            from scipy.special import ndtri

            values = []
            for (p,) in points:
                x = mpf(float(ndtri(float(p))))
                for _ in range(3):
                    x -= (normal(x) - p) / (mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi))
                values.append(x)
        else:
            values = [f(*p) for p in points]
        out[name] = np.array([*xs, [float(mp.re(v)) for v in values]])
        print(name, file=sys.stderr)
    np.savez_compressed(sys.argv[1], **out)


if __name__ == "__main__":
    main()
