"""Every primitive's jvp, transpose and batching rule, on every row of `primitive_table`."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from primitive_cases import Arrays, Case, close, families, normal, outputs, reference, small
from primitive_table import cases

from fdl.tracer import dtypes, trace
from fdl.tracer.array import as_numpy
from fdl.tracer.ir import Type, type_of
from fdl.tracer.ops import elementwise, index, reduce, window
from fdl.tracer.ops.rules import materialised
from fdl.tracer.primitive import Undefined, Zero
from fdl.tracer.trace import bind, infer, record
from fdl.tracer.transforms.jvp import jvp_flat, jvp_program
from fdl.tracer.transforms.linearize import linearize_flat, linearize_program
from fdl.tracer.transforms.transpose import backward, transpose_program
from fdl.tracer.transforms.vmap import batch_flat, batch_program

CASES = cases()
PRECISE = (dtypes.float64, dtypes.complex128)
F64 = [c for c in CASES if c.dtype in PRECISE]
SMOOTH = [c for c in F64 if c.moving()]


@pytest.fixture(autouse=True)
def _by_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operations run by their NumPy definitions here: it is the rules that are tested, not a backend."""
    monkeypatch.setattr(trace, "EAGER", trace.run_reference)


def flat(case: Case) -> Callable[..., list[Any]]:
    p, params = case.row.primitive, case.params()
    return lambda *xs: outputs(p, bind(p, *xs, **params))


def direction(case: Case, like: Sequence[np.ndarray], salt: str) -> Arrays:
    rng = np.random.default_rng(zlib.crc32((salt + case.id).encode()))
    return [normal(rng, x.shape, x.dtype) if dtypes.is_inexact(x.dtype) else np.zeros_like(x) for x in like]


def dot(xs: Sequence[Any], ys: Sequence[Any]) -> float:
    """The pairing of tangents and cotangents: the real part of the product, without a conjugate."""
    return float(sum(np.sum(as_numpy(x) * as_numpy(y)).real for x, y in zip(xs, ys, strict=True)))


def is_smooth(x: Any) -> bool:
    return type_of(x).dtype in PRECISE


# --- derivatives ----------------------------------------------------------------------------------

STEP = 1e-5


def _smooth_outputs(case: Case, inputs: Sequence[np.ndarray]) -> Arrays:
    return [np.asarray(y) for y in reference(case, inputs) if is_smooth(y)]


def _moves(case: Case) -> bool:
    """Whether the case has a derivative that differences show: not zero by definition, and not rounded to fewer bits."""
    return case.row.name not in ("stop_gradient", "callback") and all(
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


@families([c for c in CASES if c.row.args and c.dtype in (*PRECISE, dtypes.int32, dtypes.uint32)])
def test_rules_record_programs_without_constants(group: list[Case]) -> None:
    """Under `jit` the rules are traced: arrays that they made by themselves would be captured as constants."""
    for case in group:
        types = [Type(x.shape, x.dtype) for x in case.inputs()]
        program, captured = record(flat(case), types)
        assert not captured, case.id
        if case.row.primitive.batch is not None:
            batch_program(program, 3, (True,) * len(types))
        moving = tuple(i in case.moving() for i in range(len(types)))
        if not any(moving):
            continue
        jvp_program(program, moving)
        if case.row.backward:
            split = linearize_program(program, moving)
            undefined = (False,) * len(split.sources) + (True,) * sum(moving)
            transpose_program(split.linear, undefined, (True,) * len(split.linear.outputs))


LINEAR = {
    "broadcast": [0], "reshape": [0], "transpose": [0], "flip": [0], "slice": [0], "pad": [0, 1], "gather": [0],
    "dynamic_slice": [0], "dynamic_update_slice": [0, 1], "reduce_sum": [0], "cumsum": [0], "dot_general": [0, 1],
    "conv": [0, 1], "conv_input_grad": [0, 1], "conv_filter_grad": [0, 1],
    "window_sum": [0], "window_select": [1], "window_scatter": [1],
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
        [np.array([3.0, 0.0]), at, np.array([3.0, 3.0, 4.0])],
        [np.array([1.0, 2.0]), Zero(type_of(at)), np.array([4.0, 7.0, 9.0])],
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
    c for c in CASES if c.row.args and small(c) and c.dtype in (*PRECISE, dtypes.uint32, dtypes.bool_, dtypes.int32)
]  # fmt: skip
BATCHED = [c for c in BATCHED if c.dtype in PRECISE or dtypes.SHORT[dtypes.float64] not in c.row.dtypes]


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
                    if dtypes.is_inexact(got.dtype):
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


@families([c for c in SMOOTH if small(c) and c.row.backward])
def test_vmap_of_reverse_mode(group: list[Case]) -> None:
    """The batch rules of what derivatives are made of: gradients mapped over all inputs, against gradients one by one."""
    for case in group[:40]:
        moving, size = case.moving(), 2
        w = direction(case, [np.asarray(y, np.result_type(y, np.float64)) for y in reference(case, case.inputs())], "w")

        def gradient(*xs: Any, case: Case = case, moving: Any = moving, w: Arrays = w) -> list[Any]:
            _, linear = linearize_flat(flat(case), xs, [i in moving for i in range(len(xs))])
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
