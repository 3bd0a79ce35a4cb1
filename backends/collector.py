"""The garbage collector, held back while a program is compiled, or fdl is imported.

A compiler makes objects by the hundred thousand, and hardly a cycle among them: what it drops is freed by its reference count.  The
collector would go through all the objects of the process again and again meanwhile, which in a process with a few libraries loaded takes
longer than compiling does.  Nor does it go through what there is at the end: that is most of what was made, and it stays.

May be imported by: everything.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """No collection begins by itself inside; what is alive at the end counts as old, so that the next young one need not look at it.

    It is the threshold that is taken away and not the switch: another thread may turn the collector off meanwhile (`gc.disable`), or give
    it thresholds of its own, and both stay as they are. Thresholds are the process's: of several threads, one at a time may pause
    (compilation has a lock).
    """
    before = gc.get_threshold()
    gc.set_threshold(0, *before[1:])
    try:
        yield
    finally:
        if before[0]:
            _promote()
        if gc.get_threshold()[0] == 0:
            gc.set_threshold(*before)


_OF_PYTHON = 1000
"""Objects that Python itself may have frozen (375 on 3.12): a program that freezes, freezes all there are, which is more."""


def _promote() -> None:
    """Moves all objects to the oldest generation, unseen. What the program itself has frozen stays frozen."""
    if hasattr(gc, "freeze") and gc.get_freeze_count() < _OF_PYTHON:
        gc.freeze()
        gc.unfreeze()
