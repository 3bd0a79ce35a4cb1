"""Tile kernels: their definitions in loop IR against NumPy, and their vector forms for every target against NumPy too.

Convolutions have a file of their own.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tile_cases import (
    BF16,
    F16,
    F32,
    F64,
    LAYOUTS,
    MORE_CONVS,
    RUNNABLE,
    SHAPES,
    Case,
    conv_cases,
    define,
    fresh,
    matmul_case,
    native,
    random,
    trampoline,
)  # fmt: skip

from fdl.backends.llvm import target as targets
from fdl.backends.llvm.codegen import object_code
from fdl.backends.llvm.tiles import tile_function
from fdl.backends.llvm.tiles.cut import most, row_choices
from fdl.backends.llvm.tiles.micro import simd
from fdl.backends.llvm.tiles.packed import Operands
from fdl.backends.loops.ir import INDEX, Const, Var
from fdl.backends.loops.lower.packing import PANEL_BYTES
from fdl.backends.loops.lower.panels import Cut
from fdl.tracer import dtypes
from fdl.tracer.dtypes import DType

# --- matmul -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [F32, F16, dtypes.int32, dtypes.uint8, dtypes.bool_], ids=str)
def test_definition_of_matmul(dtype: DType) -> None:
    rng = np.random.default_rng(0)
    for layout, accumulate in (("rrr", False), ("crc", True), ("rcr", True)):
        case = matmul_case(rng, 3, 4, 5, dtype, layout, accumulate)
        if dtype == dtypes.bool_:
            case.want = [(case.inputs[0] @ case.inputs[1]) | (case.outputs[0] & accumulate)]
        define(case)


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", RUNNABLE)
def test_matmul(name: str, dtype: DType) -> None:
    rng = np.random.default_rng(1)
    cases = [matmul_case(rng, *s, dtype, x, bool((i + sum(s)) % 2)) for s in SHAPES for i, x in enumerate(LAYOUTS)]
    assert all(native(cases, targets.named(name)))


@pytest.mark.parametrize("name", RUNNABLE)
def test_matmul_of_sizes_known_only_at_run_time(name: str) -> None:
    rng = np.random.default_rng(2)
    cases = [matmul_case(rng, *s, F32, x, bool(sum(s) % 2)) for s in SHAPES if min(s) for x in LAYOUTS]
    assert all(native(cases, targets.named(name), known=False))


@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
@pytest.mark.parametrize("name", RUNNABLE)
def test_matmul_of_halves_accumulates_in_float32(name: str, dtype: DType) -> None:
    rng = np.random.default_rng(3)
    shapes = [(1, 1, 1), (5, 7, 3), (3, 3, 0), (17, 49, 33), (70, 20, 40), (2, 3, 700)]
    cases = [matmul_case(rng, *s, dtype, x, bool(sum(s) % 2)) for s in shapes for x in LAYOUTS]
    target = targets.named(name)
    assert set(native(cases, target)) == {dtype == BF16 or target.half}
    # 1 + 2048 · 2⁻¹² is lost in half precision, where each addend alone rounds away.
    ones = matmul_case(rng, 1, 1, 2049, dtype)
    ones.inputs[0][...], ones.inputs[1][...] = 1, 2**-12
    ones.inputs[1][0] = 1
    ones.want, ones.tolerance = [np.full((1, 1), 1.5)], 1e-6
    native([ones], target)


# --- pairs of bfloat16 --------------------------------------------------------------------------------

PAIRS = [name for name in RUNNABLE if targets.named(name).bf16_pairs]


@pytest.mark.skipif(not PAIRS, reason="the CPU has no AVX512-BF16")
def test_products_of_bfloat16_take_pairs_where_the_machine_does() -> None:
    target = targets.named(PAIRS[0])
    case = matmul_case(np.random.default_rng(4), 40, 50, 65, BF16)
    plain = replace(target, features="")
    for of, is_there in ((target, True), (plain, False)):
        function = tile_function(case.call(), of)
        assert function is not None
        assert any("micro_pairs" in symbol for symbol in function.shared) == is_there
    assert native([case], plain) == [True]


@pytest.mark.parametrize("small, large", [(1e-39, 1e38), (3e-20, 1e-19), (1e-30, 1e-9), (1e-38, 1.0), (0.0, 1e-39), (1e-36, 1e30)])
@pytest.mark.parametrize("name", RUNNABLE)
def test_products_of_bfloat16_flush_nothing(name: str, small: float, large: float) -> None:
    """Signs alternate and magnitudes are powers of two, so that sums are exact."""
    rng = np.random.default_rng(5)
    cases = []
    for layout in LAYOUTS:
        case = matmul_case(rng, 20, 35, 17, BF16, layout)
        for array, size in zip(case.inputs, (small, large), strict=True):
            power = 2.0 ** np.floor(np.log2(size)) if size else 0.0
            array[...] = (power * rng.choice([-1.0, 1.0, 0.0], array.shape)).astype(BF16)
        a, b = (x.astype(np.float64) for x in case.inputs)
        case.want, case.tolerance = [(a @ b).astype(np.float32).astype(BF16)], 0.0
        cases.append(case)
    assert all(native(cases, targets.named(name)))


def packed_case(rng: np.random.Generator, m: int, n: int, k: int, dtype: DType, layout: str, accumulate: bool) -> Case:
    """C = A · B where B comes in panels of columns, the last one padded with NaN."""
    case = matmul_case(rng, m, n, k, dtype, f"r{layout}r", accumulate)
    width = PANEL_BYTES // dtype.itemsize
    panels = fresh((-(-n // width), k, width), dtype, fill=float("nan"))
    for j in range(n):
        panels[j // width, :, j % width] = case.inputs[1][:, j]
    case.inputs[1] = panels
    return case


def test_the_height_of_tiles_suits_all_panels_but_the_last() -> None:
    # 500 rows in panels of 40, with room for tiles of 9 rows: five of 9 would compute 45.
    p = Var("p", INDEX)
    assert most(Cut(500, 40).extent(p)) == most(Cut(480, 40).extent(p)) == most(Const(40, INDEX)) == 40
    assert most(p) is None
    assert row_choices(None, 9, 40) == (8, 4, 2, 1)
    assert row_choices(40, 9) == (8,)
    assert row_choices(None, 9) == (9, 4, 2, 1)
    assert row_choices(None, 9, 3) == (3, 1)


def test_widths_of_packed_products_are_those_of_their_panels() -> None:
    for name in ("avx512", "avx2", "neon"):
        s = simd(F32, targets.make(name, "aarch64-unknown-linux-gnu" if name == "neon" else "x86_64-unknown-linux-gnu"))
        assert s is not None
        wide = s.widest * s.lanes
        for n in range(4 * wide):
            met = {-(-min(n - j, wide) // s.lanes) for j in range(0, n, wide)}
            assert set(Operands(1, (1, 1), 4, 4, n, False).widths(s)) == met
        assert Operands(1, (1, 1), 4, 4, None, False).widths(s) == list(s.rows)


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", RUNNABLE)
def test_matmul_of_a_packed_operand(name: str, dtype: DType) -> None:
    rng = np.random.default_rng(5)
    shapes = [(1, 1, 1), (9, 49, 33), (8, 48, 64), (70, 130, 600), (150, 20, 520), (131, 100, 16), (300, 97, 7), (3, 200, 1030)]
    cases = [packed_case(rng, *s, dtype, x, bool(sum(s) % 2)) for s in shapes for x in "rc"]
    assert all(native(cases, targets.named(name)))
    define(packed_case(rng, 5, 60, 7, dtype, "c", True))


def test_integer_matmul_has_no_vector_form() -> None:
    case = matmul_case(np.random.default_rng(0), 3, 4, 5, dtypes.int32)
    assert tile_function(case.call(), targets.host()) is None


@settings(max_examples=20)
@given(
    st.integers(0, 70), st.integers(0, 120), st.integers(0, 80), st.sampled_from(LAYOUTS), st.booleans(), st.booleans(),
    st.sampled_from(RUNNABLE),
)  # fmt: skip
def test_matmul_of_any_shape(m: int, n: int, k: int, layout: str, accumulate: bool, known: bool, name: str) -> None:
    case = matmul_case(np.random.default_rng(m + n + k), m, n, k, F32, layout, accumulate)
    if not known and 0 in (m, n, k):
        known = True  # NumPy's strides of an empty array say nothing
    assert native([case], targets.named(name), known=known) == [True]


def test_matmul_of_strided_and_broadcast_windows() -> None:
    rng = np.random.default_rng(4)
    a, b = random(rng, (12, 30), F32)[::2, ::3], random(rng, (10, 40), F32)[:, ::4]
    row = np.broadcast_to(random(rng, (10,), F32), (6, 10))
    c, d = fresh((6, 20), F32)[:, 3:13], fresh((6, 10), F32)
    want = a.astype(F64) @ b.astype(F64)
    cases = [
        Case("matmul", [c], [a, b], [want], {}, (), 1e-5),
        Case("matmul", [d], [row, b], [row.astype(F64) @ b.astype(F64)], {}, (), 1e-5),
    ]
    for name in RUNNABLE:
        assert all(native(cases, targets.named(name)))
    for case in cases:
        define(case)


# --- transpose --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_transpose(size: int) -> None:
    dtype: DType = np.dtype(f"u{size}")
    rng = np.random.default_rng(size)
    shapes = [(5, 7), (33, 70), (1, 9), (64, 64), (3, 17, 20), (3, 4, 16, 18), (0, 3)]
    cases = []
    for shape in shapes:
        for order in itertools.permutations(range(len(shape))):
            x = random(rng, shape, dtype)
            x[...] = rng.integers(0, 100, shape)
            turned = x.transpose(order)
            cases.append(Case("transpose", [fresh(turned.shape, dtype)], [turned], [turned.copy()], {}))
    for name in RUNNABLE:
        made = native(cases, targets.named(name))
        assert all(made[i] for i, case in enumerate(cases) if case.inputs[0].size > 0)
    define(cases[0])
    define(cases[4])


# --- bounds -----------------------------------------------------------------------------------------

BOUNDS = """
import ctypes, mmap, sys
import numpy as np
import tile_cases as t
libc, page, maps = ctypes.CDLL(None), mmap.PAGESIZE, []
def fresh(shape, dtype, order=None, fill=0):
    # The last element is the last of its page, and the next page is out of bounds. So is the one before the first.
    order = tuple(order if order is not None else range(len(shape)))
    n = int(np.prod(shape)) * np.dtype(dtype).itemsize
    size = -(-n // page) * page + 2 * page
    maps.append(mmap.mmap(-1, size))
    base = ctypes.addressof(ctypes.c_char.from_buffer(maps[-1]))
    assert libc.mprotect(ctypes.c_void_p(base), page, 0) == 0 == libc.mprotect(ctypes.c_void_p(base + size - page), page, 0)
    vector = (ctypes.c_char * n).from_address(base + size - page - n)
    inner = np.frombuffer(vector, np.uint8).view(dtype).reshape([shape[d] for d in order])
    inner[...] = fill
    return inner.transpose(np.argsort(order))
def owner(array):
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array.view(array.dtype)
t.fresh, t.owner, t.GAP = fresh, owner, 0
t.Case.check = lambda self: None
t.window = lambda name, array, known=True: t.Ref(
    t.Buffer(name, array.dtype, (1,)), t.Const(0, t.INDEX), tuple(t.Const(n, t.INDEX) for n in array.shape),
    tuple(s // array.itemsize for s in array.strides))
rng = np.random.default_rng(0)
shapes = [s for s in t.SHAPES if min(s)][1::3]
for name in t.RUNNABLE:
    target = t.targets.named(name)
    t.native([t.matmul_case(rng, *s, t.F32, l) for s in shapes for l in t.LAYOUTS], target)
    t.native([t.matmul_case(rng, *s, t.BF16, l) for s in shapes[:3] for l in t.LAYOUTS], target)
    t.native([c for conv in (t.CONVS[4], *t.MORE_CONVS[1:6:2]) for c in t.conv_cases(conv, t.F32, 1)], target)
    x = fresh((33, 70), t.F32)
    t.native([t.Case("transpose", [fresh((70, 33), t.F32)], [x.T], [x], {})], target)
print("in bounds")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="guard pages are set up by mprotect")
def test_nothing_is_read_or_written_out_of_bounds() -> None:
    """In a process of its own, since the failure is a crash."""
    run = subprocess.run(
        [sys.executable, "-c", BOUNDS], capture_output=True, text=True, cwd=Path(__file__).parent, check=False,
        env={"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip
    assert run.stdout == "in bounds\n", (run.returncode, run.stderr[-2000:])


# --- text -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["avx512", "avx2", "sse2", "neon"])
def test_every_target_assembles(name: str) -> None:
    """Text for machines other than this one compiles too (it is not run)."""
    triple = "aarch64-unknown-linux-gnu" if name == "neon" else "x86_64-unknown-linux-gnu"
    target = targets.make(name, triple)
    rng = np.random.default_rng(0)
    cases = [matmul_case(rng, 20, 70, 30, F32, "rrc"), *conv_cases(MORE_CONVS[2], F64)]
    functions = [f for f in (tile_function(case.call(), target) for case in cases) if f]
    parts = {symbol: text for f in functions for symbol, text in f.whole()[0].items()}
    entries = [trampoline(f) for f in {f.symbol: f for f in functions}.values()]
    declares = sorted({line for f in functions for line in f.whole()[1]})
    assert object_code("\n".join((*declares, *parts.values(), *entries)), target)


def test_text_is_a_function_of_the_call() -> None:
    """The same call gives the same text, or the object cache would miss."""
    case = conv_cases(MORE_CONVS[1], F32)[0]
    one, other = (tile_function(case.call(), targets.host()) for _ in range(2))
    assert one == other
