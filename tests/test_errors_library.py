"""What a user sees of a wrong program, whole, in every mode: random keys, layers, losses, optimizers, data, files and settings."""

from __future__ import annotations

import pytest
import wrong_programs_library
from wrong_programs import Wrong, cases, check

CASES = list(cases(wrong_programs_library))


@pytest.mark.parametrize(("w", "mode"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_message(w: Wrong, mode: str) -> None:
    check(w, mode)
