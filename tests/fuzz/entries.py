"""The whole table of entries: those of the families, and for every other primitive one made of its rows in `primitive_table`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where primitive_table is, when this runs as tests.fuzz

from primitive_cases import Case
from primitive_table import cases

from fdl.tracer import dtypes
from fdl.tracer.primitive import PRIMITIVES
from fdl.tracer.trace import bind

from . import arrays, control, elementwise, matrices  # noqa: F401 (each fills the table)
from .building import Builder, Rejected, Value
from .entry import ENTRIES, entry

SMALL = 1500


def _rows() -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for case in cases():
        found.setdefault(case.row.name, []).append(case)
    return found


ROWS = _rows()
"""Primitive → its cases in the table."""


def _from_row(b: Builder, name: str) -> list[Value]:
    """A primitive on operands of one of its rows, drawn as the row says: sometimes from the program's own values."""
    fitting = [k for k in ROWS[name] if all(_size(a.shape) <= SMALL for a in k.row.args)]
    case = b.c.pick(fitting)
    params = case.params()
    rng = b.c.rng()
    operands = []
    for a in case.row.args:
        dtype = dtypes.FROM_SHORT[a.dtype] if a.dtype else case.dtype
        value = a.draw(rng, a.shape, dtype)
        operands.append(b.new_input(value) if len(b.samples) < 6 else b.constant(value))
    if "special" in case.id and not b.profile.wild:
        raise Rejected("special values")
    return [b.tamed(v) for v in b.emit(lambda *xs: bind(PRIMITIVES[name], *xs, **params), *operands)]


def _size(shape: tuple[int, ...]) -> int:
    n = 1
    for k in shape:
        n *= k
    return n


for _name in PRIMITIVES:
    if _name not in ENTRIES and _name in ROWS:

        def _make(b: Builder, name: str = _name) -> list[Value]:
            return _from_row(b, name)

        ENTRIES[_name] = entry(_name, _make, weight=1, inner=False)

ULPS: dict[str, float] = {}
"""Primitive → how many ulp a backend may be from the reference, by the table; 0 means the same bits."""
for _name, _cases in ROWS.items():
    ULPS[_name] = max(c.row.ulps for c in _cases)
COMPLEX_ULPS: dict[str, float] = {}
"""The same for complex operands."""
for _name, _cases in ROWS.items():
    _ulps = [c.row.ulps for c in _cases if dtypes.is_complex(c.dtype)]
    COMPLEX_ULPS[_name] = max(_ulps, default=ULPS[_name])
    _ulps = [c.row.ulps for c in _cases if not dtypes.is_complex(c.dtype)]
    ULPS[_name] = max(_ulps, default=ULPS[_name])


def missing() -> list[str]:
    """Primitives that no entry reaches."""
    return sorted(set(PRIMITIVES) - set(ENTRIES))


__all__ = ["COMPLEX_ULPS", "ENTRIES", "ROWS", "ULPS", "missing"]
