"""Products of matrices and vectors, as the array API's extension has them: the last two axes are the matrix."""

from __future__ import annotations

from typing import Any

from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of

from .. import products as p
from ..products import matmul as matmul
from ..products import tensordot as tensordot
from ..products import vecdot as vecdot
from ..promote import asarray
from ..shapes import matrix_transpose as matrix_transpose
from ..static import need_int
from .operands import identity_like
from .solving import inv


def _matrix(name: str, x: Any) -> Any:
    x = asarray(x)
    if type_of(x).ndim < 2:
        raise ShapeError(f"{name}: the operand has shape {type_of(x).shape}, expected (..., m, n).{at(user_source())}")
    return x


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """The cross products of vectors of 3 elements along `axis`; the other axes broadcast.

    Raises: ShapeError for other sizes.
    """
    a, b = asarray(x1), asarray(x2)
    for x in (a, b):
        shape = type_of(x).shape
        if not -len(shape) <= axis < len(shape) or shape[axis] != 3:
            raise ShapeError(f"cross: an operand of shape {shape}: expected 3 elements along axis {axis}.{at(user_source())}")
    return p.cross(a, b, axis=axis)


def outer(x1: Any, x2: Any, /) -> Any:
    """All products of the elements of two vectors: (m,), (n,) → (m, n). Raises: ShapeError for operands of other ranks."""
    a, b = asarray(x1), asarray(x2)
    if type_of(a).ndim != 1 or type_of(b).ndim != 1:
        raise ShapeError(
            f"outer: operands of shapes {type_of(a).shape} and {type_of(b).shape}: expected vectors.{at(user_source())}"
        )
    return p.outer(a, b)


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """The sums along the diagonals of matrices (..., m, n); `offset` > 0 names one above the main diagonal."""
    return p.trace(_matrix("trace", x), offset, -2, -1, dtype)


def diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """The diagonals (..., k) of matrices (..., m, n); `offset` > 0 names one above the main diagonal."""
    return p.diagonal(_matrix("diagonal", x), offset, -2, -1)


def matrix_power(a: Any, n: int) -> Any:
    """The product of `n` copies of square matrices (..., k, k), by repeated squaring; of their inverses for negative `n`.

    Example:
        >>> matrix_power([[1, 1], [0, 1]], 5).tolist()
        [[1, 5], [0, 1]]
    """
    a = _matrix("matrix_power", a)
    if type_of(a).shape[-1] != type_of(a).shape[-2]:
        raise ShapeError(f"matrix_power: the operand has shape {type_of(a).shape}, expected (..., n, n).{at(user_source())}")
    count = need_int("matrix_power", "n", n)
    if count < 0:
        a, count = inv(a), -count
    if count == 0:
        return identity_like(a)
    found: Any = None
    while True:
        if count & 1:
            found = a if found is None else matmul(found, a)
        count >>= 1
        if not count:
            return found
        a = matmul(a, a)


def multi_dot(arrays: Any, *, precision: Any = None) -> Any:
    """The product of several matrices, in the order of least work; the first and the last may be vectors.

    The order is found by dynamic programming over the shapes (Cormen et al., "Introduction to Algorithms", section 14.2).
    `precision` is accepted and not needed: see `matmul`.

    Raises: ShapeError for fewer than two operands, or others than matrices.
    """
    xs = [asarray(x) for x in arrays]
    shapes = [type_of(x).shape for x in xs]
    inner = all(len(s) == 2 for s in shapes[1:-1])
    if len(xs) < 2 or not inner or any(len(s) not in (1, 2) for s in (shapes[0], shapes[-1])):
        raise ShapeError(
            f"multi_dot: operands of shapes {shapes}: expected two or more matrices, of which the first and last may be vectors."
            f"{at(user_source())}"
        )
    if len(xs) == 2:
        return p.dot(*xs)
    sizes = [
        shapes[0][0] if len(shapes[0]) == 2 else 1,
        *(s[0] for s in shapes[1:]),
        shapes[-1][1] if len(shapes[-1]) == 2 else 1,
    ]
    return _chain(xs, _order(sizes), 0, len(xs) - 1)


def _order(sizes: list[int]) -> dict[tuple[int, int], int]:
    """For each run (i, j) of matrices, the one after which it is split; matrix i is (sizes[i], sizes[i + 1])."""
    n = len(sizes) - 1
    cost: dict[tuple[int, int], int] = {(i, i): 0 for i in range(n)}
    split: dict[tuple[int, int], int] = {}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            options = {k: cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1] for k in range(i, j)}
            split[i, j] = min(options, key=options.__getitem__)
            cost[i, j] = options[split[i, j]]
    return split


def _chain(xs: list[Any], split: dict[tuple[int, int], int], i: int, j: int) -> Any:
    if i == j:
        return xs[i]
    k = split[i, j]
    return p.dot(_chain(xs, split, i, k), _chain(xs, split, k + 1, j))
