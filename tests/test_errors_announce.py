"""What jit tells of compilations that cost time without need: whole lines, once, and silenced by a setting."""

from __future__ import annotations

import inspect
import logging
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
    assert lines() == [f"INFO jit(step) is compiled a second time: x has shape (2, 3), before (4, 3). At {here()}"]
    f(PARAMS, X[:3])
    f(PARAMS, X)
    assert lines() == []  # said once


def test_a_dtype_deep_in_a_tree(lines: Lines) -> None:
    f = fdl.jit(total(0.12))
    f(PARAMS, X)
    f({**PARAMS, "w": PARAMS["w"].astype("bfloat16")}, X)
    line = "INFO jit(step) is compiled a second time: params['w'] has dtype bfloat16, before float32."
    assert lines() == [f"{line} At {here(-2)}"]


def test_two_changes(lines: Lines) -> None:
    f = fdl.jit(total(0.13))
    f(PARAMS, X)
    f({**PARAMS, "w": fnp.ones((5, 2))}, fnp.ones((4, 5)))
    line = "INFO jit(step) is compiled a second time: params['w'] has shape (5, 2), before (3, 2); x has shape (4, 5), before (4, 3)."
    assert lines() == [f"{line} At {here(-2)}"]


def test_an_argument_nested_differently(lines: Lines) -> None:
    f = fdl.jit(total(0.14))
    f(PARAMS, X)
    f({**PARAMS, "b": [fnp.ones(2)] * 2}, X)
    line = "INFO jit(step) is compiled a second time: params is nested differently"
    assert lines() == [f"{line} (params['b']: before a list of 1, now a list of 2). At {here(-2)}"]
    f({**PARAMS, "b": (fnp.ones(2), fnp.ones(2))}, X)
    assert lines() == []  # it traces to a program that is compiled already


def test_a_static_argument(lines: Lines) -> None:
    f = fdl.jit(total(0.15), static_argnames="n")
    f(PARAMS, X, n=2)
    f(PARAMS, X, n=3)
    assert lines() == [f"INFO jit(step) is compiled a second time: the static argument n is 3, before 2. At {here()}"]


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
