"""What a user sees of a wrong program, whole, in every mode: values that are not known or outlive their trace, and control flow."""

from __future__ import annotations

import pytest
import wrong_programs_control
import wrong_programs_leaks
import wrong_programs_tracers
from wrong_programs import Wrong, cases, check

CASES = list(cases(wrong_programs_tracers, wrong_programs_leaks, wrong_programs_control))


@pytest.mark.parametrize(("w", "mode"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_message(w: Wrong, mode: str) -> None:
    check(w, mode)
