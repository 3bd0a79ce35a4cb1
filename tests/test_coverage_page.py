"""docs/coverage.md is what the code gives, and says of each missing name why."""

from __future__ import annotations

import pytest

import fdl
from tests import coverage_names, coverage_page
from tests.coverage_page import Namespace, namespaces, page, reasons

SPACES = {space.name: space for space in namespaces()}


def test_the_page_is_up_to_date() -> None:
    assert coverage_page.PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.coverage_page --write"


@pytest.mark.parametrize("name", SPACES)
def test_every_missing_name_has_a_reason(name: str) -> None:
    space = SPACES[name]
    given = [n for names in reasons(space).values() for n in names]
    assert sorted(given) == sorted(space.missing)
    assert len(given) == len(set(given)), "a name with two reasons"
    assert all(text.strip() for text in reasons(space))


def test_all_of_the_standard_is_there() -> None:
    for name, space in SPACES.items():
        if name.startswith("array API"):
            assert space.missing == (), name


@pytest.mark.parametrize(
    ("family", "share"), [("jax.numpy", 0.95), ("jax.scipy", 0.95), ("jax.random", 0.95), ("jax.lax", 0.88), ("jax.nn", 0.9)]
)
def test_most_of_jax_is_there(family: str, share: float) -> None:
    spaces = [space for name, space in SPACES.items() if name.startswith(family)]
    assert sum(len(s.present) for s in spaces) >= share * sum(len(s.names) for s in spaces)


def test_a_name_that_is_there_may_not_be_called_missing() -> None:
    space = SPACES["jax.numpy"]
    more = Namespace(space.name, space.names, space.home, (*space.present, space.missing[0]))
    with pytest.raises(LookupError, match=rf"says why fdl lacks {space.missing[0]}, which is there"):
        reasons(more)


def test_a_name_that_is_missing_needs_a_reason() -> None:
    space = SPACES["jax.numpy"]
    less = Namespace(space.name, space.names, space.home, tuple(n for n in space.present if n != "sin"))
    with pytest.raises(LookupError, match=r"no reason is given in tests/coverage_names\.py for sin, which fdl lacks"):
        reasons(less)


def test_a_module_is_not_the_function_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fdl.numpy, "sin", fdl.numpy.linalg)
    assert "sin" in {space.name: space for space in namespaces()}["jax.numpy"].missing


def test_notes_and_reasons_are_of_namespaces_and_names_that_there_are() -> None:
    assert set(coverage_names.REASONS) <= set(SPACES) and set(coverage_names.NOTES) <= set(SPACES)
    for name, notes in coverage_names.NOTES.items():
        for names in notes:
            assert set(names.split()) <= set(SPACES[name].present), name


def test_the_lists_are_whole() -> None:
    assert len(SPACES["jax.numpy"].names) > 400 and {"einsum", "float32", "pi"} <= set(SPACES["jax.numpy"].names)
    assert {"gather", "scan", "psum"} <= set(SPACES["jax.lax"].names) and not any(
        n.endswith("_p") for n in SPACES["jax.lax"].names
    )
    assert {"logpdf", "cdf"} <= set(SPACES["jax.scipy.stats.norm"].names)
    for space in SPACES.values():
        assert len(set(space.names)) == len(space.names), space.name
