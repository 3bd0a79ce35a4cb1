"""Every scalar operation as LLVM code, on every target that this machine runs, against its definition."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from fdl.backends.llvm import codegen, emit, run, target
from fdl.backends.loops import ir
from fdl.tracer import dtypes
from fdl.tracer.dtypes import DType
from fdl.tracer.scalars import SCALARS

Array = np.ndarray[Any, Any]
HALVES = (dtypes.float16, dtypes.bfloat16)
REAL = tuple(d for d in dtypes.ALL if not dtypes.is_complex(d))
Case = tuple[str, tuple[DType, ...], DType]
"""(operation, operand dtypes, result dtype)"""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Overflow and signalling NaNs are part of the operands here."""
    with np.errstate(all="ignore"):
        yield


def cases(name: str) -> Iterator[Case]:
    """Every combination of real dtypes that an operation takes."""
    scalar = SCALARS[name]
    for d in scalar.dtypes:
        if dtypes.is_complex(d):
            continue
        if name == "select":
            yield name, (dtypes.bool_, d, d), d
        elif name in ("convert", "bitcast"):
            for to in REAL:
                if name == "convert" or (d.itemsize == to.itemsize and dtypes.bool_ not in (d, to)):
                    yield name, (d,), to
        else:
            result = scalar.result_dtype(d)
            assert result is not None
            yield name, (d,) * scalar.arity, result


def routine(todo: Sequence[Case], n: int, kind: ir.Kind) -> ir.Routine:
    """One loop for each case, over operands of n elements."""
    inputs, outputs, body = [], [], []
    for c, (name, operands, result) in enumerate(todo):
        i = ir.Var(f"i{c}", ir.INDEX)
        buffers = [ir.Buffer(f"x{c}_{k}", d, (n,), "input") for k, d in enumerate(operands)]
        out = ir.Buffer(f"y{c}", result, (n,), "output")
        value = ir.Op(name, tuple(ir.Load(b, (i,)) for b in buffers), result)
        body.append(ir.For(i, ir.Const(n, ir.INDEX), (ir.Store(out, (i,), value),), kind))
        inputs += buffers
        outputs.append(out)
    return ir.Routine("scalars", tuple(inputs), (), tuple(outputs), tuple(body))


def evaluate(todo: Sequence[Case], operands: Sequence[Sequence[Array]], name: str, kind: ir.Kind = "vector") -> list[Array]:
    """The results of the cases on their operands, on the target `name`."""
    made = routine(todo, operands[0][0].size, kind)
    outputs, outcome = run.run_routine(made, {}, target.named(name), [x for each in operands for x in each])
    assert outcome.status == 0
    return outputs


def samples(dtype: DType, n: int, rng: np.random.Generator) -> Array:
    """Values of a dtype: any bits, ordinary numbers, and the special ones."""
    if dtype == dtypes.bool_:
        return rng.integers(0, 2, n).astype(bool)
    bits = rng.integers(0, 2 ** dtypes.bits(dtype), n, dtype=np.uint64).astype(f"u{dtype.itemsize}").view(dtype)
    if dtypes.is_int(dtype):
        info = np.iinfo(dtype)
        small = rng.integers(0 if info.min == 0 else -20, 40, n).astype(dtype)
        limits = [0, 1, info.max, info.min, info.max - 1, info.min + 1, min(info.max, 255), -1 if info.min else 2]
        pick = rng.random(n)
        return np.where(pick < 0.4, bits, np.where(pick < 0.8, small, np.array(limits, dtype)[rng.integers(0, 8, n)]))
    special = [0.0, -0.0, 1, -1, np.inf, -np.inf, np.nan, 0.5, 2, -2, 3, 1.5, 2.5, -2.5, 127, 128, -128, 255, 256, 65504, 65520]
    special += [1e10, -1e10, 1e19, -1e19, 3e9, -3e9]
    chosen = np.array(special, np.float64).astype(dtype)[rng.integers(0, len(special), n)]
    ordinary = (rng.standard_normal(n) * 4).astype(dtype)
    pick = rng.random(n)
    return np.where(pick < 0.4, bits, np.where(pick < 0.7, ordinary, chosen))


