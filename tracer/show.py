"""The text of a program: stable, and read back by `parse`.

    program main(a: f32[3], b: f32[3]; constants c: f32[100]) {
      d: f32[3] = mul a 2.0:f32
      e: f32[] = reduce_sum[axes=(0,)] d
      return e
    }

Variables are named a, b, ..., z, ba, ... in the order of their binding.  A `*` marks a weak type.  Sub-programs stand in braces
among the parameters.  Python functions are slots, `@name`, that `functions` fills.  Source lines and the values of constants
are left out; `show_program(p, sources=True)` adds the lines as comments.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

import numpy as np

from . import dtypes
from .ir import Atom, Equation, Literal, Program, Type, Variable
from .records import dataclass


def show_program(p: Program, sources: bool = False) -> str:
    """The text of a program; with `sources`, each equation is followed by the user's line."""
    return "\n".join(_program(p, "", _Style(sources)))


def functions(p: Program) -> dict[str, Any]:
    """What the slots `@name` in the text of `p` stand for, by name: what `parse(str(p), p.values, functions(p))` needs.

    Two functions of one name are told apart by a number: `@f`, `@f_1`.

    Example:
        >>> import fdl
        >>> p = fdl.make_ir(lambda x: fdl.pure_callback(abs, x, x))(1.0)
        >>> list(functions(p))
        ['abs']
    """
    style = _Style(False)
    _program(p, "", style)
    return {name: f for name, (f, _) in zip(style.names, style.slots.values(), strict=True)}


@dataclass(slots=True)
class _Style:
    """How a program is shown, and the names given to Python functions so far."""

    sources: bool
    slots: dict[Any, tuple[Any, str]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    def slot(self, f: Any) -> str:
        """The name of a function: its own, with a number where another one has it."""
        try:
            key: Any = (type(f), f)
            hash(key)
        except TypeError:
            key = id(f)
        if key not in self.slots:
            own = str(getattr(f, "name", None) or getattr(f, "__name__", type(f).__name__))
            found, n = own, 0
            while found in self.names:
                n += 1
                found = f"{own}_{n}"
            self.names.append(found)
            self.slots[key] = f, found
        return self.slots[key][1]


# What else the parser reads where a name may stand.
_WORDS = frozenset({"inf", "nan", "infj", "nanj", "true", "false", "return", "program", "constants"})


def name(i: int) -> str:
    """The i-th variable name: a, ..., z, ba, bb, ...; a word of the language gets an underscore."""
    letters = ""
    while True:
        i, r = divmod(i, 26)
        letters = chr(ord("a") + r) + letters
        if not i:
            return letters + "_" if letters in _WORDS else letters


def _program(p: Program, indent: str, style: _Style) -> list[str]:
    names: dict[Variable, str] = {}

    def bind(v: Variable) -> str:
        names[v] = name(len(names))
        return f"{names[v]}: {v.type}"

    inputs = ", ".join(bind(v) for v in p.inputs)
    constants = "; constants " + ", ".join(bind(v) for v in p.constants) if p.constants else ""
    lines = [f"program {p.name}({inputs}{constants}) {{"]
    for e in p.equations:
        lines += _equation(e, names, bind, indent + "  ", style)
    outs = " ".join(_atom(a, names) for a in p.outputs)
    return [*lines, f"{indent}  return {outs}".rstrip(), f"{indent}}}"]


def _equation(e: Equation, names: dict[Variable, str], bind: Any, indent: str, style: _Style) -> list[str]:
    inputs = "".join(" " + _atom(a, names) for a in e.inputs)
    params = ""
    if e.params:
        params = "[" + ", ".join(f"{k}={_param(v, indent + '  ', style)}" for k, v in sorted(e.params.items())) + "]"
    outs = ", ".join(bind(v) for v in e.outputs)
    comment = f"  # {e.source}" if style.sources and e.source else ""
    return f"{indent}{outs}{' ' if outs else ''}= {e.primitive.name}{params}{inputs}{comment}".split("\n")


def _atom(a: Atom, names: dict[Variable, str]) -> str:
    return names[a] if isinstance(a, Variable) else f"{_scalar(a)}:{dtypes.SHORT[a.type.dtype]}{'*' if a.type.weak else ''}"


def _scalar(a: Literal) -> str:
    v = a.value
    if v.dtype == dtypes.bool_:
        return "true" if v else "false"
    if v.dtype.kind in "iu":
        return str(int(v))
    if v.dtype in (dtypes.float32, dtypes.float64):
        return str(v[()])
    return repr(complex(v)).strip("()") if v.dtype.kind == "c" else repr(float(v))


def _param(v: Any, indent: str, style: _Style) -> str:
    match v:
        case Program():
            return "\n".join(_program(v, indent, style))
        case np.dtype():
            return dtypes.SHORT[v]
        case Type():
            return str(v)
        case tuple():
            return "(" + ", ".join(_param(x, indent, style) for x in v) + ("," if len(v) == 1 else "") + ")"
        case bool():
            return "true" if v else "false"
        case np.generic():
            return _param(v.item(), indent, style)
        case None | int() | float():
            return repr(v)
        case complex():
            return repr(v).strip("()")
        case str():
            return '"' + v.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case _:
            return "@" + style.slot(v)
