"""The samplers of `fdl.random`: JAX's numbers where there is a formula, the right distribution where there is rejection; derivatives.

`tests/data/jax_samplers.npz` was computed with JAX 0.10.2 by `tests/data/make_jax_samplers.py`; the calls are that file's.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import scipy.stats as st

import fdl
from fdl import numpy as fnp
from fdl import random

DATA = Path(__file__).parent / "data"
STORED = np.load(DATA / "jax_samplers.npz")


def calls() -> dict[str, Callable[..., Any]]:
    """The table of calls in make_jax_samplers.py, which itself needs JAX."""
    tree = ast.parse((DATA / "make_jax_samplers.py").read_text(encoding="utf-8"))
    space: dict[str, Any] = {"np": np}
    wanted = [n for n in tree.body if isinstance(n, ast.Assign)]
    exec(compile(ast.Module(wanted, []), "make_jax_samplers.py", "exec"), space)
    return dict(space["CALLS"])


CALLS = calls()
# In ulp of each element, the larger of it and 0.1 (cancellation near 0 is JAX's and ours alike). JAX's wald cancels, and so does a
# location that is added. What is made of normal numbers alone is as near as they are.
ULPS = {"float32": 16, "float64": 8}
OTHERS = {"wald": 64, "double_sided_maxwell": 64} | dict.fromkeys(
    ("truncated_normal", "truncated_normal_array", "lognormal", "maxwell", "multivariate_normal"), 4
)


@pytest.mark.parametrize("case", STORED.files)
def test_the_numbers_are_jax_s(case: str) -> None:
    name, seed, dtype = case.split("|")
    expected = STORED[case]
    got = np.asarray(CALLS[name](random, random.key(int(seed)), np.dtype(dtype).type))
    assert got.shape == expected.shape and got.dtype == expected.dtype
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(got, expected)
        return
    ulp = np.finfo(expected.dtype).eps * np.maximum(np.abs(expected), 0.1)
    off = np.abs(got.astype(np.float64) - expected) / ulp
    assert off.max() <= OTHERS.get(name, ULPS[dtype]), (off.max(), got.flat[np.argmax(off)], expected.flat[np.argmax(off)])


# --- distributions --------------------------------------------------------------------------------

N = (20_000,)
CONTINUOUS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "gamma 0.02": (lambda k: random.gamma(k, 0.02, N, "float64"), st.gamma(0.02)),
    "gamma 0.4": (lambda k: random.gamma(k, 0.4, N), st.gamma(0.4)),
    "gamma 1": (lambda k: random.gamma(k, 1.0, N), st.gamma(1)),
    "gamma 2.5": (lambda k: random.gamma(k, 2.5, N, "float64"), st.gamma(2.5)),
    "gamma 900": (lambda k: random.gamma(k, 900.0, N), st.gamma(900)),
    "loggamma 0.01": (lambda k: random.loggamma(k, 0.01, N), st.loggamma(0.01)),
    "beta": (lambda k: random.beta(k, 0.5, 2.0, N), st.beta(0.5, 2)),
    "chisquare": (lambda k: random.chisquare(k, 3.0, N), st.chi2(3)),
    "f": (lambda k: random.f(k, 3.0, 5.0, N), st.f(3, 5)),
    "t": (lambda k: random.t(k, 3.0, N), st.t(3)),
    "generalized_normal": (lambda k: random.generalized_normal(k, 1.5, N), st.gennorm(1.5)),
    "dirichlet": (lambda k: random.dirichlet(k, np.array([0.5, 1, 2]), N)[:, 0], st.beta(0.5, 3)),
    "ball": (lambda k: (random.ball(k, 3, 2, N) ** 2).sum(-1) ** 1.5, st.uniform()),
    "ball of p = 1": (lambda k: fnp.abs(random.ball(k, 2, 1, N)).sum(-1) ** 2, st.uniform()),
    "truncated_normal": (lambda k: random.truncated_normal(k, -1.0, 2.0, N), st.truncnorm(-1, 2)),
    "gumbel high": (lambda k: random.gumbel(k, N, mode="high"), st.gumbel_r()),
    "wald": (lambda k: random.wald(k, 2.0, N), st.invgauss(2.0)),
    "triangular": (lambda k: random.triangular(k, 0.0, 0.3, 1.0, N), st.triang(0.3)),
    "weibull_min": (lambda k: random.weibull_min(k, 2.0, 0.7, N), st.weibull_min(0.7, scale=2)),
    "maxwell": (lambda k: random.maxwell(k, N), st.maxwell()),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_continuous_distribution(name: str) -> None:
    draw, distribution = CONTINUOUS[name]
    x = np.asarray(draw(random.key(1)), np.float64)
    assert x.shape == N
    assert st.kstest(x, distribution.cdf).pvalue > 1e-3


DISCRETE: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "poisson 0.3": (lambda k: random.poisson(k, 0.3, N), st.poisson(0.3)),
    "poisson 9": (lambda k: random.poisson(k, 9.0, N), st.poisson(9)),
    "poisson 10": (lambda k: random.poisson(k, 10.0, N), st.poisson(10)),
    "poisson 250": (lambda k: random.poisson(k, 250.0, N), st.poisson(250)),
    "binomial 5": (lambda k: random.binomial(k, 5.0, 0.3, N), st.binom(5, 0.3)),
    "binomial 20": (lambda k: random.binomial(k, 20.0, 0.9, N), st.binom(20, 0.9)),
    "binomial 100": (lambda k: random.binomial(k, 100.0, 0.4, N), st.binom(100, 0.4)),
    "binomial 1000": (lambda k: random.binomial(k, 1000.0, 0.7, N), st.binom(1000, 0.7)),
    "multinomial": (lambda k: random.multinomial(k, 20.0, np.array([0.2, 0.3, 0.5]), shape=(*N, 3))[:, 1], st.binom(20, 0.3)),
    "geometric": (lambda k: random.geometric(k, 0.2, N), st.geom(0.2)),
    "bernoulli high": (lambda k: random.bernoulli(k, 0.3, N, mode="high").astype("int32"), st.bernoulli(0.3)),
    "categorical": (lambda k: random.categorical(k, np.log([0.3, 0.7]), shape=N), st.bernoulli(0.7)),
    "choice": (lambda k: random.choice(k, 2, N, p=np.array([0.3, 0.7])), st.bernoulli(0.7)),
}


@pytest.mark.parametrize("name", DISCRETE)
def test_a_discrete_distribution(name: str) -> None:
    draw, distribution = DISCRETE[name]
    x = np.asarray(draw(random.key(2)))
    low, high = int(distribution.ppf(1e-3)), int(distribution.ppf(1 - 1e-3))
    values = np.arange(low, high + 1)
    counts = np.array([(x < low).sum(), *[(x == v).sum() for v in values], (x > high).sum()])
    expected = N[0] * np.array([distribution.cdf(low - 1), *distribution.pmf(values), distribution.sf(high)])
    assert counts.sum() == N[0]
    # Cells with few expected are put together.
    small = expected < 10
    counts, expected = (np.r_[v[~small], v[small].sum()] for v in (counts, expected))
    keep = expected > 0
    if expected[-1] < 1e-9:
        assert counts[-1] == 0
        keep[-1] = False
    assert st.chisquare(counts[keep], expected[keep] * counts[keep].sum() / expected[keep].sum()).pvalue > 1e-3


def test_sums_and_bounds() -> None:
    k = random.key(4)
    x = np.asarray(random.multinomial(k, np.array([5.0, 9.0]), np.array([0.2, 0.0, 0.8])[None].repeat(2, 0)))
    np.testing.assert_array_equal(x.sum(-1), [5, 9])
    np.testing.assert_array_equal(x[:, 1], 0)
    d = np.asarray(random.dirichlet(k, np.array([1e-3, 2e-3, 1e-3]), (50,)))
    np.testing.assert_allclose(d.sum(-1), 1, rtol=1e-6)
    assert (d >= 0).all()
    q = np.asarray(random.orthogonal(k, 4, (3,), "float64", 6))
    np.testing.assert_allclose(q @ q.swapaxes(-1, -2), np.eye(4)[None].repeat(3, 0), atol=1e-14)
    u = np.asarray(random.truncated_normal(k, 1.0, 1.1, (1000,)))
    assert (u > 1).all() and (u < np.float32(1.1)).all()
    p = np.asarray(random.choice(k, 30, (30,), replace=False))
    np.testing.assert_array_equal(np.sort(p), np.arange(30))


@pytest.mark.parametrize("method", ["cholesky", "eigh", "svd"])
def test_multivariate_normal_has_its_covariance(method: str) -> None:
    cov, mean = np.array([[2.0, 0.6], [0.6, 0.5]]), np.array([1.0, -2.0])
    x = np.asarray(random.multivariate_normal(random.key(3), mean, cov, N, method=method))
    assert x.shape == (*N, 2) and x.dtype == np.float64
    np.testing.assert_allclose(np.cov(x.T), cov, atol=0.06)
    np.testing.assert_allclose(x.mean(0), mean, atol=0.05)


def test_special_parameters() -> None:
    k, nan, inf = random.key(0), np.nan, np.inf
    np.testing.assert_array_equal(np.asarray(random.poisson(k, np.array([0.0, -1, nan, inf]))), [0, -1, -1, 2**31 - 1])
    b = random.binomial(k, np.array([10.0, -1, nan, 5, 5, inf, 5, 7, 7]), np.array([0.0, 0.5, 0.5, -1, 2, 0.5, nan, 1.0, 0.0]))
    np.testing.assert_array_equal(np.asarray(b), [0, nan, nan, nan, nan, inf, nan, 7, 0])
    np.testing.assert_array_equal(np.asarray(random.gamma(k, np.array([0.0, -1, nan, inf]))), [0, nan, nan, inf])
    np.testing.assert_array_equal(np.asarray(random.loggamma(k, np.array([0.0, -1, nan, inf]))), [-inf, nan, nan, inf])
    assert -1e32 < float(random.loggamma(k, 1e-30)) < -1e26
    np.testing.assert_array_equal(np.asarray(random.geometric(k, np.array([0.0, 1.0]))), [2**31 - 1, 1])
    assert random.poisson(k, 300.0, (5,), "uint8").dtype == np.uint8


# --- derivatives ----------------------------------------------------------------------------------


@pytest.mark.parametrize("a", [0.05, 0.7, 1.0, 3.0, 60.0])
def test_the_gradient_of_gamma_keeps_the_probability(a: float) -> None:
    """dx/da at fixed P(a, x), against differences of SciPy's inverse."""
    with fdl.config.using(backend="reference"):
        draw = lambda a: random.gamma(random.key(1), a, (4,), "float64")  # noqa: E731
        x, slope = fdl.jvp(draw, (np.float64(a),), (np.float64(1),))
    p, h = st.gamma(a).cdf(np.asarray(x)), 1e-4 * a
    expected = (st.gamma(a + h).ppf(p) - st.gamma(a - h).ppf(p)) / (2 * h)
    np.testing.assert_allclose(np.asarray(slope), expected, rtol=2e-5, atol=1e-12)


