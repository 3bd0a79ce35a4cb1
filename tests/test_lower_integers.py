"""Integers that are indices in disguise: what vanishes from the loops, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fdl
import fdl.numpy as fnp
from fdl import lax
from fdl.backends.loops.ir import INDEX, Const, Op, Value
from fdl.backends.loops.lower.integers import decided, exact
from fdl.backends.loops.values import convert, op, var
from fdl.tracer import dtypes
from fdl.tracer.errors import IndexOutOfBoundsError
from tests.listings import loops_of

ROW, COLUMN = var("i"), var("j")
RANGES = {ROW: (0, 9), COLUMN: (-3, 4)}
SMALL = [dtypes.int8, dtypes.uint8, dtypes.int16, dtypes.int32, dtypes.uint32]


def numbers(*shape: int, seed: int = 0) -> fdl.Array:
    return fnp.asarray(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def agrees(f: Callable[..., Any], *args: Any) -> str:
    """The loops of `f`, whose results are the reference interpreter's but for roundings."""
    got = fdl.tree.leaves(fdl.jit(f)(*args))
    want = fdl.tree.leaves(fdl.jit(f, backend="reference")(*args))
    for a, b in zip(got, want, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=2e-6)
    return loops_of(f, *args)


# --- forms ----------------------------------------------------------------------------------------


def narrow(draw: Callable[[Any], Any], dtype: dtypes.DType, depth: int) -> Value:
    """An expression of loop variables in a narrow type, which may wrap."""
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        leaf = draw(st.sampled_from([ROW, COLUMN, None]))
        limits = np.iinfo(dtype)
        if leaf is None:
            return Const(draw(st.integers(max(-20, int(limits.min)), 20)), dtype)
        return convert(leaf, dtype)
    name = draw(st.sampled_from(["add", "sub", "mul", "min", "max", "neg", "rem", "div", "convert"]))
    if name == "convert":
        return convert(narrow(draw, draw(st.sampled_from(SMALL)), depth - 1), dtype)
    x = narrow(draw, dtype, depth - 1)
    if name == "neg":
        return Op(name, (x,), dtype)
    y = Const(draw(st.integers(1, 9)), dtype) if name in ("rem", "div") else narrow(draw, dtype, depth - 1)
    return Op(name, (x, y), dtype)


def evaluated(value: Value, at: dict[Value, int]) -> int:
    """A value where the loop variables are those of `at`, as NumPy computes it in its dtype."""
    if isinstance(value, Const):
        return int(value.value)
    if not isinstance(value, Op):
        return at[value]
    args = [evaluated(a, at) for a in value.args]
    match value.name, args:
        case "add", (x, y):
            result = x + y
        case "sub", (x, y):
            result = x - y
        case "mul", (x, y):
            result = x * y
        case "neg", (x,):
            result = -x
        case "convert", (x,):
            result = x
        case ("min" | "max") as name, (x, y):
            result = min(x, y) if name == "min" else max(x, y)
        case "lt", (x, y):
            return int(x < y)
        case "select", (c, x, y):
            result = x if c else y
        case "rem", (x, y):
            result = abs(x) % y * (1 if x >= 0 else -1)
        case "div", (x, y):
            result = abs(x) // y * (1 if x >= 0 else -1)
        case _:
            raise AssertionError(value)
    bits, low = dtypes.bits(value.dtype), int(np.iinfo(value.dtype).min)
    return (result - low) % 2**bits + low


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_form_is_the_value(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(SMALL))
    value = narrow(data.draw, dtype, 4)
    form = exact(value, {}, RANGES)
    other = narrow(data.draw, dtype, 2)
    told = {name: decided(name, value, other, {}, RANGES) for name in ("lt", "le", "gt", "ge", "eq", "ne")}
    for i in range(RANGES[ROW][0], RANGES[ROW][1] + 1):
        for j in range(RANGES[COLUMN][0], RANGES[COLUMN][1] + 1):
            at: dict[Value, int] = {ROW: i, COLUMN: j}
            x, y = evaluated(value, at), evaluated(other, at)
            if form is not None:
                assert form.dtype == INDEX
                assert evaluated(form, at) == x
            truth = {"lt": x < y, "le": x <= y, "gt": x > y, "ge": x >= y, "eq": x == y, "ne": x != y}
            for name, answer in told.items():
                assert answer is None or answer == truth[name], (name, value, other)


