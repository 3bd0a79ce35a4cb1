"""The cases of tests/lax_cases.py under `vmap` along different axes, and compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import fdl
from fdl import lax
from fdl.tracer import tree
from tests.lax_cases import CASES, Case

# Special functions are series and continued fractions in many equations: tests/test_special*.py map and compile them.
SPECIAL = {"betainc", "igamma", "igammac", "igamma_grad_a", "random_gamma_grad", "zeta", "polygamma"}
PLAIN = [c for c in CASES if c.draws and c.name.split(":")[0] not in SPECIAL]
FUNCTIONS = sorted({c.name.split(":")[0] for c in PLAIN})


def leaves(c: Case, *xs: Any) -> list[Any]:
    return tree.leaves(c.f(lax, *xs))


def mapped(c: Case, way: int) -> tuple[list[np.ndarray], list[int | None], list[list[Any]]]:
    """Arguments of two lanes, their mapped axes, and what each lane gives alone."""
    first = c.arrays()
    second = [x[::-1].copy() if x.ndim and not c.name.startswith("linalg") else x for x in first]
    if way == 2:  # only the first argument
        second = [second[0], *first[1:]]
        axes: list[int | None] = [0, *(None for _ in first[1:])]
    else:
        axes = [0 if way == 0 else x.ndim for x in first]
    args = [x if a is None else np.stack([x, y], a) for x, y, a in zip(first, second, axes, strict=True)]
    return args, axes, [leaves(c, *first), leaves(c, *second)]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_vmap_is_each_lane_alone(function: str) -> None:
    for number, c in enumerate(c for c in PLAIN if c.name.split(":")[0] == function):
        args, axes, alone = mapped(c, (number + len(function)) % 3)
        together = fdl.vmap(lambda *xs, c=c: leaves(c, *xs), in_axes=tuple(axes))(*args)
        for k, y in enumerate(together):
            wanted = np.stack([np.asarray(lane[k]) for lane in alone])
            assert np.asarray(y).dtype == wanted.dtype, c.name
            np.testing.assert_allclose(np.asarray(y), wanted, rtol=1e-9, atol=1e-11, err_msg=c.name)


def together(cases: Sequence[Case]) -> Callable[..., list[list[Any]]]:
    """One function of the arguments of several cases, so that they are one program to compile."""

    def f(groups: list[list[Any]]) -> list[list[Any]]:
        return [leaves(c, *xs) for c, xs in zip(cases, groups, strict=True)]

    return f


@pytest.mark.parametrize("part", range(12))
def test_compiled_is_the_same(part: int) -> None:
    cases = PLAIN[part::24]  # one of two
    args = [c.arrays() for c in cases]
    f = together(cases)
    for c, compiled, eager in zip(cases, fdl.jit(f)(args), f(args), strict=True):
        for y, wanted in zip(compiled, eager, strict=True):
            assert (y.dtype, y.weak_type) == (wanted.dtype, wanted.weak_type), c.name
            np.testing.assert_allclose(np.asarray(y), np.asarray(wanted), rtol=1e-11, atol=1e-12, err_msg=c.name)