def test_gradients_of_expectations() -> None:
    k = random.key(7)
    mean = fdl.jit(fdl.grad(lambda a: random.gamma(k, a, N).mean()))
    assert float(mean(2.0)) == pytest.approx(1.0, abs=0.03)
    a, b = 2.0, 3.0
    slopes = fdl.jit(fdl.grad(lambda a, b: random.beta(k, a, b, N).mean(), (0, 1)))(a, b)
    np.testing.assert_allclose([float(s) for s in slopes], [b / (a + b) ** 2, -a / (a + b) ** 2], rtol=0.06)
    alpha = np.array([1.0, 2.0, 3.0], np.float32)
    got = fdl.jit(fdl.grad(lambda a: (random.dirichlet(k, a, N)[:, 0] ** 2).mean()))(alpha)
    total = alpha.sum()
    second = alpha[0] * (alpha[0] + 1) / (total * (total + 1))
    expected = np.full(3, -second * (1 / total + 1 / (total + 1)))
    expected[0] += (2 * alpha[0] + 1) / (total * (total + 1))
    np.testing.assert_allclose(np.asarray(got), expected, atol=0.002)


def test_gradients_of_formulas() -> None:
    k = random.key(3)
    for f, x in (
        (lambda s: random.lognormal(k, s, (3,), "float64").sum(), 0.7),
        (lambda s: random.rayleigh(k, s, (3,), "float64").sum(), 0.7),
        (lambda s: random.pareto(k, s, (3,), "float64").sum(), 2.7),
        (lambda s: random.truncated_normal(k, s, 2.0, (3,), "float64").sum(), -0.7),
        (lambda s: random.wald(k, s, (3,), "float64").sum(), 0.7),
        (lambda s: random.multivariate_normal(k, np.zeros(2), s * np.eye(2)).sum(), 0.7),
    ):
        x, h = np.float64(x), 1e-6
        difference = (float(f(x + h)) - float(f(x - h))) / (2 * h)
        assert float(fdl.grad(f)(x)) == pytest.approx(difference, rel=1e-6)


