"""`fdl.scipy.stats` against `scipy.stats`: every function of every distribution, gradients, and values outside the support."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats

import fdl
from fdl import numpy as fnp
from fdl.scipy import stats
from fdl.testing import check_grads

LINE = np.array([-40.0, -6.0, -1.5, -0.2, 0.0, 0.3, 1.0, 2.5, 8.0, 60.0])
UNIT = np.array([0.0, 1e-9, 0.05, 0.5, 0.73, 1.0])
# name: (points, parameters, points at which every density is smooth)
CONTINUOUS: dict[str, tuple[Any, tuple[float, ...], Any]] = {
    "norm": (LINE, (), [-1.0, 0.3]),
    "uniform": (LINE, (), [0.3, 0.6]),
    "expon": (LINE, (), [0.3, 2.0]),
    "gamma": (LINE, (2.3,), [0.3, 4.0]),
    "beta": (np.r_[UNIT, -0.5, 1.5], (2.2, 3.1), [0.3, 0.7]),
    "laplace": (LINE, (), [-1.0, 0.3]),
    "logistic": (LINE, (), [-1.0, 0.3]),
    "cauchy": (LINE, (), [-1.0, 0.3]),
    "t": (LINE, (3.5,), [-1.0, 0.3]),
    "chi2": (LINE, (3.5,), [0.3, 4.0]),
    "pareto": (LINE, (2.3,), [1.3, 4.0]),
    "gumbel_r": (LINE / 8, (), [-1.0, 0.3]),
    "gumbel_l": (LINE / 8, (), [-1.0, 0.3]),
    "truncnorm": (LINE, (-1.0, 2.0), [-0.5, 0.3]),
    "gennorm": (LINE / 8, (1.5,), [-1.0, 0.3]),
}
FUNCTIONS = ("logpdf", "pdf", "cdf", "logcdf", "sf", "logsf", "ppf", "isf")
DISCRETE: dict[str, tuple[float, ...]] = {
    "bernoulli": (0.3,),
    "binom": (9, 0.3),
    "nbinom": (4.0, 0.3),
    "betabinom": (9, 2.0, 3.0),
    "geom": (0.3,),
    "poisson": (3.7,),
}


def functions(name: str) -> list[str]:
    return [f for f in FUNCTIONS if hasattr(getattr(stats, name), f)]


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_continuous_distribution_is_scipy_s(name: str) -> None:
    x, params, _ = CONTINUOUS[name]
    for f in functions(name):
        points = np.r_[UNIT, -0.1, 1.1, np.nan] if f in ("ppf", "isf") else np.r_[x, np.nan]
        for loc, scale in ((0.0, 1.0), (0.25, 2.0)):
            expected = getattr(getattr(scipy.stats, name), f)(points, *params, loc, scale)
            got = np.asarray(getattr(getattr(stats, name), f)(points, *params, loc, scale))
            assert got.dtype == np.float64
            np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-300, err_msg=f"{name}.{f} loc={loc}")
        assert np.isnan(np.asarray(getattr(getattr(stats, name), f)(points, *params, 0.0, -1.0))).all(), (
            f"{name}.{f}: scale < 0"
        )


@pytest.mark.parametrize("name", CONTINUOUS)
def test_gradients_of_a_continuous_distribution(name: str) -> None:
    _, params, points = CONTINUOUS[name]
    module = getattr(stats, name)
    for f in ("logpdf", "logcdf" if hasattr(module, "logcdf") else "cdf", "ppf" if hasattr(module, "ppf") else "pdf"):
        if not hasattr(module, f):
            continue
        x = np.array([0.2, 0.6]) if f == "ppf" else np.array(points)
        args = (x, *(np.array(p) for p in params), np.array(0.02), np.array(1.1))
        # Second derivatives of the incomplete functions are in test_special.
        check_grads(getattr(module, f), args, order=1 if f in ("cdf", "logcdf") else 2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", DISCRETE)
def test_a_discrete_distribution_is_scipy_s(name: str) -> None:
    k = np.array([-2.0, -1, 0, 1, 2, 3, 4, 5, 9, 10, 30, 2.5, np.nan])
    params = DISCRETE[name]
    module, theirs = getattr(stats, name), getattr(scipy.stats, name)
    for loc in (0.0, 1.0):
        for f in ("logpmf", "pmf"):
            expected = getattr(theirs, f)(k, *params, loc)
            np.testing.assert_allclose(np.asarray(getattr(module, f)(k, *params, loc)), expected, rtol=1e-12, err_msg=f)
    if hasattr(module, "cdf"):
        np.testing.assert_allclose(np.asarray(module.cdf(k, *params)), theirs.cdf(k, *params), rtol=1e-12)
    if hasattr(module, "ppf"):
        q = np.array([0.0, 0.2, 0.7, 0.71, 1.0, 1.2, -0.1])
        expected = theirs.ppf(q, *params)
        np.testing.assert_array_equal(np.asarray(module.ppf(q, *params))[1:], expected[1:])
    smooth = [np.array(p) for p in params if isinstance(p, float)]
    fixed = params[: len(params) - len(smooth)]
    check_grads(
        lambda *p: module.logpmf(np.array([1.0, 3.0]) if name != "bernoulli" else np.array([0.0, 1.0]), *fixed, *p),
        tuple(smooth),
        order=2,
    )


def test_circular_distributions() -> None:
    x = np.linspace(-3, 3, 7)
    np.testing.assert_allclose(np.asarray(stats.vonmises.logpdf(x, 2.5)), scipy.stats.vonmises.logpdf(x, 2.5), rtol=1e-12)
    np.testing.assert_allclose(np.asarray(stats.vonmises.pdf(x, 500.0)), scipy.stats.vonmises.pdf(x, 500.0), rtol=1e-11)
    x = np.linspace(-1, 7, 9)
    np.testing.assert_allclose(np.asarray(stats.wrapcauchy.logpdf(x, 0.3)), scipy.stats.wrapcauchy.logpdf(x, 0.3), rtol=1e-12)


def test_multinomial() -> None:
    p = np.array([0.2, 0.3, 0.5])
    for x in ([1, 2, 3], [0, 0, 6], [1, 2, 4], [-1, 3, 4]):
        expected = scipy.stats.multinomial.logpmf(np.array(x), 6, p)
        np.testing.assert_allclose(float(stats.multinomial.logpmf(np.array(x, float), 6.0, p)), expected, rtol=1e-12)
    assert stats.multinomial.pmf(np.array([[1.0, 2, 3], [2, 2, 2]]), 6.0, p).shape == (2,)


def test_dirichlet() -> None:
    alpha = np.array([0.7, 2.0, 3.0])
    x = np.array([[0.2, 0.1], [0.3, 0.6], [0.5, 0.3]])
    np.testing.assert_allclose(np.asarray(stats.dirichlet.logpdf(x, alpha)), scipy.stats.dirichlet.logpdf(x, alpha), rtol=1e-12)
    np.testing.assert_allclose(np.asarray(stats.dirichlet.pdf(x[:2], alpha)), scipy.stats.dirichlet.pdf(x, alpha), rtol=1e-12)
    assert float(stats.dirichlet.logpdf(np.array([0.5, 0.4, 0.3]), alpha)) == -np.inf
    check_grads(lambda a: stats.dirichlet.logpdf(x, a), (alpha,), order=2)
    with pytest.raises(ValueError, match=r"stats\.dirichlet: x has shape \(5,\), alpha \(3,\)"):
        stats.dirichlet.logpdf(np.ones(5), alpha)


def test_multivariate_normal() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(3, 3))
    cov, mean, x = a @ a.T + np.eye(3), rng.normal(size=3), rng.normal(size=(4, 3))
    expected = scipy.stats.multivariate_normal.logpdf(x, mean, cov)
    np.testing.assert_allclose(np.asarray(stats.multivariate_normal.logpdf(x, mean, cov)), expected, rtol=1e-12)
    np.testing.assert_allclose(np.asarray(stats.multivariate_normal.pdf(x[0], mean, cov)), np.exp(expected[0]), rtol=1e-12)
    np.testing.assert_allclose(
        float(stats.multivariate_normal.logpdf(x[0], mean, 2.0)),
        scipy.stats.multivariate_normal.logpdf(x[0], mean, 2.0),
        rtol=1e-12,
    )
    mapped = fdl.vmap(stats.multivariate_normal.logpdf, (0, None, None))(x, mean, cov)
    np.testing.assert_allclose(np.asarray(mapped), expected, rtol=1e-12)
    check_grads(stats.multivariate_normal.logpdf, (x[0], mean, cov), order=1)
    with pytest.raises(ValueError, match=r"stats\.multivariate_normal: x has shape \(2,\)"):
        stats.multivariate_normal.logpdf(np.ones(2), mean, cov)


def test_gradients_outside_a_support_are_zero() -> None:
    for f, x, params in (
        (stats.gamma.logpdf, -1.0, (2.5,)),
        (stats.beta.logpdf, 1.5, (2.5, 3.0)),
        (stats.expon.logpdf, -2.0, ()),
        (stats.pareto.logpdf, 0.5, (2.0,)),
        (stats.uniform.logpdf, 3.0, ()),
    ):
        assert float(f(x, *params)) == -np.inf
        grads = fdl.grad(f, tuple(range(1 + len(params))))(x, *params)
        assert all(float(g) == 0.0 for g in grads), (f, grads)


def test_float32_and_compiled() -> None:
    x = fnp.linspace(0.1, 5.0, 7)
    for f in (lambda x: stats.norm.logpdf(x, 1, 2), lambda x: stats.gamma.cdf(x, 2.5), lambda x: stats.t.sf(x, 3)):
        plain, compiled = f(x), fdl.jit(f)(x)
        assert plain.dtype == np.float32 == compiled.dtype
        np.testing.assert_allclose(np.asarray(plain), np.asarray(compiled), rtol=1e-6)
