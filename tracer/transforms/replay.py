"""Programs that compute values again, where a transform has to: without what may happen only once.

May be imported by: transforms that run a program a second time.
"""

from __future__ import annotations

from ..effects import may_repeat
from ..errors import MissingRuleError, at
from ..ir import Atom, Equation, Program, Variable, map_subprograms


def replayed(program: Program, what: str) -> Program:
    """`program` without the calls that may run only once, whose results nothing needs: prints, of which there would be twice as many.

        callback[effect="unordered_io", ...] x        →
        y = sin x                                         y = sin x

    Args:
        what: names the transform in the error.

    Raises: MissingRuleError for such a call whose results are needed, at the user's line.
    """
    if may_repeat(program.effects):
        return program

    def make() -> Program:
        needed = {a for a in program.outputs if isinstance(a, Variable)}
        kept: list[Equation] = []
        for e in reversed(program.equations):
            if not may_repeat(e.effects):
                e = e.replace(params=map_subprograms(e.params, lambda p: replayed(p, what)))
            if not may_repeat(e.effects):
                if any(v in needed for v in e.outputs):
                    raise MissingRuleError(
                        f"{what} computes the loop again, but {e.params.get('name', e.primitive.name)} may be called only once, and "
                        f"its results are needed. Use fdl.jvp, which runs the loop once, or fdl.scan.{at(e.source)}"
                    )
                continue
            needed.update(a for a in e.inputs if isinstance(a, Variable))
            kept.append(e)
        outputs: tuple[Atom, ...] = program.outputs
        return Program(program.inputs, tuple(reversed(kept)), outputs, program.constants, program.values, program.name)

    result: Program = program.cached(("replayed", what), make)
    return result
