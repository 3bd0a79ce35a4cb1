"""The constructors of the loop IR: what they simplify has the value of what was written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdl.backends.loops import build
from fdl.backends.loops.build import (
    add,
    bounds,
    clamp,
    const,
    convert,
    floordiv,
    index,
    load,
    mod,
    mul,
    op,
    select,
    store,
    sub,
    var,
)
from fdl.backends.loops.check import check
from fdl.backends.loops.interpret import run
from fdl.backends.loops.ir import BOOL, INDEX, Buffer, Let, Op, Routine, Value, Var
from fdl.backends.loops.show import show_value
from fdl.tracer import dtypes
from fdl.tracer.scalars import SCALARS

F32, I32 = dtypes.float32, dtypes.int32
I, J, K = var("i"), var("j"), var("k")  # noqa: E741  (the field's name for it)
RANGES = {I: (0, 6), J: (0, 3), K: (-5, 4)}

thorough = settings(max_examples=150)


def evaluate(value: Value, **variables: Any) -> Any:
    """The Python value of `value`, computed by the interpreter."""
    arrays = {name: np.asarray(v, np.int64 if isinstance(v, int) else None) for name, v in variables.items()}
    inputs = tuple(Buffer(f"arg_{name}", v.dtype, (), "input") for name, v in arrays.items())
    out = Buffer("out", value.dtype, (), "output")
    lets = tuple(Let(Var(b.name[4:], b.dtype), load(b)) for b in inputs)
    (result,), _ = run(check(Routine("value", inputs, (), (out,), (*lets, store(out, (), value)))), list(arrays.values()))
    return result.item() if value.dtype.kind != "V" else float(result)


# --- constructors -------------------------------------------------------------------------------------


def raw(name: str, *args: Value) -> Op:
    """An index operation as it is written, not simplified."""
    return Op(name, args, INDEX)


def indices(depth: int = 4) -> st.SearchStrategy[tuple[Value, Value]]:
    """Pairs (unsimplified, simplified) of index expressions in I, J and K."""
    leaf = st.one_of(st.sampled_from([I, J, K]), st.integers(-9, 9).map(index)).map(lambda v: (v, v))

    def grow(inner: st.SearchStrategy[tuple[Value, Value]]) -> st.SearchStrategy[tuple[Value, Value]]:
        pair = st.tuples(inner, inner)
        return st.one_of(
            pair.map(lambda p: (raw("add", p[0][0], p[1][0]), add(p[0][1], p[1][1]))),
            pair.map(lambda p: (raw("sub", p[0][0], p[1][0]), sub(p[0][1], p[1][1]))),
            pair.map(lambda p: (raw("mul", p[0][0], p[1][0]), mul(p[0][1], p[1][1]))),
            pair.map(lambda p: (raw("min", p[0][0], p[1][0]), op("min", p[0][1], p[1][1]))),
            pair.map(lambda p: (raw("max", p[0][0], p[1][0]), op("max", p[0][1], p[1][1]))),
            st.tuples(inner, st.integers(1, 9)).map(
                lambda p: (raw("div", p[0][0], index(p[1])), op("div", p[0][1], index(p[1])))
            ),
            st.tuples(inner, st.integers(1, 9)).map(
                lambda p: (raw("rem", p[0][0], index(p[1])), op("rem", p[0][1], index(p[1])))
            ),
        )

    return st.recursive(leaf, grow, max_leaves=2**depth)


points = st.fixed_dictionaries({"i": st.integers(0, 6), "j": st.integers(0, 3), "k": st.integers(-5, 4)})


@given(pair=indices(), point=points)
@thorough
def test_simplified_indices_have_the_same_value(pair: tuple[Value, Value], point: dict[str, int]) -> None:
    plain, simple = pair
    expected = evaluate(plain, **point)
    assert evaluate(simple, **point) == expected
    low, high = bounds(simple, RANGES)
    assert low <= expected <= high
    new: dict[Var, Value] = {I: index(point["i"]), J: add(K, 2)}
    moved = dict(point, j=point["k"] + 2)
    assert evaluate(build.substitute(plain, new), **moved) == evaluate(plain, **moved)


@given(pair=indices(3), divisor=st.sampled_from([1, 2, 3, 4, 6, 8, 12]), point=points, known=st.booleans())
@thorough
def test_floordiv_and_mod(pair: tuple[Value, Value], divisor: int, point: dict[str, int], known: bool) -> None:
    value, ranges = pair[1], RANGES if known else None
    exact = evaluate(value, **point)
    assert evaluate(floordiv(value, divisor, ranges), **point) == exact // divisor
    assert evaluate(mod(value, divisor, ranges), **point) == exact % divisor
    assert evaluate(clamp(value, -3, 7, ranges), **point) == min(max(exact, -3), 7)


@given(shape=st.lists(st.integers(1, 5), max_size=4), data=st.data())
def test_unflatten_inverts_flatten(shape: list[int], data: st.DataObject) -> None:
    variables = [var(f"a{axis}") for axis in range(len(shape))]
    ranges = {v: (0, n - 1) for v, n in zip(variables, shape, strict=True)}
    # With the ranges known, the inverse is found symbolically.
    found = build.unflatten(build.flatten(variables, shape), shape, ranges)
    assert found == tuple(index(0) if n == 1 else v for v, n in zip(variables, shape, strict=True))
    position = data.draw(st.integers(0, int(np.prod(shape)) - 1))
    got = [evaluate(i, p=position) for i in build.unflatten(var("p"), shape, {var("p"): (0, int(np.prod(shape)) - 1)})]
    assert tuple(got) == tuple(map(int, np.unravel_index(position, shape)))


def test_index_arithmetic_collects_terms() -> None:
    assert add(mul(add(I, J), 4), sub(3, mul(I, 3)), -3) == add(I, mul(J, 4))
    assert sub(I, I) == index(0) == mul(I, 0) and add(I, 0) is I and mul(1, I) is I
    assert show_value(add(sub(mul(2, J), I), 5)) == "j * 2 - i + 5"
    assert floordiv(add(mul(I, 8), mul(J, 2), 1), 8, RANGES) == I
    assert mod(add(mul(I, 8), mul(J, 2), 1), 8, RANGES) == add(mul(J, 2), 1)
    assert show_value(floordiv(add(mul(I, 4), mul(J, 2)), 12, RANGES)) == "(i * 2 + j) / 6"
    assert show_value(floordiv(floordiv(I, 2, RANGES), 3, RANGES)) == "i / 6"
    assert mod(K, 1) == index(0)
    with pytest.raises(ValueError, match="expected a positive"):
        floordiv(I, 0)


def test_wrapping_survives_collection() -> None:
    big = 2**62
    assert evaluate(add(mul(I, big), mul(I, big)), i=3) == np.int64(-(2**63)).item()
    assert bounds(mul(I, big), RANGES) == (-(2**63), 2**63 - 1)


def test_coefficient() -> None:
    x = Buffer("x", INDEX, (8,), "input")
    assert build.coefficient(add(mul(I, 3), J), I) == 3
    assert build.coefficient(add(load(x, J), I), I) == 1
    assert build.coefficient(load(x, I), I) is None and build.coefficient(mul(I, J), I) is None
    assert build.coefficient(op("div", I, index(2)), I) is None and build.coefficient(J, I) == 0


def test_op_keeps_the_bits_of_floats() -> None:
    x = Var("x", F32)
    assert op("mul", x, const(1.0, F32)) is x and op("div", x, const(1.0, F32)) is x
    for value in (op("add", x, const(0.0, F32)), op("mul", x, const(0.0, F32)), op("sub", x, x), op("eq", x, x)):
        assert isinstance(value, Op)
    assert op("add", const(0.1, F32), const(0.2, F32)) == const(float(np.float32(0.1) + np.float32(0.2)), F32)
    assert isinstance(op("exp", const(1.0, F32)), Op)  # compiled, as at run time: not the reference's last bit
    plus, minus = const(0.0, F32), const(-0.0, F32)
    assert isinstance(select(Var("p", BOOL), plus, minus), Op)
    assert convert(x, F32) is x and convert(const(2.7, F32), I32) == const(2, I32)
    with pytest.raises(TypeError, match="needs `dtype`"):
        op("convert", x)
    with pytest.raises(OverflowError, match="does not fit in i8"):
        const(200, dtypes.int8)


@pytest.mark.parametrize("name", [n for n in SCALARS if SCALARS[n].result != "explicit"])
def test_identities_hold(name: str) -> None:
    """With one operand constant, the simplified operation has the value of the plain one, bit for bit."""
    scalar = SCALARS[name]
    for dtype in (d for d in scalar.dtypes if not dtypes.is_complex(d) and d in (BOOL, I32, INDEX, dtypes.uint32, F32)):
        result = scalar.result_dtype(dtype)
        assert result is not None
        samples = [-0.0, 1.5, -2.0, 3.0, np.inf, np.nan] if dtype == F32 else [0, 1, 5] if dtype != BOOL else [0, 1]
        for c in [0, 1] if dtype != F32 else [0.0, -0.0, 1.0]:
            for place in range(scalar.arity):
                pred = name == "select" and place == 0
                fixed = const(c, BOOL if pred else dtype)
                x = [Var("p", BOOL) if name == "select" and a == 0 else Var("x", dtype) for a in range(scalar.arity)]
                args: list[Value] = [fixed if a == place else v for a, v in enumerate(x)]
                for sample in samples:
                    env = {"x": np.asarray(sample).astype(dtype), "p": np.True_}
                    got, plain = evaluate(op(name, *args), **env), evaluate(Op(name, tuple(args), result), **env)
                    assert np.array(got).tobytes() == np.array(plain).tobytes(), (
                        show_value(Op(name, tuple(args), result)),
                        sample,
                    )
