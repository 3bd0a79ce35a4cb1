"""Which of several index errors is raised: the one that the program, run one equation after another, meets first.

Each program here is run by fdl in every way, and by plain Python loops, on index arrays into which Hypothesis puts indices that are out of
bounds, no two alike.  All must stop at the same one, with the same message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fdl
import fdl.numpy as fnp
from fdl.backends.loops.interpret import run
from fdl.backends.loops.pipeline import stages
from fdl.tracer.passes.simplify import simplify

F32 = np.float32
TABLE = np.arange(5, dtype=F32)
ZERO = F32(0)


@pytest.fixture(autouse=True, scope="module")
def threads() -> Iterator[None]:
    """Puts the number of threads back."""
    before = fdl.get_num_threads()
    yield
    fdl.set_num_threads(before)


class Out(Exception):
    """An index that is out of bounds, in plain Python."""


class Plain:
    """Control flow as Python has it."""

    @staticmethod
    def look(i: Any) -> Any:
        for n in np.ravel(i):
            if not -5 <= n < 5:
                raise Out(int(n))
        return TABLE[i].sum()

    @staticmethod
    def add(x: Any, i: Any) -> Any:
        for n in np.ravel(i):
            if not -5 <= n < 5:
                raise Out(int(n))
        x = x.copy()
        np.add.at(x, i, 1)
        return x

    @staticmethod
    def scan(f: Any, init: Any, xs: Any, reverse: bool = False, unroll: int = 1) -> Any:
        n = len(xs if isinstance(xs, np.ndarray) else xs[0])
        for k in reversed(range(n)) if reverse else range(n):
            init, _ = f(init, xs[k] if isinstance(xs, np.ndarray) else tuple(x[k] for x in xs))
        return init

    @staticmethod
    def fori(low: int, high: int, f: Any, init: Any) -> Any:
        for k in range(low, high):
            init = f(k, init)
        return init

    @staticmethod
    def loop(test: Any, f: Any, init: Any) -> Any:
        while test(init):
            init = f(init)
        return init

    @staticmethod
    def cond(p: Any, yes: Any, no: Any) -> Any:
        return yes() if p else no()

    @staticmethod
    def lanes(f: Any, *xs: Any) -> Any:
        """Each lane alone, in order."""
        return [f(*lane) for lane in zip(*xs, strict=True)]

    @staticmethod
    def together(f: Any, xs: Any) -> Any:
        """The lanes along axis 1 of what is scanned over: they go through the loop side by side."""
        return f(xs)


class Traced:
    """The same of fdl."""

    @staticmethod
    def look(i: Any) -> Any:
        return fnp.asarray(TABLE)[i].sum()

    @staticmethod
    def add(x: Any, i: Any) -> Any:
        return fnp.asarray(x).at[i].add(1)

    @staticmethod
    def scan(f: Any, init: Any, xs: Any, reverse: bool = False, unroll: int = 1) -> Any:
        return fdl.scan(f, init, xs, reverse=reverse, unroll=unroll)[0]

    @staticmethod
    def fori(low: int, high: int, f: Any, init: Any) -> Any:
        return fdl.fori_loop(low, high, f, init)

    @staticmethod
    def loop(test: Any, f: Any, init: Any) -> Any:
        return fdl.while_loop(test, f, init)

    @staticmethod
    def cond(p: Any, yes: Any, no: Any) -> Any:
        return fdl.cond(p, yes, no)

    @staticmethod
    def lanes(f: Any, *xs: Any) -> Any:
        return fdl.vmap(f)(*xs)

    @staticmethod
    def together(f: Any, xs: Any) -> Any:
        return fdl.vmap(f, in_axes=1)(xs)


# --- the programs: name → (the shapes of its index arrays, the program) ----------------------------


def two_sites(lib: Any, i: Any, j: Any) -> Any:
    return lib.scan(lambda c, n: (c + lib.look(n[0]) * lib.look(n[1]), None), ZERO, (i, j))


def backwards(lib: Any, i: Any, j: Any) -> Any:
    return lib.scan(lambda c, n: (c + lib.look(n[0]) * lib.look(n[1]), None), ZERO, (i, j), reverse=True)


def unrolled(lib: Any, i: Any, j: Any) -> Any:
    c = lib.scan(lambda c, n: (c + lib.look(n[0]) * lib.look(n[1]), None), ZERO, (i, j), unroll=3)
    return lib.scan(lambda c, n: (c + lib.look(n[0]), None), c, (i, j), unroll=99)


def nested(lib: Any, i: Any, j: Any, k: Any) -> Any:
    def outer(c: Any, n: Any) -> Any:
        a, b, rows = n
        c = c + lib.look(a)
        c = lib.scan(lambda d, r: (d * F32(0.5) + lib.look(r), None), c, rows)
        return c + lib.look(b), None

    return lib.scan(outer, ZERO, (i, j, k))


def mixed_loops(lib: Any, i: Any, j: Any) -> Any:
    def step(k: Any, c: Any) -> Any:
        def body(s: Any) -> Any:
            m, d = s
            return m + 1, d + lib.look(i[k, m]) + lib.cond(m > 1, lambda: lib.look(j[m, k]), lambda: ZERO)

        return lib.loop(lambda s: s[0] < 4, body, (np.int32(0), c))[1]

    return lib.fori(0, 4, step, ZERO)


def one_after_another(lib: Any, i: Any, j: Any, k: Any, m: Any) -> Any:
    """Loops and kernels that share what they read: joined, they must not overtake each other."""
    a = lib.look(i)
    b = lib.scan(lambda c, n: (c + lib.look(n), None), a, j)
    c = lib.look(k)
    d = lib.scan(lambda e, n: (e + lib.look(n), None), b + c, m)
    return d + lib.look(m[0])


def updates(lib: Any, i: Any, j: Any) -> Any:
    x = lib.scan(lambda x, n: (lib.add(lib.add(x, n[0]), n[1]), None), np.zeros(5, F32), (i, j))
    return lib.add(x, i[0]).sum()


def side_by_side(lib: Any, i: Any) -> Any:
    return lib.together(lambda i: lib.scan(lambda c, n: (c + lib.look(n) * lib.look(n * 2), None), ZERO, i), i)


def lane_by_lane(lib: Any, i: Any, j: Any) -> Any:
    def lane(row: Any, n: Any) -> Any:
        return lib.loop(
            lambda s: s[0] < n[0] % 4, lambda s: (s[0] + 1, s[1] + lib.look(row[s[0]])), (np.int32(0), lib.look(n))
        )[1]

    return lib.lanes(lane, i, j)


PROGRAMS: dict[str, tuple[list[tuple[int, ...]], Callable[..., Any]]] = {
    "two sites": ([(9, 3), (9, 3)], two_sites),
    "two sites, wide": ([(9, 40_000), (9, 3)], two_sites),
    "backwards": ([(9,), (9, 5)], backwards),
    "unrolled": ([(10, 2), (10, 3)], unrolled),
    "nested": ([(4, 2), (4,), (4, 5, 2)], nested),
    "nested, wide": ([(3, 2), (3, 30_000), (3, 3, 2)], nested),
    "mixed loops": ([(4, 4), (4, 4, 2)], mixed_loops),
    "one after another": ([(600,), (6, 2), (600,), (6, 600)], one_after_another),
    "updates": ([(5, 3), (5, 4)], updates),
    "side by side": ([(6, 4, 3)], side_by_side),
}
jitted = {name: fdl.jit(lambda *xs, f=f: f(Traced, *xs)) for name, (_, f) in PROGRAMS.items()}
by_reference = {name: fdl.jit(lambda *xs, f=f: f(Traced, *xs), backend="reference") for name, (_, f) in PROGRAMS.items()}


def message(call: Callable[[], Any]) -> str:
    """The text of the IndexError that `call` raises; "" for none."""
    try:
        call()
    except IndexError as error:
        return str(error)
    return ""


def what_and_where(text: str) -> tuple[list[str], list[str]]:
    """The index, the axis and the line in a message."""
    return re.findall(r"index .*?: expected -?\d+ to -?\d+", text), re.findall(r"\n  at (.*)", text)


def agree(name: str, arrays: list[np.ndarray]) -> None:
    """Checks that every way to run a program ends with what plain Python ends with."""
    program = PROGRAMS[name][1]
    try:
        program(Plain, *arrays)
        first = None
    except Out as error:
        first = error.args[0]
    texts = [message(lambda: by_reference[name](*arrays))]
    for n in (1, 2, 4):
        fdl.set_num_threads(n)
        texts.append(message(lambda: jitted[name](*arrays)))
    assert len(set(texts)) == 1, texts
    # Where an index is known at once, the way out that the message tells may be another.
    eager = message(lambda: program(Traced, *map(fnp.asarray, arrays)))
    assert what_and_where(eager) == what_and_where(texts[0])
    if first is None:
        assert not texts[0]
    else:
        assert f"index {first} is out of bounds for axis 0 of size 5: expected -5 to 4." in texts[0], (first, texts[0])
        assert "test_first_error.py" in texts[0]


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_error_is_the_program_s_first(name: str) -> None:
    shapes = PROGRAMS[name][0]
    anywhere = st.one_of(*(st.tuples(st.just(k), *(st.integers(0, n - 1) for n in s)) for k, s in enumerate(shapes)))

    @settings(max_examples=8 if "wide" in name else 15)
    @given(st.lists(anywhere, min_size=1, max_size=6, unique=True), st.randoms(use_true_random=False))
    def check(places: list[tuple[int, ...]], random: Any) -> None:
        arrays = [np.zeros(s, np.int32) for s in shapes]
        for (k, *at), value in zip(places, random.sample(range(10, 90), len(places)), strict=True):
            arrays[k][tuple(at)] = value * random.choice([1, -1])
        agree(name, arrays)

    check()


@pytest.mark.parametrize("name", ["two sites", "unrolled", "nested", "mixed loops", "updates"])
def test_the_loop_ir_defines_it(name: str) -> None:
    """Its interpreter records the same failure, before and after fusion and scheduling."""
    shapes, program = PROGRAMS[name]
    arrays = [np.zeros(s, np.int32) for s in shapes]
    traced = fdl.make_ir(lambda *xs: program(Traced, *xs))(*arrays)
    routines = stages(simplify(traced))
    rng = np.random.default_rng(0)
    for _ in range(3):
        given = [np.where(rng.random(a.shape) < 0.15, rng.integers(10, 90, a.shape), 0).astype(np.int32) for a in arrays]
        given[0].flat[-1] = 99
        with pytest.raises(Out) as caught:
            program(Plain, *given)
        for routine in routines:
            _, failure = run(routine, given, [np.asarray(v) for v in traced.values])
            assert failure is not None
            assert f"index {caught.value.args[0]} " in routine.sites[failure[0]].text(failure[1])


def test_lanes_that_decide_for_themselves_fail_in_their_order() -> None:
    """The lowest lane that fails, at its own first error; lanes that end early look up less."""
    f, g = (fdl.jit(lambda i, j: lane_by_lane(Traced, i, j), backend=b) for b in ("llvm", "reference"))
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(12):
        i = np.where(rng.random((6, 4)) < 0.15, rng.integers(10, 90, (6, 4)), 0).astype(np.int32)
        j = rng.integers(0, 4, (6, 1)).astype(np.int32)
        try:
            want = np.array(lane_by_lane(Plain, i, j))
            for call in (f, g):
                assert np.asarray(call(i, j)).tolist() == want.tolist()
        except Out as error:
            texts = {message(lambda i=i, j=j, c=c: c(i, j)) for c in (f, g)}  # type: ignore[misc]
            assert len(texts) == 1 and f"index {error.args[0]} " in texts.pop()
            seen.add(error.args[0])
    assert len(seen) > 3


def test_a_failure_comes_before_what_follows_it_and_after_what_precedes_it() -> None:
    """Calls back into Python keep their places among lookups that fail."""
    calls: list[int] = []

    def note(n: Any) -> None:
        fdl.io_callback(lambda v: calls.append(int(v)), None, n, ordered=True)

    def f(i: Any, j: Any, k: Any) -> Any:
        x = fnp.asarray(TABLE)
        a = x[i] * 2
        note(1)
        b = x[j] + a
        note(2)
        c = fdl.scan(lambda c, n: ((note(10 + n[0]), c + x[n[1]])[1], None), ZERO, (np.arange(4, dtype=np.int32), k))[0]
        note(3)
        return a + b + x[i[::-1]] + c

    good, g = np.zeros(500, np.int32), fdl.jit(f)
    i, j, k = good.copy(), good.copy(), np.zeros(4, np.int32)
    i[3] = j[0] = k[2] = 7
    for call in (f, g, fdl.jit(f, backend="reference")):
        for arrays, expected in (
            ((i, j, k), []), ((good, j, k), [1]), ((good, good, k), [1, 2, 10, 11, 12]), ((good, good, k * 0), [1, 2, 10, 11, 12, 13, 3]),
        ):  # fmt: skip
            calls.clear()
            assert bool(message(lambda call=call, arrays=arrays: call(*map(fnp.asarray, arrays)))) == (3 not in expected)  # type: ignore[misc]
            assert calls == expected