def test_what_may_wrap_has_no_form() -> None:
    unknown = var("n")
    top = Const(127, dtypes.int8)
    assert exact(op("add", convert(ROW, dtypes.int8), top), {}, RANGES) is None
    assert exact(convert(unknown, dtypes.int32), {}, {}) is None
    assert exact(convert(COLUMN, dtypes.uint32), {}, RANGES) is None
    assert exact(convert(ROW, dtypes.uint64), {}, RANGES) is None
    assert decided("lt", unknown, op("add", unknown, Const(1, INDEX)), {}, {}) is None  # the largest int64 wraps
    assert decided("lt", ROW, op("add", ROW, Const(1, INDEX)), {}, RANGES) is True
    # 2n - 2^63 is small, and 2n wraps, which a division by 5 would divide by itself.
    far = Op("add", (Op("mul", (unknown, Const(2, INDEX)), INDEX), Const(-(2**63), INDEX)), INDEX)
    fifth = Op("div", (far, Const(5, INDEX)), INDEX)
    assert exact(fifth, {}, {unknown: (2**62, 2**62 + 4)}) is fifth


# --- gathers and scatters -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x[fnp.arange(8)],
        lambda x: x[fnp.arange(10) - 10],
        lambda x: x[fnp.arange(30) % 10],
        lambda x: x[fnp.arange(30) // 3],
        lambda x: x[9 - fnp.arange(10)],
        lambda x: x[fnp.arange(5, dtype=fnp.uint8) * 2],
        lambda x: x[fnp.arange(5)[:, None] + fnp.arange(6)[None, :]],
        lambda x: fnp.take(x, fnp.arange(8), mode="clip"),
        lambda x: fnp.take(x, fnp.minimum(fnp.arange(20), 9)),
        lambda x: lax.dynamic_slice(x, (fnp.arange(8)[3],), (2,)),
        lambda x: x.at[fnp.arange(8)].set(fnp.arange(8.0)),
        lambda x: x.at[fnp.arange(8)].add(x[1:9]),
        lambda x: fnp.where(fnp.arange(10) < 10, x, 0.0),
    ],
)
def test_known_indices_are_not_checked(f: Callable[[fdl.Array], fdl.Array]) -> None:
    loops = agrees(f, numbers(10))
    assert not any(word in loops for word in ("check", "i32", "u8", "max(", "site"))


@pytest.mark.parametrize(
    ("f", "index"),
    [
        (lambda x: x[fnp.arange(12)], 10),
        (lambda x: x[fnp.arange(3) + 8], 10),
        (lambda x: x[fnp.arange(3) - 11], -11),
        (lambda x: x.at[fnp.arange(12)].set(0.0), 10),
        (lambda x: lax.fori_loop(0, 11, lambda i, c: c + x[i], 0.0), 10),
        (lambda x: lax.scan(lambda c, i: (c + x[i], None), 0.0, fnp.arange(11))[0], 10),
    ],
)
def test_others_are(f: Callable[[fdl.Array], fdl.Array], index: int) -> None:
    with pytest.raises(IndexOutOfBoundsError, match=f"index {index} is out of bounds for axis 0 of size 10"):
        fdl.jit(f)(numbers(10))


