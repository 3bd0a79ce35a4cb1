"""Sorting: the networks, the tile kernel for every target, and sort and top_k of arrays, long and short, bit for bit."""

from __future__ import annotations

import functools
import itertools
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_tiles import BOUNDS
from tile_cases import F32, F64, RUNNABLE, Array, Case, define, fresh, native, owner, trampoline

import fdl
from fdl.backends.llvm import target as targets
from fdl.backends.llvm.codegen import object_code
from fdl.backends.llvm.tiles import tile_function
from fdl.backends.llvm.tiles.sorting.networks import NETWORKS, halvings
from fdl.backends.loops.build import index, load, loops, store, var
from fdl.backends.loops.check import check
from fdl.backends.loops.interpret import run as interpret
from fdl.backends.loops.ir import INDEX, Buffer, Call, Ref, Routine, Var
from fdl.backends.loops.lower import ordering, sorting
from fdl.backends.loops.pipeline import stages
from fdl.backends.loops.tiles import TILES
from fdl.tracer import dtypes
from fdl.tracer.dtypes import DType
from fdl.tracer.errors import DTypeError, ShapeError
from fdl.tracer.ir import type_of
from fdl.tracer.ops import order
from fdl.tracer.trace import record

WIDE: list[DType] = [F32, F64, *map(np.dtype, ("i4", "u4", "i8", "u8"))]
SORTED = [d for d in dtypes.ALL if not dtypes.is_complex(d)]

# --- networks ---------------------------------------------------------------------------------------


def runs(pairs: Sequence[tuple[int, int]], columns: Array) -> Array:
    columns = columns.copy()
    for i, j in pairs:
        columns[i], columns[j] = np.minimum(columns[i], columns[j]), np.maximum(columns[i], columns[j])
    return columns


@pytest.mark.parametrize("n", sorted(NETWORKS))
def test_networks_sort_every_row_of_zeros_and_ones(n: int) -> None:
    """What sorts these sorts everything (Knuth, volume 3, section 5.3.4, theorem Z)."""
    every = (np.arange(1 << n) >> np.arange(n)[:, None] & 1).astype(np.int8)
    np.testing.assert_array_equal(runs(NETWORKS[n], every), np.sort(every, 0))
    assert len(NETWORKS[n]) == {8: 19, 16: 60}[n]


@pytest.mark.parametrize("n", [1, 2, 8, 32])
def test_halvings_sort_what_rises_and_falls(n: int) -> None:
    rows = [[0] * a + [1] * b + [0] * (n - a - b) for a in range(n + 1) for b in range(n + 1 - a)]
    rows += [[1 - x for x in row] for row in rows]
    bitonic = np.array(rows).T
    np.testing.assert_array_equal(runs(halvings(n), bitonic), np.sort(bitonic, 0))
    first = runs(halvings(n, 1), bitonic)
    assert (first[: n // 2].max(0, initial=0) <= first[n // 2 :].min(0)).all()


# --- the kernel -------------------------------------------------------------------------------------


def keys(rng: np.random.Generator, shape: tuple[int, ...], dtype: DType) -> Array:
    """Keys with many ties, and NaN of several kinds, infinities and both zeros."""
    some = rng.random(shape) < 0.5
    if not dtypes.is_float(dtype):
        info = (0, 1) if dtype == dtypes.bool_ else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
        x = np.where(some, rng.integers(0, 3, shape).astype(dtype), rng.choice(np.array(info, dtype), shape))
        return x.astype(dtype)
    pool = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -1.5, 1e-7, -3e4], F64).astype(dtype)
    x = np.where(some, rng.choice(pool, shape), rng.standard_normal(shape).astype(dtype)).astype(dtype)
    bits = x.view(f"u{dtype.itemsize}")
    bits[np.isnan(x)] += rng.integers(0, 9, shape).astype(bits.dtype)[np.isnan(x)]
    return x


