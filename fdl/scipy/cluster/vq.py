"""Vector quantization: the nearest of several codes for each observation."""

from __future__ import annotations

from typing import Any

from fdl import numpy as fnp
from fdl.numpy.promote import promote_operands
from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of


def vq(obs: Any, code_book: Any, check_finite: bool = True) -> tuple[Any, Any]:
    """The nearest code of each observation: its index (int32) and its Euclidean distance.

    Args:
        obs: (n, d), or (n,) for numbers.
        code_book: (k, d), or (k,).
        check_finite: accepted, and of no use here.

    Raises: ShapeError where the sizes do not fit.

    Example:
        >>> code, distance = vq([[0.0, 1.0], [5.0, 5.0]], [[0.0, 0.0], [5.0, 4.0]])
        >>> code.tolist(), distance.tolist()
        ([0, 1], [1.0, 1.0])
    """
    x, codes = promote_operands("vq", obs, code_book, broadcast=False, inexact=True)
    a, b = type_of(x).shape, type_of(codes).shape
    if len(a) != len(b) or len(a) not in (1, 2) or a[1:] != b[1:] or not b[0]:
        raise ShapeError(f"vq: obs {a}, code_book {b}: expected (n, d) and (k, d), or (n,) and (k,).{at(user_source())}")
    if len(a) == 1:
        x, codes = fnp.expand_dims(x, 1), fnp.expand_dims(codes, 1)
    distances = fnp.linalg.vector_norm(fnp.subtract(fnp.expand_dims(x, 1), codes), axis=-1)
    code = fnp.argmin(distances, 1)
    return code, fnp.min(distances, 1)


__all__ = ["vq"]
