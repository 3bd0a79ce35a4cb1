"""The garbage collector while programs are compiled: held back, and as it was afterwards."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

import fdl
import fdl.numpy as fnp
from fdl.backends import collector


@pytest.fixture(autouse=True)
def switched_on() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


def test_it_goes_on_afterwards() -> None:
    with collector.paused():
        assert not gc.isenabled()
        with collector.paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_after_an_error_too() -> None:
    with pytest.raises(ZeroDivisionError), collector.paused():
        1 / 0  # noqa: B018
    assert gc.isenabled()


def test_what_is_off_stays_off() -> None:
    gc.disable()
    with collector.paused():
        assert not gc.isenabled()
    assert not gc.isenabled()


def test_compiling_pauses_it_and_tracing_does_not() -> None:
    seen: list[bool] = []

    def f(x: fdl.Array) -> fdl.Array:
        seen.append(gc.isenabled())
        return fnp.sin(x) * 3.25 + 1.0

    assert float(fdl.jit(f)(0.0)) == 1.0
    assert seen == [True]
    assert gc.isenabled()
