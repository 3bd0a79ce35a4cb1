"""Text → program: reads what `show` prints, so that a program can be saved, edited, and run.

`parse(str(p), p.values) == p`.  What a text cannot hold, the values of constants and Python functions, is given beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from . import dtypes
from .check import check_program
from .errors import ParseError
from .ir import Atom, Equation, Literal, Program, Type, Variable
from .primitive import is_declared, lookup

_TOKEN = re.compile(
    r"""\s+ | \#[^\n]*
      | (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<number>-?(?:inf|nan|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)
                   (?:[+-](?:inf|nan|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)j|j)?(?!\w))
      | (?P<function>@[\w<>]+) | (?P<word>[A-Za-z_]\w*) | (?P<mark>[(){}\[\],;:=*])""",
    re.VERBOSE,
)


def parse(text: str, values: Sequence[Any] = (), functions: Mapping[str, Callable[..., Any]] | None = None) -> Program:
    """The program that `text` spells.

    Args:
        values: an array for each of the program's constants, in order.
        functions: the Python functions that the text names with `@name`.

    Raises: ParseError with line and column; it names the constants or functions that are missing.

    Example:
        >>> import fdl
        >>> p = fdl.make_ir(lambda x: x * 2.0)(1.0)
        >>> parse(str(p)) == p
        True
    """
    program = _Parser(text, dict(functions or {})).whole()
    if len(values) != len(program.constants):
        wanted = ", ".join(str(v.type) for v in program.constants) or "none"
        raise ParseError(f"the program has {len(program.constants)} constants ({wanted}), but {len(values)} values were given")
    program = Program(program.inputs, program.equations, program.outputs, program.constants, tuple(values), program.name)
    check_program(program)
    return program


class _Parser:
    def __init__(self, text: str, functions: dict[str, Callable[..., Any]]) -> None:
        self.text, self.functions = text, functions
        self.tokens = list(self._scan())
        self.at = 0

    def _scan(self) -> Iterator[tuple[str, str, int]]:
        i = 0
        while i < len(self.text):
            m = _TOKEN.match(self.text, i)
            if m is None:
                raise self._error(f"unexpected character {self.text[i]!r}", i)
            if m.lastgroup:
                yield m.lastgroup, m.group(), i
            i = m.end()
        yield "end", "end of text", len(self.text)

    def _error(self, what: str, position: int | None = None, back: int = 0) -> ParseError:
        """The error at a position; by default at the current token, or `back` tokens before it."""
        i = self.tokens[self.at - back][2] if position is None else position
        line = self.text.count("\n", 0, i) + 1
        column = i - (self.text.rfind("\n", 0, i) + 1) + 1
        return ParseError(f"line {line}, column {column}: {what}")

    @property
    def token(self) -> str:
        return self.tokens[self.at][1]

    @property
    def kind(self) -> str:
        return self.tokens[self.at][0]

    def take(self, text: str | None = None, kind: str | None = None) -> str:
        if (text is not None and self.token != text) or (kind is not None and self.kind != kind):
            raise self._error(f"expected {text or 'a ' + str(kind)}, got {self.token!r}")
        found = self.token
        self.at += 1
        return found

    def has(self, text: str) -> bool:
        if self.token == text:
            self.at += 1
            return True
        return False

    def whole(self) -> Program:
        p = self.program()
        if self.kind != "end":
            raise self._error(f"text after the program: {self.token!r}")
        return p

    def program(self) -> Program:
        self.take("program")
        name = self.take(kind="word")
        env: dict[str, Variable] = {}
        self.take("(")
        inputs = self.bindings(env, {")", ";"})
        constants: tuple[Variable, ...] = ()
        if self.has(";"):
            self.take("constants")
            constants = self.bindings(env, {")"})
        self.take(")")
        self.take("{")
        equations: list[Equation] = []
        while self.token != "return":
            equations.append(self.equation(env, len(equations)))
        self.take("return")
        outputs = []
        while self.token != "}":
            outputs.append(self.operand(env))
        self.take("}")
        return Program(inputs, tuple(equations), tuple(outputs), constants, (), name)

    def bindings(self, env: dict[str, Variable], ends: set[str]) -> tuple[Variable, ...]:
        out: list[Variable] = []
        while self.token not in ends:
            name = self.take(kind="word")
            if name in env:
                raise self._error(f"{name} is bound twice", back=1)
            self.take(":")
            env[name] = Variable(self.type())
            out.append(env[name])
            if not self.has(","):
                break
        return tuple(out)

    def type(self) -> Type:
        dtype = self.dtype()
        self.take("[")
        shape = []
        while not self.has("]"):
            size = self.take(kind="number")
            if not size.isdecimal():
                raise self._error(f"a size must be a whole number, got {size!r}", back=1)
            shape.append(int(size))
            self.has(",")
        return Type(tuple(shape), dtype, self.has("*"))

    def dtype(self) -> dtypes.DType:
        word = self.take(kind="word")
        if word not in dtypes.FROM_SHORT:
            raise self._error(f"not a dtype: {word!r}; expected one of {', '.join(dtypes.FROM_SHORT)}", back=1)
        return dtypes.FROM_SHORT[word]

    def equation(self, env: dict[str, Variable], number: int) -> Equation:
        outs = self.bindings(env, {"="})
        self.take("=")
        name = self.take(kind="word")
        if not is_declared(name):
            raise self._error(f"no primitive is named {name!r}", back=1)
        params: dict[str, Any] = {}
        if self.has("["):
            while not self.has("]"):
                key = self.take(kind="word")
                self.take("=")
                params[key] = self.value()
                self.has(",")
        inputs: list[Atom] = []
        while self.starts_operand(env):
            inputs.append(self.operand(env))
        return Equation(outs, lookup(name), tuple(inputs), params, "", number)

    def starts_operand(self, env: dict[str, Variable]) -> bool:
        following = self.tokens[self.at + 1][1] if self.at + 1 < len(self.tokens) else ""
        if self.kind == "number" or self.token in ("true", "false"):
            return True
        return self.kind == "word" and self.token != "return" and following not in (":", "=")

    def operand(self, env: dict[str, Variable]) -> Atom:
        if self.kind == "number" or self.token in ("true", "false"):
            text = self.take()
            self.take(":")
            dtype = self.dtype()
            return Literal(self.scalar(text, dtype), Type((), dtype, self.has("*")))
        name = self.take(kind="word")
        if name not in env:
            raise self._error(f"{name} is not bound", back=1)
        return env[name]

    def scalar(self, text: str, dtype: dtypes.DType) -> Any:
        """The 0-d array of `dtype` that `text` spells."""
        try:
            if text in ("true", "false"):
                return np.asarray(text == "true", dtype)
            kinds: dict[str, Callable[[str], Any]] = {"i": int, "u": int, "c": complex}
            return np.asarray(kinds.get(dtype.kind, float)(text), dtype)
        except (ValueError, OverflowError):
            raise self._error(f"{text} is no value of dtype {dtypes.SHORT[dtype]}", back=3) from None

    def value(self) -> Any:
        match self.kind, self.token:
            case "string", s:
                self.at += 1
                return re.sub(r"\\(.)", r"\1", s[1:-1])
            case "number", s:
                self.at += 1
                return int(s) if re.fullmatch(r"-?\d+", s) else complex(s) if s.endswith("j") else float(s)
            case "function", s:
                self.at += 1
                if s[1:] not in self.functions:
                    raise self._error(
                        f"the text names the function {s}, which was not given: pass functions={{{s[1:]!r}: ...}}"
                    )
                return self.functions[s[1:]]
            case _, "(":
                self.at += 1
                items = []
                while not self.has(")"):
                    items.append(self.value())
                    self.has(",")
                return tuple(items)
            case _, "program":
                return self.program()
            case _, ("true" | "false" | "None") as s:
                self.at += 1
                return {"true": True, "false": False, "None": None}[s]
            case _:
                is_type = self.tokens[min(self.at + 1, len(self.tokens) - 1)][1] == "["
                return self.type() if is_type else self.dtype()
