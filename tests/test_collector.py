"""The garbage collector while programs are compiled: held back, and as it was afterwards."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

import fdl
import fdl.numpy as fnp
from fdl.backends import collector


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.enable()
    gc.set_threshold(*before)


def may_begin() -> bool:
    return gc.isenabled() and gc.get_threshold()[0] > 0


def test_nothing_is_collected_inside() -> None:
    runs: list[str] = []
    count = lambda phase, info: runs.append(phase)  # noqa: E731
    gc.callbacks.append(count)
    try:
        with collector.paused():
            made = [[] for _ in range(20_000)]
            assert not runs
        made += [[] for _ in range(20_000)]
        assert runs
    finally:
        gc.callbacks.remove(count)


@pytest.mark.skipif(not hasattr(gc, "freeze"), reason="a collector without generations")
def test_what_was_made_inside_is_old_afterwards() -> None:
    with collector.paused():
        made = [[] for _ in range(20_000)]
    inside = {id(x) for x in made}
    assert not any(id(x) in inside for x in gc.get_objects(0))
    assert sum(id(x) in inside for x in gc.get_objects(2)) == len(made)
    assert gc.get_count()[0] < 700
    loop: list[object] = []
    loop.append(loop)
    with collector.paused():
        del loop, made
    assert gc.collect() > 0, "what is garbage is found by the next full collection"


@pytest.mark.skipif(not hasattr(gc, "freeze"), reason="a collector without generations")
def test_what_is_frozen_stays_frozen() -> None:
    gc.freeze()
    try:
        count = gc.get_freeze_count()
        with collector.paused():
            made = [[] for _ in range(1000)]
        assert gc.get_freeze_count() == count and len(made) == 1000
    finally:
        gc.unfreeze()


def test_it_goes_on_afterwards() -> None:
    with collector.paused():
        assert not may_begin()
        with collector.paused():
            assert not may_begin()
        assert not may_begin()
    assert gc.get_threshold() == (700, 10, 10)


def test_after_an_error_too() -> None:
    with pytest.raises(ZeroDivisionError), collector.paused():
        1 / 0  # noqa: B018
    assert gc.get_threshold() == (700, 10, 10)


def test_what_is_off_stays_off() -> None:
    gc.disable()
    with collector.paused():
        assert not may_begin()
    assert not gc.isenabled()
    gc.set_threshold(0)
    with collector.paused():
        assert not may_begin()
    assert gc.get_threshold()[0] == 0


def test_what_another_thread_sets_meanwhile_stays() -> None:
    with collector.paused():
        gc.disable()
    assert not gc.isenabled()
    gc.enable()
    with collector.paused():
        gc.set_threshold(50, 5, 5)
    assert gc.get_threshold() == (50, 5, 5)


def test_compiling_pauses_it_and_tracing_does_not() -> None:
    seen: list[bool] = []

    def f(x: fdl.Array) -> fdl.Array:
        seen.append(may_begin())
        return fnp.sin(x) * 3.25 + 1.0

    assert float(fdl.jit(f)(0.0)) == 1.0
    assert seen == [True]
    assert may_begin()
