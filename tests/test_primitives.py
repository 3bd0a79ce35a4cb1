"""Every primitive on every row of `primitive_table`: types, values, views; errors. For rules see `test_primitive_rules.py`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from primitive_cases import Case, close, families, outputs, reference, same, small
from primitive_table import OWN_TESTS, ROWS, cases
from scipy import signal

from fdl.tracer import dtypes
from fdl.tracer.errors import DTypeError, IndexOutOfBoundsError, MissingRuleError, ShapeError
from fdl.tracer.ir import Type
from fdl.tracer.ops import contract, convolve, elementwise, index, order, random, reduce, shape, window
from fdl.tracer.ops.collectives import COLLECTIVES
from fdl.tracer.primitive import PRIMITIVES, View
from fdl.tracer.trace import infer

CASES = cases()
F64 = [c for c in CASES if c.dtype == dtypes.float64]


# --- the table ------------------------------------------------------------------------------------


def test_every_primitive_has_a_row() -> None:
    # A collective is gone when a program runs, having no meaning outside a vmap: test_collectives has them all.
    missing = sorted(set(PRIMITIVES) - {r.name for r in ROWS} - COLLECTIVES - set(OWN_TESTS))
    assert not missing, f"primitives without a row in tests/primitive_table.py: {missing}"


def test_every_differentiable_primitive_is_checked() -> None:
    moving = {c.row.name for c in F64 if any(not a.dtype for a in c.row.args)}
    unchecked = (
        {n for n, p in PRIMITIVES.items() if p.jvp is not None and n in moving}
        - {c.row.name for c in F64 if c.moving()}
        - {"callback"}
    )  # whose derivative is an error
    assert not unchecked, f"primitives with a jvp rule and no float64 row with moving inputs: {sorted(unchecked)}"


# --- values ---------------------------------------------------------------------------------------


@families(CASES)
def test_reference_has_the_inferred_type(group: list[Case]) -> None:
    for case in group:
        inputs = case.inputs()
        copies = [x.copy() for x in inputs]
        types = infer(case.row.primitive, [Type(x.shape, x.dtype) for x in inputs], case.params())
        results = reference(case, inputs)
        for out, t in zip(results, types, strict=True):
            assert isinstance(out, np.ndarray | np.generic), (case.id, type(out))
            assert (out.shape, out.dtype) == (t.shape, t.dtype), case.id
            assert not t.weak, case.id
        for x, copy in zip(inputs, copies, strict=True):
            same(x, copy, f"{case.id}: the reference wrote to its input")


@families([c for c in CASES if c.row.args and not (set(c.params()) & {"program", "branches", "body", "solve"})])
def test_result_is_weak_when_all_operands_are(group: list[Case]) -> None:
    case = group[0]
    inputs = [Type(x.shape, x.dtype, weak=x.dtype != dtypes.bool_) for x in case.inputs()]
    fixed = {"convert", "bitcast", "callback", "random_bits", "window_select", "window_scatter", "argmax", "argmin"}
    for t in infer(case.row.primitive, inputs, case.params()):
        like_operands = t.dtype in (inputs[-1].dtype, inputs[0].dtype) or case.row.name in (
            "real",
            "imag",
            "complex",
            "eig",
            "sqrtm",
        )
        assert t.weak == (case.row.name not in fixed and like_operands and t.dtype != dtypes.bool_), case.id


def _loop(f: Callable[[np.ndarray], Any], x: np.ndarray, axes: tuple[int, ...], dtype: Any) -> np.ndarray:
    """`f` of the elements along `axes`, position by position along the others."""
    kept = [i for i in range(x.ndim) if i not in axes]
    out = np.empty([x.shape[i] for i in kept], dtype)
    for at in np.ndindex(*out.shape):
        out[at] = f(x[tuple(at[kept.index(i)] if i in kept else slice(None) for i in range(x.ndim))])
    return out


def _broadcast(x: np.ndarray, *, shape: tuple[int, ...], axes: tuple[int, ...]) -> np.ndarray:
    return _loop(lambda _: 0, np.empty(shape), (), x.dtype) + np.expand_dims(x, [i for i in range(len(shape)) if i not in axes])


def _concatenate(*xs: np.ndarray, axis: int) -> np.ndarray:
    slices = [s for x in xs for s in np.moveaxis(x, axis, 0)]
    return np.moveaxis(np.array(slices, xs[0].dtype), 0, axis)


def _pad(x: np.ndarray, fill: np.ndarray, *, config: Any) -> np.ndarray:
    out = np.full([lo + n + max(n - 1, 0) * inner + hi for n, (lo, hi, inner) in zip(x.shape, config, strict=True)], fill)
    for at in np.ndindex(*x.shape):
        to = tuple(lo + i * (inner + 1) for i, (lo, _, inner) in zip(at, config, strict=True))
        if all(0 <= i < n for i, n in zip(to, out.shape, strict=True)):
            out[to] = x[at]
    return out


def _einsum(a: np.ndarray, b: np.ndarray, *, contract: Any, batch: Any) -> np.ndarray:
    left, right = list(range(a.ndim)), list(range(10, 10 + b.ndim))
    for i, j in (*zip(*contract, strict=True), *zip(*batch, strict=True)):
        right[j] = left[i]
    shared = [left[i] for i in batch[0]]
    used = {left[i] for i in (*contract[0], *batch[0])}
    return np.asarray(np.einsum(a, left, b, right, [*shared, *(n for n in (*left, *right) if n not in used)]))


def _conv(
    x: np.ndarray, f: np.ndarray, *, strides: Any, padding: Any, lhs_dilation: Any, rhs_dilation: Any, groups: int
) -> Any:
    nd = len(strides)
    zero = np.zeros((), x.dtype)
    x = _pad(
        x, zero, config=[(0, 0, 0), *((lo, hi, d - 1) for (lo, hi), d in zip(padding, lhs_dilation, strict=True)), (0, 0, 0)]
    )
    f = _pad(f, zero, config=[*((0, 0, d - 1) for d in rhs_dilation), (0, 0, 0), (0, 0, 0)])
    c, o = f.shape[-2], f.shape[-1]
    sizes = [max(n - k + 1, 0) for n, k in zip(x.shape[1:-1], f.shape[:nd], strict=True)]
    out = np.zeros((x.shape[0], *sizes, o))
    for n, j, i in itertools.product(range(x.shape[0]), range(o), range(c)):
        if 0 not in sizes:
            out[n, ..., j] += signal.correlate(x[n, ..., j // (o // groups) * c + i], f[..., i, j], "valid", method="direct")
    return out[(slice(None), *(slice(None, None, s) for s in strides))]


def _windows(x: np.ndarray, fill: Any, *, window: Any, strides: Any, padding: Any, dilation: Any) -> np.ndarray:
    """(*windows, elements of a window), by a strided view."""
    x = _pad(x, np.asarray(fill, x.dtype), config=[(lo, hi, 0) for lo, hi in padding])
    reach = [(w - 1) * d + 1 for w, d in zip(window, dilation, strict=True)]
    if any(r > n for r, n in zip(reach, x.shape, strict=True)):
        out = [max((n - r) // s + 1, 0) for n, r, s in zip(x.shape, reach, strides, strict=True)]
        return np.zeros((*out, math.prod(window)), x.dtype)
    view = np.lib.stride_tricks.sliding_window_view(x, reach) if x.ndim else x
    view = view[tuple(slice(None, None, s) for s in strides) + tuple(slice(None, None, d) for d in dilation)]
    return view.reshape(*view.shape[: x.ndim], math.prod(window))


def _window_select(x: np.ndarray, t: np.ndarray, *, op: str, **params: Any) -> np.ndarray:
    values, taken = _windows(x, np.nan, **params), _windows(t, 0, **params)
    # NaN here marks padding: the rows have none of their own.
    best = np.where(np.isnan(values), -np.inf, values if op == "max" else -values).argmax(-1)
    return np.take_along_axis(taken, best[..., None], -1)[..., 0]


def _gather(x: np.ndarray, indices: np.ndarray, *, axes: Any, mode: str, fill: Any) -> np.ndarray:
    rest = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    out = np.full(indices.shape[:-1] + rest, fill, x.dtype)
    for at in np.ndindex(*indices.shape[:-1]):
        place = _place(x.shape, indices[at], axes, mode)
        if place is not None:
            out[at] = x[place]
    return out


def _scatter(x: np.ndarray, indices: np.ndarray, updates: np.ndarray, *, axes: Any, mode: str, op: str) -> np.ndarray:
    combine: dict[str, Any] = {"set": lambda a, b: b, "add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}
    out = x.copy()
    for at in np.ndindex(*indices.shape[:-1]):
        place = _place(x.shape, indices[at], axes, mode)
        if place is not None:
            out[place] = combine[op](out[place], updates[at])
    return out


def _place(sizes: Any, one: np.ndarray, axes: Any, mode: str) -> tuple[Any, ...] | None:
    index = {a: int(i) for a, i in zip(axes, one, strict=True)}
    if mode == "clip":
        index = {a: min(max(i, 0), sizes[a] - 1) for a, i in index.items()}
    if any(not 0 <= i < sizes[a] for a, i in index.items()):
        return None
    return tuple(index.get(a, slice(None)) for a in range(len(sizes)))


def _clamped(shape: Any, starts: Any, sizes: Any) -> tuple[slice, ...]:
    first = [min(max(int(s), 0), n - m) for s, n, m in zip(starts, shape, sizes, strict=True)]
    return tuple(slice(s, s + m) for s, m in zip(first, sizes, strict=True))


def _dynamic_update_slice(x: np.ndarray, update: np.ndarray, *starts: np.ndarray) -> np.ndarray:
    out = x.copy()
    out[_clamped(x.shape, starts, update.shape)] = update
    return out


def _sort(*xs: np.ndarray, axis: int, num_keys: int) -> list[np.ndarray]:
    moved = [np.moveaxis(x, axis, -1) for x in xs]
    out = [m.copy() for m in moved]
    for at in np.ndindex(*moved[0].shape[:-1]):
        rows = [tuple(m[at][i] for m in moved) for i in range(moved[0].shape[-1])]
        rows.sort(key=lambda r: [(bool(v != v), 0 if v != v else v) for v in r[:num_keys]])
        for k, o in enumerate(out):
            o[at] = [r[k] for r in rows]
    return [np.moveaxis(o, -1, axis) for o in out]


def _top_k(x: np.ndarray, *, axis: int, k: int, largest: bool) -> list[np.ndarray]:
    shape = tuple(k if a == axis else n for a, n in enumerate(x.shape))
    values, places = np.empty(shape, x.dtype), np.empty(shape, np.int32)
    for at in np.ndindex(*shape[:axis], 1, *shape[axis + 1 :]):
        along = tuple(slice(None) if a == axis else i for a, i in enumerate(at))
        row = x[along].tolist()
        order = sorted(range(len(row)), key=lambda i, row=row: (-row[i] if largest else row[i], i))[:k]
        values[along], places[along] = [row[i] for i in order], order
    return [values, places]


def _cumulative(f: Callable[..., Any]) -> Callable[..., np.ndarray]:
    def run(x: np.ndarray, *, axis: int, reverse: bool) -> np.ndarray:
        out = np.empty_like(x)
        n = x.shape[axis]
        for i in range(n):
            part = np.take(x, range(i, n) if reverse else range(i + 1), axis)
            out[tuple(i if k == axis else slice(None) for k in range(x.ndim))] = f(part, axis)
        return out

    return run


INDEPENDENT: dict[str, Callable[..., Any]] = {
    "broadcast": _broadcast,
    "reshape": lambda x, *, shape: np.array(list(x.flat), x.dtype).reshape(shape),
    "transpose": lambda x, *, permutation: np.einsum(x, range(x.ndim), permutation),
    "flip": lambda x, *, axes: x[tuple(slice(None, None, -1) if i in axes else slice(None) for i in range(x.ndim))],
    "slice": lambda x, *, start, limit, stride: x[tuple(slice(*s) for s in zip(start, limit, stride, strict=True))],
    "pad": _pad,
    "concatenate": _concatenate,
    "iota": lambda *, shape, dtype, axis: np.indices(shape)[axis].astype(dtype),
    "reduce_sum": lambda x, *, axes: _loop(lambda v: math.fsum(v.flat), x, axes, x.dtype),
    "reduce_prod": lambda x, *, axes: _loop(lambda v: math.prod(v.flat), x, axes, x.dtype),
    "reduce_max": lambda x, *, axes: _loop(lambda v: max(v.flat, default=-np.inf), x, axes, x.dtype),
    "reduce_min": lambda x, *, axes: _loop(lambda v: min(v.flat, default=np.inf), x, axes, x.dtype),
    "argmax": lambda x, *, axis, dtype: _loop(lambda v: list(v).index(max(v)), x, (axis,), dtype),
    "argmin": lambda x, *, axis, dtype: _loop(lambda v: list(v).index(min(v)), x, (axis,), dtype),
    "cumsum": _cumulative(np.sum), "cumprod": _cumulative(np.prod),
    "cummax": _cumulative(np.max), "cummin": _cumulative(np.min),
    "dot_general": _einsum,
    "conv": _conv,
    "window_sum": lambda x, **params: _windows(x, 0, **params).sum(-1),
    "window_max": lambda x, **params: _windows(x, -np.inf, **params).max(-1),
    "window_min": lambda x, **params: _windows(x, np.inf, **params).min(-1),
    "window_select": _window_select,
    "gather": _gather,
    "scatter": _scatter,
    "dynamic_slice": lambda x, *starts, sizes: x[_clamped(x.shape, starts, sizes)],
    "dynamic_update_slice": _dynamic_update_slice,
    "sort": _sort,
    "top_k": _top_k,
}  # fmt: skip


@families(
    [
        c
        for c in CASES
        if c.row.name in INDEPENDENT
        and (c.dtype == dtypes.float64 or (c.dtype == dtypes.int64 and "window" not in c.id))
        and "special" not in c.id
    ]
)
def test_reference_agrees_with_an_independent_formulation(group: list[Case]) -> None:
    for case in group:
        if not small(case):
            continue
        inputs = case.inputs()
        expected = outputs(case.row.primitive, INDEPENDENT[case.row.name](*inputs, **case.params()))
        for a, b in zip(reference(case, inputs), expected, strict=True):
            close(a, np.asarray(b), case, 1e-12)


@families([c for c in CASES if "reduce_and" in c.id or "reduce_or" in c.id])
def test_logical_reductions(group: list[Case]) -> None:
    for case in group:
        (x,) = case.inputs()
        how = all if case.row.name == "reduce_and" else any
        np.testing.assert_array_equal(
            reference(case, [x])[0], _loop(lambda v, how=how: how(v.flat), x, case.params()["axes"], bool)
        )


@pytest.mark.parametrize("f", [np.float32, dtypes.bfloat16])
def test_special_values_in_order(f: Any) -> None:
    nan, inf = np.nan, np.inf
    x = np.array([[3, nan, -inf, 0.0], [-0.0, 0.0, inf, -1], [nan, nan, 1, 2]], f)
    same(reduce.reduce_max_p.reference(x, axes=(1,)), np.array([nan, inf, nan], f))
    same(reduce.argmax_p.reference(x, axis=1, dtype=dtypes.int32), [1, 2, 0])
    same(reduce.argmin_p.reference(x, axis=1, dtype=dtypes.int32), [1, 3, 0])
    ones = np.arange(4, dtype=np.int32) + np.zeros((3, 1), np.int32)
    ys, at = order.sort_p.reference(x, ones, axis=1, num_keys=1)
    same(ys, np.array([[-inf, 0, 3, nan], [-1, -0.0, 0.0, inf], [1, 2, nan, nan]], f))
    np.testing.assert_array_equal(at, [[2, 3, 0, 1], [3, 0, 1, 2], [2, 3, 0, 1]])
    assert list(np.signbit(ys[1].astype(np.float32))) == [True, True, False, False]
    how: dict[str, Any] = {"window": (1, 2), "strides": (1, 2), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}
    same(window.window_max_p.reference(x, **how), np.array([[nan, 0], [0, inf], [nan, 2]], f))
    t = np.arange(12).reshape(3, 4).astype(f)
    same(window.window_select_p.reference(x, t, op="max", **how), np.array([[1, 3], [4, 6], [8, 11]], f))


def test_half_precision_accumulates_in_float32() -> None:
    for dtype in (dtypes.float16, dtypes.bfloat16):
        ones = np.ones((1, 5000), dtype)
        assert float(reduce.reduce_sum_p.reference(ones, axes=(1,))[0]) == float(np.asarray(5000.0, dtype))
        product = contract.dot_general_p.reference(ones, ones, contract=((1,), (1,)), batch=((), ()))
        assert float(product[0, 0]) == float(np.asarray(5000.0, dtype))
        assert float(reduce.cumsum_p.reference(ones, axis=1, reverse=False)[0, -1]) == float(np.asarray(5000.0, dtype))


def test_integers_wrap() -> None:
    x = np.array([100, 100, 100], np.int8)
    assert reduce.reduce_sum_p.reference(x, axes=(0,)) == np.int8(44)
    assert reduce.reduce_prod_p.reference(x, axes=(0,)) == np.asarray(1000000).astype(np.int8)
    assert contract.dot_general_p.reference(x, x, contract=((0,), (0,)), batch=((), ())) == np.asarray(30000).astype(np.int8)


def test_random_bits_known_answers() -> None:
    # Random123's known answers for Threefry-2x32-20: key and counter all zeros, all ones, and digits of pi.
    for key, counter, expected in (
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ):
        words = [f(*np.array([*key, *counter], np.uint32)) for f in (elementwise.threefry0, elementwise.threefry1)]
        assert tuple(int(w) for w in words) == expected
    # What jax.random.bits(jax.random.key(42), (3,), dtype) gives.
    key42 = np.array([0, 42], np.uint32)
    assert random.random_bits(key42, (3,), 32).tolist() == [2098992034, 2919706841, 2646866425]
    assert random.random_bits(key42, (3,), 8).tolist() == [162, 217, 249]
    assert random.random_bits(key42, (3,), 64).tolist() == [7871734211187709741, 276886910877598708, 10591095138341673235]


# --- views ----------------------------------------------------------------------------------------


@families([c for c in F64 if isinstance(c.row.primitive.lowering, View)])
def test_view_index_gives_the_element(group: list[Case]) -> None:
    for case in group:
        lowering = case.row.primitive.lowering
        assert isinstance(lowering, View)
        inputs = case.inputs()
        x = inputs[0]
        expected = reference(case, inputs)[0]
        out_type = Type(expected.shape, expected.dtype)
        for at in itertools.islice(np.ndindex(*expected.shape), 2000):
            where, guards = lowering.index(list(at), Type(x.shape, x.dtype), out_type, case.params())
            ok = all(low <= e < high for e, low, high in guards)
            assert (x[tuple(where)] if ok else inputs[1]) == expected[at], (case.id, at, where, guards)


# --- errors ---------------------------------------------------------------------------------------

F = np.zeros
_conv_how: dict[str, Any] = {"strides": (1, 1), "padding": ((0, 0), (0, 0)), "lhs_dilation": (1, 1), "rhs_dilation": (1, 1)}
_window_how: dict[str, Any] = {"window": (2,), "strides": (1,), "padding": ((0, 0),), "dilation": (1,)}
_i = np.zeros((2, 1), np.int32)

ERRORS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: shape.broadcast(F(3), (2, 4), (1,)), ShapeError, r"axis 0 .* size 3, axis 1 .* size 4.*Transpose"),
    (lambda: shape.broadcast(F((2, 3)), (2, 3, 1), (1, 0)), ShapeError, "increasing order"),
    (lambda: shape.broadcast(F((2, 3)), (2, 3, 1), (0,)), ShapeError, "1 axes .* expected 2"),
    (lambda: shape.reshape(F((2, 3)), (4,)), ShapeError, r"\(2, 3\) has 6 elements, the shape \(4,\) has 4"),
    (lambda: shape.transpose(F((2, 3)), (0, 0)), ShapeError, r"permutation \(0, 0\)"),
    (lambda: shape.flip(F((2, 3)), (2,)), ShapeError, "axis 2 .* expected an axis from 0 to 1"),
    (lambda: shape.slice(F(3), (2,), (1,)), ShapeError, "2:1:1 of axis 0"),
    (lambda: shape.pad(F(3), np.float32(0), [(1, 0, 0)]), DTypeError, "expected a 0-d float64"),
    (lambda: shape.pad(F(3), np.float64(0), [(-2, -2, 0)]), ShapeError, "size >= 0, not -1"),
    (lambda: shape.concatenate([F((2, 3)), F((2, 4))], 0), ShapeError, r"operand 1 \(2, 4\).*except along axis 0"),
    (lambda: shape.concatenate([F(2), np.zeros(2, np.int32)], 0), DTypeError, "operand 1 int32"),
    (lambda: shape.iota((3,), "bool", 0), DTypeError, "dtype bool"),
    (lambda: reduce.reduce_sum(F((2, 3)), (0, 0)), ShapeError, "expected each once"),
    (lambda: reduce.reduce_sum(np.zeros(3, bool), (0,)), DTypeError, "dtype bool, expected numbers"),
    (lambda: reduce.reduce_and(F(3), (0,)), DTypeError, "expected bool. Compare"),
    (lambda: reduce.reduce_max(np.zeros(3, complex), (0,)), DTypeError, "no order"),
    (lambda: reduce.argmax(F((0, 3)), 0), ShapeError, "axis 0 .* is empty"),
    (lambda: reduce.argmax(F(300), 0, "i8"), DTypeError, "300 elements, too many .* int8"),
    (lambda: contract.dot_general(F((3, 4)), F((5, 2)), ((1,), (0,))), ShapeError,
     r"contracting sizes differ: lhs \(3, 4\) axis 1 is 4, rhs \(5, 2\) axis 0 is 5. Transpose one operand\?"),
    (lambda: contract.dot_general(F(3), np.zeros(3, np.float32), ((0,), (0,))), DTypeError, "float64, rhs float32"),
    (lambda: contract.dot_general(F((3, 3)), F(3), ((0, 1), (0,))), ShapeError, "expected equally many"),
    (lambda: contract.dot_general(F((3, 3)), F((3, 3)), ((0,), (0,)), ((0,), (1,))), ShapeError, "of lhs .* each once"),
    (lambda: convolve.conv(F((1, 5, 5, 3)), F((3, 3, 4, 2)), **_conv_how), ShapeError, "3 channels, the filter .* takes 4"),
    (lambda: convolve.conv(F((1, 5, 5, 4)), F((3, 3, 2, 3)), groups=2, **_conv_how), ShapeError, "groups = 2 does not divide"),
    (lambda: convolve.conv(F((1, 5, 3)), F((3, 3, 4)), **_conv_how), ShapeError, "strides .* for 1 spatial axes"),
    (lambda: convolve.conv(F((1, 5, 5, 3)), F((3, 3, 4)), **_conv_how), ShapeError, "equally many axes"),
    (lambda: convolve.conv_input_grad(F((1, 3, 3, 2)), F((3, 3, 4, 2)), in_spatial=(6, 5), groups=1, **_conv_how), ShapeError,
     r"expected \(1, 4, 3, 2\)"),
    (lambda: window.window_sum(F((3, 3)), **_window_how), ShapeError, "one entry for each axis"),
    (lambda: window.window_scatter(F(5), F(5), op="max", **_window_how), ShapeError, r"expected \(4,\)"),
    (lambda: window.window_select(F(5), F(5), op="sum", **_window_how), ShapeError, "expected 'max' or 'min'"),
    (lambda: index.gather(F((3, 4)), _i, axes=(0, 1)), ShapeError, r"expected \(\*batch, 2\)"),
    (lambda: index.gather(F(3), F((2, 1)), axes=(0,)), DTypeError, "indices have dtype float64"),
    (lambda: index.gather(F(3), _i, axes=(0,), mode="wrap"), ShapeError, "mode 'wrap'"),
    (lambda: index.gather(F(0), _i, axes=(0,), mode="clip"), ShapeError, "size 0 has no element"),
    (lambda: index.gather(F(3), _i + 3, axes=(0,)), IndexOutOfBoundsError, "index 3 is out of bounds for axis 0 of size 3"),
    (lambda: index.gather(F(3), _i - 2, axes=(0,)), IndexOutOfBoundsError, "index -5 is out of bounds"),
    (lambda: index.scatter(F(3), _i + 3, F(2), axes=(0,)), IndexOutOfBoundsError, '"drop"'),
    (lambda: index.scatter(F((3, 2)), _i, F(2), axes=(0,)), ShapeError, r"updates have shape \(2,\), expected \(2, 2\)"),
    (lambda: index.scatter(F(3), _i, F(2), axes=(0,), op="sub"), ShapeError, "op 'sub'"),
    (lambda: index.scatter(np.zeros(3, bool), _i, np.zeros(2, bool), axes=(0,), op="add"), DTypeError, "dtype bool"),
    (lambda: index.dynamic_slice(F(3), (np.int32(0),), (4,)), ShapeError, "size 4 along axis 0 .* expected 0 to 3"),
    (lambda: index.dynamic_slice(F(3), (0.5,), (1,)), DTypeError, "start 0 .* expected a 0-d integer"),
    (lambda: order.sort([F(3), F(4)], 0), ShapeError, r"operand 1 \(4,\)"),
    (lambda: order.sort([F(3)], 0, 2), ShapeError, "num_keys = 2"),
    (lambda: random.random_bits(F(2), (3,)), DTypeError, r"expected u32\[\.\.\., 2\]"),
    (lambda: random.random_bits(np.zeros(2, np.uint32), (3,), 12), DTypeError, "width of 12 bits"),
    (lambda: reduce.argmax_p.rule("transpose"), MissingRuleError, r"'argmax' has no transpose rule.*reduce\.py"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS, ids=[f"{i}-{t[:30]}" for i, (_, _, t) in enumerate(ERRORS)])
def test_errors_say_what_was_given_and_what_to_do(call: Callable[[], Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        call()
