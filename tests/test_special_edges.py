"""Derivatives of `fdl.scipy.special` at the ends of domains, at 0 and far out: limits where there are any, else the convention.

Each row has the function, the point, and the first and the second derivative in its last operand.  They are limits of the closed forms,
at 40 digits where they are not plain; JAX 0.10.2 agrees wherever it has a finite number, but for the rows that say otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdl
from fdl import numpy as fnp
from fdl.scipy import special as sp

INF, NAN = math.inf, math.nan
SQRT_2PI = math.sqrt(2 * math.pi)

# name: (function, [(point, first, second)])
EDGES: dict[str, tuple[Callable[..., Any], list[tuple[Any, float, float]]]] = {
    "betainc": (sp.betainc, [
        ((0.0, 1.0, 0.5), 0.0, 0.0), ((1.0, 0.0, 0.5), 0.0, 0.0),
        ((0.5, 0.5, 0.0), INF, -INF), ((0.5, 0.5, 1.0), INF, INF),
        ((1.0, 1.0, 0.0), 1.0, 0.0), ((1.0, 1.0, 1.0), 1.0, 0.0),
        ((1.0, 3.0, 0.0), 3.0, -6.0), ((1.0, 3.0, 1.0), 0.0, 0.0),
        ((3.0, 1.0, 0.0), 0.0, 0.0), ((3.0, 1.0, 1.0), 3.0, 6.0),
        ((1.5, 2.0, 0.0), 0.0, INF), ((1.5, 2.0, 1.0), 0.0, -3.75),
        ((2.0, 1.5, 0.0), 0.0, 3.75), ((2.0, 1.5, 1.0), 0.0, -INF),
        ((2.0, 2.0, 0.0), 0.0, 6.0), ((2.0, 2.0, 0.5), 1.5, 0.0), ((2.0, 2.0, 1.0), 0.0, -6.0),
        ((3.0, 3.0, 0.0), 0.0, 0.0), ((3.0, 3.0, 1.0), 0.0, 0.0),
    ]),
    "gammainc": (sp.gammainc, [
        ((0.0, 1.0), 0.0, 0.0), ((0.5, 0.0), INF, -INF), ((0.5, 1e300), 0.0, 0.0),
        ((1.0, 0.0), 1.0, -1.0), ((1.0, 1e300), 0.0, 0.0), ((1.5, 0.0), 0.0, INF),
        ((2.0, 0.0), 0.0, 1.0), ((2.0, 1e-300), 1e-300, 1.0), ((3.0, 0.0), 0.0, 0.0),
    ]),
    "gammaincc": (sp.gammaincc, [((2.0, 0.0), 0.0, -1.0), ((1.0, 0.0), -1.0, 1.0)]),
    # JAX's are 0 at 0 and 1.
    "ndtri": (sp.ndtri, [(0.0, INF, -INF), (0.5, SQRT_2PI, 0.0), (1.0, INF, INF)]),
    "logit": (sp.logit, [(0.0, INF, -INF), (0.5, 4.0, 0.0), (1.0, INF, INF)]),
    "erfinv": (sp.erfinv, [(-1.0, INF, -INF), (0.0, math.sqrt(math.pi) / 2, 0.0), (1.0, INF, INF)]),
    # JAX's are off from -20 on: at -1e10 they are 1 and 1e10.
    "log_ndtr": (
        sp.log_ndtr,
        [(-1e10, 1e10, -1.0), (-1e5, 100000.00001, -0.99999999990000000006), (-20.0, 20.049753068527850542, -0.9975367383849478364)],
    ),
    "entr": (sp.entr, [(0.0, INF, -INF), (1.0, -1.0, -1.0)]),
    "rel_entr in p": (lambda q, p: sp.rel_entr(p, q), [
        ((0.5, 0.0), 0.0, 0.0), ((0.5, -1.0), 0.0, 0.0), ((0.5, 0.5), 1.0, 2.0), ((0.0, 0.0), 0.0, 0.0),
        ((1e-200, 1e200), 1 + 400 * math.log(10), 1e-200),
    ]),
    "rel_entr in q": (sp.rel_entr, [((0.5, 0.0), 0.0, 0.0), ((0.5, -1.0), 0.0, 0.0), ((0.5, 0.5), -1.0, 2.0)]),
    "rel_entr both": (lambda x: sp.rel_entr(x, x), [(0.0, 0.0, 0.0)]),
    "kl_div in p": (lambda q, p: sp.kl_div(p, q), [((0.5, 0.0), -1.0, 0.0), ((0.5, 0.5), 0.0, 2.0)]),
    "kl_div in q": (sp.kl_div, [((0.0, 0.0), 1.0, 0.0), ((0.0, 0.5), 1.0, 0.0)]),
    "xlogy x": (lambda x: sp.xlogy(x, 0.5), [(0.0, math.log(0.5), 0.0)]),
    "xlogy y": (lambda y: sp.xlogy(0.0, y), [(0.0, 0.0, 0.0), (2.0, 0.0, 0.0)]),
    "xlog1py y": (lambda y: sp.xlog1py(0.0, y), [(-1.0, 0.0, 0.0), (0.0, 0.0, 0.0)]),
    # JAX has 3/2 for the second derivative of i0 at 0, and 1 for that of i1.
    "i0": (sp.i0, [(0.0, 0.0, 0.5), (1e-20, 5e-21, 0.5), (1e-4, 5.0000000062500000026e-5, 0.5000000018750000013)]),
    "i1": (sp.i1, [(0.0, 0.5, 0.0), (1e-20, 0.5, 3.75e-21), (1e-8, 0.5, 3.75e-9), (1e-4, 0.5000000018750000013, 3.7500000052083333356e-5)]),
    "i0e": (sp.i0e, [(0.0, 0.0, 0.5), (1e-20, -1.0, 1.5)]),
    "i1e": (sp.i1e, [(0.0, 0.5, 0.0), (1e-20, 0.5, -1.0), (-1e-20, 0.5, 1.0)]),
    "spence": (sp.spence, [(0.0, -INF, INF), (1.0, -1.0, 0.5), (0.995, -1.0025083647088564086, 0.50335218385685897977)]),
    "factorial": (sp.factorial, [(-1.0, 0.0, 0.0), (-2.5, 0.0, 0.0), (0.0, -0.5772156649015329, 1.978111990655945)]),
    "fresnel": (lambda x: sp.fresnel(x)[1], [(0.0, 1.0, 0.0), (1.0, 0.0, -math.pi)]),
    "owens_t a": (lambda a: sp.owens_t(0.0, a), [(0.0, 1 / (2 * math.pi), 0.0), (1e200, 0.0, 0.0)]),
    "cbrt": (fnp.cbrt, [(0.0, INF, -INF), (-0.0, INF, INF), (INF, 0.0, 0.0), (-INF, 0.0, 0.0), (8.0, 1 / 12, -1 / 144)]),
    "x ** 0.5": (lambda x: x**0.5, [(0.0, INF, -INF), (-0.0, INF, -INF), (-INF, 0.0, 0.0), (4.0, 0.25, -1 / 32)]),
    "arccosh": (fnp.arccosh, [(1.0, INF, -INF)]),
    "sinc": (fnp.sinc, [(0.0, 0.0, -math.pi**2 / 3), (1e-20, -math.pi**2 / 3 * 1e-20, -math.pi**2 / 3)]),
    "logsumexp": (lambda x: sp.logsumexp(fnp.stack([x, x])), [(-INF, 1.0, 0.0), (1.0, 1.0, 0.0)]),
    "norm": (lambda x: fnp.linalg.norm(fnp.stack([x, x])), [(0.0, 0.0, 0.0), (1.0, math.sqrt(2), 0.0)]),
}  # fmt: skip


@pytest.mark.parametrize("name", EDGES)
def test_derivatives_at_edges(name: str) -> None:
    """Compiled over all points of a row, and outside of `jit` at the first; forward over reverse and forward over forward."""
    f, rows = EDGES[name]
    points, first, second = zip(*rows, strict=True)
    args = np.array(points, ndmin=2).T if isinstance(points[0], tuple) else [np.array(points)]
    last = len(args) - 1
    slope, forward = fdl.grad(f, last), fdl.jacfwd(f, last)

    def derivatives(*xs: Any) -> list[Any]:
        return [slope(*xs), fdl.jacfwd(slope, last)(*xs), forward(*xs), fdl.jacfwd(forward, last)(*xs)]

    for got, wanted in zip(fdl.jit(fdl.vmap(derivatives))(*args), (first, second) * 2, strict=True):
        np.testing.assert_allclose(np.asarray(got), wanted, rtol=2e-9, atol=1e-13, err_msg=f"{name} at {points}")
    np.testing.assert_allclose(float(slope(*[x[0] for x in args])), first[0], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("order", [3, 4])
def test_sinc_at_0_to_order_4(order: int) -> None:
    f: Callable[..., Any] = fnp.sinc
    for _ in range(order):
        f = fdl.grad(f)
    np.testing.assert_allclose(float(f(np.float64(0))), {3: 0.0, 4: math.pi**4 / 5}[order], rtol=1e-12, atol=1e-13)


def test_mixed_derivatives_of_betainc_at_its_ends() -> None:
    """The density x (1 - x) / B(2, 2) is 0 at 0 for every a > 1: so are its derivatives in a and b, which were NaN."""
    for argnum in (0, 1):
        for x in (0.0, 1.0):
            mixed = fdl.jacfwd(fdl.grad(sp.betainc, 2), argnum)(np.float64(2), np.float64(2), np.float64(x))
            assert float(mixed) == 0.0


def test_third_derivatives_at_the_ends_are_not_silently_0() -> None:
    """The second derivatives of betainc and gammainc at an end are stated limits, whose derivatives are not there: NaN says so."""
    for f, x in ((lambda x: sp.betainc(2.0, 3.0, x), 0.0), (lambda x: sp.gammainc(2.0, x), 0.0)):
        assert math.isnan(float(fdl.grad(fdl.grad(fdl.grad(f)))(np.float64(x))))
    third = fdl.grad(fdl.grad(fdl.grad(lambda x: sp.betainc(2.0, 3.0, x))))(np.float64(0.25))
    assert float(third) == pytest.approx(12 * (6 * 0.25 - 4))  # of 12 x (1 - x)**2


def test_a_divergence_with_an_empty_class_keeps_its_gradient() -> None:
    """The derivative of p log(p / q) at p = 0 was -inf, and the gradient through a softmax that underflows NaN."""
    q = np.array([0.25, 0.25, 0.5])
    g = fdl.grad(lambda x: sp.rel_entr(sp.softmax(x), q).sum())(np.array([0.0, 0.0, -1e4]))
    assert np.isfinite(np.asarray(g)).all()
