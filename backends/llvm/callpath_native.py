"""The native dispatcher type, made at run time from compiled slots (`callpath_ir`).

Imported by `callpath` and its tests.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

import numpy as np

from . import callpath_ir, layout, pool, runtime
from .callpath_ir.externals import FDL_FUNCTIONS, PYTHON_FUNCTIONS, PYTHON_OBJECTS
from .callpath_ir.fields import MAX_ENTRIES, SELF, SELF_SIZE
from .entries import Entry
from .packing import Packed, pack

DEFAULT_CAPACITY: Final = 8

# Slot numbers and flags of CPython's stable ABI (typeslots.h, object.h, structmember.h).
_TP_CALL, _TP_CLEAR, _TP_DEALLOC, _TP_DESCR_GET, _TP_DOC, _TP_NEW, _TP_TRAVERSE = 50, 51, 52, 54, 56, 65, 71
_TP_MEMBERS, _TP_GETSET = 72, 73
_BASETYPE, _HAVE_VECTORCALL, _HAVE_GC, _METHOD_DESCRIPTOR, _DEFAULT = 1 << 10, 1 << 11, 1 << 14, 1 << 17, 1 << 18
_T_PYSSIZET, _READONLY = 19, 1


class _Slot(ctypes.Structure):
    _fields_ = [("slot", ctypes.c_int), ("function", ctypes.c_void_p)]


class _Member(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("type", ctypes.c_int), ("offset", ctypes.c_ssize_t), ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]  # fmt: skip


class _Getset(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("name", "get", "set", "doc", "closure")]


class _Spec(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("basicsize", ctypes.c_int), ("itemsize", ctypes.c_int), ("flags", ctypes.c_uint),
        ("slots", ctypes.POINTER(_Slot)),
    ]  # fmt: skip


def unavailable() -> str | None:
    """Why there is no native call path in this process, or None."""
    found = layout.verified()
    return found if isinstance(found, str) else None


@runtime.once
def _code() -> tuple[Any, dict[str, Any]]:
    """The loaded code, and its functions that Python calls (with the interpreter lock held)."""
    found = layout.verified()
    if isinstance(found, str):
        raise layout.LayoutError(found)
    pool.prepare()
    host = runtime.host()
    externals = runtime.addresses(ctypes.pythonapi, [*PYTHON_FUNCTIONS, *PYTHON_OBJECTS])
    externals |= {name: host.address(name) for name in FDL_FUNCTIONS if name.startswith("fdl_")}
    externals |= {"numpy_new": found.new_from_descr, "numpy_array_type": id(np.ndarray), "tuple_new": id(_TUPLE_NEW)}
    externals["block_type"] = id(pool.Block)
    loaded = runtime.load_forever(callpath_ir.text(found, pool.LARGE), externals)
    obj, word = ctypes.py_object, ctypes.c_int64
    signatures: dict[str, tuple[Any, ...]] = {
        "fdl_setup": (None, obj, obj, obj, obj, word, word, word, word),
        "fdl_add": (None, obj, ctypes.c_void_p),
        "fdl_forget": (None, obj),
        "fdl_entry": (obj, obj, word),
        "fdl_field": (word, obj, word),
    }
    functions = {n: ctypes.PYFUNCTYPE(*types)(loaded.address(n)) for n, types in signatures.items()}
    return loaded, functions


_TUPLE_NEW = tuple.__new__


def _fail(packed: Packed, status: int, site: int, values: tuple[int, int, int]) -> Any:
    return packed.entry.on_failure(packed.entry, status, site, values)


_DOC = b"A callable that runs compiled specialisations, and `slow` when none fits. See `fdl.backends.llvm.callpath`."


@runtime.once
def native_type() -> type:
    """The native dispatcher class. Raises: LayoutError where `unavailable()` has a reason."""
    loaded, functions = _code()
    api = ctypes.pythonapi
    members = (_Member * 4)(
        _Member(b"__vectorcalloffset__", _T_PYSSIZET, SELF["vectorcall"], _READONLY, None),
        _Member(b"__dictoffset__", _T_PYSSIZET, SELF["dict"], _READONLY, None),
        _Member(b"__weaklistoffset__", _T_PYSSIZET, SELF["weakrefs"], _READONLY, None),
    )
    name = ctypes.create_string_buffer(b"__dict__")
    accessors = runtime.addresses(api, ["PyObject_GenericGetDict", "PyObject_GenericSetDict", "PyVectorcall_Call"])
    getset = (_Getset * 2)(
        _Getset(ctypes.addressof(name), accessors["PyObject_GenericGetDict"], accessors["PyObject_GenericSetDict"], None, None)
    )
    doc = ctypes.create_string_buffer(_DOC)
    table = {
        _TP_CALL: accessors["PyVectorcall_Call"],
        _TP_CLEAR: loaded.address("fdl_clear"),
        _TP_DEALLOC: loaded.address("fdl_dealloc"),
        _TP_DESCR_GET: loaded.address("fdl_descr_get"),
        _TP_DOC: ctypes.addressof(doc),
        _TP_NEW: loaded.address("fdl_new"),
        _TP_TRAVERSE: loaded.address("fdl_traverse"),
        _TP_MEMBERS: ctypes.addressof(members),
        _TP_GETSET: ctypes.addressof(getset),
    }
    slots = (_Slot * (len(table) + 1))(*[_Slot(number, address) for number, address in table.items()])
    flags = _DEFAULT | _BASETYPE | _HAVE_VECTORCALL | _HAVE_GC | _METHOD_DESCRIPTOR
    spec = _Spec(b"fdl.backends.llvm.callpath.Dispatcher", SELF_SIZE, 0, flags, slots)
    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p)(("PyType_FromSpec", api))
    made: type = make(ctypes.addressof(spec))
    for table_ in (spec, slots, members, getset, name, doc):  # the type keeps pointers into some of them
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(table_))
    for attribute, value in _methods(functions).items():
        setattr(made, attribute, value)
    return made


def _methods(functions: dict[str, Any]) -> dict[str, Any]:
    """What the class has besides its native slots."""
    poll = runtime.host().address("fdl_check_signals")
    setup, add_packed, forget, entry_at, field = (functions[f"fdl_{n}"] for n in ("setup", "add", "forget", "entry", "field"))

    def __init__(self: Any, slow: Any, *, array_type: type, capacity: int = DEFAULT_CAPACITY) -> None:
        if not callable(slow):
            raise TypeError(f"Dispatcher: expected a callable, got {slow!r}")
        if not 1 <= capacity <= MAX_ENTRIES:
            raise ValueError(f"Dispatcher: expected a capacity from 1 to {MAX_ENTRIES}, got {capacity}")
        slots = layout.array_layout(array_type)
        setup(self, slow, array_type, _fail, slots.data, slots.weak, slots.consumed, capacity)

    def __init_subclass__(cls: type, **kwargs: Any) -> None:
        """Give a subclass the flags that Python does not pass on: of a method, and on 3.11 that it is called by vectorcall."""
        super(_native_base(cls), cls).__init_subclass__(**kwargs)
        own = _own_names(cls)
        flags = 0 if "__call__" in own else _HAVE_VECTORCALL
        flags |= 0 if "__get__" in own else _METHOD_DESCRIPTOR
        if cls.__flags__ & flags != flags:
            ctypes.c_uint64.from_address(id(cls) + layout.TYPE_FLAGS).value |= flags

    def add(self: Any, entry: Entry) -> None:
        """Put an entry first in the list; the least recently used one goes when the list is full."""
        packed = pack(entry, poll)
        add_packed(self, packed.address)  # takes a reference to `packed`, which lives until here

    def clear(self: Any) -> None:
        """Forget all entries."""
        forget(self)

    def entries(self: Any) -> tuple[Entry, ...]:
        """The entries, most recently used first."""
        return tuple(entry_at(self, i).entry for i in range(field(self, SELF["count"])))

    def hits(self: Any) -> int:
        """The number of calls that found an entry."""
        count: int = field(self, SELF["hits"])
        return count

    def misses(self: Any) -> int:
        """The number of calls that went to `slow`."""
        count: int = field(self, SELF["misses"])
        return count

    def __reduce_ex__(self: Any, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle {self!r}: it holds machine code of this process")

    def __copy__(self: Any) -> Any:
        return self

    def __deepcopy__(self: Any, memo: dict[int, Any]) -> Any:
        return self

    return {
        "__init__": __init__,
        "__reduce_ex__": __reduce_ex__,
        "__copy__": __copy__,
        "__deepcopy__": __deepcopy__,
        "__init_subclass__": classmethod(__init_subclass__),
        "add": add,
        "clear": clear,
        "entries": property(entries),
        "hits": property(hits),
        "misses": property(misses),
    }


def _native_base(cls: type) -> Any:
    """The native class, which `cls` derives from."""
    return native_type()


def _own_names(cls: type) -> set[str]:
    """The attributes that `cls` and its bases below the native class define."""
    below = cls.__mro__[: cls.__mro__.index(native_type())]
    return {name for base in below for name in vars(base)}
