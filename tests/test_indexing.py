"""Indexing and updates against NumPy: index expressions drawn at random, known and traced, in every mode; derivatives; vmap."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fdl
import fdl.numpy as fnp
from fdl.numpy import dynamic
from fdl.tracer.array import Array
from fdl.tracer.errors import ConcretizationError, DTypeError, IndexingError, IndexOutOfBoundsError, ShapeError
from tests.listings import loops_of

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module", autouse=True)
def reference() -> Any:
    with fdl.config.using(backend="reference"):  # what is compiled says so
        yield


def sample(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-2, 2, shape)


def same(got: Any, want: Any) -> None:
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape and got.dtype == want.dtype, (got.shape, got.dtype, want.shape, want.dtype)
    np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-13)


# --- index expressions ----------------------------------------------------------------------------


@st.composite
def cases(draw: Any, out_of_bounds: bool = False, masks: bool = True) -> tuple[tuple[int, ...], Any]:
    """A shape and an index for it, which NumPy may yet refuse: lengths of arrays need not fit each other."""
    shape = tuple(draw(st.lists(st.integers(0, 4) if draw(st.booleans()) else st.integers(1, 4), max_size=4)))
    extra = 3 if out_of_bounds else 0
    lead = draw(st.sampled_from([(), (2,), (3,), (2, 3), (1,), (0,)]))
    items: list[Any] = []
    axis = 0
    ellipsis = False
    while axis < len(shape) and draw(st.integers(0, 9)) < 8:
        n = shape[axis]
        kind = draw(st.sampled_from(["int", "slice", "array", "none", "ellipsis", "mask", "list", "bool", "zero-d"]))
        if kind == "none":
            items.append(None)
            continue
        if kind == "ellipsis":
            if not ellipsis:
                skip = draw(st.integers(0, len(shape) - axis))
                ellipsis, axis = True, axis + skip
                items.append(Ellipsis)
            continue
        if kind == "bool":
            if masks and draw(st.integers(0, 3)) == 0:
                items.append(draw(st.sampled_from([True, np.bool_(True), np.array(True), False])))
            continue
        if kind == "mask" and masks:
            rank = draw(st.integers(1, len(shape) - axis))
            bits = shape[axis : axis + rank]
            seed = draw(st.integers(0, 99))
            items.append(np.random.default_rng(seed).random(bits) < 0.6)
            axis += rank
            continue
        if kind == "slice":
            step = draw(st.sampled_from([None, 1, 2, 3, -1, -2, -3]))
            bounds = [draw(st.one_of(st.none(), st.integers(-n - 2, n + 2))) for _ in range(2)]
            items.append(slice(bounds[0], bounds[1], step))
        elif n == 0 and not out_of_bounds:
            items.append(slice(None))
        elif kind == "int":
            items.append(draw(st.integers(-n - extra, n - 1 + extra)))
        else:
            one = () if kind == "zero-d" else draw(st.sampled_from([lead, lead[-1:], (1,) * len(lead)]))
            dtype = draw(st.sampled_from(["i8", "i4", "i1", "u1"]))
            low = 0 if dtype == "u1" else -n - extra
            values = draw(
                st.lists(st.integers(low, max(n - 1 + extra, low)), min_size=int(np.prod(one)), max_size=int(np.prod(one)))
            )
            array = np.array(values, dtype).reshape(one)
            items.append(array.tolist() if kind == "list" and array.size and array.ndim else array)
        axis += 1
    index = tuple(items)
    return shape, index[0] if len(index) == 1 and draw(st.booleans()) else index


def _agrees(read: Callable[[], Any], x: np.ndarray, index: Any) -> None:
    try:
        want = x[index]
    except IndexError:
        if not _picks_nothing(index):  # NumPy looks at some indices even so, a program at none
            with pytest.raises(IndexError):
                read()
        return
    same(read(), want)


def _picks_nothing(index: Any) -> bool:
    items = [np.asarray(i) for i in (index if isinstance(index, tuple) else (index,)) if isinstance(i, (list, np.ndarray))]
    shapes = [(int(i.sum()),) if i.dtype == bool else i.shape for i in items]
    return any(0 in s for s in shapes)


@settings(max_examples=500)
@given(cases())
def test_reading(case: tuple[tuple[int, ...], Any]) -> None:
    shape, index = case
    x = sample(shape)
    _agrees(lambda: fnp.asarray(x)[index], x, index)
    # An out-of-bounds mode takes the general path also for what is in bounds.
    _agrees(lambda: fnp.asarray(x).at[index].get(mode="wrap"), x, index)


@settings(max_examples=120)
@given(cases(out_of_bounds=True))
def test_reading_out_of_bounds(case: tuple[tuple[int, ...], Any]) -> None:
    shape, index = case
    x = sample(shape)
    _agrees(lambda: fnp.asarray(x)[index], x, index)


def _split(index: Any) -> tuple[list[np.ndarray], Callable[..., Any]]:
    """The integer arrays of an index, and what puts others in their places."""
    items = list(index) if isinstance(index, tuple) else [index]
    places = [k for k, i in enumerate(items) if isinstance(i, np.ndarray) and i.dtype.kind in "iu"]

    def joined(*arrays: Any) -> Any:
        full = [arrays[places.index(k)] if k in places else i for k, i in enumerate(items)]
        return tuple(full) if isinstance(index, tuple) else full[0]

    return [items[k] for k in places], joined


@settings(max_examples=250)
@given(cases(out_of_bounds=True))
def test_reading_at_traced_indices(case: tuple[tuple[int, ...], Any]) -> None:
    shape, index = case
    x = sample(shape)
    arrays, joined = _split(index)
    _agrees(lambda: fdl.jit(lambda x, *arrays: x[joined(*arrays)])(x, *arrays), x, index)


COMPILED = [
    ((4, 3, 5), (slice(None, None, -2), np.array([2, -1]), 1)), ((4, 3), (np.array([[0], [3]]), np.array([1, -3]))), ((5,), np.array(-2)),
    ((4, 3, 5), (np.array([1, -4]), slice(3, 0, -1), np.array([0, 4]))), ((3, 0), np.array([1, 2])), ((4, 3), (None, 1, np.array([], int))),
    ((2, 3, 4), (..., np.array([0, 2, 2]), slice(1, None))), ((3, 2), (np.array([True, False, True]), np.array([1, 0], "u1"))),
    ((6,), (np.array([[5, 0], [-6, 2]], "i1"), True)),
]  # fmt: skip


@pytest.mark.parametrize("k", range(len(COMPILED)))
def test_compiled(k: int) -> None:
    shape, index = COMPILED[k]
    x = sample(shape)
    arrays, joined = _split(index)
    v = sample(x[index].shape, 1)
    changed, added = x.copy(), x.copy()
    changed[index] = v
    np.add.at(added, index, v)

    @fdl.jit
    def f(x: Any, v: Any, *arrays: Any) -> Any:
        i = joined(*arrays)
        return x[i], x.at[i].set(v), x.at[i].add(v)

    with fdl.config.using(backend="llvm"):
        for got, want in zip(f(x, v, *arrays), (x[index], changed, added), strict=True):
            same(got, want)


# --- updates --------------------------------------------------------------------------------------

UFUNCS: dict[str, Any] = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide, "min": np.minimum, "max": np.maximum,
}  # fmt: skip


def _updated(x: np.ndarray, index: Any, values: Any, how: str) -> np.ndarray:
    out = x.copy()
    if how == "set":
        out[index] = values
    else:
        UFUNCS[how].at(out, index, values)
    return out


@settings(max_examples=300)
@given(cases(), st.sampled_from(["set", *UFUNCS]), st.integers(0, 3), st.booleans())
def test_updates(case: tuple[tuple[int, ...], Any], how: str, kind: int, traced: bool) -> None:
    shape, index = case
    x = sample(shape)
    try:
        result = x[index].shape
    except IndexError:
        with pytest.raises(IndexError):
            fnp.asarray(x).at[index].set(1.0)
        return
    values = [1.5, sample(result, 2), sample(result[-1:], 3), sample((1, 1, *result), 4)][kind]
    want = _updated(x, index, values[0, 0] if kind == 3 else values, how)
    if traced:
        arrays, joined = _split(index)
        got = fdl.jit(lambda x, v, *arrays: getattr(x.at[joined(*arrays)], how)(v))(x, values, *arrays)
    else:
        got = getattr(fnp.asarray(x).at[index], how)(values)
    same(got, want)


def test_power_and_apply_count_repetitions() -> None:
    x = fnp.asarray([2.0, 3.0, 5.0], "f64")
    i = np.array([0, 0, 2])
    for take in (lambda f: f(x, i), lambda f: fdl.jit(f)(x, i)):
        assert take(lambda x, i: x.at[i].power(2.0)).tolist() == [16.0, 3.0, 25.0]
        assert take(lambda x, i: x.at[i].apply(lambda v: v * v)).tolist() == [16.0, 3.0, 25.0]
        assert take(lambda x, i: x.at[i].divide(fnp.asarray([2.0, 4.0, 5.0], "f64"))).tolist() == [0.25, 3.0, 1.0]
    assert x.at[1:].apply(fnp.negative).tolist() == [2.0, -3.0, -5.0]
    assert x.at[np.array([5, 1])].apply(fnp.negative, mode="drop").tolist() == [2.0, -3.0, 5.0]
    assert fnp.asarray([7, -7, 9]).at[:2].divide(2).tolist() == [3, -3, 9]
    y = fdl.grad(lambda x: x.at[np.array([0, 0])].apply(lambda v: v * v)[0])(x)
    assert y.tolist() == [32.0, 0.0, 0.0]  # x⁴


def test_masks_under_jit() -> None:
    x = sample((3, 4))
    for mask, index in (
        (x > 0, lambda m: m), (x[:, 0] > 0, lambda m: m), (x[0] > 0, lambda m: (slice(None), m)), (x[1] > 0, lambda m: (..., m)),
        (x[:, 1] > 0, lambda m: (m, ...)),
    ):  # fmt: skip
        i = index(mask)
        for values in (7.0, np.array([7.0])):
            want = x.copy()
            want[i] = values
            same(fdl.jit(lambda x, m, index=index, v=values: x.at[index(m)].set(v))(x, mask), want)
            same(fnp.asarray(x).at[i].set(values), want)
        want = x.copy()
        want[i] *= 3.0
        same(fdl.jit(lambda x, m, index=index: x.at[index(m)].multiply(3.0))(x, mask), want)
    row = sample((4,), 5)
    want = x.copy()
    want[x[:, 0] > 0] = row
    same(fdl.jit(lambda x, m: x.at[m].set(row))(x, x[:, 0] > 0), want)
    same(
        fnp.asarray(x).at[x > 0].set(np.arange(np.sum(x > 0)) * 1.0), _updated(x, x > 0, np.arange(np.sum(x > 0)) * 1.0, "set")
    )
    with pytest.raises(ConcretizationError, match=r"traced boolean mask.*where\(mask, x, y\)(?s:.*)nonzero\(mask, size=n") as e:
        fdl.jit(lambda x: x[x > 0])(x)
    assert "test_indexing.py" in str(e.value)
    with pytest.raises(ConcretizationError, match=r"the mask is traced.*nonzero\(mask, size=n\)"):
        fdl.jit(lambda x, v: x.at[x > 0].set(v))(x, np.ones(3))
    g = fdl.grad(lambda x: x[x > 0].sum() ** 2)(x)  # under grad alone the values are known
    same(g, np.where(x > 0, 2 * x[x > 0].sum(), 0))


def test_modes() -> None:
    x = np.arange(4.0)
    i = np.array([0, 5, -6, -1, 2**31 - 1])
    want = {
        "clip": [0.0, 3.0, 0.0, 3.0, 3.0],
        "wrap": [0.0, 1.0, 2.0, 3.0, 3.0],
        "fill": [0.0, 9.0, 9.0, 3.0, 9.0],
        "drop": [0.0, 9.0, 9.0, 3.0, 9.0],
    }
    written = {
        "clip": [12.0, 1.0, 2.0, 14.0], "wrap": [10.0, 11.0, 12.0, 14.0], "fill": [10.0, 1.0, 2.0, 13.0], "drop": [10.0, 1.0, 2.0, 13.0]
    }  # fmt: skip
    values = np.arange(10.0, 15.0)
    for mode, result in want.items():
        for dtype in ("i4", "i8", "u4", "i8 static"):
            if dtype == "u4":
                continue
            j = i.astype(dtype[:2])

            def f(x: Any, j: Any, mode: str = mode) -> Any:
                return x.at[j].get(mode=mode, fill_value=9), x.at[j].set(values, mode=mode)

            read, put = f(fnp.asarray(x), j) if "static" in dtype else fdl.jit(f)(x, j)
            assert read.tolist() == result and put.tolist() == written[mode], (mode, dtype)
    for k in (7, -9):
        assert fnp.asarray(x).at[k].get(mode="fill", fill_value=-1).item() == -1.0
        assert fnp.asarray(x).at[k].set(5.0, mode="drop").tolist() == x.tolist()
        assert fnp.asarray(x).at[k].get(mode="clip").item() == (3.0 if k > 0 else 0.0)
        assert fnp.asarray(x).at[k].get(mode="wrap").item() == 3.0
    assert fnp.asarray(x).at[np.array([1, 3])].get(
        mode="promise_in_bounds", indices_are_sorted=True, unique_indices=True
    ).tolist() == [1, 3]
    fills = {"f32": np.nan, "i8": -128, "u8": 255, "i32": -(2**31), "bool": True}
    for name, fill in fills.items():
        np.testing.assert_equal(fnp.zeros(2, name).at[np.array([5])].get(mode="fill").tolist(), [fill])
    with pytest.raises(ShapeError, match="mode 'bounce': expected one of raise, clip"):
        fnp.asarray(x).at[0].get(mode="bounce")


def test_wide_indices_do_not_wrap_into_the_array() -> None:
    x = np.arange(4.0)
    for bad in (np.uint64(2**63), np.uint64(2**32 + 1), np.int64(2**32 + 1), np.int64(-(2**40))):
        for index in (lambda b: b, lambda b: np.array([b])):
            with pytest.raises(IndexOutOfBoundsError):
                fnp.asarray(x)[index(bad)]
        with pytest.raises(IndexOutOfBoundsError, match="out of bounds for axis 0 of size 4"):
            fdl.jit(lambda x, i: x[i])(x, np.array([bad]))
        assert fdl.jit(lambda x, i: x.at[i].get(mode="fill", fill_value=-1))(x, np.array([bad])).tolist() == [-1.0]
    small = np.arange(300.0)
    same(fdl.jit(lambda x, i: x[i])(small, np.array([200, 7], np.uint8)), small[[200, 7]])
    same(fdl.jit(lambda x, i: x[i])(small, np.array([-1, 7], np.int8)), small[[-1, 7]])


ERRORS: list[tuple[Any, Any, type[Exception], str]] = [
    ((3, 4), 3, IndexOutOfBoundsError, "index 3 is out of bounds for axis 0 of size 3: expected -3 to 2"),
    ((3, 4), (0, -5), IndexOutOfBoundsError, "index -5 is out of bounds for axis 1 of size 4"),
    ((3, 4), (slice(None), [0, 9]), IndexOutOfBoundsError, "index 9 is out of bounds for axis 1 of size 4"),
    ((3, 4), (0, 0, 0), IndexOutOfBoundsError, r"too many indices: 3 for an array of shape \(3, 4\)"),
    ((3, 4), (..., ...), IndexingError, "only one ellipsis, got 2"),
    ((3, 4), 1.5, DTypeError, "an index must be an integer.*type float"), ((3, 4), [0.5], DTypeError, "an index must be an integer"),
    ((3, 4), "a", DTypeError, "an index must be an integer"), ((3, 4), {1}, DTypeError, "expected an array or a number|must be an integer"),
    ((3, 4), [True, False], IndexingError, r"a boolean index of shape \(2,\).*axis 0 has size 3, the mask 2"),
    ((3, 4), (0, [True, False, True]), IndexingError, "axis 1 has size 4, the mask 3"),
    ((3, 4), ([0, 1], [0, 1, 2]), IndexingError, r"\(2,\), \(3,\) do not broadcast"),
    ((3, 4), slice(None, None, 0), IndexingError, "step 0"), ((3, 4), slice(0.5, 1), DTypeError, "a slice's start must be an integer"),
    ((0, 4), 0, IndexOutOfBoundsError, "index 0 is out of bounds for axis 0 of size 0: no index is in bounds"),
]  # fmt: skip


@pytest.mark.parametrize("k", range(len(ERRORS)))
def test_errors(k: int) -> None:
    shape, index, kind, text = ERRORS[k]
    x = fnp.zeros(shape)
    for f in (lambda x: x[index], lambda x: x.at[index].set(1.0), fdl.jit(lambda x: x[index])):
        with pytest.raises(kind, match=text) as e:
            f(x)
        assert "test_indexing.py" in str(e.value)


def test_errors_of_traced_indices_name_the_line() -> None:
    x = np.arange(6.0).reshape(2, 3)

    def read(x: Any, i: Any) -> Any:
        return x[:, i] * 2

    def write(x: Any, i: Any) -> Any:
        return x.at[0, i].add(1.0)

    for backend, f in itertools.product(("llvm", "reference"), (read, write)):
        with fdl.config.using(backend=backend):
            for i, shown in ((np.array([0, 3]), 3), (np.array([-4, 1]), -4)):
                with pytest.raises(IndexOutOfBoundsError, match=f"^index {shown} is out of bounds for axis 1 of size 3") as e:
                    fdl.jit(f)(x, i)
                assert f"({f.__name__})" in str(e.value) and "test_indexing.py" in str(e.value)
    with pytest.raises(ConcretizationError, match=r"traced start.*fdl.numpy.arange"):
        fdl.jit(lambda x, i: x[i:])(x, 1)
    with pytest.raises(ShapeError, match=r"values of shape \(2,\) do not broadcast to the indexed shape \(3,\)"):
        fnp.zeros((2, 3)).at[0].set(np.ones(2))
    with pytest.raises(DTypeError, match="complex values"):
        fnp.zeros(3).at[0].set(np.array(1j))
    with pytest.raises(TypeError, match=r"x = x.at\[index\].set"):
        fnp.zeros(3)[0] = 1.0


# --- derivatives and vmap -------------------------------------------------------------------------


def _difference(f: Callable[[np.ndarray], float], x: np.ndarray, v: np.ndarray, h: float = 1e-4) -> float:
    """The derivative of f at x along v, by a central difference of order 4."""
    return (8 * (f(x + h * v) - f(x - h * v)) - (f(x + 2 * h * v) - f(x - 2 * h * v))) / (12 * h)


def _check_to_order_two(f: Callable[[Any], Any], x: np.ndarray) -> None:
    v, w = sample(x.shape, 11), sample(x.shape, 12)
    value = fdl.jit(f)
    first = fdl.jit(lambda x, v: fnp.sum(fdl.grad(f)(x) * v))
    want = _difference(lambda y: float(value(y)), x, v)
    assert abs(float(first(x, v)) - want) <= 1e-7 * (1 + abs(want))
    second = fdl.jit(lambda x, v, w: fnp.sum(fdl.grad(lambda y: fnp.sum(fdl.grad(f)(y) * v))(x) * w))
    want = _difference(lambda y: float(first(y, v)), x, w)
    assert abs(float(second(x, v, w)) - want) <= 1e-6 * (1 + abs(want))
    forward = fdl.jit(lambda x, v, w: fdl.jvp(lambda y: fdl.jvp(f, (y,), (v,))[1], (x,), (w,))[1])
    assert abs(float(forward(x, v, w)) - want) <= 1e-6 * (1 + abs(want))


REPEATED = np.array([[0, 2], [1, 1], [0, 2], [2, 0], [0, 2]])


@pytest.mark.parametrize("how", ["get", "set", "add", "multiply", "divide", "min", "max", "power", "apply"])
def test_derivatives(how: str) -> None:
    x = sample((3, 4), 7) + 3.0
    weights = sample((3, 4), 8)
    for index in ((slice(None, None, -1), 1), (REPEATED[:, 0], REPEATED[:, 1]), np.array([2, 0, 2]), (1, slice(0, 4, 2))):
        shape = x[index].shape
        u = sample(shape, 9) + 2.5

        def f(z: Any, index: Any = index, u: Any = u, shape: Any = shape) -> Any:
            target = z * z
            at_index = target.at[index]
            values = fnp.sin(u * z[0, 0]) * 0.3 + (0.5 if how == "power" else 2.0)
            if how == "get":
                return fnp.sum(fnp.sin(at_index.get()) * u)
            y = at_index.apply(fnp.sin) if how == "apply" else getattr(at_index, how)(values)
            return fnp.sum(fnp.cos(y * 0.3) * weights)

        _check_to_order_two(f, x)


def test_repeated_products_with_zeros_to_order_three() -> None:
    i = np.array([0, 1, 0, 0, 2, 1])
    u = np.array([0.0, 3.0, 0.0, 2.0, 5.0, 0.0])
    x = np.array([2.0, 1.0, 4.0])

    def f(u: Any, t: Any = 0.0) -> Any:
        return fnp.sum(fnp.asarray(x).at[i].multiply(u) * np.array([1.0, 10.0, 100.0]))

    def along(f: Callable[..., Any], v: np.ndarray) -> Callable[..., Any]:
        return lambda u: fdl.jvp(f, (u,), (v,))[1]

    v = [sample(u.shape, k) for k in range(3)]
    # f = 2 u0 u2 u3 + 10 u1 u5 + 400 u4, whose derivatives are known.
    g = [2 * u[2] * u[3], 10 * u[5], 2 * u[0] * u[3], 2 * u[0] * u[2], 400.0, 10 * u[1]]
    np.testing.assert_allclose(np.asarray(fdl.grad(f)(u)), g)
    h = np.zeros((6, 6))
    h[0, 2] = h[2, 0] = 2 * u[3]
    h[0, 3] = h[3, 0] = 2 * u[2]
    h[2, 3] = h[3, 2] = 2 * u[0]
    h[1, 5] = h[5, 1] = 10.0
    np.testing.assert_allclose(float(along(along(f, v[0]), v[1])(u)), v[0] @ h @ v[1])
    np.testing.assert_allclose(np.asarray(fdl.grad(lambda u: along(f, v[0])(u))(u)), h @ v[0], atol=1e-12)
    third = sum(2 * v[a][0] * v[b][2] * v[c][3] for a, b, c in itertools.permutations(range(3)))
    np.testing.assert_allclose(float(along(along(along(f, v[0]), v[1]), v[2])(u)), third)
    traced = fdl.jit(lambda i, u: fdl.grad(lambda u: fnp.sum(fnp.asarray(x).at[i].multiply(u, mode="drop")))(u))
    j = np.array([0, 7, 0, 1, 1, 9])
    np.testing.assert_allclose(np.asarray(traced(j, u)), [2 * u[2], 0, 2 * u[0], u[4], u[3], 0])


@pytest.mark.parametrize("axes", [(0, None, None), (None, 0, None), (1, 1, 0), (2, 0, 1), (None, 1, 0), (-1, -1, None)])
def test_vmap(axes: tuple[int | None, ...]) -> None:
    lanes, shapes = 3, ((4, 5), (2,), (2, 5))
    high = 4

    def lifted(a: np.ndarray, axis: int | None) -> Any:
        return fnp.asarray(a[0]) if axis is None else np.moveaxis(a, 0, axis)

    x, v = sample((lanes, *shapes[0])), sample((lanes, *shapes[2]), 2)
    i = np.random.default_rng(3).integers(-high, high, (lanes, *shapes[1]))
    arrays = [x, i, v]
    for f in (
        lambda x, i, v: x[i] * v,
        lambda x, i, v: x.at[i].set(v),
        lambda x, i, v: x.at[i].add(v),
        lambda x, i, v: x.at[i, ::2].multiply(v[:, ::2]),
        lambda x, i, v: x.at[i].max(v),
        lambda x, i, v: fnp.take_along_axis(x, i[:, None], 0) + v[:, :1],
        lambda x, i, v: x[i[0]] + v[0],
        lambda x, i, v: x.at[i].get(mode="fill", fill_value=0.0) * v,
    ):
        want = np.stack(
            [
                np.asarray(f(*(fnp.asarray(a[0] if d is None else a[k]) for a, d in zip(arrays, axes, strict=True))))
                for k in range(lanes)
            ]
        )
        same(fdl.vmap(f, axes)(*(lifted(a, d) for a, d in zip(arrays, axes, strict=True))), want)


# --- functions ------------------------------------------------------------------------------------


def test_take() -> None:
    x = sample((3, 4, 5))
    i = np.array([[0, -1], [2, 1]])
    for axis in (None, 0, 1, -1):
        same(fnp.take(x, i, axis), np.take(x, i, axis))
        for mode in ("clip", "wrap"):
            same(fnp.take(x, i * 40, axis, mode=mode), np.take(x, i * 40, axis, mode=mode))
            same(
                fdl.jit(lambda x, i, m=mode, a=axis: fnp.take(x, i, a, mode=m))(x, i * 40), np.take(x, i * 40, axis, mode=mode)
            )
    same(fnp.take(x, 2, 1), np.take(x, 2, 1))
    same(fnp.take(x, [], 1), np.take(x, np.array([], int), 1))
    assert np.isnan(np.asarray(fnp.take(x, np.array([99]), mode="fill"))).all()
    with pytest.raises(IndexOutOfBoundsError, match="index 60 is out of bounds for axis 0 of size 60"):
        fnp.take(x, 60)
    with pytest.raises(DTypeError, match="out= is not taken"):
        fnp.take(x, 0, out=x)  # type: ignore[arg-type]


def test_take_and_put_along_axis() -> None:
    x = sample((3, 4, 5))
    for axis in (0, 1, 2, -1):
        order = np.argsort(x, axis)
        same(fnp.take_along_axis(x, order, axis), np.take_along_axis(x, order, axis))
        same(fdl.jit(lambda x, i, a=axis: fnp.take_along_axis(x, i, a))(x, order), np.take_along_axis(x, order, axis))
        first = np.take(order, [0], axis)
        want = x.copy()
        np.put_along_axis(want, first, 9.0, axis)
        same(fnp.put_along_axis(x, first, 9.0, axis, inplace=False), want)
    same(fnp.take_along_axis(x, np.array([7, -1]), None), np.take_along_axis(x, np.array([7, -1]), None))
    same(fnp.take_along_axis(x, np.array([[[1]]]), 1), np.take_along_axis(x, np.array([[[1]]]), 1))
    same(fnp.take_along_axis(x[:1], np.zeros((3, 2, 5), int), 1), np.take_along_axis(x[:1], np.zeros((3, 2, 5), int), 1))
    same(fnp.take_along_axis(sample((2, 0)), np.zeros((2, 0), int), 1), np.zeros((2, 0)))
    with pytest.raises(ShapeError, match="differ along axis 0"):
        fnp.take_along_axis(x, np.zeros((2, 1, 5), int), 1)
    with pytest.raises(IndexOutOfBoundsError, match="index 4 is out of bounds for axis 1 of size 4"):
        fnp.take_along_axis(x, np.full((3, 1, 5), 4), 1)
    with pytest.raises(DTypeError, match="inplace=False"):
        fnp.put_along_axis(x, first, 9.0, axis, inplace=True)


def test_put_place_fill_diagonal() -> None:
    x = sample((3, 4))
    for i, v in (([0, 5, -1], [1.0, 2.0]), ([[2], [2]], [3.0, 4.0, 5.0]), (7, 1.0), ([], [1.0])):
        want = x.copy()
        np.put(want, np.array(i, int), v)
        same(fnp.put(x, np.array(i, int), np.array(v)), want)
    for mode in ("clip", "wrap"):
        want = x.copy()
        np.put(want, [-99, 99, -2], [1.0, 2.0, 3.0], mode=mode)
        same(fnp.put(x, np.array([-99, 99, -2]), np.array([1.0, 2.0, 3.0]), mode=mode), want)
    want = x.copy()
    np.place(want, x > 0, [8.0, 9.0, 10.0])
    same(fnp.place(x, x > 0, np.array([8.0, 9.0, 10.0])), want)
    same(fdl.jit(lambda x: fnp.place(x, x > 0, np.array([8.0, 9.0, 10.0])))(x), want)
    for shape, wrap in itertools.product([(3, 3), (7, 3), (3, 7), (3, 3, 3), (8, 2)], (False, True)):
        for v in (5.0, np.array([1.0, 2.0])):
            want = np.zeros(shape)
            np.fill_diagonal(want, v, wrap)
            same(fnp.fill_diagonal(np.zeros(shape), v, wrap, inplace=False), want)
    g = fdl.grad(lambda v: fnp.sum(fnp.fill_diagonal(x[:, :3], v) ** 2))(np.array([1.0, 2.0]))
    same(g, np.array([4.0, 4.0]))


def test_index_makers() -> None:
    x = sample((4, 5, 3))
    for args in (([0, 2], [4, 1], [2]), ([True, False, True, True], [1, 1], [0, 2]), (np.array([3]), np.array([], int), [1])):
        for got, want in zip(fnp.ix_(*args), np.ix_(*args), strict=True):
            assert np.array_equal(np.asarray(got), want) and got.shape == want.shape
        same(fnp.asarray(x)[fnp.ix_(*args)], x[np.ix_(*args)])
    assert fnp.s_[1:, ..., None] == np.s_[1:, ..., None] and fnp.s_[2] == 2 and fnp.index_exp[2] == (2,)
    same(fnp.asarray(x)[fnp.index_exp[0, ::-1]], x[0, ::-1])


def test_dynamic_slices() -> None:
    x = sample((5, 6))
    read = fdl.jit(
        lambda x, i, j: (dynamic.dynamic_slice(x, (i, j), (2, 3)), dynamic.dynamic_index_in_dim(x, i, 1, keepdims=False))
    )
    write = fdl.jit(
        lambda x, i: (
            dynamic.dynamic_update_slice_in_dim(x, x[:2], i, 0),
            dynamic.dynamic_update_index_in_dim(x, x[:, 0], i, 1),
        )
    )
    for i, j in ((0, 0), (-1, 2), (9, -2), (2, 9), (-9, -9)):
        front = [k + n if k < 0 else k for k, n in zip((i, j), x.shape, strict=True)]
        a, b = min(max(front[0], 0), 3), min(max(front[1], 0), 3)
        column = min(max(i + 6 if i < 0 else i, 0), 5)
        got = read(x, i, j)
        same(got[0], x[a : a + 2, b : b + 3])
        same(got[1], x[:, column])
        same(dynamic.dynamic_slice(x, np.array([i, j]), (2, 3)), x[a : a + 2, b : b + 3])
        want = [x.copy(), x.copy()]
        want[0][a : a + 2] = x[:2]
        want[1][:, column] = x[:, 0]
        for g, w in zip(write(x, i), want, strict=True):
            same(g, w)
    same(dynamic.slice_in_dim(x, 1, -1, 2, 1), x[:, 1:-1:2])
    same(dynamic.slice_in_dim(x, 4, 2, 1, 1), x[:, 4:2])
    same(dynamic.index_in_dim(x, -2, 1, keepdims=False), x[:, -2])
    same(dynamic.dynamic_slice_in_dim(x, np.uint8(4), 3, 1), x[:, 3:6])
    for f, text in (
        (lambda: dynamic.dynamic_slice(x, (0,), (1, 1)), "1 starts for an array"),
        (lambda: dynamic.dynamic_slice(x, (0, 0), (9, 1)), "does not fit into"),
        (lambda: dynamic.dynamic_update_slice(x, np.ones((6, 6)), (0, 0)), "does not fit into"),
        (lambda: dynamic.index_in_dim(x, 5), "5 is out of bounds"),
    ):
        with pytest.raises(ShapeError, match=text):
            f()
    with pytest.raises(DTypeError, match="expected a 0-d integer"):
        dynamic.dynamic_slice(x, (0.5, 0), (1, 1))


def test_an_update_in_a_loop_is_in_place() -> None:
    n = 4000
    with fdl.config.using(backend="llvm"):
        sums = fdl.jit(lambda x: fdl.fori_loop(0, n, lambda k, y: y.at[k].set(y[k - 1] + 1.0), x))
        assert sums(np.zeros(n)).tolist()[-1] == n


def test_result_owns_its_memory() -> None:
    x = fnp.arange(6.0)
    y = x[1:4]
    assert isinstance(y, Array) and not np.shares_memory(np.asarray(x), np.asarray(y))
    assert fnp.asarray(2.0)[()].weak_type == fnp.asarray(2.0).weak_type


def test_index_tuples_of_several_axes_are_not_stored() -> None:
    x, i = np.arange(600.0).reshape(20, 30), np.random.default_rng(0).integers(-30, 30, (20, 30))
    f = fdl.jit(lambda x, i: fnp.take_along_axis(x, i, axis=1), backend="llvm")
    assert "alloc" not in loops_of(f, x, i)
    np.testing.assert_array_equal(f(x, i), np.take_along_axis(x, i, axis=1))


@pytest.mark.parametrize(("axis", "rows", "nests"), [(0, 128, 1), (0, 8192, 2), (1, 128, 1), (1, 8192, 1)])
def test_an_operand_is_copied_by_those_who_update_it(axis: int, rows: int, nests: int) -> None:
    """Blocks of columns of a small operand are copied where they are updated; a large one is copied from end to end before. Blocks of
    rows are contiguous, and always copied where they are updated."""
    rng = np.random.default_rng(0)
    shape = (rows, 300) if axis == 0 else (300, rows)
    x, i = rng.integers(0, 9, shape).astype(np.float32), rng.integers(0, rows, 512)
    v = rng.integers(0, 9, (512, 300) if axis == 0 else (300, 512)).astype(np.float32)

    def f(x: Any, i: Any, v: Any) -> Any:
        return x.at[i].add(v) if axis == 0 else x.at[:, i].add(v)

    wanted = x.copy()
    np.add.at(wanted, i if axis == 0 else (slice(None), i), v)
    g = fdl.jit(f, backend="llvm")
    assert np.array_equal(g(x, i, v), wanted)
    lines = loops_of(g, x, i, v).splitlines()
    assert sum(line.startswith("  parallel ") for line in lines) == nests


AFTER: dict[str, Callable[[Any, Any], Any]] = {
    "itself": lambda y, x: y,
    "sum": lambda y, x: (y * 2 + 1).sum(-1),
    "twice": lambda y, x: (y + 1, fnp.sin(y)),
    "product": lambda y, x: y @ fnp.ones((y.shape[-1], 3)),
    "scan": lambda y, x: fdl.scan(lambda c, row: (c + row, c), fnp.zeros(y.shape[1:], y.dtype), y)[1],
    "broadcast": lambda y, x: y[None] * fnp.arange(3.0).reshape(3, *[1] * y.ndim),
    "overwritten": lambda y, x: (fnp.cos(x), y, x.at[0].set(0.0)),
    "branch": lambda y, x: fdl.cond(y.sum() > 0, lambda: y.T, lambda: y.T + 1),
    "sorted": lambda y, x: fnp.sort(y, axis=-1),
}
"""What becomes of the elements that an index reads."""


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("mode", ["raise", "clip"])
@pytest.mark.parametrize("where", ["last", "middle", "pair", "table"])
def test_elements_are_read_in_the_order_of_the_result(where: str, mode: str, after: str) -> None:
    """`x[:, i]` and its like are one loop over the result, whatever reads it, and the reference's values."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(5, 12, 9))
    ends = (-9, 9) if mode == "raise" else (-30, 30)
    i, j = rng.integers(*ends, 11), rng.integers(*ends, 11)
    read: dict[str, Callable[[Any, Any, Any], Any]] = {
        "last": lambda x, i, j: x.at[:, :, i].get(mode=mode),
        "middle": lambda x, i, j: x.at[:, i].get(mode=mode),
        "pair": lambda x, i, j: x.at[:, i, j].get(mode=mode),
        "table": lambda x, i, j: x.at[:, :, fnp.stack([i, j])].get(mode=mode).reshape(5, 12, 22),
    }
    def f(x: Any, i: Any, j: Any) -> Any:
        return AFTER[after](read[where](x + 1, i, j), x)

    ours, wanted = (fdl.jit(f, backend=b)(x, i, j) for b in ("llvm", "reference"))
    for a, b in zip(fdl.tree.leaves(ours), fdl.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13)


def test_columns_by_index_take_one_loop() -> None:
    x, i = np.arange(40000.0).reshape(200, 200), np.random.default_rng(0).integers(-200, 200, 100)
    f = fdl.jit(lambda x, i: x[:, i], backend="llvm")
    np.testing.assert_array_equal(f(x, i), x[:, i])
    text = loops_of(f, x, i)
    assert text.count("alloc") == 1 and "i32[1, 100]" in text and "transpose" not in text
    with pytest.raises(IndexOutOfBoundsError, match="index 200 is out of bounds for axis 1 of size 200"):
        f(x, np.where(i == i[7], 200, i))
