"""Every primitive's rules, on every row of `primitive_table`: shapes and dtypes, values, derivatives, transposes, batching, views."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import primitive_table as table
import pytest
from primitive_table import Case
from scipy import signal

from fdl.tracer import dtypes
from fdl.tracer.array import as_numpy
from fdl.tracer.errors import DTypeError, IndexOutOfBoundsError, MissingRuleError, ShapeError
from fdl.tracer.ir import Type, type_of
from fdl.tracer.ops import contract, convolve, elementwise, index, order, random, reduce, shape, window
from fdl.tracer.ops.rules import materialised
from fdl.tracer.primitive import PRIMITIVES, Primitive, Undefined, View, Zero
from fdl.tracer.trace import bind, infer
from fdl.tracer.transforms.jvp import jvp_flat
from fdl.tracer.transforms.linearize import linearize_flat
from fdl.tracer.transforms.transpose import backward
from fdl.tracer.transforms.vmap import batch_flat

Arrays = list[np.ndarray]

CASES = table.cases()
F64 = [c for c in CASES if c.dtype == dtypes.float64]
SMOOTH = [c for c in F64 if c.moving()]
SMALL = 700
"""Elements of an input up to which the tests that call a rule many times take a case."""


def every(cases: Sequence[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[c.id for c in cases])


def families(cases: Sequence[Case]) -> pytest.MarkDecorator:
    """One test for each primitive: thousands of tests of a millisecond would spend their time in pytest."""
    groups: dict[str, list[Case]] = {}
    for c in cases:
        groups.setdefault(c.row.name, []).append(c)
    return pytest.mark.parametrize("group", groups.values(), ids=groups)


def small(case: Case) -> bool:
    return all(math.prod(a.shape) <= SMALL for a in case.row.args)


def outputs(p: Primitive, result: Any) -> list[Any]:
    return list(result) if p.multiple else [result]


def reference(case: Case, inputs: Sequence[np.ndarray]) -> Arrays:
    return outputs(case.row.primitive, case.row.primitive.reference(*inputs, **case.params()))


def flat(case: Case) -> Callable[..., list[Any]]:
    p, params = case.row.primitive, case.params()
    return lambda *xs: outputs(p, bind(p, *xs, **params))


def direction(case: Case, like: Sequence[np.ndarray], salt: str) -> Arrays:
    rng = np.random.default_rng(zlib.crc32((salt + case.id).encode()))
    return [np.asarray(rng.normal(size=x.shape)).astype(x.dtype) for x in like]


def dot(xs: Sequence[Any], ys: Sequence[Any]) -> float:
    return float(sum(np.sum(as_numpy(x) * as_numpy(y)) for x, y in zip(xs, ys, strict=True)))


def is_smooth(x: Any) -> bool:
    return type_of(x).dtype == dtypes.float64


def close(a: Any, b: Any, case: Case, rtol: float = 1e-9) -> None:
    a, b = as_numpy(a), as_numpy(b)
    assert a.shape == b.shape, (case.id, a.shape, b.shape)
    finite = np.isfinite(b)
    np.testing.assert_array_equal(np.where(finite, 0, a), np.where(finite, 0, b), err_msg=case.id)
    a, b = np.where(finite, a, 0), np.where(finite, b, 0)
    scale = float(np.max(np.abs(b), initial=1e-3))
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale, err_msg=case.id)


# --- the table ------------------------------------------------------------------------------------


def test_every_primitive_has_a_row() -> None:
    missing = sorted(set(PRIMITIVES) - {r.name for r in table.ROWS})
    assert not missing, f"primitives without a row in tests/primitive_table.py: {missing}"


def test_every_differentiable_primitive_is_checked() -> None:
    moving = {c.row.name for c in F64 if any(not a.dtype for a in c.row.args)}
    unchecked = {n for n, p in PRIMITIVES.items() if p.jvp is not None and n in moving} - {c.row.name for c in SMOOTH}
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
            table.same(x, copy, f"{case.id}: the reference wrote to its input")


@families([c for c in CASES if c.row.args and not (set(c.params()) & {"program", "branches", "body"})])
def test_result_is_weak_when_all_operands_are(group: list[Case]) -> None:
    case = group[0]
    inputs = [Type(x.shape, x.dtype, weak=x.dtype != dtypes.bool_) for x in case.inputs()]
    fixed = {"convert", "bitcast", "random_bits", "window_select", "window_scatter", "argmax", "argmin"}
    for t in infer(case.row.primitive, inputs, case.params()):
        like_operands = t.dtype == inputs[-1].dtype or t.dtype == inputs[0].dtype
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
    "concatenate": lambda *xs, axis: np.moveaxis(np.array([r for x in xs for r in np.moveaxis(x, axis, 0)] or [], xs[0].dtype), 0, axis),
    "iota": lambda *, shape, dtype, axis: np.indices(shape)[axis].astype(dtype),
    "reduce_sum": lambda x, *, axes: _loop(lambda v: math.fsum(v.flat), x, axes, x.dtype),
    "reduce_prod": lambda x, *, axes: _loop(lambda v: math.prod(v.flat), x, axes, x.dtype),
    "reduce_max": lambda x, *, axes: _loop(lambda v: max(v.flat, default=-np.inf), x, axes, x.dtype),
    "reduce_min": lambda x, *, axes: _loop(lambda v: min(v.flat, default=np.inf), x, axes, x.dtype),
    "argmax": lambda x, *, axis, dtype: _loop(lambda v: list(v).index(max(v)), x, (axis,), dtype),
    "argmin": lambda x, *, axis, dtype: _loop(lambda v: list(v).index(min(v)), x, (axis,), dtype),
    "cumsum": _cumulative(np.sum), "cumprod": _cumulative(np.prod), "cummax": _cumulative(np.max), "cummin": _cumulative(np.min),
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
}  # fmt: skip


@families(
    [
        c
        for c in CASES
        if c.row.name in INDEPENDENT
        and (c.dtype == dtypes.float64 or c.dtype == dtypes.int64 and "window" not in c.id)
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
    table.same(reduce.reduce_max_p.reference(x, axes=(1,)), np.array([nan, inf, nan], f))
    table.same(reduce.argmax_p.reference(x, axis=1, dtype=dtypes.int32), [1, 2, 0])
    table.same(reduce.argmin_p.reference(x, axis=1, dtype=dtypes.int32), [1, 3, 0])
    ones = np.arange(4, dtype=np.int32) + np.zeros((3, 1), np.int32)
    ys, at = order.sort_p.reference(x, ones, axis=1, num_keys=1)
    table.same(ys, np.array([[-inf, 0, 3, nan], [-1, -0.0, 0.0, inf], [1, 2, nan, nan]], f))
    np.testing.assert_array_equal(at, [[2, 3, 0, 1], [3, 0, 1, 2], [2, 3, 0, 1]])
    assert list(np.signbit(ys[1].astype(np.float32))) == [True, True, False, False]
    how: dict[str, Any] = {"window": (1, 2), "strides": (1, 2), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}
    table.same(window.window_max_p.reference(x, **how), np.array([[nan, 0], [0, inf], [nan, 2]], f))
    t = np.arange(12).reshape(3, 4).astype(f)
    table.same(window.window_select_p.reference(x, t, op="max", **how), np.array([[1, 3], [4, 6], [8, 11]], f))


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


# --- derivatives ----------------------------------------------------------------------------------

STEP = 1e-5


def _smooth_outputs(case: Case, inputs: Sequence[np.ndarray]) -> Arrays:
    return [np.asarray(y) for y in reference(case, inputs) if is_smooth(y)]


def _moves(case: Case) -> bool:
    """Whether the case has a derivative that differences show: not of `stop_gradient`, and not rounded to fewer bits."""
    return case.row.name != "stop_gradient" and all(
        is_smooth(y) for y in reference(case, case.inputs()) if y.dtype.kind not in "biu"
    )


def _tangents(case: Case, inputs: Sequence[np.ndarray], salt: str = "v") -> list[Any]:
    v = direction(case, inputs, salt)
    return [v[i] if i in case.moving() else Zero(type_of(x)) for i, x in enumerate(inputs)]


def _shifted(inputs: Sequence[np.ndarray], tangents: Sequence[Any], step: float) -> Arrays:
    return [x if isinstance(t, Zero) else x + step * as_numpy(t) for x, t in zip(inputs, tangents, strict=True)]


def test_stop_gradient_has_none() -> None:
    x = np.ones(3)
    assert isinstance(elementwise.stop_gradient_p.rule("jvp")([x], [x])[1], Zero)


def slope(ahead: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """The central difference; 0 where both are the same infinity."""
    with np.errstate(invalid="ignore"):
        return np.where(ahead == behind, 0.0, (ahead - behind) / (2 * STEP))


@families([c for c in SMOOTH if _moves(c)])
def test_jvp_is_the_central_difference(group: list[Case]) -> None:
    for case in group:
        inputs = case.inputs()
        for moving in dict.fromkeys((case.moving(), case.moving()[:1], case.moving()[-1:])):
            tangents = [
                t if i in moving else Zero(type_of(x))
                for i, (x, t) in enumerate(zip(inputs, _tangents(case, inputs), strict=True))
            ]
            outs, dots = jvp_flat(flat(case), inputs, tangents)
            for y, expected in zip(outs, reference(case, inputs), strict=True):
                np.testing.assert_array_equal(as_numpy(y), expected, err_msg=f"{case.id}: the jvp rule's primal output")
            ahead, behind = (_smooth_outputs(case, _shifted(inputs, tangents, s)) for s in (STEP, -STEP))
            for d, a, b in zip([d for d, y in zip(dots, outs, strict=True) if is_smooth(y)], ahead, behind, strict=True):
                close(materialised(d), slope(a, b), case, 2e-6)


@families([c for c in SMOOTH if _moves(c)])
def test_second_derivative_is_the_central_difference_of_the_first(group: list[Case]) -> None:
    for case in group:
        if not small(case):
            continue
        inputs = case.inputs()
        v, u = _tangents(case, inputs), _tangents(case, inputs, "u")

        def first(*xs: Any, case: Case = case, v: list[Any] = v) -> list[Any]:
            outs, dots = jvp_flat(flat(case), xs, v)
            return [materialised(d) for d, y in zip(dots, outs, strict=True) if is_smooth(y)]

        _, dots = jvp_flat(first, inputs, u)
        ahead, behind = (first(*_shifted(inputs, u, s)) for s in (STEP, -STEP))
        for d, a, b in zip(dots, ahead, behind, strict=True):
            close(materialised(d), slope(as_numpy(a), as_numpy(b)), case, 5e-6)


@families([c for c in SMOOTH if c.row.backward and _moves(c)])
def test_reverse_mode_is_the_adjoint_of_forward_mode(group: list[Case]) -> None:
    for case in group:
        inputs, moving = case.inputs(), case.moving()
        tangents = _tangents(case, inputs)
        outs, linear = linearize_flat(flat(case), inputs, [i in moving for i in range(len(inputs))])
        _, dots = jvp_flat(flat(case), inputs, tangents)
        live = [i for i, m in enumerate(linear.moving) if m]
        w = direction(case, [as_numpy(outs[i]) for i in live], "w")
        unknown = [Undefined(type_of(inputs[i])) for i in moving]
        bars = backward(linear.program, [*linear.residuals, *unknown], w)[len(linear.residuals) :]
        for i, bar in zip(moving, bars, strict=True):
            assert type_of(bar).shape == inputs[i].shape and type_of(bar).dtype == inputs[i].dtype, case.id
        forward = dot([materialised(dots[i]) for i in live], w)
        reverse = dot([tangents[i] for i in moving], [materialised(b) for b in bars])
        assert forward == pytest.approx(reverse, rel=1e-9, abs=1e-9), case.id


LINEAR = {
    "broadcast": [0], "reshape": [0], "transpose": [0], "flip": [0], "slice": [0], "pad": [0, 1], "gather": [0],
    "dynamic_slice": [0], "dynamic_update_slice": [0, 1], "reduce_sum": [0], "cumsum": [0], "dot_general": [0, 1], "conv": [0, 1],
    "conv_input_grad": [0, 1], "conv_filter_grad": [0, 1], "window_sum": [0], "window_select": [1], "window_scatter": [1],
    "concatenate": [0], "scatter": [0],
}  # fmt: skip


@families([c for c in F64 if c.row.name in LINEAR and c.moving()])
def test_transpose_rules_called_directly(group: list[Case]) -> None:
    for case in group:
        p, params = case.row.primitive, case.params()
        if case.row.name == "scatter" and params["op"] in ("min", "max"):
            continue
        params |= {"fill": 0} if case.row.name == "gather" else {}
        for i in LINEAR[case.row.name]:
            inputs = case.inputs()
            # Linear in one operand with the others fixed; zeros where the operation is linear in both together.
            if case.row.name in ("pad", "concatenate", "scatter", "dynamic_update_slice") and params.get("op") != "mul":
                moving = case.moving()
                inputs = [x if k == i or k not in moving else np.zeros_like(x) for k, x in enumerate(inputs)]
            y = p.reference(*inputs, **params)
            w = direction(case, [y], "w")[0]
            operands = [Undefined(type_of(x)) if k == i else x for k, x in enumerate(inputs)]
            bars = p.rule("transpose")(w, *operands, **params)
            assert len(bars) == len(inputs)
            assert all(b is None for k, b in enumerate(bars) if k != i), case.id
            assert dot([y], [w]) == pytest.approx(dot([inputs[i]], [bars[i]]), rel=1e-9, abs=1e-9), case.id


def test_ties_share_a_tangent() -> None:
    x, v = np.array([2.0, 5.0, 5.0, 1.0]), np.array([1.0, 10.0, 30.0, 7.0])
    assert as_numpy(reduce.reduce_max_p.rule("jvp")([x], [v], axes=(0,))[1]) == 20.0
    assert as_numpy(reduce.reduce_min_p.rule("jvp")([-x], [v], axes=(0,))[1]) == 20.0
    cum = reduce.cummax_p.rule("jvp")([x], [v], axis=0, reverse=False)[1]
    np.testing.assert_array_equal(as_numpy(cum), [1.0, 10.0, 30.0, 30.0])
    how: dict[str, Any] = {"window": (4,), "strides": (1,), "padding": ((0, 0),), "dilation": (1,)}
    assert as_numpy(window.window_max_p.rule("jvp")([x], [v], **how)[1]).tolist() == [10.0]
    at = np.array([[0], [0], [1]], np.int32)
    top = index.scatter_p.rule("jvp")(
        [np.array([3.0, 0.0]), at, np.array([3.0, 3.0, 4.0])], [np.array([1.0, 2.0]), Zero(type_of(at)), np.array([4.0, 7.0, 9.0])],
        axes=(0,), mode="raise", op="max",
    )[1]  # fmt: skip
    np.testing.assert_array_equal(as_numpy(top), [4.0, 9.0])


def test_product_with_zeros_has_derivatives_of_every_order() -> None:
    def f(*xs: Any) -> list[Any]:
        return [reduce.reduce_prod(xs[0], (0,))]

    def along(g: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
        return lambda *xs: [materialised(d) for d in jvp_flat(g, xs, [np.ones(3)])[1]]

    x = np.array([0.0, 0.0, 5.0])
    # (t)(t)(5 + t) = 5t² + t³
    assert as_numpy(along(f)(x)[0]) == 0.0
    assert as_numpy(along(along(f))(x)[0]) == 10.0
    assert as_numpy(along(along(along(f)))(x)[0]) == 6.0


def test_scatter_set_gives_a_cotangent_to_the_last_of_several_updates() -> None:
    x, at = np.zeros(3), np.array([[1], [1], [2], [7]], np.int32)
    w = np.array([1.0, 2.0, 3.0])
    x_bar, none, u_bar = index.scatter_p.rule("transpose")(
        w, Undefined(type_of(x)), at, Undefined(Type((4,), x.dtype)), axes=(0,), mode="drop", op="set"
    )
    assert none is None
    np.testing.assert_array_equal(as_numpy(x_bar), [1.0, 0.0, 0.0])
    np.testing.assert_array_equal(as_numpy(u_bar), [0.0, 2.0, 3.0, 0.0])


def test_scatter_mul_with_several_updates_of_an_element_some_zero() -> None:
    x, at = np.array([2.0, 3.0]), np.array([[0], [0], [1], [1], [1]], np.int32)
    u, w = np.array([0.0, 5.0, 0.0, 0.0, 7.0]), np.array([1.0, 1.0])
    v = [np.zeros(2), Zero(type_of(at)), np.array([10.0, 100.0, 1.0, 1.0, 1.0])]
    y, dot_ = index.scatter_p.rule("jvp")([x, at, u], v, axes=(0,), mode="raise", op="mul")
    np.testing.assert_array_equal(as_numpy(y), [0.0, 0.0])
    np.testing.assert_array_equal(as_numpy(dot_), [100.0, 0.0])
    assert dot([w], [dot_]) == 100.0


# --- batching -------------------------------------------------------------------------------------


def _axis_choices(shapes: Sequence[tuple[int, ...]]) -> list[tuple[int | None, ...]]:
    """Axes for every subset of the arguments: each argument's mapped axis takes every position, the others' vary along."""
    found: dict[tuple[int | None, ...], None] = {}
    n = len(shapes)
    subsets = [s for r in range(1, n + 1) for s in itertools.combinations(range(n), r)]
    for chosen in subsets:
        for k in range(max(len(shapes[i]) for i in chosen) + 1):
            for turn in (0, 1):
                axes = [None if i not in chosen else (k + turn * i) % (len(shapes[i]) + 1) for i in range(n)]
                found[tuple(axes)] = None
    return list(found)


def _lane(x: np.ndarray, axis: int | None, i: int) -> np.ndarray:
    return x if axis is None else np.take(x, i, axis)


def _stacked(case: Case, axes: Sequence[int | None], size: int) -> Arrays:
    """Inputs with a mapped axis of `size` different samples at the given axes."""
    samples = [case.inputs(seed) for seed in range(max(size, 1))]
    out = []
    for k, a in enumerate(axes):
        x = samples[0][k] if a is None else np.stack([s[k] for s in samples], a)
        out.append(x if a is None or size else np.take(x, [], a))
    return out


BATCHED = [
    c for c in CASES if c.row.args and small(c) and c.dtype in (dtypes.float64, dtypes.uint32, dtypes.bool_, dtypes.int32)
]  # fmt: skip
BATCHED = [c for c in BATCHED if c.dtype == dtypes.float64 or dtypes.SHORT[dtypes.float64] not in c.row.dtypes]


@families(BATCHED)
def test_batch_rule_is_a_loop_over_lanes(group: list[Case]) -> None:
    for case in group:
        p, params = case.row.primitive, case.params()
        if p.batch is None:
            continue
        for axes in _axis_choices([a.shape for a in case.row.args]):
            size = 3
            inputs = _stacked(case, axes, size)
            outs, at = p.batch(size, inputs, list(axes), **params)
            results = outputs(p, outs)
            lanes = [reference(case, [_lane(x, a, i) for x, a in zip(inputs, axes, strict=True)]) for i in range(size)]
            for k, (y, a) in enumerate(zip(results, outputs(p, at), strict=True)):
                y = as_numpy(y)
                for i in range(size):
                    got, expected = _lane(y, a, i), lanes[i][k]
                    assert got.shape == np.shape(expected) and got.dtype == expected.dtype, (case.id, axes, y.shape, a)
                    if dtypes.is_float(got.dtype):
                        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9, err_msg=f"{case.id} {axes}")
                    else:
                        np.testing.assert_array_equal(got, expected, err_msg=f"{case.id} {axes}")


@families([c for c in BATCHED if c.row.name not in ("jit", "cond", "scan", "while")])
def test_batch_rule_over_one_and_no_lanes(group: list[Case]) -> None:
    for case, size in itertools.product(group[:12], (0, 1)):
        p, params = case.row.primitive, case.params()
        if p.batch is None:
            continue
        axes = [0] * len(case.row.args)
        inputs = _stacked(case, axes, size)
        outs, at = p.batch(size, inputs, axes, **params)
        types = infer(p, [Type(x.shape[1:], x.dtype) for x in inputs], params)
        for y, a, t in zip(outputs(p, outs), outputs(p, at), types, strict=True):
            s = list(type_of(y).shape)
            assert a is not None and s.pop(a) == size and tuple(s) == t.shape, case.id


@families([c for c in SMOOTH if small(c) and c.row.backward and c.row.name not in ("cond", "scan")])
def test_vmap_of_reverse_mode(group: list[Case]) -> None:
    """The batch rules of what derivatives are made of: gradients mapped over all inputs, against gradients one by one."""
    for case in group[:40]:
        moving, size = case.moving(), 2
        w = direction(case, [np.asarray(y, np.float64) for y in reference(case, case.inputs())], "w")

        def gradient(*xs: Any, case: Case = case, moving: Any = moving, w: Arrays = w) -> list[Any]:
            outs, linear = linearize_flat(flat(case), xs, [i in moving for i in range(len(xs))])
            unknown = [Undefined(type_of(xs[i])) for i in moving]
            cts = [w[i] for i, m in enumerate(linear.moving) if m]
            bars = backward(linear.program, [*linear.residuals, *unknown], cts)
            return [materialised(b) for b in bars[len(linear.residuals) :]]

        samples = [case.inputs(seed) for seed in range(size)]
        stacked = [np.stack(xs) for xs in zip(*samples, strict=True)]
        outs, axes = batch_flat(gradient, size, stacked, [0] * len(stacked))
        for i, sample in enumerate(samples):
            for y, a, expected in zip(outs, axes, gradient(*sample), strict=True):
                close(_lane(as_numpy(y), a, i), expected, case)


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
    (lambda: contract.dot_general(F(3), np.zeros(3, np.float32), ((0,), (0,))), DTypeError, "lhs has dtype float64, rhs float32"),
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
    (lambda: index.scatter(F(3), _i + 3, F(2), axes=(0,)), IndexOutOfBoundsError, 'mode="drop"'),
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
