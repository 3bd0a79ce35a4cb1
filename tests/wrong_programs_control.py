"""Wrong programs about control flow: branches and carries that change their type, tests that are no bool, and sizes that differ."""

from __future__ import annotations

import numpy as np
from wrong_programs import Wrong, wrong

import fdl
import fdl.numpy as fnp

PROGRAMS: list[Wrong] = []
X = np.arange(6, dtype=np.float32).reshape(2, 3)
ONE = np.float32(1)


def right() -> None:
    """Control flow as it should be."""
    total, rows = fdl.scan(lambda c, x: (c + x.sum(), x), 0.0, X)
    assert float(total) == 15.0 and rows.shape == X.shape
    assert int(fdl.while_loop(lambda i: i < 9, lambda i: i + 4, 0)) == 12
    assert float(fdl.cond(True, lambda v: v, lambda v: -v, 2.0)) == 2.0


# --- branches -------------------------------------------------------------------------------------


@wrong(X, right=right)
def cond_on_many_elements(x):
    """ShapeError: cond: pred must be a scalar, got shape (2, 3). Use where for an elementwise choice, or .any().
    > at {here}
    """
    return fdl.cond(x > 1, lambda: x, lambda: -x)  #: here


@wrong(X, right=right)
def cond_on_nothing(x):
    """TypeError: cond: pred is None; expected a bool or a number.
    > at {here}
    """
    return fdl.cond(None, lambda: x, lambda: -x)  #: here


@wrong(X, right=right)
def branches_of_two_shapes(x):
    """ShapeError: cond: branches return different types: rows['y'] is f32[2,3], row['y'] is f32[3]: reshape or
    broadcast one.
    > at {here}
    """

    def rows(v):
        return {"y": v}

    def row(v):
        return {"y": v[0]}

    return fdl.cond(True, rows, row, x)["y"]  #: here


@wrong(X, right=right)
def branches_of_two_dtypes(x):
    """ShapeError: cond: branches return different types: value is f32[2,3], test is bool[2,3]: convert one with
    .astype('float32').
    > at {here}
    """

    def value(v):
        return v

    def test(v):
        return v > 1

    return fdl.cond(True, value, test, x)  #: here


@wrong(X, right=right)
def branches_nested_otherwise(x):
    """ShapeError: cond: branches return different structures: the output: pair returns a tuple of 2, alone an array or
    a scalar.
    > at {here}
    """

    def pair(v):
        return v, v

    def alone(v):
        return v

    return fdl.cond(True, pair, alone, x)[0]  #: here


@wrong(X, right=right)
def branch_that_takes_another_number(x):
    """TypeError: branch_that_takes_another_number.<locals>.<lambda>() takes 0 positional arguments but 1 was given
    > at {here}
    """
    return fdl.cond(True, lambda v: v, lambda: 0.0, x)  #: here


@wrong(X, right=right)
def branch_that_is_a_value(x):
    """TypeError: cond: expected a function, got an array of type f32[2,3].
    > at {here}
    """
    return fdl.cond(True, x, fnp.sin, x)  #: here


@wrong(X, right=right)
def switch_on_a_float(x):
    """DTypeError: switch: index must be an integer scalar, got 0.5 of type float.
    > at {here}
    """
    return fdl.switch(0.5, [fnp.sin, fnp.cos], x)  #: here


@wrong(X, right=right)
def switch_without_branches(x):
    """ValueError: switch: needs at least one branch, got none.
    > at {here}
    """
    return fdl.switch(0, [], x)  #: here


@wrong(X, right=right)
def select_of_two_shapes(x):
    """ShapeError: select: cases have shapes (3,) and (2, 3): expected one shape. fdl.numpy.where broadcasts.
    > at {here}
    """
    return fdl.select(x > 1, x, x[0])  #: here


# --- scan -----------------------------------------------------------------------------------------


@wrong(X, right=right)
def carry_that_changes_its_shape(x):
    """ShapeError: scan: the carry['sum'] starts as f32[2], but step returns f32[1]: both must have one shape. Change
    init, or reshape what is returned.
    > at {here}
    """

    def step(c, row):
        return {"sum": c["sum"][:1] + row.sum()}, row

    return fdl.scan(step, {"sum": fnp.zeros(2)}, x)[0]["sum"]  #: here


@wrong(X, right=right)
def carry_that_changes_its_dtype(x):
    """ShapeError: scan: the carry starts as i32[], but step returns f32[]: start with init as float32
    (.astype('float32')), or return it with .astype('int32').
    > at {here}
    """

    def step(c, row):
        return c + row.sum(), row

    return fdl.scan(step, fnp.zeros((), "int32"), x)[0]  #: here


