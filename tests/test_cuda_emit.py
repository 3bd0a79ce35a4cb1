"""The CUDA emitter: every scalar operation, and routines of every kind of statement, in Numba's CUDA simulator.

The simulator has to be switched on before Numba is imported, so that the cases run in one other process: this file, as a
program, runs them all and prints what became of each.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdl
from fdl.backends.cuda import compile_ptx, emit, scalars
from fdl.backends.cuda import run as simulate
from fdl.backends.cuda.simulated import LIBRARY
from fdl.backends.loops import interpret
from fdl.backends.loops.build import Names, add, const, convert, load, mul, op, select, store, substitute_in, var
from fdl.backends.loops.check import check
from fdl.backends.loops.ir import (
    BOOL,
    INDEX,
    Alloc,
    Buffer,
    Call,
    Callback,
    Carry,
    Check,
    Const,
    For,
    If,
    Let,
    Load,
    Op,
    Ref,
    Routine,
    Site,
    Stmt,
    Value,
    Var,
    While,
)
from fdl.tracer import dtypes
from fdl.tracer.scalars import SCALARS

f32, f64, i32, i64, u32 = dtypes.float32, dtypes.float64, dtypes.int32, dtypes.int64, dtypes.uint32
CASES: dict[str, Callable[[], None]] = {}
ROUTINES: dict[str, Callable[[], Routine]] = {}
RNG = np.random.default_rng(7)


def case(function: Callable[[], None]) -> Callable[[], None]:
    """Enter a case that needs the simulator."""
    CASES[function.__name__] = function
    return function


def routine(function: Callable[[], Routine]) -> Callable[[], Routine]:
    """Enter a routine that is compiled to PTX too."""
    ROUTINES[function.__name__] = function
    return function


def buffer(name: str, dtype: dtypes.DType, *shape: int, space: str = "input") -> Buffer:
    return Buffer(name, dtype, shape, space)  # type: ignore[arg-type]


def out(name: str, dtype: dtypes.DType, *shape: int) -> Buffer:
    return buffer(name, dtype, *shape, space="output")


def loop(name: str, extent: int | Value, *body: Stmt, kind: str = "parallel", carries: tuple[Carry, ...] = ()) -> For:
    size = extent if isinstance(extent, Const | Var | Load | Op) else const(extent, INDEX)
    return For(var(name), size, body, kind, carries)  # type: ignore[arg-type]


def total(name: str, init: Value, value: Value, combine: str = "add") -> Carry:
    """A carry `name` that combines `value`; its result is `name!`."""
    running = Var(name, init.dtype)
    return Carry(running, init, Op(combine, (running, value), init.dtype), Var(f"{name}!", init.dtype), combine)


def window(buf: Buffer, offset: int | Value = 0) -> Ref:
    start = offset if isinstance(offset, Const | Var | Load | Op) else const(offset, INDEX)
    return Ref(buf, start, tuple(const(n, INDEX) for n in buf.shape), buf.strides)


# --- scalar operations ----------------------------------------------------------------------------


def samples(dtype: dtypes.DType, count: int, seed: int) -> np.ndarray:
    """`count` values of `dtype`, those where operations go wrong first."""
    rng = np.random.default_rng(seed)
    if dtype == dtypes.bool_:
        return rng.integers(0, 2, count).astype(bool)
    if dtypes.is_int(dtype):
        info = np.iinfo(dtype)
        special = [0, 1, 2, 3, 7, 31, 32, 33, 64, info.max, info.max - 1, info.min, info.min + 1, -1, -2, -7]
        values = np.array([v for v in special if info.min <= v <= info.max], dtype)
        rest = rng.integers(info.min, info.max, count, dtype=dtype, endpoint=True)
    else:
        limits = [65504.0, 3.3e38, 6e-8, 6.1e-5, 1e-40, 9.2e-41, 1e300]
        plain = [0.0, -0.0, 1, -1, 0.5, 1.5, 2.5, -2.5, math.inf, -math.inf, math.nan, 0.9, -0.9, 100, 3e9, -3e9, 1e20]
        with np.errstate(all="ignore"):
            values = np.array([*plain, *limits]).astype(dtype)
            rest = (rng.standard_normal(count) * np.exp(rng.standard_normal(count) * 3)).astype(dtype)
    return rng.permutation(np.concatenate([values, values, rest])[: max(count, len(values))])[:count]


def supported(dtype: dtypes.DType) -> bool:
    return not dtypes.is_complex(dtype)


def results_of(name: str, dtype: dtypes.DType) -> list[dtypes.DType]:
    """The result dtypes to test `name` with on operands of `dtype`."""
    scalar = SCALARS[name]
    if scalar.result != "explicit":
        fixed = scalar.result_dtype(dtype)
        return [fixed] if fixed is not None else []
    every = [d for d in dtypes.ALL if supported(d)]
    return every if name == "convert" else [d for d in every if d.itemsize == dtype.itemsize and scalar.accepts(d)]


def operands(name: str, dtype: dtypes.DType, count: int) -> list[np.ndarray]:
    arity = SCALARS[name].arity
    kinds = [dtypes.bool_ if name == "select" and i == 0 else dtype for i in range(arity)]
    return [samples(d, count, seed) for seed, d in enumerate(kinds)]


def disagreement(name: str, got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Where `got` is not what `want` allows: its bits, or some ulp for functions that are not exact."""
    if not dtypes.is_float(want.dtype):
        return np.asarray(got != want)
    wide_got, wide_want = got.astype(np.float64), want.astype(np.float64)
    same = (wide_got == wide_want) | (np.isnan(wide_got) & np.isnan(wide_want))
    if SCALARS[name].exact:
        signed = np.signbit(wide_got) == np.signbit(wide_want)
        return ~(same & (signed | np.isnan(wide_want) | (name in ("max", "min"))))
    unsigned = np.dtype(f"u{want.dtype.itemsize}")
    a, b = got.view(unsigned), want.view(unsigned)
    ulps = np.where(a > b, a - b, b - a)  # as integers: a float64 does not hold the bits of one
    return ~(same | (np.isfinite(wide_want) & (ulps <= 4)))


