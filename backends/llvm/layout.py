"""Where CPython and NumPy keep the fields that the native call path reads, verified on live objects.

The call path reads `PyObject`, tuple, list, float and ndarray structs directly.  Nothing promises their offsets, so
`verified()` looks at objects whose contents are known and compares.  Where anything differs (another interpreter, a
debug or free-threaded build, a future layout), it says what, and the plain-Python call path takes over.

Imported by `callpath` and its text.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any, Final, NamedTuple

import ml_dtypes
import numpy as np

from fdl.tracer.records import dataclass

REFCOUNT: Final = 0
TYPE: Final = 8
SIZE: Final = 16
FLOAT: Final = 16
LIST_ITEMS: Final = 24
ARRAY_DATA, ARRAY_NDIM, ARRAY_DIMS, ARRAY_BASE, ARRAY_DTYPE, ARRAY_FLAGS = 16, 24, 32, 48, 56, 64
DTYPE_ORDER, DTYPE_NUMBER = 26, 28
TYPE_FLAGS: Final = 168

C_CONTIGUOUS, OWNDATA, ALIGNED, WRITEABLE = 0x1, 0x4, 0x100, 0x400
_API_ARRAY_TYPE, _API_NEW_FROM_DESCR = 2, 94


class _Triple(NamedTuple):
    x: object
    y: object
    z: object


class LayoutError(Exception):
    """An object is not laid out as the native call path expects."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What was found rather than fixed: where a tuple's items begin, and NumPy's constructor."""

    tuple_items: int
    new_from_descr: int


@dataclass(frozen=True, slots=True)
class ArrayLayout:
    """Offsets of the three slots of an array class."""

    data: int
    weak: int
    consumed: int


def word(obj: Any, offset: int) -> int:
    """The 8-byte word at `offset` inside an object."""
    return ctypes.c_uint64.from_address(id(obj) + offset).value


def _int32(obj: Any, offset: int) -> int:
    return ctypes.c_int32.from_address(id(obj) + offset).value


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise LayoutError(what)


def _check_interpreter() -> None:
    _require(sys.implementation.name == "cpython", f"the interpreter is {sys.implementation.name}")
    _require(getattr(sys, "_is_gil_enabled", lambda: True)(), "the interpreter runs without its lock")
    _require(ctypes.sizeof(ctypes.c_void_p) == 8 and sys.byteorder == "little", "the machine is not 64-bit little-endian")
    fresh = object()
    count = word(fresh, REFCOUNT) & 0xFFFFFFFF
    more = [fresh] * 5
    _require((word(fresh, REFCOUNT) & 0xFFFFFFFF) == count + len(more), "reference counts are elsewhere")
    for obj in (fresh, (), 1.5, "text", np.zeros(3)):
        _require(word(obj, TYPE) == id(type(obj)), "object types are elsewhere")
    _require(word(int, TYPE_FLAGS) == int.__flags__, "type flags are elsewhere")
    for value in (1.5, -2.25e300):
        _require(ctypes.c_double.from_address(id(value) + FLOAT).value == value, "float values are elsewhere")


def _tuple_items() -> int:
    a, b, c = object(), object(), object()
    for offset in (24, 32):
        pair = _Triple(a, b, c)  # a subclass has the same layout
        samples: tuple[tuple[object, ...], ...] = ((a, b, c), pair)
        found = all([word(t, offset + 8 * i) for i in range(3)] == [id(a), id(b), id(c)] for t in samples)
        if found and word((a, b, c), SIZE) == 3 and word(pair, SIZE) == 3:
            return offset
    raise LayoutError("tuple items are elsewhere")


def _check_list() -> None:
    items = [object(), object(), object()]
    at = word(items, LIST_ITEMS)
    _require(word(items, SIZE) == 3 and at != 0, "list sizes are elsewhere")
    found = [ctypes.c_uint64.from_address(at + 8 * i).value for i in range(3)]
    _require(found == [id(i) for i in items], "list items are elsewhere")