def ordered(x: Array) -> Array:
    """Floats as integers that count representable values."""
    bits = x.view(f"i{x.dtype.itemsize}").astype(object if x.dtype.itemsize == 8 else np.int64)
    magnitude = (1 << (8 * x.dtype.itemsize - 1)) - 1
    return np.where(bits < 0, -(bits & magnitude), bits)


def assert_matches(name: str, got: Array, want: Array, operands: Sequence[Array]) -> None:
    """Equal bits (zeros' signs included, NaN payloads not) for exact operations, a few ulp for the others."""
    if not dtypes.is_float(want.dtype):
        wrong = got != want
    else:
        both_nan = np.isnan(got) & np.isnan(want)
        if SCALARS[name].exact:
            signs = np.signbit(got.astype(np.float64)) == np.signbit(want.astype(np.float64))
            wrong = ~(both_nan | ((got == want) & (signs | (name in ("max", "min")))))
        else:
            # float16 and bfloat16 round a float32 result, which may be on the other side of a tie.
            distance = np.abs(ordered(got) - ordered(want)).astype(np.float64)
            wrong = (distance > (1 if want.dtype in HALVES else 4)) & ~both_nan
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        shown = [x[at] for x in operands]
        pytest.fail(
            f"{name}{shown} of {operands[-1].dtype} gives {got[at]!r}, expected {want[at]!r} ({int(wrong.sum())} wrong)"
        )


@pytest.mark.parametrize("on", target.runnable())
@pytest.mark.parametrize("name", sorted(SCALARS))
def test_agrees_with_the_definition(name: str, on: str) -> None:
    rng = np.random.default_rng(len(name) * 1000 + ord(name[0]))
    todo = list(cases(name))
    for n, kind in ((331, "vector"), (7, "serial")):
        operands = [[samples(d, n, rng) for d in case[1]] for case in todo]
        results = evaluate(todo, operands, on, kind)  # type: ignore[arg-type]
        for (_, _, result), arrays, got in zip(todo, operands, results, strict=True):
            assert_matches(name, got, SCALARS[name].impl(*arrays, dtype=result), arrays)


# --- accuracy -------------------------------------------------------------------------------------


def sweep(dtype: DType, rng: np.random.Generator) -> Array:
    """Arguments of every size, dense where functions are delicate."""
    n, high = 3000, float(np.finfo(dtype).max)
    parts = [
        rng.integers(0, 2 ** dtypes.bits(dtype), n, dtype=np.uint64).astype(f"u{dtype.itemsize}").view(dtype),
        rng.standard_normal(n),
        rng.standard_normal(n) * 10,
        rng.random(n) * 2 - 1,
        (rng.random(n) - 0.5) * 2 * np.log(high),
        1 + rng.standard_normal(n) * 0.1,
        rng.standard_normal(n) * 1e-3,
        rng.random(n) * 1e5,
        rng.random(n) * 1e7,
        np.arange(-300, 300) * (np.pi / 4),
        1 - rng.random(n) ** 6 * 0.5,
        [0.0, -0.0, np.inf, -np.inf, np.nan, np.finfo(dtype).tiny, np.finfo(dtype).smallest_subnormal, high, -high, 1.0, -1.0],
    ]
    return np.concatenate([np.asarray(p).astype(dtype) for p in parts])


UNARY = [n for n, s in sorted(SCALARS.items()) if not s.exact and s.arity == 1]
TWO = {"erf", "erfc", "erf_inv", "erf_inv_giles", "sinh", "tanh", "tan", "logistic"}
"""Functions that are allowed a little more than two ulp."""


@pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="needs a long double that is wider than a double")
@pytest.mark.parametrize("name", UNARY)
def test_accuracy(name: str) -> None:
    """Within 2 ulp, or 4 for a few, of results computed with more precision; on every target."""
    rng = np.random.default_rng(7)
    singles, doubles = sweep(dtypes.float32, rng), sweep(dtypes.float64, rng)[:30000]
    doubles = np.resize(doubles, singles.shape)
    todo: list[Case] = [(name, (d,), d) for d in (dtypes.float32, dtypes.float64)]
    wants = [SCALARS[name].impl(x, dtype=x.dtype) for x in (singles, doubles)]
    for on in target.runnable():
        for x, got, want in zip((singles, doubles), evaluate(todo, [[singles], [doubles]], on), wants, strict=True):
            distance = np.abs(ordered(got) - ordered(want)).astype(np.float64)
            distance[np.isnan(got) & np.isnan(want)] = 0
            at = int(np.argmax(distance))
            limit = 4 if name in TWO else 2
            assert distance[at] <= limit, f"{name}({x[at]!r}) on {on}: {got[at]!r}, expected {want[at]!r}"


def test_powers() -> None:
    """Within 4 ulp over wide ranges, and C's special cases."""
    rng = np.random.default_rng(3)
    base = np.concatenate([rng.random(4000) * 3, np.exp(rng.standard_normal(4000) * 200), 1 + rng.standard_normal(4000) * 1e-7])
    exponent = np.concatenate([rng.standard_normal(6000) * 5, rng.standard_normal(6000) * 300])
    rng.shuffle(exponent)
    special = [0.0, -0.0, 1, -1, np.inf, -np.inf, np.nan, 0.5, -0.5, 2, -2, 3, -3, 2.0**53, 2.0**53 + 2, 1e308, -1e308, 5e-324]
    grid = np.array(special)
    for dtype in (dtypes.float32, dtypes.float64):
        x = np.concatenate([base, np.repeat(grid, grid.size)]).astype(dtype)
        y = np.concatenate([exponent, np.tile(grid, grid.size)]).astype(dtype)
        want = SCALARS["pow"].impl(x, y, dtype=dtype)
        for on in target.runnable():
            (got,) = evaluate([("pow", (dtype, dtype), dtype)], [[x, y]], on)
            assert_matches("pow", got, want, [x, y])
            assert (np.signbit(got) == np.signbit(want))[~np.isnan(want)].all()


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_every_half_converts(dtype: DType) -> None:
    """All 65536 values widen exactly and come back with the same bits; float32 narrows to nearest even."""
    bits = np.arange(65536, dtype=np.uint16)
    values = bits.view(dtype)
    rng = np.random.default_rng(5)
    singles = rng.integers(0, 2**32, 65536, dtype=np.uint64).astype(np.uint32).view(np.float32)
    near = np.nextafter(values.astype(np.float32), np.float32(0))
    halfway = ((values[:-1].astype(np.float64) + values[1:].astype(np.float64)) / 2).astype(np.float32)
    near = np.where(rng.random(65536) < 0.5, near, np.append(halfway, near[-1:]))
    singles = np.where(rng.random(65536) < 0.3, singles, near)
    f32 = dtypes.float32
    for on in target.runnable():
        wide, narrow = evaluate([("convert", (dtype,), f32), ("convert", (f32,), dtype)], [[values], [singles]], on)
        np.testing.assert_array_equal(wide, values.astype(np.float32))
        (back,) = evaluate([("convert", (f32,), dtype)], [[wide]], on)
        finite = ~np.isnan(values)
        np.testing.assert_array_equal(back.view(np.uint16)[finite], bits[finite])
        assert np.isnan(back[~finite]).all()
        want = singles.astype(dtype)
        np.testing.assert_array_equal(narrow[~np.isnan(want)].view(np.uint16), want[~np.isnan(want)].view(np.uint16))
        assert np.isnan(narrow[np.isnan(want)]).all()


