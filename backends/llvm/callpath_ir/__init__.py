"""The call path's LLVM IR: the slots of the dispatcher type, the matcher, the call, and the building of results.

A dispatcher is a Python object whose vectorcall function tries its entries, most recent first, and calls `slow` when
none fits.  An entry is a struct (`Entry_`) with four small tables, each row eight words: *steps* match the arguments,
*donations* consume inputs, *outputs* are allocated, *builds* make the result.

Matching is a walk over registers: arguments come first, and a container step loads the children of one register into
the next ones.  No step runs Python code except the comparison of static values, which comes before any container is
opened; so the borrowed references in registers stay good until the leaves' arrays are held.

One call's memory is a block on the C stack (from the heap when an entry is huge), laid out in words by `Entry_`::

    frame (16) | small arena | registers | buffers, 1 spare | leaves, 1 spare | scalars (2 each) | outputs | result stack

Reference counts: an ndarray's count is changed in place (the low 32 bits; negative means immortal), which holds on
every build that `layout` accepts.

Imported by `callpath_native` and `packing`.
"""

from __future__ import annotations

from ..layout import Layout
from .externals import FDL_FUNCTIONS, OTHER_OBJECTS, PYTHON_FUNCTIONS, PYTHON_OBJECTS
from .matching import bind, match
from .objects import LOOKUP, TYPE_SLOTS
from .results import build, outputs
from .running import REFERENCES, RUN
from .small import SMALL


def text(layout: Layout, large: int) -> str:
    """The module's text. `large` is the size in bytes from which outputs get recycled memory."""
    declarations = [
        f"declare {signature.replace(' (', f' @{name}(', 1)}" for name, signature in (PYTHON_FUNCTIONS | FDL_FUNCTIONS).items()
    ]
    objects = [f"@{name} = external global ptr" for name in PYTHON_OBJECTS + OTHER_OBJECTS]
    support = ["declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)", "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)"]
    parts = [*declarations, *objects, *support, REFERENCES, SMALL, bind(layout), match(layout), outputs(large), build(layout)]
    return "\n".join([*parts, RUN, LOOKUP, TYPE_SLOTS])
