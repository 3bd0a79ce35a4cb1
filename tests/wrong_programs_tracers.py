"""Wrong programs about values that are not known while a function is traced."""

from __future__ import annotations

import math

import numpy as np
from wrong_programs import TRACED, Wrong, wrong

import fdl
import fdl.numpy as fnp

PROGRAMS: list[Wrong] = []
X = np.arange(6, dtype=np.float32).reshape(2, 3)
ONE = np.float32(1)


@wrong(ONE, modes=TRACED, right=lambda: fdl.jit(lambda x: fdl.cond(x > 0, lambda: x, lambda: -x))(ONE))
def branch(x):
    """ConcretizationError: bool() needs the value of a traced array of type bool[], which is not known while
    {transform} is traced. For a branch use fdl.cond or fdl.numpy.where, for a loop fdl.while_loop, for `and`, `or`,
    `not` the operators &, |, ~{known}.
    > at {here}
    """
    if x > 0:  #: here
        return x
    return -x


@wrong(ONE, modes=TRACED, right=lambda: fdl.jit(lambda x: fdl.while_loop(lambda v: v < 9, lambda v: v * 2, x))(ONE))
def loop_with_a_test(x):
    """ConcretizationError: bool() needs the value of a traced array of type bool[], which is not known while
    {transform} is traced. For a branch use fdl.cond or fdl.numpy.where, for a loop fdl.while_loop, for `and`, `or`,
    `not` the operators &, |, ~{known}.
    > at {here}
    """
    while x < 9:  #: here
        x = x * 2
    return x


@wrong(X, modes=TRACED, right=lambda: fdl.jit(lambda x: fnp.logical_and(x > 0, x < 1))(X))
def both_of_two_tests(x):
    """ConcretizationError: bool() needs the value of a traced array of type bool[2,3], which is not known while
    {transform} is traced. For a branch use fdl.cond or fdl.numpy.where, for a loop fdl.while_loop, for `and`, `or`,
    `not` the operators &, |, ~{known}.
    > at {here}
    """
    return x > 0 and x < 1  #: here


@wrong(ONE, modes=TRACED, right=lambda: fdl.jit(lambda x: fnp.where(x > 0, x, fnp.nan))(ONE))
def assertion(x):
    """ConcretizationError: bool() needs the value of a traced array of type bool[], which is not known while
    {transform} is traced. For a branch use fdl.cond or fdl.numpy.where, for a loop fdl.while_loop, for `and`, `or`,
    `not` the operators &, |, ~{known}.
    > at {here}
    """
    assert x > 0, "not positive"  #: here
    return x


@wrong(X, modes=TRACED, right=lambda: fdl.jit(lambda x: (x == 3.0).any())(X))
def membership(x):
    """ConcretizationError: bool() needs the value of a traced array of type bool[], which is not known while
    {transform} is traced. For a branch use fdl.cond or fdl.numpy.where, for a loop fdl.while_loop, for `and`, `or`,
    `not` the operators &, |, ~{known}.
    > at {here}
    """
    return 1.0 if 3.0 in x else 0.0  #: here


@wrong(np.int32(3), modes=TRACED, right=lambda: fdl.jit(lambda n: fdl.fori_loop(0, n, lambda i, c: c + i, 0))(3))
def range_over(n):
    """ConcretizationError: an index needs the value of a traced array of type i32[], which is not known while
    {transform} is traced. To pick an element use an array, fdl.numpy.asarray(sequence)[i]; for a loop use
    fdl.fori_loop{known}.
    > it is argument n of {program}
    > at {here}
    """
    return sum(fnp.sin(1.0 * k) for k in range(n))  #: here


@wrong(np.int32(1), modes=TRACED, right=lambda: fdl.jit(lambda i: fnp.asarray([1.0, 2.0])[i])(1))
def item_of_a_list(i):
    """ConcretizationError: an index needs the value of a traced array of type i32[], which is not known while
    {transform} is traced. To pick an element use an array, fdl.numpy.asarray(sequence)[i]; for a loop use
    fdl.fori_loop{known}.
    > it is argument i of {program}
    > at {here}
    """
    return [1.0, 2.0][i]  #: here


