"""Wrong programs about indices: out of bounds (known while tracing, and met in compiled code), of wrong kinds, too many."""

from __future__ import annotations

import numpy as np
from wrong_programs import Wrong, wrong

import fdl
import fdl.numpy as fnp

PROGRAMS: list[Wrong] = []
X = np.arange(6, dtype=np.float32).reshape(2, 3)
V = np.arange(3, dtype=np.float32)


def ints(*values: int):
    return np.array(values, np.int32)


def right() -> None:
    x = fnp.asarray(X)
    assert x[1, 2] == 5 and x[0:9].shape == (2, 3) and x.at[0, 0].set(7.0)[0, 0] == 7


# --- known while tracing --------------------------------------------------------------------------


@wrong(X, right=right)
def number(x):
    """IndexOutOfBoundsError: index 3 is out of bounds for axis 1 of size 3: expected -3 to 2. Correct it, or give
    x.at[index] a mode: "clip", "wrap", "fill" or "drop".
    > at {here}
    """
    return x[0, 3]  #: here


@wrong(X, right=right)
def negative_number(x):
    """IndexOutOfBoundsError: index -3 is out of bounds for axis 0 of size 2: expected -2 to 1. Correct it, or give
    x.at[index] a mode: "clip", "wrap", "fill" or "drop".
    > at {here}
    """
    return x[-3]  #: here


@wrong(X, right=right)
def list_of_numbers(x):
    """IndexOutOfBoundsError: index 3 is out of bounds for axis 1 of size 3: expected -3 to 2. Correct it, or give
    x.at[index] a mode: "clip", "wrap", "fill" or "drop".
    > at {here}
    """
    return x[:, [0, 3, -4]]  #: here


@wrong(X, right=right)
def update_at_a_number(x):
    """IndexOutOfBoundsError: index 2 is out of bounds for axis 0 of size 2: expected -2 to 1. Correct it, or give
    x.at[index] a mode: "clip", "wrap", "fill" or "drop".
    > at {here}
    """
    return x.at[2].add(1.0)  #: here


@wrong(X, right=right)
def too_many(x):
    """IndexOutOfBoundsError: too many indices: 3 for an array of shape (2, 3), which has 2 axes.
    > at {here}
    """
    return x[0, 0, 0]  #: here


@wrong(X, right=right)
def two_ellipses(x):
    """IndexingError: an index can have only one ellipsis, got 2.
    > at {here}
    """
    return x[..., 0, ...]  #: here


@wrong(X, right=right)
def float_index(x):
    """DTypeError: an index must be an integer, a slice, None, ... or an array of integers or bools, got 1.0 of type
    float. Convert it with .astype(int).
    > at {here}
    """
    return x[1.0]  #: here


@wrong(X, right=right)
def float_array_index(x):
    """DTypeError: an index must be an integer, a slice, None, ... or an array of integers or bools, got an array of
    type f32[2]. Convert it with .astype(int).
    > at {here}
    """
    return x[fnp.ones(2)]  #: here


@wrong(X, right=right)
def text_index(x):
    """DTypeError: an index must be an integer, a slice, None, ... or an array, got 'w' of type str. Only a dict has
    keys.
    > at {here}
    """
    return x["w"]  #: here


@wrong(X, right=right)
def slice_of_a_float(x):
    """DTypeError: a slice's stop must be an integer or None, got 1.5 of type float.
    > at {here}
    """
    return x[0:1.5]  #: here


@wrong(X, right=right)
def slice_of_step_zero(x):
    """IndexingError: the slice of axis 0 has step 0: expected another step, 1 or -1 for all elements.
    > at {here}
    """
    return x[::0]  #: here


@wrong(X, right=right)
def mask_of_another_shape(x):
    """IndexingError: a boolean index of shape (3,) does not fit an array of shape (2, 3): axis 0 has size 2, the mask
    3.
    > at {here}
    """
    return x[np.array([True, False, True])]  #: here


@wrong(X, right=right)
def indices_that_do_not_broadcast(x):
    """IndexingError: index arrays of shapes (2,), (3,) do not broadcast together. Reshape them, or build an open mesh
    with ix_.
    > at {here}
    """
    return x[ints(0, 1), ints(0, 1, 2)]  #: here


@wrong(X, right=right)
def unknown_mode(x):
    """ShapeError: mode 'never': expected one of raise, clip, fill, drop, wrap, promise_in_bounds.
    > at {here}
    """
    return x.at[0].get(mode="never")  #: here


@wrong(X, right=right, by_line=False)
def unknown_update(x):
    """AttributeError: 'AtIndex' object has no attribute 'sets'"""
    return x.at[0].sets(1.0)  #: here