def _check_arrays() -> None:
    parent = np.zeros((7, 3), np.int16)
    samples = [np.zeros((2, 3, 5), np.float32), np.zeros((), ml_dtypes.bfloat16), parent, parent[1:, ::2], np.ones(4)]
    samples[-1].flags.writeable = False
    for a in samples:
        _require(word(a, ARRAY_DATA) == a.__array_interface__["data"][0], "array data pointers are elsewhere")
        _require(_int32(a, ARRAY_NDIM) == a.ndim, "array ranks are elsewhere")
        at = word(a, ARRAY_DIMS)
        _require(
            a.shape == tuple(ctypes.c_int64.from_address(at + 8 * i).value for i in range(a.ndim)), "array shapes are elsewhere"
        )
        _require(word(a, ARRAY_BASE) == (id(a.base) if a.base is not None else 0), "array bases are elsewhere")
        _require(word(a, ARRAY_DTYPE) == id(a.dtype), "array dtypes are elsewhere")
        _require(_int32(a, ARRAY_FLAGS) == a.flags.num, "array flags are elsewhere")
        flags = (a.flags.c_contiguous, a.flags.owndata, a.flags.aligned, a.flags.writeable)
        masks = (C_CONTIGUOUS, OWNDATA, ALIGNED, WRITEABLE)
        _require(flags == tuple(bool(a.flags.num & m) for m in masks), "array flags have other meanings")
        _require(_int32(a.dtype, DTYPE_NUMBER) == a.dtype.num, "dtype numbers are elsewhere")
        order = ctypes.c_char.from_address(id(a.dtype) + DTYPE_ORDER).value.decode()
        _require(order == a.dtype.byteorder, "dtype byte orders are elsewhere")


def _numpy_constructor() -> int:
    """The address of `PyArray_NewFromDescr` from NumPy's C-API table, after a trial."""
    try:
        from numpy._core import multiarray
    except ImportError:
        raise LayoutError("NumPy's C-API table is elsewhere") from None
    unwrap = ctypes.pythonapi.PyCapsule_GetPointer
    unwrap.restype, unwrap.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table: int = unwrap(multiarray._ARRAY_API, None)
    entry = lambda i: ctypes.c_uint64.from_address(table + 8 * i).value  # noqa: E731
    _require(entry(_API_ARRAY_TYPE) == id(np.ndarray), "NumPy's C-API table has another order")
    address = entry(_API_NEW_FROM_DESCR)
    p = ctypes.c_void_p
    new = ctypes.PYFUNCTYPE(ctypes.py_object, p, p, ctypes.c_int, p, p, p, ctypes.c_int, p)(address)
    dtype = np.dtype(np.int16)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(dtype))  # the constructor takes a reference to its dtype
    made = new(id(np.ndarray), id(dtype), 2, (ctypes.c_int64 * 2)(3, 4), None, None, 0, None)
    good = type(made) is np.ndarray and made.shape == (3, 4) and made.dtype == dtype and made.flags.c_contiguous
    _require(good and made.flags.owndata, "NumPy's array constructor behaves differently")
    return address


@functools.cache
def verified() -> Layout | str:
    """The layout of this process's objects, or what differs from the expected one."""
    try:
        _check_interpreter()
        items = _tuple_items()
        _check_list()
        _check_arrays()
        return Layout(items, _numpy_constructor())
    except LayoutError as difference:
        return str(difference)


@functools.cache
def array_layout(array_type: type) -> ArrayLayout:
    """The offsets of the slots `_stored`, `_weak` and `_consumed`, found by writing to an instance.

    Raises: LayoutError when a slot is not a plain pointer in the instance.
    """
    size = array_type.__basicsize__
    probe: Any = object.__new__(array_type)
    offsets = []
    for name in ("_stored", "_weak", "_consumed"):
        setattr(probe, name, None)
    for name in ("_stored", "_weak", "_consumed"):
        found: set[int] | None = None
        for _ in range(3):
            mark = object()
            setattr(probe, name, mark)
            places = {o for o in range(16, size, 8) if word(probe, o) == id(mark)}
            found = places if found is None else found & places
        setattr(probe, name, None)
        if not found or len(found) != 1:
            raise LayoutError(f"the slot {name} of {array_type.__name__} is not a plain field")
        offsets.append(found.pop())
    return ArrayLayout(*offsets)