@wrong(X, right=right)
def carry_nested_otherwise(x):
    """ShapeError: scan: step must return a carry nested like init: carry: expected a dict with keys ['sum'], got a
    dict with keys ['total'].
    > at {here}
    """

    def step(c, row):
        return {"total": c["sum"] + row.sum()}, row

    return fdl.scan(step, {"sum": 0.0}, x)[0]["sum"]  #: here


@wrong(X, right=right)
def scan_without_a_pair(x):
    """ShapeError: scan: step must return a pair (carry, output), got an array or a scalar.
    > at {here}
    """

    def step(c, row):
        return c + row.sum()

    return fdl.scan(step, 0.0, x)[0]  #: here


@wrong(X, right=right)
def scan_over_two_lengths(x):
    """ShapeError: scan: leading sizes must be given and agree: xs['a']: 2, xs['b']: 3.
    > at {here}
    """
    return fdl.scan(lambda c, s: (c + s["a"].sum(), None), 0.0, {"a": x, "b": x.T})[0]  #: here


@wrong(X, right=right)
def scan_of_another_length(x):
    """ShapeError: scan: leading sizes must be given and agree: xs: 2, length: 3.
    > at {here}
    """
    return fdl.scan(lambda c, row: (c + row.sum(), None), 0.0, x, length=3)[0]  #: here


@wrong(X, right=right)
def map_over_two_lengths(x):
    """ShapeError: map: leading sizes must be given and agree: xs[0]: 2, xs[1]: 3.
    > at {here}
    """
    return fdl.map(lambda pair: pair[0].sum(), (x, x.T))  #: here


@wrong(X, right=right)
def scan_without_a_length(x):
    """ShapeError: scan: leading sizes must be given and agree: xs has no arrays; give length=.
    > at {here}
    """
    return fdl.scan(lambda c, _: (c + 1, None), x)[0]  #: here


@wrong(X, right=right)
def scan_over_a_scalar(x):
    """ShapeError: scan: xs is 0-d: it has no leading axis to go over.
    > at {here}
    """
    return fdl.scan(lambda c, v: (c + v, None), 0.0, x.sum())[0]  #: here


@wrong(X, right=right)
def scan_of_a_negative_length(x):
    """ShapeError: scan: length=-1: expected an int that is not negative.
    > at {here}
    """
    return fdl.scan(lambda c, _: (c + 1, None), x, length=-1)[0]  #: here


@wrong(X, right=right)
def text_in_a_carry(x):
    """DTypeError: scan: init['name'] is 'total' of type str: expected an array or a number. Convert it to numbers
    first.
    > at {here}
    """
    return fdl.scan(lambda c, row: (c, row), {"name": "total"}, x)[1]  #: here


@wrong(X, right=right)
def step_that_takes_one_argument(x):
    """TypeError: step_that_takes_one_argument.<locals>.step() takes 1 positional argument but 2 were given
    > at {here}
    """

    def step(c):
        return c, None

    return fdl.scan(step, 0.0, x)[0]  #: here


@wrong(X, right=right)
def operator_of_another_shape(x):
    """ShapeError: associative_scan: <lambda> returns f32[1,1] for elems, of which it was given f32[1,3]: it must keep
    shapes and dtypes, and work on many slices at once.
    > at {here}
    """
    return fdl.associative_scan(lambda a, b: (a + b)[:, :1], x)  #: here


# --- while_loop, fori_loop ------------------------------------------------------------------------


@wrong(ONE, right=right)
def test_that_is_no_bool(x):
    """DTypeError: while_loop: go_on must return one bool, got f32[]. Compare it with something.
    > at {here}
    """

    def go_on(v):
        return 9 - v

    return fdl.while_loop(go_on, lambda v: v * 2, x)  #: here


@wrong(X, right=right)
def test_of_many_elements(x):
    """DTypeError: while_loop: go_on must return one bool, got bool[2,3]. Reduce it by .any() or .all().
    > at {here}
    """

    def go_on(v):
        return v < 9

    return fdl.while_loop(go_on, lambda v: v * 2, x)  #: here


@wrong(X, right=right)
def loop_that_changes_a_shape(x):
    """ShapeError: while_loop: the carry starts as f32[2,3], but halve returns f32[1,3]: both must have one shape.
    Change init, or reshape what is returned.
    > at {here}
    """

    def halve(v):
        return v[:1]

    return fdl.while_loop(lambda v: v.sum() > 0, halve, x)  #: here


@wrong(X, right=right)
def bound_that_is_a_float(x):
    """DTypeError: fori_loop: bounds must be integer scalars, got 2.5 of type float. Convert it with int(...) or
    .astype(int).
    > at {here}
    """
    return fdl.fori_loop(0, 2.5, lambda i, c: c + i, x)  #: here


