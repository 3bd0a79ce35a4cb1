"""The examples of the documentation run: docstrings, and the Python blocks of README and docs/."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import fdl

ROOT = Path(__file__).resolve().parents[1]


def modules() -> Iterator[str]:
    for info in pkgutil.walk_packages(fdl.__path__, "fdl."):
        if not info.name.startswith("fdl.backends.cuda"):  # its examples need numba's simulator
            yield info.name


@pytest.mark.parametrize("name", sorted(modules()))
def test_docstring_examples(name: str) -> None:
    module: ModuleType = importlib.import_module(name)
    results = doctest.testmod(module, verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert results.failed == 0


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda p: p.name)
def test_python_blocks_of_a_page(page: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    for block in blocks:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(block, page.name, "exec"), {})  # a path could have the words that a page looks for
