"""The text of a routine: stable, for reading, golden tests and error messages.

::

    routine rowsum
      input x: f32[4, 8]
      output y: f32[4]
    do
      parallel i < 4
        serial k < 8 carry s = 0.0:f32 (add)
          next s = s + x[i, k]
        end -> t
        y[i] = t
      end

Index constants are plain numbers; other constants carry their dtype.  `/` truncates and `%` has the dividend's sign.  Other
operations are written `name(arguments)`; `convert[f32](x)` and `bitcast` name the result's dtype.

May be imported by: everything above `ir`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from fdl.tracer.dtypes import SHORT

from .ir import (
    BOOL,
    INDEX,
    Alloc,
    Barrier,
    Buffer,
    Call,
    Callback,
    Carry,
    Check,
    Const,
    For,
    If,
    Let,
    Load,
    Op,
    Ref,
    Routine,
    Stmt,
    Store,
    Value,
    Var,
    While,
)

Block: TypeAlias = tuple[Stmt, ...]

_INFIX = {
    "eq": ("==", 1), "ne": ("!=", 1), "lt": ("<", 1), "le": ("<=", 1), "gt": (">", 1), "ge": (">=", 1),
    "or": ("|", 2), "xor": ("^", 3), "and": ("&", 4), "shift_left": ("<<", 5),
    "add": ("+", 6), "sub": ("-", 6), "mul": ("*", 7), "div": ("/", 7), "rem": ("%", 7),
}  # fmt: skip
"""Operation → (sign, how tightly it binds): as in Python."""
_ATOM = 9


def show(routine: Routine, *, notes: bool = False) -> str:
    """The text of `routine`; with `notes`, each buffer and loop is followed by the user's source line that made it."""
    lines = [f"routine {routine.name}"]
    for role, buffers in (("input", routine.inputs), ("const", routine.consts), ("output", routine.outputs)):
        lines += [f"  {role} {_declaration(b)}{_note(routine, b.name, notes)}" for b in buffers]
    lines += [f'  site {n} "{site.message}"' for n, site in enumerate(routine.sites)]
    lines.append("do")
    lines += show_block(routine.body, "  ", note=lambda name: _note(routine, name, notes))
    return "\n".join(lines) + "\n"


def show_block(block: Block, indent: str = "", *, note: Callable[[str], str] = lambda name: "") -> list[str]:
    """The lines of `block`; `note(name)` is added where the buffer or the loop variable `name` is made."""
    return [line for stmt in block for line in _lines(stmt, indent, note)]


def show_stmt(stmt: Stmt) -> str:
    """The text of one statement, in one line: of a loop or a branch, its head."""
    lines = list(_lines(stmt, "", lambda name: ""))
    return lines[0] if len(lines) == 1 else lines[0] + " ..."


def _note(routine: Routine, name: str, wanted: bool) -> str:
    return f"  # {routine.notes[name]}" if wanted and name in routine.notes else ""


def _declaration(buffer: Buffer) -> str:
    return f"{buffer.name}: {SHORT[buffer.dtype]}[{', '.join(map(str, buffer.shape))}]"


