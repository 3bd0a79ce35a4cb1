"""What is true of all errors: own lines, leaks, the first of several, and that nothing is left broken.

The messages themselves are in `wrong_programs_*.py`, which `test_errors_*.py` run.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import textwrap
import traceback
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import wrong_programs
import wrong_programs_calls
import wrong_programs_control
import wrong_programs_indices
import wrong_programs_leaks
import wrong_programs_library
import wrong_programs_shapes
import wrong_programs_tracers
import wrong_programs_transforms
import wrong_programs_values
from wrong_programs import Wrong, cases, check, unfolded, wrong

import fdl
import fdl.numpy as fnp
from fdl.tracer.errors import is_own, place_text, user_frame, user_place, user_source
from fdl.tracer.trace import is_evaluating

X = np.arange(6, dtype=np.float32).reshape(2, 3)
GOOD = {"w": fnp.ones((3, 2))}
PROGRAMS: list[Wrong] = []
FAMILIES = [
    wrong_programs_calls, wrong_programs_control, wrong_programs_indices, wrong_programs_leaks, wrong_programs_library,
    wrong_programs_shapes, wrong_programs_tracers, wrong_programs_transforms, wrong_programs_values,
]  # fmt: skip
leaks: list[Any] = []


def loss(params: Any, x: Any) -> Any:
    return (x @ params["w"]).sum()


# --- the table ------------------------------------------------------------------------------------


def test_the_table_is_large() -> None:
    programs = [w for family in FAMILIES for w in family.PROGRAMS]
    assert len(programs) >= 250
    assert len({(w.program.__module__, w.name) for w in programs}) == len(programs)
    assert sum(len(w.modes) for w in programs) >= 800


@pytest.mark.parametrize("w", [w for family in FAMILIES for w in family.PROGRAMS], ids=lambda w: w.name)
def test_each_message_is_complete(w: Wrong) -> None:
    """A message is sentences, then lines of places, of which the last is the user's line; and it holds nothing that a run changes."""
    text = w.expected(w.modes[0] if w.modes else "eager")
    first, *places = text.split("\n")
    assert re.match(r"[A-Z]\w+Error: ", first)
    assert not re.search(r" at 0x[0-9a-f]+|\bTracer<", text), "an address, or a tracer as Python prints it"
    if w.by_line:
        assert re.search(r"[.?:]$", first) or "positional argument" in first, (
            "a sentence ends with a full stop; Python's do not"
        )
        assert re.match(r"  at .*:\d+ \(\w+\)$", places[-1]), "the last line is the user's"
    for place in places:
        assert place.startswith("  ")


@wrong(X, np.ones(2, np.float32), good=(X, np.ones(3, np.float32)))
def a_message_that_is_not_so(x: Any, b: Any) -> Any:
    """ShapeError: add: shapes (2, 3) and (2,) do not broadcast.
    > at {here}
    """
    return x + b  #: here


@wrong(X, np.ones(3, np.float32), good=(X, np.ones(3, np.float32)))
def nothing_wrong(x: Any, b: Any) -> Any:
    """ShapeError: no such thing.
    > at {here}
    """
    return x + b  #: here


@wrong(X, np.ones(2, np.float32), good=(X, np.ones(2, np.float32)))
def wrong_when_right(x: Any, b: Any) -> Any:
    """ShapeError: add: shapes (2, 3) and (2,) do not broadcast: from the right, sizes must be equal or 1. Reshape one
    operand, or insert an axis with x[:, None].
    > at {here}
    """
    return x + b  #: here


@pytest.mark.parametrize(("name", "text"), [
    ("a_message_that_is_not_so", "do not broadcast: from the right"), ("nothing_wrong", "instead of an error"),
    ("wrong_when_right", "do not broadcast"),
])  # fmt: skip
def test_the_checks_can_fail(name: str, text: str) -> None:
    for case, w, mode in cases(sys.modules[__name__]):
        if case.startswith(name):
            with pytest.raises((AssertionError, ValueError), match=text):
                check(w, mode)


def test_folding() -> None:
    doc = """One: two
    three.
    > at four
    five
    > six
    """
    assert unfolded(doc) == "One: two three.\n  at four five\n  six"
    assert unfolded("One.") == "One."


def test_marked_lines() -> None:
    places = wrong_programs.marked_lines(a_message_that_is_not_so)
    assert list(places) == ["here"] and places["here"].endswith("(a_message_that_is_not_so)")


# --- the user's line ------------------------------------------------------------------------------


def line_of(f: Callable[..., Any], text: str) -> int:
    lines, start = inspect.getsourcelines(f)
    return start + next(i for i, line in enumerate(lines) if text in line)


