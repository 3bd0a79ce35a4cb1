"""What jit tells of compilations that cost time without need: whole lines, once, and silenced by a setting."""

from __future__ import annotations

import enum
import inspect
import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fdl
import fdl.numpy as fnp
from fdl.transforms import announce

Lines = Callable[[], list[str]]


@pytest.fixture(autouse=True)
def no_copies() -> None:
    """Functions of other tests that were made anew are forgotten."""
    announce._copies.clear()


def script(text: str, **env: str) -> str:
    """What a program prints to stderr, run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)], env=os.environ | env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Lines]:
    """What fdl.jit has logged since the last time this was asked, as "LEVEL text"."""
    caplog.set_level(logging.INFO, logger="fdl.jit")

    def take() -> list[str]:
        found = [f"{r.levelname} {r.getMessage()}" for r in caplog.records if r.name == "fdl.jit"]
        caplog.clear()
        return found

    yield take


def here(offset: int = -1) -> str:
    """The caller's line, or one so many lines before it, as messages write it."""
    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    return f"{__file__}:{frame.f_back.f_lineno + offset} ({frame.f_back.f_code.co_name})"


def total(factor: float) -> Callable[..., Any]:
    """A function that no other test has compiled."""

    def step(params: Any, x: Any, n: int = 1) -> Any:
        return (x @ params["w"] + sum(params["b"])).sum() * (factor * n)

    return step


PARAMS = {"w": fnp.ones((3, 2)), "b": [fnp.ones(2)]}
X = fnp.ones((4, 3))


def test_a_shape(lines: Lines) -> None:
    f = fdl.jit(total(0.11))
    f(PARAMS, X)
    assert lines() == []
    f(PARAMS, X[:2])
    assert lines() == [f"WARNING jit(step) is compiled a second time: x has shape (2, 3), before (4, 3). At {here()}"]
    f(PARAMS, X[:3])
    f(PARAMS, X)
    assert lines() == []  # said once


def test_a_dtype_deep_in_a_tree(lines: Lines) -> None:
    f = fdl.jit(total(0.12))
    f(PARAMS, X)
    f({**PARAMS, "w": PARAMS["w"].astype("bfloat16")}, X)
    line = "WARNING jit(step) is compiled a second time: params['w'] has dtype bfloat16, before float32."
    assert lines() == [f"{line} At {here(-2)}"]


def test_each_cause_is_said_once(lines: Lines) -> None:
    f = fdl.jit(total(0.22))
    f(PARAMS, X)
    f(PARAMS, X[:2])
    f(PARAMS, X[:3])
    f({**PARAMS, "w": PARAMS["w"].astype("float16")}, X)
    f({**PARAMS, "w": PARAMS["w"].astype("bfloat16")}, X)
    f({**PARAMS, "w": fnp.ones((3, 7)), "b": [fnp.ones(7)]}, X)
    line = "WARNING jit(step) is compiled"
    assert lines() == [
        f"{line} a second time: x has shape (2, 3), before (4, 3). At {here(-7)}",
        f"{line} for the 4th time: params['w'] has dtype float16, before float32. At {here(-6)}",
        f"{line} for the 6th time: params['b'][0] has shape (7,), before (2,); params['w'] has shape (3, 7), before (3, 2). "
        f"At {here(-6)}",
    ]


def test_two_changes(lines: Lines) -> None:
    f = fdl.jit(total(0.13))
    f(PARAMS, X)
    f({**PARAMS, "w": fnp.ones((5, 2))}, fnp.ones((4, 5)))
    line = "WARNING jit(step) is compiled a second time: params['w'] has shape (5, 2), before (3, 2); x has shape (4, 5), before (4, 3)."
    assert lines() == [f"{line} At {here(-2)}"]


def test_an_argument_nested_differently(lines: Lines) -> None:
    f = fdl.jit(total(0.14))
    f(PARAMS, X)
    f({**PARAMS, "b": [fnp.ones(2)] * 2}, X)
    line = "WARNING jit(step) is compiled a second time: params is nested differently"
    assert lines() == [f"{line} (params['b']: before a list of 1, now a list of 2). At {here(-2)}"]
    f({**PARAMS, "b": (fnp.ones(2), fnp.ones(2))}, X)
    assert lines() == []  # it traces to a program that is compiled already


def test_a_static_argument(lines: Lines) -> None:
    f = fdl.jit(total(0.15), static_argnames="n")
    f(PARAMS, X, n=2)
    f(PARAMS, X, n=3)
    assert lines() == [f"WARNING jit(step) is compiled a second time: the static argument n is 3, before 2. At {here()}"]


class Flavour(enum.Enum):
    SWEET = 1
    SOUR = 2