# --- shapes, dtypes, transforms, errors -----------------------------------------------------------


def test_a_sampler_maps_over_keys_and_parameters() -> None:
    keys = random.split(random.key(9), 3)
    a = np.array([0.4, 2.0, 11.0], np.float32)
    for f in (random.gamma, random.poisson, lambda k, a: random.beta(k, a, 2.0), lambda k, a: random.binomial(k, a, 0.3)):
        alone = [np.asarray(f(k, v)) for k, v in zip(keys, a, strict=True)]
        np.testing.assert_allclose(np.asarray(fdl.vmap(f)(keys, a)), alone, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(fdl.jit(random.gamma)(keys[0], a)), np.asarray(random.gamma(keys[0], a)), rtol=1e-6)


def test_shapes_and_dtypes() -> None:
    k = random.key(0)
    assert random.gamma(k, np.ones((2, 1)), (2, 3)).shape == (2, 3)
    assert random.beta(k, np.ones(3), np.ones((2, 1))).shape == (2, 3)
    assert random.gamma(k, np.ones((0, 2))).shape == (0, 2) == random.poisson(k, np.ones((0, 2))).shape
    assert random.dirichlet(k, np.ones((4, 3))).shape == (4, 3)
    assert random.ball(k, 3, shape=(2,)).shape == (2, 3)
    assert random.multinomial(k, 5, np.ones((2, 3)) / 3).shape == (2, 3)
    assert random.multivariate_normal(k, np.zeros(2), np.eye(2), (0,)).shape == (0, 2)
    assert random.choice(k, np.zeros((3, 4)), (2, 5), axis=1).shape == (3, 2, 5)
    assert random.choice(k, 3, (0,)).shape == (0,)
    assert random.choice(k, np.zeros((3, 4)), (), axis=0).shape == (4,)
    assert random.permutation(k, 0).shape == (0,)
    for name in ("exponential", "laplace", "cauchy", "logistic", "maxwell", "gumbel"):
        for dtype in (np.float16, ml_dtypes.bfloat16, np.float64):
            x = getattr(random, name)(k, (5,), dtype)
            assert x.dtype == dtype and np.isfinite(np.asarray(x).astype(np.float64)).all(), (name, dtype)
    assert random.gamma(k, 2.0, (3,), np.float16).dtype == np.float16
    assert random.rademacher(k, (5,)).dtype == np.int32
    assert random.rademacher(k, (5,), "float32").dtype == np.float32


