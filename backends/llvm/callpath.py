"""The compiled call path: a callable that tries its recent specialisations before it goes the slow way.

    dispatcher = Dispatcher(slow, array_type=Array)
    dispatcher(*args, **kwargs)

A call looks for an entry (see `entries`) that fits the arguments, runs its program and builds the result, all in native
code, in a fraction of a microsecond.  When none fits it calls `slow(*args, **kwargs)`, which does everything itself and
may `add` an entry for the next call.  The entries are a bounded list, most recently used first.

There are two implementations with the same behaviour: `native` (LLVM IR, `callpath_ir`; for CPython builds whose
object layout was verified) and `plain` (Python and ctypes).  `Dispatcher` is the one that fits this process; a
subclass may add attributes and methods, and keeps the speed as long as it does not define `__call__`.

May be imported by: `jit` and its tests.
"""

from __future__ import annotations

import types
from typing import Any

from . import layout
from .callpath_native import native_type, unavailable
from .callpath_plain import PlainDispatcher
from .callpath_plain import is_sole as is_sole
from .entries import ArrayArg as ArrayArg
from .entries import Entry as Entry
from .entries import NumpyArg as NumpyArg
from .entries import Out as Out
from .entries import Output as Output
from .entries import ScalarArg as ScalarArg
from .entries import Static as Static
from .locks import MAKING


def why_plain() -> str | None:
    """Why this process calls compiled programs through Python, or None when it has the native path."""
    return unavailable()


def dispatcher_type() -> type:
    """The class to make dispatchers of: the native one, or the plain one where `why_plain()` has a reason.

    The first call compiles the native code.
    """
    return PlainDispatcher if unavailable() else native_type()


_concrete: dict[type, Any] = {}


def concrete(abstract: type) -> Any:
    """The class `abstract`, called as a dispatcher is: a subclass of it and of `dispatcher_type()`, one for each `abstract`."""
    found = _concrete.get(abstract)
    if found is not None:
        return found
    with MAKING:
        if abstract not in _concrete:
            names = {"__module__": abstract.__module__, "__qualname__": abstract.__qualname__, "__doc__": abstract.__doc__}
            bases = (abstract, dispatcher_type())
            _concrete[abstract] = types.new_class(abstract.__name__, bases, {}, lambda body: body.update(names))
        return _concrete[abstract]


def __getattr__(name: str) -> type:
    # Compiled when it is first asked for, not at import.
    if name == "Dispatcher":
        return dispatcher_type()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


LayoutError = layout.LayoutError
