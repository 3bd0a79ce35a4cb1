"""Small independent nests in one parallel loop: what may join, what must not, and the same bits as without."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from fuzz.checks import check as check_case
from fuzz.programs import seeded

import fdl
import fdl.numpy as fnp
from fdl.backends.loops import abreast as subject
from fdl.backends.loops.abreast import abreast
from fdl.backends.loops.build import reads, writes
from fdl.backends.loops.check import check
from fdl.backends.loops.interpret import run
from fdl.backends.loops.ir import Alloc, For, If, Routine, walk
from fdl.backends.loops.pipeline import reusing, stages
from fdl.backends.loops.plan import Plan
from fdl.backends.loops.reuse import Reuse
from fdl.tracer.errors import IndexOutOfBoundsError
from fdl.tracer.passes.simplify import simplify

RNG = np.random.default_rng(0)
A, B, C = (fnp.asarray(RNG.normal(size=(64, 64)).astype(np.float32)) for _ in range(3))


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every nest is worth a task: what joins is bounded by dependences alone."""
    for name, value in {"LEAST": 0.0, "MOST": 1e12, "ALONE": 0.0, "TASK": 1.0}.items():
        monkeypatch.setattr(subject, name, value)
    yield


def lowered(f: Callable[..., Any], *args: Any, donated: Sequence[int] = ()) -> tuple[Routine, Plan, Reuse]:
    return reusing(simplify(fdl.make_ir(f)(*args)), donated, checked=True)


def task_loops(routine: Routine) -> list[For]:
    return [s for s in walk(routine.body) if isinstance(s, For) and s.var.name.startswith("task")]


def branches(loop: For) -> int:
    """The number of nests in a task loop."""
    return 1 + sum(isinstance(s, If) for s in walk(loop.body))


def two_products(a: Any, b: Any) -> tuple[Any, Any]:
    return a @ a, b @ b


def test_independent_products_are_tasks_of_one_loop() -> None:
    routine, _, _ = lowered(two_products, A, B)
    (loop,) = task_loops(routine)
    assert loop.kind == "parallel" and branches(loop) == 2
    assert routine.notes[loop.var.name] or all(not isinstance(s, For) for s in loop.body)


@pytest.mark.usefixtures("eager")
def test_the_interpreter_gives_the_same_as_without() -> None:
    a, b = A[:8, :8], B[:8, :8]
    program = simplify(fdl.make_ir(two_products)(a, b))
    before = stages(program)[-1]
    after = check(abreast(before, {}))
    assert task_loops(after) and not task_loops(before)
    inputs = [np.asarray(a), np.asarray(b)]
    for x, y in zip(run(before, inputs), run(after, inputs), strict=True):
        assert np.array_equal(x, y)


def test_what_depends_on_a_nest_stays_behind_it() -> None:
    routine, _, _ = lowered(lambda a: (a @ a) @ a, A)
    assert not task_loops(routine)
    routine, _, _ = lowered(lambda a, b: ((a @ a) @ b, b @ b), A, B)
    (loop,) = task_loops(routine)
    order = [writes((s,)) for s in routine.body if not isinstance(s, Alloc)]
    assert any("out0" in w for w in order) and branches(loop) == 2


def test_small_and_long_nests_keep_their_own_loops() -> None:
    tiny = fnp.ones((2, 2))
    assert not task_loops(lowered(two_products, tiny, tiny)[0])
    large = fnp.ones((512, 512))
    assert not task_loops(lowered(two_products, large, large)[0])


def test_at_most_so_many_nests_in_a_loop() -> None:
    def many(*xs: Any) -> list[Any]:
        return [x @ x for x in xs]

    routine, _, _ = lowered(many, *[A] * 20)
    loops = task_loops(routine)
    assert sum(map(branches, loops)) == 20 and max(map(branches, loops)) <= subject.NESTS