def test_keys() -> None:
    k = random.PRNGKey(5)
    np.testing.assert_array_equal(np.asarray(random.key_data(k)), np.asarray(random.key(5)))
    np.testing.assert_array_equal(np.asarray(random.wrap_key_data(np.array([0, 5], np.uint32))), np.asarray(k))
    np.testing.assert_array_equal(np.asarray(random.clone(k)), np.asarray(k))
    assert random.key_impl(random.split(k, 3)) == "threefry2x32"


def test_errors() -> None:
    k = random.key(0)
    for call, what in (
        (lambda: random.gamma(k, np.ones(3), (2,)), r"random\.gamma: the parameters have shapes \(3,\)"),
        (lambda: random.beta(k, np.ones(3), np.ones(2)), r"random\.beta: shapes \(3,\) and \(2,\) do not broadcast"),
        (lambda: random.exponential(k, (2,), "int32"), r"random\.exponential: expected a floating-point dtype, got int32"),
        (lambda: random.poisson(k, 1.0, (2,), "float32"), r"random\.poisson: expected an integer dtype, got float32"),
        (lambda: random.gamma(fnp.ones(3), 1.0), r"random\.gamma: expected a key .* got f32\[3\]"),
        (lambda: random.gamma(k, 1j), r"random\.gamma: a must be real"),
        (lambda: random.gumbel(k, mode="fast"), r"random\.gumbel: mode='fast' is not known"),
        (lambda: random.bernoulli(k, 0.5, mode="fast"), r"random\.bernoulli: mode='fast' is not known"),
        (lambda: random.choice(k, 3, (4,), replace=False), "4 elements without replacement were asked for, of 3"),
        (lambda: random.choice(k, 0, (4,)), "nothing to draw 4 elements from"),
        (lambda: random.choice(k, 3, p=np.ones(2)), r"p has shape \(2,\), expected \(3,\)"),
        (lambda: random.choice(k, 1.5), "expected an int or an array with axes"),
        (lambda: random.categorical(k, np.ones(3), shape=(4,), replace=False), "4 indices without replacement"),
        (lambda: random.multivariate_normal(k, np.ones(2), np.eye(3)), r"mean has shape \(2,\), cov \(3, 3\)"),
        (lambda: random.multivariate_normal(k, np.ones(2), np.eye(2), method="lu"), "method='lu' is not known"),
        (lambda: random.dirichlet(k, 1.0), "alpha is a scalar"),
        (lambda: random.multinomial(k, 3, 1.0), "p is a scalar"),
        (lambda: random.orthogonal(k, -1), "must be an integer from 0 on, got -1"),
        (lambda: random.wrap_key_data(np.zeros(2, np.uint32), impl="rbg"), "impl='rbg' is not known"),
        (lambda: random.key_data(np.zeros(2)), "expected keys, uint32"),
    ):
        with pytest.raises((ValueError, TypeError), match=what) as caught:
            call()
        assert "test_samplers.py" in str(caught.value)


