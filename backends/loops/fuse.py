"""Fusion (interim: every nest stays on its own)."""

from __future__ import annotations

from .ir import Routine


def fuse(routine: Routine, target: str = "cpu") -> tuple[Routine, list[str]]:
    """The routine itself."""
    return routine, []
