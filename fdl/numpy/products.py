"""Products of arrays: `matmul`, `dot`, `tensordot`, `einsum` and their kin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fdl.tracer.errors import ShapeError, at, user_source
from fdl.tracer.ir import type_of
from fdl.tracer.ops import contract
from fdl.tracer.ops import shape as s
from fdl.tracer.ops.reduce import reduce_sum

from .promote import broadcast_shapes, canonical_axes, promote_operands
from .ufuncs import multiply


def matmul(x: Any, y: Any) -> Any:
    """The matrix product over the last two axes; leading axes broadcast; a 1-D operand is a row (left) or column (right).

    Raises: ShapeError when the inner sizes differ, or an operand is 0-d.
    """
    x, y = promote_operands("matmul", x, y, broadcast=False)
    a, b = type_of(x).shape, type_of(y).shape
    if not a or not b:
        raise ShapeError(f"matmul: operands of shapes {a} and {b}: a scalar has no matrix product. Use *.{at(user_source())}")
    inner = b[-2] if len(b) > 1 else b[0]
    if a[-1] != inner:
        raise ShapeError(
            f"matmul: inner sizes differ: left {a} has {a[-1]} columns, right {b} has {inner} rows. "
            f"Transpose one operand?{at(user_source())}"
        )
    if len(b) <= 2:
        return contract.dot_general(x, y, ((len(a) - 1,), (max(len(b) - 2, 0),)))
    if len(a) == 1:
        return contract.dot_general(y, x, ((len(b) - 2,), (0,)))
    lead = broadcast_shapes("matmul", a[:-2], b[:-2])
    x, y = (
        s.broadcast(v, (*lead, *shape[-2:]), tuple(range(len(lead) + 2 - len(shape), len(lead) + 2)))
        if shape[:-2] != lead
        else v
        for v, shape in ((x, a), (y, b))
    )
    n = len(lead)
    return contract.dot_general(x, y, ((n + 1,), (n,)), (tuple(range(n)), tuple(range(n))))


def dot(x: Any, y: Any) -> Any:
    """NumPy's dot: the sum over the last axis of `x` and the last but one of `y`; plain product with a scalar."""
    x, y = promote_operands("dot", x, y, broadcast=False)
    a, b = type_of(x).shape, type_of(y).shape
    if not a or not b:
        return multiply(x, y)
    return tensordot(x, y, ((len(a) - 1,), (max(len(b) - 2, 0),)))


def vdot(x: Any, y: Any) -> Any:
    """The sum of products of all elements of two arrays of one size."""
    return dot(s.reshape(x, (type_of(x).size,)), s.reshape(y, (type_of(y).size,)))


def inner(x: Any, y: Any) -> Any:
    """The sum of products over the last axes."""
    return tensordot(x, y, ((-1,), (-1,)))


def outer(x: Any, y: Any) -> Any:
    """All products of the elements of two flattened arrays: shape (x.size, y.size)."""
    x, y = promote_operands("outer", x, y, broadcast=False)
    return tensordot(s.reshape(x, (type_of(x).size,)), s.reshape(y, (type_of(y).size,)), 0)


def tensordot(x: Any, y: Any, axes: Any = 2) -> Any:
    """The sum of products over pairs of axes: `axes` is a count (last of `x`, first of `y`) or a pair of sequences."""
    x, y = promote_operands("tensordot", x, y, broadcast=False)
    ra, rb = type_of(x).ndim, type_of(y).ndim
    if isinstance(axes, int):
        left: Sequence[int] = tuple(range(ra - axes, ra))
        right: Sequence[int] = tuple(range(axes))
    else:
        left, right = ((a,) if isinstance(a, int) else tuple(a) for a in axes)
    return contract.dot_general(x, y, (canonical_axes("tensordot", left, ra), canonical_axes("tensordot", right, rb)))


def einsum(subscripts: str, *operands: Any) -> Any:
    """Sums of products in index notation, contracted from left to right: `einsum("bij,jk->bik", x, w)`.

    A letter that repeats within one operand, and an ellipsis, are not taken.

    Raises: ShapeError naming the letter whose sizes differ.
    """
    spec = subscripts.replace(" ", "")
    left, arrow, result = spec.partition("->")
    terms = left.split(",")
    xs = promote_operands("einsum", *operands, broadcast=False)
    if len(terms) != len(xs):
        raise ShapeError(f"einsum: {subscripts!r} names {len(terms)} operands, but {len(xs)} were given.{at(user_source())}")
    sizes: dict[str, int] = {}
    for term, x in zip(terms, xs, strict=True):
        shape = type_of(x).shape
        if len(term) != len(shape) or len(set(term)) != len(term) or (not term.isalpha() and term):
            raise ShapeError(
                f"einsum: term {term!r} does not fit an operand of shape {shape}: one letter an axis, each once.{at(user_source())}"
            )
        for letter, n in zip(term, shape, strict=True):
            if sizes.setdefault(letter, n) != n:
                raise ShapeError(f"einsum: index {letter!r} has sizes {sizes[letter]} and {n}.{at(user_source())}")
    if not arrow:
        result = "".join(sorted(c for c in sizes if left.count(c) == 1))
    if set(result) - set(sizes) or len(set(result)) != len(result):
        raise ShapeError(
            f"einsum: output {result!r} must use each letter at most once, and only letters of the inputs.{at(user_source())}"
        )
    term, x = terms[0], xs[0]
    for i, (next_term, y) in enumerate(zip(terms[1:], xs[1:], strict=True), 2):
        later = set(result).union(*terms[i:])
        term, x = _pair(term, x, next_term, y, later)
    gone = tuple(i for i, c in enumerate(term) if c not in result)
    x = _sum(x, gone)
    term = "".join(c for c in term if c in result)
    return s.transpose(x, tuple(term.index(c) for c in result))


def _sum(x: Any, axes: tuple[int, ...]) -> Any:
    return reduce_sum(x, axes) if axes else x


def _pair(a: str, x: Any, b: str, y: Any, later: set[str]) -> tuple[str, Any]:
    """Two operands contracted over the letters that nothing later reads."""
    x, a = (
        _sum(x, tuple(i for i, c in enumerate(a) if c not in b and c not in later)),
        "".join(c for c in a if c in b or c in later),
    )
    y, b = (
        _sum(y, tuple(i for i, c in enumerate(b) if c not in a and c not in later)),
        "".join(c for c in b if c in a or c in later),
    )
    shared = [c for c in a if c in b]
    batch, gone = [c for c in shared if c in later], [c for c in shared if c not in later]
    out = contract.dot_general(
        x, y, (tuple(a.index(c) for c in gone), tuple(b.index(c) for c in gone)),
        (tuple(a.index(c) for c in batch), tuple(b.index(c) for c in batch)),
    )  # fmt: skip
    return "".join([*batch, *(c for c in a if c not in shared), *(c for c in b if c not in shared)]), out
