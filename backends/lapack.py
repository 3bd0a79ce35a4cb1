"""LAPACK and BLAS as C functions: SciPy's own, by the addresses that its Cython interface exports.

SciPy is optional: its two modules of routines are loaded when the first program is compiled that could use them.  An address is one
process's, so compiled objects name what they call, `fdl_lapack_dgetrf`, and get the addresses when they are loaded (`symbols`).

A call is described by its arguments, of which Fortran takes the addresses::

    ("char", "U")  ("int", 5)  ("one", "d")        constants; "one" is the number 1 of that type
    ("array", 2)                                   the third of the arrays of the call
    ("work", 800)                                  800 bytes of workspace
    ("space", (0, dtype))  ("length", 0)           workspace of a size that the routine knows: see `resolved`

OpenBLAS, which SciPy's wheels bring, would use threads of its own.  fdl's pool already runs several matrices at once, and results must not
depend on the number of threads; so its number of threads is 1 while any compiled call is inside it (`enter`, `leave`), and what it was
before as soon as none is.  Other libraries behind SciPy are left as they are: set their number of threads by their own variable, such as
MKL_NUM_THREADS.

May be imported by: the loop IR's lowering, its interpreter, and the emitters.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.metadata
import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

Argument: TypeAlias = tuple[str, Any]
"""One argument of a call: see the module."""

PREFIX = "fdl_lapack_"
"""What the names of routines begin with in compiled code."""

ONES = {"s": "f", "d": "d", "c": "ff", "z": "dd"}
"""A type's letter → its parts."""

_SETTERS = ("scipy_openblas_set_num_threads", "openblas_set_num_threads")
_GETTERS = ("scipy_openblas_get_num_threads", "openblas_get_num_threads")


def _extension(name: str) -> ModuleType:
    """The extension module `scipy.linalg.<name>`, from its file: without the package, whose import takes ten times as long (0.3 s)."""
    full, package = f"scipy.linalg.{name}", importlib.import_module("scipy")
    files = [Path(package.__path__[0], "linalg", name + suffix) for suffix in EXTENSION_SUFFIXES]
    file = next((f for f in files if f.exists()), None)
    spec = spec_from_file_location(full, file) if file and "scipy.linalg" not in sys.modules else None
    if spec is None or spec.loader is None:
        return importlib.import_module(full)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    # Cython entered it by its name, where an import of SciPy would find it and not make it an attribute of the package. It still gives
    # that import this same module.
    sys.modules.pop(full, None)
    return module


@functools.cache
def _modules() -> tuple[ModuleType, ...]:
    try:
        return _extension("cython_lapack"), _extension("cython_blas")
    except ImportError:
        return ()


def available() -> bool:
    """Whether there is a LAPACK to call: SciPy is installed."""
    return bool(_modules())


@functools.cache
def version() -> str:
    """SciPy's version, "" where it is not installed, without importing it: workspaces in compiled code have the sizes that it asked for."""
    try:
        return importlib.metadata.version("scipy")
    except importlib.metadata.PackageNotFoundError:
        return ""


@functools.cache
def address(routine: str) -> int:
    """The address of a routine, such as "dgetrf" or "dtrsm". Raises: KeyError for a name that SciPy does not export."""
    name = ctypes.pythonapi.PyCapsule_GetName
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    for module in _modules():
        capsule = module.__pyx_capi__.get(routine)
        if capsule is not None:
            return int(pointer(capsule, name(capsule)))
    raise KeyError(f"SciPy exports no routine {routine!r}")


def call(routine: str, arguments: Sequence[Argument], arrays: Sequence[np.ndarray[Any, Any]]) -> None:
    """Calls a routine; `arrays` are C-contiguous, and it may write to any of them."""
    kept: list[Any] = []
    for kind, value in arguments:
        match kind:
            case "char":
                kept.append(ctypes.c_char(value.encode()))
            case "int":
                kept.append(ctypes.c_int(value))
            case "one":
                part = ctypes.c_float if ONES[value][0] == "f" else ctypes.c_double
                kept.append((part * len(ONES[value]))(1.0))
            case "array":
                kept.append((ctypes.c_char * max(arrays[value].nbytes, 1)).from_address(arrays[value].ctypes.data))
            case "work":
                kept.append((ctypes.c_char * max(value, 1))())
            case _:
                raise AssertionError(kind)
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(kept))(address(routine))
    function(*(ctypes.addressof(k) for k in kept))


@functools.cache
def resolved(routine: str, arguments: tuple[Argument, ...]) -> tuple[Argument, ...]:
    """`arguments` with their workspaces and the lengths of these filled in, which the routine itself is asked for.

    ("space", (k, dtype)) is the k-th workspace whose size is to be found, and ("length", k) the number of its elements.
    """
    dtypes = [value[1] for kind, value in arguments if kind == "space"]
    if not dtypes:
        return arguments
    spaces = [np.zeros(8, d) for d in dtypes]
    asking: dict[str, Any] = {
        "length": lambda v: ("int", -1),
        "space": lambda v: ("array", v[0]),
        "array": lambda v: ("work", 64),
    }
    call(routine, [asking.get(kind, lambda v, kind=kind: (kind, v))(value) for kind, value in arguments], spaces)
    # A size that comes as a float32 may have been rounded down.
    counts = [max(1, int(np.ceil(float(s[0].real) * (1 + 2.0**-23)))) for s in spaces]
    found: list[Argument] = []
    for kind, value in arguments:
        match kind:
            case "length":
                found.append(("int", counts[value]))
            case "space":
                found.append(("work", counts[value[0]] * value[1].itemsize))
            case _:
                found.append((kind, value))
    return tuple(found)


# --- OpenBLAS's own threads -----------------------------------------------------------------------


@functools.cache
def thread_controls() -> tuple[int, int] | None:
    """The addresses of OpenBLAS's functions that set and get its number of threads, or None where SciPy has another library."""
    if not available() or sys.platform == "win32":
        return None
    library = ctypes.CDLL(_modules()[0].__file__)  # symbols are looked up in what it depends on, too
    for setter, getter in zip(_SETTERS, _GETTERS, strict=True):
        try:
            return tuple(ctypes.cast(getattr(library, n), ctypes.c_void_p).value or 0 for n in (setter, getter))  # type: ignore[return-value]
        except AttributeError:
            continue
    return None
