"""Wrong programs about shapes and axes: what does not broadcast, multiply, join or reshape, and axes that are not there."""

from __future__ import annotations

from typing import Any

import numpy as np
from wrong_programs import Wrong, wrong

import fdl
import fdl.numpy as fnp

PROGRAMS: list[Wrong] = []
X = np.arange(6, dtype=np.float32).reshape(2, 3)
S = np.eye(3, dtype=np.float32) * 2


def vector(n: int) -> Any:
    return np.ones(n, np.float32)


@wrong(X, vector(2), good=(X, vector(3)))
def broadcast(x, b):
    """ShapeError: add: shapes (2, 3) and (2,) do not broadcast: from the right, sizes must be equal or 1. Reshape one
    operand, or insert an axis with x[:, None].
    > at {here}
    """
    return x + b  #: here


@wrong(X, vector(2), good=(X, vector(3)))
def where_shapes(x, b):
    """ShapeError: where: shapes (2, 3) and (2, 3) and (2,) do not broadcast: from the right, sizes must be equal or 1.
    Reshape one operand, or insert an axis with x[:, None].
    > at {here}
    """
    return fnp.where(x > 1, x, b)  #: here


@wrong(X, X, good=(X, X.T))
def matmul(x, w):
    """ShapeError: matmul: inner sizes differ: left (2, 3) has 3 columns, right (2, 3) has 2 rows. Transpose one
    operand?
    > at {here}
    """
    return x @ w  #: here


@wrong(X, X, good=(X, X.T))
def matmul_in_a_loop(x, w):
    """ShapeError: matmul: inner sizes differ: left (2, 3) has 3 columns, right (2, 3) has 2 rows. Transpose one
    operand?
    > at {here}
    """

    def step(c, w):
        return c + (x @ w).sum(), None  #: here

    return fdl.scan(step, 0.0, w[None])[0]


@wrong(X, 2.0, good=(X, vector(3)))
def matmul_of_a_scalar(x, y):
    """ShapeError: matmul: operands of shapes (2, 3) and (): a scalar has no matrix product. Use *.
    > at {here}
    """
    return fnp.matmul(x, y)  #: here


@wrong(X, vector(4), good=(X, vector(3)))
def dot(x, y):
    """ShapeError: dot: axes (1,) of (2, 3) and (0,) of (4,) do not pair: expected as many of each, of equal sizes.
    Transpose one operand?
    > at {here}
    """
    return fnp.dot(x, y)  #: here


@wrong(X, X, good=(X, X.T))
def einsum_sizes(x, y):
    """ShapeError: einsum: index 'j' has sizes 3 and 2, the latter in operand 1 of shape (2, 3): expected one size.
    > at {here}
    """
    return fnp.einsum("ij,jk->ik", x, y)  #: here


@wrong(X, good=(X[None],))
def einsum_axes(x):
    """ShapeError: einsum: term 'ijk' does not fit an operand of shape (2, 3): expected one letter for each axis.
    > at {here}
    """
    return fnp.einsum("ijk->k", x)  #: here


@wrong(X, np.ones((2, 4), np.float32), good=(X, X))
def concatenate(x, y):
    """ShapeError: concatenate: operand 0 has shape (2, 3), operand 1 (2, 4): expected equal sizes except along axis 0.
    > at {here}
    """
    return fnp.concatenate([x, y], 0)  #: here


@wrong(X, X.T, good=(X, X))
def stack(x, y):
    """ShapeError: stack: shapes differ: (2, 3), (3, 2), expected one shape. Use concatenate to join along an axis that
    is there.
    > at {here}
    """
    return fnp.stack([x, y])  #: here


@wrong(X, good=(np.ones((4, 2), np.float32),))
def reshape(x):
    """ShapeError: reshape: an operand of shape (2, 3) has 6 elements, the shape (4, 2) has 8: expected equally many.
    > at {here}
    """
    return x.reshape(4, 2)  #: here


@wrong(X, good=(np.ones((4, 2), np.float32),))
def reshape_with_a_free_size(x):
    """ShapeError: reshape: an operand of shape (2, 3) has 6 elements, which do not fill the shape (4, -1): expected a
    multiple of 4.
    > at {here}
    """
    return x.reshape(4, -1)  #: here


@wrong(X, good=(X[:1],))
def broadcast_to(x):
    """ShapeError: broadcast_to: shape (2, 3) does not broadcast to (4, 3).
    > at {here}
    """
    return fnp.broadcast_to(x, (4, 3))  #: here


@wrong(X, good=(X[:, :, None],))
def axis_out_of_range(x):
    """AxisError: sum: axis 2 is out of range for an array with 2 axes: expected -2 to 1.
    > at {here}
    """
    return fnp.sum(x, axis=2)  #: here


