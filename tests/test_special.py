"""`fdl.scipy.special`: against figures with 40 digits, against SciPy, and the rules that all its functions obey.

`tests/data/special.npz` was computed with mpmath by `tests/data/make_special.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import scipy.special as sp

import fdl
from fdl import numpy as fnp
from fdl.backends.executable import compile_program, single
from fdl.scipy import special
from fdl.scipy.special.incomplete import gammainc_of
from fdl.testing import check_grads
from fdl.tracer.ir import type_of
from fdl.tracer.parse import parse
from fdl.tracer.primitive import PRIMITIVES, Call

STORED = np.load(Path(__file__).parent / "data" / "special.npz")
RNG = np.random.default_rng(11)


def points(*ranges: tuple[float, float], n: int = 300) -> list[np.ndarray]:
    return [RNG.uniform(low, high, n) for low, high in ranges]


# --- accuracy -------------------------------------------------------------------------------------

# name: (function, largest relative error, the size below which the error is absolute)
EXACT: dict[str, tuple[Callable[..., Any], float, float]] = {
    "gammaln": (special.gammaln, 6e-15, 0.0),
    "gamma": (special.gamma, 2e-15, 0.0),
    "digamma": (special.digamma, 2e-15, 0.0),
    "betaln": (special.betaln, 4e-15, 1.0),
    "gammainc": (special.gammainc, 1e-14, 0.0),
    "gammaincc": (special.gammaincc, 1e-14, 0.0),
    "betainc": (special.betainc, 3e-14, 0.0),
    "erfcx": (special.erfcx, 1e-15, 0.0),
    "log_ndtr": (special.log_ndtr, 1e-13, 0.0),
    "ndtri": (special.ndtri, 2e-15, 0.0),
    "dawsn": (special.dawsn, 3e-15, 0.0),
    "owens_t": (special.owens_t, 1e-15, 1.0),
    "expi": (special.expi, 5e-15, 0.0),
    "exp1": (special.exp1, 2e-15, 0.0),
    "expn": (special.expn, 1e-14, 0.0),
    "zeta": (special.zeta, 4e-15, 0.0),
    "riemann": (special.zeta, 2e-14, 0.0),
    "spence": (special.spence, 4e-15, 0.0),
    "i1": (special.i1, 3e-15, 0.0),
    "i0e": (special.i0e, 1e-15, 0.0),
    "hyp1f1": (special.hyp1f1, 2e-13, 0.0),
    "fresnel_s": (lambda x: special.fresnel(x)[0], 2e-15, 0.0),
    "fresnel_c": (lambda x: special.fresnel(x)[1], 2e-15, 0.0),
    "si": (lambda x: special.sici(x)[0], 1e-15, 0.0),
    "poch": (special.poch, 2e-14, 0.0),
    "gammainc_slope": (lambda a, x: gammainc_of.derivative((1, 0), fnp.asarray(a), fnp.asarray(x)), 2e-13, 1e-2),
    "gammainc_slope_whole": (lambda a, x: gammainc_of.derivative((1, 0), fnp.asarray(a), fnp.asarray(x)), 2e-13, 1e-2),
}


def test_all_stored_figures_are_used() -> None:
    assert set(STORED.files) == set(EXACT)


@pytest.mark.parametrize("name", EXACT)
def test_figures_with_40_digits(name: str) -> None:
    f, limit, floor = EXACT[name]
    *xs, expected = STORED[name]
    got = np.asarray(f(*xs))
    assert got.dtype == np.float64
    error = np.abs(got - expected) / np.maximum(np.abs(expected), max(floor, 1e-290))
    worst = int(np.argmax(error))
    assert error[worst] <= limit, (name, error[worst], [x[worst] for x in xs], got[worst], expected[worst])


# name: (operands, tolerance): SciPy is right to this.
AGAINST_SCIPY: dict[str, tuple[list[np.ndarray], float]] = {
    "gammaln": (points((0.01, 200)), 1e-12),
    "loggamma": (points((0.01, 200)), 1e-12),
    "digamma": (points((-8, 30)), 1e-11),
    "gamma": (points((-20, 170)), 2e-14),
    "rgamma": (points((-20, 100)), 2e-14),
    "gammasgn": (points((-9, 9)), 0),
    "factorial": (points((-2, 60)), 1e-13),
    "poch": (points((0.1, 20), (-5, 5)), 1e-12),
    "beta": (points((0.01, 30), (0.01, 30)), 1e-13),
    "betaln": (points((1, 30), (1, 30)), 1e-12),
    "comb": ([np.floor(p) for p in points((0, 40), (-1, 41))], 2e-14),
    "gammainc": (points((0.01, 60), (0, 80)), 1e-12),
    "gammaincc": (points((0.01, 60), (0, 80)), 1e-12),
    "betainc": (points((0.1, 40), (0.1, 40), (0, 1)), 1e-12),
    "zeta": (points((1.05, 20), (0.05, 50)), 1e-14),
    "polygamma": ([np.floor(points((0, 6))[0]), points((0.05, 30))[0]], 1e-14),
    "spence": (points((0, 20)), 2e-14),
    "erf": (points((-4, 4)), 1e-14),
    "erfc": (points((-4, 20)), 3e-13),
    "erfinv": (points((-1, 1)), 1e-14),
    "erfcx": (points((-20, 60)), 1e-13),
    "ndtr": (points((-20, 8)), 1e-13),
    "log_ndtr": (points((-60, 8)), 1e-13),
    "ndtri": (points((0, 1)), 1e-13),
    "dawsn": (points((-10, 10)), 1e-13),
    "owens_t": (points((-3, 3), (-4, 4)), 1e-11),
    "expi": (points((-30, 60)), 1e-12),
    "exp1": (points((0, 60)), 1e-13),
    "expn": ([np.floor(points((0, 9))[0]), points((0.01, 30))[0]], 1e-13),
    "i0": (points((-60, 60)), 1e-13),
    "i0e": (points((-60, 60)), 1e-14),
    "i1": (points((-60, 60)), 1e-13),
    "i1e": (points((-60, 60)), 1e-14),
    "hyp1f1": (points((0.1, 9), (0.1, 9), (-40, 60)), 1e-11),
    "xlogy": (points((0, 5), (0, 5)), 1e-14),
    "xlog1py": (points((0, 5), (-1, 5)), 1e-14),
    "entr": (points((0, 5)), 1e-14),
    "rel_entr": (points((0, 5), (0, 5)), 1e-12),
    "kl_div": (points((0, 5), (0, 5)), 1e-10),
    "logit": (points((0, 1)), 1e-13),
    "expit": (points((-40, 40)), 1e-14),
    "boxcox": (points((0, 5), (-2, 2)), 1e-12),
    "boxcox1p": (points((-1, 5), (-2, 2)), 1e-12),
}
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -1.5, 1e-300, 1e300, np.inf, -np.inf, np.nan])
# Where fdl differs from SciPy on purpose, or SciPy from itself: the operands that are left out.
EXCEPTIONS: dict[str, Callable[..., Any]] = {
    "gammaln": lambda x: x == -np.inf,  # inf, as in C
    "rgamma": lambda x: x == -np.inf,  # the limit does not exist
    "digamma": lambda x: x == -np.inf,
    "polygamma": lambda n, x: (x == -np.inf) | (n != np.floor(n)) | (n > 100) | ((x <= 0) & (n > 0)) | (n < 0),
    "zeta": lambda s, q: (s > 1e200) | (q < -100) | np.isnan(s),
    "poch": lambda z, m: (np.abs(z) + np.abs(m) > 1e200) | (z == 1e-300) | (m == 1e-300) | np.isnan(z + m),
    "beta": lambda a, b: (a <= 0) | (b <= 0) | (a > 1e200) | (b > 1e200) | (a < 1e-200) | (b < 1e-200),
    "betaln": lambda a, b: (a <= 0) | (b <= 0) | (a > 1e200) | (b > 1e200),
    "comb": lambda n, k: (n != np.floor(n)) | (k != np.floor(k)) | (np.abs(n) > 1e200) | (n < 0),
    "expn": lambda n, x: (n != np.floor(n)) | (n > 1e200) | (n < 0) | (x == np.inf),
    "expi": np.isinf,
    "spence": lambda x: x == np.inf,
    "hyp1f1": lambda a, b, x: (np.abs(a) > 1e200) | (np.abs(b) > 1e200) | (np.abs(x) > 1e200) | (b <= 1e-200),
    "i0": np.isinf,
    "i1": np.isinf,
    "i0e": np.isinf,
    "i1e": np.isinf,
    "kl_div": lambda x, y: np.isinf(x) | (np.maximum(x, y) > 1e200),
    "rel_entr": lambda x, y: np.maximum(x, y) > 1e200,
    "boxcox": lambda x, p: (np.abs(x) > 1e200) | (np.abs(p) > 1e200) | ((p != 0) & (np.abs(p) < 1e-200)) | np.isnan(p),
    "boxcox1p": lambda x, p: (np.abs(x) > 1e200) | (np.abs(p) > 1e200) | ((p != 0) & (np.abs(p) < 1e-200)) | np.isnan(p),
    "betainc": lambda a, b, x: (a > 1e200) | (b > 1e200) | (a == 1e-300) | (b == 1e-300) | (x == 1e-300),
    "owens_t": lambda h, a: (np.abs(a) > 1e200) | (np.abs(h) > 1e200),
}  # fmt: skip


def theirs(name: str, *xs: np.ndarray) -> np.ndarray:
    if name in ("expn", "polygamma"):
        with np.errstate(all="ignore"):
            xs = (np.nan_to_num(xs[0], posinf=0, neginf=0).astype(int), *xs[1:])
    return np.asarray(getattr(sp, name)(*xs))


@pytest.mark.parametrize("name", AGAINST_SCIPY)
def test_against_scipy(name: str) -> None:
    xs, rtol = AGAINST_SCIPY[name]
    got = np.asarray(getattr(special, name)(*xs))
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, theirs(name, *xs), rtol=rtol, atol=rtol * 1e-3)


@pytest.mark.parametrize("name", AGAINST_SCIPY)
def test_special_values_are_scipy_s(name: str) -> None:
    grid = [g.ravel() for g in np.meshgrid(*[SPECIAL] * len(AGAINST_SCIPY[name][0]))]
    with np.errstate(all="ignore"):
        left_out = EXCEPTIONS.get(name, lambda *xs: np.zeros(xs[0].shape, bool))(*grid)
        grid = [g[~left_out] for g in grid]
        expected = theirs(name, *grid)
    if name in ("expn", "polygamma"):
        expected = np.where(np.isnan(grid[0]), np.nan, expected)
    got = np.asarray(getattr(special, name)(*grid))
    both = np.stack([*grid, got, expected], 1)
    with np.errstate(all="ignore"):
        right = (got == expected) | (np.isnan(got) & np.isnan(expected)) | (np.abs(got - expected) <= 1e-11 * np.abs(expected))
    assert right.all(), both[~right]


def test_pairs_of_integrals() -> None:
    x = points((-40, 40))[0]
    for ours, other in ((special.sici(x), sp.sici(x)), (special.fresnel(x), sp.fresnel(x))):
        for got, expected in zip(ours, other, strict=True):
            np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-13, atol=1e-14)
    s, c = special.fresnel(np.array([1e8, -1e300, np.inf, np.nan]))
    np.testing.assert_allclose(np.asarray(s), [0.5, -0.5, 0.5, np.nan], atol=1e-8)
    np.testing.assert_allclose(np.asarray(c), [0.5, -0.5, 0.5, np.nan], atol=1e-8)
    si, ci = special.sici(np.array([np.inf, -np.inf, 0.0]))
    np.testing.assert_array_equal(np.asarray(si), [np.pi / 2, -np.pi / 2, 0.0])
    np.testing.assert_array_equal(np.asarray(ci), [0.0, np.nan, -np.inf])


def test_functions_of_whole_numbers() -> None:
    np.testing.assert_allclose(np.asarray(special.bernoulli(20)), sp.bernoulli(20), rtol=1e-6)
    assert special.gamma(fnp.arange(1.0, 24.0)).tolist() == [float(np.float32(sp.factorial(n, exact=True))) for n in range(23)]
    x = np.array([-3.0, 0.0, 1e-6, 0.4, 7.5, 20.0])
    got = np.asarray(special.bessel_jn(x, v=4))
    np.testing.assert_allclose(got, [sp.jv(n, x) for n in range(5)], rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(float(special.multigammaln(7.5, 3)), sp.multigammaln(7.5, 3), rtol=1e-6)
    np.testing.assert_allclose(float(special.comb(5, 2, repetition=True)), 15.0)
    for call, what in (
        (lambda: special.bernoulli(-1), "bernoulli: n must be an integer from 0 on, got -1"),
        (lambda: special.bessel_jn(1.0, v=-1), "bessel_jn: v must be an integer from 0 on, got -1"),
        (lambda: special.bessel_jn(1.0, v=60), "n_iter=50 is not above v=60"),
        (lambda: special.multigammaln(3.0, 0), "multigammaln: d must be an integer from 1 on, got 0"),
        (lambda: special.factorial(3, exact=True), "exact=True"),
        (lambda: special.gammaln(fnp.asarray(1j)), "gammaln: takes real numbers"),
    ):
        with pytest.raises((ValueError, TypeError), match=what):
            call()


# --- dtypes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gammaln", "digamma", "ndtri", "i0e", "erfcx", "xlogy"])
def test_narrow_floats_are_rounded_once(name: str) -> None:
    xs = AGAINST_SCIPY[name][0]
    for dtype in (np.float16, ml_dtypes.bfloat16, np.float32):
        narrow = [x[:60].astype(dtype) for x in xs]
        got = getattr(special, name)(*narrow)
        exact = np.asarray(getattr(special, name)(*[x.astype(np.float64) for x in narrow]))
        assert got.dtype == dtype
        info = ml_dtypes.finfo(dtype)
        spacing = np.maximum(np.abs(exact), float(info.tiny)) * float(info.eps)
        limit = 3.0 if name == "xlogy" else 0.51  # the latter is computed in the operands' precision
        finite = np.abs(exact) < float(info.max)
        error = np.abs(np.asarray(got).astype(np.float64) - exact) / spacing
        assert (error[finite] <= limit).all(), (name, dtype, error.max())


def test_integers_and_python_numbers_become_floats() -> None:
    assert special.gammaln(np.arange(1, 4)).dtype == np.float32
    assert special.gammaln(3).dtype == np.float32 and special.gammaln(3).weak_type
    assert special.betainc(2, 3.0, np.float64(0.5)).dtype == np.float64


# --- rules ----------------------------------------------------------------------------------------

SMOOTH: dict[str, tuple[np.ndarray, ...]] = {
    "gammaln": (np.array([0.4, 2.0, 7.5, -1.3]),),
    "digamma": (np.array([0.4, 1.4, 7.5, -1.3]),),
    "gamma": (np.array([0.4, 1.4, 5.5, -1.3]),),
    "rgamma": (np.array([0.4, 1.4, 3.5, -1.3]),),
    "beta": (np.array([0.4, 2.0]), np.array([1.7, 3.0])),
    "betaln": (np.array([0.4, 12.0]), np.array([1.7, 9.0])),
    "poch": (np.array([1.4, 2.0]), np.array([0.7, 2.0])),
    "comb": (np.array([5.5, 9.0]), np.array([2.2, 4.0])),
    "gammainc": (np.array([0.4, 2.0, 3.0, 40.0]), np.array([0.3, 3.5, 1.0, 42.0])),
    "gammaincc": (np.array([0.4, 1.0, 3.0]), np.array([0.3, 4.0, 2.0])),
    "betainc": (np.array([0.6, 2.0, 30.0]), np.array([1.3, 3.0, 25.0]), np.array([0.3, 0.6, 0.5])),
    "zeta": (np.array([1.6, 3.0]), np.array([0.7, 2.5])),
    "spence": (np.array([0.3, 1.0, 1.7, 4.0]),),
    "erfcx": (np.array([-1.2, 0.3, 8.0]),),
    "ndtr": (np.array([-1.2, 0.3, 2.0]),),
    "log_ndtr": (np.array([-9.0, -0.8, 0.3, 2.0]),),
    "ndtri": (np.array([0.04, 0.3, 0.9]),),
    "dawsn": (np.array([-1.2, 0.3, 5.0]),),
    "owens_t": (np.array([-1.2, 0.3]), np.array([0.6, 2.2])),
    "expi": (np.array([-1.2, 0.6, 3.0]),),
    "exp1": (np.array([0.4, 1.2, 3.0]),),
    "i0": (np.array([-1.2, 0.0, 3.0]),),
    "i0e": (np.array([-1.2, 0.6, 12.0]),),
    "i1": (np.array([-1.2, 0.0, 3.0]),),
    "i1e": (np.array([-1.2, 0.6, 12.0]),),
    "hyp1f1": (np.array([0.7, 2.0]), np.array([1.8, 3.5]), np.array([-1.4, 2.0])),
    "xlogy": (np.array([0.4, 2.0]), np.array([1.7, 0.3])),
    "xlog1py": (np.array([0.4, 2.0]), np.array([1.7, 0.3])),
    "entr": (np.array([0.4, 2.0]),),
    "rel_entr": (np.array([0.4, 2.0]), np.array([1.7, 0.3])),
    "kl_div": (np.array([0.4, 2.0]), np.array([1.7, 0.3])),
    "logit": (np.array([0.1, 0.5, 0.8]),),
    "expit": (np.array([-2.0, 0.8]),),
    "boxcox": (np.array([0.4, 2.0]), np.array([0.0, 1.3])),
    "boxcox1p": (np.array([0.4, 2.0]), np.array([0.0, 1.3])),
}


ITERATED = ("betainc", "gammainc", "gammaincc", "hyp1f1")
"""Functions with loops, whose second derivatives take seconds by definition: `test_second_derivatives_of_an_iterated_function` has them."""


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_to_order_two(name: str) -> None:
    with fdl.config.using(backend="reference"):  # the rules are tested here: compiling each derivative would take minutes
        check_grads(getattr(special, name), SMOOTH[name], order=1 if name in ITERATED else 2, rtol=2e-4, atol=2e-5)


def test_second_derivatives_of_an_iterated_function() -> None:
    """In the shape, in both modes and their mixtures: the derivative of a loop's derivative."""
    a, x, h = np.float64(2.5), np.float64(3.0), 1e-5
    slope = fdl.grad(special.gammainc)
    ahead, behind = (float(slope(a + d, x)) for d in (h, -h))
    second = fdl.jit(fdl.hessian(special.gammainc, (0, 1)))(a, x)
    assert float(second[0][0]) == pytest.approx((ahead - behind) / (2 * h), rel=1e-7)
    density = np.exp(-x) * x ** (a - 1) / sp.gamma(a)
    assert float(second[0][1]) == pytest.approx(density * (np.log(x) - sp.digamma(a)), rel=1e-12)
    assert float(second[1][0]) == pytest.approx(float(second[0][1]), rel=1e-12)
    assert float(second[1][1]) == pytest.approx(density * ((a - 1) / x - 1), rel=1e-12)