def test_copies_keep_bits() -> None:
    """A copied NaN keeps its payload, in every float type."""
    for dtype in dtypes.FLOATS:
        unsigned = np.dtype(f"u{dtype.itemsize}")
        bits = np.array([0x7C01, 0x7F81, 0xFFFF, 0x7E55, 1, 0x8001] * 3).astype(unsigned)
        if dtype.itemsize > 2:
            bits = (bits << unsigned.type(8 * (dtype.itemsize - 2))) | unsigned.type(5)
        i = ir.Var("i", ir.INDEX)
        x, y = (ir.Buffer(n, dtype, bits.shape, s) for n, s in (("x", "input"), ("y", "output")))  # type: ignore[arg-type]
        body = ir.For(i, ir.Const(bits.size, ir.INDEX), (ir.Store(y, (i,), ir.Load(x, (i,))),), "vector")
        for on in target.runnable():
            (got,), _ = run.run_routine(ir.Routine("copy", (x,), (), (y,), (body,)), {}, target.named(on), [bits.view(dtype)])
            np.testing.assert_array_equal(got.view(unsigned), bits)


def test_threefry_vectors() -> None:
    """The published test vectors of Threefry-2x32-20 (Random123, kat_vectors)."""
    rows = [
        (0, 0, 0, 0, 0x6B200159, 0x99BA4EFE),
        (0xFFFFFFFF,) * 4 + (0x1CB996FC, 0xBB002BE7),
        (0x13198A2E, 0x03707344, 0x243F6A88, 0x85A308D3, 0xC4923A9C, 0x483DF7A0),
    ]
    columns = [np.array(c, np.uint32) for c in zip(*rows, strict=True)]
    u32 = dtypes.uint32
    todo: list[Case] = [(name, (u32,) * 4, u32) for name in ("threefry0", "threefry1", "threefry_bits32")]
    for on in target.runnable():
        x0, x1, mixed = evaluate(todo, [columns[:4]] * 3, on)
        np.testing.assert_array_equal(x0, columns[4])
        np.testing.assert_array_equal(x1, columns[5])
        np.testing.assert_array_equal(mixed, columns[4] ^ columns[5])


# --- what the code asks for -----------------------------------------------------------------------


def undefined_symbols(image: bytes) -> set[str]:
    """The symbols that a 64-bit ELF object needs from outside."""
    (sections_at,) = struct.unpack_from("<Q", image, 0x28)
    size, count = struct.unpack_from("<HH", image, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", image, sections_at + i * size) for i in range(count)]
    found = set()
    for section in (s for s in sections if s[1] == 2):
        names = sections[section[6]][4]
        for at in range(section[4] + 24, section[4] + section[5], 24):
            name, _, _, where = struct.unpack_from("<IBBH", image, at)
            if where == 0:
                start = names + name
                found.add(image[start : image.index(b"\0", start)].decode())
    return found - {"_GLOBAL_OFFSET_TABLE_"}


@pytest.mark.parametrize("on", target.NAMES)
def test_no_library_calls(on: str) -> None:
    """No operation becomes a call of the C library or of compiler-rt: neither may have what LLVM would ask for."""
    triple = "aarch64-unknown-linux-gnu" if on == "neon" else "x86_64-unknown-linux-gnu"
    made = target.make(on, triple)
    todo = [c for name in SCALARS for c in cases(name) if name != "convert" or c[1][0] != c[2]]
    try:
        codegen.object_code("define void @nothing() { ret void }", made)
    except RuntimeError as error:
        pytest.skip(f"LLVM here has no code generator for {triple}: {error}")
    for kind in ("vector", "serial"):
        emitted = emit.emit_routine(routine(todo, 37, kind), {}, made)
        outside = set().union(*(undefined_symbols(codegen.object_code(text, made)) for text in emitted.texts))
        assert {s for s in outside if not s.startswith("scalars.")} <= {"fdl_parallel", "fdl_scratch"}