@pytest.mark.usefixtures("eager")
def test_temporaries_of_one_loop_live_at_the_same_time() -> None:
    def f(a: Any, b: Any) -> tuple[Any, Any]:
        x, y = fnp.sort(a @ b, axis=0), fnp.sort(b @ a, axis=0)
        return fnp.sort(x, axis=1) @ a, fnp.sort(y, axis=1) @ b

    routine, planned, _ = lowered(f, A, B)
    loops = task_loops(routine)
    assert loops
    sizes = {e.buffer.name: e.nbytes for e in planned.entries}
    for loop in loops:
        used = sorted((planned.offsets[n], sizes[n]) for n in reads((loop,)) | writes((loop,)) if n in sizes)
        assert all(a + n <= b for (a, n), (b, _) in itertools.pairwise(used)), used


@pytest.mark.usefixtures("eager")
def test_an_output_in_the_memory_of_an_input_is_that_input() -> None:
    """The update of `a` may not run beside the product that reads `a`."""

    def step(a: Any, b: Any) -> tuple[Any, Any]:
        return a - 0.5 * (a @ b), b - a.T @ a

    for donated in ((), (0,), (0, 1)):
        routine, _, reuse = lowered(step, A, B, donated=donated)
        over = {routine.outputs[k].name: routine.inputs[i].name for k, i in reuse.over.items()}
        for loop in task_loops(routine):
            nests = _nests(loop)
            for i, one in enumerate(nests):
                for other in nests[i + 1 :]:
                    wrote = {over.get(n, n) for n in writes(one)}
                    assert not wrote & {over.get(n, n) for n in reads(other) | writes(other)}
        f = fdl.jit(step, donate_argnums=donated)
        x, y = f(fnp.array(A, copy=True), fnp.array(B, copy=True))
        u, v = fdl.jit(step, backend="reference")(A, B)
        np.testing.assert_allclose(x, u, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(y, v, rtol=1e-4, atol=1e-4)


def _nests(loop: For) -> list[tuple[Any, ...]]:
    found, body = [], loop.body
    while len(body) == 1 and isinstance(body[0], If):
        found.append(body[0].then)
        body = body[0].orelse
    return [*found, body]


def test_the_same_bits_on_any_number_of_threads() -> None:
    def f(a: Any, b: Any, c: Any) -> Any:
        return [x @ x.T + fnp.tanh(x) for x in (a, b, c)]

    g = fdl.jit(f)
    assert task_loops(lowered(f, A, B, C)[0])
    before, found = fdl.get_num_threads(), []
    try:
        for n in (1, 2, 4):
            fdl.set_num_threads(n)
            found.append([np.asarray(x).tobytes() for _ in range(20) for x in g(A, B, C)])
    finally:
        fdl.set_num_threads(before)
    assert found[0] == found[1] == found[2] and len(set(found[0])) == 3


def test_what_may_fail_fails_as_without() -> None:
    def f(a: Any, i: Any, j: Any) -> Any:
        return fnp.exp(a)[i].sum(), fnp.sin(a)[j].sum()

    with pytest.raises(IndexOutOfBoundsError, match="70") as first:
        fdl.jit(f)(A, fnp.array([70]), fnp.array([80]))
    with pytest.raises(IndexOutOfBoundsError) as again:
        fdl.jit(f, backend="reference")(A, fnp.array([70]), fnp.array([80]))
    assert str(first.value) == str(again.value)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("first", range(500, 516, 4))
def test_random_programs_with_all_that_may_be_abreast(first: int) -> None:
    for seed in range(first, first + 4):
        check_case(seeded(seed))


def test_joining_is_linear_in_the_length_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def never(nests: Any, nest: Any) -> bool:
        nonlocal asked
        asked += 1
        return False

    monkeypatch.setattr(subject._Joining, "pays", staticmethod(never))
    monkeypatch.setattr(subject, "LEAST", 0.0)

    def questions(n: int) -> int:
        nonlocal asked
        asked = 0
        lowered(lambda *xs: [fnp.sort(x) for x in xs], *[np.arange(10.0 + k) for k in range(n)])
        return asked

    assert 0 < questions(200) < 4 * questions(100)