@wrong(np.int32(1), modes=TRACED, right=lambda: fdl.jit(lambda i: fnp.asarray(X)[i])(1))
def item_of_a_numpy_array(i):
    """ConcretizationError: conversion to a NumPy array needs the value of a traced array of type i32[], which is not
    known while {transform} is traced. Use fdl.numpy instead of numpy, or fdl.pure_callback for what only numpy has.
    A NumPy array that a traced index picks from is converted first: fdl.numpy.asarray(x)[i].
    > it is argument i of {program}
    > at {here}
    """
    return X[i]  #: here


@wrong(ONE, modes=TRACED, right=lambda: fdl.jit(lambda x: x.astype("int32"))(ONE))
def int_of(x):
    """ConcretizationError: int() needs the value of a traced array of type f32[], which is not known while {transform}
    is traced. Keep it an array: x.astype(int) instead of int(x), fdl.numpy.sin instead of math.sin{known}.
    > it is argument x of {program}
    > at {here}
    """
    return int(x)  #: here


@wrong(ONE, modes=TRACED, right=lambda: fdl.jit(lambda x: fnp.asarray(x, "float32"))(ONE))
def float_of(x):
    """ConcretizationError: float() needs the value of a traced array of type f32[], which is not known while
    {transform} is traced. Keep it an array: x.astype(int) instead of int(x), fdl.numpy.sin instead of
    math.sin{known}.
    > it is argument x of {program}
    > at {here}
    """
    return float(x)  #: here


@wrong(ONE, modes=TRACED, right=lambda: fdl.jit(fnp.sin)(ONE))
def function_of_math(x):
    """ConcretizationError: float() needs the value of a traced array of type f32[], which is not known while
    {transform} is traced. Keep it an array: x.astype(int) instead of int(x), fdl.numpy.sin instead of
    math.sin{known}.
    > it is argument x of {program}
    > at {here}
    """
    return math.sin(x)  #: here


@wrong(ONE, modes=TRACED, right=lambda: fdl.jit(lambda x: x.sum())(X))
def item_method(x):
    """ConcretizationError: .item() needs the value of a traced array of type f32[], which is not known while
    {transform} is traced. Keep it an array: x.astype(int) instead of int(x), fdl.numpy.sin instead of
    math.sin{known}.
    > it is argument x of {program}
    > at {here}
    """
    return x.item() * 2.0  #: here


@wrong(X, modes=TRACED, right=lambda: fdl.jit(lambda x: list(x))(X))
def as_a_list(x):
    """ConcretizationError: .tolist() needs the value of a traced array of type f32[2,3], which is not known while
    {transform} is traced. Keep it an array: x.astype(int) instead of int(x), fdl.numpy.sin instead of
    math.sin{known}.
    > it is argument x of {program}
    > at {here}
    """
    return x.tolist()  #: here


@wrong(X, modes=TRACED, right=lambda: fdl.jit(lambda x: fnp.asarray(x))(X))
def as_a_numpy_array(x):
    """ConcretizationError: conversion to a NumPy array needs the value of a traced array of type f32[2,3], which is
    not known while {transform} is traced. Use fdl.numpy instead of numpy, or fdl.pure_callback for what only numpy
    has. A NumPy array that a traced index picks from is converted first: fdl.numpy.asarray(x)[i].
    > it is argument x of {program}
    > at {here}
    """
    return np.asarray(x) * 2.0  #: here


@wrong(X, modes=TRACED, right=lambda: fdl.jit(lambda x: fnp.sort(x))(X))
def numpy_function_without_counterpart(x):
    """DTypeError: fdl.numpy has no counterpart of numpy.busday_count, which cannot be traced. Write it with the
    functions of fdl.numpy, or call it with fdl.pure_callback.
    > at {here}
    """
    return np.busday_count(x, x)  #: here


@wrong(X, modes=TRACED, right=lambda: fdl.jit(lambda x: fnp.where(x > 1, x, 0.0).sum())(X))
def mask(x):
    """ConcretizationError: a traced boolean mask of type bool[2,3] picks a number of elements that is not known while
    tracing. Use fdl.numpy.where(mask, x, y), or indices of a fixed number: x[fdl.numpy.nonzero(mask, size=n,
    fill_value=0)]; x.at[mask].set(v) works for a `v` that does not depend on the number of elements.
    > at {here}
    """
    return x[x > 1].sum()  #: here


