"""What the layers above have of the backends, loaded at the first use of each name.

A compiler costs more to load than all the rest of fdl, so that it comes with the first function that is jitted or the first operation that
is compiled: `compiler.compile_program(...)`, and never `from fdl.backends.compiler import compile_program`, which would be a use.

May be imported by: everything above `backends`.
"""

from typing import TYPE_CHECKING

from fdl.tracer.lazy import parts

if TYPE_CHECKING:
    from .executable import compile_program as compile_program
    from .executable import entry_for as entry_for
    from .executable import flat_caller as flat_caller
    from .executable import run_single as run_single
    from .llvm.callpath import concrete as concrete
    from .llvm.callpath import is_sole as is_sole
    from .llvm.locks import COMPILING as COMPILING
    from .llvm.pool import empty as empty
    from .loops.lower import LoweringError as LoweringError
    from .loops.show import show as show
    from .stored import sources_of as sources_of
else:
    __getattr__, __dir__ = parts(
        __name__,
        {
            "COMPILING": "fdl.backends.llvm.locks:COMPILING",
            "LoweringError": "fdl.backends.loops.lower:LoweringError",
            "compile_program": "fdl.backends.executable:compile_program",
            "concrete": "fdl.backends.llvm.callpath:concrete",
            "empty": "fdl.backends.llvm.pool:empty",
            "entry_for": "fdl.backends.executable:entry_for",
            "flat_caller": "fdl.backends.executable:flat_caller",
            "is_sole": "fdl.backends.llvm.callpath:is_sole",
            "run_single": "fdl.backends.executable:run_single",
            "show": "fdl.backends.loops.show:show",
            "sources_of": "fdl.backends.stored:sources_of",
        },
    )
