"""The table of scalar semantics, as rows of operands and expected values, on every backend.

Integers wrap and divide by anything, float → int saturates, shifts have any amount, NaN propagates, the half types round after every
operation, nothing is flushed to zero, contracted, or reassociated. Expected values come from Python's integers and exact fractions, or
from NumPy's arithmetic one operation at a time; the reference is only one of the backends that are held to them.
"""

from __future__ import annotations

import functools
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_scalars import nearest

import fdl
import fdl.numpy as fnp
from fdl import nn
from fdl.backends.executable import NativeExecutable
from fdl.backends.llvm.target import named, runnable
from fdl.backends.loops import interpret
from fdl.backends.loops.pipeline import pipeline
from fdl.backends.reference import ReferenceExecutable
from fdl.tracer import dtypes
from fdl.tracer.dtypes import DType
from fdl.tracer.ir import Program
from fdl.tracer.ops import elementwise as e
from fdl.tracer.passes.simplify import simplify

Array = np.ndarray[Any, Any]
HALVES = (dtypes.float16, dtypes.bfloat16)
FLOATS = (*HALVES, dtypes.float32, dtypes.float64)
INTS = dtypes.SIGNED + dtypes.UNSIGNED


@dataclass(frozen=True, slots=True)
class Row:
    """A function of arrays, operands for it, and what it gives: the same bits, but for NaN's."""

    name: str
    function: Callable[..., Any]
    operands: tuple[Array, ...]
    expected: Array
    ulps: int = 0


# --- integers -------------------------------------------------------------------------------------


def wrap(n: int, dtype: DType) -> int:
    """`n` modulo 2**width, in the range of `dtype`."""
    n %= 1 << dtypes.bits(dtype)
    return n - (1 << dtypes.bits(dtype)) if dtypes.is_signed(dtype) and n >> (dtypes.bits(dtype) - 1) else n


def _div(a: int, b: int) -> int:
    return 0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _pow(a: int, b: int) -> int:
    if b >= 0:
        return pow(a, b, 2**64)
    return (a if b % 2 else 1) if abs(a) == 1 else 0


