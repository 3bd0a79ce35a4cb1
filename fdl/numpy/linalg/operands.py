"""Operands of linear algebra: stacks of matrices of one dtype that factorizations have.

May be imported by: the modules of this package, and `fdl.scipy.linalg`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fdl.tracer.errors import DTypeError, ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import matrices as m
from fdl.tracer.ops import shape as s
from fdl.tracer.ops.elementwise import add, mul, scalar_like

from ..promote import asarray, broadcast_shapes, promote_operands


def matrices(name: str, *xs: Any, square: bool = False) -> list[Any]:
    """The operands in their common inexact dtype.

    Raises: ShapeError unless each is a stack of matrices (square ones when `square`), DTypeError for float16 and bfloat16.
    """
    out = [asarray(x) for x in promote_operands(name, *xs, broadcast=False, inexact=True)]
    for x in out:
        t = type_of(x)
        if t.dtype not in m.FIELDS:
            raise DTypeError(
                f"{name}: the operand has dtype {t.dtype.name}, expected float32, float64, complex64 or complex128. "
                f"Convert with .astype.{at(user_source())}"
            )
        if t.ndim < 2 or (square and t.shape[-1] != t.shape[-2]):
            what = "square matrices (..., n, n)" if square else "a matrix (..., m, n)"
            raise ShapeError(f"{name}: the operand has shape {t.shape}, expected {what}.{at(user_source())}")
    return out


def same_stack(name: str, *xs: Any) -> list[Any]:
    """The operands with their leading axes broadcast to one shape; the last two stay."""
    shapes = [type_of(x).shape for x in xs]
    lead = broadcast_shapes(name, *(shape[:-2] for shape in shapes))
    return [in_stack(x, lead) for x in xs]


def in_stack(x: Any, lead: Sequence[int]) -> Any:
    """Matrices repeated to the leading axes `lead`."""
    shape = type_of(x).shape
    if shape[:-2] == tuple(lead):
        return x
    n = len(lead) + 2
    return s.broadcast(x, (*lead, *shape[-2:]), tuple(range(n - len(shape), n)))


def symmetrized(x: Any) -> Any:
    """(x + xᴴ) / 2."""
    return mul(add(x, m.adjoint(x)), scalar_like(0.5, x))


def identity_like(x: Any) -> Any:
    """Identity matrices of the shape and dtype of `x`, which is square."""
    zero = scalar_like(0, x)
    return m.with_diagonal(s.broadcast(zero, type_of(x).shape, ()), 1)
