"""The building blocks of optimizers: scaling, momentum, Adam's scaling, weight decay, clipping."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from fdl import numpy as fnp
from fdl.tracer import dtypes, tree
from fdl.tracer.errors import at, user_source

from .transformation import GradientTransformation, Params, Schedule, State, Updates, _as, global_norm, mapped, stateless


def scale(factor: float) -> GradientTransformation:
    """Updates times a constant."""
    return stateless(lambda updates, params: tree.map(lambda u: fnp.multiply(u, factor), updates))


class ScheduleState(NamedTuple):
    """How many updates there have been: an int32 scalar."""

    count: Any


def scale_by_schedule(schedule: Schedule) -> GradientTransformation:
    """Updates times `schedule(count)`; `count` is 0 at the first update."""

    def init(params: Params) -> State:
        return ScheduleState(fnp.zeros((), dtypes.int32))

    def update(updates: Updates, state: Any, params: Params = None) -> tuple[Updates, State]:
        factor = schedule(state.count)
        return tree.map(lambda u: fnp.multiply(u, _as(factor, u)), updates), ScheduleState(state.count + 1)

    return GradientTransformation(init, update)


def scale_by_learning_rate(learning_rate: float | Schedule) -> GradientTransformation:
    """Updates times −learning rate: the last link of a chain, which turns an ascent direction into a step down."""
    if callable(learning_rate):
        schedule = learning_rate
        return scale_by_schedule(lambda count: fnp.negative(schedule(count)))
    return scale(-learning_rate)


class TraceState(NamedTuple):
    """The decaying sum of past updates, a pytree like the parameters."""

    trace: Any


def trace(decay: float, nesterov: bool = False) -> GradientTransformation:
    """Momentum: v ← decay · v + g, and v is the update.

    Polyak, 1964.  With `nesterov`, g + decay · v is: Sutskever et al., ICML 2013, in the form where the parameters are those
    looked ahead to.
    """

    def init(params: Params) -> State:
        return TraceState(tree.map(fnp.zeros_like, params))

    def update(updates: Updates, state: Any, params: Params = None) -> tuple[Updates, State]:
        new = mapped("trace", lambda g, v: fnp.add(fnp.multiply(v, decay), g), updates=updates, state=state.trace)
        out = tree.map(lambda g, v: fnp.add(fnp.multiply(v, decay), g), updates, new) if nesterov else new
        return out, TraceState(new)

    return GradientTransformation(init, update)


class AdamState(NamedTuple):
    """The number of updates (int32 scalar), and the estimates of the gradients' first and second moments."""

    count: Any
    mu: Any
    nu: Any


def scale_by_adam(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> GradientTransformation:
    """Adam's direction: Kingma and Ba, ICLR 2015, algorithm 1 without the step size.

        m ← β₁ m + (1 − β₁) g          v ← β₂ v + (1 − β₂) g²
        update = m̂ / (√v̂ + ε)   with   m̂ = m / (1 − β₁ᵗ),  v̂ = v / (1 − β₂ᵗ),  t = 1, 2, …
    """
    for name, b in (("b1", b1), ("b2", b2)):
        if not 0 <= b < 1:
            raise ValueError(f"scale_by_adam: {name}={b!r}: expected a decay rate in [0, 1).{at(user_source())}")

    def init(params: Params) -> State:
        return AdamState(fnp.zeros((), dtypes.int32), tree.map(fnp.zeros_like, params), tree.map(fnp.zeros_like, params))

    def update(updates: Updates, state: Any, params: Params = None) -> tuple[Updates, State]:
        count = state.count + 1
        mu = mapped(
            "scale_by_adam", lambda g, m: fnp.add(fnp.multiply(m, b1), fnp.multiply(g, 1 - b1)), updates=updates, state=state.mu
        )
        nu = tree.map(lambda g, v: fnp.add(fnp.multiply(v, b2), fnp.multiply(fnp.square(g), 1 - b2)), updates, state.nu)
        wide = any(fnp.asarray(m).dtype == dtypes.float64 for m in tree.leaves(mu))
        t = count.astype(dtypes.float64 if wide else dtypes.float32)
        # One division for all elements: multiplying by the reciprocal is cheaper in the compiled update.
        first, second = fnp.reciprocal(_one_minus_power(b1, t)), fnp.reciprocal(_one_minus_power(b2, t))

        def direction(m: Any, v: Any) -> Any:
            unbiased = fnp.multiply(m, _as(first, m))
            return fnp.divide(unbiased, fnp.add(fnp.sqrt(fnp.multiply(v, _as(second, v))), eps))

        return tree.map(direction, mu, nu), AdamState(count, mu, nu)

    return GradientTransformation(init, update)


def _one_minus_power(b: float, t: Any) -> Any:
    """1 − bᵗ without cancellation: for b near 1 and small t, 1 − pow(b, t) would lose most of its digits."""
    return fnp.negative(fnp.expm1(fnp.multiply(t, math.log(b)))) if b > 0 else fnp.ones_like(t)


def add_decayed_weights(rate: float) -> GradientTransformation:
    """Updates plus rate · params: after Adam's scaling, decoupled weight decay (Loshchilov and Hutter, ICLR 2019); before it,
    an L2 penalty's gradient.

    Raises: ValueError when `update` is called without `params`.
    """

    def decayed(updates: Updates, params: Params) -> Updates:
        if params is None:
            raise ValueError(
                f"add_decayed_weights: update needs the parameters: call update(grads, state, params).{at(user_source())}"
            )
        return mapped("add_decayed_weights", lambda u, p: fnp.add(u, fnp.multiply(p, rate)), updates=updates, params=params)

    return stateless(decayed)


def clip_by_global_norm(max_norm: float) -> GradientTransformation:
    """Updates scaled down, all by one factor, where their global norm is above `max_norm` (Pascanu, Mikolov and Bengio, ICML 2013)."""

    def clipped(updates: Updates, params: Params) -> Updates:
        norm = global_norm(updates)
        factor = fnp.where(fnp.greater(norm, max_norm), fnp.divide(max_norm, norm), 1.0)
        return tree.map(lambda u: fnp.multiply(u, _as(factor, u)), updates)

    return stateless(clipped)
