"""Python functions called from programs: results, effects, vmap, derivatives, exceptions; and the table of effects."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl.tracer import effects
from fdl.tracer.effects import EFFECTS, may_merge, may_remove, may_repeat, may_speculate
from fdl.tracer.passes.simplify import simplify
from fdl.tracer.primitive import PRIMITIVES

F32 = np.float32
seen: list[Any] = []


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Empties what the callbacks saw."""
    seen.clear()
    yield
    seen.clear()


def note(*args: Any) -> None:
    """Remembers its arguments, as Python values."""
    seen.append(args[0].tolist() if len(args) == 1 else tuple(a.tolist() for a in args))


def ways(f: Callable[..., Any]) -> list[Callable[..., Any]]:
    """`f` at once, by the reference interpreter, and compiled."""
    return [f, fdl.jit(f, backend="reference"), fdl.jit(f)]


def saw() -> list[Any]:
    """What was seen since the last time."""
    out = list(seen)
    seen.clear()
    return out


# --- results --------------------------------------------------------------------------------------


def test_trees_of_arguments_and_results() -> None:
    def host(d: Any, *, scale: Any) -> Any:
        assert isinstance(d["x"], np.ndarray) and isinstance(scale, np.ndarray) and d["none"] is None
        d["x"][0] = -1  # its own copy
        return {"sum": d["x"].sum(), "all": (d["x"] * scale, 3)}

    def f(x: Any) -> Any:
        types = {"sum": np.float64(0), "all": (fdl.eval_shape(lambda: x), Shape((), np.dtype(np.int64)))}
        out = fdl.pure_callback(host, types, {"x": x, "none": None}, scale=2.0)
        return out, x

    for g in ways(f):
        out, x = g(np.array([5.0, 1.0, 2.0]))
        assert float(out["sum"]) == 2.0 and out["all"][0].tolist() == [-2.0, 2.0, 4.0] and x.tolist() == [5.0, 1.0, 2.0]
        assert out["all"][1].dtype == np.int64 and int(out["all"][1]) == 3


