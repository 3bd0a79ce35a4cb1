"""From a program to what an emitter takes: complex values by their parts, lower, fuse, schedule, reuse, put abreast, plan.

The order is fixed by what each needs: fusion joins whole iterations, and so comes before the schedule, which gives the loops their
kinds; whether an output may take over a donated input is told by the order of statements, and small nests are put abreast after that;
the plan comes after all that moves statements, since fusion removes buffers, the schedule adds partial results, reuse drops copies, and
temporaries of nests that run together live together.

May be imported by: the emitters' compilers, reports and tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from fdl.tracer.ir import Program, Type
from fdl.tracer.passes.complex import real_program

from .abreast import abreast
from .check import check
from .fuse import fuse
from .ir import Routine
from .lower import lower
from .plan import Plan, plan
from .reuse import Reuse, reused
from .schedule import schedule

Target = Literal["cpu", "cuda"]


def pipeline(program: Program, target: Target = "cpu", *, checked: bool = False) -> tuple[Routine, Plan]:
    """The scheduled routine of `program` and the plan of its arena.

    Args:
        target: which schedule: "cpu" or "cuda".
        checked: verify the routine after every stage.

    Raises: LoweringError for what compiled code does not have.
    """
    routine, planned, _ = reusing(program, (), target, checked=checked)
    return routine, planned


def reusing(
    program: Program,
    donated: Sequence[int],
    target: Target = "cpu",
    *,
    types: tuple[Sequence[Type], Sequence[Type]] | None = None,
    checked: bool = False,
) -> tuple[Routine, Plan, Reuse]:
    """As `pipeline`, and which outputs take over the memory of which of the inputs `donated`, by number.

    Args:
        types: of the inputs and outputs, where complex ones are pairs of reals in `program` by now.
    """
    routine = stages(program, target, checked=checked)[-1]
    ins, outs = types or (program.in_types, program.out_types)
    arguments = zip((*routine.inputs, *routine.outputs), (*ins, *outs), strict=True)
    routine, reuse = reused(routine, donated, {b.name: (t.dtype, t.shape) for b, t in arguments})
    if target == "cpu":
        routine = abreast(routine, {routine.outputs[k].name: routine.inputs[i].name for k, i in reuse.over.items()})
    if checked:
        check(routine)
    return routine, plan(routine, reuse.notes), reuse


def stages(program: Program, target: Target = "cpu", *, checked: bool = False) -> list[Routine]:
    """The routine after each stage: lowered, fused, scheduled."""
    lowered = lower(real_program(program), target)
    fused, _ = fuse(lowered, target)
    scheduled = schedule(fused, target)
    found = [lowered, fused, scheduled]
    if checked:
        for routine in found:
            check(routine)
    return found
