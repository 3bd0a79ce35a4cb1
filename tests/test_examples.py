"""The demo on a little of the data: each model trains by its compiled step, and leaves its pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import demo
from fdl import data


@pytest.mark.parametrize("name", ["mlp", "cnn", "vae"])
def test_a_short_run_learns_and_draws(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    whole = data.mnist()
    # Like the whole test set, 1000 images are a whole number of batches.
    train, test = (type(part)(part.images[:n], part.labels[:n]) for part, n in ((whole.train, 1024), (whole.test, 1000)))
    result = demo.solve(demo.tasks()[name], type(whole)(train, test), 0, 1, tmp_path, True)
    losses = result.history.steps["loss"]
    assert losses[-1] < losses[0]
    assert result.files and all(f.stat().st_size > 1000 for f in result.files)
    assert "arena:" in capsys.readouterr().out
    assert not [r.getMessage() for r in caplog.records if r.name == "fdl.jit"]  # each function is compiled once
