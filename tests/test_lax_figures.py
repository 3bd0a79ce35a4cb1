"""`fdl.lax` against JAX's figures, and its derivatives against differences, case by case of tests/lax_cases.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdl
from fdl import lax
from fdl.testing import check_grads
from fdl.tracer import tree
from tests.lax_cases import CASES, Case

FIGURES = np.load(Path(__file__).parent / "data" / "jax_lax.npz")
FUNCTIONS = sorted({c.name.split(":")[0] for c in CASES})
# Loops, whose second derivatives take a second to compile. Their parts are checked to order 2 by themselves.
FIRST_ORDER = {"linalg.householder_product", "linalg.tridiagonal_solve", "ragged_dot", "linalg.cholesky"}


def of(function: str) -> list[Case]:
    return [c for c in CASES if c.name.split(":")[0] == function]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_is_what_jax_gives(function: str) -> None:
    for c in of(function):
        leaves = tree.leaves(c.f(lax, *c.arrays()))
        assert f"{c.name}|{len(leaves)}" not in FIGURES, f"{c.name}: too few results"
        for i, leaf in enumerate(leaves):
            assert isinstance(leaf, fdl.Array), c.name
            wanted, given = FIGURES[f"{c.name}|{i}"], np.asarray(leaf)
            assert (given.dtype, given.shape) == (wanted.dtype, wanted.shape), c.name
            if c.rtol == 0:
                np.testing.assert_array_equal(given, wanted, c.name)
            else:
                np.testing.assert_allclose(given, wanted, rtol=c.rtol, atol=c.rtol, err_msg=c.name)


@pytest.mark.parametrize("function", [f for f in FUNCTIONS if any(c.grad for c in of(f))])
def test_derivatives(function: str) -> None:
    for c in of(function):
        if c.grad:

            def f(*xs: Any, c: Case = c) -> Any:
                return c.f(lax, *xs)

            check_grads(f, tuple(c.arrays()), order=1 if function in FIRST_ORDER else 2)


def test_every_function_has_a_case() -> None:
    # What is a name of something that has its tests where it is declared.
    elsewhere = {
        "all_gather", "all_to_all", "associative_scan", "axis_index", "axis_size", "cond", "custom_linear_solve", "custom_root",
        "fori_loop", "map", "pmax", "pmean", "pmin", "ppermute", "pshuffle", "psum", "psum_scatter", "scan", "stop_gradient", "switch",
        "while_loop", "annotations",
    }  # fmt: skip
    rest = {  # in test_lax_rules.py
        "broadcast_shapes", "conv_dimension_numbers", "conv_general_permutations", "conv_general_shape_tuple", "conv_shape_tuple",
        "conv_transpose_shape_tuple", "dtype", "empty", "padtype_to_pads", "pswapaxes", "reduce_window_shape_tuple", "zeros_like_array",
    }  # fmt: skip
    public = {
        n for n in dir(lax) if not n.startswith("_") and callable(getattr(lax, n)) and not isinstance(getattr(lax, n), type)
    }
    tested = {f for f in FUNCTIONS if not f.startswith("linalg.")}
    aliases = {"ConvGeneralDilatedDimensionNumbers", "DotDimensionNumbers", "PrecisionLike"}
    assert public - aliases == tested | (elsewhere & public) | rest
    assert set(lax.linalg.__all__) == {f.removeprefix("linalg.") for f in FUNCTIONS if f.startswith("linalg.")}