def _lines(stmt: Stmt, indent: str, note: Callable[[str], str]) -> Iterator[str]:
    inner = indent + "  "
    match stmt:
        case Let():
            yield f"{indent}{_typed(stmt.var)} = {show_value(stmt.value)}"
        case Store():
            yield f"{indent}{_element(stmt.buffer, stmt.index)} = {show_value(stmt.value)}"
        case For():
            carries = ", ".join(map(_carry, stmt.carries))
            head = f"{stmt.kind} {stmt.var.name} < {show_value(stmt.extent)}" + (f" carry {carries}" if carries else "")
            yield f"{indent}{head}{note(stmt.var.name)}"
            yield from show_block(stmt.body, inner, note=note)
            yield from (f"{inner}next {c.var.name} = {show_value(c.next)}" for c in stmt.carries)
            yield f"{indent}end" + (f" -> {', '.join(c.result.name for c in stmt.carries)}" if carries else "")
        case While():
            yield f"{indent}loop"
            yield from show_block(stmt.prelude, inner, note=note)
            yield f"{indent}while {show_value(stmt.condition)}"
            yield from show_block(stmt.body, inner, note=note)
            yield f"{indent}end"
        case If():
            yield f"{indent}if {show_value(stmt.condition)}"
            yield from show_block(stmt.then, inner, note=note)
            if stmt.orelse:
                yield f"{indent}else"
                yield from show_block(stmt.orelse, inner, note=note)
            yield f"{indent}end"
        case Alloc():
            yield f"{indent}alloc {stmt.buffer.space} {_declaration(stmt.buffer)}{note(stmt.buffer.name)}"
        case Check():
            values = f" ({', '.join(map(show_value, stmt.values))})" if stmt.values else ""
            yield f"{indent}check {show_value(stmt.ok)} at {stmt.site}{values}"
        case Call():
            attrs = "".join(f" {name}={value}" for name, value in stmt.attrs)
            scalars = f" with {', '.join(map(show_value, stmt.scalars))}" if stmt.scalars else ""
            yield f"{indent}{_refs(stmt.outputs)} = {stmt.kernel} {_refs(stmt.inputs)}{scalars}{attrs}"
        case Callback():
            yield f"{indent}{_refs(stmt.outputs)} = callback {stmt.slot} {_refs(stmt.inputs)}"
        case Barrier():
            yield f"{indent}barrier"


def _typed(variable: Var) -> str:
    return variable.name if variable.dtype == INDEX else f"{variable.name}: {SHORT[variable.dtype]}"


def _carry(carry: Carry) -> str:
    return f"{_typed(carry.var)} = {show_value(carry.init)}" + (f" ({carry.combine})" if carry.combine else "")


def _refs(refs: tuple[Ref, ...]) -> str:
    return ", ".join(map(_ref, refs)) or "()"


def _ref(ref: Ref) -> str:
    """buffer[offset; size:stride, ...]"""
    axes = ", ".join(f"{show_value(n)}:{step}" for n, step in zip(ref.shape, ref.strides, strict=False))
    return f"{ref.buffer.name}[{show_value(ref.offset)}{'; ' if axes else ''}{axes}]"


def _element(buffer: Buffer, index: tuple[Value, ...]) -> str:
    return f"{buffer.name}[{', '.join(map(show_value, index))}]"


def show_value(value: Value) -> str:
    """The text of a value, with no more brackets than it needs."""
    return _value(value)[0]


def _value(value: Value) -> tuple[str, int]:
    """The text of `value`, and how tightly its outermost operation binds."""
    match value:
        case Const():
            return _constant(value), _ATOM
        case Var():
            return value.name, _ATOM
        case Load():
            return _element(value.buffer, value.index), _ATOM
        case Op("convert" | "bitcast"):
            return f"{value.name}[{SHORT[value.dtype]}]({', '.join(map(show_value, value.args))})", _ATOM
        case Op() if value.name in _INFIX and len(value.args) == 2:
            sign, level = _INFIX[value.name]
            # Comparisons do not chain: both of their sides are bracketed.
            left, right = (_bracketed(arg, level + (side or level == 1)) for side, arg in enumerate(value.args))
            return f"{left} {sign} {right}", level
        case Op():
            return f"{value.name}({', '.join(map(show_value, value.args))})", _ATOM


def _bracketed(value: Value, level: int) -> str:
    text, own = _value(value)
    return text if own >= level else f"({text})"


def _constant(constant: Const) -> str:
    if constant.dtype == BOOL:
        return "true" if constant.value else "false"
    if constant.dtype == INDEX:
        return str(constant.value)
    return f"{constant.value!r}:{SHORT[constant.dtype]}"