@wrong(X, right=right)
def bound_that_is_text(x):
    """DTypeError: fori_loop: a bound is '3' of type str: expected an array or a number. Convert it to numbers first.
    > at {here}
    """
    return fdl.fori_loop(0, "3", lambda i, c: c + i, x)  #: here


@wrong(X, right=right)
def body_that_returns_another_type(x):
    """ShapeError: fori_loop: the carry starts as f32[2,3], but body returns bool[2,3]: return it with
    .astype('float32'), or start with init as bool.
    > at {here}
    """

    def body(i, c):
        return c > i

    return fdl.fori_loop(0, 3, body, x)  #: here


@wrong(X, right=right)
def body_that_returns_nothing(x):
    """ShapeError: fori_loop: body must return a carry nested like init: carry: expected an array or a scalar, got
    None.
    > at {here}
    """

    def body(i, c):
        c = c + i

    return fdl.fori_loop(0, 3, body, x)  #: here


# --- callbacks ------------------------------------------------------------------------------------


@wrong(X, right=lambda: fdl.pure_callback(np.sin, X, X), modes=("eager", "jit", "vmap"))
def callback_that_returns_another_shape(x):
    """ShapeError: pure_callback(first): result has shape (1, 3) and dtype float32, expected f32[2,3]. Correct what the
    function returns (a.astype(np.float32)), or the result that was declared.
    > at {here}
    """

    def first(v):
        return v[:1]

    return fdl.pure_callback(first, x, x)  #: here


@wrong(X, right=lambda: fdl.pure_callback(np.sin, X, X), modes=("eager", "jit", "vmap"))
def callback_that_returns_another_dtype(x):
    """ShapeError: pure_callback(wide): result has shape (2, 3) and dtype float64, expected f32[2,3]. Correct what the
    function returns (a.astype(np.float32)), or the result that was declared.
    > at {here}
    """

    def wide(v):
        return v.astype(np.float64)

    return fdl.pure_callback(wide, x, x)  #: here


@wrong(X, right=lambda: fdl.pure_callback(np.sin, X, X), modes=("eager", "jit", "vmap"))
def callback_nested_otherwise(x):
    """ShapeError: pure_callback(pair): the function's result: expected an array or a scalar, got a tuple of 2. Correct
    what it returns, or the result that was declared.
    > at {here}
    """

    def pair(v):
        return v, v

    return fdl.pure_callback(pair, x, x)  #: here


@wrong(X, right=lambda: fdl.pure_callback(np.sin, X, X))
def callback_of_an_unknown_method(x):
    """ValueError: pure_callback(sin): vmap_method='vectorized': expected one of 'sequential', 'expand_dims',
    'broadcast_all', 'legacy_vectorized'.
    > at {here}
    """
    return fdl.pure_callback(np.sin, x, x, vmap_method="vectorized")  #: here


# --- what the forms are given ---------------------------------------------------------------------


@wrong(X, right=right)
def switch_on_a_function(x):
    """TypeError: switch: branches must be a list or a tuple of functions, got the function sin. For two branches there is cond.
    > at {here}
    """
    return fdl.switch(0, fnp.sin, x)  #: here


@wrong(ONE, right=right)
def branches_of_one_name(x):
    """ShapeError: cond: branches return different types: true_fun is f32[], false_fun is i32[]: convert one with .astype('float32').
    > at {here}
    """
    return fdl.cond(True, lambda: fnp.float32(x) * 0 + 1, lambda: fnp.int32(1))  #: here


@wrong(ONE, right=right)
def nested_test(x):
    """DTypeError: while_loop: small must return one bool, got a tuple of 1. Return the test alone.
    > at {here}
    """

    def small(c):
        return (c < 3.0,)

    return fdl.while_loop(small, lambda c: c + 1.0, x)  #: here


@wrong(np.int32(3), right=right, modes=("jit", "vmap"))
def scan_of_a_traced_length(n):
    """ConcretizationError: scan: length is a traced array of type i32[], and the shape of the result depends on it: shapes are
    known while tracing. Make it a static argument (static_argnums), or take it from the shape of an array.
    > at {here}
    """
    return fdl.scan(lambda c, _: (c + 1, None), 0, None, length=n)[0]  #: here


@wrong(X, right=right)
def associative_scan_along_a_name(x):
    """TypeError: associative_scan: axis: expected an int, got 'rows' of type str.
    > at {here}
    """
    return fdl.associative_scan(fnp.add, x, axis="rows")  #: here


@wrong(ONE, right=right)
def an_initial_carry_that_does_not_fit(x):
    """OverflowError: scan: the initial carry: the Python integer 300 does not fit in int8: expected -128 to 127. Convert what has
    that dtype to a wider one, such as int64.
    > at {here}
    """
    return fdl.scan(lambda c, x: (x, None), 300, np.ones(2, "i1"))[0] + x  #: here
