"""Wrong programs, and what their user sees: the harness behind `wrong_programs_*.py` and `test_errors_*.py`.

A wrong program is a function under `@wrong(...)`.  Its docstring is what Python prints last, whole: the exception's name, a colon,
and the message.  In the docstring a line that starts with "> " is a line of the message, indented; any other continues the line before.
`{here}` stands for "path:line (function)" of the program's line that ends in the comment `#: here`, and so does any other name;
`{program}` is the program's own first line, `{transform}` what runs it: "jit(name)", "grad(name)", "vmap(name)"; a module's `PLACES` has
further names.

Each program runs in several modes: as it is, and under `jit`, `grad` and `vmap`.  All must give the same message and the same line.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import fdl
import fdl.numpy as fnp
from fdl.tracer import tree
from fdl.tracer.array import ArrayBase
from fdl.tracer.trace import axis_sizes, current_source, is_evaluating

EVERY = ("eager", "jit", "grad", "vmap")
KNOWN = {
    "jit": "; or make the argument static with static_argnums",
    "vmap": "; or let all lanes share the argument with in_axes=None",
}
"""How a message says that a value can be made known, in each mode."""
TRACED = ("jit", "vmap")
"""The modes in which values are not known: under `grad` alone they are."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """A wrong program, how it is called, and a right one of the same kind."""

    program: Callable[..., Any]
    args: tuple[Any, ...]
    modes: tuple[str, ...]
    good: tuple[Any, ...] | None
    right: Callable[[], object] | None
    by_line: bool

    @property
    def name(self) -> str:
        return self.program.__name__

    def run(self, mode: str, args: Sequence[Any]) -> Any:
        """What the program gives in a mode."""
        return in_mode(self.program, mode)(*(stacked(args) if mode == "vmap" else [_arrays(a) for a in args]))

    def expected(self, mode: str) -> str:
        """What the user sees: the exception's name, and the whole message."""
        text = unfolded(self.program.__doc__ or "")
        code = self.program.__code__
        places = marked_lines(self.program) | self.program.__globals__.get("PLACES", {})
        places["program"] = f"{code.co_filename}:{code.co_firstlineno} ({self.name})"
        places["transform"] = f"{mode}({self.name})"
        places["known"] = KNOWN.get(mode, "")
        return re.sub(r"\{(\w+)\}", lambda m: places.get(m[1], m[0]), text)


def wrong(
    *args: Any,
    good: Sequence[Any] | None = None,
    right: Callable[[], object] | None = None,
    modes: Sequence[str] = EVERY,
    by_line: bool = True,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Marks a wrong program.

    Args:
        args: what it is called with; arrays and pytrees of them are stacked for `vmap`.
        good: arguments with which the same program is right.
        right: a right program of the same kind, where no arguments make this one right; it asserts what it gives.
        modes: how it runs.
        by_line: whether the message holds the user's line. Not so for an object that Python or NumPy complains about on its own.
    """

    def mark(program: Callable[..., Any]) -> Callable[..., Any]:
        assert (good is None) != (right is None), f"{program.__name__}: give good= or right="
        home = sys.modules[program.__module__].__dict__.setdefault("PROGRAMS", [])
        home.append(Wrong(program, args, tuple(modes), None if good is None else tuple(good), right, by_line))
        return program

    return mark


# --- modes ----------------------------------------------------------------------------------------


@functools.cache
def in_mode(program: Callable[..., Any], mode: str) -> Callable[..., Any]:
    """The program, or a transformation of it. One object for all calls: what a failed call left behind would be met again."""
    if mode == "grad":

        @functools.wraps(program)
        def total(*args: Any) -> Any:
            outs = [x for x in tree.leaves(program(*args)) if fnp.asarray(x).dtype.kind == "f"]
            return functools.reduce(fnp.add, [fnp.sum(x) for x in outs])

        return fdl.grad(total)
    return {"eager": lambda f: f, "jit": fdl.jit, "vmap": fdl.vmap}[mode](program)


def stacked(args: Sequence[Any]) -> list[Any]:
    """The arguments of two calls at once."""
    return [tree.map(lambda x: np.stack([np.asarray(x)] * 2), a) for a in args]


def _arrays(argument: Any) -> Any:
    """The argument with its NumPy arrays as fdl's, so that an operator is fdl's too."""
    return tree.map(lambda x: fnp.asarray(x) if isinstance(x, np.ndarray) and x.dtype.kind in "fiubc" else x, argument)


# --- expected texts -------------------------------------------------------------------------------


def unfolded(doc: str) -> str:
    """The message that a docstring holds, folded: a line that starts with "> " is one of the message, any other continues the last."""
    first, *rest = inspect.cleandoc(doc).split("\n")
    return first + "".join(f"\n  {line[2:]}" if line.startswith("> ") else f" {line}" for line in rest)


def marked_lines(program: Callable[..., Any]) -> dict[str, str]:
    """The places in a program that comments `#: name` mark, as messages name them: "path:line (function)"."""
    lines, start = inspect.getsourcelines(program)
    root = ast.parse(textwrap.dedent("".join(lines)))
    found = {}
    for number, line in enumerate(lines, 1):
        if marker := re.search(r"#: (\w+)$", line.rstrip()):
            inside = [d for d in ast.walk(root) if isinstance(d, ast.FunctionDef) and d.lineno <= number <= (d.end_lineno or 0)]
            owner = max(inside, key=lambda d: d.lineno).name
            found[marker[1]] = f"{program.__code__.co_filename}:{start + number - 1} ({owner})"
    return found


# --- the checks -----------------------------------------------------------------------------------


def cases(*families: Any) -> Iterator[tuple[str, Wrong, str]]:
    """Every program of some `wrong_programs_*` modules in each of its modes, with a name for it."""
    for family in families:
        for w in family.PROGRAMS:
            for mode in w.modes:
                yield f"{w.name}-{mode}", w, mode


def check(w: Wrong, mode: str) -> None:
    """Asserts that a wrong program gives its message and nothing else, twice, and that a right one then works."""
    for _ in range(2):
        error = caught(w, mode)
        given, expected = f"{type(error).__name__}: {error}", w.expected(mode)
        assert given == expected, f"the message is\n{given}\nexpected\n{expected}"
        assert not w.by_line or w.program.__code__.co_filename in str(error), "the message does not name the user's line"
        assert_plain(error)
        assert_unharmed()
        if w.good is None:
            assert w.right is not None
            w.right()
        else:
            for leaf in tree.leaves(w.run(mode, w.good)):
                np.asarray(leaf)
        assert_unharmed()


def caught(w: Wrong, mode: str) -> Exception:
    """The exception that a wrong program ends with."""
    try:
        out = w.run(mode, w.args)
    except Exception as error:
        return error
    raise AssertionError(f"{w.name} under {mode} gave {out!r} instead of an error")


def assert_plain(error: Exception) -> None:
    """No second traceback of fdl's own stands above the one that the user needs."""
    text = "".join(traceback.format_exception(error))
    assert "During handling of" not in text and "direct cause of" not in text, text


def assert_unharmed() -> None:
    """Nothing is being traced any more, and every kind of transformation works."""
    assert is_evaluating() and not axis_sizes()
    assert "fdl/" not in current_source().replace("/fdl/tests/", "/")
    x = _square(3.0)
    assert isinstance(x, ArrayBase) and float(x) == 6.0


@fdl.jit
def _square(x: Any) -> Any:
    return fdl.vmap(fdl.grad(lambda v: v * v))(fnp.stack([x, x]))[1]
