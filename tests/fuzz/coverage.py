"""What a run of the fuzzer has covered: added up over programs, and printed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from fdl.tracer import dtypes
from fdl.tracer.ir import Program
from fdl.tracer.primitive import PRIMITIVES

from .checks import Findings
from .control import everything
from .entries import ENTRIES
from .programs import Case

WIDTH = 118
UNTRANSFORMED = frozenset({"custom_tangent"})
"""Primitives of which an equation only lives while a derivative is taken; collectives are another such family."""


@dataclass
class Coverage:
    """Counts over programs; `record` makes those of one."""

    programs: int = 0
    control: int = 0
    inexact: int = 0
    unsure: float = 0.0
    entries: Counter[str] = field(default_factory=Counter)
    primitives: Counter[str] = field(default_factory=Counter)
    dtypes: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    layouts: Counter[str] = field(default_factory=Counter)
    profiles: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def add(self, other: Coverage) -> None:
        for name, value in vars(other).items():
            if isinstance(value, Counter):
                getattr(self, name).update(value)
            else:
                setattr(self, name, getattr(self, name) + value)

    def as_json(self) -> dict[str, Any]:
        return {k: dict(v) if isinstance(v, Counter) else v for k, v in vars(self).items()}

    @staticmethod
    def of_json(data: dict[str, Any]) -> Coverage:
        def restored(name: str, value: Any) -> Any:
            if not isinstance(value, dict):
                return value
            return Counter({int(k) if name == "lengths" else k: n for k, n in value.items()})

        return Coverage(**{k: restored(k, v) for k, v in data.items()})

    def missing(self) -> tuple[list[str], list[str]]:
        """The primitives and the dtypes that no program had."""
        found = set(self.primitives) | set(self.entries)
        return sorted(set(PRIMITIVES) - found), sorted(set(dtypes.SHORT.values()) - set(self.dtypes))

    def report(self) -> str:
        """The coverage as a text of some lines."""
        n = max(self.programs, 1)
        primitives, kinds = self.missing()
        rarest = dict(sorted(((k, self.primitives[k] + self.entries[k]) for k in PRIMITIVES), key=lambda p: p[1])[:12])
        compared, elements = self.done["compared"], self.done["elements"]
        lines = [
            f"programs        {self.programs}; with control flow {100 * self.control / n:.0f} %",
            f"equations       {_histogram(self.lengths)}",
            f"primitives      {len(PRIMITIVES) - len(primitives)} of {len(PRIMITIVES)}{_without(primitives)}",
            f"rarest          {_counts(rarest)}",
            f"dtypes          {_counts(self.dtypes)}{_without(kinds)}",
            f"transforms      {_counts(self.steps)}",
            f"control         {_counts({k: v for k, v in self.entries.items() if ENTRIES[k].control})}",
            f"profiles        {_counts(self.profiles)}",
            f"layouts         {_counts(self.layouts)}",
            f"checks          {_counts({k: v for k, v in self.done.items() if k not in ('compared', 'elements')})}",
            f"derivatives     {elements} elements, {100 * compared / max(elements, 1):.1f} % compared with differences",
            f"unconstrained   {100 * self.unsure / max(self.inexact, 1):.1f} % of inexact elements, which rounding errors decide",
            f"no rule for     {_counts(self.refused)}",
        ]
        return "\n".join(_wrapped(line) for line in lines)


def record(case: Case, found: Findings | None, control: frozenset[str]) -> Coverage:
    """The coverage of one program."""
    c = Coverage(programs=1)
    c.control = int(any(name in control for name in case.entries))
    c.entries.update(case.entries)
    for p in [case.program, *([found.program] if found is not None and found.program is not None else [])]:
        c.primitives.update(e.primitive.name for e in everything(p))
        c.dtypes.update(_dtypes(p))
    c.lengths[len(case.program.equations)] += 1
    c.layouts.update(case.layouts)
    if case.profile is not None:
        kinds = [k for k in ("large", "wild", "outside") if getattr(case.profile, k)]
        c.profiles.update(kinds or ["ordinary"])
    if found is not None:
        c.steps.update(found.steps or ["none"])
        if len(found.steps) > 1:
            c.steps["nested"] += 1
        c.done.update(found.done)
        c.refused.update(found.refused)
        c.inexact, c.unsure = 1, found.unsure
    return c


def _dtypes(p: Program) -> set[str]:
    variables = [*p.inputs, *p.constants, *(v for e in everything(p) for v in e.outputs)]
    return {dtypes.SHORT[v.type.dtype] for v in variables}


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{k} {v}" for k, v in sorted(counts.items(), key=lambda p: (-p[1], p[0]))) or "none"


def _without(names: list[str]) -> str:
    return f"; not {', '.join(names)}" if names else ""


def _histogram(lengths: Counter[int]) -> str:
    bins = [(0, 4), (5, 9), (10, 14), (15, 19), (20, 29), (30, 40), (41, 10**6)]
    found = [(a, b, sum(v for k, v in lengths.items() if a <= k <= b)) for a, b in bins]
    return ", ".join(f"{a}-{b}: {v}" if b < 10**6 else f"more: {v}" for a, b, v in found if v)


def _wrapped(line: str) -> str:
    """`line` broken at commas, the further lines indented."""
    out, current = [], ""
    for part in line.split(", "):
        if current and len(current) + len(part) > WIDTH:
            out.append(current + ",")
            current = " " * 16 + part
        else:
            current = f"{current}, {part}" if current else part
    return "\n".join([*out, current])