@wrong(X, right=lambda: fnp.sum(X, axis=(0, 1)))
def axes_repeat(x):
    """ShapeError: sum: axes (0, -2) repeat: axis 0 of 2 is named twice.
    > at {here}
    """
    return fnp.sum(x, axis=(0, -2))  #: here


@wrong(X, good=(X[:, :, None],))
def transpose(x):
    """AxisError: transpose: axis 2 is out of range for an array with 2 axes: expected -2 to 1.
    > at {here}
    """
    return x.transpose(0, 2, 1)  #: here


@wrong(X, right=lambda: fnp.moveaxis(X, 0, 1))
def moveaxis(x):
    """ShapeError: moveaxis: 2 sources but 1 destinations: expected as many of each.
    > at {here}
    """
    return fnp.moveaxis(x, (0, 1), 0)  #: here


@wrong(X, good=(X[:1],))
def squeeze(x):
    """ShapeError: squeeze: axis 0 of shape (2, 3) has size 2, expected 1.
    > at {here}
    """
    return fnp.squeeze(x, 0)  #: here


@wrong(X, good=(X.T[:2],))
def split_unevenly(x):
    """ShapeError: split: axis 1 of size 3 does not divide into 2 equal parts. Use array_split.
    > at {here}
    """
    return fnp.split(x, 2, axis=1)[0]  #: here


@wrong(np.ones((0, 3), np.float32), good=(X,))
def maximum_of_nothing(x):
    """ShapeError: max: the reduced axes of shape (0, 3) are empty: expected at least one element, or a value to start
    from, initial=.
    > at {here}
    """
    return fnp.max(x, axis=0)  #: here


@wrong(X, vector(4), good=(X, vector(3)))
def update(x, v):
    """ShapeError: .at[...].set: the values of shape (4,) do not broadcast to the indexed shape (3,).
    > at {here}
    """
    return x.at[0].set(v)  #: here


@wrong(np.float32(2), good=(vector(3),))
def length_of_a_scalar(x):
    """TypeError: len() of a 0-d array of type f32[]: it has no axes. Its .size is 1.
    > at {here}
    """
    return x * len(fnp.asarray(x))  #: here


@wrong(np.float32(2), good=(vector(3),))
def iteration_over_a_scalar(x):
    """TypeError: iteration over a 0-d array of type f32[]: it has no axes.
    > at {here}
    """
    return sum(fnp.sin(x))  #: here


@wrong(X, good=(S,))
def inverse_of_no_square(x):
    """ShapeError: inv: the operand has shape (2, 3), expected square matrices (..., n, n).
    > at {here}
    """
    return fnp.linalg.inv(x)  #: here


@wrong(S, vector(2), good=(S, vector(3)))
def solve(a, b):
    """ShapeError: solve: the matrix has shape (3, 3), the right-hand side (2,): expected 3 rows. A stack of vectors
    needs a last axis: b[..., None].
    > at {here}
    """
    return fnp.linalg.solve(a, b)  #: here


@wrong(X, right=lambda: fnp.ones((2, 0)))
def negative_size(x):
    """ShapeError: ones: sizes must not be negative, got (2, -3).
    > at {here}
    """
    return x + fnp.ones((2, -3))  #: here


@wrong(X, right=lambda: fnp.zeros((3, 2)))
def size_that_is_no_integer(x):
    """ShapeError: zeros: expected a shape of ints, got (2, 1.5).
    > at {here}
    """
    return x + fnp.zeros((2, 1.5))  #: here


@wrong(
    X, np.int32(4), modes=("jit", "vmap"), right=lambda: fdl.jit(lambda x, n: fnp.zeros(n) + x[0, 0], static_argnums=1)(X, 4)
)
def size_that_is_traced(x, n):
    """ConcretizationError: zeros: a size is a traced array of type i32[], and the shape of the result depends on it:
    shapes are known while tracing. Make it a static argument (static_argnums), or take it from the shape of an
    array.
    > at {here}
    """
    return x.sum() + fnp.zeros(n)  #: here


@wrong(X, right=lambda: fnp.arange(3))
def arange(x):
    """ShapeError: arange: the step is 0: expected one that leads from 0 to 3.
    > at {here}
    """
    return x + fnp.arange(0, 3, 0)  #: here


@wrong(X, good=(X[0],))
def convolution_of_a_matrix(x):
    """ShapeError: convolve: an operand must have one axis, got shape (2, 3).
    > at {here}
    """
    return fnp.convolve(x, vector(2))  #: here