@pytest.mark.parametrize("name", SCALARS)
def test_scalar_source_on_host(name: str) -> None:
    """The source of every operation, run by plain Python on representations."""
    for dtype in filter(supported, SCALARS[name].dtypes):
        columns = operands(name, dtype, 48)
        for result in results_of(name, dtype):
            args = [f"x{i}" for i in range(len(columns))]
            text = scalars.expression(name, args, dtype, result)
            space: dict[str, object] = {"np": np, "math": math, "nv": LIBRARY}
            for helper in scalars.helpers([text]).values():
                exec(helper, space)
            function = eval(f"lambda {', '.join(args)}: {text}", space)
            held = [c.astype(scalars.representation(c.dtype)) for c in columns]
            with np.errstate(all="ignore"):
                got = [function(*row) for row in zip(*held, strict=True)]
            expected = scalars.representation(result)
            assert expected == dtypes.bool_ or all(v.dtype == expected for v in got), f"{name} {dtype} → {result}: {got[0]!r}"
            want = SCALARS[name].impl(*columns, dtype=result)
            wrong = disagreement(name, np.array(got, expected).astype(result), want)
            assert not wrong.any(), f"{name} {dtype} → {result}: {[c[wrong][0] for c in columns]} {np.array(got)[wrong][0]}"


@pytest.mark.parametrize("dtype", [f32, dtypes.float64], ids=str)
def test_every_piece_of_the_polynomials_of_random_numbers(dtype: dtypes.DType) -> None:
    """Its samples above lie in few of them: x**2 below and above sqrt(2) - 1, w on both sides of 5, 6.25 and 16."""
    x = np.concatenate([np.linspace(-1, 1, 203), 1 - 2.0 ** -np.arange(1.0, 23 if dtype == f32 else 52)]).astype(dtype)
    text = scalars.expression("erf_inv_giles", ["x"], dtype, dtype)
    space: dict[str, object] = {"np": np, "math": math, "nv": LIBRARY}
    for helper in scalars.helpers([text]).values():
        exec(helper, space)
    with np.errstate(all="ignore"):
        got = np.array([eval(text, space | {"x": v}) for v in x], dtype)
    assert not disagreement("erf_inv_giles", got, SCALARS["erf_inv_giles"].impl(x, dtype=dtype)).any()


def scalar_routine(dtype: dtypes.DType, count: int) -> tuple[Routine, list[tuple[str, list[np.ndarray], dtypes.DType]]]:
    """One kernel with every operation on operands of `dtype`, and for each its name, operands and result dtype."""
    inputs: dict[tuple[str, ...], list[Buffer]] = {}
    rows, body, outputs = [], [], []
    for name, scalar in SCALARS.items():
        for result in results_of(name, dtype) if scalar.accepts(dtype) else []:
            columns = operands(name, dtype, count)
            key = tuple(str(c.dtype) for c in columns)
            if key not in inputs:
                inputs[key] = [buffer(f"x{len(inputs)}_{i}", c.dtype, count) for i, c in enumerate(columns)]
            target = out(f"{name}_{dtypes.SHORT[result]}", result, count)
            values = tuple(load(b, var("i")) for b in inputs[key])
            body.append(store(target, (var("i"),), Op(name, values, result)))
            outputs.append(target)
            rows.append((name, columns, result))
    flat = tuple(b for group in inputs.values() for b in group)
    made = Routine(f"scalars_{dtypes.SHORT[dtype]}", flat, (), tuple(outputs), (loop("i", count, *body),))
    return made, rows


@case
def scalar_operations() -> None:
    for dtype in filter(supported, dtypes.ALL):
        made, rows = scalar_routine(dtype, 40)
        by_kind = {tuple(str(c.dtype) for c in columns): columns for _, columns, _ in rows}
        arrays = [c for columns in by_kind.values() for c in columns]
        outputs, failure = simulate(made, arrays)
        assert failure is None
        for (name, columns, result), got in zip(rows, outputs, strict=True):
            want = SCALARS[name].impl(*columns, dtype=result)
            wrong = disagreement(name, got, want)
            given = [c[wrong][:1] for c in columns]
            assert not wrong.any(), f"{name} {dtype} → {result}: {given}: {got[wrong][0]} {want[wrong][0]}"


def run(
    made: Routine,
    inputs: Sequence[np.ndarray],
    consts: Sequence[np.ndarray] = (),
    callbacks: Sequence[Callable[..., Any]] = (),
    host: int = 64,
) -> tuple[list[np.ndarray], interpret.Failure | None]:
    """What the simulator makes of a routine, which is valid, once it agrees with the interpreter."""
    outputs, failure = simulate(check(made), inputs, consts, callbacks, host=host)
    wanted, wanted_failure = interpret.run(made, inputs, consts, callbacks)
    assert failure == wanted_failure
    for got, want in zip(outputs, wanted, strict=True):
        assert got.dtype == want.dtype and got.shape == want.shape
        if dtypes.is_float(got.dtype):
            close(got, want, 0.02 if got.dtype.itemsize == 2 else 1e-4)
        else:
            np.testing.assert_array_equal(got, want)
    return outputs, failure


# --- routines -------------------------------------------------------------------------------------


def normal(*shape: int, dtype: dtypes.DType = f32) -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


def close(got: np.ndarray, want: np.ndarray | np.generic, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), rtol=tolerance, atol=tolerance)


I_, J, K = var("i"), var("j"), var("k")