def test_gradients_of_functions_with_whole_orders() -> None:
    with fdl.config.using(backend="reference"):
        check_grads(lambda x: special.polygamma(2, x), (np.array([0.4, 3.0]),), order=2, rtol=2e-4, atol=1e-3)
        check_grads(lambda x: special.expn(3, x), (np.array([0.4, 3.0]),), order=2)
        check_grads(lambda x: special.bessel_jn(x, v=3), (np.array([0.4, 3.0]),), order=2)
        check_grads(lambda x: special.multigammaln(x, 2), (np.array([1.4, 3.0]),), order=2)
        check_grads(special.sici, (np.array([0.4, 9.0]),), order=2)
        check_grads(special.fresnel, (np.array([0.4, 2.6]),), order=2, rtol=1e-3, atol=1e-4)
        check_grads(lambda x: special.zeta(x), (np.array([0.4, 3.0, -1.5]),), order=2)
        assert float(fdl.grad(lambda n: special.polygamma(n, 2.0))(3.0)) == 0.0


def test_gradients_at_edges() -> None:
    inf = np.inf
    for f, args, expected in (
        (special.entr, (0.0,), (inf,)),
        (special.xlogy, (0.0, 2.0), (np.log(2.0), 0.0)),
        (special.xlogy, (0.0, 0.0), (-inf, 0.0)),
        (special.xlog1py, (0.0, 3.0), (np.log(4.0), 0.0)),
        (special.gammainc, (2.0, 0.0), (0.0, 0.0)),
        (special.gammainc, (1.0, 0.0), (0.0, 1.0)),
        (special.betainc, (2.0, 2.0, 0.0), (0.0, 0.0, 0.0)),
        (special.ndtri, (0.0,), (inf,)),
        (special.logit, (0.0,), (inf,)),
        (special.i1, (0.0,), (0.5,)),
        (special.log_ndtr, (-1e4,), (1e4,)),
        (special.spence, (1.0,), (-1.0,)),
    ):
        with fdl.config.using(backend="reference"):
            got = fdl.grad(f, tuple(range(len(args))))(*args)
        np.testing.assert_allclose([float(g) for g in got], expected, rtol=1e-6, err_msg=str((f, args)))