@wrong(X, right=right)
def take_out_of_bounds(x):
    """IndexOutOfBoundsError: index 5 is out of bounds for axis 1 of size 3: expected -3 to 2. Correct it, or give
    x.at[index] a mode: "clip", "wrap", "fill" or "drop".
    > at {here}
    """
    return fnp.take(x, ints(0, 5), axis=1)  #: here


# --- met while running ----------------------------------------------------------------------------


ALONE = ("eager", "jit", "grad")
"""Without `vmap`, whose message counts the axis in the array of all lanes: see `of_each_lane`."""


@wrong(V, np.int32(7), good=(V, np.int32(2)), modes=ALONE)
def argument(x, i):
    """IndexOutOfBoundsError: index 7 is out of bounds for axis 0 of size 3: expected -3 to 2. Correct it, or give
    x.at[index] a mode: "clip", "wrap", "fill" or "drop".
    > at {here}
    """
    return x[i]  #: here


@wrong(X, ints(0, 2), good=(X, ints(0, 1)), modes=ALONE)
def array_argument(x, i):
    """IndexOutOfBoundsError: index 2 is out of bounds for axis 0 of size 2: expected -2 to 1. Correct it, or give
    x.at[index] a mode: "clip", "wrap", "fill" or "drop".
    > at {here}
    """
    return fnp.exp(x[i]) * 2  #: here


@wrong(X, ints(0, -4), good=(X, ints(0, -3)), modes=ALONE)
def negative_array_argument(x, i):
    """IndexOutOfBoundsError: index -4 is out of bounds for axis 1 of size 3: expected -3 to 2. Correct it, or give
    x.at[index] a mode: "clip", "wrap", "fill" or "drop".
    > at {here}
    """
    return x[:, i]  #: here


@wrong(X, np.int32(2), good=(X, np.int32(1)), modes=ALONE)
def update_argument(x, i):
    """IndexOutOfBoundsError: index 2 is out of bounds for axis 0 of size 2: expected -2 to 1. Correct it, or give
    x.at[index] a mode: "clip", "wrap", "fill" or "drop".
    > at {here}
    """
    return x.at[i].set(0.0)  #: here


@wrong(X, ints(0, 1, 5, 7), good=(X, ints(0, 1, 0, 1)), modes=ALONE)
def in_a_scan(x, i):
    """IndexOutOfBoundsError: index 5 is out of bounds for axis 0 of size 2: expected -2 to 1. Correct it, or give
    x.at[index] a mode: "clip", "wrap", "fill" or "drop".
    > at {here}
    """

    def step(c, k):
        row = x[k]  #: here
        return c + row.sum(), row

    return fdl.scan(step, 0.0, i)


@wrong(V, np.int32(3), good=(V, np.int32(2)), modes=("eager", "jit", "vmap"))
def in_a_while_loop(x, last):
    """IndexOutOfBoundsError: index 3 is out of bounds for axis 0 of size 3: expected -3 to 2. Correct it, or give
    x.at[index] a mode: "clip", "wrap", "fill" or "drop".
    > at {here}
    """

    def step(s):
        i, total = s
        return i + 1, total + x[i]  #: here

    return fdl.while_loop(lambda s: s[0] <= last, step, (0, 0.0))[1]


@wrong(V, np.int32(3), good=(V, np.int32(2)))
def in_a_branch(x, i):
    """IndexOutOfBoundsError: index 3 is out of bounds for axis 0 of size 3: expected -3 to 2. Correct it, or give
    x.at[index] a mode: "clip", "wrap", "fill" or "drop".
    > at {here}
    """

    def yes(i):
        return x[i]  #: here

    return fdl.cond(i > 1, yes, lambda i: 0.0, i)


@wrong(V, np.int32(5), np.int32(6), good=(V, np.int32(0), np.int32(1)), modes=ALONE)
def the_first_of_two(x, i, j):
    """IndexOutOfBoundsError: index 5 is out of bounds for axis 0 of size 3: expected -3 to 2. Correct it, or give
    x.at[index] a mode: "clip", "wrap", "fill" or "drop".
    > at {here}
    """
    a = x[i]  #: here
    return a + x[j]


@wrong(V, ints(0, 9), good=(V, ints(0, 1)), modes=ALONE)
def take_along_axis(x, i):
    """IndexOutOfBoundsError: index 9 is out of bounds for axis 0 of size 3: expected -3 to 2. Correct it, or give
    x.at[index] a mode: "clip", "wrap", "fill" or "drop".
    > at {here}
    """
    return fnp.take_along_axis(x, i, 0)  #: here


@wrong(X, ints(0, 3), good=(X, ints(0, 2)), modes=ALONE)
def of_each_lane(x, i):
    """IndexOutOfBoundsError: index 3 is out of bounds for axis 1 of size 3: expected -3 to 2. Correct it, or give
    x.at[index] a mode: "clip", "wrap", "fill" or "drop".
    > at {here}
    """

    def pick(row, k):
        return row[k]  #: here

    return fdl.vmap(pick)(x, i)
