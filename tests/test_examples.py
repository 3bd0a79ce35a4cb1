"""The demo on a little of the data: each model trains by its compiled step, and leaves its pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import demo
from fdl import data


@pytest.mark.parametrize("name", ["mlp", "cnn", "vae"])
def test_a_short_run_learns_and_draws(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = data.mnist()
    train, test = (type(part)(part.images[:1024], part.labels[:1024]) for part in (whole.train, whole.test))
    result = demo.solve(demo.tasks()[name], type(whole)(train, test), 0, 1, tmp_path, True)
    losses = result.history.steps["loss"]
    assert losses[-1] < losses[0]
    assert result.files and all(f.stat().st_size > 1000 for f in result.files)
    assert "arena:" in capsys.readouterr().out
