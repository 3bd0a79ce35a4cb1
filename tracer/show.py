"""The text of a program: stable, and read back by `parse`.

    program main(a: f32[3], b: f32[3]; constants c: f32[100]) {
      d: f32[3] = mul a 2.0:f32
      e: f32[] = reduce_sum[axes=(0,)] d
      return e
    }

Variables are named a, b, ..., z, ba, ... in the order of their binding.  A `*` marks a weak type.  Sub-programs stand in braces
among the parameters.  Source lines and the values of constants are left out; `show_program(p, sources=True)` adds the lines as comments.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import dtypes
from .ir import Atom, Equation, Literal, Program, Type, Variable


def show_program(p: Program, sources: bool = False) -> str:
    """The text of a program; with `sources`, each equation is followed by the user's line."""
    return "\n".join(_program(p, "", sources))


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


def _program(p: Program, indent: str, sources: bool) -> list[str]:
    names: dict[Variable, str] = {}

    def bind(v: Variable) -> str:
        names[v] = name(len(names))
        return f"{names[v]}: {v.type}"

    inputs = ", ".join(bind(v) for v in p.inputs)
    constants = "; constants " + ", ".join(bind(v) for v in p.constants) if p.constants else ""
    lines = [f"program {p.name}({inputs}{constants}) {{"]
    for e in p.equations:
        lines += _equation(e, names, bind, indent + "  ", sources)
    outs = " ".join(_atom(a, names) for a in p.outputs)
    return [*lines, f"{indent}  return {outs}".rstrip(), f"{indent}}}"]


def _equation(e: Equation, names: dict[Variable, str], bind: Any, indent: str, sources: bool) -> list[str]:
    inputs = "".join(" " + _atom(a, names) for a in e.inputs)
    params = ""
    if e.params:
        params = "[" + ", ".join(f"{k}={_param(v, indent + '  ', sources)}" for k, v in sorted(e.params.items())) + "]"
    outs = ", ".join(bind(v) for v in e.outputs)
    comment = f"  # {e.source}" if sources and e.source else ""
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


def _param(v: Any, indent: str, sources: bool) -> str:
    match v:
        case Program():
            return "\n".join(_program(v, indent, sources))
        case np.dtype():
            return dtypes.SHORT[v]
        case Type():
            return str(v)
        case tuple():
            return "(" + ", ".join(_param(x, indent, sources) for x in v) + ("," if len(v) == 1 else "") + ")"
        case bool():
            return "true" if v else "false"
        case np.generic():
            return _param(v.item(), indent, sources)
        case None | int() | float():
            return repr(v)
        case str():
            return '"' + v.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case _:
            return f"@{getattr(v, 'name', None) or getattr(v, '__name__', type(v).__name__)}"
