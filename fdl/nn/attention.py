"""Scaled dot-product attention: softmax(Q Kᵀ / √d + bias) V for each head."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fdl import numpy as fnp
from fdl.numpy.promote import as_operand, promote_operands, to_dtype
from fdl.tracer import dtypes
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import contract

from .axiswise import logsumexp, softmax


def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    *,
    scale: float | None = None,
    is_causal: bool = False,
    query_seq_lengths: Any = None,
    key_value_seq_lengths: Any = None,
    local_window_size: int | tuple[int, int] | None = None,
    implementation: str | None = None,
    return_residual: bool = False,
) -> Any:
    """The mean of values, weighted by how well a query goes with each key: softmax(scale · query · key + bias) value, for each head.

    Args:
        query: (batch, t, heads, d), or without the batch.
        key, value: (batch, s, kv heads, d). The number of heads is a multiple of the number of kv heads, each of which serves as many
            heads in a row.
        bias: added before the softmax; broadcasts with (batch, heads, t, s).
        mask: booleans that broadcast with (batch, heads, t, s): which keys a query sees.
        scale: 1 / √d by default.
        is_causal: whether query i sees the keys 0 to i only.
        query_seq_lengths, key_value_seq_lengths: integers (batch,): how many queries and keys of each example are real. The results of the
            other queries are 0.
        local_window_size: how many keys before and after its own place a query sees: (left, right), or one number for both.
        implementation: accepted ("xla", "cudnn"), and of no use here.
        return_residual: whether to return the logarithms of the softmax's denominators, (batch, t, heads), too.

    Returns: an array of the shape and dtype of `query`. float16 and bfloat16 are computed in float32. A query that sees no key takes
    the mean of all values.

    Raises: ShapeError where shapes do not fit.

    Source: A. Vaswani et al., "Attention is all you need" (NeurIPS 2017); J. Ainslie et al., "GQA" (EMNLP 2023) for grouped heads.

    Example:
        >>> q, k = np.zeros((1, 1, 1), np.float32), np.zeros((2, 1, 1), np.float32)
        >>> dot_product_attention(q, k, np.array([[[1.0]], [[3.0]]], np.float32)).tolist()
        [[[2.0]]]
    """
    q, k, v = promote_operands("dot_product_attention", query, key, value, broadcast=False, inexact=True)
    if implementation not in (None, "xla", "cudnn"):
        raise ValueError(f"dot_product_attention: implementation={implementation!r}: expected None.{at(user_source())}")
    single = type_of(q).ndim == 3
    if single:
        q, k, v = (fnp.expand_dims(x, 0) if type_of(x).ndim == 3 else x for x in (q, k, v))
    _check(type_of(q).shape, type_of(k).shape, type_of(v).shape)
    batch, t, heads, d = type_of(q).shape
    s, groups = type_of(k).shape[1], type_of(k).shape[2]
    dtype = type_of(q).dtype
    wide = dtypes.float32 if dtype in (dtypes.float16, dtypes.bfloat16) else dtype
    # A kv head serves heads / groups queries in a row: (batch, groups, t, heads / groups, d) · (batch, groups, s, d).
    grouped = fnp.reshape(to_dtype(q, wide), (batch, t, groups, heads // groups, d))
    logits = contract.dot_general(grouped, to_dtype(k, wide), ((4,), (3,)), ((0, 2), (0, 2)))
    logits = fnp.reshape(fnp.permute_dims(logits, (0, 1, 3, 2, 4)), (batch, heads, t, s))
    logits = fnp.multiply(logits, 1 / math.sqrt(d) if scale is None else scale)
    if bias is not None:
        logits = fnp.add(logits, to_dtype(_spread("bias", bias, single, (batch, heads, t, s)), wide))
    seen = _seen((batch, heads, t, s), mask, single, is_causal, local_window_size, query_seq_lengths, key_value_seq_lengths)
    if seen is not None:
        # Low enough to vanish beside any logit; finite, so that a query that sees no key has no NaN.
        logits = fnp.where(seen, logits, np.asarray(-0.7 * float(np.finfo(wide).max), wide))
    weights = fnp.reshape(softmax(logits), (batch, groups, heads // groups, t, s))
    y = contract.dot_general(weights, to_dtype(v, wide), ((4,), (1,)), ((0, 1), (0, 2)))
    y = fnp.reshape(fnp.permute_dims(y, (0, 3, 1, 2, 4)), (batch, t, heads, type_of(v).shape[3]))
    if query_seq_lengths is not None:
        real = fnp.less(fnp.arange(t), fnp.reshape(fnp.asarray(query_seq_lengths), (batch, 1)))
        y = fnp.where(fnp.reshape(real, (batch, t, 1, 1)), y, 0)
    y = to_dtype(y, dtype)
    residual = fnp.permute_dims(logsumexp(logits, -1), (0, 2, 1)) if return_residual else None
    if single:
        y, residual = fnp.squeeze(y, 0), None if residual is None else fnp.squeeze(residual, 0)
    return (y, to_dtype(residual, dtype)) if return_residual else y


def _check(q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...]) -> None:
    if len(q) != 4 or len(k) != 4 or len(v) != 4 or q[0] != k[0] or q[3] != k[3] or k[:3] != v[:3] or not k[2] or q[2] % k[2]:
        raise ShapeError(
            f"dot_product_attention: query {q}, key {k}, value {v}: expected (batch, t, heads, d), (batch, s, kv heads, d) and a value of "
            f"the key's sizes, with a number of heads that is a multiple of the number of kv heads.{at(user_source())}"
        )


def _spread(what: str, x: Any, single: bool, shape: tuple[int, ...]) -> Any:
    """`x`, which broadcasts with (batch, heads, t, s)."""
    x = as_operand(x, f"dot_product_attention: {what}")
    given = type_of(x).shape
    if single and len(given) == 3:
        x, given = fnp.expand_dims(x, 0), (1, *given)
    if len(given) > 4 or any(n not in (1, m) for n, m in zip(reversed(given), reversed(shape), strict=False)):
        raise ShapeError(
            f"dot_product_attention: {what} has shape {given}, which does not broadcast to {shape}.{at(user_source())}"
        )
    return x


def _seen(
    shape: tuple[int, ...], mask: Any, single: bool, causal: bool, window: Any, query_lengths: Any, key_lengths: Any
) -> Any:
    """Which keys each query sees, broadcasting with (batch, heads, t, s); None where all are."""
    batch, _, t, s = shape
    places = fnp.reshape(fnp.arange(t), (t, 1)), fnp.arange(s)
    parts = []
    if mask is not None:
        parts.append(fnp.asarray(_spread("mask", mask, single, shape), bool))
    if causal:
        parts.append(fnp.greater_equal(*places))
    if window is not None:
        left, right = (window, window) if isinstance(window, int) else window
        parts.append(fnp.less_equal(fnp.subtract(*places), left))
        parts.append(fnp.greater_equal(fnp.subtract(*places), -right))
    for lengths, axis, n in ((query_lengths, 2, t), (key_lengths, 3, s)):
        if lengths is not None:
            given = fnp.asarray(lengths)
            if type_of(given).shape != (batch,):
                raise ShapeError(
                    f"dot_product_attention: sequence lengths of shape {type_of(given).shape}, expected {(batch,)}.{at(user_source())}"
                )
            real = fnp.less(fnp.arange(n), fnp.reshape(given, (batch, 1)))
            parts.append(fnp.reshape(real, (batch, 1, *((n, 1) if axis == 2 else (1, n)))))
    if not parts:
        return None
    seen = parts[0]
    for part in parts[1:]:
        seen = fnp.logical_and(seen, part)
    return seen
