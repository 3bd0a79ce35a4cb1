"""From a program to what an emitter takes: lower, fuse, schedule, plan.

The order is fixed by what each needs: fusion joins whole iterations, and so comes before the schedule, which gives the loops their
kinds; the plan needs the final statements, since fusion removes buffers and the schedule adds partial results.

May be imported by: the emitters' compilers, reports and tests.
"""

from __future__ import annotations

from typing import Literal

from fdl.tracer.ir import Program

from .check import check
from .fuse import fuse
from .ir import Routine
from .lower import lower
from .plan import Plan, plan
from .schedule import schedule

Target = Literal["cpu", "cuda"]


def pipeline(program: Program, target: Target = "cpu", *, checked: bool = False) -> tuple[Routine, Plan]:
    """The scheduled routine of `program` and the plan of its arena.

    Args:
        target: which schedule: "cpu" or "cuda".
        checked: verify the routine after every stage.

    Raises: LoweringError for what compiled code does not have.
    """
    routine, planned = stages(program, target, checked=checked)[-1], None
    planned = plan(routine)
    return routine, planned


def stages(program: Program, target: Target = "cpu", *, checked: bool = False) -> list[Routine]:
    """The routine after each stage: lowered, fused, scheduled."""
    lowered = lower(program, target)
    fused, _ = fuse(lowered, target)
    scheduled = schedule(fused, target)
    found = [lowered, fused, scheduled]
    if checked:
        for routine in found:
            check(routine)
    return found
