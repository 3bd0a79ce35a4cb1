"""Convolutions whose features are fewer than the lanes of a vector, in the forms made for them; and what kernels read around operands."""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Any

import numpy as np
import pytest
from tile_cases import CONVS, F32, F64, MORE_CONVS, NARROW_CONVS, RUNNABLE, Case, conv_cases, link, native

from fdl.backends.llvm import target as targets
from fdl.backends.llvm.tiles import tile_function

Array = np.ndarray[Any, Any]


@pytest.mark.parametrize("name", RUNNABLE)
def test_narrow_convolutions(name: str) -> None:
    target = targets.named(name)
    cases = [case for conv in NARROW_CONVS for case in conv_cases(conv, F32)]
    assert all(native(cases, target))
    functions = [tile_function(case.call(), target) for case in cases]
    symbols = {symbol for f in functions if f for symbol in f.whole()[0]}
    for form in ("slide", "tile_planes", "tile_separate", "tile_expand", "tile_sums", "tile_turned_sums", "put"):
        assert any(symbol.startswith(f"fdl_{form}") for symbol in symbols), f"no case is served by {form}"


@pytest.mark.parametrize("name", RUNNABLE)
def test_narrow_convolutions_of_doubles(name: str) -> None:
    cases = [case for conv in NARROW_CONVS[::3] for case in conv_cases(conv, F64, images=1)]
    assert all(native(cases, targets.named(name)))


# --- what is read -----------------------------------------------------------------------------------

LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def guarded(array: Array, at_end: bool) -> Array:
    """A copy of a dense array between pages that may not be touched, against the one after it or the one before."""
    assert LIBC is not None
    page = mmap.PAGESIZE
    inner = -(-array.nbytes // page) * page
    memory = mmap.mmap(-1, inner + 2 * page)
    base = np.frombuffer(memory, np.uint8)
    for place in (0, page + inner):
        assert LIBC.mprotect(ctypes.c_void_p(base.ctypes.data + place), ctypes.c_size_t(page), 0) == 0
    start = page + (inner - array.nbytes if at_end else 0)
    copy = base[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


@pytest.mark.skipif(LIBC is None, reason="protects pages by Linux's mprotect")
@pytest.mark.parametrize("name", RUNNABLE)
def test_kernels_touch_nothing_around_their_operands(name: str) -> None:
    target = targets.named(name)
    convs = [*CONVS[::2], *MORE_CONVS[::2], *NARROW_CONVS]
    cases = [case for conv in convs for case in conv_cases(conv, F32, images=1) if not case.attrs.get("accumulate")]
    functions = [tile_function(case.call(), target) for case in cases]
    loaded = link([f for f in functions if f], target)
    for case, function in zip(cases, functions, strict=True):
        assert function is not None
        run = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(loaded.address(f"run_{function.symbol}"))
        for at_end in (True, False):
            run(words(case, function.scratch_bytes, at_end).ctypes.data)


def words(case: Case, scratch_bytes: int, at_end: bool) -> Array:
    """The arguments of a kernel, each operand and the scratch by itself in protected memory."""
    scratch = guarded(np.full(-(-scratch_bytes // 64) * 64, 0xFF, np.uint8), at_end)
    arrays = [guarded(a, at_end) for a in (*case.outputs, *case.inputs)]
    _held[:] = [scratch, *arrays]
    sizes = [n for a in arrays for n in a.shape]
    return np.array([scratch.ctypes.data, *(a.ctypes.data for a in arrays), *sizes, *case.scalars], np.int64)


_held: list[Array] = []
