"""The error of a program that shows a fault."""

from __future__ import annotations


class Failure(AssertionError):
    """Something that must hold of a program does not. `kind` tells which check found it."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind, self.text = kind, text