def test_wrapping_indices_stay_as_they_are() -> None:
    x = numbers(256)
    agrees(lambda x: x[fnp.arange(200, dtype=fnp.uint8) * 3], x)
    agrees(lambda x: x[fnp.arange(100, dtype=fnp.uint8) - 50], x)
    agrees(lambda x: x[(fnp.arange(120, dtype=fnp.int8) * 2).astype(fnp.int32)], x)
    agrees(lambda x: (fnp.arange(200, dtype=fnp.uint8) * 2 < 100, fnp.arange(120, dtype=fnp.int8) * 2 < 0), x)


def test_long_chains_of_integers() -> None:
    """Each operand twice in the next: written out, the last would have 2^40 terms."""

    def f(x: fdl.Array) -> fdl.Array:
        i = fnp.arange(10)
        for _ in range(40):
            i = fnp.minimum(i * i, fnp.maximum(9 - i, i)) % 10
        return x[i]

    agrees(f, numbers(10))


def test_an_index_beside_a_counted_one() -> None:
    """x[arange(n), labels]: the rows are not checked, and those of an update are written at once."""
    x, labels = numbers(12, 7), fnp.asarray(np.random.default_rng(1).integers(-7, 7, 12))
    rows = fnp.arange(12)
    picked = agrees(lambda x, at: x[fnp.arange(12), at], x, labels)
    assert "ok1" not in picked
    assert "in0[i, " in picked
    assert "alloc" not in picked
    added = agrees(lambda x, at: x.at[fnp.arange(12), at].add(1.0), x, labels)
    assert "serial u" not in added
    agrees(lambda x, at: x.at[fnp.arange(12) // 2, at].add(1.0), x, labels)  # two updates a row: in order
    agrees(lambda x, at: fdl.value_and_grad(lambda x: -x[fnp.arange(12), at].sum())(x), x, labels)
    agrees(lambda x, at: x[at, fnp.arange(12) % 7], x, labels)
    bad = labels.at[5].set(7)
    for f in (lambda x, at: x[rows, at], lambda x, at: x.at[rows, at].add(1.0)):
        with pytest.raises(IndexOutOfBoundsError, match="index 7 is out of bounds for axis 1 of size 7"):
            fdl.jit(f)(x, bad)


def test_index_tuples_read_twice() -> None:
    x, at = numbers(9, 8), fnp.asarray([3, 1, 7, 7])
    agrees(lambda x, at: x.at[at, fnp.arange(4)].set(x[at, fnp.arange(4)] * 2), x, at)
    agrees(lambda x, at: x.at[at, fnp.arange(4), None].add(x[at % 2, fnp.arange(4), None]), x, at)
    agrees(lambda x, at: x.astype(fnp.int32).at[x.astype(fnp.int32)[0, :4] % 3, at].set(5), x, at)


# --- loops ----------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(
    dtype=st.sampled_from(["int8", "uint8", "int32", "int64"]),
    start=st.integers(0, 120),
    step=st.integers(-9, 9),
    length=st.integers(0, 20),
    unroll=st.integers(1, 4),
    reverse=st.booleans(),
)
def test_counters(dtype: str, start: int, step: int, length: int, unroll: int, reverse: bool) -> None:
    """A carry that counts, up or down, with and without wrapping, read in the loop and after it."""
    if dtype == "uint8":
        step = abs(step)
    kind = fnp.dtype(dtype)

    def f(xs: fdl.Array) -> Any:
        def body(carry: Any, x: Any) -> Any:
            n, total = carry
            return (n + kind.type(step), total + n.astype(fnp.float32) * x), (n, x * 2)

        return lax.scan(body, (fnp.asarray(start, kind), 0.0), xs, unroll=unroll, reverse=reverse)

    agrees(f, numbers(length))


def test_a_counter_that_is_not_one() -> None:
    def f(n: fdl.Array) -> Any:
        def body(carry: Any, _: Any) -> Any:
            i, j, k = carry
            return (i + j, j + 2, k + k), (i, j, k)

        return lax.scan(body, (n, 3, 1), None, length=5)

    agrees(f, fnp.asarray(4))


def test_steps_over_a_range() -> None:
    x = numbers(10)
    for reverse in (False, True):
        f = lambda x, reverse=reverse: lax.scan(lambda c, i: (c + x[i], c * i), 0.0, fnp.arange(10), reverse=reverse)  # noqa: E731
        loops = agrees(f, x)
        assert "check" not in loops
    agrees(lambda x: lax.scan(lambda c, i: (c + x[i], fnp.arange(10)[i]), 0.0, fnp.arange(10))[1], x)
    agrees(lambda x: (fnp.arange(10), lax.scan(lambda c, i: (c + x[i], i), 0.0, fnp.arange(10))), x)
    agrees(lambda x: lax.scan(lambda c, i: (c + i, i), 0.0, fnp.arange(10.0) / 4), x)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: lax.fori_loop(0, 40, lambda i, x: x.at[i].set(0.5 * x[i] + 1.0), x),
        lambda x: lax.fori_loop(3, 20, lambda i, x: x.at[2 * i].set(x[2 * i + 1]), x),
        lambda x: lax.fori_loop(0, 40, lambda i, x: x.at[39 - i].multiply(fnp.sin(x[39 - i])), x)[::-1],
        lambda x: lax.scan(lambda _, v: (None, v * 2 + 1), None, x)[1],
        lambda x: lax.map(lambda r: fnp.sin(r) * r.sum(), x.reshape(8, 5)),
        lambda x: lax.scan(lambda n, v: (n + 1, v * n), 0, x),
    ],
)
def test_independent_steps_are_parallel(f: Callable[[fdl.Array], fdl.Array]) -> None:
    agrees(f, numbers(40))
    large = str(fdl.jit(f).lower(numbers(40)).program)
    assert "scan" in large  # the program is as it was