def test_the_line_is_the_user_s_own() -> None:
    def model(x: Any) -> Any:
        y = fnp.sin(x)
        z = y @ fnp.ones((4, 4))  # the wrong line
        return z.sum()

    line = line_of(test_the_line_is_the_user_s_own, "# the wrong line")
    for f in (model, fdl.jit(model), fdl.grad(model), fdl.vmap(model), fdl.jit(fdl.vmap(fdl.grad(model)))):
        with pytest.raises(ValueError, match=rf"test_errors\.py:{line} \(model\)"):
            f(fnp.ones((2, 3)) if f is not model else X)


def test_the_leak_names_where_it_was_made() -> None:
    def f(x: Any) -> Any:
        leaks.append(fnp.exp(x))  # made here
        return x

    fdl.jit(f)(1.0)
    with pytest.raises(
        RuntimeError, match=rf"made at .*test_errors\.py:{line_of(test_the_leak_names_where_it_was_made, '# made here')}"
    ):
        leaks.pop() + 1.0


def test_a_place_is_the_line() -> None:
    def here() -> tuple[str, str]:
        return place_text(user_place()), user_source()

    place, line = here()
    assert place == line and "test_errors.py" in line and line.endswith("(here)")
    assert place_text("a text") == "a text" and place_text(None) == ""
    assert user_frame() is inspect.currentframe()


def test_frames_that_are_not_the_user_s() -> None:
    """Python's own library and code that dataclasses generate are passed over; a line that was typed is not."""

    def frame(filename: str, **names: Any) -> Any:
        return SimpleNamespace(f_code=SimpleNamespace(co_filename=filename), f_globals=names)

    assert is_own(frame(fnp.__file__)) and is_own(frame(inspect.__file__)) and is_own(frame("<frozen importlib._bootstrap>"))
    assert is_own(frame("<string>", __file__="model.py")) and not is_own(frame("<string>"))
    assert not is_own(frame(__file__)) and not is_own(frame(pytest.__file__)) and not is_own(frame("<stdin>"))


def test_a_call_with_other_arguments() -> None:
    """Python's message of a call that does not fit gets the line of the call; what a function raises inside stays as it is."""

    def takes_two(x: Any, y: Any) -> Any:
        return x + y

    def calls_it(x: Any) -> Any:
        return takes_two(x)  # its own mistake

    line = line_of(test_a_call_with_other_arguments, "# " + "called")
    for f in (fdl.jit(takes_two), fdl.grad(takes_two), fdl.vmap(takes_two)):
        with pytest.raises(TypeError, match=rf"missing 1 required positional argument: 'y'\n  at .*test_errors\.py:{line} "):
            f(X)  # called
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'y'$"):
        fdl.jit(calls_it)(X)


def test_the_traceback_ends_with_the_user_s_line() -> None:
    with pytest.raises(ValueError) as caught:
        fdl.jit(lambda x: fdl.grad(lambda v: (v @ v).sum())(x))(X)
    last = "".join(traceback.format_exception(caught.value)).rstrip().split("\n")[-1]
    assert re.match(r"  at .*test_errors\.py:\d+ \(<lambda>\)$", last)


# --- bad indices in compiled code -----------------------------------------------------------------


def lookup_rows(table: Any, indices: Any) -> Any:
    def step(total: Any, i: Any) -> Any:
        row = table[i]  # out of bounds
        return total + row.sum(), row

    return fdl.scan(step, 0.0, indices)


@pytest.fixture
def restore_threads() -> Any:
    before = fdl.get_num_threads()
    yield
    fdl.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2])
def test_index_error_in_a_compiled_loop(threads: int, restore_threads: Any) -> None:
    fdl.set_num_threads(threads)
    f = fdl.jit(lookup_rows)
    table = fnp.ones((5, 3))
    line = line_of(lookup_rows, "# out of bounds")
    for _ in range(3):
        with pytest.raises(IndexError) as e:
            f(table, np.array([0, 4, 9, 7], np.int32))
        assert "index 9" in str(e.value) and "axis 0" in str(e.value) and "size 5" in str(e.value)
        assert f"test_errors.py:{line} (step)" in str(e.value)
        assert float(f(table, np.array([0, 4, -1, 1], np.int32))[0]) == 12.0


@pytest.mark.parametrize("threads", [1, 2])
def test_index_error_in_a_parallel_kernel(threads: int, restore_threads: Any) -> None:
    """The error is that of the first bad element, whichever thread meets one first."""
    fdl.set_num_threads(threads)
    f = fdl.jit(lambda x, i: fnp.sqrt(x[i]) * 2)
    i = np.zeros(300_000, np.int32)
    i[[70_001, 150_000, 299_999]] = [11, 22, 33]
    for _ in range(5):
        with pytest.raises(IndexError, match=r"index 11 is out of bounds for axis 0 of size 10\b"):
            f(fnp.ones(10), i)
    assert f(fnp.ones(10), i * 0).shape == i.shape


