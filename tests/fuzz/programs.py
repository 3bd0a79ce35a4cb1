"""Random programs: `generate(choices)`, and the Hypothesis strategy `programs()`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from fdl.tracer.ir import Program

from .building import Builder, Value
from .choices import Choices, Drawn, Seeded
from .control import everything
from .entries import ENTRIES
from .growing import _is_input, grow
from .transforms import Step, draw_steps
from .values import LAYOUTS, Array, Profile, draw_dtype, draw_profile, draw_shape, draw_value


@dataclass(frozen=True, slots=True)
class Case:
    """A program with its inputs, and how it is to be run.

    Attributes:
        steps: the transforms on top of it, the innermost first.
        layouts: of the inputs, where the compiled function is called.
        seed: decides everything else: what is checked, directions, and the like.
    """

    program: Program
    inputs: tuple[Array, ...]
    steps: tuple[Step, ...] = ()
    layouts: tuple[str, ...] = ()
    seed: int = 0
    profile: Profile | None = None
    entries: tuple[str, ...] = field(default=(), compare=False)

    @property
    def equations(self) -> list[Any]:
        """All equations, those of sub-programs included."""
        return everything(self.program)


def generate(c: Choices) -> Case:
    """A program of 5 to 40 equations, about 30 % of them with control flow."""
    profile = draw_profile(c)
    b = Builder(c, profile)
    for _ in range(c.integer(1, 3)):
        b.new_input(draw_value(c, profile, draw_shape(c, profile), draw_dtype(c, profile)))
    control = not profile.large and c.chance(33)
    size = c.weighted([(c.integer(5, 9), 40), (c.integer(8, 16), 40), (c.integer(16, 40), 20)])
    while True:
        grow(b, size, control)
        if b.broken or not control or any(ENTRIES[n].control for n in b.used) or len(b.trace.equations) >= 40:
            break
        size += 1
    program, _ = b.finish(_outputs(b))
    layouts = tuple(c.weighted([(k, 6 if k == "dense" else 1) for k in LAYOUTS]) for _ in b.samples)
    steps = draw_steps(c, program, b.samples)
    return Case(program, tuple(b.samples), steps, layouts, c.integer(0, 2**31 - 1), profile, tuple(b.used))


def _outputs(b: Builder) -> list[Value]:
    """Up to four values, so that most of the program is needed: those that nothing reads come first."""
    read = {a for e in b.trace.equations for a in e.inputs}
    made = [v for v in b.pool if not _is_input(b, v) and hasattr(v.tracer, "variable")]
    loose = [v for v in made if v.tracer.variable not in read]
    outs = loose[-6:] or made[-1:] or b.pool[-1:]
    if made and b.c.chance(30):
        outs = [*outs, b.c.pick(made)]
    outs = outs + [Value(x, None) for x in b.broken]  # type: ignore[arg-type]
    return outs


def seeded(seed: int) -> Case:
    """The program of a seed."""
    return generate(Seeded(seed))


@st.composite
def programs(draw: Any) -> Case:
    """Hypothesis strategy: random programs with their inputs."""
    return generate(Drawn(draw))