def ordered(x: Array) -> Array:
    return order.sort_p.reference(x, axis=-1, num_keys=1)[0]


def sort_case(rng: np.random.Generator, shape: tuple[int, ...], dtype: DType, across: bool = False, plain: bool = False) -> Case:
    """Rows along memory or `across` it; `plain` numbers are never NaN or -0."""
    layout = (1, 0) if across else tuple(range(len(shape)))
    x, y = (fresh(shape, dtype, layout, fill) for fill in (0, 3))
    x[...] = abs(rng.standard_normal(shape)) + 1 if plain else keys(rng, shape, dtype)
    attrs: dict[str, object] = {"num_keys": 1, "plain": 1} if plain else {"num_keys": 1}
    return Case("sort", [y], [x], [ordered(x)], attrs)


ROWS = [(1, 1), (3, 5), (16, 16), (17, 33), (5, 100), (33, 255), (20, 257), (4, 1000), (3, 1540), (1, 4100)]


@pytest.mark.parametrize("dtype", WIDE, ids=str)
@pytest.mark.parametrize("name", RUNNABLE)
def test_rows(name: str, dtype: DType) -> None:
    rng = np.random.default_rng(5)
    cases = [sort_case(rng, s, dtype, across) for s in ROWS for across in (False, True)]
    cases += [sort_case(rng, (n,), dtype) for n in (0, 1, 2, 17, 300, 2047)]
    assert all(native(cases, targets.named(name)))


@pytest.mark.parametrize("name", RUNNABLE)
def test_rows_in_place_and_of_unknown_number(name: str) -> None:
    rng = np.random.default_rng(6)
    cases = [sort_case(rng, s, d, across) for s in ROWS[1:6] for d in (F32, F64) for across in (False, True)]
    cases += [sort_case(rng, (n,), F32) for n in (40, 900)]
    for case in cases:
        case.outputs = case.inputs
    native(cases, targets.named(name))
    cases = [sort_case(rng, s, F32, a) for s in ((3, 300), (21, 40)) for a in (False, True)]
    for case in cases:
        case.attrs["most"] = 300
    assert all(native(cases, targets.named(name), known=False))


@pytest.mark.parametrize("dtype", [F64, np.dtype("i4"), np.dtype("u8")], ids=str)
@pytest.mark.parametrize("name", RUNNABLE)
def test_the_first_elements_only(name: str, dtype: DType) -> None:
    rng = np.random.default_rng(7)
    cases = []
    for shape, kept in (((20, 300), 1), ((3, 100), 9), ((17, 33), 20), ((33, 1000), 40), ((1, 5000), 100), ((2, 700), 16), ((5, 9), 9)):
        for across in (False, True):
            case = sort_case(rng, shape, dtype, across, plain=dtype == F64)
            case.want = [case.want[0][:, :kept]]
            case.outputs = [fresh((shape[0], kept), dtype, (1, 0) if across else (0, 1), 3)]
            cases.append(case)
    assert all(native(cases, targets.named(name)))
    marked = sort_case(rng, (20, 300), F64)
    marked.want, marked.outputs = [marked.want[0][:, :9]], [fresh((20, 9), F64)]
    assert all(native([marked], targets.named(name)))