def test_the_same_error_everywhere() -> None:
    indices = np.array([1, -6, 9], np.int32)
    messages = set()
    for run in (lookup_rows, fdl.jit(lookup_rows), fdl.jit(lookup_rows, backend="reference")):
        with pytest.raises(IndexError) as e:
            run(fnp.ones((5, 3)), indices)
        messages.add(str(e.value))
    line = f"{__file__}:{line_of(lookup_rows, '# out of bounds')} (step)"
    way = 'Correct it, or give x.at[index] a mode: "clip", "wrap", "fill" or "drop".'
    assert messages == {f"index -6 is out of bounds for axis 0 of size 5: expected -5 to 4. {way}\n  at {line}"}


def test_the_first_error_in_program_order() -> None:
    f = fdl.jit(lambda x, i, j: (x[i] + 1, x[j] * 2))
    for _ in range(2):
        with pytest.raises(IndexError, match="index 5 "):
            f(fnp.ones(3), 5, 6)
        with pytest.raises(IndexError, match="index 6 "):
            f(fnp.ones(3), 1, 6)


def test_donated_arrays_after_a_failure() -> None:
    f = fdl.jit(lambda x, i: x.at[i].set(0.0), donate_argnums=0)
    for _ in range(2):  # the first call, and one on the compiled path
        x = fnp.ones(3)
        with pytest.raises(IndexError):
            f(x, 5)
        assert x.is_deleted()
        with pytest.raises(RuntimeError, match="donated"):
            x.sum()
        assert f(fnp.ones(3), 1).tolist() == [1.0, 0.0, 1.0]


# --- nothing left broken --------------------------------------------------------------------------


def test_an_exception_of_the_user_s_own_passes_through() -> None:
    class Mine(Exception):
        pass

    def bad(x: Any) -> Any:
        raise Mine("mine")

    for f in (fdl.jit(bad), fdl.grad(bad), fdl.vmap(bad), fdl.jit(fdl.grad(fdl.jit(bad))), fdl.make_ir(bad),
              lambda x: fdl.scan(lambda c, v: bad(c), 0.0, x), lambda x: fdl.cond(True, bad, bad, x),
              lambda x: fdl.jvp(bad, (x,), (x,)), lambda x: fdl.jit(lambda v: fdl.pure_callback(bad, v, v))(x)):  # fmt: skip
        with pytest.raises(Mine, match="mine"):
            f(fnp.ones(3))
        assert is_evaluating()


def test_a_failed_trace_is_not_remembered() -> None:
    tries = []

    def flaky(x: Any) -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise KeyError("first")
        return x * 2

    f = fdl.jit(flaky)
    with pytest.raises(KeyError):
        f(2.0)
    assert float(f(2.0)) == 4.0


def test_arguments_nested_otherwise() -> None:
    f = fdl.jit(loss)
    f(GOOD, X)
    with pytest.raises(TypeError):
        f([fnp.ones((3, 2))], X)  # the function's own error: list indices must be integers
    with pytest.raises(KeyError):
        f({"v": fnp.ones((3, 2))}, X)
    assert float(f(GOOD, X)) == 30.0


# --- variables of the environment -----------------------------------------------------------------

THREADS = "import fdl; fdl.get_num_threads()"


@pytest.mark.parametrize(("code", "variable", "value", "message"), [
    (THREADS, "FDL_NUM_THREADS", "two", "ValueError: FDL_NUM_THREADS='two': expected a whole number from 1 to 4095, or unset it"),
    (THREADS, "FDL_NUM_THREADS", "0", "ValueError: FDL_NUM_THREADS='0': expected a whole number from 1 to 4095, or unset it"),
    (THREADS, "FDL_NUM_THREADS", "-1", "ValueError: FDL_NUM_THREADS='-1': expected a whole number from 1 to 4095, or unset it"),
    ("import fdl", "FDL_BACKEND", "cuda", "ValueError: FDL_BACKEND='cuda': expected one of llvm, reference, or unset it"),
    ("import fdl", "FDL_DEBUG_MEMORY", "yes", "ValueError: FDL_DEBUG_MEMORY='yes': expected one of 0, 1, or unset it"),
    ("import fdl", "FDL_LOG_COMPILES", "yes", "ValueError: FDL_LOG_COMPILES='yes': expected one of never, once, always, or unset it"),
])  # fmt: skip
def test_garbage_in_the_environment(code: str, variable: str, value: str, message: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env={**os.environ, variable: value}, capture_output=True, text=True,
        cwd=os.path.dirname(os.path.dirname(os.path.abspath(__file__))), check=False,
    )  # fmt: skip
    assert run.returncode == 1 and run.stderr.rstrip().split("\n")[-1] == message