class Shape:
    """What other libraries declare results by."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape, self.dtype = shape, dtype


def test_a_pure_callback_whose_result_nothing_needs_is_not_called() -> None:
    f = fdl.jit(lambda x: (fdl.pure_callback(lambda v: (note(v), v)[1], x, x), x + 1)[1])
    assert float(f(1.0)) == 2.0 and not seen


def test_equal_programs_compile_once() -> None:
    """A function traced again for the same callback is the same program."""

    def program(x: Any) -> Any:
        return fdl.make_ir(lambda x: (fdl.debug.print("{} {}", x, "text"), fdl.pure_callback(np.sin, x, x))[1])(x)

    x = fnp.ones(3)
    assert program(x) == program(x) and hash(program(x)) == hash(program(x))
    other = fdl.make_ir(lambda x: (fdl.debug.print("{} {}", x, "other"), fdl.pure_callback(np.sin, x, x))[1])(x)
    assert program(x) != other


# --- effects in order -----------------------------------------------------------------------------


def test_io_happens_once_and_in_order() -> None:
    def f(x: Any) -> Any:
        fdl.io_callback(note, None, x[0], ordered=True)
        counted = fdl.io_callback(lambda v: (note(v), v * 2)[1], x, x, ordered=True)
        fdl.io_callback(note, None, counted.sum(), ordered=True)
        fdl.io_callback(lambda v: (note(v), v)[1], x[1], x[1])  # its result is not needed
        return x * 3

    for g in ways(f):
        for _ in range(2):
            assert g(np.array([1.0, 2.0])).tolist() == [3.0, 6.0]
            assert saw() == [1.0, [1.0, 2.0], 6.0, 2.0]


def test_two_equal_calls_are_two_calls() -> None:
    def f(x: Any) -> Any:
        a = fdl.io_callback(lambda: (seen.append(1), F32(len(seen)))[1], F32(0))
        return a, fdl.io_callback(lambda: (seen.append(1), F32(len(seen)))[1], F32(0))

    tick = Ticker()
    g = fdl.jit(lambda x: [fdl.io_callback(tick, F32(0)) for _ in range(3)])
    assert [float(v) for v in g(1.0)] == [1.0, 2.0, 3.0] and [float(v) for v in g(1.0)] == [4.0, 5.0, 6.0]
    for h in ways(f):
        assert [float(v) for v in h(0.0)] == [1.0, 2.0]
        saw()


class Ticker:
    """Counts its calls."""

    def __init__(self) -> None:
        self.n = 0

    def __call__(self) -> Any:
        self.n += 1
        return F32(self.n)


def test_calls_in_loops_and_branches() -> None:
    def f(xs: Any) -> Any:
        def step(c: Any, x: Any) -> Any:
            fdl.debug.callback(note, c, x, ordered=True)
            fdl.cond(x > 1, lambda: fdl.debug.callback(note, x), lambda: None)
            return c + x, fdl.while_loop(lambda s: s < x, lambda s: (fdl.debug.callback(note, s), s + 1)[1], F32(0))

        return fdl.scan(step, F32(0), xs)

    for g in ways(f):
        c, ys = g(np.array([0, 2, 1], F32))
        assert float(c) == 3 and ys.tolist() == [0, 2, 1]
        assert saw() == [(0.0, 0.0), (0.0, 2.0), 2.0, 0.0, 1.0, (2.0, 1.0), 0.0]


def test_unrolled_and_mapped_loops_call_as_often() -> None:
    def f(n: Any) -> Any:
        a = fdl.fori_loop(0, 5, lambda i, c: (fdl.debug.callback(note, i), c + i)[1], n, unroll=2)
        b = fdl.map(lambda x: (fdl.debug.callback(note, x), x)[1], fnp.arange(5) * 10, batch_size=2).sum()
        return a + b

    for g in ways(f):
        assert int(g(1)) == 111
        assert saw() == [0, 1, 2, 3, 4, 0, 10, 20, 30, 40]


# --- vmap -----------------------------------------------------------------------------------------


def test_a_call_for_each_lane_in_order() -> None:
    f = fdl.vmap(lambda x, y: (fdl.debug.callback(note, x, y), fdl.io_callback(lambda v: (note(v), v)[1], x, x, ordered=True))[1],
                 in_axes=(0, None))  # fmt: skip
    for g in ways(f):
        assert g(np.array([3, 1, 2], F32), F32(7)).tolist() == [3, 1, 2]
        assert saw() == [(3.0, 7.0), (1.0, 7.0), (2.0, 7.0), 3.0, 1.0, 2.0]


def test_what_is_not_mapped_is_called_once() -> None:
    for g in ways(fdl.vmap(lambda x: (fdl.debug.callback(note, 5), x)[1])):
        assert g(fnp.ones(3)).tolist() == [1, 1, 1] and saw() == [5]


def test_nested_vmaps_and_lanes_that_decide() -> None:
    def f(x: Any) -> Any:
        return fdl.cond(x > 2, lambda: (fdl.debug.callback(note, x), fdl.io_callback(lambda v: v * 10, x, x))[1], lambda: x)

    x = np.arange(6, dtype=F32).reshape(2, 3)
    for g in ways(fdl.vmap(fdl.vmap(f))):
        assert g(x).tolist() == [[0, 1, 2], [30, 40, 50]] and saw() == [3, 4, 5]
    for g in ways(fdl.vmap(fdl.vmap(f), in_axes=1, out_axes=1)):
        assert g(x).tolist() == [[0, 1, 2], [30, 40, 50]] and sorted(saw()) == [3, 4, 5]
    loop = fdl.vmap(lambda n: fdl.while_loop(lambda i: i < n, lambda i: (fdl.debug.callback(note, n, i), i + 1)[1], 0))
    for g in ways(loop):
        assert g(np.array([2, 0, 1], np.int32)).tolist() == [2, 0, 1] and saw() == [(2, 0), (2, 1), (1, 0)]


SHAPES = {
    # method: (shapes for one vmap, for two), with x mapped by both, y by the outer one; as jax 0.10.2 has them
    "expand_dims": ([(3, 2), (1, 1)], [(4, 3, 2), (4, 1, 1)]),
    "broadcast_all": ([(3, 2), (3, 1)], [(4, 3, 2), (4, 3, 1)]),
    "legacy_vectorized": ([(3, 2), (1,)], [(4, 3, 2), (4, 1)]),
}


@pytest.mark.parametrize("method", ["sequential", *SHAPES])
def test_vmap_methods(method: str) -> None:
    def host(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        seen.append([x.shape, y.shape])
        return x * (y if method != "legacy_vectorized" or y.ndim == 1 else y[:, None])

    def f(x: Any, y: Any) -> Any:
        return fdl.pure_callback(host, x, x, y, vmap_method=method)

    x, y = np.random.default_rng(0).normal(size=(4, 3, 2)), np.arange(1.0, 5.0).reshape(4, 1)
    for g in ways(fdl.vmap(f, in_axes=(0, None))):
        np.testing.assert_array_equal(g(x[0], y[1]), x[0] * 2)
        assert saw() == ([[(2,), (1,)]] * 3 if method == "sequential" else [SHAPES[method][0]])
    if method == "legacy_vectorized":
        return  # its function would have to know which axes are whose
    for g in ways(fdl.vmap(fdl.vmap(f, in_axes=(0, None)))):
        np.testing.assert_array_equal(g(x, y), x * y[:, None])
        assert saw() == ([[(2,), (1,)]] * 12 if method == "sequential" else [SHAPES[method][1]])
    last = fdl.vmap(f, in_axes=(-1, None), out_axes=-1)
    np.testing.assert_array_equal(last(x[0].T, y[1]), x[0].T * 2)


# --- derivatives ----------------------------------------------------------------------------------


def test_prints_show_primals_once() -> None:
    def f(x: Any) -> Any:
        fdl.debug.callback(note, x)
        y = fdl.scan(lambda c, _: ((fdl.debug.callback(note, c), c * x)[1], None), x, None, 2)[0]
        return y + fdl.cond(x > 0, lambda: (fdl.debug.callback(note, -x), x * x)[1], lambda: x)

    x = np.float64(3.0)
    want = [3.0, 3.0, 9.0, -3.0]
    for call in (
        lambda: fdl.grad(f)(x), lambda: fdl.jit(fdl.grad(f))(x), lambda: fdl.grad(fdl.jit(f))(x),
        lambda: fdl.jvp(f, (x,), (1.0 + 0 * x,))[1], lambda: fdl.jit(lambda v: fdl.jvp(f, (v,), (v / v,))[1])(x),
        lambda: fdl.linearize(f, x)[1](x / x),
    ):  # fmt: skip
        assert float(call()) == 33.0 and saw() == want
    assert float(fdl.grad(fdl.grad(f))(x)) == 20.0 and saw() == want
    assert fdl.vmap(fdl.grad(f))(np.array([3.0, 3.0])).tolist() == [33.0, 33.0] and len(saw()) == 8


def test_prints_in_a_while_loop_under_linearize() -> None:
    """Its tangents come from a loop that runs again, without the calls that may run only once."""

    def f(x: Any) -> Any:
        return fdl.while_loop(
            lambda s: s < 20.0, lambda s: (fdl.cond(s > 3, lambda: fdl.debug.callback(note, s), lambda: None), s * x)[1], x
        )

    x = np.float64(3.0)
    y, push = fdl.linearize(f, x)
    assert float(y) == 27.0 and saw() == [9.0]
    assert float(push(x / x)) == 27.0 and not saw()
    assert float(fdl.jvp(f, (x,), (x / x,))[1]) == 27.0 and saw() == [9.0]

    def needs(x: Any) -> Any:
        return fdl.while_loop(lambda s: s < 20.0, lambda s: s * x * fdl.io_callback(lambda: F32(1), F32(0)), x)

    assert float(fdl.jvp(needs, (x,), (x / x,))[1]) == 27.0
    with pytest.raises(RuntimeError, match=r"linearize of a while_loop.*io_callback\(<lambda>\)") as caught:
        fdl.linearize(needs, x)
    assert "test_callbacks.py" in str(caught.value)


def test_a_callback_that_has_no_derivative_says_so() -> None:
    def f(x: Any) -> Any:
        return fdl.pure_callback(np.sin, x, x)

    for call in (lambda: fdl.grad(f)(1.0), lambda: fdl.jvp(f, (1.0,), (1.0,)), lambda: fdl.grad(fdl.jit(f))(1.0),
                 lambda: fdl.grad(lambda x: fdl.io_callback(np.sin, x, x))(1.0)):  # fmt: skip
        with pytest.raises(RuntimeError, match=r"callback\(sin\) has no derivative.*custom_jvp.*stop_gradient") as caught:
            call()
        assert "test_callbacks.py" in str(caught.value)
    assert float(fdl.grad(lambda x: x * f(fdl.stop_gradient(x)))(1.0)) == pytest.approx(np.sin(1.0))
    # An integer has no derivative to miss.
    g = lambda x: x * fdl.pure_callback(lambda v: np.int32(v > 0), np.int32(0), x)  # noqa: E731
    assert float(fdl.grad(g)(3.0)) == 1.0


# --- printing -------------------------------------------------------------------------------------


def test_print(capsys: pytest.CaptureFixture[str]) -> None:
    def f(x: Any, n: Any) -> Any:
        fdl.debug.print("x = {x}, n = {}, half {:.2f}, tree {t} {{}}", n, x[1] / 2, x=x, t={"a": (x[0], "text", None)})
        return x * 2

    lines = []
    for g in ways(f):
        g(np.array([1, 2.5], F32), np.int32(3))
        lines.append(capsys.readouterr().out)
    assert len(set(lines)) == 1
    assert lines[0] == ("x = [1.  2.5], n = 3, half 1.25, tree {'a': (array(1., dtype=float32), 'text', None)} {}\n")
    fdl.jit(fdl.vmap(lambda v: (fdl.debug.print("{}", v, ordered=True), v)[1]))(np.arange(3))
    assert capsys.readouterr().out == "0\n1\n2\n"


BAD: dict[str, tuple[Callable[[], Any], type[Exception], list[str]]] = {
    "missing": (lambda: fdl.debug.print("{} {}", 1.0), ValueError, ["'{} {}'", "1 positional", "not given"]),
    "missing name": (lambda: fdl.debug.print("{a}", b=1.0), ValueError, ["'{a}'", "'b'", "not given"]),
    "unused": (lambda: fdl.debug.print("{}", 1.0, 2.0), ValueError, ["no place for argument 1"]),
    "unused name": (lambda: fdl.debug.print("", c=2.0), ValueError, ["no place for 'c'"]),
    "brace": (lambda: fdl.debug.print("{", 1.0), ValueError, ["'{'"]),
    "no format": (lambda: fdl.debug.print(1.0), TypeError, ["format string", "1.0"]),
    "no function": (lambda: fdl.debug.callback(3), TypeError, ["debug.callback(int)", "3"]),
    "method": (lambda: fdl.pure_callback(np.sin, 1.0, 1.0, vmap_method="fast"), ValueError, ["vmap_method='fast'", "'sequential'"]),
    "argument": (lambda: fdl.pure_callback(np.sin, 1.0, {"a": "text"}), TypeError, ["pure_callback(sin)", "argument 0['a']", "'text'"]),
    "declared": (lambda: fdl.io_callback(np.sin, {"y": "f32"}, 1.0), TypeError, ["io_callback(sin)", "result['y']", "'f32'"]),
    "nested": (lambda: fdl.pure_callback(lambda x: (x, x), 1.0, 1.0), ValueError, ["result", "expected", "tuple"]),
    "shape": (
        lambda: fdl.pure_callback(lambda x: {"y": x[:1]}, {"y": fnp.ones(2)}, fnp.ones(2)), ValueError, ["result['y']", "(1,)", "f32[2]"],
    ),
    "dtype": (lambda: fdl.jit(lambda x: fdl.pure_callback(np.float64, x, x))(1.0), ValueError, ["float64", "f32[]", "astype(np.float32)"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_messages(name: str) -> None:
    call, kind, parts = BAD[name]
    with pytest.raises(kind) as caught:
        call()
    missing = [p for p in parts if p not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"


# --- exceptions -----------------------------------------------------------------------------------


class OwnError(Exception):
    """Raised in a callback."""


def fails_at(limit: float) -> Callable[[np.ndarray], np.ndarray]:
    def host(v: np.ndarray) -> np.ndarray:
        seen.append(float(v))
        if v >= limit:
            raise OwnError("too much", float(v))
        return v

    return host


def test_an_exception_ends_the_loop_it_is_in() -> None:
    """It arrives as it is, with the lines of the function that raised it; nothing runs after it, and the next call does."""

    def scanned(limit: float) -> Callable[..., Any]:
        host = fails_at(limit)

        def step(c: Any, x: Any) -> Any:
            return c + fdl.io_callback(host, x, x, ordered=True), None

        return lambda xs: (fdl.scan(step, F32(0), xs)[0], fdl.debug.callback(note, -1))[0]

    def repeated(limit: float) -> Callable[..., Any]:
        host = fails_at(limit)
        return lambda xs: fdl.while_loop(lambda s: s < 10, lambda s: s + 1 + 0 * fdl.pure_callback(host, s, s), xs[0])

    def lanes(limit: float) -> Callable[..., Any]:
        host = fails_at(limit)
        return fdl.vmap(lambda x: fdl.cond(x > 1, lambda: fdl.pure_callback(host, x, x), lambda: x))

    for make, called in ((scanned, [0.0, 1.0, 2.0, 3.0]), (repeated, [0.0, 1.0, 2.0, 3.0]), (lanes, [2.0, 3.0])):
        for g in ways(make(3.0)):
            with pytest.raises(OwnError) as caught:
                g(np.arange(8, dtype=F32))
            assert caught.value.args == ("too much", 3.0) and saw() == called
            assert "raise OwnError" in "".join(traceback.format_tb(caught.value.__traceback__))
        for g in ways(make(99.0)):
            g(np.arange(8, dtype=F32))
            assert len(saw()) >= 6


# --- the table of effects -------------------------------------------------------------------------


def test_the_table_is_the_one_in_the_documentation() -> None:
    """The text at the head of the module says what the table says."""
    rows = {}
    for line in (effects.__doc__ or "").splitlines():
        words = line.split()
        if words[-5:] and set(words[-5:]) <= {"yes", "no"} and len(words) == 6:
            rows[words[0]] = tuple(w == "yes" for w in words[1:])
    order = ("remove", "merge", "repeat", "speculate", "reorder")
    table = {name: tuple(getattr(a, o) for o in order) for name, a in {"(none)": effects.PURE, **EFFECTS}.items()}
    assert rows == table and len(rows) == 4


def test_every_effect_of_a_primitive_is_in_the_table() -> None:
    programs = [fdl.make_ir(f)(fnp.ones(3)) for f in (
        lambda x: x[x.astype(int)], lambda x: fdl.io_callback(np.sin, x, x), lambda x: fdl.io_callback(np.sin, x, x, ordered=True),
        lambda x: fdl.pure_callback(np.sin, x, x),
    )]  # fmt: skip
    assert [set(p.effects) for p in programs] == [{"may_fail"}, {"unordered_io"}, {"ordered_io"}, set()]
    assert all(set(p._effects) <= set(EFFECTS) for p in PRIMITIVES.values())


# name: (what an equation does, its effects)
EFFECTFUL: dict[str, tuple[Callable[[Any], Any], set[str]]] = {
    "pure": (lambda x: fnp.sin(x), set()),
    "pure_callback": (lambda x: fdl.pure_callback(np.sin, x, x), set()),
    "may_fail": (lambda x: x[x.astype("i4")], {"may_fail"}),
    "debug": (lambda x: (fdl.debug.callback(note, x), fnp.cos(x))[1], {"unordered_io"}),
    "unordered_io": (lambda x: fdl.io_callback(np.sin, x, x), {"unordered_io"}),
    "ordered_io": (lambda x: fdl.io_callback(np.sin, x, x, ordered=True), {"ordered_io"}),
    "in a jit": (lambda x: fdl.jit(lambda v: (fdl.debug.callback(note, v), v + 1)[1])(x), {"unordered_io"}),
    "in a scan": (lambda x: fdl.scan(lambda c, v: ((fdl.debug.callback(note, v), c)[1], None), x[0], x)[0], {"unordered_io"}),
    "in a cond": (lambda x: fdl.cond(x[0] > 0, lambda: (fdl.debug.callback(note, x), x)[1], lambda: x), {"unordered_io"}),
    "in a while": (lambda x: fdl.while_loop(lambda s: s[0] < 2, lambda s: (fdl.debug.callback(note, s), s + 1)[1], x), {"unordered_io"}),
}  # fmt: skip


@pytest.mark.parametrize("name", EFFECTFUL)
def test_simplification_keeps_to_the_table(name: str) -> None:
    f, expected = EFFECTFUL[name]
    x = fnp.ones(3)
    p = fdl.make_ir(lambda x: (f(x), x * 2)[1])(x)
    q = simplify(fdl.make_ir(lambda x: (f(x), f(x)))(x))
    # What nothing reads goes, or stays.
    assert (len(p.equations) == 1) == may_remove(expected), str(p)
    assert may_remove(expected) or p.effects == expected
    assert (len(simplify(p).equations) == 1) == may_remove(expected)
    # Of two equal ones one goes, or none.
    kinds = [e.primitive.name for e in q.equations if e.effects == expected]
    calls = [k for k in kinds if k in ("sin", "gather", "callback", "jit", "scan", "cond", "while")]
    assert len(calls) == (1 if may_merge(expected) else 2), str(q)


def test_what_the_table_says_of_the_rest() -> None:
    assert may_repeat({"may_fail"}) and not may_repeat({"may_fail", "ordered_io"})
    assert may_speculate(()) and not may_speculate({"may_fail"}) and not may_speculate({"unordered_io"})
    # Nothing that may fail or call back leaves its branch: the other branch is taken here.
    x = fnp.arange(3.0)
    f = fdl.jit(lambda i, p: fdl.cond(p, lambda: (fdl.debug.callback(note, i), x[i])[1], lambda: 0.0))
    assert float(f(7, False)) == 0.0 and not seen
    g = fdl.jit(
        lambda i, n: fdl.fori_loop(
            0, n, lambda k, c: c + x[i] + fdl.pure_callback(lambda v: (note(v), F32(v))[1], F32(0), i), 0.0
        )
    )
    assert float(g(7, 0)) == 0.0 and not seen
