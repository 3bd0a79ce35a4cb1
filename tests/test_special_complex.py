"""Functions of `fdl.scipy.special` and `logaddexp` of complex numbers: against SciPy, the definition and differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special as sp

import fdl
from fdl import numpy as fnp
from fdl.scipy import special
from fdl.testing import check_grads
from fdl.tracer.errors import DTypeError

RNG = np.random.default_rng(5)


def plane(size: float, n: int = 1000) -> np.ndarray:
    return RNG.uniform(-size, size, n) + 1j * RNG.uniform(-size, size, n)


@pytest.mark.parametrize("compiled", [False, True])
def test_loggamma_and_gamma(compiled: bool) -> None:
    strip = RNG.uniform(-3, 3, 500) + 1j * RNG.uniform(-1e-3, 1e-3, 500)
    z = np.concatenate([plane(12), plane(1000), strip, np.array([1, 2, 0.5, 3 + 1e-9j])])
    loggamma, gamma = (fdl.jit(f) if compiled else f for f in (special.loggamma, special.gamma))
    wanted = sp.loggamma(z)
    assert (np.abs(np.asarray(loggamma(z)) - wanted) <= 2e-14 * np.maximum(1, np.abs(wanted))).all()
    small = z[np.abs(z) < 20]
    np.testing.assert_allclose(np.asarray(gamma(small)), sp.gamma(small), rtol=5e-14)
    assert gamma(np.complex64(2 + 1j)).dtype == np.complex64
    np.testing.assert_allclose(complex(gamma(np.complex64(2 + 1j))), sp.gamma(2 + 1j), rtol=1e-7)


def test_the_axis_and_the_poles_of_loggamma() -> None:
    """On the branch cut the sign of the zero tells the side; at a pole there is no value."""
    above, below = (complex(special.loggamma(np.complex128(complex(-1.5, y)))) for y in (0.0, -0.0))
    assert above == pytest.approx(sp.loggamma(-1.5 + 0j), rel=1e-14)
    assert below == above.conjugate()
    assert np.isnan(np.asarray(special.loggamma(np.array([0j, -1 + 0j, -20 + 0j])))).all()
    assert math.isnan(float(special.loggamma(-1.5)))  # a real number has no complex logarithm


def test_the_derivative_of_loggamma_is_digamma() -> None:
    z = plane(5, 200)
    slope = fdl.grad(special.loggamma, holomorphic=True)
    np.testing.assert_allclose(np.asarray(fdl.vmap(slope)(z)), sp.digamma(z), rtol=1e-12, atol=1e-13)
    second = fdl.grad(slope, holomorphic=True)
    z = np.complex128(3 + 1j)
    series = sum(1 / (z + k) ** 2 for k in range(2000)) + 1 / (z + 2000) + 0.5 / (z + 2000) ** 2
    np.testing.assert_allclose(complex(second(z)), series, rtol=1e-9)


@pytest.mark.parametrize(("f", "wanted"), [(special.xlogy, sp.xlogy), (special.xlog1py, sp.xlog1py)])
def test_products_with_logarithms(f: Callable[..., Any], wanted: Callable[..., Any]) -> None:
    x, y = plane(3, 50), plane(3, 50)
    np.testing.assert_allclose(np.asarray(f(x, y)), wanted(x, y), rtol=1e-13)
    np.testing.assert_allclose(np.asarray(fdl.jit(f)(x, 2.0)), wanted(x, 2.0), rtol=1e-13)  # a 0-d operand
    edge = -1.0 if f is special.xlog1py else 0.0
    assert complex(f(0j, edge)) == 0 == complex(f(0j, 1j))
    assert complex(fdl.grad(f, holomorphic=True)(0j, 2 + 1j)) == pytest.approx(wanted(1, 2 + 1j), rel=1e-6)
    check_grads(f, (x[:5], y[:5]), order=2)


def test_logaddexp() -> None:
    x, y = plane(3, 200), plane(3, 200)
    np.testing.assert_allclose(np.asarray(fnp.logaddexp(x, y)), np.log(np.exp(x) + np.exp(y)), rtol=1e-11, atol=1e-12)
    wanted = np.log(2**x + 2**y) / math.log(2)
    np.testing.assert_allclose(np.asarray(fdl.jit(fnp.logaddexp2)(x, y)), wanted, rtol=1e-11, atol=1e-12)
    large = complex(fnp.logaddexp(np.complex128(1000 + 1j), np.complex128(1000 + 1j)))
    assert large == pytest.approx(1000 + math.log(2) + 1j, rel=1e-12)
    for f in (fnp.logaddexp, fnp.logaddexp2):
        none = complex(f(np.complex128(-np.inf), np.complex128(-np.inf)))
        assert (none.real, none.imag) == (-math.inf, 0.0)
    check_grads(fnp.logaddexp, (x[:5], y[:5]), order=2)


@pytest.mark.parametrize(
    "f",
    [
        special.gammaln, special.digamma, special.erfcx, lambda z: special.boxcox(z, z), lambda z: special.owens_t(z, z),
        lambda z: fnp.arctan2(z, z), lambda z: fnp.maximum(z, z), lambda z: z < z, lambda z: fdl.lax.cummax(z[None]),
        fdl.nn.relu, fdl.nn.elu, fdl.nn.softplus,
    ],
)  # fmt: skip
def test_what_remains_real_says_so(f: Callable[..., Any]) -> None:
    """What docs/coverage.md says of complex numbers."""
    with pytest.raises(DTypeError, match=r"complex128|real numbers"):
        f(fnp.asarray(np.complex128(1j)))