@routine
def elementwise() -> Routine:
    """relu(x * s + b) in four types, with a bool result; indices of a 2-d nest."""
    body: list[Stmt] = []
    inputs, outputs = [], []
    for short in ("f32", "bf16", "f16", "f64", "i8"):
        dtype = dtypes.FROM_SHORT[short]
        x, b, y = buffer(f"x_{short}", dtype, 3, 5), buffer(f"b_{short}", dtype, 5), out(f"y_{short}", dtype, 3, 5)
        value = op("add", op("mul", load(x, I_, J), const(3, dtype)), load(b, J))
        body.append(store(y, (I_, J), op("max", value, const(0, dtype))))
        inputs += [x, b]
        outputs.append(y)
    positive = out("positive", BOOL, 3, 5)
    body.append(store(positive, (I_, J), op("gt", load(inputs[0], I_, J), const(0, f32))))
    nest = loop("i", 3, loop("j", 5, *body, kind="vector"))
    return Routine("elementwise", tuple(inputs), (), (*outputs, positive), (nest,))


@case
def elementwise_types() -> None:
    made = elementwise()
    arrays = [normal(*b.shape).astype(b.dtype) for b in made.inputs]
    outputs, _ = run(made, arrays)
    for x, b, y in zip(arrays[::2], arrays[1::2], outputs[:-1], strict=True):
        product = SCALARS["mul"].impl(x, np.asarray(3, x.dtype), dtype=x.dtype)
        want = SCALARS["max"].impl(SCALARS["add"].impl(product, b, dtype=x.dtype), np.zeros((), x.dtype), dtype=x.dtype)
        assert y.dtype == x.dtype and (y == want).all()
    assert (outputs[-1] == (arrays[0] > 0)).all()


@routine
def softmax() -> Routine:
    """Rows, each of which has loops of its own: a block of threads for each."""
    x, y, probabilities = buffer("x", f32, 3, 40), out("y", f32, 3, 40), buffer("p", f32, 40, space="local")
    most, mass = total("m", const(-math.inf, f32), load(x, I_, J), "max"), Var("s!", f32)
    weight = op("exp", op("sub", load(x, I_, J), most.result))
    body = (
        loop("j", 40, kind="vector", carries=(most,)),
        Alloc(probabilities),
        loop("j", 40, store(probabilities, (J,), weight), kind="vector"),
        loop("j", 40, kind="serial", carries=(total("s", const(0, f32), load(probabilities, J)),)),
        loop("j", 40, store(y, (I_, J), op("div", load(probabilities, J), mass)), kind="vector"),
    )
    return Routine("softmax", (x,), (), (y,), (loop("i", 3, *renumbered(body)),))


