"""Optimizers against their papers' recurrences written in NumPy, schedules, and one training run in a compiled loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl import nn, optim, random
from fdl.tracer.errors import TreeError

STEPS = 5


def _gradients(step: int, dtype: Any = np.float64) -> dict[str, Any]:
    rng = np.random.default_rng(step)
    return {"w": rng.normal(size=(3, 2)).astype(dtype), "b": [rng.normal(size=2).astype(dtype)]}


def _run(opt: optim.GradientTransformation, dtype: Any = np.float64) -> list[dict[str, Any]]:
    """The parameters after each of a few steps along fixed gradients."""
    params = _gradients(1000, dtype)
    state = opt.init(params)
    out = []
    for i in range(STEPS):
        updates, state = opt.update(_gradients(i, dtype), state, params)
        params = optim.apply_updates(params, updates)
        out.append(params)
    return out


def _expected(rule: Callable[[int, np.ndarray, np.ndarray, dict[str, Any]], np.ndarray]) -> list[np.ndarray]:
    """What `rule(t, p, g, memory)`, the next value of one parameter array, makes of the leaf "w"."""
    p, memory, out = _gradients(1000)["w"], {}, []
    for i in range(STEPS):
        p = rule(i, p, _gradients(i)["w"], memory)
        out.append(p)
    return out


def _sgd(t: int, p: Any, g: Any, memory: dict[str, Any]) -> Any:
    return p - 0.1 * g


def _momentum(t: int, p: Any, g: Any, memory: dict[str, Any]) -> Any:
    memory["v"] = 0.9 * memory.get("v", 0.0) + g
    return p - 0.1 * memory["v"]


def _nesterov(t: int, p: Any, g: Any, memory: dict[str, Any]) -> Any:
    memory["v"] = 0.9 * memory.get("v", 0.0) + g
    return p - 0.1 * (g + 0.9 * memory["v"])


def _adam_direction(t: int, g: Any, memory: dict[str, Any], b1: float, b2: float, eps: float) -> Any:
    memory["m"] = b1 * memory.get("m", 0.0) + (1 - b1) * g
    memory["v"] = b2 * memory.get("v", 0.0) + (1 - b2) * g * g
    return memory["m"] / (1 - b1 ** (t + 1)) / (np.sqrt(memory["v"] / (1 - b2 ** (t + 1))) + eps)


def _adam(t: int, p: Any, g: Any, memory: dict[str, Any]) -> Any:
    return p - 0.01 * _adam_direction(t, g, memory, 0.8, 0.99, 1e-6)


def _adamw(t: int, p: Any, g: Any, memory: dict[str, Any]) -> Any:
    return p - 0.01 * (_adam_direction(t, g, memory, 0.9, 0.999, 1e-8) + 0.1 * p)


def _scheduled(t: int, p: Any, g: Any, memory: dict[str, Any]) -> Any:
    return p - 0.1 * 0.5**t * g


def _l2(t: int, p: Any, g: Any, memory: dict[str, Any]) -> Any:
    return p - 0.1 * (g + 0.5 * p)


@pytest.mark.parametrize(
    ("opt", "rule"),
    [
        (optim.sgd(0.1), _sgd),
        (optim.sgd(0.1, momentum=0.9), _momentum),
        (optim.sgd(0.1, momentum=0.9, nesterov=True), _nesterov),
        (optim.adam(0.01, b1=0.8, b2=0.99, eps=1e-6), _adam),
        (optim.adamw(0.01, weight_decay=0.1), _adamw),
        (optim.sgd(lambda count: 0.1 * 0.5 ** count.astype(np.float64)), _scheduled),
        (optim.chain(optim.add_decayed_weights(0.5), optim.sgd(0.1)), _l2),
    ],
    ids=["sgd", "momentum", "nesterov", "adam", "adamw", "schedule", "l2"],
)
def test_recurrence(opt: optim.GradientTransformation, rule: Any) -> None:
    for got, want in zip(_run(opt), _expected(rule), strict=True):
        assert got["w"].dtype == np.float64
        np.testing.assert_allclose(np.asarray(got["w"]), want, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    "opt",
    [
        optim.adam(optim.schedules.cosine_decay(0.01, 10)),
        optim.sgd(0.1, 0.9),
        optim.chain(optim.clip_by_global_norm(1.0), optim.sgd(0.1)),
    ],
)
def test_dtypes_stay(opt: optim.GradientTransformation, dtype: str) -> None:
    last = _run(opt, np.dtype(dtype))[-1]
    assert last["w"].dtype == np.dtype(dtype) and np.isfinite(np.asarray(last["w"])).all()


def test_adam_first_step_is_the_sign() -> None:
    # 1 − β₂ᵗ in float32 would lose half its digits at t = 1.
    grads = {"a": fnp.array([1e-3, -7.0, 250.0])}
    opt = optim.adam(1.0, eps=0.0)
    updates, _ = opt.update(grads, opt.init(grads))
    np.testing.assert_allclose(np.asarray(updates["a"]), [-1, 1, -1], rtol=3e-7)


def test_clip_by_global_norm() -> None:
    opt = optim.clip_by_global_norm(1.0)
    for factor, expected in ((10.0, 1.0), (0.01, 0.05), (0.0, 0.0)):
        grads = {"a": fnp.array([3.0 * factor]), "b": fnp.array([[4.0 * factor]])}
        clipped, _ = opt.update(grads, opt.init(grads))
        assert float(optim.global_norm(clipped)) == pytest.approx(expected, rel=1e-6)


def test_errors() -> None:
    opt = optim.adamw(0.1)
    grads = {"w": fnp.ones(2)}
    with pytest.raises(ValueError, match="needs the parameters"):
        opt.update(grads, opt.init(grads))
    with pytest.raises(TypeError, match="expected gradient transformations"):
        optim.chain(optim.sgd)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Was it made by another chain"):
        opt.update(grads, optim.sgd(0.1).init(grads), grads)
    with pytest.raises(ValueError, match=r"b2=1\.0"):
        optim.adam(0.1, b2=1.0)
    with pytest.raises(TreeError, match="'v'"):
        optim.apply_updates(grads, {"v": fnp.ones(2)})


def test_state_is_a_printable_pytree() -> None:
    opt = optim.adam(0.1)
    params = {"w": fnp.ones(2)}
    state = opt.init(params)
    assert "AdamState(count=" in str(state)
    doubled = fdl.tracer.tree.map(lambda x: x * 2, state)
    assert type(doubled[0]) is type(state[0])


def test_schedules() -> None:
    cosine = optim.schedules.cosine_decay(2.0, 4, end=1.0)
    assert [round(float(cosine(i)), 4) for i in (0, 2, 4, 9)] == [2.0, 1.5, 1.0, 1.0]
    assert float(optim.schedules.exponential_decay(1.0, 2, 0.5)(4)) == pytest.approx(0.25)
    assert optim.schedules.constant(0.3)(7) == 0.3


@pytest.mark.parametrize("backend", ["reference", "llvm"])
def test_training_step_compiled_and_scanned(backend: str) -> None:
    # Forward, dropout, backward and optimizer in one compiled call: step by step, and all steps in one scan, alike.
    model = nn.Sequential(nn.Linear(8), nn.tanh, nn.Dropout(0.1), nn.Linear(1))
    x = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
    y = x[:, :1] * x[:, 1:2]
    opt = optim.adam(0.02)

    def loss(params: Any, key: Any) -> Any:
        value = nn.losses.mse(nn.stateless(model)(params, x, key=key, train=True), y)
        return value, {"loss": value}

    def step(carry: Any, i: Any) -> Any:
        params, state = carry
        grads, metrics = fdl.grad(loss, has_aux=True)(params, random.fold_in(random.key(1), i))
        updates, state = opt.update(grads, state, params)
        return (optim.apply_updates(params, updates), state), metrics["loss"]

    params, _ = model.init(random.key(0), x)
    carry = params, opt.init(params)
    jitted = fdl.jit(step, backend=backend)
    losses = []
    for i in range(12):
        carry, value = jitted(carry, i)
        losses.append(float(value))
    first = params, opt.init(params)
    _, scanned = fdl.jit(lambda c: fdl.scan(step, c, fnp.arange(12)), backend=backend)(first)
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(np.asarray(scanned), losses, rtol=2e-5)
