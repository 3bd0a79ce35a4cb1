"""What the tests of tile kernels share: calls on windows of NumPy arrays, with what they must give, run both ways."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fdl.backends.llvm import target as targets
from fdl.backends.llvm.engine import Loaded, compile_text
from fdl.backends.llvm.target import Target
from fdl.backends.llvm.tiles import TileFunction, tile_function
from fdl.backends.loops.build import flat, load, loops, store, var
from fdl.backends.loops.interpret import run as interpret
from fdl.backends.loops.ir import INDEX, Buffer, Call, Const, Ref, Routine, Value, Var
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
    if dtypes.is_float(dtype):
        array[...] = rng.standard_normal(shape).astype(dtype)
    else:  # by way of int64: what becomes of a negative float in an unsigned integer differs between CPUs
        array[...] = (rng.standard_normal(shape) * 5).astype(np.int64).astype(dtype)
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
        definitions, needed = function.whole()
        for symbol, text in definitions.items():
            assert parts.setdefault(symbol, text) == text, f"two functions are called {symbol}"
        declares |= needed
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

    def terms(self) -> list[Any]:
        """(output, tap, input) positions that meet, with the slices of channels and features of a group."""
        c, o = self.channels // self.groups, self.features // self.groups
        slices = [(slice(g * c, (g + 1) * c), slice(g * o, (g + 1) * o)) for g in range(self.groups)]
        meets = [tuple(zip(*combination, strict=True)) for combination in itertools.product(*self.pairs())]
        return [(*m, *s) for m in meets for s in slices]


CONVS = [
    Conv((5, 6), 3, (3, 3), 4, (1, 1), ((0, 0), (0, 0))),
    Conv((5, 6), 2, (3, 2), 5, (1, 1), ((1, 1), (1, 0))),
    Conv((7, 9), 2, (3, 3), 3, (2, 3), ((0, 1), (2, 1)), (), (2, 2)),
    Conv((3, 4), 2, (3, 3), 3, (1, 1), ((2, 2), (2, 3)), (2, 3)),
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
NARROW_CONVS = [
    # Pixels as lanes: dense rows, strides, pixels apart, many channels; few pixels for the vectors; taps that are all padding.
    Conv((5, 37), 3, (5, 5), 6, (1, 1), ((2, 2), (2, 2))),
    Conv((5, 40), 2, (3, 3), 3, (2, 2), ((1, 1), (1, 1))),
    Conv((4, 33), 20, (3, 3), 2, (1, 1), ((0, 0), (1, 1))),
    Conv((4, 19), 1, (2, 4), 2, (1, 1), ((1, 0), (5, 3)), (2, 3), (1, 2)),
    Conv((70,), 2, (9,), 1, (1,), ((4, 4),)),
    Conv((83,), 1, (5,), 2, (3,), ((-2, 3),)),
    Conv((2, 3, 35), 9, (1, 2, 3), 1, (1, 1, 1), ((0, 0), (1, 0), (1, 1))),
    # One vector of features, neighbouring pixels from one element of the input: strides and dilations, more pixels than a tile has.
    Conv((4, 60), 5, (3, 3), 16, (1, 1), ((1, 1), (1, 1))),
    Conv((3, 45), 2, (2, 3), 12, (1, 2), ((0, 0), (2, 1)), (), (1, 2)),
    Conv((3, 30), 3, (2, 5), 4, (1, 1), ((1, 1), (4, 4)), (1, 2)),
    # Groups as lanes: depthwise, several features or channels in each, an odd number, taps in pieces, more than a vector.
    Conv((5, 29), 20, (3, 3), 20, (1, 1), ((1, 1), (1, 1)), groups=20),
    Conv((5, 9), 32, (3, 3), 32, (2, 2), ((1, 1), (1, 1)), groups=32),
    Conv((4, 11), 18, (3, 2), 36, (1, 1), ((1, 0), (0, 1)), groups=18),
    Conv((4, 11), 36, (2, 3), 18, (1, 2), ((0, 0), (0, 1)), groups=18),
    Conv((3, 7), 15, (2, 2), 9, (1, 1), ((1, 1), (1, 1)), (1, 2), groups=3),
    Conv((60,), 5, (31,), 5, (1,), ((15, 15),), groups=5),
    Conv((9,), 64, (3,), 64, (1,), ((1, 1),), (), (2,), 16),
    Conv((6,), 4, (1,), 4, (2,), ((0, 0),), (4,), groups=4),
]
"""Convolutions in which the features of a group fill no vector."""


def conv_cases(conv: Conv, dtype: DType, images: int = 2) -> list[Case]:
    """Forward in two parts and both gradients of one convolution, whole and accumulated."""
    rng = np.random.default_rng(len(repr(conv)))
    x = random(rng, (images, *conv.sizes, conv.channels), dtype)
    f = random(rng, (*conv.taps, conv.channels // conv.groups, conv.features), dtype)
    y_bar = random(rng, (images, *conv.outputs, conv.features), dtype)
    y, x_bar, f_bar = (np.zeros(a.shape) for a in (y_bar, x, f))
    every: Any = slice(None)
    for o, t, i, cs, os in conv.terms():
        tap = f[(*t, every, os)].astype(F64)
        y[(every, *o, os)] += x[(every, *i, cs)].astype(F64) @ tap
        x_bar[(every, *i, cs)] += y_bar[(every, *o, os)].astype(F64) @ tap.T
        f_bar[(*t, every, os)] += x[(every, *i, cs)].astype(F64).T @ y_bar[(every, *o, os)].astype(F64)
    tolerance = TOLERANCE[dtype] * 20
    cases = []
    for kernel, size, source, want in (("conv", conv.outputs, x, y), ("conv_input_grad", conv.sizes, y_bar, x_bar)):
        split = size[0] // 2
        for first, last in ((0, split), (split, size[0]), (0, size[0])):
            if first < last:
                to = fresh((last - first, *want.shape[2:]), dtype, fill=np.nan)
                cases.append(Case(kernel, [to], [source[0], f], [want[0, first:last]], conv.attrs, (first,), tolerance))
    for accumulate in (False, True):
        to = fresh(f.shape, dtype, fill=2)
        attrs = {**conv.attrs, "accumulate": accumulate}
        cases.append(Case("conv_filter_grad", [to], [x, y_bar], [f_bar + 2 * accumulate], attrs, (), tolerance * images))
    return cases