@pytest.mark.parametrize("name", ["gammaln", "gammainc", "zeta"])
def test_mapped_and_compiled(name: str) -> None:
    f = getattr(special, name)
    xs = [x[:12] for x in AGAINST_SCIPY[name][0]]
    expected = np.asarray(f(*xs))
    np.testing.assert_allclose(np.asarray(fdl.jit(f)(*xs)), expected, rtol=2e-13)
    np.testing.assert_allclose(np.asarray(fdl.vmap(f)(*xs)), expected, rtol=2e-13)
    tables = [x.reshape(4, 3) for x in xs]
    for axis in (0, 1):
        got = fdl.vmap(f, axis, axis)(*tables)
        np.testing.assert_allclose(np.asarray(got), expected.reshape(4, 3), rtol=2e-13)
    for shape in ((0,), (2, 0)):
        assert f(*[np.zeros(shape)] * len(xs)).shape == shape
    one = f(*[x[0] for x in xs])
    assert one.shape == () and abs(float(one) - expected[0]) <= 1e-12 * abs(expected[0])
    if len(xs) > 1:  # one operand mapped, the others whole
        got = fdl.vmap(f, (0, *(None,) * (len(xs) - 1)))(xs[0], *[float(x[0]) for x in xs[1:]])
        np.testing.assert_allclose(np.asarray(got), np.asarray(f(xs[0], *[float(x[0]) for x in xs[1:]])), rtol=2e-13)


