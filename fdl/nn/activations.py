"""Activation functions, elementwise but for `softmax` and `log_softmax`.

Each is a smooth formula on either side of its kink, so that derivatives of any order are right at 0 too wherever they exist.
All take floating-point arrays of any shape and keep shape and dtype; integers become float32.
"""

from __future__ import annotations

import math
from typing import Any

from fdl import numpy as fnp
from fdl.numpy.promote import promote_operands
from fdl.transforms import custom_jvp, stop_gradient


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


def leaky_relu(x: Any, slope: float = 0.01) -> Any:
    """x where x ≥ 0, slope · x elsewhere (Maas, Hannun and Ng, 2013)."""
    (x,) = promote_operands("leaky_relu", x, inexact=True)
    return fnp.where(fnp.greater_equal(x, 0), x, fnp.multiply(x, slope))


def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where x > 0, α (eˣ − 1) elsewhere (Clevert, Unterthiner and Hochreiter, ICLR 2016)."""
    (x,) = promote_operands("elu", x, inexact=True)
    positive = fnp.greater(x, 0)
    # The exponential sees no large x: its overflow would make NaN of the unused side's zero derivative.
    return fnp.where(positive, x, fnp.multiply(fnp.expm1(fnp.where(positive, 0, x)), alpha))


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
    inner = fnp.multiply(fnp.multiply(x, fnp.add(fnp.multiply(fnp.square(x), 0.044715), 1)), math.sqrt(2 / math.pi))
    return fnp.multiply(fnp.multiply(x, 0.5), fnp.add(fnp.tanh(inner), 1))


def sigmoid(x: Any) -> Any:
    """1 / (1 + e⁻ˣ)."""
    return fnp.logistic(x)


def silu(x: Any) -> Any:
    """x sigmoid(x), also called swish (Elfwing, Uchibe and Doya, 2018)."""
    (x,) = promote_operands("silu", x, inexact=True)
    return fnp.multiply(x, fnp.logistic(x))


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


def softmax(x: Any, axis: int = -1) -> Any:
    """eˣ / Σ eˣ along `axis`, without overflow.

    Example:
        >>> softmax([1000.0, 1000.0]).tolist()
        [0.5, 0.5]
    """
    (x,) = promote_operands("softmax", x, inexact=True)
    e = fnp.exp(fnp.subtract(x, stop_gradient(fnp.max(x, axis, keepdims=True))))
    return fnp.divide(e, fnp.sum(e, axis, keepdims=True))


def log_softmax(x: Any, axis: int = -1) -> Any:
    """log softmax(x) = x − log Σ eˣ along `axis`, without overflow or cancellation."""
    (x,) = promote_operands("log_softmax", x, inexact=True)
    shifted = fnp.subtract(x, stop_gradient(fnp.max(x, axis, keepdims=True)))
    return fnp.subtract(shifted, fnp.log(fnp.sum(fnp.exp(shifted), axis, keepdims=True)))
