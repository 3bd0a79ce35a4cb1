"""Operations outside of `jit`: light ones on large arrays are compiled when they repeat, without changing a bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl import _slots
from fdl.backends import executable

N = _slots.LARGE // 64


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The operations that ran as kernels."""
    monkeypatch.setattr(_slots, "_seen", type(_slots._seen)())
    names: list[str] = []
    run = executable.run_single

    def counted(primitive: Any, inputs: Any, params: Any) -> Any:
        names.append(primitive.name)
        return run(primitive, inputs, params)

    monkeypatch.setattr(_slots.compiler, "run_single", counted)
    return names


def large(dtype: Any = np.float32) -> Any:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N, 64)) * 100
    x.flat[:4] = [0.0, np.inf, -np.inf, np.nan] if np.dtype(dtype).kind == "f" else [0, 1, 2, 3]
    return fnp.asarray(x.astype(dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int8, fnp.bfloat16, np.float16], ids=str)
def test_a_kernel_gives_the_bits_that_numpy_gave(dtype: Any, compiled: list[str]) -> None:
    x = large(dtype)
    for f in (lambda: x + x[0], lambda: x * 3, lambda: fnp.maximum(x, 0), lambda: x.T, lambda: -x, lambda: x < 2, lambda: x[::-1]):
        first, again = np.asarray(f()), np.asarray(f())
        assert first.dtype == again.dtype and first.tobytes() == again.tobytes()
    assert {"jit", "mul", "max", "transpose", "neg", "lt"} <= set(compiled)  # the sum has its broadcasting with it


def test_what_comes_once_is_not_compiled(compiled: list[str]) -> None:
    x = large()
    assert (x + x).shape == (x * x).shape == fnp.maximum(x, x).shape and x.reshape(-1).shape == (x.size,)
    assert not compiled


def test_small_and_inexact_operations_stay_with_numpy(compiled: list[str]) -> None:
    x, small = large(), fnp.ones((10, 10))
    for _ in range(3):
        assert (small + small).size == 100 and fnp.exp(x).shape == x.shape and x.sum().shape == ()
    assert not compiled


def test_the_reference_backend_compiles_nothing(compiled: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fdl.config, "backend", "reference")
    x = large()
    for _ in range(3):
        assert (x + x).shape == x.shape
    assert not compiled


SORTED = (
    lambda x: fnp.sort(x), lambda x: fnp.argsort(x, descending=True), lambda x: fnp.lexsort((x, x[::-1])), lambda x: fdl.lax.top_k(x, 7)[0],
    lambda x: fnp.unique_all(x).counts,
)  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.uint8, fnp.bfloat16, np.float16], ids=str)
def test_small_arrays_are_sorted_by_numpy_and_with_the_kernel_s_bits(
    dtype: Any, compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel for each shape would take a tenth of a second, and sorting a few elements none."""
    x = np.random.default_rng(0).integers(-9, 9, 100).astype(np.float64) / 2
    x[[3, 50, 97]] = -0.0
    if np.dtype(dtype).kind != "u" and np.dtype(dtype).kind != "i":
        x[[1, 20, 99]] = np.nan, np.inf, -np.nan
    y = fnp.asarray(np.abs(x).astype(dtype) if np.dtype(dtype).kind == "u" else x.astype(dtype))
    small = [np.asarray(f(y)) for f in SORTED]
    assert not compiled
    monkeypatch.setattr(_slots, "SMALL", 0)
    for kernels in (set(), {"sort", "top_k"}):  # the second time
        compiled.clear()
        large = [np.asarray(f(y)) for f in SORTED]
        assert set(compiled) - {"sort"} <= kernels and kernels <= set(compiled)
        for a, b in zip(small, large, strict=True):
            assert a.dtype == b.dtype and a.tobytes() == b.tobytes()