def test_an_equation_is_one_line_of_text_that_parses() -> None:
    program = fdl.make_ir(lambda x: special.gammaln(x) + special.gammainc(x, 2.0))(np.ones(3))
    text = str(program)
    assert "gammaln[orders=(0,)]" in text and "gammainc[orders=(0, 0)]" in text
    assert parse(text, program.values) == program


def test_derivatives_that_are_not_asked_for_are_not_computed() -> None:
    program = fdl.make_ir(fdl.grad(special.gammainc, 1))(2.0, 3.0)
    assert [e.primitive.name for e in program.equations].count("gammainc") == 0
    assert any(e.primitive.name == "gamma_density" for e in program.equations)


COMPOSED = {n: p for n, p in PRIMITIVES.items() if isinstance(p.lowering, Call) and p.lowering.typed}


ARITY = {"betaln": 2, "beta": 2, "poch": 2, "comb": 2, "owens_t": 2, "gamma_density": 2, "gamma_density_slope": 2,
         "minus_gamma_density": 2, "beta_density": 3, "beta_density_slope": 3, "vanishing_ratio": 2, "xlogy": 2, "xlog1py": 2,
         "log_ratio": 2, "rel_entr": 2, "kl_div": 2, "boxcox": 2, "boxcox1p": 2}  # fmt: skip


