"""Transforms on top of a random program: `vmap` over random axes, `jvp`, `vjp`, `jit`, `checkpoint`, nested.

A `Step` is plain data and fits any program: axes and directions follow from its seed and the types that it meets, so that a failing
program can be made smaller under the same steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import fdl
from fdl.tracer import dtypes
from fdl.tracer.array import as_numpy
from fdl.tracer.ir import Program, Type, type_of
from fdl.tracer.trace import record
from fdl.tracer.transforms.jvp import program_function

from .choices import Choices, Seeded
from .control import IRREVERSIBLE, everything
from .values import Array, sample

Flat = Callable[..., list[Any]]


@dataclass(frozen=True, slots=True)
class Step:
    """A transform: "vmap", "jvp", "vjp", "jit" or "checkpoint"."""

    kind: str
    seed: int

    def __str__(self) -> str:
        return f"{self.kind}({self.seed})"


def draw_steps(c: Choices, program: Program, inputs: Sequence[Array]) -> tuple[Step, ...]:
    """Up to three transforms; fewer and cheaper ones on large programs."""
    n = len(everything(program))
    big = sum(x.size for x in inputs) > 20_000
    budget = c.weighted([(0, 35), (1, 45), (2, 15), (3, 5)])
    if n > 30 or big:
        budget = min(budget, 1)
    steps: list[Step] = []
    for _ in range(budget):
        kinds = [("vmap", 0 if big else 5), ("jvp", 3), ("vjp", 5), ("jit", 2), ("checkpoint", 1)]
        if n > 45:
            kinds = [("vmap", 5), ("jit", 2)]
        steps.append(Step(c.weighted([k for k in kinds if k[1]]), c.integer(0, 2**31 - 1)))
    return tuple(steps)


def function(program: Program) -> Flat:
    """A program as a traceable function of flat arrays."""
    return program_function(program)


def recorded(f: Flat, inputs: Sequence[Array], name: str = "main") -> Program:
    """The program of a flat function; what it closes over is constants."""
    program, captured = record(f, [Type(x.shape, x.dtype) for x in inputs], name=name)
    n = len(captured)
    values = tuple(np.array(as_numpy(x), order="C") for x in captured)
    return Program(program.inputs[n:], program.equations, program.outputs, program.inputs[:n], values, name)


@dataclass(frozen=True, slots=True)
class Transformed:
    """A function and its inputs after a transform.

    `lanes`: of a vmap, the axes of inputs and outputs, and the size.
    """

    f: Flat
    inputs: tuple[Array, ...]
    in_axes: tuple[int | None, ...] = ()
    out_axes: tuple[int, ...] = ()
    size: int = 0


def moving(types: Sequence[Any]) -> list[int]:
    """The numbers of those that have derivatives."""
    return [i for i, t in enumerate(types) if dtypes.is_inexact(t.dtype)]


def is_reversible(program: Program) -> bool:
    """Whether nothing in it has no reverse mode at all."""
    return not any(e.primitive.name in IRREVERSIBLE for e in everything(program))


def apply(step: Step, f: Flat, inputs: Sequence[Array], outputs: Sequence[Type]) -> Transformed | None:
    """A function of flat arrays after a transform, and inputs for it; None where there is nothing to transform."""
    c = Seeded(step.seed)
    match step.kind:
        case "jit":
            return Transformed(lambda *xs: list(fdl.jit(f)(*xs)), tuple(inputs))
        case "checkpoint":
            return Transformed(lambda *xs: list(fdl.checkpoint(f)(*xs)), tuple(inputs))
        case "vmap":
            return _vmapped(c, f, inputs, outputs)
        case "jvp":
            return _pushed(c, f, inputs, outputs)
        case "vjp":
            return _pulled(c, f, inputs, outputs)
    raise AssertionError(step.kind)


def _vmapped(c: Choices, f: Flat, inputs: Sequence[Array], outputs: Sequence[Type]) -> Transformed | None:
    if not inputs:
        return None
    size, rng = c.pick((2, 3, 1, 5)), c.rng()
    first = c.integer(0, len(inputs) - 1)
    axes = [c.integer(0, x.ndim) if i == first or c.chance(70) else None for i, x in enumerate(inputs)]
    stacked = [
        x if a is None else np.stack([x, *(varied(rng, x) for _ in range(size - 1))], a)
        for x, a in zip(inputs, axes, strict=True)
    ]
    out_axes = [c.integer(0, t.ndim) for t in outputs]
    g = fdl.vmap(f, in_axes=tuple(axes), out_axes=out_axes)
    return Transformed(lambda *xs: list(g(*xs)), tuple(stacked), tuple(axes), tuple(out_axes), size)


def varied(rng: np.random.Generator, x: Array) -> Array:
    """The elements of `x` in another order: values of the same range, so that indices stay in bounds and functions in their domains."""
    return rng.permutation(x.reshape(-1)).reshape(x.shape)


def _pushed(c: Choices, f: Flat, inputs: Sequence[Array], outputs: Sequence[Type]) -> Transformed | None:
    which, rng = moving(inputs), c.rng()
    if not which or not moving(outputs):
        return None
    n = len(inputs)

    def push(*xs: Any) -> list[Any]:
        def g(*ys: Any) -> list[Any]:
            full = list(xs[:n])
            for i, y in zip(which, ys, strict=True):
                full[i] = y
            return list(f(*full))

        outs, dots = fdl.jvp(g, tuple(xs[i] for i in which), tuple(xs[n:]))
        return [*outs, *(d for o, d in zip(outs, dots, strict=True) if dtypes.is_inexact(type_of(o).dtype))]

    return Transformed(push, (*inputs, *(sample(rng, inputs[i].shape, inputs[i].dtype) for i in which)))


def _pulled(c: Choices, f: Flat, inputs: Sequence[Array], outputs: Sequence[Type]) -> Transformed | None:
    which, given, rng = moving(inputs), moving(outputs), c.rng()
    if not which or not given:
        return None
    n = len(inputs)

    def pull(*xs: Any) -> list[Any]:
        def g(*ys: Any) -> list[Any]:
            full = list(xs[:n])
            for i, y in zip(which, ys, strict=True):
                full[i] = y
            outs = f(*full)
            return [outs[k] for k in given]

        _, back = fdl.vjp(g, *(xs[i] for i in which))
        return list(back(list(xs[n:])))

    return Transformed(pull, (*inputs, *(sample(rng, outputs[k].shape, outputs[k].dtype) for k in given)))
