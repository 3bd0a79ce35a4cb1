"""Derivatives of a random program against finite differences, element by element of its outputs, and reverse mode against forward mode.

A program has kinks and jumps everywhere (comparisons, extrema, rounding), so that a difference is only believed where differences over
one step and over half of it agree, to the left as to the right.  What `stop_gradient` and the like declare constant is frozen at the
values that it has at the point itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import fdl
from fdl.tracer import dtypes
from fdl.tracer.errors import IndexOutOfBoundsError, MissingRuleError
from fdl.tracer.ir import Equation, Program

from .control import everything
from .failure import Failure
from .stochastic import Interpreter
from .transforms import function, moving, recorded
from .values import Array, sample

STEP = 2e-5
FROZEN = frozenset({"stop_gradient", "bitcast", "nextafter", "floor", "ceil", "round", "trunc", "sign"})
"""What has a derivative of zero by convention. A steep staircase would pass for a slope: differences over one step and half of it agree."""


def _is_frozen(e: Equation) -> bool:
    """Whether an equation is constant to derivatives. The sign of a complex number, z / |z|, is no staircase: it turns with z."""
    dtype = e.outputs[0].type.dtype
    return e.primitive.name in FROZEN and dtypes.is_inexact(dtype) and not (e.primitive.name == "sign" and dtypes.is_complex(dtype))


class _Frozen(Interpreter):
    """Runs a program with the values of frozen equations as they were in the first run."""

    def __init__(self) -> None:
        super().__init__(0, np.random.default_rng(0))
        self.values: list[Any] = []
        self.at = -1

    def equation(self, e: Equation, xs: Sequence[Any]) -> Sequence[Any]:
        if not _is_frozen(e):
            return super().equation(e, xs)
        if self.at < 0:
            self.values.append(super().equation(e, xs))
            return self.values[-1]
        self.at += 1
        found = self.values[self.at - 1] if self.at <= len(self.values) else super().equation(e, xs)
        return found

    def again(self) -> None:
        self.at = 0


def is_precise(program: Program) -> bool:
    """Whether everything inexact is float64 or complex128, so that differences mean something."""
    variables = [*program.inputs, *program.constants, *(v for e in everything(program) for v in e.outputs)]
    return all(v.type.dtype in (dtypes.float64, dtypes.complex128) or not dtypes.is_inexact(v.type.dtype) for v in variables)


def check_derivatives(program: Program, inputs: Sequence[Array], seed: int) -> dict[str, int]:
    """How many elements were compared, and what was refused.

    Raises: Failure "forward" or "reverse".
    """
    which, outs = moving(inputs), moving(program.out_types)
    if not which or not outs or not is_precise(program):
        return {}
    rng = np.random.default_rng(seed)
    v = [sample(rng, inputs[i].shape, inputs[i].dtype) for i in which]
    f = function(program)

    def g(*ys: Any) -> list[Any]:
        full = list(inputs)
        for i, y in zip(which, ys, strict=True):
            full[i] = y
        found = f(*full)
        return [found[k] for k in outs]

    x = [inputs[i] for i in which]
    run = _Frozen()
    counts: dict[str, int] = {}
    try:
        pushed = recorded(lambda *ys: list(fdl.jvp(g, ys[: len(x)], ys[len(x) :])[1]), [*x, *v])
    except MissingRuleError:
        return {"no forward mode": 1} | _reverse(g, x, v, None, rng)
    try:
        dots = Interpreter(0, rng).run(pushed, [*x, *v])
        loose = [Interpreter(1.0, rng).run(pushed, [*x, *v]) for _ in range(2)]
        values = [_at(run, program, inputs, which, v, h, outs) for h in (0.0, STEP, -STEP, STEP / 2, -STEP / 2)]
    except IndexOutOfBoundsError:
        return {}
    for k, dot in enumerate(dots):
        counts["elements"] = counts.get("elements", 0) + int(np.size(dot))
        doubt = _spread(dot, [d[k] for d in loose])
        counts["compared"] = counts.get("compared", 0) + _compare(np.asarray(dot), [y[k] for y in values], doubt, outs[k])
    counts |= {"forward": 1} | _reverse(g, x, v, dots, rng)
    return counts


def _at(
    run: _Frozen,
    program: Program,
    inputs: Sequence[Array],
    which: Sequence[int],
    v: Sequence[Array],
    h: float,
    outs: Sequence[int],
) -> list[Array]:
    full = list(inputs)
    for i, d in zip(which, v, strict=True):
        full[i] = inputs[i] + np.asarray(h, inputs[i].dtype) * d
    found = run.run(program, full)
    run.again()
    return [np.asarray(found[k]) for k in outs]


def _spread(exact: Any, others: Sequence[Any]) -> Any:
    """How far a derivative moves with rounding errors: infinitely where it is not determined, as for vectors of equal eigenvalues."""
    with np.errstate(all="ignore"):
        far = np.max([np.abs(np.asarray(y) - exact) for y in others], 0)
    return np.where(np.isnan(far), np.inf, far)


def _compare(dot: Array, values: Sequence[Array], loose: Any, number: int) -> int:
    """How many elements of a derivative were compared with differences. Raises: Failure."""
    y, right, left, near_right, near_left = values
    with np.errstate(all="ignore"):
        whole, half = (right - left) / (2 * STEP), (near_right - near_left) / STEP
        rough = np.abs(whole - half)
        sides = np.abs((right - y) / STEP - (y - left) / STEP)
        scale = np.abs(whole) + np.abs(half)
        size = np.maximum(np.abs(y), 1.0)
        smooth = (rough <= 1e-4 * scale + 1e-6 * size) & (sides <= 1e-2 * scale + 1e-4 * size) & np.isfinite(np.abs(dot))
        smooth &= loose <= 1e-4 * scale + 1e-6 * size
        wrong = smooth & ~(np.abs(dot - half) <= 10 * rough + 1e-4 * scale + 2e-5 * size)
    if wrong.any():
        at = tuple(int(k) for k in np.argwhere(wrong)[0])
        raise Failure(
            "forward",
            f"the derivative of output {number}{list(at)} is {dot[at]!r}, differences give {half[at]!r}; "
            f"{int(wrong.sum())} of {int(smooth.sum())} elements are wrong",
        )
    return int(np.sum(smooth))


def _reverse(
    g: Any, x: Sequence[Array], v: Sequence[Array], dots: Sequence[Any] | None, rng: np.random.Generator
) -> dict[str, int]:
    """Holds a vjp to the jvp: Re Σ w · J v = Re Σ Jᵀ w · v."""
    n = len(x)
    shapes = [np.shape(d) for d in dots] if dots is not None else []
    if dots is None:
        return {}
    w = [sample(rng, s, np.asarray(d).dtype) for s, d in zip(shapes, dots, strict=True)]
    try:
        pulled = recorded(lambda *ys: list(fdl.vjp(g, *ys[:n])[1](list(ys[n:]))), [*x, *w])
    except MissingRuleError:
        return {"no reverse mode": 1}
    grads = Interpreter(0, rng).run(pulled, [*x, *w])
    moved = Interpreter(1.0, rng).run(pulled, [*x, *w])
    with np.errstate(all="ignore"):
        forward = [np.asarray(a * b) for a, b in zip(w, dots, strict=True)]
        backward = [np.asarray(a * b) for a, b in zip(grads, v, strict=True)]
        one, other = (float(sum(np.sum(t).real for t in ts)) for ts in (forward, backward))
        doubt = float(sum(np.sum(np.abs((a - m) * b)) for a, m, b in zip(grads, moved, v, strict=True)))
        size = float(sum(np.sum(np.abs(t)) for ts in (forward, backward) for t in ts))
    if not np.isfinite(size) or size > 1e12 or not doubt <= 1e-5 * size:
        return {"not determined": 1}
    if abs(one - other) > 1e-7 * size + 1e-9:
        raise Failure(
            "reverse", f"Σ w · J v is {one!r} in forward mode, {other!r} in reverse mode; all terms add up to {size:.3g}"
        )
    return {"reverse": 1}