def test_every_composed_primitive_is_compiled_as_it_is_defined() -> None:
    """Reference against LLVM for all formulas without loops; those with loops run compiled throughout."""
    names = sorted(n for n, p in COMPOSED.items() if p.eager == "numpy")
    assert len(names) > 40
    xs = np.array([0.3, 0.7, 0.95]), np.array([1.4, 0.2, 2.6]), np.array([0.2, 0.5, 0.8])
    for name in names:
        operands, params = xs[: ARITY.get(name, 1)], {"orders": (0,) * ARITY.get(name, 1)}
        expected = COMPOSED[name].reference(*operands, **params)
        assert np.isfinite(expected).all(), name
        (got,) = compile_program(single(COMPOSED[name], [type_of(x) for x in operands], params))(operands)
        np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-13, atol=1e-15, err_msg=name)


# --- sums -----------------------------------------------------------------------------------------


def test_logsumexp() -> None:
    a, b = RNG.normal(size=(3, 4)) * 50, RNG.normal(size=(3, 4))
    for axis in (None, 0, -1, (0, 1)):
        for keepdims in (False, True):
            got = special.logsumexp(a, axis, keepdims=keepdims)
            np.testing.assert_allclose(np.asarray(got), sp.logsumexp(a, axis, keepdims=keepdims), rtol=1e-14)
            got, sign = special.logsumexp(a, axis, b, keepdims, return_sign=True)
            expected, other = sp.logsumexp(a, axis, b, keepdims, return_sign=True)
            np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-12)
            np.testing.assert_array_equal(np.asarray(sign), other)
    assert np.isnan(float(special.logsumexp(a, b=-1.0)))
    assert float(special.logsumexp(np.full(3, -np.inf))) == -np.inf == float(special.logsumexp(np.zeros(0), b=np.zeros(0)))
    mask = np.array([True, False, True])
    np.testing.assert_allclose(
        float(special.logsumexp(np.array([1.0, np.nan, 2.0]), where=mask)), np.logaddexp(1, 2), rtol=1e-6
    )
    y, sign = special.logsumexp(np.array([-np.inf, -np.inf]), return_sign=True)
    assert (float(y), float(sign)) == (-np.inf, 0.0)
    check_grads(lambda a, b: special.logsumexp(a, 0, b + 3), (a / 50, b), order=2)