@wrong(X, modes=TRACED, right=lambda: fdl.jit(lambda x: fnp.nonzero(x, size=2))(X))
def nonzero(x):
    """ConcretizationError: nonzero: the size of the result depends on the values of the array, which are not known
    while tracing. Give the number of elements of the result with size=.
    > at {here}
    """
    return fnp.nonzero(x)[0]  #: here


@wrong(X, modes=TRACED, right=lambda: fdl.jit(lambda x: fnp.unique(x, size=6))(X))
def unique(x):
    """ConcretizationError: unique: the size of the result depends on the values of the array, which are not known
    while tracing. Give the number of elements of the result with size=.
    > at {here}
    """
    return fnp.unique(x)  #: here


@wrong(X, np.int32(2), modes=TRACED, right=lambda: fdl.jit(lambda x, n: x[:n], static_argnums=1)(X, 2))
def slice_by_a_traced_bound(x, n):
    """ConcretizationError: the slice of axis 0 has a traced stop: the size of the result would not be known. Index
    with an array of static size: x[start + fdl.numpy.arange(n)].
    > at {here}
    """
    return x[:n]  #: here


@wrong(X, np.int32(3), modes=TRACED, right=lambda: fdl.jit(lambda x, n: x.reshape(n, -1), static_argnums=1)(X, 3))
def reshape_by_a_traced_size(x, n):
    """ConcretizationError: reshape: a size is a traced array of type i32[], and the shape of the result depends on it:
    shapes are known while tracing. Make it a static argument (static_argnums), or take it from the shape of an
    array.
    > at {here}
    """
    return x.reshape(n, -1)  #: here


@wrong(X, np.int32(1), modes=TRACED, right=lambda: fdl.jit(lambda x, n: x.sum(n), static_argnums=1)(X, 1))
def traced_axis(x, axis):
    """ConcretizationError: sum: the axis is a traced array of type i32[], and the shape of the result depends on it:
    shapes are known while tracing. Make it a static argument (static_argnums), or take it from the shape of an
    array.
    > at {here}
    """
    return x.sum(axis)  #: here


@wrong(ONE, np.int32(3), modes=TRACED, right=lambda: fdl.jit(lambda x, n: fnp.arange(n) * x, static_argnums=1)(ONE, 3))
def arange_to_a_traced_end(x, n):
    """ConcretizationError: arange: stop is traced, and the size of the result depends on it. Make it a static
    argument, or use arange of a fixed size and add to it.
    > at {here}
    """
    return fnp.arange(n) * x  #: here


@wrong(X, modes=TRACED, right=lambda: fdl.jit(lambda x: fnp.repeat(x, 2))(X))
def repeats_that_are_traced(x):
    """ConcretizationError: repeat: the repeats are traced, and the size of the result depends on them. Give
    total_repeat_length=.
    > at {here}
    """
    return fnp.repeat(x, x[0].astype("int32"), axis=1)  #: here


@wrong(ONE, modes=TRACED, right=lambda: f"{fdl.jit(lambda x: x)(ONE):.2f}")
def key_of_a_dict(x):
    """TypeError: unhashable: an array, of type f32[], is compared element by element, and cannot be the key of a dict
    or a member of a set. Use a name, a number or a tuple of numbers as the key.
    > at {here}
    """
    return {0.0: 1.0}.get(x, 2.0)  #: here


@wrong(X, modes=("eager", "jit", "vmap"), right=lambda: fdl.jit(lambda x: fdl.scan(lambda c, v: (c + v.sum(), v), 0.0, x))(X))
def branch_in_a_scan(x):
    """ConcretizationError: bool() needs the value of a traced array of type bool[], which is not known while
    scan(step) is traced. For a branch use fdl.cond or fdl.numpy.where, for a loop fdl.while_loop, for `and`, `or`,
    `not` the operators &, |, ~.
    > at {here}
    """

    def step(c, row):
        return (c if c > 1 else c + row.sum()), None  #: here

    return fdl.scan(step, 0.0, x)[0]