def renumbered(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """`body` with a loop variable of its own for each of its statements."""
    return tuple(substitute_in((s,), {J: var(f"j{n}")})[0] for n, s in enumerate(body))


@case
def softmax_rows() -> None:
    x = normal(3, 40)
    (y,), _ = run(softmax(), (x,))
    e = np.exp(x - x.max(1, keepdims=True))
    close(y, e / e.sum(1, keepdims=True))


@routine
def mean() -> Routine:
    """A total and a mean: variables that outlive the loop that makes them, used by another nest."""
    x, y, mean_out = buffer("x", f32, 7, 5), out("y", f32, 7, 5), out("mean", f32)
    row = Var("row!", f32)
    rows = loop("j", 5, kind="vector", carries=(total("row", const(0, f32), load(x, I_, J)),))
    average = Var("average", f32)
    body = (
        loop("i", 7, rows, carries=(total("all", const(0, f32), row),)),
        Let(average, op("div", Var("all!", f32), const(35, f32))),
        loop("i2", 7, loop("j2", 5, store(y, (var("i2"), var("j2")), op("sub", load(x, var("i2"), var("j2")), average)))),
        store(mean_out, (), average),
    )
    return Routine("mean", (x,), (), (y, mean_out), body)


@case
def reductions() -> None:
    x = normal(7, 5)
    (y, average), _ = run(mean(), (x,))
    close(average, x.mean())
    close(y, x - x.mean())
    pairs = (("max", i32), ("min", f32), ("mul", f64), ("and", dtypes.uint8), ("or", BOOL), ("xor", i64))
    for combine, dtype in (*pairs, ("add", dtypes.bfloat16)):
        data = (normal(13) * 2).astype(dtype) if dtype != BOOL else normal(13) > 0.5
        source, target = buffer("x", dtype, 13), out("y", dtype)
        start = const(True if combine == "and" else 1, dtype) if dtype != dtypes.uint8 else const(255, dtype)
        reduce = loop("i", 13, kind="vector", carries=(total("t", start, load(source, I_), combine),))
        (got,), _ = run(Routine("reduce", (source,), (), (target,), (reduce, store(target, (), Var("t!", dtype)))), (data,))
        want = np.asarray(start.value).astype(dtype)
        for value in data:
            want = SCALARS[combine].impl(want, value, dtype=dtype)
        close(got, want, 0.05 if dtype == dtypes.bfloat16 else 1e-6)


@routine
def long_sum() -> Routine:
    """A reduction long enough for two stages."""
    x, y = buffer("x", f32, 40_001), out("y", f32)
    reduce = loop("i", 40_001, kind="parallel", carries=(total("t", const(1, f32), load(x, I_)),))
    return Routine("long_sum", (x,), (), (y,), (reduce, store(y, (), Var("t!", f32))))


@case
def long_reduction() -> None:
    x = normal(40_001)
    assert len(emit(long_sum()).kernels) == 2
    (y,), _ = run(long_sum(), (x,))
    close(y, 1 + x.astype(np.float64).sum(), 1e-4)


@routine
def products() -> Routine:
    """Matrix products of every layout: plain, transposed operands, accumulating, in bfloat16 and in integers."""
    a, b, at, bt = buffer("a", f32, 4, 6), buffer("b", f32, 6, 3), buffer("at", f32, 6, 4), buffer("bt", f32, 3, 6)
    half = dtypes.bfloat16
    ha, hb, na, nb = buffer("ha", half, 4, 6), buffer("hb", half, 6, 3), buffer("na", i32, 4, 6), buffer("nb", i32, 6, 3)
    y, z, h, n = out("y", f32, 4, 3), out("z", f32, 4, 3), out("h", half, 4, 3), out("n", i32, 4, 3)

    def turned(buf: Buffer) -> Ref:
        ref = window(buf)
        return Ref(buf, ref.offset, ref.shape[::-1], ref.strides[::-1])

    body = (
        Call("matmul", (window(y),), (window(a), window(b))),
        Call("matmul", (window(z),), (turned(at), turned(bt))),
        Call("matmul", (window(z),), (window(a), window(b)), (), (("accumulate", True),)),
        Call("matmul", (window(h),), (window(ha), window(hb))),
        Call("matmul", (window(n),), (window(na), window(nb))),
    )
    return Routine("products", (a, b, at, bt, ha, hb, na, nb), (), (y, z, h, n), body)


@case
def matrix_products() -> None:
    made = products()
    arrays = [(normal(*b.shape) * 3).astype(b.dtype) for b in made.inputs]
    a, b, at, bt, ha, hb, na, nb = arrays
    (y, z, h, n), _ = run(made, arrays)
    close(y, a @ b)
    close(z, at.T @ bt.T + a @ b)
    close(h, ha.astype(f32) @ hb.astype(f32), 0.02)
    assert (n == na @ nb).all()


@routine
def convolutions() -> Routine:
    """A convolution with strides, padding and groups, and both of its gradients, from one image's definition each."""
    x, f, y_bar = buffer("x", f32, 1, 6, 5, 4), buffer("f", f32, 3, 2, 2, 6), buffer("y_bar", f32, 1, 3, 6, 6)
    y, x_bar, f_bar = out("y", f32, 1, 3, 6, 6), out("x_bar", f32, 1, 6, 5, 4), out("f_bar", f32, 3, 2, 2, 6)
    padding, ones = ((1, 1), (0, 2)), (1, 1)
    attrs = (("groups", 2), ("lhs_dilation", ones), ("padding", padding), ("rhs_dilation", ones), ("strides", (2, 1)))

    def image(buf: Buffer) -> Ref:
        ref = window(buf)
        return Ref(buf, ref.offset, ref.shape[1:], ref.strides[1:])

    row = (const(0, INDEX),)
    body = (
        Call("conv", (image(y),), (image(x), window(f)), row, attrs),
        Call("conv_input_grad", (image(x_bar),), (image(y_bar), window(f)), row, attrs),
        Call("conv_filter_grad", (window(f_bar),), (window(x), window(y_bar)), (), attrs),
    )
    return Routine("convolutions", (x, f, y_bar), (), (y, x_bar, f_bar), body)


@case
def convolution_tiles() -> None:
    made = convolutions()
    assert [k.shape for k in emit(made).kernels.values()] == ["items"] * 3
    x, f, y_bar = (normal(*b.shape) for b in made.inputs)
    (y, x_bar, f_bar), _ = run(made, (x, f, y_bar))
    padded = np.pad(x[0], ((1, 1), (0, 2), (0, 0)))
    want = np.zeros(y.shape[1:], f64)
    for row, column, feature in np.ndindex(*want.shape):
        group = feature // 3
        patch = padded[2 * row : 2 * row + 3, column : column + 2, 2 * group : 2 * group + 2]
        want[row, column, feature] = (patch * f[..., feature]).sum()
    close(y[0], want)
    # The gradients are the transposes of the product: <y, y_bar> = <x, x_bar> = <f, f_bar>.
    close((x * x_bar).sum(), (want * y_bar).sum(), 1e-4)
    close((f * f_bar).sum(), (want * y_bar).sum(), 1e-4)


@case
def sorting() -> None:
    keys, values = buffer("keys", f32, 3, 7), buffer("values", i32, 3, 7)
    sorted_keys, order = out("sorted", f32, 3, 7), out("order", i32, 3, 7)

    def row(buf: Buffer) -> Ref:
        return Ref(buf, mul(I_, 7), (const(7, INDEX),), (1,))

    call = Call("sort", (row(sorted_keys), row(order)), (row(keys), row(values)), (), (("num_keys", 1),))
    data = np.round(normal(3, 7) * 2)
    data[1, 3] = math.nan
    (got, places), _ = run(
        Routine("sorting", (keys, values), (), (sorted_keys, order), (loop("i", 3, call),)),
        (data, np.tile(np.arange(7, dtype=i32), (3, 1))),
    )
    want = np.argsort(data, axis=1, kind="stable")
    assert (places == want).all()
    np.testing.assert_array_equal(got, np.take_along_axis(data, want, 1))


@routine
def tiles() -> Routine:
    """Loops whose extent depends on the loop around them, and a serial loop with independent iterations."""
    x, y, z = buffer("x", f32, 10, 3), out("y", f32, 10, 3), out("z", f32, 10)
    start = mul(I_, 4)
    size = op("min", const(4, INDEX), op("sub", const(10, INDEX), start))
    row = Var("row", INDEX)
    element = store(y, (row, K), op("neg", load(x, row, K)))
    tile = loop("j", size, Let(row, add(start, J)), loop("k", 3, element, kind="vector"))
    p, q = var("p"), var("q")
    serial = loop("p", 10, loop("q", 3, kind="serial", carries=(total("t", const(0, f32), load(x, p, q)),)),
                  store(z, (p,), Var("t!", f32)), kind="serial")  # fmt: skip
    return Routine("tiles", (x,), (), (y, z), (loop("i", 3, tile), serial))


@case
def dependent_extents() -> None:
    x = normal(10, 3)
    (y, z), _ = run(tiles(), (x,))
    assert (y == -x).all()
    close(z, x.sum(1))
    assert [k.shape for k in emit(tiles()).kernels.values()] == ["items", "items"]


@routine
def random_bits() -> Routine:
    """The bits of a key, by position."""
    key, y, z = buffer("key", u32, 2), out("y", u32, 9), out("z", dtypes.uint64, 9)
    words = (load(key, 0), load(key, 1), const(0, u32), convert(I_, u32))
    narrow, wide = Op("threefry_bits32", words, u32), Op("threefry_bits64", words, dtypes.uint64)
    body = (store(y, (I_,), narrow), store(z, (I_,), wide))
    return Routine("random_bits", (key,), (), (y, z), (loop("i", 9, *body),))


@case
def threefry() -> None:
    key = np.array([17, 2**32 - 5], u32)
    (y, z), _ = run(random_bits(), (key,))
    words = (key[0], key[1], np.zeros(9, u32), np.arange(9, dtype=u32))
    assert (y == SCALARS["threefry_bits32"].impl(*words, dtype=u32)).all()
    assert (z == SCALARS["threefry_bits64"].impl(*words, dtype=dtypes.uint64)).all()


def checked_gather(serial: bool) -> Routine:
    """y[t, i] = x[index[t, i]] with two checks, the loop over t in the driver when `serial`."""
    x, index, y = buffer("x", f32, 4), buffer("index", i64, 3, 8), out("y", f32, 3, 8)
    at, t = Var("at", INDEX), var("t")
    within = op("and", op("ge", at, const(0, INDEX)), op("lt", at, const(4, INDEX)))
    body = (
        Let(at, load(index, t, I_)),
        Check(op("ne", at, const(77, INDEX)), 1, (at,)),
        Check(within, 0, (at, const(4, INDEX), I_)),
        store(y, (t, I_), load(x, op("min", op("max", at, const(0, INDEX)), const(3, INDEX)))),
    )
    # A store to one place keeps the loop over t serial.
    last = out("last", INDEX)
    inner = loop("i", 8, *body)
    nest = loop("t", 3, inner, store(last, (), t), kind="serial") if serial else loop("t", 3, inner)
    sites = (Site("index {0} of an axis of {1}"), Site("seventy-seven"))
    return Routine("gather", (x, index), (), (y, last) if serial else (y,), (nest,), sites)


@routine
def gather() -> Routine:
    return checked_gather(True)


@case
def failures() -> None:
    x = normal(4)
    for serial in (False, True):
        for host in (1, 10_000):
            index = RNG.integers(0, 4, (3, 8))
            outputs, failure = run(checked_gather(serial), (x, index), host=host)
            assert failure is None and (outputs[0] == x[index]).all()
            index[1, 6], index[1, 3], index[2, 0], index[0, 7] = -5, 9, 12, 2
            outputs, failure = run(checked_gather(serial), (x, index), host=host)
            assert failure == (0, (9, 4, 3))
            assert (outputs[0] == x[index.clip(0, 3)]).all()
            index[0, 1] = 77
            _, failure = run(checked_gather(serial), (x, index), host=host)
            assert failure == (0, (77, 4, 1))


@routine
def iteration() -> Routine:
    """x ← A x / |A x| a few times, with the norm carried; then a loop of two carries that swap."""
    a, x0, x, norm_out = buffer("a", f32, 4, 4), buffer("x0", f32, 4), out("x", f32, 4), out("norm", f32)
    t, product = var("t"), buffer("product", f32, 4, space="arena")
    row = loop("j", 4, kind="serial", carries=(total("dot", const(0, f32), op("mul", load(a, I_, J), load(x, J))),))
    squares = loop("s", 4, kind="vector", carries=(
        total("square", const(0, f32), op("mul", load(product, var("s")), load(product, var("s")))),))  # fmt: skip
    norm = Var("norm", f32)
    step = (
        Alloc(product),
        loop("i", 4, row, store(product, (I_,), Var("dot!", f32))),
        squares,
        Let(norm, op("sqrt", Var("square!", f32))),
        loop("u", 4, store(x, (var("u"),), op("div", load(product, var("u")), norm))),
    )
    carries = (
        Carry(Var("last", f32), const(0, f32), norm, Var("last!", f32)),
        Carry(Var("p", i32), const(3, i32), Var("q", i32), Var("p!", i32)),
        Carry(Var("q", i32), const(5, i32), op("add", Var("p", i32), convert(t, i32)), Var("q!", i32)),
    )
    swapped = out("swapped", i32, 2)
    body = (
        loop("c", 4, store(x, (var("c"),), load(x0, var("c")))),
        loop("t", 5, *step, kind="serial", carries=carries),
        store(norm_out, (), Var("last!", f32)),
        store(swapped, (0,), Var("p!", i32)),
        store(swapped, (1,), Var("q!", i32)),
    )
    return Routine("iteration", (a, x0), (), (x, norm_out, swapped), body)


@case
def driver_loops() -> None:
    a, x = normal(4, 4), normal(4)
    want, norm, p, q = x, np.float32(0), 3, 5
    for t in range(5):
        product = a @ want
        norm = np.sqrt((product * product).sum())
        want, p, q = product / norm, q, p + t
    for host in (1, 10_000):
        (got, last, swapped), _ = run(iteration(), (a, x), host=host)
        close(got, want, 1e-4)
        close(last, norm, 1e-4)
        assert swapped.tolist() == [p, q]


@routine
def collatz() -> Routine:
    """A `While` and an `If` of one thread for each element, and of the driver."""
    n0, steps, rounds = buffer("n0", i64, 6), out("steps", i64, 6), out("rounds", i32)
    n, done = buffer("n", i64, 1, space="local"), buffer("done", BOOL, space="arena")
    odd = op("eq", op("rem", load(n, 0), const(2, INDEX)), const(1, INDEX))
    advance = (
        If(odd, (store(n, (0,), add(mul(3, load(n, 0)), 1)),), (store(n, (0,), op("div", load(n, 0), const(2, INDEX))),)),
        store(steps, (I_,), add(load(steps, I_), 1)),
    )
    each = (
        Alloc(n),
        store(n, (0,), load(n0, I_)),
        store(steps, (I_,), const(0, INDEX)),
        While((Let(Var("now", INDEX), load(n, 0)),), op("gt", Var("now", INDEX), const(1, INDEX)), advance),
    )
    # In the driver: count up until the sum of `steps` and the rounds is a multiple of 8.
    mass = loop("s", 6, kind="vector", carries=(total("m", const(0, INDEX), load(steps, var("s"))),))
    whole = op("rem", add(Var("m!", INDEX), convert(load(rounds), INDEX)), const(8, INDEX))
    grow = loop("g", 6, store(steps, (var("g"),), add(load(steps, var("g")), 1)))
    body = (
        loop("i", 6, *each),
        store(rounds, (), const(0, i32)),
        Alloc(done),
        store(done, (), const(False, BOOL)),
        While(
            (mass,),
            op("not", load(done)),
            (
                If(op("eq", whole, const(0, INDEX)), (store(done, (), const(True, BOOL)),), (grow,)),
                store(rounds, (), op("add", load(rounds), const(1, i32))),
            ),
        ),
    )
    return Routine("collatz", (n0,), (), (steps, rounds), body)


@case
def branches() -> None:
    n0 = np.array([1, 2, 3, 7, 12, 27], i64)
    want = []
    for n in n0.tolist():
        count = 0
        while n > 1:
            n, count = (3 * n + 1 if n % 2 else n // 2), count + 1
        want.append(count)
    rounds = 0
    while True:
        whole = (sum(want) + rounds) % 8 == 0
        want = want if whole else [w + 1 for w in want]
        rounds += 1
        if whole:
            break
    for host in (1, 10_000):
        (steps, got), _ = run(collatz(), (n0,), host=host)
        assert steps.tolist() == want and got == rounds


@case
def callback() -> None:
    x, y = buffer("x", f32, 2, 3), out("y", f32, 3, 2)
    t = buffer("t", f32, 3, 2, space="arena")
    body = (
        Alloc(t),
        Callback(0, (window(x),), (Ref(t, const(0, INDEX), (const(2, INDEX), const(3, INDEX)), (1, 2)),)),
        loop("i", 3, loop("j", 2, store(y, (I_, J), op("neg", load(t, I_, J))))),
    )
    array = normal(2, 3)
    (got,), _ = run(Routine("callback", (x,), (), (y,), body), (array,), (), [lambda v: [v * 2]])
    assert (got == -(array * 2).T).all()


@routine
def scratch() -> Routine:
    """Local buffers of one thread and of one block, small and too large for either's own memory."""
    x, y = buffer("x", f32, 3, 40), out("y", f32, 3)
    statements: list[Stmt] = []
    for name, size in (("few", 40), ("many", 9000)):
        local, half = buffer(name, f32, size, space="local"), buffer(f"{name}_half", dtypes.float16, size, space="local")
        j, s = var(f"{name}_j"), var(f"{name}_s")
        fill = (store(local, (j,), load(x, I_, j)), store(half, (j,), convert(load(x, I_, j), dtypes.float16)))
        value = op("add", load(local, s), convert(load(half, s), f32))
        statements += [
            Alloc(local),
            Alloc(half),
            loop(j.name, 40, *fill, kind="vector"),
            loop(s.name, 40, kind="serial", carries=(total(f"{name}_t", const(0, f32), value),)),
        ]
    statements.append(store(y, (I_,), op("add", Var("few_t!", f32), Var("many_t!", f32))))
    return Routine("scratch", (x,), (), (y,), (loop("i", 3, *statements),))


@routine
def scratch_threads() -> Routine:
    """The same, for one thread an iteration: a running maximum kept in a local buffer, and one too large for a thread."""
    x, y = buffer("x", f32, 6, 9), out("y", f32, 6, 9)
    kept, large = buffer("kept", f32, 9, space="local"), buffer("large", f32, 9000, space="local")
    best = select(op("gt", load(x, I_, J), Var("best", f32)), load(x, I_, J), Var("best", f32))
    scan = For(J, const(9, INDEX), (store(kept, (J,), best), store(large, (J,), load(kept, J))), "serial", (
        Carry(Var("best", f32), const(-math.inf, f32), best, Var("best!", f32)),))  # fmt: skip
    copy = loop("k", 9, store(y, (I_, K), op("add", load(kept, K), load(large, K))), kind="serial")
    return Routine("scratch_threads", (x,), (), (y,), (loop("i", 6, Alloc(kept), Alloc(large), scan, copy),))


@routine
def scratch_dealt() -> Routine:
    """Threads of one block, each with a local buffer too large for its own memory."""
    x, y = buffer("x", f32, 3, 40), out("y", f32, 3, 40)
    large, k, k2 = buffer("large", f32, 9000, space="local"), var("k"), var("k2")
    each = (
        Alloc(large),
        loop("k", 5, store(large, (k,), op("mul", load(x, I_, J), convert(k, f32))), kind="serial"),
        loop("k2", 5, kind="serial", carries=(total("t", const(0, f32), load(large, k2)),)),
        store(y, (I_, J), op("add", Var("t!", f32), Var("row!", f32))),
    )
    row = loop("r", 40, kind="vector", carries=(total("row", const(0, f32), load(x, I_, var("r"))),))
    return Routine("scratch_dealt", (x,), (), (y,), (loop("i", 3, row, loop("j", 40, *each)),))


@case
def local_buffers() -> None:
    x = normal(3, 40)
    (y,), _ = run(scratch_dealt(), (x,))
    close(y, 10 * x + x.sum(1, keepdims=True), 1e-4)
    assert [k.shape for k in emit(scratch_dealt()).kernels.values()] == ["rows"]
    x = normal(3, 40)
    (y,), _ = run(scratch(), (x,))
    close(y, 2 * (x.sum(1) + x.astype(np.float16).astype(f32).sum(1)), 1e-4)
    x = normal(6, 9)
    (y,), _ = run(scratch_threads(), (x,))
    assert (y == 2 * np.maximum.accumulate(x, 1)).all()
    assert [k.shape for k in emit(scratch_threads()).kernels.values()] == ["items"]


@case
def empty_and_scalar() -> None:
    x, y, z = buffer("x", f32, 0, 3), out("y", f32, 0, 3), out("z", f32)
    body = (loop("i", 0, loop("j", 3, store(y, (I_, J), load(x, I_, J)))), store(z, (), const(2.5, f32)))
    (got, scalar), _ = run(Routine("empty", (x,), (), (y, z), body), (np.zeros((0, 3), f32),))
    assert got.shape == (0, 3) and scalar == 2.5
    # Nothing in the inner loop of a nest, and of one that a block shares.
    w, y = buffer("w", f32, 3, 0), out("y", f32, 3, 0)
    inner = loop("j", 0, store(y, (I_, J), load(w, I_, J)), kind="vector")
    row = loop("k", 40, kind="vector", carries=(total("t", const(0, f32), const(1, f32)),))
    again = substitute_in((loop("i", 3, inner),), {I_: var("i2"), J: var("j2")})
    shared = loop("p", 2, row, *again, store(z, (), Var("t!", f32)), kind="serial")
    (got, scalar), _ = run(Routine("nothing", (w,), (), (y, z), (loop("i", 3, inner), shared)), (np.zeros((3, 0), f32),))
    assert got.shape == (3, 0) and scalar == 40


@routine
def deep() -> Routine:
    """An expression deeper than Python's parser takes."""
    x, y = buffer("x", f32, 4), out("y", f32, 4)
    value: Value = load(x, I_)
    for _ in range(150):
        value = op("neg", op("max", value, load(x, 0)))
    return Routine("deep", (x,), (), (y,), (loop("i", 4, store(y, (I_,), value)),))


@case
def deep_expression() -> None:
    x = normal(4)
    (y,), _ = run(deep(), (x,))
    want = x
    for _ in range(150):
        want = -np.maximum(want, x[0])
    assert (y == want).all()


def random_routine(rng: np.random.Generator) -> Routine:
    """Nests of random depth, extents and kinds over buffers of one dtype, some of them inside a serial loop of the driver's."""
    dtype = dtypes.FROM_SHORT[str(rng.choice(["i32", "u8", "i64", "f32"]))]
    names = Names()
    sources = [buffer(names("x"), dtype, *rng.integers(1, 5, rng.integers(0, 4))) for _ in range(2)]
    outputs: list[Buffer] = []

    def choose(values: Sequence[Any]) -> Any:
        return values[int(rng.integers(len(values)))]

    def place(buf: Buffer, variables: list[Var]) -> Load:
        """An element of `buf`, at clamped positions that depend on the loops."""
        indices = []
        for n in buf.shape:
            at: Value = const(int(rng.integers(-1, 3)), INDEX)
            for v in variables:
                at = add(at, mul(v, int(rng.integers(-1, 3))))
            indices.append(op("min", op("max", at, const(0, INDEX)), const(n - 1, INDEX)))
        return load(buf, *indices)

    def value(variables: list[Var], scalars_in: list[Value], depth: int) -> Value:
        if depth == 0 or rng.random() < 0.2:
            leaves = [place(choose(sources), variables), const(int(rng.integers(0, 9)), dtype), *scalars_in]
            return choose([*leaves, *(convert(v, dtype) for v in variables)])
        x, y = (value(variables, scalars_in, depth - 1) for _ in range(2))
        return op(choose(["add", "sub", "max", "min", "mul"]), x, y)

    def nest(variables: list[Var], scalars_in: list[Value]) -> tuple[list[Stmt], Buffer]:
        """The statements that fill a new buffer, and it."""
        extents = [int(n) for n in rng.choice([1, 2, 3, 5, 7], rng.integers(0, 4))]
        mine = [var(names("i")) for _ in extents]
        target = buffer(names("t"), dtype, *extents, space="arena")
        inside: list[Stmt] = []
        known = [*scalars_in]
        for _ in range(rng.integers(0, 3)):
            k, combine = var(names("k")), choose(["add", "max", "min", "mul"] if dtype != f32 else ["max", "min"])
            carry = total(names("r"), const(int(rng.integers(0, 3)), dtype), value([*mine, k], known, 1), combine)
            inside.append(loop(k.name, int(choose([1, 4, 33, 70])), kind="serial", carries=(carry,)))
            known.append(carry.result)
        held = Var(names("h"), dtype)
        inside += [Let(held, value(mine, known, 2)), store(target, mine, op("add", held, value(mine, known, 1)))]
        body: tuple[Stmt, ...] = tuple(inside)
        for v, n in reversed(list(zip(mine, extents, strict=True))):
            body = (loop(v.name, n, *body, kind=choose(["parallel", "serial"])),)
        return list(body), target

    body: list[Stmt] = []
    for _ in range(rng.integers(1, 5)):
        made, target = nest([], [])
        if rng.random() < 0.3:
            # A serial loop around two nests, the second of which reads the first: `state` is carried in memory.
            state = buffer(names("s"), dtype, 4, space="arena")
            fill, at, t = var(names("i")), var(names("i")), var(names("t"))
            step = op("max", op("sub", load(state, at), place(target, [at, t])), convert(t, dtype))
            advance = loop(at.name, 4, store(state, (at,), step), kind=choose(["parallel", "serial"]))
            body += [Alloc(state), loop(fill.name, 4, store(state, (fill,), place(sources[0], [fill])))]
            body.append(loop(t.name, 3, Alloc(target), *made, advance, kind="serial"))
            target = state
        else:
            body += [Alloc(target), *made]
        sources.append(target)
        result = out(names("y"), dtype, *target.shape)
        at_all = [var(names("i")) for _ in target.shape]
        copy: tuple[Stmt, ...] = (store(result, at_all, load(target, *at_all)),)
        for v, n in reversed(list(zip(at_all, target.shape, strict=True))):
            copy = (loop(v.name, n, *copy),)
        body += copy
        outputs.append(result)
    return Routine("random", tuple(sources[:2]), (), tuple(outputs), tuple(body))


@case
def random_routines(count: int = 8, seed: int = 3) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(count):
        made = random_routine(rng)
        arrays = [(rng.standard_normal(b.shape) * 5).astype(b.dtype) for b in made.inputs]
        run(made, arrays, host=int(rng.choice([1, 10, 1000])))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of every case in the simulator: "" or a traceback."""
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(Path(fdl.__file__).parents[1])}
    command = [sys.executable, "-W", "error", __file__]
    place = tmp_path_factory.mktemp("simulator")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, cwd=place)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("name", CASES)
def test_in_simulator(name: str, simulated: dict[str, str]) -> None:
    pytest.importorskip("numba", reason="Numba's CUDA simulator runs the kernels")
    assert not simulated[name], simulated[name]


# --- without the simulator ------------------------------------------------------------------------


def test_import_and_emit_need_no_cuda_package() -> None:
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "from fdl.backends.cuda import emit\n"
        "from fdl.backends.loops.ir import Routine\n"
        "print('def drive' in emit(Routine('nothing', (), (), (), ())).source)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(fdl.__file__).parents[1])}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "True\n", done.stderr


def test_simulator_off() -> None:
    if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
        pytest.skip("the simulator is on in this process")
    with pytest.raises(RuntimeError, match="NUMBA_ENABLE_CUDASIM=1"):
        simulate(random_bits(), (np.zeros(2, u32),))


def test_complex_is_refused() -> None:
    x, y = buffer("x", dtypes.complex64, 2), out("y", dtypes.complex64, 2)
    with pytest.raises(TypeError, match="no complex64 yet"):
        emit(Routine("complex", (x,), (), (y,), (loop("i", 2, store(y, (I_,), op("neg", load(x, I_)))),)))


def test_source() -> None:
    """The whole text of a small module."""
    x, y = buffer("x", f32, 100, 7), out("y", f32, 100, 7)
    twice = store(y, (I_, J), op("mul", load(x, I_, J), const(2, f32)))
    made = Routine("scale", (x,), (), (y,), (loop("i", 100, loop("j", 7, twice)),))
    assert emit(made).source == """\
# scale
BLOCK = 128


def k0(y, x):
    for item in range(np.int32(cuda.grid(1)), np.int32(700), np.int32(cuda.gridsize(1))):
        item = np.int32(item)
        i = np.int32(np.uint32(item) // np.uint32(7))
        j = np.int32(np.uint32(item) % np.uint32(7))
        y[np.int32(i * 7 + j)] = nv.fmul_rn(x[np.int32(i * 7 + j)], np.float32(2.0))


def drive(h):
    h.launch('k0', 700, 'y', 'x')
"""


def test_large_buffers_have_wide_indices() -> None:
    x, y = buffer("x", f32, 70_000, 70_000), out("y", f32, 70_000)
    body = (loop("i", 70_000, store(y, (I_,), load(x, I_, 69_999))),)
    assert "x[np.int64(i) * np.int64(70000) + np.int64(69999)]" in emit(Routine("wide", (x,), (), (y,), body)).source


@pytest.mark.parametrize("name", ROUTINES)
def test_ptx(name: str) -> None:
    """Every kernel compiles for sm_90, without a GPU."""
    needs_compiler()
    kernels = compile_ptx(ROUTINES[name]())
    assert kernels and all(".target sm_90" in text for text in kernels.values())


def test_ptx_of_scalar_operations() -> None:
    needs_compiler()
    for dtype in filter(supported, dtypes.ALL):
        made, _ = scalar_routine(dtype, 8)
        # One kernel for each few operations: a kernel of all of them takes long to compile.
        (nest,) = made.body
        assert isinstance(nest, For)
        parts = tuple(loop("i", 8, *nest.body[n : n + 12]) for n in range(0, len(nest.body), 12))
        compile_ptx(Routine(made.name, made.inputs, (), made.outputs, parts))


def test_ptx_neither_contracts_nor_widens() -> None:
    needs_compiler()
    x, y = buffer("x", f32, 64), out("y", f32, 64)
    value = op("add", op("mul", load(x, I_), load(x, I_)), const(0.1, f32))
    ptx = compile_ptx(Routine("square", (x,), (), (y,), (loop("i", 64, store(y, (I_,), value)),)))["k0"]
    assert "mul.rn.f32" in ptx and "fma" not in ptx and "f64" not in ptx


def needs_compiler() -> None:
    reason = "compiling PTX needs the packages of fdl[cuda13]"
    pytest.importorskip("numba_cuda", reason=reason)
    pytest.importorskip("cuda.bindings.nvvm", reason=reason)


def main() -> None:
    """Run every case, and print what became of them as JSON."""
    results = {}
    for name, function in CASES.items():
        try:
            function()
            results[name] = ""
        except Exception:
            results[name] = traceback.format_exc()
    print(json.dumps(results))


if __name__ == "__main__":
    main()
