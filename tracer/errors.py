"""Errors that a user sees, and the search for the user's own line.

Every error says what was given, what was expected and what to do.  fdl's own frames are not the user's: an
equation's `source` and an error's position name the innermost frame outside the package.

May be imported by: everything.
"""

from __future__ import annotations

import os
import sys
from types import CodeType, FrameType
from typing import TypeAlias

# The package's folder, and those of the two links in a checkout: as they were imported, and where they are.
_PACKAGE = os.path.dirname(os.path.dirname(__file__))
_FOLDERS = (_PACKAGE, os.path.join(_PACKAGE, "tracer"), os.path.join(_PACKAGE, "backends"))
_ROOTS = tuple({seen(path) + os.sep for path in _FOLDERS for seen in (str, os.path.abspath, os.path.realpath)})
# What Python's own library calls back from is not the user's line either: functools, contextlib, copy.
_STDLIB = os.path.dirname(os.__file__) + os.sep
_PACKAGES = tuple(_STDLIB + name + os.sep for name in ("site-packages", "dist-packages"))
_is_own: dict[str, bool] = {}

Place: TypeAlias = tuple[CodeType, int] | None
"""A line of the user's that has not been looked up yet: code, and an offset in it. Taking one is cheap, `place_text` is not."""


def is_own(frame: FrameType) -> bool:
    """Whether a frame is fdl's, Python's library's, or of code that was generated: not one that the user wrote."""
    filename = frame.f_code.co_filename
    known = _is_own.get(filename)
    if known is None:
        if filename == "<string>":  # typed by the user (python -c), or written by dataclasses into a module that has a file
            return "__file__" in frame.f_globals
        known = filename.startswith((*_ROOTS, "<frozen")) or (
            filename.startswith(_STDLIB) and not filename.startswith(_PACKAGES)
        )
        _is_own[filename] = known
    return known


def user_frame() -> FrameType | None:
    """The innermost Python frame that belongs to the user's program, or None."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_own(frame):
        frame = frame.f_back
    return frame


def user_source() -> str:
    """The user's current line as "path:line (function)"; "" where there is none."""
    frame = user_frame()
    if frame is None:
        return ""
    return f"{frame.f_code.co_filename}:{frame.f_lineno} ({frame.f_code.co_name})"


def user_place() -> Place:
    """The user's current line, to be looked up by `place_text` if it is ever needed."""
    frame = user_frame()
    return None if frame is None else (frame.f_code, frame.f_lasti)


def place_text(place: Place | str) -> str:
    """A place as `user_source` writes it; a text as it is."""
    if place is None or isinstance(place, str):
        return place or ""
    code, offset = place
    line = next((n for start, end, n in code.co_lines() if start <= offset < end and n is not None), code.co_firstlineno)
    return f"{code.co_filename}:{line} ({code.co_name})"


def at(source: str) -> str:
    """`source` as the tail of a message: "\\n  at path:line (function)", or nothing when it is unknown."""
    return f"\n  at {source}" if source else ""


class FdlError(Exception):
    """The base of fdl's own errors; each is also a ValueError, TypeError, IndexError or RuntimeError."""


class ShapeError(FdlError, ValueError):
    """Shapes or parameters of an operation do not fit."""


class AxisError(ShapeError, IndexError):
    """An axis that the array does not have: an IndexError too, as the array API standard asks, and NumPy's own is both."""


class DTypeError(FdlError, TypeError):
    """An operation was given a dtype, or a thing that is no array, which it does not take."""


class TreeError(FdlError, ValueError):
    """Two pytrees that had to be nested alike differ; the message names the key path."""


class ConcretizationError(FdlError, TypeError):
    """A tracer's value was needed: a branch, a conversion or an index on a value that is not known yet."""


class LeakedTracerError(FdlError, RuntimeError):
    """A tracer was used after the transformation that made it had ended."""

    owner: object = None
    """The trace of that transformation."""


class DonatedError(FdlError, RuntimeError):
    """An array was read after a call had consumed it."""


class IndexingError(FdlError, IndexError):
    """An index expression that does not fit its array."""


class IndexOutOfBoundsError(FdlError, IndexError):
    """An index was outside its axis."""


class AxisNameError(FdlError, NameError):
    """A collective names an axis that no `vmap` around it maps over."""


class MissingRuleError(FdlError, RuntimeError):
    """A primitive lacks a rule that a transformation needs."""


class ParseError(FdlError, ValueError):
    """Text that is no program of the IR."""


class InvalidProgramError(FdlError, AssertionError):
    """A program breaks an invariant of the IR: a fault in fdl, or in a program written by hand."""
