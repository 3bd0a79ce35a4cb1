"""Convolution, interpolation, windows and polynomials against NumPy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from numpy_rest import agree, check_grads, check_vmap, integers, same, sample, traced

import fdl
import fdl.numpy as fnp
from fdl.tracer.errors import ConcretizationError, ShapeError


@pytest.mark.parametrize("name", ["convolve", "correlate"])
def test_convolve(name: str) -> None:
    for (n, m), mode in itertools.product([(1, 1), (5, 3), (3, 5), (4, 4), (7, 2), (2, 6), (6, 5)], ["full", "same", "valid"]):
        agree(name, sample((n,), n), sample((m,), m), mode, trace=n == 7)
    agree(name, sample((40,)), sample((7,), 1), "same", compiled=True)
    agree(name, integers((6,), -5, 5), integers((3,), -5, 5, seed=1), "full")
    agree(name, np.array([True, False, True]), np.array([True, True]), "full")
    z, w = sample((5,)) + 1j * sample((5,), 1), sample((3,), 2) + 1j * sample((3,), 3)
    for mode in ("full", "same", "valid"):
        agree(name, z, w, mode, trace=False)
        agree(name, w, z, mode, trace=False)
    f = getattr(fnp, name)
    check_grads(lambda x: f(x, x[:3] * 2, "full"), sample((5,)))
    check_vmap(lambda x, v: f(x, v, "same"), sample((3, 5)), sample((3, 2), 1))
    with pytest.raises(ShapeError, match="mode 'half'"):
        f(sample(3), sample(2), "half")
    with pytest.raises(ShapeError, match="neither may be empty"):
        f(np.zeros(0), sample(2))
    with pytest.raises(ShapeError, match="one axis"):
        f(sample((2, 2)), sample(2))


def test_interp() -> None:
    xp, fp = np.array([-1.0, 0.0, 0.5, 2.0]), sample((4,), 1)
    x = np.concatenate([sample((3, 4), low=-2, high=3).ravel(), xp, [np.nan, np.inf, -np.inf]])
    agree("interp", x, xp, fp, compiled=True)
    agree("interp", x, xp, fp, -7.0, 9.0)
    agree("interp", sample((2, 3)), xp, fp, period=1.7)
    agree("interp", 0.3, xp, fp)
    agree("interp", x[:16], xp[:1], fp[:1])
    agree("interp", x[:16], xp[:1], fp[:1], -1.0, 2.0)
    agree("interp", x[:12], xp, fp + 1j * sample((4,), 2))
    steep = np.array([0.0, 1.0, 1.0, 2.0])
    agree("interp", np.array([0.5, 1.0, 1.5]), steep, fp)
    many = np.sort(sample((50,), 3))
    agree("interp", x, many, np.sin(many))
    got = fnp.interp(np.array([-3.0, 4.0]), xp, fp, "extrapolate", "extrapolate")
    slopes = np.diff(fp) / np.diff(xp)
    same(got, np.array([fp[0] - 2 * slopes[0], fp[3] + 2 * slopes[2]]))
    inside = np.array([-0.7, 0.2, 0.3, 1.4])
    check_grads(lambda v: fnp.interp(v, xp, fp), inside)
    check_grads(lambda v: fnp.interp(inside, xp, v), fp)
    check_grads(lambda v: fnp.interp(inside, v, fp), xp)
    check_vmap(lambda v, f: fnp.interp(v, xp, f), sample((3, 5)), sample((3, 4), 1))
    for f, text in (
        (lambda: fnp.interp(x, xp, fp[:2]), "xp has 4 points, fp 2"),
        (lambda: fnp.interp(x, xp, fp, period=0), "must not be 0"),
        (lambda: fnp.interp(x, xp, fp, "repeat"), "a number or 'extrapolate'"),
    ):
        with pytest.raises(ShapeError, match=text):
            f()


def test_windows() -> None:
    for n in (0, 1, 2, 7, 8):
        for name in ("bartlett", "blackman", "hamming", "hanning"):
            agree(name, n, trace=False)
        for beta in (0.0, 5.0, 14.0):
            agree("kaiser", n, beta, trace=False)
            same(fdl.jit(lambda b, n=n: fnp.kaiser(n, b))(np.float64(beta)), np.kaiser(n, beta), 1e-5, 1e-6)
    check_grads(lambda b: fnp.kaiser(5, b[0]), np.array([2.0]))


# --- polynomials ----------------------------------------------------------------------------------


def test_polynomial_arithmetic() -> None:
    p, q = sample((5,)), sample((3,), 1)
    for name in ("polyadd", "polysub", "polymul"):
        agree(name, p, q)
        agree(name, q, p)
        agree(name, p, 2.0) if name != "polymul" else None
    same(fnp.polymul(np.array([0.0, 1.0, 2.0]), np.array([0.0, 0.0, 3.0]), trim_leading_zeros=True), np.array([3.0, 6.0]))
    for m in range(4):
        agree("polyder", p, m)
        agree("polyint", p, m)
        agree("polyint", p, m, 3.0)
    agree("polyint", p, 2, [1.0, 2.0])
    for u, v in ((p, q), (q, p), (p, p[:1]), (p, p), (np.array([1.0, 0.0, -1.0]), np.array([1.0, -1.0]))):
        got, want = fnp.polydiv(u, v, trim_leading_zeros=True), np.polydiv(u, v)
        same(got[0], want[0])
        same(got[1], want[1], 1e-9, 1e-9)
        quotient, rest = fdl.jit(fnp.polydiv)(u, v)
        same(fnp.polyadd(fnp.polymul(quotient, v), rest)[-len(u) :], u, 1e-9, 1e-9)
    x = sample((2, 3), 2)
    agree("polyval", p, x, compiled=True)
    agree("polyval", np.zeros(0), x)
    long = sample((40,), 3)
    same(fnp.polyval(long, x * 0.5), np.polyval(long, x * 0.5))
    same(traced(fnp.polyval, long, x * 0.5, backend="llvm"), np.polyval(long, x * 0.5))
    columns = sample((4, 3), 4)
    same(fnp.polyval(columns, x), np.stack([np.polyval(columns[:, k], x[:, k]) for k in range(3)], 1))
    check_grads(lambda p: fnp.polyval(p, x), p)
    check_grads(lambda v: fnp.polyval(long[:20], v * 0.5), x)
    check_grads(lambda p: fnp.polymul(fnp.polyder(p), fnp.polyint(p[:2])), p)
    with pytest.raises(ShapeError, match="m must not be negative"):
        fnp.polyder(p, -1)
    with pytest.raises(ShapeError, match="expected one constant or 2"):
        fnp.polyint(p, 2, [1.0, 2.0, 3.0])


def _sorted(z: Any) -> np.ndarray:
    return np.sort_complex(np.round(np.asarray(z), 8))


def test_roots() -> None:
    for p in ([1.0, 0.0, -1.0], [2.0, 1.0], [1.0, 2.0, 3.0, 4.0, 5.0], [0.0, 0.0, 1.0, -3.0, 2.0, 0.0], [3.0], [0.0, 0.0], []):
        want = np.roots(p)
        got = fnp.roots(np.array(p))
        assert got.shape == want.shape
        np.testing.assert_allclose(_sorted(got), _sorted(want), atol=1e-7)
    got = fdl.jit(lambda p: fnp.roots(p, strip_zeros=False))(np.array([1.0, -6.0, 11.0, -6.0]))
    np.testing.assert_allclose(_sorted(got), [1, 2, 3], atol=1e-7)
    with pytest.raises(ConcretizationError, match="strip_zeros=False"):
        fdl.jit(fnp.roots)(np.ones(3))
    z = np.array([1.0, -2.0, 0.5])
    agree("poly", z)
    assert fnp.poly(np.zeros(0)).tolist() == [1.0]
    m = sample((3, 3))
    np.testing.assert_allclose(np.asarray(fnp.poly(m)).real, np.poly(m), rtol=1e-9)


def test_polyfit() -> None:
    x = np.linspace(-1, 2, 12)
    y = np.sin(x)
    w = np.abs(sample((12,), 2)) + 0.1
    for deg in (0, 1, 3, 5):
        agree("polyfit", x, y, deg, rtol=1e-8, atol=1e-9)
    agree("polyfit", x, np.stack([y, x**2], 1), 2, rtol=1e-8, atol=1e-9)
    agree("polyfit", x, y, 2, w=w, rtol=1e-8, atol=1e-9)
    for cov in (True, "unscaled"):
        agree("polyfit", x, y, 2, cov=cov, rtol=1e-7, atol=1e-9)
    got, want = fnp.polyfit(x, y, 2, full=True), np.polyfit(x, y, 2, full=True)
    for g, v in zip(got[:2] + got[3:4], want[:2] + want[3:4], strict=True):
        same(g, v, 1e-8, 1e-9)
    assert int(got[2]) == want[2]
    check_grads(lambda y: fnp.polyfit(x, y, 2), y)
    with pytest.raises(ShapeError, match="3 weights for 12 points"):
        fnp.polyfit(x, y, 2, w=np.ones(3))
    with pytest.raises(ShapeError, match="as many values as points"):
        fnp.polyfit(x, y[:3], 2)