@pytest.mark.parametrize("name", RUNNABLE)
def test_rows_in_order_already(name: str) -> None:
    cases = []
    for dtype in (F32, F64, np.dtype("i8")):
        for n in (256, 300, 1000):
            up = np.arange(n)
            for x in (up, up[::-1], np.zeros(n), up // 64, np.roll(up, 1), np.roll(up, -1)):
                case = sort_case(np.random.default_rng(0), (n,), dtype)
                case.inputs[0][...] = x
                if dtypes.is_float(dtype):
                    case.inputs[0][-3:] = np.nan
                case.want = [ordered(case.inputs[0])]
                cases.append(case)
    assert all(native(cases, targets.named(name)))


def test_what_has_no_vector_form() -> None:
    rng = np.random.default_rng(0)
    apart = sort_case(rng, (4, 6), F32)
    apart.inputs, apart.outputs = [apart.inputs[0][::2, ::2]], [apart.outputs[0][::2, ::2]]
    for case in (sort_case(rng, (3, 9), np.dtype("i2")), apart):
        assert tile_function(case.call(), targets.host()) is None
    two = Case("sort", [fresh((5,), F32), fresh((5,), F32)], [fresh((5,), F32), fresh((5,), F32)], [], {"num_keys": 1})
    assert tile_function(two.call(), targets.host()) is None


@pytest.mark.parametrize("dtype", SORTED, ids=str)
def test_definition(dtype: DType) -> None:
    rng = np.random.default_rng(8)
    for shape, kept in (((7,), 7), ((3, 17), 17), ((2, 33), 5), ((1, 1), 1)):
        x = [fresh(shape, d) for d in (dtype, np.dtype(np.int64), np.dtype(np.int32))]
        x[0][...], x[1][...] = keys(rng, shape, dtype), rng.integers(-2, 3, shape)
        x[2][...] = np.arange(shape[-1])
        for num_keys in (1, 2):
            want = order.sort_p.reference(*x, axis=-1, num_keys=num_keys)
            y = [fresh((*shape[:-1], kept), a.dtype) for a in x]
            define(Case("sort", y, x, [a[..., :kept] for a in want], {"num_keys": num_keys}))


def test_definition_in_place_and_of_unknown_length() -> None:
    case = sort_case(np.random.default_rng(6), (9,), F32)
    shared = Case("sort", case.inputs, case.inputs, case.want, {"num_keys": 1})
    call = shared.call()
    body = TILES["sort"].body(Call("sort", call.outputs, call.outputs, (), call.attrs))
    before, i = Buffer("before", F32, call.outputs[0].buffer.shape, "input"), var("i")
    restore = loops((i,), (before.size,), (store(call.outputs[0].buffer, (i,), load(before, i)),))
    results, _ = interpret(Routine("r", (before,), (), (call.outputs[0].buffer,), (*restore, *body)), [owner(case.inputs[0])])
    assert results[0][7:-7].tobytes() == case.want[0].tobytes()
    ref = Ref(Buffer("x", F32, (4,)), index(0), (Var("n", INDEX),), (1,))
    with pytest.raises(TypeError, match="constant length"):
        TILES["sort"].body(Call("sort", (ref,), (ref,), (), (("num_keys", 1),)))


GUARDED = BOUNDS.split("for name in")[0] + """
import test_sorting as s
for name in t.RUNNABLE:
    target = t.targets.named(name)
    cases = [s.sort_case(rng, shape, d, a) for shape in s.ROWS[1:] for d in (t.F32, t.F64) for a in (False, True)]
    t.native(cases, target)
    for case in cases[::3]:
        kept = max(case.inputs[0].shape[1] // 9, 1)
        x = case.inputs[0]
        case.outputs = [fresh((x.shape[0], kept), x.dtype, (1, 0) if x.strides[1] != x.itemsize else None)]
        case.attrs["plain"] = 1
    t.native(cases, target)
print("in bounds")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="guard pages are set up by mprotect")
def test_nothing_is_read_or_written_out_of_bounds() -> None:
    """In a process of its own, since the failure is a crash."""
    run = subprocess.run(
        [sys.executable, "-c", GUARDED], capture_output=True, text=True, cwd=Path(__file__).parent, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip
    assert run.stdout == "in bounds\n", (run.returncode, run.stderr[-2000:])


@pytest.mark.parametrize("name", ["avx512", "avx2", "sse2", "neon"])
def test_every_target_assembles(name: str) -> None:
    triple = "aarch64-unknown-linux-gnu" if name == "neon" else "x86_64-unknown-linux-gnu"
    target = targets.make(name, triple)
    rng = np.random.default_rng(0)
    cases = [sort_case(rng, s, d) for d in (F32, F64, np.dtype("u8")) for s in ((20, 30), (400,))]
    functions = [f for f in (tile_function(case.call(), target) for case in cases) if f]
    parts = {symbol: text for f in functions for symbol, text in f.whole()[0].items()}
    entries = [trampoline(f) for f in {f.symbol: f for f in functions}.values()]
    declares = sorted({line for f in functions for line in f.whole()[1]})
    assert object_code("\n".join((*declares, *parts.values(), *entries)), target)


# --- arrays -----------------------------------------------------------------------------------------


def same(got: Sequence[Any], want: Sequence[Array], what: object) -> None:
    for a, b in zip(got, want, strict=True):
        a = np.asarray(a)
        assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes(), what


def sorts(xs: Sequence[Array], axis: int, num_keys: int) -> None:
    got = fdl.jit(lambda *a: order.sort(a, axis, num_keys))(*xs)
    same(got, order.sort_p.reference(*xs, axis=axis, num_keys=num_keys), ([(x.dtype, x.shape) for x in xs], axis, num_keys))


@pytest.mark.parametrize("dtype", SORTED, ids=str)
def test_sort_of_arrays(dtype: DType) -> None:
    """With and without operands that move along, by one and by two keys, along every kind of axis."""
    rng = np.random.default_rng(9)
    for shape, axis in (((7,), 0), ((20, 33), 1), ((20, 33), 0), ((3, 50, 2), 1), ((9, 300), 1), ((4, 1), 1), ((2, 5, 9), 1)):
        x, y = keys(rng, shape, dtype), rng.integers(-9, 9, shape).astype(np.int32)
        sorts([x], axis, 1)
        sorts([x, y], axis, 1)
    sorts([x, keys(rng, shape, np.dtype(np.float16)), y], 1, 2)
    sorts([y, x], 1, 2)


@pytest.mark.parametrize("dtype", [F32, F64, np.dtype("i4"), np.dtype("u1")], ids=str)
def test_long_rows(dtype: DType) -> None:
    rng = np.random.default_rng(10)
    n = ordering.LONG + 100
    for shape, axis in (((n,), 0), ((2, n), 1), ((n, 3), 0)):
        x = keys(rng, shape, dtype)
        sorts([x], axis, 1)
        sorts([x, rng.integers(-9, 9, shape).astype(np.int32)], axis, 1)
    # Samples that say nothing of the rest, and one value nearly everywhere.
    for row in (np.arange(n) % 2, np.arange(n)[::-1] // 7, np.where(np.arange(n) < n - 9, 3, np.arange(n)), np.arange(n) ** 2 % 251):
        sorts([row.astype(dtype)], 0, 1)


def test_words_of_64_bits() -> None:
    """Positions beyond 20 bits do not fit beside a key of 32 bits into the fraction of a float64."""
    rng = np.random.default_rng(11)
    x = rng.integers(0, 1000, (1 << 20) + 5).astype(np.int32)
    places = np.asarray(fdl.jit(lambda x: order.sort([x, np.arange(len(x), dtype=np.int32)], 0)[1])(x))
    np.testing.assert_array_equal(places, np.argsort(x, kind="stable"))


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_lowered_sorts_mean_the_same_to_the_interpreter(stage: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long rows at every stage of lowering, made short enough for the interpreter."""
    monkeypatch.setattr(ordering, "LONG", 40)
    monkeypatch.setattr(ordering, "BLOCK", 20)
    monkeypatch.setattr(ordering, "BUCKETS", 4)
    monkeypatch.setattr(ordering, "SAMPLES", 3)
    monkeypatch.setattr(ordering, "SELECTED_FROM", 16)
    monkeypatch.setattr(sorting, "SELECTED", 8)
    rng = np.random.default_rng(12)
    fs: list[tuple[Any, Any, list[Array]]] = []
    for shape, axis in (((50,), 0), ((2, 61), 1), ((45, 2), 0), ((12, 9), 0)):
        x, y = keys(rng, shape, F32), rng.integers(0, 3, shape).astype(np.int16)
        by = functools.partial(order.sort_p.reference, axis=axis, num_keys=1)
        fs += [(lambda x, axis=axis: order.sort([x], axis), by, [x])]
        fs += [(lambda x, y, axis=axis: order.sort([y, x], axis), lambda x, y, by=by: by(y, x), [x, y])]
        k = min(shape[axis], 6)
        first = functools.partial(order.top_k_p.reference, axis=axis, k=k, largest=True)
        fs += [(lambda x, axis=axis, k=k: order.top_k(x, k, axis), first, [x])]
    for f, reference, xs in fs:
        program, captured = record(lambda *a, f=f: list(f(*a)), [type_of(x) for x in xs])
        assert not captured
        routine = stages(program)[stage]
        check(routine)
        got, failure = interpret(routine, xs)
        assert failure is None
        same(got, reference(*xs), (stage, [x.shape for x in xs]))


@given(st.integers(0, 2**31), st.sampled_from(WIDE), st.integers(1, 70), st.integers(2, 80), st.booleans())
def test_sort_of_any_shape(seed: int, dtype: DType, rows: int, n: int, across: bool) -> None:
    case = sort_case(np.random.default_rng(seed), (rows, n), dtype, across)
    native([case], targets.host())


def test_bits_do_not_depend_on_the_number_of_threads() -> None:
    rng = np.random.default_rng(13)
    x, z = keys(rng, (70000,), F32), keys(rng, (300, 500), F64)
    f = fdl.jit(lambda x, z: (*order.sort([x], 0), *order.sort([z, np.zeros_like(z)], 0), *order.top_k(x, 50, 0), *order.sort([z], 1)))
    before = fdl.get_num_threads()
    found = []
    for threads in (1, 2, 4):
        fdl.set_num_threads(threads)
        found.append([np.asarray(y).tobytes() for y in f(x, z)])
    fdl.set_num_threads(before)
    assert found[0] == found[1] == found[2]


# --- top_k ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [F32, F64, np.dtype("i4"), np.dtype("u1"), dtypes.bfloat16], ids=str)
def test_top_k(dtype: DType) -> None:
    rng = np.random.default_rng(14)
    cases = [((7,), 0, 3), ((20, 33), 1, 33), ((20, 33), 0, 3), ((3, 500, 2), 1, 8), ((5, 400), 1, 100), ((50, 1000), 1, 8), ((4, 3), 1, 0)]
    for (shape, axis, k), largest in itertools.product(cases, (True, False)):
        x = keys(rng, shape, dtype)
        got = fdl.jit(lambda x, k=k, axis=axis, largest=largest: order.top_k(x, k, axis, largest))(x)
        same(got, order.top_k_p.reference(x, axis=axis, k=k, largest=largest), (shape, axis, k, largest))


@pytest.mark.parametrize("k", [1, 100, 200])
def test_top_k_of_a_long_row(k: int) -> None:
    for dtype, n in ((F32, 40000), (F64, 33001)):
        x = keys(np.random.default_rng(k), (2, n), dtype)
        same(fdl.jit(lambda x: order.top_k(x, k, 1))(x), order.top_k_p.reference(x, axis=1, k=k, largest=True), (dtype, k))


def test_top_k_that_cannot_be() -> None:
    with pytest.raises(ShapeError, match=r"k = 4 for axis 1 of size 3 of an operand of shape \(2, 3\): expected 0 to 3"):
        order.top_k(np.zeros((2, 3), F32), 4, 1)
    with pytest.raises(DTypeError, match="c64 has no order"):
        order.top_k(np.zeros(3, np.complex64), 1, 0)