def test_independent_steps_run_on_all_threads() -> None:
    loops = loops_of(lambda x: lax.fori_loop(0, 10**6, lambda i, x: x.at[i].set(0.5 * x[i]), x), fnp.zeros(10**6))
    assert "parallel" in loops
    assert "serial" not in loops
    assert "check" not in loops


@pytest.mark.parametrize(
    "f",
    [
        lambda x: lax.fori_loop(1, 40, lambda i, x: x.at[i].set(x[i - 1] + 1.0), x),
        lambda x: lax.fori_loop(0, 39, lambda i, x: x.at[i].set(x[i + 1] + 1.0), x),
        lambda x: lax.fori_loop(0, 40, lambda i, x: x.at[i // 2].set(x[i]), x),
        lambda x: lax.fori_loop(0, 40, lambda i, x: x.at[i].set(x.sum()), x),
        lambda x: lax.fori_loop(0, 40, lambda i, x: x.at[(i * 7) % 40].add(x[i]), x),
        lambda x: lax.scan(lambda c, v: (c + v, c), 0.0, x),
    ],
)
def test_steps_that_meet_stay_in_order(f: Callable[[fdl.Array], fdl.Array]) -> None:
    assert "serial step" in agrees(f, numbers(40))


def test_a_failure_beside_independent_steps() -> None:
    """Gathers that join a scan's loop fail as nests do, the first gather first, and not as its steps would."""

    def f(x: fdl.Array, w: fdl.Array, a: fdl.Array, b: fdl.Array) -> Any:
        _, y = lax.scan(lambda c, v: (c, (fnp.cumsum(v[0][:5]), fnp.sin(v[0]), v[1] + v[2])), None, (x, a, b))
        return y, w[a], w[b]

    a, b = fnp.zeros(6, fnp.int32), fnp.zeros(6, fnp.int32)
    agrees(f, numbers(6, 64), numbers(6), a, b)
    with pytest.raises(IndexOutOfBoundsError, match="index 99 is out of bounds"):
        fdl.jit(f)(numbers(6, 64), numbers(6), a.at[5].set(99), b.at[2].set(77))
