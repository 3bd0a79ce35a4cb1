"""The garbage collector, held back while a program is compiled, or fdl is imported.

A compiler makes objects by the hundred thousand, and hardly a cycle among them: what it drops is freed by its reference count.  The
collector would go through all the objects of the process again and again meanwhile, which in a process with a few libraries loaded takes
longer than compiling does.

May be imported by: everything.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """No collection begins by itself inside.

    It is the threshold that is taken away and not the switch: another thread may turn the collector off meanwhile (`gc.disable`), or give
    it thresholds of its own, and both stay as they are. Thresholds are the process's: of several threads, one at a time may pause
    (compilation has a lock).
    """
    before = gc.get_threshold()
    gc.set_threshold(0, *before[1:])
    try:
        yield
    finally:
        if gc.get_threshold()[0] == 0:
            gc.set_threshold(*before)
