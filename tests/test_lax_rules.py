"""What `fdl.lax` takes and refuses: dtypes, ranks and parameters, with the messages; shapes that are computed; and a few properties."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fdl
import fdl.numpy as fnp
from fdl import lax
from fdl.tracer.errors import DTypeError, IndexOutOfBoundsError, ShapeError

ROWS = lax.GatherDimensionNumbers((1,), (0,), (0,))
ROWS_SET = lax.ScatterDimensionNumbers((1,), (0,), (0,))
x23, x3 = np.ones((2, 3), np.float32), np.ones(3, np.float32)
i3 = np.arange(3, dtype=np.int32)

# --- errors: the call, the error's class, and the text that it begins with -------------------------

WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: lax.add(x23, x3),
        ShapeError,
        "lax.add: operands have shapes (2, 3) and (3,), expected one number of axes. Insert axes with ",
    ),
    (
        lambda: lax.add(x23, np.ones((2, 2), np.float32)),
        ShapeError,
        "lax.add: operands have shapes (2, 3) and (2, 2), expected equal sizes, or 1.",
    ),
    (
        lambda: lax.add(x3, i3),
        DTypeError,
        "lax.add: operands have dtypes float32 and int32, expected one dtype. Convert with "
        "lax.convert_element_type. fdl.numpy.add promotes them.",
    ),
    (lambda: lax.add(i3, 2.5), DTypeError, "lax.add: operands have dtypes int32 and float32, expected one dtype."),
    (
        lambda: lax.add([1, 2], 3),
        DTypeError,
        "lax.add: operand 0 is a list, expected an array or a number. Convert it with fdl.numpy.asarray.",
    ),
    (lambda: lax.add(x3 > 0, x3 > 0), DTypeError, "lax.add: got dtype bool, expected integers or floats or complex numbers."),
    (
        lambda: lax.exp(3),
        DTypeError,
        "lax.exp: got dtype int32, expected floats or complex numbers. Convert with lax.convert_element_type.",
    ),
    (lambda: lax.floor(i3), DTypeError, "lax.floor: got dtype int32, expected floats."),
    (lambda: lax.bitwise_and(x3, x3), DTypeError, "lax.bitwise_and: got dtype float32, expected bool or integers."),
    (lambda: lax.lt(x3 + 1j, x3 + 1j), DTypeError, "lax.lt: got dtype complex64, expected bool or integers or floats."),
    (
        lambda: lax.abs(np.ones(2, np.uint8)),
        DTypeError,
        "lax.abs: got dtype uint8, expected signed integers or floats or complex numbers.",
    ),
    (lambda: lax.pow(i3, i3), DTypeError, "lax.pow: got dtype int32, expected floats or complex numbers."),
    (lambda: lax.integer_pow(i3, -1), DTypeError, "lax.integer_pow with a negative exponent: got dtype int32"),
    (lambda: lax.integer_pow(x3, 1.5), DTypeError, "lax.integer_pow: the exponent is 1.5, expected an int. Use lax.pow."),  # type: ignore[arg-type]
    (
        lambda: lax.clamp(np.zeros(2, np.float32), x3, 1.0),
        ShapeError,
        "lax.clamp: min has shape (2,), x (3,): expected a scalar or the shape of x.",
    ),
    (
        lambda: lax.reduce_precision(x3, 0, 3),
        DTypeError,
        "lax.reduce_precision: exponent_bits=0, mantissa_bits=3: expected at least 1 and 0.",
    ),
    (
        lambda: lax.convert_element_type(x3 + 1j, "float32"),
        DTypeError,
        "lax.convert_element_type: complex64 cannot become float32",
    ),
    (
        lambda: lax.bitcast_convert_type(np.ones(3, np.uint8), "uint32"),
        ShapeError,
        "lax.bitcast_convert_type: u8[3] as uint32, which is 4 times wider, needs a last axis of size 4.",
    ),
    (lambda: lax.complex(np.float16(1), np.float16(1)), DTypeError, "lax.complex: no complex dtype has parts of dtype float16"),
    (lambda: lax.full((2,), x3), ShapeError, "lax.full: fill_value has shape (3,), expected a scalar."),
    (
        lambda: lax.broadcast_in_dim(x3, (3, 3), (1, 0)),
        ShapeError,
        "lax.broadcast_in_dim: broadcast_dimensions=(1, 0): expected increasing axes.",
    ),
    (
        lambda: lax.broadcast_in_dim(x3, (2, 4), (1,)),
        ShapeError,
        "broadcast: axis 0 of an operand of shape (3,) has size 3, axis 1 of the result",
    ),
    (lambda: lax.broadcast_shapes((2,), (3,)), ShapeError, "lax.broadcast_shapes: shapes (2,) and (3,) do not broadcast"),
    (lambda: lax.reshape(x23, (4,)), ShapeError, "lax.reshape: an operand of shape (2, 3) does not have the size of (4,)."),
    (lambda: lax.reshape(x23, (3, -2)), ShapeError, "lax.reshape: sizes must not be negative, got (3, -2)."),
    (
        lambda: lax.squeeze(x23, (0,)),
        ShapeError,
        "lax.squeeze: dimensions=(0,) of an operand of shape (2, 3): expected axes of size 1.",
    ),
    (
        lambda: lax.transpose(x23, (0,)),
        ShapeError,
        "lax.transpose: permutation=(0,) for an operand of shape (2, 3): expected each axis once.",
    ),
    (lambda: lax.rev(x3, (-1,)), ShapeError, "lax.rev: dimensions=(-1,) for 1 axes: expected distinct axes from 0 to 0."),
    (
        lambda: lax.concatenate([x3, x23], 0),
        ShapeError,
        "lax.concatenate: operands have shapes (3,), (2, 3), expected equal sizes except along axis 0.",
    ),
    (
        lambda: lax.concatenate([x3, i3], 0),
        DTypeError,
        "lax.concatenate: operands have dtypes float32 and int32, expected one dtype.",
    ),
    (lambda: lax.concatenate([], 0), ShapeError, "lax.concatenate: no operands: expected at least one."),
    (
        lambda: lax.split(x3, (1, 1)),
        ShapeError,
        "lax.split: sizes=(1, 1) have the sum 2, but axis 0 of an operand of shape (3,) has size 3.",
    ),
    (lambda: lax.slice(x3, (0,), (4,)), ShapeError, "slice: 0:4:1 of axis 0 of an operand of shape (3,)"),
    (lambda: lax.pad(x3, np.float64(0), [(0, 0, 0)]), DTypeError, "lax.pad: operands have dtypes float32 and float64"),
    (lambda: lax.pad(x3, 0.0, [(0, 0)]), ShapeError, "lax.pad: padding_config=[(0, 0)]: expected 3 ints for each axis."),  # type: ignore[list-item]
    (lambda: lax.dynamic_slice(x3, (1.0,), (2,)), DTypeError, "lax.dynamic_slice: start 0 is f32[]"),
    (
        lambda: lax.dynamic_slice(x3, (-1,), (2,), allow_negative_indices=False),
        IndexOutOfBoundsError,
        "lax.dynamic_slice: start -1 is out of bounds "
        "for axis 0 of size 3: with allow_negative_indices=False, expected 0 to 3.",
    ),
    (
        lambda: lax.dynamic_update_slice(x3, i3, (0,)),
        DTypeError,
        "lax.dynamic_update_slice: operands have dtypes float32 and int32",
    ),
    (
        lambda: lax.index_in_dim(x3, 3),
        IndexOutOfBoundsError,
        "lax.index_in_dim: index 3 is out of bounds for axis 0 of size 3.",
    ),
    (
        lambda: lax.gather(x23, np.array([[2]]), ROWS, (1, 3)),
        IndexOutOfBoundsError,
        "index 2 is out of bounds for axis 0 of size 2",
    ),
    (
        lambda: lax.gather(x23, np.array([[0]]), ROWS, (1, 4)),
        ShapeError,
        "lax.gather: windows of shape (1, 4) for an operand of shape (2, 3)",
    ),
    (
        lambda: lax.gather(x23, np.array([[0]]), ROWS, (2, 3)),
        ShapeError,
        "lax.gather: windows of shape (2, 3): expected size 1 along the axes (0,)",
    ),
    (
        lambda: lax.gather(x23, np.array([[0, 1]]), ROWS, (1, 3)),
        ShapeError,
        "lax.gather: indices of shape (1, 2) for 1 coordinates",
    ),
    (
        lambda: lax.gather(x23, np.array([[0.0]]), ROWS, (1, 3)),
        DTypeError,
        "lax.gather: indices have dtype float64, expected integers.",
    ),
    (
        lambda: lax.gather(x23, np.array([[0]]), ROWS, (1, 3), mode="wrap"),
        ShapeError,
        "lax: unknown mode 'wrap' of gather or scatter: expected one of 'raise', 'clip', 'fill', 'drop', 'promise_in_bounds'.",
    ),
    (
        lambda: lax.gather(x23, np.array([[0]]), ROWS._replace(offset_dims=(0, 1)), (1, 3)),
        ShapeError,
        "lax.gather: offset_dims (0, 1): expected 1 increasing axes from 0 to 1.",
    ),
    (
        lambda: lax.scatter(x23, np.array([[5]]), x3[None], ROWS_SET),
        IndexOutOfBoundsError,
        "index 5 is out of bounds for axis 0 of size 2",
    ),
    (
        lambda: lax.scatter(x23, np.array([[1]]), x23, ROWS_SET),
        ShapeError,
        "lax.scatter: updates of shape (2, 3) have the axes (0,) besides update_window_dims (1,), of sizes (2,): expected (1,)",
    ),
    (lambda: lax.dot(x23, x23), ShapeError, "lax.dot: operands of shapes (2, 3) and (2, 3): expected vectors or matrices"),
    (
        lambda: lax.dot_general(x23, x23, (((1,), (0,)), ((), ()))),
        ShapeError,
        "dot_general: contracting sizes differ: lhs (2, 3) axis 1 is 3, rhs (2, 3) axis 0 is 2.",
    ),
    (
        lambda: lax.dot(x23, x3, precision="best"),
        ShapeError,
        "lax.dot_general: precision='best': expected a lax.Precision, or a name such as 'highest'.",
    ),
    (
        lambda: lax.conv(x23[None], np.ones((1, 3, 2), np.float32), (1,), "SAME"),
        ShapeError,
        "conv: the input (1, 3, 2) has 2 channels",
    ),
    (
        lambda: lax.conv(x23[None], np.ones((1, 2, 2), np.float32), (1,), "FULL"),
        ShapeError,
        "lax: padding='FULL': expected 'SAME', 'SAME_LOWER', 'VALID' or pairs.",
    ),
    (
        lambda: lax.conv_general_dilated(x23[None], x23[None], (1,), "SAME", lhs_dilation=(2,)),
        ShapeError,
        "lax.conv_general_dilated: padding by name has no meaning with lhs_dilation=(2,).",
    ),
    (
        lambda: lax.conv_general_dilated(x23[None], x23[None], (1,), "SAME", dimension_numbers=("NCH", "OIW", "NCH")),
        ShapeError,
        "lax: dimension_numbers=",
    ),
    (
        lambda: lax.reduce_sum(x23, (-1,)),
        ShapeError,
        "lax.reduce_sum: axes=(-1,) for 2 axes: expected distinct axes from 0 to 1.",
    ),
    (
        lambda: lax.reduce_sum(x3 > 0, (0,)),
        DTypeError,
        "lax.reduce_sum: got dtype bool, expected integers or floats or complex numbers.",
    ),
    (lambda: lax.reduce_and(x3, (0,)), DTypeError, "lax.reduce_and: got dtype float32, expected bool or integers."),
    (lambda: lax.cumsum(x3, -1), ShapeError, "lax.cumsum: axis=(-1,) for 1 axes"),
    (
        lambda: lax.reduce(x3, 0, lambda a, b: fnp.stack([a, b]), (0,)),
        DTypeError,
        "lax.reduce: the computation must return what it is given, scalars",
    ),
    (lambda: lax.reduce(x3, np.int32(0), lax.add, (0,)), DTypeError, "lax.reduce: operands have dtypes float32 and int32"),
    (lambda: lax.reduce((x3, x3), 0.0, lax.add, (0,)), ShapeError, "lax.reduce: operands and init values must be nested alike"),
    (
        lambda: lax.reduce_window(x3, 0.0, lax.add, (2, 2)),
        ShapeError,
        "lax.reduce_window: window_dimensions=(2, 2) for an operand of shape (3,).",
    ),
    (lambda: lax.sort((x3, x23)), ShapeError, "sort: operand 0 has shape (3,), operand 1 (2, 3)"),
    (lambda: lax.sort((x3, x3), num_keys=3), ShapeError, "sort: num_keys = 3 for 2 operands"),
    (lambda: lax.top_k(x3, 4), ShapeError, "lax.top_k: k=4 for an axis of size 3 of an operand of shape (3,)."),
    (lambda: lax.approx_max_k(i3, 1), DTypeError, "lax.approx_max_k: got dtype int32, expected floats."),
    (lambda: lax.fft(x3, "dct", (3,)), ShapeError, "lax.fft: fft_type='dct': expected one of FFT, IFFT, RFFT, IRFFT."),
    (lambda: lax.linalg.cholesky(x23), ShapeError, "lax.linalg.cholesky: "),
    (lambda: lax.linalg.qr(x23, pivoting=True), ShapeError, "lax.linalg.qr: pivoting=True is not there."),
    (
        lambda: lax.platform_dependent(1, cuda=lambda x: x),
        ValueError,
        "lax.platform_dependent: functions for cuda and no default: the platform is 'cpu'.",
    ),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_wrong_call(number: int) -> None:
    call, error, text = WRONG[number]
    with pytest.raises(error, match=re.escape(text)) as caught:
        call()
    assert f"{__file__}:" in str(caught.value), "the message does not name the user's line"


def test_the_line_is_named_inside_jit_too() -> None:
    with pytest.raises(IndexOutOfBoundsError, match=r"index 7 is out of bounds for axis 0 of size 2"):
        fdl.jit(lambda i: lax.gather(x23, i, ROWS, (1, 3)))(np.array([[7]]))


# --- numbers among arrays -------------------------------------------------------------------------


def test_python_numbers_take_the_dtype_of_arrays() -> None:
    assert lax.add(np.float16(1), 2.0).dtype == fnp.float16
    assert lax.add(np.ones(2, np.float16), 2).dtype == fnp.float16
    assert lax.mul(np.ones(2, np.uint8), 3).dtype == fnp.uint8
    assert lax.max(2, 3).weak_type and lax.max(2, 3).dtype == fnp.int32
    assert lax.full_like(fnp.asarray(1.0), 2).weak_type == fnp.asarray(1.0).weak_type


@pytest.mark.parametrize(
    "same",
    [
        lambda x: lax.reshape(x, (2, 3)),
        lambda x: lax.broadcast(x, ()),
        lambda x: lax.transpose(x, (0, 1)),
        lambda x: lax.pad(x, 0.0, [(0, 0, 0)] * 2),
        lambda x: lax.concatenate([x], 0),
        lambda x: lax.slice(x, (0, 0), (2, 3)),
        lambda x: lax.convert_element_type(x, "float32"),
        lambda x: lax.dynamic_slice(x, (0, 0), (2, 3)),
        lambda x: lax.reduce_sum(x, ()),
        lambda x: lax.optimization_barrier(x),
    ],
)
def test_what_changes_nothing_gives_an_array_of_its_own(same: Callable[[Any], Any]) -> None:
    given = np.zeros((2, 3), np.float32)
    y = same(given)
    given[:] = 1
    assert isinstance(y, fdl.Array) and not np.asarray(y).any()


# --- shapes that are computed ---------------------------------------------------------------------


def test_shapes_of_convolutions() -> None:
    nhwc = ("NHWC", "HWIO", "NHWC")
    x, f = np.ones((2, 9, 8, 3), np.float32), np.ones((3, 2, 3, 4), np.float32)
    assert (
        lax.conv_general_shape_tuple(x.shape, f.shape, (2, 3), "SAME", nhwc)
        == lax.conv_general_dilated(x, f, (2, 3), "SAME", dimension_numbers=nhwc).shape
    )
    assert (
        lax.conv_transpose_shape_tuple(x.shape, f.shape, (2, 3), "VALID", nhwc)
        == lax.conv_transpose(x, f, (2, 3), "VALID").shape
    )
    assert lax.conv_shape_tuple((2, 3, 9), (4, 3, 2), (2,), [(1, 1)]) == (2, 4, 5)
    assert lax.conv_general_permutations(nhwc) == ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
    assert lax.conv_dimension_numbers((1, 2, 3), (1, 2, 3), None) == lax.ConvDimensionNumbers((0, 1, 2), (0, 1, 2), (0, 1, 2))
    assert lax.padtype_to_pads((5, 6), (2, 3), (1, 2), "SAME") == [(0, 1), (0, 1)]
    assert lax.padtype_to_pads((5, 6), (2, 3), (1, 2), "SAME_LOWER") == [(1, 0), (1, 0)]
    assert lax.reduce_window_shape_tuple((5, 6), (2, 3), (1, 2), "VALID", (1, 2), (2, 1)) == (3, 5)
    assert lax.broadcast_shapes((2, 1), (3,), ()) == (2, 3)


def test_small_functions() -> None:
    assert lax.dtype(np.int8(3)) == fnp.int8 and lax.dtype(2.0) == fnp.float32
    assert lax.empty((2, 0), "int8").shape == (2, 0)
    assert lax.zeros_like_array(x3).tolist() == [0, 0, 0]
    swapped = fdl.vmap(lambda x: lax.pswapaxes(x, "i", 1), axis_name="i")(np.arange(8).reshape(2, 2, 2))
    np.testing.assert_array_equal(np.asarray(swapped), np.arange(8).reshape(2, 2, 2).transpose(2, 1, 0))


def test_a_barrier_is_not_merged() -> None:
    def f(x: Any) -> Any:
        return fnp.sin(x) + fnp.sin(lax.optimization_barrier(x))

    assert [e.primitive.name for e in fdl.jit(f).lower(x3).program.equations].count("sin") == 2


def test_reductions_are_recognised() -> None:
    for computation, name in (
        (lax.add, "reduce_sum"),
        (lambda a, b: b + a, "reduce_sum"),
        (fnp.maximum, "reduce_max"),
        (lax.mul, "reduce_prod"),
    ):
        assert name in str(fdl.make_ir(lambda x, c=computation: lax.reduce(x, 0.0, c, (0,)))(x3))
    assert "window_sum" in str(fdl.make_ir(lambda x: lax.reduce_window(x, 0.0, lax.add, (2,)))(x3))
    assert "scan" in str(fdl.make_ir(lambda x: lax.reduce(x, 0.0, lambda a, b: a + 2 * b, (0,)))(x3))


def test_eigenvectors_from_the_left() -> None:
    a = np.random.default_rng(0).normal(size=(2, 5, 5))
    w, left, right = (np.asarray(v) for v in lax.linalg.eig(a))
    np.testing.assert_allclose(
        np.conj(np.swapaxes(left, 1, 2)) @ a, w[:, :, None] * np.conj(np.swapaxes(left, 1, 2)), atol=1e-10
    )
    np.testing.assert_allclose(a @ right, right * w[:, None, :], atol=1e-10)
    np.testing.assert_allclose(np.abs(left**2).sum(1), 1, atol=1e-10)
    assert len(lax.linalg.eig(a, compute_left_eigenvectors=False, compute_right_eigenvectors=False)) == 1


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_reflections_of_complex_matrices(dtype: Any) -> None:
    rng = np.random.default_rng(1)
    a = (rng.normal(size=(5, 5)) + (1j * rng.normal(size=(5, 5)) if dtype == np.complex128 else 0)).astype(dtype)
    packed, taus = (np.asarray(v) for v in lax.linalg.hessenberg(a))
    q = np.eye(5, dtype=dtype)
    q[1:, 1:] = np.asarray(lax.linalg.householder_product(packed[1:, :-1], taus))
    np.testing.assert_allclose(q @ np.triu(packed, -1) @ q.conj().T, a, atol=1e-10)
    h = a + a.conj().T
    for lower in (True, False):
        packed, d, e, taus = (np.asarray(v) for v in lax.linalg.tridiagonal(h, lower=lower))
        np.testing.assert_allclose(
            np.linalg.eigvalsh(np.diag(d) + np.diag(e, 1) + np.diag(e, -1)), np.linalg.eigvalsh(h), atol=1e-10
        )
        # Only one triangle is read.
        half = np.tril(h) if lower else np.triu(h)
        np.testing.assert_array_equal(np.asarray(lax.linalg.tridiagonal(half, lower=lower)[1]), d)


# --- properties -----------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.data())
def test_reduce_window_is_a_loop_over_windows(data: st.DataObject) -> None:
    draw = data.draw
    n = draw(st.integers(1, 9), "n")
    size, step, apart = (draw(st.integers(1, 3), w) for w in ("window", "stride", "dilation"))
    low, high = draw(st.integers(0, 3), "low"), draw(st.integers(0, 3), "high")
    x = np.random.default_rng(n).normal(size=n)
    if n + low + high < (size - 1) * apart + 1:
        return
    got = np.asarray(
        lax.reduce_window(x, 0.0, lambda a, b: a + b + a * b, (size,), (step,), [(low, high)], window_dilation=(apart,))
    )
    wanted = []
    for start in range(-low, n + high - (size - 1) * apart, step):
        total = 0.0
        for k in range(size):
            if 0 <= start + k * apart < n:
                total = total + x[start + k * apart] + total * x[start + k * apart]
        wanted.append(total)
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 4), st.sampled_from(["clip", "fill", "raise"]))
def test_gather_of_windows_is_slices(seed: int, width: int, count: int, mode: str) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(5, 3))
    width = min(width, 5)
    inside = mode == "raise"
    starts = rng.integers(0, 6 - width, count) if inside else rng.integers(-4, 9, count)
    numbers = lax.GatherDimensionNumbers((1, 2), (), (0,))
    got = np.asarray(lax.gather(x, starts[:, None], numbers, (width, 3), mode=mode))
    for row, i in zip(got, starts, strict=True):
        k = int(np.clip(i, 0, 5 - width))
        wanted = x[k : k + width] if mode != "fill" or k == i else np.full((width, 3), np.nan)
        np.testing.assert_array_equal(row, wanted)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.booleans())
def test_top_k_is_a_stable_sort(seed: int, k: int, floats: bool) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 4, 12).astype(np.float64 if floats else np.int32)
    if floats:
        x[rng.integers(0, 12)] = np.nan
    values, places = (np.asarray(v) for v in lax.top_k(x, k))
    key = np.where(np.isnan(x), np.inf, x) if floats else x
    order = np.argsort(-key, kind="stable")[:k]
    np.testing.assert_array_equal(places, order)
    np.testing.assert_array_equal(values, x[order])


def test_zero_sizes_and_large() -> None:
    assert lax.sort(np.ones((0, 3), np.float32), 0).shape == (0, 3)
    assert lax.dot(np.ones((0, 3), np.float32), x23.T).shape == (0, 2)
    assert lax.reduce(np.ones((3, 0), np.float32), 1.0, lambda a, b: a * 2 + b, (0,)).shape == (0,)
    big = np.arange(300_000, dtype=np.float32)
    assert int(lax.argmax(big, 0, "int32")) == 299_999
    np.testing.assert_array_equal(np.asarray(lax.top_k(big, 3)[1]), [299_999, 299_998, 299_997])
    rows = lax.gather(big.reshape(100_000, 3), np.array([[99_999], [0]]), ROWS, (1, 3))
    assert rows.tolist() == [[299_997, 299_998, 299_999], [0, 1, 2]]
