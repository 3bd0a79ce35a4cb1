"""Activation functions, elementwise.  Those along an axis (softmax, glu, ...) are in `axiswise`.

Each is a smooth formula on either side of its kink, so that derivatives of any order are right at 0 too wherever they exist; where
they do not, docs/conventions.md says what there is.  All take floating-point arrays of any shape and keep shape and dtype; integers
become float32, but for `relu`, `hard_tanh` and `identity`.
"""

from __future__ import annotations

import math
from typing import Any

from fdl import numpy as fnp
from fdl.numpy.promote import promote_operands
from fdl.transforms.custom_jvp import custom_jvp


def relu(x: Any) -> Any:
    """max(x, 0), with derivative 0 at 0 (Nair and Hinton, ICML 2010). NaN stays NaN.

    Example:
        >>> relu([-1.0, 0.0, 2.0]).tolist()
        [0.0, 0.0, 2.0]
    """
    (x,) = promote_operands("relu", x)
    return _relu(x)


@custom_jvp
def _relu(x: Any) -> Any:
    """max(x, 0). Its derivative is told from the result, so that reverse mode keeps that alone, not x beside it."""
    return fnp.maximum(x, 0)


@_relu.defjvp
def _relu_jvp(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    y = _relu(*primals)
    return y, fnp.where(fnp.greater(y, 0), tangents[0], 0)


def relu6(x: Any) -> Any:
    """min(max(x, 0), 6), with derivative 0 at 0 and at 6 (Krizhevsky, 2010). NaN stays NaN."""
    (x,) = promote_operands("relu6", x, inexact=True)
    return _relu6(x)


@custom_jvp
def _relu6(x: Any) -> Any:
    return fnp.minimum(fnp.maximum(x, 0), 6)


@_relu6.defjvp
def _relu6_jvp(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    y = _relu6(*primals)
    return y, fnp.where(fnp.logical_and(fnp.greater(y, 0), fnp.less(y, 6)), tangents[0], 0)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """x where x ≥ 0, negative_slope · x elsewhere (Maas, Hannun and Ng, 2013)."""
    (x,) = promote_operands("leaky_relu", x, inexact=True)
    return fnp.where(fnp.greater_equal(x, 0), x, fnp.multiply(x, negative_slope))


def hard_tanh(x: Any) -> Any:
    """x limited to the interval [-1, 1], with derivative 1 at its ends (Collobert, 2004).

    Example:
        >>> hard_tanh([-3.0, 0.5, 2.0]).tolist()
        [-1.0, 0.5, 1.0]
    """
    (x,) = promote_operands("hard_tanh", x)
    if not fnp.isdtype(x.dtype, ("bool", "unsigned integer")):  # which have no -1, and nothing below it
        x = fnp.where(fnp.less(x, -1), -1, x)
    return fnp.where(fnp.greater(x, 1), 1, x)


def hard_sigmoid(x: Any) -> Any:
    """relu6(x + 3) / 6 (Howard et al., ICCV 2019)."""
    (x,) = promote_operands("hard_sigmoid", x, inexact=True)  # first: x + 3 wraps in small integers
    return fnp.divide(relu6(fnp.add(x, 3)), 6)


def hard_silu(x: Any) -> Any:
    """x hard_sigmoid(x), also called hard swish (Howard et al., ICCV 2019)."""
    (x,) = promote_operands("hard_silu", x, inexact=True)
    return fnp.multiply(x, hard_sigmoid(x))


hard_swish = hard_silu


def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where x > 0, α (eˣ − 1) elsewhere (Clevert, Unterthiner and Hochreiter, ICLR 2016)."""
    (x,) = promote_operands("elu", x, inexact=True)
    positive = fnp.greater(x, 0)
    # The exponential sees no large x: its overflow would make NaN of the unused side's zero derivative.
    return fnp.where(positive, x, fnp.multiply(fnp.expm1(fnp.where(positive, 0, x)), alpha))


def celu(x: Any, alpha: float = 1.0) -> Any:
    """x where x > 0, α (exp(x / α) − 1) elsewhere: with slope 1 at 0 whatever α is (Barron, 2017)."""
    (x,) = promote_operands("celu", x, inexact=True)
    positive = fnp.greater(x, 0)
    return fnp.where(positive, x, fnp.multiply(fnp.expm1(fnp.divide(fnp.where(positive, 0, x), alpha)), alpha))


_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def selu(x: Any) -> Any:
    """λ elu(x, α) with the constants that keep mean 0 and variance 1 (Klambauer et al., NeurIPS 2017, equation 14)."""
    return fnp.multiply(elu(x, _SELU_ALPHA), _SELU_SCALE)


def gelu(x: Any, approximate: bool = True) -> Any:
    """x Φ(x) for the normal distribution function Φ (Hendrycks and Gimpel, 2016).

    Args:
        approximate: ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))), the paper's approximation, instead of ½ x (1 + erf(x / √2)).
    """
    (x,) = promote_operands("gelu", x, inexact=True)
    if not approximate:
        return fnp.multiply(fnp.multiply(x, 0.5), fnp.add(fnp.erf(fnp.multiply(x, math.sqrt(0.5))), 1))
    if x.dtype == fnp.float16:  # whose square overflows from 256 on, and a derivative of 0 times infinity is NaN
        return fnp.astype(gelu(fnp.astype(x, fnp.float32)), fnp.float16)
    inner = fnp.multiply(fnp.multiply(x, fnp.add(fnp.multiply(fnp.square(x), 0.044715), 1)), math.sqrt(2 / math.pi))
    return fnp.multiply(fnp.multiply(x, 0.5), fnp.add(fnp.tanh(inner), 1))


def sigmoid(x: Any) -> Any:
    """1 / (1 + e⁻ˣ)."""
    return fnp.logistic(x)


def log_sigmoid(x: Any) -> Any:
    """log sigmoid(x) = −softplus(−x), without overflow."""
    (x,) = promote_operands("log_sigmoid", x, inexact=True)  # first: −x wraps in unsigned integers
    return fnp.negative(softplus(fnp.negative(x)))


def silu(x: Any) -> Any:
    """x sigmoid(x), also called swish (Elfwing, Uchibe and Doya, 2018)."""
    (x,) = promote_operands("silu", x, inexact=True)
    return fnp.multiply(x, fnp.logistic(x))


swish = silu


def tanh(x: Any) -> Any:
    """The hyperbolic tangent of x."""
    return fnp.tanh(x)


def softplus(x: Any) -> Any:
    """log(1 + eˣ), without overflow and accurate in both tails.

    Example:
        >>> [round(v, 4) for v in softplus([-100.0, 0.0, 100.0]).tolist()]
        [0.0, 0.6931, 100.0]
    """
    (x,) = promote_operands("softplus", x, inexact=True)
    # x + log(1 + e⁻ˣ) for x ≥ 0. Written with where, not max and abs, whose derivatives at 0 would spoil the second one there.
    positive = fnp.greater_equal(x, 0)
    magnitude = fnp.where(positive, x, fnp.negative(x))
    return fnp.add(fnp.where(positive, x, 0), fnp.log1p(fnp.exp(fnp.negative(magnitude))))


def soft_sign(x: Any) -> Any:
    """x / (1 + |x|) (Bergstra et al., 2009). Its second derivative at 0, which jumps there, is 0."""
    (x,) = promote_operands("soft_sign", x, inexact=True)
    return fnp.divide(x, fnp.add(fnp.abs(x), 1))


def squareplus(x: Any, b: Any = 4) -> Any:
    """(x + √(x² + b)) / 2, accurate in both tails (Barron, "Squareplus: a softplus-like algebraic rectifier", 2021)."""
    x, b = promote_operands("squareplus", x, b, inexact=True)
    if x.dtype == fnp.float16:  # whose square overflows from 256 on
        return fnp.astype(squareplus(fnp.astype(x, fnp.float32), fnp.astype(b, fnp.float32)), fnp.float16)
    root = fnp.sqrt(fnp.add(fnp.square(x), b))
    negative = fnp.less(x, 0)
    # On the left the two terms would cancel: (√ + x) (√ − x) = b.
    left = fnp.divide(b, fnp.where(negative, fnp.subtract(root, x), 1))
    return fnp.multiply(fnp.where(negative, left, fnp.add(root, x)), 0.5)


def mish(x: Any) -> Any:
    """x tanh(softplus(x)) (Misra, BMVC 2020)."""
    (x,) = promote_operands("mish", x, inexact=True)
    return fnp.multiply(x, fnp.tanh(softplus(x)))


def sparse_plus(x: Any) -> Any:
    """0 where x ≤ −1, x where x ≥ 1, (x + 1)² / 4 between (Blondel, Martins and Niculae, AISTATS 2019)."""
    (x,) = promote_operands("sparse_plus", x, inexact=True)
    between = fnp.multiply(fnp.square(fnp.add(x, 1)), 0.25)
    return fnp.where(fnp.less_equal(x, -1), 0, fnp.where(fnp.greater_equal(x, 1), x, between))


def sparse_sigmoid(x: Any) -> Any:
    """(x + 1) / 2 limited to the interval [0, 1]: the derivative of `sparse_plus`, whose own at ±1 is ¼."""
    (x,) = promote_operands("sparse_sigmoid", x, inexact=True)
    return fnp.multiply(fnp.clip(fnp.add(x, 1), 0, 2), 0.5)


def log1mexp(x: Any) -> Any:
    """log(1 − e⁻ˣ) for x > 0, accurate near 0 and for large x; −inf at 0, NaN below.

    Source: M. Mächler, "Accurately computing log(1 − exp(−|a|))" (2012), equation 7.

    Example:
        >>> [round(v, 4) for v in log1mexp([1e-3, 1.0, 100.0]).tolist()]
        [-6.9083, -0.4587, -0.0]
    """
    (x,) = promote_operands("log1mexp", x, inexact=True)
    small = fnp.less(x, math.log(2))
    near, far = fnp.where(small, x, 1), fnp.where(small, 1, x)
    return fnp.where(
        small, fnp.log(fnp.negative(fnp.expm1(fnp.negative(near)))), fnp.log1p(fnp.negative(fnp.exp(fnp.negative(far))))
    )


def identity(x: Any) -> Any:
    """x itself."""
    return fnp.asarray(x)
