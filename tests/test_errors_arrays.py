"""What a user sees of a wrong program, whole, in every mode: shapes, values and indices."""

from __future__ import annotations

import pytest
import wrong_programs_indices
import wrong_programs_shapes
import wrong_programs_values
from wrong_programs import Wrong, cases, check

CASES = list(cases(wrong_programs_shapes, wrong_programs_values, wrong_programs_indices))


@pytest.mark.parametrize(("w", "mode"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_message(w: Wrong, mode: str) -> None:
    check(w, mode)
