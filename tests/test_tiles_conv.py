"""Convolution kernels and their gradients: definitions and vector forms against NumPy."""

from __future__ import annotations

import pytest
from tile_cases import CONVS, F32, F64, MORE_CONVS, RUNNABLE, Conv, conv_cases, define, native

from fdl.backends.llvm import target as targets
from fdl.backends.llvm.tiles import wide_filters
from fdl.tracer.dtypes import DType


@pytest.mark.parametrize("conv", CONVS, ids=str)
def test_definitions_of_convolutions(conv: Conv) -> None:
    for case in conv_cases(conv, F32, images=1):
        define(case)


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", RUNNABLE)
def test_convolutions(name: str, dtype: DType, monkeypatch: pytest.MonkeyPatch) -> None:
    convs = [*CONVS, *MORE_CONVS] if dtype == F32 else MORE_CONVS
    cases = [case for conv in convs for case in conv_cases(conv, dtype)]
    assert all(native(cases, targets.named(name))), "every convolution has a vector form"
    # Blocks of a row: the gradient of the filter adds up over many visits.
    monkeypatch.setattr(wide_filters, "BLOCK_BYTES", 1)
    native([case for case in cases if case.kernel == "conv_filter_grad" and not case.attrs["accumulate"]], targets.named(name))


def test_many_images_make_one_filter_gradient() -> None:
    """More images than a block holds, and a number of them that blocks do not divide."""
    conv = Conv((14, 14), 8, (3, 3), 16, (1, 1), ((1, 1), (1, 1)))
    native([c for c in conv_cases(conv, F32, images=37) if c.kernel == "conv_filter_grad"], targets.host())