MODES: list[tuple[Any, Any]] = [(True, False), ("relu", "tanh"), (None, True), (Flavour.SWEET, Flavour.SOUR)]


@pytest.mark.parametrize("values", MODES)
def test_a_static_argument_that_chooses_a_mode_is_told_at_info(values: tuple[Any, Any], lines: Lines) -> None:
    factors = {repr(v): 0.231 + MODES.index(values) + 0.17 * k for k, v in enumerate(values)}  # no other test's program
    f = fdl.jit(lambda x, mode: x * factors[repr(mode)], static_argnames="mode")
    for mode in values:
        f(X, mode)
    assert lines() == [
        f"INFO jit(<lambda>) is compiled a second time: the static argument mode is {values[1]!r}, before {values[0]!r}. At {here(-2)}"
    ]
    f(X[:2], values[0])  # another cause
    assert lines() == [f"WARNING jit(<lambda>) is compiled for the 3rd time: x has shape (2, 3), before (4, 3). At {here()}"]


AGAIN = """
    import logging
    import fdl, fdl.numpy as fnp
    {setting}
    f = fdl.jit(lambda x, train: x * 2 if train else x, static_argnames="train", backend="reference")
    for n in (4, 4, 3, 2):
        for train in (True, False):
            f(fnp.ones(n), train)
"""


def test_it_is_seen_without_any_setting() -> None:
    """Python prints it to stderr: one line, the argument that changed in it."""
    (line,) = script(AGAIN.format(setting="")).splitlines()
    assert line == "jit(<lambda>) is compiled for the 3rd time: x has shape (3,), before (4,). At <string>:8 (<module>)"


@pytest.mark.parametrize(
    "setting",
    ['fdl.config.log_compiles = "never"', 'logging.getLogger("fdl.jit").setLevel("ERROR")', 'logging.getLogger("fdl").setLevel("ERROR")'],
)
def test_the_ways_to_silence_it(setting: str) -> None:
    assert script(AGAIN.format(setting=setting)) == ""


def test_the_variable_that_silences_it() -> None:
    assert script(AGAIN.format(setting=""), FDL_LOG_COMPILES="never") == ""


def test_many_compilations_are_a_warning(lines: Lines) -> None:
    f = fdl.jit(total(0.16), backend="reference")
    for n in range(1, 10):
        f(PARAMS, fnp.ones((n, 3)))
    way = "pad it to a few sizes, or leave a smaller last batch out."
    assert lines()[1:] == [
        f"WARNING jit(step) has been compiled 9 times, 8 of them because of the shape of x (now (9, 3)): {way} At {here(-3)}"
    ]
    f(PARAMS, fnp.ones((10, 3)))
    assert lines() == []


def test_wide_numpy_data_are_named_once(lines: Lines) -> None:
    def step(w: Any, data: Any) -> Any:
        return (data["x"] * w).sum() * 0.17

    f = fdl.jit(step)
    for n in (2, 3):
        f(fnp.ones(2), {"x": np.ones((n, 2))})
    first = lines()[0]
    assert first == (
        "WARNING jit(step): data['x'] is a NumPy array of float64, which makes float32 values float64 at "
        f"{here(-8).replace('test_wide_numpy_data_are_named_once', 'step')}: the computation goes on in float64. Pass "
        "data['x'].astype('float32') to stay in float32."
    )
    assert not [line for line in lines() if "float64" in line]


@pytest.mark.parametrize("setting", ["never", False])
def test_silenced(setting: Any, lines: Lines) -> None:
    with fdl.config.using(log_compiles=setting):
        f = fdl.jit(total(0.18), backend="reference")
        for n in range(1, 12):
            f(PARAMS, np.ones((n, 3)))
    assert lines() == []


def test_every_compilation(lines: Lines) -> None:
    with fdl.config.using(log_compiles=True):
        f = fdl.jit(total(0.19), backend="reference")
        f(PARAMS, X)
        f(PARAMS, X[:2])
    first, second = lines()
    assert first.startswith("WARNING jit(step) is compiled for the 1st time, in ") and "before" not in first
    assert second.startswith("WARNING jit(step) is compiled for the 2nd time, in ")
    assert ": x has shape (2, 3), before (4, 3). At " in second


def test_a_failure_announces_nothing(lines: Lines) -> None:
    f = fdl.jit(total(0.21))
    f(PARAMS, X)
    for _ in range(2):
        with pytest.raises(ValueError, match="matmul"):
            f(PARAMS, fnp.ones((4, 5)))
        with pytest.raises(KeyError):
            f({}, X)
    assert lines() == []
    assert float(f(PARAMS, X)) == pytest.approx(32 * 0.21)
