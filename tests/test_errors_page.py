"""docs/errors.md shows what its examples print."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "errors.md"
EXAMPLES = re.findall(
    r"^## (\d+)\..*?```python\n(.*?)```\n\n```text\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
)


def test_there_are_ten() -> None:
    assert [int(number) for number, _, _ in EXAMPLES] == list(range(1, 11))


@pytest.mark.parametrize(("code", "text"), [example[1:] for example in EXAMPLES], ids=[f"example {e[0]}" for e in EXAMPLES])
def test_what_an_example_prints(code: str, text: str) -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, str(PAGE), "exec"), {})
    shown = printed.getvalue().replace(str(PAGE), PAGE.name)
    assert shown.split() == text.split()  # the page folds long lines
