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
from .callpath_ir.small import ELEMENTS
from .entries import Entry
from .native_types import Flag, Slot, getsets, make_type, members, methods
from .packing import Packed, pack

DEFAULT_CAPACITY: Final = 8

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
_SMALL_DOC = b"The elements of a small result, of which `array()` makes an ndarray. See `fdl.backends.llvm.callpath_ir.small`."


@runtime.once
def native_type() -> type:
    """The native dispatcher class. Raises: LayoutError where `unavailable()` has a reason."""
    loaded, functions = _code()
    _install_small_type(loaded)
    python = runtime.addresses(ctypes.pythonapi, ["PyObject_GenericGetDict", "PyObject_GenericSetDict", "PyVectorcall_Call"])
    offsets = {b"__vectorcalloffset__": "vectorcall", b"__dictoffset__": "dict", b"__weaklistoffset__": "weakrefs"}
    slots = {
        Slot.TP_CALL: python["PyVectorcall_Call"],
        Slot.TP_CLEAR: loaded.address("fdl_clear"),
        Slot.TP_DEALLOC: loaded.address("fdl_dealloc"),
        Slot.TP_DESCR_GET: loaded.address("fdl_descr_get"),
        Slot.TP_DOC: ctypes.create_string_buffer(_DOC),
        Slot.TP_NEW: loaded.address("fdl_new"),
        Slot.TP_TRAVERSE: loaded.address("fdl_traverse"),
        Slot.TP_MEMBERS: members({name: SELF[field] for name, field in offsets.items()}),
        Slot.TP_GETSET: getsets({b"__dict__": (python["PyObject_GenericGetDict"], python["PyObject_GenericSetDict"])}),
    }
    flags = Flag.BASETYPE | Flag.HAVE_VECTORCALL | Flag.HAVE_GC | Flag.METHOD_DESCRIPTOR
    made = make_type(b"fdl.backends.llvm.callpath.Dispatcher", SELF_SIZE, flags, slots)
    for attribute, value in _methods(functions).items():
        setattr(made, attribute, value)
    return made


def _install_small_type(loaded: Any) -> None:
    """Makes the type of small results (`callpath_ir.small`), and tells the call path of it."""
    slots = {
        Slot.TP_DEALLOC: loaded.address("fdl_small_dealloc"),
        Slot.TP_DOC: ctypes.create_string_buffer(_SMALL_DOC),
        Slot.TP_METHODS: methods({b"array": loaded.address("fdl_small_array")}),
    }
    made = make_type(b"fdl.backends.llvm.callpath.SmallResult", ELEMENTS, Flag.DISALLOW_INSTANTIATION, slots)
    ctypes.PYFUNCTYPE(None, ctypes.py_object)(loaded.address("fdl_set_small_type"))(made)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(made))  # the code keeps its address


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
        flags = 0 if "__call__" in own else int(Flag.HAVE_VECTORCALL)
        flags |= 0 if "__get__" in own else int(Flag.METHOD_DESCRIPTOR)
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
