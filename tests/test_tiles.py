"""Tile kernels: their definitions in loop IR against NumPy, and their vector forms for every target against NumPy too."""

from __future__ import annotations

import ctypes
import itertools
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdl.backends.llvm import target as targets
from fdl.backends.llvm.engine import Loaded, compile_text
from fdl.backends.llvm.target import Target
from fdl.backends.llvm.tiles import TileFunction, filters, tile_function
from fdl.backends.loops.build import flat, index, load, loops, store, var
from fdl.backends.loops.interpret import run as interpret
from fdl.backends.loops.ir import INDEX, Buffer, Call, Const, Ref, Routine, Value, Var
from fdl.backends.loops.tiles import TILES
from fdl.tracer import dtypes
from fdl.tracer.dtypes import DType

Array = np.ndarray[Any, Any]
F16, BF16, F32, F64 = dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.float64
RUNNABLE = targets.runnable()
GAP = 7
"""Elements around every window that must stay as they were."""


# --- running a kernel -------------------------------------------------------------------------------


@dataclass
class Case:
    """A call on windows of NumPy arrays, and what its outputs must be afterwards."""

    kernel: str
    outputs: list[Array]
    inputs: list[Array]
    want: list[Array]
    attrs: dict[str, object]
    scalars: tuple[int, ...] = ()
    tolerance: float = 0.0

    def call(self, *, known: bool = True) -> Call:
        """The `Call`; sizes are constants when `known`."""
        outs = tuple(window(f"out{i}", a, known) for i, a in enumerate(self.outputs))
        ins = tuple(window(f"in{i}", a, known) for i, a in enumerate(self.inputs))
        scalars = tuple(Const(n, INDEX) for n in self.scalars)
        return Call(self.kernel, outs, ins, scalars, tuple(sorted(self.attrs.items())))

    def check(self) -> None:
        for got, want in zip(self.outputs, self.want, strict=True):
            if self.tolerance:
                np.testing.assert_allclose(got.astype(F64), want, rtol=self.tolerance, atol=self.tolerance, err_msg=str(self))
            else:
                assert got.tobytes() == want.tobytes(), self
        for array in self.outputs:
            base = owner(array)
            assert (base[:GAP] == base[0]).all() and (base[-GAP:] == base[0]).all(), f"{self.kernel} wrote outside its window"

    def __str__(self) -> str:
        shapes = [(a.shape, a.strides, a.dtype.name) for a in (*self.outputs, *self.inputs)]
        return f"{self.kernel} {shapes} {self.attrs} {self.scalars}"


def owner(array: Array) -> Array:
    """The vector that `array` is a window of."""
    while array.base is not None:
        array = array.base
    return array


def fresh(shape: Sequence[int], dtype: DType, order: Sequence[int] | None = None, fill: float = 0) -> Array:
    """An array within a longer vector of 7s, its axes laid out in memory in `order` (outermost first)."""
    order = tuple(order if order is not None else range(len(shape)))
    base = np.full(int(np.prod(shape)) + 2 * GAP, 7, dtype)
    inner = base[GAP : len(base) - GAP].reshape([shape[d] for d in order])
    inner[...] = fill
    return inner.transpose(np.argsort(order))


def random(rng: np.random.Generator, shape: Sequence[int], dtype: DType, order: Sequence[int] | None = None) -> Array:
    array = fresh(shape, dtype, order)
    array[...] = (rng.standard_normal(shape) * (1 if dtypes.is_float(dtype) else 5)).astype(dtype)
    return array


