"""Special functions under the names of JAX's `lax`: those of `fdl.scipy.special`, on floats of one dtype and one shape."""

from __future__ import annotations

from typing import Any

from fdl.scipy import special as sp
from fdl.scipy.special.incomplete import sample_slope_of
from fdl.tracer.ops import elementwise as e
from fdl.transforms import jvp

from .operands import operands, unary

erf = unary("erf", e.erf, "f", "The error function of x")
erfc = unary("erfc", e.erfc, "f", "1 - erf(x), accurate for large x")
erf_inv = unary("erf_inv", e.erf_inv, "f", "The inverse of erf")
lgamma = unary("lgamma", sp.gammaln, "f", "log |Γ(x)|")
digamma = unary("digamma", sp.digamma, "f", "The derivative of log Γ(x)")
bessel_i0e = unary("bessel_i0e", sp.i0e, "f", "The modified Bessel function of order 0, times exp(-|x|)")
bessel_i1e = unary("bessel_i1e", sp.i1e, "f", "The modified Bessel function of order 1, times exp(-|x|)")


def igamma(a: Any, x: Any) -> Any:
    """The regularised lower incomplete gamma function P(a, x), elementwise, for operands of one dtype and one shape (or 0-d)."""
    return sp.gammainc(*operands("igamma", a, x, kinds="f"))


def igammac(a: Any, x: Any) -> Any:
    """The regularised upper incomplete gamma function Q(a, x), elementwise, for operands of one dtype and one shape (or 0-d)."""
    return sp.gammaincc(*operands("igammac", a, x, kinds="f"))


def zeta(x: Any, q: Any) -> Any:
    """Hurwitz's zeta function, elementwise: the sum of (n + q)⁻ˣ over n = 0, 1, ..., for operands of one dtype and one shape (or 0-d)."""
    return sp.zeta(*operands("zeta", x, q, kinds="f"))


def polygamma(m: Any, x: Any) -> Any:
    """The derivative of order m + 1 of log Γ at `x`, elementwise, for operands of one dtype and one shape (or 0-d)."""
    return sp.polygamma(*operands("polygamma", m, x, kinds="f"))


def betainc(a: Any, b: Any, x: Any) -> Any:
    """The regularised incomplete beta function I_x(a, b), elementwise, for operands of one dtype and one shape (or 0-d)."""
    return sp.betainc(*operands("betainc", a, b, x, kinds="f"))


def igamma_grad_a(a: Any, x: Any) -> Any:
    """The derivative in `a` of the regularised lower incomplete gamma function P(a, x), elementwise."""
    a, x = operands("igamma_grad_a", a, x, kinds="f")
    return jvp(lambda a: sp.gammainc(a, x), (a,), (e.add(e.mul(a, e.scalar_like(0, a)), e.scalar_like(1, a)),))[1]


def random_gamma_grad(a: Any, x: Any) -> Any:
    """The derivative of a sample `x` of the gamma distribution in its shape `a`, elementwise: at fixed probability P(a, x).

    Source: M. Figurnov, S. Mohamed, A. Mnih, "Implicit reparameterization gradients" (NeurIPS 2018).
    """
    a, x = operands("random_gamma_grad", a, x, kinds="f")
    return e.mul(sample_slope_of(a, e.log(x)), x)


__all__ = [
    "bessel_i0e", "bessel_i1e", "betainc", "digamma", "erf", "erf_inv", "erfc", "igamma", "igamma_grad_a", "igammac", "lgamma",
    "polygamma", "random_gamma_grad", "zeta",
]  # fmt: skip
