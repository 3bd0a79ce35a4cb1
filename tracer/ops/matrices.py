"""What the rules of the linear-algebra primitives share: stacks of matrices, their checks, and NumPy functions made total.

A matrix is the last two axes of an array; the axes before are a stack, and every primitive works on each matrix of it.  So batching
(`batched`) only moves the mapped axis to the front.  The dtypes are float32, float64, complex64 and complex128.

May be imported by: the linear-algebra primitives of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import DTypeError, ShapeError
from ..ir import Type, type_of
from ..primitive import Primitive, lookup
from ..trace import bind
from .complex import conj_of
from .contract import dot_general
from .elementwise import add, eq, ge, le, mul, scalar_like, select
from .reduce import reduce_sum
from .rules import Dims, shape_of, to_front
from .shape import broadcast, concatenate, iota, slice_axis, transpose

FIELDS = (dtypes.float32, dtypes.float64, dtypes.complex64, dtypes.complex128)
"""The dtypes that factorizations have."""

# --- checks ---------------------------------------------------------------------------------------


def check_field(name: str, *operands: Type) -> None:
    """Raises a DTypeError unless the operands have one dtype, and one that factorizations have."""
    first = operands[0].dtype
    if first not in FIELDS:
        raise DTypeError(
            f"{name}: the operand has dtype {first.name}, expected float32, float64, complex64 or complex128. Convert with .astype."
        )
    if any(t.dtype != first for t in operands):
        names = " and ".join(t.dtype.name for t in operands)
        raise DTypeError(f"{name}: operands have dtypes {names}, expected one dtype. Convert one with .astype.")


def check_matrix(name: str, a: Type) -> tuple[int, int]:
    """The sizes (m, n) of the matrices in `a`; raises a ShapeError when it has fewer than two axes."""
    if a.ndim < 2:
        raise ShapeError(f"{name}: the operand has shape {a.shape}, expected a matrix (..., m, n).")
    return a.shape[-2], a.shape[-1]


def check_square(name: str, a: Type) -> int:
    """The size n of the square matrices in `a`; raises a ShapeError when they are not square."""
    m, n = check_matrix(name, a)
    if m != n:
        raise ShapeError(f"{name}: the operand has shape {a.shape}, expected square matrices (..., n, n).")
    return n


def check_stack(name: str, a: Type, b: Type) -> None:
    """Raises a ShapeError unless two operands are stacks of one shape."""
    if a.ndim != b.ndim or a.shape[:-2] != b.shape[:-2]:
        raise ShapeError(
            f"{name}: operands of shapes {a.shape} and {b.shape}: expected equal leading axes. Broadcast them first."
        )


# --- batching -------------------------------------------------------------------------------------


def batched(name: str) -> Callable[..., Any]:
    """The batching rule of a primitive on stacks: the mapped axis becomes the first axis of the stack, for every operand."""

    def rule(size: int, xs: Sequence[Any], dims: Dims, **params: Any) -> tuple[Any, Any]:
        p = lookup(name)
        outs = bind(p, *(to_front(size, x, d) for x, d in zip(xs, dims, strict=True)), **params)
        return (outs, [0] * len(outs)) if p.multiple else (outs, 0)

    return rule


# --- traced matrices ------------------------------------------------------------------------------


def product(*xs: Any) -> Any:
    """The matrix product of stacks of one shape, from left to right."""
    y = xs[0]
    for x in xs[1:]:
        n = len(shape_of(x))
        lead = tuple(range(n - 2))
        y = dot_general(y, x, ((n - 1,), (n - 2,)), (lead, lead))
    return y


def transposed(x: Any) -> Any:
    """Each matrix transposed."""
    n = len(shape_of(x))
    return transpose(x, (*range(n - 2), n - 1, n - 2))


def adjoint(x: Any) -> Any:
    """Each matrix transposed and conjugated."""
    return conj_of(transposed(x))


def below(x: Any, k: int = 0) -> Any:
    """Whether an element of each matrix is on the k-th diagonal or below: bools of the shape of `x`."""
    rows, columns = _grid(shape_of(x), k)
    return le(columns, rows)


def _grid(shape: tuple[int, ...], k: int) -> tuple[Any, Any]:
    """The row number of each element plus `k`, and its column number."""
    n = len(shape)
    rows, columns = (iota(shape, dtypes.int32, a) for a in (n - 2, n - 1))
    return (add(rows, np.int32(k)) if k else rows), columns


def on_diagonal(x: Any, k: int = 0) -> Any:
    """Whether an element of each matrix is on the k-th diagonal."""
    return eq(*_grid(shape_of(x), k))


def where(mask: Any, x: Any) -> Any:
    """`x` where `mask` is true, else 0."""
    return select(mask, x, scalar_like(0, x))


def lower(x: Any, k: int = 0) -> Any:
    """Each matrix with zeros above its k-th diagonal."""
    return where(below(x, k), x)


def upper(x: Any, k: int = 0) -> Any:
    """Each matrix with zeros below its k-th diagonal."""
    rows, columns = _grid(shape_of(x), k)
    return where(ge(columns, rows), x)


def diagonal(x: Any) -> Any:
    """The main diagonal of each matrix: (..., m, n) → (..., min(m, n))."""
    *lead, m, n = shape_of(x)
    k = min(m, n)
    axis = len(lead)
    x = slice_axis(slice_axis(x, axis, 0, k), axis + 1, 0, k)
    return reduce_sum(where(on_diagonal(x), x), (axis + 1,))


def with_diagonal(x: Any, value: float) -> Any:
    """Each matrix with `value` on its main diagonal."""
    return select(on_diagonal(x), scalar_like(value, x), x)


def as_rows(d: Any, m: int) -> Any:
    """Vectors (..., n) as the rows of matrices (..., m, n): `as_rows(d, m) * x` scales the columns of `x`."""
    shape = shape_of(d)
    n = len(shape)
    return broadcast(d, (*shape[:-1], m, shape[-1]), (*range(n - 1), n))


def as_columns(d: Any, n: int) -> Any:
    """Vectors (..., m) as the columns of matrices (..., m, n): `as_columns(d, n) * x` scales the rows of `x`."""
    shape = shape_of(d)
    return broadcast(d, (*shape, n), tuple(range(len(shape))))


def hermitian(x: Any) -> Any:
    """The Hermitian matrix that has the lower triangle of `x`; the imaginary part of the diagonal goes away."""
    strict = lower(x, -1)
    d = where(on_diagonal(x), x)
    if dtypes.is_complex(type_of(x).dtype):
        d = mul(add(d, conj_of(d)), scalar_like(0.5, d))
    return add(add(strict, adjoint(strict)), d)


def columns(x: Any, start: int, limit: int) -> Any:
    """Columns `start:limit` of each matrix."""
    return slice_axis(x, len(shape_of(x)) - 1, start, limit)


def rows(x: Any, start: int, limit: int) -> Any:
    """Rows `start:limit` of each matrix."""
    return slice_axis(x, len(shape_of(x)) - 2, start, limit)


def beside(*xs: Any) -> Any:
    """Matrices side by side."""
    return concatenate(list(xs), len(shape_of(xs[0])) - 1) if len(xs) > 1 else xs[0]


def stacked(*xs: Any) -> Any:
    """Matrices one below another."""
    return concatenate(list(xs), len(shape_of(xs[0])) - 2) if len(xs) > 1 else xs[0]


# --- NumPy's functions, made total ----------------------------------------------------------------


def attempt(
    f: Callable[..., tuple[np.ndarray, ...]], types: Sequence[Type], *xs: np.ndarray, finite: bool = False
) -> tuple[np.ndarray, ...]:
    """`f` of stacks of matrices, with NaN for each matrix on which NumPy gives up (LinAlgError).

    Args:
        types: of the outputs.
        finite: give NaN for matrices that hold NaN or infinity, without calling `f` on them: it might not return.
    """
    xs = tuple(np.asarray(x) for x in xs)
    lead = xs[0].shape[:-2]
    good = np.ones(lead, np.bool_)
    if finite:
        for x in xs:
            good &= np.isfinite(x).all((-2, -1))
        xs = tuple(np.where(good[..., None, None], x, 0).astype(x.dtype) for x in xs)
    with np.errstate(all="ignore"):
        try:
            outs = [np.asarray(y).astype(t.dtype) for y, t in zip(f(*xs), types, strict=True)]
        except np.linalg.LinAlgError:
            outs = [np.full(t.shape, np.nan, t.dtype) for t in types]
            for at in np.ndindex(*lead):
                _one(f, [x[at] for x in xs], [o[at] for o in outs])
    for y, t in zip(outs, types, strict=True):
        if dtypes.is_inexact(t.dtype) and not good.all():
            y[~good] = np.nan
    return tuple(outs)


def _one(f: Callable[..., tuple[np.ndarray, ...]], xs: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
    try:
        results = f(*xs)
    except np.linalg.LinAlgError:
        return
    for out, y in zip(outs, results, strict=True):
        out[...] = y


def types_of(p: Primitive, *xs: np.ndarray, **params: Any) -> Sequence[Type]:
    """The types of a primitive's outputs for given inputs."""
    found = p.abstract(*(Type(x.shape, x.dtype) for x in xs), **params)
    return found if p.multiple else (found,)
