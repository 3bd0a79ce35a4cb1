"""Convolutions through the compiler: lines cut into blocks, against the primitives' own NumPy definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl import nn
from fdl.backends.loops.access import extent_of
from fdl.backends.loops.ir import Call, For, If, walk
from fdl.backends.loops.lower import convolve, lower
from fdl.backends.loops.pipeline import stages
from fdl.tracer.ops.convolve import conv, conv_filter_grad_p, conv_input_grad_p, conv_out_shape, conv_p
from fdl.tracer.trace import bind

Array = np.ndarray[Any, Any]

LINES = [
    # length, channels, window, features, strides, padding, lhs_dilation, rhs_dilation
    (64, 3, 5, 4, 1, (2, 2), 1, 1),
    (64, 3, 5, 4, 1, (0, 0), 1, 1),
    (61, 2, 4, 3, 3, (1, 2), 1, 1),
    (40, 2, 16, 3, 1, (15, 15), 8, 1),
    (50, 2, 3, 5, 2, (4, 3), 1, 2),
    (33, 2, 3, 4, 2, (1, 2), 3, 2),
    (70, 1, 9, 2, 4, (-2, -3), 1, 1),
    (70, 4, 3, 4, 1, (1, 1), 1, 1),
]


def operands(case: tuple[Any, ...], images: int = 2) -> tuple[Array, Array, Array, dict[str, Any]]:
    """An input, filters, a cotangent of the output, and the parameters."""
    n, c, k, o, stride, padding, left, right = case
    how = {"strides": (stride,), "padding": (padding,), "lhs_dilation": (left,), "rhs_dilation": (right,)}
    rng = np.random.default_rng(n)
    (out,) = conv_out_shape((n,), (k,), **how)
    arrays = (rng.standard_normal(shape).astype(np.float32) for shape in ((images, n, c), (k, c, o), (images, out, o)))
    return *arrays, how | {"groups": 1}  # type: ignore[return-value]


@pytest.mark.parametrize("case", LINES, ids=str)
def test_lines_in_blocks(case: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolve, "GRAIN", 400)
    x, f, y_bar, how = operands(case)
    calls = [
        (conv_p, (x, f), how),
        (conv_input_grad_p, (y_bar, f), how | {"in_spatial": x.shape[1:-1]}),
        (conv_filter_grad_p, (x, y_bar), how | {"window": f.shape[:-2]}),
    ]
    for primitive, args, params in calls:
        got = fdl.jit(lambda *a, p=primitive, k=params: bind(p, *a, **k))(*args)
        np.testing.assert_allclose(got, primitive.reference(*args, **params), rtol=2e-5, atol=2e-5, err_msg=primitive.name)


def test_blocks_in_the_middle_of_a_line_need_no_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block but the first and the last is the same convolution, of another part of the line."""
    monkeypatch.setattr(convolve, "GRAIN", 1 << 18)
    x, f, _, how = operands((4096, 8, 5, 8, 1, (2, 2), 1, 1), images=1)
    program = fdl.make_ir(lambda x, f: bind(conv_p, x, f, **how))(x, f)
    routine = lower(program)
    branches = [s for s in walk(routine.body) if isinstance(s, If)]
    calls = [s for s in walk(routine.body) if isinstance(s, Call)]
    assert len(branches) == len(calls) == 3
    assert [dict(c.attrs)["padding"] for c in calls] == [((2, 0),), ((0, 0),), ((0, 2),)]


def test_a_long_line_is_cut_for_the_cache() -> None:
    """Even where there are images enough for all threads."""
    x, f, _, how = operands((1 << 16, 4, 3, 4, 1, (1, 1), 1, 1), images=1)
    images = np.broadcast_to(x, (64, *x.shape[1:]))
    program = fdl.make_ir(lambda x, f: bind(conv_p, x, f, **how))(images, f)
    assert sum(isinstance(s, Call) for s in walk(lower(program).body)) == 3


def test_images_stay_tasks_beside_a_matrix_product_of_few_panels() -> None:
    """What follows a convolution over many images, or comes before its gradient, does not make it run as two tasks."""
    x = np.zeros((64, 20, 20, 8), np.float32)
    f, w = np.zeros((3, 3, 8, 32), np.float32), np.zeros((9 * 9 * 32, 128), np.float32)
    pool = nn.MaxPool(2)

    def loss(f: Any, w: Any) -> Any:
        how = {"strides": (1, 1), "padding": ((0, 0),) * 2, "lhs_dilation": (1, 1), "rhs_dilation": (1, 1), "groups": 1}
        y = pool((), (), fnp.maximum(conv(x, f, **how), 0))[0]
        return (fnp.reshape(y, (64, -1)) @ w).sum()

    program = fdl.make_ir(fdl.grad(loss, argnums=(0, 1)))(f, w)
    tasks = {}
    for stmt in stages(program)[-1].body:
        kernels = {s.kernel for s in walk((stmt,)) if isinstance(s, Call)}
        if isinstance(stmt, For) and stmt.kind == "parallel":
            tasks |= dict.fromkeys(kernels, extent_of(stmt))
    assert tasks["conv"] == 64
    assert tasks["conv_filter_grad"] == 16
