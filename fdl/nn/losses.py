"""Losses and metrics: pure functions of predictions and targets.

Each returns one value per example or element, never a mean over the batch: what to average is the caller's to say.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.numpy.promote import as_operand, promote_operands
from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import shape as s

from .activations import softplus
from .axiswise import log_softmax


def _same(name: str, x: Any, y: Any) -> tuple[Any, Any]:
    x, y = promote_operands(name, x, y, broadcast=False, inexact=True)
    a, b = type_of(x).shape, type_of(y).shape
    if a != b:
        raise ShapeError(f"{name}: the predictions have shape {a} and the targets {b}, expected one shape.{at(user_source())}")
    return x, y


def softmax_cross_entropy(logits: Any, labels: Any) -> Any:
    """−Σ p log softmax(logits) over the last axis, where p is one-hot at `labels`, or `labels` themselves.

    Args:
        logits: `(..., classes)`.
        labels: integers `(...)` in [0, classes), or probabilities `(..., classes)`. An integer outside has no class: loss 0.

    Returns: `(...)`.

    Raises: ShapeError when the shapes do not fit.

    Example:
        >>> round(float(softmax_cross_entropy([0.0, 0.0], 1)), 4)
        0.6931
    """
    (logits,) = promote_operands("softmax_cross_entropy", logits, inexact=True)
    labels = as_operand(labels, "softmax_cross_entropy: labels")
    t, given = type_of(logits), type_of(labels)
    if not t.shape:
        raise ShapeError(f"softmax_cross_entropy: logits are a scalar, expected (..., classes).{at(user_source())}")
    if given.shape == t.shape and dtypes.is_float(given.dtype):
        return fnp.negative(fnp.sum(fnp.multiply(labels, log_softmax(logits)), -1))
    if given.shape != t.shape[:-1] or not dtypes.is_int(given.dtype):
        raise ShapeError(
            f"softmax_cross_entropy: logits {t} and labels {given}: expected integer labels of shape {t.shape[:-1]}, "
            f"or floating-point probabilities of shape {t.shape}.{at(user_source())}"
        )
    # A comparison instead of a gather: its derivative is a comparison again, where a gather's would be a scatter.
    classes = s.iota((t.shape[-1],), dtypes.int32, 0)
    chosen = fnp.equal(fnp.expand_dims(labels, -1), classes)
    return fnp.negative(fnp.sum(fnp.where(chosen, log_softmax(logits), 0), -1))


def sigmoid_binary_cross_entropy(logits: Any, targets: Any) -> Any:
    """−t log σ(z) − (1 − t) log(1 − σ(z)) = softplus(z) − z t, elementwise, without overflow.

    Args:
        logits: z, of any shape.
        targets: t in [0, 1], of the same shape.

    Example:
        >>> round(float(sigmoid_binary_cross_entropy(1000.0, 1.0)), 4)
        0.0
    """
    z, t = _same("sigmoid_binary_cross_entropy", logits, targets)
    return fnp.subtract(softplus(z), fnp.multiply(z, t))


def bernoulli_reconstruction(logits: Any, x: Any, axis: Any = -1) -> Any:
    """−log p(x) in nats of independent Bernoulli variables with these logits: the binary cross entropy summed over `axis`.

    The first term of a VAE's loss (Kingma and Welling, ICLR 2014, appendix C.1).
    """
    return fnp.sum(sigmoid_binary_cross_entropy(logits, x), axis)


def gaussian_kl(mean: Any, log_variance: Any, axis: Any = -1) -> Any:
    """KL(N(μ, σ²) ‖ N(0, 1)) in nats, summed over `axis`: −½ Σ (1 + log σ² − μ² − σ²).

    Kingma and Welling, ICLR 2014, appendix B.

    Example:
        >>> float(gaussian_kl([0.0, 1.0], [0.0, 0.0]))
        0.5
    """
    mean, log_variance = _same("gaussian_kl", mean, log_variance)
    inner = fnp.subtract(fnp.subtract(fnp.add(log_variance, 1), fnp.square(mean)), fnp.exp(log_variance))
    return fnp.multiply(fnp.sum(inner, axis), -0.5)


def squared_error(predictions: Any, targets: Any) -> Any:
    """(prediction − target)², elementwise, for one shape of both. Its mean is the MSE."""
    x, y = _same("squared_error", predictions, targets)
    return fnp.square(fnp.subtract(x, y))


def mse(predictions: Any, targets: Any, axis: Any = None) -> Any:
    """The mean of (prediction − target)² over `axis`; over everything by default.

    Example:
        >>> float(mse([1.0, 2.0], [1.0, 4.0]))
        2.0
    """
    return fnp.mean(squared_error(predictions, targets), axis)


def correct(logits: Any, labels: Any) -> Any:
    """Whether the largest logit is the label's, bool `(...)`, for logits `(..., classes)` and integer labels `(...)`."""
    logits, labels = as_operand(logits, "correct: logits"), as_operand(labels, "correct: labels")
    a, b = type_of(logits).shape, type_of(labels).shape
    if a[:-1] != b or not a:
        raise ShapeError(f"correct: logits {a} and labels {b}: expected (..., classes) and (...).{at(user_source())}")
    return fnp.equal(fnp.argmax(logits, -1), labels)


def accuracy(logits: Any, labels: Any) -> Any:
    """The share of examples whose largest logit is the label's: a float32 scalar.

    Example:
        >>> float(accuracy([[1.0, 0.0], [1.0, 0.0]], [0, 1]))
        0.5
    """
    return fnp.mean(fnp.asarray(correct(logits, labels)).astype(np.float32))