def test_complex_numbers() -> None:
    """The first figures are JAX 0.10.2's, for the same key."""
    key = random.key(7)
    z = np.asarray(random.normal(key, (2,), "complex128"))
    np.testing.assert_allclose(z, [0.24862191 - 0.36817454j, -0.81614277 - 0.22538821j], atol=2e-8)
    q = np.asarray(random.orthogonal(key, 2, (), "complex128"))
    np.testing.assert_allclose(q, [[0.36779709 - 0.54465645j, -0.73735073 + 0.15616838j],
                                   [-0.04831036 + 0.75215741j, -0.48598657 + 0.44242784j]], atol=2e-8)  # fmt: skip
    many = np.asarray(fdl.jit(lambda k: random.normal(k, (100_000,), "complex64"))(key))
    assert np.mean(np.abs(many) ** 2) == pytest.approx(1, abs=0.015) and abs(np.mean(many**2)) < 0.015
    rows = np.asarray(random.orthogonal(key, 2, (4,), "complex64", m=3))
    np.testing.assert_allclose(rows @ rows.conj().swapaxes(1, 2), np.broadcast_to(np.eye(2), (4, 2, 2)), atol=1e-6)


def test_rademacher_has_no_bools() -> None:
    with pytest.raises(
        TypeError, match=r"random.rademacher: bool has no -1. Use random.bernoulli, or an integer dtype.\n  at .*test_samplers"
    ):
        fdl.random.rademacher(fdl.random.key(0), (3,), bool)
