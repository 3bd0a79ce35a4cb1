"""Padding, construction, assembling, and functions of functions against NumPy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy_rest import agree, check_grads, check_vmap, integers, same, sample, traced

import fdl
import fdl.numpy as fnp
from fdl.tracer.errors import ConcretizationError, DTypeError, IndexOutOfBoundsError, ShapeError

# --- padding --------------------------------------------------------------------------------------

PADS: list[tuple[str, dict[str, Any]]] = [
    ("constant", {}), ("constant", {"constant_values": 3}), ("constant", {"constant_values": ((1, 2), (3, 4))}), ("edge", {}), ("wrap", {}),
    ("linear_ramp", {}), ("linear_ramp", {"end_values": (5.0, -2.0)}), ("maximum", {}), ("minimum", {"stat_length": 2}), ("mean", {}),
    ("mean", {"stat_length": ((1, 2), (3, 9))}), ("median", {"stat_length": (2, 3)}), ("reflect", {}), ("reflect", {"reflect_type": "odd"}),
    ("symmetric", {}), ("symmetric", {"reflect_type": "odd"}),
]  # fmt: skip
WIDTHS: list[Any] = [2, (1, 3), ((0, 2), (3, 0)), ((7, 11), (12, 9)), 0, {1: (1, 2)}, {-1: 2}]


@pytest.mark.parametrize("case", PADS, ids=lambda c: c[0] + "".join(map(str, c[1])))
def test_pad(case: tuple[str, dict[str, Any]]) -> None:
    mode, options = case
    x = sample((3, 4))
    for k, width in enumerate(WIDTHS):
        agree("pad", x, width, mode, trace=k == 3, **options)
    agree("pad", x[:1, :], 3, mode, trace=False, **options)
    if mode != "linear_ramp":
        agree("pad", integers((3, 4), -9, 9), ((2, 1), (1, 4)), mode, trace=False, **options)
    agree("pad", integers((3, 4), -9, 9), ((2, 1), (1, 4)), mode, trace=False, **options)
    check_grads(lambda x: fnp.pad(x, ((1, 2), (3, 1)), mode, **options), x)
    check_vmap(lambda x: fnp.pad(x, ((1, 2), (3, 1)), mode, **options), sample((2, 3, 4)))
    same(
        traced(lambda x: fnp.pad(x, ((1, 2), (13, 1)), mode, **options), x, backend="llvm"),
        np.pad(x, ((1, 2), (13, 1)), mode, **options),
    )


@settings(max_examples=80)
@given(
    st.integers(1, 5),
    st.integers(0, 14),
    st.integers(0, 14),
    st.sampled_from(["reflect", "symmetric", "wrap"]),
    st.sampled_from(["even", "odd"]),
)
def test_pads_wider_than_the_array(n: int, low: int, high: int, mode: str, kind: str) -> None:
    # NumPy below 2.2 repeated wide odd reflections of one element by steps of its own.
    assume(kind == "even" or n > 1)
    options = {} if mode == "wrap" else {"reflect_type": kind}
    x = sample((n,), n)
    same(fnp.pad(x, (low, high), mode, **options), np.pad(x, (low, high), mode, **options), 1e-9, 1e-9)  # type: ignore[call-overload]


@pytest.mark.parametrize("mode", ["mean", "median", "linear_ramp"])
def test_margins_of_bools_are_whether_the_value_is_not_zero(mode: str) -> None:
    x = np.array([[True, False, False], [True, True, False]])
    assert fnp.pad(x, ((1, 2), (2, 1)), mode).tolist() == np.pad(x, ((1, 2), (2, 1)), mode).tolist()


def test_pad_by_a_function_and_errors() -> None:
    def fill(v: Any, width: tuple[int, int], axis: int, options: dict[str, Any]) -> Any:
        v[: width[0]] = options.get("by", 10) + axis
        v[len(v) - width[1] :] = -axis
        return v

    def fill_fdl(v: Any, width: tuple[int, int], axis: int, options: dict[str, Any]) -> Any:
        return v.at[: width[0]].set(options.get("by", 10) + axis).at[len(v) - width[1] :].set(-axis)

    x = sample((2, 3))
    same(fnp.pad(x, ((1, 2), (3, 1)), fill_fdl, by=4), np.pad(x, ((1, 2), (3, 1)), fill, by=4))
    assert fnp.pad(x, 1, "empty").shape == (4, 5)
    agree("pad", np.zeros((0, 2)), 1)
    assert fnp.pad(3.0, ()).shape == () and float(fnp.pad(3.0, ())) == 3.0
    for f, text in (
        (lambda: fnp.pad(x, -1), "must not be negative"),
        (lambda: fnp.pad(x, 1, "mirror"), "mode 'mirror'"),
        (lambda: fnp.pad(x, 1, "edge", stat_length=2), "mode 'edge' takes no options, got stat_length"),
        (lambda: fnp.pad(np.zeros((0, 2)), 1, "edge"), "nothing to repeat"),
        (lambda: fnp.pad(x, ((1, 2),) * 3), "does not fit 2 axes"),
        (lambda: fnp.pad(x, 1, "mean", stat_length=0), "at least 1"),
        (lambda: fnp.pad(x, 1, "reflect", reflect_type="both"), "'even' or 'odd'"),
    ):
        with pytest.raises(ShapeError, match=text):
            f()
    with pytest.raises(DTypeError, match="widths must be integers"):
        fnp.pad(x, 1.5)
    with pytest.raises(ConcretizationError, match="Make pad_width static"):
        fdl.jit(fnp.pad)(x, np.array(2))


# --- construction ---------------------------------------------------------------------------------


def test_diagonals() -> None:
    for k in (-3, -1, 0, 1, 2):
        agree("diag", sample((4,)), k, compiled=k == 1)
        agree("diag", sample((3, 4)), k)
        agree("diagflat", sample((2, 2)), k)
        agree("diag", np.zeros(0), k)
    agree("diag_indices", 4, 3, trace=False)
    agree("diag_indices_from", np.zeros((3, 3)), trace=False)
    for shape in ((3, 4), (4, 3), (4, 4)):
        for k in (-2, 0, 1):
            agree("tril_indices", shape[0], k, shape[1], trace=False)
            agree("triu_indices", shape[0], k, shape[1], trace=False)
            agree("tril_indices_from", np.zeros(shape), k, trace=False)
            agree("triu_indices_from", np.zeros(shape), k, trace=False)
    same(fnp.mask_indices(3, fnp.triu, 1), np.mask_indices(3, np.triu, 1))
    check_grads(lambda v: fnp.diag(fnp.diag(v, -1) @ fnp.diag(v, 1), 1), sample((3,)))
    check_vmap(lambda v: fnp.diag(v, -1), sample((4, 3)))
    with pytest.raises(ShapeError, match="one or two axes"):
        fnp.diag(np.zeros((2, 2, 2)))


def test_grids() -> None:
    for sizes in ((2, 3), (4,), (), (2, 0)):
        agree("indices", sizes, trace=False)
        same(fnp.indices(sizes, sparse=True), list(np.indices(sizes, sparse=True)))
    same(fnp.mgrid[0:3, 1:7:2], np.mgrid[0:3, 1:7:2])
    same(fnp.mgrid[0:1:5j], np.mgrid[0:1:5j])
    same(fnp.mgrid[-1:1:3j, 0:2], np.mgrid[-1:1:3j, 0:2])
    same(fnp.ogrid[0:3, 1:7:2], list(np.ogrid[0:3, 1:7:2]))
    same(fnp.ogrid[2:5], np.ogrid[2:5])
    a, b = np.array([1.0, 2.0]), np.array([[3.0, 4.0]])
    same(fnp.r_[a, 0.5, 7.0, a], np.r_[a, 0.5, 7.0, a])
    same(fnp.r_[1:4, 0, 4], np.r_[1:4, 0, 4])
    same(fnp.r_["0,2", a, a], np.r_["0,2", a, a])
    same(fnp.r_["1,2,0", a, a], np.r_["1,2,0", a, a])
    same(fnp.r_["0,3,1", b, b], np.r_["0,3,1", b, b])
    same(fnp.c_[a, a], np.c_[a, a])
    same(fnp.c_[b, 0 * b], np.c_[b, 0 * b])
    same(fnp.r_[0:1:3j], np.r_[0:1:3j])
    same(
        fnp.fromfunction(lambda i, j: i * 10 + j, (2, 3), dtype="i4"),
        np.fromfunction(lambda i, j: i * 10 + j, (2, 3), dtype="i4"),
    )
    with pytest.raises(DTypeError, match="expected slices"):
        fnp.mgrid[3]


def test_rules_and_buffers() -> None:
    for n in (None, 0, 1, 4):
        for increasing in (False, True):
            agree("vander", sample((3,)), n, increasing)
    check_grads(lambda x: fnp.vander(x, 4), sample((3,)))
    data = np.arange(6, dtype="i4").tobytes()
    agree("frombuffer", data, "i4", 3, 4, trace=False)
    same(fnp.fromiter((k * k for k in range(5)), "f8"), np.fromiter((k * k for k in range(5)), "f8"))
    same(fnp.fromstring("1 2 3", "i4", sep=" "), np.array([1, 2, 3], "i4"))


def test_numbers_of_elements() -> None:
    sizes = (3, 4, 2)
    x = integers((5, 2), 0, 24)
    agree("unravel_index", x, sizes, compiled=True)
    agree("ravel_multi_index", tuple(np.unravel_index(x, sizes)), sizes, trace=False)
    i = tuple(integers((4,), -9, 9, seed=k) for k in range(3))
    for mode in ("wrap", "clip", ("clip", "wrap", "clip")):
        agree("ravel_multi_index", i, sizes, mode)
    agree("ravel_multi_index", tuple(np.unravel_index(x, sizes)), sizes, "clip", "F")
    assert [int(v) for v in fnp.unravel_index(-1, sizes)] == [2, 3, 1]
    assert [int(v) for v in fdl.jit(lambda x: fnp.unravel_index(x, sizes))(99)] == [2, 3, 1]
    with pytest.raises(IndexOutOfBoundsError, match="24 is out of bounds for shape"):
        fnp.unravel_index(24, sizes)
    with pytest.raises(IndexOutOfBoundsError, match="axis 1 is out of bounds: expected 0 to 3"):
        fnp.ravel_multi_index((0, 4, 0), sizes)
    with pytest.raises(ConcretizationError, match="Choose mode="):
        fdl.jit(lambda x: fnp.ravel_multi_index((x, x, x), sizes))(1)


# --- assembling -----------------------------------------------------------------------------------


def test_append_block_resize() -> None:
    x, y = sample((2, 3)), sample((1, 3), 1)
    agree("append", x, y, 0)
    agree("append", x, 5.0)
    agree("block", [[x, x], [y, y]])
    agree("block", [x[0], y[0], 3.0])
    agree("block", [[np.eye(2), np.zeros((2, 1))], [np.ones((1, 3))]])
    agree("block", x)
    agree("block", [[[x]], [[x]]])
    for shape in ((5,), (2, 2), (3, 7), (), (0, 2)):
        agree("resize", x, shape)
    agree("resize", np.zeros(0), (2, 2))
    for axis, start in itertools.product(range(-3, 3), range(-3, 4)):
        agree("rollaxis", sample((2, 3, 4)), axis, start, trace=False)
    for name, a in (
        ("hsplit", sample((4, 6))),
        ("hsplit", sample(6)),
        ("vsplit", sample((4, 2))),
        ("dsplit", sample((2, 3, 4))),
    ):
        for cut in (2, [1, 3]):
            agree(name, a, cut)
    for f, text in (
        (lambda: fnp.block([[x], x]), r"nested \[0, 1\] deep"),
        (lambda: fnp.block([[]]), r"arrays\[0\] is empty"),
        (lambda: fnp.vsplit(np.zeros(3), 3), "at least 2 axes"),
    ):
        with pytest.raises(ShapeError, match=text):
            f()
    with pytest.raises(DTypeError, match="is a tuple"):
        fnp.block((x, x))


def test_insert_delete_trim() -> None:
    x = sample((3, 4))
    for obj, values, axis in (
        (1, 5.0, None),
        (1, sample((4,), 1), 0),
        (1, sample((3,), 1), 1),
        ([0, 2], 7.0, 1),
        ([1], sample((3, 2), 1), 1),
        (-1, sample((4,), 1), 0),
        (slice(0, 4, 2), sample((2,), 1), 1),
        ([1, 1, 3], sample((3, 3), 1), 1),
        (4, sample((3,), 2), 1),
        ([3, 1], [[1.0, 2.0]], 1),
        ([True, False, True], 9.0, 0),
        (2, sample((2, 4)), 0),
        (1, sample((2, 3), 3), 1),
    ):
        agree(
            "insert",
            x,
            obj if not isinstance(obj, list) else np.array(obj, bool if obj and isinstance(obj[0], bool) else int),
            values,
            axis,
            trace=False,
        )
    same(traced(lambda x, v: fnp.insert(x, 1, v, 0), x, sample((4,), 1)), np.insert(x, 1, sample((4,), 1), 0))
    for obj, axis in (
        (1, 0),
        (-1, 1),
        ([0, 2], 1),
        (slice(None, None, 2), 1),
        ([0, 0], 0),
        (5, None),
        ([True, False, True], 0),
        ([], 0),
    ):
        agree("delete", x, obj if obj != [] else np.array([], int), axis, trace=False)
    same(fdl.jit(lambda x, i: fnp.delete(x, i, 1))(x, 2), np.delete(x, 2, 1))
    same(fdl.jit(lambda x, i: fnp.delete(x, i, 1, assume_unique_indices=True))(x, np.array([3, -4])), np.delete(x, [3, -4], 1))
    check_grads(lambda v: fnp.insert(fnp.delete(v, [0, 2], 1), 1, v[:, 0], 1), x)
    for v in ([0, 0, 1, 2, 0], [0, 0], [1, 2], []):
        for trim in ("fb", "f", "b"):
            agree("trim_zeros", np.array(v, float), trim, trace=False)
    two = np.pad(np.ones((2, 2)), ((1, 2), (2, 1)))
    assert fnp.trim_zeros(two).shape == (2, 2) and fnp.trim_zeros(two, axis=0).shape == (2, 5)
    with pytest.raises(IndexOutOfBoundsError, match="index 4 is out of bounds for an axis of size 4"):
        fnp.delete(x, 4, 1)
    with pytest.raises(IndexOutOfBoundsError, match="index 5 is out of bounds"):
        fnp.insert(x, 5, 0.0, 1)
    with pytest.raises(ConcretizationError, match="delete"):
        fdl.jit(lambda x, i: fnp.delete(x, i, 1))(x, np.array([1, 2]))


def test_bits() -> None:
    for shape, axis in (((11,), None), ((3, 9), 0), ((3, 9), 1), ((2, 8), -1), ((3, 5), None), ((0,), None)):
        x = integers(shape, 0, 2, dtype="u1")
        for order in ("big", "little"):
            agree("packbits", x, axis, order)
            packed = np.packbits(x, axis, order)
            agree("unpackbits", packed, axis, bitorder=order)
            for count in (3, 11, 30, -2) if x.size else ():
                agree("unpackbits", packed, axis, count, order, trace=False)
    same(
        traced(fnp.packbits, integers((100,), 0, 2, dtype="u1"), backend="llvm"),
        np.packbits(integers((100,), 0, 2, dtype="u1")),
    )
    with pytest.raises(DTypeError, match="expected dtype uint8"):
        fnp.unpackbits(np.arange(3))


def test_text() -> None:
    x = fnp.asarray([1.0, 2.5])
    assert fnp.array_repr(x) == "Array([1. , 2.5], dtype=float32)" and fnp.array_str(x) == "[1.  2.5]"


# --- functions of functions -----------------------------------------------------------------------


def test_apply() -> None:
    x = sample((2, 3, 4))
    for axis in (0, 1, -1):
        same(fnp.apply_along_axis(lambda v: v.sum(), axis, x), np.apply_along_axis(lambda v: v.sum(), axis, x))
        same(fnp.apply_along_axis(lambda v: v[::-1] * 2, axis, x), np.apply_along_axis(lambda v: v[::-1] * 2, axis, x))
        same(
            fnp.apply_along_axis(lambda v: v[:, None] * v[:2], axis, x),
            np.apply_along_axis(lambda v: v[:, None] * v[:2], axis, x),
        )
        same(traced(lambda x, a=axis: fnp.apply_along_axis(fnp.sort, a, x), x), np.sort(x, axis))
    same(fnp.apply_over_axes(lambda v, a: v.sum(a), x, [0, 2]), np.apply_over_axes(np.sum, x, [0, 2]))
    with pytest.raises(ShapeError, match="expected as many axes"):
        fnp.apply_over_axes(lambda v, a: v.sum(), x, [0])
    check_grads(lambda v: fnp.apply_along_axis(lambda r: r * r[0], 1, v), sample((2, 3)))


def test_piecewise() -> None:
    x = sample((7,))
    for functions in ([-1.0, 1.0], [lambda v: v * v, 2.0], [lambda v: -v, lambda v: v + 1, lambda v: 0.5 * v]):
        agree("piecewise", x, [x < -1, x > 0.5], functions)
    agree("piecewise", x, x > 0, [lambda v: v, lambda v: -v])
    agree("piecewise", x, [x > 0], [lambda v, c: v * c, lambda v, c: c], 3.0)
    check_grads(lambda v: fnp.piecewise(v, [v < 0, v > 1], [lambda z: z * z, lambda z: z**3, fnp.sin]), x)
    with pytest.raises(ShapeError, match="2 conditions and 1 functions"):
        fnp.piecewise(x, [x > 0, x < 0], [1.0])


def test_vectorize() -> None:
    def clipped(a: Any, b: Any) -> Any:
        return fnp.where(a > b, a - b, a + b)

    x, y = sample((3, 1)), sample((4,), 1)
    same(fnp.vectorize(clipped)(x, y), np.where(x > y, x - y, x + y))
    same(fnp.vectorize(clipped)(1.0, 2.0), np.array(3.0, "f4"))
    dot = fnp.vectorize(lambda a, b: fnp.sum(a * b), signature="(n),(n)->()")
    same(dot(sample((5, 1, 3)), sample((2, 3), 1)), np.vecdot(sample((5, 1, 3)), sample((2, 3), 1)))
    same(traced(dot, sample((5, 3)), sample((3,), 1)), sample((5, 3)) @ sample((3,), 1))
    both = fnp.vectorize(lambda m, v: (m @ v, m.sum()), signature="(m,n),(n)->(m),()")
    a, b = both(sample((4, 2, 3)), sample((3,), 1))
    same(a, sample((4, 2, 3)) @ sample((3,), 1))
    same(b, sample((4, 2, 3)).sum((1, 2)))
    scaled = fnp.vectorize(lambda p, v, k=1: p[0] * v**k, excluded={0, "k"})
    same(scaled([2.0], y, k=3), 2 * y**3)
    named = fnp.vectorize(lambda a, b: a * b)
    same(named(x, b=y), x * y)
    check_grads(lambda v: dot(v, v), sample((2, 3)))
    for f, text in (
        (lambda: dot(np.ones(3), np.ones(4)), "core axis 'n' of argument 1 has size 4, expected 3"),
        (lambda: dot(np.ones(3)), "has 2 arguments, the call 1"),
        (lambda: fnp.vectorize(lambda a: a, signature="(n)->()")(np.ones((2, 3))), r"a result has shape \(3,\)"),
        (lambda: fnp.vectorize(lambda a: a, signature="n->n"), "is not understood"),
        (lambda: dot(np.ones((2, 3)), np.ones((5, 3))), "do not broadcast"),
        (lambda: fnp.vectorize(lambda a: fnp.stack([a, a]))(np.ones(2)), "returns scalars"),
    ):
        with pytest.raises(ShapeError, match=text):
            f()