def test_gradients_of_logsumexp_are_safe() -> None:
    inf = np.inf
    for a, b, expected in (
        ([-inf, 1.0], None, [0.0, 1.0]),
        ([-inf, 1.0], [1.0, 1.0], [0.0, 1.0]),
        ([-inf, 1.0, 5.0], [1.0, 2.0, 0.0], [0.0, 1.0, 0.0]),
        ([0.0, 1.0, np.nan], [1.0, 1.0, 0.0], [0.26894142, 0.73105858, 0.0]),
        ([-inf, -inf], [1.0, 1.0], [0.0, 0.0]),
    ):
        got = fdl.grad(lambda a, b=b: special.logsumexp(a, b=b))(np.array(a))
        np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-7, err_msg=str((a, b)))


def test_softmax() -> None:
    a = RNG.normal(size=(3, 4)) * 30
    for axis in (None, 0, (0, 1), -1):
        np.testing.assert_allclose(np.asarray(special.softmax(a, axis=axis)), sp.softmax(a, axis=axis), rtol=1e-13)
        np.testing.assert_allclose(np.asarray(special.log_softmax(a, axis=axis)), sp.log_softmax(a, axis=axis), rtol=1e-13)
    assert special.softmax(np.zeros((0, 3)), axis=0).shape == (0, 3) == special.log_softmax(np.zeros((0, 3)), axis=0).shape
    check_grads(lambda a: special.log_softmax(a, axis=0), (a / 30,), order=2)
    np.testing.assert_array_equal(np.asarray(special.softmax(np.array([-np.inf, 0.0]))), [0.0, 1.0])


