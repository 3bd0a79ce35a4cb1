"""The IR: text and parser over random programs, the checker, parse errors, simplification, golden text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fdl
import fdl.numpy as fnp
from fdl.backends.executable import compile_program
from fdl.tracer import dtypes
from fdl.tracer.array import as_numpy
from fdl.tracer.check import check_program
from fdl.tracer.errors import InvalidProgramError, ParseError
from fdl.tracer.ir import Equation, Literal, Program, Type, Variable, subprograms
from fdl.tracer.parse import parse
from fdl.tracer.passes.simplify import simplify
from fdl.tracer.primitive import lookup, run_program
from fdl.tracer.show import show_program
from fdl.tracer.transforms.jvp import program_function

# --- random programs ------------------------------------------------------------------------------

DTYPES = [
    dtypes.float32,
    dtypes.float64,
    dtypes.int32,
    dtypes.bool_,
    dtypes.uint8,
    dtypes.float16,
    dtypes.bfloat16,
    dtypes.int64,
]
Draw = Callable[[st.SearchStrategy[Any]], Any]


def values(draw: Draw, dtype: dtypes.DType, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    if dtype == dtypes.bool_:
        return rng.integers(0, 2, shape).astype(bool)
    return rng.integers(0 if dtype.kind == "u" else -4, 5, shape).astype(dtype) / dtype.type(1 if dtype.kind in "iu" else 2)


def array(draw: Draw) -> np.ndarray:
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    dtype = draw(st.sampled_from(DTYPES))
    return np.asarray(values(draw, dtype, shape), dtype)


def is_float(x: Any) -> bool:
    return bool(dtypes.is_float(x.dtype))


def grow(draw: Draw, pool: list[Any], depth: int) -> None:
    """Adds to `pool` one more value, made from those in it."""
    x = draw(st.sampled_from(pool))
    kind = draw(
        st.sampled_from(["unary", "binary", "binary", "shape", "reduce", "scalar", "index", "dot", "where", "control", "jit"])
    )
    match kind:
        case "unary" if is_float(x):
            f = draw(
                st.sampled_from(
                    [fnp.tanh, fnp.sin, fnp.floor, fnp.negative, fnp.logistic, fnp.abs, fnp.square, fdl.stop_gradient]
                )
            )
            pool.append(f(x))
        case "unary":
            pool.append(x.astype(draw(st.sampled_from(DTYPES))))
        case "binary":
            y = draw(st.sampled_from([v for v in pool if v.shape in (x.shape, ())]))
            f = draw(st.sampled_from([fnp.add, fnp.multiply, fnp.maximum, fnp.less, fnp.equal]))
            pool.append(f(x, y))
        case "scalar":
            c = draw(st.sampled_from([2, 0.5, True, -3, 1e30, float("inf"), float("nan"), -0.0, np.int8(3), np.float64(0.1)]))
            fits = type(c) is not int or c >= 0 or x.dtype.kind != "u"
            if isinstance(c, bool) or (x.dtype != np.bool_ and fits):
                pool.append(x + c if draw(st.booleans()) else fnp.where(x > 0, x, c))
        case "shape":
            f = draw(st.sampled_from([
                lambda v: v.reshape(-1) if v.size else v, lambda v: v.T, lambda v: fnp.flip(v), lambda v: v[None],
                lambda v: v[..., ::-1] if v.ndim else v,
                lambda v: fnp.stack([v, v], -1), lambda v: fnp.pad(v, 1) if v.ndim else v, lambda v: v[1:] if v.ndim else v,
                lambda v: fnp.broadcast_to(v, (2, *v.shape)),
            ]))  # fmt: skip
            y = f(x)
            if y.size <= 64:
                pool.append(y)
        case "reduce" if x.ndim:
            axis = draw(st.integers(0, x.ndim - 1))
            f = draw(st.sampled_from([fnp.sum, fnp.any, fnp.cumsum] + ([fnp.max, fnp.argmax] if x.shape[axis] else [])))
            pool.append(f(x, axis))
        case "index" if x.ndim and x.shape[0]:
            i = draw(st.integers(-x.shape[0], x.shape[0] - 1))
            pool.append(x[i] if draw(st.booleans()) else x.at[fnp.asarray([i])].set(x[i] * 0 if x.dtype != np.bool_ else x[i]))
        case "dot" if x.ndim and x.dtype != np.bool_:
            pool.append(fnp.tensordot(x, x, ((0,), (0,))) if x.ndim < 3 else fnp.einsum("abc,abd->acd", x, x))
        case "where":
            pool.append(fnp.where(fnp.any(x), x, -x if x.dtype != np.bool_ else x))
        case "control" if depth:
            pool.append(control(draw, x, pool, depth))
        case "jit" if depth:
            pool.append(fdl.jit(lambda v: body(draw, [v, *pool[:2]], depth - 1))(x))
        case _:
            pool.append(x)


def body(draw: Draw, pool: list[Any], depth: int) -> Any:
    for _ in range(draw(st.integers(0, 3))):
        grow(draw, pool, depth)
    return pool[-1]


def control(draw: Draw, x: Any, pool: list[Any], depth: int) -> Any:
    def same(v: Any, *others: Any) -> Any:
        """A value of the type of `v` that depends on more."""
        y = body(draw, [v, *others, *pool[:2]], depth - 1)
        extra = fnp.any(y) if y.size else fnp.asarray(True)
        return fnp.where(extra, v, fnp.zeros_like(v))

    match draw(st.sampled_from(["cond", "switch", "scan", "while"])):
        case "cond":
            return fdl.cond(fnp.any(x), same, lambda v: v, x)
        case "switch":
            return fdl.switch(draw(st.integers(-1, 3)), [same, lambda v: v, same], x)
        case "scan" if x.ndim:
            carry, ys = fdl.scan(lambda c, a: (same(c, a), (a, c)), fnp.zeros(2), x, reverse=draw(st.booleans()))
            return ys[0] if draw(st.booleans()) else carry
        case _:
            return fdl.while_loop(lambda s: s[0] < 2, lambda s: (s[0] + 1, same(s[1])), (0, x))[1]


@st.composite
def programs(draw: Draw) -> tuple[Program, list[np.ndarray]]:
    """A random program, and arguments for it."""
    args = [array(draw) for _ in range(draw(st.integers(1, 3)))]
    closed = [fnp.asarray(array(draw))]

    def f(*inputs: Any) -> Any:
        pool = [*inputs, *closed]
        for _ in range(draw(st.integers(1, 6))):
            grow(draw, pool, 2)
        return pool[len(args) :]

    return fdl.make_ir(f)(*args), args


def run(p: Program, args: list[np.ndarray]) -> list[np.ndarray]:
    constants = [as_numpy(v) for v in p.values]
    closed = Program((*p.inputs, *p.constants), p.equations, p.outputs, name=p.name)
    with np.errstate(all="ignore"):
        return [np.asarray(x) for x in run_program(closed, [*args, *constants])]


def same_bits(a: list[np.ndarray], b: list[np.ndarray]) -> None:
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert x.dtype == y.dtype and x.shape == y.shape
        assert x.tobytes() == y.tobytes() or np.array_equal(x, y, equal_nan=dtypes.is_float(x.dtype))


@pytest.fixture(autouse=True, scope="module")
def on_the_reference_backend() -> Any:
    with fdl.config.using(backend="reference"):
        yield


@settings(max_examples=200)
@given(programs())
def test_text_parses_back(case: tuple[Program, list[np.ndarray]]) -> None:
    p, args = case
    check_program(p)
    text = str(p)
    q = parse(text, p.values)
    assert q == p and hash(q) == hash(p) and str(q) == text
    assert parse(show_program(p, sources=True), p.values) == p
    same_bits(run(p, args), run(q, args))


@settings(max_examples=200)
@given(programs())
def test_simplified_programs_give_the_same(case: tuple[Program, list[np.ndarray]]) -> None:
    p, args = case
    q = simplify(p)
    check_program(q)
    assert [t.strong() for t in q.out_types] == [t.strong() for t in p.out_types]
    same_bits(run(p, args), run(q, args))
    assert count(q) <= count(p)
    assert simplify(q) == q


def count(p: Program) -> int:
    return sum(1 + sum(count(s) for s in subprograms(e.params)) for e in p.equations)


@settings(max_examples=60)
@given(programs())
def test_compiled_programs_agree_with_the_definition(case: tuple[Program, list[np.ndarray]]) -> None:
    p, args = case
    agree_when_compiled(p, args)


@settings(max_examples=40)
@given(programs())
def test_compiled_derivatives_agree_with_the_definition(case: tuple[Program, list[np.ndarray]]) -> None:
    p, args = case
    dots = [np.ones_like(a) for a in args]
    agree_when_compiled(fdl.make_ir(lambda *a: fdl.jvp(as_function(p), a, dots))(*args), args)
    floats = [a for a in args if dtypes.is_float(a.dtype)]
    if "= while[" not in str(p) and floats:
        pulled = fdl.make_ir(
            lambda *a: (lambda outs, pull: pull([fnp.ones_like(x) for x in outs]))(*fdl.vjp(as_function(p), *a))
        )
        agree_when_compiled(pulled(*args), args)


def agree_when_compiled(p: Program, args: list[np.ndarray]) -> None:
    closed = Program((*p.inputs, *p.constants), p.equations, p.outputs, name=p.name)
    wanted, got = run(p, args), compile_program(closed, "llvm")([*args, *p.values])
    for x, y in zip(wanted, got, strict=True):
        y = as_numpy(y)
        assert x.dtype == y.dtype and x.shape == y.shape
        wide = np.float64 if dtypes.is_float(x.dtype) else x.dtype
        tolerance = {1: 0, 2: 2e-2, 4: 1e-4, 8: 1e-10}[x.dtype.itemsize] if dtypes.is_float(x.dtype) else 0
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(y.astype(wide), x.astype(wide), rtol=tolerance, atol=tolerance, equal_nan=True)


def as_function(p: Program) -> Callable[..., list[Any]]:
    return lambda *args: program_function(Program((*p.inputs, *p.constants), p.equations, p.outputs))(*args, *p.values)


@settings(max_examples=150)
@given(programs(), st.data())
def test_vmap_of_random_programs_is_each_lane_alone(case: tuple[Program, list[np.ndarray]], data: st.DataObject) -> None:
    p, args = case
    lanes = [args, *([np.roll(a.reshape(-1), k).reshape(a.shape) * a.dtype.type(k % 2) for a in args] for k in (1, 2))]
    mapped = data.draw(st.lists(st.booleans(), min_size=len(args), max_size=len(args)).filter(any))
    axes = [data.draw(st.integers(0, a.ndim)) if m else None for a, m in zip(args, mapped, strict=True)]
    stacked = [a if k is None else np.stack(rows, k) for a, k, *rows in zip(args, axes, *lanes, strict=True)]
    wanted = [run(p, [a if k is None else row[i] for i, (a, k) in enumerate(zip(args, axes, strict=True))]) for row in lanes]
    got = fdl.vmap(as_function(p), in_axes=tuple(axes))(*stacked)
    same_bits([np.stack(rows) for rows in zip(*wanted, strict=True)], [np.asarray(x) for x in got])


@settings(max_examples=150)
@given(programs())
def test_derivatives_of_random_programs_agree(case: tuple[Program, list[np.ndarray]]) -> None:
    """Forward mode, linearize and its transpose are one linear map."""
    p, args = case
    f = as_function(p)
    dots = tuple(np.cos(np.arange(a.size)).reshape(a.shape).astype(a.dtype) if dtypes.is_float(a.dtype) else a for a in args)
    outs, forward = fdl.jvp(f, args, dots)
    again, push = fdl.linearize(f, *args)
    for x, y in zip([*outs, *forward], [*again, *push(*dots)], strict=True):
        assert x.type.strong() == y.type.strong()
    if "= while[" in str(p):  # it has no reverse mode
        return
    _, pull = fdl.vjp(f, *args)
    cts = [np.sin(1.0 + np.arange(x.size)).reshape(x.shape).astype(x.dtype) for x in outs]
    back = pull(cts)
    floats = [i for i, x in enumerate(outs) if dtypes.is_float(x.dtype)]
    if any(x.dtype not in (np.float32, np.float64) for x in [*outs, *args] if dtypes.is_float(x.dtype)):
        return
    with np.errstate(all="ignore"):
        left = sum(float(np.sum(np.asarray(forward[i], np.float64) * cts[i])) for i in floats)
        right = sum(
            float(np.sum(np.asarray(b, np.float64) * d)) for b, d in zip(back, dots, strict=True) if dtypes.is_float(b.dtype)
        )
    if np.isfinite(left) and np.isfinite(right):
        np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-3 * max(1.0, abs(left)))


# --- text -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=lambda d: d.name)
def test_literals_of_every_dtype(dtype: dtypes.DType) -> None:
    specials: list[Any] = [0, 1]
    if dtype.kind in "iu":
        specials += [np.iinfo(dtype).min, np.iinfo(dtype).max]
    elif dtype != dtypes.bool_:
        info = {
            "f": [0.1, -0.0, np.inf, -np.inf, np.nan, 1e-7, 65504.0, 1 / 3],
            "c": [1 + 2j, -0.5j, complex(np.inf, -1), complex(0, np.nan)],
        }
        specials += info["c" if dtype.kind == "c" else "f"]
    for v in specials:
        for weak in (False, True):
            a = Literal(np.asarray(v).astype(dtype), Type((), dtype, weak))
            p = Program((), (), (a,))
            q = parse(str(p))
            assert q == p, (v, str(p))
            assert q.outputs[0].value.tobytes() == a.value.tobytes() or np.isnan(a.value)  # type: ignore[union-attr]


def test_names_do_not_collide_with_words() -> None:
    """Among many variables are some that would be called as words of the language."""
    inputs = tuple(Variable(Type((), dtypes.float32)) for _ in range(9000))
    p = Program(inputs, (), inputs)
    assert parse(str(p)) == p and ", inf_:" in str(p) and ", nan_:" in str(p)

    def f(x: Any) -> Any:
        for _ in range(800):
            x = x + 1.0
        return x

    p = fdl.make_ir(f)(fnp.ones(2))
    assert parse(str(p), p.values) == p


def test_equality() -> None:
    f = lambda x: fnp.sin(x) * 2.0  # noqa: E731
    p, q = fdl.make_ir(f)(1.0), fdl.make_ir(lambda x: 2.0 * 1.0 * fnp.sin(x))(1.0)
    assert p == fdl.make_ir(lambda x: fnp.sin(x) * 2.0)(3.0) and hash(p) == hash(fdl.make_ir(f)(3.0))
    assert p != q and p != fdl.make_ir(f)(np.float32(1.0)) and p != fdl.make_ir(lambda x: fnp.sin(x) * 2.5)(1.0)
    assert fdl.make_ir(lambda x: x * 0.0)(1.0) != fdl.make_ir(lambda x: x * -0.0)(1.0)
    tables = fnp.arange(3.0), fnp.ones(3), fnp.ones(4)
    first, second, third = (fdl.make_ir(lambda x, t=t: x + t)(1.0) for t in tables)
    assert first == second and first != third  # constants' values are outside equality, their types are not


def test_callbacks_are_named() -> None:
    def double(x: Any) -> Any:
        return x * 2

    p = fdl.make_ir(lambda x: fdl.pure_callback(double, x, x))(fnp.ones(2))
    assert "@double" in str(p)
    with pytest.raises(ParseError, match="double"):
        parse(str(p))
    function = p.equations[0].params["function"]
    assert parse(str(p), functions={"double": function}) == p


PARSE_ERRORS = [
    ("", "line 1, column 1: expected program, got 'end of text'"),
    ("program main(a: f32[]) {\n  b: f32[] = nosuch a\n  return b\n}", "line 2, column 14: no primitive is named 'nosuch'"),
    ("program main(a: f33[]) {\n  return a\n}", "line 1, column 17: not a dtype: 'f33'"),
    ("program main(a: f32[]) {\n  return c\n}", "line 2, column 10: c is not bound"),
    ("program main(a: f32[], a: f32[]) {\n  return a\n}", "line 1, column 24: a is bound twice"),
    ("program main(a: f32[]) {\n  return a\n} more", "line 3, column 3: text after the program: 'more'"),
    ("program main(a: f32[]) {\n  return a", "line 2, column 11: "),
    ("program main(a: f32[]) {\n  b: f32[] = add a ?\n}", "line 2, column 20: unexpected character '?'"),
    ("program main(a: f32[2]) {\n  b: f32[] = reduce_sum[axes=(0] a\n  return b\n}", "line 2, column 32: "),
    ("program main(a: f32[x]) {\n  return a\n}", "line 1, column 21: expected a number, got 'x'"),
    ("program main(a: f32[]; constants b: f32[3]) {\n  return b\n}", r"1 constants \(f32\[3\]\), but 0 values"),
    ("program main(a: f32[]) {\n  b: f32[] = add a 1.5:i32\n  return b\n}", "line 2, column "),
    ("program main(a: f32[]) {\n  b: f32[] = add a 300:u8\n  return b\n}", "line 2, column "),
]


@pytest.mark.parametrize(("text", "message"), PARSE_ERRORS, ids=range(len(PARSE_ERRORS)))
def test_parse_errors(text: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        parse(text)


@settings(max_examples=150)
@given(st.data())
def test_damaged_text_is_refused_or_read(data: st.DataObject) -> None:
    """Whatever is cut or changed, the parser answers with a program or one of its two errors."""
    text = str(fdl.make_ir(lambda x: fdl.scan(lambda c, a: (c * 0.5 + a, c), x.sum(), x))(fnp.ones(3)))
    i = data.draw(st.integers(0, len(text) - 1))
    j = data.draw(st.integers(i, min(i + 6, len(text))))
    damaged = text[:i] + data.draw(st.sampled_from(["", "(", "]", "x", "-", ":", "9", "=", '"', "program", "*"])) + text[j:]
    try:
        check_program(parse(damaged))
    except (ParseError, InvalidProgramError):
        pass


# --- the checker ----------------------------------------------------------------------------------

F3, F0 = Type((3,), dtypes.float32), Type((), dtypes.float32)


def equation(name: str, inputs: list[Any], out: Type, **params: Any) -> Equation:
    return Equation((Variable(out),), lookup(name), tuple(inputs), params)


def broken_programs() -> dict[str, tuple[Program, str]]:
    a, b, free = Variable(F3), Variable(F3), Variable(F3)
    add = equation("add", [a, b], F3)
    body = fdl.make_ir(lambda c, x: (c + x, x))(np.float32(1), np.float32(1))
    constant = Variable(F0)
    with_constant = Program(body.inputs, body.equations, body.outputs, (constant,), (np.zeros((), np.float32),))
    scan = {"n_consts": 0, "n_carry": 1, "length": 3, "reverse": False}
    init = Literal(np.float32(0), F0)
    return {
        "unbound input": (Program((a,), (equation("add", [a, free], F3),), (a,)), "add reads .* before it is bound"),
        "used before": (Program((a, b), (equation("neg", [add.outputs[0]], F3), add), (a,)), "neg reads .* before it is bound"),
        "unbound output": (Program((a,), (), (free,)), "returns .*, which is not bound"),
        "bound twice": (Program((a, b), (add, add), (a,)), "bound twice, again by add"),
        "input twice": (Program((a, a), (), (a,)), "bound twice, again by the inputs"),
        "wrong shape": (Program((a, b), (equation("add", [a, b], F0),), (a,)), r"add gives f32\[3\], but its outputs are f32\[\]"),
        "wrong dtype": (Program((a, b), (equation("lt", [a, b], F3),), (a,)), r"lt gives bool\[3\], but"),
        "shapes differ": (Program((a, b), (equation("add", [a, Variable(F0)], F3),), (a,)), "before it is bound"),
        "bad params": (Program((a,), (equation("reduce_sum", [a], F0, axes=(4,)),), (a,)), "reduce_sum: "),
        "missing params": (Program((a,), (equation("reduce_sum", [a], F0),), (a,)), "reduce_sum: "),
        "constants inside": (
            Program((a,), (Equation((Variable(F0), Variable(F3)), lookup("scan"), (init, a), {"body": with_constant, **scan}),), (a,)),
            "a sub-program has constants",
        ),
        "body of other types": (
            Program((a, b), (Equation((Variable(F3), Variable(F3)), lookup("scan"), (a, b), {"body": body, **scan}),), (a,)), "scan: ",
        ),
        "values": (Program((a,), (), (a,), (b,), (np.zeros(3, np.float64),)), "has a value of type f64"),
        "number of values": (Program((a,), (), (a,), (b,), (np.zeros(3), np.zeros(3))), "1 constants but 2 values"),
    }  # fmt: skip


@pytest.mark.parametrize("name", broken_programs())
def test_the_checker_finds(name: str) -> None:
    p, message = broken_programs()[name]
    with pytest.raises(InvalidProgramError, match=message):
        check_program(p)


# --- simplification, one rule at a time -----------------------------------------------------------

RULES: dict[str, tuple[Callable[..., Any], list[str]]] = {
    "mul by one": (lambda x: x * 1.0, []),
    "add zero stays": (lambda x: x + 0.0, ["add"]),
    "sub zero": (lambda x: x - 0.0, []),
    "div by one": (lambda x: x / 1.0, []),
    "double negation": (lambda x: fnp.negative(-x), []),
    "transposes": (lambda x: x.T.T, []),
    "reshapes": (lambda x: x.reshape(6).reshape(3, 2).reshape(2, 3), []),
    "common subexpressions": (lambda x: fnp.sin(x) * 2 + fnp.sin(x) * 2, ["sin", "mul", "add"]),
    "dead code": (lambda x: (fnp.exp(x), x + 1)[1], ["add"]),
    "dead failure": (lambda x: (x[fnp.asarray([0])], x * 2)[1], ["mul"]),
    "same branches": (lambda x: fnp.where(x > 0, x, x), []),
    "splat": (lambda x: x * fnp.ones((2, 3)) + fnp.full((2, 3), 2.0), ["add"]),
    "stop_gradient": (lambda x: fdl.stop_gradient(x), []),
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_rules(name: str) -> None:
    f, wanted = RULES[name]
    p = simplify(fdl.make_ir(f)(fnp.ones((2, 3))))
    check_program(p)
    assert [e.primitive.name for e in p.equations] == wanted


def test_effects_survive() -> None:
    assert simplify(fdl.make_ir(lambda x, i: x[i])(fnp.ones(3), 1)).effects == {"may_fail"}


# --- golden ---------------------------------------------------------------------------------------


def test_golden_text(golden: Callable[[str, str], None]) -> None:
    table = fnp.arange(3.0)

    def f(params: Any, x: Any) -> Any:
        h = fnp.tanh(x @ params["w"] + params["b"]) * table
        h = fdl.cond(h.sum() > 0, lambda v: v * 2, lambda v: v, h)
        c, ys = fdl.scan(lambda c, v: (c + v[0], (v, ~(c > 0))), 0.0, h)
        return fnp.where(ys[1], c, -fnp.inf), h.astype("bf16")

    params = {"w": fnp.ones((2, 3)), "b": fnp.zeros(3)}
    p = fdl.make_ir(f)(params, np.ones((4, 2), np.float32))
    assert parse(str(p), p.values) == p
    loss = fdl.make_ir(fdl.grad(lambda p, x: f(p, x)[0].sum()))(params, np.ones((4, 2), np.float32))
    golden("program.txt", f"{p}\n\n{simplify(loss)}")


def test_replace_keeps_equations_apart() -> None:
    e = equation("neg", [Variable(F3)], F3)
    assert e.replace(number=3).number == 3 and e.number == 0
    assert replace(Type((2,), dtypes.int8), weak=True) == Type((2,), dtypes.int8, True)