def window(name: str, array: Array, known: bool = True) -> Ref:
    base = owner(array)
    offset = (array.ctypes.data - base.ctypes.data) // base.itemsize
    shape: tuple[Value, ...] = tuple(Const(n, INDEX) if known else Var(f"{name}_{d}", INDEX) for d, n in enumerate(array.shape))
    buffer = Buffer(name, base.dtype, base.shape, "output" if name.startswith("out") else "input")
    return Ref(buffer, Const(offset, INDEX), shape, tuple(s // base.itemsize for s in array.strides))


def define(case: Case) -> None:
    """Run the definition of the call by the interpreter."""
    call = case.call()
    outputs, inputs = [r.buffer for r in call.outputs], [r.buffer for r in call.inputs]
    before = [Buffer(f"before_{b.name}", b.dtype, b.shape, "input") for b in outputs]
    i = var("i")
    restore = [
        s for b, o in zip(before, outputs, strict=True)
        for s in loops((i,), (o.size,), (store(flat(o), (i,), load(b, i)),))
    ]  # fmt: skip
    body = (*restore, call)
    bases = [owner(a) for a in (*case.inputs, *case.outputs)]
    results, failure = interpret(Routine("r", (*inputs, *before), (), tuple(outputs), body), bases)
    assert failure is None
    for array, result in zip(case.outputs, results, strict=True):
        owner(array)[...] = result
    case.check()


def native(cases: Sequence[Case], target: Target, *, known: bool = True) -> list[bool]:
    """Run the vector forms of the calls, all in one module; returns which of them have one."""
    functions = [tile_function(case.call(known=known), target) for case in cases]
    loaded = link([f for f in functions if f], target)
    for case, function in zip(cases, functions, strict=True):
        if function is None:
            continue
        words = arguments(case, function)
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(loaded.address(f"run_{function.symbol}"))(words.ctypes.data)
        case.check()
    return [f is not None for f in functions]


def link(functions: Sequence[TileFunction], target: Target) -> Loaded:
    """A module of tile kernels, each with an entry that takes its arguments from an array of words."""
    parts: dict[str, str] = {}
    declares: set[str] = set()
    for function in functions:
        for symbol, text in function.parts.items():
            assert parts.setdefault(symbol, text) == text, f"two functions are called {symbol}"
        declares |= set(function.declares)
    entries = {f"run_{f.symbol}": trampoline(f) for f in functions}
    return compile_text(["\n".join((*sorted(declares), *parts.values(), *entries.values()))], target, {}, sorted(entries))


def trampoline(function: TileFunction) -> str:
    head = function.parts[function.symbol].split("(", 1)[1].split(")", 1)[0]
    kinds = [p.split()[0] for p in head.split(", ")]
    lines, values = [], []
    for n, kind in enumerate(kinds):
        lines += [f"  %p{n} = getelementptr i64, ptr %words, i64 {n}", f"  %v{n} = load {kind}, ptr %p{n}"]
        values.append(f"{kind} %v{n}")
    call = f"  call void @{function.symbol}({', '.join(values)})"
    return "\n".join([f"define void @run_{function.symbol}(ptr %words) {{", *lines, call, "  ret void", "}"])


_held: list[Array] = []


def arguments(case: Case, function: TileFunction) -> Array:
    scratch = np.full(function.scratch_bytes + 64, 0xFF, np.uint8)  # NaN, so that reading what was not written shows
    _held[:] = [scratch]
    arrays = (*case.outputs, *case.inputs)
    words = [-(-scratch.ctypes.data // 64) * 64, *(a.ctypes.data for a in arrays)]
    words += [n for a in arrays for n in a.shape] + list(case.scalars)
    return np.array(words, np.int64)


# --- matmul -----------------------------------------------------------------------------------------

TOLERANCE = {F32: 2e-5, F64: 1e-12, F16: 4e-3, BF16: 3e-2}


def matmul_case(
    rng: np.random.Generator, m: int, n: int, k: int, dtype: DType, layout: str = "rrr", accumulate: bool = False
) -> Case:
    """C = A · B; `layout` says for C, A and B whether rows (r) or columns (c) are contiguous."""
    orders = [(0, 1) if x == "r" else (1, 0) for x in layout]
    c, a, b = (random(rng, s, dtype, o) for s, o in zip(((m, n), (m, k), (k, n)), orders, strict=True))
    wide: DType = F64 if dtypes.is_float(dtype) else dtypes.int64
    total = a.astype(wide) @ b.astype(wide) + (c.astype(wide) if accumulate else 0)
    exact = not dtypes.is_float(dtype)
    tolerance = 0.0 if exact else TOLERANCE[dtype] * (1 + k / 8)
    return Case("matmul", [c], [a, b], [total.astype(dtype) if exact else total], {"accumulate": accumulate}, (), tolerance)


LAYOUTS = ["".join(x) for x in itertools.product("rc", repeat=3)]
SHAPES = [
    (1, 1, 1), (5, 7, 3), (17, 49, 33), (8, 48, 16), (33, 65, 129), (3, 3, 0), (0, 3, 4), (3, 0, 4), (2, 50, 100), (50, 2, 70),
    (1, 20, 40), (20, 1, 40), (40, 30, 63), (100, 16, 7), (9, 130, 70), (30, 20, 1040),
]  # fmt: skip


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
    cases = [matmul_case(rng, *s, dtype, l, bool((i + sum(s)) % 2)) for s in SHAPES for i, l in enumerate(LAYOUTS)]
    assert all(native(cases, targets.named(name)))


@pytest.mark.parametrize("name", RUNNABLE)
def test_matmul_of_sizes_known_only_at_run_time(name: str) -> None:
    rng = np.random.default_rng(2)
    cases = [matmul_case(rng, *s, F32, l, bool(sum(s) % 2)) for s in SHAPES if min(s) for l in LAYOUTS]
    assert all(native(cases, targets.named(name), known=False))


@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
@pytest.mark.parametrize("name", RUNNABLE)
def test_matmul_of_halves_accumulates_in_float32(name: str, dtype: DType) -> None:
    rng = np.random.default_rng(3)
    shapes = [(1, 1, 1), (5, 7, 3), (3, 3, 0), (17, 49, 33), (70, 20, 40), (2, 3, 700)]
    cases = [matmul_case(rng, *s, dtype, l, bool(sum(s) % 2)) for s in shapes for l in LAYOUTS]
    target = targets.named(name)
    assert set(native(cases, target)) == {dtype == BF16 or target.half}
    # 1 + 2048 · 2⁻¹² is lost in half precision, where each addend alone rounds away.
    ones = matmul_case(rng, 1, 1, 2049, dtype)
    ones.inputs[0][...], ones.inputs[1][...] = 1, 2**-12
    ones.inputs[1][0] = 1
    ones.want, ones.tolerance = [np.full((1, 1), 1.5)], 1e-6
    native([ones], target)


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


# --- convolutions -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Conv:
    """A convolution: sizes of one image's axes, channels, filter, features, and the attributes."""

    sizes: tuple[int, ...]
    channels: int
    taps: tuple[int, ...]
    features: int
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    lhs_dilation: tuple[int, ...] = ()
    rhs_dilation: tuple[int, ...] = ()
    groups: int = 1

    @property
    def attrs(self) -> dict[str, object]:
        ones = (1,) * len(self.sizes)
        return {
            "strides": self.strides, "padding": self.padding, "lhs_dilation": self.lhs_dilation or ones,
            "rhs_dilation": self.rhs_dilation or ones, "groups": self.groups,
        }  # fmt: skip

    def pairs(self) -> list[list[tuple[int, int, int]]]:
        """For each axis, all (output, tap, input) that belong together."""
        found = []
        attrs: Any = self.attrs
        for d, (n, k) in enumerate(zip(self.sizes, self.taps, strict=True)):
            s, (lo, _), ld, rd = (attrs[key][d] for key in ("strides", "padding", "lhs_dilation", "rhs_dilation"))
            spread = {i * ld: i for i in range(n)}
            met = [(o, t, spread.get(o * s + t * rd - lo)) for o in range(self.outputs[d]) for t in range(k)]
            found.append([(o, t, i) for o, t, i in met if i is not None])
        return found

    @property
    def outputs(self) -> tuple[int, ...]:
        attrs: Any = self.attrs
        return tuple(
            ((n - 1) * ld + 1 + sum(p) - ((k - 1) * rd + 1)) // s + 1
            for n, k, s, p, ld, rd in zip(
                self.sizes, self.taps, self.strides, self.padding, attrs["lhs_dilation"], attrs["rhs_dilation"], strict=True
            )
        )

    def terms(self) -> list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], slice, slice]]:
        """(output, tap, input) positions that meet, with the slices of channels and features of a group."""
        c, o = self.channels // self.groups, self.features // self.groups
        slices = [(slice(g * c, (g + 1) * c), slice(g * o, (g + 1) * o)) for g in range(self.groups)]
        meets = [tuple(zip(*combination, strict=True)) for combination in itertools.product(*self.pairs())]
        return [(*m, *s) for m in meets for s in slices]  # type: ignore[misc]


CONVS = [
    Conv((5, 6), 3, (3, 3), 4, (1, 1), ((0, 0), (0, 0))),
    Conv((5, 6), 2, (3, 2), 5, (1, 1), ((1, 1), (1, 0))),
    Conv((7, 9), 2, (3, 3), 3, (2, 3), ((0, 1), (2, 1)), (), (2, 2)),
    Conv((4, 5), 2, (3, 3), 3, (1, 1), ((2, 2), (2, 3)), (2, 3)),
    Conv((5, 4), 2, (3, 3), 3, (3, 2), ((2, 2), (3, 3)), (2, 3), (2, 1)),
    Conv((6,), 4, (3,), 6, (1,), ((1, 1),), groups=2),
    Conv((6, 5), 4, (3, 3), 4, (1, 1), ((1, 1), (1, 1)), groups=4),
    Conv((6, 5), 3, (3, 3), 6, (2, 1), ((1, 1), (1, 1)), groups=3),
    Conv((4, 3, 4), 2, (2, 2, 3), 3, (1, 2, 1), ((0, 1), (1, 0), (1, 1))),
    Conv((5, 5), 2, (3, 3), 2, (1, 1), ((-1, 0), (0, -1))),
]
MORE_CONVS = [
    Conv((9, 28), 1, (3, 3), 16, (1, 1), ((0, 0), (0, 0))),
    Conv((6, 26), 16, (3, 3), 32, (1, 1), ((1, 1), (1, 1))),
    Conv((8, 8), 20, (5, 3), 70, (2, 1), ((2, 2), (1, 1))),
    Conv((21,), 7, (5,), 19, (3,), ((2, 2),), (), (2,)),
    Conv((7, 9), 8, (3, 3), 20, (1, 1), ((1, 1), (1, 1)), groups=2),
    Conv((7, 9), 12, (3, 2), 8, (2, 1), ((0, 0), (0, 0)), (), (1, 2), 2),
    Conv((12, 12), 5, (4, 4), 6, (2, 2), ((1, 1), (1, 1))),
    Conv((6, 6), 5, (4, 4), 6, (1, 1), ((2, 2), (2, 2)), (2, 2)),
    Conv((6, 6), 5, (1, 1), 6, (2, 2), ((0, 0), (0, 0))),
    Conv((3, 4, 9), 5, (2, 2, 3), 18, (1, 2, 1), ((0, 1), (1, 0), (1, 1))),
]


def conv_cases(conv: Conv, dtype: DType, images: int = 2) -> list[Case]:
    """Forward in two parts and both gradients of one convolution, whole and accumulated."""
    rng = np.random.default_rng(len(repr(conv)))
    x = random(rng, (images, *conv.sizes, conv.channels), dtype)
    f = random(rng, (*conv.taps, conv.channels // conv.groups, conv.features), dtype)
    y_bar = random(rng, (images, *conv.outputs, conv.features), dtype)
    y, x_bar, f_bar = (np.zeros(a.shape) for a in (y_bar, x, f))
    for o, t, i, cs, os in conv.terms():
        every = slice(None)
        tap = f[(*t, every, os)].astype(F64)
        y[(every, *o, os)] += x[(every, *i, cs)].astype(F64) @ tap
        x_bar[(every, *i, cs)] += y_bar[(every, *o, os)].astype(F64) @ tap.T
        f_bar[(*t, every, os)] += x[(every, *i, cs)].astype(F64).T @ y_bar[(every, *o, os)].astype(F64)
    tolerance = TOLERANCE[dtype] * 20
    cases = []
    for kernel, size, source, want in (("conv", conv.outputs, x, y), ("conv_input_grad", conv.sizes, y_bar, x_bar)):
        split = size[0] // 2 if len(size) > 1 else 0  # the one axis of a 1-d convolution comes whole
        for first, last in ((0, split), (split, size[0])):
            if first < last:
                to = fresh((last - first, *want.shape[2:]), dtype, fill=np.nan)
                cases.append(Case(kernel, [to], [source[0], f], [want[0, first:last]], conv.attrs, (first,), tolerance))
    for accumulate in (False, True):
        to = fresh(f.shape, dtype, fill=2)
        attrs = {**conv.attrs, "accumulate": accumulate}
        cases.append(Case("conv_filter_grad", [to], [x, y_bar], [f_bar + 2 * accumulate], attrs, (), tolerance * images))
    return cases


@pytest.mark.parametrize("conv", CONVS, ids=str)
def test_definitions_of_convolutions(conv: Conv) -> None:
    for case in conv_cases(conv, F32, images=1):
        define(case)


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", RUNNABLE)
def test_convolutions(name: str, dtype: DType, monkeypatch: pytest.MonkeyPatch) -> None:
    convs = [*CONVS, *MORE_CONVS] if dtype == F32 else MORE_CONVS
    cases = [case for conv in convs for case in conv_cases(conv, dtype)]
    made = native(cases, targets.named(name))
    groups: dict[bool, set[bool]] = {True: set(), False: set()}
    for case, done in zip(cases, made, strict=True):
        groups[bool(case.attrs["groups"] == 1)].add(done)
    assert groups[True] == {True}, "every ungrouped convolution has a vector form"
    assert True in groups[False], "groups of many channels have one too"
    # Blocks of a row: the gradient of the filter adds up over many visits.
    monkeypatch.setattr(filters, "BLOCK_BYTES", 1)
    native([case for case in cases if case.kernel == "conv_filter_grad" and not case.attrs["accumulate"]], targets.named(name))


def test_many_images_make_one_filter_gradient() -> None:
    """More images than a block holds, and a number of them that blocks do not divide."""
    conv = Conv((14, 14), 8, (3, 3), 16, (1, 1), ((1, 1), (1, 1)))
    native([c for c in conv_cases(conv, F32, images=37) if c.kernel == "conv_filter_grad"], targets.host())


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


# --- sort -------------------------------------------------------------------------------------------


def sort_case(rng: np.random.Generator, n: int, dtype: DType, num_keys: int) -> Case:
    """Sort keys with many ties (and NaN, infinities and both zeros), a second operand, and the positions."""
    if dtypes.is_float(dtype):
        pool = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -1.5, 1e-7, -3e4], F64).astype(dtype)
        keys = np.where(rng.random(n) < 0.5, rng.choice(pool, n), rng.standard_normal(n).astype(dtype)).astype(dtype)
    else:
        info = (0, 1) if dtype == dtypes.bool_ else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
        keys = np.where(rng.random(n) < 0.5, rng.integers(0, 2, n).astype(dtype), rng.choice(np.array(info, dtype), n))
    operands = []
    for values in (keys.astype(dtype), rng.integers(-2, 3, n).astype(np.int64), np.arange(n, dtype=np.int32)):
        operands.append(fresh((n,), values.dtype))
        operands[-1][...] = values

    def rank(a: Array) -> list[tuple[bool, Any]]:
        wide = a.astype(F64) if dtypes.is_float(a.dtype) else a
        return [(bool(x != x), 0 if x != x else x.item()) for x in wide]

    ranks = list(zip(*(rank(a) for a in operands[:num_keys]), strict=True))
    order = sorted(range(n), key=ranks.__getitem__)
    want = [a[order] for a in operands]
    return Case("sort", [fresh((n,), a.dtype) for a in operands], operands, want, {"num_keys": num_keys})


SORTED = [d for d in dtypes.ALL if not dtypes.is_complex(d)]


@pytest.mark.parametrize("dtype", SORTED, ids=str)
def test_sort(dtype: DType) -> None:
    rng = np.random.default_rng(5)
    cases = [sort_case(rng, n, dtype, keys) for n in (0, 1, 2, 3, 17, 40, 41, 1000) for keys in (1, 2)]
    assert all(native(cases, targets.host()))
    for case in (cases[6], cases[7], cases[9]):
        define(case)


def test_sort_in_place() -> None:
    rng = np.random.default_rng(6)
    for n in (5, 30, 300):
        case = sort_case(rng, n, F32, 1)
        case.outputs = case.inputs
        native([case], targets.host())
    case = sort_case(rng, 9, F32, 1)
    shared = Case("sort", case.inputs[:1], case.inputs[:1], case.want[:1], {"num_keys": 1})
    call = shared.call()
    body = TILES["sort"].body(Call("sort", call.outputs, call.outputs, (), call.attrs))
    before, i = Buffer("before", F32, call.outputs[0].buffer.shape, "input"), var("i")
    restore = loops((i,), (before.size,), (store(call.outputs[0].buffer, (i,), load(before, i)),))
    results, _ = interpret(Routine("r", (before,), (), (call.outputs[0].buffer,), (*restore, *body)), [owner(case.inputs[0])])
    np.testing.assert_array_equal(results[0][GAP:-GAP], case.want[0])


def test_definition_of_sort_needs_a_constant_length() -> None:
    ref = Ref(Buffer("x", F32, (4,)), index(0), (Var("n", INDEX),), (1,))
    with pytest.raises(TypeError, match="constant length"):
        TILES["sort"].body(Call("sort", (ref,), (ref,), (), (("num_keys", 1),)))


# --- bounds -----------------------------------------------------------------------------------------

BOUNDS = """
import ctypes, mmap, sys
import numpy as np
import test_tiles as t
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
shapes = [s for s in t.SHAPES if min(s)][::2]
for name in t.RUNNABLE:
    target = t.targets.named(name)
    t.native([t.matmul_case(rng, *s, t.F32, l) for s in shapes for l in t.LAYOUTS], target)
    t.native([t.matmul_case(rng, *s, t.BF16, l) for s in shapes[:6] for l in t.LAYOUTS], target)
    t.native([c for conv in (t.CONVS[4], *t.MORE_CONVS[:7]) for c in t.conv_cases(conv, t.F32, 1)], target)
    x = fresh((33, 70), t.F32)
    t.native([t.Case("transpose", [fresh((70, 33), t.F32)], [x.T], [x], {})], target)
print("in bounds")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="guard pages are set up by mprotect")
def test_nothing_is_read_or_written_out_of_bounds() -> None:
    """In a process of its own, since the failure is a crash."""
    run = subprocess.run(
        [sys.executable, "-c", BOUNDS], capture_output=True, text=True, cwd=__file__.rsplit("/", 1)[0], check=False,
        env={"PYTHONPATH": ":".join(p for p in sys.path if p)},
    )  # fmt: skip
    assert run.stdout == "in bounds\n", (run.returncode, run.stderr[-2000:])


# --- text -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["avx512", "avx2", "sse2", "neon"])
def test_every_target_assembles(name: str) -> None:
    """Text for machines other than this one compiles too (it is not run)."""
    from fdl.backends.llvm.engine import object_code

    triple = "aarch64-unknown-linux-gnu" if name == "neon" else "x86_64-unknown-linux-gnu"
    target = targets.make(name, triple)
    rng = np.random.default_rng(0)
    cases = [matmul_case(rng, 20, 70, 30, F32, "rrc"), *conv_cases(MORE_CONVS[2], F64), sort_case(rng, 9, F32, 1)]
    functions = [f for f in (tile_function(case.call(), target) for case in cases) if f]
    parts = {symbol: text for f in functions for symbol, text in f.parts.items()}
    entries = [trampoline(f) for f in {f.symbol: f for f in functions}.values()]
    declares = sorted({line for f in functions for line in f.declares})
    assert object_code("\n".join((*declares, *parts.values(), *entries)), target)


def test_text_is_a_function_of_the_call() -> None:
    """The same call gives the same text, or the object cache would miss."""
    case = conv_cases(MORE_CONVS[1], F32)[0]
    one, other = (tile_function(case.call(), targets.host()) for _ in range(2))
    assert one == other