BINARY: dict[str, tuple[Callable[..., Any], Callable[[int, int], int]]] = {
    "add": (e.add, lambda a, b: a + b),
    "sub": (e.sub, lambda a, b: a - b),
    "mul": (e.mul, lambda a, b: a * b),
    "div": (e.div, _div),
    "rem": (e.rem, lambda a, b: a if b == 0 else a - b * _div(a, b)),
    "x // y": (fnp.floor_divide, lambda a, b: 0 if b == 0 else a // b),
    "x % y": (fnp.remainder, lambda a, b: a if b == 0 else a % b),
    "pow": (e.pow, _pow),
    "max": (e.max, max),
    "min": (e.min, min),
}


def _amount(b: int, width: int) -> int:
    """A shift's amount: negative ones count as unsigned, and so are as large as any."""
    return b if 0 <= b < width else width


def integer_rows() -> Iterator[Row]:
    for d in INTS:
        low, high, width = int(np.iinfo(d).min), int(np.iinfo(d).max), dtypes.bits(d)
        edges = sorted({n for n in (low, low + 1, -7, -3, -2, -1, 0, 1, 2, 3, 7, high - 1, high) if low <= n <= high})
        a, b = (list(x) for x in zip(*((x, y) for x in edges for y in edges), strict=True))
        for name, (function, exact) in BINARY.items():
            expected = [wrap(exact(x, y), d) for x, y in zip(a, b, strict=True)]
            yield Row(f"{name}.{d}", function, (np.array(a, d), np.array(b, d)), np.array(expected, d))
        for name, function, one in (
            ("neg", e.neg, lambda x: -x),
            ("abs", e.abs, abs),
            ("sign", e.sign, lambda x: (x > 0) - (x < 0)),
        ):
            yield Row(f"{name}.{d}", function, (np.array(edges, d),), np.array([wrap(one(x), d) for x in edges], d))
        amounts = sorted({n for n in (low, -width, -1, 0, 1, width - 1, width, width + 1, 2 * width, high) if low <= n <= high})
        xs = [n for n in edges if n] + [high // 3]
        a, b = (list(x) for x in zip(*((x, y) for x in xs for y in amounts), strict=True))
        pairs = list(zip(a, b, strict=True))
        mask = (1 << width) - 1
        shifts: tuple[tuple[str, Any, list[int]], ...] = (
            ("shift_left", e.shift_left, [x << _amount(n, width) for x, n in pairs]),
            ("shift_right_logical", e.shift_right_logical, [(x & mask) >> _amount(n, width) for x, n in pairs]),
            ("shift_right_arithmetic", e.shift_right_arithmetic, [x >> _amount(n, width) for x, n in pairs]),
            ("x >> y", fnp.right_shift, [x >> _amount(n, width) for x, n in pairs]),
        )
        for name, function, values in shifts:
            yield Row(f"{name}.{d}", function, (np.array(a, d), np.array(b, d)), np.array([wrap(v, d) for v in values], d))


def _signed(d: DType) -> DType:
    return next(s for s in dtypes.SIGNED if s.itemsize == d.itemsize)


# --- conversions ----------------------------------------------------------------------------------


def conversion_rows() -> Iterator[Row]:
    numbers = [0.0, -0.0, 0.5, -0.5, 0.99, -0.99, 1.5, -1.5, 127.5, -128.5, 255.9, 256.0, 32767.0, 65504.0, -65504.0]
    numbers += [2.0**31, -(2.0**31), 2.0**32, 2.0**63, -(2.0**63), 2.0**64, 1e10, -1e10, 3e38, -3e38, np.inf, -np.inf, np.nan]
    with np.errstate(over="ignore"):
        for source in FLOATS:
            x = np.array(numbers).astype(source)
            for d in INTS:
                yield Row(f"{source} to {d}", _to(d), (x,), np.array([_saturated(float(v), d) for v in x], d))
            yield Row(f"{source} to bool", _to(dtypes.bool_), (x,), np.array([not v == 0 for v in x.astype(np.float64)]))
    for source in INTS:
        info = np.iinfo(source)
        n = [info.min, info.min + 1, 0, 1, 100, 127, info.max - 1, info.max]
        n += [v for v in (-1, 128, 255, 2**24 + 1, 2**31 - 1, -(2**31), 2**31 + 2**23 + 1) if info.min <= v <= info.max]
        n += [v for v in (2**32 + 2**24 + 1, 2**53 + 1, 2**60 + 2**52 + 1) if v <= info.max]
        x = np.array(n, source)
        for d in INTS:
            yield Row(f"{source} to {d}", _to(d), (x,), np.array([wrap(int(v), d) for v in n], d))
        for d in FLOATS:
            # The half types by way of float32, as every backend does.
            by_way = [Fraction(nearest(Fraction(int(v)), dtypes.float32)) if d in HALVES else Fraction(int(v)) for v in n]
            yield Row(f"{source} to {d}", _to(d), (x,), _rounded(by_way, d))
    # Wider floats to narrower ones: to the nearest, ties to even, once (not by way of float32), gradually into subnormals.
    for source in (dtypes.float32, dtypes.float64):
        for d in FLOATS:
            if d.itemsize >= source.itemsize:
                continue
            precision = {dtypes.float16: 11, dtypes.bfloat16: 8, dtypes.float32: 24}[d]
            half, smallest = 2.0**-precision, float(dtypes_smallest(d))
            with np.errstate(over="ignore", under="ignore"):
                x = np.array(
                    [
                        *(1 + half * v for v in (1, 3, 1 + 2.0**-12, 1 - 2.0**-12, 1 + 2.0**-28)),
                        *(smallest * v for v in (1, 0.5, 0.500001, 1.5, 2.5, -0.5, -0.75, 127.5)),
                        *(65504.0, 65519.9, 65520.0, 3.38e38, 3.3961775292304601e38, 3.4028235677973366e38, 0.1, -1 / 3),
                    ]
                ).astype(source)
            expected = _rounded([Fraction(float(v)) if np.isfinite(v) else None for v in x], d, x)
            yield Row(f"{source} to {d}", _to(d), (x,), expected)


def dtypes_smallest(d: DType) -> float:
    """The smallest subnormal of a float dtype."""
    return {dtypes.float16: 2.0**-24, dtypes.bfloat16: 2.0**-133, dtypes.float32: 2.0**-149, dtypes.float64: 2.0**-1074}[d]


def _to(d: DType) -> Callable[[Any], Any]:
    # Not `e.convert`, which leaves a value of the dtype alone.
    return lambda x: e.convert(x, d)


def _saturated(x: float, d: DType) -> int:
    info = np.iinfo(d)
    if np.isnan(x):
        return 0
    return int(info.max) if x == np.inf else int(info.min) if x == -np.inf else min(max(int(x), int(info.min)), int(info.max))


def _rounded(values: Sequence[Fraction | None], d: DType, otherwise: Array | None = None) -> Array:
    """The values of `d` nearest to exact ones; `otherwise` where there is none. What rounds to 0 keeps its sign."""
    out = []
    for k, v in enumerate(values):
        if v is None:
            assert otherwise is not None
            out.append(float(otherwise[k]))
        else:
            out.append(math.copysign(nearest(v, d), v))
    return np.array(out, np.float64).astype(d)


# --- floats ---------------------------------------------------------------------------------------


def special_rows() -> Iterator[Row]:
    nan, inf = np.nan, np.inf
    values = [nan, inf, -inf, 0.0, -0.0, 1.0, -1.0, 2.5, -3.0]
    for d in FLOATS:
        a, b = (np.array(x, d) for x in zip(*((x, y) for x in values for y in values), strict=True))
        for name, function, order in (("max", e.max, max), ("min", e.min, min)):
            pairs = zip(a.astype(np.float64), b.astype(np.float64), strict=True)
            # Which zero the extremum of two zeros is stays open: + 0 makes it positive.
            expected = np.array([nan if np.isnan(x) or np.isnan(y) else order(x, y) + 0.0 for x, y in pairs]).astype(d)
            yield Row(f"{name}.{d}", lambda x, y, f=function: e.add(f(x, y), e.scalar_like(0, x)), (a, b), expected)
        yield Row(f"relu.{d}", nn.relu, (np.array([nan, inf, -inf, 0.0, 1.0, -1.0], d),), np.array([nan, inf, 0, 0, 1, 0], d))
        yield Row(f"sign.{d}", e.sign, (np.array(values, d),), np.array([nan, 1, -1, 0.0, -0.0, 1, -1, 1, -1], d))
        x, y = (
            np.array(v, d)
            for v in ([7, -7, 7, -7, 5.5, -0.0, 0.0, 1, 1, -1, inf, 0], [3, 3, -3, -3, 2, 3, -3, inf, -inf, inf, 2, 0])
        )
        rem = np.array([1, -1, 1, -1, 1.5, -0.0, 0.0, 1, 1, -1, nan, nan], d)
        yield Row(f"rem.{d}", e.rem, (x, y), rem)
        modulo = np.array([1, 2, -2, -1, 1.5, 0.0, -0.0, 1, -inf, inf, nan, nan], d)  # a zero has the divisor's sign
        yield Row(f"x % y.{d}", fnp.remainder, (x, y), modulo)
        yield Row(
            f"round.{d}",
            e.round,
            (np.array([0.5, 1.5, 2.5, -0.5, -1.5, nan, inf], d),),
            np.array([0, 2, 2, -0.0, -2, nan, inf], d),
        )
        one, zero = np.array([1.0, -1.0, 0.0, nan], d), np.array([0.0, 0.0, 0.0, 0.0], d)
        yield Row(f"division by zero.{d}", e.div, (one, zero), np.array([inf, -inf, nan, nan], d))
        # What a simplifier might be tempted to: x * 0, x - x, x / x, x + 0, 0 - x.
        x = np.array([nan, inf, -inf, 0.0, -0.0, 2.0, -3.0], d)
        yield Row(f"x * 0.{d}", lambda x: x * 0.0, (x,), np.array([nan, nan, nan, 0.0, -0.0, 0.0, -0.0], d))
        yield Row(f"x - x.{d}", lambda x: x - x, (x,), np.array([nan, nan, nan, 0, 0, 0, 0], d))
        yield Row(f"x / x.{d}", lambda x: x / x, (x,), np.array([nan, nan, nan, nan, nan, 1, 1], d))
        yield Row(f"x + 0.{d}", lambda x: x + 0.0, (x,), np.array([nan, inf, -inf, 0.0, 0.0, 2, -3], d))
        yield Row(f"0 - x.{d}", lambda x: 0.0 - x, (x,), np.array([nan, -inf, inf, 0.0, 0.0, -2, 3], d))
        yield Row(f"x == x.{d}", lambda x: x == x, (x,), np.array([False, True, True, True, True, True, True]))


EXACT: dict[str, tuple[Callable[..., Any], Callable[[Fraction, Fraction], Fraction]]] = {
    "add": (e.add, lambda a, b: a + b),
    "sub": (e.sub, lambda a, b: a - b),
    "mul": (e.mul, lambda a, b: a * b),
    "div": (e.div, lambda a, b: a / b),
}


def _sample(d: DType, n: int, seed: int, span: int = 8) -> Array:
    """Finite numbers of either sign with random significands and exponents of about ±span."""
    rng = np.random.default_rng(seed)
    return (rng.choice([-1, 1], n) * rng.uniform(1, 2, n) * 2.0 ** rng.integers(-span, span, n)).astype(d)


def rounding_rows() -> Iterator[Row]:
    for d in FLOATS:
        a, b = _sample(d, 45, 1), _sample(d, 45, 2)
        for name, (function, exact) in EXACT.items():
            pairs = zip(a.astype(np.float64), b.astype(np.float64), strict=True)
            values = [exact(Fraction(float(x)), Fraction(float(y))) for x, y in pairs]
            yield Row(f"{name} rounds once.{d}", function, (a, b), _rounded(values, d))
        # One operation after another, each rounded, as NumPy does: nothing contracted, kept wide, reassociated or turned into another.
        c = _sample(d, 45, 3)
        chains: dict[str, Callable[..., Any]] = {
            "a * b + c": lambda a, b, c: a * b + c,
            "c - a * b": lambda a, b, c: c - a * b,
            "a * b - c * a": lambda a, b, c: a * b - c * a,
            "(a + b) - b": lambda a, b, c: (a + b) - b,
            "a + (b + c)": lambda a, b, c: a + (b + c),
            "(a * b) * c": lambda a, b, c: (a * b) * c,
            "a / b * b": lambda a, b, c: a / b * b,
            "a / 3": lambda a, b, c: a / (c * 0 + 3) * (b * 0 + 1),
            "((a * b + c) * a - b) / c": lambda a, b, c: ((a * b + c) * a - b) / c,
        }
        for name, chain in chains.items():
            yield Row(f"{name}.{d}", chain, (a, b, c), np.asarray(chain(a, b, c)))


def subnormal_rows() -> Iterator[Row]:
    for d in FLOATS:
        tiny = dtypes_smallest(d)
        normal = {dtypes.float16: 2.0**-14, dtypes.float64: 2.0**-1022}.get(d, 2.0**-126)
        x = np.array([tiny, 3 * tiny, -5 * tiny, normal, normal - tiny, -normal, 2 * tiny], d)
        y = np.array([tiny, -tiny, 2 * tiny, -(normal - tiny), tiny, normal - tiny, -2 * tiny], d)
        exact = [
            (Fraction(float(a)), Fraction(float(b))) for a, b in zip(x.astype(np.float64), y.astype(np.float64), strict=True)
        ]
        yield Row(f"add subnormals.{d}", e.add, (x, y), _rounded([a + b for a, b in exact], d))
        yield Row(f"subtract subnormals.{d}", e.sub, (x, y), _rounded([a - b for a, b in exact], d))
        yield Row(f"divide subnormals.{d}", e.div, (x, y), _rounded([a / b for a, b in exact], d))
        half = np.array([0.5, 1, 0.75, 0.5, 0.25, 1.5, 0.5], d)
        products = [a * Fraction(float(h)) for (a, _), h in zip(exact, half.astype(np.float64), strict=True)]
        yield Row(f"multiply subnormals.{d}", e.mul, (x, half), _rounded(products, d))
        yield Row(f"compare subnormals.{d}", lambda x: x > 0.0, (x,), x.astype(np.float64) > 0)
        yield Row(f"keep subnormals.{d}", lambda x: e.max(x, -x), (x,), np.abs(x))
    x = np.array([-88.0, -95.0, -100.0, -103.0], np.float32)
    yield Row("exp into subnormals.float32", e.exp, (x,), np.exp(x.astype(np.float64)).astype(np.float32), ulps=4)
    y = np.array([-709.0, -720.0, -740.0, -745.0])
    yield Row("exp into subnormals.float64", e.exp, (y,), np.exp(y.astype(np.longdouble)).astype(np.float64), ulps=4)


# --- backends -------------------------------------------------------------------------------------

FAMILIES: dict[str, Callable[[], Iterator[Row]]] = {
    "integers": integer_rows,
    "conversions": conversion_rows,
    "specials": special_rows,
    "rounding": rounding_rows,
    "subnormals": subnormal_rows,
}


@functools.cache
def rows(family: str) -> tuple[Row, ...]:
    with np.errstate(all="ignore"):
        return tuple(FAMILIES[family]())


def program_of(family: str, repeat: int) -> tuple[Program, list[Array]]:
    """One program with every row of a family, and its inputs: the operands `repeat` times over."""
    table = rows(family)
    counts = [len(r.operands) for r in table]

    def whole(*arrays: Any) -> list[Any]:
        rest = iter(arrays)
        return [r.function(*(next(rest) for _ in range(n))) for r, n in zip(table, counts, strict=True)]

    arrays = [np.tile(x, repeat) for r in table for x in r.operands]
    return fdl.make_ir(whole)(*arrays), arrays


def _inputs(program: Program, arrays: list[Array]) -> list[Array]:
    return [*arrays, *(np.asarray(v) for v in program.values)]


def reference(family: str) -> list[Array]:
    program, arrays = program_of(family, 1)
    return [np.asarray(x) for x in ReferenceExecutable(program)(_inputs(program, arrays))]


def llvm(target: str, family: str) -> list[Array]:
    program, arrays = program_of(family, 3)
    return [np.asarray(x) for x in NativeExecutable(program, named(target))(_inputs(program, arrays))]


def interpreter(family: str) -> list[Array]:
    program, arrays = program_of(family, 1)
    routine, _ = pipeline(simplify(program), "cpu", checked=True)
    results, failure = interpret.run(routine, arrays, [np.asarray(v) for v in program.values])
    assert failure is None
    return results


def simulated_cuda(family: str) -> list[Array]:
    """In a process of its own: Numba has to be told of its simulator before it is imported."""
    from fdl.backends import cuda

    program, arrays = program_of(family, 1)
    routine, _ = pipeline(simplify(program), "cuda")
    results, failure = cuda.run(routine, arrays, [np.asarray(v) for v in program.values])
    assert failure is None
    return results


BACKENDS: dict[str, Callable[[str], list[Array]]] = {
    "reference": reference,
    "interpreter": interpreter,
    **{f"llvm-{name}": functools.partial(llvm, name) for name in runnable()},
}


def compare(family: str, results: list[Array]) -> None:
    """Asserts that each row's results are its expected values, as often as they were asked for."""
    table = rows(family)
    wrong = []
    for row, result in zip(table, results, strict=True):
        expected = np.tile(row.expected, len(result) // len(row.expected))
        assert result.dtype == expected.dtype, (row.name, result.dtype, expected.dtype)
        if not dtypes.is_float(expected.dtype):
            bad = result != expected
        else:
            a, b = result.astype(np.float64), expected.astype(np.float64)
            bits = _signed(expected.dtype)
            far = np.abs(result.view(bits).astype(object) - expected.view(bits).astype(object)) > row.ulps
            bad = ~(np.isnan(a) & np.isnan(b)) & far.astype(bool)
        if bad.any():
            k = int(np.flatnonzero(bad)[0])
            operands = ", ".join(repr(x[k % len(row.expected)]) for x in row.operands)
            wrong.append(f"{row.name}: ({operands}) gives {result[k]!r}, expected {expected[k]!r}")
    assert not wrong, f"{len(wrong)} of {len(table)} rows:\n" + "\n".join(wrong[:20])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_table(backend: str, family: str) -> None:
    compare(family, BACKENDS[backend](family))


def test_the_chains_tell_contraction() -> None:
    """In the table's chains, a fused multiply-add or a wide accumulator would give other bits."""
    for d in FLOATS:
        row = next(r for r in rows("rounding") if r.name == f"a * b + c.{d}")
        a, b, c = ([Fraction(float(v)) for v in x.astype(np.float64)] for x in row.operands)
        fused = _rounded([x * y + z for x, y, z in zip(a, b, c, strict=True)], d)
        assert (fused != row.expected).sum() >= 2


def test_subnormals_survive_in_every_worker() -> None:
    """Also in a large parallel loop, whose workers set their own control word."""
    x = np.full(1 << 20, 3 * 2.0**-149, np.float32)
    before = fdl.get_num_threads()
    fdl.set_num_threads(4)
    try:
        y = np.asarray(fdl.jit(lambda x: (x - x * 0.3) * 1.5)(x))
    finally:
        fdl.set_num_threads(before)
    np.testing.assert_array_equal(y, (x - x * np.float32(0.3)) * np.float32(1.5))
    assert y[0] != 0


def test_table_on_the_cuda_simulator(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    out = tmp_path / "results"
    code = "import pickle, sys, test_scalar_table as t\npickle.dump({f: t.simulated_cuda(f) for f in t.FAMILIES}, open(sys.argv[1], 'wb'))"
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with out.open("rb") as f:
        results = pickle.load(f)
    for family in FAMILIES:
        compare(family, results[family])