# --- complex numbers ------------------------------------------------------------------------------

Z = np.array([[1 + 2j, -3 + 0.5j, 700 + 1j], [0, 1j, -2 - 2j]])


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1)])
def test_sums_of_complex_exponentials(axis: Any) -> None:
    np.testing.assert_allclose(special.logsumexp(Z, axis), sp.logsumexp(Z, axis), rtol=1e-13)
    np.testing.assert_allclose(fdl.jit(lambda z: special.logsumexp(z, axis))(Z), sp.logsumexp(Z, axis), rtol=1e-13)
    weights = [1, 2j, -0.5]
    np.testing.assert_allclose(special.logsumexp(Z, axis, weights), sp.logsumexp(Z, axis, weights), rtol=1e-13)
    size, sign = special.logsumexp(Z, axis, return_sign=True, keepdims=True)
    wanted = sp.logsumexp(Z, axis, return_sign=True, keepdims=True)
    np.testing.assert_allclose(size, wanted[0].real, rtol=1e-13)
    np.testing.assert_allclose(sign, wanted[1], rtol=1e-13)
    np.testing.assert_allclose(special.softmax(Z, axis=axis), sp.softmax(Z, axis=axis), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(
        special.log_softmax(Z, axis=axis), Z - sp.logsumexp(Z, axis, keepdims=True), rtol=1e-12, atol=1e-12
    )


def test_complex_logsumexp_at_its_edges() -> None:
    assert special.logsumexp(np.zeros(0, np.complex64)).tolist() == complex(-np.inf)
    assert special.logsumexp(np.full(2, -np.inf, np.complex64)).real.tolist() == -np.inf
    some = special.logsumexp(np.array([1j, 5.0]), where=np.array([True, False]))
    np.testing.assert_allclose(some, 1j, atol=1e-15)
    np.testing.assert_allclose(
        special.logsumexp(np.array([1.0, 2.0]), b=np.array([1j, 1j])), sp.logsumexp([1.0, 2.0], b=[1j, 1j])
    )
    check_grads(lambda x: special.logsumexp(x * Z[1]).real, (1.5,), order=2)


def test_complex_logit_and_expit() -> None:
    z = np.array([0.3 + 0.2j, -2 + 1j, 3 - 2j])
    np.testing.assert_allclose(special.expit(z), 1 / (1 + np.exp(-z)), rtol=1e-13)
    np.testing.assert_allclose(special.logit(special.expit(z)), z, rtol=1e-12)
    assert special.logit(z.astype(np.complex64)).dtype == np.complex64


@pytest.mark.parametrize("function", [special.softmax, special.log_softmax])
def test_normalised_integers_are_floats_where_there_are_none(function: Callable[..., Any]) -> None:
    for shape in ((2, 0), (2, 3)):
        assert function(np.zeros(shape, np.int8), axis=1).dtype == np.float32
