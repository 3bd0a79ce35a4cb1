"""The runtime's LLVM IR: thread pool, error record, polling, scratch and memory blocks, as one text.

Imported by `runtime` alone.
"""

from __future__ import annotations

from .blocks import BLOCKS
from .crew import CREW
from .crew import MAX_THREADS as MAX_THREADS
from .frames import frames
from .platforms import Platform as Platform
from .platforms import externals as externals
from .platforms import functions
from .processor import Architecture as Architecture
from .processor import processor
from .threads import THREADS


def text(platform: Platform, arch: Architecture) -> str:
    """The module's text, without target lines."""
    return "\n".join((processor(arch), functions(platform, arch), THREADS, frames(arch), CREW, BLOCKS))
