"""The array API standard at its edges: masks of size 0, masks of 0-d arrays, axes there are not, integers that only uint64 holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from array_api_cases import ALL, INTS

import fdl
import fdl.numpy as fnp
from fdl.tracer.errors import AxisError, IndexingError, ShapeError

BIG = 2**63 + 1
"""An integer that float64 and int64 do not hold."""

# --- masks ----------------------------------------------------------------------------------------

MASKS: list[tuple[tuple[int, ...], Any]] = [
    ((), True), ((), False), ((), (None, True)), ((), (True, True)), ((), (..., False)),
    ((2,), True), ((2,), False), ((2, 3), (slice(None), True)), ((2, 3), (True, None, False)), ((2, 3), (True, 1)),
    ((2, 3), (np.array([1, 0]), True)), ((2, 3), (slice(None), np.True_, slice(None))),
    ((1,), np.zeros(0, bool)), ((2, 3), np.zeros((2, 0), bool)), ((2, 3), np.zeros((0, 3), bool)),
    ((2, 3), (slice(None), np.zeros(0, bool))), ((2, 3), (np.zeros(0, bool), 1)), ((0, 2), np.zeros((0,), bool)),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "key"), MASKS, ids=str)
def test_masks_read_and_write_as_numpy_s(shape: tuple[int, ...], key: Any) -> None:
    x = np.arange(1.0, 1.0 + np.prod(shape), dtype=np.float32).reshape(shape)
    picked = x[key]
    np.testing.assert_array_equal(fnp.asarray(x)[key], picked)
    for values in (np.float32(7), np.ones(1, np.float32), -np.arange(picked.size, dtype=np.float32).reshape(picked.shape)):
        y = x.copy()
        y[key] = values
        for run in (lambda f: f, fdl.jit):
            np.testing.assert_array_equal(run(lambda a, v: a.at[key].set(v))(fnp.asarray(x), values), y)
    doubled = x.copy()
    doubled[key] *= 2
    a = fnp.asarray(x)
    for z in (
        a.at[key].multiply(2.0),
        a.at[key].apply(lambda v: v * 2),
        a.at[key].divide(0.5),
        a.at[key].add(a[key]),
    ):
        np.testing.assert_array_equal(z, doubled)


def test_a_mask_without_elements_needs_no_value() -> None:
    empty = np.zeros((2, 0), bool)
    assert fdl.jit(lambda x, m: x[m])(fnp.ones((2, 3)), empty).shape == (0,)
    assert fdl.jit(lambda x, m: x.at[m].set(5.0))(fnp.asarray(1.0), True) == 5.0  # a traced 0-d mask: where
    for shape in ((2, 4), (3, 0), (0, 5)):
        with pytest.raises(IndexingError, match="does not fit an array of shape"):
            fnp.ones((2, 3))[np.zeros(shape, bool)]


# --- axes, dtypes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [-4, 3, 7])
def test_an_axis_there_is_not_is_an_index_error_and_a_value_error(axis: int) -> None:
    for f in (fnp.expand_dims, fnp.flip, fnp.sum, fnp.unstack, fnp.sort):
        with pytest.raises(IndexError, match=f"axis {axis} is out of range") as caught:
            f(fnp.ones((2, 3)), axis=axis)
        assert isinstance(caught.value, AxisError) and isinstance(caught.value, (ShapeError, ValueError))


def test_no_dtype_equals_none() -> None:
    for name in ALL:
        t = getattr(fnp, name)
        assert (t == None) is False and (None == t) is False and (t != None) is True  # noqa: E711 (what is tested)
        assert None not in (t,) and t in (None, t)


# --- sequences ------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [[0, BIG], [[BIG, 1]], (True, BIG), [np.uint64(BIG), 0], [np.int64(3), BIG]], ids=str)
def test_integers_of_a_sequence_do_not_go_through_floats(values: Any) -> None:
    flat = [int(v) for v in np.ravel(np.array(values, object))]
    for got in (fnp.asarray(values, dtype="uint64"), fnp.array(values, fnp.uint64), fnp.uint64(values)):
        assert got.dtype == fnp.uint64 and fnp.ravel(got).tolist() == flat
    if not any(isinstance(v, np.int64) for v in values):
        assert fnp.asarray(values).dtype == fnp.uint64 and fnp.ravel(fnp.asarray(values)).tolist() == flat


def test_python_numbers_of_a_sequence_adapt_to_its_arrays_if_they_fit() -> None:
    three = fnp.asarray([np.uint64(5), 3])
    assert three.dtype == fnp.uint64 and three.tolist() == [5, 3]
    assert fnp.asarray([np.True_, 2**40, 3]).tolist() == [1, 2**40, 3]
    assert fnp.asarray([np.int8(1), 300], dtype="int32").tolist() == [1, 300]  # the dtype asked for has room
    for values in ([np.int8(1), 300], [np.int64(3), BIG], [fnp.asarray([1, 2], dtype="uint8"), [3, -1]]):
        with pytest.raises(OverflowError, match="does not fit in"):
            fnp.asarray(values)


@pytest.mark.parametrize("dtype", INTS)
def test_repeats_of_every_integer_dtype(dtype: str) -> None:
    counts = fnp.asarray([2, 0, 3], dtype=dtype)
    assert fnp.repeat(fnp.asarray([1, 2, 3]), counts).tolist() == [1, 1, 3, 3, 3]
    assert fnp.repeat(fnp.ones((2, 0)), fnp.asarray([], dtype=dtype), axis=1).shape == (2, 0)


def test_0d_integer_arrays_index_as_ints() -> None:
    x = fnp.arange(24).reshape(2, 3, 4)
    for dtype in INTS:
        i = fnp.asarray(1, dtype=dtype)
        assert x[i].shape == (3, 4) and x[i, i, i] == x[1, 1, 1] and x[i, ..., None].shape == (3, 4, 1)
    with pytest.raises(IndexError, match="index 3 is out of bounds for axis 1"):
        x[0, fnp.asarray(3)]
